//! Hash rates out of the pool's past, and how far they can be trusted.
//!
//! Owns how shares are told as hashes a second, for figures and charts alike. Whose past it is and how finely it is kept, is
//! said in [`payouts::history`].

use payouts::{
    history::{Measured, Past, Progress, Span, Subject},
    store::Store,
};
use serde::{Deserialize, Serialize};

use super::{Refusal, workers::HASHES_PER_DIFFICULTY};

/// What was done in a stretch of time.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct HashRate {
    /// How long the stretch is, in seconds. Shorter than asked for where the pool's past begins later.
    pub seconds: f64,
    /// The number of shares in it.
    pub shares: u64,
    /// Hashes a second that their work comes to.
    pub hash_rate: f64,
    /// Chance alone may have moved it: in 19 cases of 20 the miners' hash rate is at least this. Nothing without shares.
    pub low: Option<f64>,
    /// And at most this.
    pub high: Option<f64>,
}

impl HashRate {
    /// Tells shares of a stretch as a hash rate.
    pub(super) fn of(shares: &Measured, Window { from_ms, to_ms }: Window) -> HashRate {
        let seconds = to_ms.saturating_sub(from_ms).max(1) as f64 / 1_000.0;
        let rate = |difficulty: f64| difficulty * HASHES_PER_DIFFICULTY / seconds;
        let band = shares.band();
        HashRate {
            seconds,
            shares: shares.count(),
            hash_rate: rate(shares.work().approximate()),
            low: band.map(|band| rate(band.low)),
            high: band.map(|band| rate(band.high)),
        }
    }
}

/// A stretch of time that ends where the past is known up to, in whole stretches of the span's resolution.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Window {
    /// Where it begins, in milliseconds since 1970 UTC: at a stretch's begin, or where the past begins.
    pub(super) from_ms: i64,
    /// Where it ends.
    pub(super) to_ms: i64,
}

impl Window {
    /// The last `span` that is known, at least.
    pub(super) fn of(span: Span, progress: &Progress) -> Window {
        let &Progress { since_ms, until_ms, .. } = progress;
        let from_ms = span.resolution().begin_of(until_ms.saturating_sub(span.length_ms()));
        Window { from_ms: from_ms.max(since_ms).min(until_ms), to_ms: until_ms }
    }
}

/// Reads somebody's past over a span.
pub(super) async fn past_of(
    store: &dyn Store,
    subject: Subject,
    span: Span,
    progress: &Progress,
) -> Result<(Window, Past), Refusal> {
    let (window, resolution) = (Window::of(span, progress), span.resolution());
    let past = store.past(subject, resolution, resolution.begin_of(window.from_ms), window.to_ms).await?;
    Ok((window, past))
}

/// Tells somebody's hash rate over a span that ends with what is known, which is half a minute ago.
///
/// # Errors
///
/// When the store cannot be read.
pub async fn hash_rate(store: &dyn Store, subject: Subject, span: Span) -> Result<HashRate, Refusal> {
    let Some(progress) = store.history_progress().await? else { return Ok(HashRate::default()) };
    let (window, past) = past_of(store, subject, span, &progress).await?;
    Ok(HashRate::of(&measured(&past), window))
}

/// Counts the shares of a past.
pub(super) fn measured(past: &Past) -> Measured {
    past.work.iter().map(|&(_, difficulty, count)| (difficulty, count)).collect()
}
