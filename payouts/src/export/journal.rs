//! The register's journal: everything on record about coin that leaves which moves no satoshi by itself. Lists that were
//! loaded, screenings, owners, valuations, sales, declarations. Append-only.
//!
//! A row is one JSON object in canonical form: keys in the order of their bytes, no blanks, whole numbers only. Rows form a
//! hash chain that anybody can recompute with SHA-256 alone: the hash of a row is that of the hash before it, as 64
//! hexadecimal digits, followed by the object. Each row also names the ledger's last entry and its hash, so that neither
//! can be re-written without the other.
//!
//! Owns the form and the chain. What the objects say belongs to the modules that write them.

use std::collections::BTreeMap;

use serde::{Serialize, de::DeserializeOwned};
use serde_json::Value;
use sha2::{Digest, Sha256};

use crate::{
    hash_chain::ChainHash,
    id::row_id,
    ledger::{EntrySeq, Head},
};

row_id! {
    /// A row's place in the journal: 1, 2, 3 and so on without gaps.
    JournalSeq
}

/// The keys that every row has beside what its event says.
const ENVELOPE: [&str; 5] = ["at_ms", "kind", "ledger_hash", "ledger_seq", "seq"];

/// The last row of a journal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct JournalHead {
    /// Its place; 0 for none.
    pub seq: JournalSeq,
    /// Its hash.
    pub hash: ChainHash,
}

impl JournalHead {
    /// The head of a journal without rows.
    pub const EMPTY: Self = Self { seq: JournalSeq::new(0), hash: ChainHash::ORIGIN };
}

/// One row, as a store keeps it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JournalRow {
    /// Its place.
    pub seq: JournalSeq,
    /// What kind of thing it says, such as `SCREENED`.
    pub kind: String,
    /// What it is about, such as `account:7`; rows are found by it.
    pub subject: String,
    /// The object, in canonical form.
    pub body: String,
    /// The hash of the row before it.
    pub previous: ChainHash,
    /// Its hash.
    pub hash: ChainHash,
}

/// What a journal can record.
pub trait Recorded: Serialize {
    /// Returns the kind, in capitals.
    fn kind(&self) -> &'static str;

    /// Returns what it is about.
    fn subject(&self) -> String;
}

/// Where a journal is wrong.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum JournalFault {
    /// A row is missing or out of order, or does not follow the one before.
    #[error("journal row {0} does not continue the chain")]
    Chain(JournalSeq),
    /// A row's object is not what its hash covers.
    #[error("journal row {0} was changed after it was written")]
    Content(JournalSeq),
    /// What stands beside the object is not what the object says.
    #[error("journal row {0}: its columns and its object differ")]
    Columns(JournalSeq),
    /// An object that is not in canonical form, or none that is known.
    #[error("journal row {0} cannot be read: {1}")]
    Unreadable(JournalSeq, String),
    /// The entry of the ledger that a row names has another hash.
    #[error("journal row {0} names ledger entry {1}, which has another hash")]
    Ledger(JournalSeq, EntrySeq),
}

impl JournalRow {
    /// Makes the row after `head`, at a time in milliseconds since 1970 UTC, when the ledger ended at `ledger`.
    pub fn seal(head: JournalHead, at_ms: i64, ledger: Head, event: &impl Recorded) -> Self {
        let seq = JournalSeq::new(head.seq.get() + 1);
        let mut object = match serde_json::to_value(event).expect("events have text keys and no floating point") {
            Value::Object(object) => object,
            other => [("value".to_owned(), other)].into_iter().collect(),
        };
        object.insert("at_ms".to_owned(), at_ms.into());
        object.insert("kind".to_owned(), event.kind().into());
        object.insert("ledger_hash".to_owned(), ledger.hash.to_string().into());
        object.insert("ledger_seq".to_owned(), ledger.seq.get().into());
        object.insert("seq".to_owned(), seq.get().into());
        let body = canonical(&Value::Object(object));
        let hash = link(head.hash, &body);
        Self { seq, kind: event.kind().to_owned(), subject: event.subject(), body, previous: head.hash, hash }
    }

