//! Styles, scripts and images, which are in the program itself.

use axum::{
    extract::Path,
    http::{StatusCode, header},
    response::{IntoResponse, Response},
};
use rust_embed::RustEmbed;

/// How long browsers may take an asset as it was: a new version of the program has other ones.
const CACHED: &str = "public, max-age=600";

#[derive(RustEmbed)]
#[folder = "assets"]
struct Assets;

/// Serves an asset.
pub(super) async fn serve(Path(file): Path<String>) -> Response {
    let (Some(asset), Some(media_type)) = (Assets::get(&file), media_type(&file)) else {
        return StatusCode::NOT_FOUND.into_response();
    };
    ([(header::CONTENT_TYPE, media_type), (header::CACHE_CONTROL, CACHED)], asset.data).into_response()
}

/// Only what pages use is served.
fn media_type(file: &str) -> Option<&'static str> {
    match file.rsplit_once('.')?.1 {
        "css" => Some("text/css; charset=utf-8"),
        "js" => Some("text/javascript; charset=utf-8"),
        "svg" => Some("image/svg+xml"),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_asset_that_pages_name_is_there() {
        let charts = ["chart.js", "vendor/uPlot.iife.min.js", "vendor/uPlot.min.css"];
        for file in ["adit.css", "live.js", "device.js", "icon.svg"].into_iter().chain(charts) {
            assert!(Assets::get(file).is_some() && media_type(file).is_some(), "{file}");
        }
        assert_eq!(media_type("vendor/uPlot.LICENSE"), None);
    }
}
