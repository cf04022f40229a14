//! The reports of a year, what must hold of them, and their recount.

use std::{
    fs::{self, File},
    io::{BufWriter, Write},
    path::{Path, PathBuf},
    process::{Command, Output},
};

use anyhow::{Context, Result, ensure};
use payouts::{
    clock,
    export::{
        bookkeeping::{self, Wanted},
        party::Vault,
        report::{
            manifest::MANIFEST_FILE,
            model::{AsOf, RecordEvent, RegisterRow},
            reconciliation::RECONCILIATION_FILE,
        },
        rules::{period::Period, profile::CountryProfile, state::RecordState},
        valued,
    },
    payout::Outcome,
};
use tempfile::TempDir;

use super::{
    BY, Deeds, Year,
    prices::{book, profile},
    sales::DESKS,
};
use crate::bench;

const RECOUNT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/recount/recount.py");
const SOFTWARE_VERSION: &str = "adit 0.1.0";
/// Months in which a coin is stolen.
const THEFTS: [usize; 2] = [1, 7];
/// Months at whose end the one before is declared once more, those that are never declared, and those never closed.
const AMENDED: [usize; 2] = [2, 5];
const NOT_DECLARED: [usize; 2] = [10, 11];
const NOT_CLOSED: [usize; 3] = [8, 10, 11];
/// What a year without is worth nothing.
const DEEDS: [(&str, u32); 33] = [
    ("blocks", 200),
    ("reorganisations", 10),
    ("deep reorganisations", 1),
    ("branches that came back", 4),
    ("direct payments", 5),
    ("restraints", 2),
    ("restraints lifted", 4),
    ("approvals", 2),
    ("cancellations", 1),
    ("replacements", 2),
    ("deposits", 4),
    ("thefts", 1),
    ("payouts on demand", 1),
    ("gifts", 2),
    ("periods of work", 4),
    ("listings", 1),
    ("reviews", 2),
    ("owners", 4),
    ("thresholds", 1),
    ("sales contracted", 5),
    ("deliveries", 4),
    ("sales settled", 3),
    ("sales declared", 1),
    ("quotes that expired", 1),
    ("deliveries taken back", 1),
    ("rows of sales", 5),
    ("sales that came back", 1),
    ("sales with a gain", 2),
    ("declared periods", 10),
    ("amended declarations", 2),
    ("closed periods", 9),
    ("corrected rows", 5),
    ("corrected lines", 20),
];

/// A year that is over, and its reports.
pub(super) struct Told {
    pub(super) folder: TempDir,
    /// The database.
    pub(super) database: PathBuf,
    /// The folders of the reports.
    pub(super) reports: Vec<PathBuf>,
    deeds: Deeds,
}

/// Lives through a year, and recounts it.
pub(super) fn recount_year(seed: u64) {
    let told = tell(seed, 12).unwrap();
    println!("{:?}", told.deeds);
    for (what, least) in DEEDS {
        let times = told.deeds.times(what);
        assert!(times >= least, "{what}: {times} times, which is less than {least}: {:?}", told.deeds);
    }
    let recounted = recount(&told.database, &told.reports);
    let text = said(&recounted);
    assert!(recounted.status.success(), "{text}");
    println!("{text}");
}

/// Lives through months, and makes their reports: when each is over, and some of them again later.
pub(super) fn tell(seed: u64, months: usize) -> Result<Told> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let folder = tempfile::tempdir_in(bench::folder())?;
    let told = runtime.block_on(tell_in(seed, months, folder));
    clock::set(None);
    told
}

async fn tell_in(seed: u64, months: usize, folder: TempDir) -> Result<Told> {
    let profile = profile("utc3-monthly-watcher")?;
    let mut year = Year::begin(seed).await?;
    year.meet_desks().await?;
    let mut made: Vec<Made> = Vec::new();
    let mut told = Vec::new();
    for month in 0..months {
        let period: Period = format!("2026-{:02}", month + 1).parse()?;
        year.live_until(period.end_ms(profile.zone())).await?;
        year.thief_waits |= THEFTS.contains(&month);
        valued::value(year.store(), &profile, &book(year.at_ms)?).await?;
        let reports = folder.path().join(format!("made-{period}"));
        let as_of = year.report(&profile, period, None, &reports).await?;
        told.push(reports.clone());
        made.push(Made { period, at_ms: year.at_ms, as_of, reports, is_closed: false });
        if AMENDED.contains(&month) {
            // What came to be known since it was declared: the last declaration counts.
            let before = made.get_mut(month - 1).context("there was a month before")?;
            before.reports = folder.path().join(format!("amended-{}", before.period));
            year.report(&profile, before.period, None, &before.reports).await?;
            told.push(before.reports.clone());
            year.declare(&profile, &before.reports).await?;
            year.deeds.note("amended declarations");
        }
        if let Some(before) = month.checked_sub(1).filter(|before| !NOT_CLOSED.contains(before)) {
            bookkeeping::close_period(year.store(), profile.name(), made[before].period, BY).await?;
            made[before].is_closed = true;
            year.deeds.note("closed periods");
        }
        if !NOT_DECLARED.contains(&month) {
            year.declare(&profile, &made[month].reports).await?;
            year.deeds.note("declared periods");
        }
        year.monthly(month).await?;
        year.restart(month + 1).await?;
    }
    told.extend(year.report_again(&profile, &made, folder.path()).await?);
    if months == 12 {
        told.extend(year.report_by_others(folder.path()).await?);
    }
    year.step().await?;
    let expired = year.pool().payer.sales().await?;
    let expired = expired.iter().filter(|sale| sale.state == RecordState::Expired).count();
    (0..expired).for_each(|_| year.deeds.note("quotes that expired"));
    let verified = bookkeeping::verify(year.store(), Some(&Vault::new(&[7; 32]))).await?;
    ensure!(verified.valued > 0 && verified.parties == months.min(4) + DESKS.len(), "{verified:?}");
    ensure!(verified.declared > 0 && verified.closed > 0, "{verified:?}");
    let database = folder.path().join("adit.sqlite");
    year.store().backup(&database).await?;
    Ok(Told { folder, database, reports: told, deeds: std::mem::take(&mut year.deeds) })
}

