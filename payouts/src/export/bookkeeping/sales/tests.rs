//! Sales from a real database to their report.

#![allow(clippy::unwrap_used)]

use super::*;
use crate::{
    account::AccountId,
    audit,
    export::{
        bookkeeping::{
            Wanted, check_declarable,
            fixture::{Files, Fixture, book, column, fixture, ms, written},
            gather, verify,
        },
        closing::PeriodClosed,
        owner::{AddressOwned, Hosting, PartySet},
        party::{KEY_SIZE, Vault},
        register::RowSeq,
        rules::desk::{Acceptance, Declaration, DeskEvent, Quote, SaleRequest, Settlement},
        sales::SaleStep,
        valued::{self, About, Valued},
    },
    payout::Batch,
    store::conformance::address,
};

const SALE: &str = "S1";

/// The neutral profile of a pool that says where it is resident.
fn resident() -> CountryProfile {
    let (_, text) = CountryProfile::SHIPPED[0];
    let text = text.replace("venue = \"\"", "venue = \"example-venue\"");
    CountryProfile::parse(&text.replace("residency = \"\"", "residency = \"KZ\"")).unwrap()
}

fn usd(text: &str) -> FiatAmount {
    FiatAmount::parse(text, "USD".parse().unwrap()).unwrap()
}

/// A desk whose owner is resident there.
async fn desk(fixture: &mut Fixture, residency: &str) -> AccountId {
    let account = fixture.store.account(&address(70)).await.unwrap();
    let text = format!("kind = 'legal'\nlegal_name = 'Example Desk LLC'\nresidency = '{residency}'\n");
    let party: Party = toml::from_str(&text).unwrap();
    let id = PartyId::new(1);
    let (_, commitment) = Vault::new(&[1; KEY_SIZE]).seal(id, &party).unwrap();
    fixture.record(1, &PartySet::new(id, &party, commitment, "alice")).await;
    let owned = AddressOwned {
        account,
        address: address(70).to_string(),
        script_pubkey: address(70).script_pubkey().to_hex_string(),
        party: id,
        hosting: Hosting::SelfHosted,
        provider: None,
        proof: None,
        by: "alice".to_owned(),
    };
    fixture.record(1, &owned).await;
    fixture.parties.insert(id, party);
    account
}

async fn step(fixture: &Fixture, at: &str, step: DeskEvent) {
    fixture.record(ms(at), &SaleStep { step, by: "alice".to_owned() }).await;
}

/// Takes a sale at 70,000 less 42 as far as its contract, at a venue that the shipped profiles' obligation may count.
async fn contracted(fixture: &Fixture, sat: u64, venue: Option<&str>) {
    let sale = || SALE.parse().unwrap();
    let request = SaleRequest { sale: sale(), amount_sat: Amount::from_sat(sat), at_ms: 1 };
    step(fixture, "2026-03-01T00:00:00Z", DeskEvent::Requested(request)).await;
    let quote = Quote {
        quote: "Q1".parse().unwrap(),
        desk_party: "1".parse().unwrap(),
        address: address(70).to_string(),
        venue: venue.map(|venue| venue.parse().unwrap()),
        price: "70000".parse().unwrap(),
        fee: usd("42"),
        expires_ms: ms("2026-03-02T00:00:00Z"),
        at_ms: ms("2026-03-01T00:00:00Z"),
    };
    step(fixture, "2026-03-01T00:00:00Z", DeskEvent::Quoted { sale: sale(), step: quote }).await;
    let at_ms = ms("2026-03-01T12:00:00Z");
    let acceptance = Acceptance { contract: "C1".parse().unwrap(), at_ms };
    step(fixture, "2026-03-01T12:00:00Z", DeskEvent::Accepted { sale: sale(), step: acceptance }).await;
}

/// The coins of check 6: 1.0 bitcoin at 60,000, then 0.5 at 64,000.
async fn coins(fixture: &Fixture) {
    fixture.earned(1, 100_000_000, ms("2026-02-01T10:00:00Z")).await;
    fixture.earned(2, 50_000_000, ms("2026-02-02T10:00:00Z")).await;
}

async fn delivered(fixture: &Fixture, desk: AccountId, sat: u64) -> Batch {
    let batch = fixture.selling(1, SALE, desk, sat, ms("2026-03-02T00:00:00Z")).await;
    fixture.sent(&batch, ms("2026-03-02T00:00:01Z")).await;
    fixture.confirmed(&batch, 50, 0, ms("2026-03-03T00:00:00Z")).await;
    batch
}

