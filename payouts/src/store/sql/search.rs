//! What operators look for.

use async_trait::async_trait;
use bitcoin::{Amount, SignedAmount};
use sqlx::{QueryBuilder, Row as _};

use super::{Backend, Db, SqlRow, access::audit_row, accounts, amount, entries, journal, number, parsed, register};
use crate::{
    access::{AuditRow, AuditSeq},
    account::AccountId,
    export::{
        journal::{JournalRow, JournalSeq},
        register::{RegisterRow, RowSeq},
    },
    ledger::{Entry, EntrySeq},
    payout::Restraint,
    store::{
        AccountLine, AuditFilter, BalanceSum, EntryFilter, EntryLine, EntryRange, RecordFilter, RecordRange,
        SearchStore, StoreError,
    },
};

#[async_trait]
impl SearchStore for Backend {
    async fn account_lines(&self, text: &str, after: AccountId, limit: u32) -> Result<Vec<AccountLine>, StoreError> {
        let select = sqlx::query(
            "SELECT accounts.id AS id, address, script_pubkey, name, threshold_sat, \
             (SELECT sat FROM balances WHERE account = 'miner_immature:' || accounts.id) AS immature, \
             (SELECT sat FROM balances WHERE account = 'miner_payable:' || accounts.id) AS payable, \
             (SELECT sat FROM balances WHERE account = 'held:' || accounts.id) AS held, \
             (SELECT sat FROM balances WHERE account = 'blocked:' || accounts.id) AS blocked, \
             (SELECT sat FROM balances WHERE account = 'miner_debt:' || accounts.id) AS debt, \
             (SELECT MIN(restraint) FROM restraints AS latest WHERE latest.account = accounts.id AND act <> 'ended' \
             AND number = (SELECT MAX(number) FROM restraints \
             WHERE account = latest.account AND restraint = latest.restraint)) AS restraint, \
             (SELECT MAX(last_share_at_ms) FROM history_workers JOIN workers ON workers.id = worker \
             WHERE workers.account = accounts.id) AS last_share_at_ms \
             FROM accounts \
             LEFT JOIN account_names ON account_names.account = accounts.id AND is_in_use = 1 \
             LEFT JOIN payout_thresholds ON payout_thresholds.account = accounts.id \
             WHERE accounts.id > $1 AND (LOWER(address) LIKE $2 ESCAPE '!' OR name LIKE $2 ESCAPE '!') \
             ORDER BY accounts.id LIMIT $3",
        );
        let select = select.bind(after.get()).bind(containing(text)).bind(i64::from(limit));
        select.fetch_all(&self.readers).await?.iter().map(account_line).collect()
    }

    async fn entries_where(
        &self,
        wanted: &EntryFilter,
        range: EntryRange,
        limit: u32,
    ) -> Result<Vec<Entry>, StoreError> {
        let mut select = QueryBuilder::<Db>::new("SELECT * FROM entries");
        push_wanted(&mut select, wanted, range, limit);
        let rows = select.build().persistent(false).fetch_all(&self.readers).await?;
        entries::with_postings(&self.readers, &rows).await
    }

    async fn entry_lines(
        &self,
        wanted: &EntryFilter,
        range: EntryRange,
        limit: u32,
    ) -> Result<Vec<EntryLine>, StoreError> {
        let mut select = QueryBuilder::<Db>::new(
            "SELECT seq, kind, key, corrects, at_ms, previous, hash, \
             (SELECT COUNT(*) FROM postings WHERE entry = entries.seq) AS lines, \
             (SELECT CAST(COALESCE(SUM(sat), 0) AS BIGINT) FROM postings WHERE entry = entries.seq AND sat > 0) AS sat \
             FROM entries",
        );
        push_wanted(&mut select, wanted, range, limit);
        select.build().persistent(false).fetch_all(&self.readers).await?.iter().map(entry_line).collect()
    }

    async fn records_where(
        &self,
        wanted: &RecordFilter,
        range: RecordRange,
        limit: u32,
    ) -> Result<Vec<RegisterRow>, StoreError> {
        let mut select = QueryBuilder::<Db>::new("SELECT * FROM export_rows JOIN export_records USING (txid, vout)");
        push_wanted_records(&mut select, wanted, range, limit);
        let rows = select.build().persistent(false).fetch_all(&self.readers).await?;
        register::with_lots(&self.readers, &rows).await
    }

    async fn latest_journal_rows(
        &self,
        kind: &str,
        after: JournalSeq,
        limit: u32,
    ) -> Result<Vec<JournalRow>, StoreError> {
        journal::latest(&self.readers, kind, after, limit).await
    }

    async fn journal_about_any(&self, kind: &str, subjects: &[String]) -> Result<Vec<JournalRow>, StoreError> {
        journal::about_any(&self.readers, kind, subjects).await
    }

    async fn balance_sums(&self) -> Result<Vec<BalanceSum>, StoreError> {
        // Behind the colon stand a number or a hash.
        let select = sqlx::query(
            "SELECT class, COUNT(*) AS accounts, CAST(SUM(sat) AS BIGINT) AS sat FROM \
             (SELECT CASE WHEN account LIKE '%:%' THEN RTRIM(account, '0123456789abcdef') ELSE account END AS class, sat \
             FROM balances) AS classed GROUP BY class",
        );
        let rows = select.fetch_all(&self.readers).await?;
        let mut sums = rows.iter().map(balance_sum).collect::<Result<Vec<_>, _>>()?;
        // Databases disagree on how names are sorted.
        sums.sort_by(|one, other| one.class.cmp(&other.class));
        Ok(sums)
    }

