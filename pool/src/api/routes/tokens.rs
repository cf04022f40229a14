//! Tokens, and what was done with them.

use std::sync::Arc;

use axum::{Extension, extract::State, http::StatusCode};
use payouts::{
    access::{AuditRow, AuditSeq, Role, TokenId},
    account::User,
    store::{AuditFilter, Store},
};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::unexpected;
use crate::{
    api::{
        auth::Caller,
        extract::{Json, Path, Query},
        paging::{Listed, Page},
        problem::Problem,
    },
    operations::{
        Desk, Outcome, Request, Words,
        token::{TokenAdded, TokenReport, TokenRevoked},
    },
};

/// All tokens, also those that were revoked, in the order of their numbers.
#[utoipa::path(
    get,
    path = "/api/v1/tokens",
    operation_id = "list_tokens",
    tag = "tokens",
    params(Page),
    responses((status = OK, description = "The tokens", body = Listed<TokenReport>))
)]
pub(super) async fn list(
    State(store): State<Arc<dyn Store>>,
    Query(page): Query<Page>,
) -> Result<axum::Json<Listed<TokenReport>>, Problem> {
    let (limit, after) = (page.limit()?, page.after()?.unwrap_or(0));
    let tokens = store.tokens(TokenId::new(after), limit + 1).await?;
    let listed = Listed::new(tokens, limit, |token| token.id.to_string());
    Ok(axum::Json(listed.map(TokenReport::from)))
}

/// What a new token is for.
#[derive(Clone, Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct NewToken {
    /// Who shall have it, or what for: what is done with it is on record under this name.
    #[schema(value_type = String)]
    label: Words,
    /// `watcher`, `viewer`, `operator` or `admin`.
    #[schema(value_type = String)]
    role: Role,
    /// The account that a watcher sees: its address or name.
    #[serde(default)]
    #[schema(value_type = Option<String>)]
    account: Option<User>,
}

/// Makes a token. It is told in this answer, and never again.
#[utoipa::path(
    post,
    path = "/api/v1/tokens",
    operation_id = "add_token",
    tag = "tokens",
    request_body = NewToken,
    responses((status = CREATED, description = "The token", body = TokenAdded))
)]
pub(super) async fn add(
    State(desk): State<Desk>,
    Extension(caller): Extension<Caller>,
    Json(NewToken { label, role, account }): Json<NewToken>,
) -> Result<(StatusCode, axum::Json<TokenAdded>), Problem> {
    match desk.ask(&caller.actor(), Request::AddToken { label, role, account }).await? {
        Outcome::TokenAdded(added) => Ok((StatusCode::CREATED, axum::Json(*added))),
        other => Err(unexpected(&other)),
    }
}

/// Revokes a token at once.
#[utoipa::path(
    delete,
    path = "/api/v1/tokens/{token}",
    operation_id = "revoke_token",
    tag = "tokens",
    params(("token" = i64, Path, description = "Its number")),
    responses((status = OK, description = "The token as it is now", body = TokenRevoked))
)]
pub(super) async fn revoke(
    State(desk): State<Desk>,
    Extension(caller): Extension<Caller>,
    Path(token): Path<i64>,
) -> Result<axum::Json<TokenRevoked>, Problem> {
    match desk.ask(&caller.actor(), Request::RevokeToken { token: TokenId::new(token) }).await? {
        Outcome::TokenRevoked(revoked) => Ok(axum::Json(revoked)),
        other => Err(unexpected(&other)),
    }
}

/// Something that an operator asked for, by the API or a command.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub(super) struct AuditReport {
    /// Its place in the log.
    seq: i64,
    /// When it was begun, in milliseconds since 1970 UTC.
    at_ms: i64,
    /// Who asked: `token 3 (alice)`, or `user 1000` of the machine, by a command.
    actor: String,
    /// What for.
    action: String,
    /// `done`, or why not; nothing if the pool ended before that was known.
    outcome: Option<String>,
    /// When that was known, in milliseconds since 1970 UTC.
    ended_at_ms: Option<i64>,
}

impl From<AuditRow> for AuditReport {
    fn from(row: AuditRow) -> AuditReport {
        AuditReport {
            seq: row.seq.get(),
            at_ms: row.at_ms,
            actor: row.actor,
            action: row.action,
            ended_at_ms: row.outcome.as_ref().map(|outcome| outcome.at_ms),
            outcome: row.outcome.map(|outcome| outcome.text),
        }
    }
}

/// Which rows of the log.
#[derive(Clone, Debug, Default, Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct WantedAudit {
    /// How many items at most.
    #[param(minimum = 1, maximum = 1000, default = 100)]
    limit: Option<u32>,
    /// Where to go on: `next` of the page before.
    after: Option<String>,
    /// Those alone whose actor has this text in him.
    actor: Option<String>,
    /// Those alone whose action has this text in it.
    action: Option<String>,
}

/// What operators asked for that changes something or tells of people, by the API or by commands, newest first.
#[utoipa::path(
    get,
    path = "/api/v1/audit",
    operation_id = "list_audit_log",
    tag = "tokens",
    params(WantedAudit),
    responses((status = OK, description = "The log", body = Listed<AuditReport>))
)]
pub(super) async fn audit(
    State(store): State<Arc<dyn Store>>,
    Query(WantedAudit { limit, after, actor, action }): Query<WantedAudit>,
) -> Result<axum::Json<Listed<AuditReport>>, Problem> {
    let page = Page::new(limit, after);
    let (limit, after) = (page.limit()?, page.after()?);
    let wanted = AuditFilter { actor: actor.unwrap_or_default(), action: action.unwrap_or_default() };
    let rows = store.audit_where(&wanted, after.map(AuditSeq::new), limit + 1).await?;
    let listed = Listed::new(rows, limit, |row| row.seq.to_string());
    Ok(axum::Json(listed.map(AuditReport::from)))
}
