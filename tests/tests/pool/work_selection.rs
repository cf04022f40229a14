//! Clients that bring jobs of their own, such as a job declarator client: what they are given, and what they are told
//! while no jobs are declared.

use std::time::{Duration, Instant};

use protocol::{
    codec::{B0_64K, B0_255, Seq0_255, U256},
    messages::mining::{
        REQUIRES_STANDARD_JOBS, REQUIRES_VERSION_ROLLING, REQUIRES_WORK_SELECTION, ServerMessage, SetCustomMiningJob,
    },
};
use tests::miner::{Miner, MinerConfig, Submission};

use crate::site::{PATIENCE, Site, extended, idle, standard};

pub(crate) fn custom_job(channel_id: u32) -> SetCustomMiningJob {
    SetCustomMiningJob {
        channel_id,
        request_id: 9,
        mining_job_token: B0_255::default(),
        version: 0x2000_0000,
        prev_hash: U256::ZERO,
        min_ntime: 1,
        nbits: 0x207f_ffff,
        coinbase_tx_version: 2,
        coinbase_prefix: B0_255::default(),
        coinbase_tx_input_nsequence: 0,
        coinbase_tx_outputs: B0_64K::default(),
        coinbase_tx_locktime: 0,
        merkle_path: Seq0_255::default(),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn client_that_selects_its_work_gets_a_target_and_no_job() {
    let mut site = Site::signet();
    let pool = site.pool.start().unwrap();
    let flags = REQUIRES_WORK_SELECTION | REQUIRES_VERSION_ROLLING;
    let miner = Miner::connect(MinerConfig::new(pool.clone()).flags(flags)).await.unwrap();
    let refused = miner.open(standard(&site.new_address(), 1e6)).await.unwrap_err().to_string();
    assert!(refused.contains("standard-channels-not-supported-for-custom-work"), "{refused}");
    let opened = miner.open(idle(extended(&site.new_address(), 1e6))).await.unwrap();

    miner.send(custom_job(opened.channel_id)).await.unwrap();
    let answer = |record: &tests::miner::Record| {
        record.received.iter().find_map(|message| match message {
            ServerMessage::SetCustomMiningJobError(error) => Some((error.request_id, error.error_code.to_string())),
            _ => None,
        })
    };
    let answer = miner.wait_for(PATIENCE, "an answer", answer).await.unwrap();
    assert_eq!(answer, (9, "jd-not-supported".to_owned()));
    let share = Submission {
        channel_id: opened.channel_id,
        sequence_number: 1,
        job_id: 1,
        nonce: 0,
        ntime: 0,
        version: 0x2000_0000,
        extranonce: Some(vec![0; usize::from(opened.extranonce_size.unwrap())]),
        hash: None,
        target: None,
        is_block: false,
        at: Instant::now(),
    };
    miner.submit(share).await.unwrap();
    assert_eq!(miner.wait_for_rejected(1, PATIENCE).await.unwrap(), "invalid-job-id");

    // Another tip is another job for others; here a witness tells when it has come.
    let witness = site.miner_with(idle(standard(&site.new_address(), 1e6))).await;
    let tips = |record: &tests::miner::Record| {
        record.received.iter().filter(|message| matches!(message, ServerMessage::SetNewPrevHash(_))).count()
    };
    site.node.mine(1).unwrap();
    witness.wait_for(PATIENCE, "the new tip", |record| (tips(record) == 2).then_some(())).await.unwrap();
    miner.update_channel(opened.channel_id, 8e6, U256::MAX).await.unwrap();
    let target = |record: &tests::miner::Record| {
        record.received.iter().any(|message| matches!(message, ServerMessage::SetTarget(_))).then_some(())
    };
    miner.wait_for(PATIENCE, "a target", target).await.unwrap();
    tokio::time::sleep(Duration::from_millis(500)).await;
    let record = miner.close().await;
    let is_job = |message: &ServerMessage| {
        use ServerMessage::{NewExtendedMiningJob, NewMiningJob, SetNewPrevHash};
        matches!(message, NewMiningJob(_) | NewExtendedMiningJob(_) | SetNewPrevHash(_))
    };
    assert!(!record.received.iter().any(is_job), "{:?}", record.received);
    assert_eq!(record.faults, []);

    // It is set up, but there is no channel that fulfils both.
    let contradictory = MinerConfig::new(pool).flags(flags | REQUIRES_STANDARD_JOBS);
    let miner = Miner::connect(contradictory).await.unwrap();
    for (channel, code) in [
        (standard(&site.new_address(), 1e6), "standard-channels-not-supported-for-custom-work"),
        (extended(&site.new_address(), 1e6), "extended-channels-not-supported-for-standard-jobs"),
    ] {
        let refused = miner.open(channel).await.unwrap_err().to_string();
        assert!(refused.contains(code), "{refused}");
    }
}
