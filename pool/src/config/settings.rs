//! The layers of the configuration: a TOML file, and the environment over it.
//!
//! Owns which keys exist, where each value came from, and the words of every complaint about one. What the values
//! mean belongs to [`super`].
//!
//! The overlay is written here rather than taken from a configuration library, because two things matter more than
//! the layering itself: an unknown key, in the file or the environment, is refused with the name of the nearest known
//! one; and the text of an environment variable is read by the type of its key, never by guessing (a password of digits
//! stays a text).

use std::{
    collections::{BTreeMap, BTreeSet},
    ffi::OsString,
    fmt, fs,
    ops::RangeInclusive,
    path::{Path, PathBuf},
    str::FromStr,
    sync::{Mutex, PoisonError},
};

use toml::Value;

pub use super::error::ConfigError;
use super::{
    lines::{KeyLines, line_at, lines_of_keys},
    nearest::{is_section, key_of_single_underscores, nearest_key, nearest_section},
};

/// Every setting there is, in the order of the config file.
pub const KEYS: &[&str] = &[
    "network",
    "data_dir",
    "log",
    "bitcoind.url",
    "bitcoind.cookie_file",
    "bitcoind.user",
    "bitcoind.password_file",
    "bitcoind.password",
    "bitcoind.template_refresh_seconds",
    "stratum.listen",
    "stratum.public_host",
    "stratum.authority_key_file",
    "stratum.certificate_validity_hours",
    "stratum.server_id",
    "stratum.max_connections",
    "stratum.max_channels_per_connection",
    "stratum.shares_per_minute",
    "stratum.initial_difficulty",
    "stratum.min_difficulty",
    "stratum.pool_tag",
    "stratum.job_ahead",
    "stratum.supported_extensions",
    "stratum.required_extensions",
    "limits.connections_per_address",
    "limits.handshakes",
    "limits.handshakes_per_address",
    "limits.unlimited_addresses",
    "limits.messages_per_second",
    "limits.bytes_per_second",
    "limits.frame_bytes",
    "limits.idle_seconds",
    "limits.shares_per_job",
    "limits.invalid_shares",
    "limits.ban_seconds",
    "api.listen",
    "api.tls_certificate",
    "api.tls_key",
    "api.allow_plaintext_beyond_loopback",
    "api.requests_per_second",
    "accounts.open_registration",
    "payout.wallet_key_file",
    "payout.watch_only_descriptor",
    "payout.watch_only_change_descriptor",
    "payout.fee_bp",
    "payout.scheme",
    "payout.slice_fee_delta_sat",
    "payout.pplns_window",
    "payout.keep_shares",
    "payout.credit_minutes",
    "payout.fpps_average",
    "payout.threshold_sat",
    "payout.schedule",
    "payout.approval",
    "payout.approve_above_sat",
    "payout.network_fee",
    "payout.max_outputs",
    "payout.fee_target_blocks",
    "payout.min_fee_rate_sat_per_vb",
    "payout.fallback_fee_rate_sat_per_vb",
    "payout.max_fee_rate_sat_per_vb",
    "export.profile",
    "export.party_key_file",
    "store.path",
    "store.url",
    "store.url_file",
];

/// Keys that only the environment may hold: a config file gets copied, shown and committed. In the section of a backup
/// node likewise.
pub(super) const SECRET_KEYS: &[&str] = &["bitcoind.password"];

/// Sections below which the operator names sections of his own, and the settings of each of those.
pub(super) const NAMED: &[(&str, &[&str])] = &[
    // The backup nodes: `[bitcoind.backup.NAME]`.
    (BACKUPS, &["url", "cookie_file", "user", "password_file", "password"]),
    // The lists that payments are screened by: `[screening.lists.NAME]`.
    (LISTS, &["format", "file", "comments_file", "max_age_hours"]),
];

/// The section of the backup nodes.
const BACKUPS: &str = "bitcoind.backup";

/// The section of the lists that payments are screened by.
const LISTS: &str = "screening.lists";

/// Most characters of the name of such a section.
pub(super) const MAX_NAME_LENGTH: usize = 32;

/// What the environment's variables start with. There is one rule for all settings: the key in capitals, two underscores
/// for each point and before it all, `ADIT__SECTION__KEY`. Lists are separated by commas; an empty variable unsets its key.
pub const ENVIRONMENT_PREFIX: &str = "ADIT__";

/// The beginning of variables that are none of ours, but may be meant to be.
const SHORT_PREFIX: &str = "ADIT_";

/// Where a value came from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// From the config file.
    File {
        /// The file.
        path: PathBuf,
        /// The line of the key, from 1.
        line: usize,
    },
    /// From the environment variable of the key.
    Environment,
}

