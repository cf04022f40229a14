//! Found blocks on a real database: what is posted, and that the way there does not matter.

#![allow(clippy::unwrap_used)]

use std::{collections::BTreeMap, num::NonZeroU32};

use bitcoin::{CompactTarget, OutPoint, SignedAmount, Txid, hashes::Hash};
use proptest::prelude::*;
use tempfile::TempDir;

use super::*;
use crate::{
    account::AccountSettings,
    audit,
    payout::BatchId,
    scheme::{
        PoolFee,
        beneficiary::{Donation, Wishes},
        pplns::Pplns,
        rule::SchemeName,
    },
    share::ShareRun,
    store::{
        conformance::{address, append, append_each, block_hash, job_at, pay, share},
        sqlite::SqliteStore,
    },
};

const MATURE: ChainPosition = ChainPosition::Confirmed { confirmations: COINBASE_MATURITY };
const FRESH: ChainPosition = ChainPosition::Confirmed { confirmations: COINBASE_MATURITY - 1 };
const GONE: ChainPosition = ChainPosition::NotInBestChain;

struct Fixture {
    _dir: TempDir,
    store: Arc<SqliteStore>,
    books: Books,
    /// Three accounts, which have 5, 3 and 2 shares in the window.
    miners: [AccountId; 3],
    position: ShareSeq,
}

async fn fixture() -> Fixture {
    let dir = tempfile::tempdir().unwrap();
    let store = Arc::new(SqliteStore::open(&dir.path().join("adit.sqlite")).await.unwrap());
    let mut miners = [AccountId::new(0); 3];
    for (miner, id) in miners.iter_mut().zip(1..) {
        *miner = store.account(&address(id)).await.unwrap();
    }
    let owners = [0, 0, 0, 0, 0, 1, 1, 1, 2, 2].map(|index: usize| miners[index]);
    let shares: Vec<_> = owners.iter().zip(0..).map(|(&miner, hash)| share(miner, hash)).collect();
    let position = *append_each(&*store, &shares).await.last().unwrap();
    let scheme = Pplns { window: NonZeroU32::new(u32::MAX).unwrap(), fee: PoolFee::from_basis_points(100).unwrap() };
    let books = Books::new(store.clone(), scheme);
    Fixture { _dir: dir, store, books, miners, position }
}

impl Fixture {
    fn found(&self, id: u8) -> FoundBlock {
        FoundBlock {
            hash: block_hash(id),
            height: id.into(),
            coinbase: OutPoint::new(Txid::from_byte_array([id; 32]), 0),
            value: Amount::from_sat(316_737_819),
            subsidy: Amount::from_sat(312_500_000),
            finder: self.miners[0],
            share_position: self.position,
            nbits: CompactTarget::from_consensus(0x207f_ffff),
            found_at_ms: 1,
            direct: DirectPayments::default(),
        }
    }

    /// The position of one of the ten first shares, counted from 1.
    fn at(&self, share: u32) -> ShareSeq {
        ShareSeq::of_session(1, share).unwrap()
    }

    /// All balances that are not zero.
    async fn balances(&self) -> BTreeMap<LedgerAccount, i64> {
        let balances = self.store.balances().await.unwrap();
        let balances = balances.into_iter().map(|(account, amount)| (account, amount.to_sat()));
        balances.filter(|(_, sat)| *sat != 0).collect()
    }

    async fn balance(&self, account: LedgerAccount) -> i64 {
        self.store.balance(account).await.unwrap().to_sat()
    }
}

#[tokio::test]
async fn a_found_block_is_split_over_its_window() {
    let fixture = fixture().await;
    let record = fixture.books.record_found(&fixture.found(1)).await.unwrap();
    assert_eq!(record.fee.to_sat(), 3_167_378);
    let [a, b, c] = fixture.miners.map(LedgerAccount::MinerImmature);
    let expected = BTreeMap::from([
        (LedgerAccount::Immature(block_hash(1)), 316_737_819),
        (LedgerAccount::FeeImmature, -3_167_378),
        (a, -156_785_221),
        (b, -94_071_132),
        (c, -62_714_088),
    ]);
    assert_eq!(fixture.balances().await, expected);
}

