//! What the history of restrained accounts must look like, told by its entries alone.

use std::collections::BTreeMap;

use super::{
    PAGE,
    rows::{RowFault, missing, same, unknown},
};
use crate::{
    account::AccountId,
    ledger::{Entry, EntryKind, EntrySeq, LedgerAccount},
    payout::{Restraint, RestraintAct, RestraintRow, restraint::move_key},
    store::{Store, StoreError},
};

/// The acts that entries tell of.
#[derive(Debug, Default)]
pub(super) struct PostedRestraints {
    /// By their entries, in the order of these.
    acts: BTreeMap<EntrySeq, Posted>,
    /// The last act of each account and restraint.
    last: BTreeMap<(AccountId, Restraint), (u32, RestraintAct)>,
}

#[derive(Debug)]
struct Posted {
    account: AccountId,
    restraint: Restraint,
    number: u32,
    act: RestraintAct,
}

impl PostedRestraints {
    /// Follows an entry that keeps credits back or lets them go.
    pub(super) fn follow(&mut self, entry: &Entry) -> Option<()> {
        let (restraint, is_end) = match entry.kind {
            EntryKind::Held => (Restraint::Held, false),
            EntryKind::Released => (Restraint::Held, true),
            EntryKind::Blocked => (Restraint::Blocked, false),
            EntryKind::Unblocked => (Restraint::Blocked, true),
            _ => return None,
        };
        let (account, number) = entry.key.split_once(':')?;
        let (account, number) = (AccountId::new(account.parse().ok()?), number.parse().ok()?);
        let (before, last) = self.last.get(&(account, restraint)).copied().unwrap_or((0, RestraintAct::Ended));
        let act = match (is_end, last) {
            (true, RestraintAct::Ended) => return None,
            (true, _) => RestraintAct::Ended,
            (false, RestraintAct::Ended) => RestraintAct::Begun,
            (false, _) => RestraintAct::Swept,
        };
        let accounts = [LedgerAccount::MinerPayable(account), restraint.ledger_account(account)];
        let follows = number == before + 1
            && entry.key == move_key(account, number)
            && entry.postings.iter().all(|posting| accounts.contains(&posting.account));
        self.last.insert((account, restraint), (number, act));
        self.acts.insert(entry.seq, Posted { account, restraint, number, act });
        follows.then_some(())
    }

    /// Compares the store's rows.
    pub(super) async fn compare(&self, store: &dyn Store) -> Result<Result<(), RowFault>, StoreError> {
        let mut posted = self.acts.iter();
        let mut after = EntrySeq::new(0);
        loop {
            let page = store.restraint_rows(after, PAGE).await?;
            let Some(newest) = page.last() else { break };
            after = newest.entry;
            for row in &page {
                if let Err(fault) = check(row, posted.next()) {
                    return Ok(Err(fault));
                }
            }
        }
        Ok(match posted.next() {
            Some((&entry, _)) => Err(missing("restraints", entry, entry)),
            None => Ok(()),
        })
    }
}

fn check(row: &RestraintRow, posted: Option<(&EntrySeq, &Posted)>) -> Result<(), RowFault> {
    let id = row.entry;
    let Some((&entry, posted)) = posted.filter(|(entry, _)| **entry <= id) else {
        return Err(unknown("restraints", id));
    };
    if entry < id {
        return Err(missing("restraints", entry, entry));
    }
    same("restraints", id, "account", row.account, posted.account)?;
    same("restraints", id, "restraint", row.restraint.as_str(), posted.restraint.as_str())?;
    same("restraints", id, "number", row.number, posted.number)?;
    same("restraints", id, "act", row.act.as_str(), posted.act.as_str())
}
