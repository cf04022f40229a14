//! Where operators are heard, and what they are shown there.

use std::net::SocketAddr;

use jiff::Timestamp;

use super::{CheckId, Finding, machine};
use crate::{
    api::{LITTLE_VALIDITY_S, certificate_validity},
    config::{Config, api::TlsFiles},
};

pub(super) async fn check(config: &Config) -> Vec<Finding> {
    let (listen, tls) = (config.api.listen, config.api.tls.as_ref());
    let port = machine::port(CheckId::ApiPort, listen, &config.data_dir).await;
    vec![in_sight(port, listen, tls.is_some()), certificate(tls, Timestamp::now().as_second())]
}

/// A port in order is none if tokens can be read on the way to it.
fn in_sight(port: Finding, listen: SocketAddr, has_tls: bool) -> Finding {
    if port.cure.is_some() || has_tls || listen.ip().is_loopback() {
        return port;
    }
    let message = format!("{listen} can be reached from elsewhere without TLS: something else must encrypt");
    Finding::warning(CheckId::ApiPort, message)
}

fn certificate(tls: Option<&TlsFiles>, now_s: i64) -> Finding {
    let Some(files) = tls else { return Finding::ok(CheckId::ApiCertificate, "none is set: plain HTTP") };
    match certificate_validity(files) {
        Err(error) => Finding::error(CheckId::ApiCertificate, format!("{error:#}")),
        Ok(validity) => judge(&files.certificate.display().to_string(), validity.start, validity.end, now_s),
    }
}

fn judge(file: &str, begins_s: i64, ends_s: i64, now_s: i64) -> Finding {
    let at = |second| Timestamp::from_second(second).map_or_else(|_| "a far day".to_owned(), |at| at.to_string());
    match ends_s - now_s {
        _ if now_s < begins_s => {
            Finding::error(CheckId::ApiCertificate, format!("{file} is valid from {} on", at(begins_s)))
        }
        ..=0 => Finding::error(CheckId::ApiCertificate, format!("{file} was valid until {}", at(ends_s))),
        1..LITTLE_VALIDITY_S => {
            Finding::warning(CheckId::ApiCertificate, format!("{file} is valid until {}", at(ends_s)))
        }
        _ => Finding::ok(CheckId::ApiCertificate, format!("{file} is valid until {}", at(ends_s))),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::check::Severity;

    #[test]
    fn certificate_is_judged_by_what_is_left_of_it() {
        for (now_s, severity) in [
            (-1, Severity::Error),
            (0, Severity::Ok),
            (10 * LITTLE_VALIDITY_S - LITTLE_VALIDITY_S, Severity::Ok),
            (9 * LITTLE_VALIDITY_S + 1, Severity::Warning),
            (10 * LITTLE_VALIDITY_S, Severity::Error),
        ] {
            assert_eq!(judge("api.crt", 0, 10 * LITTLE_VALIDITY_S, now_s).severity, severity, "{now_s}");
        }
        let folder = tempfile::tempdir().unwrap();
        let files = TlsFiles { certificate: folder.path().join("api.crt"), key: folder.path().join("api.key") };
        assert_eq!(certificate(Some(&files), 0).severity, Severity::Error);
        assert_eq!(certificate(None, 0).severity, Severity::Ok);
    }

    #[test]
    fn port_in_sight_of_others_without_tls_is_a_warning() {
        let judged = |listen: &str, has_tls| {
            let free = Finding::ok(CheckId::ApiPort, "free");
            in_sight(free, listen.parse().unwrap(), has_tls).severity
        };
        assert_eq!(judged("127.0.0.1:1", false), Severity::Ok);
        assert_eq!(judged("[::1]:1", false), Severity::Ok);
        assert_eq!(judged("0.0.0.0:1", true), Severity::Ok);
        assert_eq!(judged("0.0.0.0:1", false), Severity::Warning);
        let taken = in_sight(Finding::error(CheckId::ApiPort, "taken"), "0.0.0.0:1".parse().unwrap(), false);
        assert_eq!(taken.severity, Severity::Error);
    }
}
