//! Does a request: from what an operator names to what the payer knows, and back.

use bitcoin::FeeRate;
use payouts::{
    account::{Account, User},
    export::valued::{self, KeepError},
    ledger::LedgerAccount,
    payout::{self, Batch, BatchId, Payer, PayoutError, PayoutEvent, Restraint, Selection},
    reserve::Recipient,
    share::ShareSeq,
    store::{Store, StoreError},
    wallet::WalletError,
};
use tracing::info;

use super::{
    Outcome, Refusal, RefusalCode, Request, Words,
    account::{add_account, addresses_of, find_account, of_network, remove_name, set_account},
    amount,
    log::tell,
    party, period,
    port::no_port,
    report::{
        AddressChange, BatchChange, BatchReport, BatchSummary, ExportedPsbt, PsbtBytes, Ran, Status, ThresholdSet,
    },
    reserve::{GiftSource, give},
    sale, screening, token,
};

/// Does a request with the payer of a store. `newest_cut` is the last position of the share log that a job can have now.
///
/// # Errors
///
/// When it cannot be done, with the reason and the cure.
pub async fn perform(
    store: &dyn Store,
    payer: &mut Payer,
    newest_cut: ShareSeq,
    request: &Request,
) -> Result<Outcome, Refusal> {
    let outcome = Operator { store, payer, newest_cut }.perform(request).await;
    if request.changes() {
        match &outcome {
            Ok(_) => info!(request = %request, "done for the operator"),
            Err(refusal) => info!(request = %request, %refusal, "refused to the operator"),
        }
    }
    outcome
}

/// What it takes to do requests.
struct Operator<'a> {
    store: &'a dyn Store,
    payer: &'a mut Payer,
    newest_cut: ShareSeq,
}