#[tokio::test]
async fn shares_after_the_frozen_position_do_not_count() {
    let fixture = fixture().await;
    let late: Vec<_> = (100..200).map(|hash| share(fixture.miners[2], hash)).collect();
    append(&*fixture.store, &late).await;
    fixture.books.record_found(&fixture.found(1)).await.unwrap();
    let balance = fixture.balance(LedgerAccount::MinerImmature(fixture.miners[2])).await;
    assert_eq!(balance, -62_714_088);
}

#[tokio::test]
async fn a_window_over_many_pages_loses_no_share_of_one_moment() {
    let fixture = fixture().await;
    let [one, other, _] = fixture.miners;
    // In segments of a thousand shares, each by another rig, all at the same moment.
    let rig = |index: u32| ShareRun {
        worker: format!("rig {index}").into(),
        job: job_at(1, 0x1d01_fffe),
        ..share(if index.is_multiple_of(2) { one } else { other }, 7)
    };
    let shares: Vec<_> = (0..1_000).map(rig).collect();
    let mut newest = fixture.position;
    for _ in 0..23 {
        newest = append(&*fixture.store, &shares).await;
    }
    // Scores of a quarter block each: X = 5,000 holds 20,000 of them.
    let scheme = Pplns { window: NonZeroU32::new(5_000).unwrap(), fee: PoolFee::from_basis_points(0).unwrap() };
    let books = Books::new(fixture.store.clone(), scheme);
    let found = FoundBlock { share_position: newest, ..fixture.found(3) };
    books.record_found(&found).await.unwrap();
    let credits = fixture.store.credits(found.hash).await.unwrap();
    let amounts: Vec<_> = credits.iter().map(|credit| (credit.account, credit.amount.to_sat())).collect();
    assert_eq!(amounts, [(one, 158_368_910), (other, 158_368_909)]);
}

/// A pool that stood still for days still owes for the shares before.
#[tokio::test]
async fn an_empty_day_does_not_end_the_window() {
    const DAY_MS: i64 = 86_400_000;
    let fixture = fixture().await;
    let mut later: Vec<_> = (500..505).map(|hash| share(fixture.miners[2], hash)).collect();
    for share in &mut later {
        share.first_at_ms += 30 * DAY_MS;
        share.last_at_ms += 30 * DAY_MS;
    }
    let found = FoundBlock { share_position: append(&*fixture.store, &later).await, ..fixture.found(1) };
    fixture.books.record_found(&found).await.unwrap();
    let [a, b, c] = fixture.miners.map(LedgerAccount::MinerImmature);
    // 5, 3 and 7 of 15 shares.
    assert_eq!(fixture.balance(a).await, -104_523_480);
    assert_eq!(fixture.balance(b).await, -62_714_088);
    assert_eq!(fixture.balance(c).await, -146_332_873);
}

/// Credits of a block in satoshis, in the order of the accounts.
async fn credited(fixture: &Fixture, hash: BlockHash) -> Vec<(AccountId, u64)> {
    let credits = fixture.store.credits(hash).await.unwrap();
    credits.iter().map(|credit| (credit.account, credit.amount.to_sat())).collect()
}

fn books(fixture: &Fixture, name: SchemeName) -> Books {
    let fee = PoolFee::from_basis_points(100).unwrap();
    Books::new(fixture.store.clone(), Scheme::new(name, NonZeroU32::new(8).unwrap(), fee))
}

#[tokio::test]
async fn solo_credits_the_finder_alone() {
    let fixture = fixture().await;
    let found = FoundBlock { finder: fixture.miners[1], ..fixture.found(1) };
    let record = books(&fixture, SchemeName::Solo).record_found(&found).await.unwrap();
    assert_eq!(record.fee.to_sat(), 3_167_378);
    assert_eq!(credited(&fixture, found.hash).await, [(fixture.miners[1], 313_570_441)]);
}

