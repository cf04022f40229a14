//! What an operator does: now and then, and once a month.

use std::sync::Arc;

use anyhow::Result;
use bitcoin::{Address, Amount, FeeRate, Network};
use payouts::{
    AccountId, Store,
    crediting::{Crediting, CreditingEvent, CreditingPolicy},
    export::{
        owner::Hosting,
        party::{Party, PartyKind},
        screened::ReviewReason,
    },
    payout::{Batch, BatchApproval, BatchState, Ownership, Selection},
    reserve::{self, Gift, PoolMoney, Recipient},
    scheme::{network_fees::Average, rule::SchemeName},
};

use super::{BY, HOUR_MS, NoNetwork, Year, scheme};
use crate::{
    bench::{self, MINERS},
    checks::ALL,
    node,
    world::{foreign, restraint_of},
};

/// How much of the fee is given to the reserve each month.
const GIFT: Amount = Amount::from_sat(10_000_000);

impl Year {
    /// Something that an operator does, or that is done to him.
    pub(super) async fn operate(&mut self) -> Result<()> {
        if self.thief_waits {
            self.steal().await?;
        }
        let miner = self.dice.index(MINERS);
        let account = self.bench.miners[miner].account;
        match self.dice.below(200) {
            0..2 => {
                let done = self.pool().payer.restrain(account, restraint_of(account), "for a reason").await;
                self.answered("restraints", done)
            }
            2..6 => {
                let done = self.pool().payer.lift(account, restraint_of(account), "the reason is gone").await;
                self.answered("restraints lifted", done)
            }
            6..8 => {
                let done = self.pool().payer.run(Selection::Account(account)).await;
                self.answered("payouts on demand", done)
            }
            8 => {
                let sat = 100_000 + self.dice.below(300_000_000);
                let done = self.pool().payer.set_threshold(account, Some(Amount::from_sat(sat))).await;
                self.answered("thresholds", done)
            }
            9..12 => {
                let amount = Amount::from_sat(1_000 + self.dice.below(50_000_000));
                if node::locked(&self.chain).deposit(&foreign(), &self.bench.script, amount) {
                    self.deeds.note("deposits");
                }
                Ok(())
            }
            12..60 => self.decide().await,
            60..72 => self.bump().await,
            72 => {
                let which = self.dice.index(64);
                if node::locked(&self.chain).recall(which) {
                    self.deeds.note("replaced transactions that came back");
                }
                Ok(())
            }
            73..120 => self.trade().await,
            _ => Ok(()),
        }
    }

    /// Approves a batch that waits for it, or gives it up.
    async fn decide(&mut self) -> Result<()> {
        let waits = |batch: &Batch| batch.state == BatchState::Open && batch.approval == BatchApproval::Awaited;
        let Some(batch) = self.batch(waits).await? else { return Ok(()) };
        let decided = ["approvals", "cancellations"].map(|what| self.deeds.times(what));
        if decided.iter().sum::<u32>() % 3 == 1 {
            let done = self.pool().payer.cancel(batch.id, "for a reason", false).await;
            return self.answered("cancellations", done);
        }
        let done = self.pool().payer.approve(batch.id, BY).await;
        self.answered("approvals", done)
    }

    async fn bump(&mut self) -> Result<()> {
        let is_sent = |batch: &Batch| batch.state == BatchState::Open && batch.newest().transaction().is_some();
        let Some(batch) = self.batch(is_sent).await? else { return Ok(()) };
        let rate = FeeRate::from_sat_per_vb_u32(6 + u32::try_from(self.dice.below(100))?);
        let done = self.pool().payer.bump(batch.id, rate).await;
        self.answered("replacements", done)
    }

    pub(super) async fn batch(&mut self, is_so: impl Fn(&Batch) -> bool) -> Result<Option<Batch>> {
        for head in self.store().batches_to_watch(ALL).await? {
            if let Some(batch) = self.store().batch(head.id).await?.filter(&is_so) {
                return Ok(Some(batch));
            }
        }
        Ok(None)
    }

    /// What is done once a month: owners become known, the reserve is filled and work paid out of it, lists change.
    pub(super) async fn monthly(&mut self, month: usize) -> Result<()> {
        if let Some(index) = [2, 0, 4, 1].get(month) {
            self.own(*index, month).await?;
        }
        let gift =
            Gift { amount: GIFT, from: PoolMoney::Fee, to: Recipient::Reserve, reference: format!("gift {month}") };
        if reserve::available(&*self.pool().store, PoolMoney::Fee).await? >= GIFT {
            reserve::give(&*self.pool().store, &gift).await?;
            self.deeds.note("gifts");
        }
        let policy = CreditingPolicy { period_ms: HOUR_MS, average: Average::Plain };
        let store = Arc::clone(&self.pool().store);
        let crediting = Crediting::new(store, scheme(SchemeName::PpsPlus), policy, Arc::new(NoNetwork));
        for event in crediting.step(self.at_ms, self.position).await? {
            if matches!(event, CreditingEvent::Credited { .. }) {
                self.deeds.note("periods of work");
            }
        }
        match month {
            3 => self.list(&self.bench.miners[3].script.clone()).await,
            6 => {
                let account = self.bench.miners[3].account;
                for (by, text) in [("alice", "the court has decided"), ("bob", "seen the order")] {
                    let (reason, order) = (ReviewReason::Authorised, Some("order 7"));
                    let done = self.pool().payer.review(account, by, reason, text, order).await;
                    self.answered("reviews", done)?;
                }
                Ok(())
            }
            _ => Ok(()),
        }
    }

    /// A list names the owner of a script.
    async fn list(&mut self, script: &bitcoin::Script) -> Result<()> {
        let address = Address::from_script(script, Network::Bitcoin)?.to_string();
        let lists = Arc::new(bench::lists(&address)?);
        self.pool().payer.screening_mut().use_lists(lists);
        self.step().await?;
        self.deeds.note("listings");
        Ok(())
    }

    /// A miner's owner becomes known.
    async fn own(&mut self, miner: usize, month: usize) -> Result<()> {
        let residency = ["KZ", "RU", "DE", "KZ"][month % 4];
        let kind = if month.is_multiple_of(2) { PartyKind::Legal } else { PartyKind::Natural };
        // What a spreadsheet would take for a formula.
        let party = party(kind, &format!("=Miner {miner}"), residency)?;
        let account = self.bench.miners[miner].account;
        self.owned(account, &party).await?;
        self.deeds.note("owners");
        Ok(())
    }

    /// Puts on record who owns an account's address.
    pub(super) async fn owned(&mut self, account: AccountId, party: &Party) -> Result<()> {
        let payer = &mut self.pool().payer;
        let id = payer.set_party(None, party, BY).await?;
        let owned = Ownership { party: id, hosting: Hosting::SelfHosted, provider: None, proof: None };
        Ok(payer.own_address(account, owned, BY).await?)
    }
}

/// A party of which little is known.
pub(super) fn party(kind: PartyKind, name: &str, residency: &str) -> Result<Party> {
    Ok(Party {
        kind,
        legal_name: name.to_owned(),
        other_names: Vec::new(),
        residency: residency.parse()?,
        address: None,
        birth_date: None,
        tax_ids: Vec::new(),
        registrations: Vec::new(),
        lei: None,
        bic: None,
        is_casp: false,
    })
}
