//! A statement with its figures as they are told: what both the JSON file and the page show.

use serde::Serialize;

use super::super::{
    ReportError, figure,
    json::{CoinJson, HeadJson, TimeJson, ValuationJson},
    model::{
        BlockRef, CorrectionLine, CreditLine, NetworkFeeLine, PayoutLine, ReportHead, ReversalLine, SetAside, Valuation,
    },
};
use super::{BalancedStatement, Section, ValueTotals};

/// A statement as it is told.
#[derive(Debug, Serialize)]
pub(super) struct StatementView {
    #[serde(flatten)]
    pub(super) head: HeadJson,
    pub(super) account: i64,
    pub(super) miner: String,
    pub(super) party: String,
    pub(super) opening: CoinJson,
    pub(super) credits: Vec<CreditView>,
    pub(super) reversals: Vec<ReversalView>,
    pub(super) network_fees: Vec<NetworkFeeView>,
    pub(super) payouts: Vec<PayoutView>,
    pub(super) corrections: Vec<CorrectionView>,
    pub(super) payable: CoinJson,
    pub(super) held: Vec<SetAsideView>,
    pub(super) blocked: Vec<SetAsideView>,
    pub(super) closing: CoinJson,
    pub(super) closing_valuation: ValuationJson,
    pub(super) totals: TotalsView,
}

/// A credit.
#[derive(Debug, Serialize)]
pub(super) struct CreditView {
    pub(super) block_hash: Option<String>,
    pub(super) block_height: Option<u64>,
    pub(super) coinbase: String,
    pub(super) time: TimeJson,
    pub(super) amount: CoinJson,
    pub(super) pool_fee: CoinJson,
    pub(super) valuation: ValuationJson,
}

/// A credit taken back.
#[derive(Debug, Serialize)]
pub(super) struct ReversalView {
    pub(super) block_hash: Option<String>,
    pub(super) block_height: Option<u64>,
    pub(super) coinbase: String,
    pub(super) time: TimeJson,
    pub(super) amount: CoinJson,
    pub(super) pool_fee: CoinJson,
    pub(super) valuation: ValuationJson,
}

/// A part of a network fee.
#[derive(Debug, Serialize)]
pub(super) struct NetworkFeeView {
    pub(super) batch: String,
    pub(super) state: &'static str,
    pub(super) time: TimeJson,
    pub(super) amount: CoinJson,
}

/// An output that paid.
#[derive(Debug, Serialize)]
pub(super) struct PayoutView {
    pub(super) output: String,
    pub(super) state: &'static str,
    /// Whether a coinbase paid it.
    pub(super) is_direct: bool,
    pub(super) block_hash: String,
    pub(super) block_height: u64,
    pub(super) time: TimeJson,
    pub(super) address: String,
    pub(super) amount: CoinJson,
    pub(super) valuation: ValuationJson,
}

/// A value of a closed period that turned out to be another.
#[derive(Debug, Serialize)]
pub(super) struct CorrectionView {
    pub(super) section: &'static str,
    pub(super) original_time: TimeJson,
    pub(super) reference: String,
    pub(super) time: TimeJson,
    pub(super) journal_row: String,
    pub(super) amount: CoinJson,
    pub(super) was: ValuationJson,
    pub(super) valuation: ValuationJson,
    /// What the value is more than it was; nothing if one of both was not valued.
    pub(super) difference: Option<String>,
}

/// An amount set aside.
#[derive(Debug, Serialize)]
pub(super) struct SetAsideView {
    pub(super) since: TimeJson,
    pub(super) amount: CoinJson,
    pub(super) reason: String,
    pub(super) screening: String,
}

