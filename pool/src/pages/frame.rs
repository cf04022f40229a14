//! What all pages have around them: who is logged in, the ways to the other pages, and what was just done.

use askama::Template;
use axum::{
    http::{HeaderValue, Method, StatusCode, header},
    response::{Html, IntoResponse, Redirect, Response},
};
use payouts::access::Role;
use tracing::error;

use super::{POLICY, Pages, doors, guard::Viewer, session::Notice};
use crate::{
    config::network_name,
    operations::{Outcome, Refusal, RefusalCode},
};

/// The pages that are always a step away: path, title.
const WAYS: [(&str, &str); 10] = [
    ("/", "Pool"),
    ("/connections", "Connections"),
    ("/blocks", "Blocks"),
    ("/payouts", "Payouts"),
    ("/accounts", "Accounts"),
    ("/ledger", "Ledger"),
    ("/register", "Register"),
    ("/screening", "Screening"),
    ("/sales", "Sales"),
    ("/settings", "Settings"),
];
/// The pages that are always a step away for whoever sees no dashboard.
const WAYS_OF_MINERS: [(&str, &str); 2] = [("/", "Mining page"), ("/connect", "Connect")];
/// And for whoever is not logged in.
const WAY_IN: (&str, &str) = ("/log-in", "Log in");

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
    pub(super) ways: Vec<Way>,
    /// What was just done.
    pub(super) notice: Option<Notice>,
    /// Whether the page keeps up by itself, if scripts run.
    pub(super) is_live: bool,
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

/// A way to a page.
#[derive(Clone, Debug)]
pub(super) struct Way {
    pub(super) path: &'static str,
    pub(super) title: &'static str,
    pub(super) is_here: bool,
}

impl Frame {
    /// The frame of a page for somebody who is logged in. `path` is the way that it belongs to.
    pub(super) fn new(pages: &Pages, viewer: &Viewer, path: &str, title: impl Into<String>) -> Frame {
        let role = viewer.role();
        let sees_all = role >= Role::Viewer;
        let of_operators = WAYS.into_iter().filter(|(path, _)| sees_all && doors::may(role, &Method::GET, path));
        let ways = of_operators.chain(WAYS_OF_MINERS.into_iter().filter(|_| !sees_all));
        let label = viewer.token.label.clone();
        Frame {
            who: Some(Who { label, role, form_key: viewer.cookie.form_key() }),
            ways: ways.map(|way| Way::new(way, path)).collect(),
            notice: pages.sessions.take_notice(&viewer.cookie),
            is_live: true,
            ..Frame::bare(pages, title)
        }
    }

    /// The frame of a page that takes no log-in.
    pub(super) fn open(pages: &Pages, viewer: Option<&Viewer>, path: &str, title: impl Into<String>) -> Frame {
        match viewer {
            Some(viewer) => Frame { is_live: false, ..Frame::new(pages, viewer, path, title) },
            None => {
                let ways = WAYS_OF_MINERS.into_iter().chain([WAY_IN]).map(|way| Way::new(way, path));
                Frame { ways: ways.collect(), ..Frame::bare(pages, title) }
            }
        }
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
        }
    }

    /// Whether coins of the network are worth nothing.
    pub(super) fn is_for_tests(&self) -> bool {
        !matches!(self.network, "" | "mainnet")
    }

    /// Whether the page hears of what happens in the pool, which takes a role that sees all of it.
    pub(super) fn follows_events(&self) -> bool {
        self.who.as_ref().is_some_and(|who| doors::may(who.role, &Method::GET, doors::EVENTS))
    }

    /// Returns what forms hold beside the cookie.
    pub(super) fn form_key(&self) -> &str {
        self.who.as_ref().map_or("", |who| &who.form_key)
    }
}

impl Way {
    fn new((path, title): (&'static str, &'static str), here: &str) -> Way {
        Way { path, title, is_here: path == here }
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

/// What was to be shown cannot be.
pub(super) fn refused(viewer: Option<&Viewer>, pages: &Pages, refusal: &Refusal) -> Response {
    let (status, title) = match refusal.code {
        RefusalCode::NotFound => (StatusCode::NOT_FOUND, "Not found"),
        RefusalCode::Malformed | RefusalCode::Invalid => (StatusCode::UNPROCESSABLE_ENTITY, "Not understood"),
        RefusalCode::Conflict => (StatusCode::CONFLICT, "Not possible now"),
        RefusalCode::Unavailable => (StatusCode::SERVICE_UNAVAILABLE, "Not available now"),
        RefusalCode::Failed => (StatusCode::INTERNAL_SERVER_ERROR, "Failed"),
    };
    problem(status, viewer.map(|viewer| still(pages, viewer)), title, capitalised(&refusal.reason))
}

/// The frame of a page that stays as it is.
fn still(pages: &Pages, viewer: &Viewer) -> Frame {
    Frame { is_live: false, ..Frame::new(pages, viewer, "", "Problem") }
}

/// Shows what came of reading a page's contents.
pub(super) fn shown<T: Template>(pages: &Pages, viewer: &Viewer, contents: Result<T, Refusal>) -> Response {
    match contents {
        Ok(template) => page(&template),
        Err(refusal) => refused(Some(viewer), pages, &refusal),
    }
}

/// Goes on to a page, which says what has become of what was asked for.
pub(super) fn told(
    pages: &Pages,
    viewer: &Viewer,
    to: &str,
    outcome: Result<Outcome, Refusal>,
    say: impl FnOnce(&Outcome) -> String,
) -> Response {
    let notice = match outcome {
        Ok(outcome) => Notice { is_done: true, text: say(&outcome), secret: None },
        Err(refusal) => Notice { is_done: false, text: capitalised(&refusal.reason), secret: None },
    };
    pages.sessions.leave(&viewer.cookie, notice);
    Redirect::to(to).into_response()
}

/// Goes on to a page, which tells a secret this once.
pub(super) fn told_secret(pages: &Pages, viewer: &Viewer, to: &str, text: String, secret: &str) -> Response {
    let notice = Notice { is_done: true, text, secret: Some(secret.to_owned()) };
    pages.sessions.leave(&viewer.cookie, notice);
    Redirect::to(to).into_response()
}

/// Begins with a capital letter, as sentences of pages do.
pub(super) fn capitalised(text: &str) -> String {
    let mut signs = text.chars();
    signs.next().map_or_else(String::new, |first| first.to_uppercase().chain(signs).collect())
}
