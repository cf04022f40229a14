//! Found blocks and their credits.

use bitcoin::{BlockHash, CompactTarget, OutPoint};
use sqlx::{QueryBuilder, Row as _};

use super::{Connection, Db, Pool, ROWS_PER_INSERT, SqlRow, amount, corrupt, number, parsed, sat};
use crate::{
    account::AccountId,
    books::{BlockCredit, BlockPhase, BlockRecord, BlockState, FoundBlock},
    crediting::PeriodNumber,
    export::{Lot, LotCredit},
    share::ShareSeq,
    store::StoreError,
};

const PHASES: [(BlockPhase, &str); 3] =
    [(BlockPhase::Immature, "immature"), (BlockPhase::Matured, "matured"), (BlockPhase::Orphaned, "orphaned")];

pub(super) async fn insert(
    connection: &mut Connection,
    block: &BlockRecord,
    credits: &[BlockCredit],
) -> Result<(), StoreError> {
    let BlockRecord { found, fee, reserve, rule, state } = block;
    sqlx::query(
        "INSERT INTO blocks (hash, height, coinbase_txid, coinbase_vout, value_sat, subsidy_sat, finder, \
         share_position, found_at_ms, fee_sat, phase, epoch, nbits, rule, reserve_sat, direct) \
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16)",
    )
    .bind(found.hash.to_string())
    .bind(i64::from(found.height))
    .bind(found.coinbase.txid.to_string())
    .bind(i64::from(found.coinbase.vout))
    .bind(sat(found.value))
    .bind(sat(found.subsidy))
    .bind(found.finder.get())
    .bind(found.share_position.get())
    .bind(found.found_at_ms)
    .bind(sat(*fee))
    .bind(phase_text(state.phase))
    .bind(i64::from(state.epoch))
    .bind(i64::from(found.nbits.to_consensus()))
    .bind(rule.map(|rule| rule.to_string()))
    .bind(sat(*reserve))
    .bind(found.direct.to_string())
    .execute(&mut *connection)
    .await?;
    for chunk in credits.chunks(ROWS_PER_INSERT) {
        let mut insert = QueryBuilder::<Db>::new("INSERT INTO credits (block_hash, account, sat, paid_sat) ");
        insert.push_values(chunk, |mut row, credit| {
            row.push_bind(found.hash.to_string())
                .push_bind(credit.account.get())
                .push_bind(sat(credit.amount))
                .push_bind(sat(credit.paid));
        });
        insert.build().persistent(false).execute(&mut *connection).await?;
    }
    Ok(())
}

pub(super) async fn set_state(
    connection: &mut Connection,
    hash: BlockHash,
    state: BlockState,
) -> Result<(), StoreError> {
    sqlx::query("UPDATE blocks SET phase = $1, epoch = $2 WHERE hash = $3")
        .bind(phase_text(state.phase))
        .bind(i64::from(state.epoch))
        .bind(hash.to_string())
        .execute(connection)
        .await?;
    Ok(())
}

/// Adds to what was paid of a credit; an account without a credit has nothing to add to.
pub(super) async fn add_paid(
    connection: &mut Connection,
    block: BlockHash,
    account: AccountId,
    sat: i64,
) -> Result<(), StoreError> {
    sqlx::query("UPDATE credits SET paid_sat = paid_sat + $1 WHERE block_hash = $2 AND account = $3")
        .bind(sat)
        .bind(block.to_string())
        .bind(account.get())
        .execute(connection)
        .await?;
    Ok(())
}

pub(super) async fn by_hash(pool: &Pool, hash: BlockHash) -> Result<Option<BlockRecord>, StoreError> {
    let select = sqlx::query("SELECT * FROM blocks WHERE hash = $1").bind(hash.to_string());
    select.fetch_optional(pool).await?.as_ref().map(block).transpose()
}

pub(super) async fn newest(pool: &Pool, limit: u32) -> Result<Vec<BlockRecord>, StoreError> {
    let select = sqlx::query("SELECT * FROM blocks ORDER BY height DESC, hash LIMIT $1").bind(i64::from(limit));
    select.fetch_all(pool).await?.iter().map(block).collect()
}

pub(super) async fn to_watch(pool: &Pool, height: u32) -> Result<Vec<BlockRecord>, StoreError> {
    let select = sqlx::query("SELECT * FROM blocks WHERE phase = 'immature' OR height >= $1 ORDER BY height, hash");
    select.bind(i64::from(height)).fetch_all(pool).await?.iter().map(block).collect()
}

