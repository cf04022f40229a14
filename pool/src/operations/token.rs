//! Requests about tokens of the API: how one is made, what is kept of it, and how the first one comes into the store.
//!
//! A token is `adit_` and 192 random bits in hexadecimal. Only its SHA-256 is kept: what nobody can guess needs no slow
//! hash, which is for passwords. It is told once, to whoever asked for it.

use std::{fmt, fs, io, path::Path};

use anyhow::{Context, bail};
use bitcoin::secp256k1::rand::{RngCore, rngs::OsRng};
use jiff::Timestamp;
use payouts::{
    access::{Added, Digest, Grant, NewToken, Role, Token, TokenId},
    account::{AccountId, User},
    store::{Store, StoreError},
};
use secrecy::ExposeSecret;
use serde::{Deserialize, Serialize};
use tracing::{info, warn};

use super::{Outcome, Refusal, RefusalCode, Request, Words, account::find_account};
use crate::config::secret_file;

/// What each token begins with, so that it is known for one wherever it turns up.
pub const PREFIX: &str = "adit_";
/// The random bytes of a token.
const RANDOM_BYTES: usize = 24;
/// The file in the data folder in which `adit init` leaves the hash of the first token, for the first start.
const FIRST_FILE: &str = "first-token.sha256";
/// What the first token is called.
const FIRST_LABEL: &str = "first admin";
/// Tokens that are read from the store at a time.
const PAGE: u32 = 1_000;

/// A token as it is told, once.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct TokenSecret(String);

impl TokenSecret {
    /// Makes a new one.
    pub fn random() -> TokenSecret {
        let mut bytes = [0; RANDOM_BYTES];
        OsRng.fill_bytes(&mut bytes);
        TokenSecret(format!("{PREFIX}{}", hex::encode(bytes)))
    }

    /// Returns what is kept of it.
    pub fn digest(&self) -> Digest {
        digest(&self.0)
    }

    /// Returns it as it is told to whoever shall have it.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for TokenSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TokenSecret")
    }
}

/// Returns what is kept of a token that somebody presents.
pub fn digest(presented: &str) -> Digest {
    Digest::of(presented.as_bytes())
}

/// A token as operators see it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct TokenReport {
    /// Its number.
    #[schema(value_type = i64)]
    pub token: TokenId,
    /// Who has it, or what for.
    pub label: String,
    /// `watcher`, `viewer`, `operator` or `admin`.
    #[schema(value_type = String)]
    pub role: Role,
    /// The number of the account that a watcher sees.
    #[schema(value_type = Option<i64>)]
    pub account: Option<AccountId>,
    /// When it was made, in milliseconds since 1970 UTC.
    pub created_at_ms: i64,
    /// When it was used last, to the hour or so.
    pub last_used_at_ms: Option<i64>,
    /// When it was revoked, if it was.
    pub revoked_at_ms: Option<i64>,
}

/// A new token, told this once.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct TokenAdded {
    /// What is kept of it.
    pub token: TokenReport,
    /// What it is.
    #[schema(value_type = String)]
    pub secret: TokenSecret,
}

/// What became of a token that was to be revoked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct TokenRevoked {
    /// The token.
    pub token: TokenReport,
    /// Whether it was revoked before.
    pub already: bool,
}

impl From<Token> for TokenReport {
    fn from(token: Token) -> TokenReport {
        TokenReport {
            token: token.id,
            label: token.label,
            role: token.grant.role(),
            account: token.grant.account(),
            created_at_ms: token.created_at_ms,
            last_used_at_ms: token.last_used_at_ms,
            revoked_at_ms: token.revoked_at_ms,
        }
    }
}

/// Does a request about tokens, for which it takes no more than the store; nothing if the request is another.
pub async fn perform(store: &dyn Store, request: &Request) -> Option<Result<Outcome, Refusal>> {
    match request {
        Request::AddToken { label, role, account } => {
            Some(add(store, label, *role, account.as_ref()).await.map(|added| Outcome::TokenAdded(Box::new(added))))
        }
        Request::RevokeToken { token } => Some(revoke(store, *token).await.map(Outcome::TokenRevoked)),
        _ => None,
    }
}

