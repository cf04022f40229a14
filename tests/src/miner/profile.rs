//! What is known of the devices and proxies in the field: what each says of itself, what it asks for, and what it
//! demands of a pool. Only data, taken from their sources; `device` applies it to a connection.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use bitcoin::Target;
use protocol::codec::U256;
use protocol::messages::Message;
use protocol::messages::common::{ChannelEndpointChanged, Reconnect};
use protocol::messages::mining::{
    CloseChannel, NewExtendedMiningJob, NewMiningJob, OpenMiningChannelError, OpenStandardMiningChannelSuccess,
    REQUIRES_STANDARD_JOBS, REQUIRES_VERSION_ROLLING, REQUIRES_WORK_SELECTION, SetExtranoncePrefix, SetGroupChannel,
    SetNewPrevHash,
};

use super::{ChannelConfig, ChannelKind, MinerError};

/// A device with its firmware, or a proxy that mines for others.
#[derive(Clone, Debug, PartialEq)]
pub struct Profile {
    /// What the profile is called on a command line, such as `axeos-2.15`.
    pub name: &'static str,
    /// What it says of its maker.
    pub vendor: &'static str,
    /// What it says of its model.
    pub hardware_version: &'static str,
    /// What it says of its firmware.
    pub firmware: &'static str,
    /// Its flags of `SetupConnection` (SV2 5.3.1).
    pub flags: u32,
    /// The kind of its one channel.
    pub channel: ChannelKind,
    /// The hash rate that it declares, whatever its real one is, in hashes a second.
    pub nominal_hash_rate: f32,
    /// The easiest target that it says it takes.
    pub max_target: U256,
    /// How many bytes of the user identity it keeps; what is behind them is lost. AxeOS and NerdQAxe.
    pub identity_limit: Option<usize>,
    /// The codes of rejected shares that it has words for. It shows all others as they are.
    pub explained_codes: &'static [&'static str],
    /// What it demands of the pool.
    pub rules: Rules,
}

/// What a device demands of a pool, and what it does where it does not get it.
#[derive(Clone, Debug, PartialEq)]
pub struct Rules {
    /// The longest payload that fits its buffer, in bytes. It leaves at a longer one. AxeOS, NerdQAxe.
    pub max_frame_payload: Option<usize>,
    /// How long it waits for the handshake, and then for each of the two answers before its first job. It leaves after
    /// that. Five seconds in Braiins OS.
    pub answer_timeout: Option<Duration>,
    /// How long it bears a connection on which no frame comes, before it leaves. AxeOS, NerdQAxe, Braiins OS.
    pub silence_limit: Option<Duration>,
    /// Whether the frame after its request must be the success. It takes anything else for a refusal, and leaves. AxeOS,
    /// NerdQAxe, Braiins OS.
    pub success_comes_next: bool,
    /// Whether it knows messages for a channel only by the header's channel bit, and leaves at one without. Braiins OS.
    pub needs_channel_bit: bool,
    /// Types of messages that it does not act upon.
    pub ignores: &'static [u8],
    /// Types of messages at which it leaves or crashes.
    pub leaves_at: &'static [u8],
    /// What it does with a job whose version may not be rolled.
    pub fixed_version: FixedVersion,
    /// What it does with a `SetNewPrevHash` that names no future job.
    pub lost_tip: LostTip,
    /// Whether byte-identical work under a new id empties its pipeline, so that it loses what was in it. Braiins OS.
    pub flushes_on_repeated_work: bool,
    /// Whether it leaves when it is granted less extranonce than it asked for. The proxies, which have to divide it.
    pub refuses_small_extranonce: bool,
    /// Whether it leaves at a target of zero, which no hash meets. The translator.
    pub refuses_zero_target: bool,
    /// The target of difficulty 1, if it works with whole difficulties only and cuts fractions off. AxeOS before 2.15,
    /// NerdQAxe. A test with a CPU may set an easier one.
    pub whole_difficulty: Option<U256>,
    /// The one code of `SetCustomMiningJob.Error` that it bears: it leaves at any other. The job declarator client.
    pub borne_custom_job_error: Option<&'static str>,
    /// Whether it holds its own `UpdateChannel` back until the one before was answered by `SetTarget`. The translator.
    pub parks_updates: bool,
    /// The number of its first share.
    pub first_sequence_number: u32,
}

