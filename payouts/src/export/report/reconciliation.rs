//! `reconciliation.json`: what must be equal to the satoshi, with every figure that it was checked with.
//!
//! Owns the equalities. Each figure comes from a source of its own (chain, ledger, register, statements), or comparing
//! them would prove nothing; where they come from is the caller's.

use std::io::Write;

use serde::{Deserialize, Serialize};

use super::{
    ReportError,
    json::{self, HeadJson},
    model::ReportHead,
};
use crate::export::rules::obligation::Fulfilment;

/// The name of the file.
pub const RECONCILIATION_FILE: &str = "reconciliation.json";

/// What a block's coinbase paid, and what became of it. In satoshis.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CoinbaseFigures {
    /// The block's hash.
    pub block: String,
    /// What the coinbase paid.
    pub coinbase_sat: u64,
    /// The pool's fee.
    pub fee_sat: u64,
    /// What miners were credited with.
    pub credits_sat: u64,
    /// What is neither: parts of reserves and satoshis that were left over.
    pub remainder_sat: u64,
}

/// An account's balance, or that of all. In satoshis.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BalanceFigures {
    /// Whose balance: `all`, or an account.
    pub scope: String,
    /// The balance at the start; negative if it is owed to the pool.
    pub opening_sat: i64,
    /// All credits.
    pub credits_sat: u64,
    /// All credits taken back.
    pub reversals_sat: u64,
    /// What was paid and stayed paid; negative if more came back than was paid.
    pub payouts_sat: i64,
    /// The parts of network fees that accounts bore, less those given back.
    pub network_fees_sat: i64,
    /// What is neither held nor blocked at the end; negative if it is owed to the pool.
    pub payable_sat: i64,
    /// What is held.
    pub held_sat: u64,
    /// What is blocked.
    pub blocked_sat: u64,
}

/// A transaction that paid. In satoshis.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TransactionFigures {
    /// Its id.
    pub txid: String,
    /// The outputs on the chain that it spent.
    pub outputs_sat: u64,
    /// What it paid out.
    pub payouts_sat: u64,
    /// What it paid to the network.
    pub network_fee_sat: u64,
    /// What came back to the pool.
    pub change_sat: u64,
}

/// All figures. In satoshis.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Figures {
    /// Each block of the period.
    pub coinbases: Vec<CoinbaseFigures>,
    /// Each account's balance, and that of all.
    pub balances: Vec<BalanceFigures>,
    /// The sum of the lots that were paid; negative if more came back.
    pub lots_sat: i64,
    /// The sum of the statements' payouts.
    pub statements_sat: i64,
    /// The sum of the register's movements.
    pub register_sat: i64,
    /// What was sold, by the report of sales; negative if more came back.
    pub sales_sat: i64,
    /// The lots that were there to be sold.
    pub available_lots_sat: u64,
    /// How far the profile's demand that coin be sold is met, if it makes one. Nothing is compared with it.
    pub obligation: Option<Fulfilment>,
    /// Each transaction of the period.
    pub transactions: Vec<TransactionFigures>,
}

/// A figure with its name and its sign.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Term {
    /// What it is.
    pub name: &'static str,
    /// Its amount, with the sign with which it counts.
    pub sat: i128,
}

/// How both sides must compare.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub enum Relation {
    /// They are equal.
    #[serde(rename = "=")]
    Equal,
    /// The left one is not more.
    #[serde(rename = "<=")]
    AtMost,
}

/// Two sums that were compared.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Equality {
    /// What is compared.
    pub name: &'static str,
    /// Of which block, account or transaction; `all` for all.
    pub scope: String,
    /// How both sides must compare.
    pub relation: Relation,
    /// What the left side consists of.
    pub left_terms: Vec<Term>,
    /// What the right side consists of.
    pub right_terms: Vec<Term>,
    /// The left side.
    pub left: i128,
    /// The right side.
    pub right: i128,
    /// By how much the left side is more than it may be, or less; 0 if all is well.
    pub difference: i128,
}

/// All comparisons.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Reconciliation {
    /// Whether every difference is zero.
    pub reconciled: bool,
    /// The comparisons.
    pub equalities: Vec<Equality>,
    /// How far the profile's demand that coin be sold is met, if it makes one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sale_obligation: Option<Fulfilment>,
}

