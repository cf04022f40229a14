//! `statement_<miner>_<month>`: a miner's month as a table, as JSON and as a page to print.
//!
//! Owns a statement's totals and the proof that they add up: without it none of the files is written.

mod html;
mod view;

use std::{collections::BTreeMap, io::Write};

use super::{
    ReportError, figure, file_name, json,
    model::{
        BlockRef, CorrectionLine, CorrectionOf, Currency, NetworkFeeLine, ReportHead, SetAside, Statement, Valuation,
        Value,
    },
    table::{Cell, Column, Table, UNVALUED, Valued, column, height},
};

/// The table of a statement.
pub static STATEMENT: Table<StatementLine> = Table {
    file: "statement_<miner>_<month>.csv",
    meaning: "A miner's month: the opening balance, all movements, what the closing balance consists of, and the \
        closing balance. Opening and movements sum to closing; so do the parts of the closing balance.",
    columns: &[LINE, &StatementLine::VALUATION],
};

const LINE: &[Column<StatementLine>] = &[
    column("period", "text", "The month, in the profile's zone", |_, head| Ok(Cell::text(&head.period.label))),
    column("account", "number", "The miner's account", |line, _| Ok(Cell::integer(line.account))),
    column("miner", "text", "The miner's name", |line, _| Ok(Cell::text(&line.miner))),
    column("party", "text", "The miner's id among the parties", |line, _| Ok(Cell::text(&line.party))),
    column(
        "section",
        "text",
        "OPENING; movements: CREDIT, REVERSAL, NETWORK_FEE, NETWORK_FEE_RETURNED, PAYOUT, PAYOUT_REVERSED, DIRECT_PAYMENT, \
         DIRECT_PAYMENT_REVERSED; CREDIT_CORRECTED, PAYOUT_CORRECTED and DIRECT_PAYMENT_CORRECTED: the value of a line of a \
         closed period is another; parts: PAYABLE, HELD, BLOCKED; CLOSING",
        |line, _| Ok(Cell::text(line.section.as_str())),
    ),
    column("time_utc", "RFC 3339", "When it happened, or since when it is set aside, in UTC", |line, _| {
        line.at_ms.map_or(Ok(Cell::Empty), Cell::utc)
    }),
    column("time_local", "RFC 3339", "The same time in the profile's zone", |line, head| {
        line.at_ms.map_or(Ok(Cell::Empty), |ms| Cell::local(ms, head))
    }),
    column("block_height", "number", "The block of the coinbase, or of the output that paid", |line, _| {
        Ok(line.block.as_ref().map_or(Cell::Empty, height))
    }),
    column("block_hash", "hex", "The hash of that block", |line, _| {
        Ok(line.block.as_ref().map_or(Cell::Empty, |block| Cell::text(&block.hash)))
    }),
    column(
        "reference",
        "txid:vout or text",
        "The coinbase, the output that paid, the payout, or the screening",
        |line, _| Ok(Cell::text(&line.reference)),
    ),
    column(
        "detail",
        "text",
        "The address that was paid, why an amount is set aside, or which line is corrected and what it was worth",
        |line, _| Ok(Cell::text(&line.detail)),
    ),
    column("movement_sat", "satoshi", "What the balance changes by", |line, _| Ok(optional(line.movement_sat))),
    column("movement_btc", "bitcoin, 8 decimals", "The same in bitcoins", |line, _| {
        Ok(line.movement_sat.map_or(Cell::Empty, Cell::btc))
    }),
    column("balance_sat", "satoshi", "The balance after the line", |line, _| Ok(optional(line.balance_sat))),
    column("balance_btc", "bitcoin, 8 decimals", "The same in bitcoins", |line, _| {
        Ok(line.balance_sat.map_or(Cell::Empty, Cell::btc))
    }),
    column("part_sat", "satoshi", "A part of the closing balance", |line, _| Ok(optional(line.part_sat))),
    column(
        "pool_fee_sat",
        "satoshi",
        "The pool's fee on a credit, already taken off it, or given back with a reversal",
        |line, _| Ok(optional(line.fee_sat)),
    ),
];

/// What a line of a statement is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Section {
    /// The balance at the start.
    Opening,
    /// What a block earned.
    Credit,
    /// A credit taken back.
    Reversal,
    /// A part of a payout's network fee.
    NetworkFee,
    /// One of a payout that was given up.
    NetworkFeeReturned,
    /// An output that paid.
    Payout,
    /// One whose block left the chain.
    PayoutReversed,
    /// An output of a coinbase that paid.
    DirectPayment,
    /// One whose block left the chain.
    DirectPaymentReversed,
    /// The value of an earlier line, in a closed period, is another.
    Corrected(CorrectionOf),
    /// What can be paid.
    Payable,
    /// What is held.
    Held,
    /// What is blocked.
    Blocked,
    /// The balance at the end.
    Closing,
}

