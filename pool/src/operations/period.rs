//! Requests about periods of the export register: that they were declared, and that they are closed.

use payouts::{
    export::{
        bookkeeping::{self, BookkeepingError, PeriodRefused},
        closing::{ClosingError, PeriodDeclared},
        rules::period::Period,
    },
    payout,
    store::Store,
};
use serde::{Deserialize, Serialize};

use super::{Outcome, Refusal, RefusalCode, Request, Words, perform::code_of_store};

/// A period, and whether the request changed anything about it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct PeriodChange {
    /// The country profile, name and version, that it was declared by.
    pub profile: String,
    /// The period.
    #[schema(value_type = String)]
    pub period: Period,
    /// The last declaration.
    pub declaration: String,
    /// Who received it.
    pub authority: String,
    /// Whether it was so already.
    pub already: bool,
}

/// Does a request about a period, for which it takes no more than the store; nothing if the request is another.
pub async fn perform_with_store(store: &dyn Store, request: &Request) -> Option<Result<Outcome, Refusal>> {
    match request {
        Request::DeclarePeriod(declared) => Some(declare(store, declared).await.map(Outcome::PeriodDeclared)),
        Request::ClosePeriod { profile, period, by } => {
            Some(close(store, profile, *period, by).await.map(Outcome::PeriodClosed))
        }
        _ => None,
    }
}

pub(super) async fn declare(store: &dyn Store, declared: &PeriodDeclared) -> Result<PeriodChange, Refusal> {
    for words in [&declared.declaration, &declared.authority, &declared.by] {
        Words::try_from(words.clone()).map_err(|error| Refusal::new(RefusalCode::Invalid, error))?;
    }
    let done = bookkeeping::declare_period(store, declared).await?;
    Ok(change(declared, done))
}

pub(super) async fn close(
    store: &dyn Store,
    profile: &Words,
    period: Period,
    by: &Words,
) -> Result<PeriodChange, Refusal> {
    let (known, done) = bookkeeping::close_period(store, profile.as_str(), period, by.as_str()).await?;
    Ok(change(&known.declared, done))
}

impl From<PeriodRefused> for Refusal {
    fn from(refused: PeriodRefused) -> Refusal {
        let code = match &refused {
            PeriodRefused::Closing(ClosingError::NotDeclared { .. }) => RefusalCode::NotFound,
            PeriodRefused::Closing(_) | PeriodRefused::Books(BookkeepingError::OtherRecords { .. }) => {
                RefusalCode::Conflict
            }
            PeriodRefused::Books(BookkeepingError::Store(error)) => code_of_store(error),
            PeriodRefused::Books(_) => RefusalCode::Failed,
        };
        Refusal::new(code, refused)
    }
}

fn change(declared: &PeriodDeclared, done: payout::Outcome) -> PeriodChange {
    PeriodChange {
        profile: declared.profile.clone(),
        period: declared.period,
        declaration: declared.declaration.clone(),
        authority: declared.authority.clone(),
        already: done == payout::Outcome::Already,
    }
}
