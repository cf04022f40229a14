//! Whether all is well that a pool needs, in a strip at the head of the dashboard: what is not, with its cure.

use std::time::Instant;

use super::{Pages, counted::Counted, show::Span};
use crate::operations::{Outcome, Refusal, RefusalCode, screening::ScreeningReport};

/// The node's clock and this one's may differ by so much.
const MAX_CLOCK_SKEW_S: i64 = 60;
/// So many shares may wait for the disk before it counts as slow.
const MAX_QUEUED_SHARES: f64 = 4_096.0;

/// Something that must be well.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Item {
    /// What.
    pub(super) name: &'static str,
    /// How it is.
    pub(super) state: State,
    /// How it is, in words.
    pub(super) text: String,
    /// What to do if it is not well.
    pub(super) cure: &'static str,
}

/// How something is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    /// As it must be.
    Well,
    /// It will need somebody.
    Doubtful,
    /// Miners or payouts suffer.
    Ill,
}

impl State {
    /// Returns the state as a style names it.
    pub(super) fn class(self) -> &'static str {
        match self {
            State::Well => "well",
            State::Doubtful => "doubtful",
            State::Ill => "ill",
        }
    }

    /// Returns the state in a word, for those who see no colour.
    pub(super) fn word(self) -> &'static str {
        match self {
            State::Well => "OK",
            State::Doubtful => "Check",
            State::Ill => "Fault",
        }
    }

    fn of(is_well: bool) -> State {
        if is_well { State::Well } else { State::Ill }
    }
}

/// Looks at everything. `screening` is what the desk has answered about it.
pub(super) fn check(pages: &Pages, counted: &Counted, screening: &Result<Outcome, Refusal>, now_ms: i64) -> Vec<Item> {
    let mut items = vec![template(pages)];
    items.extend(clock(pages, now_ms));
    items.push(share_log(counted));
    items.push(match screening {
        Ok(Outcome::Screening(report)) => self::screening(report),
        Ok(_) | Err(_) => desk(screening),
    });
    items
}

/// What the desk answers for is well if it answers; while the pool waits for its node, it does not.
fn desk(answer: &Result<Outcome, Refusal>) -> Item {
    let (name, cure) = ("Payouts", "The node or the database does not answer: see the pool's log for which, and why.");
    match answer {
        Err(refusal) if refusal.code == RefusalCode::Unavailable => {
            Item { name, state: State::Doubtful, text: refusal.reason.clone(), cure }
        }
        Err(refusal) => Item { name, state: State::Ill, text: refusal.reason.clone(), cure },
        Ok(_) => Item { name, state: State::Well, text: "answered".to_owned(), cure },
    }
}

fn template(pages: &Pages) -> Item {
    let ready = pages.live.check_ready(Instant::now());
    let text = match (&ready, pages.live.newest()) {
        (Err(reason), _) => reason.clone(),
        (Ok(()), Some(seen)) => {
            format!("height {}, {} old", seen.template.height, Span(seconds(seen.at.elapsed().as_secs())))
        }
        (Ok(()), None) => String::new(),
    };
    Item {
        name: "Node and template",
        state: State::of(ready.is_ok()),
        text,
        cure: "Look at bitcoind: does it run, is it synced (getblockchaininfo), do [bitcoind] url and its cookie or \
               password fit? adit check tests each. Miners go on with the last template meanwhile.",
    }
}

/// The template's time is the node's clock, unless the chain itself is ahead of it.
fn clock(pages: &Pages, now_ms: i64) -> Option<Item> {
    let seen = pages.live.newest()?;
    if seen.template.curtime <= seen.template.min_time {
        return None;
    }
    let made_s = now_ms / 1_000 - seconds(seen.at.elapsed().as_secs());
    let skew_s = made_s - i64::from(seen.template.curtime);
    Some(Item {
        name: "Clock",
        state: if skew_s.abs() <= MAX_CLOCK_SKEW_S { State::Well } else { State::Doubtful },
        text: match skew_s {
            -2..=2 => "agrees with the node's".to_owned(),
            ahead @ 3.. => format!("{} ahead of the node's", Span(ahead)),
            behind => format!("{} behind the node's", Span(-behind)),
        },
        cure: "Let chrony or systemd-timesyncd set the clocks of the pool and of its node: certificates and the times of \
               shares depend on them.",
    })
}

fn share_log(counted: &Counted) -> Item {
    let queued = counted.value("adit_share_log_queue_shares").unwrap_or(0.0);
    Item {
        name: "Share log",
        state: if queued <= MAX_QUEUED_SHARES { State::Well } else { State::Doubtful },
        text: if queued < 1.0 { "nothing waits".to_owned() } else { format!("{queued} shares wait for the disk") },
        cure: "The disk or the database is slow: look at its load and its free space. Shares are acknowledged late, but none \
               that was acknowledged is lost.",
    }
}

fn screening(report: &ScreeningReport) -> Item {
    let item = |state, text| Item {
        name: "Screening lists",
        state,
        text,
        cure: "Fetch the lists that [screening] names again. Nothing is paid until they may be relied upon; mining goes on.",
    };
    match &report.nothing_is_paid {
        Some(reason) => item(State::Ill, reason.clone()),
        None => {
            let entries: u64 = report.lists.iter().map(|list| list.entry_count).sum();
            item(State::Well, format!("{} usable, {entries} entries", report.lists.len()))
        }
    }
}

fn seconds(seconds: u64) -> i64 {
    i64::try_from(seconds).unwrap_or(i64::MAX)
}
