#![allow(clippy::unwrap_used)]

use std::{fs, process::Command};

use quick_xml::{Reader, events::Event};

use super::{
    super::{
        NOT_LEGAL_ADVICE,
        fixture::{head, legal_party, natural_party, usd, valued},
        party::{PartyName, TaxId},
    },
    *,
};

fn draft() -> CarfDraft {
    let income =
        MiningIncome { receipts: 3, amount_sat: 156_785_221, minor: 1_240_679_638, currency: usd(), unvalued: 0 };
    CarfDraft {
        year: 2026,
        transmitting_country: "KZ".to_owned(),
        receiving_country: "DE".to_owned(),
        message: "example-1".to_owned(),
        contact: "Example Contact".to_owned(),
        provider: legal_party(),
        users: vec![
            CarfUser { party: natural_party(), income: income.clone() },
            CarfUser { party: Party { id: "P-2".to_owned(), ..legal_party() }, income },
        ],
    }
}

fn written(draft: &CarfDraft) -> (String, Vec<Gap>) {
    let mut bytes = Vec::new();
    let gaps = draft.write(&head(), &mut bytes).unwrap();
    (String::from_utf8(bytes).unwrap(), gaps)
}

/// Validates with xmllint of libxml2 (Debian: `apt-get install libxml2-utils`), which has to be there.
fn validation(xml: &str) -> Result<(), String> {
    let folder = tempfile::tempdir().unwrap();
    let [schema, document] = ["carf_elements.xsd", "carf.xml"].map(|name| folder.path().join(name));
    fs::write(&schema, include_str!("schema/carf_elements.xsd")).unwrap();
    fs::write(folder.path().join("carf_stf_elements.xsd"), include_str!("schema/carf_stf_elements.xsd")).unwrap();
    fs::write(&document, xml).unwrap();
    let output = Command::new("xmllint")
        .args(["--noout", "--nonet", "--schema"])
        .args([&schema, &document])
        .output()
        .expect("xmllint must be installed: it is in Debian's package libxml2-utils");
    if output.status.success() { Ok(()) } else { Err(String::from_utf8_lossy(&output.stderr).into_owned()) }
}

/// All elements with a text of their own, as `path text`.
fn leaves(xml: &str) -> Vec<(String, String)> {
    let mut reader = Reader::from_str(xml);
    let (mut path, mut text, mut leaves) = (Vec::new(), String::new(), Vec::new());
    loop {
        match reader.read_event().unwrap() {
            Event::Start(tag) => {
                path.push(tag.name().as_ref().to_owned());
                text.clear();
            }
            Event::Text(part) => text.push_str(&part),
            Event::GeneralRef(name) => text.push_str(match &*name {
                "lt" => "<",
                "gt" => ">",
                "amp" => "&",
                "quot" => "\"",
                "apos" => "'",
                "#13" => "\r",
                other => panic!("reference {other}"),
            }),
            Event::End(_) => {
                if !text.trim().is_empty() {
                    leaves.push((path.join("/").replace("carf:", ""), text.clone()));
                }
                text.clear();
                path.pop();
            }
            Event::Eof => return leaves,
            _ => {}
        }
    }
}

#[test]
fn a_whole_draft_fits_the_schema() {
    let (xml, gaps) = written(&draft());
    assert_eq!(gaps, []);
    assert_eq!(validation(&xml), Ok(()));
}

