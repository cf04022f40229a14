//! Edits of reports and of books, each of which the recount must name.

use std::{
    fs,
    path::{Path, PathBuf},
};

use sha2::{Digest, Sha256};
use sqlx::{Connection, SqliteConnection};

use super::reports::{files, recount, said, tell};

/// Months that are enough to have rows of every kind.
const FEW_MONTHS: usize = 5;

/// Recounts some reports of which one is edited, and makes sure that the script names what is wrong.
fn assert_named(database: &Path, reports: &Path, names: &str) {
    let recounted = recount(database, &[reports.to_owned()]);
    let text = said(&recounted);
    assert_eq!(recounted.status.code(), Some(1), "{names} is not found:\n{text}");
    assert!(text.contains(names), "{names} is not named:\n{text}");
}

/// An edit of a table: which row, by a text in a column (the first if there is none), and what becomes of it.
struct Edit {
    file: String,
    row: Option<(&'static str, &'static str)>,
    what: What,
}

#[derive(Clone, Copy)]
enum What {
    /// One more of the last digit of a column: a satoshi, a cent.
    OneMore(&'static str),
    /// The row is gone.
    Gone,
}

#[test]
fn a_report_with_an_edit_is_named() {
    let told = tell(4, FEW_MONTHS).unwrap();
    let folder = |name: &str| told.folder.path().join(name);
    let with = |file: &str, (column, text): (&str, &str)| {
        let has = |month: &&PathBuf| is_told(&month.join(file.replace("MONTH", label(month))), column, text);
        told.reports.iter().find(has).unwrap_or_else(|| panic!("no {file} has {column} {text}")).clone()
    };
    let sold = with("export_sales_MONTH.csv", ("movement_sat", ""));
    let gained = with("export_sales_MONTH.csv", ("gain", ""));
    let settled = with("export_sales_MONTH.csv", ("received", ""));
    let corrected = with("register_MONTH.csv", ("event", "CORRECTED"));
    let (march, one_more) = (folder("made-2026-03"), What::OneMore);
    let statement = |month: &Path, section: &str| {
        let has = |name: &String| name.ends_with(".csv") && is_told(&month.join(name), "section", section);
        let names = files(month).unwrap().into_iter().map(|(name, _)| name);
        names.filter(|name| name.starts_with("statement_")).find(has).expect("a statement has such a line")
    };
    let of = |month: &Path, file: &str| file.replace("MONTH", label(month));
    for (month, file, row, what) in [
        (&march, of(&march, "register_MONTH.csv"), None, one_more("amount_sat")),
        (&march, of(&march, "register_lots_MONTH.csv"), None, one_more("amount_sat")),
        (&march, statement(&march, "CREDIT"), Some(("section", "CREDIT")), one_more("movement_sat")),
        (&march, statement(&march, "PAYABLE"), Some(("section", "PAYABLE")), one_more("part_sat")),
        (&sold, of(&sold, "export_sales_MONTH.csv"), None, one_more("gross")),
        (&sold, of(&sold, "export_sales_MONTH.csv"), None, one_more("net")),
        (&sold, of(&sold, "register_lots_MONTH.csv"), Some(("credit", "fee")), one_more("amount_sat")),
        (&gained, of(&gained, "export_sales_MONTH.csv"), Some(("gain", "")), one_more("cost")),
        (&gained, of(&gained, "export_sales_MONTH.csv"), Some(("gain", "")), one_more("gain")),
        (&settled, of(&settled, "export_sales_MONTH.csv"), Some(("received", "")), one_more("received")),
        (&corrected, of(&corrected, "register_MONTH.csv"), Some(("event", "CORRECTED")), one_more("value_movement")),
        (&corrected, of(&corrected, "register_MONTH.csv"), Some(("event", "CORRECTED")), What::Gone),
        (&march, statement(&march, "CREDIT_CORRECTED"), Some(("section", "CREDIT_CORRECTED")), What::Gone),
        (&corrected, statement(&corrected, "PAYOUT_CORRECTED"), Some(("section", "PAYOUT_CORRECTED")), What::Gone),
    ] {
        assert_edit_named(&told.database, month, &Edit { file, row, what }, true);
    }
    let file = of(&march, "register_MONTH.csv");
    assert_edit_named(&told.database, &march, &Edit { file, row: None, what: one_more("amount_sat") }, false);
    let untouched = recount(&told.database, &told.reports);
    assert!(untouched.status.success(), "{}", said(&untouched));
}

/// The month of a folder of reports.
fn label(reports: &Path) -> &str {
    let name = reports.file_name().and_then(|name| name.to_str()).expect("folders have names");
    name.split_once('-').expect("it has a month").1
}

/// Edits a table in a copy of some reports, whose manifest agrees with it or not, and makes sure that this is named.
fn assert_edit_named(database: &Path, reports: &Path, edit: &Edit, is_rehashed: bool) {
    let edited = reports.with_file_name("edited");
    copy(reports, &edited);
    let row = edit.apply(&edited);
    let file = &edit.file;
    let names = match (is_rehashed, edit.what) {
        (true, What::OneMore(column)) => format!("edited/{file}, row {row}: {column}: says"),
        (true, What::Gone) => format!("edited/{file}: rows: says"),
        (false, _) => format!("edited/{file}: SHA-256: says"),
    };
    if is_rehashed {
        rehash(&edited, file);
    }
    assert_named(database, &edited, &names);
    fs::remove_dir_all(&edited).unwrap();
}

#[test]
fn books_with_another_satoshi_are_named() {
    let told = tell(5, FEW_MONTHS).unwrap();
    let month = told.folder.path().join("made-2026-03");
    for (statement, names) in [
        (
            "DROP TRIGGER export_records_no_update; UPDATE export_records SET sat = sat + 1 WHERE (txid, vout) IN \
             (SELECT txid, vout FROM export_rows WHERE seq = 1)",
            "register row 1: hash: says",
        ),
        (
            "DROP TRIGGER postings_no_update; UPDATE postings SET sat = sat + 1 WHERE entry = 2 AND line = 0",
            "ledger entry 2: digest: says",
        ),
        (
            "DROP TRIGGER export_journal_no_update; \
             UPDATE export_journal SET body = replace(body, '\"minor\":', '\"minor\":1') \
             WHERE seq = (SELECT MIN(seq) FROM export_journal WHERE kind = 'VALUED' AND body LIKE '%\"minor\":%')",
            ": value: says",
        ),
        (
            "UPDATE credits SET sat = sat + 1 WHERE block_hash = (SELECT hash FROM blocks ORDER BY height LIMIT 1)",
            "block ",
        ),
        (
            "UPDATE batch_lots SET sat = sat + 1 WHERE (batch, vout, line) IN (SELECT batch, vout, line FROM batch_lots LIMIT 1)",
            ", output 0: says",
        ),
        (
            "UPDATE batch_fee_lots SET sat = sat + 1 WHERE (batch, vout, line) IN (SELECT batch, vout, line FROM \
             batch_fee_lots LIMIT 1)",
            "sale S",
        ),
        (
            "DROP TRIGGER export_lots_no_update; UPDATE export_lots SET sat = sat + 1 WHERE (txid, vout, line) IN \
             (SELECT txid, vout, line FROM export_lots WHERE of_fee = 1 LIMIT 1)",
            ": lots: says",
        ),
        (
            "DROP TRIGGER export_journal_no_delete; DELETE FROM export_journal WHERE kind = 'CLOSED'",
            ": previous hash: says",
        ),
        ("UPDATE balances SET sat = sat + 1 WHERE account = 'fee'", "balance of fee: says"),
        (
            "UPDATE batch_outputs SET sat = sat + 1 WHERE vout = (SELECT vout FROM export_rows WHERE seq = 1) AND batch = \
             (SELECT MAX(batch) FROM batch_attempts JOIN export_rows USING (txid) WHERE export_rows.seq = 1)",
            ": reserved: says",
        ),
    ] {
        let edited = told.folder.path().join("edited.sqlite");
        fs::copy(&told.database, &edited).unwrap();
        edit(&edited, statement);
        assert_named(&edited, &month, names);
    }
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir(to).unwrap();
    for (name, content) in files(from).unwrap() {
        fs::write(to.join(name), content).unwrap();
    }
}

/// Reads a table: its header, and its rows.
fn read(file: &Path) -> Vec<csv::StringRecord> {
    let text = fs::read_to_string(file).unwrap();
    let mut reader =
        csv::ReaderBuilder::new().has_headers(false).from_reader(text.trim_start_matches('\u{feff}').as_bytes());
    reader.records().collect::<Result<_, _>>().unwrap()
}

/// Tells whether a table is there and has a text in a column; nothing for any.
fn is_told(file: &Path, column: &str, text: &str) -> bool {
    file.exists() && row_with(&read(file), column, text).is_some()
}

fn row_with(rows: &[csv::StringRecord], column: &str, text: &str) -> Option<usize> {
    let at = rows[0].iter().position(|name| name == column).expect("there is such a column");
    let has = |row: &csv::StringRecord| if text.is_empty() { !row[at].is_empty() } else { row[at] == *text };
    rows.iter().skip(1).position(has).map(|index| index + 1)
}

impl Edit {
    /// Edits the table, and returns the number of the row.
    fn apply(&self, folder: &Path) -> usize {
        let path = folder.join(&self.file);
        let mut rows = read(&path);
        let row = self.row.map_or(1, |(column, text)| row_with(&rows, column, text).expect("there is such a row"));
        match self.what {
            What::OneMore(column) => {
                let at = rows[0].iter().position(|name| name == column).expect("there is such a column");
                let more = one_more(&rows[row][at]);
                rows[row] =
                    rows[row].iter().enumerate().map(|(index, cell)| if index == at { &more } else { cell }).collect();
            }
            What::Gone => drop(rows.remove(row)),
        }
        let mut writer =
            csv::WriterBuilder::new().terminator(csv::Terminator::CRLF).from_writer("\u{feff}".as_bytes().to_vec());
        rows.iter().for_each(|row| writer.write_record(row).unwrap());
        fs::write(path, writer.into_inner().unwrap()).unwrap();
        row
    }
}

/// Adds one to the last digit of a decimal number above zero.
fn one_more(number: &str) -> String {
    let (_, decimals) = number.split_once('.').unwrap_or_default();
    let more = (number.replace('.', "").parse::<i64>().unwrap() + 1).to_string();
    match decimals.len() {
        0 => more,
        count => {
            let padded = format!("{more:0>width$}", width = count + 1);
            format!("{}.{}", &padded[..padded.len() - count], &padded[padded.len() - count..])
        }
    }
}

/// Writes the hash of a file into the manifest, as whoever edits reports would.
fn rehash(folder: &Path, file: &str) {
    let path = folder.join("manifest.json");
    let mut manifest: serde_json::Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
    let content = fs::read(folder.join(file)).unwrap();
    let listed = manifest["files"].as_array_mut().unwrap().iter_mut().find(|listed| listed["name"] == file).unwrap();
    listed["bytes"] = content.len().into();
    listed["sha256"] = hex::encode(Sha256::digest(&content)).into();
    fs::write(path, serde_json::to_vec_pretty(&manifest).unwrap()).unwrap();
}

/// Changes a database behind the store's back.
fn edit(database: &Path, statement: &'static str) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let mut connection = SqliteConnection::connect(database.to_str().unwrap()).await.unwrap();
        let changed = sqlx::raw_sql(statement).execute(&mut connection).await.unwrap();
        assert!(changed.rows_affected() > 0, "{statement}");
        connection.close().await.unwrap();
    });
}
