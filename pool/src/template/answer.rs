//! What bitcoind answers to `getblocktemplate` (BIP 22, 23, 9, 145), and how it becomes a [`Template`].
//!
//! Owns the checks: after them a template is trusted. The node's word on its transactions is taken, since it has
//! validated them; what is checked is what the pool itself relies on.

use bitcoin::{
    Amount, BlockHash, CompactTarget, ScriptBuf, Target, Txid, WitnessCommitment, WitnessMerkleNode, Wtxid,
    hashes::{Hash, sha256d},
    script::PushBytes,
};
use serde::Deserialize;
use tracing::warn;

use super::{Template, TemplateTransaction, merkle};

/// Weight units that a block's header, its transaction count and the coinbase may take together.
///
/// It is the least that bitcoind lets an operator reserve (`-blockreservedweight`), so that no node's template has to
/// be cut; a coinbase of one payment, a tag and an extranonce of 32 bytes takes about 1,100.
pub const RESERVED_WEIGHT: u64 = 2_000;

/// Signature operations that the coinbase's outputs may count; bitcoind reserves as many by default.
pub const RESERVED_SIGOPS: u64 = 400;

/// Rules that a block may have to keep and that the pool's blocks do keep. A `!` marks those that a miner has to know.
const KNOWN_MANDATORY_RULES: [&str; 2] = ["!segwit", "!signet"];

/// The script of a signet that asks for no signature: OP_TRUE.
const OPEN_SIGNET: &str = "51";

/// The start of the witness commitment's script: OP_RETURN, a push of 36 bytes, four bytes of BIP 141.
const COMMITMENT_HEADER: [u8; 6] = [0x6a, 0x24, 0xaa, 0x21, 0xa9, 0xed];

/// Why a template cannot be mined on.
#[derive(Debug, thiserror::Error)]
pub enum TemplateError {
    /// `bits` is not a compact target.
    #[error("bits {0:?} are not a compact target")]
    Bits(String),
    /// `target` is not the one of `bits`.
    #[error("target {target} is not the one of bits {bits:#010x}")]
    Target {
        /// The target as given.
        target: String,
        /// The bits as given.
        bits: u32,
    },
    /// The fees are more than the coinbase may pay out.
    #[error("coinbase value {coinbase_value_sat} sat is less than its transactions' fees, {fees_sat} sat")]
    Fees {
        /// What the coinbase may pay out.
        coinbase_value_sat: u64,
        /// What the transactions pay.
        fees_sat: u128,
    },
    /// The time cannot stand in a header, or is too early for this block.
    #[error("curtime {curtime} is below mintime {min_time}")]
    Time {
        /// The node's time.
        curtime: u32,
        /// The least time.
        min_time: u32,
    },
    /// There is no commitment to witnesses, or another script in its place.
    #[error("default_witness_commitment {0:?} is not one: segwit is not active, or the node changed its form")]
    WitnessCommitment(String),
    /// A rule that the pool does not know and that blocks must keep.
    #[error("rule {0} is in force, which this version does not know")]
    Rule(String),
    /// The blocks of this signet need a signature that the pool cannot make.
    #[error("this signet's blocks need a signature (challenge {0}); only a signet with challenge 51 can be mined")]
    SignetChallenge(String),
}

/// The answer to `getblocktemplate`. Fields that the pool has no use for are left out.
#[derive(Clone, Debug, Deserialize)]
pub struct BlockTemplate {
    version: i32,
    rules: Vec<String>,
    #[serde(rename = "previousblockhash")]
    prev_hash: BlockHash,
    transactions: Vec<Transaction>,
    #[serde(rename = "coinbasevalue")]
    coinbase_value: u64,
    target: String,
    #[serde(rename = "mintime")]
    min_time: u32,
    #[serde(rename = "sigoplimit")]
    sigop_limit: u64,
    #[serde(rename = "weightlimit")]
    weight_limit: u64,
    curtime: u32,
    bits: String,
    height: u32,
    signet_challenge: Option<String>,
    default_witness_commitment: String,
}