/// The text or the TOML value of one setting.
#[derive(Clone)]
struct Setting {
    value: Value,
    origin: Origin,
}

/// All settings as written, before their meaning is checked.
pub struct Settings {
    file: PathBuf,
    values: BTreeMap<&'static str, Setting>,
}

impl Settings {
    /// Reads the file, then lays the environment over it. An environment variable with an empty text unsets its key.
    ///
    /// # Errors
    ///
    /// When the file cannot be read or is not TOML, and for unknown keys and secrets in the file.
    pub fn read(
        file: &Path,
        environment: impl IntoIterator<Item = (OsString, OsString)>,
    ) -> Result<Settings, ConfigError> {
        let text =
            fs::read_to_string(file).map_err(|source| ConfigError::Unreadable { path: file.to_owned(), source })?;
        let table = toml::Table::from_str(&text).map_err(|error| {
            // The parser's own message draws the line over several; a complaint here is one line.
            let start = error.span().map_or(0, |span| span.start);
            let reason = error.message().replace('\n', ", ");
            ConfigError::Syntax { path: file.to_owned(), line: line_at(&text, start), reason }
        })?;
        let mut settings = Settings { file: file.to_owned(), values: BTreeMap::new() };
        settings.add_table("", table, &lines_of_keys(&text))?;
        for (name, value) in environment {
            settings.add_variable(&name, value)?;
        }
        Ok(settings)
    }

    fn add_table(&mut self, prefix: &str, table: toml::Table, lines: &KeyLines) -> Result<(), ConfigError> {
        for (name, value) in table {
            let key = if prefix.is_empty() { name } else { format!("{prefix}.{name}") };
            let origin = Origin::File { path: self.file.clone(), line: lines.get(&key).copied().unwrap_or(1) };
            match value {
                Value::Table(inner) if !inner.is_empty() => self.add_table(&key, inner, lines)?,
                Value::Table(_) if is_section(&key) => {}
                Value::Table(_) if let Some(settings) = settings_below(&key) => {
                    let key = written(&format!("[{key}]"), &origin);
                    let reason = format!("has no settings: it needs {} at least", settings[0]);
                    return Err(ConfigError::Invalid { key, reason });
                }
                Value::Table(_) => {
                    let nearest = format!("[{}]", nearest_section(&key));
                    return Err(ConfigError::UnknownKey { key: written(&format!("[{key}]"), &origin), nearest });
                }
                value => self.add_file_value(&key, value, origin)?,
            }
        }
        Ok(())
    }

    fn add_file_value(&mut self, key: &str, value: Value, origin: Origin) -> Result<(), ConfigError> {
        if is_section(key) {
            let below = if NAMED.iter().any(|(above, _)| *above == key) { ".NAME" } else { "" };
            return Err(ConfigError::Invalid {
                key: written(key, &origin),
                reason: format!("is a section: write [{key}{below}] and its settings below"),
            });
        }
        let Some(known) = known_key(key) else {
            return Err(ConfigError::UnknownKey { key: written(key, &origin), nearest: nearest_key(key) });
        };
        if is_secret(known) {
            return Err(secret_in_file(known, &origin));
        }
        self.values.insert(known, Setting { value, origin });
        Ok(())
    }

    fn add_variable(&mut self, name: &OsString, value: OsString) -> Result<(), ConfigError> {
        let Some(name) = name.to_str() else { return Ok(()) };
        let Some(rest) = name.strip_prefix(ENVIRONMENT_PREFIX) else {
            return match name.strip_prefix(SHORT_PREFIX).and_then(key_of_single_underscores) {
                Some(meant) => Err(ConfigError::UnknownKey { key: name.to_owned(), nearest: variable_of(meant) }),
                None => Ok(()),
            };
        };
        let key = rest.to_ascii_lowercase().replace("__", ".");
        let Some(known) = known_key(&key) else {
            let nearest = variable_of(&nearest_key(&key));
            return Err(ConfigError::UnknownKey { key: variable_of(&key), nearest });
        };
        let Ok(text) = value.into_string() else {
            return Err(ConfigError::Invalid { key: variable_of(known), reason: "is not UTF-8".to_owned() });
        };
        if text.is_empty() {
            self.values.remove(known);
        } else {
            self.values.insert(known, Setting { value: Value::String(text), origin: Origin::Environment });
        }
        Ok(())
    }

    fn find(&self, key: &'static str) -> Option<&Setting> {
        debug_assert!(is_known(key), "{key} is read but not listed");
        self.values.get(key)
    }

