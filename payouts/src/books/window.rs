//! Reads the window of a block from the share log.

use crate::{
    books::FoundBlock,
    scheme::{rule::Rule, window::Window},
    share::ShareSeq,
    store::{Store, StoreError},
};

/// Shares read from the store at a time.
const SHARE_PAGE: u32 = 10_000;

/// Counts the shares that a block pays for, back from where its job was issued; nothing if shares do not matter.
///
/// Pages go by position, which no two shares have in common, and not by time. The window ends when it is full or the
/// log begins, never at a pause.
pub(super) async fn counted(store: &dyn Store, found: &FoundBlock, rule: Rule) -> Result<Option<Window>, StoreError> {
    let Some(mut window) = rule.open_window(found.nbits) else { return Ok(None) };
    let mut newest = found.share_position;
    while !window.is_full() {
        let page = store.shares_back(newest, SHARE_PAGE).await?;
        let Some(oldest) = page.last() else { break };
        newest = ShareSeq::new(oldest.seq.get() - 1);
        page.iter().for_each(|share| window.count(share));
    }
    Ok(Some(window))
}
