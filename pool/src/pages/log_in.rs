//! The log-in: a token in a form, for a session's cookie.

use std::{sync::Arc, time::Instant};

use askama::Template;
use axum::{
    Extension,
    body::Body,
    extract::State,
    http::{HeaderMap, header},
    response::{IntoResponse, Redirect, Response},
};
use jiff::Timestamp;
use payouts::store::Store;
use tracing::{info, warn};

use super::{
    Pages,
    fields::Fields,
    frame::{self, Frame},
    guard::{self, Viewer, cookie, form, keep},
    session::Cookie,
};
use crate::operations::{Refusal, token};

/// The cookie of a browser that has the form, which makes the form its own.
const FORM: &str = "adit_form";
/// How long the form may lie there.
const FORM_SECONDS: u64 = 3_600;
/// No token is nearly as long.
const MAX_TOKEN_LENGTH: usize = 128;

#[derive(Template)]
#[template(path = "log_in.html")]
struct LogIn {
    frame: Frame,
    form_key: String,
    next: String,
    problem: Option<&'static str>,
}

/// Shows the form.
pub(super) async fn show(State(pages): State<Pages>, headers: HeaderMap, fields: Fields) -> Response {
    if let Ok(Some(_)) = guard::viewer(&pages, &headers).await {
        return Redirect::to(next(fields.text("next"))).into_response();
    }
    form_page(&pages, &headers, fields.text("next"), None)
}

/// Takes the form: who has a token that is in force gets a session.
pub(super) async fn enter(State(pages): State<Pages>, headers: HeaderMap, body: Body) -> Response {
    let Some(own) = cookie(&headers, FORM) else {
        return form_page(
            &pages,
            &headers,
            "",
            Some("Your browser keeps no cookies, or the page was too old. Try again."),
        );
    };
    let fields = match form(&own, body).await {
        Ok(fields) => fields,
        Err(why) => return frame::bad_form(&pages, None, why),
    };
    match open(&pages, fields.text("token")).await {
        Ok(Opened::Session(cookie)) => {
            let kept = guard::keep_session(&cookie, pages.about.has_tls);
            ([(header::SET_COOKIE, kept)], Redirect::to(next(fields.text("next")))).into_response()
        }
        Ok(Opened::Nothing) => {
            form_page(&pages, &headers, fields.text("next"), Some("No token in force is like this one."))
        }
        Err(refusal) => frame::refused(None, &refusal),
    }
}

/// Ends the session.
pub(super) async fn leave(State(pages): State<Pages>, Extension(viewer): Extension<Viewer>) -> Response {
    pages.sessions.close(&viewer.cookie);
    ([(header::SET_COOKIE, guard::forget_session(pages.about.has_tls))], Redirect::to("/log-in")).into_response()
}

/// What a token opens.
enum Opened {
    /// The dashboard, or to a watcher the page of his account.
    Session(Cookie),
    Nothing,
}

async fn open(pages: &Pages, secret: &str) -> Result<Opened, Refusal> {
    if secret.len() > MAX_TOKEN_LENGTH {
        return Ok(Opened::Nothing);
    }
    let Some(token) = token::presented(&*pages.store, secret).await? else {
        info!("a log-in was refused");
        return Ok(Opened::Nothing);
    };
    let (store, id): (Arc<dyn Store>, _) = (Arc::clone(&pages.store), token.id);
    tokio::spawn(async move {
        if let Err(error) = store.note_token_use(id, Timestamp::now().as_millisecond()).await {
            warn!(%error, %id, "use of a token could not be noted");
        }
    });
    info!(token = %token.id, label = token.label, "logged in");
    Ok(Opened::Session(pages.sessions.open(token.id, Instant::now())))
}

fn form_page(pages: &Pages, headers: &HeaderMap, next: &str, problem: Option<&'static str>) -> Response {
    let own = cookie(headers, FORM).unwrap_or_else(Cookie::random);
    let frame = Frame::bare(pages, "Log in");
    let shown = frame::page(&LogIn { frame, form_key: own.form_key(), next: next.to_owned(), problem });
    ([(header::SET_COOKIE, keep(FORM, &own, FORM_SECONDS, pages.about.has_tls))], shown).into_response()
}

/// Where to go after the log-in: a path of ours, whoever has written the link.
fn next(wanted: &str) -> &str {
    let is_path = wanted.starts_with('/') && !wanted.starts_with("//") && !wanted.contains(['\\', '\r', '\n', '\t']);
    if is_path && !wanted.starts_with("/log-in") { wanted } else { "/" }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn log_in_leads_to_pages_of_ours_alone() {
        for (wanted, led) in [
            ("/payouts?after=3", "/payouts?after=3"),
            ("", "/"),
            ("//evil.example", "/"),
            ("/\\evil.example", "/"),
            ("https://evil.example", "/"),
            ("/log-in", "/"),
        ] {
            assert_eq!(next(wanted), led, "{wanted}");
        }
    }
}
