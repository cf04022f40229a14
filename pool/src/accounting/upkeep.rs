//! Upkeep of the share log while the pool runs: old shares are folded, and those that no block needs are deleted.

use std::{io, num::NonZeroU32, sync::Arc, time::Duration};

use payouts::{
    books::{Books, BooksError},
    share::ShareSeq,
    store::Store,
};
use thiserror::Error;
use tokio::{sync::watch, time::timeout};
use tracing::{debug, info, warn};

use super::{blocks::Spool, segments::Segments, share_log::unix_time_ms};

/// When the first round begins: after a start there is more urgent work.
const FIRST_AFTER: Duration = Duration::from_secs(300);
/// How often there is a round: shares are folded by the hour.
const INTERVAL: Duration = Duration::from_secs(3_600);
/// Every how many rounds shares are deleted: that reads all that are kept.
const ROUNDS_PER_DELETION: u32 = 24;
/// For how long shares stay as they are: jobs as old as that find no blocks any more.
const LIVE_MS: i64 = 2 * 3_600_000;
/// How many rounds take longer than that, whatever the clock shows meanwhile.
const LIVE_ROUNDS: usize = 3;
/// What shares are folded by.
const HOUR_MS: i64 = 3_600_000;

#[derive(Debug, Error)]
enum UpkeepError {
    #[error(transparent)]
    Books(#[from] BooksError),
    #[error("kept blocks cannot be listed: {0}")]
    Spool(#[from] io::Error),
}

/// Keeps the share log small until the pool shuts down. What fails is tried again in the next round.
#[derive(Clone, Debug)]
pub struct Upkeep {
    /// The share log as it grows.
    pub segments: Segments,
    /// Where the shares are.
    pub store: Arc<dyn Store>,
    /// What folds and deletes them.
    pub books: Arc<Books>,
    /// Where blocks wait for the books.
    pub spool: Spool,
    /// How many blocks' worth of work is kept.
    pub keep: NonZeroU32,
}

impl Upkeep {
    /// Works in rounds until the pool shuts down.
    pub async fn run(self, mut draining: watch::Receiver<bool>) {
        let (mut wait, mut folded) = (FIRST_AFTER, ShareSeq::new(0));
        // Jobs of earlier runs find no blocks: what lies before this one can be folded at once.
        let mut settled = SettledCuts::beginning_at(self.segments.newest_cut());
        for round in 0u32.. {
            if timeout(wait, draining.wait_for(|draining| *draining)).await.is_ok() {
                return;
            }
            wait = INTERVAL;
            let deletes = round.is_multiple_of(ROUNDS_PER_DELETION);
            let limit = settled.push(self.segments.newest_cut());
            match self.round(folded, limit, deletes).await {
                Ok(upto) => folded = upto,
                Err(error) => warn!(%error, "old shares could not be folded or deleted, will try again"),
            }
        }
    }

    /// Folds what is behind `folded`, not behind `limit`, and old enough by the clock, and returns how far it came.
    async fn round(&self, folded: ShareSeq, limit: ShareSeq, deletes: bool) -> Result<ShareSeq, UpkeepError> {
        if self.spool.holds_any()? {
            // A block on its way to the books may need any segment as it was.
            return Ok(folded);
        }
        let frozen = self.books.freeze_windows().await?;
        if frozen > 0 {
            info!(blocks = frozen, "what was counted for old blocks is kept with them now");
        }
        // Whole hours, so that each is folded once.
        let until_ms = (unix_time_ms() - LIVE_MS).div_euclid(HOUR_MS) * HOUR_MS;
        let old = self.store.position_at(until_ms).await.map_err(BooksError::from)?;
        // The history tells shares apart by time and worker: it takes them in first.
        let recorded = self.store.history_progress().await.map_err(BooksError::from)?;
        let recorded = recorded.map_or(ShareSeq::new(0), |recorded| recorded.upto);
        let upto = old.min(limit).min(recorded).max(folded);
        let segments = self.books.fold_shares(folded, upto, &[]).await?;
        debug!(segments, %upto, "old shares folded");
        if deletes {
            let rows = self.books.delete_shares(self.keep, upto).await?;
            if rows > 0 {
                info!(rows, "shares deleted that no window needs");
            }
        }
        Ok(upto)
    }
}

/// Where the log was cut in the last rounds. What the clock calls old may be new, if it was set forward: what came after
/// the oldest of these cuts is left alone, for jobs that begin there may still find blocks.
struct SettledCuts([ShareSeq; LIVE_ROUNDS]);

impl SettledCuts {
    fn beginning_at(cut: ShareSeq) -> Self {
        Self([cut; LIVE_ROUNDS])
    }

    /// Adds this round's cut and returns that of [`LIVE_ROUNDS`] rounds ago.
    fn push(&mut self, cut: ShareSeq) -> ShareSeq {
        let oldest = self.0[0];
        self.0.rotate_left(1);
        self.0[LIVE_ROUNDS - 1] = cut;
        oldest
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn shares_are_live_for_two_hours_of_rounds_whatever_the_clock_shows() {
        assert!(INTERVAL.as_millis() * (LIVE_ROUNDS as u128 - 1) >= LIVE_MS as u128);
        let cut = ShareSeq::new;
        let mut settled = SettledCuts::beginning_at(cut(10));
        let limits: Vec<_> = [11, 12, 13, 14, 15].into_iter().map(|newest| settled.push(cut(newest)).get()).collect();
        assert_eq!(limits, [10, 10, 10, 11, 12]);
    }
}
