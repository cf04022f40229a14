//! Why a credit is what it is: every factor from shares to satoshis, as data and as text. Pure.

use std::fmt;

use bitcoin::Amount;
use ruint::aliases::{U512, U1024};

use crate::{
    account::AccountId,
    scheme::{
        BlockReward, apportion,
        rule::Rule,
        slice::{FeeParts, SlicePart},
        window::{Counted, EdgeSegment, Measure, Window},
    },
    share::{ShareSeq, Work},
};

/// Decimals in which scores are told to people.
const DECIMALS: usize = 9;
/// Ten to the power of [`DECIMALS`].
const DECIMAL_UNITS: u64 = 1_000_000_000;

/// One account's credit of one block, worked out step by step.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Explanation {
    /// Whose credit it is.
    pub account: AccountId,
    /// The rule by which the block was split.
    pub rule: Rule,
    /// What the coinbase paid.
    pub value: Amount,
    /// The part of it that goes to the reserve of PPS; the rest is split.
    pub reserve: Amount,
    /// The pool's fee on what is split.
    pub fee: Amount,
    /// How the account came to its part.
    pub basis: Basis,
    /// What it earned.
    pub credit: Amount,
}

/// How an account came to its part.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Basis {
    /// By its shares in the window.
    Shares(Box<SharesBasis>),
    /// By its shares in the slices of the window.
    Slices(Box<SlicesBasis>),
    /// No shares matter: the finder gets all. Whether that is this account.
    Finder(bool),
    /// Nothing is split: work is paid out of the reserve, by the period.
    Reserve,
}

/// An account's part of a window.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SharesBasis {
    /// What shares are measured by.
    pub measure: Measure,
    /// X or its like: the weight that the window holds at most. Nothing if a position ends it.
    pub size: Option<U512>,
    /// The positions of the oldest and the newest segment that count.
    pub span: (ShareSeq, ShareSeq),
    /// The segment of which only a part counts.
    pub edge: Option<EdgeSegment>,
    /// What was counted of all accounts: the denominator.
    pub total: Counted,
    /// What was counted of this account: the numerator.
    pub own: Counted,
    /// The exact part, rounded down.
    pub floor: Amount,
    /// What was cut off, in parts of the total weight of a satoshi.
    pub remainder: U512,
    /// Whether the remainder was among the largest, which got a satoshi each.
    pub rounded_up: bool,
}

/// An account's part of the slices of a window.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SlicesBasis {
    /// The positions of the oldest and the newest segment that count.
    pub span: (ShareSeq, ShareSeq),
    /// The segment of which only a part counts.
    pub edge: Option<EdgeSegment>,
    /// The number of slices with work in them.
    pub slices: u64,
    /// Which part of the fees each gets.
    pub fee_parts: FeeParts,
    /// What is split by work.
    pub subsidy: Amount,
    /// What is split by the fees of jobs.
    pub fees: Amount,
    /// The work of all accounts.
    pub work: Work,
    /// The account's work and its part of the fees.
    pub own: SlicePart,
    /// The exact part, rounded down.
    pub floor: Amount,
    /// What was cut off, in units of 2^-128 satoshi.
    pub remainder: U1024,
    /// Whether the remainder was among the largest, which got a satoshi each.
    pub rounded_up: bool,
}

