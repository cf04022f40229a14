//! What the tests of reports are made from. Names are made up to do harm.

#![allow(clippy::unwrap_used)]

use jiff::tz::{TimeZone, offset};

use super::{
    model::{
        AsOf, Basis, BlockRef, BlockedRow, ChainMark, CreditLine, Currency, Fx, Lot, PayoutLine, Period, RecordEvent,
        RegisterRow, ReportHead, SaleRow, ScreeningRow, SetAside, Statement, Valuation, Value, Zone,
    },
    party::{Party, PartyName, PostalAddress, TaxId},
};

/// 2026-01-31T21:30:00Z: still January in UTC, but February three hours east.
pub(super) const LATE_MS: i64 = 1_769_895_000_000;

/// A table that was read back.
pub(super) struct Parsed {
    header: Vec<String>,
    records: Vec<Vec<String>>,
}

impl Parsed {
    pub(super) fn read(bytes: &[u8]) -> Self {
        let mut reader = csv::Reader::from_reader(bytes);
        let header = reader.headers().unwrap().iter().map(str::to_owned).collect();
        let records = reader.records().map(|record| record.unwrap().iter().map(str::to_owned).collect()).collect();
        Self { header, records }
    }

    pub(super) fn rows(&self) -> usize {
        self.records.len()
    }

    pub(super) fn header(&self) -> &[String] {
        &self.header
    }

    pub(super) fn cell(&self, row: usize, column: &str) -> &str {
        let at = self.header.iter().position(|name| name == column).unwrap_or_else(|| panic!("no column {column}"));
        &self.records[row][at]
    }

    pub(super) fn column(&self, column: &str) -> Vec<&str> {
        (0..self.rows()).map(|row| self.cell(row, column)).collect()
    }

    pub(super) fn sum(&self, column: &str) -> i128 {
        self.column(column).iter().filter(|cell| !cell.is_empty()).map(|cell| cell.parse::<i128>().unwrap()).sum()
    }
}

pub(super) fn head() -> ReportHead {
    ReportHead {
        pool: "Example Pool </title><script>alert(1)</script>".to_owned(),
        software_version: "0.1.0".to_owned(),
        profile: "utc+3".to_owned(),
        profile_version: "2026-01".to_owned(),
        profile_sha256: "ee".repeat(32),
        zone: Zone { name: "UTC+3".to_owned(), rules: TimeZone::fixed(offset(3)) },
        period: Period { label: "2026-02".to_owned(), from_ms: 1_769_893_200_000, until_ms: 1_772_312_400_000 },
        generated_at_ms: 1_772_400_000_000,
        sequence: Some((1, 4)),
        as_of: AsOf {
            ledger: ChainMark { seq: 9, hash: "01".repeat(32) },
            register: ChainMark { seq: 4, hash: "ab".repeat(32) },
            journal: ChainMark { seq: 3, hash: "02".repeat(32) },
        },
    }
}

pub(super) fn usd() -> Currency {
    Currency { code: "USD".to_owned(), decimals: 2 }
}

/// 156,785,221 sat at 97,412.35 USD and a rate of 81.2345.
pub(super) fn valued() -> Valuation {
    Valuation::Valued(Box::new(Value {
        policy: "close-of-day".to_owned(),
        venue: "Example Exchange".to_owned(),
        pair: "BTC/USD".to_owned(),
        price: "97412.35".to_owned(),
        price_at_ms: LATE_MS,
        basis: "close".to_owned(),
        fx: Some(Fx {
            source: "Example Central Bank".to_owned(),
            rate: "81.2345".to_owned(),
            date: "2026-01-31".to_owned(),
        }),
        currency: Currency { code: "RUB".to_owned(), decimals: 2 },
        minor: 1_240_679_638,
        source_sha256: "cd".repeat(32),
    }))
}

pub(super) fn block(height: u64) -> BlockRef {
    BlockRef { hash: format!("{height:064x}"), height }
}

pub(super) fn lot(id: u8, amount_sat: u64) -> Lot {
    Lot {
        coinbase: format!("{}:0", hex::encode([id; 32])),
        block_hash: hex::encode([id + 100; 32]),
        amount_sat,
        credit: String::new(),
        state: "PAID".to_owned(),
    }
}

/// An output of three that a block paid, delivered late in January.
pub(super) fn row(seq: i64, account: i64, amount_sat: u64) -> RegisterRow {
    RegisterRow {
        seq,
        event: RecordEvent::Delivered,
        state: "SETTLED".to_owned(),
        txid: "9".repeat(64),
        vout: account as u32,
        block: block(900_000),
        at_ms: LATE_MS,
        account,
        party: format!("P-{account}"),
        address: "bc1qexample".to_owned(),
        script: "0014".to_owned(),
        amount_sat,
        basis: Basis::Receipt,
        sender_residency: "KZ".to_owned(),
        receiver_residency: "KZ".to_owned(),
        lots: vec![lot(1, amount_sat - 1), lot(2, 1)],
        valuation: valued(),
        screenings: vec!["S-1".to_owned(), "S-2".to_owned()],
        hash: "ef".repeat(32),
    }
}

