//! New batches: which balances they pay, in which transaction, and what each bears of its fee.

use std::sync::Arc;

use bitcoin::{Amount, FeeRate, Psbt, ScriptBuf};

use super::{COMMIT_ATTEMPTS, OPEN_BATCHES, Payer, PayoutError};
use crate::{
    account::AccountId,
    clock::now_ms,
    export::{self, journal::JournalRow, screened::Moment},
    ledger::Entry,
    payout::{
        Attempt, AttemptStage, Batch, BatchApproval, BatchId, BatchState, Due, FeePayer, PaidOutput, PayoutEvent,
        Refusal, Restraint, fee, node,
    },
    store::{Change, Row, StoreError},
    wallet::{Coins, Price, Proposal, WalletError, blocking},
};

/// Which balances are paid.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Selection {
    /// All that have reached their thresholds.
    Due,
    /// That of one account, whatever its threshold is.
    Account(AccountId),
}

/// What became of making a batch.
enum Prepared {
    /// It is stored.
    Batch(Box<Batch>),
    /// There is nothing to pay.
    NothingDue,
    /// There is something to pay, but no coins, or too many batches are open.
    Waiting,
}

/// Whether everything that was due is in batches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Made {
    /// It is.
    All,
    /// Something waits for coins or confirmations.
    NotAll,
}

/// What an output takes from a balance, and what of it goes to the network.
struct Payment {
    due: Due,
    fee: Amount,
}

/// What became of a proposal.
enum Proposed {
    /// A transaction that pays these.
    Made(Vec<Payment>, Box<Proposal>),
    /// No balance is worth its part of the fee.
    NothingLeft,
    /// There are not coins enough.
    NoCoins,
}

impl Payer {
    /// Pays on demand, whatever the schedule says.
    ///
    /// # Errors
    ///
    /// If store, wallet or node fail, or the account that is asked for cannot be paid.
    pub async fn run(&mut self, selection: Selection) -> Result<Vec<PayoutEvent>, PayoutError> {
        let mut events = Vec::new();
        self.wallet.sync(&self.rpc).await?;
        self.screen_accounts(&mut events).await?;
        self.sweep(&mut events).await?;
        if let Err(unusable) = self.screening.standing(now_ms()) {
            return Err(Refusal::NotScreened(unusable.to_string()).into());
        }
        if let Selection::Account(account) = selection {
            self.check_payable(account).await?;
        }
        self.make_batches(selection, &mut events).await?;
        Ok(events)
    }

    /// Makes batches and takes them as far as they go, until nothing is due or nothing can be paid.
    pub(super) async fn make_batches(
        &mut self,
        selection: Selection,
        events: &mut Vec<PayoutEvent>,
    ) -> Result<Made, PayoutError> {
        for _ in 0..OPEN_BATCHES {
            match self.prepare(selection, events).await? {
                Prepared::Batch(batch) => self.advance(*batch, events).await?,
                Prepared::NothingDue => return Ok(Made::All),
                Prepared::Waiting => return Ok(Made::NotAll),
            }
        }
        Ok(Made::NotAll)
    }

    /// Returns the balances that a run would pay, smallest first.
    pub(super) async fn selected(&self, selection: Selection) -> Result<Vec<Due>, PayoutError> {
        let due = match selection {
            Selection::Due => self.store.due(self.policy.threshold).await?,
            Selection::Account(account) => match self.restraint_of(account).await? {
                None => self.store.due_of(account).await?.into_iter().collect(),
                Some(_) => Vec::new(),
            },
        };
        Ok(due.into_iter().filter(|due| due.amount >= due.dust_limit()).collect())
    }

    pub(super) async fn restraint_of(&self, account: AccountId) -> Result<Option<Restraint>, PayoutError> {
        for restraint in Restraint::ALL {
            if self.store.restraint(account, restraint).await?.is_some_and(|row| row.is_in_force()) {
                return Ok(Some(restraint));
            }
        }
        Ok(None)
    }

    async fn check_payable(&self, account: AccountId) -> Result<(), PayoutError> {
        let due = self.store.due_of(account).await?.ok_or(Refusal::UnknownAccount(account))?;
        if let Some(restraint) = self.restraint_of(account).await? {
            return Err(Refusal::Restrained(account, restraint.as_str()).into());
        }
        let least = due.dust_limit();
        match due.amount >= least {
            true => Ok(()),
            false => Err(Refusal::NothingDue { account, due: due.amount, least }.into()),
        }
    }

