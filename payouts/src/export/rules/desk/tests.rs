#![allow(clippy::unwrap_used)]

use bitcoin::{Txid, hashes::Hash};
use proptest::prelude::*;

use super::{super::state::RecordState, *};

const QUOTED_MS: i64 = 1_000;
const EXPIRES_MS: i64 = 2_000;

fn reference(text: &str) -> Reference {
    text.parse().unwrap()
}

fn usd(text: &str) -> FiatAmount {
    FiatAmount::parse(text, "USD".parse().unwrap()).unwrap()
}

fn request() -> SaleRequest {
    SaleRequest { sale: reference("S1"), amount_sat: Amount::from_sat(120_000_000), at_ms: 500 }
}

fn quote() -> Quote {
    Quote {
        quote: reference("Q1"),
        desk_party: reference("P1"),
        address: "bc1qw508d6qejxtdg4y5r3zarvary0c5xw7kv8f3t4".to_owned(),
        venue: None,
        price: "70000".parse().unwrap(),
        fee: usd("42"),
        expires_ms: EXPIRES_MS,
        at_ms: QUOTED_MS,
    }
}

fn acceptance(at_ms: i64) -> Acceptance {
    Acceptance { contract: reference("C1"), at_ms }
}

fn delivery() -> Delivery {
    Delivery { outpoint: OutPoint::new(Txid::from_byte_array([7; 32]), 3), at_ms: 3_000 }
}

fn settlement(received: FiatAmount) -> Settlement {
    Settlement { received, bank_reference: reference("B1"), settled_ms: 4_000 }
}

fn declaration() -> Declaration {
    Declaration { declaration: reference("D1"), authority: reference("Example authority"), at_ms: 5_000 }
}

fn cancellation() -> Cancellation {
    Cancellation { reason: reference("price moved"), at_ms: 1_500 }
}

fn quoted() -> Quoted {
    Requested::begin(request()).unwrap().0.quote(quote()).unwrap().0
}

fn delivered() -> Delivered {
    quoted().accept(acceptance(1_500)).unwrap().0.deliver(delivery()).0
}

/// All events of a sale that goes through.
fn events() -> Vec<DeskEvent> {
    let (sale, requested) = Requested::begin(request()).unwrap();
    let (sale, quoted) = sale.quote(quote()).unwrap();
    let (sale, accepted) = sale.accept(acceptance(1_999)).unwrap();
    let (sale, delivered) = sale.deliver(delivery());
    let (sale, settled) = sale.settle(settlement(usd("83950"))).unwrap();
    let (_, declared) = sale.declare(declaration());
    vec![requested, quoted, accepted, delivered, settled, declared]
}

fn cancelled() -> DeskEvent {
    DeskEvent::Cancelled { sale: reference("S1"), step: cancellation() }
}

fn expired(at_ms: i64) -> DeskEvent {
    DeskEvent::Expired { sale: reference("S1"), at_ms }
}

#[test]
fn a_quote_comes_to_its_price_less_its_fee() {
    let quoted = quoted();
    assert_eq!((quoted.gross(), quoted.due()), (usd("84000"), usd("83958")));
}

#[test]
fn a_quote_is_accepted_only_before_it_expires() {
    quoted().accept(acceptance(EXPIRES_MS - 1)).unwrap();
    for at_ms in [EXPIRES_MS, EXPIRES_MS + 1] {
        let error = quoted().accept(acceptance(at_ms)).unwrap_err();
        assert_eq!(error, DeskError::QuoteExpired { quote: reference("Q1"), at_ms, expires_ms: EXPIRES_MS });
        let message = error.to_string();
        assert!(message.starts_with("quote Q1 expired at 1970-01-01T00:00:02Z and"), "{message}");
    }
}

#[test]
fn a_quote_expires_only_once_its_time_is_over() {
    let error = quoted().expire(EXPIRES_MS - 1).unwrap_err();
    let holds = DeskError::QuoteHolds { quote: reference("Q1"), at_ms: EXPIRES_MS - 1, expires_ms: EXPIRES_MS };
    assert_eq!(error, holds);
    let (sale, event) = quoted().expire(EXPIRES_MS).unwrap();
    assert_eq!((sale.at_ms(), event), (EXPIRES_MS, expired(EXPIRES_MS)));
}

