//! What the reports are made from: plain data, filled by the caller from ledger and register.
//!
//! Amounts are satoshis, fiat amounts are integer minor units beside their currency, times are milliseconds since 1970
//! in UTC, countries are ISO 3166-1 alpha-2, hashes and scripts are lower-case hex, outputs are `txid:vout`. An empty
//! text means that there is none. Nothing here is checked; what reports need to hold, they check themselves.

use jiff::tz::TimeZone;
use serde::{Deserialize, Serialize};

/// What all reports of a set have in common.
#[derive(Clone, Debug)]
pub struct ReportHead {
    /// The pool's name.
    pub pool: String,
    /// The version of the software that writes.
    pub software_version: String,
    /// The country profile's name.
    pub profile: String,
    /// The country profile's version.
    pub profile_version: String,
    /// The SHA-256 of the country profile's file.
    pub profile_sha256: String,
    /// The profile's time zone.
    pub zone: Zone,
    /// The period that is reported.
    pub period: Period,
    /// When the reports are made.
    pub generated_at_ms: i64,
    /// The first and the last row of the register that the reports cover; nothing if there are none.
    pub sequence: Option<(i64, i64)>,
    /// Up to where ledger, register and journal were read.
    pub as_of: AsOf,
}

/// Up to where the records were read that reports are made from. From the same records the same reports can be made
/// again, whatever came after.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AsOf {
    /// The ledger.
    pub ledger: ChainMark,
    /// The register.
    pub register: ChainMark,
    /// The register's journal.
    pub journal: ChainMark,
}

/// The last record of a hash chain.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ChainMark {
    /// Its place; 0 for none.
    pub seq: i64,
    /// Its hash, which stands for all before it.
    pub hash: String,
}

/// A time zone.
#[derive(Clone, Debug)]
pub struct Zone {
    /// Its name, as the profile has it.
    pub name: String,
    /// Its rules.
    pub rules: TimeZone,
}

/// A span of time with a name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Period {
    /// Its name in file names: `2026-01`, `2026-Q1`, `2026`.
    pub label: String,
    /// Its first millisecond.
    pub from_ms: i64,
    /// The first millisecond after it.
    pub until_ms: i64,
}

/// A currency.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Currency {
    /// Its ISO 4217 code.
    pub code: String,
    /// How many decimals its minor unit makes.
    pub decimals: u8,
}

/// What an amount of coin was worth.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Valuation {
    /// There is no value, because a price or a rate is missing.
    #[default]
    Unvalued,
    /// The value and where it comes from.
    Valued(Box<Value>),
}

/// A value and all that it was computed from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Value {
    /// The profile's rule.
    pub policy: String,
    /// Where the price was made.
    pub venue: String,
    /// What the price is of: `BTC/USD`.
    pub pair: String,
    /// The price, a decimal number.
    pub price: String,
    /// The time of the price.
    pub price_at_ms: i64,
    /// What kind of price: close, spot or vwap.
    pub basis: String,
    /// The rate that turned the price's currency into the value's; nothing if they are the same.
    pub fx: Option<Fx>,
    /// The currency of the value.
    pub currency: Currency,
    /// The value, in minor units.
    pub minor: i64,
    /// The SHA-256 of the file of prices.
    pub source_sha256: String,
}

/// A currency rate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fx {
    /// Who published it.
    pub source: String,
    /// The rate, a decimal number.
    pub rate: String,
    /// The day it is for: `2026-01-31`.
    pub date: String,
}

/// A block that an output or a coinbase is in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BlockRef {
    /// Its hash.
    pub hash: String,
    /// Its height.
    pub height: u64,
}

/// A piece of a coinbase.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lot {
    /// The coinbase output.
    pub coinbase: String,
    /// The hash of its block.
    pub block_hash: String,
    /// How much of it.
    pub amount_sat: u64,
    /// Which credit it belongs to, if not its block's.
    pub credit: String,
    /// What became of it, up to where the records were read: `PAID`, `PAYABLE` and so on.
    pub state: String,
}

