//! When two names are the same, and how similar they are otherwise.
//!
//! Owns the normal form of names and the measure of similarity, both under one version, [`ALGORITHM`]: evidence is only
//! worth something if it can be computed again, so that any change here needs a new version. All numbers are integers.
//!
//! The normal form ignores case, diacritics, punctuation, the order of words, and how a legal form is written. Two names
//! are the same if their normal forms are. Names in different scripts are not transliterated: lists carry both.

use unicode_normalization::UnicodeNormalization;
use unicode_normalization::char::is_combining_mark;

/// The version of everything in this file, for the evidence.
pub const ALGORITHM: &str = "names-1";

/// The similarity of equal names, in basis points.
pub const EQUAL_BP: u32 = 10_000;
/// The least similarity at which a word counts as a spelling of another. In a word of four letters one may differ.
pub const SPELLING_BP: u32 = 7_000;
/// Words up to this length have no spellings: most of them differ by a letter or two.
pub const MAX_EXACT_WORD_CHARS: usize = 2;
/// How many words of a name are compared for similarity. Names have at most some twenty.
pub const MAX_WORDS: usize = 64;

/// How legal forms are written, and what they are folded to. Longer phrases stand before those that they contain.
const LEGAL_PHRASES: &[(&[&str], &str)] = &[
    (&["public", "joint", "stock", "company"], "pjsc"),
    (&["open", "joint", "stock", "company"], "ojsc"),
    (&["closed", "joint", "stock", "company"], "cjsc"),
    (&["общество", "с", "ограниченнои", "ответственностью"], "llc"),
    (&["limited", "liability", "company"], "llc"),
    (&["limited", "liability", "partnership"], "llp"),
    (&["public", "limited", "company"], "plc"),
    (&["joint", "stock", "company"], "jsc"),
    (&["акционерное", "общество"], "jsc"),
    (&["sociedad", "anonima"], "sa"),
    (&["societe", "anonyme"], "sa"),
    (&["aktiengesellschaft"], "ag"),
    (&["corporation"], "corp"),
    (&["incorporated"], "inc"),
    (&["limited"], "ltd"),
    (&["company"], "co"),
    (&["ооо"], "llc"),
    (&["ooo"], "llc"),
    (&["ао"], "jsc"),
    (&["пао"], "pjsc"),
    (&["оао"], "ojsc"),
    (&["зао"], "cjsc"),
];

/// Words that only tell a legal form. Similarity ignores them: which form it is says little of who it is.
const LEGAL_FORMS: &[&str] = &[
    "ab", "ag", "bv", "cjsc", "co", "corp", "cv", "dmcc", "fzc", "fzco", "fze", "gmbh", "inc", "jsc", "kg", "llc",
    "llp", "ltd", "nv", "ojsc", "oy", "pjsc", "plc", "pte", "pty", "sa", "sarl", "spa", "srl",
];

/// A name in its normal form.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NormalName {
    text: String,
    words: Vec<String>,
    run: String,
}

impl NormalName {
    /// Makes the normal form of `name`, or none if it has no letter or digit: nothing could be compared with it.
    ///
    /// It is made so: apostrophes go; Unicode NFKD, combining marks go; upper case, then lower case, which folds what has
    /// no one-to-one lower case (ß is ss); letters that Unicode does not decompose get their base letters (ø is o);
    /// everything but letters and digits parts words; single Latin letters in a row are one word (L.L.C. is llc); legal
    /// forms are folded; words are sorted.
    pub fn new(name: &str) -> Option<Self> {
        let mut words = Vec::new();
        for word in folded(name).split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty()) {
            words.push(word.to_owned());
        }
        let words = fold_legal_forms(join_initials(words));
        if words.is_empty() {
            return None;
        }
        let mut core: Vec<_> =
            words.iter().filter(|word| LEGAL_FORMS.binary_search(&word.as_str()).is_err()).cloned().collect();
        if core.is_empty() {
            core.clone_from(&words);
        }
        core.truncate(MAX_WORDS);
        let run = core.concat();
        core.sort_unstable();
        let mut sorted = words;
        sorted.sort_unstable();
        Some(Self { text: sorted.join(" "), words: core, run })
    }

    /// Returns the normal form as text: the sorted words, parted by spaces.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Returns the words by which similarity is measured, sorted: those that are no legal form, if there are any.
    pub fn words(&self) -> &[String] {
        &self.words
    }

    /// Returns the same words in the name's order, run together.
    pub fn run(&self) -> &str {
        &self.run
    }

    /// Returns how similar two names are, in basis points: 0 to [`EQUAL_BP`].
    ///
    /// It is the greater of two measures. By words: what part of each name's letters is in words that the other one has,
    /// a spelling counting in part. Where the shorter name has several words, its part counts for seven tenths, so that
    /// a middle name left out does little; else both count the same. Run together: how many letters are to be changed,
    /// which finds words written as one.
    pub fn similarity_bp(&self, other: &Self) -> u32 {
        let chars = |words: &[String]| words.iter().map(|word| word.chars().count()).collect::<Vec<_>>();
        let (of_self, of_other) = (chars(&self.words), chars(&other.words));
        let by_words = by_words_bp(&of_self, &of_other, |a, b| spelling_bp(&self.words[a], &other.words[b]));
        by_words.max(letters_bp(&self.run, &other.run))
    }
}

