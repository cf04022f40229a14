//! What is checked, as data: the rules, where they stand, and how much it matters when one is broken.

use serde::Serialize;

/// What a check is about; the report is grouped by it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Area {
    /// Encryption and who the server is.
    Handshake,
    /// The first messages, and extensions.
    Setup,
    /// How channels open, and their groups.
    Channels,
    /// What jobs look like and when they come.
    Jobs,
    /// Targets and their changes.
    Targets,
    /// How shares are judged and acknowledged.
    Shares,
    /// What errors say.
    Errors,
}

impl Area {
    /// Returns the heading in the report.
    pub fn heading(self) -> &'static str {
        match self {
            Self::Handshake => "HANDSHAKE",
            Self::Setup => "SETUP",
            Self::Channels => "CHANNELS",
            Self::Jobs => "JOBS",
            Self::Targets => "TARGETS",
            Self::Shares => "SHARES",
            Self::Errors => "ERRORS",
        }
    }
}

/// How much a broken rule matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Severity {
    /// The specification is broken.
    Violation,
    /// The specification allows it; clients in the field suffer from it.
    Advice,
}

/// A rule, and what is known of it.
#[derive(Debug)]
pub struct Rule {
    /// The stable name, for scripts.
    pub id: &'static str,
    /// What it is about.
    pub area: Area,
    /// Where it stands in the Stratum V2 specification, or who depends on it.
    pub source: &'static str,
    /// How much it matters.
    pub severity: Severity,
    /// What must hold, in one sentence.
    pub must_hold: &'static str,
}

macro_rules! checks {
    ($( $name:ident = $id:literal, $area:ident, $severity:ident, $source:literal, $must_hold:literal; )*) => {
        /// A check, in the order of the report.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Check {
            $( #[doc = $must_hold] $name, )*
        }

        impl Check {
            /// All checks, in the order of the report.
            pub const ALL: &[Self] = &[$( Self::$name, )*];

            /// Returns what is checked.
            pub fn rule(self) -> &'static Rule {
                match self {
                    $( Self::$name => &Rule {
                        id: $id,
                        area: Area::$area,
                        source: $source,
                        severity: Severity::$severity,
                        must_hold: $must_hold,
                    }, )*
                }
            }
        }
    };
}

