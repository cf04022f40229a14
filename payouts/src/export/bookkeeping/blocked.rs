//! Blocked property: each blocking, also after its release, and by when it is to be reported.

use std::collections::BTreeMap;

use super::{BookkeepingError, journal_id, on_record::OnRecord};
use crate::{
    account::AccountId,
    export::{
        movement::Owed,
        party::{Party, PartyId},
        report::model::{BlockedRow, Valuation},
        rules::{
            period::Period,
            profile::{CountryProfile, PoolFact},
        },
    },
    ledger::{Entry, EntrySeq, LedgerAccount},
    payout::{Restraint, RestraintAct, RestraintRow},
};

/// Returns what an entry takes off blocked balances, in satoshis.
pub(super) fn released(entry: &Entry) -> i64 {
    let blocked = entry.postings.iter().filter(|posting| matches!(posting.account, LedgerAccount::Blocked(_)));
    blocked.map(|posting| posting.amount.to_sat()).sum()
}

/// What blockings are told from.
pub(super) struct Blocking<'a> {
    pub(super) on_record: &'a OnRecord,
    pub(super) parties: &'a BTreeMap<PartyId, Party>,
    pub(super) addresses: &'a BTreeMap<AccountId, String>,
    /// All acts of restraints up to the end of the period.
    pub(super) restraints: &'a [RestraintRow],
    /// What releases have given back.
    pub(super) unblocked: &'a BTreeMap<EntrySeq, i64>,
    /// What is owed at the end of the period.
    pub(super) owed: &'a BTreeMap<AccountId, Owed>,
}

impl Blocking<'_> {
    /// Returns the blockings that are in force at the end of the period, and those that ended in it.
    pub(super) fn rows(
        &self,
        profile: &CountryProfile,
        period: Period,
        (opened_at, closed_at): (EntrySeq, EntrySeq),
    ) -> Result<Vec<BlockedRow>, BookkeepingError> {
        let mut open: BTreeMap<AccountId, &RestraintRow> = BTreeMap::new();
        let mut blockings = Vec::new();
        for act in self.restraints.iter().filter(|act| act.restraint == Restraint::Blocked) {
            match act.act {
                RestraintAct::Begun => drop(open.insert(act.account, act)),
                RestraintAct::Swept => {}
                RestraintAct::Ended => {
                    let begun = open.remove(&act.account);
                    blockings.extend(begun.filter(|_| act.entry > opened_at).map(|begun| (begun, Some(act))));
                }
            }
        }
        blockings.extend(open.into_values().map(|begun| (begun, None)));
        blockings.sort_by_key(|(begun, _)| begun.entry);
        blockings.into_iter().map(|(begun, ended)| self.row(profile, period, closed_at, begun, ended)).collect()
    }

    fn row(
        &self,
        profile: &CountryProfile,
        period: Period,
        closed_at: EntrySeq,
        begun: &RestraintRow,
        ended: Option<&RestraintRow>,
    ) -> Result<BlockedRow, BookkeepingError> {
        let account = begun.account;
        let upto = ended.map_or(closed_at, |ended| ended.entry);
        let noted = self.on_record.blocking(account, upto);
        let evidence = noted.and_then(|noted| noted.what.evidence.first());
        let party = self.on_record.owners.owner(account).map(|owned| owned.party);
        let sat = match ended {
            Some(ended) => self.unblocked.get(&ended.entry).copied().unwrap_or_default(),
            None => self.owed.get(&account).map_or(0, |owed| owed.blocked),
        };
        let rule = profile.blocked_property();
        let day = profile.zone().day(begun.at_ms)?;
        // The first yearly day on which it is blocked, or on which the period is told of.
        let from = day.max(period.last_day());
        let annual = [from.year(), from.year() + 1].into_iter().filter_map(|year| rule.annual_due(year));
        let annual = annual.filter(|due| *due >= from && ended.is_none()).min();
        Ok(BlockedRow {
            id: format!("entry:{}", begun.entry),
            state: if ended.is_some() { "RELEASED" } else { "BLOCKED" }.to_owned(),
            blocked_at_ms: begun.at_ms,
            released_at_ms: ended.map(|ended| ended.at_ms),
            release_reference: ended.map(|ended| self.reference(account, ended)).unwrap_or_default(),
            account: account.get(),
            party: party.map(|party| party.to_string()).unwrap_or_default(),
            name: match party.and_then(|party| self.parties.get(&party)) {
                Some(party) => party.legal_name.clone(),
                None => evidence.map(|evidence| evidence.party.clone()).unwrap_or_default(),
            },
            address: self.addresses.get(&account).cloned().unwrap_or_default(),
            script: noted.map(|noted| noted.what.script_pubkey.clone()).unwrap_or_default(),
            amount_sat: u64::try_from(sat).unwrap_or(0),
            valuation: Valuation::Unvalued,
            screening: noted.map(|noted| journal_id(noted.seq)).unwrap_or_default(),
            list_source: evidence.map(|evidence| evidence.source.clone()).unwrap_or_default(),
            matched_uid: evidence.map(|evidence| evidence.uid.clone()).unwrap_or_default(),
            programme: evidence.map(|evidence| evidence.programmes.join(" | ")).unwrap_or_default(),
            authority: profile.pool_fact(PoolFact::LicenceAuthority).unwrap_or_default().to_owned(),
            report_due: rule.due(day).to_string(),
            annual_report_due: annual.map(|due| due.to_string()).unwrap_or_default(),
            reported_on: String::new(),
        })
    }

    /// Returns by what an account was released: the authority's reference, or else the review, or the operator's words.
    fn reference(&self, account: AccountId, ended: &RestraintRow) -> String {
        let mut reviews = self.on_record.reviewed.get(&account).into_iter().flatten();
        let review = reviews.rfind(|noted| noted.what.releases && noted.at_ms <= ended.at_ms);
        match review {
            Some(noted) => noted.what.authorisation.clone().unwrap_or_else(|| journal_id(noted.seq)),
            None => ended.reason.clone(),
        }
    }
}
