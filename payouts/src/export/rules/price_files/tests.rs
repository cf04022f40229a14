#![allow(clippy::unwrap_used)]

use proptest::prelude::*;

use super::*;

const PRICES: &str = "venue,pair,basis,time,price\n\
    venue-a,BTC/USD,close,2026-01-31T23:59:59Z,97412.35\n\
    venue-a,BTC/USD,close,2026-02-01T23:59:59.999Z,98000\n";

fn prices(text: &str) -> Result<PriceFile, FileError> {
    PriceFile::read(text.as_bytes())
}

fn rates(text: &str) -> Result<RateFile, FileError> {
    RateFile::read(text.as_bytes())
}

/// Returns the line, the column and the value that a file is refused for.
fn refused<T: std::fmt::Debug>(read: Result<T, FileError>) -> (u64, &'static str, String) {
    match read.unwrap_err() {
        FileError::Field { line, column, value, .. } => (line, column, value),
        other => panic!("{other:?}"),
    }
}

#[test]
fn prices_are_read_with_the_hash_of_their_file() {
    let file = prices(PRICES).unwrap();
    assert_eq!(file.hash(), FileHash::of(PRICES.as_bytes()));
    let [first, second] = file.rows() else { panic!("{file:?}") };
    assert_eq!(first.series.to_string(), "BTC/USD close at venue-a");
    assert_eq!((first.at.to_string().as_str(), first.price.as_str()), ("2026-01-31T23:59:59Z", "97412.35"));
    assert_eq!((first.revision, second.at.as_millisecond() % 1_000), (0, 999));
}

#[test]
fn columns_stand_in_any_order_and_empty_options_have_their_default() {
    let header = "nominal,rate,date,quote,base,source,revision";
    let rows = ",81.2345,2026-02-01,RUB,USD,bank,\n100,18.12,2026-02-01,RUB,KZT,bank,2\n";
    let file = rates(&format!("{header}\n{rows}")).unwrap();
    let [first, second] = file.rows() else { panic!("{file:?}") };
    assert_eq!((first.rate.nominal.get(), first.revision), (1, 0));
    assert_eq!((second.rate.to_string().as_str(), second.revision), ("18.12 for 100", 2));
    assert_eq!(second.series.to_string(), "KZT/RUB of bank");
}

#[test]
fn a_byte_order_mark_and_windows_lines_are_taken() {
    let file = prices(&format!("\u{feff}{}", PRICES.replace('\n', "\r\n"))).unwrap();
    assert_eq!(file.rows(), prices(PRICES).unwrap().rows());
}

#[test]
fn headers_that_are_not_exact_are_refused() {
    let body = PRICES.split_once('\n').unwrap().1;
    let with = |header: &str| prices(&format!("{header}\n{body}")).unwrap_err();
    assert!(matches!(with("venue,pair,basis,time"), FileError::ColumnMissing("price")));
    assert!(matches!(with("venue,pair,basis,time,price,volume"), FileError::ColumnUnknown(name) if name == "volume"));
    assert!(matches!(with("venue,pair,basis,time,time"), FileError::ColumnTwice(name) if name == "time"));
    assert!(matches!(with("venue,pair,basis,time,Price"), FileError::ColumnUnknown(name) if name == "Price"));
    // A file without a header.
    assert!(matches!(prices(body), Err(FileError::ColumnUnknown(name)) if name == "venue-a"));
    assert!(matches!(prices(""), Err(FileError::ColumnMissing("venue"))));
}

#[test]
fn a_file_without_rows_is_refused() {
    assert!(matches!(prices("venue,pair,basis,time,price\n"), Err(FileError::Empty)));
}

#[test]
fn a_bad_field_is_named_with_its_line() {
    let good = "venue-a,BTC/USD,close,2026-01-31T23:59:59Z,97412.35";
    for (column, field, bad) in [
        ("venue", "venue-a", "Venue A"),
        ("venue", "venue-a", ""),
        ("pair", "BTC/USD", "BTC/USDT"),
        ("pair", "BTC/USD", "BTCUSD"),
        ("basis", "close", "CLOSE"),
        ("price", "97412.35", "97e3"),
        ("price", "97412.35", "0"),
        ("price", "97412.35", "-1"),
    ] {
        let text =
            format!("venue,pair,basis,time,price\n{}\n{}\n", good, good.replace(field, bad).replace("01-31", "01-30"));
        assert_eq!(refused(prices(&text)), (3, column, bad.to_owned()));
    }
    let message = prices(&PRICES.replace("98000", "98,000")).unwrap_err();
    assert!(matches!(message, FileError::Csv(_)), "{message}");
}

