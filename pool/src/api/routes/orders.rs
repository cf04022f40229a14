//! What operators want of a connection: to end, to connect again, another difficulty, to be traced.

use std::{sync::Arc, time::Instant};

use axum::{Extension, extract::State, http::StatusCode};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::answered;
use crate::{
    api::{
        Live,
        auth::Caller,
        extract::{Json, Path},
        problem::Problem,
    },
    operations::{
        Desk, Outcome, Request,
        connection::{Ordered, WantedDifficulty},
    },
    stratum::{
        roster::ConnectionId,
        trace::{Trace, TracedMessage},
    },
};

/// A difficulty for channels.
#[derive(Clone, Copy, Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct NewDifficulty {
    /// The difficulty, above 0; rounded up to a power of two, and brought within what network and client allow.
    #[schema(value_type = f64)]
    difficulty: WantedDifficulty,
    /// The channel; all of the connection's if nothing.
    #[serde(default)]
    channel: Option<u32>,
}

/// What client and pool have said to each other.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub(super) struct TraceReport {
    /// When it began, in milliseconds since 1970 UTC.
    begun_at_ms: i64,
    /// Whether its minute is over.
    is_over: bool,
    /// The messages, in their order.
    messages: Vec<MessageReport>,
    /// How many more there were than fit.
    left_out: u64,
}

/// A message.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub(super) struct MessageReport {
    /// When, in milliseconds since 1970 UTC.
    at_ms: i64,
    /// `client` or `pool`.
    from: &'static str,
    /// What was said, decoded; cut if it is long.
    text: String,
}

impl TraceReport {
    fn new(trace: &Trace) -> TraceReport {
        let written = trace.written();
        let message = |TracedMessage { at_ms, of_client, text }| {
            let from = if of_client { "client" } else { "pool" };
            MessageReport { at_ms, from, text }
        };
        TraceReport {
            begun_at_ms: trace.begun_at_ms(),
            is_over: trace.is_over(Instant::now()),
            messages: written.messages.into_iter().map(message).collect(),
            left_out: written.left_out,
        }
    }
}

type Taken = Result<(StatusCode, axum::Json<Ordered>), Problem>;

async fn order(desk: &Desk, caller: &Caller, request: Request) -> Taken {
    Ok((StatusCode::ACCEPTED, answered!(desk.ask(&caller.actor(), request).await?, Outcome::Ordered)?))
}

/// Ends a connection at once.
#[utoipa::path(
    post,
    path = "/api/v1/connections/{connection}/kick",
    operation_id = "kick_connection",
    tag = "connections",
    params(("connection" = u64, Path, description = "Its number")),
    responses((status = ACCEPTED, description = "It ends", body = Ordered))
)]
pub(super) async fn kick(
    State(desk): State<Desk>,
    Extension(caller): Extension<Caller>,
    Path(connection): Path<u64>,
) -> Taken {
    order(&desk, &caller, Request::Kick { connection }).await
}

/// Asks a client to connect again (SV2 `Reconnect`), and ends its connection when all of its shares are acknowledged.
#[utoipa::path(
    post,
    path = "/api/v1/connections/{connection}/drain",
    operation_id = "drain_connection",
    tag = "connections",
    params(("connection" = u64, Path, description = "Its number")),
    responses((status = ACCEPTED, description = "It is asked", body = Ordered))
)]
pub(super) async fn drain(
    State(desk): State<Desk>,
    Extension(caller): Extension<Caller>,
    Path(connection): Path<u64>,
) -> Taken {
    order(&desk, &caller, Request::Drain { connection }).await
}

/// Gives channels another difficulty, from which it follows their shares again: it is no pin. Network and client bound it.
#[utoipa::path(
    put,
    path = "/api/v1/connections/{connection}/difficulty",
    operation_id = "set_connection_difficulty",
    tag = "connections",
    params(("connection" = u64, Path, description = "Its number")),
    request_body = NewDifficulty,
    responses((status = ACCEPTED, description = "It is given", body = Ordered))
)]
pub(super) async fn set_difficulty(
    State(desk): State<Desk>,
    Extension(caller): Extension<Caller>,
    Path(connection): Path<u64>,
    Json(NewDifficulty { difficulty, channel }): Json<NewDifficulty>,
) -> Taken {
    order(&desk, &caller, Request::SetDifficulty { connection, channel, difficulty }).await
}

