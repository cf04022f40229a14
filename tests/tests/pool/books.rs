//! The pool's books, read and recounted with SQL of our own.
//!
//! What the pool keeps as sums is compared with sums over the single postings, and each block's credits with a PPLNS
//! of our own over the rows of shares.

use std::{collections::BTreeMap, path::Path};

use bitcoin::{Address, BlockHash};
use payouts::store::{Store, postgres::PgStore, sqlite::SqliteStore};
use ruint::aliases::{U512, U1024};
use sqlx::{
    FromRow, PgPool, SqlitePool,
    postgres::{PgPoolOptions, PgRow},
    sqlite::{SqliteConnectOptions, SqlitePoolOptions, SqliteRow},
};

use crate::{
    site::{FEE_BP, PPLNS_WINDOW},
    tally::Tally,
};

/// Shares of one kind in one segment of the log.
#[derive(Clone, Debug, FromRow)]
pub(crate) struct Shares {
    pub(crate) position: i64,
    pub(crate) account: i64,
    pub(crate) address: String,
    pub(crate) worker: String,
    pub(crate) difficulty_log2: i64,
    pub(crate) nbits: i64,
    pub(crate) count: i64,
}

/// A found block.
#[derive(Clone, Debug, FromRow)]
pub(crate) struct Block {
    #[sqlx(rename = "hash")]
    hash_text: String,
    pub(crate) height: i64,
    pub(crate) coinbase_txid: String,
    pub(crate) coinbase_vout: i64,
    pub(crate) value_sat: i64,
    pub(crate) subsidy_sat: i64,
    pub(crate) fee_sat: i64,
    pub(crate) finder: i64,
    pub(crate) share_position: i64,
    pub(crate) phase: String,
}

impl Block {
    pub(crate) fn hash(&self) -> BlockHash {
        self.hash_text.parse().unwrap()
    }
}

/// A ledger entry without its postings.
#[derive(Clone, Debug, FromRow, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(crate) seq: i64,
    pub(crate) kind: String,
    pub(crate) key: String,
}

/// A paid output on record.
#[derive(Clone, Debug, FromRow, PartialEq, Eq)]
pub(crate) struct Record {
    pub(crate) txid: String,
    pub(crate) vout: i64,
    pub(crate) sat: i64,
    pub(crate) account: i64,
    pub(crate) address: String,
}

impl Record {
    fn outpoint(&self) -> [Value<'_>; 2] {
        [self.txid.as_str().into(), self.vout.into()]
    }
}

/// The part of a paid output that came from one coinbase.
#[derive(Clone, Debug, FromRow, PartialEq, Eq)]
pub(crate) struct Lot {
    pub(crate) coinbase_txid: String,
    pub(crate) coinbase_vout: i64,
    pub(crate) block_hash: String,
    pub(crate) sat: i64,
}

/// Reads the database beside the pool. Its statements are SQL that both databases understand alike; a sum is cast,
/// because PostgreSQL widens it.
pub(crate) struct Books {
    database: Connections,
    store: Box<dyn Store>,
}

enum Connections {
    Sqlite(SqlitePool),
    Postgres(PgPool),
}

/// A value for a statement's placeholder.
enum Value<'a> {
    Text(&'a str),
    Number(i64),
}

impl<'a> From<&'a str> for Value<'a> {
    fn from(text: &'a str) -> Self {
        Self::Text(text)
    }
}

impl From<i64> for Value<'_> {
    fn from(number: i64) -> Self {
        Self::Number(number)
    }
}

/// What can be read from a row of either database.
trait AnyRow: for<'r> FromRow<'r, SqliteRow> + for<'r> FromRow<'r, PgRow> + Send + Unpin {}

impl<T: for<'r> FromRow<'r, SqliteRow> + for<'r> FromRow<'r, PgRow> + Send + Unpin> AnyRow for T {}

