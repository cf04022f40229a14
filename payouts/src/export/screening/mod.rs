//! Screening of addresses and party names against published lists. Pure.
//!
//! Owns how a list's bytes become a [`SanctionsList`], how scripts and names are compared with several lists at once, and
//! the judgement on what was found and on whether the lists may be relied upon. It does not own files, clocks, the
//! storing of results, or releases: callers hand in readers and ages, and keep what comes out as evidence.
//!
//! An address is compared by its script, never by its text; a name by its normal form (see [`name`]).

pub mod address;
pub mod decision;
mod draft;
pub mod formats;
pub mod index;
pub mod list;
pub mod name;
mod reading;
pub mod standing;

#[cfg(test)]
mod tests;

pub use decision::{Judgement, Outcome, Owner, Reason, judge, judge_found};
pub use formats::{
    read_eu_fsf, read_ofac_advanced, read_ofac_sdn_csv, read_ofac_sdn_xml, read_supplement, read_uk_csv,
};
pub use index::{Hit, MatchKind, ScreeningIndex};
pub use list::{ListError, ListFormat, ListSource, SanctionsList};
pub use standing::{ListStanding, RequiredLists, UnusableLists, UsableLists, assess_list};
