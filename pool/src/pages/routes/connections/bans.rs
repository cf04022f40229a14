//! The addresses that are banned.

use askama::Template;
use axum::response::Response;

use super::{super::expected, WAY};
use crate::{
    operations::{Outcome, Request, port::BanReport},
    pages::{
        asked::{Asked, Shown, page},
        frame::Frame,
        show::Span,
    },
};

#[derive(Template)]
#[template(path = "bans.html")]
struct Bans {
    frame: Frame,
    bans: Vec<BanLine>,
    may_ban: bool,
    may_lift: bool,
}

struct BanLine {
    origin: String,
    /// The address by which the ban is lifted.
    address: String,
    left: Span,
}

/// The addresses that are banned.
pub(super) async fn list(asked: Asked) -> Shown {
    let viewer = &asked.viewer;
    let bans = expected!(asked.ask(Request::Bans).await?, Outcome::Bans)?;
    let line = |BanReport { origin, left_s }| BanLine {
        address: origin.split('/').next().unwrap_or_default().to_owned(),
        origin,
        left: Span(left_s as i64),
    };
    page(&Bans {
        frame: asked.frame(WAY, "Bans"),
        bans: bans.into_iter().map(line).collect(),
        may_ban: viewer.may_post("/bans"),
        may_lift: viewer.may_post("/bans/lift"),
    })
}

/// Bans an address.
pub(super) async fn ban(asked: Asked) -> Response {
    let banned = async {
        let (address, minutes) = (asked.fields.required("address")?, asked.fields.optional::<u32>("minutes")?);
        asked.ask(Request::Ban { address, seconds: minutes.map(|it| u64::from(it) * 60) }).await?;
        Ok(format!("{} is banned.", asked.fields.text("address")))
    };
    asked.told("/bans", banned).await
}

/// Lets a banned address connect again.
pub(super) async fn lift(asked: Asked) -> Response {
    let lifted = async {
        asked.ask(Request::LiftBan { address: asked.fields.required("address")? }).await?;
        Ok(format!("{} may connect again.", asked.fields.text("address")))
    };
    asked.told("/bans", lifted).await
}
