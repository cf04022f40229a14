//! Miners that work at an even pace and come back whenever they lose the pool. They know of each share what was said to it.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use anyhow::{Context, bail, ensure};
use bitcoin::Address;
use protocol::codec::U256;
use tests::miner::{ChannelConfig, Miner, MinerConfig, PoolAddress, Record};
use tokio::{sync::watch, task::JoinHandle, time::sleep};

/// Pause before a miner that has lost the pool tries again.
const RETRY_PAUSE: Duration = Duration::from_millis(200);
/// How often a miner tells what was acknowledged.
const LOOK_INTERVAL: Duration = Duration::from_millis(200);
/// How long the last answers may take.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(60);

/// What became of the shares of one account at one target.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    /// Handed in.
    pub(crate) submitted: u64,
    /// Acknowledged.
    pub(crate) acknowledged: u64,
    /// Neither acknowledged nor refused when the connection was lost: stored or not, nobody knows.
    pub(crate) unknown: u64,
}

/// What a crew knows of its shares.
#[derive(Clone, Debug, Default)]
pub(crate) struct Tally {
    /// By account and target.
    pub(crate) counts: BTreeMap<(Address, U256), Counts>,
    /// Refused shares by code.
    pub(crate) refused: BTreeMap<String, u64>,
    /// Connections that were lost.
    pub(crate) lost: u64,
    /// What the pool did and must not do.
    pub(crate) faults: Vec<String>,
}

impl Tally {
    /// Adds what one connection's record says of one account.
    pub(crate) fn add(&mut self, address: &Address, record: &Record) {
        let (acknowledged, unanswered) = (record.acknowledged(), record.unanswered());
        for share in &record.submitted {
            let Some(target) = share.target else { continue };
            let counts = self.counts.entry((address.clone(), target)).or_default();
            let key = (share.channel_id, share.sequence_number);
            counts.submitted += 1;
            counts.acknowledged += u64::from(acknowledged.contains(&key));
            counts.unknown += u64::from(unanswered.contains(&key));
        }
        for rejection in &record.rejections {
            *self.refused.entry(rejection.error_code.clone()).or_default() += 1;
        }
        self.faults.extend(record.faults.iter().map(ToString::to_string));
    }

    /// Adds up all accounts and targets.
    pub(crate) fn total(&self) -> Counts {
        self.counts.values().fold(Counts::default(), |sum, counts| Counts {
            submitted: sum.submitted + counts.submitted,
            acknowledged: sum.acknowledged + counts.acknowledged,
            unknown: sum.unknown + counts.unknown,
        })
    }
}

/// Where miners connect, and whether they are to rest.
#[derive(Clone, Debug)]
struct Orders {
    pool: PoolAddress,
    rests: bool,
}

#[derive(Debug, Default)]
struct Shared {
    connected: AtomicUsize,
    acknowledged: AtomicU64,
    tally: Mutex<Tally>,
}

/// Miners at work.
#[derive(Debug)]
pub(crate) struct Crew {
    size: usize,
    orders: watch::Sender<Orders>,
    shared: Arc<Shared>,
    tasks: Vec<JoinHandle<anyhow::Result<()>>>,
}

impl Crew {
    /// Sends miners to a pool, of which several share an account each.
    pub(crate) fn start(pool: PoolAddress, size: usize, per_second: f64, addresses: &[Address]) -> Self {
        let (orders, ordered) = watch::channel(Orders { pool, rests: false });
        let shared = Arc::<Shared>::default();
        let tasks = (0..size).map(|number| {
            let address = addresses[number % addresses.len()].clone();
            let user = format!("{address}.rig{number}");
            let kind = if number % 2 == 0 { ChannelConfig::standard(user) } else { ChannelConfig::extended(user, 4) };
            tokio::spawn(work(address, kind.hash_rate(per_second), ordered.clone(), Arc::clone(&shared)))
        });
        Self { size, tasks: tasks.collect(), orders, shared }
    }

