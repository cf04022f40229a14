//! Work paid out of a reserve, on a real database and a clock of the tests' own.

#![allow(clippy::unwrap_used)]

use std::{num::NonZeroU32, sync::Mutex};

use bitcoin::{CompactTarget, OutPoint, Txid, hashes::Hash};
use proptest::prelude::*;
use tempfile::TempDir;

use super::*;
use crate::{
    account::AccountSettings,
    audit,
    books::{Books, COINBASE_MATURITY, ChainPosition, DirectPayments, FoundBlock},
    deposits::{self, ChainDeposit},
    export::LotCredit,
    reserve::{self, Gift, PoolMoney, Recipient, ReserveError},
    scheme::{
        PoolFee,
        beneficiary::{Donation, Wishes},
        network_fees::NetworkBlock,
        pps::Pps,
    },
    share::{Appended, Difficulty, JobTerms, Reward, ShareGroup, ShareRun},
    store::{
        conformance::{address, block_hash, job_at, pay, share},
        sqlite::SqliteStore,
    },
};

const HOUR_MS: i64 = 3_600_000;
const DAY_MS: i64 = 24 * HOUR_MS;
/// A midnight.
const START_MS: i64 = 1_700_006_400_000;
const MATURE: ChainPosition = ChainPosition::Confirmed { confirmations: COINBASE_MATURITY };
const GONE: ChainPosition = ChainPosition::NotInBestChain;
/// Difficulty 1, at which a share of an eighth is worth an eighth of the subsidy, 39,062,500 satoshis.
const NBITS: u32 = 0x1d00_ffff;

/// A chain that the tests write.
#[derive(Debug, Default)]
struct TestChain {
    blocks: Mutex<Vec<NetworkBlock>>,
    asked: Mutex<u32>,
}

#[async_trait::async_trait]
impl Network for TestChain {
    async fn tip_height(&self) -> Result<u32, NetworkError> {
        Ok(self.blocks.lock().unwrap().len() as u32 - 1)
    }

    async fn block(&self, height: u32) -> Result<NetworkBlockRow, NetworkError> {
        *self.asked.lock().unwrap() += 1;
        let blocks = self.blocks.lock().unwrap();
        let mut times: Vec<_> = blocks[..=height as usize].iter().rev().take(11).map(|block| block.time_s).collect();
        times.sort_unstable();
        let (median_time_s, block) = (times[times.len() / 2], blocks[height as usize]);
        Ok(NetworkBlockRow { height, hash: block_hash(height as u8), median_time_s, block })
    }
}

struct Fixture {
    _dir: TempDir,
    store: Arc<SqliteStore>,
    chain: Arc<TestChain>,
    miners: [AccountId; 3],
    session: i64,
    /// How many groups of shares there are.
    groups: Mutex<i64>,
}

async fn fixture() -> Fixture {
    let dir = tempfile::tempdir().unwrap();
    let store = Arc::new(SqliteStore::open(&dir.path().join("adit.sqlite")).await.unwrap());
    let mut miners = [AccountId::new(0); 3];
    for (miner, id) in miners.iter_mut().zip(1..) {
        *miner = store.account(&address(id)).await.unwrap();
    }
    let session = store.begin_session().await.unwrap();
    Fixture { _dir: dir, store, chain: Arc::default(), miners, session, groups: Mutex::new(0) }
}

fn pps(fee_bp: u16) -> Scheme {
    Scheme::Pps(Pps { fee: PoolFee::from_basis_points(fee_bp).unwrap() })
}

impl Fixture {
    fn crediting(&self, scheme: Scheme) -> Crediting {
        let policy = CreditingPolicy { period_ms: HOUR_MS, average: Average::Plain };
        Crediting::new(self.store.clone(), scheme, policy, self.chain.clone())
    }

