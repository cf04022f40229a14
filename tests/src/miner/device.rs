//! A device's strictness and patience on one connection: which frames it bears, and how long it waits for them. What
//! jobs mean to it is in `channel`.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::time::{Duration, Instant};

use protocol::codec::U256;
use protocol::connection::{ConnectionError, Limits};
use protocol::framing::Header;
use protocol::messages::common::{Reconnect, SetupConnectionError, SetupConnectionSuccess};
use protocol::messages::extensions::EXTENSIONS_NEGOTIATION;
use protocol::messages::mining::{
    OpenExtendedMiningChannelSuccess, OpenMiningChannelError, OpenStandardMiningChannelSuccess, REQUIRES_FIXED_VERSION,
    SetGroupChannel, UpdateChannel,
};
use protocol::messages::name_of;

use super::profile::{FixedVersion, Rules};
use super::{ChannelKind, MinerError};

/// Why a device gives a pool up.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DeviceFailure {
    /// The handshake, the setup or the opening of a channel is not answered.
    #[error("no answer within {limit:?}")]
    NoAnswer {
        /// How long it waited.
        limit: Duration,
    },

    /// Nothing comes any more.
    #[error("no frame within {limit:?}")]
    Silence {
        /// How long it waited.
        limit: Duration,
    },

    /// A frame does not fit into the device's buffer.
    #[error("a frame of {payload_len} bytes, and a buffer of {limit}")]
    FrameTooLarge {
        /// What the header announces.
        payload_len: usize,
        /// The size of the buffer.
        limit: usize,
    },

    /// Something else came in place of the success that must be next.
    #[error("{message} in place of a success")]
    UnexpectedFrame {
        /// The specification's name of what came.
        message: &'static str,
    },

    /// A message for a channel does not have the channel bit.
    #[error("unknown message type: {message} without the channel bit")]
    MissingChannelBit {
        /// The specification's name of the message.
        message: &'static str,
    },

    /// A message that the device does not know, or that it understands as an order to leave.
    #[error("leaves at {message}")]
    LeftAt {
        /// The specification's name of the message.
        message: &'static str,
    },

    /// `SetNewPrevHash` names a job that was not a future job.
    #[error("SetNewPrevHash for job {job_id}, which is active already")]
    JobNotFuture {
        /// The job.
        job_id: u32,
    },

    /// `SetNewPrevHash` names a job that was never given.
    #[error("SetNewPrevHash for job {job_id}, which is unknown")]
    UnknownJob {
        /// The job.
        job_id: u32,
    },

    /// The server or a job forbids rolling of the version, without which the device is of no use.
    #[error("the version may not be rolled")]
    FixedVersion,

    /// The channel has less extranonce than was asked for.
    #[error("{granted} bytes of extranonce, {asked} asked for")]
    SmallExtranonce {
        /// What was asked for, in bytes.
        asked: u16,
        /// What was granted, in bytes.
        granted: u16,
    },

    /// No hash meets the target.
    #[error("a target of zero")]
    ZeroTarget,

    /// A job of the device's own is refused.
    #[error("custom job refused: {error_code}")]
    CustomJobRefused {
        /// The code.
        error_code: String,
    },
}

/// A device on a connection.
#[derive(Debug)]
pub(super) struct Device {
    rules: Rules,
    /// When the last frame came.
    heard_at: Instant,
    /// The kind of the channel that it has asked for and has no answer for, and since when. A device opens one channel.
    asked: Option<(ChannelKind, Instant)>,
    /// Updates that wait for the answer to the one before, by channel; nothing where none waits behind one.
    parked_updates: BTreeMap<u32, Option<UpdateChannel>>,
}

impl Device {
    pub(super) fn new(rules: Rules, now: Instant) -> Self {
        Self { rules, heard_at: now, asked: None, parked_updates: BTreeMap::new() }
    }

    /// What the server may cost it before the first channel.
    pub(super) fn limits(&self) -> Limits {
        let default = Limits::default();
        Limits {
            handshake_timeout: self.rules.answer_timeout.unwrap_or(default.handshake_timeout),
            setup_timeout: self.rules.answer_timeout.unwrap_or(default.setup_timeout),
            max_frame_payload: self.rules.max_frame_payload.unwrap_or(default.max_frame_payload),
            ..default
        }
    }

