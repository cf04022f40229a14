//! What the workers of an account have done lately.
//!
//! Owns what is told of them, out of the share log. Nothing of it is money: work is a sum of difficulties, rounded.

use payouts::{
    account::{Account, AccountId, User},
    share::WorkerTotals,
    store::Store,
};
use serde::{Deserialize, Serialize};

use super::{Refusal, account::find_account};

/// Hashes that a share of difficulty 1 takes on average.
pub(crate) const HASHES_PER_DIFFICULTY: f64 = 4_294_967_296.0;

/// What the workers of an account have done in a stretch of time.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct WorkersReport {
    /// The account's number.
    #[schema(value_type = i64)]
    pub account: AccountId,
    /// Its address.
    pub address: String,
    /// Where the stretch begins, in milliseconds since 1970 UTC. Later than asked for where the share log does not reach
    /// so far back; earlier where shares were folded into one sum that begins before.
    pub from_ms: i64,
    /// Where it ends.
    pub to_ms: i64,
    /// The workers that have found shares in it, in the order of names.
    pub workers: Vec<WorkerReport>,
}

/// What one worker has done.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct WorkerReport {
    /// Its name; may be empty.
    pub worker: String,
    /// The sum of its shares' difficulties, those that were in force for their jobs.
    pub work: f64,
    /// The number of its shares.
    pub shares: u64,
    /// When the last one was accepted, in milliseconds since 1970 UTC.
    pub last_share_at_ms: i64,
    /// Hashes a second that the work comes to, over the whole stretch.
    pub hash_rate: f64,
}

/// How many workers find shares.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct WorkersUp {
    /// Workers that had a share accepted in the last ten minutes.
    pub up: u64,
    /// Workers that had one in the last day, but none in the last ten minutes.
    pub down: u64,
}

/// A worker that finds no share for so long is down: at usual settings it finds one every ten seconds.
const DOWN_AFTER_MS: i64 = 600_000;
/// A worker that is down for so long is none of the pool's any more.
const GONE_AFTER_MS: i64 = 86_400_000;

/// Tells how many workers find shares and how many have ceased to, of an account or of all, up to where the past is known.
///
/// # Errors
///
/// When the store cannot be read.
pub async fn workers_up(store: &dyn Store, account: Option<AccountId>) -> Result<WorkersUp, Refusal> {
    let Some(progress) = store.history_progress().await? else { return Ok(WorkersUp::default()) };
    let up = store.workers_seen(account, progress.until_ms - DOWN_AFTER_MS).await?;
    let known = store.workers_seen(account, progress.until_ms - GONE_AFTER_MS).await?;
    Ok(WorkersUp { up, down: known.saturating_sub(up) })
}

/// Tells what the workers of an account have done in the last `period_ms` before `now_ms`.
///
/// # Errors
///
/// When the store cannot be read, or does not know the account.
pub async fn show_workers(
    store: &dyn Store,
    user: &User,
    period_ms: i64,
    now_ms: i64,
) -> Result<WorkersReport, Refusal> {
    workers_of(store, &find_account(store, user).await?, period_ms, now_ms).await
}

