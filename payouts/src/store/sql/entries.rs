//! The ledger: the one place where money changes.

use std::collections::BTreeMap;

use bitcoin::SignedAmount;
use sqlx::{Executor, QueryBuilder, Row as _};

use super::{
    Connection, Db, Pool, ROWS_PER_INSERT, SqlRow, attempts, batch_events, batches, blocks, journal, parsed, periods,
    register, reserve, restraints, sat, windows,
};
use crate::{
    hash_chain::ChainHash,
    ledger::{Entry, EntryKind, EntrySeq, Head, LedgerAccount, Posting},
    store::{Change, Commit, Row, StoreError},
};

pub(super) async fn head(executor: impl Executor<'_, Database = Db>) -> Result<Head, StoreError> {
    let row = sqlx::query("SELECT seq, hash FROM entries ORDER BY seq DESC LIMIT 1").fetch_optional(executor).await?;
    match row {
        None => Ok(Head::EMPTY),
        Some(row) => Ok(Head { seq: EntrySeq::new(row.try_get("seq")?), hash: parsed("entries", &row, "hash")? }),
    }
}

/// Writes a change; on any outcome but `Done`, nothing was written.
pub(super) async fn commit(connection: &mut Connection, change: &Change) -> Result<Commit, StoreError> {
    let Change { entry, rows } = change;
    let same = sqlx::query("SELECT seq, digest FROM entries WHERE kind = $1 AND key = $2")
        .bind(entry.kind.as_str())
        .bind(&entry.key)
        .fetch_optional(&mut *connection)
        .await?;
    if let Some(same) = same {
        let digest: ChainHash = parsed("entries", &same, "digest")?;
        if digest != entry.digest {
            return Err(StoreError::DifferentEntry { kind: entry.kind, key: entry.key.clone() });
        }
        return Ok(Commit::Already(EntrySeq::new(same.try_get("seq")?)));
    }
    let head = head(&mut *connection).await?;
    if head.hash != entry.previous || head.seq.get() + 1 != entry.seq.get() {
        return Ok(Commit::Stale);
    }
    insert(connection, entry).await?;
    for row in rows {
        match row {
            Row::BlockFound { block, credits, window } => {
                blocks::insert(connection, block, credits).await?;
                if let Some(window) = window {
                    windows::insert(connection, block.found.hash, window).await?;
                }
            }
            Row::BlockMoved { hash, state } => blocks::set_state(connection, *hash, *state).await?,
            Row::DirectPaid { block, account, amount } => {
                blocks::add_paid(connection, *block, *account, sat(*amount)).await?;
            }
            Row::DirectVoid { block, account, amount } => {
                blocks::add_paid(connection, *block, *account, -sat(*amount)).await?;
            }
            Row::BatchCreated { batch, wallet_change } => {
                batches::insert(connection, batch).await?;
                append_wallet_change(connection, wallet_change).await?;
            }
            Row::BatchBroadcast { batch, attempt } => attempts::set_broadcast(connection, *batch, *attempt).await?,
            Row::BatchConfirmed { batch, attempt, block } => {
                batches::set_confirmed(connection, *batch, *attempt, block).await?;
            }
            Row::BatchReversed { batch, epoch } => batches::set_reversed(connection, *batch, *epoch).await?,
            Row::BatchEnded { batch, state, event, wallet_change } => {
                batches::end(connection, *batch, state).await?;
                batch_events::insert(connection, *batch, event).await?;
                append_wallet_change(connection, wallet_change).await?;
            }
            Row::ConflictBooked { txid, batch, loss } => {
                batches::insert_conflict(connection, *txid, *batch, *loss).await?;
            }
            Row::Restrained(row) => restraints::insert(connection, row).await?,
            Row::Registered(row) => register::insert(connection, row).await?,
            Row::Journal(row) => {
                if journal::append(connection, std::slice::from_ref(row)).await? != Commit::Done {
                    return Ok(Commit::Stale);
                }
            }
            Row::ReserveBlock { lot, is_void } => reserve::set_block(connection, lot, *is_void).await?,
            Row::Given { from, to, lots } => reserve::give(connection, *from, *to, lots).await?,
            Row::PeriodCredited(credited) => periods::insert_credited(connection, entry.seq, credited).await?,
            Row::Deposit(deposit) => reserve::save_deposit(connection, entry.seq, deposit).await?,
        }
    }
    Ok(Commit::Done)
}

pub(super) async fn append_wallet_change(connection: &mut Connection, change: &str) -> Result<(), StoreError> {
    sqlx::query("INSERT INTO wallet_changes (change) VALUES ($1)").bind(change).execute(connection).await?;
    Ok(())
}

