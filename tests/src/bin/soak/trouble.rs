//! What can happen to a pool, and what it takes to let it happen and pass.

use std::{fmt, time::Duration};

use anyhow::Context;
use bitcoin::secp256k1::rand::{Rng, RngCore, rngs::StdRng, seq::SliceRandom};
use serde::Serialize;
use tests::{
    miner::{ChannelConfig, Miner, MinerConfig},
    node_proxy::Answers,
    small_disk,
};
use tokio::{io::AsyncWriteExt, net::TcpStream, time::sleep};

use crate::{crew::Crew, recount, site::Site};

/// Connections in a storm, and with garbage.
const STORM_CONNECTIONS: usize = 200;
const GARBAGE_CONNECTIONS: usize = 60;
const GARBAGE_BYTES: usize = 32 * 1024;
/// Blocks in a storm of tips.
const STORM_TIPS: u32 = 4;
/// How long a database is locked and free in turn when it is slow.
const SLOW_LOCK: Duration = Duration::from_millis(400);
const SLOW_FREE: Duration = Duration::from_millis(60);
const SLOW_TIMES: u32 = 20;

/// Something that happens.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Trouble {
    /// The pool is killed.
    Kill,
    /// The pool is asked to end.
    Terminate,
    /// The node is away for a while.
    NodeDown,
    /// The node dies without a word, and comes back at once.
    NodeKilled,
    /// The node answers late.
    NodeSlow,
    /// The node does not answer, for seconds or for longer than a call may take.
    NodeSilent,
    /// The node does what it is asked and its answers are lost.
    AnswersLost,
    /// Another program has the database locked.
    StoreLocked,
    /// The database is locked most of the time.
    StoreSlow,
    /// The disk under the database is full.
    DiskFull,
    /// The clock is set forward or back.
    ClockSet,
    /// Tips follow each other at once.
    TipStorm,
    /// Many connections that do nothing.
    ConnectionStorm,
    /// Many connections that send garbage.
    Garbage,
    /// A miner finds a block.
    BlockFound,
}

impl Trouble {
    /// What ends the pool's process.
    pub(crate) const DEATHS: [Self; 2] = [Self::Kill, Self::Terminate];
    /// What the process must live through.
    const OTHERS: [Self; 13] = [
        Self::NodeDown,
        Self::NodeKilled,
        Self::NodeSlow,
        Self::NodeSilent,
        Self::AnswersLost,
        Self::StoreLocked,
        Self::StoreSlow,
        Self::DiskFull,
        Self::ClockSet,
        Self::TipStorm,
        Self::ConnectionStorm,
        Self::Garbage,
        Self::BlockFound,
    ];

    /// Chooses one. A death only where one may be.
    pub(crate) fn choose(random: &mut StdRng, may_die: bool, site: &Site) -> Self {
        if may_die && random.gen_bool(0.5) {
            return Self::DEATHS[random.gen_range(0..Self::DEATHS.len())];
        }
        loop {
            let chosen = *Self::OTHERS.choose(random).expect("there are some");
            if chosen != Self::DiskFull || site.disk.is_some() {
                return chosen;
            }
        }
    }

