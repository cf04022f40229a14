//! What the window of a large pool costs: splitting a block over it, moving it along with the share log, and reading
//! it from the store when the pool starts.
//!
//! Beside each figure stands a floor: the least that any program would do with the same data. With
//! `ADIT_BENCH_POSTGRES` set, windows are read from PostgreSQL too, from the server that the tests use.

use std::{
    cell::RefCell,
    fs::File,
    hint::black_box,
    io::{self, Read},
    time::{Duration, Instant},
};

use anyhow::{Context, bail};
use bitcoin::{Amount, CompactTarget};
use criterion::{BenchmarkGroup, Criterion, SamplingMode, measurement::WallTime};
use payouts::{
    account::AccountId,
    scheme::{
        BlockReward,
        rule::Rule,
        running::{OlderNeeded, RunningWindow},
        window::Window,
    },
    share::{Difficulty, Segment, ShareRow, ShareSeq},
    store::{Store, postgres::PgStore, sqlite::SqliteStore},
};
use postgres_test::TestDatabase;
use sqlx::{AssertSqlSafe, Connection, PgConnection, SqliteConnection};
use tempfile::TempDir;
use tokio::runtime::Runtime;

/// The variable that asks for windows from PostgreSQL too.
const POSTGRES_VARIABLE: &str = "ADIT_BENCH_POSTGRES";
/// The samples that a figure is the median of.
const SAMPLES: usize = 10;
/// Rows read from a store at a time.
const ROW_PAGE: u32 = 100_000;
/// Mainnet's target in spring 2026, about.
const NBITS: u32 = 0x1702_2b91;
const FINDER: AccountId = AccountId::new(1);

/// How large a pool is: each account has one row in each segment of the window.
#[derive(Clone, Copy)]
struct Size {
    accounts: i64,
    segments: u32,
}

const SIZES: [Size; 3] = [
    Size { accounts: 10_000, segments: 100 },
    Size { accounts: 31_623, segments: 100 },
    Size { accounts: 100_000, segments: 100 },
];

impl Size {
    fn rows(self) -> u64 {
        self.accounts.unsigned_abs() * u64::from(self.segments)
    }

    /// One segment; the same numbers as [`SHARES`] come to.
    fn segment(self, number: u32) -> Segment {
        let row = |account: i64| ShareRow {
            account: AccountId::new(account),
            difficulty: Difficulty::from_log2(20 + (account % 7) as i8).expect("a difficulty in range"),
            nbits: CompactTarget::from_consensus(NBITS),
            count: 100 + (account.unsigned_abs() * 7_919 + u64::from(number) * 104_729) % 1_000,
        };
        Segment { position: position(number), rows: (1..=self.accounts).map(row).collect() }
    }

    /// A window that all segments but a part of the oldest fill.
    fn rule(self) -> Rule {
        let mut window = open("pplns window=4000000000 fee_bp=0".parse().expect("a rule"));
        (1..=self.segments).for_each(|number| window.count(&self.segment(number)));
        let blocks = window.total().weight / window.measure().one();
        format!("pplns window={blocks} fee_bp=100").parse().expect("a rule")
    }

    fn in_memory(self) -> RunningWindow {
        let mut running = RunningWindow::default();
        (1..=self.segments).rev().for_each(|number| running.prepend(&[self.segment(number)]));
        running
    }
}

fn position(number: u32) -> ShareSeq {
    ShareSeq::of_session(1, number).expect("a session in range")
}

fn open(rule: Rule) -> Window {
    rule.open_window(CompactTarget::from_consensus(NBITS)).expect("shares matter")
}

/// What a figure is divided by.
#[derive(Clone, Copy)]
enum Per {
    Account,
    Row,
}

struct Figure {
    what: &'static str,
    size: Size,
    per: Per,
    floor: &'static str,
    floor_time: Duration,
    median: Duration,
}

/// All figures, for the table at the end.
struct Figures(Vec<Figure>);

