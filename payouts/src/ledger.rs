//! The ledger: accounts, entries in double entry, and the hash chain over them. Pure; a store keeps what is made here.
//!
//! Amounts are signed satoshis: a debit is positive, a credit negative, so every entry sums to zero and assets have
//! positive balances, liabilities and equity negative ones. An entry is known by its kind and key: the same again is
//! the same entry, and other content under the same key is an error. Nothing is ever changed or removed.

use std::{collections::BTreeMap, fmt, str::FromStr};

use bitcoin::{Amount, BlockHash, SignedAmount};

use crate::{
    account::AccountId,
    hash_chain::{Canonical, ChainHash},
    id::row_id,
    payout::BatchId,
};

/// What the hash of an entry's content begins with.
const PAYLOAD_DOMAIN: &str = "adit ledger payload 1";
/// What the hash of an entry in its place begins with.
const ENTRY_DOMAIN: &str = "adit ledger entry 1";

row_id! {
    /// An entry's place in the ledger: 1, 2, 3 and so on without gaps.
    EntrySeq
}

/// What can go wrong with an entry.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum LedgerError {
    /// Debits and credits differ.
    #[error("postings of {kind} {key} sum to {sum} instead of zero")]
    Unbalanced {
        /// The entry's kind.
        kind: EntryKind,
        /// The entry's key.
        key: String,
        /// What they sum to.
        sum: SignedAmount,
    },
    /// A sum does not fit in 64 bits.
    #[error("an amount overflows in {kind} {key}")]
    Overflow {
        /// The entry's kind.
        kind: EntryKind,
        /// The entry's key.
        key: String,
    },
    /// A stored name is not one of ours.
    #[error("unknown ledger name {0:?}")]
    UnknownName(String),
}

/// An account of the ledger. Its text form, by `Display` and `FromStr`, is what stores keep.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum LedgerAccount {
    /// Asset: the coinbase of a block that is not mature.
    Immature(BlockHash),
    /// Asset: coins that can be spent.
    Spendable,
    /// Asset: coins that left with a batch and are not confirmed as gone.
    InFlight(BatchId),
    /// Asset: what a miner was paid from a block that later left the chain.
    MinerDebt(AccountId),
    /// Liability: credits of blocks that are not mature.
    MinerImmature(AccountId),
    /// Liability: credits that are due.
    MinerPayable(AccountId),
    /// Liability: what a batch is about to pay.
    Reserved(BatchId),
    /// Equity: the pool's part of blocks that are not mature.
    FeeImmature,
    /// Equity: the pool's part.
    Fee,
    /// Expense: what payouts paid to the miners of the network.
    NetworkFee,
}

impl fmt::Display for LedgerAccount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Immature(block) => write!(f, "immature:{block}"),
            Self::Spendable => f.write_str("spendable"),
            Self::InFlight(batch) => write!(f, "in_flight:{batch}"),
            Self::MinerDebt(account) => write!(f, "miner_debt:{account}"),
            Self::MinerImmature(account) => write!(f, "miner_immature:{account}"),
            Self::MinerPayable(account) => write!(f, "miner_payable:{account}"),
            Self::Reserved(batch) => write!(f, "reserved:{batch}"),
            Self::FeeImmature => f.write_str("fee_immature"),
            Self::Fee => f.write_str("fee"),
            Self::NetworkFee => f.write_str("network_fee"),
        }
    }
}

impl FromStr for LedgerAccount {
    type Err = LedgerError;

    fn from_str(text: &str) -> Result<Self, LedgerError> {
        let unknown = || LedgerError::UnknownName(text.to_owned());
        let (name, subject) = text.split_once(':').map_or((text, None), |(name, subject)| (name, Some(subject)));
        let number = || subject.and_then(|subject| subject.parse::<i64>().ok()).ok_or_else(unknown);
        match (name, subject) {
            ("immature", Some(block)) => block.parse().map(Self::Immature).map_err(|_| unknown()),
            ("in_flight", _) => number().map(BatchId::new).map(Self::InFlight),
            ("miner_debt", _) => number().map(AccountId::new).map(Self::MinerDebt),
            ("miner_immature", _) => number().map(AccountId::new).map(Self::MinerImmature),
            ("miner_payable", _) => number().map(AccountId::new).map(Self::MinerPayable),
            ("reserved", _) => number().map(BatchId::new).map(Self::Reserved),
            ("spendable", None) => Ok(Self::Spendable),
            ("fee_immature", None) => Ok(Self::FeeImmature),
            ("fee", None) => Ok(Self::Fee),
            ("network_fee", None) => Ok(Self::NetworkFee),
            _ => Err(unknown()),
        }
    }
}

