//! What every store must do with coin of the pool's own that is sold.

use super::*;

/// Gives a deposit to the pool's fee.
pub(super) async fn earn(store: &AnyStore, sat: u64) {
    let gift = Gift { to: Recipient::Fee, reference: format!("{sat} for the fee"), ..gift(sat) };
    reserve::give(&**store, &gift).await.unwrap();
}

/// Reserves so much of the oldest coins of the fee for an account.
pub(super) async fn sell(store: &AnyStore, account: AccountId, id: i64, sat: u64) -> Batch {
    let amount = Amount::from_sat(sat);
    let due = crate::payout::Due { amount, ..store.due_of(account).await.unwrap().unwrap() };
    let coins = store.pool_coins(PoolMoney::Fee).await.unwrap();
    let coins = coins.into_iter().map(|coin| Lot { credit: LotCredit::Fee, ..coin });
    let lots = crate::export::allocate(coins, amount).unwrap();
    let txid = transaction(u32::try_from(id).unwrap() + 10).compute_txid();
    let batch = Batch {
        id: BatchId::new(id),
        outputs: vec![PaidOutput { vout: 0, due, fee: Amount::ZERO, lots }],
        attempts: vec![Attempt { txid, ..attempt(0) }],
        approval: BatchApproval::NotNeeded,
        state: BatchState::Open,
        epoch: 0,
        created_at_ms: 5,
    };
    let lines = Draft::begin(EntryKind::PayoutCreated, batch.id)
        .debit(LedgerAccount::Fee, amount)
        .credit(LedgerAccount::Reserved(batch.id), amount);
    let row = Row::BatchCreated { batch: batch.clone(), wallet_change: "{}".to_owned() };
    assert_eq!(post(store, lines, vec![row]).await.unwrap(), Commit::Done);
    batch
}

pub(crate) async fn coin_that_is_sold_is_there_no_more_until_it_is_given_back(store: AnyStore) {
    let account = store.account(&address(1)).await.unwrap();
    deposits::follow(&*store, &[deposit(100)]).await.unwrap();
    earn(&store, 30).await;
    let left = async || store.pool_coins(PoolMoney::Fee).await.unwrap().iter().map(|lot| lot.amount.to_sat()).sum();
    let sold = sell(&store, account, 1, 20).await;
    assert_eq!(store.batch(sold.id).await.unwrap(), Some(sold.clone()));
    let left_sat: u64 = left().await;
    assert_eq!(left_sat, 10);
    assert_eq!(store.unpaid_lots(account).await.unwrap(), [], "it is nobody's credit");
    let end = Row::BatchEnded {
        batch: sold.id,
        state: BatchState::Cancelled,
        event: event(BatchEventKind::Cancelled, "why"),
        wallet_change: "{}".to_owned(),
    };
    post(&store, draft("ended", 0), vec![end]).await.unwrap();
    let left_sat: u64 = left().await;
    assert_eq!(left_sat, 30);

    let sold = sell(&store, account, 2, 30).await;
    assert_eq!(store.pool_coins(PoolMoney::Fee).await.unwrap(), []);
    // The register keeps that it was the pool's own.
    let block = ConfirmationBlock { hash: block_hash(3), height: 30, time: 99 };
    let entry = draft("there", 0).balanced().unwrap().seal(store.head().await.unwrap(), 1);
    let row = RegisterRow::seal(RegisterHead::EMPTY, record_of(&sold), RecordState::Delivered, block, &entry);
    let confirmed = Row::BatchConfirmed { batch: sold.id, attempt: 0, block };
    store.commit(Change { entry, rows: vec![confirmed, Row::Registered(row.clone())] }).await.unwrap();
    assert_eq!(store.register_rows(RowSeq::new(0), 10).await.unwrap(), [row]);
    assert_eq!(store.pool_coins(PoolMoney::Fee).await.unwrap(), []);
}
