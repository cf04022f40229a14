//! OFAC's `sdn.csv` with `sdn_comments.csv`: rows without a header, addresses in the remarks.
//!
//! A row of `sdn.csv` has twelve fields: number, name, type, programmes, title, call sign, vessel type, tonnage, gross
//! tonnage, flag, owner and remarks; `-0-` stands for none. Remarks are cut at 1,000 characters, in the middle of a word
//! if so it falls, and go on in `sdn_comments.csv`, whose rows have a number and a text.
//!
//! Strong aliases stand in `alt.csv`, which is not read: the XML formats have all names.
//!
//! Source: OFAC, "SDN List Data Formats and Data Schemas" (`dat_spec.txt`), and published files.

use std::collections::HashMap;
use std::io::Read;

use super::super::address;
use super::super::draft::{Draft, PartyPlace};
use super::super::list::{FileHash, ListError, ListFormat, ListSource, NameKind, PartyKind, SanctionsList, quoted};
use super::rows::Rows;

const FORMAT: ListFormat = ListFormat::OfacSdnCsv;
const FIELD_COUNT: usize = 12;
const COMMENT_FIELD_COUNT: usize = 2;
/// Where remarks are cut, in characters.
const REMARKS_CUT_CHARS: usize = 1_000;
/// What stands for no value.
const NULL: &str = "-0-";

/// Reads `sdn.csv` and `sdn_comments.csv`.
///
/// The aliases in the remarks (`a.k.a. '...'`) are weak ones. The file bears no date.
///
/// # Errors
///
/// If a file is not well-formed or over the limits, or no row of `sdn.csv` is one.
pub fn read_ofac_sdn_csv(
    source: ListSource,
    sdn: impl Read,
    comments: impl Read,
    progress: &mut dyn FnMut(u64),
) -> Result<SanctionsList, ListError> {
    let mut draft = Draft::default();
    let mut comments_bytes = 0;
    let mut count = |bytes| {
        comments_bytes = bytes;
        progress(bytes);
    };
    let (mut continued, (comments_sha256, _)) = read_comments(&mut draft, comments, &mut count)?;
    let mut count = |bytes: u64| progress(comments_bytes + bytes);
    let mut rows = Rows::new(FORMAT, sdn, &mut count);
    while let Some(row) = rows.next()? {
        if row.len() != FIELD_COUNT {
            let fault = format!("{} fields instead of {FIELD_COUNT}", row.len());
            rows.row_is_odd();
            draft.warn(&format!("row {}", rows.number()), fault);
            continue;
        }
        let fields: [&str; FIELD_COUNT] = std::array::from_fn(|at| row.get(at).unwrap_or_default());
        let continuation = continued.remove(fields[0].trim());
        read_party(&mut draft, fields, continuation.as_deref())?;
        draft.at(rows.position());
    }
    let (sha256, bytes) = rows.finish()?;
    if draft.party_count() == 0 && draft.has_warnings() {
        return Err(ListError::Layout { format: FORMAT, fault: format!("no row has {FIELD_COUNT} fields") });
    }
    let mut orphans: Vec<_> = continued.into_keys().collect();
    orphans.sort();
    for number in orphans {
        draft.warn(&format!("comment on {}", quoted(&number)), "no such entry");
    }
    let mut list = draft.finish(source, FORMAT, None, (sha256, comments_bytes + bytes));
    list.comments_sha256 = Some(comments_sha256);
    Ok(list)
}

type Comments = HashMap<String, String>;

fn read_comments(
    draft: &mut Draft,
    input: impl Read,
    progress: &mut dyn FnMut(u64),
) -> Result<(Comments, (FileHash, u64)), ListError> {
    let mut comments = Comments::new();
    let mut rows = Rows::new(FORMAT, input, progress);
    while let Some(row) = rows.next()? {
        if row.len() != COMMENT_FIELD_COUNT {
            let fault = format!("{} fields instead of {COMMENT_FIELD_COUNT}", row.len());
            rows.row_is_odd();
            draft.warn(&format!("row {} of the comments", rows.number()), fault);
            continue;
        }
        let (number, text) = (row[0].trim(), &row[1]);
        draft.keep(number.len() + text.len() + 2 * size_of::<String>())?;
        comments.entry(number.to_owned()).or_default().push_str(text);
    }
    Ok((comments, rows.finish()?))
}

fn read_party(draft: &mut Draft, fields: [&str; FIELD_COUNT], continuation: Option<&str>) -> Result<(), ListError> {
    let [number, name, kind, programmes, .., remarks] = fields;
    let kind = match none_if_null(kind).to_ascii_lowercase().as_str() {
        "individual" => PartyKind::Individual,
        "vessel" => PartyKind::Vessel,
        "aircraft" => PartyKind::Aircraft,
        // Entities have none.
        "" => PartyKind::Entity,
        _ => PartyKind::Unknown,
    };
    let party = draft.party(number, kind)?;
    // Several programmes stand as `SDGT] [IRGC] [IFSR`.
    for programme in none_if_null(programmes).split(['[', ']']) {
        draft.programme(party, programme)?;
    }
    draft.name(party, none_if_null(name), NameKind::Primary)?;
    let is_cut = remarks.chars().count() >= REMARKS_CUT_CHARS;
    if is_cut && continuation.is_none() && !remarks.ends_with('.') {
        draft.warn_of(party, format_args!("the remarks are cut and do not go on in the comments"));
    }
    // The cut may be inside of an address: nothing may come in between.
    read_remarks(draft, party, &[remarks, continuation.unwrap_or_default()].concat())
}

fn none_if_null(field: &str) -> &str {
    let field = field.trim();
    if field == NULL { "" } else { field }
}

/// Finds the addresses and aliases in remarks, which are parted by semicolons and end with a full stop.
fn read_remarks(draft: &mut Draft, party: PartyPlace, remarks: &str) -> Result<(), ListError> {
    for remark in remarks.split(';') {
        let remark = remark.trim();
        let remark = remark.strip_suffix('.').unwrap_or(remark);
        let remark = remark.strip_prefix("alt. ").unwrap_or(remark);
        if let Some(alias) = remark.strip_prefix("a.k.a. ") {
            draft.name(party, alias.trim_matches('\''), NameKind::WeakAlias)?;
        } else if let Some(currency_and_address) = address::label_of(remark) {
            let (label, text) = currency_and_address.split_once(' ').unwrap_or((currency_and_address, ""));
            draft.address(party, label, text)?;
        }
    }
    Ok(())
}
