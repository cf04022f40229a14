//! What a request holds, as handlers take it: whatever cannot be read is told as a problem.

use axum::{
    body::Bytes,
    extract::{self, FromRef, FromRequest, FromRequestParts},
    http::request::Parts,
};
use payouts::export::rules::period::Period;
use serde::de::DeserializeOwned;

use super::{auth::Caller, problem::Problem};
use crate::operations::{Desk, Outcome, Refusal, Request, Words};

/// The body, as a JSON object. A list is none, though serde would take one for the fields in their order.
#[derive(Debug)]
pub(super) struct Json<T>(pub(super) T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequest<S> for Json<T> {
    type Rejection = Problem;

    async fn from_request(request: extract::Request, state: &S) -> Result<Json<T>, Problem> {
        let (parts, body) = request.into_parts();
        let body = Bytes::from_request(extract::Request::from_parts(parts.clone(), body), state).await?;
        if body.trim_ascii_start().starts_with(b"[") {
            return Err(Problem::invalid("the body must be a JSON object, not a list"));
        }
        let axum::Json(value) =
            axum::Json::from_request(extract::Request::from_parts(parts, body.into()), state).await?;
        Ok(Json(value))
    }
}

/// The query.
#[derive(Debug, FromRequestParts)]
#[from_request(via(extract::Query), rejection(Problem))]
pub(super) struct Query<T>(pub(super) T);

/// The parameters of the path.
#[derive(Debug, FromRequestParts)]
#[from_request(via(extract::Path), rejection(Problem))]
pub(super) struct Path<T>(pub(super) T);

/// Whoever asks, at the desk: what he asks for is his, on record.
#[derive(Debug)]
pub(super) struct Asker {
    desk: Desk,
    caller: Caller,
}

impl Asker {
    /// Hands in a request, and waits for what becomes of it.
    pub(super) async fn ask(&self, request: Request) -> Result<Outcome, Problem> {
        Ok(self.ask_plainly(request).await?)
    }

    /// The same for whoever makes no problem of a refusal.
    pub(super) async fn ask_plainly(&self, request: Request) -> Result<Outcome, Refusal> {
        self.desk.ask(&self.caller.actor(), request).await
    }

    /// Puts on record that he gets a file of a period's reports.
    pub(super) async fn note_download(&self, file: &str, profile: &str, period: &Period) -> Result<(), Problem> {
        Ok(self.desk.note_download(&self.caller.actor(), file, profile, period).await?)
    }

    /// Who does something, for the record: what his token is called.
    pub(super) fn by(&self) -> Result<Words, Problem> {
        self.caller.label.parse().map_err(|error| Problem::failed(format!("the token's label {error}")))
    }
}

impl<S: Send + Sync> FromRequestParts<S> for Asker
where
    Desk: FromRef<S>,
{
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Asker, Problem> {
        let caller = parts.extensions.get::<Caller>().cloned();
        let caller = caller.ok_or_else(|| Problem::failed("nobody asks"))?;
        Ok(Asker { desk: Desk::from_ref(state), caller })
    }
}
