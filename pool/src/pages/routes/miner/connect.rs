//! How devices connect, firmware by firmware, with the fields filled in as far as they are known.
//!
//! Owns the fields. What each firmware wants is said by the template, out of `docs/firmware.md`.

use std::sync::Arc;

use askama::Template;
use axum::{
    extract::State,
    http::{HeaderMap, StatusCode, header},
    response::{IntoResponse, Response},
};

use crate::{
    accounting::identity::MAX_WORKER_SIZE,
    announcement::{self, qr_image},
    pages::{
        Pages,
        fields::Fields,
        frame::{self, Frame},
        guard,
    },
};

/// What some firmware keeps of the user.
const KEPT_CHARS: usize = 63;
/// What the worker is called unless it is said.
const WORKER: &str = "rig1";
/// How long browsers may take the QR code as it was.
const CACHED: &str = "public, max-age=600";

/// What is to be entered in a device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Connect {
    /// The URL with all in it.
    pub(super) url: String,
    /// Its host.
    pub(super) host: String,
    /// Its port.
    pub(super) port: String,
    /// Its key.
    pub(super) key: String,
    /// The user.
    pub(super) user: String,
    /// The worker in it.
    pub(super) worker: String,
    /// Whether some firmware cuts the user.
    pub(super) is_cut: bool,
}

impl Connect {
    /// Fills the fields in for a miner, or with words that stand for one.
    pub(super) fn new(miner_url: &str, miner: Option<&str>, worker: &str) -> Connect {
        let worker = if is_worker(worker) { worker } else { WORKER };
        let user = match miner {
            Some(miner) => format!("{miner}.{worker}"),
            None => "ADDRESS.WORKER".to_owned(),
        };
        let fields = announcement::Fields::of(miner_url);
        let field = |part: fn(&announcement::Fields<'_>) -> String| fields.as_ref().map(part).unwrap_or_default();
        Connect {
            url: miner_url.to_owned(),
            host: field(|fields| fields.host.to_owned()),
            port: field(|fields| fields.port.to_owned()),
            key: field(|fields| fields.key.to_owned()),
            is_cut: user.len() > KEPT_CHARS,
            worker: worker.to_owned(),
            user,
        }
    }
}

/// Tells whether a worker can be called so without anything being read otherwise than it was meant.
fn is_worker(name: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
    (1..=MAX_WORKER_SIZE).contains(&name.len()) && name.bytes().all(plain)
}

#[derive(Template)]
#[template(path = "connect.html")]
struct ConnectPage {
    frame: Frame,
    connect: Connect,
}

/// The page for whoever has not said who he is.
pub(in crate::pages) async fn show(State(pages): State<Pages>, headers: HeaderMap, fields: Fields) -> Response {
    let viewer = guard::viewer(&pages, &headers).await.ok().flatten();
    let frame = Frame::open(&pages, viewer.as_ref(), "/connect", "Connect");
    let connect = Connect::new(&pages.about.miner_url, None, fields.text("worker"));
    frame::page(&ConnectPage { frame, connect })
}

/// The URL as a QR code.
pub(in crate::pages) async fn qr(State(pages): State<Pages>) -> Response {
    let about = Arc::clone(&pages.about);
    match qr_image(&about.miner_url) {
        Some(image) => {
            ([(header::CONTENT_TYPE, "image/svg+xml"), (header::CACHE_CONTROL, CACHED)], image).into_response()
        }
        None => StatusCode::NOT_FOUND.into_response(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const URL: &str = "stratum2+tcp://pool.example.org:34254/9bXiEd8boQVhq7WddEcERUL5tyyJVFYdU8th3HfbNXK3Yw6GRXh";
    const TAPROOT: &str = "bc1pxwww0ct9ue7e8tdnlmug5m2tamfn7q06sahstg39ys4c9f3340qqxrdu9k";

    #[test]
    fn fields_are_those_of_the_url_and_of_the_miner() {
        let connect = Connect::new(URL, Some("farm"), "shed-2");
        assert_eq!((connect.host.as_str(), connect.port.as_str()), ("pool.example.org", "34254"));
        assert_eq!(connect.key, "9bXiEd8boQVhq7WddEcERUL5tyyJVFYdU8th3HfbNXK3Yw6GRXh");
        assert_eq!((connect.user.as_str(), connect.is_cut), ("farm.shed-2", false));
        assert_eq!(Connect::new(URL, None, "").user, "ADDRESS.WORKER");
    }

    #[test]
    fn worker_that_would_be_read_otherwise_is_none() {
        for worker in ["", "a.b", "a;d=1", "a b", "<script>", "%41", &"a".repeat(33)] {
            assert_eq!(Connect::new(URL, Some("farm"), worker).user, "farm.rig1", "{worker}");
        }
    }

    #[test]
    fn user_that_firmware_cuts_is_told_of() {
        assert!(Connect::new(URL, Some(TAPROOT), "").is_cut);
        assert!(!Connect::new(URL, Some("bc1qw508d6qejxtdg4y5r3zarvary0c5xw7kv8f3t4"), "").is_cut);
    }
}
