//! Sessions, forms and roles as browsers meet them, and what is true of all pages.
#![allow(clippy::unwrap_used)]

mod export;
mod operators;

use std::{fs, time::Duration};

use axum::{
    body::{Body, to_bytes},
    extract::ConnectInfo,
    http::{Method, StatusCode},
};
use payouts::{
    access::{Added, Audience, Grant, NewToken, TokenId},
    history::{PeakRow, Peaks, RefusedRow, Resolution, Stretch, Subject},
    store::{AccessStore, HistoryStore, sqlite::SqliteStore},
};
use tempfile::TempDir;
use tower::ServiceExt;

use super::*;
use crate::{
    config::{ExportConfig, tests::SMALLEST},
    metrics::Metrics,
    operations::{self, Outcome, Port, Refusal, RefusalCode, period, token::TokenSecret},
};

const ADDRESS: &str = "bcrt1qw508d6qejxtdg4y5r3zarvary0c5xw7kygt080";
/// An address that is no account.
const STRANGER: &str = "bcrt1qrp33g0q5c5txsp9arysrx4k6zdkfs4nce4xj0gdcccefvpysxf3qzf4jry";
/// The pages of a miner, behind his own path.
const MINERS_PAGES: [&str; 8] =
    ["", "/events", "/payouts", "/payouts/7", "/blocks", "/blocks/00", "/work/7", "/statements"];

/// What a desk answers; nothing if it does not know what it is asked about.
type Answers = fn(&operations::Request) -> Option<Outcome>;

/// The pages of a pool without a node, whose desk knows of periods, and nothing of most that it is asked about.
pub(super) struct Fixture {
    pub(super) pages: Pages,
    store: Arc<SqliteStore>,
    settings: watch::Sender<Arc<Config>>,
    _folder: TempDir,
}

/// What a browser got.
pub(super) struct Got {
    pub(super) status: StatusCode,
    pub(super) location: String,
    cookies: Vec<String>,
    policy: String,
    pub(super) html: String,
}

impl Fixture {
    pub(super) async fn new(has_tls: bool) -> Fixture {
        Fixture::with_desk(has_tls, |_| None).await
    }

    async fn with_desk(has_tls: bool, answers: Answers) -> Fixture {
        let folder = tempfile::tempdir().unwrap();
        let store = Arc::new(SqliteStore::open(&folder.path().join("adit.sqlite")).await.unwrap());
        let port = Port::closed();
        let roster = Arc::clone(&port.roster);
        let (desk, mut orders) = Desk::open(port, Arc::clone(&store) as Arc<dyn Store>);
        let books = Arc::clone(&store);
        tokio::spawn(async move {
            while let Some(order) = orders.recv().await {
                let known = match answers(&order.request) {
                    Some(answer) => Some(Ok(answer)),
                    None => period::perform_with_store(&*books, &order.request).await,
                };
                let unknown = || Err(Refusal::new(RefusalCode::NotFound, "there is no such thing"));
                order.answer(known.unwrap_or_else(unknown));
            }
        });
        let live = Live::new(Arc::new(Metrics::new()), bitcoin::Network::Regtest, Duration::from_secs(30));
        let live = Arc::new(live.with_roster(roster));
        let file = folder.path().join("adit.toml");
        fs::write(&file, SMALLEST).unwrap();
        let (settings, in_force) = watch::channel(Arc::new(Config::load(&file).unwrap()));
        let miner_url = "stratum2+tcp://pool.example.com:34254/KEY".to_owned();
        let about = About { miner_url, has_tls, settings: in_force };
        let address: bitcoin::Address<bitcoin::address::NetworkUnchecked> = ADDRESS.parse().unwrap();
        store.account(address.assume_checked_ref()).await.unwrap();
        let register = Register::new(Arc::clone(&store) as Arc<dyn Store>, ExportConfig::unset());
        let pages = Pages::new(Arc::clone(&store) as Arc<dyn Store>, desk, live, Arc::new(register), about);
        Fixture { pages, store, settings, _folder: folder }
    }

