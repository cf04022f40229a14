//! The share log kept small: old segments are folded by the hour, and what no window needs any more is deleted.
//!
//! Folding changes no sum at any position where a block's window begins, so it leaves every window the same but for the
//! part at its far edge, which is taken from a longer segment then. What was counted for recorded blocks is frozen with
//! them. Deleting follows work, never days.

use std::{collections::BTreeSet, num::NonZeroU32};

use bitcoin::{Amount, CompactTarget};
use tokio::sync::MutexGuard;

use crate::{
    books::{BlockPhase, BlockRecord, Books, BooksError, FrozenWindow, credits_of, window},
    crediting,
    scheme::{
        rule::Scheme,
        running::RunningWindow,
        window::{Measure, Window},
    },
    share::{SegmentSize, ShareSeq},
};

/// Shares of this time and one kind become one row.
const FOLDED_SPAN_MS: i64 = 3_600_000;
/// Segments looked at together: more than there are in the folded span.
const SIZES: u32 = 256;
/// Rows that one transaction folds, unless two segments have more. Shares wait for the disk meanwhile.
const FOLDED_ROWS: u64 = 20_000;
/// Rows that one transaction deletes.
const DELETED_ROWS: u32 = 20_000;
/// Blocks read first in search of a matured one; the search goes on with twice as many.
const BLOCK_PAGE: u32 = 64;

impl Books {
    /// Freezes what was counted for blocks that were recorded when that was not kept, so that they can be explained
    /// after their shares are folded or gone. To be called before anything else here. Returns how many blocks it was.
    ///
    /// # Errors
    ///
    /// If the store fails.
    pub async fn freeze_windows(&self) -> Result<u32, BooksError> {
        let mut frozen = 0;
        for block in self.store.blocks_without_window().await? {
            let BlockRecord { found, rule: Some(rule), .. } = &block else { continue };
            let Some(counted) = window::counted(&*self.store, *rule, found.nbits, found.share_position).await? else {
                continue;
            };
            let Some(kept) = FrozenWindow::of(&counted) else { continue };
            let mut credits = self.store.credits(found.hash).await?;
            credits.iter_mut().for_each(|credit| credit.paid = Amount::ZERO);
            if credits_of(&rule.split(found.reward(), Some(&counted), found.finder)) != credits {
                // What does not explain them is not kept as if it did.
                tracing::warn!(block_hash = %found.hash, "the credits of a block do not follow from its shares");
                continue;
            }
            self.store.keep_window(found.hash, &kept).await?;
            frozen += 1;
        }
        Ok(frozen)
    }

    /// Folds the segments after `after` up to and with `upto`, each hour's into one, and returns how many went.
    ///
    /// None are folded across the share position of a recorded block, or across one of `boundaries`: those of blocks
    /// on their way to the books, and where a period ends whose work is still to be credited. A job's shares lose
    /// their job: what is credited by job must be credited up to `upto`. Blocks that are found later have positions
    /// behind `upto`, so a window that is kept counted forgets what they do not reach.
    ///
    /// Under SLICE nothing is folded.
    ///
    /// # Errors
    ///
    /// If the store fails. What was folded stays so.
    pub async fn fold_shares(
        &self,
        after: ShareSeq,
        upto: ShareSeq,
        boundaries: &[ShareSeq],
    ) -> Result<u64, BooksError> {
        if let Scheme::Slice(_) = self.scheme {
            // A window is cut by the jobs of its shares, and what lies behind every window is deleted soon.
            return Ok(0);
        }
        let upto = upto.min(self.paid_upto().await?);
        let mut bounds: BTreeSet<_> = boundaries.iter().copied().collect();
        bounds.extend(self.store.block_positions(after, upto).await?);
        let (mut from, mut gone) = (after, 0);
        loop {
            let sizes = self.store.segment_sizes(from, upto, SIZES).await?;
            let run = first_run(&sizes, &bounds);
            let Some(last) = run.last() else {
                if let Some(running) = &self.running {
                    // A pool that found no block yet has asked for no window: what none reaches is known from the next.
                    let mut running = running.lock().await;
                    self.follow(&mut running).await?;
                    running.forget(upto);
                }
                return Ok(gone);
            };
            gone += run.len() as u64 - 1;
            self.fold_run(from, run).await?;
            // A run that fills the page may go on behind it, and then goes on with what it has become.
            if run.len() < sizes.len() || run.len() == 1 || sizes.len() < SIZES as usize {
                from = last.position;
            }
        }
    }

