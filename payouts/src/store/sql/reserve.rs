//! The coins behind the reserve, and deposits.

use bitcoin::{Amount, OutPoint};
use sqlx::Row as _;

use super::{Connection, Pool, SqlRow, amount, number, parsed, sat};
use crate::{
    crediting::ReserveLot,
    deposits::{ChainDeposit, Deposit},
    export::Lot,
    ledger::EntrySeq,
    reserve::{PoolMoney, Recipient},
    store::StoreError,
};

/// Puts a coin at the end of the reserve's line.
async fn append(connection: &mut Connection, source: &str, lot: &Lot) -> Result<(), StoreError> {
    sqlx::query(
        "INSERT INTO reserve_lots (number, source, txid, vout, block_hash, sat, taken_sat, is_void) \
         SELECT COALESCE(MAX(number), 0) + 1, $1, $2, $3, $4, $5, 0, 0 FROM reserve_lots",
    )
    .bind(source)
    .bind(lot.coinbase.txid.to_string())
    .bind(i64::from(lot.coinbase.vout))
    .bind(lot.block.to_string())
    .bind(sat(lot.amount))
    .execute(connection)
    .await?;
    Ok(())
}

pub(super) async fn set_block(connection: &mut Connection, lot: &Lot, is_void: bool) -> Result<(), StoreError> {
    let update = sqlx::query(
        "UPDATE reserve_lots SET is_void = $1 WHERE source = 'block' AND txid = $2 AND vout = $3 AND block_hash = $4",
    );
    let updated = update
        .bind(i64::from(is_void))
        .bind(lot.coinbase.txid.to_string())
        .bind(i64::from(lot.coinbase.vout))
        .bind(lot.block.to_string())
        .execute(&mut *connection)
        .await?;
    if updated.rows_affected() == 0 && !is_void {
        append(connection, "block", lot).await?;
    }
    Ok(())
}

pub(super) async fn give(
    connection: &mut Connection,
    from: PoolMoney,
    to: Recipient,
    lots: &[Lot],
) -> Result<(), StoreError> {
    for lot in lots {
        let given = match (from, to) {
            (PoolMoney::Fee, _) => None,
            (PoolMoney::Deposits, Recipient::Reserve) => Some("reserve_sat = reserve_sat"),
            (PoolMoney::Deposits, Recipient::Fee) => Some("fee_sat = fee_sat"),
        };
        if let Some(given) = given {
            let update = format!("UPDATE deposits SET {given} + $1 WHERE txid = $2 AND vout = $3");
            sqlx::query(sqlx::AssertSqlSafe(update))
                .bind(sat(lot.amount))
                .bind(lot.coinbase.txid.to_string())
                .bind(i64::from(lot.coinbase.vout))
                .execute(&mut *connection)
                .await?;
        }
        if to == Recipient::Reserve {
            let source = match from {
                PoolMoney::Fee => "fee",
                PoolMoney::Deposits => "deposit",
            };
            append(connection, source, lot).await?;
        }
    }
    Ok(())
}

pub(super) async fn lots(pool: &Pool) -> Result<Vec<ReserveLot>, StoreError> {
    let select = sqlx::query(
        "SELECT number, txid AS coinbase_txid, vout AS coinbase_vout, block_hash, sat - taken_sat AS sat \
         FROM reserve_lots WHERE is_void = 0 AND taken_sat < sat ORDER BY number",
    );
    let rows = select.fetch_all(pool).await?;
    let read = |row: &SqlRow| Ok(ReserveLot { number: row.try_get("number")?, lot: coin("reserve_lots", row)? });
    rows.iter().map(read).collect()
}

