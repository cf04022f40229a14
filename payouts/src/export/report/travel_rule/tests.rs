#![allow(clippy::unwrap_used)]

use serde_json::{Value, json};

use super::{
    super::{
        NOT_LEGAL_ADVICE,
        fixture::{LATE_MS, head, legal_party, natural_party},
        party::{Registration, TaxId},
    },
    *,
};

fn transfer() -> Transfer {
    Transfer {
        output: format!("{}:1", "9".repeat(64)),
        at_ms: LATE_MS,
        amount_sat: 156_785_221,
        originator: legal_party(),
        originator_accounts: vec!["bc1qpool".to_owned()],
        beneficiary: natural_party(),
        beneficiary_address: "bc1qminer".to_owned(),
        beneficiary_vasp: None,
    }
}

fn written(transfers: &[Transfer]) -> Value {
    let mut bytes = Vec::new();
    write_travel_rule(&head(), &legal_party(), transfers, &mut bytes).unwrap();
    serde_json::from_slice(&bytes).unwrap()
}

#[test]
fn a_message_has_the_names_of_ivms101() {
    let file = written(&[transfer()]);
    assert_eq!(file["notice"], NOT_LEGAL_ADVICE);
    assert_eq!(file["standard"], "IVMS101 (2020)");
    let address = json!([{
        "addressType": "GEOG",
        "streetName": "Example Street",
        "buildingNumber": "1",
        "townName": "Example City",
        "country": "KZ",
    }]);
    let pool = json!({
        "legalPerson": {
            "name": { "nameIdentifier": [{
                "legalPersonName": "Example Trading LLC & <Sons> \"]]>\"",
                "legalPersonNameIdentifierType": "LEGL",
            }] },
            "geographicAddress": address,
            "customerNumber": "P-0",
            "nationalIdentification": {
                "nationalIdentifier": "00000000000000000000",
                "nationalIdentifierType": "LEIX",
            },
            "countryOfRegistration": "KZ",
        },
    });
    let miner = json!({
        "naturalPerson": {
            "name": { "nameIdentifier": [{
                "primaryIdentifier": "PERSON</carf:LastName><x>",
                "secondaryIdentifier": "EXAMPLE",
                "nameIdentifierType": "LEGL",
            }] },
            "geographicAddress": address,
            "nationalIdentification": {
                "nationalIdentifier": "=1",
                "nationalIdentifierType": "TXID",
                "countryOfIssue": "DE",
            },
            "customerIdentification": "P-1",
            "countryOfResidence": "DE",
        },
    });
    assert_eq!(
        file["transfers"][0],
        json!({
            "output": format!("{}:1", "9".repeat(64)),
            "time": "2026-01-31T21:30:00Z",
            "asset": "BTC",
            "amount_sat": 156_785_221,
            "amount_btc": "1.56785221",
            "ivms101": {
                "originator": { "originatorPersons": [pool], "accountNumber": ["bc1qpool"] },
                "beneficiary": { "beneficiaryPersons": [miner], "accountNumber": ["bc1qminer"] },
                "originatingVASP": { "originatingVASP": pool },
            },
        })
    );
}

#[test]
fn the_beneficiarys_provider_is_named_if_there_is_one() {
    let file = written(&[Transfer { beneficiary_vasp: Some(legal_party()), ..transfer() }]);
    let provider = &file["transfers"][0]["ivms101"]["beneficiaryVASP"]["beneficiaryVASP"]["legalPerson"];
    assert_eq!(provider["customerNumber"], "P-0");
}

#[test]
fn an_organisation_is_known_by_lei_then_registration_then_tax_number() {
    let registration = Registration { authority: "RA000001".to_owned(), number: "R-1".to_owned() };
    let tax_id = TaxId { value: "T-1".to_owned(), issued_by: "KZ".to_owned() };
    let party = |lei: &str, registrations: &[Registration], tax_ids: &[TaxId]| {
        let (registrations, tax_ids) = (registrations.to_vec(), tax_ids.to_vec());
        Party { lei: lei.to_owned(), registrations, tax_ids, ..legal_party() }
    };
    let identification = |beneficiary: Party| {
        let file = written(&[Transfer { beneficiary, ..transfer() }]);
        file["transfers"][0]["ivms101"]["beneficiary"]["beneficiaryPersons"][0]["legalPerson"]["nationalIdentification"]
            .clone()
    };
    let (registrations, tax_ids) = ([registration], [tax_id]);
    assert_eq!(identification(party("L", &registrations, &tax_ids))["nationalIdentifierType"], "LEIX");
    assert_eq!(
        identification(party("", &registrations, &tax_ids)),
        json!({ "nationalIdentifier": "R-1", "nationalIdentifierType": "RAID", "registrationAuthority": "RA000001" })
    );
    assert_eq!(
        identification(party("", &[], &tax_ids)),
        json!({ "nationalIdentifier": "T-1", "nationalIdentifierType": "TXID" })
    );
    assert_eq!(identification(party("", &[], &[])), Value::Null);
}

#[test]
fn no_transfers_are_a_file_too() {
    assert_eq!(written(&[])["transfers"], json!([]));
}
