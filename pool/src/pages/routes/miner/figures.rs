//! What a miner's overview is made of: rates and workers, what he is due, and what was paid.

use std::time::Duration;

use payouts::{
    account::{Account, AccountId},
    share::Reward,
    store::{AccountCredit, AccountPayment, Store},
};

use super::super::{home::phase, now_ms};
use super::{
    expected::{Expected, Prospect},
    judged,
    live::Live,
    sliced::SliceOutlook,
};
use crate::{
    operations::{
        Refusal,
        account::{Balance, balance_of},
        workers::{HASHES_PER_DIFFICULTY, workers_of},
    },
    pages::{
        Pages,
        kept::Kept,
        show::{Ago, Btc, Ends, HashRate, Number, Percent},
    },
};

const MINUTE_MS: i64 = 60_000;
const DAY_MS: i64 = 1_440 * MINUTE_MS;
/// For so long a miner's figures are shown as they were.
const LASTS: Duration = Duration::from_secs(4);
/// For so long the next block's split is shown as it was: it is worked out for all miners at once.
const PROSPECT_LASTS: Duration = Duration::from_secs(30);
/// Miners whose figures are kept.
const MOST: usize = 1_024;
/// Miners whose figures are worked out at a time: the pool has other things to do.
const AT_A_TIME: usize = 2;
/// Payouts and blocks on the overview; there are pages of them.
const NEWEST: u32 = 8;
/// Workers on the overview, the strongest.
const MOST_WORKERS: usize = 200;
/// Who has found nothing for so long is not at work.
const IDLE_MS: i64 = 10 * MINUTE_MS;

/// What miners' overviews are made of, worked out once for all who look.
#[derive(Debug)]
pub(in crate::pages) struct Figures {
    facts: Kept<AccountId, Facts>,
    prospect: Kept<(), Prospect>,
    pub(super) shares: judged::Pasts,
    pub(super) sliced: SliceOutlook,
}

impl Default for Figures {
    fn default() -> Figures {
        Figures {
            facts: Kept::new(LASTS, MOST, AT_A_TIME),
            prospect: Kept::new(PROSPECT_LASTS, 1, 1),
            shares: judged::Pasts::default(),
            sliced: SliceOutlook::default(),
        }
    }
}

/// What is known of a miner.
#[derive(Debug)]
pub(super) struct Facts {
    now_ms: i64,
    rates: Vec<(&'static str, &'static str, f64, u64)>,
    workers: Vec<WorkerFacts>,
    balance: Balance,
    reward: Reward,
    payments: Vec<AccountPayment>,
    credits: Vec<AccountCredit>,
}

#[derive(Debug)]
struct WorkerFacts {
    name: String,
    shares: u64,
    rate: f64,
    recent_rate: f64,
    last_share_at_ms: i64,
}

impl Figures {
    /// Returns what is known of a miner.
    pub(super) async fn of(&self, pages: &Pages, account: &Account) -> Result<std::sync::Arc<Facts>, Refusal> {
        self.facts.value(&account.id, Facts::gather(&*pages.store, account)).await
    }

    /// Returns what is to be expected of the next block, and of work that is not paid yet.
    pub(super) async fn prospect(&self, pages: &Pages) -> Result<std::sync::Arc<Prospect>, Refusal> {
        self.prospect.value(&(), Prospect::look(pages)).await
    }
}

impl Facts {
    async fn gather(store: &dyn Store, account: &Account) -> Result<Facts, Refusal> {
        let now_ms = now_ms();
        let kept_since_ms = store.shares_kept_since().await?.unwrap_or(now_ms);
        let mut rates = Vec::new();
        for (title, id, minutes) in
            [("5 minutes", "rate-5m", 5), ("1 hour", "rate-1h", 60), ("24 hours", "rate-24h", 1_440)]
        {
            let since_ms = now_ms - minutes * MINUTE_MS;
            let totals = store.share_totals(Some(account.id), since_ms).await?;
            let seconds = (now_ms - since_ms.max(kept_since_ms)).max(1) as f64 / 1_000.0;
            rates.push((title, id, totals.work.approximate() * HASHES_PER_DIFFICULTY / seconds, totals.count));
        }
        Ok(Facts {
            now_ms,
            rates,
            workers: workers(store, account, now_ms).await?,
            balance: balance_of(store, account).await?,
            reward: store.settings(account.id).await?.unwrap_or_default().reward,
            payments: store.payments_to(account.id, None, NEWEST).await?,
            credits: store.credits_to(account.id, None, NEWEST).await?,
        })
    }
}

