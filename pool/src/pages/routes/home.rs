//! The pool at a glance: whether it is well, what it does, what it found.

use askama::Template;
use bitcoin::Target;
use payouts::{books::BlockPhase, history::Subject, store::Store};

use super::now_ms;
use crate::{
    api::{
        counted::{Counted, Judged},
        health::{self, HealthItem, State},
    },
    operations::{
        Refusal,
        workers::{WorkersUp, workers_up},
    },
    pages::{
        Pages,
        asked::{Asked, Shown, page},
        chart::Chart,
        frame::Frame,
        luck::Luck,
        show::{Ago, Btc, Ends, Percent, Span},
    },
};

/// Blocks that are listed.
const NEWEST: u32 = 5;

#[derive(Template)]
#[template(path = "home.html")]
struct Home {
    frame: Frame,
    up: Span,
    /// What is well, and what is not or may not be.
    well: Vec<HealthItem>,
    unwell: Vec<HealthItem>,
    chart: Chart,
    workers: WorkersUp,
    luck: Luck,
    /// How long a block takes on average.
    block_takes: Option<Span>,
    accepted: u64,
    refused: Vec<Judged>,
    refused_part: Percent,
    connections: u64,
    channels: u64,
    template: Option<TemplateView>,
    blocks: Vec<BlockLine>,
}

struct TemplateView {
    height: u32,
    value: Btc,
    fees: Btc,
    transactions: usize,
    prev_hash: Ends,
}

struct BlockLine {
    hash: String,
    height: u32,
    found: Ago,
    value: Btc,
    phase: &'static str,
}

/// The pool at a glance.
pub(in crate::pages) async fn show(asked: Asked) -> Shown {
    let pages = &asked.pages;
    let (store, now_ms) = (&*pages.store, now_ms());
    let counted = Counted::now(&pages.live.metrics);
    let (accepted, refused) = (counted.accepted(), counted.refused());
    let wrong: u64 = refused.iter().map(|judged| judged.count).sum();
    let health = health::look(&pages.live, store, &counted).await;
    let (well, unwell) = health.into_iter().partition(|item| item.state == State::Well);
    let chart = Chart::new(pages, Subject::Pool, "/history.json").await?;
    page(&Home {
        up: Span((now_ms - pages.live.started_at_ms).max(0) / 1_000),
        well,
        unwell,
        block_takes: block_takes(pages, &chart),
        chart,
        workers: workers_up(store, None).await?,
        luck: Luck::now(pages, now_ms).await?,
        accepted,
        refused,
        refused_part: Percent(wrong as f64 / (accepted + wrong).max(1) as f64),
        connections: counted.value("adit_connections").unwrap_or(0.0) as u64,
        channels: counted.of_label("adit_channels", "kind").iter().map(|(_, count)| *count as u64).sum(),
        template: template(pages),
        blocks: blocks(store, now_ms).await?,
        frame: asked.frame("/", "Pool"),
    })
}

fn template(pages: &Pages) -> Option<TemplateView> {
    let template = pages.live.newest()?.template;
    let (value, subsidy) = (template.coinbase_value.to_sat(), template.subsidy().to_sat());
    Some(TemplateView {
        height: template.height,
        value: Btc(value.into()),
        fees: Btc(value.saturating_sub(subsidy).into()),
        transactions: template.transactions.len(),
        prev_hash: Ends(template.prev_hash.to_string()),
    })
}

/// How long the pool takes for a block on average, at the hash rate of the last hour.
fn block_takes(pages: &Pages, chart: &Chart) -> Option<Span> {
    let target = Target::from_compact(pages.live.newest()?.template.nbits);
    let rate = chart.rows().iter().find(|row| row.span == "1h")?.rate.0;
    // A share of difficulty 1 takes 2^32 hashes.
    (rate > 0.0).then(|| Span((target.difficulty_float() * 2f64.powi(32) / rate) as i64))
}

async fn blocks(store: &dyn Store, now_ms: i64) -> Result<Vec<BlockLine>, Refusal> {
    let newest = store.blocks(NEWEST).await?;
    let lines = newest.iter().map(|block| BlockLine {
        hash: block.found.hash.to_string(),
        height: block.found.height,
        found: Ago { at_ms: block.found.found_at_ms, now_ms },
        value: Btc(block.found.value.to_sat().into()),
        phase: phase(block.state.phase),
    });
    Ok(lines.collect())
}

/// Returns how a block stands, as people call it.
pub(super) fn phase(phase: BlockPhase) -> &'static str {
    match phase {
        BlockPhase::Immature => "immature",
        BlockPhase::Matured => "matured",
        BlockPhase::Orphaned => "orphaned",
    }
}
