#![allow(clippy::unwrap_used)]

use jiff::civil::date;
use proptest::prelude::*;

use super::super::list::{
    ListError, ListFormat, MAX_ATTRIBUTES, MAX_DEPTH, MAX_NAME_BYTES, MAX_PIECE_BYTES, MAX_PROGRAMMES, NameKind,
    PartyKind, SanctionsList,
};
use super::super::tests::{
    ADVANCED, Dribble, EU, FIXTURES, SDN_COMMENTS, SDN_CSV, SDN_XML, SUPPLEMENT, UK, UK_CONLIST, read, source,
};
use super::read_ofac_sdn_csv;

/// The names of a list: identifier, kind of party, name, kind of name.
fn names(list: &SanctionsList) -> Vec<(&str, PartyKind, &str, NameKind)> {
    list.names.iter().map(|name| (name.party.uid.as_str(), name.party.kind, name.name.as_str(), name.kind)).collect()
}

/// The addresses of a list: identifier, label, text.
fn addresses(list: &SanctionsList) -> Vec<(&str, &str, &str)> {
    let of = |address| -> &super::super::list::ListedAddress { address };
    list.addresses.iter().map(of).map(|a| (a.party.uid.as_str(), a.label.as_str(), a.text.as_str())).collect()
}

const OFAC_ADDRESSES: [(&str, &str, &str); 2] =
    [("90001", "XBT", "12QtD5BFwRsdNsAZY76UVE1xyCGNTojH9h"), ("90002", "USDT", "3E6ZCKRrsdPc35chA9Eftp1h3DLW18NFNV")];

fn changed(bytes: &[u8], from: &str, to: &str) -> Vec<u8> {
    let text = std::str::from_utf8(bytes).unwrap();
    assert!(text.contains(from), "{from}");
    text.replacen(from, to, 1).into_bytes()
}

#[test]
fn the_advanced_format_is_read() {
    let list = read(ListFormat::OfacAdvancedXml, ADVANCED).unwrap();
    assert_eq!((list.entry_count, list.bytes), (3, ADVANCED.len() as u64));
    assert_eq!(list.publication_date, Some(date(2024, 9, 27)));
    assert_eq!(addresses(&list), OFAC_ADDRESSES);
    let (person, entity, vessel) = (PartyKind::Individual, PartyKind::Entity, PartyKind::Vessel);
    let wanted = [
        ("90001", person, "PERSON Example Fixture", NameKind::Primary),
        ("90001", person, "ПРИМЕР Лица", NameKind::Primary),
        ("90001", person, "Fixture Nick", NameKind::WeakAlias),
        ("90002", entity, "EXAMPLE & FIXTURE TRADING L.L.C.", NameKind::Primary),
        ("90003", vessel, "FIXTURE STAR", NameKind::Primary),
    ];
    assert_eq!(names(&list), wanted);
    // The comment of a measure that is no programme is none.
    assert_eq!(list.names[0].party.programmes, ["CYBER2", "EXAMPLE-EO1"]);
    assert_eq!(list.names[3].party.programmes, ["SDGT"]);
    assert_eq!(
        list.warnings,
        ["entry \"90002\": \"TUCsTq7TofTCJRRoHk6RvhMoS2mJLm5Yzq\" is listed as a Bitcoin address and is none"]
    );
}

#[test]
fn feature_types_are_found_by_name_and_not_by_number() {
    let renumbered = String::from_utf8(ADVANCED.to_vec()).unwrap().replace("\"344\"", "\"990344\"");
    let list = read(ListFormat::OfacAdvancedXml, renumbered.as_bytes()).unwrap();
    assert_eq!(addresses(&list), OFAC_ADDRESSES);
    let unnamed = changed(ADVANCED, "Digital Currency Address - XBT", "Something else");
    let error = read(ListFormat::OfacAdvancedXml, &unnamed[..]).unwrap_err();
    assert_eq!(
        error.to_string(),
        "not a list in the format ofac-advanced-xml: no feature type \"Digital Currency Address - XBT\""
    );
}

#[test]
fn a_new_currency_is_found_by_its_name() {
    let new = changed(ADVANCED, "Digital Currency Address - USDT", "Digital Currency Address - NEWCOIN");
    let list = read(ListFormat::OfacAdvancedXml, &new[..]).unwrap();
    assert_eq!(addresses(&list)[1], ("90002", "NEWCOIN", "3E6ZCKRrsdPc35chA9Eftp1h3DLW18NFNV"));
}

