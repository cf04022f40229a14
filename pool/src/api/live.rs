//! What the API knows of the running pool beside its books: read-only views, which are there once the pool has them.

use std::{
    io,
    path::PathBuf,
    sync::{Arc, Mutex, OnceLock, PoisonError},
    time::{Duration, Instant},
};

use bitcoin::{BlockHash, Network};
use jiff::Timestamp;
use payouts::books::Books;
use tokio::{sync::watch, task::spawn_blocking};

use super::certificate::ApiCertificate;
use crate::{
    accounting::kept_blocks::KeptBlocks,
    events::Events,
    metrics::Metrics,
    stratum::roster::Roster,
    template::{LatestTemplate, Template},
};

/// After so many intervals at which templates should come, the last one counts as dead.
const LIVE_INTERVALS: u32 = 3;

/// A template, and when it came.
#[derive(Clone, Debug)]
pub struct Seen {
    /// The template.
    pub template: Arc<Template>,
    /// When it came.
    pub at: Instant,
}

/// The running pool.
#[derive(Debug)]
pub struct Live {
    /// What is counted.
    pub metrics: Arc<Metrics>,
    /// When the pool was started, in milliseconds since 1970 UTC.
    pub started_at_ms: i64,
    /// The network whose blocks are mined.
    pub network: Network,
    /// Who is connected.
    pub roster: Arc<Roster>,
    /// What happens.
    pub events: Arc<Events>,
    /// The data folder, if it is known.
    pub(super) folder: Option<PathBuf>,
    /// The raw bytes of found blocks.
    pub(super) kept_blocks: Option<KeptBlocks>,
    /// The API's own certificate, if it has one.
    pub(super) certificate: Option<ApiCertificate>,
    newest: watch::Sender<Option<Seen>>,
    longest: Duration,
    books: OnceLock<Arc<Books>>,
    /// Since when there has been a found block on its way, as far as somebody looked.
    pending_since: Mutex<Option<Instant>>,
}

impl Live {
    /// Begins without a template. A live node gives one every `refresh` at least.
    pub fn new(metrics: Arc<Metrics>, network: Network, refresh: Duration) -> Live {
        let started_at_ms = Timestamp::now().as_millisecond();
        let (roster, events) = (Arc::default(), Arc::default());
        let (newest, longest) = (watch::Sender::new(None), refresh * LIVE_INTERVALS);
        Live {
            metrics,
            started_at_ms,
            network,
            roster,
            events,
            folder: None,
            kept_blocks: None,
            certificate: None,
            newest,
            longest,
            books: OnceLock::new(),
            pending_since: Mutex::default(),
        }
    }

    /// Takes the roster of the miners' port.
    #[must_use]
    pub fn with_roster(self, roster: Arc<Roster>) -> Live {
        Live { roster, ..self }
    }

    /// Says where the pool writes, so that the room there can be looked at.
    #[must_use]
    pub fn with_folder(self, folder: PathBuf) -> Live {
        Live { folder: Some(folder), ..self }
    }

    /// Says where found blocks are kept.
    #[must_use]
    pub fn with_kept_blocks(self, kept_blocks: KeptBlocks) -> Live {
        Live { kept_blocks: Some(kept_blocks), ..self }
    }

    /// Takes the certificate that the API shows, if it has one.
    #[must_use]
    pub fn with_certificate(self, certificate: Option<ApiCertificate>) -> Live {
        Live { certificate, ..self }
    }

    /// Follows the templates until the pool shuts down.
    pub async fn follow(
        self: Arc<Live>,
        mut templates: watch::Receiver<LatestTemplate>,
        mut draining: watch::Receiver<bool>,
    ) {
        loop {
            let newest = templates.borrow_and_update().clone();
            if let Some(template) = newest {
                self.newest.send_replace(Some(Seen { template, at: Instant::now() }));
            }
            tokio::select! {
                changed = templates.changed() => if changed.is_err() { return },
                _ = draining.wait_for(|draining| *draining) => return,
            }
        }
    }

    /// Shows the books from now on.
    pub fn open_books(&self, books: Arc<Books>) {
        // There are no others.
        let _ = self.books.set(books);
    }

    /// Returns the books; nothing while the pool waits for its node.
    pub fn books(&self) -> Option<Arc<Books>> {
        self.books.get().cloned()
    }

    /// Returns the newest template, however old it is.
    pub fn newest(&self) -> Option<Seen> {
        self.newest.borrow().clone()
    }

    /// Returns the height of the tip that the newest template builds on.
    pub(super) fn tip_height(&self) -> Option<u32> {
        self.newest().map(|seen| seen.template.height.saturating_sub(1))
    }

    /// Returns a found block in network serialisation, if it is kept.
    ///
    /// # Errors
    ///
    /// If it cannot be read.
    pub(crate) async fn raw_block(&self, hash: BlockHash) -> io::Result<Option<Vec<u8>>> {
        let Some(kept) = self.kept_blocks.clone() else { return Ok(None) };
        spawn_blocking(move || kept.raw(hash)).await.unwrap_or_else(|error| Err(io::Error::other(error)))
    }

    /// Returns the newest template if it is no older than a live node would leave it.
    ///
    /// # Errors
    ///
    /// What is missing.
    pub fn check_ready(&self, now: Instant) -> Result<Seen, String> {
        let Some(seen) = self.newest() else { return Err("the pool waits for its node, see its log".to_owned()) };
        let age = now.saturating_duration_since(seen.at);
        if age > self.longest {
            return Err(format!("the node has given no template for {} s", age.as_secs()));
        }
        Ok(seen)
    }

    /// Notes whether a found block is on its way, and returns for how long there has been one, as far as is known.
    pub(super) fn pending_for(&self, is_pending: bool, now: Instant) -> Duration {
        let mut since = self.pending_since.lock().unwrap_or_else(PoisonError::into_inner);
        if is_pending {
            now.saturating_duration_since(*since.get_or_insert(now))
        } else {
            *since = None;
            Duration::ZERO
        }
    }
}
