//! What a miner did and was told, for tests to look at and wait for. Owns the account of which share was
//! answered how; it changes nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use protocol::codec::U256;
use protocol::messages::mining::{ServerMessage, SubmitSharesError, SubmitSharesSuccess};
use tokio::sync::watch;

use super::MinerError;
use super::device::DeviceFailure;

/// A share that was submitted.
#[derive(Clone, Debug, PartialEq)]
pub struct Submission {
    /// The channel.
    pub channel_id: u32,
    /// The number of the submission within the channel; the first is 1, or what the device begins with.
    pub sequence_number: u32,
    /// The job.
    pub job_id: u32,
    /// The nonce.
    pub nonce: u32,
    /// The time of the header.
    pub ntime: u32,
    /// The version of the header, with the rolled bits.
    pub version: u32,
    /// What the miner put behind the extranonce prefix; nothing for a standard channel, which has no such field.
    pub extranonce: Option<Vec<u8>>,
    /// The hash of the header, where the miner itself found the share.
    pub hash: Option<U256>,
    /// The target that the share had to meet, where the miner itself found it.
    pub target: Option<U256>,
    /// Whether the hash also meets the network's target.
    pub is_block: bool,
    /// When it was submitted.
    pub at: Instant,
}

/// A rejected share.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rejection {
    /// The channel.
    pub channel_id: u32,
    /// The number of the submission.
    pub sequence_number: u32,
    /// Why, such as `stale-share`.
    pub error_code: String,
}

/// Something that the server must not do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// The channel, or the id that the message was addressed to.
    pub channel_id: u32,
    /// The job, where it is about one.
    pub job_id: Option<u32>,
    /// What was wrong.
    pub what: String,
}

impl fmt::Display for Fault {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "channel {}", self.channel_id)?;
        if let Some(job_id) = self.job_id {
            write!(formatter, ", job {job_id}")?;
        }
        write!(formatter, ": {}", self.what)
    }
}

/// How a connection ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum End {
    /// The server closed it.
    ByPool,
    /// The miner closed it.
    ByMiner,
    /// The device that the miner plays gave the pool up.
    Device(DeviceFailure),
    /// It broke, or a side broke the protocol.
    Failed(String),
}

/// All that a miner did and was told since it connected.
#[derive(Clone, Debug, Default)]
pub struct Record {
    /// The identity that each channel was opened for.
    pub identities: BTreeMap<u32, String>,
    /// Every share that was submitted, in order.
    pub submitted: Vec<Submission>,
    /// Every acknowledgement, in order.
    pub successes: Vec<SubmitSharesSuccess>,
    /// Every rejection, in order.
    pub rejections: Vec<Rejection>,
    /// Every other message of the server, in order.
    pub received: Vec<ServerMessage>,
    /// What the server did and must not do. Empty with a server that keeps the rules.
    pub faults: Vec<Fault>,
    /// Shares that were found and not submitted, because their job had ended meanwhile.
    pub outdated: u64,
    /// How often the device's pipeline was emptied for nothing.
    pub pipeline_flushes: u64,
    /// How the connection ended; nothing while it lasts.
    pub end: Option<End>,
    /// When the shares that are still unanswered were submitted, by channel and number.
    unanswered: BTreeMap<(u32, u32), Instant>,
    /// How long each acknowledged share waited.
    acknowledged: BTreeMap<(u32, u32), Duration>,
}

impl Record {
    /// The acknowledged shares, by channel and sequence number.
    pub fn acknowledged(&self) -> BTreeSet<(u32, u32)> {
        self.acknowledged.keys().copied().collect()
    }

    /// The shares that have neither been acknowledged nor rejected, by channel and sequence number.
    pub fn unanswered(&self) -> BTreeSet<(u32, u32)> {
        self.unanswered.keys().copied().collect()
    }

    /// How many shares were acknowledged.
    pub fn accepted_count(&self) -> usize {
        self.acknowledged.len()
    }

    /// The sum of the difficulties that the server acknowledged.
    pub fn accepted_difficulty(&self) -> u64 {
        self.successes.iter().map(|success| success.new_shares_sum).sum()
    }

