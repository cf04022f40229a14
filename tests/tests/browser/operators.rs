//! What operators do about miners, tokens and connections.

use crate::{
    site::{PATIENCE, standard},
    stage::Stage,
};

#[tokio::test(flavor = "multi_thread")]
async fn connection_is_seen_with_its_device_and_ended() {
    let stage = Stage::new(&[]).await.logged_in().await;
    let address = stage.site.new_address();
    let miner = stage.site.miner_with(standard(&address, 20.0)).await;
    stage.open("/connections").await;
    stage.sees("#connections", "1 open").await;
    stage.sees("#connections", &address.to_string()[..6]).await;
    stage.press("#connections tbody a").await;
    stage.sees("#facts", "adit").await;
    stage.sees("#channels", "standard").await;
    stage.press("form[action$='/kick'] button").await;
    miner.wait_for_end(PATIENCE).await.unwrap();
    stage.open("/connections").await;
    stage.sees("#connections", "0 open").await;
    stage.open("/connections/ended").await;
    assert!(!stage.text("main tbody").await.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn token_is_made_on_its_page_shown_once_and_lets_its_owner_in() {
    let stage = Stage::new(&[]).await.logged_in().await;
    stage.open("/tokens").await;
    stage.fill("#label", "carol").await;
    stage.choose("#role", "viewer").await;
    stage.press("form[action='/tokens'] button").await;
    let secret = stage.text("#secret").await;
    assert!(secret.starts_with("adit_"), "{secret}");
    stage.open("/tokens").await;
    assert!(!stage.text("main").await.contains(&secret), "it is shown once");
    stage.open("/audit").await;
    assert!(stage.text("main").await.contains("add token carol"));

    stage.press("header .who button").await;
    stage.open("/log-in").await;
    stage.give_token(&secret).await;
    assert!(stage.text("header .who").await.contains("viewer"));
    stage.open("/tokens").await;
    assert!(stage.text("main").await.contains("takes the role admin"));
}

#[tokio::test(flavor = "multi_thread")]
async fn account_is_held_and_released_on_its_page() {
    let stage = Stage::new(&[("ADIT__PAYOUT__SCHEDULE", "manual")]).await;
    let address = stage.find_blocks("rig1", 1).await;
    let stage = stage.logged_in().await;
    stage.open(&format!("/accounts/{address}")).await;
    assert_eq!(stage.text("#restraint").await, "");
    stage.fill("#hold-reason", "asked for by phone").await;
    stage.press("form[action$='/hold'] button").await;
    assert_eq!(stage.text("#restraint").await, "held");
    stage.fill("#release-reason", "it was a mistake").await;
    stage.press("form[action$='/release'] button").await;
    assert_eq!(stage.text("#restraint").await, "");
}
