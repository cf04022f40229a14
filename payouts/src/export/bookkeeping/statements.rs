//! Statements: what each account had at the beginning, what changed it, and what it has at the end.

use std::collections::BTreeMap;

use bitcoin::OutPoint;

use super::{
    gather::screening_of,
    on_record::OnRecord,
    walk::{Booked, CreditedBlock, Line, Walk},
};
use crate::{
    account::AccountId,
    export::{
        movement::Owed,
        report::model::{
            BlockRef, CorrectionLine, CreditLine, NetworkFeeLine, PayoutLine, ReversalLine, SetAside, Statement,
            Valuation,
        },
        valued::ValueKey,
    },
    ledger::EntrySeq,
    payout::{Restraint, RestraintAct, RestraintRow},
};

/// Returns what each account is owed, in satoshis.
pub(super) fn sums(walk: &Walk<'_>) -> BTreeMap<AccountId, i64> {
    walk.owed().iter().map(|(&account, owed)| (account, owed.sum())).collect()
}

/// How things stand at the end.
pub(super) struct Closing<'a> {
    pub(super) owed: &'a BTreeMap<AccountId, Owed>,
    /// The last entry.
    pub(super) at: EntrySeq,
    /// All acts of restraints up to then.
    pub(super) restraints: &'a [RestraintRow],
}

/// Statements on their way.
pub(super) struct Statements<'a> {
    on_record: &'a OnRecord,
    by_account: BTreeMap<AccountId, Statement>,
    /// When entries were booked that credited, or that pay by a coinbase.
    booked_at_ms: BTreeMap<EntrySeq, i64>,
}

impl<'a> Statements<'a> {
    pub(super) fn new(on_record: &'a OnRecord) -> Self {
        Self { on_record, by_account: BTreeMap::new(), booked_at_ms: BTreeMap::new() }
    }

    /// Takes in an entry of the period, or of one before it: what it booked may be taken back later.
    pub(super) fn remember(&mut self, booked: &Booked) {
        if booked.lines.iter().any(|line| matches!(line, Line::Credit { .. } | Line::Direct { reversed: false, .. })) {
            self.booked_at_ms.insert(booked.entry.seq, booked.at_ms);
        }
    }

    /// Returns when an entry was booked, if it credited or pays by a coinbase.
    pub(super) fn booked_at_ms(&self, entry: EntrySeq) -> Option<i64> {
        self.booked_at_ms.get(&entry).copied()
    }

    /// Adds the correction of a value.
    pub(super) fn correct(&mut self, account: AccountId, line: CorrectionLine) {
        self.of(account).corrections.push(line);
    }

    /// Takes in an entry of the period. `values` tells what the outputs are worth that it pays or takes back.
    pub(super) fn note(&mut self, booked: &Booked, values: &BTreeMap<OutPoint, Valuation>) {
        let (at_ms, seq) = (booked.at_ms, booked.entry.seq);
        for line in &booked.lines {
            let account = line.account();
            let of_entry = |entry| match entry == seq {
                true => self.on_record.worth.of(ValueKey::Entry(entry, account), at_ms),
                false => {
                    let original_at_ms = self.booked_at_ms(entry).unwrap_or(at_ms);
                    self.on_record.worth.when_taken_back(ValueKey::Entry(entry, account), original_at_ms, seq)
                }
            };
            match line {
                Line::Credit { sat, fee_sat, block, period, .. } => {
                    let coinbase = match (block, period) {
                        (Some(block), _) => block.coinbase.to_string(),
                        (None, Some(period)) => format!("period {period}"),
                        (None, None) => String::new(),
                    };
                    let valuation = of_entry(booked.entry.seq);
                    let (block, amount_sat, fee_sat) = (block.as_ref().map(block_ref), whole(*sat), whole(*fee_sat));
                    let credit = CreditLine { block, coinbase, at_ms, amount_sat, fee_sat, valuation };
                    self.of(account).credits.push(credit);
                }
                Line::Reversal { sat, fee_sat, block, original, .. } => {
                    let reversal = ReversalLine {
                        block: Some(block_ref(block)),
                        coinbase: block.coinbase.to_string(),
                        at_ms,
                        amount_sat: whole(*sat),
                        fee_sat: whole(*fee_sat),
                        valuation: of_entry(*original),
                    };
                    self.of(account).reversals.push(reversal);
                }
                &Line::NetworkFee { batch, sat, returned, .. } => {
                    let fee = NetworkFeeLine { batch: batch.to_string(), at_ms, amount_sat: whole(sat), returned };
                    self.of(account).network_fees.push(fee);
                }
                &Line::Payout { delivery, sat, reversed, .. } => {
                    let row = booked.rows.iter().find(|row| row.record.delivery == delivery);
                    let block = row.map(|row| (row.block.hash.to_string(), row.block.height));
                    let (hash, height) = block.unwrap_or_default();
                    let payout = PayoutLine {
                        txid: delivery.txid.to_string(),
                        vout: delivery.vout,
                        block: BlockRef { hash, height: height.into() },
                        at_ms,
                        address: row.map(|row| row.record.address.clone()).unwrap_or_default(),
                        amount_sat: whole(sat),
                        reversed,
                        direct: false,
                        valuation: values.get(&delivery).cloned().unwrap_or_default(),
                    };
                    self.of(account).payouts.push(payout);
                }
                Line::Direct { delivery, sat, reversed, block, original, .. } => {
                    let payout = PayoutLine {
                        txid: delivery.txid.to_string(),
                        vout: delivery.vout,
                        block: block_ref(block),
                        at_ms,
                        address: String::new(),
                        amount_sat: whole(*sat),
                        reversed: *reversed,
                        direct: true,
                        valuation: of_entry(original.unwrap_or(booked.entry.seq)),
                    };
                    self.of(account).payouts.push(payout);
                }
            }
        }
    }

