//! Making the share log smaller: old segments folded into one, and the oldest deleted.

use std::collections::BTreeMap;

use bitcoin::BlockHash;
use sqlx::Row as _;

use super::{Connection, Pool, SqlRow, blocks, number, windows};
use crate::{
    books::{BlockRecord, FrozenWindow},
    share::{SegmentSize, ShareSeq},
    store::StoreError,
};

pub(super) async fn position_at(pool: &Pool, at_ms: i64) -> Result<ShareSeq, StoreError> {
    let select = sqlx::query_scalar("SELECT COALESCE(MAX(position), 0) FROM share_jobs WHERE opened_at_ms <= $1");
    Ok(ShareSeq::new(select.bind(at_ms).fetch_one(pool).await?))
}

pub(super) async fn sizes(
    pool: &Pool,
    after: ShareSeq,
    upto: ShareSeq,
    limit: u32,
) -> Result<Vec<SegmentSize>, StoreError> {
    let select = sqlx::query(
        "SELECT position, COUNT(*) AS size, MIN(first_at_ms) AS begun_at_ms FROM shares \
         WHERE position > $1 AND position <= $2 GROUP BY position ORDER BY position LIMIT $3",
    );
    let rows = select.bind(after.get()).bind(upto.get()).bind(i64::from(limit)).fetch_all(pool).await?;
    let size = |row: &SqlRow| {
        Ok(SegmentSize {
            position: ShareSeq::new(row.try_get("position")?),
            rows: number("shares", row, "size")?,
            begun_at_ms: row.try_get("begun_at_ms")?,
        })
    };
    rows.iter().map(size).collect()
}

/// Folds segments into the newest of them, and returns how many rows that has then.
///
/// Rows of one target of the network come under the newest job of that target; shares that do not count in windows
/// stand for themselves.
pub(super) async fn fold(connection: &mut Connection, after: ShareSeq, upto: ShareSeq) -> Result<u64, StoreError> {
    let kinds = sqlx::query(
        "SELECT reward, nbits, MAX(position) AS newest, MAX(job) AS job FROM ( \
             SELECT DISTINCT shares.position, shares.reward, shares.job, share_jobs.nbits FROM shares \
             JOIN share_jobs ON share_jobs.id = shares.job WHERE shares.position > $1 AND shares.position <= $2 \
         ) AS kinds GROUP BY reward, nbits",
    );
    let kinds = kinds.bind(after.get()).bind(upto.get()).fetch_all(&mut *connection).await?;
    let mut newest = BTreeMap::new();
    for kind in &kinds {
        let (reward, position): (String, i64) = (kind.try_get("reward")?, kind.try_get("newest")?);
        let known = newest.entry(reward).or_insert(position);
        *known = position.max(*known);
    }
    let mut left = 0;
    for kind in &kinds {
        let (reward, nbits, job): (String, i64, i64) =
            (kind.try_get("reward")?, kind.try_get("nbits")?, kind.try_get("job")?);
        left += fold_kind(connection, (after, upto), newest[&reward], (&reward, nbits, job)).await?;
    }
    Ok(left)
}

/// Folds what has one reward and one target of the network into the segment `newest`, under one job.
async fn fold_kind(
    connection: &mut Connection,
    (after, upto): (ShareSeq, ShareSeq),
    newest: i64,
    (reward, nbits, job): (&str, i64, i64),
) -> Result<u64, StoreError> {
    // What stands there already is added to, and neither read nor deleted.
    const FOLDED: &str = "shares.position > $1 AND shares.position <= $2 AND reward = $3 \
                          AND job IN (SELECT id FROM share_jobs WHERE nbits = $4) AND NOT (shares.position = $5 AND job = $6)";
    let insert = format!(
        "INSERT INTO shares (position, job, difficulty_log2, worker, reward, account, count, first_at_ms, last_at_ms) \
         SELECT CAST($5 AS BIGINT), CAST($6 AS BIGINT), difficulty_log2, worker, reward, MIN(account), \
         CAST(SUM(count) AS BIGINT), MIN(first_at_ms), MAX(last_at_ms) FROM shares WHERE {FOLDED} \
         GROUP BY difficulty_log2, worker, reward \
         ON CONFLICT (position, job, difficulty_log2, worker, reward) DO UPDATE SET \
         count = shares.count + excluded.count, \
         first_at_ms = CASE WHEN excluded.first_at_ms < shares.first_at_ms \
             THEN excluded.first_at_ms ELSE shares.first_at_ms END, \
         last_at_ms = CASE WHEN excluded.last_at_ms > shares.last_at_ms \
             THEN excluded.last_at_ms ELSE shares.last_at_ms END",
    );
    for statement in [insert, format!("DELETE FROM shares WHERE {FOLDED}")] {
        sqlx::query(sqlx::AssertSqlSafe(statement))
            .bind(after.get())
            .bind(upto.get())
            .bind(reward)
            .bind(nbits)
            .bind(newest)
            .bind(job)
            .execute(&mut *connection)
            .await?;
    }
    let left = sqlx::query("SELECT COUNT(*) AS size FROM shares WHERE position = $1 AND job = $2 AND reward = $3");
    let row = left.bind(newest).bind(job).bind(reward).fetch_one(connection).await?;
    number("shares", &row, "size")
}

/// Deletes the oldest segments up to and with `upto`: whole ones that have about `rows` rows together, and one at
/// least if there is any. Returns how many rows that were.
pub(super) async fn delete(connection: &mut Connection, upto: ShareSeq, rows: u32) -> Result<u64, StoreError> {
    let last =
        sqlx::query_scalar("SELECT position FROM shares WHERE position <= $1 ORDER BY position LIMIT 1 OFFSET $2");
    let last: Option<i64> = last.bind(upto.get()).bind(i64::from(rows)).fetch_optional(&mut *connection).await?;
    let delete = sqlx::query("DELETE FROM shares WHERE position <= $1");
    Ok(delete.bind(last.unwrap_or(upto.get())).execute(connection).await?.rows_affected())
}

pub(super) async fn block_positions(pool: &Pool, after: ShareSeq, upto: ShareSeq) -> Result<Vec<ShareSeq>, StoreError> {
    let select = sqlx::query_scalar(
        "SELECT DISTINCT share_position FROM blocks WHERE share_position > $1 AND share_position <= $2 \
         ORDER BY share_position",
    );
    let positions: Vec<i64> = select.bind(after.get()).bind(upto.get()).fetch_all(pool).await?;
    Ok(positions.into_iter().map(ShareSeq::new).collect())
}

pub(super) async fn blocks_without_window(pool: &Pool) -> Result<Vec<BlockRecord>, StoreError> {
    let select = sqlx::query(
        "SELECT * FROM blocks WHERE rule IS NOT NULL \
         AND NOT EXISTS (SELECT 1 FROM block_windows WHERE block_hash = blocks.hash) ORDER BY height, hash",
    );
    select.fetch_all(pool).await?.iter().map(blocks::block).collect()
}

pub(super) async fn keep_window(
    connection: &mut Connection,
    block: BlockHash,
    window: &FrozenWindow,
) -> Result<(), StoreError> {
    let known = sqlx::query("SELECT 1 FROM block_windows WHERE block_hash = $1").bind(block.to_string());
    match known.fetch_optional(&mut *connection).await? {
        Some(_) => Ok(()),
        None => windows::insert(connection, block, window).await,
    }
}
