//! Settlement: follows the pool's blocks on the chain by their hashes, pays out what has become due, and checks from
//! time to time that the books balance.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use payouts::{
    audit::BalanceWatch,
    books::{BlockPhase, Books, ChainPosition},
    payout::{Payer, PayoutEvent},
    store::Store,
    wallet::WalletBalance,
};
use tokio::{sync::watch, time::timeout};
use tracing::{error, info, warn};

use crate::template::{
    LatestTemplate,
    node::{BlockStatus, Node},
};

/// How often the chain is looked at although nothing was heard.
const INTERVAL: Duration = Duration::from_secs(30);

/// How often the balances are checked; also at each block that matures.
const BALANCE_CHECK_INTERVAL: Duration = Duration::from_secs(600);

/// What settlement reacts to.
pub struct Signals {
    /// The newest template: another tip may bury or orphan a block.
    pub templates: watch::Receiver<LatestTemplate>,
    /// Signalled when a found block was entered in the books.
    pub found: watch::Receiver<()>,
    /// Turns true when the pool shuts down.
    pub draining: watch::Receiver<bool>,
}

/// Settles after each new tip and each found block, until the pool shuts down. What fails is tried again the next
/// time; each step may be repeated.
pub async fn settle_all(node: Node, store: Arc<dyn Store>, books: Arc<Books>, mut payer: Payer, mut signals: Signals) {
    let mut settled_tip = None;
    let mut balances = BalanceCheck::default();
    while !*signals.draining.borrow() {
        let followed = follow_blocks(&node, &books).await;
        match &followed {
            Ok(moved) => balances.due |= *moved == Moved::Matured,
            Err(error) => warn!(%error, "blocks could not be followed, will try again"),
        }
        let paid = payer.step().await;
        match &paid {
            Ok(events) => events.iter().for_each(tell),
            Err(error) => warn!(%error, "payouts could not be made, will try again"),
        }
        // Only if both went well do blocks and wallet stand at one tip.
        let wallet = (followed.is_ok() && paid.is_ok()).then(|| payer.wallet().balance());
        balances.perform(&*store, wallet).await;
        // Whatever ends the wait, and also when nothing does, all is looked at anew.
        let _ = timeout(INTERVAL, changed(&mut signals, &mut settled_tip)).await;
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
    async fn perform(&mut self, store: &dyn Store, wallet: Option<WalletBalance>) {
        if !self.due && !self.watch.is_in_doubt() && self.checked.elapsed() < BALANCE_CHECK_INTERVAL {
            return;
        }
        match self.watch.check(store, wallet).await {
            Ok(wrong) => {
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

/// Waits for another tip, a found block or the end.
async fn changed(signals: &mut Signals, settled_tip: &mut Option<bitcoin::BlockHash>) {
    loop {
        tokio::select! {
            changed = signals.templates.changed() => {
                let tip = signals.templates.borrow_and_update().as_ref().map(|template| template.prev_hash);
                if changed.is_err() || tip != *settled_tip {
                    *settled_tip = tip;
                    return;
                }
            }
            _ = signals.found.changed() => return,
            _ = signals.draining.changed() => return,
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
async fn follow_blocks(node: &Node, books: &Books) -> anyhow::Result<Moved> {
    let mut moved = Moved::NoneMatured;
    let tip_height = node.check_ready().await?.blocks;
    for block in books.watched(tip_height).await? {
        let hash = block.found.hash;
        let position = match node.block_status(hash).await? {
            BlockStatus::InBestChain { confirmations, .. } => ChainPosition::Confirmed { confirmations },
            // A node that was set up anew may not have heard of a block that lost its race.
            BlockStatus::NotInBestChain | BlockStatus::Unknown => ChainPosition::NotInBestChain,
        };
        let state = books.settle(hash, position).await?;
        if state != block.state {
            info!(block_hash = %hash, height = block.found.height, phase = ?state.phase, "block moved");
            if state.phase == BlockPhase::Matured {
                moved = Moved::Matured;
            }
        }
    }
    Ok(moved)
}

fn tell(event: &PayoutEvent) {
    match event {
        PayoutEvent::Created { batch, txid, outputs, paid, network_fee } => {
            info!(batch = batch.get(), %txid, outputs, %paid, %network_fee, "payout created");
        }
        PayoutEvent::Broadcast { batch, txid } => info!(batch = batch.get(), %txid, "payout broadcast"),
        PayoutEvent::Confirmed { batch, txid, block, records } => {
            info!(batch = batch.get(), %txid, block_hash = %block.hash, records, "payout confirmed and recorded");
        }
        PayoutEvent::Reversed { batch, txid, block } => {
            warn!(batch = batch.get(), %txid, block_hash = %block.hash, "payout's block left the chain, sending it again");
        }
        PayoutEvent::Refused { batch, txid, reason } => {
            warn!(batch = batch.get(), %txid, reason, "node does not take the payout now, will send it again");
        }
        PayoutEvent::Waiting { accounts, due } => info!(accounts, %due, "payouts wait for coins"),
    }
}
