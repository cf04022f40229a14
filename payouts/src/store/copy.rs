//! Moving a pool's books from SQLite to PostgreSQL.
//!
//! Everything is copied in one transaction and read back before it is committed: the target has all of it, or nothing.
//! Which tables there are is asked of the source, so that none can be forgotten here.

use sqlx::{AssertSqlSafe, PgConnection, Postgres, QueryBuilder, Row as _, SqliteConnection};

use crate::{
    audit::{self, AuditError, Audited},
    store::{
        StoreError,
        postgres::{self, PgStore},
        sqlite::{self, SqliteStore},
    },
};

/// Rows that are read at a time, and written by one statement.
const PAGE: u32 = 1_000;

/// Why the books were not copied. Unless it says so, the target is as it was.
#[derive(Debug, thiserror::Error)]
pub enum CopyError {
    /// One of the databases failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The books to copy are wrong. A copy would hide where.
    #[error("the books to copy do not pass the audit: {0}")]
    Source(AuditError),
    /// There is something in the target already.
    #[error("the target is not empty: it has {0}")]
    NotEmpty(String),
    /// A table's rows in the target are not those of the source.
    #[error("{table} differs after {rows} equal rows")]
    Different {
        /// The table.
        table: String,
        /// How many of its rows, in the order of their key, are the same.
        rows: u64,
    },
    /// The target's books are wrong although their rows are right. It holds them, and must not be used.
    #[error("the copied books do not pass the audit: {0}")]
    Target(AuditError),
    /// The target's books end otherwise than the source's. It holds them, and must not be used.
    #[error("the copied books end otherwise than those they come from")]
    DifferentEnd,
}

/// What was copied.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Copied {
    /// Each table, with the number of its rows.
    pub rows: Vec<(String, u64)>,
    /// What the audit says of the books, on either side.
    pub audited: Audited,
}

/// Copies all that `source` holds to the empty `target`, and makes sure that it has arrived.
///
/// Both must be open for this process to write, so that no pool works on them meanwhile.
///
/// # Errors
///
/// If a database fails, the books are wrong, or the target is not empty.
pub async fn copy(source: &SqliteStore, target: &PgStore) -> Result<Copied, CopyError> {
    let audited = audit::verify(source).await.map_err(CopyError::Source)?;
    let mut from = source.readers.begin().await.map_err(StoreError::from)?;
    let tables = tables(&mut from).await?;
    let mut session = target.session().await?;
    let mut to = sqlx::Connection::begin(&mut *session).await.map_err(StoreError::from)?;
    for table in &tables {
        if !postgres::sql::rows::page(&mut to, table, None, 1).await?.is_empty() {
            return Err(CopyError::NotEmpty(table.name.clone()));
        }
    }
    for table in &tables {
        copy_rows(table, &mut from, &mut to).await?;
    }
    continue_numbers(&mut from, &mut to).await?;
    let mut rows = Vec::with_capacity(tables.len());
    for table in &tables {
        rows.push((table.name.clone(), compare(table, &mut from, &mut to).await?));
    }
    to.commit().await.map_err(StoreError::from)?;
    drop(session);
    match audit::verify(target).await.map_err(CopyError::Target)? {
        copied if copied == audited => Ok(Copied { rows, audited }),
        _ => Err(CopyError::DifferentEnd),
    }
}

/// A table, as the source describes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Table {
    pub(super) name: String,
    /// The names and kinds of its columns.
    pub(super) columns: Vec<(String, Kind)>,
    /// Which of the columns are its primary key, in their order.
    key: Vec<usize>,
}

impl Table {
    pub(super) fn column_names(&self) -> String {
        let names: Vec<_> = self.columns.iter().map(|(name, _)| name.as_str()).collect();
        names.join(", ")
    }

    pub(super) fn key_names(&self) -> String {
        let names: Vec<_> = self.key.iter().map(|&index| self.columns[index].0.as_str()).collect();
        names.join(", ")
    }

    fn key_of(&self, row: &[Value]) -> Vec<Value> {
        self.key.iter().map(|&index| row[index].clone()).collect()
    }
}

/// What a column holds. There are no other kinds in our tables.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Integer,
    Text,
    Bytes,
}

/// What stands in one column of one row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Value {
    Null,
    Integer(i64),
    Text(String),
    Bytes(Vec<u8>),
}

