//! The export register as pages, the API and commands read it: periods, and the files of their reports.
//!
//! Owns which country profile is meant, what of parties can be opened, and that a running pool makes one set of reports at
//! a time, beside what it does for miners. What reports say belongs to [`payouts::export`]; what changes the register, to
//! [`crate::operations`].

mod edition;
mod opened;
mod periods;
mod recent;
pub mod records;
mod reports;
mod values;

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use jiff::Timestamp;
use payouts::{
    account::AccountId,
    export::{
        bookkeeping::{self, BookkeepingError, DeclareError},
        closing::PeriodDeclared,
        register::RowSeq,
        report::{ReportError, manifest::MANIFEST_FILE, reconciliation::RECONCILIATION_FILE},
        rules::{period::Period, profile::CountryProfile, source_file::FileHash},
        valued::{Kept, Valued},
    },
    store::Store,
};
use tokio::{runtime::Handle, sync::Semaphore, task::spawn_blocking, time::timeout};

pub use self::{
    edition::{Edition, NoEdition},
    opened::Opened,
    periods::{DeclarationReport, PeriodStanding, PeriodState, of_profile},
    reports::{Gathered, Made, PeriodTotals, StatementKind, Worth, note},
    values::{PriceTexts, UnvaluedReport, ValuesReport, value},
};
use self::{
    recent::{Recent, Records},
    records::RecordDetail,
    reports::{Files, Shelf},
};
use crate::{
    config::ExportConfig,
    operations::{Refusal, RefusalCode, Words},
};

/// The version that reports name.
pub const SOFTWARE: &str = concat!("adit ", env!("CARGO_PKG_VERSION"));
/// The longest file that a running pool hands out: it is held in memory.
pub const MAX_FILE_BYTES: usize = 128 << 20;
/// How long a request for reports waits while others are made.
const PATIENCE: Duration = Duration::from_secs(60);

/// The export register of a running pool.
#[derive(Clone, Debug)]
pub struct Register {
    store: Arc<dyn Store>,
    config: ExportConfig,
    /// Whoever holds it makes reports.
    turn: Arc<Semaphore>,
    recent: Arc<Mutex<Recent>>,
}

/// Which set of reports.
#[derive(Clone, Debug)]
pub struct Wish {
    /// By which rules.
    pub profile: Arc<CountryProfile>,
    /// Of which period.
    pub period: Period,
    /// From which records, and as of when; nothing for all that there are, now.
    pub edition: Option<Edition>,
}

/// What was handed in to an authority.
#[derive(Clone, Debug)]
pub struct HandedIn {
    /// The SHA-256 of the manifest of the files.
    pub manifest_sha256: FileHash,
    /// The declaration's number or name, by whoever received it.
    pub declaration: Words,
    /// Who received it.
    pub authority: Words,
}

impl Register {
    /// Brings together where the register is and how it is kept.
    pub fn new(store: Arc<dyn Store>, config: ExportConfig) -> Register {
        Register { store, config, turn: Arc::new(Semaphore::new(1)), recent: Arc::default() }
    }

    /// Returns the profile of the settings, or the one that is named: that of the settings, or one that comes with the pool.
    ///
    /// # Errors
    ///
    /// When there is no such profile here.
    pub fn profile(&self, name: Option<&str>) -> Result<Arc<CountryProfile>, Refusal> {
        let own = &self.config.profile;
        let Some(name) = name.filter(|name| *name != own.name()) else { return Ok(Arc::clone(own)) };
        CountryProfile::shipped(name).map(Arc::new).ok_or_else(|| {
            let reason = format!(
                "there is no profile {name:?} here: it is neither export.profile nor comes with the pool; adit export \
                 takes its file by --profile"
            );
            Refusal::new(RefusalCode::NotFound, reason)
        })
    }

    /// Returns the name of the profile of the settings.
    ///
    /// # Errors
    ///
    /// When it is none that could stand on record.
    pub fn own_profile_name(&self) -> Result<Words, Refusal> {
        self.config.profile.name().parse().map_err(|error| Refusal::new(RefusalCode::Failed, error))
    }

    /// Returns the periods of the profile of the settings, from the first in which something was booked, and those that
    /// were declared by others; by profile, oldest first.
    ///
    /// # Errors
    ///
    /// When the store cannot be read.
    pub async fn periods(&self, now_ms: i64) -> Result<Vec<PeriodStanding>, Refusal> {
        Ok(periods::all(&*self.store, &self.config.profile, now_ms).await?)
    }