/// The sums.
#[derive(Debug, Serialize)]
pub(super) struct TotalsView {
    pub(super) opening: CoinJson,
    pub(super) credits: CoinJson,
    pub(super) pool_fees: CoinJson,
    pub(super) reversals: CoinJson,
    pub(super) payouts: CoinJson,
    pub(super) payouts_reversed: CoinJson,
    pub(super) network_fees: CoinJson,
    pub(super) closing: CoinJson,
    pub(super) payable: CoinJson,
    pub(super) held: CoinJson,
    pub(super) blocked: CoinJson,
    pub(super) credits_value: ValuesView,
    pub(super) reversals_value: ValuesView,
    pub(super) payouts_value: ValuesView,
    pub(super) payouts_reversed_value: ValuesView,
}

/// What several lines are worth.
#[derive(Debug, Serialize)]
pub(super) struct ValuesView {
    sums: Vec<SumView>,
    unvalued_lines: u64,
}

/// What several lines are worth in one currency.
#[derive(Debug, Serialize)]
struct SumView {
    value: String,
    currency: String,
}

impl StatementView {
    /// Tells a statement.
    pub(super) fn of(balanced: &BalancedStatement, head: &ReportHead) -> Result<Self, ReportError> {
        let statement = balanced.statement();
        let set_aside = |amounts: &[SetAside]| -> Result<Vec<SetAsideView>, ReportError> {
            amounts.iter().map(|amount| SetAsideView::of(amount, head)).collect()
        };
        Ok(Self {
            head: HeadJson::of(head)?,
            account: statement.account,
            miner: statement.miner.clone(),
            party: statement.party.clone(),
            opening: CoinJson::of(statement.opening_sat),
            credits: statement.credits.iter().map(|line| CreditView::of(line, head)).collect::<Result<_, _>>()?,
            reversals: statement.reversals.iter().map(|line| ReversalView::of(line, head)).collect::<Result<_, _>>()?,
            network_fees: statement
                .network_fees
                .iter()
                .map(|line| NetworkFeeView::of(line, head))
                .collect::<Result<_, _>>()?,
            payouts: statement.payouts.iter().map(|line| PayoutView::of(line, head)).collect::<Result<_, _>>()?,
            corrections: statement
                .corrections
                .iter()
                .map(|line| CorrectionView::of(line, head))
                .collect::<Result<_, _>>()?,
            payable: CoinJson::of(statement.payable_sat),
            held: set_aside(&statement.held)?,
            blocked: set_aside(&statement.blocked)?,
            closing: CoinJson::of(balanced.totals().closing_sat()),
            closing_valuation: ValuationJson::of(&statement.closing_value)?,
            totals: TotalsView::of(balanced),
        })
    }
}

impl CreditView {
    fn of(line: &CreditLine, head: &ReportHead) -> Result<Self, ReportError> {
        let (block_hash, block_height) = told(line.block.as_ref());
        Ok(Self {
            block_hash,
            block_height,
            coinbase: line.coinbase.clone(),
            time: TimeJson::of(line.at_ms, head)?,
            amount: CoinJson::of(line.amount_sat),
            pool_fee: CoinJson::of(line.fee_sat),
            valuation: ValuationJson::of(&line.valuation)?,
        })
    }
}

impl ReversalView {
    fn of(line: &ReversalLine, head: &ReportHead) -> Result<Self, ReportError> {
        let (block_hash, block_height) = told(line.block.as_ref());
        Ok(Self {
            block_hash,
            block_height,
            coinbase: line.coinbase.clone(),
            time: TimeJson::of(line.at_ms, head)?,
            amount: CoinJson::of(line.amount_sat),
            pool_fee: CoinJson::of(line.fee_sat),
            valuation: ValuationJson::of(&line.valuation)?,
        })
    }
}

impl NetworkFeeView {
    fn of(line: &NetworkFeeLine, head: &ReportHead) -> Result<Self, ReportError> {
        Ok(Self {
            batch: line.batch.clone(),
            state: if line.returned { "RETURNED" } else { "TAKEN" },
            time: TimeJson::of(line.at_ms, head)?,
            amount: CoinJson::of(line.amount_sat),
        })
    }
}

/// Returns hash and height of a block, if there is one.
fn told(block: Option<&BlockRef>) -> (Option<String>, Option<u64>) {
    (block.map(|block| block.hash.clone()), block.map(|block| block.height))
}