/// One entry of `transactions`.
#[derive(Clone, Debug, Deserialize)]
struct Transaction {
    #[serde(with = "hex::serde")]
    data: Vec<u8>,
    txid: Txid,
    #[serde(rename = "hash")]
    wtxid: Wtxid,
    fee: u64,
    sigops: u64,
    weight: u64,
}

impl BlockTemplate {
    /// Checks the answer and works out what every job needs of it.
    ///
    /// # Errors
    ///
    /// When it contradicts itself or asks for what the pool cannot do.
    pub fn into_template(mut self) -> Result<Template, TemplateError> {
        self.check_rules()?;
        let (nbits, target) = self.target()?;
        if self.curtime < self.min_time {
            return Err(TemplateError::Time { curtime: self.curtime, min_time: self.min_time });
        }
        let fees_sat: u128 = self.transactions.iter().map(|transaction| u128::from(transaction.fee)).sum();
        if fees_sat > u128::from(self.coinbase_value) {
            return Err(TemplateError::Fees { coinbase_value_sat: self.coinbase_value, fees_sat });
        }
        let mut witness_commitment = ScriptBuf::from_hex(&self.default_witness_commitment)
            .ok()
            .filter(|script| script.as_bytes().starts_with(&COMMITMENT_HEADER) && script.len() == 38)
            .ok_or_else(|| TemplateError::WitnessCommitment(self.default_witness_commitment.clone()))?;
        if self.make_room() {
            witness_commitment =
                self::witness_commitment(self.transactions.iter().map(|transaction| transaction.wtxid));
        }
        let txids: Vec<Txid> = self.transactions.iter().map(|transaction| transaction.txid).collect();
        Ok(Template {
            height: self.height,
            prev_hash: self.prev_hash,
            version: self.version,
            nbits,
            target,
            curtime: self.curtime,
            min_time: self.min_time,
            coinbase_value: Amount::from_sat(self.coinbase_value),
            witness_commitment,
            transactions: self.transactions.into_iter().map(TemplateTransaction::from).collect(),
            merkle_path: merkle::coinbase_path(&txids),
        })
    }

    fn check_rules(&self) -> Result<(), TemplateError> {
        let unknown = |rule: &&String| rule.starts_with('!') && !KNOWN_MANDATORY_RULES.contains(&rule.as_str());
        if let Some(rule) = self.rules.iter().find(unknown) {
            return Err(TemplateError::Rule(rule.clone()));
        }
        match &self.signet_challenge {
            Some(challenge) if challenge != OPEN_SIGNET => Err(TemplateError::SignetChallenge(challenge.clone())),
            _ => Ok(()),
        }
    }

    fn target(&self) -> Result<(CompactTarget, Target), TemplateError> {
        let nbits =
            CompactTarget::from_unprefixed_hex(&self.bits).map_err(|_| TemplateError::Bits(self.bits.clone()))?;
        let target = Target::from_compact(nbits);
        // A compact form that is negative comes out as zero, which nothing could meet.
        if target == Target::ZERO {
            return Err(TemplateError::Bits(self.bits.clone()));
        }
        match Target::from_unprefixed_hex(&self.target) {
            Ok(given) if given == target => Ok((nbits, target)),
            _ => Err(TemplateError::Target { target: self.target.clone(), bits: nbits.to_consensus() }),
        }
    }

