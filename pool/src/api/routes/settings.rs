//! The settings in force, what a reload would change, and the reload itself.

use axum::{Extension, extract::State};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{answered, unexpected};
use crate::{
    api::{auth::Caller, extract::Query, problem::Problem},
    config::{reference, shown::ShownSetting},
    operations::{Desk, Outcome, RefusalCode, Request},
    reload::ReloadReport,
};

/// The settings in force.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub(super) struct SettingsReport {
    /// The config file.
    file: String,
    /// The settings, in the order of the config file.
    settings: Vec<SettingReport>,
    /// What a reload would change; nothing if the file is wrong.
    changes: Option<ReloadReport>,
    /// What is wrong with the file, so that a reload would change nothing.
    problem: Option<String>,
}

/// A setting.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub(super) struct SettingReport {
    /// The setting with its value in force.
    #[serde(flatten)]
    setting: ShownSetting,
    /// What it does.
    meaning: &'static str,
    /// When a change of it has its effect.
    effect: &'static str,
}

impl From<ShownSetting> for SettingReport {
    fn from(setting: ShownSetting) -> SettingReport {
        let (meaning, effect) = reference::find(&setting.key).map_or(("", ""), |it| (it.meaning, it.effect.as_str()));
        SettingReport { setting, meaning, effect }
    }
}

/// The value of each setting and where it came from, without secrets, and what a reload of the file would change.
#[utoipa::path(
    get,
    path = "/api/v1/settings",
    operation_id = "show_settings",
    tag = "settings",
    responses((status = OK, description = "The settings", body = SettingsReport))
)]
pub(super) async fn show(
    State(desk): State<Desk>,
    Extension(caller): Extension<Caller>,
) -> Result<axum::Json<SettingsReport>, Problem> {
    let shown = match desk.ask(&caller.actor(), Request::Settings).await? {
        Outcome::Settings(shown) => shown,
        other => return Err(unexpected(&other)),
    };
    let (changes, problem) = match desk.ask(&caller.actor(), Request::Reload { dry_run: true }).await {
        Ok(Outcome::Reloaded(report)) => (Some(report), None),
        Ok(other) => return Err(unexpected(&other)),
        Err(refusal) if refusal.code == RefusalCode::Invalid => (None, Some(refusal.reason)),
        Err(refusal) => return Err(refusal.into()),
    };
    let settings = shown.settings.into_iter().map(SettingReport::from).collect();
    Ok(axum::Json(SettingsReport { file: shown.file, settings, changes, problem }))
}

/// How to reload.
#[derive(Clone, Debug, Default, Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct Reload {
    /// Only say what would change.
    #[serde(default)]
    dry_run: bool,
}

/// Reads the config file again, and applies what can change while the pool runs.
#[utoipa::path(
    post,
    path = "/api/v1/settings/reload",
    operation_id = "reload_settings",
    tag = "settings",
    params(Reload),
    responses((status = OK, description = "What changed, and what needs a restart", body = ReloadReport))
)]
pub(super) async fn reload(
    State(desk): State<Desk>,
    Extension(caller): Extension<Caller>,
    Query(Reload { dry_run }): Query<Reload>,
) -> Result<axum::Json<ReloadReport>, Problem> {
    answered!(desk.ask(&caller.actor(), Request::Reload { dry_run }).await?, Outcome::Reloaded)
}
