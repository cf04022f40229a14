//! The lists that a pool screens by, as they stand now.
//!
//! Owns which lists are required, what was read of each, and whether all of them may be relied upon at a time. Reading
//! files is the caller's, comparing is [`super::screening`]'s.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    sync::Arc,
};

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::{
    journal::{JournalFault, JournalRow, Recorded},
    screening::{
        ListError, ListSource, ListStanding, RequiredLists, SanctionsList, ScreeningIndex, UnusableLists, UsableLists,
        assess_list, standing::Reading,
    },
};

/// How far the time of a file may be ahead of the clock, in seconds: clocks of two machines differ a little.
const MAX_AHEAD_S: u64 = 10 * 60;

/// What was read of one list.
#[derive(Clone, Debug)]
pub struct ReadList {
    /// Which.
    pub source: ListSource,
    /// The list, or why there is none; nothing if there is no file.
    pub content: Option<Result<Arc<SanctionsList>, ListError>>,
    /// When its file was written, in milliseconds since 1970 UTC: the operator's last look at what is published. A list
    /// that did not change is fetched again all the same, so its own date does not tell how old it is.
    pub fetched_at_ms: i64,
    /// How old it may be, in seconds.
    pub max_age_s: u64,
    /// How many entries the last one had that was accepted.
    pub last_entry_count: Option<u64>,
}

/// All required lists.
pub struct Lists {
    required: RequiredLists,
    read: Vec<ReadList>,
    index: ScreeningIndex,
    digest: ListsDigest,
}

impl fmt::Debug for Lists {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lists").field("digest", &self.digest).finish_non_exhaustive()
    }
}

/// SHA-256 over the names and hashes of all lists that could be read: it stands for what was screened by.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ListsDigest(String);

impl fmt::Display for ListsDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Lists {
    /// Puts together what was read.
    pub fn new(required: RequiredLists, read: Vec<ReadList>) -> Self {
        let readable: Vec<_> = read.iter().filter_map(ReadList::list).cloned().collect();
        let mut named: Vec<_> = readable.iter().map(|list| (list.source.as_str(), list.sha256.to_bytes())).collect();
        named.sort_unstable();
        let mut hasher = Sha256::new();
        for (source, sha256) in named {
            // No name has a zero byte.
            hasher.update(source.as_bytes());
            hasher.update([0]);
            hasher.update(sha256);
        }
        let digest = ListsDigest(hex::encode(hasher.finalize()));
        Self { required, read, index: ScreeningIndex::new(readable), digest }
    }

    /// Returns what can be asked about scripts and names.
    pub fn index(&self) -> &ScreeningIndex {
        &self.index
    }

    /// Returns what stands for the lists that were read.
    pub fn digest(&self) -> &ListsDigest {
        &self.digest
    }

    /// Returns what was read of each.
    pub fn read(&self) -> &[ReadList] {
        &self.read
    }

    /// Tells whether all lists may be relied upon at a time, in milliseconds since 1970 UTC. One that is much smaller than
    /// the one before may be if operators have accepted it.
    ///
    /// # Errors
    ///
    /// Names those that may not, and why.
    pub fn standing(&self, now_ms: i64, accepted: &Acceptances) -> Result<UsableLists, UnusableLists> {
        let of = |list: &ReadList| {
            let is_accepted = list.list().is_some_and(|read| accepted.has(&read.source, &read.sha256.to_string()));
            let standing = match list.standing(now_ms) {
                ListStanding::Shrunken { .. } if is_accepted => ListStanding::Usable,
                standing => standing,
            };
            (list.source.clone(), standing)
        };
        self.required.judge(&self.read.iter().map(of).collect::<BTreeMap<_, _>>())
    }

