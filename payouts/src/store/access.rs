//! What a store keeps of the API: tokens, the audit log, and answers that may be asked for again.

use async_trait::async_trait;

use super::StoreError;
use crate::{
    access::{Added, Answer, Audience, AuditRow, AuditSeq, Claim, Digest, NewToken, Token, TokenId},
    account::AccountId,
};

/// The part of a store that keeps who may ask, what was asked and what was answered.
#[async_trait]
pub trait AccessStore {
    /// Stores a token, once for each hash.
    async fn add_token(&self, token: &NewToken) -> Result<Added, StoreError>;

    /// Returns the token of a hash, also if it was revoked.
    async fn find_token(&self, hash: Digest) -> Result<Option<Token>, StoreError>;

    /// Returns a token.
    async fn token(&self, id: TokenId) -> Result<Option<Token>, StoreError>;

    /// Returns tokens after `after` in the order of their numbers, also those that were revoked.
    async fn tokens(&self, after: TokenId, limit: u32) -> Result<Vec<Token>, StoreError>;

    /// Revokes a token. Returns whether it was in force until now.
    async fn revoke_token(&self, id: TokenId, at_ms: i64) -> Result<bool, StoreError>;

    /// Notes that a token was used.
    async fn note_token_use(&self, id: TokenId, at_ms: i64) -> Result<(), StoreError>;

    /// Returns who may see an account's page: everybody, unless it was said otherwise.
    async fn page_audience(&self, account: AccountId) -> Result<Audience, StoreError>;

    /// Says who may see an account's page. Times are milliseconds since 1970 UTC.
    async fn set_page_audience(&self, account: AccountId, audience: Audience, at_ms: i64) -> Result<(), StoreError>;

    /// Puts on record that somebody asks for something. Times are milliseconds since 1970 UTC.
    async fn begin_audit(&self, at_ms: i64, actor: &str, action: &str) -> Result<AuditSeq, StoreError>;

    /// Puts on record what became of it.
    async fn end_audit(&self, seq: AuditSeq, at_ms: i64, outcome: &str) -> Result<(), StoreError>;

    /// Returns rows of the audit log before `before`, newest first; from the newest one on without.
    async fn audit_rows(&self, before: Option<AuditSeq>, limit: u32) -> Result<Vec<AuditRow>, StoreError>;

    /// Claims a client's key for a request of a token, or tells what it stands for already. Answers that were begun before
    /// `forget_before_ms` are forgotten.
    async fn claim_answer(
        &self,
        token: TokenId,
        key: &str,
        request: Digest,
        at_ms: i64,
        forget_before_ms: i64,
    ) -> Result<Claim, StoreError>;

    /// Keeps the answer to a claimed request. The first one stays.
    async fn keep_answer(&self, token: TokenId, key: &str, answer: &Answer) -> Result<(), StoreError>;
}
