//! The SQL that keeps and finds everything: the same text for every database.
//!
//! Both SQLite and PostgreSQL understand these statements, numbered placeholders included; what differs is how a
//! connection is opened and who may write. So this module is compiled into both stores, and takes from the one around
//! it the types of its database: [`Db`], [`Connection`], [`Pool`] and [`SqlRow`], and the [`Backend`] itself, which
//! has `readers`, gives whoever wants to write the one `session` that may, and keeps what that session has `known`. All numbers are kept as 64-bit integers.

use std::{collections::BTreeMap, fmt::Display, io, str::FromStr, time::Duration};

use async_trait::async_trait;
use bitcoin::{Address, Amount, BlockHash, SignedAmount, Transaction, Txid};
use sqlx::Row as _;
use tokio::time::timeout;

use self::journal::JournalStep;
use super::{Backend, Connection, Db, Pool, SqlRow, begin};
use crate::{
    account::{Account, AccountId, AccountName, AccountSettings, Naming},
    books::{BlockCredit, BlockRecord, FrozenWindow},
    clock::now_ms,
    crash_point,
    crediting::{NetworkBlockRow, Period, PeriodEarning, PeriodLot, PeriodNumber, PeriodWork, ReserveLot},
    deposits::Deposit,
    export::{
        Lot,
        journal::{JournalHead, JournalRow, JournalSeq},
        party::PartyId,
        register::{RegisterHead, RegisterRow, RowSeq},
    },
    ledger::{Entry, EntryKind, EntrySeq, Head, LedgerAccount},
    payout::{Attempt, Batch, BatchEvent, BatchHead, BatchId, Due, PayoutRun, Restraint, RestraintRow},
    reserve::PoolMoney,
    scheme::{beneficiary::Wishes, pps::Earned},
    share::{Appended, JobTerms, JobWork, Segment, SegmentSize, ShareGroup, ShareSeq, ShareTotals, WorkerTotals},
    slow_step,
    store::{Change, Commit, Store, StoreError},
};

mod access;
mod accounts;
mod attempts;
mod batch_events;
mod batches;
mod blocks;
mod entries;
mod folding;
mod history;
mod journal;
pub(in crate::store) mod known;
mod pages;
mod periods;
mod register;
mod reserve;
mod restraints;
pub(in crate::store) mod rows;
mod schedule;
mod search;
mod settings;
pub(in crate::store) mod shares;
mod windows;
mod workers;

/// Rows that one statement takes. SQLite allows 32,766 values in a statement, PostgreSQL 65,535; ten columns are the
/// most here.
const ROWS_PER_INSERT: usize = 500;
/// Keys that one statement looks for, within the same bounds.
const KEYS_PER_SELECT: usize = 500;
/// How long a write may take, waiting in line included. A database that is silent for so long is taken for gone; what it
/// did all the same is found when the write is repeated.
const WRITE_TIMEOUT: Duration = Duration::from_secs(60);

#[async_trait]
impl Store for Backend {
    async fn begin_session(&self) -> Result<i64, StoreError> {
        in_time(async {
            let mut session = self.session().await?;
            let insert = sqlx::query_scalar("INSERT INTO sessions (started_at_ms) VALUES ($1) RETURNING id");
            crash_point::reach(format_args!("before begin session"));
            let session = insert.bind(now_ms()).fetch_one(&mut *session).await?;
            crash_point::reach(format_args!("after begin session"));
            Ok(session)
        })
        .await
    }

    async fn account(&self, address: &Address) -> Result<AccountId, StoreError> {
        if let Some(account) = self.find_account(&address.to_string()).await? {
            return Ok(account.id);
        }
        in_time(async {
            let mut session = self.session().await?;
            accounts::create(&mut session, address).await
        })
        .await
    }

    async fn find_account(&self, address: &str) -> Result<Option<Account>, StoreError> {
        accounts::by_address(&self.readers, address).await
    }

    async fn find_named(&self, name: &AccountName) -> Result<Option<Account>, StoreError> {
        accounts::by_name(&self.readers, name).await
    }

    async fn accounts(&self, after: AccountId, limit: u32) -> Result<Vec<Account>, StoreError> {
        accounts::page(&self.readers, after, limit).await
    }

    async fn named_accounts(&self, after: AccountId, limit: u32) -> Result<Vec<Account>, StoreError> {
        accounts::named(&self.readers, after, limit).await
    }

    async fn name_account(&self, account: AccountId, name: Option<&AccountName>) -> Result<Naming, StoreError> {
        in_time(async {
            let mut session = self.session().await?;
            let mut transaction = begin(&mut session).await?;
            let naming = accounts::name(&mut transaction, account, name).await?;
            transaction.commit().await?;
            Ok(naming)
        })
        .await
    }