    /// Stores shares of an eighth of difficulty in a segment of their own, and returns its position.
    async fn work(&self, job: JobTerms, counts: &[(AccountId, u32)]) -> ShareSeq {
        let number = {
            let mut groups = self.groups.lock().unwrap();
            *groups += 1;
            *groups
        };
        let segment = ShareSeq::of_session(self.session, number as u32).unwrap();
        let of = |&(account, count): &(AccountId, u32)| (0..count).map(move |_| ShareRun { job, ..share(account, 1) });
        let shares = counts.iter().flat_map(of).collect();
        let group = ShareGroup { session: self.session, number, segment, runs: shares };
        assert_eq!(self.store.append_shares(&group).await.unwrap(), Appended::Stored);
        segment
    }

    fn found(&self, id: u8, sat: u64) -> FoundBlock {
        FoundBlock {
            hash: block_hash(id),
            height: id.into(),
            coinbase: OutPoint::new(Txid::from_byte_array([id; 32]), 0),
            value: Amount::from_sat(sat),
            subsidy: Amount::from_sat(sat),
            finder: self.miners[0],
            share_position: ShareSeq::new(0),
            nbits: CompactTarget::from_consensus(NBITS),
            found_at_ms: i64::from(id),
            direct: DirectPayments::default(),
        }
    }

    /// Finds a block of so much and lets it mature.
    async fn block(&self, scheme: Scheme, id: u8, sat: u64) {
        let books = Books::new(self.store.clone(), scheme);
        books.record_found(&self.found(id, sat)).await.unwrap();
        books.settle(block_hash(id), MATURE).await.unwrap();
    }

    async fn balance(&self, account: LedgerAccount) -> i64 {
        self.store.balance(account).await.unwrap().to_sat()
    }

    async fn payable(&self) -> [i64; 3] {
        let mut payable = [0; 3];
        for (sat, miner) in payable.iter_mut().zip(self.miners) {
            *sat = -self.balance(LedgerAccount::MinerPayable(miner)).await;
        }
        payable
    }
}

fn credited(period: i64, sat: u64, accounts: usize) -> CreditingEvent {
    CreditingEvent::Credited { period: PeriodNumber::new(period), amount: Amount::from_sat(sat), accounts }
}

fn closed(period: i64) -> CreditingEvent {
    CreditingEvent::Closed { period: PeriodNumber::new(period) }
}

#[tokio::test]
async fn work_is_credited_when_its_period_is_over_and_explained() {
    let fixture = fixture().await;
    let [a, b, _] = fixture.miners;
    let scheme = pps(100);
    // What was done before the scheme was chosen is no work for the reserve.
    let before = fixture.work(job_at(1, NBITS), &[(a, 5)]).await;
    fixture.block(scheme, 1, 312_500_000).await;
    assert_eq!(fixture.balance(LedgerAccount::PpsReserve).await, -312_500_000);

    let crediting = fixture.crediting(scheme);
    assert_eq!(crediting.step(START_MS, before).await.unwrap(), []);
    let upto = fixture.work(job_at(2, NBITS), &[(a, 3), (b, 1)]).await;
    assert_eq!(crediting.step(START_MS + HOUR_MS - 1, upto).await.unwrap(), []);
    let expected = [(a, 3), (b, 1)].map(|(account, shares)| (account, Amount::from_sat(shares * 38_671_875)));
    assert_eq!(accrued(&*fixture.store).await.unwrap(), expected.into(), "what it comes to is known before it is paid");
    let events = crediting.step(START_MS + HOUR_MS, upto).await.unwrap();
    assert_eq!(events, [closed(1), credited(1, 4 * 38_671_875, 2)]);
    assert_eq!(fixture.payable().await, [3 * 38_671_875, 38_671_875, 0]);
    assert_eq!(accrued(&*fixture.store).await.unwrap(), BTreeMap::new());
    assert_eq!(crediting.step(START_MS + HOUR_MS, upto).await.unwrap(), []);

    let statement = explain(&*fixture.store, PeriodNumber::new(1), a).await.unwrap();
    assert_eq!(statement.credit.to_sat(), 3 * 38_671_875);
    let text = statement.to_string();
    for line in ["Scheme    pps fee_bp=100", "at target 1d00ffff and 312500000 sat", "Credit    116015625 sat"] {
        assert!(text.contains(line), "{text}");
    }
    let nobody = explain(&*fixture.store, PeriodNumber::new(1), fixture.miners[2]).await.unwrap();
    assert_eq!((nobody.credit, nobody.earning), (Amount::ZERO, None));
    let unpaid = explain(&*fixture.store, PeriodNumber::new(2), a).await;
    assert!(matches!(unpaid, Err(StatementError::Unpaid(_))), "{unpaid:?}");
    audit::verify_books(&*fixture.store).await.unwrap();
}