    /// Tells how a period of a profile stands.
    ///
    /// # Errors
    ///
    /// When the store cannot be read.
    pub async fn period(
        &self,
        profile: &CountryProfile,
        period: Period,
        now_ms: i64,
    ) -> Result<PeriodStanding, Refusal> {
        let known = periods::known(&*self.store, profile, period).await?;
        Ok(periods::report(profile, period, known.as_ref(), now_ms)?)
    }

    /// Tells what is on record of a row of the register.
    ///
    /// # Errors
    ///
    /// When there is no such row, or the store cannot be read.
    pub async fn record(&self, seq: RowSeq, now_ms: i64) -> Result<RecordDetail, Refusal> {
        records::detail(&*self.store, &self.config.profile, seq, now_ms).await
    }

    /// Makes a set of reports, and keeps none of its files but the manifest. One that was made a moment ago is not made
    /// anew while nothing is added to the records.
    ///
    /// # Errors
    ///
    /// When it cannot be made, or others are made for too long.
    pub async fn reports(&self, wish: Wish) -> Result<Made, Refusal> {
        let now = Records::read(&*self.store, Timestamp::now().as_millisecond()).await?;
        if let Some(made) = self.recent().find(&wish, now) {
            return Ok(made.clone());
        }
        let (made, _) = self.make(wish.clone(), Vec::new()).await?;
        self.recent().keep(wish, now, made.clone());
        Ok(made)
    }

    fn recent(&self) -> MutexGuard<'_, Recent> {
        self.recent.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Makes a set of reports, and returns one of its files.
    ///
    /// # Errors
    ///
    /// When it cannot be made, has no such file, or that is longer than [`MAX_FILE_BYTES`].
    pub async fn file(&self, wish: Wish, name: &str) -> Result<Vec<u8>, Refusal> {
        if name == MANIFEST_FILE {
            return Ok(self.reports(wish).await?.manifest_bytes);
        }
        let (made, mut kept) = self.make(wish, vec![name.to_owned()]).await?;
        if made.manifest.files.iter().all(|file| file.name != name) {
            return Err(Refusal::new(RefusalCode::NotFound, format!("these reports have no file {name:?}")));
        }
        kept.remove(name).ok_or_else(|| {
            let most = MAX_FILE_BYTES >> 20;
            let reason = format!("{name} has more than {most} MiB: adit export report writes it to a folder");
            Refusal::new(RefusalCode::Conflict, reason)
        })
    }

    /// Makes an account's statement of a period of the profile of the settings, and returns it with its name; nothing if
    /// the period has nothing of the account.
    ///
    /// # Errors
    ///
    /// When it cannot be made, or others are made for too long.
    pub async fn statement(
        &self,
        account: AccountId,
        period: Period,
        kind: StatementKind,
    ) -> Result<Option<(String, Vec<u8>)>, Refusal> {
        let wish = Wish { profile: Arc::clone(&self.config.profile), period, edition: None };
        self.in_turn(move |gathered| Ok(gathered.statement(account, kind)?), wish).await
    }

    /// Makes the reports that were handed in once more, makes sure that they are the same and fit to be declared, and
    /// returns what is to be put on record.
    ///
    /// # Errors
    ///
    /// When they are not, or cannot be made.
    pub async fn declarable(&self, wish: Wish, handed_in: HandedIn, by: &Words) -> Result<PeriodDeclared, Refusal> {
        let profile = Arc::clone(&wish.profile);
        let (made, kept) = self.make(wish, vec![RECONCILIATION_FILE.to_owned()]).await?;
        if FileHash::of(&made.manifest_bytes) != handed_in.manifest_sha256 {
            let reason = "made again, these reports are not those of that manifest: it is of another edition, or what is \
                          known of parties is not what it was; make and hand in new ones";
            return Err(Refusal::new(RefusalCode::Conflict, reason));
        }
        let reconciliation = kept.get(RECONCILIATION_FILE).map(Vec::as_slice);
        let checked =
            bookkeeping::check_declarable(&*self.store, &profile, &made.manifest_bytes, reconciliation).await?;
        let HandedIn { declaration, authority, .. } = handed_in;
        Ok(checked.declared(declaration.as_str(), authority.as_str(), by.as_str()))
    }

