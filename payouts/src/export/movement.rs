//! What entries of the ledger mean to accounts: credits, payouts, and what undoes them. Pure.
//!
//! An account is owed what is immature, payable, held, blocked or reserved for it, less its debt. Moves between those are
//! no movements; whatever changes the sum is one. So for each account and any stretch of the ledger: what was owed at its
//! beginning, plus the movements, is what is owed at its end.

use std::collections::BTreeMap;

use bitcoin::{BlockHash, OutPoint, Txid};

use crate::{
    account::AccountId,
    ledger::{Entry, EntryKind, EntrySeq, LedgerAccount},
    payout::{Batch, BatchId},
};

/// What kind of thing changed what an account is owed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum MovementKind {
    /// A block, or work, was credited.
    Credit,
    /// A block left the chain: its credit was undone.
    CreditReversed,
    /// The account bore a part of a payout's network fee.
    NetworkFee,
    /// A payout was given back, and with it that part.
    NetworkFeeReturned,
    /// An output in a block paid it.
    Payout,
    /// That block left the chain.
    PayoutReversed,
    /// A coinbase paid it directly.
    DirectPayment,
}

impl MovementKind {
    /// Returns the text form that reports use.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Credit => "CREDIT",
            Self::CreditReversed => "CREDIT_REVERSED",
            Self::NetworkFee => "NETWORK_FEE",
            Self::NetworkFeeReturned => "NETWORK_FEE_RETURNED",
            Self::Payout => "PAYOUT",
            Self::PayoutReversed => "PAYOUT_REVERSED",
            Self::DirectPayment => "DIRECT_PAYMENT",
        }
    }
}

/// One change of what an account is owed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Movement {
    /// The entry that made it.
    pub entry: EntrySeq,
    /// When that was posted, in milliseconds since 1970 UTC.
    pub at_ms: i64,
    /// The account.
    pub account: AccountId,
    /// What kind of thing it is.
    pub kind: MovementKind,
    /// Satoshis more (positive) or less that are owed.
    pub sat: i64,
    /// The block that was credited, or left.
    pub block: Option<BlockHash>,
    /// The output that paid.
    pub delivery: Option<OutPoint>,
    /// The entry that it undoes.
    pub corrects: Option<EntrySeq>,
}

/// What an account is owed, by where it stands. Satoshis; debt makes the first negative.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Owed {
    /// Due, or due when its blocks are mature, less debt.
    pub payable: i64,
    /// Of that, credits of blocks that are not mature.
    pub immature: i64,
    /// Kept back.
    pub held: i64,
    /// Not to be paid.
    pub blocked: i64,
    /// In a payout that is not confirmed.
    pub reserved: i64,
}

impl Owed {
    /// Returns the sum.
    pub fn sum(self) -> i64 {
        self.payable + self.held + self.blocked + self.reserved
    }
}

/// What a batch pays, as far as accounts are concerned.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BatchShare {
    /// The account.
    pub account: AccountId,
    /// The output's number.
    pub vout: u32,
    /// What the output pays, in satoshis.
    pub pays: i64,
}

/// Why entries could not be understood.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum MovementError {
    /// An entry names a batch that is not given.
    #[error("entry {0} is about batch {1}, which is unknown")]
    Batch(EntrySeq, BatchId),
    /// An entry's key is not of its kind.
    #[error("entry {0} has the key {1:?}, which tells no transaction")]
    Key(EntrySeq, String),
    /// A sum passes 64 bits.
    #[error("entry {0}: a sum passes 64 bits")]
    Overflow(EntrySeq),
}

/// Follows the ledger from its first entry on.
#[derive(Clone, Debug, Default)]
pub struct Movements {
    owed: BTreeMap<AccountId, Owed>,
    /// What confirmations were booked, to know what a reversal undoes.
    confirmed: BTreeMap<EntrySeq, (BatchId, Txid)>,
}

impl Movements {
    /// Returns what each account is owed now.
    pub fn owed(&self) -> &BTreeMap<AccountId, Owed> {
        &self.owed
    }

