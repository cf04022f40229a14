//! Reads the window of a block from the share log.

use bitcoin::CompactTarget;

use crate::{
    books::slices,
    scheme::{
        rule::Rule,
        running::{OlderNeeded, RunningWindow},
        window::Window,
    },
    share::ShareSeq,
    store::{Store, StoreError},
};

/// Rows read from the store at a time.
pub(super) const ROW_PAGE: u32 = 10_000;

/// Counts the shares that a block pays for which meets the target `nbits`, back from `position`, where its job was made;
/// nothing if shares do not matter.
///
/// Pages go by position, and hold whole segments. The window ends when it is full or the log begins, never at a pause.
pub(super) async fn counted(
    store: &dyn Store,
    rule: Rule,
    nbits: CompactTarget,
    position: ShareSeq,
) -> Result<Option<Window>, StoreError> {
    let Some(mut window) = rule.open_window(nbits) else { return Ok(None) };
    let mut newest = position;
    let mut pages = Vec::new();
    while !window.is_full() {
        let page = store.segments_back(newest, ROW_PAGE).await?;
        let Some(oldest) = page.last() else { break };
        let before = ShareSeq::new(oldest.position.get() - 1);
        pages.push((before, newest));
        newest = before;
        page.iter().for_each(|segment| window.count(segment));
    }
    match rule {
        Rule::Slice(slice) => Ok(Some(slices::cut(store, slice, window, &pages).await?)),
        _ => Ok(Some(window)),
    }
}

/// Counts an open window as of a position with the one that is kept counted, and loads what that has not.
pub(super) async fn move_to(
    running: &mut RunningWindow,
    store: &dyn Store,
    position: ShareSeq,
    open: Window,
) -> Result<Window, StoreError> {
    loop {
        let upto = match running.at(position, open.clone()) {
            Ok(window) => return Ok(window),
            // Nothing was held yet. What is newer than the position comes by itself.
            Err(OlderNeeded { upto: OlderNeeded::ALL }) => position,
            Err(OlderNeeded { upto }) => upto,
        };
        running.prepend(&store.segments_back(upto, ROW_PAGE).await?);
    }
}
