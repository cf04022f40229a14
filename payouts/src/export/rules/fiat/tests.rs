#![allow(clippy::unwrap_used)]

use proptest::prelude::*;

use super::*;

const ONE: NonZeroU32 = NonZeroU32::MIN;

fn currency(code: &str) -> Currency {
    code.parse().unwrap()
}

fn rate(text: &str) -> Rate {
    text.parse().unwrap()
}

fn multiply(rate: &Rate) -> Option<Exchange<'_>> {
    Some(Exchange { rate, nominal: ONE, direction: Direction::Multiply })
}

fn sat(sat: i64) -> SignedAmount {
    SignedAmount::from_sat(sat)
}

fn worth_usd(amount: i64, price: &str) -> i64 {
    worth(sat(amount), &rate(price), None, currency("USD")).unwrap().minor()
}

#[test]
fn a_value_is_rounded_once() {
    let (price, fx) = (rate("97412.35"), rate("81.2345"));
    let value = worth(sat(156_785_221), &price, multiply(&fx), currency("RUB")).unwrap();
    assert_eq!(value.to_string(), "12406796.38 RUB");

    // What rounding to cents in between would give.
    let usd = worth(sat(156_785_221), &price, None, currency("USD")).unwrap();
    assert_eq!(usd.to_string(), "152728.17 USD");
    let twice = worth(sat(100_000_000), &rate(&usd.to_decimal()), multiply(&fx), currency("RUB")).unwrap();
    assert_eq!(twice.to_string(), "12406796.53 RUB");
    assert_ne!(twice, value);
}

#[test]
fn half_a_minor_unit_goes_away_from_zero() {
    // One satoshi at 500,000 is half a cent.
    assert_eq!((worth_usd(1, "500000"), worth_usd(-1, "500000")), (1, -1));
    assert_eq!((worth_usd(1, "499999.99"), worth_usd(-1, "499999.99")), (0, 0));
    assert_eq!((worth_usd(3, "500000"), worth_usd(-3, "500000")), (2, -2));
    assert_eq!(worth_usd(0, "97412.35"), 0);
}

#[test]
fn each_currency_is_rounded_to_its_own_minor_unit() {
    let value = |code: &str| worth(sat(100_000_000), &rate("1234.56789"), None, currency(code)).unwrap().to_string();
    assert_eq!(["JPY", "USD", "KWD", "CLF"].map(value), ["1235 JPY", "1234.57 USD", "1234.568 KWD", "1234.5679 CLF"]);
}

#[test]
fn a_nominal_divides_the_rate() {
    let (price, fx) = (rate("60000"), rate("18.1234"));
    let hundred = Exchange { rate: &fx, nominal: NonZeroU32::new(100).unwrap(), direction: Direction::Multiply };
    let value = worth(sat(100_000_000), &price, Some(hundred), currency("KZT")).unwrap();
    assert_eq!(value.to_string(), "10874.04 KZT");
}

#[test]
fn a_bank_that_quotes_its_own_currency_is_divided_by() {
    // 1 EUR = 1.0834 USD: 100,000 USD are 92,302.0121... EUR.
    let fx = rate("1.0834");
    let exchange = Exchange { rate: &fx, nominal: ONE, direction: Direction::Divide };
    let value = worth(sat(100_000_000), &rate("100000"), Some(exchange), currency("EUR")).unwrap();
    assert_eq!(value.to_string(), "92302.01 EUR");
}

#[test]
fn values_beyond_the_range_are_refused() {
    let huge = rate("999999999999999999999999999999");
    let all = sat(i64::MIN);
    for exchange in [None, multiply(&huge)] {
        assert_eq!(worth(all, &huge, exchange, currency("USD")), Err(FiatError::Range(currency("USD"))));
    }
    let tiny = rate("0.00000000000000000000000000001");
    let big = Exchange { rate: &tiny, nominal: NonZeroU32::MAX, direction: Direction::Divide };
    assert_eq!(worth(all, &huge, Some(big), currency("CLF")), Err(FiatError::Range(currency("CLF"))));
    assert_eq!(worth(all, &tiny, None, currency("USD")).unwrap().minor(), 0);
}