    pub(super) async fn token(&self, label: &str, grant: Grant) -> (TokenId, String) {
        let secret = TokenSecret::random();
        let new = NewToken { hash: secret.digest(), label: label.to_owned(), grant, created_at_ms: 1 };
        let Added::Token(id) = self.store.add_token(&new).await.unwrap() else { panic!("{label} is taken") };
        (id, secret.expose().to_owned())
    }

    pub(super) async fn ask(&self, method: Method, path: &str, cookies: &str, form: &[(&str, &str)]) -> Got {
        let body = form_urlencoded::Serializer::new(String::new()).extend_pairs(form).finish();
        let request = Request::builder().method(method).uri(path).header("cookie", cookies);
        let request = request.header("content-type", "application/x-www-form-urlencoded");
        let request = request.extension(ConnectInfo(std::net::SocketAddr::from(([127, 0, 0, 1], 9))));
        let request = request.body(Body::from(body)).unwrap();
        let response = self.pages.clone().router::<()>().with_state(()).oneshot(request).await.unwrap();
        let text = |name: &str| {
            let value = response.headers().get(name).map(|value| value.to_str().unwrap().to_owned());
            value.unwrap_or_default()
        };
        let cookies = response.headers().get_all("set-cookie").iter();
        let cookies = cookies.map(|value| value.to_str().unwrap().to_owned()).collect();
        let (status, location, policy) = (response.status(), text("location"), text("content-security-policy"));
        let body = to_bytes(response.into_body(), 1 << 20).await.unwrap();
        Got { status, location, cookies, policy, html: String::from_utf8(body.to_vec()).unwrap() }
    }

    pub(super) async fn get(&self, path: &str, cookies: &str) -> Got {
        self.ask(Method::GET, path, cookies, &[]).await
    }

    /// Logs in by the form, and returns what a browser sends from then on.
    pub(super) async fn log_in(&self, token: &str, next: &str) -> (Got, String) {
        let form = self.get("/log-in", "").await;
        let own = pair(&form.cookies[0]);
        let key = form_key(&form.html);
        let fields = [("form_key", key.as_str()), ("token", token), ("next", next)];
        let got = self.ask(Method::POST, "/log-in", &own, &fields).await;
        let session = got.cookies.iter().find(|cookie| cookie.starts_with("adit_session=")).map(|cookie| pair(cookie));
        (got, session.unwrap_or_default())
    }
}

/// What a browser sends of a cookie that it was given.
fn pair(cookie: &str) -> String {
    cookie.split(';').next().unwrap().to_owned()
}

pub(super) fn form_key(html: &str) -> String {
    let (_, rest) = html.split_once("name=\"form_key\" value=\"").unwrap();
    rest.split('"').next().unwrap().to_owned()
}

/// Puts something in the place of each parameter.
fn path_of(template: &str) -> String {
    let part = |part: &str| match part {
        "{hash}" => "00".repeat(32),
        "{account}" | "{address}" => ADDRESS.to_owned(),
        part if part.starts_with('{') => "999".to_owned(),
        part => part.to_owned(),
    };
    template.split('/').map(part).collect::<Vec<_>>().join("/")
}

#[tokio::test]
async fn whoever_is_not_logged_in_is_led_to_the_log_in_and_back() {
    let fixture = Fixture::new(false).await;
    let got = fixture.get("/payouts?before=7", "").await;
    assert_eq!((got.status.as_u16(), got.location.as_str()), (303, "/log-in?next=%2Fpayouts%3Fbefore%3D7"));
    let (_, token) = fixture.token("alice", Grant::View).await;
    let (got, session) = fixture.log_in(&token, "/payouts?before=7").await;
    assert_eq!((got.status.as_u16(), got.location.as_str()), (303, "/payouts?before=7"));
    let shown = fixture.get("/payouts", &session).await;
    assert!(shown.status.is_success() && shown.html.contains("alice"), "{}", shown.html);
}

#[tokio::test]
async fn cookie_is_for_no_script_and_no_other_site_and_with_tls_for_nothing_else() {
    for has_tls in [false, true] {
        let fixture = Fixture::new(has_tls).await;
        let (_, token) = fixture.token("alice", Grant::View).await;
        let (got, _) = fixture.log_in(&token, "/").await;
        let cookie = got.cookies.iter().find(|cookie| cookie.starts_with("adit_session=")).unwrap();
        assert!(cookie.contains("; HttpOnly") && cookie.contains("; SameSite=Strict") && cookie.contains("; Path=/"));
        assert_eq!(cookie.contains("; Secure"), has_tls, "{cookie}");
        assert!(!cookie.contains(&token));
    }
}

