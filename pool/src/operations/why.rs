//! Why an account was credited and paid what it was: out of the books alone, worked out again and compared with the ledger.

use bitcoin::{BlockHash, OutPoint, Txid};
use payouts::{
    account::AccountId,
    books::{self, BooksError, ExplainedCredit},
    crediting::{self, PeriodNumber, PeriodStatement, StatementError},
    export::register::RegisterRow,
    ledger::{Entry, EntryKind},
    payout::{BatchHead, BatchId, BatchState, PaidOutput},
    store::Store,
};

use super::{Refusal, RefusalCode, perform::code_of_store};

/// A payment to an account, with all that is on record of it.
#[derive(Clone, Debug)]
pub struct ExplainedPayment {
    /// The batch.
    pub batch: BatchHead,
    /// The output of it that pays the account.
    pub output: PaidOutput,
    /// The ledger's entries about it, in their order.
    pub entries: Vec<Entry>,
    /// The register's rows about it, in their order.
    pub rows: Vec<RegisterRow>,
}

impl From<BooksError> for Refusal {
    fn from(error: BooksError) -> Refusal {
        let code = match &error {
            BooksError::Store(error) => code_of_store(error),
            BooksError::UnknownBlock(_) => RefusalCode::NotFound,
            BooksError::NoRule(_) => RefusalCode::Conflict,
            _ => RefusalCode::Failed,
        };
        Refusal::new(code, error)
    }
}

impl From<StatementError> for Refusal {
    fn from(error: StatementError) -> Refusal {
        let code = match &error {
            StatementError::Store(error) => code_of_store(error),
            StatementError::Unknown(_) => RefusalCode::NotFound,
            StatementError::Unpaid(_) => RefusalCode::Conflict,
            _ => RefusalCode::Failed,
        };
        Refusal::new(code, error)
    }
}

/// Tells why a block credits to an account what it does.
///
/// # Errors
///
/// When the store cannot be read, does not know the block, or the ledger says something else.
pub async fn explain_block(
    store: &dyn Store,
    account: AccountId,
    block: BlockHash,
) -> Result<ExplainedCredit, Refusal> {
    Ok(books::explain(store, block, account).await?)
}

/// Tells why a period of work credits to an account what it does.
///
/// # Errors
///
/// When the store cannot be read, the period is not paid, or the ledger says something else.
pub async fn explain_work(
    store: &dyn Store,
    account: AccountId,
    period: PeriodNumber,
) -> Result<PeriodStatement, Refusal> {
    Ok(crediting::explain(store, period, account).await?)
}

/// Finds the batch that is meant by its number or by one of its transactions; the newest, if several made that.
///
/// # Errors
///
/// When the store cannot be read, or there is none.
pub async fn find_batch(store: &dyn Store, named: &str) -> Result<BatchId, Refusal> {
    let unknown = || Refusal::new(RefusalCode::NotFound, "there is no such payout");
    match (named.parse::<i64>(), named.parse::<Txid>()) {
        (Ok(number), _) => Ok(BatchId::new(number)),
        (_, Ok(txid)) => store.batch_of(txid).await?.ok_or_else(unknown),
        _ => Err(unknown()),
    }
}

/// Tells what is on record of a batch's payment to an account.
///
/// # Errors
///
/// When the store cannot be read, or the batch does not pay the account.
pub async fn explain_payment(
    store: &dyn Store,
    account: AccountId,
    batch: BatchId,
) -> Result<ExplainedPayment, Refusal> {
    // The same for a batch that there is not and one that pays others: nobody is told whom it pays.
    let unknown = || Refusal::new(RefusalCode::NotFound, format!("no payout {batch} pays this account"));
    let output = store.output_to(batch, account).await?.filter(|output| !output.is_sold()).ok_or_else(unknown)?;
    let batch = store.batch_head(batch).await?.ok_or_else(unknown)?;
    let mut entries = Vec::new();
    for (kind, key) in keys(&batch) {
        entries.extend(store.entry(kind, &key).await?);
    }
    entries.sort_by_key(|entry| entry.seq);
    let rows = store.register_rows_of(OutPoint::new(batch.txid(), output.vout)).await?;
    Ok(ExplainedPayment { batch, output, entries, rows })
}

/// The entries that there may be about a batch as it stands.
fn keys(batch: &BatchHead) -> Vec<(EntryKind, String)> {
    let mut keys = vec![(EntryKind::PayoutCreated, batch.id.to_string())];
    keys.extend(batch.attempts.iter().map(|attempt| (EntryKind::Broadcast, attempt.txid.to_string())));
    if let BatchState::Confirmed(_, block) = batch.state {
        keys.push((EntryKind::Confirmed, format!("{}:{}:{}", batch.txid(), block.hash, batch.epoch)));
    }
    keys
}
