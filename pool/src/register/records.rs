//! Records: coin that left, newest first, and what is on record of each.

use std::{collections::HashMap, sync::Arc};

use bitcoin::Txid;
use payouts::{
    account::{AccountId, User},
    export::{
        journal::{JournalRow, JournalSeq},
        owner::AddressOwned,
        party::PartyId,
        register::{RecordState, RegisterRow, RowSeq},
        rules::{
            period::Period,
            profile::CountryProfile,
            valuation::{Appraisal, Valuation},
        },
        screened::ScreenedBatch,
        valued::{ValueKey, Valued},
    },
    ledger::{EntrySeq, LedgerAccount},
    payout::BatchId,
    store::{RecordFilter, Store},
};
use serde::Serialize;

use super::{PeriodStanding, periods};
use crate::operations::{Refusal, RefusalCode, account::find_account};

/// Values and screenings of a record that are told, the newest ones.
const MAX_EVENTS: u32 = 50;
/// Owners of addresses that are read at a time.
const OWNED_PAGE: u32 = 1_000;
/// Accounts of one party that its records are looked for by, at most.
const MAX_ACCOUNTS: usize = 1_000;

/// A row of the register of paid outputs.
#[derive(Clone, Debug, Serialize, utoipa::ToSchema)]
pub struct RecordReport {
    /// Its place.
    pub seq: i64,
    /// `DELIVERED`, or `REVERSED` when its block left the chain.
    pub state: &'static str,
    /// The output, `txid:vout`.
    pub delivery: String,
    /// What it pays.
    pub sat: u64,
    /// The account.
    pub account: i64,
    /// Its address.
    pub address: String,
    /// The block.
    pub block_hash: String,
    /// The block's height.
    pub block_height: u32,
    /// The ledger entry.
    pub entry: i64,
    /// The coinbases that it came from.
    pub lots: Vec<RecordLot>,
    /// The row's hash, over that of the row before it.
    pub hash: String,
}

/// The part of a paid output that came from one coinbase.
#[derive(Clone, Debug, Serialize, utoipa::ToSchema)]
pub struct RecordLot {
    /// The coinbase output, `txid:vout`.
    pub coinbase: String,
    /// The block of that coinbase.
    pub block_hash: String,
    /// How much.
    pub sat: u64,
}

/// A record with what is on record of it.
#[derive(Clone, Debug, Serialize, utoipa::ToSchema)]
pub struct RecordDetail {
    /// The row of the register.
    pub record: RecordReport,
    /// When it was booked, in milliseconds since 1970 UTC.
    pub at_ms: i64,
    /// The payout that the output is of.
    pub batch: Option<i64>,
    /// The party that owns the address now.
    pub party: Option<i64>,
    /// The reported period that it is of, and how that stands.
    pub period: PeriodStanding,
    /// What it was valued at by the profile of the settings, newest first.
    pub values: Vec<ValueReport>,
    /// What befell it, oldest first.
    pub history: Vec<HappenedReport>,
}

/// What a record was found to be worth, or why it was not.
#[derive(Clone, Debug, Serialize, utoipa::ToSchema)]
pub struct ValueReport {
    /// The row of the journal.
    pub row: i64,
    /// When it came on record, in milliseconds since 1970 UTC.
    pub at_ms: i64,
    /// The country profile, name and version.
    pub profile: String,
    /// The currency (ISO 4217); nothing without a value.
    pub currency: Option<String>,
    /// The value, a decimal number; nothing if a price or a rate is missing.
    pub amount: Option<String>,
    /// Of what the price is, where it was made and of what kind: `BTC/USD at example, close`.
    pub price_of: Option<String>,
    /// The price, a decimal number.
    pub price: Option<String>,
    /// When the price was, in milliseconds since 1970 UTC.
    pub price_at_ms: Option<i64>,
    /// The exchange rate that converted it, and whose of which day.
    pub rate: Option<String>,
    /// The SHA-256 of the file with the price.
    pub source_sha256: Option<String>,
    /// Whether it came after its period was closed, so that it is a correction in the open one.
    pub is_correction: bool,
}

