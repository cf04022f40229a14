//! The effective value of each setting, as texts and numbers again: for `adit config show`, for the reference of the
//! configuration, and to tell what a reload changes.
//!
//! They are taken from the checked configuration, not from what was written, so that a default is shown as it works.

use std::{collections::BTreeMap, path::Path, time::Duration};

use payouts::{payout::Approval, payout::FeePayer, scheme::network_fees::Average};
use toml::Value;

use super::{
    ApiConfig, Config, LimitsConfig, NodeCredentials, PayoutConfig, PostgresUrl, StoreConfig, StratumConfig,
    WalletConfig, network_name,
    settings::{KEYS, Settings, key_in},
    store::has_password,
};
use crate::mining::difficulty::Difficulty;

/// What stands for a secret.
pub const MASK: &str = "(secret)";

/// The value that a setting has.
#[derive(Clone, Debug, PartialEq)]
pub enum Effective {
    /// None: the setting has no default.
    Unset,
    /// This one.
    Is(Value),
    /// One that is never shown.
    Secret,
}

/// The values of all settings by their keys.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct EffectiveSettings(BTreeMap<&'static str, Effective>);

impl EffectiveSettings {
    /// Takes the values from a configuration and the settings that it was made of.
    pub fn of(settings: &Settings, config: &Config) -> Self {
        let mut all = Self::default();
        all.is("network", network_name(config.network));
        all.is("data_dir", path(&config.data_dir));
        all.is("log", config.log.as_str());
        all.add_nodes(config);
        all.add_stratum(&config.stratum);
        all.add_limits(&config.limits);
        all.add_api(settings, &config.api);
        all.is("accounts.open_registration", config.accounts.open_registration);
        all.add_payout(&config.payout);
        for list in &config.lists {
            let section = format!("screening.lists.{}", list.source.as_str().replace('-', "_"));
            all.is(key_in(&section, "format"), list.format.as_str());
            all.is(key_in(&section, "file"), path(&list.file));
            all.may_be(key_in(&section, "comments_file"), list.comments_file.as_deref().map(path));
            all.is(key_in(&section, "max_age_hours"), number(list.max_age.as_secs() / 3_600));
        }
        all.is("export.profile", config.export.profile_name.as_str());
        all.may_be("export.party_key_file", config.export.party_key_file.as_deref().map(path));
        all.add_store(settings, &config.store);
        all
    }

    /// The values in the order of the config file; those of sections that the operator has named at the end.
    pub fn iter(&self) -> impl Iterator<Item = (&'static str, &Effective)> {
        let place = |key: &str| KEYS.iter().position(|known| *known == key).unwrap_or(KEYS.len());
        let mut all: Vec<_> = self.0.iter().map(|(key, value)| (*key, value)).collect();
        all.sort_by_key(|(key, _)| place(key));
        all.into_iter()
    }

    /// The value of a setting; none of a key that is not a setting, or in a section that there is not.
    pub fn value(&self, key: &str) -> Option<&Effective> {
        self.0.get(key)
    }

    /// Takes over the values of other settings, of those keys that are `wanted`; also that there is none.
    pub fn take(&mut self, others: &Self, wanted: impl Fn(&str) -> bool) {
        self.0.retain(|key, _| !wanted(key));
        self.0.extend(others.0.iter().filter(|(key, _)| wanted(key)).map(|(key, value)| (*key, value.clone())));
    }

    fn is(&mut self, key: &'static str, value: impl Into<Value>) {
        self.0.insert(key, Effective::Is(value.into()));
    }

    fn may_be(&mut self, key: &'static str, value: Option<impl Into<Value>>) {
        self.0.insert(key, value.map_or(Effective::Unset, |value| Effective::Is(value.into())));
    }

    fn add_nodes(&mut self, config: &Config) {
        let node = &config.bitcoind;
        self.add_node("bitcoind", &node.url, &node.credentials);
        self.is("bitcoind.template_refresh_seconds", seconds(node.template_refresh));
        for backup in &node.backups {
            self.add_node(backup.section, &backup.url, &backup.credentials);
        }
    }

    fn add_node(&mut self, section: &str, url: &str, credentials: &NodeCredentials) {
        let (cookie, user, file, password) = match credentials {
            NodeCredentials::CookieFile { file, .. } => (Some(file), None, None, Effective::Unset),
            NodeCredentials::PasswordFile { user, file, .. } => (None, Some(user), Some(file), Effective::Unset),
            NodeCredentials::Password { user, .. } => (None, Some(user), None, Effective::Secret),
        };
        self.is(key_in(section, "url"), url);
        self.may_be(key_in(section, "cookie_file"), cookie.map(|file| path(file)));
        self.may_be(key_in(section, "user"), user.map(String::as_str));
        self.may_be(key_in(section, "password_file"), file.map(|file| path(file)));
        self.0.insert(key_in(section, "password"), password);
    }

