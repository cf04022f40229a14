//! The published formats: each file here reads one of them into a [`SanctionsList`](super::SanctionsList).
//!
//! All of them stream: what they hold is the list that comes out and one piece of the file. What is larger or more than
//! any real list has (the limits of [`super::list`]) refuses the list; an entry that makes no sense is a warning.

mod eu_fsf;
mod markup;
mod ofac_advanced;
mod ofac_sdn_csv;
mod ofac_sdn_xml;
mod rows;
mod supplement;
mod uk_csv;

pub use eu_fsf::read_eu_fsf;
pub use ofac_advanced::read_ofac_advanced;
pub use ofac_sdn_csv::read_ofac_sdn_csv;
pub use ofac_sdn_xml::read_ofac_sdn_xml;
pub use supplement::{SUPPLEMENT_HEADER, read_supplement};
pub use uk_csv::read_uk_csv;

#[cfg(test)]
mod tests;
