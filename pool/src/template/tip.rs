//! What is certain about the block after a new tip before the node has made a template for it.
//!
//! Owns when the next header's fields follow from the tip's own header and the last template alone, and the template
//! without transactions that they make. Where anything is in doubt there is none, and the node's own is waited for:
//! making one takes the node a hundred times as long as saying that there is a new tip.

use bitcoin::{Amount, BlockHash, CompactTarget, Network, hashes::Hash};
use serde::Deserialize;

use super::{Template, answer};

/// Blocks between two changes of the network's target.
const RETARGET_INTERVAL: u32 = 2_016;
/// What the first blocks pay.
const FIRST_SUBSIDY: Amount = Amount::from_sat(5_000_000_000);

/// The answer to `getblockheader`, as far as the next block depends on it.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct TipHeader {
    /// Its hash.
    pub hash: BlockHash,
    /// 1 for the tip of the best chain.
    pub confirmations: i64,
    /// Its height.
    pub height: u32,
    /// The block before; the first one has none.
    #[serde(rename = "previousblockhash")]
    pub prev_hash: Option<BlockHash>,
    /// The median time of the eleven blocks that end with it, seconds since 1970 UTC: later ones must be later.
    #[serde(rename = "mediantime")]
    pub median_time: u32,
    /// Compact form of the network's target for it.
    pub bits: String,
}

impl Template {
    /// Makes the template without transactions for the block after the one that this is for, as far as it can be known
    /// before that one is found: without the hash of its parent, and with this template's times. None where more than
    /// that is open: where the target changes, where a late block may be easier than the others (testnet), and on a
    /// network that pays otherwise than it is known to.
    pub fn next(&self, network: Network) -> Option<Template> {
        let height = self.height.checked_add(1)?;
        let same_target = match network {
            Network::Bitcoin | Network::Signet => !height.is_multiple_of(RETARGET_INTERVAL),
            Network::Regtest => true,
            _ => false,
        };
        (same_target && self.subsidy() == subsidy_at(self.height, network)).then(|| Template {
            height,
            prev_hash: BlockHash::all_zeros(),
            coinbase_value: subsidy_at(height, network),
            witness_commitment: answer::commitment_without_transactions(),
            transactions: Vec::new(),
            merkle_path: Vec::new(),
            ..*self
        })
    }

    /// Makes the same when the block is found, if the tip's header leaves no doubt: the tip is the one block that
    /// follows the known tip, and has the target that was known.
    ///
    /// Its time is the least that is right as far as this template tells; whoever knows how old this one is makes it
    /// later.
    pub fn after_tip(&self, tip: &TipHeader, network: Network) -> Option<Template> {
        let extends = tip.confirmations == 1 && tip.prev_hash == Some(self.prev_hash) && tip.height == self.height;
        if !extends || CompactTarget::from_unprefixed_hex(&tip.bits) != Ok(self.nbits) {
            return None;
        }
        let min_time = tip.median_time.checked_add(1)?;
        let curtime = self.curtime.max(min_time);
        Some(Template { prev_hash: tip.hash, min_time, curtime, ..self.next(network)? })
    }
}

