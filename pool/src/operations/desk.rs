//! The desk: where requests are handed in while the pool runs. They are done one after the other by the task that
//! owns the payer; those about the miners' port and about tokens at once. Those that change something are on record.

use std::{fmt, sync::Arc, time::Duration};

use payouts::store::Store;
use tokio::{
    sync::{mpsc, oneshot},
    task::spawn_blocking,
    time::timeout,
};

use super::{Actor, Outcome, Port, Refusal, RefusalCode, Request, audit::look_on_record, on_record, token};

/// Requests that may wait; who brings a further one waits with it.
const QUEUE: usize = 16;
/// How long a request may wait until it is done.
const PATIENCE: Duration = Duration::from_secs(120);

/// Where requests are handed in.
#[derive(Clone, Debug)]
pub struct Desk {
    orders: mpsc::Sender<Order>,
    port: Port,
    store: Arc<dyn Store>,
}

/// A request on its way to the owner of the payer, and where the outcome goes.
#[derive(Debug)]
pub struct Order {
    /// What is asked.
    pub request: Request,
    reply: oneshot::Sender<Result<Outcome, Refusal>>,
}

impl Desk {
    /// Opens a desk. Whoever owns the payer takes the orders.
    pub fn open(port: Port, store: Arc<dyn Store>) -> (Desk, mpsc::Receiver<Order>) {
        let (orders, taken) = mpsc::channel(QUEUE);
        (Desk { orders, port, store }, taken)
    }

    /// Hands in a request and waits for what becomes of it.
    ///
    /// # Errors
    ///
    /// When it was refused, the pool shuts down, or it took too long.
    pub async fn ask(&self, actor: &Actor, request: Request) -> Result<Outcome, Refusal> {
        on_record(&*self.store, actor, &request, self.perform(request.clone())).await
    }

    /// Puts on record that somebody gets a file of a period's reports, which may name people.
    ///
    /// # Errors
    ///
    /// If the store fails: then he must not get it.
    pub async fn note_download(
        &self,
        actor: &Actor,
        file: &str,
        profile: impl fmt::Display,
        period: impl fmt::Display,
    ) -> Result<(), Refusal> {
        look_on_record(&*self.store, actor, &format!("download {file} of {period} of {profile}")).await
    }

    async fn perform(&self, request: Request) -> Result<Outcome, Refusal> {
        if matches!(request, Request::Reload { .. }) {
            // Files may take their time, for which nobody else's request and no miner should wait.
            let port = self.port.clone();
            let outcome = spawn_blocking(move || port.perform(&request)).await;
            let failed = || Refusal::new(RefusalCode::Failed, "the pool failed, see its log");
            return outcome.ok().flatten().unwrap_or_else(|| Err(failed()));
        }
        if let Some(outcome) = self.port.perform(&request) {
            return outcome;
        }
        if let Some(outcome) = token::perform(&*self.store, &request).await {
            return outcome;
        }
        let (reply, outcome) = oneshot::channel();
        let ended = || Refusal::new(RefusalCode::Unavailable, "the pool shuts down");
        let done = async {
            self.orders.send(Order { request, reply }).await.map_err(|_| ended())?;
            outcome.await.map_err(|_| ended())?
        };
        timeout(PATIENCE, done).await.unwrap_or_else(|_| {
            let reason = format!(
                "the pool did not come to it within {} s: its node or database is slow, see its log; ask again later, \
                 for what was done meanwhile is not done twice",
                PATIENCE.as_secs()
            );
            Err(Refusal::new(RefusalCode::Unavailable, reason))
        })
    }
}

impl Order {
    /// Whether somebody still waits for the outcome. What nobody waits for was reported as not done, and is not done.
    pub fn is_awaited(&self) -> bool {
        !self.reply.is_closed()
    }

    /// Tells the outcome to whoever waits for it.
    pub fn answer(self, outcome: Result<Outcome, Refusal>) {
        // Nobody is left to hear it, and what was done stays done.
        let _ = self.reply.send(outcome);
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use payouts::store::sqlite::SqliteStore;

    use super::*;

    const USER: Actor = Actor::User { uid: 1000 };

    async fn open() -> (tempfile::TempDir, Desk, mpsc::Receiver<Order>) {
        let folder = tempfile::tempdir().unwrap();
        let store = SqliteStore::open(&folder.path().join("adit.sqlite")).await.unwrap();
        let (desk, orders) = Desk::open(Port::closed(), Arc::new(store));
        (folder, desk, orders)
    }

    #[tokio::test]
    async fn outcome_reaches_whoever_asked() {
        let (_folder, desk, mut orders) = open().await;
        let asked = tokio::spawn(async move { desk.ask(&USER, Request::Status).await });
        let order = orders.recv().await.unwrap();
        assert!(order.is_awaited());
        order.answer(Ok(Outcome::Batches(Vec::new())));
        assert_eq!(asked.await.unwrap(), Ok(Outcome::Batches(Vec::new())));
    }

    #[tokio::test]
    async fn order_of_somebody_who_gave_up_is_known_as_such() {
        let (_folder, desk, mut orders) = open().await;
        let asked = tokio::spawn(async move { desk.ask(&USER, Request::Status).await });
        let order = orders.recv().await.unwrap();
        asked.abort();
        assert!(asked.await.unwrap_err().is_cancelled());
        assert!(!order.is_awaited());
        // And telling it does no harm.
        order.answer(Ok(Outcome::Batches(Vec::new())));
    }

    #[tokio::test]
    async fn nothing_is_taken_any_more_when_the_pool_ends() {
        let (_folder, desk, mut orders) = open().await;
        let asked = tokio::spawn({
            let desk = desk.clone();
            async move { desk.ask(&USER, Request::Status).await }
        });
        drop(orders.recv().await.unwrap());
        assert_eq!(asked.await.unwrap().unwrap_err().code, RefusalCode::Unavailable);
        drop(orders);
        assert_eq!(desk.ask(&USER, Request::Status).await.unwrap_err().code, RefusalCode::Unavailable);
    }
}
