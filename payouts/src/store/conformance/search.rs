//! What every store must do with what operators look for.

use bitcoin::SignedAmount;

use super::*;
use crate::store::{AuditFilter, EntryFilter, EntryLine, EntryRange, RecordFilter, RecordRange};

fn moved(key: &str, from: LedgerAccount, to: LedgerAccount, sat: u64) -> DraftLines {
    Draft::begin(EntryKind::Broadcast, key).debit(from, Amount::from_sat(sat)).credit(to, Amount::from_sat(sat))
}

pub(crate) async fn accounts_are_found_by_parts_of_their_address_and_name(store: AnyStore) {
    let mut ids = Vec::new();
    for id in 1..=3 {
        ids.push(store.account(&address(id)).await.unwrap());
    }
    store.name_account(ids[1], Some(&"farm_1".parse().unwrap())).await.unwrap();
    store.set_threshold(ids[1], Some(Amount::from_sat(7))).await.unwrap();
    let (payable, held) = (LedgerAccount::MinerPayable(ids[1]), LedgerAccount::Held(ids[1]));
    post(&store, moved("a", LedgerAccount::Spendable, payable, 9), Vec::new()).await.unwrap();
    let entry = EntrySeq::new(store.head().await.unwrap().seq.get() + 1);
    let (restraint, act) = (Restraint::Held, RestraintAct::Begun);
    let row = RestraintRow { entry, account: ids[1], restraint, number: 1, act, reason: "lost".to_owned(), at_ms: 5 };
    post(&store, moved("b", payable, held, 4), vec![Row::Restrained(row)]).await.unwrap();

    let found = async |text: &str, after: i64, limit| {
        let lines = store.account_lines(text, AccountId::new(after), limit).await.unwrap();
        lines.into_iter().map(|line| line.account.id).collect::<Vec<_>>()
    };
    assert_eq!(found("", 0, 10).await, ids);
    assert_eq!(found("", 0, 2).await, ids[..2]);
    assert_eq!(found("", ids[1].get(), 2).await, ids[2..]);
    assert_eq!(found("FARM_", 0, 10).await, ids[1..2]);
    let whole = address(3).to_string();
    assert_eq!(found(&whole[4..20], 0, 10).await, ids[2..]);
    assert_eq!(found(&whole.to_uppercase(), 0, 10).await, ids[2..]);
    for nobody in ["%", "farm-1", "farm!", "_x"] {
        assert_eq!(found(nobody, 0, 10).await, [], "{nobody}");
    }
    let line = store.account_lines("farm", AccountId::new(0), 10).await.unwrap().remove(0);
    let sats = [line.immature, line.payable, line.held, line.blocked, line.debt].map(SignedAmount::to_sat);
    assert_eq!((sats, line.threshold, line.restraint), ([0, 5, 4, 0, 0], Some(Amount::from_sat(7)), Some(restraint)));
    assert_eq!(Some(line.account), store.find_account(&address(2).to_string()).await.unwrap());
    let other = store.account_lines("", ids[1], 1).await.unwrap().remove(0);
    assert_eq!((other.payable.to_sat(), other.threshold, other.restraint), (0, None, None));
}

pub(crate) async fn accounts_are_listed_with_their_last_share(store: AnyStore) {
    let (one, other) = (store.account(&address(1)).await.unwrap(), store.account(&address(2)).await.unwrap());
    let idle = store.account(&address(3)).await.unwrap();
    let rig = |account, worker: &str, at_ms| ShareRun { worker: worker.into(), ..share(account, at_ms) };
    let runs = [rig(one, "south", 70_000), rig(one, "north", 60_000), rig(other, "south", 90_000)];
    let segment = append(&*store, &runs).await;
    let last = async || {
        let lines = store.account_lines("", AccountId::new(0), 10).await.unwrap();
        lines.into_iter().map(|line| (line.account.id, line.last_share_at_ms)).collect::<Vec<_>>()
    };
    assert_eq!(last().await, [(one, None), (other, None), (idle, None)], "the history has not come so far");
    let step = first_step(&*store, segment).await;
    assert!(store.step_history(&step).await.unwrap());
    assert_eq!(last().await, [(one, Some(70_000)), (other, Some(90_000)), (idle, None)]);
}

