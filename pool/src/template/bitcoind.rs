//! Templates from bitcoind: when a new one is fetched, and who gets it.
//!
//! Two threads for the node in use. One waits for the node's tip to change, with `waitfornewblock`, and says so; where the tip alone tells
//! enough, it publishes a template without transactions, long before the node has made one ([`super::tip`]). The other
//! alone fetches templates, when the tip has changed and otherwise at an interval, and publishes them. With a single
//! owner of what the node makes, an older template never overtakes a newer one; and what was being made when the tip
//! changed is not published. The long poll of `getblocktemplate` would be a second fetcher,
//! whose answers race with the first one's. It wakes on the same event in the node and saves one round trip, which was
//! half a millisecond on one machine; and it tells of new transactions only after a minute, later than the interval.
//! When another node is turned to, it gets two threads of its own: those of a node that hangs end when it lets them, and
//! nothing that they still bring is published.

use std::{
    sync::{
        Arc,
        mpsc::{self, Receiver, RecvTimeoutError, SyncSender},
    },
    thread,
    time::{Duration, Instant},
};

use bitcoin::BlockHash;
use tokio::sync::watch;
use tracing::{debug, info, warn};

use super::{
    LatestTemplate, Template, choice,
    node::{CALL_TIMEOUT, ChainInfo, Node, NodeError},
    nodes::Nodes,
    notice::Notice,
};
use crate::tasks::Ending;

/// How long one call waits for a new tip. It also bounds how long the thread outlives its last reader.
const TIP_WAIT: Duration = Duration::from_secs(10);

/// A wait that ends with nothing new before this is followed by a pause: a node that is stopping answers at once.
const SHORTEST_WAIT: Duration = Duration::from_millis(100);

/// The pause after the first failure; it doubles with each further one.
const FIRST_RETRY: Duration = Duration::from_millis(250);

/// The longest pause between two attempts.
const LAST_RETRY: Duration = Duration::from_secs(5);

/// How often a node that is not ready is asked again.
pub const READY_POLL: Duration = Duration::from_secs(1);

/// Waits until a node answers, follows the right network and has all blocks, and says in the log what it waits for.
///
/// A node that is down is not an error: the operator may start it after the pool.
pub async fn wait_until_ready(nodes: &Nodes) -> ChainInfo {
    let mut notice = Notice::default();
    loop {
        match nodes.choose().await {
            Ok(info) => {
                info!(height = info.blocks, tip = %info.best_block, "bitcoind is ready");
                return info;
            }
            Err(error) => say(&mut notice, &error),
        }
        tokio::time::sleep(READY_POLL).await;
    }
}

/// What is done when there is a new tip.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnNewTip {
    /// Publish a template without transactions if it is certain, and the node's own when it is there.
    EmptyFirst,
    /// Wait for the node's template.
    Wait,
}

/// Starts to fetch templates. There is none until the node has given the first; from then on the newest is kept, also
/// when the node is down.
///
/// A new tip is seen when it happens; without one, a fresh template comes before the last is `refresh` old. It ends when
/// all receivers are gone; a thread that panics ends the pool by `ending`.
///
/// # Panics
///
/// When the operating system can start no more threads.
pub(crate) fn follow_templates(
    nodes: &Nodes,
    refresh: Duration,
    on_new_tip: OnNewTip,
    ending: &Ending,
) -> watch::Receiver<LatestTemplate> {
    let (publisher, templates) = watch::channel(None);
    let (publisher, nodes, ending) = (Arc::new(publisher), nodes.clone(), ending.clone());
    let threads = ending.clone();
    let begin = move |publisher: &Arc<watch::Sender<LatestTemplate>>, nodes: &Nodes| {
        let source = Source { node: nodes.current(), term: nodes.in_use().term, nodes: nodes.clone() };
        let (publisher, notice) = (Arc::clone(publisher), Notice::default());
        let fetcher = Fetcher { source, refresh, on_new_tip, publisher, notice, ending: threads.clone() };
        threads.vital_thread("template".to_owned(), move || fetcher.run());
    };
    begin(&publisher, &nodes);
    if nodes.all().len() > 1 {
        let threads = ending.clone();
        let watch = move || choice::watch(&nodes, &threads, || !publisher.is_closed(), || begin(&publisher, &nodes));
        ending.vital_thread("nodes".to_owned(), watch);
    }
    templates
}

/// The node in use, for as long as it is.
#[derive(Clone)]
struct Source {
    node: Node,
    term: u64,
    nodes: Nodes,
}

impl Source {
    fn is_in_use(&self) -> bool {
        self.nodes.in_use().term == self.term
    }
}

/// The owner of the published template.
struct Fetcher {
    source: Source,
    refresh: Duration,
    on_new_tip: OnNewTip,
    publisher: Arc<watch::Sender<LatestTemplate>>,
    notice: Notice,
    ending: Ending,
}

