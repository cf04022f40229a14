//! Sales of the pool's own coin: what was delivered in a period, at which price, and what the coins had cost.
//!
//! The terms come from the journal, what was delivered from the register, and what there was to sell from the ledger's
//! account of the fee. A coin costs what the pool's part of its block was worth when it was received; of coins that came
//! from elsewhere nothing is on record.

use std::collections::BTreeMap;

use bitcoin::{Amount, BlockHash, OutPoint};

use super::{BookkeepingError, currency, on_record::OnRecord, states::RecordStates, walk::Booked};
use crate::{
    export::{
        LotCredit,
        party::{Party, PartyId},
        register::{RecordState, RegisterRow},
        report::model::{Basis, SaleRow, Valuation},
        rules::{
            desk::{Delivery, DeskError, DeskSale, Settled},
            fiat::FiatAmount,
            obligation::Fulfilment,
            prices::SourceName,
            profile::{CountryProfile, PoolFact},
            sale::{Disposal, LotPosition, Pick, SaleError, SaleTerms, Selection, sell},
        },
        sales::{self, Sale},
        valued::ValueKey,
    },
    ledger::{EntryKind, EntrySeq, LedgerAccount},
    payout::BatchId,
    store::Store,
};

/// The seller's id among the parties of reports.
const POOL: &str = "pool";

/// Why a sale on record makes no sense.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum SaleFault {
    /// Coin of the pool's own was delivered for no sale on record.
    #[error("coin of the pool's own was delivered for no sale on record")]
    Unknown,
    /// It was delivered without a contract.
    #[error("a sale was delivered without a contract")]
    NotContracted,
    /// Its steps do not follow from each other.
    #[error(transparent)]
    Steps(#[from] DeskError),
    /// It sold what was not there.
    #[error(transparent)]
    Lots(#[from] SaleError),
}

/// What was sold in a period.
#[derive(Debug)]
pub(super) struct Sold {
    /// Each delivery, and each that was taken back.
    pub(super) rows: Vec<SaleRow>,
    /// What there was to sell: at the beginning, and what came since, less what went elsewhere than into sales.
    pub(super) available_sat: i64,
    /// How far the profile's demand is met, if it makes one.
    pub(super) obligation: Option<Fulfilment>,
}

/// Follows sales through the ledger.
pub(super) struct Selling<'a> {
    store: &'a dyn Store,
    profile: &'a CountryProfile,
    on_record: &'a OnRecord,
    states: &'a RecordStates,
    parties: &'a BTreeMap<PartyId, Party>,
    /// The entry that split each block last, and when it was booked.
    splits: BTreeMap<BlockHash, (EntrySeq, i64)>,
    /// What is left of each coin that was sold from, by its outpoint.
    coins: BTreeMap<String, LotPosition>,
    /// What each delivery took.
    taken: BTreeMap<OutPoint, Disposal>,
    /// What was sold at each venue in the period, in satoshis.
    by_venue: BTreeMap<Option<SourceName>, i64>,
    /// What the pool's part of the period's blocks is, in satoshis.
    mined_sat: i64,
    own: OwnCoin,
    available_sat: i64,
    rows: Vec<SaleRow>,
}

/// The pool's own coin, in satoshis, by the ledger's account of the fee.
#[derive(Default)]
struct OwnCoin {
    /// What the account has.
    fee_sat: i64,
    /// What payouts took out of it to deliver, and whether they have.
    selling: BTreeMap<BatchId, (i64, bool)>,
}

impl OwnCoin {
    /// Takes an entry in, and returns by how much there is more to sell with it, or less; sales themselves change nothing.
    fn follow(&mut self, booked: &Booked) -> i64 {
        let before_sat = self.sat();
        let is_of_sale = self.post(booked);
        if is_of_sale { 0 } else { self.sat() - before_sat }
    }