#[test]
fn reference_values_after_the_parties_are_refused() {
    let text = std::str::from_utf8(ADVANCED).unwrap();
    let (start, end) = (text.find("<ReferenceValueSets>").unwrap(), text.find("<Locations>").unwrap());
    let moved = [&text[..start], &text[end..].replace("</Sanctions>", ""), &text[start..end], "</Sanctions>"].concat();
    let error = read(ListFormat::OfacAdvancedXml, moved.as_bytes()).unwrap_err();
    assert!(matches!(error, ListError::Layout { .. }), "{error}");
}

#[test]
fn an_address_without_a_value_is_a_warning() {
    let empty = changed(ADVANCED, ">12QtD5BFwRsdNsAZY76UVE1xyCGNTojH9h<", "><");
    let list = read(ListFormat::OfacAdvancedXml, &empty[..]).unwrap();
    assert_eq!(list.warnings[0], "entry \"90001\": an address in \"XBT\" is empty");
    assert_eq!(addresses(&list), OFAC_ADDRESSES[1..]);
}

#[test]
fn the_plain_format_is_read() {
    let list = read(ListFormat::OfacSdnXml, SDN_XML).unwrap();
    assert_eq!(list.entry_count, 3);
    assert_eq!(list.publication_date, Some(date(2024, 9, 27)));
    assert_eq!(addresses(&list), OFAC_ADDRESSES);
    let (person, entity, vessel) = (PartyKind::Individual, PartyKind::Entity, PartyKind::Vessel);
    let wanted = [
        ("90001", person, "Example Fixture PERSON", NameKind::Primary),
        ("90001", person, "Exemple PERSON", NameKind::Alias),
        ("90001", person, "Fixture Nick", NameKind::WeakAlias),
        ("90002", entity, "EXAMPLE & FIXTURE TRADING L.L.C.", NameKind::Primary),
        ("90003", vessel, "FIXTURE STAR", NameKind::Primary),
    ];
    assert_eq!(names(&list), wanted);
    assert_eq!(list.names[0].party.name, "Example Fixture PERSON");
    assert_eq!(list.names[0].party.programmes, ["CYBER2", "EXAMPLE-EO1"]);
}

#[test]
fn a_count_that_the_list_does_not_have_is_a_warning() {
    let more = changed(SDN_XML, "<Record_Count>3", "<Record_Count>4");
    let list = read(ListFormat::OfacSdnXml, &more[..]).unwrap();
    assert!(list.warnings.contains(&"the list announces 4 entries and has 3".to_owned()), "{:?}", list.warnings);
}

#[test]
fn namespaces_and_prefixes_do_not_matter() {
    let other = String::from_utf8(SDN_XML.to_vec())
        .unwrap()
        .replace("https://sanctionslistservice.ofac.treas.gov", "http://example.invalid");
    assert_eq!(addresses(&read(ListFormat::OfacSdnXml, other.as_bytes()).unwrap()), OFAC_ADDRESSES);
    let mut prefixed = other.replace("</", "</p:");
    for name in [
        "sdn", "pub", "Pub", "Rec", "uid", "first", "last", "prog", "id", "aka", "type", "cat", "addr", "city", "date",
        "main", "ves", "call",
    ] {
        prefixed = prefixed.replace(&format!("<{name}"), &format!("<p:{name}"));
    }
    assert_eq!(addresses(&read(ListFormat::OfacSdnXml, prefixed.as_bytes()).unwrap()), OFAC_ADDRESSES);
}

#[test]
fn remarks_go_on_in_the_comments() {
    let list = read(ListFormat::OfacSdnCsv, SDN_CSV).unwrap();
    assert_eq!(list.entry_count, 3);
    // The cut is inside of a label: without the comments the second address would be lost.
    let wanted = [OFAC_ADDRESSES[0], ("90001", "USDT", OFAC_ADDRESSES[1].2)];
    assert_eq!(addresses(&list), wanted);
    let (person, entity, vessel) = (PartyKind::Individual, PartyKind::Entity, PartyKind::Vessel);
    let wanted = [
        ("90001", person, "PERSON, Example Fixture", NameKind::Primary),
        ("90001", person, "Fixture Nick", NameKind::WeakAlias),
        ("90002", entity, "EXAMPLE & FIXTURE TRADING L.L.C.", NameKind::Primary),
        ("90002", entity, "EFT", NameKind::WeakAlias),
        ("90003", vessel, "FIXTURE STAR", NameKind::Primary),
    ];
    assert_eq!(names(&list), wanted);
    assert_eq!(list.names[0].party.programmes, ["CYBER2", "EXAMPLE-EO1"]);
    assert_eq!(list.bytes, (SDN_CSV.len() + SDN_COMMENTS.len()) as u64);
    assert_ne!(list.comments_sha256, None);
}

