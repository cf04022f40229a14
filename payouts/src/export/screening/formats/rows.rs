//! CSV as the lists use it: RFC 4180 in UTF-8, rows that end with a line.
//!
//! Owns the limits on rows and how a cut file is recognised. What the columns mean is each format's business.

use std::io::Read;

use csv::{ErrorKind, ReaderBuilder, StringRecord};

use super::super::list::{FileHash, ListError, ListFormat, MAX_PIECE_BYTES, MAX_ROW_BYTES, quoted};
use super::super::reading::Source;

/// The reader's own buffer. It is small, so that the length of rows is measured closely.
const BUFFER_BYTES: usize = 8 << 10;

/// The rows of a file.
pub(super) struct Rows<'p, R> {
    reader: csv::Reader<Source<'p, R>>,
    record: StringRecord,
    format: ListFormat,
    number: u64,
    /// Whether the last row had another number of fields than it should.
    last_is_odd: bool,
}

impl<'p, R: Read> Rows<'p, R> {
    /// Begins to read.
    pub(super) fn new(format: ListFormat, input: R, progress: &'p mut dyn FnMut(u64)) -> Self {
        let source = Source::new(input, "a row", MAX_ROW_BYTES + BUFFER_BYTES, progress);
        let reader =
            ReaderBuilder::new().has_headers(false).flexible(true).buffer_capacity(BUFFER_BYTES).from_reader(source);
        Self { reader, record: StringRecord::new(), format, number: 0, last_is_odd: false }
    }

    /// Returns the number of the row that was read last; the first is 1.
    pub(super) fn number(&self) -> u64 {
        self.number
    }

    /// Returns about how far the file is read, in bytes.
    pub(super) fn position(&self) -> u64 {
        self.reader.position().byte()
    }

    /// Returns the next row that has anything in it, or none at the end.
    pub(super) fn next(&mut self) -> Result<Option<&StringRecord>, ListError> {
        loop {
            self.reader.get_mut().begin_piece();
            match self.reader.read_record(&mut self.record) {
                Ok(true) => {}
                Ok(false) => return self.check_end().map(|()| None),
                Err(error) => return Err(self.read_error(&error)),
            }
            self.last_is_odd = false;
            self.number += 1;
            if self.record.iter().any(|field| field.len() > MAX_PIECE_BYTES) {
                let limit = MAX_PIECE_BYTES as u64;
                return Err(ListError::Limit { what: "a field", limit, position: self.position() });
            }
            // OFAC's files may end with 0x1A, as DOS did.
            if self.record.iter().any(|field| !field.trim_matches(['\u{1a}', ' ']).is_empty()) {
                return Ok(Some(&self.record));
            }
            // Separators alone may be what is left of a row.
            self.last_is_odd = self.record.len() > 1;
        }
    }

    /// Takes the next row, which must have `header` as its fields.
    pub(super) fn expect_header(&mut self, header: &[&str]) -> Result<(), ListError> {
        let format = self.format;
        let fault = match self.next()? {
            Some(row) if row.iter().map(str::trim).eq(header.iter().copied()) => return Ok(()),
            Some(row) => format!("its first row is {}", quoted(&row.iter().collect::<Vec<_>>().join(","))),
            None => "it has no header".to_owned(),
        };
        Err(ListError::Layout { format, fault })
    }

    /// Says that the row just read does not have the fields that it should. If it turns out to be the last, and no line
    /// end follows it, the file is cut.
    pub(super) fn row_is_odd(&mut self) {
        self.last_is_odd = true;
    }

    /// Returns the hash of the file and its length. All rows must have been read.
    pub(super) fn finish(self) -> Result<(FileHash, u64), ListError> {
        self.reader.into_inner().finish()
    }

    fn check_end(&mut self) -> Result<(), ListError> {
        let position = self.position();
        let source = self.reader.get_ref();
        if source.has_open_quotation() {
            let fault = "a quotation mark is never closed, or the file is cut".to_owned();
            return Err(ListError::Malformed { position, fault });
        }
        if self.last_is_odd && !source.ends_a_line() {
            return Err(ListError::Truncated { position });
        }
        Ok(())
    }

    fn read_error(&mut self, error: &csv::Error) -> ListError {
        let position = self.position();
        if let Some(fault) = self.reader.get_mut().take_fault() {
            return fault;
        }
        match error.kind() {
            ErrorKind::Utf8 { err, .. } => ListError::Malformed { position, fault: err.to_string() },
            _ => ListError::Malformed { position, fault: quoted(&error.to_string()) },
        }
    }
}
