//! Sales of the pool's own coin to a desk: their steps on record, and the payout that delivers one.
//!
//! What is sold comes out of the pool's fee. Its delivery is a batch of its own with one output, whose network fee the
//! pool bears, so that the desk gets what was agreed to the satoshi; it is screened, approved, signed and followed like
//! every other.

use bitcoin::{Amount, OutPoint};

use super::{COMMIT_ATTEMPTS, OPEN_BATCHES, Payer, PayoutError, orders};
use crate::{
    account::{Account, AccountId},
    clock::now_ms,
    export::{
        self, Lot, LotCredit,
        journal::JournalRow,
        rules::{
            desk::{
                Acceptance, Cancellation, Declaration, Delivery, DeskEvent, DeskSale, Quote, Reference, Requested,
                SaleRequest, Settlement,
            },
            fiat::FiatAmount,
            prices::SourceName,
            rate::Rate,
            sale::{LotMethod, Pick},
            state::RecordState,
        },
        sales::{self, Sale, SaleDelivering, SaleStep},
        screened::Moment,
    },
    payout::{BatchId, BatchState, Due, PaidOutput, PayoutEvent, Refusal},
    reserve::{self, PoolMoney},
    store::StoreError,
    wallet::{Coins, Price},
};

/// A step of a sale, as an operator orders it. It is taken at the time of the order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SaleOrder {
    /// Begin a sale of so much.
    Request(Amount),
    /// Note a desk's offer.
    Quote {
        /// The desk's id of it.
        quote: Reference,
        /// The account of the desk's address. Its owner must be on record.
        desk: AccountId,
        /// The venue at which the desk sells on.
        venue: Option<SourceName>,
        /// The price of one bitcoin, in the currency of the fee.
        price: Rate,
        /// What the desk charges.
        fee: FiatAmount,
        /// The first millisecond at which it no longer holds, since 1970 UTC.
        expires_ms: i64,
    },
    /// Accept the offer, under the number of this contract.
    Accept(Reference),
    /// Note that the money came in.
    Settle {
        /// How much.
        received: FiatAmount,
        /// The bank's reference.
        bank_reference: Reference,
        /// When, in milliseconds since 1970 UTC; now if it is not said.
        settled_ms: Option<i64>,
    },
    /// Note the declaration to an authority.
    Declare {
        /// The id of the declaration.
        declaration: Reference,
        /// The authority.
        authority: Reference,
    },
    /// Give the sale up for this reason.
    Cancel(Reference),
}

/// How a sale stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SaleStatus {
    /// What is on record.
    pub sale: Sale,
    /// How far it is.
    pub standing: DeskSale,
    /// The state of its record: held or blocked if its desk is, and it is not delivered yet.
    pub state: RecordState,
    /// The payout that delivers it.
    pub batch: Option<BatchId>,
    /// The output that delivered it.
    pub delivery: Option<OutPoint>,
}

/// What became of a delivery.
struct Delivering {
    batch: BatchId,
    delivery: Option<Delivery>,
    is_reversed: bool,
}

impl Payer {
    /// Returns how all sales stand, in the order of their names, by what was on record at the last step, order or
    /// [`Payer::recall`].
    ///
    /// # Errors
    ///
    /// If the store fails, or the steps on record do not follow from each other.
    pub async fn sales(&self) -> Result<Vec<SaleStatus>, PayoutError> {
        let mut all = Vec::new();
        for sale in self.sales.iter() {
            all.push(self.sale_status(sale).await?);
        }
        Ok(all)
    }

