//! The states of records and of their lots, from what books and journal tell up to a mark.

use std::collections::BTreeMap;

use bitcoin::{BlockHash, OutPoint};

use super::{BookkeepingError, on_record::OnRecord};
use crate::{
    export::{
        Lot, LotCredit,
        closing::Place,
        journal::JournalSeq,
        register::{self, RowSeq},
        report::model::AsOf,
        rules::{
            desk::DeskEvent,
            history::{Happened, LotHappened, LotHistory, RecordHistory},
            state::{Forbidden, LotState, RecordKind, RecordState},
        },
        sales::Sale,
        valued::ValueKey,
    },
    ledger::{Entry, EntryKind, EntrySeq, LedgerAccount},
    payout::BatchId,
    store::Store,
};

/// Records that are read at a time.
const PAGE: u32 = 1_000;

/// An output came into a block, or its block left the chain.
#[derive(Clone, Copy, Debug)]
struct Moved {
    row: RowSeq,
    entry: EntrySeq,
    at_ms: i64,
    batch: Option<BatchId>,
    state: register::RecordState,
}

/// What became of records and of the coin that they consist of.
#[derive(Debug, Default)]
pub struct RecordStates {
    states: BTreeMap<RowSeq, RecordState>,
    moves: BTreeMap<OutPoint, Vec<Moved>>,
    /// What happened to coinbases, by their blocks.
    blocks: BTreeMap<BlockHash, Vec<(EntrySeq, LotHappened)>>,
    /// What happened to coins from elsewhere.
    deposits: BTreeMap<OutPoint, Vec<(EntrySeq, LotHappened)>>,
}

/// Returns the states of all records as they are now, by the declarations of a profile, which is given by name and version.
///
/// # Errors
///
/// If the store fails or contradicts itself.
pub async fn record_states(store: &dyn Store, profile: &str) -> Result<RecordStates, BookkeepingError> {
    let as_of = super::gather::snapshot(store).await?;
    let on_record = OnRecord::read(store, JournalSeq::new(as_of.journal.seq), profile, (i64::MAX, i64::MAX)).await?;
    RecordStates::read(store, &as_of, &on_record).await
}

