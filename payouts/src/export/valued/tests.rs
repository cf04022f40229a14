//! Valuations on a real database.

#![allow(clippy::unwrap_used)]

use super::*;
use crate::{
    audit::AuditError,
    export::bookkeeping::{
        VerifyError,
        fixture::{CREDITS_SAT, Fixture, book, fixture, ms, profile},
        verify,
    },
};

async fn valued_rows(fixture: &Fixture) -> Vec<Valued> {
    let rows = fixture.store.journal_rows(JournalSeq::new(0), 1_000).await.unwrap();
    rows.iter().filter(|row| row.kind == Valued::KIND).map(|row| row.read().unwrap()).collect()
}

fn values(rows: &[Valued]) -> Vec<Option<i64>> {
    let value = |row: &Valued| match &row.appraisal {
        Appraisal::Valued(value) => Some(value.value.minor()),
        Appraisal::Unvalued(_) => None,
    };
    rows.iter().map(value).collect()
}

#[tokio::test]
async fn a_credit_is_rounded_once() {
    let fixture = fixture().await;
    fixture.found(1, ms("2026-01-31T21:30:00Z")).await;
    let profile = profile("utc3-monthly-watcher");
    let prices = book(&[("2026-02-01", "97412.35")], &[("2026-02-01", "81.2345")]);
    let outcome = value(&*fixture.store, &profile, &prices).await.unwrap();
    assert_eq!((outcome.valued, outcome.unvalued.len()), (3, 0));
    let rows = valued_rows(&fixture).await;
    assert_eq!(values(&rows)[0], Some(1_240_679_638));
    assert_eq!(rows[0].about, About::Credit { entry: EntrySeq::new(1), account: fixture.miners[0] });
    assert_eq!((rows[0].subject(), rows[0].amount_sat), (format!("credit:1:{}", fixture.miners[0]), 156_785_221));
    verify(&*fixture.store, None).await.unwrap();
}

#[tokio::test]
async fn a_missing_day_stays_on_record_when_a_later_file_has_it() {
    let fixture = fixture().await;
    fixture.found(1, ms("2026-02-01T10:00:00Z")).await;
    fixture.found(2, ms("2026-02-02T10:00:00Z")).await;
    let neutral = profile("neutral");
    let one = book(&[("2026-02-01", "60000")], &[]);
    let outcome = value(&*fixture.store, &neutral, &one).await.unwrap();
    assert_eq!((outcome.valued, outcome.unvalued.values().sum::<u64>()), (3, 3));
    let lack = outcome.unvalued.keys().next().unwrap();
    assert_eq!(lack, "no price for 2026-02-02: BTC/USD close at example-venue");
    assert_eq!(valued_rows(&fixture).await.len(), 6);
    // The same again says nothing new.
    let again = value(&*fixture.store, &neutral, &one).await.unwrap();
    assert_eq!((again.valued, again.unchanged, again.unvalued.values().sum::<u64>()), (0, 3, 3));
    assert_eq!(valued_rows(&fixture).await.len(), 6);

    let both = book(&[("2026-02-01", "60000"), ("2026-02-02", "64000")], &[]);
    let outcome = value(&*fixture.store, &neutral, &both).await.unwrap();
    assert_eq!((outcome.valued, outcome.revalued, outcome.unchanged), (0, 3, 3));
    let rows = valued_rows(&fixture).await;
    assert_eq!((rows.len(), values(&rows)[3], values(&rows)[6]), (9, None, Some(10_034_254)));
    assert_eq!(rows[3].about, rows[6].about);
    let verified = verify(&*fixture.store, None).await.unwrap();
    assert_eq!((verified.valued, verified.unvalued), (6, 3));
}