    /// Returns the statement of each account that had anything, or for which anything was booked.
    pub(super) fn finish(
        mut self,
        opening: &BTreeMap<AccountId, i64>,
        closing: &Closing<'_>,
        addresses: &BTreeMap<AccountId, String>,
    ) -> Vec<Statement> {
        for (&account, &sat) in opening {
            if sat != 0 {
                self.of(account).opening_sat = sat;
            }
        }
        for (&account, owed) in closing.owed {
            if *owed != Owed::default() {
                self.of(account);
            }
        }
        let on_record = self.on_record;
        let finished = |(account, mut statement): (AccountId, Statement)| {
            let owed = closing.owed.get(&account).copied().unwrap_or_default();
            let aside = |restraint, sat| closing.set_aside(on_record, account, restraint, sat);
            statement.held = aside(Restraint::Held, owed.held).into_iter().collect();
            statement.blocked = aside(Restraint::Blocked, owed.blocked).into_iter().collect();
            // What is set aside can be less than nothing for a while, when the block of what was set aside has left the
            // chain: that counts against what is payable.
            statement.payable_sat = owed.payable + owed.reserved + owed.held.min(0) + owed.blocked.min(0);
            statement.miner = addresses.get(&account).cloned().unwrap_or_else(|| format!("account {account}"));
            for payout in statement.payouts.iter_mut().filter(|payout| payout.address.is_empty()) {
                payout.address = statement.miner.clone();
            }
            statement.party = on_record.party(account);
            statement
        };
        self.by_account.into_iter().map(finished).collect()
    }

    fn of(&mut self, account: AccountId) -> &mut Statement {
        self.by_account.entry(account).or_insert_with(|| Statement {
            account: account.get(),
            miner: String::new(),
            party: String::new(),
            opening_sat: 0,
            credits: Vec::new(),
            reversals: Vec::new(),
            payouts: Vec::new(),
            network_fees: Vec::new(),
            corrections: Vec::new(),
            payable_sat: 0,
            held: Vec::new(),
            blocked: Vec::new(),
            closing_value: Valuation::Unvalued,
        })
    }
}

impl Closing<'_> {
    fn set_aside(&self, on_record: &OnRecord, account: AccountId, restraint: Restraint, sat: i64) -> Option<SetAside> {
        if sat <= 0 {
            return None;
        }
        let of_account = |act: &&RestraintRow| {
            act.account == account && act.restraint == restraint && act.act == RestraintAct::Begun
        };
        let begun = self.restraints.iter().rfind(of_account);
        Some(SetAside {
            since_ms: begun.map_or(0, |begun| begun.at_ms),
            amount_sat: whole(sat),
            reason: begun.map(|begun| begun.reason.clone()).unwrap_or_default(),
            screening: screening_of(on_record, account, restraint == Restraint::Blocked, self.at),
        })
    }
}

fn block_ref(block: &CreditedBlock) -> BlockRef {
    BlockRef { hash: block.hash.to_string(), height: block.height.into() }
}

/// Lines of the books are never negative.
pub(super) fn whole(sat: i64) -> u64 {
    u64::try_from(sat).unwrap_or(0)
}
