//! Shares, right and wrong ones, and what the pool says to them.

use std::{sync::Arc, time::Duration};

use protocol::{
    codec::{B0_32, U256},
    messages::mining::ServerMessage,
};
use tokio::time::Instant;

use super::{
    ProbeConfig,
    channel::{Channel, Work},
    check::Check,
    peer::{Incoming, Lost, Peer},
    report::Findings,
    search::{Share, Wish, search},
};

/// How soon a share is acknowledged.
const ACKNOWLEDGED_WITHIN: Duration = Duration::from_secs(1);
/// How often a share may be late before it is the pool's fault and not that of the way.
const ATTEMPTS: usize = 3;
/// How many shares are submitted to see whether the pool waits for a number of them.
const MAX_RIGHT_SHARES: usize = 24;
/// How long each of them is waited for.
const BETWEEN: Duration = Duration::from_millis(300);
/// How long a refusal may take, which is "immediate" (SV2 5.3.14).
const REFUSED_WITHIN: Duration = Duration::from_secs(3);

/// The checks that need shares which the pool takes.
const AFTER_RIGHT_SHARE: [Check; 8] = [
    Check::AcknowledgedInTime,
    Check::DuplicateShare,
    Check::LowShare,
    Check::ExtranonceLength,
    Check::FixedVersionBits,
    Check::Bip323,
    Check::EarlyTime,
    Check::TargetOfJob,
];

/// What the pool says to a share.
enum Verdict {
    Acknowledged(Duration),
    Refused(String),
    Unanswered(Lost),
}

/// A share with what it was found for.
struct Found {
    work: Arc<Work>,
    share: Share,
}

/// Checks shares on a channel. The error is why there is no going on.
pub(super) async fn check(peer: &mut Peer, config: &ProbeConfig, channel_id: u32) -> Result<(), String> {
    if let Err(reason) = check_right(peer, config, channel_id).await {
        for check in AFTER_RIGHT_SHARE {
            peer.findings.not_checked(check, reason.clone());
        }
        return check_unknown(peer, channel_id).await;
    }
    let above = peer.board.work(channel_id).map(|work| work.target);
    let wrong = [
        (Check::DuplicateShare, Wish::RIGHT),
        (Check::LowShare, Wish { above, meets_target: false, ..Wish::RIGHT }),
        (Check::FixedVersionBits, Wish { version_change: 1, ..Wish::RIGHT }),
        (Check::EarlyTime, Wish { seconds_early: 1, ..Wish::RIGHT }),
        (Check::ExtranonceLength, Wish { extra_bytes: 1, ..Wish::RIGHT }),
    ];
    for (check, wish) in wrong {
        check_wrong(peer, config, channel_id, check, wish).await?;
    }
    check_bip_323(peer, config, channel_id).await?;
    check_unknown(peer, channel_id).await
}

/// Checks that a right share is not refused, and nothing else.
pub(super) async fn check_one(peer: &mut Peer, config: &ProbeConfig, channel_id: u32) {
    let Some(found) = find(peer, config, channel_id, Wish::RIGHT, 1).await else {
        return peer.findings.not_checked(Check::RightShare, no_share(config));
    };
    match submit(peer, channel_id, &found.share, REFUSED_WITHIN).await {
        _ if has_new_tip(peer, channel_id, &found) => {}
        Verdict::Refused(code) => {
            peer.findings.broken(Check::RightShare, "no refusal", format!("{code} on a standard channel"));
        }
        _ => peer.findings.held(Check::RightShare),
    }
}

/// Submits single right shares until one is acknowledged in time.
async fn check_right(peer: &mut Peer, config: &ProbeConfig, channel_id: u32) -> Result<(), String> {
    let mut quickest = Duration::MAX;
    for _ in 0..ATTEMPTS {
        let submitted = submit_right(peer, config, channel_id, config.timeout).await?;
        match submitted {
            None => continue,
            Some(Verdict::Acknowledged(after)) => quickest = quickest.min(after.saturating_sub(peer.round_trip)),
            Some(_) => return check_batch(peer, config, channel_id).await,
        }
        if quickest <= ACKNOWLEDGED_WITHIN {
            break;
        }
    }
    if quickest == Duration::MAX {
        return Err("every share met a new tip".into());
    }
    peer.findings.held(Check::RightShare);
    peer.findings.held(Check::ShareAnswered);
    let seen = || format!("{:.1} s for the quickest of {ATTEMPTS} single shares", quickest.as_secs_f64());
    let holds = quickest <= ACKNOWLEDGED_WITHIN;
    peer.findings.judge(Check::AcknowledgedInTime, holds, "an acknowledgement within a second", seen);
    Ok(())
}

