//! Periods that are declared and closed: their reports stay as they are, and what comes later is corrected in the open one.

use bitcoin::SignedAmount;

use super::super::{
    fixture::{CREDITS_SAT, Files, Fixture, book, column, fixture, ms, profile, written},
    *,
};
use crate::{
    account::AccountId,
    audit,
    export::{
        closing::{ClosingError, PeriodClosed, PeriodDeclared},
        owner::{AddressOwned, Hosting, PartySet},
        party::{KEY_SIZE, Party, PartyId, Vault},
        register::RowSeq,
        report::{
            manifest::MANIFEST_FILE,
            model::{CorrectionOf, RecordEvent},
            reconciliation::RECONCILIATION_FILE,
        },
        rules::{
            price_files::PriceFile,
            prices::PriceBook,
            profile::CountryProfile,
            state::{LotState, RecordState},
        },
        valued::{About, Valued},
    },
    ledger::EntrySeq,
    store::Store,
};

const DELIVERED_AT: &str = "2026-02-07T01:00:00Z";
const FOUND_AT: &str = "2026-01-31T21:30:00Z";

impl Fixture {
    async fn value(
        &self,
        profile: &CountryProfile,
        about: About,
        sat: u64,
        received: &str,
        book: &PriceBook,
        at: &str,
    ) {
        let policy = profile.valuation_policy().unwrap();
        let amount = SignedAmount::from_sat(i64::try_from(sat).unwrap());
        let valued = Valued {
            about,
            profile: profile.id(),
            profile_sha256: profile.file_sha256(),
            amount_sat: amount.to_sat(),
            received_at_ms: ms(received),
            appraisal: policy.appraise(amount, ms(received), book).unwrap(),
        };
        self.record(ms(at), &valued).await;
    }

    /// Values the first delivery by the close of its day.
    async fn value_delivery(&self, profile: &CountryProfile, price: &str, at: &str) {
        let rows = self.store.register_rows(RowSeq::new(0), 1).await.unwrap();
        let about = About::Record { row: rows[0].seq, delivery: rows[0].record.delivery };
        let book = book(&[("2026-02-07", price)], &[]);
        self.value(profile, about, CREDITS_SAT[0], DELIVERED_AT, &book, at).await;
    }

    /// Declares a period by its reports as they are made now.
    async fn declare(&self, profile: &CountryProfile, period: &str, at: &str) -> (PeriodDeclared, Files) {
        let (written, files) = written(self.reports(profile, period).await);
        assert_eq!(written.faults, Vec::<String>::new());
        let declared = self.declarable(profile, &files).await.unwrap().declared("D-1", "Example Authority", "alice");
        self.record(ms(at), &declared).await;
        (declared, files)
    }

    async fn declarable(&self, profile: &CountryProfile, files: &Files) -> Result<Declarable, DeclareError> {
        let reconciliation = files.get(RECONCILIATION_FILE).map(Vec::as_slice);
        check_declarable(&*self.store, profile, &files[MANIFEST_FILE], reconciliation).await
    }

    async fn close(&self, profile: &CountryProfile, period: &str, at: &str) {
        let period = period.parse().unwrap();
        self.record(ms(at), &PeriodClosed { profile: profile.id(), period, by: "bob".to_owned() }).await;
    }

    /// Books check 5, screened, and values its first delivery.
    async fn declared_february(&self, profile: &CountryProfile) -> (crate::payout::Batch, Files) {
        self.screened(1, self.miners[0], ms("2026-02-01T00:00:00Z")).await;
        let batch = self.eventful().await;
        self.value_delivery(profile, "70000", "2026-02-08T00:00:00Z").await;
        let (_, files) = self.declare(profile, "2026-02", "2026-03-05T00:00:00Z").await;
        (batch, files)
    }
}

fn states(reports: &Reports) -> Vec<&str> {
    reports.register.iter().map(|row| row.state.as_str()).collect()
}

fn differences(reports: &Reports) -> Vec<(i64, i64, Option<i64>)> {
    let corrected = reports.register.iter().filter_map(|row| match row.event {
        RecordEvent::Corrected { original_seq, difference_sat, difference_minor } => {
            Some((original_seq, difference_sat, difference_minor))
        }
        _ => None,
    });
    corrected.collect()
}

