//! The Mining Protocol (SV2 5): channels, jobs and shares.

use crate::codec::{B0_32, B0_64K, B0_255, DecodeError, Reader, Seq0_64K, Seq0_255, Str0_255, U256};
use crate::framing::Header;
use crate::messages::extensions::{WORKER_SPECIFIC_HASHRATE_TRACKING, WorkerIdentity};
use crate::messages::{Message, MessageError, MessageSet};

/// Client flag: only standard jobs can be worked on (SV2 5.3.1).
pub const REQUIRES_STANDARD_JOBS: u32 = 1 << 0;
/// Client flag: [`SetCustomMiningJob`] will be sent.
pub const REQUIRES_WORK_SELECTION: u32 = 1 << 1;
/// Client flag: jobs that forbid version rolling are of no use.
pub const REQUIRES_VERSION_ROLLING: u32 = 1 << 2;

/// Server flag: the version field must stay as it is. Shares its bit with the client's [`REQUIRES_STANDARD_JOBS`].
pub const REQUIRES_FIXED_VERSION: u32 = 1 << 0;
/// Server flag: standard channels are not opened.
pub const REQUIRES_EXTENDED_CHANNELS: u32 = 1 << 1;

messages! {
    extension 0x0000;

    /// Asks for a standard channel (SV2 5.3.2).
    OpenStandardMiningChannel = "OpenStandardMiningChannel", 0x10, connection {
        /// Pairs the response with the request.
        request_id: u32,
        /// Whom to credit; its form is the server's choice.
        user_identity: Str0_255,
        /// The expected hash rate, in hashes a second. Any bits may arrive, NaN and infinities too.
        nominal_hash_rate: f32,
        /// The easiest target that the device can work with.
        max_target: U256,
    }

    /// Grants a standard channel (SV2 5.3.3).
    OpenStandardMiningChannelSuccess = "OpenStandardMiningChannel.Success", 0x11, connection {
        /// From the request.
        request_id: u32,
        /// The channel's id, for the life of the connection.
        channel_id: u32,
        /// The target of the channel's first shares.
        target: U256,
        /// The channel's whole extranonce, for jobs sent to its group.
        extranonce_prefix: B0_32,
        /// The group that the channel belongs to.
        group_channel_id: u32,
    }

    /// Refuses a channel of either kind (SV2 5.3.6).
    OpenMiningChannelError = "OpenMiningChannel.Error", 0x12, connection {
        /// From the request.
        request_id: u32,
        /// The reason, such as `unknown-user`.
        error_code: Str0_255,
    }

    /// Asks for an extended channel (SV2 5.3.4).
    OpenExtendedMiningChannel = "OpenExtendedMiningChannel", 0x13, connection {
        /// Pairs the response with the request.
        request_id: u32,
        /// Whom to credit; its form is the server's choice.
        user_identity: Str0_255,
        /// The expected hash rate, in hashes a second. Any bits may arrive, NaN and infinities too.
        nominal_hash_rate: f32,
        /// The easiest target that the devices can work with.
        max_target: U256,
        /// How many bytes of extranonce the client needs to itself.
        min_extranonce_size: u16,
    }

    /// Grants an extended channel (SV2 5.3.5).
    OpenExtendedMiningChannelSuccess = "OpenExtendedMiningChannel.Success", 0x14, connection {
        /// From the request.
        request_id: u32,
        /// The channel's id, for the life of the connection.
        channel_id: u32,
        /// The target of the channel's first shares.
        target: U256,
        /// How many bytes of extranonce the client has to itself.
        extranonce_size: u16,
        /// The bytes that stand before them.
        extranonce_prefix: B0_32,
        /// The group that the channel belongs to.
        group_channel_id: u32,
    }

    /// Gives a standard channel a job (SV2 5.3.15).
    #[derive(Copy)]
    NewMiningJob = "NewMiningJob", 0x15, channel {
        /// The standard channel.
        channel_id: u32,
        /// The job's id within the channel.
        job_id: u32,
        /// The earliest time of a share, in Unix seconds; none for a future job, which waits for [`SetNewPrevHash`].
        min_ntime: Option<u32>,
        /// The block version; the bits of BIP 323 are the device's to roll.
        version: u32,
        /// The merkle root, as it stands in the block header.
        merkle_root: U256,
    }

    /// Tells of a channel's new hash rate, and asks for a target (SV2 5.3.7).
    #[derive(Copy)]
    UpdateChannel = "UpdateChannel", 0x16, channel {
        /// The channel.
        channel_id: u32,
        /// The expected hash rate, in hashes a second. Any bits may arrive, NaN and infinities too.
        nominal_hash_rate: f32,
        /// The easiest target that the client wants.
        maximum_target: U256,
    }

    /// Refuses an update (SV2 5.3.8).
    UpdateChannelError = "UpdateChannel.Error", 0x17, channel {
        /// The channel.
        channel_id: u32,
        /// The reason, such as `invalid-channel-id`.
        error_code: Str0_255,
    }

    /// Ends a channel, or all channels of a group (SV2 5.3.9). Both roles send it.
    CloseChannel = "CloseChannel", 0x18, channel {
        /// The channel or group.
        channel_id: u32,
        /// The reason.
        reason_code: Str0_255,
    }

    /// Changes a channel's extranonce prefix for the jobs that follow (SV2 5.3.10).
    #[derive(Copy)]
    SetExtranoncePrefix = "SetExtranoncePrefix", 0x19, channel {
        /// The channel.
        channel_id: u32,
        /// The new prefix.
        extranonce_prefix: B0_32,
    }

    /// Submits a share of a standard channel (SV2 5.3.11).
    #[derive(Copy)]
    SubmitSharesStandard = "SubmitSharesStandard", 0x1a, channel {
        /// The channel.
        channel_id: u32,
        /// The submission's number within the channel.
        sequence_number: u32,
        /// The job.
        job_id: u32,
        /// The nonce of the block header.
        nonce: u32,
        /// The time of the block header, in Unix seconds.
        ntime: u32,
        /// The whole version of the block header.
        version: u32,
    }

    /// Submits a share of an extended channel (SV2 5.3.12).
    #[derive(Copy)]
    SubmitSharesExtended = "SubmitSharesExtended", 0x1b, channel {
        /// The channel.
        channel_id: u32,
        /// The submission's number within the channel.
        sequence_number: u32,
        /// The job.
        job_id: u32,
        /// The nonce of the block header.
        nonce: u32,
        /// The time of the block header, in Unix seconds.
        ntime: u32,
        /// The whole version of the block header.
        version: u32,
        /// What the client put behind the extranonce prefix.
        extranonce: B0_32,
    }

    /// Acknowledges shares, one or many (SV2 5.3.13).
    #[derive(Copy)]
    SubmitSharesSuccess = "SubmitShares.Success", 0x1c, channel {
        /// The channel.
        channel_id: u32,
        /// The number of the last submission acknowledged.
        last_sequence_number: u32,
        /// How many submissions this acknowledges.
        new_submits_accepted_count: u32,
        /// The sum of their difficulties.
        new_shares_sum: u64,
    }

    /// Rejects one share (SV2 5.3.14).
    SubmitSharesError = "SubmitShares.Error", 0x1d, channel {
        /// The channel.
        channel_id: u32,
        /// The submission's number.
        sequence_number: u32,
        /// The reason, such as `stale-share`.
        error_code: Str0_255,
    }

    /// Gives an extended channel or a group a job (SV2 5.3.16).
    NewExtendedMiningJob = "NewExtendedMiningJob", 0x1f, channel {
        /// The extended channel or group.
        channel_id: u32,
        /// The job's id within each channel.
        job_id: u32,
        /// The earliest time of a share, in Unix seconds; none for a future job, which waits for [`SetNewPrevHash`].
        min_ntime: Option<u32>,
        /// The block version.
        version: u32,
        /// Whether the bits of BIP 323 are the device's to roll.
        version_rolling_allowed: bool,
        /// The hashes that lead from the coinbase's txid to the merkle root, deepest first.
        merkle_path: Seq0_255<U256>,
        /// The coinbase transaction before the extranonce, without witness data.
        coinbase_tx_prefix: B0_64K,
        /// The coinbase transaction after the extranonce, without witness data.
        coinbase_tx_suffix: B0_64K,
    }

    /// Turns to a new block, and activates a future job on it (SV2 5.3.17).
    #[derive(Copy)]
    SetNewPrevHash = "SetNewPrevHash", 0x20, channel {
        /// The channel or group.
        channel_id: u32,
        /// The future job; all other jobs become invalid.
        job_id: u32,
        /// The new tip's hash.
        prev_hash: U256,
        /// The earliest time of a share, in Unix seconds.
        min_ntime: u32,
        /// The block's target, compact as in its header.
        nbits: u32,
    }

    /// Changes a channel's target for future jobs (SV2 5.3.21).
    #[derive(Copy)]
    SetTarget = "SetTarget", 0x21, channel {
        /// The channel or group.
        channel_id: u32,
        /// The greatest hash that is accepted as a share.
        maximum_target: U256,
    }

    /// Asks for credit for the client's own job (SV2 5.3.18).
    SetCustomMiningJob = "SetCustomMiningJob", 0x22, channel {
        /// The extended channel or group.
        channel_id: u32,
        /// Pairs the response with the request.
        request_id: u32,
        /// What the job declaration server gave out for this job.
        mining_job_token: B0_255,
        /// The block version.
        version: u32,
        /// The tip's hash.
        prev_hash: U256,
        /// The earliest time of a share, in Unix seconds.
        min_ntime: u32,
        /// The block's target, compact as in its header.
        nbits: u32,
        /// The coinbase transaction's version.
        coinbase_tx_version: u32,
        /// What the coinbase input's script starts with: up to 8 bytes.
        coinbase_prefix: B0_255,
        /// The coinbase input's sequence number.
        coinbase_tx_input_nsequence: u32,
        /// The coinbase outputs, serialised as in a transaction, with their count.
        coinbase_tx_outputs: B0_64K,
        /// The coinbase transaction's lock time.
        coinbase_tx_locktime: u32,
        /// The hashes that lead from the coinbase's txid to the merkle root, deepest first.
        merkle_path: Seq0_255<U256>,
    }

    /// Commits to credit a custom job (SV2 5.3.19).
    #[derive(Copy)]
    SetCustomMiningJobSuccess = "SetCustomMiningJob.Success", 0x23, channel {
        /// The extended channel or group.
        channel_id: u32,
        /// From the request.
        request_id: u32,
        /// The id under which shares of the job are submitted.
        job_id: u32,
    }

    /// Refuses a custom job (SV2 5.3.20).
    SetCustomMiningJobError = "SetCustomMiningJob.Error", 0x24, channel {
        /// The extended channel or group.
        channel_id: u32,
        /// From the request.
        request_id: u32,
        /// The reason, such as `stale-chain-tip`.
        error_code: Str0_255,
    }

    /// Moves channels into a group (SV2 5.3.22).
    SetGroupChannel = "SetGroupChannel", 0x25, connection {
        /// The group.
        group_channel_id: u32,
        /// The channels.
        channel_ids: Seq0_64K<u32>,
    }
}

