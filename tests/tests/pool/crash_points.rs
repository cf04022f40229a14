//! The pool dies at every step that must last, once before it and once after it, and ends where it would have ended.
//!
//! One life of a pool, from its first block to its last confirmation, is lived without a death, and then again with a
//! death at each of many points: the pool is started anew, goes on, and dies at the next point that it reaches. In the
//! end each life must have left the same satoshis in the same places.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    os::unix::process::ExitStatusExt,
    time::{Duration, Instant},
};

use bitcoin::{Address, BlockHash};
use nix::sys::signal::Signal;
use payouts::account::AccountId;
use postgres_test::TestDatabase;
use reqwest::Client;
use serde_json::{Value, json};
use tests::{
    crash_points::{HALVED, OF_PARTIES, OF_THE_API, STEPS, VARIABLE},
    miner::{Miner, MinerConfig},
};

use crate::{
    books::Books,
    site::{Database, PATIENCE, Site, standard},
};

/// After a death amid this step nothing of it is left to do.
const HALVED_AND_DONE: &str = "after forget block";
/// What happens once to each account.
const NEW_ACCOUNT: &str = "after create account";
/// Steps to die at while the first shares are handed in. Of those the life waits until each is stored once; a later
/// share that is lost with the pool is not found again, for its block may have been kept.
const OF_THE_FIRST_SHARES: [&str; 2] = ["append shares", "create account"];
/// Height at which the first blocks are replaced by others.
const REPLACED_TO: u32 = 6;
/// Confirmations that a coinbase needs before it can be spent.
const MATURITY: u32 = 100;
const POLL_INTERVAL: Duration = Duration::from_millis(30);

/// Where the satoshis are in the end, by what does not differ from life to life: addresses, heights and amounts.
#[derive(Debug, PartialEq, Eq)]
struct EndState {
    balances: BTreeMap<String, i64>,
    credits: BTreeMap<(u32, String), u64>,
    /// Of each batch what it paid to whom.
    batches: Vec<BTreeMap<String, u64>>,
    records: BTreeSet<Paid>,
    /// What each address holds on the chain.
    held: BTreeMap<String, i64>,
}

/// An output on record.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Paid {
    to: String,
    sat: i64,
    /// What the register said of it, in order.
    states: Vec<String>,
    /// The heights of the coinbases that it came from, each with its part.
    lots: Vec<(i64, i64)>,
}

/// A pool that may die at any of the armed points.
struct Life {
    site: Site,
    armed: Vec<String>,
    deaths: usize,
}

impl Life {
    fn new(database: Database) -> Self {
        let site = Site::regtest_on(database);
        site.node.mine(1).unwrap();
        Self { site, armed: Vec::new(), deaths: 0 }
    }

    /// Starts the pool, as often as it dies of it.
    fn start(&mut self) {
        loop {
            self.site.pool.set(VARIABLE, self.armed.join(","));
            match self.site.pool.start() {
                Ok(_) => return,
                Err(error) => assert!(self.has_died(), "{error:#}"),
            }
        }
    }

    /// Notes of which point the pool has died since the last time it was asked.
    fn has_died(&mut self) -> bool {
        let log = self.site.pool.log();
        let reached: Vec<&str> = log.lines().filter(|line| line.contains("crash point reached")).collect();
        assert!(reached.len() <= self.deaths + 1, "{reached:?}");
        let Some(line) = reached.get(self.deaths) else { return false };
        let index = self.armed.iter().position(|point| line.contains(&format!("\"{point}\"")));
        println!("died {}", self.armed.remove(index.unwrap_or_else(|| panic!("{line}"))));
        self.deaths += 1;
        true
    }

    /// Starts the pool again if it is dead. It may have died of nothing but an armed point.
    fn revive(&mut self) {
        if let Some(status) = self.site.pool.ended().unwrap() {
            assert_eq!(status.signal(), Some(Signal::SIGABRT as i32), "{status}");
            assert!(self.has_died(), "died of something else");
            self.start();
        }
    }