/// Returns all tokens, in the order of their numbers.
///
/// # Errors
///
/// When the store cannot be read.
pub async fn list(store: &dyn Store) -> Result<Vec<TokenReport>, Refusal> {
    let mut tokens: Vec<TokenReport> = Vec::new();
    loop {
        let after = tokens.last().map_or(TokenId::new(0), |last| last.token);
        let page = store.tokens(after, PAGE).await?;
        if page.is_empty() {
            return Ok(tokens);
        }
        tokens.extend(page.into_iter().map(TokenReport::from));
    }
}

async fn add(store: &dyn Store, label: &Words, role: Role, account: Option<&User>) -> Result<TokenAdded, Refusal> {
    let account = match account {
        Some(user) => Some(find_account(store, user).await?.id),
        None => None,
    };
    let Some(grant) = Grant::new(role, account) else {
        let reason = "a watcher's token names the account that it sees, and no other token does";
        return Err(Refusal::new(RefusalCode::Invalid, reason));
    };
    let secret = TokenSecret::random();
    let created_at_ms = now_ms();
    let new = NewToken { hash: secret.digest(), label: label.to_string(), grant, created_at_ms };
    match store.add_token(&new).await? {
        Added::Token(id) => Ok(TokenAdded { token: report(store, id).await?, secret }),
        Added::LabelTaken(by) => {
            let reason = format!("token {by} is called {label}: revoke it, or choose another label");
            Err(Refusal::new(RefusalCode::Conflict, reason))
        }
    }
}

async fn revoke(store: &dyn Store, id: TokenId) -> Result<TokenRevoked, Refusal> {
    let already = !store.revoke_token(id, now_ms()).await?;
    Ok(TokenRevoked { token: report(store, id).await?, already })
}

async fn report(store: &dyn Store, id: TokenId) -> Result<TokenReport, Refusal> {
    let token = store.token(id).await?;
    token.map(TokenReport::from).ok_or_else(|| Refusal::new(RefusalCode::NotFound, format!("there is no token {id}")))
}

/// Makes the first token of a new pool, whose store does not exist yet: only its hash is written, for the first start.
///
/// # Errors
///
/// When the file cannot be written, or is there already.
pub fn make_first(data_dir: &Path) -> anyhow::Result<TokenSecret> {
    let (secret, file) = (TokenSecret::random(), data_dir.join(FIRST_FILE));
    secret_file::create(&file, &secret.digest().to_string())
        .with_context(|| format!("cannot write {}", file.display()))?;
    Ok(secret)
}

/// Takes up what [`make_first`] has left, if it has: the token of that hash is an admin's. Repeating it does no harm.
///
/// # Errors
///
/// When the file cannot be read or removed, or holds something else, or the store fails.
pub async fn take_up_first(store: &dyn Store, data_dir: &Path) -> anyhow::Result<()> {
    let file = data_dir.join(FIRST_FILE);
    if !file.exists() {
        return Ok(());
    }
    let text = secret_file::read("data_dir", &file)?;
    let Ok(hash) = text.expose_secret().parse() else {
        bail!("{} holds no hash of a token: remove it, and make one with adit token add", file.display());
    };
    let label = FIRST_LABEL.to_owned();
    let first = NewToken { hash, label, grant: Grant::Administer, created_at_ms: now_ms() };
    match store.add_token(&first).await? {
        Added::Token(id) => info!(%id, "the first token of the API is in force"),
        Added::LabelTaken(by) => warn!(%by, "there is a first token already: that of {} is not used", file.display()),
    }
    match fs::remove_file(&file) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(error).with_context(|| format!("cannot remove {}", file.display()))
        }
        _ => Ok(()),
    }
}

/// Returns the token in force that somebody presents.
///
/// # Errors
///
/// When the store cannot be read.
pub async fn presented(store: &dyn Store, secret: &str) -> Result<Option<Token>, StoreError> {
    let token = store.find_token(digest(secret)).await?;
    Ok(token.filter(|token| token.revoked_at_ms.is_none()))
}

