//! Keys and passwords: the authority's, the wallet's, and those that everybody knows.

use std::time::Duration;

use anyhow::ensure;
use bitcoin::Network;

use super::{CheckId, Finding};
use crate::config::Config;

/// A certificate of less is expired for a device whose clock is a day wrong.
const SHORTEST_VALIDITY: Duration = Duration::from_secs(24 * 3_600);

pub(super) fn check(config: &Config) -> Vec<Finding> {
    vec![authority(config), certificate(config.stratum.certificate_validity), password(config), wallet(config)]
}

fn authority(config: &Config) -> Finding {
    match config.stratum.authority_key() {
        Ok(key) => Finding::ok(CheckId::AuthorityKey, format!("miners know the pool by {}", key.public_key())),
        Err(error) => Finding::error(CheckId::AuthorityKey, format!("{:#}", anyhow::Error::from(error))),
    }
}

fn certificate(validity: Duration) -> Finding {
    let message = format!("valid for {} h, and renewed in time", validity.as_secs() / 3_600);
    match validity < SHORTEST_VALIDITY {
        true => Finding::warning(CheckId::Certificate, format!("{message}: devices with a wrong clock refuse it")),
        false => Finding::ok(CheckId::Certificate, message),
    }
}

fn password(config: &Config) -> Finding {
    match config.refuse_sample_passwords() {
        Ok(()) => Finding::ok(CheckId::Password, "none that stands in examples"),
        // Where coins are worth something, the pool does not start with it.
        Err(error) if config.network == Network::Bitcoin => Finding::error(CheckId::Password, error.to_string()),
        Err(error) => Finding::warning(CheckId::Password, error.to_string()),
    }
}

fn wallet(config: &Config) -> Finding {
    let address = || -> anyhow::Result<String> {
        let address = config.payout.wallet.read(config.network)?.coinbase_address()?;
        ensure!(
            address.as_unchecked().is_valid_for_network(config.network),
            "{address} is not an address of this network"
        );
        Ok(address.to_string())
    };
    match address() {
        Ok(address) => Finding::ok(CheckId::Wallet, format!("coinbases pay {address}")),
        Err(error) => Finding::error(CheckId::Wallet, format!("{error:#}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::Severity;

    #[test]
    fn certificate_of_less_than_a_day_is_a_warning() {
        assert_eq!(certificate(SHORTEST_VALIDITY).severity, Severity::Ok);
        assert_eq!(certificate(SHORTEST_VALIDITY - Duration::from_secs(1)).severity, Severity::Warning);
    }
}
