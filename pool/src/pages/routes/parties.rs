//! Parties: who owns the addresses that are paid. Personal data, for operators alone.

use askama::Template;
use axum::{extract::Path, response::Response};
use payouts::export::party::{Party, PartyId, PartyKind, Registration, TaxId};

use super::expected;
use crate::{
    operations::{
        Outcome, Refusal, RefusalCode, Request, Words,
        party::{OwnRequest, PartyReport},
    },
    pages::{
        asked::{Asked, Shown, page},
        fields::Fields,
        frame::Frame,
    },
};

#[derive(Template)]
#[template(path = "parties.html")]
struct Parties {
    frame: Frame,
    parties: Vec<PartyReport>,
    form: PartyForm,
}

#[derive(Template)]
#[template(path = "party.html")]
struct PartyPage {
    frame: Frame,
    id: PartyId,
    name: String,
    form: PartyForm,
}

/// What is known of a party, as a form has it.
#[derive(Default)]
struct PartyForm {
    is_legal: bool,
    legal_name: String,
    other_names: String,
    residency: String,
    address: String,
    birth_date: String,
    tax_ids: String,
    registrations: String,
    lei: String,
    bic: String,
    is_casp: bool,
}

impl From<Party> for PartyForm {
    fn from(party: Party) -> PartyForm {
        let tax_ids = party.tax_ids.iter().map(|id| format!("{} {}", id.issued_by, id.value));
        let registrations =
            party.registrations.iter().map(|it| format!("{} | {} | {}", it.authority, it.number, it.date));
        PartyForm {
            is_legal: party.kind == PartyKind::Legal,
            other_names: party.other_names.join("\n"),
            residency: party.residency.to_string(),
            address: party.address.unwrap_or_default(),
            birth_date: party.birth_date.unwrap_or_default(),
            tax_ids: tax_ids.collect::<Vec<_>>().join("\n"),
            registrations: registrations.collect::<Vec<_>>().join("\n"),
            lei: party.lei.unwrap_or_default(),
            bic: party.bic.unwrap_or_default(),
            is_casp: party.is_casp,
            legal_name: party.legal_name,
        }
    }
}

/// Reads a party from a form: names, tax ids and registrations stand one to a line.
fn read(fields: &Fields) -> Result<Party, Refusal> {
    let invalid = |reason: &str| Refusal::new(RefusalCode::Invalid, reason);
    let lines = |name: &str| {
        let lines = fields.text(name).lines().map(str::trim).filter(|line| !line.is_empty());
        lines.map(str::to_owned).collect::<Vec<_>>()
    };
    let tax_id = |line: &String| {
        let (country, value) =
            line.split_once(' ').ok_or_else(|| invalid("a tax id is a country and a number, such as NO 987654321"))?;
        let issued_by = country.parse().map_err(|_| invalid("a tax id begins with a country of two letters"))?;
        Ok::<_, Refusal>(TaxId { value: value.trim().to_owned(), issued_by })
    };
    let registration = |line: &String| {
        let parts: Vec<&str> = line.split('|').map(str::trim).collect();
        let [authority, number, date] = parts[..] else {
            return Err(invalid("a registration is an authority, a number and a date, with | between"));
        };
        let [authority, number, date] = [authority, number, date].map(str::to_owned);
        Ok(Registration { authority, number, date })
    };
    Ok(Party {
        kind: match fields.text("kind") {
            "natural" => PartyKind::Natural,
            "legal" => PartyKind::Legal,
            _ => return Err(invalid("choose whether it is a person")),
        },
        legal_name: fields.required("legal_name")?,
        other_names: lines("other_names"),
        residency: fields.required("residency")?,
        address: fields.optional("address")?,
        birth_date: fields.optional("birth_date")?,
        tax_ids: lines("tax_ids").iter().map(tax_id).collect::<Result<_, _>>()?,
        registrations: lines("registrations").iter().map(registration).collect::<Result<_, _>>()?,
        lei: fields.optional("lei")?,
        bic: fields.optional("bic")?,
        is_casp: fields.is_ticked("is_casp"),
    })
}