/// Something that befell a record.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct HappenedReport {
    /// The state that it took: `SCREENED`, `DELIVERED`, `REVERSED`, `DECLARED` or `CLOSED`.
    pub state: String,
    /// When, in milliseconds since 1970 UTC.
    pub at_ms: i64,
    /// What says so: `journal:7`, `entry:12`, or the declaration.
    pub evidence: String,
}

impl From<RegisterRow> for RecordReport {
    fn from(row: RegisterRow) -> RecordReport {
        let lots = row.record.lots.iter().map(|lot| RecordLot {
            coinbase: lot.coinbase.to_string(),
            block_hash: lot.block.to_string(),
            sat: lot.amount.to_sat(),
        });
        RecordReport {
            seq: row.seq.get(),
            state: row.state.as_str(),
            delivery: row.record.delivery.to_string(),
            sat: row.record.amount.to_sat(),
            account: row.record.account.get(),
            lots: lots.collect(),
            address: row.record.address,
            block_hash: row.block.hash.to_string(),
            block_height: row.block.height,
            entry: row.entry.get(),
            hash: row.hash.to_string(),
        }
    }
}

impl ValueReport {
    fn new(row: &JournalRow, valued: Valued, is_correction: bool) -> Result<ValueReport, Refusal> {
        let mut report = ValueReport {
            row: row.seq.get(),
            at_ms: row.at_ms().map_err(failed)?,
            profile: valued.profile,
            currency: None,
            amount: None,
            price_of: None,
            price: None,
            price_at_ms: None,
            rate: None,
            source_sha256: None,
            is_correction,
        };
        if let Appraisal::Valued(valuation) = valued.appraisal {
            let Valuation { price_of, price, price_time, price_file_sha256, fx, value, .. } = *valuation;
            report.currency = Some(value.currency().to_string());
            report.amount = Some(value.to_decimal());
            report.price_of = Some(format!("{} at {}, {}", price_of.pair, price_of.venue, price_of.basis));
            report.price = Some(price.as_str().to_owned());
            report.price_at_ms = Some(price_time.as_millisecond());
            report.source_sha256 = Some(price_file_sha256.to_string());
            report.rate = fx.map(|fx| {
                let of = &fx.rate_of;
                format!("{} {} for {} {}, {}, {}", fx.rate.as_str(), of.quote, fx.nominal, of.base, of.source, fx.date)
            });
        }
        Ok(report)
    }
}

/// Which records are wanted, as people say it.
#[derive(Clone, Debug, Default)]
pub struct WantedRecords {
    /// Those alone that were booked in this period, in the zone of the profile.
    pub period: Option<(Arc<CountryProfile>, Period)>,
    /// Those alone that were booked from this time on, in milliseconds since 1970 UTC.
    pub from_ms: Option<i64>,
    /// Those alone that were booked before this time, in milliseconds since 1970 UTC.
    pub until_ms: Option<i64>,
    /// Those of a state alone.
    pub state: Option<RecordState>,
    /// Those alone that pay this account.
    pub account: Option<User>,
    /// Those alone whose address is owned by this party now.
    pub party: Option<PartyId>,
    /// Those alone whose output is of this transaction.
    pub txid: Option<Txid>,
}