    /// Translates what went wrong with the connection into what that means to the device.
    pub(super) fn blame(&self, error: ConnectionError) -> MinerError {
        let failure = match (&error, self.rules.answer_timeout) {
            (&ConnectionError::FrameTooLarge { payload_len, max }, _) if self.rules.max_frame_payload == Some(max) => {
                DeviceFailure::FrameTooLarge { payload_len, limit: max }
            }
            (ConnectionError::HandshakeTimeout | ConnectionError::SetupTimeout, Some(limit)) => {
                DeviceFailure::NoAnswer { limit }
            }
            (&ConnectionError::UnexpectedMessage { message, state: "before setup" }, _)
                if self.rules.success_comes_next =>
            {
                DeviceFailure::UnexpectedFrame { message }
            }
            _ => return error.into(),
        };
        failure.into()
    }

    /// Takes note of the server's flags.
    pub(super) fn connected(&self, flags: u32) -> Result<(), DeviceFailure> {
        // AxeOS does not look at them, and the translator leaves only when a job comes.
        if self.rules.fixed_version == FixedVersion::Drops && flags & REQUIRES_FIXED_VERSION != 0 {
            return Err(DeviceFailure::FixedVersion);
        }
        Ok(())
    }

    /// Takes note of an open that goes out.
    pub(super) fn ask(&mut self, kind: ChannelKind, now: Instant) {
        self.asked = Some((kind, now));
    }

    /// Judges a frame from the answer to `SetupConnection` on. Returns whether the device acts upon it.
    pub(super) fn hear(&mut self, header: Header, now: Instant) -> Result<bool, DeviceFailure> {
        self.heard_at = now;
        let message = name_of(header).unwrap_or("an unknown message");
        if self.rules.needs_channel_bit && !header.channel_msg && !is_of_connection(header) {
            return Err(DeviceFailure::MissingChannelBit { message });
        }
        if let Some((kind, _)) = self.asked {
            let is_success = match kind {
                ChannelKind::Standard => header.is::<OpenStandardMiningChannelSuccess>(),
                ChannelKind::Extended { .. } => header.is::<OpenExtendedMiningChannelSuccess>(),
            };
            if self.rules.success_comes_next && !is_success {
                return Err(DeviceFailure::UnexpectedFrame { message });
            }
            if is_success || header.is::<OpenMiningChannelError>() {
                self.asked = None;
            }
        }
        let is_core = header.extension_type == 0;
        if is_core && self.rules.leaves_at.contains(&header.message_type) {
            return Err(DeviceFailure::LeftAt { message });
        }
        Ok(!(is_core && self.rules.ignores.contains(&header.message_type)))
    }

    /// Judges how much extranonce a channel was granted.
    pub(super) fn check_grant(&self, kind: ChannelKind, granted: Option<u16>) -> Result<(), DeviceFailure> {
        match (kind, granted) {
            (ChannelKind::Extended { min_extranonce_size: asked }, Some(granted))
                if self.rules.refuses_small_extranonce && granted < asked =>
            {
                Err(DeviceFailure::SmallExtranonce { asked, granted })
            }
            _ => Ok(()),
        }
    }

    /// Judges a target.
    pub(super) fn check_target(&self, target: U256) -> Result<(), DeviceFailure> {
        if self.rules.refuses_zero_target && target == U256::ZERO { Err(DeviceFailure::ZeroTarget) } else { Ok(()) }
    }

    /// Judges the refusal of a custom job.
    pub(super) fn check_custom_job_error(&self, error_code: &str) -> Result<(), DeviceFailure> {
        match self.rules.borne_custom_job_error {
            Some(borne) if borne != error_code => {
                Err(DeviceFailure::CustomJobRefused { error_code: error_code.into() })
            }
            _ => Ok(()),
        }
    }

    /// Takes an update of a channel that it wishes for, and returns it if it may go out now.
    pub(super) fn update(&mut self, update: UpdateChannel) -> Option<UpdateChannel> {
        if self.rules.parks_updates {
            match self.parked_updates.entry(update.channel_id) {
                Entry::Occupied(mut waiting) => {
                    // The newest says all that those before it would have said.
                    waiting.insert(Some(update));
                    return None;
                }
                Entry::Vacant(answered) => drop(answered.insert(None)),
            }
        }
        Some(update)
    }