/// Returns all tables in the order in which they were made: what is referred to stands before what refers to it.
pub(super) async fn tables(source: &mut SqliteConnection) -> Result<Vec<Table>, StoreError> {
    let names: Vec<String> = sqlx::query_scalar(
        "SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite!_%' ESCAPE '!' \
         AND name <> '_sqlx_migrations' ORDER BY rowid",
    )
    .fetch_all(&mut *source)
    .await?;
    let mut tables = Vec::with_capacity(names.len());
    for name in names {
        let columns = sqlx::query("SELECT name, type, pk FROM pragma_table_info($1) ORDER BY cid");
        let mut table = Table { name: name.clone(), columns: Vec::new(), key: Vec::new() };
        let mut key = Vec::new();
        for (index, column) in columns.bind(&name).fetch_all(&mut *source).await?.iter().enumerate() {
            let kind: String = column.try_get("type")?;
            let kind = match kind.as_str() {
                "INTEGER" => Kind::Integer,
                "TEXT" => Kind::Text,
                "BLOB" => Kind::Bytes,
                _ => return Err(StoreError::Corrupt { table: "sqlite_schema", value: format!("{name}: {kind}") }),
            };
            table.columns.push((column.try_get("name")?, kind));
            let place: i64 = column.try_get("pk")?;
            if place > 0 {
                key.push((place, index));
            }
        }
        key.sort_unstable();
        table.key = key.into_iter().map(|(_, index)| index).collect();
        tables.push(table);
    }
    Ok(tables)
}

async fn copy_rows(table: &Table, from: &mut SqliteConnection, to: &mut PgConnection) -> Result<(), StoreError> {
    let mut last = None;
    loop {
        let page = sqlite::sql::rows::page(from, table, last.as_deref(), PAGE).await?;
        let Some(newest) = page.last() else { return Ok(()) };
        last = Some(table.key_of(newest));
        // Numbers that the target would choose itself are those of the source: other rows refer to them.
        let (name, columns) = (&table.name, table.column_names());
        let mut insert =
            QueryBuilder::<Postgres>::new(format!("INSERT INTO {name} ({columns}) OVERRIDING SYSTEM VALUE "));
        insert.push_values(&page, |mut values, row| {
            for value in row {
                postgres::sql::rows::bind(&mut values, value);
            }
        });
        insert.build().persistent(false).execute(&mut *to).await?;
    }
}

/// Makes the target go on counting where the source stopped, so that no number is given twice.
async fn continue_numbers(from: &mut SqliteConnection, to: &mut PgConnection) -> Result<(), StoreError> {
    let counters = sqlx::query("SELECT name, seq FROM sqlite_sequence WHERE name <> '_sqlx_migrations' AND seq > 0");
    for counter in counters.fetch_all(&mut *from).await? {
        let (name, last): (String, i64) = (counter.try_get("name")?, counter.try_get("seq")?);
        let column: String = sqlx::query_scalar(
            "SELECT column_name::text FROM information_schema.columns \
             WHERE table_schema = current_schema AND table_name = $1 AND is_identity = 'YES'",
        )
        .bind(&name)
        .fetch_one(&mut *to)
        .await?;
        let continue_after = sqlx::query("SELECT setval(pg_get_serial_sequence($1, $2), $3)");
        continue_after.bind(&name).bind(&column).bind(last).execute(&mut *to).await?;
    }
    Ok(())
}

/// Compares the rows of a table in both databases one by one, and returns how many there are.
async fn compare(table: &Table, from: &mut SqliteConnection, to: &mut PgConnection) -> Result<u64, CopyError> {
    let (mut last, mut rows) = (None, 0);
    loop {
        let expected = sqlite::sql::rows::page(from, table, last.as_deref(), PAGE).await?;
        let found = postgres::sql::rows::page(to, table, last.as_deref(), PAGE).await?;
        let equal = expected.iter().zip(&found).take_while(|(expected, found)| expected == found).count();
        rows += equal as u64;
        if equal < expected.len().max(found.len()) {
            return Err(CopyError::Different { table: table.name.clone(), rows });
        }
        let Some(newest) = expected.last() else { break };
        last = Some(table.key_of(newest));
    }
    let counted: i64 = sqlx::query_scalar(AssertSqlSafe(format!("SELECT COUNT(*) FROM {}", table.name)))
        .fetch_one(to)
        .await
        .map_err(StoreError::from)?;
    if counted.try_into() == Ok(rows) {
        Ok(rows)
    } else {
        Err(CopyError::Different { table: table.name.clone(), rows })
    }
}

#[cfg(test)]
mod tests;