    /// Returns what is put on record when these lists are used first.
    pub fn loaded(&self, now_ms: i64) -> ListsLoaded {
        let of = |list: &ReadList| LoadedList {
            source: list.source.to_string(),
            standing: list.standing(now_ms).to_string(),
            fetched_at_ms: list.fetched_at_ms,
            edition: list.list().map(|list| Edition {
                format: list.format.to_string(),
                publication_date: list.publication_date.map(|date| date.to_string()),
                sha256: list.sha256.to_string(),
                comments_sha256: list.comments_sha256.map(|sha256| sha256.to_string()),
                entry_count: list.entry_count,
                address_count: list.addresses.len() as u64,
                name_count: list.names.len() as u64,
                warning_count: list.warning_count,
            }),
        };
        ListsLoaded { digest: self.digest.clone(), lists: self.read.iter().map(of).collect() }
    }
}

impl ReadList {
    /// Returns the list, if it could be read.
    pub fn list(&self) -> Option<&Arc<SanctionsList>> {
        self.content.as_ref()?.as_ref().ok()
    }

    /// Tells whether it may be relied upon at a time.
    pub fn standing(&self, now_ms: i64) -> ListStanding {
        let reading = match &self.content {
            None => Reading::Missing,
            Some(Err(fault)) => Reading::Unreadable(fault),
            Some(Ok(list)) => Reading::Parsed(list),
        };
        let age_s = now_ms.saturating_sub(self.fetched_at_ms) / 1_000;
        let standing = assess_list(reading, u64::try_from(age_s).unwrap_or(0), self.max_age_s, self.last_entry_count);
        let ahead_s = u64::try_from(age_s.saturating_neg()).unwrap_or(0);
        match standing {
            // Else it would be as good as new until then, and for a day more.
            ListStanding::Usable | ListStanding::Shrunken { .. } if ahead_s > MAX_AHEAD_S => {
                ListStanding::FromFuture { ahead_s }
            }
            standing => standing,
        }
    }
}

/// An operator's word that a list is right although it is much smaller than the one before.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ListAccepted {
    /// Its name in the settings.
    pub source: String,
    /// SHA-256 of its file.
    pub sha256: String,
    /// How many entries it has.
    pub entry_count: u64,
    /// Who says so.
    pub by: String,
    /// Why, in words.
    pub text: String,
}

impl ListAccepted {
    /// The kind of its rows.
    pub const KIND: &'static str = "LIST_ACCEPTED";
}

impl Recorded for ListAccepted {
    fn kind(&self) -> &'static str {
        Self::KIND
    }

    fn subject(&self) -> String {
        ListsLoaded::SUBJECT.to_owned()
    }
}

/// Returns how many entries the last edition of a list had that could be relied upon, or that operators have accepted.
/// `rows` are those about lists, newest first.
///
/// # Errors
///
/// If a row cannot be read.
pub fn last_entry_count(rows: &[JournalRow], source: &ListSource) -> Result<Option<u64>, JournalFault> {
    let mut accepted = Acceptances::default();
    let mut count = None;
    for row in rows.iter().rev() {
        accepted.note(row)?;
        if row.kind == ListsLoaded::KIND {
            count = row.read::<ListsLoaded>()?.accepted_entry_count(source).or(count);
        } else if let Some(&entry_count) = accepted.entry_counts.get(source.as_str())
            && row.kind == ListAccepted::KIND
            && row.read::<ListAccepted>()?.source == source.as_str()
        {
            count = Some(entry_count);
        }
    }
    Ok(count)
}

/// The lists that operators have accepted: two of them each.
#[derive(Clone, Debug, Default)]
pub struct Acceptances {
    /// Who has said so, by list and file.
    words: BTreeMap<(String, String), BTreeSet<String>>,
    /// How many entries the last accepted one of each list has.
    entry_counts: BTreeMap<String, u64>,
}

impl Acceptances {
    /// How many operators must agree.
    const OPERATORS: usize = 2;

