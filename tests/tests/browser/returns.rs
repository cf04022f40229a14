//! A month that is over, which is declared and closed on its pages; and work on a reserve, with the page that explains it.

use jiff::{Timestamp, ToSpan, tz::TimeZone};

use crate::{
    site::{DEPOSIT_SAT, PATIENCE, Site, eventually, standard},
    soundness,
    stage::Stage,
};

#[tokio::test(flavor = "multi_thread")]
async fn month_that_is_over_is_declared_and_closed_on_its_pages() {
    let stage = Stage::new(&[]).await.logged_in().await;
    let today = Timestamp::now().to_zoned(TimeZone::UTC).date();
    let last = today.first_of_month().checked_sub(1.day()).unwrap().strftime("%Y-%m").to_string();
    let reports = format!("/register/reports/neutral/{last}");

    stage.open(&reports).await;
    stage.press("a[href*='/declare']").await;
    let mut faults = soundness::faults(&stage, "declare").await;
    stage.fill("#declaration", "D-1").await;
    stage.fill("#authority", "Tax Office").await;
    stage.press("main form button").await;
    let told = stage.text("main .notice.done").await;
    assert!(told.contains("D-1") || told.contains(&last), "{told}");

    stage.open(&format!("{reports}/close")).await;
    assert!(stage.text("main").await.contains("D-1 to Tax Office"), "{}", stage.text("main").await);
    faults.extend(soundness::faults(&stage, "close").await);
    stage.press("main form button.danger").await;
    stage.open("/register/periods").await;
    let periods = stage.text("main").await;
    assert!(periods.lines().any(|line| line.starts_with(&last) && line.to_lowercase().contains("closed")), "{periods}");
    let listed = stage.site.pool.ask(&["export", "periods"]).unwrap();
    assert!(listed.lines().any(|line| line.starts_with(&last) && line.contains("CLOSED")), "{listed}");
    assert!(faults.is_empty(), "{} faults:\n{}", faults.len(), faults.join("\n"));
}

#[tokio::test(flavor = "multi_thread")]
async fn work_of_a_period_is_explained_to_its_miner() {
    let mut site = Site::regtest();
    site.pool.set("ADIT__PAYOUT__SCHEME", "pps");
    site.node.mine(1).unwrap();
    site.pool.start().unwrap();
    let address = site.new_address();
    let miner = site.miner_with(standard(&address, 40.0).max_shares(2)).await;
    miner.wait_for_judged(2, PATIENCE).await.unwrap();
    miner.close().await;
    site.settle().await;
    site.deposit(5).await;
    let given = (5 * DEPOSIT_SAT).to_string();
    site.pool.ask(&["reserve", "fund", &given, "--from", "deposits", "--reference", "first"]).unwrap();
    // Another fee ends the period.
    site.pool.stop().unwrap();
    site.pool.set("ADIT__PAYOUT__FEE_BP", 124).start().unwrap();
    let explain = ["ledger", "explain-period", "1", &address.to_string()];
    let explained = eventually("the period to be credited", async || site.pool.ask(&explain).ok()).await;
    let stage = Stage::at(site).await;
    stage.open(&format!("/m/{address}/work/1")).await;
    let shown = stage.text("main").await;
    let earned = explained.lines().find_map(|line| line.strip_prefix("Earned")?.split_whitespace().next()).unwrap();
    let digits: String = shown.chars().filter(char::is_ascii_digit).collect();
    assert!(shown.contains("your work of period 1") && digits.contains(earned), "{earned} is not in {shown}");
    let faults = soundness::faults(&stage, "work").await;
    assert!(faults.is_empty(), "{} faults:\n{}", faults.len(), faults.join("\n"));
}