pub(super) async fn pool_coins(pool: &Pool, from: PoolMoney) -> Result<Vec<Lot>, StoreError> {
    let select = match from {
        // What a block or a deposit brought to the fee, less what the fee gave to the reserve and what of it was sold.
        PoolMoney::Fee => sqlx::query(
            "WITH gone AS (SELECT txid, vout, CAST(SUM(sat) AS BIGINT) AS sat FROM \
             (SELECT txid, vout, sat FROM reserve_lots WHERE source = 'fee' \
             UNION ALL \
             SELECT coinbase_txid, coinbase_vout, sat FROM batch_fee_lots JOIN batches ON batches.id = batch \
             WHERE state NOT IN ('cancelled', 'replaced')) AS pieces GROUP BY txid, vout) \
             SELECT 0 AS source, height AS place, hash AS block_hash, coinbase_txid, coinbase_vout, \
             fee_sat - COALESCE(gone.sat, 0) AS sat FROM blocks \
             LEFT JOIN gone ON gone.txid = coinbase_txid AND gone.vout = coinbase_vout \
             WHERE phase = 'matured' AND fee_sat > COALESCE(gone.sat, 0) \
             UNION ALL \
             SELECT 1, booked_seq, block_hash, deposits.txid, deposits.vout, fee_sat - COALESCE(gone.sat, 0) \
             FROM deposits LEFT JOIN gone ON gone.txid = deposits.txid AND gone.vout = deposits.vout \
             WHERE state = 'booked' AND fee_sat > COALESCE(gone.sat, 0) \
             ORDER BY source, place, block_hash, coinbase_vout",
        ),
        PoolMoney::Deposits => sqlx::query(
            "SELECT txid AS coinbase_txid, vout AS coinbase_vout, block_hash, sat - reserve_sat - fee_sat AS sat \
             FROM deposits WHERE state = 'booked' AND sat > reserve_sat + fee_sat ORDER BY booked_seq",
        ),
    };
    select.fetch_all(pool).await?.iter().map(|row| coin("reserve_lots", row)).collect()
}

/// Reads a whole coin, or what is left of it.
fn coin(table: &'static str, row: &SqlRow) -> Result<Lot, StoreError> {
    let output = OutPoint::new(parsed(table, row, "coinbase_txid")?, number(table, row, "coinbase_vout")?);
    Ok(Lot::of_block(parsed(table, row, "block_hash")?, output, amount(table, row, "sat")?))
}

pub(super) async fn save_deposit(
    connection: &mut Connection,
    entry: EntrySeq,
    deposit: &Deposit,
) -> Result<(), StoreError> {
    let ChainDeposit { outpoint, amount, block } = deposit.seen;
    sqlx::query(
        "INSERT INTO deposits (txid, vout, sat, block_hash, epoch, state, reserve_sat, fee_sat, booked_seq) \
         VALUES ($1, $2, $3, $4, $5, $6, 0, 0, $7) ON CONFLICT (txid, vout) DO UPDATE SET \
         block_hash = excluded.block_hash, epoch = excluded.epoch, state = excluded.state",
    )
    .bind(outpoint.txid.to_string())
    .bind(i64::from(outpoint.vout))
    .bind(sat(amount))
    .bind(block.to_string())
    .bind(i64::from(deposit.epoch))
    .bind(if deposit.is_booked { "booked" } else { "gone" })
    .bind(entry.get())
    .execute(connection)
    .await?;
    Ok(())
}

pub(super) async fn deposits(pool: &Pool) -> Result<Vec<Deposit>, StoreError> {
    const TABLE: &str = "deposits";
    let read = |row: &SqlRow| {
        let seen = ChainDeposit {
            outpoint: OutPoint::new(parsed(TABLE, row, "txid")?, number(TABLE, row, "vout")?),
            amount: amount(TABLE, row, "sat")?,
            block: parsed(TABLE, row, "block_hash")?,
        };
        let (reserve, fee): (Amount, Amount) = (amount(TABLE, row, "reserve_sat")?, amount(TABLE, row, "fee_sat")?);
        let state: String = row.try_get("state")?;
        Ok(Deposit { seen, is_booked: state == "booked", epoch: number(TABLE, row, "epoch")?, given: reserve + fee })
    };
    sqlx::query("SELECT * FROM deposits ORDER BY booked_seq").fetch_all(pool).await?.iter().map(read).collect()
}