#[test]
fn offers_that_make_no_sense_are_refused() {
    let offer = |quote| Requested::begin(request()).unwrap().0.quote(quote).map(drop);
    let never = DeskError::NeverHeld { quote: reference("Q1"), at_ms: QUOTED_MS, expires_ms: QUOTED_MS };
    assert_eq!(offer(Quote { expires_ms: QUOTED_MS, ..quote() }), Err(never));
    for fee in [usd("-0.01"), usd("84000.01")] {
        assert_eq!(offer(Quote { fee, ..quote() }), Err(DeskError::Fee { fee, gross: usd("84000") }));
    }
    offer(Quote { fee: usd("84000"), ..quote() }).unwrap();
    let price = "999999999999999999999999999999".parse().unwrap();
    assert!(matches!(offer(Quote { price, ..quote() }), Err(DeskError::Fiat(FiatError::Range(_)))));
    let nothing = SaleRequest { amount_sat: Amount::ZERO, ..request() };
    assert_eq!(Requested::begin(nothing).map(drop), Err(DeskError::Nothing(reference("S1"))));
}

#[test]
fn a_settlement_is_money_of_the_quote_and_no_more_than_is_due() {
    let settle = |received| delivered().settle(settlement(received));
    let rub = FiatAmount::from_minor(1, "RUB".parse().unwrap());
    for received in [usd("0"), usd("-1"), usd("83958.01"), rub] {
        assert_eq!(settle(received).map(drop), Err(DeskError::Settlement { received, due: usd("83958") }));
    }
    assert_eq!(settle(usd("83958")).unwrap().0.withheld(), usd("0"));
    assert_eq!(settle(usd("83950")).unwrap().0.withheld(), usd("8"));
}

#[test]
fn replayed_events_give_the_state() {
    let events = events();
    let states: Vec<Option<RecordState>> =
        (1..=events.len()).map(|count| replay(&events[..count]).unwrap().record_state()).collect();
    use RecordState::*;
    assert_eq!(states, [None, Some(Quoted), Some(Contracted), Some(Delivered), Some(Settled), Some(Declared)]);
    let DeskSale::Declared(sale) = replay(&events).unwrap() else { panic!("it was declared") };
    assert_eq!(sale.declaration(), &declaration());
    assert_eq!(sale.settled().settlement().received, usd("83950"));
    assert_eq!(sale.settled().delivered().delivery(), &delivery());
    assert_eq!(sale.settled().delivered().contracted().acceptance(), &acceptance(1_999));
    assert_eq!(sale.settled().delivered().contracted().quoted().offer(), &quote());
}

#[test]
fn a_sale_is_cancelled_or_expired_only_before_delivery() {
    let events = events();
    for count in 1..=events.len() {
        let sale = replay(&events[..count]).unwrap();
        let cancelled = sale.clone().apply(&cancelled());
        assert_eq!(cancelled.is_ok(), count <= 3, "after {count} events: {cancelled:?}");
        let expired = sale.apply(&expired(EXPIRES_MS));
        assert_eq!(expired.is_ok(), count == 2, "after {count} events: {expired:?}");
    }
}

#[test]
fn every_other_order_of_events_is_an_error() {
    let mut all = events();
    all.extend([cancelled(), expired(EXPIRES_MS)]);
    // From the name of the last event to those that may follow.
    let follows = |last: &str| match last {
        "REQUESTED" => vec!["QUOTED", "CANCELLED"],
        "QUOTED" => vec!["ACCEPTED", "CANCELLED", "EXPIRED"],
        "ACCEPTED" => vec!["DELIVERED", "CANCELLED"],
        "DELIVERED" => vec!["SETTLED"],
        "SETTLED" => vec!["DECLARED"],
        _ => vec![],
    };
    let straight = events();
    let ends = [vec![&straight[0], &straight[1], &all[6]], vec![&straight[0], &straight[1], &all[7]]];
    let begins = (1..=straight.len()).map(|count| straight[..count].iter().collect::<Vec<_>>());
    for begin in begins.chain(ends) {
        let last = begin.last().unwrap().name();
        for next in &all {
            let sale = replay(begin.iter().copied()).unwrap();
            let result = sale.apply(next);
            assert_eq!(
                result.is_ok(),
                follows(last).contains(&next.name()),
                "{last}, then {}: {result:?}",
                next.name()
            );
            assert!(result.is_ok() || matches!(result, Err(DeskError::Order { .. })));
        }
    }
    for first in &all[1..] {
        assert_eq!(replay([first]), Err(DeskError::Beginning(first.name())));
    }
    assert_eq!(replay([]), Err(DeskError::Beginning("nothing")));
}

