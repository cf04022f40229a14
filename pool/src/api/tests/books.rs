//! Accounts, ledger and audit log, as programs look things up in them.

use bitcoin::{Amount, address::NetworkUnchecked};
use payouts::{
    ledger::{Draft, EntryKind, LedgerAccount},
    store::{Change, Commit},
};

use super::*;

impl Fixture {
    /// Books something for both accounts, and something of the pool's own.
    async fn book(&self) {
        let mut accounts = Vec::new();
        for address in [OWN, OTHER] {
            let address: bitcoin::Address<NetworkUnchecked> = address.parse().unwrap();
            accounts.push(LedgerAccount::MinerPayable(self.store.account(address.assume_checked_ref()).await.unwrap()));
        }
        for (kind, key, account) in [
            (EntryKind::Credited, "a", accounts[0]),
            (EntryKind::Credited, "b", accounts[1]),
            (EntryKind::ReserveFunded, "c", LedgerAccount::PpsReserve),
        ] {
            let sat = Amount::from_sat(7);
            let lines = Draft::begin(kind, key).debit(LedgerAccount::Spendable, sat).credit(account, sat);
            let entry = lines.balanced().unwrap().seal(self.store.head().await.unwrap(), 1_700_000_000_000);
            assert_eq!(self.store.commit(Change { entry, rows: Vec::new() }).await.unwrap(), Commit::Done);
        }
    }

    /// The keys of the entries that a query gives.
    async fn keys(&self, query: &str, token: &str) -> (String, Value) {
        let (status, page) = self.get(&format!("/api/v1/ledger/entries?{query}"), Some(token)).await;
        assert_eq!(status, 200, "{query}: {page}");
        let keys = page["items"].as_array().unwrap().iter().map(|entry| entry["key"].as_str().unwrap().to_owned());
        (keys.collect(), page["next"].clone())
    }
}

#[tokio::test]
async fn entries_are_found_by_what_they_record_and_whom_they_are_about() {
    let fixture = Fixture::new().await;
    fixture.book().await;
    let viewer = fixture.token("viewer", Grant::View).await.1;
    for (query, keys) in [
        ("", "abc"),
        ("order=newest", "cba"),
        ("kind=credited", "ab"),
        (&format!("account={OTHER}"), "b"),
        (&format!("account={OTHER}&kind=reserve_funded"), ""),
        ("ledger_account=pps_reserve", "c"),
        ("ledger_account=spendable&order=newest", "cba"),
    ] {
        assert_eq!(fixture.keys(query, &viewer).await.0, keys, "{query}");
    }
    for order in ["oldest", "newest"] {
        let (mut seen, mut after) = (String::new(), String::new());
        loop {
            let (keys, next) = fixture.keys(&format!("order={order}&limit=1{after}"), &viewer).await;
            seen += &keys;
            let Some(next) = next.as_str() else { break };
            after = format!("&after={next}");
        }
        assert_eq!(seen, if order == "oldest" { "abc" } else { "cba" });
    }
    for (query, status) in [
        ("kind=theft", 422),
        ("ledger_account=mine", 422),
        ("order=best", 400),
        ("account=nobody", 404),
        (&format!("account={OWN}&ledger_account=fee"), 422),
    ] {
        let got = fixture.get(&format!("/api/v1/ledger/entries?{query}"), Some(&viewer)).await;
        assert_eq!(got.0, status, "{query}: {}", got.1);
    }
}

#[tokio::test]
async fn entry_names_the_one_before_it_and_the_sums_the_newest() {
    let fixture = Fixture::new().await;
    fixture.book().await;
    let viewer = fixture.token("viewer", Grant::View).await.1;
    let viewer = Some(viewer.as_str());
    let (_, first) = fixture.get("/api/v1/ledger/entries/1", viewer).await;
    let (_, second) = fixture.get("/api/v1/ledger/entries/2", viewer).await;
    assert_eq!((&second["previous"], &second["key"]), (&first["hash"], &json!("b")));
    assert_eq!(fixture.get("/api/v1/ledger/entries/4", viewer).await.0, 404);
    let (_, third) = fixture.get("/api/v1/ledger/entries/3", viewer).await;
    let (_, sums) = fixture.get("/api/v1/ledger/sums", viewer).await;
    assert_eq!((&sums["head"], &sums["head_hash"], &sums["imbalance_sat"]), (&json!(3), &third["hash"], &json!(0)));
    let class =
        |name: &str| sums["classes"].as_array().unwrap().iter().find(|sum| sum["class"] == name).unwrap().clone();
    assert_eq!((&class("miner_payable")["sat"], &class("miner_payable")["accounts"]), (&json!(-14), &json!(2)));
    assert_eq!((&class("spendable")["sat"], &class("spendable")["side"]), (&json!(21), &json!("asset")));
}

