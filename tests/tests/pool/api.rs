//! The admin API of a running pool, as operators, watchers and programs use it over HTTP.

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use crate::site::{PATIENCE, Site, eventually, eventually_or};

/// A client of a pool's API.
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

    fn with_token(&self, token: Option<&str>) -> Api {
        Api { url: self.url.clone(), token: token.map(str::to_owned), client: self.client.clone() }
    }

    fn request(&self, method: Method, path: &str) -> reqwest::RequestBuilder {
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
    // Without a block, a node of regtest is in its initial download: it has no template to give.
    site.pool.set("ADIT__BITCOIND__TEMPLATE_REFRESH_SECONDS", "5");
    let mut child = site.pool.spawn().unwrap();
    let url = tests::adit::api_url_of(&mut child).unwrap();
    let api = Api { url, token: None, client: reqwest::Client::new() };
    assert_eq!(api.get("/healthz").await.0, 200);
    let (status, problem) = api.get("/readyz").await;
    assert_eq!((status.as_u16(), &problem["code"]), (503, &json!("not_ready")), "{problem}");
    site.node.mine(1).unwrap();
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
