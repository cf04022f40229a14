//! The count at the end: what miners were told, what is stored, what a block's window counts, and what the ledger says.

use std::{collections::BTreeMap, time::Duration};

use ::tests::miner::{ChannelConfig, Miner, MinerConfig, Record};
use anyhow::{Context, bail, ensure};
use bitcoin::{Address, BlockHash, hashes::Hash};
use payouts::{
    share::{Difficulty, Work},
    store::Store,
};
use protocol::codec::U256;
use serde::Serialize;
use tokio::time::{Instant, sleep};

use crate::{
    crew::{Counts, Crew, Tally},
    site::Site,
};

/// The difficulty of a miner that looks for blocks: the hardest power of two below the signet's 0.0011, so that nearly
/// every share is one.
const BLOCK_DIFFICULTY_LOG2: i8 = -10;
/// How long a block may take, with its booking.
const BLOCK_TIMEOUT: Duration = Duration::from_secs(300);
/// Longer than a job stays the newest: the next one's window holds all that was acknowledged before.
const JOB_TIME: Duration = Duration::from_secs(12);
const POLL_INTERVAL: Duration = Duration::from_millis(200);

/// What was found equal, or not.
#[derive(Clone, Debug, Default, Serialize)]
pub(crate) struct Count {
    /// Shares handed in.
    pub(crate) submitted: u64,
    /// Acknowledged to the miners.
    pub(crate) acknowledged: u64,
    /// In the store.
    pub(crate) stored: u64,
    /// Without an answer when their connection was lost: they explain what is stored and was not acknowledged.
    pub(crate) unknown: u64,
    /// Counted by the window of a block that was found last.
    pub(crate) counted: u64,
    /// Refused, by code.
    pub(crate) refused: BTreeMap<String, u64>,
    /// Connections that were lost.
    pub(crate) lost_connections: u64,
    /// Blocks in the books.
    pub(crate) blocks: usize,
    /// What is wrong; nothing if all is well.
    pub(crate) wrong: Vec<String>,
}

/// Lets a miner find one block and waits until it is booked. What it does counts with the crew.
pub(crate) async fn find_block(site: &Site, crew: &Crew) -> anyhow::Result<BlockHash> {
    let address = site.new_address();
    let (found, record) = mine_block(site, &address).await?;
    crew.add(&address, &record);
    Ok(found)
}

async fn mine_block(site: &Site, address: &Address) -> anyhow::Result<(BlockHash, Record)> {
    let miner = Miner::connect(MinerConfig::new(site.pool.address()?)).await?;
    let channel = ChannelConfig::standard(address.to_string());
    let opened = miner.open(ChannelConfig { max_target: target(BLOCK_DIFFICULTY_LOG2), ..channel }).await?;
    let block = |record: &Record| record.submitted.iter().find(|share| share.is_block).cloned();
    let found = miner.wait_for(BLOCK_TIMEOUT, "a block", block).await?;
    miner.limit_hash_rate(opened.channel_id, Some(0.0)).await?;
    miner.wait_for_answers(BLOCK_TIMEOUT).await?;
    let hash = BlockHash::from_byte_array(found.hash.context("the miner has found it itself")?.0);
    let store = site.store().await?;
    let begun = Instant::now();
    while store.block(hash).await?.is_none() {
        ensure!(begun.elapsed() < BLOCK_TIMEOUT, "block {hash} is not booked");
        sleep(POLL_INTERVAL).await;
    }
    Ok((hash, miner.close().await))
}

/// Lets the crew rest, finds a last block over all that was stored, and compares.
pub(crate) async fn count(site: &mut Site, crew: Crew, addresses: &[Address]) -> anyhow::Result<Count> {
    let tally = crew.finish().await?;
    sleep(JOB_TIME).await;
    let (block, finder) = (mine_block(site, &site.new_address()).await?, addresses);
    let store = site.store().await?;
    let mut count = compare(&*store, &tally, finder).await?;
    compare_window(&*store, block.0, &tally, &mut count).await?;
    count.blocks = store.blocks(u32::MAX).await?.len();
    for outcome in [site.pool.ask(&["ledger", "verify"]), restart_and_verify(site)] {
        match outcome {
            Ok(said) if said.contains("All records are as they were written") => {}
            Ok(said) => count.wrong.push(format!("ledger verify: {said}")),
            Err(error) => count.wrong.push(format!("ledger verify: {error:#}")),
        }
    }
    Ok(count)
}

