//! The blocks that the pool has found, and whom each credits.

use std::{cmp::Reverse, collections::HashMap};

use askama::Template;
use axum::extract::Path;
use bitcoin::BlockHash;
use payouts::books::BlockRecord;

use super::{PAGE, cut, home::phase, now_ms};
use crate::{
    api::course::BlockCourse,
    operations::{Refusal, RefusalCode, account::addresses_of, luck::newest_rounds},
    pages::{
        asked::{Asked, Shown, file, page},
        frame::Frame,
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
pub(in crate::pages) async fn list(asked: Asked) -> Shown {
    let Asked { pages, fields, .. } = &asked;
    let after = match (fields.optional::<u32>("height")?, fields.optional::<BlockHash>("hash")?) {
        (Some(height), Some(hash)) => Some((height, hash)),
        _ => None,
    };
    let mut found = pages.store.blocks_after(after, PAGE + 1).await?;
    let last = cut(&mut found, PAGE);
    let next = last.map(|last| format!("/blocks?height={}&hash={}", last.found.height, last.found.hash));
    let addresses = addresses_of(&*pages.store, found.iter().map(|block| block.found.finder)).await?;
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
    let frame = asked.frame("/blocks", "Blocks").live_if(after.is_none());
    page(&Blocks { frame, blocks: found.into_iter().map(line).collect(), luck, next })
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
    course: Vec<Step>,
    has_raw: bool,
    /// The greatest first.
    credits: Vec<CreditLine>,
    credit_count: Number,
    next: Option<String>,
}

/// Something that befell a block.
struct Step {
    name: &'static str,
    /// When; nothing if it is not known, or has not come yet.
    at: Option<When>,
    words: String,
}

/// Tells a block's course in steps.
fn steps(course: &BlockCourse) -> Vec<Step> {
    let step = |name, at_ms: Option<i64>, words: &str| Step { name, at: at_ms.map(When), words: words.to_owned() };
    let unknown = |at_ms: Option<i64>| if at_ms.is_none() { "not on record" } else { "" };
    let mut steps = vec![
        step("Template and job made", course.job_made_at_ms, unknown(course.job_made_at_ms)),
        step("Found", Some(course.found_at_ms), ""),
        step(
            "Answered by the node",
            course.answered_at_ms,
            course.answer.as_deref().unwrap_or(unknown(course.answered_at_ms)),
        ),
        step("In the books", course.booked_at_ms, unknown(course.booked_at_ms)),
    ];
    steps.push(match (course.orphaned_at_ms, course.matured_at_ms, course.confirmations) {
        (Some(at_ms), ..) => step("Left the chain", Some(at_ms), "its credits are undone"),
        (None, Some(at_ms), _) => step("Mature", Some(at_ms), "its credits are due"),
        (None, None, Some(count)) => {
            let of = BlockCourse::MATURITY;
            step("Confirmed", None, &format!("{} of {of}", count.min(of)))
        }
        (None, None, None) => step("Confirmed", None, "not known yet"),
    });
    steps
}

struct CreditLine {
    address: String,
    ends: Ends,
    sat: Number,
    part: Percent,
    paid: Number,
}

/// A block and its split.
pub(in crate::pages) async fn show(asked: Asked, Path(hash): Path<String>) -> Shown {
    let pages = &asked.pages;
    let unknown = || Refusal::new(RefusalCode::NotFound, format!("the pool has found no block {hash}"));
    let id: BlockHash = hash.parse().map_err(|_| unknown())?;
    let block = pages.store.block(id).await?.ok_or_else(unknown)?;
    let mut credits = pages.store.credits(id).await?;
    credits.sort_by_key(|credit| (Reverse(credit.amount), credit.account));
    let (count, before) = (credits.len(), asked.fields.optional::<usize>("after")?.unwrap_or(0));
    let mut credits = credits.split_off(before.min(count));
    credits.truncate(PAGE as usize);
    let upto = before + credits.len();
    let next = (upto < count).then(|| format!("/blocks/{id}?after={upto}#credits"));
    let wanted = credits.iter().map(|credit| credit.account).chain([block.found.finder]);
    let addresses = addresses_of(&*pages.store, wanted).await?;
    let address = |account| addresses.get(&account).cloned().unwrap_or_default();
    let course = BlockCourse::of(&*pages.store, &pages.live, &block).await?;
    let whole = block.found.value.to_sat().max(1);
    let line = |credit: &payouts::books::BlockCredit| CreditLine {
        address: address(credit.account),
        ends: Ends(address(credit.account)),
        sat: Number(credit.amount.to_sat().into()),
        part: Percent(credit.amount.to_sat() as f64 / whole as f64),
        paid: Number(credit.paid.to_sat().into()),
    };
    page(&Block {
        frame: asked.frame("/blocks", format!("Block {}", block.found.height)),
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
        course: steps(&course),
        has_raw: course.has_raw,
        credits: credits.iter().map(line).collect(),
        credit_count: Number(count as i128),
        next,
    })
}

/// A block in network serialisation, as a file.
pub(in crate::pages) async fn raw(asked: Asked, Path(hash): Path<String>) -> Shown {
    let unknown = || Refusal::new(RefusalCode::NotFound, format!("no block {hash} is kept"));
    let id: BlockHash = hash.parse().map_err(|_| unknown())?;
    let raw = asked.pages.live.raw_block(id).await.map_err(|error| Refusal::new(RefusalCode::Failed, error))?;
    file(&format!("{id}.block"), "application/octet-stream", raw.ok_or_else(unknown)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn course_ends_with_what_befell_the_block_last() {
        let course = BlockCourse {
            job_made_at_ms: None,
            found_at_ms: 1,
            answered_at_ms: Some(2),
            answer: Some("accepted".to_owned()),
            booked_at_ms: Some(3),
            confirmations: Some(7),
            matured_at_ms: None,
            orphaned_at_ms: None,
            has_raw: true,
        };
        let last = |course: &BlockCourse| steps(course).pop().map(|step| (step.name, step.words));
        assert_eq!(steps(&course)[0].words, "not on record");
        assert_eq!(steps(&course)[2].words, "accepted");
        assert_eq!(last(&course), Some(("Confirmed", "7 of 100".to_owned())));
        let mature = BlockCourse { matured_at_ms: Some(4), ..course.clone() };
        assert_eq!(last(&mature).map(|(name, _)| name), Some("Mature"));
        let orphaned = BlockCourse { orphaned_at_ms: Some(4), confirmations: None, ..course };
        assert_eq!(last(&orphaned).map(|(name, _)| name), Some("Left the chain"));
    }
}