    /// Reserves balances and coins for a new batch, if any are due and free. The first durable step.
    async fn prepare(&mut self, selection: Selection, events: &mut Vec<PayoutEvent>) -> Result<Prepared, PayoutError> {
        for _ in 0..COMMIT_ATTEMPTS {
            let due = self.selected(selection).await?;
            if due.is_empty() {
                return Ok(Prepared::NothingDue);
            }
            if !self.may_pay(now_ms(), events) {
                return Ok(Prepared::Waiting);
            }
            let due = self.screen_due(due, events).await?;
            if due.is_empty() {
                return Ok(Prepared::NothingDue);
            }
            let head = self.store.head().await?;
            if self.store.batches_to_watch(u32::MAX).await?.len() >= OPEN_BATCHES {
                return Ok(Prepared::Waiting);
            }
            let (payments, proposal) = match self.propose(&due).await? {
                Proposed::Made(payments, proposal) => (payments, proposal),
                Proposed::NothingLeft => return Ok(Prepared::NothingDue),
                Proposed::NoCoins => {
                    let waiting = due.iter().map(|due| due.amount).sum();
                    events.push(PayoutEvent::Waiting { accounts: due.len(), due: waiting });
                    return Ok(Prepared::Waiting);
                }
            };
            let batch = match self.paid_outputs(payments).await {
                Ok(outputs) => self.new_batch(outputs, &proposal).await,
                Err(error) => Err(error),
            };
            let batch = match batch {
                Ok(batch) => batch,
                Err(error) => {
                    self.wallet.reload().await?;
                    return Err(error);
                }
            };
            let screened = self.screen_batch(&batch, Moment::Batch).ok_or(StoreError::Contended)?;
            let screened = JournalRow::seal(self.store.journal_head().await?, batch.created_at_ms, head, &screened);
            let entry = batch.creation().balanced()?.seal(head, batch.created_at_ms);
            if self.store_new(entry, &batch, proposal.change, vec![screened]).await? {
                self.tell_created(&batch, events);
                return Ok(Prepared::Batch(Box::new(batch)));
            }
        }
        Err(StoreError::Contended.into())
    }

    /// Stores a new batch with what is on record about it; false if something else came first.
    pub(super) async fn store_new(
        &mut self,
        entry: Entry,
        batch: &Batch,
        wallet_change: String,
        journal: Vec<JournalRow>,
    ) -> Result<bool, PayoutError> {
        let mut rows = vec![Row::BatchCreated { batch: batch.clone(), wallet_change }];
        rows.extend(journal.into_iter().map(Row::Journal));
        self.commit_with_wallet(Change { entry, rows }).await
    }

    /// Makes a batch and stops there.
    #[cfg(test)]
    pub(super) async fn reserved(&mut self) -> Batch {
        match self.prepare(Selection::Due, &mut Vec::new()).await {
            Ok(Prepared::Batch(batch)) => *batch,
            Ok(_) | Err(_) => panic!("no batch was made"),
        }
    }

    pub(super) fn tell_created(&self, batch: &Batch, events: &mut Vec<PayoutEvent>) {
        events.push(PayoutEvent::Created {
            batch: batch.id,
            txid: batch.txid(),
            outputs: batch.outputs.len(),
            paid: batch.paid(),
            network_fee: batch.network_fee(),
        });
        if batch.approval == BatchApproval::Awaited {
            events.push(PayoutEvent::AwaitsApproval { batch: batch.id });
        } else if !self.wallet.signs_here() {
            events.push(PayoutEvent::AwaitsSignature { batch: batch.id, txid: batch.txid() });
        }
    }

    /// Returns the fee rate of new transactions.
    pub(super) async fn fee_rate(&self) -> Result<FeeRate, PayoutError> {
        let (rpc, policy) = (Arc::clone(&self.rpc), self.policy.clone());
        Ok(blocking(move || Ok::<_, WalletError>(node::fee_rate(&rpc, &policy))).await?)
    }

    /// Makes a transaction that pays as many as the coins allow, the smallest balances first.
    async fn propose(&mut self, due: &[Due]) -> Result<Proposed, PayoutError> {
        let fee_rate = self.fee_rate().await?;
        let mut paid = due[..due.len().min(self.policy.max_outputs)].to_vec();
        while !paid.is_empty() {
            let recipients: Vec<_> = paid.iter().map(|due| (due.script_pubkey.clone(), due.amount)).collect();
            match self.wallet.draft(&recipients, Price::Rate(fee_rate), Coins::Any)? {
                None => {
                    paid.truncate(paid.len() / 2);
                    if paid.is_empty() {
                        return Ok(Proposed::NoCoins);
                    }
                }
                Some(draft) if self.policy.fee_payer == FeePayer::Pool => {
                    let proposal = self.wallet.reserve(draft)?;
                    let payment = |due| Payment { due, fee: Amount::ZERO };
                    return Ok(Proposed::Made(paid.into_iter().map(payment).collect(), Box::new(proposal)));
                }
                Some(draft) => {
                    if let Some((payments, proposal)) = self.share_fee(&mut paid, &draft, fee_rate)? {
                        return Ok(Proposed::Made(payments, Box::new(proposal)));
                    }
                }
            }
        }
        Ok(Proposed::NothingLeft)
    }

