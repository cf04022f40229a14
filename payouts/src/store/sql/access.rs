//! Tokens of the API, the audit log, and answers that may be asked for again.

use async_trait::async_trait;
use sqlx::Row as _;

use super::{Backend, Connection, SqlRow, begin, corrupt, in_time, number, parsed};
use crate::{
    access::{
        Added, Answer, Audience, AuditOutcome, AuditRow, AuditSeq, Claim, Digest, Grant, NewToken, Role, Token, TokenId,
    },
    account::AccountId,
    crash_point,
    store::{AccessStore, StoreError},
};

#[async_trait]
impl AccessStore for Backend {
    async fn add_token(&self, token: &NewToken) -> Result<Added, StoreError> {
        in_time(async {
            let mut session = self.session().await?;
            let mut transaction = begin(&mut session).await?;
            let added = add(&mut transaction, token).await?;
            crash_point::reach(format_args!("before add token"));
            transaction.commit().await?;
            crash_point::reach(format_args!("after add token"));
            Ok(added)
        })
        .await
    }

    async fn find_token(&self, hash: Digest) -> Result<Option<Token>, StoreError> {
        let select = sqlx::query("SELECT * FROM api_tokens WHERE hash = $1").bind(hash.to_string());
        select.fetch_optional(&self.readers).await?.as_ref().map(token).transpose()
    }

    async fn token(&self, id: TokenId) -> Result<Option<Token>, StoreError> {
        let select = sqlx::query("SELECT * FROM api_tokens WHERE id = $1").bind(id.get());
        select.fetch_optional(&self.readers).await?.as_ref().map(token).transpose()
    }

    async fn tokens(&self, after: TokenId, limit: u32) -> Result<Vec<Token>, StoreError> {
        let select = sqlx::query("SELECT * FROM api_tokens WHERE id > $1 ORDER BY id LIMIT $2");
        let rows = select.bind(after.get()).bind(i64::from(limit)).fetch_all(&self.readers).await?;
        rows.iter().map(token).collect()
    }

    async fn revoke_token(&self, id: TokenId, at_ms: i64) -> Result<bool, StoreError> {
        in_time(async {
            let mut session = self.session().await?;
            let update =
                sqlx::query("UPDATE api_tokens SET revoked_at_ms = $2 WHERE id = $1 AND revoked_at_ms IS NULL");
            crash_point::reach(format_args!("before revoke token"));
            let revoked = update.bind(id.get()).bind(at_ms).execute(&mut *session).await?.rows_affected() > 0;
            crash_point::reach(format_args!("after revoke token"));
            Ok(revoked)
        })
        .await
    }

    async fn note_token_use(&self, id: TokenId, at_ms: i64) -> Result<(), StoreError> {
        in_time(async {
            let mut session = self.session().await?;
            let update = sqlx::query(
                "UPDATE api_tokens SET last_used_at_ms = $2 WHERE id = $1 AND COALESCE(last_used_at_ms, 0) < $2",
            );
            update.bind(id.get()).bind(at_ms).execute(&mut *session).await?;
            Ok(())
        })
        .await
    }

    async fn page_audience(&self, account: AccountId) -> Result<Audience, StoreError> {
        let select = sqlx::query("SELECT audience FROM page_audiences WHERE account = $1").bind(account.get());
        let row = select.fetch_optional(&self.readers).await?;
        row.map_or(Ok(Audience::Public), |row| parsed("page_audiences", &row, "audience"))
    }

    async fn set_page_audience(&self, account: AccountId, audience: Audience, at_ms: i64) -> Result<(), StoreError> {
        in_time(async {
            let mut session = self.session().await?;
            let set = sqlx::query(
                "INSERT INTO page_audiences (account, audience, set_at_ms) VALUES ($1, $2, $3) \
                 ON CONFLICT (account) DO UPDATE SET audience = excluded.audience, set_at_ms = excluded.set_at_ms",
            );
            set.bind(account.get()).bind(audience.as_str()).bind(at_ms).execute(&mut *session).await?;
            Ok(())
        })
        .await
    }

    async fn begin_audit(&self, at_ms: i64, actor: &str, action: &str) -> Result<AuditSeq, StoreError> {
        in_time(async {
            let mut session = self.session().await?;
            let insert =
                sqlx::query_scalar("INSERT INTO audit_log (at_ms, actor, action) VALUES ($1, $2, $3) RETURNING seq");
            crash_point::reach(format_args!("before begin audit"));
            let seq = insert.bind(at_ms).bind(actor).bind(action).fetch_one(&mut *session).await?;
            crash_point::reach(format_args!("after begin audit"));
            Ok(AuditSeq::new(seq))
        })
        .await
    }

    async fn end_audit(&self, seq: AuditSeq, at_ms: i64, outcome: &str) -> Result<(), StoreError> {
        in_time(async {
            let mut session = self.session().await?;
            let insert = sqlx::query("INSERT INTO audit_outcomes (seq, at_ms, outcome) VALUES ($1, $2, $3)");
            crash_point::reach(format_args!("before end audit"));
            insert.bind(seq.get()).bind(at_ms).bind(outcome).execute(&mut *session).await?;
            crash_point::reach(format_args!("after end audit"));
            Ok(())
        })
        .await
    }

