//! A job: what a template becomes when the pool's coinbase stands in it. Built once, shared by all channels.

use std::{sync::Arc, time::Instant};

use bitcoin::{Amount, Txid, VarInt, consensus::Encodable, hashes::Hash};
use protocol::codec::{B0_64K, Field, Seq0_255, U256};
use sha2::{Digest, Sha256};

use super::{coinbase::Coinbase, extranonce::FULL_EXTRANONCE_SIZE};
use crate::template::Template;

/// Bytes of a block header.
pub const HEADER_SIZE: usize = 80;

/// Where the share log was cut when a job was made: the split of its block ends there.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct SharePosition(pub i64);

/// The number of a job, which no other job of the pool ever has: that of the session, and a count within it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct JobNumber(pub i64);

/// How a job came about.
#[derive(Clone, Copy, Debug)]
pub struct JobOrigin {
    /// Its number. Later jobs have greater ones.
    pub number: JobNumber,
    /// Where the split of its block ends.
    pub share_position: SharePosition,
    /// When it was made.
    pub made_at: Instant,
    /// The same by the clock, in milliseconds since 1970 UTC.
    pub made_at_ms: i64,
}

/// Work for all channels, immutable.
#[derive(Debug)]
pub struct Job {
    template: Arc<Template>,
    subsidy: Amount,
    coinbase: Coinbase,
    /// The hash of the coinbase as far as it is the same for all extranonces.
    coinbase_start: Sha256,
    extended_fields: Vec<u8>,
    origin: JobOrigin,
}

impl Job {
    /// Joins a template, as fresh as the job, and the pool's coinbase for it.
    pub fn new(template: Arc<Template>, coinbase: Coinbase, origin: JobOrigin) -> Self {
        let subsidy = template.subsidy();
        let coinbase_start = Sha256::new_with_prefix(coinbase.prefix());
        let extended_fields = extended_fields(&template, &coinbase);
        Self { template, subsidy, coinbase, coinbase_start, extended_fields, origin }
    }

    /// Returns the template.
    pub fn template(&self) -> &Template {
        &self.template
    }

    /// Returns the coinbase.
    pub fn coinbase(&self) -> &Coinbase {
        &self.coinbase
    }

    /// Returns where in the share log the split of this job's block ends.
    pub fn share_position(&self) -> SharePosition {
        self.origin.share_position
    }

    /// Returns its number.
    pub fn number(&self) -> JobNumber {
        self.origin.number
    }

    /// Returns when it was made.
    pub fn made_at(&self) -> Instant {
        self.origin.made_at
    }

    /// Returns when it was made, in milliseconds since 1970 UTC.
    pub fn made_at_ms(&self) -> i64 {
        self.origin.made_at_ms
    }

    /// Returns the newly issued part of what its coinbase pays.
    pub fn subsidy(&self) -> Amount {
        self.subsidy
    }

    /// Returns the fees that its coinbase pays.
    pub fn fees(&self) -> Amount {
        self.template.coinbase_value - self.subsidy
    }

    /// Returns the encoded fields of `NewExtendedMiningJob` that are the same for all channels: `version` and what
    /// follows it (SV2 5.3.16).
    pub fn extended_fields(&self) -> &[u8] {
        &self.extended_fields
    }

    /// Returns the header version before any rolling.
    pub fn version(&self) -> u32 {
        self.template.version as u32
    }

    /// Returns what a header's time has come to at `now`, when it began with the template's: what miners may have
    /// rolled it to, since it may not run ahead of the clock (SV2 5.3.11).
    pub fn time_at(&self, now: Instant) -> u32 {
        let elapsed_s = now.saturating_duration_since(self.origin.made_at).as_secs();
        self.template.curtime.saturating_add(u32::try_from(elapsed_s).unwrap_or(u32::MAX))
    }

    /// Tells whether the two jobs build on the same block.
    pub fn same_tip(&self, other: &Self) -> bool {
        self.template.prev_hash == other.template.prev_hash
    }

    /// Computes the coinbase's txid for a full extranonce.
    pub fn coinbase_txid(&self, extranonce: &[u8; FULL_EXTRANONCE_SIZE]) -> Txid {
        Txid::from_byte_array(self.coinbase_hash(extranonce))
    }

