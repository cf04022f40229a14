//! A store that fails as it is told, over a real one; and stores that are wrong on purpose.

use std::{
    collections::BTreeMap,
    future::pending,
    io,
    sync::{Arc, Mutex, PoisonError},
};

use async_trait::async_trait;
use bitcoin::{Address, Amount, BlockHash, OutPoint, SignedAmount, Transaction, Txid};
use payouts::{
    Account, AccountId, SqliteStore, Store, StoreError,
    access::{Added, Answer, Audience, AuditRow, AuditSeq, Claim, Digest, NewToken, Token, TokenId},
    account::{AccountName, AccountSettings, Naming},
    books::{BlockCredit, BlockRecord, FrozenWindow},
    crediting::{NetworkBlockRow, Period, PeriodEarning, PeriodLot, PeriodNumber, PeriodWork, ReserveLot},
    deposits::Deposit,
    export::{
        Lot,
        journal::{JournalHead, JournalRow, JournalSeq},
        party::PartyId,
        register::{RegisterHead, RegisterRow, RowSeq},
    },
    history::{BlockWork, Past, PeakRow, Progress, RefusedRow, Resolution, Subject, WorkerId, WorkerShares},
    ledger::{Entry, EntryKind, EntrySeq, Head, LedgerAccount},
    payout::{
        Attempt, Batch, BatchEvent, BatchHead, BatchId, BatchState, Due, PaidOutput, PayoutRun, Restraint, RestraintRow,
    },
    reserve::PoolMoney,
    scheme::{beneficiary::Wishes, pps::Earned},
    share::{Appended, JobTerms, JobWork, Segment, SegmentSize, ShareGroup, ShareSeq, ShareTotals, Work, WorkerTotals},
    store::{
        AccessStore, AccountCredit, AccountLine, AccountPayment, AccountPosting, AuditFilter, BalanceSum, Change,
        Commit, EntryFilter, EntryLine, EntryRange, HistoryStep, HistoryStore, PageStore, RecordFilter, RecordRange,
        Row, SearchStore,
    },
};
use serde_json::Value;

use crate::faults::{Call, Faults, Harm};

/// A mistake that a store makes on purpose, to see that the model finds it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mistake {
    /// The first share of a group is said to be stored, and is not.
    ShareDropped,
    /// A confirmation is booked without the last of its register rows.
    RegisterRowDropped,
    /// What a batch has reserved is due again.
    ReservationForgotten,
    /// Confirmed batches are never looked at again.
    ReorganisationUnseen,
    /// A batch is stored without the locks on its coins.
    LocksDropped,
    /// What is said to be stored of a broadcast is not.
    BroadcastDropped,
}

/// A store between the pool and SQLite.
#[derive(Debug)]
pub(crate) struct FallibleStore {
    inner: SqliteStore,
    faults: Arc<Faults>,
    mistake: Option<Mistake>,
    /// What [`Mistake::ReservationForgotten`] remembers instead.
    due: Mutex<Vec<(Due, Vec<Lot>)>>,
}

impl FallibleStore {
    pub(crate) fn new(inner: SqliteStore, faults: Arc<Faults>, mistake: Option<Mistake>) -> Self {
        Self { inner, faults, mistake, due: Mutex::default() }
    }

    fn makes(&self, mistake: Mistake) -> bool {
        self.mistake == Some(mistake)
    }

    /// Lets a call through to the store, unless a fault comes between.
    async fn call<T>(&self, call: Call, done: impl Future<Output = Result<T, StoreError>>) -> Result<T, StoreError> {
        let outage = || Err(sqlx::Error::Io(io::ErrorKind::ConnectionReset.into()).into());
        match self.faults.next(call) {
            None => done.await,
            Some(Harm::Refused | Harm::Busy) => outage(),
            Some(Harm::Lost) => {
                done.await?;
                outage()
            }
            Some(Harm::Crash) => {
                self.faults.die();
                pending().await
            }
            Some(Harm::CrashAfter) => {
                let _ = done.await;
                self.faults.die();
                pending().await
            }
        }
    }

