//! A private Bitcoin network for demos and tests.
//!
//! [`find_or_build`] finds a `bitcoind` or builds one; a [`Node`] is one such process on a port of
//! 127.0.0.1 with no peers; [`Coins`] are spendable coins of a key of their own, because the node that is
//! built here has no wallet.
//!
//! Everything is real: a real node, real blocks, real signatures. Nothing here is for a network with value,
//! and nothing here knows about mining pools. All calls block: from async code, use a blocking thread.
//!
//! ```no_run
//! use bitcoind_regtest::{Coins, Node};
//! # fn main() -> Result<(), bitcoind_regtest::Error> {
//! let node = Node::start()?;
//! node.mine(101)?;
//! let mut coins = Coins::new(node.chain());
//! coins.fund(&node, 1)?;
//! # Ok(())
//! # }
//! ```
#![forbid(unsafe_code)]

mod blocks;
mod coins;
mod error;
mod executable;
mod node;
mod options;

pub use blocks::Reorganisation;
pub use coins::{Coins, MAX_SPLIT};
pub use error::{Error, Result};
pub use executable::{cached_executable, find_or_build};
pub use node::Node;
pub use options::{Chain, NodeOptions, RpcCredentials};

pub use bitcoincore_rpc;
