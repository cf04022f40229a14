//! Several lists at once, ready to be asked about a script or a name.
//!
//! Owns what counts as a hit and the data structures that find hits fast. What follows from hits is in
//! [`super::decision`]. The order in which lists are given changes nothing.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::Arc;

use bitcoin::{Script, ScriptBuf};
use jiff::civil::Date;

use super::address;
use super::list::{
    FileHash, ListFormat, ListSource, ListedAddress, ListedName, ListedParty, NameKind, PartyKind, SanctionsList,
};
use super::name::{
    EQUAL_BP, MAX_EXACT_WORD_CHARS, NormalName, SPELLING_BP, by_words_bp, letters_bp, max_changes, spelling_bp,
};

/// From which similarity on a name is a hit, in basis points.
pub const SIMILAR_BP: u32 = 8_500;

/// How something matches a list. The order is from grave to slight.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum MatchKind {
    /// The script of a listed address.
    ExactAddress,
    /// A script that the key of a listed address can spend.
    SameKey,
    /// The same normal form as a name of a party that may be of the same kind.
    ExactName,
    /// A name that may be meant, by the basis points of [`NormalName::similarity_bp`].
    SimilarName {
        /// How similar: [`SIMILAR_BP`] to 10,000.
        score_bp: u32,
    },
}

/// Which list, and which edition of it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ListEdition {
    /// Where it comes from.
    pub source: ListSource,
    /// The SHA-256 of its file.
    pub sha256: FileHash,
    /// Its format.
    pub format: ListFormat,
    /// The date that it bears.
    pub publication_date: Option<Date>,
    /// How many parties it has.
    pub entry_count: u64,
}

impl ListEdition {
    /// Returns which edition a parsed list is.
    pub fn of(list: &SanctionsList) -> Self {
        Self {
            source: list.source.clone(),
            sha256: list.sha256,
            format: list.format,
            publication_date: list.publication_date,
            entry_count: list.entry_count,
        }
    }
}

/// What was found on a list, with all that evidence needs.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Hit {
    /// How it matches.
    pub match_kind: MatchKind,
    /// On which list.
    pub list: ListEdition,
    /// The entry there.
    pub party: Arc<ListedParty>,
    /// The currency under which an address is listed; none for names.
    pub label: Option<String>,
    /// The listed address or name, as published.
    pub listed: String,
}

/// The addresses and names of several lists.
pub struct ScreeningIndex {
    lists: Vec<(ListEdition, Arc<SanctionsList>)>,
    scripts: HashMap<ScriptBuf, Vec<Place>>,
    same_key_scripts: HashMap<ScriptBuf, Vec<Place>>,
    exact_names: HashMap<String, Vec<usize>>,
    names: Vec<IndexedName>,
    words: Vec<Word>,
    /// The places in `words` of the words of each length in letters.
    words_by_chars: Vec<Vec<usize>>,
}

/// The place of an address or name: that of its list, and that in the list.
type Place = (usize, usize);

struct IndexedName {
    place: Place,
    /// The places of its words in the index's words.
    words: Vec<usize>,
    chars: Vec<usize>,
    run: String,
    run_chars: usize,
    run_letters: Letters,
}

struct Word {
    text: String,
    letters: Letters,
    chars: usize,
    /// The names that have it, each as often as it has it.
    names: Vec<usize>,
}

/// How often a text has which letters, in 32 classes of letters and up to [`Letters::MAX_COUNT`] times.
///
/// A letter that comes or goes sets or clears one bit: where more bits differ than letters may, texts need no comparison.
#[derive(Clone, Copy)]
struct Letters(u128);

impl Letters {
    const MAX_COUNT: u32 = 4;

    fn of(text: &str) -> Self {
        let mut set = 0;
        for c in text.chars() {
            // Alphabets lie in blocks of about 32.
            let class = u32::from(c) % 32 * Self::MAX_COUNT;
            let unset = (0..Self::MAX_COUNT).map(|count| 1 << (class + count)).find(|bit| set & bit == 0);
            set |= unset.unwrap_or(0);
        }
        Self(set)
    }

    /// Returns whether texts may become each other by so many changes. A swap changes nothing here.
    fn may_be_within(self, other: Self, changes: usize) -> bool {
        let (gone, come) = (self.0 & !other.0, other.0 & !self.0);
        gone.count_ones().max(come.count_ones()) as usize <= changes
    }
}

