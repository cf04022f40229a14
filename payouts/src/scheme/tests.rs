//! What every split keeps to, and the failures that other pools had with it.

#![allow(clippy::unwrap_used)]

use proptest::prelude::*;

use super::*;

/// The credits of a split, in satoshis.
pub(crate) fn sats(split: &Split) -> Vec<(AccountId, u64)> {
    split.credits.iter().map(|(&account, amount)| (account, amount.to_sat())).collect()
}

fn weights(list: &[u64]) -> BTreeMap<AccountId, U512> {
    (1..).map(AccountId::new).zip(list.iter().map(|&weight| U512::from(weight))).collect()
}

fn parts(total: u64, list: &[u64]) -> Vec<u64> {
    apportion(Amount::from_sat(total), &weights(list)).iter().map(|(_, part)| part.amount().to_sat()).collect()
}

#[test]
fn the_fee_comes_first_and_the_rest_follows_the_weights() {
    let value = Amount::from_sat(312_500_000 + 4_237_819);
    let fee = PoolFee::from_basis_points(100).unwrap();
    let split = split(value, fee, &weights(&[5, 3, 2]), AccountId::new(1));
    assert_eq!(split.fee.to_sat(), 3_167_378);
    assert_eq!(sats(&split).iter().map(|(_, sat)| *sat).collect::<Vec<_>>(), [156_785_221, 94_071_132, 62_714_088]);
}

#[test]
fn missing_satoshis_go_to_the_largest_remainders_and_ties_to_the_lower_account() {
    assert_eq!(parts(500_000_000, &[1, 1, 1]), [166_666_667, 166_666_667, 166_666_666]);
    assert_eq!(parts(10, &[1, 1, 1]), [4, 3, 3]);
    assert_eq!(parts(10, &[1, 1, 2, 2]), [2, 2, 3, 3]);
    assert_eq!(parts(312_500_001, &[450, 250, 100]), [175_781_251, 97_656_250, 39_062_500]);
}

/// In floating point, with the rest for the last account, these came to 43 satoshis less than nothing.
#[test]
fn many_equal_miners_and_a_tiny_one_lose_nothing() {
    let mut list = vec![1_000_000_000_000; 103];
    list.push(1);
    let parts = parts(312_500_000, &list);
    assert_eq!(parts.iter().sum::<u64>(), 312_500_000);
    assert_eq!((parts[0], parts[102], parts[103]), (3_033_981, 3_033_980, 0));
}

/// Rounded to four decimals of a bitcoin, up to 5,000 satoshis were lost or given with each payout.
#[test]
fn a_credit_is_exact_beyond_four_decimals() {
    assert_eq!(parts(1_005_000 + 1_014_999, &[1_005_000, 1_014_999]), [1_005_000, 1_014_999]);
}

#[test]
fn without_any_weight_the_fallback_gets_the_rest() {
    let fee = PoolFee::from_basis_points(200).unwrap();
    let split = split(Amount::from_sat(1_000), fee, &BTreeMap::new(), AccountId::new(9));
    assert_eq!(split.fee.to_sat(), 20);
    assert_eq!(split.credits, BTreeMap::from([(AccountId::new(9), Amount::from_sat(980))]));
}

#[test]
fn a_fee_over_the_whole_does_not_exist() {
    assert_eq!(PoolFee::from_basis_points(10_001), None);
    assert_eq!(PoolFee::from_basis_points(10_000).unwrap().on(Amount::MAX_MONEY), Amount::MAX_MONEY);
    assert_eq!(PoolFee::NONE.on(Amount::MAX_MONEY), Amount::ZERO);
}

proptest! {
    #[test]
    fn parts_sum_to_the_whole_and_stay_within_a_satoshi(
        value in 0..=Amount::MAX_MONEY.to_sat(),
        bp in 0..=10_000u16,
        list in proptest::collection::vec(0..=u64::MAX, 1..40),
    ) {
        let fee = PoolFee::from_basis_points(bp).unwrap();
        let weights = weights(&list);
        let split = split(Amount::from_sat(value), fee, &weights, AccountId::new(1));
        let net = value - split.fee.to_sat();
        prop_assert_eq!(split.credits.values().map(|amount| amount.to_sat()).sum::<u64>(), net);
        let whole: u128 = list.iter().map(|&weight| u128::from(weight)).sum();
        if whole > 0 {
            for (account, weight) in &weights {
                let paid = split.credits.get(account).copied().unwrap_or_default().to_sat();
                // |paid - net * weight / whole| < 1, in integers.
                let exact = U512::from(net) * weight;
                prop_assert!((U512::from(paid) * U512::from(whole)).abs_diff(exact) < U512::from(whole));
            }
        }
    }

    #[test]
    fn who_has_which_number_matters_by_a_satoshi_at_most(
        value in 0..1_000_000_000u64,
        list in proptest::collection::vec(1..1_000_000u64, 1..20),
    ) {
        let mut reversed = list.clone();
        reversed.reverse();
        let forth = parts(value, &list);
        let mut back = parts(value, &reversed);
        back.reverse();
        prop_assert!(forth.iter().zip(&back).all(|(a, b)| a.abs_diff(*b) <= 1));
    }
}
