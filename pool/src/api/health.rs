//! Whether all is well that a running pool needs: the one list of it, for the API and for the strip at the head of the
//! dashboard. Each item says how it is, what to do if it is not well, and where the help pages say more.
//!
//! Nothing here waits for whoever moves money: what settlement and the miners' port know is read from the metrics.

use std::{
    path::Path,
    time::{Duration, Instant},
};

use bitcoin::Network;
use payouts::store::Store;
use serde::Serialize;
use tokio::time::timeout;
use utoipa::ToSchema;

use super::{LITTLE_VALIDITY_S, Live, certificate::ApiCertificate, counted::Counted};
use crate::{
    accounting::share_log::unix_time_ms,
    check::{LEAST_ROOM, LITTLE_ROOM, free_space},
};

/// A tip that is older is rare enough to look at the node, in seconds.
const OLD_TIP_S: f64 = 7_200.0;
/// The node's clock and this one's may differ by so many seconds.
const LARGE_SKEW_S: f64 = 5.0;
/// With such a difference, the node refuses blocks, or devices refuse certificates, before long.
const WRONG_SKEW_S: f64 = 60.0;
/// A found block is with a node and in the books sooner than this.
const LONG_PENDING: Duration = Duration::from_secs(60);
/// So many shares may wait for the disk before it counts as slow.
const MANY_QUEUED_SHARES: f64 = 4_096.0;
/// A group of shares is written sooner than this, in seconds.
const SLOW_WRITE_S: f64 = 2.0;
/// An attempt to write shares that lasts longer does not get on, in seconds.
const STUCK_WRITE_S: f64 = 30.0;
/// A certificate that ends sooner should have been renewed, in seconds.
const CERTIFICATE_ENDING_S: f64 = 3_600.0;
/// The database answers a small question sooner than this.
const SLOW_READ: Duration = Duration::from_millis(250);
/// A database that is silent for so long counts as lost.
const LONGEST_READ: Duration = Duration::from_secs(5);
/// The balance of the books is checked more often than this, in seconds.
const OLD_LEDGER_CHECK_S: f64 = 3_600.0;
/// Blocks and payouts are followed more often than this, in seconds.
const OLD_SETTLEMENT_S: f64 = 900.0;
/// The history ends sooner than this before the present, in seconds: it follows the jobs, of which there are two a minute.
const LONG_HISTORY_LAG_S: f64 = 600.0;
/// A part of the pool that failed and began anew is worth a look for so long, in seconds.
const RECENT_FAILURE_S: f64 = 3_600.0;
/// A list that is older than this part of what it may be should be fetched again.
const OLD_LIST_PART: f64 = 0.75;

/// Something that must be well, as it is now.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub(crate) struct HealthItem {
    /// What.
    #[schema(value_type = String, example = "template")]
    pub(crate) item: Watched,
    /// How it is: `well`, `unknown`, `doubtful` or `ill`.
    pub(crate) state: State,
    /// How it is, in words.
    pub(crate) text: String,
    /// What to do if it is not well.
    pub(crate) cure: &'static str,
    /// Where the pool's pages say more.
    #[schema(example = "/help/runbook#node-template")]
    pub(crate) help: &'static str,
}

impl HealthItem {
    /// Tells whether somebody should do something.
    pub(crate) fn is_to_be_cured(&self) -> bool {
        matches!(self.state, State::Doubtful | State::Ill)
    }
}

/// How something is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum State {
    /// As it must be.
    Well,
    /// Nobody can say yet.
    Unknown,
    /// It will need somebody.
    Doubtful,
    /// Miners or payouts suffer.
    Ill,
}