impl ScreeningIndex {
    /// Builds the index of several lists.
    pub fn new(lists: impl IntoIterator<Item = Arc<SanctionsList>>) -> Self {
        let mut lists: Vec<_> = lists.into_iter().map(|list| (ListEdition::of(&list), list)).collect();
        lists.sort_by(|(a, _), (b, _)| a.cmp(b));
        let mut index = Self {
            lists: Vec::new(),
            scripts: HashMap::new(),
            same_key_scripts: HashMap::new(),
            exact_names: HashMap::new(),
            names: Vec::new(),
            words: Vec::new(),
            words_by_chars: Vec::new(),
        };
        let mut known_words = HashMap::new();
        for (number, (_, list)) in lists.iter().enumerate() {
            for (at, address) in list.addresses.iter().enumerate() {
                index.add_address((number, at), address);
            }
            for (at, name) in list.names.iter().enumerate() {
                index.add_name((number, at), name, &mut known_words);
            }
        }
        for (at, word) in index.words.iter().enumerate() {
            if index.words_by_chars.len() <= word.chars {
                index.words_by_chars.resize_with(word.chars + 1, Vec::new);
            }
            index.words_by_chars[word.chars].push(at);
        }
        index.lists = lists;
        index
    }

    /// Returns which lists it has, in a fixed order.
    pub fn lists(&self) -> impl Iterator<Item = &ListEdition> {
        self.lists.iter().map(|(edition, _)| edition)
    }

    /// Returns how many different scripts stand on the lists.
    pub fn script_count(&self) -> usize {
        self.scripts.len()
    }

    /// Returns how many names can be matched.
    pub fn name_count(&self) -> usize {
        self.names.len()
    }

    /// Returns every entry that `script` matches, grave ones first.
    ///
    /// Which network an address of the script would be written for does not matter.
    pub fn screen_script(&self, script: &Script) -> Vec<Hit> {
        let mut hits = BTreeSet::new();
        let hashed = address::hashed_form_of_bare_key(script);
        let listed = |scripts: &HashMap<ScriptBuf, Vec<Place>>, script: &Script| {
            scripts.get(script).into_iter().flatten().copied().collect::<Vec<_>>()
        };
        for place in listed(&self.scripts, script) {
            hits.insert(self.address_hit(place, MatchKind::ExactAddress));
        }
        let of_hashed = hashed
            .iter()
            .flat_map(|hashed| [listed(&self.scripts, hashed), listed(&self.same_key_scripts, hashed)].concat());
        for place in listed(&self.same_key_scripts, script).into_iter().chain(of_hashed) {
            hits.insert(self.address_hit(place, MatchKind::SameKey));
        }
        hits.into_iter().collect()
    }

    /// Returns every entry whose name is like `name`, grave ones first. Each name of an entry is a hit of its own.
    ///
    /// Names of another kind of party, and weak aliases, are hits only if they are the same, and then as similar ones:
    /// a person may look at them, but they block nobody. With [`PartyKind::Unknown`] all kinds are the party's.
    pub fn screen_name(&self, name: &str, kind: PartyKind) -> Vec<Hit> {
        let Some(query) = NormalName::new(name) else { return Vec::new() };
        let mut hits = BTreeSet::new();
        let mut same = HashSet::new();
        for &at in self.exact_names.get(query.as_str()).into_iter().flatten() {
            let listed = self.listed_name(at);
            let is_exact = listed.kind != NameKind::WeakAlias && is_comparable(kind, listed.party.kind);
            let similar = MatchKind::SimilarName { score_bp: EQUAL_BP };
            hits.insert(self.name_hit(at, if is_exact { MatchKind::ExactName } else { similar }));
            same.insert(at);
        }
        for (at, score_bp) in self.similar_names(&query) {
            let listed = self.listed_name(at);
            if !same.contains(&at) && listed.kind != NameKind::WeakAlias && is_comparable(kind, listed.party.kind) {
                hits.insert(self.name_hit(at, MatchKind::SimilarName { score_bp }));
            }
        }
        hits.into_iter().collect()
    }

    fn add_address(&mut self, place: Place, address: &ListedAddress) {
        self.scripts.entry(address.script.clone()).or_default().push(place);
        for script in address::same_key_scripts(&address.script) {
            self.same_key_scripts.entry(script).or_default().push(place);
        }
    }

    fn add_name(&mut self, place: Place, name: &ListedName, known_words: &mut HashMap<String, usize>) {
        // The parser has warned of names without a letter.
        let Some(normal) = NormalName::new(&name.name) else { return };
        let at = self.names.len();
        self.exact_names.entry(normal.as_str().to_owned()).or_default().push(at);
        let mut words = Vec::with_capacity(normal.words().len());
        for text in normal.words() {
            let word = *known_words.entry(text.clone()).or_insert_with(|| {
                let (letters, chars) = (Letters::of(text), text.chars().count());
                self.words.push(Word { text: text.clone(), letters, chars, names: Vec::new() });
                self.words.len() - 1
            });
            self.words[word].names.push(at);
            words.push(word);
        }
        let run = normal.run().to_owned();
        self.names.push(IndexedName {
            place,
            chars: normal.words().iter().map(|word| word.chars().count()).collect(),
            words,
            run_chars: run.chars().count(),
            run_letters: Letters::of(&run),
            run,
        });
    }

