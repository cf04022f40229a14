//! What was counted for a block, as it is kept with its split: its credits are explained from it after its shares were
//! folded or deleted.

use std::collections::BTreeMap;

use crate::{
    account::AccountId,
    scheme::{
        slice::SliceParts,
        window::{Counted, EdgeSegment, Window},
    },
    share::ShareSeq,
};

/// The window of a block, without what follows from the block's rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FrozenWindow {
    /// The positions of the oldest and the newest segment that count.
    pub span: (ShareSeq, ShareSeq),
    /// The segment of which only a part counts.
    pub edge: Option<EdgeSegment>,
    /// What was counted of each account.
    pub accounts: BTreeMap<AccountId, Counted>,
    /// What SLICE splits by; nothing under other schemes.
    pub slices: Option<SliceParts>,
}

impl FrozenWindow {
    /// Keeps what was counted in `window`; nothing if that is nothing.
    pub fn of(window: &Window) -> Option<Self> {
        let (accounts, slices) = (window.accounts().clone(), window.slices().cloned());
        Some(Self { span: window.span()?, edge: window.edge(), accounts, slices })
    }

    /// Returns the window as it was, given the empty one that the block's rule opens.
    pub fn restore(self, opened: Window) -> Window {
        let window = opened.restored(Some(self.span), self.edge, self.accounts);
        match self.slices {
            Some(slices) => window.sliced(slices),
            None => window,
        }
    }
}