    async fn audit_rows(&self, before: Option<AuditSeq>, limit: u32) -> Result<Vec<AuditRow>, StoreError> {
        let select = sqlx::query(
            "SELECT audit_log.seq AS seq, audit_log.at_ms AS at_ms, actor, action, outcome, \
             audit_outcomes.at_ms AS ended_at_ms FROM audit_log \
             LEFT JOIN audit_outcomes ON audit_outcomes.seq = audit_log.seq \
             WHERE audit_log.seq < $1 ORDER BY audit_log.seq DESC LIMIT $2",
        );
        let before = before.map_or(i64::MAX, AuditSeq::get);
        let rows = select.bind(before).bind(i64::from(limit)).fetch_all(&self.readers).await?;
        rows.iter().map(audit_row).collect()
    }

    async fn claim_answer(
        &self,
        token: TokenId,
        key: &str,
        request: Digest,
        at_ms: i64,
        forget_before_ms: i64,
    ) -> Result<Claim, StoreError> {
        in_time(async {
            let mut session = self.session().await?;
            let mut transaction = begin(&mut session).await?;
            let forget = sqlx::query("DELETE FROM api_answers WHERE created_at_ms < $1").bind(forget_before_ms);
            forget.execute(&mut *transaction).await?;
            sqlx::query(
                "INSERT INTO api_answers (token, key, request, created_at_ms) VALUES ($1, $2, $3, $4) \
                 ON CONFLICT (token, key) DO NOTHING",
            )
            .bind(token.get())
            .bind(key)
            .bind(request.to_string())
            .bind(at_ms)
            .execute(&mut *transaction)
            .await?;
            let select = sqlx::query("SELECT * FROM api_answers WHERE token = $1 AND key = $2");
            let claim = claim(&select.bind(token.get()).bind(key).fetch_one(&mut *transaction).await?, request)?;
            crash_point::reach(format_args!("before claim answer"));
            transaction.commit().await?;
            crash_point::reach(format_args!("after claim answer"));
            Ok(claim)
        })
        .await
    }

    async fn keep_answer(&self, token: TokenId, key: &str, answer: &Answer) -> Result<(), StoreError> {
        in_time(async {
            let mut session = self.session().await?;
            let update = sqlx::query(
                "UPDATE api_answers SET status = $3, body = $4 WHERE token = $1 AND key = $2 AND status IS NULL",
            );
            let update = update.bind(token.get()).bind(key).bind(i64::from(answer.status)).bind(&answer.body);
            crash_point::reach(format_args!("before keep answer"));
            update.execute(&mut *session).await?;
            crash_point::reach(format_args!("after keep answer"));
            Ok(())
        })
        .await
    }
}

async fn add(connection: &mut Connection, token: &NewToken) -> Result<Added, StoreError> {
    let hash = token.hash.to_string();
    let known = sqlx::query_scalar("SELECT id FROM api_tokens WHERE hash = $1").bind(&hash);
    if let Some(id) = known.fetch_optional(&mut *connection).await? {
        return Ok(Added::Token(TokenId::new(id)));
    }
    let taken = sqlx::query_scalar("SELECT id FROM api_tokens WHERE label = $1 AND revoked_at_ms IS NULL");
    if let Some(id) = taken.bind(&token.label).fetch_optional(&mut *connection).await? {
        return Ok(Added::LabelTaken(TokenId::new(id)));
    }
    let insert = sqlx::query_scalar(
        "INSERT INTO api_tokens (hash, label, role, account, created_at_ms) VALUES ($1, $2, $3, $4, $5) RETURNING id",
    );
    let insert = insert.bind(hash).bind(&token.label).bind(token.grant.role().as_str());
    let insert = insert.bind(token.grant.account().map(AccountId::get)).bind(token.created_at_ms);
    Ok(Added::Token(TokenId::new(insert.fetch_one(connection).await?)))
}

fn token(row: &SqlRow) -> Result<Token, StoreError> {
    let role: Role = parsed("api_tokens", row, "role")?;
    let account: Option<i64> = row.try_get("account")?;
    let grant = Grant::new(role, account.map(AccountId::new)).ok_or_else(|| corrupt("api_tokens", role))?;
    Ok(Token {
        id: TokenId::new(row.try_get("id")?),
        label: row.try_get("label")?,
        grant,
        created_at_ms: row.try_get("created_at_ms")?,
        last_used_at_ms: row.try_get("last_used_at_ms")?,
        revoked_at_ms: row.try_get("revoked_at_ms")?,
    })
}

pub(super) fn audit_row(row: &SqlRow) -> Result<AuditRow, StoreError> {
    let ended_at_ms: Option<i64> = row.try_get("ended_at_ms")?;
    let outcome = match ended_at_ms {
        Some(at_ms) => Some(AuditOutcome { at_ms, text: row.try_get("outcome")? }),
        None => None,
    };
    Ok(AuditRow {
        seq: AuditSeq::new(row.try_get("seq")?),
        at_ms: row.try_get("at_ms")?,
        actor: row.try_get("actor")?,
        action: row.try_get("action")?,
        outcome,
    })
}

fn claim(row: &SqlRow, request: Digest) -> Result<Claim, StoreError> {
    if parsed::<Digest>("api_answers", row, "request")? != request {
        return Ok(Claim::OtherRequest);
    }
    match row.try_get("body")? {
        None => Ok(Claim::Open),
        Some(body) => Ok(Claim::Answered(Answer { status: number("api_answers", row, "status")?, body })),
    }
}