impl WantedRecords {
    /// Returns the same as a store is asked for it.
    ///
    /// # Errors
    ///
    /// When there is no such account, or the store cannot be read.
    pub async fn filter(&self, store: &dyn Store) -> Result<RecordFilter, Refusal> {
        let WantedRecords { period, from_ms, until_ms, state, account, party, txid } = self;
        let period = period.as_ref().map(|(profile, period)| (profile.zone(), period));
        let from_ms = from_ms.iter().copied().chain(period.map(|(zone, period)| period.start_ms(zone))).max();
        let until_ms = until_ms.iter().copied().chain(period.map(|(zone, period)| period.end_ms(zone))).min();
        let mut filter = RecordFilter { state: *state, txid: *txid, ..RecordFilter::default() };
        if let Some(from_ms) = from_ms {
            filter.first = Some(first_row_from(store, from_ms).await?);
        }
        if let Some(until_ms) = until_ms {
            filter.end = Some(first_row_from(store, until_ms).await?);
        }
        if let Some(party) = party {
            filter.accounts = Some(owned(store, *party).await?);
        }
        if let Some(user) = account {
            let account = find_account(store, user).await?.id;
            let is_wanted = filter.accounts.as_ref().is_none_or(|owned| owned.contains(&account));
            filter.accounts = Some(if is_wanted { vec![account] } else { Vec::new() });
        }
        Ok(filter)
    }
}

/// Returns the accounts whose addresses a party owns now.
async fn owned(store: &dyn Store, party: PartyId) -> Result<Vec<AccountId>, Refusal> {
    let (mut accounts, mut after) = (Vec::new(), JournalSeq::new(0));
    loop {
        let rows = store.latest_journal_rows(AddressOwned::KIND, after, OWNED_PAGE).await?;
        let Some(last) = rows.last() else { return Ok(accounts) };
        after = last.seq;
        for row in &rows {
            let owned: AddressOwned = row.read().map_err(failed)?;
            if owned.party == party {
                accounts.push(owned.account);
            }
        }
        if accounts.len() > MAX_ACCOUNTS {
            let reason = format!("party {party} owns more than {MAX_ACCOUNTS} addresses: ask for each account");
            return Err(Refusal::new(RefusalCode::Conflict, reason));
        }
    }
}

