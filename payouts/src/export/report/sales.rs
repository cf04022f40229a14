//! `export_sales_<period>.csv`: sales of coin. Sales to residents are listed with an export of nothing, so that the
//! list is whole and its total is what went abroad.

use std::io::Write;

use super::{
    ReportError, file_name,
    model::{Basis, ReportHead, SaleRow},
    table::{Cell, Column, Table, column},
};

/// The table of sales.
pub static EXPORT_SALES: Table<SaleRow> = Table {
    file: "export_sales_<period>.csv",
    meaning: "One line for each sale of coin; only sales to non-residents count as exports.",
    columns: &[SALE, CONTRACT, MONEY],
};

const SALE: &[Column<SaleRow>] = &[
    column("sequence", "number", "The row of the register", |row, _| Ok(Cell::integer(row.seq))),
    column("sale", "text", "The operator's name for the sale", |row, _| Ok(Cell::text(&row.sale))),
    column("state", "text", "The record's state", |row, _| Ok(Cell::text(&row.state))),
    column("delivery", "txid:vout", "The delivered output", |row, _| Ok(Cell::text(&row.delivery))),
    column("delivered_utc", "RFC 3339", "When it was delivered, in UTC", |row, _| {
        row.delivered_at_ms.map_or(Ok(Cell::Empty), Cell::utc)
    }),
    column("delivered_local", "RFC 3339", "The same time in the profile's zone", |row, head| {
        row.delivered_at_ms.map_or(Ok(Cell::Empty), |ms| Cell::local(ms, head))
    }),
    column("basis", "text", "SALE_TO_NON_RESIDENT or SALE_TO_RESIDENT", |row, _| Ok(Cell::text(row.basis.as_str()))),
    column("seller", "text", "The seller's id among the parties", |row, _| Ok(Cell::text(&row.seller))),
    column("seller_residency", "ISO 3166-1 alpha-2", "The seller's country", |row, _| {
        Ok(Cell::text(&row.seller_residency))
    }),
    column("buyer", "text", "The buyer's id among the parties", |row, _| Ok(Cell::text(&row.buyer))),
    column("buyer_name", "text", "The buyer's name", |row, _| Ok(Cell::text(&row.buyer_name))),
    column("buyer_residency", "ISO 3166-1 alpha-2", "The buyer's country", |row, _| {
        Ok(Cell::text(&row.buyer_residency))
    }),
    column("address", "text", "The buyer's address", |row, _| Ok(Cell::text(&row.address))),
    column("amount_sat", "satoshi", "The amount sold", |row, _| Ok(Cell::integer(row.amount_sat))),
    column(
        "movement_sat",
        "satoshi",
        "What was sold, negative if the block of the delivery left the chain: this column sums up",
        |row, _| Ok(Cell::Integer(row.movement_sat())),
    ),
    column("amount_btc", "bitcoin, 8 decimals", "The same in bitcoins", |row, _| Ok(Cell::btc(row.amount_sat))),
    column("export_sat", "satoshi", "The same if it is an export, else 0: this column sums up", |row, _| {
        Ok(Cell::Integer(row.export_sat()))
    }),
    column("lot_count", "number", "How many lots were sold", |row, _| Ok(Cell::Integer(row.lots.len() as i128))),
    column("lots", "txid:vout@block=satoshi;...", "The lots", |row, _| Ok(Cell::lots(&row.lots))),
];

const CONTRACT: &[Column<SaleRow>] = &[
    column("contract_number", "text", "The contract's number", |row, _| Ok(Cell::text(&row.contract_number))),
    column("contract_date", "YYYY-MM-DD", "The contract's day", |row, _| Ok(Cell::text(&row.contract_date))),
    column("quote", "text", "The quote that was taken", |row, _| Ok(Cell::text(&row.quote))),
    column("venue", "text", "The venue at which the desk sells on", |row, _| Ok(Cell::text(&row.venue))),
];

