//! The rules by which coin that leaves is valued, sold and accounted for over time. Pure.
//!
//! Money in other currencies ([`currency`], [`fiat`], [`rate`]), what it is worth and by which source ([`price_files`],
//! [`prices`], [`valuation`]), stretches of time in a zone ([`zone`], [`period`]), what a country asks for ([`profile`]),
//! sales ([`desk`], [`sale`], [`obligation`], [`residency`]), and what states records and lots go through ([`state`], [`history`]). Does
//! not know the ledger, the journal or files.

pub mod currency;
pub mod desk;
pub mod fiat;
pub mod history;
pub mod obligation;
pub mod period;
pub mod price_files;
pub mod prices;
pub mod profile;
pub mod rate;
pub mod residency;
pub mod sale;
pub mod source_file;
pub mod state;
pub mod valuation;
pub mod zone;