/// Returns the first row that was booked at a time or later; the one after the last if there is none.
async fn first_row_from(store: &dyn Store, at_ms: i64) -> Result<RowSeq, Refusal> {
    let (mut low, mut high) = (1, store.register_head().await?.seq.get() + 1);
    while low < high {
        let middle = low + (high - low) / 2;
        let row = store.register_rows(RowSeq::new(middle - 1), 1).await?.pop().ok_or_else(gone)?;
        if booked(store, row.entry).await?.0 < at_ms {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    Ok(RowSeq::new(low))
}

/// Returns when an entry was booked, and for which payout.
///
/// # Errors
///
/// When the store cannot be read.
pub async fn booked(store: &dyn Store, entry: EntrySeq) -> Result<(i64, Option<BatchId>), Refusal> {
    let entry = store.entries(EntrySeq::new(entry.get() - 1), 1).await?.pop().ok_or_else(gone)?;
    let batch = entry.postings.iter().find_map(|posting| match posting.account {
        LedgerAccount::Reserved(id) => Some(id),
        _ => None,
    });
    Ok((entry.at_ms, batch))
}

fn gone() -> Refusal {
    Refusal::new(RefusalCode::Failed, "the register and the ledger do not fit: adit ledger verify says where")
}

fn failed(error: impl std::fmt::Display) -> Refusal {
    Refusal::new(RefusalCode::Failed, error)
}

/// Returns the newest values of rows by a profile, which is given by name and version. Some have none.
///
/// # Errors
///
/// When the store cannot be read.
pub async fn newest_values(
    store: &dyn Store,
    rows: &[RegisterRow],
    profile: &str,
) -> Result<HashMap<RowSeq, ValueReport>, Refusal> {
    let subjects: Vec<String> = rows.iter().map(|row| row.record.delivery.to_string()).collect();
    let mut newest = HashMap::new();
    for event in store.journal_about_any(Valued::KIND, &subjects).await? {
        let valued: Valued = event.read().map_err(failed)?;
        if let ValueKey::Row(row) = valued.about.key()
            && valued.profile == profile
            && !newest.contains_key(&row)
        {
            newest.insert(row, ValueReport::new(&event, valued, false)?);
        }
    }
    Ok(newest)
}

/// Returns the values of a row by a profile, newest first. Those after the row `closed` of the journal are corrections of a
/// closed period.
async fn values(
    store: &dyn Store,
    row: &RegisterRow,
    profile: &str,
    closed: Option<i64>,
) -> Result<Vec<ValueReport>, Refusal> {
    let subject = row.record.delivery.to_string();
    let mut values = Vec::new();
    for event in store.journal_about(Valued::KIND, &subject, MAX_EVENTS).await? {
        let valued: Valued = event.read().map_err(failed)?;
        if valued.profile == profile && valued.about.key() == ValueKey::Row(row.seq) {
            let is_correction = closed.is_some_and(|closed| event.seq.get() > closed);
            values.push(ValueReport::new(&event, valued, is_correction)?);
        }
    }
    Ok(values)
}

/// Tells what is on record of a row, by the profile of the settings.
pub(super) async fn detail(
    store: &dyn Store,
    profile: &CountryProfile,
    seq: RowSeq,
    now_ms: i64,
) -> Result<RecordDetail, Refusal> {
    let unknown = || Refusal::new(RefusalCode::NotFound, format!("there is no record {seq}"));
    let found = store.register_rows(RowSeq::new(seq.get().saturating_sub(1)), 1).await?.pop();
    let row = found.filter(|row| row.seq == seq).ok_or_else(unknown)?;
    let (at_ms, batch) = booked(store, row.entry).await?;
    let period = profile.period_at(at_ms).map_err(failed)?;
    let known = periods::known(store, profile, period).await?;
    let mut history = Vec::new();
    if let Some(batch) = batch {
        for event in store.journal_about(ScreenedBatch::KIND, &format!("batch:{batch}"), MAX_EVENTS).await? {
            history.push(happened("SCREENED", event.at_ms().map_err(failed)?, format!("journal:{}", event.seq)));
        }
    }
    history.push(happened(row.state.as_str(), at_ms, format!("entry:{}", row.entry)));
    // A declaration tells of the records that it was made from.
    let declared = known.as_ref().filter(|known| known.declared.as_of.register.seq >= seq.get());
    if let Some(known) = declared {
        let evidence = format!("{} to {}", known.declared.declaration, known.declared.authority);
        history.push(happened("DECLARED", known.declared_at.at_ms, evidence.clone()));
        history.extend(known.closed_at.map(|place| happened("CLOSED", place.at_ms, evidence)));
    }
    history.sort_by_key(|happened| happened.at_ms);
    let closed = declared.filter(|known| known.closed_at.is_some()).map(|known| known.declared.as_of.journal.seq);
    let owner = store.journal_about(AddressOwned::KIND, &format!("account:{}", row.record.account), 1).await?.pop();
    let owner: Option<AddressOwned> = owner.map(|event| event.read().map_err(failed)).transpose()?;
    Ok(RecordDetail {
        at_ms,
        batch: batch.map(BatchId::get),
        party: owner.map(|owned| owned.party.get()),
        values: values(store, &row, &profile.id(), closed).await?,
        period: periods::report(profile, period, known.as_ref(), now_ms)?,
        history,
        record: row.into(),
    })
}

fn happened(state: &str, at_ms: i64, evidence: String) -> HappenedReport {
    HappenedReport { state: state.to_owned(), at_ms, evidence }
}

/// What rows of the register move, in the order in which they are given.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Moved {
    /// How many delivered.
    pub delivered: u64,
    /// How many came back.
    pub reversed: u64,
    /// What moved out, less what came back.
    pub sat: i128,
}

impl Moved {
    /// Adds a row.
    pub fn add(&mut self, row: &RegisterRow) {
        let sat = i128::from(row.record.amount.to_sat());
        match row.state {
            RecordState::Delivered => {
                self.delivered += 1;
                self.sat += sat;
            }
            RecordState::Reversed => {
                self.reversed += 1;
                self.sat -= sat;
            }
        }
    }
}
