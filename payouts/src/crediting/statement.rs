//! Explains credits for work: works them out again from what was stored of the period, and compares with the ledger.

use std::{collections::BTreeMap, fmt};

use bitcoin::Amount;

use super::{Period, PeriodEarning, PeriodNumber, PeriodState, PeriodWork, earned_again};
use crate::{
    account::AccountId,
    books::write_assigned,
    ledger::{EntryKind, EntrySeq, LedgerAccount},
    scheme::beneficiary::{self, Assigned},
    store::{Store, StoreError},
};

/// Why a credit for work cannot be explained.
#[derive(Debug, thiserror::Error)]
pub enum StatementError {
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// There is no such period.
    #[error("there is no period {0}")]
    Unknown(PeriodNumber),
    /// The period is not paid yet.
    #[error("period {0} is not paid yet")]
    Unpaid(PeriodNumber),
    /// What is stored does not come to what the ledger credits.
    #[error(
        "period {period}: the ledger credits account {account} with {posted}, but what it follows from comes to {explained}"
    )]
    Unexplained {
        /// The period.
        period: PeriodNumber,
        /// Whose credit it is.
        account: AccountId,
        /// What the ledger says.
        posted: Amount,
        /// What follows from the work.
        explained: Amount,
    },
    /// The work does not come to what is stored that it earned.
    #[error("period {period}: the work of account {account} does not come to what is stored that it earned")]
    Earning {
        /// The period.
        period: PeriodNumber,
        /// Whose work it is.
        account: AccountId,
    },
}

/// An account's credit for work, which agrees with the ledger.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PeriodStatement {
    /// The period, which is paid.
    pub period: Period,
    /// Whose credit it is.
    pub account: AccountId,
    /// The account's work.
    pub work: Vec<PeriodWork>,
    /// What it came to; nothing if the account did not work.
    pub earning: Option<PeriodEarning>,
    /// What became of that, and what the account got of what others earned.
    pub assigned: Vec<Assigned>,
    /// What the account is credited in the end.
    pub credit: Amount,
    /// The ledger's entry that posted it.
    pub entry: EntrySeq,
    /// The part that payouts have taken so far.
    pub paid: Amount,
}

/// Explains what an account is credited for its work in a period. It needs nothing but the store.
///
/// # Errors
///
/// If the store fails, the period is not paid, or the ledger says something else.
pub async fn explain(
    store: &dyn Store,
    number: PeriodNumber,
    account: AccountId,
) -> Result<PeriodStatement, StatementError> {
    let period = store.period(number).await?.ok_or(StatementError::Unknown(number))?;
    let PeriodState::Credited(end, _, network_fees) = period.state else {
        return Err(StatementError::Unpaid(number));
    };
    let entry = store.entry(EntryKind::Credited, &number.to_string()).await?;
    let entry = entry.ok_or(StatementError::Unpaid(number))?;
    let work = store.period_work(number, account).await?;
    let earnings = store.period_earnings(number).await?;
    let earning = earnings.iter().find(|earning| earning.account == account).copied();
    if let Some(PeriodEarning { carried_in, earned, carried_out, .. }) = earning
        && earned_again(carried_in, period.scheme, network_fees, &work) != Some((earned, carried_out))
    {
        return Err(StatementError::Earning { period: number, account });
    }
    let earned: BTreeMap<_, _> = earnings.iter().map(|earning| (earning.account, earning.earned)).collect();
    let assigned = beneficiary::assignments(&earned, &store.wishes(end.upto).await?);
    let assigned: Vec<_> = assigned.into_iter().filter(|part| part.earner == account || part.to == account).collect();
    let credit = assigned.iter().filter(|part| part.to == account).map(|part| part.amount).sum();
    let posted = (-entry.amount(LedgerAccount::MinerPayable(account))).to_unsigned().unwrap_or_default();
    if posted != credit {
        return Err(StatementError::Unexplained { period: number, account, posted, explained: credit });
    }
    let lots = store.period_lots(number).await?;
    let paid = lots.iter().filter(|lot| lot.account == account).map(|lot| lot.paid).sum();
    Ok(PeriodStatement { period, account, work, earning, assigned, credit, entry: entry.seq, paid })
}

impl fmt::Display for PeriodStatement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Period { number, scheme, after, state, .. } = &self.period;
        let PeriodState::Credited(end, _, fees) = state else { return Err(fmt::Error) };
        writeln!(f, "Period    {number}: the share log behind {after}, up to {}", end.upto)?;
        writeln!(f, "Scheme    {scheme}")?;
        let (fees, subsidies) = (fees.fees().to_sat(), fees.subsidies().to_sat());
        match fees {
            0 => writeln!(f, "Fees      none of the network's blocks")?,
            fees => {
                writeln!(f, "Fees      {fees} / {subsidies} of the subsidy, as the network's blocks of the day paid")?
            }
        }
        writeln!(f, "Account   {}", self.account)?;
        for PeriodWork { nbits, subsidy, work, .. } in &self.work {
            let (sat, units) = (subsidy.to_sat(), work.to_decimal());
            writeln!(
                f,
                "Work      {units} / 2^32 of difficulty, at target {:08x} and {sat} sat",
                nbits.to_consensus()
            )?;
        }
        match self.earning {
            Some(PeriodEarning { carried_in, earned, carried_out, .. }) => {
                writeln!(f, "Fraction  {:.9} sat were left of the period before", carried_in.approximate())?;
                writeln!(
                    f,
                    "Earned    {} sat: work * subsidy / network difficulty, with fees, less the pool's",
                    earned.to_sat()
                )?;
                writeln!(f, "Fraction  {:.9} sat are left for the next", carried_out.approximate())?;
            }
            None => writeln!(f, "Work      none")?,
        }
        write_assigned(f, self.account, &self.assigned)?;
        writeln!(f, "Credit    {} sat", self.credit.to_sat())?;
        writeln!(f, "Ledger    entry {} says the same", self.entry)?;
        writeln!(f, "State     due; {} sat of it taken by payouts", self.paid.to_sat())
    }
}