    /// The sections of the backup nodes that have a value, in the order of their names.
    pub fn backup_sections(&self) -> Vec<&'static str> {
        self.named_sections(BACKUPS)
    }

    /// The sections of the lists that payments are screened by, in the order of their names.
    pub fn list_sections(&self) -> Vec<&'static str> {
        self.named_sections(LISTS)
    }

    fn named_sections(&self, above: &str) -> Vec<&'static str> {
        let keys = self.values.keys().filter(|key| split_named(key).is_some_and(|named| named.above == above));
        let mut sections: Vec<&'static str> =
            keys.filter_map(|key| key.rsplit_once('.')).map(|(section, _)| section).collect();
        sections.dedup();
        sections
    }

    /// Where the value of a key came from; `None` where its default holds.
    pub fn origin(&self, key: &str) -> Option<&Origin> {
        self.values.get(key).map(|setting| &setting.origin)
    }

    /// The keys that were set, in their alphabetical order.
    pub fn keys(&self) -> impl Iterator<Item = &'static str> {
        self.values.keys().copied()
    }

    /// Whether the key has a value.
    pub fn has(&self, key: &'static str) -> bool {
        self.find(key).is_some()
    }

    /// The value of a text setting.
    ///
    /// # Errors
    ///
    /// When it is not a text.
    pub fn text(&self, key: &'static str) -> Result<Option<String>, ConfigError> {
        match self.find(key) {
            None => Ok(None),
            Some(Setting { value: Value::String(text), .. }) => Ok(Some(text.clone())),
            Some(other) => Err(self.invalid(key, format!("{} should be a text in quotation marks", other.value))),
        }
    }

    /// The value of an integer setting.
    ///
    /// # Errors
    ///
    /// When it is not an integer or not in the range.
    pub fn integer(&self, key: &'static str, range: RangeInclusive<u64>) -> Result<Option<u64>, ConfigError> {
        let Some(setting) = self.find(key) else { return Ok(None) };
        let number = match (&setting.value, &setting.origin) {
            (Value::Integer(number), _) => u64::try_from(*number).ok(),
            (Value::String(text), Origin::Environment) => text.trim().parse().ok(),
            _ => None,
        };
        match number {
            Some(number) if range.contains(&number) => Ok(Some(number)),
            _ => Err(self.invalid(
                key,
                format!("{} is not an integer from {} to {}", setting.value, range.start(), range.end()),
            )),
        }
    }

    /// The value of a setting that is true or false.
    ///
    /// # Errors
    ///
    /// When it is neither.
    pub fn boolean(&self, key: &'static str) -> Result<Option<bool>, ConfigError> {
        let Some(setting) = self.find(key) else { return Ok(None) };
        let value = match (&setting.value, &setting.origin) {
            (Value::Boolean(value), _) => Some(*value),
            (Value::String(text), Origin::Environment) => text.trim().parse().ok(),
            _ => None,
        };
        value.map(Some).ok_or_else(|| self.invalid(key, format!("{} is not true or false", setting.value)))
    }

    /// The value of a setting that may be written as a number or as a text, in its text form.
    ///
    /// # Errors
    ///
    /// When it is neither.
    pub fn number_or_text(&self, key: &'static str) -> Result<Option<String>, ConfigError> {
        match self.find(key).map(|setting| &setting.value) {
            None => Ok(None),
            Some(Value::Integer(number)) => Ok(Some(number.to_string())),
            Some(Value::Float(number)) => Ok(Some(number.to_string())),
            Some(_) => self.text(key),
        }
    }

    /// The items of a list setting in their text form: an array of numbers and texts in the file, or in the environment
    /// a text in which commas separate them.
    ///
    /// # Errors
    ///
    /// When it is no list.
    pub fn list(&self, key: &'static str) -> Result<Option<Vec<String>>, ConfigError> {
        let Some(Setting { value, origin }) = self.find(key) else { return Ok(None) };
        let items = match (value, origin) {
            (Value::Array(items), _) => items.iter().map(item_text).collect(),
            (Value::String(text), Origin::Environment) => Some(split_items(text)),
            _ => None,
        };
        items.map(Some).ok_or_else(|| self.invalid(key, format!("{value} should be a list in square brackets")))
    }

    /// The value of a path setting; a relative one is relative to the folder of the config file.
    ///
    /// # Errors
    ///
    /// When it is not a text.
    pub fn path(&self, key: &'static str) -> Result<Option<PathBuf>, ConfigError> {
        Ok(self.text(key)?.map(|path| self.resolve(&path)))
    }

    /// `path`, seen from the folder of the config file.
    pub fn resolve(&self, path: &str) -> PathBuf {
        self.file.parent().unwrap_or(Path::new("")).join(path)
    }

    /// Refuses a setting whose value is a secret if it stands in the config file.
    ///
    /// # Errors
    ///
    /// When it does.
    pub fn refuse_in_file(&self, key: &'static str) -> Result<(), ConfigError> {
        match self.find(key) {
            Some(Setting { origin: origin @ Origin::File { .. }, .. }) => Err(secret_in_file(key, origin)),
            _ => Ok(()),
        }
    }

    /// The complaint that a setting is absent.
    pub fn missing(&self, key: &'static str) -> ConfigError {
        ConfigError::Missing { key, path: self.file.clone() }
    }

    /// A complaint about a setting's value.
    pub fn invalid(&self, key: &'static str, reason: impl Into<String>) -> ConfigError {
        let key = match self.find(key) {
            Some(setting) => written(key, &setting.origin),
            None => key.to_owned(),
        };
        ConfigError::Invalid { key, reason: reason.into() }
    }
}

