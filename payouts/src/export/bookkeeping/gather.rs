//! Gathers what the reports of a period consist of.

use std::collections::BTreeMap;

use bitcoin::OutPoint;

use super::{
    BookkeepingError, blocked,
    corrections::Corrections,
    declaring, figures, journal_id,
    on_record::OnRecord,
    parties,
    sales::Selling,
    screenings,
    statements::{self, Statements},
    states::RecordStates,
    walk::{Booked, Walk},
};
use crate::{
    account::AccountId,
    export::{
        LotCredit,
        closing::KnownPeriod,
        journal::JournalSeq,
        party::{Party, PartyId},
        register::{RecordState, RegisterRow, RowSeq},
        report::{
            carf::CarfDraft,
            model::{
                AsOf, Basis, BlockRef, BlockedRow, ChainMark, Lot, Period as Span, RecordEvent,
                RegisterRow as ReportedRow, ReportHead, SaleRow, ScreeningRow, Statement, Valuation, Zone,
            },
            reconciliation::Figures,
            travel_rule::Transfer,
        },
        rules::{
            period::Period,
            profile::{CountryProfile, PoolFact, ReportName},
            residency::ExportBasis,
            state::LotState,
        },
        valued::ValueKey,
    },
    hash_chain::ChainHash,
    ledger::{EntryKind, EntrySeq},
    payout::RestraintRow,
    store::{Store, StoreError},
};

/// Records that are read at a time.
const PAGE: u32 = 1_000;
/// Times that heads are read anew because something was booked meanwhile.
const SNAPSHOT_ATTEMPTS: u32 = 16;
/// What the reports call a pool that does not tell its name.
const UNNAMED_POOL: &str = "pool";

/// Which reports are wanted.
#[derive(Clone, Debug)]
pub struct Wanted<'a> {
    /// By which rules.
    pub profile: &'a CountryProfile,
    /// Of which period.
    pub period: Period,
    /// The version of the software that makes them.
    pub software_version: &'a str,
    /// When they are made, in milliseconds since 1970 UTC.
    pub generated_at_ms: i64,
    /// What is known of parties, as far as it could be opened.
    pub parties: &'a BTreeMap<PartyId, Party>,
    /// Up to where records count; nothing for all that there are, or, of a closed period, those that it was declared from.
    pub as_of: Option<AsOf>,
}

/// What the reports of a period consist of.
#[derive(Debug)]
pub struct Reports {
    /// What they have in common.
    pub head: ReportHead,
    /// Which of them are to be written.
    pub names: Vec<ReportName>,
    /// The register's rows.
    pub register: Vec<ReportedRow>,
    /// The statements, by account.
    pub statements: Vec<Statement>,
    /// The screening log.
    pub screenings: Vec<ScreeningRow>,
    /// Blocked property.
    pub blocked: Vec<BlockedRow>,
    /// Sales.
    pub sales: Vec<SaleRow>,
    /// The CARF message, if the profile wants one.
    pub carf: Option<CarfDraft>,
    /// The pool, and whom it paid, if the profile wants that told.
    pub travel_rule: Option<(crate::export::report::party::Party, Vec<Transfer>)>,
    /// What must be equal.
    pub figures: Figures,
    /// The last declaration of the period; nothing if there is none, or the records' end was given.
    pub declared: Option<KnownPeriod>,
    /// What a reader should know.
    pub warnings: Vec<String>,
}

