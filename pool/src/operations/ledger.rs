//! What the ledger has, for people and programs: sums by class, entries that are looked for, all of them as a table.

use std::sync::Arc;

use axum::body::Bytes;
use futures_util::{Stream, stream};
use payouts::{
    account::User,
    export::report::table::defused,
    ledger::{Entry, EntryKind, EntrySeq, Head, LedgerAccount},
    store::{BalanceSum, EntryFilter, EntryRange, Store, StoreError},
};
use serde::Serialize;

use super::{Refusal, RefusalCode, account::find_account};

/// Entries that are read from the store at a time for a table: one of a block has a line for each miner.
const TABLE_PAGE: u32 = 50;
/// What a table of entries begins with.
const TABLE_HEAD: &str = "entry,at_utc,kind,key,corrects,line,account,sat,entry_hash\r\n";

/// On which side of the balance something stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Side {
    /// What the pool has.
    Asset,
    /// What it owes.
    Liability,
    /// What is its own.
    Equity,
    /// What it has spent.
    Expense,
}

impl Side {
    /// Returns the side as it is written.
    pub fn as_str(self) -> &'static str {
        match self {
            Side::Asset => "asset",
            Side::Liability => "liability",
            Side::Equity => "equity",
            Side::Expense => "expense",
        }
    }
}

/// What all ledger accounts of a class have together.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct ClassSum {
    /// The class, such as `miner_payable`.
    pub class: &'static str,
    /// On which side of the balance it stands.
    pub side: Side,
    /// What it means.
    pub meaning: &'static str,
    /// How many accounts of it were ever posted to.
    pub accounts: u64,
    /// The sum of their balances. What the pool owes or owns is negative.
    pub sat: i64,
}

/// The balance of the books.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct LedgerSums {
    /// The classes, assets first.
    pub classes: Vec<ClassSum>,
    /// What all sum to: must be 0.
    pub imbalance_sat: i64,
    /// The newest entry's place.
    pub head: i64,
    /// Its hash, which covers all entries before it.
    pub head_hash: String,
}

const CLASSES: [(&str, Side, &str); 15] = [
    ("immature", Side::Asset, "Coinbases that are not mature"),
    ("spendable", Side::Asset, "Coins that can be spent"),
    ("in_flight", Side::Asset, "Coins that left with payouts which no block has yet"),
    ("miner_debt", Side::Asset, "What miners were paid beyond their credits"),
    ("miner_immature", Side::Liability, "Credits of blocks that are not mature"),
    ("miner_payable", Side::Liability, "Credits that are due"),
    ("reserved", Side::Liability, "What payouts are about to pay"),
    ("held", Side::Liability, "Credits that operators keep back"),
    ("blocked", Side::Liability, "Credits that may not be paid"),
    ("remainder", Side::Liability, "Deposits of which it is not said whose they are"),
    ("fee_immature", Side::Equity, "The pool's part of blocks that are not mature"),
    ("fee", Side::Equity, "The pool's part"),
    ("pps_immature", Side::Equity, "What blocks that are not mature will bring to the reserve"),
    ("pps_reserve", Side::Equity, "What pays for work whatever is found"),
    ("network_fee", Side::Expense, "What payouts paid to the miners of the network"),
];

/// Sums the ledger up.
///
/// # Errors
///
/// When the store cannot be read.
pub async fn show_sums(store: &dyn Store) -> Result<LedgerSums, Refusal> {
    let (sums, Head { seq, hash }) = (store.balance_sums().await?, store.head().await?);
    let imbalance_sat = sums.iter().map(|sum| sum.sum.to_sat()).sum();
    let class_sum = |(class, side, meaning): (&'static str, Side, &'static str)| {
        let found = sums.iter().find(|sum| sum.class == class);
        let (accounts, sat) = found.map_or((0, 0), |BalanceSum { accounts, sum, .. }| (*accounts, sum.to_sat()));
        ClassSum { class, side, meaning, accounts, sat }
    };
    let classes = CLASSES.into_iter().map(class_sum).collect();
    Ok(LedgerSums { classes, imbalance_sat, head: seq.get(), head_hash: hash.to_string() })
}

/// Which entries somebody looks for, as he writes it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct WantedEntries {
    /// What they record.
    pub kind: Option<EntryKind>,
    /// The miner that they are about.
    pub account: Option<User>,
    /// The ledger account that they post to.
    pub ledger_account: Option<LedgerAccount>,
}

/// Makes of what somebody looks for what a store looks for.
///
/// # Errors
///
/// When the store cannot be read, or does not know the miner.
pub async fn entry_filter(store: &dyn Store, wanted: &WantedEntries) -> Result<EntryFilter, Refusal> {
    let WantedEntries { kind, account, ledger_account } = wanted;
    let accounts = match (account, ledger_account) {
        (Some(user), None) => EntryFilter::of_account(find_account(store, user).await?.id).accounts,
        (None, ledger_account) => ledger_account.iter().copied().collect(),
        (Some(_), Some(_)) => {
            return Err(Refusal::new(RefusalCode::Invalid, "give a miner's account or a ledger account, not both"));
        }
    };
    Ok(EntryFilter { kind: *kind, accounts })
}

/// Returns an entry.
///
/// # Errors
///
/// When the store cannot be read, or has no such entry.
pub async fn find_entry(store: &dyn Store, seq: EntrySeq) -> Result<Entry, Refusal> {
    let unknown = || Refusal::new(RefusalCode::NotFound, format!("there is no entry {seq}"));
    let before = seq.get().checked_sub(1).ok_or_else(unknown)?;
    let found = store.entries(EntrySeq::new(before), 1).await?.pop();
    found.filter(|entry| entry.seq == seq).ok_or_else(unknown)
}

