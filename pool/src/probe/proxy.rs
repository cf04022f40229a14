//! The probe as a proxy: a client with extended channels, which understands groups and can do without standard jobs.

use std::{sync::Arc, time::Duration};

use protocol::{
    codec::U256,
    messages::mining::{REQUIRES_EXTENDED_CHANNELS, REQUIRES_VERSION_ROLLING},
};
use tokio::time::Instant;

use super::{
    Part, ProbeConfig,
    channel::Work,
    check::Check,
    opening::{self, Kind, Opened},
    peer::{Lost, Peer},
    setup, shares, targets,
};

/// How soon a new job comes although nothing happens.
const REFRESHED_WITHIN: Duration = Duration::from_secs(60);
/// More extranonce than fits beside a prefix.
const TOO_MUCH_EXTRANONCE: u16 = 33;

/// Checks what a proxy sees.
pub(super) async fn check(config: &ProbeConfig) -> Part {
    let mut part = Part::default();
    match setup::connect(config, REQUIRES_VERSION_ROLLING, &mut part.findings).await {
        Err(reason) => part.reason = Some(reason),
        Ok((mut peer, success)) => {
            let opens_standard = success.flags & REQUIRES_EXTENDED_CHANNELS == 0;
            part.reason = work(&mut peer, config, opens_standard).await.err();
            part.findings.absorb(peer.leave().await);
        }
    }
    part
}

/// Works on an extended channel, then on three. The error is why there was no going on.
async fn work(peer: &mut Peer, config: &ProbeConfig, opens_standard: bool) -> Result<(), String> {
    // Neither can be had; a refusal is right, and what is granted is judged.
    for (request_id, max_target, size) in [(0x21, U256::ZERO, 4), (0x22, U256::MAX, TOO_MUCH_EXTRANONCE)] {
        if let Opened::Nothing(reason) = opening::open(peer, config, request_id, Kind::Extended(size), max_target).await
        {
            return Err(reason);
        }
    }
    let channel_id = match opening::open(peer, config, 0x23, Kind::Extended(4), U256::MAX).await {
        Opened::Channel(channel_id) => channel_id,
        Opened::Nothing(reason) => return Err(reason),
        Opened::Refused(code) if opening::is_for_the_user(&code) => {
            return Err(format!("the pool refuses the user {}: {code}", config.user));
        }
        Opened::Refused(code) => {
            peer.findings.broken(Check::ExtendedChannels, "an extended channel", code.clone());
            return Err(format!("the pool refuses an extended channel: {code}"));
        }
    };
    peer.findings.held(Check::ExtendedChannels);
    opening::wait_for_work(peer, channel_id).await?;
    if peer.findings.is_broken(Check::TargetByteOrder) {
        return Err("the pool's targets cannot be met".into());
    }
    shares::check(peer, config, channel_id).await?;
    let refreshed = watch(peer, config, channel_id).await?;
    let tightened = targets::tighten(peer, config, channel_id).await;
    match (refreshed, tightened) {
        _ if !peer.findings.is_held(Check::RightShare) => {}
        (Some(work), Some(newer)) => shares::check_target_of_job(peer, config, channel_id, work, newer).await,
        (None, _) => peer.findings.not_checked(Check::TargetOfJob, "no job with a min_ntime came"),
        (_, None) => peer.findings.not_checked(Check::TargetOfJob, "the target did not become harder"),
    }
    // With several channels jobs go to their group.
    for (request_id, kind) in [(0x24, Kind::Extended(8)), (0x25, Kind::Standard)] {
        if kind == Kind::Standard && !opens_standard {
            continue;
        }
        if let Some(channel_id) = opening::open(peer, config, request_id, kind, targets::difficulty(8)).await.channel()
        {
            opening::wait_for_work(peer, channel_id).await?;
        }
    }
    if tightened.is_some() {
        targets::check_updates(peer, config, channel_id).await;
    } else {
        for check in [Check::UpdateAnswered, Check::UpdateRefused, Check::ChannelBitOptional] {
            peer.findings.not_checked(check, "UpdateChannel was not answered");
        }
    }
    Ok(())
}

/// Waits for what comes by itself: a new tip, and a new job on the same tip, which is returned.
async fn watch(peer: &mut Peer, config: &ProbeConfig, channel_id: u32) -> Result<Option<Arc<Work>>, String> {
    let begin = Instant::now();
    let deadline = begin + config.patience;
    let given = |peer: &Peer| peer.board.channel(channel_id).map_or(0, |channel| channel.jobs_given);
    let refreshed = |peer: &Peer| peer.board.work(channel_id).filter(|work| work.job.min_ntime.is_some()).cloned();
    let (known, mut is_stale_checked) = (given(peer), false);
    loop {
        if given(peer) > known && !peer.findings.is_checked(Check::JobRefresh) {
            judge_refresh(peer, begin.elapsed());
        }
        let has_tip = peer.board.channel(channel_id).is_some_and(|channel| channel.stale.is_some());
        if has_tip && !is_stale_checked {
            shares::check_stale(peer, config, channel_id).await?;
            is_stale_checked = true;
        }
        if refreshed(peer).is_some() && is_stale_checked {
            break;
        }
        match peer.next(deadline).await {
            Ok(_) => {}
            Err(Lost::Silent) => break,
            Err(lost) => return Err(lost.to_string()),
        }
    }
    if !peer.findings.is_checked(Check::JobRefresh) {
        match begin.elapsed() >= REFRESHED_WITHIN {
            true => judge_refresh(peer, begin.elapsed()),
            false => peer.findings.not_checked(Check::JobRefresh, "the patience is shorter than 60 s"),
        }
    }
    if !is_stale_checked {
        peer.findings.not_checked(Check::StaleShare, format!("no new tip came within {} s", config.patience.as_secs()));
    }
    if refreshed(peer).is_none() {
        peer.findings.not_checked(Check::JobDiffers, "no two jobs came for one tip");
    }
    Ok(refreshed(peer))
}

fn judge_refresh(peer: &mut Peer, after: Duration) {
    let seen = || format!("no new job for {} s", after.as_secs());
    peer.findings.judge(Check::JobRefresh, after < REFRESHED_WITHIN, "a new job within 60 s", seen);
}
