//! What the books should say, worked out anew and simply: who is credited what of a block.

use std::collections::BTreeMap;

use bitcoin::Amount;
use payouts::{AccountId, ShareSeq};
use ruint::aliases::U1024;

/// What a share of the network's difficulty scores: the target of difficulty 1 times 2^32. The unit matters only for
/// what is rounded at the edge of a window.
const ONE_MANTISSA: u64 = 0xffff;
const ONE_LOG2: u16 = 208 + 32;

/// PPLNS: how many blocks' worth of work a block pays for, and the pool's part.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ModelRule {
    pub(crate) window: u32,
    pub(crate) fee_bp: u16,
}

/// Shares that are on record: equal ones of one account, stored together.
#[derive(Clone, Debug)]
pub(crate) struct ModelGroup {
    pub(crate) session: i64,
    /// No two of a session have the same.
    pub(crate) number: i64,
    /// The segment of the share log that it is in, maybe with others.
    pub(crate) segment: ShareSeq,
    pub(crate) account: AccountId,
    pub(crate) count: u8,
    pub(crate) log2: i8,
    /// The network's difficulty when they came is two to this power.
    pub(crate) network_log2: u8,
}

impl ModelGroup {
    /// The sum of its shares' scores, d/D each.
    fn score(&self) -> U1024 {
        let log2 = i16::from(self.log2) - i16::from(self.network_log2);
        let one =
            U1024::from(ONE_MANTISSA) << usize::from(ONE_LOG2.checked_add_signed(log2).expect("scores are ordinary"));
        one * U1024::from(self.count)
    }
}

/// Splits what a coinbase paid over the shares before its job: the pool's fee, and the credits.
pub(crate) fn split<'a>(
    rule: ModelRule,
    value: Amount,
    shares: impl Iterator<Item = &'a ModelGroup>,
    finder: AccountId,
) -> (Amount, BTreeMap<AccountId, Amount>) {
    let fee = value.to_sat() * u64::from(rule.fee_bp) / 10_000;
    let net = U1024::from(value.to_sat() - fee);
    let mut segments: BTreeMap<ShareSeq, BTreeMap<AccountId, U1024>> = BTreeMap::new();
    for group in shares {
        *segments.entry(group.segment).or_default().entry(group.account).or_default() += group.score();
    }
    let mut left = U1024::from(rule.window) * (U1024::from(ONE_MANTISSA) << usize::from(ONE_LOG2));
    let mut scores: BTreeMap<AccountId, U1024> = BTreeMap::new();
    for segment in segments.values().rev() {
        // At the edge each account counts for the same part; what that leaves goes by running sums, rounded down.
        let whole: U1024 = segment.values().copied().sum();
        let counted = whole.min(left);
        left -= counted;
        let (mut through, mut given) = (U1024::ZERO, U1024::ZERO);
        for (&account, &score) in segment {
            through += score;
            let due = counted * through / whole;
            *scores.entry(account).or_default() += due - given;
            given = due;
        }
    }
    scores.retain(|_, score| !score.is_zero());
    if scores.is_empty() {
        scores.insert(finder, U1024::ONE);
    }
    let total: U1024 = scores.values().copied().sum();
    let mut credits: BTreeMap<_, _> =
        scores.iter().map(|(&account, &score)| (account, (net * score / total).to::<u64>())).collect();
    let missing = net.to::<u64>() - credits.values().sum::<u64>();
    let mut by_remainder: Vec<_> = scores.iter().map(|(&account, &score)| (net * score % total, account)).collect();
    by_remainder.sort_by(|one, other| other.0.cmp(&one.0).then(one.1.cmp(&other.1)));
    for (_, account) in by_remainder.into_iter().take(missing as usize) {
        *credits.get_mut(&account).expect("every score has a credit") += 1;
    }
    credits.retain(|_, sat| *sat > 0);
    let sats = credits.into_iter().map(|(account, sat)| (account, Amount::from_sat(sat))).collect();
    (Amount::from_sat(fee), sats)
}
