//! `manifest.json`: what a set of reports consists of, written last, and whether files are still what they were.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    io::{self, Read, Write},
};

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::{
    NOT_LEGAL_ADVICE, ReportError, SCHEMA_VERSION, figure, file_name, json,
    model::{AsOf, ReportHead},
};

/// The name of the file.
pub const MANIFEST_FILE: &str = "manifest.json";
/// How much of a manifest is read at most: that of some hundred thousand files.
pub const MANIFEST_BYTES: u64 = 64 << 20;
/// How much of a file is read at once.
const BUFFER_BYTES: usize = 64 << 10;

/// What a set of reports consists of.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// The version of all files' layouts.
    pub schema_version: u32,
    /// What the reports say of themselves.
    pub notice: String,
    /// The version of the software that wrote them.
    pub software_version: String,
    /// The pool's name.
    pub pool: String,
    /// The country profile's name.
    pub profile: String,
    /// The country profile's version.
    pub profile_version: String,
    /// The period.
    pub period: ManifestPeriod,
    /// When the reports were made, in UTC.
    pub generated_at: String,
    /// The rows of the register that are covered; nothing if there are none.
    pub sequence: Option<SequenceRange>,
    /// The SHA-256 of the country profile's file.
    pub profile_sha256: String,
    /// The hash of the register's last row.
    pub chain_head: String,
    /// Up to where ledger, register and journal were read.
    pub as_of: AsOf,
    /// The files, in the order in which they were written.
    pub files: Vec<FileEntry>,
}

/// A period as the manifest tells it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ManifestPeriod {
    /// Its name.
    pub label: String,
    /// The zone in which it begins and ends.
    pub zone: String,
    /// Its first moment.
    pub from: String,
    /// The first moment after it.
    pub until: String,
}

/// Rows of the register from one to another, both included.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SequenceRange {
    /// The first.
    pub first: i64,
    /// The last.
    pub last: i64,
}

/// A file of a set.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FileEntry {
    /// Its name.
    pub name: String,
    /// Its size.
    pub bytes: u64,
    /// The SHA-256 of its bytes, lower-case hex.
    pub sha256: String,
}

/// A set of reports that is being written.
#[derive(Clone, Debug)]
pub struct ReportSet {
    head: ReportHead,
    files: Vec<FileEntry>,
    /// In small letters, because some file systems hold capitals for the same.
    names: BTreeSet<String>,
}

impl ReportSet {
    /// Begins a set.
    pub fn new(head: ReportHead) -> Self {
        let names = BTreeSet::from([MANIFEST_FILE.to_owned()]);
        Self { head, files: Vec::new(), names }
    }

    /// Returns what the reports of the set have in common.
    pub fn head(&self) -> &ReportHead {
        &self.head
    }

    /// Writes a file of the set: `write` gets the head and what to write to. Returns what `write` does.
    ///
    /// # Errors
    ///
    /// If the name is not one for a report or is taken, before anything is written; or if `write` or flushing fails.
    /// Such a file is not part of the set, and its bytes are worth nothing.
    pub fn write<T>(
        &mut self,
        name: &str,
        out: &mut dyn Write,
        write: impl FnOnce(&ReportHead, &mut dyn Write) -> Result<T, ReportError>,
    ) -> Result<T, ReportError> {
        if !file_name::is_report(name) {
            return Err(ReportError::FileName(name.to_owned()));
        }
        let key = name.to_ascii_lowercase();
        if self.names.contains(&key) {
            return Err(ReportError::Duplicate(name.to_owned()));
        }
        let mut hashing = Hashing { out, hash: Sha256::new(), bytes: 0 };
        let written = write(&self.head, &mut hashing)?;
        hashing.flush()?;
        let (bytes, sha256) = (hashing.bytes, hex::encode(hashing.hash.finalize()));
        self.names.insert(key);
        self.files.push(FileEntry { name: name.to_owned(), bytes, sha256 });
        Ok(written)
    }

    /// Ends the set: writes the manifest, and returns it.
    ///
    /// # Errors
    ///
    /// If a time of the head cannot be told, or writing fails.
    pub fn finish(self, out: &mut dyn Write) -> Result<Manifest, ReportError> {
        let Self { head, files, .. } = self;
        let manifest = Manifest {
            schema_version: SCHEMA_VERSION,
            notice: NOT_LEGAL_ADVICE.to_owned(),
            period: ManifestPeriod {
                from: figure::local(head.period.from_ms, &head.zone)?,
                until: figure::local(head.period.until_ms, &head.zone)?,
                label: head.period.label,
                zone: head.zone.name,
            },
            generated_at: figure::utc(head.generated_at_ms)?,
            software_version: head.software_version,
            pool: head.pool,
            profile: head.profile,
            profile_version: head.profile_version,
            sequence: head.sequence.map(|(first, last)| SequenceRange { first, last }),
            profile_sha256: head.profile_sha256,
            chain_head: head.as_of.register.hash.clone(),
            as_of: head.as_of,
            files,
        };
        json::write(&manifest, out)?;
        out.flush()?;
        Ok(manifest)
    }
}

