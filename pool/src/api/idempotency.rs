//! Requests that move money are done once: the client chooses a key for each, and the same request under the same key
//! gets the same answer, also after a restart.
//!
//! What the pool began and did not come to answer is done again: operations do no harm when they are repeated. Answers
//! that say that the pool could not do it now are not kept, so that the client can try again under the same key.

use std::{
    collections::HashSet,
    sync::{Mutex, PoisonError},
};

use axum::{
    body::{Body, Bytes, to_bytes},
    extract::{Request, State},
    http::{HeaderMap, HeaderValue, StatusCode, header, request::Parts},
    middleware::Next,
    response::{IntoResponse, Response},
};
use jiff::Timestamp;
use payouts::access::{Answer, Claim, Digest, TokenId};
use tracing::warn;

use super::{
    App,
    auth::Caller,
    problem::{self, Problem, ProblemCode},
    rules::Rule,
};

/// The header with the client's key.
pub(super) const HEADER: &str = "idempotency-key";
/// The header that says that an answer was given before.
pub(super) const REPLAYED: &str = "idempotency-replayed";
/// The longest key.
const MAX_KEY_LENGTH: usize = 128;
/// Answers are kept so long.
const KEPT_MS: i64 = 30 * 86_400_000;
/// The longest body of a request that moves money: a transaction with all its inputs, in base64, several times over.
pub(super) const MAX_BODY_BYTES: usize = 16 << 20;
/// The longest answer that is kept.
const MAX_ANSWER_BYTES: usize = 4 << 20;

/// The requests that are being done, by token and key.
#[derive(Debug, Default)]
pub(super) struct UnderWay(Mutex<HashSet<(TokenId, String)>>);

/// A request that is being done, until this is dropped.
struct Turn<'a> {
    under_way: &'a UnderWay,
    key: (TokenId, String),
}

impl UnderWay {
    fn begin(&self, token: TokenId, key: &str) -> Option<Turn<'_>> {
        let key = (token, key.to_owned());
        let is_first = self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(key.clone());
        is_first.then_some(Turn { under_way: self, key })
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        self.under_way.0.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.key);
    }
}

/// Lets a request through that moves money if its key has not been answered, and keeps the answer.
pub(super) async fn once(State(app): State<App>, request: Request, next: Next) -> Response {
    let moves_money = request.extensions().get::<&'static Rule>().is_some_and(|rule| rule.moves_money);
    if !moves_money {
        return next.run(request).await;
    }
    // In a task of its own: whoever hangs up does not stop half-way what he began.
    let done = tokio::spawn(async move { answer(&app, request, next).await });
    match done.await {
        Ok(answered) => answered.unwrap_or_else(IntoResponse::into_response),
        Err(error) => {
            warn!(%error, "a request of the API failed");
            Problem::failed("the pool failed, see its log").into_response()
        }
    }
}

async fn answer(app: &App, request: Request, next: Next) -> Result<Response, Problem> {
    let caller = request.extensions().get::<Caller>().cloned();
    let token = caller.ok_or_else(|| Problem::failed("nobody asks"))?.id;
    let key = key(request.headers())?;
    let (parts, body) = request.into_parts();
    let body = to_bytes(body, MAX_BODY_BYTES).await.map_err(|_| problem::too_large())?;
    let digest = digest(&parts, &body);
    let Some(_turn) = app.under_way.begin(token, &key) else {
        let detail = "a request with this Idempotency-Key is being done: ask again for its answer";
        return Err(Problem::new(ProblemCode::RequestUnderWay, detail));
    };
    let now_ms = Timestamp::now().as_millisecond();
    match app.store.claim_answer(token, &key, digest, now_ms, now_ms - KEPT_MS).await? {
        Claim::Open => {}
        Claim::Answered(answer) => return Ok(replay(answer)),
        Claim::OtherRequest => {
            let detail = "this Idempotency-Key belongs to another request: choose a new one for each";
            return Err(Problem::new(ProblemCode::IdempotencyKeyReused, detail));
        }
    }
    let response = next.run(Request::from_parts(parts, Body::from(body))).await;
    keep(app, token, &key, response).await
}