#[tokio::test]
async fn pages_say_what_is_in_force_after_a_reload() {
    let fixture = Fixture::new(false).await;
    let (_, token) = fixture.token("alice", Grant::View).await;
    let (_, session) = fixture.log_in(&token, "/").await;
    let (own, account) = (format!("/m/{ADDRESS}"), format!("/accounts/{ADDRESS}"));
    for (threshold_sat, btc, fee_bp, fee) in
        [(100_000, "0.00100000", 100, "1\u{a0}%"), (54_321, "0.00054321", 250, "2.5\u{a0}%")]
    {
        fixture.settings.send_modify(|settings| {
            let payout = &mut Arc::make_mut(settings).payout;
            (payout.threshold, payout.fee_bp) = (bitcoin::Amount::from_sat(threshold_sat), fee_bp);
        });
        let (miner, operator) = (fixture.get(&own, "").await.html, fixture.get(&account, &session).await.html);
        assert!(miner.contains(&format!("max=\"{threshold_sat}\"")), "{miner}");
        assert!(operator.contains(btc), "{operator}");
        let start = fixture.get("/", "").await.html;
        assert!(start.contains(fee), "{start}");
    }
}

#[tokio::test]
async fn wrong_token_opens_nothing_and_is_not_repeated() {
    let fixture = Fixture::new(false).await;
    let wrong = format!("adit_{}", "0".repeat(48));
    let long = "x".repeat(10_000);
    for token in [wrong.as_str(), "", &long] {
        let (got, session) = fixture.log_in(token, "/").await;
        assert!(session.is_empty() && got.html.contains("No token in force"), "{}", got.html);
        assert!(token.is_empty() || !got.html.contains(token));
    }
}

#[tokio::test]
async fn session_ends_with_its_token_and_with_the_log_out() {
    let fixture = Fixture::new(false).await;
    let (id, token) = fixture.token("alice", Grant::View).await;
    let (_, session) = fixture.log_in(&token, "/").await;
    let (_, other) = fixture.log_in(&token, "/").await;
    let key = form_key(&fixture.get("/blocks", &session).await.html);
    let got = fixture.ask(Method::POST, "/log-out", &session, &[("form_key", &key)]).await;
    assert!(got.cookies[0].starts_with("adit_session=;") && got.cookies[0].contains("Max-Age=0"));
    assert_eq!(fixture.get("/blocks", &session).await.status, 303);
    assert_eq!(fixture.get("/blocks", &other).await.status, 200);
    fixture.store.revoke_token(id, 2).await.unwrap();
    assert_eq!(fixture.get("/blocks", &other).await.status, 303);
}

#[tokio::test]
async fn every_page_and_form_is_open_to_the_roles_of_the_api_and_to_nobody_else() {
    let fixture = Fixture::new(false).await;
    for (name, grant) in [("viewer", Grant::View), ("operator", Grant::Operate), ("admin", Grant::Administer)] {
        let (_, token) = fixture.token(name, grant).await;
        // The front door opens for everybody, on a page that suits him.
        for door in doors::DOORS.iter().filter(|door| door.path != "/") {
            let (_, session) = fixture.log_in(&token, "/").await;
            let key = form_key(&fixture.get("/blocks", &session).await.html);
            let path = path_of(door.path);
            let nobody = fixture.ask(door.method.clone(), &path, "", &[]).await;
            assert!(nobody.location.starts_with("/log-in"), "{door:?}");
            let got = fixture.ask(door.method.clone(), &path, &session, &[("form_key", &key)]).await;
            let least = doors::role_for(&door.method, door.path).unwrap();
            assert_eq!(got.status != 403, grant.role() >= least, "{name}: {door:?} is {}", got.status);
            assert!(!got.status.is_server_error(), "{name}: {door:?}: {}", got.html);
        }
    }
}

