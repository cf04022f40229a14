//! How channels open: requests, their answers, and the first job.

use protocol::{
    codec::{Str0_255, U256},
    messages::mining::{OpenExtendedMiningChannel, OpenStandardMiningChannel, ServerMessage},
};

use super::{
    ProbeConfig,
    board::show_target,
    check::Check,
    peer::{Incoming, Peer},
    targets,
};

/// What is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// A standard channel.
    Standard,
    /// An extended channel with so many bytes of extranonce.
    Extended(u16),
}

/// What came of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Opened {
    /// The channel's id.
    Channel(u32),
    /// The code of the refusal.
    Refused(String),
    /// There was no answer; why.
    Nothing(String),
}

impl Opened {
    /// Returns the channel's id, if there is a channel.
    pub(super) fn channel(self) -> Option<u32> {
        match self {
            Self::Channel(id) => Some(id),
            Self::Refused(_) | Self::Nothing(_) => None,
        }
    }
}

/// Makes the request for an extended channel.
pub(super) fn extended_request(
    config: &ProbeConfig,
    request_id: u32,
    max_target: U256,
    min_extranonce_size: u16,
) -> OpenExtendedMiningChannel {
    OpenExtendedMiningChannel {
        request_id,
        user_identity: Str0_255::new(&config.user).unwrap_or_default(),
        nominal_hash_rate: config.hash_rate,
        max_target,
        min_extranonce_size,
    }
}

/// Asks for a channel and checks the answer.
pub(super) async fn open(
    peer: &mut Peer,
    config: &ProbeConfig,
    request_id: u32,
    kind: Kind,
    max_target: U256,
) -> Opened {
    match kind {
        Kind::Extended(size) => peer.send(&extended_request(config, request_id, max_target, size)).await,
        Kind::Standard => {
            let OpenExtendedMiningChannel { user_identity, nominal_hash_rate, .. } =
                extended_request(config, request_id, max_target, 0);
            peer.send(&OpenStandardMiningChannel { request_id, user_identity, nominal_hash_rate, max_target }).await;
        }
    }
    let answer = peer.wait_for(peer.deadline(), |incoming, _| match incoming {
        Incoming::Mining(
            message @ (ServerMessage::OpenStandardMiningChannelSuccess(_)
            | ServerMessage::OpenExtendedMiningChannelSuccess(_)
            | ServerMessage::OpenMiningChannelError(_)),
        ) => Some(message.clone()),
        _ => None,
    });
    let answer = match answer.await {
        Ok(answer) => answer,
        Err(lost) => {
            peer.findings.broken(Check::OpenAnswered, "an answer to the request", lost.to_string());
            return Opened::Nothing(format!("a request to open a channel was not answered: {lost}"));
        }
    };
    peer.findings.held(Check::OpenAnswered);
    let (answered, target, channel) = match answer {
        ServerMessage::OpenStandardMiningChannelSuccess(open) => (open.request_id, open.target, open.channel_id),
        ServerMessage::OpenExtendedMiningChannelSuccess(open) => {
            let (size, prefix) = (usize::from(open.extranonce_size), open.extranonce_prefix.as_slice().len());
            let asked = if let Kind::Extended(asked) = kind { usize::from(asked) } else { 0 };
            let seen = || format!("{size} bytes behind a prefix of {prefix}");
            let expected = format!("{asked} bytes at least, 32 with the prefix at most");
            peer.findings.judge(Check::ExtranonceSize, size >= asked && size + prefix <= 32, expected, seen);
            (open.request_id, open.target, open.channel_id)
        }
        ServerMessage::OpenMiningChannelError(error) => {
            judge_request_id(peer, request_id, error.request_id);
            return Opened::Refused(error.error_code.to_string());
        }
        _ => unreachable!("only answers to requests are waited for"),
    };
    judge_request_id(peer, request_id, answered);
    targets::judge_first(target, max_target, &mut peer.findings);
    Opened::Channel(channel)
}

/// Waits until a channel has a job and a tip. The error is why not.
pub(super) async fn wait_for_work(peer: &mut Peer, channel_id: u32) -> Result<(), String> {
    let deadline = peer.deadline();
    while peer.board.work(channel_id).is_none() {
        if let Err(lost) = peer.next(deadline).await {
            let target = peer.board.channel(channel_id).map(|channel| show_target(channel.target));
            let seen = format!("channel {channel_id} with target {}: {lost}", target.unwrap_or_default());
            peer.findings.broken(Check::FirstJob, "a job and its SetNewPrevHash", seen);
            return Err("an opened channel got no job".into());
        }
    }
    peer.findings.held(Check::FirstJob);
    Ok(())
}

/// Returns true if a refusal is for the user's sake.
pub(super) fn is_for_the_user(code: &str) -> bool {
    code.contains("user") || code.contains("identity")
}

fn judge_request_id(peer: &mut Peer, asked: u32, answered: u32) {
    let seen = || format!("request {answered}");
    peer.findings.judge(Check::RequestId, asked == answered, format!("request {asked}"), seen);
}
