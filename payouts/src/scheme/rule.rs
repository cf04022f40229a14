//! Which scheme splits a pool's blocks, and the frozen rule by which each block was split.
//!
//! A [`Scheme`] is the operator's choice and may change from one run to the next. A [`Rule`] belongs to one block and
//! never changes: from it, the block's own facts and the share log, the split can be worked out again at any time.

use std::{fmt, num::NonZeroU32, str::FromStr};

use bitcoin::{Amount, CompactTarget};

use crate::{
    account::AccountId,
    scheme::{PoolFee, Split, pplns::Pplns, prop::Prop, solo::Solo, tides::Tides, window::Window},
    share::ShareSeq,
};

/// The name of a scheme that splits blocks, as config files and stores write it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SchemeName {
    /// PPLNS.
    Pplns,
    /// TIDES.
    Tides,
    /// PROP.
    Prop,
    /// SOLO.
    Solo,
}

impl SchemeName {
    /// Every scheme with its name.
    pub const ALL: [(Self, &'static str); 4] =
        [(Self::Pplns, "pplns"), (Self::Tides, "tides"), (Self::Prop, "prop"), (Self::Solo, "solo")];
}

impl fmt::Display for SchemeName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(Self::ALL.iter().find(|(name, _)| name == self).expect("every name is listed").1)
    }
}

impl FromStr for SchemeName {
    type Err = UnknownRule;

    fn from_str(text: &str) -> Result<Self, UnknownRule> {
        let known = Self::ALL.iter().find(|(_, known)| *known == text);
        known.map(|(name, _)| *name).ok_or_else(|| UnknownRule(text.to_owned()))
    }
}

/// A text that names no scheme or rule.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("unknown scheme {0:?}")]
pub struct UnknownRule(String);

/// How a pool splits its blocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scheme {
    /// By the newest scores that sum to X.
    Pplns(Pplns),
    /// By the newest work that sums to a multiple of the block's difficulty.
    Tides(Tides),
    /// By the work since the pool's last block.
    Prop(Prop),
    /// All to the finder.
    Solo(Solo),
}

impl Scheme {
    /// Returns a scheme by its name. PROP and SOLO have no use for the window.
    pub const fn new(name: SchemeName, window: NonZeroU32, fee: PoolFee) -> Self {
        match name {
            SchemeName::Pplns => Self::Pplns(Pplns { window, fee }),
            SchemeName::Tides => Self::Tides(Tides { window, fee }),
            SchemeName::Prop => Self::Prop(Prop { fee }),
            SchemeName::Solo => Self::Solo(Solo { fee }),
        }
    }

    /// Returns the scheme's name.
    pub const fn name(&self) -> SchemeName {
        match self {
            Self::Pplns(_) => SchemeName::Pplns,
            Self::Tides(_) => SchemeName::Tides,
            Self::Prop(_) => SchemeName::Prop,
            Self::Solo(_) => SchemeName::Solo,
        }
    }

    /// Returns the pool's part.
    pub const fn fee(&self) -> PoolFee {
        match self {
            Self::Pplns(Pplns { fee, .. }) | Self::Tides(Tides { fee, .. }) => *fee,
            Self::Prop(Prop { fee }) | Self::Solo(Solo { fee }) => *fee,
        }
    }
}

impl From<Pplns> for Scheme {
    fn from(pplns: Pplns) -> Self {
        Self::Pplns(pplns)
    }
}

/// The rule by which one block is split, with all that is not a fact of the block itself. Its text form, by `Display`
/// and `FromStr`, is what stores keep: `pplns window=8 fee_bp=100`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rule {
    /// PPLNS.
    Pplns(Pplns),
    /// TIDES.
    Tides(Tides),
    /// PROP, with where its round begins.
    Prop {
        /// The scheme.
        prop: Prop,
        /// The position at which the job of the pool's block before was issued; 0 for the first block.
        last_block: ShareSeq,
    },
    /// SOLO.
    Solo(Solo),
}

