//! The share log: sums by segment, job, difficulty, worker and reward.

use std::{
    collections::BTreeSet,
    sync::{Arc, LazyLock},
};

use bitcoin::{Amount, CompactTarget};
use sqlx::{AssertSqlSafe, QueryBuilder, Row as _};

use super::{
    Connection, Db, Pool, SqlRow, corrupt, folding,
    known::{Known, News},
    number, sat, workers,
};
use crate::{
    account::AccountId,
    share::{
        Appended, Difficulty, JobNumber, JobTerms, JobWork, Reward, Segment, ShareGroup, ShareRow, ShareRun, ShareSeq,
        ShareTotals, Work,
    },
    store::StoreError,
};

/// How far a job's time and that of the shares around it may contradict each other: clocks are set back at times.
const CLOCK_SLACK_MS: i64 = 60_000;

/// Rows that one statement adds. Statements of a few sizes stay prepared, where one for each number of rows would have to be
/// read anew; what a group leaves over goes into the smallest that holds it, with rows that count nothing in the free places.
/// SQLite allows 32,766 values in a statement, PostgreSQL 65,535.
const ADD_SIZES: [usize; 3] = [8, 64, 512];

/// Shares of one job, difficulty, worker and reward: what makes them one row of a segment.
#[derive(Clone, Copy, Debug)]
struct Sum {
    job: JobNumber,
    difficulty: Difficulty,
    worker: i64,
    reward: Reward,
    account: AccountId,
    count: i64,
    first_at_ms: i64,
    last_at_ms: i64,
}

/// Adds a group to its segment. What it found out on the way is true once the transaction is committed.
pub(in crate::store) async fn append(
    connection: &mut Connection,
    group: &ShareGroup,
    known: &Known,
) -> Result<(Appended, News), StoreError> {
    let mut news = News::default();
    if !begin_group(connection, group).await? {
        return Ok((Appended::Already, news));
    }
    for run in &group.runs {
        if !known.has_job(run.job.job) && news.jobs.insert(run.job.job) {
            insert_job(connection, &run.job).await?;
        }
    }
    let is_unknown = |run: &&ShareRun| known.worker(run.account, &run.worker).is_none();
    let unknown: BTreeSet<_> =
        group.runs.iter().filter(is_unknown).map(|run| (run.account, Arc::clone(&run.worker))).collect();
    news.workers = workers::numbers(connection, &unknown.into_iter().collect::<Vec<_>>()).await?;
    let number = |run: &ShareRun| {
        let known = known.worker(run.account, &run.worker);
        known.or_else(|| news.workers.get(&(run.account, Arc::clone(&run.worker))).copied())
    };
    let sums = sums(&group.runs, number).ok_or_else(|| corrupt("workers", group.segment))?;
    let mut rest = &sums[..];
    while !rest.is_empty() {
        let (chunk, behind) = rest.split_at(chunk_size(rest.len()));
        add(connection, group.segment, chunk).await?;
        rest = behind;
    }
    Ok((Appended::Stored, news))
}

/// Counts the group as stored; false if it was counted before.
async fn begin_group(connection: &mut Connection, group: &ShareGroup) -> Result<bool, StoreError> {
    let ShareGroup { session, number, .. } = *group;
    let next = sqlx::query("UPDATE sessions SET last_group = $1 WHERE id = $2 AND last_group = $1 - 1");
    if next.bind(number).bind(session).execute(&mut *connection).await?.rows_affected() == 1 {
        return Ok(true);
    }
    let last = sqlx::query_scalar("SELECT last_group FROM sessions WHERE id = $1").bind(session);
    let last: Option<i64> = last.fetch_optional(connection).await?;
    match last {
        Some(last) if (1..=last).contains(&number) => Ok(false),
        _ => Err(StoreError::OutOfTurn { session, number, last }),
    }
}