/// What is looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Watched {
    /// Whether the node gives templates.
    Template,
    /// How old the node's tip is.
    Tip,
    /// Whether node and pool agree on the time.
    Clock,
    /// Whether found blocks reach the network.
    Submission,
    /// Whether shares reach the disk.
    ShareLog,
    /// When the certificate ends that miners are shown.
    Certificate,
    /// When the API's own certificate ends.
    ApiCertificate,
    /// Whether the store answers.
    Database,
    /// Whether the books balance.
    Ledger,
    /// Whether blocks and payouts are followed.
    Settlement,
    /// Whether the lists may be relied upon that payments are screened by.
    Screening,
    /// Whether the history keeps up with the share log.
    History,
    /// Room in the data folder.
    Disk,
    /// Whether a part of the pool has failed and begun anew.
    Tasks,
    /// Which program runs.
    Version,
}

impl Watched {
    /// All of it, in the order in which it is shown.
    pub(crate) const ALL: [Watched; 15] = [
        Watched::Template,
        Watched::Tip,
        Watched::Clock,
        Watched::Submission,
        Watched::ShareLog,
        Watched::Certificate,
        Watched::ApiCertificate,
        Watched::Database,
        Watched::Ledger,
        Watched::Settlement,
        Watched::Screening,
        Watched::History,
        Watched::Disk,
        Watched::Tasks,
        Watched::Version,
    ];

    /// Returns what people call it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Watched::Template => "Node and template",
            Watched::Tip => "Tip of the chain",
            Watched::Clock => "Clock",
            Watched::Submission => "Found blocks",
            Watched::ShareLog => "Share log",
            Watched::Certificate => "Miners' certificate",
            Watched::ApiCertificate => "Web certificate",
            Watched::Database => "Database",
            Watched::Ledger => "Ledger",
            Watched::Settlement => "Settlement",
            Watched::Screening => "Screening lists",
            Watched::History => "History",
            Watched::Disk => "Disk",
            Watched::Tasks => "Parts of the pool",
            Watched::Version => "Version",
        }
    }

    /// Returns where the help pages say more.
    pub(crate) fn help(self) -> &'static str {
        match self {
            Watched::Template => "/help/runbook#node-template",
            Watched::Tip => "/help/runbook#node-peers",
            Watched::Clock => "/help/runbook#clock",
            Watched::Submission => "/help/runbook#blocks",
            Watched::ShareLog => "/help/runbook#share-log",
            Watched::Certificate => "/help/runbook#certificate",
            Watched::ApiCertificate => "/help/runbook#api-certificate",
            Watched::Database => "/help/runbook#database",
            Watched::Ledger => "/help/runbook#ledger",
            Watched::Settlement => "/help/runbook#payouts",
            Watched::Screening => "/help/runbook#screening",
            Watched::History => "/help/runbook#history",
            Watched::Disk => "/help/runbook#disk-space",
            Watched::Tasks => "/help/runbook#tasks",
            Watched::Version => "/help/upgrade#forward",
        }
    }

    fn cure(self) -> &'static str {
        match self {
            Watched::Template => {
                "Look at bitcoind: does it run, is it synced (getblockchaininfo), do [bitcoind] url and its cookie or \
                 password fit? adit check tests each. Miners go on with the last template meanwhile."
            }
            Watched::Tip => {
                "Look at the node's peers (getpeerinfo): a node that hears of no block mines on an old one."
            }
            Watched::Clock => {
                "Let chrony or systemd-timesyncd set the clocks of the pool and of its node: certificates and the times \
                 of shares depend on them."
            }
            Watched::Submission => {
                "The log has the node's words. Blocks that no node has answered, and those that it calls invalid, are in \
                 data/blocks: never delete them by hand."
            }
            Watched::ShareLog => {
                "The disk or the database is slow: look at its load and its free space. Shares are acknowledged late, but \
                 none that was acknowledged is lost."
            }
            Watched::Certificate => "It is renewed by itself: look at this machine's clock.",
            Watched::ApiCertificate => {
                "Put a new certificate and its key where [api] names them, and run adit reload: new connections are shown it \
                 from then on."
            }
            Watched::Database => {
                "Look at the database's server, its disk and its log. Shares wait until they can be stored; found blocks \
                 go to the network all the same."
            }
            Watched::Ledger => "Hold payouts (payout.approval = \"always\"), and run adit ledger verify.",
            Watched::Settlement => "Node or database keep it waiting: the pool's log says which, and why.",
            Watched::Screening => {
                "Fetch the lists that [screening] names again. Nothing is paid until they may be relied upon; mining goes \
                 on."
            }
            Watched::History => {
                "Look at the log, which says why, and at the database. Charts and the hash rates of miners end early until it \
                 has caught up. No share is lost: those that it has not taken in are kept."
            }
            Watched::Disk => "Make room: with a full disk no share is acknowledged. Delete nothing in the data folder.",
            Watched::Tasks => {
                "A fault of the pool itself: the log has its words, which are worth a report. Miners, blocks and payouts do \
                 not depend on what failed, and it has begun anew."
            }
            Watched::Version => "",
        }
    }

    fn is(self, state: State, text: impl Into<String>) -> HealthItem {
        HealthItem { item: self, state, text: text.into(), cure: self.cure(), help: self.help() }
    }

    /// What nobody can say before the pool has had its node.
    fn unknown(self) -> HealthItem {
        self.is(State::Unknown, "not known yet")
    }
}

