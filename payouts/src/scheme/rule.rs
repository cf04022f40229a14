//! Which scheme a pool pays by, and the frozen rule by which each block was split.
//!
//! A [`Scheme`] is the operator's choice and may change from one run to the next. A [`Rule`] belongs to one block and
//! never changes: from it, the block's own facts and the share log, the split can be worked out again at any time.

use std::{fmt, num::NonZeroU32, str::FromStr};

use bitcoin::{Amount, CompactTarget};

use crate::{
    account::AccountId,
    scheme::{
        BlockReward, PoolFee, Split,
        pplns::Pplns,
        pps::Pps,
        pps_plus::PpsPlus,
        prop::Prop,
        slice::{FeeParts, SliceRule},
        solo::Solo,
        tides::Tides,
        window::Window,
    },
    share::ShareSeq,
};

/// The name of a scheme, as config files and stores write it.
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
    /// PPS.
    Pps,
    /// FPPS.
    Fpps,
    /// PPS+.
    PpsPlus,
    /// SLICE in the form of its paper.
    Slice,
    /// SLICE with the fees divided among slices by their work.
    SliceWeighted,
}

impl SchemeName {
    /// Every scheme with its name.
    pub const ALL: [(Self, &'static str); 9] = [
        (Self::Pplns, "pplns"),
        (Self::Tides, "tides"),
        (Self::Prop, "prop"),
        (Self::Solo, "solo"),
        (Self::Pps, "pps"),
        (Self::Fpps, "fpps"),
        (Self::PpsPlus, "pps+"),
        (Self::Slice, "slice"),
        (Self::SliceWeighted, "slice-weighted"),
    ];
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

/// How a pool pays. Its text form, by `Display` and `FromStr`, is what is kept with a found block until it is booked:
/// `pplns window=8 fee_bp=100`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Scheme {
    /// By the newest scores that sum to X.
    Pplns(Pplns),
    /// By the newest work that sums to a multiple of the block's difficulty.
    Tides(Tides),
    /// By the work since the pool's last block.
    Prop(Prop),
    /// All to the finder.
    Solo(Solo),
    /// All to the reserve, which pays work by its expected worth without fees.
    Pps(Pps),
    /// All to the reserve, which pays work by its expected worth with the network's fees.
    Fpps(Pps),
    /// The subsidy to the reserve, which pays work as PPS does; the fees by PPLNS.
    PpsPlus(PpsPlus),
    /// The subsidy by the newest scores that sum to X, the fees by the jobs that these were found on.
    Slice(SliceRule),
}

impl Scheme {
    /// Returns a scheme by its name. Only PPLNS, TIDES, PPS+ and SLICE have use for the window.
    pub const fn new(name: SchemeName, window: NonZeroU32, fee: PoolFee) -> Self {
        match name {
            SchemeName::Pplns => Self::Pplns(Pplns { window, fee }),
            SchemeName::Tides => Self::Tides(Tides { window, fee }),
            SchemeName::Prop => Self::Prop(Prop { fee }),
            SchemeName::Solo => Self::Solo(Solo { fee }),
            SchemeName::Pps => Self::Pps(Pps { fee }),
            SchemeName::Fpps => Self::Fpps(Pps { fee }),
            SchemeName::PpsPlus => Self::PpsPlus(PpsPlus { fees: Pplns { window, fee } }),
            SchemeName::Slice => Self::slice(FeeParts::Equal, window, fee),
            SchemeName::SliceWeighted => Self::slice(FeeParts::ByWork, window, fee),
        }
    }

    const fn slice(fee_parts: FeeParts, window: NonZeroU32, fee: PoolFee) -> Self {
        Self::Slice(SliceRule { fee_parts, window, growth: SliceRule::DEFAULT_GROWTH, fee })
    }

    /// Returns it with slices that end when the fees have grown by so much. Only SLICE has use for that.
    pub const fn with_fee_growth(self, growth: Amount) -> Self {
        match self {
            Self::Slice(slice) => Self::Slice(SliceRule { growth, ..slice }),
            other => other,
        }
    }

    /// Returns the scheme's name.
    pub const fn name(&self) -> SchemeName {
        match self {
            Self::Pplns(_) => SchemeName::Pplns,
            Self::Tides(_) => SchemeName::Tides,
            Self::Prop(_) => SchemeName::Prop,
            Self::Solo(_) => SchemeName::Solo,
            Self::Pps(_) => SchemeName::Pps,
            Self::Fpps(_) => SchemeName::Fpps,
            Self::PpsPlus(_) => SchemeName::PpsPlus,
            Self::Slice(SliceRule { fee_parts: FeeParts::Equal, .. }) => SchemeName::Slice,
            Self::Slice(SliceRule { fee_parts: FeeParts::ByWork, .. }) => SchemeName::SliceWeighted,
        }
    }

