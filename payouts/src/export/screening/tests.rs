//! Checks across the parts, with the numbers of the requirements.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::io::{self, Read};
use std::sync::Arc;

use bitcoin::ScriptBuf;
use jiff::civil::date;
use proptest::prelude::*;

use super::index::SIMILAR_BP;
use super::list::{MAX_WARNINGS, NameKind, PartyKind};
use super::name::NormalName;
use super::standing::{DEFAULT_MAX_AGE_S, NoLists, Reading};
use super::*;

pub(super) const ADVANCED: &[u8] = include_bytes!("fixtures/sdn_advanced.xml");
pub(super) const SDN_XML: &[u8] = include_bytes!("fixtures/sdn.xml");
pub(super) const SDN_CSV: &[u8] = include_bytes!("fixtures/sdn.csv");
pub(super) const SDN_COMMENTS: &[u8] = include_bytes!("fixtures/sdn_comments.csv");
pub(super) const EU: &[u8] = include_bytes!("fixtures/eu_fsf.xml");
pub(super) const UK: &[u8] = include_bytes!("fixtures/uk_sanctions_list.csv");
pub(super) const UK_CONLIST: &[u8] = include_bytes!("fixtures/uk_conlist.csv");
pub(super) const SUPPLEMENT: &[u8] = include_bytes!("fixtures/supplement.csv");

/// A reader that gives one byte at a time.
pub(super) struct Dribble<'a>(pub(super) &'a [u8]);

impl Read for Dribble<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.0.len().min(buffer.len()).min(1);
        buffer[..count].copy_from_slice(&self.0[..count]);
        self.0 = &self.0[count..];
        Ok(count)
    }
}

pub(super) fn source(name: &str) -> ListSource {
    name.parse().unwrap()
}

/// Reads a list of any format; OFAC's CSV with the fixture's comments.
pub(super) fn read(format: ListFormat, input: impl Read) -> Result<SanctionsList, ListError> {
    let (source, progress) = (source("fixture"), &mut |_| ());
    match format {
        ListFormat::OfacAdvancedXml => read_ofac_advanced(source, input, progress),
        ListFormat::OfacSdnXml => read_ofac_sdn_xml(source, input, progress),
        ListFormat::OfacSdnCsv => read_ofac_sdn_csv(source, input, SDN_COMMENTS, progress),
        ListFormat::EuFsfXml => read_eu_fsf(source, input, progress),
        ListFormat::UkCsv => read_uk_csv(source, input, progress),
        ListFormat::Supplement => read_supplement(source, input, progress),
    }
}

pub(super) const FIXTURES: [(ListFormat, &[u8]); 7] = [
    (ListFormat::OfacAdvancedXml, ADVANCED),
    (ListFormat::OfacSdnXml, SDN_XML),
    (ListFormat::OfacSdnCsv, SDN_CSV),
    (ListFormat::EuFsfXml, EU),
    (ListFormat::UkCsv, UK),
    (ListFormat::UkCsv, UK_CONLIST),
    (ListFormat::Supplement, SUPPLEMENT),
];

fn supplement(rows: &str) -> SanctionsList {
    let text = format!("address,name,label,programme,reference\n{rows}");
    read(ListFormat::Supplement, text.as_bytes()).unwrap()
}

fn index(list: SanctionsList) -> ScreeningIndex {
    ScreeningIndex::new([Arc::new(list)])
}

fn ofac() -> ScreeningIndex {
    index(read(ListFormat::OfacAdvancedXml, ADVANCED).unwrap())
}

fn script(address: &str) -> ScriptBuf {
    address::parse_listed(address).unwrap()
}

/// Judges hits with everything else in order.
fn judge_hits(hits: Vec<Hit>) -> Judgement {
    let required = RequiredLists::new([source("fixture")]).unwrap();
    let usable = required.judge(&[(source("fixture"), ListStanding::Usable)].into()).unwrap();
    judge(Ok(&usable), &Owner::Known, hits)
}