#[tokio::test]
async fn a_reserve_that_does_not_suffice_pauses_crediting_and_nothing_is_skipped() {
    let fixture = fixture().await;
    let [a, b, _] = fixture.miners;
    let scheme = pps(0);
    let crediting = fixture.crediting(scheme);
    crediting.step(START_MS, ShareSeq::new(0)).await.unwrap();
    let first = fixture.work(job_at(1, NBITS), &[(a, 2)]).await;
    let paused = CreditingEvent::Paused {
        period: PeriodNumber::new(1),
        amount: Amount::from_sat(78_125_000),
        missing: Amount::from_sat(78_125_000),
    };
    assert_eq!(crediting.step(START_MS + HOUR_MS, first).await.unwrap(), [closed(1), paused]);
    // A smaller period behind it waits too.
    let second = fixture.work(job_at(2, NBITS), &[(b, 1)]).await;
    assert_eq!(crediting.step(START_MS + 2 * HOUR_MS, second).await.unwrap(), [closed(2), paused]);
    let waiting = accrued(&*fixture.store).await.unwrap();
    assert_eq!((waiting[&a].to_sat(), waiting[&b].to_sat()), (78_125_000, 39_062_500));
    assert_eq!(unpaid_after(&*fixture.store).await.unwrap(), Some(ShareSeq::new(0)));
    let status = reserve::status(&*fixture.store).await.unwrap();
    assert_eq!((status.reserve.to_sat(), status.waiting.len(), status.open.is_some()), (0, 2, true));

    // A deposit, given to the reserve, suffices for the first but not for both.
    let outpoint = OutPoint::new(Txid::from_byte_array([7; 32]), 3);
    let deposit = ChainDeposit { outpoint, amount: Amount::from_sat(100_000_000), block: block_hash(7) };
    deposits::follow(&*fixture.store, &[deposit]).await.unwrap();
    let gift = |sat: u64, from, reference: &str| Gift {
        amount: Amount::from_sat(sat),
        from,
        to: Recipient::Reserve,
        reference: reference.to_owned(),
    };
    let entry = reserve::give(&*fixture.store, &gift(80_000_000, PoolMoney::Deposits, "spring")).await.unwrap();
    let events = crediting.step(START_MS + 2 * HOUR_MS + 1, second).await.unwrap();
    let missing = Amount::from_sat(39_062_500 - 1_875_000);
    let amount = Amount::from_sat(39_062_500);
    let second_paused = CreditingEvent::Paused { period: PeriodNumber::new(2), amount, missing };
    assert_eq!(events, [credited(1, 78_125_000, 1), second_paused]);
    assert_eq!(unpaid_after(&*fixture.store).await.unwrap(), Some(first));

    // The same gift again is the same; another under its name is refused, as is more than there is.
    let again = reserve::give(&*fixture.store, &gift(80_000_000, PoolMoney::Deposits, "spring")).await.unwrap();
    assert_eq!(again, entry);
    let other = reserve::give(&*fixture.store, &gift(1, PoolMoney::Deposits, "spring")).await;
    assert!(matches!(other, Err(ReserveError::Store(StoreError::DifferentEntry { .. }))), "{other:?}");
    let greedy = reserve::give(&*fixture.store, &gift(20_000_001, PoolMoney::Deposits, "more")).await;
    assert!(matches!(greedy, Err(ReserveError::Insufficient { .. })), "{greedy:?}");

    // A block matures: it goes on by itself.
    fixture.block(scheme, 1, 312_500_000).await;
    assert_eq!(crediting.step(START_MS + 2 * HOUR_MS + 2, second).await.unwrap(), [credited(2, 39_062_500, 1)]);
    // First in, first out: the rest of the deposit, then the block.
    let lots = fixture.store.unpaid_lots(b).await.unwrap();
    let expected = [(outpoint.txid, 1_875_000), (fixture.found(1, 0).coinbase.txid, 37_187_500)];
    assert_eq!(lots.iter().map(|lot| (lot.coinbase.txid, lot.amount.to_sat())).collect::<Vec<_>>(), expected);
    assert!(lots.iter().all(|lot| matches!(lot.credit, LotCredit::Period { number, .. } if number.get() == 2)));
    audit::verify_books(&*fixture.store).await.unwrap();
}