impl Rule {
    /// Returns the pool's part.
    pub const fn fee(&self) -> PoolFee {
        match self {
            Self::Pplns(Pplns { fee, .. }) | Self::Tides(Tides { fee, .. }) => *fee,
            Self::Prop { prop: Prop { fee }, .. } | Self::Solo(Solo { fee }) => *fee,
        }
    }

    /// Returns the empty window of a block that met the target `nbits`; nothing if shares do not matter.
    pub fn open_window(&self, nbits: CompactTarget) -> Option<Window> {
        match self {
            Self::Pplns(pplns) => Some(pplns.open_window()),
            Self::Tides(tides) => Some(tides.open_window(nbits)),
            Self::Prop { prop, last_block } => Some(prop.open_round(*last_block)),
            Self::Solo(_) => None,
        }
    }

    /// Splits what a block's coinbase paid. Without a window, or with an empty one, the finder gets it.
    pub fn split(&self, value: Amount, window: Option<&Window>, finder: AccountId) -> Split {
        match (self, window) {
            (Self::Pplns(pplns), Some(window)) => pplns.split(value, window, finder),
            (Self::Tides(tides), Some(window)) => tides.split(value, window, finder),
            (Self::Prop { prop, .. }, Some(window)) => prop.split(value, window, finder),
            (Self::Solo(solo), _) => solo.split(value, finder),
            (_, None) => Solo { fee: self.fee() }.split(value, finder),
        }
    }
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let fee_bp = self.fee().basis_points();
        match self {
            Self::Pplns(Pplns { window, .. }) => write!(f, "pplns window={window} fee_bp={fee_bp}"),
            Self::Tides(Tides { window, .. }) => write!(f, "tides window={window} fee_bp={fee_bp}"),
            Self::Prop { last_block, .. } => write!(f, "prop last_block={last_block} fee_bp={fee_bp}"),
            Self::Solo(_) => write!(f, "solo fee_bp={fee_bp}"),
        }
    }
}

impl FromStr for Rule {
    type Err = UnknownRule;

    fn from_str(text: &str) -> Result<Self, UnknownRule> {
        parse(text).filter(|rule| rule.to_string() == text).ok_or_else(|| UnknownRule(text.to_owned()))
    }
}

/// Reads a rule whose values stand in the order in which they are written.
fn parse(text: &str) -> Option<Rule> {
    let mut words = text.split(' ');
    let name = words.next()?.parse().ok()?;
    let mut value = |key: &str| words.next()?.strip_prefix(key)?.strip_prefix('=');
    Some(match name {
        SchemeName::Pplns => Rule::Pplns(Pplns { window: value("window")?.parse().ok()?, fee: fee(value("fee_bp")?)? }),
        SchemeName::Tides => Rule::Tides(Tides { window: value("window")?.parse().ok()?, fee: fee(value("fee_bp")?)? }),
        SchemeName::Prop => Rule::Prop {
            last_block: ShareSeq::new(value("last_block")?.parse().ok()?),
            prop: Prop { fee: fee(value("fee_bp")?)? },
        },
        SchemeName::Solo => Rule::Solo(Solo { fee: fee(value("fee_bp")?)? }),
    })
}

