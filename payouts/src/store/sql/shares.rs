//! The share log.

use std::collections::HashMap;

use bitcoin::{BlockHash, CompactTarget, hashes::Hash};
use sqlx::{QueryBuilder, Row as _};

use super::{Connection, Db, Pool, ROWS_PER_INSERT, SqlRow, corrupt, number};
use crate::{
    account::AccountId,
    share::{Appended, Difficulty, NewShare, ShareScore, ShareSeq, ShareTotals, StoredShare, Work},
    store::StoreError,
};

pub(in crate::store) async fn append(
    connection: &mut Connection,
    new: &[NewShare],
) -> Result<Vec<Appended>, StoreError> {
    let mut appended = Vec::with_capacity(new.len());
    for chunk in new.chunks(ROWS_PER_INSERT) {
        let mut insert = QueryBuilder::<Db>::new(
            "INSERT INTO shares (account, worker, channel, job, sequence_number, difficulty_log2, nbits, \
             header_hash, at_ms) ",
        );
        insert.push_values(chunk, |mut row, share| {
            row.push_bind(share.account.get())
                .push_bind(share.worker.clone())
                .push_bind(share.channel)
                .push_bind(i64::from(share.job))
                .push_bind(i64::from(share.sequence_number))
                .push_bind(i64::from(share.difficulty.log2()))
                .push_bind(i64::from(share.nbits.to_consensus()))
                .push_bind(share.header_hash.to_byte_array().to_vec())
                .push_bind(share.at_ms);
        });
        insert.push(" ON CONFLICT (header_hash) DO NOTHING RETURNING seq, header_hash");
        let mut stored = HashMap::with_capacity(chunk.len());
        for row in insert.build().persistent(false).fetch_all(&mut *connection).await? {
            stored.insert(header_hash(&row)?, ShareSeq::new(row.try_get("seq")?));
        }
        // A hash that comes twice in one chunk is stored for the first of them: removing it leaves none to the second.
        appended.extend(chunk.iter().map(|share| match stored.remove(&share.header_hash) {
            Some(seq) => Appended::Stored(seq),
            None => Appended::Duplicate,
        }));
    }
    Ok(appended)
}

pub(super) async fn position(pool: &Pool) -> Result<ShareSeq, StoreError> {
    let newest: Option<i64> = sqlx::query_scalar("SELECT MAX(seq) FROM shares").fetch_one(pool).await?;
    Ok(ShareSeq::new(newest.unwrap_or(0)))
}

pub(super) async fn back(pool: &Pool, newest: ShareSeq, limit: u32) -> Result<Vec<ShareScore>, StoreError> {
    let select = sqlx::query(
        "SELECT seq, account, difficulty_log2, nbits FROM shares WHERE seq <= $1 ORDER BY seq DESC LIMIT $2",
    );
    let rows = select.bind(newest.get()).bind(i64::from(limit)).fetch_all(pool).await?;
    rows.iter().map(score).collect()
}

pub(super) async fn last(pool: &Pool) -> Result<Option<StoredShare>, StoreError> {
    let row = sqlx::query("SELECT * FROM shares ORDER BY seq DESC LIMIT 1").fetch_optional(pool).await?;
    let Some(row) = row else { return Ok(None) };
    let ShareScore { seq, account, difficulty, nbits } = score(&row)?;
    let share = NewShare {
        account,
        worker: row.try_get("worker")?,
        channel: row.try_get("channel")?,
        job: number("shares", &row, "job")?,
        sequence_number: number("shares", &row, "sequence_number")?,
        difficulty,
        nbits,
        header_hash: header_hash(&row)?,
        at_ms: row.try_get("at_ms")?,
    };
    Ok(Some(StoredShare { seq, share }))
}

pub(super) async fn totals(pool: &Pool, account: Option<AccountId>, since_ms: i64) -> Result<ShareTotals, StoreError> {
    let mut select = QueryBuilder::<Db>::new("SELECT difficulty_log2, COUNT(*) AS shares FROM shares WHERE at_ms >= ");
    select.push_bind(since_ms);
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

fn score(row: &SqlRow) -> Result<ShareScore, StoreError> {
    Ok(ShareScore {
        seq: ShareSeq::new(row.try_get("seq")?),
        account: AccountId::new(row.try_get("account")?),
        difficulty: difficulty(row)?,
        nbits: CompactTarget::from_consensus(number("shares", row, "nbits")?),
    })
}

fn difficulty(row: &SqlRow) -> Result<Difficulty, StoreError> {
    let log2: i8 = number("shares", row, "difficulty_log2")?;
    Difficulty::from_log2(log2).ok_or_else(|| corrupt("shares", log2))
}

fn header_hash(row: &SqlRow) -> Result<BlockHash, StoreError> {
    let bytes: Vec<u8> = row.try_get("header_hash")?;
    BlockHash::from_slice(&bytes).map_err(|_| corrupt("shares", hex::encode(bytes)))
}