    fn remembered(&self) -> std::sync::MutexGuard<'_, Vec<(Due, Vec<Lot>)>> {
        self.due.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl AccessStore for FallibleStore {
    async fn add_token(&self, token: &NewToken) -> Result<Added, StoreError> {
        self.call(Call::Write, self.inner.add_token(token)).await
    }

    async fn find_token(&self, hash: Digest) -> Result<Option<Token>, StoreError> {
        self.call(Call::Read, self.inner.find_token(hash)).await
    }

    async fn token(&self, id: TokenId) -> Result<Option<Token>, StoreError> {
        self.call(Call::Read, self.inner.token(id)).await
    }

    async fn tokens(&self, after: TokenId, limit: u32) -> Result<Vec<Token>, StoreError> {
        self.call(Call::Read, self.inner.tokens(after, limit)).await
    }

    async fn revoke_token(&self, id: TokenId, at_ms: i64) -> Result<bool, StoreError> {
        self.call(Call::Write, self.inner.revoke_token(id, at_ms)).await
    }

    async fn note_token_use(&self, id: TokenId, at_ms: i64) -> Result<(), StoreError> {
        self.call(Call::Write, self.inner.note_token_use(id, at_ms)).await
    }

    async fn page_audience(&self, account: AccountId) -> Result<Audience, StoreError> {
        self.call(Call::Read, self.inner.page_audience(account)).await
    }

    async fn set_page_audience(&self, account: AccountId, audience: Audience, at_ms: i64) -> Result<(), StoreError> {
        self.call(Call::Write, self.inner.set_page_audience(account, audience, at_ms)).await
    }

    async fn begin_audit(&self, at_ms: i64, actor: &str, action: &str) -> Result<AuditSeq, StoreError> {
        self.call(Call::Write, self.inner.begin_audit(at_ms, actor, action)).await
    }

    async fn end_audit(&self, seq: AuditSeq, at_ms: i64, outcome: &str) -> Result<(), StoreError> {
        self.call(Call::Write, self.inner.end_audit(seq, at_ms, outcome)).await
    }

    async fn audit_rows(&self, before: Option<AuditSeq>, limit: u32) -> Result<Vec<AuditRow>, StoreError> {
        self.call(Call::Read, self.inner.audit_rows(before, limit)).await
    }

    async fn claim_answer(
        &self,
        token: TokenId,
        key: &str,
        request: Digest,
        at_ms: i64,
        forget_before_ms: i64,
    ) -> Result<Claim, StoreError> {
        self.call(Call::Write, self.inner.claim_answer(token, key, request, at_ms, forget_before_ms)).await
    }

    async fn keep_answer(&self, token: TokenId, key: &str, answer: &Answer) -> Result<(), StoreError> {
        self.call(Call::Write, self.inner.keep_answer(token, key, answer)).await
    }
}

#[async_trait]
impl HistoryStore for FallibleStore {
    async fn history_progress(&self) -> Result<Option<Progress>, StoreError> {
        self.call(Call::Read, self.inner.history_progress()).await
    }

    async fn shares_by_worker(
        &self,
        after: ShareSeq,
        upto: ShareSeq,
        worker: WorkerId,
    ) -> Result<Vec<WorkerShares>, StoreError> {
        self.call(Call::Read, self.inner.shares_by_worker(after, upto, worker)).await
    }

    async fn all_work_between(&self, after: ShareSeq, upto: ShareSeq) -> Result<Work, StoreError> {
        self.call(Call::Read, self.inner.all_work_between(after, upto)).await
    }

    async fn step_history(&self, step: &HistoryStep) -> Result<bool, StoreError> {
        self.call(Call::Write, self.inner.step_history(step)).await
    }