    /// Takes in the next entry, and returns what it changes. `batch` knows what batches pay.
    ///
    /// # Errors
    ///
    /// If the entry names what is not known, which a sound ledger does not.
    pub fn note(
        &mut self,
        entry: &Entry,
        batch: impl Fn(BatchId) -> Option<Vec<BatchShare>>,
    ) -> Result<Vec<Movement>, MovementError> {
        let before = self.changed_by(entry);
        let shares = |id| batch(id).ok_or(MovementError::Batch(entry.seq, id));
        let reserved = entry.postings.iter().find_map(|posting| match posting.account {
            LedgerAccount::Reserved(id) => Some(id),
            _ => None,
        });
        let mut movements = Vec::new();
        match (entry.kind, reserved) {
            (EntryKind::PayoutCreated, Some(id)) => self.reserve(&shares(id)?, 1),
            (EntryKind::Confirmed, Some(id)) => {
                let txid = entry.key.split(':').next().and_then(|txid| txid.parse().ok());
                let txid = txid.ok_or_else(|| MovementError::Key(entry.seq, entry.key.clone()))?;
                self.confirmed.insert(entry.seq, (id, txid));
                let shares = shares(id)?;
                self.reserve(&shares, -1);
                movements.extend(paid(entry, txid, &shares, MovementKind::Payout, -1));
            }
            (EntryKind::Reversed, Some(id)) => match entry.corrects.and_then(|entry| self.confirmed.get(&entry)) {
                Some(&(_, txid)) => {
                    let shares = shares(id)?;
                    self.reserve(&shares, 1);
                    movements.extend(paid(entry, txid, &shares, MovementKind::PayoutReversed, 1));
                }
                None => self.reserve(&shares(id)?, -1),
            },
            _ => {}
        }
        self.post(entry)?;
        for (account, before) in before {
            let change = self.owed.get(&account).copied().unwrap_or_default().sum() - before;
            let paid: i64 = movements.iter().filter(|paid| paid.account == account).map(|paid| paid.sat).sum();
            if change != paid {
                let sat = change - paid;
                let kind = kind_of(entry.kind, sat);
                let block = block_of(entry);
                let (at_ms, corrects) = (entry.at_ms, entry.corrects);
                movements.push(Movement {
                    entry: entry.seq,
                    at_ms,
                    account,
                    kind,
                    sat,
                    block,
                    delivery: None,
                    corrects,
                });
            }
        }
        Ok(movements)
    }

    /// Returns what the accounts that an entry posts to were owed before it.
    fn changed_by(&self, entry: &Entry) -> BTreeMap<AccountId, i64> {
        let accounts = entry.postings.iter().filter_map(|posting| account_of(posting.account));
        accounts.map(|account| (account, self.owed.get(&account).copied().unwrap_or_default().sum())).collect()
    }

    fn reserve(&mut self, shares: &[BatchShare], sign: i64) {
        for share in shares {
            self.owed.entry(share.account).or_default().reserved += sign * share.pays;
        }
    }

    fn post(&mut self, entry: &Entry) -> Result<(), MovementError> {
        for posting in &entry.postings {
            let Some(account) = account_of(posting.account) else { continue };
            // What the pool owes is negative in the ledger.
            let sat = posting.amount.to_sat().checked_neg().ok_or(MovementError::Overflow(entry.seq))?;
            let owed = self.owed.entry(account).or_default();
            let sum = match posting.account {
                LedgerAccount::Held(_) => &mut owed.held,
                LedgerAccount::Blocked(_) => &mut owed.blocked,
                _ => &mut owed.payable,
            };
            *sum = sum.checked_add(sat).ok_or(MovementError::Overflow(entry.seq))?;
            if let LedgerAccount::MinerImmature(_) = posting.account {
                owed.immature += sat;
            }
        }
        Ok(())
    }
}

/// Returns what a batch pays to whom. Coin that is sold was never owed to anybody.
pub fn shares_of(batch: &Batch) -> Vec<BatchShare> {
    let share = |output: &crate::payout::PaidOutput| BatchShare {
        account: output.due.account,
        vout: output.vout,
        pays: i64::try_from(output.pays().to_sat()).unwrap_or(i64::MAX),
    };
    batch.outputs.iter().filter(|output| !output.is_sold()).map(share).collect()
}

