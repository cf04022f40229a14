#![allow(clippy::unwrap_used)]

use super::{
    super::{
        fixture::{LATE_MS, Parsed, block, head, lot, row, valued},
        model::Basis,
        table,
    },
    *,
};

fn register(rows: &[RegisterRow]) -> Parsed {
    let mut bytes = Vec::new();
    write_register(&head(), rows, &mut bytes).unwrap();
    Parsed::read(&bytes)
}

fn lots(rows: &[RegisterRow]) -> Parsed {
    let mut bytes = Vec::new();
    write_register_lots(&head(), rows, &mut bytes).unwrap();
    Parsed::read(&bytes)
}

/// The three outputs of a block's net of 313,570,441 sat, by weights 5, 3 and 2.
fn delivered() -> Vec<RegisterRow> {
    vec![row(1, 1, 156_785_221), row(2, 2, 94_071_132), row(3, 3, 62_714_088)]
}

#[test]
fn every_field_of_a_delivery_is_told() {
    let table = register(&delivered()[..1]);
    let coinbase = |id: u8| format!("{}:0@{}", hex::encode([id; 32]), hex::encode([id + 100; 32]));
    let expected = [
        ("sequence", "1".to_owned()),
        ("event", "DELIVERED".to_owned()),
        ("state", "SETTLED".to_owned()),
        ("original_sequence", String::new()),
        ("txid", "9".repeat(64)),
        ("vout", "1".to_owned()),
        ("block_hash", block(900_000).hash),
        ("block_height", "900000".to_owned()),
        ("time_utc", "2026-01-31T21:30:00Z".to_owned()),
        ("time_local", "2026-02-01T00:30:00+03:00".to_owned()),
        ("account", "1".to_owned()),
        ("party", "P-1".to_owned()),
        ("address", "bc1qexample".to_owned()),
        ("script", "0014".to_owned()),
        ("amount_sat", "156785221".to_owned()),
        ("amount_btc", "1.56785221".to_owned()),
        ("movement_sat", "156785221".to_owned()),
        ("movement_btc", "1.56785221".to_owned()),
        ("basis", "RECEIPT".to_owned()),
        ("sender_residency", "KZ".to_owned()),
        ("receiver_residency", "KZ".to_owned()),
        ("lot_count", "2".to_owned()),
        ("lots", format!("{}=156785220;{}=1", coinbase(1), coinbase(2))),
        ("valuation_policy", "close-of-day".to_owned()),
        ("venue", "Example Exchange".to_owned()),
        ("pair", "BTC/USD".to_owned()),
        ("price_basis", "close".to_owned()),
        ("price", "97412.35".to_owned()),
        ("price_time_utc", "2026-01-31T21:30:00Z".to_owned()),
        ("fx_source", "Example Central Bank".to_owned()),
        ("fx_rate", "81.2345".to_owned()),
        ("fx_date", "2026-01-31".to_owned()),
        ("currency", "RUB".to_owned()),
        ("value", "12406796.38".to_owned()),
        ("value_movement", "12406796.38".to_owned()),
        ("price_file_sha256", "cd".repeat(32)),
        ("screenings", "S-1 | S-2".to_owned()),
        ("row_hash", "ef".repeat(32)),
    ];
    assert_eq!(table.header(), expected.iter().map(|(name, _)| (*name).to_owned()).collect::<Vec<_>>());
    for (column, cell) in &expected {
        assert_eq!(table.cell(0, column), cell, "{column}");
    }
}

#[test]
fn originals_and_reversals_are_both_listed_and_sum_to_nothing() {
    let mut rows = delivered();
    for original_seq in 1..=3 {
        let original = rows[original_seq as usize - 1].clone();
        let event = RecordEvent::Reversed { original_seq };
        rows.push(RegisterRow { seq: original_seq + 3, event, at_ms: LATE_MS + 1_800_000, ..original });
    }
    let table = register(&rows);
    assert_eq!(table.rows(), 6);
    assert_eq!(table.column("event")[3..], ["REVERSED"; 3]);
    assert_eq!(table.column("original_sequence"), ["", "", "", "1", "2", "3"]);
    let movements: Vec<i128> = table.column("movement_sat").iter().map(|cell| cell.parse().unwrap()).collect();
    assert_eq!(movements[..3].iter().sum::<i128>(), 313_570_441);
    assert_eq!(movements[3..].iter().sum::<i128>(), -313_570_441);
    assert_eq!(table.cell(3, "movement_btc"), "-1.56785221");
    assert_eq!(table.cell(3, "value_movement"), "-12406796.38");
    assert_eq!(table.cell(3, "amount_sat"), "156785221");
    let lots = lots(&rows);
    assert_eq!((lots.rows(), lots.sum("movement_sat")), (12, 0));
}