#[test]
fn a_listed_address_is_blocked_with_complete_evidence() {
    let listed = ScriptBuf::from_hex("76a9140f7c70765b8d48105b5c9b9d32ad061e0b96772288ac").unwrap();
    let judgement = judge_hits(ofac().screen_script(&listed));
    assert_eq!(judgement.outcome, Outcome::Blocked);
    assert_eq!(judgement.reasons, [Reason::ExactAddress]);
    let [hit] = &judgement.hits[..] else { panic!("{:?}", judgement.hits) };
    assert_eq!(hit.listed, "12QtD5BFwRsdNsAZY76UVE1xyCGNTojH9h");
    assert_eq!(hit.label.as_deref(), Some("XBT"));
    assert_eq!(hit.party.uid, "90001");
    assert_eq!(hit.party.name, "PERSON Example Fixture");
    assert_eq!(hit.party.programmes, ["CYBER2", "EXAMPLE-EO1"]);
    assert_eq!(hit.list.source, source("fixture"));
    assert_eq!(hit.list.publication_date, Some(date(2024, 9, 27)));
    assert_eq!(hit.list.entry_count, 3);
    let hash = <sha2::Sha256 as sha2::Digest>::digest(ADVANCED);
    assert_eq!(hit.list.sha256.to_bytes(), <[u8; 32]>::from(hash));
}

#[test]
fn a_bitcoin_address_under_another_currency_blocks_and_another_under_bitcoin_only_warns() {
    for (format, bytes) in &FIXTURES[..3] {
        let list = read(*format, *bytes).unwrap();
        assert_eq!(list.warning_count, 1, "{:?}", list.warnings);
        assert!(list.warnings[0].contains("TUCsTq7TofTCJRRoHk6RvhMoS2mJLm5Yzq"), "{:?}", list.warnings);
        let hits = index(list).screen_script(&script("3E6ZCKRrsdPc35chA9Eftp1h3DLW18NFNV"));
        assert_eq!(hits[0].label.as_deref(), Some("USDT"));
        assert_eq!(judge_hits(hits).outcome, Outcome::Blocked);
    }
}

#[test]
fn other_scripts_of_a_listed_key_are_held() {
    for address in ["bc1qpa78qajm34ypqk6unwwn9tgxrc9evaez76c64s", "3BN2W2uaBtmjogy53Bd641ssnyS4g93uWg"] {
        let judgement = judge_hits(ofac().screen_script(&script(address)));
        assert_eq!(judgement.outcome, Outcome::Held, "{address}");
        assert_eq!(judgement.reasons, [Reason::SameKey]);
        // The evidence names the address that is listed.
        assert_eq!(judgement.hits[0].listed, "12QtD5BFwRsdNsAZY76UVE1xyCGNTojH9h");
    }
}

#[test]
fn a_listed_p2wpkh_gives_its_key_away_too() {
    let index = index(supplement("bc1qpa78qajm34ypqk6unwwn9tgxrc9evaez76c64s,,,,\n"));
    for (address, match_kind) in [
        ("bc1qpa78qajm34ypqk6unwwn9tgxrc9evaez76c64s", MatchKind::ExactAddress),
        ("12QtD5BFwRsdNsAZY76UVE1xyCGNTojH9h", MatchKind::SameKey),
        ("3BN2W2uaBtmjogy53Bd641ssnyS4g93uWg", MatchKind::SameKey),
    ] {
        let kinds: Vec<_> = index.screen_script(&script(address)).into_iter().map(|hit| hit.match_kind).collect();
        assert_eq!(kinds, [match_kind], "{address}");
    }
}

#[test]
fn an_address_is_compared_by_its_script_on_every_network() {
    // The same script, written for regtest.
    let regtest: bitcoin::Address<_> = "mgvqW8GEkTJt9yeBFg4rK9EHqBs5Hzh3Qk".parse().unwrap();
    let hits = ofac().screen_script(&regtest.assume_checked().script_pubkey());
    assert_eq!(judge_hits(hits).outcome, Outcome::Blocked);
}

