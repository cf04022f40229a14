//! What the share log, found blocks and settlement count.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use payouts::{
    audit::Imbalance,
    books::BlockPhase,
    export::lists::{Lists, ReadList},
    payout::{AttemptProgress, BatchApproval, BatchHead, PayoutEvent},
};
use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{counter::Counter, family::Family, gauge::Gauge, histogram::Histogram},
};

use super::{
    pulse::Pulse,
    share_log::{WaitingShares, unix_time_ms},
};
use crate::metrics::{Metrics, Moment};

/// What the share log counts.
#[derive(Clone, Debug)]
pub struct ShareLogMetrics {
    queue: Gauge,
    group_shares: Histogram,
    commit_seconds: Histogram,
    acknowledgement_seconds: Histogram,
    failures: Counter,
    pulse: Pulse,
    waiting: WaitingShares,
}

impl ShareLogMetrics {
    /// Adds what the share log counts to all that is counted.
    pub fn register(metrics: &mut Metrics) -> Self {
        let pulse = Pulse::default();
        let looked_at = pulse.clone();
        metrics.measured_seconds(
            "share_log_busy",
            "For how long the share log has been with its present attempt to write",
            move || Some(looked_at.busy_for(Instant::now()).as_secs_f64()),
        );
        let waiting = WaitingShares::default();
        let looked_at = waiting.clone();
        metrics.measured(
            "shares_waiting",
            "Shares that wait with their connections, for room in the share log or for their account",
            move || Some(looked_at.count() as f64),
        );
        Self {
            queue: metrics
                .gauge("share_log_queue_shares", "Shares that wait for the disk, when a group was last taken"),
            group_shares: metrics.sizes("share_log_group_shares", "Shares that were written in one transaction"),
            commit_seconds: metrics.seconds("share_log_commit", "Time until a group of shares was on disk"),
            acknowledgement_seconds: metrics.seconds(
                "share_acknowledgement",
                "From the judgement of the first share of a group until all of the group were on disk and acknowledged",
            ),
            failures: metrics.counter("share_log_failures", "Attempts to write shares that failed"),
            pulse,
            waiting,
        }
    }

    /// Returns what tells whether the share log gets on.
    pub fn pulse(&self) -> &Pulse {
        &self.pulse
    }

    /// Returns the count of shares that wait with their connections.
    pub fn waiting(&self) -> &WaitingShares {
        &self.waiting
    }

    /// Notes that so many shares were left in the queue when a group was taken from it.
    pub fn leave(&self, waiting: usize) {
        self.queue.set(i64::try_from(waiting).unwrap_or(i64::MAX));
    }

    /// Counts an attempt to write that failed.
    pub fn fail(&self) {
        self.failures.inc();
    }

    /// Counts a group of shares that is on disk after such a time. Its first share was judged at `first_at_ms`, in
    /// milliseconds since 1970 UTC.
    pub fn commit(&self, shares: usize, took: Duration, first_at_ms: i64) {
        self.group_shares.observe(shares as f64);
        self.commit_seconds.observe(took.as_secs_f64());
        let waited_ms = unix_time_ms().saturating_sub(first_at_ms).max(0);
        self.acknowledgement_seconds.observe(waited_ms as f64 / 1e3);
    }
}

/// What became of found blocks. All clones are the same.
#[derive(Clone, Debug, Default)]
pub struct BlockMetrics {
    states: Family<OfState, Counter>,
    pending: Gauge,
    immature: Gauge,
}

/// The label that says in which state something is.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OfState {
    state: &'static str,
}

/// What becomes of a found block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BlockStep {
    /// A share was found to be one.
    Found,
    /// The node took it, or had it.
    Accepted,
    /// It is not the tip.
    Stale,
    /// The node calls it invalid.
    Rejected,
    /// It is in the books.
    Booked,
    /// It has a hundred confirmations.
    Matured,
    /// It left the chain.
    Orphaned,
    /// It came back.
    Restored,
}

