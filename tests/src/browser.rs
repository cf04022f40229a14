//! A browser that tests steer: Chromium without a window, and the driver that steers it.
//!
//! Owns their start and their end, and how a page is looked at: light or dark, at a desk or on a phone. What a page must be
//! like is up to the tests. `make browser` installs what is needed here.

mod axe;
mod process;

use std::{ops::Deref, path::Path, str::FromStr, time::Duration};

use anyhow::Context;
use bitcoin::base64::{Engine, engine::general_purpose::STANDARD};
use nix::unistd::Uid;
use serde_json::{Value, json};
use thirtyfour::{ChromiumLikeCapabilities, DesiredCapabilities, LoggingPrefsLogLevel, WebDriver};

pub use self::axe::Violation;
use self::process::DriverProcess;

/// How long the driver may take for one command on a busy machine.
const COMMAND_TIMEOUT: Duration = Duration::from_secs(60);
/// The highest picture of a page, in pixels.
const HIGHEST_PICTURE: f64 = 6_000.0;
/// What the browser leaves out: all that it would do of its own accord.
const ARGUMENTS: [&str; 10] = [
    "--headless",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-extensions",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-crash-reporter",
    "--no-first-run",
    "--force-color-profile=srgb",
];

/// A browser with a profile of its own. It is ended with this value, also when the test has failed.
pub struct Browser {
    // Ends first: then there is no session left that could be closed.
    _process: DriverProcess,
    driver: WebDriver,
}

/// How a page is looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Look {
    /// What pictures of it are called.
    pub name: &'static str,
    /// Whether dark colours are preferred.
    pub is_dark: bool,
    /// The width of the window in pixels.
    pub width: u32,
    /// The height of the window in pixels.
    pub height: u32,
    /// Whether it is a phone.
    pub is_phone: bool,
}

/// The looks of all pages.
pub const LOOKS: [Look; 4] = [
    Look { name: "desk-light", is_dark: false, width: 1280, height: 800, is_phone: false },
    Look { name: "desk-dark", is_dark: true, width: 1280, height: 800, is_phone: false },
    Look { name: "phone-light", is_dark: false, width: 360, height: 780, is_phone: true },
    Look { name: "phone-dark", is_dark: true, width: 360, height: 780, is_phone: true },
];

impl Browser {
    /// Starts one. It looks at pages as the first of [`LOOKS`] does.
    ///
    /// # Errors
    ///
    /// If there is no driver or no browser, or they do not start.
    pub async fn start() -> anyhow::Result<Browser> {
        let process = DriverProcess::start()?;
        let mut wanted = DesiredCapabilities::chrome();
        for argument in ARGUMENTS {
            wanted.add_arg(argument)?;
        }
        wanted.add_arg(&format!("--user-data-dir={}", process.profile().display()))?;
        if Uid::effective().is_root() {
            // Chromium refuses to run as root with its sandbox.
            wanted.set_no_sandbox()?;
        }
        wanted.set_browser_log_level(LoggingPrefsLogLevel::All)?;
        wanted.set_logging_prefs("performance", LoggingPrefsLogLevel::All)?;
        let driver = WebDriver::builder(process.url(), wanted).request_timeout(COMMAND_TIMEOUT);
        let driver = driver.connect().await.context("the driver starts no browser: make browser installs it")?;
        let browser = Browser { _process: process, driver };
        browser.look(LOOKS[0]).await?;
        // What the browser shows when it starts is nobody's page.
        browser.goto("about:blank").await?;
        browser.requests().await?;
        browser.complaints().await?;
        Ok(browser)
    }

    /// Looks at the page, and at those that follow, in another way.
    ///
    /// # Errors
    ///
    /// If the browser does not answer.
    pub async fn look(&self, look: Look) -> anyhow::Result<()> {
        let Look { width, height, is_phone, .. } = look;
        let metrics = json!({"width": width, "height": height, "deviceScaleFactor": 1, "mobile": is_phone});
        self.driver.cdp().send_raw("Emulation.setDeviceMetricsOverride", metrics).await?;
        let scheme = if look.is_dark { "dark" } else { "light" };
        let media = json!({"features": [
            {"name": "prefers-color-scheme", "value": scheme},
            {"name": "prefers-reduced-motion", "value": "reduce"},
        ]});
        self.driver.cdp().send_raw("Emulation.setEmulatedMedia", media).await?;
        Ok(())
    }

    /// Keeps a picture of the whole page.
    ///
    /// # Errors
    ///
    /// If the browser does not answer, or the file cannot be written.
    pub async fn keep_picture(&self, path: &Path) -> anyhow::Result<()> {
        let cdp = self.driver.cdp();
        let size = cdp.send_raw("Page.getLayoutMetrics", json!({})).await?["cssContentSize"].take();
        let height = size["height"].as_f64().unwrap_or_default().min(HIGHEST_PICTURE);
        let clip = json!({"x": 0, "y": 0, "width": size["width"], "height": height, "scale": 1});
        let wanted = json!({"format": "png", "captureBeyondViewport": true, "clip": clip});
        let picture = cdp.send_raw("Page.captureScreenshot", wanted).await?;
        let picture = STANDARD.decode(picture["data"].as_str().context("there is no picture")?)?;
        std::fs::write(path, picture).with_context(|| format!("write {}", path.display()))
    }

    /// Returns what the browser has complained of since it was asked last: errors of scripts, breaches of the page's policy,
    /// requests that failed.
    ///
    /// # Errors
    ///
    /// If the browser does not answer.
    pub async fn complaints(&self) -> anyhow::Result<Vec<String>> {
        let log = self.driver.browser_log().await?;
        Ok(log.into_iter().map(|entry| format!("{}: {}", entry.level, entry.message)).collect())
    }

    /// Returns the addresses that the browser has asked for since it was asked last.
    ///
    /// # Errors
    ///
    /// If the browser does not answer.
    pub async fn requests(&self) -> anyhow::Result<Vec<String>> {
        let mut requests = Vec::new();
        for entry in self.driver.get_log("performance").await? {
            let event = Value::from_str(&entry.message)?["message"].take();
            if event["method"] == "Network.requestWillBeSent" {
                requests.push(event["params"]["request"]["url"].as_str().unwrap_or_default().to_owned());
            }
        }
        Ok(requests)
    }

    /// Returns what bars somebody from the page, as axe-core sees it.
    ///
    /// # Errors
    ///
    /// If axe-core is not there or does not run.
    pub async fn barriers(&self) -> anyhow::Result<Vec<Violation>> {
        axe::run(&self.driver).await
    }
}

impl Deref for Browser {
    type Target = WebDriver;

    fn deref(&self) -> &WebDriver {
        &self.driver
    }
}
