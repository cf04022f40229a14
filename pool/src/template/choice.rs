//! Which of several nodes is used: watches them all, and decides.
//!
//! Owns the rules and their times. What a change of node means to templates belongs to [`super::bitcoind`].

use std::{
    sync::{Arc, Mutex, PoisonError},
    thread,
    time::{Duration, Instant},
};

use bitcoin::BlockHash;
use tracing::{info, warn};

use super::{
    node::{ChainInfo, Node, NodeError},
    nodes::Nodes,
    notice::Notice,
};
use crate::tasks::Ending;

/// How often each node is asked where it stands.
const CHECK_INTERVAL: Duration = Duration::from_secs(1);
/// A node that is asked and says nothing for so long does not answer.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(5);
/// How long a node may lack a block that another one has. A block takes a second or two from one to the other.
const BEHIND_LIMIT: Duration = Duration::from_secs(15);
/// How long a preferred node must have been well until it is used again: one that comes and goes is left alone.
const RETURN_AFTER: Duration = Duration::from_secs(30);
/// Blocks below the first tip at which all nodes must agree: no reorganisation goes as deep.
const ANCHOR_DEPTH: u32 = 100;

/// A block that the chain of every node must have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Anchor {
    height: u32,
    hash: BlockHash,
}

/// What a node said last.
#[derive(Clone, Debug)]
enum Report {
    /// It has not been asked yet.
    None,
    /// It can be worked with; its chain has this much work.
    Ready(ChainWork),
    /// It cannot.
    Unfit,
}

/// The work of a chain, as a number of 64 hexadecimal digits, which compare as numbers do.
type ChainWork = String;

/// What is known of a node.
#[derive(Clone, Debug)]
struct Standing {
    report: Report,
    /// Since when it could be worked with.
    fit_since: Option<Instant>,
    /// Since when it lacks a block that another one has.
    behind_since: Option<Instant>,
}

impl Standing {
    const UNKNOWN: Self = Self { report: Report::None, fit_since: None, behind_since: None };

    fn work(&self) -> Option<&ChainWork> {
        match &self.report {
            Report::Ready(work) => Some(work),
            Report::None | Report::Unfit => None,
        }
    }
}

/// The rules: which node is in use, as reports come in.
#[derive(Debug)]
struct Choice {
    standings: Vec<Standing>,
    in_use: usize,
    /// The most work that the node in use has shown: whatever has less is not the chain that miners work on.
    known: ChainWork,
}

impl Choice {
    fn new(count: usize, in_use: usize) -> Self {
        Self { standings: vec![Standing::UNKNOWN; count], in_use, known: ChainWork::new() }
    }

    /// Takes in what the nodes say now. Returns the node to turn to, if it is another than before.
    fn decide(&mut self, reports: Vec<Report>, now: Instant) -> Option<usize> {
        let most = reports.iter().filter_map(|report| match report {
            Report::Ready(work) => Some(work.clone()),
            Report::None | Report::Unfit => None,
        });
        let most = most.max().unwrap_or_default();
        for (standing, report) in self.standings.iter_mut().zip(reports) {
            standing.report = report;
            match &standing.report {
                Report::Ready(work) if *work < most => {
                    let since = *standing.behind_since.get_or_insert(now);
                    if now >= since + BEHIND_LIMIT {
                        standing.fit_since = None;
                    }
                }
                Report::Ready(_) => {
                    standing.behind_since = None;
                    standing.fit_since.get_or_insert(now);
                }
                Report::None => {}
                Report::Unfit => (standing.behind_since, standing.fit_since) = (None, None),
            }
        }
        if let Some(work) = self.standings[self.in_use].work() {
            self.known = self.known.clone().max(work.clone());
        }
        let next = self.next(now).filter(|next| *next != self.in_use)?;
        self.in_use = next;
        Some(next)
    }

    /// Whether the node in use is lost. At the start nothing is known of it yet; who began with it found it ready.
    fn is_lost(&self) -> bool {
        let current = &self.standings[self.in_use];
        !matches!(current.report, Report::None) && current.fit_since.is_none()
    }

    /// Returns a node that could take over if it had the blocks that miners work on.
    fn lacking(&self) -> Option<usize> {
        let lacks = |standing: &Standing| standing.work().is_some_and(|work| *work < self.known);
        self.standings.iter().position(lacks).filter(|_| self.is_lost())
    }