async fn workers(store: &dyn Store, account: &Account, now_ms: i64) -> Result<Vec<WorkerFacts>, Refusal> {
    let recent = workers_of(store, account, 5 * MINUTE_MS, now_ms).await?.workers;
    let day = workers_of(store, account, DAY_MS, now_ms).await?.workers;
    let recent_rate = |name: &str| recent.iter().find(|it| it.worker == name).map_or(0.0, |it| it.hash_rate);
    let mut workers: Vec<_> = day
        .into_iter()
        .map(|worker| WorkerFacts {
            recent_rate: recent_rate(&worker.worker),
            name: worker.worker,
            shares: worker.shares,
            rate: worker.hash_rate,
            last_share_at_ms: worker.last_share_at_ms,
        })
        .collect();
    workers.sort_by(|one, other| other.rate.total_cmp(&one.rate).then_with(|| one.name.cmp(&other.name)));
    workers.truncate(MOST_WORKERS);
    Ok(workers)
}

/// What a miner's devices do.
pub(super) struct Work {
    pub(super) rates: Vec<Rate>,
    pub(super) last_share: Option<Ago>,
    pub(super) workers: Vec<WorkerLine>,
}

/// A hash rate over a stretch of time.
pub(super) struct Rate {
    pub(super) title: &'static str,
    pub(super) id: &'static str,
    pub(super) rate: HashRate,
    pub(super) band: Option<Percent>,
}

/// A worker in a line.
pub(super) struct WorkerLine {
    pub(super) name: String,
    /// How many shares were refused on its open channels; nothing if it is not connected.
    pub(super) refused: Option<Number>,
    pub(super) is_at_work: bool,
    pub(super) recent: HashRate,
    pub(super) day: HashRate,
    pub(super) shares: Number,
    pub(super) last: Option<Ago>,
}

impl Work {
    /// Shows what is known of the last day, and who is connected.
    pub(super) fn new(facts: &Facts, live: &Live) -> Work {
        let now_ms = facts.now_ms;
        let ago = |at_ms| Ago { at_ms, now_ms };
        let rate = |&(title, id, rate, shares): &(_, _, f64, u64)| Rate {
            title,
            id,
            rate: HashRate(rate),
            band: (shares > 0).then(|| Percent((shares as f64).sqrt().recip())),
        };
        let counted = |count: u64| Number(count.into());
        let worker = |worker: &WorkerFacts| WorkerLine {
            name: worker.name.clone(),
            refused: live.refused_of(&worker.name).map(counted),
            is_at_work: now_ms - worker.last_share_at_ms < IDLE_MS,
            recent: HashRate(worker.recent_rate),
            day: HashRate(worker.rate),
            shares: Number(worker.shares.into()),
            last: Some(ago(worker.last_share_at_ms)),
        };
        // Those who are connected and have found nothing yet.
        let is_new = |name: &&str| facts.workers.iter().all(|worker| worker.name != **name);
        let idle = |name: &str| WorkerLine {
            name: name.to_owned(),
            refused: live.refused_of(name).map(counted),
            is_at_work: false,
            recent: HashRate(0.0),
            day: HashRate(0.0),
            shares: Number(0),
            last: None,
        };
        let new: Vec<_> = live.workers().filter(is_new).take(MOST_WORKERS).map(idle).collect();
        Work {
            rates: facts.rates.iter().map(rate).collect(),
            last_share: facts.workers.iter().map(|worker| worker.last_share_at_ms).max().map(ago),
            workers: facts.workers.iter().map(worker).chain(new).collect(),
        }
    }
}

