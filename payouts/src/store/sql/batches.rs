//! Payout batches.

use std::collections::BTreeMap;

use bitcoin::{Amount, ScriptBuf, Txid};
use sqlx::Row as _;

use super::{Connection, Pool, SqlRow, amount, attempts, blocks, corrupt, number, parsed, sat};
use crate::{
    account::AccountId,
    crediting::PeriodNumber,
    export::{Lot, LotCredit},
    payout::{AttemptHead, Batch, BatchApproval, BatchHead, BatchId, BatchState, ConfirmationBlock, Due, PaidOutput},
    store::StoreError,
};

const APPROVALS: [(BatchApproval, &str); 3] =
    [(BatchApproval::NotNeeded, "not_needed"), (BatchApproval::Awaited, "awaited"), (BatchApproval::Given, "given")];

pub(super) async fn due(pool: &Pool, least: Amount) -> Result<Vec<Due>, StoreError> {
    let select = sqlx::query(
        "SELECT accounts.id AS account, address, script_pubkey, -balances.sat AS sat \
         FROM accounts JOIN balances ON balances.account = 'miner_payable:' || accounts.id \
         LEFT JOIN payout_thresholds ON payout_thresholds.account = accounts.id \
         WHERE balances.sat < 0 AND -balances.sat >= COALESCE(threshold_sat, $1) \
         AND NOT EXISTS (SELECT 1 FROM restraints AS latest WHERE latest.account = accounts.id AND act <> 'ended' \
             AND number = (SELECT MAX(number) FROM restraints \
                 WHERE account = latest.account AND restraint = latest.restraint)) \
         ORDER BY -balances.sat, accounts.id",
    );
    let rows = select.bind(sat(least)).fetch_all(pool).await?;
    rows.iter().map(|row| read_due("balances", row)).collect()
}

pub(super) async fn due_of(pool: &Pool, account: AccountId) -> Result<Option<Due>, StoreError> {
    let select = sqlx::query(
        "SELECT accounts.id AS account, address, script_pubkey, \
         CASE WHEN balances.sat < 0 THEN -balances.sat ELSE 0 END AS sat \
         FROM accounts LEFT JOIN balances ON balances.account = 'miner_payable:' || accounts.id \
         WHERE accounts.id = $1",
    );
    let row = select.bind(account.get()).fetch_optional(pool).await?;
    row.as_ref().map(|row| read_due("balances", row)).transpose()
}

fn read_due(table: &'static str, row: &SqlRow) -> Result<Due, StoreError> {
    Ok(Due {
        account: AccountId::new(row.try_get("account")?),
        address: row.try_get("address")?,
        script_pubkey: ScriptBuf::from_bytes(row.try_get("script_pubkey")?),
        amount: amount(table, row, "sat")?,
    })
}

pub(super) async fn insert(connection: &mut Connection, batch: &Batch) -> Result<(), StoreError> {
    sqlx::query("INSERT INTO batches (id, state, approval, epoch, created_at_ms) VALUES ($1, 'open', $2, $3, $4)")
        .bind(batch.id.get())
        .bind(approval_text(batch.approval))
        .bind(i64::from(batch.epoch))
        .bind(batch.created_at_ms)
        .execute(&mut *connection)
        .await?;
    for attempt in &batch.attempts {
        attempts::insert(connection, batch.id, attempt).await?;
    }
    for PaidOutput { vout, due, fee, lots } in &batch.outputs {
        sqlx::query("INSERT INTO batch_outputs (batch, vout, account, sat, fee_sat) VALUES ($1, $2, $3, $4, $5)")
            .bind(batch.id.get())
            .bind(i64::from(*vout))
            .bind(due.account.get())
            .bind(sat(due.amount))
            .bind(sat(*fee))
            .execute(&mut *connection)
            .await?;
        for (line, lot) in (0i64..).zip(lots) {
            let line = (batch.id, *vout, line);
            match lot.credit {
                LotCredit::Block => take_block_lot(connection, line, due.account, lot).await?,
                LotCredit::Period { number, line: period_line } => {
                    take_period_lot(connection, line, (number, due.account, period_line), lot.amount).await?;
                }
                LotCredit::Fee => take_fee_lot(connection, line, lot).await?,
            }
        }
    }
    Ok(())
}