    /// Values all receipts by a profile and files of prices, and has `keep` put on record what is new. The same files once
    /// more change nothing.
    ///
    /// # Errors
    ///
    /// When a file is none, something cannot be valued or kept, or others are at work for too long. What is on record by
    /// then stays.
    pub async fn value(
        &self,
        profile: Arc<CountryProfile>,
        texts: PriceTexts,
        keep: impl AsyncFnMut(Vec<Valued>) -> Result<Kept, Refusal> + Send + 'static,
    ) -> Result<ValuesReport, Refusal> {
        let store = Arc::clone(&self.store);
        let valued = move |runtime: &Handle| {
            let book = texts.book()?;
            runtime.block_on(value(&*store, &profile, &book, keep))
        };
        self.aside(valued).await
    }

    /// Makes a set of reports once it is its turn. Of its files, those that are named are kept.
    async fn make(&self, wish: Wish, kept: Vec<String>) -> Result<(Made, Files), Refusal> {
        let write = |gathered: Gathered| -> Result<_, Refusal> {
            let shelf = Shelf::for_files(kept);
            let made = gathered.write(&mut |name| Ok(shelf.open(name)))?;
            Ok((made, shelf.into_files()))
        };
        self.in_turn(write, wish).await
    }

    /// Gathers what reports consist of once it is their turn, and does something with that.
    async fn in_turn<T: Send + 'static>(
        &self,
        write: impl FnOnce(Gathered) -> Result<T, Refusal> + Send + 'static,
        wish: Wish,
    ) -> Result<T, Refusal> {
        let register = self.clone();
        let made = move |runtime: &Handle| {
            let gathered = runtime.block_on(async {
                let key = register.config.party_key().map_err(|error| Refusal::new(RefusalCode::Failed, error))?;
                let opened = Opened::read(&*register.store, key).await?;
                Ok::<_, Refusal>(Gathered::read(&*register.store, &opened, &wish).await?)
            });
            write(gathered?)
        };
        self.aside(made).await
    }

    /// Does something long once it is its turn, on a thread of its own, so that no miner waits for it.
    async fn aside<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Handle) -> Result<T, Refusal> + Send + 'static,
    ) -> Result<T, Refusal> {
        let busy = |_| Refusal::new(RefusalCode::Unavailable, "other reports are being made: ask again later");
        let turn = timeout(PATIENCE, Arc::clone(&self.turn).acquire_owned()).await.map_err(busy)?;
        let runtime = Handle::current();
        let done = spawn_blocking(move || {
            let _turn = turn;
            work(&runtime)
        });
        done.await.unwrap_or_else(|_| Err(Refusal::new(RefusalCode::Failed, "the pool failed, see its log")))
    }
}

/// Returns the media type of a file of reports.
pub fn media_type(file: &str) -> &'static str {
    match file.rsplit_once('.').map(|(_, suffix)| suffix) {
        Some("csv") => "text/csv; charset=utf-8",
        Some("json") => "application/json",
        Some("xml") => "application/xml",
        Some("html") => "text/html; charset=utf-8",
        Some("md") => "text/markdown; charset=utf-8",
        _ => "application/octet-stream",
    }
}

impl From<BookkeepingError> for Refusal {
    fn from(error: BookkeepingError) -> Refusal {
        let code = match error {
            BookkeepingError::Store(error) => return error.into(),
            BookkeepingError::Period(_) | BookkeepingError::PeriodKind { .. } => RefusalCode::Invalid,
            BookkeepingError::Blank(_)
            | BookkeepingError::ClosedByAnother { .. }
            | BookkeepingError::OtherRecords { .. } => RefusalCode::Conflict,
            _ => RefusalCode::Failed,
        };
        Refusal::new(code, error)
    }
}

impl From<DeclareError> for Refusal {
    fn from(error: DeclareError) -> Refusal {
        match error {
            DeclareError::Books(error) => error.into(),
            error @ (DeclareError::NotReconciled | DeclareError::Incomplete { .. }) => {
                Refusal::new(RefusalCode::Conflict, error)
            }
            error => Refusal::new(RefusalCode::Failed, error),
        }
    }
}

impl From<ReportError> for Refusal {
    fn from(error: ReportError) -> Refusal {
        Refusal::new(RefusalCode::Failed, error)
    }
}
