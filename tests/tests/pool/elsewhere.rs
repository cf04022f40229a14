//! What went wrong in other pools, tried on this one. Each test is named after the failure that it rules out.
//!
//! Those that need no chain and no process stand beside the code: splits in `payouts::scheme`, windows and orphans in
//! `payouts::books`, coinbases and templates in `pool`. Here is what only a whole pool can show.

use std::{
    collections::BTreeMap,
    io::{self, BufRead, BufReader, Read, Write},
    net::{TcpListener, TcpStream},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::Instant,
};

use bitcoin::{Address, BlockHash};
use bitcoind_regtest::Node;
use serde_json::json;
use tests::miner::Submission;

use crate::{
    books::Books,
    payouts::assert_paid,
    site::{PATIENCE, Site, eventually, hash_of, standard},
};

/// Enough to find a share at once.
const HASHES_PER_SECOND: f64 = 200.0;

/// Stands between pool and node. On request it swallows the node's answers to payments: the node has taken them, and the
/// pool hears nothing.
struct Proxy {
    port: u16,
    swallows: Arc<AtomicBool>,
    swallowed: Arc<AtomicBool>,
}

impl Proxy {
    fn start(node: &Node) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let (port, upstream) = (listener.local_addr().unwrap().port(), node.rpc_port());
        let (swallows, swallowed) = (Arc::<AtomicBool>::default(), Arc::<AtomicBool>::default());
        let proxy = Self { port, swallows: Arc::clone(&swallows), swallowed: Arc::clone(&swallowed) };
        thread::spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                let (swallows, swallowed) = (Arc::clone(&swallows), Arc::clone(&swallowed));
                thread::spawn(move || relay(client, upstream, &swallows, &swallowed));
            }
        });
        proxy
    }

    fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }
}

/// Passes one call on, and its answer back unless that is to be swallowed.
fn relay(mut client: TcpStream, upstream: u16, swallows: &AtomicBool, swallowed: &AtomicBool) -> io::Result<()> {
    let call = read_message(&client)?;
    let mut node = TcpStream::connect(("127.0.0.1", upstream))?;
    node.write_all(&call)?;
    let answer = read_message(&node)?;
    let is_payment = call.windows(18).any(|window| window == b"sendrawtransaction");
    if is_payment && swallows.load(Ordering::SeqCst) {
        swallowed.store(true, Ordering::SeqCst);
        return Ok(());
    }
    client.write_all(&answer)
}

/// Reads a message of HTTP with its body.
fn read_message(stream: &TcpStream) -> io::Result<Vec<u8>> {
    let mut reader = BufReader::new(stream);
    let (mut message, mut size) = (Vec::new(), 0);
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line)? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
            size = value.trim().parse().map_err(io::Error::other)?;
        }
        message.extend_from_slice(line.as_bytes());
        if line == "\r\n" {
            break;
        }
    }
    let mut body = vec![0; size];
    reader.read_exact(&mut body)?;
    message.extend_from_slice(&body);
    Ok(message)
}

/// Lets a miner find one block for an address, and waits until it is booked.
async fn find_block(site: &Site, address: &Address) -> BlockHash {
    let miner = site.miner_with(standard(address, HASHES_PER_SECOND).max_shares(1)).await;
    miner.wait_for_accepted(1, PATIENCE).await.unwrap();
    let hash = miner.read(|record| hash_of(&record.submitted[0]));
    assert_eq!(miner.close().await.faults, []);
    site.agree_with_chain().await;
    hash
}

async fn batches_are(books: &Books, states: &[&str]) {
    eventually(&format!("batches to be {states:?}"), async || (books.batch_states().await == states).then_some(()))
        .await;
}

async fn phase_is(books: &Books, hash: BlockHash, phase: &str) {
    eventually(phase, async || (books.phase(hash).await.as_deref() == Some(phase)).then_some(())).await;
}

fn assert_verified(site: &Site) {
    let verified = site.pool.ask(&["ledger", "verify"]).unwrap();
    assert!(verified.contains("All records are as they were written"), "{verified}");
}

/// A payment that was sent before it was on record, or whose answer was late, was made again.
#[tokio::test(flavor = "multi_thread")]
async fn a_timed_out_broadcast_is_not_paid_twice() {
    let mut site = Site::regtest();
    site.node.mine(1).unwrap();
    let proxy = Proxy::start(&site.node);
    site.pool.set("ADIT__BITCOIND__URL", proxy.url());
    site.pool.start().unwrap();
    let address = site.new_address();
    find_block(&site, &address).await;
    let books = site.books().await;

    proxy.swallows.store(true, Ordering::SeqCst);
    site.node.mine(99).unwrap();
    eventually("a payment", async || proxy.swallowed.load(Ordering::SeqCst).then_some(())).await;
    let sent = site.node.mempool().unwrap();
    assert_eq!(sent.len(), 1);
    // Nobody has told the pool, which takes the next chance, and again after a kill.
    batches_are(&books, &["signed"]).await;
    site.pool.kill().unwrap();
    proxy.swallowed.store(false, Ordering::SeqCst);
    site.pool.start().unwrap();
    eventually("the payment to be sent again", async || proxy.swallowed.load(Ordering::SeqCst).then_some(())).await;
    assert_eq!(site.node.mempool().unwrap(), sent, "the same bytes, and no others");
    // It is found in a block without ever having been known to be sent.
    site.node.mine(1).unwrap();
    batches_are(&books, &["confirmed"]).await;
    proxy.swallows.store(false, Ordering::SeqCst);
    site.node.mine(3).unwrap();
    site.pay_out().await;
    assert_eq!(site.unspent(&address).len(), 1);
    assert_paid(&site, &books, &[address]).await;
    assert_verified(&site);
}

