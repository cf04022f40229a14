//! The export register by the API, over a store of its own: reports, and what is declared and closed.

use jiff::Timestamp;
use payouts::export::rules::{period::Period, profile::CountryProfile, source_file::FileHash};

use super::*;

/// A client with the role of an operator, and periods of the profile of the settings.
struct Operator {
    fixture: Fixture,
    token: String,
}

impl Operator {
    async fn new() -> Operator {
        let fixture = Fixture::new().await;
        let (_, token) = fixture.token("alice", Grant::Operate).await;
        Operator { fixture, token }
    }

    async fn get(&self, path: &str) -> Value {
        let (status, body) = self.fixture.get(path, Some(&self.token)).await;
        assert_eq!(status, 200, "{path}: {body}");
        body
    }

    async fn post(&self, path: &str, body: Value) -> (u16, Value) {
        let (status, body) = self.fixture.ask(&Method::POST, path, Some(&self.token), &[], body).await;
        (status.as_u16(), body)
    }

    async fn reports(&self, period: Period, more: &str) -> Value {
        self.get(&format!("/api/v1/exports/reports?period={period}{more}")).await
    }

    async fn declare(&self, reports: &Value, declaration: &str) -> (u16, Value) {
        let body = json!({
            "period": reports["period"],
            "edition": reports["edition"],
            "manifest_sha256": reports["manifest_sha256"],
            "declaration": declaration,
            "authority": "Tax Office",
        });
        self.post("/api/v1/exports/periods/declare", body).await
    }

    async fn close(&self, period: Period) -> (u16, Value) {
        self.post("/api/v1/exports/periods/close", json!({"period": period})).await
    }
}

fn this_month() -> Period {
    let profile = CountryProfile::shipped(CountryProfile::DEFAULT).unwrap();
    profile.period_at(Timestamp::now().as_millisecond()).unwrap()
}

#[tokio::test]
async fn files_of_an_edition_are_those_of_its_manifest() {
    let operator = Operator::new().await;
    let month = this_month();
    let reports = operator.reports(month, "&limit=1000").await;
    assert!(reports["notes"].to_string().contains("is not over"), "{reports}");
    let files = reports["items"].as_array().unwrap();
    assert!(files.iter().any(|file| file["name"] == "manifest.json") && files.len() > 3, "{reports}");
    for file in files {
        let (name, edition) = (file["name"].as_str().unwrap(), reports["edition"].as_str().unwrap());
        let path = format!("/api/v1/exports/reports/neutral/{month}/{name}?edition={edition}");
        let response = operator.fixture.response(&Method::GET, &path, Some(&operator.token), &[], Value::Null).await;
        assert_eq!(response.status(), 200, "{path}");
        let headers = response.headers().clone();
        assert_eq!(headers["content-disposition"], format!("attachment; filename=\"{name}\"").as_str());
        assert_eq!(headers["content-type"], crate::register::media_type(name));
        let bytes = to_bytes(response.into_body(), 1 << 20).await.unwrap();
        assert_eq!(
            (bytes.len() as u64, FileHash::of(&bytes).to_string().as_str()),
            (file["bytes"].as_u64().unwrap(), file["sha256"].as_str().unwrap())
        );
    }
    // Each went out on record, because any may name people.
    let (_, admin) = operator.fixture.token("root", Grant::Administer).await;
    let (_, audit) = operator.fixture.get("/api/v1/audit?action=download&limit=1000", Some(&admin)).await;
    let rows = audit["items"].as_array().unwrap();
    assert_eq!(rows.len(), files.len());
    let manifest = rows.iter().find(|row| row["action"] == format!("download manifest.json of {month} of neutral"));
    let manifest = manifest.unwrap();
    assert!(manifest["actor"].as_str().unwrap().contains("(alice)") && manifest["outcome"] == "done", "{manifest}");
    // The same set in pages.
    let again = operator.reports(month, &format!("&limit=2&edition={}", reports["edition"].as_str().unwrap())).await;
    assert_eq!((&again["manifest_sha256"], &again["next"]), (&reports["manifest_sha256"], &json!("2")));
    assert_eq!(again["items"].as_array().unwrap()[..], files[..2]);
}

#[tokio::test]
async fn reports_are_not_made_anew_while_nothing_is_added_to_the_records() {
    let operator = Operator::new().await;
    let (month, last) = (this_month(), this_month().previous().unwrap());
    let first = operator.reports(month, "").await;
    assert_eq!(operator.reports(month, "").await, first, "made anew, they would be of another edition");
    let other = operator.reports(last, "").await;
    assert_ne!(other["edition"], first["edition"]);
    assert_eq!(operator.declare(&other, "D-1").await.0, 200);
    let second = operator.reports(month, "").await;
    assert_ne!(second["edition"], first["edition"], "the journal has a row more");
    // The set of before, made again with what is known now.
    let before = operator.reports(month, &format!("&edition={}", first["edition"].as_str().unwrap())).await;
    assert_eq!((&before["edition"], &before["manifest_sha256"]), (&first["edition"], &first["manifest_sha256"]));
}

