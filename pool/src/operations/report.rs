//! What comes of a request, in a form that can be sent and shown. Amounts are satoshis, times are milliseconds since
//! 1970 UTC.

mod batch;
mod preview;
mod status;

use payouts::export::{
    party::{Party, PartyId},
    valued::Kept,
};
use serde::{Deserialize, Serialize};

pub use self::{
    batch::{AttemptReport, BatchBlock, BatchReport, BatchSummary, EventReport, LotReport, OutputReport, Stage},
    preview::{PreviewOutputReport, PreviewReport},
    status::{OpenBatchReport, RestraintReport, Status, Totals, Wait},
};
use super::{
    account::{AccountAdded, AccountChange, NameRemoved},
    connection::{Connections, Ordered},
    party::PartyReport,
    period::PeriodChange,
    port::{BanLifted, BanReport, Banned},
    reserve::Given,
    sale::SaleReport,
    screening::{AcceptReport, ReviewReport, ScreenedText, ScreeningReport},
    token::{TokenAdded, TokenRevoked},
};
use crate::{config::shown::ShownSettings, reload::ReloadReport};

/// What was done or found.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// How payouts stand.
    Status(Status),
    /// The newest batches, newest first.
    Batches(Vec<BatchSummary>),
    /// One batch.
    Batch(BatchReport),
    /// What a run would pay.
    Preview(PreviewReport),
    /// What a run has made.
    Ran(Ran),
    /// The batch is approved.
    Approved(BatchChange),
    /// The batch is given up.
    Cancelled(BatchChange),
    /// The address is not paid.
    Held(AddressChange),
    /// The address is paid again.
    Released(AddressChange),
    /// The address has this threshold.
    Threshold(ThresholdSet),
    /// The batch has another transaction.
    Bumped(BatchSummary),
    /// A transaction to be signed.
    Psbt(ExportedPsbt),
    /// The batch is signed.
    Imported(BatchChange),
    /// The account asks for this.
    Account(AccountChange),
    /// The address is an account.
    Added(AccountAdded),
    /// The name is nobody's.
    NameRemoved(NameRemoved),
    /// The reserve or the fee has got money.
    Given(Given),
    /// How screening stands.
    Screening(ScreeningReport),
    /// What lists have about an address or a name.
    Screened(ScreenedText),
    /// What became of a word for a release.
    Reviewed(ReviewReport),
    /// What became of a word for a list.
    ListAccepted(AcceptReport),
    /// The parties that are known.
    Parties(Vec<PartyReport>),
    /// What is known of a party.
    Party(Box<Party>),
    /// The party is known.
    PartySet(PartyId),
    /// What was known of the party is erased.
    PartyErased(PartyId),
    /// The address has an owner.
    AddressOwned(String),
    /// The sales of the pool's own coin.
    Sales(Vec<SaleReport>),
    /// How a sale stands.
    Sale(Box<SaleReport>),
    /// What receipts were worth is on record.
    ValuesKept(Kept),
    /// The period was declared.
    PeriodDeclared(PeriodChange),
    /// The period is closed.
    PeriodClosed(PeriodChange),
    /// The token, this once.
    TokenAdded(Box<TokenAdded>),
    /// The token is not in force.
    TokenRevoked(TokenRevoked),
    /// What the pool has counted, in OpenMetrics text.
    Metrics(String),
    /// The addresses that are banned.
    Bans(Vec<BanReport>),
    /// The connections that are open.
    Connections(Connections),
    /// The connection was told.
    Ordered(Ordered),
    /// The address is banned.
    Banned(Banned),
    /// The address may connect again.
    BanLifted(BanLifted),
    /// The settings in force.
    Settings(ShownSettings),
    /// What a reload came to.
    Reloaded(ReloadReport),
}

/// What a run has made.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Ran {
    /// The batches that it made.
    pub batches: Vec<BatchSummary>,
    /// Accounts that are due and wait for coins.
    pub waiting_accounts: usize,
    /// What these are due.
    pub waiting_sat: u64,
}

/// A batch, and whether the request changed it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct BatchChange {
    /// The batch as it is now.
    pub batch: BatchSummary,
    /// Whether it was so already.
    pub already: bool,
}

/// An address, and whether the request changed anything about it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct AddressChange {
    /// The address.
    pub address: String,
    /// Whether it was so already.
    pub already: bool,
    /// What is kept back for it now.
    pub held_sat: i64,
    /// What it is due now.
    pub payable_sat: i64,
}

/// From which balance on an address is paid.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct ThresholdSet {
    /// The address.
    pub address: String,
    /// Its own threshold; the pool's if there is none.
    pub threshold_sat: Option<u64>,
    /// Whether it was so already.
    pub already: bool,
}

/// A transaction to be signed elsewhere.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct ExportedPsbt {
    /// Whose transaction it is.
    pub batch: BatchSummary,
    /// The transaction.
    #[schema(value_type = String)]
    pub psbt: PsbtBytes,
}

/// A partially signed transaction in BIP 174's binary form; in JSON, in hexadecimal.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct PsbtBytes(#[serde(with = "hex::serde")] pub Vec<u8>);
