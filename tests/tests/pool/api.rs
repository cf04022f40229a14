//! The admin API of a running pool, as operators, watchers and programs use it over HTTP.

use bitcoin::consensus::encode::serialize;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use crate::{
    payouts::{assert_paid, find_blocks},
    site::{PATIENCE, Site, eventually, eventually_or},
};

/// A client of a pool's API.
#[derive(Clone)]
pub(crate) struct Api {
    url: String,
    token: Option<String>,
    client: reqwest::Client,
}

impl Api {
    /// With the first token of the pool.
    pub(crate) fn of(site: &Site) -> Api {
        let (url, token) = (site.pool.api_url().unwrap(), site.pool.first_token().to_owned());
        Api { url, token: Some(token), client: reqwest::Client::new() }
    }

    pub(crate) fn with_token(&self, token: Option<&str>) -> Api {
        Api { url: self.url.clone(), token: token.map(str::to_owned), client: self.client.clone() }
    }

    pub(crate) fn request(&self, method: Method, path: &str) -> reqwest::RequestBuilder {
        let request = self.client.request(method, format!("{}{path}", self.url)).timeout(PATIENCE);
        match &self.token {
            Some(token) => request.bearer_auth(token),
            None => request,
        }
    }

    async fn send(&self, request: reqwest::RequestBuilder) -> (StatusCode, Value) {
        let response = request.send().await.unwrap();
        let status = response.status();
        (status, serde_json::from_str(&response.text().await.unwrap()).unwrap_or_default())
    }

    pub(crate) async fn get(&self, path: &str) -> (StatusCode, Value) {
        self.send(self.request(Method::GET, path)).await
    }

    /// What stands at a path that must be there.
    pub(crate) async fn read(&self, path: &str) -> Value {
        let (status, body) = self.get(path).await;
        assert_eq!(status, 200, "{path}: {body}");
        body
    }

    /// The bytes at a path that must be there.
    pub(crate) async fn download(&self, path: &str) -> Vec<u8> {
        let response = self.request(Method::GET, path).send().await.unwrap();
        assert_eq!(response.status(), 200, "{path}");
        response.bytes().await.unwrap().to_vec()
    }

    /// Asks for something by any method.
    pub(crate) async fn ask(&self, method: Method, path: &str, body: &Value) -> (StatusCode, Value) {
        self.send(self.request(method, path).json(body)).await
    }