/// Returns the similarity by words, from the lengths of both names' words in letters and the similarity of words.
pub(super) fn by_words_bp(a_chars: &[usize], b_chars: &[usize], word_bp: impl Fn(usize, usize) -> u32) -> u32 {
    let (mut best_of_a, mut best_of_b) = (vec![0; a_chars.len()], vec![0; b_chars.len()]);
    for (a, best_of_a) in best_of_a.iter_mut().enumerate() {
        for (b, best_of_b) in best_of_b.iter_mut().enumerate() {
            let similarity = word_bp(a, b);
            *best_of_a = similarity.max(*best_of_a);
            *best_of_b = similarity.max(*best_of_b);
        }
    }
    let (a, b) = (covered_bp(a_chars, &best_of_a), covered_bp(b_chars, &best_of_b));
    if a_chars.len().min(b_chars.len()) >= 2 { (7 * a.max(b) + 3 * a.min(b)) / 10 } else { a.midpoint(b) }
}

/// Returns what part of a name's letters the other name has.
fn covered_bp(chars: &[usize], best_bp: &[u32]) -> u32 {
    let all: u64 = chars.iter().map(|&count| count as u64).sum();
    let covered: u64 = chars.iter().zip(best_bp).map(|(&count, &bp)| count as u64 * u64::from(bp)).sum();
    u32::try_from(covered / all.max(1)).unwrap_or(EQUAL_BP)
}

/// Returns how similar two words are: 0 if one is no spelling of the other.
pub(super) fn spelling_bp(a: &str, b: &str) -> u32 {
    if a == b {
        return EQUAL_BP;
    }
    if a.chars().count().min(b.chars().count()) <= MAX_EXACT_WORD_CHARS {
        return 0;
    }
    let similarity = letters_bp(a, b);
    if similarity >= SPELLING_BP { similarity } else { 0 }
}

/// Returns what part of the longer text's letters is right: insertions, deletions, changes and swaps count one.
pub(super) fn letters_bp(a: &str, b: &str) -> u32 {
    let longer = a.chars().count().max(b.chars().count()) as u64;
    let distance = strsim::osa_distance(a, b) as u64;
    let right = longer.saturating_sub(distance) * u64::from(EQUAL_BP) / longer.max(1);
    u32::try_from(right).unwrap_or(EQUAL_BP)
}

/// Returns the most changes with which texts, the longer of `longer` letters, have at least a similarity.
pub(super) fn max_changes(longer: usize, similarity_bp: u32) -> usize {
    longer * (EQUAL_BP - similarity_bp) as usize / EQUAL_BP as usize
}

fn folded(name: &str) -> String {
    let name = name.chars().filter(|c| !is_apostrophe(*c));
    let cased =
        name.nfkd().filter(|c| !is_combining_mark(*c)).flat_map(char::to_uppercase).flat_map(char::to_lowercase);
    let mut folded = String::new();
    for c in cased.nfkd().filter(|c| !is_combining_mark(*c)) {
        match base_letters(c) {
            Some(letters) => folded.push_str(letters),
            None => folded.push(c),
        }
    }
    folded
}

fn is_apostrophe(c: char) -> bool {
    matches!(
        c,
        '\'' | '`' | '\u{b4}' | '\u{2b9}'..='\u{2bf}' | '\u{2018}' | '\u{2019}' | '\u{201b}' | '\u{2032}' | '\u{ff07}'
    )
}

fn base_letters(c: char) -> Option<&'static str> {
    Some(match c {
        'ø' => "o",
        'ł' => "l",
        'đ' | 'ð' => "d",
        'ħ' => "h",
        'ŧ' => "t",
        'ı' => "i",
        'æ' => "ae",
        'œ' => "oe",
        'þ' => "th",
        _ => return None,
    })
}

/// Makes one word of single Latin letters in a row.
fn join_initials(words: Vec<String>) -> Vec<String> {
    let is_initial = |word: &str| word.len() == 1 && word.as_bytes()[0].is_ascii_alphabetic();
    let mut joined: Vec<String> = Vec::with_capacity(words.len());
    let mut in_initials = false;
    for word in words {
        let initial = is_initial(&word);
        match joined.last_mut().filter(|_| initial && in_initials) {
            Some(initials) => initials.push_str(&word),
            None => joined.push(word),
        }
        in_initials = initial;
    }
    joined
}