    /// Starts the pool anew with other points armed.
    fn restart_with(&mut self, points: &[&String]) {
        self.revive();
        self.site.pool.stop().unwrap();
        self.armed.extend(points.iter().copied().cloned());
        self.start();
    }

    /// Waits until something is true, for as many deaths as it takes.
    async fn until(&mut self, what: &str, mut is_true: impl AsyncFnMut(&Site) -> bool) {
        let deadline = Instant::now() + PATIENCE;
        loop {
            self.revive();
            if is_true(&self.site).await {
                return;
            }
            assert!(Instant::now() < deadline, "waited in vain for {what}");
            tokio::time::sleep(POLL_INTERVAL).await;
        }
    }

    /// Lets a miner hand in one share, which is a block too, unless the pool dies of it.
    async fn mine_once(&mut self, address: &Address) {
        self.revive();
        let Ok(address_of_pool) = self.site.pool.address() else { return };
        let Ok(miner) = Miner::connect(MinerConfig::new(address_of_pool)).await else { return };
        if miner.open(standard(address, 2_000.0).max_shares(1)).await.is_ok() {
            let over = miner.wait_for(PATIENCE, "an answer", |record| {
                (record.accepted_count() > 0 || record.end.is_some()).then_some(())
            });
            over.await.unwrap();
        }
        assert_eq!(miner.close().await.faults, []);
    }

    /// Waits until no found block is on its way any more.
    async fn blocks_arrive(&mut self) {
        self.until("found blocks to be booked", async |site| !site.pool.keeps_blocks()).await;
    }

    /// Lets an address hand in shares until one is stored; whatever blocks they are.
    async fn store_one_share(&mut self, address: &Address) {
        let books = self.site.books().await;
        while books.share_count(address).await == 0 {
            self.mine_once(address).await;
            self.blocks_arrive().await;
        }
    }

    /// Lets an address find the next block.
    async fn find_block(&mut self, address: &Address) -> BlockHash {
        let height = self.site.node.height().unwrap() + 1;
        while self.site.node.height().unwrap() < height {
            self.mine_once(address).await;
            self.blocks_arrive().await;
        }
        assert_eq!(self.site.node.height().unwrap(), height, "one block was found, and not two");
        self.site.node.tip().unwrap()
    }

    /// Waits until the books have a block in a phase.
    async fn phase_is(&mut self, hash: BlockHash, phase: &str) {
        let books = self.site.books().await;
        self.until(phase, async |_| books.phase(hash).await.as_deref() == Some(phase)).await;
    }

    /// Waits until the batches are in these states.
    async fn batches_are(&mut self, states: &[&str]) {
        let books = self.site.books().await;
        self.until(&format!("batches to be {states:?}"), async |_| books.batch_states().await == states).await;
    }

    /// Waits until the node has a payment that is in no block.
    async fn payment_waits(&mut self) {
        self.until("the payment to wait for a block", async |site| site.node.mempool().unwrap().len() == 1).await;
    }

    /// Makes a party known and has it erased.
    async fn party_comes_and_goes(&mut self) {
        let file = self.site.pool.folder().join("party.toml");
        fs::write(&file, "kind = \"legal\"\nlegal_name = \"Example LLC\"\nresidency = \"KZ\"\n").unwrap();
        let file = file.to_str().unwrap().to_owned();
        self.until("a party to be known", async |site| site.pool.ask(&["party", "set", &file, "--by", "ann"]).is_ok())
            .await;
        self.until("the party to be erased", async |site| {
            let _ = site.pool.ask(&["party", "erase", "1", "--by", "bob", "--reason", "asked for it"]);
            site.pool.ask(&["party", "list"]).is_ok_and(|list| list.contains("(erased)"))
        })
        .await;
    }