fn restart_and_verify(site: &mut Site) -> anyhow::Result<String> {
    site.pool.stop()?;
    site.start()?;
    site.pool.ask(&["ledger", "verify"])
}

/// Compares what miners know with what is stored, account by account.
async fn compare(store: &dyn Store, tally: &Tally, crew: &[Address]) -> anyhow::Result<Count> {
    let Counts { submitted, acknowledged, unknown } = tally.total();
    let refused = tally.refused.clone();
    let mut count = Count { submitted, acknowledged, unknown, refused, ..Count::default() };
    count.lost_connections = tally.lost;
    count.wrong.extend(tally.faults.iter().map(|fault| format!("the pool broke a rule: {fault}")));
    let mut addresses: Vec<&Address> = tally.counts.keys().map(|(address, _)| address).collect();
    addresses.dedup();
    for address in addresses {
        let (mut least, mut most) = ((0, Work::default()), (0, Work::default()));
        for ((_, target), counts) in tally.counts.iter().filter(|((of, _), _)| of == address) {
            let difficulty = difficulty_of(*target)?;
            let may_be = counts.acknowledged + counts.unknown;
            least = (least.0 + counts.acknowledged, least.1.plus(Work::of(difficulty, counts.acknowledged)));
            most = (most.0 + may_be, most.1.plus(Work::of(difficulty, may_be)));
        }
        let stored = match store.find_account(&address.to_string()).await? {
            Some(account) => store.share_totals(Some(account.id), 0).await?,
            None => payouts::share::ShareTotals::default(),
        };
        count.stored += stored.count;
        if stored.count < least.0 || stored.work < least.1 {
            count.wrong.push(format!("{address}: of {} acknowledged shares {} are stored", least.0, stored.count));
        }
        if stored.count > most.0 || stored.work > most.1 {
            count.wrong.push(format!("{address}: {} shares are stored, and {} are the most", stored.count, most.0));
        }
    }
    ensure!(crew.iter().any(|address| tally.counts.keys().any(|(of, _)| of == address)), "nobody has mined");
    Ok(count)
}

/// Compares what a block's window counts of each account with what is stored of it.
async fn compare_window(store: &dyn Store, block: BlockHash, tally: &Tally, count: &mut Count) -> anyhow::Result<()> {
    let window = store.block_window(block).await?.context("the last block has a window")?;
    let mut addresses: Vec<&Address> = tally.counts.keys().map(|(address, _)| address).collect();
    addresses.dedup();
    for address in addresses {
        let Some(account) = store.find_account(&address.to_string()).await? else { continue };
        let counted = window.accounts.get(&account.id).map_or(0, |counted| counted.shares);
        let stored = store.share_totals(Some(account.id), 0).await?.count;
        count.counted += counted;
        if counted != stored {
            count.wrong.push(format!("{address}: {stored} shares are stored, and a block's window counts {counted}"));
        }
    }
    Ok(())
}

/// The target of difficulty 2^log2, as bytes from the lowest.
fn target(log2: i8) -> U256 {
    let mut target = [0; 32];
    // Difficulty 1 is 0xffff times 2^208.
    let shift = (208 - i32::from(log2)).unsigned_abs() as usize;
    let bits = 0xffff_u32 << (shift % 8);
    for (byte, place) in bits.to_le_bytes().into_iter().zip(shift / 8..32) {
        target[place] = byte;
    }
    U256(target)
}

fn difficulty_of(sought: U256) -> anyhow::Result<Difficulty> {
    let Some(log2) = (-32..=95).find(|&log2| target(log2) == sought) else { bail!("{sought} is no power of two") };
    Difficulty::from_log2(log2).context("the store knows this difficulty")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn targets_are_those_of_powers_of_two() {
        let bytes = target(0).0;
        assert_eq!((bytes[26], bytes[27], bytes.iter().filter(|&&byte| byte != 0).count()), (0xff, 0xff, 2));
        assert_eq!(target(-8).0[27..29], [0xff, 0xff]);
        assert_eq!(target(1).0[25..28], [0x80, 0xff, 0x7f]);
        for log2 in [-32, -10, -1, 0, 1, 95] {
            assert_eq!(difficulty_of(target(log2)).unwrap(), Difficulty::from_log2(log2).unwrap());
        }
        assert!(difficulty_of(U256([7; 32])).is_err());
    }
}
