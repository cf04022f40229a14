//! Reports that name people: the CARF message and the travel rule's messages.

use std::collections::BTreeMap;

use super::{BookkeepingError, currency, on_record::OnRecord};
use crate::{
    account::AccountId,
    export::{
        party::{Party, PartyId, PartyKind},
        report::{
            carf::{CarfDraft, CarfUser, MiningIncome},
            model::{RecordEvent, RegisterRow, ReportHead, Statement, Valuation},
            party::{self as told, PartyName, PostalAddress},
            travel_rule::Transfer,
        },
        rules::{
            period::{Period, PeriodKind},
            profile::{CountryProfile, PoolFact, ReceiptEvent, ReportName},
        },
    },
};

/// The id of the pool among the parties of reports.
const POOL: &str = "pool";

/// What people are told by.
pub(super) struct Told<'a> {
    pub(super) profile: &'a CountryProfile,
    pub(super) on_record: &'a OnRecord,
    pub(super) parties: &'a BTreeMap<PartyId, Party>,
}

impl Told<'_> {
    /// Returns the CARF message of a year, if the profile wants one. What accounts without a known owner received cannot
    /// be told, and a warning says so.
    pub(super) fn carf(
        &self,
        head: &ReportHead,
        period: Period,
        register: &[RegisterRow],
        statements: &[Statement],
        warnings: &mut Vec<String>,
    ) -> Result<Option<CarfDraft>, BookkeepingError> {
        if !self.profile.reports().contains(&ReportName::Carf) || period.kind() != PeriodKind::Yearly {
            return Ok(None);
        }
        let mut by_party: BTreeMap<PartyId, Vec<Receipt<'_>>> = BTreeMap::new();
        let mut unowned = 0;
        for (account, receipt) in self.receipts(register, statements) {
            match self.on_record.owners.owner(account) {
                Some(owned) => by_party.entry(owned.party).or_default().push(receipt),
                None => unowned += 1,
            }
        }
        if unowned > 0 {
            warnings.push(format!(
                "receipts of accounts without a known owner, which are not in the CARF draft: {unowned}"
            ));
        }
        let currency = currency(self.profile.currency());
        let mut users = Vec::with_capacity(by_party.len());
        for (id, receipts) in by_party {
            let party = self.party(id);
            users.push(CarfUser { income: MiningIncome::of(&party.id, &currency, receipts)?, party });
        }
        let country = self.profile.pool_fact(PoolFact::Residency).unwrap_or_default().to_owned();
        Ok(Some(CarfDraft {
            year: u16::try_from(period.first_day().year()).unwrap_or_default(),
            transmitting_country: country.clone(),
            receiving_country: country,
            message: head.as_of.register.hash.chars().take(16).collect(),
            contact: String::new(),
            provider: self.pool(),
            users,
        }))
    }

    /// Returns the pool and the payments of which the other side is told, if the profile wants that: those that stayed,
    /// to parties of whom something is known.
    pub(super) fn transfers(
        &self,
        head: &ReportHead,
        register: &[RegisterRow],
        warnings: &mut Vec<String>,
    ) -> Option<(told::Party, Vec<Transfer>)> {
        if !self.profile.reports().contains(&ReportName::TravelRule) {
            return None;
        }
        let mut stayed: BTreeMap<(&str, u32), &RegisterRow> = BTreeMap::new();
        for row in register {
            match row.event {
                RecordEvent::Delivered => drop(stayed.insert((&row.txid, row.vout), row)),
                _ => drop(stayed.remove(&(row.txid.as_str(), row.vout))),
            }
        }
        let mut rows: Vec<_> = stayed.into_values().collect();
        rows.sort_by_key(|row| row.seq);
        let pool = self.pool();
        let mut transfers = Vec::with_capacity(rows.len());
        let mut unknown = 0;
        for row in rows {
            let account = AccountId::new(row.account);
            let Some(owned) = self.on_record.owners.owner(account) else {
                unknown += 1;
                continue;
            };
            let provider = self.on_record.provider(account).map(legal);
            transfers.push(Transfer {
                output: format!("{}:{}", row.txid, row.vout),
                at_ms: row.at_ms,
                amount_sat: row.amount_sat,
                originator: pool.clone(),
                originator_accounts: vec![head.pool.clone()],
                beneficiary: self.party(owned.party),
                beneficiary_address: row.address.clone(),
                beneficiary_vasp: provider,
            });
        }
        if unknown > 0 {
            warnings.push(format!("payments to accounts without a known owner, of which nobody is told: {unknown}"));
        }
        Some((pool, transfers))
    }

    /// Returns what accounts received, by the event that counts as receipt.
    fn receipts<'r>(&self, register: &'r [RegisterRow], statements: &'r [Statement]) -> Vec<(AccountId, Receipt<'r>)> {
        if self.profile.receipt_event() == ReceiptEvent::Payout {
            let rows = register.iter().map(|row| {
                let is_back = !matches!(row.event, RecordEvent::Delivered);
                (AccountId::new(row.account), (row.amount_sat, &row.valuation, is_back))
            });
            let direct = statements.iter().flat_map(|statement| {
                let account = AccountId::new(statement.account);
                let payouts = statement.payouts.iter().filter(|payout| payout.direct);
                payouts.map(move |payout| (account, (payout.amount_sat, &payout.valuation, payout.reversed)))
            });
            return rows.chain(direct).collect();
        }
        let of = |statement: &'r Statement| {
            let account = AccountId::new(statement.account);
            let credits = statement.credits.iter().map(|line| (line.amount_sat, &line.valuation, false));
            let reversals = statement.reversals.iter().map(|line| (line.amount_sat, &line.valuation, true));
            credits.chain(reversals).map(move |receipt| (account, receipt))
        };
        statements.iter().flat_map(of).collect()
    }

    fn pool(&self) -> told::Party {
        let fact = |fact| self.profile.pool_fact(fact).unwrap_or_default().to_owned();
        let residency = fact(PoolFact::Residency);
        let issued_by = residency.clone();
        let tax_id = self.profile.pool_fact(PoolFact::TaxId);
        let number = self.profile.pool_fact(PoolFact::LicenceNumber);
        told::Party {
            tax_ids: tax_id.map(|value| told::TaxId { value: value.to_owned(), issued_by }).into_iter().collect(),
            registrations: number
                .map(|number| told::Registration {
                    authority: fact(PoolFact::LicenceAuthority),
                    number: number.to_owned(),
                })
                .into_iter()
                .collect(),
            lei: fact(PoolFact::Lei),
            residency,
            ..legal_with_id(POOL, &fact(PoolFact::LegalName))
        }
    }

    /// Returns a party with what is known of it. Of one whose data is sealed or erased that is where it is resident.
    fn party(&self, id: PartyId) -> told::Party {
        let known = self.on_record.owners.party(id);
        let residency = known.map(|known| known.set.residency.to_string()).unwrap_or_default();
        let Some(party) = self.parties.get(&id) else {
            return told::Party { residency, ..legal_with_id(&id.to_string(), "") };
        };
        let name = match party.kind {
            PartyKind::Legal => PartyName::Legal { name: party.legal_name.clone() },
            // Given and family names are not kept apart.
            PartyKind::Natural => PartyName::Natural {
                first: String::new(),
                last: party.legal_name.clone(),
                birth_date: party.birth_date.clone().unwrap_or_default(),
            },
        };
        let address = party.address.as_ref().map(|line| PostalAddress {
            country: party.residency.to_string(),
            city: String::new(),
            street: line.clone(),
            building: String::new(),
            post_code: String::new(),
        });
        let tax_id = |id: &crate::export::party::TaxId| told::TaxId {
            value: id.value.clone(),
            issued_by: id.issued_by.to_string(),
        };
        let registration = |it: &crate::export::party::Registration| told::Registration {
            authority: it.authority.clone(),
            number: it.number.clone(),
        };
        told::Party {
            id: id.to_string(),
            name,
            residency: party.residency.to_string(),
            tax_ids: party.tax_ids.iter().map(tax_id).collect(),
            registrations: party.registrations.iter().map(registration).collect(),
            lei: party.lei.clone().unwrap_or_default(),
            address,
        }
    }
}

/// Satoshis, what they were worth, and whether they are taken back.
type Receipt<'r> = (u64, &'r Valuation, bool);

fn legal(name: &str) -> told::Party {
    legal_with_id(name, name)
}

fn legal_with_id(id: &str, name: &str) -> told::Party {
    told::Party {
        id: id.to_owned(),
        name: PartyName::Legal { name: name.to_owned() },
        residency: String::new(),
        tax_ids: Vec::new(),
        registrations: Vec::new(),
        lei: String::new(),
        address: None,
    }
}
