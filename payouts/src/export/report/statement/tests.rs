#![allow(clippy::unwrap_used)]

use proptest::prelude::*;
use quick_xml::{Reader, events::Event};
use serde_json::{Value as Json, json};

use super::{
    super::{
        NOT_LEGAL_ADVICE,
        fixture::{LATE_MS, Parsed, block, head, statement, usd, valued},
        model::{CreditLine, PayoutLine, ReversalLine},
        table,
    },
    *,
};

fn csv(balanced: &BalancedStatement) -> Parsed {
    let mut bytes = Vec::new();
    balanced.write_csv(&head(), &mut bytes).unwrap();
    Parsed::read(&bytes)
}

fn json(balanced: &BalancedStatement) -> Json {
    let mut bytes = Vec::new();
    balanced.write_json(&head(), &mut bytes).unwrap();
    serde_json::from_slice(&bytes).unwrap()
}

fn html(balanced: &BalancedStatement) -> String {
    let mut bytes = Vec::new();
    balanced.write_html(&head(), &mut bytes).unwrap();
    String::from_utf8(bytes).unwrap()
}

/// A month with an orphaned block, a payout that came back, something held and something blocked.
fn eventful() -> Statement {
    let mut month = statement();
    let [credit, payout] = [month.credits[0].clone(), month.credits[0].clone()];
    month.credits.push(CreditLine { amount_sat: 1_000, fee_sat: 10, block: Some(block(899_001)), ..credit });
    month.reversals.push(ReversalLine {
        block: Some(block(899_001)),
        coinbase: payout.coinbase,
        at_ms: LATE_MS + 2,
        amount_sat: 1_000,
        fee_sat: 10,
        valuation: valued(),
    });
    month.payouts.push(PayoutLine { reversed: true, ..month.payouts[0].clone() });
    month.opening_sat = -7;
    month.payable_sat = 856_353 + 250_000_000 - 7 - 500;
    month.held.push(SetAside {
        since_ms: LATE_MS,
        amount_sat: 500,
        reason: "SAME_KEY".to_owned(),
        screening: "S-9".to_owned(),
    });
    month
}

#[test]
fn credits_payouts_and_blocked_leave_what_is_payable_and_an_edit_of_one_satoshi_fails() {
    let balanced = statement().balanced().unwrap();
    assert_eq!(balanced.totals().closing_sat(), 63_570_441);
    assert_eq!(balanced.totals().payable_sat, 856_353);
    let edits: [fn(&mut Statement); 6] = [
        |month| month.opening_sat += 1,
        |month| month.credits[0].amount_sat += 1,
        |month| month.payouts[0].amount_sat += 1,
        |month| month.payouts[0].amount_sat -= 1,
        |month| month.payable_sat += 1,
        |month| month.blocked[0].amount_sat += 1,
    ];
    for (which, edit) in edits.iter().enumerate() {
        let mut month = statement();
        edit(&mut month);
        let error = month.balanced().unwrap_err();
        assert_eq!((error.account, error.difference_sat.abs()), (1, 1), "edit {which}");
    }
}

#[test]
fn an_orphaned_block_leaves_nothing_payable() {
    let mut month = statement();
    let credit = &month.credits[0];
    month.reversals.push(ReversalLine {
        block: credit.block.clone(),
        coinbase: credit.coinbase.clone(),
        at_ms: LATE_MS,
        amount_sat: 313_570_441,
        fee_sat: credit.fee_sat,
        valuation: credit.valuation.clone(),
    });
    (month.payouts, month.blocked, month.payable_sat) = (Vec::new(), Vec::new(), 0);
    let balanced = month.balanced().unwrap();
    let table = csv(&balanced);
    assert_eq!(table.column("section"), ["OPENING", "CREDIT", "REVERSAL", "PAYABLE", "CLOSING"]);
    assert_eq!(table.column("movement_sat"), ["", "313570441", "-313570441", "", ""]);
    assert_eq!(table.column("value_movement"), ["", "12406796.38", "-12406796.38", "", ""]);
    assert_eq!(table.column("balance_sat"), ["0", "313570441", "0", "", "0"]);
    assert_eq!(table.column("pool_fee_sat"), ["", "3167378", "-3167378", "", ""]);
    assert_eq!(balanced.totals().fees_sat, 0);
}

