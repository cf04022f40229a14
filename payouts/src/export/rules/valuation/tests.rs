#![allow(clippy::unwrap_used)]

use proptest::prelude::*;

use super::{
    super::price_files::{PriceFile, RateFile},
    *,
};

const SAT: i64 = 156_785_221;

fn currency(code: &str) -> Currency {
    code.parse().unwrap()
}

fn zone(text: &str) -> Zone {
    text.parse().unwrap()
}

fn ms(text: &str) -> i64 {
    text.parse::<Timestamp>().unwrap().as_millisecond()
}

fn series(basis: PriceBasis) -> Series {
    Series { venue: "venue-a".parse().unwrap(), pair: "BTC/USD".parse().unwrap(), basis }
}

fn usd_rub() -> RateSeries {
    RateSeries { source: "bank".parse().unwrap(), base: currency("USD"), quote: currency("RUB") }
}

fn exchange(date: RateDate) -> Option<ExchangePolicy> {
    Some(ExchangePolicy { source: "bank".parse().unwrap(), date })
}

/// Prices of a venue in dollars at its close three hours east of UTC, converted to roubles.
fn policy(date: RateDate) -> ValuationPolicy {
    let series = series(PriceBasis::Close);
    ValuationPolicy::new("test/1".to_owned(), series, zone("+03:00"), currency("RUB"), exchange(date)).unwrap()
}

fn in_dollars(basis: PriceBasis, zone: Zone) -> ValuationPolicy {
    ValuationPolicy::new("test/1".to_owned(), series(basis), zone, currency("USD"), None).unwrap()
}

fn add_prices(book: &mut PriceBook, rows: &[(&str, &str, &str)]) -> FileHash {
    let header = "venue,pair,basis,time,price\n".to_owned();
    let add = |text: String, (basis, time, price): &(&str, &str, &str)| {
        text + &format!("venue-a,BTC/USD,{basis},{time},{price}\n")
    };
    let file = PriceFile::read(rows.iter().fold(header, add).as_bytes()).unwrap();
    book.add_prices(&file).unwrap();
    file.hash()
}

fn add_rates(book: &mut PriceBook, rows: &[(&str, &str)]) -> FileHash {
    let header = "source,base,quote,date,rate\n".to_owned();
    let add = |text: String, (date, rate): &(&str, &str)| text + &format!("bank,USD,RUB,{date},{rate}\n");
    let file = RateFile::read(rows.iter().fold(header, add).as_bytes()).unwrap();
    book.add_rates(&file).unwrap();
    file.hash()
}

fn appraise(policy: &ValuationPolicy, at: &str, book: &PriceBook) -> Appraisal {
    policy.appraise(SignedAmount::from_sat(SAT), ms(at), book).unwrap()
}

fn valued(appraisal: Appraisal) -> Box<Valuation> {
    match appraisal {
        Appraisal::Valued(valuation) => valuation,
        Appraisal::Unvalued(unvalued) => panic!("{unvalued}"),
    }
}

fn missing(appraisal: Appraisal) -> (String, Missing) {
    match appraisal {
        Appraisal::Valued(valuation) => panic!("{valuation:?}"),
        Appraisal::Unvalued(unvalued) => (unvalued.day.to_string(), unvalued.missing),
    }
}

/// The receipt, price and rate of the requirements.
fn february() -> (PriceBook, FileHash, FileHash) {
    let mut book = PriceBook::default();
    let prices = add_prices(&mut book, &[("close", "2026-02-01T20:59:59Z", "97412.35")]);
    let rates = add_rates(&mut book, &[("2026-02-01", "81.2345")]);
    (book, prices, rates)
}

const RECEIPT: &str = "2026-01-31T21:30:00Z";