#[tokio::test]
async fn credits_for_work_are_paid_from_the_coins_they_name() {
    let fixture = fixture().await;
    let [a, b, _] = fixture.miners;
    let scheme = pps(0);
    fixture.block(scheme, 1, 50_000_000).await;
    fixture.block(scheme, 2, 50_000_000).await;
    let crediting = fixture.crediting(scheme);
    crediting.step(START_MS, ShareSeq::new(0)).await.unwrap();
    let upto = fixture.work(job_at(1, NBITS), &[(a, 1), (b, 1)]).await;
    crediting.step(START_MS + HOUR_MS, upto).await.unwrap();
    // A credit of a block, older than the period, goes first.
    fixture.block(Scheme::Pps(Pps { fee: PoolFee::NONE }).solo(), 3, 1_000).await;
    let batch = pay(&*fixture.store, a, 1).await;
    let lots: Vec<_> = batch.outputs[0].lots.iter().map(|lot| (lot.block, lot.amount.to_sat(), lot.credit)).collect();
    let of_period = LotCredit::Period { number: PeriodNumber::new(1), line: 0 };
    assert_eq!(lots, [(block_hash(3), 1_000, LotCredit::Block), (block_hash(1), 39_062_500, of_period)]);
    assert_eq!(fixture.store.batch(batch.id).await.unwrap(), Some(batch));
    assert_eq!(fixture.store.unpaid_lots(a).await.unwrap(), []);
    assert_eq!(fixture.store.unpaid_lots(b).await.unwrap().len(), 2, "from two blocks");
    let statement = explain(&*fixture.store, PeriodNumber::new(1), a).await.unwrap();
    assert_eq!(statement.paid, statement.credit);
    audit::verify_books(&*fixture.store).await.unwrap();
}

#[tokio::test]
async fn a_block_that_is_lost_after_work_was_paid_from_it_stops_crediting() {
    let fixture = fixture().await;
    let [a, ..] = fixture.miners;
    let scheme = pps(0);
    fixture.block(scheme, 1, 50_000_000).await;
    let crediting = fixture.crediting(scheme);
    crediting.step(START_MS, ShareSeq::new(0)).await.unwrap();
    let first = fixture.work(job_at(1, NBITS), &[(a, 1)]).await;
    crediting.step(START_MS + HOUR_MS, first).await.unwrap();
    let books = Books::new(fixture.store.clone(), scheme);
    books.settle(block_hash(1), GONE).await.unwrap();
    assert_eq!(fixture.balance(LedgerAccount::PpsReserve).await, 39_062_500, "below zero");

    let second = fixture.work(job_at(2, NBITS), &[(a, 1)]).await;
    let events = crediting.step(START_MS + 2 * HOUR_MS, second).await.unwrap();
    let (period, amount) = (PeriodNumber::new(2), Amount::from_sat(39_062_500));
    assert_eq!(events, [closed(2), CreditingEvent::Paused { period, amount, missing: amount * 2 }]);
    // Another brings it above zero, but its coins are all that can be given.
    fixture.block(scheme, 2, 100_000_000).await;
    let events = crediting.step(START_MS + 2 * HOUR_MS, second).await.unwrap();
    assert_eq!(events, [credited(2, 39_062_500, 1)]);
    let lots = fixture.store.unpaid_lots(a).await.unwrap();
    assert_eq!(lots.iter().map(|lot| lot.block).collect::<Vec<_>>(), [block_hash(1), block_hash(2)]);
    // The lost block returns.
    books.settle(block_hash(1), MATURE).await.unwrap();
    assert_eq!(fixture.balance(LedgerAccount::PpsReserve).await, -(150_000_000 - 2 * 39_062_500));
    let left: Amount = fixture.store.reserve_lots().await.unwrap().iter().map(|coin| coin.lot.amount).sum();
    assert_eq!(left.to_sat(), 150_000_000 - 2 * 39_062_500);
    audit::verify_books(&*fixture.store).await.unwrap();
}