    fn next(&self, now: Instant) -> Option<usize> {
        let current_is_lost = self.is_lost();
        (0..self.standings.len()).find(|&index| {
            let standing = &self.standings[index];
            let has_all = standing.work().is_some_and(|work| *work >= self.known);
            let since = standing.fit_since.filter(|_| has_all);
            match index < self.in_use {
                true if !current_is_lost => since.is_some_and(|since| now >= since + RETURN_AFTER),
                _ if index == self.in_use => !current_is_lost,
                _ => since.is_some(),
            }
        })
    }
}

/// Watches nodes of which there are several, and turns to another when it has to be, for as long as `goes_on`. After each
/// change `turned` is called.
///
/// A thread for each node asks it, so that one that hangs holds up no other. One that panics ends the pool by `ending`.
pub(super) fn watch(nodes: &Nodes, ending: &Ending, goes_on: impl Fn() -> bool, mut turned: impl FnMut()) {
    let reports: Arc<[Mutex<Report>]> = nodes.all().iter().map(|_| Mutex::new(Report::None)).collect();
    let anchor = Arc::new(Mutex::new(None));
    for (index, node) in nodes.all().iter().enumerate() {
        // Ends when this function has: it is the only other owner.
        let (reports, anchor) = (Arc::downgrade(&reports), Arc::clone(&anchor));
        let mut watched = Watched { node: node.clone(), was_ready: false, told: false };
        let watch = move || {
            while reports.strong_count() > 0 {
                let report = watched.ask(&anchor);
                let Some(reports) = reports.upgrade() else { return };
                *reports[index].lock().unwrap_or_else(PoisonError::into_inner) = report;
                drop(reports);
                thread::sleep(CHECK_INTERVAL);
            }
        };
        ending.vital_thread(format!("node-{index}"), watch);
    }
    let mut choice = Choice::new(nodes.all().len(), nodes.in_use().index);
    let mut notice = Notice::default();
    while goes_on() {
        set_anchor(&nodes.current(), &anchor);
        let now = reports.iter().map(|report| report.lock().unwrap_or_else(PoisonError::into_inner).clone());
        let before = nodes.current();
        if let Some(index) = choice.decide(now.collect(), Instant::now()) {
            nodes.turn_to(index);
            warn!(from = before.name(), to = nodes.current().name(), "another node is in use");
            turned();
        }
        if let Some(index) = choice.lacking() {
            let name = nodes.all()[index].name();
            if notice.is_due(name, Instant::now()) {
                warn!(
                    node = name,
                    "node lacks blocks that miners work on, or has another chain: it does not take over"
                );
            }
        }
        thread::sleep(CHECK_INTERVAL);
    }
}

/// Takes the block that all nodes must have from the first node that is in use, once.
fn set_anchor(node: &Node, anchor: &Mutex<Option<Anchor>>) {
    if anchor.lock().unwrap_or_else(PoisonError::into_inner).is_some() {
        return;
    }
    let found = node.check_ready_now(ANSWER_TIMEOUT).and_then(|info| {
        let height = info.blocks.saturating_sub(ANCHOR_DEPTH);
        Ok(Anchor { height, hash: node.block_hash_now(height, ANSWER_TIMEOUT)? })
    });
    if let Ok(found) = found {
        *anchor.lock().unwrap_or_else(PoisonError::into_inner) = Some(found);
    }
}

/// A node that is asked again and again.
struct Watched {
    node: Node,
    was_ready: bool,
    /// Whether the log has its trouble.
    told: bool,
}

impl Watched {
    fn ask(&mut self, anchor: &Mutex<Option<Anchor>>) -> Report {
        let anchor = *anchor.lock().unwrap_or_else(PoisonError::into_inner);
        let mut answer = self.check(anchor);
        if answer.is_err() && self.was_ready {
            // A single connection may fail by chance.
            thread::sleep(CHECK_INTERVAL);
            answer = self.check(anchor);
        }
        match answer {
            Ok(info) => {
                if !self.was_ready {
                    info!(node = self.node.name(), height = info.blocks, "node is ready");
                }
                (self.was_ready, self.told) = (true, false);
                Report::Ready(info.chain_work)
            }
            Err(error) => {
                if !self.told {
                    warn!(node = self.node.name(), %error, "node cannot be used");
                }
                (self.was_ready, self.told) = (false, true);
                Report::Unfit
            }
        }
    }