pub(crate) async fn entries_are_found_by_kind_and_account_in_both_orders(store: AnyStore) {
    let (one, other) = (store.account(&address(1)).await.unwrap(), store.account(&address(2)).await.unwrap());
    for (key, account, sat) in [("a", one, 5), ("b", other, 6), ("c", one, 7), ("d", other, 8)] {
        let lines = moved(key, LedgerAccount::Spendable, LedgerAccount::MinerPayable(account), sat);
        post(&store, lines, Vec::new()).await.unwrap();
    }
    let held = Draft::begin(EntryKind::Held, "e")
        .debit(LedgerAccount::MinerPayable(one), Amount::from_sat(2))
        .credit(LedgerAccount::Held(one), Amount::from_sat(2));
    post(&store, held, Vec::new()).await.unwrap();
    let all = store.entries(EntrySeq::new(0), 10).await.unwrap();
    let of_kind = EntryFilter { kind: Some(EntryKind::Held), ..EntryFilter::default() };
    let of_one = EntryFilter::of_account(one);
    let both = EntryFilter { kind: Some(EntryKind::Broadcast), ..EntryFilter::of_account(one) };
    for (wanted, keys) in [(EntryFilter::default(), "abcde"), (of_kind, "e"), (of_one, "ace"), (both, "ac")] {
        let mut expected: Vec<_> = all.iter().filter(|entry| keys.contains(&entry.key)).cloned().collect();
        let found = store.entries_where(&wanted, EntryRange::After(EntrySeq::new(0)), 10).await.unwrap();
        assert_eq!(found, expected);
        expected.reverse();
        assert_eq!(store.entries_where(&wanted, EntryRange::Before(None), 10).await.unwrap(), expected);
        let lines = store.entry_lines(&wanted, EntryRange::Before(None), 10).await.unwrap();
        assert_eq!(lines, expected.iter().map(EntryLine::from).collect::<Vec<_>>());
        let middle = expected[expected.len() / 2].seq;
        let before = store.entry_lines(&wanted, EntryRange::Before(Some(middle)), 1).await.unwrap();
        let next = expected.iter().find(|entry| entry.seq < middle).map(|entry| entry.seq);
        assert_eq!(before.first().map(|line| line.seq), next);
    }
}

pub(crate) async fn register_rows_are_found_by_what_is_wanted_in_both_orders(store: AnyStore) {
    let (one, other) = (store.account(&address(1)).await.unwrap(), store.account(&address(2)).await.unwrap());
    matured_block(&store, 1, one, 100).await;
    matured_block(&store, 2, one, 50).await;
    let paid = batch(&store, one, 120).await;
    let first = record_of(&paid);
    let elsewhere = OutPoint::new(Txid::from_byte_array([7; 32]), 0);
    let second = ExportRecord { delivery: elsewhere, account: other, ..first.clone() };
    let block = ConfirmationBlock { hash: block_hash(3), height: 30, time: 99 };
    let (delivered, reversed) = (RecordState::Delivered, RecordState::Reversed);
    let mut all = Vec::new();
    for (key, record, state) in
        [("a", &first, delivered), ("b", &second, delivered), ("c", &first, reversed), ("d", &first, delivered)]
    {
        let entry = draft(key, 0).balanced().unwrap().seal(store.head().await.unwrap(), 1);
        let row = RegisterRow::seal(store.register_head().await.unwrap(), record.clone(), state, block, &entry);
        all.push(row.clone());
        store.commit(Change { entry, rows: vec![Row::Registered(row)] }).await.unwrap();
    }
    let any = RecordFilter::default;
    let (of_one, of_nobody) = (Some(vec![one]), Some(Vec::new()));
    let (first_txid, row) = (Some(first.delivery.txid), |seq| Some(RowSeq::new(seq)));
    for (wanted, places) in [
        (any(), vec![1, 2, 3, 4]),
        (RecordFilter { state: Some(delivered), ..any() }, vec![1, 2, 4]),
        (RecordFilter { accounts: of_one.clone(), ..any() }, vec![1, 3, 4]),
        (RecordFilter { accounts: Some(vec![one, other]), ..any() }, vec![1, 2, 3, 4]),
        (RecordFilter { accounts: of_nobody, ..any() }, vec![]),
        (RecordFilter { txid: Some(elsewhere.txid), ..any() }, vec![2]),
        (RecordFilter { txid: first_txid, state: Some(reversed), ..any() }, vec![3]),
        (RecordFilter { first: row(2), end: row(4), ..any() }, vec![2, 3]),
        (RecordFilter { first: row(2), accounts: of_one, ..any() }, vec![3, 4]),
        (RecordFilter { first: row(4), end: row(4), ..any() }, vec![]),
    ] {
        let mut expected: Vec<RegisterRow> =
            all.iter().filter(|row| places.contains(&row.seq.get())).cloned().collect();
        let after = RecordRange::After(RowSeq::new(0));
        assert_eq!(store.records_where(&wanted, after, 10).await.unwrap(), expected, "{wanted:?}");
        let behind = RecordRange::After(RowSeq::new(2));
        let later: Vec<_> = expected.iter().filter(|row| row.seq.get() > 2).take(1).cloned().collect();
        assert_eq!(store.records_where(&wanted, behind, 1).await.unwrap(), later, "{wanted:?}");
        expected.reverse();
        assert_eq!(store.records_where(&wanted, RecordRange::Before(None), 10).await.unwrap(), expected);
        let before = RecordRange::Before(row(3));
        let earlier: Vec<_> = expected.iter().filter(|row| row.seq.get() < 3).take(1).cloned().collect();
        assert_eq!(store.records_where(&wanted, before, 1).await.unwrap(), earlier, "{wanted:?}");
    }
}

