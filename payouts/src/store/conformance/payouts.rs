//! What every store must do with payout batches, and with what operators decide about them.

#![allow(clippy::unwrap_used)]

use super::*;

pub(super) async fn batch(store: &AnyStore, account: AccountId, sat: u64) -> Batch {
    let due = store.due(Amount::from_sat(1)).await.unwrap().into_iter().find(|due| due.account == account).unwrap();
    let due = crate::payout::Due { amount: Amount::from_sat(sat), ..due };
    let lots = crate::export::allocate(store.unpaid_lots(account).await.unwrap(), due.amount).unwrap();
    Batch {
        id: BatchId::new(1),
        outputs: vec![PaidOutput { vout: 0, due, fee: Amount::from_sat(2), lots }],
        attempts: vec![attempt(0)],
        approval: BatchApproval::Awaited,
        state: BatchState::Open,
        epoch: 0,
        created_at_ms: 5,
    }
}

pub(super) fn attempt(number: u32) -> Attempt {
    Attempt {
        number,
        txid: transaction(number).compute_txid(),
        psbt: vec![1, 2, 3],
        network_fee: Amount::from_sat(11 + u64::from(number)),
        stage: AttemptStage::Created,
        created_at_ms: 5,
    }
}

/// The transaction of an attempt; each has another value.
pub(super) fn transaction(attempt: u32) -> Transaction {
    let value = Amount::from_sat(120 - u64::from(attempt));
    let output = bitcoin::TxOut { value, script_pubkey: address(1).script_pubkey() };
    let input = bitcoin::TxIn::default();
    Transaction { version: Version::TWO, lock_time: LockTime::ZERO, input: vec![input], output: vec![output] }
}

/// Asserts that a batch is told alike without whom it pays.
async fn assert_head(store: &AnyStore, id: BatchId) {
    let (batch, head) = (store.batch(id).await.unwrap().unwrap(), store.batch_head(id).await.unwrap().unwrap());
    assert_eq!((&head, head.txid()), (&batch.head(), batch.txid()));
    assert_eq!(store.attempts_of(id).await.unwrap(), batch.attempts);
    assert_eq!(store.batches_to_watch(0).await.unwrap(), [head]);
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

    let signed = transaction(0);
    store.store_signed(created.id, 0, &signed).await.unwrap();
    let twice = store.store_signed(created.id, 0, &signed).await;
    assert!(matches!(twice, Err(StoreError::NotUnsigned(id)) if id == created.id));
    let stage = |batch: Option<Batch>, number: usize| batch.unwrap().attempts[number].stage.clone();
    assert_eq!(stage(store.batch(created.id).await.unwrap(), 0), AttemptStage::Signed(signed.clone()));
    assert_head(&store, created.id).await;

    post(&store, draft("broadcast", 0), vec![Row::BatchBroadcast { batch: created.id, attempt: 0 }]).await.unwrap();
    assert_eq!(stage(store.batch(created.id).await.unwrap(), 0), AttemptStage::Broadcast(signed.clone()));
    assert_head(&store, created.id).await;

    // A replacement is the next attempt, with a change of the wallet; no number is left out or given twice.
    for wrong in [0, 2] {
        let refused = store.add_attempt(created.id, &attempt(wrong), "{}").await;
        assert!(matches!(refused, Err(StoreError::NoAttempt { attempt, .. }) if attempt == wrong), "{refused:?}");
    }
    store.add_attempt(created.id, &attempt(1), "{\"one\":1}").await.unwrap();
    assert_eq!(store.wallet_changes().await.unwrap(), ["{}", "{\"one\":1}"]);
    assert_head(&store, created.id).await;
    store.store_signed(created.id, 1, &transaction(1)).await.unwrap();
    let both = store.batch(created.id).await.unwrap();
    assert_eq!(stage(both.clone(), 1), AttemptStage::Signed(transaction(1)));
    assert_eq!(both.unwrap().in_flight(), Amount::from_sat(118 + 11), "the second has not been sent");

    let block = ConfirmationBlock { hash: block_hash(3), height: 30, time: 99 };
    let row = Row::BatchConfirmed { batch: created.id, attempt: 0, block };
    post(&store, draft("confirmed", 0), vec![row]).await.unwrap();
    let confirmed = store.batch(created.id).await.unwrap().unwrap();
    assert_eq!((&confirmed.state, confirmed.txid()), (&BatchState::Confirmed(0, block), attempt(0).txid));
    assert_head(&store, created.id).await;
    assert_eq!(store.batches_to_watch(31).await.unwrap(), []);
    assert_eq!(store.batches_to_watch(30).await.unwrap().len(), 1);
    let refused = store.add_attempt(created.id, &attempt(2), "{}").await;
    assert!(matches!(refused, Err(StoreError::NoAttempt { .. })), "one that is confirmed takes no other");

    post(&store, draft("reversed", 0), vec![Row::BatchReversed { batch: created.id, epoch: 1 }]).await.unwrap();
    let reversed = store.batch(created.id).await.unwrap().unwrap();
    assert_eq!((reversed.epoch, &reversed.state, reversed.txid()), (1, &BatchState::Open, attempt(1).txid));
    assert_head(&store, created.id).await;
    assert_eq!(store.batches_to_watch(u32::MAX).await.unwrap().len(), 1);
    assert_eq!(store.batches(5).await.unwrap().len(), 1);
}