    /// Drops transactions from the end until the coinbase fits beside the others; says whether any was dropped. A
    /// transaction stands after all that it spends from, so what remains never lacks a parent.
    fn make_room(&mut self) -> bool {
        let mut weight = RESERVED_WEIGHT + self.transactions.iter().map(|transaction| transaction.weight).sum::<u64>();
        let mut sigops = RESERVED_SIGOPS + self.transactions.iter().map(|transaction| transaction.sigops).sum::<u64>();
        let given = self.transactions.len();
        while weight > self.weight_limit || sigops > self.sigop_limit {
            let Some(last) = self.transactions.pop() else { break };
            weight -= last.weight;
            sigops -= last.sigops;
            self.coinbase_value -= last.fee;
        }
        let dropped = given - self.transactions.len();
        if dropped > 0 {
            warn!(height = self.height, dropped, given, "template leaves too little room for a coinbase: was cut");
        }
        dropped > 0
    }
}

/// The witness commitment's script of a block that has nothing but its coinbase. Such a block needs none, except on a
/// signet, and may have one anywhere: with it, all coinbases are built alike.
pub(super) fn commitment_without_transactions() -> ScriptBuf {
    witness_commitment([])
}

/// The witness commitment's script for these transactions behind the coinbase (BIP 141), with the witness reserved value
/// of zeros that bitcoind assumes.
fn witness_commitment(wtxids: impl IntoIterator<Item = Wtxid>) -> ScriptBuf {
    let leaves = std::iter::once(Wtxid::all_zeros()).chain(wtxids);
    let leaves = leaves.map(|wtxid| WitnessMerkleNode::from_raw_hash(wtxid.to_raw_hash()));
    let root = bitcoin::merkle_tree::calculate_root(leaves).expect("there is at least the coinbase");
    let mut reserved = root.to_byte_array().to_vec();
    reserved.extend_from_slice(&[0; 32]);
    let commitment = WitnessCommitment::from_raw_hash(sha256d::Hash::hash(&reserved));
    let mut push = [0; 36];
    push[..4].copy_from_slice(&COMMITMENT_HEADER[2..]);
    push[4..].copy_from_slice(commitment.as_byte_array());
    ScriptBuf::new_op_return::<&PushBytes>((&push).into())
}

