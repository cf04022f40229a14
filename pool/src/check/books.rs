//! The books: their database, its tables, and the lists that payments are screened by.

use std::{
    collections::BTreeMap,
    time::{SystemTime, UNIX_EPOCH},
};

use payouts::{
    export::{
        lists::{Acceptances, Lists, ReadList},
        screening::standing::ListStanding,
    },
    store::{Store, StoreError},
};

use super::{CheckId, Finding};
use crate::{
    config::{Config, StoreConfig},
    screening::ListReader,
    store,
};

/// Of the age that a list may have, the part in percent from which on it is time to fetch it.
const OLD_PERCENT: u64 = 80;

pub(super) async fn check(config: &Config) -> Vec<Finding> {
    let mut findings = Vec::new();
    let store = match &config.store {
        StoreConfig::Sqlite(file) if !file.exists() => {
            findings.push(Finding::ok(CheckId::Database, format!("{} is made at the first start", file.display())));
            None
        }
        _ => match store::open_read_only(&config.store).await {
            Ok(store) => {
                findings.push(Finding::ok(CheckId::Database, format!("{} can be read", config.store)));
                findings.push(Finding::ok(CheckId::DatabaseSchema, "is that of this version"));
                Some(store)
            }
            Err(error) => {
                findings.push(unopened(&error));
                None
            }
        },
    };
    let standings = match &store {
        Some(store) => screening(config, Some(&**store)).await,
        None => screening(config, None).await,
    };
    findings.extend(standings);
    findings
}

fn unopened(error: &anyhow::Error) -> Finding {
    let message = format!("{error:#}");
    match error.downcast_ref() {
        Some(StoreError::NewerSchema { .. }) => Finding::error(CheckId::DatabaseSchema, message),
        Some(StoreError::OlderSchema { found, known }) => {
            let message =
                format!("schema {found} becomes {known} at the next start: make a copy of the database first");
            Finding::warning(CheckId::DatabaseSchema, message)
        }
        _ => Finding::error(CheckId::Database, message),
    }
}

async fn screening(config: &Config, store: Option<&dyn Store>) -> Vec<Finding> {
    let error = |message: String| vec![Finding::error(CheckId::Screening, format!("nobody is paid: {message}"))];
    let mut reader = match ListReader::new(&config.lists, &config.export.profile) {
        Ok(reader) => reader,
        Err(reason) => return vec![Finding::error(CheckId::Screening, format!("{reason:#}"))],
    };
    let lists = match reader.read(store).await {
        Ok(lists) => lists,
        Err(reason) => return error(format!("{reason:#}")),
    };
    judge(&lists, now_ms())
}

fn judge(lists: &Lists, now_ms: i64) -> Vec<Finding> {
    let read: BTreeMap<_, _> = lists.read().iter().map(|list| (&list.source, list)).collect();
    let unusable = lists.standing(now_ms, &Acceptances::default()).err();
    let unusable: BTreeMap<_, _> =
        unusable.iter().flat_map(|unusable| unusable.standings()).map(|(a, b)| (a, b)).collect();
    let missing = unusable.keys().filter(|source| !read.contains_key(*source));
    let mut findings: Vec<_> = missing
        .map(|source| {
            let message = format!("nobody is paid: {source} is asked for by the profile and not in [screening]");
            Finding::error(CheckId::Screening, message)
        })
        .collect();
    for (source, list) in read {
        findings.push(match unusable.get(source) {
            // Two operators may have accepted it, which the pool knows.
            Some(ListStanding::Shrunken { .. }) => {
                let message = format!("{source} is {}", unusable[source]);
                Finding::warning(CheckId::Screening, message)
            }
            Some(standing) => Finding::error(CheckId::Screening, format!("nobody is paid: {source} is {standing}")),
            None => aging(list, now_ms),
        });
    }
    findings
}

fn aging(list: &ReadList, now_ms: i64) -> Finding {
    let age_s = u64::try_from(now_ms.saturating_sub(list.fetched_at_ms) / 1_000).unwrap_or(0);
    let message =
        format!("{} was fetched {} h ago, and may be {} h old", list.source, age_s / 3_600, list.max_age_s / 3_600);
    match age_s.saturating_mul(100) >= list.max_age_s.saturating_mul(OLD_PERCENT) {
        true => Finding::warning(CheckId::Screening, message),
        false => Finding::ok(CheckId::Screening, message),
    }
}

fn now_ms() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::{fs, path::Path};

    use super::*;
    use crate::{check::Severity, config::tests::settings};

    const HOUR_MS: i64 = 3_600_000;

    async fn lists(file: &Path, text: &str) -> Lists {
        let list = format!(
            "{}[screening.lists.ofac_sdn]\nformat = \"supplement\"\nfile = \"{}\"\nmax_age_hours = 10\n",
            crate::config::tests::SMALLEST,
            file.display()
        );
        let (_dir, settings) = settings(&list, &[]);
        let config = Config::from_settings(&settings).unwrap();
        if !text.is_empty() {
            fs::write(file, text).unwrap();
        }
        let mut reader = ListReader::new(&config.lists, &config.export.profile).unwrap();
        std::sync::Arc::try_unwrap(reader.read(None).await.unwrap()).unwrap()
    }

    #[tokio::test]
    async fn list_is_fresh_then_aging_then_too_old() {
        let dir = tempfile::tempdir().unwrap();
        let text = "address,name,label,programme,reference\n1BitcoinEaterAddressDontSendf59kuE,,XBT,TEST,\n";
        let lists = lists(&dir.path().join("own.csv"), text).await;
        let fetched = lists.read()[0].fetched_at_ms;
        for (hours, severity) in [
            (0, Severity::Ok),
            (7, Severity::Ok),
            (8, Severity::Warning),
            (10, Severity::Warning),
            (11, Severity::Error),
        ] {
            let [finding] = &judge(&lists, fetched + hours * HOUR_MS)[..] else { panic!("not one finding") };
            assert_eq!(finding.severity, severity, "{hours}: {finding:?}");
        }
    }

    #[tokio::test]
    async fn missing_list_means_that_nobody_is_paid() {
        let dir = tempfile::tempdir().unwrap();
        let lists = lists(&dir.path().join("own.csv"), "").await;
        let [finding] = &judge(&lists, now_ms())[..] else { panic!("not one finding") };
        assert_eq!(finding.severity, Severity::Error);
        assert!(finding.message.starts_with("nobody is paid: ofac-sdn is missing"), "{finding:?}");
    }
}
