//! Valuations on a real database.

#![allow(clippy::unwrap_used)]

use std::num::NonZeroU32;

use super::*;
use crate::{
    audit::AuditError,
    books::{Books, FoundBlock},
    export::bookkeeping::{
        VerifyError,
        fixture::{CREDITS_SAT, FEE_SAT, Fixture, book, fixture, ms, profile},
        verify,
    },
    scheme::{
        PoolFee,
        rule::{Scheme, SchemeName},
    },
    store::conformance::block_hash,
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
    assert_eq!((outcome.valued, outcome.unvalued.len()), (4, 0));
    let rows = valued_rows(&fixture).await;
    assert_eq!(values(&rows)[0], Some(1_240_679_638));
    assert_eq!(rows[0].about, About::Credit { entry: EntrySeq::new(1), account: fixture.miners[0] });
    assert_eq!((rows[0].subject(), rows[0].amount_sat), (format!("credit:1:{}", fixture.miners[0]), 156_785_221));
    let hash = block_hash(1);
    assert_eq!((rows[3].subject(), rows[3].amount_sat), (format!("fee:{hash}"), i64::try_from(FEE_SAT).unwrap()));
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
    assert_eq!((outcome.valued, outcome.unvalued.values().sum::<u64>()), (4, 4));
    let lack = outcome.unvalued.keys().next().unwrap();
    assert_eq!(lack, "no price for 2026-02-02: BTC/USD close at example-venue");
    assert_eq!(valued_rows(&fixture).await.len(), 8);
    // The same again says nothing new.
    let again = value(&*fixture.store, &neutral, &one).await.unwrap();
    assert_eq!((again.valued, again.unchanged, again.unvalued.values().sum::<u64>()), (0, 4, 4));
    assert_eq!(valued_rows(&fixture).await.len(), 8);

    let both = book(&[("2026-02-01", "60000"), ("2026-02-02", "64000")], &[]);
    let outcome = value(&*fixture.store, &neutral, &both).await.unwrap();
    assert_eq!((outcome.valued, outcome.revalued, outcome.unchanged), (0, 4, 4));
    let rows = valued_rows(&fixture).await;
    assert_eq!((rows.len(), values(&rows)[4], values(&rows)[8]), (12, None, Some(10_034_254)));
    assert_eq!(rows[4].about, rows[8].about);
    let verified = verify(&*fixture.store, None).await.unwrap();
    assert_eq!((verified.valued, verified.unvalued), (8, 4));
}

/// The neutral profile with another event that counts as receipt, which is also its name.
fn receiving_by(event: &str) -> CountryProfile {
    let (_, text) = CountryProfile::SHIPPED[0];
    let text = text
        .replace("name = \"neutral\"", &format!("name = \"{event}\""))
        .replace("venue = \"\"", "venue = \"example-venue\"")
        .replace("receipt_event = \"credit\"", &format!("receipt_event = \"{event}\""));
    CountryProfile::parse(&text).unwrap()
}

#[tokio::test]
async fn what_a_coinbase_pays_directly_is_received_with_the_payment() {
    let fixture = fixture().await;
    let [finder, other, _] = fixture.miners;
    let solo = Scheme::new(SchemeName::Solo, NonZeroU32::MIN, PoolFee::from_basis_points(100).unwrap());
    let found = FoundBlock {
        finder,
        direct: format!("1:{finder}=5000,2:{other}=70").parse().unwrap(),
        ..Fixture::found_block(1, fixture.miners)
    };
    Books::new(fixture.store.clone(), solo).record_found(&found).await.unwrap();
    let outcome = value(&*fixture.store, &receiving_by("payout"), &book(&[("2020-01-01", "1")], &[])).await.unwrap();
    assert_eq!(outcome.unvalued.values().sum::<u64>(), 2);
    let rows = valued_rows(&fixture).await;
    let about = |row: &Valued| (row.subject(), row.amount_sat, matches!(row.about, About::DirectPayment { .. }));
    let txid = found.coinbase.txid;
    assert_eq!(
        rows.iter().map(about).collect::<Vec<_>>(),
        [(format!("{txid}:1"), 5_000, true), (format!("{txid}:2"), 70, true)]
    );
    verify(&*fixture.store, None).await.unwrap();
    // The same entry credits nobody.
    let About::DirectPayment { entry, account, .. } = rows[0].about else { panic!("{:?}", rows[0]) };
    let forged = Valued { about: About::Credit { entry, account }, ..rows[0].clone() };
    let error = keep(&*fixture.store, &[forged]).await.unwrap_err();
    assert!(matches!(error, KeepError::NotReceived { found_sat: None, .. }), "{error}");
}

