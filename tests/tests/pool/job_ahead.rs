//! The job for the next height, which miners hold before there is a tip for it.

use std::{collections::BTreeSet, time::Duration};

use bitcoin::{FeeRate, hashes::Hash};
use bitcoind_regtest::Coins;
use protocol::messages::mining::{
    NewExtendedMiningJob, NewMiningJob, REQUIRES_STANDARD_JOBS, ServerMessage, SetNewPrevHash,
};
use tests::{
    miner::{ChannelConfig, Miner, MinerConfig, Record},
    node_proxy::{Answers, NodeProxy},
};

use crate::{
    handmade::Handmade,
    site::{PATIENCE, Site, eventually, extended, idle, standard},
};

/// How long the node takes for an answer.
const ANSWER_TIME: Duration = Duration::from_millis(250);
/// How long the full job may take behind the empty one.
const FULL_JOB_PATIENCE: Duration = Duration::from_secs(10);

/// The future jobs among these messages: for which channel or group, and their ids.
fn future_jobs(messages: &[ServerMessage]) -> BTreeSet<(u32, u32)> {
    let ids = messages.iter().filter_map(|message| match message {
        ServerMessage::NewMiningJob(job) if job.min_ntime.is_none() => Some((job.channel_id, job.job_id)),
        ServerMessage::NewExtendedMiningJob(job) if job.min_ntime.is_none() => Some((job.channel_id, job.job_id)),
        _ => None,
    });
    ids.collect()
}

/// The places and contents of the tips among them.
fn tips(messages: &[ServerMessage]) -> Vec<(usize, SetNewPrevHash)> {
    let tips = messages.iter().enumerate().filter_map(|(place, message)| match message {
        ServerMessage::SetNewPrevHash(tip) => Some((place, *tip)),
        _ => None,
    });
    tips.collect()
}

/// Waits until the miner was told of a tip, and returns what it had been told before and by that.
async fn told_until(miner: &Miner, tip: [u8; 32]) -> (Vec<ServerMessage>, SetNewPrevHash) {
    let look = |record: &Record| {
        let (place, told) = tips(&record.received).into_iter().find(|(_, told)| told.prev_hash.0 == tip)?;
        Some((record.received[..place].to_vec(), told))
    };
    miner.wait_for(PATIENCE, "the tip", look).await.unwrap()
}

/// Waits until the miner holds a job for a channel or group that no tip has named yet. A group gets one only when it has
/// a second channel, which was opened a moment before it.
async fn holds_job_ahead(miner: &Miner, channel_id: u32) -> BTreeSet<(u32, u32)> {
    let look = |record: &Record| {
        // The first job is held, too, until its tip comes behind it.
        let newest_tip = tips(&record.received).last().map(|(place, _)| *place)?;
        let held = future_jobs(&record.received[newest_tip..]);
        held.iter().any(|(holder, _)| *holder == channel_id).then_some(held)
    };
    miner.wait_for(PATIENCE, "a job for the next height", look).await.unwrap()
}

/// Whether the job that a tip names was held before the tip: when it was looked at, or since a job to start at once
/// brought it along. A refresh may come at any time, and makes the job for the next height anew.
fn was_held(held: &BTreeSet<(u32, u32)>, before: &[ServerMessage], told: &SetNewPrevHash) -> bool {
    let named = (told.channel_id, told.job_id);
    let came_behind_another = before.windows(2).any(|pair| match &pair[0] {
        ServerMessage::NewMiningJob(NewMiningJob { min_ntime: Some(_), .. })
        | ServerMessage::NewExtendedMiningJob(NewExtendedMiningJob { min_ntime: Some(_), .. }) => {
            future_jobs(&pair[1..]).contains(&named)
        }
        _ => false,
    });
    held.contains(&named) || came_behind_another
}

/// Whether the last of these messages is the future job that a tip names.
fn came_with_its_job(before: &[ServerMessage], told: &SetNewPrevHash) -> bool {
    let named = (told.channel_id, told.job_id);
    before.last().is_some_and(|message| future_jobs(std::slice::from_ref(message)).contains(&named))
}

