//! Whether a set of reports is fit to be declared, and the way on record of what is declared and closed.

use super::{BookkeepingError, check_marks};
use crate::{
    clock::now_ms,
    export::{
        closing::{ClosingError, KnownPeriod, PeriodClosed, PeriodDeclared, Periods, PeriodsError, profile_name},
        journal::{JournalHead, JournalRow, JournalSeq},
        report::{
            ReportError,
            manifest::Manifest,
            model::AsOf,
            reconciliation::{RECONCILIATION_FILE, is_reconciled},
        },
        rules::{
            period::{BadPeriod, Period},
            profile::CountryProfile,
            source_file::FileHash,
        },
    },
    ledger::EntrySeq,
    payout::Outcome,
    store::{Commit, Store, StoreError},
};

/// Records that are read at a time.
const PAGE: u32 = 1_000;
/// Times that a row is sealed anew because another came first.
const COMMIT_ATTEMPTS: u32 = 16;

/// Why a set of reports cannot be declared.
#[derive(Debug, thiserror::Error)]
pub enum DeclareError {
    /// The records could not be read.
    #[error(transparent)]
    Books(#[from] BookkeepingError),
    /// A file could not be understood.
    #[error(transparent)]
    Report(#[from] ReportError),
    /// The manifest names no period.
    #[error(transparent)]
    Period(#[from] BadPeriod),
    /// The manifest's time cannot be read.
    #[error("{0:?} is no time at which reports are made")]
    Time(String),
    /// The set has no file that tells whether it reconciles.
    #[error("the set has no {RECONCILIATION_FILE}")]
    NoReconciliation,
    /// The reports do not reconcile.
    #[error("the reports do not reconcile: {RECONCILIATION_FILE} says by how much")]
    NotReconciled,
    /// The reports were made when not all records of the period were there.
    #[error("record {seq} of the {chain} is of the period and not in the reports: make them again")]
    Incomplete {
        /// Ledger or journal.
        chain: &'static str,
        /// The record.
        seq: i64,
    },
}

/// A set of reports that reconciles and has all of its period. That its files are those of its manifest, and are what the
/// books make, is for the caller to know.
#[derive(Clone, Debug)]
pub struct Declarable {
    period: Period,
    span: (i64, i64),
    profile: String,
    profile_sha256: FileHash,
    as_of: AsOf,
    generated_at_ms: i64,
    manifest_sha256: FileHash,
}

impl Declarable {
    /// Returns the event that puts the declaration on record.
    pub fn declared(self, declaration: &str, authority: &str, by: &str) -> PeriodDeclared {
        let Self { period, span, profile, profile_sha256, as_of, generated_at_ms, manifest_sha256 } = self;
        PeriodDeclared {
            profile,
            profile_sha256,
            period,
            from_ms: span.0,
            until_ms: span.1,
            declaration: declaration.to_owned(),
            authority: authority.to_owned(),
            as_of,
            generated_at_ms,
            manifest_sha256,
            by: by.to_owned(),
        }
    }
}

/// Makes sure that a set of reports reconciles, and leaves out nothing of its period. `manifest` is the bytes of its
/// manifest, `reconciliation` those of the file of that name, if there is one.
///
/// # Errors
///
/// If it does not, or the records cannot be read.
pub async fn check_declarable(
    store: &dyn Store,
    profile: &CountryProfile,
    manifest: &[u8],
    reconciliation: Option<&[u8]>,
) -> Result<Declarable, DeclareError> {
    let manifest_sha256 = FileHash::of(manifest);
    let manifest = Manifest::read(manifest)?;
    if !is_reconciled(reconciliation.ok_or(DeclareError::NoReconciliation)?)? {
        return Err(DeclareError::NotReconciled);
    }
    let period: Period = manifest.period.label.parse()?;
    let span = (period.start_ms(profile.zone()), period.end_ms(profile.zone()));
    let generated_at: jiff::Timestamp =
        manifest.generated_at.parse().map_err(|_| DeclareError::Time(manifest.generated_at.clone()))?;
    check_whole(store, &manifest.as_of, span.1).await?;
    Ok(Declarable {
        period,
        span,
        profile: profile.id(),
        profile_sha256: profile.file_sha256(),
        as_of: manifest.as_of,
        generated_at_ms: generated_at.as_millisecond(),
        manifest_sha256,
    })
}

/// Makes sure that no record after the marks is of a time before `until_ms`. No record counts as earlier than one before it.
async fn check_whole(store: &dyn Store, as_of: &AsOf, until_ms: i64) -> Result<(), DeclareError> {
    let mut at_ms = i64::MIN;
    let mut after = EntrySeq::new(0);
    'ledger: loop {
        let page = store.entries(after, PAGE).await.map_err(BookkeepingError::from)?;
        let Some(last) = page.last() else { break };
        after = last.seq;
        for entry in &page {
            at_ms = at_ms.max(entry.at_ms);
            if at_ms >= until_ms {
                break 'ledger;
            }
            if entry.seq.get() > as_of.ledger.seq {
                return Err(DeclareError::Incomplete { chain: "ledger", seq: entry.seq.get() });
            }
        }
    }
    let mut at_ms = i64::MIN;
    let mut after = JournalSeq::new(0);
    loop {
        let page = store.journal_rows(after, PAGE).await.map_err(BookkeepingError::from)?;
        let Some(last) = page.last() else { return Ok(()) };
        after = last.seq;
        for row in &page {
            at_ms = at_ms.max(row.at_ms().map_err(BookkeepingError::from)?);
            if at_ms >= until_ms {
                return Ok(());
            }
            if row.seq.get() > as_of.journal.seq {
                return Err(DeclareError::Incomplete { chain: "journal", seq: row.seq.get() });
            }
        }
    }
}

/// Why nothing was put on record about a period.
#[derive(Debug, thiserror::Error)]
pub enum PeriodRefused {
    /// What is on record cannot be told, or is not what was declared.
    #[error(transparent)]
    Books(#[from] BookkeepingError),
    /// It may not be said of the period.
    #[error(transparent)]
    Closing(#[from] ClosingError),
}

impl From<StoreError> for PeriodRefused {
    fn from(error: StoreError) -> Self {
        Self::Books(error.into())
    }
}

/// Puts on record that a period was declared. The same declaration again changes nothing; another one takes the place of the
/// last. That the reports are fit to be declared is for the caller to know, by [`check_declarable`].
///
/// # Errors
///
/// If the store fails, the period is not over or is closed, or the declared records are not those of the store.
pub async fn declare_period(store: &dyn Store, event: &PeriodDeclared) -> Result<Outcome, PeriodRefused> {
    check_marks(store, &event.as_of).await?;
    for _ in 0..COMMIT_ATTEMPTS {
        let (head, periods) = now_on_record(store).await?;
        let known = periods.of(profile_name(&event.profile), event.period);
        if known.is_some_and(|known| known.declared == *event) {
            return Ok(Outcome::Already);
        }
        let at_ms = now_ms();
        periods.check_declare(event, at_ms)?;
        let row = JournalRow::seal(head, at_ms, store.head().await?, event);
        if store.append_journal(&[row]).await? == Commit::Done {
            return Ok(Outcome::Done);
        }
    }
    Err(StoreError::Contended.into())
}

/// Puts on record that a period of a profile, which is given by name, is closed. Returns its last declaration, which stands
/// from now on. Once more does no harm.
///
/// # Errors
///
/// If the store fails, or the period was never declared.
pub async fn close_period(
    store: &dyn Store,
    name: &str,
    period: Period,
    by: &str,
) -> Result<(KnownPeriod, Outcome), PeriodRefused> {
    for _ in 0..COMMIT_ATTEMPTS {
        let (head, periods) = now_on_record(store).await?;
        let known = periods.check_close(name, period)?.clone();
        if known.closed_at.is_some() {
            return Ok((known, Outcome::Already));
        }
        let event = PeriodClosed { profile: known.declared.profile.clone(), period, by: by.to_owned() };
        let row = JournalRow::seal(head, now_ms(), store.head().await?, &event);
        if store.append_journal(&[row]).await? == Commit::Done {
            return Ok((known, Outcome::Done));
        }
    }
    Err(StoreError::Contended.into())
}

/// Returns the journal's head, and what is declared and closed up to there.
async fn now_on_record(store: &dyn Store) -> Result<(JournalHead, Periods), BookkeepingError> {
    let head = store.journal_head().await?;
    Ok((head, periods(store, head.seq).await?))
}

/// Reads what is declared and closed, up to a row of the journal. Of the journal only those rows are read.
///
/// # Errors
///
/// If the store fails, or a row cannot be read or stands where it cannot.
pub async fn periods(store: &dyn Store, upto: JournalSeq) -> Result<Periods, BookkeepingError> {
    let mut rows = rows_of(store, PeriodDeclared::KIND, upto).await?;
    rows.extend(rows_of(store, PeriodClosed::KIND, upto).await?);
    rows.sort_by_key(|row| row.seq);
    let mut periods = Periods::default();
    rows.iter().try_for_each(|row| periods.note(row))?;
    Ok(periods)
}

/// Reads the rows of a kind, up to a row of the journal.
async fn rows_of(store: &dyn Store, kind: &str, upto: JournalSeq) -> Result<Vec<JournalRow>, StoreError> {
    let mut rows: Vec<JournalRow> = Vec::new();
    let mut after = (String::new(), JournalSeq::new(0));
    loop {
        let page = store.journal_of(kind, (&after.0, after.1), PAGE).await?;
        let Some(last) = page.last() else { return Ok(rows) };
        after = (last.subject.clone(), last.seq);
        rows.extend(page.into_iter().filter(|row| row.seq <= upto));
    }
}

impl From<PeriodsError> for BookkeepingError {
    fn from(error: PeriodsError) -> Self {
        match error {
            PeriodsError::Journal(fault) => Self::Journal(fault),
            PeriodsError::OutOfOrder(out_of_order) => Self::OutOfOrder(out_of_order),
        }
    }
}
