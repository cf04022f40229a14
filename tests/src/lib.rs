//! What the end-to-end tests and the demo share: miners that speak Stratum V2 or V1 and really
//! hash, and programs of others.
//!
//! Nothing here is part of the pool, and nothing here uses the pool's code: what the miner computes, it
//! computes by itself, so that a mistake of the pool cannot hide behind the same mistake in its tests. (What only fills a
//! store, [`past`], writes by the store's own calls.)
#![forbid(unsafe_code)]

pub mod adit;
pub mod browser;
pub mod clock;
pub mod crash_points;
pub mod dashboard;
pub mod foreign;
pub mod load;
pub mod miner;
pub mod node_proxy;
pub mod past;
pub mod small_disk;
pub mod store_lock;
pub mod sv1_miner;
pub mod wrong_pool;