/// Submits more shares behind one that was not acknowledged, to see whether the pool waits for a number of them.
async fn check_batch(peer: &mut Peer, config: &ProbeConfig, channel_id: u32) -> Result<(), String> {
    peer.findings.held(Check::RightShare);
    for number in 2..=MAX_RIGHT_SHARES {
        let submitted = submit_right(peer, config, channel_id, BETWEEN).await?;
        if let Some(Verdict::Acknowledged(_)) = submitted {
            let waited = config.timeout.as_secs();
            let seen = format!("nothing for {waited} s after the first share, an acknowledgement with share {number}");
            peer.findings.held(Check::ShareAnswered);
            peer.findings.broken(Check::AcknowledgedInTime, "an acknowledgement within a second", seen);
            return Ok(());
        }
    }
    let waited = peer.wait_for(peer.deadline(), |incoming, _| is_success(incoming, channel_id).then_some(()));
    if waited.await.is_ok() {
        peer.findings.held(Check::ShareAnswered);
        let seen = format!("an acknowledgement long after {MAX_RIGHT_SHARES} shares");
        peer.findings.broken(Check::AcknowledgedInTime, "an acknowledgement within a second", seen);
        return Ok(());
    }
    let seen = format!("nothing after {MAX_RIGHT_SHARES} right shares");
    peer.findings.broken(Check::ShareAnswered, "SubmitShares.Success", seen);
    for check in [Check::AcknowledgedInTime, Check::AcknowledgedCount] {
        peer.findings.not_checked(check, "no share was acknowledged");
    }
    Ok(())
}

/// Finds and submits a right share; nothing if a new tip came between. The error is that none is found or it is refused.
async fn submit_right(
    peer: &mut Peer,
    config: &ProbeConfig,
    channel_id: u32,
    within: Duration,
) -> Result<Option<Verdict>, String> {
    let salt = peer.board.channel(channel_id).map_or(0, Channel::salt);
    let Some(found) = find(peer, config, channel_id, Wish::RIGHT, salt).await else {
        for check in [Check::RightShare, Check::ShareAnswered, Check::AcknowledgedCount] {
            peer.findings.not_checked(check, no_share(config));
        }
        return Err(no_share(config));
    };
    match submit(peer, channel_id, &found.share, within).await {
        Verdict::Refused(_) if has_new_tip(peer, channel_id, &found) => Ok(None),
        Verdict::Refused(code) => {
            peer.findings.broken(Check::RightShare, "no refusal", code);
            for check in [Check::ShareAnswered, Check::AcknowledgedCount] {
                peer.findings.not_checked(check, "right shares are refused");
            }
            Err("right shares are refused".into())
        }
        Verdict::Unanswered(lost) if lost != Lost::Silent => Err(lost.to_string()),
        verdict => Ok(Some(verdict)),
    }
}

/// Submits a share that must be refused: for what it is, or because it came before. The error is that the connection is
/// gone.
async fn check_wrong(
    peer: &mut Peer,
    config: &ProbeConfig,
    channel_id: u32,
    check: Check,
    wish: Wish,
) -> Result<(), String> {
    for _ in 0..ATTEMPTS {
        let salt = peer.board.channel(channel_id).map_or(0, Channel::salt);
        let Some(found) = find(peer, config, channel_id, wish, salt).await else {
            peer.findings.not_checked(check, no_share(config));
            return Ok(());
        };
        if check == Check::DuplicateShare {
            // Accepted as others before; if it is not, that is not this check's business.
            submit(peer, channel_id, &found.share, REFUSED_WITHIN).await;
        }
        let verdict = submit(peer, channel_id, &found.share, REFUSED_WITHIN).await;
        if !has_new_tip(peer, channel_id, &found) {
            return judge_refusal(peer, check, verdict);
        }
    }
    peer.findings.not_checked(check, "the tip changed on the way");
    Ok(())
}

