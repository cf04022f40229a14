//! All channels of a connection: who is addressed by a message, what the search is to hash, and which of its finds
//! are submitted under which number. The rules for the jobs of one channel are in `channel`, the bytes in `session`.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Instant;

use bitcoin::hashes::Hash;
use protocol::codec::{B0_32, U256};
use protocol::messages::extensions::WorkerIdentity;
use protocol::messages::mining::ServerMessage;

use super::channel::{Breach, Channel};
use super::device::DeviceFailure;
use super::profile::Rules;
use super::record::{Fault, Log, Submission};
use super::search::{Assignment, Desk, Found};
use super::{ChannelConfig, ChannelKind, OpenedChannel};

/// An open channel and how it is worked on.
struct Open {
    channel: Channel,
    config: ChannelConfig,
    submitted: u64,
}

impl Open {
    fn is_finished(&self) -> bool {
        self.config.max_shares.is_some_and(|most| self.submitted >= most)
    }
}

/// The open channels, and what is remembered of those that were.
pub(super) struct Channels {
    by_id: BTreeMap<u32, Open>,
    /// Channels and groups that are no more: messages for them may still be under way.
    closed: BTreeSet<u32>,
    next_sequence_numbers: HashMap<u32, u32>,
    rules: Rules,
    desk: Arc<Desk>,
    log: Arc<Log>,
}

impl Channels {
    pub(super) fn new(rules: Rules, desk: Arc<Desk>, log: Arc<Log>) -> Self {
        Self {
            by_id: BTreeMap::new(),
            closed: BTreeSet::new(),
            next_sequence_numbers: HashMap::new(),
            rules,
            desk,
            log,
        }
    }

    pub(super) fn ids(&self) -> impl Iterator<Item = u32> {
        self.by_id.keys().copied()
    }

    /// Takes a channel in that the server has granted, and notes what is wrong with the grant.
    pub(super) fn open(&mut self, opened: &OpenedChannel, config: ChannelConfig) {
        let channel_id = opened.channel_id;
        self.log.opened(channel_id, &config.user_identity);
        for what in self.faults_of(opened, &config) {
            self.fault(channel_id, what);
        }
        let mut channel = Channel::new(
            channel_id,
            opened.group_channel_id,
            opened.target,
            opened.extranonce_prefix.as_slice(),
            opened.extranonce_size.map(usize::from),
        );
        channel.rolls_version = config.version_rolling;
        channel.rules = self.rules.clone();
        self.by_id.insert(channel_id, Open { channel, config, submitted: 0 });
    }

    fn faults_of(&self, opened: &OpenedChannel, config: &ChannelConfig) -> Vec<String> {
        let mut faults = Vec::new();
        if opened.target > config.max_target {
            faults.push(format!("target {} is easier than the miner takes", opened.target));
        }
        match (config.kind, opened.extranonce_size) {
            (ChannelKind::Standard, None) => {}
            (ChannelKind::Extended { min_extranonce_size }, Some(granted)) if granted >= min_extranonce_size => {}
            (asked, granted) => faults.push(format!("asked for {asked:?}, granted an extranonce of {granted:?}")),
        }
        let size = opened.extranonce_prefix.as_slice().len() + opened.extranonce_size.map_or(0, usize::from);
        if size > B0_32::MAX_LEN {
            faults.push(format!("extranonce of {size} bytes"));
        }
        let is_group = |id| self.by_id.values().any(|open| open.channel.group_id == id);
        let in_use = self.by_id.contains_key(&opened.channel_id) || self.closed.contains(&opened.channel_id);
        if in_use || is_group(opened.channel_id) || opened.channel_id == opened.group_channel_id {
            faults.push("id is in use".into());
        }
        for Open { channel, .. } in self.by_id.values().filter(|open| open.channel.group_id == opened.group_channel_id)
        {
            let other_size = channel.extranonce_prefix.len() + channel.extranonce_size.unwrap_or(0);
            if other_size != size {
                faults.push(format!("extranonce of {size} bytes in a group with one of {other_size}"));
            }
        }
        faults
    }

    /// Follows a message about jobs, tips, targets and the channels themselves; all others are for somebody else.
    ///
    /// Fails when the device gives up at it.
    pub(super) fn follow(&mut self, message: &ServerMessage) -> Result<(), DeviceFailure> {
        match message {
            ServerMessage::NewMiningJob(job) => {
                self.change(job.channel_id, Addressed::Channel, |channel| channel.standard_job(job))?;
            }
            ServerMessage::NewExtendedMiningJob(job) => {
                self.change(job.channel_id, Addressed::ChannelOrGroup, |channel| channel.extended_job(job))?;
            }
            ServerMessage::SetNewPrevHash(tip) => {
                self.change(tip.channel_id, Addressed::ChannelOrGroup, |channel| channel.new_prev_hash(tip))?;
            }
            ServerMessage::SetTarget(message) => self.set_target(message.channel_id, message.maximum_target)?,
            ServerMessage::SetExtranoncePrefix(message) => {
                self.change(message.channel_id, Addressed::Channel, |channel| {
                    channel.extranonce_prefix = message.extranonce_prefix.as_slice().to_vec();
                    Ok(())
                })?;
            }
            ServerMessage::SetGroupChannel(message) => {
                for channel_id in message.channel_ids.as_slice() {
                    self.change(*channel_id, Addressed::Channel, |channel| {
                        channel.group_id = message.group_channel_id;
                        Ok(())
                    })?;
                }
            }
            ServerMessage::CloseChannel(message) => {
                self.close(|channel| [channel.id, channel.group_id].contains(&message.channel_id));
            }
            _ => {}
        }
        Ok(())
    }

