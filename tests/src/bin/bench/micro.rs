//! What criterion measured: medians, each beside the floor that was measured in the same run.

use std::{
    collections::BTreeMap,
    fs,
    path::Path,
    process::Command,
    time::{Duration, SystemTime},
};

use anyhow::{Context, ensure};
use serde::{Deserialize, Serialize};

/// The packages whose benchmarks are run.
const PACKAGES: [&str; 3] = ["protocol", "pool", "payouts"];
/// What a floor's name ends with: that of `share/standard` is `share/standard/floor`.
const FLOOR: &str = "/floor";

/// The median time of one benchmark.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub(crate) struct Figure {
    /// The benchmark's name.
    pub(crate) name: String,
    /// Nanoseconds of one turn.
    pub(crate) median_ns: f64,
    /// Nanoseconds of the least that any program would do, if that was measured.
    pub(crate) floor_ns: Option<f64>,
}

/// Criterion's file that names a benchmark.
#[derive(Deserialize)]
struct Named {
    full_id: String,
}

/// Criterion's file of what it estimates from its samples.
#[derive(Deserialize)]
struct Estimates {
    median: Estimate,
}

#[derive(Deserialize)]
struct Estimate {
    point_estimate: f64,
}

/// Runs all microbenchmarks and returns their figures.
///
/// # Errors
///
/// If a benchmark fails or leaves no figures.
pub(crate) fn run(target: &Path) -> anyhow::Result<Vec<Figure>> {
    // Files have times of a coarser clock.
    let start = SystemTime::now() - Duration::from_secs(1);
    for package in PACKAGES {
        let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
        let status = Command::new(cargo).args(["bench", "-p", package]).status().context("run cargo")?;
        ensure!(status.success(), "the benchmarks of {package} failed: {status}");
    }
    let mut medians = BTreeMap::new();
    collect(&target.join("criterion"), start, &mut medians)?;
    ensure!(!medians.is_empty(), "criterion left nothing in {}", target.display());
    Ok(pair(&medians))
}

/// Reads what lies under `folder` and is not older than `start`: a benchmark of that name may be gone by now.
fn collect(folder: &Path, start: SystemTime, medians: &mut BTreeMap<String, f64>) -> anyhow::Result<()> {
    for entry in fs::read_dir(folder).with_context(|| format!("read {}", folder.display()))? {
        let path = entry?.path();
        let estimates = path.join("estimates.json");
        if path.ends_with("new") && estimates.is_file() {
            if fs::metadata(&estimates)?.modified()? >= start {
                let Named { full_id } = read(&path.join("benchmark.json"))?;
                let Estimates { median } = read(&estimates)?;
                medians.insert(full_id, median.point_estimate);
            }
        } else if path.is_dir() {
            collect(&path, start, medians)?;
        }
    }
    Ok(())
}

fn read<T: for<'a> Deserialize<'a>>(path: &Path) -> anyhow::Result<T> {
    let text = fs::read(path).with_context(|| format!("read {}", path.display()))?;
    serde_json::from_slice(&text).with_context(|| format!("{} is not what criterion writes", path.display()))
}

/// Puts floors beside what they are the floors of.
fn pair(medians: &BTreeMap<String, f64>) -> Vec<Figure> {
    let named = medians.iter().filter(|(name, _)| !name.ends_with(FLOOR));
    named
        .map(|(name, median_ns)| Figure {
            name: name.clone(),
            median_ns: *median_ns,
            floor_ns: medians.get(&format!("{name}{FLOOR}")).copied(),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn write(folder: &Path, place: &str, name: &str, median_ns: f64) {
        let folder = folder.join(place).join("new");
        fs::create_dir_all(&folder).unwrap();
        fs::write(folder.join("benchmark.json"), format!("{{\"full_id\": \"{name}\", \"throughput\": null}}")).unwrap();
        let estimates = format!("{{\"mean\": 1, \"median\": {{\"point_estimate\": {median_ns}}}}}");
        fs::write(folder.join("estimates.json"), estimates).unwrap();
    }

    #[test]
    fn each_figure_stands_beside_its_floor_and_older_runs_do_not_count() {
        let folder = tempfile::tempdir().unwrap();
        write(folder.path(), "share/standard", "share/standard", 700.0);
        write(folder.path(), "share/standard/floor", "share/standard/floor", 500.0);
        write(folder.path(), "split", "split", 51e6);
        let mut medians = BTreeMap::new();
        collect(folder.path(), SystemTime::UNIX_EPOCH, &mut medians).unwrap();
        let figure = |name: &str, median_ns, floor_ns| Figure { name: name.to_owned(), median_ns, floor_ns };
        assert_eq!(pair(&medians), [figure("share/standard", 700.0, Some(500.0)), figure("split", 51e6, None)]);

        let mut none = BTreeMap::new();
        collect(folder.path(), SystemTime::now() + Duration::from_secs(60), &mut none).unwrap();
        assert!(none.is_empty());
    }
}