    /// The longest that an acknowledged share waited for its acknowledgement.
    pub fn longest_wait(&self) -> Duration {
        self.acknowledged.values().copied().max().unwrap_or_default()
    }

    fn submit(&mut self, submission: Submission) {
        self.unanswered.insert((submission.channel_id, submission.sequence_number), submission.at);
        self.submitted.push(submission);
    }

    /// An acknowledgement is for all unanswered shares up to its number: rejections are sent at once, so the
    /// rejected ones among them are known by now. Its own count must agree.
    fn succeed(&mut self, success: SubmitSharesSuccess) {
        let SubmitSharesSuccess { channel_id, last_sequence_number, new_submits_accepted_count, .. } = success;
        let range = (channel_id, 0)..=(channel_id, last_sequence_number);
        let shares: Vec<_> = self.unanswered.range(range).map(|(key, at)| (*key, at.elapsed())).collect();
        if shares.len() != new_submits_accepted_count as usize {
            self.faults.push(Fault {
                channel_id,
                job_id: None,
                what: format!(
                    "{new_submits_accepted_count} shares acknowledged up to {last_sequence_number}, {} were unanswered",
                    shares.len()
                ),
            });
        }
        for (key, waited) in shares {
            self.unanswered.remove(&key);
            self.acknowledged.insert(key, waited);
        }
        self.successes.push(success);
    }

    fn reject(&mut self, error: &SubmitSharesError) {
        let SubmitSharesError { channel_id, sequence_number, .. } = *error;
        let error_code = error.error_code.to_string();
        if self.unanswered.remove(&(channel_id, sequence_number)).is_none() {
            let what = format!("{error_code} for share {sequence_number}, which was not unanswered");
            self.faults.push(Fault { channel_id, job_id: None, what });
        }
        self.rejections.push(Rejection { channel_id, sequence_number, error_code });
    }

    /// A line for the message of a wait that was in vain.
    fn summary(&self) -> String {
        format!(
            "{} submitted, {} accepted, {} rejected (last: {:?}), {} messages, faults: {:?}, end: {:?}",
            self.submitted.len(),
            self.acknowledged.len(),
            self.rejections.len(),
            self.rejections.last().map(|rejection| &rejection.error_code),
            self.received.len(),
            self.faults,
            self.end,
        )
    }
}

/// A record that one task writes and others read and wait for.
#[derive(Debug)]
pub(super) struct Log {
    record: Mutex<Record>,
    changed: watch::Sender<()>,
}

impl Log {
    pub(super) fn new() -> Self {
        Self { record: Mutex::default(), changed: watch::Sender::new(()) }
    }

    pub(super) fn read<T>(&self, look: impl FnOnce(&Record) -> T) -> T {
        look(&self.lock())
    }

    /// Waits until `look` finds something. Ends early when the connection has ended without it.
    pub(super) async fn wait_for<T>(
        &self,
        timeout: Duration,
        what: &str,
        mut look: impl FnMut(&Record) -> Option<T>,
    ) -> Result<T, MinerError> {
        let mut changed = self.changed.subscribe();
        let deadline = tokio::time::Instant::now() + timeout;
        loop {
            changed.borrow_and_update();
            let (found, ended) = self.read(|record| (look(record), record.end.is_some()));
            if let Some(found) = found {
                return Ok(found);
            }
            let in_vain = || MinerError::Waited { what: what.into(), record: self.read(Record::summary) };
            if ended {
                return Err(in_vain());
            }
            // The sender lives in this very log, so only time can end the wait without a change.
            if tokio::time::timeout_at(deadline, changed.changed()).await.is_err() {
                return Err(in_vain());
            }
        }
    }

    pub(super) fn submit(&self, submission: Submission) {
        self.write(|record| record.submit(submission));
    }

    pub(super) fn receive(&self, message: &ServerMessage) {
        self.write(|record| match message {
            ServerMessage::SubmitSharesSuccess(success) => record.succeed(*success),
            ServerMessage::SubmitSharesError(error) => record.reject(error),
            other => record.received.push(other.clone()),
        });
    }

