//! `travel_rule.json`: who sends to whom, in the field names of IVMS101 (interVASP Messaging Standard, version of May
//! 2020), one message for each paid output.
//!
//! Owns the messages' form. Does not send them: how they reach the other side, and whether one is due, is the
//! operator's.

use std::io::Write;

use serde::Serialize;

use super::{
    ReportError, figure,
    json::{self, HeadJson},
    model::ReportHead,
    party::{Party, PartyName, PostalAddress},
};

/// The name of the file.
pub const TRAVEL_RULE_FILE: &str = "travel_rule.json";
/// How IVMS101 marks the name that the law knows somebody by (`NaturalPersonNameTypeCode`, `LegalPersonNameTypeCode`).
const LEGAL_NAME: &str = "LEGL";
/// How IVMS101 marks an address of no special kind (`AddressTypeCode`).
const GEOGRAPHIC: &str = "GEOG";

/// A paid output of which the other side is told.
#[derive(Clone, Debug)]
pub struct Transfer {
    /// The output.
    pub output: String,
    /// When it was paid.
    pub at_ms: i64,
    /// How much.
    pub amount_sat: u64,
    /// Who pays.
    pub originator: Party,
    /// The addresses, or the name of the account, that the coin comes from.
    pub originator_accounts: Vec<String>,
    /// Who is paid.
    pub beneficiary: Party,
    /// The address that is paid.
    pub beneficiary_address: String,
    /// The provider that holds the beneficiary's address; nothing if it is self-hosted.
    pub beneficiary_vasp: Option<Party>,
}

#[derive(Serialize)]
struct TravelRuleFile {
    #[serde(flatten)]
    head: HeadJson,
    standard: &'static str,
    transfers: Vec<TransferJson>,
}