    fn add_stratum(&mut self, stratum: &StratumConfig) {
        self.is("stratum.listen", stratum.listen.to_string());
        self.may_be("stratum.public_host", stratum.public_host.as_deref());
        self.is("stratum.authority_key_file", path(&stratum.authority_key_file));
        self.is("stratum.certificate_validity_hours", number(stratum.certificate_validity.as_secs() / 3_600));
        self.is("stratum.server_id", number(stratum.server_id));
        self.is("stratum.max_connections", number(stratum.max_connections));
        self.is("stratum.max_channels_per_connection", number(stratum.max_channels_per_connection));
        self.is("stratum.shares_per_minute", number(stratum.shares_per_minute));
        self.is("stratum.initial_difficulty", difficulty(stratum.initial_difficulty));
        self.is("stratum.min_difficulty", difficulty(stratum.min_difficulty));
        self.is("stratum.pool_tag", stratum.pool_tag.text());
        self.is("stratum.job_ahead", stratum.job_ahead);
        self.is("stratum.supported_extensions", numbers(&stratum.supported_extensions));
        self.is("stratum.required_extensions", numbers(&stratum.required_extensions));
    }

    fn add_limits(&mut self, limits: &LimitsConfig) {
        let connection = &limits.connection;
        let unlimited = limits.unlimited_addresses.iter().map(|network| Value::from(network.to_string()));
        self.is("limits.connections_per_address", number(limits.connections_per_address));
        self.is("limits.handshakes", number(limits.handshakes));
        self.is("limits.handshakes_per_address", number(limits.handshakes_per_address));
        self.is("limits.unlimited_addresses", unlimited.collect::<Vec<_>>());
        self.is("limits.messages_per_second", number(connection.messages_per_second));
        self.is("limits.bytes_per_second", number(connection.bytes_per_second));
        self.is("limits.frame_bytes", number(limits.frame_bytes));
        self.is("limits.idle_seconds", seconds(connection.idle));
        self.is("limits.shares_per_job", number(limits.shares_per_job));
        self.is("limits.invalid_shares", number(connection.invalid_shares));
        self.is("limits.ban_seconds", seconds(limits.ban));
    }

    fn add_api(&mut self, settings: &Settings, api: &ApiConfig) {
        let is_allowed = settings.boolean("api.allow_plaintext_beyond_loopback").ok().flatten();
        self.is("api.listen", api.listen.to_string());
        self.may_be("api.tls_certificate", api.tls.as_ref().map(|files| path(&files.certificate)));
        self.may_be("api.tls_key", api.tls.as_ref().map(|files| path(&files.key)));
        self.is("api.allow_plaintext_beyond_loopback", is_allowed.unwrap_or(false));
        self.is("api.requests_per_second", number(api.requests_per_second));
    }

    fn add_payout(&mut self, payout: &PayoutConfig) {
        let (file, external, change) = match &payout.wallet {
            WalletConfig::KeyFile(file) => (Some(path(file)), None, None),
            WalletConfig::WatchOnly(wallet) => (None, Some(wallet.external()), Some(wallet.internal())),
        };
        self.may_be("payout.wallet_key_file", file);
        self.may_be("payout.watch_only_descriptor", external);
        self.may_be("payout.watch_only_change_descriptor", change);
        self.is("payout.fee_bp", number(payout.fee_bp));
        self.is("payout.scheme", payout.scheme.to_string());
        self.is("payout.slice_fee_delta_sat", number(payout.slice_fee_delta.to_sat()));
        self.is("payout.pplns_window", number(payout.pplns_window));
        self.is("payout.keep_shares", number(payout.keep_shares));
        self.is("payout.credit_minutes", number(payout.credit_period.as_secs() / 60));
        self.is(
            "payout.fpps_average",
            match payout.fpps_average {
                Average::Plain => "plain",
                Average::Trimmed => "trimmed",
            },
        );
        self.is("payout.threshold_sat", number(payout.threshold.to_sat()));
        self.is("payout.schedule", payout.schedule.to_string());
        let (approval, above) = match payout.approval {
            Approval::None => ("none", None),
            Approval::Always => ("always", None),
            Approval::Above(amount) => ("above", Some(number(amount.to_sat()))),
        };
        self.is("payout.approval", approval);
        self.may_be("payout.approve_above_sat", above);
        self.is(
            "payout.network_fee",
            match payout.fee_payer {
                FeePayer::Pool => "pool",
                FeePayer::Miners => "miners",
            },
        );
        self.is("payout.max_outputs", number(payout.max_outputs));
        self.is("payout.fee_target_blocks", number(payout.fee_target_blocks));
        self.is("payout.min_fee_rate_sat_per_vb", number(payout.min_fee_rate_sat_per_vb));
        self.is("payout.fallback_fee_rate_sat_per_vb", number(payout.fallback_fee_rate_sat_per_vb));
        self.is("payout.max_fee_rate_sat_per_vb", number(payout.max_fee_rate_sat_per_vb));
    }

