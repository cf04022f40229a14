//! The search for shares: one thread a miner, which hashes for its channels in turn. Owns the order in which the
//! search space is walked and the pace; what is submitted is decided in `session`.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use tokio::sync::mpsc;

use super::channel::{Coinbase, Work};
use super::header::{Header, Midstate, meets_target};

/// Hashes for one channel before the next one has its turn.
const SLICE_HASHES: u32 = 4096;
/// Shares that wait to be submitted; when they are this many, the search waits too.
pub(super) const FOUND_CAPACITY: usize = 64;
/// How long the search sleeps when no channel may hash now.
const IDLE: Duration = Duration::from_millis(5);
/// The unspent allowance that a channel with a limit may save up, so that a pause does not end in a burst.
const MAX_SAVED: Duration = Duration::from_millis(100);
/// The version bits that are rolled: the part of BIP 323's that devices use.
pub(super) const VERSION_MASK: u32 = 0x1fff_e000;
const VERSION_SHIFT: u32 = VERSION_MASK.trailing_zeros();
const VERSION_VARIANTS: u32 = 1 << VERSION_MASK.count_ones();

/// A hash that met its job's target.
#[derive(Clone, Debug)]
pub(super) struct Found {
    pub(super) channel_id: u32,
    pub(super) work: Arc<Work>,
    pub(super) header: Header,
    pub(super) extranonce: Vec<u8>,
    pub(super) hash: [u8; 32],
}

/// What a channel is to hash, and how fast.
#[derive(Clone, Debug)]
pub(super) struct Assignment {
    pub(super) work: Option<Arc<Work>>,
    /// Hashes a second; no limit when absent.
    pub(super) hash_rate_limit: Option<f64>,
    /// How many nonces are tried before something else is rolled.
    pub(super) nonces_per_roll: u64,
}

/// The assignments of all channels: the newest replaces the one before, so nothing queues up.
#[derive(Debug, Default)]
pub(super) struct Desk {
    assignments: Mutex<Assignments>,
    wake: Condvar,
    changed: AtomicBool,
}

#[derive(Debug, Default)]
struct Assignments {
    by_channel: BTreeMap<u32, Assignment>,
    ended: bool,
}

impl Desk {
    /// Changes the assignments and wakes the search.
    pub(super) fn change(&self, change: impl FnOnce(&mut BTreeMap<u32, Assignment>)) {
        change(&mut self.lock().by_channel);
        self.notify();
    }

    /// Lets the search end.
    pub(super) fn end(&self) {
        self.lock().ended = true;
        self.notify();
    }

    fn notify(&self) {
        self.changed.store(true, Ordering::Release);
        self.wake.notify_one();
    }

    fn lock(&self) -> MutexGuard<'_, Assignments> {
        // A map that a panicking thread left is still a map.
        self.assignments.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Starts the thread; it ends when the desk or the receiver does.
pub(super) fn start(desk: Arc<Desk>, found: mpsc::Sender<Found>) -> std::io::Result<JoinHandle<()>> {
    std::thread::Builder::new().name("miner".into()).spawn(move || search(&desk, &found))
}

fn search(desk: &Desk, found: &mpsc::Sender<Found>) {
    let mut lanes: BTreeMap<u32, Lane> = BTreeMap::new();
    loop {
        if desk.changed.swap(false, Ordering::Acquire) {
            let assignments = desk.lock();
            if assignments.ended {
                return;
            }
            lanes.retain(|channel_id, _| assignments.by_channel.contains_key(channel_id));
            for (channel_id, assignment) in &assignments.by_channel {
                lanes.entry(*channel_id).or_insert_with(Lane::new).assign(assignment);
            }
        }
        let mut hashed = false;
        for (&channel_id, lane) in &mut lanes {
            for _ in 0..lane.allowance() {
                let Some(step) = lane.step() else { break };
                hashed = true;
                let Step::Share(work, header, extranonce, hash) = step else { continue };
                if found.blocking_send(Found { channel_id, work, header, extranonce, hash }).is_err() {
                    return;
                }
            }
        }
        if !hashed && !desk.changed.load(Ordering::Acquire) {
            // An idle search looks again soon, since time alone can make ntime or an allowance grow.
            drop(desk.wake.wait_timeout(desk.lock(), IDLE));
        }
    }
}

/// The search of one channel.
struct Lane {
    walk: Option<Walk>,
    hash_rate_limit: Option<f64>,
    nonces_per_roll: u64,
    saved_hashes: f64,
    counted_at: Instant,
}

impl Lane {
    fn new() -> Self {
        Self { walk: None, hash_rate_limit: None, nonces_per_roll: 1, saved_hashes: 0.0, counted_at: Instant::now() }
    }

