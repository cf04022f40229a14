//! The help pages, which are anybody's: whoever cannot log in needs them most.

use askama::Template;
use axum::{
    extract::{Path, State},
    http::HeaderMap,
    response::Response,
};

use crate::pages::{
    Pages,
    frame::{self, Frame, page},
    guard,
    help::{self, HelpPage},
};

#[derive(Template)]
#[template(path = "help_index.html")]
struct Index {
    frame: Frame,
    pages: &'static [HelpPage],
}

/// What help there is.
pub(in crate::pages) async fn index(State(pages): State<Pages>, headers: HeaderMap) -> Response {
    page(&Index { frame: around(&pages, &headers, "Help").await, pages: help::pages() })
}

#[derive(Template)]
#[template(path = "help.html")]
struct Help {
    frame: Frame,
    page: &'static HelpPage,
}

/// A document.
pub(in crate::pages) async fn show(
    State(pages): State<Pages>,
    Path(name): Path<String>,
    headers: HeaderMap,
) -> Response {
    match help::find(&name) {
        Some(found) => page(&Help { frame: around(&pages, &headers, &found.title).await, page: found }),
        None => frame::not_found(),
    }
}

/// Whoever is logged in keeps his ways to the other pages.
async fn around(pages: &Pages, headers: &HeaderMap, title: &str) -> Frame {
    let viewer = guard::viewer(pages, headers).await.ok().flatten();
    Frame::open(pages, viewer.as_ref(), help::ROOT, title)
}
