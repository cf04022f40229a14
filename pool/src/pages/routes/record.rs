//! What is on record of operators: the tokens that they have, and what was done with them.

use askama::Template;
use axum::{extract::Path, response::Response};
use payouts::{
    access::{AuditRow, AuditSeq, Role, Token, TokenId},
    account::User,
    store::AuditFilter,
};

use super::{PAGE, cut, expected, now_ms};
use crate::{
    operations::{Outcome, Refusal, RefusalCode, Request, account::addresses_of, token::TokenReport},
    pages::{
        asked::{Asked, Shown, page},
        frame::Frame,
        links::with_query,
        session::Notice,
        show::{Ago, When},
    },
};

/// The longest text that rows of the log are looked for by.
const MAX_SEARCH_CHARS: usize = 128;

#[derive(Template)]
#[template(path = "audit.html")]
struct Audit {
    frame: Frame,
    actor: String,
    action: String,
    rows: Vec<Row>,
    next: Option<String>,
}

struct Row {
    seq: i64,
    at: When,
    actor: String,
    action: String,
    outcome: Option<String>,
    is_done: bool,
}

impl From<AuditRow> for Row {
    fn from(row: AuditRow) -> Row {
        let outcome = row.outcome.map(|outcome| outcome.text);
        let is_done = outcome.as_deref() == Some("done");
        Row { seq: row.seq.get(), at: When(row.at_ms), actor: row.actor, action: row.action, outcome, is_done }
    }
}

/// What operators asked for that changes something or tells of people, newest first.
pub(in crate::pages) async fn audit(asked: Asked) -> Shown {
    let Asked { pages, fields, .. } = &asked;
    let text = |name: &str| fields.text(name).chars().take(MAX_SEARCH_CHARS).collect::<String>();
    let wanted = AuditFilter { actor: text("actor"), action: text("action") };
    let before = fields.optional::<i64>("before")?.map(AuditSeq::new);
    let mut rows = pages.store.audit_where(&wanted, before, PAGE + 1).await?;
    let last = cut(&mut rows, PAGE).map(|last| last.seq.to_string());
    let AuditFilter { actor, action } = wanted;
    let next = last.map(|last| with_query("/audit", &[("actor", &actor), ("action", &action), ("before", &last)]));
    let frame = asked.frame("/audit", "Audit log").live_if(before.is_none());
    page(&Audit { frame, actor, action, rows: rows.into_iter().map(Row::from).collect(), next })
}

#[derive(Template)]
#[template(path = "tokens.html")]
struct Tokens {
    frame: Frame,
    lines: Vec<TokenLine>,
    next: Option<String>,
}

struct TokenLine {
    id: i64,
    label: String,
    role: Role,
    /// The address of the account that a watcher sees.
    account: Option<String>,
    made: When,
    used: Option<Ago>,
    revoked: Option<When>,
    is_own: bool,
}

/// The tokens, in the order of their numbers.
pub(in crate::pages) async fn tokens(asked: Asked) -> Shown {
    let Asked { pages, viewer, fields } = &asked;
    let now_ms = now_ms();
    let after = fields.optional::<i64>("after")?;
    let mut tokens = pages.store.tokens(TokenId::new(after.unwrap_or(0)), PAGE + 1).await?;
    let last = cut(&mut tokens, PAGE).map(|last| last.id.to_string());
    let next = last.map(|last| with_query("/tokens", &[("after", &last)]));
    let watched = tokens.iter().filter_map(|token| token.grant.account());
    let addresses = addresses_of(&*pages.store, watched).await?;
    let line = |token: Token| {
        let report = TokenReport::from(token);
        TokenLine {
            id: report.token.get(),
            label: report.label,
            role: report.role,
            account: report.account.and_then(|account| addresses.get(&account).cloned()),
            made: When(report.created_at_ms),
            used: report.last_used_at_ms.map(|at_ms| Ago { at_ms, now_ms }),
            revoked: report.revoked_at_ms.map(When),
            is_own: report.token == viewer.token.id,
        }
    };
    let lines = tokens.into_iter().map(line).collect();
    // A token that was just made stands in the page until somebody has copied it.
    let frame = asked.frame("/tokens", "Tokens").live_if(false);
    page(&Tokens { frame, lines, next })
}

/// Makes a token, which is told on the next page alone.
pub(in crate::pages) async fn add_token(asked: Asked) -> Response {
    let added = async {
        let (label, role) = (asked.fields.required("label")?, asked.fields.required("role")?);
        let account = asked.fields.optional::<User>("account")?;
        expected!(asked.ask(Request::AddToken { label, role, account }).await?, Outcome::TokenAdded)
    };
    match added.await {
        Ok(added) => {
            let text = format!("Token {} is made. It is shown this once: copy it now.", added.token.label);
            let secret = Some(added.secret.expose().to_owned());
            asked.leave("/tokens", Notice { is_done: true, text, secret })
        }
        Err(refusal) => asked.tell("/tokens", Err(refusal)),
    }
}

/// Revokes a token at once, if that was confirmed.
pub(in crate::pages) async fn revoke_token(asked: Asked, Path(token): Path<String>) -> Response {
    let revoked = async {
        let unknown = |_| Refusal::new(RefusalCode::NotFound, "there is no such token");
        let token = TokenId::new(token.parse().map_err(unknown)?);
        if !asked.fields.is_ticked("confirmed") {
            return Err(Refusal::new(RefusalCode::Invalid, "nothing was revoked: tick that whoever has it is cut off"));
        }
        let revoked = expected!(asked.ask(Request::RevokeToken { token }).await?, Outcome::TokenRevoked)?;
        Ok(format!("Token {} is revoked.", revoked.token.label))
    };
    asked.told("/tokens", revoked).await
}
