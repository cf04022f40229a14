//! Who bears how much of a transaction's fee when the accounts pay it. Pure.

use bitcoin::{Amount, ScriptBuf, TxOut};

/// Splits a fee over outputs to these scripts, by the weight of each output. What the rest of the transaction costs is
/// split in the same proportion. Whole satoshis; those left over go to the largest fractions, then to the first outputs.
pub(super) fn split(fee: Amount, scripts: &[&ScriptBuf]) -> Vec<Amount> {
    let weights: Vec<u128> = scripts.iter().map(|script| weight(script)).collect();
    let whole: u128 = weights.iter().sum();
    if whole == 0 {
        return Vec::new();
    }
    let fee_sat = u128::from(fee.to_sat());
    let mut parts: Vec<u128> = weights.iter().map(|weight| fee_sat * weight / whole).collect();
    let mut order: Vec<usize> = (0..parts.len()).collect();
    order.sort_by_key(|&index| (std::cmp::Reverse(fee_sat * weights[index] % whole), index));
    let left = fee_sat - parts.iter().sum::<u128>();
    let left = usize::try_from(left).expect("fewer satoshis are left than there are outputs");
    for &index in &order[..left] {
        parts[index] += 1;
    }
    parts.into_iter().map(|part| Amount::from_sat(u64::try_from(part).expect("no part exceeds the fee"))).collect()
}

fn weight(script: &ScriptBuf) -> u128 {
    u128::from(TxOut { value: Amount::ZERO, script_pubkey: script.clone() }.weight().to_wu())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn script(bytes: usize) -> ScriptBuf {
        ScriptBuf::from_bytes(vec![0; bytes])
    }

    #[test]
    fn the_heavier_output_bears_more_and_the_first_the_odd_satoshi() {
        // Outputs of 31 and 43 virtual bytes, as to P2WPKH and P2TR.
        let scripts = [script(22), script(34), script(22)];
        let scripts: Vec<_> = scripts.iter().collect();
        let parts = |sat| split(Amount::from_sat(sat), &scripts).iter().map(|part| part.to_sat()).collect::<Vec<_>>();
        assert_eq!(parts(105), [31, 43, 31]);
        assert_eq!(parts(1), [0, 1, 0]);
        assert_eq!(parts(2), [1, 1, 0]);
        assert_eq!(parts(0), [0, 0, 0]);
    }

    proptest! {
        #[test]
        fn parts_sum_to_the_fee_and_none_is_a_satoshi_off(
            sat in 0u64..10_000_000,
            lengths in prop::collection::vec(1usize..80, 1..50),
        ) {
            let scripts: Vec<_> = lengths.into_iter().map(script).collect();
            let scripts: Vec<_> = scripts.iter().collect();
            let parts = split(Amount::from_sat(sat), &scripts);
            prop_assert_eq!(parts.iter().copied().sum::<Amount>().to_sat(), sat);
            let whole: u128 = scripts.iter().map(|script| weight(script)).sum();
            for (part, script) in parts.iter().zip(&scripts) {
                let (scaled, exact) = (u128::from(part.to_sat()) * whole, u128::from(sat) * weight(script));
                prop_assert!(scaled.abs_diff(exact) < whole);
            }
        }
    }
}
