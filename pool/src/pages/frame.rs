//! What all pages have around them: who is logged in, the ways to the other pages, and what was just done.

use askama::Template;
use axum::{
    http::{HeaderValue, Method, StatusCode, header},
    response::{Html, IntoResponse, Response},
};
use payouts::access::Role;
use tracing::error;

use super::{
    POLICY, Pages,
    asked::NotShown,
    doors,
    guard::Viewer,
    session::Notice,
    ways::{self, Group},
};
use crate::{
    config::network_name,
    operations::{Refusal, RefusalCode},
};

/// What is around a page.
#[derive(Clone, Debug)]
pub(super) struct Frame {
    /// The title.
    pub(super) title: String,
    /// The network.
    pub(super) network: &'static str,
    /// The version of the program.
    pub(super) version: &'static str,
    /// Who is logged in, if it takes that.
    pub(super) who: Option<Who>,
    /// The ways to other pages.
    pub(super) ways: Vec<Group>,
    /// What was just done.
    pub(super) notice: Option<Notice>,
    /// Whether the page keeps up by itself, if scripts run.
    pub(super) is_live: bool,
    /// Where the page hears of what happens, if it does.
    pub(super) events: Option<String>,
}

/// Who is logged in.
#[derive(Clone, Debug)]
pub(super) struct Who {
    /// What his token is called.
    pub(super) label: String,
    /// His role.
    pub(super) role: Role,
    /// What forms hold beside the cookie.
    pub(super) form_key: String,
}

impl Frame {
    /// The frame of a page for somebody who is logged in. `path` is the way that it belongs to.
    pub(super) fn new(pages: &Pages, viewer: &Viewer, path: &str, title: impl Into<String>) -> Frame {
        let (role, label) = (viewer.role(), viewer.token.label.clone());
        Frame {
            who: Some(Who { label, role, form_key: viewer.cookie.form_key() }),
            ways: ways::of(role, path),
            notice: pages.sessions.take_notice(&viewer.cookie),
            is_live: true,
            events: doors::may(role, &Method::GET, doors::EVENTS).then(|| doors::EVENTS.to_owned()),
            ..Frame::bare(pages, title)
        }
    }

    /// The frame of a page that takes no log-in.
    pub(super) fn open(pages: &Pages, viewer: Option<&Viewer>, path: &str, title: impl Into<String>) -> Frame {
        match viewer {
            Some(viewer) => Frame::new(pages, viewer, path, title).live_if(false),
            None => Frame { ways: ways::of_anybody(path), ..Frame::bare(pages, title) },
        }
    }

    /// The same for a page that keeps up by itself only in some case.
    pub(super) fn live_if(self, is_live: bool) -> Frame {
        Frame { is_live, ..self }
    }

    /// The same for a page that keeps up by events of its own.
    pub(super) fn live_by(self, events: String) -> Frame {
        Frame { is_live: true, events: Some(events), ..self }
    }

    /// The frame of a page for anybody.
    pub(super) fn bare(pages: &Pages, title: impl Into<String>) -> Frame {
        Frame { title: title.into(), network: network_name(pages.live.network), ..Frame::nobody("") }
    }

    /// The frame of a page that knows nothing of the pool.
    fn nobody(title: &str) -> Frame {
        Frame {
            title: title.to_owned(),
            network: "",
            version: env!("CARGO_PKG_VERSION"),
            who: None,
            ways: Vec::new(),
            notice: None,
            is_live: false,
            events: None,
        }
    }

    /// Whether coins of the network are worth nothing.
    pub(super) fn is_for_tests(&self) -> bool {
        !matches!(self.network, "" | "mainnet")
    }

    /// Whether the ways are those of the dashboard, which are many.
    pub(super) fn has_groups(&self) -> bool {
        self.ways.len() > 1
    }

    /// Returns what forms hold beside the cookie.
    pub(super) fn form_key(&self) -> &str {
        self.who.as_ref().map_or("", |who| &who.form_key)
    }
}