#[tokio::test]
async fn tides_measures_by_the_difficulty_of_the_block() {
    let fixture = fixture().await;
    let [a, _, c] = fixture.miners;
    let books = books(&fixture, SchemeName::Tides);
    // Ten shares of an eighth. At a quarter, eight times the difficulty are 16 shares; at a sixteenth they are four.
    let easier = |nbits| FoundBlock { nbits: CompactTarget::from_consensus(nbits), ..fixture.found(1) };
    let quarter = easier(0x1d03_fffc);
    let record = books.record_found(&quarter).await.unwrap();
    assert_eq!(record.rule.map(|rule| rule.to_string()), Some("tides window=8 fee_bp=100".to_owned()));
    assert_eq!(credited(&fixture, quarter.hash).await[0], (a, 156_785_221));
    let sixteenth = FoundBlock { hash: block_hash(2), ..easier(0x1d0f_fff0) };
    books.record_found(&sixteenth).await.unwrap();
    let newest: Vec<_> = credited(&fixture, sixteenth.hash).await;
    assert_eq!(newest, [(fixture.miners[1], 156_785_221), (c, 156_785_220)]);
}

#[tokio::test]
async fn prop_pays_the_shares_since_the_blocks_before() {
    let fixture = fixture().await;
    let [a, b, c] = fixture.miners;
    let books = books(&fixture, SchemeName::Prop);
    let at = |id: u8, segment| FoundBlock { share_position: fixture.at(segment), ..fixture.found(id) };
    // Shares 1 to 5 are a's, 6 to 8 b's, 9 and 10 c's.
    books.record_found(&at(1, 6)).await.unwrap();
    assert_eq!(credited(&fixture, block_hash(1)).await, [(a, 261_308_701), (b, 52_261_740)]);
    books.record_found(&at(2, 9)).await.unwrap();
    assert_eq!(credited(&fixture, block_hash(2)).await, [(b, 209_046_961), (c, 104_523_480)]);

    // A rival of the second block ends no round of its own, and neither does a block that left the chain.
    let rival = FoundBlock { height: 2, ..at(3, 10) };
    let record = books.record_found(&rival).await.unwrap();
    assert_eq!(record.rule.map(|rule| rule.to_string()), Some(format!("prop last_block={} fee_bp=100", fixture.at(6))));
    books.settle(block_hash(2), GONE).await.unwrap();
    books.settle(block_hash(3), GONE).await.unwrap();
    let record = books.record_found(&at(4, 10)).await.unwrap();
    assert_eq!(record.rule.map(|rule| rule.to_string()), Some(format!("prop last_block={} fee_bp=100", fixture.at(6))));
}

#[tokio::test]
async fn the_block_before_is_found_behind_many_orphans() {
    let fixture = fixture().await;
    let books = books(&fixture, SchemeName::Prop);
    books.record_found(&FoundBlock { share_position: fixture.at(2), ..fixture.found(1) }).await.unwrap();
    for id in 2..50 {
        books.record_found(&FoundBlock { share_position: fixture.at(3), ..fixture.found(id) }).await.unwrap();
        books.settle(block_hash(id), GONE).await.unwrap();
    }
    let record = books.record_found(&fixture.found(50)).await.unwrap();
    assert_eq!(record.rule.map(|rule| rule.to_string()), Some(format!("prop last_block={} fee_bp=100", fixture.at(2))));
}