/// Gathers what the reports of a period consist of.
///
/// # Errors
///
/// If the store fails or contradicts itself, the period is not one of the profile's, the profile leaves out what its
/// reports must say, or records are no longer those of `as_of`.
pub async fn gather(store: &dyn Store, wanted: &Wanted<'_>) -> Result<Reports, BookkeepingError> {
    let Wanted { profile, period, .. } = *wanted;
    if period.kind() != profile.period_kind() {
        let (label, kind, profile) = (period.to_string(), profile.period_kind(), profile.id());
        return Err(BookkeepingError::PeriodKind { label, kind, profile });
    }
    let tells_parties = [ReportName::Carf, ReportName::TravelRule];
    if tells_parties.iter().any(|name| profile.reports().contains(name)) {
        profile.pool_facts()?;
    }
    let (as_of, declared) = match &wanted.as_of {
        Some(as_of) => (as_of.clone(), None),
        None => latest(store, profile, period).await?,
    };
    let closed = declared.as_ref().filter(|known| known.closed_at.is_some());
    let generated_at_ms = closed.map_or(wanted.generated_at_ms, |known| known.declared.generated_at_ms);
    let wanted = &Wanted { generated_at_ms, ..wanted.clone() };
    check_marks(store, &as_of).await?;
    let span = (period.start_ms(profile.zone()), period.end_ms(profile.zone()));
    let on_record = OnRecord::read(store, JournalSeq::new(as_of.journal.seq), &profile.id(), span).await?;
    let states = RecordStates::read(store, &as_of, &on_record).await?;
    let addresses = addresses(store).await?;
    let mut walk = Walk::up_to(store, EntrySeq::new(as_of.ledger.seq));
    let mut gathering = Gathering {
        profile,
        on_record: &on_record,
        states: &states,
        deliveries: BTreeMap::new(),
        register: Vec::new(),
        statements: Statements::new(&on_record),
        corrections: Corrections::new(&on_record),
        figures: figures::Gathered::default(),
        selling: Selling::new(store, profile, &on_record, &states, wanted.parties),
        unblocked: BTreeMap::new(),
    };
    let mut opening = None;
    while let Some(at_ms) = walk.next_at_ms().await? {
        if at_ms >= span.0 && opening.is_none() {
            opening = Some((walk.last(), statements::sums(&walk)));
            gathering.selling.open();
        }
        if at_ms >= span.1 {
            break;
        }
        let Some(booked) = walk.next().await? else { break };
        gathering.note(&walk, store, &booked, at_ms >= span.0).await?;
    }
    let (opened_at, opening) = opening.unwrap_or_else(|| {
        gathering.selling.open();
        (walk.last(), statements::sums(&walk))
    });
    let closed_at = walk.last();
    let restraints = restraints(store, closed_at).await?;
    let Gathering { mut register, mut statements, corrections, figures, selling, unblocked, .. } = gathering;
    let corrected = corrections.finish(&mut register, &mut statements);
    let closing = statements::Closing { owed: walk.owed(), at: closed_at, restraints: &restraints };
    let statements = statements.finish(&opening, &closing, &addresses);
    let blocking = blocked::Blocking {
        on_record: &on_record,
        parties: wanted.parties,
        addresses: &addresses,
        restraints: &restraints,
        unblocked: &unblocked,
        owed: walk.owed(),
    };
    let blocked = blocking.rows(profile, period, (opened_at, closed_at))?;
    let head = head(wanted, as_of, span, &register);
    let mut warnings = warnings(wanted, span.1, &register, &statements);
    warnings.extend(corrected);
    let sold = selling.finish(&mut warnings);
    let sales = sold.rows.clone();
    let figures = figures.finish(&register, &statements, sold);
    let told = parties::Told { profile, on_record: &on_record, parties: wanted.parties };
    let carf = told.carf(&head, period, &register, &statements, &mut warnings)?;
    let travel_rule = told.transfers(&head, &register, &mut warnings);
    Ok(Reports {
        screenings: screenings::log(&on_record, &addresses)?,
        names: profile.reports().iter().copied().collect(),
        sales,
        head,
        register,
        statements,
        blocked,
        carf,
        travel_rule,
        figures,
        declared,
        warnings,
    })
}

/// Collects what entries say.
struct Gathering<'a> {
    profile: &'a CountryProfile,
    on_record: &'a OnRecord,
    states: &'a RecordStates,
    /// The row that delivered each output last, and when.
    deliveries: BTreeMap<OutPoint, (RowSeq, i64)>,
    register: Vec<ReportedRow>,
    statements: Statements<'a>,
    corrections: Corrections<'a>,
    figures: figures::Gathered,
    selling: Selling<'a>,
    /// What entries have taken off blocked balances, in satoshis.
    unblocked: BTreeMap<EntrySeq, i64>,
}