#[test]
fn the_table_runs_from_opening_to_closing() {
    let table = csv(&eventful().balanced().unwrap());
    let sections = [
        "OPENING",
        "CREDIT",
        "CREDIT",
        "REVERSAL",
        "PAYOUT",
        "PAYOUT_REVERSED",
        "PAYABLE",
        "HELD",
        "BLOCKED",
        "CLOSING",
    ];
    assert_eq!(table.column("section"), sections);
    assert_eq!(table.cell(0, "balance_sat"), "-7");
    assert_eq!(table.cell(9, "balance_sat"), "313570434");
    assert_eq!(table.cell(9, "balance_btc"), "3.13570434");
    assert_eq!(-7 + table.sum("movement_sat"), 313_570_434);
    assert_eq!(table.sum("part_sat"), 313_570_434);
    assert_eq!(table.sum("pool_fee_sat"), 3_167_378);
    assert_eq!(table.cell(4, "reference"), format!("{}:2", "9".repeat(64)));
    assert_eq!(table.cell(4, "detail"), "'@bc1q<img src=x>");
    assert_eq!(table.cell(4, "movement_btc"), "-2.50000000");
    assert_eq!(table.cell(4, "value"), "UNVALUED");
    assert_eq!((table.cell(0, "value"), table.cell(6, "value"), table.cell(9, "value")), ("", "", "UNVALUED"));
    for row in 0..table.rows() {
        assert_eq!((table.cell(row, "period"), table.cell(row, "account")), ("2026-02", "1"));
        assert_eq!(table::restored(table.cell(row, "miner")), statement().miner);
        assert_eq!(table.cell(row, "party"), "P-1");
    }
    assert_eq!(table.cell(8, "detail"), "'-listed \"address\"");
    assert_eq!(table.cell(1, "time_local"), "2026-02-01T00:30:00+03:00");
    assert_eq!(table.cell(1, "value"), "12406796.38");
    assert_eq!(table.cell(1, "block_height"), "899000");
}

#[test]
fn the_json_file_tells_every_field() {
    let balanced = eventful().balanced().unwrap();
    let file = json(&balanced);
    assert_eq!(file["schema_version"], 2);
    assert_eq!(file["notice"], NOT_LEGAL_ADVICE);
    assert_eq!(file["pool"], head().pool.as_str());
    assert_eq!(file["profile"], "utc+3");
    assert_eq!(file["period"]["label"], "2026-02");
    assert_eq!(file["period"]["from"], "2026-02-01T00:00:00+03:00");
    assert_eq!(file["period"]["until"], "2026-03-01T00:00:00+03:00");
    assert_eq!(file["miner"], statement().miner.as_str());
    assert_eq!(file["opening"], json!({ "sat": -7, "btc": "-0.00000007" }));
    assert_eq!(file["closing"]["sat"], 313_570_434);
    assert_eq!(file["closing_valuation"], json!({ "value": "UNVALUED" }));
    let credit = &file["credits"][0];
    assert_eq!(credit["block_height"], 899_000);
    assert_eq!(credit["time"], json!({ "utc": "2026-01-31T21:30:00Z", "local": "2026-02-01T00:30:00+03:00" }));
    assert_eq!(credit["amount"], json!({ "sat": 313_570_441, "btc": "3.13570441" }));
    assert_eq!(credit["pool_fee"]["sat"], 3_167_378);
    assert_eq!(credit["valuation"]["value"], "12406796.38");
    assert_eq!(credit["valuation"]["currency"], "RUB");
    assert_eq!(credit["valuation"]["fx"]["rate"], "81.2345");
    assert_eq!(file["reversals"][0]["amount"]["sat"], 1_000);
    assert_eq!(file["payouts"][0]["output"], format!("{}:2", "9".repeat(64)));
    assert_eq!((&file["payouts"][0]["state"], &file["payouts"][1]["state"]), (&json!("DELIVERED"), &json!("REVERSED")));
    assert_eq!(file["held"][0]["reason"], "SAME_KEY");
    assert_eq!(file["blocked"][0]["amount"]["sat"], 62_714_088);
    let totals = &file["totals"];
    let sat = |name: &str| totals[name]["sat"].as_i64().unwrap();
    let closing = sat("opening") + sat("credits") - sat("reversals") - sat("payouts") + sat("payouts_reversed");
    assert_eq!(closing, sat("closing"));
    assert_eq!(closing, sat("payable") + sat("held") + sat("blocked"));
    assert_eq!(totals["credits_value"]["sums"], json!([{ "value": "24813592.76", "currency": "RUB" }]));
    assert_eq!(totals["payouts_value"], json!({ "sums": [], "unvalued_lines": 1 }));
}