#[test]
fn currencies_do_not_mix_and_sums_do_not_wrap() {
    let (usd, eur) = (currency("USD"), currency("EUR"));
    let (most, least) = (FiatAmount::from_minor(i64::MAX, usd), FiatAmount::from_minor(i64::MIN, usd));
    let one = FiatAmount::from_minor(1, usd);
    assert_eq!(one.checked_add(FiatAmount::zero(eur)), Err(FiatError::Mixed { left: usd, right: eur }));
    assert_eq!(one.checked_sub(FiatAmount::zero(eur)), Err(FiatError::Mixed { left: usd, right: eur }));
    assert_eq!(most.checked_add(one), Err(FiatError::Range(usd)));
    assert_eq!(least.checked_sub(one), Err(FiatError::Range(usd)));
    assert_eq!(least.checked_neg(), Err(FiatError::Range(usd)));
    assert_eq!(one.checked_sub(most).unwrap().checked_neg().unwrap().minor(), i64::MAX - 1);
}

#[test]
fn amounts_are_written_with_all_their_digits() {
    let text = |minor, code: &str| FiatAmount::from_minor(minor, currency(code)).to_string();
    assert_eq!(text(-5, "USD"), "-0.05 USD");
    assert_eq!(text(-123_456, "USD"), "-1234.56 USD");
    assert_eq!(text(7, "JPY"), "7 JPY");
    assert_eq!(text(i64::MIN, "KWD"), "-9223372036854775.808 KWD");
}

#[test]
fn parts_of_a_minor_unit_are_refused() {
    let parse = |text: &str, code: &str| FiatAmount::parse(text, currency(code)).map(FiatAmount::minor);
    assert_eq!(parse("42", "USD"), Ok(4_200));
    assert_eq!(parse("42.5", "USD"), Ok(4_250));
    assert_eq!(parse("-0.05", "USD"), Ok(-5));
    assert_eq!(parse("42", "JPY"), Ok(42));
    assert_eq!(parse("92233720368547758.08", "USD"), Err(FiatError::Range(currency("USD"))));
    assert_eq!(parse(&"9".repeat(60), "USD"), Err(FiatError::Range(currency("USD"))));
    for (text, code) in
        [("42.005", "USD"), ("42.0", "JPY"), ("", "USD"), ("-", "USD"), (".5", "USD"), ("5.", "USD"), ("+5", "USD")]
    {
        assert_eq!(parse(text, code), Err(FiatError::Form { text: text.to_owned(), currency: currency(code) }));
    }
}

#[test]
fn json_is_minor_units_and_a_code() {
    let amount = FiatAmount::from_minor(-1_240_679_638, currency("RUB"));
    let json = r#"{"minor":-1240679638,"currency":"RUB"}"#;
    assert_eq!(serde_json::to_string(&amount).unwrap(), json);
    assert_eq!(serde_json::from_str::<FiatAmount>(json).unwrap(), amount);
}

proptest! {
    #[test]
    fn a_reversal_is_worth_the_exact_negative(amount in 0..=2_100_000_000_000_000i64, cents in 1..100_000_000u64) {
        let price = rate(&format!("{}.{:02}", cents / 100, cents % 100));
        prop_assert_eq!(worth_usd(amount, price.as_str()), -worth_usd(-amount, price.as_str()));
    }

    #[test]
    fn a_value_is_at_most_half_a_minor_unit_off(amount in 0..=2_100_000_000_000_000i64, cents in 1..100_000_000i64) {
        let minor = worth_usd(amount, &format!("{}.{:02}", cents / 100, cents % 100));
        let off = i128::from(minor) * 100_000_000 - i128::from(amount) * i128::from(cents);
        prop_assert!((-49_999_999..=50_000_000).contains(&off), "{off}");
    }

    #[test]
    fn what_is_written_is_read_back(minor in any::<i64>(), code in "USD|JPY|KWD|CLF") {
        let amount = FiatAmount::from_minor(minor, currency(&code));
        prop_assert_eq!(FiatAmount::parse(&amount.to_decimal(), currency(&code)), Ok(amount));
    }
}