/// What a device does with a job that forbids what it cannot leave off: rolling version bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FixedVersion {
    /// It leaves the version as it is.
    Obeys,
    /// It drops the job and hashes on what it had; at a server that has no other jobs it leaves. NerdQAxe.
    Drops,
    /// It leaves. The translator.
    Leaves,
}

/// What a device does with a `SetNewPrevHash` that names no future job, be it that the job is unknown or that it was
/// active already.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LostTip {
    /// It has no work until the next job.
    Stops,
    /// It goes on with the work of the old tip. It also keeps an active job that came before the first tip until that
    /// tip names it. AxeOS, NerdQAxe.
    HashesOn,
    /// It leaves. Braiins OS, the translator.
    Leaves,
}

impl Rules {
    /// A client that demands what the specification does, notes what is wrong and stays.
    pub const SPECIFICATION: Self = Self {
        max_frame_payload: None,
        answer_timeout: None,
        silence_limit: None,
        success_comes_next: false,
        needs_channel_bit: false,
        ignores: &[],
        leaves_at: &[],
        fixed_version: FixedVersion::Obeys,
        lost_tip: LostTip::Stops,
        flushes_on_repeated_work: false,
        refuses_small_extranonce: false,
        refuses_zero_target: false,
        whole_difficulty: None,
        borne_custom_job_error: None,
        parks_updates: false,
        first_sequence_number: 1,
    };
}

/// How long small devices wait for a frame, at any time.
const SMALL_DEVICE_PATIENCE: Duration = Duration::from_secs(180);
/// How much a small device declares, whatever it is, in hashes a second.
const SMALL_DEVICE_HASH_RATE: f32 = 1e12;
/// The codes that AxeOS and its kin explain.
const SMALL_DEVICE_CODES: &[&str] = &["stale-share", "invalid-job-id", "invalid-channel-id", "difficulty-too-low"];

impl Profile {
    /// Every profile.
    pub fn all() -> Vec<Self> {
        vec![
            Self::braiins_os(),
            Self::axeos_2_14(),
            Self::axeos_2_14_standard(),
            Self::axeos_2_15(),
            Self::axeos_2_15_standard(),
            Self::nerdqaxe(),
            Self::translator(),
            Self::job_declarator_client(),
        ]
    }

    /// Braiins OS of 2020, the first firmware with Stratum V2: a standard channel without `REQUIRES_STANDARD_JOBS`, and
    /// still no idea of extended jobs.
    pub fn braiins_os() -> Self {
        Self {
            name: "braiins-os",
            vendor: "Braiins",
            hardware_version: "Antminer S9",
            firmware: "Braiins OS 20.09",
            flags: 0,
            channel: ChannelKind::Standard,
            nominal_hash_rate: 1e9,
            max_target: difficulty_1(),
            identity_limit: None,
            explained_codes: &[],
            rules: Rules {
                answer_timeout: Some(Duration::from_secs(5)),
                // The strictest of its releases; later ones wait for 150 seconds.
                silence_limit: Some(Duration::from_secs(60)),
                success_comes_next: true,
                needs_channel_bit: true,
                ignores: &[CloseChannel::MESSAGE_TYPE, SetExtranoncePrefix::MESSAGE_TYPE],
                leaves_at: &[
                    NewExtendedMiningJob::MESSAGE_TYPE,
                    SetGroupChannel::MESSAGE_TYPE,
                    Reconnect::MESSAGE_TYPE,
                ],
                lost_tip: LostTip::Leaves,
                flushes_on_repeated_work: true,
                first_sequence_number: 0,
                ..Rules::SPECIFICATION
            },
        }
    }

    /// AxeOS 2.14 with an extended channel, as it comes: the firmware of Bitaxe devices.
    pub fn axeos_2_14() -> Self {
        Self {
            name: "axeos-2.14",
            vendor: "bitaxe",
            hardware_version: "BM1370",
            firmware: "",
            flags: 0,
            channel: ChannelKind::Extended { min_extranonce_size: 6 },
            nominal_hash_rate: SMALL_DEVICE_HASH_RATE,
            max_target: U256::MAX,
            identity_limit: Some(63),
            explained_codes: SMALL_DEVICE_CODES,
            rules: Rules {
                max_frame_payload: Some(2_048),
                answer_timeout: Some(SMALL_DEVICE_PATIENCE),
                silence_limit: Some(SMALL_DEVICE_PATIENCE),
                success_comes_next: true,
                ignores: &[
                    Reconnect::MESSAGE_TYPE,
                    CloseChannel::MESSAGE_TYPE,
                    SetExtranoncePrefix::MESSAGE_TYPE,
                    SetGroupChannel::MESSAGE_TYPE,
                ],
                lost_tip: LostTip::HashesOn,
                whole_difficulty: Some(difficulty_1()),
                first_sequence_number: 0,
                ..Rules::SPECIFICATION
            },
        }
    }

