//! The certificate that the API shows: read from its files, and taken anew from them while the pool runs.
//!
//! A connection keeps the one with which it began. What cannot be used never takes the place of what is in force.

use std::{
    fmt,
    fs::File,
    io::BufReader,
    ops::Range,
    path::Path,
    sync::{Arc, PoisonError, RwLock},
};

use anyhow::{Context, ensure};
use jiff::Timestamp;
use secrecy::ExposeSecret;
use tokio_rustls::{
    TlsAcceptor,
    rustls::{
        ServerConfig,
        crypto::ring,
        pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
    },
};
use x509_cert::{Certificate, der::Decode, time::Time};

use crate::config::{
    api::{TLS_KEY, TlsFiles},
    secret_file,
};

/// A certificate that ends sooner should have been renewed, in seconds.
pub const LITTLE_VALIDITY_S: i64 = 14 * 86_400;

/// The certificate in force; all clones are the same.
#[derive(Clone)]
pub struct ApiCertificate(Arc<RwLock<Identity>>);

/// A certificate with its key, as it was read.
#[derive(Clone)]
pub(crate) struct Identity {
    chain: Vec<CertificateDer<'static>>,
    /// In seconds since 1970 UTC.
    validity: Range<i64>,
    acceptor: TlsAcceptor,
}

impl ApiCertificate {
    /// Reads a certificate and its key.
    ///
    /// # Errors
    ///
    /// When a file cannot be read, others may read the key, or it does not go with the certificate.
    pub fn read(files: &TlsFiles) -> anyhow::Result<Self> {
        Ok(Self(Arc::new(RwLock::new(Identity::of(files)?))))
    }

    /// Returns when it ends, in seconds since 1970 UTC.
    pub fn ends_at_s(&self) -> i64 {
        self.0.read().unwrap_or_else(PoisonError::into_inner).validity.end
    }

    /// Returns what a new connection is accepted with.
    pub(super) fn acceptor(&self) -> TlsAcceptor {
        self.0.read().unwrap_or_else(PoisonError::into_inner).acceptor.clone()
    }

    /// Reads the files again. Returns what is there now, if it is another certificate than the one in force, which it may
    /// [replace](Self::replace).
    ///
    /// # Errors
    ///
    /// As [`ApiCertificate::read`], and when the other one is not valid at this time.
    pub(crate) fn read_again(&self, files: &TlsFiles, now: Timestamp) -> anyhow::Result<Option<Identity>> {
        let read = Identity::of(files)?;
        if read.chain == self.0.read().unwrap_or_else(PoisonError::into_inner).chain {
            return Ok(None);
        }
        let file = files.certificate.display();
        ensure!(
            read.validity.contains(&now.as_second()),
            "api.tls_certificate: {file} is valid from {} until {}, and so not now",
            moment(read.validity.start),
            moment(read.validity.end)
        );
        Ok(Some(read))
    }

    /// Shows another certificate to connections that begin from now on.
    pub(crate) fn replace(&self, read: Identity) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = read;
    }
}

impl fmt::Debug for ApiCertificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ApiCertificate({self})")
    }
}

impl fmt::Display for ApiCertificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.read().unwrap_or_else(PoisonError::into_inner).fmt(f)
    }
}

impl fmt::Display for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "valid until {}", moment(self.validity.end))
    }
}

impl Identity {
    fn of(files: &TlsFiles) -> anyhow::Result<Self> {
        let TlsFiles { certificate, key } = files;
        let chain = certificates(certificate)?;
        let secret = secret_file::read_long(TLS_KEY, key)?;
        let secret = PrivateKeyDer::from_pem_slice(secret.expose_secret().as_bytes())
            .with_context(|| format!("{TLS_KEY}: {} holds no key in PEM", key.display()))?;
        let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()?
            .with_no_client_auth()
            .with_single_cert(chain.clone(), secret)
            .with_context(|| format!("{} does not go with {}", key.display(), certificate.display()))?;
        // The first is the one that clients are shown for the pool's own.
        let own = Certificate::from_der(&chain[0])
            .with_context(|| format!("api.tls_certificate: {} is no certificate", certificate.display()))?;
        let validity = own.tbs_certificate().validity();
        let seconds = |time: Time| i64::try_from(time.to_unix_duration().as_secs()).unwrap_or(i64::MAX);
        let validity = seconds(validity.not_before)..seconds(validity.not_after);
        Ok(Self { chain, validity, acceptor: TlsAcceptor::from(Arc::new(config)) })
    }
}