    /// Folds segments into one, a bounded number of rows at a time.
    async fn fold_run(&self, after: ShareSeq, run: &[SegmentSize]) -> Result<(), BooksError> {
        let mut folded = run.first().map_or(0, |first| first.rows);
        let mut rest = run.get(1..).unwrap_or_default();
        while let Some(next) = rest.first() {
            let mut rows = folded + next.rows;
            let more = rest[1..].iter().take_while(|size| {
                rows += size.rows;
                rows <= FOLDED_ROWS
            });
            let (now, later) = rest.split_at(1 + more.count());
            let upto = now.last().map_or(next.position, |last| last.position);
            folded = match &self.running {
                Some(running) => {
                    // No window is counted between the two.
                    let mut folding = Folding { running: running.lock().await, upto, is_known: false };
                    let left = self.store.fold_segments(after, upto).await?;
                    folding.running.fold(after, upto);
                    folding.is_known = true;
                    left
                }
                None => self.store.fold_segments(after, upto).await?,
            };
            rest = later;
        }
        Ok(())
    }

    /// Deletes the oldest shares: what lies behind `keep` blocks' worth of work, by the network's target then and by
    /// today's, is needed by no immature block and, with PROP, by no round, and lies at or before `upto`. Returns how
    /// many rows went.
    ///
    /// # Errors
    ///
    /// If the store fails. What was deleted stays so.
    pub async fn delete_shares(&self, keep: NonZeroU32, upto: ShareSeq) -> Result<u64, BooksError> {
        let Some(behind) = self.behind(keep).await? else { return Ok(0) };
        let mut upto = upto.min(behind).min(self.paid_upto().await?);
        for block in self.store.blocks_to_watch(u32::MAX).await? {
            if let Some(window) = self.store.block_window(block.found.hash).await? {
                upto = upto.min(ShareSeq::new(window.span.0.get() - 1));
            }
        }
        if let Scheme::Prop(_) = self.scheme {
            upto = upto.min(self.last_matured().await?);
        }
        let mut deleted = 0;
        loop {
            let rows = self.store.delete_segments(upto, DELETED_ROWS).await?;
            deleted += rows;
            if rows == 0 {
                break;
            }
        }
        Ok(deleted)
    }

    /// Returns the position up to which all work is paid that the reserve pays for; shares behind it stay as they are.
    async fn paid_upto(&self) -> Result<ShareSeq, BooksError> {
        Ok(crediting::unpaid_after(&*self.store).await?.unwrap_or(ShareSeq::new(i64::MAX)))
    }

    /// Returns the newest position behind so many blocks' worth of work, if there is that much.
    async fn behind(&self, keep: NonZeroU32) -> Result<Option<ShareSeq>, BooksError> {
        let mut newest = self.store.share_position().await?;
        let mut windows: Option<[Window; 2]> = None;
        loop {
            let page = self.store.segments_back(newest, window::ROW_PAGE).await?;
            let Some(oldest) = page.last() else { return Ok(None) };
            newest = ShareSeq::new(oldest.position.get() - 1);
            for segment in &page {
                let today = segment.rows.first().map(|row| row.nbits).unwrap_or(CompactTarget::from_consensus(0));
                let windows = windows.get_or_insert_with(|| {
                    [Measure::NetworkAtSubmission, Measure::NetworkAtBlock(today)]
                        .map(|measure| Window::of_multiple(measure, keep.get()))
                });
                windows.iter_mut().for_each(|window| window.count(segment));
                if windows.iter().all(Window::is_full) {
                    return Ok(Some(ShareSeq::new(segment.position.get() - 1)));
                }
            }
        }
    }

    /// Returns the share position of the pool's newest matured block, 0 for none: no round begins before it.
    async fn last_matured(&self) -> Result<ShareSeq, BooksError> {
        let mut limit = BLOCK_PAGE;
        loop {
            let blocks = self.store.blocks(limit).await?;
            if let Some(block) = blocks.iter().find(|block| block.state.phase == BlockPhase::Matured) {
                return Ok(block.found.share_position);
            }
            if blocks.len() < usize::try_from(limit).unwrap_or(usize::MAX) {
                return Ok(ShareSeq::new(0));
            }
            limit = limit.saturating_mul(2);
        }
    }
}

/// A window kept counted while the store folds. If it is not known whether the store did, because the answer was lost or
/// not waited for, what is in doubt is dropped, and read from the store when it is needed.
struct Folding<'a> {
    running: MutexGuard<'a, RunningWindow>,
    upto: ShareSeq,
    is_known: bool,
}

impl Drop for Folding<'_> {
    fn drop(&mut self) {
        if !self.is_known {
            self.running.drop_upto(self.upto);
        }
    }
}

/// Returns the first segments that may become one: of the same hour, with no boundary between them.
fn first_run<'a>(sizes: &'a [SegmentSize], bounds: &BTreeSet<ShareSeq>) -> &'a [SegmentSize] {
    let hour = |size: &SegmentSize| size.begun_at_ms.div_euclid(FOLDED_SPAN_MS);
    let follows = |pair: &[SegmentSize]| {
        hour(&pair[0]) == hour(&pair[1]) && bounds.range(pair[0].position..pair[1].position).next().is_none()
    };
    let more = sizes.windows(2).take_while(|pair| follows(pair)).count();
    &sizes[..sizes.len().min(1 + more)]
}

#[cfg(test)]
mod tests;