/// The parties.
pub(in crate::pages) async fn list(asked: Asked) -> Shown {
    let parties = expected!(asked.ask(Request::Parties).await?, Outcome::Parties)?;
    let frame = asked.frame("/parties", "Parties").live_if(false);
    page(&Parties { frame, parties, form: PartyForm::default() })
}

/// One party.
pub(in crate::pages) async fn show(asked: Asked, Path(party): Path<String>) -> Shown {
    let id = party_id(&party)?;
    let known = expected!(asked.ask(Request::Party { party: id }).await?, Outcome::Party)?;
    let frame = asked.frame("/parties", format!("Party {id}")).live_if(false);
    page(&PartyPage { frame, id, name: known.legal_name.clone(), form: (*known).into() })
}

/// Makes a new party known.
pub(in crate::pages) async fn add(asked: Asked) -> Response {
    let added = async {
        let party = expected!(set(&asked, None).await?, Outcome::PartySet)?;
        Ok(format!("Party {party} is known."))
    };
    asked.told("/parties", added).await
}

/// Makes a party known better.
pub(in crate::pages) async fn change(asked: Asked, Path(party): Path<String>) -> Response {
    let changed = async {
        set(&asked, Some(party_id(&party)?)).await?;
        Ok(format!("Party {party} is known as it was sent."))
    };
    asked.told("/parties", changed).await
}

async fn set(asked: &Asked, party: Option<PartyId>) -> Result<Outcome, Refusal> {
    let data = Box::new(read(&asked.fields)?);
    asked.ask(Request::SetParty { party, data, by: asked.viewer.by()? }).await
}

/// Erases what is known of a party.
pub(in crate::pages) async fn erase(asked: Asked, Path(party): Path<String>) -> Response {
    let erased = async {
        let reason: Words = asked.fields.required("reason")?;
        let by = asked.viewer.by()?;
        asked.ask(Request::EraseParty { party: party_id(&party)?, reason, by }).await?;
        Ok(format!("What was known of party {party} is erased."))
    };
    asked.told("/parties", erased).await
}

/// Says whose an account's address is.
pub(in crate::pages) async fn own(asked: Asked) -> Response {
    let Asked { viewer, fields, .. } = &asked;
    let owned = async {
        let owned = OwnRequest {
            account: fields.required("account")?,
            party: party_id(fields.text("party"))?,
            provider: fields.optional("provider")?,
            proof: fields.optional("proof")?,
            proof_at_ms: None,
            by: viewer.by()?,
        };
        let address = expected!(asked.ask(Request::OwnAddress(owned)).await?, Outcome::AddressOwned)?;
        Ok(format!("The owner of {address} is on record."))
    };
    asked.told("/parties", owned).await
}

fn party_id(text: &str) -> Result<PartyId, Refusal> {
    let known = text.parse().ok().filter(|number| *number > 0).map(PartyId::new);
    known.ok_or_else(|| Refusal::new(RefusalCode::NotFound, "there is no such party"))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn party_is_read_from_a_form_as_it_is_shown_in_one() {
        let body = b"kind=natural&legal_name=Ada+Example&other_names=A.+Example%0D%0AAda+E.&residency=NO&birth_date=1980-01-31\
                     &tax_ids=NO+123+456&registrations=Office+%7C+7+%7C+2026-01-31&is_casp=on";
        let party = read(&Fields::read(body)).unwrap();
        assert_eq!((party.legal_name.as_str(), party.other_names.len(), party.is_casp), ("Ada Example", 2, true));
        assert_eq!(party.check(), Ok(()));
        let form = PartyForm::from(party);
        assert_eq!((form.tax_ids.as_str(), form.registrations.as_str()), ("NO 123 456", "Office | 7 | 2026-01-31"));
        for wrong in [
            &b"kind=natural&residency=NO"[..],
            b"legal_name=A&residency=NO",
            b"kind=legal&legal_name=A&residency=Norway",
        ] {
            assert!(read(&Fields::read(wrong)).is_err());
        }
    }
}
