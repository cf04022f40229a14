#![allow(clippy::unwrap_used)]

use proptest::prelude::*;

use super::*;

fn prices(rows: &[(&str, &str, u32)]) -> PriceFile {
    let header = "venue,pair,basis,time,price,revision\n".to_owned();
    let row =
        |(time, price, revision): &(&str, &str, u32)| format!("venue-a,BTC/USD,close,{time},{price},{revision}\n");
    PriceFile::read(rows.iter().fold(header, |text, row_of| text + &row(row_of)).as_bytes()).unwrap()
}

fn rates(rows: &[(&str, &str, u32)]) -> RateFile {
    let header = "source,base,quote,date,rate,nominal\n".to_owned();
    let row = |(date, rate, nominal): &(&str, &str, u32)| format!("bank,USD,RUB,{date},{rate},{nominal}\n");
    RateFile::read(rows.iter().fold(header, |text, row_of| text + &row(row_of)).as_bytes()).unwrap()
}

fn series() -> Series {
    Series { venue: "venue-a".parse().unwrap(), pair: "BTC/USD".parse().unwrap(), basis: PriceBasis::Close }
}

fn usd_rub() -> RateSeries {
    let currency = |code: &str| code.parse().unwrap();
    RateSeries { source: "bank".parse().unwrap(), base: currency("USD"), quote: currency("RUB") }
}

fn all(book: &PriceBook) -> Vec<(String, String, u32, FileHash)> {
    let prices = book.prices(&series(), (Bound::Unbounded, Bound::Unbounded));
    prices.map(|(at, price)| (at.to_string(), price.value.to_string(), price.revision, price.file)).collect()
}

const DAY_1: &str = "2026-02-01T23:59:59Z";
const DAY_2: &str = "2026-02-02T23:59:59Z";

#[test]
fn each_value_remembers_its_file() {
    let (first, second) = (prices(&[(DAY_1, "97412.35", 0)]), prices(&[(DAY_2, "98000", 0)]));
    let mut book = PriceBook::default();
    book.add_prices(&first).unwrap();
    book.add_prices(&second).unwrap();
    let expected = [
        (DAY_1.to_owned(), "97412.35".to_owned(), 0, first.hash()),
        (DAY_2.to_owned(), "98000".to_owned(), 0, second.hash()),
    ];
    assert_eq!(all(&book), expected);
    assert_eq!(book.files().collect::<BTreeSet<_>>(), BTreeSet::from([first.hash(), second.hash()]));
}

#[test]
fn two_files_that_disagree_are_a_conflict_that_names_both() {
    let held = prices(&[(DAY_1, "97412.35", 0)]);
    let added = prices(&[(DAY_2, "98000", 0), (DAY_1, "97412.36", 0)]);
    let mut book = PriceBook::default();
    book.add_prices(&held).unwrap();
    let before = all(&book);
    let error = book.add_prices(&added).unwrap_err();
    let expected = Conflict {
        what: format!("BTC/USD close at venue-a on {DAY_1}"),
        revision: 0,
        held: "97412.35".to_owned(),
        held_file: held.hash(),
        added: "97412.36".to_owned(),
        added_file: added.hash(),
    };
    assert_eq!(error, MergeError::Conflict(Box::new(expected)));
    let message = error.to_string();
    assert!(message.contains(&held.hash().to_string()) && message.contains(&added.hash().to_string()), "{message}");
    assert_eq!(all(&book), before, "a refused file leaves nothing behind");
}

#[test]
fn a_revision_replaces_a_value_whichever_file_comes_first() {
    let (first, revised) = (prices(&[(DAY_1, "97412.35", 0)]), prices(&[(DAY_1, "97412.36", 1)]));
    for files in [[&first, &revised], [&revised, &first]] {
        let mut book = PriceBook::default();
        files.into_iter().for_each(|file| book.add_prices(file).unwrap());
        assert_eq!(all(&book), [(DAY_1.to_owned(), "97412.36".to_owned(), 1, revised.hash())]);
    }
    let mut book = PriceBook::default();
    book.add_prices(&revised).unwrap();
    let contradicts = prices(&[(DAY_1, "97412.37", 1)]);
    assert!(matches!(book.add_prices(&contradicts), Err(MergeError::Conflict(conflict)) if conflict.revision == 1));
}