/// What a row of the register says of its record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RecordEvent {
    /// The output is in a block: the coin moved out.
    Delivered,
    /// That block left the chain: the exact negative of an earlier row.
    Reversed {
        /// The row that is taken back.
        original_seq: i64,
    },
    /// An earlier row was wrong, and its period is closed; this one carries the difference.
    Corrected {
        /// The row that is corrected.
        original_seq: i64,
        /// The difference in satoshis: correct less original.
        difference_sat: i64,
        /// The difference in the valuation's minor units; nothing if one of both was not valued.
        difference_minor: Option<i64>,
    },
}

/// Why coin moved.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Basis {
    /// A miner received what it earned: domestic income.
    Receipt,
    /// A mining service to a non-resident.
    ServiceToNonResident,
    /// A sale to a non-resident: an export.
    SaleToNonResident,
    /// A sale to a resident.
    SaleToResident,
}

impl Basis {
    /// Returns the text form that reports use.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Receipt => "RECEIPT",
            Self::ServiceToNonResident => "SERVICE_TO_NON_RESIDENT",
            Self::SaleToNonResident => "SALE_TO_NON_RESIDENT",
            Self::SaleToResident => "SALE_TO_RESIDENT",
        }
    }
}

/// A row of the register.
#[derive(Clone, Debug)]
pub struct RegisterRow {
    /// Its place in the register; of a correction, in the journal.
    pub seq: i64,
    /// What it says.
    pub event: RecordEvent,
    /// The record's state, up to where the records were read: `SETTLED`, `DECLARED` and so on. Empty if it cannot have come
    /// about in order.
    pub state: String,
    /// The paying transaction.
    pub txid: String,
    /// The output's place in it.
    pub vout: u32,
    /// The block that the output is in, or was.
    pub block: BlockRef,
    /// When it happened.
    pub at_ms: i64,
    /// Who received it.
    pub account: i64,
    /// The receiver's party id.
    pub party: String,
    /// The receiver's address.
    pub address: String,
    /// The receiver's script.
    pub script: String,
    /// The output's amount, whatever the event.
    pub amount_sat: u64,
    /// Why it was paid.
    pub basis: Basis,
    /// The sender's country.
    pub sender_residency: String,
    /// The receiver's country.
    pub receiver_residency: String,
    /// The coinbases that it came from.
    pub lots: Vec<Lot>,
    /// What the output was worth; in a correction, what is right.
    pub valuation: Valuation,
    /// The screenings that let it go.
    pub screenings: Vec<String>,
    /// The row's hash.
    pub hash: String,
}

/// A miner's month.
#[derive(Clone, Debug)]
pub struct Statement {
    /// The miner's account.
    pub account: i64,
    /// The miner's name.
    pub miner: String,
    /// The miner's party id.
    pub party: String,
    /// The balance at the start of the period; negative if the miner owed.
    pub opening_sat: i64,
    /// What the miner earned.
    pub credits: Vec<CreditLine>,
    /// Credits taken back because their block left the chain.
    pub reversals: Vec<ReversalLine>,
    /// What was paid out.
    pub payouts: Vec<PayoutLine>,
    /// The parts of payouts' network fees that the miner bore.
    pub network_fees: Vec<NetworkFeeLine>,
    /// Values of closed periods that turned out to be others. They change no balance.
    pub corrections: Vec<CorrectionLine>,
    /// What is neither held nor blocked at the end of the period, ripe or not, and also if a payment is on its way;
    /// negative if the miner owes.
    pub payable_sat: i64,
    /// What is held at the end of the period.
    pub held: Vec<SetAside>,
    /// What is blocked at the end of the period.
    pub blocked: Vec<SetAside>,
    /// What the balance is worth at the end of the period.
    pub closing_value: Valuation,
}

