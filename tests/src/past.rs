//! A past that never was: a store as it is after a pool has worked for long, for benchmarks and tests of what is shown of it.
//!
//! It is written by the calls by which a pool writes its own, and no pool may be running on it.

use anyhow::{Context, ensure};
use bitcoin::{Address, BlockHash, CompactTarget, Network, WitnessProgram, WitnessVersion, hashes::Hash};
use payouts::{
    AccountId,
    history::{
        PeakRow, Peaks, Progress, RefusedRow, Resolution, Seen, Stretch, Subject, WorkRow, WorkerId, WorkerShares,
    },
    share::{Difficulty, JobNumber, JobTerms, Reward, ShareGroup, ShareRun, ShareSeq},
    store::{HistoryStep, Store},
};

/// Shares that a worker finds in a minute.
const SHARES_PER_MINUTE: u64 = 6;
/// Most rows of a step.
const ROWS: usize = 50_000;
const DAY_MS: i64 = 86_400_000;

/// How much there is of it.
#[derive(Clone, Copy, Debug)]
pub struct Extent {
    /// Accounts.
    pub accounts: u32,
    /// Workers of each.
    pub workers: u32,
    /// How many days it goes back; more than 400 are not kept.
    pub days: u32,
    /// The time that it ends at, in milliseconds since 1970 UTC.
    pub until_ms: i64,
}

/// Gives an empty store a past, and returns the addresses of its accounts, which are of regtest.
///
/// Of a year of 5,000 workers this writes some twelve million rows, which takes minutes.
///
/// # Errors
///
/// When the store fails, or has a past already.
pub async fn write(store: &dyn Store, extent: Extent) -> anyhow::Result<Vec<Address>> {
    ensure!(store.history_progress().await?.is_none(), "the store has a past already");
    let addresses: Vec<Address> = (0..extent.accounts).map(address).collect();
    let shares = workers(store, &addresses, extent).await?;
    let seen = |shares: &WorkerShares| Seen {
        worker: shares.worker,
        account: shares.account,
        last_share_at_ms: extent.until_ms,
    };
    let newest = store.share_position().await?;
    let begun = Progress::begin(ShareSeq::new(0), None, extent.until_ms - i64::from(extent.days) * DAY_MS);
    let to =
        Progress { upto: newest, goal: newest, until_ms: extent.until_ms, ..begun.past(WorkerId::new(0), &shares) };
    let seen = shares.iter().map(seen).collect();
    let mut step = HistoryStep { from: None, to, rows: Vec::new(), seen };
    for resolution in Resolution::ALL {
        let kept_ms = resolution.kept_ms().min(i64::from(extent.days) * DAY_MS);
        let mut begins_at_ms = resolution.begin_of(extent.until_ms - kept_ms);
        while begins_at_ms < extent.until_ms {
            let stretch = |subject| Stretch { resolution, begins_at_ms, subject };
            fill(&mut step.rows, stretch, &shares);
            if step.rows.len() >= ROWS {
                take(store, &mut step).await?;
            }
            let (refused, peaks) = beside(stretch, &shares);
            store.add_to_history(&refused, &peaks).await?;
            begins_at_ms += resolution.step_ms();
        }
    }
    take(store, &mut step).await?;
    Ok(addresses)
}

async fn take(store: &dyn Store, step: &mut HistoryStep) -> anyhow::Result<()> {
    ensure!(store.step_history(step).await?, "somebody else writes to the store");
    (step.from, step.rows, step.seen) = (Some(step.to), Vec::new(), Vec::new());
    Ok(())
}

/// Makes accounts and workers, each with a share, and returns those in the order of the workers.
async fn workers(store: &dyn Store, addresses: &[Address], extent: Extent) -> anyhow::Result<Vec<WorkerShares>> {
    let session = store.begin_session().await?;
    let segment = ShareSeq::of_session(session, 1).context("a new store has few sessions")?;
    let mut runs = Vec::new();
    for address in addresses {
        let account = store.account(address).await?;
        runs.extend((0..extent.workers).map(|worker| run(account, worker, extent.until_ms)));
    }
    store.append_shares(&ShareGroup { session, number: 1, segment, runs }).await?;
    Ok(store.shares_by_worker(ShareSeq::new(0), segment, WorkerId::new(0)).await?)
}