    /// Makes a token and revokes it.
    async fn token_comes_and_goes(&mut self) {
        // Its number is not always the next: on PostgreSQL, one that was not stored has used one up.
        let carol = |site: &Site| {
            let listed: Value = serde_json::from_str(&site.pool.ask(&["token", "list", "--json"]).unwrap()).unwrap();
            listed.as_array().unwrap().iter().find(|token| token["label"] == "carol").cloned()
        };
        self.until("a token to be in force", async |site| {
            let _ = site.pool.ask(&["token", "add", "carol", "--role", "viewer"]);
            carol(site).is_some()
        })
        .await;
        self.until("the token to be revoked", async |site| {
            let number = carol(site).unwrap()["token"].to_string();
            let _ = site.pool.ask(&["token", "revoke", &number]);
            !carol(site).unwrap()["revoked_at_ms"].is_null()
        })
        .await;
    }

    /// Holds what is due to a miner and releases it, each once and under one key, however often it takes to hear of it.
    async fn miner_is_held_and_released(&mut self, address: &Address) {
        for act in ["hold", "release"] {
            self.until(act, async |site| {
                let Ok(url) = site.pool.api_url() else { return false };
                let url = format!("{url}/api/v1/accounts/{address}/{act}");
                let request = Client::new().post(url).bearer_auth(site.pool.first_token());
                let request = request.header("idempotency-key", act).json(&json!({"reason": "asked for it"}));
                let Ok(answer) = request.timeout(PATIENCE).send().await else { return false };
                assert_eq!(answer.status(), 200, "{act}");
                true
            })
            .await;
        }
    }

    /// Lives through it all, and dies at `points` on the way.
    async fn live(mut self, points: &[String]) -> EndState {
        let is_early = |point: &&String| OF_THE_FIRST_SHARES.iter().any(|step| point.ends_with(step));
        let (early, late): (Vec<_>, Vec<_>) = points.iter().partition(is_early);
        self.armed = early.into_iter().cloned().collect();
        self.start();
        let [ann, bob] = [(); 2].map(|()| self.site.new_address());
        for address in [&ann, &bob] {
            self.store_one_share(address).await;
        }
        // The shares stay, their blocks do not, however many deaths have made of them.
        let found = self.site.node.height().unwrap() - 1;
        self.site.node.reorganise(found, REPLACED_TO - 1).unwrap();
        self.revive();
        self.site.agree_with_chain().await;

        let earlier = self.find_block(&ann).await;
        self.restart_with(&late);
        let later = self.find_block(&bob).await;
        let reorganisation = self.site.node.reorganise(1, 2).unwrap();
        self.phase_is(later, "orphaned").await;
        self.site.node.invalidate(reorganisation.mined[0]).unwrap();
        self.phase_is(later, "immature").await;

        // The earlier one matures, and not any more, and again; it is paid.
        self.site.node.mine(MATURITY - 3).unwrap();
        let ripe = self.site.node.mine(1).unwrap()[0];
        self.batches_are(&["broadcast"]).await;
        self.site.node.invalidate(ripe).unwrap();
        self.phase_is(earlier, "immature").await;
        self.site.node.mine_empty(1).unwrap();
        self.phase_is(earlier, "matured").await;
        self.payment_waits().await;
        // The later one matures, and is paid by a transaction that is confirmed, and not any more, and again.
        self.site.node.mine(1).unwrap();
        self.batches_are(&["confirmed", "broadcast"]).await;
        let confirmed = self.site.node.mine(1).unwrap()[0];
        self.batches_are(&["confirmed", "confirmed"]).await;
        self.site.node.invalidate(confirmed).unwrap();
        self.site.node.mine_empty(2).unwrap();
        self.batches_are(&["confirmed", "broadcast"]).await;
        self.payment_waits().await;
        self.site.node.mine(1).unwrap();
        self.batches_are(&["confirmed", "confirmed"]).await;

        self.party_comes_and_goes().await;
        self.token_comes_and_goes().await;
        self.miner_is_held_and_released(&ann).await;

        self.revive();
        let books = self.site.agree_with_chain().await;
        assert_eq!(self.armed, [""; 0], "points that were not reached");
        assert_eq!(self.deaths, points.len());
        books.assert_sound().await;
        let verified = self.site.pool.ask(&["ledger", "verify"]).unwrap();
        assert!(verified.contains("All records are as they were written"), "{verified}");
        end_state(&self.site, &books, [("ann", &ann), ("bob", &bob)]).await
    }
}

