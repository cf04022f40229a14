//! What a session says: where its messages go, and how they are made.

use bitcoin::hashes::Hash;
use protocol::{
    codec::{B0_32, Field, Str0_255, U256},
    messages::{
        Message,
        mining::{
            NewExtendedMiningJob, NewMiningJob, OpenExtendedMiningChannelSuccess, OpenMiningChannelError,
            OpenStandardMiningChannelSuccess, SetNewPrevHash, SetTarget, SubmitSharesError, UpdateChannelError,
        },
    },
};

use super::GROUP_CHANNEL_ID;
use crate::mining::{
    channel::{Channel, ChannelKind},
    difficulty::Difficulty,
    job::Job,
};

/// Where messages go: the connection's output buffer, or a list in a test.
pub trait Outbox {
    /// Puts a message, whose payload `encode` appends, behind those before it.
    fn send_encoded<M: Message>(&mut self, encode: impl FnOnce(&mut Vec<u8>));

    /// Puts a message behind those before it.
    fn send<M: Message>(&mut self, message: &M) {
        self.send_encoded::<M>(|out| message.encode(out));
    }
}

/// Answers a request to open a channel with an error (SV2 5.3.6).
pub fn refuse_open(request_id: u32, code: &str, out: &mut impl Outbox) {
    out.send(&OpenMiningChannelError { request_id, error_code: error_code(code) });
}

pub(super) fn refuse_update(channel_id: u32, code: &'static str, out: &mut impl Outbox) -> Option<&'static str> {
    out.send(&UpdateChannelError { channel_id, error_code: error_code(code) });
    Some(code)
}

/// Answers a share with an error (SV2 5.3.14).
pub fn refuse_share(channel_id: u32, sequence_number: u32, code: &str, out: &mut impl Outbox) {
    out.send(&SubmitSharesError { channel_id, sequence_number, error_code: error_code(code) });
}

fn error_code(code: &str) -> Str0_255 {
    Str0_255::new(code).expect("codes are short literals")
}

pub(super) fn send_target(channel_id: u32, difficulty: Difficulty, out: &mut impl Outbox) {
    out.send(&SetTarget { channel_id, maximum_target: target(difficulty) });
}

pub(super) fn send_open_success(channel: &Channel, request_id: u32, out: &mut impl Outbox) {
    let (channel_id, target) = (channel.id(), target(channel.difficulty()));
    let extranonce_prefix = B0_32::new(channel.prefix().as_bytes()).expect("a prefix has at most 32 bytes");
    let group_channel_id = GROUP_CHANNEL_ID;
    match channel.kind() {
        ChannelKind::Standard => out.send(&OpenStandardMiningChannelSuccess {
            request_id,
            channel_id,
            target,
            extranonce_prefix,
            group_channel_id,
        }),
        ChannelKind::Extended => out.send(&OpenExtendedMiningChannelSuccess {
            request_id,
            channel_id,
            target,
            extranonce_size: channel.prefix().rollable_size() as u16,
            extranonce_prefix,
            group_channel_id,
        }),
    }
}

pub(super) fn target(difficulty: Difficulty) -> U256 {
    U256(difficulty.target().to_le_bytes())
}

pub(super) fn standard_job(
    channel_id: u32,
    job_id: u32,
    job: &Job,
    min_ntime: Option<u32>,
    root: [u8; 32],
) -> NewMiningJob {
    NewMiningJob { channel_id, job_id, min_ntime, version: job.version(), merkle_root: U256(root) }
}

pub(super) fn send_extended_job(
    channel_id: u32,
    job_id: u32,
    job: &Job,
    min_ntime: Option<u32>,
    out: &mut impl Outbox,
) {
    out.send_encoded::<NewExtendedMiningJob>(|payload| {
        channel_id.encode(payload);
        job_id.encode(payload);
        min_ntime.encode(payload);
        payload.extend_from_slice(job.extended_fields());
    });
}

pub(super) fn prev_hash(channel_id: u32, job_id: u32, job: &Job) -> SetNewPrevHash {
    let template = job.template();
    SetNewPrevHash {
        channel_id,
        job_id,
        prev_hash: U256(template.prev_hash.to_byte_array()),
        min_ntime: template.curtime,
        nbits: template.nbits.to_consensus(),
    }
}
