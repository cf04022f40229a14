//! What every store must do with settings, the reserve, deposits and periods of work.

#![allow(clippy::unwrap_used)]

use super::*;

pub(crate) async fn settings_hold_from_their_position_on(store: AnyStore) {
    let (one, other) = (store.account(&address(1)).await.unwrap(), store.account(&address(2)).await.unwrap());
    assert_eq!(store.settings(one).await.unwrap(), None);
    let division = [(one, NonZeroU32::new(2).unwrap()), (other, NonZeroU32::MIN)].into();
    let first =
        AccountSettings { reward: Reward::Solo, wishes: Wishes { donation: Donation::new(other, 7), division } };
    let second = AccountSettings::default();
    store.append_settings(one, ShareSeq::new(10), &first).await.unwrap();
    store.append_settings(other, ShareSeq::new(5), &second).await.unwrap();
    assert_eq!(store.settings(one).await.unwrap().as_ref(), Some(&first));
    store.append_settings(one, ShareSeq::new(20), &second).await.unwrap();
    assert_eq!(store.settings(one).await.unwrap(), Some(second.clone()));
    for (position, expected) in [(9, None), (10, Some(&first.wishes)), (19, Some(&first.wishes)), (20, None)] {
        let wishes = store.wishes(ShareSeq::new(position)).await.unwrap();
        assert_eq!((wishes.get(&one), wishes.get(&other)), (expected, None), "{position}");
    }
    // What is split already keeps its wishes: the block's position is 3, and the last wish holds from 20 on.
    matured_block(&store, 1, one, 100).await;
    store.append_settings(other, ShareSeq::new(0), &first).await.unwrap();
    assert!(store.wishes(ShareSeq::new(4)).await.unwrap().is_empty());
    assert_eq!(store.wishes(ShareSeq::new(5)).await.unwrap().get(&other), Some(&first.wishes));
}

pub(super) fn network_block(height: u32) -> NetworkBlockRow {
    let block = NetworkBlock { time_s: 70, subsidy: Amount::from_sat(5), fees: Amount::from_sat(6) };
    NetworkBlockRow { height, hash: block_hash(8), median_time_s: 60, block }
}

pub(crate) async fn a_block_of_the_network_is_kept_as_it_was(store: AnyStore) {
    assert_eq!(store.network_block(3).await.unwrap(), None);
    store.save_network_block(&network_block(3)).await.unwrap();
    let other = NetworkBlockRow { hash: block_hash(9), ..network_block(3) };
    store.save_network_block(&other).await.unwrap();
    assert_eq!(store.network_block(3).await.unwrap(), Some(network_block(3)));
}

pub(super) fn deposit(sat: u64) -> ChainDeposit {
    let outpoint = OutPoint::new(Txid::from_byte_array([6; 32]), 2);
    ChainDeposit { outpoint, amount: Amount::from_sat(sat), block: block_hash(6) }
}

pub(super) fn gift(sat: u64) -> Gift {
    let (from, to) = (PoolMoney::Deposits, Recipient::Reserve);
    Gift { amount: Amount::from_sat(sat), from, to, reference: sat.to_string() }
}

/// Closes the store's first period and credits it to one account out of the reserve's first coin.
pub(super) async fn credit_period(store: &AnyStore, account: AccountId, sat: u64) -> CreditedPeriod {
    let number = PeriodNumber::new(1);
    let scheme = "pps fee_bp=100".parse().unwrap();
    let end = PeriodEnd { upto: ShareSeq::new(7), at_ms: 5 };
    let open = Period { number, scheme, after: ShareSeq::new(2), from_ms: 4, state: PeriodState::Open };
    let closed = Period { state: PeriodState::Closed(end), ..open };
    store.save_periods(&[closed]).await.unwrap();
    assert_eq!(store.uncredited_periods().await.unwrap(), [closed]);
    let amount = Amount::from_sat(sat);
    let nbits = CompactTarget::from_consensus(0x1703_4219);
    let large = Work::of(Difficulty::MAX, u64::MAX);
    let (carried_in, carried_out) = ("3".parse().unwrap(), "4".parse().unwrap());
    let reserve_lot = store.reserve_lots().await.unwrap()[0].number;
    let credited = CreditedPeriod {
        number,
        network_fees: FeeRatio::new(Amount::from_sat(1), Amount::from_sat(2)).unwrap(),
        work: vec![PeriodWork { account, nbits, subsidy: amount, work: large }],
        earnings: vec![PeriodEarning { account, carried_in, earned: amount, carried_out }],
        lots: vec![PeriodLot { account, line: 0, reserve_lot, amount, paid: Amount::ZERO }],
    };
    let lines = Draft::begin(EntryKind::Credited, number)
        .debit(LedgerAccount::PpsReserve, amount)
        .credit(LedgerAccount::MinerPayable(account), amount)
        .facts("x");
    let row = Row::PeriodCredited(Box::new(credited.clone()));
    assert_eq!(post(store, lines, vec![row]).await.unwrap(), Commit::Done);
    credited
}