/// Takes a piece of an account's credit of a block for a line of an output.
async fn take_block_lot(
    connection: &mut Connection,
    (batch, vout, line): (BatchId, u32, i64),
    account: AccountId,
    lot: &Lot,
) -> Result<(), StoreError> {
    sqlx::query("INSERT INTO batch_lots (batch, vout, line, block_hash, sat) VALUES ($1, $2, $3, $4, $5)")
        .bind(batch.get())
        .bind(i64::from(vout))
        .bind(line)
        .bind(lot.block.to_string())
        .bind(sat(lot.amount))
        .execute(&mut *connection)
        .await?;
    sqlx::query("UPDATE credits SET paid_sat = paid_sat + $1 WHERE block_hash = $2 AND account = $3")
        .bind(sat(lot.amount))
        .bind(lot.block.to_string())
        .bind(account.get())
        .execute(connection)
        .await?;
    Ok(())
}

/// Takes a piece of the pool's own coin for a line of an output. What is left of that is counted when it is asked for.
async fn take_fee_lot(
    connection: &mut Connection,
    (batch, vout, line): (BatchId, u32, i64),
    lot: &Lot,
) -> Result<(), StoreError> {
    sqlx::query(
        "INSERT INTO batch_fee_lots (batch, vout, line, coinbase_txid, coinbase_vout, block_hash, sat) \
         VALUES ($1, $2, $3, $4, $5, $6, $7)",
    )
    .bind(batch.get())
    .bind(i64::from(vout))
    .bind(line)
    .bind(lot.coinbase.txid.to_string())
    .bind(i64::from(lot.coinbase.vout))
    .bind(lot.block.to_string())
    .bind(sat(lot.amount))
    .execute(connection)
    .await?;
    Ok(())
}

/// Takes a piece of a credit for work, which is known by period, account and line, for a line of an output.
async fn take_period_lot(
    connection: &mut Connection,
    (batch, vout, line): (BatchId, u32, i64),
    (period, account, period_line): (PeriodNumber, AccountId, u32),
    amount: Amount,
) -> Result<(), StoreError> {
    sqlx::query(
        "INSERT INTO batch_period_lots (batch, vout, line, period, account, period_line, sat) \
         VALUES ($1, $2, $3, $4, $5, $6, $7)",
    )
    .bind(batch.get())
    .bind(i64::from(vout))
    .bind(line)
    .bind(period.get())
    .bind(account.get())
    .bind(i64::from(period_line))
    .bind(sat(amount))
    .execute(&mut *connection)
    .await?;
    sqlx::query("UPDATE period_lots SET paid_sat = paid_sat + $1 WHERE period = $2 AND account = $3 AND line = $4")
        .bind(sat(amount))
        .bind(period.get())
        .bind(account.get())
        .bind(i64::from(period_line))
        .execute(connection)
        .await?;
    Ok(())
}

pub(super) async fn set_confirmed(
    connection: &mut Connection,
    batch: BatchId,
    attempt: u32,
    block: &ConfirmationBlock,
) -> Result<(), StoreError> {
    sqlx::query(
        "UPDATE batches SET state = 'confirmed', block_hash = $1, block_height = $2, block_time_s = $3, attempt = $4 \
         WHERE id = $5",
    )
    .bind(block.hash.to_string())
    .bind(i64::from(block.height))
    .bind(block.time)
    .bind(i64::from(attempt))
    .bind(batch.get())
    .execute(connection)
    .await?;
    Ok(())
}

