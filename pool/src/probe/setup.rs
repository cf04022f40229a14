//! The first messages of a connection: who is accepted, who is refused, and how.

use std::time::Duration;

use protocol::{
    codec::{Seq0_64K, U256},
    framing::Header,
    messages::{
        common::{PROTOCOL_VERSION, Protocol, SetupConnectionSuccess},
        extensions::{RequestExtensions, WORKER_SPECIFIC_HASHRATE_TRACKING},
        mining::{REQUIRES_EXTENDED_CHANNELS, REQUIRES_FIXED_VERSION, REQUIRES_VERSION_ROLLING, ServerMessage},
    },
};
use tokio::time::Instant;

use super::{
    ProbeConfig,
    check::Check,
    opening,
    peer::{Incoming, Lost, Peer, Setup},
    report::Findings,
};

/// How long devices take before they open a channel.
const IDLE: Duration = Duration::from_secs(15);
/// An extension that nobody has: of the experimental range (SV2 3.4).
const UNKNOWN_EXTENSION: u16 = 0x7ad1;
/// A protocol that does not exist.
const UNKNOWN_PROTOCOL: u8 = 0x7f;
/// Versions that do not exist.
const UNKNOWN_VERSIONS: (u16, u16) = (100, 200);
/// The flags of a server that exist (SV2 5.3.1).
const SERVER_FLAGS: u32 = REQUIRES_FIXED_VERSION | REQUIRES_EXTENDED_CHANNELS;
/// The number of the probe's request for extensions.
const REQUEST_ID: u16 = 0x0ad1;

/// Checks setup. The error is why nothing else can be checked.
pub(super) async fn check(config: &ProbeConfig, findings: &mut Findings) -> Result<(), String> {
    let (peer, _) = connect(config, 0, findings).await?;
    findings.absorb(peer.leave().await);
    check_flags(config, findings).await;
    let unknown = Setup { protocol: UNKNOWN_PROTOCOL, ..Setup::mining(0) };
    check_refusal(config, Check::UnknownProtocol, "protocol 127", unknown, findings).await;
    let unknown = Setup { protocol: Protocol::Mining as u8, versions: UNKNOWN_VERSIONS, flags: 0 };
    check_refusal(config, Check::UnknownVersion, "versions 100 to 200", unknown, findings).await;
    check_extensions(config, findings).await
}

/// Connects and sets up, which must succeed. The error is why it did not.
pub(super) async fn connect(
    config: &ProbeConfig,
    flags: u32,
    findings: &mut Findings,
) -> Result<(Peer, SetupConnectionSuccess), String> {
    let connected = Peer::connect(&config.url, None, config.timeout).await;
    let mut peer = connected.map_err(|error| format!("no further connection: {error}"))?;
    let answer = peer.set_up(&config.url, Setup::mining(flags)).await;
    let expected = "SetupConnection.Success or .Error";
    let success = match answer {
        Ok(Incoming::SetupSuccess(success)) => success,
        Ok(Incoming::SetupError(error)) => {
            findings.held(Check::SetupAnswered);
            findings.absorb(peer.leave().await);
            return Err(format!("setup with flags {flags:#b} was refused: {}", error.error_code));
        }
        Ok(other) => {
            findings.broken(Check::SetupAnswered, expected, format!("{other:?}"));
            return Err("setup was not answered".into());
        }
        Err(lost) => {
            findings.broken(Check::SetupAnswered, expected, lost.to_string());
            return Err(format!("setup was not answered: {lost}"));
        }
    };
    findings.held(Check::SetupAnswered);
    let version = success.used_version;
    let is_offered = version == PROTOCOL_VERSION;
    findings.judge(Check::UsedVersion, is_offered, format!("{PROTOCOL_VERSION}"), || version.to_string());
    let forbids_rolling = flags & REQUIRES_VERSION_ROLLING != 0 && success.flags & REQUIRES_FIXED_VERSION != 0;
    let holds = success.flags & !SERVER_FLAGS == 0 && !forbids_rolling;
    let seen = || format!("flags {:#b} for a client with flags {flags:#b}", success.flags);
    findings.judge(Check::SuccessFlags, holds, "the flags of a server only, and not bit 0 for one that rolls", seen);
    Ok((peer, success))
}

/// Keeps a connection without a channel.
pub(super) async fn stay_idle(config: &ProbeConfig) -> Findings {
    let mut findings = Findings::default();
    let mut peer = match connect(config, 0, &mut findings).await {
        Ok((peer, _)) => peer,
        Err(reason) => {
            findings.not_checked(Check::IdleBeforeOpen, reason);
            return findings;
        }
    };
    let begin = Instant::now();
    match peer.listen(begin + IDLE.min(config.patience)).await {
        Err(lost) => {
            let seen = format!("after {} s: {lost}", begin.elapsed().as_secs());
            findings.broken(Check::IdleBeforeOpen, "an open connection for 15 s", seen);
        }
        Ok(()) if config.patience < IDLE => {
            findings.not_checked(Check::IdleBeforeOpen, "the patience is shorter than 15 s");
        }
        Ok(()) => findings.held(Check::IdleBeforeOpen),
    }
    findings.absorb(peer.leave().await);
    findings
}