impl Books {
    pub(crate) async fn open_sqlite(path: &Path) -> Self {
        let options = SqliteConnectOptions::new().filename(path).read_only(true);
        let pool = SqlitePoolOptions::new().max_connections(1).connect_with(options).await.unwrap();
        let store = SqliteStore::open_read_only(path).await.unwrap();
        Self { database: Connections::Sqlite(pool), store: Box::new(store) }
    }

    pub(crate) async fn open_postgres(url: &str) -> Self {
        let pool = PgPoolOptions::new().max_connections(1).connect(url).await.unwrap();
        let store = PgStore::open_read_only(url).await.unwrap();
        Self { database: Connections::Postgres(pool), store: Box::new(store) }
    }

    /// All rows of a statement with placeholders `$1`, `$2` for the values.
    async fn select<T: AnyRow>(&self, statement: &'static str, values: &[Value<'_>]) -> Vec<T> {
        macro_rules! fetch_all {
            ($pool:expr) => {{
                let query = values.iter().fold(sqlx::query_as(statement), |query, value| match value {
                    Value::Text(text) => query.bind((*text).to_owned()),
                    Value::Number(number) => query.bind(*number),
                });
                query.fetch_all($pool).await.unwrap()
            }};
        }
        match &self.database {
            Connections::Sqlite(pool) => fetch_all!(pool),
            Connections::Postgres(pool) => fetch_all!(pool),
        }
    }

    /// The first value of the first row.
    async fn select_value<T>(&self, statement: &'static str, values: &[Value<'_>]) -> Option<T>
    where
        (T,): AnyRow,
    {
        self.select(statement, values).await.into_iter().next().map(|(value,): (T,)| value)
    }

    /// The pool's own store, opened to read.
    pub(crate) fn store(&self) -> &dyn Store {
        self.store.as_ref()
    }

    /// How many shares of an address are stored.
    pub(crate) async fn share_count(&self, address: &Address) -> u64 {
        let account = self.store.find_account(&address.to_string()).await.unwrap();
        let Some(account) = account else { return 0 };
        self.store.share_totals(Some(account.id), 0).await.unwrap().count
    }

    pub(crate) async fn shares(&self) -> Vec<Shares> {
        let statement = "SELECT shares.position, workers.account, accounts.address, workers.name AS worker, \
                         shares.difficulty_log2, share_jobs.nbits, shares.count FROM shares \
                         JOIN workers ON workers.id = shares.worker JOIN accounts ON accounts.id = workers.account \
                         JOIN share_jobs ON share_jobs.id = shares.job ORDER BY shares.position, workers.account";
        self.select(statement, &[]).await
    }

    /// The stored shares by identity and difficulty.
    pub(crate) async fn tally(&self) -> Tally {
        let mut tally = Tally::default();
        for Shares { address, worker, difficulty_log2, count, .. } in self.shares().await {
            let identity = if worker.is_empty() { address } else { format!("{address}.{worker}") };
            tally.add_some(&identity, difficulty_log2, count as u64);
        }
        tally
    }

    /// When the first and the last of all shares came, in milliseconds since 1970 UTC.
    pub(crate) async fn share_dates_ms(&self) -> (i64, i64) {
        let first = self.select_value("SELECT MIN(first_at_ms) FROM shares", &[]).await;
        let last = self.select_value("SELECT MAX(last_at_ms) FROM shares", &[]).await;
        (first.unwrap(), last.unwrap())
    }

    pub(crate) async fn blocks(&self) -> Vec<Block> {
        self.select("SELECT * FROM blocks ORDER BY height, hash", &[]).await
    }

    pub(crate) async fn phase(&self, hash: BlockHash) -> Option<String> {
        self.select_value("SELECT phase FROM blocks WHERE hash = $1", &[hash.to_string().as_str().into()]).await
    }

    pub(crate) async fn account(&self, address: &Address) -> i64 {
        let address = address.to_string();
        self.select_value("SELECT id FROM accounts WHERE address = $1", &[address.as_str().into()]).await.unwrap()
    }

    /// Entries after the one at `seq`.
    pub(crate) async fn entries_after(&self, seq: i64) -> Vec<Entry> {
        self.select("SELECT seq, kind, key FROM entries WHERE seq > $1 ORDER BY seq", &[seq.into()]).await
    }

    /// The place of the last entry.
    pub(crate) async fn last_entry(&self) -> i64 {
        self.select_value("SELECT COALESCE(MAX(seq), 0) FROM entries", &[]).await.unwrap()
    }

    /// What one entry posts, by ledger account.
    pub(crate) async fn postings(&self, kind: &str, key: &str) -> BTreeMap<String, i64> {
        let select = "SELECT account, sat FROM postings JOIN entries ON seq = entry WHERE kind = $1 AND key = $2";
        let rows: Vec<(String, i64)> = self.select(select, &[kind.into(), key.into()]).await;
        assert!(!rows.is_empty(), "there is no entry {kind} {key}");
        rows.into_iter().collect()
    }

    /// All balances that are not zero, as sums over the postings.
    pub(crate) async fn balances(&self) -> BTreeMap<String, i64> {
        let select = "SELECT account, CAST(SUM(sat) AS BIGINT) FROM postings GROUP BY account HAVING SUM(sat) <> 0";
        self.select(select, &[]).await.into_iter().collect()
    }

    /// What each account is due, by its number.
    pub(crate) async fn due(&self) -> BTreeMap<i64, i64> {
        let balances = self.balances().await;
        let payable = balances.iter().filter_map(|(account, sat)| Some((account.strip_prefix("miner_payable:")?, sat)));
        payable.map(|(account, sat)| (account.parse().unwrap(), -sat)).collect()
    }

    /// How many payout batches have not come to their end.
    pub(crate) async fn open_batches(&self) -> i64 {
        self.select_value("SELECT COUNT(*) FROM batches WHERE state = 'open'", &[]).await.unwrap()
    }

    /// How far all payout batches are, in their order: an open one as far as its newest transaction.
    pub(crate) async fn batch_states(&self) -> Vec<String> {
        let select = "SELECT CASE state WHEN 'open' THEN (SELECT stage FROM batch_attempts WHERE batch = id \
                      ORDER BY attempt DESC LIMIT 1) ELSE state END FROM batches ORDER BY id";
        let states = self.select(select, &[]).await;
        states.into_iter().map(|(state,)| state).collect()
    }

    /// All paid outputs on record.
    pub(crate) async fn records(&self) -> Vec<Record> {
        self.select("SELECT txid, vout, sat, account, address FROM export_records ORDER BY txid, vout", &[]).await
    }

    /// Where a paid output came from.
    pub(crate) async fn lots(&self, record: &Record) -> Vec<Lot> {
        let select = "SELECT coinbase_txid, coinbase_vout, block_hash, sat FROM export_lots \
                      WHERE txid = $1 AND vout = $2 ORDER BY line";
        self.select(select, &record.outpoint()).await
    }

    /// What the register says of one output, in the order of its rows.
    pub(crate) async fn register_states(&self, record: &Record) -> Vec<String> {
        let select = "SELECT state FROM export_rows WHERE txid = $1 AND vout = $2 ORDER BY seq";
        self.select(select, &record.outpoint()).await.into_iter().map(|(state,)| state).collect()
    }

    /// The block of the last row that the register has about an output.
    pub(crate) async fn confirmed_in(&self, record: &Record) -> BlockHash {
        let select = "SELECT block_hash FROM export_rows WHERE txid = $1 AND vout = $2 ORDER BY seq DESC LIMIT 1";
        let hash: String = self.select_value(select, &record.outpoint()).await.unwrap();
        hash.parse().unwrap()
    }

    /// Something that changes with each durable step of a payout.
    pub(crate) async fn payout_progress(&self) -> Vec<(i64, String, i64)> {
        let select = "SELECT id, state || ' ' || stage, epoch FROM batches \
                      JOIN batch_attempts ON batch_attempts.batch = id ORDER BY id, batch_attempts.attempt";
        self.select(select, &[]).await
    }

    /// What the matured blocks credit to each account.
    pub(crate) async fn matured_credits(&self) -> BTreeMap<i64, i64> {
        let select = "SELECT account, CAST(SUM(credits.sat) AS BIGINT) FROM credits JOIN blocks ON hash = block_hash \
                      WHERE phase = 'matured' GROUP BY account";
        self.select(select, &[]).await.into_iter().collect()
    }

    /// A block's credits as the pool keeps them.
    pub(crate) async fn credits(&self, block: &Block) -> BTreeMap<i64, i64> {
        let select = "SELECT account, sat FROM credits WHERE block_hash = $1";
        self.select(select, &[block.hash_text.as_str().into()]).await.into_iter().collect()
    }

    /// Recounts everything; the pool's own sums, credits and balances must be the same.
    pub(crate) async fn assert_sound(&self) {
        let select = "SELECT entry, CAST(SUM(sat) AS BIGINT) FROM postings GROUP BY entry HAVING SUM(sat) <> 0";
        let unbalanced: Vec<(i64, i64)> = self.select(select, &[]).await;
        assert_eq!(unbalanced, [], "entries that do not sum to zero");
        let (kept, balances, expected) = loop {
            let head = self.last_entry().await;
            let sums = (self.kept_balances().await, self.balances().await, self.expected_balances().await);
            // The pool may go on meanwhile; what was read belongs together if there is no new entry.
            if self.last_entry().await == head {
                break sums;
            }
        };
        assert_eq!(kept, balances, "kept balances differ from the sums of the postings");
        // What is left follows from where the coins are, which tests of payouts look up in the chain.
        let of_blocks = |account: &str| {
            account.starts_with("immature:") || account.starts_with("miner_") || account.starts_with("fee")
        };
        let seen: BTreeMap<_, _> = balances.into_iter().filter(|(account, _)| of_blocks(account)).collect();
        assert_eq!(seen, expected, "balances differ from what the blocks' last phases and the payouts give");
    }

    /// All balances that are not zero, as the pool's own store gives them.
    async fn kept_balances(&self) -> BTreeMap<String, i64> {
        let balances = self.store.balances().await.unwrap();
        let balances = balances.into_iter().map(|(account, sum)| (account.to_string(), sum.to_sat()));
        balances.filter(|(_, sat)| *sat != 0).collect()
    }

    /// What the blocks give in their present phases, less what payouts have taken. Each block's credits must be what
    /// our own PPLNS gives, and what was booked when it was found.
    async fn expected_balances(&self) -> BTreeMap<String, i64> {
        let shares = self.shares().await;
        let mut expected: BTreeMap<String, i64> = BTreeMap::new();
        for block in self.blocks().await {
            let credits = self.credits(&block).await;
            assert_eq!(credits, pplns(&block, &shares), "credits of {block:?}");
            assert_eq!(block.fee_sat, block.value_sat * FEE_BP / 10_000, "fee of {block:?}");
            assert_eq!(credits.values().sum::<i64>() + block.fee_sat, block.value_sat, "{block:?}");

            let mut booked = BTreeMap::from([(format!("immature:{}", block.hash_text), block.value_sat)]);
            booked.insert("fee_immature".to_owned(), -block.fee_sat);
            booked.extend(credits.iter().map(|(account, sat)| (format!("miner_immature:{account}"), -sat)));
            assert_eq!(self.postings("block_found", &block.hash_text).await, booked, "{block:?}");
            match block.phase.as_str() {
                "immature" => booked.into_iter().for_each(|(account, sat)| add(&mut expected, account, sat)),
                "matured" => {
                    add(&mut expected, "fee", -block.fee_sat);
                    credits.iter().for_each(|(account, sat)| {
                        add(&mut expected, format!("miner_payable:{account}"), -sat);
                    });
                }
                _ => {}
            }
        }
        for (account, sat) in self.batched().await.into_iter().chain(self.kept_back().await) {
            add(&mut expected, format!("miner_payable:{account}"), sat);
        }
        expected.retain(|_, sat| *sat != 0);
        expected
    }

    /// What payout batches have taken from each account, and did not give back.
    async fn batched(&self) -> Vec<(i64, i64)> {
        let select = "SELECT account, CAST(SUM(sat) AS BIGINT) FROM batch_outputs JOIN batches ON batches.id = batch \
                      WHERE state IN ('open', 'confirmed') GROUP BY account";
        self.select(select, &[]).await
    }

    /// What is kept back of each held account, by its number.
    pub(crate) async fn kept_back(&self) -> BTreeMap<i64, i64> {
        let balances = self.balances().await;
        let held = balances.iter().filter_map(|(account, sat)| Some((account.strip_prefix("held:")?, sat)));
        held.map(|(account, sat)| (account.parse().unwrap(), -sat)).collect()
    }
}