    async fn add_to_history(&self, refused: &[RefusedRow], peaks: &[PeakRow]) -> Result<(), StoreError> {
        self.call(Call::Write, self.inner.add_to_history(refused, peaks)).await
    }

    async fn prune_history(&self, resolution: Resolution, before_ms: i64) -> Result<u64, StoreError> {
        self.call(Call::Write, self.inner.prune_history(resolution, before_ms)).await
    }

    async fn past(
        &self,
        subject: Subject,
        resolution: Resolution,
        from_ms: i64,
        to_ms: i64,
    ) -> Result<Past, StoreError> {
        self.call(Call::Read, self.inner.past(subject, resolution, from_ms, to_ms)).await
    }

    async fn worker_id(&self, account: AccountId, name: &str) -> Result<Option<WorkerId>, StoreError> {
        self.call(Call::Read, self.inner.worker_id(account, name)).await
    }

    async fn workers_seen(&self, account: Option<AccountId>, since_ms: i64) -> Result<u64, StoreError> {
        self.call(Call::Read, self.inner.workers_seen(account, since_ms)).await
    }

    async fn blocks_without_work(
        &self,
        from: ShareSeq,
        upto: ShareSeq,
        limit: u32,
    ) -> Result<Vec<(BlockHash, ShareSeq)>, StoreError> {
        self.call(Call::Read, self.inner.blocks_without_work(from, upto, limit)).await
    }

    async fn keep_block_work(&self, block: BlockHash, work: Work) -> Result<(), StoreError> {
        self.call(Call::Write, self.inner.keep_block_work(block, work)).await
    }

    async fn blocks_with_work(&self, limit: u32) -> Result<Vec<BlockWork>, StoreError> {
        self.call(Call::Read, self.inner.blocks_with_work(limit)).await
    }
}

#[async_trait]
impl PageStore for FallibleStore {
    async fn accounts_among(&self, ids: &[AccountId]) -> Result<Vec<Account>, StoreError> {
        self.call(Call::Read, self.inner.accounts_among(ids)).await
    }

    async fn blocks_after(&self, after: Option<(u32, BlockHash)>, limit: u32) -> Result<Vec<BlockRecord>, StoreError> {
        self.call(Call::Read, self.inner.blocks_after(after, limit)).await
    }

    async fn batches_before(&self, before: Option<BatchId>, limit: u32) -> Result<Vec<BatchHead>, StoreError> {
        self.call(Call::Read, self.inner.batches_before(before, limit)).await
    }

    async fn batch_head(&self, batch: BatchId) -> Result<Option<BatchHead>, StoreError> {
        self.call(Call::Read, self.inner.batch_head(batch)).await
    }

    async fn outputs_of(&self, batch: BatchId, after: Option<u32>, limit: u32) -> Result<Vec<PaidOutput>, StoreError> {
        self.call(Call::Read, self.inner.outputs_of(batch, after, limit)).await
    }

    async fn output_to(&self, batch: BatchId, account: AccountId) -> Result<Option<PaidOutput>, StoreError> {
        self.call(Call::Read, self.inner.output_to(batch, account)).await
    }

    async fn postings_of(
        &self,
        account: AccountId,
        before: Option<(EntrySeq, u32)>,
        limit: u32,
    ) -> Result<Vec<AccountPosting>, StoreError> {
        self.call(Call::Read, self.inner.postings_of(account, before, limit)).await
    }

    async fn payments_to(
        &self,
        account: AccountId,
        before: Option<BatchId>,
        limit: u32,
    ) -> Result<Vec<AccountPayment>, StoreError> {
        self.call(Call::Read, self.inner.payments_to(account, before, limit)).await
    }

    async fn postings_between(
        &self,
        account: AccountId,
        from_ms: i64,
        until_ms: i64,
        after: Option<(EntrySeq, u32)>,
        limit: u32,
    ) -> Result<Vec<AccountPosting>, StoreError> {
        self.call(Call::Read, self.inner.postings_between(account, from_ms, until_ms, after, limit)).await
    }