/// Returns when the first of a configuration's certificates begins and ends, in seconds since 1970 UTC.
///
/// # Errors
///
/// What the API would not start for: a file that cannot be read, or a key that does not go with the certificate.
pub fn certificate_validity(files: &TlsFiles) -> anyhow::Result<Range<i64>> {
    Ok(Identity::of(files)?.validity)
}

/// Reads certificates, of which there is one at least.
fn certificates(file: &Path) -> anyhow::Result<Vec<CertificateDer<'static>>> {
    let cannot = || format!("api.tls_certificate: cannot read {}", file.display());
    let chain: Vec<CertificateDer> =
        CertificateDer::pem_reader_iter(BufReader::new(File::open(file).with_context(cannot)?))
            .collect::<Result<_, _>>()
            .with_context(cannot)?;
    ensure!(!chain.is_empty(), "api.tls_certificate: {} holds no certificate in PEM", file.display());
    Ok(chain)
}

fn moment(second: i64) -> String {
    Timestamp::from_second(second).map_or_else(|_| "a far day".to_owned(), |at| at.to_string())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
pub(crate) mod tests {
    use std::{
        fs::{self, Permissions},
        io,
        net::SocketAddr,
        os::unix::fs::PermissionsExt,
    };

    use rcgen::{CertificateParams, KeyPair, date_time_ymd};
    use tempfile::TempDir;
    use tokio::net::TcpStream;
    use tokio_rustls::{
        TlsConnector,
        client::TlsStream,
        rustls::{ClientConfig, RootCertStore},
    };

    use super::*;

    /// Writes the files of a new certificate for localhost, and returns it.
    pub(crate) fn issue(folder: &Path) -> (TlsFiles, CertificateDer<'static>) {
        issue_until(folder, 4000)
    }

    /// The same of one that ends with the beginning of a year.
    pub(crate) fn issue_until(folder: &Path, year: i32) -> (TlsFiles, CertificateDer<'static>) {
        let key = KeyPair::generate().unwrap();
        let mut parameters = CertificateParams::new(["localhost".to_owned()]).unwrap();
        (parameters.not_before, parameters.not_after) = (date_time_ymd(2000, 1, 1), date_time_ymd(year, 1, 1));
        let certificate = parameters.self_signed(&key).unwrap();
        let files = TlsFiles { certificate: folder.join("api.crt"), key: folder.join("api.key") };
        fs::write(&files.certificate, certificate.pem()).unwrap();
        fs::write(&files.key, key.serialize_pem()).unwrap();
        fs::set_permissions(&files.key, Permissions::from_mode(0o600)).unwrap();
        (files, certificate.der().clone())
    }

    /// Connects as a client that trusts one certificate.
    pub(crate) async fn connect(
        address: SocketAddr,
        trusted: CertificateDer<'static>,
    ) -> io::Result<TlsStream<TcpStream>> {
        let mut roots = RootCertStore::empty();
        roots.add(trusted).unwrap();
        let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        let stream = TcpStream::connect(address).await.unwrap();
        TlsConnector::from(Arc::new(config)).connect("localhost".try_into().unwrap(), stream).await
    }

    #[test]
    fn certificate_says_until_when_it_is_valid() {
        let folder = TempDir::new().unwrap();
        let (files, _) = issue_until(folder.path(), 2040);
        assert_eq!(certificate_validity(&files).unwrap(), 946_684_800..2_208_988_800);
        assert_eq!(ApiCertificate::read(&files).unwrap().to_string(), "valid until 2040-01-01T00:00:00Z");
        fs::write(&files.certificate, "nothing").unwrap();
        assert!(certificate_validity(&files).unwrap_err().to_string().contains("no certificate"));
    }

    #[test]
    fn files_that_are_the_same_or_no_use_replace_nothing() {
        let folder = TempDir::new().unwrap();
        let (files, _) = issue(folder.path());
        let (certificate, now) = (ApiCertificate::read(&files).unwrap(), Timestamp::now());
        assert!(certificate.read_again(&files, now).unwrap().is_none());
        let key = fs::read(&files.key).unwrap();
        issue_until(folder.path(), 2020);
        let Err(over) = certificate.read_again(&files, now) else { panic!("it is over") };
        assert!(over.to_string().contains("until 2020-01-01T00:00:00Z, and so not now"), "{over}");
        issue_until(folder.path(), 3000);
        fs::write(&files.key, key).unwrap();
        assert!(certificate.read_again(&files, now).is_err(), "the key is that of the old one");
        assert_eq!(certificate.to_string(), "valid until 4000-01-01T00:00:00Z");
    }
}