    /// Takes in the next row of the journal; rows about other things change nothing.
    ///
    /// # Errors
    ///
    /// If the row cannot be read.
    pub fn note(&mut self, row: &JournalRow) -> Result<(), JournalFault> {
        if row.kind != ListAccepted::KIND {
            return Ok(());
        }
        let ListAccepted { source, sha256, entry_count, by, .. } = row.read()?;
        let words = self.words.entry((source.clone(), sha256)).or_default();
        words.insert(by.trim().to_lowercase());
        if words.len() >= Self::OPERATORS {
            self.entry_counts.insert(source, entry_count);
        }
        Ok(())
    }

    /// Tells whether a list's file was accepted.
    pub fn has(&self, source: &ListSource, sha256: &str) -> bool {
        let words = self.words.get(&(source.to_string(), sha256.to_owned()));
        words.is_some_and(|words| words.len() >= Self::OPERATORS)
    }

    /// Tells whether an operator has said so already.
    pub fn has_word_of(&self, source: &ListSource, sha256: &str, by: &str) -> bool {
        let words = self.words.get(&(source.to_string(), sha256.to_owned()));
        words.is_some_and(|words| words.contains(&by.trim().to_lowercase()))
    }
}

/// Lists that are used from now on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ListsLoaded {
    /// What stands for them.
    pub digest: ListsDigest,
    /// Each of them.
    pub lists: Vec<LoadedList>,
}

/// One of the lists that are used.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LoadedList {
    /// Its name in the settings.
    pub source: String,
    /// Whether it could be relied upon when it was loaded.
    pub standing: String,
    /// When its file was written, in milliseconds since 1970 UTC.
    pub fetched_at_ms: i64,
    /// What is in it, if it could be read.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub edition: Option<Edition>,
}

/// What is in a list.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Edition {
    /// Its format.
    pub format: String,
    /// The date that it bears.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub publication_date: Option<String>,
    /// SHA-256 of its file.
    pub sha256: String,
    /// SHA-256 of the file of comments, if it has one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub comments_sha256: Option<String>,
    /// How many parties it has.
    pub entry_count: u64,
    /// How many Bitcoin addresses.
    pub address_count: u64,
    /// How many names.
    pub name_count: u64,
    /// How many entries could not be used.
    pub warning_count: u64,
}

impl ListsLoaded {
    /// The kind of its rows.
    pub const KIND: &'static str = "LISTS_LOADED";
    /// The subject of its rows.
    pub const SUBJECT: &'static str = "lists";

    /// Returns how many entries a list had, if it could be relied upon.
    fn accepted_entry_count(&self, source: &ListSource) -> Option<u64> {
        let list = self.lists.iter().find(|list| list.source == source.as_str())?;
        let is_accepted = list.standing == ListStanding::Usable.to_string();
        list.edition.as_ref().filter(|_| is_accepted).map(|edition| edition.entry_count)
    }
}