#[test]
fn values_are_summed_by_currency() {
    let Valuation::Valued(mut value) = valued() else { panic!("it has a value") };
    (value.currency, value.minor) = (usd(), 5);
    let dollars = Valuation::Valued(value);
    let totals = ValueTotals::of([&valued(), &dollars, &Valuation::Unvalued, &valued()]);
    let sums: Vec<(&str, i128)> = totals.sums.iter().map(|sum| (&*sum.currency.code, sum.minor)).collect();
    assert_eq!((sums, totals.unvalued), (vec![("RUB", 2_481_359_276), ("USD", 5)], 1));
}

/// The texts of a page's elements, in order, and all its tags and attributes.
fn read_page(page: &str) -> (Vec<String>, Vec<String>) {
    let mut reader = Reader::from_str(page);
    let (mut texts, mut tags) = (vec![String::new()], Vec::new());
    loop {
        match reader.read_event().unwrap() {
            Event::Start(tag) | Event::Empty(tag) => {
                let attributes = tag.attributes().map(|it| format!("{:?}", it.unwrap()));
                tags.push(format!("{:?} {}", tag.name(), attributes.collect::<String>()).to_lowercase());
                texts.push(String::new());
            }
            Event::End(_) => texts.push(String::new()),
            Event::Text(text) => texts.last_mut().unwrap().push_str(&text),
            Event::GeneralRef(name) => {
                let c = match &*name {
                    "lt" => '<',
                    "gt" => '>',
                    "amp" => '&',
                    "quot" => '"',
                    "apos" => '\'',
                    "#13" => '\r',
                    "#10" => '\n',
                    other => panic!("reference {other}"),
                };
                texts.last_mut().unwrap().push(c);
            }
            Event::Eof => break,
            _ => {}
        }
    }
    (texts.into_iter().map(|text| text.trim().to_owned()).filter(|text| !text.is_empty()).collect(), tags)
}

#[test]
fn the_page_is_whole_and_loads_and_runs_nothing() {
    let page = html(&eventful().balanced().unwrap());
    assert!(page.starts_with("<!DOCTYPE html>\n<html lang=\"en\">"), "{page}");
    let (texts, tags) = read_page(&page);
    for tag in &tags {
        for forbidden in ["script", "src", "href", "img", "link", "iframe", "object", "onload", "form"] {
            assert!(!tag.contains(forbidden) || tag.contains("content-security-policy"), "{tag}");
        }
    }
    assert!(!page.contains("url(") && !page.contains("@import") && !page.contains("http://www"), "{page}");
    let style = page.split("<style>").nth(1).unwrap().split("</style>").next().unwrap();
    assert!(style.contains("@media print") && !style.contains(['<', '>', '&', '"', '\'']), "{style}");
    assert!(texts.contains(&head().pool) && texts.contains(&statement().miner.trim().to_owned()), "{texts:?}");
    for expected in [
        "Statement 2026-02",
        "from 2026-02-01T00:00:00+03:00 until before 2026-03-01T00:00:00+03:00 (UTC+3)",
        "Opening balance",
        "-0.00000007",
        "-7",
        "3.13571441",
        "313571441",
        "24813592.76 RUB",
        "= Closing balance",
        "313570434",
        "Credits by block",
        "899000",
        "Payouts",
        "@bc1q<img src=x>",
        "REVERSED",
        "-listed \"address\"",
        "SAME_KEY",
        NOT_LEGAL_ADVICE,
    ] {
        assert!(texts.iter().any(|text| text == expected), "{expected}: {texts:?}");
    }
    let output = format!("{}:2", "9".repeat(64));
    assert_eq!(texts.iter().filter(|text| **text == output).count(), 2);
}

#[test]
fn a_hostile_name_cannot_leave_its_place_on_the_page() {
    let page = html(&statement().balanced().unwrap());
    assert!(page.contains("<bdi>=HYPERLINK(&quot;http://x&quot;)&lt;/td&gt;&lt;script&gt;"), "{page}");
    assert!(!page.contains("<script") && !page.contains("<img"), "{page}");
    // Whatever turns the direction of text stands inside of an element that ends its effect.
    for part in page.split('\u{202e}').skip(1) {
        assert!(part.trim_start_matches("&#13;").trim_start().starts_with("</bdi>"), "{part}");
    }
}

#[test]
fn files_are_named_after_a_cleaned_name() {
    let balanced = statement().balanced().unwrap();
    let file = balanced.file(&head(), "html");
    assert!(file_name::is_report(&file), "{file}");
    let plain = Statement { miner: "alice".to_owned(), ..statement() }.balanced().unwrap();
    assert_eq!(plain.file(&head(), "csv"), "statement_alice_2026-02.csv");
}

