//! The pages of the register, of screening, of sales and of parties.

use jiff::Timestamp;
use payouts::export::{
    party::{Party, PartyId},
    rules::{period::Period, profile::CountryProfile},
    screened::Evidence,
};
use payouts::store::{AuditFilter, SearchStore};

use super::*;
use crate::operations::{
    Request as Asked,
    party::PartyReport,
    sale::{OfferReport, SaleReport},
    screening::{FindingReport, ListReport, ScreenedText, ScreeningReport},
};

/// Somebody who is logged in.
struct Browser {
    fixture: Fixture,
    session: String,
    key: String,
}

impl Browser {
    async fn of(fixture: Fixture, grant: Grant) -> Browser {
        let (_, token) = fixture.token("alice", grant).await;
        let (_, session) = fixture.log_in(&token, "/").await;
        let key = form_key(&fixture.get("/blocks", &session).await.html);
        Browser { fixture, session, key }
    }

    async fn see(&self, path: &str) -> String {
        let got = self.fixture.get(path, &self.session).await;
        assert_eq!(got.status, 200, "{path}: {}", got.html);
        got.html
    }

    /// Sends a form, and returns the page that it leads to.
    async fn send(&self, path: &str, fields: &[(&str, &str)]) -> String {
        let fields = [fields, &[("form_key", self.key.as_str())]].concat();
        let got = self.fixture.ask(Method::POST, path, &self.session, &fields).await;
        assert_eq!(got.status, 303, "{path}: {}", got.html);
        self.see(&got.location).await
    }
}

fn this_month() -> Period {
    let profile = CountryProfile::shipped(CountryProfile::DEFAULT).unwrap();
    profile.period_at(Timestamp::now().as_millisecond()).unwrap()
}

/// What stands between two texts.
fn between<'a>(html: &'a str, begin: &str, end: &str) -> &'a str {
    html.split_once(begin)
        .and_then(|(_, rest)| rest.split_once(end))
        .unwrap_or_else(|| panic!("no {begin} in {html}"))
        .0
}

#[tokio::test]
async fn period_is_declared_and_closed_after_a_page_that_asks() {
    let browser = Browser::of(Fixture::new(false).await, Grant::Operate).await;
    let last = this_month().previous().unwrap();
    assert!(browser.see("/register/periods").await.contains("OPEN"));
    let path = format!("/register/reports/neutral/{last}");
    let reports = browser.see(&path).await;
    let file = between(&reports, "<th scope=\"row\"><a href=\"", "\"").to_owned();
    assert!(file.contains("/files/manifest.json?edition="), "{file}");
    let manifest = browser.see(&file).await;
    let downloads = AuditFilter { action: "download".to_owned(), ..AuditFilter::default() };
    let rows = browser.fixture.store.audit_where(&downloads, None, 10).await.unwrap();
    assert!(rows.len() == 1 && rows[0].actor.contains("(alice)"), "{rows:?}");
    let hash = payouts::export::rules::source_file::FileHash::of(manifest.as_bytes()).to_string();
    assert!(reports.contains(&hash), "{reports}");

    let ask = between(&reports, "class=\"button\" href=\"", "\"").replace("&amp;", "&");
    let asked = browser.see(&ask).await;
    let field = |name: &str| between(&asked, &format!("name=\"{name}\" value=\""), "\"").to_owned();
    let (edition, manifest_sha256) = (field("edition"), field("manifest_sha256"));
    assert_eq!(manifest_sha256, hash);
    let fields = [
        ("edition", edition.as_str()),
        ("manifest_sha256", &manifest_sha256),
        ("declaration", "D-1"),
        ("authority", "Tax Office"),
    ];
    let told = browser.send(&format!("{path}/declare"), &fields).await;
    assert!(
        told.contains("was declared.") && told.contains("DECLARED") && told.contains("D-1 to Tax Office"),
        "{told}"
    );
    assert!(browser.see(&format!("{path}/close")).await.contains("cannot be taken back"));
    let told = browser.send(&format!("{path}/close"), &[]).await;
    assert!(told.contains("stays as it was declared") && told.contains("CLOSED"), "{told}");
    let amended = [fields[0], fields[1], ("declaration", "D-2"), fields[3]];
    let again = browser.send(&format!("{path}/declare"), &amended).await;
    assert!(again.contains("corrected in the open period"), "{again}");
    assert_eq!(browser.fixture.get(&format!("{path}/close"), &browser.session).await.status, 409);
    assert_eq!(browser.see(&file).await, manifest, "an edition stays what it was");
}