    /// Returns the pool's part.
    pub const fn fee(&self) -> PoolFee {
        match self {
            Self::Pplns(Pplns { fee, .. }) | Self::Tides(Tides { fee, .. }) => *fee,
            Self::Prop(Prop { fee }) | Self::Solo(Solo { fee }) => *fee,
            Self::Pps(Pps { fee }) | Self::Fpps(Pps { fee }) => *fee,
            Self::PpsPlus(plus) => plus.fee(),
            Self::Slice(slice) => slice.fee,
        }
    }

    /// Tells whether work is paid out of a reserve, whatever is found.
    pub const fn pays_work(&self) -> bool {
        match self {
            Self::Pps(_) | Self::Fpps(_) | Self::PpsPlus(_) => true,
            Self::Pplns(_) | Self::Tides(_) | Self::Prop(_) | Self::Solo(_) | Self::Slice(_) => false,
        }
    }

    /// Tells whether its blocks pay for a window that can be kept counted while shares come in.
    pub const fn keeps_window(&self) -> bool {
        match self {
            Self::Pplns(_) | Self::Tides(_) | Self::Prop(_) | Self::PpsPlus(_) => true,
            Self::Solo(_) | Self::Pps(_) | Self::Fpps(_) | Self::Slice(_) => false,
        }
    }

    /// Returns SOLO with the same fee: the scheme of a miner who mines for itself.
    pub const fn solo(&self) -> Self {
        Self::Solo(Solo { fee: self.fee() })
    }

    /// Returns the rule of a block under this scheme. `last_block` is where the round of PROP begins.
    pub const fn rule(&self, last_block: ShareSeq) -> Rule {
        match *self {
            Self::Pplns(pplns) => Rule::Pplns(pplns),
            Self::Tides(tides) => Rule::Tides(tides),
            Self::Prop(prop) => Rule::Prop { prop, last_block },
            Self::Solo(solo) => Rule::Solo(solo),
            Self::Pps(pps) => Rule::Pps(pps),
            Self::Fpps(pps) => Rule::Fpps(pps),
            Self::PpsPlus(plus) => Rule::PpsPlus(plus),
            Self::Slice(slice) => Rule::Slice(slice),
        }
    }
}

impl From<Pplns> for Scheme {
    fn from(pplns: Pplns) -> Self {
        Self::Pplns(pplns)
    }
}

impl fmt::Display for Scheme {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Prop(Prop { fee }) => write!(f, "prop fee_bp={}", fee.basis_points()),
            _ => self.rule(ShareSeq::new(0)).fmt(f),
        }
    }
}

impl From<Scheme> for String {
    fn from(scheme: Scheme) -> Self {
        scheme.to_string()
    }
}

impl TryFrom<String> for Scheme {
    type Error = UnknownRule;

    fn try_from(text: String) -> Result<Self, UnknownRule> {
        text.parse()
    }
}

impl FromStr for Scheme {
    type Err = UnknownRule;

    fn from_str(text: &str) -> Result<Self, UnknownRule> {
        let mut words = Words::new(text);
        let parsed = words.name().and_then(|name| words.scheme(name));
        parsed.filter(|scheme| scheme.to_string() == text).ok_or_else(|| UnknownRule(text.to_owned()))
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
    /// PPS.
    Pps(Pps),
    /// FPPS.
    Fpps(Pps),
    /// PPS+.
    PpsPlus(PpsPlus),
    /// SLICE.
    Slice(SliceRule),
}

impl Rule {
    /// Returns the scheme that it is a rule of.
    pub const fn scheme(&self) -> Scheme {
        match *self {
            Self::Pplns(pplns) => Scheme::Pplns(pplns),
            Self::Tides(tides) => Scheme::Tides(tides),
            Self::Prop { prop, .. } => Scheme::Prop(prop),
            Self::Solo(solo) => Scheme::Solo(solo),
            Self::Pps(pps) => Scheme::Pps(pps),
            Self::Fpps(pps) => Scheme::Fpps(pps),
            Self::PpsPlus(plus) => Scheme::PpsPlus(plus),
            Self::Slice(slice) => Scheme::Slice(slice),
        }
    }

    /// Returns the pool's part.
    pub const fn fee(&self) -> PoolFee {
        self.scheme().fee()
    }

    /// Returns the empty window of a block that met the target `nbits`; nothing if shares do not matter.
    pub fn open_window(&self, nbits: CompactTarget) -> Option<Window> {
        match self {
            Self::Pplns(pplns) => Some(pplns.open_window()),
            Self::Tides(tides) => Some(tides.open_window(nbits)),
            Self::Prop { prop, last_block } => Some(prop.open_round(*last_block)),
            Self::PpsPlus(plus) => Some(plus.fees.open_window()),
            Self::Slice(slice) => Some(slice.open_window()),
            Self::Solo(_) | Self::Pps(_) | Self::Fpps(_) => None,
        }
    }