#[test]
fn a_correction_carries_the_difference_and_names_the_original() {
    let event = RecordEvent::Corrected { original_seq: 1, difference_sat: 0, difference_minor: Some(-963) };
    let unknown = RecordEvent::Corrected { original_seq: 1, difference_sat: -5, difference_minor: None };
    let rows = [RegisterRow { event, ..row(8, 1, 9) }, RegisterRow { event: unknown, ..row(9, 1, 9) }];
    let table = register(&rows);
    assert_eq!(table.column("event"), ["CORRECTED", "CORRECTED"]);
    assert_eq!(table.column("original_sequence"), ["1", "1"]);
    assert_eq!(table.column("movement_sat"), ["0", "-5"]);
    assert_eq!(table.column("value_movement"), ["-9.63", ""]);
    assert_eq!(lots(&rows).sum("movement_sat"), 0);
}

#[test]
fn what_has_no_value_says_so() {
    let table = register(&[RegisterRow { valuation: Valuation::Unvalued, ..row(1, 1, 5) }]);
    for column in ["valuation_policy", "venue", "pair", "price", "price_time_utc", "fx_rate", "currency"] {
        assert_eq!(table.cell(0, column), "", "{column}");
    }
    assert_eq!((table.cell(0, "value"), table.cell(0, "value_movement")), ("UNVALUED", ""));
    let Valuation::Valued(mut value) = valued() else { panic!("it has a value") };
    value.fx = None;
    let table = register(&[RegisterRow { valuation: Valuation::Valued(value), ..row(1, 1, 5) }]);
    assert_eq!((table.cell(0, "fx_rate"), table.cell(0, "value")), ("", "12406796.38"));
}

#[test]
fn a_price_that_is_no_number_stops_the_report() {
    let Valuation::Valued(mut value) = valued() else { panic!("it has a value") };
    value.price = "=1+1".to_owned();
    let rows = [RegisterRow { valuation: Valuation::Valued(value), ..row(1, 1, 5) }];
    let error = write_register(&head(), &rows, &mut Vec::new()).unwrap_err();
    assert_eq!(error.to_string(), "\"=1+1\" is not a decimal number");
}

#[test]
fn each_lot_has_a_line_of_its_own() {
    let mut rows = delivered();
    rows[1].lots[0].credit = "period 5:2".to_owned();
    let table = lots(&rows);
    assert_eq!(table.rows(), 6);
    assert_eq!(table.column("sequence"), ["1", "1", "2", "2", "3", "3"]);
    assert_eq!(table.column("lot"), ["1", "2", "1", "2", "1", "2"]);
    assert_eq!(table.cell(1, "coinbase"), lot(2, 1).coinbase);
    assert_eq!(table.cell(1, "block_hash"), lot(2, 1).block_hash);
    assert_eq!((table.cell(1, "event"), table.cell(1, "state")), ("DELIVERED", "PAID"));
    assert_eq!(table.column("credit"), ["", "", "period 5:2", "", "", ""]);
    assert_eq!(table.cell(0, "delivery"), format!("{}:1", "9".repeat(64)));
    assert_eq!(table.cell(0, "amount_btc"), "1.56785220");
    assert_eq!(table.sum("amount_sat"), 313_570_441);
    assert_eq!(table.sum("movement_sat"), register(&rows).sum("movement_sat"));
}

#[test]
fn hostile_texts_are_defused_and_come_back() {
    let hostile = "=HYPERLINK(\"http://x\",\"</td><script>\")\r\n\u{202e}\"';=1";
    let rows = [RegisterRow { party: hostile.to_owned(), basis: Basis::ServiceToNonResident, ..row(1, 1, 5) }];
    let table = register(&rows);
    assert!(table.cell(0, "party").starts_with("'="), "{}", table.cell(0, "party"));
    assert_eq!(table::restored(table.cell(0, "party")), hostile);
    assert_eq!(table.cell(0, "basis"), "SERVICE_TO_NON_RESIDENT");
}

#[test]
fn files_are_named_after_the_period() {
    assert_eq!(register_file(&head()), "register_2026-02.csv");
    assert_eq!(register_lots_file(&head()), "register_lots_2026-02.csv");
}

#[test]
fn the_same_rows_give_the_same_bytes() {
    let write = || {
        let mut bytes = Vec::new();
        write_register(&head(), delivered(), &mut bytes).unwrap();
        bytes
    };
    assert_eq!(write(), write());
}
