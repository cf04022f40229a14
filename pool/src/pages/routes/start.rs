//! The front door for whoever is not logged in: the way to a miner's page, and to the log-in.

use askama::Template;
use axum::{
    extract::State,
    http::StatusCode,
    response::{IntoResponse, Redirect, Response},
};
use payouts::account::User;

use crate::pages::{
    Pages,
    fields::Fields,
    frame::{self, Frame},
};

#[derive(Template)]
#[template(path = "start.html")]
struct Start {
    frame: Frame,
    scheme: String,
    fee: String,
}

/// The page.
pub(in crate::pages) fn show(pages: &Pages) -> Response {
    let frame = Frame::open(pages, None, "/", "Mining pool");
    let fee = percent(pages.about.fee_bp());
    frame::page(&Start { frame, scheme: pages.about.scheme(), fee })
}

/// Leads on to the page of the miner who was named in the form.
pub(in crate::pages) async fn find(State(pages): State<Pages>, fields: Fields) -> Response {
    match fields.text("address") {
        "" => Redirect::to("/").into_response(),
        named => match named.parse::<User>() {
            Ok(user) => Redirect::to(&format!("/m/{user}")).into_response(),
            Err(error) => frame::missing(&pages, StatusCode::NOT_FOUND, "No such miner", format!("{error}.")),
        },
    }
}

/// Writes hundredths of a percent as a percentage, exactly.
pub(super) fn percent(basis_points: u16) -> String {
    let (whole, part) = (basis_points / 100, basis_points % 100);
    match part {
        0 => format!("{whole}\u{a0}%"),
        part if part % 10 == 0 => format!("{whole}.{}\u{a0}%", part / 10),
        part => format!("{whole}.{part:02}\u{a0}%"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fees_are_told_to_the_basis_point() {
        for (basis_points, text) in [(0, "0 %"), (100, "1 %"), (150, "1.5 %"), (123, "1.23 %"), (5, "0.05 %")] {
            assert_eq!(percent(basis_points).replace('\u{a0}', " "), text);
        }
    }
}