/// Waits until the miner got another job on the tip, one with transactions as far as that can be seen.
async fn full_job_follows(miner: &Miner, before: &[ServerMessage]) {
    let full = |record: &Record| {
        record.received[before.len()..].iter().find_map(|message| match message {
            ServerMessage::NewExtendedMiningJob(job) if job.min_ntime.is_some() => {
                (!job.merkle_path.as_slice().is_empty()).then_some(())
            }
            ServerMessage::NewMiningJob(job) => job.min_ntime.map(|_| ()),
            _ => None,
        })
    };
    // Long before a refresh would bring one.
    miner.wait_for(FULL_JOB_PATIENCE, "the full job", full).await.unwrap();
}

/// A running pool on a node that has transactions for the next blocks, and takes its time for each answer: the full job
/// comes so much later than the empty one that no connection, however late it has its turn, skips that.
async fn site_with_transactions() -> (Site, NodeProxy) {
    let mut site = Site::regtest();
    let mut coins = Coins::new(site.node.chain());
    coins.fund(&site.node, 1).unwrap();
    coins.fill_mempool(&site.node, 25, &[FeeRate::from_sat_per_vb_u32(5)]).unwrap();
    let proxy = NodeProxy::start(site.node.rpc_port()).await.unwrap();
    site.pool.set("ADIT__BITCOIND__URL", proxy.url());
    site.pool.start().unwrap();
    proxy.set_answers(Answers::Late(ANSWER_TIME));
    (site, proxy)
}

#[tokio::test(flavor = "multi_thread")]
async fn tip_made_elsewhere_names_a_job_that_was_held_and_the_full_job_follows() {
    let (site, _proxy) = site_with_transactions().await;
    let payee = site.new_address();
    let alone = site.miner_with(idle(extended(&payee, 1e6))).await;
    let grouped = site.miner().await;
    for config in [standard(&payee, 1e6), extended(&payee, 1e6)] {
        grouped.open(idle(config)).await.unwrap();
    }
    for _ in 0..3 {
        let mut held = Vec::new();
        for (miner, channel_id) in [(&alone, 2), (&grouped, 1)] {
            held.push(holds_job_ahead(miner, channel_id).await);
        }
        let tip = site.node.mine_empty(1).unwrap()[0].to_byte_array();
        for ((miner, channel_id), held) in [(&alone, 2), (&grouped, 1)].into_iter().zip(held) {
            let (before, told) = told_until(miner, tip).await;
            assert_eq!(told.channel_id, channel_id);
            assert!(was_held(&held, &before, &told), "{told:?} of {held:?} after {before:?}");
            full_job_follows(miner, &before).await;
        }
    }
    for miner in [alone, grouped] {
        assert_eq!(miner.close().await.faults, []);
    }
}

/// Such a client holds nothing in advance, and waits for no template all the same.
#[tokio::test(flavor = "multi_thread")]
async fn client_that_requires_standard_jobs_gets_a_job_with_its_tip_and_then_the_full_one() {
    let (site, _proxy) = site_with_transactions().await;
    let payee = site.new_address();
    let config = MinerConfig::new(site.pool.address().unwrap()).flags(REQUIRES_STANDARD_JOBS);
    let miner = Miner::connect(config).await.unwrap();
    for _ in 0..2 {
        miner.open(idle(standard(&payee, 1e6))).await.unwrap();
    }
    for _ in 0..3 {
        // Others would have got a job for the next height by now.
        tokio::time::sleep(Duration::from_secs(2)).await;
        let tip = site.node.mine_empty(1).unwrap()[0].to_byte_array();
        let (before, told) = told_until(&miner, tip).await;
        assert!(came_with_its_job(&before, &told), "{told:?} after {before:?}");
        full_job_follows(&miner, &before).await;
    }
    let record = miner.close().await;
    assert_eq!(future_jobs(&record.received).len(), tips(&record.received).len());
    assert_eq!(record.faults, []);
}

