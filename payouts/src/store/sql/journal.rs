//! The export register's journal, and the sealed data of parties.

use std::{cmp::Reverse, collections::BTreeSet};

use sqlx::{QueryBuilder, Row as _};

use super::{Connection, Db, KEYS_PER_SELECT, Pool, SqlRow, parsed};
use crate::{
    export::{
        journal::{JournalHead, JournalRow, JournalSeq},
        party::PartyId,
    },
    store::{Commit, StoreError},
};

pub(super) async fn head(executor: impl sqlx::Executor<'_, Database = Db>) -> Result<JournalHead, StoreError> {
    let row =
        sqlx::query("SELECT seq, hash FROM export_journal ORDER BY seq DESC LIMIT 1").fetch_optional(executor).await?;
    match row {
        None => Ok(JournalHead::EMPTY),
        Some(row) => {
            Ok(JournalHead { seq: JournalSeq::new(row.try_get("seq")?), hash: parsed("export_journal", &row, "hash")? })
        }
    }
}

/// Writes rows that follow the head; if the head is another, nothing was written.
pub(super) async fn append(connection: &mut Connection, rows: &[JournalRow]) -> Result<Commit, StoreError> {
    let Some(first) = rows.first() else { return Ok(Commit::Done) };
    let head = head(&mut *connection).await?;
    if head.hash != first.previous || head.seq.get() + 1 != first.seq.get() {
        return Ok(Commit::Stale);
    }
    for row in rows {
        sqlx::query(
            "INSERT INTO export_journal (seq, kind, subject, body, previous, hash) VALUES ($1, $2, $3, $4, $5, $6)",
        )
        .bind(row.seq.get())
        .bind(&row.kind)
        .bind(&row.subject)
        .bind(&row.body)
        .bind(row.previous.to_string())
        .bind(row.hash.to_string())
        .execute(&mut *connection)
        .await?;
    }
    Ok(Commit::Done)
}

pub(super) async fn page(pool: &Pool, after: JournalSeq, limit: u32) -> Result<Vec<JournalRow>, StoreError> {
    let select = sqlx::query("SELECT * FROM export_journal WHERE seq > $1 ORDER BY seq LIMIT $2");
    let rows = select.bind(after.get()).bind(i64::from(limit)).fetch_all(pool).await?;
    rows.iter().map(journal_row).collect()
}

/// In the order of the index by kind and subject, so that nothing else is read.
pub(super) async fn of_kind(
    pool: &Pool,
    kind: &str,
    (subject, seq): (&str, JournalSeq),
    limit: u32,
) -> Result<Vec<JournalRow>, StoreError> {
    let select = sqlx::query(
        "SELECT * FROM export_journal WHERE kind = $1 AND (subject > $2 OR (subject = $2 AND seq > $3)) \
         ORDER BY subject, seq LIMIT $4",
    );
    let select = select.bind(kind).bind(subject).bind(seq.get()).bind(i64::from(limit));
    select.fetch_all(pool).await?.iter().map(journal_row).collect()
}

pub(super) async fn newest(pool: &Pool, kind: &str, subject: &str, limit: u32) -> Result<Vec<JournalRow>, StoreError> {
    let select =
        sqlx::query("SELECT * FROM export_journal WHERE kind = $1 AND subject = $2 ORDER BY seq DESC LIMIT $3");
    let rows = select.bind(kind).bind(subject).bind(i64::from(limit)).fetch_all(pool).await?;
    rows.iter().map(journal_row).collect()
}

/// What is written together with rows of the journal.
#[derive(Clone, Copy, Debug)]
pub(super) enum JournalStep<'a> {
    /// Nothing.
    Append,
    /// The sealed data of a party.
    SaveParty(PartyId, &'a [u8]),
    /// That a party's data is gone.
    EraseParty(PartyId),
}

impl JournalStep<'_> {
    /// Returns the name that crash points have.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Append => "append journal",
            Self::SaveParty(..) => "save party",
            Self::EraseParty(_) => "erase party",
        }
    }

    /// Writes what belongs to the rows.
    pub(super) async fn write(self, connection: &mut Connection) -> Result<(), StoreError> {
        match self {
            Self::Append => Ok(()),
            Self::SaveParty(id, sealed) => save_party(connection, id, sealed).await,
            Self::EraseParty(id) => erase_party(connection, id).await,
        }
    }
}

async fn save_party(connection: &mut Connection, id: PartyId, sealed: &[u8]) -> Result<(), StoreError> {
    sqlx::query(
        "INSERT INTO export_parties (id, sealed) VALUES ($1, $2) ON CONFLICT (id) DO UPDATE SET sealed = excluded.sealed",
    )
    .bind(id.get())
    .bind(sealed)
    .execute(connection)
    .await?;
    Ok(())
}

async fn erase_party(connection: &mut Connection, id: PartyId) -> Result<(), StoreError> {
    sqlx::query("DELETE FROM export_parties WHERE id = $1").bind(id.get()).execute(connection).await?;
    Ok(())
}

pub(super) async fn parties(pool: &Pool) -> Result<Vec<(PartyId, Vec<u8>)>, StoreError> {
    let rows = sqlx::query("SELECT id, sealed FROM export_parties ORDER BY id").fetch_all(pool).await?;
    rows.iter().map(|row| Ok((PartyId::new(row.try_get("id")?), row.try_get("sealed")?))).collect()
}

pub(super) async fn latest(
    pool: &Pool,
    kind: &str,
    after: JournalSeq,
    limit: u32,
) -> Result<Vec<JournalRow>, StoreError> {
    let select = sqlx::query(
        "SELECT * FROM export_journal AS latest WHERE kind = $1 AND seq > $2 AND NOT EXISTS (SELECT 1 \
         FROM export_journal WHERE kind = latest.kind AND subject = latest.subject AND seq > latest.seq) \
         ORDER BY seq LIMIT $3",
    );
    let rows = select.bind(kind).bind(after.get()).bind(i64::from(limit)).fetch_all(pool).await?;
    rows.iter().map(journal_row).collect()
}

pub(super) async fn about_any(pool: &Pool, kind: &str, subjects: &[String]) -> Result<Vec<JournalRow>, StoreError> {
    let subjects: Vec<&String> = subjects.iter().collect::<BTreeSet<_>>().into_iter().collect();
    let mut found = Vec::new();
    for chunk in subjects.chunks(KEYS_PER_SELECT) {
        let mut select = QueryBuilder::<Db>::new("SELECT * FROM export_journal WHERE kind = ");
        select.push_bind(kind).push(" AND subject IN (");
        let mut list = select.separated(", ");
        for subject in chunk {
            list.push_bind(subject.as_str());
        }
        select.push(")");
        let rows = select.build().persistent(false).fetch_all(pool).await?;
        found.extend(rows.iter().map(journal_row).collect::<Result<Vec<_>, _>>()?);
    }
    found.sort_by_key(|row| Reverse(row.seq));
    Ok(found)
}

fn journal_row(row: &SqlRow) -> Result<JournalRow, StoreError> {
    Ok(JournalRow {
        seq: JournalSeq::new(row.try_get("seq")?),
        kind: row.try_get("kind")?,
        subject: row.try_get("subject")?,
        body: row.try_get("body")?,
        previous: parsed("export_journal", row, "previous")?,
        hash: parsed("export_journal", row, "hash")?,
    })
}
