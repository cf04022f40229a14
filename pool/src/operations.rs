//! What an operator can ask of payouts, accounts and the reserve, and the one way in which it is done.
//!
//! Owns requests, outcomes and refusals as types that can be sent, and [`perform`], which is the same for the control
//! socket of a running pool, for a command that finds none, and for whatever else may ask. Knows no socket and no
//! terminal; the rules of money belong to [`payouts`].

pub mod account;
mod audit;
pub mod connection;
mod desk;
pub mod hash_rate;
pub mod history;
pub mod ledger;
mod log;
pub mod luck;
mod open;
pub mod party;
mod perform;
pub mod period;
pub mod port;
mod refusal;
pub mod report;
pub mod reserve;
pub mod sale;
pub mod screening;
pub mod token;
pub mod why;
mod words;
pub mod workers;

use std::{fmt, net::IpAddr};

use bitcoin::{Address, Amount, address::NetworkUnchecked};
use payouts::{
    access::{Role, TokenId},
    account::{AccountName, User},
    export::{
        closing::PeriodDeclared,
        party::{Party, PartyId},
        rules::{desk::Reference, period::Period, sale::Pick},
        valued::Valued,
    },
    payout::BatchId,
    reserve::PoolMoney,
};
use serde::{Deserialize, Serialize};

use self::{
    account::AccountChanges, connection::WantedDifficulty, party::OwnRequest, reserve::GiftSource, sale::SaleStep,
    screening::ReviewRequest,
};
pub use self::{
    audit::{Actor, on_record},
    desk::{Desk, Order},
    log::tell,
    open::{open_payer, payout_policy},
    perform::perform,
    port::Port,
    refusal::{Refusal, RefusalCode},
    report::{Outcome, PsbtBytes},
    words::{NotWords, Words},
};

