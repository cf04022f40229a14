//! The figures that must be equal, each from another place than the one that it is compared with.
//!
//! Of a block, its value and credits come from the rows beside the ledger, fee and remainder from the entry's postings.
//! Of an account, what changed comes from those rows, and what is owed before and after from postings. Of payments, lots
//! and amounts come from the register, what statements say from the outputs of payouts, and what was sold from the journal
//! and the coins that were there from the ledger. Of a transaction, what it
//! spends comes from the unsigned one, change from the outputs that it has.

use bitcoin::Amount;

use super::{
    BookkeepingError,
    sales::Sold,
    walk::{Booked, Walk, sat},
};
use crate::{
    export::report::{
        model::{RecordEvent, RegisterRow, SaleRow, Statement},
        reconciliation::{BalanceFigures, CoinbaseFigures, Figures, TransactionFigures},
    },
    ledger::{Entry, EntryKind, LedgerAccount},
    payout::{Attempt, Batch},
    store::Store,
};

/// Figures of blocks and transactions on their way.
#[derive(Debug, Default)]
pub(super) struct Gathered {
    coinbases: Vec<CoinbaseFigures>,
    transactions: Vec<TransactionFigures>,
}

impl Gathered {
    /// Takes in an entry of the period.
    pub(super) async fn note(
        &mut self,
        walk: &Walk<'_>,
        store: &dyn Store,
        booked: &Booked,
    ) -> Result<(), BookkeepingError> {
        let entry = &booked.entry;
        match (entry.kind, booked.block, booked.batch) {
            (EntryKind::BlockFound | EntryKind::Reconnected | EntryKind::Orphaned, Some(hash), _) => {
                let block = walk.block(entry.seq, hash).await?;
                let state = match entry.kind {
                    EntryKind::BlockFound => String::new(),
                    kind => format!(" {kind}"),
                };
                self.coinbases.push(CoinbaseFigures {
                    block: format!("{hash}{state}"),
                    coinbase_sat: block.record.found.value.to_sat(),
                    fee_sat: posted(entry, LedgerAccount::FeeImmature),
                    credits_sat: block.credits.iter().map(|credit| credit.amount.to_sat()).sum(),
                    remainder_sat: posted(entry, LedgerAccount::PpsImmature),
                });
            }
            (EntryKind::Confirmed, _, Some(id)) => {
                if let Some(batch) = store.batch(id).await? {
                    let txid = entry.key.split(':').next().unwrap_or_default();
                    let attempt = batch.attempts.iter().find(|attempt| attempt.txid.to_string() == txid);
                    let missing =
                        || BookkeepingError::Missing { entry: entry.seq, what: format!("transaction {txid}") };
                    self.transactions.push(transaction(&batch, attempt.ok_or_else(missing)?));
                }
            }
            _ => {}
        }
        Ok(())
    }

    /// Adds what the reports say.
    pub(super) fn finish(self, register: &[RegisterRow], statements: &[Statement], sold: Sold) -> Figures {
        let mut balances: Vec<_> = statements.iter().map(balance).collect();
        balances.push(all(&balances));
        let lots = |row: &RegisterRow| -> i128 {
            let sum: i128 = row.lots.iter().map(|lot| i128::from(lot.amount_sat)).sum();
            match row.event {
                RecordEvent::Delivered => sum,
                RecordEvent::Reversed { .. } => -sum,
                // A correction changes a value, and moves no coin.
                RecordEvent::Corrected { .. } => 0,
            }
        };
        let payouts = statements.iter().flat_map(|statement| &statement.payouts).filter(|payout| !payout.direct);
        let signed = |reversed: bool, sat: u64| if reversed { -i128::from(sat) } else { i128::from(sat) };
        Figures {
            coinbases: self.coinbases,
            balances,
            lots_sat: narrow(register.iter().map(lots).sum()),
            statements_sat: narrow(payouts.map(|payout| signed(payout.reversed, payout.amount_sat)).sum()),
            register_sat: narrow(register.iter().map(RegisterRow::movement_sat).sum()),
            sales_sat: narrow(sold.rows.iter().map(SaleRow::movement_sat).sum()),
            available_lots_sat: unsigned(sold.available_sat.into()),
            obligation: sold.obligation,
            transactions: self.transactions,
        }
    }
}