#[tokio::test]
async fn form_of_another_page_is_not_taken() {
    let fixture = Fixture::new(false).await;
    let (_, token) = fixture.token("alice", Grant::Administer).await;
    let (_, session) = fixture.log_in(&token, "/").await;
    let (_, other) = fixture.log_in(&token, "/").await;
    let key = form_key(&fixture.get("/blocks", &other).await.html);
    for fields in [&[][..], &[("form_key", "")], &[("form_key", key.as_str())]] {
        for door in doors::DOORS.iter().filter(|door| door.method == Method::POST) {
            let got = fixture.ask(Method::POST, &path_of(door.path), &session, fields).await;
            assert_eq!(got.status, 403, "{door:?} with {fields:?}");
        }
    }
    assert_eq!(fixture.get("/blocks", &session).await.status, 200, "and nothing was done");
    let without = fixture.ask(Method::POST, "/log-in", "", &[("token", &token)]).await;
    assert!(without.cookies.iter().all(|cookie| !cookie.starts_with("adit_session")), "a log-in of another site");
}

#[tokio::test]
async fn outcome_of_a_form_is_told_once_on_the_next_page() {
    let fixture = Fixture::new(false).await;
    let (_, token) = fixture.token("alice", Grant::Operate).await;
    let (_, session) = fixture.log_in(&token, "/").await;
    let key = form_key(&fixture.get("/blocks", &session).await.html);
    let got = fixture.ask(Method::POST, "/payouts/7/approve", &session, &[("form_key", &key)]).await;
    assert_eq!((got.status.as_u16(), got.location.as_str()), (303, "/payouts/7"));
    assert!(fixture.get("/blocks", &session).await.html.contains("There is no such thing"));
    assert!(!fixture.get("/blocks", &session).await.html.contains("There is no such thing"));
}

#[tokio::test]
async fn markup_in_what_others_write_stays_text() {
    let fixture = Fixture::new(false).await;
    let label = "<script>alert(1)</script>\"'&";
    let (_, token) = fixture.token(label, Grant::Administer).await;
    let (_, session) = fixture.log_in(&token, "/").await;
    // What is saved, or a script reads, names nobody.
    let is_read =
        |door: &&doors::Door| door.path.ends_with(".json") || door.path.ends_with(".csv") || door.path == doors::EVENTS;
    for door in doors::DOORS.iter().filter(|door| door.method == Method::GET && !is_read(door)) {
        let html = fixture.get(&path_of(door.path), &session).await.html;
        assert!(!html.contains("<script>alert"), "{}: {html}", door.path);
        assert!(html.contains("&#60;script&#62;") || html.contains("&lt;script&gt;"), "{}: {html}", door.path);
    }
    let next = fixture.get("/log-in?next=/%22%3E%3Cscript%3Ealert(1)%3C/script%3E", "").await.html;
    assert!(!next.contains("<script>alert"), "{next}");
}

#[tokio::test]
async fn pages_load_nothing_from_elsewhere_and_run_nothing_inline() {
    let fixture = Fixture::new(false).await;
    let (_, token) = fixture.token("alice", Grant::Administer).await;
    let (_, session) = fixture.log_in(&token, "/").await;
    let pages = doors::DOORS.iter().filter(|door| door.method == Method::GET);
    let open = ["/log-in", "/connect", "/m/nobody"].map(str::to_owned);
    let miners = MINERS_PAGES.map(|page| format!("/m/{ADDRESS}{page}")).into_iter().chain([format!("/m/{STRANGER}")]);
    let paths = pages.map(|door| path_of(door.path)).chain(open).chain(miners);
    for path in paths {
        for cookies in [session.as_str(), ""] {
            let Got { html, policy, .. } = fixture.get(&path, cookies).await;
            assert_eq!(policy, POLICY, "{path}");
            for bad in ["<script>", "<style", " style=", "javascript:", "http://", "https://", " onclick=", " onload="]
            {
                assert!(!html.contains(bad), "{path} has {bad}: {html}");
            }
        }
    }
    assert!(!POLICY.contains("unsafe") && !POLICY.contains('*'), "{POLICY}");
}