    fn assign(&mut self, assignment: &Assignment) {
        self.hash_rate_limit = assignment.hash_rate_limit;
        self.nonces_per_roll = assignment.nonces_per_roll.clamp(1, 1 << 32);
        let walked = self.walk.as_ref().map(|walk| &walk.work);
        // The same work again must go on where it was, or it would find the same shares again.
        let same = match (walked, &assignment.work) {
            (Some(walked), Some(new)) => Arc::ptr_eq(walked, new),
            (None, None) => true,
            _ => false,
        };
        if !same {
            self.walk = assignment.work.clone().map(Walk::new);
        }
    }

    /// How many hashes may be done now.
    fn allowance(&mut self) -> u32 {
        let elapsed = self.counted_at.elapsed();
        self.counted_at = Instant::now();
        if self.walk.is_none() {
            return 0;
        }
        let Some(limit) = self.hash_rate_limit else { return SLICE_HASHES };
        if limit <= 0.0 {
            return 0;
        }
        let most = (limit * MAX_SAVED.as_secs_f64()).max(1.0);
        self.saved_hashes = (self.saved_hashes + limit * elapsed.as_secs_f64()).min(most);
        (self.saved_hashes as u32).min(SLICE_HASHES)
    }

    /// Does one hash; nothing when there is none to do now.
    fn step(&mut self) -> Option<Step> {
        let step = self.walk.as_mut()?.step(self.nonces_per_roll)?;
        if self.hash_rate_limit.is_some() {
            self.saved_hashes -= 1.0;
        }
        Some(step)
    }
}

/// The outcome of one hash.
enum Step {
    Miss,
    Share(Arc<Work>, Header, Vec<u8>, [u8; 32]),
}

/// A walk through the search space of one job: nonces first, then version bits, then extranonces, then ntime.
/// It never comes to the same place twice.
#[derive(Debug)]
struct Walk {
    work: Arc<Work>,
    header: Header,
    midstate: Midstate,
    /// The next nonce; one past the last when the nonces are used up.
    nonce: u64,
    version_variant: u32,
    extranonce: Vec<u8>,
}

impl Walk {
    fn new(work: Arc<Work>) -> Self {
        let extranonce = match &work.coinbase {
            Coinbase::Root(_) => Vec::new(),
            Coinbase::Parts { extranonce_size, .. } => vec![0; *extranonce_size],
        };
        let header = Header {
            version: work.version,
            prev_hash: work.prev_hash,
            merkle_root: work.coinbase.merkle_root(&extranonce),
            ntime: work.min_ntime,
            nbits: work.nbits,
            nonce: 0,
        };
        Self { midstate: Midstate::new(&header), work, header, nonce: 0, version_variant: 0, extranonce }
    }

    /// Tries the next place; nothing when all of the space is used up for now.
    fn step(&mut self, nonces_per_roll: u64) -> Option<Step> {
        if self.nonce >= nonces_per_roll {
            if !self.roll() {
                return None;
            }
            self.midstate = Midstate::new(&self.header);
            self.nonce = 0;
        }
        self.header.nonce = self.nonce as u32;
        self.nonce += 1;
        let hash = self.midstate.hash(self.header.nonce);
        if !meets_target(&hash, &self.work.target) {
            return Some(Step::Miss);
        }
        Some(Step::Share(self.work.clone(), self.header, self.extranonce.clone(), hash))
    }

