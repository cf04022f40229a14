//! Parties: who owns the addresses that are paid. Personal data, which operators alone see, and which is on record nowhere
//! but sealed.

use axum::http::StatusCode;
use payouts::export::party::{Party, PartyId};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{Answer, answered, unexpected, user};
use crate::{
    api::{
        extract::{Asker, Json, Path, Query},
        paging::{Listed, Page},
        problem::Problem,
    },
    operations::{
        Outcome, Request, Words,
        party::{OwnRequest, PartyReport},
    },
};

/// What is known of a party. It says in the document what [`Party`] is in JSON.
#[derive(ToSchema)]
#[allow(dead_code)]
pub(super) struct PartyData {
    /// `natural` or `legal`.
    kind: String,
    /// The name by law. Of a natural person: given names, then the family name.
    legal_name: String,
    /// Further names under which it is known.
    #[schema(required = false)]
    other_names: Vec<String>,
    /// Where it is resident for tax (ISO 3166-1 alpha-2).
    #[schema(example = "NO")]
    residency: String,
    /// The postal address, on one line.
    address: Option<String>,
    /// Of a natural person, the date of birth, `YYYY-MM-DD`.
    birth_date: Option<String>,
    /// Numbers by which tax authorities know it: `value`, and `issued_by`, a country.
    #[schema(required = false, value_type = Vec<Object>)]
    tax_ids: (),
    /// Entries in official registers, such as licences: `authority`, `number` and `date`.
    #[schema(required = false, value_type = Vec<Object>)]
    registrations: (),
    /// The Legal Entity Identifier (ISO 17442).
    lei: Option<String>,
    /// The Business Identifier Code (ISO 9362).
    bic: Option<String>,
    /// Whether it is a crypto-asset service provider.
    #[schema(required = false)]
    is_casp: bool,
}

/// A party, by its number.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub(super) struct PartyNumber {
    /// The number.
    party: i64,
}

/// An address whose owner is on record.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub(super) struct OwnedAddress {
    /// The address.
    address: String,
    /// Its owner.
    party: i64,
}

/// The parties that are known, in the order of their numbers. Where it shows names, who asked is put on record.
#[utoipa::path(
    get,
    path = "/api/v1/parties",
    operation_id = "list_parties",
    tag = "parties",
    params(Page),
    responses((status = OK, description = "The parties", body = Listed<PartyReport>))
)]
pub(super) async fn list(asker: Asker, Query(page): Query<Page>) -> Answer<Listed<PartyReport>> {
    match asker.ask(Request::Parties).await? {
        Outcome::Parties(parties) => Ok(axum::Json(Listed::of_all(parties, &page, |party| party.party.get())?)),
        other => Err(unexpected(&other)),
    }
}

/// What is known of a party. Who asked is put on record.
#[utoipa::path(
    get,
    path = "/api/v1/parties/{party}",
    operation_id = "show_party",
    tag = "parties",
    params(("party" = i64, Path, description = "Its number")),
    responses((status = OK, description = "The party", body = PartyData))
)]
pub(super) async fn show(asker: Asker, Path(party): Path<i64>) -> Answer<Party> {
    let known = answered!(asker.ask(Request::Party { party: PartyId::new(party) }).await?, Outcome::Party)?;
    Ok(axum::Json(*known.0))
}

/// Makes a new party known. The same once more makes another one: whoever has heard no answer looks at the list first. No key
/// is taken, because what is kept of requests under keys outlives the erasure of a party.
#[utoipa::path(
    post,
    path = "/api/v1/parties",
    operation_id = "add_party",
    tag = "parties",
    request_body = PartyData,
    responses((status = CREATED, description = "The party", body = PartyNumber))
)]
pub(super) async fn add(
    asker: Asker,
    Json(data): Json<Party>,
) -> Result<(StatusCode, axum::Json<PartyNumber>), Problem> {
    Ok((StatusCode::CREATED, set(&asker, None, data).await?))
}

/// Makes a party known better: what is sent takes the place of all that was known of it.
#[utoipa::path(
    put,
    path = "/api/v1/parties/{party}",
    operation_id = "change_party",
    tag = "parties",
    params(("party" = i64, Path, description = "Its number")),
    request_body = PartyData,
    responses((status = OK, description = "The party", body = PartyNumber))
)]
pub(super) async fn change(asker: Asker, Path(party): Path<i64>, Json(data): Json<Party>) -> Answer<PartyNumber> {
    set(&asker, Some(PartyId::new(party)), data).await
}

async fn set(asker: &Asker, party: Option<PartyId>, data: Party) -> Answer<PartyNumber> {
    let request = Request::SetParty { party, data: Box::new(data), by: asker.by()? };
    known(&asker.ask(request).await?)
}

/// Why a party is erased.
#[derive(Clone, Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Erase {
    /// In words, for the record: nothing personal.
    #[schema(value_type = String)]
    reason: Words,
}

/// Erases what is known of a party. What was paid to it stays on record, and so does where it was resident.
#[utoipa::path(
    delete,
    path = "/api/v1/parties/{party}",
    operation_id = "erase_party",
    tag = "parties",
    params(("party" = i64, Path, description = "Its number")),
    request_body = Erase,
    responses((status = OK, description = "The party", body = PartyNumber))
)]
pub(super) async fn erase(
    asker: Asker,
    Path(party): Path<i64>,
    Json(Erase { reason }): Json<Erase>,
) -> Answer<PartyNumber> {
    let request = Request::EraseParty { party: PartyId::new(party), reason, by: asker.by()? };
    known(&asker.ask(request).await?)
}

fn known(outcome: &Outcome) -> Answer<PartyNumber> {
    match outcome {
        Outcome::PartySet(party) | Outcome::PartyErased(party) => Ok(axum::Json(PartyNumber { party: party.get() })),
        other => Err(unexpected(other)),
    }
}

/// Whose an account's address is.
#[derive(Clone, Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Owner {
    /// The number of the party.
    party: i64,
    /// The service provider that has the keys; the owner has them if there is none.
    #[serde(default)]
    #[schema(value_type = Option<String>)]
    provider: Option<Words>,
    /// How the owner has shown that it is his, if he has.
    #[serde(default)]
    #[schema(value_type = Option<String>)]
    proof: Option<Words>,
    /// When he has, in milliseconds since 1970 UTC; now if it is not said.
    #[serde(default)]
    proof_at_ms: Option<i64>,
}

/// Says whose an account's address is.
#[utoipa::path(
    post,
    path = "/api/v1/accounts/{account}/owner",
    operation_id = "set_account_owner",
    tag = "parties",
    params(("account" = String, Path, description = "Its address or name")),
    request_body = Owner,
    responses((status = OK, description = "The address", body = OwnedAddress))
)]
pub(super) async fn own(
    asker: Asker,
    Path(account): Path<String>,
    Json(Owner { party, provider, proof, proof_at_ms }): Json<Owner>,
) -> Answer<OwnedAddress> {
    let (account, owner, by) = (user(&account)?, PartyId::new(party), asker.by()?);
    let request = Request::OwnAddress(OwnRequest { account, party: owner, provider, proof, proof_at_ms, by });
    let address = answered!(asker.ask(request).await?, Outcome::AddressOwned)?;
    Ok(axum::Json(OwnedAddress { address: address.0, party }))
}