#[test]
fn events_of_another_sale_are_refused() {
    let other = DeskEvent::Quoted { sale: reference("S2"), step: quote() };
    let error = replay([&events()[0], &other]).unwrap_err();
    assert_eq!(error, DeskError::OtherSale { sale: reference("S1"), found: reference("S2") });
}

#[test]
fn a_replay_refuses_what_the_step_would_have_refused() {
    let mut events = events();
    events[2] = DeskEvent::Accepted { sale: reference("S1"), step: acceptance(EXPIRES_MS) };
    assert!(matches!(replay(&events), Err(DeskError::QuoteExpired { .. })));
}

#[test]
fn json_of_events_keeps_its_names() {
    let json: Vec<String> = events().iter().map(|event| serde_json::to_string(event).unwrap()).collect();
    assert_eq!(json[0], r#"{"event":"REQUESTED","sale":"S1","amount_sat":120000000,"at_ms":500}"#);
    let quoted = concat!(
        r#"{"event":"QUOTED","sale":"S1","step":{"quote":"Q1","desk_party":"P1","address":"bc1qw508d6qejxtdg4y5r3zarvary0c5xw7kv8f3t4","price":"70000","#,
        r#""fee":{"minor":4200,"currency":"USD"},"expires_ms":2000,"at_ms":1000}}"#
    );
    assert_eq!(json[1], quoted);
    let txid = "07".repeat(32);
    let delivered = format!(r#"{{"event":"DELIVERED","sale":"S1","step":{{"outpoint":"{txid}:3","at_ms":3000}}}}"#);
    assert_eq!(json[3], delivered);
    for (json, event) in json.iter().zip(events()) {
        assert_eq!(serde_json::from_str::<DeskEvent>(json).unwrap(), event);
    }
    let names = ["QUOTED", "ACCEPTED", "DELIVERED", "SETTLED", "DECLARED"];
    assert!(json[1..].iter().zip(names).all(|(json, name)| json.contains(&format!(r#""event":"{name}""#))));
    serde_json::from_str::<DeskEvent>(r#"{"event":"EXPIRED","sale":"S1","at_ms":1,"note":"x"}"#).unwrap_err();
    serde_json::from_str::<DeskEvent>(r#"{"event":"EXPIRED","sale":"","at_ms":1}"#).unwrap_err();
}

#[test]
fn references_are_short_and_printable() {
    for text in ["", " ", " a", "a ", "a\nb", "a\tb", "\u{7f}", &"a".repeat(MAX_REFERENCE_BYTES + 1)] {
        assert!(text.parse::<Reference>().is_err(), "{text:?}");
    }
    for text in ["a", "No. 7 / 2026", "№ 7", &"a".repeat(MAX_REFERENCE_BYTES)] {
        assert_eq!(text.parse::<Reference>().unwrap().as_str(), text);
    }
}

proptest! {
    #[test]
    fn events_in_any_order_never_deliver_without_a_contract(
        picks in proptest::collection::vec(0..8usize, 0..12),
    ) {
        let mut all = events();
        all.extend([cancelled(), expired(EXPIRES_MS)]);
        let mut sale = DeskSale::Requested(Requested::begin(request()).unwrap().0);
        let mut taken = vec!["REQUESTED"];
        for pick in picks {
            if let Ok(next) = sale.clone().apply(&all[pick]) {
                taken.push(all[pick].name());
                sale = next;
            }
        }
        let straight = ["REQUESTED", "QUOTED", "ACCEPTED", "DELIVERED", "SETTLED", "DECLARED"];
        let ended = taken.iter().position(|name| ["CANCELLED", "EXPIRED"].contains(name));
        let way = &taken[..ended.unwrap_or(taken.len())];
        prop_assert_eq!(way, &straight[..way.len()]);
        prop_assert!(ended.is_none_or(|at| at + 1 == taken.len() && at <= 3));
    }
}