fn fold_legal_forms(words: Vec<String>) -> Vec<String> {
    let mut folded = Vec::with_capacity(words.len());
    let mut at = 0;
    while at < words.len() {
        let phrase = LEGAL_PHRASES.iter().find(|(phrase, _)| {
            words.get(at..at + phrase.len()).is_some_and(|here| here.iter().zip(*phrase).all(|(a, b)| a == b))
        });
        match phrase {
            Some((phrase, form)) => {
                folded.push((*form).to_owned());
                at += phrase.len();
            }
            None => {
                folded.push(words[at].clone());
                at += 1;
            }
        }
    }
    folded
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use proptest::prelude::*;

    use super::*;

    fn normal(name: &str) -> String {
        NormalName::new(name).unwrap().text
    }

    fn similarity(a: &str, b: &str) -> u32 {
        NormalName::new(a).unwrap().similarity_bp(&NormalName::new(b).unwrap())
    }

    #[test]
    fn case_marks_punctuation_and_order_do_not_matter() {
        for name in [
            "EXAMPLE, Person Étienne",
            "étienne  PERSON example",
            "Example-Person (Etienne)",
            "Example Person E\u{301}tienne",
        ] {
            assert_eq!(normal(name), "etienne example person", "{name}");
        }
        assert_eq!(normal("O'Example"), normal("O\u{2019}EXAMPLE"));
        assert_eq!(normal("Ｅｘａｍｐｌｅ"), "example");
        assert_eq!(normal("Straße"), "strasse");
        assert_eq!(normal("ΣΊΣΥΦΟΣ"), normal("σίσυφος"));
        assert_eq!(normal("İstanbul ISTANBUL ıstanbul"), "istanbul istanbul istanbul");
        assert_eq!(normal("Øresund Łódź Ærø"), "aero lodz oresund");
        assert_eq!(normal("Пример Ёлкин"), normal("ЕЛКИН ПРИМЕР"));
    }

    #[test]
    fn legal_forms_are_folded_and_kept() {
        for name in ["Example Trading L.L.C.", "EXAMPLE TRADING LLC", "Example Trading Limited Liability Company"] {
            assert_eq!(normal(name), "example llc trading", "{name}");
        }
        assert_eq!(normal("ООО Пример"), normal("Общество с ограниченной ответственностью «Пример»"));
        assert_eq!(normal("Example, S.A. de C.V."), "cv de example sa");
        assert_ne!(normal("Example Trading LLC"), normal("Example Trading Ltd."));
        assert_eq!(normal("Limited Company"), "co ltd");
    }

    #[test]
    fn a_name_without_letters_has_no_normal_form() {
        for name in ["", " ", "-", "!?", "\u{301}", "'"] {
            assert_eq!(NormalName::new(name), None, "{name:?}");
        }
        assert_eq!(normal("3M"), "3m");
    }

    #[test]
    fn similarity_has_these_values() {
        // These are the algorithm: a change needs a new version of it.
        for (a, b, bp) in [
            ("EXAMPLE PERSON", "person example", 10_000),
            ("EXAMPLE PERSON", "EXAMPLE PERSAN", 9_230),
            ("EXAMPLE PERSON", "EXAMPLE MIDDLE PERSON", 9_052),
            ("EXAMPLE PERSON", "PERSON", 7_307),
            ("Example Trading LLC", "Example Trading Ltd", 10_000),
            ("Example Trading LLC", "Example Shipping LLC", 6_666),
            ("Abd al Example", "Abdalexample", 10_000),
            ("Example", "Beispiel", 2_500),
            ("XY", "XZ", 5_000),
        ] {
            assert_eq!(similarity(a, b), bp, "{a}, {b}");
        }
    }

    #[test]
    fn legal_forms_are_sorted_for_the_search() {
        assert!(LEGAL_FORMS.is_sorted());
    }

    proptest! {
        #[test]
        fn similarity_is_symmetric_and_bounded(a: String, b: String) {
            if let (Some(a), Some(b)) = (NormalName::new(&a), NormalName::new(&b)) {
                prop_assert!(a.similarity_bp(&b) <= EQUAL_BP);
                prop_assert_eq!(a.similarity_bp(&b), b.similarity_bp(&a));
                prop_assert_eq!(a.similarity_bp(&a), EQUAL_BP);
            }
        }

        #[test]
        fn the_order_of_words_does_not_matter(words in proptest::collection::vec("[a-z]{3,9}", 1..6), turn in 0usize..6) {
            let mut turned = words.clone();
            turned.rotate_left(turn % words.len());
            // Two words may be a legal form only in one order.
            prop_assume!(!words.iter().any(|word| LEGAL_PHRASES.iter().any(|(phrase, _)| phrase.contains(&word.as_str()))));
            prop_assert_eq!(normal(&words.join(" ")), normal(&turned.join(" ")));
        }
    }
}
