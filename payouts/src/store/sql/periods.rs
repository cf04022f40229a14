//! Periods of work that the reserve pays for, and what the network's blocks paid.

use std::collections::BTreeMap;

use bitcoin::CompactTarget;
use sqlx::{QueryBuilder, Row as _};

use super::{Connection, Db, Pool, ROWS_PER_INSERT, SqlRow, amount, corrupt, number, parsed, sat};
use crate::{
    account::AccountId,
    crediting::{
        CreditedPeriod, NetworkBlockRow, Period, PeriodEarning, PeriodEnd, PeriodLot, PeriodNumber, PeriodState,
        PeriodWork,
    },
    ledger::EntrySeq,
    scheme::{
        network_fees::{FeeRatio, NetworkBlock},
        pps::Earned,
    },
    share::{ShareSeq, Work},
    store::StoreError,
};

pub(super) async fn save(connection: &mut Connection, period: &Period) -> Result<(), StoreError> {
    let end = period.end();
    sqlx::query(
        "INSERT INTO credit_periods (number, scheme, after_position, from_ms, upto_position, upto_ms) \
         VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT (number) DO UPDATE SET scheme = excluded.scheme, \
         after_position = excluded.after_position, from_ms = excluded.from_ms, \
         upto_position = excluded.upto_position, upto_ms = excluded.upto_ms WHERE credit_periods.entry IS NULL",
    )
    .bind(period.number.get())
    .bind(period.scheme.to_string())
    .bind(period.after.get())
    .bind(period.from_ms)
    .bind(end.map(|end| end.upto.get()))
    .bind(end.map(|end| end.at_ms))
    .execute(connection)
    .await?;
    Ok(())
}

/// Writes what a period came to, and takes its lots from the reserve's coins.
pub(super) async fn insert_credited(
    connection: &mut Connection,
    entry: EntrySeq,
    credited: &CreditedPeriod,
) -> Result<(), StoreError> {
    let CreditedPeriod { number, network_fees, work, earnings, lots } = credited;
    let number = number.get();
    let update = sqlx::query(
        "UPDATE credit_periods SET fees_sat = $1, subsidies_sat = $2, entry = $3 WHERE number = $4 AND entry IS NULL",
    );
    let (fees, subsidies) = (sat(network_fees.fees()), sat(network_fees.subsidies()));
    update.bind(fees).bind(subsidies).bind(entry.get()).bind(number).execute(&mut *connection).await?;
    for chunk in work.chunks(ROWS_PER_INSERT) {
        let mut insert =
            QueryBuilder::<Db>::new("INSERT INTO period_work (period, account, nbits, subsidy_sat, work) ");
        insert.push_values(chunk, |mut row, work| {
            row.push_bind(number)
                .push_bind(work.account.get())
                .push_bind(i64::from(work.nbits.to_consensus()))
                .push_bind(sat(work.subsidy))
                .push_bind(work.work.to_decimal());
        });
        insert.build().persistent(false).execute(&mut *connection).await?;
    }
    for chunk in earnings.chunks(ROWS_PER_INSERT) {
        let mut insert = QueryBuilder::<Db>::new(
            "INSERT INTO period_earnings (period, account, carried_in, earned_sat, carried_out) ",
        );
        insert.push_values(chunk, |mut row, earning| {
            row.push_bind(number)
                .push_bind(earning.account.get())
                .push_bind(earning.carried_in.to_string())
                .push_bind(sat(earning.earned))
                .push_bind(earning.carried_out.to_string());
        });
        insert.build().persistent(false).execute(&mut *connection).await?;
    }
    let mut taken: BTreeMap<i64, i64> = BTreeMap::new();
    for chunk in lots.chunks(ROWS_PER_INSERT) {
        let mut insert =
            QueryBuilder::<Db>::new("INSERT INTO period_lots (period, account, line, reserve_lot, sat, paid_sat) ");
        insert.push_values(chunk, |mut row, lot| {
            row.push_bind(number)
                .push_bind(lot.account.get())
                .push_bind(i64::from(lot.line))
                .push_bind(lot.reserve_lot)
                .push_bind(sat(lot.amount))
                .push_bind(sat(lot.paid));
        });
        insert.build().persistent(false).execute(&mut *connection).await?;
        for lot in chunk {
            *taken.entry(lot.reserve_lot).or_default() += sat(lot.amount);
        }
    }
    for (lot, sat) in taken {
        let update = sqlx::query("UPDATE reserve_lots SET taken_sat = taken_sat + $1 WHERE number = $2");
        update.bind(sat).bind(lot).execute(&mut *connection).await?;
    }
    Ok(())
}

pub(super) async fn by_number(pool: &Pool, number: PeriodNumber) -> Result<Option<Period>, StoreError> {
    let select = sqlx::query("SELECT * FROM credit_periods WHERE number = $1").bind(number.get());
    select.fetch_optional(pool).await?.as_ref().map(period).transpose()
}

pub(super) async fn last(pool: &Pool) -> Result<Option<Period>, StoreError> {
    let select = sqlx::query("SELECT * FROM credit_periods ORDER BY number DESC LIMIT 1");
    select.fetch_optional(pool).await?.as_ref().map(period).transpose()
}

pub(super) async fn uncredited(pool: &Pool) -> Result<Vec<Period>, StoreError> {
    let select = sqlx::query("SELECT * FROM credit_periods WHERE entry IS NULL ORDER BY number");
    select.fetch_all(pool).await?.iter().map(period).collect()
}

