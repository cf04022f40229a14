//! The settings in force, what a reload would change, and the reload.

use askama::Template;
use axum::response::Response;

use super::expected;
use crate::{
    config::{
        reference,
        shown::{ShownSetting, Source},
    },
    operations::{Outcome, Refusal, RefusalCode, Request},
    pages::{
        asked::{Asked, Shown, page},
        frame::{Frame, capitalised},
    },
    reload::{Change, ReloadReport},
};

#[derive(Template)]
#[template(path = "settings.html")]
struct Settings {
    frame: Frame,
    /// Why they cannot be told.
    problem: Option<String>,
    file: String,
    sections: Vec<Section>,
    pending: Pending,
    may_reload: bool,
}

/// What a reload would do.
#[derive(Default)]
struct Pending {
    applied: Vec<Change>,
    needs_restart: Vec<Change>,
    /// What is wrong with the file.
    problem: Option<String>,
}

struct Section {
    /// Empty for the general settings.
    name: String,
    id: String,
    rows: Vec<Row>,
}

struct Row {
    name: String,
    value: String,
    is_set: bool,
    origin: String,
    effect: &'static str,
    meaning: &'static str,
}

impl From<ReloadReport> for Pending {
    fn from(ReloadReport { applied, needs_restart, .. }: ReloadReport) -> Pending {
        Pending { applied, needs_restart, problem: None }
    }
}

impl From<&ShownSetting> for Row {
    fn from(setting: &ShownSetting) -> Row {
        let (meaning, effect) = reference::find(&setting.key).map_or(("", ""), |it| (it.meaning, it.effect.as_str()));
        Row {
            name: setting.key.rsplit('.').next().unwrap_or_default().to_owned(),
            value: setting.text(),
            is_set: setting.source != Source::Default,
            origin: setting.origin(),
            effect,
            meaning,
        }
    }
}

/// The settings in force.
pub(in crate::pages) async fn show(asked: Asked) -> Shown {
    let (mut problem, mut file, mut sections) = (None, String::new(), Vec::new());
    let mut pending = Pending::default();
    match asked.ask(Request::Settings).await {
        Ok(Outcome::Settings(settings)) => {
            sections = by_section(&settings.settings);
            file = settings.file;
            pending = self::pending(&asked).await?;
        }
        Ok(_) => {}
        Err(refusal) => problem = Some(capitalised(&refusal.reason)),
    }
    let frame = asked.frame("/settings", "Settings").live_if(false);
    let may_reload = asked.viewer.may_post("/settings/reload");
    page(&Settings { frame, problem, file, sections, pending, may_reload })
}

async fn pending(asked: &Asked) -> Result<Pending, Refusal> {
    match asked.ask(Request::Reload { dry_run: true }).await {
        Ok(Outcome::Reloaded(report)) => Ok(report.into()),
        Ok(_) => Ok(Pending::default()),
        Err(refusal) if refusal.code == RefusalCode::Invalid => {
            Ok(Pending { problem: Some(capitalised(&refusal.reason)), ..Pending::default() })
        }
        Err(refusal) => Err(refusal),
    }
}

fn by_section(settings: &[ShownSetting]) -> Vec<Section> {
    let mut sections: Vec<Section> = Vec::new();
    for setting in settings {
        let name = setting.section();
        match sections.iter_mut().find(|section| section.name == name) {
            Some(section) => section.rows.push(setting.into()),
            None => {
                let id = format!("section-{}", name.replace('.', "-"));
                sections.push(Section { name: name.to_owned(), id, rows: vec![setting.into()] });
            }
        }
    }
    sections
}

/// Reads the config file again.
pub(in crate::pages) async fn reload(asked: Asked) -> Response {
    let reloaded = async {
        let ReloadReport { applied, needs_restart, .. } =
            expected!(asked.ask(Request::Reload { dry_run: false }).await?, Outcome::Reloaded)?;
        let mut said = match applied.len() {
            0 => "No setting changed.".to_owned(),
            1 => "1 setting changed.".to_owned(),
            count => format!("{count} settings changed."),
        };
        if !needs_restart.is_empty() {
            said += &format!(" {} wait for a restart.", needs_restart.len());
        }
        Ok(said)
    };
    asked.told("/settings", reloaded).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_stand_in_the_sections_of_the_file() {
        let setting = |key: &str| ShownSetting {
            key: key.to_owned(),
            value: None,
            secret: true,
            source: Source::Environment,
            line: None,
            variable: Some("X".to_owned()),
        };
        let all = ["network", "bitcoind.password", "log", "screening.lists.own.file"].map(setting);
        let sections = by_section(&all);
        let said: Vec<_> = sections.iter().map(|section| (section.name.as_str(), section.rows.len())).collect();
        assert_eq!(said, [("", 2), ("bitcoind", 1), ("screening.lists.own", 1)]);
        let row = &sections[1].rows[0];
        assert_eq!((row.name.as_str(), row.value.as_str(), row.is_set), ("password", "(secret)", true));
        assert!(!row.meaning.is_empty() && row.effect == "restart");
    }
}