#[tokio::test]
async fn viewer_sees_periods_and_neither_files_nor_parties() {
    let browser = Browser::of(Fixture::new(false).await, Grant::View).await;
    let month = this_month();
    let periods = browser.see("/register/periods").await;
    assert!(periods.contains("OPEN") && !periods.contains("/register/reports/"), "{periods}");
    let register = browser.see(&format!("/register?period={month}&state=DELIVERED")).await;
    assert!(register.contains("There are none") && !register.contains("/register/reports/"), "{register}");
    for path in [format!("/register/reports/neutral/{month}"), "/parties".to_owned(), "/parties/1".to_owned()] {
        assert_eq!(browser.fixture.get(&path, &browser.session).await.status, 403, "{path}");
    }
}

#[tokio::test]
async fn records_that_cannot_be_asked_for_are_refused_in_words() {
    let browser = Browser::of(Fixture::new(false).await, Grant::View).await;
    for (path, status) in [
        ("/register/7", 404),
        ("/register/x", 404),
        ("/register?period=2026-13", 422),
        ("/register?state=LOST", 422),
        ("/register?txid=x", 422),
        ("/register?party=x", 422),
        ("/register?account=nobody", 404),
        ("/register?before=x", 422),
    ] {
        let got = browser.fixture.get(path, &browser.session).await;
        assert_eq!(got.status.as_u16(), status, "{path}: {}", got.html);
    }
}

fn evidence() -> Evidence {
    Evidence {
        reason: "SIMILAR_NAME".to_owned(),
        score_bp: Some(9_105),
        source: "ofac-sdn".to_owned(),
        sha256: "00".repeat(32),
        publication_date: None,
        entry_count: 2,
        uid: "17".to_owned(),
        party: "EXAMPLE <b>TRADING</b>".to_owned(),
        programmes: vec!["TEST".to_owned()],
        label: None,
        listed: "EXAMPLE TRADING".to_owned(),
    }
}

fn screening(request: &Asked) -> Option<Outcome> {
    let list = |source: &str, standing: &str, is_shrunken| ListReport {
        source: source.to_owned(),
        standing: standing.to_owned(),
        is_shrunken,
        fetched_at_ms: Some(1),
        publication_date: Some("2026-11-20".to_owned()),
        entry_count: 2,
        address_count: 1,
        warning_count: 0,
    };
    match request {
        Asked::Screening => Some(Outcome::Screening(ScreeningReport {
            nothing_is_paid: Some("list eu-fsf is shrunken".to_owned()),
            lists: vec![list("ofac-sdn", "usable", false), list("eu-fsf", "shrunken: 1 entries", true)],
            findings: vec![FindingReport {
                address: ADDRESS.to_owned(),
                outcome: "HELD".to_owned(),
                evidence: vec![evidence()],
                missing: vec!["residency".to_owned()],
                row: 9,
                first_review_by: Some("bob".to_owned()),
            }],
        })),
        Asked::Screen { text } => Some(Outcome::Screened(ScreenedText {
            text: text.to_string(),
            is_address: false,
            outcome: "HELD".to_owned(),
            evidence: vec![evidence()],
            unusable: None,
        })),
        _ => None,
    }
}

#[tokio::test]
async fn screening_says_whom_lists_restrain_and_asks_operators_alone_what_to_do() {
    let viewer = Browser::of(Fixture::with_desk(false, screening).await, Grant::View).await;
    let html = viewer.see("/screening").await;
    for said in ["Nothing is paid. List eu-fsf is shrunken", "A listed party has a name like it (91.05 %)", "bob would"]
    {
        assert!(html.contains(said), "{said} is not in {html}");
    }
    assert!(!html.contains("<b>TRADING") && !html.contains("/screening/release") && !html.contains("/accept\""));
    let operator = Browser::of(Fixture::with_desk(false, screening).await, Grant::Operate).await;
    let html = operator.see("/screening").await;
    assert!(html.contains("/screening/release") && html.contains("/screening/lists/eu-fsf/accept"), "{html}");
    assert!(!html.contains("/screening/lists/ofac-sdn/accept"), "{html}");
    let fields = [("form_key", operator.key.as_str()), ("text", "Example Trading")];
    let got = operator.fixture.ask(Method::POST, "/screening/check", &operator.session, &fields).await;
    assert!(got.status == 200 && got.html.contains("The name <code>Example Trading</code> is"), "{}", got.html);
    let told = operator.send("/screening/release", &[("account", ADDRESS), ("text", "x")]).await;
    assert!(told.contains("<p>Choose a reason</p>"), "{told}");
}