    fn set_target(&mut self, id: u32, target: U256) -> Result<(), DeviceFailure> {
        let is_easier =
            |open: &Open| [open.channel.id, open.channel.group_id].contains(&id) && target > open.config.max_target;
        if self.by_id.values().any(is_easier) {
            self.fault(id, format!("target {target} is easier than the miner takes"));
        }
        self.change(id, Addressed::ChannelOrGroup, |channel| {
            channel.target = target;
            Ok(())
        })
    }

    /// Applies a message to the channels that it is addressed to and hands their work to the search.
    fn change(
        &mut self,
        id: u32,
        addressed: Addressed,
        mut change: impl FnMut(&mut Channel) -> Result<(), Breach>,
    ) -> Result<(), DeviceFailure> {
        let mut found = false;
        for open in self.by_id.values_mut() {
            if open.channel.id != id && (addressed == Addressed::Channel || open.channel.group_id != id) {
                continue;
            }
            found = true;
            if let Err(breach) = change(&mut open.channel) {
                self.log.fault(breach.fault().clone());
                match breach {
                    Breach::Fault(_) => {}
                    Breach::Flush(_) => self.log.pipeline_flush(),
                    Breach::Fatal(_, failure) => return Err(failure),
                }
            }
            assign(&self.desk, open);
        }
        if !found && !self.closed.contains(&id) {
            self.fault(id, "message for a channel that is not open".into());
        }
        Ok(())
    }

    /// Forgets all channels, so that nothing more is hashed.
    pub(super) fn close_all(&mut self) {
        self.close(|_| true);
    }

    fn close(&mut self, is_closed: impl Fn(&Channel) -> bool) {
        for (channel_id, open) in self.by_id.extract_if(.., |_, open| is_closed(&open.channel)) {
            self.closed.extend([channel_id, open.channel.group_id]);
            self.desk.change(|assignments| drop(assignments.remove(&channel_id)));
        }
    }

    pub(super) fn set_max_target(&mut self, channel_id: u32, max_target: U256) {
        if let Some(open) = self.by_id.get_mut(&channel_id) {
            open.config.max_target = max_target;
        }
    }

    pub(super) fn limit_hash_rate(&mut self, channel_id: u32, hashes_per_second: Option<f64>) {
        if let Some(open) = self.by_id.get_mut(&channel_id) {
            open.config.hash_rate_limit = hashes_per_second;
            assign(&self.desk, open);
        }
    }

    /// Makes a submission of what the search has found, unless it comes too late or is one too many.
    pub(super) fn share(&mut self, found: Found) -> Option<(Submission, Option<WorkerIdentity>)> {
        let open = self.by_id.get_mut(&found.channel_id)?;
        if open.is_finished() {
            return None;
        }
        if !open.channel.is_current(&found.work) {
            self.log.outdated();
            return None;
        }
        open.submitted += 1;
        if open.is_finished() {
            assign(&self.desk, open);
        }
        let worker = open.config.worker;
        let is_extended = open.channel.extranonce_size.is_some();
        let network_target = bitcoin::Target::from_compact(bitcoin::CompactTarget::from_consensus(found.header.nbits));
        let submission = Submission {
            channel_id: found.channel_id,
            sequence_number: self.take_sequence_number(found.channel_id),
            job_id: found.work.job_id,
            nonce: found.header.nonce,
            ntime: found.header.ntime,
            version: found.header.version,
            extranonce: is_extended.then_some(found.extranonce),
            hash: Some(U256(found.hash)),
            target: Some(U256(found.work.target)),
            is_block: network_target.is_met_by(bitcoin::BlockHash::from_byte_array(found.hash)),
            at: Instant::now(),
        };
        Some((submission, worker))
    }

    pub(super) fn take_sequence_number(&mut self, channel_id: u32) -> u32 {
        let next = self.next_sequence_numbers.entry(channel_id).or_insert(self.rules.first_sequence_number);
        let taken = *next;
        *next = next.wrapping_add(1);
        taken
    }

    fn fault(&self, channel_id: u32, what: String) {
        self.log.fault(Fault { channel_id, job_id: None, what });
    }
}

/// Whether a message can be for all channels of a group.
#[derive(Clone, Copy, PartialEq)]
enum Addressed {
    Channel,
    ChannelOrGroup,
}

/// Hands a channel's work to the search; none once it has found as many shares as it should.
fn assign(desk: &Desk, open: &Open) {
    let assignment = Assignment {
        work: open.channel.work().filter(|_| !open.is_finished()).cloned(),
        hash_rate_limit: open.config.hash_rate_limit,
        nonces_per_roll: open.config.nonces_per_roll,
    };
    desk.change(|assignments| drop(assignments.insert(open.channel.id, assignment)));
}
