//! The past of the pool, for charts.

use std::iter::successors;

use async_trait::async_trait;
use bitcoin::{BlockHash, CompactTarget};
use sqlx::{AssertSqlSafe, QueryBuilder, Row as _};

use super::{
    Backend, Connection, Db, ROWS_PER_INSERT, SqlRow, begin, corrupt, in_time, number, parsed, shares::difficulty,
};
use crate::{
    account::AccountId,
    crash_point,
    history::{
        BlockWork, Past, PeakRow, Peaks, Progress, RefusedRow, Resolution, Seen, Stretch, Subject, WorkRow, WorkerId,
        WorkerShares,
    },
    share::{ShareSeq, Work},
    store::{HistoryStep, HistoryStore, StoreError},
};

/// Most stretches that are read at once: of each resolution fewer are shown.
const MAX_STRETCHES: usize = 512;
/// What is kept by stretches.
const TABLES: [&str; 3] = ["history_work", "history_refused", "history_peaks"];

#[async_trait]
impl HistoryStore for Backend {
    async fn history_progress(&self) -> Result<Option<Progress>, StoreError> {
        let select = sqlx::query("SELECT * FROM history_progress");
        select.fetch_optional(&self.readers).await?.as_ref().map(progress).transpose()
    }

    async fn shares_by_worker(
        &self,
        after: ShareSeq,
        upto: ShareSeq,
        worker: WorkerId,
    ) -> Result<Vec<WorkerShares>, StoreError> {
        let select = sqlx::query(
            "SELECT worker, account, difficulty_log2, count, last_at_ms FROM shares \
             WHERE position > $1 AND position <= $2 AND worker > $3 ORDER BY worker",
        );
        let rows = select.bind(after.get()).bind(upto.get()).bind(worker.get()).fetch_all(&self.readers).await?;
        rows.iter().map(worker_shares).collect()
    }

    async fn all_work_between(&self, after: ShareSeq, upto: ShareSeq) -> Result<Work, StoreError> {
        let select = sqlx::query(
            "SELECT difficulty_log2, CAST(SUM(count) AS BIGINT) AS total FROM shares \
             WHERE position > $1 AND position <= $2 GROUP BY difficulty_log2",
        );
        let rows = select.bind(after.get()).bind(upto.get()).fetch_all(&self.readers).await?;
        rows.iter().try_fold(Work::default(), |work, row| {
            Ok(work.plus(Work::of(difficulty(row)?, number("shares", row, "total")?)))
        })
    }

    async fn step_history(&self, step: &HistoryStep) -> Result<bool, StoreError> {
        in_time(async {
            let mut session = self.session().await?;
            let mut transaction = begin(&mut session).await?;
            if !advance(&mut transaction, step.from.as_ref(), &step.to).await? {
                transaction.rollback().await?;
                return Ok(false);
            }
            add_work(&mut transaction, &step.rows).await?;
            note_seen(&mut transaction, &step.seen).await?;
            crash_point::reach(format_args!("before step history"));
            transaction.commit().await?;
            crash_point::reach(format_args!("after step history"));
            Ok(true)
        })
        .await
    }

    async fn add_to_history(&self, refused: &[RefusedRow], peaks: &[PeakRow]) -> Result<(), StoreError> {
        in_time(async {
            let mut session = self.session().await?;
            let mut transaction = begin(&mut session).await?;
            add_refused(&mut transaction, refused).await?;
            raise_peaks(&mut transaction, peaks).await?;
            Ok(transaction.commit().await?)
        })
        .await
    }

    async fn prune_history(&self, resolution: Resolution, before_ms: i64) -> Result<u64, StoreError> {
        in_time(async {
            let mut session = self.session().await?;
            let mut transaction = begin(&mut session).await?;
            let mut deleted = 0;
            for table in TABLES {
                let delete = format!(
                    "DELETE FROM {table} WHERE step_s = $1 AND begins_at_ms = ( \
                         SELECT MIN(begins_at_ms) FROM {table} WHERE step_s = $1 AND begins_at_ms < $2)"
                );
                let delete = sqlx::query(AssertSqlSafe(delete)).bind(step_s(resolution)).bind(before_ms);
                deleted += delete.execute(&mut *transaction).await?.rows_affected();
            }
            transaction.commit().await?;
            Ok(deleted)
        })
        .await
    }