/// Returns the newly issued part of what the coinbase at a height pays.
pub fn subsidy_at(height: u32, network: Network) -> Amount {
    let halving_interval = match network {
        Network::Regtest => 150,
        _ => 210_000,
    };
    Amount::from_sat(FIRST_SUBSIDY.to_sat().checked_shr(height / halving_interval).unwrap_or(0))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use bitcoin::Target;

    use super::*;
    use crate::mining::job::tests::template;

    const TIME: u32 = 1_700_000_000;
    const BITS: u32 = 0x1702_1369;

    fn hash(byte: u8) -> BlockHash {
        BlockHash::from_byte_array([byte; 32])
    }

    /// The last template, for a block at 900,000 on block 1.
    fn last() -> Template {
        let mut template = Template::clone(&template(1, TIME, BITS));
        template.transactions.clear();
        template.merkle_path.clear();
        template
    }

    fn tip() -> TipHeader {
        let bits = format!("{BITS:08x}");
        TipHeader {
            hash: hash(2),
            confirmations: 1,
            height: 900_000,
            prev_hash: Some(hash(1)),
            median_time: TIME - 1_800,
            bits,
        }
    }

    #[test]
    fn tip_that_extends_the_known_one_makes_a_template_at_once() {
        let next = last().after_tip(&tip(), Network::Bitcoin).unwrap();
        assert_eq!((next.height, next.prev_hash), (900_001, hash(2)));
        assert_eq!((next.nbits.to_consensus(), next.target), (BITS, Target::from_compact(next.nbits)));
        assert_eq!((next.min_time, next.curtime), (TIME - 1_799, TIME));
        assert_eq!((next.coinbase_value, next.subsidy()), (Amount::from_sat(312_500_000), next.coinbase_value));
        assert!(next.transactions.is_empty() && next.merkle_path.is_empty());
    }

    #[test]
    fn time_is_later_than_the_median_of_the_last_blocks() {
        let next = last().after_tip(&TipHeader { median_time: TIME + 5, ..tip() }, Network::Bitcoin).unwrap();
        assert_eq!((next.min_time, next.curtime), (TIME + 6, TIME + 6));
    }

    #[test]
    fn other_tip_than_the_next_block_makes_none() {
        for doubtful in [
            // A reorganisation, or several blocks at once.
            TipHeader { prev_hash: Some(hash(9)), ..tip() },
            TipHeader { prev_hash: None, ..tip() },
            TipHeader { height: 900_001, ..tip() },
            // It is not the tip any more, or not in the best chain.
            TipHeader { confirmations: 2, ..tip() },
            TipHeader { confirmations: -1, ..tip() },
            // The target has just changed.
            TipHeader { bits: "1702136a".to_owned(), ..tip() },
            TipHeader { bits: "nonsense".to_owned(), ..tip() },
        ] {
            assert_eq!(last().after_tip(&doubtful, Network::Bitcoin), None, "{doubtful:?}");
        }
    }

    #[test]
    fn no_height_is_certain_where_the_target_changes_but_on_regtest() {
        let at = |height: u32, network: Network| {
            let template = Template { height, coinbase_value: subsidy_at(height, network), ..last() };
            template.next(network).map(|next| next.height)
        };
        for (height, certain) in [(2_013, true), (2_014, true), (2_015, false), (2_016, true)] {
            for network in [Network::Bitcoin, Network::Signet] {
                assert_eq!(at(height, network), certain.then_some(height + 1), "{height} on {network}");
            }
            assert_eq!(at(height, Network::Regtest), Some(height + 1));
            // A late block may be of the least difficulty there, and the next one then follows other rules.
            assert_eq!(at(height, Network::Testnet4), None);
        }
    }

    #[test]
    fn network_that_pays_otherwise_is_left_to_the_node() {
        let richer = Template { coinbase_value: Amount::from_sat(312_500_001), ..last() };
        assert_eq!(richer.after_tip(&tip(), Network::Bitcoin), None);
    }

    #[test]
    fn subsidy_halves_and_ends() {
        for (height, sat) in
            [(0, 5_000_000_000), (209_999, 5_000_000_000), (210_000, 2_500_000_000), (1_050_000, 156_250_000)]
        {
            assert_eq!(subsidy_at(height, Network::Bitcoin).to_sat(), sat);
        }
        assert_eq!(subsidy_at(149, Network::Regtest).to_sat(), 5_000_000_000);
        assert_eq!(subsidy_at(150, Network::Regtest).to_sat(), 2_500_000_000);
        assert_eq!(
            [34 * 150, 64 * 150, u32::MAX].map(|height| subsidy_at(height, Network::Regtest)),
            [Amount::ZERO; 3]
        );
    }
}
