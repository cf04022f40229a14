//! The connections that are open.

use std::{sync::Arc, time::Instant};

use askama::Template;
use payouts::{account::User, store::Store};

use super::{
    super::{PAGE, cut, now_ms},
    WAY,
    line::Line,
};
use crate::{
    operations::{Refusal, account::find_account},
    pages::{
        Pages,
        asked::{Asked, Shown, page},
        frame::Frame,
        links::with_query,
    },
    stratum::roster::{ConnectionId, Seat},
};

/// Connections that are looked at together when some are searched for.
const STEP: usize = 256;

#[derive(Template)]
#[template(path = "connections.html")]
struct Connections {
    frame: Frame,
    account: String,
    vendor: String,
    open: usize,
    lines: Vec<Line>,
    is_first: bool,
    next: Option<String>,
}

/// The connections that are open, oldest first.
pub(super) async fn list(asked: Asked) -> Shown {
    let Asked { pages, fields, .. } = &asked;
    let after = fields.optional::<ConnectionId>("after")?;
    let (account, vendor) = (fields.text("account").to_owned(), fields.text("vendor").to_owned());
    let address = match fields.optional::<User>("account")? {
        Some(user) => Some(address_of(&*pages.store, &user).await?),
        None => None,
    };
    let mut found = matching(pages, after, address.as_deref(), &vendor.to_lowercase());
    let last = cut(&mut found, PAGE).map(|last| last.id().to_string());
    let next = last.map(|last| with_query(WAY, &[("account", &account), ("vendor", &vendor), ("after", &last)]));
    let (now, now_ms) = (Instant::now(), now_ms());
    let frame = asked.frame(WAY, "Connections").live_if(after.is_none());
    page(&Connections {
        frame,
        account,
        vendor,
        open: pages.live.roster.count(),
        lines: found.iter().map(|seat| Line::new(seat, now, now_ms)).collect(),
        is_first: after.is_none(),
        next,
    })
}

/// Finds the connections of a page and one more, if there is one.
fn matching(pages: &Pages, mut after: Option<ConnectionId>, address: Option<&str>, vendor: &str) -> Vec<Arc<Seat>> {
    let is_of_vendor = |seat: &Seat| {
        vendor.is_empty()
            || seat.set_up().is_some_and(|set_up| device(&set_up.vendor, &set_up.firmware).contains(vendor))
    };
    let is_for = |seat: &Seat| address.is_none_or(|address| seat.channels().iter().any(|it| it.address() == address));
    let mut found = Vec::new();
    loop {
        let step = pages.live.roster.after(after, STEP);
        let Some(last) = step.last() else { return found };
        after = Some(last.id());
        for seat in step {
            if is_of_vendor(&seat) && is_for(&seat) {
                found.push(seat);
                if found.len() > PAGE as usize {
                    return found;
                }
            }
        }
    }
}

/// What a search for a vendor looks at, in small letters.
fn device(vendor: &str, firmware: &str) -> String {
    format!("{vendor} {firmware}").to_lowercase()
}

/// An address may mine before it is an account.
async fn address_of(store: &dyn Store, user: &User) -> Result<String, Refusal> {
    match user {
        User::Address(address) => Ok(address.assume_checked_ref().to_string()),
        User::Name(_) => Ok(find_account(store, user).await?.address),
    }
}