async fn reported(fixture: &Fixture, profile: &CountryProfile, period: &str) -> Files {
    let reports = fixture.reports(profile, period).await;
    let (written, files) = written(reports);
    assert_eq!(written.faults, Vec::<String>::new());
    files
}

const EXPORTS: &str = "export_sales_2026-03.csv";

#[tokio::test]
async fn a_sale_costs_what_its_oldest_coins_were_worth_when_they_were_earned() {
    let mut fixture = fixture().await;
    let desk = desk(&mut fixture, "AE").await;
    coins(&fixture).await;
    contracted(&fixture, 120_000_000, None).await;
    delivered(&fixture, desk, 120_000_000).await;
    let profile = resident();
    let prices = book(&[("2026-02-01", "60000"), ("2026-02-02", "64000"), ("2026-03-03", "71000")], &[]);
    valued::value(&*fixture.store, &profile, &prices).await.unwrap();
    let files = reported(&fixture, &profile, "2026-03").await;
    for (name, cell) in [
        ("sale", SALE),
        ("state", "DELIVERED"),
        ("basis", "SALE_TO_NON_RESIDENT"),
        ("export_sat", "120000000"),
        ("buyer_name", "Example Desk LLC"),
        ("contract_date", "2026-03-01"),
        ("gross", "84000.00"),
        ("fee", "42.00"),
        ("net", "83958.00"),
        ("cost", "72800.00"),
        ("gain", "11158.00"),
        ("received", ""),
    ] {
        assert_eq!(column(&files, EXPORTS, name), [cell], "{name}");
    }
    assert_eq!(column(&files, "register_2026-03.csv", "basis"), ["SALE_TO_NON_RESIDENT"]);
    assert_eq!(column(&files, "register_lots_2026-03.csv", "credit"), ["fee", "fee"]);
    assert!(!files.keys().any(|name| name.starts_with("statement_")), "a desk is no miner");
    audit::verify(&*fixture.store).await.unwrap();
    verify(&*fixture.store, None).await.unwrap();

    // The money and the declaration come later; the sale stays in the period of its delivery.
    let received = Settlement {
        received: usd("83950"),
        bank_reference: "B1".parse().unwrap(),
        settled_ms: ms("2026-03-05T09:00:00Z"),
    };
    step(&fixture, "2026-03-05T09:00:00Z", DeskEvent::Settled { sale: SALE.parse().unwrap(), step: received }).await;
    let declared = Declaration {
        declaration: "D1".parse().unwrap(),
        authority: "Customs".parse().unwrap(),
        at_ms: ms("2026-04-10T09:00:00Z"),
    };
    step(&fixture, "2026-04-10T09:00:00Z", DeskEvent::Declared { sale: SALE.parse().unwrap(), step: declared }).await;
    let files = reported(&fixture, &profile, "2026-03").await;
    for (name, cell) in
        [("state", "DECLARED"), ("received", "83950.00"), ("bank_reference", "B1"), ("declaration", "D1")]
    {
        assert_eq!(column(&files, EXPORTS, name), [cell], "{name}");
    }
    assert_eq!(column(&reported(&fixture, &profile, "2026-04").await, "export_sales_2026-04.csv", "sale"), [""; 0]);
}

#[tokio::test]
async fn a_sale_to_a_resident_is_no_export() {
    let mut fixture = fixture().await;
    let desk = desk(&mut fixture, "KZ").await;
    coins(&fixture).await;
    contracted(&fixture, 120_000_000, None).await;
    delivered(&fixture, desk, 120_000_000).await;
    let files = reported(&fixture, &resident(), "2026-03").await;
    assert_eq!(column(&files, EXPORTS, "basis"), ["SALE_TO_RESIDENT"]);
    assert_eq!(column(&files, EXPORTS, "export_sat"), ["0"]);
    assert_eq!(column(&files, EXPORTS, "amount_sat"), ["120000000"]);
    // No prices, so no cost and no gain; that is said and not guessed.
    assert_eq!(column(&files, EXPORTS, "cost"), ["UNVALUED"]);
    assert_eq!(column(&files, EXPORTS, "gain"), [""]);
}

