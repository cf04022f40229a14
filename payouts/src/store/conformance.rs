//! What every store must do. Each function takes an empty store; a backend's tests call them all.

#![allow(clippy::unwrap_used)]

use std::{num::NonZeroU32, sync::Arc};

use bitcoin::{
    Address, Amount, BlockHash, CompactTarget, Network, OutPoint, PubkeyHash, Transaction, Txid, absolute::LockTime,
    consensus::encode::serialize_hex, hashes::Hash, transaction::Version,
};
use ruint::aliases::U512;

use crate::{
    account::{AccountId, AccountName, AccountSettings, Naming},
    audit,
    books::{BlockCredit, BlockPhase, BlockRecord, BlockState, FoundBlock, FrozenWindow},
    crediting::{
        CreditedPeriod, NetworkBlockRow, Period, PeriodEarning, PeriodEnd, PeriodLot, PeriodNumber, PeriodState,
        PeriodWork,
    },
    deposits::{self, ChainDeposit},
    export::{
        Lot, LotCredit,
        register::{ExportRecord, RecordState, RegisterHead, RegisterRow, RowSeq},
    },
    hash_chain::ChainHash,
    ledger::{Draft, DraftLines, EntryKind, EntrySeq, Head, LedgerAccount},
    payout::{
        Attempt, AttemptStage, Batch, BatchApproval, BatchEvent, BatchEventKind, BatchId, BatchState,
        ConfirmationBlock, PaidOutput, PayoutRun, Restraint, RestraintAct, RestraintRow, Slot,
    },
    reserve::{self, Gift, PoolMoney, Recipient},
    scheme::{
        beneficiary::{Donation, Wishes},
        network_fees::{FeeRatio, NetworkBlock},
        slice::{SlicePart, SliceParts},
        window::{Counted, EdgeSegment},
    },
    share::{
        Appended, Difficulty, JobNumber, JobTerms, JobWork, Reward, Segment, SegmentSize, ShareGroup, ShareRow,
        ShareRun, ShareSeq, Work, WorkerTotals,
    },
    store::{Change, Commit, Row, Store, StoreError},
};

mod access;
mod history;
mod journal;
mod pages;
mod payouts;
mod periods;
mod sales;
mod search;
mod shares;

pub(crate) use access::*;
pub(crate) use history::*;
pub(crate) use journal::*;
pub(crate) use pages::*;
pub(crate) use payouts::*;
pub(crate) use periods::*;
pub(crate) use sales::*;
pub(crate) use search::*;
pub(crate) use shares::*;

type AnyStore = Arc<dyn Store>;

pub(crate) fn address(id: u8) -> Address {
    Address::p2pkh(PubkeyHash::from_byte_array([id; 20]), Network::Regtest)
}

pub(crate) fn block_hash(id: u8) -> BlockHash {
    BlockHash::from_byte_array([id; 32])
}

/// A share of an eighth; `at_ms` tells it from others.
pub(crate) fn share(account: AccountId, at_ms: u32) -> ShareRun {
    ShareRun {
        account,
        worker: "rig".into(),
        job: job(0),
        difficulty: Difficulty::from_log2(-3).unwrap(),
        reward: Reward::Shared,
        count: 1,
        first_at_ms: i64::from(at_ms),
        last_at_ms: i64::from(at_ms),
    }
}

/// A job of session 1 at regtest's target.
pub(crate) fn job(made: u32) -> JobTerms {
    JobTerms {
        job: JobNumber::new((1 << 32) | i64::from(made)),
        position: ShareSeq::new(0),
        opened_at_ms: 0,
        prev_hash: Some(block_hash(8)),
        height: Some(9),
        nbits: CompactTarget::from_consensus(0x207f_ffff),
        subsidy: Some(Amount::from_sat(312_500_000)),
        fees: Some(Amount::from_sat(4_237_819)),
    }
}

/// The terms of the job with another target for the network.
pub(crate) fn job_at(made: u32, nbits: u32) -> JobTerms {
    JobTerms { nbits: CompactTarget::from_consensus(nbits), ..job(made) }
}

