//! The operator's own additions to the published lists.
//!
//! A CSV file (RFC 4180) in UTF-8 whose first row is exactly `address,name,label,programme,reference`. Each further row
//! is one party:
//!
//! - `address`: a Bitcoin mainnet address, or empty;
//! - `name`: a name of the party, or empty, but not if `address` is empty;
//! - `label`: the currency under which the address is known; empty is `XBT`. Under `XBT` or `BTC` a text that is no
//!   Bitcoin address is a warning, under another label it belongs to that currency;
//! - `programme`: why it is listed, or empty;
//! - `reference`: the operator's identifier of the entry; empty is `row N`, with the row's number, the header's being 1.
//!
//! It bears no date.

use std::io::Read;

use super::super::draft::Draft;
use super::super::list::{ListError, ListFormat, ListSource, NameKind, PartyKind, SanctionsList};
use super::rows::Rows;

/// The columns, in this order.
pub const SUPPLEMENT_HEADER: [&str; 5] = ["address", "name", "label", "programme", "reference"];

const FORMAT: ListFormat = ListFormat::Supplement;

/// Reads the operator's supplement.
///
/// # Errors
///
/// If the file is not well-formed or over the limits, or begins with another header.
pub fn read_supplement(
    source: ListSource,
    input: impl Read,
    progress: &mut dyn FnMut(u64),
) -> Result<SanctionsList, ListError> {
    let mut rows = Rows::new(FORMAT, input, progress);
    let mut draft = Draft::default();
    rows.expect_header(&SUPPLEMENT_HEADER)?;
    while let Some(row) = rows.next()? {
        let place = row.len();
        let fields: [&str; SUPPLEMENT_HEADER.len()] = std::array::from_fn(|at| row.get(at).unwrap_or_default().trim());
        let [address, name, label, programme, reference] = fields.map(str::to_owned);
        let number = rows.number();
        if place != SUPPLEMENT_HEADER.len() {
            rows.row_is_odd();
            draft.warn(&format!("row {number}"), format_args!("{place} fields instead of {}", SUPPLEMENT_HEADER.len()));
            continue;
        }
        if address.is_empty() && name.is_empty() {
            draft.warn(&format!("row {number}"), "neither an address nor a name");
            continue;
        }
        let uid = if reference.is_empty() { format!("row {number}") } else { reference };
        draft.at(rows.position());
        let party = draft.party(&uid, PartyKind::Unknown)?;
        draft.programme(party, &programme)?;
        draft.name(party, &name, NameKind::Primary)?;
        if !address.is_empty() {
            draft.address(party, if label.is_empty() { "XBT" } else { &label }, &address)?;
        }
    }
    let digest = rows.finish()?;
    Ok(draft.finish(source, FORMAT, None, digest))
}
