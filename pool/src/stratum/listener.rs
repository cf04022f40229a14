//! Accepts miners: within the bounds for their addresses, each with a certificate that is still fresh.
//!
//! Whoever is refused is closed at once, before any cryptography: he can go to another pool, and has cost this one a
//! system call or two.

use std::{
    io,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use protocol::{
    connection::{Limits, ServerConfig},
    messages::mining::{REQUIRES_STANDARD_JOBS, REQUIRES_VERSION_ROLLING, REQUIRES_WORK_SELECTION},
    noise::{AuthoritySecretKey, ServerIdentity},
};
use tokio::{
    net::{TcpListener, TcpStream},
    task::JoinSet,
    time::{sleep, timeout},
};
use tracing::{Instrument, debug, info, info_span, warn};

use super::{
    addresses::{Addresses, Place, Refused},
    connection::serve,
    metrics::PortMetrics,
    upstream::Upstream,
};
use crate::metrics::Metrics;

/// How far before now a certificate begins, for clients whose clock is behind.
const BACKDATED: Duration = Duration::from_secs(3600);
/// Pause when the system can accept no more connections for the moment.
const ACCEPT_PAUSE: Duration = Duration::from_millis(200);
/// How often refused connections are told of in the log: a flood of them shall not be one of lines.
const REFUSAL_NOTICE_INTERVAL: Duration = Duration::from_secs(10);
/// How long connections may take to be acknowledged and closed when the pool shuts down.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(10);

/// The protocol's extensions that are negotiated with clients (extension 0x0001).
#[derive(Clone, Debug)]
pub struct Extensions {
    /// Those that a client may use.
    pub supported: Vec<u16>,
    /// Those that it must use.
    pub required: Vec<u16>,
}

/// Makes certificates, each good for a while.
pub struct CertificateIssuer {
    authority: AuthoritySecretKey,
    validity: Duration,
    extensions: Extensions,
    max_frame_bytes: usize,
    current: Arc<ServerConfig>,
    issued_at: SystemTime,
    ends_at_s: Arc<AtomicU32>,
}

impl CertificateIssuer {
    /// Issues the first certificate, `now` by the clock.
    pub fn new(authority: AuthoritySecretKey, validity: Duration, extensions: Extensions, now: SystemTime) -> Self {
        let max_frame_bytes = Limits::default().max_frame_payload;
        let current = server_config(&authority, now, validity, &extensions, max_frame_bytes);
        let ends_at_s = Arc::new(AtomicU32::new(unix_time_s(now + validity)));
        Self { authority, validity, extensions, max_frame_bytes, current, issued_at: now, ends_at_s }
    }

    /// Bounds the payload of a frame that a client may send.
    #[must_use]
    pub fn with_max_frame_bytes(self, max_frame_bytes: usize) -> Self {
        let current = server_config(&self.authority, self.issued_at, self.validity, &self.extensions, max_frame_bytes);
        Self { max_frame_bytes, current, ..self }
    }

    /// Has shown for how long the certificate is good that connections are served with.
    pub fn register(&self, metrics: &mut Metrics) {
        let ends_at_s = Arc::clone(&self.ends_at_s);
        metrics.measured_seconds(
            "certificate_left",
            "Until the certificate ends that the last connection was shown",
            move || Some(f64::from(ends_at_s.load(Ordering::Relaxed)) - f64::from(unix_time_s(SystemTime::now()))),
        );
    }

    /// Returns what a new connection is served with. Renews the certificate when half of its time is over, so that
    /// none is ever near its end; and when the clock was set back before its time, or clients would have to wait for it.
    fn current(&mut self, now: SystemTime) -> Arc<ServerConfig> {
        let is_fresh = (self.issued_at - BACKDATED / 2..self.issued_at + self.validity / 2).contains(&now);
        if !is_fresh {
            self.current = server_config(&self.authority, now, self.validity, &self.extensions, self.max_frame_bytes);
            self.issued_at = now;
            self.ends_at_s.store(unix_time_s(now + self.validity), Ordering::Relaxed);
        }
        Arc::clone(&self.current)
    }
}

fn server_config(
    authority: &AuthoritySecretKey,
    now: SystemTime,
    validity: Duration,
    extensions: &Extensions,
    max_frame_bytes: usize,
) -> Arc<ServerConfig> {
    let identity = ServerIdentity::new(authority, unix_time_s(now - BACKDATED), unix_time_s(now + validity));
    Arc::new(ServerConfig {
        identity,
        supported_flags: REQUIRES_STANDARD_JOBS | REQUIRES_WORK_SELECTION | REQUIRES_VERSION_ROLLING,
        // None of its own: whatever the client may ask for, an echo of it would mean something else (SV2 5.3.1).
        success_flags: 0,
        supported_extensions: extensions.supported.clone(),
        required_extensions: extensions.required.clone(),
        limits: Limits { max_frame_payload: max_frame_bytes, ..Limits::default() },
    })
}

fn unix_time_s(time: SystemTime) -> u32 {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    u32::try_from(since.as_secs()).unwrap_or(u32::MAX)
}

/// Accepts connections until the pool shuts down, then waits until all are acknowledged and closed.
pub async fn accept_all(
    listener: TcpListener,
    mut issuer: CertificateIssuer,
    addresses: Arc<Addresses>,
    upstream: Upstream,
) {
    let upstream = Arc::new(upstream);
    let mut refusals = Refusals::default();
    let mut connections = JoinSet::new();
    let mut draining = upstream.draining.clone();
    loop {
        tokio::select! {
            (socket, peer) = accept(&listener, &upstream.metrics) => {
                // Whoever is refused at once can go to another pool; whoever had to wait would not know.
                let place = match admit(&addresses, peer, &upstream.metrics) {
                    Ok(place) => place,
                    Err(why) => {
                        refusals.tell(why, peer);
                        upstream.roster.refuse(peer, why);
                        continue;
                    }
                };
                let (config, upstream) = (issuer.current(SystemTime::now()), Arc::clone(&upstream));
                let span = info_span!("connection", %peer);
                connections.spawn(serve(socket, peer, place, config, upstream).instrument(span));
            }
            // Ended connections are taken out, so that the set does not grow.
            Some(ended) = connections.join_next() => {
                if let Err(error) = ended {
                    warn!(%error, "connection task failed");
                }
            }
            _ = draining.wait_for(|draining| *draining) => break,
        }
    }
    drop(listener);
    let all_ended = async { while connections.join_next().await.is_some() {} };
    if timeout(DRAIN_TIMEOUT, all_ended).await.is_err() {
        warn!(seconds = DRAIN_TIMEOUT.as_secs(), "connections did not end in time, cutting them off");
    }
}

/// Waits for a miner. What is written to its socket leaves at once, however little it is.
///
/// Without a free file descriptor the next one waits in the system's queue, and is looked for again after a pause: the
/// system would tell of it again at once.
async fn accept(listener: &TcpListener, metrics: &PortMetrics) -> (TcpStream, SocketAddr) {
    let mut is_told = false;
    loop {
        match listener.accept().await {
            Ok((socket, peer)) => {
                if is_told {
                    info!("connections are accepted again");
                }
                match socket.set_nodelay(true) {
                    Ok(()) => return (socket, peer),
                    Err(error) => debug!(%error, "connection was gone at once"),
                }
            }
            Err(error) => {
                metrics.accept_errors.inc();
                // Nobody else's fault than of the one that has gone: the next may be there already.
                if error.kind() == io::ErrorKind::ConnectionAborted {
                    continue;
                }
                if !is_told {
                    warn!(%error, "cannot accept connections, will try again");
                    is_told = true;
                }
                sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

fn admit(addresses: &Arc<Addresses>, peer: SocketAddr, metrics: &PortMetrics) -> Result<Place, Refused> {
    let place = addresses.admit(peer.ip(), Instant::now());
    match &place {
        Ok(_) => drop(metrics.accepted.inc()),
        Err(why) => metrics.refuse(*why),
    }
    place
}

/// Refused connections, for the log.
#[derive(Debug, Default)]
struct Refusals {
    untold: u64,
    told_at: Option<Instant>,
}

impl Refusals {
    /// Counts one, and says so in the log if nothing was said for a while.
    fn tell(&mut self, why: Refused, peer: SocketAddr) {
        self.untold += 1;
        if self.told_at.is_none_or(|at| at.elapsed() >= REFUSAL_NOTICE_INTERVAL) {
            warn!(last = %peer, reason = %why, count = self.untold, "connections refused");
            (self.untold, self.told_at) = (0, Some(Instant::now()));
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use protocol::noise::{AuthorityPublicKey, CertificateError, Initiator, NoiseError, respond};

    use super::*;

    const DAY: Duration = Duration::from_secs(86_400);

    fn none() -> Extensions {
        Extensions { supported: Vec::new(), required: Vec::new() }
    }

    /// Shakes hands as a client whose clock shows `now`.
    fn shake_hands(config: &ServerConfig, authority: &AuthorityPublicKey, now: SystemTime) -> Result<(), NoiseError> {
        let (initiator, act_1) = Initiator::start();
        let (act_2, _) = respond(&config.identity, &act_1).unwrap();
        initiator.finish(&act_2, Some(authority), unix_time_s(now)).map(|_| ())
    }

    #[test]
    fn certificate_is_renewed_under_the_same_authority_when_half_of_its_time_is_over() {
        let (authority, start) = (AuthoritySecretKey::generate(), UNIX_EPOCH + 20_000 * DAY);
        let public_key = authority.public_key();
        let mut issuer = CertificateIssuer::new(authority, 2 * DAY, none(), start);
        let first = issuer.current(start);
        let second_before = start + DAY - Duration::from_secs(1);
        assert!(Arc::ptr_eq(&first, &issuer.current(second_before)), "one certificate serves all for a while");

        let renewed = issuer.current(start + DAY);
        assert!(!Arc::ptr_eq(&first, &renewed));
        // A connection set up with the first just before still has a day, and the renewed one lasts its full time.
        for (config, last) in [(&first, start + 2 * DAY), (&renewed, start + 3 * DAY)] {
            assert_eq!(shake_hands(config, &public_key, start + DAY), Ok(()));
            assert_eq!(shake_hands(config, &public_key, last), Ok(()));
            let late = shake_hands(config, &public_key, last + Duration::from_secs(1));
            assert!(matches!(late, Err(NoiseError::Certificate(CertificateError::Expired { .. }))), "{late:?}");
        }
    }

    #[test]
    fn client_whose_clock_is_behind_accepts_a_certificate_just_made() {
        let (authority, now) = (AuthoritySecretKey::generate(), UNIX_EPOCH + 20_000 * DAY);
        let public_key = authority.public_key();
        let config = CertificateIssuer::new(authority, DAY, none(), now).current(now);
        for behind_s in [0, 5, 60, 3_600] {
            assert_eq!(shake_hands(&config, &public_key, now - Duration::from_secs(behind_s)), Ok(()), "{behind_s} s");
        }
        let wrong = shake_hands(&config, &public_key, now - DAY);
        assert!(matches!(wrong, Err(NoiseError::Certificate(CertificateError::NotYetValid { .. }))), "{wrong:?}");
    }

    #[test]
    fn certificate_is_made_anew_when_the_clock_is_set_back() {
        let (authority, ahead) = (AuthoritySecretKey::generate(), UNIX_EPOCH + 20_000 * DAY);
        let public_key = authority.public_key();
        let mut issuer = CertificateIssuer::new(authority, 2 * DAY, none(), ahead);
        let hours = |hours: u64| Duration::from_secs(3_600 * hours);
        for behind in [Duration::from_secs(1), Duration::from_secs(1_799), Duration::from_secs(1_801), hours(5), DAY] {
            let now = ahead - behind;
            let config = issuer.current(now);
            assert_eq!(shake_hands(&config, &public_key, now), Ok(()), "{behind:?} behind");
        }
        // And when it goes on from there.
        let config = issuer.current(ahead);
        assert_eq!(shake_hands(&config, &public_key, ahead), Ok(()));
    }

    #[tokio::test]
    async fn small_writes_leave_an_accepted_socket_at_once() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let _client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let metrics = PortMetrics::register(&mut Metrics::new());
        assert!(accept(&listener, &metrics).await.0.nodelay().unwrap());
    }
}
