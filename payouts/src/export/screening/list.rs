//! What a parsed list holds, the bounds that parsing keeps, and why a list is refused.
//!
//! Owns the shape that all formats end in. The formats themselves are in [`super::formats`], the judgement whether a
//! parsed list may be relied upon in [`super::standing`].

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use bitcoin::ScriptBuf;
use jiff::civil::Date;

/// The largest file that is read: `sdn_advanced.xml`, the largest of the published ones, has some 120 MB.
pub const MAX_FILE_BYTES: u64 = 1 << 30;
/// The longest tag, comment or run of text in a file. Reasons for a listing are the longest, with some kilobytes.
pub const MAX_PIECE_BYTES: usize = 64 << 10;
/// The longest row of a CSV file.
pub const MAX_ROW_BYTES: usize = 256 << 10;
/// How deep elements may nest; the advanced format goes to 11.
pub const MAX_DEPTH: usize = 32;
/// How many attributes an element may have; the formats have at most 20.
pub const MAX_ATTRIBUTES: usize = 64;
/// How many parties a list may have; OFAC's has some 19,000.
pub const MAX_PARTIES: usize = 250_000;
/// How many names a list may have before repetitions are removed; OFAC's has some 60,000.
pub const MAX_NAMES: usize = 1_000_000;
/// How many addresses a list may have; OFAC's has some 450.
pub const MAX_ADDRESSES: usize = 250_000;
/// How many kinds of digital currency a list may name, and how many values any other set of references may have.
pub const MAX_REFERENCE_VALUES: usize = 4_096;
/// The longest identifier of a party.
pub const MAX_UID_BYTES: usize = 128;
/// The longest name of a party.
pub const MAX_NAME_BYTES: usize = 2_048;
/// The longest text of an address, label or programme.
pub const MAX_LABEL_BYTES: usize = 512;
/// How many programmes a party may be listed under.
pub const MAX_PROGRAMMES: usize = 64;
/// How much text a list may make the parser keep, names, identifiers and all.
pub const MAX_KEPT_BYTES: usize = 128 << 20;
/// How many warnings are kept; further ones are counted.
pub const MAX_WARNINGS: usize = 100;
/// How much of a published text a warning quotes, in characters.
pub const MAX_QUOTED_CHARS: usize = 120;
/// The longest name of a source.
pub const MAX_SOURCE_BYTES: usize = 64;

/// Where a list comes from: the name under which the operator configures it, such as `ofac-sdn`.
///
/// One to [`MAX_SOURCE_BYTES`] lower-case letters, digits and hyphens.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ListSource(Arc<str>);

impl ListSource {
    /// Returns the name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for ListSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for ListSource {
    type Err = BadSource;

    fn from_str(text: &str) -> Result<Self, BadSource> {
        let allowed = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
        if text.is_empty() || text.len() > MAX_SOURCE_BYTES || !text.bytes().all(allowed) {
            return Err(BadSource(quoted(text)));
        }
        Ok(Self(text.into()))
    }
}

/// A text that cannot name a source.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0} does not name a list: 1 to {MAX_SOURCE_BYTES} lower-case letters, digits and hyphens do")]
pub struct BadSource(String);

/// The published formats that are read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ListFormat {
    /// OFAC's `sdn_advanced.xml`.
    OfacAdvancedXml,
    /// OFAC's `sdn.xml`.
    OfacSdnXml,
    /// OFAC's `sdn.csv` with `sdn_comments.csv`.
    OfacSdnCsv,
    /// The EU's consolidated financial sanctions list, XML 1.0 or 1.1.
    EuFsfXml,
    /// The UK sanctions list, or the consolidated list of OFSI that it replaced.
    UkCsv,
    /// The operator's own additions.
    Supplement,
}

impl ListFormat {
    /// All of them.
    pub const ALL: [Self; 6] =
        [Self::OfacAdvancedXml, Self::OfacSdnXml, Self::OfacSdnCsv, Self::EuFsfXml, Self::UkCsv, Self::Supplement];

    /// Returns the text form that configuration and evidence use.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::OfacAdvancedXml => "ofac-advanced-xml",
            Self::OfacSdnXml => "ofac-sdn-xml",
            Self::OfacSdnCsv => "ofac-sdn-csv",
            Self::EuFsfXml => "eu-fsf-xml",
            Self::UkCsv => "uk-csv",
            Self::Supplement => "supplement",
        }
    }
}

impl fmt::Display for ListFormat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for ListFormat {
    type Err = UnknownFormat;

    fn from_str(text: &str) -> Result<Self, UnknownFormat> {
        Self::ALL.into_iter().find(|format| format.as_str() == text).ok_or_else(|| UnknownFormat(quoted(text)))
    }
}