#[tokio::test]
async fn any_credit_is_explained_by_the_rule_of_its_time() {
    let fixture = fixture().await;
    let nbits = CompactTarget::from_consensus(0x1d03_fffc);
    for (id, (name, _)) in (1..).zip(SchemeName::ALL) {
        let books = if name == SchemeName::Pplns { fixture.books.clone() } else { books(&fixture, name) };
        books.record_found(&FoundBlock { nbits, ..fixture.found(id) }).await.unwrap();
    }
    // Whatever came later: other shares, another scheme, a reorganisation.
    let late: Vec<_> = (600..700).map(|hash| share(fixture.miners[2], hash)).collect();
    append(&*fixture.store, &late).await;
    fixture.books.settle(block_hash(1), MATURE).await.unwrap();
    fixture.books.settle(block_hash(2), GONE).await.unwrap();
    pay(&*fixture.store, fixture.miners[0], 1).await;
    for (id, (name, _)) in (1..).zip(SchemeName::ALL) {
        let credited: BTreeMap<_, _> = credited(&fixture, block_hash(id)).await.into_iter().collect();
        for miner in fixture.miners {
            let explained = fixture.books.explain(block_hash(id), miner).await.unwrap();
            let credit = credited.get(&miner).copied().unwrap_or(0);
            assert_eq!(explained.credit.to_sat(), credit, "{name} for {miner}");
            let text = explained.to_string();
            assert!(text.contains(&format!("Rule      {name} ")) && text.contains(&format!("Credit    {credit} sat")));
        }
    }
    let paid = fixture.books.explain(block_hash(1), fixture.miners[0]).await.unwrap();
    assert_eq!(paid.paid, paid.credit);
    let voided = fixture.books.explain(block_hash(2), fixture.miners[0]).await.unwrap();
    assert!(voided.to_string().ends_with("void: the block is not in the best chain\n"));
    let unknown = fixture.books.explain(block_hash(99), fixture.miners[0]).await;
    assert!(matches!(unknown, Err(BooksError::UnknownBlock(_))));
}

/// A credit that does not follow from the shares is named, not explained away.
#[tokio::test]
async fn a_credit_that_the_shares_do_not_give_is_not_explained() {
    let fixture = fixture().await;
    let (miner, found) = (fixture.miners[0], fixture.found(1));
    let rule: Rule = "solo fee_bp=0".parse().unwrap();
    let post = async |found: FoundBlock, rule: Option<Rule>, sat: u64| {
        let (hash, credit) = (found.hash, Amount::from_sat(sat));
        let fee = found.value - credit;
        let record = BlockRecord { found, fee, reserve: Amount::ZERO, rule, state: BlockState::FOUND };
        let credits = vec![BlockCredit { account: miner, amount: credit, paid: Amount::ZERO }];
        let draft = booking(EntryKind::BlockFound, hash.to_string(), &record, &credits).balanced().unwrap();
        let head = fixture.store.head().await.unwrap();
        assert!(
            fixture
                .books
                .commit(head, draft, vec![Row::BlockFound { block: record, credits, window: None }])
                .await
                .unwrap()
        );
    };
    post(found.clone(), Some(rule), 316_737_818).await;
    let error = fixture.books.explain(found.hash, miner).await.unwrap_err();
    assert!(
        matches!(error, BooksError::Unexplained { posted, explained, .. }
        if posted.to_sat() == 316_737_818 && explained.to_sat() == 316_737_819),
        "{error}"
    );

    post(fixture.found(2), None, 5).await;
    let error = fixture.books.explain(block_hash(2), miner).await.unwrap_err();
    assert!(matches!(error, BooksError::NoRule(hash) if hash == block_hash(2)), "{error}");
}

/// Books with a window that holds all shares.
fn books_over_all(fixture: &Fixture, name: SchemeName) -> Books {
    let fee = PoolFee::from_basis_points(100).unwrap();
    Books::new(fixture.store.clone(), Scheme::new(name, NonZeroU32::MAX, fee))
}

#[tokio::test]
async fn outlook_credits_what_a_block_found_now_is_split_to() {
    let fixture = fixture().await;
    let reward = fixture.found(1).reward();
    let wishes = Wishes { donation: Donation::new(fixture.miners[1], 1_000), ..Wishes::default() };
    let settings = AccountSettings { wishes, ..AccountSettings::default() };
    fixture.store.append_settings(fixture.miners[0], ShareSeq::new(1), &settings).await.unwrap();
    for (name, id) in [SchemeName::Pplns, SchemeName::Tides, SchemeName::Prop, SchemeName::PpsPlus].into_iter().zip(1..)
    {
        let books = books_over_all(&fixture, name).with_running_window().await.unwrap();
        let found = fixture.found(id);
        let outlook = books.outlook(found.height, found.nbits, reward).await.unwrap().unwrap();
        assert_eq!(outlook.total().shares, outlook.counted(fixture.miners[0]).shares * 2, "{name}");
        let record = books.record_found(&found).await.unwrap();
        assert_eq!((outlook.fee, outlook.reserve, Some(outlook.rule)), (record.fee, record.reserve, record.rule));
        let credited = credited(&fixture, found.hash).await;
        assert_eq!(credited.len(), 3, "{name}");
        for (miner, sat) in credited {
            assert_eq!(outlook.credit(miner).to_sat(), sat, "{name}");
        }
        // The next round of PROP shall have these shares too.
        books.settle(found.hash, GONE).await.unwrap();
    }
    for name in [SchemeName::Solo, SchemeName::Pps, SchemeName::Fpps] {
        let books = books_over_all(&fixture, name).with_running_window().await.unwrap();
        assert!(books.outlook(9, fixture.found(9).nbits, reward).await.unwrap().is_none(), "{name}");
    }
}

