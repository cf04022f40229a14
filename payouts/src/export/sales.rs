//! Sales of the pool's own coin to desks, as the journal tells them. Pure.
//!
//! A row says which step a sale has taken, or which payout is to deliver it. That the coin was delivered is not said here:
//! the register has a record of it, and loses it again with a reorganisation. So the standing of a sale follows from its
//! steps and from what became of its delivery ([`Sale::standing`]).

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{
    closing::Place,
    journal::{JournalFault, JournalRow, JournalSeq, Recorded},
    rules::{
        desk::{Delivery, DeskError, DeskEvent, DeskSale, Quote, Reference, SaleRequest, replay},
        sale::Pick,
        state::RecordState,
    },
};
use crate::payout::BatchId;

/// A sale took a step.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SaleStep {
    /// Which. Never a delivery.
    pub step: DeskEvent,
    /// Who did it.
    pub by: String,
}

/// A payout is to deliver a sale. If that is given back, another one may.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SaleDelivering {
    /// The sale.
    pub sale: Reference,
    /// The payout, which has one output.
    pub batch: BatchId,
    /// The coins that it takes, by their outpoints.
    pub lots: Vec<Pick>,
    /// Who wanted it.
    pub by: String,
}

impl SaleStep {
    /// The kind of its rows.
    pub const KIND: &'static str = "SALE";
}

impl SaleDelivering {
    /// The kind of its rows.
    pub const KIND: &'static str = "SALE_DELIVERING";
}

impl Recorded for SaleStep {
    fn kind(&self) -> &'static str {
        Self::KIND
    }

    fn subject(&self) -> String {
        subject(self.step.sale())
    }
}

impl Recorded for SaleDelivering {
    fn kind(&self) -> &'static str {
        Self::KIND
    }

    fn subject(&self) -> String {
        subject(&self.sale)
    }
}

fn subject(sale: &Reference) -> String {
    format!("sale:{sale}")
}

/// A sale, as far as the journal tells of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sale {
    requested: SaleRequest,
    /// Steps after the request, with their places.
    steps: Vec<(Place, DeskEvent)>,
    deliveries: Vec<SaleDelivering>,
}

impl Sale {
    /// Returns what is to be sold.
    pub fn request(&self) -> &SaleRequest {
        &self.requested
    }

    /// Returns the last offer.
    pub fn quote(&self) -> Option<&Quote> {
        self.steps.iter().rev().find_map(|(_, step)| match step {
            DeskEvent::Quoted { step, .. } => Some(step),
            _ => None,
        })
    }

    /// Returns the steps after the request, with their places.
    pub fn steps(&self) -> &[(Place, DeskEvent)] {
        &self.steps
    }

    /// Returns the payout that is to deliver it, or that last was.
    pub fn delivering(&self) -> Option<&SaleDelivering> {
        self.deliveries.last()
    }

    /// Returns how it stands, if `delivery` is what it was delivered by. Without one it stands as before its delivery,
    /// whatever came after: money for coin that is not there settles nothing.
    ///
    /// # Errors
    ///
    /// If a step does not follow from those before it.
    pub fn standing(&self, delivery: Option<Delivery>) -> Result<DeskSale, DeskError> {
        let steps: Vec<_> = self.steps.iter().map(|(_, step)| step).collect();
        let is_settled = |step: &&DeskEvent| matches!(step, DeskEvent::Settled { .. });
        let settled = steps.iter().position(is_settled).unwrap_or(steps.len());
        let (before, after) = steps.split_at(settled);
        let after = if delivery.is_some() { after } else { &[] };
        let requested = DeskEvent::Requested(self.requested.clone());
        let delivered = delivery.map(|step| DeskEvent::Delivered { sale: self.requested.sale.clone(), step });
        replay(std::iter::once(&requested).chain(before.iter().copied()).chain(&delivered).chain(after.iter().copied()))
    }
}

/// All sales on record.
#[derive(Clone, Debug)]
pub struct Sales {
    sales: BTreeMap<Reference, Sale>,
    /// The sale that each payout delivers.
    by_batch: BTreeMap<BatchId, Reference>,
    read_upto: JournalSeq,
}

impl Default for Sales {
    fn default() -> Self {
        Self { sales: BTreeMap::new(), by_batch: BTreeMap::new(), read_upto: JournalSeq::new(0) }
    }
}

impl Sales {
    /// Takes in the next row of the journal; rows about other things, and those taken in before, change nothing.
    ///
    /// # Errors
    ///
    /// If the row cannot be read, or does not follow from those before it.
    pub fn note(&mut self, row: &JournalRow) -> Result<(), JournalFault> {
        if row.seq <= self.read_upto {
            return Ok(());
        }
        self.read_upto = row.seq;
        let does_not_follow = |why: &dyn ToString| JournalFault::Unreadable(row.seq, why.to_string());
        match row.kind.as_str() {
            SaleStep::KIND => match row.read::<SaleStep>()?.step {
                DeskEvent::Requested(requested) => {
                    let name = requested.sale.clone();
                    let sale = Sale { requested, steps: Vec::new(), deliveries: Vec::new() };
                    if self.sales.insert(name.clone(), sale).is_some() {
                        return Err(does_not_follow(&format!("sale {name} was requested before")));
                    }
                }
                DeskEvent::Delivered { .. } => {
                    return Err(does_not_follow(&"that a sale was delivered is for the register to say"));
                }
                step => self.known(row, step.sale().clone())?.steps.push((Place::of(row)?, step)),
            },
            SaleDelivering::KIND => {
                let delivering: SaleDelivering = row.read()?;
                self.by_batch.insert(delivering.batch, delivering.sale.clone());
                self.known(row, delivering.sale.clone())?.deliveries.push(delivering);
            }
            _ => {}
        }
        Ok(())
    }

    fn known(&mut self, row: &JournalRow, name: Reference) -> Result<&mut Sale, JournalFault> {
        let unknown = || JournalFault::Unreadable(row.seq, format!("there is no sale {name}"));
        self.sales.get_mut(&name).ok_or_else(unknown)
    }

    /// Returns a sale.
    pub fn sale(&self, name: &Reference) -> Option<&Sale> {
        self.sales.get(name)
    }

    /// Returns the sale that a payout delivers.
    pub fn of_batch(&self, batch: BatchId) -> Option<&Sale> {
        self.by_batch.get(&batch).and_then(|name| self.sales.get(name))
    }

    /// Returns all sales, in the order of their names.
    pub fn iter(&self) -> impl Iterator<Item = &Sale> {
        self.sales.values()
    }
}

/// Returns the state of a sale's record. `is_reversed` says that it was delivered by an output that is in no block now.
pub fn record_state(standing: &DeskSale, is_reversed: bool) -> RecordState {
    match is_reversed {
        true => RecordState::Reversed,
        false => standing.record_state().unwrap_or(RecordState::Draft),
    }
}