#[test]
fn times_are_utc_in_one_form() {
    let with = |time: &str| prices(&PRICES.replace("2026-01-31T23:59:59Z", time));
    for bad in [
        "2026-01-31",
        "2026-01-31T23:59:59",
        "2026-01-31T23:59:59+03:00",
        "2026-01-31T23:59:59+00:00",
        "2026-01-31 23:59:59Z",
        "2026-01-31t23:59:59z",
        "20260131T235959Z",
        "2026-01-31T23:59Z",
        "2026-01-31T23:59:60Z",
        "2026-02-30T00:00:00Z",
        "2026-01-31T23:59:59.Z",
        "2026-01-31T23:59:59.1234Z",
        "2026-01-31T23:59:59Z[UTC]",
        "1769903999",
    ] {
        assert_eq!(refused(with(bad)), (2, "time", bad.to_owned()));
    }
    assert_eq!(with("2026-01-31T23:59:59.000Z").unwrap().rows(), prices(PRICES).unwrap().rows());
}

#[test]
fn rates_with_bad_fields_are_refused() {
    let good = "source,base,quote,date,rate,nominal,revision\nbank,USD,RUB,2026-02-01,81.2345,1,0\n";
    rates(good).unwrap();
    for (column, field, bad) in [
        ("quote", "RUB", "USD"),
        ("base", "USD", "USX"),
        ("date", "2026-02-01", "2026-02-29"),
        ("date", "2026-02-01", "01.02.2026"),
        ("date", "2026-02-01", "2026-02-01T00:00:00"),
        ("nominal", ",1,", "0"),
        ("nominal", ",1,", "+1"),
        ("nominal", ",1,", "4294967296"),
        ("revision", ",0\n", "-1"),
    ] {
        let replaced = if field.starts_with(',') { field.replace(['0', '1'], bad) } else { bad.to_owned() };
        assert_eq!(refused(rates(&good.replace(field, &replaced))), (2, column, bad.to_owned()));
    }
}

#[test]
fn two_rows_about_the_same_are_refused_even_if_they_agree() {
    let row = "venue-a,BTC/USD,close,2026-01-31T23:59:59.000Z,97412.35\n";
    for repeated in [row.to_owned(), row.replace("97412.35", "97412.36")] {
        let error = prices(&format!("{PRICES}{repeated}")).unwrap_err();
        assert!(matches!(error, FileError::Repeated { line: 4, first: 2 }), "{error}");
    }
    let revised =
        PRICES.replace("price\n", "price,revision\n").replace("35\n", "35,\n").replace("98000\n", "98000,0\n");
    let revision = |number| row.replace("35\n", &format!("36,{number}\n"));
    assert_eq!(prices(&format!("{revised}{}", revision(1))).unwrap().rows().len(), 3);
    assert!(matches!(prices(&format!("{revised}{}", revision(0))), Err(FileError::Repeated { line: 4, first: 2 })));
}

#[test]
fn rows_and_fields_and_files_are_bounded() {
    let long = "a".repeat(MAX_FIELD_BYTES + 1);
    let (line, column, value) = refused(prices(&PRICES.replace("venue-a", &long)));
    assert_eq!((line, column, value.len()), (2, "venue", MAX_FIELD_BYTES));

    let header = "source,base,quote,date,rate,revision\n";
    let row = |revision: usize| format!("b,USD,RUB,2026-02-01,81,{revision}\n");
    let text: String = std::iter::once(header.to_owned()).chain((0..=MAX_ROWS).map(row)).collect();
    let full = &text[..text.trim_end().rfind('\n').unwrap() + 1];
    assert_eq!(rates(full).unwrap().rows().len(), MAX_ROWS);
    assert!(matches!(rates(&text), Err(FileError::Rows(line)) if line == MAX_ROWS as u64 + 2));

    let endless = PriceFile::read(std::io::repeat(b'a')).unwrap_err();
    assert!(matches!(endless, FileError::Read(ReadError::TooLong(MAX_FILE_BYTES))));
}

#[test]
fn rows_of_other_lengths_and_other_encodings_are_refused() {
    for text in [format!("{PRICES}venue-a,BTC/USD\n"), format!("{PRICES}a,b,c,d,e,f\n")] {
        assert!(matches!(prices(&text), Err(FileError::Csv(_))));
    }
    let latin = [PRICES.as_bytes(), b"venue-\xe9,BTC/USD,close,2026-02-02T23:59:59Z,1\n"].concat();
    assert!(matches!(PriceFile::read(&latin[..]), Err(FileError::Csv(_))));
}

proptest! {
    #[test]
    fn no_bytes_bring_a_reader_down(
        bytes in proptest::collection::vec(any::<u8>(), 0..200),
        at in any::<prop::sample::Index>(),
    ) {
        drop((PriceFile::read(&bytes[..]), RateFile::read(&bytes[..])));
        // Also behind a header, and within a row, where more of the reader is reached.
        let mut file = PRICES.as_bytes().to_vec();
        let place = at.index(file.len());
        file.splice(place..place, bytes);
        if let Ok(file) = PriceFile::read(&file[..]) {
            prop_assert!(!file.rows().is_empty());
        }
    }
}
