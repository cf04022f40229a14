//! The elements of a draft, in the schema's order.

use super::super::{
    NOT_LEGAL_ADVICE, ReportError, figure,
    markup::Markup,
    model::ReportHead,
    party::{Party, PartyName, PostalAddress},
};
use super::{CARF_NAMESPACE, CARF_VERSION, CarfDraft, CarfUser, Gap, MINING_INCOME, STF_NAMESPACE};

/// How many characters a text has at most (`StringMin1Max200_Type`).
const TEXT_CHARS: usize = 200;
/// How many characters an id of a message has at most (`StringMin1Max170_Type`).
const MESSAGE_ID_CHARS: usize = 170;
/// How many characters a warning or a contact has at most (`StringMin1Max4000_Type`).
const LONG_TEXT_CHARS: usize = 4_000;
/// The message has new records (`CarfMessageTypeIndic_EnumType`).
const NEW_DATA: &str = "CARF701";
/// The message says that there is nothing to report.
const NO_DATA: &str = "CARF703";
/// A new record for a test, not for use (`OECDDocTypeIndic_EnumType`). Real ones are `OECD1`.
const NEW_TEST_RECORD: &str = "OECD11";
/// What OECD schemas for reporting take for a given name that is not known ("no first name").
const NO_FIRST_NAME: &str = "NFN";
/// The name of the asset.
const ASSET: &str = "Bitcoin";

/// Checks what cannot be left out and is not a party's.
pub(super) fn check(draft: &CarfDraft) -> Result<(), ReportError> {
    for country in [&draft.transmitting_country, &draft.receiving_country] {
        if !is_code(country, 2) {
            return Err(ReportError::Carf { user: String::new(), what: format!("{country:?} is no country code") });
        }
    }
    for CarfUser { party, income } in &draft.users {
        let fault = |what| Err(ReportError::Carf { user: party.id.clone(), what });
        if !is_code(&income.currency.code, 3) {
            return fault(format!("{:?} is no currency code", income.currency.code));
        }
        if income.money().is_none() {
            return fault(format!("value {} is below zero or too large", income.minor));
        }
    }
    Ok(())
}

/// Returns what the schema demands of a party and it does not have.
pub(super) fn gaps(party: &Party) -> Vec<Gap> {
    let mut missing = Vec::new();
    if !is_code(&party.residency, 2) {
        missing.push("ResCountryCode".to_owned());
    }
    if party.tax_ids.iter().any(|id| !id.issued_by.is_empty() && !is_code(&id.issued_by, 2)) {
        missing.push("TIN: issuedBy".to_owned());
    }
    let is_too_long = |text: &str| text.chars().count() > TEXT_CHARS;
    match &party.name {
        PartyName::Natural { first, last, birth_date } => {
            if last.is_empty() {
                missing.push("Name".to_owned());
            }
            if is_too_long(first) || is_too_long(last) {
                missing.push("Name: cut".to_owned());
            }
            if !is_date(birth_date) {
                missing.push("BirthInfo".to_owned());
            }
        }
        PartyName::Legal { name } => {
            if name.is_empty() {
                missing.push("Name".to_owned());
            }
            if is_too_long(name) {
                missing.push("Name: cut".to_owned());
            }
        }
    }
    if party.address.as_ref().is_none_or(|address| !is_told(address)) {
        missing.push("Address".to_owned());
    }
    missing.into_iter().map(|what| Gap { party: party.id.clone(), what }).collect()
}