const MONEY: &[Column<SaleRow>] = &[
    column("price", "decimal", "The price of one bitcoin", |row, _| Cell::number(&row.price)),
    column("currency", "ISO 4217", "The currency of the price and of all amounts of the line", |row, _| {
        Ok(Cell::text(&row.currency.code))
    }),
    column("gross", "decimal", "The gross proceeds", |row, _| {
        Ok(Cell::money(row.signed(row.gross_minor), &row.currency))
    }),
    column("fee", "decimal", "The fee", |row, _| Ok(Cell::money(row.signed(row.fee_minor), &row.currency))),
    column("net", "decimal", "The net proceeds: gross less fee", |row, _| {
        Ok(Cell::money(row.signed(row.net_minor), &row.currency))
    }),
    column("cost", "decimal, or UNVALUED", "What the lots had cost, by the profile's method", |row, _| {
        Ok(row
            .cost_minor
            .map_or(Cell::text(super::table::UNVALUED), |minor| Cell::money(row.signed(minor), &row.currency)))
    }),
    column("gain", "decimal", "The net proceeds less the cost; empty without a cost", |row, _| {
        Ok(row.gain_minor().map_or(Cell::Empty, |minor| Cell::money(minor, &row.currency)))
    }),
    column("received", "decimal", "What came in of the net proceeds", |row, _| {
        Ok(row.received_minor.map_or(Cell::Empty, |minor| Cell::money(row.signed(minor), &row.currency)))
    }),
    column("bank_reference", "text", "The bank's reference of the payment", |row, _| {
        Ok(Cell::text(&row.bank_reference))
    }),
    column("settled_utc", "RFC 3339", "When the money arrived, in UTC", |row, _| {
        row.settled_at_ms.map_or(Ok(Cell::Empty), Cell::utc)
    }),
    column("settled_local", "RFC 3339", "The same time in the profile's zone", |row, head| {
        row.settled_at_ms.map_or(Ok(Cell::Empty), |ms| Cell::local(ms, head))
    }),
    column("declaration", "text", "The declaration that lists the sale", |row, _| Ok(Cell::text(&row.declaration))),
    column("authority", "text", "The authority that it was declared to", |row, _| Ok(Cell::text(&row.authority))),
    column("screenings", "text | text", "The ids of the screenings that let it go", |row, _| {
        Ok(Cell::list(&row.screenings))
    }),
];

impl SaleRow {
    /// Returns what was sold, in satoshis; negative if it came back.
    pub fn movement_sat(&self) -> i128 {
        self.signed(self.amount_sat)
    }

    /// Returns how much of that is an export: all or nothing.
    pub fn export_sat(&self) -> i128 {
        if self.basis == Basis::SaleToNonResident { self.movement_sat() } else { 0 }
    }

    /// Gives an amount the sign of the line.
    fn signed(&self, amount: impl Into<i128>) -> i128 {
        if self.reversed { -amount.into() } else { amount.into() }
    }

    /// Returns the net proceeds less the cost, in minor units.
    pub fn gain_minor(&self) -> Option<i128> {
        self.cost_minor.map(|cost| self.signed(i128::from(self.net_minor) - i128::from(cost)))
    }

    fn check(&self) -> Result<(), ReportError> {
        let (seller, buyer) = (&self.seller_residency, &self.buyer_residency);
        let known = !seller.is_empty() && !buyer.is_empty();
        let fits = match self.basis {
            Basis::SaleToNonResident => known && seller != buyer,
            Basis::SaleToResident => known && seller == buyer,
            Basis::Receipt | Basis::ServiceToNonResident => false,
        };
        if !fits {
            let (seller, buyer) = (seller.clone(), buyer.clone());
            return Err(ReportError::Basis { seq: self.seq, basis: self.basis.as_str(), seller, buyer });
        }
        if i128::from(self.gross_minor) != i128::from(self.fee_minor) + i128::from(self.net_minor) {
            let Self { seq, gross_minor, fee_minor, net_minor, .. } = *self;
            return Err(ReportError::Proceeds { seq, gross_minor, fee_minor, net_minor });
        }
        Ok(())
    }
}

/// Returns the exports of sales in sum, in satoshis; negative if more came back.
pub fn exported_sat(rows: &[SaleRow]) -> i128 {
    rows.iter().map(SaleRow::export_sat).sum()
}

/// Returns the name of the sales' file.
pub fn export_sales_file(head: &ReportHead) -> String {
    format!("export_sales_{}.csv", file_name::period(&head.period.label))
}

