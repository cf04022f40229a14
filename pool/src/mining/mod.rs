//! The rules of mining: jobs, channels, shares, difficulty. Pure: no socket, no clock, no database.
//!
//! A connection task owns one [`session::Session`] and tells it what arrived and what time it is; the session says
//! what to send. Everything that all miners share stands in an immutable [`job::Job`].

pub mod ahead;
pub mod by_channel;
pub mod channel;
pub mod coinbase;
pub mod difficulty;
pub mod extranonce;
pub mod job;
mod seen_shares;
pub mod session;
pub mod share;
pub mod vardiff;