    /// Moves to the next part of the space with fresh nonces; false when there is none now.
    fn roll(&mut self) -> bool {
        if self.work.version_rolling && self.version_variant + 1 < VERSION_VARIANTS {
            self.version_variant += 1;
            self.header.version = self.work.version ^ (self.version_variant << VERSION_SHIFT);
            return true;
        }
        let more_extranonces = increment(&mut self.extranonce);
        if !more_extranonces {
            // Time may not run ahead of the clock (SV2 5.3.11).
            let newest = self.work.min_ntime.saturating_add(self.work.since.elapsed().as_secs() as u32);
            if self.header.ntime >= newest {
                return false;
            }
            self.header.ntime += 1;
        }
        self.version_variant = 0;
        self.header.version = self.work.version;
        self.header.merkle_root = self.work.coinbase.merkle_root(&self.extranonce);
        true
    }
}

/// Counts a little-endian number up; false when it starts again at zero.
fn increment(number: &mut [u8]) -> bool {
    for digit in number {
        *digit = digit.wrapping_add(1);
        if *digit != 0 {
            return true;
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    fn work(coinbase: Coinbase, version_rolling: bool) -> Arc<Work> {
        Arc::new(Work {
            job_id: 1,
            version: 0x2000_0000,
            version_rolling,
            prev_hash: [1; 32],
            nbits: 0x207f_ffff,
            min_ntime: 1_700_000_000,
            coinbase,
            target: [0xff; 32],
            since: Instant::now().checked_sub(Duration::from_secs(2)).expect("the machine has been up for two seconds"),
        })
    }

    struct Share {
        header: Header,
        extranonce: Vec<u8>,
        hash: [u8; 32],
    }

    fn share(step: Step) -> Option<Share> {
        match step {
            Step::Miss => None,
            Step::Share(_, header, extranonce, hash) => Some(Share { header, extranonce, hash }),
        }
    }

    fn all(work: Arc<Work>, most: usize, nonces_per_roll: u64) -> Vec<Share> {
        let mut walk = Walk::new(work);
        std::iter::from_fn(|| walk.step(nonces_per_roll)).take(most).filter_map(share).collect()
    }

    fn is_distinct(shares: &[Share]) -> bool {
        let mut seen = HashSet::new();
        shares.iter().all(|share| seen.insert(share.header.to_bytes()))
    }

    #[test]
    fn nonces_roll_before_versions_and_versions_stay_in_their_mask() {
        let shares = all(work(Coinbase::Root([7; 32]), true), 12, 4);
        assert!(is_distinct(&shares));
        assert_eq!(shares.iter().map(|share| share.header.nonce).collect::<Vec<_>>(), [0, 1, 2, 3].repeat(3));
        let versions: Vec<u32> = shares.iter().step_by(4).map(|share| share.header.version).collect();
        assert_eq!(versions, [0x2000_0000, 0x2000_2000, 0x2000_4000]);
        assert!(versions.iter().all(|version| (version ^ 0x2000_0000) & !VERSION_MASK == 0));
    }

    #[test]
    fn space_without_version_and_extranonce_ends_with_the_clock() {
        let shares = all(work(Coinbase::Root([7; 32]), false), 100, 5);
        let times: HashSet<u32> = shares.iter().map(|share| share.header.ntime).collect();
        assert_eq!(shares.len(), 15);
        assert_eq!(times, (1_700_000_000..=1_700_000_002).collect());
        assert!(is_distinct(&shares));
    }

    #[test]
    fn every_extranonce_is_used_before_time_moves() {
        let parts = Coinbase::Parts { prefix: vec![1, 2], suffix: vec![3], path: vec![[9; 32]], extranonce_size: 1 };
        let shares = all(work(parts, false), 300, 1);
        assert!(is_distinct(&shares));
        let extranonces: HashSet<&[u8]> = shares[..256].iter().map(|share| &share.extranonce[..]).collect();
        assert_eq!(extranonces.len(), 256);
        assert!(shares[..256].iter().all(|share| share.header.ntime == 1_700_000_000));
        assert_eq!(shares[256].header.ntime, 1_700_000_001);
    }

    #[test]
    fn share_carries_the_hash_of_its_own_header() {
        let parts = Coinbase::Parts { prefix: vec![1], suffix: vec![2], path: vec![], extranonce_size: 2 };
        for share in all(work(parts.clone(), true), 20, 3) {
            assert_eq!(share.header.hash(), share.hash);
            assert_eq!(share.header.merkle_root, parts.merkle_root(&share.extranonce));
        }
    }

    #[test]
    fn same_work_assigned_again_goes_on_where_it_was() {
        let mut lane = Lane::new();
        let assignment = Assignment {
            work: Some(work(Coinbase::Root([7; 32]), false)),
            hash_rate_limit: None,
            nonces_per_roll: 1 << 32,
        };
        let nonces = |lane: &mut Lane| -> Vec<u32> {
            (0..3).filter_map(|_| share(lane.step()?)).map(|share| share.header.nonce).collect()
        };
        lane.assign(&assignment);
        assert_eq!(nonces(&mut lane), [0, 1, 2]);
        lane.assign(&Assignment { hash_rate_limit: Some(10.0), ..assignment });
        assert_eq!(nonces(&mut lane), [3, 4, 5]);
    }

    #[test]
    fn limit_bounds_the_hashes_of_any_time() {
        let mut lane = Lane::new();
        let work = Some(work(Coinbase::Root([7; 32]), true));
        lane.assign(&Assignment { work, hash_rate_limit: Some(1_000.0), nonces_per_roll: 1 << 32 });
        let (started, mut hashes) = (Instant::now(), 0);
        while started.elapsed() < Duration::from_millis(300) {
            hashes += (0..lane.allowance()).filter_map(|_| lane.step()).count();
        }
        // At most the rate times the time, and what may be saved up; at least half, on a busy machine.
        let most = started.elapsed().as_secs_f64() * 1_000.0 + 100.0;
        assert!((150.0..=most).contains(&(hashes as f64)), "{hashes}");
    }

    #[test]
    fn desk_without_receiver_or_at_its_end_ends_the_search() {
        for end_by_desk in [true, false] {
            let desk = Arc::new(Desk::default());
            let (sender, receiver) = mpsc::channel(FOUND_CAPACITY);
            let thread = start(desk.clone(), sender).expect("a thread starts");
            if end_by_desk {
                desk.end();
            } else {
                drop(receiver);
                let work = Some(work(Coinbase::Root([7; 32]), true));
                let assignment = Assignment { work, hash_rate_limit: None, nonces_per_roll: 1 << 32 };
                desk.change(|assignments| drop(assignments.insert(5, assignment)));
            }
            thread.join().expect("the search ends by itself");
        }
    }
}
