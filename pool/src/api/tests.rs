//! Who may do what, asked of every route in the document with every kind of token; and what is true of all answers.
#![allow(clippy::unwrap_used)]

mod books;
mod exports;

use std::{collections::BTreeMap, time::Duration};

use axum::{
    body::{Body, to_bytes},
    extract::ConnectInfo,
    http::{Method, StatusCode},
};
use payouts::{
    access::{Added, Grant, NewToken, Role, TokenId},
    store::{AccessStore, sqlite::SqliteStore},
};
use serde_json::{Value, json};
use tempfile::TempDir;
use tower::ServiceExt;

use super::*;
use crate::{
    config::{Config, ExportConfig},
    metrics::Metrics,
    operations::{Port, Refusal, RefusalCode, period, token::TokenSecret},
};

const OWN: &str = "bcrt1qw508d6qejxtdg4y5r3zarvary0c5xw7kygt080";
const OTHER: &str = "bcrt1qrp33g0q5c5txsp9arysrx4k6zdkfs4nce4xj0gdcccefvpysxf3qzf4jry";

/// The API of a pool without a node, whose desk knows of periods, and nothing else of what it is asked about.
pub(super) struct Fixture {
    pub(super) router: Router,
    pub(super) live: Arc<Live>,
    pub(super) store: Arc<SqliteStore>,
    _folder: TempDir,
}

impl Fixture {
    pub(super) async fn new() -> Fixture {
        Fixture::with_rate(100_000).await
    }

    async fn with_rate(requests_per_second: u32) -> Fixture {
        let folder = tempfile::tempdir().unwrap();
        let store = Arc::new(SqliteStore::open(&folder.path().join("adit.sqlite")).await.unwrap());
        let port = Port::closed();
        let roster = Arc::clone(&port.roster);
        let (desk, mut orders) = Desk::open(port, Arc::clone(&store) as Arc<dyn Store>);
        let books = Arc::clone(&store);
        tokio::spawn(async move {
            while let Some(order) = orders.recv().await {
                let done = period::perform_with_store(&*books, &order.request).await;
                let unknown = || Err(Refusal::new(RefusalCode::NotFound, "there is no such thing"));
                order.answer(done.unwrap_or_else(unknown));
            }
        });
        let live = Live::new(Arc::new(Metrics::new()), bitcoin::Network::Regtest, Duration::from_secs(30));
        let live = Arc::new(live.with_roster(roster));
        let config = ApiConfig { listen: ([127, 0, 0, 1], 0).into(), tls: None, requests_per_second };
        let export = ExportConfig::unset();
        let register = Arc::new(Register::new(Arc::clone(&store) as Arc<dyn Store>, export));
        let app = App::new(Arc::clone(&store) as Arc<dyn Store>, desk, Arc::clone(&live), register, &config);
        for address in [OWN, OTHER] {
            let address: bitcoin::Address<bitcoin::address::NetworkUnchecked> = address.parse().unwrap();
            store.account(address.assume_checked_ref()).await.unwrap();
        }
        let router = app.router(Router::new(), || StatusCode::NOT_FOUND.into_response());
        Fixture { router, live, store, _folder: folder }
    }

    /// Makes a token.
    pub(super) async fn token(&self, label: &str, grant: Grant) -> (TokenId, String) {
        let secret = TokenSecret::random();
        let new = NewToken { hash: secret.digest(), label: label.to_owned(), grant, created_at_ms: 1 };
        let Added::Token(id) = self.store.add_token(&new).await.unwrap() else { panic!("{label} is taken") };
        (id, secret.expose().to_owned())
    }

    /// Asks something; returns the status and what was said.
    pub(super) async fn ask(
        &self,
        method: &Method,
        path: &str,
        token: Option<&str>,
        headers: &[(&str, &str)],
        body: Value,
    ) -> (StatusCode, Value) {
        let response = self.response(method, path, token, headers, body).await;
        let status = response.status();
        let body = to_bytes(response.into_body(), 1 << 20).await.unwrap();
        (status, serde_json::from_slice(&body).unwrap_or_default())
    }

    async fn response(
        &self,
        method: &Method,
        path: &str,
        token: Option<&str>,
        headers: &[(&str, &str)],
        body: Value,
    ) -> Response {
        let mut request = Request::builder().method(method).uri(path);
        request = request.extension(ConnectInfo(std::net::SocketAddr::from(([127, 0, 0, 1], 9))));
        request = request.header("content-type", "application/json");
        if let Some(token) = token {
            request = request.header("authorization", format!("Bearer {token}"));
        }
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let body = if body.is_null() { Body::empty() } else { Body::from(body.to_string()) };
        self.router.clone().oneshot(request.body(body).unwrap()).await.unwrap()
    }

    pub(super) async fn get(&self, path: &str, token: Option<&str>) -> (StatusCode, Value) {
        self.ask(&Method::GET, path, token, &[], Value::Null).await
    }
}

