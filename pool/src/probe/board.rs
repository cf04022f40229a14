//! What the pool has said on one connection of channels, jobs and targets, as a client must understand it, and which
//! rules it broke with that. What the probe itself asks and submits is decided elsewhere.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::{Duration, Instant},
};

use protocol::{
    codec::U256,
    messages::mining::{
        NewExtendedMiningJob, NewMiningJob, REQUIRES_STANDARD_JOBS, REQUIRES_VERSION_ROLLING, ServerMessage,
        SetNewPrevHash, SubmitSharesSuccess,
    },
};

use super::{
    channel::{Channel, Form, Job, Tip, Work},
    check::Check,
    coinbase,
    peer::Incoming,
    report::Findings,
};

/// How long something may still be on its way for a channel that was closed.
pub const CLOSE_GRACE: Duration = Duration::from_secs(1);

/// What a client knows of its connection.
#[derive(Debug)]
pub struct Board {
    flags: u32,
    channels: BTreeMap<u32, Channel>,
    groups: BTreeSet<u32>,
    closed: BTreeMap<u32, Instant>,
}

impl Board {
    /// Knows nothing yet of a connection whose client said these flags.
    pub fn new(flags: u32) -> Self {
        Self { flags, channels: BTreeMap::new(), groups: BTreeSet::new(), closed: BTreeMap::new() }
    }

    /// Returns an open channel.
    pub fn channel(&self, channel_id: u32) -> Option<&Channel> {
        self.channels.get(&channel_id)
    }

    /// Returns the ids of the open channels.
    pub fn channel_ids(&self) -> Vec<u32> {
        self.channels.keys().copied().collect()
    }

    /// Returns an open channel, to note what is submitted.
    pub fn channel_mut(&mut self, channel_id: u32) -> Option<&mut Channel> {
        self.channels.get_mut(&channel_id)
    }

    /// Returns the job that a channel is to work on.
    pub fn work(&self, channel_id: u32) -> Option<&Arc<Work>> {
        self.channels.get(&channel_id)?.work.as_ref()
    }

    /// Returns a number that is the id of nothing here.
    pub fn unused_channel_id(&self) -> u32 {
        (0xadd1_7000..).find(|id| !self.is_known(*id)).unwrap_or(u32::MAX)
    }

    /// Notes that the client has closed a channel.
    pub fn close(&mut self, channel_id: u32) {
        self.channels.remove(&channel_id);
        self.closed.insert(channel_id, Instant::now());
    }

    fn is_known(&self, id: u32) -> bool {
        self.channels.contains_key(&id) || self.groups.contains(&id) || self.closed.contains_key(&id)
    }

    /// Takes in what came.
    pub fn apply(&mut self, incoming: &Incoming, findings: &mut Findings) {
        let Incoming::Mining(message) = incoming else { return };
        match message {
            ServerMessage::OpenStandardMiningChannelSuccess(open) => {
                let channel = Channel::new(open.channel_id, open.group_channel_id, open.target, None);
                self.opened(channel.with_prefix(open.extranonce_prefix.as_slice()), findings);
            }
            ServerMessage::OpenExtendedMiningChannelSuccess(open) => {
                let size = usize::from(open.extranonce_size);
                let channel = Channel::new(open.channel_id, open.group_channel_id, open.target, Some(size));
                self.opened(channel.with_prefix(open.extranonce_prefix.as_slice()), findings);
            }
            ServerMessage::NewMiningJob(job) => self.standard_job(job, findings),
            ServerMessage::NewExtendedMiningJob(job) => self.extended_job(job, findings),
            ServerMessage::SetNewPrevHash(message) => self.new_prev_hash(message, findings),
            ServerMessage::SetTarget(set) => {
                self.check_address("SetTarget", set.channel_id, findings);
                for channel in self.members(set.channel_id) {
                    channel.target = set.maximum_target;
                }
            }
            ServerMessage::SetExtranoncePrefix(set) => {
                if let Some(channel) = self.channels.get_mut(&set.channel_id) {
                    channel.prefix = set.extranonce_prefix.as_slice().to_vec();
                }
            }
            ServerMessage::SetGroupChannel(set) => {
                self.groups.insert(set.group_channel_id);
                for channel_id in set.channel_ids.as_slice() {
                    if let Some(channel) = self.channels.get_mut(channel_id) {
                        channel.group_id = set.group_channel_id;
                    }
                }
            }
            ServerMessage::CloseChannel(close) => self.close(close.channel_id),
            ServerMessage::SubmitSharesSuccess(success) => self.acknowledged(success, findings),
            ServerMessage::SubmitSharesError(error) => {
                if let Some(channel) = self.channels.get_mut(&error.channel_id) {
                    channel.pending.remove(&error.sequence_number);
                }
            }
            _ => {}
        }
    }

    /// Compares a new channel with those that are open.
    fn opened(&mut self, channel: Channel, findings: &mut Findings) {
        let (id, group) = (channel.id, channel.group_id);
        findings.held(Check::AnswerFirst);
        let is_unique = !self.channels.contains_key(&id);
        let seen = || format!("another channel {id}");
        findings.judge(Check::UniqueChannelId, is_unique, "a new id", seen);
        self.groups.insert(group);
        let clash = self.channels.keys().chain([&id]).find(|id| self.groups.contains(id));
        let seen = || format!("group {group} and channel {id} have an id in common");
        findings.judge(Check::GroupId, clash.is_none(), "an id that no channel has", seen);
        for other in self.channels.values().filter(|other| other.id != id) {
            let (sizes, prefixes) = ((other.full_size(), channel.full_size()), (&other.prefix, &channel.prefix));
            if other.group_id == group {
                let seen = || format!("{} bytes in channel {}, {} in {id}", sizes.0, other.id, sizes.1);
                findings.judge(Check::GroupExtranonce, sizes.0 == sizes.1, "one size", seen);
            }
            let overlap =
                sizes.0 == sizes.1 && (prefixes.0.starts_with(prefixes.1) || prefixes.1.starts_with(prefixes.0));
            let seen =
                || format!("{} in channel {}, {} in {id}", hex::encode(prefixes.0), other.id, hex::encode(prefixes.1));
            findings.judge(Check::UniquePrefix, !overlap, "prefixes that differ", seen);
        }
        self.channels.insert(id, channel);
    }