    /// Posts an entry, and tells whether it reserves coin for a sale, delivers it, or takes a delivery back.
    fn post(&mut self, booked: &Booked) -> bool {
        let entry = &booked.entry;
        let change = entry.amount(LedgerAccount::Fee).to_sat().saturating_neg();
        self.fee_sat += change;
        let Some(batch) = booked.batch else { return false };
        let is_paid = !booked.rows.is_empty();
        match (entry.kind, self.selling.get_mut(&batch)) {
            (EntryKind::PayoutCreated, None) if change < 0 => {
                self.selling.insert(batch, (-change, false));
                true
            }
            (EntryKind::Confirmed, Some((_, is_delivered))) => {
                *is_delivered = true;
                true
            }
            (EntryKind::Reversed, Some((_, is_delivered))) if is_paid => {
                *is_delivered = false;
                true
            }
            (EntryKind::Reversed, Some(_)) => {
                self.selling.remove(&batch);
                false
            }
            _ => false,
        }
    }

    /// What there is, delivered by nothing yet. Below zero the fee is when a block has left the chain whose coin was sold:
    /// that is the pool's loss, and takes nothing from what was there to be sold before.
    fn sat(&self) -> i64 {
        let under_way = self.selling.values().filter(|(_, is_delivered)| !is_delivered);
        self.fee_sat.max(0) + under_way.map(|(sat, _)| sat).sum::<i64>()
    }
}

impl<'a> Selling<'a> {
    pub(super) fn new(
        store: &'a dyn Store,
        profile: &'a CountryProfile,
        on_record: &'a OnRecord,
        states: &'a RecordStates,
        parties: &'a BTreeMap<PartyId, Party>,
    ) -> Self {
        Self {
            store,
            profile,
            on_record,
            states,
            parties,
            splits: BTreeMap::new(),
            coins: BTreeMap::new(),
            taken: BTreeMap::new(),
            by_venue: BTreeMap::new(),
            mined_sat: 0,
            own: OwnCoin::default(),
            available_sat: 0,
            rows: Vec::new(),
        }
    }

    /// Begins the period.
    pub(super) fn open(&mut self) {
        self.available_sat = self.own.sat();
    }

    /// Takes the next entry in.
    pub(super) async fn note(&mut self, booked: &Booked, is_within: bool) -> Result<(), BookkeepingError> {
        let more_sat = self.own.follow(booked);
        if let (EntryKind::BlockFound | EntryKind::Reconnected, Some(block)) = (booked.entry.kind, booked.block) {
            self.splits.insert(block, (booked.entry.seq, booked.at_ms));
        }
        if is_within {
            self.available_sat += more_sat;
            let splits = [EntryKind::BlockFound, EntryKind::Reconnected, EntryKind::Orphaned];
            if splits.contains(&booked.entry.kind) {
                self.mined_sat -= booked.entry.amount(LedgerAccount::FeeImmature).to_sat();
            }
        }
        let is_sold = |row: &&RegisterRow| row.record.lots.iter().any(|lot| lot.credit == LotCredit::Fee);
        for row in booked.rows.iter().filter(is_sold) {
            self.delivered(booked, row, is_within).await?;
        }
        Ok(())
    }

    async fn delivered(&mut self, booked: &Booked, row: &RegisterRow, is_within: bool) -> Result<(), BookkeepingError> {
        let fault = |error: SaleFault| BookkeepingError::Sale { entry: booked.entry.seq, error };
        let sale = booked.batch.and_then(|batch| self.on_record.sales.of_batch(batch));
        let sale = sale.ok_or(fault(SaleFault::Unknown))?;
        let delivery = Delivery { outpoint: row.record.delivery, at_ms: booked.at_ms };
        let standing = sale.standing(Some(delivery)).map_err(|error| fault(error.into()))?;
        let contracted = standing.contracted().ok_or(fault(SaleFault::NotContracted))?;
        let offer = contracted.quoted().offer();
        let terms = SaleTerms { amount: row.record.amount, price: offer.price.clone(), fee: offer.fee };
        let is_reversed = row.state == RecordState::Reversed;
        let disposal = match is_reversed {
            false => self.take(row, &terms).await?.map_err(|error| fault(error.into()))?,
            true => self.give_back(row.record.delivery).map_err(fault)?,
        };
        if is_within {
            let sat = super::walk::sat(row.record.amount);
            *self.by_venue.entry(offer.venue.clone()).or_default() += if is_reversed { -sat } else { sat };
            let told = self.row(booked, row, sale, &standing, &disposal)?;
            self.rows.push(told);
        }
        Ok(())
    }

