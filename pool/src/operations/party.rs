//! Requests about parties: who is known, what is known of them, and which address is whose.

use jiff::Timestamp;
use payouts::{
    account::User,
    export::{
        owner::{Hosting, Proof},
        party::{Party, PartyId},
    },
    payout::{Ownership, Payer},
    store::Store,
};
use serde::{Deserialize, Serialize};

use super::{Refusal, RefusalCode, Words, account::find_account};

/// A party as an operator sees it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct PartyReport {
    /// Its number.
    #[schema(value_type = i64)]
    pub party: PartyId,
    /// `natural` or `legal`.
    pub kind: String,
    /// Where it is resident.
    pub residency: String,
    /// The name by law, if it can be opened.
    pub legal_name: Option<String>,
    /// Whether what was known of it is erased.
    pub is_erased: bool,
    /// How many accounts' addresses it owns.
    pub accounts: usize,
}

/// Whose an account's address is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OwnRequest {
    /// The account.
    pub account: User,
    /// The owner.
    pub party: PartyId,
    /// The provider that has the keys; the owner if there is none.
    #[serde(default)]
    pub provider: Option<Words>,
    /// How the owner has shown that it is his, if he has.
    #[serde(default)]
    pub proof: Option<Words>,
    /// When he has, in milliseconds since 1970 UTC; now if it is not said.
    #[serde(default)]
    pub proof_at_ms: Option<i64>,
    /// Who says so.
    pub by: Words,
}

/// Lists all parties.
pub(super) fn list(payer: &Payer) -> Vec<PartyReport> {
    let owners = payer.screening().owners();
    let report = |(id, known): (PartyId, &payouts::export::owner::KnownParty)| PartyReport {
        party: id,
        kind: known.set.party_kind.as_str().to_owned(),
        residency: known.set.residency.to_string(),
        legal_name: payer.party(id).map(|party| party.legal_name.clone()),
        is_erased: known.is_erased,
        accounts: owners.accounts_of(id).count(),
    };
    owners.parties().map(report).collect()
}

/// Tells what is known of a party.
pub(super) fn show(payer: &Payer, id: PartyId) -> Result<Party, Refusal> {
    let known = payer.screening().owners().party(id);
    let known = known.ok_or_else(|| Refusal::new(RefusalCode::NotFound, format!("there is no party {id}")))?;
    if known.is_erased {
        return Err(Refusal::new(RefusalCode::NotFound, format!("what was known of party {id} is erased")));
    }
    payer.party(id).cloned().ok_or_else(|| {
        let reason = format!("what is known of party {id} is sealed: set export.party_key_file");
        Refusal::new(RefusalCode::Conflict, reason)
    })
}

/// Makes a party known, or known better.
pub(super) async fn set(payer: &mut Payer, id: Option<PartyId>, party: &Party, by: &Words) -> Result<PartyId, Refusal> {
    Ok(payer.set_party(id, party, by.as_str()).await?)
}

/// Notes whose an account's address is. Returns the address.
pub(super) async fn own(store: &dyn Store, payer: &mut Payer, request: &OwnRequest) -> Result<String, Refusal> {
    let OwnRequest { account, party, provider, proof, proof_at_ms, by } = request;
    let account = find_account(store, account).await?;
    let proof = proof.as_ref().map(|method| Proof {
        method: method.to_string(),
        at_ms: proof_at_ms.unwrap_or_else(|| Timestamp::now().as_millisecond()),
    });
    let provider = provider.as_ref().map(Words::to_string);
    let hosting = if provider.is_some() { Hosting::Provider } else { Hosting::SelfHosted };
    payer.own_address(account.id, Ownership { party: *party, hosting, provider, proof }, by.as_str()).await?;
    Ok(account.address)
}
