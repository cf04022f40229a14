//! Why a miner was paid what he was: from shares over credits to the output of a transaction, by what was frozen when it
//! happened, in integers that anybody can work out again.

use askama::Template;
use axum::extract::Path;
use bitcoin::BlockHash;
use payouts::{
    books::BlockPhase,
    crediting::{PeriodNumber, PeriodState},
    export::{Lot, LotCredit},
    payout::{BatchId, BatchState},
    scheme::{
        explanation::{Basis, SharesBasis},
        window::Measure,
    },
    store::Store,
};

use super::{
    super::{PAGE, cut, home::phase, now_ms},
    Nav,
    figures::{CreditLine, PaymentLine},
};
use crate::{
    operations::{
        Refusal, RefusalCode,
        why::{ExplainedPayment, explain_block, explain_payment, explain_work, find_batch},
    },
    pages::{
        asked::{Shown, page},
        frame::Frame,
        miners::Visit,
        show::{Number, When},
    },
};

/// Coins of a payment that are listed.
const MOST_LOTS: usize = 200;

/// A fact with its name.
type Pair = (String, String);

#[derive(Template)]
#[template(path = "miner_payouts.html")]
struct Payouts {
    frame: Frame,
    nav: Nav,
    payments: Vec<PaymentLine>,
    next: Option<String>,
}

/// All payouts, newest first.
pub(super) async fn payouts(visit: Visit) -> Shown {
    let Visit { pages, miner, fields } = &visit;
    let before = fields.optional::<i64>("before")?.map(BatchId::new);
    let mut payments = pages.store.payments_to(miner.known()?.id, before, PAGE + 1).await?;
    let last = cut(&mut payments, PAGE);
    let next = last.map(|last| format!("{}/payouts?before={}", miner.path(), last.batch));
    let now_ms = now_ms();
    page(&Payouts {
        frame: visit.frame("Payouts"),
        nav: Nav::new(miner, "payouts"),
        payments: payments.iter().map(|payment| PaymentLine::new(payment, now_ms)).collect(),
        next,
    })
}

#[derive(Template)]
#[template(path = "miner_blocks.html")]
struct Blocks {
    frame: Frame,
    nav: Nav,
    credits: Vec<CreditLine>,
    next: Option<String>,
}

/// All credits of blocks, the highest first.
pub(super) async fn blocks(visit: Visit) -> Shown {
    let Visit { pages, miner, fields } = &visit;
    let after = fields.optional::<u32>("height")?.zip(fields.optional::<BlockHash>("hash")?);
    let mut credits = pages.store.credits_to(miner.known()?.id, after, PAGE + 1).await?;
    let last = cut(&mut credits, PAGE).map(|last| &last.block.found);
    let next = last.map(|last| format!("{}/blocks?height={}&hash={}", miner.path(), last.height, last.hash));
    let now_ms = now_ms();
    page(&Blocks {
        frame: visit.frame("Credits by block"),
        nav: Nav::new(miner, "blocks"),
        credits: credits.iter().map(|credit| CreditLine::new(credit, now_ms)).collect(),
        next,
    })
}

#[derive(Template)]
#[template(path = "miner_block.html")]
struct BlockPage {
    frame: Frame,
    nav: Nav,
    height: u32,
    phase: &'static str,
    found: When,
    credit: Number,
    facts: Vec<Pair>,
    sum: Option<Sum>,
    entry: i64,
    checks: Vec<Pair>,
}

/// The division by which an account came to its part, in integers.
struct Sum {
    /// What is divided, in satoshis.
    net: u64,
    /// The account's weight.
    own: String,
    /// The weight of all.
    total: String,
    /// The whole part of the quotient.
    floor: u64,
    /// What is left.
    remainder: String,
    /// What a share weighs.
    weight: &'static str,
}

/// Why a block credits what it does.
pub(super) async fn block(visit: Visit, Path((_, hash)): Path<(String, String)>) -> Shown {
    let Visit { pages, miner, .. } = &visit;
    let unknown = |_| Refusal::new(RefusalCode::NotFound, "that is not the hash of a block");
    let explained = explain_block(&*pages.store, miner.known()?.id, hash.parse().map_err(unknown)?).await?;
    let found = &explained.block.found;
    let explanation = &explained.explanation;
    let net = explanation.value - explanation.reserve - explanation.fee;
    let sum = match &explanation.basis {
        Basis::Shares(basis) => Some(Sum::new(net.to_sat(), basis)),
        _ => None,
    };
    let mut checks = vec![
        ("Block".to_owned(), found.hash.to_string()),
        ("Coinbase output of the pool".to_owned(), found.coinbase.to_string()),
    ];
    if explained.block.state.phase == BlockPhase::Orphaned {
        checks.clear();
    }
    page(&BlockPage {
        frame: visit.frame(format!("Credit of block {}", found.height)),
        nav: Nav::new(miner, "blocks"),
        height: found.height,
        phase: phase(explained.block.state.phase),
        found: When(found.found_at_ms),
        credit: Number(explained.credit.to_sat().into()),
        facts: pairs(&explained.to_string()),
        sum,
        entry: explained.entry.get(),
        checks,
    })
}

impl Sum {
    fn new(net: u64, basis: &SharesBasis) -> Sum {
        Sum {
            net,
            own: basis.own.weight.to_string(),
            total: basis.total.weight.to_string(),
            floor: basis.floor.to_sat(),
            remainder: basis.remainder.to_string(),
            weight: match basis.measure {
                Measure::NetworkAtSubmission => {
                    "2^32 times its difficulty, times the network's target when its job was made"
                }
                Measure::NetworkAtBlock(_) => "2^32 times its difficulty, times the target of the block",
                Measure::Work => "2^32 times its difficulty",
            },
        }
    }
}