/// Stores shares in one segment of a new session, and returns its position.
pub(crate) async fn append(store: &dyn Store, runs: &[ShareRun]) -> ShareSeq {
    let session = store.begin_session().await.unwrap();
    let segment = ShareSeq::of_session(session, 1).unwrap();
    let group = ShareGroup { session, number: 1, segment, runs: runs.to_vec() };
    assert_eq!(store.append_shares(&group).await.unwrap(), Appended::Stored);
    segment
}

/// Stores each share in a segment of its own, in a new session, and returns their positions.
pub(crate) async fn append_each(store: &dyn Store, runs: &[ShareRun]) -> Vec<ShareSeq> {
    let session = store.begin_session().await.unwrap();
    let mut positions = Vec::with_capacity(runs.len());
    for (run, segment) in runs.iter().zip(1..) {
        let segment = ShareSeq::of_session(session, segment).unwrap();
        let group = ShareGroup { session, number: segment.get() & 0xffff_ffff, segment, runs: vec![run.clone()] };
        assert_eq!(store.append_shares(&group).await.unwrap(), Appended::Stored);
        positions.push(segment);
    }
    positions
}

fn draft(key: &str, sat: u64) -> DraftLines {
    Draft::begin(EntryKind::Broadcast, key)
        .debit(LedgerAccount::InFlight(BatchId::new(1)), Amount::from_sat(sat))
        .credit(LedgerAccount::Spendable, Amount::from_sat(sat))
}

async fn post(store: &AnyStore, lines: DraftLines, rows: Vec<Row>) -> Result<Commit, StoreError> {
    let head = store.head().await?;
    store.commit(Change { entry: lines.balanced().unwrap().seal(head, 1), rows }).await
}

pub(crate) async fn sessions_count_up(store: AnyStore) {
    assert_eq!(store.begin_session().await.unwrap(), 1);
    assert_eq!(store.begin_session().await.unwrap(), 2);
}

pub(crate) async fn an_address_has_one_account(store: AnyStore) {
    let first = store.account(&address(1)).await.unwrap();
    let second = store.account(&address(2)).await.unwrap();
    assert_ne!(first, second);
    assert_eq!(store.account(&address(1)).await.unwrap(), first);
    let found = store.find_account(&address(2).to_string()).await.unwrap().unwrap();
    assert_eq!((found.id, found.script_pubkey), (second, address(2).script_pubkey()));
    assert!(store.find_account("elsewhere").await.unwrap().is_none());
    assert_eq!(store.accounts(first, 10).await.unwrap().len(), 1);
}

pub(crate) async fn a_name_stays_with_the_account_that_had_it_first(store: AnyStore) {
    let (one, other) = (store.account(&address(1)).await.unwrap(), store.account(&address(2)).await.unwrap());
    let [farm, rack, shed]: [AccountName; 3] = ["farm", "rack", "shed"].map(|name| name.parse().unwrap());
    let naming = async |account, name: Option<&AccountName>| store.name_account(account, name).await.unwrap();
    let owner = async |name| store.find_named(name).await.unwrap().map(|account| account.id);
    let present = async |account: AccountId| {
        let before = AccountId::new(account.get() - 1);
        store.named_accounts(before, 1).await.unwrap().pop().filter(|found| found.id == account)?.name
    };
    assert_eq!(naming(one, None).await, Naming::Already);
    assert_eq!((naming(one, Some(&farm)).await, naming(other, Some(&rack)).await), (Naming::Done, Naming::Done));
    assert_eq!(naming(one, Some(&farm)).await, Naming::Already);
    assert_eq!((owner(&farm).await, owner(&rack).await, owner(&shed).await), (Some(one), Some(other), None));
    assert_eq!(naming(other, Some(&farm)).await, Naming::Reserved(one));
    assert_eq!(present(other).await.as_ref(), Some(&rack), "a name that was refused took another one along");

    // An account is found with its name in every way.
    let named = store.find_account(&address(1).to_string()).await.unwrap().unwrap();
    assert_eq!(named.name.as_ref(), Some(&farm));
    assert_eq!(store.find_named(&farm).await.unwrap().as_ref(), Some(&named));
    let unnamed = store.account(&address(3)).await.unwrap();
    let all = store.accounts(AccountId::new(0), 10).await.unwrap();
    assert_eq!((all.len(), &all[0], all[2].id, &all[2].name), (3, &named, unnamed, &None));
    assert_eq!(store.named_accounts(AccountId::new(0), 10).await.unwrap(), all[..2]);
    assert_eq!(store.named_accounts(AccountId::new(0), 1).await.unwrap(), all[..1]);
    assert_eq!(store.named_accounts(one, 10).await.unwrap(), all[1..2]);

    // Another name takes the place of the first, which remains its account's, as does one that is taken away.
    assert_eq!((naming(one, Some(&shed)).await, naming(other, None).await), (Naming::Done, Naming::Done));
    assert_eq!((owner(&farm).await, owner(&rack).await, owner(&shed).await), (Some(one), Some(other), Some(one)));
    assert_eq!((present(one).await.as_ref(), present(other).await), (Some(&shed), None));
    assert_eq!(naming(other, Some(&farm)).await, Naming::Reserved(one));
    assert_eq!(naming(one, Some(&rack)).await, Naming::Reserved(other));
    assert_eq!((naming(one, Some(&farm)).await, naming(other, Some(&rack)).await), (Naming::Done, Naming::Done));
    assert_eq!((present(one).await, present(other).await), (Some(farm), Some(rack)));
}