    async fn past(
        &self,
        subject: Subject,
        resolution: Resolution,
        from_ms: i64,
        to_ms: i64,
    ) -> Result<Past, StoreError> {
        let stretches = stretches(resolution, from_ms, to_ms);
        if stretches.is_empty() {
            return Ok(Past::default());
        }
        let rows = async |columns: &str| -> Result<Vec<SqlRow>, StoreError> {
            // Told one by one, each stretch is looked up; of a range, the rows of all subjects would be read.
            let mut select = QueryBuilder::<Db>::new(format!("SELECT begins_at_ms, {columns} WHERE step_s = "));
            let (account, worker) = subject.key();
            select.push_bind(step_s(resolution)).push(" AND account = ").push_bind(account);
            select.push(" AND worker = ").push_bind(worker).push(" AND begins_at_ms IN (");
            let mut list = select.separated(", ");
            for begins_at_ms in &stretches {
                list.push_bind(*begins_at_ms);
            }
            select.push(") ORDER BY begins_at_ms");
            Ok(select.build().fetch_all(&self.readers).await?)
        };
        let work = rows("difficulty_log2, count FROM history_work").await?;
        let refused = rows("code, count FROM history_refused").await?;
        let peaks = rows("channels, best FROM history_peaks").await?;
        Ok(Past {
            work: work
                .iter()
                .map(|row| Ok((row.try_get("begins_at_ms")?, difficulty(row)?, number("history_work", row, "count")?)))
                .collect::<Result<_, StoreError>>()?,
            refused: refused
                .iter()
                .map(|row| {
                    Ok((row.try_get("begins_at_ms")?, row.try_get("code")?, number("history_refused", row, "count")?))
                })
                .collect::<Result<_, StoreError>>()?,
            peaks: peaks
                .iter()
                .map(|row| {
                    let (channels, best) = (number("history_peaks", row, "channels")?, row.try_get("best")?);
                    Ok((row.try_get("begins_at_ms")?, Peaks { channels, best: from_bits(best) }))
                })
                .collect::<Result<_, StoreError>>()?,
        })
    }

    async fn worker_id(&self, account: AccountId, name: &str) -> Result<Option<WorkerId>, StoreError> {
        let select = sqlx::query_scalar("SELECT id FROM workers WHERE account = $1 AND name = $2");
        let id: Option<i64> = select.bind(account.get()).bind(name).fetch_optional(&self.readers).await?;
        Ok(id.map(WorkerId::new))
    }

    async fn workers_seen(&self, account: Option<AccountId>, since_ms: i64) -> Result<u64, StoreError> {
        let mut select =
            QueryBuilder::<Db>::new("SELECT COUNT(*) AS workers FROM history_workers WHERE last_share_at_ms >= ");
        select.push_bind(since_ms);
        if let Some(account) = account {
            select.push(" AND account = ").push_bind(account.get());
        }
        number("history_workers", &select.build().fetch_one(&self.readers).await?, "workers")
    }

    async fn blocks_without_work(
        &self,
        from: ShareSeq,
        upto: ShareSeq,
        limit: u32,
    ) -> Result<Vec<(BlockHash, ShareSeq)>, StoreError> {
        let select = sqlx::query(
            "SELECT hash, share_position FROM blocks WHERE share_position >= $1 AND share_position <= $2 \
             AND NOT EXISTS (SELECT 1 FROM history_blocks WHERE block_hash = blocks.hash) \
             ORDER BY share_position DESC, height DESC LIMIT $3",
        );
        let rows = select.bind(from.get()).bind(upto.get()).bind(i64::from(limit)).fetch_all(&self.readers).await?;
        let block = |row: &SqlRow| Ok((parsed("blocks", row, "hash")?, ShareSeq::new(row.try_get("share_position")?)));
        rows.iter().map(block).collect()
    }

    async fn keep_block_work(&self, block: BlockHash, work: Work) -> Result<(), StoreError> {
        in_time(async {
            let mut session = self.session().await?;
            let insert = sqlx::query(
                "INSERT INTO history_blocks (block_hash, work) VALUES ($1, $2) ON CONFLICT (block_hash) DO NOTHING",
            );
            insert.bind(block.to_string()).bind(work.to_decimal()).execute(&mut *session).await?;
            Ok(())
        })
        .await
    }

