//! Who may do what: the one table of all routes, each with the least role that it takes.
//!
//! It is asked for each request, and the OpenAPI document is made to say the same. What does not stand here is refused.

use axum::http::Method;
use payouts::access::Role;

/// What it takes to use a route.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Access {
    /// Nothing.
    Public,
    /// A viewer's token, or that of a watcher of the account that the path names.
    OwnAccount,
    /// A token of this role, or of one that may more.
    Least(Role),
}

/// What it takes to use a route, and whether it moves money.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Rule {
    /// The method.
    pub(super) method: Method,
    /// The path with its parameters in braces.
    pub(super) path: &'static str,
    /// Who may.
    pub(super) access: Access,
    /// Whether it moves money, or keeps it from moving: then it takes an `Idempotency-Key`.
    pub(super) moves_money: bool,
}

impl Access {
    /// Returns the least role, as the OpenAPI document says it.
    pub(super) fn least_role(self) -> Option<Role> {
        match self {
            Access::Public => None,
            Access::OwnAccount => Some(Role::Watcher),
            Access::Least(role) => Some(role),
        }
    }
}

const fn rule(method: Method, path: &'static str, access: Access) -> Rule {
    Rule { method, path, access, moves_money: false }
}

const fn get(path: &'static str, access: Access) -> Rule {
    rule(Method::GET, path, access)
}

const fn post(path: &'static str, access: Access) -> Rule {
    rule(Method::POST, path, access)
}

const fn delete(path: &'static str, access: Access) -> Rule {
    rule(Method::DELETE, path, access)
}

/// What moves money, or keeps it from moving: an operator's, under a key.
const fn money(path: &'static str) -> Rule {
    Rule { method: Method::POST, path, access: OPERATOR, moves_money: true }
}

const VIEWER: Access = Access::Least(Role::Viewer);
const OPERATOR: Access = Access::Least(Role::Operator);
const ADMIN: Access = Access::Least(Role::Admin);

/// All routes.
pub(super) const RULES: &[Rule] = &[
    get("/healthz", Access::Public),
    get("/readyz", Access::Public),
    get("/metrics", VIEWER),
    get("/api/openapi.json", Access::Public),
    get("/api/docs", Access::Public),
    get("/api/v1/pool", VIEWER),
    get("/api/v1/events", VIEWER),
    get("/api/v1/connections", VIEWER),
    get("/api/v1/connections/ended", VIEWER),
    get("/api/v1/connections/{connection}", VIEWER),
    post("/api/v1/connections/{connection}/kick", OPERATOR),
    post("/api/v1/connections/{connection}/drain", OPERATOR),
    rule(Method::PUT, "/api/v1/connections/{connection}/difficulty", OPERATOR),
    post("/api/v1/connections/{connection}/trace", OPERATOR),
    get("/api/v1/connections/{connection}/trace", OPERATOR),
    get("/api/v1/channels", VIEWER),
    get("/api/v1/workers", VIEWER),
    get("/api/v1/history", VIEWER),
    get("/api/v1/bans", VIEWER),
    post("/api/v1/bans", OPERATOR),
    delete("/api/v1/bans/{address}", OPERATOR),
    get("/api/v1/accounts", VIEWER),
    post("/api/v1/accounts", OPERATOR),
    get("/api/v1/accounts/{account}", Access::OwnAccount),
    rule(Method::PATCH, "/api/v1/accounts/{account}", OPERATOR),
    delete("/api/v1/accounts/{account}/name", OPERATOR),
    get("/api/v1/accounts/{account}/balance", Access::OwnAccount),
    get("/api/v1/accounts/{account}/payouts", Access::OwnAccount),
    get("/api/v1/accounts/{account}/entries", Access::OwnAccount),
    get("/api/v1/accounts/{account}/workers", Access::OwnAccount),
    get("/api/v1/accounts/{account}/history", Access::OwnAccount),
    money("/api/v1/accounts/{account}/hold"),
    money("/api/v1/accounts/{account}/release"),
    rule(Method::PUT, "/api/v1/accounts/{account}/threshold", OPERATOR),
    get("/api/v1/blocks", VIEWER),
    get("/api/v1/blocks/{hash}", VIEWER),
    get("/api/v1/blocks/{hash}/raw", VIEWER),
    get("/api/v1/payouts", VIEWER),
    get("/api/v1/payouts/next", VIEWER),
    get("/api/v1/payouts/batches", VIEWER),
    money("/api/v1/payouts/batches"),
    get("/api/v1/payouts/batches/{batch}", VIEWER),
    money("/api/v1/payouts/batches/{batch}/approve"),
    money("/api/v1/payouts/batches/{batch}/cancel"),
    money("/api/v1/payouts/batches/{batch}/bump"),
    post("/api/v1/payouts/batches/{batch}/psbt/export", OPERATOR),
    money("/api/v1/payouts/batches/{batch}/psbt"),
    get("/api/v1/ledger/balances", VIEWER),
    get("/api/v1/ledger/sums", VIEWER),
    get("/api/v1/ledger/entries", VIEWER),
    get("/api/v1/ledger/entries/{entry}", VIEWER),
    get("/api/v1/ledger/entries.csv", VIEWER),
    get("/api/v1/reserve", VIEWER),
    money("/api/v1/reserve/fund"),
    money("/api/v1/reserve/assign"),
    get("/api/v1/exports/records", VIEWER),
    get("/api/v1/exports/records/{record}", VIEWER),
    // No money moves, and the same files once more change nothing.
    post("/api/v1/exports/values", OPERATOR),
    get("/api/v1/exports/periods", VIEWER),
    post("/api/v1/exports/periods/declare", OPERATOR),
    post("/api/v1/exports/periods/close", OPERATOR),
    // Some of the files name people, as parties do: no viewer's.
    get("/api/v1/exports/reports", OPERATOR),
    get("/api/v1/exports/reports/{profile}/{period}/{file}", OPERATOR),
    get("/api/v1/parties", OPERATOR),
    post("/api/v1/parties", OPERATOR),
    get("/api/v1/parties/{party}", OPERATOR),
    rule(Method::PUT, "/api/v1/parties/{party}", OPERATOR),
    delete("/api/v1/parties/{party}", OPERATOR),
    post("/api/v1/accounts/{account}/owner", OPERATOR),
    get("/api/v1/screening", VIEWER),
    post("/api/v1/screening/check", VIEWER),
    money("/api/v1/screening/reviews"),
    money("/api/v1/screening/lists/{list}/accept"),
    get("/api/v1/sales", VIEWER),
    money("/api/v1/sales/{sale}/steps"),
    money("/api/v1/sales/{sale}/delivery"),
    get("/api/v1/settings", OPERATOR),
    post("/api/v1/settings/reload", ADMIN),
    get("/api/v1/tokens", ADMIN),
    post("/api/v1/tokens", ADMIN),
    delete("/api/v1/tokens/{token}", ADMIN),
    get("/api/v1/audit", ADMIN),
];

/// Returns the rule of a route.
pub(super) fn find(method: &Method, path: &str) -> Option<&'static Rule> {
    RULES.iter().find(|rule| rule.method == method && rule.path == path)
}

/// Returns the methods of a path.
pub(super) fn methods(path: &str) -> Vec<&'static str> {
    RULES.iter().filter(|rule| rule.path == path).map(|rule| rule.method.as_str()).collect()
}