impl Explanation {
    /// Works out what an account earned of a block with this reward, by its rule and with its window counted.
    pub fn of(rule: Rule, reward: BlockReward, window: Option<&Window>, finder: AccountId, account: AccountId) -> Self {
        let (value, reserve) = (reward.value, rule.reserve(reward));
        let fee = rule.fee().on(value - reserve);
        let net = value - reserve - fee;
        let (basis, credit) = match window.and_then(|window| Some((window, window.span()?))) {
            None if reserve == value && value > Amount::ZERO => (Basis::Reserve, Amount::ZERO),
            None => {
                let is_finder = account == finder;
                (Basis::Finder(is_finder), if is_finder { net } else { Amount::ZERO })
            }
            Some((window, span)) if let (Rule::Slice(slice), Some(all)) = (rule, window.slices()) => {
                let parts = slice.apportion(reward, all);
                let part = parts.binary_search_by_key(&account, |(account, _)| *account).ok().map(|at| parts[at].1);
                let (_, subsidy, fees) = slice.net(reward);
                let basis = SlicesBasis {
                    span,
                    edge: window.edge(),
                    slices: all.slices,
                    fee_parts: slice.fee_parts,
                    subsidy,
                    fees,
                    work: all.work(),
                    own: all.accounts.get(&account).copied().unwrap_or_default(),
                    floor: part.map(|part| part.floor).unwrap_or_default(),
                    remainder: part.map(|part| part.remainder).unwrap_or_default(),
                    rounded_up: part.is_some_and(|part| part.rounded_up),
                };
                (Basis::Slices(Box::new(basis)), part.map(|part| part.amount()).unwrap_or_default())
            }
            Some((window, span)) => {
                let parts = apportion(net, &window.weights());
                let part = parts.binary_search_by_key(&account, |(account, _)| *account).ok().map(|at| parts[at].1);
                let basis = SharesBasis {
                    measure: window.measure(),
                    size: window.size(),
                    span,
                    edge: window.edge(),
                    total: window.total(),
                    own: window.counted(account),
                    floor: part.map(|part| part.floor).unwrap_or_default(),
                    remainder: part.map(|part| part.remainder).unwrap_or_default(),
                    rounded_up: part.is_some_and(|part| part.rounded_up),
                };
                (Basis::Shares(Box::new(basis)), part.map(|part| part.amount()).unwrap_or_default())
            }
        };
        Self { account, rule, value, reserve, fee, basis, credit }
    }
}

impl fmt::Display for Explanation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (value, fee) = (self.value.to_sat(), self.fee.to_sat());
        let (reserve, rest) = (self.reserve.to_sat(), value - self.reserve.to_sat());
        let net = rest - fee;
        writeln!(f, "Rule      {}", self.rule)?;
        writeln!(f, "Coinbase  {value} sat")?;
        if reserve > 0 {
            writeln!(f, "Reserve   {reserve} sat, out of which work is paid; {rest} sat are left")?;
        }
        writeln!(f, "Pool fee  {rest} * {} / 10000 = {fee} sat, rounded down", self.rule.fee().basis_points())?;
        writeln!(f, "To split  {rest} - {fee} = {net} sat")?;
        match &self.basis {
            Basis::Reserve => {
                writeln!(f, "Account   {}: nothing of the block; its work was paid by the period", self.account)?
            }
            Basis::Finder(true) => writeln!(f, "Account   {} found the block: all of it", self.account)?,
            Basis::Finder(false) => writeln!(f, "Account   {} did not find the block: nothing of it", self.account)?,
            Basis::Shares(basis) => basis.write(f, self.account, net)?,
            Basis::Slices(basis) => basis.write(f, self.account)?,
        }
        writeln!(f, "Earned    {} sat", self.credit.to_sat())
    }
}

impl SharesBasis {
    fn write(&self, f: &mut fmt::Formatter<'_>, account: AccountId, net: u64) -> fmt::Result {
        let decimal = |weight| Decimal(weight, self.measure.one());
        let unit = match self.measure {
            Measure::NetworkAtSubmission => "score (difficulty over the network's at submission)",
            Measure::NetworkAtBlock(_) => "work (difficulty over the block's)",
            Measure::Work => "difficulty",
        };
        let (oldest, newest) = self.span;
        write!(
            f,
            "Window    segments {oldest} to {newest}: {} shares with {} of {unit}",
            self.total.shares,
            decimal(self.total.weight)
        )?;
        match self.size {
            Some(size) if size == self.total.weight => writeln!(f, "; it is full")?,
            Some(size) => writeln!(f, "; it holds {}, so what there is counts as the whole", decimal(size))?,
            None => writeln!(f, " since the pool's last block")?,
        }
        if let Some(edge) = self.edge {
            let (counted, weight) = (decimal(edge.counted), decimal(edge.weight));
            writeln!(f, "Edge      segment {} counts for {counted} of its {weight}", edge.position)?;
        }
        let common = self.own.weight.gcd(self.total.weight);
        let (own, total) = (self.own.weight / common, self.total.weight / common);
        writeln!(f, "Account   {account}: {} shares with {}", self.own.shares, decimal(self.own.weight))?;
        writeln!(f, "Part      {own} / {total}")?;
        let common = self.remainder.gcd(self.total.weight);
        let (remainder, whole) = (self.remainder / common, self.total.weight / common);
        writeln!(f, "Exact     {net} * part = {} + {remainder} / {whole} sat", self.floor.to_sat())?;
        match (self.rounded_up, self.remainder.is_zero()) {
            (true, _) => writeln!(f, "Rounding  down, then 1 sat more: its remainder is among the largest"),
            (false, true) => writeln!(f, "Rounding  none"),
            (false, false) => writeln!(f, "Rounding  down: the satoshis left over went to larger remainders"),
        }
    }
}