#[derive(Serialize)]
struct TransferJson {
    output: String,
    time: String,
    asset: &'static str,
    amount_sat: u64,
    amount_btc: String,
    ivms101: Message,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Message {
    originator: Originator,
    beneficiary: Beneficiary,
    #[serde(rename = "originatingVASP")]
    originating_vasp: OriginatingVasp,
    #[serde(rename = "beneficiaryVASP", skip_serializing_if = "Option::is_none")]
    beneficiary_vasp: Option<BeneficiaryVasp>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Originator {
    originator_persons: Vec<Person>,
    account_number: Vec<String>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Beneficiary {
    beneficiary_persons: Vec<Person>,
    account_number: Vec<String>,
}

#[derive(Serialize)]
struct OriginatingVasp {
    #[serde(rename = "originatingVASP")]
    person: Person,
}

#[derive(Serialize)]
struct BeneficiaryVasp {
    #[serde(rename = "beneficiaryVASP")]
    person: Person,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
enum Person {
    NaturalPerson(NaturalPerson),
    LegalPerson(LegalPerson),
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct NaturalPerson {
    name: Name<NaturalName>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    geographic_address: Vec<Address>,
    #[serde(skip_serializing_if = "Option::is_none")]
    national_identification: Option<NationalIdentification>,
    customer_identification: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    country_of_residence: String,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct LegalPerson {
    name: Name<LegalName>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    geographic_address: Vec<Address>,
    customer_number: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    national_identification: Option<NationalIdentification>,
    #[serde(skip_serializing_if = "String::is_empty")]
    country_of_registration: String,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Name<N> {
    name_identifier: [N; 1],
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct NaturalName {
    primary_identifier: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    secondary_identifier: String,
    name_identifier_type: &'static str,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct LegalName {
    legal_person_name: String,
    legal_person_name_identifier_type: &'static str,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Address {
    address_type: &'static str,
    #[serde(skip_serializing_if = "String::is_empty")]
    street_name: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    building_number: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    post_code: String,
    town_name: String,
    country: String,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct NationalIdentification {
    national_identifier: String,
    national_identifier_type: &'static str,
    #[serde(skip_serializing_if = "String::is_empty")]
    country_of_issue: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    registration_authority: String,
}

/// Writes the messages; `vasp` is the pool's operator, the provider that sends.
///
/// # Errors
///
/// If a time cannot be told, or writing fails.
pub fn write_travel_rule(
    head: &ReportHead,
    vasp: &Party,
    transfers: &[Transfer],
    out: &mut dyn Write,
) -> Result<(), ReportError> {
    let transfers = transfers.iter().map(|transfer| TransferJson::of(transfer, vasp)).collect::<Result<_, _>>()?;
    json::write(&TravelRuleFile { head: HeadJson::of(head)?, standard: "IVMS101 (2020)", transfers }, out)
}

impl TransferJson {
    fn of(transfer: &Transfer, vasp: &Party) -> Result<Self, ReportError> {
        Ok(Self {
            output: transfer.output.clone(),
            time: figure::utc(transfer.at_ms)?,
            asset: "BTC",
            amount_sat: transfer.amount_sat,
            amount_btc: figure::btc(transfer.amount_sat),
            ivms101: Message {
                originator: Originator {
                    originator_persons: vec![Person::of(&transfer.originator)],
                    account_number: transfer.originator_accounts.clone(),
                },
                beneficiary: Beneficiary {
                    beneficiary_persons: vec![Person::of(&transfer.beneficiary)],
                    account_number: vec![transfer.beneficiary_address.clone()],
                },
                originating_vasp: OriginatingVasp { person: Person::of(vasp) },
                beneficiary_vasp: transfer
                    .beneficiary_vasp
                    .as_ref()
                    .map(|vasp| BeneficiaryVasp { person: Person::of(vasp) }),
            },
        })
    }
}

impl Person {
    fn of(party: &Party) -> Self {
        let address = party.address.iter().map(Address::of).collect();
        match &party.name {
            PartyName::Natural { first, last, .. } => Self::NaturalPerson(NaturalPerson {
                name: Name {
                    name_identifier: [NaturalName {
                        primary_identifier: last.clone(),
                        secondary_identifier: first.clone(),
                        name_identifier_type: LEGAL_NAME,
                    }],
                },
                geographic_address: address,
                national_identification: NationalIdentification::of_natural(party),
                customer_identification: party.id.clone(),
                country_of_residence: party.residency.clone(),
            }),
            PartyName::Legal { name } => Self::LegalPerson(LegalPerson {
                name: Name {
                    name_identifier: [LegalName {
                        legal_person_name: name.clone(),
                        legal_person_name_identifier_type: LEGAL_NAME,
                    }],
                },
                geographic_address: address,
                customer_number: party.id.clone(),
                national_identification: NationalIdentification::of_legal(party),
                country_of_registration: party.residency.clone(),
            }),
        }
    }
}

impl Address {
    fn of(address: &PostalAddress) -> Self {
        Self {
            address_type: GEOGRAPHIC,
            street_name: address.street.clone(),
            building_number: address.building.clone(),
            post_code: address.post_code.clone(),
            town_name: address.city.clone(),
            country: address.country.clone(),
        }
    }
}

impl NationalIdentification {
    /// A natural person's is its tax number, with the country that issued it.
    fn of_natural(party: &Party) -> Option<Self> {
        party.tax_ids.first().map(|id| Self {
            national_identifier: id.value.clone(),
            national_identifier_type: "TXID",
            country_of_issue: id.issued_by.clone(),
            registration_authority: String::new(),
        })
    }

    /// A legal person's is its LEI, else a registration, else a tax number; IVMS101 gives it no country of issue.
    fn of_legal(party: &Party) -> Option<Self> {
        let of = |value: &str, kind: &'static str, authority: &str| Self {
            national_identifier: value.to_owned(),
            national_identifier_type: kind,
            country_of_issue: String::new(),
            registration_authority: authority.to_owned(),
        };
        if !party.lei.is_empty() {
            return Some(of(&party.lei, "LEIX", ""));
        }
        let registration = party.registrations.first().map(|it| of(&it.number, "RAID", &it.authority));
        registration.or_else(|| party.tax_ids.first().map(|id| of(&id.value, "TXID", "")))
    }
}

#[cfg(test)]
mod tests;