#[test]
fn a_draft_says_what_it_is_and_every_element_is_in_its_place() {
    let (xml, _) = written(&draft());
    assert!(xml.starts_with("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<!-- DRAFT, not a report."), "{xml}");
    assert!(xml.contains("<carf:Amount currCode=\"USD\">"), "{xml}");
    assert!(xml.contains("<carf:TIN issuedBy=\"DE\">"), "{xml}");
    let warning = format!("DRAFT, not a report. {NOT_LEGAL_ADVICE}");
    let leaves = leaves(&xml);
    let body = "CARF_OECD/CARFBody";
    let user = format!("{body}/CryptoUsers");
    let income = format!("{user}/RelevantTransactions/CryptoTransferIn");
    let individual = format!("{user}/UserID/Individual");
    let expected = [
        ("CARF_OECD/MessageSpec/SendingEntityIN".to_owned(), "00000000000000000000"),
        ("CARF_OECD/MessageSpec/TransmittingCountry".to_owned(), "KZ"),
        ("CARF_OECD/MessageSpec/ReceivingCountry".to_owned(), "DE"),
        ("CARF_OECD/MessageSpec/MessageType".to_owned(), "CARF"),
        ("CARF_OECD/MessageSpec/Warning".to_owned(), &*warning),
        ("CARF_OECD/MessageSpec/Contact".to_owned(), "Example Contact"),
        ("CARF_OECD/MessageSpec/MessageRefId".to_owned(), "KZ2026DE-example-1"),
        ("CARF_OECD/MessageSpec/MessageTypeIndic".to_owned(), "CARF701"),
        ("CARF_OECD/MessageSpec/ReportingPeriod".to_owned(), "2026-12-31"),
        ("CARF_OECD/MessageSpec/Timestamp".to_owned(), "2026-03-01T21:20:00"),
        (format!("{body}/RCASP/RCASP_ID/Entity/ResCountryCode"), "KZ"),
        (format!("{body}/RCASP/RCASP_ID/Entity/IN"), "00000000000000000000"),
        (format!("{body}/RCASP/RCASP_ID/Entity/Name"), "Example Trading LLC & <Sons> \"]]>\""),
        (format!("{body}/RCASP/DocSpec/stf:DocTypeIndic"), "OECD11"),
        (format!("{body}/RCASP/DocSpec/stf:DocRefId"), "KZ2026DE-000000-example-1"),
        (format!("{individual}/ResCountryCode"), "DE"),
        (format!("{individual}/TIN"), "=1"),
        (format!("{individual}/Name/FirstName"), "EXAMPLE"),
        (format!("{individual}/Name/LastName"), "PERSON</carf:LastName><x>"),
        (format!("{individual}/Address/CountryCode"), "KZ"),
        (format!("{individual}/Address/AddressFix/City"), "Example City"),
        (format!("{individual}/BirthInfo/BirthDate"), "2000-02-29"),
        (format!("{user}/RelevantTransactions/CryptoAsset"), "Bitcoin"),
        (format!("{income}/TransferType"), "CARF503"),
        (format!("{income}/NumberofTransactions"), "3"),
        (format!("{income}/Amount"), "12406796.38"),
        (format!("{income}/NumberofUnits"), "1.56785221"),
        (format!("{user}/DocSpec/stf:DocRefId"), "KZ2026DE-000002-example-1"),
    ];
    let mut at = 0;
    for (path, text) in expected {
        let found = leaves[at..].iter().position(|(it, told)| *it == path && told == text);
        at += found.unwrap_or_else(|| panic!("{path} {text} is not after place {at} of {leaves:#?}"));
    }
}

#[test]
fn what_is_missing_is_said_and_not_made_up() {
    let mut draft = draft();
    let party = &mut draft.users[0].party;
    party.name =
        PartyName::Natural { first: String::new(), last: "EXAMPLE PERSON".to_owned(), birth_date: String::new() };
    (party.address, party.residency, party.tax_ids) = (None, String::new(), Vec::new());
    draft.users[0].income.unvalued = 2;
    let (xml, gaps) = written(&draft);
    let what: Vec<&str> = gaps.iter().map(|gap| &*gap.what).collect();
    assert_eq!(what, ["ResCountryCode", "BirthInfo", "Address"]);
    assert!(gaps.iter().all(|gap| gap.party == "P-1"));
    assert!(
        xml.contains("<!-- Missing: BirthInfo -->") && xml.contains("<carf:TIN unknown=\"true\"></carf:TIN>"),
        "{xml}"
    );
    assert!(xml.contains("2 receipts without a value") && xml.contains("3 demanded elements are missing"), "{xml}");
    assert!(leaves(&xml).iter().any(|(path, text)| path.ends_with("FirstName") && text == "NFN"));
    let error = validation(&xml).unwrap_err();
    assert!(error.contains("ResCountryCode"), "{error}");
}

#[test]
fn malformed_codes_and_dates_count_as_missing() {
    let mut draft = draft();
    let party = &mut draft.users[0].party;
    party.residency = "de".to_owned();
    party.tax_ids = vec![TaxId { value: "1".to_owned(), issued_by: "D\" x=\"".to_owned() }];
    party.address.as_mut().unwrap().country = "Kazakhstan".to_owned();
    if let PartyName::Natural { birth_date, .. } = &mut party.name {
        *birth_date = "2001-02-29".to_owned();
    }
    let (_, gaps) = written(&draft);
    let what: Vec<&str> = gaps.iter().map(|gap| &*gap.what).collect();
    assert_eq!(what, ["ResCountryCode", "TIN: issuedBy", "BirthInfo", "Address"]);
    draft.transmitting_country = String::new();
    assert!(matches!(draft.write(&head(), &mut Vec::new()), Err(ReportError::Carf { .. })));
}

