//! Where a pool is, as miners are told it (SV2 4.7).

use std::{fmt, str::FromStr};

use protocol::noise::AuthorityPublicKey;
use thiserror::Error;

/// What a URL of a pool begins with.
const SCHEME: &str = "stratum2+tcp://";

/// A pool's URL: `stratum2+tcp://host:port/AUTHORITY_KEY`. Scheme and key may be left out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PoolUrl {
    /// The host's name or IP address, without brackets.
    pub host: String,
    /// The port.
    pub port: u16,
    /// Whose certificate the server must have.
    pub authority: Option<AuthorityPublicKey>,
}

/// Reports that text is no pool's URL.
#[derive(Debug, Error)]
pub enum InvalidUrl {
    /// There is no host, or no port behind it.
    #[error("no host:port")]
    Place,
    /// The key is not one.
    #[error(transparent)]
    Key(#[from] protocol::noise::InvalidKey),
}

impl FromStr for PoolUrl {
    type Err = InvalidUrl;

    fn from_str(text: &str) -> Result<Self, InvalidUrl> {
        let rest = text.strip_prefix(SCHEME).unwrap_or(text);
        let (place, key) = rest.split_once('/').unwrap_or((rest, ""));
        let (host, port) = place.rsplit_once(':').ok_or(InvalidUrl::Place)?;
        let host = host.trim_start_matches('[').trim_end_matches(']');
        let port = port.parse().map_err(|_| InvalidUrl::Place)?;
        if host.is_empty() {
            return Err(InvalidUrl::Place);
        }
        let authority = if key.is_empty() { None } else { Some(key.parse()?) };
        Ok(Self { host: host.to_owned(), port, authority })
    }
}

impl fmt::Display for PoolUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (open, close) = if self.host.contains(':') { ("[", "]") } else { ("", "") };
        write!(f, "{SCHEME}{open}{}{close}:{}", self.host, self.port)?;
        self.authority.map_or(Ok(()), |key| write!(f, "/{key}"))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn url_is_read_as_it_is_written() {
        for text in [
            "stratum2+tcp://pool.example:34254/9bXiEd8boQVhq7WddEcERUL5tyyJVFYdU8th3HfbNXK3Yw6GRXh",
            "stratum2+tcp://[::1]:1",
        ] {
            assert_eq!(text.parse::<PoolUrl>().unwrap().to_string(), text);
        }
        let bare: PoolUrl = "127.0.0.1:3333".parse().unwrap();
        assert_eq!((bare.host.as_str(), bare.port, bare.authority), ("127.0.0.1", 3333, None));
    }

    #[test]
    fn what_is_no_url_is_refused() {
        for text in ["pool.example", ":1", "pool.example:port", "pool.example:1/key", "pool.example:99999"] {
            assert!(text.parse::<PoolUrl>().is_err(), "{text}");
        }
    }
}