/// How a file differs from its manifest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Discrepancy {
    /// The file is not there.
    Missing(String),
    /// The file is there, but not in the manifest.
    Unlisted(String),
    /// The file is there twice, or twice in the manifest.
    Repeated(String),
    /// The file has another size.
    Size {
        /// Its name.
        name: String,
        /// What the manifest says.
        listed: u64,
        /// What it is.
        found: u64,
    },
    /// The file has the same size and other bytes.
    Hash {
        /// Its name.
        name: String,
        /// What the manifest says.
        listed: String,
        /// What it is.
        found: String,
    },
}

impl fmt::Display for Discrepancy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Missing(name) => write!(f, "{name:?} is missing"),
            Self::Unlisted(name) => write!(f, "{name:?} is not in the manifest"),
            Self::Repeated(name) => write!(f, "{name:?} is there more than once"),
            Self::Size { name, listed, found } => write!(f, "{name:?} has {found} bytes, not {listed}"),
            Self::Hash { name, listed, found } => write!(f, "{name:?} has SHA-256 {found}, not {listed}"),
        }
    }
}

impl Manifest {
    /// Reads a manifest.
    ///
    /// # Errors
    ///
    /// If it cannot be read, is no manifest, has another layout than this software writes, or names a file as no report
    /// is named: so whoever opens the files by these names stays in their folder.
    pub fn read(input: impl Read) -> Result<Self, ReportError> {
        /// The one field that all layouts have.
        #[derive(Deserialize)]
        struct Version {
            schema_version: u32,
        }
        let mut bytes = Vec::new();
        input.take(MANIFEST_BYTES).read_to_end(&mut bytes)?;
        match serde_json::from_slice::<Version>(&bytes)?.schema_version {
            SCHEMA_VERSION => {}
            other => return Err(ReportError::SchemaVersion(other)),
        }
        let manifest: Self = serde_json::from_slice(&bytes)?;
        match manifest.files.iter().find(|entry| !file_name::is_report(&entry.name)) {
            Some(entry) => Err(ReportError::FileName(entry.name.clone())),
            None => Ok(manifest),
        }
    }

    /// Compares files with the manifest. The manifest's own file is left out if it is among them.
    ///
    /// Returns every difference, by name; none if all files are there and are what they were.
    ///
    /// # Errors
    ///
    /// If a file cannot be read.
    pub fn verify<N: Into<String>, R: Read>(
        &self,
        files: impl IntoIterator<Item = (N, R)>,
    ) -> Result<Vec<Discrepancy>, ReportError> {
        let mut differences = Vec::new();
        let mut listed: BTreeMap<&str, &FileEntry> = BTreeMap::new();
        for entry in &self.files {
            if listed.insert(&entry.name, entry).is_some() {
                differences.push(Discrepancy::Repeated(entry.name.clone()));
            }
        }
        let mut found: BTreeSet<String> = BTreeSet::new();
        for (name, reader) in files {
            let name = name.into();
            if name == MANIFEST_FILE {
                continue;
            }
            let Some(entry) = listed.get(&*name) else {
                differences.push(Discrepancy::Unlisted(name));
                continue;
            };
            differences.extend(entry.compare(reader)?);
            if !found.insert(name.clone()) {
                differences.push(Discrepancy::Repeated(name));
            }
        }
        let missing = listed.keys().filter(|name| !found.contains(**name));
        differences.extend(missing.map(|name| Discrepancy::Missing((*name).to_owned())));
        differences.sort_by(|one, other| one.name().cmp(other.name()));
        Ok(differences)
    }
}

impl FileEntry {
    fn compare(&self, mut reader: impl Read) -> Result<Option<Discrepancy>, ReportError> {
        let mut hash = Sha256::new();
        let mut bytes = 0;
        let mut buffer = vec![0; BUFFER_BYTES];
        loop {
            match reader.read(&mut buffer) {
                Ok(0) => break,
                Ok(read) => {
                    hash.update(&buffer[..read]);
                    bytes += read as u64;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error.into()),
            }
        }
        let (name, found) = (self.name.clone(), hex::encode(hash.finalize()));
        if bytes != self.bytes {
            return Ok(Some(Discrepancy::Size { name, listed: self.bytes, found: bytes }));
        }
        Ok((found != self.sha256).then(|| Discrepancy::Hash { name, listed: self.sha256.clone(), found }))
    }
}

impl Discrepancy {
    fn name(&self) -> &str {
        match self {
            Self::Missing(name) | Self::Unlisted(name) | Self::Repeated(name) => name,
            Self::Size { name, .. } | Self::Hash { name, .. } => name,
        }
    }
}

/// Passes bytes on and hashes what was taken.
struct Hashing<'w> {
    out: &'w mut dyn Write,
    hash: Sha256,
    bytes: u64,
}

impl Write for Hashing<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let taken = self.out.write(bytes)?;
        self.hash.update(&bytes[..taken]);
        self.bytes += taken as u64;
        Ok(taken)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

#[cfg(test)]
mod tests;
