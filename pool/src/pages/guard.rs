//! The door to the dashboard: who logged in, whether his token is in force and enough, and whether a form is our own.

use std::time::Instant;

use axum::{
    body::{Body, to_bytes},
    extract::{MatchedPath, Request, State},
    http::{HeaderMap, HeaderValue, Method, Uri, header},
    middleware::Next,
    response::{IntoResponse, Redirect, Response},
};
use payouts::{
    access::{Digest, Grant, Role, Token},
    account::AccountId,
};
use tracing::warn;

use super::{Pages, doors, fields::Fields, frame, miners, routes::start, session::Cookie};
use crate::operations::{Actor, Refusal, Words};

/// The cookie of a session.
const SESSION: &str = "adit_session";
/// The longest form: a transaction with all its inputs, in base64.
pub(super) const MAX_FORM_BYTES: usize = 8 << 20;

/// Whoever is logged in.
#[derive(Clone)]
pub(super) struct Viewer {
    /// The cookie of the session.
    pub(super) cookie: Cookie,
    /// The token of the session.
    pub(super) token: Token,
}

impl Viewer {
    /// Returns who it is, for the record.
    pub(super) fn actor(&self) -> Actor {
        Actor::Token { id: self.token.id, label: self.token.label.clone(), grant: self.token.grant }
    }

    /// Returns what he is called on record.
    ///
    /// # Errors
    ///
    /// If his token has a label that cannot stand there.
    pub(super) fn by(&self) -> Result<Words, Refusal> {
        let parsed = self.token.label.parse();
        parsed
            .map_err(|error| Refusal::new(crate::operations::RefusalCode::Failed, format!("the token's label {error}")))
    }

    /// Returns his role.
    pub(super) fn role(&self) -> Role {
        self.token.grant.role()
    }

    /// Tells whether he may see a page.
    pub(super) fn may_see(&self, path: &str) -> bool {
        doors::may(self.role(), &Method::GET, path)
    }

    /// Tells whether he may use a form.
    pub(super) fn may_post(&self, path: &str) -> bool {
        doors::may(self.role(), &Method::POST, path)
    }
}

/// Lets a request pass if its session may, with the viewer and the fields of its form for those behind.
pub(super) async fn admit(
    State(pages): State<Pages>,
    path: MatchedPath,
    uri: Uri,
    request: Request,
    next: Next,
) -> Response {
    let is_form = request.method() == Method::POST;
    let viewer = match viewer(&pages, request.headers()).await {
        Ok(Some(viewer)) => viewer,
        // Whoever comes in by the front door may be a miner.
        Ok(None) if path.as_str() == "/" => return start::show(&pages),
        Ok(None) => return to_log_in(&uri, is_form),
        Err(refusal) => return frame::refused(None, &refusal),
    };
    let Some(least) = doors::role_for(request.method(), path.as_str()) else {
        return frame::not_found();
    };
    if viewer.role() < least {
        if let ("/", Grant::Watch(account)) = (path.as_str(), viewer.token.grant) {
            return to_own_page(&pages, account).await;
        }
        return frame::forbidden(&pages, &viewer, least);
    }
    let (mut parts, body) = request.into_parts();
    let body = if is_form {
        match form(&viewer.cookie, body).await {
            Ok(fields) => drop(parts.extensions.insert(fields)),
            Err(why) => {
                warn!(path = path.as_str(), why, "a form was turned away");
                return frame::bad_form(&pages, Some(&viewer), why);
            }
        }
        Body::empty()
    } else {
        body
    };
    parts.extensions.insert(viewer.clone());
    frame::framed(&pages, Some(&viewer), next.run(Request::from_parts(parts, body)).await)
}

/// Returns who is logged in by a cookie whose token is in force.
///
/// # Errors
///
/// When the store cannot be read.
pub(super) async fn viewer(pages: &Pages, headers: &HeaderMap) -> Result<Option<Viewer>, Refusal> {
    let Some(cookie) = cookie(headers, SESSION) else { return Ok(None) };
    let Some(id) = pages.sessions.token(&cookie, Instant::now()) else { return Ok(None) };
    let token = pages.store.token(id).await?.filter(|token| token.revoked_at_ms.is_none());
    if token.is_none() {
        pages.sessions.close(&cookie);
    }
    Ok(token.map(|token| Viewer { cookie, token }))
}

/// Reads a form, and tells whether it came from a page of ours.
///
/// # Errors
///
/// What is wrong with it.
pub(super) async fn form(cookie: &Cookie, body: Body) -> Result<Fields, &'static str> {
    let body = to_bytes(body, MAX_FORM_BYTES).await.map_err(|_| "it is too long")?;
    let fields = Fields::read(&body);
    // Compared by their hashes, so that the time it takes tells nothing.
    let is_ours = Digest::of(fields.text("form_key").as_bytes()) == Digest::of(cookie.form_key().as_bytes());
    if is_ours { Ok(fields) } else { Err("it does not come from a page of this session") }
}

/// Returns a cookie that a browser sends.
pub(super) fn cookie(headers: &HeaderMap, name: &str) -> Option<Cookie> {
    let all = headers.get_all(header::COOKIE).into_iter();
    let mut pairs = all.filter_map(|value| value.to_str().ok()).flat_map(|value| value.split(';'));
    pairs.find_map(|pair| Cookie::read(pair.trim().strip_prefix(name)?.strip_prefix('=')?))
}

/// Writes the header by which a browser keeps a session's cookie, for no script and no other site.
pub(super) fn keep_session(cookie: &Cookie, has_tls: bool) -> HeaderValue {
    keep(SESSION, cookie, super::session::LONGEST.as_secs(), has_tls)
}

/// Writes the header by which a browser forgets the session's cookie.
pub(super) fn forget_session(has_tls: bool) -> HeaderValue {
    HeaderValue::try_from(format!("{SESSION}=; Path=/; Max-Age=0{}", attributes(has_tls))).expect("it is ASCII")
}

/// Writes the header by which a browser keeps a cookie.
pub(super) fn keep(name: &str, cookie: &Cookie, seconds: u64, has_tls: bool) -> HeaderValue {
    let text = format!("{name}={}; Path=/; Max-Age={seconds}{}", cookie.expose(), attributes(has_tls));
    let mut value = HeaderValue::try_from(text).expect("it is ASCII");
    value.set_sensitive(true);
    value
}

fn attributes(has_tls: bool) -> &'static str {
    if has_tls { "; HttpOnly; SameSite=Strict; Secure" } else { "; HttpOnly; SameSite=Strict" }
}

/// A watcher's front door is the page of his account.
async fn to_own_page(pages: &Pages, account: AccountId) -> Response {
    match miners::own_page(pages, account).await {
        Ok(path) => Redirect::to(&path).into_response(),
        Err(refusal) => frame::refused(None, &refusal),
    }
}

/// Whoever wants to see something is led there after the log-in; a form would have to be filled in again.
pub(super) fn to_log_in(uri: &Uri, is_form: bool) -> Response {
    let wanted = uri.path_and_query().map_or("/", |wanted| wanted.as_str());
    if is_form || wanted == "/" {
        return Redirect::to("/log-in").into_response();
    }
    let query: String = form_urlencoded::Serializer::new(String::new()).append_pair("next", wanted).finish();
    Redirect::to(&format!("/log-in?{query}")).into_response()
}