    /// Takes the fee of a draft off its outputs. Balances that are too small then are left out of `paid`, and nothing
    /// is returned: without them the transaction is another.
    ///
    /// The fee is what the transaction with a change output costs. What is left over and too little for such an output
    /// goes to the network on the pool's account.
    fn share_fee(
        &mut self,
        paid: &mut Vec<Due>,
        draft: &Psbt,
        fee_rate: FeeRate,
    ) -> Result<Option<(Vec<Payment>, Proposal)>, PayoutError> {
        let mut weight = self.wallet.weight_when_signed(draft)?;
        if draft.unsigned_tx.output.len() == paid.len() {
            weight += self.wallet.change_weight();
        }
        self.wallet.discard(draft);
        let whole = fee_rate.fee_wu(weight).unwrap_or(Amount::MAX_MONEY);
        let scripts: Vec<&ScriptBuf> = paid.iter().map(|due| &due.script_pubkey).collect();
        let parts = fee::split(whole, &scripts);
        let payments = paid.iter().cloned().zip(parts).map(|(due, fee)| Payment { due, fee });
        let before = paid.len();
        let payments: Vec<_> =
            payments.filter(|payment| payment.due.amount >= payment.fee + payment.due.dust_limit()).collect();
        if payments.len() < before {
            *paid = payments.into_iter().map(|payment| payment.due).collect();
            return Ok(None);
        }
        let recipients: Vec<_> = payments
            .iter()
            .map(|payment| (payment.due.script_pubkey.clone(), payment.due.amount - payment.fee))
            .collect();
        let Some(draft) = self.wallet.draft(&recipients, Price::Fixed(whole), Coins::Only(draft))? else {
            // The coins were enough for more: only the limit of weight can have been passed, by the change output.
            paid.truncate(paid.len() / 2);
            return Ok(None);
        };
        let proposal = self.wallet.reserve(draft)?;
        Ok(Some((payments, proposal)))
    }

    async fn paid_outputs(&self, paid: Vec<Payment>) -> Result<Vec<PaidOutput>, PayoutError> {
        let mut outputs = Vec::with_capacity(paid.len());
        for (vout, Payment { due, fee }) in (0..).zip(paid) {
            let lots = self.store.unpaid_lots(due.account).await?;
            let lots = export::allocate(lots, due.amount)
                .map_err(|source| PayoutError::Lots { account: due.account, source })?;
            outputs.push(PaidOutput { vout, due, fee, lots });
        }
        Ok(outputs)
    }

    /// Makes the next batch of a proposal that pays these outputs.
    pub(super) async fn new_batch(&self, outputs: Vec<PaidOutput>, proposal: &Proposal) -> Result<Batch, PayoutError> {
        let newest = self.store.batches(1).await?.first().map_or(0, |batch| batch.id.get());
        let id = BatchId::new(newest + 1);
        check_outputs(id, &outputs, &proposal.psbt)?;
        let created_at_ms = now_ms();
        let attempt = new_attempt(0, proposal, created_at_ms);
        let attempts = vec![attempt];
        let (approval, state) = (BatchApproval::NotNeeded, BatchState::Open);
        let mut batch = Batch { id, outputs, attempts, approval, state, epoch: 0, created_at_ms };
        if self.policy.approval.is_needed(batch.taken()) {
            batch.approval = BatchApproval::Awaited;
        }
        Ok(batch)
    }
}

pub(super) fn new_attempt(number: u32, proposal: &Proposal, created_at_ms: i64) -> Attempt {
    Attempt {
        number,
        txid: proposal.psbt.unsigned_tx.compute_txid(),
        psbt: proposal.psbt.serialize(),
        network_fee: proposal.fee,
        stage: AttemptStage::Created,
        created_at_ms,
    }
}

/// Makes sure that a transaction pays the outputs first and in their order; what follows is change.
pub(super) fn check_outputs(id: BatchId, outputs: &[PaidOutput], psbt: &Psbt) -> Result<(), PayoutError> {
    let wanted: Vec<_> = outputs.iter().map(|output| (&*output.due.script_pubkey, output.pays())).collect();
    let made: Vec<_> = psbt.unsigned_tx.output.iter().map(|output| (&*output.script_pubkey, output.value)).collect();
    if !made.starts_with(&wanted) || made.len() > wanted.len() + 1 {
        return Err(PayoutError::Transaction(id));
    }
    Ok(())
}
