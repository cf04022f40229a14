#![allow(clippy::unwrap_used)]

use proptest::prelude::*;
use serde_json::Value;

use super::super::fixture::head;
use super::*;

/// A pool of one block and one payout: of what the coinbase paid, some was paid and some is blocked.
fn figures() -> Figures {
    Figures {
        coinbases: vec![CoinbaseFigures {
            block: "b1".to_owned(),
            coinbase_sat: 316_737_819,
            fee_sat: 3_167_378,
            credits_sat: 313_570_441,
            remainder_sat: 0,
        }],
        balances: vec![BalanceFigures {
            scope: "all".to_owned(),
            opening_sat: 0,
            credits_sat: 313_570_441,
            reversals_sat: 0,
            payouts_sat: 250_000_000,
            network_fees_sat: 0,
            payable_sat: 856_353,
            held_sat: 0,
            blocked_sat: 62_714_088,
        }],
        lots_sat: 370_000_000,
        statements_sat: 250_000_000,
        register_sat: 370_000_000,
        sales_sat: 120_000_000,
        available_lots_sat: 120_000_000,
        obligation: None,
        transactions: vec![TransactionFigures {
            txid: "t1".to_owned(),
            outputs_sat: 316_737_819,
            payouts_sat: 250_000_000,
            network_fee_sat: 2_500,
            change_sat: 66_735_319,
        }],
    }
}

/// Adds `by` to one figure after another, as far as there are any.
fn edited(mut figures: Figures, which: usize, by: i64) -> Option<Figures> {
    fn add(figure: &mut u64, by: i64) {
        *figure = figure.wrapping_add_signed(by);
    }
    let mut place = 0;
    let mut here = || {
        place += 1;
        place == which + 1
    };
    macro_rules! edit {
        ($($signed:ident $row:expr => $field:ident;)*) => {
            $(if here() {
                edit!(@ $signed, $row.$field, by);
                return Some(figures);
            })*
        };
        (@ signed, $figure:expr, $by:expr) => { $figure += $by };
        (@ unsigned, $figure:expr, $by:expr) => { add(&mut $figure, $by) };
    }
    for at in 0..figures.coinbases.len() {
        edit! {
            unsigned figures.coinbases[at] => coinbase_sat;
            unsigned figures.coinbases[at] => fee_sat;
            unsigned figures.coinbases[at] => credits_sat;
            unsigned figures.coinbases[at] => remainder_sat;
        }
    }
    for at in 0..figures.balances.len() {
        edit! {
            signed figures.balances[at] => opening_sat;
            unsigned figures.balances[at] => credits_sat;
            unsigned figures.balances[at] => reversals_sat;
            signed figures.balances[at] => payouts_sat;
            signed figures.balances[at] => network_fees_sat;
            signed figures.balances[at] => payable_sat;
            unsigned figures.balances[at] => held_sat;
            unsigned figures.balances[at] => blocked_sat;
        }
    }
    for at in 0..figures.transactions.len() {
        edit! {
            unsigned figures.transactions[at] => outputs_sat;
            unsigned figures.transactions[at] => payouts_sat;
            unsigned figures.transactions[at] => network_fee_sat;
            unsigned figures.transactions[at] => change_sat;
        }
    }
    edit! {
        signed figures => lots_sat;
        signed figures => statements_sat;
        signed figures => register_sat;
        signed figures => sales_sat;
    }
    None
}

#[test]
fn consistent_figures_reconcile_and_the_file_shows_how() {
    let reconciliation = figures().reconcile();
    let mut bytes = Vec::new();
    assert!(reconciliation.write(&head(), &mut bytes).unwrap());
    let file: Value = serde_json::from_slice(&bytes).unwrap();
    assert_eq!(file["reconciled"], true);
    assert_eq!(file["notice"], super::super::NOT_LEGAL_ADVICE);
    assert_eq!(file["unit"], "satoshi");
    let equalities = file["equalities"].as_array().unwrap();
    assert_eq!(equalities.len(), 6);
    for equality in equalities {
        for (side, terms) in [("left", "left_terms"), ("right", "right_terms")] {
            let sum: i64 = equality[terms].as_array().unwrap().iter().map(|term| term["sat"].as_i64().unwrap()).sum();
            assert_eq!(equality[side].as_i64().unwrap(), sum, "{equality}");
        }
        assert_eq!(equality["difference"], 0);
    }
    let balance = &equalities[1];
    assert_eq!(balance["name"], "opening + credits - reversals - payouts - network fees = payable + held + blocked");
    assert_eq!(balance["left"], 63_570_441);
    assert_eq!(balance["right_terms"][0], serde_json::json!({ "name": "payable", "sat": 856_353 }));
    assert_eq!((&equalities[4]["relation"], &equalities[0]["relation"]), (&"<=".into(), &"=".into()));
}