pub(crate) async fn outputs_of_a_batch_are_read_in_parts(store: AnyStore) {
    let accounts = [store.account(&address(1)).await.unwrap(), store.account(&address(2)).await.unwrap()];
    for (id, account) in [(1, accounts[0]), (2, accounts[1]), (3, accounts[1])] {
        matured_block(&store, id, account, 100).await;
    }
    let (mut paid, other) = (batch(&store, accounts[0], 60).await, batch(&store, accounts[1], 130).await);
    // Between them is one that goes back to the pool.
    paid.outputs.extend(other.outputs.into_iter().map(|output| PaidOutput { vout: 2, ..output }));
    let row = Row::BatchCreated { batch: paid.clone(), wallet_change: "{}".to_owned() };
    post(&store, draft("created", 0), vec![row]).await.unwrap();
    assert_head(&store, paid.id).await;
    for (after, limit, expected) in [
        (None, 9, &paid.outputs[..]),
        (None, 1, &paid.outputs[..1]),
        (Some(0), 9, &paid.outputs[1..]),
        (Some(2), 9, &[]),
    ] {
        assert_eq!(store.outputs_of(paid.id, after, limit).await.unwrap(), expected);
    }
    for (account, output) in accounts.iter().zip(&paid.outputs) {
        assert_eq!(store.output_to(paid.id, *account).await.unwrap().as_ref(), Some(output));
    }
    let nobody = store.account(&address(3)).await.unwrap();
    assert_eq!(store.output_to(paid.id, nobody).await.unwrap(), None);
}

/// The statements that put a batch of each state into tables of the second schema; `bytes` writes them from hex digits.
pub(crate) fn batches_of_the_second_schema(bytes: fn(&str) -> String) -> Vec<String> {
    let (address, block, signed) = (address(1), block_hash(7), serialize_hex(&transaction(0)));
    let mut statements = vec![
        format!(
            "INSERT INTO accounts (address, script_pubkey) VALUES ('{address}', {})",
            bytes(&address.script_pubkey().to_hex_string())
        ),
        format!("INSERT INTO blocks VALUES ('{block}', 9, '{block}', 0, 500, 400, 1, 1, 3, 5, 'matured', 0, 7, NULL)"),
        format!("INSERT INTO credits VALUES ('{block}', 1, 495, 40)"),
    ];
    for (id, state) in (1..).zip(["created", "signed", "broadcast", "confirmed"]) {
        let txid = Txid::from_byte_array([id; 32]);
        let signed = if state == "created" { "NULL".to_owned() } else { bytes(&signed) };
        let place = if state == "confirmed" { format!("'{block}', 30, 99") } else { "NULL, NULL, NULL".to_owned() };
        let psbt = bytes("010203");
        statements.extend([
            format!(
                "INSERT INTO batches VALUES ({id}, '{txid}', {psbt}, {signed}, 1{id}, '{state}', {id}, 5, {place})"
            ),
            format!("INSERT INTO batch_outputs VALUES ({id}, 0, 1, 10)"),
            format!("INSERT INTO batch_lots VALUES ({id}, 0, 0, '{block}', 10)"),
        ]);
    }
    statements
}