#[tokio::test]
async fn a_delivery_that_left_the_chain_is_listed_with_its_negative_and_again_when_it_returns() {
    let mut fixture = fixture().await;
    let desk = desk(&mut fixture, "AE").await;
    coins(&fixture).await;
    contracted(&fixture, 120_000_000, None).await;
    let profile = resident();
    let prices = book(&[("2026-02-01", "60000"), ("2026-02-02", "64000")], &[]);
    valued::value(&*fixture.store, &profile, &prices).await.unwrap();
    let batch = delivered(&fixture, desk, 120_000_000).await;
    fixture.reversed(&batch, 50, ms("2026-03-03T01:00:00Z")).await;
    let files = reported(&fixture, &profile, "2026-03").await;
    assert_eq!(column(&files, EXPORTS, "state"), ["REVERSED", "REVERSED"]);
    assert_eq!(column(&files, EXPORTS, "movement_sat"), ["120000000", "-120000000"]);
    assert_eq!(column(&files, EXPORTS, "gain"), ["11158.00", "-11158.00"]);
    fixture.confirmed(&batch, 51, 1, ms("2026-04-01T01:00:00Z")).await;
    let files = reported(&fixture, &profile, "2026-04").await;
    assert_eq!(column(&files, "export_sales_2026-04.csv", "state"), ["DELIVERED"]);
    // What it costs is what it cost before: the coins were put back.
    assert_eq!(column(&files, "export_sales_2026-04.csv", "cost"), ["72800.00"]);
    audit::verify(&*fixture.store).await.unwrap();
}

#[tokio::test]
async fn how_far_a_demand_to_sell_is_met_is_reported() {
    let mut fixture = fixture().await;
    let desk = desk(&mut fixture, "AE").await;
    fixture.earned(1, 200_000_000, ms("2026-03-01T00:00:00Z")).await;
    contracted(&fixture, 140_000_000, Some("example-venue")).await;
    delivered(&fixture, desk, 140_000_000).await;
    // It demands that three quarters are sold, and has quarters of a year.
    let (_, text) = CountryProfile::SHIPPED.iter().find(|(name, _)| *name == "pool-reports-miners").unwrap();
    let text = text
        .replace("eligible_venues = []", "eligible_venues = [\"example-venue\"]")
        .replace("legal_name = \"\"", "legal_name = \"Example Pool LLC\"\nresidency = \"KZ\"");
    let profile = CountryProfile::parse(&text).unwrap();
    let reports = fixture.reports(&profile, "2026-Q1").await;
    let obligation = reports.figures.obligation.unwrap();
    assert_eq!((obligation.mined_sat.to_sat(), obligation.required_sat.to_sat()), (200_000_000, 150_000_000));
    assert_eq!((obligation.sold_eligible_sat.to_sat(), obligation.shortfall_sat.to_sat()), (140_000_000, 10_000_000));
    assert!(reports.warnings.iter().any(|warning| warning.contains("10000000 sat were not")), "{:?}", reports.warnings);
    let (_, files) = written(reports);
    let file: serde_json::Value = serde_json::from_slice(&files["reconciliation.json"]).unwrap();
    assert_eq!(file["sale_obligation"]["shortfall_sat"], 10_000_000);
}

#[tokio::test]
async fn one_satoshi_more_of_a_coin_than_it_brought_to_the_fee_is_named() {
    let mut fixture = fixture().await;
    let desk = desk(&mut fixture, "AE").await;
    coins(&fixture).await;
    contracted(&fixture, 120_000_000, None).await;
    delivered(&fixture, desk, 120_000_000).await;
    audit::verify_books(&*fixture.store).await.unwrap();
    let error = async |number, statement| {
        let store = fixture.tampered(number, statement).await;
        audit::verify_books(&store).await.unwrap_err().to_string()
    };
    let moved = "UPDATE batch_fee_lots SET sat = sat + 1 WHERE line = 0; UPDATE batch_fee_lots SET sat = sat - 1 WHERE line = 1";
    let error_of_move = error(0, moved).await;
    assert!(error_of_move.contains("of batch_fee_lots: sum is 1.00000001 BTC"), "{error_of_move}");
    let other = error(1, "UPDATE batch_fee_lots SET coinbase_vout = 5 WHERE line = 1").await;
    assert!(other.contains("batch_fee_lots"), "{other}");
    let more = error(2, "UPDATE batch_fee_lots SET sat = sat + 1 WHERE line = 1").await;
    assert!(more.contains("batch_lots"), "{more}");
}

