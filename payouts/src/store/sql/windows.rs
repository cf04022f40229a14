//! What was counted for blocks.

use std::collections::BTreeMap;

use bitcoin::BlockHash;
use sqlx::{QueryBuilder, Row as _};

use super::{Connection, Db, Pool, ROWS_PER_INSERT, corrupt, number, parsed};
use crate::{
    account::AccountId,
    books::FrozenWindow,
    scheme::{
        slice::{SlicePart, SliceParts},
        window::{Counted, EdgeSegment},
    },
    share::{ShareSeq, Work},
    store::StoreError,
};

pub(super) async fn insert(
    connection: &mut Connection,
    block: BlockHash,
    window: &FrozenWindow,
) -> Result<(), StoreError> {
    let FrozenWindow { span: (oldest, newest), edge, accounts, slices } = window;
    sqlx::query(
        "INSERT INTO block_windows (block_hash, oldest, newest, edge, edge_weight, edge_counted) \
         VALUES ($1, $2, $3, $4, $5, $6)",
    )
    .bind(block.to_string())
    .bind(oldest.get())
    .bind(newest.get())
    .bind(edge.map(|edge| edge.position.get()))
    .bind(edge.map(|edge| edge.weight.to_string()))
    .bind(edge.map(|edge| edge.counted.to_string()))
    .execute(&mut *connection)
    .await?;
    let mut rows = Vec::with_capacity(accounts.len());
    for (account, Counted { shares, weight }) in accounts {
        let shares = i64::try_from(*shares).map_err(|_| corrupt("block_weights", shares))?;
        rows.push((account.get(), shares, weight.to_string()));
    }
    for chunk in rows.chunks(ROWS_PER_INSERT) {
        let mut insert = QueryBuilder::<Db>::new("INSERT INTO block_weights (block_hash, account, shares, weight) ");
        insert.push_values(chunk, |mut row, (account, shares, weight)| {
            row.push_bind(block.to_string()).push_bind(*account).push_bind(*shares).push_bind(weight.clone());
        });
        insert.build().persistent(false).execute(&mut *connection).await?;
    }
    match slices {
        Some(parts) => insert_slices(connection, block, parts).await,
        None => Ok(()),
    }
}

async fn insert_slices(connection: &mut Connection, block: BlockHash, parts: &SliceParts) -> Result<(), StoreError> {
    let slices = i64::try_from(parts.slices).map_err(|_| corrupt("block_slices", parts.slices))?;
    sqlx::query("INSERT INTO block_slices (block_hash, slices) VALUES ($1, $2)")
        .bind(block.to_string())
        .bind(slices)
        .execute(&mut *connection)
        .await?;
    let rows: Vec<_> = parts.accounts.iter().collect();
    for chunk in rows.chunks(ROWS_PER_INSERT) {
        let mut insert = QueryBuilder::<Db>::new("INSERT INTO block_slice_parts (block_hash, account, work, fees) ");
        insert.push_values(chunk, |mut row, (account, part)| {
            row.push_bind(block.to_string())
                .push_bind(account.get())
                .push_bind(part.work.to_decimal())
                .push_bind(part.fees.to_string());
        });
        insert.build().persistent(false).execute(&mut *connection).await?;
    }
    Ok(())
}

async fn slices_of(pool: &Pool, block: BlockHash) -> Result<Option<SliceParts>, StoreError> {
    let select = sqlx::query("SELECT slices FROM block_slices WHERE block_hash = $1").bind(block.to_string());
    let Some(row) = select.fetch_optional(pool).await? else { return Ok(None) };
    let mut parts = SliceParts { slices: number("block_slices", &row, "slices")?, accounts: BTreeMap::new() };
    let select = sqlx::query("SELECT account, work, fees FROM block_slice_parts WHERE block_hash = $1");
    for row in select.bind(block.to_string()).fetch_all(pool).await? {
        let work: String = row.try_get("work")?;
        let work = Work::from_decimal(&work).ok_or_else(|| corrupt("block_slice_parts", work))?;
        let part = SlicePart { work, fees: parsed("block_slice_parts", &row, "fees")? };
        parts.accounts.insert(AccountId::new(row.try_get("account")?), part);
    }
    Ok(Some(parts))
}

pub(super) async fn of_block(pool: &Pool, block: BlockHash) -> Result<Option<FrozenWindow>, StoreError> {
    let select = sqlx::query("SELECT * FROM block_windows WHERE block_hash = $1").bind(block.to_string());
    let Some(row) = select.fetch_optional(pool).await? else { return Ok(None) };
    let span = (ShareSeq::new(row.try_get("oldest")?), ShareSeq::new(row.try_get("newest")?));
    let edge = match row.try_get::<Option<i64>, _>("edge")? {
        Some(position) => Some(EdgeSegment {
            position: ShareSeq::new(position),
            weight: parsed("block_windows", &row, "edge_weight")?,
            counted: parsed("block_windows", &row, "edge_counted")?,
        }),
        None => None,
    };
    let select = sqlx::query("SELECT account, shares, weight FROM block_weights WHERE block_hash = $1");
    let mut accounts = BTreeMap::new();
    for row in select.bind(block.to_string()).fetch_all(pool).await? {
        let counted = Counted {
            shares: number("block_weights", &row, "shares")?,
            weight: parsed("block_weights", &row, "weight")?,
        };
        accounts.insert(AccountId::new(row.try_get("account")?), counted);
    }
    Ok(Some(FrozenWindow { span, edge, accounts, slices: slices_of(pool, block).await? }))
}