/// The environment variable of a key: `payout.fee_bp` is `ADIT__PAYOUT__FEE_BP`.
pub fn variable_of(key: &str) -> String {
    format!("{ENVIRONMENT_PREFIX}{}", key.replace('.', "__").to_ascii_uppercase())
}

fn item_text(item: &Value) -> Option<String> {
    match item {
        Value::Integer(number) => Some(number.to_string()),
        Value::String(text) => Some(text.clone()),
        _ => None,
    }
}

/// Splits what an environment variable lists, with or without brackets around it: an empty list needs them, since an
/// empty variable unsets its key.
fn split_items(text: &str) -> Vec<String> {
    let listed = text.trim().strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(text);
    listed.split(',').map(|item| item.trim().to_owned()).filter(|item| !item.is_empty()).collect()
}

fn written(key: &str, origin: &Origin) -> String {
    match origin {
        Origin::File { path, line } => format!("{key} in {}, line {line}", path.display()),
        Origin::Environment => variable_of(key),
    }
}

fn secret_in_file(key: &'static str, origin: &Origin) -> ConfigError {
    let (path, line) = match origin {
        Origin::File { path, line } => (path.clone(), *line),
        Origin::Environment => (PathBuf::new(), 0),
    };
    ConfigError::SecretInFile { key, path, line }
}

fn known_key(key: &str) -> Option<&'static str> {
    let listed = KEYS.iter().copied().find(|known| *known == key);
    listed.or_else(|| split_named(key).map(|_| named_key(key)))
}

/// Keeps a key that the operator has named a part of as long as the others, which is as long as the process: once,
/// however often the config is read. It has few such sections.
fn named_key(key: &str) -> &'static str {
    static KEPT: Mutex<BTreeSet<&'static str>> = Mutex::new(BTreeSet::new());

    let mut kept = KEPT.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(known) = kept.get(key) {
        return known;
    }
    let known: &'static str = Box::leak(key.into());
    kept.insert(known);
    known
}

fn is_known(key: &str) -> bool {
    KEYS.contains(&key) || split_named(key).is_some()
}

/// The key of a setting in a section that the operator has named.
pub fn key_in(section: &str, setting: &str) -> &'static str {
    let key = format!("{section}.{setting}");
    known_key(&key).expect("such sections have this setting, and were read from keys")
}

/// A key in a section that the operator has named.
struct NamedKey<'a> {
    above: &'static str,
    setting: &'a str,
}

/// Takes the key of a section apart that the operator has named, if it is one.
fn split_named(key: &str) -> Option<NamedKey<'_>> {
    let is_part = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_';
    NAMED.iter().find_map(|(above, settings)| {
        let (name, setting) = key.strip_prefix(above)?.strip_prefix('.')?.split_once('.')?;
        let is_name = (1..=MAX_NAME_LENGTH).contains(&name.len()) && name.bytes().all(is_part) && !name.contains("__");
        (is_name && settings.contains(&setting)).then_some(NamedKey { above, setting })
    })
}

/// The settings of the sections below the one that `key` stands in.
fn settings_below(key: &str) -> Option<&'static [&'static str]> {
    let below = |above: &str| key.strip_prefix(above).is_some_and(|rest| rest.starts_with('.'));
    NAMED.iter().find(|(above, _)| below(above)).map(|(_, settings)| *settings)
}

fn is_secret(key: &str) -> bool {
    let of_node = || split_named(key).is_some_and(|named| named.above == BACKUPS && named.setting == "password");
    SECRET_KEYS.contains(&key) || of_node()
}

impl fmt::Debug for Settings {
    /// Names the keys that are set, and no value: some of them are secrets.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.values.keys()).finish()
    }
}