pub(crate) async fn periods_and_their_lots_are_kept(store: AnyStore) {
    let account = store.account(&address(1)).await.unwrap();
    deposits::follow(&*store, &[deposit(100)]).await.unwrap();
    assert_eq!(store.pool_coins(PoolMoney::Deposits).await.unwrap()[0].amount.to_sat(), 100);
    reserve::give(&*store, &gift(60)).await.unwrap();
    assert_eq!(store.pool_coins(PoolMoney::Deposits).await.unwrap()[0].amount.to_sat(), 40);
    assert_eq!(store.pool_coins(PoolMoney::Fee).await.unwrap(), []);
    let to_fee = Gift { to: Recipient::Fee, ..gift(30) };
    reserve::give(&*store, &to_fee).await.unwrap();
    assert_eq!(store.pool_coins(PoolMoney::Fee).await.unwrap()[0].amount.to_sat(), 30);
    assert_eq!(store.deposits().await.unwrap()[0].given.to_sat(), 90);

    let credited = credit_period(&store, account, 25).await;
    let number = credited.number;
    assert_eq!(store.uncredited_periods().await.unwrap(), []);
    let period = store.period(number).await.unwrap().unwrap();
    let PeriodState::Credited(end, entry, fees) = period.state else { panic!("{period:?}") };
    assert_eq!((end.upto.get(), entry, fees), (7, store.head().await.unwrap().seq, credited.network_fees));
    assert_eq!(store.last_period().await.unwrap(), Some(period));
    // One that is paid is not written again.
    store.save_periods(&[Period { state: PeriodState::Open, ..period }]).await.unwrap();
    assert_eq!(store.period(number).await.unwrap(), Some(period));
    assert_eq!(store.period_work(number, account).await.unwrap(), credited.work);
    assert_eq!(store.period_earnings(number).await.unwrap(), credited.earnings);
    assert_eq!(store.period_lots(number).await.unwrap(), credited.lots);
    assert_eq!(store.carried().await.unwrap(), [(account, "4".parse().unwrap())].into());
    assert_eq!(store.reserve_lots().await.unwrap()[0].lot.amount.to_sat(), 35);

    let paid = batch(&store, account, 20).await;
    let row = Row::BatchCreated { batch: paid.clone(), wallet_change: "{}".to_owned() };
    post(&store, draft("created", 0), vec![row]).await.unwrap();
    assert_eq!(store.batch(paid.id).await.unwrap(), Some(paid.clone()));
    let credit = LotCredit::Period { number, line: 0 };
    let left = Lot { coinbase: deposit(0).outpoint, block: block_hash(6), amount: Amount::from_sat(5), credit };
    assert_eq!(store.unpaid_lots(account).await.unwrap(), [left]);
    assert_eq!(store.period_lots(number).await.unwrap()[0].paid.to_sat(), 20);
    // The register keeps which credit a piece is of.
    let block = ConfirmationBlock { hash: block_hash(3), height: 30, time: 99 };
    let entry = draft("there", 0).balanced().unwrap().seal(store.head().await.unwrap(), 1);
    let row = RegisterRow::seal(RegisterHead::EMPTY, record_of(&paid), RecordState::Delivered, block, &entry);
    store.commit(Change { entry, rows: vec![Row::Registered(row.clone())] }).await.unwrap();
    assert_eq!(store.register_rows(RowSeq::new(0), 10).await.unwrap(), [row]);
}