    /// Returns the journal's head once this row is its last.
    pub fn head(&self) -> JournalHead {
        JournalHead { seq: self.seq, hash: self.hash }
    }

    /// Returns when it was written, in milliseconds since 1970 UTC.
    ///
    /// # Errors
    ///
    /// If the object is not one that [`seal`](Self::seal) makes.
    pub fn at_ms(&self) -> Result<i64, JournalFault> {
        self.object()?.get("at_ms").and_then(Value::as_i64).ok_or_else(|| self.unreadable("at_ms is missing"))
    }

    /// Returns the ledger's head when it was written.
    ///
    /// # Errors
    ///
    /// If the object is not one that [`seal`](Self::seal) makes.
    pub fn ledger(&self) -> Result<Head, JournalFault> {
        let object = self.object()?;
        let seq = object.get("ledger_seq").and_then(Value::as_i64);
        let hash = object.get("ledger_hash").and_then(Value::as_str).and_then(|hash| hash.parse().ok());
        match (seq, hash) {
            (Some(seq), Some(hash)) => Ok(Head { seq: EntrySeq::new(seq), hash }),
            _ => Err(self.unreadable("the ledger's head is missing")),
        }
    }

    /// Reads what it says.
    ///
    /// # Errors
    ///
    /// If it says something else.
    pub fn read<T: DeserializeOwned>(&self) -> Result<T, JournalFault> {
        let mut object = self.object()?;
        for key in ENVELOPE {
            object.remove(key);
        }
        serde_json::from_value(Value::Object(object)).map_err(|error| self.unreadable(error))
    }

    fn object(&self) -> Result<serde_json::Map<String, Value>, JournalFault> {
        serde_json::from_str(&self.body).map_err(|error| self.unreadable(error))
    }

    fn unreadable(&self, why: impl ToString) -> JournalFault {
        JournalFault::Unreadable(self.seq, why.to_string())
    }
}

/// Returns the hash of an object that follows a row: SHA-256 over the hash before it, as 64 hexadecimal digits, and the
/// object's canonical text.
pub fn link(previous: ChainHash, body: &str) -> ChainHash {
    let mut hasher = Sha256::new();
    hasher.update(previous.to_string().as_bytes());
    hasher.update(body.as_bytes());
    ChainHash::of(hasher.finalize().into())
}

/// Writes a value in canonical form: the keys of each object in the order of their bytes, and no blanks.
pub fn canonical(value: &Value) -> String {
    fn sorted(value: &Value) -> Value {
        match value {
            // Whatever order the map at hand keeps: inserted in order, both kinds that serde_json may have are in order.
            Value::Object(object) => {
                let keys: BTreeMap<_, _> = object.iter().collect();
                Value::Object(keys.into_iter().map(|(key, value)| (key.clone(), sorted(value))).collect())
            }
            Value::Array(items) => Value::Array(items.iter().map(sorted).collect()),
            other => other.clone(),
        }
    }
    sorted(value).to_string()
}

/// Checks a whole journal, row by row.
#[derive(Debug)]
pub struct JournalAudit {
    head: JournalHead,
}

impl Default for JournalAudit {
    fn default() -> Self {
        Self { head: JournalHead::EMPTY }
    }
}

impl JournalAudit {
    /// Checks the next row: its place, its hash, its form, and that its columns say what its object says. Returns the
    /// ledger's head that it names, which the caller compares with the ledger.
    ///
    /// # Errors
    ///
    /// Names the row if it is wrong.
    pub fn check(&mut self, row: &JournalRow) -> Result<Head, JournalFault> {
        if row.seq.get() != self.head.seq.get() + 1 || row.previous != self.head.hash {
            return Err(JournalFault::Chain(row.seq));
        }
        if link(row.previous, &row.body) != row.hash {
            return Err(JournalFault::Content(row.seq));
        }
        let object = Value::Object(row.object()?);
        if canonical(&object) != row.body {
            return Err(row.unreadable("it is not in canonical form"));
        }
        if object["seq"] != row.seq.get() || object["kind"] != row.kind.as_str() {
            return Err(JournalFault::Columns(row.seq));
        }
        self.head = row.head();
        row.ledger()
    }

