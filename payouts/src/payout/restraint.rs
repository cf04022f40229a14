//! Accounts that are not paid for a while, though their credits fall due: held back by an operator, or blocked.
//!
//! Owns what a restraint is and its entries. What falls due of a restrained account is moved aside at each step of the
//! payer; when the restraint ends, all of it is due again.

use bitcoin::SignedAmount;

use crate::{
    account::AccountId,
    export::rules::state::RecordState,
    ledger::{Draft, DraftLines, EntryKind, EntrySeq, LedgerAccount},
};

/// Why an account is not paid.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Restraint {
    /// An operator keeps its credits back.
    Held,
    /// It may not be paid. It goes before a hold: what falls due of an account under both is blocked.
    Blocked,
}

impl Restraint {
    /// Both, in the order in which they take what falls due.
    pub const ALL: [Self; 2] = [Self::Blocked, Self::Held];

    /// Returns the text form that stores keep.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Held => "held",
            Self::Blocked => "blocked",
        }
    }

    /// Returns the state of records of the account that are not delivered yet.
    pub fn record_state(self) -> RecordState {
        match self {
            Self::Held => RecordState::Held,
            Self::Blocked => RecordState::Blocked,
        }
    }

    /// Returns the ledger account that has what is kept back.
    pub fn ledger_account(self, account: AccountId) -> LedgerAccount {
        match self {
            Self::Held => LedgerAccount::Held(account),
            Self::Blocked => LedgerAccount::Blocked(account),
        }
    }

    /// Returns the kind of the entry that an act is posted by.
    pub(crate) fn entry_kind(self, act: RestraintAct) -> EntryKind {
        match (self, act) {
            (Self::Held, RestraintAct::Begun | RestraintAct::Swept) => EntryKind::Held,
            (Self::Held, RestraintAct::Ended) => EntryKind::Released,
            (Self::Blocked, RestraintAct::Begun | RestraintAct::Swept) => EntryKind::Blocked,
            (Self::Blocked, RestraintAct::Ended) => EntryKind::Unblocked,
        }
    }
}

/// What happened to a restraint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RestraintAct {
    /// It was laid on the account, and took what was due.
    Begun,
    /// It took what fell due since.
    Swept,
    /// It was lifted, and gave back what it had.
    Ended,
}

impl RestraintAct {
    /// Returns the text form that stores keep.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Begun => "begun",
            Self::Swept => "swept",
            Self::Ended => "ended",
        }
    }
}

/// One act in the history of an account's restraints; each came with one entry of the ledger.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RestraintRow {
    /// The entry.
    pub entry: EntrySeq,
    /// Whose credits.
    pub account: AccountId,
    /// Which restraint.
    pub restraint: Restraint,
    /// The act's number within this account and restraint: 1, 2, 3 and so on.
    pub number: u32,
    /// What happened.
    pub act: RestraintAct,
    /// Why it was begun or ended, in an operator's words; of a sweep, why it was begun.
    pub reason: String,
    /// When, in milliseconds since 1970 UTC.
    pub at_ms: i64,
}

impl RestraintRow {
    /// Tells whether the restraint is in force after this act.
    pub fn is_in_force(&self) -> bool {
        self.act != RestraintAct::Ended
    }
}

/// The key of the entry of an act.
pub(crate) fn move_key(account: AccountId, number: u32) -> String {
    format!("{account}:{number}")
}

/// The lines that move all of `balance` from one liability to another. What an account is due may be negative for a
/// while: when the block leaves the chain of which credits were kept back.
pub(crate) fn moving(
    kind: EntryKind,
    key: String,
    from: LedgerAccount,
    to: LedgerAccount,
    balance: SignedAmount,
) -> DraftLines {
    let amount = balance.unsigned_abs();
    let (debited, credited) = if balance.is_negative() { (from, to) } else { (to, from) };
    Draft::begin(kind, key).debit(debited, amount).credit(credited, amount)
}
