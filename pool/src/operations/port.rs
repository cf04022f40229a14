//! Requests about the miners' port: what it has counted, and which addresses are banned.

use std::{
    net::IpAddr,
    sync::Arc,
    time::{Duration, Instant},
};

use serde::{Deserialize, Serialize};
use tracing::info;

use super::{Outcome, Refusal, RefusalCode, Request, connection};
use crate::{
    metrics::Metrics,
    reload::Reloader,
    stratum::{addresses::Addresses, roster::Roster},
};

/// The miners' port, as far as an operator asks about it.
#[derive(Clone, Debug)]
pub struct Port {
    /// Who is banned.
    pub addresses: Arc<Addresses>,
    /// Who is connected.
    pub roster: Arc<Roster>,
    /// What is counted, of all of the pool.
    pub metrics: Arc<Metrics>,
    /// What reads the config file again; nothing where there is no file.
    pub reloader: Option<Arc<Reloader>>,
}

/// An address that is banned.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct BanReport {
    /// The IPv4 address, or the network of an IPv6 address.
    pub origin: String,
    /// For how many seconds more.
    pub left_s: u64,
}

/// An address was banned.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Banned {
    /// The IPv4 address, or the network of an IPv6 address.
    pub origin: String,
    /// For how many seconds.
    pub seconds: u64,
    /// How many connections of it end.
    pub ended: usize,
}

/// What became of a ban.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct BanLifted {
    /// The address.
    #[schema(value_type = String)]
    pub address: IpAddr,
    /// Whether it was not banned.
    pub already: bool,
}

impl Port {
    /// Does a request that is about the port; none if it is about something else.
    pub(super) fn perform(&self, request: &Request) -> Option<Result<Outcome, Refusal>> {
        match request {
            Request::Metrics => Some(Ok(Outcome::Metrics(self.metrics.text()))),
            Request::Bans => {
                let bans = self.addresses.bans(Instant::now()).into_iter();
                // Of a second that has begun, something is left.
                let left_s = |left: Duration| left.as_millis().div_ceil(1000) as u64;
                let report = bans.map(|(origin, left)| BanReport { origin: origin.to_string(), left_s: left_s(left) });
                Some(Ok(Outcome::Bans(report.collect())))
            }
            Request::LiftBan { address } => {
                let already = !self.addresses.lift_ban(*address, Instant::now());
                info!(%request, already, "done for the operator");
                Some(Ok(Outcome::BanLifted(BanLifted { address: *address, already })))
            }
            Request::Settings => {
                Some(self.reloader.as_ref().ok_or_else(no_port).map(|it| Outcome::Settings(it.settings())))
            }
            Request::Reload { dry_run } => {
                let reloader = self.reloader.as_ref().ok_or_else(no_port);
                Some(reloader.and_then(|reloader| {
                    let report = reloader.reload(*dry_run);
                    let report = report.map_err(|error| Refusal::new(RefusalCode::Invalid, error))?;
                    if !dry_run {
                        report.tell();
                    }
                    Ok(Outcome::Reloaded(report))
                }))
            }
            _ => connection::perform(self, request),
        }
    }

    /// A port with nobody at it.
    #[cfg(test)]
    pub(crate) fn closed() -> Port {
        use crate::stratum::addresses::AddressLimits;

        let limits = AddressLimits {
            max_connections: 1,
            max_connections_per_address: 1,
            max_handshakes: 1,
            max_handshakes_per_address: 1,
            unlimited: Vec::new(),
            ban: Duration::from_secs(60),
        };
        let (addresses, metrics) = (Arc::new(Addresses::new(limits)), Arc::new(Metrics::new()));
        Port { addresses, roster: Arc::default(), metrics, reloader: None }
    }
}

/// The refusal of a request about the port where there is none.
pub(super) fn no_port() -> Refusal {
    Refusal::new(RefusalCode::Unavailable, "no pool runs with this config: only a running one counts, bans and reloads")
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn port_answers_what_is_about_it_and_nothing_else() {
        let (port, now) = (Port::closed(), Instant::now());
        let address = IpAddr::from([192, 0, 2, 1]);
        let place = port.addresses.admit(address, now).unwrap();
        while place.strike(now).is_none() {}
        drop(place);
        let Some(Ok(Outcome::Bans(bans))) = port.perform(&Request::Bans) else { panic!("no bans") };
        assert_eq!((bans.len(), &*bans[0].origin, bans[0].left_s), (1, "192.0.2.1", 60));
        for already in [false, true] {
            let lifted = port.perform(&Request::LiftBan { address }).unwrap().unwrap();
            assert_eq!(lifted, Outcome::BanLifted(BanLifted { address, already }));
        }
        assert_eq!(port.perform(&Request::Bans), Some(Ok(Outcome::Bans(Vec::new()))));
        let Some(Ok(Outcome::Metrics(text))) = port.perform(&Request::Metrics) else { panic!("no metrics") };
        assert!(text.ends_with("# EOF\n"));
        assert_eq!(port.perform(&Request::Status), None);
    }
}
