//! Sockets: who may connect, and one task for each connection.

pub mod channels;
pub mod connection;
pub mod listener;