#[tokio::test]
async fn a_block_is_recorded_once_and_other_facts_are_refused() {
    let fixture = fixture().await;
    let found = fixture.found(1);
    let record = fixture.books.record_found(&found).await.unwrap();
    let head = fixture.store.head().await.unwrap();
    let later = FoundBlock { found_at_ms: 999, ..found.clone() };
    assert_eq!(fixture.books.record_found(&later).await.unwrap(), record);
    assert_eq!(fixture.store.head().await.unwrap(), head);
    let other = FoundBlock { value: Amount::ONE_SAT, ..found };
    assert!(matches!(fixture.books.record_found(&other).await, Err(BooksError::DifferentBlock(_))));
    let unknown = fixture.books.settle(block_hash(2), MATURE).await;
    assert!(matches!(unknown, Err(BooksError::UnknownBlock(_))));
}

#[tokio::test]
async fn two_blocks_of_one_height_are_both_booked() {
    let fixture = fixture().await;
    let rival = FoundBlock { height: 1, ..fixture.found(2) };
    fixture.books.record_found(&fixture.found(1)).await.unwrap();
    fixture.books.record_found(&rival).await.unwrap();
    fixture.books.settle(block_hash(1), GONE).await.unwrap();
    fixture.books.settle(block_hash(2), MATURE).await.unwrap();
    assert_eq!(fixture.balance(LedgerAccount::Spendable).await, 316_737_819);
    assert_eq!(fixture.balance(LedgerAccount::MinerPayable(fixture.miners[0])).await, -156_785_221);
}

#[tokio::test]
async fn a_block_matures_at_a_hundred_confirmations() {
    let fixture = fixture().await;
    fixture.books.record_found(&fixture.found(1)).await.unwrap();
    fixture.books.settle(block_hash(1), FRESH).await.unwrap();
    assert_eq!(fixture.balance(LedgerAccount::Spendable).await, 0);
    let state = fixture.books.settle(block_hash(1), MATURE).await.unwrap();
    assert_eq!(state, BlockState { phase: BlockPhase::Matured, epoch: 0 });
    let [a, b, c] = fixture.miners.map(LedgerAccount::MinerPayable);
    let expected = BTreeMap::from([
        (LedgerAccount::Spendable, 316_737_819),
        (LedgerAccount::Fee, -3_167_378),
        (a, -156_785_221),
        (b, -94_071_132),
        (c, -62_714_088),
    ]);
    assert_eq!(fixture.balances().await, expected);
}

#[tokio::test]
async fn an_orphan_is_reversed_exactly_and_both_entries_stay() {
    let fixture = fixture().await;
    fixture.books.record_found(&fixture.found(1)).await.unwrap();
    fixture.books.settle(block_hash(1), GONE).await.unwrap();
    assert_eq!(fixture.balances().await, BTreeMap::new());
    let entries = fixture.store.entries(EntrySeq::new(0), 10).await.unwrap();
    let [found, orphaned] = &entries[..] else { panic!("{entries:?}") };
    assert_eq!(orphaned.corrects, Some(found.seq));
    assert_eq!(orphaned.amount(LedgerAccount::FeeImmature).to_sat(), 3_167_378);
    let credits: SignedAmount =
        fixture.miners.iter().map(|&miner| orphaned.amount(LedgerAccount::MinerImmature(miner))).sum();
    assert_eq!(credits.to_sat(), 313_570_441);
}