    /// Lets it happen, and pass.
    pub(crate) async fn happen(self, site: &mut Site, crew: &Crew, random: &mut StdRng) -> anyhow::Result<Passed> {
        let seconds = |random: &mut StdRng, most: u64| Duration::from_millis(random.gen_range(500..most * 1_000));
        let mut passed = Passed::default();
        match self {
            Self::Kill => {
                site.pool.kill()?;
                passed.start = Some(site.start()?);
            }
            Self::Terminate => {
                let asked = std::time::Instant::now();
                site.pool.stop()?;
                passed.end = Some(asked.elapsed());
                passed.start = Some(site.start()?);
            }
            Self::NodeDown => {
                site.node.stop()?;
                sleep(seconds(random, 15)).await;
                site.node.restart()?;
            }
            Self::NodeKilled => {
                site.node.kill()?;
                site.node.restart()?;
            }
            Self::NodeSlow => {
                let delay = Duration::from_millis(random.gen_range(100..3_000));
                answers(site, Answers::Late(delay), seconds(random, 20)).await;
            }
            Self::NodeSilent => {
                // Now and then longer than the pool waits for an answer.
                let lasting = if random.gen_bool(0.1) { Duration::from_secs(70) } else { seconds(random, 15) };
                answers(site, Answers::Held, lasting).await;
            }
            Self::AnswersLost => answers(site, Answers::Lost, seconds(random, 10)).await,
            Self::StoreLocked => {
                let lock = site.lock().await?;
                sleep(seconds(random, 25)).await;
                lock.release().await?;
            }
            Self::StoreSlow => {
                for _ in 0..SLOW_TIMES {
                    let lock = site.lock().await?;
                    sleep(SLOW_LOCK).await;
                    lock.release().await?;
                    sleep(SLOW_FREE).await;
                }
            }
            Self::DiskFull => {
                let disk = site.disk.clone().context("there is a disk to be filled")?;
                small_disk::fill(&disk)?;
                sleep(seconds(random, 10)).await;
                small_disk::empty(&disk)?;
            }
            Self::ClockSet => {
                let ahead_s = random.gen_range(60..8 * 3_600) * if random.gen_bool(0.5) { 1 } else { -1 };
                site.clock.set(ahead_s)?;
                sleep(seconds(random, 10)).await;
                site.clock.set(0)?;
            }
            Self::TipStorm => drop(site.node.mine(STORM_TIPS)?),
            Self::ConnectionStorm => connect_and_leave(site).await?,
            Self::Garbage => send_garbage(site, random).await?,
            Self::BlockFound => recount::find_block(site, crew).await.map(drop)?,
        }
        Ok(passed)
    }
}

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(serde_json::to_string(self).map_err(|_| fmt::Error)?.replace(['"', '_'], " ").trim())
    }
}

/// How long the pool took.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Passed {
    /// To end, when it was asked to.
    pub(crate) end: Option<Duration>,
    /// From its start until it listened.
    pub(crate) start: Option<Duration>,
}

async fn answers(site: &Site, answers: Answers, lasting: Duration) {
    site.proxy.set_answers(answers);
    sleep(lasting).await;
    site.proxy.set_answers(Answers::Pass);
}

/// Opens many connections at once, half of them with a handshake and a channel, and leaves with all.
async fn connect_and_leave(site: &Site) -> anyhow::Result<()> {
    let pool = site.pool.address()?;
    let address = site.new_address();
    let mut idle = Vec::new();
    let mut opened = tokio::task::JoinSet::new();
    for number in 0..STORM_CONNECTIONS {
        // The pool may refuse them: what matters is that it serves the others.
        if number % 2 == 0 {
            idle.extend(TcpStream::connect((pool.host.as_str(), pool.port)).await);
        } else {
            let (pool, channel) = (pool.clone(), ChannelConfig::standard(address.to_string()).hash_rate(0.01));
            opened.spawn(async move {
                let miner = Miner::connect(MinerConfig::new(pool)).await.ok()?;
                miner.open(ChannelConfig { hash_rate_limit: Some(0.0), ..channel }).await.ok()?;
                Some(miner.reset().await)
            });
        }
    }
    while opened.join_next().await.is_some() {}
    Ok(())
}

async fn send_garbage(site: &Site, random: &mut StdRng) -> anyhow::Result<()> {
    let pool = site.pool.address()?;
    let mut sockets = Vec::new();
    for _ in 0..GARBAGE_CONNECTIONS {
        let Ok(mut socket) = TcpStream::connect((pool.host.as_str(), pool.port)).await else { continue };
        let mut garbage = vec![0; random.gen_range(1..GARBAGE_BYTES)];
        random.fill_bytes(&mut garbage);
        // It is cut off in the middle, as it should be.
        let _ = socket.write_all(&garbage).await;
        sockets.push(socket);
    }
    sleep(Duration::from_secs(1)).await;
    Ok(())
}