/// What a client sends in the Mining Protocol.
#[derive(Clone, Debug, PartialEq)]
pub enum ClientMessage {
    /// An [`OpenStandardMiningChannel`].
    OpenStandardMiningChannel(OpenStandardMiningChannel),
    /// An [`OpenExtendedMiningChannel`].
    OpenExtendedMiningChannel(OpenExtendedMiningChannel),
    /// An [`UpdateChannel`].
    UpdateChannel(UpdateChannel),
    /// A [`CloseChannel`].
    CloseChannel(CloseChannel),
    /// A [`SubmitSharesStandard`].
    SubmitSharesStandard(SubmitSharesStandard),
    /// A [`SubmitSharesExtended`], and who found it, if extension 0x0002 was negotiated and the client says; or what is
    /// wrong with the fields that should say it. Such a message is to be rejected (SV2 3.4.3), but it can be: the
    /// share's own fields tell which one it is.
    SubmitSharesExtended(SubmitSharesExtended, Result<Option<WorkerIdentity>, DecodeError>),
    /// A [`SetCustomMiningJob`].
    SetCustomMiningJob(SetCustomMiningJob),
}

// Written out, unlike the other sets, because one message carries a field of an extension.
impl MessageSet for ClientMessage {
    fn decode(header: Header, payload: &[u8], extensions: &[u16]) -> Result<Self, MessageError> {
        fn plain<M: Message>(payload: &[u8], variant: fn(M) -> ClientMessage) -> Result<ClientMessage, MessageError> {
            M::decode(payload).map(variant).map_err(MessageError::decode::<M>)
        }
        if header.extension_type != 0 {
            return Err(MessageError::NotOfThisSet);
        }
        match header.message_type {
            SubmitSharesStandard::MESSAGE_TYPE => plain(payload, Self::SubmitSharesStandard),
            SubmitSharesExtended::MESSAGE_TYPE => {
                decode_extended_share(payload, extensions).map_err(MessageError::decode::<SubmitSharesExtended>)
            }
            OpenStandardMiningChannel::MESSAGE_TYPE => plain(payload, Self::OpenStandardMiningChannel),
            OpenExtendedMiningChannel::MESSAGE_TYPE => plain(payload, Self::OpenExtendedMiningChannel),
            UpdateChannel::MESSAGE_TYPE => plain(payload, Self::UpdateChannel),
            CloseChannel::MESSAGE_TYPE => plain(payload, Self::CloseChannel),
            SetCustomMiningJob::MESSAGE_TYPE => plain(payload, Self::SetCustomMiningJob),
            _ => Err(MessageError::NotOfThisSet),
        }
    }
}

