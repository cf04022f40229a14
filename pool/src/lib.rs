//! The Adit pool server: wiring of templates, mining, sockets and accounting, and their shutdown.

pub mod accounting;
pub mod cli;
pub mod config;
pub mod control;
pub mod init;
mod lock;
pub mod mining;
pub mod operations;
pub mod probe;
mod server;
pub mod store;
pub mod stratum;
pub mod template;

pub use server::run;
