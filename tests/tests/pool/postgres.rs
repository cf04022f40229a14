//! The same on PostgreSQL: what the pool promises does not depend on where its books are. And what only a server does:
//! it goes away while the pool runs.

use std::{collections::BTreeSet, time::Duration};

use postgres_test::{Cluster, TestDatabase};

use crate::{
    books::Block,
    crash, payouts, reorganisation, reports,
    site::{Database, PATIENCE, Site, eventually, extended, hash_of, standard},
    start,
    tally::Tally,
};

/// Runs the body of a test on a database of its own.
async fn on_postgres(body: impl AsyncFnOnce(Database)) {
    let database = TestDatabase::create().unwrap();
    body(Database::Postgres(database.url().to_owned())).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn sigkill_under_load_loses_no_acknowledged_share_and_credits_none_twice() {
    on_postgres(crash::no_acknowledged_share_is_lost).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn sigkill_under_load_loses_no_block_that_the_node_has_taken() {
    on_postgres(crash::no_block_is_lost).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn sigkill_at_any_moment_of_a_payout_pays_each_account_once() {
    on_postgres(payouts::interrupted_payouts_pay_once).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn mature_credit_is_paid_once_and_recorded_with_the_coinbases_it_came_from() {
    on_postgres(payouts::mature_credit_is_paid_once).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_reports_say_of_a_month_is_what_the_chain_has() {
    on_postgres(reports::reports_agree_with_chain).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn orphaned_block_is_voided_exactly_and_restored_when_it_returns() {
    on_postgres(reorganisation::orphaned_block_is_voided_and_restored).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn second_pool_on_the_same_database_is_refused_and_the_first_goes_on() {
    let database = TestDatabase::create().unwrap();
    let [mut first, second] = [(); 2].map(|()| Site::signet_on(Database::Postgres(database.url().to_owned())));
    first.pool.start().unwrap();
    let miner = first.miner_with(standard(&first.new_address(), 20_000.0)).await;
    miner.wait_for_accepted(2, PATIENCE).await.unwrap();
    // In a folder of its own, as on another machine: only the database is shared.
    let said = start::refusal(&second, start::FAILED).await;
    assert!(said.contains("another pool works on this database"), "{said}");
    let accepted = miner.read(|record| record.accepted_count());
    miner.wait_for_accepted(accepted + 3, PATIENCE).await.unwrap();
    assert_eq!(miner.close().await.faults, []);
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_acknowledged_while_the_server_is_down_and_mining_goes_on_when_it_is_back() {
    const DOWN_FOR: Duration = Duration::from_secs(3);
    /// How long an acknowledgement of what was stored before may be on its way.
    const ON_ITS_WAY: Duration = Duration::from_millis(500);

    let mut server = Cluster::start().unwrap();
    let mut site = Site::regtest_on(Database::Postgres(server.url()));
    site.node.mine(1).unwrap();
    site.pool.start().unwrap();
    let miners = [
        site.miner_with(standard(&site.new_address(), 40.0)).await,
        site.miner_with(extended(&site.new_address(), 40.0)).await,
    ];
    for miner in &miners {
        miner.wait_for_accepted(5, PATIENCE).await.unwrap();
    }

    server.stop().unwrap();
    let log_says = async |words| {
        eventually(words, async || site.pool.log().contains(words).then_some(())).await;
    };
    log_says("share log cannot write; no share is acknowledged until it can").await;
    tokio::time::sleep(ON_ITS_WAY).await;
    let height = site.node.height().unwrap();
    let before = miners.each_ref().map(|miner| miner.record());
    tokio::time::sleep(DOWN_FOR).await;
    let after = miners.each_ref().map(|miner| miner.record());
    for (before, after) in before.iter().zip(&after) {
        assert_eq!(after.acknowledged(), before.acknowledged(), "acknowledged while nothing could be written");
        assert!(after.submitted.len() > before.submitted.len() + 5, "the miner goes on");
        assert_eq!(after.end, None);
    }
    // Blocks do not wait for the books.
    assert!(site.node.height().unwrap() > height + 5, "blocks wait for the books");

    server.restart().unwrap();
    log_says("share log writes again").await;
    for (miner, before) in miners.iter().zip(&after) {
        let answered =
            |record: &tests::miner::Record| record.unanswered().is_disjoint(&before.unanswered()).then_some(());
        miner.wait_for(PATIENCE, "the shares that had to wait", answered).await.unwrap();
        let accepted = miner.read(|record| record.accepted_count());
        miner.wait_for_accepted(accepted + 5, PATIENCE).await.unwrap();
    }
    let (mut acknowledged, mut found) = (Tally::default(), BTreeSet::new());
    for miner in miners {
        let record = miner.close().await;
        assert_eq!(record.faults, []);
        let answered = record.acknowledged();
        acknowledged.add(&Tally::acknowledged(&record));
        for share in record.submitted.iter().filter(|s| answered.contains(&(s.channel_id, s.sequence_number))) {
            found.extend(share.is_block.then(|| hash_of(share)));
        }
    }
    // The same pool all along: it was not started anew.
    let books = site.settle().await;
    books.tally().await.assert_covers(&acknowledged, "an acknowledged share is lost");
    let booked: BTreeSet<_> = books.blocks().await.iter().map(Block::hash).collect();
    assert!(found.is_subset(&booked), "a found block is not booked");
    books.assert_sound().await;
    let verified = site.pool.ask(&["ledger", "verify"]).unwrap();
    assert!(verified.contains("All records are as they were written"), "{verified}");
}