impl Fetcher {
    fn run(mut self) {
        // One place: a signal that waits already stands for all that come before it is read.
        let (signal, signals) = mpsc::sync_channel(1);
        let (source, publisher) = (self.source.clone(), Arc::clone(&self.publisher));
        let tips = Tips { source, on_new_tip: self.on_new_tip, publisher, signal };
        self.ending.vital_thread("tip".to_owned(), move || tips.run());
        let mut retry = FIRST_RETRY;
        while !self.publisher.is_closed() && self.source.is_in_use() {
            let tip = self.published_tip();
            let pause = match self.fetch() {
                Ok(template) => {
                    retry = FIRST_RETRY;
                    self.publish(template, tip);
                    // The rest is for the node to answer.
                    self.refresh * 5 / 6
                }
                Err(error) => {
                    self.source.node.distrust();
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

    fn fetch(&self) -> Result<Template, NodeError> {
        // Whoever it was that met a failure: the node that answers now may be another one.
        if !self.source.node.is_checked() {
            self.source.node.check_ready_now(CALL_TIMEOUT)?;
        }
        let begun = Instant::now();
        let template = self.source.node.template_now()?;
        self.source.nodes.metrics().build(&template, begun.elapsed());
        // One that does not follow the last is of a reorganisation, or of another node that has taken the place of ours
        // without a call having failed.
        let follows = |last: &Arc<Template>| template.prev_hash == last.prev_hash || template.height == last.height + 1;
        if !self.publisher.borrow().as_ref().is_none_or(follows) {
            self.source.node.check_ready_now(CALL_TIMEOUT)?;
        }
        Ok(template)
    }

    fn published_tip(&self) -> Option<BlockHash> {
        self.publisher.borrow().as_ref().map(|template| template.prev_hash)
    }

    /// Publishes what the node has made since `tip` was the published one.
    fn publish(&mut self, template: Template, tip: Option<BlockHash>) {
        if self.source.is_in_use() && self.notice.clear() {
            info!(height = template.height, "templates come again");
        }
        let (height, prev_hash, transactions) = (template.height, template.prev_hash, template.transactions.len());
        // Within one second and without new transactions the node gives the same again: no miner needs to hear of it.
        let is_news = self.publisher.send_if_modified(|latest| {
            let published = latest.as_ref().map(|template| template.prev_hash);
            // Was it made for the tip before? Then another has to be fetched, and the signal for it is on its way.
            let is_late = published != tip && published != Some(prev_hash);
            let is_news = !is_late && self.source.is_in_use() && latest.as_deref() != Some(&template);
            if is_news {
                *latest = Some(Arc::new(template));
            }
            is_news
        });
        if is_news {
            self.source.nodes.metrics().publish(height, prev_hash);
            debug!(height, %prev_hash, transactions, "new template");
        }
    }
}

/// Watches the node's tip.
struct Tips {
    source: Source,
    on_new_tip: OnNewTip,
    publisher: Arc<watch::Sender<LatestTemplate>>,
    signal: SyncSender<()>,
}

impl Tips {
    fn run(self) {
        let mut known = None;
        let node = &self.source.node;
        while !self.publisher.is_closed() && self.source.is_in_use() {
            let asked = Instant::now();
            let tip = match known {
                None => node.best_block_now(),
                Some(known) => node.wait_for_tip_now(known, TIP_WAIT),
            };
            match tip {
                Ok(tip) => {
                    let published = self.publisher.borrow().clone();
                    if published.as_ref().is_none_or(|template| template.prev_hash != tip) {
                        self.source.nodes.metrics().notice(tip, Instant::now());
                        // Before the node begins to make a template, with which it answers nobody else.
                        if let (OnNewTip::EmptyFirst, Some(last)) = (self.on_new_tip, published) {
                            self.publish_empty(&last, tip);
                        }
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

impl Tips {
    /// Publishes a template without transactions on a new tip if `last` and the tip leave no doubt about it.
    fn publish_empty(&self, last: &Template, tip: BlockHash) {
        let noticed = Instant::now();
        let Source { node, .. } = &self.source;
        let network = node.network();
        // Where the height alone decides against it, the node is not kept from making a template.
        if last.next(network).is_none() {
            return;
        }
        let next = node.header_now(tip).map(|header| last.after_tip(&header, network));
        let Ok(Some(next)) = next else {
            debug!(%tip, "the next template is left to the node");
            return;
        };
        let height = next.height;
        let is_first = self.publisher.send_if_modified(|latest| {
            let is_first =
                self.source.is_in_use() && latest.as_ref().is_some_and(|template| template.prev_hash == last.prev_hash);
            if is_first {
                *latest = Some(Arc::new(next));
            }
            is_first
        });
        if is_first {
            self.source.nodes.metrics().publish(height, tip);
            debug!(height, %tip, after_us = noticed.elapsed().as_micros(), "template without transactions");
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
