#![allow(clippy::unwrap_used)]

use proptest::prelude::*;

use super::*;

fn usd(text: &str) -> FiatAmount {
    FiatAmount::parse(text, "USD".parse().unwrap()).unwrap()
}

fn lot(id: &str, sat: u64, cost: &str, acquired_ms: i64) -> LotPosition {
    LotPosition { id: id.to_owned(), amount: Amount::from_sat(sat), cost: Some(usd(cost)), acquired_ms }
}

fn terms(sat: u64, price: &str, fee: &str) -> SaleTerms {
    SaleTerms { amount: Amount::from_sat(sat), price: price.parse().unwrap(), fee: usd(fee) }
}

fn pick(lot: &str, sat: u64) -> Pick {
    Pick { lot: lot.to_owned(), amount: Amount::from_sat(sat) }
}

/// 1.0 BTC bought at 60,000 and later 0.5 at 64,000.
fn lots() -> [LotPosition; 2] {
    [lot("L1", 100_000_000, "60000", 1), lot("L2", 50_000_000, "32000", 2)]
}

#[test]
fn first_in_first_out_takes_the_oldest_lots_and_a_part_of_the_next() {
    let disposal = sell(&lots(), &terms(120_000_000, "70000", "42"), Selection::Fifo).unwrap();
    assert_eq!(disposal.cost, Some(usd("72800")));
    assert_eq!((disposal.gross, disposal.fee, disposal.net), (usd("84000"), usd("42"), usd("83958")));
    assert_eq!(disposal.gain, Some(usd("11158")));
    let part = |lot: &str, sat, cost, acquired_ms| SoldPart {
        lot: lot.to_owned(),
        amount: Amount::from_sat(sat),
        cost: Some(usd(cost)),
        acquired_ms,
    };
    assert_eq!(disposal.parts, [part("L1", 100_000_000, "60000", 1), part("L2", 20_000_000, "12800", 2)]);
    assert_eq!(disposal.left, [lot("L2", 30_000_000, "19200", 2)]);
}

#[test]
fn specific_lots_are_those_that_were_named() {
    let picks = [pick("L2", 50_000_000), pick("L1", 70_000_000)];
    let disposal = sell(&lots(), &terms(120_000_000, "70000", "42"), Selection::Specific(&picks)).unwrap();
    assert_eq!((disposal.cost, disposal.gain), (Some(usd("74000")), Some(usd("9958"))));
    assert_eq!(disposal.left, [lot("L1", 30_000_000, "18000", 1)]);
}

#[test]
fn a_sale_never_exceeds_the_lots() {
    let missing = Amount::ONE_SAT;
    assert_eq!(sell(&lots(), &terms(150_000_001, "1", "0"), Selection::Fifo), Err(SaleError::Short { missing }));
    assert!(sell(&lots(), &terms(150_000_000, "1", "0"), Selection::Fifo).unwrap().left.is_empty());
    assert_eq!(sell(&[], &terms(1, "1", "0"), Selection::Fifo), Err(SaleError::Short { missing }));
    assert_eq!(sell(&lots(), &terms(0, "1", "0"), Selection::Fifo), Err(SaleError::Nothing));
}

#[test]
fn named_lots_must_exist_suffice_and_make_up_the_sale() {
    let sale = terms(50_000_001, "1", "0");
    let error = |picks: &[Pick]| sell(&lots(), &sale, Selection::Specific(picks)).unwrap_err();
    assert_eq!(error(&[pick("L3", 1)]), SaleError::UnknownLot("L3".to_owned()));
    assert_eq!(error(&[pick("L1", 1), pick("L1", 50_000_000)]), SaleError::LotTwice("L1".to_owned()));
    assert_eq!(error(&[pick("L1", 50_000_001), pick("L2", 0)]), SaleError::Nothing);
    let short = SaleError::LotShort {
        lot: "L2".to_owned(),
        has: Amount::from_sat(50_000_000),
        picked: Amount::from_sat(50_000_001),
    };
    assert_eq!(error(&[pick("L2", 50_000_001)]), short);
    let differ = SaleError::Picks { picked_sat: 50_000_000, sale: sale.amount };
    assert_eq!(error(&[pick("L2", 50_000_000)]), differ);
}

