//! Reports from a real database: that they come out right, reconcile, and notice an edit of one satoshi.

#![allow(clippy::unwrap_used)]

mod closed;

use std::collections::BTreeSet;

use super::{
    fixture::{COINBASE_SAT, CREDITS_SAT, FEE_SAT, book, column, fixture, ms, profile, written},
    *,
};
use crate::{
    audit,
    export::{
        owner::{AddressOwned, Hosting, PartySet},
        party::{KEY_SIZE, Party, PartyId, Vault},
        report::model::{Basis, RecordEvent},
        rules::{price_files::PriceFile, prices::PriceBook},
        valued,
    },
    payout::{Restraint, RestraintAct},
    store::Store,
};

#[tokio::test]
async fn credits_payouts_and_blocked_leave_what_is_payable() {
    let fixture = fixture().await;
    fixture.eventful().await;
    let profile = profile("utc3-monthly-watcher");
    let prices = book(&[("2026-02-01", "97412.35"), ("2026-02-07", "70000")], &[("2026-02-01", "81.2345")]);
    valued::value(&*fixture.store, &profile, &prices).await.unwrap();
    let reports = fixture.reports(&profile, "2026-02").await;
    let all = reports.figures.balances.last().unwrap();
    assert_eq!((all.credits_sat, all.payouts_sat, all.blocked_sat), (313_570_441, 250_000_000, 62_714_088));
    assert_eq!((all.payable_sat, all.opening_sat, all.network_fees_sat), (856_353, 0, 0));
    let [coinbase] = reports.figures.coinbases.as_slice() else { panic!("{:?}", reports.figures) };
    assert_eq!((coinbase.coinbase_sat, coinbase.fee_sat, coinbase.credits_sat), (COINBASE_SAT, FEE_SAT, 313_570_441));
    let [transaction] = reports.figures.transactions.as_slice() else { panic!("{:?}", reports.figures) };
    assert_eq!((transaction.outputs_sat, transaction.payouts_sat), (250_006_000, 250_000_000));
    let fees: u64 = reports.statements.iter().map(|statement| statement.credits[0].fee_sat).sum();
    assert_eq!(fees, FEE_SAT);
    assert_eq!(reports.head.sequence, Some((1, 2)));

    let first = reports.statements[0].miner.clone();
    let (written, files) = written(reports);
    assert_eq!(written.faults, Vec::<String>::new());
    assert_eq!(column(&files, "register_2026-02.csv", "amount_sat"), ["156785221", "93214779"]);
    assert_eq!(column(&files, "blocked_property.csv", "amount_sat"), ["62714088"]);
    // Blocked on a Friday: ten working days.
    assert_eq!(column(&files, "blocked_property.csv", "report_due"), ["2026-02-20"]);
    assert_eq!(column(&files, "blocked_property.csv", "annual_report_due"), ["2026-09-30"]);
    let statement = files.keys().find(|name| name.starts_with("statement_") && name.ends_with(".csv")).unwrap();
    assert!(!first.is_empty());
    let sections = column(&files, statement, "section");
    assert!(sections.contains(&"CREDIT".to_owned()), "{sections:?}");
    let values: BTreeSet<_> = files
        .keys()
        .filter(|name| name.starts_with("statement_") && name.ends_with(".csv"))
        .flat_map(|name| column(&files, name, "value"))
        .collect();
    assert!(values.contains("12406796.38"), "{values:?}");
    for name in ["register_lots_2026-02.csv", "schema.md", "schemas.json", "reconciliation.json", "manifest.json"] {
        assert!(files.contains_key(name), "{name} in {:?}", files.keys());
    }
    let names: Vec<_> = written.manifest.files.iter().map(|file| file.name.as_str()).collect();
    assert_eq!(names.len() + 1, files.len());
}