    async fn blocks_with_work(&self, limit: u32) -> Result<Vec<BlockWork>, StoreError> {
        let select = sqlx::query(
            "SELECT hash, height, nbits, found_at_ms, phase, work FROM blocks \
             LEFT JOIN history_blocks ON block_hash = hash ORDER BY share_position DESC, height DESC, hash LIMIT $1",
        );
        select.bind(i64::from(limit)).fetch_all(&self.readers).await?.iter().map(block_work).collect()
    }
}

/// Goes from one state to the next, if it is the state; false if it is another.
async fn advance(connection: &mut Connection, from: Option<&Progress>, to: &Progress) -> Result<bool, StoreError> {
    let statement = match from {
        None => {
            "INSERT INTO history_progress (id, origin, upto, goal, worker, since_ms, until_ms, work) \
             VALUES (1, $1, $2, $3, $4, $5, $6, $7) ON CONFLICT (id) DO NOTHING"
        }
        Some(_) => {
            "UPDATE history_progress SET origin = $1, upto = $2, goal = $3, worker = $4, since_ms = $5, until_ms = $6, \
             work = $7 WHERE upto = $8 AND goal = $9 AND worker = $10"
        }
    };
    let mut query = sqlx::query(statement)
        .bind(to.origin.get())
        .bind(to.upto.get())
        .bind(to.goal.get())
        .bind(to.worker.get())
        .bind(to.since_ms)
        .bind(to.until_ms)
        .bind(to.work.to_decimal());
    if let Some(from) = from {
        query = query.bind(from.upto.get()).bind(from.goal.get()).bind(from.worker.get());
    }
    Ok(query.execute(connection).await?.rows_affected() == 1)
}

async fn add_work(connection: &mut Connection, rows: &[WorkRow]) -> Result<(), StoreError> {
    for chunk in rows.chunks(ROWS_PER_INSERT) {
        let mut insert = QueryBuilder::<Db>::new(
            "INSERT INTO history_work (step_s, begins_at_ms, account, worker, difficulty_log2, count) ",
        );
        insert.push_values(chunk, |mut values, row| {
            let (step_s, begins_at_ms, account, worker) = key(&row.stretch);
            values.push_bind(step_s).push_bind(begins_at_ms).push_bind(account).push_bind(worker);
            values.push_bind(i64::from(row.difficulty.log2())).push_bind(row.count.cast_signed());
        });
        insert.push(
            " ON CONFLICT (step_s, begins_at_ms, account, worker, difficulty_log2) \
             DO UPDATE SET count = history_work.count + excluded.count",
        );
        insert.build().persistent(chunk.len() == ROWS_PER_INSERT).execute(&mut *connection).await?;
    }
    Ok(())
}

async fn note_seen(connection: &mut Connection, seen: &[Seen]) -> Result<(), StoreError> {
    for chunk in seen.chunks(ROWS_PER_INSERT) {
        let mut insert = QueryBuilder::<Db>::new("INSERT INTO history_workers (worker, account, last_share_at_ms) ");
        insert.push_values(chunk, |mut values, seen| {
            values.push_bind(seen.worker.get()).push_bind(seen.account.get()).push_bind(seen.last_share_at_ms);
        });
        insert.push(
            " ON CONFLICT (worker) DO UPDATE SET last_share_at_ms = excluded.last_share_at_ms \
             WHERE excluded.last_share_at_ms > history_workers.last_share_at_ms",
        );
        insert.build().persistent(false).execute(&mut *connection).await?;
    }
    Ok(())
}

async fn add_refused(connection: &mut Connection, rows: &[RefusedRow]) -> Result<(), StoreError> {
    for chunk in rows.chunks(ROWS_PER_INSERT) {
        let mut insert = QueryBuilder::<Db>::new(
            "INSERT INTO history_refused (step_s, begins_at_ms, account, worker, code, count) ",
        );
        insert.push_values(chunk, |mut values, row| {
            let (step_s, begins_at_ms, account, worker) = key(&row.stretch);
            values.push_bind(step_s).push_bind(begins_at_ms).push_bind(account).push_bind(worker);
            values.push_bind(row.code.clone()).push_bind(row.count.cast_signed());
        });
        insert.push(
            " ON CONFLICT (step_s, begins_at_ms, account, worker, code) \
             DO UPDATE SET count = history_refused.count + excluded.count",
        );
        insert.build().persistent(false).execute(&mut *connection).await?;
    }
    Ok(())
}

