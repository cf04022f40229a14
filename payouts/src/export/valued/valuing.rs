//! Works out which receipts have no value, or another one, by the prices that there are now. Reads a store and writes
//! nothing.

use std::collections::{BTreeMap, VecDeque};

use bitcoin::{BlockHash, SignedAmount};

use super::{About, PAGE_VALUES, Valuations, Valued, ValuingError, ValuingOutcome};
use crate::{
    export::{
        bookkeeping::{Booked, Line, Walk},
        journal::{JournalSeq, Recorded},
        rules::{
            prices::PriceBook,
            profile::{CountryProfile, ReceiptEvent},
            valuation::{Appraisal, Revaluation, ValuationPolicy},
            zone::Instant,
        },
    },
    ledger::EntryKind,
    store::Store,
};

/// Rows that are read at a time.
const PAGE: u32 = 1_000;

/// Values the receipts of a store by a profile, page by page.
///
/// Deliveries are valued when the register had them first; credits when they were booked or matured, if that is what the
/// profile holds for receipt, and what coinbases pay directly if payment is. The pool's own part of a block is received
/// like a credit, and at the latest when it matures.
#[derive(Debug)]
pub struct Valuing<'a> {
    walk: Walk<'a>,
    receipts: Receipts,
    valuer: Valuer<'a>,
    /// What is new and was not handed out.
    new: VecDeque<Valued>,
}

impl<'a> Valuing<'a> {
    /// Begins, with what is on record now.
    ///
    /// # Errors
    ///
    /// If the store fails, the journal is wrong, or the profile names no source of prices.
    pub async fn begin(
        store: &'a dyn Store,
        profile: &'a CountryProfile,
        book: &'a PriceBook,
    ) -> Result<Self, ValuingError> {
        let policy = profile.valuation_policy()?;
        let mut known = Valuations::default();
        let mut after = JournalSeq::new(0);
        loop {
            let page = store.journal_rows(after, PAGE).await?;
            let Some(newest) = page.last() else { break };
            after = newest.seq;
            page.iter().try_for_each(|row| known.note(row, policy.id()))?;
        }
        let receipts = Receipts { event: profile.receipt_event(), immature: BTreeMap::new() };
        let valuer = Valuer { profile, policy, book, known, outcome: ValuingOutcome::default() };
        Ok(Self { walk: Walk::begin(store).await?, receipts, valuer, new: VecDeque::new() })
    }

    /// Returns the next valuations to be put on record, at most [`PAGE_VALUES`]; none when all is done.
    ///
    /// # Errors
    ///
    /// If the store fails, the books cannot be understood, or a value is out of range.
    pub async fn next_page(&mut self) -> Result<Vec<Valued>, ValuingError> {
        while self.new.len() < PAGE_VALUES {
            let Some(booked) = self.walk.next().await? else { break };
            for (about, sat) in self.receipts.of_entry(&booked) {
                self.new.extend(self.valuer.value(about, sat, booked.at_ms)?);
            }
        }
        let count = self.new.len().min(PAGE_VALUES);
        Ok(self.new.drain(..count).collect())
    }

    /// Returns what it has come to.
    pub fn finish(self) -> ValuingOutcome {
        self.valuer.outcome
    }
}

/// Finds receipts among the books' entries.
#[derive(Debug)]
struct Receipts {
    event: ReceiptEvent,
    /// Credits, and the pool's own parts, of blocks that are not mature.
    immature: BTreeMap<BlockHash, Vec<(About, i64)>>,
}

impl Receipts {
    /// Returns what is received with an entry.
    fn of_entry(&mut self, booked: &Booked) -> Vec<(About, i64)> {
        let mut receipts: Vec<_> = booked.rows.iter().filter_map(About::of_row).collect();
        for line in &booked.lines {
            let Some(receipt) = About::of_line(booked.entry.seq, line) else { continue };
            match (self.event, line) {
                (ReceiptEvent::Payout, Line::Direct { .. }) | (ReceiptEvent::Credit, Line::Credit { .. }) => {
                    receipts.push(receipt);
                }
                (ReceiptEvent::Maturity, Line::Credit { block: None, .. }) => receipts.push(receipt),
                (ReceiptEvent::Maturity, Line::Credit { block: Some(block), .. }) => {
                    self.immature.entry(block.hash).or_default().push(receipt);
                }
                _ => {}
            }
        }
        if let Some((fee @ About::PoolFee { block, .. }, sat)) = About::of_fee(&booked.entry) {
            match self.event {
                ReceiptEvent::Credit => receipts.push((fee, sat)),
                ReceiptEvent::Maturity | ReceiptEvent::Payout => {
                    self.immature.entry(block).or_default().push((fee, sat));
                }
            }
        }
        match (booked.entry.kind, booked.block) {
            (EntryKind::Matured, Some(block)) => receipts.extend(self.immature.remove(&block).unwrap_or_default()),
            (EntryKind::Orphaned, Some(block)) => drop(self.immature.remove(&block)),
            _ => {}
        }
        receipts
    }
}

#[derive(Debug)]
struct Valuer<'a> {
    profile: &'a CountryProfile,
    policy: ValuationPolicy,
    book: &'a PriceBook,
    known: Valuations,
    outcome: ValuingOutcome,
}

impl Valuer<'_> {
    /// Values a receipt. Returns what is new about it.
    fn value(&mut self, about: About, amount_sat: i64, received_at_ms: i64) -> Result<Option<Valued>, ValuingError> {
        let amount = SignedAmount::from_sat(amount_sat);
        let earlier = self.known.of(about.key()).map(|(_, valued)| &valued.appraisal);
        let appraised = match earlier {
            None => self.policy.appraise(amount, received_at_ms, self.book).map(Some),
            Some(earlier) => self.policy.revalue(earlier, amount, received_at_ms, self.book).map(|new| match new {
                Revaluation::Unchanged => None,
                Revaluation::New(value) => Some(Appraisal::Valued(value)),
            }),
        };
        let valued = |appraisal| Valued {
            about,
            profile: self.policy.id().to_owned(),
            profile_sha256: self.profile.file_sha256(),
            amount_sat,
            received_at_ms,
            appraisal,
        };
        let new = match appraised {
            Ok(new) => new,
            Err(error) => {
                let subject = match earlier {
                    Some(earlier) => valued(earlier.clone()).subject(),
                    None => format!("a receipt of {amount_sat} sat at {}", Instant(received_at_ms)),
                };
                return Err(ValuingError::Value { subject, error });
            }
        };
        let outcome = &mut self.outcome;
        match (&new, earlier) {
            (Some(Appraisal::Unvalued(lack)), _) | (None, Some(Appraisal::Unvalued(lack))) => {
                *outcome.unvalued.entry(lack.to_string()).or_default() += 1;
            }
            (Some(Appraisal::Valued(_)), None) => outcome.valued += 1,
            (Some(Appraisal::Valued(_)), Some(_)) => outcome.revalued += 1,
            (None, _) => outcome.unchanged += 1,
        }
        Ok(new.map(valued))
    }
}
