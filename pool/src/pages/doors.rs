//! Who may see a page and use its forms: each stands for a route of the API, and takes the same role as that.

use axum::http::Method;
use payouts::access::Role;

use crate::api::least_role;

/// A page or form, and the route of the API that it stands for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Door {
    /// The method of the page: GET to see it, POST to use a form.
    pub(super) method: Method,
    /// The path of the page, with its parameters in braces.
    pub(super) path: &'static str,
    /// The method of the API.
    pub(super) api_method: Method,
    /// The path of the API.
    pub(super) api_path: &'static str,
}

const fn page(path: &'static str, api_path: &'static str) -> Door {
    Door { method: Method::GET, path, api_method: Method::GET, api_path }
}

const fn form(path: &'static str, api_method: Method, api_path: &'static str) -> Door {
    Door { method: Method::POST, path, api_method, api_path }
}

/// The stream of events, which is no page but is admitted as one.
pub(super) const EVENTS: &str = "/events";

/// All pages and forms that take a log-in.
pub(super) const DOORS: &[Door] = &[
    page("/", "/api/v1/pool"),
    page("/history.json", "/api/v1/history"),
    page(EVENTS, "/api/v1/events"),
    page("/connections", "/api/v1/connections"),
    page("/connections/ended", "/api/v1/connections/ended"),
    page("/connections/{connection}", "/api/v1/connections/{connection}"),
    form("/connections/{connection}/kick", Method::POST, "/api/v1/connections/{connection}/kick"),
    form("/connections/{connection}/drain", Method::POST, "/api/v1/connections/{connection}/drain"),
    form("/connections/{connection}/difficulty", Method::PUT, "/api/v1/connections/{connection}/difficulty"),
    form("/connections/{connection}/trace", Method::POST, "/api/v1/connections/{connection}/trace"),
    page("/bans", "/api/v1/bans"),
    form("/bans", Method::POST, "/api/v1/bans"),
    form("/bans/lift", Method::DELETE, "/api/v1/bans/{address}"),
    page("/blocks", "/api/v1/blocks"),
    page("/blocks/{hash}", "/api/v1/blocks/{hash}"),
    page("/blocks/{hash}/raw", "/api/v1/blocks/{hash}/raw"),
    page("/payouts", "/api/v1/payouts"),
    form("/payouts/run", Method::POST, "/api/v1/payouts/batches"),
    page("/payouts/{batch}", "/api/v1/payouts/batches/{batch}"),
    form("/payouts/{batch}/approve", Method::POST, "/api/v1/payouts/batches/{batch}/approve"),
    form("/payouts/{batch}/cancel", Method::POST, "/api/v1/payouts/batches/{batch}/cancel"),
    form("/payouts/{batch}/bump", Method::POST, "/api/v1/payouts/batches/{batch}/bump"),
    form("/payouts/{batch}/psbt/export", Method::POST, "/api/v1/payouts/batches/{batch}/psbt/export"),
    form("/payouts/{batch}/psbt", Method::POST, "/api/v1/payouts/batches/{batch}/psbt"),
    page("/register", "/api/v1/exports/records"),
    page("/register/{record}", "/api/v1/exports/records/{record}"),
    page("/register/periods", "/api/v1/exports/periods"),
    page("/register/reports/{profile}/{period}", "/api/v1/exports/reports"),
    page("/register/reports/{profile}/{period}/files/{file}", "/api/v1/exports/reports/{profile}/{period}/{file}"),
    page("/register/reports/{profile}/{period}/declare", "/api/v1/exports/reports"),
    form("/register/reports/{profile}/{period}/declare", Method::POST, "/api/v1/exports/periods/declare"),
    page("/register/reports/{profile}/{period}/close", "/api/v1/exports/reports"),
    form("/register/reports/{profile}/{period}/close", Method::POST, "/api/v1/exports/periods/close"),
    page("/screening", "/api/v1/screening"),
    form("/screening/check", Method::POST, "/api/v1/screening/check"),
    form("/screening/release", Method::POST, "/api/v1/screening/reviews"),
    form("/screening/lists/{list}/accept", Method::POST, "/api/v1/screening/lists/{list}/accept"),
    page("/parties", "/api/v1/parties"),
    form("/parties", Method::POST, "/api/v1/parties"),
    form("/parties/own", Method::POST, "/api/v1/accounts/{account}/owner"),
    page("/parties/{party}", "/api/v1/parties/{party}"),
    form("/parties/{party}", Method::PUT, "/api/v1/parties/{party}"),
    form("/parties/{party}/erase", Method::DELETE, "/api/v1/parties/{party}"),
    page("/sales", "/api/v1/sales"),
    form("/sales", Method::POST, "/api/v1/sales/{sale}/steps"),
    page("/sales/{sale}", "/api/v1/sales"),
    form("/sales/{sale}/{step}", Method::POST, "/api/v1/sales/{sale}/steps"),
    form("/sales/{sale}/deliver", Method::POST, "/api/v1/sales/{sale}/delivery"),
    page("/accounts", "/api/v1/accounts"),
    form("/accounts", Method::POST, "/api/v1/accounts"),
    page("/accounts/{account}", "/api/v1/accounts/{account}"),
    form("/accounts/{account}/hold", Method::POST, "/api/v1/accounts/{account}/hold"),
    form("/accounts/{account}/release", Method::POST, "/api/v1/accounts/{account}/release"),
    form("/accounts/{account}/threshold", Method::PUT, "/api/v1/accounts/{account}/threshold"),
    form("/accounts/{account}/name", Method::POST, "/api/v1/accounts"),
    form("/accounts/{account}/name/remove", Method::DELETE, "/api/v1/accounts/{account}/name"),
    form("/accounts/{account}/settings", Method::PATCH, "/api/v1/accounts/{account}"),
    page("/ledger", "/api/v1/ledger/entries"),
    page("/ledger/{entry}", "/api/v1/ledger/entries/{entry}"),
    page("/ledger/entries.csv", "/api/v1/ledger/entries.csv"),
    form("/ledger/fund", Method::POST, "/api/v1/reserve/fund"),
    form("/ledger/assign", Method::POST, "/api/v1/reserve/assign"),
    page("/settings", "/api/v1/settings"),
    form("/settings/reload", Method::POST, "/api/v1/settings/reload"),
    page("/audit", "/api/v1/audit"),
    page("/tokens", "/api/v1/tokens"),
    form("/tokens", Method::POST, "/api/v1/tokens"),
    form("/tokens/{token}/revoke", Method::DELETE, "/api/v1/tokens/{token}"),
];