async fn raise_peaks(connection: &mut Connection, rows: &[PeakRow]) -> Result<(), StoreError> {
    for chunk in rows.chunks(ROWS_PER_INSERT) {
        let mut insert = QueryBuilder::<Db>::new(
            "INSERT INTO history_peaks (step_s, begins_at_ms, account, worker, channels, best) ",
        );
        insert.push_values(chunk, |mut values, row| {
            let (step_s, begins_at_ms, account, worker) = key(&row.stretch);
            values.push_bind(step_s).push_bind(begins_at_ms).push_bind(account).push_bind(worker);
            values.push_bind(i64::from(row.peaks.channels)).push_bind(to_bits(row.peaks.best));
        });
        insert.push(
            " ON CONFLICT (step_s, begins_at_ms, account, worker) DO UPDATE SET \
             channels = CASE WHEN excluded.channels > history_peaks.channels \
                 THEN excluded.channels ELSE history_peaks.channels END, \
             best = CASE WHEN excluded.best > history_peaks.best THEN excluded.best ELSE history_peaks.best END",
        );
        insert.build().persistent(chunk.len() == ROWS_PER_INSERT).execute(&mut *connection).await?;
    }
    Ok(())
}

/// Returns where the stretches of a resolution begin, at or after a time and before another.
fn stretches(resolution: Resolution, from_ms: i64, to_ms: i64) -> Vec<i64> {
    let step_ms = resolution.step_ms();
    let first = resolution.begin_of(from_ms.saturating_add(step_ms - 1));
    successors(Some(first), |begins_at_ms| begins_at_ms.checked_add(step_ms))
        .take_while(|begins_at_ms| *begins_at_ms < to_ms)
        .take(MAX_STRETCHES)
        .collect()
}

fn step_s(resolution: Resolution) -> i64 {
    resolution.step_ms() / 1_000
}

fn key(stretch: &Stretch) -> (i64, i64, i64, i64) {
    let (account, worker) = stretch.subject.key();
    (step_s(stretch.resolution), stretch.begins_at_ms, account, worker)
}

/// What is not negative sorts by its bits as it does by itself; what is no number is nothing.
fn to_bits(best: f64) -> i64 {
    if best > 0.0 { best.to_bits().cast_signed() } else { 0 }
}

fn from_bits(bits: i64) -> f64 {
    f64::from_bits(bits.cast_unsigned())
}

fn progress(row: &SqlRow) -> Result<Progress, StoreError> {
    Ok(Progress {
        origin: ShareSeq::new(row.try_get("origin")?),
        upto: ShareSeq::new(row.try_get("upto")?),
        goal: ShareSeq::new(row.try_get("goal")?),
        worker: WorkerId::new(row.try_get("worker")?),
        since_ms: row.try_get("since_ms")?,
        until_ms: row.try_get("until_ms")?,
        work: work("history_progress", row.try_get("work")?)?,
    })
}

fn worker_shares(row: &SqlRow) -> Result<WorkerShares, StoreError> {
    Ok(WorkerShares {
        worker: WorkerId::new(row.try_get("worker")?),
        account: AccountId::new(row.try_get("account")?),
        difficulty: difficulty(row)?,
        count: number("shares", row, "count")?,
        last_at_ms: row.try_get("last_at_ms")?,
    })
}

fn block_work(row: &SqlRow) -> Result<BlockWork, StoreError> {
    let text: Option<String> = row.try_get("work")?;
    Ok(BlockWork {
        hash: parsed("blocks", row, "hash")?,
        height: number("blocks", row, "height")?,
        nbits: CompactTarget::from_consensus(number("blocks", row, "nbits")?),
        found_at_ms: row.try_get("found_at_ms")?,
        phase: super::blocks::phase(row)?,
        work: text.map(|text| work("history_blocks", text)).transpose()?,
    })
}

fn work(table: &'static str, text: String) -> Result<Work, StoreError> {
    Work::from_decimal(&text).ok_or_else(|| corrupt(table, text))
}