#[tokio::test]
async fn a_closed_period_stays_byte_for_byte_and_a_later_value_corrects_it_in_the_open_one() {
    let fixture = fixture().await;
    let neutral = profile("neutral");
    let (_, declared) = fixture.declared_february(&neutral).await;
    // Declared and not closed: what comes to be known counts, and an amended return would have it.
    fixture.value_delivery(&neutral, "70001", "2026-03-07T00:00:00Z").await;
    let amended = fixture.reports(&neutral, "2026-02").await;
    assert!(amended.declared.as_ref().is_some_and(|known| known.closed_at.is_none()));
    assert_ne!(written(amended).1, declared);
    fixture.close(&neutral, "2026-02", "2026-03-10T00:00:00Z").await;
    fixture.value_delivery(&neutral, "70002", "2026-03-20T00:00:00Z").await;
    fixture.value_delivery(&neutral, "70001.99", "2026-04-02T00:00:00Z").await;

    let closed = fixture.reports(&neutral, "2026-02").await;
    assert!(closed.declared.as_ref().is_some_and(|known| known.closed_at.is_some()));
    assert_eq!(written(closed).1, declared);

    // 1.56785221 BTC at 70,000, 70,001, 70,002 and 70,001.99. The second came before the period was closed, and counts then.
    let march = fixture.reports(&neutral, "2026-03").await;
    assert_eq!(differences(&march), [(1, 0, Some(157)), (1, 0, Some(157))]);
    let times: Vec<_> = march.register.iter().map(|row| row.at_ms).collect();
    assert_eq!(times, [ms("2026-03-10T00:00:00Z"), ms("2026-03-20T00:00:00Z")]);
    assert_eq!((march.figures.register_sat, march.figures.lots_sat, march.figures.statements_sat), (0, 0, 0));
    assert_eq!((states(&march), march.head.sequence), (vec!["CORRECTED"; 2], None));
    let [first, second] = march.statements[0].corrections.as_slice() else { panic!("{:?}", march.statements[0]) };
    assert_eq!((first.of, first.difference_minor, first.amount_sat), (CorrectionOf::Payout, Some(157), CREDITS_SAT[0]));
    assert_eq!(first.valuation, second.was);
    let (written_march, files) = written(march);
    assert_eq!(written_march.faults, Vec::<String>::new());
    let register = |name: &str| column(&files, "register_2026-03.csv", name);
    assert_eq!(
        (register("event"), register("original_sequence")),
        (vec!["CORRECTED".to_owned(); 2], vec!["1".to_owned(); 2])
    );
    assert_eq!(
        (register("value_movement"), register("movement_sat")),
        (vec!["1.57".to_owned(), "1.57".to_owned()], vec!["0".to_owned(); 2])
    );
    let name = files.keys().find(|name| name.starts_with("statement_") && name.ends_with(".csv")).unwrap();
    let sections = column(&files, name, "section");
    assert_eq!(sections.iter().filter(|section| *section == "PAYOUT_CORRECTED").count(), 2, "{sections:?}");
    let april = fixture.reports(&neutral, "2026-04").await;
    assert_eq!(differences(&april), [(1, 0, Some(-2))]);

    // What was said in sum is what it is worth: 109,749.65 + 1.57 + 1.57 - 0.02.
    let delivered = column(&declared, "register_2026-02.csv", "value_movement");
    assert_eq!((delivered[0].as_str(), last_value(&april)), ("109749.65", 10_975_277));
    let verified = verify(&*fixture.store, None).await.unwrap();
    assert_eq!((verified.declared, verified.closed), (1, 1));
    audit::verify(&*fixture.store).await.unwrap();
}

fn last_value(reports: &Reports) -> i64 {
    match &reports.register.last().unwrap().valuation {
        model::Valuation::Valued(value) => value.minor,
        model::Valuation::Unvalued => panic!("it has a value"),
    }
}