checks! {
    Certificate = "certificate", Handshake, Violation, "SV2 4.5.3",
        "The certificate is signed by the authority of the URL, and for the present time.";

    SetupAnswered = "setup-answered", Setup, Violation, "SV2 3.6.1",
        "The first frame answers SetupConnection.";
    UsedVersion = "used-version", Setup, Violation, "SV2 3.6.2",
        "The version chosen is one that was offered.";
    SuccessFlags = "success-flags", Setup, Violation, "SV2 5.3.1",
        "SetupConnection.Success has the server's own flags, and no fixed version for a client that requires rolling.";
    UnknownProtocol = "unknown-protocol", Setup, Violation, "SV2 3.6.3",
        "A protocol that does not exist is refused.";
    UnknownVersion = "unknown-version", Setup, Violation, "SV2 3.6.3",
        "Versions that do not exist are refused.";
    ErrorBeforeClose = "error-before-close", Setup, Violation, "SV2 3.6.3",
        "A refused connection gets SetupConnection.Error before it is closed.";
    ErrorFlags = "error-flags", Setup, Violation, "SV2 3.6.3",
        "A refusal for unsupported flags names them, and without these the connection is accepted.";
    UnknownExtension = "unknown-extension", Setup, Violation, "SV2 3.4.1",
        "A message of an unknown extension is ignored.";
    ExtensionsAnswer = "extensions-answer", Setup, Violation, "extension 0x0001, 2",
        "An answer to RequestExtensions has its request id and grants only what was asked for.";
    IdleBeforeOpen = "idle-before-open", Setup, Advice, "the reference miner",
        "A connection may stay without a channel for 15 seconds.";

    OpenAnswered = "open-answered", Channels, Violation, "SV2 5.3.2",
        "Each request to open a channel is answered.";
    AnswerFirst = "answer-first", Channels, Violation, "SV2 5.3.15",
        "Nothing is sent to a channel before the answer that opens it.";
    RequestId = "request-id", Channels, Violation, "SV2 5.3.3",
        "An answer to a request has its request id.";
    StandardChannels = "standard-channels", Channels, Violation, "SV2 5.2.2",
        "Standard channels are opened.";
    ExtendedChannels = "extended-channels", Channels, Violation, "SV2 5.2.2",
        "Extended channels are opened.";
    ExtranonceSize = "extranonce-size", Channels, Violation, "SV2 5.3.4",
        "An extended channel gets the extranonce that it asked for, and with its prefix no more than 32 bytes.";
    UniquePrefix = "unique-prefix", Channels, Violation, "SV2 5.1",
        "Channels have different extranonce prefixes, so that no two search the same space.";
    UniqueChannelId = "unique-channel-id", Channels, Violation, "SV2 5.2",
        "No two channels of a connection have the same id.";
    GroupId = "group-id", Channels, Violation, "SV2 5.2.3",
        "The id of a group is the id of no channel.";
    GroupExtranonce = "group-extranonce", Channels, Violation, "SV2 5.2.3",
        "All channels of a group have full extranonces of one size.";
    ClosedChannel = "closed-channel", Channels, Violation, "SV2 5.3.9",
        "After CloseChannel no more is sent for the channel.";

    FirstJob = "first-job", Jobs, Violation, "SV2 5.3.15",
        "A channel gets a job and a SetNewPrevHash when it has opened.";
    FirstJobFuture = "first-job-future", Jobs, Violation, "SV2 5.3.15",
        "The first job of a channel is a future job.";
    PrevHashJob = "prev-hash-job", Jobs, Violation, "SV2 5.3.17",
        "SetNewPrevHash names a future job of its channel.";
    JobKind = "job-kind", Jobs, Violation, "SV2 5.3.15, 5.3.16",
        "Standard jobs go to standard channels, extended ones to extended channels and groups.";
    StandardJobsOnly = "standard-jobs-only", Jobs, Violation, "SV2 5.2.1",
        "A client that requires standard jobs gets no extended ones and nothing addressed to a group.";
    UniqueJobId = "unique-job-id", Jobs, Violation, "SV2 5.3.15",
        "A job does not have the id of another one that is still valid.";
    ChannelBit = "channel-bit", Jobs, Violation, "SV2 3.2.1, 8",
        "Messages to a channel have the channel bit set, and no others have.";
    WitnessStripped = "witness-stripped", Jobs, Violation, "SV2 3.7.1",
        "The coinbase of an extended job has no witness.";
    CoinbaseScript = "coinbase-script", Jobs, Violation, "SV2 5.1.2.1",
        "The coinbase of an extended job is a valid transaction, with the extranonce inside its script.";
    VersionRolling = "version-rolling", Jobs, Violation, "SV2 5.3.1",
        "A client that requires version rolling gets no jobs that forbid it.";
    FrameSize = "frame-size", Jobs, Advice, "AxeOS 2.14, NerdQAxe",
        "No frame is over 2,048 bytes.";
    JobRefresh = "job-refresh", Jobs, Advice, "Braiins OS, AxeOS, NerdQAxe",
        "A new job comes within 60 seconds, also when nothing happens.";
    JobDiffers = "job-differs", Jobs, Advice, "Braiins OS",
        "A new job is not the last one under another id.";

    TargetByteOrder = "target-byte-order", Targets, Violation, "SV2 3.1",
        "Targets are little-endian, and can be met.";
    MaxTarget = "max-target", Targets, Violation, "SV2 5.3.2",
        "The first target is at most the client's max_target.";
    WholeDifficulty = "whole-difficulty", Targets, Advice, "AxeOS, NerdQAxe",
        "The difficulty of a target above difficulty 1 is a whole number.";
    UpdateReflected = "update-reflected", Targets, Violation, "SV2 5.3.7",
        "UpdateChannel with a harder maximum_target is answered with SetTarget.";
    UpdateMaxTarget = "update-max-target", Targets, Violation, "SV2 5.3.7",
        "SetTarget after UpdateChannel is at most its maximum_target.";
    UpdateAnswered = "update-answered", Targets, Advice, "the reference translator",
        "Each valid UpdateChannel is answered with SetTarget.";
    UpdateRefused = "update-refused", Targets, Violation, "SV2 5.3.8",
        "UpdateChannel for a channel that is not open is answered with UpdateChannel.Error.";
    ChannelBitOptional = "channel-bit-optional", Targets, Advice, "some proxies",
        "A message to a channel is understood without the channel bit too.";

    ShareAnswered = "share-answered", Shares, Violation, "SV2 5.3.13",
        "Right shares are acknowledged, with the 24th at the latest.";
    RightShare = "right-share", Shares, Violation, "SV2 5.3.13",
        "A right share is not refused.";
    AcknowledgedInTime = "acknowledged-in-time", Shares, Advice, "miners' displays",
        "A single share is acknowledged within a second.";
    AcknowledgedCount = "acknowledged-count", Shares, Violation, "SV2 5.3.13",
        "Acknowledgements name shares that were submitted, and count none twice.";
    DuplicateShare = "duplicate-share", Shares, Violation, "SV2 5.3.14",
        "A share that was submitted before is refused.";
    LowShare = "low-share", Shares, Violation, "SV2 5.3.21",
        "A share whose hash is above its target is refused.";
    UnknownJob = "unknown-job", Shares, Violation, "SV2 5.3.14",
        "A share for a job that was never given is refused.";
    UnknownChannel = "unknown-channel", Shares, Violation, "SV2 5.3.14",
        "A share for a channel that is not open is refused, and the connection goes on.";
    StaleShare = "stale-share", Shares, Violation, "SV2 5.3.17",
        "A share for a job before the present tip is refused.";
    ExtranonceLength = "extranonce-length", Shares, Violation, "SV2 5.3.12",
        "A share whose extranonce has another length than granted is refused.";
    FixedVersionBits = "fixed-version-bits", Shares, Advice, "SV2 5.3.15",
        "A share that changes version bits outside of BIP 323 is refused.";
    Bip323 = "bip-323", Shares, Violation, "SV2 5.3.15",
        "A share may roll any version bit of BIP 323.";
    EarlyTime = "early-time", Shares, Violation, "SV2 5.3.11",
        "A share with a time before its job's min_ntime is refused.";
    TargetOfJob = "target-of-job", Shares, Violation, "SV2 5.3.21",
        "A share is judged by the target under which its job was given, not by a later one.";

    CodeCharacters = "code-characters", Errors, Violation, "SV2 3.5",
        "Error codes have no control characters.";
    FamiliarCodes = "familiar-codes", Errors, Advice, "firmware that explains codes",
        "Refused shares get the codes that firmware knows.";
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn ids_are_unique_and_rules_are_sentences() {
        let ids: HashSet<&str> = Check::ALL.iter().map(|check| check.rule().id).collect();
        assert_eq!(ids.len(), Check::ALL.len());
        for check in Check::ALL {
            let Rule { id, source, must_hold, .. } = check.rule();
            assert!(id.chars().all(|letter| letter.is_ascii_lowercase() || letter.is_ascii_digit() || letter == '-'));
            assert!(must_hold.ends_with('.') && !source.is_empty(), "{id}");
        }
    }

    #[test]
    fn areas_stand_together_in_the_report() {
        assert!(Check::ALL.is_sorted_by_key(|check| check.rule().area));
    }
}
