//! The export register.

use std::collections::HashMap;

use bitcoin::{OutPoint, ScriptBuf};
use sqlx::{QueryBuilder, Row as _};

use super::{Connection, Db, Pool, SqlRow, amount, batches, blocks, number, parsed, sat};
use crate::{
    account::AccountId,
    export::{
        Lot, LotCredit,
        register::{ExportRecord, RegisterHead, RegisterRow, RowSeq},
    },
    ledger::EntrySeq,
    store::StoreError,
};

pub(super) async fn head(pool: &Pool) -> Result<RegisterHead, StoreError> {
    let row = sqlx::query("SELECT seq, hash FROM export_rows ORDER BY seq DESC LIMIT 1").fetch_optional(pool).await?;
    match row {
        None => Ok(RegisterHead::EMPTY),
        Some(row) => {
            Ok(RegisterHead { seq: RowSeq::new(row.try_get("seq")?), hash: parsed("export_rows", &row, "hash")? })
        }
    }
}

pub(super) async fn insert(connection: &mut Connection, row: &RegisterRow) -> Result<(), StoreError> {
    let RegisterRow { record, .. } = row;
    let (txid, vout) = (record.delivery.txid.to_string(), record.delivery.vout);
    let new = sqlx::query(
        "INSERT INTO export_records (txid, vout, sat, account, address, script_pubkey) VALUES ($1, $2, $3, $4, $5, $6) \
         ON CONFLICT (txid, vout) DO NOTHING",
    )
    .bind(&txid)
    .bind(i64::from(vout))
    .bind(sat(record.amount))
    .bind(record.account.get())
    .bind(&record.address)
    .bind(record.script_pubkey.as_bytes())
    .execute(&mut *connection)
    .await?;
    if new.rows_affected() == 1 {
        for (line, lot) in (0i64..).zip(&record.lots) {
            let period = match lot.credit {
                LotCredit::Block | LotCredit::Fee => None,
                LotCredit::Period { number, line } => Some((number, line)),
            };
            sqlx::query(
                "INSERT INTO export_lots (txid, vout, line, coinbase_txid, coinbase_vout, block_hash, sat, period, \
                 period_line, of_fee) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)",
            )
            .bind(&txid)
            .bind(i64::from(vout))
            .bind(line)
            .bind(lot.coinbase.txid.to_string())
            .bind(i64::from(lot.coinbase.vout))
            .bind(lot.block.to_string())
            .bind(sat(lot.amount))
            .bind(period.map(|(number, _)| number.get()))
            .bind(period.map(|(_, line)| i64::from(line)))
            .bind(i64::from(lot.credit == LotCredit::Fee))
            .execute(&mut *connection)
            .await?;
        }
    }
    sqlx::query(
        "INSERT INTO export_rows (seq, txid, vout, state, block_hash, block_height, block_time_s, entry, entry_hash, \
         previous, hash) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)",
    )
    .bind(row.seq.get())
    .bind(&txid)
    .bind(i64::from(vout))
    .bind(row.state.as_str())
    .bind(row.block.hash.to_string())
    .bind(i64::from(row.block.height))
    .bind(row.block.time)
    .bind(row.entry.get())
    .bind(row.entry_hash.to_string())
    .bind(row.previous.to_string())
    .bind(row.hash.to_string())
    .execute(connection)
    .await?;
    Ok(())
}

pub(super) async fn page(pool: &Pool, after: RowSeq, limit: u32) -> Result<Vec<RegisterRow>, StoreError> {
    let select = sqlx::query(
        "SELECT * FROM export_rows JOIN export_records USING (txid, vout) WHERE seq > $1 ORDER BY seq LIMIT $2",
    );
    let rows = select.bind(after.get()).bind(i64::from(limit)).fetch_all(pool).await?;
    let mut lots = lots(pool, after, limit).await?;
    let read = |row: &SqlRow| {
        let seq = RowSeq::new(row.try_get("seq")?);
        register_row(row, lots.remove(&seq).unwrap_or_default())
    };
    rows.iter().map(read).collect()
}

