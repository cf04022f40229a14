//! The SQL that keeps and finds everything: the same text for every database.
//!
//! Both SQLite and PostgreSQL understand these statements, numbered placeholders included; what differs is how a
//! connection is opened and who may write. So this module is compiled into both stores, and takes from the one around
//! it the types of its database: [`Db`], [`Connection`], [`Pool`] and [`SqlRow`], and the [`Backend`] itself, which
//! has `readers` and gives whoever wants to write the one `session` that may. All numbers are kept as 64-bit integers.

use std::{collections::BTreeMap, fmt::Display, io, str::FromStr, time::Duration};

use async_trait::async_trait;
use bitcoin::{Address, Amount, BlockHash, ScriptBuf, SignedAmount, Transaction};
use sqlx::Row as _;
use tokio::time::timeout;

use super::{Backend, Connection, Db, Pool, SqlRow, begin};
use crate::{
    account::{Account, AccountId},
    books::{BlockCredit, BlockRecord},
    clock::now_ms,
    export::{
        Lot,
        register::{RegisterHead, RegisterRow, RowSeq},
    },
    ledger::{Entry, EntryKind, EntrySeq, Head, LedgerAccount},
    payout::{Batch, BatchId, Due},
    share::{Appended, NewShare, ShareScore, ShareSeq, ShareTotals, StoredShare},
    store::{Change, Commit, Store, StoreError},
};

mod batches;
mod blocks;
mod entries;
mod register;
pub(in crate::store) mod rows;
pub(in crate::store) mod shares;

/// Rows that one INSERT writes. SQLite allows 32,766 values in a statement, PostgreSQL 65,535; ten columns are the
/// most here.
const ROWS_PER_INSERT: usize = 500;
/// How long a write may take, waiting in line included. A database that is silent for so long is taken for gone; what it
/// did all the same is found when the write is repeated.
const WRITE_TIMEOUT: Duration = Duration::from_secs(60);

#[async_trait]
impl Store for Backend {
    async fn begin_session(&self) -> Result<i64, StoreError> {
        in_time(async {
            let mut session = self.session().await?;
            let insert = sqlx::query_scalar("INSERT INTO sessions (started_at_ms) VALUES ($1) RETURNING id");
            Ok(insert.bind(now_ms()).fetch_one(&mut *session).await?)
        })
        .await
    }

    async fn account(&self, address: &Address) -> Result<AccountId, StoreError> {
        let text = address.to_string();
        if let Some(account) = self.find_account(&text).await? {
            return Ok(account.id);
        }
        in_time(async {
            let mut session = self.session().await?;
            sqlx::query(
                "INSERT INTO accounts (address, script_pubkey) VALUES ($1, $2) ON CONFLICT (address) DO NOTHING",
            )
            .bind(&text)
            .bind(address.script_pubkey().into_bytes())
            .execute(&mut *session)
            .await?;
            let id = sqlx::query_scalar("SELECT id FROM accounts WHERE address = $1").bind(&text);
            Ok(AccountId::new(id.fetch_one(&mut *session).await?))
        })
        .await
    }

    async fn find_account(&self, address: &str) -> Result<Option<Account>, StoreError> {
        let select = sqlx::query("SELECT id, address, script_pubkey FROM accounts WHERE address = $1");
        let row = select.bind(address).fetch_optional(&self.readers).await?;
        row.as_ref().map(account).transpose()
    }

    async fn accounts(&self, after: AccountId, limit: u32) -> Result<Vec<Account>, StoreError> {
        let select = sqlx::query("SELECT id, address, script_pubkey FROM accounts WHERE id > $1 ORDER BY id LIMIT $2");
        let rows = select.bind(after.get()).bind(i64::from(limit)).fetch_all(&self.readers).await?;
        rows.iter().map(account).collect()
    }

    async fn append_shares(&self, new: &[NewShare]) -> Result<Vec<Appended>, StoreError> {
        in_time(async {
            let mut session = self.session().await?;
            let mut transaction = begin(&mut session).await?;
            let appended = shares::append(&mut transaction, new).await?;
            transaction.commit().await?;
            Ok(appended)
        })
        .await
    }

    async fn share_position(&self) -> Result<ShareSeq, StoreError> {
        shares::position(&self.readers).await
    }

    async fn shares_back(&self, newest: ShareSeq, limit: u32) -> Result<Vec<ShareScore>, StoreError> {
        shares::back(&self.readers, newest, limit).await
    }

    async fn last_share(&self) -> Result<Option<StoredShare>, StoreError> {
        shares::last(&self.readers).await
    }

    async fn share_totals(&self, account: Option<AccountId>, since_ms: i64) -> Result<ShareTotals, StoreError> {
        shares::totals(&self.readers, account, since_ms).await
    }

    async fn head(&self) -> Result<Head, StoreError> {
        entries::head(&self.readers).await
    }

    async fn commit(&self, change: Change) -> Result<Commit, StoreError> {
        in_time(async {
            let mut session = self.session().await?;
            let mut transaction = begin(&mut session).await?;
            let outcome = entries::commit(&mut transaction, &change).await?;
            match outcome {
                Commit::Done => transaction.commit().await?,
                Commit::Already(_) | Commit::Stale => transaction.rollback().await?,
            }
            Ok(outcome)
        })
        .await
    }