#[tokio::test]
async fn a_receipt_late_in_january_is_of_february_three_hours_east() {
    let fixture = fixture().await;
    fixture.eventful().await;
    let (east, utc) = (profile("utc3-monthly-watcher"), profile("neutral"));
    let credits = async |profile, period| {
        let reports = fixture.reports(profile, period).await;
        reports.figures.balances.last().unwrap().credits_sat
    };
    assert_eq!((credits(&east, "2026-01").await, credits(&east, "2026-02").await), (0, 313_570_441));
    assert_eq!((credits(&utc, "2026-01").await, credits(&utc, "2026-02").await), (313_570_441, 0));
    let february = fixture.reports(&utc, "2026-02").await;
    assert_eq!(february.figures.balances.last().unwrap().opening_sat, 313_570_441);
    assert_eq!(written(february).0.faults, Vec::<String>::new());
}

#[tokio::test]
async fn an_orphaned_block_is_listed_with_its_exact_negative() {
    let fixture = fixture().await;
    fixture.found(1, ms("2026-02-01T00:00:00Z")).await;
    fixture.orphaned(1, ms("2026-02-01T00:30:00Z")).await;
    let reports = fixture.reports(&profile("neutral"), "2026-02").await;
    let all = reports.figures.balances.last().unwrap();
    assert_eq!((all.credits_sat, all.reversals_sat, all.payable_sat), (313_570_441, 313_570_441, 0));
    let fees = reports.statements.iter().flat_map(|statement| &statement.reversals).map(|line| line.fee_sat);
    assert_eq!(fees.sum::<u64>(), FEE_SAT);
    assert!(reports.statements.iter().all(|statement| (statement.credits.len(), statement.reversals.len()) == (1, 1)));
    assert_eq!(reports.figures.coinbases.len(), 2, "found, and undone");
    assert_eq!(written(reports).0.faults, Vec::<String>::new());
}

#[tokio::test]
async fn network_fees_that_miners_bore_are_lines_of_their_own() {
    let fixture = fixture().await;
    fixture.found(1, ms("2026-02-01T00:00:00Z")).await;
    fixture.matured(1, ms("2026-02-02T00:00:00Z")).await;
    let given_up = fixture.created(1, &[(0, 100_000, 300)], ms("2026-02-03T00:00:00Z")).await;
    fixture.cancelled(&given_up, ms("2026-02-03T01:00:00Z")).await;
    let paid = fixture.created(2, &[(0, 200_000, 500), (1, 50_000, 500)], ms("2026-02-03T02:00:00Z")).await;
    fixture.sent(&paid, ms("2026-02-03T02:00:01Z")).await;
    fixture.confirmed(&paid, 50, 0, ms("2026-02-03T03:00:00Z")).await;
    audit::verify(&*fixture.store).await.unwrap();
    let reports = fixture.reports(&profile("neutral"), "2026-02").await;
    let fees: Vec<_> = reports.statements[0]
        .network_fees
        .iter()
        .map(|fee| (fee.batch.as_str(), fee.amount_sat, fee.returned))
        .collect();
    assert_eq!(fees, [("1", 300, false), ("1", 300, true), ("2", 500, false)]);
    let all = reports.figures.balances.last().unwrap();
    assert_eq!((all.network_fees_sat, all.payouts_sat), (1_000, 249_000));
    let (written, files) = written(reports);
    assert_eq!(written.faults, Vec::<String>::new());
    let statements = files.keys().filter(|name| name.starts_with("statement_") && name.ends_with(".csv"));
    let sections: Vec<_> = statements.flat_map(|name| column(&files, name, "section")).collect();
    assert_eq!(sections.iter().filter(|section| *section == "NETWORK_FEE").count(), 3);
    assert_eq!(sections.iter().filter(|section| *section == "NETWORK_FEE_RETURNED").count(), 1);
}

#[tokio::test]
async fn a_payout_that_came_back_is_taken_back_in_the_period_in_which_it_did() {
    let fixture = fixture().await;
    let batch = fixture.eventful().await;
    fixture.reversed(&batch, 50, ms("2026-03-01T00:00:00Z")).await;
    let utc = profile("neutral");
    let february = fixture.reports(&utc, "2026-02").await;
    assert_eq!(february.figures.register_sat, 250_000_000);
    let march = fixture.reports(&utc, "2026-03").await;
    assert_eq!((march.figures.register_sat, march.figures.lots_sat), (-250_000_000, -250_000_000));
    let events: Vec<_> = march.register.iter().map(|row| row.event).collect();
    assert_eq!(events, [1, 2].map(|original_seq| RecordEvent::Reversed { original_seq }));
    // It is owed again, in a payout that is on its way.
    let all = march.figures.balances.last().unwrap();
    assert_eq!((all.opening_sat, all.payable_sat), (63_570_441, 250_856_353));
    assert_eq!(written(march).0.faults, Vec::<String>::new());
    fixture.confirmed(&batch, 51, 1, ms("2026-03-02T00:00:00Z")).await;
    let march = fixture.reports(&utc, "2026-03").await;
    assert_eq!((march.figures.register_sat, march.register.len()), (0, 4));
    assert_eq!(written(march).0.faults, Vec::<String>::new());
}