fn sales(request: &Asked) -> Option<Outcome> {
    let offer = OfferReport {
        quote: "Q1".to_owned(),
        desk_party: "1".to_owned(),
        address: ADDRESS.to_owned(),
        price: "70000".to_owned(),
        currency: "USD".to_owned(),
        fee: "42.00".to_owned(),
        expires_at_ms: 1,
    };
    let sale = |name: &str, state: &str, offer| SaleReport {
        sale: name.to_owned(),
        state: state.to_owned(),
        sat: 120_000_000,
        offer,
        ..SaleReport::default()
    };
    let all = || vec![sale("2026/11 a", "DRAFT", None), sale("b", "QUOTED", Some(offer))];
    matches!(request, Asked::Sales).then(|| Outcome::Sales(all()))
}

#[tokio::test]
async fn sale_shows_its_steps_and_the_one_that_comes_next() {
    let browser = Browser::of(Fixture::with_desk(false, sales).await, Grant::Operate).await;
    let html = browser.see("/sales").await;
    assert!(html.contains("/sales/2026%2F11%20a") && html.contains("1.20000000"), "{html}");
    let html = browser.see("/sales/2026%2F11%20a").await;
    assert!(html.contains("action=\"/sales/2026%2F11%20a/quote\"") && !html.contains("/accept\""), "{html}");
    let html = browser.see("/sales/b").await;
    assert!(html.contains("action=\"/sales/b/accept\"") && html.contains("70000 USD"), "{html}");
    assert!(html.contains(">over<") && html.contains("action=\"/sales/b/cancel\""), "{html}");
    let told = browser.send("/sales/2026%2F11%20a/quote", &[("quote", "Q1")]).await;
    assert!(told.contains("is missing"), "{told}");
    let told = browser.send("/sales", &[("sale", "c"), ("amount", "0.000000001")]).await;
    assert!(told.contains("mount"), "{told}");
    let viewer = Browser::of(Fixture::with_desk(false, sales).await, Grant::View).await;
    assert!(!viewer.see("/sales/b").await.contains("<form method=\"post\" action=\"/sales"));
}

fn parties(request: &Asked) -> Option<Outcome> {
    let party: Party =
        serde_json::from_value(serde_json::json!({"kind": "legal", "legal_name": "A & B", "residency": "NO"})).unwrap();
    match request {
        Asked::Parties => Some(Outcome::Parties(vec![PartyReport {
            party: PartyId::new(1),
            kind: "legal".to_owned(),
            residency: "NO".to_owned(),
            legal_name: Some("A & B".to_owned()),
            is_erased: false,
            accounts: 2,
        }])),
        Asked::Party { .. } => Some(Outcome::Party(Box::new(party))),
        Asked::SetParty { party, data, by } => {
            assert_eq!((data.residency.to_string().as_str(), by.as_str()), ("SE", "alice"));
            Some(Outcome::PartySet(party.unwrap_or(PartyId::new(2))))
        }
        _ => None,
    }
}

#[tokio::test]
async fn party_is_corrected_in_the_form_that_shows_it() {
    let browser = Browser::of(Fixture::with_desk(false, parties).await, Grant::Operate).await;
    assert!(browser.see("/parties").await.contains("<a href=\"/parties/1\">A &#38; B</a>"));
    assert!(browser.see("/parties/1").await.contains("value=\"NO\""));
    let fields = [("kind", "legal"), ("legal_name", "A & B"), ("residency", "SE")];
    let told = browser.send("/parties/1", &fields).await;
    assert!(told.contains("Party 1 is known"), "{told}");
    assert!(browser.send("/parties", &fields).await.contains("Party 2 is known."));
    assert!(browser.send("/parties", &fields[1..]).await.contains("Choose whether it is a person"));
}