/// Keeps the answer, unless it says that the pool could not do it now, and passes it on.
async fn keep(app: &App, token: TokenId, key: &str, response: Response) -> Result<Response, Problem> {
    if response.status().is_server_error() {
        return Ok(response);
    }
    let (parts, body) = response.into_parts();
    let body = to_bytes(body, MAX_ANSWER_BYTES).await.map_err(|error| Problem::failed(error.to_string()))?;
    let answer = Answer { status: parts.status.as_u16(), body: String::from_utf8_lossy(&body).into_owned() };
    // What was done is done, and told: the same again does no harm.
    if let Err(error) = app.store.keep_answer(token, key, &answer).await {
        warn!(%error, "the answer to a request of the API could not be kept");
    }
    Ok(Response::from_parts(parts, Body::from(body)))
}

fn replay(answer: Answer) -> Response {
    let status = StatusCode::from_u16(answer.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let media_type = if status.is_success() { "application/json" } else { problem::MEDIA_TYPE };
    let headers = [
        (header::CONTENT_TYPE, HeaderValue::from_static(media_type)),
        (header::HeaderName::from_static(REPLAYED), HeaderValue::from_static("true")),
    ];
    (status, headers, answer.body).into_response()
}

fn key(headers: &HeaderMap) -> Result<String, Problem> {
    let Some(value) = headers.get(HEADER) else {
        let detail = "this moves money: it takes an Idempotency-Key, a new one for each request, such as a UUID";
        return Err(Problem::new(ProblemCode::IdempotencyKeyMissing, detail));
    };
    let key = value.to_str().unwrap_or_default();
    if key.is_empty() || key.len() > MAX_KEY_LENGTH {
        let detail = format!("Idempotency-Key should be 1 to {MAX_KEY_LENGTH} characters of ASCII");
        return Err(Problem::new(ProblemCode::IdempotencyKeyMalformed, detail));
    }
    Ok(key.to_owned())
}

/// The hash over what makes two requests the same.
fn digest(parts: &Parts, body: &Bytes) -> Digest {
    let target = parts.uri.path_and_query().map_or("", |target| target.as_str());
    Digest::of(&[parts.method.as_str().as_bytes(), b" ", target.as_bytes(), b"\n", body].concat())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn key_is_taken_by_one_request_at_a_time() {
        let under_way = UnderWay::default();
        let (alice, bob) = (TokenId::new(1), TokenId::new(2));
        let turn = under_way.begin(alice, "k").unwrap();
        assert!(under_way.begin(alice, "k").is_none());
        assert!(under_way.begin(alice, "l").is_some() && under_way.begin(bob, "k").is_some());
        drop(turn);
        assert!(under_way.begin(alice, "k").is_some());
    }

    #[test]
    fn key_must_be_there_and_short() {
        let with = |key: &str| HeaderMap::from_iter([(header::HeaderName::from_static(HEADER), key.parse().unwrap())]);
        assert_eq!(key(&with("0b0c")).unwrap(), "0b0c");
        assert_eq!(key(&HeaderMap::new()).unwrap_err().status(), 400);
        for wrong in ["", &"k".repeat(MAX_KEY_LENGTH + 1)] {
            assert_eq!(key(&with(wrong)).unwrap_err().status(), 400);
        }
    }

    #[test]
    fn other_path_or_body_is_another_request() {
        let of = |path: &str, body: &'static str| {
            let (parts, ()) = Request::post(path).body(()).unwrap().into_parts();
            digest(&parts, &Bytes::from_static(body.as_bytes()))
        };
        assert_eq!(of("/a", "1"), of("/a", "1"));
        assert_ne!(of("/a", "1"), of("/a", "2"));
        assert_ne!(of("/a", "1"), of("/b", "1"));
    }
}