#[tokio::test]
async fn periods_of_two_schemes_are_paid_each_by_its_own() {
    let fixture = fixture().await;
    let [a, ..] = fixture.miners;
    fixture.block(pps(0), 1, 312_500_000).await;
    fixture.crediting(pps(0)).step(START_MS, ShareSeq::new(0)).await.unwrap();
    let first = fixture.work(job_at(1, NBITS), &[(a, 1)]).await;
    // A dearer pool, from the next start on; the hour is not over.
    let dear = fixture.crediting(pps(5_000));
    let events = dear.step(START_MS + 5, first).await.unwrap();
    assert_eq!(events, [closed(1), credited(1, 39_062_500, 1)]);
    let second = fixture.work(job_at(2, NBITS), &[(a, 1)]).await;
    // Then none that pays work: what was done is still paid, what comes is not.
    let solo = fixture.crediting(pps(0).solo());
    let events = solo.step(START_MS + 10, second).await.unwrap();
    assert_eq!(events, [closed(2), credited(2, 19_531_250, 1)]);
    let third = fixture.work(job_at(3, NBITS), &[(a, 1)]).await;
    assert_eq!(solo.step(START_MS + 2 * DAY_MS, third).await.unwrap(), []);
    fixture.crediting(pps(0)).step(START_MS + 2 * DAY_MS, third).await.unwrap();
    let status = reserve::status(&*fixture.store).await.unwrap();
    assert_eq!(status.open.map(|open| (open.number.get(), open.after)), Some((3, third)));
    audit::verify_books(&*fixture.store).await.unwrap();
}

#[tokio::test]
async fn period_that_begins_in_the_future_begins_anew_when_the_clock_is_set_back() {
    let fixture = fixture().await;
    let [a, ..] = fixture.miners;
    fixture.block(pps(0), 1, 312_500_000).await;
    let crediting = fixture.crediting(pps(0));
    // A clock that is a year ahead for a while.
    let ahead = START_MS + 365 * DAY_MS;
    crediting.step(ahead, ShareSeq::new(0)).await.unwrap();
    let first = fixture.work(job_at(1, NBITS), &[(a, 1)]).await;
    assert_eq!(crediting.step(START_MS, first).await.unwrap(), []);
    let second = fixture.work(job_at(2, NBITS), &[(a, 1)]).await;
    assert_eq!(crediting.step(START_MS + HOUR_MS - 1, second).await.unwrap(), []);
    // All of its work is paid, once, an hour after that.
    let events = crediting.step(START_MS + HOUR_MS, second).await.unwrap();
    assert_eq!(events, [closed(1), credited(1, 2 * 39_062_500, 1)]);
    audit::verify_books(&*fixture.store).await.unwrap();
}

