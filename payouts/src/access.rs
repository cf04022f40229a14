//! Who may ask something of the pool over its API, what was asked, and what was answered: the rows that are kept of it.
//!
//! Nothing here is money, and nothing here decides: the rules belong to whoever serves the API. It stands here because
//! it is kept with the books, by the same store.

use std::{fmt, str::FromStr};

use bitcoin::hashes::{Hash, sha256};
use serde::{Deserialize, Serialize};

use crate::{account::AccountId, id::row_id};

row_id! {
    /// Identifies a token.
    TokenId
}

row_id! {
    /// The place of a row in the audit log, from 1.
    AuditSeq
}

/// What a token allows, the least first: each role may do what those before it may.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// To see one account.
    Watcher,
    /// To see everything but tokens and the audit log.
    Viewer,
    /// To decide about payouts, accounts and screening.
    Operator,
    /// To give and take tokens, and to read the audit log.
    Admin,
}

/// A text that is no role.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not watcher, viewer, operator or admin")]
pub struct NoRole(String);

impl Role {
    /// All roles, the least first.
    pub const ALL: [Role; 4] = [Role::Watcher, Role::Viewer, Role::Operator, Role::Admin];

    /// The role as it is written.
    pub fn as_str(self) -> &'static str {
        match self {
            Role::Watcher => "watcher",
            Role::Viewer => "viewer",
            Role::Operator => "operator",
            Role::Admin => "admin",
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Role {
    type Err = NoRole;

    fn from_str(text: &str) -> Result<Role, NoRole> {
        Role::ALL.into_iter().find(|role| role.as_str() == text).ok_or_else(|| NoRole(text.to_owned()))
    }
}

/// Who may see an account's page.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Audience {
    /// Everybody.
    #[default]
    Public,
    /// Those with a token for the account, and the pool's operators.
    Watchers,
}

/// A text that is no audience.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not public or watchers")]
pub struct NoAudience(String);

impl Audience {
    /// All audiences.
    pub const ALL: [Audience; 2] = [Audience::Public, Audience::Watchers];

    /// The audience as it is written.
    pub fn as_str(self) -> &'static str {
        match self {
            Audience::Public => "public",
            Audience::Watchers => "watchers",
        }
    }
}

impl fmt::Display for Audience {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Audience {
    type Err = NoAudience;

    fn from_str(text: &str) -> Result<Audience, NoAudience> {
        let known = Audience::ALL.into_iter().find(|audience| audience.as_str() == text);
        known.ok_or_else(|| NoAudience(text.to_owned()))
    }
}

/// SHA-256 of something that is too secret, or too long, to be kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Digest(sha256::Hash);

impl Digest {
    /// Takes the hash of some bytes.
    pub fn of(bytes: &[u8]) -> Digest {
        Digest(sha256::Hash::hash(bytes))
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl FromStr for Digest {
    type Err = <sha256::Hash as FromStr>::Err;

    fn from_str(text: &str) -> Result<Digest, Self::Err> {
        text.parse().map(Digest)
    }
}

/// What a token is for: a role, and the account of a watcher.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Grant {
    /// To see this account alone.
    Watch(AccountId),
    /// What a viewer may.
    View,
    /// What an operator may.
    Operate,
    /// Everything.
    Administer,
}

impl Grant {
    /// Returns the role.
    pub fn role(self) -> Role {
        match self {
            Grant::Watch(_) => Role::Watcher,
            Grant::View => Role::Viewer,
            Grant::Operate => Role::Operator,
            Grant::Administer => Role::Admin,
        }
    }

    /// Returns the account that it is confined to.
    pub fn account(self) -> Option<AccountId> {
        match self {
            Grant::Watch(account) => Some(account),
            _ => None,
        }
    }

    /// Puts a role and an account together; none if they do not fit: a watcher has an account, nobody else has.
    pub fn new(role: Role, account: Option<AccountId>) -> Option<Grant> {
        match (role, account) {
            (Role::Watcher, Some(account)) => Some(Grant::Watch(account)),
            (Role::Viewer, None) => Some(Grant::View),
            (Role::Operator, None) => Some(Grant::Operate),
            (Role::Admin, None) => Some(Grant::Administer),
            _ => None,
        }
    }
}

/// A token that is to be stored. The token itself is never.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewToken {
    /// Its hash.
    pub hash: Digest,
    /// Who has it, or what for. No other token in force is called so.
    pub label: String,
    /// What it is for.
    pub grant: Grant,
    /// When it was made, in milliseconds since 1970 UTC.
    pub created_at_ms: i64,
}

/// A token as the store knows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Token {
    /// Its number.
    pub id: TokenId,
    /// Who has it, or what for.
    pub label: String,
    /// What it is for.
    pub grant: Grant,
    /// When it was made, in milliseconds since 1970 UTC.
    pub created_at_ms: i64,
    /// When it was used last, to the hour or so.
    pub last_used_at_ms: Option<i64>,
    /// When it was revoked, if it was.
    pub revoked_at_ms: Option<i64>,
}

/// What became of a token that was to be stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Added {
    /// It is stored, or was so already with this hash.
    Token(TokenId),
    /// Another token in force has this label.
    LabelTaken(TokenId),
}

/// A row of the audit log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuditRow {
    /// Its place.
    pub seq: AuditSeq,
    /// When it was begun, in milliseconds since 1970 UTC.
    pub at_ms: i64,
    /// Who did it.
    pub actor: String,
    /// What was asked for. No secret, nothing personal.
    pub action: String,
    /// What became of it; nothing if the pool ended before that was known.
    pub outcome: Option<AuditOutcome>,
}

/// What became of something that an operator asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuditOutcome {
    /// When that was known, in milliseconds since 1970 UTC.
    pub at_ms: i64,
    /// `done`, or why not.
    pub text: String,
}

/// The answer to a request, as it was given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// The status of HTTP.
    pub status: u16,
    /// The body.
    pub body: String,
}

/// How a key that a client has chosen for a request stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Claim {
    /// Nothing was answered to it: it is new, or the pool ended while it was done.
    Open,
    /// This was answered to the same request.
    Answered(Answer),
    /// The key belongs to another request.
    OtherRequest,
}