impl Gathering<'_> {
    async fn note(
        &mut self,
        walk: &Walk<'_>,
        store: &dyn Store,
        booked: &Booked,
        is_within: bool,
    ) -> Result<(), BookkeepingError> {
        self.selling.note(booked, is_within).await?;
        let mut values = BTreeMap::new();
        for row in &booked.rows {
            let original = self.original(row, booked.at_ms);
            match row.state {
                RecordState::Delivered => {
                    let (on_record, states, profile) = (self.on_record, self.states, self.profile);
                    let told = || Telling { profile, on_record, states }.row(booked, row, original);
                    self.corrections.delivered(row.seq, row.record.account, told, booked.at_ms);
                }
                RecordState::Reversed => self.corrections.taken_back(ValueKey::Row(original.0), booked.entry.seq),
            }
            if is_within {
                let (on_record, states, profile) = (self.on_record, self.states, self.profile);
                let reported = Telling { profile, on_record, states }.row(booked, row, original);
                values.insert(row.record.delivery, reported.valuation.clone());
                self.register.push(reported);
            }
        }
        self.corrections.note(booked);
        self.statements.remember(booked);
        if is_within {
            self.statements.note(booked, &values);
            self.figures.note(walk, store, booked).await?;
        }
        if booked.entry.kind == EntryKind::Unblocked {
            self.unblocked.insert(booked.entry.seq, blocked::released(&booked.entry));
        }
        Ok(())
    }

    /// Returns the row that delivered what a row is about, and when: itself, or the one that it takes back.
    fn original(&mut self, row: &RegisterRow, at_ms: i64) -> (RowSeq, i64) {
        let delivery = row.record.delivery;
        match row.state {
            RecordState::Delivered => {
                self.deliveries.insert(delivery, (row.seq, at_ms));
                (row.seq, at_ms)
            }
            RecordState::Reversed => self.deliveries.get(&delivery).copied().unwrap_or((row.seq, at_ms)),
        }
    }
}

/// What the register's rows are told by.
struct Telling<'a> {
    profile: &'a CountryProfile,
    on_record: &'a OnRecord,
    states: &'a RecordStates,
}

impl Telling<'_> {
    fn row(&self, booked: &Booked, row: &RegisterRow, (original, at_ms): (RowSeq, i64)) -> ReportedRow {
        let (record, account) = (&row.record, row.record.account);
        let sender_residency = self.profile.pool_fact(PoolFact::Residency).unwrap_or_default().to_owned();
        let receiver_residency = self.on_record.residency(account);
        let is_known = !sender_residency.is_empty() && !receiver_residency.is_empty();
        let is_abroad = is_known && sender_residency != receiver_residency;
        let serves = self.profile.export_bases().contains(&ExportBasis::MiningService);
        let (worth, key) = (&self.on_record.worth, ValueKey::Row(original));
        ReportedRow {
            seq: row.seq.get(),
            event: match row.state {
                RecordState::Delivered => RecordEvent::Delivered,
                RecordState::Reversed => RecordEvent::Reversed { original_seq: original.get() },
            },
            state: self.states.of(row.seq).map(|state| state.to_string()).unwrap_or_default(),
            txid: record.delivery.txid.to_string(),
            vout: record.delivery.vout,
            block: BlockRef { hash: row.block.hash.to_string(), height: row.block.height.into() },
            at_ms: booked.at_ms,
            account: account.get(),
            party: self.on_record.party(account),
            address: record.address.clone(),
            script: record.script_pubkey.to_hex_string(),
            amount_sat: record.amount.to_sat(),
            basis: match row.record.lots.iter().any(|lot| lot.credit == LotCredit::Fee) {
                true if is_abroad => Basis::SaleToNonResident,
                true => Basis::SaleToResident,
                false if is_abroad && serves => Basis::ServiceToNonResident,
                false => Basis::Receipt,
            },
            sender_residency,
            receiver_residency,
            lots: record.lots.iter().map(|it| lot(it, self.states.of_lot(record.delivery, it))).collect(),
            valuation: match row.state {
                RecordState::Delivered => worth.of(key, at_ms),
                RecordState::Reversed => worth.when_taken_back(key, at_ms, row.entry),
            },
            screenings: self.on_record.letting_go(booked.batch, account, booked.entry.seq),
            hash: row.hash.to_string(),
        }
    }
}