#[tokio::test]
async fn asset_is_served_as_what_it_is() {
    let fixture = Fixture::new(false).await;
    let got = fixture.get("/assets/live.js", "").await;
    assert!(got.status.is_success() && got.html.contains("data-part"), "{}", got.html);
    assert_eq!(fixture.get("/assets/../Cargo.toml", "").await.status, 404);
}

#[tokio::test]
async fn front_door_leads_miners_to_their_page_and_operators_to_the_log_in() {
    let fixture = Fixture::new(false).await;
    let got = fixture.get("/", "").await;
    assert!(got.status.is_success() && got.html.contains("action=\"/m\"") && got.html.contains("href=\"/log-in\""));
    for (named, status, location) in [
        (ADDRESS, 303, format!("/m/{ADDRESS}")),
        (&ADDRESS.to_ascii_uppercase(), 303, format!("/m/{ADDRESS}")),
        ("Farm", 303, "/m/farm".to_owned()),
        ("", 303, "/".to_owned()),
        ("%2F%2Fevil.example", 404, String::new()),
    ] {
        let got = fixture.get(&format!("/m?address={named}"), "").await;
        assert_eq!((got.status.as_u16(), got.location), (status, location), "{named}");
    }
}

#[tokio::test]
async fn miners_page_takes_no_log_in() {
    let fixture = Fixture::new(false).await;
    for page in MINERS_PAGES {
        let got = fixture.get(&format!("/m/{ADDRESS}{page}"), "").await;
        assert!([200, 404].contains(&got.status.as_u16()), "{page}: {} {}", got.status, got.html);
    }
    let got = fixture.get(&format!("/m/{ADDRESS}"), "").await;
    for text in [&format!("{ADDRESS}.rig1"), "100\u{202f}000 sat", "To be expected", "0.00000000 BTC"] {
        assert!(got.html.contains(text), "{text} is not in {}", got.html);
    }
}

#[tokio::test]
async fn address_without_a_share_shows_how_to_connect() {
    let fixture = Fixture::new(false).await;
    let got = fixture.get(&format!("/m/{STRANGER}?worker=shed"), "").await;
    assert_eq!(got.status, 200);
    assert!(got.html.contains("No share has come") && got.html.contains(&format!("{STRANGER}.shed")), "{}", got.html);
    let got = fixture.get(&format!("/m/{STRANGER}/payouts"), "").await;
    assert!(got.status == 404 && got.html.contains("No share has come"), "{}", got.html);
    assert!(fixture.store.find_account(STRANGER).await.unwrap().is_none(), "looking makes no account");
}

#[tokio::test]
async fn whoever_can_be_no_miner_has_no_page_and_is_told_why() {
    let fixture = Fixture::new(false).await;
    for (named, why) in [
        ("bc1qw508d6qejxtdg4y5r3zarvary0c5xw7kv8f3t4", "address of another network; this pool is on regtest"),
        ("bcrt1qw508d6qejxtdg4y5r3zarvary0c5xw7kygt081", "neither an address nor the name"),
        ("farm", "No account of this pool is called farm"),
        ("%3Cscript%3E", "neither an address nor the name"),
    ] {
        let got = fixture.get(&format!("/m/{named}"), "").await;
        assert!(got.status == 404 && got.html.contains(why) && !got.html.contains("<script>"), "{named}: {}", got.html);
    }
}

