//! The reference implementation's clients against Adit: each a process of its own, on a real bitcoind, as a miner would
//! run it.
//!
//! `make test-interop` builds the clients and runs these tests; without the feature `interop` nothing here is built.

#![allow(clippy::unwrap_used)]