    /// Takes a step of a sale, and returns how it stands then.
    ///
    /// # Errors
    ///
    /// If the store fails, or the step does not follow: an expired quote is not accepted, money for coin that was not
    /// delivered settles nothing, nothing is sold to whom nobody knows or whom a list names.
    pub async fn order_sale(
        &mut self,
        name: &Reference,
        order: SaleOrder,
        by: &str,
    ) -> Result<SaleStatus, PayoutError> {
        orders::check_words(by)?;
        self.read_journal().await?;
        let step = match (order, self.sales.sale(name).cloned()) {
            (SaleOrder::Request(_), Some(_)) => return Err(Refusal::SaleExists(name.clone()).into()),
            (SaleOrder::Request(amount_sat), None) => {
                let request = SaleRequest { sale: name.clone(), amount_sat, at_ms: now_ms() };
                Requested::begin(request).map_err(Refusal::Sale)?.1
            }
            (_, None) => return Err(Refusal::UnknownSale(name.clone()).into()),
            (order, Some(sale)) => self.next_step(&sale, order).await?,
        };
        self.record(&SaleStep { step, by: by.to_owned() }).await?;
        self.read_journal().await?;
        let sale = self.sales.sale(name).ok_or_else(|| Refusal::UnknownSale(name.clone()))?;
        self.sale_status(sale).await
    }

    /// Works a step out, and makes sure that it follows.
    async fn next_step(&mut self, sale: &Sale, order: SaleOrder) -> Result<DeskEvent, PayoutError> {
        let at_ms = now_ms();
        let name = sale.request().sale.clone();
        let delivering = self.delivering(sale).await?;
        let step = match order {
            SaleOrder::Request(_) => return Err(Refusal::SaleExists(name).into()),
            SaleOrder::Quote { quote, desk, venue, price, fee, expires_ms } => {
                let (account, desk_party) = self.desk(desk).await?;
                let address = account.address;
                let step = Quote { quote, desk_party, address, venue, price, fee, expires_ms, at_ms };
                DeskEvent::Quoted { sale: name, step }
            }
            SaleOrder::Accept(contract) => DeskEvent::Accepted { sale: name, step: Acceptance { contract, at_ms } },
            SaleOrder::Settle { received, bank_reference, settled_ms } => {
                let settled_ms = settled_ms.unwrap_or(at_ms);
                DeskEvent::Settled { sale: name, step: Settlement { received, bank_reference, settled_ms } }
            }
            SaleOrder::Declare { declaration, authority } => {
                DeskEvent::Declared { sale: name, step: Declaration { declaration, authority, at_ms } }
            }
            SaleOrder::Cancel(reason) => {
                if let Some(Delivering { batch, .. }) = delivering {
                    return Err(Refusal::Delivering { sale: name, batch }.into());
                }
                DeskEvent::Cancelled { sale: name, step: Cancellation { reason, at_ms } }
            }
        };
        let delivery = delivering.and_then(|delivering| delivering.delivery);
        let standing = sale.standing(delivery).map_err(Refusal::Sale)?;
        standing.apply(&step).map_err(Refusal::Sale)?;
        Ok(step)
    }

    /// Returns the account and the owner of a desk's address, if coin may be sold to it.
    async fn desk(&mut self, desk: AccountId) -> Result<(Account, Reference), PayoutError> {
        let due = self.store.due_of(desk).await?.ok_or(Refusal::UnknownAccount(desk))?;
        if self.policy.sales.residency.is_none() {
            return Err(Refusal::SellerResidency.into());
        }
        self.screen_accounts(&mut Vec::new()).await?;
        if let Err(unusable) = self.screening.standing(now_ms()) {
            return Err(Refusal::NotScreened(unusable.to_string()).into());
        }
        if let Some(restraint) = self.restraint_of(desk).await? {
            return Err(Refusal::Restrained(desk, restraint.as_str()).into());
        }
        let owned = self.screening.owners().owner(desk).ok_or(Refusal::DeskUnknown(desk))?;
        let known = self.screening.owners().party(owned.party).filter(|known| !known.is_erased);
        known.ok_or(Refusal::DeskUnknown(desk))?;
        let party = owned.party.to_string().parse().map_err(|_| Refusal::UnknownParty(owned.party))?;
        let (address, script_pubkey) = (due.address, due.script_pubkey);
        Ok((Account { id: desk, address, script_pubkey, name: None }, party))
    }