impl RecordStates {
    /// Reads what became of all records up to a mark.
    pub(super) async fn read(store: &dyn Store, as_of: &AsOf, on_record: &OnRecord) -> Result<Self, BookkeepingError> {
        let mut states = Self::default();
        let booked = states.read_ledger(store, EntrySeq::new(as_of.ledger.seq)).await?;
        let mut after = RowSeq::new(0);
        'register: loop {
            let page = store.register_rows(after, PAGE).await?;
            let Some(last) = page.last() else { break };
            after = last.seq;
            for row in &page {
                if row.seq.get() > as_of.register.seq {
                    break 'register;
                }
                let unbooked = || BookkeepingError::RowOrder(row.seq);
                let &(at_ms, batch) = booked.get(&row.entry).ok_or_else(unbooked)?;
                let moved = Moved { row: row.seq, entry: row.entry, at_ms, batch, state: row.state };
                states.moves.entry(row.record.delivery).or_default().push(moved);
            }
        }
        for moves in states.moves.values() {
            let legs = legs(on_record, moves);
            states.states.extend(legs.into_iter().filter_map(|(row, state)| Some((row, state?))));
        }
        Ok(states)
    }

    /// Returns the state of the record that a row of the register is about; nothing if it cannot have come about in order.
    pub fn of(&self, row: RowSeq) -> Option<RecordState> {
        self.states.get(&row).copied()
    }

    /// Returns the state of a lot that an output paid; nothing if it cannot have come about in order.
    pub fn of_lot(&self, delivery: OutPoint, lot: &Lot) -> Option<LotState> {
        // A coin from elsewhere may be in a block of the pool's, and is not its coinbase.
        let coin = self.deposits.get(&lot.coinbase).or_else(|| self.blocks.get(&lot.block))?;
        let moves = self.moves.get(&delivery).into_iter().flatten();
        let paid = moves.map(|moved| match moved.state {
            register::RecordState::Delivered => (moved.entry, LotHappened::Paid),
            register::RecordState::Reversed => (moved.entry, LotHappened::PaidBack),
        });
        let mut happened: Vec<_> = coin.iter().copied().chain(paid).collect();
        happened.sort_by_key(|(entry, _)| *entry);
        let mut history = LotHistory::begin();
        happened.into_iter().try_for_each(|(_, happened)| history.note(happened)).ok()?;
        Some(match (history.state(), lot.credit) {
            (LotState::Paid, LotCredit::Fee) => LotState::Sold,
            (state, _) => state,
        })
    }

    /// Notes what happened to coins; returns when each entry that moves outputs was booked, and for which payout.
    async fn read_ledger(
        &mut self,
        store: &dyn Store,
        upto: EntrySeq,
    ) -> Result<BTreeMap<EntrySeq, (i64, Option<BatchId>)>, BookkeepingError> {
        let mut booked = BTreeMap::new();
        let (mut after, mut at_ms) = (EntrySeq::new(0), i64::MIN);
        loop {
            let page = store.entries(after, PAGE).await?;
            let Some(last) = page.last() else { return Ok(booked) };
            after = last.seq;
            for entry in &page {
                if entry.seq > upto {
                    return Ok(booked);
                }
                at_ms = at_ms.max(entry.at_ms);
                self.note_coin(entry);
                if matches!(entry.kind, EntryKind::Confirmed | EntryKind::Reversed) {
                    booked.insert(entry.seq, (at_ms, batch_of(entry)));
                }
            }
        }
    }

    fn note_coin(&mut self, entry: &Entry) {
        let happened: &[LotHappened] = match entry.kind {
            EntryKind::BlockFound => &[],
            EntryKind::Matured => &[LotHappened::Matured],
            EntryKind::Unmatured => &[LotHappened::Unmatured],
            EntryKind::Orphaned | EntryKind::Undeposited => &[LotHappened::Orphaned],
            EntryKind::Reconnected => &[LotHappened::Reconnected],
            EntryKind::Deposited => &[LotHappened::Matured],
            _ => return,
        };
        let happened = happened.iter().map(|happened| (entry.seq, *happened));
        if matches!(entry.kind, EntryKind::Deposited | EntryKind::Undeposited) {
            // The key is the outpoint, which has a colon itself, and perhaps how often the deposit left the chain before.
            let key = entry.key.splitn(3, ':').take(2).collect::<Vec<_>>().join(":");
            if let Ok(coin) = key.parse() {
                let known = self.deposits.entry(coin).or_default();
                if entry.kind == EntryKind::Deposited && !known.is_empty() {
                    known.push((entry.seq, LotHappened::Reconnected));
                }
                known.extend(happened);
            }
        } else if let Some(block) = entry.key.split(':').next().and_then(|hash| hash.parse().ok()) {
            self.blocks.entry(block).or_default().extend(happened);
        }
    }
}

fn batch_of(entry: &Entry) -> Option<BatchId> {
    entry.postings.iter().find_map(|posting| match posting.account {
        LedgerAccount::Reserved(id) => Some(id),
        _ => None,
    })
}

/// A step of a record, in the order in which ledger and journal have it: rows of the journal come after the entry that they
/// name.
type Step<'a> = ((EntrySeq, i64), &'a Moved, Option<Happened>);

/// Tells the state to which each row of an output has come. A row after the output came back from a closed period begins
/// another record, of the open one.
fn legs(on_record: &OnRecord, moves: &[Moved]) -> Vec<(RowSeq, Option<RecordState>)> {
    let mut steps: Vec<Step<'_>> = moves.iter().map(|moved| ((moved.entry, 0), moved, None)).collect();
    for moved in moves.iter().filter(|moved| moved.state == register::RecordState::Delivered) {
        let on_record = declarations(on_record, moved).into_iter().chain(sale_steps(on_record, moved));
        steps.extend(on_record.map(|(place, what)| (place, moved, Some(what))));
    }
    steps.sort_by_key(|(place, ..)| *place);
    let mut legs: Vec<(Vec<RowSeq>, Result<RecordHistory, Forbidden>)> = Vec::new();
    let mut stands = None;
    for (_, moved, what) in steps {
        let happened = match (what, moved.state) {
            (Some(what), _) if stands == Some(moved.row) => what,
            // It is about a delivery that came back meanwhile.
            (Some(_), _) => continue,
            (None, register::RecordState::Delivered) => {
                if legs.last().is_none_or(|(_, leg)| leg.as_ref().is_ok_and(RecordHistory::is_over)) {
                    legs.push((Vec::new(), drafted(on_record, moved)));
                }
                stands = Some(moved.row);
                Happened::Delivered
            }
            (None, register::RecordState::Reversed) => {
                stands = None;
                Happened::Reversed
            }
        };
        let Some((rows, leg)) = legs.last_mut() else { continue };
        if what.is_none() {
            rows.push(moved.row);
        }
        if let Ok(history) = leg
            && let Err(forbidden) = history.note(happened)
        {
            *leg = Err(forbidden);
        }
    }
    let told = |(rows, leg): (Vec<RowSeq>, Result<RecordHistory, Forbidden>)| {
        let state = leg.ok().map(|history| history.state());
        rows.into_iter().map(move |row| (row, state))
    };
    legs.into_iter().flat_map(told).collect()
}