impl Recorded for ListsLoaded {
    fn kind(&self) -> &'static str {
        Self::KIND
    }

    fn subject(&self) -> String {
        Self::SUBJECT.to_owned()
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
pub(crate) mod tests {
    use super::*;
    use crate::{
        export::{journal::JournalHead, screening::read_supplement},
        ledger::Head,
    };

    const HOUR_MS: i64 = 3_600_000;

    /// One list with these addresses, which may be 24 hours old.
    pub(crate) fn lists(addresses: &[&str], fetched_at_ms: i64) -> Lists {
        let rows: String = addresses.iter().map(|address| format!("{address},,XBT,TEST,\n")).collect();
        read(&format!("address,name,label,programme,reference\n{rows}"), fetched_at_ms, None)
    }

    /// One list with this name.
    pub(crate) fn lists_with_name(name: &str, fetched_at_ms: i64) -> Lists {
        read(&format!("address,name,label,programme,reference\n,{name},,TEST,\n"), fetched_at_ms, None)
    }

    fn source() -> ListSource {
        "supplement".parse().unwrap()
    }

    fn read(text: &str, fetched_at_ms: i64, last_entry_count: Option<u64>) -> Lists {
        let content = Some(read_supplement(source(), text.as_bytes(), &mut |_| {}).map(Arc::new));
        let max_age_s = crate::export::screening::standing::DEFAULT_MAX_AGE_S;
        let read = ReadList { source: source(), content, fetched_at_ms, max_age_s, last_entry_count };
        Lists::new(RequiredLists::new([source()]).unwrap(), vec![read])
    }

    #[test]
    fn lists_may_be_relied_upon_for_a_day_after_they_were_fetched() {
        let lists = lists(&["1BitcoinEaterAddressDontSendf59kuE"], 1_000);
        for (hours, is_usable) in [(0, true), (24, true), (25, false)] {
            assert_eq!(
                lists.standing(1_000 + hours * HOUR_MS, &Acceptances::default()).is_ok(),
                is_usable,
                "{hours} h"
            );
        }
        // Clocks that differ by minutes make no list old; of one from the future nobody knows how old it is.
        let lists = self::lists(&["1BitcoinEaterAddressDontSendf59kuE"], HOUR_MS);
        let just = HOUR_MS - i64::try_from(MAX_AHEAD_S * 1_000).unwrap();
        assert!(lists.standing(just, &Acceptances::default()).is_ok());
        let said = lists.standing(just - 1_000, &Acceptances::default()).unwrap_err();
        assert_eq!(said.standings(), [(source(), ListStanding::FromFuture { ahead_s: MAX_AHEAD_S + 1 })]);
        assert!(said.to_string().contains("10 min 1 s ahead of this clock"), "{said}");
    }

    #[test]
    fn list_that_is_required_and_was_not_read_may_not() {
        let none = Lists::new(RequiredLists::new([source()]).unwrap(), Vec::new());
        let said = none.standing(0, &Acceptances::default()).unwrap_err().to_string();
        assert!(said.contains("supplement") && said.contains("missing"), "{said}");
        let empty = lists(&[], 0).standing(0, &Acceptances::default()).unwrap_err();
        assert_eq!(empty.standings(), [(source(), ListStanding::Empty)]);
    }

    #[test]
    fn what_is_on_record_tells_how_large_the_last_list_was_that_was_accepted() {
        let three = ["1BitcoinEaterAddressDontSendf59kuE", "12QtD5BFwRsdNsAZY76UVE1xyCGNTojH9h"];
        let loaded = lists(&three, 0).loaded(0);
        assert_eq!(loaded.accepted_entry_count(&source()), Some(2));
        let one = read("address,name,label,programme,reference\n,A NAME,,TEST,\n", 0, Some(2)).loaded(0);
        assert_eq!(one.accepted_entry_count(&source()), None, "{one:?}");
    }

    #[test]
    fn list_that_has_shrunk_may_be_relied_upon_when_two_operators_accept_it() {
        let names: String = (0..3).map(|number| format!(",NAME {number},,TEST,\n")).collect();
        let lists = read(&format!("address,name,label,programme,reference\n{names}"), 0, Some(30));
        let list = lists.read()[0].list().unwrap();
        let mut accepted = Acceptances::default();
        let mut head = JournalHead::EMPTY;
        for (by, is_usable) in [("alice", false), ("Alice", false), ("bob", true)] {
            let (source, sha256) = (source().to_string(), list.sha256.to_string());
            let word = ListAccepted { source, sha256, entry_count: 3, by: by.to_owned(), text: String::new() };
            let row = JournalRow::seal(head, 0, Head::EMPTY, &word);
            head = row.head();
            accepted.note(&row).unwrap();
            assert_eq!(lists.standing(0, &accepted).is_ok(), is_usable, "{by}");
        }
        assert_eq!(accepted.entry_counts["supplement"], 3);
    }

    #[test]
    fn digest_stands_for_what_is_in_the_lists() {
        let one = lists(&["1BitcoinEaterAddressDontSendf59kuE"], 0);
        assert_eq!(one.digest(), lists(&["1BitcoinEaterAddressDontSendf59kuE"], 7).digest());
        assert_ne!(one.digest(), lists(&["12QtD5BFwRsdNsAZY76UVE1xyCGNTojH9h"], 0).digest());
    }
}
