//! The Adit pool server: wiring of templates, mining, sockets and accounting, and their shutdown.

pub mod accounting;
mod announcement;
pub mod api;
pub mod check;
pub mod cli;
pub mod config;
pub mod control;
pub mod cures;
mod descriptors;
pub mod events;
pub mod history;
pub mod init;
mod jobs;
mod lock;
pub mod metrics;
pub mod mining;
pub mod operations;
pub mod pages;
pub mod probe;
pub mod register;
pub mod reload;
mod screening;
mod server;
pub mod service;
pub mod store;
pub mod stratum;
mod tasks;
pub mod template;

pub use server::run;