/// Of 313,570,441 sat credited, 250,000,000 were paid and 62,714,088 are blocked.
pub(super) fn statement() -> Statement {
    Statement {
        account: 1,
        miner: "=HYPERLINK(\"http://x\")</td><script>alert('1')</script>\u{202e}\r\n".to_owned(),
        party: "P-1".to_owned(),
        opening_sat: 0,
        credits: vec![CreditLine {
            block: Some(block(899_000)),
            coinbase: format!("{}:0", "7".repeat(64)),
            at_ms: LATE_MS,
            amount_sat: 313_570_441,
            fee_sat: 3_167_378,
            valuation: valued(),
        }],
        reversals: Vec::new(),
        payouts: vec![PayoutLine {
            txid: "9".repeat(64),
            vout: 2,
            block: block(900_000),
            at_ms: LATE_MS + 1,
            address: "@bc1q<img src=x>".to_owned(),
            amount_sat: 250_000_000,
            reversed: false,
            direct: false,
            valuation: Valuation::Unvalued,
        }],
        network_fees: Vec::new(),
        corrections: Vec::new(),
        payable_sat: 856_353,
        held: Vec::new(),
        blocked: vec![SetAside {
            since_ms: LATE_MS,
            amount_sat: 62_714_088,
            reason: "-listed \"address\"".to_owned(),
            screening: "S-1".to_owned(),
        }],
        closing_value: Valuation::Unvalued,
    }
}

/// 1.2 BTC at 70,000 with a fee of 42; the lots had cost 72,800.
pub(super) fn sale() -> SaleRow {
    SaleRow {
        seq: 7,
        sale: "S-1".to_owned(),
        state: "DELIVERED".to_owned(),
        reversed: false,
        delivery: format!("{}:1", "9".repeat(64)),
        delivered_at_ms: Some(LATE_MS),
        basis: Basis::SaleToNonResident,
        seller: "P-1".to_owned(),
        seller_residency: "RU".to_owned(),
        buyer: "P-2".to_owned(),
        buyer_name: "=HYPERLINK(\"x\")".to_owned(),
        buyer_residency: "AE".to_owned(),
        address: "bc1qbuyer".to_owned(),
        amount_sat: 120_000_000,
        lots: vec![lot(1, 100_000_000), lot(2, 20_000_000)],
        contract_number: "C-1".to_owned(),
        contract_date: "2026-01-30".to_owned(),
        quote: "Q-1".to_owned(),
        venue: "venue-a".to_owned(),
        price: "70000".to_owned(),
        currency: usd(),
        gross_minor: 8_400_000,
        fee_minor: 4_200,
        net_minor: 8_395_800,
        cost_minor: Some(7_280_000),
        received_minor: None,
        bank_reference: String::new(),
        settled_at_ms: None,
        declaration: String::new(),
        authority: String::new(),
        screenings: vec!["S-1".to_owned()],
    }
}

pub(super) fn screening() -> ScreeningRow {
    ScreeningRow {
        id: "S-1".to_owned(),
        at_ms: LATE_MS,
        account: Some(3),
        party: "P-3".to_owned(),
        occasion: "batch".to_owned(),
        list_source: "sdn_advanced.xml".to_owned(),
        list_date: "2024-09-27".to_owned(),
        list_sha256: "cd".repeat(32),
        list_entries: 440,
        list_loaded_at_ms: Some(LATE_MS - 3_600_000),
        input: "12QtD5BFwRsdNsAZY76UVE1xyCGNTojH9h".to_owned(),
        script: "76a9140f7c70765b8d48105b5c9b9d32ad061e0b96772288ac".to_owned(),
        algorithm: "1".to_owned(),
        result: "BLOCKED".to_owned(),
        matched_uid: "12345".to_owned(),
        label: "=XBT".to_owned(),
        programme: "EXAMPLE".to_owned(),
        software_version: "0.1.0".to_owned(),
        decision: "-block".to_owned(),
        actors: vec!["@first".to_owned(), "second".to_owned()],
    }
}

pub(super) fn blocked() -> BlockedRow {
    BlockedRow {
        id: "B-1".to_owned(),
        state: "BLOCKED".to_owned(),
        blocked_at_ms: LATE_MS,
        released_at_ms: None,
        release_reference: String::new(),
        account: 3,
        party: "P-3".to_owned(),
        name: "</td><script>".to_owned(),
        address: "12QtD5BFwRsdNsAZY76UVE1xyCGNTojH9h".to_owned(),
        script: "76a9140f7c70765b8d48105b5c9b9d32ad061e0b96772288ac".to_owned(),
        amount_sat: 62_714_088,
        valuation: Valuation::Unvalued,
        screening: "S-1".to_owned(),
        list_source: "sdn_advanced.xml".to_owned(),
        matched_uid: "12345".to_owned(),
        programme: "EXAMPLE".to_owned(),
        authority: "Example Authority".to_owned(),
        report_due: "2026-02-13".to_owned(),
        annual_report_due: "2026-09-30".to_owned(),
        reported_on: String::new(),
    }
}

pub(super) fn legal_party() -> Party {
    Party {
        id: "P-0".to_owned(),
        name: PartyName::Legal { name: "Example Trading LLC & <Sons> \"]]>\"".to_owned() },
        residency: "KZ".to_owned(),
        tax_ids: vec![TaxId { value: "000000000000".to_owned(), issued_by: "KZ".to_owned() }],
        registrations: Vec::new(),
        lei: "00000000000000000000".to_owned(),
        address: Some(address()),
    }
}

pub(super) fn natural_party() -> Party {
    Party {
        id: "P-1".to_owned(),
        name: PartyName::Natural {
            first: "EXAMPLE".to_owned(),
            last: "PERSON</carf:LastName><x>".to_owned(),
            birth_date: "2000-02-29".to_owned(),
        },
        residency: "DE".to_owned(),
        tax_ids: vec![TaxId { value: "=1".to_owned(), issued_by: "DE".to_owned() }],
        registrations: Vec::new(),
        lei: String::new(),
        address: Some(address()),
    }
}

fn address() -> PostalAddress {
    PostalAddress {
        country: "KZ".to_owned(),
        city: "Example City".to_owned(),
        street: "Example Street".to_owned(),
        building: "1".to_owned(),
        post_code: String::new(),
    }
}