    /// Returns what goes to the reserve of what a block's coinbase paid. The rest is split, less the fee on it.
    pub fn reserve(&self, reward: BlockReward) -> Amount {
        match self {
            Self::Pps(_) | Self::Fpps(_) => reward.value,
            Self::PpsPlus(plus) => plus.reserve(reward),
            Self::Pplns(_) | Self::Tides(_) | Self::Prop { .. } | Self::Solo(_) | Self::Slice(_) => Amount::ZERO,
        }
    }

    /// Splits what a block's coinbase paid. Without a window, or with an empty one, the finder gets what is split.
    ///
    /// # Panics
    ///
    /// If a window of SLICE was counted without its slices.
    pub fn split(&self, reward: BlockReward, window: Option<&Window>, finder: AccountId) -> Split {
        let reserve = self.reserve(reward);
        let rest = reward.value - reserve;
        match (self, window) {
            (Self::Pplns(pplns), Some(window)) => pplns.split(rest, window, finder),
            (Self::Tides(tides), Some(window)) => tides.split(rest, window, finder),
            (Self::Prop { prop, .. }, Some(window)) => prop.split(rest, window, finder),
            (Self::PpsPlus(plus), Some(window)) => plus.split(reward, window, finder),
            (Self::Slice(slice), Some(window)) if window.span().is_some() => {
                let parts = window.slices().expect("a window of SLICE is counted with its slices");
                slice.split(reward, parts, finder)
            }
            (Self::Solo(_) | Self::Pps(_) | Self::Fpps(_) | Self::Slice(_), _) | (_, None) => {
                Split { reserve, ..Solo { fee: self.fee() }.split(rest, finder) }
            }
        }
    }
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (name, fee_bp) = (self.scheme().name(), self.fee().basis_points());
        match self {
            Self::Pplns(Pplns { window, .. })
            | Self::Tides(Tides { window, .. })
            | Self::PpsPlus(PpsPlus { fees: Pplns { window, .. } }) => {
                write!(f, "{name} window={window} fee_bp={fee_bp}")
            }
            Self::Prop { last_block, .. } => write!(f, "{name} last_block={last_block} fee_bp={fee_bp}"),
            Self::Slice(SliceRule { window, growth, .. }) => {
                write!(f, "{name} window={window} delta_sat={} fee_bp={fee_bp}", growth.to_sat())
            }
            Self::Solo(_) | Self::Pps(_) | Self::Fpps(_) => write!(f, "{name} fee_bp={fee_bp}"),
        }
    }
}

impl FromStr for Rule {
    type Err = UnknownRule;

    fn from_str(text: &str) -> Result<Self, UnknownRule> {
        let mut words = Words::new(text);
        let parsed = words.name().and_then(|name| words.rule(name));
        parsed.filter(|rule| rule.to_string() == text).ok_or_else(|| UnknownRule(text.to_owned()))
    }
}

/// The words of a rule or scheme, whose values stand in the order in which they are written.
struct Words<'a>(std::str::Split<'a, char>);

impl<'a> Words<'a> {
    fn new(text: &'a str) -> Self {
        Self(text.split(' '))
    }

    fn name(&mut self) -> Option<SchemeName> {
        self.0.next()?.parse().ok()
    }

    fn value<T: FromStr>(&mut self, key: &str) -> Option<T> {
        self.0.next()?.strip_prefix(key)?.strip_prefix('=')?.parse().ok()
    }

    fn fee(&mut self) -> Option<PoolFee> {
        PoolFee::from_basis_points(self.value("fee_bp")?)
    }

    fn scheme(&mut self, name: SchemeName) -> Option<Scheme> {
        let window = match name {
            SchemeName::Pplns
            | SchemeName::Tides
            | SchemeName::PpsPlus
            | SchemeName::Slice
            | SchemeName::SliceWeighted => self.value("window")?,
            SchemeName::Prop | SchemeName::Solo | SchemeName::Pps | SchemeName::Fpps => Pplns::DEFAULT_WINDOW,
        };
        let growth = match name {
            SchemeName::Slice | SchemeName::SliceWeighted => Amount::from_sat(self.value("delta_sat")?),
            _ => SliceRule::DEFAULT_GROWTH,
        };
        Some(Scheme::new(name, window, self.fee()?).with_fee_growth(growth))
    }