/// Writes down for a minute what client and pool say to each other.
#[utoipa::path(
    post,
    path = "/api/v1/connections/{connection}/trace",
    operation_id = "trace_connection",
    tag = "connections",
    params(("connection" = u64, Path, description = "Its number")),
    responses((status = ACCEPTED, description = "It begins, or goes on", body = Ordered))
)]
pub(super) async fn trace(
    State(desk): State<Desk>,
    Extension(caller): Extension<Caller>,
    Path(connection): Path<u64>,
) -> Taken {
    order(&desk, &caller, Request::Trace { connection }).await
}

/// What was written down of a connection, one of the last that were traced.
#[utoipa::path(
    get,
    path = "/api/v1/connections/{connection}/trace",
    operation_id = "show_connection_trace",
    tag = "connections",
    params(("connection" = u64, Path, description = "Its number")),
    responses((status = OK, description = "The messages", body = TraceReport))
)]
pub(super) async fn show_trace(
    State(live): State<Arc<Live>>,
    Path(connection): Path<u64>,
) -> Result<axum::Json<TraceReport>, Problem> {
    let trace = live.roster.trace(ConnectionId(connection));
    let trace = trace.ok_or_else(|| Problem::not_found(format!("connection {connection} was not traced lately")))?;
    Ok(axum::Json(TraceReport::new(&trace)))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use axum::http::Method;
    use payouts::access::Grant;
    use serde_json::{Value, json};

    use super::*;
    use crate::{
        api::tests::Fixture,
        stratum::roster::tests::{ONE, open, peer, setup},
    };

    #[tokio::test]
    async fn orders_are_taken_of_operators_and_on_record() {
        let fixture = Fixture::new().await;
        let (operator, now) = (fixture.token("alice", Grant::Operate).await.1, Instant::now());
        let admin = fixture.token("root", Grant::Administer).await.1;
        let seated = fixture.live.roster.begin(peer(1), now);
        seated.set_up(&setup(), 2, now);
        open(&seated, 2, ONE, "rack", now);
        let ask = async |method: Method, what: &str, body: Value| {
            let path = format!("/api/v1/connections/{what}");
            fixture.ask(&method, &path, Some(&operator), &[], body).await
        };
        for (body, status) in [
            (json!({"difficulty": 1000}), 202),
            (json!({"difficulty": 0.5, "channel": 2}), 202),
            (json!({"difficulty": 1000, "channel": 3}), 404),
            (json!({"difficulty": 0}), 422),
            (json!({"difficulty": "x"}), 422),
            (json!({}), 422),
        ] {
            let (seen, answer) = ask(Method::PUT, "1/difficulty", body.clone()).await;
            assert_eq!(seen, status, "{body}: {answer}");
        }
        assert_eq!(ask(Method::GET, "1/trace", Value::Null).await.0, 404);
        assert_eq!(ask(Method::POST, "1/trace", Value::Null).await, (StatusCode::ACCEPTED, json!({"connection": 1})));
        let (_, trace) = ask(Method::GET, "1/trace", Value::Null).await;
        assert_eq!((&trace["messages"], &trace["is_over"]), (&json!([]), &json!(false)));
        assert_eq!(ask(Method::POST, "1/kick", Value::Null).await.0, 202);
        assert_eq!(ask(Method::POST, "2/kick", Value::Null).await.0, 404);

        let ban = json!({"address": "192.0.2.9", "seconds": 60});
        let (status, banned) = fixture.ask(&Method::POST, "/api/v1/bans", Some(&operator), &[], ban).await;
        assert_eq!((status, banned), (StatusCode::CREATED, json!({"origin": "192.0.2.9", "seconds": 60, "ended": 0})));
        let (_, bans) = fixture.get("/api/v1/bans", Some(&operator)).await;
        assert_eq!(bans["items"][0]["origin"], "192.0.2.9");
        let (_, audit) = fixture.get("/api/v1/audit?limit=3", Some(&admin)).await;
        let actions: Vec<_> = audit["items"].as_array().unwrap().iter().map(|row| row["action"].clone()).collect();
        assert_eq!(actions, ["ban 192.0.2.9 for 60 s", "end connection 2", "end connection 1"]);
    }
}