    /// Sells the coins that a delivery took.
    async fn take(
        &mut self,
        row: &RegisterRow,
        terms: &SaleTerms,
    ) -> Result<Result<Disposal, SaleError>, BookkeepingError> {
        let mut positions = Vec::with_capacity(row.record.lots.len());
        let mut picks = Vec::with_capacity(row.record.lots.len());
        for lot in &row.record.lots {
            let id = lot.coinbase.to_string();
            if !self.coins.contains_key(&id) {
                let position = self.coin(lot).await?;
                self.coins.insert(id.clone(), position);
            }
            positions.push(self.coins[&id].clone());
            picks.push(Pick { lot: id, amount: lot.amount });
        }
        let disposal = match sell(&positions, terms, Selection::Specific(&picks)) {
            Ok(disposal) => disposal,
            Err(error) => return Ok(Err(error)),
        };
        for position in positions {
            let left = disposal.left.iter().find(|left| left.id == position.id).cloned();
            let cost = position.cost.map(|cost| FiatAmount::zero(cost.currency()));
            let left = left.unwrap_or(LotPosition { amount: Amount::ZERO, cost, ..position });
            self.coins.insert(left.id.clone(), left);
        }
        self.taken.insert(row.record.delivery, disposal.clone());
        Ok(Ok(disposal))
    }

    /// Takes back what a delivery took.
    fn give_back(&mut self, delivery: OutPoint) -> Result<Disposal, SaleFault> {
        let disposal = self.taken.remove(&delivery).ok_or(SaleFault::Unknown)?;
        for part in &disposal.parts {
            let position = self.coins.get_mut(&part.lot).ok_or(SaleFault::Unknown)?;
            position.amount += part.amount;
            position.cost = match (position.cost, part.cost) {
                (Some(left), Some(cost)) => Some(left.checked_add(cost).map_err(SaleError::from)?),
                _ => None,
            };
        }
        Ok(disposal)
    }

    /// Returns the pool's part of a block with its value when it was received last before the sale, or a coin from
    /// elsewhere, which has none on record.
    async fn coin(&self, lot: &crate::export::Lot) -> Result<LotPosition, BookkeepingError> {
        let id = lot.coinbase.to_string();
        let block = self.store.block(lot.block).await?.filter(|block| block.found.coinbase == lot.coinbase);
        let Some(block) = block else {
            return Ok(LotPosition { id, amount: Amount::MAX_MONEY, cost: None, acquired_ms: 0 });
        };
        let split = self.splits.get(&lot.block).copied();
        let Some((split, at_ms)) = split else {
            return Ok(LotPosition { id, amount: block.fee, cost: None, acquired_ms: 0 });
        };
        let cost = match self.on_record.worth.corrected(ValueKey::PoolFee(split), at_ms) {
            Valuation::Valued(value) => {
                value.currency.code.parse().ok().map(|currency| FiatAmount::from_minor(value.minor, currency))
            }
            Valuation::Unvalued => None,
        };
        Ok(LotPosition { id, amount: block.fee, cost, acquired_ms: at_ms })
    }