    fn rule(&mut self, name: SchemeName) -> Option<Rule> {
        let last_block = match name {
            SchemeName::Prop => self.value("last_block")?,
            _ => 0,
        };
        Some(self.scheme(name)?.rule(ShareSeq::new(last_block)))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use bitcoin::{BlockHash, hashes::Hash};
    use proptest::prelude::*;

    use super::*;
    use crate::scheme::slice::{SliceParts, Slices};
    use crate::scheme::window::tests::{DIFFICULTY_1, DIFFICULTY_2, FINDER, counted};
    use crate::share::{Difficulty, Work};

    #[test]
    fn rules_are_read_as_they_were_written() {
        let fee = PoolFee::from_basis_points(150).unwrap();
        let window = NonZeroU32::new(9).unwrap();
        for (rule, text) in [
            (Rule::Pplns(Pplns { window, fee }), "pplns window=9 fee_bp=150"),
            (Rule::Tides(Tides { window, fee }), "tides window=9 fee_bp=150"),
            (Rule::Prop { prop: Prop { fee }, last_block: ShareSeq::new(7) }, "prop last_block=7 fee_bp=150"),
            (Rule::Solo(Solo { fee }), "solo fee_bp=150"),
            (Rule::Pps(Pps { fee }), "pps fee_bp=150"),
            (Rule::Fpps(Pps { fee }), "fpps fee_bp=150"),
            (Rule::PpsPlus(PpsPlus { fees: Pplns { window, fee } }), "pps+ window=9 fee_bp=150"),
            (
                Rule::Slice(SliceRule { fee_parts: FeeParts::Equal, window, growth: Amount::from_sat(5), fee }),
                "slice window=9 delta_sat=5 fee_bp=150",
            ),
            (
                Rule::Slice(SliceRule { fee_parts: FeeParts::ByWork, window, growth: Amount::from_sat(5), fee }),
                "slice-weighted window=9 delta_sat=5 fee_bp=150",
            ),
        ] {
            assert_eq!(rule.to_string(), text);
            assert_eq!(text.parse(), Ok(rule));
            assert_eq!(rule.fee(), fee);
            let scheme = rule.scheme();
            assert_eq!(scheme.to_string().parse(), Ok(scheme));
        }
    }

    #[test]
    fn other_texts_are_no_rules() {
        for text in [
            "",
            "pplns",
            "ppps fee_bp=1",
            "pps+ fee_bp=1",
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
        let window = window.map(|window| counted(window, shares)).map(|window| match rule {
            Rule::Slice(slice) => window.sliced(sliced(shares, slice)),
            _ => window,
        });
        let reward = BlockReward { value: Amount::from_sat(sat), subsidy: Amount::from_sat(sat / 3 * 2) };
        rule.split(reward, window.as_ref(), FINDER)
    }

    /// A slice for each half of the shares.
    fn sliced(shares: &[(AccountId, i8, u32)], slice: SliceRule) -> SliceParts {
        let mut slices = Slices::new(slice.growth);
        for (index, &(account, log2, _)) in shares.iter().enumerate() {
            let fees = Amount::from_sat(if index < shares.len() / 2 { 1_000 } else { 5_000_000 });
            let of_job = slices.slice_of_job(BlockHash::all_zeros(), fees);
            slices.count(of_job, account, Work::of(Difficulty::from_log2(log2).unwrap(), 1), fees);
        }
        slices.parts(slice.fee_parts)
    }

    proptest! {
        #[test]
        fn whatever_the_rule_a_block_is_paid_out_whole_and_only_to_who_worked(
            name in (0..SchemeName::ALL.len()).prop_map(|index| SchemeName::ALL[index].0),
            fee_bp in 0..=10_000u16,
            shares in proptest::collection::vec((1..6i64, -6..4i8, any::<bool>()), 0..40),
            sat in 0..=Amount::MAX_MONEY.to_sat(),
        ) {
            let rule = match name {
                SchemeName::Pplns | SchemeName::Tides | SchemeName::PpsPlus => {
                    format!("{name} window=3 fee_bp={fee_bp}")
                }
                SchemeName::Slice | SchemeName::SliceWeighted => {
                    format!("{name} window=3 delta_sat=1000 fee_bp={fee_bp}")
                }
                SchemeName::Prop => format!("{name} last_block=4 fee_bp={fee_bp}"),
                SchemeName::Solo | SchemeName::Pps | SchemeName::Fpps => format!("{name} fee_bp={fee_bp}"),
            };
            let nbits = |late| if late { DIFFICULTY_1 } else { DIFFICULTY_2 };
            let shares = shares.into_iter().map(|(id, log2, late)| (AccountId::new(id), log2, nbits(late)));
            let shares: Vec<_> = shares.collect();
            let split = split(&rule, &shares, sat);
            let credited: u64 = split.credits.values().map(|amount| amount.to_sat()).sum();
            prop_assert_eq!(split.fee.to_sat() + split.reserve.to_sat() + credited, sat);
            prop_assert_eq!(split.reserve.to_sat(), match name {
                SchemeName::Pps | SchemeName::Fpps => sat,
                SchemeName::PpsPlus => sat / 3 * 2,
                _ => 0,
            });
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
