//! Settlement: follows the pool's blocks on the chain by their hashes, pays out what has become due, and checks from
//! time to time that the books balance.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use jiff::Timestamp;
use payouts::{
    audit::BalanceWatch,
    books::{BlockPhase, Books, ChainPosition},
    crediting::{Crediting, CreditingEvent},
    deposits::{self, DepositEvent},
    payout::Payer,
    share::ShareSeq,
    store::Store,
    wallet::WalletBalance,
};
use tokio::{
    sync::{mpsc, watch},
    time::{timeout, timeout_at},
};
use tracing::{error, info, warn};

use super::{
    metrics::{BlockMetrics, SettlementMetrics},
    registry::Registry,
    segments::Segments,
    share_log::unix_time_ms,
};
use crate::{
    config::Config,
    operations::{self, Order, Outcome, Refusal, Request},
    screening::ListReader,
    template::{LatestTemplate, node::BlockStatus, nodes::Nodes},
};

/// How often the chain is looked at although nothing was heard.
const INTERVAL: Duration = Duration::from_secs(30);

/// How often the balances are checked; also at each block that matures.
const BALANCE_CHECK_INTERVAL: Duration = Duration::from_secs(600);

/// How long the share log may take to write what is on its way when a period could end.
const SETTLE_TIMEOUT: Duration = Duration::from_secs(10);

/// What settlement reacts to.
pub struct Signals {
    /// The newest template: another tip may bury or orphan a block.
    pub templates: watch::Receiver<LatestTemplate>,
    /// Signalled when a found block was entered in the books.
    pub found: watch::Receiver<()>,
    /// What the operator has set of payments and lists, as of now.
    pub settings: watch::Receiver<Arc<Config>>,
    /// What the operator asks for.
    pub orders: mpsc::Receiver<Order>,
    /// Turns true when the pool shuts down.
    pub draining: watch::Receiver<bool>,
}

/// Payments, and what they are screened by.
pub struct Payments {
    /// Makes them.
    pub payer: Payer,
    /// Reads the lists for it.
    pub lists: ListReader,
}

/// Settles after each new tip, each found block and each order that changes something, until the pool shuts down. What
/// fails is tried again the next time; each step may be repeated.
pub async fn settle_all(
    nodes: Nodes,
    store: Arc<dyn Store>,
    books: Arc<Books>,
    payments: Payments,
    work: Work,
    registry: Arc<Registry>,
    mut signals: Signals,
) {
    let Payments { mut payer, mut lists } = payments;
    let mut settled_tip = None;
    let mut paused = None;
    let mut balances = BalanceCheck::default();
    while !*signals.draining.borrow() {
        if let Err(error) = work.credit(&mut paused).await {
            warn!(%error, "work could not be credited, will try again");
        }
        if signals.settings.has_changed().unwrap_or(false) {
            take_up(&signals.settings.borrow_and_update(), &mut payer, &mut lists);
        }
        match lists.read_changed(&*store).await {
            Ok(Some(lists)) => payer.screening_mut().use_lists(lists),
            Ok(None) => {}
            Err(error) => warn!(%error, "lists could not be read, will try again"),
        }
        // A node that is not ready has no say: one on another chain knows none of the blocks and coins.
        let wallet = match nodes.check_ready().await {
            Ok(info) => settle(&nodes, &*store, &books, &mut payer, &work.metrics, info.blocks, &mut balances).await,
            Err(error) => {
                warn!(%error, "no block is followed and nothing is paid until the node is ready");
                None
            }
        };
        balances.perform(&*store, wallet, &work.metrics).await;
        work.metrics.screen(payer.screening().lists(), payer.screening().standing(unix_time_ms()).is_ok());
        let mut clerk = Clerk { store: &*store, payer: &mut payer, segments: &work.segments, registry: &registry };
        wait(&mut clerk, &mut signals, &mut settled_tip).await;
    }
}

/// Has changed settings hold from now on. New lists are read next; until they are, the old ones are screened by.
fn take_up(settings: &Config, payer: &mut Payer, lists: &mut ListReader) {
    payer.set_policy(operations::payout_policy(settings));
    match ListReader::new(&settings.lists, &settings.export.profile) {
        Ok(reader) => *lists = reader,
        Err(error) => warn!(%error, "the lists stay those of before"),
    }
}

