//! Luck: how many blocks the pool has found, beside how many its work finds on average.

use bitcoin::CompactTarget;
use payouts::{
    history::{Luck, Progress, Round, effort, rounds},
    store::Store,
};
use serde::Serialize;

use super::Refusal;

/// The most blocks that luck is told over.
const BLOCKS: u32 = 100;
const DAY_MS: i64 = 86_400_000;

/// The pool's luck.
#[derive(Clone, Debug, PartialEq, Serialize, utoipa::ToSchema)]
pub struct LuckReport {
    /// What the round that is under way has taken so far, over what a block takes on average: 1 is when a block is due.
    /// Nothing while the pool does not know the network's target, or what came before, and on regtest.
    pub round_effort: Option<f64>,
    /// Over the newest block, the last ten and the last hundred, and over those of the last week and the last 30 days.
    pub stretches: Vec<LuckStretch>,
}

/// Luck over some blocks.
#[derive(Clone, Debug, PartialEq, Serialize, utoipa::ToSchema)]
pub struct LuckStretch {
    /// `last`, `last_10`, `last_100`, `7d`, `30d`; a stretch of time has the newest hundred blocks at most.
    pub over: &'static str,
    /// The blocks that were found, as far as it is known what they have taken. Those that left the chain count.
    pub blocks: u32,
    /// How many the work between them finds on average.
    pub expected: f64,
    /// Found over expected: 1 is as expected, more is luck. Nothing without blocks.
    pub luck: Option<f64>,
}

/// Tells the pool's luck. `nbits` is the network's target now, if it is known.
///
/// # Errors
///
/// When the store cannot be read.
pub async fn show_luck(store: &dyn Store, nbits: Option<CompactTarget>, now_ms: i64) -> Result<LuckReport, Refusal> {
    let rounds = newest_rounds(store, BLOCKS).await?;
    let progress = store.history_progress().await?;
    let since = |days: i64| rounds.iter().filter(move |round| round.block.found_at_ms >= now_ms - days * DAY_MS);
    let stretches = vec![
        stretch("last", rounds.iter().take(1)),
        stretch("last_10", rounds.iter().take(10)),
        stretch("last_100", &rounds),
        stretch("7d", since(7)),
        stretch("30d", since(30)),
    ];
    Ok(LuckReport { round_effort: round_effort(&rounds, progress, nbits), stretches })
}

/// Returns the newest rounds, newest first.
///
/// # Errors
///
/// When the store cannot be read.
pub async fn newest_rounds(store: &dyn Store, limit: u32) -> Result<Vec<Round>, Refusal> {
    // One more than there are rounds: a round begins with the block before.
    let blocks = store.blocks_with_work(limit + 1).await?;
    let is_all = blocks.len() <= limit as usize;
    Ok(rounds(&blocks, is_all))
}

fn round_effort(rounds: &[Round], progress: Option<Progress>, nbits: Option<CompactTarget>) -> Option<f64> {
    let (progress, nbits) = (progress?, nbits?);
    let before = match rounds.first() {
        Some(newest) => newest.block.work?,
        None => Default::default(),
    };
    effort(progress.work.more_than(before), nbits)
}

fn stretch<'a>(over: &'static str, rounds: impl IntoIterator<Item = &'a Round>) -> LuckStretch {
    let luck = Luck::of(rounds);
    LuckStretch { over, blocks: luck.blocks, expected: luck.expected, luck: luck.ratio() }
}