/// History was kept by height, so that after a reorganisation the other block of that height could not be booked.
#[tokio::test(flavor = "multi_thread")]
async fn two_blocks_of_one_height_are_booked_apart_through_any_number_of_reorganisations() {
    let mut site = Site::regtest();
    site.node.mine(1).unwrap();
    site.pool.start().unwrap();
    let [ann, bob] = [(); 2].map(|()| site.new_address());
    let first = find_block(&site, &ann).await;
    let books = site.books().await;
    let of_the_first = books.balances().await;
    site.node.invalidate(first).unwrap();
    phase_is(&books, first, "orphaned").await;
    let second = find_block(&site, &bob).await;
    let blocks = books.blocks().await;
    assert_eq!(blocks.len(), 2);
    assert_eq!(blocks[0].height, blocks[1].height);
    let of_the_second = books.balances().await;

    for turn in 0..3 {
        // While the pool looks on, or is away.
        if turn == 1 {
            site.pool.kill().unwrap();
        }
        site.node.invalidate(second).unwrap();
        site.node.reconsider(first).unwrap();
        if turn == 1 {
            site.pool.start().unwrap();
        }
        phase_is(&books, first, "immature").await;
        phase_is(&books, second, "orphaned").await;
        assert_eq!(books.balances().await, of_the_first, "as if the other had never been");
        site.node.invalidate(first).unwrap();
        site.node.reconsider(second).unwrap();
        phase_is(&books, second, "immature").await;
        phase_is(&books, first, "orphaned").await;
        assert_eq!(books.balances().await, of_the_second, "as if the other had never been");
    }
    books.assert_sound().await;
    site.node.mine(100).unwrap();
    site.pay_out().await;
    assert_paid(&site, &books, &[ann, bob]).await;
    assert_verified(&site);
}

/// Blocks found while the node was away were lost, or only one of them was.
#[tokio::test(flavor = "multi_thread")]
async fn blocks_found_while_the_node_is_away_are_submitted_when_it_is_back() {
    for is_killed_meanwhile in [false, true] {
        let mut site = Site::regtest();
        site.node.mine(1).unwrap();
        site.pool.start().unwrap();
        site.node.stop().unwrap();
        // Two for one height: there is no news of a tip.
        let miner = site.miner_with(standard(&site.new_address(), HASHES_PER_SECOND).max_shares(2)).await;
        miner.wait_for_accepted(2, PATIENCE).await.unwrap();
        let found = miner.read(|record| record.submitted.iter().map(hash_of).collect::<Vec<_>>());
        assert!(site.pool.keeps_blocks());
        if is_killed_meanwhile {
            site.pool.kill().unwrap();
        }
        site.node.restart().unwrap();
        if is_killed_meanwhile {
            site.pool.start().unwrap();
        }
        let books = site.books().await;
        eventually("both blocks to be booked", async || (books.blocks().await.len() == 2).then_some(())).await;
        let books = site.agree_with_chain().await;
        let phases: BTreeMap<_, _> =
            books.blocks().await.into_iter().map(|block| (block.phase.clone(), block.hash())).collect();
        assert_eq!(phases.keys().collect::<Vec<_>>(), ["immature", "orphaned"]);
        assert!(phases.values().all(|hash| found.contains(hash)));
        assert_eq!(site.node.tip().unwrap(), phases["immature"]);
        books.assert_sound().await;
        assert_verified(&site);
    }
}

/// Shares were stored only when an unrelated option was set: the window was empty, and whoever came first got all.
#[tokio::test(flavor = "multi_thread")]
async fn shares_are_stored_whatever_else_is_set() {
    let others: [&[(&str, &str)]; 4] = [
        &[],
        &[("ADIT__PAYOUT__SCHEME", "solo")],
        &[("ADIT__PAYOUT__SCHEME", "tides"), ("ADIT__PAYOUT__FEE_BP", "0")],
        &[("ADIT__PAYOUT__THRESHOLD_SAT", "100000000"), ("ADIT__LOG", "error")],
    ];
    for settings in others {
        let mut site = Site::regtest();
        site.node.mine(1).unwrap();
        for (variable, value) in settings {
            site.pool.set(variable, value);
        }
        site.pool.start().unwrap();
        let addresses = [(); 2].map(|()| site.new_address());
        for address in &addresses {
            find_block(&site, address).await;
        }
        let books = site.books().await;
        for address in &addresses {
            assert_eq!(books.share_count(address).await, 1, "with {settings:?}");
        }
    }
}

