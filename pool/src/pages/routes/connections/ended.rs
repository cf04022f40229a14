//! The connections that ended lately, and those that came to nothing.

use std::{net::IpAddr, time::Instant};

use askama::Template;

use super::{
    super::now_ms,
    WAY,
    line::{EndView, Line},
};
use crate::{
    pages::{
        asked::{Asked, Shown, page},
        frame::Frame,
        show::{Ago, Number, Span},
    },
    stratum::roster::Failure,
};

#[derive(Template)]
#[template(path = "connections_ended.html")]
struct Ended {
    frame: Frame,
    failures: Vec<FailureLine>,
    ended: Vec<EndedLine>,
    count: Number,
    may_ban: bool,
}

struct FailureLine {
    peer: IpAddr,
    reason: String,
    code: &'static str,
    count: Number,
    last: Ago,
}

struct EndedLine {
    line: Line,
    lasted: Span,
    end: EndView,
}

/// Those that ended lately, and those that came to nothing.
pub(super) async fn list(asked: Asked) -> Shown {
    let Asked { pages, viewer, .. } = &asked;
    let (now, now_ms) = (Instant::now(), now_ms());
    let (seats, count) = pages.live.roster.ended();
    let failure = |Failure { peer, reason, count, last_at_ms, .. }| FailureLine {
        peer,
        reason: reason.words,
        code: reason.code,
        count: Number(i128::from(count)),
        last: Ago { at_ms: last_at_ms, now_ms },
    };
    let ended = seats.iter().filter_map(|seat| {
        let (ending, end) = (seat.ending()?, EndView::of(seat, now_ms)?);
        let lasted = Span((ending.at_ms - seat.arrived_at_ms()).max(0) / 1_000);
        Some(EndedLine { line: Line::new(seat, now, now_ms), lasted, end })
    });
    page(&Ended {
        frame: asked.frame(WAY, "Ended connections"),
        failures: pages.live.roster.failures().into_iter().map(failure).collect(),
        ended: ended.collect(),
        count: Number(count.into()),
        may_ban: viewer.may_post("/bans"),
    })
}