async fn insert_job(connection: &mut Connection, terms: &JobTerms) -> Result<(), StoreError> {
    let insert = sqlx::query(
        "INSERT INTO share_jobs (id, position, opened_at_ms, prev_hash, height, nbits, subsidy_sat, fees_sat) \
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8) ON CONFLICT (id) DO NOTHING",
    );
    let insert = insert
        .bind(terms.job.get())
        .bind(terms.position.get())
        .bind(terms.opened_at_ms)
        .bind(terms.prev_hash.map(|hash| hash.to_string()))
        .bind(terms.height.map(i64::from))
        .bind(i64::from(terms.nbits.to_consensus()))
        .bind(terms.subsidy.map(sat))
        .bind(terms.fees.map(sat));
    insert.execute(connection).await?;
    Ok(())
}

/// Puts runs together that are one row, in the order of the table's key; nothing if a worker has no number.
fn sums(runs: &[ShareRun], number: impl Fn(&ShareRun) -> Option<i64>) -> Option<Vec<Sum>> {
    let sum = |run: &ShareRun| {
        let &ShareRun { account, job: JobTerms { job, .. }, difficulty, reward, first_at_ms, last_at_ms, .. } = run;
        let (worker, count) = (number(run)?, i64::from(run.count));
        Some(Sum { job, difficulty, worker, reward, account, count, first_at_ms, last_at_ms })
    };
    let mut sums = runs.iter().map(sum).collect::<Option<Vec<_>>>()?;
    let key = |sum: &Sum| (sum.job, sum.difficulty, sum.worker, sum.reward);
    sums.sort_unstable_by_key(key);
    sums.dedup_by(|sum, same| {
        let is_same = key(sum) == key(same);
        if is_same {
            same.count += sum.count;
            same.first_at_ms = same.first_at_ms.min(sum.first_at_ms);
            same.last_at_ms = same.last_at_ms.max(sum.last_at_ms);
        }
        is_same
    });
    Some(sums)
}

/// Returns how many of so many sums the next statement adds.
fn chunk_size(left: usize) -> usize {
    let whole = ADD_SIZES.into_iter().rev().find(|size| *size <= left);
    whole.unwrap_or(left)
}

/// Adds sums to those that the segment has.
async fn add(connection: &mut Connection, segment: ShareSeq, sums: &[Sum]) -> Result<(), StoreError> {
    static STATEMENTS: LazyLock<[Arc<str>; ADD_SIZES.len()]> = LazyLock::new(|| ADD_SIZES.map(add_statement));
    let index = ADD_SIZES.iter().position(|size| *size >= sums.len()).expect("no chunk is larger than all statements");
    let mut insert = sqlx::query(AssertSqlSafe(Arc::clone(&STATEMENTS[index]))).bind(segment.get());
    for sum in sums {
        insert = insert
            .bind(sum.job.get())
            .bind(i64::from(sum.difficulty.log2()))
            .bind(sum.worker)
            .bind(i64::from(sum.reward == Reward::Solo))
            .bind(sum.account.get())
            .bind(sum.count)
            .bind(sum.first_at_ms)
            .bind(sum.last_at_ms);
    }
    for _ in sums.len()..ADD_SIZES[index] {
        insert = (0..ADDED_COLUMNS).fold(insert, |insert, _| insert.bind(0_i64));
    }
    let added = insert.execute(connection).await?.rows_affected();
    // One row for each sum, or a share would be acknowledged that counts nowhere.
    if added == sums.len() as u64 { Ok(()) } else { Err(corrupt("shares", segment)) }
}

/// Values of a row that one statement's rows do not have in common.
const ADDED_COLUMNS: usize = 8;

/// Writes the statement that adds so many sums. It takes nothing but numbers.
fn add_statement(rows: usize) -> Arc<str> {
    let mut insert = QueryBuilder::<Db>::new(
        "INSERT INTO shares (position, job, difficulty_log2, worker, reward, account, count, first_at_ms, last_at_ms) \
         SELECT ",
    );
    insert.push_bind(0_i64).push(
        ", column1, column2, column3, CASE column4 WHEN 0 THEN 'shared' ELSE 'solo' END, column5, column6, column7, \
         column8 FROM (",
    );
    insert.push_values(0..rows, |mut row, _| {
        for _ in 0..ADDED_COLUMNS {
            row.push_bind(0_i64);
        }
    });
    // What counts nothing fills a place. SQLite needs a condition, to tell the conflict's ON from that of a join.
    insert.push(
        ") AS new WHERE column6 > 0 \
         ON CONFLICT (position, job, difficulty_log2, worker, reward) DO UPDATE SET \
         count = shares.count + excluded.count, \
         first_at_ms = CASE WHEN excluded.first_at_ms < shares.first_at_ms \
             THEN excluded.first_at_ms ELSE shares.first_at_ms END, \
         last_at_ms = CASE WHEN excluded.last_at_ms > shares.last_at_ms \
             THEN excluded.last_at_ms ELSE shares.last_at_ms END",
    );
    insert.into_string().into()
}

