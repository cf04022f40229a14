//! The segments of the share log: which one takes shares, and which are complete.
//!
//! A segment ends where a job is made: what the job's block pays for is whole segments, so shares can be kept as sums.
//! Ending one waits for nothing. Shares that are on their way to the disk just then belong to the segment with which
//! their group began, so a block is entered in the books when no such group is on its way any more.

use std::sync::Arc;

use jiff::Timestamp;
use payouts::share::ShareSeq;
use tokio::sync::watch;

use crate::mining::job::SharePosition;

/// A place where the log was cut, and when: shares that were on disk by then lie at or before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cut {
    /// The last segment before it.
    pub position: ShareSeq,
    /// When it was made, in milliseconds since 1970 UTC.
    pub at_ms: i64,
}

/// The segments of one session of the pool; all clones are the same.
#[derive(Clone, Debug)]
pub struct Segments {
    state: Arc<watch::Sender<State>>,
}

#[derive(Clone, Copy, Debug)]
struct State {
    /// The segment that the next group belongs to.
    open: ShareSeq,
    /// Whether a group belongs to it already.
    is_used: bool,
    /// When the log was last cut, whether there was something to cut or not.
    cut_at_ms: i64,
    /// The segment of the group that is on its way to the disk.
    in_flight: Option<ShareSeq>,
}

impl Segments {
    /// Begins with the first segment of a session.
    ///
    /// None if the session's number is beyond what positions have room for.
    pub fn of_session(session: i64) -> Option<Self> {
        let (open, cut_at_ms) = (ShareSeq::of_session(session, 1)?, now_ms());
        let state = State { open, is_used: false, cut_at_ms, in_flight: None };
        Some(Self { state: Arc::new(watch::Sender::new(state)) })
    }

    /// Ends the open segment, and returns the position where the log is cut: all shares so far are at or before it, all
    /// that come later behind it. An empty segment stays open, and the position is that of the cut before.
    pub fn cut(&self) -> SharePosition {
        let mut position = 0;
        self.state.send_modify(|state| {
            if state.is_used {
                // There are not 2^32 jobs in a session: one a second would take 136 years.
                state.open = ShareSeq::new(state.open.get() + 1);
                state.is_used = false;
            }
            state.cut_at_ms = now_ms();
            position = state.open.get() - 1;
        });
        SharePosition(position)
    }

    /// Returns the position of the newest cut: no job that was made so far has a later one.
    pub fn newest_cut(&self) -> ShareSeq {
        ShareSeq::new(self.state.borrow().open.get() - 1)
    }

    /// Returns the newest cut.
    pub fn last_cut(&self) -> Cut {
        let state = self.state.borrow();
        Cut { position: ShareSeq::new(state.open.get() - 1), at_ms: state.cut_at_ms }
    }

    /// Waits until all shares at and before `position` are on disk. There are never more of them from then on.
    pub async fn settled(&self, position: ShareSeq) {
        let is_settled = |state: &State| state.in_flight.is_none_or(|segment| segment > position);
        let mut state = self.state.subscribe();
        state.wait_for(is_settled).await.expect("the sender is held here");
    }

    /// Returns the segment of a group that goes to the disk now. One group is on its way at a time.
    pub(crate) fn begin_group(&self) -> ShareSeq {
        let mut segment = ShareSeq::new(0);
        self.state.send_modify(|state| {
            state.is_used = true;
            state.in_flight = Some(state.open);
            segment = state.open;
        });
        segment
    }

    /// Notes that the group is on disk.
    pub(crate) fn end_group(&self) {
        self.state.send_modify(|state| state.in_flight = None);
    }
}

fn now_ms() -> i64 {
    Timestamp::now().as_millisecond()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::{
        sync::{
            Mutex,
            atomic::{AtomicBool, Ordering},
        },
        time::Duration,
    };

    use tokio::time::timeout;

    use super::*;

    const SESSION: i64 = 3;

    fn segments() -> Segments {
        Segments::of_session(SESSION).unwrap()
    }

    fn position(segment: u32) -> ShareSeq {
        ShareSeq::of_session(SESSION, segment).unwrap()
    }

    fn cut(segments: &Segments) -> ShareSeq {
        ShareSeq::new(segments.cut().0)
    }

    async fn is_settled(segments: &Segments, position: ShareSeq) -> bool {
        timeout(Duration::ZERO, segments.settled(position)).await.is_ok()
    }

    #[test]
    fn cut_ends_a_segment_that_has_shares_and_leaves_an_empty_one_open() {
        let segments = segments();
        assert_eq!([cut(&segments), cut(&segments)], [position(0), position(0)]);
        assert_eq!(segments.begin_group(), position(1));
        segments.end_group();
        assert_eq!(segments.begin_group(), position(1));
        segments.end_group();
        assert_eq!([cut(&segments), cut(&segments)], [position(1), position(1)]);
        assert_eq!(segments.begin_group(), position(2));
        assert_eq!(segments.newest_cut(), position(1), "nothing is cut by asking");
    }

    #[tokio::test]
    async fn position_is_settled_when_no_group_of_its_segments_is_on_its_way() {
        let segments = segments();
        assert!(is_settled(&segments, position(0)).await);
        segments.begin_group();
        let before = cut(&segments);
        assert!(!is_settled(&segments, before).await);
        assert!(is_settled(&segments, position(0)).await);
        let waiting = tokio::spawn({
            let segments = segments.clone();
            async move { segments.settled(before).await }
        });
        tokio::task::yield_now().await;
        assert!(!waiting.is_finished());
        segments.end_group();
        waiting.await.unwrap();
        // The next group does not belong to it.
        assert!(segments.begin_group() > before);
        assert!(is_settled(&segments, before).await);
    }

    #[test]
    fn positions_of_other_sessions_are_settled() {
        let segments = segments();
        segments.begin_group();
        let earlier = ShareSeq::of_session(SESSION - 1, u32::MAX).unwrap();
        assert!(earlier < position(0) && ShareSeq::new(u32::MAX.into()) < earlier);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        assert!(runtime.block_on(is_settled(&segments, earlier)));
        assert!(Segments::of_session(1 << 31).is_none());
    }

    /// Threads that cut while another one commits: whatever was settled never grows, and no cut splits a group.
    #[test]
    fn what_is_settled_stays_as_it_is_whoever_cuts_meanwhile() {
        let segments = segments();
        let stored: Mutex<Vec<ShareSeq>> = Mutex::default();
        let ended = AtomicBool::new(false);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                for _ in 0..200 {
                    let segment = segments.begin_group();
                    std::thread::sleep(Duration::from_micros(50));
                    stored.lock().unwrap().push(segment);
                    segments.end_group();
                }
                ended.store(true, Ordering::Release);
            });
            for _ in 0..3 {
                scope.spawn(|| {
                    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
                    let mut seen = Vec::new();
                    while !ended.load(Ordering::Acquire) {
                        let position = cut(&segments);
                        runtime.block_on(segments.settled(position));
                        let stored = stored.lock().unwrap();
                        seen.push((position, stored.iter().filter(|segment| **segment <= position).count()));
                        drop(stored);
                        std::thread::sleep(Duration::from_micros(20));
                    }
                    let stored = stored.lock().unwrap();
                    for (position, count) in seen {
                        assert_eq!(stored.iter().filter(|segment| **segment <= position).count(), count);
                    }
                });
            }
        });
        assert!(stored.lock().unwrap().is_sorted());
    }
}
