//! The API's port: connections, TLS, and what a client may cost before its request is read.

use std::{io, net::SocketAddr, sync::Arc, time::Duration};

use anyhow::Context;
use axum::{Router, body::Body, extract::ConnectInfo, http::Request};
use hyper::{body::Incoming, server::conn::http1};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpListener, TcpStream},
    sync::{Semaphore, watch},
    task::JoinSet,
    time::{sleep, timeout},
};
use tokio_rustls::TlsAcceptor;
use tower::ServiceExt;
use tracing::{debug, warn};

use super::certificate::ApiCertificate;
use crate::config::ApiConfig;

/// Connections at a time; further ones wait to be accepted.
const MAX_CONNECTIONS: usize = 512;
/// How long a client may take for TLS, and for the head of a request.
const HEAD_TIMEOUT: Duration = Duration::from_secs(10);
/// How long connections may take to end when the pool shuts down.
const END_TIMEOUT: Duration = Duration::from_secs(5);
/// Pause when the system can accept no more connections for the moment.
const ACCEPT_PAUSE: Duration = Duration::from_millis(200);

/// The port on which the API is heard.
pub struct ApiPort {
    listener: TcpListener,
    tls: Option<ApiCertificate>,
}

impl ApiPort {
    /// Takes the port, and reads the certificate.
    ///
    /// # Errors
    ///
    /// When the port is in use, or the certificate or its key cannot be used.
    pub async fn open(config: &ApiConfig) -> anyhow::Result<ApiPort> {
        let tls = config.tls.as_ref().map(ApiCertificate::read).transpose()?;
        let listener = TcpListener::bind(config.listen).await;
        let listener = listener.with_context(|| format!("cannot listen on {} (api.listen)", config.listen))?;
        Ok(ApiPort { listener, tls })
    }

    /// Returns the certificate that clients are shown, if they are shown one.
    pub fn certificate(&self) -> Option<&ApiCertificate> {
        self.tls.as_ref()
    }