    async fn entry(&self, kind: EntryKind, key: &str) -> Result<Option<Entry>, StoreError> {
        entries::by_key(&self.readers, kind, key).await
    }

    async fn entries(&self, after: EntrySeq, limit: u32) -> Result<Vec<Entry>, StoreError> {
        entries::page(&self.readers, after, limit).await
    }

    async fn balances(&self) -> Result<BTreeMap<LedgerAccount, SignedAmount>, StoreError> {
        entries::balances(&self.readers).await
    }

    async fn balance(&self, account: LedgerAccount) -> Result<SignedAmount, StoreError> {
        entries::balance(&self.readers, account).await
    }

    async fn block(&self, hash: BlockHash) -> Result<Option<BlockRecord>, StoreError> {
        blocks::by_hash(&self.readers, hash).await
    }

    async fn blocks(&self, limit: u32) -> Result<Vec<BlockRecord>, StoreError> {
        blocks::newest(&self.readers, limit).await
    }

    async fn blocks_to_watch(&self, height: u32) -> Result<Vec<BlockRecord>, StoreError> {
        blocks::to_watch(&self.readers, height).await
    }

    async fn credits(&self, hash: BlockHash) -> Result<Vec<BlockCredit>, StoreError> {
        blocks::credits(&self.readers, hash).await
    }

    async fn due(&self, least: Amount) -> Result<Vec<Due>, StoreError> {
        batches::due(&self.readers, least).await
    }

    async fn unpaid_lots(&self, account: AccountId) -> Result<Vec<Lot>, StoreError> {
        blocks::unpaid_lots(&self.readers, account).await
    }

    async fn batch(&self, id: BatchId) -> Result<Option<Batch>, StoreError> {
        batches::by_id(&self.readers, id).await
    }

    async fn batches(&self, limit: u32) -> Result<Vec<Batch>, StoreError> {
        batches::newest(&self.readers, limit).await
    }

    async fn batches_to_watch(&self, height: u32) -> Result<Vec<Batch>, StoreError> {
        batches::to_watch(&self.readers, height).await
    }

    async fn store_signed(&self, batch: BatchId, transaction: &Transaction) -> Result<(), StoreError> {
        in_time(async {
            let mut session = self.session().await?;
            batches::store_signed(&mut session, batch, transaction).await
        })
        .await
    }

    async fn register_head(&self) -> Result<RegisterHead, StoreError> {
        register::head(&self.readers).await
    }

    async fn register_rows(&self, after: RowSeq, limit: u32) -> Result<Vec<RegisterRow>, StoreError> {
        register::page(&self.readers, after, limit).await
    }

    async fn append_wallet_change(&self, change: &str) -> Result<(), StoreError> {
        in_time(async {
            let mut session = self.session().await?;
            sqlx::query("INSERT INTO wallet_changes (change) VALUES ($1)").bind(change).execute(&mut *session).await?;
            Ok(())
        })
        .await
    }

    async fn wallet_changes(&self) -> Result<Vec<String>, StoreError> {
        let select = sqlx::query_scalar("SELECT change FROM wallet_changes ORDER BY seq");
        Ok(select.fetch_all(&self.readers).await?)
    }
}

/// Waits for a write, but not for ever.
async fn in_time<T>(write: impl Future<Output = Result<T, StoreError>>) -> Result<T, StoreError> {
    let silent = |_| Err(sqlx::Error::Io(io::ErrorKind::TimedOut.into()).into());
    timeout(WRITE_TIMEOUT, write).await.unwrap_or_else(silent)
}

fn account(row: &SqlRow) -> Result<Account, StoreError> {
    Ok(Account {
        id: AccountId::new(row.try_get("id")?),
        address: row.try_get("address")?,
        script_pubkey: ScriptBuf::from_bytes(row.try_get("script_pubkey")?),
    })
}

/// Reads a value that is kept as text.
fn parsed<T: FromStr>(table: &'static str, row: &SqlRow, column: &str) -> Result<T, StoreError> {
    let text: String = row.try_get(column)?;
    text.parse().map_err(|_| StoreError::Corrupt { table, value: text })
}

/// Reads a number into a narrower type.
fn number<T: TryFrom<i64>>(table: &'static str, row: &SqlRow, column: &str) -> Result<T, StoreError> {
    let value: i64 = row.try_get(column)?;
    T::try_from(value).map_err(|_| corrupt(table, value))
}

fn amount(table: &'static str, row: &SqlRow, column: &str) -> Result<Amount, StoreError> {
    Ok(Amount::from_sat(number(table, row, column)?))
}

fn corrupt(table: &'static str, value: impl Display) -> StoreError {
    StoreError::Corrupt { table, value: value.to_string() }
}

/// Satoshis as a database keeps them. No amount of bitcoin exceeds 2^63 satoshis.
fn sat(amount: Amount) -> i64 {
    i64::try_from(amount.to_sat()).expect("all bitcoin there can be are under 2^51 satoshis")
}