    async fn append_shares(&self, group: &ShareGroup) -> Result<Appended, StoreError> {
        in_time(async {
            let mut session = self.session().await?;
            let mut known = self.known.lock().await;
            let mut transaction = begin(&mut session).await?;
            let (appended, news) = shares::append(&mut transaction, group, &known).await?;
            crash_point::reach(format_args!("before append shares"));
            slow_step::linger("append shares").await;
            transaction.commit().await?;
            crash_point::reach(format_args!("after append shares"));
            known.add(news);
            Ok(appended)
        })
        .await
    }

    async fn share_position(&self) -> Result<ShareSeq, StoreError> {
        shares::position(&self.readers).await
    }

    async fn segments_back(&self, newest: ShareSeq, rows: u32) -> Result<Vec<Segment>, StoreError> {
        shares::segments_back(&self.readers, newest, rows).await
    }

    async fn work_between(&self, after: ShareSeq, upto: ShareSeq) -> Result<Vec<JobWork>, StoreError> {
        shares::work_between(&self.readers, after, upto).await
    }

    async fn jobs_between(&self, after: ShareSeq, upto: ShareSeq) -> Result<Vec<JobTerms>, StoreError> {
        shares::jobs_between(&self.readers, after, upto).await
    }

    async fn share_totals(&self, account: Option<AccountId>, since_ms: i64) -> Result<ShareTotals, StoreError> {
        shares::totals(&self.readers, account, since_ms).await
    }

    async fn worker_totals(&self, account: AccountId, since_ms: i64) -> Result<Vec<WorkerTotals>, StoreError> {
        workers::totals(&self.readers, account, since_ms).await
    }

    async fn shares_kept_since(&self) -> Result<Option<i64>, StoreError> {
        workers::kept_since(&self.readers).await
    }

    async fn position_at(&self, at_ms: i64) -> Result<ShareSeq, StoreError> {
        folding::position_at(&self.readers, at_ms).await
    }

    async fn segment_sizes(&self, after: ShareSeq, upto: ShareSeq, limit: u32) -> Result<Vec<SegmentSize>, StoreError> {
        folding::sizes(&self.readers, after, upto, limit).await
    }

    async fn fold_segments(&self, after: ShareSeq, upto: ShareSeq) -> Result<u64, StoreError> {
        in_time(async {
            let mut session = self.session().await?;
            let mut transaction = begin(&mut session).await?;
            let rows = folding::fold(&mut transaction, after, upto).await?;
            transaction.commit().await?;
            Ok(rows)
        })
        .await
    }

    async fn delete_segments(&self, upto: ShareSeq, rows: u32) -> Result<u64, StoreError> {
        in_time(async {
            let mut session = self.session().await?;
            let mut transaction = begin(&mut session).await?;
            let rows = folding::delete(&mut transaction, upto, rows).await?;
            transaction.commit().await?;
            Ok(rows)
        })
        .await
    }

    async fn block_positions(&self, after: ShareSeq, upto: ShareSeq) -> Result<Vec<ShareSeq>, StoreError> {
        folding::block_positions(&self.readers, after, upto).await
    }

    async fn blocks_without_window(&self) -> Result<Vec<BlockRecord>, StoreError> {
        folding::blocks_without_window(&self.readers).await
    }