#[test]
fn a_receipt_is_worth_the_price_and_rate_of_its_day() {
    let (book, prices, rates) = february();
    let valuation = valued(appraise(&policy(RateDate::Same), RECEIPT, &book));
    assert_eq!(valuation.value.to_string(), "12406796.38 RUB");
    assert_eq!(valuation.worked_out(), Ok(valuation.value));
    assert_eq!(valuation.day.to_string(), "2026-02-01");
    assert_eq!(valuation.price_file_sha256, prices);
    assert_eq!(valuation.fx.as_ref().unwrap().file_sha256, rates);
    let reversal = policy(RateDate::Same).appraise(SignedAmount::from_sat(-SAT), ms(RECEIPT), &book).unwrap();
    assert_eq!(valued(reversal).value, valuation.value.checked_neg().unwrap());
}

#[test]
fn a_missing_day_is_not_carried_forward() {
    let (book, ..) = february();
    let policy = policy(RateDate::Same);
    let price = || Missing::Price(series(PriceBasis::Close));
    // The days before and after: the receipts are at most an hour from a day with a price.
    assert_eq!(missing(appraise(&policy, "2026-01-31T20:59:59.999Z", &book)), ("2026-01-31".to_owned(), price()));
    assert_eq!(missing(appraise(&policy, "2026-02-01T21:00:00Z", &book)), ("2026-02-02".to_owned(), price()));
    valued(appraise(&policy, "2026-02-01T20:59:59.999Z", &book));

    let mut no_rate = PriceBook::default();
    add_prices(&mut no_rate, &[("close", "2026-02-01T20:59:59Z", "97412.35")]);
    add_rates(&mut no_rate, &[("2026-01-31", "81"), ("2026-02-02", "82")]);
    let (day, lacks) = missing(appraise(&policy, RECEIPT, &no_rate));
    assert_eq!((day.as_str(), lacks), ("2026-02-01", Missing::Rate(usd_rub())));
}

#[test]
fn prices_of_other_venues_pairs_and_kinds_do_not_count() {
    let mut book = PriceBook::default();
    add_prices(&mut book, &[("vwap", "2026-02-01T20:59:59Z", "1"), ("spot", "2026-02-01T20:59:59Z", "1")]);
    let other = "venue,pair,basis,time,price\n\
        venue-b,BTC/USD,close,2026-02-01T20:59:59Z,1\nvenue-a,BTC/EUR,close,2026-02-01T20:59:59Z,1\n";
    book.add_prices(&PriceFile::read(other.as_bytes()).unwrap()).unwrap();
    add_rates(&mut book, &[("2026-02-01", "81.2345")]);
    let (_, lacks) = missing(appraise(&policy(RateDate::Same), RECEIPT, &book));
    assert_eq!(lacks, Missing::Price(series(PriceBasis::Close)));
}

#[test]
fn midnight_ends_the_day_of_a_close_and_begins_that_of_a_spot_price() {
    let mut book = PriceBook::default();
    let midnight = "2026-02-02T00:00:00Z";
    add_prices(&mut book, &[("close", midnight, "1"), ("vwap", midnight, "2"), ("spot", midnight, "3")]);
    let on = |basis, at| appraise(&in_dollars(basis, Zone::utc()), at, &book);
    let price = |basis, at| valued(on(basis, at)).price.to_string();
    assert_eq!(price(PriceBasis::Close, "2026-02-01T12:00:00Z"), "1");
    assert_eq!(price(PriceBasis::Vwap, "2026-02-01T12:00:00Z"), "2");
    assert_eq!(price(PriceBasis::Spot, "2026-02-02T12:00:00Z"), "3");
    missing(on(PriceBasis::Close, "2026-02-02T12:00:00Z"));
    missing(on(PriceBasis::Spot, "2026-02-01T12:00:00Z"));
}

#[test]
fn the_days_of_a_venue_may_be_those_of_another_zone() {
    let mut book = PriceBook::default();
    add_prices(&mut book, &[("close", "2026-02-01T00:00:00Z", "1"), ("close", "2026-02-02T00:00:00Z", "2")]);
    let eastern = in_dollars(PriceBasis::Close, zone("+03:00"));
    // The close of 31 January UTC is at 3 in the morning of 1 February there.
    assert_eq!(valued(appraise(&eastern, RECEIPT, &book)).price.as_str(), "1");
    let by_utc = eastern.with_price_zone(Zone::utc());
    let valuation = valued(appraise(&by_utc, RECEIPT, &book));
    assert_eq!((valuation.price.as_str(), valuation.day.to_string().as_str()), ("2", "2026-02-01"));
}