impl State {
    /// Returns the state as a style names it.
    pub(crate) fn class(self) -> &'static str {
        match self {
            State::Well => "well",
            State::Unknown => "unknown",
            State::Doubtful => "doubtful",
            State::Ill => "ill",
        }
    }

    /// Returns the state in a word, for those who see no colour.
    pub(crate) fn word(self) -> &'static str {
        match self {
            State::Well => "OK",
            State::Unknown => "Unknown",
            State::Doubtful => "Check",
            State::Ill => "Fault",
        }
    }

    /// Judges a figure that is better the smaller it is.
    fn up_to(figure: f64, doubtful: f64, ill: f64) -> State {
        if figure > ill {
            State::Ill
        } else if figure > doubtful {
            State::Doubtful
        } else {
            State::Well
        }
    }
}

/// Looks at everything, at the same time as `counted` was read.
pub(crate) async fn look(live: &Live, store: &dyn Store, counted: &Counted) -> Vec<HealthItem> {
    let items = Watched::ALL.into_iter().map(async |watched| match watched {
        Watched::Template => template(live),
        Watched::Tip => tip(live, counted),
        Watched::Clock => clock(live, counted),
        Watched::Submission => submission(live, counted),
        Watched::ShareLog => share_log(counted),
        Watched::Certificate => certificate(counted),
        Watched::ApiCertificate => {
            api_certificate(live.certificate.as_ref().map(ApiCertificate::ends_at_s), unix_time_ms() / 1_000)
        }
        Watched::Database => database(store).await,
        Watched::Ledger => ledger(counted),
        Watched::Settlement => settlement(counted),
        Watched::Screening => screening(counted),
        Watched::History => history(counted),
        Watched::Disk => live.folder.as_deref().map_or_else(|| watched.unknown(), disk),
        Watched::Tasks => tasks(counted),
        Watched::Version => watched.is(State::Well, format!("Adit {}", env!("CARGO_PKG_VERSION"))),
    });
    futures_util::future::join_all(items).await
}

fn template(live: &Live) -> HealthItem {
    let text = match live.check_ready(Instant::now()) {
        Err(reason) => return Watched::Template.is(State::Ill, reason),
        Ok(seen) => format!("height {}, {} old", seen.template.height, span(seen.at.elapsed().as_secs_f64())),
    };
    Watched::Template.is(State::Well, text)
}

fn tip(live: &Live, counted: &Counted) -> HealthItem {
    let Some(age_s) = counted.value("adit_tip_age_seconds") else { return Watched::Tip.unknown() };
    // On a private network blocks come when somebody wants them.
    let is_old = age_s > OLD_TIP_S && live.network != Network::Regtest;
    Watched::Tip.is(if is_old { State::Doubtful } else { State::Well }, format!("mined {} ago", span(age_s)))
}

