//! The pool's pages as a program meets them that keeps cookies: the log-in, and what lies behind it.

use std::time::Duration;

use anyhow::{Context, ensure};
use reqwest::{Client, Response, StatusCode, header, redirect::Policy};

/// How long an answer may take.
const TIMEOUT: Duration = Duration::from_secs(30);

/// A session of somebody who is logged in, on one connection that is kept.
#[derive(Clone, Debug)]
pub struct Session {
    client: Client,
    url: String,
    cookie: String,
}

impl Session {
    /// Logs in with a token, as the form does.
    ///
    /// # Errors
    ///
    /// If the pages do not answer, or do not let the token in.
    pub async fn log_in(url: &str, token: &str) -> anyhow::Result<Session> {
        let client = Client::builder().redirect(Policy::none()).timeout(TIMEOUT).pool_max_idle_per_host(1).build()?;
        let form = client.get(format!("{url}/log-in")).send().await.context("the log-in does not answer")?;
        let own = cookie(&form)?;
        let page = form.text().await?;
        let form_key = form_key(&page)?;
        let request = client.post(format!("{url}/log-in")).header(header::COOKIE, own);
        let request = request.header(header::CONTENT_TYPE, "application/x-www-form-urlencoded");
        // All of it are letters and digits.
        let opened = request.body(format!("form_key={form_key}&next=%2F&token={token}")).send().await?;
        ensure!(opened.status() == StatusCode::SEE_OTHER, "the log-in answers {}", opened.status());
        let cookie = cookie(&opened)?;
        Ok(Session { client, url: url.to_owned(), cookie })
    }

    /// Returns what stands at a path, a page or, with a token, an answer of the API.
    ///
    /// # Errors
    ///
    /// If nothing does, or the session is not let in.
    pub async fn read(&self, path: &str, token: Option<&str>) -> anyhow::Result<String> {
        let request = self.client.get(format!("{}{path}", self.url));
        let request = match token {
            Some(token) => request.bearer_auth(token),
            None => request.header(header::COOKIE, &self.cookie),
        };
        let answer = request.send().await.with_context(|| format!("{path} does not answer"))?;
        ensure!(answer.status() == StatusCode::OK, "{path} answers {}", answer.status());
        Ok(answer.text().await?)
    }
}

/// The cookie that an answer brings.
fn cookie(answer: &Response) -> anyhow::Result<String> {
    let brought = answer.headers().get(header::SET_COOKIE).context("the log-in brings no cookie")?;
    Ok(brought.to_str()?.split(';').next().unwrap_or_default().to_owned())
}

/// What the form holds beside the cookie.
fn form_key(page: &str) -> anyhow::Result<&str> {
    let field = page.split_once("name=\"form_key\" value=\"").context("the log-in has no form")?.1;
    Ok(field.split('"').next().unwrap_or_default())
}