    async fn credits_to(
        &self,
        account: AccountId,
        after: Option<(u32, BlockHash)>,
        limit: u32,
    ) -> Result<Vec<AccountCredit>, StoreError> {
        self.call(Call::Read, self.inner.credits_to(account, after, limit)).await
    }

    async fn batch_of(&self, txid: Txid) -> Result<Option<BatchId>, StoreError> {
        self.call(Call::Read, self.inner.batch_of(txid)).await
    }

    async fn register_rows_of(&self, delivery: OutPoint) -> Result<Vec<RegisterRow>, StoreError> {
        self.call(Call::Read, self.inner.register_rows_of(delivery)).await
    }
}

#[async_trait]
impl SearchStore for FallibleStore {
    async fn account_lines(&self, text: &str, after: AccountId, limit: u32) -> Result<Vec<AccountLine>, StoreError> {
        self.call(Call::Read, self.inner.account_lines(text, after, limit)).await
    }

    async fn entries_where(
        &self,
        wanted: &EntryFilter,
        range: EntryRange,
        limit: u32,
    ) -> Result<Vec<Entry>, StoreError> {
        self.call(Call::Read, self.inner.entries_where(wanted, range, limit)).await
    }

    async fn entry_lines(
        &self,
        wanted: &EntryFilter,
        range: EntryRange,
        limit: u32,
    ) -> Result<Vec<EntryLine>, StoreError> {
        self.call(Call::Read, self.inner.entry_lines(wanted, range, limit)).await
    }

    async fn records_where(
        &self,
        wanted: &RecordFilter,
        range: RecordRange,
        limit: u32,
    ) -> Result<Vec<RegisterRow>, StoreError> {
        self.call(Call::Read, self.inner.records_where(wanted, range, limit)).await
    }

    async fn journal_about_any(&self, kind: &str, subjects: &[String]) -> Result<Vec<JournalRow>, StoreError> {
        self.call(Call::Read, self.inner.journal_about_any(kind, subjects)).await
    }

    async fn latest_journal_rows(
        &self,
        kind: &str,
        after: JournalSeq,
        limit: u32,
    ) -> Result<Vec<JournalRow>, StoreError> {
        self.call(Call::Read, self.inner.latest_journal_rows(kind, after, limit)).await
    }

    async fn balance_sums(&self) -> Result<Vec<BalanceSum>, StoreError> {
        self.call(Call::Read, self.inner.balance_sums()).await
    }

    async fn audit_where(
        &self,
        wanted: &AuditFilter,
        before: Option<AuditSeq>,
        limit: u32,
    ) -> Result<Vec<AuditRow>, StoreError> {
        self.call(Call::Read, self.inner.audit_where(wanted, before, limit)).await
    }
}

#[async_trait]
impl Store for FallibleStore {
    async fn begin_session(&self) -> Result<i64, StoreError> {
        self.call(Call::Write, self.inner.begin_session()).await
    }

    async fn account(&self, address: &Address) -> Result<AccountId, StoreError> {
        self.call(Call::Write, self.inner.account(address)).await
    }

    async fn find_account(&self, address: &str) -> Result<Option<Account>, StoreError> {
        self.call(Call::Read, self.inner.find_account(address)).await
    }

    async fn find_named(&self, name: &AccountName) -> Result<Option<Account>, StoreError> {
        self.call(Call::Read, self.inner.find_named(name)).await
    }

    async fn accounts(&self, after: AccountId, limit: u32) -> Result<Vec<Account>, StoreError> {
        self.call(Call::Read, self.inner.accounts(after, limit)).await
    }

    async fn named_accounts(&self, after: AccountId, limit: u32) -> Result<Vec<Account>, StoreError> {
        self.call(Call::Read, self.inner.named_accounts(after, limit)).await
    }