    /// Computes the merkle root for a full extranonce, in internal byte order (SV2 5.3.16).
    pub fn merkle_root(&self, extranonce: &[u8; FULL_EXTRANONCE_SIZE]) -> [u8; 32] {
        self.template.merkle_path.iter().fold(self.coinbase_hash(extranonce), |root, branch| {
            let mut pair = [0; 64];
            pair[..32].copy_from_slice(&root);
            pair[32..].copy_from_slice(branch.as_byte_array());
            sha256d(&pair)
        })
    }

    /// Writes the header of a share: 80 bytes in network serialisation.
    pub fn header(&self, version: u32, merkle_root: &[u8; 32], ntime: u32, nonce: u32) -> [u8; HEADER_SIZE] {
        let mut header = [0; HEADER_SIZE];
        header[..4].copy_from_slice(&version.to_le_bytes());
        header[4..36].copy_from_slice(self.template.prev_hash.as_byte_array());
        header[36..68].copy_from_slice(merkle_root);
        header[68..72].copy_from_slice(&ntime.to_le_bytes());
        header[72..76].copy_from_slice(&self.template.nbits.to_consensus().to_le_bytes());
        header[76..].copy_from_slice(&nonce.to_le_bytes());
        header
    }

    /// Writes the whole block that `header` and `extranonce` solve, ready for `submitblock`.
    pub fn block(&self, header: &[u8; HEADER_SIZE], extranonce: &[u8; FULL_EXTRANONCE_SIZE]) -> Vec<u8> {
        let transactions = &self.template.transactions;
        let coinbase = self.coinbase.with_witness(extranonce);
        let size: usize = transactions.iter().map(|transaction| transaction.data.len()).sum();
        let mut block = Vec::with_capacity(HEADER_SIZE + 9 + coinbase.len() + size);
        block.extend_from_slice(header);
        VarInt::from(transactions.len() + 1).consensus_encode(&mut block).expect("writing to a Vec does not fail");
        block.extend_from_slice(&coinbase);
        for transaction in transactions {
            block.extend_from_slice(&transaction.data);
        }
        block
    }

    fn coinbase_hash(&self, extranonce: &[u8; FULL_EXTRANONCE_SIZE]) -> [u8; 32] {
        let first = self.coinbase_start.clone().chain_update(extranonce).chain_update(self.coinbase.suffix());
        Sha256::digest(first.finalize()).into()
    }
}

/// Encodes the fields of `NewExtendedMiningJob` from `version` on.
fn extended_fields(template: &Template, coinbase: &Coinbase) -> Vec<u8> {
    let merkle_path: Vec<U256> = template.merkle_path.iter().map(|hash| U256(hash.to_byte_array())).collect();
    let mut fields = Vec::new();
    (template.version as u32).encode(&mut fields);
    // Version rolling is allowed.
    true.encode(&mut fields);
    Seq0_255::new(merkle_path).expect("a merkle path is as long as a tree is deep").encode(&mut fields);
    for part in [coinbase.prefix(), coinbase.suffix()] {
        B0_64K::new(part).expect("our coinbase is short").encode(&mut fields);
    }
    fields
}