#[test]
fn several_closes_for_a_day_leave_it_unvalued() {
    let mut book = PriceBook::default();
    add_prices(&mut book, &[("close", "2026-02-01T12:00:00Z", "1"), ("close", "2026-02-01T13:00:00Z", "1")]);
    let policy = in_dollars(PriceBasis::Close, Zone::utc());
    let (_, lacks) = missing(appraise(&policy, "2026-02-01T12:30:00Z", &book));
    assert_eq!(lacks, Missing::OnePrice(series(PriceBasis::Close)));
}

#[test]
fn a_spot_price_is_the_last_before_the_receipt_on_its_day() {
    let mut book = PriceBook::default();
    let times = ["2026-01-31T23:59:00Z", "2026-02-01T10:00:00Z", "2026-02-01T11:00:00Z", "2026-02-01T12:00:00Z"];
    let rows: Vec<_> = times.iter().zip(["1", "2", "3", "4"]).map(|(time, price)| ("spot", *time, price)).collect();
    add_prices(&mut book, &rows);
    let on = |at| appraise(&in_dollars(PriceBasis::Spot, Zone::utc()), at, &book);
    assert_eq!(valued(on("2026-02-01T11:59:59.999Z")).price.as_str(), "3");
    assert_eq!(valued(on("2026-02-01T12:00:00Z")).price.as_str(), "4");
    missing(on("2026-02-01T09:59:59Z"));
    missing(on("2026-02-02T00:00:00Z"));
}

#[test]
fn a_weekend_takes_the_last_published_rate_only_where_the_policy_says_so() {
    // 31 January 2026 is a Saturday. The bank published for Friday and Monday.
    let mut book = PriceBook::default();
    add_prices(&mut book, &[("close", "2026-02-01T20:59:59Z", "97412.35")]);
    add_rates(&mut book, &[("2026-01-30", "81.2345")]);
    let last = |max_days| policy(RateDate::LastPublished { max_days });
    let (_, lacks) = missing(appraise(&last(3), RECEIPT, &book));
    assert_eq!(lacks, Missing::Rate(usd_rub()), "the file may just be old");
    add_rates(&mut book, &[("2026-02-02", "82")]);
    let valuation = valued(appraise(&last(2), RECEIPT, &book));
    assert_eq!(valuation.fx.as_ref().unwrap().date.to_string(), "2026-01-30");
    assert_eq!(valuation.value.to_string(), "12406796.38 RUB");
    missing(appraise(&last(1), RECEIPT, &book));
    missing(appraise(&policy(RateDate::Same), RECEIPT, &book));
}

#[test]
fn a_bank_that_quotes_its_own_currency_is_divided_by() {
    let mut book = PriceBook::default();
    add_prices(&mut book, &[("close", "2026-02-02T00:00:00Z", "100000")]);
    let ecb_style = "source,base,quote,date,rate\nbank,EUR,USD,2026-02-01,1.0834\n";
    book.add_rates(&RateFile::read(ecb_style.as_bytes()).unwrap()).unwrap();
    let (id, series) = ("test/1".to_owned(), series(PriceBasis::Close));
    let policy = ValuationPolicy::new(id, series, Zone::utc(), currency("EUR"), exchange(RateDate::Same)).unwrap();
    let bitcoin = policy.appraise(SignedAmount::ONE_BTC, ms("2026-02-01T12:00:00Z"), &book).unwrap();
    let valuation = valued(bitcoin);
    assert_eq!(valuation.value.to_string(), "92302.01 EUR");
    assert_eq!(valuation.fx.as_ref().unwrap().rate_of.base, currency("EUR"));
    assert_eq!(valuation.worked_out(), Ok(valuation.value));
}