#[test]
fn lots_that_make_no_sense_are_refused() {
    let twice = [lot("L1", 1, "1", 1), lot("L1", 1, "1", 2)];
    assert_eq!(sell(&twice, &terms(1, "1", "0"), Selection::Fifo), Err(SaleError::LotTwice("L1".to_owned())));
    let negative = [lot("L1", 1, "-1", 1)];
    assert_eq!(sell(&negative, &terms(1, "1", "0"), Selection::Fifo), Err(SaleError::Negative(usd("-1"))));
    assert_eq!(sell(&lots(), &terms(1, "1", "-1"), Selection::Fifo), Err(SaleError::Negative(usd("-1"))));
    let rub = LotPosition { cost: Some(FiatAmount::zero("RUB".parse().unwrap())), ..lot("L0", 1, "0", 0) };
    let mixed = [rub, lot("L1", 1, "1", 1)];
    assert!(matches!(
        sell(&mixed, &terms(2, "1", "0"), Selection::Fifo),
        Err(SaleError::Fiat(FiatError::Mixed { .. }))
    ));
}

#[test]
fn without_a_cost_or_with_one_in_another_currency_there_is_no_gain() {
    let unvalued = LotPosition { cost: None, ..lot("L0", 100_000_000, "0", 0) };
    let lots = [vec![unvalued], lots().to_vec()].concat();
    let disposal = sell(&lots, &terms(120_000_000, "70000", "42"), Selection::Fifo).unwrap();
    assert_eq!((disposal.cost, disposal.gain, disposal.net), (None, None, usd("83958")));
    let disposal = sell(&lots, &terms(1, "70000", "0"), Selection::Specific(&[pick("L1", 1)])).unwrap();
    assert_eq!((disposal.cost, disposal.gain), (Some(usd("0")), Some(usd("0"))));
    let rub = SaleTerms { fee: FiatAmount::zero("RUB".parse().unwrap()), ..terms(50_000_000, "70000", "0") };
    let disposal = sell(&lots, &rub, Selection::Specific(&[pick("L1", 50_000_000)])).unwrap();
    assert_eq!((disposal.cost, disposal.gain), (Some(usd("30000")), None));
}

#[test]
fn a_loss_is_a_negative_gain() {
    let disposal = sell(&lots(), &terms(100_000_000, "50000", "10.50"), Selection::Fifo).unwrap();
    assert_eq!(disposal.gain, Some(usd("-10010.50")));
}

#[test]
fn units_that_remain_go_to_the_parts_that_lost_most() {
    let split = |cost, parts: &[u64]| {
        let parts: Vec<Amount> = parts.iter().map(|sat| Amount::from_sat(*sat)).collect();
        let costs = split_cost(usd(cost), &parts).unwrap();
        costs.into_iter().map(FiatAmount::minor).collect::<Vec<_>>()
    };
    assert_eq!(split("0.10", &[1, 1, 1]), [4, 3, 3]);
    assert_eq!(split("0.11", &[1, 1, 1]), [4, 4, 3]);
    assert_eq!(split("0.10", &[1, 2, 4]), [1, 3, 6]);
    assert_eq!(split("0.01", &[1, 2]), [0, 1]);
    assert_eq!(split("0", &[1, 0]), [0, 0]);
    assert_eq!(split_cost(usd("1"), &[Amount::ZERO]), Err(SaleError::Nothing));
    assert_eq!(split_cost(usd("1"), &[]), Err(SaleError::Nothing));
    let most = FiatAmount::from_minor(i64::MAX, "USD".parse().unwrap());
    let halves = split_cost(most, &[Amount::from_sat(u64::MAX), Amount::from_sat(u64::MAX)]).unwrap();
    assert_eq!(halves[0].checked_add(halves[1]), Ok(most));
}

#[test]
fn json_of_a_lot_and_a_disposal_is_read_back() {
    let json = r#"{"id":"L1","sat":100000000,"cost":{"minor":6000000,"currency":"USD"},"acquired_ms":1}"#;
    assert_eq!(serde_json::to_string(&lots()[0]).unwrap(), json);
    let disposal = sell(&lots(), &terms(120_000_000, "70000", "42"), Selection::Fifo).unwrap();
    let json = serde_json::to_string(&disposal).unwrap();
    assert_eq!(serde_json::from_str::<Disposal>(&json).unwrap(), disposal);
}

/// Lots with few times, so that many are of the same.
fn some_lots() -> impl Strategy<Value = Vec<LotPosition>> {
    let lot_of = |(sat, cost, acquired_ms): (u64, i64, i64)| {
        let cost = Some(FiatAmount::from_minor(cost, "USD".parse().unwrap()));
        LotPosition { id: String::new(), amount: Amount::from_sat(sat), cost, acquired_ms }
    };
    let lots = proptest::collection::vec((1..1_000_000u64, 0..100_000_000i64, 0..3i64).prop_map(lot_of), 1..12);
    lots.prop_map(|mut lots| {
        lots.iter_mut().enumerate().for_each(|(number, lot)| lot.id = format!("L{number}"));
        lots
    })
}