#[tokio::test]
async fn coin_that_leaves_the_chain_after_it_was_sold_is_a_loss_and_no_sale_of_what_was_not_there() {
    let mut fixture = fixture().await;
    let desk = desk(&mut fixture, "AE").await;
    coins(&fixture).await;
    contracted(&fixture, 120_000_000, None).await;
    delivered(&fixture, desk, 120_000_000).await;
    fixture.earned_moved(1, 100_000_000, false, ms("2026-03-04T00:00:00Z")).await;
    let available = async |period: &str| {
        let figures = fixture.reports(&resident(), period).await.figures;
        assert!(figures.reconcile().reconciled, "{figures:?}");
        (figures.sales_sat, figures.available_lots_sat)
    };
    // Of 150,000,000 sat the 30,000,000 that were left are gone too.
    assert_eq!(available("2026-03").await, (120_000_000, 120_000_000));
    assert_eq!(available("2026-04").await, (0, 0));
    fixture.earned_moved(1, 100_000_000, true, ms("2026-05-01T00:00:00Z")).await;
    assert_eq!(available("2026-05").await, (0, 30_000_000));
    assert_eq!(available("2026-06").await, (0, 30_000_000), "a month in which nothing is booked has what was left");
    audit::verify(&*fixture.store).await.unwrap();
}

#[tokio::test]
async fn what_a_sale_cost_is_not_changed_by_what_becomes_of_its_coin_later() {
    let mut fixture = fixture().await;
    let desk = desk(&mut fixture, "AE").await;
    coins(&fixture).await;
    contracted(&fixture, 120_000_000, None).await;
    delivered(&fixture, desk, 120_000_000).await;
    let profile = resident();
    let prices = book(&[("2026-02-01", "60000"), ("2026-02-02", "64000")], &[]);
    valued::value(&*fixture.store, &profile, &prices).await.unwrap();
    let (first, files) = written(fixture.reports(&profile, "2026-03").await);
    assert_eq!(column(&files, EXPORTS, "cost"), ["72800.00"]);
    fixture.earned_moved(1, 100_000_000, false, ms("2026-04-01T00:00:00Z")).await;
    fixture.earned_moved(1, 100_000_000, true, ms("2026-04-02T00:00:00Z")).await;
    for as_of in [Some(first.manifest.as_of.clone()), None] {
        let wanted = Wanted { as_of, ..fixture.wanted(&profile, "2026-03") };
        let (_, again) = written(gather(&*fixture.store, &wanted).await.unwrap());
        assert_eq!(column(&again, EXPORTS, "cost"), ["72800.00"]);
        assert!(again[EXPORTS] == files[EXPORTS], "the file is another");
    }
}

#[tokio::test]
async fn a_correction_of_what_was_sold_is_in_the_register_and_in_no_statement() {
    let mut fixture = fixture().await;
    let desk = desk(&mut fixture, "AE").await;
    coins(&fixture).await;
    contracted(&fixture, 120_000_000, None).await;
    delivered(&fixture, desk, 120_000_000).await;
    let profile = resident();
    let rows = fixture.store.register_rows(RowSeq::new(0), 1).await.unwrap();
    let about = About::Record { row: rows[0].seq, delivery: rows[0].record.delivery };
    let value = async |price: &str, at: &str| {
        let (amount, received) = (bitcoin::SignedAmount::from_sat(120_000_000), ms("2026-03-03T00:00:00Z"));
        let prices = book(&[("2026-03-03", price)], &[]);
        let valued = Valued {
            about: about.clone(),
            profile: profile.id(),
            profile_sha256: profile.file_sha256(),
            amount_sat: amount.to_sat(),
            received_at_ms: received,
            appraisal: profile.valuation_policy().unwrap().appraise(amount, received, &prices).unwrap(),
        };
        fixture.record(ms(at), &valued).await;
    };
    value("70000", "2026-03-04T00:00:00Z").await;
    let (made, files) = written(fixture.reports(&profile, "2026-03").await);
    assert_eq!(made.faults, Vec::<String>::new());
    let reconciliation = files.get("reconciliation.json").map(Vec::as_slice);
    let declarable =
        check_declarable(&*fixture.store, &profile, &files["manifest.json"], reconciliation).await.unwrap();
    fixture.record(ms("2026-04-05T00:00:00Z"), &declarable.declared("D-1", "Example Authority", "alice")).await;
    let closed = PeriodClosed { profile: profile.id(), period: "2026-03".parse().unwrap(), by: "bob".to_owned() };
    fixture.record(ms("2026-04-06T00:00:00Z"), &closed).await;
    value("70001", "2026-04-07T00:00:00Z").await;
    let april = fixture.reports(&profile, "2026-04").await;
    assert!(april.statements.is_empty(), "a desk is no miner: {:?}", april.statements);
    let (made, files) = written(april);
    assert_eq!(made.faults, Vec::<String>::new());
    assert_eq!(column(&files, "register_2026-04.csv", "event"), ["CORRECTED"]);
    assert_eq!(column(&files, "register_2026-04.csv", "value_movement"), ["1.20"]);
}