    /// AxeOS 2.14 set to a standard channel.
    pub fn axeos_2_14_standard() -> Self {
        Self { name: "axeos-2.14-standard", ..Self::axeos_2_14().with_a_standard_channel() }
    }

    /// AxeOS 2.15 with an extended channel: a larger buffer, fewer bytes of extranonce, fractions of difficulty.
    pub fn axeos_2_15() -> Self {
        let older = Self::axeos_2_14();
        Self {
            name: "axeos-2.15",
            channel: ChannelKind::Extended { min_extranonce_size: 2 },
            rules: Rules { max_frame_payload: Some(8_192), whole_difficulty: None, ..older.rules },
            ..older
        }
    }

    /// AxeOS 2.15 set to a standard channel.
    pub fn axeos_2_15_standard() -> Self {
        Self { name: "axeos-2.15-standard", ..Self::axeos_2_15().with_a_standard_channel() }
    }

    /// NerdQAxe: kin of AxeOS that always rolls the version, and understands a new extranonce prefix.
    pub fn nerdqaxe() -> Self {
        let kin = Self::axeos_2_14();
        Self {
            name: "nerdqaxe",
            vendor: "NerdQAxe++",
            flags: REQUIRES_VERSION_ROLLING,
            rules: Rules {
                ignores: &[Reconnect::MESSAGE_TYPE, CloseChannel::MESSAGE_TYPE, SetGroupChannel::MESSAGE_TYPE],
                fixed_version: FixedVersion::Drops,
                ..kin.rules
            },
            ..kin
        }
    }

    /// The reference implementation's translator proxy, which mines for devices of Stratum V1.
    pub fn translator() -> Self {
        Self {
            name: "translator",
            vendor: "SRI",
            hardware_version: "Translator Proxy",
            firmware: "",
            flags: REQUIRES_VERSION_ROLLING,
            channel: ChannelKind::Extended { min_extranonce_size: 4 },
            nominal_hash_rate: 1e13,
            max_target: U256::MAX,
            identity_limit: None,
            explained_codes: &[],
            rules: Rules {
                ignores: &[NewMiningJob::MESSAGE_TYPE, SetExtranoncePrefix::MESSAGE_TYPE],
                leaves_at: &[
                    Reconnect::MESSAGE_TYPE,
                    ChannelEndpointChanged::MESSAGE_TYPE,
                    OpenMiningChannelError::MESSAGE_TYPE,
                ],
                fixed_version: FixedVersion::Leaves,
                lost_tip: LostTip::Leaves,
                refuses_small_extranonce: true,
                refuses_zero_target: true,
                parks_updates: true,
                ..Rules::SPECIFICATION
            },
        }
    }

    /// The reference implementation's job declarator client, its side towards a pool: it selects its own work, so it
    /// wants a channel and no jobs.
    pub fn job_declarator_client() -> Self {
        Self {
            name: "jd-client",
            vendor: "SRI",
            hardware_version: "JDC",
            flags: REQUIRES_WORK_SELECTION | REQUIRES_VERSION_ROLLING,
            channel: ChannelKind::Extended { min_extranonce_size: 10 },
            rules: Rules {
                ignores: &[
                    NewMiningJob::MESSAGE_TYPE,
                    NewExtendedMiningJob::MESSAGE_TYPE,
                    SetNewPrevHash::MESSAGE_TYPE,
                    SetGroupChannel::MESSAGE_TYPE,
                    Reconnect::MESSAGE_TYPE,
                ],
                leaves_at: &[
                    OpenStandardMiningChannelSuccess::MESSAGE_TYPE,
                    OpenMiningChannelError::MESSAGE_TYPE,
                    CloseChannel::MESSAGE_TYPE,
                ],
                refuses_small_extranonce: true,
                borne_custom_job_error: Some("stale-chain-tip"),
                ..Rules::SPECIFICATION
            },
            ..Self::translator()
        }
    }