/// Writes a page.
pub(super) fn page(template: &impl Template) -> Response {
    match template.render() {
        Ok(html) => Html(html).into_response(),
        Err(error) => {
            error!(%error, "a page could not be written");
            (StatusCode::INTERNAL_SERVER_ERROR, "the pool failed, see its log").into_response()
        }
    }
}

/// Says that something is not shown, and why.
#[derive(Template)]
#[template(path = "problem.html")]
struct ProblemPage {
    frame: Frame,
    title: &'static str,
    text: String,
}

fn problem(status: StatusCode, frame: Option<Frame>, title: &'static str, text: impl Into<String>) -> Response {
    let frame = frame.unwrap_or_else(|| Frame::nobody(title));
    (status, page(&ProblemPage { frame, title, text: text.into() })).into_response()
}

/// There is no such page.
pub(crate) fn not_found() -> Response {
    let mut response = problem(StatusCode::NOT_FOUND, None, "Not found", "There is nothing at this address.");
    response.headers_mut().insert(header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(POLICY));
    response
}

/// There is no such miner, or nothing of his that is asked for.
pub(super) fn missing(pages: &Pages, status: StatusCode, title: &'static str, text: impl Into<String>) -> Response {
    problem(status, Some(Frame::open(pages, None, "", title)), title, capitalised(&text.into()))
}

/// A miner's page is hidden from whoever is logged in.
pub(super) fn hidden(pages: &Pages, viewer: &Viewer, text: &str) -> Response {
    problem(StatusCode::FORBIDDEN, Some(still(pages, viewer)), "Not allowed", text)
}

/// The role of whoever is logged in does not do.
pub(super) fn forbidden(pages: &Pages, viewer: &Viewer, least: Role) -> Response {
    let text = format!("This takes the role {least}, and your token has the role {}.", viewer.role());
    problem(StatusCode::FORBIDDEN, Some(still(pages, viewer)), "Not allowed", text)
}

/// A form is none of ours.
pub(super) fn bad_form(pages: &Pages, viewer: Option<&Viewer>, why: &str) -> Response {
    let text = format!("This form was not taken: {why}. Go back, load the page again, and send it once more.");
    let frame = viewer.map(|viewer| still(pages, viewer));
    problem(StatusCode::FORBIDDEN, frame, "Form not taken", text)
}

/// Puts the frame of whoever asks around what cannot be shown.
pub(super) fn framed(pages: &Pages, viewer: Option<&Viewer>, mut response: Response) -> Response {
    match response.extensions_mut().remove() {
        Some(NotShown(refusal)) => refused(viewer.map(|viewer| still(pages, viewer)), &refusal),
        None => response,
    }
}

/// What was to be shown cannot be.
pub(super) fn refused(frame: Option<Frame>, refusal: &Refusal) -> Response {
    let (status, title) = match refusal.code {
        RefusalCode::NotFound => (StatusCode::NOT_FOUND, "Not found"),
        RefusalCode::Malformed | RefusalCode::Invalid => (StatusCode::UNPROCESSABLE_ENTITY, "Not understood"),
        RefusalCode::Conflict => (StatusCode::CONFLICT, "Not possible now"),
        RefusalCode::Unavailable => (StatusCode::SERVICE_UNAVAILABLE, "Not available now"),
        RefusalCode::Failed => (StatusCode::INTERNAL_SERVER_ERROR, "Failed"),
    };
    problem(status, frame, title, capitalised(&refusal.reason))
}

/// The frame of a page that stays as it is.
fn still(pages: &Pages, viewer: &Viewer) -> Frame {
    Frame::new(pages, viewer, "", "Problem").live_if(false)
}

/// Begins with a capital letter, as sentences of pages do.
pub(super) fn capitalised(text: &str) -> String {
    let mut signs = text.chars();
    signs.next().map_or_else(String::new, |first| first.to_uppercase().chain(signs).collect())
}