    async fn name_account(&self, account: AccountId, name: Option<&AccountName>) -> Result<Naming, StoreError> {
        self.call(Call::Write, self.inner.name_account(account, name)).await
    }

    async fn append_shares(&self, group: &ShareGroup) -> Result<Appended, StoreError> {
        let mut group = group.clone();
        if self.makes(Mistake::ShareDropped) && group.runs.len() > 1 {
            group.runs.remove(0);
        }
        self.call(Call::Write, self.inner.append_shares(&group)).await
    }

    async fn share_position(&self) -> Result<ShareSeq, StoreError> {
        self.call(Call::Read, self.inner.share_position()).await
    }

    async fn segments_back(&self, newest: ShareSeq, rows: u32) -> Result<Vec<Segment>, StoreError> {
        self.call(Call::Read, self.inner.segments_back(newest, rows)).await
    }

    async fn work_between(&self, after: ShareSeq, upto: ShareSeq) -> Result<Vec<JobWork>, StoreError> {
        self.call(Call::Read, self.inner.work_between(after, upto)).await
    }

    async fn jobs_between(&self, after: ShareSeq, upto: ShareSeq) -> Result<Vec<JobTerms>, StoreError> {
        self.call(Call::Read, self.inner.jobs_between(after, upto)).await
    }

    async fn share_totals(&self, account: Option<AccountId>, since_ms: i64) -> Result<ShareTotals, StoreError> {
        self.call(Call::Read, self.inner.share_totals(account, since_ms)).await
    }

    async fn worker_totals(&self, account: AccountId, since_ms: i64) -> Result<Vec<WorkerTotals>, StoreError> {
        self.call(Call::Read, self.inner.worker_totals(account, since_ms)).await
    }

    async fn shares_kept_since(&self) -> Result<Option<i64>, StoreError> {
        self.call(Call::Read, self.inner.shares_kept_since()).await
    }

    async fn position_at(&self, at_ms: i64) -> Result<ShareSeq, StoreError> {
        self.call(Call::Read, self.inner.position_at(at_ms)).await
    }

    async fn segment_sizes(&self, after: ShareSeq, upto: ShareSeq, limit: u32) -> Result<Vec<SegmentSize>, StoreError> {
        self.call(Call::Read, self.inner.segment_sizes(after, upto, limit)).await
    }

    async fn fold_segments(&self, after: ShareSeq, upto: ShareSeq) -> Result<u64, StoreError> {
        self.call(Call::Write, self.inner.fold_segments(after, upto)).await
    }

    async fn delete_segments(&self, upto: ShareSeq, rows: u32) -> Result<u64, StoreError> {
        self.call(Call::Write, self.inner.delete_segments(upto, rows)).await
    }

    async fn block_positions(&self, after: ShareSeq, upto: ShareSeq) -> Result<Vec<ShareSeq>, StoreError> {
        self.call(Call::Read, self.inner.block_positions(after, upto)).await
    }

    async fn blocks_without_window(&self) -> Result<Vec<BlockRecord>, StoreError> {
        self.call(Call::Read, self.inner.blocks_without_window()).await
    }

    async fn keep_window(&self, hash: BlockHash, window: &FrozenWindow) -> Result<(), StoreError> {
        self.call(Call::Write, self.inner.keep_window(hash, window)).await
    }

    async fn head(&self) -> Result<Head, StoreError> {
        self.call(Call::Read, self.inner.head()).await
    }

    async fn commit(&self, mut change: Change) -> Result<Commit, StoreError> {
        if self.makes(Mistake::RegisterRowDropped)
            && change.entry.kind == EntryKind::Confirmed
            && matches!(change.rows.last(), Some(Row::Registered(_)))
        {
            change.rows.pop();
        }
        if self.makes(Mistake::LocksDropped) {
            for row in &mut change.rows {
                if let Row::BatchCreated { wallet_change, .. } = row {
                    *wallet_change = without_locks(wallet_change);
                }
            }
        }
        if self.makes(Mistake::BroadcastDropped) && change.entry.kind == EntryKind::Broadcast {
            return Ok(Commit::Done);
        }
        self.call(Call::Write, self.inner.commit(change)).await
    }

