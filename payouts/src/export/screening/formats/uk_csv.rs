//! The UK's lists in CSV: the UK sanctions list, and OFSI's consolidated list, which it replaced in January 2026.
//!
//! Both have a line with the date, a header, and a row for each name and address of a party. Columns are found by the
//! header's text, since their order and number have changed. They name parties; they have no field for addresses.
//!
//! Source: FCDO, `UK-Sanctions-List.csv`; OFSI, `ConList.csv` ("2022 format").

use std::collections::HashMap;
use std::io::Read;

use csv::StringRecord;
use jiff::civil::Date;

use super::super::draft::{Draft, PartyPlace};
use super::super::list::{ListError, ListFormat, ListSource, NameKind, PartyKind, SanctionsList, quoted};
use super::rows::Rows;

const FORMAT: ListFormat = ListFormat::UkCsv;
/// How many rows may stand before the header.
const MAX_ROWS_BEFORE_HEADER: usize = 3;

/// Reads either list; which one it is, the header tells.
///
/// The identifier of a party is the "Unique ID", or in OFSI's list the "Group ID".
///
/// # Errors
///
/// If the file is not well-formed or over the limits, or has no header of either list.
pub fn read_uk_csv(
    source: ListSource,
    input: impl Read,
    progress: &mut dyn FnMut(u64),
) -> Result<SanctionsList, ListError> {
    let mut rows = Rows::new(FORMAT, input, progress);
    let mut draft = Draft::default();
    let mut date = None;
    let columns = read_header(&mut rows, &mut date)?;
    if date.is_none() {
        draft.warn("", "the list bears no date of publication");
    }
    let mut parties: HashMap<String, PartyPlace> = HashMap::new();
    while let Some(row) = rows.next()? {
        if row.len() != columns.count {
            let fault = format!("{} fields instead of {}", row.len(), columns.count);
            rows.row_is_odd();
            draft.warn(&format!("row {}", rows.number()), fault);
            continue;
        }
        let uid = columns.field(row, columns.uid);
        let party = match parties.get(uid) {
            Some(party) => *party,
            None => {
                let party = draft.party(uid, PartyKind::Unknown)?;
                draft.keep(uid.len())?;
                parties.insert(uid.to_owned(), party);
                party
            }
        };
        read_row(&mut draft, party, &columns, row)?;
        draft.at(rows.position());
    }
    let digest = rows.finish()?;
    Ok(draft.finish(source, FORMAT, date, digest))
}

/// Where the columns are.
struct Columns {
    count: usize,
    uid: Option<usize>,
    names: [Option<usize>; 6],
    native_name: Option<usize>,
    name_type: Option<usize>,
    strength: Option<usize>,
    programme: Option<usize>,
    kind: Option<usize>,
}

impl Columns {
    fn find(header: &StringRecord) -> Option<Self> {
        let find = |names: &[&str]| {
            header.iter().position(|column| names.iter().any(|name| column.trim().eq_ignore_ascii_case(name)))
        };
        let columns = Self {
            count: header.len(),
            uid: find(&["Unique ID", "Group ID"]),
            names: ["Name 1", "Name 2", "Name 3", "Name 4", "Name 5", "Name 6"].map(|name| find(&[name])),
            native_name: find(&["Name non-latin script"]),
            name_type: find(&["Name type", "Alias Type"]),
            strength: find(&["Alias strength", "Alias Quality"]),
            programme: find(&["Regime Name", "Regime"]),
            kind: find(&["Designation Type", "Group Type"]),
        };
        // Without these it is no list of parties; the others may be renamed and only describe.
        (columns.uid.is_some() && columns.names.iter().all(Option::is_some)).then_some(columns)
    }

    fn field<'a>(&self, row: &'a StringRecord, column: Option<usize>) -> &'a str {
        column.and_then(|at| row.get(at)).unwrap_or_default().trim()
    }
}

fn read_header<R: Read>(rows: &mut Rows<'_, R>, date: &mut Option<Date>) -> Result<Columns, ListError> {
    for _ in 0..=MAX_ROWS_BEFORE_HEADER {
        let Some(row) = rows.next()? else { break };
        let columns = Columns::find(row);
        // "Report Date: 13-Feb-2026", or "Last Updated,03/06/2026".
        *date = date.or_else(|| row.iter().find_map(date_of));
        if let Some(columns) = columns {
            // How many columns there should be, nobody knows: a header that is all there is may be cut.
            rows.row_is_odd();
            return Ok(columns);
        }
    }
    let fault = format!("no header with {} and {}", quoted("Unique ID"), quoted("Name 6"));
    Err(ListError::Layout { format: FORMAT, fault })
}

fn date_of(field: &str) -> Option<Date> {
    let text = field.rsplit(": ").next()?.trim();
    Date::strptime("%d-%b-%Y", text).or_else(|_| Date::strptime("%d/%m/%Y", text)).ok()
}

fn read_row(draft: &mut Draft, party: PartyPlace, columns: &Columns, row: &StringRecord) -> Result<(), ListError> {
    let lower = |column| columns.field(row, column).to_ascii_lowercase();
    draft.kind(
        party,
        match lower(columns.kind).as_str() {
            "individual" => PartyKind::Individual,
            "entity" => PartyKind::Entity,
            "ship" => PartyKind::Vessel,
            _ => PartyKind::Unknown,
        },
    );
    draft.programme(party, columns.field(row, columns.programme))?;
    // "Primary name"; "Primary name variation", "Alias", "AKA" and "FKA" are others; "Low quality a.k.a" is weak.
    let kind = match lower(columns.name_type).as_str() {
        "primary name" => NameKind::Primary,
        _ if lower(columns.strength).contains("low") => NameKind::WeakAlias,
        _ => NameKind::Alias,
    };
    let name = columns.names.map(|column| columns.field(row, column)).join(" ");
    draft.name(party, &name, kind)?;
    draft.name(party, columns.field(row, columns.native_name), kind)
}