impl BlockStep {
    const ALL: [Self; 8] = [
        Self::Found,
        Self::Accepted,
        Self::Stale,
        Self::Rejected,
        Self::Booked,
        Self::Matured,
        Self::Orphaned,
        Self::Restored,
    ];

    fn name(self) -> &'static str {
        match self {
            Self::Found => "found",
            Self::Accepted => "accepted",
            Self::Stale => "stale",
            Self::Rejected => "rejected",
            Self::Booked => "booked",
            Self::Matured => "matured",
            Self::Orphaned => "orphaned",
            Self::Restored => "restored",
        }
    }
}

impl From<BlockPhase> for BlockStep {
    fn from(phase: BlockPhase) -> Self {
        match phase {
            BlockPhase::Immature => Self::Restored,
            BlockPhase::Matured => Self::Matured,
            BlockPhase::Orphaned => Self::Orphaned,
        }
    }
}

impl BlockMetrics {
    /// Has all of it shown.
    pub fn register(&self, metrics: &mut Metrics) {
        for step in BlockStep::ALL {
            drop(self.states.get_or_create(&OfState { state: step.name() }));
        }
        metrics.add("blocks", "Found blocks that came into a state", self.states.clone());
        metrics.add(
            "blocks_pending",
            "Found blocks that the node has not answered yet or that are not in the books yet",
            self.pending.clone(),
        );
        metrics.add("blocks_immature", "Blocks in the books whose coinbase is not mature", self.immature.clone());
    }

    /// Counts a block that comes into a state.
    pub fn step(&self, step: BlockStep) {
        self.states.get_or_create(&OfState { state: step.name() }).inc();
    }

    /// Notes how many are on their way to the books.
    pub fn pending(&self, count: usize) {
        self.pending.set(i64::try_from(count).unwrap_or(i64::MAX));
    }

    /// Notes how many are immature.
    pub fn immature(&self, count: usize) {
        self.immature.set(i64::try_from(count).unwrap_or(i64::MAX));
    }
}

/// What settlement shows: payouts, the balance of the books, lists. All clones are the same.
#[derive(Clone, Debug, Default)]
pub struct SettlementMetrics {
    /// Blocks, as settlement moves them.
    pub blocks: BlockMetrics,
    payouts: Family<OfState, Counter>,
    open: Family<OfState, Gauge>,
    oldest_open_ms: Arc<Mutex<Option<i64>>>,
    settled_at: Moment,
    imbalance_sat: Gauge,
    balanced_at: Moment,
    lists: Arc<Mutex<Option<Arc<Lists>>>>,
    lists_usable: Gauge,
}

/// The label that names a sanctions list.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OfList {
    list: String,
}

/// What can befall a payout.
const PAYOUT_STATES: [&str; 7] =
    ["confirmed", "reversed", "refused", "withheld", "given_back", "conflicted", "replaced"];

/// What a payout that is not at its end waits for.
const OPEN_STATES: [&str; 4] = ["approval", "signature", "node", "block"];

impl SettlementMetrics {
    /// Has all of it shown.
    pub fn register(&self, metrics: &mut Metrics) {
        self.blocks.register(metrics);
        for state in PAYOUT_STATES {
            drop(self.payouts.get_or_create(&OfState { state }));
        }
        metrics.add("payouts", "Payouts that came into a state", self.payouts.clone());
        self.open(&[]);
        metrics.add("payouts_open", "Payouts that are on their way, by what they wait for", self.open.clone());
        let oldest = Arc::clone(&self.oldest_open_ms);
        metrics.measured_seconds("payout_oldest_open", "Age of the oldest payout that is on its way", move || {
            let oldest = *oldest.lock().unwrap_or_else(PoisonError::into_inner);
            Some(oldest.map_or(0.0, age_s))
        });
        metrics.age(
            "settlement_age",
            "Time since blocks and payouts were last brought to the node's tip",
            &self.settled_at,
        );
        metrics.add(
            "ledger_imbalance_sat",
            "By how many satoshis the books did not balance when they were last checked: must be 0",
            self.imbalance_sat.clone(),
        );
        metrics.age("ledger_check_age", "Time since the balance of the books was last checked", &self.balanced_at);
        let lists = Arc::clone(&self.lists);
        metrics.measured_by_seconds(
            "screening_list_age",
            "Time since the file of a sanctions list was written",
            move || of_lists(&lists, |list| age_s(list.fetched_at_ms)),
        );
        let lists = Arc::clone(&self.lists);
        metrics.measured_by_seconds("screening_list_max_age", "How old a sanctions list may be", move || {
            of_lists(&lists, |list| list.max_age_s as f64)
        });
        metrics.add(
            "screening_lists_usable",
            "Whether all sanctions lists may be relied upon, so that payouts go out: 1 or 0",
            self.lists_usable.clone(),
        );
    }