pub(super) async fn position(pool: &Pool) -> Result<ShareSeq, StoreError> {
    let newest: Option<i64> = sqlx::query_scalar("SELECT MAX(position) FROM shares").fetch_one(pool).await?;
    Ok(ShareSeq::new(newest.unwrap_or(0)))
}

pub(super) async fn segments_back(pool: &Pool, newest: ShareSeq, rows: u32) -> Result<Vec<Segment>, StoreError> {
    // The page ends behind the segment in which its last row lies, so that it holds whole segments. Rows that count in
    // no window do not fill it: a page without any other would look like the log's beginning.
    let behind = sqlx::query_scalar(
        "SELECT position FROM shares WHERE position <= $1 AND reward = 'shared' \
         ORDER BY position DESC LIMIT 1 OFFSET $2",
    );
    let behind: Option<i64> = behind.bind(newest.get()).bind(i64::from(rows)).fetch_optional(pool).await?;
    let segments = segments_between(pool, behind.unwrap_or(0), newest).await?;
    match behind {
        // That one alone has more rows than a page.
        Some(behind) if segments.is_empty() => segments_between(pool, behind - 1, newest).await,
        _ => Ok(segments),
    }
}

/// Reads segments after `after` up to `newest`, newest first.
///
/// A row of a result costs more than what stands in it, so the database joins the rows of a job and difficulty to one
/// text, in the order in which they lie.
async fn segments_between(pool: &Pool, after: i64, newest: ShareSeq) -> Result<Vec<Segment>, StoreError> {
    let select = sqlx::query(
        "SELECT listed.position AS position, nbits, difficulty_log2, listing FROM ( \
             SELECT position, job, difficulty_log2, string_agg(account || ' ' || count, ';') AS listing FROM shares \
             WHERE position > $1 AND position <= $2 AND reward = 'shared' GROUP BY position, job, difficulty_log2 \
         ) AS listed JOIN share_jobs ON share_jobs.id = listed.job ORDER BY listed.position DESC",
    );
    let mut segments: Vec<Segment> = Vec::new();
    for row in select.bind(after).bind(newest.get()).fetch_all(pool).await? {
        let position = ShareSeq::new(row.try_get("position")?);
        if segments.last().is_none_or(|last| last.position != position) {
            segments.push(Segment { position, rows: Vec::new() });
        }
        let segment = segments.last_mut().expect("there is one, or it was just added");
        let (difficulty, nbits) = (difficulty(&row)?, nbits(&row)?);
        let listing: &str = row.try_get("listing")?;
        for item in listing.split(';') {
            let (account, count) = parse_item(item).ok_or_else(|| corrupt("shares", item))?;
            segment.rows.push(ShareRow { account, difficulty, nbits, count });
        }
    }
    Ok(segments)
}

/// Reads an account and a count.
fn parse_item(item: &str) -> Option<(AccountId, u64)> {
    let (account, count) = item.split_once(' ')?;
    Some((AccountId::new(account.parse().ok()?), count.parse().ok()?))
}

