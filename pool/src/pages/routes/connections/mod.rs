//! Who is connected: the connections with what they do, who came to nothing and why, and who is banned.

mod bans;
mod connection;
mod ended;
mod line;
mod open;

use axum::{
    Router,
    routing::{get, post},
};

use crate::pages::Pages;

/// The way to these pages.
const WAY: &str = "/connections";

/// The pages of connections.
pub(super) fn routes() -> Router<Pages> {
    Router::new()
        .route("/connections", get(open::list))
        .route("/connections/ended", get(ended::list))
        .route("/connections/{connection}", get(connection::show))
        .route("/connections/{connection}/kick", post(connection::kick))
        .route("/connections/{connection}/drain", post(connection::drain))
        .route("/connections/{connection}/difficulty", post(connection::set_difficulty))
        .route("/connections/{connection}/trace", post(connection::trace))
        .route("/bans", get(bans::list).post(bans::ban))
        .route("/bans/lift", post(bans::lift))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::{sync::Arc, time::Instant};

    use axum::http::Method;
    use payouts::access::Grant;

    use super::super::PAGE;
    use crate::{
        pages::tests::{Fixture, form_key},
        stratum::{
            addresses::Refused,
            end::End,
            roster::{
                Opening,
                tests::{ONE, OTHER, open, peer, setup, work},
            },
        },
    };

    async fn logged_in(fixture: &Fixture, grant: Grant) -> String {
        let (_, token) = fixture.token("alice", grant).await;
        fixture.log_in(&token, "/").await.1
    }

    #[tokio::test]
    async fn connections_are_shown_and_found_by_account_and_vendor() {
        let fixture = Fixture::new(false).await;
        let session = logged_in(&fixture, Grant::View).await;
        let (roster, now) = (Arc::clone(&fixture.pages.live.roster), Instant::now());
        assert!(fixture.get("/connections", &session).await.html.contains("No connection is like this."));
        let all: Vec<_> = (1..=3).map(|host| roster.begin(peer(host), now)).collect();
        all[0].set_up(&setup(), 2, now);
        all[1].set_up(&setup(), 2, now);
        let mut meter = open(&all[0], 2, ONE, "rack", now);
        work(&mut meter, 5, now);
        open(&all[1], 2, OTHER, "shed", now);
        let shown = async |path: &str| {
            let html = fixture.get(path, &session).await.html;
            (1..=3).filter(|id| html.contains(&format!("href=\"/connections/{id}\""))).collect::<Vec<_>>()
        };
        assert_eq!(shown("/connections").await, [1, 2, 3]);
        assert_eq!(shown(&format!("/connections?account={ONE}")).await, [1]);
        assert_eq!(shown("/connections?vendor=bitaxe").await, [1, 2]);
        assert_eq!(shown("/connections?vendor=Bitaxe&after=1").await, [2]);
        assert_eq!(shown("/connections?vendor=antminer").await, Vec::<i32>::new());
        assert_eq!(fixture.get("/connections?account=nobody", &session).await.status, 404);
        let detail = fixture.get("/connections/1", &session).await.html;
        assert!(detail.contains("rack") && detail.contains("from its opening") && detail.contains("2.9"), "{detail}");
        assert!(!detail.contains("/connections/1/kick"), "a viewer may not");
        assert_eq!(fixture.get("/connections/7", &session).await.status, 404);
    }

    #[tokio::test]
    async fn connections_are_paged() {
        let fixture = Fixture::new(false).await;
        let session = logged_in(&fixture, Grant::View).await;
        let roster = Arc::clone(&fixture.pages.live.roster);
        let _all: Vec<_> = (0..=PAGE).map(|_| roster.begin(peer(1), Instant::now())).collect();
        let first = fixture.get("/connections", &session).await.html;
        assert!(first.contains(&format!("/connections?after={PAGE}\"")), "{first}");
        let second = fixture.get(&format!("/connections?after={PAGE}"), &session).await.html;
        assert!(
            second.contains(&format!("href=\"/connections/{}\"", PAGE + 1)) && !second.contains("Next connections")
        );
    }

    #[tokio::test]
    async fn operator_acts_on_a_connection_by_its_page() {
        let fixture = Fixture::new(false).await;
        let session = logged_in(&fixture, Grant::Operate).await;
        let (roster, now) = (Arc::clone(&fixture.pages.live.roster), Instant::now());
        let seated = roster.begin(peer(1), now);
        seated.set_up(&setup(), 2, now);
        open(&seated, 2, ONE, "rack", now);
        let page = fixture.get("/connections/1", &session).await.html;
        let key = form_key(&page);
        for (action, field, said) in [
            ("difficulty", ("difficulty", "1000"), "The difficulty is set"),
            ("trace", ("", ""), "written down for 60 seconds"),
            ("drain", ("", ""), "asked to connect again"),
            ("kick", ("", ""), "The connection is ended"),
        ] {
            assert!(page.contains(&format!("action=\"/connections/1/{action}\"")), "{page}");
            let path = format!("/connections/1/{action}");
            let got = fixture.ask(Method::POST, &path, &session, &[("form_key", &key), field]).await;
            assert_eq!((got.status.as_u16(), got.location.as_str()), (303, "/connections/1"));
            let html = fixture.get("/connections/1", &session).await.html;
            assert!(html.contains(said), "{action}: {html}");
        }
        assert!(fixture.get("/connections/1", &session).await.html.contains("Nothing was said yet"));
        let fields = [("form_key", key.as_str()), ("difficulty", "-1")];
        fixture.ask(Method::POST, "/connections/1/difficulty", &session, &fields).await;
        assert!(fixture.get("/bans", &session).await.html.contains("should be a number above 0"));
    }

    #[tokio::test]
    async fn failures_and_bans_are_told_and_a_ban_is_lifted() {
        let fixture = Fixture::new(false).await;
        let session = logged_in(&fixture, Grant::Operate).await;
        let (roster, now) = (Arc::clone(&fixture.pages.live.roster), Instant::now());
        let seated = roster.begin(peer(1), now);
        seated.set_up(&setup(), 2, now);
        seated.end(&Opening::default(), &End::TooFast, now);
        roster.refuse(peer(2), Refused::Full);
        let html = fixture.get("/connections/ended", &session).await.html;
        assert!(html.contains("over its rate") && html.contains("all connections are taken"), "{html}");
        let key = form_key(&html);
        let fields = [("form_key", key.as_str()), ("address", "192.0.2.2"), ("minutes", "5")];
        fixture.ask(Method::POST, "/bans", &session, &fields).await;
        let html = fixture.get("/bans", &session).await.html;
        assert!(html.contains("192.0.2.2 is banned.") && html.contains("5\u{a0}min more"), "{html}");
        fixture.ask(Method::POST, "/bans/lift", &session, &fields[..2]).await;
        assert!(fixture.get("/bans", &session).await.html.contains("No address is banned."));
    }
}
