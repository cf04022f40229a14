//! Accepts miners: bounded in number, each with a certificate that is still fresh.

use std::{
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use protocol::{
    connection::{Limits, ServerConfig},
    messages::mining::{REQUIRES_STANDARD_JOBS, REQUIRES_VERSION_ROLLING, REQUIRES_WORK_SELECTION},
    noise::{AuthoritySecretKey, ServerIdentity},
};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::Semaphore,
    task::JoinSet,
    time::{sleep, timeout},
};
use tracing::{Instrument, debug, info_span, warn};

use super::{channels::Upstream, connection::serve};
use crate::accounting::share_log::ConnectionId;

/// How far before now a certificate begins, for clients whose clock is behind.
const BACKDATED: Duration = Duration::from_secs(3600);
/// Pause when the system can accept no more connections for the moment.
const ACCEPT_PAUSE: Duration = Duration::from_millis(200);
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
    current: Arc<ServerConfig>,
    renew_at: SystemTime,
}

impl CertificateIssuer {
    /// Issues the first certificate, `now` by the clock.
    pub fn new(authority: AuthoritySecretKey, validity: Duration, extensions: Extensions, now: SystemTime) -> Self {
        let current = server_config(&authority, now, validity, &extensions);
        Self { authority, validity, extensions, current, renew_at: now + validity / 2 }
    }

    /// Returns what a new connection is served with. Renews the certificate when half of its time is over, so that
    /// none is ever near its end.
    fn current(&mut self, now: SystemTime) -> Arc<ServerConfig> {
        if now >= self.renew_at {
            self.current = server_config(&self.authority, now, self.validity, &self.extensions);
            self.renew_at = now + self.validity / 2;
        }
        Arc::clone(&self.current)
    }
}

fn server_config(
    authority: &AuthoritySecretKey,
    now: SystemTime,
    validity: Duration,
    extensions: &Extensions,
) -> Arc<ServerConfig> {
    let identity = ServerIdentity::new(authority, unix_time_s(now - BACKDATED), unix_time_s(now + validity));
    Arc::new(ServerConfig {
        identity,
        supported_flags: REQUIRES_STANDARD_JOBS | REQUIRES_WORK_SELECTION | REQUIRES_VERSION_ROLLING,
        // None of its own: whatever the client may ask for, an echo of it would mean something else (SV2 5.3.1).
        success_flags: 0,
        supported_extensions: extensions.supported.clone(),
        required_extensions: extensions.required.clone(),
        limits: Limits::default(),
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
    max_connections: usize,
    upstream: Upstream,
) {
    let places = Arc::new(Semaphore::new(max_connections));
    let mut connections = JoinSet::new();
    let mut draining = upstream.draining.clone();
    let mut next_id = 0;
    loop {
        tokio::select! {
            socket = accept(&listener) => {
                // Whoever is refused at once can go to another pool; whoever had to wait would not know.
                let Ok(place) = Arc::clone(&places).try_acquire_owned() else {
                    warn!(max_connections, "connection refused: all places are taken");
                    continue;
                };
                let id = ConnectionId(next_id);
                next_id += 1;
                let (config, upstream) = (issuer.current(SystemTime::now()), upstream.clone());
                connections.spawn(async move {
                    serve_one(socket, id, config, upstream).await;
                    drop(place);
                });
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
async fn accept(listener: &TcpListener) -> TcpStream {
    loop {
        match listener.accept().await {
            Ok((socket, _)) => match socket.set_nodelay(true) {
                Ok(()) => return socket,
                Err(error) => debug!(%error, "connection was gone at once"),
            },
            Err(error) => {
                warn!(%error, "cannot accept a connection");
                sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

async fn serve_one(socket: TcpStream, id: ConnectionId, config: Arc<ServerConfig>, upstream: Upstream) {
    // Gone before it was looked at: nobody to serve.
    let Ok(peer) = socket.peer_addr() else { return debug!("connection was gone at once") };
    serve(socket, id, config, upstream).instrument(info_span!("connection", %peer)).await;
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

    #[tokio::test]
    async fn small_writes_leave_an_accepted_socket_at_once() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let _client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        assert!(accept(&listener).await.nodelay().unwrap());
    }
}
