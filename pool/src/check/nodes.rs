//! The nodes: whether each answers, where it stands, and what time it has.

use std::{
    io::ErrorKind,
    time::{SystemTime, UNIX_EPOCH},
};

use bitcoin::Network;

use super::{CheckId, Finding};
use crate::{
    config::{Config, ConfigError},
    template::{
        health::NodeHealth,
        node::{Node, NodeError},
        nodes::Nodes,
    },
};

/// The first version whose call for new tips takes the known one: with earlier ones a tip can go unseen for a second.
const GOOD_VERSION: u32 = 300_000;
/// A difference of clocks in seconds from which on somebody should look.
const LARGE_SKEW_S: i64 = 5;
/// A difference of clocks in seconds with which certificates and header times go wrong.
const WRONG_SKEW_S: i64 = 60;

pub(super) async fn check(config: &Config) -> Vec<Finding> {
    let nodes = Nodes::new(&config.bitcoind, config.network);
    let mut findings = Vec::new();
    for node in nodes.all() {
        findings.extend(check_node(node, config.network).await);
    }
    findings
}

async fn check_node(node: &Node, network: Network) -> Vec<Finding> {
    let name = node.name();
    let info = match node.check_ready().await {
        Ok(info) => info,
        Err(error) => return vec![Finding::error(fault(&error), format!("{name}: {error}"))],
    };
    let synced = format!("{name} is at height {}, best block {}", info.blocks, info.best_block);
    let mut findings = vec![Finding::ok(CheckId::NodeSynced, synced)];
    match node.health().await {
        Ok(health) => findings.extend(judge(name, &health, network, now_s())),
        Err(error) => findings.push(Finding::error(fault(&error), format!("{name}: {error}"))),
    }
    findings
}

/// Which check a node fails with an error.
fn fault(error: &NodeError) -> CheckId {
    match error {
        NodeError::Unreachable { .. } => CheckId::NodeReachable,
        // A node that is down has no cookie.
        NodeError::Credentials(ConfigError::UnreadableFile { source, .. }) if source.kind() == ErrorKind::NotFound => {
            CheckId::NodeReachable
        }
        NodeError::Unauthorized { .. } | NodeError::Credentials(_) => CheckId::NodeCredentials,
        NodeError::WarmingUp(_) | NodeError::Downloading { .. } => CheckId::NodeSynced,
        NodeError::WrongNetwork { .. } => CheckId::NodeNetwork,
        NodeError::OtherChain { .. } => CheckId::NodeChain,
        NodeError::Refused { .. } | NodeError::Nonsense { .. } | NodeError::Template(_) => CheckId::NodeTemplate,
    }
}

fn judge(name: &str, health: &NodeHealth, network: Network, now_s: i64) -> Vec<Finding> {
    let version = format!("{name} is {}", health.subversion);
    let mut findings = vec![match health.version < GOOD_VERSION {
        true => Finding::warning(CheckId::NodeVersion, format!("{version}: it can be a second late to tell of a tip")),
        false => Finding::ok(CheckId::NodeVersion, version),
    }];
    if network != Network::Regtest {
        let peers = format!("{name} has {} peers", health.connections);
        findings.push(match health.connections {
            0 => Finding::warning(CheckId::NodePeers, format!("{peers}: found blocks go nowhere")),
            _ => Finding::ok(CheckId::NodePeers, peers),
        });
    }
    findings.push(clock(name, health, network, now_s));
    match &health.template {
        Ok(curtime) => findings.push(Finding::ok(CheckId::NodeTemplate, format!("{name} made one of time {curtime}"))),
        Err(reason) => findings.push(Finding::error(CheckId::NodeTemplate, format!("{name}: {reason}"))),
    }
    findings
}

