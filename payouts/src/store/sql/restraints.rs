//! The history of accounts that were not paid for a while.

use sqlx::Row as _;

use super::{Connection, Pool, SqlRow, corrupt, number};
use crate::{
    account::AccountId,
    ledger::EntrySeq,
    payout::{Restraint, RestraintAct, RestraintRow},
    store::StoreError,
};

pub(super) async fn insert(connection: &mut Connection, row: &RestraintRow) -> Result<(), StoreError> {
    sqlx::query(
        "INSERT INTO restraints (entry, account, restraint, number, act, reason, at_ms) \
         VALUES ($1, $2, $3, $4, $5, $6, $7)",
    )
    .bind(row.entry.get())
    .bind(row.account.get())
    .bind(row.restraint.as_str())
    .bind(i64::from(row.number))
    .bind(row.act.as_str())
    .bind(&row.reason)
    .bind(row.at_ms)
    .execute(connection)
    .await?;
    Ok(())
}

pub(super) async fn last(
    pool: &Pool,
    account: AccountId,
    restraint: Restraint,
) -> Result<Option<RestraintRow>, StoreError> {
    let select =
        sqlx::query("SELECT * FROM restraints WHERE account = $1 AND restraint = $2 ORDER BY number DESC LIMIT 1");
    let row = select.bind(account.get()).bind(restraint.as_str()).fetch_optional(pool).await?;
    row.as_ref().map(read).transpose()
}

pub(super) async fn in_force(pool: &Pool) -> Result<Vec<RestraintRow>, StoreError> {
    let select = sqlx::query(
        "SELECT * FROM restraints AS latest WHERE act <> 'ended' AND number = \
         (SELECT MAX(number) FROM restraints WHERE account = latest.account AND restraint = latest.restraint) \
         ORDER BY account, restraint",
    );
    select.fetch_all(pool).await?.iter().map(read).collect()
}

pub(super) async fn page(pool: &Pool, after: EntrySeq, limit: u32) -> Result<Vec<RestraintRow>, StoreError> {
    let select = sqlx::query("SELECT * FROM restraints WHERE entry > $1 ORDER BY entry LIMIT $2");
    select.bind(after.get()).bind(i64::from(limit)).fetch_all(pool).await?.iter().map(read).collect()
}

fn read(row: &SqlRow) -> Result<RestraintRow, StoreError> {
    let (restraint, act): (String, String) = (row.try_get("restraint")?, row.try_get("act")?);
    let known = Restraint::ALL.into_iter().find(|known| known.as_str() == restraint);
    let acts = [RestraintAct::Begun, RestraintAct::Swept, RestraintAct::Ended];
    let known_act = acts.into_iter().find(|known| known.as_str() == act);
    Ok(RestraintRow {
        entry: EntrySeq::new(row.try_get("entry")?),
        account: AccountId::new(row.try_get("account")?),
        restraint: known.ok_or_else(|| corrupt("restraints", restraint))?,
        number: number("restraints", row, "number")?,
        act: known_act.ok_or_else(|| corrupt("restraints", act))?,
        reason: row.try_get("reason")?,
        at_ms: row.try_get("at_ms")?,
    })
}