#[tokio::test]
async fn an_orphan_that_reconnects_ends_as_if_never_orphaned() {
    let fixture = fixture().await;
    fixture.books.record_found(&fixture.found(1)).await.unwrap();
    fixture.books.settle(block_hash(1), MATURE).await.unwrap();
    let straight = fixture.balances().await;
    for position in [GONE, FRESH, GONE, MATURE] {
        fixture.books.settle(block_hash(1), position).await.unwrap();
    }
    assert_eq!(fixture.balances().await, straight);
    let orphaned = fixture.store.entry(EntryKind::Orphaned, &format!("{}:2", block_hash(1))).await.unwrap().unwrap();
    let reconnected = fixture.store.entry(EntryKind::Reconnected, &format!("{}:2", block_hash(1))).await.unwrap();
    assert_eq!(orphaned.corrects, reconnected.map(|entry| entry.seq), "the latest booking is what is undone");
    audit::verify(&*fixture.store).await.unwrap();
}

#[tokio::test]
async fn what_was_paid_from_a_block_that_left_is_debt_and_nothing_else_pays_it() {
    let fixture = fixture().await;
    let miner = fixture.miners[1];
    let (payable, debt) = (LedgerAccount::MinerPayable(miner), LedgerAccount::MinerDebt(miner));
    fixture.books.record_found(&fixture.found(1)).await.unwrap();
    fixture.books.record_found(&fixture.found(2)).await.unwrap();
    fixture.books.settle(block_hash(1), MATURE).await.unwrap();
    pay(&*fixture.store, miner, 1).await;
    assert_eq!(fixture.balance(payable).await, 0);

    // The first block, whose coin was paid, leaves. The second one's credit stays whole.
    fixture.books.settle(block_hash(2), MATURE).await.unwrap();
    fixture.books.settle(block_hash(1), GONE).await.unwrap();
    assert_eq!(fixture.balance(debt).await, 94_071_132);
    assert_eq!(fixture.balance(payable).await, -94_071_132);
    assert_eq!(fixture.balance(LedgerAccount::MinerPayable(fixture.miners[0])).await, -156_785_221);

    // It comes back: the debt is gone, nothing is due twice.
    fixture.books.settle(block_hash(1), MATURE).await.unwrap();
    assert_eq!(fixture.balance(debt).await, 0);
    assert_eq!(fixture.balance(payable).await, -94_071_132);
    audit::verify(&*fixture.store).await.unwrap();
}

#[tokio::test]
async fn two_who_record_and_settle_at_once_post_everything_once() {
    let fixture = fixture().await;
    let found: Vec<_> = (1..=6).map(|id| fixture.found(id)).collect();
    let work = |books: Books, found: Vec<FoundBlock>| async move {
        for found in &found {
            books.record_found(found).await.unwrap();
            books.settle(found.hash, MATURE).await.unwrap();
        }
    };
    let mut reversed = found.clone();
    reversed.reverse();
    let one = tokio::spawn(work(fixture.books.clone(), found));
    let other = tokio::spawn(work(fixture.books.clone(), reversed));
    one.await.unwrap();
    other.await.unwrap();
    assert_eq!(fixture.store.head().await.unwrap().seq, EntrySeq::new(12));
    assert_eq!(fixture.balance(LedgerAccount::Spendable).await, 6 * 316_737_819);
    audit::verify(&*fixture.store).await.unwrap();
}

#[tokio::test]
async fn blocks_are_watched_while_they_can_change() {
    let fixture = fixture().await;
    for id in 1..=3 {
        fixture.books.record_found(&fixture.found(id)).await.unwrap();
    }
    fixture.books.settle(block_hash(1), MATURE).await.unwrap();
    fixture.books.settle(block_hash(3), MATURE).await.unwrap();
    let heights = |blocks: Vec<BlockRecord>| blocks.iter().map(|block| block.found.height).collect::<Vec<_>>();
    let tip = REORG_WATCH_DEPTH + 3;
    assert_eq!(heights(fixture.books.watched(tip).await.unwrap()), [2, 3]);
    assert_eq!(heights(fixture.books.watched(5).await.unwrap()), [1, 2, 3]);
}