/// What an operator asks. Repeating a request does no harm: what is done already is not done twice.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "operation", rename_all = "snake_case", deny_unknown_fields)]
pub enum Request {
    /// What is due, what is under way, what it waits for.
    Status,
    /// The newest batches.
    List {
        /// How many.
        last: u32,
    },
    /// One batch with all that is known of it.
    Show {
        /// The batch.
        batch: BatchId,
    },
    /// What a run would pay now. Nothing is done.
    Preview {
        /// This one alone, also below its threshold.
        account: Option<User>,
    },
    /// Pay now what is due.
    Run {
        /// Pay this one alone, also below its threshold.
        account: Option<User>,
    },
    /// Let a batch be signed.
    Approve {
        /// The batch.
        batch: BatchId,
        /// Who approves.
        by: Words,
    },
    /// Give up a batch that was never signed.
    Cancel {
        /// The batch.
        batch: BatchId,
        /// Why.
        reason: Words,
        /// Whether somebody is sure that nobody signs the file that was exported.
        #[serde(default)]
        even_if_exported: bool,
    },
    /// Stop paying an account.
    Hold {
        /// The miner.
        account: User,
        /// Why.
        reason: Words,
    },
    /// Pay a held account again.
    Release {
        /// The miner.
        account: User,
        /// Why.
        reason: Words,
    },
    /// Set the balance from which an account is paid.
    Threshold {
        /// The miner.
        account: User,
        /// The balance; the pool's threshold if there is none.
        threshold_sat: Option<u64>,
    },
    /// Replace a batch's transaction by one that pays the network more.
    Bump {
        /// The batch.
        batch: BatchId,
        /// The replacement's fee rate, satoshis a virtual byte.
        fee_rate_sat_per_vb: u32,
    },
    /// Hand out a batch's transaction to be signed.
    ExportPsbt {
        /// The batch.
        batch: BatchId,
    },
    /// Take in the signatures of a batch's transaction.
    ImportPsbt {
        /// The batch.
        batch: BatchId,
        /// The transaction, signed by all keys, or once by each.
        psbts: Vec<PsbtBytes>,
    },
    /// Change whom an account mines for, or what becomes of what it earns.
    SetAccount {
        /// The miner. An address that is no account becomes one.
        account: User,
        /// What is to change.
        changes: AccountChanges,
    },
    /// Make an address an account, and name it.
    AddAccount {
        /// The miner's address.
        address: Address<NetworkUnchecked>,
        /// The name; without one, the account keeps what it has.
        name: Option<AccountName>,
    },
    /// Take an account's name away.
    RemoveName {
        /// The name.
        name: AccountName,
    },
    /// Give money of the pool to the reserve.
    FundReserve {
        /// How much.
        sat: u64,
        /// Out of what.
        from: GiftSource,
        /// The operator's name for it: the same again gives nothing twice.
        reference: Words,
    },
    /// Give deposits to the fee.
    AssignDeposits {
        /// How much.
        sat: u64,
        /// The operator's name for it: the same again gives nothing twice.
        reference: Words,
    },
    /// How screening stands.
    Screening,
    /// What lists have about an address or a name.
    Screen {
        /// The address or name.
        text: Words,
    },
    /// Say that an account that screening found may be released.
    Review(ReviewRequest),
    /// Say that a list is right although it is much smaller than the one before.
    AcceptList {
        /// Its name.
        list: String,
        /// Who says so.
        by: Words,
        /// Why.
        text: Words,
    },
    /// The parties that are known.
    Parties,
    /// What is known of a party.
    Party {
        /// Which.
        party: PartyId,
    },
    /// Make a party known, or known better.
    SetParty {
        /// Which; a new one if there is none.
        party: Option<PartyId>,
        /// What is known.
        data: Box<Party>,
        /// Who says so.
        by: Words,
    },
    /// Erase what is known of a party.
    EraseParty {
        /// Which.
        party: PartyId,
        /// Why.
        reason: Words,
        /// Who says so.
        by: Words,
    },
    /// Say whose an account's address is.
    OwnAddress(OwnRequest),
    /// The sales of the pool's own coin.
    Sales,
    /// Take a step of a sale.
    Sale {
        /// Which.
        sale: Reference,
        /// The step.
        step: Box<SaleStep>,
        /// Who takes it.
        by: Words,
    },
    /// Make the payout that delivers a sale.
    DeliverSale {
        /// Which.
        sale: Reference,
        /// The coins to sell, where the country profile wants them to be named.
        #[serde(default)]
        lots: Vec<Pick>,
        /// Who wants it.
        by: Words,
    },
    /// Put on record what receipts were worth: a page of what `adit export value` has worked out.
    KeepValues {
        /// The valuations.
        values: Vec<Valued>,
    },
    /// Put on record that a period was declared; its reports were verified.
    DeclarePeriod(Box<PeriodDeclared>),
    /// Put on record that a period is closed.
    ClosePeriod {
        /// The name of the country profile that it was declared by.
        profile: Words,
        /// The period.
        period: Period,
        /// Who says so.
        by: Words,
    },
    /// Make a token of the API.
    AddToken {
        /// Who shall have it, or what for.
        label: Words,
        /// What it allows.
        role: Role,
        /// The account that a watcher sees.
        #[serde(default)]
        account: Option<User>,
    },
    /// Revoke a token of the API.
    RevokeToken {
        /// The token.
        token: TokenId,
    },
    /// What the running pool has counted.
    Metrics,
    /// Which addresses the running pool has banned.
    Bans,
    /// Read the config file again.
    Reload {
        /// Only say what would change.
        dry_run: bool,
    },
    /// The settings in force.
    Settings,
    /// The connections that are open.
    Connections {
        /// Those that came after this one; from the first, if there is none.
        #[serde(default)]
        after: Option<u64>,
        /// How many at most.
        limit: u32,
    },
    /// End a connection at once.
    Kick {
        /// The connection.
        connection: u64,
    },
    /// Have a client connect again.
    Drain {
        /// The connection.
        connection: u64,
    },
    /// Give channels another difficulty.
    SetDifficulty {
        /// The connection.
        connection: u64,
        /// The channel; all of them if there is none.
        #[serde(default)]
        channel: Option<u32>,
        /// The difficulty.
        difficulty: WantedDifficulty,
    },
    /// Write down for a while what is said on a connection.
    Trace {
        /// The connection.
        connection: u64,
    },
    /// Ban an address, and end its connections.
    Ban {
        /// The address; of IPv6, any of its network.
        address: IpAddr,
        /// For how long; as configured if nothing is said.
        #[serde(default)]
        seconds: Option<u64>,
    },
    /// Let a banned address connect again.
    LiftBan {
        /// The address; of IPv6, any of its network.
        address: IpAddr,
    },
}

impl Request {
    /// Whether it may change something, so that settlement has reason to look.
    pub fn changes(&self) -> bool {
        !matches!(
            self,
            Request::Status
                | Request::List { .. }
                | Request::Show { .. }
                | Request::Preview { .. }
                | Request::Screening
                | Request::Screen { .. }
                | Request::Parties
                | Request::Party { .. }
                | Request::Sales
                | Request::Metrics
                | Request::Bans
                | Request::Connections { .. }
                | Request::Settings
                | Request::Reload { dry_run: true }
        )
    }

    /// Whether it takes the lists that payments are screened by.
    pub fn screens(&self) -> bool {
        matches!(
            self,
            Request::Run { .. }
                | Request::Preview { .. }
                | Request::ExportPsbt { .. }
                | Request::Screening
                | Request::Screen { .. }
                | Request::Review(_)
                | Request::AcceptList { .. }
                | Request::Sale { .. }
                | Request::DeliverSale { .. }
        )
    }