/// Begins a record, as far as it comes before its delivery.
fn drafted(on_record: &OnRecord, moved: &Moved) -> Result<RecordHistory, Forbidden> {
    let is_sale = sale_of(on_record, moved).is_some();
    let mut history = RecordHistory::begin(if is_sale { RecordKind::Sale } else { RecordKind::Payout });
    if on_record.is_screened(moved.batch, moved.entry) {
        history.note(Happened::Screened)?;
    }
    if is_sale {
        history.note(Happened::Quoted)?;
        history.note(Happened::Contracted)?;
    }
    Ok(history)
}

fn sale_of<'r>(on_record: &'r OnRecord, moved: &Moved) -> Option<&'r Sale> {
    on_record.sales.of_batch(moved.batch?)
}

/// Returns what the journal says of a delivered sale: that its money came in, and that it was declared by itself.
fn sale_steps(on_record: &OnRecord, moved: &Moved) -> Vec<((EntrySeq, i64), Happened)> {
    let steps = sale_of(on_record, moved).map(Sale::steps).unwrap_or_default();
    let step = |(place, step): &(Place, DeskEvent)| {
        let happened = match step {
            DeskEvent::Settled { .. } => Happened::Settled,
            DeskEvent::Declared { .. } => Happened::Declared,
            _ => return None,
        };
        // Money that came in before the coin was delivered again settles it then.
        Some(((place.ledger.max(moved.entry), place.seq.get()), happened))
    };
    steps.iter().filter_map(step).collect()
}

/// Returns what the journal says of a delivery: that it was declared, closed and corrected.
fn declarations(on_record: &OnRecord, moved: &Moved) -> Vec<((EntrySeq, i64), Happened)> {
    let worth = &on_record.worth;
    let known = worth.periods().containing(worth.name(), moved.at_ms);
    let Some(known) = known.filter(|known| known.declared.as_of.register.seq >= moved.row.get()) else {
        return Vec::new();
    };
    let declared = ((known.declared_at.ledger, known.declared_at.seq.get()), Happened::Declared);
    let closed = known.closed_at.map(|place| ((place.ledger, place.seq.get()), Happened::Closed));
    let corrections = worth.corrections(ValueKey::Row(moved.row), moved.at_ms).into_iter().map(|correction| {
        let closed = known.closed_at.map_or(0, |place| place.seq.get());
        ((correction.ledger, correction.row.get().max(closed)), Happened::Corrected)
    });
    [declared].into_iter().chain(closed).chain(corrections).collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use bitcoin::{Amount, Txid, hashes::Hash};

    use super::*;

    #[test]
    fn a_coin_from_elsewhere_in_a_block_of_the_pool_does_not_wait_for_its_coinbase() {
        let outpoint = |id| OutPoint::new(Txid::from_byte_array([id; 32]), 0);
        let (block, delivery) = (BlockHash::from_byte_array([5; 32]), outpoint(9));
        let state = register::RecordState::Delivered;
        let moved = Moved { row: RowSeq::new(1), entry: EntrySeq::new(3), at_ms: 0, batch: None, state };
        let states = RecordStates {
            moves: BTreeMap::from([(delivery, vec![moved])]),
            blocks: BTreeMap::from([(block, Vec::new())]),
            deposits: BTreeMap::from([(outpoint(2), vec![(EntrySeq::new(2), LotHappened::Matured)])]),
            ..RecordStates::default()
        };
        let of = |id| states.of_lot(delivery, &Lot::of_block(block, outpoint(id), Amount::ONE_SAT));
        assert_eq!((of(1), of(2)), (Some(LotState::Provisional), Some(LotState::Paid)));
    }
}
