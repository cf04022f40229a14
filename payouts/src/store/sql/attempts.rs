//! The transactions that try to pay a batch.

use std::collections::BTreeMap;

use bitcoin::{
    Transaction,
    consensus::encode::{deserialize, serialize},
};
use sqlx::Row as _;

use super::{Connection, Pool, SqlRow, amount, corrupt, number, parsed, sat};
use crate::{
    payout::{Attempt, AttemptHead, AttemptProgress, AttemptStage, BatchId},
    store::StoreError,
};

/// Adds an attempt to an open batch; its number is the next, or nothing is done.
pub(super) async fn add(connection: &mut Connection, batch: BatchId, attempt: &Attempt) -> Result<(), StoreError> {
    let fits: Option<i64> = sqlx::query_scalar(
        "SELECT id FROM batches WHERE id = $1 AND state = 'open' \
         AND $2 = (SELECT COUNT(*) FROM batch_attempts WHERE batch = $1)",
    )
    .bind(batch.get())
    .bind(i64::from(attempt.number))
    .fetch_optional(&mut *connection)
    .await?;
    if fits.is_none() {
        return Err(StoreError::NoAttempt { batch, attempt: attempt.number });
    }
    insert(connection, batch, attempt).await
}

pub(super) async fn insert(connection: &mut Connection, batch: BatchId, attempt: &Attempt) -> Result<(), StoreError> {
    let (stage, signed) = match &attempt.stage {
        AttemptStage::Created => ("created", None),
        AttemptStage::Signed(transaction) => ("signed", Some(serialize(transaction))),
        AttemptStage::Broadcast(transaction) => ("broadcast", Some(serialize(transaction))),
    };
    sqlx::query(
        "INSERT INTO batch_attempts (batch, attempt, txid, psbt, signed, network_fee_sat, stage, created_at_ms) \
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8)",
    )
    .bind(batch.get())
    .bind(i64::from(attempt.number))
    .bind(attempt.txid.to_string())
    .bind(&attempt.psbt)
    .bind(signed)
    .bind(sat(attempt.network_fee))
    .bind(stage)
    .bind(attempt.created_at_ms)
    .execute(connection)
    .await?;
    Ok(())
}

pub(super) async fn store_signed(
    connection: &mut Connection,
    batch: BatchId,
    attempt: u32,
    transaction: &Transaction,
) -> Result<(), StoreError> {
    let update = sqlx::query(
        "UPDATE batch_attempts SET signed = $1, stage = 'signed' WHERE batch = $2 AND attempt = $3 \
         AND stage = 'created' AND EXISTS (SELECT 1 FROM batches WHERE id = $2 AND state IN ('open', 'confirmed'))",
    );
    let update = update.bind(serialize(transaction)).bind(batch.get()).bind(i64::from(attempt));
    let done = update.execute(connection).await?;
    if done.rows_affected() == 1 { Ok(()) } else { Err(StoreError::NotUnsigned(batch)) }
}

pub(super) async fn set_broadcast(connection: &mut Connection, batch: BatchId, attempt: u32) -> Result<(), StoreError> {
    let update = sqlx::query("UPDATE batch_attempts SET stage = 'broadcast' WHERE batch = $1 AND attempt = $2");
    update.bind(batch.get()).bind(i64::from(attempt)).execute(connection).await?;
    Ok(())
}

/// Returns a batch's attempts in the order of their numbers.
pub(super) async fn of(pool: &Pool, batch: BatchId) -> Result<Vec<Attempt>, StoreError> {
    let select = sqlx::query("SELECT * FROM batch_attempts WHERE batch = $1 ORDER BY attempt");
    let rows = select.bind(batch.get()).fetch_all(pool).await?;
    if rows.is_empty() {
        return Err(corrupt("batch_attempts", format!("batch {batch} has none")));
    }
    rows.iter().map(attempt).collect()
}

/// Returns the attempts of the batches from one to another without what is signed, of each in the order of their numbers.
pub(super) async fn heads(
    pool: &Pool,
    from: BatchId,
    upto: BatchId,
) -> Result<BTreeMap<BatchId, Vec<AttemptHead>>, StoreError> {
    let select = sqlx::query(
        "SELECT batch, attempt, txid, network_fee_sat, stage, created_at_ms FROM batch_attempts \
         WHERE batch BETWEEN $1 AND $2 ORDER BY batch, attempt",
    );
    let mut heads: BTreeMap<BatchId, Vec<AttemptHead>> = BTreeMap::new();
    for row in select.bind(from.get()).bind(upto.get()).fetch_all(pool).await? {
        heads.entry(BatchId::new(row.try_get("batch")?)).or_default().push(head(&row)?);
    }
    Ok(heads)
}

fn head(row: &SqlRow) -> Result<AttemptHead, StoreError> {
    let stage: String = row.try_get("stage")?;
    let progress = match stage.as_str() {
        "created" => AttemptProgress::Created,
        "signed" => AttemptProgress::Signed,
        "broadcast" => AttemptProgress::Broadcast,
        _ => return Err(corrupt("batch_attempts", stage)),
    };
    Ok(AttemptHead {
        number: number("batch_attempts", row, "attempt")?,
        txid: parsed("batch_attempts", row, "txid")?,
        network_fee: amount("batch_attempts", row, "network_fee_sat")?,
        progress,
        created_at_ms: row.try_get("created_at_ms")?,
    })
}

fn attempt(row: &SqlRow) -> Result<Attempt, StoreError> {
    let stage: String = row.try_get("stage")?;
    let signed = || -> Result<Transaction, StoreError> {
        let bytes: Vec<u8> = row.try_get("signed")?;
        deserialize(&bytes).map_err(|error| corrupt("batch_attempts", error))
    };
    let stage = match stage.as_str() {
        "created" => AttemptStage::Created,
        "signed" => AttemptStage::Signed(signed()?),
        "broadcast" => AttemptStage::Broadcast(signed()?),
        _ => return Err(corrupt("batch_attempts", stage)),
    };
    Ok(Attempt {
        number: number("batch_attempts", row, "attempt")?,
        txid: parsed("batch_attempts", row, "txid")?,
        psbt: row.try_get("psbt")?,
        network_fee: amount("batch_attempts", row, "network_fee_sat")?,
        stage,
        created_at_ms: row.try_get("created_at_ms")?,
    })
}