/// Tells whether the file says that every difference is zero.
///
/// # Errors
///
/// If it is no such file.
pub fn is_reconciled(file: &[u8]) -> Result<bool, ReportError> {
    #[derive(Deserialize)]
    struct Verdict {
        reconciled: bool,
    }
    Ok(serde_json::from_slice::<Verdict>(file)?.reconciled)
}

#[derive(Serialize)]
struct ReconciliationFile<'a> {
    #[serde(flatten)]
    head: HeadJson,
    unit: &'static str,
    #[serde(flatten)]
    reconciliation: &'a Reconciliation,
}

impl Figures {
    /// Compares what must be equal.
    pub fn reconcile(&self) -> Reconciliation {
        let mut equalities: Vec<Equality> = self.coinbases.iter().map(coinbase).collect();
        equalities.extend(self.balances.iter().map(balance));
        let (lots, register) = (term("lots", self.lots_sat), term("movements in the register", self.register_sat));
        let statements = vec![term("payouts in statements", self.statements_sat), term("sales", self.sales_sat)];
        let equal = Relation::Equal;
        equalities.extend([
            compare("sum of lots = sum of statements and sales", "all", equal, vec![lots], statements.clone()),
            compare("sum of statements and sales = register", "all", equal, statements, vec![register]),
            compare(
                "sales <= available lots",
                "all",
                Relation::AtMost,
                vec![term("sales", self.sales_sat)],
                vec![term("available lots", self.available_lots_sat)],
            ),
        ]);
        equalities.extend(self.transactions.iter().map(transaction));
        let reconciled = equalities.iter().all(|equality| equality.difference == 0);
        Reconciliation { reconciled, equalities, sale_obligation: self.obligation }
    }
}

impl Reconciliation {
    /// Writes the file, and returns whether every difference is zero.
    ///
    /// # Errors
    ///
    /// If a time of the head cannot be told, or writing fails.
    pub fn write(&self, head: &ReportHead, out: &mut dyn Write) -> Result<bool, ReportError> {
        json::write(&ReconciliationFile { head: HeadJson::of(head)?, unit: "satoshi", reconciliation: self }, out)?;
        Ok(self.reconciled)
    }
}

fn coinbase(figures: &CoinbaseFigures) -> Equality {
    compare(
        "coinbase = fee + credits + remainder",
        &figures.block,
        Relation::Equal,
        vec![term("coinbase", figures.coinbase_sat)],
        vec![
            term("fee", figures.fee_sat),
            term("credits", figures.credits_sat),
            term("remainder", figures.remainder_sat),
        ],
    )
}

fn balance(figures: &BalanceFigures) -> Equality {
    compare(
        "opening + credits - reversals - payouts - network fees = payable + held + blocked",
        &figures.scope,
        Relation::Equal,
        vec![
            term("opening", figures.opening_sat),
            term("credits", figures.credits_sat),
            term("reversals", -i128::from(figures.reversals_sat)),
            term("payouts", -i128::from(figures.payouts_sat)),
            term("network fees", -i128::from(figures.network_fees_sat)),
        ],
        vec![
            term("payable", figures.payable_sat),
            term("held", figures.held_sat),
            term("blocked", figures.blocked_sat),
        ],
    )
}

fn transaction(figures: &TransactionFigures) -> Equality {
    compare(
        "outputs on the chain = payouts + network fee + change",
        &figures.txid,
        Relation::Equal,
        vec![term("outputs on the chain", figures.outputs_sat)],
        vec![
            term("payouts", figures.payouts_sat),
            term("network fee", figures.network_fee_sat),
            term("change", figures.change_sat),
        ],
    )
}

fn term(name: &'static str, sat: impl Into<i128>) -> Term {
    Term { name, sat: sat.into() }
}

fn compare(
    name: &'static str,
    scope: &str,
    relation: Relation,
    left_terms: Vec<Term>,
    right_terms: Vec<Term>,
) -> Equality {
    let [left, right] = [&left_terms, &right_terms].map(|terms| terms.iter().map(|term| term.sat).sum::<i128>());
    let difference = match relation {
        Relation::Equal => left - right,
        Relation::AtMost => (left - right).max(0),
    };
    Equality { name, scope: scope.to_owned(), relation, left_terms, right_terms, left, right, difference }
}

#[cfg(test)]
mod tests;
