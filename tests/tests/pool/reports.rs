//! From shares to the files for an accountant: what reports say, the chain says too.

use std::{
    fs,
    path::{Path, PathBuf},
};

use jiff::{Timestamp, ToSpan, tz::TimeZone};
use serde_json::Value;

use crate::{
    payouts::find_blocks,
    site::{Database, Site, eventually_or},
};

/// The profile that comes with the pool, whose venue is for the operator to name.
pub(crate) const PROFILE: &str = include_str!("../../../payouts/profiles/neutral.toml");
pub(crate) const PRICE: &str = "97412.35";

/// A line of a CSV file by the names of its columns. No cell of these files has a comma or a quotation mark.
pub(crate) type Line = std::collections::BTreeMap<String, String>;

pub(crate) fn table(path: &Path) -> Vec<Line> {
    let text = fs::read_to_string(path).unwrap();
    let mut lines = text.trim_start_matches('\u{feff}').lines();
    let header: Vec<&str> = lines.next().unwrap().split(',').collect();
    let line = |line: &str| {
        let cells: Vec<&str> = line.split(',').collect();
        assert_eq!(cells.len(), header.len(), "{line}");
        header.iter().zip(cells).map(|(name, cell)| ((*name).to_owned(), cell.to_owned())).collect()
    };
    lines.map(line).collect()
}

/// A file with this price for the days around a time, also if midnight comes while a test runs.
pub(crate) fn prices_around(time: Timestamp, price: &str) -> String {
    let day = time.to_zoned(TimeZone::UTC);
    let days = [-1, 0, 1].map(|days| day.checked_add(days.days()).unwrap().date());
    let rows: String = days.iter().map(|day| format!("example,BTC/USD,close,{day}T23:59:00Z,{price}\n")).collect();
    format!("venue,pair,basis,time,price\n{rows}")
}

fn refused(site: &Site, arguments: &[&str]) -> String {
    site.pool.ask(arguments).unwrap_err().to_string()
}

/// A file of the report of a period, by what its name begins with.
pub(crate) fn file(folder: &Path, begins: &str, ends: &str) -> PathBuf {
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let mut found = entries.filter(|path| {
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        name.starts_with(begins) && name.ends_with(ends)
    });
    found.next().unwrap_or_else(|| panic!("no {begins}*{ends} in {}", folder.display()))
}

#[tokio::test(flavor = "multi_thread")]
async fn what_reports_say_of_a_month_is_what_the_chain_has() {
    reports_agree_with_chain(Database::Sqlite).await;
}

/// From shares to reports, whose values are put on record while the pool runs.
pub(crate) async fn reports_agree_with_chain(database: Database) {
    let mut site = Site::regtest_on(database);
    // So many that each miner has a share in some block.
    let addresses = find_blocks(&mut site, 2, 5).await;
    site.node.mine(100).unwrap();
    site.settle().await;
    eventually_or("the payouts to be made", async || {
        let waiting = site.node.mempool().unwrap().len();
        if waiting > 0 { Ok(()) } else { Err("no payout is in the mempool") }
    })
    .await;
    site.node.mine(1).unwrap();
    site.settle().await;

    let folder = site.pool.config_file().parent().unwrap().to_owned();
    let path = |name: &str| folder.join(name).to_str().unwrap().to_owned();
    let (profile, prices, reports) = (path("mine.toml"), path("prices.csv"), path("reports"));
    fs::write(&profile, PROFILE.replace("venue = \"\"", "venue = \"example\"")).unwrap();
    let now = Timestamp::now().to_zoned(TimeZone::UTC);
    fs::write(&prices, prices_around(now.timestamp(), PRICE)).unwrap();

    let value = ["export", "value", "--prices", &prices, "--profile", &profile];
    let said = site.pool.ask(&value).unwrap();
    assert!(said.contains(" 0 without a value") && !said.contains(": 0 valued"), "{said}");
    assert!(site.pool.log().contains("values of "), "the pool has put that on record itself");
    let said = site.pool.ask(&value).unwrap();
    assert!(said.contains(": 0 valued, 0 valued anew"), "{said}");
    // What a revised file says is put on record as well while no pool runs.
    site.pool.stop().unwrap();
    let revised = path("revised.csv");
    fs::write(&revised, fs::read_to_string(&prices).unwrap().replace(PRICE, "97412.36")).unwrap();
    let said = site.pool.ask(&["export", "value", "--prices", &revised, "--profile", &profile]).unwrap();
    assert!(said.contains(": 0 valued,") && !said.contains(" 0 valued anew"), "{said}");
    let period = format!("{:04}-{:02}", now.year(), now.month());
    let report = ["export", "report", "--profile", &profile, "--period", &period, "--out", &reports];
    let said = site.pool.ask(&report).unwrap();
    assert!(said.contains("manifest.json"), "{said}");
    assert!(refused(&site, &report).contains("is not empty"), "nothing is overwritten");

    let folder = Path::new(&reports);
    let register = table(&file(folder, &format!("register_{period}"), ".csv"));
    let delivered: std::collections::BTreeMap<String, i64> = register
        .iter()
        .map(|line| (format!("{}:{}", line["txid"], line["vout"]), line["movement_sat"].parse().unwrap()))
        .collect();
    let on_chain: std::collections::BTreeMap<String, i64> =
        addresses.iter().flat_map(|address| site.unspent(address)).collect();
    assert_eq!(delivered, on_chain);
    assert_eq!(register.len(), delivered.len(), "an output has one record");
    let reconciliation: Value =
        serde_json::from_slice(&fs::read(file(folder, "reconciliation", ".json")).unwrap()).unwrap();
    assert_eq!(reconciliation["reconciled"], Value::Bool(true), "{reconciliation}");
    for address in &addresses {
        let page = fs::read_to_string(file(folder, &format!("statement_{address}"), ".html")).unwrap();
        assert!(page.contains(&address.to_string()) && !page.contains("<script"), "{page}");
    }

    let verify = ["export", "verify", "--dir", &reports, "--profile", &profile];
    let said = site.pool.ask(&verify).unwrap();
    assert!(said.contains("All records are as they were written"), "{said}");
    assert!(said.contains("were made again and are the same"), "{said}");
    let register = file(folder, &format!("register_{period}"), ".csv");
    let text = fs::read_to_string(&register).unwrap();
    fs::write(&register, text.replacen("DELIVERED", "REVERSED", 1)).unwrap();
    let said = refused(&site, &verify);
    assert!(said.contains(&*register.file_name().unwrap().to_string_lossy()), "{said}");
}