fn run(account: AccountId, worker: u32, at_ms: i64) -> ShareRun {
    let job = JobTerms {
        job: JobNumber::new(1),
        position: ShareSeq::new(0),
        opened_at_ms: at_ms,
        prev_hash: Some(BlockHash::all_zeros()),
        height: Some(1),
        nbits: CompactTarget::from_consensus(0x207f_ffff),
        subsidy: None,
        fees: None,
    };
    let difficulty = Difficulty::from_log2(12 + (worker % 4) as i8).expect("it is within the range");
    let (worker, reward) = (format!("rig{worker}").into(), Reward::Shared);
    ShareRun { account, worker, job, difficulty, reward, count: 1, first_at_ms: at_ms, last_at_ms: at_ms }
}

/// Adds the rows of a stretch: each worker's, each account's, the pool's.
fn fill(rows: &mut Vec<WorkRow>, stretch: impl Fn(Subject) -> Stretch, shares: &[WorkerShares]) {
    let mut sums = std::collections::BTreeMap::<(Subject, Difficulty), u64>::new();
    for of_one in shares {
        let at = stretch(Subject::Worker(of_one.account, of_one.worker));
        let minutes = at.resolution.step_ms().unsigned_abs() / 60_000;
        // Never the same, and the same each time that it is written.
        let tide = at.begins_at_ms / at.resolution.step_ms() * 7 + of_one.worker.get() * 13;
        let count = (minutes * SHARES_PER_MINUTE * (90 + tide.unsigned_abs() % 21) / 100).max(1);
        for subject in [Subject::Pool, Subject::Account(of_one.account), at.subject] {
            *sums.entry((subject, of_one.difficulty)).or_default() += count;
        }
    }
    let row = |((subject, difficulty), count)| WorkRow { stretch: stretch(subject), difficulty, count };
    rows.extend(sums.into_iter().map(row));
}

/// What else is known of a stretch, of the pool and of each account.
fn beside(stretch: impl Fn(Subject) -> Stretch, shares: &[WorkerShares]) -> (Vec<RefusedRow>, Vec<PeakRow>) {
    let accounts = shares.chunk_by(|one, next| one.account == next.account);
    let mut subjects = vec![(Subject::Pool, shares.len())];
    subjects.extend(accounts.map(|of_one| (Subject::Account(of_one[0].account), of_one.len())));
    let (mut refused, mut peaks) = (Vec::new(), Vec::new());
    for (subject, channels) in subjects {
        let stretch = stretch(subject);
        for (code, count) in [("stale-share", 2), ("duplicate-share", 1)] {
            refused.push(RefusedRow { stretch, code: code.to_owned(), count: count * channels as u64 });
        }
        let channels = u32::try_from(channels).unwrap_or(u32::MAX);
        peaks.push(PeakRow { stretch, peaks: Peaks { channels, best: 1e6 } });
    }
    (refused, peaks)
}

/// An address whose key nobody has.
fn address(number: u32) -> Address {
    let mut program = [7; 20];
    program[..4].copy_from_slice(&number.to_be_bytes());
    let program = WitnessProgram::new(WitnessVersion::V0, &program).expect("20 bytes are a program of version 0");
    Address::from_witness_program(program, Network::Regtest)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use payouts::store::{HistoryStore, sqlite::SqliteStore};

    use super::*;

    #[tokio::test]
    async fn past_has_the_same_shares_at_every_resolution_that_goes_so_far_back() {
        let folder = tempfile::tempdir().unwrap();
        let store = SqliteStore::open(&folder.path().join("adit.sqlite")).await.unwrap();
        let extent = Extent { accounts: 2, workers: 3, days: 3, until_ms: 1_800_000_000_000 };
        assert_eq!(write(&store, extent).await.unwrap().len(), 2);
        let (from_ms, until_ms) = (extent.until_ms - 3 * DAY_MS, extent.until_ms);
        for (resolution, stretches) in [(Resolution::TwoHours, 36), (Resolution::Day, 4)] {
            let pool = store.past(Subject::Pool, resolution, from_ms - DAY_MS, until_ms).await.unwrap();
            let begins: std::collections::BTreeSet<_> = pool.work.iter().map(|(at_ms, ..)| at_ms).collect();
            assert_eq!((begins.len(), pool.refused.len(), pool.peaks.len()), (stretches, 2 * stretches, stretches));
        }
        assert_eq!(store.workers_seen(None, until_ms).await.unwrap(), 6);
        assert!(write(&store, extent).await.is_err());
    }
}