    /// Makes the payout that delivers a sale, and takes it as far as it goes. With specific identification, `lots` says
    /// which coins are sold.
    ///
    /// # Errors
    ///
    /// If store, wallet or node fail, the sale is not contracted or is delivered by a payout already, the desk may not be
    /// paid, or the pool has less coin of its own.
    pub async fn deliver_sale(
        &mut self,
        name: &Reference,
        lots: &[Pick],
        by: &str,
    ) -> Result<(SaleStatus, Vec<PayoutEvent>), PayoutError> {
        orders::check_words(by)?;
        let mut events = Vec::new();
        self.wallet.sync(&self.rpc).await?;
        self.read_journal().await?;
        let sale = self.sales.sale(name).cloned().ok_or_else(|| Refusal::UnknownSale(name.clone()))?;
        if let Some(Delivering { batch, .. }) = self.delivering(&sale).await? {
            return Err(Refusal::Delivering { sale: name.clone(), batch }.into());
        }
        let standing = sale.standing(None).map_err(Refusal::Sale)?;
        let DeskSale::Contracted(contracted) = &standing else {
            let state = sales::record_state(&standing, false);
            return Err(Refusal::NotContracted { sale: name.clone(), state: state.as_str() }.into());
        };
        let offer = contracted.quoted().offer();
        let found = self.store.find_account(&offer.address).await?;
        let desk = found.ok_or_else(|| Refusal::DeskMoved(offer.address.clone()))?.id;
        let (account, party) = self.desk(desk).await?;
        if party != offer.desk_party {
            return Err(Refusal::DeskMoved(offer.address.clone()).into());
        }
        let batch = self.prepare_delivery(&sale, account, lots, by, &mut events).await?;
        let batch = self.batch(batch).await?;
        self.advance(batch, &mut events).await?;
        self.read_journal().await?;
        Ok((self.sale_status(&sale_of(&self.sales, name)?).await?, events))
    }

    /// Reserves the coin of a sale for a new batch. The first durable step.
    async fn prepare_delivery(
        &mut self,
        sale: &Sale,
        desk: Account,
        picks: &[Pick],
        by: &str,
        events: &mut Vec<PayoutEvent>,
    ) -> Result<BatchId, PayoutError> {
        let SaleRequest { sale: name, amount_sat: amount, .. } = sale.request().clone();
        let due = Due { account: desk.id, address: desk.address, script_pubkey: desk.script_pubkey, amount };
        if amount < due.dust_limit() {
            return Err(Refusal::Dust { amount, least: due.dust_limit() }.into());
        }
        for _ in 0..COMMIT_ATTEMPTS {
            let head = self.store.head().await?;
            if self.store.batches_to_watch(u32::MAX).await?.len() >= OPEN_BATCHES {
                return Err(Refusal::NoCoinsToSell(amount).into());
            }
            let lots = self.lots_to_sell(amount, picks).await?;
            let taken: Vec<_> =
                lots.iter().map(|lot| Pick { lot: lot.coinbase.to_string(), amount: lot.amount }).collect();
            let price = Price::Rate(self.fee_rate().await?);
            let recipient = (due.script_pubkey.clone(), amount);
            let Some(draft) = self.wallet.draft(&[recipient], price, Coins::Any)? else {
                return Err(Refusal::NoCoinsToSell(amount).into());
            };
            let proposal = self.wallet.reserve(draft)?;
            let outputs = vec![PaidOutput { vout: 0, due: due.clone(), fee: Amount::ZERO, lots }];
            let made = self.new_batch(outputs, &proposal).await;
            let screened = made.as_ref().ok().and_then(|batch| self.screen_batch(batch, Moment::Batch));
            let (batch, screened) = match (made, screened) {
                (Ok(batch), Some(screened)) => (batch, screened),
                (made, _) => {
                    self.wallet.reload().await?;
                    return Err(made
                        .err()
                        .unwrap_or_else(|| Refusal::Restrained(desk.id, "found by screening").into()));
                }
            };
            let at_ms = batch.created_at_ms;
            let screened = JournalRow::seal(self.store.journal_head().await?, at_ms, head, &screened);
            let delivering = SaleDelivering { sale: name.clone(), batch: batch.id, lots: taken, by: by.to_owned() };
            let delivering = JournalRow::seal(screened.head(), at_ms, head, &delivering);
            let entry = batch.creation().facts(format_args!("sale {name}")).balanced()?.seal(head, at_ms);
            if self.store_new(entry, &batch, proposal.change, vec![screened, delivering]).await? {
                self.tell_created(&batch, events);
                return Ok(batch.id);
            }
        }
        Err(StoreError::Contended.into())
    }