    pub(crate) async fn post(&self, path: &str, key: Option<&str>, body: &Value) -> (StatusCode, Value) {
        let request = self.request(Method::POST, path).json(body);
        let request = match key {
            Some(key) => request.header("idempotency-key", key),
            None => request,
        };
        self.send(request).await
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn first_token_of_init_works_from_the_first_start_and_after_a_restart() {
    let mut site = Site::regtest();
    site.node.mine(1).unwrap();
    for _ in 0..2 {
        site.pool.start().unwrap();
        let api = Api::of(&site);
        let tokens = api.read("/api/v1/tokens").await;
        assert_eq!(tokens["items"].as_array().unwrap().len(), 1, "{tokens}");
        assert_eq!((&tokens["items"][0]["role"], &tokens["next"]), (&json!("admin"), &Value::Null));
        assert_eq!(api.with_token(None).get("/api/v1/tokens").await.0, 401);
        site.pool.stop().unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn tokens_of_the_command_line_are_those_of_the_api() {
    let mut site = Site::regtest();
    site.node.mine(1).unwrap();
    site.pool.start().unwrap();
    let added = site.pool.ask(&["token", "add", "alice", "--role", "operator"]).unwrap();
    let secret = added.split_whitespace().find(|word| word.starts_with("adit_")).unwrap().to_owned();
    let admin = Api::of(&site);
    let alice = admin.with_token(Some(&secret));
    assert_eq!(alice.get("/metrics").await.0, 200);
    assert_eq!(alice.get("/api/v1/tokens").await.0, 403);
    let listed = site.pool.ask(&["token", "list"]).unwrap();
    assert!(listed.contains("alice") && listed.contains("operator") && !listed.contains(&secret), "{listed}");
    site.pool.ask(&["token", "revoke", "2"]).unwrap();
    assert_eq!(alice.get("/metrics").await.0, 401);

    let audit = admin.read("/api/v1/audit").await;
    let actions: Vec<_> = audit["items"].as_array().unwrap().iter().map(|row| row["action"].clone()).collect();
    assert_eq!(actions, [json!("revoke token 2"), json!("add token alice of role operator")]);
    assert!(audit["items"][0]["actor"].as_str().unwrap().starts_with("user "), "{audit}");
    assert!(!audit.to_string().contains(&secret) && !site.pool.log().contains(&secret));

    // And where no pool runs.
    site.pool.stop().unwrap();
    let other = site.pool.ask(&["token", "add", "bob", "--role", "viewer", "--json"]).unwrap();
    let other: Value = serde_json::from_str(&other).unwrap();
    let secret = other["token_added"]["secret"].as_str().unwrap().to_owned();
    site.pool.start().unwrap();
    assert_eq!(Api::of(&site).with_token(Some(&secret)).get("/metrics").await.0, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn pool_without_work_lives_and_is_not_ready() {
    let mut site = Site::regtest();
    site.node.mine(1).unwrap();
    site.node.stop().unwrap();
    site.pool.set("ADIT__BITCOIND__TEMPLATE_REFRESH_SECONDS", "5");
    let mut child = site.pool.spawn().unwrap();
    let url = tests::adit::api_url_of(&mut child).unwrap();
    let api = Api { url, token: None, client: reqwest::Client::new() };
    assert_eq!(api.get("/healthz").await.0, 200);
    let (status, problem) = api.get("/readyz").await;
    assert_eq!((status.as_u16(), &problem["code"]), (503, &json!("not_ready")), "{problem}");
    // Nothing that takes the wallet can be done, and the API says so.
    let (status, problem) =
        Api { token: Some(site.pool.first_token().to_owned()), ..api.clone() }.get("/api/v1/payouts").await;
    assert_eq!((status.as_u16(), &problem["code"]), (503, &json!("unavailable")), "{problem}");
    site.node.restart().unwrap();
    eventually("the pool to be ready", async || (api.get("/readyz").await.0 == 200).then_some(())).await;
    // The node goes, and with it, after three times the interval, the pool's readiness.
    site.node.stop().unwrap();
    eventually_or("the pool not to be ready", async || match api.get("/readyz").await.0.as_u16() {
        503 => Ok(()),
        other => Err(other),
    })
    .await;
    assert_eq!(api.get("/healthz").await.0, 200);
    child.kill().unwrap();
    child.wait().unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn shares_and_blocks_are_seen_in_the_api_as_they_are_in_the_chain() {
    let mut site = Site::regtest();
    let addresses = find_blocks(&mut site, 2, 3).await;
    let api = Api::of(&site);
    let pool = eventually("the shares to be in the history", async || {
        let pool = api.read("/api/v1/pool").await;
        (pool["hash_rate_1h"]["shares"].as_u64().unwrap() >= 6).then_some(pool)
    })
    .await;
    let rate = ["low", "hash_rate", "high"].map(|figure| pool["hash_rate_1h"][figure].as_f64().unwrap());
    assert!(rate[0] < rate[1] && rate[1] < rate[2], "{pool}");
    assert_eq!((&pool["workers"]["up"], &pool["luck"]["round_effort"]), (&json!(2), &Value::Null), "{pool}");
    assert_eq!((&pool["network"], &pool["health"][0]["state"]), (&json!("regtest"), &json!("well")), "{pool}");
    assert_eq!(pool["template"]["height"], site.node.height().unwrap() + 1, "{pool}");

    // The same blocks, whether page by page or in the chain.
    let (mut listed, mut path) = (Vec::new(), "/api/v1/blocks?limit=2".to_owned());
    loop {
        let page = api.read(&path).await;
        listed.extend(page["items"].as_array().unwrap().clone());
        let Some(next) = page["next"].as_str() else { break };
        path = format!("/api/v1/blocks?limit=2&after={next}");
    }
    let in_chain: Vec<String> = site.blocks_of_the_pool().iter().map(|block| block.block_hash().to_string()).collect();
    let alive = listed.iter().filter(|block| block["phase"] != "orphaned").map(|block| block["hash"].as_str().unwrap());
    assert_eq!(alive.rev().collect::<Vec<_>>(), in_chain);
    let block = api.read(&format!("/api/v1/blocks/{}", in_chain[0])).await;
    let credits = block["credits"].as_array().unwrap();
    let credited: u64 = credits.iter().map(|credit| credit["sat"].as_u64().unwrap()).sum();
    let fee = block["block"]["fee_sat"].as_u64().unwrap() + block["block"]["reserve_sat"].as_u64().unwrap();
    assert_eq!(credited + fee, block["block"]["value_sat"].as_u64().unwrap(), "{block}");
    assert!(addresses.iter().any(|address| block["block"]["finder"] == address.to_string()), "{block}");
    let course = &block["course"];
    let order = ["job_made_at_ms", "found_at_ms", "answered_at_ms", "booked_at_ms"].map(|step| course[step].as_i64());
    assert!(order.iter().all(Option::is_some) && order.is_sorted(), "{block}");
    let depth = u64::from(site.node.height().unwrap()) + 1 - block["block"]["height"].as_u64().unwrap();
    assert_eq!((&course["answer"], course["confirmations"].as_u64()), (&json!("accepted"), Some(depth)), "{block}");
    let raw = api.request(Method::GET, &format!("/api/v1/blocks/{}/raw", in_chain[0])).send().await.unwrap();
    let raw = raw.bytes().await.unwrap();
    assert_eq!(raw, serialize(&site.blocks_of_the_pool()[0]), "the bytes are those of the chain");

    let accounts = api.read("/api/v1/accounts").await;
    assert_eq!(accounts["items"].as_array().unwrap().len(), 2, "{accounts}");
    let seen = async || {
        let accounts = api.read("/api/v1/accounts").await;
        accounts["items"].as_array().unwrap().iter().all(|account| account["last_share_at_ms"].is_i64()).then_some(())
    };
    eventually("each account's last share to be known", seen).await;
    let workers = api.read(&format!("/api/v1/accounts/{}/workers", addresses[0])).await;
    assert!(workers["workers"][0]["shares"].as_u64().unwrap() >= 3, "{workers}");
}

#[tokio::test(flavor = "multi_thread")]
async fn payout_is_run_and_approved_once_under_a_key_also_across_a_restart() {
    let mut site = Site::regtest();
    site.pool.set("ADIT__PAYOUT__SCHEDULE", "manual").set("ADIT__PAYOUT__APPROVAL", "always");
    let addresses = find_blocks(&mut site, 2, 5).await;
    site.node.mine(100).unwrap();
    site.settle().await;
    let api = Api::of(&site);
    let status = api.read("/api/v1/payouts").await;
    assert_eq!(status["due_accounts"], 2, "{status}");
    let next = api.read("/api/v1/payouts/next").await;
    assert_eq!((next["outputs"].as_array().unwrap().len(), &next["obstacle"]), (2, &Value::Null), "{next}");
    assert_eq!(next["paid_sat"], status["due_sat"], "the pool pays the network's fee");
    assert_eq!(api.read("/api/v1/payouts/batches").await["items"], json!([]), "a dry run does nothing");

    let (status, problem) = api.post("/api/v1/payouts/batches", None, &json!({})).await;
    assert_eq!((status.as_u16(), &problem["code"]), (400, &json!("idempotency_key_missing")), "{problem}");
    let (status, ran) = api.post("/api/v1/payouts/batches", Some("run-1"), &json!({})).await;
    assert_eq!((status.as_u16(), ran["batches"].as_array().unwrap().len()), (201, 1), "{ran}");
    assert_eq!(ran["batches"][0]["paid_sat"], next["paid_sat"]);
    assert_eq!(api.post("/api/v1/payouts/batches", Some("run-1"), &json!({})).await, (status, ran.clone()));
    let other = json!({"account": addresses[0].to_string()});
    let (refused, problem) = api.post("/api/v1/payouts/batches", Some("run-1"), &other).await;
    assert_eq!((refused.as_u16(), &problem["code"]), (422, &json!("idempotency_key_reused")), "{problem}");

    site.pool.kill().unwrap();
    site.pool.start().unwrap();
    let api = Api::of(&site);
    assert_eq!(api.post("/api/v1/payouts/batches", Some("run-1"), &json!({})).await, (status, ran));
    assert_eq!(api.read("/api/v1/payouts/batches").await["items"].as_array().unwrap().len(), 1);

    let approve = "/api/v1/payouts/batches/1/approve";
    let (status, approved) = api.post(approve, Some("approve-1"), &Value::Null).await;
    assert_eq!((status.as_u16(), &approved["already"]), (200, &json!(false)), "{approved}");
    let again = api.post(approve, Some("approve-2"), &Value::Null).await.1;
    assert_eq!(again["already"], true, "{again}");
    let books = site.pay_out().await;
    assert_paid(&site, &books, &addresses).await;
    let shown = api.read("/api/v1/payouts/batches/1").await;
    assert_eq!(shown["events"][0]["note"], "first admin", "who approved is what the token is called: {shown}");
    let records = api.read("/api/v1/exports/records").await;
    assert_eq!(records["items"].as_array().unwrap().len(), 2, "{records}");
    let audit = api.read("/api/v1/audit").await;
    let said: Vec<_> = audit["items"].as_array().unwrap().iter().map(|row| row["action"].clone()).collect();
    assert_eq!(said, [json!("approve 1 by first admin"), json!("approve 1 by first admin"), json!("run")], "{audit}");
}

#[tokio::test(flavor = "multi_thread")]
async fn watcher_sees_its_own_account_and_nothing_else() {
    let mut site = Site::regtest();
    let addresses = find_blocks(&mut site, 2, 2).await;
    let [own, other] = [&addresses[0], &addresses[1]].map(ToString::to_string);
    let api = Api::of(&site);
    let new = json!({"label": "own page", "role": "watcher", "account": own});
    let (status, added) = api.post("/api/v1/tokens", None, &new).await;
    assert_eq!(status, 201, "{added}");
    let watcher = api.with_token(added["secret"].as_str());
    for what in ["", "/balance", "/payouts", "/entries", "/workers"] {
        let seen = watcher.read(&format!("/api/v1/accounts/{own}{what}")).await;
        assert!(!seen.to_string().contains(&other), "{seen}");
        let (status, problem) = watcher.get(&format!("/api/v1/accounts/{other}{what}")).await;
        assert_eq!((status.as_u16(), &problem["code"]), (403, &json!("other_account")), "{problem}");
    }
    let entries = watcher.read(&format!("/api/v1/accounts/{own}/entries")).await;
    let booked: i64 = entries["items"].as_array().unwrap().iter().map(|line| line["sat"].as_i64().unwrap()).sum();
    let balance = watcher.read(&format!("/api/v1/accounts/{own}/balance")).await;
    assert_eq!(-booked, balance["immature_sat"].as_i64().unwrap(), "{entries} {balance}");
    for path in ["/api/v1/pool", "/api/v1/accounts", "/api/v1/ledger/entries", "/metrics", "/api/v1/tokens"] {
        assert_eq!(watcher.get(path).await.0, 403, "{path}");
    }
}
