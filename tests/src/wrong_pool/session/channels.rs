//! Channels of the wrong pool: how they open and change, and what becomes of their shares.

use std::{
    sync::atomic::{AtomicU32, Ordering},
    time::Duration,
};

use protocol::{
    codec::{B0_32, Seq0_64K, Str0_255, U256},
    messages::common::Reconnect,
    messages::mining::{
        CloseChannel, NewMiningJob, OpenExtendedMiningChannelSuccess, OpenMiningChannelError,
        OpenStandardMiningChannelSuccess, SetExtranoncePrefix, SetGroupChannel, SetTarget, SubmitSharesError,
        SubmitSharesSuccess, UpdateChannel, UpdateChannelError,
    },
};
use tokio::time::Instant;

use super::{FIRST_CHANNEL_ID, GROUP_ID, Session};
use crate::wrong_pool::{
    fault::Fault,
    work::{Channel, EXTRANONCE_SIZE, Share, VERSION, default_target},
};

/// The most of an extranonce that a client can have.
const MAX_ROLLABLE: u16 = 12;
/// The group to which channels move with [`Fault::MovesChannels`].
const OTHER_GROUP_ID: u32 = 1_000;
/// How late acknowledgements are with [`Fault::AcknowledgesLate`].
const LATE: Duration = Duration::from_secs(3);

impl Session {
    /// Opens a channel, with this many bytes of extranonce if it is an extended one.
    pub(super) fn open(&mut self, request_id: u32, max_target: U256, rollable: Option<u16>) {
        if self.has(Fault::NoAnswerToOpen) {
            return;
        }
        let request_id = request_id + u32::from(self.has(Fault::WrongRequestId));
        let refusal = match rollable {
            _ if max_target == U256::ZERO => Some("max-target-out-of-range"),
            None if self.has(Fault::RefusesStandardChannels) => Some("standard-channels-not-supported"),
            None => None,
            Some(_) if self.has(Fault::RefusesExtendedChannels) => Some("extended-channels-not-supported"),
            Some(_) if self.requires_standard_jobs() => Some("extended-channels-not-supported-for-standard-jobs"),
            Some(size) if size > MAX_ROLLABLE => Some("min-extranonce-size-too-large"),
            Some(_) => None,
        };
        if let Some(code) = refusal {
            return self.send(&OpenMiningChannelError { request_id, error_code: self.code(code) });
        }
        let channel = self.new_channel(max_target, rollable);
        let channel_id = self.next_channel_id;
        self.next_channel_id += u32::from(!self.has(Fault::SameChannelId));
        let target = self.on_wire(channel.target);
        let extranonce_prefix = B0_32::new(&channel.prefix).expect("a prefix is short");
        let group_channel_id = self.group_id();
        if self.has(Fault::JobBeforeAnswer) {
            let merkle_root = U256([7; 32]);
            self.send(&NewMiningJob { channel_id, job_id: 0, min_ntime: None, version: VERSION, merkle_root });
        }
        match channel.is_extended {
            false => self.send(&OpenStandardMiningChannelSuccess {
                request_id,
                channel_id,
                target,
                extranonce_prefix,
                group_channel_id,
            }),
            true => self.send(&OpenExtendedMiningChannelSuccess {
                request_id,
                channel_id,
                target,
                extranonce_size: channel.rollable as u16,
                extranonce_prefix,
                group_channel_id,
            }),
        }
        self.channels.insert(channel_id, channel);
        if self.gives_jobs() {
            self.give_first(channel_id);
        }
    }

    fn new_channel(&mut self, max_target: U256, rollable: Option<u16>) -> Channel {
        let mut size = usize::from(rollable.unwrap_or(0));
        if rollable.is_some() && self.has(Fault::LessExtranonce) {
            size = size.saturating_sub(1);
        }
        let full = if rollable.is_none() && self.has(Fault::UnequalExtranonces) { 12 } else { EXTRANONCE_SIZE };
        let mut prefix = vec![0; full - size];
        if !self.has(Fault::SamePrefix) {
            prefix[..4].copy_from_slice(&next_prefix());
        }
        let target = match () {
            () if self.has(Fault::ZeroTarget) => U256::ZERO,
            () if self.has(Fault::TargetAboveMax) => default_target().max(twice(max_target)),
            () if self.has(Fault::FractionalDifficulty) => three_fifths(max_target).min(default_target()),
            () => default_target().min(max_target),
        };
        Channel::new(rollable.is_some(), prefix, size, target)
    }