/// What an entry records. The key that goes with each is given in brackets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum EntryKind {
    /// A block of ours was found and split (`block`).
    BlockFound,
    /// Its coinbase can be spent, its credits are due (`block:epoch`).
    Matured,
    /// It is not mature any more: its maturing undone (`block:epoch`).
    Unmatured,
    /// It left the best chain: its split undone (`block:epoch`).
    Orphaned,
    /// It came back: its split posted again (`block:epoch`).
    Reconnected,
    /// Balances were reserved for a batch (`batch`).
    PayoutCreated,
    /// The batch's transaction was given to the network (`txid`).
    Broadcast,
    /// The batch's transaction is in a block (`txid:block:epoch`).
    Confirmed,
    /// A confirmation was undone (`batch:cause`).
    Reversed,
}

impl EntryKind {
    const ALL: [(Self, &'static str); 9] = [
        (Self::BlockFound, "block_found"),
        (Self::Matured, "matured"),
        (Self::Unmatured, "unmatured"),
        (Self::Orphaned, "orphaned"),
        (Self::Reconnected, "reconnected"),
        (Self::PayoutCreated, "payout_created"),
        (Self::Broadcast, "broadcast"),
        (Self::Confirmed, "confirmed"),
        (Self::Reversed, "reversed"),
    ];

    /// Returns the text form that stores keep.
    pub fn as_str(self) -> &'static str {
        Self::ALL.iter().find(|(kind, _)| *kind == self).expect("every kind is listed").1
    }
}

impl fmt::Display for EntryKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for EntryKind {
    type Err = LedgerError;

    fn from_str(text: &str) -> Result<Self, LedgerError> {
        let found = Self::ALL.iter().find(|(_, name)| *name == text);
        found.map(|(kind, _)| *kind).ok_or_else(|| LedgerError::UnknownName(text.to_owned()))
    }
}

/// One line of an entry: a debit (positive) or a credit (negative).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Posting {
    /// Where it is posted.
    pub account: LedgerAccount,
    /// How much.
    pub amount: SignedAmount,
}

/// An entry that has no place in the ledger yet. It sums to zero.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Draft {
    kind: EntryKind,
    key: String,
    corrects: Option<EntrySeq>,
    postings: Vec<Posting>,
}

impl Draft {
    /// Begins an entry.
    pub fn begin(kind: EntryKind, key: impl fmt::Display) -> DraftLines {
        DraftLines { kind, key: key.to_string(), corrects: None, lines: BTreeMap::new(), overflow: false }
    }

    /// Returns the digest of its content: the same for the same entry, whenever and wherever it is posted.
    pub fn digest(&self) -> ChainHash {
        ChainHash::link(PAYLOAD_DOMAIN, ChainHash::ORIGIN, &self.canonical())
    }

    /// Gives it the place after `head`.
    pub fn seal(self, head: Head, at_ms: i64) -> Entry {
        let seq = EntrySeq::new(head.seq.get() + 1);
        let hash = entry_hash(&self, head.hash, seq, at_ms);
        let digest = self.digest();
        let Self { kind, key, corrects, postings } = self;
        Entry { seq, kind, key, corrects, at_ms, postings, digest, previous: head.hash, hash }
    }

    fn canonical(&self) -> Canonical {
        Canonical::default()
            .text(self.kind.as_str())
            .text(&self.key)
            .number(self.corrects.map_or(0, EntrySeq::get))
            .list(&self.postings, |bytes, posting| bytes.display(posting.account).number(posting.amount.to_sat()))
    }
}

/// An entry while its lines are written. Amounts to the same account add up, and lines of zero vanish.
#[derive(Debug)]
pub struct DraftLines {
    kind: EntryKind,
    key: String,
    corrects: Option<EntrySeq>,
    lines: BTreeMap<LedgerAccount, i64>,
    overflow: bool,
}

impl DraftLines {
    /// Names the entry that this one undoes.
    pub fn corrects(mut self, entry: EntrySeq) -> Self {
        self.corrects = Some(entry);
        self
    }

    /// Adds a debit.
    pub fn debit(self, account: LedgerAccount, amount: Amount) -> Self {
        let amount = i64::try_from(amount.to_sat()).ok();
        self.post(account, amount)
    }

    /// Adds a credit.
    pub fn credit(self, account: LedgerAccount, amount: Amount) -> Self {
        let amount = i64::try_from(amount.to_sat()).ok().map(|sat| -sat);
        self.post(account, amount)
    }