    fn with_a_standard_channel(self) -> Self {
        Self { flags: self.flags | REQUIRES_STANDARD_JOBS, channel: ChannelKind::Standard, ..self }
    }

    /// Makes its patience with silence so many times shorter, for a test in which the pool's jobs come as many times
    /// more often. The patience with answers stays, since those take what they take.
    #[must_use]
    pub fn with_silence_shortened(mut self, times: u32) -> Self {
        self.rules.silence_limit = self.rules.silence_limit.map(|limit| limit / times);
        self
    }

    /// Puts the difficulty of an easier target in the place of 1, for devices that take none below or no fractions: a
    /// CPU hashes for hours at difficulty 1.
    #[must_use]
    pub fn with_difficulty_unit(mut self, target: U256) -> Self {
        self.rules.whole_difficulty = self.rules.whole_difficulty.map(|_| target);
        if self.max_target == difficulty_1() {
            self.max_target = target;
        }
        self
    }

    /// The channel that it opens for a user.
    pub fn channel(&self, user_identity: &str) -> ChannelConfig {
        let kept = self.identity_limit.map_or(user_identity.len(), |limit| user_identity.len().min(limit));
        // Identities are ASCII; where one is not, it is cut before the character that does not fit.
        let user_identity = &user_identity[..user_identity.floor_char_boundary(kept)];
        ChannelConfig {
            kind: self.channel,
            nominal_hash_rate: self.nominal_hash_rate,
            max_target: self.max_target,
            ..ChannelConfig::standard(user_identity)
        }
    }

    /// Whether it tells its owner in words what a rejected share's code means.
    pub fn explains(&self, error_code: &str) -> bool {
        self.explained_codes.contains(&error_code)
    }
}

impl FromStr for Profile {
    type Err = MinerError;

    fn from_str(name: &str) -> Result<Self, MinerError> {
        let mut all = Self::all();
        match all.iter().position(|profile| profile.name == name) {
            Some(at) => Ok(all.swap_remove(at)),
            None => Err(MinerError::UnknownDevice {
                name: name.into(),
                known: all.iter().map(|profile| profile.name).collect::<Vec<_>>().join(", "),
            }),
        }
    }
}

impl fmt::Display for Profile {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.name)
    }
}

fn difficulty_1() -> U256 {
    U256(Target::MAX.to_le_bytes())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn each_profile_is_found_by_its_own_name() {
        for profile in Profile::all() {
            assert_eq!(profile.name.parse::<Profile>().unwrap(), profile);
        }
        let unknown = "axeos-9".parse::<Profile>().unwrap_err().to_string();
        assert!(unknown.contains("axeos-9") && unknown.contains("axeos-2.15"), "{unknown}");
    }

    #[test]
    fn small_device_keeps_63_bytes_of_the_identity() {
        let long = "a".repeat(70);
        assert_eq!(Profile::nerdqaxe().channel(&long).user_identity.len(), 63);
        assert_eq!(Profile::braiins_os().channel(&long).user_identity.len(), 70);
        assert_eq!(Profile::nerdqaxe().channel("address.worker").user_identity, "address.worker");
        // Two bytes, of which only one would fit.
        assert_eq!(Profile::nerdqaxe().channel(&format!("{}ß", "a".repeat(62))).user_identity.len(), 62);
    }

    #[test]
    fn standard_devices_say_that_they_take_standard_jobs_only_but_for_braiins_os() {
        for profile in Profile::all().into_iter().filter(|profile| profile.channel == ChannelKind::Standard) {
            let says_so = profile.flags & REQUIRES_STANDARD_JOBS != 0;
            assert_eq!(says_so, profile.name != "braiins-os", "{profile}");
        }
    }

    #[test]
    fn only_the_silence_is_shortened() {
        let profile = Profile::axeos_2_15();
        let hasty = profile.clone().with_silence_shortened(6);
        assert_eq!(hasty.rules.silence_limit, Some(Duration::from_secs(30)));
        assert_eq!(hasty.rules.answer_timeout, profile.rules.answer_timeout);
        assert_eq!(Profile::translator().with_silence_shortened(6), Profile::translator());
    }
}
