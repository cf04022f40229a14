//! A pool of which each page has something to show.

use std::{
    io::{Read, Write},
    net::TcpStream,
};

use bitcoin::{Address, Network};
use tests::miner::Miner;

use crate::{
    site::{eventually, standard},
    stage::Stage,
};

/// The pool, and those who are still connected to it.
pub(crate) struct Scene {
    pub(crate) stage: Stage,
    pub(crate) miner: Address,
    _connected: Miner,
}

impl Scene {
    /// Where somebody comes in who knows the pool by name alone: what no other page leads to.
    pub(crate) fn entries(&self) -> Vec<String> {
        vec!["/log-in".to_owned(), format!("/m/{}", self.miner)]
    }
}

/// Lets a pool live through what operators and miners see of one: a payout that is confirmed and one that waits, a miner whom
/// a list names and one who is held, blocks of all phases, somebody who is connected now.
pub(crate) async fn set() -> Scene {
    let stage = Stage::new(&[("ADIT__PAYOUT__APPROVAL", "always")]).await;
    let (miner, listed) = (stage.find_blocks("rig1", 3).await, stage.find_blocks("rig7", 2).await);
    list(&stage, &listed);
    stage.site.node.mine(100).unwrap();
    payout_waits(&stage, 1).await;
    adit(&stage, &["payout", "approve", "1", "--by", "alice"]);
    eventually("the payment to be sent", async || (!stage.site.node.mempool().unwrap().is_empty()).then_some(())).await;
    stage.site.node.mine(1).unwrap();
    let held = stage.find_blocks("rig3", 1).await;
    stage.find_blocks_for(&miner, "rig2", 2).await;
    adit(&stage, &["payout", "hold", &held.to_string(), "--reason", "asked for by phone"]);
    stage.site.node.mine(100).unwrap();
    payout_waits(&stage, 2).await;
    stage.find_blocks_for(&miner, "rig2", 1).await;

    speak_v1(&stage);
    sell_to_a_desk(&stage);
    let connected = stage.site.miner_with(standard(&miner, 2.0)).await;
    Scene { stage, miner, _connected: connected }
}

fn adit(stage: &Stage, arguments: &[&str]) {
    stage.site.pool.ask(arguments).unwrap();
}

/// Puts an address on the pool's list.
fn list(stage: &Stage, address: &Address) {
    let file = stage.site.pool.folder().join("lists/supplement.csv");
    let listed = Address::from_script(&address.script_pubkey(), Network::Bitcoin).unwrap();
    let text = std::fs::read_to_string(&file).unwrap();
    let new = file.with_extension("new");
    std::fs::write(&new, format!("{text}{listed},Example Trading LLC,XBT,TEST,case 7\n")).unwrap();
    std::fs::rename(&new, &file).unwrap();
}

/// Makes a desk known, and begins to sell to it.
fn sell_to_a_desk(stage: &Stage) {
    let (file, address) = (stage.site.pool.folder().join("desk.toml"), stage.site.new_address().to_string());
    let desk = "kind = \"legal\"\nlegal_name = \"Example Desk LLC\"\nresidency = \"AE\"\nis_casp = true\n";
    std::fs::write(&file, desk).unwrap();
    adit(stage, &["account", "add", &address]);
    adit(stage, &["party", "set", file.to_str().unwrap(), "--by", "alice"]);
    adit(stage, &["party", "own", &address, "1", "--by", "alice"]);
    adit(stage, &["sale", "request", "s1", "1000000", "--by", "alice"]);
}

/// Speaks to the pool as a device that takes it for one of Stratum V1.
fn speak_v1(stage: &Stage) {
    let address = stage.site.pool.address().unwrap();
    let mut socket = TcpStream::connect((address.host.as_str(), address.port)).unwrap();
    socket.write_all(b"{\"id\":1,\"method\":\"mining.subscribe\",\"params\":[]}\n").unwrap();
    // It is told nothing, and sent away.
    let _ = socket.read(&mut [0; 64]);
}

async fn payout_waits(stage: &Stage, number: i64) {
    eventually("a payout to wait for approval", async || {
        let said = stage.site.pool.ask(&["payout", "show", &number.to_string()]).ok()?;
        said.contains("unapproved").then_some(())
    })
    .await;
}