/// Brings blocks, payouts and deposits to the node's tip. Returns the wallet's balance if all of them got there.
async fn settle(
    nodes: &Nodes,
    store: &dyn Store,
    books: &Books,
    payer: &mut Payer,
    metrics: &SettlementMetrics,
    tip_height: u32,
    balances: &mut BalanceCheck,
) -> Option<WalletBalance> {
    let followed = follow_blocks(nodes, books, &metrics.blocks, tip_height).await;
    match &followed {
        Ok(moved) => balances.due |= *moved == Moved::Matured,
        Err(error) => warn!(%error, "blocks could not be followed, will try again"),
    }
    let paid = payer.step().await;
    match &paid {
        Ok(events) => {
            events.iter().for_each(|event| metrics.payout(event));
            events.iter().for_each(operations::tell);
        }
        Err(error) => warn!(%error, "payouts could not be made, will try again"),
    }
    if paid.is_ok() {
        nodes.expect_block(payer.wallet().settled_block());
        match deposits::follow(store, &payer.wallet().deposits()).await {
            Ok(events) => events.iter().for_each(tell_deposit),
            Err(error) => warn!(%error, "deposits could not be booked, will try again"),
        }
    }
    // No block is as high, so these are those on their way.
    match store.batches_to_watch(u32::MAX).await {
        Ok(open) => metrics.open(&open),
        Err(error) => warn!(%error, "payouts on their way could not be counted, will try again"),
    }
    if followed.is_ok() && paid.is_ok() {
        metrics.settle();
    }
    // Only if both went well do blocks and wallet stand at one tip.
    (followed.is_ok() && paid.is_ok()).then(|| payer.wallet().balance())
}

/// Waits until something calls for settlement, and answers orders meanwhile. Also when nothing does, all is looked at
/// anew after a while.
async fn wait(clerk: &mut Clerk<'_>, signals: &mut Signals, settled_tip: &mut Option<bitcoin::BlockHash>) {
    let deadline = tokio::time::Instant::now() + INTERVAL;
    while let Ok(Some(order)) = timeout_at(deadline, changed(signals, settled_tip)).await {
        let changes = order.request.changes();
        if order.is_awaited() {
            let outcome = clerk.perform(&order.request).await;
            order.answer(outcome);
            if changes {
                return;
            }
        }
    }
}

/// What it takes to do orders.
struct Clerk<'a> {
    store: &'a dyn Store,
    payer: &'a mut Payer,
    segments: &'a Segments,
    registry: &'a Registry,
}

impl Clerk<'_> {
    /// Does what an order asks for. Whoever may mine by it may do so when it is answered; if that cannot be said, it is
    /// refused, and the order can be repeated.
    async fn perform(&mut self, request: &Request) -> Result<Outcome, Refusal> {
        let newest_cut = self.segments.newest_cut();
        let outcome = operations::perform(self.store, self.payer, newest_cut, request).await?;
        if request.changes_accounts() {
            self.registry.refresh(self.store).await?;
        }
        Ok(outcome)
    }
}

/// Work that is paid out of the reserve.
pub struct Work {
    /// Pays it.
    pub crediting: Crediting,
    /// The share log that it lies in.
    pub segments: Segments,
    /// What is counted.
    pub metrics: SettlementMetrics,
}

impl Work {
    /// Credits what is over and can be paid. `paused` is what the operator was told of last.
    async fn credit(&self, paused: &mut Option<CreditingEvent>) -> anyhow::Result<()> {
        let upto = ShareSeq::new(self.segments.cut().0);
        // A share log that cannot write holds up nothing but the end of a period.
        if timeout(SETTLE_TIMEOUT, self.segments.settled(upto)).await.is_err() {
            return Ok(());
        }
        for event in self.crediting.step(Timestamp::now().as_millisecond(), upto).await? {
            match event {
                CreditingEvent::Closed { period } => info!(%period, "period of work ended"),
                CreditingEvent::Credited { period, amount, accounts } => {
                    *paused = None;
                    info!(%period, %amount, accounts, "work credited");
                }
                CreditingEvent::Paused { period, amount, missing } if *paused != Some(event) => {
                    *paused = Some(event);
                    error!(
                        %period, amount_sat = amount.to_sat(), missing_sat = missing.to_sat(),
                        "the reserve does not suffice: work is not credited until it does, see `adit reserve show`"
                    );
                }
                CreditingEvent::Paused { .. } | CreditingEvent::AwaitsBlocks { .. } => {}
            }
        }
        Ok(())
    }
}