/// Writes the message.
pub(super) fn write(
    draft: &CarfDraft,
    head: &ReportHead,
    gaps: &[Gap],
    xml: &mut Markup<'_>,
) -> Result<(), ReportError> {
    let warning = warning(draft, gaps);
    xml.comment(&warning)?;
    xml.comment(&format!(
        "Software version {}, profile {} {}",
        head.software_version, head.profile, head.profile_version
    ))?;
    let root = [("xmlns:carf", CARF_NAMESPACE), ("xmlns:stf", STF_NAMESPACE), ("version", CARF_VERSION)];
    xml.within("carf:CARF_OECD", &root, |xml| {
        xml.within("carf:MessageSpec", &[], |xml| message(draft, head, &warning, xml))?;
        if draft.users.is_empty() {
            return Ok(());
        }
        xml.within("carf:CARFBody", &[], |xml| {
            xml.within("carf:RCASP", &[], |xml| {
                xml.within("carf:RCASP_ID", &[], |xml| party(&draft.provider, xml))?;
                record(draft, 0, xml)
            })?;
            draft.users.iter().zip(1..).try_for_each(|(it, number)| {
                xml.within("carf:CryptoUsers", &[], |xml| {
                    xml.within("carf:UserID", &[], |xml| party(&it.party, xml))?;
                    xml.within("carf:RelevantTransactions", &[], |xml| transactions(it, xml))?;
                    record(draft, number, xml)
                })
            })
        })
    })
}

fn warning(draft: &CarfDraft, gaps: &[Gap]) -> String {
    let unvalued = draft.users.iter().fold(0u64, |sum, user| sum.saturating_add(user.income.unvalued));
    let mut text = format!("DRAFT, not a report. {NOT_LEGAL_ADVICE}");
    if unvalued > 0 {
        text += &format!(" {unvalued} receipts without a value are in none of the amounts.");
    }
    if !gaps.is_empty() {
        text += &format!(" {} demanded elements are missing or cut.", gaps.len());
    }
    text
}

fn message(draft: &CarfDraft, head: &ReportHead, warning: &str, xml: &mut Markup<'_>) -> Result<(), ReportError> {
    // Local rules say which number identifies the sender; the one that identifies it everywhere is its LEI.
    let provider = &draft.provider;
    let sender = Some(&provider.lei).filter(|lei| !lei.is_empty()).or(provider.tax_ids.first().map(|id| &id.value));
    if let Some(sender) = sender {
        text(xml, "carf:SendingEntityIN", sender)?;
    }
    text(xml, "carf:TransmittingCountry", &draft.transmitting_country)?;
    text(xml, "carf:ReceivingCountry", &draft.receiving_country)?;
    text(xml, "carf:MessageType", "CARF")?;
    xml.text("carf:Warning", &[], &cut(warning, LONG_TEXT_CHARS))?;
    if !draft.contact.is_empty() {
        xml.text("carf:Contact", &[], &cut(&draft.contact, LONG_TEXT_CHARS))?;
    }
    xml.text("carf:MessageRefId", &[], &cut(&message_id(draft), MESSAGE_ID_CHARS))?;
    text(xml, "carf:MessageTypeIndic", if draft.users.is_empty() { NO_DATA } else { NEW_DATA })?;
    text(xml, "carf:ReportingPeriod", &format!("{:04}-12-31", draft.year))?;
    // The schema's time has no zone; in OECD messages it is in UTC.
    let generated = figure::utc(head.generated_at_ms)?;
    text(xml, "carf:Timestamp", generated.trim_end_matches('Z'))
}

/// Ids begin with sender, year and receiver, as the user guide asks.
fn message_id(draft: &CarfDraft) -> String {
    format!("{}{:04}{}-{}", draft.transmitting_country, draft.year, draft.receiving_country, draft.message)
}

fn record(draft: &CarfDraft, number: usize, xml: &mut Markup<'_>) -> Result<(), ReportError> {
    xml.within("carf:DocSpec", &[], |xml| {
        text(xml, "stf:DocTypeIndic", NEW_TEST_RECORD)?;
        // The number stands before what may have to be cut, so that no two records get the same id.
        let id = format!(
            "{}{:04}{}-{number:06}-{}",
            draft.transmitting_country, draft.year, draft.receiving_country, draft.message
        );
        text(xml, "stf:DocRefId", &id)
    })
}