impl From<Transaction> for TemplateTransaction {
    fn from(transaction: Transaction) -> TemplateTransaction {
        TemplateTransaction {
            data: transaction.data,
            txid: transaction.txid,
            weight: transaction.weight,
            sigops: transaction.sigops,
            fee: Amount::from_sat(transaction.fee),
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    /// A regtest template with `count` transactions of one weight, fee and number of signature operations.
    fn answer(count: u8) -> Value {
        let transactions: Vec<Value> = (1..=count)
            .map(|number| {
                let id = format!("{number:02x}").repeat(32);
                json!({
                    "data": "0102", "txid": id, "hash": id, "depends": [], "fee": 1_000, "sigops": 4, "weight": 400_000
                })
            })
            .collect();
        json!({
            "version": 536_870_912,
            "rules": ["csv", "!segwit", "taproot"],
            "previousblockhash": "0f9188f13cb7b2c71f2a335e3a4fc328bf5beb436012afca590b1a11466e2206",
            "transactions": transactions,
            "coinbasevalue": 5_000_000_000_u64 + u64::from(count) * 1_000,
            "target": "7fffff0000000000000000000000000000000000000000000000000000000000",
            "mintime": 1_296_688_603,
            "sigoplimit": 80_000,
            "weightlimit": 4_000_000,
            "curtime": 1_700_000_000,
            "bits": "207fffff",
            "height": 1,
            "default_witness_commitment":
                "6a24aa21a9ede2f61c3f71d1defd3fa999dfa36953755c690689799962b48bebd836974e8cf9",
        })
    }

    fn parse(answer: Value) -> Result<Template, TemplateError> {
        serde_json::from_value::<BlockTemplate>(answer).unwrap().into_template()
    }

    fn parse_with(field: &str, value: Value) -> String {
        let mut answer = answer(1);
        answer[field] = value;
        parse(answer).unwrap_err().to_string()
    }

    #[test]
    fn good_answer_is_taken_over() {
        let template = parse(answer(2)).unwrap();
        assert_eq!(template.height, 1);
        assert_eq!(template.version, 0x2000_0000);
        assert_eq!(template.nbits.to_consensus(), 0x207f_ffff);
        assert_eq!(template.target, Target::MAX_ATTAINABLE_REGTEST);
        assert_eq!(template.coinbase_value, Amount::from_sat(5_000_002_000));
        assert_eq!(template.transactions.len(), 2);
        assert_eq!(template.transactions[0].data, [1, 2]);
        assert_eq!(template.merkle_path.len(), 2);
    }

    #[test]
    fn target_that_contradicts_bits_is_refused() {
        let wrong = "00000000ffff0000000000000000000000000000000000000000000000000000";
        assert!(parse_with("target", json!(wrong)).contains("is not the one of bits 0x207fffff"));
        assert!(parse_with("bits", json!("1d00ffff")).contains("is not the one of bits 0x1d00ffff"));
        assert!(parse_with("bits", json!("20ffffff")).contains("are not a compact target"));
        assert!(parse_with("bits", json!("difficulty")).contains("are not a compact target"));
    }

    #[test]
    fn rule_that_is_not_known_is_refused() {
        assert!(parse_with("rules", json!(["csv", "!segwit", "!forever"])).contains("!forever"));
    }

    #[test]
    fn signet_that_asks_for_signatures_is_refused() {
        assert!(parse_with("signet_challenge", json!("512103")).contains("need a signature"));
        let mut open = answer(0);
        open["signet_challenge"] = json!("51");
        assert!(parse(open).is_ok());
    }

    #[test]
    fn impossible_values_are_refused() {
        assert!(parse_with("coinbasevalue", json!(999)).contains("less than its transactions' fees"));
        assert!(parse_with("curtime", json!(1_296_688_602)).contains("below mintime"));
        assert!(parse_with("default_witness_commitment", json!("6a")).contains("is not one"));
    }

    #[test]
    fn answer_without_a_fee_is_refused() {
        let mut answer = answer(1);
        answer["transactions"][0].as_object_mut().unwrap().remove("fee");
        assert!(serde_json::from_value::<BlockTemplate>(answer).is_err());
    }

    #[test]
    fn template_too_heavy_for_a_coinbase_loses_its_last_transactions() {
        let mut answer = answer(11);
        let whole = answer["default_witness_commitment"].clone();
        answer["weightlimit"] = json!(3_600_000 + RESERVED_WEIGHT);
        let template = parse(answer.clone()).unwrap();
        assert_eq!(template.transactions.len(), 9);
        assert_eq!(template.coinbase_value, Amount::from_sat(5_000_009_000));
        assert_eq!(template.transactions[8].txid.to_byte_array(), [9; 32]);
        assert_ne!(template.witness_commitment.to_hex_string(), whole.as_str().unwrap());

        answer["weightlimit"] = json!(3_600_000 + RESERVED_WEIGHT - 1);
        assert_eq!(parse(answer).unwrap().transactions.len(), 8);
    }

    #[test]
    fn template_with_too_many_sigops_loses_its_last_transactions() {
        let mut answer = answer(5);
        answer["sigoplimit"] = json!(RESERVED_SIGOPS + 4 * 3);
        assert_eq!(parse(answer).unwrap().transactions.len(), 3);
    }

    #[test]
    fn commitment_of_an_empty_block_is_the_one_that_every_node_gives() {
        let mut answer = answer(1);
        let expected = answer["default_witness_commitment"].as_str().unwrap().to_owned();
        answer["weightlimit"] = json!(RESERVED_WEIGHT);
        answer["default_witness_commitment"] = json!(format!("6a24aa21a9ed{}", "00".repeat(32)));
        let template = parse(answer).unwrap();
        assert!(template.transactions.is_empty() && template.merkle_path.is_empty());
        assert_eq!(template.witness_commitment.to_hex_string(), expected);
    }
}
