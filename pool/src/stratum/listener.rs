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
    /// Issues the first certificate.
    pub fn new(authority: AuthoritySecretKey, validity: Duration, extensions: Extensions) -> Self {
        let now = SystemTime::now();
        let current = server_config(&authority, now, validity, &extensions);
        Self { authority, validity, extensions, current, renew_at: now + validity / 2 }
    }

    /// Returns what a new connection is served with. Renews the certificate when half of its time is over, so that
    /// none is ever near its end.
    fn current(&mut self) -> Arc<ServerConfig> {
        let now = SystemTime::now();
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
                let (config, upstream) = (issuer.current(), upstream.clone());
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

/// Waits for a miner.
async fn accept(listener: &TcpListener) -> TcpStream {
    loop {
        match listener.accept().await {
            Ok((socket, _)) => return socket,
            Err(error) => {
                warn!(%error, "cannot accept a connection");
                sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

async fn serve_one(socket: TcpStream, id: ConnectionId, config: Arc<ServerConfig>, upstream: Upstream) {
    // Gone before it was looked at, or a socket that cannot be tuned: nobody to serve.
    let (Ok(peer), Ok(())) = (socket.peer_addr(), socket.set_nodelay(true)) else {
        return debug!("connection was gone at once");
    };
    serve(socket, id, config, upstream).instrument(info_span!("connection", %peer)).await;
}