#[tokio::test]
async fn hidden_page_is_seen_by_its_watchers_and_by_those_who_see_all() {
    let fixture = Fixture::new(false).await;
    let own = fixture.store.find_account(ADDRESS).await.unwrap().unwrap().id;
    let stranger: bitcoin::Address<bitcoin::address::NetworkUnchecked> = STRANGER.parse().unwrap();
    let other = fixture.store.account(stranger.assume_checked_ref()).await.unwrap();
    fixture.store.name_account(own, Some(&"farm".parse().unwrap())).await.unwrap();
    fixture.store.set_page_audience(own, Audience::Watchers, 1).await.unwrap();
    let mut sessions = Vec::new();
    for (label, grant) in [("own", Grant::Watch(own)), ("other", Grant::Watch(other)), ("viewer", Grant::View)] {
        let (_, token) = fixture.token(label, grant).await;
        sessions.push(fixture.log_in(&token, "/").await.1);
    }
    for path in MINERS_PAGES.map(|page| format!("/m/{ADDRESS}{page}")).into_iter().chain(["/m/farm".to_owned()]) {
        let nobody = fixture.get(&path, "").await;
        assert!(nobody.status == 303 && nobody.location.starts_with("/log-in?next=%2Fm%2F"), "{path}");
        let statuses = [&sessions[0], &sessions[1], &sessions[2]].map(|session| fixture.get(&path, session));
        let [own, other, viewer] = futures_util::future::join_all(statuses).await.try_into().ok().unwrap();
        assert!([200, 404].contains(&own.status.as_u16()), "{path}: {}", own.html);
        assert!(other.status == 403 && !other.html.contains("rig1"), "{path}: {}", other.html);
        assert!([200, 404].contains(&viewer.status.as_u16()), "{path}: {}", viewer.html);
    }
    // One page is hidden, and no other.
    assert_eq!(fixture.get(&format!("/m/{STRANGER}"), "").await.status, 200);
    fixture.store.set_page_audience(own, Audience::Public, 2).await.unwrap();
    assert_eq!(fixture.get(&format!("/m/{ADDRESS}"), "").await.status, 200);
}

#[tokio::test]
async fn watcher_is_at_home_on_the_page_of_the_account_and_sees_no_dashboard() {
    let fixture = Fixture::new(false).await;
    let own = fixture.store.find_account(ADDRESS).await.unwrap().unwrap().id;
    let (_, token) = fixture.token("watcher", Grant::Watch(own)).await;
    let (got, session) = fixture.log_in(&token, "").await;
    assert_eq!((got.location.as_str(), session.is_empty()), ("/", false));
    let home = fixture.get("/", &session).await;
    assert_eq!((home.status.as_u16(), home.location), (303, format!("/m/{ADDRESS}")));
    for door in doors::DOORS.iter().filter(|door| door.path != "/") {
        let got = fixture.ask(door.method.clone(), &path_of(door.path), &session, &[]).await;
        assert_eq!(got.status, 403, "{door:?}");
    }
    let page = fixture.get(&format!("/m/{ADDRESS}"), &session).await;
    assert!(!page.html.contains("href=\"/payouts\""), "a way that leads nowhere: {}", page.html);
    let key = form_key(&page.html);
    let got = fixture.ask(Method::POST, "/log-out", &session, &[("form_key", &key)]).await;
    assert_eq!((got.status.as_u16(), got.location.as_str()), (303, "/log-in"));
    assert_eq!(fixture.get("/", &session).await.status, 200, "the front door of whoever is not logged in");
}

#[tokio::test]
async fn ledger_of_a_month_is_a_table() {
    let fixture = Fixture::new(false).await;
    let got = fixture.get(&format!("/m/{ADDRESS}/ledger.csv?year=2026&month=10"), "").await;
    assert_eq!(
        (got.status.as_u16(), got.html.as_str()),
        (200, "time_utc,entry,line,kind,key,account,movement_sat\r\n")
    );
    assert_eq!(fixture.get(&format!("/m/{ADDRESS}/ledger.csv?year=2026&month=13"), "").await.status, 422);
    assert_eq!(fixture.get(&format!("/m/{STRANGER}/ledger.csv?year=2026"), "").await.status, 404);
}

#[tokio::test]
async fn code_of_the_url_is_an_image_of_our_own() {
    let fixture = Fixture::new(false).await;
    let got = fixture.get("/connect/qr.svg", "").await;
    assert!(got.status.is_success() && got.html.starts_with("<svg"), "{}", got.html);
}

#[tokio::test]
async fn test_of_a_device_begins_where_the_browser_can_load_it_again() {
    let fixture = Fixture::new(false).await;
    let begun = fixture.get(&format!("/m/{STRANGER}/test"), "").await;
    assert!(begun.status == 303 && begun.location.starts_with(&format!("/m/{STRANGER}/test?since=0&at=")));
    let page = fixture.get(&begun.location, "").await;
    for text in ["http-equiv=\"refresh\"", "data-events=\"/m/", "First share", &format!("{STRANGER}.rig1")] {
        assert!(page.html.contains(text), "{text} is not in {}", page.html);
    }
    let over = fixture.get(&format!("/m/{STRANGER}/test?since=0&at=0"), "").await;
    assert!(over.html.contains("The test is over") && !over.html.contains("http-equiv"), "{}", over.html);
    assert_eq!(fixture.get(&format!("/m/{STRANGER}/test/events?since=0&at=0"), "").await.status, 204);
}