fn clock(name: &str, health: &NodeHealth, network: Network, now_s: i64) -> Finding {
    let median = i64::from(health.tip_median_time);
    let behind_s = median - now_s;
    // On regtest, where blocks are made by the second, the chain runs ahead of every clock.
    if behind_s > LARGE_SKEW_S && network != Network::Regtest {
        let message = format!("this machine is {behind_s} s behind the median time of the chain of {name}");
        return match behind_s > WRONG_SKEW_S {
            true => Finding::error(CheckId::Clock, message),
            false => Finding::warning(CheckId::Clock, message),
        };
    }
    // A template's time is the node's clock, or a second more than the median where that is later.
    let node_time = health.template.as_ref().ok().map(|time| i64::from(*time)).filter(|time| *time > median + 1);
    let skew_s = node_time.map_or(0, |time| time - now_s);
    let message = match node_time {
        Some(_) => {
            format!("{name} is {} s {} this machine", skew_s.abs(), if skew_s < 0 { "behind" } else { "ahead of" })
        }
        None => format!("the chain of {name} runs ahead of its clock"),
    };
    match skew_s.abs() {
        skew if skew > WRONG_SKEW_S => Finding::error(CheckId::Clock, message),
        skew if skew > LARGE_SKEW_S => Finding::warning(CheckId::Clock, message),
        _ if health.peers_offset_s.abs() > WRONG_SKEW_S => {
            let message = format!("{name}'s peers are {} s away from its clock, at the median", health.peers_offset_s);
            Finding::warning(CheckId::Clock, message)
        }
        _ => Finding::ok(CheckId::Clock, message),
    }
}

fn now_s() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_secs()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::Severity;

    const NOW_S: i64 = 1_800_000_000;

    fn health(template: i64, median: i64) -> NodeHealth {
        let time = |offset: i64| u32::try_from(NOW_S + offset).expect("a time of this century");
        NodeHealth {
            version: 310_000,
            subversion: "/Satoshi:31.0.0/".to_owned(),
            connections: 8,
            peers_offset_s: 0,
            tip_median_time: time(median),
            template: Ok(time(template)),
        }
    }

    #[test]
    fn clocks_are_compared_with_the_node_and_with_the_chain() {
        for (template, median, severity) in [
            (0, -3_600, Severity::Ok),
            (5, -3_600, Severity::Ok),
            (-6, -3_600, Severity::Warning),
            (60, -3_600, Severity::Warning),
            (61, -3_600, Severity::Error),
            (-61, -3_600, Severity::Error),
            // The chain is ahead of the node: its template says nothing of its clock.
            (0, -1, Severity::Ok),
            (0, 6, Severity::Warning),
            (0, 61, Severity::Error),
        ] {
            let finding = clock("bitcoind", &health(template, median), Network::Signet, NOW_S);
            assert_eq!(finding.severity, severity, "{template} {median}: {finding:?}");
        }
        assert_eq!(clock("bitcoind", &health(0, 500), Network::Regtest, NOW_S).severity, Severity::Ok);
        let alone = NodeHealth { peers_offset_s: -70, ..health(0, -3_600) };
        assert_eq!(clock("bitcoind", &alone, Network::Signet, NOW_S).severity, Severity::Warning);
    }

    #[test]
    fn version_peers_and_templates_are_judged() {
        let of = |health: &NodeHealth, check| {
            let found = judge("bitcoind", health, Network::Signet, NOW_S).into_iter();
            found.filter(|finding| finding.check == check).map(|finding| finding.severity).next()
        };
        let good = health(0, -3_600);
        for check in [CheckId::NodeVersion, CheckId::NodePeers, CheckId::NodeTemplate] {
            assert_eq!(of(&good, check), Some(Severity::Ok), "{check:?}");
        }
        assert_eq!(of(&NodeHealth { version: 299_900, ..good.clone() }, CheckId::NodeVersion), Some(Severity::Warning));
        assert_eq!(of(&NodeHealth { connections: 0, ..good.clone() }, CheckId::NodePeers), Some(Severity::Warning));
        let mute = NodeHealth { template: Err("not connected".to_owned()), ..good };
        assert_eq!(of(&mute, CheckId::NodeTemplate), Some(Severity::Error));
    }
}
