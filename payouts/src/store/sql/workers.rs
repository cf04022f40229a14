//! The workers of accounts, and what they have done, as far as the share log is kept.

use std::{collections::BTreeMap, sync::Arc};

use sqlx::{QueryBuilder, Row as _};

use super::{
    Connection, Db, Pool, ROWS_PER_INSERT, number,
    shares::{before, difficulty},
};
use crate::{
    account::AccountId,
    share::{Work, WorkerTotals},
    store::StoreError,
};

/// Returns the numbers of workers, and gives one to each that has none. Nobody else does meanwhile, for there is one writer.
pub(super) async fn numbers(
    connection: &mut Connection,
    workers: &[(AccountId, Arc<str>)],
) -> Result<BTreeMap<(AccountId, Arc<str>), i64>, StoreError> {
    let mut numbers = BTreeMap::new();
    for chunk in workers.chunks(ROWS_PER_INSERT) {
        let mut insert = QueryBuilder::<Db>::new("INSERT INTO workers (account, name) SELECT column1, column2 FROM (");
        push_workers(&mut insert, chunk);
        insert.push(
            ") AS new WHERE NOT EXISTS (SELECT 1 FROM workers WHERE account = column1 AND name = column2) \
             ORDER BY column1, column2",
        );
        insert.build().persistent(false).execute(&mut *connection).await?;
        let mut select = QueryBuilder::<Db>::new("SELECT workers.id AS id, account, name FROM (");
        push_workers(&mut select, chunk);
        select.push(") AS new JOIN workers ON workers.account = column1 AND workers.name = column2");
        for row in select.build().persistent(false).fetch_all(&mut *connection).await? {
            let name: String = row.try_get("name")?;
            numbers.insert((AccountId::new(row.try_get("account")?), name.into()), row.try_get("id")?);
        }
    }
    Ok(numbers)
}

fn push_workers(query: &mut QueryBuilder<Db>, workers: &[(AccountId, Arc<str>)]) {
    query.push_values(workers, |mut row, (account, name)| {
        row.push_bind(account.get()).push_bind(name.to_string());
    });
}

pub(super) async fn totals(pool: &Pool, account: AccountId, since_ms: i64) -> Result<Vec<WorkerTotals>, StoreError> {
    let select = sqlx::query(
        "SELECT workers.name AS name, difficulty_log2, CAST(SUM(count) AS BIGINT) AS shares, \
         MIN(first_at_ms) AS first_at_ms, MAX(last_at_ms) AS last_at_ms \
         FROM shares JOIN workers ON workers.id = shares.worker \
         WHERE position > $1 AND last_at_ms >= $2 AND shares.account = $3 GROUP BY workers.name, difficulty_log2",
    );
    let select = select.bind(before(pool, since_ms).await?.get()).bind(since_ms).bind(account.get());
    // Databases disagree on how names are sorted.
    let mut by_name: BTreeMap<String, WorkerTotals> = BTreeMap::new();
    for row in select.fetch_all(pool).await? {
        let (worker, count): (String, u64) = (row.try_get("name")?, number("shares", &row, "shares")?);
        let (first_at_ms, last_at_ms): (i64, i64) = (row.try_get("first_at_ms")?, row.try_get("last_at_ms")?);
        let work = Work::of(difficulty(&row)?, count);
        let none = WorkerTotals { worker: worker.clone(), count: 0, work: Work::default(), first_at_ms, last_at_ms };
        let totals = by_name.entry(worker).or_insert(none);
        totals.count += count;
        totals.work = totals.work.plus(work);
        totals.first_at_ms = totals.first_at_ms.min(first_at_ms);
        totals.last_at_ms = totals.last_at_ms.max(last_at_ms);
    }
    Ok(by_name.into_values().collect())
}

pub(super) async fn kept_since(pool: &Pool) -> Result<Option<i64>, StoreError> {
    let oldest = "SELECT MIN(first_at_ms) FROM shares WHERE position = (SELECT MIN(position) FROM shares)";
    Ok(sqlx::query_scalar(oldest).fetch_one(pool).await?)
}
