//! What miners see without an account.

use crate::{
    site::{eventually, standard},
    stage::Stage,
};

#[tokio::test(flavor = "multi_thread")]
async fn miner_finds_his_page_by_his_address_and_sees_his_device_at_work() {
    let stage = Stage::new(&[]).await;
    let address = stage.site.new_address();
    stage.open("/").await;
    stage.fill("#address", &address.to_string()).await;
    stage.press("form[action='/m'] button").await;
    assert_eq!(stage.path().await, format!("/m/{address}"));
    assert!(stage.text("main").await.contains("No share has come from this address yet"));
    // All that a device wants is there, and can be copied.
    let pool = stage.site.pool.address().unwrap();
    assert!(stage.text("#connect-url").await.ends_with(&format!(
        ":{}/{}",
        pool.port,
        stage.text("#connect-key").await
    )));
    assert!(stage.text("#connect-user").await.starts_with(&address.to_string()));

    // The page that knows nobody becomes his by itself, and what is on it then goes on without a new one.
    let mut channel = standard(&address, 20.0);
    channel.user_identity = format!("{address}.shed");
    let miner = stage.site.miner_with(channel).await;
    let knows = "return document.querySelector('#workers')?.innerText.includes('shed') ?? false";
    eventually("the page to know him", async || stage.ask::<bool>(knows).await.then_some(())).await;
    stage.sees("#workers", "online").await;
    stage.sees("#rates", "H/s").await;
    stage.sees("#channels", "Open channels").await;
    miner.close().await;
    eventually("the channel to leave the page", async || (stage.text("#channels").await.is_empty()).then_some(()))
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_miner_was_paid_is_followed_from_the_payment_to_his_shares() {
    let stage = Stage::new(&[]).await;
    let address = stage.find_blocks("rig1", 1).await;
    stage.site.node.mine(100).unwrap();
    eventually("the payment to be sent", async || (!stage.site.node.mempool().unwrap().is_empty()).then_some(())).await;
    stage.site.node.mine(1).unwrap();
    stage.site.settle().await;
    stage.open(&format!("/m/{address}/payouts")).await;
    stage.press("main tbody tr:first-child a").await;
    let sat: i64 = stage.site.unspent(&address).values().sum();
    let shown: String = stage.text("main").await.chars().filter(char::is_ascii_digit).collect();
    assert!(shown.contains(&sat.to_string()), "{sat} is not in {}", stage.text("main").await);
    stage.press("[aria-labelledby=lots-title] tbody tr:first-child a").await;
    assert!(stage.text("main").await.contains("shares"), "{}", stage.text("main").await);
}

#[tokio::test(flavor = "multi_thread")]
async fn device_is_followed_from_its_connection_to_its_first_share() {
    let stage = Stage::new(&[]).await;
    let address = stage.site.new_address();
    stage.open(&format!("/m/{address}/test")).await;
    stage.sees("#steps li.open", "waiting").await;
    let miner = stage.site.miner_with(standard(&address, 20.0)).await;
    // Without a new page: the stream of events tells each step.
    stage.sees("#steps li.done:last-child", "done").await;
    assert_eq!(stage.ask::<u32>("return document.querySelectorAll('#steps li.open').length").await, 0);
    assert!(!stage.text("#steps").await.contains("went wrong"));
    miner.close().await;
}
