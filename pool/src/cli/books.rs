//! The books as text: balances, ledger entries, export records.
//!
//! Reads any store, and is meant for one that was opened read-only beside a running pool. Amounts are satoshis.

use std::{
    collections::{BTreeMap, HashMap},
    fmt::Write,
    sync::Arc,
};

use anyhow::Context;
use bitcoin::{BlockHash, SignedAmount};
use jiff::Timestamp;
use payouts::{
    account::{AccountId, User},
    audit::{self, ChainAudit, ChainCoins},
    crediting::PeriodNumber,
    export::{
        bookkeeping,
        register::{RegisterRow, RowSeq},
        rules::state::RecordState,
    },
    ledger::{Entry, EntrySeq, LedgerAccount},
    store::Store,
};

use super::table::{Align, Table};
use crate::{operations::account::find_account, template::nodes::Nodes};

/// Accounts read from the store at a time.
const PAGE: u32 = 1_000;

/// The balances that are not zero, and the newest `last` entries, a line for each posting.
///
/// # Errors
///
/// When the store cannot be read.
pub async fn show_ledger(store: &dyn Store, last: u32) -> anyhow::Result<String> {
    let addresses = addresses(store).await?;
    let balances = store.balances().await?;
    let head = store.head().await?;
    let first = (head.seq.get() - i64::from(last)).max(0);
    let entries = store.entries(EntrySeq::new(first), last).await?;
    let (balances, entries) = (balances_table(&balances, &addresses), entries_table(&entries, &addresses)?);
    Ok(format!("Balances (satoshis; what the pool owes is negative)\n{balances}\nEntries\n{entries}"))
}

/// The newest `last` rows of the export register, a line for each coinbase that a payment came from. States are told by the
/// declarations of a profile, which is given by name and version.
///
/// # Errors
///
/// When the store cannot be read.
pub async fn list_exports(store: &dyn Store, last: u32, profile: &str) -> anyhow::Result<String> {
    let head = store.register_head().await?;
    let first = (head.seq.get() - i64::from(last)).max(0);
    let rows = store.register_rows(RowSeq::new(first), last).await?;
    let states = bookkeeping::record_states(store, profile).await?;
    Ok(exports_table(&rows, |row| states.of(row))?.to_string())
}

/// Recomputes all of the books and says what they amount to; with a node, also compares them with its chain.
///
/// # Errors
///
/// When the store cannot be read or the node does not answer, or names the first record that is wrong.
pub async fn verify(store: &dyn Store, nodes: Option<&Nodes>) -> anyhow::Result<String> {
    let audited = audit::verify_books(store).await?;
    let mut table = Table::new([("CHAIN", Align::Left), ("RECORDS", Align::Right), ("LAST HASH", Align::Left)]);
    let (ledger, register, journal) = (audited.ledger, audited.register, audited.journal);
    table.push(["ledger".to_owned(), ledger.seq.to_string(), ledger.hash.to_string()]);
    table.push(["export register".to_owned(), register.seq.to_string(), register.hash.to_string()]);
    table.push(["export journal".to_owned(), journal.seq.to_string(), journal.hash.to_string()]);
    let delivered = audited.delivered.to_sat();
    let chain = match nodes {
        Some(nodes) => compare_with_chain(store, nodes).await?,
        None => "Not compared with the node's chain.\n".to_owned(),
    };
    Ok(format!("{table}\nAll records are as they were written. Delivered: {delivered} sat.\n{chain}"))
}

async fn compare_with_chain(store: &dyn Store, nodes: &Nodes) -> anyhow::Result<String> {
    let without = "the books agree with themselves, but were not compared with the chain (--offline leaves that out)";
    nodes.choose().await.context(without)?;
    let compared = audit::verify_chain(store, Arc::new(nodes.client())).await?;
    let ChainAudit { tip_height, blocks, batches, pruned, behind, coins } = compared;
    let mut text = format!("Compared with the chain up to height {tip_height}: {blocks} blocks, {batches} payouts.\n");
    if pruned > 0 {
        let _ = writeln!(text, "Of {pruned} of them only the place was compared: the node has pruned the rest.");
    }
    for lag in &behind {
        let _ = writeln!(text, "Behind: {lag}.");
    }
    match coins {
        None => text.push_str("Coins not compared: the books are behind the node; a running pool catches up.\n"),
        Some(ChainCoins { ledger_sat, chain_sat }) => {
            let _ = writeln!(text, "Coins of the pool on the chain: {chain_sat} sat, in the ledger: {ledger_sat} sat.");
        }
    }
    Ok(text)
}

