//! Who asks, and whether he may: the one place where a token is looked at and the table of rules is applied.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

use axum::{
    extract::{MatchedPath, RawPathParams, Request, State},
    http::{HeaderMap, Method, header},
    middleware::Next,
    response::{IntoResponse, Response},
};
use jiff::Timestamp;
use payouts::{
    access::{Grant, Role, Token, TokenId},
    account::User,
    store::Store,
};
use tracing::{debug, info};

use super::{
    App,
    problem::{Problem, ProblemCode},
    rules::{self, Access, Rule},
};
use crate::operations::{Actor, account::find_account, token};

/// The last use of a token is noted so often at most.
const USE_INTERVAL_MS: i64 = 3_600_000;
/// No token is nearly as long.
const MAX_TOKEN_LENGTH: usize = 128;

/// Whoever asks with a token that is in force.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Caller {
    /// The token.
    pub(super) id: TokenId,
    /// What it is called: who does something with it, on record.
    pub(super) label: String,
    /// What it is for.
    pub(super) grant: Grant,
}

impl Caller {
    /// Returns who it is, for the record.
    pub(super) fn actor(&self) -> Actor {
        Actor::Token { id: self.id, label: self.label.clone(), grant: self.grant }
    }
}

impl From<Token> for Caller {
    fn from(Token { id, label, grant, .. }: Token) -> Caller {
        Caller { id, label, grant }
    }
}

/// When each token was last noted as used. There are as many as there are tokens that were used.
#[derive(Debug, Default)]
pub(super) struct Uses(Mutex<HashMap<TokenId, i64>>);

impl Uses {
    /// Tells whether a use is to be noted; if so, it counts as noted.
    fn is_news(&self, token: &Token, now_ms: i64) -> bool {
        let mut noted = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let last = noted.entry(token.id).or_insert(token.last_used_at_ms.unwrap_or(0));
        let is_news = now_ms - *last >= USE_INTERVAL_MS;
        if is_news {
            *last = now_ms;
        }
        is_news
    }
}

/// Lets a request pass if the table allows it, with the caller for those behind.
pub(super) async fn authorise(
    State(app): State<App>,
    path: MatchedPath,
    parameters: RawPathParams,
    mut request: Request,
    next: Next,
) -> Response {
    let Some(rule) = rule_of(request.method(), path.as_str()) else { return no_rule(path.as_str()) };
    match caller(&app, rule, &parameters, request.headers()).await {
        Ok(None) => next.run(request).await,
        Ok(Some(caller)) => {
            request.extensions_mut().insert(rule);
            request.extensions_mut().insert(caller);
            next.run(request).await
        }
        Err(problem) => {
            debug!(path = path.as_str(), status = problem.status().as_u16(), "request of the API was turned away");
            problem.into_response()
        }
    }
}

/// As a server that knows GET knows HEAD too (RFC 9110 9.3.2).
fn rule_of(method: &Method, path: &str) -> Option<&'static Rule> {
    let method = if method == Method::HEAD { &Method::GET } else { method };
    rules::find(method, path)
}

fn no_rule(path: &str) -> Response {
    let methods = rules::methods(path);
    if methods.is_empty() {
        return Problem::new(ProblemCode::Forbidden, "there is no rule for this route").into_response();
    }
    let allowed = methods.join(", ");
    let detail = format!("this path takes {allowed}");
    let problem = Problem::new(ProblemCode::MethodNotAllowed, detail);
    ([(header::ALLOW, allowed)], problem).into_response()
}

/// Returns who asks, if the rule wants to know.
async fn caller(
    app: &App,
    rule: &Rule,
    parameters: &RawPathParams,
    headers: &HeaderMap,
) -> Result<Option<Caller>, Problem> {
    let least = match rule.access {
        Access::Public => return Ok(None),
        Access::OwnAccount => Role::Viewer,
        Access::Least(role) => role,
    };
    let token = presented(app, headers).await?;
    let role = token.grant.role();
    match (rule.access, token.grant) {
        (Access::OwnAccount, Grant::Watch(account)) => {
            let named = parameters.iter().find(|(name, _)| *name == "account").map(|(_, value)| value);
            let user: Option<User> = named.and_then(|name| name.parse().ok());
            let found = match &user {
                Some(user) => find_account(&*app.store, user).await.ok(),
                None => None,
            };
            // The same for an account of somebody else and for one that there is not: nobody can ask who mines here.
            if found.is_none_or(|found| found.id != account) {
                let detail = "this token sees one account alone, and it is another one";
                return Err(Problem::new(ProblemCode::OtherAccount, detail));
            }
        }
        _ if role < least => {
            let detail = format!("this takes the role {least}, and the token has the role {role}");
            return Err(Problem::new(ProblemCode::Forbidden, detail));
        }
        _ => {}
    }
    note_use(app, &token);
    Ok(Some(token.into()))
}

/// Returns the token that a request presents, if it is in force.
async fn presented(app: &App, headers: &HeaderMap) -> Result<Token, Problem> {
    let unauthorised = |detail| Problem::new(ProblemCode::Unauthorised, detail);
    let header = headers.get(header::AUTHORIZATION);
    let Some(value) = header.and_then(|value| value.to_str().ok()) else {
        return Err(unauthorised("this takes a token: authorization: Bearer adit_..."));
    };
    let secret = value.split_once(' ').filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"));
    let Some((_, secret)) = secret.filter(|(_, secret)| secret.len() <= MAX_TOKEN_LENGTH) else {
        return Err(unauthorised("the header must be: authorization: Bearer adit_..."));
    };
    let found = token::presented(&*app.store, secret.trim()).await?;
    found.ok_or_else(|| unauthorised("no token in force is like this one: see adit token list"))
}

/// Notes that a token is in use, beside the request: whoever reads shall not wait for a database that is slow to write.
fn note_use(app: &App, token: &Token) {
    let now_ms = Timestamp::now().as_millisecond();
    if !app.uses.is_news(token, now_ms) {
        return;
    }
    let (store, id): (Arc<dyn Store>, _) = (Arc::clone(&app.store), token.id);
    tokio::spawn(async move {
        if let Err(error) = store.note_token_use(id, now_ms).await {
            info!(%error, %id, "use of a token could not be noted");
        }
    });
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn use_of_a_token_is_noted_by_the_hour() {
        let uses = Uses::default();
        let hour = USE_INTERVAL_MS;
        let token = Token {
            id: TokenId::new(1),
            label: "alice".to_owned(),
            grant: Grant::View,
            created_at_ms: 0,
            last_used_at_ms: Some(10 * hour),
            revoked_at_ms: None,
        };
        for (now_ms, is_news) in
            [(10 * hour + 1, false), (11 * hour, true), (11 * hour, false), (12 * hour - 1, false), (12 * hour, true)]
        {
            assert_eq!(uses.is_news(&token, now_ms), is_news, "{now_ms}");
        }
    }
}
