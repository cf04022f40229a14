//! What a sale brings: which lots it takes, what these cost, and the gain.
//!
//! Owns the split of a lot's cost when a part of it is sold. Where lots and their costs come from, and what a profile
//! demands of sales, is not known here.

use std::collections::{BTreeMap, BTreeSet};

use bitcoin::{Amount, SignedAmount};

use super::{
    fiat::{FiatAmount, FiatError, worth},
    rate::Rate,
};

/// How lots are chosen for a sale.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LotMethod {
    /// First in, first out: the lots that were acquired first, by their id among those of the same time.
    Fifo,
    /// Those that the seller names.
    Specific,
}

/// A lot that is there to be sold, or what is left of it.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LotPosition {
    /// Its id; no two lots have the same.
    pub id: String,
    /// How much it is.
    #[serde(rename = "sat", with = "bitcoin::amount::serde::as_sat")]
    pub amount: Amount,
    /// What that cost: its value at receipt. Not negative; nothing if it has no value.
    pub cost: Option<FiatAmount>,
    /// When it was acquired, in milliseconds since 1970 UTC.
    pub acquired_ms: i64,
}

/// A part of a lot that the seller names.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Pick {
    /// The lot.
    pub lot: String,
    /// How much of it.
    #[serde(rename = "sat", with = "bitcoin::amount::serde::as_sat")]
    pub amount: Amount,
}

/// Which lots a sale takes.
#[derive(Clone, Copy, Debug)]
pub enum Selection<'a> {
    /// By [`LotMethod::Fifo`].
    Fifo,
    /// By [`LotMethod::Specific`]; the parts sum to the sale.
    Specific(&'a [Pick]),
}

/// What is sold, and for what, in the currency of the fee.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SaleTerms {
    /// How much is sold.
    pub amount: Amount,
    /// The price of one bitcoin.
    pub price: Rate,
    /// What the sale costs. Not negative; zero for none.
    pub fee: FiatAmount,
}

/// A part of a lot that was sold.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SoldPart {
    /// The lot.
    pub lot: String,
    /// How much of it.
    #[serde(rename = "sat", with = "bitcoin::amount::serde::as_sat")]
    pub amount: Amount,
    /// What that part cost; nothing if the lot has no value.
    pub cost: Option<FiatAmount>,
    /// When the lot was acquired, in milliseconds since 1970 UTC.
    pub acquired_ms: i64,
}

/// What a sale comes to: gain = gross - fee - cost. Costs have one currency; the sale may have another one.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Disposal {
    /// What was taken of which lot, in the order in which it was taken.
    pub parts: Vec<SoldPart>,
    /// The lots that are left, first acquired first, without those that were sold whole.
    pub left: Vec<LotPosition>,
    /// The amount at its price, rounded once.
    pub gross: FiatAmount,
    /// The fee.
    pub fee: FiatAmount,
    /// What came in: gross - fee.
    pub net: FiatAmount,
    /// What the parts cost; nothing if one of them has no value.
    pub cost: Option<FiatAmount>,
    /// net - cost, negative for a loss; nothing if the cost is unknown or in another currency.
    pub gain: Option<FiatAmount>,
}

/// Why there is no such sale.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SaleError {
    /// Nothing is sold, or nothing of a lot.
    #[error("a sale of 0 sat is none")]
    Nothing,
    /// The lots are worth less than the sale.
    #[error("lots are {} sat short of the sale", .missing.to_sat())]
    Short {
        /// What is missing.
        missing: Amount,
    },
    /// A named lot is not there.
    #[error("there is no lot {0:?} to sell")]
    UnknownLot(String),
    /// A lot stands twice among those to sell, or among those named.
    #[error("lot {0:?} stands there twice")]
    LotTwice(String),
    /// More of a lot is named than there is.
    #[error("lot {lot:?} has {} sat, of which {} cannot be sold", .has.to_sat(), .picked.to_sat())]
    LotShort {
        /// The lot.
        lot: String,
        /// What it has.
        has: Amount,
        /// What was named.
        picked: Amount,
    },
    /// The named parts are not the sale.
    #[error("the named lots are {picked_sat} sat, the sale is {} sat", .sale.to_sat())]
    Picks {
        /// Their sum.
        picked_sat: u128,
        /// The sale.
        sale: Amount,
    },
    /// A cost or fee is negative.
    #[error("a cost or fee of {0} is negative")]
    Negative(FiatAmount),
    /// Currencies differ, or a sum is out of range.
    #[error(transparent)]
    Fiat(#[from] FiatError),
}

/// Sells from lots. The order in which they are given makes no difference.
///
/// # Errors
///
/// If the lots are short of the sale, the named ones do not make it up, ids repeat, currencies differ, or a sum is out
/// of range.
pub fn sell(lots: &[LotPosition], terms: &SaleTerms, selection: Selection<'_>) -> Result<Disposal, SaleError> {
    if terms.amount == Amount::ZERO {
        return Err(SaleError::Nothing);
    }
    not_negative(terms.fee)?;
    let ordered = ordered(lots)?;
    let taken = match selection {
        Selection::Fifo => first_in(&ordered, terms.amount)?,
        Selection::Specific(picks) => picked(&ordered, terms.amount, picks)?,
    };
    let currency = terms.fee.currency();
    let mut rest: BTreeMap<&str, LotPosition> = BTreeMap::new();
    let mut parts = Vec::new();
    for (lot, amount) in taken {
        let (part, left) = take(lot, amount)?;
        parts.push(part);
        rest.insert(&lot.id, left);
    }
    let cost = cost_of(&parts)?;
    let left = ordered.into_iter().map(|lot| rest.remove(lot.id.as_str()).unwrap_or_else(|| lot.clone()));
    let left = left.filter(|lot| lot.amount > Amount::ZERO).collect();
    let sold = SignedAmount::try_from(terms.amount).map_err(|_| FiatError::Range(currency))?;
    let gross = worth(sold, &terms.price, None, currency)?;
    let net = gross.checked_sub(terms.fee)?;
    let comparable = cost.filter(|cost| cost.currency() == currency);
    let gain = comparable.map(|cost| net.checked_sub(cost)).transpose()?;
    Ok(Disposal { parts, left, gross, fee: terms.fee, net, cost, gain })
}