fn clock(live: &Live, counted: &Counted) -> HealthItem {
    let offset = counted.value("adit_node_clock_offset_seconds").filter(|_| live.newest().is_some());
    let Some(ahead_s) = offset else { return Watched::Clock.unknown() };
    let text = match ahead_s {
        ..-2.0 => format!("the node's is {} behind", span(-ahead_s)),
        2.0.. => format!("the node's is {} ahead", span(ahead_s)),
        _ => "agrees with the node's".to_owned(),
    };
    Watched::Clock.is(State::up_to(ahead_s.abs(), LARGE_SKEW_S, WRONG_SKEW_S), text)
}

fn submission(live: &Live, counted: &Counted) -> HealthItem {
    let count = |state: &str| counted.value(&format!("adit_blocks_total{{state=\"{state}\"}}")).unwrap_or(0.0);
    let (accepted, stale, rejected) = (count("accepted"), count("stale"), count("rejected"));
    let pending = counted.value("adit_blocks_pending").unwrap_or(0.0);
    let is_stuck = live.pending_for(pending > 0.0, Instant::now()) > LONG_PENDING;
    let handed_in = accepted + stale + rejected;
    let mut text = match handed_in {
        0.0 => "none handed in since the start".to_owned(),
        _ => format!("{accepted} of {handed_in} taken by the node"),
    };
    for (count, words) in [(stale, "came too late"), (rejected, "called invalid"), (pending, "on the way")] {
        if count > 0.0 {
            text += &format!(", {count} {words}");
        }
    }
    let state = match (rejected > 0.0, is_stuck) {
        (true, _) => State::Ill,
        (false, true) => State::Doubtful,
        (false, false) => State::Well,
    };
    Watched::Submission.is(state, text)
}

fn share_log(counted: &Counted) -> HealthItem {
    let Some(queued) = counted.value("adit_share_log_queue_shares") else { return Watched::ShareLog.unknown() };
    let busy_s = counted.value("adit_share_log_busy_seconds").unwrap_or(0.0);
    let state = match State::up_to(busy_s, SLOW_WRITE_S, STUCK_WRITE_S) {
        State::Well if queued > MANY_QUEUED_SHARES => State::Doubtful,
        state => state,
    };
    let text = match busy_s > SLOW_WRITE_S {
        true => format!("{queued} shares wait, writing for {}", span(busy_s)),
        false if queued < 1.0 => "nothing waits".to_owned(),
        false => format!("{queued} shares wait for the disk"),
    };
    Watched::ShareLog.is(state, text)
}

/// A new one is made for the next connection when half of its time is over: what is old while nobody comes is well.
fn certificate(counted: &Counted) -> HealthItem {
    let Some(left_s) = counted.value("adit_certificate_left_seconds") else { return Watched::Certificate.unknown() };
    let has_miners = counted.value("adit_connections").unwrap_or(0.0) > 0.0;
    match left_s < CERTIFICATE_ENDING_S {
        true if has_miners => Watched::Certificate.is(State::Doubtful, format!("ends in {}", span(left_s.max(0.0)))),
        true => Watched::Certificate.is(State::Well, "renewed with the next connection"),
        false => Watched::Certificate.is(State::Well, format!("ends in {}, renewed before", span(left_s))),
    }
}

fn api_certificate(ends_at_s: Option<i64>, now_s: i64) -> HealthItem {
    let Some(ends_at_s) = ends_at_s else {
        return Watched::ApiCertificate.is(State::Well, "none: plain HTTP");
    };
    let left_s = ends_at_s - now_s;
    let state = match left_s {
        ..=0 => State::Ill,
        1..LITTLE_VALIDITY_S => State::Doubtful,
        _ => State::Well,
    };
    let text = if left_s > 0 { format!("ends in {}", span(left_s as f64)) } else { "is over".to_owned() };
    Watched::ApiCertificate.is(state, text)
}