#[tokio::test]
async fn what_is_held_and_released_stays_owed() {
    let fixture = fixture().await;
    fixture.found(1, ms("2026-02-01T00:00:00Z")).await;
    fixture.matured(1, ms("2026-02-02T00:00:00Z")).await;
    fixture.restrain(0, Restraint::Held, RestraintAct::Begun, ms("2026-02-03T00:00:00Z")).await;
    fixture.restrain(1, Restraint::Blocked, RestraintAct::Begun, ms("2026-02-03T00:00:00Z")).await;
    fixture.restrain(1, Restraint::Blocked, RestraintAct::Ended, ms("2026-03-03T00:00:00Z")).await;
    let utc = profile("neutral");
    let february = fixture.reports(&utc, "2026-02").await;
    let held = &february.statements[0].held[0];
    assert_eq!((held.amount_sat, held.since_ms), (CREDITS_SAT[0], ms("2026-02-03T00:00:00Z")));
    assert_eq!(held.reason, "begun for a test");
    let states =
        |reports: &Reports| reports.blocked.iter().map(|row| (row.state.clone(), row.amount_sat)).collect::<Vec<_>>();
    assert_eq!(states(&february), [("BLOCKED".to_owned(), CREDITS_SAT[1])]);
    let march = fixture.reports(&utc, "2026-03").await;
    assert_eq!(states(&march), [("RELEASED".to_owned(), CREDITS_SAT[1])]);
    let april = fixture.reports(&utc, "2026-04").await;
    assert_eq!(states(&april), []);
    for reports in [february, march, april] {
        assert_eq!(written(reports).0.faults, Vec::<String>::new());
    }
}

#[tokio::test]
async fn an_edit_of_one_satoshi_does_not_reconcile() {
    let fixture = fixture().await;
    fixture.eventful().await;
    let profile = profile("utc3-monthly-watcher");
    let edits = [
        (
            "DROP TRIGGER postings_no_update; UPDATE postings SET sat = sat - 1 WHERE account = 'miner_immature:1' AND entry = 1",
            "account 1",
        ),
        (
            "DROP TRIGGER postings_no_update; UPDATE postings SET sat = sat - 1 WHERE account = 'fee_immature' AND entry = 1",
            "coinbase = fee",
        ),
        ("DROP TRIGGER postings_no_update; UPDATE postings SET sat = sat - 1 WHERE account = 'blocked:3'", "account 3"),
        ("UPDATE blocks SET value_sat = value_sat + 1", "coinbase = fee"),
        ("UPDATE credits SET sat = sat + 1 WHERE account = 2", "account 2"),
        ("UPDATE batch_outputs SET sat = sat + 1 WHERE account = 1", "account 1"),
        ("UPDATE batch_attempts SET network_fee_sat = network_fee_sat + 1", "outputs on the chain"),
        ("DROP TRIGGER export_lots_no_update; UPDATE export_lots SET sat = sat + 1 WHERE vout = 0", "sum of lots"),
        ("DROP TRIGGER export_records_no_update; UPDATE export_records SET sat = sat + 1 WHERE vout = 0", "register"),
    ];
    for (number, (statement, named)) in edits.into_iter().enumerate() {
        let store = fixture.tampered(number, statement).await;
        let reports = gather(&store, &fixture.wanted(&profile, "2026-02")).await.unwrap();
        let faults = written(reports).0.faults;
        assert!(faults.iter().any(|fault| fault.contains(named)), "{statement}: {faults:?}");
    }
}