    fn add_store(&mut self, settings: &Settings, store: &StoreConfig) {
        let given = settings.text("store.url").ok().flatten();
        let url = match &given {
            None => Effective::Unset,
            Some(url) if has_password(url) => Effective::Secret,
            Some(url) => Effective::Is(Value::from(url.as_str())),
        };
        let (file, url_file) = match store {
            StoreConfig::Sqlite(file) if given.is_none() => (Some(path(file)), None),
            StoreConfig::Postgres(PostgresUrl::File { path: file, .. }) => (None, Some(path(file))),
            _ => (None, None),
        };
        self.may_be("store.path", file);
        self.0.insert("store.url", url);
        self.may_be("store.url_file", url_file);
    }
}

fn path(path: &Path) -> String {
    path.display().to_string()
}

/// A number as TOML has it. None of the settings comes near its bound.
fn number(number: impl TryInto<i64>) -> Value {
    Value::Integer(number.try_into().unwrap_or(i64::MAX))
}

fn numbers(numbers: &[u16]) -> Vec<Value> {
    numbers.iter().map(|each| number(*each)).collect()
}

fn seconds(duration: Duration) -> Value {
    number(duration.as_secs())
}

/// A difficulty as an operator would write it: fractions as powers of two.
fn difficulty(difficulty: Difficulty) -> Value {
    match difficulty.log2() {
        log2 @ 0..=30 => number(1_i64 << log2),
        log2 => Value::from(format!("2^{log2}")),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::fs;

    use super::*;
    use crate::config::NETWORKS;

    fn smallest(network: &str) -> String {
        format!("network = \"{network}\"\ndata_dir = \".\"\n[bitcoind]\nurl = \"http://x:1\"\ncookie_file = \"c\"\n")
    }

    #[test]
    fn every_setting_has_its_effective_value() {
        let (dir, settings) = crate::config::tests::settings(&smallest("regtest"), &[]);
        let all = EffectiveSettings::of(&settings, &Config::from_settings(&settings).unwrap());
        drop(dir);
        let shown: Vec<_> = all.iter().map(|(key, _)| key).collect();
        assert_eq!(shown, KEYS);
    }

    /// What is shown, written into a file, gives the same configuration.
    #[test]
    fn effective_values_are_valid_settings_with_the_same_effect() {
        for (network, _) in NETWORKS {
            let (dir, settings) = crate::config::tests::settings(&smallest(network), &[]);
            let config = Config::from_settings(&settings).unwrap();
            let all = EffectiveSettings::of(&settings, &config);
            let mut text = String::new();
            for (key, value) in all.iter() {
                if let Effective::Is(value) = value {
                    text += &format!("{key} = {value}\n");
                }
            }
            let file = dir.path().join("adit.toml");
            fs::write(&file, &text).unwrap();
            let again = Config::load_with(&file, []).unwrap();
            assert_eq!(format!("{again:?}"), format!("{config:?}"), "{text}");
        }
    }

    #[test]
    fn secrets_have_no_value() {
        let environment = [
            ("ADIT__BITCOIND__COOKIE_FILE", ""),
            ("ADIT__BITCOIND__USER", "pool"),
            ("ADIT__BITCOIND__PASSWORD", "correct-horse"),
            ("ADIT__STORE__URL", "postgres://adit:battery-staple@host/adit"),
        ];
        let (_dir, settings) = crate::config::tests::settings(&smallest("signet"), &environment);
        let all = EffectiveSettings::of(&settings, &Config::from_settings(&settings).unwrap());
        for key in ["bitcoind.password", "store.url"] {
            assert_eq!(all.value(key), Some(&Effective::Secret), "{key}");
        }
        let shown = format!("{all:?}");
        assert!(!shown.contains("correct-horse") && !shown.contains("battery-staple"), "{shown}");
    }
}
