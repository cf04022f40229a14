//! What accounts asked for.

use std::{collections::BTreeMap, num::NonZeroU32};

use sqlx::Row as _;

use super::{Connection, Pool, SqlRow, corrupt, number};
use crate::{
    account::{AccountId, AccountSettings},
    clock::now_ms,
    scheme::beneficiary::{Donation, Wishes},
    share::{Reward, ShareSeq},
    store::StoreError,
};

/// The names of what a share can be paid by.
const REWARDS: [(Reward, &str); 2] = [(Reward::Shared, "pool"), (Reward::Solo, "solo")];

pub(super) async fn append(
    connection: &mut Connection,
    account: AccountId,
    from: ShareSeq,
    settings: &AccountSettings,
) -> Result<(), StoreError> {
    let before = sqlx::query(
        "SELECT COALESCE(MAX(number), 0) AS number, COALESCE(MAX(from_position), 0) AS from_position, \
         COALESCE((SELECT MAX(share_position) FROM blocks), 0) AS split_position, \
         COALESCE((SELECT MAX(upto_position) FROM credit_periods WHERE entry IS NOT NULL), 0) AS paid_position \
         FROM account_settings WHERE account = $1",
    );
    let before = before.bind(account.get()).fetch_one(&mut *connection).await?;
    let version = before.try_get::<i64, _>("number")? + 1;
    let from = from.get().max(before.try_get("from_position")?);
    // What is split or paid stays explained by what was wished then.
    let (split, paid): (i64, i64) = (before.try_get("split_position")?, before.try_get("paid_position")?);
    let from = from.max(split.saturating_add(1)).max(paid.saturating_add(1));
    let (_, mines) = REWARDS.iter().find(|(reward, _)| *reward == settings.reward).expect("every reward is listed");
    let donation = settings.wishes.donation.filter(|donation| donation.basis_points() > 0);
    sqlx::query(
        "INSERT INTO account_settings (account, number, from_position, mines, donate_bp, donate_to, set_at_ms) \
         VALUES ($1, $2, $3, $4, $5, $6, $7)",
    )
    .bind(account.get())
    .bind(version)
    .bind(from)
    .bind(*mines)
    .bind(donation.map_or(0, |donation| i64::from(donation.basis_points())))
    .bind(donation.map(|donation| donation.to().get()))
    .bind(now_ms())
    .execute(&mut *connection)
    .await?;
    for (beneficiary, weight) in &settings.wishes.division {
        sqlx::query("INSERT INTO account_parts (account, number, beneficiary, weight) VALUES ($1, $2, $3, $4)")
            .bind(account.get())
            .bind(version)
            .bind(beneficiary.get())
            .bind(i64::from(weight.get()))
            .execute(&mut *connection)
            .await?;
    }
    Ok(())
}

pub(super) async fn latest(pool: &Pool, account: AccountId) -> Result<Option<AccountSettings>, StoreError> {
    let select = sqlx::query("SELECT * FROM account_settings WHERE account = $1 ORDER BY number DESC LIMIT 1");
    let Some(row) = select.bind(account.get()).fetch_optional(pool).await? else { return Ok(None) };
    let select = sqlx::query("SELECT * FROM account_parts WHERE account = $1 AND number = $2");
    let number: i64 = row.try_get("number")?;
    let mut wishes = Wishes { donation: donation(&row)?, ..Wishes::default() };
    for row in select.bind(account.get()).bind(number).fetch_all(pool).await? {
        let (beneficiary, weight) = part(&row)?;
        wishes.division.insert(beneficiary, weight);
    }
    let mines: String = row.try_get("mines")?;
    let known = REWARDS.iter().find(|(_, name)| *name == mines);
    let (reward, _) = *known.ok_or_else(|| corrupt("account_settings", &mines))?;
    Ok(Some(AccountSettings { reward, wishes }))
}

pub(super) async fn wishes(pool: &Pool, position: ShareSeq) -> Result<BTreeMap<AccountId, Wishes>, StoreError> {
    // Of each account the newest version that holds at the position, with its parts or without any.
    let select = sqlx::query(
        "SELECT held.account AS account, donate_bp, donate_to, beneficiary, weight FROM account_settings AS held \
         LEFT JOIN account_parts ON account_parts.account = held.account AND account_parts.number = held.number \
         WHERE held.from_position <= $1 AND NOT EXISTS (SELECT 1 FROM account_settings AS later \
         WHERE later.account = held.account AND later.from_position <= $1 AND later.number > held.number) \
         ORDER BY held.account",
    );
    let mut wishes: BTreeMap<AccountId, Wishes> = BTreeMap::new();
    for row in select.bind(position.get()).fetch_all(pool).await? {
        let account = AccountId::new(row.try_get("account")?);
        let wished = wishes.entry(account).or_insert(Wishes { donation: donation(&row)?, ..Wishes::default() });
        if row.try_get::<Option<i64>, _>("beneficiary")?.is_some() {
            let (beneficiary, weight) = part(&row)?;
            wished.division.insert(beneficiary, weight);
        }
    }
    wishes.retain(|_, wished| *wished != Wishes::default());
    Ok(wishes)
}

fn donation(row: &SqlRow) -> Result<Option<Donation>, StoreError> {
    let Some(to) = row.try_get::<Option<i64>, _>("donate_to")? else { return Ok(None) };
    let bp: u16 = number("account_settings", row, "donate_bp")?;
    Donation::new(AccountId::new(to), bp).map(Some).ok_or_else(|| corrupt("account_settings", bp))
}

fn part(row: &SqlRow) -> Result<(AccountId, NonZeroU32), StoreError> {
    let weight: u32 = number("account_parts", row, "weight")?;
    let weight = NonZeroU32::new(weight).ok_or_else(|| corrupt("account_parts", weight))?;
    Ok((AccountId::new(row.try_get("beneficiary")?), weight))
}