/// Makes sure that what [`batches_of_the_second_schema`] put there is what this program reads.
pub(crate) async fn batches_of_the_second_schema_are_kept(store: AnyStore) {
    let stages = [
        AttemptStage::Created,
        AttemptStage::Signed(transaction(0)),
        AttemptStage::Broadcast(transaction(0)),
        AttemptStage::Broadcast(transaction(0)),
    ];
    for (id, stage) in (1u8..).zip(stages) {
        let batch = store.batch(BatchId::new(id.into())).await.unwrap().unwrap();
        let attempt = Attempt {
            number: 0,
            txid: Txid::from_byte_array([id; 32]),
            psbt: vec![1, 2, 3],
            network_fee: Amount::from_sat(10 + u64::from(id)),
            stage,
            created_at_ms: 5,
        };
        assert_eq!(batch.attempts, [attempt]);
        assert_eq!((batch.epoch, batch.created_at_ms), (id.into(), 5));
        assert_eq!(batch.approval, BatchApproval::NotNeeded);
        let block = ConfirmationBlock { hash: block_hash(7), height: 30, time: 99 };
        let state = if id == 4 { BatchState::Confirmed(0, block) } else { BatchState::Open };
        assert_eq!(batch.state, state);
        let [output] = &batch.outputs[..] else { panic!("{batch:?}") };
        assert_eq!((output.vout, output.due.account.get(), output.pays().to_sat()), (0, 1, 10));
        assert_eq!(
            output.lots.iter().map(|lot| (lot.block, lot.amount.to_sat())).collect::<Vec<_>>(),
            [(block.hash, 10)]
        );
    }
    assert_eq!(store.batches_to_watch(31).await.unwrap().len(), 3);
    // The first goes on as any other does.
    store.store_signed(BatchId::new(1), 0, &transaction(0)).await.unwrap();
    let row = Row::BatchBroadcast { batch: BatchId::new(1), attempt: 0 };
    post(&store, draft("sent", 0), vec![row]).await.unwrap();
}

pub(super) fn event(kind: BatchEventKind, note: &str) -> BatchEvent {
    BatchEvent { kind, at_ms: 7, note: note.to_owned() }
}

pub(crate) async fn an_approval_is_on_record_once(store: AnyStore) {
    let account = store.account(&address(1)).await.unwrap();
    matured_block(&store, 1, account, 100).await;
    let created = batch(&store, account, 60).await;
    let row = Row::BatchCreated { batch: created.clone(), wallet_change: "{}".to_owned() };
    post(&store, draft("created", 0), vec![row]).await.unwrap();
    let (exported, approved) = (event(BatchEventKind::Exported, ""), event(BatchEventKind::Approved, "alice"));
    store.note_batch(created.id, &exported).await.unwrap();
    assert_eq!(store.batch(created.id).await.unwrap().unwrap().approval, BatchApproval::Awaited);
    store.note_batch(created.id, &approved).await.unwrap();
    store.note_batch(created.id, &event(BatchEventKind::Approved, "bob")).await.unwrap();
    assert_eq!(store.batch(created.id).await.unwrap().unwrap().approval, BatchApproval::Given);
    assert_eq!(store.batch_events(created.id).await.unwrap(), [exported, approved]);
}