#[test]
fn remarks_without_their_comments_are_a_warning() {
    let list = read_ofac_sdn_csv(source("fixture"), SDN_CSV, &b"12,\"nobody\"\r\n"[..], &mut |_| ()).unwrap();
    assert_eq!(
        list.warnings,
        ["entry \"90001\": the remarks are cut and do not go on in the comments", "comment on \"12\": no such entry",]
    );
}

#[test]
fn the_list_of_the_eu_is_read() {
    let list = read(ListFormat::EuFsfXml, EU).unwrap();
    assert_eq!((list.entry_count, list.warning_count), (2, 0));
    assert_eq!(list.publication_date, Some(date(2026, 7, 20)));
    let (person, entity) = (PartyKind::Individual, PartyKind::Entity);
    let wanted = [
        ("EU.9001.1", person, "Example Person", NameKind::Primary),
        ("EU.9001.1", person, "Exemple Person", NameKind::Alias),
        ("EU.9001.1", person, "Nick \"Fixture\"", NameKind::WeakAlias),
        ("900002", entity, "Example Trading SA", NameKind::Primary),
    ];
    assert_eq!(names(&list), wanted);
    assert_eq!(list.names[0].party.programmes, ["EXA"]);
}

#[test]
fn both_lists_of_the_uk_are_read() {
    let list = read(ListFormat::UkCsv, UK).unwrap();
    assert_eq!((list.entry_count, list.warning_count), (3, 0));
    assert_eq!(list.publication_date, Some(date(2026, 2, 13)));
    let (person, entity, vessel) = (PartyKind::Individual, PartyKind::Entity, PartyKind::Vessel);
    let wanted = [
        ("EXA0001", person, "Example Fixture PERSON", NameKind::Primary),
        ("EXA0001", person, "Пример Лица", NameKind::Primary),
        ("EXA0001", person, "NICK", NameKind::WeakAlias),
        ("EXA0002", entity, "EXAMPLE TRADING LTD", NameKind::Primary),
        ("EXA0002", entity, "EXAMPLE TRADE", NameKind::Alias),
        ("EXA0003", vessel, "FIXTURE STAR", NameKind::Primary),
    ];
    assert_eq!(names(&list), wanted);
    assert_eq!(list.names[0].party.programmes, ["Example Regime"]);

    let list = read(ListFormat::UkCsv, UK_CONLIST).unwrap();
    assert_eq!((list.entry_count, list.warning_count), (1, 0));
    assert_eq!(list.publication_date, Some(date(2025, 6, 3)));
    let wanted =
        [("99001", person, "Example PERSON", NameKind::Primary), ("99001", person, "Example PERSEN", NameKind::Alias)];
    assert_eq!(names(&list), wanted);
}

#[test]
fn the_supplement_is_read() {
    let list = read(ListFormat::Supplement, SUPPLEMENT).unwrap();
    assert_eq!((list.entry_count, list.warning_count, list.publication_date), (3, 0, None));
    let wanted = [("case 1", "XBT", OFAC_ADDRESSES[0].2), ("row 4", "USDT", OFAC_ADDRESSES[1].2)];
    assert_eq!(addresses(&list), wanted);
    let unknown = PartyKind::Unknown;
    let wanted = [
        ("case 2", unknown, "Example Trading, LLC", NameKind::Primary),
        ("row 4", unknown, "Example Person", NameKind::Primary),
    ];
    assert_eq!(names(&list), wanted);
    assert_eq!(list.addresses[0].party.programmes, ["Example programme"]);
}