/// An account of the time before accounts had names.
pub(crate) async fn an_account_of_the_sixth_schema_can_be_named(store: AnyStore) {
    let old = store.find_account("somewhere").await.unwrap().unwrap();
    assert_eq!((old.id.get(), old.name), (1, None));
    let farm = "farm".parse().unwrap();
    assert_eq!(store.name_account(old.id, Some(&farm)).await.unwrap(), Naming::Done);
    assert_eq!(store.find_named(&farm).await.unwrap().unwrap().address, "somewhere");
}

pub(crate) async fn an_entry_is_posted_once(store: AnyStore) {
    assert_eq!(store.head().await.unwrap(), Head::EMPTY);
    assert_eq!(post(&store, draft("a", 5), vec![]).await.unwrap(), Commit::Done);
    assert_eq!(post(&store, draft("a", 5), vec![]).await.unwrap(), Commit::Already(EntrySeq::new(1)));
    let error = post(&store, draft("a", 6), vec![]).await.unwrap_err();
    assert!(matches!(error, StoreError::DifferentEntry { kind: EntryKind::Broadcast, ref key } if key == "a"));
    assert_eq!(store.balance(LedgerAccount::Spendable).await.unwrap().to_sat(), -5);
    assert_eq!(store.entries(EntrySeq::new(0), 10).await.unwrap().len(), 1);
}

pub(crate) async fn an_entry_on_an_old_head_is_stale(store: AnyStore) {
    let head = store.head().await.unwrap();
    post(&store, draft("a", 5), vec![]).await.unwrap();
    let entry = draft("b", 7).balanced().unwrap().seal(head, 1);
    let rows = vec![Row::BlockMoved { hash: block_hash(1), state: BlockState::FOUND }];
    assert_eq!(store.commit(Change { entry, rows }).await.unwrap(), Commit::Stale);
    assert_eq!(store.entry(EntryKind::Broadcast, "b").await.unwrap(), None);
    assert_eq!(store.balance(LedgerAccount::Spendable).await.unwrap().to_sat(), -5);
}

pub(crate) async fn entries_are_read_as_they_were_posted(store: AnyStore) {
    let mut head = Head::EMPTY;
    let mut posted = Vec::new();
    for key in 1..=7 {
        let lines = draft(&key.to_string(), key);
        let lines = if key == 3 { lines.corrects(EntrySeq::new(1)) } else { lines };
        let entry = lines.balanced().unwrap().seal(head, 1_000 + key as i64);
        head = entry.head();
        posted.push(entry.clone());
        assert_eq!(store.commit(Change { entry, rows: vec![] }).await.unwrap(), Commit::Done);
    }
    assert_eq!(store.head().await.unwrap(), head);
    assert_eq!(store.entries(EntrySeq::new(2), 3).await.unwrap(), posted[2..5]);
    assert_eq!(store.entry(EntryKind::Broadcast, "3").await.unwrap().as_ref(), Some(&posted[2]));
    assert_eq!(store.entry(EntryKind::Reversed, "3").await.unwrap(), None);
    assert_eq!(audit::verify(&*store).await.unwrap().ledger, head);
}