#[tokio::test]
async fn entries_are_listed_in_lines_and_with_their_postings_on_demand() {
    let fixture = Fixture::new().await;
    fixture.book().await;
    let viewer = fixture.token("viewer", Grant::View).await.1;
    let viewer = Some(viewer.as_str());
    let (_, entry) = fixture.get("/api/v1/ledger/entries/3", viewer).await;
    let postings = json!([{"account": "spendable", "sat": 7}, {"account": "pps_reserve", "sat": -7}]);
    assert_eq!((&entry["posting_count"], &entry["amount_sat"], &entry["postings"]), (&json!(2), &json!(7), &postings));
    let (_, full) = fixture.get("/api/v1/ledger/entries?postings=true", viewer).await;
    assert_eq!(full["items"][2], entry);
    let (_, lines) = fixture.get("/api/v1/ledger/entries", viewer).await;
    let mut line = entry;
    line.as_object_mut().unwrap().remove("postings");
    assert_eq!(lines["items"][2], line);
    assert_eq!(fixture.get("/api/v1/ledger/entries?postings=some", viewer).await.0, 400);
}

#[tokio::test]
async fn table_of_entries_is_csv() {
    let fixture = Fixture::new().await;
    fixture.book().await;
    let viewer = fixture.token("viewer", Grant::View).await.1;
    let path = format!("/api/v1/ledger/entries.csv?account={OWN}");
    let response = fixture.response(&Method::GET, &path, Some(&viewer), &[], Value::Null).await;
    assert_eq!(response.headers()["content-type"], "text/csv; charset=utf-8");
    let body = to_bytes(response.into_body(), 1 << 20).await.unwrap();
    let text = String::from_utf8(body.to_vec()).unwrap();
    assert_eq!(text.lines().count(), 3, "{text}");
    assert!(text.starts_with("entry,at_utc,kind,") && text.contains(",credited,a,,"), "{text}");
}

#[tokio::test]
async fn accounts_come_with_what_the_books_have_of_them() {
    let fixture = Fixture::new().await;
    fixture.book().await;
    let viewer = fixture.token("viewer", Grant::View).await.1;
    let (_, all) = fixture.get("/api/v1/accounts", Some(&viewer)).await;
    assert_eq!(all["items"].as_array().unwrap().len(), 2, "{all}");
    let (_, found) = fixture.get(&format!("/api/v1/accounts?search={}", &OTHER[10..30]), Some(&viewer)).await;
    assert_eq!((&found["items"][0]["address"], &found["items"][0]["payable_sat"]), (&json!(OTHER), &json!(7)));
    assert_eq!((found["items"].as_array().unwrap().len(), &found["next"]), (1, &Value::Null));
    let long = format!("/api/v1/accounts?search={}", "x".repeat(129));
    assert_eq!(fixture.get(&long, Some(&viewer)).await.0, 422);
}

#[tokio::test]
async fn audit_log_is_found_by_actor_and_action() {
    let fixture = Fixture::new().await;
    let admin = fixture.token("root", Grant::Administer).await.1;
    for label in ["bob", "eve"] {
        let new = json!({"label": label, "role": "viewer"});
        assert_eq!(fixture.ask(&Method::POST, "/api/v1/tokens", Some(&admin), &[], new).await.0, 201);
    }
    for (query, count) in [("", 2), ("actor=ROOT", 2), ("actor=nobody", 0), ("action=token%20eve", 1)] {
        let (_, page) = fixture.get(&format!("/api/v1/audit?{query}"), Some(&admin)).await;
        assert_eq!(page["items"].as_array().unwrap().len(), count, "{query}: {page}");
    }
}

#[tokio::test]
async fn settings_of_no_running_pool_are_not_available() {
    let fixture = Fixture::new().await;
    let admin = fixture.token("root", Grant::Administer).await.1;
    assert_eq!(fixture.get("/api/v1/settings", Some(&admin)).await.0, 503);
    let path = "/api/v1/settings/reload?dry_run=true";
    assert_eq!(fixture.ask(&Method::POST, path, Some(&admin), &[], Value::Null).await.0, 503);
    let wrong = fixture.ask(&Method::POST, "/api/v1/settings/reload?dry=1", Some(&admin), &[], Value::Null).await;
    assert_eq!(wrong.0, 400);
}