#[tokio::test]
async fn a_first_value_after_closing_has_no_difference_and_a_credit_is_corrected_in_its_statement() {
    let fixture = fixture().await;
    let neutral = profile("neutral");
    fixture.eventful().await;
    let credit = |account: AccountId| About::Credit { entry: EntrySeq::new(1), account };
    let prices = |price| book(&[("2026-01-31", price)], &[]);
    let account = fixture.miners[1];
    let value = async |price, at| {
        fixture.value(&neutral, credit(account), CREDITS_SAT[1], FOUND_AT, &prices(price), at).await;
    };
    fixture.declare(&neutral, "2026-01", "2026-02-10T00:00:00Z").await;
    fixture.declare(&neutral, "2026-02", "2026-03-05T00:00:00Z").await;
    for period in ["2026-01", "2026-02"] {
        fixture.close(&neutral, period, "2026-03-10T00:00:00Z").await;
    }
    value("80000", "2026-03-11T00:00:00Z").await;
    value("80000.01", "2026-03-12T00:00:00Z").await;
    fixture.value_delivery(&neutral, "70000", "2026-03-13T00:00:00Z").await;
    let march = fixture.reports(&neutral, "2026-03").await;
    assert_eq!(differences(&march), [(1, 0, None)]);
    let corrections: Vec<_> =
        march.statements[1].corrections.iter().map(|line| (line.of, line.difference_minor)).collect();
    assert_eq!(corrections, [(CorrectionOf::Credit, None), (CorrectionOf::Credit, Some(1))]);
    assert!(
        march.warnings.iter().any(|warning| warning.contains("stand in no sum of values: 2")),
        "{:?}",
        march.warnings
    );
    // Nothing is known of a screening, so no state is made up.
    assert_eq!(states(&march), [""]);
    let (written, files) = written(march);
    assert_eq!(written.faults, Vec::<String>::new());
    assert_eq!(column(&files, "register_2026-03.csv", "value"), ["109749.65"]);
    assert_eq!(column(&files, "register_2026-03.csv", "value_movement"), [""]);
}

#[tokio::test]
async fn a_reversal_of_what_was_declared_is_the_exact_negative_in_the_open_period() {
    let fixture = fixture().await;
    let neutral = profile("neutral");
    let (batch, declared) = fixture.declared_february(&neutral).await;
    fixture.close(&neutral, "2026-02", "2026-03-10T00:00:00Z").await;
    fixture.value_delivery(&neutral, "70001", "2026-03-11T00:00:00Z").await;
    fixture.reversed(&batch, 50, ms("2026-03-12T00:00:00Z")).await;
    // It is not there any more: its value is nobody's matter.
    fixture.value_delivery(&neutral, "90000", "2026-03-13T00:00:00Z").await;
    let march = fixture.reports(&neutral, "2026-03").await;
    assert_eq!(differences(&march), [(1, 0, Some(157))]);
    let events: Vec<_> = march.register.iter().skip(1).map(|row| row.event).collect();
    assert_eq!(events, [1, 2].map(|original_seq| RecordEvent::Reversed { original_seq }));
    assert_eq!((march.figures.register_sat, states(&march)), (-250_000_000, vec!["CORRECTED"; 3]));
    let (march, files) = written(march);
    assert_eq!(march.faults, Vec::<String>::new());
    assert_eq!(column(&files, "register_2026-03.csv", "value_movement"), ["1.57", "-109751.22", ""]);
    assert_eq!(column(&declared, "register_2026-02.csv", "value_movement"), ["109749.65", ""]);
    assert_eq!(written(fixture.reports(&neutral, "2026-02").await).1, declared);

    // Delivered again, it is a record of the open period.
    fixture.confirmed(&batch, 51, 1, ms("2026-03-14T00:00:00Z")).await;
    let march = fixture.reports(&neutral, "2026-03").await;
    assert_eq!(states(&march), ["CORRECTED", "CORRECTED", "CORRECTED", "SETTLED", "SETTLED"]);
    assert_eq!(march.figures.register_sat, 0);
}

#[tokio::test]
async fn records_and_lots_come_to_their_states_in_order() {
    let fixture = fixture().await;
    let neutral = profile("neutral");
    fixture.screened(1, fixture.miners[0], ms("2026-02-01T00:00:00Z")).await;
    let batch = fixture.eventful().await;
    let february = async || fixture.reports(&neutral, "2026-02").await;
    assert_eq!(states(&february().await), ["SETTLED"; 2]);
    assert!(february().await.register.iter().flat_map(|row| &row.lots).all(|lot| lot.state == LotState::Paid.as_str()));
    fixture.reversed(&batch, 50, ms("2026-02-08T00:00:00Z")).await;
    let reports = february().await;
    assert_eq!(states(&reports), ["REVERSED"; 4]);
    assert!(reports.register.iter().flat_map(|row| &row.lots).all(|lot| lot.state == LotState::Payable.as_str()));
    fixture.confirmed(&batch, 51, 1, ms("2026-02-09T00:00:00Z")).await;
    assert_eq!(states(&february().await), ["SETTLED"; 6]);
    fixture.declare(&neutral, "2026-02", "2026-03-05T00:00:00Z").await;
    assert_eq!(states(&february().await), ["DECLARED"; 6]);
    fixture.close(&neutral, "2026-02", "2026-03-10T00:00:00Z").await;
    let now = record_states(&*fixture.store, "neutral/1").await.unwrap();
    let last = RowSeq::new(6);
    assert_eq!(now.of(last), Some(RecordState::Closed));
    assert_eq!(record_states(&*fixture.store, "other/1").await.unwrap().of(last), Some(RecordState::Settled));
    fixture.value_delivery(&neutral, "1", "2026-03-11T00:00:00Z").await;
    let (written, files) = written(february().await);
    assert_eq!(written.faults, Vec::<String>::new());
    // The files of a closed period say how things stood when they were declared.
    assert_eq!(column(&files, "register_2026-02.csv", "state"), ["SETTLED"; 6]);
    assert_eq!(column(&files, "register_lots_2026-02.csv", "state"), ["PAID"; 6]);
}

