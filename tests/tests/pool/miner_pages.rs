//! The miners' pages of a running pool, as a browser without an account reads them.

use std::{io::Write as _, net::TcpStream, process::Command};

use bitcoin::Address;
use serde_json::json;
use tests::miner::ChannelConfig;

use crate::{
    api::Api,
    site::{PATIENCE, Site, standard},
};

/// The pages of a pool.
struct Pages {
    url: String,
    client: reqwest::Client,
}

impl Pages {
    fn of(site: &Site) -> Pages {
        Pages { url: site.pool.api_url().unwrap(), client: reqwest::Client::new() }
    }

    async fn read(&self, path: &str) -> String {
        let response = self.client.get(format!("{}{path}", self.url)).timeout(PATIENCE).send().await.unwrap();
        let status = response.status();
        let text = response.text().await.unwrap();
        assert_eq!(status, 200, "{path}: {text}");
        text
    }

    /// Begins to test a device of an address.
    async fn test(&self, address: &Address) -> Heard {
        self.follow(&format!("/m/{address}/test")).await
    }

    /// Follows the events that a page follows.
    async fn follow(&self, path: &str) -> Heard {
        let page = self.read(path).await;
        let events = between(&page, "data-events=\"", "\"").replace("&#38;", "&").replace("&amp;", "&");
        let response = self.client.get(format!("{}{events}", self.url)).send().await.unwrap();
        assert_eq!(response.headers()["content-type"], "text/event-stream");
        Heard { response, read: String::new() }
    }
}

/// Events that are followed.
struct Heard {
    response: reqwest::Response,
    read: String,
}

impl Heard {
    /// Waits until one says something.
    async fn wait_for(&mut self, what: &str, says: impl Fn(&str) -> bool) {
        let read = async {
            while !self.read.split("event: ").any(&says) {
                let chunk = self.response.chunk().await.unwrap().expect("the stream goes on");
                self.read.push_str(std::str::from_utf8(&chunk).unwrap());
            }
        };
        let waited = tokio::time::timeout(PATIENCE, read).await;
        assert!(waited.is_ok(), "waited in vain for {what}: {}", self.read);
    }
}

fn between<'a>(text: &'a str, before: &str, behind: &str) -> &'a str {
    let (_, rest) = text.split_once(before).unwrap_or_else(|| panic!("{before} is not in {text}"));
    rest.split_once(behind).unwrap().0
}