impl Section {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Opening => "OPENING",
            Self::Credit => "CREDIT",
            Self::Reversal => "REVERSAL",
            Self::NetworkFee => "NETWORK_FEE",
            Self::NetworkFeeReturned => "NETWORK_FEE_RETURNED",
            Self::Payout => "PAYOUT",
            Self::PayoutReversed => "PAYOUT_REVERSED",
            Self::DirectPayment => "DIRECT_PAYMENT",
            Self::DirectPaymentReversed => "DIRECT_PAYMENT_REVERSED",
            Self::Corrected(CorrectionOf::Credit) => "CREDIT_CORRECTED",
            Self::Corrected(CorrectionOf::Payout) => "PAYOUT_CORRECTED",
            Self::Corrected(CorrectionOf::DirectPayment) => "DIRECT_PAYMENT_CORRECTED",
            Self::Payable => "PAYABLE",
            Self::Held => "HELD",
            Self::Blocked => "BLOCKED",
            Self::Closing => "CLOSING",
        }
    }
}

/// A line of the table.
#[derive(Clone, Debug)]
pub struct StatementLine {
    account: i64,
    miner: String,
    party: String,
    section: Section,
    at_ms: Option<i64>,
    block: Option<BlockRef>,
    reference: String,
    detail: String,
    movement_sat: Option<i128>,
    balance_sat: Option<i128>,
    part_sat: Option<i128>,
    fee_sat: Option<i128>,
    valuation: Valuation,
    /// Of a correction, by how much the value is more than it was.
    difference_minor: Option<i64>,
}

impl Valued for StatementLine {
    fn valuation(&self) -> &Valuation {
        &self.valuation
    }

    fn can_be_valued(&self) -> bool {
        match self.section {
            Section::Credit | Section::Reversal | Section::Closing => true,
            Section::Payout | Section::PayoutReversed => true,
            Section::DirectPayment | Section::DirectPaymentReversed | Section::Corrected(_) => true,
            Section::Opening | Section::Payable | Section::Held | Section::Blocked => false,
            Section::NetworkFee | Section::NetworkFeeReturned => false,
        }
    }

    fn movement_minor(&self, value: &Value) -> Option<i128> {
        let minor = i128::from(value.minor);
        match self.section {
            Section::Credit | Section::PayoutReversed | Section::DirectPaymentReversed => Some(minor),
            Section::Reversal | Section::Payout | Section::DirectPayment => Some(-minor),
            Section::Corrected(CorrectionOf::Credit) => self.difference_minor.map(i128::from),
            Section::Corrected(CorrectionOf::Payout | CorrectionOf::DirectPayment) => {
                self.difference_minor.map(|difference| -i128::from(difference))
            }
            Section::Opening | Section::Payable | Section::Held | Section::Blocked | Section::Closing => None,
            Section::NetworkFee | Section::NetworkFeeReturned => None,
        }
    }
}

/// The sums of a statement, in satoshis.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StatementTotals {
    /// The balance at the start.
    pub opening_sat: i128,
    /// All credits.
    pub credits_sat: i128,
    /// The pool's fees on them, which are not in them, less those taken back.
    pub fees_sat: i128,
    /// All credits taken back.
    pub reversals_sat: i128,
    /// All outputs that paid.
    pub payouts_sat: i128,
    /// Those of them whose block left the chain.
    pub payouts_reversed_sat: i128,
    /// The parts of network fees that the miner bore, less those given back.
    pub network_fees_sat: i128,
    /// What can be paid at the end.
    pub payable_sat: i128,
    /// What is held at the end.
    pub held_sat: i128,
    /// What is blocked at the end.
    pub blocked_sat: i128,
}

impl StatementTotals {
    /// Returns what was paid and stayed paid.
    pub fn paid_sat(&self) -> i128 {
        self.payouts_sat - self.payouts_reversed_sat
    }

    /// Returns the balance at the end: opening, credits, less reversals, payouts that stayed and network fees.
    pub fn closing_sat(&self) -> i128 {
        self.opening_sat + self.credits_sat - self.reversals_sat - self.paid_sat() - self.network_fees_sat
    }

    /// Returns by how much the balance at the end is more than its parts; 0 if the statement adds up.
    pub fn difference_sat(&self) -> i128 {
        self.closing_sat() - self.payable_sat - self.held_sat - self.blocked_sat
    }
}

/// The worth of several lines in one currency.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ValueTotal {
    /// The currency.
    pub currency: Currency,
    /// The sum, in minor units.
    pub minor: i128,
}