/// Says all flags, as clients do to learn what a server supports.
async fn check_flags(config: &ProbeConfig, findings: &mut Findings) {
    let refused = match answer_to(config, "all flags", Setup::mining(u32::MAX), findings).await {
        Ok(Incoming::SetupError(error)) => error.flags,
        Ok(Incoming::SetupSuccess(_)) => {
            return findings.not_checked(Check::ErrorFlags, "the pool accepts all flags");
        }
        Ok(_) | Err(Lost::Silent | Lost::Garbled(_)) => {
            return findings.not_checked(Check::ErrorFlags, "setup with all flags was not answered");
        }
        Err(Lost::Closed) => return findings.not_checked(Check::ErrorFlags, "the refusal had no error"),
    };
    let expected = "flags without which the connection is accepted";
    if refused == 0 {
        return findings.broken(Check::ErrorFlags, expected, "a refusal of all flags that names none");
    }
    match answer_to(config, "the other flags", Setup::mining(!refused), findings).await {
        Ok(Incoming::SetupSuccess(_)) => findings.held(Check::ErrorFlags),
        Ok(Incoming::SetupError(error)) => {
            let seen = format!("{refused:#x} refused, and then {:#x}: {}", !refused, error.error_code);
            findings.broken(Check::ErrorFlags, expected, seen);
        }
        _ => findings.not_checked(Check::ErrorFlags, "setup with the flags that were not named was not answered"),
    }
}

/// Says what a pool must refuse.
async fn check_refusal(config: &ProbeConfig, check: Check, what: &str, setup: Setup, findings: &mut Findings) {
    match answer_to(config, what, setup, findings).await {
        Ok(Incoming::SetupError(_)) | Err(Lost::Closed) => findings.held(check),
        Ok(Incoming::SetupSuccess(_)) => {
            findings.broken(check, "SetupConnection.Error", format!("SetupConnection.Success for {what}"));
        }
        Ok(other) => findings.not_checked(check, format!("the answer was {other:?}")),
        Err(lost) => findings.not_checked(check, lost.to_string()),
    }
}

/// Makes a connection for one setup and returns the answer.
async fn answer_to(config: &ProbeConfig, what: &str, setup: Setup, findings: &mut Findings) -> Result<Incoming, Lost> {
    let mut peer = Peer::connect(&config.url, None, config.timeout).await.map_err(|_| Lost::Silent)?;
    let answer = peer.set_up(&config.url, setup).await;
    match &answer {
        Ok(Incoming::SetupError(_)) => findings.held(Check::ErrorBeforeClose),
        Err(Lost::Closed) => {
            let seen = format!("a closed connection and no error for setup with {what}");
            findings.broken(Check::ErrorBeforeClose, "SetupConnection.Error", seen);
        }
        _ => {}
    }
    findings.absorb(peer.leave().await);
    answer
}

/// Asks for extensions, then sends a message of one that nobody knows, and sees whether the pool still answers.
async fn check_extensions(config: &ProbeConfig, findings: &mut Findings) -> Result<(), String> {
    let (mut peer, _) = connect(config, 0, findings).await?;
    let requested = [WORKER_SPECIFIC_HASHRATE_TRACKING, UNKNOWN_EXTENSION];
    let requested_extensions = Seq0_64K::new(requested).expect("two fit");
    peer.send(&RequestExtensions { request_id: REQUEST_ID, requested_extensions }).await;
    let answer = peer.wait_for(peer.deadline(), |incoming, _| match incoming {
        Incoming::ExtensionsSuccess(success) => {
            Some((success.request_id, success.supported_extensions.as_slice().to_vec()))
        }
        Incoming::ExtensionsError(error) => Some((error.request_id, Vec::new())),
        _ => None,
    });
    match answer.await {
        Ok((request_id, granted)) => {
            let holds = request_id == REQUEST_ID && granted.iter().all(|extension| requested.contains(extension));
            let seen = || format!("request {request_id}, granted {granted:x?}");
            let expected = format!("request {REQUEST_ID}, granted some of {requested:x?}");
            findings.judge(Check::ExtensionsAnswer, holds, expected, seen);
        }
        Err(Lost::Silent) => {
            findings.not_checked(Check::ExtensionsAnswer, "the pool does not know extension 0x0001: no answer");
        }
        Err(lost) => {
            findings.broken(Check::UnknownExtension, "RequestExtensions answered or ignored", lost.to_string());
            return Ok(());
        }
    }
    let header = Header::new(UNKNOWN_EXTENSION, 0x01, 4).expect("four bytes fit");
    peer.send_frame(header, &[0; 4]).await;
    // Refused or not, an answer shows that the connection goes on.
    peer.send(&opening::extended_request(config, 1, U256::ZERO, 4)).await;
    let answer = peer.wait_for(peer.deadline(), |incoming, _| {
        matches!(
            incoming,
            Incoming::Mining(
                ServerMessage::OpenExtendedMiningChannelSuccess(_) | ServerMessage::OpenMiningChannelError(_)
            )
        )
        .then_some(())
    });
    match answer.await {
        Ok(()) => findings.held(Check::UnknownExtension),
        Err(Lost::Silent) => findings.not_checked(Check::UnknownExtension, "a request behind it was not answered"),
        Err(lost) => {
            findings.broken(Check::UnknownExtension, "a message of extension 0x7ad1 ignored", lost.to_string())
        }
    }
    findings.absorb(peer.leave().await);
    Ok(())
}
