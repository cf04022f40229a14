//! The Adit pool server: wiring of templates, mining, sockets and accounting, and their shutdown.

pub mod accounting;
pub mod cli;
pub mod config;
pub mod init;
pub mod mining;
mod server;
pub mod store;
pub mod stratum;
pub mod template;

pub use server::run;