pub(crate) async fn balances_are_summed_by_class(store: AnyStore) {
    let (one, other) = (store.account(&address(1)).await.unwrap(), store.account(&address(2)).await.unwrap());
    let lines = Draft::begin(EntryKind::Broadcast, "a")
        .debit(LedgerAccount::Immature(block_hash(0xab)), Amount::from_sat(9))
        .debit(LedgerAccount::Spendable, Amount::from_sat(1))
        .credit(LedgerAccount::MinerPayable(one), Amount::from_sat(2))
        .credit(LedgerAccount::MinerPayable(other), Amount::from_sat(3))
        .credit(LedgerAccount::Reserved(BatchId::new(12)), Amount::from_sat(4))
        .credit(LedgerAccount::Fee, Amount::from_sat(1));
    post(&store, lines, Vec::new()).await.unwrap();
    let sums = store.balance_sums().await.unwrap();
    let sums: Vec<_> = sums.iter().map(|sum| (sum.class.as_str(), sum.accounts, sum.sum.to_sat())).collect();
    let expected =
        [("fee", 1, -1), ("immature", 1, 9), ("miner_payable", 2, -5), ("reserved", 1, -4), ("spendable", 1, 1)];
    assert_eq!(sums, expected);
}

pub(crate) async fn audit_log_is_found_by_actor_and_action(store: AnyStore) {
    for (at_ms, actor, action) in
        [(1, "token 1 (Alice)", "approve 7"), (2, "user 1000", "approve 8"), (3, "token 1 (Alice)", "hold x: 100%")]
    {
        let seq = store.begin_audit(at_ms, actor, action).await.unwrap();
        store.end_audit(seq, at_ms + 1, "done").await.unwrap();
    }
    let found = async |actor: &str, action: &str, before, limit| {
        let wanted = AuditFilter { actor: actor.to_owned(), action: action.to_owned() };
        let rows = store.audit_where(&wanted, before, limit).await.unwrap();
        rows.into_iter().map(|row| row.at_ms).collect::<Vec<_>>()
    };
    assert_eq!(found("", "", None, 10).await, [3, 2, 1]);
    assert_eq!(found("alice", "", None, 10).await, [3, 1]);
    assert_eq!(found("alice", "Approve", None, 10).await, [1]);
    assert_eq!(found("", "100%", None, 10).await, [3]);
    assert!(found("", "a%7", None, 10).await.is_empty(), "it is no pattern");
    let newest = store.audit_rows(None, 1).await.unwrap().remove(0);
    assert_eq!(found("", "", Some(newest.seq), 1).await, [2]);
    assert_eq!(store.audit_where(&AuditFilter::default(), None, 1).await.unwrap(), [newest]);
}