impl Operator<'_> {
    async fn perform(self, request: &Request) -> Result<Outcome, Refusal> {
        // What screening has found stands on record, also if no step has read it yet.
        self.payer.recall().await?;
        match request {
            Request::Status => self.status().await,
            Request::List { last } => {
                let batches = self.store.batches_before(None, *last).await?;
                Ok(Outcome::Batches(batches.iter().map(BatchSummary::from).collect()))
            }
            Request::Show { batch } => {
                let events = self.store.batch_events(*batch).await?;
                Ok(Outcome::Batch(BatchReport::new(&self.batch(*batch).await?, events)))
            }
            Request::Preview { account } => self.preview(account.as_ref()).await,
            Request::Run { account } => self.run(account.as_ref()).await,
            Request::Approve { batch, by } => {
                let done = self.payer.approve(*batch, by.as_str()).await?;
                Ok(Outcome::Approved(self.changed(*batch, done).await?))
            }
            Request::Cancel { batch, reason, even_if_exported } => {
                let done = self.payer.cancel(*batch, reason.as_str(), *even_if_exported).await?;
                Ok(Outcome::Cancelled(self.changed(*batch, done).await?))
            }
            Request::Hold { account, reason } => self.hold(account, reason).await,
            Request::Release { account, reason } => self.release(account, reason).await,
            Request::Threshold { account, threshold_sat } => self.set_threshold(account, *threshold_sat).await,
            Request::Bump { batch, fee_rate_sat_per_vb } => {
                self.payer.bump(*batch, FeeRate::from_sat_per_vb_u32(*fee_rate_sat_per_vb)).await?;
                Ok(Outcome::Bumped((&self.batch(*batch).await?).into()))
            }
            Request::ExportPsbt { batch } => {
                let psbt = PsbtBytes(self.payer.export_psbt(*batch).await?);
                Ok(Outcome::Psbt(ExportedPsbt { batch: (&self.batch(*batch).await?).into(), psbt }))
            }
            Request::ImportPsbt { batch, psbts } => {
                let psbts: Vec<_> = psbts.iter().map(|psbt| psbt.0.clone()).collect();
                let done = self.payer.import_psbt(*batch, &psbts).await?;
                Ok(Outcome::Imported(self.changed(*batch, done).await?))
            }
            Request::SetAccount { account, changes } => {
                let network = self.payer.wallet().network();
                let change = set_account(self.store, network, account, changes, self.newest_cut).await?;
                Ok(Outcome::Account(change))
            }
            Request::AddAccount { address, name } => {
                let address = of_network(address, self.payer.wallet().network())?;
                Ok(Outcome::Added(add_account(self.store, &address, name.as_ref()).await?))
            }
            Request::RemoveName { name } => Ok(Outcome::NameRemoved(remove_name(self.store, name).await?)),
            Request::FundReserve { sat, from, reference } => {
                Ok(Outcome::Given(give(self.store, *sat, *from, Recipient::Reserve, reference).await?))
            }
            Request::AssignDeposits { sat, reference } => {
                Ok(Outcome::Given(give(self.store, *sat, GiftSource::Deposits, Recipient::Fee, reference).await?))
            }
            Request::Screening => Ok(Outcome::Screening(screening::report(self.payer))),
            Request::Screen { text } => Ok(Outcome::Screened(screening::screen(self.payer, text))),
            Request::Review(request) => {
                Ok(Outcome::Reviewed(screening::review(self.store, self.payer, request).await?))
            }
            Request::AcceptList { list, by, text } => {
                Ok(Outcome::ListAccepted(screening::accept(self.payer, list, by, text).await?))
            }
            Request::Parties => Ok(Outcome::Parties(party::list(self.payer))),
            Request::Party { party } => Ok(Outcome::Party(Box::new(party::show(self.payer, *party)?))),
            Request::SetParty { party, data, by } => {
                Ok(Outcome::PartySet(party::set(self.payer, *party, data, by).await?))
            }
            Request::EraseParty { party, reason, by } => {
                self.payer.erase_party(*party, reason.as_str(), by.as_str()).await?;
                Ok(Outcome::PartyErased(*party))
            }
            Request::OwnAddress(request) => {
                Ok(Outcome::AddressOwned(party::own(self.store, self.payer, request).await?))
            }
            Request::Sales => Ok(Outcome::Sales(sale::list(self.payer).await?)),
            Request::Sale { sale, step, by } => {
                Ok(Outcome::Sale(Box::new(sale::take(self.store, self.payer, sale, step, by).await?)))
            }
            Request::DeliverSale { sale, lots, by } => {
                Ok(Outcome::Sale(Box::new(sale::deliver(self.payer, sale, lots, by).await?)))
            }
            Request::KeepValues { values } => Ok(Outcome::ValuesKept(valued::keep(self.store, values).await?)),
            Request::DeclarePeriod(declared) => {
                Ok(Outcome::PeriodDeclared(period::declare(self.store, declared).await?))
            }
            Request::ClosePeriod { profile, period, by } => {
                Ok(Outcome::PeriodClosed(period::close(self.store, profile, *period, by).await?))
            }
            Request::AddToken { .. } | Request::RevokeToken { .. } => {
                let done = token::perform(self.store, request).await;
                done.expect("it does all requests about tokens")
            }
            Request::Metrics
            | Request::Bans
            | Request::Connections { .. }
            | Request::Settings
            | Request::Reload { .. }
            | Request::Kick { .. }
            | Request::Drain { .. }
            | Request::SetDifficulty { .. }
            | Request::Trace { .. }
            | Request::Ban { .. }
            | Request::LiftBan { .. } => Err(no_port()),
        }
    }

    async fn status(self) -> Result<Outcome, Refusal> {
        let status = self.payer.status().await?;
        let addresses = addresses_of(self.store, status.restraints.iter().map(|row| row.account)).await?;
        Ok(Outcome::Status(Status::new(status, |row| addresses.get(&row.account).cloned().unwrap_or_default())))
    }

    async fn preview(self, user: Option<&User>) -> Result<Outcome, Refusal> {
        let selection = self.selection(user).await?;
        Ok(Outcome::Preview(self.payer.preview(selection).await?.into()))
    }

    async fn selection(&self, user: Option<&User>) -> Result<Selection, Refusal> {
        Ok(match user {
            None => Selection::Due,
            Some(user) => Selection::Account(self.account(user).await?.id),
        })
    }

    async fn run(self, user: Option<&User>) -> Result<Outcome, Refusal> {
        let selection = self.selection(user).await?;
        let events = self.payer.run(selection).await.map_err(|error| about(user, error))?;
        events.iter().for_each(tell);
        let mut ran = Ran { batches: Vec::new(), waiting_accounts: 0, waiting_sat: 0 };
        for event in events {
            match event {
                PayoutEvent::Created { batch, .. } => ran.batches.push((&self.batch(batch).await?).into()),
                PayoutEvent::Waiting { accounts, due } => {
                    (ran.waiting_accounts, ran.waiting_sat) = (accounts, due.to_sat());
                }
                _ => {}
            }
        }
        Ok(Outcome::Ran(ran))
    }

    async fn hold(self, user: &User, reason: &Words) -> Result<Outcome, Refusal> {
        let account = self.account(user).await?;
        let done = self.payer.restrain(account.id, Restraint::Held, reason.as_str()).await;
        let done = done.map_err(|error| about(Some(user), error))?;
        Ok(Outcome::Held(self.address_changed(account, done).await?))
    }

    async fn release(self, user: &User, reason: &Words) -> Result<Outcome, Refusal> {
        let account = self.account(user).await?;
        screening::check_release(self.payer, &account)?;
        let done = self.payer.lift(account.id, Restraint::Held, reason.as_str()).await;
        let done = done.map_err(|error| about(Some(user), error))?;
        Ok(Outcome::Released(self.address_changed(account, done).await?))
    }

    async fn set_threshold(self, user: &User, threshold_sat: Option<u64>) -> Result<Outcome, Refusal> {
        let account = self.account(user).await?;
        let threshold = threshold_sat.map(amount).transpose()?;
        let done = self.payer.set_threshold(account.id, threshold).await;
        let already = done.map_err(|error| about(Some(user), error))? == payout::Outcome::Already;
        Ok(Outcome::Threshold(ThresholdSet { address: account.address, threshold_sat, already }))
    }

    async fn batch(&self, id: BatchId) -> Result<Batch, Refusal> {
        Ok(self.store.batch(id).await?.ok_or_else(|| PayoutError::from(payout::Refusal::UnknownBatch(id)))?)
    }

    async fn changed(&self, id: BatchId, done: payout::Outcome) -> Result<BatchChange, Refusal> {
        Ok(BatchChange { batch: (&self.batch(id).await?).into(), already: done == payout::Outcome::Already })
    }

    async fn address_changed(&self, account: Account, done: payout::Outcome) -> Result<AddressChange, Refusal> {
        // The ledger counts what is owed as negative.
        let owed = async |ledger_account| Ok::<_, Refusal>(-self.store.balance(ledger_account).await?.to_sat());
        Ok(AddressChange {
            already: done == payout::Outcome::Already,
            held_sat: owed(LedgerAccount::Held(account.id)).await?,
            payable_sat: owed(LedgerAccount::MinerPayable(account.id)).await?,
            address: account.address,
        })
    }

    /// Finds the account that an operator names.
    async fn account(&self, user: &User) -> Result<Account, Refusal> {
        if let User::Address(address) = user {
            of_network(address, self.payer.wallet().network())?;
        }
        find_account(self.store, user).await
    }
}

