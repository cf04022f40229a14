//! What is on record about batches.

use sqlx::Row as _;

use super::{Connection, Pool, SqlRow, corrupt};
use crate::{
    payout::{BatchEvent, BatchEventKind, BatchId},
    store::StoreError,
};

/// Puts an event on record once, and gives an approval its effect.
pub(super) async fn note(connection: &mut Connection, batch: BatchId, event: &BatchEvent) -> Result<(), StoreError> {
    let seen: Option<i64> = sqlx::query_scalar("SELECT number FROM batch_events WHERE batch = $1 AND kind = $2")
        .bind(batch.get())
        .bind(event.kind.as_str())
        .fetch_optional(&mut *connection)
        .await?;
    if seen.is_some() {
        return Ok(());
    }
    if event.kind == BatchEventKind::Approved {
        let update = sqlx::query(
            "UPDATE batches SET approval = 'given' WHERE id = $1 AND approval = 'awaited' AND state = 'open'",
        );
        if update.bind(batch.get()).execute(&mut *connection).await?.rows_affected() == 0 {
            return Ok(());
        }
    }
    insert(connection, batch, event).await
}

pub(super) async fn insert(connection: &mut Connection, batch: BatchId, event: &BatchEvent) -> Result<(), StoreError> {
    sqlx::query(
        "INSERT INTO batch_events (batch, number, kind, at_ms, note) \
         SELECT $1, COALESCE(MAX(number), 0) + 1, $2, $3, $4 FROM batch_events WHERE batch = $1",
    )
    .bind(batch.get())
    .bind(event.kind.as_str())
    .bind(event.at_ms)
    .bind(&event.note)
    .execute(connection)
    .await?;
    Ok(())
}

/// Returns the events of a batch, oldest first.
pub(super) async fn of(pool: &Pool, batch: BatchId) -> Result<Vec<BatchEvent>, StoreError> {
    let select = sqlx::query("SELECT kind, at_ms, note FROM batch_events WHERE batch = $1 ORDER BY number");
    select.bind(batch.get()).fetch_all(pool).await?.iter().map(event).collect()
}

fn event(row: &SqlRow) -> Result<BatchEvent, StoreError> {
    let kind: String = row.try_get("kind")?;
    let known = BatchEventKind::ALL.into_iter().find(|known| known.as_str() == kind);
    Ok(BatchEvent {
        kind: known.ok_or_else(|| corrupt("batch_events", kind))?,
        at_ms: row.try_get("at_ms")?,
        note: row.try_get("note")?,
    })
}
