//! Payout batches.

use bitcoin::{
    Amount, ScriptBuf, Transaction,
    consensus::encode::{deserialize, serialize},
};
use sqlx::Row as _;

use super::{Connection, Pool, SqlRow, amount, blocks, corrupt, number, parsed, sat};
use crate::{
    account::AccountId,
    payout::{Batch, BatchId, BatchState, ConfirmationBlock, Due, PaidOutput},
    store::StoreError,
};

pub(super) async fn due(pool: &Pool, least: Amount) -> Result<Vec<Due>, StoreError> {
    let select = sqlx::query(
        "SELECT accounts.id AS account, address, script_pubkey, -balances.sat AS sat \
         FROM accounts JOIN balances ON balances.account = 'miner_payable:' || accounts.id \
         WHERE -balances.sat >= $1 AND balances.sat < 0 ORDER BY -balances.sat, accounts.id",
    );
    let rows = select.bind(sat(least)).fetch_all(pool).await?;
    rows.iter().map(|row| read_due("balances", row)).collect()
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
    sqlx::query(
        "INSERT INTO batches (id, txid, psbt, network_fee_sat, state, epoch, created_at_ms) \
         VALUES ($1, $2, $3, $4, 'created', $5, $6)",
    )
    .bind(batch.id.get())
    .bind(batch.txid.to_string())
    .bind(&batch.psbt)
    .bind(sat(batch.network_fee))
    .bind(i64::from(batch.epoch))
    .bind(batch.created_at_ms)
    .execute(&mut *connection)
    .await?;
    for PaidOutput { vout, due, lots } in &batch.outputs {
        sqlx::query("INSERT INTO batch_outputs (batch, vout, account, sat) VALUES ($1, $2, $3, $4)")
            .bind(batch.id.get())
            .bind(i64::from(*vout))
            .bind(due.account.get())
            .bind(sat(due.amount))
            .execute(&mut *connection)
            .await?;
        for (line, lot) in (0i64..).zip(lots) {
            sqlx::query("INSERT INTO batch_lots (batch, vout, line, block_hash, sat) VALUES ($1, $2, $3, $4, $5)")
                .bind(batch.id.get())
                .bind(i64::from(*vout))
                .bind(line)
                .bind(lot.block.to_string())
                .bind(sat(lot.amount))
                .execute(&mut *connection)
                .await?;
            sqlx::query("UPDATE credits SET paid_sat = paid_sat + $1 WHERE block_hash = $2 AND account = $3")
                .bind(sat(lot.amount))
                .bind(lot.block.to_string())
                .bind(due.account.get())
                .execute(&mut *connection)
                .await?;
        }
    }
    Ok(())
}

pub(super) async fn store_signed(
    connection: &mut Connection,
    batch: BatchId,
    transaction: &Transaction,
) -> Result<(), StoreError> {
    let update = sqlx::query("UPDATE batches SET signed = $1, state = 'signed' WHERE id = $2 AND state = 'created'");
    let done = update.bind(serialize(transaction)).bind(batch.get()).execute(connection).await?;
    if done.rows_affected() == 1 { Ok(()) } else { Err(StoreError::NotUnsigned(batch)) }
}

pub(super) async fn set_broadcast(connection: &mut Connection, batch: BatchId) -> Result<(), StoreError> {
    let update = sqlx::query("UPDATE batches SET state = 'broadcast' WHERE id = $1");
    update.bind(batch.get()).execute(connection).await?;
    Ok(())
}

pub(super) async fn set_confirmed(
    connection: &mut Connection,
    batch: BatchId,
    block: &ConfirmationBlock,
) -> Result<(), StoreError> {
    sqlx::query(
        "UPDATE batches SET state = 'confirmed', block_hash = $1, block_height = $2, block_time_s = $3 WHERE id = $4",
    )
    .bind(block.hash.to_string())
    .bind(i64::from(block.height))
    .bind(block.time)
    .bind(batch.get())
    .execute(connection)
    .await?;
    Ok(())
}

pub(super) async fn set_reversed(connection: &mut Connection, batch: BatchId, epoch: u32) -> Result<(), StoreError> {
    sqlx::query(
        "UPDATE batches SET state = 'broadcast', epoch = $1, block_hash = NULL, block_height = NULL, \
         block_time_s = NULL WHERE id = $2",
    )
    .bind(i64::from(epoch))
    .bind(batch.get())
    .execute(connection)
    .await?;
    Ok(())
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

pub(super) async fn to_watch(pool: &Pool, height: u32) -> Result<Vec<Batch>, StoreError> {
    let select = sqlx::query("SELECT * FROM batches WHERE state <> 'confirmed' OR block_height >= $1 ORDER BY id");
    let rows = select.bind(i64::from(height)).fetch_all(pool).await?;
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
    let state: String = row.try_get("state")?;
    let signed = || -> Result<Transaction, StoreError> {
        let bytes: Vec<u8> = row.try_get("signed")?;
        deserialize(&bytes).map_err(|error| corrupt("batches", error))
    };
    let state = match state.as_str() {
        "created" => BatchState::Created,
        "signed" => BatchState::Signed(signed()?),
        "broadcast" => BatchState::Broadcast(signed()?),
        "confirmed" => BatchState::Confirmed(signed()?, confirmation("batches", row)?),
        _ => return Err(corrupt("batches", state)),
    };
    Ok(Batch {
        id,
        txid: parsed("batches", row, "txid")?,
        psbt: row.try_get("psbt")?,
        outputs: outputs(pool, id).await?,
        network_fee: amount("batches", row, "network_fee_sat")?,
        state,
        epoch: number("batches", row, "epoch")?,
        created_at_ms: row.try_get("created_at_ms")?,
    })
}

async fn outputs(pool: &Pool, batch: BatchId) -> Result<Vec<PaidOutput>, StoreError> {
    let select = sqlx::query(
        "SELECT vout, account, address, script_pubkey, sat FROM batch_outputs \
         JOIN accounts ON accounts.id = account WHERE batch = $1 ORDER BY vout",
    );
    let mut outputs = Vec::new();
    for row in select.bind(batch.get()).fetch_all(pool).await? {
        let vout = number("batch_outputs", &row, "vout")?;
        outputs.push(PaidOutput { vout, due: read_due("batch_outputs", &row)?, lots: Vec::new() });
    }
    let select = sqlx::query(
        "SELECT vout, block_hash, coinbase_txid, coinbase_vout, sat FROM batch_lots \
         JOIN blocks ON blocks.hash = block_hash WHERE batch = $1 ORDER BY vout, line",
    );
    for row in select.bind(batch.get()).fetch_all(pool).await? {
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
