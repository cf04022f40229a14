//! The export register by the API of a running pool: the same records, periods and files as by commands, and parties, of
//! whom nobody else hears.

use std::{fs, path::Path};

use jiff::{Timestamp, ToSpan, tz::TimeZone};
use reqwest::Method;
use serde_json::{Value, json};

use crate::{
    api::Api,
    payouts::find_blocks,
    reports::{PRICE, PROFILE, prices_around},
    site::{Site, eventually_or},
};

/// Lets miners earn and be paid, and waits until all of that is on record.
async fn paid(site: &mut Site) -> Vec<bitcoin::Address> {
    let addresses = find_blocks(site, 2, 5).await;
    site.node.mine(100).unwrap();
    site.settle().await;
    eventually_or("the payouts to be made", async || {
        if site.node.mempool().unwrap().is_empty() { Err("no payout is in the mempool") } else { Ok(()) }
    })
    .await;
    site.node.mine(1).unwrap();
    site.settle().await;
    addresses
}

/// Writes the reports of a period by the command, and returns their manifest.
fn report(site: &Site, period: &str, folder: &Path) -> Value {
    let arguments = ["export", "report", "--period", period, "--out", folder.to_str().unwrap()];
    let said = site.pool.ask(&arguments).unwrap();
    assert!(said.contains("manifest.json"), "{said}");
    serde_json::from_slice(&fs::read(folder.join("manifest.json")).unwrap()).unwrap()
}

/// Asserts that the API hands out the files of a folder, byte for byte.
async fn same_files(api: &Api, period: &str, folder: &Path, query: &str) {
    let mut count = 0;
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap().to_owned();
        let bytes = api.download(&format!("/api/v1/exports/reports/neutral/{period}/{name}{query}")).await;
        assert!(bytes == fs::read(&path).unwrap(), "{name} is another file by the API");
        count += 1;
    }
    assert!(count > 3, "{count} files in {}", folder.display());
}

/// Asserts that each filter finds the records that are like that, page by page in both orders.
async fn assert_found_by_filters(api: &Api, all: &[Value]) {
    let found = async |query: &str| {
        let (mut found, mut after) = (Vec::new(), String::new());
        loop {
            let page = api.read(&format!("/api/v1/exports/records?limit=1{query}{after}")).await;
            found.extend(page["items"].as_array().unwrap().clone());
            let Some(next) = page["next"].as_str() else { return found };
            after = format!("&after={next}");
        }
    };
    assert!(all.len() > 1, "{all:?}");
    let newest_first: Vec<Value> = all.iter().rev().cloned().collect();
    assert_eq!(found("&order=newest").await, newest_first);
    let (mut addresses, now_ms) = (std::collections::BTreeSet::new(), Timestamp::now().as_millisecond());
    for record in all {
        let address = record["address"].as_str().unwrap();
        addresses.insert(address);
        let txid = record["delivery"].as_str().unwrap().split(':').next().unwrap();
        let query = format!("&account={address}&txid={txid}&state=DELIVERED&from_ms=0&until_ms={now_ms}");
        let like_it = all
            .iter()
            .filter(|other| other["address"] == address && other["delivery"].as_str().unwrap().starts_with(txid));
        assert_eq!(found(&query).await, like_it.cloned().collect::<Vec<_>>());
        assert!(found(&format!("&account={address}&from_ms={now_ms}")).await.is_empty());
    }
    let (one, year) = (addresses.first().unwrap(), Timestamp::now().to_zoned(TimeZone::UTC).year());
    assert_eq!(found(&format!("&period={year}")).await, all);
    assert!(found(&format!("&period={}", year - 1)).await.is_empty());
    assert!(found("&state=REVERSED").await.is_empty());
    // Who owns an address is put on record.
    let party = json!({"kind": "legal", "legal_name": "Example Trading LLC", "residency": "NO"});
    let party = api.ask(Method::POST, "/api/v1/parties", &party).await.1["party"].clone();
    assert!(found(&format!("&party={party}")).await.is_empty());
    let owned = api.ask(Method::POST, &format!("/api/v1/accounts/{one}/owner"), &json!({"party": party})).await;
    assert_eq!(owned.0, 200, "{}", owned.1);
    let of_one: Vec<Value> = all.iter().filter(|record| record["address"] == **one).cloned().collect();
    assert_eq!(found(&format!("&party={party}")).await, of_one);
}

