//! Accounts and their names.

use std::collections::BTreeSet;

use bitcoin::{Address, ScriptBuf};
use sqlx::{QueryBuilder, Row as _};

use super::{Connection, Db, KEYS_PER_SELECT, Pool, SqlRow, corrupt};
use crate::{
    account::{Account, AccountId, AccountName, Naming},
    clock::now_ms,
    crash_point,
    store::StoreError,
};

/// Accounts with their names, to be continued by a condition.
macro_rules! select_accounts {
    ($condition:literal) => {
        concat!(
            "SELECT accounts.id AS id, address, script_pubkey, name FROM accounts \
             LEFT JOIN account_names ON account_names.account = accounts.id AND is_in_use = 1 ",
            $condition
        )
    };
}

pub(super) async fn by_address(pool: &Pool, address: &str) -> Result<Option<Account>, StoreError> {
    let select = sqlx::query(select_accounts!("WHERE address = $1"));
    select.bind(address).fetch_optional(pool).await?.as_ref().map(account).transpose()
}

pub(super) async fn by_name(pool: &Pool, name: &AccountName) -> Result<Option<Account>, StoreError> {
    let select =
        sqlx::query(select_accounts!("WHERE accounts.id = (SELECT account FROM account_names WHERE name = $1)"));
    select.bind(name.as_str()).fetch_optional(pool).await?.as_ref().map(account).transpose()
}

pub(super) async fn page(pool: &Pool, after: AccountId, limit: u32) -> Result<Vec<Account>, StoreError> {
    let select = sqlx::query(select_accounts!("WHERE accounts.id > $1 ORDER BY accounts.id LIMIT $2"));
    select.bind(after.get()).bind(i64::from(limit)).fetch_all(pool).await?.iter().map(account).collect()
}

pub(super) async fn named(pool: &Pool, after: AccountId, limit: u32) -> Result<Vec<Account>, StoreError> {
    let select =
        sqlx::query(select_accounts!("WHERE accounts.id > $1 AND name IS NOT NULL ORDER BY accounts.id LIMIT $2"));
    select.bind(after.get()).bind(i64::from(limit)).fetch_all(pool).await?.iter().map(account).collect()
}

/// Returns those of some accounts that there are, each once, in the order of their numbers.
pub(super) async fn among(pool: &Pool, ids: &[AccountId]) -> Result<Vec<Account>, StoreError> {
    let mut accounts = Vec::new();
    let ids: BTreeSet<AccountId> = ids.iter().copied().collect();
    let ids: Vec<AccountId> = ids.into_iter().collect();
    for chunk in ids.chunks(KEYS_PER_SELECT) {
        let mut select = QueryBuilder::<Db>::new(select_accounts!("WHERE accounts.id IN ("));
        let mut list = select.separated(", ");
        for id in chunk {
            list.push_bind(id.get());
        }
        select.push(") ORDER BY accounts.id");
        let rows = select.build().persistent(false).fetch_all(pool).await?;
        accounts.extend(rows.iter().map(account).collect::<Result<Vec<_>, _>>()?);
    }
    Ok(accounts)
}

pub(super) async fn create(connection: &mut Connection, address: &Address) -> Result<AccountId, StoreError> {
    let text = address.to_string();
    sqlx::query("INSERT INTO accounts (address, script_pubkey) VALUES ($1, $2) ON CONFLICT (address) DO NOTHING")
        .bind(&text)
        .bind(address.script_pubkey().into_bytes())
        .execute(&mut *connection)
        .await?;
    crash_point::reach(format_args!("after create account"));
    let id = sqlx::query_scalar("SELECT id FROM accounts WHERE address = $1").bind(&text);
    Ok(AccountId::new(id.fetch_one(connection).await?))
}

pub(super) async fn name(
    connection: &mut Connection,
    account: AccountId,
    name: Option<&AccountName>,
) -> Result<Naming, StoreError> {
    let present = sqlx::query_scalar("SELECT name FROM account_names WHERE account = $1 AND is_in_use = 1");
    let present: Option<String> = present.bind(account.get()).fetch_optional(&mut *connection).await?;
    if present.as_deref() == name.map(AccountName::as_str) {
        return Ok(Naming::Already);
    }
    if let Some(name) = name {
        let owner = sqlx::query_scalar("SELECT account FROM account_names WHERE name = $1").bind(name.as_str());
        let owner: Option<i64> = owner.fetch_optional(&mut *connection).await?;
        if let Some(owner) = owner.map(AccountId::new).filter(|owner| *owner != account) {
            return Ok(Naming::Reserved(owner));
        }
    }
    sqlx::query("UPDATE account_names SET is_in_use = 0, changed_at_ms = $2 WHERE account = $1 AND is_in_use = 1")
        .bind(account.get())
        .bind(now_ms())
        .execute(&mut *connection)
        .await?;
    if let Some(name) = name {
        sqlx::query(
            "INSERT INTO account_names (name, account, is_in_use, changed_at_ms) VALUES ($1, $2, 1, $3) \
             ON CONFLICT (name) DO UPDATE SET is_in_use = 1, changed_at_ms = excluded.changed_at_ms",
        )
        .bind(name.as_str())
        .bind(account.get())
        .bind(now_ms())
        .execute(connection)
        .await?;
    }
    Ok(Naming::Done)
}

pub(super) fn account(row: &SqlRow) -> Result<Account, StoreError> {
    let name: Option<String> = row.try_get("name")?;
    let name = name.map(|name| name.parse().map_err(|_| corrupt("account_names", &name))).transpose()?;
    Ok(Account {
        id: AccountId::new(row.try_get("id")?),
        address: row.try_get("address")?,
        script_pubkey: ScriptBuf::from_bytes(row.try_get("script_pubkey")?),
        name,
    })
}