/// One share handed in twice was credited twice.
#[tokio::test(flavor = "multi_thread")]
async fn a_duplicate_share_counts_once() {
    let mut site = Site::signet();
    site.pool.start().unwrap();
    let address = site.new_address();
    let miner = site.miner_with(standard(&address, 20_000.0).max_shares(1)).await;
    miner.wait_for_accepted(1, PATIENCE).await.unwrap();
    let share = miner.read(|record| record.submitted[0].clone());
    let hand_in_again = async |miner: &tests::miner::Miner, channel_id, rejected| {
        let sequence_number = miner.next_sequence_number(channel_id).await.unwrap();
        let again =
            Submission { channel_id, sequence_number, hash: None, target: None, at: Instant::now(), ..share.clone() };
        miner.submit(again).await.unwrap();
        miner.wait_for_rejected(rejected, PATIENCE).await.unwrap()
    };
    for rejected in 1..=3 {
        assert_eq!(hand_in_again(&miner, share.channel_id, rejected).await, "duplicate-share");
    }
    // Another channel of the same account hashes something else under the same numbers.
    let other = site.miner().await;
    let opened = other.open(standard(&address, 0.0)).await.unwrap();
    assert_ne!(hand_in_again(&other, opened.channel_id, 1).await, "");
    // And so does one that comes after a kill.
    site.pool.kill().unwrap();
    site.pool.start().unwrap();
    let later = site.miner().await;
    let opened = later.open(standard(&address, 0.0)).await.unwrap();
    assert_ne!(hand_in_again(&later, opened.channel_id, 1).await, "");
    assert_eq!(site.books().await.share_count(&address).await, 1);
}

/// A node without an estimate of fees made every payout fail.
#[tokio::test(flavor = "multi_thread")]
async fn no_fee_estimate_does_not_stop_payouts() {
    let mut site = Site::regtest();
    site.node.mine(1).unwrap();
    site.pool.set("ADIT__PAYOUT__FALLBACK_FEE_RATE_SAT_PER_VB", 7).start().unwrap();
    let address = site.new_address();
    find_block(&site, &address).await;
    let estimate = site.rpc("estimatesmartfee", &[json!(6)]);
    assert!(estimate["feerate"].is_null() && !estimate["errors"].is_null(), "{estimate}");
    site.node.mine(99).unwrap();
    let sent = eventually("a payment", async || site.node.mempool().unwrap().pop()).await;
    let entry = site.rpc("getmempoolentry", &[json!(sent)]);
    let fee = bitcoin::Amount::from_btc(entry["fees"]["base"].as_f64().unwrap()).unwrap().to_sat();
    let rate = fee as f64 / entry["vsize"].as_f64().unwrap();
    // A virtual byte is four weight units or fewer, of which the fee is reckoned.
    assert!((6.9..7.5).contains(&rate), "{rate} sat/vB");
    let books = site.pay_out().await;
    assert_paid(&site, &books, &[address]).await;
}

/// A transaction too large for the node failed the whole run of payouts.
#[tokio::test(flavor = "multi_thread")]
async fn a_batch_too_large_is_split() {
    let mut site = Site::regtest();
    site.node.mine(1).unwrap();
    site.pool.set("ADIT__PAYOUT__MAX_OUTPUTS", 2).start().unwrap();
    // Who finds the last block has no share before it, and who finds the one before may have none before its job was made.
    let addresses = [(); 7].map(|()| site.new_address());
    for address in &addresses {
        find_block(&site, address).await;
    }
    site.node.mine(105).unwrap();
    let books = site.pay_out().await;
    assert!(books.batch_states().await.len() >= 3);
    let mut sizes: BTreeMap<String, usize> = BTreeMap::new();
    for record in books.records().await {
        *sizes.entry(record.txid).or_default() += 1;
    }
    assert!(sizes.values().all(|&outputs| outputs <= 2), "{sizes:?}");
    assert_paid(&site, &books, &addresses).await;
    assert_verified(&site);
}

/// Shares were kept in memory for some seconds, or until there were some hundred.
#[tokio::test(flavor = "multi_thread")]
async fn a_single_acknowledged_share_outlives_a_kill_at_once() {
    let mut site = Site::signet();
    site.pool.start().unwrap();
    let address = site.new_address();
    let miner = site.miner_with(standard(&address, 20_000.0).max_shares(1)).await;
    miner.wait_for_accepted(1, PATIENCE).await.unwrap();
    site.pool.kill().unwrap();
    assert_eq!(site.books().await.share_count(&address).await, 1);
}
