//! A set of reports in the making: gathered first, so that whatever can be refused is refused before a byte is written,
//! then written to wherever its files go.

use std::{
    cell::RefCell,
    collections::BTreeMap,
    io::{self, Write},
    rc::Rc,
};

use jiff::Timestamp;
use payouts::{
    account::AccountId,
    export::{
        bookkeeping::{self, BookkeepingError, Reports, Wanted, Written},
        closing::{KnownPeriod, PeriodDeclared},
        report::{
            ReportError, figure,
            manifest::{MANIFEST_FILE, Manifest},
            model::{RecordEvent, RegisterRow, Valuation},
        },
        rules::source_file::FileHash,
    },
    store::Store,
};
use serde::Serialize;

use super::{Edition, MAX_FILE_BYTES, Opened, SOFTWARE, Wish};

/// Opens the files of a set by their names.
type Open<'o> = dyn FnMut(&str) -> io::Result<Box<dyn Write>> + 'o;
/// Files by their names.
pub(super) type Files = BTreeMap<String, Vec<u8>>;

/// As what a statement is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum StatementKind {
    /// A table.
    Csv,
    /// For programs.
    Json,
    /// A page to print.
    Html,
}

impl StatementKind {
    /// All of them.
    pub const ALL: [StatementKind; 3] = [StatementKind::Csv, StatementKind::Json, StatementKind::Html];

    /// Returns what its file's name ends with.
    pub fn as_str(self) -> &'static str {
        match self {
            StatementKind::Csv => "csv",
            StatementKind::Json => "json",
            StatementKind::Html => "html",
        }
    }
}

/// Reports that can be written.
#[derive(Debug)]
pub struct Gathered {
    reports: Reports,
    edition: Edition,
    totals: PeriodTotals,
}

/// Reports that were written.
#[derive(Clone, Debug)]
pub struct Made {
    /// What they consist of.
    pub manifest: Manifest,
    /// The manifest as it was written.
    pub manifest_bytes: Vec<u8>,
    /// By which name they are had again.
    pub edition: Edition,
    /// What the register's rows of the period come to.
    pub totals: PeriodTotals,
    /// What is not equal that must be; nothing if all reconciles.
    pub faults: Vec<String>,
    /// What a reader should know.
    pub notes: Vec<String>,
}

/// What rows of the register come to.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct PeriodTotals {
    /// Outputs that were delivered.
    pub delivered: u64,
    /// Outputs that came back, because their blocks left the chain.
    pub reversed: u64,
    /// Corrections of closed periods.
    pub corrected: u64,
    /// What moved out in all, less what came back.
    #[schema(value_type = i64)]
    pub moved_sat: i128,
    /// What that was worth, by currency.
    pub worth: Vec<Worth>,
    /// Rows without a value.
    pub unvalued: u64,
}

/// An amount of money.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct Worth {
    /// Its currency (ISO 4217).
    pub currency: String,
    /// How much, a decimal number.
    pub amount: String,
}

impl Gathered {
    /// Reads what the reports consist of.
    ///
    /// # Errors
    ///
    /// When the store cannot be read or contradicts itself, or the profile cannot report the period.
    pub async fn read(store: &dyn Store, opened: &Opened, wish: &Wish) -> Result<Gathered, BookkeepingError> {
        let Wish { profile, period, edition } = wish;
        let as_of = match edition {
            Some(edition) => Some(edition.as_of(store).await?),
            None => None,
        };
        let wanted = Wanted {
            profile,
            period: *period,
            software_version: SOFTWARE,
            generated_at_ms: edition.map_or_else(now_ms, |edition| edition.generated_at_ms),
            parties: &opened.parties,
            as_of,
        };
        let mut reports = bookkeeping::gather(store, &wanted).await?;
        reports.warnings.extend(opened.warning());
        Ok(Gathered { edition: Edition::of(&reports.head), totals: PeriodTotals::of(&reports.register), reports })
    }

    /// Writes an account's statement as a file of this kind, and returns it with its name; nothing if the period has nothing
    /// of the account. Why amounts are set aside, and which party it is, are left out: that is between operators.
    ///
    /// # Errors
    ///
    /// When it cannot be written, or something cannot be told.
    pub fn statement(self, account: AccountId, kind: StatementKind) -> Result<Option<(String, Vec<u8>)>, ReportError> {
        let Reports { head, statements, .. } = self.reports;
        let Some(mut statement) = statements.into_iter().find(|it| it.account == account.get()) else {
            return Ok(None);
        };
        statement.party.clear();
        for aside in statement.held.iter_mut().chain(&mut statement.blocked) {
            aside.reason.clear();
            aside.screening.clear();
        }
        let balanced = statement.balanced().map_err(|error| ReportError::Io(io::Error::other(error.to_string())))?;
        let mut bytes = Vec::new();
        match kind {
            StatementKind::Csv => balanced.write_csv(&head, &mut bytes)?,
            StatementKind::Json => balanced.write_json(&head, &mut bytes)?,
            StatementKind::Html => balanced.write_html(&head, &mut bytes)?,
        }
        Ok(Some((balanced.file(&head, kind.as_str()), bytes)))
    }