fn judge_refusal(peer: &mut Peer, check: Check, verdict: Verdict) -> Result<(), String> {
    match verdict {
        Verdict::Refused(code) => {
            peer.findings.held(check);
            judge_code(&mut peer.findings, check, &code);
            Ok(())
        }
        Verdict::Acknowledged(_) => {
            peer.findings.broken(check, "SubmitShares.Error", "SubmitShares.Success");
            Ok(())
        }
        Verdict::Unanswered(lost) => {
            peer.findings.broken(check, "SubmitShares.Error", lost.to_string());
            if lost == Lost::Silent { Ok(()) } else { Err(lost.to_string()) }
        }
    }
}

/// Returns true if the share is no longer for the present tip: a refusal proves nothing then.
fn has_new_tip(peer: &Peer, channel_id: u32, found: &Found) -> bool {
    peer.board.work(channel_id).is_none_or(|now| now.tip.prev_hash != found.work.tip.prev_hash)
}

/// Compares a code with what firmware shows and explains.
fn judge_code(findings: &mut Findings, check: Check, code: &str) {
    let familiar = match check {
        Check::StaleShare => "stale-share",
        Check::DuplicateShare => "duplicate-share",
        Check::LowShare => "difficulty-too-low",
        Check::UnknownJob => "invalid-job-id",
        Check::UnknownChannel => "invalid-channel-id",
        _ => return,
    };
    // A line break is another check's business.
    findings.judge(Check::FamiliarCodes, code.starts_with(familiar), familiar, || code.to_owned());
}

/// Submits shares for a job and for a channel that do not exist. Their hashes do not matter.
async fn check_unknown(peer: &mut Peer, channel_id: u32) -> Result<(), String> {
    let Some(channel) = peer.board.channel(channel_id) else { return Ok(()) };
    let Some(work) = &channel.work else { return Ok(()) };
    let (ntime, version) = (work.min_ntime, work.job.version);
    let extranonce = channel.size.and_then(|size| B0_32::new(&vec![0; size]).ok());
    let share = Share { job_id: channel.unused_job_id(), nonce: 1, ntime, version, extranonce };
    let verdict = submit(peer, channel_id, &share, REFUSED_WITHIN).await;
    judge_refusal(peer, Check::UnknownJob, verdict)?;
    let unknown_channel = peer.board.unused_channel_id();
    let verdict = submit(peer, unknown_channel, &share, REFUSED_WITHIN).await;
    judge_refusal(peer, Check::UnknownChannel, verdict)
}

/// Submits a right share with a version bit rolled that older rules leave alone.
async fn check_bip_323(peer: &mut Peer, config: &ProbeConfig, channel_id: u32) -> Result<(), String> {
    if !peer.board.work(channel_id).is_some_and(|work| work.job.rolling) {
        peer.findings.not_checked(Check::Bip323, "the job forbids version rolling");
        return Ok(());
    }
    let wish = Wish { version_change: 1 << 5, ..Wish::RIGHT };
    for _ in 0..ATTEMPTS {
        let salt = peer.board.channel(channel_id).map_or(0, Channel::salt);
        let Some(found) = find(peer, config, channel_id, wish, salt).await else {
            peer.findings.not_checked(Check::Bip323, no_share(config));
            return Ok(());
        };
        match submit(peer, channel_id, &found.share, REFUSED_WITHIN).await {
            Verdict::Refused(_) if has_new_tip(peer, channel_id, &found) => continue,
            Verdict::Refused(code) => {
                let expected = format!("no refusal, the job has {:#010x}", found.work.job.version);
                let seen = format!("{code} for version {:#010x}", found.share.version);
                peer.findings.broken(Check::Bip323, expected, seen);
            }
            Verdict::Acknowledged(_) | Verdict::Unanswered(Lost::Silent) => peer.findings.held(Check::Bip323),
            Verdict::Unanswered(lost) => return Err(lost.to_string()),
        }
        return Ok(());
    }
    peer.findings.not_checked(Check::Bip323, "the tip changed on the way");
    Ok(())
}

