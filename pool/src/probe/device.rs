//! The probe as a device: a client that requires standard jobs.

use protocol::{
    codec::U256,
    messages::mining::{REQUIRES_EXTENDED_CHANNELS, REQUIRES_STANDARD_JOBS, REQUIRES_VERSION_ROLLING},
};
use tokio::time::Instant;

use super::{
    Part, ProbeConfig,
    board::CLOSE_GRACE,
    check::Check,
    opening::{self, Kind, Opened},
    peer::{Lost, Peer},
    setup, shares, targets,
};

/// Checks what a device sees.
pub(super) async fn check(config: &ProbeConfig) -> Part {
    let mut part = Part::default();
    let flags = REQUIRES_STANDARD_JOBS | REQUIRES_VERSION_ROLLING;
    match setup::connect(config, flags, &mut part.findings).await {
        Err(reason) => part.reason = Some(reason),
        Ok((mut peer, success)) => {
            let opens_standard = success.flags & REQUIRES_EXTENDED_CHANNELS == 0;
            part.reason = work(&mut peer, config, opens_standard).await.err();
            part.findings.absorb(peer.leave().await);
        }
    }
    part
}

/// Works on two channels. The error is why there was no going on.
async fn work(peer: &mut Peer, config: &ProbeConfig, opens_standard: bool) -> Result<(), String> {
    let first = match opening::open(peer, config, 0x11, Kind::Standard, U256::MAX).await {
        Opened::Channel(channel_id) => channel_id,
        Opened::Nothing(reason) => return Err(reason),
        Opened::Refused(code) if opening::is_for_the_user(&code) => {
            return Err(format!("the pool refuses the user {}: {code}", config.user));
        }
        Opened::Refused(code) => {
            if opens_standard {
                peer.findings.broken(Check::StandardChannels, "a standard channel", code.clone());
            } else {
                peer.findings.not_checked(Check::StandardChannels, "the pool requires extended channels");
            }
            return Err(format!("the pool refuses a standard channel: {code}"));
        }
    };
    peer.findings.held(Check::StandardChannels);
    opening::wait_for_work(peer, first).await?;
    if !peer.findings.is_broken(Check::TargetByteOrder) {
        shares::check_one(peer, config, first).await;
    }
    // Harder than any CPU asks for, so that the pool must heed the wish.
    let second = opening::open(peer, config, 0x12, Kind::Standard, targets::difficulty(8)).await;
    watch(peer, config, first, second).await
}

/// Waits for a job that comes by itself, closes the second channel then, and waits for another job: one that comes when
/// nothing can be on its way any more that was sent before the pool knew.
async fn watch(peer: &mut Peer, config: &ProbeConfig, first: u32, second: Opened) -> Result<(), String> {
    let deadline = Instant::now() + config.patience;
    if !has_further_job(peer, first, deadline).await? {
        return Ok(());
    }
    let Some(second) = second.channel().filter(|&second| second != first) else { return Ok(()) };
    peer.close(second).await;
    peer.listen(Instant::now() + CLOSE_GRACE).await.map_err(|lost| lost.to_string())?;
    if has_further_job(peer, first, deadline).await? {
        // The other channel's job would come with this one.
        peer.listen(Instant::now() + config.timeout / 4).await.map_err(|lost| lost.to_string())?;
        peer.findings.held(Check::ClosedChannel);
    }
    Ok(())
}

/// Waits for one more job of a channel. Without one, what a closed channel gets cannot be seen.
async fn has_further_job(peer: &mut Peer, channel_id: u32, deadline: Instant) -> Result<bool, String> {
    let given = |peer: &Peer| peer.board.channel(channel_id).map_or(0, |channel| channel.jobs_given);
    let known = given(peer);
    while given(peer) <= known {
        match peer.next(deadline).await {
            Ok(_) => {}
            Err(Lost::Silent) => {
                peer.findings.not_checked(Check::ClosedChannel, "no further job came to see who gets it");
                return Ok(false);
            }
            Err(lost) => return Err(lost.to_string()),
        }
    }
    Ok(true)
}
