//! What connections have in common: what the operator has set for them, what they hear from, and what they pass on to.

use std::sync::Arc;

use bitcoin::Network;
use payouts::{scheme::rule::Scheme, store::Store};
use tokio::sync::watch;

use super::{limits::ConnectionLimits, metrics::PortMetrics, roster::Roster, turns::Turns};
use crate::{
    accounting::{blocks::FoundBlocks, registry::Registry, share_log::ShareLog},
    config::Config,
    mining::{ahead::Work, extranonce::ExtranonceSpace, session::SessionPolicy},
};

/// What the operator has set for each connection. One keeps to what held when it began.
#[derive(Clone, Debug)]
pub struct Terms {
    /// Of its session.
    pub policy: Arc<SessionPolicy>,
    /// What it may ask for.
    pub limits: ConnectionLimits,
}

impl Terms {
    /// Takes what the operator has set.
    pub fn of(config: &Config) -> Self {
        let stratum = &config.stratum;
        let policy = SessionPolicy {
            shares_per_minute: f64::from(stratum.shares_per_minute),
            initial_difficulty: stratum.initial_difficulty,
            min_difficulty: stratum.min_difficulty,
            max_channels: stratum.max_channels_per_connection,
            max_shares_per_job: config.limits.shares_per_job,
            harder_than_network: config.network == Network::Regtest,
        };
        Self { policy: Arc::new(policy), limits: config.limits.connection }
    }
}

/// What connections hear from and pass on to, the same for all of them.
pub struct Upstream {
    /// Who may open a channel.
    pub registry: Arc<Registry>,
    /// What holds for connections that begin now.
    pub terms: watch::Receiver<Arc<Terms>>,
    /// Where extranonce prefixes come from.
    pub space: Arc<ExtranonceSpace>,
    /// The newest job, and the one for the next height.
    pub jobs: watch::Receiver<Work>,
    /// Where shares go.
    pub share_log: ShareLog,
    /// Where shares go first that are blocks.
    pub found_blocks: FoundBlocks,
    /// How the pool pays.
    pub scheme: Scheme,
    /// Where accounts are looked up.
    pub store: Arc<dyn Store>,
    /// Turns true when the pool shuts down.
    pub draining: watch::Receiver<bool>,
    /// Turns for handshakes.
    pub turns: Arc<Turns>,
    /// What is counted.
    pub metrics: Arc<PortMetrics>,
    /// Who is here, for whoever watches.
    pub roster: Arc<Roster>,
}
