//! The demo's summary: what the pool's books say, beside what the node says.

use std::fmt;

use anyhow::{Context, bail, ensure};
use bitcoin::{Address, Amount, OutPoint};
use bitcoind_regtest::{Node, bitcoincore_rpc::RpcApi};
use payouts::{
    AccountId, BlockRecord, SqliteStore, Store,
    export::register::{RecordState, RegisterRow},
};
use tests::adit::Pool;
use tokio::task::block_in_place;

/// Rows read at a time; the demo makes far fewer.
const PAGE: u32 = 10_000;

/// What came out: of the first block, and of the first that all miners have earned.
pub(crate) struct Summary {
    first: BlockRecord,
    first_transactions: usize,
    block: BlockRecord,
    fee: Amount,
    miners: Vec<MinerRow>,
    records: Vec<RegisterRow>,
    checks: Vec<Check>,
}

struct MinerRow {
    name: String,
    address: Address,
    shares: u64,
    work: f64,
    credit: Amount,
    paid: Amount,
    on_chain: Amount,
}

/// Something that must be true.
struct Check {
    what: &'static str,
    holds: bool,
    seen: String,
}

/// Reads the whole register.
///
/// # Errors
///
/// If the database cannot be read.
pub(crate) async fn register(store: &SqliteStore) -> anyhow::Result<Vec<RegisterRow>> {
    Ok(store.register_rows(payouts::export::register::RegisterHead::EMPTY.seq, PAGE).await?)
}

impl Summary {
    /// Gathers and checks.
    ///
    /// # Errors
    ///
    /// If node, store or `adit` cannot be asked.
    pub(crate) async fn gather(
        node: &Node,
        pool: &Pool,
        store: &SqliteStore,
        block: &BlockRecord,
        miners: &[(&str, Address)],
    ) -> anyhow::Result<Self> {
        let found = block_in_place(|| node.block(block.found.hash))?;
        let records = register(store).await?;
        let delivered: Vec<&RegisterRow> = records.iter().filter(|row| row.state == RecordState::Delivered).collect();
        let mut rows = Vec::new();
        for (name, address) in miners {
            rows.push(miner_row(node, store, block, name, address, &delivered).await?);
        }

        let coinbase = found.txdata.first().context("a block has a coinbase")?;
        let paid_to_pool = coinbase.output.first().context("a coinbase has outputs")?.value;
        let credited: Amount = rows.iter().map(|row| row.credit).sum();
        let confirmations = block_in_place(|| node.confirmations(block.found.hash))?;
        let entries = store.head().await?.seq.get();
        let audit = block_in_place(|| pool.ask(&["ledger", "verify"]));
        let checks = vec![
            Check {
                what: "block is in the node's best chain",
                holds: confirmations >= 100,
                seen: format!("{confirmations} confirmations"),
            },
            Check {
                what: "credits and fee are what the coinbase paid",
                holds: credited + block.fee == paid_to_pool && paid_to_pool == block.found.value,
                seen: format!("{} + {} = {}", sat(credited), sat(block.fee), sat(paid_to_pool)),
            },
            Check {
                what: "every miner holds on the chain what was recorded",
                holds: rows.iter().all(|row| row.paid == row.on_chain && row.paid > Amount::ZERO),
                seen: sat(rows.iter().map(|row| row.on_chain).sum()),
            },
            Check {
                what: "every record's coinbases account for all of it",
                holds: delivered
                    .iter()
                    .all(|row| row.record.lots.iter().map(|lot| lot.amount).sum::<Amount>() == row.record.amount),
                seen: format!("{} records", delivered.len()),
            },
            Check {
                what: "ledger and register verify from the first entry",
                holds: audit.is_ok(),
                seen: audit.map_or_else(|error| format!("{error:#}"), |_| format!("{entries} entries")),
            },
        ];
        let first = store.blocks(PAGE).await?.pop().context("there is a first block")?;
        let first_transactions = block_in_place(|| node.block(first.found.hash))?.txdata.len() - 1;
        Ok(Self { first, first_transactions, block: block.clone(), fee: block.fee, miners: rows, records, checks })
    }

