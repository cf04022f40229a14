//! The lists that payments are screened by, on their way from files to the payer.
//!
//! Owns when files are read again, and what the log says of them. What a list is, and what follows from it, belongs to
//! [`payouts::export::screening`].

use std::{
    cmp::Reverse,
    fs::{self, File},
    io::{self, Read},
    path::Path,
    sync::Arc,
    time::{Instant, SystemTime, UNIX_EPOCH},
};

use anyhow::Context;
use payouts::{
    export::{
        lists::{ListAccepted, Lists, ListsLoaded, ReadList, last_entry_count},
        rules::profile::CountryProfile,
        screening::{self, ListError, ListFormat, ListSource, RequiredLists, SanctionsList},
    },
    store::Store,
};
use tracing::{info, warn};

use crate::config::ListConfig;

/// What of a list's loading is told on the way: each so many bytes.
const PROGRESS_BYTES: u64 = 32 << 20;
/// Warnings of one list that go to the log; all are counted.
const MAX_LOGGED_WARNINGS: usize = 5;

/// A list that was refused for so many loadings in a row is compared with nothing.
const LOADINGS: u32 = 100;

/// Reads lists, and reads them again when their files have changed.
#[derive(Debug)]
pub struct ListReader {
    required: RequiredLists,
    lists: Vec<ListConfig>,
    /// When the files were written that were read last, in the order of the lists.
    seen: Vec<Stamp>,
}

/// What tells the files of a list from those that were there before.
type Stamp = [Option<(SystemTime, u64)>; 2];

impl ListReader {
    /// Reads these lists. Those that the profile asks for are required too: while one of them is not set, it is missing.
    ///
    /// # Errors
    ///
    /// If the profile asks for a list whose name no list can have.
    pub fn new(lists: &[ListConfig], profile: &CountryProfile) -> anyhow::Result<Self> {
        let asked = profile.lists().iter().map(|name| name.as_str().parse::<ListSource>());
        let asked: Vec<_> = asked.collect::<Result<_, _>>().context("export.profile")?;
        let required = RequiredLists::new(lists.iter().map(|list| list.source.clone()).chain(asked))?;
        Ok(Self { required, lists: lists.to_vec(), seen: Vec::new() })
    }

    /// Returns what stands for the lists before they are read: none may be relied upon.
    pub fn unread(&self) -> Arc<Lists> {
        Arc::new(Lists::new(self.required.clone(), Vec::new()))
    }

    /// Reads all lists, if a file of theirs has changed since the last time. What is wrong with a list is part of what
    /// is returned, and stops payments, not the pool.
    ///
    /// # Errors
    ///
    /// If the store cannot tell of the lists before.
    pub async fn read_changed(&mut self, store: &dyn Store) -> anyhow::Result<Option<Arc<Lists>>> {
        let stamps: Vec<Stamp> = self.lists.iter().map(stamp).collect();
        if stamps == self.seen {
            return Ok(None);
        }
        let lists = self.read(Some(store)).await?;
        self.seen = stamps;
        Ok(Some(lists))
    }

    /// Reads all lists. Without a store, no list is known from before.
    ///
    /// # Errors
    ///
    /// If the store cannot tell of the lists before.
    pub async fn read(&mut self, store: Option<&dyn Store>) -> anyhow::Result<Arc<Lists>> {
        let mut lists = Vec::with_capacity(self.lists.len());
        let before = [ListsLoaded::KIND, ListAccepted::KIND];
        let mut rows = Vec::new();
        if let Some(store) = store {
            for kind in before {
                rows.extend(store.journal_about(kind, ListsLoaded::SUBJECT, LOADINGS).await?);
            }
        }
        rows.sort_by_key(|row| Reverse(row.seq));
        for list in &self.lists {
            lists.push((list.clone(), last_entry_count(&rows, &list.source)?));
        }
        let required = self.required.clone();
        // The largest published list takes seconds.
        let read = tokio::task::spawn_blocking(move || {
            let read = lists.iter().map(|(list, last)| read(list, *last)).collect();
            Arc::new(Lists::new(required, read))
        });
        read.await.context("lists could not be read")
    }
}

fn stamp(list: &ListConfig) -> Stamp {
    [Some(&list.file), list.comments_file.as_ref()].map(|file| {
        let metadata = fs::metadata(file?).ok()?;
        Some((metadata.modified().ok()?, metadata.len()))
    })
}

fn read(list: &ListConfig, last_entry_count: Option<u64>) -> ReadList {
    let begun = Instant::now();
    let (content, fetched_at_ms) = match open(&list.file) {
        Ok(None) => (None, 0),
        Err(error) => (Some(Err(unreadable(&error))), 0),
        Ok(Some((file, fetched_at_ms))) => (Some(parse(list, file)), fetched_at_ms),
    };
    match &content {
        None => warn!(list = %list.source, file = %list.file.display(), "there is no such file: nothing is paid"),
        Some(Err(error)) => {
            warn!(list = %list.source, file = %list.file.display(), %error, "list cannot be read: nothing is paid");
        }
        Some(Ok(parsed)) => {
            info!(
                list = %list.source, entries = parsed.entry_count, addresses = parsed.addresses.len(),
                names = parsed.names.len(), warnings = parsed.warning_count, seconds = begun.elapsed().as_secs_f32(),
                "list read"
            );
            for warning in parsed.warnings.iter().take(MAX_LOGGED_WARNINGS) {
                warn!(list = %list.source, "{warning}");
            }
        }
    }
    let content = content.map(|read| read.map(Arc::new));
    ReadList {
        source: list.source.clone(),
        content,
        fetched_at_ms,
        max_age_s: list.max_age.as_secs(),
        last_entry_count,
    }
}

/// Opens a file and tells when it was written, in milliseconds since 1970 UTC; nothing if there is none.
fn open(path: &Path) -> io::Result<Option<(File, i64)>> {
    let file = match File::open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        file => file?,
    };
    let modified = file.metadata()?.modified()?;
    let since_1970 = modified.duration_since(UNIX_EPOCH).unwrap_or_default();
    Ok(Some((file, i64::try_from(since_1970.as_millis()).unwrap_or(i64::MAX))))
}

fn parse(list: &ListConfig, file: File) -> Result<SanctionsList, ListError> {
    let size = file.metadata().map_or(0, |metadata| metadata.len());
    let mut told = 0;
    let mut progress = |bytes: u64| {
        if bytes >= told + PROGRESS_BYTES {
            told = bytes;
            info!(list = %list.source, read_mb = bytes >> 20, of_mb = size >> 20, "reading list");
        }
    };
    let (source, reader) = (list.source.clone(), file);
    match list.format {
        ListFormat::OfacAdvancedXml => screening::read_ofac_advanced(source, reader, &mut progress),
        ListFormat::OfacSdnXml => screening::read_ofac_sdn_xml(source, reader, &mut progress),
        ListFormat::OfacSdnCsv => {
            let comments: Box<dyn Read> = match &list.comments_file {
                Some(path) => Box::new(File::open(path).map_err(|error| unreadable(&error))?),
                None => Box::new(io::empty()),
            };
            screening::read_ofac_sdn_csv(source, reader, comments, &mut progress)
        }
        ListFormat::EuFsfXml => screening::read_eu_fsf(source, reader, &mut progress),
        ListFormat::UkCsv => screening::read_uk_csv(source, reader, &mut progress),
        ListFormat::Supplement => screening::read_supplement(source, reader, &mut progress),
    }
}

fn unreadable(error: &io::Error) -> ListError {
    ListError::Read { position: 0, fault: error.to_string() }
}
