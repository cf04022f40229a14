//! How the nodes are reached: `[bitcoind]` and `[bitcoind.backup.NAME]`.

use std::{path::PathBuf, time::Duration};

use secrecy::SecretString;

use super::{
    secret_file,
    settings::{ConfigError, Settings, key_in},
};

/// Most nodes beside the preferred one. A found block goes to all of them.
const MAX_BACKUPS: usize = 8;

/// How the node is reached.
#[derive(Clone, Debug)]
pub struct BitcoindConfig {
    /// `http://host:port`.
    pub url: String,
    /// How the pool proves to the node who it is.
    pub credentials: NodeCredentials,
    /// A template lives this long at most before a fresh one takes its place.
    pub template_refresh: Duration,
    /// The nodes that take its place when it fails, the preferred one first.
    pub backups: Vec<BackupConfig>,
}

/// How a further node is reached.
#[derive(Clone, Debug)]
pub struct BackupConfig {
    /// Its section, by which it is known in the log.
    pub section: &'static str,
    /// `http://host:port`.
    pub url: String,
    /// How the pool proves to the node who it is.
    pub credentials: NodeCredentials,
}

/// How the pool proves to the node who it is.
#[derive(Clone, Debug)]
pub enum NodeCredentials {
    /// The cookie that bitcoind writes anew at each start.
    CookieFile {
        /// The setting that names it.
        key: &'static str,
        /// The file.
        file: PathBuf,
    },
    /// `rpcuser` or `rpcauth`, with the password in a file of mode 0600.
    PasswordFile {
        /// The setting that names it.
        key: &'static str,
        /// The user.
        user: String,
        /// The file.
        file: PathBuf,
    },
    /// `rpcuser` or `rpcauth`, with the password from the environment.
    Password {
        /// The user.
        user: String,
        /// The password.
        password: SecretString,
    },
}

impl NodeCredentials {
    /// Reads user and password anew, so that a node's next cookie is found without a restart of the pool.
    ///
    /// # Errors
    ///
    /// When their file cannot be read.
    pub fn read(&self) -> Result<(String, SecretString), ConfigError> {
        match self {
            NodeCredentials::CookieFile { key, file } => {
                let cookie = std::fs::read_to_string(file).map_err(|source| ConfigError::UnreadableFile {
                    key,
                    path: file.clone(),
                    source,
                })?;
                let (user, password) = cookie.trim().split_once(':').ok_or_else(|| ConfigError::Invalid {
                    key: (*key).to_owned(),
                    reason: format!("{} is not a cookie of bitcoind", file.display()),
                })?;
                Ok((user.to_owned(), SecretString::from(password)))
            }
            NodeCredentials::PasswordFile { key, user, file } => Ok((user.clone(), secret_file::read(key, file)?)),
            NodeCredentials::Password { user, password } => Ok((user.clone(), password.clone())),
        }
    }
}

/// The section of the node that is preferred.
pub(super) const MAIN_NODE: &str = "bitcoind";

/// Reads the sections.
pub(super) fn read(settings: &Settings) -> Result<BitcoindConfig, ConfigError> {
    let (url, credentials) = node(settings, MAIN_NODE)?;
    let refresh = settings.integer("bitcoind.template_refresh_seconds", 5..=30)?.unwrap_or(30);
    let backups = settings.backup_sections().into_iter().map(|section| {
        let (url, credentials) = node(settings, section)?;
        Ok(BackupConfig { section, url, credentials })
    });
    let backups: Vec<BackupConfig> = backups.collect::<Result<_, ConfigError>>()?;
    if let Some(surplus) = backups.get(MAX_BACKUPS) {
        let reason = format!("is one backup too many: there may be {MAX_BACKUPS}");
        return Err(settings.invalid(key_in(surplus.section, "url"), reason));
    }
    Ok(BitcoindConfig { url, credentials, template_refresh: Duration::from_secs(refresh), backups })
}

/// Reads how the node of a section is reached.
fn node(settings: &Settings, section: &str) -> Result<(String, NodeCredentials), ConfigError> {
    let key = key_in(section, "url");
    let url = settings.text(key)?.ok_or_else(|| settings.missing(key))?;
    // Encryption on the way to the node is a tunnel's work: bitcoind itself speaks plain HTTP only.
    let Some(authority) = url.strip_prefix("http://").map(|rest| rest.trim_end_matches('/')) else {
        return Err(settings.invalid(key, format!("{url} does not start with http://")));
    };
    if authority.is_empty() || authority.contains('@') {
        let reason = "should be http://host:port; user and password have their own settings";
        return Err(settings.invalid(key, reason));
    }
    Ok((url, credentials(settings, section)?))
}

fn credentials(settings: &Settings, section: &str) -> Result<NodeCredentials, ConfigError> {
    let keys = ["cookie_file", "user", "password_file", "password"].map(|setting| key_in(section, setting));
    let [cookie_key, user_key, file_key, password_key] = keys;
    let cookie = settings.path(cookie_key)?;
    let user = settings.text(user_key)?;
    let file = settings.path(file_key)?;
    let password = settings.text(password_key)?.map(SecretString::from);
    match (cookie, user, file, password) {
        (Some(file), None, None, None) => Ok(NodeCredentials::CookieFile { key: cookie_key, file }),
        (None, Some(user), Some(file), None) => Ok(NodeCredentials::PasswordFile { key: file_key, user, file }),
        (None, Some(user), None, Some(password)) => Ok(NodeCredentials::Password { user, password }),
        (None, None, None, None) => Err(settings.missing(cookie_key)),
        (None, Some(_), None, None) => Err(settings.missing(file_key)),
        (None, None, _, _) => Err(settings.missing(user_key)),
        (None, Some(_), Some(_), Some(_)) => {
            Err(settings.invalid(password_key, format!("and {file_key} exclude each other")))
        }
        (Some(_), ..) => {
            let reason = format!("excludes {user_key} and its password: set the one or the other");
            Err(settings.invalid(cookie_key, reason))
        }
    }
}