/// What a block, or work, earned a miner.
#[derive(Clone, Debug)]
pub struct CreditLine {
    /// The block; nothing for work that was paid whatever was found.
    pub block: Option<BlockRef>,
    /// The coinbase output, or the period of the work.
    pub coinbase: String,
    /// When it was earned.
    pub at_ms: i64,
    /// The credit, after the pool's fee.
    pub amount_sat: u64,
    /// The pool's fee on the miner's part, which is not in the credit.
    pub fee_sat: u64,
    /// What the credit was worth.
    pub valuation: Valuation,
}

/// A credit taken back.
#[derive(Clone, Debug)]
pub struct ReversalLine {
    /// The block that left the chain.
    pub block: Option<BlockRef>,
    /// The coinbase output.
    pub coinbase: String,
    /// When it was taken back.
    pub at_ms: i64,
    /// The credit that is taken back.
    pub amount_sat: u64,
    /// The pool's fee that is taken back with it.
    pub fee_sat: u64,
    /// What that credit was worth.
    pub valuation: Valuation,
}

/// A paid output of a miner's.
#[derive(Clone, Debug)]
pub struct PayoutLine {
    /// The paying transaction.
    pub txid: String,
    /// The output's place in it.
    pub vout: u32,
    /// The block that the output is in, or was.
    pub block: BlockRef,
    /// When it happened.
    pub at_ms: i64,
    /// The address.
    pub address: String,
    /// The amount.
    pub amount_sat: u64,
    /// Whether its block left the chain, so that this line takes back an earlier one.
    pub reversed: bool,
    /// Whether it is an output of a coinbase, so that it is in no payout and not in the register.
    pub direct: bool,
    /// What it was worth.
    pub valuation: Valuation,
}

/// A part of a payout's network fee that a miner bore.
#[derive(Clone, Debug)]
pub struct NetworkFeeLine {
    /// The payout.
    pub batch: String,
    /// When it was taken from the balance, or given back.
    pub at_ms: i64,
    /// How much.
    pub amount_sat: u64,
    /// Whether the payout was given up, so that this line takes back an earlier one.
    pub returned: bool,
}

/// What a corrected value is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CorrectionOf {
    /// A credit.
    Credit,
    /// An output of a payout.
    Payout,
    /// An output of a coinbase.
    DirectPayment,
}

/// A value of a closed period that turned out to be another.
#[derive(Clone, Debug)]
pub struct CorrectionLine {
    /// What it is of.
    pub of: CorrectionOf,
    /// When the original was booked.
    pub original_at_ms: i64,
    /// The coinbase of the credit, or the output that paid.
    pub reference: String,
    /// Since when it counts.
    pub at_ms: i64,
    /// The row of the journal that says so.
    pub row: String,
    /// The original's amount, which stays.
    pub amount_sat: u64,
    /// What the amount counted as worth before.
    pub was: Valuation,
    /// What it is worth.
    pub valuation: Valuation,
    /// The difference in minor units; nothing if one of both was not valued.
    pub difference_minor: Option<i64>,
}

/// An amount that cannot be paid for now.
#[derive(Clone, Debug)]
pub struct SetAside {
    /// Since when.
    pub since_ms: i64,
    /// How much.
    pub amount_sat: u64,
    /// Why.
    pub reason: String,
    /// The screening that says so.
    pub screening: String,
}

