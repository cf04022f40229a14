//! Log-in and log-out.

use crate::stage::Stage;

#[tokio::test(flavor = "multi_thread")]
async fn token_in_force_leads_to_the_page_that_was_asked_for_and_no_other_does() {
    let stage = Stage::new(&[]).await;
    stage.open("/blocks?limit=3").await;
    assert_eq!(stage.path().await, "/log-in?next=%2Fblocks%3Flimit%3D3");
    stage.give_token("adit_000000000000000000000000000000000000000000000000").await;
    assert!(stage.text("[role=alert]").await.contains("No token in force"));
    assert!(stage.path().await.starts_with("/log-in"));

    stage.give_token(stage.site.pool.first_token()).await;
    assert_eq!(stage.path().await, "/blocks?limit=3");
    assert!(stage.text("header .who").await.contains("admin"));

    stage.press("header .who button").await;
    assert_eq!(stage.path().await, "/log-in");
    stage.open("/payouts").await;
    assert_eq!(stage.path().await, "/log-in?next=%2Fpayouts");
}

#[tokio::test(flavor = "multi_thread")]
async fn viewer_sees_and_has_no_button_and_a_revoked_token_sees_nothing_more() {
    let stage = Stage::new(&[]).await;
    let added = stage.site.pool.ask(&["token", "add", "bob", "--role", "viewer"]).unwrap();
    let token = added.split_whitespace().find(|word| word.starts_with("adit_")).unwrap();
    stage.open("/log-in").await;
    stage.give_token(token).await;
    stage.open("/payouts").await;
    assert_eq!(stage.text("h1").await, "Payouts");
    let buttons: Vec<String> =
        stage.ask("return [...document.querySelectorAll('main button')].map((it) => it.innerText)").await;
    assert_eq!(buttons, [""; 0]);

    stage.site.pool.ask(&["token", "revoke", "2"]).unwrap();
    stage.open("/payouts").await;
    assert!(stage.path().await.starts_with("/log-in"));
}