#[tokio::test]
async fn the_same_reports_can_be_made_again_whatever_comes_after() {
    let mut fixture = fixture().await;
    fixture.eventful().await;
    let profile = profile("utc3-monthly-watcher");
    let first_book = book(&[("2026-02-01", "97412.35")], &[("2026-02-01", "81.2345"), ("2026-02-20", "82")]);
    valued::value(&*fixture.store, &profile, &first_book).await.unwrap();
    let (first, files) = written(fixture.reports(&profile, "2026-02").await);

    fixture.found(2, ms("2026-02-28T00:00:00Z")).await;
    let second_book = book(&[("2026-02-01", "97412.36"), ("2026-02-07", "1")], &[("2026-02-01", "81.2345")]);
    let outcome = valued::value(&*fixture.store, &profile, &second_book).await.unwrap();
    assert!(outcome.revalued > 0, "{outcome:?}");
    let (now, _) = written(fixture.reports(&profile, "2026-02").await);
    assert_ne!(now.manifest.files, first.manifest.files);
    let mut wanted = fixture.wanted(&profile, "2026-02");
    wanted.as_of = Some(first.manifest.as_of.clone());
    let (again, same) = written(gather(&*fixture.store, &wanted).await.unwrap());
    assert_eq!((again.manifest, same), (first.manifest.clone(), files));

    let mut other = first.manifest.as_of;
    other.register.hash = "00".repeat(32);
    wanted.as_of = Some(other);
    let error = gather(&*fixture.store, &wanted).await.unwrap_err();
    assert!(matches!(error, BookkeepingError::OtherRecords { chain: "register", seq: 2 }), "{error}");
    fixture.parties.clear();
}

#[tokio::test]
async fn owners_give_residencies_a_basis_and_names() {
    let mut fixture = fixture().await;
    let vault = Vault::new(&[7; KEY_SIZE]);
    let party: Party = toml::from_str("kind = 'natural'\nlegal_name = 'EXAMPLE PERSON'\nresidency = 'DE'").unwrap();
    let id = PartyId::new(1);
    let (sealed, commitment) = vault.seal(id, &party).unwrap();
    let set = PartySet::new(id, &party, commitment, "alice");
    let head = fixture.store.journal_head().await.unwrap();
    let row = crate::export::journal::JournalRow::seal(head, 1, fixture.store.head().await.unwrap(), &set);
    fixture.store.save_party(id, &sealed, &[row]).await.unwrap();
    let owned = AddressOwned {
        account: fixture.miners[0],
        address: "x".to_owned(),
        script_pubkey: "00".to_owned(),
        party: id,
        hosting: Hosting::SelfHosted,
        provider: None,
        proof: None,
        by: "alice".to_owned(),
    };
    fixture.record(2, &owned).await;
    let batch = fixture.eventful().await;
    fixture.parties.insert(id, party);

    let quarterly = profile("pool-reports-miners");
    // Its pool does not say where it resides: nothing is known to be abroad.
    let rows = fixture.reports(&quarterly, "2026-Q1").await.register;
    assert_eq!(rows.iter().map(|row| row.basis).collect::<Vec<_>>(), [Basis::Receipt; 2]);
    let (_, text) = crate::export::rules::profile::CountryProfile::SHIPPED[2];
    let resident = text.replace("legal_name = \"\"", "legal_name = \"Example Pool LLC\"\nresidency = \"KZ\"");
    let resident = crate::export::rules::profile::CountryProfile::parse(&resident).unwrap();
    let rows = fixture.reports(&resident, "2026-Q1").await.register;
    assert_eq!(rows.iter().map(|row| row.basis).collect::<Vec<_>>(), [Basis::ServiceToNonResident, Basis::Receipt]);
    assert_eq!((rows[0].party.as_str(), rows[0].receiver_residency.as_str()), ("1", "DE"));

    let yearly = profile("carf-yearly");
    let reports = fixture.reports(&yearly, "2026").await;
    let users = &reports.carf.as_ref().unwrap().users;
    assert_eq!((users.len(), users[0].income.unvalued), (1, 1));
    let (_, transfers) = reports.travel_rule.as_ref().unwrap();
    assert_eq!((transfers.len(), transfers[0].amount_sat), (1, CREDITS_SAT[0]));
    let (written, files) = written(reports);
    assert!(files.contains_key("carf_2026.xml") && files.contains_key("travel_rule.json"));
    assert!(!written.gaps.is_empty(), "there is no address");

    // What is taken back in a later year than it was received in is no income below zero.
    let mut prices = PriceBook::default();
    let mean = "venue,pair,basis,time,price\nexample-venue,BTC/EUR,vwap,2026-02-07T23:59:59Z,50000\n";
    prices.add_prices(&PriceFile::read(mean.as_bytes()).unwrap()).unwrap();
    valued::value(&*fixture.store, &yearly, &prices).await.unwrap();
    let reports = fixture.reports(&yearly, "2026").await;
    assert_eq!(reports.carf.unwrap().users[0].income.receipts, 1);
    fixture.reversed(&batch, 50, ms("2027-01-03T00:00:00Z")).await;
    let reports = fixture.reports(&yearly, "2027").await;
    assert_eq!(reports.carf.as_ref().unwrap().users.len(), 0);
    let is_told = |warning: &String| warning.contains("party 1 is not in the CARF draft: in 2027 more was taken back");
    assert!(reports.warnings.iter().any(is_told), "{:?}", reports.warnings);

    let verified = verify(&*fixture.store, Some(&vault)).await.unwrap();
    assert_eq!((verified.parties, verified.parties_opened), (1, true));
    let store = fixture.tampered(0, "UPDATE export_parties SET sealed = (SELECT x'00')").await;
    assert!(matches!(verify(&store, Some(&vault)).await, Err(VerifyError::Vault(_))));
    let store = fixture.tampered(1, "DELETE FROM export_parties").await;
    assert!(matches!(verify(&store, Some(&vault)).await, Err(VerifyError::Party(party)) if party == id));
}