#[test]
fn bad_rows_of_the_supplement_are_warnings() {
    let rows = "address,name,label,programme,reference\n,,,a reason,\nfive,fields\nno address,,,,x\n0x01,,ETH,,\n";
    let list = read(ListFormat::Supplement, rows.as_bytes()).unwrap();
    let wanted = [
        "row 2: neither an address nor a name",
        "row 3: 2 fields instead of 5",
        "entry \"x\": \"no address\" is listed as a Bitcoin address and is none",
    ];
    assert_eq!(list.warnings, wanted);
}

#[test]
fn another_file_is_no_list() {
    for (format, bytes) in FIXTURES {
        for (other, _) in FIXTURES {
            if other != format {
                assert!(read(other, bytes).is_err(), "{format} as {other}");
            }
        }
        for bytes in [&b""[..], b"<html><body>Service unavailable</body></html>", b"\x1a", b"\x00\x00\x00"] {
            if let Ok(list) = read(format, bytes) {
                assert_eq!((format, list.names.len(), list.addresses.len()), (ListFormat::OfacSdnCsv, 0, 0));
            }
        }
    }
}

#[test]
fn a_byte_order_mark_is_no_part_of_a_list() {
    for (format, bytes) in FIXTURES {
        let marked = [b"\xef\xbb\xbf", bytes].concat();
        let (marked, plain) = (read(format, &marked[..]).unwrap(), read(format, bytes).unwrap());
        assert_eq!((marked.names, marked.addresses), (plain.names, plain.addresses), "{format}");
    }
}

/// How many fields each row has.
fn field_counts(bytes: &[u8]) -> Vec<usize> {
    let mut reader = csv::ReaderBuilder::new().has_headers(false).flexible(true).from_reader(bytes);
    reader.byte_records().map(|row| row.unwrap().len()).collect()
}

#[test]
fn a_list_that_is_cut_anywhere_is_refused_or_cut_between_rows() {
    for (format, bytes) in FIXTURES {
        let is_xml = bytes.starts_with(b"<");
        let end = if is_xml { bytes.len() - 1 } else { bytes.len() };
        for cut in 0..end {
            if read(format, &bytes[..cut]).is_err() {
                continue;
            }
            assert!(!is_xml, "{format} cut at {cut}");
            // Nothing marks the end of a CSV file. All rows that are left have all their fields.
            assert!(field_counts(bytes).starts_with(&field_counts(&bytes[..cut])), "{format} cut at {cut}");
        }
    }
}

#[test]
fn declarations_and_entities_are_refused() {
    let laughs = r#"<?xml version="1.0"?><!DOCTYPE sdnList [<!ENTITY a "ha"><!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;">
        <!ENTITY c "&b;&b;&b;&b;&b;&b;&b;&b;">]><sdnList><sdnEntry><uid>&c;</uid></sdnEntry></sdnList>"#;
    let read_xml = |text: &str| read(ListFormat::OfacSdnXml, text.as_bytes());
    assert!(matches!(read_xml(laughs), Err(ListError::DocumentType { .. })));
    assert!(matches!(
        read_xml("<!DOCTYPE sdnList SYSTEM 'file:///etc/hostname'><sdnList/>"),
        Err(ListError::DocumentType { .. })
    ));
    let error = read_xml("<sdnList><uid>&xxe;</uid></sdnList>").unwrap_err();
    assert_eq!(error.to_string(), "malformed about byte 14: reference \"xxe\"");
    for text in [
        "<sdnList a='&xxe;'/>",
        "<sdnList>&#0;</sdnList>",
        "<sdnList>& </sdnList>",
        "<sdnList a='1' a='2'/>",
        "<sdnList a=1/>",
    ] {
        assert!(matches!(read_xml(text), Err(ListError::Malformed { .. })), "{text}");
    }
    assert!(matches!(read_xml("<sdnList></sdnLists>"), Err(ListError::Malformed { .. })));
    assert!(matches!(read_xml("<sdnList/><sdnList/>"), Err(ListError::Layout { .. })));
    assert!(matches!(read_xml("<sdnList/>text"), Err(ListError::Malformed { .. })));
    assert!(matches!(read_xml("<?xml version='1.0' encoding='utf-16'?><sdnList/>"), Err(ListError::Malformed { .. })));
    let escaped =
        "<sdnList><sdnEntry><uid>1</uid><lastName>A &lt;&#66;&#x43;&gt; <![CDATA[&D]]></lastName></sdnEntry></sdnList>";
    assert_eq!(read_xml(escaped).unwrap().names[0].name, "A <BC> &D");
}