#[tokio::test(flavor = "multi_thread")]
async fn records_and_files_of_the_api_are_those_of_chain_and_command() {
    let mut site = Site::regtest();
    let addresses = paid(&mut site).await;
    let api = Api::of(&site);
    let records = api.read("/api/v1/exports/records").await;
    let delivered: std::collections::BTreeMap<String, i64> = records["items"]
        .as_array()
        .unwrap()
        .iter()
        .map(|record| (record["delivery"].as_str().unwrap().to_owned(), record["sat"].as_i64().unwrap()))
        .collect();
    let on_chain = addresses.iter().flat_map(|address| site.unspent(address)).collect();
    assert_eq!(delivered, on_chain);

    for record in records["items"].as_array().unwrap() {
        let detail = api.read(&format!("/api/v1/exports/records/{}", record["seq"])).await;
        assert_eq!((&detail["record"], &detail["period"]["state"]), (record, &json!("OPEN")), "{detail}");
        let states: Vec<_> = detail["history"].as_array().unwrap().iter().map(|it| it["state"].clone()).collect();
        assert!(states.contains(&json!("SCREENED")) && states.last() == Some(&json!("DELIVERED")), "{detail}");
        let lots = detail["record"]["lots"].as_array().unwrap();
        let sum: u64 = lots.iter().map(|lot| lot["sat"].as_u64().unwrap()).sum();
        assert_eq!(sum, record["sat"].as_u64().unwrap(), "{detail}");
    }
    assert_eq!(api.get("/api/v1/exports/records/999").await.0, 404);
    assert_found_by_filters(&api, records["items"].as_array().unwrap()).await;

    // This month, from the records and at the time of the command.
    let folder = site.pool.config_file().parent().unwrap().to_owned();
    let now = Timestamp::now().to_zoned(TimeZone::UTC);
    let month = now.strftime("%Y-%m").to_string();
    let manifest = report(&site, &month, &folder.join("this"));
    let generated_at: Timestamp = manifest["generated_at"].as_str().unwrap().parse().unwrap();
    let as_of = ["ledger", "register", "journal"].map(|chain| manifest["as_of"][chain]["seq"].to_string()).join(".");
    let edition = format!("?edition={}.{as_of}", generated_at.as_millisecond());
    same_files(&api, &month, &folder.join("this"), &edition).await;
    let totals = &api.read(&format!("/api/v1/exports/reports?period={month}")).await["totals"];
    let sum: i64 = delivered.values().sum();
    assert_eq!((&totals["delivered"], &totals["moved_sat"]), (&json!(delivered.len()), &json!(sum)));

    // The month before: declared and closed by the API, and made again by the command.
    let last = now.date().first_of_month().checked_sub(1.day()).unwrap().strftime("%Y-%m").to_string();
    let reports = api.read(&format!("/api/v1/exports/reports?period={last}")).await;
    let declaration = json!({
        "period": last,
        "edition": reports["edition"],
        "manifest_sha256": reports["manifest_sha256"],
        "declaration": "D-1",
        "authority": "Tax Office",
    });
    let declared = api.ask(Method::POST, "/api/v1/exports/periods/declare", &declaration).await;
    assert_eq!((declared.0.as_u16(), &declared.1["already"]), (200, &json!(false)), "{declared:?}");
    let closed = api.ask(Method::POST, "/api/v1/exports/periods/close", &json!({"period": last})).await;
    assert_eq!((closed.0.as_u16(), &closed.1["declaration"]), (200, &json!("D-1")), "{closed:?}");
    report(&site, &last, &folder.join("last"));
    same_files(&api, &last, &folder.join("last"), "").await;
    let listed = site.pool.ask(&["export", "periods"]).unwrap();
    assert!(listed.lines().any(|line| line.starts_with(&last) && line.contains("CLOSED")), "{listed}");
    let verified = site.pool.ask(&["export", "verify"]).unwrap();
    assert!(verified.contains("closed periods: 1."), "{verified}");
}