#[test]
fn an_address_on_no_list_is_clear() {
    let judgement = judge_hits(ofac().screen_script(&script("bc1qw508d6qejxtdg4y5r3zarvary0c5xw7kv8f3t4")));
    assert_eq!((judgement.outcome, judgement.reasons, judgement.hits), (Outcome::Clear, vec![], vec![]));
}

#[test]
fn a_list_of_25_hours_is_unusable_and_one_of_24_is_not() {
    let list = supplement(",Example Person,,,\n");
    let at = |hours: u64| assess_list(Reading::Parsed(&list), hours * 3_600, DEFAULT_MAX_AGE_S, None);
    assert_eq!(at(24), ListStanding::Usable);
    let stale = at(25);
    assert_eq!(stale, ListStanding::Stale { age_s: 90_000, max_age_s: 86_400 });
    assert_eq!(stale.to_string(), "stale: 25 h old, and at most 24 h are allowed");
    assert_eq!(
        assess_list(Reading::Parsed(&list), 86_401, DEFAULT_MAX_AGE_S, None).to_string(),
        "stale: 24 h 0 min 1 s old, and at most 24 h are allowed"
    );
    let required = RequiredLists::new([source("fixture")]).unwrap();
    let unusable = required.judge(&[(source("fixture"), stale)].into()).unwrap_err();
    let judgement = judge(Err(&unusable), &Owner::Known, []);
    assert_eq!(judgement.outcome, Outcome::Held);
    assert_eq!(judgement.reasons, [Reason::ListsUnusable]);
    assert_eq!(judgement.unusable, unusable.standings());
}

#[test]
fn a_profile_without_a_list_is_refused() {
    assert_eq!(RequiredLists::new([]), Err(NoLists));
}

#[test]
fn every_required_list_must_be_usable() {
    let required = RequiredLists::new(["b", "a", "b"].map(source)).unwrap();
    assert_eq!(required.sources(), ["a", "b"].map(source));
    let mut standings = BTreeMap::from([(source("a"), ListStanding::Usable), (source("other"), ListStanding::Empty)]);
    let unusable = required.judge(&standings).unwrap_err();
    assert_eq!(unusable.to_string(), "list b is missing: there is no file");
    standings.insert(source("b"), ListStanding::Usable);
    assert_eq!(required.judge(&standings).unwrap().sources(), required.sources());
}

#[test]
fn a_list_may_shrink_by_a_tenth_and_no_more() {
    let with = |entry_count| SanctionsList { entry_count, ..supplement(",Example Person,,,\n") };
    let judged = |entry_count, last| assess_list(Reading::Parsed(&with(entry_count)), 0, 1, Some(last));
    assert_eq!(judged(900, 1_000), ListStanding::Usable);
    assert_eq!(judged(899, 1_000), ListStanding::Shrunken { entry_count: 899, last_entry_count: 1_000 });
    assert_eq!(judged(2_000, 1_000), ListStanding::Usable);
    // A tenth of 19,199 is no whole number.
    assert_eq!(judged(17_280, 19_199), ListStanding::Usable);
    assert_eq!(
        judged(17_279, 19_199).to_string(),
        "shrunken: 17279 entries, more than 10 % fewer than the 19199 before"
    );
    assert_eq!(
        judged(u64::MAX / 2, u64::MAX),
        ListStanding::Shrunken { entry_count: u64::MAX / 2, last_entry_count: u64::MAX }
    );
}

#[test]
fn missing_unreadable_and_empty_lists_are_unusable() {
    assert_eq!(assess_list(Reading::Missing, 0, 1, None), ListStanding::Missing);
    let fault = read(ListFormat::OfacSdnXml, &b"<sdnList>"[..]).unwrap_err();
    assert_eq!(
        assess_list(Reading::Unreadable(&fault), 0, 1, None).to_string(),
        "unreadable: ends in the middle, after 9 bytes"
    );
    let empty = supplement("");
    assert_eq!(assess_list(Reading::Parsed(&empty), 0, 1, None), ListStanding::Empty);
}

