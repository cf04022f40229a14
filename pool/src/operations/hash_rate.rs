//! The hash rate of the whole pool, out of the share log, and how far it can be trusted.

use payouts::store::Store;
use serde::{Deserialize, Serialize};

use super::{Refusal, workers::HASHES_PER_DIFFICULTY};

/// What the pool has done in a stretch of time that ends now.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct HashRate {
    /// How long the stretch is, in seconds. Shorter than asked for where the share log begins later.
    pub seconds: f64,
    /// The number of shares in it.
    pub shares: u64,
    /// Hashes a second that their work comes to.
    pub hash_rate: f64,
    /// By what part of it chance alone may have moved it, either way, two times in three: 1 over the root of the number
    /// of shares. Nothing without shares.
    pub relative_error: Option<f64>,
}

/// Tells the pool's hash rate over the last `period_ms` before `now_ms`.
///
/// # Errors
///
/// When the store cannot be read.
pub async fn hash_rate(store: &dyn Store, period_ms: i64, now_ms: i64) -> Result<HashRate, Refusal> {
    let since_ms = now_ms.saturating_sub(period_ms);
    let totals = store.share_totals(None, since_ms).await?;
    let kept_since_ms = store.shares_kept_since().await?.unwrap_or(now_ms);
    let seconds = (now_ms.saturating_sub(since_ms.max(kept_since_ms)).max(1) as f64) / 1_000.0;
    Ok(HashRate {
        seconds,
        shares: totals.count,
        hash_rate: totals.work.approximate() * HASHES_PER_DIFFICULTY / seconds,
        relative_error: (totals.count > 0).then(|| (totals.count as f64).sqrt().recip()),
    })
}