prop_compose! {
    fn months()(
        opening_sat in -(1i64 << 50)..1 << 50,
        credits in prop::collection::vec((0u64..1 << 50, 0u64..1 << 40), 0..5),
        reversals in prop::collection::vec(0u64..1 << 50, 0..3),
        payouts in prop::collection::vec((0u64..1 << 50, any::<bool>()), 0..5),
        held in prop::collection::vec(0u64..1 << 50, 0..3),
        blocked in prop::collection::vec(0u64..1 << 50, 0..3),
        miner in "\\PC{0,20}",
    ) -> Statement {
        let template = statement();
        let set_aside = |amounts: Vec<u64>| -> Vec<SetAside> {
            amounts.into_iter().map(|amount_sat| SetAside { amount_sat, ..template.blocked[0].clone() }).collect()
        };
        let credit = |(amount_sat, fee_sat)| CreditLine { amount_sat, fee_sat, ..template.credits[0].clone() };
        let reversal = |amount_sat| ReversalLine {
            block: Some(block(1)),
            coinbase: String::new(),
            at_ms: 0,
            amount_sat,
            fee_sat: 1,
            valuation: Valuation::Unvalued,
        };
        let payout = |(amount_sat, reversed)| PayoutLine { amount_sat, reversed, ..template.payouts[0].clone() };
        let mut month = Statement {
            opening_sat,
            miner,
            credits: credits.into_iter().map(credit).collect(),
            reversals: reversals.into_iter().map(reversal).collect(),
            payouts: payouts.into_iter().map(payout).collect(),
            payable_sat: 0,
            held: set_aside(held),
            blocked: set_aside(blocked),
            ..template.clone()
        };
        month.payable_sat = i64::try_from(month.totals().difference_sat()).unwrap();
        month
    }
}

proptest! {
    #[test]
    fn totals_add_up_in_every_file(month in months()) {
        let opening = i128::from(month.opening_sat);
        let balanced = month.clone().balanced().unwrap();
        let closing = balanced.totals().closing_sat();
        let table = csv(&balanced);
        prop_assert_eq!(opening + table.sum("movement_sat"), closing);
        prop_assert_eq!(table.sum("part_sat"), closing);
        let mut balance = opening;
        for row in 1..table.rows() {
            if let Ok(movement) = table.cell(row, "movement_sat").parse::<i128>() {
                balance += movement;
                prop_assert_eq!(table.cell(row, "balance_sat"), balance.to_string());
            }
        }
        prop_assert_eq!(table.cell(table.rows() - 1, "balance_sat"), closing.to_string());
        let file = json(&balanced);
        let sum = |lines: &str, sign: fn(&Json) -> i128| -> i128 {
            let lines = file[lines].as_array().unwrap().iter();
            lines.map(|line| sign(line) * i128::from(line["amount"]["sat"].as_i64().unwrap())).sum()
        };
        let moved = sum("credits", |_| 1) - sum("reversals", |_| 1)
            - sum("payouts", |line| if line["state"] == "DELIVERED" { 1 } else { -1 });
        prop_assert_eq!(opening + moved, closing);
        let parts = i128::from(file["payable"]["sat"].as_i64().unwrap()) + sum("held", |_| 1) + sum("blocked", |_| 1);
        prop_assert_eq!(parts, closing);
        let (texts, _) = read_page(&html(&balanced));
        prop_assert!(texts.contains(&closing.to_string()));
        for by in [1, -1] {
            let edited = Statement { payable_sat: month.payable_sat + by, ..month.clone() };
            prop_assert_eq!(edited.balanced().unwrap_err().difference_sat, i128::from(-by));
        }
    }

    #[test]
    fn any_name_comes_back_from_every_file(name in "\\PC{0,12}|[=+@'<>&\"\u{200f}\u{202e};\r\n\t -]{0,12}") {
        let mut month = statement();
        month.payouts[0].address = name.clone();
        month.miner = name.clone();
        let balanced = month.balanced().unwrap();
        prop_assert_eq!(table::restored(csv(&balanced).cell(2, "detail")), name.clone());
        prop_assert_eq!(&json(&balanced)["miner"], &Json::from(name.clone()));
        prop_assert!(file_name::is_report(&balanced.file(&head(), "csv")));
        let (texts, _) = read_page(&html(&balanced));
        let unified = |text: &str| text.replace("\r\n", "\n").replace('\r', "\n").trim().to_owned();
        let expected = unified(&name);
        prop_assert!(expected.is_empty() || texts.iter().any(|text| unified(text) == expected), "{:?}", texts);
    }
}