    /// Returns the names that are at least [`SIMILAR_BP`] like the query, each with its similarity: exactly those that
    /// [`NormalName::similarity_bp`] would find, without comparing it with each.
    fn similar_names(&self, query: &NormalName) -> Vec<(usize, u32)> {
        // What each word of the lists is like: a column for each word of the query.
        let mut spellings: HashMap<usize, Vec<u32>> = HashMap::new();
        for (column, word) in query.words().iter().enumerate() {
            for (listed, bp) in self.spellings(word) {
                spellings.entry(listed).or_insert_with(|| vec![0; query.words().len()])[column] = bp;
            }
        }
        let query_chars: Vec<_> = query.words().iter().map(|word| word.chars().count()).collect();
        let mut best: HashMap<usize, u32> = HashMap::new();
        for at in self.coverable_names(&spellings, &query_chars) {
            let name = &self.names[at];
            let columns: Vec<_> = name.words.iter().map(|word| spellings.get(word)).collect();
            let bp = by_words_bp(&query_chars, &name.chars, |a, b| columns[b].map_or(0, |columns| columns[a]));
            if bp >= SIMILAR_BP {
                best.insert(at, bp);
            }
        }
        for (at, bp) in self.similar_runs(query) {
            let best = best.entry(at).or_insert(bp);
            *best = bp.max(*best);
        }
        best.into_iter().collect()
    }

    /// Returns the names of which enough is covered by the query, or that may cover enough of it: no other name can be
    /// similar, since the similarity by words is at most the greater of these two parts.
    fn coverable_names(&self, spellings: &HashMap<usize, Vec<u32>>, query_chars: &[usize]) -> Vec<usize> {
        // Letters times basis points: those of the name that the query has, and at most those of the query that it has.
        let mut covered = vec![(0, 0); self.names.len()];
        for (&word, columns) in spellings {
            let word = &self.words[word];
            let best = u64::from(columns.iter().copied().max().unwrap_or(0));
            let of_name = word.chars as u64 * best;
            let of_query: u64 = query_chars.iter().zip(columns).map(|(&chars, &bp)| chars as u64 * u64::from(bp)).sum();
            for &at in &word.names {
                covered[at].0 += of_name;
                covered[at].1 += of_query;
            }
        }
        let enough = |chars: &[usize]| chars.iter().sum::<usize>() as u64 * u64::from(SIMILAR_BP);
        let enough_of_query = enough(query_chars);
        let covers = |(at, (of_name, of_query)): (usize, &(u64, u64))| {
            (*of_query >= enough_of_query || *of_name > 0 && *of_name >= enough(&self.names[at].chars)).then_some(at)
        };
        covered.iter().enumerate().filter_map(covers).collect()
    }

    /// Returns the words of the lists that are spellings of `word`.
    fn spellings(&self, word: &str) -> Vec<(usize, u32)> {
        let (chars, letters) = (word.chars().count(), Letters::of(word));
        let mut found = Vec::new();
        for (listed_chars, listed) in self.words_by_chars.iter().enumerate() {
            let exact_only = chars.min(listed_chars) <= MAX_EXACT_WORD_CHARS;
            let changes = if exact_only { 0 } else { max_changes(chars.max(listed_chars), SPELLING_BP) };
            if chars.abs_diff(listed_chars) > changes {
                continue;
            }
            for &at in listed {
                let listed = &self.words[at];
                if letters.may_be_within(listed.letters, changes) {
                    let bp = spelling_bp(word, &listed.text);
                    if bp > 0 {
                        found.push((at, bp));
                    }
                }
            }
        }
        found
    }

    fn similar_runs(&self, query: &NormalName) -> Vec<(usize, u32)> {
        let (chars, letters) = (query.run().chars().count(), Letters::of(query.run()));
        let mut found = Vec::new();
        for (at, name) in self.names.iter().enumerate() {
            let changes = max_changes(chars.max(name.run_chars), SIMILAR_BP);
            if chars.abs_diff(name.run_chars) <= changes && letters.may_be_within(name.run_letters, changes) {
                let bp = letters_bp(query.run(), &name.run);
                if bp >= SIMILAR_BP {
                    found.push((at, bp));
                }
            }
        }
        found
    }

    fn listed_name(&self, at: usize) -> &ListedName {
        let (list, at) = self.names[at].place;
        &self.lists[list].1.names[at]
    }

    fn name_hit(&self, at: usize, match_kind: MatchKind) -> Hit {
        let listed = self.listed_name(at);
        let list = self.lists[self.names[at].place.0].0.clone();
        Hit { match_kind, list, party: Arc::clone(&listed.party), label: None, listed: listed.name.clone() }
    }

    fn address_hit(&self, (list, at): Place, match_kind: MatchKind) -> Hit {
        let (edition, list) = &self.lists[list];
        let listed = &list.addresses[at];
        Hit {
            match_kind,
            list: edition.clone(),
            party: Arc::clone(&listed.party),
            label: Some(listed.label.clone()),
            listed: listed.text.clone(),
        }
    }
}

/// Returns whether parties of these kinds may be the same.
fn is_comparable(a: PartyKind, b: PartyKind) -> bool {
    a == b || a == PartyKind::Unknown || b == PartyKind::Unknown
}