#[test]
fn policies_that_contradict_themselves_are_refused() {
    let new = |code: &str, exchange| {
        let (id, series) = ("test/1".to_owned(), series(PriceBasis::Close));
        ValuationPolicy::new(id, series, Zone::utc(), currency(code), exchange).map(drop)
    };
    let (usd, rub) = (currency("USD"), currency("RUB"));
    assert_eq!(new("RUB", None), Err(BadPolicy::NoExchange { quote: usd, currency: rub }));
    assert_eq!(new("USD", exchange(RateDate::Same)), Err(BadPolicy::NeedlessExchange(usd)));
    for max_days in [0, MAX_RATE_AGE_DAYS + 1] {
        assert_eq!(new("RUB", exchange(RateDate::LastPublished { max_days })), Err(BadPolicy::RateAge(max_days)));
    }
    assert_eq!(new("USD", None), Ok(()));
}

#[test]
fn times_and_values_out_of_range_are_errors() {
    let (book, ..) = february();
    let policy = policy(RateDate::Same);
    let late = policy.appraise(SignedAmount::ONE_SAT, i64::MAX, &book);
    assert_eq!(late, Err(ValuationError::Time(TimeOutOfRange(i64::MAX))));
    let mut book = PriceBook::default();
    add_prices(&mut book, &[("close", "2026-02-01T12:00:00Z", "999999999999999999999999999999")]);
    let dollars = in_dollars(PriceBasis::Close, Zone::utc());
    let huge = dollars.appraise(SignedAmount::ONE_BTC, ms("2026-02-01T12:00:00Z"), &book);
    assert_eq!(huge, Err(ValuationError::Value(FiatError::Range(currency("USD")))));
}

#[test]
fn a_newer_book_values_what_was_not_and_changes_only_what_differs() {
    let policy = policy(RateDate::Same);
    let amount = SignedAmount::from_sat(SAT);
    let revalue = |earlier: &Appraisal, book: &PriceBook| policy.revalue(earlier, amount, ms(RECEIPT), book).unwrap();
    let nothing = appraise(&policy, RECEIPT, &PriceBook::default());
    assert_eq!(revalue(&nothing, &PriceBook::default()), Revaluation::Unchanged);

    let (mut book, ..) = february();
    let first = appraise(&policy, RECEIPT, &book);
    assert_eq!(revalue(&nothing, &book), Revaluation::New(valued(first.clone())));
    assert_eq!(revalue(&first, &book), Revaluation::Unchanged);
    assert_eq!(revalue(&first, &PriceBook::default()), Revaluation::Unchanged, "a value is not lost");

    let mut other_file = PriceBook::default();
    add_prices(&mut other_file, &[("close", "2026-02-01T20:59:59.000Z", "97412.350")]);
    add_rates(&mut other_file, &[("2026-02-01", "81.23450")]);
    assert_eq!(revalue(&first, &other_file), Revaluation::Unchanged, "another file says the same");

    let revised = "source,base,quote,date,rate,revision\nbank,USD,RUB,2026-02-01,81.2346,1\n";
    book.add_rates(&RateFile::read(revised.as_bytes()).unwrap()).unwrap();
    let Revaluation::New(second) = revalue(&first, &book) else { panic!("the rate was revised") };
    assert_eq!(second.value.to_string(), "12406811.65 RUB");
    assert_eq!(revalue(&Appraisal::Valued(second), &book), Revaluation::Unchanged);
}

#[test]
fn a_tiny_amount_is_valued_anew_even_if_the_value_stays() {
    let policy = in_dollars(PriceBasis::Close, Zone::utc());
    let at_ms = ms("2026-02-01T12:00:00Z");
    let mut book = PriceBook::default();
    add_prices(&mut book, &[("close", "2026-02-01T12:00:00Z", "97412.35")]);
    let earlier = policy.appraise(SignedAmount::ONE_SAT, at_ms, &book).unwrap();
    let revised = "venue,pair,basis,time,price,revision\nvenue-a,BTC/USD,close,2026-02-01T12:00:00Z,97412.36,1\n";
    book.add_prices(&PriceFile::read(revised.as_bytes()).unwrap()).unwrap();
    let revaluation = policy.revalue(&earlier, SignedAmount::ONE_SAT, at_ms, &book).unwrap();
    assert!(matches!(revaluation, Revaluation::New(new) if new.value == valued(earlier).value));
}