/// Lets a channel find a block on the job that it held before the tip, when others have the full one already.
async fn block_of_a_job_sent_ahead_is_booked(channel: impl Fn(&Site) -> ChannelConfig) {
    let (site, proxy) = site_with_transactions().await;
    let mut hand = Handmade::open(site.miner().await, channel(&site)).await;
    let held = holds_job_ahead(hand.miner(), 2).await;
    let tip = site.node.mine_empty(1).unwrap()[0];
    let (before, told) = told_until(hand.miner(), tip.to_byte_array()).await;
    assert!(was_held(&held, &before, &told), "{told:?} of {held:?} after {before:?}");
    proxy.set_answers(Answers::Pass);
    hand.turn_to(told.job_id).await;
    let found = hand.find(true);
    hand.submit(found).await;
    hand.miner().wait_for_accepted(1, PATIENCE).await.unwrap();
    eventually("the block to be the tip", async || (site.node.tip().unwrap() == found.hash()).then_some(())).await;
    // The same header is no second share.
    hand.submit(found).await;
    let code = hand.miner().wait_for_rejected(1, PATIENCE).await.unwrap();
    assert!(["duplicate-share", "stale-share"].contains(&code.as_str()), "{code}");

    let block = site.node.block(found.hash()).unwrap();
    let height = site.node.height().unwrap();
    assert_eq!((block.txdata.len(), block.header.prev_blockhash), (1, tip));
    assert_eq!(block.bip34_block_height().unwrap(), u64::from(height));
    let paid = &block.txdata[0].output[0];
    assert_eq!((paid.value.to_sat(), &paid.script_pubkey), (5_000_000_000, &site.pool_script()));
    assert!(!site.node.mempool().unwrap().is_empty());
    assert_eq!(hand.close().await.faults, []);
    let books = site.settle().await;
    let booked = books.blocks().await;
    assert_eq!(
        (booked[0].hash(), booked[0].value_sat, booked[0].subsidy_sat),
        (found.hash(), 5_000_000_000, 5_000_000_000)
    );
    books.assert_sound().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn block_found_by_a_standard_channel_on_a_job_sent_ahead_is_accepted_and_booked() {
    block_of_a_job_sent_ahead_is_booked(|site| ChannelConfig::standard(site.new_address().to_string())).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn block_found_by_an_extended_channel_on_a_job_sent_ahead_is_accepted_and_booked() {
    block_of_a_job_sent_ahead_is_booked(|site| ChannelConfig::extended(site.new_address().to_string(), 4)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn tip_of_another_branch_comes_with_a_job_of_its_own() {
    let mut site = Site::regtest();
    site.node.mine(5).unwrap();
    site.pool.start().unwrap();
    let miner = site.miner_with(idle(extended(&site.new_address(), 1e6))).await;
    let held = holds_job_ahead(&miner, 2).await;
    // A block gives way to the one before it: what is held is for another height.
    site.node.invalidate(site.node.tip().unwrap()).unwrap();
    let tip = site.node.tip().unwrap().to_byte_array();
    let (before, told) = told_until(&miner, tip).await;
    assert!(!held.contains(&(told.channel_id, told.job_id)) && came_with_its_job(&before, &told), "{before:?}");
    assert_eq!(miner.close().await.faults, []);
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_sent_ahead_if_the_operator_does_not_want_it() {
    let mut site = Site::regtest();
    site.node.mine(1).unwrap();
    site.pool.set("ADIT__STRATUM__JOB_AHEAD", false);
    site.pool.start().unwrap();
    let miner = site.miner_with(idle(extended(&site.new_address(), 1e6))).await;
    for _ in 0..2 {
        // Longer than it would take to be sent.
        tokio::time::sleep(Duration::from_secs(2)).await;
        let tip = site.node.mine(1).unwrap()[0].to_byte_array();
        let (before, told) = told_until(&miner, tip).await;
        assert!(came_with_its_job(&before, &told), "{before:?}");
    }
    let record = miner.close().await;
    assert_eq!(future_jobs(&record.received).len(), tips(&record.received).len());
    assert_eq!(record.faults, []);
}
