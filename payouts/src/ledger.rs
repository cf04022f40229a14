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

mod audit;

pub use audit::{Audit, Discrepancy, verify};

/// What the hash of an entry's content begins with, without and with facts.
const PAYLOAD_DOMAINS: [&str; 2] = ["adit ledger payload 1", "adit ledger payload 2"];
/// What the hash of an entry in its place begins with, without and with facts.
const ENTRY_DOMAINS: [&str; 2] = ["adit ledger entry 1", "adit ledger entry 2"];

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
    /// Liability: credits that are due, and kept back by an operator.
    Held(AccountId),
    /// Liability: credits that are due, and may not be paid to this account.
    Blocked(AccountId),
    /// Liability: coins of which it is not said yet whose they are.
    Remainder,
    /// Equity: the pool's part of blocks that are not mature.
    FeeImmature,
    /// Equity: the pool's part.
    Fee,
    /// Equity: what blocks that are not mature will bring to the reserve.
    PpsImmature,
    /// Equity: what pays for work whatever is found.
    PpsReserve,
    /// Expense: what payouts paid to the miners of the network.
    NetworkFee,
}

impl LedgerAccount {
    /// Returns those of a miner's account.
    pub fn of_miner(account: AccountId) -> [LedgerAccount; 5] {
        [
            Self::MinerImmature(account),
            Self::MinerPayable(account),
            Self::MinerDebt(account),
            Self::Held(account),
            Self::Blocked(account),
        ]
    }
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
            Self::Held(account) => write!(f, "held:{account}"),
            Self::Blocked(account) => write!(f, "blocked:{account}"),
            Self::Remainder => f.write_str("remainder"),
            Self::FeeImmature => f.write_str("fee_immature"),
            Self::Fee => f.write_str("fee"),
            Self::PpsImmature => f.write_str("pps_immature"),
            Self::PpsReserve => f.write_str("pps_reserve"),
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
            ("held", _) => number().map(AccountId::new).map(Self::Held),
            ("blocked", _) => number().map(AccountId::new).map(Self::Blocked),
            ("remainder", None) => Ok(Self::Remainder),
            ("spendable", None) => Ok(Self::Spendable),
            ("fee_immature", None) => Ok(Self::FeeImmature),
            ("fee", None) => Ok(Self::Fee),
            ("pps_immature", None) => Ok(Self::PpsImmature),
            ("pps_reserve", None) => Ok(Self::PpsReserve),
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
    /// A confirmation, or a whole batch, was undone (`batch:cause`).
    Reversed,
    /// A coinbase paid a miner directly (`outpoint`).
    DirectPaid,
    /// Work was paid whatever was found (`period`).
    Credited,
    /// An operator gave to the reserve, or deposits to the fee (`reference`).
    ReserveFunded,
    /// Coins came to the pool that no block of its own made (`outpoint:epoch`).
    Deposited,
    /// A deposit left the chain (`outpoint:epoch`).
    Undeposited,
    /// Due credits of an account are kept back (`account:number`).
    Held,
    /// They are due again (`account:number`).
    Released,
    /// Due credits of an account may not be paid (`account:number`).
    Blocked,
    /// They may be (`account:number`).
    Unblocked,
}

impl EntryKind {
    /// Returns all kinds.
    pub fn all() -> impl Iterator<Item = Self> {
        Self::ALL.into_iter().map(|(kind, _)| kind)
    }