/// A refusal about an account, in the words of who asked.
fn about(user: Option<&User>, error: PayoutError) -> Refusal {
    let Refusal { code, reason } = error.into();
    match user {
        Some(user) => Refusal::new(code, format!("{user}: {reason}")),
        None => Refusal { code, reason },
    }
}

impl From<PayoutError> for Refusal {
    fn from(error: PayoutError) -> Refusal {
        let code = match &error {
            PayoutError::Refused(refusal) => code_of(refusal),
            PayoutError::Wallet(WalletError::Node(_)) => RefusalCode::Unavailable,
            PayoutError::Store(error) | PayoutError::Wallet(WalletError::Store(error)) => code_of_store(error),
            _ => RefusalCode::Failed,
        };
        Refusal::new(code, error)
    }
}

impl From<KeepError> for Refusal {
    fn from(error: KeepError) -> Refusal {
        let code = match &error {
            KeepError::Store(error) => code_of_store(error),
            KeepError::Journal(_) | KeepError::Books(_) => RefusalCode::Failed,
            KeepError::NotReceived { .. } => RefusalCode::Conflict,
            KeepError::TooMany(_) | KeepError::Profile { .. } | KeepError::Value(_) | KeepError::Fiat { .. } => {
                RefusalCode::Invalid
            }
        };
        Refusal::new(code, error)
    }
}

impl From<StoreError> for Refusal {
    fn from(error: StoreError) -> Refusal {
        Refusal::new(code_of_store(&error), error)
    }
}

pub(super) fn code_of_store(error: &StoreError) -> RefusalCode {
    match error {
        StoreError::Unavailable { .. } | StoreError::Contended | StoreError::InUse => RefusalCode::Unavailable,
        _ => RefusalCode::Failed,
    }
}

fn code_of(refusal: &payout::Refusal) -> RefusalCode {
    use payout::Refusal as Why;

    match refusal {
        Why::UnknownBatch(_)
        | Why::UnknownAccount(_)
        | Why::UnknownParty(_)
        | Why::UnknownList(_)
        | Why::UnknownSale(_) => RefusalCode::NotFound,
        Why::Restrained(..)
        | Why::NothingDue { .. }
        | Why::Ended(..)
        | Why::NotApproved(_)
        | Why::NoApprovalNeeded(_)
        | Why::Signed(_)
        | Why::Exported(_)
        | Why::NothingToSign(_)
        | Why::NothingToReplace(_)
        | Why::Conflicted(..)
        | Why::NotScreened(_)
        | Why::Found(_)
        | Why::NotFoundByScreening(_)
        | Why::SameOperator(_)
        | Why::SameWord(_)
        | Why::StillListed(_)
        | Why::NoVault
        | Why::SaleExists(_)
        | Why::Sale(_)
        | Why::NotContracted { .. }
        | Why::Delivering { .. }
        | Why::DeskUnknown(_)
        | Why::DeskMoved(_)
        | Why::SellerResidency
        | Why::ShortOfFee { .. }
        | Why::NoCoinsToSell(_)
        | Why::LotsAreFifo
        | Why::LotsNotNamed
        | Why::Lots(_)
        | Why::NoCoins(_) => RefusalCode::Conflict,
        Why::ThresholdTooLow { .. }
        | Why::FeeRateTooHigh { .. }
        | Why::FeeTooLow { .. }
        | Why::NotPsbt(_)
        | Why::OtherTransaction { .. }
        | Why::SignatureMissing(_)
        | Why::SignatureWrong { .. }
        | Why::Party(_)
        | Why::Dust { .. }
        | Why::Words { .. } => RefusalCode::Invalid,
    }
}