    async fn entry(&self, kind: EntryKind, key: &str) -> Result<Option<Entry>, StoreError> {
        self.call(Call::Read, self.inner.entry(kind, key)).await
    }

    async fn entries(&self, after: EntrySeq, limit: u32) -> Result<Vec<Entry>, StoreError> {
        self.call(Call::Read, self.inner.entries(after, limit)).await
    }

    async fn balances(&self) -> Result<BTreeMap<LedgerAccount, SignedAmount>, StoreError> {
        self.call(Call::Read, self.inner.balances()).await
    }

    async fn balance(&self, account: LedgerAccount) -> Result<SignedAmount, StoreError> {
        self.call(Call::Read, self.inner.balance(account)).await
    }

    async fn block(&self, hash: BlockHash) -> Result<Option<BlockRecord>, StoreError> {
        self.call(Call::Read, self.inner.block(hash)).await
    }

    async fn blocks(&self, limit: u32) -> Result<Vec<BlockRecord>, StoreError> {
        self.call(Call::Read, self.inner.blocks(limit)).await
    }

    async fn blocks_to_watch(&self, height: u32) -> Result<Vec<BlockRecord>, StoreError> {
        self.call(Call::Read, self.inner.blocks_to_watch(height)).await
    }

    async fn credits(&self, hash: BlockHash) -> Result<Vec<BlockCredit>, StoreError> {
        self.call(Call::Read, self.inner.credits(hash)).await
    }

    async fn block_window(&self, hash: BlockHash) -> Result<Option<FrozenWindow>, StoreError> {
        self.call(Call::Read, self.inner.block_window(hash)).await
    }

    async fn due(&self, least: Amount) -> Result<Vec<Due>, StoreError> {
        let due = self.call(Call::Read, self.inner.due(least)).await?;
        if !self.makes(Mistake::ReservationForgotten) {
            return Ok(due);
        }
        for one in due {
            let lots = self.inner.unpaid_lots(one.account).await?;
            self.remembered().push((one, lots));
        }
        let mut all = BTreeMap::new();
        self.remembered().iter().for_each(|(due, _)| drop(all.insert(due.account, due.clone())));
        Ok(all.into_values().collect())
    }

    async fn due_of(&self, account: AccountId) -> Result<Option<Due>, StoreError> {
        self.call(Call::Read, self.inner.due_of(account)).await
    }

    async fn unpaid_lots(&self, account: AccountId) -> Result<Vec<Lot>, StoreError> {
        let lots = self.call(Call::Read, self.inner.unpaid_lots(account)).await?;
        let forgotten = self.remembered().iter().rfind(|(due, _)| due.account == account).map(|(_, lots)| lots.clone());
        Ok(forgotten.unwrap_or(lots))
    }

    async fn batch(&self, id: BatchId) -> Result<Option<Batch>, StoreError> {
        self.call(Call::Read, self.inner.batch(id)).await
    }

    async fn batches(&self, limit: u32) -> Result<Vec<Batch>, StoreError> {
        self.call(Call::Read, self.inner.batches(limit)).await
    }

    async fn batches_to_watch(&self, height: u32) -> Result<Vec<BatchHead>, StoreError> {
        let mut batches = self.call(Call::Read, self.inner.batches_to_watch(height)).await?;
        if self.makes(Mistake::ReorganisationUnseen) {
            batches.retain(|batch| !matches!(batch.state, BatchState::Confirmed(..)));
        }
        Ok(batches)
    }

    async fn attempts_of(&self, batch: BatchId) -> Result<Vec<Attempt>, StoreError> {
        self.call(Call::Read, self.inner.attempts_of(batch)).await
    }

