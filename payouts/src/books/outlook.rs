//! What a block would credit if it were found now: the window of the next block, split as if.

use std::collections::BTreeMap;

use bitcoin::{Amount, CompactTarget};

use super::{Books, BooksError, window};
use crate::{
    account::AccountId,
    scheme::{
        BlockReward, beneficiary,
        rule::Rule,
        slice::SliceParts,
        window::{Counted, Measure, Window},
    },
    share::ShareSeq,
    store::StoreError,
};

/// What a block would credit if its job were made now.
#[derive(Clone, Debug)]
pub struct Outlook {
    /// The rule by which it would be split.
    pub rule: Rule,
    /// What its coinbase would pay.
    pub reward: BlockReward,
    /// What would go to the reserve, out of which work is paid whatever is found.
    pub reserve: Amount,
    /// The pool's fee on the rest.
    pub fee: Amount,
    window: Window,
    credits: BTreeMap<AccountId, Amount>,
}

impl Outlook {
    /// Returns what it would credit to an account, after what accounts wish to give to each other.
    pub fn credit(&self, account: AccountId) -> Amount {
        self.credits.get(&account).copied().unwrap_or_default()
    }

    /// Returns what would be counted of an account.
    pub fn counted(&self, account: AccountId) -> Counted {
        self.window.counted(account)
    }

    /// Returns what would be counted of all accounts.
    pub fn total(&self) -> Counted {
        self.window.total()
    }

    /// Returns what shares are measured by.
    pub fn measure(&self) -> Measure {
        self.window.measure()
    }

    /// Returns what SLICE would split by; nothing under other schemes.
    pub fn slices(&self) -> Option<&SliceParts> {
        self.window.slices()
    }

    /// Tells whether the window is full: then old shares leave it as new ones come.
    pub fn is_full(&self) -> bool {
        self.window.is_full()
    }
}

impl Books {
    /// Works out what a block at `height` would credit that met the target `nbits`, were its job made now. Nothing if shares do
    /// not matter, no window is kept counted though the scheme has one that can be, or there is no share.
    ///
    /// Under SLICE the window is read from the store each time, which takes as long as its shares are many.
    ///
    /// # Errors
    ///
    /// If the store fails.
    pub async fn outlook(
        &self,
        height: u32,
        nbits: CompactTarget,
        reward: BlockReward,
    ) -> Result<Option<Outlook>, BooksError> {
        let position = self.store.share_position().await?;
        let rule = self.rule(self.scheme, height, position).await?;
        let Some(window) = self.next_window(rule, nbits, position).await? else { return Ok(None) };
        if window.span().is_none() {
            return Ok(None);
        }
        // With shares in the window, nobody gets anything for being the finder.
        let split = rule.split(reward, Some(&window), AccountId::new(0));
        let credits = beneficiary::assign(&split.credits, &self.store.wishes(position).await?);
        Ok(Some(Outlook { rule, reward, reserve: split.reserve, fee: split.fee, window, credits }))
    }

    /// Counts the window of the next block as of a position; nothing if there is none.
    async fn next_window(
        &self,
        rule: Rule,
        nbits: CompactTarget,
        position: ShareSeq,
    ) -> Result<Option<Window>, BooksError> {
        match (rule, &self.running, rule.open_window(nbits)) {
            (Rule::Slice(_), ..) => match window::counted(&*self.store, rule, nbits, position).await {
                // The newest segment has grown meanwhile. A block found now has its job from before, and does without it.
                Err(StoreError::Contended) => {
                    let before = ShareSeq::new(position.get() - 1);
                    Ok(window::counted(&*self.store, rule, nbits, before).await?)
                }
                counted => Ok(counted?),
            },
            (_, Some(running), Some(open)) => {
                Ok(Some(window::move_to(&mut *running.lock().await, &*self.store, position, open).await?))
            }
            _ => Ok(None),
        }
    }
}