async fn end_state(site: &Site, books: &Books, names: [(&str, &Address); 2]) -> EndState {
    let store = books.store();
    let mut accounts = BTreeMap::new();
    for (name, address) in names {
        let account = store.find_account(&address.to_string()).await.unwrap().unwrap();
        accounts.insert(account.id, name.to_owned());
    }
    let name = |account: AccountId| accounts[&account].clone();
    let mut matured = store.blocks(u32::MAX).await.unwrap();
    matured.retain(|block| site.phase(block.found.hash) == "matured");
    let mut credits = BTreeMap::new();
    for block in &matured {
        for credit in store.credits(block.found.hash).await.unwrap() {
            credits.insert((block.found.height, name(credit.account)), credit.amount.to_sat());
        }
    }
    let heights: BTreeMap<_, _> =
        matured.iter().map(|block| (block.found.hash.to_string(), i64::from(block.found.height))).collect();
    let batches = store.batches(u32::MAX).await.unwrap().into_iter().rev().map(|batch| {
        let paid = batch.outputs.iter().map(|output| (name(output.due.account), output.due.amount.to_sat()));
        paid.collect()
    });
    let mut records = BTreeSet::new();
    for record in books.records().await {
        let lots = books.lots(&record).await.iter().map(|lot| (heights[&lot.block_hash], lot.sat)).collect();
        let states = books.register_states(&record).await;
        records.insert(Paid { to: name(AccountId::new(record.account)), sat: record.sat, states, lots });
    }
    let mut balances: BTreeMap<String, i64> = BTreeMap::new();
    for (account, sat) in books.balances().await {
        let account = match account.rsplit_once(':') {
            Some((kind, id)) => format!("{kind}:{}", name(AccountId::new(id.parse().unwrap()))),
            // Which coins are spent, and so how large a transaction is, is left to chance.
            None if account == "network_fee" => "spendable".to_owned(),
            None => account,
        };
        *balances.entry(account).or_default() += sat;
    }
    let held = names.map(|(name, address)| (name.to_owned(), site.unspent(address).values().sum()));
    EndState { balances, credits, batches: batches.collect(), records, held: held.into() }
}

/// Lives without a death, with one before each step, and with one after each step.
async fn all_lives_end_alike(mut database: impl FnMut() -> Database) {
    let undisturbed = Life::new(database()).live(&[]).await;
    let earned: u64 = undisturbed.credits.values().sum();
    assert_eq!(undisturbed.held.values().sum::<i64>(), earned as i64, "all that was earned was paid");
    for when in ["before", "after"] {
        let steps = STEPS.iter().chain(&OF_PARTIES).chain(&OF_THE_API);
        let mut points: Vec<String> = steps.map(|step| format!("{when} {step}")).collect();
        if when == "after" {
            points.retain(|point| point != HALVED_AND_DONE);
            points.extend([HALVED[0], HALVED[1], NEW_ACCOUNT].map(str::to_owned));
        }
        let begun = Instant::now();
        let disturbed = Life::new(database()).live(&points).await;
        println!("{} deaths took {:?}", points.len(), begun.elapsed());
        assert_eq!(disturbed, undisturbed, "after a death {when} each step");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_death_at_any_durable_step_changes_no_satoshi() {
    all_lives_end_alike(|| Database::Sqlite).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_death_at_any_durable_step_changes_no_satoshi_on_postgres() {
    let databases: Vec<_> = (0..3).map(|_| TestDatabase::create().unwrap()).collect();
    let mut unused = databases.iter();
    all_lives_end_alike(|| Database::Postgres(unused.next().unwrap().url().to_owned())).await;
}