#[tokio::test]
async fn a_period_of_another_length_is_refused() {
    let fixture = fixture().await;
    let profile = profile("neutral");
    let error = gather(&*fixture.store, &fixture.wanted(&profile, "2026-Q1")).await.unwrap_err();
    assert_eq!(error.to_string(), "2026-Q1 is not one of the monthly periods of neutral/1");
}

#[tokio::test]
async fn what_let_a_payout_go_and_what_blocked_is_told_with_its_evidence() {
    use crate::export::screened::{Basis as ScreenedBy, Evidence, Moment, Screened, ScreenedBatch, ScreenedOutput};
    let fixture = fixture().await;
    let basis = || ScreenedBy {
        lists: serde_json::from_value("ab".repeat(32).into()).unwrap(),
        algorithm: "1".to_owned(),
        software: "adit 0.1.0".to_owned(),
    };
    let script_pubkey = "76a9140f7c70765b8d48105b5c9b9d32ad061e0b96772288ac".to_owned();
    let evidence = Evidence {
        reason: "EXACT_ADDRESS".to_owned(),
        score_bp: None,
        source: "ofac-sdn".to_owned(),
        sha256: "cd".repeat(32),
        publication_date: Some("2024-09-27".to_owned()),
        entry_count: 440,
        uid: "12345".to_owned(),
        party: "EXAMPLE PARTY".to_owned(),
        programmes: vec!["EXAMPLE".to_owned()],
        label: Some("XBT".to_owned()),
        listed: "12QtD5BFwRsdNsAZY76UVE1xyCGNTojH9h".to_owned(),
    };
    let screened = Screened {
        moment: Moment::ListUpdate,
        account: fixture.miners[2],
        address: "12QtD5BFwRsdNsAZY76UVE1xyCGNTojH9h".to_owned(),
        script_pubkey: script_pubkey.clone(),
        party: None,
        outcome: "BLOCKED".to_owned(),
        evidence: vec![evidence],
        missing: Vec::new(),
        basis: basis(),
    };
    fixture.record(ms("2026-02-01T00:00:00Z"), &screened).await;
    let output = |vout| ScreenedOutput {
        vout,
        account: fixture.miners[0],
        script_pubkey: script_pubkey.clone(),
        outcome: "CLEAR".to_owned(),
    };
    let outputs = vec![output(0)];
    let batch = ScreenedBatch { moment: Moment::Batch, batch: crate::payout::BatchId::new(1), outputs, basis: basis() };
    fixture.record(ms("2026-02-02T00:00:00Z"), &batch).await;
    fixture.eventful().await;
    let reports = fixture.reports(&profile("neutral"), "2026-02").await;
    assert_eq!(reports.register[0].screenings, ["journal:2"]);
    let [blocked] = reports.blocked.as_slice() else { panic!("{:?}", reports.blocked) };
    assert_eq!((blocked.screening.as_str(), blocked.matched_uid.as_str()), ("journal:1", "12345"));
    assert_eq!((blocked.name.as_str(), &blocked.script), ("EXAMPLE PARTY", &script_pubkey));
    let blocked = reports.statements.iter().flat_map(|statement| &statement.blocked).next().unwrap();
    assert_eq!(blocked.screening, "journal:1");
    let log: Vec<_> = reports.screenings.iter().map(|row| (row.id.as_str(), row.result.as_str())).collect();
    assert_eq!(log, [("journal:1", "EXACT_ADDRESS: EXAMPLE PARTY"), ("journal:2", "CLEAR")]);
    // What was screened in another month is not in this one's log.
    assert_eq!(fixture.reports(&profile("neutral"), "2026-03").await.screenings.len(), 0);
}

