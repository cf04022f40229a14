//! The pool's luck, as pages tell it. Safe in HTML as it stands.

use askama::{Template, filters::HtmlSafe};

use super::{Pages, show::Percent};
use crate::operations::{
    Refusal,
    luck::{LuckReport, LuckStretch, show_luck},
};

/// What blocks have taken, beside what they take on average.
#[derive(Clone, Debug, Template)]
#[template(path = "luck.html")]
pub(super) struct Luck {
    /// What the round has taken so far, of what a block takes.
    pub(super) effort: Option<Percent>,
    lines: Vec<Line>,
}

impl HtmlSafe for Luck {}

/// Luck over some blocks.
#[derive(Clone, Debug)]
struct Line {
    over: &'static str,
    blocks: u32,
    luck: Percent,
}

impl Luck {
    /// Reads what it is now.
    ///
    /// # Errors
    ///
    /// When the store cannot be read.
    pub(super) async fn now(pages: &Pages, now_ms: i64) -> Result<Luck, Refusal> {
        let nbits = pages.live.newest().map(|seen| seen.template.nbits);
        let LuckReport { round_effort, stretches } = show_luck(&*pages.store, nbits, now_ms).await?;
        Ok(Luck { effort: round_effort.map(Percent), lines: stretches.iter().filter_map(Line::of).collect() })
    }
}

impl Line {
    /// Nothing without blocks.
    fn of(stretch: &LuckStretch) -> Option<Line> {
        let over = match stretch.over {
            "last" => "the newest block",
            "last_10" => "the last 10 blocks",
            "last_100" => "the last 100 blocks",
            "7d" => "the last 7 days",
            _ => "the last 30 days",
        };
        Some(Line { over, blocks: stretch.blocks, luck: Percent(stretch.luck?) })
    }
}
