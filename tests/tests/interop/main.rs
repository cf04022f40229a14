//! The reference implementation's clients against Adit: each a process of its own, on a real bitcoind, as a miner would
//! run it.
//!
//! `make test-interop` builds the clients and runs these tests; without the feature `interop` nothing here is built. What
//! a client believes is read from its log, or from the miners behind it, and compared with the chain and the books. What
//! is odd about a client is said where a test has to put up with it. In [`reference_pool`] it is the other way round: Adit's
//! probe looks at their pool.

#![allow(clippy::unwrap_used)]

mod accounts;
mod crowd;
mod mining_device;
mod reference_pool;
mod translator;

// The pool, its node and its books are those of the other end-to-end tests, of which these need a part.
#[allow(dead_code)]
#[path = "../pool/books.rs"]
mod books;
#[allow(dead_code)]
#[path = "../pool/site.rs"]
mod site;
#[allow(dead_code)]
#[path = "../pool/tally.rs"]
mod tally;
