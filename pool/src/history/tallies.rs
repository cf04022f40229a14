//! Takes what only connections know into the history: how many shares were refused and why, the best shares, and how many
//! channels there are.
//!
//! It is counted in memory and written once a minute, so a pool that dies forgets the last minute of it at most. The work
//! itself is not counted here: that is in the share log.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use payouts::{
    AccountId,
    history::{PeakRow, Peaks, RefusedRow, Resolution, Stretch, Subject},
    store::{Store, StoreError},
};
use tokio::{sync::watch, time::timeout};
use tracing::warn;

use crate::{
    accounting::share_log::unix_time_ms,
    stratum::{
        metrics::RefusedShare,
        roster::{Roster, Taken, WorkerCounts, channel::Counts},
    },
};

/// How often it is written.
const INTERVAL: Duration = Duration::from_secs(60);
/// How long connections that the pool closes may take until the last is written.
const END_TIMEOUT: Duration = Duration::from_secs(5);
/// Rows of one transaction: shares wait for the disk meanwhile.
const ROWS: usize = 2_000;
/// Accounts and workers that are looked up for a round. What is refused of further ones counts for the pool alone.
const LOOKUPS: usize = 4_096;

/// Keeps the history up with what connections count, until the pool shuts down and they are closed.
#[derive(Clone, Debug)]
pub struct Tallies {
    /// The connections.
    pub roster: Arc<Roster>,
    /// Where the history is.
    pub store: Arc<dyn Store>,
}

/// What there is to add to somebody's history.
#[derive(Clone, Debug, Default)]
struct Tally {
    refused: [u64; RefusedShare::ALL.len()],
    peaks: Peaks,
}

impl Tallies {
    /// Writes once a minute, and once more in the end.
    pub async fn run(self, mut draining: watch::Receiver<bool>) {
        loop {
            let is_over = timeout(INTERVAL, draining.wait_for(|draining| *draining)).await.is_ok();
            if is_over {
                let mut changes = self.roster.changes();
                let _ = timeout(END_TIMEOUT, changes.wait_for(|_| self.roster.count() == 0)).await;
            }
            if let Err(error) = self.write(unix_time_ms()).await {
                warn!(%error, "refused shares of the last minute are missing in the history");
            }
            if is_over {
                return;
            }
        }
    }

    async fn write(&self, now_ms: i64) -> Result<(), StoreError> {
        let taken = self.roster.take_counts();
        let tallies = self.tallies(&taken).await?;
        let (mut refused, mut peaks) = (Vec::new(), Vec::new());
        for (subject, tally) in tallies {
            for resolution in Resolution::ALL {
                let stretch = Stretch { resolution, begins_at_ms: resolution.begin_of(now_ms), subject };
                tally.rows(stretch, &mut refused, &mut peaks);
            }
            if refused.len() + peaks.len() >= ROWS {
                self.store.add_to_history(&refused, &peaks).await?;
                refused.clear();
                peaks.clear();
            }
        }
        self.store.add_to_history(&refused, &peaks).await
    }

    /// Sums up what was taken, for the pool, for accounts, and what was refused for workers too.
    async fn tallies(&self, taken: &Taken) -> Result<BTreeMap<Subject, Tally>, StoreError> {
        let mut tallies: BTreeMap<Subject, Tally> = BTreeMap::new();
        let mut lookups = LOOKUPS;
        tallies.entry(Subject::Pool).or_default().add(&taken.rest());
        for WorkerCounts { address, worker, account, counts } in taken.workers() {
            tallies.entry(Subject::Pool).or_default().add(&counts);
            let Some(account) = self.account(account, &address, &counts, &mut lookups).await? else { continue };
            tallies.entry(Subject::Account(account)).or_default().add(&counts);
            if counts.refused() == 0 || lookups == 0 {
                continue;
            }
            lookups -= 1;
            // A worker that never found a right share has no number, or clients could make as many as they have names for.
            if let Some(worker) = self.store.worker_id(account, &worker).await? {
                let tally = tallies.entry(Subject::Worker(account, worker)).or_default();
                tally.add(&Counts { best_difficulty: 0.0, ..counts });
            }
        }
        for seat in self.roster.after(None, usize::MAX) {
            for channel in seat.channels() {
                let subjects = [Some(Subject::Pool), channel.account().map(Subject::Account)];
                for subject in subjects.into_iter().flatten() {
                    tallies.entry(subject).or_default().peaks.channels += 1;
                }
            }
        }
        Ok(tallies)
    }

