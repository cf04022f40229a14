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
