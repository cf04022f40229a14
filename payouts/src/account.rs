//! Who can be credited and paid: an account is a payout address.
//!
//! Whether an address belongs to the pool's network is checked by whoever parses it; here it is taken as given.

use bitcoin::ScriptBuf;

use crate::{id::row_id, scheme::beneficiary::Wishes, share::Reward};

row_id! {
    /// Identifies an account within one store.
    AccountId
}

/// An account: a payout address and the script that pays it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Account {
    /// Its number in the store.
    pub id: AccountId,
    /// The address in its canonical text (bech32 in lower case).
    pub address: String,
    /// The script that an output pays to.
    pub script_pubkey: ScriptBuf,
}

/// What an account asked the pool for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AccountSettings {
    /// Whom its shares are paid for by, from the next opened channel on.
    pub reward: Reward,
    /// What becomes of what it earns.
    pub wishes: Wishes,
}

impl Default for AccountSettings {
    fn default() -> Self {
        Self { reward: Reward::Shared, wishes: Wishes::default() }
    }
}
