//! What can go wrong before it does: everything that a pool depends on, looked at without changing anything.
//!
//! Owns which checks there are, how much each matters, and the cure of each in a line; `docs/runbook.md` has a section for
//! each. It works beside a running pool as well as before the first start. How findings are printed belongs to the
//! command.

mod api;
mod books;
mod keys;
mod machine;
mod nodes;

use serde::Serialize;

pub use self::machine::{LEAST_ROOM, LITTLE_ROOM, free_space};
use crate::config::Config;

/// What is looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum CheckId {
    /// The folder of everything that the pool writes.
    DataFolder,
    /// Room for it.
    DiskSpace,
    /// Files that the process may open: one for each connection.
    OpenFiles,
    /// Where miners are heard.
    Port,
    /// How miners reach the pool.
    PublicHost,
    /// Where operators are heard.
    ApiPort,
    /// What they are shown there.
    ApiCertificate,
    /// The key that miners know the pool by.
    AuthorityKey,
    /// How long the certificates of it are valid.
    Certificate,
    /// Passwords that stand in examples.
    Password,
    /// The keys to the pool's coins, and what its coinbases pay.
    Wallet,
    /// Where the books are.
    Database,
    /// The tables in it.
    DatabaseSchema,
    /// The lists that payments are screened by.
    Screening,
    /// Whether a node answers.
    NodeReachable,
    /// Whether it knows the pool's user.
    NodeCredentials,
    /// Whether it follows the pool's network.
    NodeNetwork,
    /// Whether it has all blocks.
    NodeSynced,
    /// Whether its chain is that of the books.
    NodeChain,
    /// Which program it is.
    NodeVersion,
    /// Whether it has somebody to send a block to.
    NodePeers,
    /// Whether it makes templates.
    NodeTemplate,
    /// Whether this machine, the node and the chain agree on the time.
    Clock,
}

impl CheckId {
    /// All checks, in the order in which they are reported.
    pub const ALL: [CheckId; 23] = [
        Self::DataFolder,
        Self::DiskSpace,
        Self::OpenFiles,
        Self::Port,
        Self::PublicHost,
        Self::ApiPort,
        Self::ApiCertificate,
        Self::AuthorityKey,
        Self::Certificate,
        Self::Password,
        Self::Wallet,
        Self::Database,
        Self::DatabaseSchema,
        Self::Screening,
        Self::NodeReachable,
        Self::NodeCredentials,
        Self::NodeNetwork,
        Self::NodeSynced,
        Self::NodeChain,
        Self::NodeVersion,
        Self::NodePeers,
        Self::NodeTemplate,
        Self::Clock,
    ];