#[test]
fn rates_for_another_nominal_are_a_conflict() {
    let mut book = PriceBook::default();
    book.add_rates(&rates(&[("2026-02-01", "81.2345", 1)])).unwrap();
    book.add_rates(&rates(&[("2026-02-01", "81.23450", 1)])).unwrap();
    assert!(matches!(book.add_rates(&rates(&[("2026-02-01", "81.2345", 10)])), Err(MergeError::Conflict(_))));
    let date = "2026-02-01".parse().unwrap();
    assert_eq!(book.rate(&usd_rub(), date).unwrap().value.nominal.get(), 1);
    assert_eq!(book.rate(&usd_rub().inverse(), date), None);
    assert_eq!(book.last_rate_date(&usd_rub()), Some(date));
}

#[test]
fn bounds_that_end_before_they_begin_hold_nothing() {
    let mut book = PriceBook::default();
    book.add_prices(&prices(&[(DAY_1, "1", 0)])).unwrap();
    let (early, late): (Timestamp, Timestamp) = (DAY_1.parse().unwrap(), DAY_2.parse().unwrap());
    for bounds in [
        (Bound::Included(late), Bound::Included(early)),
        (Bound::Excluded(early), Bound::Excluded(early)),
        (Bound::Excluded(late), Bound::Included(early)),
    ] {
        assert_eq!(book.prices(&series(), bounds).count(), 0);
    }
    assert_eq!(book.prices(&series(), (Bound::Included(early), Bound::Included(early))).count(), 1);
}

#[test]
fn names_and_pairs_have_one_form() {
    for text in ["", "Venue", "a b", "a,b", "é", &"a".repeat(65)] {
        text.parse::<SourceName>().unwrap_err();
    }
    assert_eq!("a".repeat(64).parse::<SourceName>().unwrap().as_str().len(), 64);
    for text in ["BTC/", "XBT/USD", "USD/BTC", "BTC/USDT", "BTCUSD", "btc/usd", "BTC/USD "] {
        text.parse::<Pair>().unwrap_err();
    }
    assert_eq!("BTC/KZT".parse::<Pair>().unwrap().to_string(), "BTC/KZT");
    for (basis, text) in PriceBasis::ALL {
        assert_eq!(text.parse(), Ok(basis));
        assert_eq!(serde_json::to_string(&basis).unwrap(), format!("\"{text}\""));
    }
}

proptest! {
    #[test]
    fn the_order_of_files_makes_no_difference(
        rows in proptest::collection::vec((0..3u8, 0..3u32, 0..2u8), 1..6).prop_shuffle(),
        seed in any::<prop::sample::Index>(),
    ) {
        // Values follow from day and revision, so that there are no conflicts; zeros at the end make other files of
        // them.
        let file = |(day, revision, zeros): &(u8, u32, u8)| {
            let time = format!("2026-02-0{}T23:59:59Z", day + 1);
            let price = format!("{day}{revision}.5{}", "0".repeat((*zeros).into()));
            prices(&[(time.as_str(), price.trim_start_matches('0'), *revision)])
        };
        let files: Vec<PriceFile> = rows.iter().filter(|row| row.0 > 0).map(file).collect();
        let mut turned = files.clone();
        turned.rotate_left(if files.is_empty() { 0 } else { seed.index(files.len()) });
        let book = |files: &[PriceFile]| {
            let mut book = PriceBook::default();
            files.iter().for_each(|file| book.add_prices(file).unwrap());
            all(&book)
        };
        let straight = book(&files);
        prop_assert_eq!(&book(&turned), &straight);
        turned.reverse();
        prop_assert_eq!(&book(&turned), &straight);
        let twice = [files.clone(), files].concat();
        prop_assert_eq!(&book(&twice), &straight);
    }
}
