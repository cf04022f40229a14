//! Who asks, and the record of what they asked for: every request that changes something leaves a row in the audit log,
//! whichever way it came.
//!
//! The row is written before the request is done, and what became of it after: nothing is done that is not on record.

use std::fmt;

use jiff::Timestamp;
use payouts::{
    access::{Grant, TokenId},
    store::Store,
};
use tracing::warn;

use super::{Outcome, Refusal, Request};

/// Who asks for something.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Actor {
    /// Whoever has a token of the API.
    Token {
        /// The token.
        id: TokenId,
        /// What it is called.
        label: String,
        /// What it is for.
        grant: Grant,
    },
    /// A user of this machine, by a command.
    User {
        /// The number that the system knows him by.
        uid: u32,
    },
}

impl fmt::Display for Actor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Actor::Token { id, label, .. } => write!(f, "token {id} ({label})"),
            Actor::User { uid } => write!(f, "user {uid}"),
        }
    }
}

/// Does a request, and puts on record who asked and what came of it if it may change something.
///
/// # Errors
///
/// What the request was refused for; and if nothing can be put on record, in which case nothing is done.
pub async fn on_record(
    store: &dyn Store,
    actor: &Actor,
    request: &Request,
    perform: impl Future<Output = Result<Outcome, Refusal>>,
) -> Result<Outcome, Refusal> {
    if !request.changes() {
        return perform.await;
    }
    let seq = store.begin_audit(now_ms(), &actor.to_string(), &request.to_string()).await?;
    let outcome = perform.await;
    let words = match &outcome {
        Ok(_) => "done".to_owned(),
        Err(refusal) => format!("refused: {refusal}"),
    };
    // What was done is done. Without an outcome the row says that it was begun.
    if let Err(error) = store.end_audit(seq, now_ms(), &words).await {
        warn!(%error, %seq, "the outcome of a request could not be put on record");
    }
    outcome
}

fn now_ms() -> i64 {
    Timestamp::now().as_millisecond()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use payouts::{payout::BatchId, store::sqlite::SqliteStore};

    use super::*;
    use crate::operations::RefusalCode;

    #[tokio::test]
    async fn what_changes_something_is_on_record_with_what_came_of_it() {
        let folder = tempfile::tempdir().unwrap();
        let store = SqliteStore::open(&folder.path().join("adit.sqlite")).await.unwrap();
        let alice = Actor::Token { id: TokenId::new(3), label: "alice".to_owned(), grant: Grant::Operate };
        let approve = Request::Approve { batch: BatchId::new(7), by: "alice".parse().unwrap() };
        let refusal = Refusal::new(RefusalCode::NotFound, "there is no such batch");
        let refused = on_record(&store, &alice, &approve, async { Err(refusal.clone()) }).await;
        assert_eq!(refused, Err(refusal));
        let done = Outcome::Batches(Vec::new());
        let user = Actor::User { uid: 1000 };
        assert_eq!(on_record(&store, &user, &approve, async { Ok(done.clone()) }).await, Ok(done.clone()));
        // What only looks leaves nothing.
        on_record(&store, &user, &Request::Status, async { Ok(done) }).await.unwrap();
        use payouts::store::AccessStore;
        let rows = store.audit_rows(None, 10).await.unwrap();
        let rows: Vec<_> =
            rows.iter().map(|row| (&*row.actor, &*row.action, row.outcome.as_ref().map(|it| &*it.text))).collect();
        let refused = Some("refused: there is no such batch");
        assert_eq!(
            rows,
            [("user 1000", "approve 7 by alice", Some("done")), ("token 3 (alice)", "approve 7 by alice", refused)]
        );
    }

    #[tokio::test]
    async fn nothing_is_done_that_cannot_be_put_on_record() {
        let folder = tempfile::tempdir().unwrap();
        let store = SqliteStore::open(&folder.path().join("adit.sqlite")).await.unwrap();
        store.close().await;
        let lift = Request::LiftBan { address: [192, 0, 2, 1].into() };
        let mut is_done = false;
        let refused = on_record(&store, &Actor::User { uid: 0 }, &lift, async {
            is_done = true;
            Ok(Outcome::Batches(Vec::new()))
        });
        refused.await.unwrap_err();
        assert!(!is_done);
    }
}