fn party(party: &Party, xml: &mut Markup<'_>) -> Result<(), ReportError> {
    let element = match party.name {
        PartyName::Natural { .. } => "carf:Individual",
        PartyName::Legal { .. } => "carf:Entity",
    };
    xml.within(element, &[], |xml| {
        gaps(party).iter().try_for_each(|gap| xml.comment(&format!("Missing: {}", gap.what)))?;
        if is_code(&party.residency, 2) {
            text(xml, "carf:ResCountryCode", &party.residency)?;
        }
        tax_ids(party, xml)?;
        match &party.name {
            PartyName::Natural { first, last, .. } => {
                if !last.is_empty() {
                    xml.within("carf:Name", &[], |xml| {
                        text(xml, "carf:FirstName", if first.is_empty() { NO_FIRST_NAME } else { first })?;
                        text(xml, "carf:LastName", last)
                    })?;
                }
            }
            PartyName::Legal { name } => {
                if !party.lei.is_empty() {
                    xml.text("carf:IN", &[("INType", "LEI")], &cut(&party.lei, TEXT_CHARS))?;
                }
                if !name.is_empty() {
                    text(xml, "carf:Name", name)?;
                }
            }
        }
        if let Some(it) = party.address.as_ref().filter(|it| is_told(it)) {
            xml.within("carf:Address", &[], |xml| address(it, xml))?;
        }
        match &party.name {
            PartyName::Natural { birth_date, .. } if is_date(birth_date) => {
                xml.within("carf:BirthInfo", &[], |xml| text(xml, "carf:BirthDate", birth_date))
            }
            PartyName::Natural { .. } | PartyName::Legal { .. } => Ok(()),
        }
    })
}

fn tax_ids(party: &Party, xml: &mut Markup<'_>) -> Result<(), ReportError> {
    if party.tax_ids.is_empty() {
        // The schema has a mark for a number that is not known.
        return xml.text("carf:TIN", &[("unknown", "true")], "");
    }
    party.tax_ids.iter().try_for_each(|id| {
        let attributes = [("issuedBy", id.issued_by.as_str())];
        xml.text("carf:TIN", if is_code(&id.issued_by, 2) { &attributes } else { &[] }, &cut(&id.value, TEXT_CHARS))
    })
}

fn address(address: &PostalAddress, xml: &mut Markup<'_>) -> Result<(), ReportError> {
    text(xml, "carf:CountryCode", &address.country)?;
    xml.within("carf:AddressFix", &[], |xml| {
        for (element, part) in [
            ("carf:Street", &address.street),
            ("carf:BuildingIdentifier", &address.building),
            ("carf:PostCode", &address.post_code),
            ("carf:City", &address.city),
        ] {
            if !part.is_empty() {
                text(xml, element, part)?;
            }
        }
        Ok(())
    })
}

fn transactions(user: &CarfUser, xml: &mut Markup<'_>) -> Result<(), ReportError> {
    let income = &user.income;
    let money = income.money().expect("a draft is checked before it is written");
    text(xml, "carf:CryptoAsset", ASSET)?;
    xml.within("carf:CryptoTransferIn", &[], |xml| {
        text(xml, "carf:TransferType", MINING_INCOME)?;
        text(xml, "carf:NumberofTransactions", &income.receipts.to_string())?;
        xml.text("carf:Amount", &[("currCode", &income.currency.code)], &money)?;
        text(xml, "carf:NumberofUnits", &figure::btc(income.amount_sat))
    })
}

fn text(xml: &mut Markup<'_>, element: &str, text: &str) -> Result<(), ReportError> {
    xml.text(element, &[], &cut(text, TEXT_CHARS))
}

fn cut(text: &str, chars: usize) -> String {
    text.chars().take(chars).collect()
}

/// Whether a text is a code of so many capital letters, as ISO 3166-1 and ISO 4217 have them.
fn is_code(text: &str, letters: usize) -> bool {
    text.len() == letters && text.bytes().all(|byte| byte.is_ascii_uppercase())
}

fn is_date(text: &str) -> bool {
    text.len() == 10 && text.parse::<jiff::civil::Date>().is_ok()
}

fn is_told(address: &PostalAddress) -> bool {
    is_code(&address.country, 2) && !address.city.is_empty()
}