fn now_ms() -> i64 {
    Timestamp::now().as_millisecond()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::{collections::BTreeSet, os::unix::fs::PermissionsExt};

    use payouts::store::{AccessStore, sqlite::SqliteStore};
    use tempfile::TempDir;

    use super::*;

    async fn empty() -> (TempDir, SqliteStore) {
        let folder = tempfile::tempdir().unwrap();
        let store = SqliteStore::open(&folder.path().join("adit.sqlite")).await.unwrap();
        (folder, store)
    }

    #[test]
    fn tokens_are_long_random_and_known_by_their_prefix() {
        let made: BTreeSet<String> = (0..100).map(|_| TokenSecret::random().expose().to_owned()).collect();
        assert_eq!(made.len(), 100);
        assert!(made.iter().all(|token| token.starts_with("adit_") && token.len() == 5 + 48), "{made:?}");
        let secret = TokenSecret::random();
        assert!(!format!("{secret:?}").contains(&secret.expose()[5..]), "a token must not stand in a log");
    }

    #[tokio::test]
    async fn token_is_told_once_and_known_until_it_is_revoked() {
        let (_folder, store) = empty().await;
        let add = Request::AddToken { label: "alice".parse().unwrap(), role: Role::Operator, account: None };
        let Some(Ok(Outcome::TokenAdded(added))) = perform(&store, &add).await else { panic!("not added") };
        let found = presented(&store, added.secret.expose()).await.unwrap().unwrap();
        assert_eq!((found.id, found.grant), (added.token.token, Grant::Operate));
        assert_eq!(presented(&store, "adit_00").await.unwrap(), None);
        assert!(!format!("{:?}", store.tokens(TokenId::new(0), 9).await.unwrap()).contains(added.secret.expose()));

        let again = perform(&store, &add).await.unwrap().unwrap_err();
        assert_eq!(again.code, RefusalCode::Conflict);
        for expected in [false, true] {
            let revoke = Request::RevokeToken { token: found.id };
            let Some(Ok(Outcome::TokenRevoked(revoked))) = perform(&store, &revoke).await else {
                panic!("not revoked")
            };
            assert_eq!((revoked.token.token, revoked.already), (found.id, expected));
        }
        assert_eq!(presented(&store, added.secret.expose()).await.unwrap(), None);
        let unknown = perform(&store, &Request::RevokeToken { token: TokenId::new(9) }).await.unwrap().unwrap_err();
        assert_eq!(unknown.code, RefusalCode::NotFound);
    }

    #[tokio::test]
    async fn watcher_has_an_account_and_nobody_else_has() {
        let (_folder, store) = empty().await;
        let address = "bcrt1qw508d6qejxtdg4y5r3zarvary0c5xw7kygt080";
        let account: User = address.parse().unwrap();
        let parsed: bitcoin::Address<bitcoin::address::NetworkUnchecked> = address.parse().unwrap();
        let id = store.account(parsed.assume_checked_ref()).await.unwrap();
        let label: Words = "a".parse().unwrap();
        for (role, account) in [(Role::Watcher, None), (Role::Admin, Some(&account))] {
            assert_eq!(add(&store, &label, role, account).await.unwrap_err().code, RefusalCode::Invalid);
        }
        assert_eq!(add(&store, &label, Role::Watcher, Some(&account)).await.unwrap().token.account, Some(id));
    }

    #[tokio::test]
    async fn first_token_is_taken_up_at_the_first_start() {
        let (folder, store) = empty().await;
        take_up_first(&store, folder.path()).await.unwrap();
        let secret = make_first(folder.path()).unwrap();
        let file = folder.path().join(FIRST_FILE);
        let kept = fs::read_to_string(&file).unwrap();
        assert!(!kept.contains(secret.expose()), "the token itself is on disk");
        assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
        // As if the first start had died before it removed the file.
        for _ in 0..2 {
            take_up_first(&store, folder.path()).await.unwrap();
            assert!(!file.exists());
            secret_file::create(&file, kept.trim()).unwrap();
        }
        let token = presented(&store, secret.expose()).await.unwrap().unwrap();
        assert_eq!((token.grant, list(&store).await.unwrap().len()), (Grant::Administer, 1));
    }

    #[tokio::test]
    async fn file_of_the_first_token_that_holds_something_else_is_refused() {
        let (folder, store) = empty().await;
        secret_file::create(&folder.path().join(FIRST_FILE), "adit_00").unwrap();
        let said = take_up_first(&store, folder.path()).await.unwrap_err().to_string();
        assert!(said.contains("adit token add"), "{said}");
        assert_eq!(list(&store).await.unwrap(), []);
    }
}