pub(super) async fn credits(pool: &Pool, hash: BlockHash) -> Result<Vec<BlockCredit>, StoreError> {
    let select = sqlx::query("SELECT account, sat, paid_sat FROM credits WHERE block_hash = $1 ORDER BY account");
    let rows = select.bind(hash.to_string()).fetch_all(pool).await?;
    let credit = |row: &SqlRow| {
        Ok(BlockCredit {
            account: AccountId::new(row.try_get("account")?),
            amount: amount("credits", row, "sat")?,
            paid: amount("credits", row, "paid_sat")?,
        })
    };
    rows.iter().map(credit).collect()
}

pub(super) async fn unpaid_lots(pool: &Pool, account: AccountId) -> Result<Vec<Lot>, StoreError> {
    let select = sqlx::query(
        "SELECT found_at_ms AS at_ms, height AS place, blocks.hash AS block_hash, coinbase_txid, coinbase_vout, \
         sat - paid_sat AS sat, CAST(NULL AS BIGINT) AS period, CAST(NULL AS BIGINT) AS period_line, \
         CAST(0 AS BIGINT) AS of_fee \
         FROM credits JOIN blocks ON blocks.hash = credits.block_hash \
         WHERE account = $1 AND paid_sat < sat AND phase = 'matured' \
         UNION ALL \
         SELECT upto_ms, period, block_hash, txid, vout, period_lots.sat - paid_sat, period, line, 0 \
         FROM period_lots JOIN credit_periods ON credit_periods.number = period \
         JOIN reserve_lots ON reserve_lots.number = reserve_lot \
         WHERE account = $1 AND paid_sat < period_lots.sat \
         ORDER BY at_ms, place, period_line, block_hash",
    );
    let rows = select.bind(account.get()).fetch_all(pool).await?;
    rows.iter().map(|row| lot("credits", row)).collect()
}

/// Reads a lot from a row with the columns that every query for lots has.
pub(super) fn lot(table: &'static str, row: &SqlRow) -> Result<Lot, StoreError> {
    let credit = match (row.try_get::<Option<i64>, _>("period")?, row.try_get::<i64, _>("of_fee")?) {
        (None, 0) => LotCredit::Block,
        (None, _) => LotCredit::Fee,
        (Some(period), _) => {
            LotCredit::Period { number: PeriodNumber::new(period), line: number(table, row, "period_line")? }
        }
    };
    Ok(Lot {
        coinbase: OutPoint::new(parsed(table, row, "coinbase_txid")?, number(table, row, "coinbase_vout")?),
        block: parsed(table, row, "block_hash")?,
        amount: amount(table, row, "sat")?,
        credit,
    })
}

pub(super) fn block(row: &SqlRow) -> Result<BlockRecord, StoreError> {
    let found = FoundBlock {
        hash: parsed("blocks", row, "hash")?,
        height: number("blocks", row, "height")?,
        coinbase: OutPoint::new(parsed("blocks", row, "coinbase_txid")?, number("blocks", row, "coinbase_vout")?),
        value: amount("blocks", row, "value_sat")?,
        subsidy: amount("blocks", row, "subsidy_sat")?,
        finder: AccountId::new(row.try_get("finder")?),
        share_position: ShareSeq::new(row.try_get("share_position")?),
        nbits: CompactTarget::from_consensus(number("blocks", row, "nbits")?),
        found_at_ms: row.try_get("found_at_ms")?,
        direct: parsed("blocks", row, "direct")?,
    };
    let state = BlockState { phase: phase(row)?, epoch: number("blocks", row, "epoch")? };
    let rule: Option<String> = row.try_get("rule")?;
    let rule = rule.map(|rule| rule.parse().map_err(|_| corrupt("blocks", &rule))).transpose()?;
    let (fee, reserve) = (amount("blocks", row, "fee_sat")?, amount("blocks", row, "reserve_sat")?);
    Ok(BlockRecord { found, fee, reserve, rule, state })
}

pub(super) fn phase(row: &SqlRow) -> Result<BlockPhase, StoreError> {
    let phase: String = row.try_get("phase")?;
    let known = PHASES.iter().find(|(_, text)| *text == phase);
    Ok(known.ok_or_else(|| corrupt("blocks", &phase))?.0)
}

fn phase_text(phase: BlockPhase) -> &'static str {
    PHASES.iter().find(|(known, _)| *known == phase).expect("every phase is listed").1
}
