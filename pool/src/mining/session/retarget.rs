//! A channel's difficulty: within which bounds it is given, and what becomes of it, and why.

use std::{cmp::Ordering, time::Instant};

use bitcoin::Target;

use super::{Outbox, SessionPolicy, outbox::send_target};
use crate::mining::{
    channel::{Channel, DifficultyBounds},
    difficulty::Difficulty,
    job::Job,
};

/// Why a channel is given another difficulty.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RetargetCause {
    /// Shares came faster than wished.
    Faster,
    /// Shares came slower than wished, or none.
    Slower,
    /// The client claims another hash rate, or takes other targets.
    Claimed,
    /// What the network or the client allows has changed.
    Bounds,
    /// The operator wants it.
    Operator,
}

impl RetargetCause {
    /// Returns its name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Faster => "faster",
            Self::Slower => "slower",
            Self::Claimed => "claimed",
            Self::Bounds => "bounds",
            Self::Operator => "operator",
        }
    }
}

/// A channel's new difficulty.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Retarget {
    /// The channel.
    pub channel_id: u32,
    /// What its next job is given with.
    pub difficulty: Difficulty,
    /// Why.
    pub cause: RetargetCause,
}

/// Works out what a channel may be given. None if no difficulty is hard enough for `max_target`.
///
/// What the pool and the user wish to be the least gives way to the network: its blocks are never hidden.
pub(super) fn bounds(
    policy: &SessionPolicy,
    job: &Job,
    max_target: Target,
    least_difficulty: Option<Difficulty>,
) -> Option<DifficultyBounds> {
    let network = Difficulty::hardest_within(job.template().target);
    let hardest = if policy.harder_than_network { Difficulty::MAX } else { network };
    let wished = policy.min_difficulty.max(least_difficulty.unwrap_or(Difficulty::MIN));
    let easiest = Difficulty::easiest_within(max_target)?.max(wished.min(hardest));
    Some(DifficultyBounds { easiest, hardest })
}

/// Brings a channel to the difficulty that suits it, within its bounds on this job, and sends the target if it is
/// another than before. Returns the new one if so.
pub(super) fn retarget(
    policy: &SessionPolicy,
    channel: &mut Channel,
    suited: Difficulty,
    job: &Job,
    now: Instant,
    out: &mut impl Outbox,
) -> Option<Retarget> {
    let difficulty = bounds(policy, job, channel.max_target(), channel.least_difficulty())?.clamp(suited);
    let (channel_id, before) = (channel.id(), channel.difficulty());
    if difficulty == before {
        return None;
    }
    channel.set_difficulty(difficulty, now);
    send_target(channel_id, difficulty, out);
    let cause = match suited.cmp(&before) {
        Ordering::Greater => RetargetCause::Faster,
        Ordering::Less => RetargetCause::Slower,
        Ordering::Equal => RetargetCause::Bounds,
    };
    Some(Retarget { channel_id, difficulty, cause })
}