/// Tells what the workers of an account have done in the last `period_ms` before `now_ms`.
///
/// # Errors
///
/// When the store cannot be read.
pub async fn workers_of(
    store: &dyn Store,
    account: &Account,
    period_ms: i64,
    now_ms: i64,
) -> Result<WorkersReport, Refusal> {
    let since_ms = now_ms.saturating_sub(period_ms);
    let totals = store.worker_totals(account.id, since_ms).await?;
    let kept_since_ms = store.shares_kept_since().await?.unwrap_or(now_ms);
    let from_ms = totals.iter().map(|totals| totals.first_at_ms).fold(since_ms.max(kept_since_ms), i64::min);
    let seconds = (now_ms.saturating_sub(from_ms).max(1) as f64) / 1_000.0;
    let report = |WorkerTotals { worker, count, work, last_at_ms, .. }| {
        let work = work.approximate();
        let hash_rate = work * HASHES_PER_DIFFICULTY / seconds;
        WorkerReport { worker, work, shares: count, last_share_at_ms: last_at_ms, hash_rate }
    };
    let workers = totals.into_iter().map(report).collect();
    Ok(WorkersReport { account: account.id, address: account.address.clone(), from_ms, to_ms: now_ms, workers })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use bitcoin::{Address, BlockHash, CompactTarget, address::NetworkUnchecked, hashes::Hash};
    use payouts::{
        share::{Difficulty, JobNumber, JobTerms, Reward, ShareGroup, ShareRun, ShareSeq},
        store::sqlite::SqliteStore,
    };

    use super::*;
    use crate::operations::RefusalCode;

    const ADDRESS: &str = "bcrt1qw508d6qejxtdg4y5r3zarvary0c5xw7kygt080";
    const HOUR_MS: i64 = 3_600_000;
    const NOW_MS: i64 = 100 * HOUR_MS;

    /// A store with shares of difficulty 2^10 by worker and time.
    async fn store_with(folder: &tempfile::TempDir, shares: &[(&str, i64)]) -> SqliteStore {
        let store = SqliteStore::open(&folder.path().join("adit.sqlite")).await.unwrap();
        let address: Address<NetworkUnchecked> = ADDRESS.parse().unwrap();
        let account = store.account(address.assume_checked_ref()).await.unwrap();
        let session = store.begin_session().await.unwrap();
        let job = JobTerms {
            job: JobNumber::new(1),
            position: ShareSeq::of_session(session, 0).unwrap(),
            opened_at_ms: 0,
            prev_hash: Some(BlockHash::all_zeros()),
            height: Some(1),
            nbits: CompactTarget::from_consensus(0x207f_ffff),
            subsidy: None,
            fees: None,
        };
        for (number, &(worker, at_ms)) in (1_u32..).zip(shares) {
            let difficulty = Difficulty::from_log2(10).unwrap();
            let run = ShareRun {
                account,
                worker: worker.into(),
                job,
                difficulty,
                reward: Reward::Shared,
                count: 1,
                first_at_ms: at_ms,
                last_at_ms: at_ms,
            };
            let segment = ShareSeq::of_session(session, number).unwrap();
            let group = ShareGroup { session, number: number.into(), segment, runs: vec![run] };
            store.append_shares(&group).await.unwrap();
        }
        store
    }

    async fn report(shares: &[(&str, i64)], period_ms: i64) -> WorkersReport {
        let folder = tempfile::tempdir().unwrap();
        let store = store_with(&folder, shares).await;
        show_workers(&store, &ADDRESS.parse().unwrap(), period_ms, NOW_MS).await.unwrap()
    }

    #[tokio::test]
    async fn hash_rate_is_work_over_the_whole_period() {
        let shares = [("old", NOW_MS - 5 * HOUR_MS), ("a", NOW_MS - HOUR_MS), ("a", NOW_MS - 9), ("b", NOW_MS - 7)];
        let told = report(&shares, 2 * HOUR_MS).await;
        assert_eq!((told.address.as_str(), told.from_ms, told.to_ms), (ADDRESS, NOW_MS - 2 * HOUR_MS, NOW_MS));
        let hash_rate = 1024.0 * 4_294_967_296.0 / 7_200.0;
        let of = |worker: &str, shares, last_share_at_ms| WorkerReport {
            worker: worker.to_owned(),
            work: shares as f64 * 1024.0,
            shares,
            last_share_at_ms,
            hash_rate: shares as f64 * hash_rate,
        };
        assert_eq!(told.workers, [of("a", 2, NOW_MS - 9), of("b", 1, NOW_MS - 7)]);
    }

    #[tokio::test]
    async fn period_begins_where_shares_are_kept_from() {
        let shares = [("a", NOW_MS - HOUR_MS), ("a", NOW_MS - 9)];
        assert_eq!(report(&shares, 24 * HOUR_MS).await.from_ms, NOW_MS - HOUR_MS);
        let nothing = report(&[], HOUR_MS).await;
        assert_eq!((nothing.from_ms, nothing.workers.len()), (NOW_MS, 0));
    }

    #[tokio::test]
    async fn sum_that_begins_before_the_period_makes_it_longer() {
        let folder = tempfile::tempdir().unwrap();
        let shares = [("x", 0), ("a", NOW_MS - 90 * 60_000), ("a", NOW_MS - 40 * 60_000)];
        let store = store_with(&folder, &shares).await;
        let segment = |number| ShareSeq::of_session(1, number).unwrap();
        store.fold_segments(segment(1), segment(3)).await.unwrap();
        let told = show_workers(&store, &ADDRESS.parse().unwrap(), HOUR_MS, NOW_MS).await.unwrap();
        assert_eq!((told.from_ms, told.workers[0].shares), (NOW_MS - 90 * 60_000, 2));
    }

    #[tokio::test]
    async fn unknown_address_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let store = store_with(&folder, &[]).await;
        let other = "bcrt1qrp33g0q5c5txsp9arysrx4k6zdkfs4nce4xj0gdcccefvpysxf3qzf4jry".parse().unwrap();
        let refusal = show_workers(&store, &other, HOUR_MS, NOW_MS).await.unwrap_err();
        assert_eq!(refusal.code, RefusalCode::NotFound);
    }
}