/// Submits a share for the tip before, once there was one.
pub(super) async fn check_stale(peer: &mut Peer, config: &ProbeConfig, channel_id: u32) -> Result<(), String> {
    let stale = peer.board.channel(channel_id).and_then(|channel| channel.stale.clone());
    let Some(work) = stale else { return Ok(()) };
    match search(Arc::clone(&work), Wish::RIGHT, 0xa0, config.search_time).await {
        Some(share) => {
            let verdict = submit(peer, channel_id, &share, REFUSED_WITHIN).await;
            judge_refusal(peer, Check::StaleShare, verdict)
        }
        None => {
            peer.findings.not_checked(Check::StaleShare, no_share(config));
            Ok(())
        }
    }
}

/// Submits a share that was right when its job was given and would be wrong by `newer`, the target since.
pub(super) async fn check_target_of_job(
    peer: &mut Peer,
    config: &ProbeConfig,
    channel_id: u32,
    work: Arc<Work>,
    newer: U256,
) {
    if newer >= work.target {
        return peer.findings.not_checked(Check::TargetOfJob, "the target did not become harder");
    }
    let wish = Wish { above: Some(newer), ..Wish::RIGHT };
    let Some(share) = search(Arc::clone(&work), wish, 0xb0, config.search_time).await else {
        return peer.findings.not_checked(Check::TargetOfJob, no_share(config));
    };
    let found = Found { work, share };
    let verdict = submit(peer, channel_id, &found.share, REFUSED_WITHIN).await;
    if has_new_tip(peer, channel_id, &found) {
        return peer.findings.not_checked(Check::TargetOfJob, "the tip changed on the way");
    }
    match verdict {
        Verdict::Refused(code) => {
            let seen = format!("{code} for a share of job {}, given before SetTarget", found.share.job_id);
            peer.findings.broken(Check::TargetOfJob, "no refusal", seen);
        }
        _ => peer.findings.held(Check::TargetOfJob),
    }
}

/// Finds a share on the job of the moment, after all that has arrived was read.
async fn find(peer: &mut Peer, config: &ProbeConfig, channel_id: u32, wish: Wish, salt: u8) -> Option<Found> {
    // That a connection is gone shows when the share is answered.
    let _ = peer.listen(Instant::now() + Duration::from_millis(1)).await;
    let work = Arc::clone(peer.board.work(channel_id)?);
    let share = search(Arc::clone(&work), wish, salt, config.search_time).await?;
    Some(Found { work, share })
}

/// Submits a share and waits for the answer.
async fn submit(peer: &mut Peer, channel_id: u32, share: &Share, within: Duration) -> Verdict {
    let channel = peer.board.channel_mut(channel_id);
    let is_extended = channel.as_ref().map_or(share.extranonce.is_some(), |channel| channel.size.is_some());
    let sequence_number = channel.map_or(1, Channel::next_sequence_number);
    match is_extended {
        true => peer.send(&share.extended(channel_id, sequence_number)).await,
        false => peer.send(&share.standard(channel_id, sequence_number)).await,
    }
    let sent = Instant::now();
    let verdict = peer.wait_for(sent + within, |incoming, _| match incoming {
        Incoming::Mining(ServerMessage::SubmitSharesSuccess(success))
            if success.channel_id == channel_id && success.last_sequence_number >= sequence_number =>
        {
            Some(Verdict::Acknowledged(sent.elapsed()))
        }
        Incoming::Mining(ServerMessage::SubmitSharesError(error))
            if error.channel_id == channel_id && error.sequence_number == sequence_number =>
        {
            Some(Verdict::Refused(error.error_code.to_string()))
        }
        _ => None,
    });
    verdict.await.unwrap_or_else(Verdict::Unanswered)
}

fn is_success(incoming: &Incoming, channel_id: u32) -> bool {
    matches!(incoming, Incoming::Mining(ServerMessage::SubmitSharesSuccess(success)) if success.channel_id == channel_id)
}

fn no_share(config: &ProbeConfig) -> String {
    format!("no share was found within {} s", config.search_time.as_secs())
}