    async fn batch_events(&self, batch: BatchId) -> Result<Vec<BatchEvent>, StoreError> {
        self.call(Call::Read, self.inner.batch_events(batch)).await
    }

    async fn note_batch(&self, batch: BatchId, event: &BatchEvent) -> Result<(), StoreError> {
        self.call(Call::Write, self.inner.note_batch(batch, event)).await
    }

    async fn add_attempt(&self, batch: BatchId, attempt: &Attempt, wallet_change: &str) -> Result<(), StoreError> {
        self.call(Call::Write, self.inner.add_attempt(batch, attempt, wallet_change)).await
    }

    async fn store_signed(&self, batch: BatchId, attempt: u32, transaction: &Transaction) -> Result<(), StoreError> {
        self.call(Call::Write, self.inner.store_signed(batch, attempt, transaction)).await
    }

    async fn is_conflict_booked(&self, txid: Txid) -> Result<bool, StoreError> {
        self.call(Call::Read, self.inner.is_conflict_booked(txid)).await
    }

    async fn restraint(&self, account: AccountId, restraint: Restraint) -> Result<Option<RestraintRow>, StoreError> {
        self.call(Call::Read, self.inner.restraint(account, restraint)).await
    }

    async fn restraints_in_force(&self) -> Result<Vec<RestraintRow>, StoreError> {
        self.call(Call::Read, self.inner.restraints_in_force()).await
    }

    async fn restraint_rows(&self, after: EntrySeq, limit: u32) -> Result<Vec<RestraintRow>, StoreError> {
        self.call(Call::Read, self.inner.restraint_rows(after, limit)).await
    }

    async fn threshold(&self, account: AccountId) -> Result<Option<Amount>, StoreError> {
        self.call(Call::Read, self.inner.threshold(account)).await
    }

    async fn set_threshold(&self, account: AccountId, threshold: Option<Amount>) -> Result<(), StoreError> {
        self.call(Call::Write, self.inner.set_threshold(account, threshold)).await
    }

    async fn last_run(&self) -> Result<Option<PayoutRun>, StoreError> {
        self.call(Call::Read, self.inner.last_run()).await
    }

    async fn note_run(&self, run: &PayoutRun) -> Result<(), StoreError> {
        self.call(Call::Write, self.inner.note_run(run)).await
    }

    async fn register_head(&self) -> Result<RegisterHead, StoreError> {
        self.call(Call::Read, self.inner.register_head()).await
    }

    async fn register_rows(&self, after: RowSeq, limit: u32) -> Result<Vec<RegisterRow>, StoreError> {
        self.call(Call::Read, self.inner.register_rows(after, limit)).await
    }

    async fn journal_head(&self) -> Result<JournalHead, StoreError> {
        self.call(Call::Read, self.inner.journal_head()).await
    }

    async fn append_journal(&self, rows: &[JournalRow]) -> Result<Commit, StoreError> {
        self.call(Call::Write, self.inner.append_journal(rows)).await
    }

    async fn journal_rows(&self, after: JournalSeq, limit: u32) -> Result<Vec<JournalRow>, StoreError> {
        self.call(Call::Read, self.inner.journal_rows(after, limit)).await
    }

    async fn journal_of(
        &self,
        kind: &str,
        after: (&str, JournalSeq),
        limit: u32,
    ) -> Result<Vec<JournalRow>, StoreError> {
        self.call(Call::Read, self.inner.journal_of(kind, after, limit)).await
    }

    async fn journal_about(&self, kind: &str, subject: &str, limit: u32) -> Result<Vec<JournalRow>, StoreError> {
        self.call(Call::Read, self.inner.journal_about(kind, subject, limit)).await
    }

    async fn save_party(&self, id: PartyId, sealed: &[u8], rows: &[JournalRow]) -> Result<Commit, StoreError> {
        self.call(Call::Write, self.inner.save_party(id, sealed, rows)).await
    }