fn decode_extended_share(payload: &[u8], extensions: &[u16]) -> Result<ClientMessage, DecodeError> {
    let mut reader = Reader::new(payload);
    let share = SubmitSharesExtended::decode_fields(&mut reader)?;
    // Without negotiation, such a field is one of those that must be ignored (extension 0x0002, 1.3).
    let worker = if extensions.contains(&WORKER_SPECIFIC_HASHRATE_TRACKING) {
        WorkerIdentity::find(reader.rest())
    } else {
        Ok(None)
    };
    Ok(ClientMessage::SubmitSharesExtended(share, worker))
}

message_sets! {
    /// What a server sends in the Mining Protocol.
    ServerMessage {
        OpenStandardMiningChannelSuccess,
        OpenExtendedMiningChannelSuccess,
        OpenMiningChannelError,
        UpdateChannelError,
        CloseChannel,
        SetExtranoncePrefix,
        SubmitSharesSuccess,
        SubmitSharesError,
        NewMiningJob,
        NewExtendedMiningJob,
        SetNewPrevHash,
        SetCustomMiningJobSuccess,
        SetCustomMiningJobError,
        SetTarget,
        SetGroupChannel,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use crate::messages::tests::decodes_as;

    #[test]
    fn every_client_message_has_its_variant() {
        decodes_as(ClientMessage::OpenStandardMiningChannel);
        decodes_as(ClientMessage::OpenExtendedMiningChannel);
        decodes_as(ClientMessage::UpdateChannel);
        decodes_as(ClientMessage::CloseChannel);
        decodes_as(ClientMessage::SubmitSharesStandard);
        decodes_as(|share| ClientMessage::SubmitSharesExtended(share, Ok(None)));
        decodes_as(ClientMessage::SetCustomMiningJob);
    }

    fn share() -> SubmitSharesExtended {
        SubmitSharesExtended {
            channel_id: 2,
            sequence_number: 3,
            job_id: 4,
            nonce: 0xdead_beef,
            ntime: 0x6502_0304,
            version: 0x2000_0000,
            extranonce: B0_32::new(&[0xaa, 0xbb]).unwrap(),
        }
    }

    fn payload_of(message: &impl Message) -> Vec<u8> {
        let mut payload = Vec::new();
        message.encode(&mut payload);
        payload
    }

    #[test]
    fn shares_are_the_specified_bytes() {
        let extended = "020000000300000004000000efbeadde040302650000002002aabb";
        assert_eq!(hex::encode(payload_of(&share())), extended);
        let SubmitSharesExtended { channel_id, sequence_number, job_id, nonce, ntime, version, .. } = share();
        let standard = SubmitSharesStandard { channel_id, sequence_number, job_id, nonce, ntime, version };
        assert_eq!(hex::encode(payload_of(&standard)), extended[..48]);
        let success = SubmitSharesSuccess {
            channel_id: 2,
            last_sequence_number: 3,
            new_submits_accepted_count: 1,
            new_shares_sum: 0x0102_0304_0506_0708,
        };
        assert_eq!(hex::encode(payload_of(&success)), "0200000003000000010000000807060504030201");
    }

    #[test]
    fn jobs_are_the_specified_bytes() {
        let job = NewExtendedMiningJob {
            channel_id: 1,
            job_id: 2,
            min_ntime: Some(3),
            version: 0x2000_0000,
            version_rolling_allowed: true,
            merkle_path: Seq0_255::new([U256([0x11; 32])]).unwrap(),
            coinbase_tx_prefix: B0_64K::new([0xaa]).unwrap(),
            coinbase_tx_suffix: B0_64K::new([0xbb, 0xcc]).unwrap(),
        };
        let path = "11".repeat(32);
        let expected = format!("010000000200000001030000000000002001{}{path}0100aa0200bbcc", "01");
        assert_eq!(hex::encode(payload_of(&job)), expected);
        let mut merkle_root = U256::ZERO;
        merkle_root.0[0] = 0x77;
        let future = NewMiningJob { channel_id: 5, job_id: 6, min_ntime: None, version: 1, merkle_root };
        let expected = format!("05000000060000000001000000{}{}", "77", "00".repeat(31));
        assert_eq!(hex::encode(payload_of(&future)), expected);
    }

    #[test]
    fn a_worker_is_read_only_if_its_extension_was_negotiated() {
        let mut payload = payload_of(&share());
        let worker = WorkerIdentity::new("Worker_001").unwrap();
        worker.encode_field(&mut payload);
        let header = Header::of::<SubmitSharesExtended>(payload.len()).unwrap();
        let extensions = [WORKER_SPECIFIC_HASHRATE_TRACKING];
        let with = ClientMessage::decode(header, &payload, &extensions).unwrap();
        assert_eq!(with, ClientMessage::SubmitSharesExtended(share(), Ok(Some(worker))));
        let without = ClientMessage::decode(header, &payload, &[]).unwrap();
        assert_eq!(without, ClientMessage::SubmitSharesExtended(share(), Ok(None)));
        payload.pop();
        assert_eq!(ClientMessage::decode(header, &payload, &[]).unwrap(), without);
        let cut = ClientMessage::decode(header, &payload, &extensions).unwrap();
        let error = DecodeError::Truncated { field_type: "TLV value", needed: 10, left: 9 };
        assert_eq!(cut, ClientMessage::SubmitSharesExtended(share(), Err(error)));
    }

    #[test]
    fn a_servers_message_is_not_a_clients() {
        let header = Header::of::<NewMiningJob>(0).unwrap();
        assert_eq!(ClientMessage::decode(header, &[], &[]), Err(MessageError::NotOfThisSet));
        let header = Header::of::<SubmitSharesStandard>(0).unwrap();
        assert_eq!(ServerMessage::decode(header, &[], &[]), Err(MessageError::NotOfThisSet));
    }
}
