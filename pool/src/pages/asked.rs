//! What handlers of the dashboard take and give: a page or form that is asked for, what is shown, and what is told of
//! something that was done.

use askama::Template;
use axum::{
    Extension,
    body::Body,
    extract::{FromRequestParts, State},
    http::header,
    response::{IntoResponse, Redirect, Response},
};

use super::{
    Pages,
    fields::Fields,
    frame::{self, Frame, capitalised},
    guard::Viewer,
    session::Notice,
};
use crate::operations::{Outcome, Refusal, Request};

/// A page or form that somebody who is logged in asks for.
#[derive(FromRequestParts)]
#[from_request(state(Pages))]
pub(super) struct Asked {
    /// What it is shown from.
    #[from_request(via(State))]
    pub(super) pages: Pages,
    /// Who asks.
    #[from_request(via(Extension))]
    pub(super) viewer: Viewer,
    /// The fields of the form, or of the query.
    pub(super) fields: Fields,
}

impl Asked {
    /// The frame of the page. `way` is the way that it belongs to.
    pub(super) fn frame(&self, way: &str, title: impl Into<String>) -> Frame {
        Frame::new(&self.pages, &self.viewer, way, title)
    }

    /// Hands in a request at the desk, for whoever asks.
    ///
    /// # Errors
    ///
    /// What the desk says.
    pub(super) async fn ask(&self, request: Request) -> Result<Outcome, Refusal> {
        self.pages.desk.ask(&self.viewer.actor(), request).await
    }

    /// Does what a form asks for, and goes on to a page that says what has become of it.
    pub(super) async fn told(&self, to: &str, done: impl Future<Output = Result<String, Refusal>>) -> Response {
        self.tell(to, done.await)
    }

    /// Goes on to a page that says what has become of what was asked for.
    pub(super) fn tell(&self, to: &str, done: Result<String, Refusal>) -> Response {
        let (is_done, text) = match done {
            Ok(text) => (true, text),
            Err(refusal) => (false, capitalised(&refusal.reason)),
        };
        self.leave(to, Notice { is_done, text, secret: None })
    }

    /// Goes on to a page that says this, once.
    pub(super) fn leave(&self, to: &str, notice: Notice) -> Response {
        self.pages.sessions.leave(&self.viewer.cookie, notice);
        Redirect::to(to).into_response()
    }
}

/// What a handler shows.
pub(super) type Shown = Result<Response, NotShown>;

/// Why something is not shown. The door through which the request came puts the frame of whoever asks around it.
#[derive(Clone, Debug)]
pub(super) struct NotShown(pub(super) Refusal);

impl<E: Into<Refusal>> From<E> for NotShown {
    fn from(error: E) -> NotShown {
        NotShown(error.into())
    }
}

impl IntoResponse for NotShown {
    fn into_response(self) -> Response {
        let mut response = frame::refused(None, &self.0);
        response.extensions_mut().insert(self);
        response
    }
}

/// Shows a page.
pub(super) fn page(template: &impl Template) -> Shown {
    Ok(frame::page(template))
}

/// Hands out a file.
pub(super) fn file(name: &str, media_type: &str, bytes: impl Into<Body>) -> Shown {
    let disposition = format!("attachment; filename=\"{name}\"");
    let headers = [(header::CONTENT_TYPE, media_type.to_owned()), (header::CONTENT_DISPOSITION, disposition)];
    Ok((headers, bytes.into()).into_response())
}