pub(super) fn lot(lot: &crate::export::Lot, state: Option<LotState>) -> Lot {
    Lot {
        coinbase: lot.coinbase.to_string(),
        block_hash: lot.block.to_string(),
        amount_sat: lot.amount.to_sat(),
        credit: match lot.credit {
            LotCredit::Block => String::new(),
            LotCredit::Period { number, line } => format!("period {number}:{line}"),
            LotCredit::Fee => "fee".to_owned(),
        },
        state: state.map(|state| state.to_string()).unwrap_or_default(),
    }
}

fn head(wanted: &Wanted<'_>, as_of: AsOf, (from_ms, until_ms): (i64, i64), register: &[ReportedRow]) -> ReportHead {
    let profile = wanted.profile;
    let zone = profile.zone();
    let is_of_register = |row: &&ReportedRow| !matches!(row.event, RecordEvent::Corrected { .. });
    let mut rows = register.iter().filter(is_of_register).map(|row| row.seq);
    ReportHead {
        pool: profile.pool_fact(PoolFact::LegalName).unwrap_or(UNNAMED_POOL).to_owned(),
        software_version: wanted.software_version.to_owned(),
        profile: profile.name().to_owned(),
        profile_version: profile.version().to_string(),
        profile_sha256: profile.file_sha256().to_string(),
        zone: Zone { name: zone.as_str().to_owned(), rules: zone.rules().clone() },
        period: Span { label: wanted.period.to_string(), from_ms, until_ms },
        generated_at_ms: wanted.generated_at_ms,
        sequence: rows.next().map(|first| (first, rows.next_back().unwrap_or(first))),
        as_of,
    }
}

/// What a reader should know before relying on the reports.
fn warnings(wanted: &Wanted<'_>, until_ms: i64, register: &[ReportedRow], statements: &[Statement]) -> Vec<String> {
    let mut warnings: Vec<_> = wanted.profile.blanks().iter().map(ToString::to_string).collect();
    if wanted.generated_at_ms < until_ms {
        warnings.push(format!("{} is not over: more will be booked in it", wanted.period));
    }
    let rows = register.iter().filter(|row| row.valuation == Valuation::Unvalued).count();
    let credits = statements.iter().flat_map(|statement| &statement.credits);
    let credits = credits.filter(|credit| credit.valuation == Valuation::Unvalued).count();
    if rows > 0 {
        warnings.push(format!("rows of the register without a value: {rows}"));
    }
    if credits > 0 {
        warnings.push(format!("credits without a value: {credits}"));
    }
    let stateless = register.iter().filter(|row| row.state.is_empty()).count();
    if stateless > 0 {
        warnings.push(format!(
            "rows of the register whose record left without a screening on record, so that its state is not told: {stateless}"
        ));
    }
    warnings
}

/// Returns the ends of the chains up to which records count now, and the period's last declaration. Those of a closed period
/// are the ones that it was declared from.
async fn latest(
    store: &dyn Store,
    profile: &CountryProfile,
    period: Period,
) -> Result<(AsOf, Option<KnownPeriod>), BookkeepingError> {
    let as_of = snapshot(store).await?;
    let periods = declaring::periods(store, JournalSeq::new(as_of.journal.seq)).await?;
    let Some(known) = periods.of(profile.name(), period).cloned() else { return Ok((as_of, None)) };
    if known.closed_at.is_none() {
        return Ok((as_of, Some(known)));
    }
    let declared = &known.declared;
    if declared.profile_sha256 != profile.file_sha256() {
        let (profile, sha256) = (declared.profile.clone(), declared.profile_sha256);
        return Err(BookkeepingError::ClosedByAnother { period, profile, sha256 });
    }
    Ok((declared.as_of.clone(), Some(known)))
}

/// Returns the marks of these records of ledger, register and journal: up to them, records are read.
///
/// # Errors
///
/// If the store fails, or has no such record.
pub async fn marks(
    store: &dyn Store,
    ledger: EntrySeq,
    register: RowSeq,
    journal: JournalSeq,
) -> Result<AsOf, BookkeepingError> {
    let entries = store.entries(EntrySeq::new(ledger.get() - 1), 1).await?;
    let rows = store.register_rows(RowSeq::new(register.get() - 1), 1).await?;
    let events = store.journal_rows(JournalSeq::new(journal.get() - 1), 1).await?;
    Ok(AsOf {
        ledger: mark("ledger", ledger.get(), entries.first().map(|entry| (entry.seq.get(), entry.hash)))?,
        register: mark("register", register.get(), rows.first().map(|row| (row.seq.get(), row.hash)))?,
        journal: mark("journal", journal.get(), events.first().map(|row| (row.seq.get(), row.hash)))?,
    })
}