#[tokio::test]
async fn what_a_coinbase_paid_directly_is_in_statements_and_not_in_the_register() {
    use crate::{
        books::{Books, ChainPosition},
        scheme::{
            PoolFee,
            rule::{Scheme, SchemeName},
        },
    };
    let fixture = fixture().await;
    let [finder, other, _] = fixture.miners;
    let solo = Scheme::new(SchemeName::Solo, std::num::NonZeroU32::MIN, PoolFee::from_basis_points(100).unwrap());
    let books = Books::new(fixture.store.clone(), solo);
    let found = |id| crate::books::FoundBlock {
        hash: crate::store::conformance::block_hash(id),
        finder,
        // The second is more than it is owed: a debt.
        direct: format!("1:{finder}=5000,2:{other}=70").parse().unwrap(),
        ..fixture::Fixture::found_block(id, fixture.miners)
    };
    books.record_found(&found(1)).await.unwrap();
    books.record_found(&found(2)).await.unwrap();
    books.settle(found(2).hash, ChainPosition::NotInBestChain).await.unwrap();
    books.settle(found(1).hash, ChainPosition::Confirmed { confirmations: 100 }).await.unwrap();
    audit::verify(&*fixture.store).await.unwrap();
    let profile = profile("neutral");
    // These books are of now.
    let period = profile.period_at(crate::clock::now_ms()).unwrap().to_string();
    let reports = fixture.reports(&profile, &period).await;
    let payouts = |at: usize| {
        let payouts = &reports.statements[at].payouts;
        payouts.iter().map(|line| (line.amount_sat, line.direct, line.reversed)).collect::<Vec<_>>()
    };
    assert_eq!(payouts(0), [(5_000, true, false), (5_000, true, false), (5_000, true, true)]);
    assert_eq!(payouts(1), [(70, true, false), (70, true, false), (70, true, true)]);
    assert_eq!(reports.statements[0].reversals[0].amount_sat, 313_570_441);
    assert_eq!((reports.statements[0].payable_sat, reports.statements[1].payable_sat), (313_565_441, -70));
    assert_eq!(reports.figures.register_sat, 0);
    assert_eq!(written(reports).0.faults, Vec::<String>::new());
}

#[tokio::test]
async fn work_that_the_reserve_paid_is_a_credit_of_its_period() {
    use crate::store::conformance::everything_is_in_use;
    let fixture = fixture().await;
    everything_is_in_use(fixture.store.clone()).await;
    let mut walk = Walk::begin(&*fixture.store).await.unwrap();
    // The payout of these books is made up, and cannot be followed.
    let credits = loop {
        let booked = walk.next().await.unwrap().unwrap();
        let of_work = booked.lines.into_iter().filter_map(|line| match line {
            Line::Credit { sat, block: None, period, .. } => Some((sat, period.unwrap().get())),
            _ => None,
        });
        let credits: Vec<_> = of_work.collect();
        if !credits.is_empty() {
            break credits;
        }
    };
    assert_eq!(credits, [(10, 1)]);
}
