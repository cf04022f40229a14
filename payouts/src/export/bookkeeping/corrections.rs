//! Corrections of values of closed periods, which count in the reported one.

use std::collections::BTreeMap;

use super::{
    journal_id,
    on_record::OnRecord,
    statements::{Statements, whole},
    walk::{Booked, Line},
    worth::Correction,
};
use crate::{
    account::AccountId,
    export::{
        register::RowSeq,
        report::model::{CorrectionLine, CorrectionOf, RecordEvent, RegisterRow, Valuation},
        valued::ValueKey,
    },
    ledger::EntrySeq,
};

/// What was received in a closed period.
#[derive(Clone, Copy)]
struct Received<'a> {
    key: ValueKey,
    of: CorrectionOf,
    account: AccountId,
    reference: &'a str,
    sat: u64,
    at_ms: i64,
}

/// A correction on its way, with what it is of.
struct Corrected {
    account: AccountId,
    /// Of a delivery, the row that is corrected.
    row: Option<RegisterRow>,
    line: CorrectionLine,
    correction: Correction,
}

/// Corrections on their way.
pub(super) struct Corrections<'a> {
    on_record: &'a OnRecord,
    pending: BTreeMap<ValueKey, Vec<Corrected>>,
}

impl<'a> Corrections<'a> {
    pub(super) fn new(on_record: &'a OnRecord) -> Self {
        Self { on_record, pending: BTreeMap::new() }
    }

    /// Takes in credits and payments by coinbases of an entry, and what the entry takes back of them.
    pub(super) fn note(&mut self, booked: &Booked) {
        let at_ms = booked.at_ms;
        for line in &booked.lines {
            let account = line.account();
            let key = |entry| ValueKey::Entry(entry, account);
            match line {
                Line::Credit { sat, block, period, .. } => {
                    let of_period = || period.map(|period| format!("period {period}")).unwrap_or_default();
                    let reference = block.as_ref().map_or_else(of_period, |block| block.coinbase.to_string());
                    let (key, sat) = (key(booked.entry.seq), whole(*sat));
                    let of = CorrectionOf::Credit;
                    self.received(Received { key, of, account, reference: &reference, sat, at_ms }, || None);
                }
                Line::Direct { delivery, sat, reversed: false, .. } => {
                    let (key, sat, reference) = (key(booked.entry.seq), whole(*sat), delivery.to_string());
                    let of = CorrectionOf::DirectPayment;
                    self.received(Received { key, of, account, reference: &reference, sat, at_ms }, || None);
                }
                Line::Reversal { original, .. } | Line::Direct { original: Some(original), .. } => {
                    self.taken_back(key(*original), booked.entry.seq);
                }
                _ => {}
            }
        }
    }

    /// Takes in a delivery. `row` tells it as the register's reports do.
    pub(super) fn delivered(&mut self, seq: RowSeq, account: AccountId, row: impl Fn() -> RegisterRow, at_ms: i64) {
        let key = ValueKey::Row(seq);
        if self.on_record.worth.corrections_within(key, at_ms).is_empty() {
            return;
        }
        let told = row();
        let reference = format!("{}:{}", told.txid, told.vout);
        let (of, sat) = (CorrectionOf::Payout, told.amount_sat);
        self.received(Received { key, of, account, reference: &reference, sat, at_ms }, || Some(told.clone()));
    }

    /// Takes in that an entry takes a receipt back: later values of it count no more.
    pub(super) fn taken_back(&mut self, key: ValueKey, entry: EntrySeq) {
        if let Some(pending) = self.pending.get_mut(&key) {
            pending.retain(|corrected| corrected.correction.ledger < entry);
        }
    }

    fn received(&mut self, received: Received<'_>, row: impl Fn() -> Option<RegisterRow>) {
        let Received { key, of, account, reference, sat, at_ms } = received;
        for correction in self.on_record.worth.corrections_within(key, at_ms) {
            let line = CorrectionLine {
                of,
                original_at_ms: at_ms,
                reference: reference.to_owned(),
                at_ms: correction.at_ms,
                row: journal_id(correction.row),
                amount_sat: sat,
                was: correction.was.clone(),
                valuation: correction.is.clone(),
                difference_minor: correction.difference_minor(),
            };
            self.pending.entry(key).or_default().push(Corrected { account, row: row(), line, correction });
        }
    }

    /// Adds the corrections to the register, behind the rows that came before them, and to the statements. Returns what a
    /// reader should know.
    pub(super) fn finish(self, register: &mut Vec<RegisterRow>, statements: &mut Statements<'_>) -> Vec<String> {
        let mut pending: Vec<_> = self.pending.into_values().flatten().collect();
        pending.sort_by_key(|corrected| (corrected.correction.at_ms, corrected.correction.row));
        let count = pending.len();
        let unvalued = pending.iter().filter(|corrected| corrected.line.was == Valuation::Unvalued).count();
        for Corrected { account, row, line, correction } in pending {
            // What was sold was never the account's.
            if !row.as_ref().is_some_and(RegisterRow::is_sale) {
                statements.correct(account, line);
            }
            if let Some(original) = row {
                register.push(corrected_row(original, correction));
            }
        }
        register.sort_by_key(|row| row.at_ms);
        let mut warnings = Vec::new();
        if count > 0 {
            warnings.push(format!("corrections of values of closed periods: {count}"));
        }
        if unvalued > 0 {
            warnings.push(format!(
                "of these, values of what had none when its period was declared, which stand in no sum of values: {unvalued}"
            ));
        }
        warnings
    }
}

fn corrected_row(original: RegisterRow, correction: Correction) -> RegisterRow {
    let event = RecordEvent::Corrected {
        original_seq: original.seq,
        difference_sat: 0,
        difference_minor: correction.difference_minor(),
    };
    RegisterRow {
        seq: correction.row.get(),
        event,
        at_ms: correction.at_ms,
        valuation: correction.is,
        hash: correction.hash.to_string(),
        ..original
    }
}
