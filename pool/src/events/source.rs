//! Where events come from: a look each second at what is counted and who is connected, and at blocks and payouts as they
//! stand in the store.
//!
//! What is told is what has changed since the last look, whoever changed it. While nobody follows, blocks and payouts are
//! looked at seldom.

use std::{
    collections::{HashMap, VecDeque},
    sync::Arc,
    time::Duration,
};

use bitcoin::BlockHash;
use payouts::{
    books::BlockPhase,
    ledger::Head,
    payout::BatchId,
    store::{Store, StoreError},
};
use serde::Serialize;
use tokio::{
    sync::watch,
    time::{MissedTickBehavior, interval},
};
use tracing::debug;

use super::{Event, Events};
use crate::{
    accounting::{
        block_news::{BlockNews, BlockPiece, Reached},
        share_log::unix_time_ms,
    },
    operations::report::{BatchSummary, Stage},
    stratum::{
        metrics::{PortMetrics, RefusedShare, ShareSums},
        roster::Roster,
    },
};

/// How often is looked.
const TICK: Duration = Duration::from_secs(1);
/// Looks between two at the store while nobody follows.
const UNFOLLOWED_EVERY: u64 = 30;
/// The newest blocks that are looked at: more than change their state at a time.
const BLOCKS: u32 = 32;
/// The newest batches that are looked at.
const BATCHES: u32 = 8;
/// Looks that the hash rate is told over.
const RATE_TICKS: usize = 60;
/// Connections that have ended which one event names.
const MAX_NAMED: usize = 20;

/// What is looked at.
#[derive(Clone, Debug)]
pub struct Source {
    /// What the miners' port counts.
    pub metrics: Arc<PortMetrics>,
    /// Who is connected.
    pub roster: Arc<Roster>,
    /// Where blocks and payouts are.
    pub store: Arc<dyn Store>,
    /// What befalls blocks before they are there.
    pub news: BlockNews,
}

/// Shares of a second.
#[derive(Debug, Serialize)]
struct SharesEvent {
    at_ms: i64,
    /// In this second.
    accepted: u64,
    /// In this second, by what the miners were told.
    refused: HashMap<&'static str, u64>,
    /// Hashes that the accepted ones stand for.
    hashes: f64,
    /// Hashes a second over the last minute.
    hash_rate: f64,
    /// Since the pool was started.
    accepted_total: u64,
}

/// A block that is new, or stands otherwise than before.
#[derive(Debug, Serialize)]
struct BlockEvent {
    at_ms: i64,
    hash: BlockHash,
    height: u32,
    /// `found`, then `submitted` or `rejected` by what a node answers; `immature` when the books have it, then `matured`, or
    /// `orphaned`.
    state: &'static str,
    /// Nothing if it is new.
    before: Option<&'static str>,
    /// What the node has answered, if this is about that.
    answer: Option<String>,
    value_sat: u64,
}

/// A payout that is new, or stands otherwise than before.
#[derive(Debug, Serialize)]
struct PayoutEvent {
    at_ms: i64,
    batch: i64,
    state: Stage,
    /// Nothing if it is new.
    before: Option<Stage>,
    accounts: usize,
    paid_sat: u64,
}

/// Connections that have come and gone in a second.
#[derive(Debug, Serialize)]
struct ConnectionEvent {
    at_ms: i64,
    open: usize,
    begun: u64,
    /// Some of those that were set up and have ended.
    ended: Vec<EndedConnection>,
    ended_count: u64,
    /// Those that came to nothing.
    failed_count: u64,
}

#[derive(Debug, Serialize)]
struct EndedConnection {
    connection: u64,
    peer: String,
    code: &'static str,
    reason: String,
}

/// What was seen at the last look.
#[derive(Debug, Default)]
struct Seen {
    shares: ShareSums,
    /// Hashes of each of the last looks.
    hashes: VecDeque<f64>,
    begun: u64,
    ended: u64,
    failed: u64,
    /// The ledger's head when blocks were read last.
    ledger: Option<Head>,
    /// How far blocks have come that the books have not.
    on_their_way: HashMap<BlockHash, &'static str>,
    /// None before the first look.
    blocks: Option<HashMap<BlockHash, &'static str>>,
    batches: Option<HashMap<BatchId, Stage>>,
}

impl Source {
    /// Tells what happens until the pool shuts down.
    pub async fn tell(self, events: Arc<Events>, mut draining: watch::Receiver<bool>) {
        let (mut seen, mut ticks) = (self.first_look(), interval(TICK));
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        events.is_open.send_replace(true);
        for tick in 0_u64.. {
            tokio::select! {
                _ = ticks.tick() => {}
                _ = draining.wait_for(|draining| *draining) => break,
            }
            let happened = self.look(&mut seen, tick, events.is_followed()).await;
            happened.into_iter().for_each(|event| events.tell(event));
        }
        events.is_open.send_replace(false);
    }