#[tokio::test]
async fn reports_that_there_cannot_be_are_refused() {
    let operator = Operator::new().await;
    let month = this_month();
    for (path, status) in [
        ("reports?period=2026-13".to_owned(), 400),
        ("reports?period=2026".to_owned(), 422),
        (format!("reports?period={month}&profile=atlantis"), 404),
        (format!("reports?period={month}&edition=1.2.3"), 400),
        (format!("reports?period={month}&edition=0.7.0.0"), 409),
        (format!("reports?period={month}&limit=0"), 422),
        (format!("reports/neutral/{month}/nothing.csv"), 404),
        (format!("reports/neutral/{month}/..%2Fmanifest.json"), 404),
    ] {
        let (got, problem) = operator.fixture.get(&format!("/api/v1/exports/{path}"), Some(&operator.token)).await;
        assert_eq!(got.as_u16(), status, "{path}: {problem}");
    }
}

#[tokio::test]
async fn records_are_asked_for_by_what_there_can_be() {
    let operator = Operator::new().await;
    let month = this_month();
    let txid = "00".repeat(32);
    for (query, status) in [
        (format!("period={month}&state=DELIVERED&account={OWN}&party=1&txid={txid}&order=newest"), 200),
        (format!("period={month}&profile=neutral&from_ms=0&until_ms=1"), 200),
        ("state=LOST".to_owned(), 422),
        ("txid=x".to_owned(), 422),
        ("period=2026-13".to_owned(), 400),
        ("profile=neutral".to_owned(), 422),
        (format!("period={month}&profile=atlantis"), 404),
        ("account=nobody".to_owned(), 404),
        ("order=best".to_owned(), 400),
        ("owner=1".to_owned(), 400),
    ] {
        let path = format!("/api/v1/exports/records?{query}");
        let (got, page) = operator.fixture.get(&path, Some(&operator.token)).await;
        assert_eq!(got.as_u16(), status, "{path}: {page}");
        if status == 200 {
            assert_eq!(page, json!({"items": [], "next": null}), "{path}");
        }
    }
}

#[tokio::test]
async fn period_is_declared_by_what_was_handed_in_and_closed_for_ever() {
    let operator = Operator::new().await;
    let last = this_month().previous().unwrap();
    assert_eq!(operator.close(last).await.0, 404, "it was not declared");
    let early = operator.reports(this_month(), "").await;
    let (status, problem) = operator.declare(&early, "D-1").await;
    assert!(status == 409 && problem["detail"].as_str().unwrap().contains("is not over"), "{problem}");

    let reports = operator.reports(last, "").await;
    assert_eq!((&reports["faults"], &reports["totals"]["delivered"]), (&json!([]), &json!(0)));
    let mut other = reports.clone();
    other["manifest_sha256"] = early["manifest_sha256"].clone();
    let (status, problem) = operator.declare(&other, "D-1").await;
    assert!(status == 409 && problem["detail"].as_str().unwrap().contains("of another edition"), "{problem}");
    for already in [false, true] {
        let (status, change) = operator.declare(&reports, "D-1").await;
        assert_eq!((status, &change["already"], &change["declaration"]), (200, &json!(already), &json!("D-1")));
    }
    let again = operator.reports(last, "").await;
    assert_ne!(again["edition"], reports["edition"], "until it is closed, all records count");
    assert!(again["notes"].to_string().contains("was declared as D-1 to Tax Office"), "{again}");
    for already in [false, true] {
        let (status, change) = operator.close(last).await;
        assert_eq!((status, &change["already"]), (200, &json!(already)));
    }
    let closed = operator.reports(last, "").await;
    assert_eq!((&closed["edition"], &closed["manifest_sha256"]), (&reports["edition"], &reports["manifest_sha256"]));
    assert_eq!(operator.declare(&again, "D-2").await.0, 409, "nothing is declared any more");

    let periods = operator.get("/api/v1/exports/periods").await;
    let states: Vec<_> =
        periods["items"].as_array().unwrap().iter().map(|it| (it["period"].clone(), it["state"].clone())).collect();
    let label = |period: Period| json!(period.to_string());
    assert_eq!(states, [(label(last), json!("CLOSED")), (label(this_month()), json!("OPEN"))]);
    assert_eq!(periods["items"][0]["declaration"]["by"], "alice");
    let (_, admin) = operator.fixture.token("root", Grant::Administer).await;
    let audit = operator.fixture.get("/api/v1/audit", Some(&admin)).await.1.to_string();
    assert!(audit.contains("by alice") && audit.contains("close ") && audit.contains("declare "), "{audit}");
}

#[test]
fn document_says_what_a_party_is() {
    let party: payouts::export::party::Party = serde_json::from_value(json!({
        "kind": "natural", "legal_name": "A", "other_names": ["B"], "residency": "NO", "address": "C",
        "birth_date": "1980-01-31", "tax_ids": [{"value": "1", "issued_by": "NO"}],
        "registrations": [{"authority": "D", "number": "2", "date": "2026-01-31"}], "lei": "E", "bic": "F",
        "is_casp": false,
    }))
    .unwrap();
    let names = |value: &Value| value.as_object().unwrap().keys().cloned().collect::<Vec<_>>();
    let (mut known, mut described) =
        (names(&json!(party)), names(&openapi::document()["components"]["schemas"]["PartyData"]["properties"]));
    known.sort();
    described.sort();
    assert_eq!(known, described);
}