    fn row(
        &self,
        booked: &Booked,
        row: &RegisterRow,
        sale: &Sale,
        standing: &DeskSale,
        disposal: &Disposal,
    ) -> Result<SaleRow, BookkeepingError> {
        let unknown = || BookkeepingError::Sale { entry: booked.entry.seq, error: SaleFault::NotContracted };
        let contracted = standing.contracted().ok_or_else(unknown)?;
        let (offer, acceptance) = (contracted.quoted().offer(), contracted.acceptance());
        let settled: Option<&Settled> = standing.settled();
        let declaration = match standing {
            DeskSale::Declared(sale) => Some(sale.declaration()),
            _ => None,
        };
        let account = row.record.account;
        let is_reversed = row.state == RecordState::Reversed;
        let seller_residency = self.profile.pool_fact(PoolFact::Residency).unwrap_or_default().to_owned();
        let buyer_residency = self.on_record.residency(account);
        let party = self.on_record.owners.owner(account).map(|owned| owned.party);
        let name = party.and_then(|party| self.parties.get(&party)).map(|party| party.legal_name.clone());
        let cost = disposal.cost.filter(|cost| cost.currency() == offer.fee.currency());
        Ok(SaleRow {
            seq: row.seq.get(),
            sale: sale.request().sale.to_string(),
            state: self.states.of(row.seq).unwrap_or(sales::record_state(standing, is_reversed)).to_string(),
            reversed: is_reversed,
            delivery: row.record.delivery.to_string(),
            delivered_at_ms: Some(booked.at_ms),
            basis: match seller_residency == buyer_residency {
                true => Basis::SaleToResident,
                false => Basis::SaleToNonResident,
            },
            seller: POOL.to_owned(),
            seller_residency,
            buyer: self.on_record.party(account),
            buyer_name: name.unwrap_or_default(),
            buyer_residency,
            address: row.record.address.clone(),
            amount_sat: row.record.amount.to_sat(),
            lots: row
                .record
                .lots
                .iter()
                .map(|lot| super::gather::lot(lot, self.states.of_lot(row.record.delivery, lot)))
                .collect(),
            contract_number: acceptance.contract.to_string(),
            contract_date: self.profile.zone().day(acceptance.at_ms)?.to_string(),
            quote: offer.quote.to_string(),
            venue: offer.venue.as_ref().map(ToString::to_string).unwrap_or_default(),
            price: offer.price.as_str().to_owned(),
            currency: currency(offer.fee.currency()),
            gross_minor: disposal.gross.minor(),
            fee_minor: disposal.fee.minor(),
            net_minor: disposal.net.minor(),
            cost_minor: cost.map(FiatAmount::minor),
            received_minor: settled.map(|settled| settled.settlement().received.minor()),
            bank_reference: settled.map(|settled| settled.settlement().bank_reference.to_string()).unwrap_or_default(),
            settled_at_ms: settled.map(|settled| settled.settlement().settled_ms),
            declaration: declaration.map(|declared| declared.declaration.to_string()).unwrap_or_default(),
            authority: declaration.map(|declared| declared.authority.to_string()).unwrap_or_default(),
            screenings: self.on_record.letting_go(booked.batch, account, booked.entry.seq),
        })
    }

    /// Ends the period.
    pub(super) fn finish(self, warnings: &mut Vec<String>) -> Sold {
        let unvalued = self.rows.iter().filter(|row| row.cost_minor.is_none()).count();
        if unvalued > 0 {
            warnings.push(format!("sales without a cost, and so without a gain, in their currency: {unvalued}"));
        }
        let obligation = match self.profile.sale_obligation() {
            Ok(Some(obligation)) => {
                let amount = |sat: i64| Amount::from_sat(u64::try_from(sat).unwrap_or(0));
                let sales = self.by_venue.iter().map(|(venue, &sat)| (venue.as_ref(), amount(sat)));
                obligation.fulfilment(amount(self.mined_sat), sales).ok()
            }
            Ok(None) => None,
            Err(blank) => {
                warnings.push(blank.to_string());
                None
            }
        };
        if let Some(Fulfilment { required_sat, shortfall_sat, .. }) = obligation
            && shortfall_sat > Amount::ZERO
        {
            let (required, short) = (required_sat.to_sat(), shortfall_sat.to_sat());
            warnings.push(format!("of the {required} sat that must be sold at eligible venues, {short} sat were not"));
        }
        Sold { rows: self.rows, available_sat: self.available_sat, obligation }
    }
}

#[cfg(test)]
mod tests;
