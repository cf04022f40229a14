//! Where a pool is, as text.

use std::fmt;
use std::str::FromStr;

use protocol::noise::AuthorityPublicKey;

use super::MinerError;

/// Where a pool is: `stratum2+tcp://host:port/AUTHORITY_KEY`, or only `host:port`, whose server is then believed.
#[derive(Clone, Debug)]
pub struct PoolAddress {
    /// The host's name or IP address.
    pub host: String,
    /// The port.
    pub port: u16,
    /// The key that must have signed the server's certificate.
    pub authority: Option<AuthorityPublicKey>,
}

impl FromStr for PoolAddress {
    type Err = MinerError;

    fn from_str(text: &str) -> Result<Self, MinerError> {
        let invalid = |why: &str| MinerError::Address(format!("{text}: {why}"));
        let rest = text.strip_prefix("stratum2+tcp://").unwrap_or(text);
        let (server, key) = rest.split_once('/').unwrap_or((rest, ""));
        let (host, port) = server.rsplit_once(':').ok_or_else(|| invalid("no port"))?;
        let port = port.parse().map_err(|_| invalid("the port is no number"))?;
        let authority = if key.is_empty() {
            None
        } else {
            Some(key.parse().map_err(|error| invalid(&format!("the authority key: {error}")))?)
        };
        Ok(Self { host: host.trim_matches(['[', ']']).into(), port, authority })
    }
}

impl fmt::Display for PoolAddress {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        // An IPv6 address needs brackets to be told from the port.
        let host = if self.host.contains(':') { format!("[{}]", self.host) } else { self.host.clone() };
        write!(formatter, "stratum2+tcp://{host}:{}/", self.port)?;
        self.authority.as_ref().map_or(Ok(()), |key| write!(formatter, "{key}"))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn pool_address_is_read_with_and_without_scheme_and_key() {
        // The example of SV2 4.7.1.
        let key = "9bXiEd8boQVhq7WddEcERUL5tyyJVFYdU8th3HfbNXK3Yw6GRXh";
        let address: PoolAddress = format!("stratum2+tcp://pool.example:3333/{key}").parse().unwrap();
        assert_eq!((address.host.as_str(), address.port), ("pool.example", 3333));
        assert_eq!(address.authority.as_ref().unwrap().to_string(), key);
        assert_eq!(address.to_string(), format!("stratum2+tcp://pool.example:3333/{key}"));

        let bare: PoolAddress = "[::1]:34255".parse().unwrap();
        assert_eq!((bare.host.as_str(), bare.port), ("::1", 34255));
        assert!(bare.authority.is_none());
        assert_eq!(bare.to_string(), "stratum2+tcp://[::1]:34255/");
    }

    #[test]
    fn pool_address_without_port_or_with_a_wrong_key_is_refused() {
        for wrong in ["stratum2+tcp://pool.example", "pool.example:port", "pool.example:1/not-a-key"] {
            assert!(matches!(wrong.parse::<PoolAddress>(), Err(MinerError::Address(_))), "{wrong}");
        }
    }
}
