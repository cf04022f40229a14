//! Templates from bitcoind: when a new one is fetched, and who gets it.
//!
//! Two threads. One waits for the node's tip to change, with `waitfornewblock`, and does nothing but say so. The other
//! alone fetches templates, when the tip has changed and otherwise at an interval, and publishes them: with a single
//! owner, an older template never overtakes a newer one. The long poll of `getblocktemplate` would be a second fetcher,
//! whose answers race with the first one's. It wakes on the same event in the node and saves one round trip, which was
//! half a millisecond on one machine; and it tells of new transactions only after a minute, later than the interval.

use std::{
    sync::{
        Arc,
        mpsc::{self, Receiver, RecvTimeoutError, SyncSender},
    },
    thread,
    time::{Duration, Instant},
};

use tokio::sync::watch;
use tracing::{debug, info, warn};

use super::{
    LatestTemplate, Template,
    node::{ChainInfo, Node, NodeError},
    notice::Notice,
};

/// How long one call waits for a new tip. It also bounds how long the thread outlives its last reader.
const TIP_WAIT: Duration = Duration::from_secs(10);

/// A wait that ends with nothing new before this is followed by a pause: a node that is stopping answers at once.
const SHORTEST_WAIT: Duration = Duration::from_millis(100);

/// The pause after the first failure; it doubles with each further one.
const FIRST_RETRY: Duration = Duration::from_millis(250);

/// The longest pause between two attempts.
const LAST_RETRY: Duration = Duration::from_secs(5);

/// How often a node that is not ready is asked again.
const READY_POLL: Duration = Duration::from_secs(1);

/// Waits until the node answers, follows the right network and has all blocks, and says in the log what it waits for.
///
/// A node that is down is not an error: the operator may start it after the pool.
pub async fn wait_until_ready(node: &Node) -> ChainInfo {
    let mut notice = Notice::default();
    loop {
        match node.check_ready().await {
            Ok(info) => {
                info!(height = info.blocks, tip = %info.best_block, "bitcoind is ready");
                return info;
            }
            Err(error) => say(&mut notice, &error),
        }
        tokio::time::sleep(READY_POLL).await;
    }
}

/// Starts to fetch templates. There is none until the node has given the first; from then on the newest is kept, also
/// when the node is down.
///
/// A new tip is seen when it happens; without one, a fresh template comes before the last is `refresh` old. It ends when
/// all receivers are gone.
///
/// # Panics
///
/// When the operating system can start no more threads.
pub fn follow_templates(node: Node, refresh: Duration) -> watch::Receiver<LatestTemplate> {
    let (publisher, templates) = watch::channel(None);
    let fetcher = Fetcher { node, refresh, publisher: Arc::new(publisher), notice: Notice::default(), ready: false };
    thread::Builder::new().name("template".to_owned()).spawn(move || fetcher.run()).expect("a thread can be started");
    templates
}

/// The owner of the published template.
struct Fetcher {
    node: Node,
    refresh: Duration,
    publisher: Arc<watch::Sender<LatestTemplate>>,
    notice: Notice,
    /// Whether the node was found ready since it last failed. After a failure it may be another node.
    ready: bool,
}

impl Fetcher {
    fn run(mut self) {
        // One place: a signal that waits already stands for all that come before it is read.
        let (signal, signals) = mpsc::sync_channel(1);
        let tips = Tips { node: self.node.clone(), publisher: Arc::clone(&self.publisher), signal };
        thread::Builder::new().name("tip".to_owned()).spawn(move || tips.run()).expect("a thread can be started");
        let mut retry = FIRST_RETRY;
        while !self.publisher.is_closed() {
            let pause = match self.fetch() {
                Ok(template) => {
                    retry = FIRST_RETRY;
                    self.publish(template);
                    // The rest is for the node to answer.
                    self.refresh * 5 / 6
                }
                Err(error) => {
                    self.ready = false;
                    say(&mut self.notice, &error);
                    let pause = retry;
                    retry = (retry * 2).min(LAST_RETRY);
                    pause
                }
            };
            if !wait_for_signal(&signals, pause) {
                break;
            }
        }
    }

    fn fetch(&mut self) -> Result<Template, NodeError> {
        if !self.ready {
            self.node.check_ready_now()?;
            self.ready = true;
        }
        self.node.template_now()
    }

    fn publish(&mut self, template: Template) {
        if self.notice.clear() {
            info!(height = template.height, "templates come again");
        }
        let (height, prev_hash, transactions) = (template.height, template.prev_hash, template.transactions.len());
        // Within one second and without new transactions the node gives the same again: no miner needs to hear of it.
        let is_news = self.publisher.send_if_modified(|latest| {
            let is_news = latest.as_deref() != Some(&template);
            if is_news {
                *latest = Some(Arc::new(template));
            }
            is_news
        });
        if is_news {
            debug!(height, %prev_hash, transactions, "new template");
        }
    }
}

/// Watches the node's tip.
struct Tips {
    node: Node,
    publisher: Arc<watch::Sender<LatestTemplate>>,
    signal: SyncSender<()>,
}

impl Tips {
    fn run(self) {
        let mut known = None;
        while !self.publisher.is_closed() {
            let asked = Instant::now();
            let tip = match known {
                None => self.node.best_block_now(),
                Some(known) => self.node.wait_for_tip_now(known, TIP_WAIT),
            };
            match tip {
                Ok(tip) => {
                    let published = self.publisher.borrow().as_ref().map(|template| template.prev_hash);
                    if published != Some(tip) {
                        // A full channel holds the same signal.
                        let _ = self.signal.try_send(());
                    }
                    if known == Some(tip) && asked.elapsed() < SHORTEST_WAIT {
                        thread::sleep(SHORTEST_WAIT);
                    }
                    known = Some(tip);
                }
                Err(error) => {
                    debug!(%error, "no word of the tip");
                    // The fetcher meets the same trouble, says so, and asks again at its own pace.
                    if known.take().is_some() {
                        let _ = self.signal.try_send(());
                    }
                    thread::sleep(READY_POLL);
                }
            }
        }
    }
}

/// Waits for a signal, `pause` at most. False when none will come any more.
fn wait_for_signal(signals: &Receiver<()>, pause: Duration) -> bool {
    !matches!(signals.recv_timeout(pause), Err(RecvTimeoutError::Disconnected))
}

fn say(notice: &mut Notice, error: &NodeError) {
    let words = error.to_string();
    if notice.is_due(&words, Instant::now()) {
        warn!("waiting: {words}");
    }
}
