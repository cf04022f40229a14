//! The blocks that the pool has found, and whom each credits.

use std::collections::HashMap;

use askama::Template;
use axum::{
    Extension,
    extract::{Path, RawQuery, State},
    response::Response,
};
use bitcoin::BlockHash;
use payouts::books::BlockRecord;

use super::{PAGE, addresses, home::phase, now_ms};
use crate::{
    operations::{Refusal, RefusalCode, luck::newest_rounds},
    pages::{
        Pages,
        fields::Fields,
        frame::{Frame, shown},
        guard::Viewer,
        luck::Luck,
        show::{Ago, Btc, Ends, Number, Percent, When},
    },
};

#[derive(Template)]
#[template(path = "blocks.html")]
struct Blocks {
    frame: Frame,
    blocks: Vec<BlockLine>,
    /// On the first page.
    luck: Option<Luck>,
    next: Option<String>,
}

struct BlockLine {
    hash: String,
    ends: Ends,
    height: u32,
    found: Ago,
    finder: String,
    finder_ends: Ends,
    value: Btc,
    fees: Btc,
    effort: Option<Percent>,
    phase: &'static str,
}

/// Rounds whose efforts are told: pages of older blocks leave them out.
const ROUNDS: u32 = 200;

/// The blocks, the highest first.
pub(in crate::pages) async fn list(
    State(pages): State<Pages>,
    Extension(viewer): Extension<Viewer>,
    RawQuery(query): RawQuery,
) -> Response {
    let fields = Fields::read(query.unwrap_or_default().as_bytes());
    let contents = blocks(&pages, &viewer, &fields).await;
    shown(&pages, &viewer, contents)
}

async fn blocks(pages: &Pages, viewer: &Viewer, fields: &Fields) -> Result<Blocks, Refusal> {
    let after = match (fields.optional::<u32>("height")?, fields.optional::<BlockHash>("hash")?) {
        (Some(height), Some(hash)) => Some((height, hash)),
        _ => None,
    };
    let mut found = pages.store.blocks_after(after, PAGE + 1).await?;
    let has_more = found.len() > PAGE as usize;
    found.truncate(PAGE as usize);
    let last = found.last().filter(|_| has_more);
    let next = last.map(|last| format!("/blocks?height={}&hash={}", last.found.height, last.found.hash));
    let addresses = addresses(&*pages.store, found.iter().map(|block| block.found.finder)).await?;
    let now_ms = now_ms();
    let rounds = newest_rounds(&*pages.store, ROUNDS).await?;
    let efforts: HashMap<_, _> = rounds.iter().map(|round| (round.block.hash, round.effort)).collect();
    let line = |block: BlockRecord| {
        let finder = addresses.get(&block.found.finder).cloned().unwrap_or_default();
        BlockLine {
            hash: block.found.hash.to_string(),
            ends: Ends(block.found.hash.to_string()),
            height: block.found.height,
            found: Ago { at_ms: block.found.found_at_ms, now_ms },
            finder_ends: Ends(finder.clone()),
            finder,
            value: Btc(block.found.value.to_sat().into()),
            fees: Btc(i128::from(block.found.value.to_sat()) - i128::from(block.found.subsidy.to_sat())),
            effort: efforts.get(&block.found.hash).copied().flatten().map(Percent),
            phase: phase(block.state.phase),
        }
    };
    let luck = match after {
        None => Some(Luck::now(pages, now_ms).await?),
        Some(_) => None,
    };
    let mut frame = Frame::new(pages, viewer, "/blocks", "Blocks");
    frame.is_live = after.is_none();
    Ok(Blocks { frame, blocks: found.into_iter().map(line).collect(), luck, next })
}

#[derive(Template)]
#[template(path = "block.html")]
struct Block {
    frame: Frame,
    hash: String,
    height: u32,
    phase: &'static str,
    found: When,
    finder: String,
    coinbase: String,
    value: Number,
    subsidy: Number,
    fee: Number,
    reserve: Number,
    rule: String,
    credits: Vec<CreditLine>,
}

struct CreditLine {
    address: String,
    ends: Ends,
    sat: Number,
    part: Percent,
    paid: Number,
}

/// A block and its split.
pub(in crate::pages) async fn show(
    State(pages): State<Pages>,
    Extension(viewer): Extension<Viewer>,
    Path(hash): Path<String>,
) -> Response {
    let contents = block(&pages, &viewer, &hash).await;
    shown(&pages, &viewer, contents)
}

async fn block(pages: &Pages, viewer: &Viewer, hash: &str) -> Result<Block, Refusal> {
    let unknown = || Refusal::new(RefusalCode::NotFound, format!("the pool has found no block {hash}"));
    let id: BlockHash = hash.parse().map_err(|_| unknown())?;
    let block = pages.store.block(id).await?.ok_or_else(unknown)?;
    let mut credits = pages.store.credits(id).await?;
    credits.sort_by_key(|credit| (std::cmp::Reverse(credit.amount), credit.account));
    let wanted = credits.iter().map(|credit| credit.account).chain([block.found.finder]);
    let addresses = addresses(&*pages.store, wanted).await?;
    let address = |account| addresses.get(&account).cloned().unwrap_or_default();
    let whole = block.found.value.to_sat().max(1);
    let line = |credit: &payouts::books::BlockCredit| CreditLine {
        address: address(credit.account),
        ends: Ends(address(credit.account)),
        sat: Number(credit.amount.to_sat().into()),
        part: Percent(credit.amount.to_sat() as f64 / whole as f64),
        paid: Number(credit.paid.to_sat().into()),
    };
    Ok(Block {
        frame: Frame::new(pages, viewer, "/blocks", format!("Block {}", block.found.height)),
        hash: block.found.hash.to_string(),
        height: block.found.height,
        phase: phase(block.state.phase),
        found: When(block.found.found_at_ms),
        finder: address(block.found.finder),
        coinbase: block.found.coinbase.to_string(),
        value: Number(block.found.value.to_sat().into()),
        subsidy: Number(block.found.subsidy.to_sat().into()),
        fee: Number(block.fee.to_sat().into()),
        reserve: Number(block.reserve.to_sat().into()),
        rule: block.rule.map_or_else(|| "none".to_owned(), |rule| rule.to_string()),
        credits: credits.iter().map(line).collect(),
    })
}
