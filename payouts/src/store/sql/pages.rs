//! Lists for people, in pages.

use async_trait::async_trait;
use bitcoin::{BlockHash, OutPoint, SignedAmount, Txid};
use sqlx::Row as _;

use super::{Backend, SqlRow, accounts, amount, batches, blocks, corrupt, number, parsed, register};
use crate::{
    account::{Account, AccountId},
    books::BlockRecord,
    export::register::RegisterRow,
    ledger::{EntrySeq, LedgerAccount},
    payout::{BatchHead, BatchId, PaidOutput},
    store::{AccountCredit, AccountPayment, AccountPosting, PageStore, StoreError},
};

#[async_trait]
impl PageStore for Backend {
    async fn accounts_among(&self, ids: &[AccountId]) -> Result<Vec<Account>, StoreError> {
        accounts::among(&self.readers, ids).await
    }

    async fn blocks_after(&self, after: Option<(u32, BlockHash)>, limit: u32) -> Result<Vec<BlockRecord>, StoreError> {
        let select = sqlx::query(
            "SELECT * FROM blocks WHERE height < $1 OR (height = $1 AND hash > $2) ORDER BY height DESC, hash LIMIT $3",
        );
        // No block is higher than this.
        let (height, hash) =
            after.map_or((i64::MAX, String::new()), |(height, hash)| (height.into(), hash.to_string()));
        let rows = select.bind(height).bind(hash).bind(i64::from(limit)).fetch_all(&self.readers).await?;
        rows.iter().map(blocks::block).collect()
    }

    async fn batches_before(&self, before: Option<BatchId>, limit: u32) -> Result<Vec<BatchHead>, StoreError> {
        batches::heads_before(&self.readers, before.map_or(i64::MAX, BatchId::get), limit).await
    }

    async fn batch_head(&self, batch: BatchId) -> Result<Option<BatchHead>, StoreError> {
        let mut newest = batches::heads_before(&self.readers, batch.get().saturating_add(1), 1).await?;
        Ok(newest.pop().filter(|head| head.id == batch))
    }

    async fn outputs_of(&self, batch: BatchId, after: Option<u32>, limit: u32) -> Result<Vec<PaidOutput>, StoreError> {
        batches::outputs(&self.readers, batch, after, limit).await
    }

    async fn output_to(&self, batch: BatchId, account: AccountId) -> Result<Option<PaidOutput>, StoreError> {
        let select = sqlx::query_scalar("SELECT vout FROM batch_outputs WHERE batch = $1 AND account = $2");
        let vout: Option<i64> = select.bind(batch.get()).bind(account.get()).fetch_optional(&self.readers).await?;
        let Some(vout) = vout else { return Ok(None) };
        let vout = u32::try_from(vout).map_err(|error| corrupt("batch_outputs", error))?;
        Ok(batches::outputs(&self.readers, batch, vout.checked_sub(1), 1).await?.pop())
    }

    async fn postings_of(
        &self,
        account: AccountId,
        before: Option<(EntrySeq, u32)>,
        limit: u32,
    ) -> Result<Vec<AccountPosting>, StoreError> {
        let select = sqlx::query(
            "SELECT entry, line, kind, key, at_ms, account, sat FROM postings JOIN entries ON entries.seq = entry \
             WHERE account IN ($1, $2, $3, $4, $5) AND (entry < $6 OR (entry = $6 AND line < $7)) \
             ORDER BY entry DESC, line DESC LIMIT $8",
        );
        let select = names(account).into_iter().fold(select, |select, name| select.bind(name));
        let (entry, line) = before.map_or((i64::MAX, 0), |(entry, line)| (entry.get(), i64::from(line)));
        let select = select.bind(entry).bind(line).bind(i64::from(limit));
        select.fetch_all(&self.readers).await?.iter().map(posting).collect()
    }

    async fn payments_to(
        &self,
        account: AccountId,
        before: Option<BatchId>,
        limit: u32,
    ) -> Result<Vec<AccountPayment>, StoreError> {
        let select = sqlx::query(
            "SELECT batch, vout, sat, fee_sat, state, created_at_ms, block_height, \
             COALESCE((SELECT txid FROM batch_attempts \
             WHERE batch_attempts.batch = batches.id AND batch_attempts.attempt = batches.attempt), \
             (SELECT txid FROM batch_attempts WHERE batch_attempts.batch = batches.id \
             ORDER BY batch_attempts.attempt DESC LIMIT 1)) AS txid \
             FROM batch_outputs JOIN batches ON batches.id = batch_outputs.batch \
             WHERE account = $1 AND batch < $2 ORDER BY batch DESC LIMIT $3",
        );
        let select = select.bind(account.get()).bind(before.map_or(i64::MAX, BatchId::get)).bind(i64::from(limit));
        select.fetch_all(&self.readers).await?.iter().map(payment).collect()
    }