#[test]
fn a_receiver_on_the_party_list_is_blocked_without_an_address() {
    let judgement = judge_hits(ofac().screen_name("Example Fixture Person", PartyKind::Individual));
    assert_eq!(judgement.outcome, Outcome::Blocked);
    assert_eq!(judgement.reasons, [Reason::ExactName]);
    let judgement = judge_hits(ofac().screen_name("Example & Fixture Trading, LLC", PartyKind::Entity));
    assert_eq!(judgement.outcome, Outcome::Blocked);
    let judgement = judge_hits(ofac().screen_name("лица, Пример", PartyKind::Individual));
    assert_eq!(judgement.outcome, Outcome::Blocked);
}

#[test]
fn a_similar_name_is_held() {
    let judgement = judge_hits(ofac().screen_name("Exampel Fixture Persson", PartyKind::Individual));
    assert_eq!(judgement.outcome, Outcome::Held);
    assert_eq!(judgement.reasons, [Reason::SimilarName]);
    assert_eq!(judgement.hits[0].listed, "PERSON Example Fixture");
    let other = ofac().screen_name("Beispiel Handel GmbH", PartyKind::Entity);
    assert_eq!(other, []);
}

#[test]
fn the_same_name_of_another_kind_and_a_weak_alias_are_held() {
    for (name, kind) in [
        ("Example Fixture Person", PartyKind::Entity),
        ("Fixture Star", PartyKind::Individual),
        ("Fixture Nick", PartyKind::Individual),
    ] {
        let hits = ofac().screen_name(name, kind);
        assert_eq!(hits[0].match_kind, MatchKind::SimilarName { score_bp: 10_000 }, "{name}");
        assert_eq!(judge_hits(hits).outcome, Outcome::Held);
    }
    // Whoever does not say what it is, may be anything.
    let hits = ofac().screen_name("Fixture Star", PartyKind::Unknown);
    assert_eq!(hits[0].match_kind, MatchKind::ExactName);
}

#[test]
fn missing_owner_data_is_held_and_the_worst_outcome_wins() {
    let required = RequiredLists::new([source("fixture")]).unwrap();
    let unusable = required.judge(&BTreeMap::new()).unwrap_err();
    let missing = Owner::Missing { fields: vec!["residency".into(), "legal name".into(), "residency".into()] };
    let judgement = judge(Err(&unusable), &missing, []);
    assert_eq!(judgement.outcome, Outcome::Held);
    assert_eq!(judgement.reasons, [Reason::MissingOwner, Reason::ListsUnusable]);
    assert_eq!(judgement.missing, ["legal name", "residency"]);
    // An old list still blocks whom it names.
    let hits = ofac().screen_script(&script("12QtD5BFwRsdNsAZY76UVE1xyCGNTojH9h"));
    let judgement = judge(Err(&unusable), &missing, hits);
    assert_eq!(judgement.outcome, Outcome::Blocked);
    assert_eq!(judgement.reasons, [Reason::ExactAddress, Reason::MissingOwner, Reason::ListsUnusable]);
}

#[test]
fn text_forms_read_back() {
    for reason in Reason::ALL {
        assert_eq!(reason.as_str().parse(), Ok(reason));
    }
    for outcome in [Outcome::Clear, Outcome::Held, Outcome::Blocked] {
        assert_eq!(outcome.as_str().parse(), Ok(outcome));
    }
    for format in ListFormat::ALL {
        assert_eq!(format.as_str().parse(), Ok(format));
    }
    assert_eq!("held".parse::<Outcome>().unwrap_err().to_string(), "unknown screening outcome \"held\"");
    assert!("OFAC".parse::<ListSource>().is_err());
    assert!("".parse::<ListSource>().is_err());
}