fn fee(basis_points: &str) -> Option<PoolFee> {
    PoolFee::from_basis_points(basis_points.parse().ok()?)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use proptest::prelude::*;

    use super::*;
    use crate::scheme::window::tests::{DIFFICULTY_1, DIFFICULTY_2, FINDER, counted};

    #[test]
    fn rules_are_read_as_they_were_written() {
        let fee = PoolFee::from_basis_points(150).unwrap();
        let window = NonZeroU32::new(9).unwrap();
        for (rule, text) in [
            (Rule::Pplns(Pplns { window, fee }), "pplns window=9 fee_bp=150"),
            (Rule::Tides(Tides { window, fee }), "tides window=9 fee_bp=150"),
            (Rule::Prop { prop: Prop { fee }, last_block: ShareSeq::new(7) }, "prop last_block=7 fee_bp=150"),
            (Rule::Solo(Solo { fee }), "solo fee_bp=150"),
        ] {
            assert_eq!(rule.to_string(), text);
            assert_eq!(text.parse(), Ok(rule));
            assert_eq!(rule.fee(), fee);
        }
    }

    #[test]
    fn other_texts_are_no_rules() {
        for text in [
            "",
            "pplns",
            "fpps fee_bp=1",
            "pplns window=0 fee_bp=1",
            "pplns window=8 fee_bp=10001",
            "pplns fee_bp=1 window=8",
            "pplns window=08 fee_bp=1",
            "solo fee_bp=1 more",
        ] {
            assert_eq!(text.parse::<Rule>(), Err(UnknownRule(text.to_owned())));
        }
    }

    #[test]
    fn a_scheme_is_found_by_its_name() {
        let (window, fee) = (NonZeroU32::new(8).unwrap(), PoolFee::from_basis_points(30).unwrap());
        for (name, text) in SchemeName::ALL {
            assert_eq!(text.parse(), Ok(name));
            let scheme = Scheme::new(name, window, fee);
            assert_eq!((scheme.name(), scheme.fee()), (name, fee));
        }
    }

    fn split(rule: &str, shares: &[(AccountId, i8, u32)], sat: u64) -> Split {
        let rule: Rule = rule.parse().unwrap();
        let window = rule.open_window(CompactTarget::from_consensus(DIFFICULTY_1));
        let window = window.map(|window| counted(window, shares));
        rule.split(Amount::from_sat(sat), window.as_ref(), FINDER)
    }

    proptest! {
        #[test]
        fn whatever_the_rule_a_block_is_paid_out_whole_and_only_to_who_worked(
            name in (0..4usize).prop_map(|index| SchemeName::ALL[index].0),
            fee_bp in 0..=10_000u16,
            shares in proptest::collection::vec((1..6i64, -6..4i8, any::<bool>()), 0..40),
            sat in 0..=Amount::MAX_MONEY.to_sat(),
        ) {
            let rule = match name {
                SchemeName::Pplns | SchemeName::Tides => format!("{name} window=3 fee_bp={fee_bp}"),
                SchemeName::Prop => format!("{name} last_block=4 fee_bp={fee_bp}"),
                SchemeName::Solo => format!("{name} fee_bp={fee_bp}"),
            };
            let nbits = |late| if late { DIFFICULTY_1 } else { DIFFICULTY_2 };
            let shares = shares.into_iter().map(|(id, log2, late)| (AccountId::new(id), log2, nbits(late)));
            let shares: Vec<_> = shares.collect();
            let split = split(&rule, &shares, sat);
            let credited: u64 = split.credits.values().map(|amount| amount.to_sat()).sum();
            prop_assert_eq!(split.fee.to_sat() + credited, sat);
            let worked = |account: AccountId| shares.iter().any(|share| share.0 == account);
            let is_shared = name != SchemeName::Solo && shares.len() > if name == SchemeName::Prop { 4 } else { 0 };
            for &account in split.credits.keys() {
                prop_assert_eq!(account == FINDER, !is_shared);
                prop_assert!(account == FINDER || worked(account));
            }
        }

        #[test]
        fn without_a_retarget_tides_and_pplns_are_the_same(
            shares in proptest::collection::vec((1..6i64, -6..4i8), 0..40),
            sat in 0..=Amount::MAX_MONEY.to_sat(),
        ) {
            let shares: Vec<_> =
                shares.into_iter().map(|(id, log2)| (AccountId::new(id), log2, DIFFICULTY_1)).collect();
            let [pplns, tides] = ["pplns", "tides"].map(|name| split(&format!("{name} window=2 fee_bp=7"), &shares, sat));
            prop_assert_eq!(pplns, tides);
        }
    }
}
