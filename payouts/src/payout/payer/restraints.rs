//! Keeping back what accounts are due, and letting it go again.

use bitcoin::SignedAmount;

use super::{COMMIT_ATTEMPTS, Payer, PayoutError, orders};
use crate::{
    account::AccountId,
    clock::now_ms,
    ledger::{Entry, LedgerAccount},
    payout::{
        Outcome, PayoutEvent, Refusal, Restraint, RestraintAct, RestraintRow,
        restraint::{move_key, moving},
    },
    store::{Change, Commit, Row, StoreError},
};

impl Payer {
    /// Stops paying an account: what it is due, and what falls due from now on, is kept back for it. Batches that were
    /// made before are not touched. The reason is kept.
    ///
    /// # Errors
    ///
    /// If the store fails, or the account is unknown.
    pub async fn restrain(
        &mut self,
        account: AccountId,
        restraint: Restraint,
        reason: &str,
    ) -> Result<Outcome, PayoutError> {
        self.act(account, restraint, RestraintAct::Begun, reason).await
    }

    /// Pays an account again: all that was kept back is due.
    ///
    /// # Errors
    ///
    /// If the store fails, or the account is unknown.
    pub async fn lift(
        &mut self,
        account: AccountId,
        restraint: Restraint,
        reason: &str,
    ) -> Result<Outcome, PayoutError> {
        self.act(account, restraint, RestraintAct::Ended, reason).await
    }

    /// Keeps back what fell due of restrained accounts since the last time.
    pub(super) async fn sweep(&mut self, events: &mut Vec<PayoutEvent>) -> Result<(), PayoutError> {
        let mut accounts = 0;
        let in_force = self.store.restraints_in_force().await?;
        for restraint in Restraint::ALL {
            for row in in_force.iter().filter(|row| row.restraint == restraint) {
                let swept = self.act(row.account, restraint, RestraintAct::Swept, &row.reason).await?;
                accounts += usize::from(swept == Outcome::Done);
            }
        }
        if accounts > 0 {
            events.push(PayoutEvent::Swept { accounts });
        }
        Ok(())
    }

    /// Posts one act of a restraint, unless it changes nothing.
    async fn act(
        &mut self,
        account: AccountId,
        restraint: Restraint,
        act: RestraintAct,
        reason: &str,
    ) -> Result<Outcome, PayoutError> {
        for _ in 0..COMMIT_ATTEMPTS {
            let Some((entry, row)) = self.restraining(account, restraint, act, reason).await? else {
                return Ok(Outcome::Already);
            };
            if self.store.commit(Change { entry, rows: vec![Row::Restrained(row)] }).await? == Commit::Done {
                return Ok(Outcome::Done);
            }
        }
        Err(StoreError::Contended.into())
    }

    /// Works out the entry and the row of an act; nothing if it changes nothing.
    pub(super) async fn restraining(
        &self,
        account: AccountId,
        restraint: Restraint,
        act: RestraintAct,
        reason: &str,
    ) -> Result<Option<(Entry, RestraintRow)>, PayoutError> {
        orders::check_words(reason)?;
        let head = self.store.head().await?;
        self.store.due_of(account).await?.ok_or(Refusal::UnknownAccount(account))?;
        let last = self.store.restraint(account, restraint).await?;
        let is_in_force = last.as_ref().is_some_and(RestraintRow::is_in_force);
        let (payable, kept) = (LedgerAccount::MinerPayable(account), restraint.ledger_account(account));
        let (from, to) = if act == RestraintAct::Ended { (kept, payable) } else { (payable, kept) };
        let balance = self.store.balance(from).await?;
        let is_done = match act {
            RestraintAct::Begun => is_in_force,
            RestraintAct::Swept => !is_in_force || balance == SignedAmount::ZERO,
            RestraintAct::Ended => !is_in_force,
        };
        if is_done {
            return Ok(None);
        }
        let number = last.map_or(0, |last| last.number) + 1;
        let lines = moving(restraint.entry_kind(act), move_key(account, number), from, to, balance);
        let at_ms = now_ms();
        let entry = lines.balanced()?.seal(head, at_ms);
        let reason = reason.to_owned();
        let row = RestraintRow { entry: entry.seq, account, restraint, number, act, reason, at_ms };
        Ok(Some((entry, row)))
    }
}