async fn insert(connection: &mut Connection, entry: &Entry) -> Result<(), StoreError> {
    sqlx::query(
        "INSERT INTO entries (seq, kind, key, corrects, at_ms, digest, previous, hash, facts) \
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)",
    )
    .bind(entry.seq.get())
    .bind(entry.kind.as_str())
    .bind(&entry.key)
    .bind(entry.corrects.map(EntrySeq::get))
    .bind(entry.at_ms)
    .bind(entry.digest.to_string())
    .bind(entry.previous.to_string())
    .bind(entry.hash.to_string())
    .bind(&entry.facts)
    .execute(&mut *connection)
    .await?;
    let lines: Vec<_> = (0i64..).zip(&entry.postings).collect();
    for chunk in lines.chunks(ROWS_PER_INSERT) {
        let mut insert = QueryBuilder::<Db>::new("INSERT INTO postings (entry, line, account, sat) ");
        insert.push_values(chunk, |mut row, (line, posting)| {
            row.push_bind(entry.seq.get())
                .push_bind(*line)
                .push_bind(posting.account.to_string())
                .push_bind(posting.amount.to_sat());
        });
        insert.build().persistent(false).execute(&mut *connection).await?;
        let mut add = QueryBuilder::<Db>::new("INSERT INTO balances (account, sat) ");
        add.push_values(chunk, |mut row, (_, posting)| {
            row.push_bind(posting.account.to_string()).push_bind(posting.amount.to_sat());
        });
        add.push(" ON CONFLICT (account) DO UPDATE SET sat = balances.sat + excluded.sat");
        add.build().persistent(false).execute(&mut *connection).await?;
    }
    Ok(())
}

pub(super) async fn by_key(pool: &Pool, kind: EntryKind, key: &str) -> Result<Option<Entry>, StoreError> {
    let select = sqlx::query("SELECT * FROM entries WHERE kind = $1 AND key = $2").bind(kind.as_str()).bind(key);
    let rows: Vec<_> = select.fetch_optional(pool).await?.into_iter().collect();
    Ok(with_postings(pool, &rows).await?.pop())
}

pub(super) async fn page(pool: &Pool, after: EntrySeq, limit: u32) -> Result<Vec<Entry>, StoreError> {
    let select = sqlx::query("SELECT * FROM entries WHERE seq > $1 ORDER BY seq LIMIT $2");
    let rows = select.bind(after.get()).bind(i64::from(limit)).fetch_all(pool).await?;
    with_postings(pool, &rows).await
}

/// Reads entries together with their postings.
pub(super) async fn with_postings(pool: &Pool, rows: &[SqlRow]) -> Result<Vec<Entry>, StoreError> {
    let mut entries = rows.iter().map(entry).collect::<Result<Vec<_>, _>>()?;
    let mut postings: BTreeMap<EntrySeq, Vec<Posting>> = BTreeMap::new();
    for row in postings_of(pool, &entries).await? {
        let account = parsed("postings", &row, "account")?;
        let amount = SignedAmount::from_sat(row.try_get("sat")?);
        postings.entry(EntrySeq::new(row.try_get("entry")?)).or_default().push(Posting { account, amount });
    }
    for entry in &mut entries {
        entry.postings = postings.remove(&entry.seq).unwrap_or_default();
    }
    Ok(entries)
}

/// Reads the postings of entries: at once if they follow each other, and else a statement's worth at a time.
async fn postings_of(pool: &Pool, entries: &[Entry]) -> Result<Vec<SqlRow>, StoreError> {
    let (Some(first), Some(last)) = (entries.first(), entries.last()) else { return Ok(Vec::new()) };
    let (oldest, newest) = (first.seq.min(last.seq).get(), first.seq.max(last.seq).get());
    if newest - oldest < entries.len() as i64 {
        let select =
            sqlx::query("SELECT entry, account, sat FROM postings WHERE entry BETWEEN $1 AND $2 ORDER BY entry, line");
        return Ok(select.bind(oldest).bind(newest).fetch_all(pool).await?);
    }
    let mut rows = Vec::new();
    for chunk in entries.chunks(ROWS_PER_INSERT) {
        let mut select = QueryBuilder::<Db>::new("SELECT entry, account, sat FROM postings WHERE entry IN (");
        let mut numbers = select.separated(", ");
        for entry in chunk {
            numbers.push_bind(entry.seq.get());
        }
        select.push(") ORDER BY entry, line");
        rows.extend(select.build().persistent(false).fetch_all(pool).await?);
    }
    Ok(rows)
}

fn entry(row: &SqlRow) -> Result<Entry, StoreError> {
    Ok(Entry {
        seq: EntrySeq::new(row.try_get("seq")?),
        kind: parsed("entries", row, "kind")?,
        key: row.try_get("key")?,
        corrects: row.try_get::<Option<i64>, _>("corrects")?.map(EntrySeq::new),
        facts: row.try_get("facts")?,
        at_ms: row.try_get("at_ms")?,
        postings: Vec::new(),
        digest: parsed("entries", row, "digest")?,
        previous: parsed("entries", row, "previous")?,
        hash: parsed("entries", row, "hash")?,
    })
}

pub(super) async fn balances(pool: &Pool) -> Result<BTreeMap<LedgerAccount, SignedAmount>, StoreError> {
    let rows = sqlx::query("SELECT account, sat FROM balances").fetch_all(pool).await?;
    let read = |row: &SqlRow| Ok((parsed("balances", row, "account")?, SignedAmount::from_sat(row.try_get("sat")?)));
    rows.iter().map(read).collect()
}

pub(super) async fn balance(pool: &Pool, account: LedgerAccount) -> Result<SignedAmount, StoreError> {
    let select = sqlx::query_scalar("SELECT sat FROM balances WHERE account = $1").bind(account.to_string());
    let sat: Option<i64> = select.fetch_optional(pool).await?;
    Ok(SignedAmount::from_sat(sat.unwrap_or(0)))
}