    async fn keep_window(&self, hash: BlockHash, window: &FrozenWindow) -> Result<(), StoreError> {
        in_time(async {
            let mut session = self.session().await?;
            let mut transaction = begin(&mut session).await?;
            folding::keep_window(&mut transaction, hash, window).await?;
            Ok(transaction.commit().await?)
        })
        .await
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
                Commit::Done => {
                    crash_point::reach(format_args!("before commit {}", change.entry.kind));
                    transaction.commit().await?;
                    crash_point::reach(format_args!("after commit {}", change.entry.kind));
                }
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

    async fn block_window(&self, hash: BlockHash) -> Result<Option<FrozenWindow>, StoreError> {
        windows::of_block(&self.readers, hash).await
    }

    async fn due(&self, least: Amount) -> Result<Vec<Due>, StoreError> {
        batches::due(&self.readers, least).await
    }

    async fn due_of(&self, account: AccountId) -> Result<Option<Due>, StoreError> {
        batches::due_of(&self.readers, account).await
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

    async fn batches_to_watch(&self, height: u32) -> Result<Vec<BatchHead>, StoreError> {
        batches::to_watch(&self.readers, height).await
    }

    async fn attempts_of(&self, batch: BatchId) -> Result<Vec<Attempt>, StoreError> {
        attempts::of(&self.readers, batch).await
    }

    async fn batch_events(&self, batch: BatchId) -> Result<Vec<BatchEvent>, StoreError> {
        batch_events::of(&self.readers, batch).await
    }

    async fn note_batch(&self, batch: BatchId, event: &BatchEvent) -> Result<(), StoreError> {
        in_time(async {
            let mut session = self.session().await?;
            let mut transaction = begin(&mut session).await?;
            batch_events::note(&mut transaction, batch, event).await?;
            Ok(transaction.commit().await?)
        })
        .await
    }

    async fn add_attempt(&self, batch: BatchId, attempt: &Attempt, wallet_change: &str) -> Result<(), StoreError> {
        in_time(async {
            let mut session = self.session().await?;
            let mut transaction = begin(&mut session).await?;
            attempts::add(&mut transaction, batch, attempt).await?;
            entries::append_wallet_change(&mut transaction, wallet_change).await?;
            crash_point::reach(format_args!("before add attempt"));
            transaction.commit().await?;
            crash_point::reach(format_args!("after add attempt"));
            Ok(())
        })
        .await
    }

    async fn store_signed(&self, batch: BatchId, attempt: u32, transaction: &Transaction) -> Result<(), StoreError> {
        in_time(async {
            let mut session = self.session().await?;
            crash_point::reach(format_args!("before store signed"));
            attempts::store_signed(&mut session, batch, attempt, transaction).await?;
            crash_point::reach(format_args!("after store signed"));
            Ok(())
        })
        .await
    }

    async fn is_conflict_booked(&self, txid: Txid) -> Result<bool, StoreError> {
        batches::is_conflict_booked(&self.readers, txid).await
    }

    async fn restraint(&self, account: AccountId, restraint: Restraint) -> Result<Option<RestraintRow>, StoreError> {
        restraints::last(&self.readers, account, restraint).await
    }

    async fn restraints_in_force(&self) -> Result<Vec<RestraintRow>, StoreError> {
        restraints::in_force(&self.readers).await
    }

    async fn restraint_rows(&self, after: EntrySeq, limit: u32) -> Result<Vec<RestraintRow>, StoreError> {
        restraints::page(&self.readers, after, limit).await
    }

    async fn threshold(&self, account: AccountId) -> Result<Option<Amount>, StoreError> {
        schedule::threshold(&self.readers, account).await
    }

    async fn set_threshold(&self, account: AccountId, threshold: Option<Amount>) -> Result<(), StoreError> {
        in_time(async {
            let mut session = self.session().await?;
            schedule::set_threshold(&mut session, account, threshold).await
        })
        .await
    }

    async fn last_run(&self) -> Result<Option<PayoutRun>, StoreError> {
        schedule::last_run(&self.readers).await
    }

    async fn note_run(&self, run: &PayoutRun) -> Result<(), StoreError> {
        in_time(async {
            let mut session = self.session().await?;
            let mut transaction = begin(&mut session).await?;
            schedule::note_run(&mut transaction, run).await?;
            Ok(transaction.commit().await?)
        })
        .await
    }

    async fn register_head(&self) -> Result<RegisterHead, StoreError> {
        register::head(&self.readers).await
    }

    async fn register_rows(&self, after: RowSeq, limit: u32) -> Result<Vec<RegisterRow>, StoreError> {
        register::page(&self.readers, after, limit).await
    }

    async fn journal_head(&self) -> Result<JournalHead, StoreError> {
        journal::head(&self.readers).await
    }

    async fn append_journal(&self, rows: &[JournalRow]) -> Result<Commit, StoreError> {
        self.write_journal(rows, JournalStep::Append).await
    }

    async fn journal_rows(&self, after: JournalSeq, limit: u32) -> Result<Vec<JournalRow>, StoreError> {
        journal::page(&self.readers, after, limit).await
    }

    async fn journal_of(
        &self,
        kind: &str,
        after: (&str, JournalSeq),
        limit: u32,
    ) -> Result<Vec<JournalRow>, StoreError> {
        journal::of_kind(&self.readers, kind, after, limit).await
    }

    async fn journal_about(&self, kind: &str, subject: &str, limit: u32) -> Result<Vec<JournalRow>, StoreError> {
        journal::newest(&self.readers, kind, subject, limit).await
    }

    async fn save_party(&self, id: PartyId, sealed: &[u8], rows: &[JournalRow]) -> Result<Commit, StoreError> {
        self.write_journal(rows, JournalStep::SaveParty(id, sealed)).await
    }

    async fn erase_party(&self, id: PartyId, rows: &[JournalRow]) -> Result<Commit, StoreError> {
        self.write_journal(rows, JournalStep::EraseParty(id)).await
    }

    async fn parties(&self) -> Result<Vec<(PartyId, Vec<u8>)>, StoreError> {
        journal::parties(&self.readers).await
    }

    async fn append_wallet_change(&self, change: &str) -> Result<(), StoreError> {
        in_time(async {
            let mut session = self.session().await?;
            crash_point::reach(format_args!("before append wallet change"));
            entries::append_wallet_change(&mut session, change).await?;
            crash_point::reach(format_args!("after append wallet change"));
            Ok(())
        })
        .await
    }

    async fn wallet_changes(&self) -> Result<Vec<String>, StoreError> {
        let select = sqlx::query_scalar("SELECT change FROM wallet_changes ORDER BY seq");
        Ok(select.fetch_all(&self.readers).await?)
    }

    async fn settings(&self, account: AccountId) -> Result<Option<AccountSettings>, StoreError> {
        settings::latest(&self.readers, account).await
    }

    async fn append_settings(
        &self,
        account: AccountId,
        from: ShareSeq,
        settings: &AccountSettings,
    ) -> Result<(), StoreError> {
        in_time(async {
            let mut session = self.session().await?;
            let mut transaction = begin(&mut session).await?;
            settings::append(&mut transaction, account, from, settings).await?;
            Ok(transaction.commit().await?)
        })
        .await
    }

    async fn wishes(&self, position: ShareSeq) -> Result<BTreeMap<AccountId, Wishes>, StoreError> {
        settings::wishes(&self.readers, position).await
    }

    async fn period(&self, number: PeriodNumber) -> Result<Option<Period>, StoreError> {
        periods::by_number(&self.readers, number).await
    }

    async fn last_period(&self) -> Result<Option<Period>, StoreError> {
        periods::last(&self.readers).await
    }

    async fn uncredited_periods(&self) -> Result<Vec<Period>, StoreError> {
        periods::uncredited(&self.readers).await
    }

    async fn save_periods(&self, saved: &[Period]) -> Result<(), StoreError> {
        in_time(async {
            let mut session = self.session().await?;
            let mut transaction = begin(&mut session).await?;
            for period in saved {
                periods::save(&mut transaction, period).await?;
            }
            Ok(transaction.commit().await?)
        })
        .await
    }

    async fn carried(&self) -> Result<BTreeMap<AccountId, Earned>, StoreError> {
        periods::carried(&self.readers).await
    }

    async fn period_work(&self, number: PeriodNumber, account: AccountId) -> Result<Vec<PeriodWork>, StoreError> {
        periods::work(&self.readers, number, account).await
    }

    async fn period_earnings(&self, number: PeriodNumber) -> Result<Vec<PeriodEarning>, StoreError> {
        periods::earnings(&self.readers, number).await
    }

    async fn period_lots(&self, number: PeriodNumber) -> Result<Vec<PeriodLot>, StoreError> {
        periods::lots(&self.readers, number).await
    }

    async fn reserve_lots(&self) -> Result<Vec<ReserveLot>, StoreError> {
        reserve::lots(&self.readers).await
    }

    async fn pool_coins(&self, from: PoolMoney) -> Result<Vec<Lot>, StoreError> {
        reserve::pool_coins(&self.readers, from).await
    }

    async fn deposits(&self) -> Result<Vec<Deposit>, StoreError> {
        reserve::deposits(&self.readers).await
    }

    async fn network_block(&self, height: u32) -> Result<Option<NetworkBlockRow>, StoreError> {
        periods::network_block(&self.readers, height).await
    }

    async fn save_network_block(&self, block: &NetworkBlockRow) -> Result<(), StoreError> {
        in_time(async {
            let mut session = self.session().await?;
            periods::save_network_block(&mut session, block).await
        })
        .await
    }
}

impl Backend {
    /// Appends rows to the journal together with what else belongs to the step; neither if the journal's head is another.
    async fn write_journal(&self, rows: &[JournalRow], step: JournalStep<'_>) -> Result<Commit, StoreError> {
        in_time(async {
            let mut session = self.session().await?;
            let mut transaction = begin(&mut session).await?;
            let appended = journal::append(&mut transaction, rows).await?;
            if appended != Commit::Done {
                transaction.rollback().await?;
                return Ok(appended);
            }
            step.write(&mut transaction).await?;
            crash_point::reach(format_args!("before {}", step.name()));
            transaction.commit().await?;
            crash_point::reach(format_args!("after {}", step.name()));
            Ok(Commit::Done)
        })
        .await
    }
}

/// Waits for a write, but not for ever.
async fn in_time<T>(write: impl Future<Output = Result<T, StoreError>>) -> Result<T, StoreError> {
    let silent = |_| Err(sqlx::Error::Io(io::ErrorKind::TimedOut.into()).into());
    timeout(WRITE_TIMEOUT, write).await.unwrap_or_else(silent)
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