pub(super) async fn work_between(pool: &Pool, after: ShareSeq, upto: ShareSeq) -> Result<Vec<JobWork>, StoreError> {
    let select = sqlx::query(
        "SELECT share_jobs.*, account, difficulty_log2, total FROM ( \
             SELECT job, account, difficulty_log2, CAST(SUM(count) AS BIGINT) AS total FROM shares \
             WHERE position > $1 AND position <= $2 AND reward = 'shared' GROUP BY job, account, difficulty_log2 \
         ) AS sums JOIN share_jobs ON share_jobs.id = sums.job ORDER BY share_jobs.id, account, difficulty_log2",
    );
    let mut works: Vec<JobWork> = Vec::new();
    for row in select.bind(after.get()).bind(upto.get()).fetch_all(pool).await? {
        let (account, job) = (AccountId::new(row.try_get("account")?), job_terms(&row)?);
        let work = Work::of(difficulty(&row)?, number("shares", &row, "total")?);
        match works.last_mut() {
            Some(last) if (last.account, last.job.job) == (account, job.job) => last.work = last.work.plus(work),
            _ => works.push(JobWork { account, job, work }),
        }
    }
    Ok(works)
}

pub(super) async fn jobs_between(pool: &Pool, after: ShareSeq, upto: ShareSeq) -> Result<Vec<JobTerms>, StoreError> {
    let select = sqlx::query(
        "SELECT * FROM share_jobs WHERE id IN ( \
             SELECT job FROM shares WHERE position > $1 AND position <= $2 AND reward = 'shared' \
         ) ORDER BY id",
    );
    let rows = select.bind(after.get()).bind(upto.get()).fetch_all(pool).await?;
    rows.iter().map(job_terms).collect()
}

pub(super) async fn totals(pool: &Pool, account: Option<AccountId>, since_ms: i64) -> Result<ShareTotals, StoreError> {
    let start = before(pool, since_ms).await?;
    let mut select = QueryBuilder::<Db>::new(
        "SELECT difficulty_log2, CAST(SUM(count) AS BIGINT) AS shares FROM shares WHERE position > ",
    );
    select.push_bind(start.get()).push(" AND last_at_ms >= ").push_bind(since_ms);
    if let Some(account) = account {
        select.push(" AND account = ").push_bind(account.get());
    }
    select.push(" GROUP BY difficulty_log2");
    let mut totals = ShareTotals::default();
    for row in select.build().fetch_all(pool).await? {
        let count = number("shares", &row, "shares")?;
        totals.count += count;
        totals.work = totals.work.plus(Work::of(difficulty(&row)?, count));
    }
    Ok(totals)
}

/// Returns a segment before all shares that were accepted at or after a time: jobs say where in the log that was, so that
/// nothing older need be read.
pub(super) async fn before(pool: &Pool, since_ms: i64) -> Result<ShareSeq, StoreError> {
    folding::position_at(pool, since_ms.saturating_sub(CLOCK_SLACK_MS)).await
}

fn job_terms(row: &SqlRow) -> Result<JobTerms, StoreError> {
    let optional = |column| -> Result<Option<u64>, StoreError> {
        let value: Option<i64> = row.try_get(column)?;
        value.map(|value| value.try_into().map_err(|_| corrupt("share_jobs", value))).transpose()
    };
    let height = optional("height")?;
    let prev_hash: Option<String> = row.try_get("prev_hash")?;
    Ok(JobTerms {
        job: JobNumber::new(row.try_get("id")?),
        position: ShareSeq::new(row.try_get("position")?),
        opened_at_ms: row.try_get("opened_at_ms")?,
        prev_hash: prev_hash.map(|hash| hash.parse().map_err(|_| corrupt("share_jobs", &hash))).transpose()?,
        height: height.map(|height| height.try_into().map_err(|_| corrupt("share_jobs", height))).transpose()?,
        nbits: nbits(row)?,
        subsidy: optional("subsidy_sat")?.map(Amount::from_sat),
        fees: optional("fees_sat")?.map(Amount::from_sat),
    })
}

fn nbits(row: &SqlRow) -> Result<CompactTarget, StoreError> {
    Ok(CompactTarget::from_consensus(number("share_jobs", row, "nbits")?))
}

pub(super) fn difficulty(row: &SqlRow) -> Result<Difficulty, StoreError> {
    let log2: i8 = number("shares", row, "difficulty_log2")?;
    Difficulty::from_log2(log2).ok_or_else(|| corrupt("shares", log2))
}