async fn database(store: &dyn Store) -> HealthItem {
    let begun = Instant::now();
    match timeout(LONGEST_READ, store.head()).await {
        Err(_) => Watched::Database.is(State::Ill, format!("silent for {}", span(LONGEST_READ.as_secs_f64()))),
        Ok(Err(error)) => Watched::Database.is(State::Ill, error.to_string()),
        Ok(Ok(_)) => {
            let took = begun.elapsed();
            let state = if took > SLOW_READ { State::Doubtful } else { State::Well };
            Watched::Database.is(state, format!("answers in {:.1} ms", took.as_secs_f64() * 1e3))
        }
    }
}

fn ledger(counted: &Counted) -> HealthItem {
    let (checked_s, sat) = ("adit_ledger_check_age_seconds", "adit_ledger_imbalance_sat");
    let Some(age_s) = counted.value(checked_s) else { return Watched::Ledger.unknown() };
    match counted.value(sat).unwrap_or(0.0) {
        0.0 => {
            let state = if age_s > OLD_LEDGER_CHECK_S { State::Doubtful } else { State::Well };
            Watched::Ledger.is(state, format!("balances, checked {} ago", span(age_s)))
        }
        sat => Watched::Ledger.is(State::Ill, format!("does not balance by {sat} sat")),
    }
}

fn settlement(counted: &Counted) -> HealthItem {
    let Some(age_s) = counted.value("adit_settlement_age_seconds") else { return Watched::Settlement.unknown() };
    let state = if age_s > OLD_SETTLEMENT_S { State::Doubtful } else { State::Well };
    Watched::Settlement.is(state, format!("at the tip {} ago", span(age_s)))
}

fn screening(counted: &Counted) -> HealthItem {
    let limits = counted.of_label("adit_screening_list_max_age_seconds", "list");
    let parts = counted.of_label("adit_screening_list_age_seconds", "list").into_iter().filter_map(|(list, age_s)| {
        let (_, limit_s) = limits.iter().find(|(name, _)| *name == list)?;
        Some((list, age_s, age_s / limit_s))
    });
    let oldest = parts.max_by(|one, other| one.2.total_cmp(&other.2));
    let is_usable = counted.value("adit_screening_lists_usable").unwrap_or(0.0) > 0.0;
    match (oldest, is_usable) {
        (Some((list, age_s, part)), true) => {
            let state = if part > OLD_LIST_PART { State::Doubtful } else { State::Well };
            Watched::Screening.is(state, format!("usable; the oldest, {list}, was fetched {} ago", span(age_s)))
        }
        (Some((list, age_s, _)), false) => {
            let text = format!("nothing is paid; the oldest list, {list}, was fetched {} ago", span(age_s));
            Watched::Screening.is(State::Ill, text)
        }
        // Settlement has looked, and found none that it could read.
        (None, _) if counted.value("adit_settlement_age_seconds").is_some() => {
            Watched::Screening.is(State::Ill, "nothing is paid; no list can be read")
        }
        (None, _) => Watched::Screening.unknown(),
    }
}

fn history(counted: &Counted) -> HealthItem {
    let Some(lag_s) = counted.value("adit_history_lag_seconds") else { return Watched::History.unknown() };
    let state = if lag_s > LONG_HISTORY_LAG_S { State::Doubtful } else { State::Well };
    Watched::History.is(state, format!("ends {} ago", span(lag_s)))
}

fn disk(folder: &Path) -> HealthItem {
    match free_space(folder) {
        Ok(free) => {
            let state = match free {
                ..LEAST_ROOM => State::Ill,
                LEAST_ROOM..LITTLE_ROOM => State::Doubtful,
                LITTLE_ROOM.. => State::Well,
            };
            Watched::Disk.is(state, format!("{:.1} GiB free", free as f64 / f64::from(1 << 30)))
        }
        Err(error) => Watched::Disk.is(State::Doubtful, format!("free space is not known: {error}")),
    }
}