impl PayoutView {
    fn of(line: &PayoutLine, head: &ReportHead) -> Result<Self, ReportError> {
        let BlockRef { hash, height } = line.block.clone();
        Ok(Self {
            output: format!("{}:{}", line.txid, line.vout),
            state: if line.reversed { "REVERSED" } else { "DELIVERED" },
            is_direct: line.direct,
            block_hash: hash,
            block_height: height,
            time: TimeJson::of(line.at_ms, head)?,
            address: line.address.clone(),
            amount: CoinJson::of(line.amount_sat),
            valuation: ValuationJson::of(&line.valuation)?,
        })
    }
}

impl CorrectionView {
    fn of(line: &CorrectionLine, head: &ReportHead) -> Result<Self, ReportError> {
        let difference = match &line.valuation {
            Valuation::Valued(value) => {
                line.difference_minor.map(|minor| figure::decimal(minor, value.currency.decimals))
            }
            Valuation::Unvalued => None,
        };
        Ok(Self {
            section: Section::Corrected(line.of).as_str(),
            original_time: TimeJson::of(line.original_at_ms, head)?,
            reference: line.reference.clone(),
            time: TimeJson::of(line.at_ms, head)?,
            journal_row: line.row.clone(),
            amount: CoinJson::of(line.amount_sat),
            was: ValuationJson::of(&line.was)?,
            valuation: ValuationJson::of(&line.valuation)?,
            difference,
        })
    }
}

impl SetAsideView {
    fn of(amount: &SetAside, head: &ReportHead) -> Result<Self, ReportError> {
        Ok(Self {
            since: TimeJson::of(amount.since_ms, head)?,
            amount: CoinJson::of(amount.amount_sat),
            reason: amount.reason.clone(),
            screening: amount.screening.clone(),
        })
    }
}

impl TotalsView {
    fn of(balanced: &BalancedStatement) -> Self {
        let (statement, totals) = (balanced.statement(), balanced.totals());
        let payouts_value = |reversed: bool| {
            let lines = statement.payouts.iter().filter(move |line| line.reversed == reversed);
            ValuesView::of(lines.map(|line| &line.valuation))
        };
        Self {
            opening: CoinJson::of(totals.opening_sat),
            credits: CoinJson::of(totals.credits_sat),
            pool_fees: CoinJson::of(totals.fees_sat),
            reversals: CoinJson::of(totals.reversals_sat),
            payouts: CoinJson::of(totals.payouts_sat),
            payouts_reversed: CoinJson::of(totals.payouts_reversed_sat),
            network_fees: CoinJson::of(totals.network_fees_sat),
            closing: CoinJson::of(totals.closing_sat()),
            payable: CoinJson::of(totals.payable_sat),
            held: CoinJson::of(totals.held_sat),
            blocked: CoinJson::of(totals.blocked_sat),
            credits_value: ValuesView::of(statement.credits.iter().map(|line| &line.valuation)),
            reversals_value: ValuesView::of(statement.reversals.iter().map(|line| &line.valuation)),
            payouts_value: payouts_value(false),
            payouts_reversed_value: payouts_value(true),
        }
    }
}

impl ValuesView {
    fn of<'a>(valuations: impl IntoIterator<Item = &'a Valuation>) -> Self {
        let ValueTotals { sums, unvalued } = ValueTotals::of(valuations);
        let sums = sums.into_iter().map(|sum| SumView {
            value: figure::decimal(sum.minor, sum.currency.decimals),
            currency: sum.currency.code,
        });
        Self { sums: sums.collect(), unvalued_lines: unvalued }
    }

    /// Returns the sums for people.
    pub(super) fn told(&self) -> String {
        let mut parts: Vec<String> = self.sums.iter().map(|sum| format!("{} {}", sum.value, sum.currency)).collect();
        if self.unvalued_lines > 0 {
            parts.push(format!("{} unvalued", self.unvalued_lines));
        }
        parts.join(", ")
    }
}