fn tell_deposit(event: &DepositEvent) {
    match event {
        DepositEvent::Deposited(deposit) => {
            info!(outpoint = %deposit.outpoint, amount = %deposit.amount, "coins came to the pool that it did not make");
        }
        DepositEvent::Undeposited(deposit) => {
            warn!(outpoint = %deposit.outpoint, amount = %deposit.amount, "coins that came to the pool left the chain");
        }
    }
}

/// When the balances are checked. An imbalance is an incident for the operator; it never stops crediting.
struct BalanceCheck {
    watch: BalanceWatch,
    due: bool,
    checked: Instant,
}

impl Default for BalanceCheck {
    fn default() -> Self {
        Self { watch: BalanceWatch::default(), due: true, checked: Instant::now() }
    }
}

impl BalanceCheck {
    /// Checks the balances if it is time, and logs what is wrong.
    async fn perform(&mut self, store: &dyn Store, wallet: Option<WalletBalance>, metrics: &SettlementMetrics) {
        if !self.due && !self.watch.is_in_doubt() && self.checked.elapsed() < BALANCE_CHECK_INTERVAL {
            return;
        }
        match self.watch.check(store, wallet).await {
            Ok(wrong) => {
                metrics.check(&wrong);
                for imbalance in wrong {
                    error!(%imbalance, "incident: the books do not balance, run `adit ledger verify`");
                }
                self.due = false;
                self.checked = Instant::now();
            }
            Err(error) => warn!(%error, "the balances could not be checked, will try again"),
        }
    }
}

/// Waits for another tip, a found block, changed settings, the end, or an order, which it returns.
async fn changed(signals: &mut Signals, settled_tip: &mut Option<bitcoin::BlockHash>) -> Option<Order> {
    // Their change is to be seen still by whoever takes it up.
    let mut settings = signals.settings.clone();
    loop {
        tokio::select! {
            changed = signals.templates.changed() => {
                let tip = signals.templates.borrow_and_update().as_ref().map(|template| template.prev_hash);
                if changed.is_err() || tip != *settled_tip {
                    *settled_tip = tip;
                    return None;
                }
            }
            Some(order) = signals.orders.recv() => return Some(order),
            _ = signals.found.changed() => return None,
            Ok(()) = settings.changed() => return None,
            _ = signals.draining.changed() => return None,
        }
    }
}

/// What following the blocks came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Moved {
    /// A block has matured.
    Matured,
    /// None has.
    NoneMatured,
}

/// Tells the books where each of the pool's blocks stands that may still change.
async fn follow_blocks(nodes: &Nodes, books: &Books, metrics: &BlockMetrics, tip_height: u32) -> anyhow::Result<Moved> {
    let mut positions = Vec::new();
    for block in books.watched(tip_height).await? {
        let position = match nodes.block_status(block.found.hash).await? {
            BlockStatus::InBestChain { confirmations, .. } => ChainPosition::Confirmed { confirmations },
            // A node that was set up anew may not have heard of a block that lost its race.
            BlockStatus::NotInBestChain | BlockStatus::Unknown => ChainPosition::NotInBestChain,
        };
        positions.push((block, position));
    }
    // Another node, on another chain, may have taken the place of the one that was ready.
    nodes.check_ready().await?;
    let (mut moved, mut immature) = (Moved::NoneMatured, 0);
    for (block, position) in positions {
        let hash = block.found.hash;
        let state = books.settle(hash, position).await?;
        immature += usize::from(state.phase == BlockPhase::Immature);
        if state != block.state {
            metrics.step(state.phase.into());
            info!(block_hash = %hash, height = block.found.height, phase = ?state.phase, "block moved");
            if state.phase == BlockPhase::Matured {
                moved = Moved::Matured;
            }
        }
    }
    metrics.immature(immature);
    Ok(moved)
}