#[test]
fn a_revised_rate_is_a_new_valuation_even_if_the_value_stays() {
    let (mut book, ..) = february();
    let policy = policy(RateDate::Same);
    let earlier = policy.appraise(SignedAmount::ZERO, ms(RECEIPT), &book).unwrap();
    let revised = "source,base,quote,date,rate,revision\nbank,USD,RUB,2026-02-01,81.2346,1\n";
    book.add_rates(&RateFile::read(revised.as_bytes()).unwrap()).unwrap();
    let revaluation = policy.revalue(&earlier, SignedAmount::ZERO, ms(RECEIPT), &book).unwrap();
    assert!(matches!(revaluation, Revaluation::New(new) if new.fx.as_ref().unwrap().rate.as_str() == "81.2346"));
}

#[test]
fn json_of_a_valuation_keeps_its_names() {
    let (book, prices, rates) = february();
    let appraisal = appraise(&policy(RateDate::Same), RECEIPT, &book);
    let expected = serde_json::json!({
        "state": "VALUED",
        "policy": "test/1",
        "amount_sat": 156_785_221,
        "day": "2026-02-01",
        "price_of": {"venue": "venue-a", "pair": "BTC/USD", "basis": "close"},
        "price": "97412.35",
        "price_time": "2026-02-01T20:59:59Z",
        "price_file_sha256": prices.to_string(),
        "fx": {
            "rate_of": {"source": "bank", "base": "USD", "quote": "RUB"},
            "rate": "81.2345",
            "nominal": 1,
            "date": "2026-02-01",
            "file_sha256": rates.to_string(),
        },
        "value": {"minor": 1_240_679_638, "currency": "RUB"},
    });
    assert_eq!(serde_json::to_value(&appraisal).unwrap(), expected);
    assert_eq!(serde_json::from_value::<Appraisal>(expected.clone()).unwrap(), appraisal);
    let mut more = expected;
    more["note"] = "x".into();
    serde_json::from_value::<Appraisal>(more).unwrap_err();
}

#[test]
fn json_of_what_is_missing_keeps_its_names() {
    let appraisal = appraise(&policy(RateDate::Same), RECEIPT, &PriceBook::default());
    let expected = serde_json::json!({
        "state": "UNVALUED",
        "policy": "test/1",
        "day": "2026-02-01",
        "missing": {"price": {"venue": "venue-a", "pair": "BTC/USD", "basis": "close"}},
    });
    assert_eq!(serde_json::to_value(&appraisal).unwrap(), expected);
    assert_eq!(serde_json::from_value::<Appraisal>(expected).unwrap(), appraisal);
    let Appraisal::Unvalued(unvalued) = appraisal else { panic!("nothing to value with") };
    assert_eq!(unvalued.to_string(), "no price for 2026-02-01: BTC/USD close at venue-a");
}

proptest! {
    #[test]
    fn what_is_written_is_read_back_and_works_out_the_same(
        sat in -2_100_000_000_000_000..2_100_000_000_000_000i64,
        cents in 1..100_000_000u64,
        fx in 1..10_000_000u64,
    ) {
        let mut book = PriceBook::default();
        let price = format!("{}.{:02}", cents / 100, cents % 100);
        let rate = format!("{}.{:04}", fx / 10_000, fx % 10_000);
        add_prices(&mut book, &[("close", "2026-02-01T20:59:59Z", &price)]);
        add_rates(&mut book, &[("2026-02-01", &rate)]);
        let amount = SignedAmount::from_sat(sat);
        if let Ok(appraisal) = policy(RateDate::Same).appraise(amount, ms(RECEIPT), &book) {
            let json = serde_json::to_string(&appraisal).unwrap();
            prop_assert_eq!(&serde_json::from_str::<Appraisal>(&json).unwrap(), &appraisal);
            let valuation = valued(appraisal);
            prop_assert_eq!(valuation.worked_out(), Ok(valuation.value));
        }
    }
}