pub(super) async fn of_output(pool: &Pool, delivery: OutPoint) -> Result<Vec<RegisterRow>, StoreError> {
    let (txid, vout) = (delivery.txid.to_string(), i64::from(delivery.vout));
    let select = sqlx::query("SELECT * FROM export_lots WHERE txid = $1 AND vout = $2 ORDER BY line");
    let lots = select.bind(&txid).bind(vout).fetch_all(pool).await?;
    let lots: Vec<Lot> = lots.iter().map(|row| blocks::lot("export_lots", row)).collect::<Result<_, _>>()?;
    let select = sqlx::query(
        "SELECT * FROM export_rows JOIN export_records USING (txid, vout) WHERE txid = $1 AND vout = $2 ORDER BY seq",
    );
    let rows = select.bind(&txid).bind(vout).fetch_all(pool).await?;
    rows.iter().map(|row| register_row(row, lots.clone())).collect()
}

fn register_row(row: &SqlRow, lots: Vec<Lot>) -> Result<RegisterRow, StoreError> {
    let delivery = OutPoint::new(parsed("export_rows", row, "txid")?, number("export_rows", row, "vout")?);
    let record = ExportRecord {
        delivery,
        amount: amount("export_records", row, "sat")?,
        account: AccountId::new(row.try_get("account")?),
        address: row.try_get("address")?,
        script_pubkey: ScriptBuf::from_bytes(row.try_get("script_pubkey")?),
        lots,
    };
    Ok(RegisterRow {
        seq: RowSeq::new(row.try_get("seq")?),
        record,
        state: parsed("export_rows", row, "state")?,
        block: batches::confirmation("export_rows", row)?,
        entry: EntrySeq::new(row.try_get("entry")?),
        entry_hash: parsed("export_rows", row, "entry_hash")?,
        previous: parsed("export_rows", row, "previous")?,
        hash: parsed("export_rows", row, "hash")?,
    })
}

/// Returns rows that were found by whatever was asked, with their lots.
pub(super) async fn with_lots(pool: &Pool, rows: &[SqlRow]) -> Result<Vec<RegisterRow>, StoreError> {
    if rows.is_empty() {
        return Ok(Vec::new());
    }
    let mut select = QueryBuilder::<Db>::new(
        "SELECT seq, export_lots.* FROM export_rows JOIN export_lots USING (txid, vout) WHERE seq IN (",
    );
    let mut list = select.separated(", ");
    for row in rows {
        list.push_bind(row.try_get::<i64, _>("seq")?);
    }
    select.push(") ORDER BY seq, line");
    let found = select.build().persistent(false).fetch_all(pool).await?;
    let mut lots = by_row(&found)?;
    rows.iter()
        .map(|row| register_row(row, lots.remove(&RowSeq::new(row.try_get("seq")?)).unwrap_or_default()))
        .collect()
}

/// Returns the lots behind each row of a page.
async fn lots(pool: &Pool, after: RowSeq, limit: u32) -> Result<HashMap<RowSeq, Vec<Lot>>, StoreError> {
    let select = sqlx::query(
        "SELECT page.seq AS seq, export_lots.* FROM (SELECT seq, txid, vout FROM export_rows WHERE seq > $1 \
         ORDER BY seq LIMIT $2) AS page JOIN export_lots USING (txid, vout) ORDER BY page.seq, line",
    );
    by_row(&select.bind(after.get()).bind(i64::from(limit)).fetch_all(pool).await?)
}

fn by_row(found: &[SqlRow]) -> Result<HashMap<RowSeq, Vec<Lot>>, StoreError> {
    let mut lots: HashMap<_, Vec<_>> = HashMap::new();
    for row in found {
        lots.entry(RowSeq::new(row.try_get("seq")?)).or_default().push(blocks::lot("export_lots", row)?);
    }
    Ok(lots)
}
