//! When and from which balance on accounts are paid: their own thresholds, and the slots of the schedule.

use bitcoin::Amount;
use sqlx::{Executor, Row as _};

use super::{Connection, Db, Pool, corrupt, parsed, sat};
use crate::{
    account::AccountId,
    payout::{PayoutRun, Slot},
    store::StoreError,
};

pub(super) async fn threshold(pool: &Pool, account: AccountId) -> Result<Option<Amount>, StoreError> {
    let select = sqlx::query_scalar("SELECT threshold_sat FROM payout_thresholds WHERE account = $1");
    let threshold_sat: Option<Option<i64>> = select.bind(account.get()).fetch_optional(pool).await?;
    let amount = |sat: i64| u64::try_from(sat).map(Amount::from_sat).map_err(|_| corrupt("payout_thresholds", sat));
    threshold_sat.flatten().map(amount).transpose()
}

pub(super) async fn set_threshold(
    connection: &mut Connection,
    account: AccountId,
    threshold: Option<Amount>,
) -> Result<(), StoreError> {
    let insert = sqlx::query(
        "INSERT INTO payout_thresholds (account, threshold_sat) VALUES ($1, $2) \
         ON CONFLICT (account) DO UPDATE SET threshold_sat = excluded.threshold_sat",
    );
    insert.bind(account.get()).bind(threshold.map(sat)).execute(connection).await?;
    Ok(())
}

pub(super) async fn last_run(executor: impl Executor<'_, Database = Db>) -> Result<Option<PayoutRun>, StoreError> {
    let select = sqlx::query("SELECT * FROM payout_runs ORDER BY number DESC LIMIT 1");
    let Some(row) = select.fetch_optional(executor).await? else { return Ok(None) };
    Ok(Some(PayoutRun {
        schedule: parsed("payout_runs", &row, "schedule")?,
        slot: Slot { at_ms: row.try_get("slot_ms")? },
        at_ms: row.try_get("at_ms")?,
    }))
}

pub(super) async fn note_run(connection: &mut Connection, run: &PayoutRun) -> Result<(), StoreError> {
    let last = last_run(&mut *connection).await?;
    if last.is_some_and(|last| (last.schedule, last.slot) == (run.schedule, run.slot)) {
        return Ok(());
    }
    sqlx::query(
        "INSERT INTO payout_runs (number, schedule, slot_ms, at_ms) \
         SELECT COALESCE(MAX(number), 0) + 1, $1, $2, $3 FROM payout_runs",
    )
    .bind(run.schedule.to_string())
    .bind(run.slot.at_ms)
    .bind(run.at_ms)
    .execute(connection)
    .await?;
    Ok(())
}
