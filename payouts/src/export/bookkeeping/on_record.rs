//! What the journal has on record, as reports need it.

use std::collections::BTreeMap;

use super::{BookkeepingError, worth::Worth};
use crate::{
    account::AccountId,
    export::{
        journal::{JournalRow, JournalSeq},
        lists::{ListsLoaded, LoadedList},
        owner::{AddressOwned, Hosting, Owners},
        sales::Sales,
        screened::{Reviewed, Screened, ScreenedBatch},
        screening::Outcome,
    },
    ledger::EntrySeq,
    payout::BatchId,
    store::Store,
};

/// Rows that are read at a time.
const PAGE: u32 = 1_000;

/// A row of the journal about an account's screening, and where the ledger was when it was written.
#[derive(Clone, Debug)]
pub(super) struct Noted<T> {
    pub(super) seq: JournalSeq,
    pub(super) ledger: EntrySeq,
    pub(super) at_ms: i64,
    pub(super) what: T,
}

/// Lists as they were loaded.
#[derive(Clone, Debug)]
pub(super) struct Loaded {
    pub(super) at_ms: i64,
    pub(super) lists: Vec<LoadedList>,
}

/// What the journal has on record up to a row.
#[derive(Debug)]
pub(super) struct OnRecord {
    pub(super) owners: Owners,
    pub(super) sales: Sales,
    pub(super) worth: Worth,
    pub(super) screened: BTreeMap<AccountId, Vec<Noted<Screened>>>,
    pub(super) reviewed: BTreeMap<AccountId, Vec<Noted<Reviewed>>>,
    /// The screenings of each payout.
    pub(super) batches: BTreeMap<BatchId, Vec<Noted<()>>>,
    /// By what stands for them.
    pub(super) lists: BTreeMap<String, Loaded>,
    /// The rows about screening that were written in the period.
    pub(super) log: Vec<JournalRow>,
}

impl OnRecord {
    /// Reads the journal up to a row. `profile` is the one whose valuations count; of rows about screening those are kept
    /// for the log that were written from `from_ms` on and before `until_ms`, which is the reported period.
    pub(super) async fn read(
        store: &dyn Store,
        upto: JournalSeq,
        profile: &str,
        (from_ms, until_ms): (i64, i64),
    ) -> Result<Self, BookkeepingError> {
        let mut on_record = Self {
            owners: Owners::default(),
            sales: Sales::default(),
            worth: Worth::new(profile, (from_ms, until_ms)),
            screened: BTreeMap::new(),
            reviewed: BTreeMap::new(),
            batches: BTreeMap::new(),
            lists: BTreeMap::new(),
            log: Vec::new(),
        };
        let mut after = JournalSeq::new(0);
        loop {
            let page = store.journal_rows(after, PAGE).await?;
            let Some(newest) = page.last() else { return Ok(on_record) };
            after = newest.seq;
            for row in page {
                if row.seq > upto {
                    return Ok(on_record);
                }
                on_record.note(row, from_ms, until_ms)?;
            }
        }
    }

    fn note(&mut self, row: JournalRow, from_ms: i64, until_ms: i64) -> Result<(), BookkeepingError> {
        self.owners.note(&row)?;
        self.sales.note(&row)?;
        self.worth.note(&row)?;
        match row.kind.as_str() {
            Screened::KIND => {
                let screened: Screened = row.read()?;
                self.screened.entry(screened.account).or_default().push(noted(&row, screened)?);
            }
            Reviewed::KIND => {
                let reviewed: Reviewed = row.read()?;
                self.reviewed.entry(reviewed.account).or_default().push(noted(&row, reviewed)?);
            }
            ScreenedBatch::KIND => {
                let screened: ScreenedBatch = row.read()?;
                self.batches.entry(screened.batch).or_default().push(noted(&row, ())?);
            }
            ListsLoaded::KIND => {
                let ListsLoaded { digest, lists } = row.read()?;
                self.lists.insert(digest.to_string(), Loaded { at_ms: row.at_ms()?, lists });
            }
            _ => {}
        }
        if super::screenings::KINDS.contains(&row.kind.as_str()) && (from_ms..until_ms).contains(&row.at_ms()?) {
            self.log.push(row);
        }
        Ok(())
    }

    /// Returns the party that owns an account's address, as reports name it; empty if none is known.
    pub(super) fn party(&self, account: AccountId) -> String {
        self.owners.owner(account).map(|owned| owned.party.to_string()).unwrap_or_default()
    }

    /// Returns where the owner of an account's address is resident; empty if that is not known.
    pub(super) fn residency(&self, account: AccountId) -> String {
        let owned = self.owners.owner(account);
        let known = owned.and_then(|owned| self.owners.party(owned.party));
        known.map(|known| known.set.residency.to_string()).unwrap_or_default()
    }

    /// Returns the provider that has the keys of an account's address.
    pub(super) fn provider(&self, account: AccountId) -> Option<&str> {
        let AddressOwned { hosting, provider, .. } = self.owners.owner(account)?;
        if *hosting == Hosting::Provider { provider.as_deref() } else { None }
    }

    /// Returns the last screening, up to an entry of the ledger, that restrained an account.
    pub(super) fn restraining(&self, account: AccountId, upto: EntrySeq) -> Option<&Noted<Screened>> {
        self.screened.get(&account)?.iter().rfind(|noted| noted.ledger <= upto)
    }

    /// Returns the last screening, up to an entry of the ledger, that blocked an account.
    pub(super) fn blocking(&self, account: AccountId, upto: EntrySeq) -> Option<&Noted<Screened>> {
        let is_blocking =
            |noted: &&Noted<Screened>| noted.ledger <= upto && noted.what.outcome == Outcome::Blocked.as_str();
        self.screened.get(&account)?.iter().rfind(is_blocking)
    }

    /// Tells whether a payout's outputs were screened before an entry of the ledger.
    pub(super) fn is_screened(&self, batch: Option<BatchId>, before: EntrySeq) -> bool {
        let screened = batch.and_then(|batch| self.batches.get(&batch)).into_iter().flatten();
        screened.into_iter().any(|noted| noted.ledger < before)
    }

    /// Returns the screenings that let a payout of an account go, before an entry of the ledger: those of the payout,
    /// and the reviews by which the account had been released.
    pub(super) fn letting_go(&self, batch: Option<BatchId>, account: AccountId, before: EntrySeq) -> Vec<String> {
        let of_batch = batch.and_then(|batch| self.batches.get(&batch)).into_iter().flatten();
        let of_batch = of_batch.filter(|noted| noted.ledger < before).map(|noted| noted.seq);
        let reviews = self.reviewed.get(&account).into_iter().flatten();
        let reviews = reviews.filter(|noted| noted.ledger < before && noted.what.releases).map(|noted| noted.seq);
        let mut rows: Vec<_> = reviews.chain(of_batch).collect();
        rows.sort_unstable();
        rows.into_iter().map(super::journal_id).collect()
    }
}

fn noted<T>(row: &JournalRow, what: T) -> Result<Noted<T>, BookkeepingError> {
    Ok(Noted { seq: row.seq, ledger: row.ledger()?.seq, at_ms: row.at_ms()?, what })
}
