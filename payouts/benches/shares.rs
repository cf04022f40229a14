//! What a group of shares costs on its way to the disk: the time of its commit, and the CPU of this process for it.
//!
//! Beside each figure stands a floor: as many bytes appended to a file and synchronised, which any log has to do before
//! it acknowledges a share. With `ADIT_BENCH_POSTGRES` set, PostgreSQL is measured too, on the server that the tests use;
//! its own CPU is not counted.

use std::{
    cell::RefCell,
    fs::File,
    io::Write,
    sync::Arc,
    time::{Duration, Instant},
};

use bitcoin::{Address, Amount, BlockHash, CompactTarget, Network, PubkeyHash, hashes::Hash};
use criterion::{Criterion, SamplingMode, Throughput};
use nix::sys::{
    resource::{UsageWho, getrusage},
    time::TimeValLike,
};
use payouts::{
    account::AccountId,
    share::{Difficulty, JobNumber, JobTerms, Reward, ShareGroup, ShareRun, ShareSeq},
    store::{Store, postgres::PgStore, sqlite::SqliteStore},
};
use postgres_test::TestDatabase;
use tempfile::TempDir;
use tokio::runtime::Runtime;

/// The variable that asks for PostgreSQL too.
const POSTGRES_VARIABLE: &str = "ADIT_BENCH_POSTGRES";
const SAMPLES: usize = 10;
/// Who mines: each has an account and a worker of his own.
const MINERS: usize = 1_000;
/// Groups of a segment: 25 seconds, two groups a second.
const GROUPS_PER_SEGMENT: i64 = 50;
/// Bytes that a row comes to at least: position, job, difficulty, worker, reward, account, count and two times.
const ROW_SIZE: usize = 48;

/// What a group consists of.
#[derive(Clone, Copy)]
struct Size {
    name: &'static str,
    rows: usize,
    shares_per_row: u32,
}

const SIZES: [Size; 4] = [
    Size { name: "1 share", rows: 1, shares_per_row: 1 },
    Size { name: "100 shares in 100 rows", rows: 100, shares_per_row: 1 },
    Size { name: "1000 shares in 1000 rows", rows: 1_000, shares_per_row: 1 },
    Size { name: "10000 shares in 100 rows", rows: 100, shares_per_row: 100 },
];

/// A store with its miners, which stores group after group.
struct Log {
    store: Arc<dyn Store>,
    session: i64,
    accounts: Vec<AccountId>,
    groups: i64,
}

impl Log {
    async fn new(store: Arc<dyn Store>) -> anyhow::Result<Self> {
        let mut accounts = Vec::with_capacity(MINERS);
        for miner in 0..MINERS {
            let mut id = [0; 20];
            id[..8].copy_from_slice(&miner.to_le_bytes());
            let address = Address::p2pkh(PubkeyHash::from_byte_array(id), Network::Regtest);
            accounts.push(store.account(&address).await?);
        }
        let session = store.begin_session().await?;
        let mut log = Self { store, session, accounts, groups: 0 };
        // All workers are known, as they are but for a miner's first share.
        log.append(Size { name: "", rows: MINERS, shares_per_row: 1 }).await?;
        Ok(log)
    }

    /// Stores one more group, and returns how long that took. The miners of a group are others than those of the last.
    async fn append(&mut self, size: Size) -> anyhow::Result<Duration> {
        self.groups += 1;
        let segment = u32::try_from(self.groups / GROUPS_PER_SEGMENT + 1)?;
        let job = job(self.session, segment);
        let first = self.groups.unsigned_abs() as usize * size.rows;
        let mut runs = Vec::with_capacity(size.rows);
        for index in first..first + size.rows {
            // A step that is prime to their number, so that neighbours in time are none in the table.
            let miner = index * 389 % MINERS;
            let at_ms = 1_800_000_000_000 + self.groups;
            runs.push(ShareRun {
                account: self.accounts[miner],
                worker: format!("rig {miner}").into(),
                job,
                difficulty: Difficulty::from_log2(16).expect("a difficulty in range"),
                reward: Reward::Shared,
                count: size.shares_per_row,
                first_at_ms: at_ms,
                last_at_ms: at_ms,
            });
        }
        let segment = ShareSeq::of_session(self.session, segment).expect("a session in range");
        let group = ShareGroup { session: self.session, number: self.groups, segment, runs };
        let start = Instant::now();
        self.store.append_shares(&group).await?;
        Ok(start.elapsed())
    }
}

