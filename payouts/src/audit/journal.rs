//! Checks the register's journal: its own chain, and that the entries which its rows name are those of the ledger.

use std::collections::BTreeMap;

use super::{AuditError, PAGE};
use crate::{
    export::journal::{JournalAudit, JournalFault, JournalHead, JournalSeq},
    hash_chain::ChainHash,
    ledger::{Entry, EntrySeq},
    store::Store,
};

/// A journal whose chain is sound, and the entries that it names until the ledger has shown them.
#[derive(Debug)]
pub(super) struct CheckedJournal {
    head: JournalHead,
    named: BTreeMap<EntrySeq, (ChainHash, JournalSeq)>,
}

impl CheckedJournal {
    /// Reads the journal up to its end. Every entry that it names was posted by then.
    pub(super) async fn read(store: &dyn Store) -> Result<Self, AuditError> {
        let mut audit = JournalAudit::default();
        let mut named = BTreeMap::new();
        let mut after = JournalSeq::new(0);
        loop {
            let page = store.journal_rows(after, PAGE).await?;
            let Some(newest) = page.last() else { break };
            after = newest.seq;
            for row in &page {
                let ledger = audit.check(row)?;
                let (hash, _) = *named.entry(ledger.seq).or_insert((ledger.hash, row.seq));
                if hash != ledger.hash {
                    return Err(JournalFault::Ledger(row.seq, ledger.seq).into());
                }
            }
        }
        let before_all = EntrySeq::new(0);
        match named.remove(&before_all) {
            Some((hash, seq)) if hash != ChainHash::ORIGIN => Err(JournalFault::Ledger(seq, before_all).into()),
            _ => Ok(Self { head: audit.finish(), named }),
        }
    }

    /// Compares an entry of the ledger with what the journal says of it.
    pub(super) fn note(&mut self, entry: &Entry) -> Result<(), JournalFault> {
        match self.named.remove(&entry.seq) {
            Some((hash, seq)) if hash != entry.hash => Err(JournalFault::Ledger(seq, entry.seq)),
            _ => Ok(()),
        }
    }

    /// Returns the journal's head once the ledger was read.
    pub(super) fn finish(self) -> Result<JournalHead, JournalFault> {
        match self.named.first_key_value() {
            Some((&entry, &(_, seq))) => Err(JournalFault::Ledger(seq, entry)),
            None => Ok(self.head),
        }
    }
}