#[tokio::test]
async fn the_profile_says_what_receipt_is() {
    let fixture = fixture().await;
    fixture.eventful().await;
    let about = async |event: &str| {
        let profile = receiving_by(event);
        value(&*fixture.store, &profile, &book(&[("2026-02-01", "1")], &[])).await.unwrap();
        let rows = valued_rows(&fixture).await;
        let of = rows.into_iter().filter(|row| row.profile == profile.id());
        of.map(|row| (matches!(row.about, About::Record { .. }), row.received_at_ms)).collect::<Vec<_>>()
    };
    let paid = (true, ms("2026-02-07T01:00:00Z"));
    // The pool's own part is received when it matures at the latest.
    let matured = (false, ms("2026-02-05T00:00:00Z"));
    assert_eq!(about("payout").await, [matured, paid, paid]);
    let found = (false, ms("2026-01-31T21:30:00Z"));
    assert_eq!(about("credit").await, [found, found, found, found, paid, paid]);
    assert_eq!(about("maturity").await, [matured, matured, matured, matured, paid, paid]);
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

/// Everything that is new of a store, in pages.
async fn pages(fixture: &Fixture, profile: &CountryProfile, book: &PriceBook) -> Vec<Vec<Valued>> {
    let mut valuing = Valuing::begin(&*fixture.store, profile, book).await.unwrap();
    let mut pages = Vec::new();
    loop {
        let page = valuing.next_page().await.unwrap();
        if page.is_empty() {
            return pages;
        }
        pages.push(page);
    }
}

#[tokio::test]
async fn a_long_past_is_valued_page_by_page_and_nothing_is_written_meanwhile() {
    let fixture = fixture().await;
    for id in 1..=90 {
        fixture.found(id, ms("2026-02-01T10:00:00Z")).await;
    }
    let (neutral, prices) = (profile("neutral"), book(&[("2026-02-01", "60000")], &[]));
    let pages = pages(&fixture, &neutral, &prices).await;
    assert_eq!(pages.iter().map(Vec::len).collect::<Vec<_>>(), [PAGE_VALUES, 360 - PAGE_VALUES]);
    assert_eq!(valued_rows(&fixture).await, []);
    assert_eq!(value(&*fixture.store, &neutral, &prices).await.unwrap().valued, 360);
    assert_eq!(valued_rows(&fixture).await, pages.concat());
}

#[tokio::test]
async fn a_page_that_is_handed_in_again_changes_nothing() {
    let fixture = fixture().await;
    fixture.eventful().await;
    let kept = async |page: &[Valued]| {
        let Kept { appended, already } = keep(&*fixture.store, page).await.unwrap();
        (appended, already)
    };
    let neutral = profile("neutral");
    let unvalued = pages(&fixture, &neutral, &book(&[("2020-01-01", "1")], &[])).await.concat();
    let one = pages(&fixture, &neutral, &book(&[("2026-01-31", "60000"), ("2026-02-07", "1")], &[])).await.concat();
    let other = pages(&fixture, &neutral, &book(&[("2026-01-31", "60001"), ("2026-02-07", "1")], &[])).await.concat();
    // Three credits and the pool's part, and two outputs that paid the credits.
    assert_eq!((one.len(), kept(&unvalued).await, kept(&unvalued).await), (6, (6, 0), (0, 6)));
    assert_eq!((kept(&one).await, kept(&one).await), ((6, 0), (0, 6)));
    // A lack that was found before and comes late takes no value back.
    assert_eq!(kept(&unvalued).await, (0, 6));
    // Another price of the credits' day; within a page, the last says what counts.
    assert_eq!(kept(&other).await, (4, 2));
    assert_eq!(kept(&[one[0].clone(), one[0].clone(), other[0].clone()]).await, (2, 1));
    assert_eq!(valued_rows(&fixture).await.len(), 18);
    verify(&*fixture.store, None).await.unwrap();

    // What another profile says is about the same receipts, and counts by itself.
    let yearly = profile("carf-yearly");
    let of_other = pages(&fixture, &yearly, &book(&[("2026-02-07", "1")], &[])).await.concat();
    assert_eq!(kept(&of_other).await, (u64::try_from(of_other.len()).unwrap(), 0));
    assert_eq!(kept(&one).await, (4, 2));
}

#[tokio::test]
async fn what_does_not_follow_is_not_put_on_record() {
    let fixture = fixture().await;
    fixture.eventful().await;
    let prices = book(&[("2026-01-31", "60000"), ("2026-02-07", "1")], &[]);
    let page = pages(&fixture, &profile("neutral"), &prices).await.concat();
    let refused = async |change: &dyn Fn(&mut Valued)| {
        let mut page = page.clone();
        change(&mut page[5]);
        keep(&*fixture.store, &page).await.unwrap_err()
    };
    let revalued = |valued: &mut Valued, change: &dyn Fn(&mut super::super::rules::valuation::Valuation)| {
        let Appraisal::Valued(value) = &mut valued.appraisal else { panic!("{valued:?}") };
        change(value);
    };
    let error = refused(&|valued| valued.amount_sat += 1).await;
    assert!(matches!(error, KeepError::Value(_)), "{error}");
    let error = refused(&|valued| revalued(valued, &|value| value.price = "2".parse().unwrap())).await;
    assert!(matches!(error, KeepError::Value(_)), "{error}");
    let error = refused(&|valued| revalued(valued, &|value| value.policy = "other/1".to_owned())).await;
    assert!(matches!(error, KeepError::Profile { .. }), "{error}");
    let unnamed = |valued: &mut Valued| {
        valued.profile = "no profile".to_owned();
        revalued(valued, &|value| value.policy = "no profile".to_owned());
    };
    let error = refused(&unnamed).await;
    assert!(matches!(error, KeepError::Profile { .. }), "{error}");

    // Of what was never received, or by somebody else.
    let output = OutPoint::null();
    for about in [
        About::Record { row: RowSeq::new(2), delivery: output },
        About::Record { row: RowSeq::new(9), delivery: output },
        About::Record { row: RowSeq::new(i64::MIN), delivery: output },
        About::Credit { entry: EntrySeq::new(1), account: AccountId::new(9) },
        About::Credit { entry: EntrySeq::new(2), account: fixture.miners[0] },
        About::Credit { entry: EntrySeq::new(i64::MAX), account: fixture.miners[0] },
        About::DirectPayment { entry: EntrySeq::new(1), account: fixture.miners[0], delivery: output },
    ] {
        let error = refused(&|valued| valued.about = about.clone()).await;
        assert!(matches!(error, KeepError::NotReceived { found_sat: None, .. }), "{about:?}: {error}");
    }
    let error = refused(&|valued| valued.about = page[0].about.clone()).await;
    let found = i64::try_from(CREDITS_SAT[0]).unwrap();
    assert!(matches!(error, KeepError::NotReceived { found_sat: Some(sat), .. } if sat == found), "{error}");

    let error = keep(&*fixture.store, &vec![page[0].clone(); PAGE_VALUES + 1]).await.unwrap_err();
    assert!(matches!(error, KeepError::TooMany(_)), "{error}");
    assert_eq!(valued_rows(&fixture).await, [], "nothing of a page that is wrong is kept");
}