    /// Whether it takes no more than the store: no wallet, no node, no list.
    pub fn needs_store_alone(&self) -> bool {
        matches!(
            self,
            Request::DeclarePeriod(_)
                | Request::ClosePeriod { .. }
                | Request::AddToken { .. }
                | Request::RevokeToken { .. }
        )
    }

    /// Whether it may change which accounts there are, or what they are called.
    pub fn changes_accounts(&self) -> bool {
        matches!(self, Request::SetAccount { .. } | Request::AddAccount { .. } | Request::RemoveName { .. })
    }
}

impl fmt::Display for Request {
    /// What is asked, for the log: never the bytes of a transaction, nor personal data.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Request::Status => f.write_str("status"),
            Request::Screening => f.write_str("screening"),
            Request::Screen { .. } => f.write_str("screen"),
            Request::Review(ReviewRequest { account, by, .. }) => write!(f, "screening release {account} by {by}"),
            Request::AcceptList { list, by, .. } => write!(f, "accept list {list} by {by}"),
            Request::Parties => f.write_str("list parties"),
            Request::Party { party } => write!(f, "show party {party}"),
            Request::SetParty { party: None, by, .. } => write!(f, "new party by {by}"),
            Request::SetParty { party: Some(party), by, .. } => write!(f, "party {party} by {by}"),
            Request::EraseParty { party, by, .. } => write!(f, "erase party {party} by {by}"),
            Request::OwnAddress(OwnRequest { account, party, by, .. }) => {
                write!(f, "address of {account} belongs to party {party}, by {by}")
            }
            Request::Sales => f.write_str("sales"),
            Request::Sale { sale, step, by } => write!(f, "{} of sale {sale} by {by}", step.name()),
            Request::DeliverSale { sale, by, .. } => write!(f, "deliver sale {sale} by {by}"),
            Request::KeepValues { values } => write!(f, "values of {} receipts", values.len()),
            Request::List { last } => write!(f, "list {last}"),
            Request::Show { batch } => write!(f, "show {batch}"),
            Request::Preview { .. } => f.write_str("preview"),
            Request::Run { account: None } => f.write_str("run"),
            Request::Run { account: Some(account) } => write!(f, "run for {account}"),
            Request::Approve { batch, by } => write!(f, "approve {batch} by {by}"),
            Request::Cancel { batch, reason, .. } => write!(f, "cancel {batch}: {reason}"),
            Request::Hold { account, reason } => write!(f, "hold {account}: {reason}"),
            Request::Release { account, reason } => write!(f, "release {account}: {reason}"),
            Request::Threshold { account, threshold_sat: Some(sat) } => write!(f, "threshold {account} {sat} sat"),
            Request::Threshold { account, threshold_sat: None } => write!(f, "threshold {account} default"),
            Request::Bump { batch, fee_rate_sat_per_vb } => write!(f, "bump {batch} to {fee_rate_sat_per_vb} sat/vB"),
            Request::ExportPsbt { batch } => write!(f, "export-psbt {batch}"),
            Request::ImportPsbt { batch, .. } => write!(f, "import-psbt {batch}"),
            Request::SetAccount { account, changes } => write!(f, "account {account}: {changes}"),
            Request::AddAccount { address, name: None } => write!(f, "add account {}", address.assume_checked_ref()),
            Request::AddAccount { address, name: Some(name) } => {
                write!(f, "add account {name} {}", address.assume_checked_ref())
            }
            Request::RemoveName { name } => write!(f, "remove name {name}"),
            Request::FundReserve { sat, from, reference } => {
                write!(f, "fund the reserve with {sat} sat of {}: {reference}", PoolMoney::from(*from))
            }
            Request::AssignDeposits { sat, reference } => write!(f, "assign {sat} sat of deposits: {reference}"),
            Request::DeclarePeriod(declared) => {
                let PeriodDeclared { profile, period, declaration, by, .. } = declared.as_ref();
                write!(f, "declare {period} of {profile} as {declaration:?} by {by}")
            }
            Request::ClosePeriod { profile, period, by } => write!(f, "close {period} of {profile} by {by}"),
            Request::AddToken { label, role, account: None } => write!(f, "add token {label} of role {role}"),
            Request::AddToken { label, role, account: Some(account) } => {
                write!(f, "add token {label} of role {role} for {account}")
            }
            Request::RevokeToken { token } => write!(f, "revoke token {token}"),
            Request::Metrics => f.write_str("metrics"),
            Request::Bans => f.write_str("bans"),
            Request::Connections { .. } => f.write_str("connections"),
            Request::Settings => f.write_str("settings"),
            Request::Reload { dry_run: false } => f.write_str("reload"),
            Request::Reload { dry_run: true } => f.write_str("what a reload would change"),
            Request::Kick { connection } => write!(f, "end connection {connection}"),
            Request::Drain { connection } => write!(f, "have connection {connection} connect again"),
            Request::SetDifficulty { connection, channel: None, difficulty } => {
                write!(f, "difficulty {difficulty} for connection {connection}")
            }
            Request::SetDifficulty { connection, channel: Some(channel), difficulty } => {
                write!(f, "difficulty {difficulty} for channel {channel} of connection {connection}")
            }
            Request::Trace { connection } => write!(f, "trace connection {connection}"),
            Request::Ban { address, seconds: None } => write!(f, "ban {address}"),
            Request::Ban { address, seconds: Some(seconds) } => write!(f, "ban {address} for {seconds} s"),
            Request::LiftBan { address } => write!(f, "lift the ban of {address}"),
        }
    }
}

