//! Sockets: who may connect, and one task for each connection.

pub mod channels;
pub mod connection;
mod earner;
pub mod listener;
mod unacknowledged;