#[tokio::test]
async fn wishes_hold_for_periods_that_end_at_their_position_or_later() {
    let fixture = fixture().await;
    let [a, b, c] = fixture.miners;
    fixture.block(pps(0), 1, 312_500_000).await;
    let crediting = fixture.crediting(pps(0));
    crediting.step(START_MS, ShareSeq::new(0)).await.unwrap();
    let first = fixture.work(job_at(1, NBITS), &[(a, 1)]).await;
    let half = NonZeroU32::MIN;
    let wishes = Wishes { donation: Donation::new(c, 1_000), division: [(a, half), (b, half)].into() };
    let settings = AccountSettings { reward: Reward::Shared, wishes };
    fixture.store.append_settings(a, ShareSeq::new(first.get() + 1), &settings).await.unwrap();
    crediting.step(START_MS + HOUR_MS, first).await.unwrap();
    assert_eq!(fixture.payable().await, [39_062_500, 0, 0]);

    let second = fixture.work(job_at(2, NBITS), &[(a, 1)]).await;
    let events = crediting.step(START_MS + 2 * HOUR_MS, second).await.unwrap();
    assert_eq!(events, [closed(2), credited(2, 39_062_500, 3)]);
    assert_eq!(fixture.payable().await, [39_062_500 + 17_578_125, 17_578_125, 3_906_250]);
    let text = explain(&*fixture.store, PeriodNumber::new(2), a).await.unwrap().to_string();
    for line in
        ["Earned    39062500 sat", "Given     3906250 sat to account 3, as a donation", "Credit    17578125 sat"]
    {
        assert!(text.contains(line), "{text}");
    }
    let text = explain(&*fixture.store, PeriodNumber::new(2), c).await.unwrap().to_string();
    assert!(text.contains("Received  3906250 sat from account 1, as a donation\nCredit    3906250 sat"), "{text}");
    audit::verify_books(&*fixture.store).await.unwrap();
}

#[tokio::test]
async fn a_day_is_paid_with_the_networks_fees_once_its_blocks_are_deep() {
    let fixture = fixture().await;
    let [a, ..] = fixture.miners;
    let scheme = Scheme::Fpps(Pps { fee: PoolFee::NONE });
    fixture.block(scheme, 1, 312_500_000).await;
    let start_s = START_MS / 1_000;
    let block = |time_s: i64, fees: u64| {
        let (subsidy, fees) = (Amount::from_sat(312_500_000), Amount::from_sat(fees));
        NetworkBlock { time_s, subsidy, fees }
    };
    // Every ten minutes for three days; those of the day in the middle pay a tenth of the subsidy in fees.
    let all: Vec<_> = (-144..288)
        .map(|index: i64| {
            let fees = if (0..144).contains(&index) { 31_250_000 } else { 999_999 };
            block(start_s + 600 * index, fees)
        })
        .collect();
    let until = |index: usize| *fixture.chain.blocks.lock().unwrap() = all[..index].to_vec();
    let crediting = fixture.crediting(scheme);
    until(200);
    crediting.step(START_MS + 5, ShareSeq::new(0)).await.unwrap();
    let upto = fixture.work(job_at(1, NBITS), &[(a, 1)]).await;
    assert_eq!(crediting.step(START_MS + DAY_MS - 1, upto).await.unwrap(), [], "the day is not over");
    until(290);
    let awaits = CreditingEvent::AwaitsBlocks { period: PeriodNumber::new(1) };
    assert_eq!(crediting.step(START_MS + DAY_MS, upto).await.unwrap(), [closed(1), awaits]);
    // The median has passed midnight with the sixth block of the next day; that block must have five upon it.
    until(298);
    assert_eq!(crediting.step(START_MS + DAY_MS + 1, upto).await.unwrap(), [awaits]);
    until(299);
    let events = crediting.step(START_MS + DAY_MS + 2, upto).await.unwrap();
    assert_eq!(events, [credited(1, 39_062_500 * 11 / 10, 1)]);
    let text = explain(&*fixture.store, PeriodNumber::new(1), a).await.unwrap().to_string();
    assert!(text.contains("Fees      4500000000 / 45000000000 of the subsidy"), "{text}");
    // Deep blocks are asked for once.
    let asked = *fixture.chain.asked.lock().unwrap();
    fees_of(&fixture, UtcDay::of(start_s)).await;
    assert!(*fixture.chain.asked.lock().unwrap() - asked < 6);
    audit::verify_books(&*fixture.store).await.unwrap();
}

async fn fees_of(fixture: &Fixture, day: UtcDay) -> Option<FeeRatio> {
    network::fees_of_day(&*fixture.store, &*fixture.chain, day, Average::Plain).await.unwrap()
}

