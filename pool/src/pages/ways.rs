//! The ways to other pages, which are always a step away: in groups for whoever sees the dashboard, a few for others.

use axum::http::Method;
use payouts::access::Role;

use super::{doors, help};

/// The pages of the dashboard: groups with their titles, pages with their paths and titles.
const GROUPS: [(&str, &[(&str, &str)]); 5] = [
    ("", &[("/", "Overview")]),
    ("Mining", &[("/connections", "Connections"), ("/blocks", "Blocks")]),
    ("Money", &[("/accounts", "Accounts"), ("/payouts", "Payouts"), ("/ledger", "Ledger")]),
    (
        "Register",
        &[
            ("/register", "Records"),
            ("/register/periods", "Periods"),
            ("/screening", "Screening"),
            ("/parties", "Parties"),
            ("/sales", "Sales"),
        ],
    ),
    ("Pool", &[("/settings", "Settings"), ("/tokens", "Tokens"), ("/audit", "Audit log"), (help::ROOT, "Help")]),
];
/// The pages for whoever sees no dashboard.
const OF_MINERS: [(&str, &str); 2] = [("/", "Mining page"), ("/connect", "Connect")];
/// The pages for whoever is not logged in.
const OF_ANYBODY: [(&str, &str); 3] = [("/", "Mining page"), ("/connect", "Connect"), ("/log-in", "Log in")];

/// Pages that belong together.
#[derive(Clone, Debug)]
pub(super) struct Group {
    /// What they are about; empty where nothing needs to be said.
    pub(super) title: &'static str,
    pub(super) ways: Vec<Way>,
}

/// A way to a page.
#[derive(Clone, Debug)]
pub(super) struct Way {
    pub(super) path: &'static str,
    pub(super) title: &'static str,
    pub(super) is_here: bool,
}

/// Returns the ways of whoever is logged in with a role, on a page to which the way `here` leads.
pub(super) fn of(role: Role, here: &str) -> Vec<Group> {
    if role < Role::Viewer {
        return vec![Group::new("", &OF_MINERS, here)];
    }
    let mut groups: Vec<_> = GROUPS.iter().map(|(title, ways)| Group::new(title, ways, here)).collect();
    for group in &mut groups {
        // Help is anybody's, and stands in no table.
        group.ways.retain(|way| way.path == help::ROOT || doors::may(role, &Method::GET, way.path));
    }
    groups.retain(|group| !group.ways.is_empty());
    groups
}

/// Returns the ways of whoever is not logged in.
pub(super) fn of_anybody(here: &str) -> Vec<Group> {
    vec![Group::new("", &OF_ANYBODY, here)]
}

impl Group {
    fn new(title: &'static str, ways: &[(&'static str, &'static str)], here: &str) -> Group {
        let way = |&(path, title): &(&'static str, &'static str)| Way { path, title, is_here: path == here };
        Group { title, ways: ways.iter().map(way).collect() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn paths(groups: &[Group]) -> Vec<&'static str> {
        groups.iter().flat_map(|group| &group.ways).map(|way| way.path).collect()
    }

    #[test]
    fn ways_are_those_that_the_role_may_go() {
        let all: usize = GROUPS.iter().map(|(_, ways)| ways.len()).sum();
        assert_eq!(paths(&of(Role::Admin, "/")).len(), all);
        let of_viewer = paths(&of(Role::Viewer, "/"));
        assert!(of_viewer.contains(&"/ledger") && of_viewer.contains(&help::ROOT), "{of_viewer:?}");
        assert!(!of_viewer.contains(&"/parties") && !of_viewer.contains(&"/tokens"), "{of_viewer:?}");
        assert_eq!(paths(&of(Role::Watcher, "/")), ["/", "/connect"]);
    }

    #[test]
    fn one_way_leads_to_where_somebody_is() {
        let groups = of(Role::Admin, "/register");
        let here: Vec<_> = groups.iter().flat_map(|group| &group.ways).filter(|way| way.is_here).collect();
        assert!(matches!(here.as_slice(), [way] if way.path == "/register"), "{here:?}");
    }
}