#[test]
fn text_that_is_not_utf_8_is_refused() {
    for (format, bytes) in FIXTURES {
        for (at, byte) in [(bytes.len() / 2, 0xff), (bytes.len() - 3, 0xc3)] {
            let mut bad = bytes.to_vec();
            bad[at] = byte;
            let error = read(format, &bad[..]).unwrap_err();
            assert!(matches!(error, ListError::Malformed { .. } | ListError::Truncated { .. }), "{format}: {error}");
        }
    }
}

/// Gives `head`, then `filler` for ever, and counts what is taken.
struct Endless<'a> {
    head: &'a [u8],
    filler: &'a [u8],
    at: usize,
    taken: &'a mut u64,
}

impl std::io::Read for Endless<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        for slot in buffer.iter_mut() {
            let at = self.at;
            self.at += 1;
            *slot = match self.head.get(at) {
                Some(byte) => *byte,
                None => self.filler[(at - self.head.len()) % self.filler.len()],
            };
        }
        *self.taken += buffer.len() as u64;
        Ok(buffer.len())
    }
}

#[test]
fn endless_pieces_are_refused_soon() {
    const SOON: u64 = 4 << 20;
    for (format, head, filler) in [
        (ListFormat::OfacSdnXml, "<sdnList>", "a"),
        (ListFormat::OfacSdnXml, "<sdnList>", "&amp;"),
        (ListFormat::OfacSdnXml, "<sdnList a='", "a"),
        (ListFormat::OfacSdnXml, "<sdnList", " a='1'"),
        (ListFormat::OfacSdnXml, "<sdnList><!--", "a"),
        (ListFormat::OfacSdnXml, "<sdnList><![CDATA[", "a"),
        (ListFormat::OfacSdnXml, "<sdnList><?", "a"),
        (ListFormat::OfacSdnXml, "<!DOCTYPE sdnList [", "<!ENTITY a 'a'>"),
        (ListFormat::OfacSdnXml, "", "<sdnList>"),
        (ListFormat::OfacSdnXml, "", " "),
        (ListFormat::OfacSdnXml, "<", "a"),
        (ListFormat::OfacSdnXml, "<sdnList>&", "a"),
        (ListFormat::UkCsv, "", "a"),
        (ListFormat::UkCsv, "", ","),
        (ListFormat::UkCsv, "", "a\n"),
        (ListFormat::Supplement, "address,name,label,programme,reference\n\"", "a\n"),
        (ListFormat::OfacSdnCsv, "1,\"", "\"\""),
    ] {
        let mut taken = 0;
        let input = Endless { head: head.as_bytes(), filler: filler.as_bytes(), at: 0, taken: &mut taken };
        let error = read(format, input).unwrap_err();
        assert!(taken <= SOON, "{format} {head} {filler}: {taken}: {error}");
    }
}

#[test]
fn what_no_list_has_is_over_the_limits() {
    let limit_of = |format, text: String| match read(format, text.as_bytes()) {
        Err(ListError::Limit { what, .. }) => what,
        other => panic!("{other:?}"),
    };
    let deep = format!("<sdnList>{}", "<a>".repeat(MAX_DEPTH));
    assert_eq!(limit_of(ListFormat::OfacSdnXml, deep), "the depth of elements");
    let attributes: String = (0..=MAX_ATTRIBUTES).map(|number| format!(" a{number}=''")).collect();
    assert_eq!(limit_of(ListFormat::OfacSdnXml, format!("<sdnList{attributes}/>")), "the number of attributes");
    let entry = |fields: String| format!("<sdnList><sdnEntry><uid>1</uid>{fields}</sdnEntry></sdnList>");
    let name = entry(format!("<lastName>{}</lastName>", "a".repeat(MAX_NAME_BYTES + 1)));
    assert_eq!(limit_of(ListFormat::OfacSdnXml, name), "the length of a field");
    let programmes: String = (0..=MAX_PROGRAMMES).map(|number| format!("<program>{number}</program>")).collect();
    let programmes = entry(format!("<programList>{programmes}</programList>"));
    assert_eq!(limit_of(ListFormat::OfacSdnXml, programmes), "the number of programmes of a party");
    let field = format!("address,name,label,programme,reference\n,{},,,\n", "a".repeat(MAX_PIECE_BYTES + 1));
    assert_eq!(limit_of(ListFormat::Supplement, field), "a field");
}

