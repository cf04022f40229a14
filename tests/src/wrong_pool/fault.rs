//! What the wrong pool can do wrong, and whom that harms.

/// A rule that the pool breaks. Each is independent of the others unless its documentation says so.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Fault {
    /// The certificate is signed by another authority than the URL's (SV2 4.5.3).
    ForeignCertificate,
    /// The certificate has ended (SV2 4.5.3).
    ExpiredCertificate,

    /// `SetupConnection` is never answered (SV2 3.6.1).
    NoAnswerToSetup,
    /// `SetupConnection.Success` names a version that the client did not offer (SV2 3.6.2).
    VersionNotOffered,
    /// `SetupConnection.Success` returns the client's flags: bit 0, "standard jobs only" of the client, reads as "fixed
    /// version" of the server, and translators leave (SV2 5.3.1).
    EchoesFlags,
    /// Any number of a protocol is accepted (SV2 3.6.3).
    AcceptsAnyProtocol,
    /// Any span of versions is accepted (SV2 3.6.3).
    AcceptsAnyVersion,
    /// A refused connection is closed before the error is written (SV2 3.6.3).
    ClosesWithoutError,
    /// `SetupConnection.Error` says "unsupported flags" and not which (SV2 3.6.3).
    ErrorWithoutFlags,
    /// A message of an unknown extension ends the connection (SV2 3.4.1).
    DisconnectsOnUnknownExtension,
    /// `RequestExtensions.Success` has another request id (extension 0x0001, 2).
    WrongExtensionRequestId,
    /// An extension is granted that nobody asked for (extension 0x0001, 2).
    GrantsUnaskedExtension,
    /// A connection without a channel is closed after two seconds; the reference miner takes five to measure its speed.
    ClosesIdleEarly,

    /// Requests to open a channel are not answered (SV2 5.3.2).
    NoAnswerToOpen,
    /// The first job comes before the answer to the open; AxeOS takes it for a refusal (SV2 5.3.15).
    JobBeforeAnswer,
    /// Answers to opens have another request id (SV2 5.3.3, 5.3.5).
    WrongRequestId,
    /// Standard channels are refused (SV2 5.2.2).
    RefusesStandardChannels,
    /// Extended channels are refused (SV2 5.2.2).
    RefusesExtendedChannels,
    /// All channels of a connection have one id (SV2 5.2).
    SameChannelId,
    /// The group has the id of the first channel (SV2 5.2.3).
    GroupIdOfChannel,
    /// Standard channels have a shorter extranonce than extended ones of the same group (SV2 5.2.3).
    UnequalExtranonces,
    /// An extended channel gets one byte of extranonce less than it asked for (SV2 5.3.4).
    LessExtranonce,
    /// All channels have one extranonce prefix, so that miners hash the same (SV2 5.1).
    SamePrefix,
    /// The first target is above the client's `max_target` (SV2 5.3.2).
    TargetAboveMax,
    /// Targets are sent big-endian: devices hash and never submit (SV2 3.1).
    BigEndianTarget,
    /// Targets are zero, and nothing can be found.
    ZeroTarget,
    /// The first target is three fifths of the client's `max_target`: older AxeOS and NerdQAxe cut the fraction off the
    /// difficulty and submit what is refused.
    FractionalDifficulty,

    /// An opened channel gets no job (SV2 5.3.15).
    NoJob,
    /// The first job of a channel is not a future job (SV2 5.3.15). A future one and its `SetNewPrevHash` follow.
    FirstJobActive,
    /// A job that has a `min_ntime` is named by a `SetNewPrevHash` right after it; the reference miner panics (SV2 5.3.17).
    /// The first job is right.
    PrevHashForActiveJob,
    /// Messages to a channel have no channel bit; Braiins OS knows none of them then (SV2 3.2.1).
    ChannelBitMissing,
    /// Refreshed jobs have the id of the job before, which is still valid (SV2 5.3.15).
    ReusesJobId,
    /// Jobs come only with tips: AxeOS leaves after 180 s.
    Silence,
    /// Refreshed jobs are the same work under another id, for which Braiins OS flushes its pipeline.
    RepeatsWork,
    /// The coinbase of extended jobs has its witness (SV2 3.7.1).
    WitnessLeft,
    /// The length byte of the coinbase's script is one too large (SV2 5.1.2.1).
    WrongScriptLength,
    /// Extended jobs forbid version rolling to clients that require it (SV2 5.3.1).
    ForbidsVersionRolling,
    /// Extended jobs are over 2,048 bytes, the limit of AxeOS 2.14 and NerdQAxe.
    LargeFrames,
    /// Clients that require standard jobs get messages to their group (SV2 5.2.1).
    GroupMessagesToStandardClient,
    /// Standard channels get extended jobs under their own id (SV2 5.3.16).
    ExtendedJobForStandardChannel,
    /// After `CloseChannel` the jobs of the channel go on (SV2 5.3.9).
    IgnoresClose,

    /// `UpdateChannel` is not answered (SV2 5.3.7).
    NoAnswerToUpdate,
    /// `UpdateChannel` is answered only if it demands a harder target; translators wait for an answer to each.
    AnswersOnlyTighterUpdates,
    /// `SetTarget` after `UpdateChannel` is above what was asked (SV2 5.3.7).
    IgnoresMaximumTarget,
    /// `UpdateChannel` for a channel that is not open is not answered (SV2 5.3.8).
    IgnoresInvalidUpdate,
    /// A message to a channel without the channel bit ends the connection; some clients never set it.
    DemandsChannelBit,

    /// Shares are never acknowledged (SV2 5.3.13).
    NeverAcknowledges,
    /// Shares are acknowledged after three seconds; miners show them as pending.
    AcknowledgesLate,
    /// Shares are acknowledged by ten only.
    AcknowledgesInTens,
    /// Acknowledgements count one share too many (SV2 5.3.13).
    WrongCount,
    /// Right shares are refused (SV2 5.3.13).
    RefusesShares,
    /// A share is accepted as often as it comes (SV2 5.3.14).
    AcceptsDuplicates,
    /// A share is accepted whatever its hash is (SV2 5.3.21).
    AcceptsAboveTarget,
    /// A share for a job that was never given is accepted (SV2 5.3.14).
    AcceptsUnknownJob,
    /// A share for a channel that was never opened is accepted (SV2 5.3.14).
    AcceptsUnknownChannel,
    /// A share for a job before the present tip is accepted (SV2 5.3.17).
    AcceptsStale,
    /// A share is accepted whatever the length of its extranonce is (SV2 5.3.12).
    AcceptsAnyExtranonceSize,
    /// A share is accepted whatever bits of the version were changed (SV2 5.3.15).
    AcceptsFixedVersionBits,
    /// A share is refused if bits of the version were rolled that BIP 323 allows and BIP 320 does not (SV2 5.3.15).
    RefusesBip323,
    /// A share is accepted with a time before its job's first (SV2 5.3.11).
    AcceptsEarlyTime,
    /// A share is judged by the newest target, and not by that of its job (SV2 5.3.21).
    JudgesByNewTarget,

    /// Error codes contain a line break (SV2 3.5).
    ControlCharacters,
    /// Error codes are the pool's own, which no firmware explains.
    OwnCodes,

    /// `SetupConnection.Success` fixes the version also for clients that require rolling (SV2 5.3.1).
    FixesVersion,
    /// Clients that select their own work get jobs all the same.
    JobsDespiteWorkSelection,
    /// The `SetNewPrevHash` of a new tip names a job that was never given (SV2 5.3.17). The first one is right.
    PrevHashForUnknownJob,
    /// Extended jobs are over 8,192 bytes, the limit of AxeOS 2.15.
    HugeFrames,

    /// With a new tip, a `Reconnect` comes: AxeOS ignores it, the translator crashes (SV2 3.6.5).
    SendsReconnect,
    /// With a new tip, all channels are closed: AxeOS ignores that, and its shares are lost (SV2 5.3.9).
    ClosesChannels,
    /// With a new tip, all channels get another extranonce prefix: AxeOS ignores that, and its shares are wrong
    /// (SV2 5.3.10).
    ChangesPrefixes,
    /// With a new tip, all channels move to another group, which old firmware does not know of (SV2 5.3.22).
    MovesChannels,
}
