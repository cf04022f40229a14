//! Extensions of the protocol: how they are agreed on (0x0001), and workers behind one extended channel (0x0002).

use protocol::messages::extensions::WORKER_SPECIFIC_HASHRATE_TRACKING;
use tests::miner::{End, Miner, MinerConfig, MinerError, Record};

use crate::{
    handmade::Handmade,
    site::{PATIENCE, Site, eventually, extended, standard},
    tally::Tally,
};

/// What every hash meets, so that shares can be made at will.
const EASIEST: i64 = -32;

/// A pool for shares made by hand, which are no blocks.
fn site() -> Site {
    let mut site = Site::signet();
    site.pool.set("ADIT__STRATUM__INITIAL_DIFFICULTY", format!("2^{EASIEST}"));
    site
}

/// A miner that asks for these extensions.
async fn miner(site: &Site, extensions: &[u16]) -> Result<Miner, MinerError> {
    let config = MinerConfig { extensions: extensions.to_vec(), ..MinerConfig::new(site.pool.address().unwrap()) };
    Miner::connect(config).await
}

/// The field of extension 0x0002.
fn worker(name: &[u8]) -> Vec<u8> {
    [&[0x00, 0x02, 0x01, 0x00, name.len() as u8], name].concat()
}

/// Waits until so many shares are acknowledged, recorded or not.
async fn wait_for_accepted(miner: &Miner, count: u32) {
    let accepted = |record: &Record| -> u32 { record.successes.iter().map(|s| s.new_submits_accepted_count).sum() };
    let enough = |record: &Record| (accepted(record) >= count).then_some(());
    miner.wait_for(PATIENCE, "acknowledgements", enough).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn work_behind_one_extended_channel_is_credited_by_worker() {
    let mut site = site();
    site.pool.start().unwrap();
    let address = site.new_address();
    let channel = tests::miner::ChannelConfig { user_identity: format!("{address}.farm"), ..extended(&address, 0.0) };
    let miner = miner(&site, &[WORKER_SPECIFIC_HASHRATE_TRACKING]).await.unwrap();
    let mut proxy = Handmade::open(miner, channel).await;
    let rig_2 = worker(b"rig-2");
    let mut expected = Tally::default();
    for (fields, named, count) in [
        (worker(b"rig-1"), "rig-1", 3),
        (rig_2.clone(), "rig-2", 2),
        // Behind a field that nobody knows, and before another.
        (
            [&[0x40, 0x00, 0x01, 0x00, 0x02, 0xaa, 0xbb], &rig_2[..], &[0x40, 0x00, 0x02, 0x00, 0x00]].concat(),
            "rig-2",
            1,
        ),
        // The reference's proxies write little-endian.
        (b"\x02\x00\x01\x05\x00rig-3".to_vec(), "rig-3", 1),
        // As long as a name may be.
        (worker(&[b'w'; 32]), "wwwwwwwwwwwwwwwwwwwwwwwwwwwwwwww", 1),
        // Whoever is not named, or by nothing but an unknown field, is the channel's own worker.
        (vec![], "farm", 2),
        (worker(b""), "farm", 1),
        (vec![0x40, 0x00, 0x01, 0x00, 0x01, 0xaa], "farm", 1),
    ] {
        for _ in 0..count {
            let found = proxy.find(false);
            proxy.submit_with(found, &fields).await;
        }
        expected.add_some(&format!("{address}.{named}"), EASIEST, count);
    }
    wait_for_accepted(proxy.miner(), expected.total() as u32).await;
    assert_eq!(proxy.miner().read(|record| record.rejections.clone()), []);
    assert_eq!(site.books().await.tally().await, expected);

    // And so it is shown.
    let asked = ["account", "workers", &address.to_string(), "--since", "1h"];
    let told = site.pool.ask(&[&asked[..], &["--json"]].concat()).unwrap();
    let told: serde_json::Value = serde_json::from_str(&told).unwrap();
    let workers = told["workers"].as_array().unwrap().iter();
    let shown: Vec<_> =
        workers.map(|told| (told["worker"].as_str().unwrap(), told["shares"].as_u64().unwrap())).collect();
    assert_eq!(shown, [("farm", 4), ("rig-1", 3), ("rig-2", 3), ("rig-3", 1), (&"w".repeat(32), 1)]);
    assert!(told["workers"].as_array().unwrap().iter().all(|told| told["hash_rate"].as_f64().unwrap() > 0.0));
    let told = site.pool.ask(&asked).unwrap();
    assert!(told.lines().any(|line| line.split_whitespace().next() == Some("rig-2")), "{told}");
}

#[tokio::test(flavor = "multi_thread")]
async fn worker_that_cannot_be_read_costs_its_share_and_not_the_connection() {
    let mut site = site();
    site.pool.start().unwrap();
    let miner = miner(&site, &[WORKER_SPECIFIC_HASHRATE_TRACKING]).await.unwrap();
    let mut proxy = Handmade::open(miner, extended(&site.new_address(), 0.0)).await;
    let unreadable = [worker(&[b'w'; 33]), worker(b"rig-1")[..9].to_vec(), worker(b"\xff"), vec![0x00]];
    for (index, fields) in unreadable.iter().enumerate() {
        let found = proxy.find(false);
        let sequence_number = proxy.submit_with(found, fields).await;
        let code = proxy.miner().wait_for_rejected(index + 1, PATIENCE).await.unwrap();
        let rejected = proxy.miner().read(|record| record.rejections[index].sequence_number);
        assert_eq!((code.as_str(), rejected), ("invalid-user-identity", sequence_number), "{fields:02x?}");
    }
    let found = proxy.find(false);
    proxy.submit_with(found, &worker(b"rig-1")).await;
    wait_for_accepted(proxy.miner(), 1).await;
    assert_eq!(site.books().await.tally().await.total(), 1);
    let record = proxy.close().await;
    assert_eq!(record.end, Some(End::ByMiner));
}

#[tokio::test(flavor = "multi_thread")]
async fn fields_are_ignored_unless_their_extension_was_negotiated() {
    let mut site = site();
    site.pool.start().unwrap();
    let address = site.new_address();
    let mut proxy = Handmade::open(miner(&site, &[]).await.unwrap(), extended(&address, 0.0)).await;
    for fields in [worker(b"rig-1"), worker(&[b'w'; 33]), vec![0x00, 0x02, 0x01], vec![0xff; 40]] {
        let found = proxy.find(false);
        proxy.submit_with(found, &fields).await;
    }
    wait_for_accepted(proxy.miner(), 4).await;
    let mut expected = Tally::default();
    expected.add_some(&address.to_string(), EASIEST, 4);
    assert_eq!(site.books().await.tally().await, expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn client_without_a_required_extension_is_told_and_then_left() {
    let mut site = site();
    site.pool.set("ADIT__STRATUM__REQUIRED_EXTENSIONS", WORKER_SPECIFIC_HASHRATE_TRACKING);
    site.pool.start().unwrap();
    let refused = miner(&site, &[3]).await.unwrap_err();
    assert!(
        matches!(&refused, MinerError::ExtensionsRefused { unsupported, required }
            if unsupported == &[3] && required == &[WORKER_SPECIFIC_HASHRATE_TRACKING]),
        "{refused}"
    );
    // One that does not ask at all.
    let silent = miner(&site, &[]).await.unwrap();
    silent.open(standard(&site.new_address(), 1e6)).await.unwrap_err();
    assert_eq!(silent.wait_for_end(PATIENCE).await.unwrap(), End::ByPool);
    let reason = "the client did not negotiate the required extensions";
    eventually(reason, async || site.pool.log().contains(reason).then_some(())).await;
    // Those that it does not know besides do not matter.
    let asking = miner(&site, &[WORKER_SPECIFIC_HASHRATE_TRACKING, 3]).await.unwrap();
    let mut proxy = Handmade::open(asking, extended(&site.new_address(), 0.0)).await;
    let found = proxy.find(false);
    proxy.submit(found).await;
    proxy.miner().wait_for_accepted(1, PATIENCE).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn extension_that_the_operator_does_not_support_is_refused() {
    let mut site = site();
    site.pool.set("ADIT__STRATUM__SUPPORTED_EXTENSIONS", "[]");
    site.pool.start().unwrap();
    let refused = miner(&site, &[WORKER_SPECIFIC_HASHRATE_TRACKING]).await.unwrap_err();
    assert!(
        matches!(&refused, MinerError::ExtensionsRefused { unsupported, required }
            if unsupported == &[WORKER_SPECIFIC_HASHRATE_TRACKING] && required.is_empty()),
        "{refused}"
    );
    miner(&site, &[]).await.unwrap().open(standard(&site.new_address(), 1e6)).await.unwrap();
}
