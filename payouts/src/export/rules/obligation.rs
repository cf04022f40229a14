//! A share of mined coin that must be sold at eligible venues, and what is short of it.
//!
//! Owns the arithmetic. Which share and which venues stands in a profile.

use std::collections::BTreeSet;

use bitcoin::Amount;

use super::prices::SourceName;

/// A part of a whole in basis points: 7,500 is 75 %.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, serde::Serialize, serde::Deserialize)]
#[serde(try_from = "u16", into = "u16")]
pub struct ShareBp(u16);

/// A share of more than all.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a share of {0} basis points is not within 0 to 10000")]
pub struct BadShare(u16);

impl ShareBp {
    /// The whole.
    pub const WHOLE_BP: u16 = 10_000;

    /// Returns the share.
    ///
    /// # Errors
    ///
    /// If it is more than the whole.
    pub const fn new(basis_points: u16) -> Result<Self, BadShare> {
        if basis_points > Self::WHOLE_BP { Err(BadShare(basis_points)) } else { Ok(Self(basis_points)) }
    }

    /// Returns the basis points.
    pub const fn get(self) -> u16 {
        self.0
    }

    /// Returns the share of an amount, rounded up: an obligation is not met by a satoshi less.
    pub fn of(self, amount: Amount) -> Amount {
        let product = u128::from(amount.to_sat()) * u128::from(self.0);
        let share = product.div_ceil(Self::WHOLE_BP.into());
        Amount::from_sat(u64::try_from(share).expect("a share is no more than the whole"))
    }
}

impl TryFrom<u16> for ShareBp {
    type Error = BadShare;

    fn try_from(basis_points: u16) -> Result<Self, BadShare> {
        Self::new(basis_points)
    }
}

impl From<ShareBp> for u16 {
    fn from(share: ShareBp) -> Self {
        share.0
    }
}

/// What must be sold where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SaleObligation {
    /// The share of what was mined.
    pub share: ShareBp,
    /// The venues whose sales count.
    pub eligible_venues: BTreeSet<SourceName>,
}

/// How far an obligation is met.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Fulfilment {
    /// What was mined.
    #[serde(with = "bitcoin::amount::serde::as_sat")]
    pub mined_sat: Amount,
    /// What of it must be sold at eligible venues.
    #[serde(with = "bitcoin::amount::serde::as_sat")]
    pub required_sat: Amount,
    /// What was sold there.
    #[serde(with = "bitcoin::amount::serde::as_sat")]
    pub sold_eligible_sat: Amount,
    /// What was sold elsewhere, which does not count.
    #[serde(with = "bitcoin::amount::serde::as_sat")]
    pub sold_elsewhere_sat: Amount,
    /// What is still to be sold at eligible venues.
    #[serde(with = "bitcoin::amount::serde::as_sat")]
    pub shortfall_sat: Amount,
}

/// Sales sum to more satoshis than an amount holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the sales of a period sum to more than an amount holds")]
pub struct SalesOverflow;

impl SaleObligation {
    /// Tells how far sales of a period meet the obligation for what was mined in it. A sale at no venue is one elsewhere.
    ///
    /// # Errors
    ///
    /// If the sales sum to more than an amount holds.
    pub fn fulfilment<'a>(
        &self,
        mined: Amount,
        sales: impl IntoIterator<Item = (Option<&'a SourceName>, Amount)>,
    ) -> Result<Fulfilment, SalesOverflow> {
        let (mut eligible, mut elsewhere) = (Amount::ZERO, Amount::ZERO);
        for (venue, amount) in sales {
            let sum = if venue.is_some_and(|venue| self.eligible_venues.contains(venue)) {
                &mut eligible
            } else {
                &mut elsewhere
            };
            *sum = sum.checked_add(amount).ok_or(SalesOverflow)?;
        }
        let required = self.share.of(mined);
        Ok(Fulfilment {
            mined_sat: mined,
            required_sat: required,
            sold_eligible_sat: eligible,
            sold_elsewhere_sat: elsewhere,
            shortfall_sat: required.checked_sub(eligible).unwrap_or(Amount::ZERO),
        })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use proptest::prelude::*;

    use super::*;

    fn venue(name: &str) -> SourceName {
        name.parse().unwrap()
    }

    fn obligation(basis_points: u16) -> SaleObligation {
        let eligible_venues = BTreeSet::from([venue("venue-a"), venue("venue-b")]);
        SaleObligation { share: ShareBp::new(basis_points).unwrap(), eligible_venues }
    }

    #[test]
    fn only_sales_at_eligible_venues_count() {
        let sat = Amount::from_sat;
        let sales = [
            (Some(&venue("venue-a")), sat(90_000_000)),
            (Some(&venue("venue-b")), sat(50_000_000)),
            (Some(&venue("other")), sat(20_000_000)),
            (None, sat(10_000_000)),
        ];
        let fulfilment = obligation(7_500).fulfilment(sat(200_000_000), sales).unwrap();
        assert_eq!(fulfilment.required_sat, sat(150_000_000));
        assert_eq!(fulfilment.sold_eligible_sat, sat(140_000_000));
        assert_eq!(fulfilment.sold_elsewhere_sat, sat(30_000_000));
        assert_eq!(fulfilment.shortfall_sat, sat(10_000_000));
        let json = serde_json::to_string(&fulfilment).unwrap();
        assert!(json.ends_with(r#""shortfall_sat":10000000}"#), "{json}");
    }

    #[test]
    fn selling_more_than_required_leaves_no_shortfall() {
        let sales = [(Some(&venue("venue-a")), Amount::from_sat(200))];
        let fulfilment = obligation(7_500).fulfilment(Amount::from_sat(200), sales).unwrap();
        assert_eq!(fulfilment.shortfall_sat, Amount::ZERO);
    }

    #[test]
    fn what_is_required_is_rounded_up() {
        let required = |sat, bp| ShareBp::new(bp).unwrap().of(Amount::from_sat(sat)).to_sat();
        assert_eq!((required(1, 1), required(10_000, 1), required(10_001, 1)), (1, 1, 2));
        assert_eq!((required(0, 7_500), required(5, 0), required(u64::MAX, 10_000)), (0, 0, u64::MAX));
    }

    #[test]
    fn shares_beyond_the_whole_and_sums_beyond_amounts_are_refused() {
        assert_eq!(ShareBp::new(10_001), Err(BadShare(10_001)));
        serde_json::from_str::<ShareBp>("10001").unwrap_err();
        let sales = [(None, Amount::from_sat(u64::MAX)), (None, Amount::ONE_SAT)];
        assert_eq!(obligation(1).fulfilment(Amount::ZERO, sales), Err(SalesOverflow));
    }

    proptest! {
        #[test]
        fn the_required_part_is_the_smallest_that_suffices(sat in any::<u64>(), bp in 0..=10_000u16) {
            let required = u128::from(ShareBp::new(bp).unwrap().of(Amount::from_sat(sat)).to_sat()) * 10_000;
            let exact = u128::from(sat) * u128::from(bp);
            prop_assert!(required >= exact && required < exact + 10_000);
        }
    }
}