/// How an account came to its credit for the work of a period.
///
/// # Errors
///
/// When the store cannot be read, does not know the account, the period is not paid, or its credit does not follow from
/// the work.
pub async fn explain_period(store: &dyn Store, period: PeriodNumber, account: &User) -> anyhow::Result<String> {
    let account = find_account(store, account).await?;
    Ok(payouts::crediting::explain(store, period, account.id).await?.to_string())
}

/// How an account came to its credit of a block.
///
/// # Errors
///
/// When the store cannot be read, does not know the block or the account, or holds a credit that does not follow from
/// the shares.
pub async fn explain(store: &dyn Store, block: BlockHash, account: &User) -> anyhow::Result<String> {
    let account = find_account(store, account).await?;
    Ok(payouts::books::explain(store, block, account.id).await?.to_string())
}

async fn addresses(store: &dyn Store) -> anyhow::Result<HashMap<AccountId, String>> {
    let mut addresses = HashMap::new();
    let mut after = AccountId::new(0);
    loop {
        let accounts = store.accounts(after, PAGE).await?;
        let Some(last) = accounts.last() else { return Ok(addresses) };
        after = last.id;
        addresses.extend(accounts.into_iter().map(|account| (account.id, account.address)));
    }
}

fn balances_table(balances: &BTreeMap<LedgerAccount, SignedAmount>, addresses: &HashMap<AccountId, String>) -> Table {
    let mut table = Table::new([("ACCOUNT", Align::Left), ("SAT", Align::Right), ("ADDRESS", Align::Left)]);
    for (account, amount) in balances.iter().filter(|(_, amount)| **amount != SignedAmount::ZERO) {
        table.push([account.to_string(), amount.to_sat().to_string(), address_of(*account, addresses)]);
    }
    table
}

fn entries_table(entries: &[Entry], addresses: &HashMap<AccountId, String>) -> anyhow::Result<Table> {
    let mut table = Table::new([
        ("ENTRY", Align::Right),
        ("TIME", Align::Left),
        ("KIND", Align::Left),
        ("SAT", Align::Right),
        ("ACCOUNT", Align::Left),
        ("ADDRESS", Align::Left),
        ("KEY", Align::Left),
    ]);
    for entry in entries {
        let time = utc(entry.at_ms)?;
        for posting in &entry.postings {
            table.push([
                entry.seq.to_string(),
                time.clone(),
                entry.kind.as_str().to_owned(),
                posting.amount.to_sat().to_string(),
                posting.account.to_string(),
                address_of(posting.account, addresses),
                entry.key.clone(),
            ]);
        }
    }
    Ok(table)
}

fn exports_table(rows: &[RegisterRow], state: impl Fn(RowSeq) -> Option<RecordState>) -> anyhow::Result<Table> {
    let mut table = Table::new([
        ("ROW", Align::Right),
        ("EVENT", Align::Left),
        ("STATE", Align::Left),
        ("BLOCK TIME", Align::Left),
        ("HEIGHT", Align::Right),
        ("SAT", Align::Right),
        ("ADDRESS", Align::Left),
        ("OUTPUT", Align::Left),
        ("SAT FROM", Align::Right),
        ("COINBASE", Align::Left),
    ]);
    for row in rows {
        let time = utc(row.block.time * 1_000)?;
        let state = state(row.seq).map_or_else(|| "?".to_owned(), |state| state.to_string());
        for lot in &row.record.lots {
            table.push([
                row.seq.to_string(),
                row.state.as_str().to_owned(),
                state.clone(),
                time.clone(),
                row.block.height.to_string(),
                row.record.amount.to_sat().to_string(),
                row.record.address.clone(),
                row.record.delivery.to_string(),
                lot.amount.to_sat().to_string(),
                lot.coinbase.to_string(),
            ]);
        }
    }
    Ok(table)
}