    /// Returns the address on which it is heard.
    ///
    /// # Errors
    ///
    /// When the system does not tell it.
    pub fn address(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// Returns the URL by which it is reached on this machine.
    ///
    /// # Errors
    ///
    /// When the system does not tell the address.
    pub fn url(&self) -> anyhow::Result<String> {
        let scheme = if self.tls.is_some() { "https" } else { "http" };
        let mut address = self.address()?;
        if address.ip().is_unspecified() {
            let loopback = if address.is_ipv4() { [127, 0, 0, 1].into() } else { std::net::Ipv6Addr::LOCALHOST.into() };
            address.set_ip(loopback);
        }
        Ok(format!("{scheme}://{address}"))
    }

    /// Serves requests until the pool shuts down.
    pub async fn serve(self, router: Router, draining: watch::Receiver<bool>) {
        let places = Arc::new(Semaphore::new(MAX_CONNECTIONS));
        let mut connections = JoinSet::new();
        let mut ending = draining.clone();
        loop {
            // A place first: who was accepted is not forgotten when the wait is given up.
            let accepted = async {
                let place = Arc::clone(&places).acquire_owned().await;
                (self.listener.accept().await, place)
            };
            let accepted = tokio::select! {
                () = ended(&mut ending) => break,
                Some(_) = connections.join_next() => continue,
                accepted = accepted => accepted,
            };
            match accepted {
                (Ok((stream, peer)), Ok(place)) => {
                    // The certificate that is in force now.
                    let tls = self.tls.as_ref().map(ApiCertificate::acceptor);
                    let (router, draining) = (router.clone(), draining.clone());
                    connections.spawn(async move {
                        converse(stream, peer, tls, router, draining).await;
                        drop(place);
                    });
                }
                (Ok(_), Err(_)) => break,
                (Err(error), _) => {
                    debug!(%error, "connection of the API could not be accepted");
                    sleep(ACCEPT_PAUSE).await;
                }
            }
        }
        let ended = timeout(END_TIMEOUT, async { while connections.join_next().await.is_some() {} });
        if ended.await.is_err() {
            warn!("connections of the API were cut off");
        }
    }
}

async fn converse(
    stream: TcpStream,
    peer: SocketAddr,
    tls: Option<TlsAcceptor>,
    router: Router,
    draining: watch::Receiver<bool>,
) {
    // Answers are short, and events shall arrive when they happen.
    let _ = stream.set_nodelay(true);
    match tls {
        None => answer_all(stream, peer, router, draining).await,
        Some(tls) => match timeout(HEAD_TIMEOUT, tls.accept(stream)).await {
            Ok(Ok(stream)) => answer_all(stream, peer, router, draining).await,
            Ok(Err(error)) => debug!(%peer, %error, "connection of the API without TLS"),
            Err(_) => debug!(%peer, "connection of the API was silent for too long"),
        },
    }
}

/// Answers the requests of one connection, one after the other.
async fn answer_all(
    stream: impl AsyncRead + AsyncWrite + Unpin,
    peer: SocketAddr,
    router: Router,
    mut draining: watch::Receiver<bool>,
) {
    let service = hyper::service::service_fn(move |request: Request<Incoming>| {
        let mut request = request.map(Body::new);
        request.extensions_mut().insert(ConnectInfo(peer));
        router.clone().oneshot(request)
    });
    let mut builder = http1::Builder::new();
    let builder = builder.timer(TokioTimer::new()).header_read_timeout(HEAD_TIMEOUT);
    let mut connection = std::pin::pin!(builder.serve_connection(TokioIo::new(stream), service));
    let outcome = tokio::select! {
        outcome = connection.as_mut() => outcome,
        () = ended(&mut draining) => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = outcome {
        debug!(%peer, %error, "connection of the API ended");
    }
}

/// Waits until the pool shuts down.
async fn ended(draining: &mut watch::Receiver<bool>) {
    let _ = draining.wait_for(|draining| *draining).await;
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::{
        fs::{self, Permissions},
        os::unix::fs::PermissionsExt,
    };

    use axum::routing::get;
    use tempfile::TempDir;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;
    use crate::{
        api::certificate::tests::{connect, issue},
        config::api::TlsFiles,
    };

    struct Served {
        address: SocketAddr,
        draining: watch::Sender<bool>,
        task: tokio::task::JoinHandle<()>,
    }

    async fn served(tls: Option<TlsFiles>) -> Served {
        let config = ApiConfig { listen: ([127, 0, 0, 1], 0).into(), tls, requests_per_second: 1 };
        let port = ApiPort::open(&config).await.unwrap();
        let address = port.address().unwrap();
        let (draining, drained) = watch::channel(false);
        let router =
            Router::new().route("/", get(async |ConnectInfo(peer): ConnectInfo<SocketAddr>| peer.ip().to_string()));
        Served { address, draining, task: tokio::spawn(port.serve(router, drained)) }
    }

    async fn get_root(stream: &mut (impl AsyncRead + AsyncWrite + Unpin)) -> String {
        stream.write_all(b"GET / HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n").await.unwrap();
        let mut answer = Vec::new();
        // Not every server says goodbye.
        let _ = stream.read_to_end(&mut answer).await;
        String::from_utf8(answer).unwrap()
    }

    #[tokio::test]
    async fn request_is_answered_and_handlers_know_who_asks() {
        let served = served(None).await;
        let mut stream = TcpStream::connect(served.address).await.unwrap();
        let answer = get_root(&mut stream).await;
        assert!(answer.starts_with("HTTP/1.1 200 OK") && answer.ends_with("127.0.0.1"), "{answer}");
    }

    #[tokio::test]
    async fn with_a_certificate_the_api_speaks_tls_and_nothing_else() {
        let folder = TempDir::new().unwrap();
        let (files, root) = issue(folder.path());
        let served = served(Some(files)).await;
        let mut stream = connect(served.address, root).await.unwrap();
        assert!(get_root(&mut stream).await.starts_with("HTTP/1.1 200 OK"));
        let mut plain = TcpStream::connect(served.address).await.unwrap();
        assert!(!get_root_bytes(&mut plain).await.starts_with(b"HTTP"));
    }

    async fn get_root_bytes(stream: &mut TcpStream) -> Vec<u8> {
        stream.write_all(b"GET / HTTP/1.1\r\nhost: localhost\r\n\r\n").await.unwrap();
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer).await;
        answer
    }

    #[tokio::test]
    async fn key_that_others_may_read_is_refused() {
        let folder = TempDir::new().unwrap();
        let (files, _) = issue(folder.path());
        fs::set_permissions(&files.key, Permissions::from_mode(0o644)).unwrap();
        let config = ApiConfig { listen: ([127, 0, 0, 1], 0).into(), tls: Some(files), requests_per_second: 1 };
        let Err(error) = ApiPort::open(&config).await else { panic!("it was taken") };
        assert!(error.to_string().contains("chmod 600"), "{error:#}");
    }

    #[tokio::test]
    async fn key_of_another_certificate_is_refused() {
        let [one, other] = [TempDir::new().unwrap(), TempDir::new().unwrap()];
        let ((one, _), (other, _)) = (issue(one.path()), issue(other.path()));
        let tls = Some(TlsFiles { certificate: one.certificate, key: other.key });
        let config = ApiConfig { listen: ([127, 0, 0, 1], 0).into(), tls, requests_per_second: 1 };
        let Err(error) = ApiPort::open(&config).await else { panic!("it was taken") };
        assert!(error.to_string().contains("does not go with"), "{error:#}");
    }

    #[tokio::test]
    async fn silent_connections_do_not_keep_the_pool_from_ending() {
        let served = served(None).await;
        let _silent = TcpStream::connect(served.address).await.unwrap();
        sleep(Duration::from_millis(50)).await;
        served.draining.send_replace(true);
        timeout(END_TIMEOUT * 2, served.task).await.unwrap().unwrap();
    }
}