impl Figures {
    /// Measures what `run` returns for itself, so that what it has to prepare is not counted, and then the floor.
    fn measure(
        &mut self,
        criterion: &mut Criterion,
        (what, size, per): (&'static str, Size, Per),
        (floor, run_floor): (&'static str, impl FnMut() -> Duration),
        run: impl FnMut() -> Duration,
    ) {
        let mut group = criterion.benchmark_group(what);
        group.sample_size(SAMPLES).sampling_mode(SamplingMode::Flat);
        group.warm_up_time(Duration::from_millis(100)).measurement_time(Duration::from_secs(2));
        let name = format!("{} accounts x {} rows", size.accounts, size.rows());
        let median = median_of(&mut group, &name, run);
        let floor_time = median_of(&mut group, &format!("{name}/floor"), run_floor);
        group.finish();
        if let (Some(median), Some(floor_time)) = (median, floor_time) {
            self.0.push(Figure { what, size, per, floor, floor_time, median });
        }
    }

    fn print(&self) {
        println!("\n{:<14} {:>8} {:>9} {:>11} {:>15}   floor", "", "accounts", "rows", "median", "each");
        for Figure { what, size, per, floor, floor_time, median } in &self.0 {
            let (count, per) = match per {
                Per::Account => (size.accounts.unsigned_abs(), "account"),
                Per::Row => (size.rows(), "row"),
            };
            let each = format!("{:.0} ns/{per}", median.as_nanos() as f64 / count as f64);
            let (accounts, rows, median) = (size.accounts, size.rows(), format!("{median:.2?}"));
            println!("{what:<14} {accounts:>8} {rows:>9} {median:>11} {each:>15}   {floor_time:.2?} {floor}");
        }
    }
}

/// Measures what `run` returns. None if only other benchmarks were asked for.
fn median_of(
    group: &mut BenchmarkGroup<'_, WallTime>,
    name: &str,
    mut run: impl FnMut() -> Duration,
) -> Option<Duration> {
    let samples = RefCell::new(Vec::new());
    group.bench_function(name, |bencher| {
        bencher.iter_custom(|times| {
            let elapsed: Duration = (0..times).map(|_| run()).sum();
            samples.borrow_mut().push(elapsed.div_f64(times as f64));
            elapsed
        });
    });
    let mut samples = samples.into_inner();
    samples.sort_unstable();
    samples.get(samples.len() / 2).copied()
}

fn timed<T>(work: impl FnOnce() -> T) -> Duration {
    let start = Instant::now();
    black_box(work());
    start.elapsed()
}

/// The least that a window must be read for: its shares are summed in a plain array.
fn sum_of(segments: &[Segment]) -> u64 {
    segments.iter().flat_map(|segment| &segment.rows).map(|row| row.count).fold(0, u64::wrapping_add)
}

/// Counts the window of a block and splits it, as when a block is found a few segments after the last question.
fn split(criterion: &mut Criterion, figures: &mut Figures, size: Size) {
    let (mut running, rule) = (size.in_memory(), size.rule());
    let all: Vec<_> = (1..=size.segments).map(|number| size.segment(number)).collect();
    let floor = || timed(|| sum_of(&all));
    figures.measure(criterion, ("split", size, Per::Account), ("to sum all rows in an array", floor), || {
        timed(|| {
            let window = running.at(position(size.segments), open(rule)).expect("all is held");
            assert!(window.edge().is_some());
            let value = Amount::from_sat(312_500_000);
            rule.split(BlockReward { value, subsidy: value }, Some(&window), FINDER)
        })
    });
}

/// Adds a segment at one end, while about as much falls out at the other and is forgotten.
fn move_on(criterion: &mut Criterion, figures: &mut Figures, size: Size) {
    let (mut running, rule, mut newest) = (size.in_memory(), size.rule(), size.segments);
    running.at(position(newest), open(rule)).expect("all is held");
    let one = Size { segments: 1, ..size };
    let two = [size.segment(1), size.segment(2)];
    let floor = || timed(|| sum_of(&two));
    figures.measure(criterion, ("one segment", one, Per::Row), ("to sum two segments in an array", floor), || {
        newest += 1;
        let segment = size.segment(newest);
        timed(|| {
            running.push(&segment);
            running.forget(position(newest));
        })
    });
}

/// Reads the window from a store, as when a pool starts.
fn rebuild(
    criterion: &mut Criterion,
    figures: &mut Figures,
    runtime: &Runtime,
    (what, size, store): (&'static str, Size, &dyn Store),
    floor: (&'static str, impl FnMut() -> Duration),
) {
    let rule = size.rule();
    figures.measure(criterion, (what, size, Per::Row), floor, || {
        timed(|| {
            let mut running = RunningWindow::default();
            loop {
                match running.at(position(size.segments), open(rule)) {
                    Ok(window) => break assert!(window.is_full()),
                    Err(OlderNeeded { upto }) => {
                        let page = runtime.block_on(store.segments_back(upto, ROW_PAGE)).expect("the store answers");
                        running.prepend(&page);
                    }
                }
            }
            running
        })
    });
}

/// Jobs, one for each segment. `{n}` stands for the numbers of segments.
const JOBS: &str = "INSERT INTO share_jobs (id, position, opened_at_ms, height, nbits, subsidy_sat, fees_sat) \
    SELECT 4294967296 + n, 4294967296 + n - 1, 1800000000000 + n * 30000, 950000, {nbits}, 312500000, 2000000 \
    FROM ({n}) AS numbers";
/// The rows, in the order of their key; accounts and workers have the same numbers.
const SHARES: &str = "INSERT INTO shares \
    (position, job, difficulty_log2, worker, reward, account, count, first_at_ms, last_at_ms) \
    SELECT 4294967296 + n, 4294967296 + n, 20 + a % 7, a, 'shared', a, 100 + (a * 7919 + n * 104729) % 1000, \
           1800000000000 + n * 30000, 1800000030000 + n * 30000 \
    FROM ({n}) AS numbers, ({a}) AS accounts ORDER BY 1, 2, 3, 4";

fn numbers(template: &str, size: Size, series: impl Fn(i64, &str) -> String) -> AssertSqlSafe<String> {
    let template = template.replace("{nbits}", &NBITS.to_string());
    let template = template.replace("{n}", &series(i64::from(size.segments), "n"));
    AssertSqlSafe(template.replace("{a}", &series(size.accounts, "a")))
}

/// Makes a database file of a size. It is filled past the store, without waiting for the disk.
async fn sqlite_of(size: Size, folder: &TempDir) -> anyhow::Result<SqliteStore> {
    let path = folder.path().join(format!("{}.sqlite", size.accounts));
    SqliteStore::open(&path).await?.close().await;
    let mut connection = SqliteConnection::connect(&format!("sqlite://{}", path.display())).await?;
    sqlx::raw_sql("PRAGMA synchronous = OFF; PRAGMA journal_mode = MEMORY; PRAGMA foreign_keys = OFF")
        .execute(&mut connection)
        .await?;
    let series = |to, name: &str| {
        format!(
            "WITH RECURSIVE s(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM s WHERE i < {to}) SELECT i AS {name} FROM s"
        )
    };
    for template in [JOBS, SHARES] {
        sqlx::raw_sql(numbers(template, size, series)).execute(&mut connection).await?;
    }
    connection.close().await?;
    let store = SqliteStore::open(&path).await?;
    if store.share_position().await? != position(size.segments) {
        bail!("the database is not what was written");
    }
    Ok(store)
}

async fn postgres_of(size: Size, database: &TestDatabase) -> anyhow::Result<PgStore> {
    PgStore::open(database.url()).await?.close().await;
    let mut connection = PgConnection::connect(database.url()).await?;
    // Leaves out the checks of foreign keys, for which accounts would be needed.
    let quick = "SET session_replication_role = replica; SET synchronous_commit = off";
    sqlx::raw_sql(quick).execute(&mut connection).await.context("this needs a superuser")?;
    let series = |to, name: &str| format!("SELECT i AS {name} FROM generate_series(1::BIGINT, {to}) AS s(i)");
    for template in [JOBS, SHARES] {
        sqlx::raw_sql(numbers(template, size, series)).execute(&mut connection).await?;
    }
    sqlx::raw_sql("VACUUM ANALYZE shares").execute(&mut connection).await?;
    connection.close().await?;
    Ok(PgStore::open(database.url()).await?)
}

/// Reads a file's bytes, from the cache of the system as the database does here.
fn read_through(path: &std::path::Path) -> io::Result<u64> {
    let (mut file, mut buffer, mut bytes) = (File::open(path)?, vec![0; 1 << 20], 0);
    loop {
        match file.read(&mut buffer)? {
            0 => return Ok(bytes),
            length => bytes += length as u64,
        }
    }
}

fn main() -> anyhow::Result<()> {
    let mut criterion = Criterion::default().configure_from_args();
    let (mut figures, runtime) = (Figures(Vec::new()), Runtime::new()?);
    for size in SIZES {
        split(&mut criterion, &mut figures, size);
    }
    for size in SIZES {
        move_on(&mut criterion, &mut figures, size);
    }
    for size in SIZES {
        let folder = tempfile::tempdir()?;
        let store = runtime.block_on(sqlite_of(size, &folder))?;
        let path = folder.path().join(format!("{}.sqlite", size.accounts));
        let floor = || timed(|| read_through(&path).expect("the file is there"));
        let what = ("from SQLite", size, &store as &dyn Store);
        rebuild(&mut criterion, &mut figures, &runtime, what, ("to read the file", floor));
        runtime.block_on(store.close());
    }
    if std::env::var_os(POSTGRES_VARIABLE).is_some() {
        for size in SIZES {
            let database = TestDatabase::create()?;
            let store = runtime.block_on(postgres_of(size, &database))?;
            let mut connection = runtime.block_on(PgConnection::connect(database.url()))?;
            let floor = || {
                timed(|| {
                    let sum = sqlx::query("SELECT SUM(count) FROM shares");
                    runtime.block_on(sum.execute(&mut connection)).expect("the server answers")
                })
            };
            let what = ("from PostgreSQL", size, &store as &dyn Store);
            rebuild(&mut criterion, &mut figures, &runtime, what, ("for the server to sum all rows", floor));
            runtime.block_on(store.close());
        }
    }
    criterion.final_summary();
    figures.print();
    Ok(())
}