fn sat(lots: &[LotPosition]) -> u64 {
    lots.iter().map(|lot| lot.amount.to_sat()).sum()
}

fn cost(lots: &[LotPosition]) -> i64 {
    lots.iter().map(|lot| lot.cost.unwrap().minor()).sum()
}

proptest! {
    #[test]
    fn the_order_of_lots_makes_no_difference(
        (lots, shuffled) in some_lots().prop_flat_map(|lots| (Just(lots.clone()), Just(lots).prop_shuffle())),
        part in any::<prop::sample::Index>(),
    ) {
        let total = usize::try_from(sat(&lots)).unwrap();
        let sale = terms(1 + part.index(total) as u64, "70000.01", "0");
        prop_assert_eq!(sell(&lots, &sale, Selection::Fifo), sell(&shuffled, &sale, Selection::Fifo));
    }

    #[test]
    fn no_satoshi_and_no_cent_is_lost_over_any_sales(
        lots in some_lots(),
        sales in proptest::collection::vec(1..500_000u64, 1..20),
        price in 1..10_000_000u64,
    ) {
        let (mut left, mut sold_sat, mut sold_cost) = (lots.clone(), 0, 0);
        for amount in sales {
            let before = left.clone();
            match sell(&left, &terms(amount, &price.to_string(), "0.01"), Selection::Fifo) {
                Ok(disposal) => {
                    let parts = &disposal.parts;
                    let cost = disposal.cost.unwrap().minor();
                    prop_assert_eq!(parts.iter().map(|part| part.amount.to_sat()).sum::<u64>(), amount);
                    prop_assert_eq!(parts.iter().map(|part| part.cost.unwrap().minor()).sum::<i64>(), cost);
                    let oldest_first = disposal.parts.is_sorted_by_key(|part| (part.acquired_ms, part.lot.clone()));
                    prop_assert!(oldest_first);
                    let (gross, fee) = (disposal.gross.minor(), disposal.fee.minor());
                    prop_assert_eq!(disposal.gain.unwrap().minor(), gross - fee - cost);
                    sold_sat += amount;
                    sold_cost += cost;
                    left = disposal.left;
                }
                Err(error) => {
                    let missing = Amount::from_sat(amount - sat(&before));
                    prop_assert_eq!(error, SaleError::Short { missing });
                }
            }
            prop_assert_eq!(sat(&left) + sold_sat, sat(&lots));
            prop_assert_eq!(cost(&left) + sold_cost, cost(&lots));
        }
    }

    #[test]
    fn naming_the_oldest_lots_is_first_in_first_out(lots in some_lots(), part in any::<prop::sample::Index>()) {
        let total = usize::try_from(sat(&lots)).unwrap();
        let sale = terms(1 + part.index(total) as u64, "70000", "0");
        let fifo = sell(&lots, &sale, Selection::Fifo).unwrap();
        let picks: Vec<Pick> = fifo.parts.iter().map(|part| pick(&part.lot, part.amount.to_sat())).collect();
        prop_assert_eq!(sell(&lots, &sale, Selection::Specific(&picks)), Ok(fifo));
    }

    #[test]
    fn parts_of_a_cost_sum_to_it_and_are_less_than_a_unit_off(
        minor in 0..=i64::MAX,
        sats in proptest::collection::vec(0..=2_100_000_000_000_000u64, 1..10),
    ) {
        let total: u128 = sats.iter().map(|sat| u128::from(*sat)).sum();
        prop_assume!(total > 0);
        let parts: Vec<Amount> = sats.iter().map(|sat| Amount::from_sat(*sat)).collect();
        let costs = split_cost(FiatAmount::from_minor(minor, "USD".parse().unwrap()), &parts).unwrap();
        prop_assert_eq!(costs.iter().map(|cost| i128::from(cost.minor())).sum::<i128>(), i128::from(minor));
        for (cost, part) in costs.iter().zip(&sats) {
            let exact_times_total = u128::from(minor.unsigned_abs()) * u128::from(*part);
            let off = (u128::from(cost.minor().unsigned_abs()) * total).abs_diff(exact_times_total);
            prop_assert!(off < total, "{off} of {total}");
        }
    }
}
