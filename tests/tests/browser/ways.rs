//! The ways to other pages: beside the page on a desk, in a menu on a phone.

use tests::browser::LOOKS;
use thirtyfour::Key;

use crate::{soundness, stage::Stage};

#[tokio::test(flavor = "multi_thread")]
async fn menu_of_a_phone_is_opened_and_left_by_keys() {
    let stage = Stage::new(&[]).await.logged_in().await;
    assert!(is_seen(&stage, ".ways a[href='/blocks']").await, "the ways stand beside the page");
    assert!(!is_seen(&stage, ".menu").await, "a desk needs no menu");

    let phone = LOOKS.into_iter().find(|look| look.is_phone).unwrap();
    stage.browser.look(phone).await.unwrap();
    assert!(!is_seen(&stage, ".ways a[href='/blocks']").await, "the ways wait in the menu");
    stage.find(".menu").await.send_keys(Key::Enter).await.unwrap();
    assert!(is_seen(&stage, ".ways a[href='/blocks']").await, "the menu is open");
    let faults = soundness::in_look(&stage, "menu", phone).await;
    assert!(faults.is_empty(), "{faults:?}");
    stage.find(".menu").await.send_keys(Key::Escape).await.unwrap();
    assert!(!is_seen(&stage, ".ways a[href='/blocks']").await, "the menu is closed");
    stage.find(".menu").await.click().await.unwrap();
    stage.press(".ways a[href='/blocks']").await;
    assert_eq!(stage.path().await, "/blocks");
    assert_eq!(stage.text("main h1").await, "Blocks");
}

async fn is_seen(stage: &Stage, css: &str) -> bool {
    stage.ask(&format!("return document.querySelector(\"{css}\").checkVisibility()")).await
}