pub(crate) async fn one_of_two_writers_at_a_head_wins(store: AnyStore) {
    let head = store.head().await.unwrap();
    let change = |key: &str| Change { entry: draft(key, 1).balanced().unwrap().seal(head, 1), rows: vec![] };
    let (one, other) = tokio::join!(store.commit(change("a")), store.commit(change("b")));
    let mut outcomes = [one.unwrap(), other.unwrap()];
    outcomes.sort_by_key(|outcome| *outcome == Commit::Stale);
    assert_eq!(outcomes, [Commit::Done, Commit::Stale]);
}

/// A window with weights as large as they can become.
fn frozen_window(account: AccountId) -> FrozenWindow {
    let large = (U512::ONE << 447) - U512::ONE;
    let position = ShareSeq::new(2);
    FrozenWindow {
        span: (position, ShareSeq::new(3)),
        edge: Some(EdgeSegment { position, weight: large, counted: large >> 1 }),
        accounts: [(account, Counted { shares: 7, weight: large })].into(),
        slices: Some(SliceParts {
            slices: 3,
            accounts: [(account, SlicePart { work: Work::of(Difficulty::MAX, u64::MAX), fees: U512::ONE << 256 })]
                .into(),
        }),
    }
}

/// Posts a matured block that credits one account.
async fn matured_block(store: &AnyStore, id: u8, account: AccountId, sat: u64) -> BlockRecord {
    let found = FoundBlock {
        hash: block_hash(id),
        height: id.into(),
        coinbase: OutPoint::new(Txid::from_byte_array([id; 32]), 1),
        value: Amount::from_sat(sat),
        subsidy: Amount::from_sat(sat - 1),
        finder: account,
        share_position: ShareSeq::new(3),
        nbits: CompactTarget::from_consensus(0x1703_4219),
        found_at_ms: 1_700_000_000_000,
        direct: format!("2:{account}=1").parse().unwrap(),
    };
    let state = BlockState { phase: BlockPhase::Matured, epoch: 2 };
    let rule = Some("tides window=8 fee_bp=0".parse().unwrap());
    let block = BlockRecord { found, fee: Amount::ZERO, reserve: Amount::ZERO, rule, state };
    let credits = vec![BlockCredit { account, amount: Amount::from_sat(sat), paid: Amount::ZERO }];
    let lines = Draft::begin(EntryKind::BlockFound, block_hash(id))
        .debit(LedgerAccount::Spendable, Amount::from_sat(sat))
        .credit(LedgerAccount::MinerPayable(account), Amount::from_sat(sat));
    let window = Some(frozen_window(account));
    let row = Row::BlockFound { block: block.clone(), credits, window };
    assert_eq!(post(store, lines, vec![row]).await.unwrap(), Commit::Done);
    block
}

