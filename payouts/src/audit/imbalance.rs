//! A small check for a pool that runs: that the balances are the sums of their postings, sum to zero, and have their
//! coins in the wallet.

use std::collections::BTreeMap;

use bitcoin::SignedAmount;

use super::{CATCH_UP_ATTEMPTS, PAGE, coins_of};
use crate::{
    ledger::{EntrySeq, LedgerAccount},
    store::{Store, StoreError},
    wallet::WalletBalance,
};

/// Something about the balances that must never be.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Imbalance {
    /// Debits and credits differ.
    #[error("the balances sum to {sum_sat} sat instead of zero")]
    Total {
        /// What they sum to.
        sum_sat: i128,
    },
    /// The balance kept for an account is not the sum of its postings.
    #[error("account {account} has balance {kept_sat} sat, but its postings sum to {posted_sat}")]
    Balance {
        /// The account.
        account: LedgerAccount,
        /// The stored balance.
        kept_sat: i128,
        /// The sum of its postings.
        posted_sat: i128,
    },
    /// The ledger's coins are not those of the wallet.
    #[error("immature, spendable and in flight sum to {ledger_sat} sat, but the wallet has {wallet_sat}")]
    Coins {
        /// What the ledger says.
        ledger_sat: i128,
        /// What the wallet has on the chain.
        wallet_sat: i128,
    },
}

impl Imbalance {
    /// Returns how far two sums that should agree are apart, in satoshis.
    pub fn difference_sat(&self) -> u128 {
        match self {
            Self::Total { sum_sat } => sum_sat.unsigned_abs(),
            Self::Balance { kept_sat, posted_sat, .. } => kept_sat.abs_diff(*posted_sat),
            Self::Coins { ledger_sat, wallet_sat } => ledger_sat.abs_diff(*wallet_sat),
        }
    }
}

/// Checks the balances again and again. Between checks it keeps the sums of the postings, so that each reads only the
/// entries that are new; the first reads all.
#[derive(Debug)]
pub struct BalanceWatch {
    last: EntrySeq,
    sums: BTreeMap<LedgerAccount, i128>,
    suspected: Option<Imbalance>,
    in_doubt: bool,
}

impl Default for BalanceWatch {
    fn default() -> Self {
        Self { last: EntrySeq::new(0), sums: BTreeMap::new(), suspected: None, in_doubt: false }
    }
}

impl BalanceWatch {
    /// Checks the balances, and returns all that is wrong with them.
    ///
    /// Give the wallet's balance only if blocks and wallet were just brought to the same tip. Even then a block on its
    /// way into the books is in one of them first, so a difference of coins is not told before it is seen a second
    /// time; until then [`BalanceWatch::is_in_doubt`].
    ///
    /// # Errors
    ///
    /// If the store fails, or entries come faster than they are read.
    pub async fn check(
        &mut self,
        store: &dyn Store,
        wallet: Option<WalletBalance>,
    ) -> Result<Vec<Imbalance>, StoreError> {
        let kept = self.read(store).await?;
        let mut wrong = Vec::new();
        let sum_sat = kept.values().map(|amount| i128::from(amount.to_sat())).sum();
        if sum_sat != 0 {
            wrong.push(Imbalance::Total { sum_sat });
        }
        let mut accounts: Vec<_> = self.sums.keys().chain(kept.keys()).copied().collect();
        accounts.sort_unstable();
        accounts.dedup();
        for account in accounts {
            let kept_sat = kept.get(&account).map_or(0, |amount| i128::from(amount.to_sat()));
            let posted_sat = self.sums.get(&account).copied().unwrap_or_default();
            if kept_sat != posted_sat {
                wrong.push(Imbalance::Balance { account, kept_sat, posted_sat });
            }
        }
        if let Some(wallet) = wallet {
            let wallet_sat = i128::from(wallet.mature.to_sat()) + i128::from(wallet.immature.to_sat());
            let ledger_sat = coins_of(&kept);
            let differs = (ledger_sat != wallet_sat).then_some(Imbalance::Coins { ledger_sat, wallet_sat });
            let before = std::mem::replace(&mut self.suspected, differs.clone());
            let is_sure = before == differs;
            self.in_doubt = differs.is_some() && !is_sure;
            wrong.extend(differs.filter(|_| is_sure));
        }
        Ok(wrong)
    }

    /// Tells whether a difference of coins was seen once, so that another check should follow soon.
    pub fn is_in_doubt(&self) -> bool {
        self.in_doubt
    }

    /// Adds up the entries that are new, and returns the balances kept at the last of them.
    async fn read(&mut self, store: &dyn Store) -> Result<BTreeMap<LedgerAccount, SignedAmount>, StoreError> {
        for _ in 0..CATCH_UP_ATTEMPTS {
            loop {
                let entries = store.entries(self.last, PAGE).await?;
                let Some(newest) = entries.last() else { break };
                self.last = newest.seq;
                for posting in entries.iter().flat_map(|entry| &entry.postings) {
                    *self.sums.entry(posting.account).or_default() += i128::from(posting.amount.to_sat());
                }
            }
            let kept = store.balances().await?;
            if store.head().await?.seq == self.last {
                return Ok(kept);
            }
        }
        Err(StoreError::Contended)
    }
}