/// What a miner is due, was credited and was paid.
pub(super) struct Money {
    pub(super) due: Btc,
    pub(super) due_sat: i64,
    pub(super) immature: Btc,
    /// What operators keep back, or may not pay: for which of both, he has to ask them.
    pub(super) kept_back: Option<Btc>,
    pub(super) debt: Option<Btc>,
    pub(super) threshold: Number,
    pub(super) threshold_sat: u64,
    pub(super) is_own_threshold: bool,
    pub(super) expected: Expected,
    pub(super) payments: Vec<PaymentLine>,
    pub(super) credits: Vec<CreditLine>,
    pub(super) has_more_payments: bool,
    pub(super) has_more_credits: bool,
}

/// An output that pays the miner, in a line.
pub(super) struct PaymentLine {
    pub(super) batch: i64,
    pub(super) state: String,
    pub(super) txid: Ends,
    pub(super) paid: Number,
    pub(super) fee: Number,
    pub(super) made: Ago,
    pub(super) height: Option<u32>,
}

/// What a block credits to the miner, in a line.
pub(super) struct CreditLine {
    pub(super) hash: String,
    pub(super) height: u32,
    pub(super) found: Ago,
    pub(super) credit: Number,
    pub(super) paid: Number,
    pub(super) phase: &'static str,
}

impl PaymentLine {
    /// Shows a payment.
    pub(super) fn new(payment: &AccountPayment, now_ms: i64) -> PaymentLine {
        let (taken, fee) = (payment.amount.to_sat(), payment.fee.to_sat());
        PaymentLine {
            batch: payment.batch.get(),
            state: payment.state.clone(),
            txid: Ends(payment.txid.to_string()),
            paid: Number(i128::from(taken) - i128::from(fee)),
            fee: Number(fee.into()),
            made: Ago { at_ms: payment.created_at_ms, now_ms },
            height: payment.height,
        }
    }
}

impl CreditLine {
    /// Shows a credit.
    pub(super) fn new(credit: &AccountCredit, now_ms: i64) -> CreditLine {
        let found = &credit.block.found;
        CreditLine {
            hash: found.hash.to_string(),
            height: found.height,
            found: Ago { at_ms: found.found_at_ms, now_ms },
            credit: Number(credit.amount.to_sat().into()),
            paid: Number(credit.paid.to_sat().into()),
            phase: phase(credit.block.state.phase),
        }
    }
}

impl Money {
    /// Shows what is known.
    pub(super) async fn new(facts: &Facts, pages: &Pages, account: &Account) -> Result<Money, Refusal> {
        let Balance { immature_sat, payable_sat, held_sat, blocked_sat, debt_sat, threshold_sat, .. } = facts.balance;
        let some = |sat: i64| (sat != 0).then(|| Btc(sat.into()));
        let threshold = threshold_sat.unwrap_or_else(|| pages.about.threshold_sat());
        let prospect = pages.figures.prospect(pages).await?;
        Ok(Money {
            due: Btc(payable_sat.into()),
            due_sat: payable_sat.max(0),
            immature: Btc(immature_sat.into()),
            kept_back: some(held_sat.saturating_add(blocked_sat)),
            debt: some(debt_sat),
            threshold: Number(threshold.into()),
            threshold_sat: threshold,
            is_own_threshold: threshold_sat.is_some(),
            expected: Expected::new(&prospect, account.id, facts.reward),
            payments: facts.payments.iter().map(|payment| PaymentLine::new(payment, facts.now_ms)).collect(),
            credits: facts.credits.iter().map(|credit| CreditLine::new(credit, facts.now_ms)).collect(),
            has_more_payments: facts.payments.len() == NEWEST as usize,
            has_more_credits: facts.credits.len() == NEWEST as usize,
        })
    }
}