pub(crate) async fn blocks_and_credits_are_kept(store: AnyStore) {
    let account = store.account(&address(1)).await.unwrap();
    let block = matured_block(&store, 9, account, 100).await;
    let older = matured_block(&store, 4, account, 50).await;
    assert_eq!(store.block(block_hash(9)).await.unwrap().as_ref(), Some(&block));
    assert_eq!(store.block(block_hash(1)).await.unwrap(), None);
    assert_eq!(store.blocks(10).await.unwrap(), [block.clone(), older.clone()]);
    let credits = store.credits(block_hash(9)).await.unwrap();
    assert_eq!(credits, [BlockCredit { account, amount: Amount::from_sat(100), paid: Amount::ZERO }]);

    // What the coinbase pays of a credit counts as paid until the block leaves the chain.
    let (hash, amount) = (block_hash(9), Amount::from_sat(30));
    let paid = async || store.credits(hash).await.unwrap()[0].paid.to_sat();
    let row = Row::DirectPaid { block: hash, account, amount };
    post(&store, draft("direct", 30), vec![row]).await.unwrap();
    assert_eq!(paid().await, 30);
    let row = Row::DirectVoid { block: hash, account, amount };
    post(&store, draft("not direct", 30), vec![row]).await.unwrap();
    assert_eq!(paid().await, 0);

    assert_eq!(store.block_window(block_hash(9)).await.unwrap(), Some(frozen_window(account)));
    assert_eq!(store.block_window(block_hash(1)).await.unwrap(), None);

    assert_eq!(store.block_positions(ShareSeq::new(2), ShareSeq::new(3)).await.unwrap(), [ShareSeq::new(3)]);
    assert_eq!(store.block_positions(ShareSeq::new(3), ShareSeq::new(9)).await.unwrap(), []);
    assert_eq!(store.blocks_without_window().await.unwrap(), []);
    store.keep_window(block_hash(9), &FrozenWindow { edge: None, ..frozen_window(account) }).await.unwrap();
    assert_eq!(store.block_window(block_hash(9)).await.unwrap(), Some(frozen_window(account)), "it is frozen");

    assert_eq!(store.blocks_to_watch(5).await.unwrap(), [block]);
    let state = BlockState { phase: BlockPhase::Immature, epoch: 3 };
    let lines = draft("moved", 0);
    post(&store, lines, vec![Row::BlockMoved { hash: older.found.hash, state }]).await.unwrap();
    let watched = store.blocks_to_watch(100).await.unwrap();
    assert_eq!(watched, [BlockRecord { state, ..older }]);

    // Only what is matured can be paid, the oldest first.
    let lots = store.unpaid_lots(account).await.unwrap();
    assert_eq!(lots.iter().map(|lot| lot.block).collect::<Vec<_>>(), [block_hash(9)]);
}

pub(crate) async fn a_change_that_fails_leaves_nothing(store: AnyStore) {
    let account = store.account(&address(1)).await.unwrap();
    matured_block(&store, 1, account, 100).await;
    let head = store.head().await.unwrap();
    let mut greedy = batch(&store, account, 100).await;
    // More than the credit holds: the store refuses, whoever asks.
    greedy.outputs[0].lots[0].amount = Amount::from_sat(101);
    let row = Row::BatchCreated { batch: greedy, wallet_change: "{}".to_owned() };
    assert!(post(&store, draft("greedy", 3), vec![row]).await.is_err());
    assert_eq!(store.head().await.unwrap(), head);
    assert_eq!(store.balance(LedgerAccount::InFlight(BatchId::new(1))).await.unwrap().to_sat(), 0);
    assert_eq!(store.batches(1).await.unwrap(), []);
    assert_eq!(store.wallet_changes().await.unwrap(), Vec::<String>::new());
    assert_eq!(store.unpaid_lots(account).await.unwrap()[0].amount.to_sat(), 100);
}

/// The record of a batch's only output.
fn record_of(batch: &Batch) -> ExportRecord {
    let PaidOutput { vout, due, fee, lots: _ } = batch.outputs[0].clone();
    let lots = batch.outputs[0].delivered_lots();
    ExportRecord {
        delivery: OutPoint::new(batch.txid(), vout),
        amount: due.amount - fee,
        account: due.account,
        address: due.address,
        script_pubkey: due.script_pubkey,
        lots,
    }
}