    async fn postings_between(
        &self,
        account: AccountId,
        from_ms: i64,
        until_ms: i64,
        after: Option<(EntrySeq, u32)>,
        limit: u32,
    ) -> Result<Vec<AccountPosting>, StoreError> {
        let select = sqlx::query(
            "SELECT entry, line, kind, key, at_ms, account, sat FROM postings JOIN entries ON entries.seq = entry \
             WHERE account IN ($1, $2, $3, $4, $5) AND (entry > $6 OR (entry = $6 AND line > $7)) \
             AND at_ms >= $8 AND at_ms < $9 ORDER BY entry, line LIMIT $10",
        );
        let select = names(account).into_iter().fold(select, |select, name| select.bind(name));
        // No entry has the number 0.
        let (entry, line) = after.map_or((0, 0), |(entry, line)| (entry.get(), i64::from(line)));
        let select = select.bind(entry).bind(line).bind(from_ms).bind(until_ms).bind(i64::from(limit));
        select.fetch_all(&self.readers).await?.iter().map(posting).collect()
    }

    async fn credits_to(
        &self,
        account: AccountId,
        after: Option<(u32, BlockHash)>,
        limit: u32,
    ) -> Result<Vec<AccountCredit>, StoreError> {
        let select = sqlx::query(
            "SELECT blocks.*, sat, paid_sat FROM credits JOIN blocks ON blocks.hash = credits.block_hash \
             WHERE account = $1 AND (height < $2 OR (height = $2 AND hash > $3)) ORDER BY height DESC, hash LIMIT $4",
        );
        let (height, hash) =
            after.map_or((i64::MAX, String::new()), |(height, hash)| (height.into(), hash.to_string()));
        let select = select.bind(account.get()).bind(height).bind(hash).bind(i64::from(limit));
        let credit = |row: &SqlRow| {
            let (amount, paid) = (amount("credits", row, "sat")?, amount("credits", row, "paid_sat")?);
            Ok(AccountCredit { block: blocks::block(row)?, amount, paid })
        };
        select.fetch_all(&self.readers).await?.iter().map(credit).collect()
    }

    async fn batch_of(&self, txid: Txid) -> Result<Option<BatchId>, StoreError> {
        let select = sqlx::query_scalar("SELECT MAX(batch) FROM batch_attempts WHERE txid = $1");
        let batch: Option<i64> = select.bind(txid.to_string()).fetch_one(&self.readers).await?;
        Ok(batch.map(BatchId::new))
    }

    async fn register_rows_of(&self, delivery: OutPoint) -> Result<Vec<RegisterRow>, StoreError> {
        register::of_output(&self.readers, delivery).await
    }
}

/// The names of an account's ledger accounts.
fn names(account: AccountId) -> [String; 5] {
    LedgerAccount::of_miner(account).map(|account| account.to_string())
}

fn posting(row: &SqlRow) -> Result<AccountPosting, StoreError> {
    Ok(AccountPosting {
        entry: EntrySeq::new(row.try_get("entry")?),
        line: number("postings", row, "line")?,
        kind: parsed("entries", row, "kind")?,
        key: row.try_get("key")?,
        at_ms: row.try_get("at_ms")?,
        account: parsed("postings", row, "account")?,
        amount: SignedAmount::from_sat(row.try_get("sat")?),
    })
}

fn payment(row: &SqlRow) -> Result<AccountPayment, StoreError> {
    let height: Option<i64> = row.try_get("block_height")?;
    Ok(AccountPayment {
        batch: BatchId::new(row.try_get("batch")?),
        vout: number("batch_outputs", row, "vout")?,
        amount: amount("batch_outputs", row, "sat")?,
        fee: amount("batch_outputs", row, "fee_sat")?,
        state: row.try_get("state")?,
        txid: parsed("batch_attempts", row, "txid")?,
        created_at_ms: row.try_get("created_at_ms")?,
        height: match height {
            Some(_) => Some(number("batches", row, "block_height")?),
            None => None,
        },
    })
}