/// What the pool cannot be without ends it when it fails, and is never seen here.
fn tasks(counted: &Counted) -> HealthItem {
    let failures = counted.of_label("adit_task_failures_total", "task");
    if failures.is_empty() {
        return Watched::Tasks.unknown();
    }
    let failed: Vec<String> = failures
        .into_iter()
        .filter(|(_, count)| *count > 0.0)
        .map(|(task, count)| format!("{task} {count}×"))
        .collect();
    match counted.value("adit_task_failure_age_seconds") {
        Some(age_s) if !failed.is_empty() => {
            let state = if age_s > RECENT_FAILURE_S { State::Well } else { State::Doubtful };
            let failed = failed.join(", ");
            Watched::Tasks
                .is(state, format!("failed and began anew since the start: {failed}, last {} ago", span(age_s)))
        }
        _ => Watched::Tasks.is(State::Well, "none has failed"),
    }
}

/// A time in the unit that suits it.
fn span(seconds: f64) -> String {
    match seconds as i64 {
        seconds @ ..120 => format!("{seconds} s"),
        seconds @ 120..7_200 => format!("{} min", seconds / 60),
        seconds @ 7_200..172_800 => format!("{} h", seconds / 3_600),
        seconds => format!("{} days", seconds / 86_400),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::sync::Arc;

    use payouts::store::sqlite::SqliteStore;

    use super::*;
    use crate::metrics::Metrics;

    /// What is counted by a pool at work, of which all is well.
    const WELL: &[(&str, &str)] = &[
        ("adit_tip_age_seconds", "600"),
        ("adit_node_clock_offset_seconds", "0.4"),
        ("adit_blocks_total{state=\"accepted\"}", "3"),
        ("adit_blocks_total{state=\"stale\"}", "0"),
        ("adit_blocks_total{state=\"rejected\"}", "0"),
        ("adit_blocks_pending", "0"),
        ("adit_share_log_queue_shares", "0"),
        ("adit_share_log_busy_seconds", "0"),
        ("adit_certificate_left_seconds", "300000"),
        ("adit_connections", "7"),
        ("adit_ledger_check_age_seconds", "60"),
        ("adit_ledger_imbalance_sat", "0"),
        ("adit_settlement_age_seconds", "20"),
        ("adit_screening_list_age_seconds{list=\"ofac_sdn\"}", "3600"),
        ("adit_screening_list_max_age_seconds{list=\"ofac_sdn\"}", "86400"),
        ("adit_screening_lists_usable", "1"),
        ("adit_history_lag_seconds", "31"),
        ("adit_task_failures_total{task=\"history\"}", "2"),
        ("adit_task_failures_total{task=\"upkeep\"}", "0"),
        ("adit_task_failure_age_seconds", "7200"),
    ];

    fn counted(changes: &[(&str, &str)]) -> Counted {
        let value =
            |name: &str, before| changes.iter().find(|(key, _)| *key == name).map_or(before, |(_, value)| *value);
        Counted::of_text(WELL.iter().map(|(name, before)| format!("{name} {}\n", value(name, *before))).collect())
    }

    fn live(network: Network) -> Live {
        Live::new(Arc::new(Metrics::new()), network, Duration::from_secs(30))
    }

    fn judged(watched: Watched, changes: &[(&str, &str)]) -> State {
        let (live, counted) = (live(Network::Bitcoin), counted(changes));
        let item = match watched {
            Watched::Tip => tip(&live, &counted),
            Watched::Submission => submission(&live, &counted),
            Watched::ShareLog => share_log(&counted),
            Watched::Certificate => certificate(&counted),
            Watched::Ledger => ledger(&counted),
            Watched::Settlement => settlement(&counted),
            Watched::Screening => screening(&counted),
            Watched::History => history(&counted),
            Watched::Tasks => tasks(&counted),
            other => panic!("{other:?} is not judged by figures alone"),
        };
        assert_eq!(item.item, watched);
        item.state
    }

    #[test]
    fn each_figure_is_judged_by_its_threshold() {
        use State::{Doubtful, Ill, Well};
        let of_list = "adit_screening_list_age_seconds{list=\"ofac_sdn\"}";
        for (watched, name, value, state) in [
            (Watched::Tip, "adit_tip_age_seconds", "7200", Well),
            (Watched::Tip, "adit_tip_age_seconds", "7201", Doubtful),
            (Watched::Submission, "adit_blocks_total{state=\"stale\"}", "1", Well),
            (Watched::Submission, "adit_blocks_total{state=\"rejected\"}", "1", Ill),
            (Watched::ShareLog, "adit_share_log_queue_shares", "4097", Doubtful),
            (Watched::ShareLog, "adit_share_log_busy_seconds", "2.5", Doubtful),
            (Watched::ShareLog, "adit_share_log_busy_seconds", "31", Ill),
            (Watched::Certificate, "adit_certificate_left_seconds", "3599", Doubtful),
            (Watched::Ledger, "adit_ledger_imbalance_sat", "1", Ill),
            (Watched::Ledger, "adit_ledger_check_age_seconds", "3601", Doubtful),
            (Watched::Settlement, "adit_settlement_age_seconds", "901", Doubtful),
            (Watched::Screening, of_list, "64801", Doubtful),
            (Watched::Screening, "adit_screening_lists_usable", "0", Ill),
            (Watched::History, "adit_history_lag_seconds", "601", Doubtful),
            (Watched::Tasks, "adit_task_failure_age_seconds", "3599", Doubtful),
        ] {
            assert_eq!(judged(watched, &[]), Well, "{watched:?}");
            assert_eq!(judged(watched, &[(name, value)]), state, "{name} {value}");
        }
        let nobody = [("adit_certificate_left_seconds", "-5"), ("adit_connections", "0")];
        assert_eq!(judged(Watched::Certificate, &nobody), Well, "it is renewed when somebody comes");
        let old = counted(&[("adit_tip_age_seconds", "90000")]);
        assert_eq!(tip(&live(Network::Regtest), &old).state, Well, "blocks come when somebody wants them");
    }

    #[test]
    fn certificate_of_the_api_is_told_of_before_it_is_over() {
        for (left_s, state) in
            [(LITTLE_VALIDITY_S, State::Well), (LITTLE_VALIDITY_S - 1, State::Doubtful), (0, State::Ill)]
        {
            assert_eq!(api_certificate(Some(1_000 + left_s), 1_000).state, state, "{left_s}");
        }
    }

    #[test]
    fn block_that_stays_on_its_way_is_told() {
        let (live, pending) = (live(Network::Bitcoin), [("adit_blocks_pending", "1")]);
        let now = Instant::now();
        assert_eq!(live.pending_for(true, now), Duration::ZERO);
        assert_eq!(live.pending_for(true, now + LONG_PENDING), LONG_PENDING);
        assert_eq!(live.pending_for(false, now + LONG_PENDING), Duration::ZERO);
        assert_eq!(live.pending_for(true, now + LONG_PENDING), Duration::ZERO, "it is another one");
        let item = submission(&live, &counted(&pending));
        assert!(item.text.ends_with("3 of 3 taken by the node, 1 on the way"), "{}", item.text);
    }

    #[tokio::test]
    async fn pool_that_waits_for_its_node_knows_little_and_says_so() {
        let folder = tempfile::tempdir().unwrap();
        let store = SqliteStore::open(&folder.path().join("adit.sqlite")).await.unwrap();
        let live = live(Network::Regtest).with_folder(folder.path().to_owned());
        let items = look(&live, &store, &Counted::now(&live.metrics)).await;
        assert_eq!(items.iter().map(|item| item.item).collect::<Vec<_>>(), Watched::ALL);
        for item in &items {
            let state = match item.item {
                Watched::Template => State::Ill,
                Watched::Database | Watched::ApiCertificate | Watched::Version | Watched::Submission => State::Well,
                Watched::Disk => continue,
                _ => State::Unknown,
            };
            assert_eq!(item.state, state, "{item:?}");
        }
        store.close().await;
        assert_eq!(database(&store).await.state, State::Ill);
    }
}