    /// Takes note that an update was answered, and returns the one that waited for that.
    pub(super) fn updated(&mut self, channel_id: u32) -> Option<UpdateChannel> {
        let waiting = self.parked_updates.remove(&channel_id)?;
        self.update(waiting?)
    }

    /// When its patience ends, unless something comes.
    pub(super) fn deadline(&self) -> Option<Instant> {
        self.patience().into_iter().map(|(deadline, _)| deadline).min()
    }

    /// Fails once its patience has ended.
    pub(super) fn wait(&self, now: Instant) -> Result<(), DeviceFailure> {
        let ended = self.patience().into_iter().find(|(deadline, _)| now >= *deadline);
        ended.map_or(Ok(()), |(_, failure)| Err(failure))
    }

    /// What it waits for: until when, and what follows then.
    fn patience(&self) -> Vec<(Instant, DeviceFailure)> {
        let Rules { answer_timeout, silence_limit, .. } = self.rules;
        let answer = self.asked.zip(answer_timeout);
        let answer = answer.map(|((_, asked_at), limit)| (asked_at + limit, DeviceFailure::NoAnswer { limit }));
        let silence = silence_limit.map(|limit| (self.heard_at + limit, DeviceFailure::Silence { limit }));
        answer.into_iter().chain(silence).collect()
    }
}

