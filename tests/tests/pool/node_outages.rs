//! A node that is away, slow, silent, or on another chain, while miners work.
//!
//! Mining goes on with the last template, which is renewed, and shares on it are credited. Nothing is paid or voided on
//! the word of a node that is not the right one. When the right one answers again, all heals by itself.

use std::{
    collections::BTreeSet,
    fs, thread,
    time::{Duration, Instant},
};

use bitcoin::{BlockHash, hashes::Hash};
use bitcoind_regtest::{Chain, Node, NodeOptions};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use protocol::messages::mining::{NewMiningJob, ServerMessage};
use tests::{
    miner::{Miner, Record},
    node_proxy::{Answers, NodeProxy},
};
use tokio::task::block_in_place;

use crate::{
    books::{Block, Books},
    payouts::find_blocks,
    site::{Database, PATIENCE, Site, eventually, eventually_or, hash_of, standard},
};

/// How often templates are renewed: as often as the settings allow.
const REFRESH_S: u64 = 5;
/// Slow enough that a chain does not grow by hundreds of blocks; every second hash is one.
const HASHES_PER_SECOND: f64 = 8.0;
/// How soon the first tip must have come from a node that is back: the longest pause between two attempts, and the time of
/// a busy machine.
const BACK_WITHIN: Duration = Duration::from_secs(15);
/// How deep blocks of the pool lie that nobody may void any more, and more.
const DEEP: u32 = 300;
const USER: &str = "adit";
const PASSWORD: &str = "between two nodes";

/// A pool whose node is behind a proxy.
async fn site_behind_proxy(chain: Chain) -> (Site, NodeProxy) {
    let node = NodeOptions::new().chain(chain).credentials(USER, PASSWORD).start().unwrap();
    let proxy = NodeProxy::start(node.rpc_port()).await.unwrap();
    let mut site = Site::over(node, Database::Sqlite);
    site.pool
        .set("ADIT__BITCOIND__URL", proxy.url())
        .set("ADIT__BITCOIND__COOKIE_FILE", "")
        .set("ADIT__BITCOIND__USER", USER)
        .set("ADIT__BITCOIND__PASSWORD", PASSWORD)
        .set("ADIT__BITCOIND__TEMPLATE_REFRESH_SECONDS", REFRESH_S);
    (site, proxy)
}

async fn log_says(site: &Site, words: &str) {
    eventually_or(words, async || {
        let log = site.pool.log();
        if log.contains(words) { Ok(()) } else { Err(log) }
    })
    .await;
}

/// The tips that a miner was told of, in order.
fn tips(record: &Record) -> Vec<BlockHash> {
    let messages = record.received.iter();
    let tips = messages.filter_map(|message| match message {
        ServerMessage::SetNewPrevHash(tip) => Some(BlockHash::from_byte_array(tip.prev_hash.0)),
        _ => None,
    });
    tips.collect()
}

/// The jobs that were to be begun at once.
fn renewed_jobs(record: &Record) -> Vec<u32> {
    let messages = record.received.iter();
    let jobs = messages.filter_map(|message| match message {
        ServerMessage::NewMiningJob(NewMiningJob { job_id, min_ntime: Some(_), .. }) => Some(*job_id),
        _ => None,
    });
    jobs.collect()
}

/// Waits until a miner has had a share acknowledged whose job came after `known` jobs.
async fn wait_for_share_on_renewed_job(miner: &Miner, known: usize) {
    let credited = |record: &Record| {
        let renewed = renewed_jobs(record);
        let (answered, later) = (record.acknowledged(), renewed.get(known..).unwrap_or_default());
        let mut shares = record.submitted.iter().filter(|share| later.contains(&share.job_id));
        shares.any(|share| answered.contains(&(share.channel_id, share.sequence_number))).then_some(())
    };
    miner.wait_for(PATIENCE, "a share on a renewed job", credited).await.unwrap();
}