pub(super) async fn set_reversed(connection: &mut Connection, batch: BatchId, epoch: u32) -> Result<(), StoreError> {
    sqlx::query(
        "UPDATE batches SET state = 'open', epoch = $1, attempt = NULL, block_hash = NULL, block_height = NULL, \
         block_time_s = NULL WHERE id = $2",
    )
    .bind(i64::from(epoch))
    .bind(batch.get())
    .execute(connection)
    .await?;
    Ok(())
}

/// Ends a batch that did not pay: its lots are unpaid again.
pub(super) async fn end(connection: &mut Connection, batch: BatchId, state: &BatchState) -> Result<(), StoreError> {
    let (state, by) = match state {
        BatchState::Cancelled => ("cancelled", None),
        BatchState::Replaced(by) => ("replaced", Some(by.to_string())),
        BatchState::Open | BatchState::Confirmed(..) => return Err(corrupt("batches", "an end that is none")),
    };
    let update = sqlx::query("UPDATE batches SET state = $1, replaced_by = $2 WHERE id = $3 AND state = 'open'");
    let done = update.bind(state).bind(by).bind(batch.get()).execute(&mut *connection).await?;
    if done.rows_affected() != 1 {
        return Err(corrupt("batches", format!("batch {batch} is not open")));
    }
    let lots = sqlx::query(
        "SELECT block_hash, account, batch_lots.sat AS sat FROM batch_lots \
         JOIN batch_outputs ON batch_outputs.batch = batch_lots.batch AND batch_outputs.vout = batch_lots.vout \
         WHERE batch_lots.batch = $1",
    );
    for lot in lots.bind(batch.get()).fetch_all(&mut *connection).await? {
        sqlx::query("UPDATE credits SET paid_sat = paid_sat - $1 WHERE block_hash = $2 AND account = $3")
            .bind(lot.try_get::<i64, _>("sat")?)
            .bind(lot.try_get::<String, _>("block_hash")?)
            .bind(lot.try_get::<i64, _>("account")?)
            .execute(&mut *connection)
            .await?;
    }
    let lots = sqlx::query("SELECT period, account, period_line, sat FROM batch_period_lots WHERE batch = $1");
    for lot in lots.bind(batch.get()).fetch_all(&mut *connection).await? {
        sqlx::query("UPDATE period_lots SET paid_sat = paid_sat - $1 WHERE period = $2 AND account = $3 AND line = $4")
            .bind(lot.try_get::<i64, _>("sat")?)
            .bind(lot.try_get::<i64, _>("period")?)
            .bind(lot.try_get::<i64, _>("account")?)
            .bind(lot.try_get::<i64, _>("period_line")?)
            .execute(&mut *connection)
            .await?;
    }
    Ok(())
}

pub(super) async fn insert_conflict(
    connection: &mut Connection,
    txid: Txid,
    batch: BatchId,
    loss: Amount,
) -> Result<(), StoreError> {
    let insert = sqlx::query("INSERT INTO conflicts (txid, batch, loss_sat) VALUES ($1, $2, $3)");
    insert.bind(txid.to_string()).bind(batch.get()).bind(sat(loss)).execute(connection).await?;
    Ok(())
}

pub(super) async fn is_conflict_booked(pool: &Pool, txid: Txid) -> Result<bool, StoreError> {
    let select = sqlx::query_scalar("SELECT COUNT(*) FROM conflicts WHERE txid = $1").bind(txid.to_string());
    let count: i64 = select.fetch_one(pool).await?;
    Ok(count > 0)
}

pub(super) async fn by_id(pool: &Pool, id: BatchId) -> Result<Option<Batch>, StoreError> {
    let row = sqlx::query("SELECT * FROM batches WHERE id = $1").bind(id.get()).fetch_optional(pool).await?;
    match row {
        Some(row) => Ok(Some(batch(pool, &row).await?)),
        None => Ok(None),
    }
}