    /// Sends what clients rarely get, and some cannot bear.
    pub(super) fn change_channels(&mut self) {
        let ids: Vec<u32> = self.channels.keys().copied().collect();
        if self.has(Fault::SendsReconnect) {
            self.send(&Reconnect { new_host: Str0_255::default(), new_port: 0 });
        }
        if self.has(Fault::ChangesPrefixes) {
            for &channel_id in &ids {
                let Some(channel) = self.channels.get_mut(&channel_id) else { continue };
                channel.prefix[..4].copy_from_slice(&next_prefix());
                let extranonce_prefix = B0_32::new(&channel.prefix).expect("a prefix is short");
                self.send(&SetExtranoncePrefix { channel_id, extranonce_prefix });
            }
        }
        if self.has(Fault::MovesChannels) {
            let channel_ids = Seq0_64K::new(ids.as_slice()).expect("there are few channels");
            self.send(&SetGroupChannel { group_channel_id: OTHER_GROUP_ID, channel_ids });
        }
        if self.has(Fault::ClosesChannels) {
            self.channels.clear();
            for channel_id in ids {
                self.send(&CloseChannel { channel_id, reason_code: self.code("closed-by-pool") });
            }
        }
    }

    pub(super) fn group_id(&self) -> u32 {
        if self.has(Fault::GroupIdOfChannel) { FIRST_CHANNEL_ID } else { GROUP_ID }
    }

    pub(super) fn on_wire(&self, mut target: U256) -> U256 {
        if self.has(Fault::BigEndianTarget) {
            target.0.reverse();
        }
        target
    }

    pub(super) fn update(&mut self, update: &UpdateChannel) {
        let (channel_id, wished) = (update.channel_id, update.maximum_target);
        let Some(channel) = self.channels.get_mut(&channel_id) else {
            if !self.has(Fault::IgnoresInvalidUpdate) {
                self.send(&UpdateChannelError { channel_id, error_code: self.code("invalid-channel-id") });
            }
            return;
        };
        let is_tighter = wished < channel.target;
        if !self.shared.faults.contains(&Fault::IgnoresMaximumTarget) {
            channel.target = default_target().min(wished);
        }
        let target = channel.target;
        let is_silent = self.has(Fault::AnswersOnlyTighterUpdates) && !is_tighter;
        if !is_silent && !self.has(Fault::NoAnswerToUpdate) {
            self.send(&SetTarget { channel_id, maximum_target: self.on_wire(target) });
        }
    }

    pub(super) fn submit(&mut self, channel_id: u32, sequence_number: u32, share: Share<'_>) {
        let accepts_unknown = self.has(Fault::AcceptsUnknownChannel);
        let verdict = match self.channels.get_mut(&channel_id) {
            Some(channel) => channel.judge(share, self.tip, &self.shared.faults),
            None if accepts_unknown => Ok(()),
            None => Err("invalid-channel-id"),
        };
        if let Err(code) = verdict {
            return self.send(&SubmitSharesError { channel_id, sequence_number, error_code: self.code(code) });
        }
        let Some(channel) = self.channels.get_mut(&channel_id) else {
            let (last_sequence_number, new_submits_accepted_count, new_shares_sum) = (sequence_number, 1, 1);
            return self.send(&SubmitSharesSuccess {
                channel_id,
                last_sequence_number,
                new_submits_accepted_count,
                new_shares_sum,
            });
        };
        channel.unacknowledged.push(sequence_number);
        let waiting = channel.unacknowledged.len();
        match () {
            () if self.has(Fault::NeverAcknowledges) => {}
            () if self.has(Fault::AcknowledgesInTens) && waiting < 10 => {}
            () if self.has(Fault::AcknowledgesLate) => self.late.push((Instant::now() + LATE, channel_id)),
            () => self.acknowledge(channel_id),
        }
    }

    /// Acknowledges all that waits.
    pub(super) fn acknowledge(&mut self, channel_id: u32) {
        let Some(channel) = self.channels.get_mut(&channel_id) else { return };
        let waiting = std::mem::take(&mut channel.unacknowledged);
        let Some(&last_sequence_number) = waiting.last() else { return };
        let count = waiting.len() as u32 + u32::from(self.has(Fault::WrongCount));
        self.send(&SubmitSharesSuccess {
            channel_id,
            last_sequence_number,
            new_submits_accepted_count: count,
            new_shares_sum: u64::from(count),
        });
    }
}

/// What an extranonce prefix begins with, different for each.
fn next_prefix() -> [u8; 4] {
    static NEXT: AtomicU32 = AtomicU32::new(1);
    NEXT.fetch_add(1, Ordering::Relaxed).to_be_bytes()
}

fn twice(target: U256) -> U256 {
    if target.0[31] >= 0x80 {
        return U256::MAX;
    }
    let mut doubled = target;
    let mut carry = 0;
    for byte in &mut doubled.0 {
        (*byte, carry) = (*byte << 1 | carry, *byte >> 7);
    }
    doubled
}

/// Three fifths, cut to the three leading bytes.
fn three_fifths(target: U256) -> U256 {
    let Some(top) = target.0.iter().rposition(|&byte| byte != 0).filter(|&top| top >= 2) else { return target };
    let mut cut = U256::ZERO;
    let leading = u32::from_le_bytes([target.0[top - 2], target.0[top - 1], target.0[top], 0]) / 5 * 3;
    cut.0[top - 2..=top].copy_from_slice(&leading.to_le_bytes()[..3]);
    cut
}