#[tokio::test(flavor = "multi_thread")]
async fn receipts_are_valued_by_the_api_as_by_the_command() {
    let mut site = Site::regtest();
    let folder = site.pool.config_file().parent().unwrap().to_owned();
    let (profile, prices) = (folder.join("mine.toml"), folder.join("prices.csv"));
    fs::write(&profile, PROFILE.replace("venue = \"\"", "venue = \"example\"")).unwrap();
    site.pool.set("ADIT__EXPORT__PROFILE", profile.to_str().unwrap());
    paid(&mut site).await;
    let api = Api::of(&site);
    let text = prices_around(Timestamp::now(), PRICE);
    fs::write(&prices, &text).unwrap();
    let path = "/api/v1/exports/values";
    let value = async |body: Value| api.ask(Method::POST, path, &body).await;
    for (body, named) in [
        (json!({"prices": []}), "no file"),
        (json!({"prices": [text, "venue,price\n"]}), "prices[1]"),
        (json!({"prices": [text], "rates": ["x"]}), "rates[0]"),
    ] {
        let (status, problem) = value(body).await;
        assert!(status == 422 && problem["detail"].as_str().unwrap().contains(named), "{problem}");
    }
    assert_eq!(value(json!({"prices": [text], "profile": "atlantis"})).await.0, 404);
    let (status, neutral) = value(json!({"prices": [text], "profile": "carf-yearly"})).await;
    assert_eq!(status, 409, "it names no venue: {neutral}");
    assert!(api.read("/api/v1/exports/records/1").await["values"].as_array().unwrap().is_empty());

    let (status, report) = value(json!({"prices": [text]})).await;
    assert_eq!((status.as_u16(), &report["unvalued"], &report["already"]), (200, &json!([]), &json!(0)), "{report}");
    let valued = report["valued"].as_u64().unwrap();
    assert!(valued > 0 && report["revalued"] == 0, "{report}");
    let detail = api.read("/api/v1/exports/records/1").await;
    assert_eq!((&detail["values"][0]["price"], &detail["values"][0]["currency"]), (&json!(PRICE), &json!("USD")));
    let audit = api.read("/api/v1/audit?action=values").await;
    assert_eq!(audit["items"][0]["action"], format!("values of {valued} receipts"), "{audit}");
    // Nothing is put on record twice, whoever asks.
    let again = value(json!({"prices": [text]})).await.1;
    assert_eq!((&again["valued"], &again["unchanged"]), (&json!(0), &json!(valued)), "{again}");
    let said = site.pool.ask(&["export", "value", "--prices", prices.to_str().unwrap()]).unwrap();
    assert!(said.contains(&format!(": 0 valued, 0 valued anew, {valued} as before")), "{said}");
    site.pool.ask(&["export", "verify"]).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn parties_are_known_to_operators_and_in_no_log() {
    const NAME: &str = "Example Trading LLC";
    let mut site = Site::regtest();
    let addresses = paid(&mut site).await;
    let api = Api::of(&site);
    let party = json!({"kind": "legal", "legal_name": NAME, "residency": "NO"});
    let (status, made) = api.ask(Method::POST, "/api/v1/parties", &party).await;
    assert_eq!((status.as_u16(), &made["party"]), (201, &json!(1)), "{made}");
    let owner = json!({"party": 1, "proof": "BIP 322"});
    let path = format!("/api/v1/accounts/{}/owner", addresses[0]);
    assert_eq!(api.ask(Method::POST, &path, &owner).await.0, 200);
    let listed = api.read("/api/v1/parties").await;
    assert_eq!((&listed["items"][0]["legal_name"], &listed["items"][0]["accounts"]), (&json!(NAME), &json!(1)));
    let moved = json!({"kind": "legal", "legal_name": NAME, "residency": "SE"});
    assert_eq!(api.ask(Method::PUT, "/api/v1/parties/1", &moved).await.0, 200);
    assert_eq!(api.read("/api/v1/parties/1").await["residency"], "SE");
    assert!(site.pool.ask(&["party", "show", "1"]).unwrap().contains("residency = \"SE\""));
    assert_eq!(api.ask(Method::PUT, "/api/v1/parties/7", &moved).await.0, 404);

    let viewer = site.pool.ask(&["token", "add", "carol", "--role", "viewer"]).unwrap();
    let viewer = viewer.split_whitespace().find(|word| word.starts_with("adit_")).unwrap();
    assert_eq!(api.with_token(Some(viewer)).get("/api/v1/parties").await.0, 403);
    let audit = api.read("/api/v1/audit").await.to_string();
    assert!(audit.contains("party 1 by ") && !audit.contains(NAME), "{audit}");
    // Whoever was told of people is on record too: by the API, and by the command.
    for look in ["list parties", "show party 1"] {
        assert!(audit.contains(&format!("\"{look}\"")), "{look} is not in {audit}");
    }
    assert_eq!(audit.matches("\"show party 1\"").count(), 2, "{audit}");
    assert!(!site.pool.log().contains(NAME));

    let reason = json!({"reason": "asked for it"});
    assert_eq!(api.ask(Method::DELETE, "/api/v1/parties/1", &reason).await.0, 200);
    assert_eq!(api.get("/api/v1/parties/1").await.0, 404);
    assert_eq!(api.read("/api/v1/parties").await["items"][0]["is_erased"], json!(true));
}