/// Puts something in the place of each parameter.
fn path_of(template: &str, account: &str) -> String {
    let hash = "00".repeat(32);
    let values = BTreeMap::from([("account", account), ("hash", &hash), ("address", "192.0.2.1")]);
    let mut path = String::new();
    for part in template.split('/').skip(1) {
        let name = part.strip_prefix('{').and_then(|part| part.strip_suffix('}'));
        path = format!("{path}/{}", name.map_or(part, |name| values.get(name).unwrap_or(&"999")));
    }
    path
}

/// The routes of the document, each with its least role as it says.
fn documented() -> Vec<(Method, String, Option<Role>)> {
    let mut routes = Vec::new();
    for (path, item) in openapi::document()["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap() {
            let least = operation["x-least-role"].as_str().map(|role| role.parse().unwrap());
            assert_eq!(operation["security"] == json!([]), least.is_none(), "{method} {path}");
            routes.push((method.to_ascii_uppercase().parse().unwrap(), path.clone(), least));
        }
    }
    routes
}

#[tokio::test]
async fn every_route_is_open_to_the_roles_that_the_document_names_and_to_nobody_else() {
    let fixture = Fixture::new().await;
    let account = fixture.store.find_account(OWN).await.unwrap().unwrap().id;
    let (revoked_id, revoked) = fixture.token("revoked", Grant::Administer).await;
    fixture.store.revoke_token(revoked_id, 2).await.unwrap();
    let wrong = format!("adit_{}", "0".repeat(48));
    let mut callers = vec![("nobody", None, None, OWN), ("wrong", Some(wrong), None, OWN)];
    callers.push(("revoked", Some(revoked), None, OWN));
    for (name, grant) in [("viewer", Grant::View), ("operator", Grant::Operate), ("admin", Grant::Administer)] {
        callers.push((name, Some(fixture.token(name, grant).await.1), Some(grant.role()), OWN));
    }
    let watcher = Some(fixture.token("watcher", Grant::Watch(account)).await.1);
    callers.push(("watcher of this account", watcher.clone(), Some(Role::Watcher), OWN));
    callers.push(("watcher of another account", watcher.clone(), None, OTHER));
    callers.push(("watcher of no account", watcher, None, "nobody"));

    let routes = documented();
    assert!(routes.len() >= rules::RULES.len(), "{routes:?}");
    for (number, (method, template, least)) in routes.iter().enumerate() {
        for (name, token, role, account) in &callers {
            let path = path_of(template, account);
            let key = format!("{number}-{name}");
            let headers = [("idempotency-key", key.as_str())];
            let answer = fixture.response(method, &path, token.as_deref(), &headers, json!({})).await;
            let status = answer.status().as_u16();
            let has_account = template.contains("{account}");
            match (least, role) {
                (None, _) => assert!(![401, 403].contains(&status), "{name}: {method} {path} is {status}"),
                (Some(least), Some(role)) if role >= least && (*role != Role::Watcher || has_account) => {
                    assert!(![401, 403].contains(&status), "{name}: {method} {path} is {status}");
                }
                (Some(_), None) if !name.starts_with("watcher") => {
                    assert_eq!(status, 401, "{name}: {method} {path}");
                }
                (Some(_), _) => assert_eq!(status, 403, "{name}: {method} {path}"),
            }
        }
    }
}

#[tokio::test]
async fn unknown_paths_and_methods_are_problems_too() {
    let fixture = Fixture::new().await;
    let (status, problem) = fixture.get("/api/v2", None).await;
    assert_eq!((status.as_u16(), &problem["code"]), (404, &json!("not_found")));
    let response = fixture.response(&Method::PUT, "/api/v1/tokens", None, &[], Value::Null).await;
    assert_eq!(response.status(), 405);
    assert_eq!(response.headers()["allow"], "GET, POST");
    assert_eq!(response.headers()["content-type"], problem::MEDIA_TYPE);
}

#[tokio::test]
async fn answers_are_kept_by_nobody_and_show_nothing_from_elsewhere() {
    let fixture = Fixture::new().await;
    for path in ["/healthz", "/api/v1/tokens", "/nothing", "/api/docs"] {
        let response = fixture.response(&Method::GET, path, None, &[], Value::Null).await;
        assert_eq!(response.headers()["cache-control"], "no-store", "{path}");
        assert_eq!(response.headers()["x-content-type-options"], "nosniff", "{path}");
        let policy = response.headers()["content-security-policy"].to_str().unwrap().to_owned();
        assert!(policy.starts_with("default-src 'none'"), "{path}: {policy}");
    }
}

#[tokio::test]
async fn pool_that_waits_for_its_node_lives_and_is_not_ready() {
    let fixture = Fixture::new().await;
    assert_eq!(fixture.get("/healthz", None).await.0, 200);
    let (status, problem) = fixture.get("/readyz", None).await;
    assert_eq!((status.as_u16(), &problem["code"]), (503, &json!("not_ready")));
}

#[tokio::test]
async fn address_that_asks_too_often_is_told_to_wait() {
    let fixture = Fixture::with_rate(2).await;
    let mut statuses = Vec::new();
    for _ in 0..4 {
        statuses.push(fixture.get("/healthz", None).await.0.as_u16());
    }
    assert_eq!(statuses, [200, 200, 429, 429]);
}