pub(crate) async fn register_rows_are_read_as_they_were_written(store: AnyStore) {
    let account = store.account(&address(1)).await.unwrap();
    matured_block(&store, 1, account, 100).await;
    matured_block(&store, 2, account, 50).await;
    let paid = batch(&store, account, 120).await;
    let record = record_of(&paid);
    let block = ConfirmationBlock { hash: block_hash(3), height: 30, time: 99 };
    let mut register = store.register_head().await.unwrap();
    assert_eq!(register, RegisterHead::EMPTY);
    let mut written = Vec::new();
    for (key, state) in [("there", RecordState::Delivered), ("back", RecordState::Reversed)] {
        let head = store.head().await.unwrap();
        let entry = draft(key, 0).balanced().unwrap().seal(head, 1);
        let row = RegisterRow::seal(register, record.clone(), state, block, &entry);
        register = row.head();
        written.push(row.clone());
        store.commit(Change { entry, rows: vec![Row::Registered(row)] }).await.unwrap();
    }
    assert_eq!(store.register_head().await.unwrap(), register);
    assert_eq!(store.register_rows(RowSeq::new(0), 10).await.unwrap(), written);
    assert_eq!(store.register_rows(RowSeq::new(1), 10).await.unwrap(), written[1..]);
    assert_eq!(store.register_rows(RowSeq::new(0), 1).await.unwrap(), written[..1]);
    assert_ne!(register.hash, ChainHash::ORIGIN);
    assert_eq!(store.register_rows_of(record.delivery).await.unwrap(), written);
    let other = OutPoint { vout: record.delivery.vout + 1, ..record.delivery };
    assert_eq!(store.register_rows_of(other).await.unwrap(), []);
}

/// Puts something into every table: books that pass the audit, with 2,500 rows of shares, a block, and a payout of a part of it.
pub(crate) async fn everything_is_in_use(store: AnyStore) {
    let account = store.account(&address(1)).await.unwrap();
    let rig = |index| ShareRun { worker: format!("rig {index}").into(), ..share(account, index) };
    append(&*store, &(0..2_500).map(rig).collect::<Vec<_>>()).await;
    matured_block(&store, 1, account, 100).await;
    let wishes = Wishes { donation: Donation::new(account, 1), division: [(account, NonZeroU32::MIN)].into() };
    let settings = AccountSettings { reward: Reward::Shared, wishes };
    store.append_settings(account, ShareSeq::new(1), &settings).await.unwrap();
    store.name_account(account, Some(&"farm".parse().unwrap())).await.unwrap();
    store.save_network_block(&network_block(3)).await.unwrap();
    deposits::follow(&*store, &[deposit(25)]).await.unwrap();
    reserve::give(&*store, &gift(10)).await.unwrap();
    credit_period(&store, account, 10).await;
    earn(&store, 15).await;

    let batch = batch(&store, account, 60).await;
    let lines = Draft::begin(EntryKind::PayoutCreated, batch.id)
        .debit(LedgerAccount::MinerPayable(account), Amount::from_sat(60))
        .credit(LedgerAccount::Reserved(batch.id), Amount::from_sat(58))
        .credit(LedgerAccount::NetworkFee, Amount::from_sat(2));
    let row = Row::BatchCreated { batch: batch.clone(), wallet_change: "{}".to_owned() };
    post(&store, lines, vec![row]).await.unwrap();
    store.store_signed(batch.id, 0, &transaction(0)).await.unwrap();
    post(&store, draft("sent", 69), vec![Row::BatchBroadcast { batch: batch.id, attempt: 0 }]).await.unwrap();

    let block = ConfirmationBlock { hash: block_hash(3), height: 30, time: 99 };
    let entry = Draft::begin(EntryKind::Confirmed, batch.id)
        .debit(LedgerAccount::Reserved(batch.id), Amount::from_sat(58))
        .credit(LedgerAccount::InFlight(batch.id), Amount::from_sat(58));
    let entry = entry.balanced().unwrap().seal(store.head().await.unwrap(), 1);
    let row = RegisterRow::seal(RegisterHead::EMPTY, record_of(&batch), RecordState::Delivered, block, &entry);
    let rows = vec![Row::BatchConfirmed { batch: batch.id, attempt: 0, block }, Row::Registered(row)];
    assert_eq!(store.commit(Change { entry, rows }).await.unwrap(), Commit::Done);

    sell(&store, account, 2, 12).await;
    data_of_a_party_can_be_changed_and_erased_with_its_row(Arc::clone(&store)).await;
    store.note_batch(batch.id, &event(BatchEventKind::Exported, "")).await.unwrap();
    store.set_threshold(account, Some(Amount::from_sat(5))).await.unwrap();
    let run = PayoutRun { schedule: "every 6h".parse().unwrap(), slot: Slot { at_ms: 6 }, at_ms: 7 };
    store.note_run(&run).await.unwrap();
    let entry = EntrySeq::new(store.head().await.unwrap().seq.get() + 1);
    let (restraint, act, reason) = (Restraint::Held, RestraintAct::Begun, "lost key".to_owned());
    let row = RestraintRow { entry, account, restraint, number: 1, act, reason, at_ms: 5 };
    let conflict =
        Row::ConflictBooked { txid: Txid::from_byte_array([9; 32]), batch: batch.id, loss: Amount::from_sat(3) };
    post(&store, draft("rows", 0), vec![Row::Restrained(row), conflict]).await.unwrap();
    everything_on_record(&store).await;
    everything_of_the_api(&store).await;
    everything_of_the_past(&store, block_hash(1)).await;
    audit::verify(&*store).await.unwrap();
}