/// The worth of several lines: one sum for each currency, and how many lines have no value.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ValueTotals {
    /// The sums, by currency.
    pub sums: Vec<ValueTotal>,
    /// The number of lines without a value.
    pub unvalued: u64,
}

impl ValueTotals {
    /// Sums up values.
    pub fn of<'a>(valuations: impl IntoIterator<Item = &'a Valuation>) -> Self {
        let mut sums: BTreeMap<&Currency, i128> = BTreeMap::new();
        let mut unvalued = 0;
        for valuation in valuations {
            match valuation {
                Valuation::Unvalued => unvalued += 1,
                Valuation::Valued(value) => *sums.entry(&value.currency).or_default() += i128::from(value.minor),
            }
        }
        let total = |(currency, minor): (&Currency, i128)| ValueTotal { currency: currency.clone(), minor };
        Self { sums: sums.into_iter().map(total).collect(), unvalued }
    }
}

/// A statement whose figures contradict each other.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the statement of account {account} does not add up: the balance exceeds its parts by {difference_sat} sat")]
pub struct Unbalanced {
    /// The account.
    pub account: i64,
    /// By how much, in satoshis.
    pub difference_sat: i128,
}

/// A statement that adds up; only such are written.
#[derive(Clone, Debug)]
pub struct BalancedStatement {
    statement: Statement,
    totals: StatementTotals,
}

impl Statement {
    /// Returns the sums, whether they add up or not.
    pub fn totals(&self) -> StatementTotals {
        let payouts = |reversed: bool| {
            let lines = self.payouts.iter().filter(move |line| line.reversed == reversed);
            lines.map(|line| i128::from(line.amount_sat)).sum()
        };
        let set_aside = |lines: &[SetAside]| lines.iter().map(|line| i128::from(line.amount_sat)).sum();
        StatementTotals {
            opening_sat: self.opening_sat.into(),
            credits_sat: self.credits.iter().map(|line| i128::from(line.amount_sat)).sum(),
            fees_sat: self.credits.iter().map(|line| i128::from(line.fee_sat)).sum::<i128>()
                - self.reversals.iter().map(|line| i128::from(line.fee_sat)).sum::<i128>(),
            reversals_sat: self.reversals.iter().map(|line| i128::from(line.amount_sat)).sum(),
            payouts_sat: payouts(false),
            payouts_reversed_sat: payouts(true),
            network_fees_sat: self.network_fees.iter().map(NetworkFeeLine::signed_sat).sum(),
            payable_sat: self.payable_sat.into(),
            held_sat: set_aside(&self.held),
            blocked_sat: set_aside(&self.blocked),
        }
    }

    /// Checks that the statement adds up.
    ///
    /// # Errors
    ///
    /// If opening, credits, reversals, payouts and network fees do not give what is payable, held and blocked, to the satoshi.
    pub fn balanced(self) -> Result<BalancedStatement, Unbalanced> {
        let totals = self.totals();
        match totals.difference_sat() {
            0 => Ok(BalancedStatement { statement: self, totals }),
            difference_sat => Err(Unbalanced { account: self.account, difference_sat }),
        }
    }
}

impl BalancedStatement {
    /// Returns the statement.
    pub fn statement(&self) -> &Statement {
        &self.statement
    }

    /// Returns its sums.
    pub fn totals(&self) -> &StatementTotals {
        &self.totals
    }

    /// Returns the name of its file with this extension: `csv`, `json` or `html`.
    pub fn file(&self, head: &ReportHead, extension: &str) -> String {
        let (miner, month) = (file_name::miner(&self.statement.miner), file_name::period(&head.period.label));
        format!("statement_{miner}_{month}.{extension}")
    }

    /// Writes the table.
    ///
    /// # Errors
    ///
    /// If a line has something that cannot be told, or writing fails.
    pub fn write_csv(&self, head: &ReportHead, out: &mut dyn Write) -> Result<(), ReportError> {
        STATEMENT.write(head, self.lines(), out)
    }

    /// Writes the JSON file.
    ///
    /// # Errors
    ///
    /// If a line has something that cannot be told, or writing fails.
    pub fn write_json(&self, head: &ReportHead, out: &mut dyn Write) -> Result<(), ReportError> {
        json::write(&view::StatementView::of(self, head)?, out)
    }

    /// Writes the page: HTML without scripts and without anything to load, for the screen and for paper.
    ///
    /// # Errors
    ///
    /// If a line has something that cannot be told, or writing fails.
    pub fn write_html(&self, head: &ReportHead, out: &mut dyn Write) -> Result<(), ReportError> {
        html::write(&view::StatementView::of(self, head)?, out)
    }