fn paid(
    entry: &Entry,
    txid: Txid,
    shares: &[BatchShare],
    kind: MovementKind,
    sign: i64,
) -> impl Iterator<Item = Movement> {
    shares.iter().map(move |share| Movement {
        entry: entry.seq,
        at_ms: entry.at_ms,
        account: share.account,
        kind,
        sat: sign * share.pays,
        block: None,
        delivery: Some(OutPoint::new(txid, share.vout)),
        corrects: entry.corrects,
    })
}

/// Returns the account whose owner an account of the ledger is about.
fn account_of(account: LedgerAccount) -> Option<AccountId> {
    match account {
        LedgerAccount::MinerDebt(id)
        | LedgerAccount::MinerImmature(id)
        | LedgerAccount::MinerPayable(id)
        | LedgerAccount::Held(id)
        | LedgerAccount::Blocked(id) => Some(id),
        _ => None,
    }
}

/// Names a change that no output made.
fn kind_of(kind: EntryKind, sat: i64) -> MovementKind {
    match kind {
        EntryKind::DirectPaid => MovementKind::DirectPayment,
        EntryKind::PayoutCreated => MovementKind::NetworkFee,
        EntryKind::Reversed => MovementKind::NetworkFeeReturned,
        _ if sat < 0 => MovementKind::CreditReversed,
        _ => MovementKind::Credit,
    }
}