async fn wait_for_tip(miner: &Miner, hash: BlockHash) {
    let told = |record: &Record| tips(record).contains(&hash).then_some(());
    miner.wait_for(PATIENCE, "the tip", told).await.unwrap();
}

/// Lets a miner's channels rest until all of its shares are answered, and closes it.
async fn rest(miner: Miner) -> Record {
    let channels: BTreeSet<u32> = miner.read(|record| record.identities.keys().copied().collect());
    for channel_id in channels {
        miner.limit_hash_rate(channel_id, Some(0.0)).await.unwrap();
    }
    miner.wait_for_answers(PATIENCE).await.unwrap();
    let record = miner.close().await;
    assert_eq!(record.faults, []);
    record
}

/// Asserts that stored is what was acknowledged, that every found block of those is booked, and that the books are right.
async fn assert_all_booked(site: &Site, books: &Books, records: &[Record]) {
    let acknowledged: usize = records.iter().map(Record::accepted_count).sum();
    assert_eq!(books.store().share_totals(None, 0).await.unwrap().count, acknowledged as u64);
    let mut found = BTreeSet::new();
    for record in records {
        let answered = record.acknowledged();
        let shares = record.submitted.iter().filter(|s| answered.contains(&(s.channel_id, s.sequence_number)));
        found.extend(shares.filter(|share| share.is_block).map(hash_of));
    }
    let booked: Vec<BlockHash> = books.blocks().await.iter().map(Block::hash).collect();
    let missing: Vec<_> = found.iter().filter(|hash| !booked.contains(hash)).collect();
    assert!(missing.is_empty(), "found and not booked: {missing:?}");
    assert_eq!(booked.len(), booked.iter().collect::<BTreeSet<_>>().len(), "booked twice");
    books.assert_sound().await;
    let verified = site.pool.ask(&["ledger", "verify"]).unwrap();
    assert!(verified.contains("All records are as they were written"), "{verified}");
}

