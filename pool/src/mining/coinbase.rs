//! The coinbase transaction: height, pool tag, extranonce, the pool's output and the witness commitment.

use bitcoin::{
    Amount, ScriptBuf, Sequence, TxOut, VarInt,
    consensus::Encodable,
    script::{Builder, PushBytesBuf},
};
use thiserror::Error;

use super::extranonce::FULL_EXTRANONCE_SIZE;

/// Most bytes of a pool tag: with the height and the extranonce the scriptSig stays far below its 100 bytes.
pub const MAX_TAG_SIZE: usize = 48;

/// Text that the pool leaves in each of its coinbases.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PoolTag(PushBytesBuf);

/// A pool tag that cannot stand in a coinbase.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("pool tag {tag:?} must be printable ASCII of at most {MAX_TAG_SIZE} characters")]
pub struct InvalidPoolTag {
    /// The tag as it was given.
    pub tag: String,
}

impl PoolTag {
    /// Checks a tag.
    ///
    /// # Errors
    ///
    /// If it is longer than [`MAX_TAG_SIZE`] or has other than printable ASCII characters.
    pub fn new(tag: &str) -> Result<Self, InvalidPoolTag> {
        let invalid = || InvalidPoolTag { tag: tag.to_owned() };
        if tag.len() > MAX_TAG_SIZE || !tag.bytes().all(|byte| (0x20..0x7f).contains(&byte)) {
            return Err(invalid());
        }
        PushBytesBuf::try_from(tag.as_bytes().to_vec()).map(Self).map_err(|_| invalid())
    }

    /// Returns the text.
    pub fn text(&self) -> String {
        self.0.as_bytes().iter().map(|byte| char::from(*byte)).collect()
    }
}

/// The coinbase of a template, cut where the extranonce stands, without BIP 141 fields (SV2 3.7.1).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Coinbase {
    prefix: Vec<u8>,
    suffix: Vec<u8>,
}

/// Bytes of `version`, which come before the marker and flag of BIP 144.
const VERSION_SIZE: usize = 4;
/// Bytes of `nLockTime`, which come after the witness.
const LOCK_TIME_SIZE: usize = 4;

impl Coinbase {
    /// Builds the coinbase for the block at `height` that pays `value` to `script`.
    ///
    /// `number` differs between any two coinbases of one run of the pool: no two jobs share a search space then, not
    /// even those that differ in time alone, and a share of one can never be handed in again for the other.
    ///
    /// The lock time is the height before and the sequence not final: with that a coinbase can never repeat one of
    /// another height (BIP 54).
    pub fn new(
        height: u32,
        value: Amount,
        script: &ScriptBuf,
        witness_commitment: &ScriptBuf,
        tag: &PoolTag,
        number: u32,
    ) -> Self {
        let mut script_sig =
            Builder::new().push_int(i64::from(height)).push_slice(&tag.0).push_slice(number.to_be_bytes()).into_bytes();
        script_sig.push(FULL_EXTRANONCE_SIZE as u8);
        let script_sig_size = script_sig.len() + FULL_EXTRANONCE_SIZE;
        debug_assert!(script_sig_size <= 100, "scriptSig of {script_sig_size} bytes");

        let mut prefix = Vec::with_capacity(128);
        prefix.extend_from_slice(&2u32.to_le_bytes());
        prefix.push(1); // inputs
        prefix.extend_from_slice(&[0; 32]);
        prefix.extend_from_slice(&u32::MAX.to_le_bytes());
        prefix.push(script_sig_size as u8);
        prefix.extend_from_slice(&script_sig);

        let outputs = [
            TxOut { value, script_pubkey: script.clone() },
            TxOut { value: Amount::ZERO, script_pubkey: witness_commitment.clone() },
        ];
        let mut suffix = Vec::with_capacity(128);
        suffix.extend_from_slice(&Sequence::ENABLE_LOCKTIME_NO_RBF.0.to_le_bytes());
        write(&mut suffix, &VarInt::from(outputs.len()));
        for output in &outputs {
            write(&mut suffix, output);
        }
        suffix.extend_from_slice(&height.saturating_sub(1).to_le_bytes());
        Self { prefix, suffix }
    }

    /// Returns the serialisation before the extranonce.
    pub fn prefix(&self) -> &[u8] {
        &self.prefix
    }

    /// Returns the serialisation after the extranonce.
    pub fn suffix(&self) -> &[u8] {
        &self.suffix
    }

    /// Writes the whole transaction without witness, whose double SHA-256 is the txid.
    pub fn without_witness(&self, extranonce: &[u8; FULL_EXTRANONCE_SIZE]) -> Vec<u8> {
        [&self.prefix, &extranonce[..], &self.suffix].concat()
    }