/// Balances of the pool's own accounts: fee, reserve and what becomes of them.
async fn own(fixture: &Fixture) -> [i64; 4] {
    let mut own = [0; 4];
    let accounts =
        [LedgerAccount::PpsImmature, LedgerAccount::PpsReserve, LedgerAccount::FeeImmature, LedgerAccount::Fee];
    for (sat, account) in own.iter_mut().zip(accounts) {
        *sat = -fixture.balance(account).await;
    }
    own
}

#[tokio::test]
async fn a_block_of_a_pps_pool_goes_to_the_reserve() {
    for name in [SchemeName::Pps, SchemeName::Fpps] {
        let fixture = fixture().await;
        let books = books(&fixture, name);
        let record = books.record_found(&fixture.found(1)).await.unwrap();
        assert_eq!((record.fee, record.reserve.to_sat()), (Amount::ZERO, 316_737_819));
        assert_eq!(own(&fixture).await, [316_737_819, 0, 0, 0]);
        assert_eq!(credited(&fixture, block_hash(1)).await, []);
        books.settle(block_hash(1), MATURE).await.unwrap();
        assert_eq!(own(&fixture).await, [0, 316_737_819, 0, 0]);
        let lots = fixture.store.reserve_lots().await.unwrap();
        assert_eq!(lots.iter().map(|coin| coin.lot.amount.to_sat()).collect::<Vec<_>>(), [316_737_819]);
        books.settle(block_hash(1), GONE).await.unwrap();
        assert_eq!((own(&fixture).await, fixture.store.reserve_lots().await.unwrap()), ([0; 4], vec![]));
        books.settle(block_hash(1), MATURE).await.unwrap();
        assert_eq!(own(&fixture).await, [0, 316_737_819, 0, 0]);
        assert_eq!(fixture.store.reserve_lots().await.unwrap(), lots);
        audit::verify_books(&*fixture.store).await.unwrap();
    }
}

#[tokio::test]
async fn a_block_of_a_pps_plus_pool_splits_its_fees() {
    let fixture = fixture().await;
    let fee = PoolFee::from_basis_points(100).unwrap();
    let books = Books::new(fixture.store.clone(), Scheme::new(SchemeName::PpsPlus, NonZeroU32::MAX, fee));
    books.record_found(&fixture.found(1)).await.unwrap();
    // Of 4,237,819 satoshis of fees 1 % is the pool's.
    let [a, b, c] = fixture.miners;
    assert_eq!(own(&fixture).await, [312_500_000, 0, 42_378, 0]);
    assert_eq!(credited(&fixture, block_hash(1)).await, [(a, 2_097_721), (b, 1_258_632), (c, 839_088)]);
    books.settle(block_hash(1), MATURE).await.unwrap();
    assert_eq!(own(&fixture).await, [0, 312_500_000, 0, 42_378]);
    audit::verify_books(&*fixture.store).await.unwrap();
}

#[tokio::test]
async fn a_block_keeps_the_scheme_of_its_job() {
    let fixture = fixture().await;
    let books = books(&fixture, SchemeName::Pps);
    let solo = books.scheme().solo();
    let record = books.record_under(&fixture.found(1), solo).await.unwrap();
    assert_eq!(record.rule.map(|rule| rule.to_string()), Some("solo fee_bp=100".to_owned()));
    assert_eq!(credited(&fixture, block_hash(1)).await, [(fixture.miners[0], 313_570_441)]);
    // What the credits follow from is in the ledger's chain.
    let entry = fixture.store.entry(EntryKind::BlockFound, &block_hash(1).to_string()).await.unwrap().unwrap();
    assert_eq!(entry.facts, Some(record.facts()));
    assert!(record.facts().ends_with("nbits=207fffff rule=solo fee_bp=100"), "{}", record.facts());
}

