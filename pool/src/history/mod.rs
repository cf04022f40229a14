//! The pool's past, as it goes on: what is kept for charts while the pool runs.
//!
//! How finely and for how long, and what becomes of a share, is said in [`payouts::history`]; what is shown of it in
//! [`crate::operations`].

pub mod recorder;
pub mod tallies;
