//! What a client can work with, and what it asks for when it opens a channel.

use protocol::{
    codec::U256,
    messages::mining::{
        OpenExtendedMiningChannel, OpenStandardMiningChannel, REQUIRES_STANDARD_JOBS, REQUIRES_WORK_SELECTION,
    },
};

use crate::mining::difficulty::Difficulty;

/// What a client can work with, as its flags of `SetupConnection` say (SV2 5.3.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SessionKind {
    /// Any channel, with the pool's jobs.
    Any,
    /// Standard channels: no extended channel, and no message to a group.
    StandardJobs,
    /// Extended channels, for which the client brings jobs of its own: it is told its target and nothing of the pool's
    /// jobs (SV2 5.3.18).
    WorkSelection,
    /// Both at once, which no channel can do: custom jobs are extended jobs. Setup succeeds, for the server fulfils
    /// either, and a client that probes with all flags has to hear so (SV2 3.6.3); but each open is refused.
    Contradictory,
}

impl SessionKind {
    /// Reads the client's flags.
    pub fn of_flags(flags: u32) -> Self {
        match (flags & REQUIRES_STANDARD_JOBS != 0, flags & REQUIRES_WORK_SELECTION != 0) {
            (false, false) => Self::Any,
            (true, false) => Self::StandardJobs,
            (false, true) => Self::WorkSelection,
            (true, true) => Self::Contradictory,
        }
    }

    /// Refuses a channel that the client could not work with, with the code for it.
    pub(super) fn admit(self, wish: ChannelWish) -> Result<(), &'static str> {
        match (self, wish) {
            (Self::WorkSelection | Self::Contradictory, ChannelWish::Standard) => {
                Err("standard-channels-not-supported-for-custom-work")
            }
            (Self::StandardJobs | Self::Contradictory, ChannelWish::Extended(_)) => {
                Err("extended-channels-not-supported-for-standard-jobs")
            }
            _ => Ok(()),
        }
    }

    /// Tells whether the pool's jobs are of use.
    pub(super) fn takes_jobs(self) -> bool {
        matches!(self, Self::Any | Self::StandardJobs)
    }
}

/// What a client asks for when it opens a channel (SV2 5.3.2, 5.3.4).
#[derive(Clone, Copy, Debug)]
pub struct OpenRequest {
    /// The client's id of the request.
    pub request_id: u32,
    /// Standard or extended, with the least extranonce size in bytes.
    pub wish: ChannelWish,
    /// Hashes a second, as the client claims.
    pub nominal_hash_rate: f32,
    /// The largest target that the client takes.
    pub max_target: U256,
    /// What the channel shall start with and never fall below, if the user wishes for something.
    pub least_difficulty: Option<Difficulty>,
}

/// The kind of channel that is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ChannelWish {
    /// A standard channel.
    Standard,
    /// An extended channel that needs this many bytes of extranonce at least.
    Extended(u16),
}

impl From<&OpenStandardMiningChannel> for OpenRequest {
    fn from(open: &OpenStandardMiningChannel) -> Self {
        let OpenStandardMiningChannel { request_id, nominal_hash_rate, max_target, .. } = *open;
        Self { request_id, wish: ChannelWish::Standard, nominal_hash_rate, max_target, least_difficulty: None }
    }
}

impl From<&OpenExtendedMiningChannel> for OpenRequest {
    fn from(open: &OpenExtendedMiningChannel) -> Self {
        let OpenExtendedMiningChannel { request_id, nominal_hash_rate, max_target, min_extranonce_size, .. } = *open;
        let wish = ChannelWish::Extended(min_extranonce_size);
        Self { request_id, wish, nominal_hash_rate, max_target, least_difficulty: None }
    }
}