/// Takes a sum in satoshis for one that there can be.
///
/// # Errors
///
/// When it is more than all bitcoin, which no book could keep.
fn amount(sat: u64) -> Result<Amount, Refusal> {
    let amount = Amount::from_sat(sat);
    let too_much =
        || Refusal::new(RefusalCode::Invalid, format!("{sat} sat are more than all bitcoin that there can be"));
    if amount <= Amount::MAX_MONEY { Ok(amount) } else { Err(too_much()) }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn no_sum_is_taken_that_is_more_than_all_bitcoin() {
        assert_eq!(amount(2_100_000_000_000_000).map(Amount::to_sat), Ok(2_100_000_000_000_000));
        for sat in [2_100_000_000_000_001, 1 << 63, u64::MAX] {
            assert_eq!(amount(sat).map_err(|refusal| refusal.code), Err(RefusalCode::Invalid), "{sat}");
        }
    }

    #[test]
    fn requests_are_written_for_people_and_read_back() {
        let address: Address<NetworkUnchecked> = "bcrt1qw508d6qejxtdg4y5r3zarvary0c5xw7kygt080".parse().unwrap();
        let account = User::Address(address.clone());
        let batch = BatchId::new(7);
        for (request, json) in [
            (Request::Status, r#"{"operation":"status"}"#),
            (
                Request::Approve { batch, by: "alice".parse().unwrap() },
                r#"{"operation":"approve","batch":7,"by":"alice"}"#,
            ),
            (
                Request::Threshold { account, threshold_sat: None },
                r#"{"operation":"threshold","account":"bcrt1qw508d6qejxtdg4y5r3zarvary0c5xw7kygt080","threshold_sat":null}"#,
            ),
            (
                Request::AddAccount { address, name: "farm".parse().ok() },
                r#"{"operation":"add_account","address":"bcrt1qw508d6qejxtdg4y5r3zarvary0c5xw7kygt080","name":"farm"}"#,
            ),
            (Request::Run { account: "farm".parse().ok() }, r#"{"operation":"run","account":"farm"}"#),
            (
                Request::FundReserve { sat: 5, from: GiftSource::Deposits, reference: "first".parse().unwrap() },
                r#"{"operation":"fund_reserve","sat":5,"from":"deposits","reference":"first"}"#,
            ),
            (
                Request::ImportPsbt { batch, psbts: vec![PsbtBytes(b"psbt\xff".to_vec())] },
                r#"{"operation":"import_psbt","batch":7,"psbts":["70736274ff"]}"#,
            ),
        ] {
            assert_eq!(serde_json::to_string(&request).unwrap(), json);
            assert_eq!(serde_json::from_str::<Request>(json).unwrap(), request);
        }
        // Valuations are written as the journal has them.
        let values = serde_json::json!([{
            "about": {"of": "credit", "entry": 1, "account": 7},
            "profile": "neutral/1",
            "profile_sha256": "ab".repeat(32),
            "amount_sat": 100,
            "received_at_ms": 1_700_000_000_000_i64,
            "appraisal": {
                "state": "UNVALUED",
                "policy": "neutral/1",
                "day": "2023-11-14",
                "missing": {"price": {"venue": "example", "pair": "BTC/USD", "basis": "close"}},
            },
        }]);
        let json = serde_json::json!({"operation": "keep_values", "values": values});
        let request: Request = serde_json::from_str(&json.to_string()).unwrap();
        assert_eq!(request.to_string(), "values of 1 receipts");
        assert_eq!(serde_json::to_value(&request).unwrap(), json);
        assert!(serde_json::from_str::<Request>(r#"{"operation":"show","batch":7,"all":true}"#).is_err());
        assert!(serde_json::from_str::<Request>(r#"{"operation":"burn"}"#).is_err());
    }
}