pub(crate) async fn a_batch_that_ends_unpaid_gives_its_lots_back(store: AnyStore) {
    let account = store.account(&address(1)).await.unwrap();
    matured_block(&store, 1, account, 100).await;
    matured_block(&store, 2, account, 50).await;
    for (id, state, kind) in [
        (1, BatchState::Cancelled, BatchEventKind::Cancelled),
        (2, BatchState::Replaced(Txid::from_byte_array([9; 32])), BatchEventKind::Replaced),
    ] {
        let mut created = batch(&store, account, 120).await;
        // The next batch may well have the same transaction: the same payments from the same coins.
        created.id = BatchId::new(id);
        let row = Row::BatchCreated { batch: created.clone(), wallet_change: "{}".to_owned() };
        post(&store, draft(&format!("created {id}"), 0), vec![row]).await.unwrap();
        let unpaid = |lots: Vec<Lot>| lots.iter().map(|lot| lot.amount.to_sat()).collect::<Vec<_>>();
        assert_eq!(unpaid(store.unpaid_lots(account).await.unwrap()), [30]);
        let end = Row::BatchEnded {
            batch: created.id,
            state: state.clone(),
            event: event(kind, "why"),
            wallet_change: "{\"free\":1}".to_owned(),
        };
        post(&store, draft(&format!("ended {id}"), 0), vec![end.clone()]).await.unwrap();
        assert_eq!(unpaid(store.unpaid_lots(account).await.unwrap()), [100, 50]);
        assert_eq!(store.batch(created.id).await.unwrap().unwrap().state, state);
        assert_eq!(store.batch_events(created.id).await.unwrap(), [event(kind, "why")]);
        assert_eq!(store.wallet_changes().await.unwrap().last().unwrap(), "{\"free\":1}");
        assert_eq!(store.batches_to_watch(0).await.unwrap(), []);
        // A second end would give the lots back twice.
        assert!(post(&store, draft(&format!("again {id}"), 0), vec![end]).await.is_err());
        assert_eq!(unpaid(store.unpaid_lots(account).await.unwrap()), [100, 50]);
    }
    let txid = Txid::from_byte_array([9; 32]);
    assert!(!store.is_conflict_booked(txid).await.unwrap());
    let row = Row::ConflictBooked { txid, batch: BatchId::new(2), loss: Amount::from_sat(3) };
    post(&store, draft("loss", 3), vec![row.clone()]).await.unwrap();
    assert!(store.is_conflict_booked(txid).await.unwrap());
    assert!(post(&store, draft("loss again", 3), vec![row]).await.is_err());
}

pub(crate) async fn restrained_accounts_are_not_due(store: AnyStore) {
    let (one, other) = (store.account(&address(1)).await.unwrap(), store.account(&address(2)).await.unwrap());
    matured_block(&store, 1, one, 100).await;
    matured_block(&store, 2, other, 50).await;
    let due = |due: Vec<crate::payout::Due>| due.iter().map(|due| due.account).collect::<Vec<_>>();
    let mut rows = Vec::new();
    for (number, act) in (1..).zip([RestraintAct::Begun, RestraintAct::Swept, RestraintAct::Ended]) {
        let entry = EntrySeq::new(store.head().await.unwrap().seq.get() + 1);
        let (restraint, reason) = (Restraint::Held, "lost key".to_owned());
        let row = RestraintRow { entry, account: one, restraint, number, act, reason, at_ms: 5 };
        post(&store, draft(&format!("act {number}"), 0), vec![Row::Restrained(row.clone())]).await.unwrap();
        assert_eq!(store.restraint(one, Restraint::Held).await.unwrap().as_ref(), Some(&row));
        let in_force = store.restraints_in_force().await.unwrap();
        let payable = due(store.due(Amount::ONE_SAT).await.unwrap());
        if act == RestraintAct::Ended {
            assert_eq!((in_force, payable), (vec![], vec![other, one]));
        } else {
            assert_eq!((in_force, payable), (vec![row.clone()], vec![other]));
        }
        rows.push(row);
    }
    assert_eq!(store.restraint(one, Restraint::Blocked).await.unwrap(), None);
    assert_eq!(store.restraint_rows(EntrySeq::new(0), 10).await.unwrap(), rows);
    assert_eq!(store.restraint_rows(rows[0].entry, 1).await.unwrap(), rows[1..2]);
    assert_eq!(store.due_of(one).await.unwrap().unwrap().amount.to_sat(), 100);
}