/// Whether a server's message is about the connection rather than one channel, so that it has no channel bit.
fn is_of_connection(header: Header) -> bool {
    header.extension_type == EXTENSIONS_NEGOTIATION
        || header.is::<SetupConnectionSuccess>()
        || header.is::<SetupConnectionError>()
        || header.is::<Reconnect>()
        || header.is::<OpenStandardMiningChannelSuccess>()
        || header.is::<OpenExtendedMiningChannelSuccess>()
        || header.is::<OpenMiningChannelError>()
        || header.is::<SetGroupChannel>()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use protocol::messages::Message;
    use protocol::messages::mining::{CloseChannel, NewExtendedMiningJob, NewMiningJob, SetTarget};

    use super::*;
    use crate::miner::profile::Profile;

    fn header<M: Message>() -> Header {
        Header::of::<M>(40).unwrap()
    }

    fn device(profile: Profile, now: Instant) -> Device {
        Device::new(profile.rules, now)
    }

    #[test]
    fn strict_device_takes_only_the_success_of_its_own_kind_as_the_next_frame() {
        let now = Instant::now();
        for (profile, success, other) in [
            (
                Profile::axeos_2_15(),
                header::<OpenExtendedMiningChannelSuccess>(),
                header::<OpenStandardMiningChannelSuccess>(),
            ),
            (
                Profile::axeos_2_15_standard(),
                header::<OpenStandardMiningChannelSuccess>(),
                header::<OpenExtendedMiningChannelSuccess>(),
            ),
        ] {
            for (frame, is_taken) in [
                (success, true),
                (other, false),
                (header::<OpenMiningChannelError>(), false),
                (header::<SetTarget>(), false),
            ] {
                let mut device = device(profile.clone(), now);
                device.ask(profile.channel, now);
                assert_eq!(device.hear(frame, now).is_ok(), is_taken, "{frame:?}");
            }
        }
    }

    #[test]
    fn lenient_client_takes_other_frames_before_the_answer() {
        let now = Instant::now();
        let mut device = Device::new(Rules::SPECIFICATION, now);
        device.ask(ChannelKind::Standard, now);
        for frame in [header::<SetTarget>(), header::<OpenMiningChannelError>(), header::<CloseChannel>()] {
            assert_eq!(device.hear(frame, now), Ok(true));
        }
        assert_eq!(device.deadline(), None);
    }

    #[test]
    fn channel_bit_is_missed_on_messages_for_a_channel_only() {
        let now = Instant::now();
        let without = |mut frame: Header| {
            frame.channel_msg = false;
            frame
        };
        let mut braiins = device(Profile::braiins_os(), now);
        assert_eq!(braiins.hear(header::<NewMiningJob>(), now), Ok(true));
        let error = DeviceFailure::MissingChannelBit { message: "NewMiningJob" };
        assert_eq!(braiins.hear(without(header::<NewMiningJob>()), now), Err(error));
        assert_eq!(braiins.hear(without(header::<OpenStandardMiningChannelSuccess>()), now), Ok(true));
        assert_eq!(device(Profile::nerdqaxe(), now).hear(without(header::<NewMiningJob>()), now), Ok(true));
    }

    #[test]
    fn device_ignores_or_leaves_at_what_it_does_not_know() {
        let now = Instant::now();
        assert_eq!(device(Profile::axeos_2_14(), now).hear(header::<CloseChannel>(), now), Ok(false));
        let left = |message| Err(DeviceFailure::LeftAt { message });
        let mut proxy = device(Profile::job_declarator_client(), now);
        assert_eq!(proxy.hear(header::<NewExtendedMiningJob>(), now), Ok(false));
        assert_eq!(proxy.hear(header::<CloseChannel>(), now), left("CloseChannel"));
        let mut braiins = device(Profile::braiins_os(), now);
        assert_eq!(braiins.hear(header::<NewExtendedMiningJob>(), now), left("NewExtendedMiningJob"));
        assert_eq!(device(Profile::translator(), now).hear(header::<Reconnect>(), now), left("Reconnect"));
    }

    #[test]
    fn patience_begins_anew_with_each_frame_and_is_shorter_for_an_answer() {
        let begin = Instant::now();
        let at = |seconds| begin + Duration::from_secs(seconds);
        let mut device = device(Profile::braiins_os(), begin);
        assert_eq!(device.deadline(), Some(at(60)));
        device.ask(ChannelKind::Standard, at(10));
        assert_eq!(device.deadline(), Some(at(15)));
        assert_eq!(device.wait(at(14)), Ok(()));
        assert_eq!(device.wait(at(15)), Err(DeviceFailure::NoAnswer { limit: Duration::from_secs(5) }));
        device.hear(header::<OpenStandardMiningChannelSuccess>(), at(14)).unwrap();
        device.hear(header::<NewMiningJob>(), at(30)).unwrap();
        assert_eq!(device.wait(at(89)), Ok(()));
        assert_eq!(device.wait(at(90)), Err(DeviceFailure::Silence { limit: Duration::from_secs(60) }));
    }

    #[test]
    fn version_that_is_fixed_by_the_server_drives_off_a_device_that_always_rolls_it() {
        let now = Instant::now();
        let connected = |profile| device(profile, now).connected(REQUIRES_FIXED_VERSION);
        assert_eq!(connected(Profile::nerdqaxe()), Err(DeviceFailure::FixedVersion));
        assert_eq!(connected(Profile::axeos_2_15()), Ok(()));
        assert_eq!(device(Profile::nerdqaxe(), now).connected(0), Ok(()));
    }

    #[test]
    fn proxy_refuses_less_extranonce_than_it_asked_for_and_a_target_of_zero() {
        let proxy = device(Profile::job_declarator_client(), Instant::now());
        let kind = ChannelKind::Extended { min_extranonce_size: 10 };
        assert_eq!(proxy.check_grant(kind, Some(9)), Err(DeviceFailure::SmallExtranonce { asked: 10, granted: 9 }));
        assert_eq!(proxy.check_grant(kind, Some(10)), Ok(()));
        let translator = device(Profile::translator(), Instant::now());
        assert_eq!(translator.check_target(U256::ZERO), Err(DeviceFailure::ZeroTarget));
        assert_eq!(translator.check_target(U256::MAX), Ok(()));
        assert_eq!(proxy.check_target(U256::ZERO), Ok(()));
    }

    #[test]
    fn job_declarator_client_bears_only_a_custom_job_that_came_too_late() {
        let proxy = device(Profile::job_declarator_client(), Instant::now());
        assert_eq!(proxy.check_custom_job_error("stale-chain-tip"), Ok(()));
        let refused = DeviceFailure::CustomJobRefused { error_code: "invalid-mining-job-token".into() };
        assert_eq!(proxy.check_custom_job_error("invalid-mining-job-token"), Err(refused));
        assert_eq!(Device::new(Rules::SPECIFICATION, Instant::now()).check_custom_job_error("E42"), Ok(()));
    }
}
