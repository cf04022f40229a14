#![allow(clippy::unwrap_used)]

use proptest::prelude::*;

use super::{
    super::fixture::{head, lot},
    *,
};

static PAIRS: Table<(String, i64)> = Table {
    file: "pairs.csv",
    meaning: "A pair.",
    columns: &[&[
        column("text", "text", "A text", |row, _| Ok(Cell::text(&row.0))),
        column("number", "sat", "A number", |row, _| Ok(Cell::integer(row.1))),
    ]],
};

fn written(rows: &[(String, i64)]) -> Vec<u8> {
    let mut bytes = Vec::new();
    PAIRS.write(&head(), rows, &mut bytes).unwrap();
    bytes
}

fn cell(text: &str) -> String {
    let bytes = written(&[(text.to_owned(), -1)]);
    let record = csv::Reader::from_reader(&bytes[..]).records().next().unwrap().unwrap();
    assert_eq!(&record[1], "-1", "a number of our own stays one");
    record[0].to_owned()
}

#[test]
fn a_table_has_a_mark_a_header_and_lines_of_rfc_4180() {
    let rows = [("a,b \"c\"\nd".to_owned(), -5), (String::new(), 7)];
    let expected = "\u{feff}text,number\r\n\"a,b \"\"c\"\"\nd\",-5\r\n,7\r\n";
    assert_eq!(String::from_utf8(written(&rows)).unwrap(), expected);
}

#[test]
fn an_empty_table_still_has_its_header() {
    assert_eq!(String::from_utf8(written(&[])).unwrap(), "\u{feff}text,number\r\n");
}

#[test]
fn formulas_are_defused() {
    for (text, expected) in [
        ("=HYPERLINK(\"http://x\")", "'=HYPERLINK(\"http://x\")"),
        ("+1", "'+1"),
        ("-1", "'-1"),
        ("@SUM(A1)", "'@SUM(A1)"),
        ("＝1", "'＝1"),
        ("＋1", "'＋1"),
        ("－1", "'－1"),
        ("＠x", "'＠x"),
        ("\t=1", "'\t'=1"),
        ("\r=1", "'\r'=1"),
        ("\n1", "'\n1"),
        ("  =1", "  '=1"),
        ("\u{a0}\u{200f}\u{feff}=1", "\u{a0}\u{200f}\u{feff}'=1"),
        ("\u{202e}=1", "\u{202e}'=1"),
        ("\0=1", "\0'=1"),
        ("'=1", "''=1"),
        ("x;=1", "x;'=1"),
        ("x; =1", "x; '=1"),
        ("x\n=1", "x\n'=1"),
    ] {
        assert_eq!(cell(text), expected, "{text:?}");
        assert_eq!(restored(expected), text, "{text:?}");
    }
}

#[test]
fn harmless_texts_stay_as_they_are() {
    for text in ["a=b", "a-b", "x@y", "Example, Trading - LLC", "1 + 1", "o'clock", "</td><script>", "a;b"] {
        assert_eq!(cell(text), text);
    }
}

#[test]
fn a_price_that_is_no_number_is_refused() {
    assert_eq!(Cell::number("-1.50").unwrap(), Cell::Decimal("-1.50".to_owned()));
    assert!(matches!(Cell::number("=1+1"), Err(ReportError::Decimal(_))));
}

#[test]
fn many_lots_do_not_overflow_a_cell() {
    let hash = "0".repeat(64);
    let long = Lot { block_hash: hash.clone(), coinbase: format!("{hash}:0"), amount_sat: u64::MAX, ..lot(1, 1) };
    let Cell::Text(text) = Cell::lots(&vec![long.clone(); LOTS_IN_CELL + 3]) else { panic!("lots are a text") };
    assert!(text.len() < 32_767 && text.ends_with(";3 more"), "{}", text.len());
    assert_eq!(Cell::lots(&[]), Cell::Empty);
    assert_eq!(Cell::lots(std::slice::from_ref(&long)).written().matches('=').count(), 1);
}

proptest! {
    #[test]
    fn any_text_comes_back_and_no_cell_begins_a_formula(
        text in "[-=+@＝'\t\r\n; \u{200f}\u{a0}a,\"]{0,12}|\\PC{0,20}", number: i64,
    ) {
        let bytes = written(&[(text.clone(), number)]);
        let record = csv::Reader::from_reader(&bytes[..]).records().next().unwrap().unwrap();
        prop_assert_eq!(restored(&record[0]), text);
        prop_assert_eq!(&record[1], number.to_string());
        for part in record[0].split([';', '\n', '\r', '\t']) {
            let first = part.trim_start_matches(is_skipped).chars().next();
            prop_assert!(first.is_none_or(|c| c == '\'' || !is_dangerous(c)), "{:?}", part);
        }
    }
}
