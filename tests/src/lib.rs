//! What the end-to-end tests and the demo share: a miner that speaks Stratum V2 and really hashes.
//!
//! Nothing here is part of the pool, and nothing here uses the pool's code: what the miner computes, it
//! computes by itself, so that a mistake of the pool cannot hide behind the same mistake in its tests.
#![forbid(unsafe_code)]

pub mod adit;
pub mod crash_points;
pub mod miner;
pub mod wrong_pool;