    /// Writes all files, the manifest last.
    ///
    /// # Errors
    ///
    /// When a file cannot be written, or something cannot be told.
    pub fn write(self, open: &mut Open<'_>) -> Result<Made, ReportError> {
        let Gathered { mut reports, edition, totals } = self;
        let mut notes = std::mem::take(&mut reports.warnings);
        let declared = reports.declared.take();
        let copy = Rc::new(RefCell::new(Vec::new()));
        let mut open_and_copy = |name: &str| -> io::Result<Box<dyn Write>> {
            let out = open(name)?;
            Ok(if name == MANIFEST_FILE { Box::new(Copying { out, copy: Rc::clone(&copy) }) } else { out })
        };
        let Written { manifest, faults, gaps } = reports.write(&mut open_and_copy)?;
        let manifest_bytes = copy.take();
        if let Some(known) = declared {
            notes.push(note(&known, &manifest_bytes)?);
        }
        notes.extend(gaps.iter().map(|gap| format!("the CARF draft lacks {} of party {}", gap.what, gap.party)));
        Ok(Made { manifest, manifest_bytes, edition, totals, faults, notes })
    }
}

fn now_ms() -> i64 {
    Timestamp::now().as_millisecond()
}

impl PeriodTotals {
    fn of(rows: &[RegisterRow]) -> PeriodTotals {
        let mut totals = PeriodTotals::default();
        let mut worth: BTreeMap<(&str, u8), i128> = BTreeMap::new();
        for row in rows {
            totals.moved_sat += row.movement_sat();
            let counted = match row.event {
                RecordEvent::Delivered => &mut totals.delivered,
                RecordEvent::Reversed { .. } => &mut totals.reversed,
                RecordEvent::Corrected { .. } => &mut totals.corrected,
            };
            *counted += 1;
            let Valuation::Valued(value) = &row.valuation else {
                totals.unvalued += 1;
                continue;
            };
            let minor = match row.event {
                RecordEvent::Delivered => value.minor.into(),
                RecordEvent::Reversed { .. } => -i128::from(value.minor),
                // What was not valued before has no difference.
                RecordEvent::Corrected { difference_minor, .. } => difference_minor.unwrap_or(0).into(),
            };
            *worth.entry((&value.currency.code, value.currency.decimals)).or_default() += minor;
        }
        let told = |((code, decimals), minor): ((&str, u8), i128)| Worth {
            currency: code.to_owned(),
            amount: figure::decimal(minor, decimals),
        };
        totals.worth = worth.into_iter().map(told).collect();
        totals
    }
}

/// Returns what a reader of reports should know of the period's declaration. `manifest` is that of the reports, as it was
/// written.
///
/// # Errors
///
/// When a time cannot be told.
pub fn note(known: &KnownPeriod, manifest: &[u8]) -> Result<String, ReportError> {
    let PeriodDeclared { period, declaration, authority, manifest_sha256, .. } = &known.declared;
    let at_ms = known.declared_at.at_ms;
    let at = figure::utc(at_ms - at_ms.rem_euclid(1_000))?;
    let declared = format!("declared as {declaration} to {authority} on {at}");
    Ok(match known.closed_at {
        None => format!(
            "{period} was {declared}: what came on record since then is in these files, which can be declared again until the \
             period is closed"
        ),
        Some(_) if FileHash::of(manifest) == *manifest_sha256 => format!(
            "{period} is closed: these are the files that were {declared}, byte by byte, made again from the records of then; \
             what is corrected since is in the reports of the open period"
        ),
        Some(_) => format!(
            "{period} is closed: these files are made from the records that were {declared}, but are not the same, because the \
             software is of another version or what is known of parties is not what it was; the declared ones count"
        ),
    })
}

/// Writes to a file, and keeps a copy.
struct Copying {
    out: Box<dyn Write>,
    copy: Rc<RefCell<Vec<u8>>>,
}

impl Write for Copying {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.out.write(bytes)?;
        self.copy.borrow_mut().extend_from_slice(&bytes[..written]);
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

/// Keeps some files of a set in memory while it is written; all others go nowhere.
pub(super) struct Shelf {
    wanted: Vec<String>,
    kept: Rc<RefCell<BTreeMap<String, Bounded>>>,
}

/// A file in memory; nothing once it is too long.
type Bounded = Option<Vec<u8>>;

/// A file on its way to the shelf.
struct Shelved {
    name: String,
    kept: Rc<RefCell<BTreeMap<String, Bounded>>>,
}

impl Shelf {
    pub(super) fn for_files(wanted: Vec<String>) -> Shelf {
        Shelf { wanted, kept: Rc::default() }
    }

    /// Opens a file of the set.
    pub(super) fn open(&self, name: &str) -> Box<dyn Write> {
        if !self.wanted.iter().any(|wanted| wanted == name) {
            return Box::new(io::sink());
        }
        self.kept.borrow_mut().insert(name.to_owned(), Some(Vec::new()));
        Box::new(Shelved { name: name.to_owned(), kept: Rc::clone(&self.kept) })
    }

    /// Returns the files that are there in full.
    pub(super) fn into_files(self) -> Files {
        self.kept.take().into_iter().filter_map(|(name, bytes)| Some((name, bytes?))).collect()
    }
}

impl Write for Shelved {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut kept = self.kept.borrow_mut();
        if let Some(file) = kept.get_mut(&self.name) {
            let fits = file.as_ref().is_some_and(|file| file.len() + bytes.len() <= MAX_FILE_BYTES);
            match file {
                Some(file) if fits => file.extend_from_slice(bytes),
                _ => *file = None,
            }
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