fn posted(entry: &Entry, account: LedgerAccount) -> u64 {
    let posted = entry.postings.iter().find(|posting| posting.account == account);
    posted.map_or(0, |posting| posting.amount.to_sat().unsigned_abs())
}

fn balance(statement: &Statement) -> BalanceFigures {
    let totals = statement.totals();
    BalanceFigures {
        scope: format!("account {}", statement.account),
        opening_sat: statement.opening_sat,
        credits_sat: unsigned(totals.credits_sat),
        reversals_sat: unsigned(totals.reversals_sat),
        payouts_sat: narrow(totals.paid_sat()),
        network_fees_sat: narrow(totals.network_fees_sat),
        payable_sat: statement.payable_sat,
        held_sat: unsigned(totals.held_sat),
        blocked_sat: unsigned(totals.blocked_sat),
    }
}

fn all(balances: &[BalanceFigures]) -> BalanceFigures {
    let signed = |of: fn(&BalanceFigures) -> i64| narrow(balances.iter().map(|it| i128::from(of(it))).sum());
    let whole = |of: fn(&BalanceFigures) -> u64| unsigned(balances.iter().map(|it| i128::from(of(it))).sum());
    BalanceFigures {
        scope: "all".to_owned(),
        opening_sat: signed(|it| it.opening_sat),
        credits_sat: whole(|it| it.credits_sat),
        reversals_sat: whole(|it| it.reversals_sat),
        payouts_sat: signed(|it| it.payouts_sat),
        network_fees_sat: signed(|it| it.network_fees_sat),
        payable_sat: signed(|it| it.payable_sat),
        held_sat: whole(|it| it.held_sat),
        blocked_sat: whole(|it| it.blocked_sat),
    }
}

/// The figures of a transaction. An unsigned one that cannot be read spends nothing, which does not reconcile.
fn transaction(batch: &Batch, attempt: &Attempt) -> TransactionFigures {
    let unsigned = attempt.unsigned();
    let spent = unsigned.as_ref().map_or(Amount::ZERO, |psbt| {
        let inputs = psbt.unsigned_tx.input.iter().zip(&psbt.inputs);
        let values = inputs.filter_map(|(input, known)| {
            let vout = input.previous_output.vout as usize;
            let whole = || known.non_witness_utxo.as_ref().and_then(|transaction| transaction.output.get(vout));
            known.witness_utxo.as_ref().or_else(whole).map(|output| output.value)
        });
        values.sum()
    });
    let outputs = attempt.transaction().or(unsigned.as_ref().map(|psbt| &psbt.unsigned_tx));
    let outputs = outputs.map(|transaction| transaction.output.as_slice()).unwrap_or_default();
    let pays = |vout: usize| batch.outputs.iter().any(|output| output.vout as usize == vout);
    let change = outputs.iter().enumerate().filter(|(vout, _)| !pays(*vout)).map(|(_, output)| output.value);
    TransactionFigures {
        txid: attempt.txid.to_string(),
        outputs_sat: spent.to_sat(),
        payouts_sat: batch.outputs.iter().map(|output| sat(output.pays()).unsigned_abs()).sum(),
        network_fee_sat: attempt.network_fee.to_sat(),
        change_sat: change.sum::<Amount>().to_sat(),
    }
}

/// No sum of coin is near the limits of 64 bits.
fn narrow(sat: i128) -> i64 {
    i64::try_from(sat).unwrap_or(if sat < 0 { i64::MIN } else { i64::MAX })
}

fn unsigned(sat: i128) -> u64 {
    u64::try_from(sat).unwrap_or(0)
}
