//! What a connection may take its time for, and how long: the deadlines of a peer that does not read, writes half a frame or
//! opens no channel.

use std::time::{Duration, Instant};

use tokio::time::sleep_until;

use super::Connection;
use crate::stratum::{
    channels::Channels,
    end::{End, FRAME_TIMEOUT},
};

/// Bytes of a frame that is not whole which its connection may hold for as long as it likes. No frame of an ordinary client
/// is longer, so that a share that is cut by the end of a read costs no deadline.
const FREE_FRAME_SIZE: usize = 8 * 1024;
/// How long a peer may take nothing of what waits for it.
const WRITE_TIMEOUT: Duration = Duration::from_secs(30);
/// How long it may take until a peer that takes a little now and then has taken all that waited for it.
const BACKLOG_TIMEOUT: Duration = Duration::from_secs(120);

impl Connection {
    /// Sees to it that the wait ends at the deadline. An alarm that is set for an earlier time stays: once it has gone off
    /// in vain it is set again, which is seldom.
    pub(super) fn set_alarm(&mut self) {
        match (self.deadline(), &mut self.alarm) {
            (None, alarm) => *alarm = None,
            (Some(deadline), alarm @ None) => *alarm = Some(Box::pin(sleep_until(deadline.into()))),
            (Some(deadline), Some(alarm)) => {
                if alarm.is_elapsed() || alarm.deadline() > deadline.into() {
                    alarm.as_mut().reset(deadline.into());
                }
            }
        }
    }

    /// Returns when something is due even if nothing happens.
    pub(super) fn deadline(&self) -> Option<Instant> {
        let open = self.channelless_since().map(|since| since + self.terms.limits.idle);
        let write = self.unsent_since.map(|since| since + WRITE_TIMEOUT);
        let backlog = self.backlogged_since.map(|since| since + BACKLOG_TIMEOUT);
        let frame = self.partial_since.map(|(since, _)| since + FRAME_TIMEOUT);
        let read_on = self.catches_up_until().filter(|until| *until > Instant::now());
        let slowed = self.allowance.slowed_until();
        let deadlines = [self.protocol.deadline(), open, write, backlog, frame, read_on, slowed];
        deadlines.into_iter().flatten().min()
    }

    pub(super) fn check_deadlines(&self) -> Result<(), End> {
        let is_over = |since: Option<Instant>, time| since.is_some_and(|since| since.elapsed() >= time);
        if is_over(self.unsent_since, WRITE_TIMEOUT) || is_over(self.backlogged_since, BACKLOG_TIMEOUT) {
            return Err(End::Stalled);
        }
        let idle = self.terms.limits.idle;
        if is_over(self.channelless_since(), idle) {
            return Err(End::NoChannel(idle));
        }
        if is_over(self.partial_since.map(|(since, _)| since), FRAME_TIMEOUT) {
            return Err(End::SlowFrame);
        }
        Ok(())
    }

    /// Notes since when a long frame has been on its way that is not whole, if one is.
    pub(super) fn watch_frame(&mut self, messages: u32, now: Instant) {
        if !self.may_process() {
            // What is here may be whole.
            return;
        }
        self.partial_since = match (self.protocol.partial_len(), self.partial_since) {
            (..=FREE_FRAME_SIZE, _) => None,
            // Less is here than before, or a message has come of it: it is another one.
            (len, Some((since, before))) if messages == 0 && len >= before => Some((since, len)),
            (len, _) => Some((now, len)),
        };
    }

    /// Returns since when no channel is open, if none is.
    pub(super) fn channelless_since(&self) -> Option<Instant> {
        self.channels.as_ref().map_or(Some(self.opened_at), Channels::empty_since)
    }

    /// Returns until when the log is given time to catch up with this connection's shares, if it is.
    pub(super) fn catches_up_until(&self) -> Option<Instant> {
        self.channels.as_ref().and_then(Channels::catches_up_until)
    }
}