    async fn audit_where(
        &self,
        wanted: &AuditFilter,
        before: Option<AuditSeq>,
        limit: u32,
    ) -> Result<Vec<AuditRow>, StoreError> {
        let select = sqlx::query(
            "SELECT audit_log.seq AS seq, audit_log.at_ms AS at_ms, actor, action, outcome, \
             audit_outcomes.at_ms AS ended_at_ms FROM audit_log \
             LEFT JOIN audit_outcomes ON audit_outcomes.seq = audit_log.seq \
             WHERE audit_log.seq < $1 AND LOWER(actor) LIKE $2 ESCAPE '!' AND LOWER(action) LIKE $3 ESCAPE '!' \
             ORDER BY audit_log.seq DESC LIMIT $4",
        );
        let select = select.bind(before.map_or(i64::MAX, AuditSeq::get));
        let select = select.bind(containing(&wanted.actor)).bind(containing(&wanted.action)).bind(i64::from(limit));
        select.fetch_all(&self.readers).await?.iter().map(audit_row).collect()
    }
}

/// The pattern of whatever has a text in it. The sign of the escape is in no address and no name.
fn containing(text: &str) -> String {
    let text = text.to_lowercase().replace('!', "!!").replace('%', "!%").replace('_', "!_");
    format!("%{text}%")
}

fn push_wanted(select: &mut QueryBuilder<Db>, wanted: &EntryFilter, range: EntryRange, limit: u32) {
    match range {
        EntryRange::After(seq) => select.push(" WHERE seq > ").push_bind(seq.get()),
        EntryRange::Before(seq) => select.push(" WHERE seq < ").push_bind(seq.map_or(i64::MAX, EntrySeq::get)),
    };
    if let Some(kind) = wanted.kind {
        select.push(" AND kind = ").push_bind(kind.as_str());
    }
    if !wanted.accounts.is_empty() {
        select.push(" AND seq IN (SELECT entry FROM postings WHERE account IN (");
        let mut names = select.separated(", ");
        for account in &wanted.accounts {
            names.push_bind(account.to_string());
        }
        select.push("))");
    }
    select.push(match range {
        EntryRange::After(_) => " ORDER BY seq LIMIT ",
        EntryRange::Before(_) => " ORDER BY seq DESC LIMIT ",
    });
    select.push_bind(i64::from(limit));
}

fn push_wanted_records(select: &mut QueryBuilder<Db>, wanted: &RecordFilter, range: RecordRange, limit: u32) {
    let RecordFilter { first, end, state, accounts, txid } = wanted;
    match range {
        RecordRange::After(seq) => select.push(" WHERE seq > ").push_bind(seq.get()),
        RecordRange::Before(seq) => select.push(" WHERE seq < ").push_bind(seq.map_or(i64::MAX, RowSeq::get)),
    };
    if let Some(first) = first {
        select.push(" AND seq >= ").push_bind(first.get());
    }
    if let Some(end) = end {
        select.push(" AND seq < ").push_bind(end.get());
    }
    if let Some(state) = state {
        select.push(" AND state = ").push_bind(state.as_str());
    }
    if let Some(txid) = txid {
        select.push(" AND txid = ").push_bind(txid.to_string());
    }
    if let Some(accounts) = accounts {
        // No account has this number, and PostgreSQL takes no empty list.
        select.push(" AND account IN (0");
        for account in accounts {
            select.push(", ").push_bind(account.get());
        }
        select.push(")");
    }
    select.push(match range {
        RecordRange::After(_) => " ORDER BY seq LIMIT ",
        RecordRange::Before(_) => " ORDER BY seq DESC LIMIT ",
    });
    select.push_bind(i64::from(limit));
}

fn account_line(row: &SqlRow) -> Result<AccountLine, StoreError> {
    let posted = |column| Ok::<_, StoreError>(row.try_get::<Option<i64>, _>(column)?.unwrap_or(0));
    // The ledger counts what is owed as negative.
    let owed = |column| posted(column).map(|sat| SignedAmount::from_sat(-sat));
    let threshold = match row.try_get::<Option<i64>, _>("threshold_sat")? {
        Some(_) => Some(amount("payout_thresholds", row, "threshold_sat")?),
        None => None,
    };
    let restraint: Option<String> = row.try_get("restraint")?;
    Ok(AccountLine {
        account: accounts::account(row)?,
        immature: owed("immature")?,
        payable: owed("payable")?,
        held: owed("held")?,
        blocked: owed("blocked")?,
        debt: SignedAmount::from_sat(posted("debt")?),
        threshold,
        restraint: restraint.and_then(|name| Restraint::ALL.into_iter().find(|known| known.as_str() == name)),
        last_share_at_ms: row.try_get("last_share_at_ms")?,
    })
}

fn entry_line(row: &SqlRow) -> Result<EntryLine, StoreError> {
    Ok(EntryLine {
        seq: EntrySeq::new(row.try_get("seq")?),
        kind: parsed("entries", row, "kind")?,
        key: row.try_get("key")?,
        corrects: row.try_get::<Option<i64>, _>("corrects")?.map(EntrySeq::new),
        at_ms: row.try_get("at_ms")?,
        postings: number("postings", row, "lines")?,
        amount: Amount::from_sat(number("postings", row, "sat")?),
        previous: parsed("entries", row, "previous")?,
        hash: parsed("entries", row, "hash")?,
    })
}

fn balance_sum(row: &SqlRow) -> Result<BalanceSum, StoreError> {
    let class: String = row.try_get("class")?;
    Ok(BalanceSum {
        class: class.trim_end_matches(':').to_owned(),
        accounts: number("balances", row, "accounts")?,
        sum: SignedAmount::from_sat(row.try_get("sat")?),
    })
}
