//! What every store must do. Each function takes an empty store; a backend's tests call them all.

#![allow(clippy::unwrap_used)]

use std::sync::Arc;

use bitcoin::{
    Address, Amount, BlockHash, CompactTarget, Network, OutPoint, PubkeyHash, Transaction, Txid, absolute::LockTime,
    hashes::Hash, transaction::Version,
};

use crate::{
    account::AccountId,
    audit,
    books::{BlockCredit, BlockPhase, BlockRecord, BlockState, FoundBlock},
    export::register::{ExportRecord, RecordState, RegisterHead, RegisterRow, RowSeq},
    hash_chain::ChainHash,
    ledger::{Draft, DraftLines, EntryKind, EntrySeq, Head, LedgerAccount},
    payout::{Batch, BatchId, BatchState, ConfirmationBlock, PaidOutput},
    share::{Appended, Difficulty, NewShare, ShareSeq, Work},
    store::{Change, Commit, Row, Store, StoreError},
};

type AnyStore = Arc<dyn Store>;

pub(crate) fn address(id: u8) -> Address {
    Address::p2pkh(PubkeyHash::from_byte_array([id; 20]), Network::Regtest)
}

pub(crate) fn block_hash(id: u8) -> BlockHash {
    BlockHash::from_byte_array([id; 32])
}