    fn post(mut self, account: LedgerAccount, amount: Option<i64>) -> Self {
        let line = self.lines.entry(account).or_default();
        match amount.and_then(|amount| line.checked_add(amount)) {
            Some(sum) => *line = sum,
            None => self.overflow = true,
        }
        self
    }

    /// Turns every debit into a credit and the reverse.
    pub fn reversed(mut self) -> Self {
        for line in self.lines.values_mut() {
            // No line is i64::MIN: credits are negated positive numbers, and sums are checked.
            *line = line.saturating_neg();
        }
        self
    }

    /// Ends the entry.
    ///
    /// # Errors
    ///
    /// If debits and credits differ, or an amount does not fit.
    pub fn balanced(self) -> Result<Draft, LedgerError> {
        let Self { kind, key, corrects, lines, overflow } = self;
        let sum: i128 = lines.values().map(|&line| i128::from(line)).sum();
        let Ok(sum) = i64::try_from(sum) else {
            return Err(LedgerError::Overflow { kind, key });
        };
        if overflow {
            return Err(LedgerError::Overflow { kind, key });
        }
        if sum != 0 {
            return Err(LedgerError::Unbalanced { kind, key, sum: SignedAmount::from_sat(sum) });
        }
        let posting = |(account, sat): (LedgerAccount, i64)| Posting { account, amount: SignedAmount::from_sat(sat) };
        let postings = lines.into_iter().filter(|(_, sat)| *sat != 0).map(posting).collect();
        Ok(Draft { kind, key, corrects, postings })
    }
}

/// The last entry of a ledger, by place and hash: it stands for everything before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Head {
    /// The place of the last entry; 0 for none.
    pub seq: EntrySeq,
    /// Its hash.
    pub hash: ChainHash,
}

impl Head {
    /// The head of a ledger without entries.
    pub const EMPTY: Self = Self { seq: EntrySeq::new(0), hash: ChainHash::ORIGIN };
}

/// An entry in its place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Its place.
    pub seq: EntrySeq,
    /// What it records.
    pub kind: EntryKind,
    /// What it is about; unique within its kind.
    pub key: String,
    /// The entry that it undoes.
    pub corrects: Option<EntrySeq>,
    /// When it was posted, in milliseconds since 1970 UTC.
    pub at_ms: i64,
    /// Its lines, in the order of their accounts; they sum to zero.
    pub postings: Vec<Posting>,
    /// The digest of its content.
    pub digest: ChainHash,
    /// The hash of the entry before it.
    pub previous: ChainHash,
    /// Its hash.
    pub hash: ChainHash,
}

impl Entry {
    /// Returns the ledger's head once this entry is its last.
    pub fn head(&self) -> Head {
        Head { seq: self.seq, hash: self.hash }
    }

    /// Returns what it posts to an account.
    pub fn amount(&self, account: LedgerAccount) -> SignedAmount {
        let line = self.postings.iter().find(|posting| posting.account == account);
        line.map_or(SignedAmount::ZERO, |posting| posting.amount)
    }

    fn draft(&self) -> Draft {
        Draft { kind: self.kind, key: self.key.clone(), corrects: self.corrects, postings: self.postings.clone() }
    }
}

fn entry_hash(draft: &Draft, previous: ChainHash, seq: EntrySeq, at_ms: i64) -> ChainHash {
    ChainHash::link(ENTRY_DOMAIN, previous, &draft.canonical().number(seq.get()).number(at_ms))
}

/// Where a ledger is wrong.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum Discrepancy {
    /// An entry is missing or out of order.
    #[error("entry {found} stands where entry {expected} should")]
    Place {
        /// The place that follows the entry before.
        expected: EntrySeq,
        /// The place it claims.
        found: EntrySeq,
    },
    /// An entry does not follow the one before it.
    #[error("entry {0} does not continue the chain")]
    Chain(EntrySeq),
    /// An entry's content is not what its digest or hash covers.
    #[error("entry {0} was changed after it was posted")]
    Content(EntrySeq),
    /// An entry's lines do not sum to zero.
    #[error("entry {0} does not sum to zero")]
    Unbalanced(EntrySeq),
    /// An entry undoes one that does not stand before it.
    #[error("entry {0} corrects an entry that is not before it")]
    Correction(EntrySeq),
    /// The balance kept for an account is not the sum of its postings.
    #[error("account {account} has balance {kept}, but its postings sum to {recomputed}")]
    Balance {
        /// The account.
        account: LedgerAccount,
        /// The stored balance.
        kept: SignedAmount,
        /// The sum of all postings.
        recomputed: SignedAmount,
    },
}