/// A text that names no format.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("unknown list format {0}")]
pub struct UnknownFormat(String);

/// The SHA-256 of a file's bytes.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FileHash([u8; 32]);

impl FileHash {
    /// Makes one of the digest's 32 bytes, in the order in which SHA-256 gives them.
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// Returns the digest's 32 bytes.
    pub const fn to_bytes(self) -> [u8; 32] {
        self.0
    }
}

impl fmt::Display for FileHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

impl fmt::Debug for FileHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// What a listed party is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum PartyKind {
    /// A natural person.
    Individual,
    /// A legal person, group or other body.
    Entity,
    /// A ship.
    Vessel,
    /// An aircraft.
    Aircraft,
    /// The list does not say, or says something else.
    Unknown,
}

/// A party on a list.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ListedParty {
    /// The publisher's identifier of the entry.
    pub uid: String,
    /// What it is.
    pub kind: PartyKind,
    /// Its primary name, or the first one; empty if it has none.
    pub name: String,
    /// The programmes or regimes under which it is listed, in the list's order.
    pub programmes: Vec<String>,
}

/// Which of a party's names one is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum NameKind {
    /// The name under which the party is listed.
    Primary,
    /// Another name.
    Alias,
    /// Another name of which the publisher says that it is weak: nicknames and noms de guerre that many have.
    WeakAlias,
}

/// A name on a list.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ListedName {
    /// Whose it is.
    pub party: Arc<ListedParty>,
    /// The name as published, but for white space and control characters.
    pub name: String,
    /// Which of the party's names it is.
    pub kind: NameKind,
}

/// A Bitcoin address on a list.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ListedAddress {
    /// Whose it is.
    pub party: Arc<ListedParty>,
    /// The script that the address stands for.
    pub script: ScriptBuf,
    /// The address as published.
    pub text: String,
    /// The currency under which it is listed, such as `XBT` or `USDT`.
    pub label: String,
}

/// A parsed list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SanctionsList {
    /// Where it comes from.
    pub source: ListSource,
    /// Its format.
    pub format: ListFormat,
    /// The date that the file bears, if it bears one.
    pub publication_date: Option<Date>,
    /// The SHA-256 of the file's bytes.
    pub sha256: FileHash,
    /// The SHA-256 of the file of comments, for the format that has one.
    pub comments_sha256: Option<FileHash>,
    /// The number of bytes read, of all files.
    pub bytes: u64,
    /// How many parties it has. What shrinks is measured by this.
    pub entry_count: u64,
    /// The Bitcoin addresses, in the file's order.
    pub addresses: Vec<ListedAddress>,
    /// The names, in the order of parties, each once for a party.
    pub names: Vec<ListedName>,
    /// The first [`MAX_WARNINGS`] entries that could not be used, each in one line.
    pub warnings: Vec<String>,
    /// How many there were.
    pub warning_count: u64,
}

/// Why a list is refused as a whole. A single bad entry is a warning instead.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ListError {
    /// The reader failed.
    #[error("cannot be read after {position} bytes: {fault}")]
    Read {
        /// How many bytes had been read.
        position: u64,
        /// What the reader says.
        fault: String,
    },
    /// Something is larger or more than any published list has.
    #[error("{what} exceeds the limit of {limit} (about byte {position})")]
    Limit {
        /// What is.
        what: &'static str,
        /// The limit: bytes, or a count.
        limit: u64,
        /// About where, in bytes from the start.
        position: u64,
    },
    /// The file is not the XML or CSV that it should be.
    #[error("malformed about byte {position}: {fault}")]
    Malformed {
        /// About where, in bytes from the start.
        position: u64,
        /// What is wrong.
        fault: String,
    },
    /// The file has a document type declaration. Published lists have none, and what it declares is never expanded.
    #[error("a document type declaration about byte {position}")]
    DocumentType {
        /// About where, in bytes from the start.
        position: u64,
    },
    /// The file ends in the middle.
    #[error("ends in the middle, after {position} bytes")]
    Truncated {
        /// How many bytes there are.
        position: u64,
    },
    /// The file is well-formed and not a list of this format.
    #[error("not a list in the format {format}: {fault}")]
    Layout {
        /// The format that was expected.
        format: ListFormat,
        /// What is missing or different.
        fault: String,
    },
}

/// Returns `text` in quotation marks with everything invisible escaped, cut at [`MAX_QUOTED_CHARS`].
pub(super) fn quoted(text: &str) -> String {
    match text.char_indices().nth(MAX_QUOTED_CHARS) {
        Some((end, _)) => format!("{:?}...", &text[..end]),
        None => format!("{text:?}"),
    }
}