fn period(row: &SqlRow) -> Result<Period, StoreError> {
    const TABLE: &str = "credit_periods";
    let number = PeriodNumber::new(row.try_get("number")?);
    let upto: Option<i64> = row.try_get("upto_position")?;
    let entry: Option<i64> = row.try_get("entry")?;
    let state = match (upto, entry) {
        (None, _) => PeriodState::Open,
        (Some(upto), entry) => {
            let end = PeriodEnd { upto: ShareSeq::new(upto), at_ms: row.try_get("upto_ms")? };
            match entry {
                None => PeriodState::Closed(end),
                Some(entry) => {
                    let fees = FeeRatio::new(amount(TABLE, row, "fees_sat")?, amount(TABLE, row, "subsidies_sat")?);
                    let fees = fees.ok_or_else(|| corrupt(TABLE, number))?;
                    PeriodState::Credited(end, EntrySeq::new(entry), fees)
                }
            }
        }
    };
    Ok(Period {
        number,
        scheme: parsed(TABLE, row, "scheme")?,
        after: ShareSeq::new(row.try_get("after_position")?),
        from_ms: row.try_get("from_ms")?,
        state,
    })
}

pub(super) async fn carried(pool: &Pool) -> Result<BTreeMap<AccountId, Earned>, StoreError> {
    let select = sqlx::query(
        "SELECT account, carried_out FROM period_earnings AS newest WHERE period = \
         (SELECT MAX(period) FROM period_earnings WHERE account = newest.account)",
    );
    let rows = select.fetch_all(pool).await?;
    let read = |row: &SqlRow| {
        Ok((AccountId::new(row.try_get("account")?), parsed::<Earned>("period_earnings", row, "carried_out")?))
    };
    let carried: Result<BTreeMap<_, _>, StoreError> = rows.iter().map(read).collect();
    carried.map(|mut carried| {
        carried.retain(|_, fraction| *fraction != Earned::default());
        carried
    })
}

pub(super) async fn work(pool: &Pool, period: PeriodNumber, account: AccountId) -> Result<Vec<PeriodWork>, StoreError> {
    let select =
        sqlx::query("SELECT * FROM period_work WHERE period = $1 AND account = $2 ORDER BY subsidy_sat DESC, nbits");
    let rows = select.bind(period.get()).bind(account.get()).fetch_all(pool).await?;
    let read = |row: &SqlRow| {
        let work: String = row.try_get("work")?;
        Ok(PeriodWork {
            account,
            nbits: CompactTarget::from_consensus(number("period_work", row, "nbits")?),
            subsidy: amount("period_work", row, "subsidy_sat")?,
            work: Work::from_decimal(&work).ok_or_else(|| corrupt("period_work", work))?,
        })
    };
    rows.iter().map(read).collect()
}

pub(super) async fn earnings(pool: &Pool, period: PeriodNumber) -> Result<Vec<PeriodEarning>, StoreError> {
    let select = sqlx::query("SELECT * FROM period_earnings WHERE period = $1 ORDER BY account");
    let rows = select.bind(period.get()).fetch_all(pool).await?;
    let read = |row: &SqlRow| {
        Ok(PeriodEarning {
            account: AccountId::new(row.try_get("account")?),
            carried_in: parsed("period_earnings", row, "carried_in")?,
            earned: amount("period_earnings", row, "earned_sat")?,
            carried_out: parsed("period_earnings", row, "carried_out")?,
        })
    };
    rows.iter().map(read).collect()
}

pub(super) async fn lots(pool: &Pool, period: PeriodNumber) -> Result<Vec<PeriodLot>, StoreError> {
    let select = sqlx::query("SELECT * FROM period_lots WHERE period = $1 ORDER BY account, line");
    let rows = select.bind(period.get()).fetch_all(pool).await?;
    let read = |row: &SqlRow| {
        Ok(PeriodLot {
            account: AccountId::new(row.try_get("account")?),
            line: number("period_lots", row, "line")?,
            reserve_lot: row.try_get("reserve_lot")?,
            amount: amount("period_lots", row, "sat")?,
            paid: amount("period_lots", row, "paid_sat")?,
        })
    };
    rows.iter().map(read).collect()
}

pub(super) async fn save_network_block(connection: &mut Connection, row: &NetworkBlockRow) -> Result<(), StoreError> {
    let NetworkBlockRow { height, hash, median_time_s, block } = row;
    sqlx::query(
        "INSERT INTO network_blocks (height, hash, time_s, median_time_s, subsidy_sat, fees_sat) \
         VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT (height) DO NOTHING",
    )
    .bind(i64::from(*height))
    .bind(hash.to_string())
    .bind(block.time_s)
    .bind(*median_time_s)
    .bind(sat(block.subsidy))
    .bind(sat(block.fees))
    .execute(connection)
    .await?;
    Ok(())
}

pub(super) async fn network_block(pool: &Pool, height: u32) -> Result<Option<NetworkBlockRow>, StoreError> {
    const TABLE: &str = "network_blocks";
    let select = sqlx::query("SELECT * FROM network_blocks WHERE height = $1").bind(i64::from(height));
    let Some(row) = select.fetch_optional(pool).await? else { return Ok(None) };
    let block = NetworkBlock {
        time_s: row.try_get("time_s")?,
        subsidy: amount(TABLE, &row, "subsidy_sat")?,
        fees: amount(TABLE, &row, "fees_sat")?,
    };
    let (hash, median_time_s) = (parsed(TABLE, &row, "hash")?, row.try_get("median_time_s")?);
    Ok(Some(NetworkBlockRow { height, hash, median_time_s, block }))
}
