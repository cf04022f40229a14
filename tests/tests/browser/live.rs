//! Pages that keep up by themselves.

use tests::miner::Record;

use crate::{
    site::{PATIENCE, eventually_or, standard},
    stage::Stage,
};

#[tokio::test(flavor = "multi_thread")]
async fn shares_and_blocks_come_up_on_a_page_that_is_not_loaded_anew() {
    let stage = Stage::new(&[]).await.logged_in().await;
    stage.sees("#blocks", "No block yet").await;
    let accepted = async || stage.text("#accepted").await.replace(['\u{a0}', ','], "").parse::<u64>().unwrap();
    assert_eq!(accepted().await, 0);
    stage.ask::<()>("window.isStill = true").await;

    let address = stage.site.new_address();
    let miner = stage.site.miner_with(standard(&address, 40.0).max_shares(4)).await;
    miner.wait_for_judged(4, PATIENCE).await.unwrap();
    let count = miner.read(Record::accepted_count) as u64;
    eventually_or("all shares", async || match accepted().await {
        shown if shown == count => Ok(()),
        other => Err(other),
    })
    .await;
    stage.sees("#connections", "1").await;
    stage.sees("#blocks", "immature").await;
    // The chart of a day too, which else is read anew every five minutes.
    stage.sees("[data-told]", &format!("{count} shares accepted")).await;
    assert!(stage.ask::<bool>("return window.isStill === true").await, "the page was loaded anew");
    miner.close().await;
    stage.sees("#connections", "0").await;
}