/// Recomputes a ledger from its entries alone, one after the other.
#[derive(Debug)]
pub struct Audit {
    head: Head,
    sums: BTreeMap<LedgerAccount, i128>,
}

impl Default for Audit {
    fn default() -> Self {
        Self { head: Head::EMPTY, sums: BTreeMap::new() }
    }
}

impl Audit {
    /// Checks the next entry.
    ///
    /// # Errors
    ///
    /// Names the entry if it is not exactly what was posted after the one before.
    pub fn check(&mut self, entry: &Entry) -> Result<(), Discrepancy> {
        let expected = EntrySeq::new(self.head.seq.get() + 1);
        if entry.seq != expected {
            return Err(Discrepancy::Place { expected, found: entry.seq });
        }
        if entry.previous != self.head.hash {
            return Err(Discrepancy::Chain(entry.seq));
        }
        let draft = entry.draft();
        if draft.digest() != entry.digest || entry_hash(&draft, entry.previous, entry.seq, entry.at_ms) != entry.hash {
            return Err(Discrepancy::Content(entry.seq));
        }
        if entry.corrects.is_some_and(|corrected| corrected >= entry.seq || corrected.get() < 1) {
            return Err(Discrepancy::Correction(entry.seq));
        }
        let mut sum = 0i128;
        for posting in &entry.postings {
            let sat = i128::from(posting.amount.to_sat());
            sum += sat;
            *self.sums.entry(posting.account).or_default() += sat;
        }
        if sum != 0 {
            return Err(Discrepancy::Unbalanced(entry.seq));
        }
        self.head = entry.head();
        Ok(())
    }

    /// Compares the balances that were kept with the recomputed ones, and returns the head.
    ///
    /// # Errors
    ///
    /// Names the first account that differs.
    pub fn finish(self, kept: &BTreeMap<LedgerAccount, SignedAmount>) -> Result<Head, Discrepancy> {
        let accounts: std::collections::BTreeSet<_> = self.sums.keys().chain(kept.keys()).copied().collect();
        for account in accounts {
            let recomputed = self.sums.get(&account).copied().unwrap_or_default();
            let kept = kept.get(&account).copied().unwrap_or(SignedAmount::ZERO);
            if recomputed != i128::from(kept.to_sat()) {
                let sat = i64::try_from(recomputed).unwrap_or(i64::MAX);
                return Err(Discrepancy::Balance { account, kept, recomputed: SignedAmount::from_sat(sat) });
            }
        }
        Ok(self.head)
    }
}