    const ALL: [(Self, &'static str); 18] = [
        (Self::BlockFound, "block_found"),
        (Self::Matured, "matured"),
        (Self::Unmatured, "unmatured"),
        (Self::Orphaned, "orphaned"),
        (Self::Reconnected, "reconnected"),
        (Self::PayoutCreated, "payout_created"),
        (Self::Broadcast, "broadcast"),
        (Self::Confirmed, "confirmed"),
        (Self::Reversed, "reversed"),
        (Self::DirectPaid, "direct_paid"),
        (Self::Credited, "credited"),
        (Self::ReserveFunded, "reserve_funded"),
        (Self::Deposited, "deposited"),
        (Self::Undeposited, "undeposited"),
        (Self::Held, "held"),
        (Self::Released, "released"),
        (Self::Blocked, "blocked"),
        (Self::Unblocked, "unblocked"),
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
    facts: Option<String>,
    postings: Vec<Posting>,
}

impl Draft {
    /// Begins an entry.
    pub fn begin(kind: EntryKind, key: impl fmt::Display) -> DraftLines {
        let (key, lines) = (key.to_string(), BTreeMap::new());
        DraftLines { kind, key, corrects: None, facts: None, lines, overflow: false }
    }

    /// Returns the digest of its content: the same for the same entry, whenever and wherever it is posted.
    pub fn digest(&self) -> ChainHash {
        ChainHash::link(self.domain(PAYLOAD_DOMAINS), ChainHash::ORIGIN, &self.canonical())
    }

    /// Gives it the place after `head`.
    pub fn seal(self, head: Head, at_ms: i64) -> Entry {
        let seq = EntrySeq::new(head.seq.get() + 1);
        let hash = entry_hash(&self, head.hash, seq, at_ms);
        let digest = self.digest();
        let Self { kind, key, corrects, facts, postings } = self;
        Entry { seq, kind, key, corrects, facts, at_ms, postings, digest, previous: head.hash, hash }
    }

    /// Returns the domain of its hash. Entries without facts keep the one, and so the hashes, of the time before facts.
    fn domain(&self, [without, with]: [&'static str; 2]) -> &'static str {
        if self.facts.is_some() { with } else { without }
    }

    fn canonical(&self) -> Canonical {
        let bytes = Canonical::default()
            .text(self.kind.as_str())
            .text(&self.key)
            .number(self.corrects.map_or(0, EntrySeq::get))
            .list(&self.postings, |bytes, posting| bytes.display(posting.account).number(posting.amount.to_sat()));
        match &self.facts {
            Some(facts) => bytes.text(facts),
            None => bytes,
        }
    }
}

/// An entry while its lines are written. Amounts to the same account add up, and lines of zero vanish.
#[derive(Debug)]
pub struct DraftLines {
    kind: EntryKind,
    key: String,
    corrects: Option<EntrySeq>,
    facts: Option<String>,
    lines: BTreeMap<LedgerAccount, i64>,
    overflow: bool,
}

impl DraftLines {
    /// Names the entry that this one undoes.
    pub fn corrects(mut self, entry: EntrySeq) -> Self {
        self.corrects = Some(entry);
        self
    }

    /// States what the lines follow from, so that the hash chain covers it too.
    pub fn facts(mut self, facts: impl fmt::Display) -> Self {
        self.facts = Some(facts.to_string());
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
        let Self { kind, key, corrects, facts, lines, overflow } = self;
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
        Ok(Draft { kind, key, corrects, facts, postings })
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
    /// What its lines follow from, as text; entries of a time when that was not stated have none.
    pub facts: Option<String>,
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
        let Self { kind, key, corrects, facts, postings, .. } = self.clone();
        Draft { kind, key, corrects, facts, postings }
    }
}

fn entry_hash(draft: &Draft, previous: ChainHash, seq: EntrySeq, at_ms: i64) -> ChainHash {
    ChainHash::link(draft.domain(ENTRY_DOMAINS), previous, &draft.canonical().number(seq.get()).number(at_ms))
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
            LedgerAccount::Held(AccountId::new(8)),
            LedgerAccount::Blocked(AccountId::new(9)),
            LedgerAccount::Remainder,
            LedgerAccount::FeeImmature,
            LedgerAccount::Fee,
            LedgerAccount::PpsImmature,
            LedgerAccount::PpsReserve,
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
    fn facts_are_covered_and_entries_without_them_keep_their_hashes() {
        let lines = || {
            Draft::begin(EntryKind::Credited, 7)
                .debit(LedgerAccount::PpsReserve, Amount::ONE_SAT)
                .credit(LedgerAccount::MinerPayable(AccountId::new(1)), Amount::ONE_SAT)
        };
        let plain = lines().balanced().unwrap().seal(Head::EMPTY, 5);
        // The digest of the time before facts: domain, zero byte, zero hash, and the lines.
        let bytes = Canonical::default().text("credited").text("7").number(0).number(2);
        let bytes = bytes.text("miner_payable:1").number(-1).text("pps_reserve").number(1);
        assert_eq!(plain.digest, ChainHash::link("adit ledger payload 1", ChainHash::ORIGIN, &bytes));

        let mut stated = lines().facts("work=3").balanced().unwrap().seal(Head::EMPTY, 5);
        assert_ne!((stated.digest, stated.hash), (plain.digest, plain.hash));
        assert_eq!(verify([&stated], &balances_of(&stated)), Ok(stated.head()));
        for facts in [Some("work=4".to_owned()), None] {
            stated.facts = facts;
            let changed = Err(Discrepancy::Content(EntrySeq::new(1)));
            assert_eq!(verify([&stated], &balances_of(&stated)), changed);
        }
    }

    fn balances_of(entry: &Entry) -> BTreeMap<LedgerAccount, SignedAmount> {
        entry.postings.iter().map(|posting| (posting.account, posting.amount)).collect()
    }

    #[test]
    fn an_unbalanced_entry_is_named_even_when_its_hashes_agree() {
        let mut crooked = draft(1, 100);
        crooked.postings[0].amount += SignedAmount::ONE_SAT;
        let entry = crooked.seal(Head::EMPTY, 1);
        assert_eq!(verify([&entry], &BTreeMap::new()), Err(Discrepancy::Unbalanced(EntrySeq::new(1))));
    }
}