pub(crate) fn share(account: AccountId, hash: u32) -> NewShare {
    let mut header_hash = [0; 32];
    header_hash[..4].copy_from_slice(&hash.to_le_bytes());
    NewShare {
        account,
        worker: "rig".to_owned(),
        channel: (7 << 32) | 1,
        job: u32::MAX,
        sequence_number: u32::MAX,
        difficulty: Difficulty::from_log2(-3).unwrap(),
        nbits: CompactTarget::from_consensus(0x207f_ffff),
        header_hash: BlockHash::from_byte_array(header_hash),
        at_ms: i64::from(hash),
    }
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

pub(crate) async fn shares_are_stored_once(store: AnyStore) {
    let account = store.account(&address(1)).await.unwrap();
    assert_eq!(store.share_position().await.unwrap(), ShareSeq::new(0));
    assert_eq!(store.append_shares(&[]).await.unwrap(), []);

    let batch = [share(account, 1), share(account, 2), share(account, 1)];
    let appended = store.append_shares(&batch).await.unwrap();
    let [Appended::Stored(one), Appended::Stored(two), Appended::Duplicate] = appended[..] else {
        panic!("{appended:?}");
    };
    assert!(one < two);

    // The same hash from elsewhere is the same share.
    let mut again = share(account, 2);
    again.channel += 1;
    let appended = store.append_shares(&[again, share(account, 3)]).await.unwrap();
    let [Appended::Duplicate, Appended::Stored(three)] = appended[..] else { panic!("{appended:?}") };
    assert!(two < three);
    assert_eq!(store.share_position().await.unwrap(), three);

    let last = store.last_share().await.unwrap().unwrap();
    assert_eq!((last.seq, last.share), (three, share(account, 3)));
}

pub(crate) async fn a_batch_larger_than_a_statement_keeps_its_order(store: AnyStore) {
    let account = store.account(&address(1)).await.unwrap();
    let batch: Vec<_> = (0..1_777).map(|hash| share(account, hash)).collect();
    let appended = store.append_shares(&batch).await.unwrap();
    let seqs: Vec<_> = appended
        .iter()
        .map(|appended| match appended {
            Appended::Stored(seq) => *seq,
            Appended::Duplicate => panic!("no share comes twice"),
        })
        .collect();
    assert!(seqs.is_sorted());
    let back = store.shares_back(seqs[1_776], 10_000).await.unwrap();
    assert!(back.iter().map(|share| share.seq).eq(seqs.iter().rev().copied()));
}

pub(crate) async fn shares_are_read_back_from_a_position(store: AnyStore) {
    let account = store.account(&address(1)).await.unwrap();
    let batch: Vec<_> = (0..10).map(|hash| share(account, hash)).collect();
    store.append_shares(&batch).await.unwrap();
    let all = store.shares_back(ShareSeq::new(i64::MAX), 100).await.unwrap();
    assert_eq!(all.len(), 10);
    let page = store.shares_back(all[3].seq, 4).await.unwrap();
    assert_eq!(page, all[3..7]);
    assert_eq!(page[0].difficulty, batch[0].difficulty);
    assert_eq!(page[0].nbits, batch[0].nbits);
    assert_eq!(store.shares_back(ShareSeq::new(0), 4).await.unwrap(), []);
}

pub(crate) async fn share_totals_are_exact(store: AnyStore) {
    let (one, other) = (store.account(&address(1)).await.unwrap(), store.account(&address(2)).await.unwrap());
    let mut large = share(other, 9);
    large.difficulty = Difficulty::MAX;
    store.append_shares(&[share(one, 1), share(one, 5), share(other, 6), large]).await.unwrap();
    let eighth = Difficulty::from_log2(-3).unwrap();
    let totals = store.share_totals(Some(one), 0).await.unwrap();
    assert_eq!((totals.count, totals.work), (2, Work::of(eighth, 2)));
    let totals = store.share_totals(None, 5).await.unwrap();
    assert_eq!((totals.count, totals.work), (3, Work::of(eighth, 2).plus(Work::of(Difficulty::MAX, 1))));
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
    };
    let state = BlockState { phase: BlockPhase::Matured, epoch: 2 };
    let rule = Some("tides window=8 fee_bp=0".parse().unwrap());
    let block = BlockRecord { found, fee: Amount::ZERO, rule, state };
    let credits = vec![BlockCredit { account, amount: Amount::from_sat(sat), paid: Amount::ZERO }];
    let lines = Draft::begin(EntryKind::BlockFound, block_hash(id))
        .debit(LedgerAccount::Spendable, Amount::from_sat(sat))
        .credit(LedgerAccount::MinerPayable(account), Amount::from_sat(sat));
    let row = Row::BlockFound { block: block.clone(), credits };
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

async fn batch(store: &AnyStore, account: AccountId, sat: u64) -> Batch {
    let due = store.due(Amount::from_sat(1)).await.unwrap().into_iter().find(|due| due.account == account).unwrap();
    let due = crate::payout::Due { amount: Amount::from_sat(sat), ..due };
    let lots = crate::export::allocate(store.unpaid_lots(account).await.unwrap(), due.amount).unwrap();
    Batch {
        id: BatchId::new(1),
        txid: transaction().compute_txid(),
        psbt: vec![1, 2, 3],
        outputs: vec![PaidOutput { vout: 0, due, lots }],
        network_fee: Amount::from_sat(11),
        state: BatchState::Created,
        epoch: 0,
        created_at_ms: 5,
    }
}

fn transaction() -> Transaction {
    let output = bitcoin::TxOut { value: Amount::from_sat(120), script_pubkey: address(1).script_pubkey() };
    let input = bitcoin::TxIn::default();
    Transaction { version: Version::TWO, lock_time: LockTime::ZERO, input: vec![input], output: vec![output] }
}

pub(crate) async fn a_batch_goes_through_its_life(store: AnyStore) {
    let account = store.account(&address(1)).await.unwrap();
    matured_block(&store, 1, account, 100).await;
    matured_block(&store, 2, account, 50).await;
    let due = store.due(Amount::from_sat(150)).await.unwrap();
    assert_eq!(due.iter().map(|due| (due.account, due.amount.to_sat())).collect::<Vec<_>>(), [(account, 150)]);
    assert_eq!(store.due(Amount::from_sat(151)).await.unwrap(), []);

    let created = batch(&store, account, 120).await;
    assert_eq!(created.outputs[0].lots.iter().map(|lot| lot.amount.to_sat()).collect::<Vec<_>>(), [100, 20]);
    let row = Row::BatchCreated { batch: created.clone(), wallet_change: "{}".to_owned() };
    post(&store, draft("created", 0), vec![row]).await.unwrap();
    assert_eq!(store.batch(created.id).await.unwrap().as_ref(), Some(&created));
    assert_eq!(store.wallet_changes().await.unwrap(), ["{}"]);
    let lots = store.unpaid_lots(account).await.unwrap();
    assert_eq!(lots.iter().map(|lot| lot.amount.to_sat()).collect::<Vec<_>>(), [30]);

    let signed = transaction();
    store.store_signed(created.id, &signed).await.unwrap();
    let twice = store.store_signed(created.id, &signed).await;
    assert!(matches!(twice, Err(StoreError::NotUnsigned(id)) if id == created.id));
    let state = |batch: Option<Batch>| batch.unwrap().state;
    assert_eq!(state(store.batch(created.id).await.unwrap()), BatchState::Signed(signed.clone()));

    post(&store, draft("broadcast", 0), vec![Row::BatchBroadcast { batch: created.id }]).await.unwrap();
    assert_eq!(state(store.batch(created.id).await.unwrap()), BatchState::Broadcast(signed.clone()));

    let block = ConfirmationBlock { hash: block_hash(3), height: 30, time: 99 };
    post(&store, draft("confirmed", 0), vec![Row::BatchConfirmed { batch: created.id, block }]).await.unwrap();
    assert_eq!(state(store.batch(created.id).await.unwrap()), BatchState::Confirmed(signed.clone(), block));
    assert_eq!(store.batches_to_watch(31).await.unwrap(), []);
    assert_eq!(store.batches_to_watch(30).await.unwrap().len(), 1);

    post(&store, draft("reversed", 0), vec![Row::BatchReversed { batch: created.id, epoch: 1 }]).await.unwrap();
    let reversed = store.batch(created.id).await.unwrap().unwrap();
    assert_eq!((reversed.epoch, reversed.state), (1, BatchState::Broadcast(signed)));
    assert_eq!(store.batches_to_watch(u32::MAX).await.unwrap().len(), 1);
    assert_eq!(store.batches(5).await.unwrap().len(), 1);
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
    let PaidOutput { vout, due, lots } = batch.outputs[0].clone();
    ExportRecord {
        delivery: OutPoint::new(batch.txid, vout),
        amount: due.amount,
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
}

/// Puts something into every table: books that pass the audit, with 2,500 shares, a block, and a payout of a part of it.
pub(crate) async fn everything_is_in_use(store: AnyStore) {
    store.begin_session().await.unwrap();
    let account = store.account(&address(1)).await.unwrap();
    let shares: Vec<_> = (0..2_500).map(|hash| share(account, hash)).collect();
    store.append_shares(&shares).await.unwrap();
    matured_block(&store, 1, account, 100).await;

    let batch = batch(&store, account, 60).await;
    let lines = Draft::begin(EntryKind::PayoutCreated, batch.id)
        .debit(LedgerAccount::MinerPayable(account), Amount::from_sat(60))
        .credit(LedgerAccount::Reserved(batch.id), Amount::from_sat(60));
    let row = Row::BatchCreated { batch: batch.clone(), wallet_change: "{}".to_owned() };
    post(&store, lines, vec![row]).await.unwrap();
    store.store_signed(batch.id, &transaction()).await.unwrap();
    post(&store, draft("sent", 71), vec![Row::BatchBroadcast { batch: batch.id }]).await.unwrap();

    let block = ConfirmationBlock { hash: block_hash(3), height: 30, time: 99 };
    let entry = Draft::begin(EntryKind::Confirmed, batch.id)
        .debit(LedgerAccount::Reserved(batch.id), Amount::from_sat(60))
        .credit(LedgerAccount::InFlight(batch.id), Amount::from_sat(60));
    let entry = entry.balanced().unwrap().seal(store.head().await.unwrap(), 1);
    let row = RegisterRow::seal(RegisterHead::EMPTY, record_of(&batch), RecordState::Delivered, block, &entry);
    let rows = vec![Row::BatchConfirmed { batch: batch.id, block }, Row::Registered(row)];
    assert_eq!(store.commit(Change { entry, rows }).await.unwrap(), Commit::Done);
    audit::verify(&*store).await.unwrap();
}

/// Calls a macro with the name of every function above.
macro_rules! for_each_requirement {
    ($call:ident) => {
        $call! {
            sessions_count_up,
            an_address_has_one_account,
            shares_are_stored_once,
            a_batch_larger_than_a_statement_keeps_its_order,
            shares_are_read_back_from_a_position,
            share_totals_are_exact,
            an_entry_is_posted_once,
            an_entry_on_an_old_head_is_stale,
            entries_are_read_as_they_were_posted,
            one_of_two_writers_at_a_head_wins,
            blocks_and_credits_are_kept,
            a_batch_goes_through_its_life,
            a_change_that_fails_leaves_nothing,
            register_rows_are_read_as_they_were_written,
        }
    };
}

pub(crate) use for_each_requirement;
