//! What a client is told when something is not done: a problem in JSON with a code that stays (RFC 9457).

use axum::{
    extract::rejection::{BytesRejection, JsonRejection, PathRejection, QueryRejection},
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use payouts::store::StoreError;
use serde::Serialize;
use utoipa::ToSchema;

use crate::operations::{Refusal, RefusalCode};

/// The media type of a problem.
pub(super) const MEDIA_TYPE: &str = "application/problem+json";
/// After how many seconds something may be tried again that cannot be done now.
const RETRY_AFTER_S: &str = "5";

/// Where the codes are explained, each under an anchor of its name.
const EXPLAINED: &str = "/help/api#";

macro_rules! problem_codes {
    ($($(#[$doc:meta])* $code:ident = $name:literal, $status:ident;)*) => {
        /// What kind of problem it is. A code keeps its meaning.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
        #[serde(rename_all = "snake_case")]
        pub enum ProblemCode {
            $($(#[$doc])* $code,)*
        }

        impl ProblemCode {
            /// All codes, in the order of their statuses.
            pub const ALL: &[ProblemCode] = &[$(ProblemCode::$code),*];

            /// Its name on the wire.
            pub const fn as_str(self) -> &'static str {
                match self { $(ProblemCode::$code => $name),* }
            }

            /// The status of HTTP that it comes with.
            pub const fn status(self) -> StatusCode {
                match self { $(ProblemCode::$code => StatusCode::$status),* }
            }
        }
    };
}

problem_codes! {
    /// The request cannot be read: its path, query or body.
    Malformed = "malformed", BAD_REQUEST;
    /// It moves money, and has no `Idempotency-Key`.
    IdempotencyKeyMissing = "idempotency_key_missing", BAD_REQUEST;
    /// The key is empty, too long or no text.
    IdempotencyKeyMalformed = "idempotency_key_malformed", BAD_REQUEST;
    /// There is no token, or none that holds.
    Unauthorised = "unauthorised", UNAUTHORIZED;
    /// The token's role may not.
    Forbidden = "forbidden", FORBIDDEN;
    /// A watcher's token, and not his account.
    OtherAccount = "other_account", FORBIDDEN;
    /// What it names does not exist.
    NotFound = "not_found", NOT_FOUND;
    /// The path does not take the method.
    MethodNotAllowed = "method_not_allowed", METHOD_NOT_ALLOWED;
    /// It does not fit the state that things are in.
    Conflict = "conflict", CONFLICT;
    /// The same request is being done under its key.
    RequestUnderWay = "request_under_way", CONFLICT;
    /// The body is longer than any that is asked for.
    TooLarge = "too_large", PAYLOAD_TOO_LARGE;
    /// The body is not JSON.
    UnsupportedMediaType = "unsupported_media_type", UNSUPPORTED_MEDIA_TYPE;
    /// A value in it cannot be.
    Invalid = "invalid", UNPROCESSABLE_ENTITY;
    /// Another request had the key.
    IdempotencyKeyReused = "idempotency_key_reused", UNPROCESSABLE_ENTITY;
    /// The address asks too often.
    TooManyRequests = "too_many_requests", TOO_MANY_REQUESTS;
    /// The pool, its books or its wallet are not as they must be.
    Failed = "failed", INTERNAL_SERVER_ERROR;
    /// Miners get no work now.
    NotReady = "not_ready", SERVICE_UNAVAILABLE;
    /// Database, node or wallet do not answer now.
    Unavailable = "unavailable", SERVICE_UNAVAILABLE;
}

/// A problem (RFC 9457). Programs look at `code`, people read `detail`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub(super) struct Problem {
    /// Where the code is explained, with the cure: a path of this server.
    #[serde(rename = "type")]
    #[schema(example = "/help/api#not_found")]
    kind: String,
    /// The status in words.
    title: &'static str,
    /// The status of HTTP.
    status: u16,
    /// What kind of problem it is. A code keeps its meaning.
    code: ProblemCode,
    /// What is wrong, and the cure.
    detail: String,
}

impl Problem {
    /// A problem of a kind.
    pub(super) fn new(code: ProblemCode, detail: impl Into<String>) -> Problem {
        let status = code.status();
        let title = status.canonical_reason().unwrap_or("Problem");
        let kind = format!("{EXPLAINED}{}", code.as_str());
        Problem { kind, title, status: status.as_u16(), code, detail: detail.into() }
    }

    /// Something that is asked for does not exist.
    pub(super) fn not_found(detail: impl Into<String>) -> Problem {
        Problem::new(ProblemCode::NotFound, detail)
    }

    /// A value cannot be.
    pub(super) fn invalid(detail: impl Into<String>) -> Problem {
        Problem::new(ProblemCode::Invalid, detail)
    }

    /// The request cannot be read.
    pub(super) fn malformed(detail: impl Into<String>) -> Problem {
        Problem::new(ProblemCode::Malformed, detail)
    }

    /// The pool itself is not as it must be.
    pub(super) fn failed(detail: impl Into<String>) -> Problem {
        Problem::new(ProblemCode::Failed, detail)
    }

    /// Returns the status.
    pub(super) fn status(&self) -> StatusCode {
        self.code.status()
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let status = self.status();
        let body = serde_json::to_string(&self).expect("a problem is plain data");
        let mut response = (status, [(header::CONTENT_TYPE, MEDIA_TYPE)], body).into_response();
        if matches!(status, StatusCode::SERVICE_UNAVAILABLE | StatusCode::TOO_MANY_REQUESTS) {
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static(RETRY_AFTER_S));
        }
        if status == StatusCode::UNAUTHORIZED {
            response.headers_mut().insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer realm=\"adit\""));
        }
        response
    }
}