/// Where sessions end, also those of watchers, who see no page that stands in the table.
const LOG_OUT: &str = "/log-out";

/// Returns the least role for a page or form; none for what does not stand in the table, which nobody may use.
pub(super) fn role_for(method: &Method, path: &str) -> Option<Role> {
    if path == LOG_OUT && method == Method::POST {
        return Some(Role::Watcher);
    }
    let method = if method == Method::HEAD { &Method::GET } else { method };
    let door = DOORS.iter().find(|door| door.method == *method && door.path == path)?;
    // A page of the dashboard shows more than one account.
    least_role(&door.api_method, door.api_path).map(|role| role.max(Role::Viewer))
}

/// Tells whether somebody of a role may see a page or use a form.
pub(super) fn may(role: Role, method: &Method, path: &str) -> bool {
    role_for(method, path).is_some_and(|least| role >= least)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_page_and_form_stands_for_a_route_that_takes_a_token() {
        for door in DOORS {
            assert!(least_role(&door.api_method, door.api_path).is_some(), "{door:?}");
        }
    }

    #[test]
    fn what_acts_takes_the_role_of_the_api() {
        for (method, path, role) in [
            (Method::GET, "/", Role::Viewer),
            (Method::GET, "/payouts", Role::Viewer),
            (Method::POST, "/payouts/{batch}/approve", Role::Operator),
        ] {
            assert_eq!(role_for(&method, path), Some(role), "{path}");
        }
        assert_eq!(role_for(&Method::POST, "/"), None);
        assert!(!may(Role::Admin, &Method::GET, "/nothing"));
    }
}