#[tokio::test]
async fn the_profile_says_what_receipt_is() {
    let fixture = fixture().await;
    fixture.eventful().await;
    let about = async |event: &str| {
        let (_, text) = CountryProfile::SHIPPED[0];
        let text = text
            .replace("name = \"neutral\"", &format!("name = \"{event}\""))
            .replace("venue = \"\"", "venue = \"example-venue\"")
            .replace("receipt_event = \"credit\"", &format!("receipt_event = \"{event}\""));
        let profile = CountryProfile::parse(&text).unwrap();
        value(&*fixture.store, &profile, &book(&[("2026-02-01", "1")], &[])).await.unwrap();
        let rows = valued_rows(&fixture).await;
        let of = rows.into_iter().filter(|row| row.profile == profile.id());
        of.map(|row| (matches!(row.about, About::Record { .. }), row.received_at_ms)).collect::<Vec<_>>()
    };
    let paid = (true, ms("2026-02-07T01:00:00Z"));
    assert_eq!(about("payout").await, [paid; 2]);
    let found = (false, ms("2026-01-31T21:30:00Z"));
    assert_eq!(about("credit").await, [found, found, found, paid, paid]);
    let matured = (false, ms("2026-02-05T00:00:00Z"));
    assert_eq!(about("maturity").await, [matured, matured, matured, paid, paid]);
}

#[tokio::test]
async fn a_journal_that_was_changed_is_named() {
    let fixture = fixture().await;
    fixture.found(1, ms("2026-02-01T10:00:00Z")).await;
    value(&*fixture.store, &profile("neutral"), &book(&[("2026-02-01", "60000")], &[])).await.unwrap();
    let statement = "DROP TRIGGER export_journal_no_update; \
         UPDATE export_journal SET body = replace(body, '60000', '60001') WHERE seq = 2";
    let store = fixture.tampered(0, statement).await;
    let error = verify(&store, None).await.unwrap_err();
    let wanted = JournalFault::Content(JournalSeq::new(2));
    assert!(matches!(&error, VerifyError::Audit(AuditError::Journal(fault)) if *fault == wanted), "{error}");
    let store =
        fixture.tampered(1, "DROP TRIGGER export_journal_no_delete; DELETE FROM export_journal WHERE seq = 2").await;
    let error = verify(&store, None).await.unwrap_err();
    assert!(matches!(&error, VerifyError::Audit(AuditError::Journal(JournalFault::Chain(_)))), "{error}");
}

#[tokio::test]
async fn a_sealed_value_that_follows_from_nothing_is_named() {
    let fixture = fixture().await;
    fixture.found(1, ms("2026-02-01T10:00:00Z")).await;
    value(&*fixture.store, &profile("neutral"), &book(&[("2026-02-01", "60000")], &[])).await.unwrap();
    let valued = valued_rows(&fixture).await.remove(0);
    let Appraisal::Valued(mut worth) = valued.appraisal.clone() else { panic!("{valued:?}") };
    worth.value = super::super::rules::fiat::FiatAmount::from_minor(worth.value.minor() + 1, worth.value.currency());
    let forged = fixture.record(1, &Valued { appraisal: Appraisal::Valued(worth), ..valued.clone() }).await;
    let error = verify(&*fixture.store, None).await.unwrap_err();
    assert!(matches!(error, VerifyError::Value(seq) if seq == forged.seq), "{error}");
}

#[tokio::test]
async fn a_value_of_what_was_never_received_is_named() {
    let fixture = fixture().await;
    fixture.found(1, ms("2026-02-01T10:00:00Z")).await;
    value(&*fixture.store, &profile("neutral"), &book(&[("2026-03-01", "60000")], &[])).await.unwrap();
    let valued = valued_rows(&fixture).await.remove(0);
    let forged = Valued { amount_sat: valued.amount_sat + 1, ..valued };
    fixture.record(1, &forged).await;
    let error = verify(&*fixture.store, None).await.unwrap_err();
    let found = Some(i64::try_from(CREDITS_SAT[0]).unwrap());
    assert!(matches!(error, VerifyError::Amount { found_sat, .. } if found_sat == found), "{error}");
}