/// Computes SHA-256 of SHA-256, Bitcoin's hash of headers and transactions.
pub fn sha256d(bytes: &[u8]) -> [u8; 32] {
    Sha256::digest(Sha256::digest(bytes)).into()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
pub(crate) mod tests {
    use std::sync::atomic::{AtomicI64, Ordering};

    use bitcoin::{
        Amount, Block, BlockHash, CompactTarget, ScriptBuf, Target, Transaction, TxMerkleNode,
        absolute::LockTime,
        consensus::{deserialize, serialize},
        transaction::Version,
    };

    use super::*;
    use crate::{mining::coinbase::PoolTag, template::TemplateTransaction};

    /// A template with two transactions on the block with `prev_hash` of this byte.
    pub(crate) fn template(prev_hash: u8, curtime: u32, nbits: u32) -> Arc<Template> {
        let transactions: Vec<Transaction> = (1..=2)
            .map(|lock_time| Transaction {
                version: Version::TWO,
                lock_time: LockTime::from_consensus(lock_time),
                input: vec![],
                output: vec![],
            })
            .collect();
        let txids: Vec<_> = transactions.iter().map(Transaction::compute_txid).collect();
        let pair = [*txids[1].as_byte_array(), *txids[1].as_byte_array()].concat();
        let nbits = CompactTarget::from_consensus(nbits);
        Arc::new(Template {
            height: 900_000,
            prev_hash: BlockHash::from_byte_array([prev_hash; 32]),
            version: 0x2000_0000,
            nbits,
            target: Target::from_compact(nbits),
            curtime,
            min_time: curtime - 600,
            coinbase_value: Amount::from_sat(312_500_000),
            witness_commitment: ScriptBuf::from_hex(&format!("6a24aa21a9ed{}", "11".repeat(32))).unwrap(),
            transactions: transactions
                .iter()
                .zip(&txids)
                .map(|(transaction, &txid)| TemplateTransaction {
                    data: serialize(transaction),
                    txid,
                    weight: transaction.weight().to_wu(),
                    sigops: 0,
                    fee: Amount::ZERO,
                })
                .collect(),
            merkle_path: vec![
                TxMerkleNode::from_byte_array(*txids[0].as_byte_array()),
                TxMerkleNode::from_byte_array(sha256d(&pair)),
            ],
        })
    }

    /// A job on [`template`].
    pub(crate) fn job(prev_hash: u8, curtime: u32, nbits: u32) -> Arc<Job> {
        let (template, origin) = (template(prev_hash, curtime, nbits), origin());
        let coinbase = Coinbase::new(
            template.height,
            template.coinbase_value,
            &ScriptBuf::from_hex(&format!("0014{}", "22".repeat(20))).unwrap(),
            &template.witness_commitment,
            &PoolTag::new("/Adit/").unwrap(),
            origin.number.0 as u32,
        );
        Arc::new(Job::new(template, coinbase, origin))
    }

    /// The origin of a job made now, after all others.
    fn origin() -> JobOrigin {
        static MADE: AtomicI64 = AtomicI64::new(0);
        JobOrigin {
            number: JobNumber(MADE.fetch_add(1, Ordering::Relaxed)),
            share_position: SharePosition(5),
            made_at: Instant::now(),
            made_at_ms: 1_700_000_000_000,
        }
    }

    #[test]
    fn genesis_header_has_the_hash_that_everybody_knows() {
        let genesis = bitcoin::constants::genesis_block(bitcoin::Network::Bitcoin);
        assert_eq!(sha256d(&serialize(&genesis.header)), genesis.block_hash().to_byte_array());
    }

    #[test]
    fn block_deserialises_with_the_merkle_root_of_its_header() {
        let job = job(1, 1_700_000_000, 0x207f_ffff);
        let extranonce = [9; FULL_EXTRANONCE_SIZE];
        let root = job.merkle_root(&extranonce);
        let header = job.header(0x3fff_e000, &root, 1_700_000_005, 42);
        let bytes = job.block(&header, &extranonce);
        // The two transactions have no inputs, which only serde of whole blocks without segwit marker could read, so
        // the header and the coinbase are read here and the rest compared.
        let read: bitcoin::block::Header = deserialize(&bytes[..HEADER_SIZE]).unwrap();
        assert_eq!(read.merkle_root.to_byte_array(), root);
        assert_eq!((read.version.to_consensus() as u32, read.time, read.nonce), (0x3fff_e000, 1_700_000_005, 42));
        assert_eq!(read.prev_blockhash, job.template().prev_hash);
        let leaves =
            [job.coinbase_txid(&extranonce), job.template().transactions[0].txid, job.template().transactions[1].txid];
        let expected = bitcoin::merkle_tree::calculate_root(leaves.into_iter().map(|txid| txid.to_raw_hash())).unwrap();
        assert_eq!(expected.to_byte_array(), root);
        assert_eq!(bytes[HEADER_SIZE], 3, "three transactions");
    }

    #[test]
    fn block_with_a_coinbase_alone_is_whole() {
        let mut template = Template::clone(&template(1, 1_700_000_000, 0x207f_ffff));
        template.transactions.clear();
        template.merkle_path.clear();
        let coinbase = Coinbase::new(
            template.height,
            template.coinbase_value,
            &ScriptBuf::new(),
            &template.witness_commitment,
            &PoolTag::new("").unwrap(),
            0,
        );
        let job = Job::new(Arc::new(template), coinbase, origin());
        let extranonce = [3; FULL_EXTRANONCE_SIZE];
        let root = job.merkle_root(&extranonce);
        let block: Block =
            deserialize(&job.block(&job.header(job.version(), &root, 1_700_000_000, 0), &extranonce)).unwrap();
        assert!(block.check_merkle_root());
        assert_eq!(block.txdata[0].compute_txid(), job.coinbase_txid(&extranonce));
    }
}