/// Recomputes chain, sums, digests and balances of a whole ledger, and returns its head.
///
/// # Errors
///
/// Names the first entry, or else the first account, that is wrong.
pub fn verify<'a>(
    entries: impl IntoIterator<Item = &'a Entry>,
    balances: &BTreeMap<LedgerAccount, SignedAmount>,
) -> Result<Head, Discrepancy> {
    let mut audit = Audit::default();
    for entry in entries {
        audit.check(entry)?;
    }
    audit.finish(balances)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use bitcoin::hashes::Hash;

    use super::*;

    const FEE_SAT: u64 = 3;

    fn draft(key: u8, sat: u64) -> Draft {
        let block = BlockHash::from_byte_array([key; 32]);
        Draft::begin(EntryKind::BlockFound, block)
            .debit(LedgerAccount::Immature(block), Amount::from_sat(sat))
            .credit(LedgerAccount::MinerImmature(AccountId::new(1)), Amount::from_sat(sat - FEE_SAT))
            .credit(LedgerAccount::FeeImmature, Amount::from_sat(FEE_SAT))
            .balanced()
            .unwrap()
    }

    fn ledger() -> (Vec<Entry>, BTreeMap<LedgerAccount, SignedAmount>) {
        let mut head = Head::EMPTY;
        let mut entries = Vec::new();
        let mut balances = BTreeMap::new();
        for key in 1..=5 {
            let entry = draft(key, u64::from(key) * 100).seal(head, i64::from(key));
            head = entry.head();
            for posting in &entry.postings {
                *balances.entry(posting.account).or_insert(SignedAmount::ZERO) += posting.amount;
            }
            entries.push(entry);
        }
        (entries, balances)
    }

    #[test]
    fn an_entry_that_does_not_sum_to_zero_cannot_be_made() {
        let lines = Draft::begin(EntryKind::Broadcast, "x").debit(LedgerAccount::Spendable, Amount::from_sat(2));
        let error = lines.credit(LedgerAccount::Fee, Amount::from_sat(1)).balanced().unwrap_err();
        assert!(matches!(error, LedgerError::Unbalanced { sum, .. } if sum.to_sat() == 1));
    }

    #[test]
    fn amounts_that_overflow_are_an_error() {
        let huge = Amount::from_sat(u64::MAX);
        let lines = Draft::begin(EntryKind::Broadcast, "x").debit(LedgerAccount::Spendable, huge);
        assert!(matches!(lines.balanced(), Err(LedgerError::Overflow { .. })));
        let large = Amount::from_sat(i64::MAX as u64);
        let lines = Draft::begin(EntryKind::Broadcast, "x")
            .debit(LedgerAccount::Spendable, large)
            .debit(LedgerAccount::Spendable, large);
        assert!(matches!(lines.balanced(), Err(LedgerError::Overflow { .. })));
    }

    #[test]
    fn the_same_content_has_the_same_digest_in_any_order_and_place() {
        let one = Draft::begin(EntryKind::Broadcast, "x")
            .debit(LedgerAccount::Fee, Amount::from_sat(1))
            .debit(LedgerAccount::Fee, Amount::from_sat(2))
            .credit(LedgerAccount::Spendable, Amount::from_sat(3))
            .balanced()
            .unwrap();
        let other = Draft::begin(EntryKind::Broadcast, "x")
            .credit(LedgerAccount::Spendable, Amount::from_sat(3))
            .debit(LedgerAccount::Fee, Amount::from_sat(3))
            .debit(LedgerAccount::NetworkFee, Amount::ZERO)
            .balanced()
            .unwrap();
        assert_eq!(one.digest(), other.digest());
        let early = one.seal(Head::EMPTY, 1);
        let late = other.seal(early.head(), 2);
        assert_eq!(early.digest, late.digest);
        assert_ne!(early.hash, late.hash);
    }

    #[test]
    fn names_survive_their_text_form() {
        let accounts = [
            LedgerAccount::Immature(BlockHash::from_byte_array([7; 32])),
            LedgerAccount::Spendable,
            LedgerAccount::InFlight(BatchId::new(3)),
            LedgerAccount::MinerDebt(AccountId::new(4)),
            LedgerAccount::MinerImmature(AccountId::new(5)),
            LedgerAccount::MinerPayable(AccountId::new(6)),
            LedgerAccount::Reserved(BatchId::new(7)),
            LedgerAccount::FeeImmature,
            LedgerAccount::Fee,
            LedgerAccount::NetworkFee,
        ];
        for account in accounts {
            assert_eq!(account.to_string().parse(), Ok(account));
        }
        for (kind, _) in EntryKind::ALL {
            assert_eq!(kind.as_str().parse(), Ok(kind));
        }
        for wrong in ["", "cash", "spendable:1", "reserved", "reserved:x", "immature:00"] {
            assert!(wrong.parse::<LedgerAccount>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn an_untouched_ledger_verifies() {
        let (entries, balances) = ledger();
        assert_eq!(verify(&entries, &balances), Ok(entries[4].head()));
    }

    #[test]
    fn any_change_is_named() {
        let (entries, balances) = ledger();
        let third = EntrySeq::new(3);

        let mut edited = entries.clone();
        edited[2].postings[0].amount += SignedAmount::ONE_SAT;
        assert_eq!(verify(&edited, &balances), Err(Discrepancy::Content(third)));

        let mut moved = entries.clone();
        moved[2].at_ms += 1;
        assert_eq!(verify(&moved, &balances), Err(Discrepancy::Content(third)));

        let mut removed = entries.clone();
        removed.remove(2);
        let place = Discrepancy::Place { expected: third, found: EntrySeq::new(4) };
        assert_eq!(verify(&removed, &balances), Err(place));

        // A forger who re-seals the entry breaks the link of the next one.
        let mut forged = entries.clone();
        forged[2] = draft(3, 999).seal(entries[1].head(), 3);
        assert_eq!(verify(&forged, &balances), Err(Discrepancy::Chain(EntrySeq::new(4))));

        let mut cooked = balances.clone();
        cooked.insert(LedgerAccount::Fee, SignedAmount::from_sat(-1));
        let error = verify(&entries, &cooked).unwrap_err();
        assert!(matches!(error, Discrepancy::Balance { account: LedgerAccount::Fee, .. }), "{error}");
    }

    #[test]
    fn an_unbalanced_entry_is_named_even_when_its_hashes_agree() {
        let mut crooked = draft(1, 100);
        crooked.postings[0].amount += SignedAmount::ONE_SAT;
        let entry = crooked.seal(Head::EMPTY, 1);
        assert_eq!(verify([&entry], &BTreeMap::new()), Err(Discrepancy::Unbalanced(EntrySeq::new(1))));
    }
}
