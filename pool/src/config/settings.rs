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
    collections::BTreeMap,
    ffi::OsString,
    fmt, fs, io,
    ops::RangeInclusive,
    path::{Path, PathBuf},
    str::FromStr,
};

use toml::Value;

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
const SECRET_KEYS: &[&str] = &["bitcoind.password"];

/// Sections below which the operator names sections of his own, and the settings of each of those.
const NAMED: &[(&str, &[&str])] = &[
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
const MAX_NAME_LENGTH: usize = 32;

/// What the environment's variables start with: `ADIT__SECTION__KEY`.
pub const ENVIRONMENT_PREFIX: &str = "ADIT__";

/// What is wrong with the configuration. Each message names the key as the operator wrote it, and the cure.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The config file cannot be read.
    #[error("cannot read the config file {}", path.display())]
    Unreadable {
        /// The config file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The config file is not TOML.
    #[error("{} is not valid TOML: line {line}: {reason}", path.display())]
    Syntax {
        /// The config file.
        path: PathBuf,
        /// The line, from 1.
        line: usize,
        /// What is wrong with it.
        reason: String,
    },
    /// A key that does not exist.
    #[error("{key} is not a setting; the nearest one is {nearest}")]
    UnknownKey {
        /// The key as written, with where.
        key: String,
        /// The known key that looks most like it, as it would be written in the same place.
        nearest: String,
    },
    /// A setting that has no default is absent.
    #[error("{key} is not set: give it in {} or as {}", path.display(), variable_of(key))]
    Missing {
        /// The key.
        key: &'static str,
        /// The config file.
        path: PathBuf,
    },
    /// A value of the wrong type, out of its range, or in conflict with another.
    #[error("{key}: {reason}")]
    Invalid {
        /// The key as written, with where.
        key: String,
        /// What is wrong, with the value unless it is a secret.
        reason: String,
    },
    /// A secret stands in the config file.
    #[error("{key} is a secret and may not stand in {}: use a file of mode 0600, or {}", path.display(), variable_of(key))]
    SecretInFile {
        /// The key.
        key: &'static str,
        /// The config file.
        path: PathBuf,
    },
    /// A file that a setting names cannot be read.
    #[error("{key}: cannot read {}", path.display())]
    UnreadableFile {
        /// The setting that names it.
        key: &'static str,
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Others than its owner could read a secret.
    #[error("{key}: {} has mode {mode:04o}, so that others may read it: run `chmod 600 {}`", path.display(), path.display())]
    SecretExposed {
        /// The setting that names it.
        key: &'static str,
        /// The file.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
}

/// Where a value came from.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Origin {
    File(PathBuf),
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
            let before = error.span().and_then(|span| text.get(..span.start)).unwrap_or_default();
            let reason = error.message().replace('\n', ", ");
            ConfigError::Syntax { path: file.to_owned(), line: before.matches('\n').count() + 1, reason }
        })?;
        let mut settings = Settings { file: file.to_owned(), values: BTreeMap::new() };
        settings.add_table("", table)?;
        for (name, value) in environment {
            settings.add_variable(&name, value)?;
        }
        Ok(settings)
    }

    fn add_table(&mut self, prefix: &str, table: toml::Table) -> Result<(), ConfigError> {
        for (name, value) in table {
            let key = if prefix.is_empty() { name } else { format!("{prefix}.{name}") };
            match value {
                Value::Table(inner) if !inner.is_empty() => self.add_table(&key, inner)?,
                Value::Table(_) if is_section(&key) => {}
                Value::Table(_) if let Some(settings) = settings_below(&key) => {
                    let key = format!("[{key}] in {}", self.file.display());
                    let reason = format!("has no settings: it needs {} at least", settings[0]);
                    return Err(ConfigError::Invalid { key, reason });
                }
                Value::Table(_) => {
                    let nearest = format!("[{}]", nearest_section(&key));
                    let key = format!("[{key}] in {}", self.file.display());
                    return Err(ConfigError::UnknownKey { key, nearest });
                }
                value => self.add_file_value(&key, value)?,
            }
        }
        Ok(())
    }

    fn add_file_value(&mut self, key: &str, value: Value) -> Result<(), ConfigError> {
        let origin = Origin::File(self.file.clone());
        if is_section(key) {
            return Err(ConfigError::Invalid {
                key: written(key, &origin),
                reason: format!("is a section: write [{key}] and its settings below"),
            });
        }
        let Some(known) = known_key(key) else {
            return Err(ConfigError::UnknownKey { key: written(key, &origin), nearest: nearest_key(key) });
        };
        if is_secret(known) {
            return Err(ConfigError::SecretInFile { key: known, path: self.file.clone() });
        }
        self.values.insert(known, Setting { value, origin });
        Ok(())
    }

    fn add_variable(&mut self, name: &OsString, value: OsString) -> Result<(), ConfigError> {
        let Some(rest) = name.to_str().and_then(|name| name.strip_prefix(ENVIRONMENT_PREFIX)) else {
            return Ok(());
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
            Some(Setting { origin: Origin::File(path), .. }) => {
                Err(ConfigError::SecretInFile { key, path: path.clone() })
            }
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
        Origin::File(path) => format!("{key} in {}", path.display()),
        Origin::Environment => variable_of(key),
    }
}

fn known_key(key: &str) -> Option<&'static str> {
    let listed = KEYS.iter().copied().find(|known| *known == key);
    listed.or_else(|| split_named(key).map(|_| named_key(key)))
}

/// Keeps a key that the operator has named a part of as long as the others, which is as long as the process. A config is
/// read once, and has few such sections.
fn named_key(key: &str) -> &'static str {
    Box::leak(key.into())
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

fn sections() -> impl Iterator<Item = &'static str> {
    KEYS.iter().filter_map(|known| known.split_once('.')).map(|(section, _)| section)
}

fn is_section(key: &str) -> bool {
    sections().any(|section| section == key)
}

fn nearest_section(key: &str) -> &'static str {
    sections().min_by_key(|section| strsim::osa_distance(key, section)).expect("there are sections")
}

/// The known key that looks most like `key`. A key in the wrong section looks like the one of that name in the right one.
fn nearest_key(key: &str) -> String {
    let named = NAMED.iter().find_map(|(above, settings)| {
        let (name, setting) = key.strip_prefix(above)?.strip_prefix('.')?.split_once('.')?;
        Some((above, settings, name, setting))
    });
    if let Some((above, settings, name, setting)) = named {
        let name = name.to_ascii_lowercase().replace(|letter: char| !letter.is_ascii_alphanumeric(), "_");
        let known = settings.iter().min_by_key(|known| strsim::osa_distance(setting, known));
        return format!("{above}.{name}.{}", known.expect("there are settings"));
    }
    let name = |key: &str| key.rsplit('.').next().unwrap_or_default().to_owned();
    KEYS.iter()
        .copied()
        .min_by_key(|known| {
            let whole = strsim::osa_distance(key, known);
            let name_alone = strsim::osa_distance(&name(key), &name(known)) + 1;
            (whole.min(name_alone), whole)
        })
        .expect("there are settings")
        .to_owned()
}

impl fmt::Debug for Settings {
    /// Names the keys that are set, and no value: some of them are secrets.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.values.keys()).finish()
    }
}
