//! Payouts that wait for somebody's consent, and get it on the page.

use crate::{site::eventually, stage::Stage};

#[tokio::test(flavor = "multi_thread")]
async fn payout_is_approved_on_its_page_and_seen_to_be_sent_and_confirmed() {
    let stage = Stage::new(&[("ADIT__PAYOUT__APPROVAL", "always")]).await;
    let address = stage.find_blocks("rig1", 2).await;
    let stage = stage.logged_in().await;
    stage.open("/payouts").await;
    stage.sees("#waiting", "No payout is under way").await;
    stage.site.node.mine(100).unwrap();
    stage.sees("#waiting", "Approve").await;
    assert!(stage.site.node.mempool().unwrap().is_empty(), "nothing is sent that is not approved");

    stage.press("#waiting form button").await;
    assert_eq!(stage.text("main .notice.done").await, "The payout is approved.");
    eventually("the payment to be sent", async || (!stage.site.node.mempool().unwrap().is_empty()).then_some(())).await;
    stage.open("/payouts/1").await;
    stage.sees("#stage", "broadcast").await;
    stage.site.node.mine(1).unwrap();
    stage.sees("#stage", "confirmed").await;
    assert!(!stage.site.unspent(&address).is_empty(), "the miner has his coins");
}
