//! A list while it is read: what the formats write into.
//!
//! Owns the bounds on counts and kept text, the cleaning of texts, and the warnings. Reading is the formats' business.

use std::collections::HashSet;
use std::fmt;
use std::sync::Arc;

use bitcoin::ScriptBuf;
use jiff::civil::Date;

use super::address;
use super::list::{
    FileHash, ListError, ListFormat, ListSource, ListedAddress, ListedName, ListedParty, MAX_ADDRESSES, MAX_KEPT_BYTES,
    MAX_LABEL_BYTES, MAX_NAME_BYTES, MAX_NAMES, MAX_PARTIES, MAX_PROGRAMMES, MAX_UID_BYTES, MAX_WARNINGS, NameKind,
    PartyKind, SanctionsList, quoted,
};

/// The place of a party in a [`Draft`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct PartyPlace(usize);

/// A list while it is read.
#[derive(Default)]
pub(super) struct Draft {
    parties: Vec<ListedParty>,
    /// Which of the parties have a primary name.
    has_primary: Vec<bool>,
    names: Vec<(PartyPlace, String, NameKind)>,
    addresses: Vec<(PartyPlace, ScriptBuf, String, String)>,
    warnings: Vec<String>,
    warning_count: u64,
    kept_bytes: usize,
    position: u64,
}

impl Draft {
    /// Says how far the file is read, for the errors.
    pub(super) fn at(&mut self, position: u64) {
        self.position = position;
    }

    /// Returns how many parties there are.
    pub(super) fn party_count(&self) -> usize {
        self.parties.len()
    }

    /// Returns whether anything could not be used.
    pub(super) fn has_warnings(&self) -> bool {
        self.warning_count > 0
    }

    /// Adds a party.
    pub(super) fn party(&mut self, uid: &str, kind: PartyKind) -> Result<PartyPlace, ListError> {
        let uid = clean(uid);
        self.within("the number of parties", self.parties.len() + 1, MAX_PARTIES)?;
        self.within("the length of an identifier", uid.len(), MAX_UID_BYTES)?;
        self.keep(uid.len() + size_of::<ListedParty>())?;
        if uid.is_empty() {
            self.warn("", "an entry has no identifier");
        }
        self.has_primary.push(false);
        self.parties.push(ListedParty { uid, kind, name: String::new(), programmes: Vec::new() });
        Ok(PartyPlace(self.parties.len() - 1))
    }

    /// Sets what a party is.
    pub(super) fn kind(&mut self, party: PartyPlace, kind: PartyKind) {
        self.parties[party.0].kind = kind;
    }

    /// Adds a programme of a party, unless it has it. A long one is cut: it only describes.
    pub(super) fn programme(&mut self, party: PartyPlace, programme: &str) -> Result<(), ListError> {
        let mut programme = clean(programme);
        if programme.len() > MAX_LABEL_BYTES {
            let end = (0..=MAX_LABEL_BYTES).rev().find(|&at| programme.is_char_boundary(at)).unwrap_or(0);
            programme.truncate(end);
            self.warn_of(party, format_args!("the programme {} is too long", quoted(&programme)));
        }
        let programmes = &self.parties[party.0].programmes;
        if programme.is_empty() || programmes.contains(&programme) {
            return Ok(());
        }
        self.within("the number of programmes of a party", programmes.len() + 1, MAX_PROGRAMMES)?;
        self.keep(programme.len() + size_of::<String>())?;
        self.parties[party.0].programmes.push(programme);
        Ok(())
    }

    /// Adds a name of a party. An empty one is none; one without a letter or digit is a warning.
    pub(super) fn name(&mut self, party: PartyPlace, name: &str, kind: NameKind) -> Result<(), ListError> {
        let name = clean(name);
        if name.is_empty() {
            return Ok(());
        }
        if !name.chars().any(char::is_alphanumeric) {
            self.warn_of(party, format_args!("the name {} has no letter", quoted(&name)));
            return Ok(());
        }
        self.within("the number of names", self.names.len() + 1, MAX_NAMES)?;
        self.within("the length of a name", name.len(), MAX_NAME_BYTES)?;
        self.keep(2 * name.len() + size_of::<ListedName>())?;
        // A primary name that stands after an alias is still the party's name.
        let is_first_primary = kind == NameKind::Primary && !self.has_primary[party.0];
        self.has_primary[party.0] |= is_first_primary;
        let listed = &mut self.parties[party.0];
        if is_first_primary || listed.name.is_empty() {
            listed.name.clone_from(&name);
        }
        self.names.push((party, name, kind));
        Ok(())
    }