impl SlicesBasis {
    fn write(&self, f: &mut fmt::Formatter<'_>, account: AccountId) -> fmt::Result {
        let ((oldest, newest), slices) = (self.span, self.slices);
        let each = match self.fee_parts {
            FeeParts::Equal => "the same for each",
            FeeParts::ByWork => "by the work in each",
        };
        writeln!(f, "Window    segments {oldest} to {newest}, in {slices} slices with work; fees go {each}")?;
        if let Some(edge) = self.edge {
            let one = Measure::NetworkAtSubmission.one();
            let (counted, weight) = (Decimal(edge.counted, one), Decimal(edge.weight, one));
            writeln!(f, "Edge      segment {} counts for {counted} of its {weight}", edge.position)?;
        }
        let (own, total) = (U512::from(self.own.work.units()), U512::from(self.work.units()));
        let (decimal, one) = (|work| Decimal(work, Measure::Work.one()), U512::ONE << 256);
        writeln!(f, "Account   {account}: {} of {} of difficulty", decimal(own), decimal(total))?;
        let common = own.gcd(total);
        let (own, total) = (own / common, total / common);
        let by_work = U512::from(self.subsidy.to_sat()) * own;
        writeln!(f, "Subsidy   {} * {own} / {total} = {} sat", self.subsidy.to_sat(), Decimal(by_work, total))?;
        let (fees, part) = (self.fees.to_sat(), self.own.fees);
        let by_fees = U512::from(fees) * part;
        writeln!(f, "Fees      {fees} * {part} / 2^256 = {} sat: its difficulty", Decimal(by_fees, one))?;
        writeln!(f, "          times the fees of its jobs, over that of all, summed over the slices")?;
        let remainder = Decimal(U512::from(self.remainder), U512::ONE << 128);
        writeln!(f, "Exact     {} sat and {remainder}", self.floor.to_sat())?;
        match (self.rounded_up, self.remainder.is_zero()) {
            (true, _) => writeln!(f, "Rounding  down, then 1 sat more: its remainder is among the largest"),
            (false, true) => writeln!(f, "Rounding  none"),
            (false, false) => writeln!(f, "Rounding  down: the satoshis left over went to larger remainders"),
        }
    }
}

/// A weight over the one that counts as one, cut off after [`DECIMALS`].
struct Decimal(U512, U512);