    /// Its stable name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::DataFolder => "data-folder",
            Self::DiskSpace => "disk-space",
            Self::OpenFiles => "open-files",
            Self::Port => "port",
            Self::PublicHost => "public-host",
            Self::ApiPort => "api-port",
            Self::ApiCertificate => "api-certificate",
            Self::AuthorityKey => "authority-key",
            Self::Certificate => "certificate",
            Self::Password => "password",
            Self::Wallet => "wallet",
            Self::Database => "database",
            Self::DatabaseSchema => "database-schema",
            Self::Screening => "screening",
            Self::NodeReachable => "node-reachable",
            Self::NodeCredentials => "node-credentials",
            Self::NodeNetwork => "node-network",
            Self::NodeSynced => "node-synced",
            Self::NodeChain => "node-chain",
            Self::NodeVersion => "node-version",
            Self::NodePeers => "node-peers",
            Self::NodeTemplate => "node-template",
            Self::Clock => "clock",
        }
    }

    /// What to do when it is not as it must be, in a line.
    pub fn cure(self) -> &'static str {
        match self {
            Self::DataFolder => {
                "make data_dir a folder of the pool's own user that nobody else may write to: chmod 700"
            }
            Self::DiskSpace => "make room, or move data_dir and store.path to a larger disk while the pool is stopped",
            Self::OpenFiles => "raise the limit (ulimit -n, LimitNOFILE of systemd) or lower stratum.max_connections",
            Self::Port => "stop what listens there, or choose another stratum.listen",
            Self::PublicHost => "set stratum.public_host to the name or address by which miners reach this machine",
            Self::ApiPort => "choose another api.listen, on loopback, or behind TLS (api.tls_certificate, api.tls_key)",
            Self::ApiCertificate => {
                "put a new certificate and its key (mode 0600) where [api] names them, then adit reload"
            }
            Self::AuthorityKey => "restore authority.key from your copy with mode 0600, or make one with adit init",
            Self::Certificate => "set stratum.certificate_validity_hours to 24 or more, 168 by default",
            Self::Password => {
                "choose a password of your own (rpcauth for the node) and put it into a file of mode 0600"
            }
            Self::Wallet => "restore wallet.key of this network with mode 0600, or correct the descriptors of [payout]",
            Self::Database => "start the database, or correct [store]; the URL's file must have mode 0600",
            Self::DatabaseSchema => {
                "use the version of adit that wrote the database, or a later one; copy it before you upgrade"
            }
            Self::Screening => {
                "fetch the list anew into the file that [screening] names; `adit screening status` says more"
            }
            Self::NodeReachable => {
                "start bitcoind with server=1, and compare bitcoind.url with its rpcbind and rpcport"
            }
            Self::NodeCredentials => {
                "let the pool's user read the cookie (rpccookieperms=group), or use rpcauth and a password"
            }
            Self::NodeNetwork => "set network and bitcoind.url so that both name the same network",
            Self::NodeSynced => "wait until the node has all blocks: bitcoin-cli getblockchaininfo shows how far it is",
            Self::NodeChain => "give the node back its data, or the pool the data folder of this chain",
            Self::NodeVersion => "upgrade bitcoind to version 30 or later",
            Self::NodePeers => "look at the node's network: addnode, a firewall, -connect=0",
            Self::NodeTemplate => "look at the node's log for why getblocktemplate fails",
            Self::Clock => "set the clocks by NTP on this machine and the node's: timedatectl set-ntp true",
        }
    }
}

/// How much a finding matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// It is as it must be.
    Ok,
    /// The pool works, though not as well as it could, or not for long.
    Warning,
    /// The pool does not start, does not mine, or pays nobody.
    Error,
}

/// What was found of one thing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// What was looked at.
    pub check: CheckId,
    /// How much it matters.
    pub severity: Severity,
    /// What it is, or what is wrong with it.
    pub message: String,
    /// What to do about it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cure: Option<&'static str>,
}

impl Finding {
    fn ok(check: CheckId, message: impl Into<String>) -> Self {
        Self { check, severity: Severity::Ok, message: message.into(), cure: None }
    }

    fn warning(check: CheckId, message: impl Into<String>) -> Self {
        Self { check, severity: Severity::Warning, message: message.into(), cure: Some(check.cure()) }
    }

    fn error(check: CheckId, message: impl Into<String>) -> Self {
        Self { check, severity: Severity::Error, message: message.into(), cure: Some(check.cure()) }
    }
}

/// Looks at everything that a pool with this configuration depends on. Takes as long as its nodes and its lists: seconds,
/// or a minute for each node that does not answer.
pub async fn check(config: &Config) -> Vec<Finding> {
    let mut findings = machine::check(config).await;
    findings.extend(api::check(config).await);
    findings.extend(keys::check(config));
    findings.extend(books::check(config).await);
    findings.extend(nodes::check(config).await);
    let place = |finding: &Finding| CheckId::ALL.iter().position(|check| *check == finding.check);
    findings.sort_by_key(place);
    findings
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn checks_have_names_of_their_own_and_cures_of_a_line() {
        let names: BTreeSet<_> = CheckId::ALL.iter().map(|check| check.as_str()).collect();
        assert_eq!(names.len(), CheckId::ALL.len());
        for check in CheckId::ALL {
            assert!(check.cure().len() <= 110 && !check.cure().contains('\n'), "{}", check.cure());
            let written = serde_json::to_value(check).expect("an id is a text");
            assert_eq!(written, check.as_str());
        }
    }
}