    fn standard_job(&mut self, job: &NewMiningJob, findings: &mut Findings) {
        self.check_address("NewMiningJob", job.channel_id, findings);
        let is_standard = self.channels.get(&job.channel_id).is_none_or(|channel| channel.size.is_none());
        let seen = || format!("NewMiningJob for extended channel {}", job.channel_id);
        findings.judge(Check::JobKind, is_standard, "NewMiningJob for standard channels only", seen);
        if self.requires_standard_jobs() {
            findings.held(Check::StandardJobsOnly);
        }
        if let Some(channel) = self.channels.get_mut(&job.channel_id) {
            let rolling = true;
            let job = Job {
                id: job.job_id,
                min_ntime: job.min_ntime,
                version: job.version,
                rolling,
                form: Form::Root(job.merkle_root),
            };
            channel.give(job, findings);
        }
    }

    fn extended_job(&mut self, job: &NewExtendedMiningJob, findings: &mut Findings) {
        self.check_address("NewExtendedMiningJob", job.channel_id, findings);
        if self.requires_standard_jobs() {
            let seen = format!("NewExtendedMiningJob for {}", job.channel_id);
            findings.broken(Check::StandardJobsOnly, "only NewMiningJob", seen);
        } else {
            let is_standard = self.channels.get(&job.channel_id).is_some_and(|channel| channel.size.is_none());
            let seen = || format!("NewExtendedMiningJob for standard channel {}", job.channel_id);
            findings.judge(Check::JobKind, !is_standard, "NewMiningJob for standard channels", seen);
        }
        if self.flags & REQUIRES_VERSION_ROLLING != 0 {
            let seen = || format!("job {} forbids it", job.job_id);
            findings.judge(Check::VersionRolling, job.version_rolling_allowed, "version rolling allowed", seen);
        }
        for channel in self.members(job.channel_id) {
            let form = Form::of_coinbase(job, channel);
            // With another size than its group's, the channel's part does not fit the others' coinbase.
            if !findings.is_broken(Check::GroupExtranonce) {
                coinbase::check(&form, findings);
            }
            let (id, min_ntime, version) = (job.job_id, job.min_ntime, job.version);
            channel.give(Job { id, min_ntime, version, rolling: job.version_rolling_allowed, form }, findings);
        }
    }

    fn new_prev_hash(&mut self, message: &SetNewPrevHash, findings: &mut Findings) {
        self.check_address("SetNewPrevHash", message.channel_id, findings);
        let tip = Tip { prev_hash: message.prev_hash, nbits: message.nbits, min_ntime: message.min_ntime };
        for channel in self.members(message.channel_id) {
            channel.turn_to(tip, message.job_id, findings);
        }
    }

    fn acknowledged(&mut self, success: &SubmitSharesSuccess, findings: &mut Findings) {
        let Some(channel) = self.channels.get_mut(&success.channel_id) else { return };
        let (last, count) = (success.last_sequence_number, success.new_submits_accepted_count);
        let later = channel.pending.split_off(&last.saturating_add(1));
        let covered = std::mem::replace(&mut channel.pending, later);
        let holds = covered.contains(&last) && (1..=covered.len()).contains(&(count as usize));
        let expected = format!("up to {} shares, the last of them submitted and not yet answered", covered.len());
        findings.judge(Check::AcknowledgedCount, holds, expected, || format!("{count} shares up to number {last}"));
    }

    /// Checks whether a message may be addressed to `id` at all.
    fn check_address(&self, name: &str, id: u32, findings: &mut Findings) {
        if let Some(since) = self.closed.get(&id)
            && since.elapsed() > CLOSE_GRACE
            && !self.channels.contains_key(&id)
        {
            let seen = format!("{name} for channel {id}, {} s after it was closed", since.elapsed().as_secs());
            findings.broken(Check::ClosedChannel, "nothing more for the channel", seen);
        }
        if !self.is_known(id) {
            findings.broken(Check::AnswerFirst, "the answer to the open first", format!("{name} for channel {id}"));
        }
        if self.requires_standard_jobs() && self.groups.contains(&id) && !self.channels.contains_key(&id) {
            findings.broken(Check::StandardJobsOnly, "messages to channels only", format!("{name} for group {id}"));
        }
    }

    fn requires_standard_jobs(&self) -> bool {
        self.flags & REQUIRES_STANDARD_JOBS != 0
    }

    /// The channel, or all channels of the group.
    fn members(&mut self, id: u32) -> impl Iterator<Item = &mut Channel> {
        self.channels.values_mut().filter(move |channel| channel.id == id || channel.group_id == id)
    }
}

/// Writes a target as a number, big-endian, cut to what tells it from others.
pub fn show_target(target: U256) -> String {
    let text = target.to_string();
    let digits = text.trim_end_matches('0');
    if digits.is_empty() { "0".to_owned() } else { format!("{}…", &digits[..digits.len().min(24)]) }
}
