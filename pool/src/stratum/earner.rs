//! Whom a channel's shares are credited to: looked up at its first share, for as long as that takes.

use std::{sync::Arc, time::Duration};

use bitcoin::Address;
use payouts::{
    account::AccountId,
    share::Reward,
    store::{Store, StoreError},
};
use tokio::time::sleep;
use tracing::warn;

/// Pause before an account is looked up again in a database that was out of reach.
const RETRY_PAUSE: Duration = Duration::from_secs(1);

/// An account, and by whom its shares are paid for, as it had asked when the channel's first share came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Earner {
    pub(super) account: AccountId,
    pub(super) reward: Reward,
}

/// Looks up the account of an address, again and again while the database is out of reach: a miner who comes then is
/// served all the same, and waits for his first acknowledgement.
pub(super) async fn look_up(store: Arc<dyn Store>, address: Address) -> Result<Earner, StoreError> {
    let mut is_told = false;
    loop {
        match earner_at(&*store, &address).await {
            Err(error @ StoreError::Unavailable { .. }) => {
                if !is_told {
                    warn!(%address, %error, "account cannot be looked up yet, its shares wait");
                    is_told = true;
                }
                sleep(RETRY_PAUSE).await;
            }
            result => return result,
        }
    }
}

/// An account that has asked for nothing mines for the pool.
async fn earner_at(store: &dyn Store, address: &Address) -> Result<Earner, StoreError> {
    let account = store.account(address).await?;
    let reward = store.settings(account).await?.map_or(Reward::Shared, |settings| settings.reward);
    Ok(Earner { account, reward })
}