fn job(session: i64, segment: u32) -> JobTerms {
    let opened_at_ms = 1_800_000_000_000 + i64::from(segment) * 25_000;
    JobTerms {
        job: JobNumber::new(session << 32 | i64::from(segment)),
        position: ShareSeq::of_session(session, segment - 1).expect("a session in range"),
        opened_at_ms,
        prev_hash: Some(BlockHash::all_zeros()),
        height: Some(950_000),
        nbits: CompactTarget::from_consensus(0x1702_2b91),
        subsidy: Some(Amount::from_sat(312_500_000)),
        fees: Some(Amount::from_sat(2_000_000)),
    }
}

struct Figure {
    name: String,
    shares: u64,
    median: Duration,
    cpu: Duration,
}

/// Measures what `run` returns for itself, and the CPU of all of it.
fn measure(criterion: &mut Criterion, name: &str, shares: u64, mut run: impl FnMut() -> Duration) -> Option<Figure> {
    let samples = RefCell::new((Vec::new(), 0, Duration::ZERO));
    let mut group = criterion.benchmark_group("shares");
    group.sample_size(SAMPLES).sampling_mode(SamplingMode::Flat).throughput(Throughput::Elements(shares));
    group.warm_up_time(Duration::from_millis(200)).measurement_time(Duration::from_secs(2));
    group.bench_function(name, |bencher| {
        bencher.iter_custom(|times| {
            let before = cpu();
            let elapsed: Duration = (0..times).map(|_| run()).sum();
            let (medians, runs, spent) = &mut *samples.borrow_mut();
            medians.push(elapsed.div_f64(times as f64));
            *runs += times;
            *spent += cpu() - before;
            elapsed
        });
    });
    group.finish();
    let (mut medians, runs, spent) = samples.into_inner();
    medians.sort_unstable();
    let median = *medians.get(medians.len() / 2)?;
    Some(Figure { name: name.to_owned(), shares, median, cpu: spent.div_f64(runs as f64) })
}

/// The CPU time of all threads of this process so far.
fn cpu() -> Duration {
    let usage = getrusage(UsageWho::RUSAGE_SELF).expect("a process may ask for its own use");
    let micros = (usage.user_time() + usage.system_time()).num_microseconds();
    Duration::from_micros(micros.unsigned_abs())
}

/// Measures groups of all sizes in one store.
fn commit(criterion: &mut Criterion, runtime: &Runtime, what: &str, log: &mut Log, figures: &mut Vec<Figure>) {
    for size in SIZES {
        let name = format!("{what}, {}", size.name);
        let shares = size.rows as u64 * u64::from(size.shares_per_row);
        let run = || runtime.block_on(log.append(size)).expect("the store answers");
        figures.extend(measure(criterion, &name, shares, run));
    }
}

/// Appends as many bytes to a file, and waits until they are on the disk.
fn floor(criterion: &mut Criterion, folder: &TempDir, figures: &mut Vec<Figure>) -> anyhow::Result<()> {
    for size in SIZES {
        let mut file = File::create(folder.path().join("floor"))?;
        let bytes = vec![0x5a; size.rows * ROW_SIZE];
        let shares = size.rows as u64 * u64::from(size.shares_per_row);
        figures.extend(measure(criterion, &format!("sqlite, {}/floor", size.name), shares, || {
            let start = Instant::now();
            file.write_all(&bytes).and_then(|()| file.sync_data()).expect("there is room on the disk");
            start.elapsed()
        }));
    }
    Ok(())
}

fn print(figures: &[Figure]) {
    println!("\n{:<42} {:>10} {:>10} {:>14}", "", "median", "CPU", "CPU a share");
    for Figure { name, shares, median, cpu } in figures {
        let each = format!("{:.0} ns", cpu.as_nanos() as f64 / *shares as f64);
        println!("{name:<42} {:>10} {:>10} {each:>14}", format!("{median:.2?}"), format!("{cpu:.2?}"));
    }
}

fn main() -> anyhow::Result<()> {
    let mut criterion = Criterion::default().configure_from_args();
    let (runtime, folder, mut figures) = (Runtime::new()?, tempfile::tempdir()?, Vec::new());
    let store = runtime.block_on(SqliteStore::open(&folder.path().join("adit.sqlite")))?;
    let mut log = runtime.block_on(Log::new(Arc::new(store)))?;
    commit(&mut criterion, &runtime, "sqlite", &mut log, &mut figures);
    floor(&mut criterion, &folder, &mut figures)?;
    if std::env::var_os(POSTGRES_VARIABLE).is_some() {
        let database = TestDatabase::create()?;
        let store = runtime.block_on(PgStore::open(database.url()))?;
        let mut log = runtime.block_on(Log::new(Arc::new(store)))?;
        commit(&mut criterion, &runtime, "postgres", &mut log, &mut figures);
    }
    criterion.final_summary();
    print(&figures);
    Ok(())
}