#[tokio::test(flavor = "multi_thread")]
async fn page_hears_of_its_own_devices_and_that_there_are_blocks() {
    let mut site = Site::regtest();
    site.node.mine(1).unwrap();
    site.pool.start().unwrap();
    let (address, other) = (site.new_address(), site.new_address());
    let mut heard = Pages::of(&site).follow(&format!("/m/{address}")).await;
    let stranger = site.miner_with(standard(&other, 40.0).max_shares(1)).await;
    heard.wait_for("a stranger's block", |event| event.starts_with("block")).await;
    assert!(!heard.read.contains("event: own"), "another's device: {}", heard.read);

    let miner = site.miner_with(standard(&address, 40.0).max_shares(2)).await;
    heard.wait_for("his shares", |event| event.starts_with("own") && !event.contains("\"accepted\":0")).await;
    miner.close().await;
    heard.wait_for("his end", |event| event.starts_with("own") && event.contains("\"channels\":0")).await;
    assert!(!heard.read.contains(&other.to_string()) && !heard.read.contains("hash"), "{}", heard.read);
    stranger.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn device_is_followed_from_its_connection_to_what_it_is_paid() {
    let mut site = Site::regtest();
    site.node.mine(1).unwrap();
    site.pool.start().unwrap();
    let (address, other) = (site.new_address(), site.new_address());
    let pages = Pages::of(&site);
    assert!(pages.read(&format!("/m/{address}")).await.contains("No share has come"));

    // A device that speaks another protocol, and then one that does not.
    let mut test = pages.test(&address).await;
    let pool = site.pool.address().unwrap();
    let mut v1 = TcpStream::connect((pool.host.as_str(), pool.port)).unwrap();
    v1.write_all(b"{\"id\":1,\"method\":\"mining.subscribe\",\"params\":[]}\n").unwrap();
    drop(v1);
    test.wait_for("a plain word about Stratum V1", |event| {
        event.contains("Stratum V1") && event.contains("translator proxy")
    })
    .await;
    let mut test = pages.test(&address).await;
    test.wait_for("the first look", |event| !event.contains("class=\"done\"") && event.contains("class=\"open\""))
        .await;
    let config = ChannelConfig { user_identity: format!("{address}.shed"), ..standard(&address, 40.0).max_shares(5) };
    let miner = site.miner_with(config).await;
    let stranger = site.miner_with(standard(&other, 40.0).max_shares(1)).await;
    test.wait_for("all five steps", |event| {
        event.matches("class=\"done\"").count() == 5 && event.contains("worker shed")
    })
    .await;
    assert!(!test.read.contains(&other.to_string()), "another's address: {}", test.read);
    for (miner, shares) in [(miner, 5), (stranger, 1)] {
        miner.wait_for_judged(shares, PATIENCE).await.unwrap();
        miner.close().await;
    }
    site.settle().await;
    let page = pages.read(&format!("/m/{address}")).await;
    assert!(page.contains("shed") && page.contains("Credits by block"), "{page}");

    // Why it was paid what it was, to the satoshi, by what the pages say alone.
    site.node.mine(100).unwrap();
    let books = site.pay_out().await;
    let api = Api::of(&site);
    let payments = api.read(&format!("/api/v1/accounts/{address}/payouts")).await;
    let payment = &payments["items"][0];
    let paid = payment["taken_sat"].as_u64().unwrap() - payment["fee_part_sat"].as_u64().unwrap();
    let txid = payment["txid"].as_str().unwrap();
    let page = pages.read(&format!("/m/{address}/payouts/{txid}")).await;
    assert!(page.contains(&format!("paid you {paid} sat")) && page.contains("DELIVERED"), "{page}");
    let output = site.rpc("gettxout", &[json!(txid), payment["vout"].clone(), json!(false)]);
    assert_eq!(output["scriptPubKey"]["address"], json!(address.to_string()));
    let account = books.account(&address).await;
    for block in books.blocks().await.into_iter().filter(|block| block.phase == "matured") {
        let Some(credit) = books.credits(&block).await.get(&account).copied() else { continue };
        let page = pages.read(&format!("/m/{address}/blocks/{}", block.hash())).await;
        // The first blocks come before there is a share to count: they are their finders'.
        if !page.contains("In integers") {
            assert!(page.contains("found the block: all of it"), "{page}");
            continue;
        }
        let command = between(&page, "<pre id=\"sum-check\">python3 -c \"", "\"</pre>");
        let worked_out = Command::new("python3").args(["-c", command]).output().unwrap();
        let said = String::from_utf8(worked_out.stdout).unwrap();
        let floor: i64 = between(&said, "(", ",").parse().unwrap();
        assert!((credit - floor) == 0 || (credit - floor) == 1, "{credit} is not {said} rounded");
    }

    // And for nobody else.
    let foreign = reqwest::get(format!("{}/m/{other}/payouts/{txid}", pages.url)).await.unwrap();
    let stands_there = foreign.text().await.unwrap().contains(&address.to_string());
    assert!(!stands_there, "a payout of somebody else is shown");
    // Close enough for all but a few hours of a year.
    let year = 1970 + payment["created_at_ms"].as_i64().unwrap() / 31_556_952_000;
    let ledger = pages.read(&format!("/m/{address}/ledger.csv?year={year}")).await;
    let booked: i64 = ledger.lines().skip(1).map(|line| line.rsplit(',').next().unwrap().parse::<i64>().unwrap()).sum();
    let balance = api.read(&format!("/api/v1/accounts/{address}/balance")).await;
    assert_eq!(
        booked,
        balance["immature_sat"].as_i64().unwrap() + balance["payable_sat"].as_i64().unwrap(),
        "{ledger}"
    );
}