fn add(sums: &mut BTreeMap<String, i64>, account: impl Into<String>, sat: i64) {
    *sums.entry(account.into()).or_default() += sat;
}

/// Splits a block's value over the newest segments at its position, each share by its difficulty over the network's,
/// until they are worth the window. Of the segment at the edge, each account counts for the same part: what is left is
/// dealt out by running sums in the order of the accounts.
///
/// Everything is counted in expected hashes times the network's target: that is whole, and what is cut of a window is
/// cut as finely as the pool cuts it.
fn pplns(block: &Block, shares: &[Shares]) -> BTreeMap<i64, i64> {
    let net = (block.value_sat - block.value_sat * FEE_BP / 10_000) as u128;
    let mut segments: BTreeMap<i64, BTreeMap<i64, U512>> = BTreeMap::new();
    for share in shares.iter().filter(|share| share.position <= block.share_position) {
        assert_eq!(share.nbits, shares[0].nbits, "the network's target does not change in these tests");
        let (mantissa, exponent) = (share.nbits as u64 & 0x7f_ffff, share.nbits >> 24);
        let target = U512::from(mantissa) << (8 * (exponent - 3)) as usize;
        let score = (target << (share.difficulty_log2 + 32) as usize) * U512::from(share.count);
        *segments.entry(share.position).or_default().entry(share.account).or_default() += score;
    }
    let mut left = U512::from(PPLNS_WINDOW * 0xffff) << 240;
    let mut weights: BTreeMap<i64, U512> = BTreeMap::new();
    for segment in segments.values().rev() {
        let whole: U512 = segment.values().sum();
        let counted = whole.min(left);
        left -= counted;
        let (mut through, mut given) = (U512::ZERO, U512::ZERO);
        for (&account, score) in segment {
            through += *score;
            let due = part(counted, through, whole);
            if due > given {
                *weights.entry(account).or_default() += due - given;
            }
            given = due;
        }
    }
    let whole: U512 = weights.values().sum();
    if whole.is_zero() {
        return BTreeMap::from([(block.finder, net as i64)]);
    }
    let shares_of_net = weights.iter().map(|(&account, &weight)| (account, (U512::from(net) * weight).div_rem(whole)));
    let shares_of_net: Vec<_> = shares_of_net.collect();
    let mut credits: BTreeMap<i64, i64> =
        shares_of_net.iter().map(|&(account, (sat, _))| (account, sat.to::<i64>())).collect();
    let missing = net as i64 - credits.values().sum::<i64>();
    let mut by_remainder: Vec<_> =
        shares_of_net.iter().map(|&(account, (_, remainder))| (std::cmp::Reverse(remainder), account)).collect();
    by_remainder.sort_unstable();
    for (_, account) in by_remainder.iter().take(missing as usize) {
        *credits.get_mut(account).unwrap() += 1;
    }
    credits.retain(|_, sat| *sat > 0);
    credits
}

/// `a * b / c`, rounded down.
fn part(a: U512, b: U512, c: U512) -> U512 {
    let product = U1024::from(a) * U1024::from(b);
    U512::from(product / U1024::from(c))
}