/// Writes entries as CSV, a line for each posting, oldest first; a page of them is in memory at a time.
pub fn entries_table(
    store: Arc<dyn Store>,
    wanted: EntryFilter,
) -> impl Stream<Item = Result<Bytes, StoreError>> + Send + 'static {
    let begin = (store, wanted, Some(EntrySeq::new(0)), TABLE_HEAD.to_owned());
    stream::try_unfold(begin, |(store, wanted, after, mut text)| async move {
        let Some(after) = after else { return Ok(None) };
        let page = store.entries_where(&wanted, EntryRange::After(after), TABLE_PAGE).await?;
        for entry in &page {
            write_lines(entry, &mut text);
        }
        let next = page.last().filter(|_| page.len() == TABLE_PAGE as usize).map(|last| last.seq);
        Ok(Some((Bytes::from(text), (store, wanted, next, String::new()))))
    })
}

fn write_lines(entry: &Entry, text: &mut String) {
    use std::fmt::Write;

    let at = jiff::Timestamp::from_millisecond(entry.at_ms).map_or_else(|_| String::new(), |at| at.to_string());
    let corrects = entry.corrects.map_or_else(String::new, |corrects| corrects.to_string());
    let (seq, kind, key, hash) = (entry.seq, entry.kind, cell(&entry.key), entry.hash);
    for (line, posting) in entry.postings.iter().enumerate() {
        let (account, sat) = (posting.account, posting.amount.to_sat());
        let _ = write!(text, "{seq},{at},{kind},{key},{corrects},{line},{account},{sat},{hash}\r\n");
    }
}

/// A text as a cell: what an operator has written shall not be taken for a formula, nor for the end of the cell.
fn cell(text: &str) -> String {
    let text = defused(text);
    if text.contains(['"', ',', '\r', '\n']) { format!("\"{}\"", text.replace('"', "\"\"")) } else { text.into_owned() }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use bitcoin::Amount;
    use futures_util::TryStreamExt;
    use payouts::{
        ledger::Draft,
        store::{Change, Commit, sqlite::SqliteStore},
    };

    use super::*;

    async fn store(folder: &tempfile::TempDir, keys: &[&str]) -> Arc<dyn Store> {
        let store = SqliteStore::open(&folder.path().join("adit.sqlite")).await.unwrap();
        for (number, key) in keys.iter().enumerate() {
            let sat = Amount::from_sat(number as u64 + 1);
            let lines = Draft::begin(EntryKind::ReserveFunded, key).debit(LedgerAccount::Fee, sat);
            let draft = lines.credit(LedgerAccount::PpsReserve, sat).balanced().unwrap();
            let entry = draft.seal(store.head().await.unwrap(), 1_700_000_000_000);
            assert_eq!(store.commit(Change { entry, rows: Vec::new() }).await.unwrap(), Commit::Done);
        }
        Arc::new(store)
    }

    #[tokio::test]
    async fn table_has_a_line_for_each_posting_of_what_is_wanted() {
        let folder = tempfile::tempdir().unwrap();
        let keys: Vec<String> = (0..TABLE_PAGE + 3).map(|number| format!("gift {number}")).collect();
        let mut keys: Vec<&str> = keys.iter().map(String::as_str).collect();
        keys[0] = "=1+1, \"x\"";
        let store = store(&folder, &keys).await;
        let table = async |wanted| {
            let parts: Vec<Bytes> = entries_table(Arc::clone(&store), wanted).try_collect().await.unwrap();
            String::from_utf8(parts.concat()).unwrap()
        };
        let whole = table(EntryFilter::default()).await;
        assert_eq!(whole.lines().count(), 1 + 2 * keys.len());
        assert!(whole.starts_with(TABLE_HEAD) && whole.contains(",\"'=1+1, \"\"x\"\"\",,0,"), "{whole}");
        assert!(whole.contains("\r\n2,2023-11-14T22:13:20Z,reserve_funded,gift 1,,1,pps_reserve,-2,"), "{whole}");
        let none = EntryFilter { kind: Some(EntryKind::Held), ..EntryFilter::default() };
        assert_eq!(table(none).await, TABLE_HEAD);
    }

    #[tokio::test]
    async fn books_are_summed_up_and_balance() {
        let folder = tempfile::tempdir().unwrap();
        let store = store(&folder, &["a", "b"]).await;
        let sums = show_sums(&*store).await.unwrap();
        let sat = |class| sums.classes.iter().find(|sum| sum.class == class).unwrap().sat;
        assert_eq!((sat("fee"), sat("pps_reserve"), sat("held"), sums.imbalance_sat), (3, -3, 0, 0));
        assert_eq!((sums.head, sums.head_hash), (2, store.head().await.unwrap().hash.to_string()));
    }

    #[test]
    fn every_class_is_one_of_the_ledger() {
        let (number, hash) = (7, "00".repeat(32));
        for (class, ..) in CLASSES {
            let spelled = [class.to_owned(), format!("{class}:{number}"), format!("{class}:{hash}")];
            assert!(spelled.iter().any(|text| text.parse::<LedgerAccount>().is_ok()), "there is no {class}");
        }
    }

    #[tokio::test]
    async fn entry_is_found_by_its_place() {
        let folder = tempfile::tempdir().unwrap();
        let store = store(&folder, &["a", "b"]).await;
        assert_eq!(find_entry(&*store, EntrySeq::new(2)).await.unwrap().key, "b");
        for nowhere in [0, 3, i64::MIN, i64::MAX] {
            let refusal = find_entry(&*store, EntrySeq::new(nowhere)).await.unwrap_err();
            assert_eq!(refusal.code, RefusalCode::NotFound, "{nowhere}");
        }
    }
}