    /// Tells whether everything came out right.
    ///
    /// # Errors
    ///
    /// If a check failed.
    pub(crate) fn verdict(&self) -> anyhow::Result<()> {
        match self.checks.iter().find(|check| !check.holds) {
            Some(check) => bail!("not true: {} ({})", check.what, check.seen),
            None => Ok(()),
        }
    }
}

async fn miner_row(
    node: &Node,
    store: &SqliteStore,
    block: &BlockRecord,
    name: &str,
    address: &Address,
    delivered: &[&RegisterRow],
) -> anyhow::Result<MinerRow> {
    let account = store.find_account(&address.to_string()).await?.with_context(|| format!("no account for {name}"))?;
    let totals = store.share_totals(Some(account.id), 0).await?;
    let credits = store.credits(block.found.hash).await?;
    let credit =
        credits.iter().find(|credit| credit.account == account.id).map_or(Amount::ZERO, |credit| credit.amount);
    let (mut paid, mut on_chain) = (Amount::ZERO, Amount::ZERO);
    for row in records_of(delivered, account.id) {
        paid += row.record.amount;
        on_chain += block_in_place(|| unspent(node, row.record.delivery, address))?;
    }
    Ok(MinerRow {
        name: name.to_owned(),
        address: address.clone(),
        shares: totals.count,
        work: totals.work.approximate(),
        credit,
        paid,
        on_chain,
    })
}

fn records_of<'a>(rows: &'a [&RegisterRow], account: AccountId) -> impl Iterator<Item = &'a RegisterRow> {
    rows.iter().copied().filter(move |row| row.record.account == account)
}

/// Asks the node what an output holds, and makes sure that it is the miner's.
fn unspent(node: &Node, output: OutPoint, address: &Address) -> anyhow::Result<Amount> {
    let answer: serde_json::Value =
        node.rpc().call("gettxout", &[output.txid.to_string().into(), output.vout.into(), false.into()])?;
    let script = answer["scriptPubKey"]["hex"].as_str().with_context(|| format!("{output} is not in the chain"))?;
    ensure!(script == address.script_pubkey().to_hex_string(), "{output} pays somebody else");
    let value = answer["value"].as_f64().context("an output has a value")?;
    Ok(Amount::from_btc(value)?)
}

impl fmt::Display for Summary {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let found = &self.block.found;
        let first = &self.first.found;
        writeln!(formatter, "First block   {} at height {}", first.hash, first.height)?;
        writeln!(formatter, "              with {} transactions of the mempool", self.first_transactions)?;
        writeln!(formatter, "Shared block  {} at height {}", found.hash, found.height)?;
        writeln!(
            formatter,
            "              paid {}, of that {} to the pool as its fee",
            sat(found.value),
            sat(self.fee)
        )?;
        writeln!(formatter)?;
        writeln!(
            formatter,
            "{:<9} {:<44} {:>6} {:>10} {:>18} {:>18} {:>18}",
            "Miner", "address", "shares", "work", "of shared block", "paid so far", "on the chain"
        )?;
        for row in &self.miners {
            writeln!(
                formatter,
                "{:<9} {:<44} {:>6} {:>10.6} {:>18} {:>18} {:>18}",
                row.name,
                row.address.to_string(),
                row.shares,
                row.work,
                sat(row.credit),
                sat(row.paid),
                sat(row.on_chain)
            )?;
        }
        writeln!(formatter, "\nExport records (output, amount, coinbases it came from)")?;
        for row in &self.records {
            let lots = row.record.lots.len();
            let (delivery, amount, state) = (row.record.delivery, sat(row.record.amount), row.state.as_str());
            writeln!(formatter, "  {delivery} {amount:>18} {state} from {lots} coinbases")?;
        }
        writeln!(formatter, "\nChecks")?;
        for check in &self.checks {
            let verdict = if check.holds { "yes" } else { "NO " };
            writeln!(formatter, "  {verdict}  {}: {}", check.what, check.seen)?;
        }
        Ok(())
    }
}

fn sat(amount: Amount) -> String {
    format!("{} sat", amount.to_sat())
}