    async fn erase_party(&self, id: PartyId, rows: &[JournalRow]) -> Result<Commit, StoreError> {
        self.call(Call::Write, self.inner.erase_party(id, rows)).await
    }

    async fn parties(&self) -> Result<Vec<(PartyId, Vec<u8>)>, StoreError> {
        self.call(Call::Read, self.inner.parties()).await
    }

    async fn append_wallet_change(&self, change: &str) -> Result<(), StoreError> {
        self.call(Call::Write, self.inner.append_wallet_change(change)).await
    }

    async fn wallet_changes(&self) -> Result<Vec<String>, StoreError> {
        self.call(Call::Read, self.inner.wallet_changes()).await
    }

    async fn settings(&self, account: AccountId) -> Result<Option<AccountSettings>, StoreError> {
        self.call(Call::Read, self.inner.settings(account)).await
    }

    async fn append_settings(
        &self,
        account: AccountId,
        from: ShareSeq,
        settings: &AccountSettings,
    ) -> Result<(), StoreError> {
        self.call(Call::Write, self.inner.append_settings(account, from, settings)).await
    }

    async fn wishes(&self, position: ShareSeq) -> Result<BTreeMap<AccountId, Wishes>, StoreError> {
        self.call(Call::Read, self.inner.wishes(position)).await
    }

    async fn period(&self, number: PeriodNumber) -> Result<Option<Period>, StoreError> {
        self.call(Call::Read, self.inner.period(number)).await
    }

    async fn last_period(&self) -> Result<Option<Period>, StoreError> {
        self.call(Call::Read, self.inner.last_period()).await
    }

    async fn uncredited_periods(&self) -> Result<Vec<Period>, StoreError> {
        self.call(Call::Read, self.inner.uncredited_periods()).await
    }

    async fn save_periods(&self, periods: &[Period]) -> Result<(), StoreError> {
        self.call(Call::Write, self.inner.save_periods(periods)).await
    }

    async fn carried(&self) -> Result<BTreeMap<AccountId, Earned>, StoreError> {
        self.call(Call::Read, self.inner.carried()).await
    }

    async fn period_work(&self, number: PeriodNumber, account: AccountId) -> Result<Vec<PeriodWork>, StoreError> {
        self.call(Call::Read, self.inner.period_work(number, account)).await
    }

    async fn period_earnings(&self, number: PeriodNumber) -> Result<Vec<PeriodEarning>, StoreError> {
        self.call(Call::Read, self.inner.period_earnings(number)).await
    }

    async fn period_lots(&self, number: PeriodNumber) -> Result<Vec<PeriodLot>, StoreError> {
        self.call(Call::Read, self.inner.period_lots(number)).await
    }

    async fn reserve_lots(&self) -> Result<Vec<ReserveLot>, StoreError> {
        self.call(Call::Read, self.inner.reserve_lots()).await
    }

    async fn pool_coins(&self, from: PoolMoney) -> Result<Vec<Lot>, StoreError> {
        self.call(Call::Read, self.inner.pool_coins(from)).await
    }

    async fn deposits(&self) -> Result<Vec<Deposit>, StoreError> {
        self.call(Call::Read, self.inner.deposits()).await
    }

    async fn network_block(&self, height: u32) -> Result<Option<NetworkBlockRow>, StoreError> {
        self.call(Call::Read, self.inner.network_block(height)).await
    }

    async fn save_network_block(&self, block: &NetworkBlockRow) -> Result<(), StoreError> {
        self.call(Call::Write, self.inner.save_network_block(block)).await
    }
}

/// A wallet's change without the coins that it locks.
fn without_locks(change: &str) -> String {
    let mut change: Value = serde_json::from_str(change).expect("changes are JSON");
    let locked = change["locked_outpoints"]["outpoints"].as_object_mut().expect("a batch locks its coins");
    assert!(!locked.is_empty(), "a batch locks its coins");
    locked.clear();
    change.to_string()
}