impl From<Refusal> for Problem {
    fn from(refusal: Refusal) -> Problem {
        let code = match refusal.code {
            RefusalCode::Malformed => ProblemCode::Malformed,
            RefusalCode::NotFound => ProblemCode::NotFound,
            RefusalCode::Invalid => ProblemCode::Invalid,
            RefusalCode::Conflict => ProblemCode::Conflict,
            RefusalCode::Unavailable => ProblemCode::Unavailable,
            RefusalCode::Failed => ProblemCode::Failed,
        };
        Problem::new(code, refusal.reason)
    }
}

impl From<StoreError> for Problem {
    fn from(error: StoreError) -> Problem {
        Refusal::from(error).into()
    }
}

impl From<JsonRejection> for Problem {
    fn from(rejection: JsonRejection) -> Problem {
        match rejection.status() {
            StatusCode::PAYLOAD_TOO_LARGE => too_large(),
            StatusCode::UNSUPPORTED_MEDIA_TYPE => {
                let detail = "the body must be JSON, with content-type: application/json";
                Problem::new(ProblemCode::UnsupportedMediaType, detail)
            }
            StatusCode::UNPROCESSABLE_ENTITY => Problem::invalid(rejection.body_text()),
            _ => Problem::malformed(rejection.body_text()),
        }
    }
}

impl From<BytesRejection> for Problem {
    fn from(rejection: BytesRejection) -> Problem {
        if rejection.status() == StatusCode::PAYLOAD_TOO_LARGE {
            too_large()
        } else {
            Problem::malformed(rejection.body_text())
        }
    }
}

impl From<QueryRejection> for Problem {
    fn from(rejection: QueryRejection) -> Problem {
        Problem::malformed(rejection.body_text())
    }
}

impl From<PathRejection> for Problem {
    fn from(rejection: PathRejection) -> Problem {
        Problem::malformed(rejection.body_text())
    }
}

/// A body is longer than any that is asked for.
pub(super) fn too_large() -> Problem {
    Problem::new(ProblemCode::TooLarge, "the body is too long")
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use axum::body::to_bytes;

    use super::*;

    #[tokio::test]
    async fn refusal_is_told_with_its_code_and_what_to_do() {
        for (code, status, name) in [
            (RefusalCode::NotFound, 404, "not_found"),
            (RefusalCode::Invalid, 422, "invalid"),
            (RefusalCode::Conflict, 409, "conflict"),
            (RefusalCode::Unavailable, 503, "unavailable"),
            (RefusalCode::Failed, 500, "failed"),
        ] {
            let response = Problem::from(Refusal::new(code, "no batch 7")).into_response();
            assert_eq!(response.status(), status);
            assert_eq!(response.headers()[header::CONTENT_TYPE], MEDIA_TYPE);
            assert_eq!(response.headers().contains_key(header::RETRY_AFTER), status == 503);
            let body = to_bytes(response.into_body(), 10_000).await.unwrap();
            let body: serde_json::Value = serde_json::from_slice(&body).unwrap();
            assert_eq!(
                (&body["code"], &body["status"], &body["detail"]),
                (&name.into(), &status.into(), &"no batch 7".into())
            );
        }
    }
}