pub(super) async fn newest(pool: &Pool, limit: u32) -> Result<Vec<Batch>, StoreError> {
    let rows =
        sqlx::query("SELECT * FROM batches ORDER BY id DESC LIMIT $1").bind(i64::from(limit)).fetch_all(pool).await?;
    batches(pool, &rows).await
}

async fn batches(pool: &Pool, rows: &[SqlRow]) -> Result<Vec<Batch>, StoreError> {
    let mut batches = Vec::with_capacity(rows.len());
    for row in rows {
        batches.push(batch(pool, row).await?);
    }
    Ok(batches)
}

async fn batch(pool: &Pool, row: &SqlRow) -> Result<Batch, StoreError> {
    let id = BatchId::new(row.try_get("id")?);
    Ok(Batch {
        id,
        outputs: outputs(pool, id, None, u32::MAX).await?,
        attempts: attempts::of(pool, id).await?,
        approval: approval(row)?,
        state: state(row)?,
        epoch: number("batches", row, "epoch")?,
        created_at_ms: row.try_get("created_at_ms")?,
    })
}

/// Of batches, all but whom they pay.
macro_rules! select_heads {
    ($those:literal) => {
        concat!(
            "SELECT batches.*, (SELECT COUNT(*) FROM batch_outputs WHERE batch = batches.id) AS outputs, \
             (SELECT CAST(COALESCE(SUM(sat - fee_sat), 0) AS BIGINT) FROM batch_outputs WHERE batch = batches.id) \
             AS paid_sat FROM batches ",
            $those
        )
    };
}

/// Returns the newest batches before a number, newest first, without whom they pay.
pub(super) async fn heads_before(pool: &Pool, before: i64, limit: u32) -> Result<Vec<BatchHead>, StoreError> {
    let select = sqlx::query(select_heads!("WHERE id < $1 ORDER BY id DESC LIMIT $2"));
    heads(pool, &select.bind(before).bind(i64::from(limit)).fetch_all(pool).await?).await
}

/// Returns the batches that are open, and those confirmed from a height on, oldest first, without whom they pay.
pub(super) async fn to_watch(pool: &Pool, height: u32) -> Result<Vec<BatchHead>, StoreError> {
    let select = sqlx::query(select_heads!("WHERE state = 'open' OR block_height >= $1 ORDER BY id"));
    heads(pool, &select.bind(i64::from(height)).fetch_all(pool).await?).await
}

/// Reads batches that stand in the order of their numbers, or the other way round.
async fn heads(pool: &Pool, rows: &[SqlRow]) -> Result<Vec<BatchHead>, StoreError> {
    let (Some(first), Some(last)) = (rows.first(), rows.last()) else { return Ok(Vec::new()) };
    let ends: [i64; 2] = [first.try_get("id")?, last.try_get("id")?];
    let [from, upto] = [ends[0].min(ends[1]), ends[0].max(ends[1])].map(BatchId::new);
    let mut attempts = attempts::heads(pool, from, upto).await?;
    rows.iter().map(|row| head(row, &mut attempts)).collect()
}

/// Reads a head, and takes its attempts out of those of all.
fn head(row: &SqlRow, attempts: &mut BTreeMap<BatchId, Vec<AttemptHead>>) -> Result<BatchHead, StoreError> {
    let id = BatchId::new(row.try_get("id")?);
    Ok(BatchHead {
        id,
        outputs: number("batches", row, "outputs")?,
        paid: amount("batches", row, "paid_sat")?,
        attempts: attempts.remove(&id).ok_or_else(|| corrupt("batch_attempts", format!("batch {id} has none")))?,
        approval: approval(row)?,
        state: state(row)?,
        epoch: number("batches", row, "epoch")?,
        created_at_ms: row.try_get("created_at_ms")?,
    })
}

fn state(row: &SqlRow) -> Result<BatchState, StoreError> {
    let state: String = row.try_get("state")?;
    Ok(match state.as_str() {
        "open" => BatchState::Open,
        "confirmed" => BatchState::Confirmed(number("batches", row, "attempt")?, confirmation("batches", row)?),
        "cancelled" => BatchState::Cancelled,
        "replaced" => BatchState::Replaced(parsed("batches", row, "replaced_by")?),
        _ => return Err(corrupt("batches", state)),
    })
}