#[test]
fn warnings_are_bounded_and_counted() {
    let rows = "no address,,,,\n".repeat(MAX_WARNINGS + 50);
    let list = supplement(&rows);
    assert_eq!(list.warnings.len(), MAX_WARNINGS);
    assert_eq!(list.warning_count, MAX_WARNINGS as u64 + 50);
    assert_eq!(list.entry_count, MAX_WARNINGS as u64 + 50);
}

/// Finds hits by comparing with every name, as [`ScreeningIndex::screen_name`] must without.
fn similar_by_scan(list: &SanctionsList, query: &str) -> Vec<(String, u32)> {
    let query = NormalName::new(query).unwrap();
    let mut found: Vec<_> = list
        .names
        .iter()
        .filter_map(|name| {
            let bp = query.similarity_bp(&NormalName::new(&name.name)?);
            (bp >= SIMILAR_BP && name.kind != NameKind::WeakAlias).then(|| (name.name.clone(), bp))
        })
        .collect();
    found.sort();
    found
}

fn any_name() -> impl Strategy<Value = String> {
    // Few letters, so that names are often alike.
    proptest::collection::vec("[abé]{1,6}|ltd|[аб]{2,4}", 1..5).prop_map(|words| words.join(" "))
}

proptest! {
    #[test]
    fn the_index_finds_what_a_scan_finds(names in proptest::collection::vec(any_name(), 1..40), query in any_name()) {
        let list = supplement(&names.iter().map(|name| format!(",{name},,,\n")).collect::<String>());
        let scanned = similar_by_scan(&list, &query);
        let mut found: Vec<_> = index(list).screen_name(&query, PartyKind::Unknown).into_iter().map(|hit| {
            let bp = match hit.match_kind {
                MatchKind::SimilarName { score_bp } => score_bp,
                _ => 10_000,
            };
            (hit.listed, bp)
        }).collect();
        found.sort();
        prop_assert_eq!(found, scanned);
    }

    #[test]
    fn the_order_of_lists_changes_nothing(turn in 0usize..7, swap: bool, name in any_name()) {
        let mut lists: Vec<_> = FIXTURES.iter().map(|(format, bytes)| Arc::new(read(*format, *bytes).unwrap())).collect();
        lists.push(Arc::new(supplement(&format!(",{name},,,\n12QtD5BFwRsdNsAZY76UVE1xyCGNTojH9h,,,,\n"))));
        let before = ScreeningIndex::new(lists.clone());
        lists.rotate_left(turn);
        if swap {
            lists.reverse();
        }
        let after = ScreeningIndex::new(lists);
        prop_assert!(before.lists().eq(after.lists()));
        for address in ["12QtD5BFwRsdNsAZY76UVE1xyCGNTojH9h", "3BN2W2uaBtmjogy53Bd641ssnyS4g93uWg"] {
            let hits = before.screen_script(&script(address));
            prop_assert!(!hits.is_empty());
            prop_assert_eq!(judge_hits(hits), judge_hits(after.screen_script(&script(address))));
        }
        for query in [name.as_str(), "Example Fixture Person", "Example Trading"] {
            let hits = before.screen_name(query, PartyKind::Unknown);
            prop_assert!(!hits.is_empty());
            prop_assert_eq!(judge_hits(hits), judge_hits(after.screen_name(query, PartyKind::Unknown)));
        }
    }

    #[test]
    fn the_order_of_hits_changes_no_judgement(turn in 0usize..9) {
        let index = ofac();
        let mut hits = index.screen_name("Example Fixture Person", PartyKind::Unknown);
        hits.extend(index.screen_script(&script("12QtD5BFwRsdNsAZY76UVE1xyCGNTojH9h")));
        hits.extend(index.screen_script(&script("bc1qpa78qajm34ypqk6unwwn9tgxrc9evaez76c64s")));
        let judgement = judge_hits(hits.clone());
        let twice = [hits.clone(), hits.clone()].concat();
        let len = hits.len();
        hits.rotate_left(turn % len);
        prop_assert_eq!(&judgement, &judge_hits(hits));
        prop_assert_eq!(&judgement, &judge_hits(twice));
    }
}
