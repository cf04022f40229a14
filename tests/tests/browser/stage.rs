//! A browser at a pool's pages: what each test starts with.

use serde::de::DeserializeOwned;
use tests::browser::Browser;
use thirtyfour::{By, WebElement};

use crate::site::{Site, eventually, eventually_or, standard};

/// A pool that runs, and a browser. The browser ends first.
pub(crate) struct Stage {
    pub(crate) browser: Browser,
    pub(crate) site: Site,
    url: String,
}

impl Stage {
    /// Starts a pool on regtest, and a browser.
    pub(crate) async fn new(settings: &[(&str, &str)]) -> Stage {
        let mut site = Site::regtest();
        for (variable, value) in settings {
            site.pool.set(variable, value);
        }
        site.node.mine(1).unwrap();
        site.pool.start().unwrap();
        Stage::at(site).await
    }

    /// Puts a browser to a pool that runs.
    pub(crate) async fn at(site: Site) -> Stage {
        let url = site.pool.api_url().unwrap();
        Stage { browser: Browser::start().await.unwrap(), site, url }
    }

    /// The same, of which the browser is at the dashboard, with the pool's first token.
    pub(crate) async fn logged_in(self) -> Stage {
        self.open("/log-in").await;
        self.give_token(self.site.pool.first_token()).await;
        assert_eq!(self.path().await, "/");
        self
    }

    /// Returns where the pages are.
    pub(crate) fn url(&self) -> &str {
        &self.url
    }

    /// Goes to a page.
    pub(crate) async fn open(&self, path: &str) {
        self.browser.goto(format!("{}{path}", self.url)).await.unwrap();
    }

    /// Returns the path of the page that is shown, with its query.
    pub(crate) async fn path(&self) -> String {
        self.ask("return location.pathname + location.search").await
    }

    /// Fills in the log-in.
    pub(crate) async fn give_token(&self, token: &str) {
        self.fill("#token", token).await;
        self.press("main form button").await;
    }

    /// Writes into a field.
    pub(crate) async fn fill(&self, css: &str, text: &str) {
        let field = self.find(css).await;
        field.clear().await.unwrap();
        field.send_keys(text).await.unwrap();
    }

    /// Chooses from a list.
    pub(crate) async fn choose(&self, css: &str, value: &str) {
        self.find(&format!("{css} option[value='{value}']")).await.click().await.unwrap();
    }

    /// Presses a button, or follows a link, and waits for the page that it leads to.
    pub(crate) async fn press(&self, css: &str) {
        // A page that is put in the place of this one knows nothing of it.
        self.browser.execute("window.isLeft = true", Vec::new()).await.unwrap();
        self.find(css).await.click().await.unwrap();
        eventually("the next page", async || {
            let script = "return !window.isLeft && document.readyState === 'complete'";
            let came = self.browser.execute(script, Vec::new()).await.ok()?;
            came.convert::<bool>().unwrap().then_some(())
        })
        .await;
    }

    /// Finds the one element of a selector.
    pub(crate) async fn find(&self, css: &str) -> WebElement {
        let found = self.browser.find_all(By::Css(css)).await.unwrap();
        assert_eq!(found.len(), 1, "elements {css} of {}", self.path().await);
        found.into_iter().next().unwrap()
    }

    /// Returns the text of the one element of a selector, as it is seen.
    pub(crate) async fn text(&self, css: &str) -> String {
        // In one step: what is found may have been replaced a moment later.
        let script = "return [...document.querySelectorAll(arguments[0])].map((it) => it.innerText.trim())";
        let found: Vec<String> = self.ask_with(script, &[css]).await;
        assert_eq!(found.len(), 1, "elements {css} of {}", self.path().await);
        found.into_iter().next().unwrap()
    }

    /// Waits until the page says something, without a new page.
    pub(crate) async fn sees(&self, css: &str, text: &str) {
        self.browser.execute("window.isStill = true", Vec::new()).await.unwrap();
        eventually_or(&format!("{text:?} in {css}"), async || {
            let script = "return [...document.querySelectorAll(arguments[0])].map((it) => it.innerText).join('\\n')";
            let seen: String = self.ask_with(script, &[css]).await;
            if seen.contains(text) { Ok(()) } else { Err(seen) }
        })
        .await;
        assert!(self.ask::<bool>("return window.isStill === true").await, "the page was loaded anew");
    }

    /// Runs a script in the page and returns what it returns.
    pub(crate) async fn ask<T: DeserializeOwned>(&self, script: &str) -> T {
        self.ask_with(script, &[]).await
    }

    async fn ask_with<T: DeserializeOwned>(&self, script: &str, arguments: &[&str]) -> T {
        let arguments: Vec<_> = arguments.iter().map(|&text| text.into()).collect();
        self.browser.execute(script, arguments).await.unwrap().convert().unwrap()
    }

    /// Lets a miner of a new address find so many blocks, which are on the books then.
    pub(crate) async fn find_blocks(&self, worker: &str, blocks: u64) -> bitcoin::Address {
        let address = self.site.new_address();
        self.find_blocks_for(&address, worker, blocks).await;
        address
    }

    /// Lets a miner find so many blocks, which are on the books then.
    pub(crate) async fn find_blocks_for(&self, address: &bitcoin::Address, worker: &str, blocks: u64) {
        let mut channel = standard(address, 40.0).max_shares(blocks);
        channel.user_identity = format!("{address}.{worker}");
        let miner = self.site.miner_with(channel).await;
        miner.wait_for_judged(blocks, crate::site::PATIENCE).await.unwrap();
        miner.close().await;
        self.site.settle().await;
    }
}
