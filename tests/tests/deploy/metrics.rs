//! Alerts and dashboard: all that they ask for is counted, and each alert says where to read on.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::{path, read, yaml};

const ALERTS: &str = "deploy/prometheus/alerts.yml";
const DASHBOARD: &str = "deploy/grafana/adit.json";

/// The types of all metrics that `docs/metrics.md` names; a test of the pool holds that page to what is counted.
fn documented() -> BTreeMap<String, String> {
    let page = read("docs/metrics.md");
    let rows = page.lines().filter_map(|line| line.strip_prefix("| `adit_"));
    let rows = rows.map(|row| {
        let (name, rest) = row.split_once("` | ").unwrap();
        (format!("adit_{name}"), rest.split_once(" |").unwrap().0.to_owned())
    });
    rows.collect()
}

/// The metrics that an expression asks for.
fn asked_for(expression: &str) -> BTreeSet<&str> {
    let is_of_name = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == ':';
    expression.split(|c| !is_of_name(c)).filter(|word| word.starts_with("adit_")).collect()
}

/// Says which of the metrics that an expression asks for do not exist.
fn unknown(expression: &str, documented: &BTreeMap<String, String>) -> Vec<String> {
    let exists = |name: &str| {
        let of_histogram = ["_bucket", "_sum", "_count"].iter().find_map(|end| name.strip_suffix(end));
        match of_histogram.and_then(|base| documented.get(base)) {
            Some(kind) => kind == "histogram",
            // A histogram itself has no series.
            None => documented.get(name).is_some_and(|kind| kind != "histogram"),
        }
    };
    asked_for(expression).into_iter().filter(|name| !exists(name)).map(str::to_owned).collect()
}

/// The headings of a page as links name them.
fn anchors(page: &str) -> BTreeSet<String> {
    let headings = page.lines().filter_map(|line| line.strip_prefix("## "));
    headings.map(|heading| heading.trim().to_lowercase().replace(' ', "-")).collect()
}

#[test]
fn unknown_metric_is_found_in_an_expression() {
    let documented: BTreeMap<_, _> =
        [("adit_a_seconds", "histogram"), ("adit_b", "gauge")].map(|(a, b)| (a.to_owned(), b.to_owned())).into();
    let unknown = |expression: &str| unknown(expression, &documented);
    assert_eq!(unknown("rate(adit_a_seconds_bucket[5m]) > adit_b{x=\"1\"}"), [""; 0]);
    assert_eq!(
        unknown("adit_b_count + adit_a_seconds / adit_c_total"),
        ["adit_a_seconds", "adit_b_count", "adit_c_total"]
    );
}

#[test]
fn every_alert_is_about_metrics_that_exist_and_says_what_to_do() {
    let (alerts, documented) = (yaml(ALERTS), documented());
    let runbook = path("docs/runbook.md").exists().then(|| anchors(&read("docs/runbook.md")));
    let (mut names, mut wrong) = (BTreeSet::new(), Vec::new());
    for group in alerts["groups"].as_vec().unwrap() {
        for rule in group["rules"].as_vec().unwrap() {
            let name = rule["alert"].as_str().unwrap();
            assert!(names.insert(name) && name.starts_with("Adit"), "{name}");
            let expression = rule["expr"].as_str().unwrap();
            wrong.extend(unknown(expression, &documented).into_iter().map(|metric| format!("{name}: no {metric}")));
            assert!(["warning", "critical"].contains(&rule["labels"]["severity"].as_str().unwrap()), "{name}");
            for annotation in ["summary", "description"] {
                assert!(!rule["annotations"][annotation].as_str().unwrap().is_empty(), "{name}");
            }
            let url = rule["annotations"]["runbook_url"].as_str().unwrap();
            let anchor = url.strip_prefix("docs/runbook.md#").unwrap_or_else(|| panic!("{name}: {url}"));
            if runbook.as_ref().is_some_and(|anchors| !anchors.contains(anchor)) {
                wrong.push(format!("{name}: the runbook has no section {anchor}"));
            }
        }
    }
    assert!(names.len() > 20, "{names:?}");
    assert_eq!(wrong, [""; 0]);
}

#[test]
fn every_panel_of_the_dashboard_shows_metrics_that_exist() {
    let (dashboard, documented): (Value, _) = (serde_json::from_str(&read(DASHBOARD)).unwrap(), documented());
    let (mut ids, mut shown, mut wrong) = (BTreeSet::new(), BTreeSet::new(), Vec::new());
    for panel in dashboard["panels"].as_array().unwrap() {
        assert!(ids.insert(panel["id"].as_u64().unwrap()), "{panel}");
        let title = panel["title"].as_str().unwrap();
        let targets = panel["targets"].as_array().map_or(&[][..], Vec::as_slice);
        assert_eq!(targets.is_empty(), panel["type"] == "row", "{title}");
        for target in targets {
            let expression = target["expr"].as_str().unwrap();
            assert!(!asked_for(expression).is_empty(), "{title}: {expression}");
            assert_eq!(target["datasource"]["uid"], "${datasource}", "{title}");
            wrong.extend(unknown(expression, &documented).into_iter().map(|metric| format!("{title}: no {metric}")));
            shown.extend(asked_for(expression).into_iter().map(str::to_owned));
        }
    }
    assert_eq!(wrong, [""; 0]);
    let is_shown = |name: &String| shown.iter().any(|shown| shown.starts_with(name.as_str()));
    let missing: Vec<_> = documented.keys().filter(|name| !is_shown(name)).collect();
    assert_eq!(missing, ["adit_start_time_seconds", "adit_template_height"], "the dashboard shows all but these");
}
