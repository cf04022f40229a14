//! The share log: sums by segment, job, difficulty, worker and reward.

use std::collections::{BTreeMap, BTreeSet};

use bitcoin::{Amount, CompactTarget};
use sqlx::{QueryBuilder, Row as _};

use super::{Connection, Db, Pool, ROWS_PER_INSERT, SqlRow, corrupt, folding, number, sat};
use crate::{
    account::AccountId,
    share::{
        Appended, Difficulty, JobNumber, JobTerms, JobWork, NewShare, Reward, Segment, ShareGroup, ShareRow, ShareSeq,
        ShareTotals, Work,
    },
    store::StoreError,
};

/// How far a job's time and that of the shares around it may contradict each other: clocks are set back at times.
const CLOCK_SLACK_MS: i64 = 60_000;

/// What makes shares one row, but for the segment.
type RowKey<'a> = (JobNumber, Difficulty, AccountId, &'a str, Reward);

/// What a row counts.
struct Sum {
    count: i64,
    first_at_ms: i64,
    last_at_ms: i64,
}

pub(in crate::store) async fn append(connection: &mut Connection, group: &ShareGroup) -> Result<Appended, StoreError> {
    if !begin_group(connection, group).await? {
        return Ok(Appended::Already);
    }
    let jobs: BTreeMap<_, _> = group.shares.iter().map(|share| (share.job.job, share.job)).collect();
    insert_jobs(connection, jobs.values()).await?;
    let workers: BTreeSet<_> = group.shares.iter().map(|share| (share.account, share.worker.as_str())).collect();
    insert_workers(connection, &workers.into_iter().collect::<Vec<_>>()).await?;
    let rows: Vec<_> = sums(&group.shares).into_iter().collect();
    for chunk in rows.chunks(ROWS_PER_INSERT) {
        add(connection, group.segment, chunk).await?;
    }
    Ok(Appended::Stored)
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

async fn insert_jobs(connection: &mut Connection, jobs: impl Iterator<Item = &JobTerms>) -> Result<(), StoreError> {
    for terms in jobs {
        sqlx::query(
            "INSERT INTO share_jobs (id, position, opened_at_ms, prev_hash, height, nbits, subsidy_sat, fees_sat) \
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8) ON CONFLICT (id) DO NOTHING",
        )
        .bind(terms.job.get())
        .bind(terms.position.get())
        .bind(terms.opened_at_ms)
        .bind(terms.prev_hash.map(|hash| hash.to_string()))
        .bind(terms.height.map(i64::from))
        .bind(i64::from(terms.nbits.to_consensus()))
        .bind(terms.subsidy.map(sat))
        .bind(terms.fees.map(sat))
        .execute(&mut *connection)
        .await?;
    }
    Ok(())
}

/// Gives numbers to the workers that have none. Nobody else does meanwhile, for there is one writer.
async fn insert_workers(connection: &mut Connection, workers: &[(AccountId, &str)]) -> Result<(), StoreError> {
    for chunk in workers.chunks(ROWS_PER_INSERT) {
        let mut insert = QueryBuilder::<Db>::new("INSERT INTO workers (account, name) SELECT column1, column2 FROM (");
        insert.push_values(chunk, |mut row, (account, name)| {
            row.push_bind(account.get()).push_bind((*name).to_owned());
        });
        insert.push(
            ") AS new WHERE NOT EXISTS (SELECT 1 FROM workers WHERE account = column1 AND name = column2) \
             ORDER BY column1, column2",
        );
        insert.build().persistent(false).execute(&mut *connection).await?;
    }
    Ok(())
}

fn sums(shares: &[NewShare]) -> BTreeMap<RowKey<'_>, Sum> {
    let mut sums = BTreeMap::new();
    for NewShare { account, worker, job, difficulty, reward, at_ms } in shares {
        let key = (job.job, *difficulty, *account, worker.as_str(), *reward);
        let sum = sums.entry(key).or_insert(Sum { count: 0, first_at_ms: *at_ms, last_at_ms: *at_ms });
        sum.count += 1;
        sum.first_at_ms = sum.first_at_ms.min(*at_ms);
        sum.last_at_ms = sum.last_at_ms.max(*at_ms);
    }
    sums
}

/// Adds sums to those that the segment has.
async fn add(connection: &mut Connection, segment: ShareSeq, rows: &[(RowKey<'_>, Sum)]) -> Result<(), StoreError> {
    let mut insert = QueryBuilder::<Db>::new(
        "INSERT INTO shares (position, job, difficulty_log2, worker, reward, account, count, first_at_ms, last_at_ms) \
         SELECT column1, column2, column3, workers.id, column6, column4, column7, column8, column9 FROM (",
    );
    insert.push_values(rows, |mut row, ((job, difficulty, account, worker, reward), sum)| {
        row.push_bind(segment.get())
            .push_bind(job.get())
            .push_bind(i64::from(difficulty.log2()))
            .push_bind(account.get())
            .push_bind((*worker).to_owned())
            .push_bind(reward_text(*reward))
            .push_bind(sum.count)
            .push_bind(sum.first_at_ms)
            .push_bind(sum.last_at_ms);
    });
    // SQLite needs the condition to tell the conflict's ON from that of a join.
    insert.push(
        ") AS new JOIN workers ON workers.account = column4 AND workers.name = column5 WHERE TRUE \
         ON CONFLICT (position, job, difficulty_log2, worker, reward) DO UPDATE SET \
         count = shares.count + excluded.count, \
         first_at_ms = CASE WHEN excluded.first_at_ms < shares.first_at_ms \
             THEN excluded.first_at_ms ELSE shares.first_at_ms END, \
         last_at_ms = CASE WHEN excluded.last_at_ms > shares.last_at_ms \
             THEN excluded.last_at_ms ELSE shares.last_at_ms END",
    );
    let added = insert.build().persistent(false).execute(connection).await?.rows_affected();
    // One row for each sum, or a share would be acknowledged that counts nowhere.
    if added == rows.len() as u64 { Ok(()) } else { Err(corrupt("workers", segment)) }
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

fn reward_text(reward: Reward) -> &'static str {
    match reward {
        Reward::Shared => "shared",
        Reward::Solo => "solo",
    }
}