#[derive(Template)]
#[template(path = "miner_work.html")]
struct WorkPage {
    frame: Frame,
    nav: Nav,
    period: i64,
    from: When,
    upto: When,
    credit: Number,
    facts: Vec<Pair>,
}

/// Why a period of work credits what it does.
pub(super) async fn work(visit: Visit, Path((_, period)): Path<(String, String)>) -> Shown {
    let Visit { pages, miner, .. } = &visit;
    let unknown = |_| Refusal::new(RefusalCode::NotFound, "there is no such period");
    let number = PeriodNumber::new(period.parse().map_err(unknown)?);
    let statement = explain_work(&*pages.store, miner.known()?.id, number).await?;
    let upto = match statement.period.state {
        PeriodState::Credited(end, ..) => end.at_ms,
        _ => statement.period.from_ms,
    };
    page(&WorkPage {
        frame: visit.frame(format!("Work of period {number}")),
        nav: Nav::new(miner, "payouts"),
        period: number.get(),
        from: When(statement.period.from_ms),
        upto: When(upto),
        credit: Number(statement.credit.to_sat().into()),
        facts: pairs(&statement.to_string()),
    })
}

#[derive(Template)]
#[template(path = "miner_payout.html")]
struct PayoutPage {
    frame: Frame,
    nav: Nav,
    batch: i64,
    state: &'static str,
    txid: String,
    vout: u32,
    address: String,
    block: Option<(u32, String)>,
    taken: u64,
    fee: u64,
    paid: u64,
    network_fee: Number,
    lots: Vec<LotLine>,
    more_lots: usize,
    entries: Vec<EntryLine>,
    rows: Vec<RowLine>,
}

/// A coin that a payment was taken from.
struct LotLine {
    /// Where its credit is explained, and what that is called.
    credit: Option<(String, String)>,
    coinbase: String,
    sat: Number,
}

struct EntryLine {
    seq: i64,
    kind: String,
    at: When,
    hash: String,
}

struct RowLine {
    seq: i64,
    state: &'static str,
    at: When,
    hash: String,
}

/// Why a payout paid what it did.
pub(super) async fn payout(visit: Visit, Path((_, named)): Path<(String, String)>) -> Shown {
    let Visit { pages, miner, .. } = &visit;
    let batch = find_batch(&*pages.store, &named).await?;
    let explained = explain_payment(&*pages.store, miner.known()?.id, batch).await?;
    let ExplainedPayment { batch, output, entries, rows } = explained;
    let mut lots = Vec::new();
    for lot in output.lots.iter().take(MOST_LOTS) {
        lots.push(lot_line(&*pages.store, &miner.path(), lot).await?);
    }
    let (state, block) = match &batch.state {
        BatchState::Open => ("open", None),
        BatchState::Confirmed(_, block) => ("confirmed", Some((block.height, block.hash.to_string()))),
        BatchState::Cancelled => ("cancelled", None),
        BatchState::Replaced(_) => ("replaced", None),
    };
    page(&PayoutPage {
        frame: visit.frame(format!("Payout {}", batch.id)),
        nav: Nav::new(miner, "payouts"),
        batch: batch.id.get(),
        state,
        txid: batch.txid().to_string(),
        vout: output.vout,
        address: output.due.address.clone(),
        block,
        taken: output.due.amount.to_sat(),
        fee: output.fee.to_sat(),
        paid: output.pays().to_sat(),
        network_fee: Number(batch.attempt().network_fee.to_sat().into()),
        more_lots: output.lots.len().saturating_sub(MOST_LOTS),
        lots,
        entries: entries
            .iter()
            .map(|entry| EntryLine {
                seq: entry.seq.get(),
                kind: entry.kind.as_str().replace('_', " "),
                at: When(entry.at_ms),
                hash: entry.hash.to_string(),
            })
            .collect(),
        rows: rows
            .iter()
            .map(|row| RowLine {
                seq: row.seq.get(),
                state: row.state.as_str(),
                at: When(row.block.time * 1_000),
                hash: row.hash.to_string(),
            })
            .collect(),
    })
}

async fn lot_line(store: &dyn Store, base: &str, lot: &Lot) -> Result<LotLine, Refusal> {
    let credit = match lot.credit {
        LotCredit::Period { number, .. } => Some((format!("{base}/work/{number}"), format!("work of period {number}"))),
        LotCredit::Block => {
            let block = store.block(lot.block).await?;
            block.map(|block| (format!("{base}/blocks/{}", lot.block), format!("block {}", block.found.height)))
        }
        LotCredit::Fee => None,
    };
    Ok(LotLine { credit, coinbase: lot.coinbase.to_string(), sat: Number(lot.amount.to_sat().into()) })
}

/// The width of names in the texts of the books.
const NAME_WIDTH: usize = 10;

/// Reads a text of the books as facts: each line has a name and a value; one without a name goes on with the one before.
fn pairs(text: &str) -> Vec<Pair> {
    let mut pairs: Vec<Pair> = Vec::new();
    for line in text.lines() {
        let (name, value) = line.split_at_checked(NAME_WIDTH).unwrap_or((line, ""));
        match pairs.last_mut() {
            Some((_, before)) if name.trim().is_empty() => {
                before.push(' ');
                before.push_str(value);
            }
            _ => pairs.push((name.trim().to_owned(), value.to_owned())),
        }
    }
    pairs
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_of_the_books_are_read_as_facts() {
        let text = "Block     00ff at height 7\nFees      3 of 4\n          and more\nPart      1 / 2\n";
        let facts = [("Block", "00ff at height 7"), ("Fees", "3 of 4 and more"), ("Part", "1 / 2")];
        assert_eq!(pairs(text), facts.map(|(name, value)| (name.to_owned(), value.to_owned())));
    }
}
