//! Reports that name people: the CARF message and the travel rule's messages.

use std::collections::BTreeMap;

use super::{BookkeepingError, currency, on_record::OnRecord};
use crate::{
    account::AccountId,
    export::{
        party::{Party, PartyId, PartyKind},
        report::{
            ReportError,
            carf::{CarfDraft, CarfUser, MiningIncome},
            model::{CorrectionOf, RecordEvent, RegisterRow, ReportHead, Statement, Valuation},
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
    /// be told, nor that more was taken back from a party than it received; warnings say so.
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
        let mut by_party: BTreeMap<PartyId, (Vec<Receipt<'_>>, Vec<i64>)> = BTreeMap::new();
        let mut unowned = 0;
        for (account, income) in self.incomes(register, statements) {
            let Some(owned) = self.on_record.owners.owner(account) else {
                unowned += 1;
                continue;
            };
            let (receipts, corrections) = by_party.entry(owned.party).or_default();
            match income {
                Income::Received(receipt) => receipts.push(receipt),
                Income::Corrected(difference_minor) => corrections.push(difference_minor),
            }
        }
        if unowned > 0 {
            warnings.push(format!(
                "receipts of accounts without a known owner, which are not in the CARF draft: {unowned}"
            ));
        }
        let currency = currency(self.profile.currency());
        let mut users = Vec::with_capacity(by_party.len());
        for (id, (receipts, corrections)) in by_party {
            let party = self.party(id);
            let mut warn = |why: String| warnings.push(format!("party {id} is not in the CARF draft: {why}"));
            let corrected_minor = corrections.iter().map(|&minor| i128::from(minor)).sum();
            let income = match MiningIncome::of(&party.id, &currency, receipts) {
                Ok(Some(mut income)) => income.correct(&party.id, corrected_minor).map(|()| Some(income)),
                other => other,
            };
            match income {
                Ok(Some(income)) => users.push(CarfUser { income, party }),
                Ok(None) => warn(format!(
                    "in {period} more was taken back than it received, and income below zero cannot be told there"
                )),
                // What takes back more of earlier years than was received cannot be told in a message of this one.
                Err(error @ ReportError::Carf { .. }) => warn(error.to_string()),
                Err(error) => return Err(error.into()),
            }
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
                RecordEvent::Reversed { .. } => drop(stayed.remove(&(row.txid.as_str(), row.vout))),
                RecordEvent::Corrected { .. } => {}
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

    /// Returns what accounts received, by the event that counts as receipt, and by how much earlier receipts were worth
    /// more.
    fn incomes<'r>(&self, register: &'r [RegisterRow], statements: &'r [Statement]) -> Vec<(AccountId, Income<'r>)> {
        let is_payout = self.profile.receipt_event() == ReceiptEvent::Payout;
        let mut incomes = Vec::new();
        if is_payout {
            incomes.extend(register.iter().filter(|row| !row.is_sale()).filter_map(|row| {
                let is_back = match row.event {
                    RecordEvent::Delivered => false,
                    RecordEvent::Reversed { .. } => true,
                    RecordEvent::Corrected { .. } => return None,
                };
                Some((AccountId::new(row.account), Income::Received((row.amount_sat, &row.valuation, is_back))))
            }));
        }
        for statement in statements {
            let mut received = |sat, valuation, is_back| {
                incomes.push((AccountId::new(statement.account), Income::Received((sat, valuation, is_back))));
            };
            if is_payout {
                let direct = statement.payouts.iter().filter(|payout| payout.direct);
                direct.for_each(|line| received(line.amount_sat, &line.valuation, line.reversed));
            } else {
                statement.credits.iter().for_each(|line| received(line.amount_sat, &line.valuation, false));
                statement.reversals.iter().for_each(|line| received(line.amount_sat, &line.valuation, true));
            }
            let corrections = statement.corrections.iter().filter(|it| is_payout != (it.of == CorrectionOf::Credit));
            for correction in corrections {
                let income = match (&correction.was, correction.difference_minor) {
                    // It was in no sum of its own year.
                    (Valuation::Unvalued, _) => Income::Received((correction.amount_sat, &correction.valuation, false)),
                    (Valuation::Valued(_), Some(difference_minor)) => Income::Corrected(difference_minor),
                    (Valuation::Valued(_), None) => continue,
                };
                incomes.push((AccountId::new(statement.account), income));
            }
        }
        incomes
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

/// What changes an account's income.
enum Income<'r> {
    /// Something was received, or taken back.
    Received(Receipt<'r>),
    /// A receipt of a closed period was worth so much more, in minor units.
    Corrected(i64),
}

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