    /// Counts what befell a payout.
    pub fn payout(&self, event: &PayoutEvent) {
        let state = match event {
            PayoutEvent::Confirmed { .. } => "confirmed",
            PayoutEvent::Reversed { .. } => "reversed",
            PayoutEvent::Refused { .. } => "refused",
            PayoutEvent::Withheld { .. } => "withheld",
            PayoutEvent::GivenBack { .. } => "given_back",
            PayoutEvent::Conflicted { .. } => "conflicted",
            PayoutEvent::Replaced { .. } => "replaced",
            // Those that are open are shown as such.
            _ => return,
        };
        self.payouts.get_or_create(&OfState { state }).inc();
    }

    /// Notes which payouts are on their way.
    pub fn open(&self, batches: &[BatchHead]) {
        for state in OPEN_STATES {
            let count = batches.iter().filter(|batch| waits_for(batch) == state).count();
            self.open.get_or_create(&OfState { state }).set(i64::try_from(count).unwrap_or(i64::MAX));
        }
        let oldest = batches.iter().map(|batch| batch.created_at_ms).min();
        *self.oldest_open_ms.lock().unwrap_or_else(PoisonError::into_inner) = oldest;
    }

    /// Notes that blocks and payouts are at the node's tip.
    pub fn settle(&self) {
        self.settled_at.note();
    }

    /// Notes what a check of the balances has found.
    pub fn check(&self, wrong: &[Imbalance]) {
        let sum = wrong.iter().map(Imbalance::difference_sat).fold(0_u128, u128::saturating_add);
        self.imbalance_sat.set(i64::try_from(sum).unwrap_or(i64::MAX));
        self.balanced_at.note();
    }

    /// Takes over the lists that payouts are screened by, and whether they may be relied upon.
    pub fn screen(&self, lists: &Arc<Lists>, usable: bool) {
        *self.lists.lock().unwrap_or_else(PoisonError::into_inner) = Some(Arc::clone(lists));
        self.lists_usable.set(usable.into());
    }
}

/// What is known of each list that could be read.
fn of_lists(lists: &Mutex<Option<Arc<Lists>>>, of: impl Fn(&ReadList) -> f64) -> Vec<(OfList, f64)> {
    let Some(lists) = lists.lock().unwrap_or_else(PoisonError::into_inner).clone() else { return Vec::new() };
    let read = lists.read().iter().filter(|list| list.list().is_some());
    read.map(|list| (OfList { list: list.source.to_string() }, of(list))).collect()
}

/// Returns how long ago a time was, in milliseconds since 1970 UTC; a file of the future has no age.
fn age_s(at_ms: i64) -> f64 {
    unix_time_ms().saturating_sub(at_ms).max(0) as f64 / 1e3
}

fn waits_for(batch: &BatchHead) -> &'static str {
    match (batch.approval, batch.newest().progress) {
        (BatchApproval::Awaited, _) => "approval",
        (_, AttemptProgress::Broadcast) => "block",
        (_, AttemptProgress::Signed) => "node",
        (_, AttemptProgress::Created) => "signature",
    }
}