#[test]
fn an_edit_of_one_satoshi_of_any_figure_fails() {
    let count = (0..).take_while(|&which| edited(figures(), which, 0).is_some()).count();
    assert_eq!(count, 20);
    for which in 0..count {
        for by in [1, -1] {
            let Some(edited) = edited(figures(), which, by) else { panic!("{which}") };
            let reconciliation = edited.reconcile();
            let differing: Vec<i128> =
                reconciliation.equalities.iter().map(|equality| equality.difference).filter(|&it| it != 0).collect();
            assert!(!reconciliation.reconciled && !differing.is_empty(), "figure {which} by {by}");
            let mut bytes = Vec::new();
            assert!(!reconciliation.write(&head(), &mut bytes).unwrap());
        }
    }
}

#[test]
fn an_orphaned_block_leaves_nothing() {
    let balance = BalanceFigures {
        scope: "all".to_owned(),
        opening_sat: 0,
        credits_sat: 313_570_441,
        reversals_sat: 313_570_441,
        payouts_sat: 0,
        network_fees_sat: 0,
        payable_sat: 0,
        held_sat: 0,
        blocked_sat: 0,
    };
    let orphaned = Figures { balances: vec![balance.clone()], ..figures() };
    assert!(orphaned.reconcile().reconciled);
    let kept = Figures { balances: vec![BalanceFigures { payable_sat: 1, ..balance }], ..figures() };
    assert_eq!(kept.reconcile().equalities[1].difference, -1);
}

#[test]
fn sales_may_be_less_than_the_lots_but_not_a_satoshi_more() {
    let selling = |sales_sat| {
        let all_sat = 250_000_000 + sales_sat;
        Figures { sales_sat, lots_sat: all_sat, register_sat: all_sat, ..figures() }.reconcile()
    };
    assert!(selling(0).reconciled);
    let more = selling(120_000_001);
    assert_eq!((more.reconciled, more.equalities[4].difference), (false, 1));
}

#[test]
fn two_errors_that_cancel_out_are_still_found() {
    let other = CoinbaseFigures { block: "b2".to_owned(), ..figures().coinbases[0].clone() };
    let mut both = figures();
    both.coinbases.push(other);
    both.coinbases[0].credits_sat += 1;
    both.coinbases[1].credits_sat -= 1;
    assert!(!both.reconcile().reconciled);
}

/// Amounts of which some can be summed up.
fn sats() -> std::ops::Range<u64> {
    0..1 << 50
}

/// Such amounts, or negative ones.
fn signed_sats() -> std::ops::Range<i64> {
    -(1 << 50)..1 << 50
}

prop_compose! {
    fn coinbases()(fee_sat in sats(), credits_sat in sats(), remainder_sat in sats()) -> CoinbaseFigures {
        let coinbase_sat = fee_sat + credits_sat + remainder_sat;
        CoinbaseFigures { block: String::new(), coinbase_sat, fee_sat, credits_sat, remainder_sat }
    }
}

prop_compose! {
    fn balances()(
        opening_sat in signed_sats(),
        [credits_sat, reversals_sat, held_sat, blocked_sat] in prop::array::uniform4(sats()),
        [payouts_sat, network_fees_sat] in prop::array::uniform2(signed_sats()),
    ) -> BalanceFigures {
        let closing_sat = opening_sat + credits_sat as i64 - reversals_sat as i64 - payouts_sat - network_fees_sat;
        let payable_sat = closing_sat - held_sat as i64 - blocked_sat as i64;
        let scope = String::new();
        BalanceFigures {
            scope,
            opening_sat,
            credits_sat,
            reversals_sat,
            payouts_sat,
            network_fees_sat,
            payable_sat,
            held_sat,
            blocked_sat,
        }
    }
}

prop_compose! {
    fn transactions()(payouts_sat in sats(), network_fee_sat in sats(), change_sat in sats()) -> TransactionFigures {
        let outputs_sat = payouts_sat + network_fee_sat + change_sat;
        TransactionFigures { txid: String::new(), outputs_sat, payouts_sat, network_fee_sat, change_sat }
    }
}

prop_compose! {
    fn consistent()(
        coinbases in prop::collection::vec(coinbases(), 0..4),
        balances in prop::collection::vec(balances(), 0..4),
        transactions in prop::collection::vec(transactions(), 0..4),
        moved_sat in signed_sats(),
        sales_sat in signed_sats(),
    ) -> Figures {
        Figures {
            coinbases,
            balances,
            lots_sat: moved_sat + sales_sat,
            statements_sat: moved_sat,
            register_sat: moved_sat + sales_sat,
            sales_sat,
            available_lots_sat: u64::try_from(sales_sat).unwrap_or(0),
            obligation: None,
            transactions,
        }
    }
}

proptest! {
    #[test]
    fn figures_reconcile_if_and_only_if_they_are_consistent(figures in consistent(), which in 0usize..60) {
        prop_assert!(figures.reconcile().reconciled);
        for by in [1, -1] {
            if let Some(edited) = edited(figures.clone(), which, by) {
                prop_assert!(!edited.reconcile().reconciled);
            }
        }
        let sold = i64::try_from(figures.available_lots_sat).unwrap() + 1;
        let oversold = Figures {
            sales_sat: sold,
            lots_sat: figures.statements_sat + sold,
            register_sat: figures.statements_sat + sold,
            ..figures
        };
        prop_assert!(!oversold.reconcile().reconciled);
    }
}
