//! Where the books are kept: `[store]`.

use std::{
    fmt,
    path::{Path, PathBuf},
};

use secrecy::{ExposeSecret, SecretString};

use super::{
    secret_file,
    settings::{ConfigError, Settings},
};

/// What the URL of an SQLite database begins with; a path follows.
const SQLITE: &str = "sqlite:";
/// What the URL of a PostgreSQL database begins with.
const POSTGRES: [&str; 2] = ["postgres://", "postgresql://"];

/// Where the books are kept.
#[derive(Clone, Debug)]
pub enum StoreConfig {
    /// In a file of this machine.
    Sqlite(PathBuf),
    /// On a server.
    Postgres(PostgresUrl),
}

/// The URL of a PostgreSQL database, with which comes a password.
#[derive(Clone, Debug)]
pub enum PostgresUrl {
    /// In a file of mode 0600.
    File {
        /// The setting that names it.
        key: &'static str,
        /// The file.
        path: PathBuf,
    },
    /// From the environment, or without a password from the config file.
    Given(SecretString),
}

impl StoreConfig {
    /// Reads `store.path`, `store.url` or `store.url_file`; with none of them the books are in `default`.
    pub(super) fn read(settings: &Settings, default: PathBuf) -> Result<Self, ConfigError> {
        let path = settings.path("store.path")?;
        let url = settings.text("store.url")?;
        let url_file = settings.path("store.url_file")?;
        match (path, url, url_file) {
            (None, None, None) => Ok(Self::Sqlite(default)),
            (Some(path), None, None) => Ok(Self::Sqlite(path)),
            (None, None, Some(path)) => Ok(Self::Postgres(PostgresUrl::File { key: "store.url_file", path })),
            (None, Some(url), None) => Self::given(settings, &url),
            (Some(_), Some(_), _) => {
                Err(settings.invalid("store.url", "excludes store.path: set the one or the other"))
            }
            (Some(_), None, Some(_)) => {
                Err(settings.invalid("store.url_file", "excludes store.path: set the one or the other"))
            }
            (None, Some(_), Some(_)) => {
                Err(settings.invalid("store.url_file", "excludes store.url: set the one or the other"))
            }
        }
    }

    fn given(settings: &Settings, url: &str) -> Result<Self, ConfigError> {
        if let Some(path) = url.strip_prefix(SQLITE).filter(|path| !path.is_empty()) {
            return Ok(Self::Sqlite(settings.resolve(path)));
        }
        if !is_postgres(url) {
            // Whatever it is, there may be a password in it: it is not repeated.
            let reason = "should be postgres://user@host/database, or sqlite: and a path";
            return Err(settings.invalid("store.url", reason));
        }
        if has_password(url) {
            settings.refuse_in_file("store.url")?;
        }
        Ok(Self::Postgres(PostgresUrl::Given(SecretString::from(url))))
    }
}

impl fmt::Display for StoreConfig {
    /// Says where the books are, without a password.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Sqlite(path) => path.display().fmt(f),
            Self::Postgres(PostgresUrl::File { path, .. }) => write!(f, "the database of {}", path.display()),
            Self::Postgres(PostgresUrl::Given(_)) => f.write_str("the database of store.url"),
        }
    }
}

impl PostgresUrl {
    /// The URL in a file that the command line names.
    pub fn in_file(key: &'static str, path: &Path) -> Self {
        Self::File { key, path: path.to_owned() }
    }

    /// Reads the URL.
    ///
    /// # Errors
    ///
    /// When its file cannot be read, is open to others, or holds something else.
    pub fn read(&self) -> Result<SecretString, ConfigError> {
        match self {
            Self::Given(url) => Ok(url.clone()),
            Self::File { key, path } => {
                let url = secret_file::read(key, path)?;
                if is_postgres(url.expose_secret()) {
                    return Ok(url);
                }
                let key = format!("{key} ({})", path.display());
                Err(ConfigError::Invalid { key, reason: "holds no URL like postgres://user@host/database".to_owned() })
            }
        }
    }
}

fn is_postgres(url: &str) -> bool {
    POSTGRES.iter().any(|scheme| url.starts_with(scheme))
}

/// Tells whether a URL names a password, before its host or among its parameters.
pub(super) fn has_password(url: &str) -> bool {
    password(url).is_some()
}

/// The password in a URL, as it is written there.
pub(super) fn password(url: &str) -> Option<SecretString> {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    let (before, parameters) = rest.split_once('?').unwrap_or((rest, ""));
    let user = before.rsplit_once('@').map_or("", |(user, _)| user);
    let of_user = user.split_once(':').map(|(_, password)| password);
    let given = of_user.or_else(|| parameters.split('&').find_map(|parameter| parameter.strip_prefix("password=")));
    given.map(SecretString::from)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn passwords_are_seen_wherever_they_stand() {
        for url in [
            "postgres://adit:secret@host/adit",
            "postgres://adit:se/cr@et@host/adit",
            "postgres://host/adit?user=adit&password=secret",
            "postgres://adit:@host",
        ] {
            assert!(has_password(url), "{url}");
        }
        for url in ["postgres://adit@host:5432/adit", "postgres://host/adit?sslmode=verify-full", "postgres:///adit"] {
            assert!(!has_password(url), "{url}");
        }
    }
}
