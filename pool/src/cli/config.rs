//! `adit config`: what the settings are, and where each value came from.

use clap::{Args, Subcommand};

use super::{
    exit,
    request::{CommonArguments, json},
    table::{Align, Table},
};
use crate::config::{
    Config,
    effective::EffectiveSettings,
    settings::Settings,
    shown::{ShownSettings, Source},
};

/// What to do with the configuration.
#[derive(Clone, Debug, Subcommand)]
pub enum ConfigCommand {
    /// Print the value of every setting and where it came from; secrets are not shown
    #[command(after_help = exit::example("adit config show --only-set"))]
    Show(ShowArguments),
}

/// What to print.
#[derive(Clone, Debug, Args)]
pub struct ShowArguments {
    /// What all commands take.
    #[command(flatten)]
    pub common: CommonArguments,
    /// Print only the settings that the file or the environment sets
    #[arg(long)]
    pub only_set: bool,
}

/// Reads the configuration and returns its values.
///
/// # Errors
///
/// When it is wrong.
pub fn show(arguments: &ShowArguments) -> anyhow::Result<String> {
    let file = &arguments.common.config.config;
    let settings = Settings::read(file, std::env::vars_os())?;
    let values = EffectiveSettings::of(&settings, &Config::from_settings(&settings)?);
    let mut shown = ShownSettings::of(file, &settings, &values);
    if arguments.only_set {
        shown.settings.retain(|setting| setting.source != Source::Default);
    }
    if arguments.common.json { json(&shown) } else { Ok(text(&shown)) }
}

pub(super) fn text(shown: &ShownSettings) -> String {
    let mut table = Table::new([("SETTING", Align::Left), ("VALUE", Align::Left), ("SOURCE", Align::Left)]);
    for setting in &shown.settings {
        table.push([setting.key.clone(), setting.text(), setting.origin()]);
    }
    format!("Settings of {}, with the environment over it\n\n{table}", shown.file)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::config::{
        effective::MASK,
        tests::{SMALLEST, settings},
    };

    #[test]
    fn each_value_has_its_source_and_secrets_have_no_text() {
        let environment = [
            ("ADIT__BITCOIND__COOKIE_FILE", ""),
            ("ADIT__BITCOIND__USER", "pool"),
            ("ADIT__BITCOIND__PASSWORD", "correct-horse"),
        ];
        let (dir, settings) = settings(SMALLEST, &environment);
        let config = Config::from_settings(&settings).unwrap();
        let values = EffectiveSettings::of(&settings, &config);
        let shown = ShownSettings::of(&dir.path().join("adit.toml"), &settings, &values);
        let text = text(&shown);
        let line = |key: &str| text.lines().find(|line| line.split(' ').next() == Some(key)).unwrap().to_owned();
        let cells = |key: &str| line(key).split_whitespace().map(str::to_owned).collect::<Vec<_>>();
        assert_eq!(cells("network"), ["network", "\"regtest\"", "line", "2"]);
        assert_eq!(cells("bitcoind.user"), ["bitcoind.user", "\"pool\"", "ADIT__BITCOIND__USER"]);
        assert_eq!(cells("bitcoind.password"), ["bitcoind.password", MASK, "ADIT__BITCOIND__PASSWORD"]);
        assert_eq!(cells("bitcoind.cookie_file"), ["bitcoind.cookie_file", "-", "default"]);
        assert_eq!(cells("payout.fee_bp"), ["payout.fee_bp", "100", "default"]);
        assert!(!text.contains("correct-horse"), "{text}");
        let json = serde_json::to_value(&shown).unwrap();
        let of = |key: &str| json["settings"].as_array().unwrap().iter().find(|it| it["key"] == key).unwrap().clone();
        assert_eq!(
            of("bitcoind.password"),
            serde_json::json!({
                "key": "bitcoind.password", "value": null, "secret": true,
                "source": "environment", "variable": "ADIT__BITCOIND__PASSWORD"
            })
        );
        assert_eq!(of("network")["line"], 2);
        assert_eq!(of("limits.unlimited_addresses")["value"], serde_json::json!(["127.0.0.0/8", "::1/128"]));
        assert!(!json.to_string().contains("correct-horse"));
    }
}