fn approval(row: &SqlRow) -> Result<BatchApproval, StoreError> {
    let approval: String = row.try_get("approval")?;
    let known = APPROVALS.iter().find(|(_, text)| *text == approval);
    known.map(|(approval, _)| *approval).ok_or_else(|| corrupt("batches", &approval))
}

fn approval_text(approval: BatchApproval) -> &'static str {
    APPROVALS.iter().find(|(known, _)| *known == approval).expect("every approval is listed").1
}

/// Returns outputs of a batch behind a place, in the order of their places.
pub(super) async fn outputs(
    pool: &Pool,
    batch: BatchId,
    after: Option<u32>,
    limit: u32,
) -> Result<Vec<PaidOutput>, StoreError> {
    let select = sqlx::query(
        "SELECT vout, account, address, script_pubkey, sat, fee_sat FROM batch_outputs \
         JOIN accounts ON accounts.id = account WHERE batch = $1 AND vout > $2 ORDER BY vout LIMIT $3",
    );
    let select = select.bind(batch.get()).bind(after.map_or(-1, i64::from)).bind(i64::from(limit));
    let mut outputs = Vec::new();
    for row in select.fetch_all(pool).await? {
        let vout = number("batch_outputs", &row, "vout")?;
        let (due, fee) = (read_due("batch_outputs", &row)?, amount("batch_outputs", &row, "fee_sat")?);
        if fee > due.amount {
            return Err(corrupt("batch_outputs", fee));
        }
        outputs.push(PaidOutput { vout, due, fee, lots: Vec::new() });
    }
    let (Some(first), Some(last)) = (outputs.first(), outputs.last()) else { return Ok(outputs) };
    let select = sqlx::query(
        "SELECT vout, line, block_hash, coinbase_txid, coinbase_vout, sat, \
         CAST(NULL AS BIGINT) AS period, CAST(NULL AS BIGINT) AS period_line, CAST(0 AS BIGINT) AS of_fee \
         FROM batch_lots JOIN blocks ON blocks.hash = block_hash WHERE batch = $1 AND vout BETWEEN $2 AND $3 \
         UNION ALL \
         SELECT taken.vout, taken.line, block_hash, txid, reserve_lots.vout, taken.sat, taken.period, period_line, \
         0 FROM batch_period_lots AS taken JOIN period_lots ON period_lots.period = taken.period \
         AND period_lots.account = taken.account AND period_lots.line = period_line \
         JOIN reserve_lots ON reserve_lots.number = reserve_lot WHERE batch = $1 AND taken.vout BETWEEN $2 AND $3 \
         UNION ALL \
         SELECT vout, line, block_hash, coinbase_txid, coinbase_vout, sat, NULL, NULL, 1 \
         FROM batch_fee_lots WHERE batch = $1 AND vout BETWEEN $2 AND $3 ORDER BY vout, line",
    );
    let select = select.bind(batch.get()).bind(i64::from(first.vout)).bind(i64::from(last.vout));
    for row in select.fetch_all(pool).await? {
        let vout: u32 = number("batch_lots", &row, "vout")?;
        let output = outputs.binary_search_by_key(&vout, |output| output.vout);
        let output = output.map_err(|_| corrupt("batch_lots", vout))?;
        outputs[output].lots.push(blocks::lot("batch_lots", &row)?);
    }
    Ok(outputs)
}

/// Reads the block of a confirmation.
pub(super) fn confirmation(table: &'static str, row: &SqlRow) -> Result<ConfirmationBlock, StoreError> {
    Ok(ConfirmationBlock {
        hash: parsed(table, row, "block_hash")?,
        height: number(table, row, "block_height")?,
        time: row.try_get("block_time_s")?,
    })
}