pub(crate) async fn an_account_has_a_threshold_of_its_own(store: AnyStore) {
    let account = store.account(&address(1)).await.unwrap();
    let unpaid = store.account(&address(2)).await.unwrap();
    matured_block(&store, 1, account, 100).await;
    let due = async |least: u64| store.due(Amount::from_sat(least)).await.unwrap().len();
    assert_eq!((store.threshold(account).await.unwrap(), due(100).await, due(101).await), (None, 1, 0));
    for (threshold, expected) in [(Some(101), 0), (Some(99), 1), (None, 0)] {
        let threshold = threshold.map(Amount::from_sat);
        store.set_threshold(account, threshold).await.unwrap();
        assert_eq!((store.threshold(account).await.unwrap(), due(1_000).await), (threshold, expected));
    }
    assert_eq!(store.due_of(unpaid).await.unwrap().unwrap().amount, Amount::ZERO);
    assert_eq!(store.due_of(AccountId::new(99)).await.unwrap(), None);
}

pub(crate) async fn runs_of_the_schedule_are_kept(store: AnyStore) {
    assert_eq!(store.last_run().await.unwrap(), None);
    for (schedule, at_ms) in [("daily 14:00", 5), ("daily 14:00", 6), ("every 6h", 6), ("manual", 0)] {
        let run = PayoutRun { schedule: schedule.parse().unwrap(), slot: Slot { at_ms }, at_ms: at_ms + 1 };
        store.note_run(&run).await.unwrap();
        store.note_run(&PayoutRun { at_ms: 99, ..run }).await.unwrap();
        assert_eq!(store.last_run().await.unwrap(), Some(run));
    }
}

/// Reserves what a miner is due, as a payout does.
pub(crate) async fn pay(store: &dyn Store, miner: AccountId, id: u8) -> Batch {
    let due = store.due(Amount::ONE_SAT).await.unwrap();
    let due = due.into_iter().find(|due| due.account == miner).unwrap();
    let lots = crate::export::allocate(store.unpaid_lots(miner).await.unwrap(), due.amount).unwrap();
    let batch = Batch {
        id: BatchId::new(id.into()),
        outputs: vec![PaidOutput { vout: 0, due: due.clone(), fee: Amount::ZERO, lots }],
        attempts: vec![Attempt {
            number: 0,
            txid: Txid::from_byte_array([id; 32]),
            psbt: vec![],
            network_fee: Amount::ZERO,
            stage: AttemptStage::Created,
            created_at_ms: 0,
        }],
        approval: BatchApproval::NotNeeded,
        state: BatchState::Open,
        epoch: 0,
        created_at_ms: 0,
    };
    let lines = Draft::begin(EntryKind::PayoutCreated, batch.id)
        .debit(LedgerAccount::MinerPayable(miner), due.amount)
        .credit(LedgerAccount::Reserved(batch.id), due.amount);
    let head = store.head().await.unwrap();
    let row = Row::BatchCreated { batch: batch.clone(), wallet_change: "{}".to_owned() };
    let change = Change { entry: lines.balanced().unwrap().seal(head, 0), rows: vec![row] };
    assert_eq!(store.commit(change).await.unwrap(), Commit::Done);
    batch
}