    fn lines(&self) -> Vec<StatementLine> {
        let statement = &self.statement;
        let line = |section| StatementLine {
            account: statement.account,
            miner: statement.miner.clone(),
            party: statement.party.clone(),
            section,
            at_ms: None,
            block: None,
            reference: String::new(),
            detail: String::new(),
            movement_sat: None,
            balance_sat: None,
            part_sat: None,
            fee_sat: None,
            valuation: Valuation::Unvalued,
            difference_minor: None,
        };
        let mut balance_sat = self.totals.opening_sat;
        let mut lines = vec![StatementLine { balance_sat: Some(balance_sat), ..line(Section::Opening) }];
        let mut moves = |mut line: StatementLine| {
            balance_sat += line.movement_sat.unwrap_or_default();
            line.balance_sat = Some(balance_sat);
            lines.push(line);
        };
        for credit in &statement.credits {
            moves(StatementLine {
                at_ms: Some(credit.at_ms),
                block: credit.block.clone(),
                reference: credit.coinbase.clone(),
                movement_sat: Some(credit.amount_sat.into()),
                fee_sat: Some(credit.fee_sat.into()),
                valuation: credit.valuation.clone(),
                ..line(Section::Credit)
            });
        }
        for reversal in &statement.reversals {
            moves(StatementLine {
                at_ms: Some(reversal.at_ms),
                block: reversal.block.clone(),
                reference: reversal.coinbase.clone(),
                movement_sat: Some(-i128::from(reversal.amount_sat)),
                fee_sat: Some(-i128::from(reversal.fee_sat)),
                valuation: reversal.valuation.clone(),
                ..line(Section::Reversal)
            });
        }
        for fee in &statement.network_fees {
            moves(StatementLine {
                at_ms: Some(fee.at_ms),
                reference: format!("payout {}", fee.batch),
                movement_sat: Some(-fee.signed_sat()),
                ..line(if fee.returned { Section::NetworkFeeReturned } else { Section::NetworkFee })
            });
        }
        for payout in &statement.payouts {
            let amount_sat = i128::from(payout.amount_sat);
            let (section, movement_sat) = match (payout.direct, payout.reversed) {
                (false, false) => (Section::Payout, -amount_sat),
                (false, true) => (Section::PayoutReversed, amount_sat),
                (true, false) => (Section::DirectPayment, -amount_sat),
                (true, true) => (Section::DirectPaymentReversed, amount_sat),
            };
            moves(StatementLine {
                at_ms: Some(payout.at_ms),
                block: Some(payout.block.clone()),
                reference: format!("{}:{}", payout.txid, payout.vout),
                detail: payout.address.clone(),
                movement_sat: Some(movement_sat),
                valuation: payout.valuation.clone(),
                ..line(section)
            });
        }
        for correction in &statement.corrections {
            moves(StatementLine {
                at_ms: Some(correction.at_ms),
                reference: correction.reference.clone(),
                detail: correction.detail(),
                movement_sat: Some(0),
                valuation: correction.valuation.clone(),
                difference_minor: correction.difference_minor,
                ..line(Section::Corrected(correction.of))
            });
        }
        lines.push(StatementLine { part_sat: Some(self.totals.payable_sat), ..line(Section::Payable) });
        let set_aside = |section, amounts: &[SetAside]| -> Vec<StatementLine> {
            let one = |amount: &SetAside| StatementLine {
                at_ms: Some(amount.since_ms),
                reference: amount.screening.clone(),
                detail: amount.reason.clone(),
                part_sat: Some(amount.amount_sat.into()),
                ..line(section)
            };
            amounts.iter().map(one).collect()
        };
        lines.extend(set_aside(Section::Held, &statement.held));
        lines.extend(set_aside(Section::Blocked, &statement.blocked));
        let valuation = statement.closing_value.clone();
        lines.push(StatementLine { balance_sat: Some(self.totals.closing_sat()), valuation, ..line(Section::Closing) });
        lines
    }
}

impl NetworkFeeLine {
    fn signed_sat(&self) -> i128 {
        let sat = i128::from(self.amount_sat);
        if self.returned { -sat } else { sat }
    }
}

impl CorrectionLine {
    /// Returns what was said before, and the row by which it is another.
    fn detail(&self) -> String {
        let at = figure::utc(self.original_at_ms).unwrap_or_default();
        let was = match &self.was {
            Valuation::Unvalued => UNVALUED.to_owned(),
            Valuation::Valued(was) => {
                format!("{} {}", figure::decimal(was.minor, was.currency.decimals), was.currency.code)
            }
        };
        format!("{} sat of {at}, worth {was} until {}", self.amount_sat, self.row)
    }
}

fn optional(number: Option<i128>) -> Cell {
    number.map_or(Cell::Empty, Cell::Integer)
}

#[cfg(test)]
mod tests;