/// Writes the sales.
///
/// # Errors
///
/// If a row is no sale, its basis does not go with the parties' countries, its gross is not fee and net, a row has
/// something that cannot be told, or writing fails. Nothing is written if a row is wrong in itself.
pub fn write_export_sales(head: &ReportHead, rows: &[SaleRow], out: &mut dyn Write) -> Result<(), ReportError> {
    rows.iter().try_for_each(SaleRow::check)?;
    EXPORT_SALES.write(head, rows, out)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::{
        super::fixture::{Parsed, head, sale},
        *,
    };

    fn parsed(rows: &[SaleRow]) -> Result<Parsed, ReportError> {
        let mut bytes = Vec::new();
        write_export_sales(&head(), rows, &mut bytes)?;
        Ok(Parsed::read(&bytes))
    }

    #[test]
    fn only_a_sale_to_a_non_resident_is_an_export() {
        let abroad = sale();
        let at_home =
            SaleRow { basis: Basis::SaleToResident, buyer_residency: abroad.seller_residency.clone(), ..sale() };
        assert_eq!(exported_sat(std::slice::from_ref(&at_home)), 0);
        assert_eq!(exported_sat(&[at_home.clone(), abroad.clone()]), 120_000_000);
        let table = parsed(&[abroad, at_home]).unwrap();
        assert_eq!(table.column("export_sat"), ["120000000", "0"]);
        assert_eq!(table.column("amount_btc"), ["1.20000000", "1.20000000"]);
    }

    #[test]
    fn proceeds_cost_and_gain_are_told() {
        let table = parsed(&[sale()]).unwrap();
        for (column, cell) in [
            ("sequence", "7"),
            ("price", "70000"),
            ("currency", "USD"),
            ("gross", "84000.00"),
            ("fee", "42.00"),
            ("net", "83958.00"),
            ("cost", "72800.00"),
            ("gain", "11158.00"),
            ("buyer_name", "'=HYPERLINK(\"x\")"),
            ("settled_utc", ""),
            ("delivered_utc", "2026-01-31T21:30:00Z"),
            ("delivered_local", "2026-02-01T00:30:00+03:00"),
        ] {
            assert_eq!(table.cell(0, column), cell, "{column}");
        }
    }

    #[test]
    fn a_loss_is_a_negative_number_and_a_missing_cost_no_number() {
        let loss = SaleRow { cost_minor: Some(9_000_000), ..sale() };
        let unvalued = SaleRow { cost_minor: None, ..sale() };
        let table = parsed(&[loss, unvalued]).unwrap();
        assert_eq!(table.column("gain"), ["-6042.00", ""]);
        assert_eq!(table.column("cost"), ["90000.00", "UNVALUED"]);
    }

    #[test]
    fn a_delivery_that_left_the_chain_is_the_exact_negative() {
        let back = SaleRow { reversed: true, state: "REVERSED".to_owned(), ..sale() };
        assert_eq!(exported_sat(&[sale(), back.clone()]), 0);
        let table = parsed(&[sale(), back]).unwrap();
        for column in ["movement_sat", "export_sat", "gross", "fee", "net", "cost", "gain"] {
            let [there, back] = &table.column(column)[..] else { panic!("{column}") };
            assert_eq!(*back, format!("-{there}"), "{column}");
        }
    }

    #[test]
    fn a_basis_against_the_residencies_is_refused() {
        let at_home = SaleRow { buyer_residency: sale().seller_residency, ..sale() };
        let unknown = SaleRow { buyer_residency: String::new(), ..sale() };
        let receipt = SaleRow { basis: Basis::Receipt, ..sale() };
        let abroad = SaleRow { basis: Basis::SaleToResident, ..sale() };
        for row in [at_home, unknown, receipt, abroad] {
            assert!(matches!(parsed(&[row]), Err(ReportError::Basis { seq: 7, .. })));
        }
    }

    #[test]
    fn proceeds_that_do_not_add_up_are_refused() {
        let row = SaleRow { net_minor: sale().net_minor + 1, ..sale() };
        assert!(matches!(parsed(&[row]), Err(ReportError::Proceeds { net_minor: 8_395_801, .. })));
    }
}
