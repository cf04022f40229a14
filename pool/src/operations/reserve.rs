//! The reserve of PPS: how it stands, and what the operator gives to it.

use bitcoin::Amount;
use clap::ValueEnum;
use payouts::{
    crediting::{CreditingError, Period, PeriodNumber},
    ledger::EntrySeq,
    reserve::{self, Gift, PoolMoney, Recipient, ReserveError},
    share::ShareSeq,
    store::{Store, StoreError},
};
use serde::{Deserialize, Serialize};

use super::{Refusal, RefusalCode, Words, amount, perform::code_of_store};

/// Out of what the reserve is filled.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ValueEnum, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum GiftSource {
    /// The pool's fees
    Fee,
    /// Coins that came to the pool from elsewhere
    Deposits,
}

/// How the reserve stands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct ReserveReport {
    /// What is in it. Below zero after a block was lost out of which work was paid.
    pub reserve_sat: i64,
    /// What blocks that are not mature will bring.
    pub immature_sat: u64,
    /// What could be given to it of the fee.
    pub fee_sat: u64,
    /// What could be given to it of deposits.
    pub deposits_sat: u64,
    /// Periods of work that are not paid, oldest first; the last may be open.
    pub periods: Vec<PeriodReport>,
}

/// A period of work that is not paid.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct PeriodReport {
    /// Its number.
    #[schema(value_type = i64)]
    pub period: PeriodNumber,
    /// By what it is paid.
    pub scheme: String,
    /// It begins behind this position of the share log.
    #[schema(value_type = i64)]
    pub after: ShareSeq,
    /// The last position that it pays for; nothing while it is open.
    #[schema(value_type = Option<i64>)]
    pub upto: Option<ShareSeq>,
    /// What the reserve lacks for it; nothing if that is not known yet.
    pub missing_sat: Option<u64>,
}

/// What was given.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Given {
    /// How much.
    pub sat: u64,
    /// Out of what.
    pub from: GiftSource,
    /// The operator's name for it.
    pub reference: String,
    /// The ledger entry that says so.
    #[schema(value_type = i64)]
    pub entry: EntrySeq,
}

impl From<GiftSource> for PoolMoney {
    fn from(source: GiftSource) -> PoolMoney {
        match source {
            GiftSource::Fee => PoolMoney::Fee,
            GiftSource::Deposits => PoolMoney::Deposits,
        }
    }
}

/// Tells how the reserve stands, and which periods of work wait for it.
///
/// # Errors
///
/// When the store cannot be read, or the work has no price.
pub async fn show_reserve(store: &dyn Store) -> Result<ReserveReport, Refusal> {
    let status = reserve::status(store).await?;
    let mut periods = Vec::new();
    for period in status.waiting.iter().chain(&status.open) {
        periods.push(period_report(store, period).await?);
    }
    Ok(ReserveReport {
        reserve_sat: status.reserve.to_sat(),
        immature_sat: status.immature.to_sat(),
        fee_sat: status.fee.to_sat(),
        deposits_sat: status.deposits.to_sat(),
        periods,
    })
}

async fn period_report(store: &dyn Store, period: &Period) -> Result<PeriodReport, Refusal> {
    Ok(PeriodReport {
        period: period.number,
        scheme: period.scheme.to_string(),
        after: period.after,
        upto: period.end().map(|end| end.upto),
        missing_sat: reserve::missing(store, period).await?.map(Amount::to_sat),
    })
}

/// Gives money of the pool away. The same gift again changes nothing.
pub(super) async fn give(
    store: &dyn Store,
    sat: u64,
    from: GiftSource,
    to: Recipient,
    reference: &Words,
) -> Result<Given, Refusal> {
    let reference = reference.as_str().to_owned();
    let gift = Gift { amount: amount(sat)?, from: from.into(), to, reference: reference.clone() };
    let entry = reserve::give(store, &gift).await?;
    Ok(Given { sat, from, reference, entry })
}

impl From<ReserveError> for Refusal {
    fn from(error: ReserveError) -> Refusal {
        let code = match &error {
            ReserveError::Store(StoreError::DifferentEntry { .. }) | ReserveError::Insufficient { .. } => {
                RefusalCode::Conflict
            }
            ReserveError::Store(error) => code_of_store(error),
            ReserveError::Nothing | ReserveError::SameAccount | ReserveError::Reference => RefusalCode::Invalid,
            ReserveError::Ledger(_) | ReserveError::Coins { .. } => RefusalCode::Failed,
        };
        Refusal::new(code, error)
    }
}

impl From<CreditingError> for Refusal {
    fn from(error: CreditingError) -> Refusal {
        let code = match &error {
            CreditingError::Store(error) => code_of_store(error),
            CreditingError::Network(_) => RefusalCode::Unavailable,
            _ => RefusalCode::Failed,
        };
        Refusal::new(code, error)
    }
}