#[test]
fn progress_is_told() {
    let mut told = Vec::new();
    super::read_eu_fsf(source("fixture"), EU, &mut |bytes| told.push(bytes)).unwrap();
    assert_eq!(told.last(), Some(&(EU.len() as u64)));
}

fn csv_field() -> impl Strategy<Value = String> {
    "[ -~éП]{0,30}"
}

fn quoted_csv(fields: &[&str]) -> String {
    fields.iter().map(|field| format!("\"{}\"", field.replace('"', "\"\""))).collect::<Vec<_>>().join(",") + "\n"
}

fn escaped_xml(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

proptest! {
    #[test]
    fn how_the_input_is_delivered_changes_nothing(at in 0usize..7, place: proptest::sample::Index, byte: u8) {
        let (format, bytes) = FIXTURES[at];
        let mut changed = bytes.to_vec();
        changed[place.index(bytes.len())] = byte;
        prop_assert_eq!(read(format, &changed[..]), read(format, Dribble(&changed)));
        prop_assert_eq!(read(format, bytes), read(format, Dribble(bytes)));
    }

    #[test]
    fn any_bytes_are_a_list_or_an_error(bytes: Vec<u8>) {
        for (format, _) in FIXTURES {
            let _ = read(format, &bytes[..]);
        }
    }

    #[test]
    fn a_supplement_gives_back_what_was_written(
        rows in proptest::collection::vec(("x[ -~éП]{0,29}", csv_field(), "r[0-9]{1,6}"), 0..20),
    ) {
        let mut text = "address,name,label,programme,reference\n".to_owned();
        for (name, programme, reference) in &rows {
            text += &quoted_csv(&["", name, "", programme, reference]);
        }
        let list = read(ListFormat::Supplement, text.as_bytes()).unwrap();
        let words = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
        let wanted: Vec<_> = rows.iter().map(|(name, programme, uid)| {
            let programme = words(programme);
            (uid.clone(), words(name), if programme.is_empty() { vec![] } else { vec![programme] })
        }).collect();
        let parsed: Vec<_> = list.names.iter().map(|name| {
            (name.party.uid.clone(), name.name.clone(), name.party.programmes.clone())
        }).collect();
        prop_assert_eq!(parsed, wanted);
        prop_assert_eq!((list.entry_count, list.warning_count), (rows.len() as u64, 0));
    }

    #[test]
    fn a_plain_list_gives_back_what_was_written(
        rows in proptest::collection::vec(("x[ -~éП]{0,29}", any::<[u8; 20]>(), 0usize..4), 0..20),
    ) {
        let mut text = "<sdnList><publshInformation><Publish_Date>09/27/2024</Publish_Date></publshInformation>".to_owned();
        let mut wanted = Vec::new();
        for (number, (name, hash, kind)) in rows.iter().enumerate() {
            let hash = bitcoin::hashes::Hash::from_byte_array(*hash);
            let hash = bitcoin::PubkeyHash::from_raw_hash(hash);
            let script = bitcoin::ScriptBuf::new_p2pkh(&hash);
            let address = bitcoin::Address::p2pkh(hash, bitcoin::Network::Bitcoin);
            let label = ["XBT", "BCH", "USDT", "BSV"][*kind];
            text += &format!(
                "<sdnEntry><uid>{number}</uid><lastName>{}</lastName><sdnType>Entity</sdnType><idList><id>\
                 <idType>Digital Currency Address - {label}</idType><idNumber>{address}</idNumber></id></idList></sdnEntry>",
                escaped_xml(name)
            );
            let name = name.split_whitespace().collect::<Vec<_>>().join(" ");
            wanted.push((number.to_string(), name, address.to_string(), label.to_owned(), script));
        }
        text += "</sdnList>";
        let list = read(ListFormat::OfacSdnXml, text.as_bytes()).unwrap();
        let parsed: Vec<_> = list.addresses.iter().map(|address| {
            let party = &address.party;
            (party.uid.clone(), party.name.clone(), address.text.clone(), address.label.clone(), address.script.clone())
        }).collect();
        prop_assert_eq!(parsed, wanted);
        prop_assert_eq!((list.entry_count, list.warning_count), (rows.len() as u64, 0));
    }
}
