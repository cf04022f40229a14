//! By which lists payments are screened: `[screening.lists.NAME]`.

use std::{path::PathBuf, time::Duration};

use payouts::export::screening::{ListFormat, ListSource, standing::DEFAULT_MAX_AGE_S};

use super::settings::{ConfigError, Settings, key_in};

/// The greatest age that can be allowed, in hours: ten years, for lists that an operator makes himself.
const MAX_AGE_LIMIT_HOURS: u64 = 10 * 366 * 24;
/// Most lists.
const MAX_LISTS: usize = 16;
const SECONDS_PER_HOUR: u64 = 3_600;

/// A list that payments are screened by.
#[derive(Clone, Debug)]
pub struct ListConfig {
    /// Its name, by which it is known on record.
    pub source: ListSource,
    /// How its file is written.
    pub format: ListFormat,
    /// Its file.
    pub file: PathBuf,
    /// The file of its comments, for the format that has one.
    pub comments_file: Option<PathBuf>,
    /// How long ago its file may have been fetched at most.
    pub max_age: Duration,
}

/// Reads all lists, in the order of their names.
pub(super) fn read(settings: &Settings) -> Result<Vec<ListConfig>, ConfigError> {
    let sections = settings.list_sections();
    if let Some(surplus) = sections.get(MAX_LISTS) {
        let reason = format!("is one list too many: there may be {MAX_LISTS}");
        return Err(settings.invalid(key_in(surplus, "file"), reason));
    }
    sections.into_iter().map(|section| read_one(settings, section)).collect()
}

fn read_one(settings: &Settings, section: &'static str) -> Result<ListConfig, ConfigError> {
    let [format_key, file_key, comments_key, age_key] =
        ["format", "file", "comments_file", "max_age_hours"].map(|setting| key_in(section, setting));
    let name = section.rsplit('.').next().unwrap_or_default().replace('_', "-");
    let source = name.parse().map_err(|error| settings.invalid(file_key, format!("{error}")))?;
    let format = settings.text(format_key)?.ok_or_else(|| settings.missing(format_key))?;
    let format: ListFormat = format.parse().map_err(|error| {
        let known: Vec<_> = ListFormat::ALL.iter().map(|format| format.as_str()).collect();
        settings.invalid(format_key, format!("{error}: it is one of {}", known.join(", ")))
    })?;
    let file = settings.path(file_key)?.ok_or_else(|| settings.missing(file_key))?;
    let comments_file = settings.path(comments_key)?;
    match (format, &comments_file) {
        (ListFormat::OfacSdnCsv, None) => return Err(settings.missing(comments_key)),
        (ListFormat::OfacSdnCsv, Some(_)) | (_, None) => {}
        (_, Some(_)) => {
            return Err(settings.invalid(comments_key, format!("goes with format {} only", ListFormat::OfacSdnCsv)));
        }
    }
    let hours = settings.integer(age_key, 1..=MAX_AGE_LIMIT_HOURS)?.unwrap_or(DEFAULT_MAX_AGE_S / SECONDS_PER_HOUR);
    Ok(ListConfig { source, format, file, comments_file, max_age: Duration::from_secs(hours * SECONDS_PER_HOUR) })
}
