//! Whose pages are asked for under `/m/`, and whether whoever asks may see them.
//!
//! A miner's page is everybody's, for whoever has the address finds what it was paid on the chain. An owner may hide it:
//! then it takes a token of a watcher of the account, or one of somebody who sees all accounts.

use axum::{
    Extension,
    extract::{FromRequestParts, RawPathParams, Request, State},
    http::{StatusCode, Uri},
    middleware::Next,
    response::Response,
};
use payouts::{
    access::{Audience, Grant, Role},
    account::{Account, AccountId, User},
};

use super::{
    Pages,
    fields::Fields,
    frame::{self, Frame},
    guard::{self, Viewer},
};
use crate::{
    config::network_name,
    operations::{
        Refusal, RefusalCode,
        account::{address_of, find_account},
    },
};

/// A miner whose pages are asked for.
#[derive(Clone)]
pub(super) struct Miner {
    /// What he is called in the path.
    pub(super) user: User,
    /// His address.
    pub(super) address: String,
    /// His account; nothing for an address from which no share has come.
    pub(super) account: Option<Account>,
    /// Who asks, if he is logged in.
    pub(super) viewer: Option<Viewer>,
}

/// A page of a miner's that is asked for.
#[derive(FromRequestParts)]
#[from_request(state(Pages))]
pub(super) struct Visit {
    /// What it is shown from.
    #[from_request(via(State))]
    pub(super) pages: Pages,
    /// Whose it is.
    #[from_request(via(Extension))]
    pub(super) miner: Miner,
    /// The fields of the query.
    pub(super) fields: Fields,
}

impl Visit {
    /// The frame of the page.
    pub(super) fn frame(&self, title: impl Into<String>) -> Frame {
        Frame::open(&self.pages, self.miner.viewer.as_ref(), "/m", title)
    }
}

/// Why there is no page.
enum NoPage {
    /// Nobody can be called so.
    Unknown(String),
    /// It is hidden, and nobody is logged in.
    Hidden,
    /// It is hidden from whoever is logged in.
    Other(Box<Viewer>),
    Failed(Refusal),
}

impl From<Refusal> for NoPage {
    fn from(refusal: Refusal) -> NoPage {
        NoPage::Failed(refusal)
    }
}

impl Miner {
    /// Returns where his page is.
    pub(super) fn path(&self) -> String {
        format!("/m/{}", self.user)
    }

    /// Returns his account.
    ///
    /// # Errors
    ///
    /// If no share has come from his address.
    pub(super) fn known(&self) -> Result<&Account, Refusal> {
        let unknown = || Refusal::new(RefusalCode::NotFound, format!("no share has come from {} yet", self.user));
        self.account.as_ref().ok_or_else(unknown)
    }
}

/// Lets a request pass if its miner can be and whoever asks may see him, with the miner for those behind.
pub(super) async fn admit(
    State(pages): State<Pages>,
    parameters: RawPathParams,
    uri: Uri,
    mut request: Request,
    next: Next,
) -> Response {
    let named = parameters.iter().find(|(name, _)| *name == "miner").map_or("", |(_, value)| value);
    let found = match guard::viewer(&pages, request.headers()).await {
        Ok(viewer) => find(&pages, named, viewer).await,
        Err(refusal) => Err(refusal.into()),
    };
    match found {
        Ok(miner) => {
            let viewer = miner.viewer.clone();
            request.extensions_mut().insert(miner);
            frame::framed(&pages, viewer.as_ref(), next.run(request).await)
        }
        Err(NoPage::Unknown(why)) => frame::missing(&pages, StatusCode::NOT_FOUND, "No such miner", why),
        Err(NoPage::Hidden) => guard::to_log_in(&uri, false),
        Err(NoPage::Other(viewer)) => {
            let why = "This page is hidden, and your token is that of another account.";
            frame::hidden(&pages, &viewer, why)
        }
        Err(NoPage::Failed(refusal)) => frame::refused(None, &refusal),
    }
}

async fn find(pages: &Pages, named: &str, viewer: Option<Viewer>) -> Result<Miner, NoPage> {
    let user: User = named.parse().map_err(|error| NoPage::Unknown(format!("{error}.")))?;
    let address = match &user {
        User::Address(address) => {
            let network = pages.live.network;
            if !address.is_valid_for_network(network) {
                let name = network_name(network);
                return Err(NoPage::Unknown(format!(
                    "{user} is an address of another network; this pool is on {name}."
                )));
            }
            Some(user.to_string())
        }
        User::Name(_) => None,
    };
    let account = match find_account(&*pages.store, &user).await {
        Ok(account) => Some(account),
        Err(refusal) if refusal.code == RefusalCode::NotFound => None,
        Err(refusal) => return Err(refusal.into()),
    };
    let Some(address) = address.or_else(|| account.as_ref().map(|account| account.address.clone())) else {
        return Err(NoPage::Unknown(format!("No account of this pool is called {user}.")));
    };
    if let Some(account) = &account
        && !may_see(pages, account.id, viewer.as_ref()).await?
    {
        return Err(viewer.map_or(NoPage::Hidden, |viewer| NoPage::Other(Box::new(viewer))));
    }
    Ok(Miner { user, address, account, viewer })
}

async fn may_see(pages: &Pages, account: AccountId, viewer: Option<&Viewer>) -> Result<bool, Refusal> {
    let is_admitted = match viewer.map(|viewer| viewer.token.grant) {
        Some(Grant::Watch(own)) => own == account,
        Some(grant) => grant.role() >= Role::Viewer,
        None => false,
    };
    Ok(is_admitted || pages.store.page_audience(account).await? == Audience::Public)
}

/// Returns where the page of a watcher's account is.
///
/// # Errors
///
/// When the store cannot be read.
pub(super) async fn own_page(pages: &Pages, account: AccountId) -> Result<String, Refusal> {
    Ok(format!("/m/{}", address_of(&*pages.store, account).await?))
}