#[tokio::test]
async fn past_that_a_chart_draws_is_open_like_the_page_that_it_is_on() {
    let fixture = Fixture::new(false).await;
    let (_, token) = fixture.token("alice", Grant::View).await;
    let (_, session) = fixture.log_in(&token, "/").await;
    let got = fixture.get("/history.json?span=1y", &session).await;
    assert!(got.status.is_success() && got.html.contains("\"span\":\"1y\""), "{}", got.html);
    assert!(fixture.get("/", &session).await.html.contains("data-chart=\"/history.json\""));
    let path = format!("/m/{ADDRESS}/history.json");
    for (query, status) in [("", 200), ("?span=5m", 200), ("?worker=nobody", 404), ("?span=2h", 400)] {
        assert_eq!(fixture.get(&format!("{path}{query}"), "").await.status, status, "{query}");
    }
    assert_eq!(fixture.get(&format!("/m/{STRANGER}/history.json"), "").await.status, 404);
    assert!(fixture.get(&format!("/m/{ADDRESS}"), "").await.html.contains(&format!("data-chart=\"{path}\"")));
}

#[tokio::test]
async fn refused_shares_and_the_best_outlast_the_channels_that_they_came_from() {
    let fixture = Fixture::new(false).await;
    let account = fixture.store.find_account(ADDRESS).await.unwrap().unwrap().id;
    let now_ms = jiff::Timestamp::now().as_millisecond();
    // A day's best and some refusals, and before that better and more.
    for (ago_ms, code, best) in
        [(3_600_000, "stale-share", 1_234.0), (48 * 3_600_000, "time-out-of-range", 7_654_321.0)]
    {
        let stretch = |resolution: Resolution| Stretch {
            resolution,
            begins_at_ms: resolution.begin_of(now_ms - ago_ms),
            subject: Subject::Account(account),
        };
        let refused = Resolution::ALL.map(|it| RefusedRow { stretch: stretch(it), code: code.to_owned(), count: 42 });
        let peaks = Peaks { channels: 1, best };
        let peaks = Resolution::ALL.map(|it| PeakRow { stretch: stretch(it), peaks });
        fixture.store.add_to_history(&refused, &peaks).await.unwrap();
    }
    let page = fixture.get(&format!("/m/{ADDRESS}"), "").await.html;
    for text in [
        "id=\"best-24h\">difficulty 1\u{202f}234<",
        "id=\"best-kept\">difficulty 7\u{202f}654\u{202f}321<",
        "id=\"judged-24h\">0 accepted, 42 refused: 100\u{a0}%<",
        "<code>stale-share</code></th><td class=\"number\">42</td><td class=\"number\">0</td>",
        "look at the network&#39;s delay to the pool",
    ] {
        assert!(page.contains(text), "{text} is not in {page}");
    }
    assert!(!page.contains("invalid-share"), "what was refused before the last day: {page}");
}

#[tokio::test]
async fn statement_of_a_period_is_asked_for_as_a_file_of_its_kind_by_whoever_is_logged_in() {
    let fixture = Fixture::new(false).await;
    let (_, token) = fixture.token("alice", Grant::View).await;
    let (_, session) = fixture.log_in(&token, "/").await;
    let nobody = fixture.get(&format!("/m/{ADDRESS}/statement?period=2026-10&as=csv"), "").await;
    assert!(nobody.status == 303 && nobody.location.starts_with("/log-in?next="), "{}", nobody.location);
    for (query, status) in [
        ("period=2026-10&as=csv", 404),
        ("period=2026-10&as=exe", 422),
        ("period=October&as=csv", 422),
        ("as=csv", 422),
    ] {
        let got = fixture.get(&format!("/m/{ADDRESS}/statement?{query}"), &session).await;
        assert_eq!(got.status.as_u16(), status, "{query}: {}", got.html);
    }
}