#[tokio::test]
async fn token_made_by_the_api_works_until_it_is_revoked_and_both_are_on_record() {
    let fixture = Fixture::new().await;
    let (id, admin) = fixture.token("root", Grant::Administer).await;
    let admin = Some(admin.as_str());
    let new = json!({"label": "bob", "role": "viewer"});
    let (status, added) = fixture.ask(&Method::POST, "/api/v1/tokens", admin, &[], new).await;
    assert_eq!(status, 201, "{added}");
    let secret = added["secret"].as_str().unwrap();
    assert_eq!(fixture.get("/metrics", Some(secret)).await.0, 200);
    assert_eq!(fixture.get("/api/v1/tokens", Some(secret)).await.0, 403);
    let listed = fixture.get("/api/v1/tokens", admin).await.1;
    assert!(!listed.to_string().contains(secret), "a token is told once");
    let path = format!("/api/v1/tokens/{}", added["token"]["token"]);
    assert_eq!(fixture.ask(&Method::DELETE, &path, admin, &[], Value::Null).await.0, 200);
    assert_eq!(fixture.get("/metrics", Some(secret)).await.0, 401);

    let (_, first) = fixture.get("/api/v1/audit?limit=1", admin).await;
    let (_, second) =
        fixture.get(&format!("/api/v1/audit?limit=1&after={}", first["next"].as_str().unwrap()), admin).await;
    let actions: Vec<_> = [&first, &second].map(|page| page["items"][0]["action"].as_str().unwrap().to_owned()).into();
    assert_eq!(
        actions,
        [format!("revoke token {}", added["token"]["token"]), "add token bob of role viewer".to_owned()]
    );
    assert_eq!(first["items"][0]["actor"], format!("token {id} (root)"));
    assert_eq!((&first["items"][0]["outcome"], &second["next"]), (&json!("done"), &Value::Null));
    assert!(!format!("{first}{second}").contains(secret), "a token stands in the audit log");
}

#[tokio::test]
async fn what_cannot_be_read_is_a_problem_with_a_code() {
    let fixture = Fixture::new().await;
    let admin = fixture.token("root", Grant::Administer).await.1;
    let ask = async |path: &str, body: Value| {
        let method = if body.is_null() { Method::GET } else { Method::POST };
        let (status, problem) = fixture.ask(&method, path, Some(&admin), &[], body).await;
        (status.as_u16(), problem["code"].as_str().unwrap_or_default().to_owned())
    };
    for (path, body, status, code) in [
        ("/api/v1/tokens?limit=0", Value::Null, 422, "invalid"),
        ("/api/v1/tokens?limit=x", Value::Null, 400, "malformed"),
        ("/api/v1/tokens?page=2", Value::Null, 400, "malformed"),
        ("/api/v1/tokens?after=x", Value::Null, 422, "invalid"),
        ("/api/v1/tokens", json!({"label": "x"}), 422, "invalid"),
        ("/api/v1/tokens", json!({"label": "x", "role": "god"}), 422, "invalid"),
        ("/api/v1/tokens", json!(["x", "viewer", null]), 422, "invalid"),
        ("/api/v1/tokens", json!({"label": "x", "role": "viewer", "more": 1}), 422, "invalid"),
        ("/api/v1/tokens", json!({"label": "x", "role": "watcher"}), 422, "invalid"),
        ("/api/v1/tokens", json!({"label": "root", "role": "viewer"}), 409, "conflict"),
    ] {
        assert_eq!(ask(path, body.clone()).await, (status, code.to_owned()), "{path} {body}");
    }
}

#[test]
fn api_is_plain_on_loopback_alone_unless_that_is_wanted() {
    let folder = tempfile::tempdir().unwrap();
    let created = crate::init::init(&crate::init::NewPool {
        network: bitcoin::Network::Regtest,
        dir: folder.path().to_owned(),
        bitcoind_url: None,
        cookie_file: Some(folder.path().join("cookie")),
        listen: None,
        public_host: None,
        watch_only: None,
    });
    let file = created.unwrap().config_file;
    let load = |variables: &[(&str, &str)]| {
        Config::load_with(&file, variables.iter().map(|(key, value)| (key.into(), value.into())))
    };
    let beyond = ("ADIT__API__LISTEN", "0.0.0.0:0");
    let said = load(&[beyond]).unwrap_err().to_string();
    assert!(said.contains("api.tls_certificate") && said.contains("ADIT__API__LISTEN"), "{said}");
    load(&[beyond, ("ADIT__API__ALLOW_PLAINTEXT_BEYOND_LOOPBACK", "true")]).unwrap();
    let (certificate, key) = (("ADIT__API__TLS_CERTIFICATE", "a.crt"), ("ADIT__API__TLS_KEY", "a.key"));
    assert!(load(&[beyond, certificate, key]).unwrap().api.tls.is_some());
    assert!(load(&[certificate]).unwrap_err().to_string().contains("api.tls_key"));
    load(&[("ADIT__API__LISTEN", "[::1]:0")]).unwrap();
}