/// Adds up what parts cost; nothing if one of them has no value.
fn cost_of(parts: &[SoldPart]) -> Result<Option<FiatAmount>, SaleError> {
    let Some(costs) = parts.iter().map(|part| part.cost).collect::<Option<Vec<_>>>() else { return Ok(None) };
    let Some((first, others)) = costs.split_first() else { return Ok(None) };
    let sum = others.iter().try_fold(*first, |sum, cost| sum.checked_add(*cost))?;
    Ok(Some(sum))
}

/// Splits what a lot cost over parts of it, in proportion. Each part is rounded down to a minor unit; the units that
/// remain go one each to the parts that lost most by that, the first of those that lost the same. The parts sum to the
/// cost exactly.
///
/// # Errors
///
/// If the cost is negative, or the parts sum to nothing.
pub fn split_cost(cost: FiatAmount, parts: &[Amount]) -> Result<Vec<FiatAmount>, SaleError> {
    let whole = u128::from(not_negative(cost)?);
    let total: u128 = parts.iter().map(|part| u128::from(part.to_sat())).sum();
    if total == 0 {
        return Err(SaleError::Nothing);
    }
    // A cost is below 2^63 and a part below 2^64.
    let products: Vec<u128> = parts.iter().map(|part| whole * u128::from(part.to_sat())).collect();
    let mut shares: Vec<u128> = products.iter().map(|product| product / total).collect();
    let missing = whole - shares.iter().sum::<u128>();
    let mut by_loss: Vec<usize> = (0..parts.len()).collect();
    by_loss.sort_by_key(|&part| (std::cmp::Reverse(products[part] % total), part));
    let missing = usize::try_from(missing).expect("fewer units remain than there are parts");
    by_loss.into_iter().take(missing).for_each(|part| shares[part] += 1);
    let amount = |share| i64::try_from(share).expect("no part costs more than the whole");
    Ok(shares.into_iter().map(|share| FiatAmount::from_minor(amount(share), cost.currency())).collect())
}

/// Returns the lots by when they were acquired, then by id.
fn ordered(lots: &[LotPosition]) -> Result<Vec<&LotPosition>, SaleError> {
    let mut ids = BTreeSet::new();
    for lot in lots {
        lot.cost.map(not_negative).transpose()?;
        if !ids.insert(lot.id.as_str()) {
            return Err(SaleError::LotTwice(lot.id.clone()));
        }
    }
    let mut ordered: Vec<&LotPosition> = lots.iter().collect();
    ordered.sort_by_key(|lot| (lot.acquired_ms, lot.id.as_str()));
    Ok(ordered)
}

fn first_in<'a>(ordered: &[&'a LotPosition], amount: Amount) -> Result<Vec<(&'a LotPosition, Amount)>, SaleError> {
    let mut missing = amount;
    let mut taken = Vec::new();
    for lot in ordered {
        let part = lot.amount.min(missing);
        missing -= part;
        if part > Amount::ZERO {
            taken.push((*lot, part));
        }
    }
    if missing > Amount::ZERO { Err(SaleError::Short { missing }) } else { Ok(taken) }
}

fn picked<'a>(
    ordered: &[&'a LotPosition],
    amount: Amount,
    picks: &[Pick],
) -> Result<Vec<(&'a LotPosition, Amount)>, SaleError> {
    let mut named = BTreeSet::new();
    let mut taken = Vec::new();
    for pick in picks {
        let lot = ordered.iter().find(|lot| lot.id == pick.lot);
        let lot = lot.ok_or_else(|| SaleError::UnknownLot(pick.lot.clone()))?;
        if !named.insert(pick.lot.as_str()) {
            return Err(SaleError::LotTwice(pick.lot.clone()));
        }
        if pick.amount == Amount::ZERO {
            return Err(SaleError::Nothing);
        }
        if pick.amount > lot.amount {
            return Err(SaleError::LotShort { lot: pick.lot.clone(), has: lot.amount, picked: pick.amount });
        }
        taken.push((*lot, pick.amount));
    }
    let picked_sat = taken.iter().map(|(_, part)| u128::from(part.to_sat())).sum();
    if picked_sat == u128::from(amount.to_sat()) {
        Ok(taken)
    } else {
        Err(SaleError::Picks { picked_sat, sale: amount })
    }
}

fn take(lot: &LotPosition, amount: Amount) -> Result<(SoldPart, LotPosition), SaleError> {
    let kept = lot.amount - amount;
    let costs = lot.cost.map(|cost| split_cost(cost, &[amount, kept])).transpose()?;
    let (sold_cost, kept_cost) = match costs.as_deref() {
        Some([sold, kept]) => (Some(*sold), Some(*kept)),
        _ => (None, None),
    };
    let part = SoldPart { lot: lot.id.clone(), amount, cost: sold_cost, acquired_ms: lot.acquired_ms };
    Ok((part, LotPosition { amount: kept, cost: kept_cost, ..lot.clone() }))
}

fn not_negative(amount: FiatAmount) -> Result<u64, SaleError> {
    u64::try_from(amount.minor()).map_err(|_| SaleError::Negative(amount))
}

#[cfg(test)]
mod tests;