impl fmt::Display for Decimal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (whole, rest) = self.0.div_rem(self.1);
        let fraction = rest * U512::from(DECIMAL_UNITS) / self.1;
        write!(f, "{whole}.{:0DECIMALS$}", fraction.to::<u64>())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use bitcoin::CompactTarget;
    use proptest::prelude::*;

    use super::*;
    use crate::scheme::window::tests::{ALICE, BOB, CAROL, DIFFICULTY_1, FINDER, counted};

    /// Counts shares of difficulty 2^log2, given oldest first at the positions from 1.
    fn window_of(rule: Rule, shares: &[(AccountId, i8)]) -> Option<Window> {
        let shares: Vec<_> = shares.iter().map(|&(account, log2)| (account, log2, DIFFICULTY_1)).collect();
        Some(counted(rule.open_window(CompactTarget::from_consensus(DIFFICULTY_1))?, &shares))
    }

    fn reward(sat: u64) -> BlockReward {
        BlockReward { value: Amount::from_sat(sat), subsidy: Amount::from_sat(sat / 2) }
    }

    #[test]
    fn every_factor_is_told() {
        let rule: Rule = "pplns window=3 fee_bp=100".parse().unwrap();
        let window = window_of(rule, &[(BOB, 5), (CAROL, 1), (ALICE, 0), (BOB, -1), (ALICE, -1)]);
        let explanation = Explanation::of(rule, reward(1_012), window.as_ref(), FINDER, ALICE);
        assert_eq!(
            explanation.to_string(),
            "\
                 Rule      pplns window=3 fee_bp=100\n\
                 Coinbase  1012 sat\n\
                 Pool fee  1012 * 100 / 10000 = 10 sat, rounded down\n\
                 To split  1012 - 10 = 1002 sat\n\
                 Window    segments 2 to 5: 4 shares with 3.000000000 of score (difficulty over the network's at submission); it is full\n\
                 Edge      segment 2 counts for 1.000000000 of its 2.000000000\n\
                 Account   1: 2 shares with 1.500000000\n\
                 Part      1 / 2\n\
                 Exact     1002 * part = 501 + 0 / 1 sat\n\
                 Rounding  none\n\
                 Earned    501 sat\n"
        );
    }

    #[test]
    fn the_satoshi_for_the_largest_remainder_is_told() {
        let rule: Rule = "prop last_block=1 fee_bp=0".parse().unwrap();
        let window = window_of(rule, &[(FINDER, 9), (ALICE, 0), (BOB, 0), (CAROL, 0)]);
        let text = |account| Explanation::of(rule, reward(10), window.as_ref(), FINDER, account).to_string();
        assert!(text(ALICE).contains("Exact     10 * part = 3 + 1 / 3 sat\nRounding  down, then 1 sat more"));
        assert!(text(ALICE).contains("3.000000000 of difficulty since the pool's last block"));
        assert!(text(BOB).contains("Rounding  down: ") && text(BOB).ends_with("Earned    3 sat\n"));
        assert!(text(FINDER).ends_with("Earned    0 sat\n"));
    }

    #[test]
    fn a_finder_is_told_so() {
        let rule: Rule = "solo fee_bp=500".parse().unwrap();
        let explanation = Explanation::of(rule, reward(1_000), None, FINDER, FINDER);
        assert!(explanation.to_string().ends_with("Account   99 found the block: all of it\nEarned    950 sat\n"));
        assert_eq!(Explanation::of(rule, reward(1_000), None, FINDER, ALICE).credit, Amount::ZERO);
    }

    proptest! {
        #[test]
        fn what_is_explained_is_what_was_split(
            sat in 0..1_000_000_000u64,
            shares in proptest::collection::vec((1..6i64, -4..4i8), 0..40),
            rule in prop_oneof![
                Just("pplns window=3 fee_bp=123"),
                Just("tides window=2 fee_bp=0"),
                Just("prop last_block=5 fee_bp=9999"),
                Just("solo fee_bp=10000"),
                Just("pps fee_bp=100"),
                Just("fpps fee_bp=100"),
                Just("pps+ window=2 fee_bp=100"),
            ],
        ) {
            let rule: Rule = rule.parse().unwrap();
            let shares: Vec<_> = shares.into_iter().map(|(id, log2)| (AccountId::new(id), log2)).collect();
            let window = window_of(rule, &shares);
            let reward = reward(sat);
            let split = rule.split(reward, window.as_ref(), FINDER);
            for account in (1..6).map(AccountId::new).chain([FINDER]) {
                let explanation = Explanation::of(rule, reward, window.as_ref(), FINDER, account);
                prop_assert_eq!(explanation.credit, split.credits.get(&account).copied().unwrap_or_default());
                prop_assert_eq!((explanation.fee, explanation.reserve), (split.fee, split.reserve));
                if let Basis::Shares(basis) = &explanation.basis {
                    // net * own = floor * total + remainder, exactly.
                    let net = U512::from((reward.value - split.reserve - split.fee).to_sat());
                    let exact = U512::from(basis.floor.to_sat()) * basis.total.weight + basis.remainder;
                    prop_assert_eq!(exact, net * basis.own.weight);
                    prop_assert!(basis.remainder < basis.total.weight);
                }
                prop_assert!(!explanation.to_string().is_empty());
            }
        }
    }
}
