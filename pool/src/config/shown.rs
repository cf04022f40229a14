//! Settings as operators see them: the value in force of each, and where it came from. Secrets have no text.

use std::path::Path;

use serde::{Deserialize, Serialize};

use super::{
    effective::{Effective, EffectiveSettings, MASK},
    settings::{Origin, Settings, variable_of},
};

/// One setting as it is shown.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct ShownSetting {
    /// The key.
    pub key: String,
    /// The value; nothing if the setting has none, or must not be shown.
    pub value: Option<serde_json::Value>,
    /// Whether the value is a secret.
    pub secret: bool,
    /// Where it came from.
    pub source: Source,
    /// The line of the config file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub line: Option<usize>,
    /// The variable of the environment.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub variable: Option<String>,
}

/// Where a value came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Source {
    /// Nobody has set it.
    Default,
    /// The config file.
    File,
    /// The environment.
    Environment,
}

/// All settings as they are shown.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct ShownSettings {
    /// The config file.
    pub file: String,
    /// The settings, in the order of the config file.
    pub settings: Vec<ShownSetting>,
}

impl ShownSetting {
    /// Returns the section that it stands in; nothing for the general ones.
    pub fn section(&self) -> &str {
        self.key.rsplit_once('.').map_or("", |(section, _)| section)
    }

    /// Returns the value as the config file would have it, the mask of a secret, or a dash.
    pub fn text(&self) -> String {
        match &self.value {
            Some(value) => toml::Value::try_from(value).map_or_else(|_| value.to_string(), |value| value.to_string()),
            None if self.secret => MASK.to_owned(),
            None => "-".to_owned(),
        }
    }

    /// Returns where the value came from, in words.
    pub fn origin(&self) -> String {
        match (self.line, &self.variable) {
            (Some(line), _) => format!("line {line}"),
            (None, Some(variable)) => variable.clone(),
            (None, None) => "default".to_owned(),
        }
    }
}

impl ShownSettings {
    /// Says of each value where the settings have it from.
    pub fn of(file: &Path, settings: &Settings, values: &EffectiveSettings) -> ShownSettings {
        let shown = values.iter().map(|(key, value)| {
            let (source, line, variable) = match settings.origin(key) {
                None => (Source::Default, None, None),
                Some(Origin::File { line, .. }) => (Source::File, Some(*line), None),
                Some(Origin::Environment) => (Source::Environment, None, Some(variable_of(key))),
            };
            let secret = *value == Effective::Secret;
            let value = match value {
                Effective::Is(value) => serde_json::to_value(value).ok(),
                Effective::Unset | Effective::Secret => None,
            };
            ShownSetting { key: key.to_owned(), value, secret, source, line, variable }
        });
        ShownSettings { file: file.display().to_string(), settings: shown.collect() }
    }

    /// Returns the value of a setting, if it has one that may be shown.
    pub fn value(&self, key: &str) -> Option<&serde_json::Value> {
        self.settings.iter().find(|setting| setting.key == key)?.value.as_ref()
    }

    /// Takes over those of other settings whose keys are `wanted`, and has no others of these.
    pub fn take(&mut self, others: ShownSettings, wanted: impl Fn(&str) -> bool) {
        let mut before: Vec<_> = std::mem::take(&mut self.settings);
        before.retain(|setting| !wanted(&setting.key));
        // In the order of the new ones; what these do not have stays where its section is.
        let mut merged: Vec<ShownSetting> = Vec::with_capacity(others.settings.len());
        for setting in others.settings {
            match before.iter().position(|known| known.key == setting.key) {
                Some(at) => merged.push(before.remove(at)),
                None if wanted(&setting.key) => merged.push(setting),
                None => {}
            }
        }
        merged.extend(before);
        self.settings = merged;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(values: &[(&str, i64)]) -> ShownSettings {
        let setting = |(key, value): &(&str, i64)| ShownSetting {
            key: (*key).to_owned(),
            value: Some((*value).into()),
            secret: false,
            source: Source::File,
            line: Some(1),
            variable: None,
        };
        ShownSettings { file: "adit.toml".to_owned(), settings: values.iter().map(setting).collect() }
    }

    #[test]
    fn only_wanted_settings_are_taken_over_in_their_order() {
        let mut shown = settings(&[("a", 1), ("b", 1), ("live.gone", 1), ("gone", 1)]);
        let others = settings(&[("a", 2), ("live.new", 2), ("b", 2), ("new", 2)]);
        shown.take(others, |key| key == "b" || key.starts_with("live."));
        assert_eq!(shown, settings(&[("a", 1), ("live.new", 2), ("b", 2), ("gone", 1)]));
    }

    #[test]
    fn values_are_shown_as_the_file_would_have_them() {
        let with = |value, secret| ShownSetting { value, secret, ..settings(&[("a", 1)]).settings.remove(0) }.text();
        assert_eq!(with(Some("x".into()), false), "\"x\"");
        assert_eq!(with(Some(serde_json::json!(["a", "b"])), false), "[\"a\", \"b\"]");
        assert_eq!((with(None, true), with(None, false)), (MASK.to_owned(), "-".to_owned()));
    }
}
