//! The files of the export register: what an accountant, an authority or a miner is given. Pure.
//!
//! Owns how records, statements, lists and messages become bytes, and the [`manifest`] that seals a set of them. The
//! same input gives the same bytes: times, versions and ids come with the input. Does not own where figures come from,
//! how coin is valued or screened, or where files are kept. None of the files is legal advice, and each says so: tables
//! in the manifest and the [`schema`] that go with them, the other files in themselves.

use std::io;

pub mod blocked_property;
pub mod carf;
pub mod figure;
pub mod file_name;
mod json;
pub mod manifest;
mod markup;
pub mod model;
pub mod party;
pub mod reconciliation;
pub mod register;
pub mod sales;
pub mod schema;
pub mod screening_log;
pub mod statement;
pub mod table;
pub mod travel_rule;

#[cfg(test)]
mod fixture;

/// The version of all files' layouts, in each file that has a place for it. Grows when a column or field changes.
pub const SCHEMA_VERSION: u32 = 2;

/// What every report says of itself.
pub const NOT_LEGAL_ADVICE: &str =
    "Bookkeeping by software, not legal advice and not tax advice. Check it with a professional before you rely on it.";

/// Why a report cannot be written.
#[derive(Debug, thiserror::Error)]
pub enum ReportError {
    /// What the bytes are written to or read from failed.
    #[error("a report cannot be written or read: {0}")]
    Io(#[from] io::Error),
    /// A table could not be written.
    #[error("a table cannot be written: {0}")]
    Table(#[from] csv::Error),
    /// A JSON file could not be written or read.
    #[error("a JSON file cannot be written or read: {0}")]
    Json(#[from] serde_json::Error),
    /// A time is out of the range of years that can be told.
    #[error("time {0} ms is out of range")]
    Time(i64),
    /// A decimal number from outside is none.
    #[error("{0:?} is not a decimal number")]
    Decimal(String),
    /// A file name is not of the kind that reports have.
    #[error("{0:?} is not a name for a report")]
    FileName(String),
    /// Two files of one set have the same name, or names that some file systems hold for the same.
    #[error("the set already has a file {0:?}")]
    Duplicate(String),
    /// A sale's basis and the parties' residencies contradict each other, or a residency is missing.
    #[error("row {seq}: basis {basis} does not go with residencies {seller:?} and {buyer:?}")]
    Basis {
        /// The row of the register.
        seq: i64,
        /// The basis.
        basis: &'static str,
        /// The seller's country.
        seller: String,
        /// The buyer's country.
        buyer: String,
    },
    /// A sale's gross amount is not its net amount and the fee.
    #[error("row {seq}: gross {gross_minor} is not fee {fee_minor} and net {net_minor}")]
    Proceeds {
        /// The row of the register.
        seq: i64,
        /// The gross amount, in minor units.
        gross_minor: i64,
        /// The fee.
        fee_minor: i64,
        /// The net amount.
        net_minor: i64,
    },
    /// A user's amounts for a CARF file are not all in one currency, or are negative.
    #[error("CARF user {user}: {what}")]
    Carf {
        /// The user's party id.
        user: String,
        /// What is wrong.
        what: String,
    },
    /// A manifest has another layout than this software writes.
    #[error("the manifest has schema version {0}, not {SCHEMA_VERSION}")]
    SchemaVersion(u32),
}
