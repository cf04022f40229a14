//! The bytes of a list while it is read: hashed, counted, and never too many at once.
//!
//! Owns the bounds on what a parser may be made to buffer. What the bytes mean is the formats' business.

use std::io::{self, BufRead, Read};

use sha2::{Digest, Sha256};

use super::list::{FileHash, ListError, MAX_FILE_BYTES};

/// How much is read, hashed and reported at a time.
const CHUNK_BYTES: usize = 64 << 10;

/// A file that is being read.
///
/// Chunks are filled before they are handed on, so that what a parser sees does not depend on how the reader delivers.
pub(super) struct Source<'p, R> {
    input: R,
    progress: &'p mut dyn FnMut(u64),
    chunk: Box<[u8]>,
    /// The part of the chunk that is still to be consumed.
    start: usize,
    end: usize,
    at_end: bool,
    read_bytes: u64,
    hash: Sha256,
    quotation_marks: u64,
    last_byte: Option<u8>,
    piece_bytes: usize,
    max_piece_bytes: usize,
    piece: &'static str,
    fault: Option<ListError>,
}

impl<'p, R: Read> Source<'p, R> {
    /// Begins to read. `progress` is told the number of bytes read after each chunk.
    ///
    /// No `piece` of the file, which is what a parser takes at once, may have more than `max_piece_bytes`.
    pub(super) fn new(input: R, piece: &'static str, max_piece_bytes: usize, progress: &'p mut dyn FnMut(u64)) -> Self {
        Self {
            input,
            progress,
            chunk: vec![0; CHUNK_BYTES].into(),
            start: 0,
            end: 0,
            at_end: false,
            read_bytes: 0,
            hash: Sha256::new(),
            quotation_marks: 0,
            last_byte: None,
            piece_bytes: 0,
            max_piece_bytes,
            piece,
            fault: None,
        }
    }

    /// Begins a piece.
    pub(super) fn begin_piece(&mut self) {
        self.piece_bytes = 0;
    }

    /// Returns how many bytes were consumed.
    pub(super) fn position(&self) -> u64 {
        self.read_bytes - (self.end - self.start) as u64
    }

    /// Returns whether the number of quotation marks read so far is odd: one was left open.
    pub(super) fn has_open_quotation(&self) -> bool {
        self.quotation_marks % 2 == 1
    }

    /// Returns whether the last byte read ends a line; 0x1A, with which DOS ended files, does too.
    pub(super) fn ends_a_line(&self) -> bool {
        matches!(self.last_byte, None | Some(b'\n' | b'\r' | 0x1a))
    }

    /// Takes why reading failed, if it did.
    pub(super) fn take_fault(&mut self) -> Option<ListError> {
        self.fault.take()
    }

    /// Returns the hash of all bytes and their number, once all are consumed.
    pub(super) fn finish(mut self) -> Result<(FileHash, u64), ListError> {
        while !self.at_end || self.start < self.end {
            self.begin_piece();
            self.start = self.end;
            if let Err(error) = self.fill() {
                return Err(self.fault.take().unwrap_or_else(|| self.read_error(&error)));
            }
        }
        Ok((FileHash::from_bytes(self.hash.finalize().into()), self.read_bytes))
    }

    fn read_error(&self, error: &io::Error) -> ListError {
        ListError::Read { position: self.read_bytes, fault: error.to_string() }
    }

    /// Fails for good: parsers pass the error on, and [`Self::take_fault`] tells what it was.
    fn fail(&mut self, fault: ListError) -> io::Error {
        let error = io::Error::other(fault.to_string());
        self.fault = Some(fault);
        error
    }

    /// Reads a chunk if there is none.
    fn fill(&mut self) -> io::Result<()> {
        if self.start < self.end || self.at_end {
            return Ok(());
        }
        (self.start, self.end) = (0, 0);
        while self.end < self.chunk.len() {
            match self.input.read(&mut self.chunk[self.end..]) {
                Ok(0) => {
                    self.at_end = true;
                    break;
                }
                Ok(count) => self.end += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => {
                    let fault = self.read_error(&error);
                    return Err(self.fail(fault));
                }
            }
        }
        let chunk = &self.chunk[..self.end];
        self.read_bytes += chunk.len() as u64;
        self.hash.update(chunk);
        self.quotation_marks += chunk.iter().filter(|&&byte| byte == b'"').count() as u64;
        self.last_byte = chunk.last().copied().or(self.last_byte);
        if self.read_bytes > MAX_FILE_BYTES {
            let fault = ListError::Limit { what: "the file", limit: MAX_FILE_BYTES, position: self.read_bytes };
            return Err(self.fail(fault));
        }
        (self.progress)(self.read_bytes);
        Ok(())
    }
}

impl<R: Read> BufRead for Source<'_, R> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        if self.piece_bytes > self.max_piece_bytes {
            let limit = self.max_piece_bytes as u64;
            let fault = ListError::Limit { what: self.piece, limit, position: self.position() };
            return Err(self.fail(fault));
        }
        self.fill()?;
        Ok(&self.chunk[self.start..self.end])
    }

    fn consume(&mut self, amount: usize) {
        self.start = (self.start + amount).min(self.end);
        self.piece_bytes = self.piece_bytes.saturating_add(amount);
    }
}

impl<R: Read> Read for Source<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let available = self.fill_buf()?;
        let count = available.len().min(buffer.len());
        buffer[..count].copy_from_slice(&available[..count]);
        self.consume(count);
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn bytes_are_hashed_counted_and_reported() {
        let bytes = vec![b'a'; 200_000];
        let mut seen = Vec::new();
        let mut progress = |count| seen.push(count);
        let source = Source::new(&bytes[..], "a piece", 10, &mut progress);
        let (hash, count) = source.finish().unwrap();
        assert_eq!(count, 200_000);
        assert_eq!(hash, FileHash::from_bytes(Sha256::digest(&bytes).into()));
        assert_eq!(seen[..4], [65_536, 131_072, 196_608, 200_000]);
    }

    #[test]
    fn a_piece_over_its_limit_fails_and_a_new_piece_begins_anew() {
        let bytes = [b'a'; 100];
        let mut progress = |_| ();
        let mut source = Source::new(&bytes[..], "a piece", 10, &mut progress);
        let mut buffer = [0; 10];
        for _ in 0..5 {
            source.begin_piece();
            assert_eq!(source.read(&mut buffer).unwrap(), 10);
        }
        assert_eq!(source.read(&mut buffer).unwrap(), 10);
        assert!(source.read(&mut buffer).is_err());
        assert_eq!(source.take_fault(), Some(ListError::Limit { what: "a piece", limit: 10, position: 60 }));
    }

    #[test]
    fn a_failing_reader_is_named_as_such() {
        struct Broken;
        impl Read for Broken {
            fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
                Err(io::Error::other("the disk is gone"))
            }
        }
        let mut progress = |_| ();
        let error = Source::new(Broken, "a piece", 10, &mut progress).finish().unwrap_err();
        assert_eq!(error, ListError::Read { position: 0, fault: "the disk is gone".to_owned() });
    }
}