/// Calls a macro with the name of every function above.
macro_rules! for_each_requirement {
    ($call:ident) => {
        $call! {
            sessions_count_up,
            journal_is_read_back_and_found_by_subject,
            latest_rows_of_the_journal_about_each_thing_are_found,
            rows_of_the_journal_about_some_things_are_found,
            journal_row_that_follows_no_head_changes_nothing,
            data_of_a_party_can_be_changed_and_erased_with_its_row,
            values_of_receipts_are_on_record_once,
            an_address_has_one_account,
            pages_of_blocks_and_batches_follow_each_other,
            some_accounts_are_found_by_their_numbers,
            outputs_of_a_batch_are_read_in_parts,
            postings_of_an_account_are_its_own_alone,
            accounts_are_found_by_parts_of_their_address_and_name,
            accounts_are_listed_with_their_last_share,
            entries_are_found_by_kind_and_account_in_both_orders,
            balances_are_summed_by_class,
            audit_log_is_found_by_actor_and_action,
            token_is_found_by_its_hash_until_and_after_it_is_revoked,
            tokens_in_force_have_labels_of_their_own,
            last_use_of_a_token_never_goes_back,
            page_of_an_account_is_public_unless_it_was_said_otherwise,
            audit_log_is_read_newest_first_with_what_came_of_it,
            same_request_under_a_key_gets_the_first_answer,
            a_name_stays_with_the_account_that_had_it_first,
            a_group_of_shares_is_stored_once_and_in_turn,
            shares_of_one_kind_are_one_row,
            a_run_counts_as_so_many_shares,
            a_group_of_any_size_is_stored_whole,
            a_group_larger_than_a_statement_is_stored_whole,
            segments_are_read_back_in_whole_from_a_position,
            share_totals_are_exact,
            workers_of_an_account_are_told_apart,
            folded_segments_keep_their_sums,
            jobs_say_where_the_log_was,
            shares_come_into_the_history_once,
            shares_for_the_history_come_by_worker,
            past_is_read_by_stretches_and_ends_with_its_time,
            refused_shares_are_added_up_and_peaks_stay,
            work_of_a_block_is_kept_once,
            an_entry_is_posted_once,
            an_entry_on_an_old_head_is_stale,
            entries_are_read_as_they_were_posted,
            one_of_two_writers_at_a_head_wins,
            blocks_and_credits_are_kept,
            a_batch_goes_through_its_life,
            an_approval_is_on_record_once,
            a_batch_that_ends_unpaid_gives_its_lots_back,
            restrained_accounts_are_not_due,
            an_account_has_a_threshold_of_its_own,
            runs_of_the_schedule_are_kept,
            a_change_that_fails_leaves_nothing,
            register_rows_are_read_as_they_were_written,
            register_rows_are_found_by_what_is_wanted_in_both_orders,
            settings_hold_from_their_position_on,
            a_block_of_the_network_is_kept_as_it_was,
            periods_and_their_lots_are_kept,
            coin_that_is_sold_is_there_no_more_until_it_is_given_back,
        }
    };
}

pub(crate) use for_each_requirement;