    /// Writes the whole transaction with the witness of 32 zero bytes that BIP 141 reserves, as a block holds it.
    pub fn with_witness(&self, extranonce: &[u8; FULL_EXTRANONCE_SIZE]) -> Vec<u8> {
        let (outputs, lock_time) = self.suffix.split_at(self.suffix.len() - LOCK_TIME_SIZE);
        let mut bytes = Vec::with_capacity(self.prefix.len() + FULL_EXTRANONCE_SIZE + self.suffix.len() + 36);
        bytes.extend_from_slice(&self.prefix[..VERSION_SIZE]);
        bytes.extend_from_slice(&[0, 1]); // marker, flag
        bytes.extend_from_slice(&self.prefix[VERSION_SIZE..]);
        bytes.extend_from_slice(extranonce);
        bytes.extend_from_slice(outputs);
        bytes.extend_from_slice(&[1, 32]); // one witness element of 32 bytes
        bytes.extend_from_slice(&[0; 32]);
        bytes.extend_from_slice(lock_time);
        bytes
    }
}

fn write(out: &mut Vec<u8>, value: &impl Encodable) {
    value.consensus_encode(out).expect("writing to a Vec does not fail");
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use bitcoin::{Transaction, Weight, consensus::deserialize, script::Instruction};

    use super::*;
    use crate::template::answer::RESERVED_WEIGHT;

    fn coinbase(height: u32) -> Coinbase {
        let commitment = ScriptBuf::from_hex(&format!("6a24aa21a9ed{}", "11".repeat(32))).unwrap();
        let script = ScriptBuf::from_hex(&format!("0014{}", "22".repeat(20))).unwrap();
        Coinbase::new(height, Amount::from_sat(312_500_001), &script, &commitment, &PoolTag::new("/Adit/").unwrap(), 1)
    }

    #[test]
    fn both_serialisations_are_the_same_transaction() {
        for height in [1, 16, 17, 200, 900_000] {
            let extranonce = [7; FULL_EXTRANONCE_SIZE];
            let bare: Transaction = deserialize(&coinbase(height).without_witness(&extranonce)).unwrap();
            let full: Transaction = deserialize(&coinbase(height).with_witness(&extranonce)).unwrap();
            assert_eq!(bare.compute_txid(), full.compute_txid());
            assert!(full.is_coinbase());
            assert_eq!(full.input[0].witness.to_vec(), vec![vec![0; 32]]);
            assert_eq!(full.output[0].value, Amount::from_sat(312_500_001));
            assert_eq!(full.lock_time.to_consensus_u32(), height - 1);
        }
    }

    #[test]
    fn script_sig_starts_with_the_height_and_ends_with_the_extranonce_push() {
        let extranonce = [7; FULL_EXTRANONCE_SIZE];
        let transaction: Transaction = deserialize(&coinbase(900_000).with_witness(&extranonce)).unwrap();
        let script_sig = &transaction.input[0].script_sig;
        assert!(script_sig.as_bytes().starts_with(Builder::new().push_int(900_000).as_bytes()));
        let pushes: Vec<_> = script_sig.instructions().map(Result::unwrap).collect();
        let Instruction::PushBytes(last) = pushes.last().unwrap() else { panic!("not a push") };
        assert_eq!(last.as_bytes(), extranonce);
        assert!(script_sig.len() <= 100);
    }

    /// Blocks were invalid because their coinbase took more room than the template had left for it.
    #[test]
    fn the_largest_coinbase_takes_no_more_weight_than_a_template_leaves_it() {
        let longest = PoolTag::new(&"x".repeat(MAX_TAG_SIZE)).unwrap();
        let (script, commitment) = (ScriptBuf::from_bytes(vec![0; 42]), ScriptBuf::from_bytes(vec![0; 38]));
        let height = u32::MAX >> 1;
        let coinbase = Coinbase::new(height, Amount::MAX_MONEY, &script, &commitment, &longest, u32::MAX);
        let transaction: Transaction = deserialize(&coinbase.with_witness(&[0; FULL_EXTRANONCE_SIZE])).unwrap();
        // The header, and the largest number of transactions that a block can have.
        let around = Weight::from_non_witness_data_size(80 + 3);
        assert!((transaction.weight() + around).to_wu() <= RESERVED_WEIGHT);
    }

    #[test]
    fn the_longest_tag_fits_and_a_bad_one_is_refused() {
        let longest = PoolTag::new(&"x".repeat(MAX_TAG_SIZE)).unwrap();
        let coinbase =
            Coinbase::new(u32::MAX >> 1, Amount::ONE_BTC, &ScriptBuf::new(), &ScriptBuf::new(), &longest, u32::MAX);
        let transaction: Transaction = deserialize(&coinbase.without_witness(&[0; FULL_EXTRANONCE_SIZE])).unwrap();
        assert!(transaction.input[0].script_sig.len() <= 100);
        assert!(PoolTag::new(&"x".repeat(MAX_TAG_SIZE + 1)).is_err());
        assert!(PoolTag::new("line\nbreak").is_err());
    }
}