    /// Asks where the node stands. One that comes, or comes back, must have the chain of the others.
    fn check(&self, anchor: Option<Anchor>) -> Result<ChainInfo, NodeError> {
        let info = self.node.check_ready_now(ANSWER_TIMEOUT)?;
        if let (false, Some(Anchor { height, hash: expected })) = (self.was_ready, anchor)
            && info.blocks >= height
        {
            let found = self.node.block_at(height, ANSWER_TIMEOUT)?;
            if found != Some(expected) {
                return Err(NodeError::OtherChain { url: self.node.url().to_owned(), height, found, expected });
            }
        }
        Ok(info)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ready(work: u32) -> Report {
        Report::Ready(format!("{work:064x}"))
    }

    /// Two nodes, of which the first is in use, as a clock of the test's own goes on.
    struct Clock {
        choice: Choice,
        now: Instant,
    }

    impl Clock {
        fn start() -> Self {
            Self { choice: Choice::new(2, 0), now: Instant::now() }
        }

        fn after(&mut self, seconds: u64, first: Report, second: Report) -> usize {
            self.now += Duration::from_secs(seconds);
            self.choice.decide(vec![first, second], self.now);
            self.choice.in_use
        }
    }

    #[test]
    fn preferred_node_stays_in_use_while_both_are_well() {
        let mut clock = Clock::start();
        assert_eq!(clock.after(1, Report::None, ready(5)), 0);
        for work in 5..100 {
            assert_eq!(clock.after(1, ready(work), ready(work)), 0);
        }
    }

    #[test]
    fn node_that_fails_is_left_at_once_and_used_again_when_it_has_been_well_for_a_while() {
        let mut clock = Clock::start();
        clock.after(1, ready(5), ready(5));
        assert_eq!(clock.after(1, Report::Unfit, ready(5)), 1);
        assert_eq!(clock.after(100, Report::Unfit, ready(6)), 1);
        assert_eq!(clock.after(1, ready(6), ready(6)), 1);
        assert_eq!(clock.after(RETURN_AFTER.as_secs() - 1, ready(6), ready(6)), 1);
        // It comes and goes.
        assert_eq!(clock.after(1, Report::Unfit, ready(6)), 1);
        assert_eq!(clock.after(1, ready(6), ready(6)), 1);
        assert_eq!(clock.after(RETURN_AFTER.as_secs() - 1, ready(6), ready(6)), 1);
        assert_eq!(clock.after(1, ready(6), ready(6)), 0);
    }

    #[test]
    fn node_that_fails_is_used_again_at_once_if_there_is_no_other() {
        let mut clock = Clock::start();
        clock.after(1, ready(5), ready(5));
        assert_eq!(clock.after(1, Report::Unfit, ready(5)), 1);
        assert_eq!(clock.after(1, ready(5), Report::Unfit), 0);
        assert_eq!(clock.after(1, Report::Unfit, Report::Unfit), 0);
    }

    #[test]
    fn node_that_is_behind_for_long_is_left_and_one_that_is_late_is_not() {
        let mut clock = Clock::start();
        clock.after(1, ready(5), ready(5));
        assert_eq!(clock.after(1, ready(5), ready(6)), 0);
        assert_eq!(clock.after(BEHIND_LIMIT.as_secs() - 1, ready(5), ready(6)), 0);
        assert_eq!(clock.after(0, ready(6), ready(6)), 0);
        assert_eq!(clock.after(1, ready(6), ready(7)), 0);
        assert_eq!(clock.after(BEHIND_LIMIT.as_secs(), ready(6), ready(8)), 1);
        // It catches up, and is behind again with the next block: it is not well.
        assert_eq!(clock.after(1, ready(8), ready(8)), 1);
        assert_eq!(clock.after(1, ready(8), ready(9)), 1);
        assert_eq!(clock.after(BEHIND_LIMIT.as_secs(), ready(8), ready(9)), 1);
        assert_eq!(clock.after(RETURN_AFTER.as_secs(), ready(8), ready(9)), 1);
    }

    #[test]
    fn chain_with_less_work_than_the_known_one_is_never_turned_to() {
        let mut clock = Clock::start();
        clock.after(1, ready(50), ready(10));
        assert_eq!((clock.after(1, Report::Unfit, ready(10)), clock.choice.lacking()), (0, Some(1)));
        assert_eq!(clock.after(100, Report::Unfit, ready(49)), 0);
        assert_eq!(clock.after(1, Report::Unfit, ready(50)), 1);
    }

    #[test]
    fn order_decides_between_several_that_are_well() {
        let mut choice = Choice::new(3, 0);
        let now = Instant::now();
        choice.decide(vec![ready(5); 3], now);
        assert_eq!(choice.decide(vec![Report::Unfit, ready(5), ready(5)], now), Some(1));
        assert_eq!(choice.decide(vec![Report::Unfit, Report::Unfit, ready(5)], now), Some(2));
        assert_eq!(choice.decide(vec![Report::Unfit, Report::Unfit, ready(5)], now), None);
    }
}