/// The address of a miner's ledger account; nothing for the pool's own.
fn address_of(account: LedgerAccount, addresses: &HashMap<AccountId, String>) -> String {
    match account {
        LedgerAccount::MinerDebt(id) | LedgerAccount::MinerImmature(id) | LedgerAccount::MinerPayable(id) => {
            addresses.get(&id).cloned().unwrap_or_else(|| "?".to_owned())
        }
        _ => String::new(),
    }
}

pub(super) fn utc(ms: i64) -> anyhow::Result<String> {
    let time = Timestamp::from_millisecond(ms).with_context(|| format!("{ms} is no time"))?;
    Ok(time.strftime("%Y-%m-%dT%H:%M:%SZ").to_string())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use bitcoin::{Amount, BlockHash, OutPoint, ScriptBuf, Txid, hashes::Hash};
    use payouts::{
        export::{
            Lot,
            register::{self, ExportRecord, RegisterHead},
        },
        ledger::{Draft, EntryKind, Head},
        payout::{BatchId, ConfirmationBlock},
    };

    use super::*;

    fn hash(byte: u8) -> BlockHash {
        BlockHash::from_byte_array([byte; 32])
    }

    fn outpoint(byte: u8, vout: u32) -> OutPoint {
        OutPoint { txid: Txid::from_byte_array([byte; 32]), vout }
    }

    fn payment() -> Entry {
        let account = LedgerAccount::MinerPayable(AccountId::new(7));
        let lines = Draft::begin(EntryKind::PayoutCreated, 1);
        let lines = lines.debit(account, Amount::from_sat(300));
        let lines = lines.credit(LedgerAccount::Reserved(BatchId::new(1)), Amount::from_sat(300));
        lines.balanced().unwrap().seal(Head::EMPTY, 1_700_000_000_123)
    }

    #[test]
    fn entry_has_a_line_for_each_posting_with_the_address_of_the_miner() {
        let addresses = HashMap::from([(AccountId::new(7), "bcrt1qminer".to_owned())]);
        let text = entries_table(&[payment()], &addresses).unwrap().to_string();
        let lines: Vec<Vec<&str>> = text.lines().map(|line| line.split_whitespace().collect()).collect();
        assert_eq!(lines.len(), 3, "{text}");
        let of_miner = ["1", "2023-11-14T22:13:20Z", "payout_created", "300", "miner_payable:7", "bcrt1qminer", "1"];
        assert!(lines.contains(&of_miner.to_vec()), "{text}");
        let of_pool = ["1", "2023-11-14T22:13:20Z", "payout_created", "-300", "reserved:1", "1"];
        assert!(lines.contains(&of_pool.to_vec()), "{text}");
    }

    #[test]
    fn record_has_a_line_for_each_coinbase_that_it_came_from() {
        let lots =
            [(3, 100), (4, 200)].map(|(byte, sat)| Lot::of_block(hash(byte), outpoint(byte, 0), Amount::from_sat(sat)));
        let record = ExportRecord {
            delivery: outpoint(9, 1),
            amount: Amount::from_sat(300),
            account: AccountId::new(7),
            address: "bcrt1qminer".to_owned(),
            script_pubkey: ScriptBuf::new(),
            lots: lots.to_vec(),
        };
        let block = ConfirmationBlock { hash: hash(5), height: 205, time: 1_700_000_000 };
        let row = RegisterRow::seal(RegisterHead::EMPTY, record, register::RecordState::Delivered, block, &payment());
        let text = exports_table(&[row], |_| Some(RecordState::Settled)).unwrap().to_string();
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines.len(), 3, "{text}");
        assert!(lines[1].contains("DELIVERED  SETTLED"), "{text}");
        assert!(lines[1].contains("205") && lines[1].contains(&outpoint(9, 1).to_string()), "{text}");
        assert!(lines[1].ends_with(&format!("100  {}", outpoint(3, 0))), "{text}");
        assert!(lines[2].ends_with(&format!("200  {}", outpoint(4, 0))), "{text}");
    }

    #[test]
    fn balances_of_zero_are_left_out() {
        let balances = BTreeMap::from([
            (LedgerAccount::Spendable, SignedAmount::ZERO),
            (LedgerAccount::Fee, SignedAmount::from_sat(-5)),
        ]);
        let text = balances_table(&balances, &HashMap::new()).to_string();
        assert_eq!(text, "ACCOUNT  SAT  ADDRESS\nfee       -5\n");
    }
}
