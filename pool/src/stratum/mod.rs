//! Sockets: who may connect, and one task for each connection.

pub mod addresses;
pub mod channels;
pub mod connection;
mod earner;
pub mod end;
pub mod limits;
pub mod listener;
pub mod metrics;
pub mod orders;
mod reading;
pub mod roster;
pub mod trace;
pub mod turns;
mod unacknowledged;
pub mod upstream;
