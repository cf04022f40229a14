//! Why a credit is what it is: every factor from shares to satoshis, as data and as text. Pure.

use std::fmt;

use bitcoin::Amount;
use ruint::aliases::U512;

use crate::{
    account::AccountId,
    scheme::{
        apportion,
        rule::Rule,
        window::{Counted, EdgeShare, Measure, Window},
    },
    share::ShareSeq,
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
    /// The pool's fee.
    pub fee: Amount,
    /// How the account came to its part.
    pub basis: Basis,
    /// What it is credited.
    pub credit: Amount,
}

/// How an account came to its part.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Basis {
    /// By its shares in the window.
    Shares(Box<SharesBasis>),
    /// No shares matter: the finder gets all. Whether that is this account.
    Finder(bool),
}

/// An account's part of a window.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SharesBasis {
    /// What shares are measured by.
    pub measure: Measure,
    /// X or its like: the weight that the window holds at most. Nothing if a position ends it.
    pub size: Option<U512>,
    /// The positions of the oldest and the newest share that count.
    pub span: (ShareSeq, ShareSeq),
    /// The share of which only a part counts.
    pub edge: Option<EdgeShare>,
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

impl Explanation {
    /// Works out an account's credit of a block whose coinbase paid `value`, by its rule and with its window counted.
    pub fn of(rule: Rule, value: Amount, window: Option<&Window>, finder: AccountId, account: AccountId) -> Self {
        let fee = rule.fee().on(value);
        let net = value - fee;
        let (basis, credit) = match window.and_then(|window| Some((window, window.span()?))) {
            None => {
                let is_finder = account == finder;
                (Basis::Finder(is_finder), if is_finder { net } else { Amount::ZERO })
            }
            Some((window, span)) => {
                let part = apportion(net, &window.weights()).remove(&account);
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
        Self { account, rule, value, fee, basis, credit }
    }
}

impl fmt::Display for Explanation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (value, fee) = (self.value.to_sat(), self.fee.to_sat());
        let net = value - fee;
        writeln!(f, "Rule      {}", self.rule)?;
        writeln!(f, "Coinbase  {value} sat")?;
        writeln!(f, "Pool fee  {value} * {} / 10000 = {fee} sat, rounded down", self.rule.fee().basis_points())?;
        writeln!(f, "To split  {value} - {fee} = {net} sat")?;
        match &self.basis {
            Basis::Finder(true) => writeln!(f, "Account   {} found the block: all of it", self.account)?,
            Basis::Finder(false) => writeln!(f, "Account   {} did not find the block: nothing of it", self.account)?,
            Basis::Shares(basis) => basis.write(f, self.account, net)?,
        }
        writeln!(f, "Credit    {} sat", self.credit.to_sat())
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
            "Window    shares {oldest} to {newest}: {} with {} of {unit}",
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
            writeln!(
                f,
                "Edge      share {} of account {} counts for {counted} of its {weight}",
                edge.seq, edge.account
            )?;
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

    #[test]
    fn every_factor_is_told() {
        let rule: Rule = "pplns window=3 fee_bp=100".parse().unwrap();
        let window = window_of(rule, &[(BOB, 5), (CAROL, 1), (ALICE, 0), (BOB, -1), (ALICE, -1)]);
        let explanation = Explanation::of(rule, Amount::from_sat(1_012), window.as_ref(), FINDER, ALICE);
        assert_eq!(
            explanation.to_string(),
            "\
                 Rule      pplns window=3 fee_bp=100\n\
                 Coinbase  1012 sat\n\
                 Pool fee  1012 * 100 / 10000 = 10 sat, rounded down\n\
                 To split  1012 - 10 = 1002 sat\n\
                 Window    shares 2 to 5: 4 with 3.000000000 of score (difficulty over the network's at submission); it is full\n\
                 Edge      share 2 of account 3 counts for 1.000000000 of its 2.000000000\n\
                 Account   1: 2 shares with 1.500000000\n\
                 Part      1 / 2\n\
                 Exact     1002 * part = 501 + 0 / 1 sat\n\
                 Rounding  none\n\
                 Credit    501 sat\n"
        );
    }

    #[test]
    fn the_satoshi_for_the_largest_remainder_is_told() {
        let rule: Rule = "prop last_block=1 fee_bp=0".parse().unwrap();
        let window = window_of(rule, &[(FINDER, 9), (ALICE, 0), (BOB, 0), (CAROL, 0)]);
        let text = |account| Explanation::of(rule, Amount::from_sat(10), window.as_ref(), FINDER, account).to_string();
        assert!(text(ALICE).contains("Exact     10 * part = 3 + 1 / 3 sat\nRounding  down, then 1 sat more"));
        assert!(text(ALICE).contains("3.000000000 of difficulty since the pool's last block"));
        assert!(text(BOB).contains("Rounding  down: ") && text(BOB).ends_with("Credit    3 sat\n"));
        assert!(text(FINDER).ends_with("Credit    0 sat\n"));
    }

    #[test]
    fn a_finder_is_told_so() {
        let rule: Rule = "solo fee_bp=500".parse().unwrap();
        let explanation = Explanation::of(rule, Amount::from_sat(1_000), None, FINDER, FINDER);
        assert!(explanation.to_string().ends_with("Account   99 found the block: all of it\nCredit    950 sat\n"));
        assert_eq!(Explanation::of(rule, Amount::from_sat(1_000), None, FINDER, ALICE).credit, Amount::ZERO);
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
            ],
        ) {
            let rule: Rule = rule.parse().unwrap();
            let shares: Vec<_> = shares.into_iter().map(|(id, log2)| (AccountId::new(id), log2)).collect();
            let window = window_of(rule, &shares);
            let value = Amount::from_sat(sat);
            let split = rule.split(value, window.as_ref(), FINDER);
            for account in (1..6).map(AccountId::new).chain([FINDER]) {
                let explanation = Explanation::of(rule, value, window.as_ref(), FINDER, account);
                prop_assert_eq!(explanation.credit, split.credits.get(&account).copied().unwrap_or_default());
                prop_assert_eq!(explanation.fee, split.fee);
                if let Basis::Shares(basis) = &explanation.basis {
                    // net * own = floor * total + remainder, exactly.
                    let net = U512::from((value - split.fee).to_sat());
                    let exact = U512::from(basis.floor.to_sat()) * basis.total.weight + basis.remainder;
                    prop_assert_eq!(exact, net * basis.own.weight);
                    prop_assert!(basis.remainder < basis.total.weight);
                }
                prop_assert!(!explanation.to_string().is_empty());
            }
        }
    }
}