#[test]
fn hostile_and_long_texts_still_fit_the_schema() {
    let mut draft = draft();
    let hostile = "</carf:Name><!-- ]]> & \u{202e}\0\u{b}\r\n".repeat(40);
    draft.users[1].party.name = PartyName::Legal { name: hostile.clone() };
    draft.users[0].party.address.as_mut().unwrap().street = hostile.clone();
    (draft.message, draft.contact) = ("m".repeat(500), hostile.repeat(10));
    let (xml, gaps) = written(&draft);
    assert_eq!(gaps, [Gap { party: "P-2".to_owned(), what: "Name: cut".to_owned() }]);
    assert_eq!(validation(&xml), Ok(()));
    let leaves = leaves(&xml);
    let ids: Vec<&String> = leaves.iter().filter(|(path, _)| path.ends_with("DocRefId")).map(|(_, id)| id).collect();
    assert!(ids.len() == 3 && ids[0] != ids[1] && ids[1] != ids[2]);
}

#[test]
fn no_users_are_a_message_that_says_so() {
    let (xml, _) = written(&CarfDraft { users: Vec::new(), ..draft() });
    assert!(xml.contains("CARF703") && !xml.contains("CARFBody"), "{xml}");
    assert_eq!(validation(&xml), Ok(()));
}

#[test]
fn the_schema_refuses_what_is_out_of_place() {
    let (xml, _) = written(&draft());
    for (from, to) in [
        ("CARF503", "CARF501"),
        ("12406796.38", "12406796.385"),
        ("1.56785221", "-1"),
        ("currCode=\"USD\"", ""),
        ("OECD11", "OECD9"),
        ("carf:City", "carf:Town"),
        ("2000-02-29", "2001-02-29"),
    ] {
        assert!(validation(&xml.replace(from, to)).is_err(), "{from}");
    }
}

#[test]
fn receipts_are_summed_and_reversals_taken_off() {
    let rub = Currency { code: "RUB".to_owned(), decimals: 2 };
    let (valued, unvalued) = (valued(), Valuation::Unvalued);
    let receipts = [(5, &valued, false), (7, &valued, false), (5, &valued, true), (9, &unvalued, false)];
    let income = MiningIncome::of("P-1", &rub, receipts).unwrap().unwrap();
    let expected =
        MiningIncome { receipts: 1, amount_sat: 7, minor: 1_240_679_638, currency: rub.clone(), unvalued: 1 };
    assert_eq!(income, expected);
    // More coin, or more receipts, were taken back than there were; of what has no value that is not known.
    assert_eq!(MiningIncome::of("P-1", &rub, [(5, &valued, true)]).unwrap(), None);
    assert_eq!(MiningIncome::of("P-1", &rub, [(5, &valued, false), (6, &valued, true)]).unwrap(), None);
    let back = [(9, &valued, false), (1, &unvalued, true)];
    let income = MiningIncome::of("P-1", &rub, back).unwrap().unwrap();
    assert_eq!((income.receipts, income.amount_sat, income.unvalued), (1, 9, 1));
    let mixed = MiningIncome::of("P-1", &usd(), [(5, &valued, false)]).unwrap_err();
    assert_eq!(mixed.to_string(), "CARF user P-1: a value is in RUB, not in USD");
}

#[test]
fn amounts_have_two_decimals_in_every_currency() {
    let income = |code: &str, decimals, minor| MiningIncome {
        receipts: 1,
        amount_sat: 1,
        minor,
        currency: Currency { code: code.to_owned(), decimals },
        unvalued: 0,
    };
    assert_eq!(income("JPY", 0, 12).money().unwrap(), "12.00");
    assert_eq!(income("KWD", 3, 12_345).money().unwrap(), "12.35");
    assert_eq!(income("USD", 2, -1).money(), None);
    let negative = CarfUser { party: natural_party(), income: income("USD", 2, -1) };
    let draft = CarfDraft { users: vec![negative], ..draft() };
    assert!(matches!(draft.write(&head(), &mut Vec::new()), Err(ReportError::Carf { .. })));
}

#[test]
fn the_file_is_named_after_the_year() {
    assert_eq!(carf_file(&draft()), "carf_2026.xml");
}