    /// Chooses the coins of a sale: the oldest, or those that are named if that is the rule.
    async fn lots_to_sell(&self, amount: Amount, picks: &[Pick]) -> Result<Vec<Lot>, PayoutError> {
        let available = reserve::available(&*self.store, PoolMoney::Fee).await?;
        let short = Refusal::ShortOfFee { available, amount };
        if available < amount {
            return Err(short.into());
        }
        let coins = self.store.pool_coins(PoolMoney::Fee).await?;
        let coins = coins.into_iter().map(|coin| Lot { credit: LotCredit::Fee, ..coin });
        match (self.policy.sales.lots, picks) {
            (LotMethod::Fifo, []) => Ok(export::allocate(coins, amount).map_err(|_| short)?),
            (LotMethod::Fifo, _) => Err(Refusal::LotsAreFifo.into()),
            (LotMethod::Specific, []) => Err(Refusal::LotsNotNamed.into()),
            (LotMethod::Specific, picks) => {
                export::pick(coins, amount, picks).map_err(|error| Refusal::Lots(error).into())
            }
        }
    }

    /// Ends sales whose offers nobody accepted in time.
    pub(super) async fn expire_quotes(&mut self, now_ms: i64) -> Result<(), PayoutError> {
        let is_over = |sale: &&Sale| sale.quote().is_some_and(|quote| quote.expires_ms <= now_ms);
        let over: Vec<_> = self.sales.iter().filter(is_over).cloned().collect();
        for sale in over {
            if let Ok(DeskSale::Quoted(_)) = sale.standing(None) {
                let step = DeskEvent::Expired { sale: sale.request().sale.clone(), at_ms: now_ms };
                self.record(&SaleStep { step, by: "adit".to_owned() }).await?;
            }
        }
        self.read_journal().await
    }

    async fn delivering(&self, sale: &Sale) -> Result<Option<Delivering>, PayoutError> {
        let Some(delivering) = sale.delivering() else { return Ok(None) };
        let batch = self.batch(delivering.batch).await?;
        let vout = batch.outputs.first().map_or(0, |output| output.vout);
        let delivery = match batch.state {
            BatchState::Cancelled | BatchState::Replaced(_) => return Ok(None),
            BatchState::Open => None,
            BatchState::Confirmed(_, block) => {
                let outpoint = OutPoint::new(batch.txid(), vout);
                Some(Delivery { outpoint, at_ms: block.time.saturating_mul(1_000) })
            }
        };
        let is_reversed = delivery.is_none() && batch.epoch > 0;
        Ok(Some(Delivering { batch: batch.id, delivery, is_reversed }))
    }

    async fn sale_status(&self, sale: &Sale) -> Result<SaleStatus, PayoutError> {
        let delivering = self.delivering(sale).await?;
        let (batch, delivery, is_reversed) = match delivering {
            Some(Delivering { batch, delivery, is_reversed }) => (Some(batch), delivery, is_reversed),
            None => (None, None, false),
        };
        let outpoint = delivery.as_ref().map(|delivery| delivery.outpoint);
        let standing = sale.standing(delivery).map_err(Refusal::Sale)?;
        let mut state = sales::record_state(&standing, is_reversed);
        if state.is_before_delivery()
            && let Some(quote) = sale.quote()
            && let Some(desk) = self.store.find_account(&quote.address).await?
            && let Some(restraint) = self.restraint_of(desk.id).await?
        {
            state = restraint.record_state();
        }
        Ok(SaleStatus { sale: sale.clone(), standing, state, batch, delivery: outpoint })
    }
}

fn sale_of(sales: &sales::Sales, name: &Reference) -> Result<Sale, Refusal> {
    sales.sale(name).cloned().ok_or_else(|| Refusal::UnknownSale(name.clone()))
}