    /// Adds a value that the list calls an address in the currency `label`, if it is a Bitcoin address.
    ///
    /// Publishers put Bitcoin addresses under other currencies and the reverse. What stands under Bitcoin's label and is
    /// no Bitcoin address is a warning; what stands under another and is none belongs to that currency.
    pub(super) fn address(&mut self, party: PartyPlace, label: &str, text: &str) -> Result<(), ListError> {
        let (label, text) = (clean(label), clean(text));
        if text.is_empty() {
            self.warn_of(party, format_args!("an address in {} is empty", quoted(&label)));
            return Ok(());
        }
        let Some(script) = address::parse_listed(&text) else {
            if address::is_bitcoin_label(&label) {
                self.warn_of(party, format_args!("{} is listed as a Bitcoin address and is none", quoted(&text)));
            }
            return Ok(());
        };
        self.within("the number of addresses", self.addresses.len() + 1, MAX_ADDRESSES)?;
        self.within("the length of a label", label.len(), MAX_LABEL_BYTES)?;
        self.keep(text.len() + label.len() + script.len() + size_of::<ListedAddress>())?;
        self.addresses.push((party, script, text, label));
        Ok(())
    }

    /// Notes something of a party that could not be used.
    pub(super) fn warn_of(&mut self, party: PartyPlace, fault: fmt::Arguments<'_>) {
        let uid = quoted(&self.parties[party.0].uid);
        self.warn_in_line(format!("entry {uid}: {fault}"));
    }

    /// Notes something that could not be used; `place` may be empty.
    pub(super) fn warn(&mut self, place: &str, fault: impl fmt::Display) {
        self.warn_in_line(if place.is_empty() { fault.to_string() } else { format!("{place}: {fault}") });
    }

    fn warn_in_line(&mut self, line: String) {
        self.warning_count += 1;
        if self.warnings.len() < MAX_WARNINGS {
            self.warnings.push(line);
        }
    }

    /// Counts text that is kept outside of the draft as the draft's.
    pub(super) fn keep(&mut self, bytes: usize) -> Result<(), ListError> {
        self.kept_bytes = self.kept_bytes.saturating_add(bytes);
        self.within("the text to keep", self.kept_bytes, MAX_KEPT_BYTES)
    }

    /// Checks a count or length against its limit.
    pub(super) fn within(&self, what: &'static str, value: usize, limit: usize) -> Result<(), ListError> {
        if value > limit {
            return Err(ListError::Limit { what, limit: limit as u64, position: self.position });
        }
        Ok(())
    }

    /// Makes the list. Each name stays once for a party, as the strongest kind that it has.
    pub(super) fn finish(
        mut self,
        source: ListSource,
        format: ListFormat,
        publication_date: Option<Date>,
        (sha256, bytes): (FileHash, u64),
    ) -> SanctionsList {
        // The sorts are stable: within a party the order stays the file's, but for strong kinds before weak ones.
        self.names.sort_by_key(|(party, _, kind)| (party.0, *kind));
        let parties: Vec<_> = self.parties.into_iter().map(Arc::new).collect();
        let mut seen = (None, HashSet::new());
        let mut names = Vec::with_capacity(self.names.len());
        for (party, name, kind) in self.names {
            if seen.0 != Some(party) {
                seen = (Some(party), HashSet::new());
            }
            if seen.1.insert(name.clone()) {
                names.push(ListedName { party: Arc::clone(&parties[party.0]), name, kind });
            }
        }
        let addresses = self.addresses.into_iter().map(|(party, script, text, label)| {
            let party = Arc::clone(&parties[party.0]);
            ListedAddress { party, script, text, label }
        });
        SanctionsList {
            source,
            format,
            publication_date,
            sha256,
            comments_sha256: None,
            bytes,
            entry_count: parties.len() as u64,
            addresses: addresses.collect(),
            names,
            warnings: self.warnings,
            warning_count: self.warning_count,
        }
    }
}

/// Returns `text` with each run of white space and control characters made one space, and none at its ends.
pub(super) fn clean(text: &str) -> String {
    let words = text.split(|c: char| c.is_whitespace() || c.is_control()).filter(|word| !word.is_empty());
    let mut cleaned = String::with_capacity(text.len());
    for word in words {
        if !cleaned.is_empty() {
            cleaned.push(' ');
        }
        cleaned.push_str(word);
    }
    cleaned
}
