//! Accessibility as axe-core sees it: a script of Deque, run in the page through the driver, so that no policy of the page
//! stands in its way.

use std::{collections::BTreeMap, fmt, fs, path::PathBuf, sync::OnceLock};

use anyhow::{Context, ensure};
use serde::Deserialize;
use sha2::{Digest, Sha256};
use thirtyfour::WebDriver;

use crate::foreign::cache_root;

/// The version that the tests were written for, as `sha256sum` reads it. `make axe` takes it from here too.
const PIN: &str = include_str!("../../axe-core.sha256");
/// Looks for all that WCAG 2.2 demands up to level AA, and for what is good practice.
const RUN: &str = r#"
    const done = arguments[0];
    const tags = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"];
    const options = { runOnly: { type: "tag", values: tags }, resultTypes: ["violations"], preload: false };
    axe.run(document, options).then(
        (found) => done({ violations: found.violations.map(({ id, help, nodes }) => ({
            rule: id, help, where: Object.fromEntries(nodes.map((node) => [node.target.join(" "), node.failureSummary])),
        })) }),
        (error) => done({ error: String(error), violations: [] }),
    );
"#;

/// Something that bars somebody from a page.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Violation {
    /// The rule of axe-core.
    pub rule: String,
    /// What it demands.
    pub help: String,
    /// Each place, as a selector, with what is wrong there.
    #[serde(rename = "where")]
    pub places: BTreeMap<String, String>,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.rule, self.help)?;
        self.places.iter().try_for_each(|(place, wrong)| write!(f, "\n    {place}: {}", wrong.replace('\n', " ")))
    }
}

#[derive(Deserialize)]
struct Found {
    error: Option<String>,
    violations: Vec<Violation>,
}

/// Looks at the page that the browser shows.
///
/// # Errors
///
/// If the script is not there, or fails.
pub(super) async fn run(driver: &WebDriver) -> anyhow::Result<Vec<Violation>> {
    let is_there = driver.execute("return typeof axe === 'object'", Vec::new()).await?;
    if !is_there.convert::<bool>()? {
        driver.execute(source()?, Vec::new()).await.context("axe-core does not start")?;
    }
    let found: Found = driver.execute_async(RUN, Vec::new()).await?.convert()?;
    ensure!(found.error.is_none(), "axe-core failed: {}", found.error.unwrap_or_default());
    Ok(found.violations)
}

/// Returns the script, once it was found to be the one that is pinned.
fn source() -> anyhow::Result<&'static str> {
    static SOURCE: OnceLock<Result<String, String>> = OnceLock::new();
    let source = SOURCE.get_or_init(|| read().map_err(|error| format!("{error:#}")));
    source.as_deref().map_err(|error| anyhow::Error::msg(error.clone()))
}

fn read() -> anyhow::Result<String> {
    let (hash, file) = PIN.trim().split_once("  ").context("the pin is a line of sha256sum")?;
    let path: PathBuf = cache_root()?.join(file);
    let text = fs::read_to_string(&path).with_context(|| format!("read {}: make axe fetches it", path.display()))?;
    let found = hex::encode(Sha256::digest(text.as_bytes()));
    ensure!(found == hash, "{} is not what is pinned, but {found}", path.display());
    Ok(text)
}