/// The reports of a month, as they were last declared, or made when it was over.
struct Made {
    period: Period,
    /// When, and from which records, they were made first.
    at_ms: i64,
    as_of: AsOf,
    reports: PathBuf,
    is_closed: bool,
}

impl Year {
    /// Makes the reports of a period, and makes sure that they reconcile. Nothing is wanted for all records that there are.
    async fn report(
        &mut self,
        profile: &CountryProfile,
        period: Period,
        made: Option<&Made>,
        folder: &Path,
    ) -> Result<AsOf> {
        let parties = self.pool.as_ref().context("the pool runs")?.payer.screening().parties();
        let wanted = Wanted {
            profile,
            period,
            software_version: SOFTWARE_VERSION,
            generated_at_ms: made.map_or(self.at_ms, |made| made.at_ms),
            parties,
            as_of: made.map(|made| made.as_of.clone()),
        };
        let reports = bookkeeping::gather(self.store(), &wanted).await?;
        let is_corrected = |row: &&RegisterRow| matches!(row.event, RecordEvent::Corrected { .. });
        let counted = [
            ("corrected rows", reports.register.iter().filter(is_corrected).count()),
            ("corrected lines", reports.statements.iter().map(|statement| statement.corrections.len()).sum()),
            ("rows of sales", reports.sales.len()),
            ("sales that came back", reports.sales.iter().filter(|sale| sale.reversed).count()),
            ("sales with a gain", reports.sales.iter().filter(|sale| sale.gain_minor().is_some()).count()),
        ];
        fs::create_dir(folder)?;
        let mut open = |name: &str| {
            let file = File::create(folder.join(name))?;
            Ok(Box::new(BufWriter::new(file)) as Box<dyn Write>)
        };
        let written = reports.write(&mut open)?;
        ensure!(written.faults.is_empty(), "{period}: {:?}", written.faults);
        counted.into_iter().for_each(|(what, times)| (0..times).for_each(|_| self.deeds.note(what)));
        Ok(written.manifest.as_of)
    }

    /// Declares a period by reports that were made.
    async fn declare(&mut self, profile: &CountryProfile, reports: &Path) -> Result<()> {
        let (manifest, reconciliation) =
            (fs::read(reports.join(MANIFEST_FILE))?, fs::read(reports.join(RECONCILIATION_FILE))?);
        let declarable = bookkeeping::check_declarable(self.store(), profile, &manifest, Some(&reconciliation)).await?;
        let declared = declarable.declared(&format!("D-{}", self.at_ms), "Example Authority", BY);
        let outcome = bookkeeping::declare_period(self.store(), &declared).await?;
        ensure!(outcome == Outcome::Done, "it was declared before: {declared:?}");
        Ok(())
    }

    /// From the same records the same files can be made, whatever came after; and so can those of a closed month, whose
    /// values change no more. Those of others change in their values. Returns what is new.
    async fn report_again(&mut self, profile: &CountryProfile, made: &[Made], folder: &Path) -> Result<Vec<PathBuf>> {
        let mut told = Vec::new();
        for month in made.iter().step_by(4) {
            let first = folder.join(format!("made-{}", month.period));
            let again = folder.join("again");
            self.report(profile, month.period, Some(month), &again).await?;
            ensure!(files(&first)? == files(&again)?, "{}: the files of the reports are others", month.period);
            fs::remove_dir_all(&again)?;
            let late = folder.join(format!("late-{}", month.period));
            self.report(profile, month.period, None, &late).await?;
            let is_same = files(&month.reports)? == files(&late)?;
            ensure!(is_same == month.is_closed, "{}: the same files: {is_same}", month.period);
            if !is_same {
                told.push(late);
            }
        }
        Ok(told)
    }

    /// Makes the reports of a quarter and of the year by other profiles.
    async fn report_by_others(&mut self, folder: &Path) -> Result<Vec<PathBuf>> {
        let yearly = profile("carf-yearly")?;
        valued::value(self.store(), &yearly, &book(self.at_ms)?).await?;
        let carf = folder.join("carf-2026");
        self.report(&yearly, "2026".parse()?, None, &carf).await?;
        let quarter = folder.join("quarter-2026-Q3");
        self.report(&profile("pool-reports-miners")?, "2026-Q3".parse()?, None, &quarter).await?;
        Ok(vec![carf, quarter])
    }
}

/// The files of a folder, by name.
pub(super) fn files(folder: &Path) -> Result<Vec<(String, Vec<u8>)>> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        files.push((entry.file_name().to_string_lossy().into_owned(), fs::read(entry.path())?));
    }
    files.sort();
    Ok(files)
}

pub(super) fn recount(database: &Path, reports: &[PathBuf]) -> Output {
    let mut python = Command::new("python3");
    python.arg(RECOUNT).arg(database).args(reports);
    python.output().expect("python3 runs: `make python3` installs it")
}

pub(super) fn said(output: &Output) -> String {
    format!("{}\n{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}
