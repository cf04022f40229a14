//! Shares made by hand: a test chooses which hash is handed in, as what, and with what behind it.

use std::time::Instant;

use bitcoin::{CompactTarget, Target};
use protocol::{
    codec::{B0_32, DecodeError, Reader, U256},
    messages::{
        Message,
        mining::{ServerMessage, SubmitSharesExtended},
    },
};
use tests::miner::{ChannelConfig, Header, Miner, OpenedChannel, Record, Submission, meets_target, merkle_root};

use crate::site::{PATIENCE, idle};

/// A channel whose shares a test makes itself, on the job that it had at first.
pub(crate) struct Handmade {
    miner: Miner,
    opened: OpenedChannel,
    job_id: u32,
    header: Header,
    extranonce: Option<Vec<u8>>,
}

/// A header that is a share, with its hash.
#[derive(Clone, Copy)]
pub(crate) struct Found {
    header: Header,
    hash: [u8; 32],
}

impl Handmade {
    /// Opens a channel without a claimed speed, so that it starts with the pool's initial difficulty.
    pub(crate) async fn open(miner: Miner, channel: ChannelConfig) -> Self {
        let opened = miner.open(ChannelConfig { nominal_hash_rate: 0.0, ..idle(channel) }).await.unwrap();
        let extranonce = opened.extranonce_size.map(|size| vec![7; usize::from(size)]);
        let look = |record: &Record| job_with_tip(record, &opened, None, extranonce.as_deref().unwrap_or_default());
        let (job_id, header) = miner.wait_for(PATIENCE, "a job", look).await.unwrap();
        Self { miner, opened, job_id, header, extranonce }
    }

    /// Turns to the job with this id, when a tip has named it.
    pub(crate) async fn turn_to(&mut self, job_id: u32) {
        let extranonce = self.extranonce.as_deref().unwrap_or_default();
        let look = |record: &Record| job_with_tip(record, &self.opened, Some(job_id), extranonce);
        (self.job_id, self.header) = self.miner.wait_for(PATIENCE, "the job's tip", look).await.unwrap();
    }

    pub(crate) fn miner(&self) -> &Miner {
        &self.miner
    }

    pub(crate) fn channel_id(&self) -> u32 {
        self.opened.channel_id
    }

    /// Finds the next header that is a share, and a block or none as the test wants it. Each is found once.
    pub(crate) fn find(&mut self, wants_block: bool) -> Found {
        let network = Target::from_compact(CompactTarget::from_consensus(self.header.nbits)).to_le_bytes();
        loop {
            self.header.nonce += 1;
            let hash = self.header.hash();
            if meets_target(&hash, &self.opened.target.0) && meets_target(&hash, &network) == wants_block {
                return Found { header: self.header, hash };
            }
        }
    }

    /// Hands a share in, and returns its number.
    pub(crate) async fn submit(&self, found: Found) -> u32 {
        let sequence_number = self.miner.next_sequence_number(self.channel_id()).await.unwrap();
        let Header { version, ntime, nonce, nbits, .. } = found.header;
        let network = Target::from_compact(CompactTarget::from_consensus(nbits)).to_le_bytes();
        let submission = Submission {
            channel_id: self.channel_id(),
            sequence_number,
            job_id: self.job_id,
            nonce,
            ntime,
            version,
            extranonce: self.extranonce.clone(),
            hash: Some(U256(found.hash)),
            target: Some(self.opened.target),
            is_block: meets_target(&found.hash, &network),
            at: Instant::now(),
        };
        self.miner.submit(submission).await.unwrap();
        sequence_number
    }

    /// Hands in a share of an extended channel with `fields` behind it, and returns its number. It is not recorded.
    pub(crate) async fn submit_with(&self, found: Found, fields: &[u8]) -> u32 {
        let sequence_number = self.miner.next_sequence_number(self.channel_id()).await.unwrap();
        let Header { version, ntime, nonce, .. } = found.header;
        let (channel_id, job_id) = (self.channel_id(), self.job_id);
        let extranonce = B0_32::new(self.extranonce.as_deref().unwrap()).unwrap();
        let share = SubmitSharesExtended { channel_id, sequence_number, job_id, nonce, ntime, version, extranonce };
        self.miner.send(Tagged { share, fields: fields.to_vec() }).await.unwrap();
        sequence_number
    }

    /// Closes the connection and returns its record.
    pub(crate) async fn close(self) -> Record {
        self.miner.close().await
    }
}

impl Found {
    /// The hash of the header.
    pub(crate) fn hash(&self) -> bitcoin::BlockHash {
        bitcoin::hashes::Hash::from_byte_array(self.hash)
    }
}

/// The channel's first job with its tip, or the one with this id: its id, and a header without a nonce.
fn job_with_tip(
    record: &Record,
    opened: &OpenedChannel,
    wanted: Option<u32>,
    extranonce: &[u8],
) -> Option<(u32, Header)> {
    let is_wanted = |channel_id, job_id| channel_id == opened.channel_id && wanted.is_none_or(|id| id == job_id);
    let root = |root, version| Header { version, merkle_root: root, prev_hash: [0; 32], ntime: 0, nbits: 0, nonce: 0 };
    let job = record.received.iter().find_map(|message| match message {
        ServerMessage::NewMiningJob(job) if is_wanted(job.channel_id, job.job_id) => {
            Some((job.job_id, root(job.merkle_root.0, job.version)))
        }
        ServerMessage::NewExtendedMiningJob(job) if is_wanted(job.channel_id, job.job_id) => {
            let (prefix, suffix) = (job.coinbase_tx_prefix.as_slice(), job.coinbase_tx_suffix.as_slice());
            let coinbase = [prefix, opened.extranonce_prefix.as_slice(), extranonce, suffix].concat();
            let path: Vec<_> = job.merkle_path.as_slice().iter().map(|step| step.0).collect();
            Some((job.job_id, root(merkle_root(&coinbase, &path), job.version)))
        }
        _ => None,
    });
    let (job_id, header) = job?;
    record.received.iter().find_map(|message| match message {
        ServerMessage::SetNewPrevHash(tip) if tip.channel_id == opened.channel_id && tip.job_id == job_id => {
            Some((job_id, Header { prev_hash: tip.prev_hash.0, ntime: tip.min_ntime, nbits: tip.nbits, ..header }))
        }
        _ => None,
    })
}

/// A share with type-length-value fields behind it, right or wrong.
struct Tagged {
    share: SubmitSharesExtended,
    fields: Vec<u8>,
}

impl Message for Tagged {
    const NAME: &'static str = SubmitSharesExtended::NAME;
    const EXTENSION_TYPE: u16 = SubmitSharesExtended::EXTENSION_TYPE;
    const MESSAGE_TYPE: u8 = SubmitSharesExtended::MESSAGE_TYPE;
    const CHANNEL_MSG: bool = SubmitSharesExtended::CHANNEL_MSG;

    fn encode(&self, out: &mut Vec<u8>) {
        self.share.encode(out);
        out.extend_from_slice(&self.fields);
    }

    fn decode_fields(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(Self { share: SubmitSharesExtended::decode_fields(reader)?, fields: reader.rest().to_vec() })
    }
}