    /// Returns the account of an address. A channel knows it from its first right share on; for others it is looked up.
    async fn account(
        &self,
        known: Option<AccountId>,
        address: &str,
        counts: &Counts,
        lookups: &mut usize,
    ) -> Result<Option<AccountId>, StoreError> {
        if known.is_some() || counts.refused() == 0 || *lookups == 0 {
            return Ok(known);
        }
        *lookups -= 1;
        Ok(self.store.find_account(address).await?.map(|account| account.id))
    }
}

impl Tally {
    fn add(&mut self, counts: &Counts) {
        self.refused.iter_mut().zip(counts.refused).for_each(|(sum, more)| *sum += more);
        self.peaks.best = self.peaks.best.max(counts.best_difficulty);
    }

    /// Makes rows of it for a stretch.
    fn rows(&self, stretch: Stretch, refused: &mut Vec<RefusedRow>, peaks: &mut Vec<PeakRow>) {
        for (code, &count) in RefusedShare::ALL.iter().zip(&self.refused) {
            if count > 0 {
                refused.push(RefusedRow { stretch, code: code.name().to_owned(), count });
            }
        }
        if self.peaks != Peaks::default() {
            peaks.push(PeakRow { stretch, peaks: self.peaks });
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::time::Instant;

    use bitcoin::{Address, BlockHash, address::NetworkUnchecked, hashes::Hash};
    use payouts::store::{HistoryStore, sqlite::SqliteStore};

    use super::*;
    use crate::{
        mining::{channel::ChannelKind, difficulty::Difficulty},
        stratum::roster::channel::ChannelWishes,
    };

    const ADDRESS: &str = "bcrt1qw508d6qejxtdg4y5r3zarvary0c5xw7kygt080";
    const NOW_MS: i64 = 1_800_000_000_000;

    #[tokio::test]
    async fn what_connections_count_is_written_once() {
        let folder = tempfile::tempdir().unwrap();
        let store = Arc::new(SqliteStore::open(&folder.path().join("adit.sqlite")).await.unwrap());
        let address: Address<NetworkUnchecked> = ADDRESS.parse().unwrap();
        let address = address.assume_checked();
        let account = store.account(&address).await.unwrap();
        let (roster, now) = (Arc::<Roster>::default(), Instant::now());
        let seated = roster.begin(([192, 0, 2, 1], 9).into(), now);
        let open = |id: u32| {
            let (connection, worker) = (seated.seat().id(), format!("rig {id}").into());
            let kind = ChannelKind::Standard;
            let wishes =
                ChannelWishes { connection, id, kind, address: address.clone(), worker, nominal_hash_rate: 1e9 };
            seated.open(wishes, Difficulty::from_log2(0), now)
        };
        let (mut one, mut other) = (open(1), open(2));
        one.note_account(account);
        let hash = BlockHash::from_byte_array(Difficulty::from_log2(9).target().to_le_bytes());
        one.accept(Difficulty::from_log2(0), hash, now);
        one.refuse(RefusedShare::Stale, now);
        // Its account is not known to the channel, which had no right share.
        other.refuse(RefusedShare::Stale, now);
        other.refuse(RefusedShare::Duplicate, now);

        let tallies = Tallies { roster, store: Arc::clone(&store) as Arc<dyn Store> };
        for _ in 0..2 {
            tallies.write(NOW_MS).await.unwrap();
        }
        for (subject, channels) in [(Subject::Pool, 2), (Subject::Account(account), 1)] {
            for resolution in Resolution::ALL {
                let past = store.past(subject, resolution, resolution.begin_of(NOW_MS), NOW_MS + 1).await.unwrap();
                let mut refused: Vec<_> = past.refused.iter().map(|(_, code, count)| (code.as_str(), *count)).collect();
                refused.sort_unstable();
                assert_eq!(refused, [("duplicate-share", 1), ("stale-share", 2)]);
                assert_eq!(past.peaks, [(resolution.begin_of(NOW_MS), Peaks { channels, best: 512.0 })]);
            }
        }
    }
}