#[tokio::test]
async fn a_day_without_blocks_has_no_fees() {
    let fixture = fixture().await;
    let day_s = START_MS / 1_000;
    let block = |time_s| NetworkBlock { time_s, subsidy: Amount::ONE_SAT, fees: Amount::ONE_SAT };
    *fixture.chain.blocks.lock().unwrap() = (0..40).map(|index| block(day_s + 200_000 + index)).collect();
    assert_eq!(fees_of(&fixture, UtcDay::of(day_s)).await, Some(FeeRatio::NONE));
}

/// A period that was folded or lost its job's subsidy is not paid by guess.
#[tokio::test]
async fn work_on_a_job_of_unknown_subsidy_is_not_paid() {
    let fixture = fixture().await;
    let crediting = fixture.crediting(pps(0));
    crediting.step(START_MS, ShareSeq::new(0)).await.unwrap();
    let job = JobTerms { subsidy: None, ..job_at(1, NBITS) };
    let upto = fixture.work(job, &[(fixture.miners[0], 1)]).await;
    let error = crediting.step(START_MS + HOUR_MS, upto).await.unwrap_err();
    assert!(matches!(error, CreditingError::UnknownSubsidy { .. }), "{error}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(10))]

    /// However work is cut into periods, whenever the reserve is filled, and whoever crashes in between: credits and
    /// fractions are exact in the end, and the reserve is never below zero on the way.
    #[test]
    fn credits_and_fractions_are_exact_whatever_the_way(
        steps in proptest::collection::vec((0..3usize, 1..4u32, any::<bool>(), any::<bool>(), any::<bool>()), 1..12),
        fee_bp in 0..=10_000u16,
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let fixture = fixture().await;
            let scheme = pps(fee_bp);
            // Difficulty about 8,000,000: a share is worth 4.9 satoshis.
            let jobs = [job_at(1, 0x1a02_1a91), job_at(2, 0x1a01_ffff)];
            let mut crediting = fixture.crediting(scheme);
            crediting.step(START_MS, ShareSeq::new(0)).await.unwrap();
            let (mut now_ms, mut upto, mut blocks) = (START_MS, ShareSeq::new(0), 0);
            let mut exact: BTreeMap<AccountId, Earned> = BTreeMap::new();
            for (miner, count, late, found, crashed) in steps {
                let (account, job) = (fixture.miners[miner], jobs[usize::from(late)]);
                upto = fixture.work(job, &[(account, count)]).await;
                let terms = Terms {
                    nbits: job.nbits,
                    subsidy: job.subsidy.unwrap(),
                    network_fees: FeeRatio::NONE,
                    fee: scheme.fee(),
                };
                let work = Work::of(Difficulty::from_log2(-3).unwrap(), count.into());
                let sum = exact.entry(account).or_default();
                *sum = sum.plus(Earned::by(work, &terms));
                if found {
                    blocks += 1;
                    fixture.block(scheme, blocks, 7).await;
                }
                if crashed {
                    crediting = fixture.crediting(scheme);
                }
                now_ms += HOUR_MS / 2;
                crediting.step(now_ms, upto).await.unwrap();
                prop_assert!(fixture.balance(LedgerAccount::PpsReserve).await <= 0);
                audit::verify_books(&*fixture.store).await.unwrap();
            }
            fixture.block(scheme, 99, 10_000).await;
            crediting.step(now_ms + HOUR_MS, upto).await.unwrap();
            prop_assert_eq!(reserve::status(&*fixture.store).await.unwrap().waiting, []);
            let carried = fixture.store.carried().await.unwrap();
            let payable = fixture.payable().await;
            for (miner, sat) in fixture.miners.iter().zip(payable) {
                let exact = exact.get(miner).copied().unwrap_or_default();
                let (whole, fraction) = exact.split_off_whole().unwrap();
                prop_assert_eq!(whole.to_sat() as i64, sat);
                prop_assert_eq!(carried.get(miner).copied().unwrap_or_default(), fraction);
            }
            audit::verify_books(&*fixture.store).await.unwrap();
            Ok(())
        })?;
    }
}