    pub(super) fn opened(&self, channel_id: u32, identity: &str) {
        self.write(|record| {
            record.identities.insert(channel_id, identity.to_owned());
        });
    }

    pub(super) fn fault(&self, fault: Fault) {
        self.write(|record| record.faults.push(fault));
    }

    pub(super) fn pipeline_flush(&self) {
        self.write(|record| record.pipeline_flushes += 1);
    }

    pub(super) fn outdated(&self) {
        self.write(|record| record.outdated += 1);
    }

    /// The first end counts: what follows it is only its echo.
    pub(super) fn end(&self, end: End) {
        self.write(|record| {
            record.end.get_or_insert(end);
        });
    }

    fn write(&self, change: impl FnOnce(&mut Record)) {
        change(&mut self.lock());
        self.changed.send_replace(());
    }

    fn lock(&self) -> MutexGuard<'_, Record> {
        // A test that panics while it looks has not changed anything.
        self.record.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use protocol::codec::Str0_255;

    use super::*;

    fn submission(channel_id: u32, sequence_number: u32) -> Submission {
        Submission {
            channel_id,
            sequence_number,
            job_id: 1,
            nonce: 0,
            ntime: 0,
            version: 0,
            extranonce: None,
            hash: None,
            target: None,
            is_block: false,
            at: Instant::now(),
        }
    }

    fn success(channel_id: u32, last_sequence_number: u32, count: u32) -> SubmitSharesSuccess {
        SubmitSharesSuccess { channel_id, last_sequence_number, new_submits_accepted_count: count, new_shares_sum: 8 }
    }

    fn error(channel_id: u32, sequence_number: u32) -> SubmitSharesError {
        SubmitSharesError { channel_id, sequence_number, error_code: Str0_255::new("stale-share").unwrap() }
    }

    #[test]
    fn acknowledgement_is_for_the_channels_shares_up_to_its_number_but_the_rejected() {
        let mut record = Record::default();
        for (channel_id, sequence_number) in [(2, 1), (2, 2), (2, 3), (2, 4), (3, 1)] {
            record.submit(submission(channel_id, sequence_number));
        }
        record.reject(&error(2, 2));
        record.succeed(success(2, 3, 2));
        assert_eq!(record.acknowledged(), [(2, 1), (2, 3)].into());
        assert_eq!(record.unanswered(), [(2, 4), (3, 1)].into());
        assert_eq!((record.accepted_count(), record.accepted_difficulty()), (2, 8));
        assert_eq!(record.faults, []);
    }

    #[test]
    fn acknowledgement_with_another_count_is_a_fault() {
        let mut record = Record::default();
        record.submit(submission(2, 1));
        record.succeed(success(2, 1, 2));
        record.succeed(success(2, 1, 1));
        assert_eq!(record.faults.len(), 2);
        assert_eq!(record.acknowledged(), [(2, 1)].into());
    }

    #[test]
    fn second_answer_to_a_share_is_a_fault() {
        let mut record = Record::default();
        record.submit(submission(2, 1));
        record.succeed(success(2, 1, 1));
        record.reject(&error(2, 1));
        assert!(record.faults[0].what.contains("stale-share for share 1"), "{:?}", record.faults);
    }

    #[tokio::test]
    async fn wait_ends_with_the_event_or_with_the_time_or_with_the_connection() {
        let log = Log::new();
        let one = |record: &Record| (record.submitted.len() == 1).then_some(());
        let waited = log.wait_for(Duration::from_millis(20), "a share", one).await.unwrap_err();
        assert!(waited.to_string().contains("a share"), "{waited}");

        let second = Duration::from_secs(60);
        let (found, ()) = tokio::join!(log.wait_for(second, "a share", one), async { log.submit(submission(2, 1)) });
        found.unwrap();

        log.end(End::ByPool);
        log.end(End::ByMiner);
        let ended = log.wait_for(second, "two shares", |record| record.submitted.get(1).map(|_| ())).await;
        assert!(ended.unwrap_err().to_string().contains("ByPool"));
    }
}