    /// Returns the journal's head.
    pub fn finish(self) -> JournalHead {
        self.head
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use serde::Deserialize;
    use serde_json::json;

    use super::*;

    #[derive(Serialize, Deserialize, Debug, PartialEq)]
    struct Noted {
        text: String,
        sat: i64,
    }

    impl Recorded for Noted {
        fn kind(&self) -> &'static str {
            "NOTED"
        }

        fn subject(&self) -> String {
            format!("note:{}", self.sat)
        }
    }

    fn note(sat: i64) -> Noted {
        Noted { text: "caf\u{e9} \"x\"\n".to_owned(), sat }
    }

    fn journal() -> Vec<JournalRow> {
        let ledger = Head { seq: EntrySeq::new(4), hash: link(ChainHash::ORIGIN, "ledger") };
        let mut head = JournalHead::EMPTY;
        let row = |sat| {
            let row = JournalRow::seal(head, 1_700_000_000_000 + sat, ledger, &note(sat));
            head = row.head();
            row
        };
        (1..=3).map(row).collect()
    }

    fn audit(rows: &[JournalRow]) -> Result<JournalHead, JournalFault> {
        let mut audit = JournalAudit::default();
        rows.iter().try_for_each(|row| audit.check(row).map(drop))?;
        Ok(audit.finish())
    }

    #[test]
    fn hash_is_that_of_the_hash_before_and_the_object_sorted() {
        let object =
            json!({"seq": 1, "kind": "CREDIT", "lot": "L1", "state": "PROVISIONAL", "amount_sat": 156_785_221});
        let body = canonical(&object);
        assert_eq!(body, r#"{"amount_sat":156785221,"kind":"CREDIT","lot":"L1","seq":1,"state":"PROVISIONAL"}"#);
        let hash = link(ChainHash::ORIGIN, &body);
        assert_eq!(hash.to_string(), "6282325fb191788bdaaba084951e5f3d03486955a6d5c70bc28146b4dc361af9");
    }

    #[test]
    fn objects_within_objects_are_sorted_too() {
        let object = json!({"b": [{"d": 1, "c": {"z": 0, "a": 2}}], "a": null});
        assert_eq!(canonical(&object), r#"{"a":null,"b":[{"c":{"a":2,"z":0},"d":1}]}"#);
    }

    #[test]
    fn row_says_what_was_recorded_when_and_after_which_entry() {
        let rows = journal();
        assert_eq!(rows[1].read::<Noted>(), Ok(note(2)));
        assert_eq!(rows[1].at_ms(), Ok(1_700_000_000_002));
        assert_eq!(rows[1].ledger().unwrap().seq, EntrySeq::new(4));
        assert_eq!((rows[1].kind.as_str(), rows[1].subject.as_str()), ("NOTED", "note:2"));
        assert_eq!(audit(&rows), Ok(rows[2].head()));
    }

    #[test]
    fn whatever_is_changed_is_named() {
        let mut changed = journal();
        changed[1].body = changed[1].body.replace("\"sat\":2", "\"sat\":3");
        assert_eq!(audit(&changed), Err(JournalFault::Content(JournalSeq::new(2))));
        changed[1].hash = link(changed[1].previous, &changed[1].body);
        assert_eq!(audit(&changed), Err(JournalFault::Chain(JournalSeq::new(3))));

        let mut without = journal();
        without.remove(1);
        assert_eq!(audit(&without), Err(JournalFault::Chain(JournalSeq::new(3))));

        let mut other_kind = journal();
        other_kind[0].kind = "ERASED".to_owned();
        assert_eq!(audit(&other_kind), Err(JournalFault::Columns(JournalSeq::new(1))));

        let mut loose = journal();
        loose.truncate(1);
        loose[0].body = loose[0].body.replace(":", ": ");
        loose[0].hash = link(loose[0].previous, &loose[0].body);
        assert!(matches!(audit(&loose), Err(JournalFault::Unreadable(seq, _)) if seq == JournalSeq::new(1)));
    }
}