/// A sale of coin.
#[derive(Clone, Debug)]
pub struct SaleRow {
    /// The row of the register that delivered it.
    pub seq: i64,
    /// The operator's name for the sale.
    pub sale: String,
    /// The record's state: `DELIVERED`, `SETTLED`, `DECLARED`, `REVERSED` and so on.
    pub state: String,
    /// Whether the block of the delivery left the chain, so that this line takes back an earlier one.
    pub reversed: bool,
    /// The delivered output.
    pub delivery: String,
    /// When it was delivered; nothing before.
    pub delivered_at_ms: Option<i64>,
    /// What kind of sale.
    pub basis: Basis,
    /// The seller's party id.
    pub seller: String,
    /// The seller's country.
    pub seller_residency: String,
    /// The buyer's party id.
    pub buyer: String,
    /// The buyer's name.
    pub buyer_name: String,
    /// The buyer's country.
    pub buyer_residency: String,
    /// The buyer's address.
    pub address: String,
    /// The amount.
    pub amount_sat: u64,
    /// The lots that were sold.
    pub lots: Vec<Lot>,
    /// The contract's number.
    pub contract_number: String,
    /// The contract's day.
    pub contract_date: String,
    /// The quote that was taken.
    pub quote: String,
    /// The venue at which the desk sells on; empty if that is not said.
    pub venue: String,
    /// The price of a bitcoin, a decimal number in the currency.
    pub price: String,
    /// The currency of all amounts of this sale.
    pub currency: Currency,
    /// The gross proceeds, in minor units: fee and net.
    pub gross_minor: i64,
    /// The fee.
    pub fee_minor: i64,
    /// The net proceeds.
    pub net_minor: i64,
    /// What the lots had cost, by the profile's method; nothing if one of them is not valued, or in another currency.
    pub cost_minor: Option<i64>,
    /// What came in of the net proceeds; nothing before.
    pub received_minor: Option<i64>,
    /// The bank's reference of the payment.
    pub bank_reference: String,
    /// When the money arrived.
    pub settled_at_ms: Option<i64>,
    /// The declaration that lists the sale.
    pub declaration: String,
    /// The authority that it was declared to.
    pub authority: String,
    /// The screenings that let it go.
    pub screenings: Vec<String>,
}

/// One screening of one address or party.
#[derive(Clone, Debug)]
pub struct ScreeningRow {
    /// Its id.
    pub id: String,
    /// When.
    pub at_ms: i64,
    /// The account that was screened; nothing if the row is about many, or about a list.
    pub account: Option<i64>,
    /// The party that was screened.
    pub party: String,
    /// On what occasion: registration, list update, batch, broadcast, template.
    pub occasion: String,
    /// The list.
    pub list_source: String,
    /// The day the list was published.
    pub list_date: String,
    /// The SHA-256 of the list's file.
    pub list_sha256: String,
    /// How many entries it had.
    pub list_entries: u64,
    /// When it was loaded.
    pub list_loaded_at_ms: Option<i64>,
    /// What was looked up: an address or a name, as given.
    pub input: String,
    /// The script that was compared.
    pub script: String,
    /// The version of the rules of comparison.
    pub algorithm: String,
    /// `CLEAR`, `BLOCKED`, `HELD` and the like, with what matched.
    pub result: String,
    /// The entry that matched.
    pub matched_uid: String,
    /// The label of that entry.
    pub label: String,
    /// The programme of that entry.
    pub programme: String,
    /// The version of the software that screened.
    pub software_version: String,
    /// What was decided.
    pub decision: String,
    /// Who decided.
    pub actors: Vec<String>,
}

/// Property that is blocked, or was.
#[derive(Clone, Debug)]
pub struct BlockedRow {
    /// The blocking's id.
    pub id: String,
    /// `BLOCKED` or `RELEASED`.
    pub state: String,
    /// When it was blocked.
    pub blocked_at_ms: i64,
    /// When it was released.
    pub released_at_ms: Option<i64>,
    /// What allowed the release.
    pub release_reference: String,
    /// The account.
    pub account: i64,
    /// The party.
    pub party: String,
    /// The party's name.
    pub name: String,
    /// The address.
    pub address: String,
    /// Its script.
    pub script: String,
    /// How much is blocked.
    pub amount_sat: u64,
    /// What it was worth when it was blocked.
    pub valuation: Valuation,
    /// The screening that says so.
    pub screening: String,
    /// The list.
    pub list_source: String,
    /// The entry of the list.
    pub matched_uid: String,
    /// The programme of that entry.
    pub programme: String,
    /// The authority to report to.
    pub authority: String,
    /// The day by which the blocking is to be reported; given, not computed here.
    pub report_due: String,
    /// The day by which the next yearly report is due; given, not computed here.
    pub annual_report_due: String,
    /// The day it was reported.
    pub reported_on: String,
}