    /// Returns how many shares were acknowledged so far, behind by a moment.
    pub(crate) fn acknowledged(&self) -> u64 {
        self.shared.acknowledged.load(Ordering::Relaxed)
    }

    /// Returns how many miners have a channel.
    pub(crate) fn connected(&self) -> usize {
        self.shared.connected.load(Ordering::Relaxed)
    }

    /// Waits until all miners are connected and as many shares again were acknowledged. Returns how long that took.
    pub(crate) async fn wait_until_served(&self, patience: Duration) -> anyhow::Result<Duration> {
        let (begun, before) = (Instant::now(), self.acknowledged());
        while self.connected() < self.size || self.acknowledged() < before + self.size as u64 {
            ensure!(
                begun.elapsed() < patience,
                "after {patience:?} only {} of {} miners are connected, and {} more shares acknowledged",
                self.connected(),
                self.size,
                self.acknowledged() - before
            );
            sleep(LOOK_INTERVAL / 4).await;
        }
        Ok(begun.elapsed())
    }

    /// Adds to the count what a miner that is not of the crew has done.
    pub(crate) fn add(&self, address: &Address, record: &Record) {
        self.shared.tally.lock().unwrap_or_else(PoisonError::into_inner).add(address, record);
    }

    /// Lets all miners rest, waits for the answers that are to come, and returns what they know.
    pub(crate) async fn finish(self) -> anyhow::Result<Tally> {
        self.orders.send_modify(|orders| orders.rests = true);
        for task in self.tasks {
            task.await.context("a miner has panicked")??;
        }
        Ok(self.shared.tally.lock().unwrap_or_else(PoisonError::into_inner).clone())
    }
}

/// One miner, until it is to rest.
async fn work(
    address: Address,
    channel: ChannelConfig,
    mut orders: watch::Receiver<Orders>,
    shared: Arc<Shared>,
) -> anyhow::Result<()> {
    loop {
        let Orders { pool, rests } = orders.borrow_and_update().clone();
        if rests {
            return Ok(());
        }
        let Some((miner, channel_id)) = connect(pool, &channel).await else {
            sleep(RETRY_PAUSE).await;
            continue;
        };
        shared.connected.fetch_add(1, Ordering::Relaxed);
        let is_over = follow(&miner, &mut orders, &shared).await;
        if is_over {
            miner.limit_hash_rate(channel_id, Some(0.0)).await?;
            if let Err(error) = miner.wait_for_answers(ANSWER_TIMEOUT).await {
                bail!("the last answers did not come: {error}");
            }
        }
        let told = miner.read(Record::accepted_count);
        shared.connected.fetch_sub(1, Ordering::Relaxed);
        let record = miner.close().await;
        shared.acknowledged.fetch_add((record.accepted_count() - told) as u64, Ordering::Relaxed);
        let mut tally = shared.tally.lock().unwrap_or_else(PoisonError::into_inner);
        tally.lost += u64::from(!is_over);
        tally.add(&address, &record);
    }
}

async fn connect(pool: PoolAddress, channel: &ChannelConfig) -> Option<(Miner, u32)> {
    let miner = Miner::connect(MinerConfig::new(pool)).await.ok()?;
    let channel_id = miner.open(channel.clone()).await.ok()?.channel_id;
    Some((miner, channel_id))
}

/// Tells of acknowledged shares until the connection ends; true if the miner is to rest before that.
async fn follow(miner: &Miner, orders: &mut watch::Receiver<Orders>, shared: &Shared) -> bool {
    let mut told = 0;
    loop {
        let rests = tokio::time::timeout(LOOK_INTERVAL, orders.wait_for(|orders| orders.rests)).await.is_ok();
        let (acknowledged, has_ended) = miner.read(|record| (record.accepted_count(), record.end.is_some()));
        shared.acknowledged.fetch_add((acknowledged - told) as u64, Ordering::Relaxed);
        told = acknowledged;
        if rests || has_ended {
            return rests && !has_ended;
        }
    }
}
