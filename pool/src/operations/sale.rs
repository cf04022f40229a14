//! Requests about sales of the pool's own coin to a desk.

use bitcoin::OutPoint;
use payouts::{
    account::User,
    export::rules::{
        desk::{DeskSale, Reference},
        fiat::FiatAmount,
        prices::SourceName,
        rate::Rate,
        sale::Pick,
    },
    payout::{BatchId, Payer, PayoutEvent, SaleOrder, SaleStatus},
    store::Store,
};
use serde::{Deserialize, Serialize};

use super::{Refusal, Words, account::find_account, amount, log::tell};

/// A step of a sale, as an operator orders it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(tag = "step", rename_all = "snake_case", deny_unknown_fields)]
pub enum SaleStep {
    /// Begin a sale.
    Request {
        /// Of how much.
        sat: u64,
    },
    /// Note a desk's offer.
    Quote {
        /// The desk's id of it.
        #[schema(value_type = String)]
        quote: Reference,
        /// The account of the desk's address.
        #[schema(value_type = String)]
        desk: User,
        /// The venue at which the desk sells on.
        #[serde(default)]
        #[schema(value_type = Option<String>)]
        venue: Option<SourceName>,
        /// The price of one bitcoin, in the currency of the fee.
        #[schema(value_type = String)]
        price: Rate,
        /// What the desk charges.
        #[schema(value_type = Object)]
        fee: FiatAmount,
        /// The first millisecond at which it no longer holds, since 1970 UTC.
        expires_at_ms: i64,
    },
    /// Accept the offer.
    Accept {
        /// The number of the contract.
        #[schema(value_type = String)]
        contract: Reference,
    },
    /// Note that the money came in.
    Settle {
        /// How much.
        #[schema(value_type = Object)]
        received: FiatAmount,
        /// The bank's reference.
        #[schema(value_type = String)]
        bank_reference: Reference,
        /// When, in milliseconds since 1970 UTC; now if it is not said.
        #[serde(default)]
        settled_at_ms: Option<i64>,
    },
    /// Note the declaration to an authority.
    Declare {
        /// The id of the declaration.
        #[schema(value_type = String)]
        declaration: Reference,
        /// The authority.
        #[schema(value_type = String)]
        authority: Reference,
    },
    /// Give the sale up.
    Cancel {
        /// Why.
        #[schema(value_type = String)]
        reason: Reference,
    },
}

impl SaleStep {
    /// Returns its name for the log.
    pub(super) fn name(&self) -> &'static str {
        match self {
            Self::Request { .. } => "request",
            Self::Quote { .. } => "quote",
            Self::Accept { .. } => "accept",
            Self::Settle { .. } => "settle",
            Self::Declare { .. } => "declare",
            Self::Cancel { .. } => "cancel",
        }
    }
}

/// A sale as an operator sees it. Amounts of money are decimal numbers in `currency`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct SaleReport {
    /// Its name.
    pub sale: String,
    /// The state of its record, such as `QUOTED`.
    pub state: String,
    /// How much is sold.
    pub sat: u64,
    /// When it was asked for, in milliseconds since 1970 UTC.
    pub requested_at_ms: i64,
    /// The offer.
    pub offer: Option<OfferReport>,
    /// The number of the contract.
    pub contract: Option<String>,
    /// The payout that delivers it.
    #[schema(value_type = Option<i64>)]
    pub batch: Option<BatchId>,
    /// The output that delivered it.
    #[schema(value_type = Option<String>)]
    pub delivery: Option<OutPoint>,
    /// What came in.
    pub received: Option<String>,
    /// The bank's reference.
    pub bank_reference: Option<String>,
    /// The id of the declaration.
    pub declaration: Option<String>,
    /// Why it was given up.
    pub cancelled: Option<String>,
}

/// An offer as an operator sees it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct OfferReport {
    /// The desk's id of it.
    pub quote: String,
    /// The party that offers.
    pub desk_party: String,
    /// The desk's address.
    pub address: String,
    /// The price of one bitcoin.
    pub price: String,
    /// The currency.
    pub currency: String,
    /// What the desk charges.
    pub fee: String,
    /// When it no longer holds, in milliseconds since 1970 UTC.
    pub expires_at_ms: i64,
}

impl From<&SaleStatus> for SaleReport {
    fn from(status: &SaleStatus) -> SaleReport {
        let SaleStatus { sale, standing, state, batch, delivery } = status;
        let offer = sale.quote().map(|quote| OfferReport {
            quote: quote.quote.to_string(),
            desk_party: quote.desk_party.to_string(),
            address: quote.address.clone(),
            price: quote.price.as_str().to_owned(),
            currency: quote.fee.currency().to_string(),
            fee: quote.fee.to_decimal(),
            expires_at_ms: quote.expires_ms,
        });
        let settlement = standing.settled().map(|settled| settled.settlement());
        SaleReport {
            sale: sale.request().sale.to_string(),
            state: state.to_string(),
            sat: sale.request().amount_sat.to_sat(),
            requested_at_ms: sale.request().at_ms,
            offer,
            contract: standing.contracted().map(|contracted| contracted.acceptance().contract.to_string()),
            batch: *batch,
            delivery: *delivery,
            received: settlement.map(|settlement| settlement.received.to_decimal()),
            bank_reference: settlement.map(|settlement| settlement.bank_reference.to_string()),
            declaration: match standing {
                DeskSale::Declared(declared) => Some(declared.declaration().declaration.to_string()),
                _ => None,
            },
            cancelled: match standing {
                DeskSale::Cancelled(cancelled) => Some(cancelled.cancellation().reason.to_string()),
                _ => None,
            },
        }
    }
}

/// Lists all sales.
pub(super) async fn list(payer: &Payer) -> Result<Vec<SaleReport>, Refusal> {
    Ok(payer.sales().await?.iter().map(SaleReport::from).collect())
}

/// Takes a step of a sale.
pub(super) async fn take(
    store: &dyn Store,
    payer: &mut Payer,
    sale: &Reference,
    step: &SaleStep,
    by: &Words,
) -> Result<SaleReport, Refusal> {
    let order = match step.clone() {
        SaleStep::Request { sat } => SaleOrder::Request(amount(sat)?),
        SaleStep::Quote { quote, desk, venue, price, fee, expires_at_ms: expires_ms } => {
            let desk = find_account(store, &desk).await?.id;
            SaleOrder::Quote { quote, desk, venue, price, fee, expires_ms }
        }
        SaleStep::Accept { contract } => SaleOrder::Accept(contract),
        SaleStep::Settle { received, bank_reference, settled_at_ms: settled_ms } => {
            SaleOrder::Settle { received, bank_reference, settled_ms }
        }
        SaleStep::Declare { declaration, authority } => SaleOrder::Declare { declaration, authority },
        SaleStep::Cancel { reason } => SaleOrder::Cancel(reason),
    };
    Ok((&payer.order_sale(sale, order, by.as_str()).await?).into())
}

/// Makes the payout that delivers a sale.
pub(super) async fn deliver(
    payer: &mut Payer,
    sale: &Reference,
    lots: &[Pick],
    by: &Words,
) -> Result<SaleReport, Refusal> {
    let (status, events): (SaleStatus, Vec<PayoutEvent>) = payer.deliver_sale(sale, lots, by.as_str()).await?;
    events.iter().for_each(tell);
    Ok((&status).into())
}