/// Returns the block that an entry is about, if its key names one. The key of a direct payment is the output; the block
/// is the one whose coins it took.
fn block_of(entry: &Entry) -> Option<BlockHash> {
    if entry.kind == EntryKind::DirectPaid {
        return entry.postings.iter().find_map(|posting| match posting.account {
            LedgerAccount::Immature(block) => Some(block),
            _ => None,
        });
    }
    entry.key.split(':').next().and_then(|hash| hash.parse().ok())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use bitcoin::{Amount, hashes::Hash};

    use super::*;
    use crate::ledger::{Draft, DraftLines, Head};

    const MINER: AccountId = AccountId::new(1);
    const BATCH: BatchId = BatchId::new(1);

    struct Books {
        movements: Movements,
        head: Head,
    }

    impl Books {
        fn new() -> Self {
            Self { movements: Movements::default(), head: Head::EMPTY }
        }

        /// Posts an entry, and returns what it changed: kinds and satoshis.
        fn post(&mut self, lines: DraftLines) -> Vec<(MovementKind, i64)> {
            let entry = lines.balanced().unwrap().seal(self.head, 7);
            self.head = entry.head();
            let shares = |_| Some(vec![BatchShare { account: MINER, vout: 0, pays: 90 }]);
            let movements = self.movements.note(&entry, shares).unwrap();
            movements.iter().map(|movement| (movement.kind, movement.sat)).collect()
        }

        fn owed(&self) -> Owed {
            self.movements.owed()[&MINER]
        }
    }

    fn sat(sat: u64) -> Amount {
        Amount::from_sat(sat)
    }

    fn block() -> BlockHash {
        BlockHash::from_byte_array([9; 32])
    }

    fn found(kind: EntryKind) -> DraftLines {
        Draft::begin(kind, block())
            .debit(LedgerAccount::Immature(block()), sat(100))
            .credit(LedgerAccount::MinerImmature(MINER), sat(100))
    }

    fn matured() -> DraftLines {
        Draft::begin(EntryKind::Matured, format!("{}:0", block()))
            .debit(LedgerAccount::MinerImmature(MINER), sat(100))
            .credit(LedgerAccount::MinerPayable(MINER), sat(100))
    }

    fn created() -> DraftLines {
        Draft::begin(EntryKind::PayoutCreated, BATCH)
            .debit(LedgerAccount::MinerPayable(MINER), sat(100))
            .credit(LedgerAccount::Reserved(BATCH), sat(90))
            .credit(LedgerAccount::NetworkFee, sat(10))
    }

    fn confirmed() -> DraftLines {
        let txid = Txid::from_byte_array([3; 32]);
        Draft::begin(EntryKind::Confirmed, format!("{txid}:{}:0", block()))
            .debit(LedgerAccount::Reserved(BATCH), sat(90))
            .credit(LedgerAccount::Spendable, sat(90))
    }

    #[test]
    fn credit_payout_and_fee_are_movements_and_what_lies_between_is_not() {
        let mut books = Books::new();
        assert_eq!(books.post(found(EntryKind::BlockFound)), [(MovementKind::Credit, 100)]);
        assert_eq!((books.owed().immature, books.owed().sum()), (100, 100));
        assert_eq!(books.post(matured()), []);
        let held = Draft::begin(EntryKind::Held, "1:1")
            .debit(LedgerAccount::MinerPayable(MINER), sat(100))
            .credit(LedgerAccount::Held(MINER), sat(100));
        assert_eq!(books.post(held), []);
        assert_eq!(books.owed(), Owed { held: 100, ..Owed::default() });
        let released = Draft::begin(EntryKind::Released, "1:2")
            .debit(LedgerAccount::Held(MINER), sat(100))
            .credit(LedgerAccount::MinerPayable(MINER), sat(100));
        assert_eq!(books.post(released), []);
        assert_eq!(books.post(created()), [(MovementKind::NetworkFee, -10)]);
        assert_eq!(books.owed(), Owed { reserved: 90, ..Owed::default() });
        assert_eq!(books.post(confirmed()), [(MovementKind::Payout, -90)]);
        assert_eq!(books.owed().sum(), 0);
    }

    #[test]
    fn what_is_undone_is_listed_beside_what_it_undoes() {
        let mut books = Books::new();
        books.post(found(EntryKind::BlockFound));
        books.post(matured());
        books.post(created());
        books.post(confirmed());
        let confirmed_entry = books.head.seq;
        let reversal = Draft::begin(EntryKind::Reversed, "1:reorganised")
            .debit(LedgerAccount::Spendable, sat(90))
            .credit(LedgerAccount::Reserved(BATCH), sat(90))
            .corrects(confirmed_entry);
        assert_eq!(books.post(reversal), [(MovementKind::PayoutReversed, 90)]);
        let given_back = Draft::begin(EntryKind::Reversed, "1:conflict")
            .debit(LedgerAccount::Reserved(BATCH), sat(90))
            .debit(LedgerAccount::NetworkFee, sat(10))
            .credit(LedgerAccount::MinerPayable(MINER), sat(100))
            .corrects(EntrySeq::new(3));
        assert_eq!(books.post(given_back), [(MovementKind::NetworkFeeReturned, 10)]);
        let orphaned = Draft::begin(EntryKind::Orphaned, format!("{}:1", block()))
            .debit(LedgerAccount::MinerPayable(MINER), sat(100))
            .credit(LedgerAccount::Immature(block()), sat(100));
        assert_eq!(books.post(orphaned), [(MovementKind::CreditReversed, -100)]);
        assert_eq!(books.owed(), Owed::default());
    }

    #[test]
    fn coin_of_a_block_that_left_after_it_was_paid_is_a_debt() {
        let mut books = Books::new();
        books.post(found(EntryKind::BlockFound));
        books.post(matured());
        books.post(created());
        books.post(confirmed());
        let orphaned = Draft::begin(EntryKind::Orphaned, format!("{}:1", block()))
            .debit(LedgerAccount::MinerDebt(MINER), sat(100))
            .credit(LedgerAccount::Immature(block()), sat(100));
        assert_eq!(books.post(orphaned), [(MovementKind::CreditReversed, -100)]);
        assert_eq!(books.owed(), Owed { payable: -100, ..Owed::default() });
    }

    #[test]
    fn what_a_coinbase_paid_directly_names_its_block() {
        let mut books = Books::new();
        books.post(found(EntryKind::BlockFound));
        let output = OutPoint::new(Txid::from_byte_array([4; 32]), 1);
        let paid = Draft::begin(EntryKind::DirectPaid, output)
            .debit(LedgerAccount::MinerImmature(MINER), sat(30))
            .credit(LedgerAccount::Immature(block()), sat(30));
        let entry = paid.balanced().unwrap().seal(books.head, 7);
        let movements = books.movements.note(&entry, |_| None).unwrap();
        let told: Vec<_> = movements.iter().map(|movement| (movement.kind, movement.sat, movement.block)).collect();
        assert_eq!(told, [(MovementKind::DirectPayment, -30, Some(block()))]);
    }

    #[test]
    fn batch_that_nobody_knows_is_an_error() {
        let mut movements = Movements::default();
        let entry = created().balanced().unwrap().seal(Head::EMPTY, 0);
        assert_eq!(movements.note(&entry, |_| None), Err(MovementError::Batch(entry.seq, BATCH)));
    }
}