#[tokio::test]
async fn only_whole_reports_that_reconcile_can_be_declared() {
    let fixture = fixture().await;
    let neutral = profile("neutral");
    fixture.found(1, ms("2026-02-01T00:00:00Z")).await;
    let (_, early) = written(fixture.reports(&neutral, "2026-02").await);
    fixture.declarable(&neutral, &early).await.unwrap();
    fixture.found(2, ms("2026-02-27T23:59:59.999Z")).await;
    let error = fixture.declarable(&neutral, &early).await.unwrap_err();
    assert!(matches!(error, DeclareError::Incomplete { chain: "ledger", seq: 2 }), "{error}");

    let (_, files) = written(fixture.reports(&neutral, "2026-02").await);
    fixture.found(3, ms("2026-03-01T00:00:00Z")).await;
    fixture.declarable(&neutral, &files).await.unwrap();
    fixture.screened(1, fixture.miners[0], ms("2026-02-01T00:00:00Z")).await;
    let error = fixture.declarable(&neutral, &files).await.unwrap_err();
    assert!(matches!(error, DeclareError::Incomplete { chain: "journal", seq: 1 }), "{error}");

    let (_, mut files) = written(fixture.reports(&neutral, "2026-02").await);
    let text = String::from_utf8(files[RECONCILIATION_FILE].clone()).unwrap();
    let unequal = text.replace("\"reconciled\": true", "\"reconciled\": false");
    assert_ne!(unequal, text);
    files.insert(RECONCILIATION_FILE.to_owned(), unequal.into());
    let error = fixture.declarable(&neutral, &files).await.unwrap_err();
    assert!(matches!(error, DeclareError::NotReconciled), "{error}");
    files.remove(RECONCILIATION_FILE);
    let error = fixture.declarable(&neutral, &files).await.unwrap_err();
    assert!(matches!(error, DeclareError::NoReconciliation), "{error}");
}

#[tokio::test]
async fn verifying_finds_what_may_not_be_said_of_a_period() {
    let neutral = profile("neutral");
    let begun = async || {
        let fixture = fixture().await;
        let (_, files) = fixture.declared_february(&neutral).await;
        let declared = fixture.declarable(&neutral, &files).await.unwrap().declared("D-2", "Example Authority", "bob");
        (fixture, declared)
    };
    let (fixture, declared) = begun().await;
    fixture.close(&neutral, "2026-02", "2026-03-10T00:00:00Z").await;
    verify(&*fixture.store, None).await.unwrap();
    fixture.record(ms("2026-03-11T00:00:00Z"), &declared).await;
    let error = verify(&*fixture.store, None).await.unwrap_err();
    assert!(matches!(&error, VerifyError::Order(it) if matches!(it.error, ClosingError::Closed { .. })), "{error}");

    let (fixture, _) = begun().await;
    fixture.close(&neutral, "2026-01", "2026-03-10T00:00:00Z").await;
    let error = verify(&*fixture.store, None).await.unwrap_err();
    assert!(
        matches!(&error, VerifyError::Order(it) if matches!(it.error, ClosingError::NotDeclared { .. })),
        "{error}"
    );

    for chain in ["ledger", "register", "journal"] {
        let (fixture, mut declared) = begun().await;
        let as_of = &mut declared.as_of;
        let mark = match chain {
            "ledger" => &mut as_of.ledger,
            "register" => &mut as_of.register,
            _ => &mut as_of.journal,
        };
        mark.hash = "00".repeat(32);
        let row = fixture.record(ms("2026-03-06T00:00:00Z"), &declared).await;
        let error = verify(&*fixture.store, None).await.unwrap_err();
        let VerifyError::Declaration { seq, error } = error else { panic!("{error}") };
        assert!(matches!(error, BookkeepingError::OtherRecords { chain: named, .. } if named == chain), "{error}");
        assert_eq!(seq, row.seq);
    }
}

