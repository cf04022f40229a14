//! The whole pool, end to end: the `adit` binary on a real bitcoind, with miners that really hash, and books that are
//! recounted with SQL of our own.
//!
//! Each test has a node and a pool to itself ([`site`]). What the pool says of itself is never taken as proof: blocks
//! are looked up in the chain, payments in the set of unspent outputs, credits are worked out anew from the shares
//! ([`books`]).

#![allow(clippy::unwrap_used)]

mod api;
mod bad_input;
mod blocks;
mod books;
mod check;
mod clock;
mod conformance;
mod connections;
mod crash;
mod crash_points;
mod crowd;
mod devices;
mod elsewhere;
mod extensions;
mod faults;
mod floods;
mod handmade;
mod history;
mod identity;
mod job_ahead;
mod jobs;
mod limits;
mod metrics;
mod miner_pages;
mod node_outages;
mod nodes;
mod outages;
mod payout_operations;
mod payouts;
mod postgres;
mod pps;
mod practice;
mod probe;
mod register_api;
mod reload;
mod reorganisation;
mod reports;
mod rude;
mod sales;
mod screening;
mod service;
mod shares;
mod shutdown;
mod site;
mod slow_disk;
mod start;
mod tally;
mod upgrade;
mod wire;
mod work_selection;