    fn first_look(&self) -> Seen {
        let (_, ended) = self.roster.ended();
        let (begun, failed) = (self.roster.newest().0, self.roster.failure_count());
        Seen { shares: self.metrics.share_sums(), begun, ended, failed, ..Seen::default() }
    }

    /// Looks at everything that is due, and returns what has happened since the last look.
    async fn look(&self, seen: &mut Seen, tick: u64, is_followed: bool) -> Vec<Event> {
        let at_ms = unix_time_ms();
        let mut events = vec![self.shares(seen, at_ms)];
        events.extend(self.connections(seen, at_ms));
        // The first look tells nothing: it finds what was there before.
        let is_due = is_followed || tick.is_multiple_of(UNFOLLOWED_EVERY);
        let looked = async {
            if is_due || seen.blocks.is_none() {
                let booked = self.blocks(seen, at_ms).await;
                // What the books have had its answer before, and it is told before.
                events.extend(self.news(seen));
                events.extend(booked?.into_iter().map(|block| told_after(seen, block)));
            }
            if is_due || seen.batches.is_none() {
                events.extend(self.batches(seen, at_ms).await?);
            }
            Ok::<_, StoreError>(())
        };
        if let Err(error) = looked.await {
            // It is told wherever it matters; the next look finds what this one missed.
            debug!(%error, "blocks and payouts could not be looked at");
        }
        events
    }

    fn shares(&self, seen: &mut Seen, at_ms: i64) -> Event {
        let now = self.metrics.share_sums();
        let before = std::mem::replace(&mut seen.shares, now.clone());
        let refused = RefusedShare::ALL.iter().zip(now.refused.iter().zip(before.refused));
        let refused = refused.map(|(why, (now, before))| (why.name(), now - before)).filter(|(_, count)| *count > 0);
        let hashes = now.hashes - before.hashes;
        if seen.hashes.len() == RATE_TICKS {
            seen.hashes.pop_front();
        }
        seen.hashes.push_back(hashes);
        let hash_rate = seen.hashes.iter().sum::<f64>() / seen.hashes.len() as f64 / TICK.as_secs_f64();
        let (accepted, accepted_total) = (now.accepted - before.accepted, now.accepted);
        let event = SharesEvent { at_ms, accepted, refused: refused.collect(), hashes, hash_rate, accepted_total };
        Event::new("shares", &event)
    }

    fn connections(&self, seen: &mut Seen, at_ms: i64) -> Option<Event> {
        let ((seats, ended), begun, failed) =
            (self.roster.ended(), self.roster.newest().0, self.roster.failure_count());
        if (begun, ended, failed) == (seen.begun, seen.ended, seen.failed) {
            return None;
        }
        let new = usize::try_from(ended - seen.ended).unwrap_or(usize::MAX);
        let named = seats.iter().take(new.min(MAX_NAMED)).filter_map(|seat| {
            let reason = seat.ending()?.reason.clone();
            let (connection, peer) = (seat.id().0, seat.peer().to_string());
            Some(EndedConnection { connection, peer, code: reason.code, reason: reason.words })
        });
        let event = ConnectionEvent {
            at_ms,
            open: self.roster.count(),
            begun: begun - seen.begun,
            ended: named.collect(),
            ended_count: ended - seen.ended,
            failed_count: failed - seen.failed,
        };
        (seen.begun, seen.ended, seen.failed) = (begun, ended, failed);
        Some(Event::new("connection", &event))
    }

    async fn blocks(&self, seen: &mut Seen, at_ms: i64) -> Result<Vec<BlockEvent>, StoreError> {
        // Whatever becomes of a block is an entry of the ledger: without a new one, no block is read.
        let head = self.store.head().await?;
        if seen.ledger == Some(head) {
            return Ok(Vec::new());
        }
        let newest = self.store.blocks(BLOCKS).await?;
        seen.ledger = Some(head);
        let states: HashMap<_, _> =
            newest.iter().map(|block| (block.found.hash, phase_name(block.state.phase))).collect();
        let Some(before) = seen.blocks.replace(states) else { return Ok(Vec::new()) };
        // Oldest first, as they happened.
        let changed = newest.iter().rev().filter_map(|block| {
            let (hash, state) = (block.found.hash, phase_name(block.state.phase));
            let was = before.get(&hash).copied();
            let (height, value_sat) = (block.found.height, block.found.value.to_sat());
            let event = BlockEvent { at_ms, hash, height, state, before: was, answer: None, value_sat };
            (was != Some(state)).then_some(event)
        });
        Ok(changed.collect())
    }