#[tokio::test]
async fn wishes_of_the_time_of_a_job_divide_its_block() {
    let fixture = fixture().await;
    let [a, b, c] = fixture.miners;
    let early = FoundBlock { share_position: fixture.at(9), ..fixture.found(1) };
    let division = [(a, NonZeroU32::MIN), (c, NonZeroU32::MIN)].into();
    let wishes = Wishes { donation: Donation::new(b, 5_000), division };
    let settings = AccountSettings { wishes, ..AccountSettings::default() };
    fixture.store.append_settings(a, fixture.position, &settings).await.unwrap();
    let plain = fixture.books.record_found(&early).await.unwrap();
    assert_eq!(credited(&fixture, plain.found.hash).await[0], (a, 174_205_801));
    fixture.books.record_found(&fixture.found(2)).await.unwrap();
    // Of 156,785,221 half goes to b, and the rest is divided.
    let expected = [(a, 39_196_306), (b, 94_071_132 + 78_392_610), (c, 62_714_088 + 39_196_305)];
    assert_eq!(credited(&fixture, block_hash(2)).await, expected);
    for (miner, sat) in expected {
        let explained = fixture.books.explain(block_hash(2), miner).await.unwrap();
        assert_eq!(explained.credit.to_sat(), sat);
    }
    let text = fixture.books.explain(block_hash(2), a).await.unwrap().to_string();
    assert!(text.contains("Given     78392610 sat to account 2, as a donation\nKept      39196306 sat\n"), "{text}");
    // What it wished later changes nothing.
    fixture.store.append_settings(a, fixture.position, &AccountSettings::default()).await.unwrap();
    let later = fixture.books.explain(block_hash(1), a).await.unwrap();
    assert_eq!(later.credit.to_sat(), 174_205_801);
    audit::verify_books(&*fixture.store).await.unwrap();
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(12))]

    /// Chain events shuffled and repeated, payouts in between: where the blocks end up is all that counts.
    #[test]
    fn the_way_there_does_not_matter(
        events in proptest::collection::vec((1..=3u8, 0..4usize), 0..14),
        last in proptest::collection::vec(0..3usize, 3),
    ) {
        let positions = [MATURE, FRESH, GONE];
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let (shuffled, straight) = (fixture().await, fixture().await);
            let mut paid = 0u8;
            for (id, event) in events {
                shuffled.books.record_found(&shuffled.found(id)).await.unwrap();
                match positions.get(event) {
                    Some(&position) => {
                        shuffled.books.settle(block_hash(id), position).await.unwrap();
                    }
                    None if !shuffled.store.due(Amount::ONE_SAT).await.unwrap().is_empty() => {
                        let miner = shuffled.store.due(Amount::ONE_SAT).await.unwrap()[0].account;
                        paid += 1;
                        pay(&*shuffled.store, miner, paid).await;
                    }
                    None => {}
                }
            }
            for fixture in [&straight, &shuffled] {
                for (id, &position) in (1..).zip(&last) {
                    fixture.books.record_found(&fixture.found(id)).await.unwrap();
                    fixture.books.settle(block_hash(id), positions[position]).await.unwrap();
                    fixture.books.settle(block_hash(id), positions[position]).await.unwrap();
                }
                audit::verify(&*fixture.store).await.unwrap();
            }
            let (mut shuffled_net, mut straight_net) = (shuffled.balances().await, straight.balances().await);
            // What was paid in between moved from payable to reserved, or became debt; the miners' sum stays.
            if paid == 0 {
                assert_eq!(shuffled_net, straight_net);
            }
            for net in [&mut shuffled_net, &mut straight_net] {
                let miners = |account: &LedgerAccount| matches!(
                    account,
                    LedgerAccount::MinerPayable(_) | LedgerAccount::MinerDebt(_) | LedgerAccount::Reserved(_)
                );
                let sum: i64 = net.iter().filter(|(account, _)| miners(account)).map(|(_, sat)| sat).sum();
                net.retain(|account, _| !miners(account));
                net.insert(LedgerAccount::Reserved(BatchId::new(0)), sum);
            }
            assert_eq!(shuffled_net, straight_net);
            // What is due is covered by unpaid lots, to the satoshi.
            for miner in shuffled.miners {
                let lots = shuffled.store.unpaid_lots(miner).await.unwrap();
                let lots: Amount = lots.iter().map(|lot| lot.amount).sum();
                assert_eq!(shuffled.balance(LedgerAccount::MinerPayable(miner)).await, -(lots.to_sat() as i64));
            }
        });
    }
}
