//! An operator's command where no pool runs: it opens store, wallet and node itself.

use std::sync::Arc;

use anyhow::{Context, bail};
use nix::unistd::getuid;
use payouts::store::Store;

use crate::{
    config::Config,
    control::SOCKET_FILE,
    lock::DataLock,
    operations::{self, Actor, Outcome, Request, on_record, open_payer, period, token},
    store,
    template::nodes::Nodes,
};

/// The store of a pool that does not run, and what keeps one from starting meanwhile.
pub(super) struct Alone {
    pub(super) store: Arc<dyn Store>,
    _lock: DataLock,
}

/// Opens the store to write to it, where no pool runs.
///
/// # Errors
///
/// When a pool runs after all, or the books cannot be opened.
pub(super) async fn open(config: &Config) -> anyhow::Result<Alone> {
    let Some(lock) = DataLock::take(&config.data_dir)? else {
        bail!(
            "the pool that works in {} does not answer at {SOCKET_FILE}: it is starting or ending; try again",
            config.data_dir.display()
        );
    };
    // Opening would make an empty database of a wrong path.
    store::check_exists(&config.store)?;
    let store = store::open(&config.store).await.context("this is decided where the pool runs, or while none does")?;
    Ok(Alone { store, _lock: lock })
}

/// Does a request where no pool runs, with store, wallet and node of its own.
///
/// # Errors
///
/// When a pool runs after all, the books cannot be opened, or the request is refused.
pub(super) async fn perform(config: &Config, request: Request) -> anyhow::Result<Outcome> {
    let Alone { store, _lock } = open(config).await?;
    let actor = Actor::User { uid: getuid().as_raw() };
    if request.needs_store_alone() {
        let done = async {
            match token::perform(&*store, &request).await {
                Some(outcome) => outcome,
                None => period::perform_with_store(&*store, &request).await.expect("it is about tokens or periods"),
            }
        };
        return Ok(on_record(&*store, &actor, &request, done).await?);
    }
    let keys = config.payout.wallet.read(config.network)?;
    let nodes = Nodes::new(&config.bitcoind, config.network);
    // If none is ready, what needs a node says so.
    let _ = nodes.choose().await;
    let (mut payer, mut lists) = open_payer(config, Arc::clone(&store), keys, Arc::new(nodes.client())).await?;
    if request.screens()
        && let Some(lists) = lists.read_changed(&*store).await?
    {
        payer.screening_mut().use_lists(lists);
    }
    // No job of the stopped pool has a later position.
    let newest_cut = store.share_position().await?;
    let done = operations::perform(&*store, &mut payer, newest_cut, &request);
    Ok(on_record(&*store, &actor, &request, done).await?)
}