    /// Tells of blocks that are on their way to the books, or do not come there.
    fn news(&self, seen: &mut Seen) -> Vec<Event> {
        let told = self.news.take().into_iter().map(|BlockPiece { at_ms, hash, height, value_sat, reached }| {
            let (state, answer) = match reached {
                Reached::Found => ("found", None),
                Reached::Submitted { answer } => ("submitted", Some(answer.to_owned())),
                Reached::Rejected { reason } => ("rejected", Some(reason)),
            };
            let before = match state {
                "rejected" => seen.on_their_way.remove(&hash),
                state => seen.on_their_way.insert(hash, state),
            };
            Event::new("block", &BlockEvent { at_ms, hash, height, state, before, answer, value_sat })
        });
        told.collect()
    }

    async fn batches(&self, seen: &mut Seen, at_ms: i64) -> Result<Vec<Event>, StoreError> {
        let newest = self.store.batches_before(None, BATCHES).await?;
        let newest: Vec<BatchSummary> = newest.iter().map(BatchSummary::from).collect();
        let states = newest.iter().map(|batch| (batch.batch, batch.stage)).collect();
        let Some(before) = seen.batches.replace(states) else { return Ok(Vec::new()) };
        let changed = newest.iter().rev().filter_map(|batch| {
            let was = before.get(&batch.batch).copied();
            let event = PayoutEvent {
                at_ms,
                batch: batch.batch.get(),
                state: batch.stage,
                before: was,
                accounts: batch.accounts,
                paid_sat: batch.paid_sat,
            };
            (was != Some(batch.stage)).then(|| Event::new("payout", &event))
        });
        Ok(changed.collect())
    }
}

/// Tells of a block that the books have, which may have been told of before they had it.
fn told_after(seen: &mut Seen, block: BlockEvent) -> Event {
    let before = block.before.or(seen.on_their_way.remove(&block.hash));
    Event::new("block", &BlockEvent { before, ..block })
}

