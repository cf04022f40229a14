//! The fuzz targets of the lists' formats: each function takes any bytes and panics if something that must hold does not.
//!
//! What must hold: no panic; a list within its limits whose addresses are what they say; and the same list, or the same
//! error, when the reader gives one byte at a time. The targets in `fuzz_targets/` hand over libFuzzer's bytes; the test
//! `corpus` hands over the files of `corpus/`, so that every run of the tests repeats what fuzzing has found.
#![forbid(unsafe_code)]

use std::io::{self, Read};
use std::sync::Arc;

use payouts::export::screening::list::{
    ListError, MAX_ADDRESSES, MAX_LABEL_BYTES, MAX_NAME_BYTES, MAX_NAMES, MAX_PARTIES, MAX_PROGRAMMES,
    MAX_QUOTED_CHARS, MAX_UID_BYTES, MAX_WARNINGS, PartyKind,
};
use payouts::export::screening::{
    ListSource, MatchKind, SanctionsList, ScreeningIndex, address, read_eu_fsf, read_ofac_advanced, read_ofac_sdn_csv,
    read_ofac_sdn_xml, read_supplement, read_uk_csv,
};

/// What parts the comments from `sdn.csv` in the input of [`ofac_sdn_csv`].
pub const COMMENTS_SEPARATOR: &[u8] = b"\n=== comments\n";
/// More than the words of a warning, its quotations and their escapes have.
const MAX_WARNING_BYTES: usize = 1_000 + 4 * 10 * MAX_QUOTED_CHARS;
/// How many names and addresses are looked up again, for the sake of speed.
const MAX_LOOKED_UP: usize = 8;

/// A reader that gives one byte at a time.
struct Dribble<'a>(&'a [u8]);

impl Read for Dribble<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.0.len().min(buffer.len()).min(1);
        buffer[..count].copy_from_slice(&self.0[..count]);
        self.0 = &self.0[count..];
        Ok(count)
    }
}

fn source() -> ListSource {
    "fuzz".parse().expect("it is a name of a source")
}

/// Reads `sdn_advanced.xml`.
pub fn ofac_advanced(data: &[u8]) {
    check(read_ofac_advanced(source(), data, &mut |_| ()), read_ofac_advanced(source(), Dribble(data), &mut |_| ()));
}

/// Reads `sdn.xml`.
pub fn ofac_sdn_xml(data: &[u8]) {
    check(read_ofac_sdn_xml(source(), data, &mut |_| ()), read_ofac_sdn_xml(source(), Dribble(data), &mut |_| ()));
}

/// Reads `sdn.csv`, and what stands after [`COMMENTS_SEPARATOR`] as `sdn_comments.csv`.
pub fn ofac_sdn_csv(data: &[u8]) {
    let len = COMMENTS_SEPARATOR.len();
    let at = data.windows(len).position(|window| window == COMMENTS_SEPARATOR);
    let (sdn, comments) = at.map_or((data, &[][..]), |at| (&data[..at], &data[at + len..]));
    check(
        read_ofac_sdn_csv(source(), sdn, comments, &mut |_| ()),
        read_ofac_sdn_csv(source(), Dribble(sdn), Dribble(comments), &mut |_| ()),
    );
}

/// Reads the EU's list.
pub fn eu_fsf(data: &[u8]) {
    check(read_eu_fsf(source(), data, &mut |_| ()), read_eu_fsf(source(), Dribble(data), &mut |_| ()));
}

/// Reads a list of the UK.
pub fn uk_csv(data: &[u8]) {
    check(read_uk_csv(source(), data, &mut |_| ()), read_uk_csv(source(), Dribble(data), &mut |_| ()));
}

/// Reads an operator's supplement.
pub fn supplement(data: &[u8]) {
    check(read_supplement(source(), data, &mut |_| ()), read_supplement(source(), Dribble(data), &mut |_| ()));
}

fn check(whole: Result<SanctionsList, ListError>, dribbled: Result<SanctionsList, ListError>) {
    assert_eq!(whole, dribbled, "the delivery of bytes matters");
    let Ok(list) = whole else { return };
    assert!(list.entry_count <= MAX_PARTIES as u64);
    assert!(list.names.len() <= MAX_NAMES && list.addresses.len() <= MAX_ADDRESSES);
    assert!(list.warnings.len() <= MAX_WARNINGS && list.warnings.len() as u64 <= list.warning_count);
    for warning in &list.warnings {
        assert!(warning.len() <= MAX_WARNING_BYTES, "a warning of {} bytes", warning.len());
        assert!(!warning.contains(char::is_control), "{warning:?}");
    }
    for name in &list.names {
        assert!(!name.name.is_empty() && name.name.len() <= MAX_NAME_BYTES && !name.name.contains(char::is_control));
        assert!(name.party.uid.len() <= MAX_UID_BYTES && name.party.programmes.len() <= MAX_PROGRAMMES);
    }
    for listed in &list.addresses {
        assert_eq!(address::parse_listed(&listed.text).as_ref(), Some(&listed.script));
        assert!(listed.label.len() <= MAX_LABEL_BYTES);
    }
    let list = Arc::new(list);
    let index = ScreeningIndex::new([Arc::clone(&list)]);
    for listed in list.addresses.iter().take(MAX_LOOKED_UP) {
        let hits = index.screen_script(&listed.script);
        assert!(hits.iter().any(|hit| hit.match_kind == MatchKind::ExactAddress && hit.listed == listed.text));
    }
    for name in list.names.iter().take(MAX_LOOKED_UP) {
        let hits = index.screen_name(&name.name, PartyKind::Unknown);
        assert!(hits.iter().any(|hit| hit.listed == name.name), "{:?} does not find itself", name.name);
    }
}