#[tokio::test]
async fn another_version_of_a_profile_makes_no_reports_of_what_is_closed() {
    let fixture = fixture().await;
    let neutral = profile("neutral");
    let (_, declared) = fixture.declared_february(&neutral).await;
    fixture.close(&neutral, "2026-02", "2026-03-10T00:00:00Z").await;
    let (_, text) = CountryProfile::SHIPPED.iter().find(|(name, _)| *name == "neutral").unwrap();
    let text = text.replace("version = 1", "version = 2").replace("venue = \"\"", "venue = \"example-venue\"");
    let second = CountryProfile::parse(&text).unwrap();
    assert_eq!(second.id(), "neutral/2");
    let error = gather(&*fixture.store, &fixture.wanted(&second, "2026-02")).await.unwrap_err();
    assert!(matches!(&error, BookkeepingError::ClosedByAnother { profile, .. } if profile == "neutral/1"), "{error}");
    // Its values of old receipts are no corrections; those by the declaring version are, also in its reports.
    fixture.value_delivery(&second, "1", "2026-03-11T00:00:00Z").await;
    assert_eq!(differences(&fixture.reports(&second, "2026-03").await), []);
    fixture.value_delivery(&neutral, "70001", "2026-03-12T00:00:00Z").await;
    assert_eq!(differences(&fixture.reports(&second, "2026-03").await), [(1, 0, Some(157))]);
    assert_eq!(written(fixture.reports(&neutral, "2026-02").await).1, declared);
}

#[tokio::test]
async fn a_correction_of_a_closed_year_is_income_of_the_open_one() {
    let mut fixture = fixture().await;
    let yearly = profile("carf-yearly");
    let vault = Vault::new(&[7; KEY_SIZE]);
    let party: Party = toml::from_str("kind = 'natural'\nlegal_name = 'EXAMPLE PERSON'\nresidency = 'DE'").unwrap();
    let id = PartyId::new(1);
    let (sealed, commitment) = vault.seal(id, &party).unwrap();
    let head = fixture.store.journal_head().await.unwrap();
    let ledger = fixture.store.head().await.unwrap();
    let row =
        crate::export::journal::JournalRow::seal(head, 1, ledger, &PartySet::new(id, &party, commitment, "alice"));
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
    fixture.parties.insert(id, party);
    fixture.eventful().await;
    let value = async |price: &str, at: &str| {
        let rows = fixture.store.register_rows(RowSeq::new(0), 1).await.unwrap();
        let about = About::Record { row: rows[0].seq, delivery: rows[0].record.delivery };
        let mut book = PriceBook::default();
        let text = format!("venue,pair,basis,time,price\nexample-venue,BTC/EUR,vwap,2026-02-07T22:59:59Z,{price}\n");
        book.add_prices(&PriceFile::read(text.as_bytes()).unwrap()).unwrap();
        fixture.value(&yearly, about, CREDITS_SAT[0], DELIVERED_AT, &book, at).await;
    };
    value("60000", "2026-02-08T00:00:00Z").await;
    let income = async |year: &str| {
        let reports = fixture.reports(&yearly, year).await;
        let income = reports.carf.as_ref().unwrap().users.first().map(|user| user.income.clone());
        (income.map(|income| (income.receipts, income.amount_sat, income.minor)), reports.warnings)
    };
    let (first, _) = income("2026").await;
    assert_eq!(first, Some((1, CREDITS_SAT[0], 9_407_113)));
    fixture.declare(&yearly, "2026", "2027-01-20T00:00:00Z").await;
    fixture.close(&yearly, "2026", "2027-01-21T00:00:00Z").await;
    value("60001", "2027-02-01T00:00:00Z").await;
    assert_eq!(income("2026").await.0, first);
    assert_eq!(income("2027").await.0, Some((0, 0, 157)));
    // Less than nothing cannot be told in such a message; it is not kept quiet.
    value("50000", "2027-03-01T00:00:00Z").await;
    let (none, warnings) = income("2027").await;
    assert_eq!(none, None);
    assert!(warnings.iter().any(|warning| warning.contains("below zero")), "{warnings:?}");
}
