//! Whether lists may be relied upon.
//!
//! Owns the rules of age and size. It has no clock and remembers nothing: callers say how old a list is and how many
//! entries the last one that was accepted had.

use std::collections::BTreeMap;
use std::fmt;

use super::list::{ListError, ListSource, SanctionsList};

/// The age up to which a list is used, if nothing else is configured: one day, in seconds.
pub const DEFAULT_MAX_AGE_S: u64 = 24 * 60 * 60;
/// By what part a list may be smaller than the last one, in percent. More looks like a list that was cut.
pub const MAX_SHRINK_PERCENT: u64 = 10;

/// What came of reading a list.
#[derive(Clone, Copy, Debug)]
pub enum Reading<'a> {
    /// There is no file.
    Missing,
    /// The file is refused.
    Unreadable(&'a ListError),
    /// The file is a list.
    Parsed(&'a SanctionsList),
}

/// Whether a list may be relied upon, and why not.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ListStanding {
    /// It may.
    Usable,
    /// There is none.
    Missing,
    /// It cannot be read.
    Unreadable {
        /// Why.
        fault: String,
    },
    /// It has neither an address nor a name.
    Empty,
    /// It is too old.
    Stale {
        /// How old it is, in seconds.
        age_s: u64,
        /// How old it may be, in seconds.
        max_age_s: u64,
    },
    /// Its file was written later than now.
    FromFuture {
        /// How much later, in seconds.
        ahead_s: u64,
    },
    /// It is much smaller than the last one that was accepted.
    Shrunken {
        /// How many entries it has.
        entry_count: u64,
        /// How many the last one had.
        last_entry_count: u64,
    },
}

impl fmt::Display for ListStanding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Usable => f.write_str("usable"),
            Self::Missing => f.write_str("missing: there is no file"),
            Self::Unreadable { fault } => write!(f, "unreadable: {fault}"),
            Self::Empty => f.write_str("empty: neither an address nor a name in it"),
            Self::Stale { age_s, max_age_s } => {
                write!(f, "stale: {} old, and at most {} are allowed", Age(*age_s), Age(*max_age_s))
            }
            Self::FromFuture { ahead_s } => write!(
                f,
                "from the future: its file's time is {} ahead of this clock, so its age is not known; set the clock right, \
                 or fetch the file anew",
                Age(*ahead_s)
            ),
            Self::Shrunken { entry_count, last_entry_count } => write!(
                f,
                "shrunken: {entry_count} entries, more than {MAX_SHRINK_PERCENT} % fewer than the {last_entry_count} before"
            ),
        }
    }
}

/// An age as an operator reads it.
struct Age(u64);

impl fmt::Display for Age {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (hours, minutes, seconds) = (self.0 / 3_600, self.0 / 60 % 60, self.0 % 60);
        match (minutes, seconds) {
            (0, 0) => write!(f, "{hours} h"),
            (_, 0) => write!(f, "{hours} h {minutes} min"),
            _ => write!(f, "{hours} h {minutes} min {seconds} s"),
        }
    }
}

/// Judges one list.
///
/// `last_entry_count` is that of the last list of this source that was accepted, if there was one. At exactly the largest
/// age, and exactly [`MAX_SHRINK_PERCENT`] smaller, a list is usable.
pub fn assess_list(reading: Reading<'_>, age_s: u64, max_age_s: u64, last_entry_count: Option<u64>) -> ListStanding {
    let list = match reading {
        Reading::Missing => return ListStanding::Missing,
        Reading::Unreadable(fault) => return ListStanding::Unreadable { fault: fault.to_string() },
        Reading::Parsed(list) => list,
    };
    if list.addresses.is_empty() && list.names.is_empty() {
        return ListStanding::Empty;
    }
    if age_s > max_age_s {
        return ListStanding::Stale { age_s, max_age_s };
    }
    let entry_count = list.entry_count;
    match last_entry_count {
        Some(last) if u128::from(entry_count) * 100 < u128::from(last) * u128::from(100 - MAX_SHRINK_PERCENT) => {
            ListStanding::Shrunken { entry_count, last_entry_count: last }
        }
        _ => ListStanding::Usable,
    }
}

/// The lists without which nothing is paid: those of the profile, and what the operator adds. There is at least one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RequiredLists(Vec<ListSource>);

/// There is no list to screen with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no list is configured, and nothing is paid without screening")]
pub struct NoLists;

impl RequiredLists {
    /// Makes one of the configured sources.
    ///
    /// # Errors
    ///
    /// If there are none: such a profile must not start.
    pub fn new(sources: impl IntoIterator<Item = ListSource>) -> Result<Self, NoLists> {
        let mut sources: Vec<_> = sources.into_iter().collect();
        sources.sort();
        sources.dedup();
        if sources.is_empty() { Err(NoLists) } else { Ok(Self(sources)) }
    }

    /// Returns the sources, sorted.
    pub fn sources(&self) -> &[ListSource] {
        &self.0
    }

    /// Judges all of them. One of which `standings` says nothing is missing; others do not count.
    ///
    /// # Errors
    ///
    /// Which ones are not usable, if any is not: then everything is held.
    pub fn judge(&self, standings: &BTreeMap<ListSource, ListStanding>) -> Result<UsableLists, UnusableLists> {
        let of = |source: &ListSource| standings.get(source).cloned().unwrap_or(ListStanding::Missing);
        let unusable: Vec<_> = self
            .0
            .iter()
            .map(|source| (source.clone(), of(source)))
            .filter(|(_, standing)| *standing != ListStanding::Usable)
            .collect();
        if unusable.is_empty() { Ok(UsableLists(self.0.clone())) } else { Err(UnusableLists(unusable)) }
    }
}

/// All required lists are usable. Only [`RequiredLists::judge`] makes one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UsableLists(Vec<ListSource>);

impl UsableLists {
    /// Returns the sources, sorted.
    pub fn sources(&self) -> &[ListSource] {
        &self.0
    }
}

/// The required lists that are not usable; there is at least one.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub struct UnusableLists(Vec<(ListSource, ListStanding)>);

impl UnusableLists {
    /// Returns each with what is wrong, sorted by source.
    pub fn standings(&self) -> &[(ListSource, ListStanding)] {
        &self.0
    }
}

impl fmt::Display for UnusableLists {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (number, (source, standing)) in self.0.iter().enumerate() {
            let separator = if number == 0 { "" } else { "; " };
            write!(f, "{separator}list {source} is {standing}")?;
        }
        Ok(())
    }
}
