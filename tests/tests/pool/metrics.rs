//! What a running pool counts is what `docs/metrics.md` says.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::Path,
};

use tests::adit::Pool;

use crate::site::{PATIENCE, Site, eventually_or, extended, standard};

/// The page, in the project's folder.
const PAGE: &str = "docs/metrics.md";
/// What can be a label: nothing of which there are as many as there are miners.
const LABELS: [&str; 10] = ["code", "kind", "list", "method", "node", "reason", "result", "state", "task", "version"];

/// A metric, as Prometheus names it.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
struct Described {
    kind: String,
    labels: BTreeSet<String>,
    meaning: String,
}

/// Reads what the pool shows.
fn shown(pool: &Pool) -> BTreeMap<String, Described> {
    let text = pool.ask(&["metrics"]).unwrap();
    let mut shown = BTreeMap::<String, Described>::new();
    for line in text.lines().filter(|line| *line != "# EOF") {
        if let Some(help) = line.strip_prefix("# HELP ") {
            let (name, meaning) = help.split_once(' ').unwrap();
            shown.entry(name.to_owned()).or_default().meaning = meaning.trim_end_matches('.').to_owned();
        } else if let Some(kind) = line.strip_prefix("# TYPE ") {
            let (name, kind) = kind.split_once(' ').unwrap();
            shown.entry(name.to_owned()).or_default().kind = kind.to_owned();
        } else if !line.starts_with('#') {
            let (series, _) = line.rsplit_once(' ').unwrap();
            let (name, labels) = series.split_once('{').unwrap_or((series, ""));
            let base = ["_total", "_bucket", "_count", "_sum"].iter().find_map(|end| name.strip_suffix(end));
            let base = base.filter(|base| shown.contains_key(*base)).unwrap_or(name);
            let keys = labels.split(',').filter_map(|label| label.split_once('=')).map(|(key, _)| key.to_owned());
            let metric = shown.get_mut(base).unwrap_or_else(|| panic!("{line} is not described before"));
            metric.labels.extend(keys.filter(|key| key != "le"));
        }
    }
    // Prometheus names a counter as its series.
    let name = |name: String, metric: &Described| if metric.kind == "counter" { name + "_total" } else { name };
    shown.into_iter().map(|(base, metric)| (name(base, &metric), metric)).collect()
}

/// Reads the rows of the page: `name`, type, labels, meaning.
fn documented() -> BTreeMap<String, Described> {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().join(PAGE);
    let page = fs::read_to_string(&page).unwrap();
    let rows = page.lines().filter(|line| line.starts_with("| `adit_"));
    let rows = rows.map(|row| {
        let cells: Vec<&str> = row.trim_matches('|').split('|').map(str::trim).collect();
        let [name, kind, labels, meaning] = cells[..] else { panic!("a row has four cells: {row}") };
        let labels = labels.split(", ").map(|label| label.trim_matches('`')).filter(|label| !label.is_empty());
        let labels = labels.map(str::to_owned).collect();
        (name.trim_matches('`').to_owned(), Described { kind: kind.to_owned(), labels, meaning: meaning.to_owned() })
    });
    rows.collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn running_pool_shows_the_metrics_of_the_page_and_no_others() {
    let mut site = Site::regtest();
    site.pool.start().unwrap();
    let miner = site.miner_with(standard(&site.new_address(), 20.0)).await;
    miner.open(extended(&site.new_address(), 20.0)).await.unwrap();
    miner.wait_for_accepted(3, PATIENCE).await.unwrap();
    // What has a series for each list has them after the first settlement.
    eventually_or("the pool to show what the page says", async || {
        let (shown, documented) = (shown(&site.pool), documented());
        let missing: Vec<_> = shown.iter().filter(|(name, metric)| documented.get(*name) != Some(metric)).collect();
        let surplus: Vec<_> = documented.iter().filter(|(name, metric)| shown.get(*name) != Some(metric)).collect();
        match missing.is_empty() && surplus.is_empty() {
            true => Ok(()),
            false => Err(format!("shown and not on the page: {missing:#?}\non the page and not shown: {surplus:#?}")),
        }
    })
    .await;
}

#[test]
fn every_metric_of_the_page_has_the_prefix_a_base_unit_and_bounded_labels() {
    let documented = documented();
    assert!(documented.len() > 40, "{}", documented.len());
    for (name, Described { kind, labels, .. }) in documented {
        assert!(["counter", "gauge", "histogram"].contains(&&*kind), "{name} is a {kind}");
        assert_eq!(name.ends_with("_total"), kind == "counter", "{name}");
        assert!(!["_ms", "_minutes", "_percent", "_kb"].iter().any(|unit| name.ends_with(unit)), "{name}");
        assert!(labels.iter().all(|label| LABELS.contains(&&**label)), "{name}: {labels:?}");
    }
}