fn mark(chain: &'static str, seq: i64, found: Option<(i64, ChainHash)>) -> Result<ChainMark, BookkeepingError> {
    match found {
        _ if seq == 0 => Ok(ChainMark { seq, hash: ChainHash::ORIGIN.to_string() }),
        Some((found, hash)) if found == seq => Ok(ChainMark { seq, hash: hash.to_string() }),
        _ => Err(BookkeepingError::OtherRecords { chain, seq }),
    }
}

/// Returns the ends of the three chains at one moment.
pub(super) async fn snapshot(store: &dyn Store) -> Result<AsOf, BookkeepingError> {
    for _ in 0..SNAPSHOT_ATTEMPTS {
        let ledger = store.head().await?;
        let (register, journal) = (store.register_head().await?, store.journal_head().await?);
        if store.head().await? == ledger {
            return Ok(AsOf {
                ledger: ChainMark { seq: ledger.seq.get(), hash: ledger.hash.to_string() },
                register: ChainMark { seq: register.seq.get(), hash: register.hash.to_string() },
                journal: ChainMark { seq: journal.seq.get(), hash: journal.hash.to_string() },
            });
        }
    }
    Err(StoreError::Contended.into())
}

/// Makes sure that the store has the records that the chains ended with.
///
/// # Errors
///
/// If the store fails, or a record is not there or another.
pub async fn check_marks(store: &dyn Store, as_of: &AsOf) -> Result<(), BookkeepingError> {
    let AsOf { ledger, register, journal } = as_of;
    let entries = store.entries(EntrySeq::new(ledger.seq - 1), 1).await?;
    same("ledger", ledger, entries.first().map(|entry| (entry.seq.get(), entry.hash.to_string())))?;
    let rows = store.register_rows(RowSeq::new(register.seq - 1), 1).await?;
    same("register", register, rows.first().map(|row| (row.seq.get(), row.hash.to_string())))?;
    let rows = store.journal_rows(JournalSeq::new(journal.seq - 1), 1).await?;
    same("journal", journal, rows.first().map(|row| (row.seq.get(), row.hash.to_string())))
}

fn same(chain: &'static str, mark: &ChainMark, found: Option<(i64, String)>) -> Result<(), BookkeepingError> {
    let is_same = mark.seq == 0 || found.is_some_and(|(seq, hash)| seq == mark.seq && hash == mark.hash);
    if is_same { Ok(()) } else { Err(BookkeepingError::OtherRecords { chain, seq: mark.seq }) }
}

async fn addresses(store: &dyn Store) -> Result<BTreeMap<AccountId, String>, BookkeepingError> {
    let mut addresses = BTreeMap::new();
    let mut after = AccountId::new(0);
    loop {
        let page = store.accounts(after, PAGE).await?;
        let Some(last) = page.last() else { return Ok(addresses) };
        after = last.id;
        addresses.extend(page.into_iter().map(|account| (account.id, account.address)));
    }
}

/// Returns the acts of restraints that came with entries up to `upto`.
async fn restraints(store: &dyn Store, upto: EntrySeq) -> Result<Vec<RestraintRow>, BookkeepingError> {
    let mut acts = Vec::new();
    let mut after = EntrySeq::new(0);
    loop {
        let page = store.restraint_rows(after, PAGE).await?;
        let Some(last) = page.last() else { return Ok(acts) };
        after = last.entry;
        let is_done = after > upto;
        acts.extend(page.into_iter().filter(|act| act.entry <= upto));
        if is_done {
            return Ok(acts);
        }
    }
}

/// Returns how reports name the screening that restrained an account, as of an entry.
pub(super) fn screening_of(on_record: &OnRecord, account: AccountId, is_blocked: bool, at: EntrySeq) -> String {
    let noted = if is_blocked { on_record.blocking(account, at) } else { on_record.restraining(account, at) };
    noted.map(|noted| journal_id(noted.seq)).unwrap_or_default()
}