fn phase_name(phase: BlockPhase) -> &'static str {
    match phase {
        BlockPhase::Immature => "immature",
        BlockPhase::Matured => "matured",
        BlockPhase::Orphaned => "orphaned",
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::{num::NonZeroU32, time::Instant};

    use bitcoin::{Address, Amount, CompactTarget, OutPoint, Txid, address::NetworkUnchecked, hashes::Hash};
    use payouts::{
        books::{Books, ChainPosition, DirectPayments, FoundBlock},
        scheme::{
            PoolFee,
            rule::{Scheme, SchemeName},
        },
        share::ShareSeq,
        store::sqlite::SqliteStore,
    };
    use serde_json::{Value, json};

    use super::*;
    use crate::{
        metrics::Metrics,
        mining::difficulty::Difficulty,
        stratum::{
            addresses::Refused,
            end::End,
            metrics::ShareTally,
            roster::{
                Opening,
                tests::{peer, setup},
            },
        },
    };

    struct Watched {
        source: Source,
        seen: Seen,
        _folder: tempfile::TempDir,
    }

    impl Watched {
        async fn new() -> Watched {
            let folder = tempfile::tempdir().unwrap();
            let store = Arc::new(SqliteStore::open(&folder.path().join("adit.sqlite")).await.unwrap());
            let metrics = Arc::new(PortMetrics::register(&mut Metrics::new()));
            let source = Source { metrics, roster: Arc::default(), store, news: BlockNews::default() };
            let seen = source.first_look();
            Watched { source, seen, _folder: folder }
        }

        async fn look(&mut self, tick: u64) -> Vec<(&'static str, Value)> {
            let events = self.source.look(&mut self.seen, tick, true).await;
            events.into_iter().map(|event| (event.kind, serde_json::from_str(&event.data).unwrap())).collect()
        }
    }

    #[tokio::test]
    async fn shares_are_told_each_second_with_what_was_judged_in_it() {
        let mut watched = Watched::new().await;
        let mut tally = ShareTally::default();
        (0..3).for_each(|_| tally.accept(Difficulty::from_log2(0)));
        tally.refuse(RefusedShare::Stale);
        watched.source.metrics.add_shares(&tally);
        let events = watched.look(0).await;
        let [("shares", shares)] = events.as_slice() else { panic!("{events:?}") };
        assert_eq!((&shares["accepted"], &shares["refused"]), (&json!(3), &json!({"stale-share": 1})));
        assert_eq!(shares["hashes"], json!(3.0 * 4_294_967_296.0));
        let events = watched.look(1).await;
        assert_eq!((&events[0].1["accepted"], &events[0].1["accepted_total"]), (&json!(0), &json!(3)));
        assert_eq!(events[0].1["hash_rate"], json!(1.5 * 4_294_967_296.0), "over both");
    }

    #[tokio::test]
    async fn blocks_are_told_when_they_are_found_and_when_they_change() {
        let mut watched = Watched::new().await;
        watched.look(0).await;
        let store = Arc::clone(&watched.source.store);
        let address: Address<NetworkUnchecked> = "bcrt1qw508d6qejxtdg4y5r3zarvary0c5xw7kygt080".parse().unwrap();
        let found = FoundBlock {
            hash: BlockHash::from_byte_array([1; 32]),
            height: 7,
            coinbase: OutPoint::new(Txid::from_byte_array([1; 32]), 0),
            value: Amount::from_sat(316_737_819),
            subsidy: Amount::from_sat(312_500_000),
            finder: store.account(address.assume_checked_ref()).await.unwrap(),
            share_position: ShareSeq::new(0),
            nbits: CompactTarget::from_consensus(0x207f_ffff),
            found_at_ms: 1,
            direct: DirectPayments::default(),
        };
        let books = Books::new(store, Scheme::new(SchemeName::Solo, NonZeroU32::MIN, PoolFee::NONE));
        books.record_found(&found).await.unwrap();
        let told = |events: &[(&str, Value)]| -> Vec<(Value, Value)> {
            let blocks = events.iter().filter(|(kind, _)| *kind == "block");
            blocks.map(|(_, block)| (block["state"].clone(), block["before"].clone())).collect()
        };
        assert_eq!(told(&watched.look(1).await), [(json!("immature"), Value::Null)]);
        assert_eq!(told(&watched.look(2).await), []);
        books.settle(found.hash, ChainPosition::NotInBestChain).await.unwrap();
        assert_eq!(told(&watched.look(3).await), [(json!("orphaned"), json!("immature"))]);
        books.settle(found.hash, ChainPosition::Confirmed { confirmations: 100 }).await.unwrap();
        assert_eq!(told(&watched.look(4).await), [(json!("matured"), json!("orphaned"))]);
    }

    #[tokio::test]
    async fn blocks_are_told_before_the_books_have_them() {
        let mut watched = Watched::new().await;
        watched.look(0).await;
        let news = watched.source.news.clone();
        let tell = |height: u32, reached: Reached| {
            let hash = BlockHash::from_byte_array([height as u8; 32]);
            news.tell(BlockPiece { at_ms: 5, hash, height, value_sat: 9, reached });
        };
        tell(1, Reached::Found);
        tell(1, Reached::Submitted { answer: "stale" });
        tell(2, Reached::Found);
        let told = |events: Vec<(&'static str, Value)>| -> Vec<Value> {
            let blocks = events.into_iter().filter(|(kind, _)| *kind == "block");
            blocks.map(|(_, it)| json!([it["height"], it["state"], it["before"], it["answer"]])).collect()
        };
        let expected = [
            json!([1, "found", null, null]),
            json!([1, "submitted", "found", "stale"]),
            json!([2, "found", null, null]),
        ];
        assert_eq!(told(watched.look(1).await), expected);
        tell(2, Reached::Rejected { reason: "bad-txns".to_owned() });
        assert_eq!(told(watched.look(2).await), [json!([2, "rejected", "found", "bad-txns"])]);
        assert_eq!(watched.look(3).await.len(), 1, "nothing has happened since");
        // The books have the first now.
        let block = BlockEvent {
            at_ms: 6,
            hash: BlockHash::from_byte_array([1; 32]),
            height: 1,
            state: "immature",
            before: None,
            answer: None,
            value_sat: 9,
        };
        let event = told_after(&mut watched.seen, block);
        let event: Value = serde_json::from_str(&event.data).unwrap();
        assert_eq!((&event["before"], watched.seen.on_their_way.len()), (&json!("submitted"), 0));
    }

    #[tokio::test]
    async fn connections_are_told_together_and_few_by_name() {
        let mut watched = Watched::new().await;
        assert_eq!(watched.look(0).await.len(), 1);
        let (roster, now) = (Arc::clone(&watched.source.roster), Instant::now());
        for _ in 0..MAX_NAMED + 5 {
            let seated = roster.begin(peer(1), now);
            seated.set_up(&setup(), 2, now);
            seated.end(&Opening::default(), &End::TooFast, now);
        }
        roster.refuse(peer(2), Refused::Banned);
        let _open = roster.begin(peer(3), now);
        let events = watched.look(1).await;
        let [_, ("connection", told)] = events.as_slice() else { panic!("{events:?}") };
        assert_eq!(told["ended"].as_array().unwrap().len(), MAX_NAMED);
        assert_eq!(told["ended"][0]["code"], "too_fast");
        assert_eq!((&told["begun"], &told["ended_count"], &told["failed_count"]), (&json!(26), &json!(25), &json!(1)));
        assert_eq!(told["open"], 1);
        assert_eq!(watched.look(2).await.len(), 1, "nothing has happened since");
    }
}