#[tokio::test(flavor = "multi_thread")]
async fn new_wallet_waits_for_a_node_that_has_no_time_for_it() {
    const WAITS: &str = "the wallet waits for its node";
    let (mut site, proxy) = site_behind_proxy(Chain::Regtest).await;
    site.node.mine(1).unwrap();
    // Nobody but a new wallet asks for that.
    proxy.set_answers(Answers::Busy("getblockcount"));
    let mut waiting = site.pool.spawn().unwrap();
    log_says(&site, WAITS).await;
    kill(Pid::from_raw(waiting.id().try_into().unwrap()), Signal::SIGTERM).unwrap();
    let ended = eventually("the waiting pool to end", async || waiting.try_wait().unwrap()).await;
    assert!(ended.success(), "{ended}");

    let (log, before) = (site.pool.folder().join("log.txt"), site.pool.log().len());
    let relief = thread::spawn(move || {
        let begun = Instant::now();
        while !fs::read_to_string(&log).unwrap()[before..].contains(WAITS) {
            assert!(begun.elapsed() < PATIENCE, "it does not wait again");
            thread::sleep(Duration::from_millis(50));
        }
        proxy.set_answers(Answers::Pass);
        proxy
    });
    block_in_place(|| site.pool.start()).unwrap();
    let _proxy = relief.join().unwrap();
    let address = site.new_address();
    let miner = site.miner_with(standard(&address, HASHES_PER_SECOND).max_shares(1)).await;
    miner.wait_for_accepted(1, PATIENCE).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn miners_work_on_while_the_node_is_down_and_have_its_tip_as_soon_as_it_is_back() {
    let mut site = Site::signet();
    site.pool.set("ADIT__BITCOIND__TEMPLATE_REFRESH_SECONDS", REFRESH_S);
    site.pool.start().unwrap();
    let miner = site.miner_with(standard(&site.new_address(), 10_000.0)).await;
    miner.wait_for_accepted(3, PATIENCE).await.unwrap();

    site.node.stop().unwrap();
    log_says(&site, "waiting: ").await;
    let known = miner.read(|record| renewed_jobs(record).len());
    wait_for_share_on_renewed_job(&miner, known).await;
    // Whoever comes now is served too.
    let another = site.miner_with(standard(&site.new_address(), 10_000.0).max_shares(3)).await;
    another.wait_for_accepted(3, PATIENCE).await.unwrap();

    site.node.restart().unwrap();
    let tip = *site.node.mine(1).unwrap().last().unwrap();
    let back = Instant::now();
    wait_for_tip(&miner, tip).await;
    assert!(back.elapsed() < BACK_WITHIN, "{:?}", back.elapsed());
    log_says(&site, "templates come again").await;
    let accepted = miner.read(Record::accepted_count);
    miner.wait_for_accepted(accepted + 3, PATIENCE).await.unwrap();
    let records = [rest(miner).await, rest(another).await];
    let acknowledged: usize = records.iter().map(Record::accepted_count).sum();
    assert_eq!(site.books().await.store().share_totals(None, 0).await.unwrap().count, acknowledged as u64);
}

/// Lets something become of the node's answers for a while, with miners who find blocks.
async fn outlives(answers: Answers, lasting: Duration) {
    let (mut site, proxy) = site_behind_proxy(Chain::Regtest).await;
    site.node.mine(1).unwrap();
    site.pool.start().unwrap();
    let miner = site.miner_with(standard(&site.new_address(), HASHES_PER_SECOND)).await;
    miner.wait_for_accepted(3, PATIENCE).await.unwrap();

    proxy.set_answers(answers);
    let (begun, accepted) = (Instant::now(), miner.read(Record::accepted_count));
    let another = site.miner_with(standard(&site.new_address(), HASHES_PER_SECOND)).await;
    another.wait_for_accepted(3, PATIENCE).await.unwrap();
    miner.wait_for_accepted(accepted + 3, PATIENCE).await.unwrap();
    tokio::time::sleep(lasting.saturating_sub(begun.elapsed())).await;
    let before_tip = miner.read(|record| tips(record).len());

    proxy.set_answers(Answers::Pass);
    let more_tips = |record: &Record| (tips(record).len() > before_tip + 1).then_some(());
    miner.wait_for(PATIENCE, "tips", more_tips).await.unwrap();
    let records = [rest(miner).await, rest(another).await];
    let books = site.settle().await;
    assert_all_booked(&site, &books, &records).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn node_that_answers_late_delays_nothing_but_templates() {
    outlives(Answers::Late(Duration::from_millis(1_500)), Duration::from_secs(8)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn node_that_says_nothing_for_a_while_is_waited_for() {
    outlives(Answers::Held, Duration::from_secs(8)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn node_whose_answers_are_lost_books_each_block_once() {
    outlives(Answers::Lost, Duration::from_secs(6)).await;
}

/// Moves the node's chain out of its folder, or back into it, while the node is down.
fn swap_chain(node: &mut Node, from: &str, to: &str) {
    node.stop().unwrap();
    fs::rename(node.datadir().join(from), node.datadir().join(to)).unwrap();
    node.restart().unwrap();
}

/// Asserts that since the entry `last` no block was voided that was there before, and no money was moved.
async fn assert_untouched(books: &Books, last: i64, blocks: &BTreeSet<String>) {
    const MOVES: [&str; 4] = ["unmatured", "payout_created", "reversed", "undeposited"];

    for entry in books.entries_after(last).await {
        let of = entry.key.split(':').next().unwrap_or_default();
        assert!(!MOVES.contains(&entry.kind.as_str()), "{} {}", entry.kind, entry.key);
        assert!(entry.kind != "orphaned" || !blocks.contains(of), "block {of} was voided");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn node_with_an_empty_folder_is_not_mined_on_and_voids_and_pays_nothing() {
    let mut site = Site::regtest();
    site.pool.set("ADIT__BITCOIND__TEMPLATE_REFRESH_SECONDS", REFRESH_S);
    find_blocks(&mut site, 2, 4).await;
    site.node.mine(DEEP).unwrap();
    site.pay_out().await;
    // Some that are immature, and some that are due at the next chance.
    let miner = site.miner_with(standard(&site.new_address(), HASHES_PER_SECOND)).await;
    miner.wait_for_accepted(4, PATIENCE).await.unwrap();
    let channels: Vec<u32> = miner.read(|record| record.identities.keys().copied().collect());
    miner.limit_hash_rate(channels[0], Some(0.0)).await.unwrap();
    miner.wait_for_answers(PATIENCE).await.unwrap();
    let books = site.settle().await;
    let (last, balances) = (books.last_entry().await, books.balances().await);
    let blocks: BTreeSet<String> = books.blocks().await.iter().map(|block| block.hash().to_string()).collect();

    swap_chain(&mut site.node, "regtest", "away");
    let wrong = site.node.mine(20).unwrap();
    log_says(&site, "is on another chain: at height").await;
    // What settles: an order of the operator's, which is refused or has nothing to do.
    let _ = site.pool.ask(&["payout", "run"]);
    miner.limit_hash_rate(channels[0], Some(HASHES_PER_SECOND)).await.unwrap();
    let (known, accepted) = miner.read(|record| (renewed_jobs(record).len(), record.accepted_count()));
    miner.wait_for_accepted(accepted + 3, PATIENCE).await.unwrap();
    wait_for_share_on_renewed_job(&miner, known).await;
    assert_eq!(books.balances().await, balances);
    assert_eq!(books.entries_after(last).await.len(), 0);

    site.node.stop().unwrap();
    fs::remove_dir_all(site.node.datadir().join("regtest")).unwrap();
    swap_chain(&mut site.node, "away", "regtest");
    let tip = *site.node.mine(1).unwrap().last().unwrap();
    wait_for_tip(&miner, tip).await;
    let told = miner.read(tips);
    assert!(wrong.iter().all(|hash| !told.contains(hash)), "a miner was sent to the wrong chain");
    rest(miner).await;
    let books = site.settle().await;
    assert_untouched(&books, last, &blocks).await;
    // What was found meanwhile was not lost to the node that did not know its parent.
    assert!(!site.pool.log().contains("the node calls it invalid"), "a found block was put aside");
    books.assert_sound().await;
    let verified = site.pool.ask(&["ledger", "verify"]).unwrap();
    assert!(verified.contains("All records are as they were written"), "{verified}");
    site.node.mine(100).unwrap();
    site.pay_out().await.assert_sound().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn node_of_another_network_is_not_mined_on_and_is_named() {
    let (mut site, proxy) = site_behind_proxy(Chain::Regtest).await;
    let other = NodeOptions::new().chain(Chain::Signet).credentials(USER, PASSWORD).start().unwrap();
    let wrong = other.mine(1).unwrap();
    site.node.mine(1).unwrap();
    site.pool.start().unwrap();
    let miner = site.miner_with(standard(&site.new_address(), HASHES_PER_SECOND)).await;
    miner.wait_for_accepted(3, PATIENCE).await.unwrap();

    // The right node is up all the time, so no call fails: the other one must be noticed by itself.
    proxy.lead_to(other.rpc_port());
    log_says(&site, "bitcoind follows signet, but the pool is configured for regtest").await;
    let (known, accepted) = miner.read(|record| (renewed_jobs(record).len(), record.accepted_count()));
    miner.wait_for_accepted(accepted + 3, PATIENCE).await.unwrap();
    wait_for_share_on_renewed_job(&miner, known).await;

    proxy.lead_to(site.node.rpc_port());
    let tip = *site.node.mine(1).unwrap().last().unwrap();
    wait_for_tip(&miner, tip).await;
    let told = miner.read(tips);
    assert!(wrong.iter().all(|hash| !told.contains(hash)), "a miner was sent to the wrong chain");
    eventually("templates", async || site.pool.log().contains("templates come again").then_some(())).await;
    let records = [rest(miner).await];
    let books = site.settle().await;
    assert_all_booked(&site, &books, &records).await;
}
