//! What a peer's first bytes say about it, and in plain words why a connection came to nothing.

use protocol::{connection::ConnectionError, noise::ACT_1_LEN};

use crate::stratum::{addresses::Refused, end::End};

/// First bytes that are kept: enough to tell protocols apart.
const KEPT: usize = 16;

/// The first bytes that a peer has sent.
#[derive(Clone, Copy, Debug, Default)]
pub struct Opening {
    kept: [u8; KEPT],
    len: usize,
    /// How many came, as far as they are a handshake's.
    received: usize,
}

/// How far a connection had come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Stage {
    /// The peer has not sent its part of the handshake.
    Connected,
    /// The pool has sent its own.
    Answered,
    /// It has told what it is and was taken.
    SetUp,
}

/// Why a connection ended or never began, for programs and for people.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reason {
    /// A name that stays.
    pub code: &'static str,
    /// What it was, in plain words.
    pub words: String,
}

impl Reason {
    fn new(code: &'static str, words: impl Into<String>) -> Reason {
        Reason { code, words: words.into() }
    }

    /// Returns why a connection was closed before anything was read of it.
    pub fn of_refusal(why: Refused) -> Reason {
        Reason::new(why.name(), why.to_string())
    }
}

impl Opening {
    /// Notes bytes that have come. Nothing happens once there were as many as a handshake takes.
    pub fn note(&mut self, bytes: &[u8]) {
        if self.received >= ACT_1_LEN {
            return;
        }
        let more = bytes.len().min(KEPT - self.len);
        self.kept[self.len..][..more].copy_from_slice(&bytes[..more]);
        self.len += more;
        self.received += bytes.len();
    }

    /// Says why a connection ended that had come so far.
    pub fn explain(&self, stage: Stage, end: &End) -> Reason {
        let ended = || Reason::new(End::NAMES[end.index()], end.to_string());
        if stage == Stage::SetUp
            || matches!(end, End::Drained | End::Displaced | End::Kicked | End::Moved | End::Store(_) | End::Orphaned)
        {
            return ended();
        }
        if let Some(reason) = self.other_protocol() {
            return reason;
        }
        let is_gone = matches!(end, End::Closed | End::Socket(_));
        let is_late = matches!(end, End::Protocol(ConnectionError::HandshakeTimeout));
        match stage {
            Stage::Connected if self.received == 0 && is_gone => {
                Reason::new("silent", "closed without a word: a port scan, or a check whether the port is open")
            }
            Stage::Connected if self.received == 0 && is_late => {
                Reason::new("silent", "sent nothing until its time for the handshake was over")
            }
            Stage::Connected if self.received < ACT_1_LEN && (is_gone || is_late) => {
                let words = format!("gave up during the handshake, after {} of {ACT_1_LEN} bytes", self.received);
                Reason::new("handshake_unfinished", words)
            }
            // The pool has proved itself, and the client leaves without a word.
            Stage::Answered if is_gone => Reason::new(
                "another_key",
                "closed when the pool had shown its certificate: the client has probably pinned another authority key, or \
                 its clock is wrong",
            ),
            Stage::Answered if matches!(end, End::Protocol(ConnectionError::SetupTimeout)) => {
                Reason::new("setup_timeout", "shook hands, and then did not say what it is in time")
            }
            _ => ended(),
        }
    }

    /// Says what the peer speaks, if that is something else than Stratum V2. Its first bytes are random, so that a few of
    /// them tell nothing; these are long enough to be no chance.
    fn other_protocol(&self) -> Option<Reason> {
        let kept = &self.kept[..self.len];
        let is_text = kept.len() >= 8 && kept.iter().all(|byte| byte.is_ascii_graphic() || byte.is_ascii_whitespace());
        let begins = |words: &[&str]| words.iter().any(|word| kept.starts_with(word.as_bytes()));
        match kept {
            [b'{', ..] if is_text => {
                Some(Reason::new("stratum_v1", "sent Stratum V1 to a Stratum V2 port: it needs a translation proxy"))
            }
            [0x16, 3, 0..=4, _, _, 1, ..] => Some(Reason::new("tls", "sent TLS: the port speaks Stratum V2 (Noise)")),
            _ if is_text && begins(&["GET ", "HEAD ", "POST ", "PUT ", "OPTIONS ", "CONNECT ", "PRI * "]) => {
                Some(Reason::new("http", "sent HTTP: the port is for miners"))
            }
            _ if is_text && begins(&["PROXY "]) || kept.starts_with(b"\r\n\r\n\0\r\nQUIT\n") => Some(Reason::new(
                "proxy_protocol",
                "sent a header of the PROXY protocol: the balancer in front must not",
            )),
            _ if is_text && begins(&["SSH-"]) => Some(Reason::new("ssh", "sent SSH: the port is for miners")),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::*;

    fn opening(bytes: &[u8]) -> Opening {
        let mut opening = Opening::default();
        // However it is cut.
        bytes.chunks(5).for_each(|chunk| opening.note(chunk));
        opening
    }

    fn code(bytes: &[u8], stage: Stage, end: &End) -> &'static str {
        opening(bytes).explain(stage, end).code
    }

    #[test]
    fn other_protocols_are_known_by_their_first_bytes() {
        let v1 = br#"{"id": 1, "method": "mining.subscribe", "params": ["cgminer/4.11.1"]}"#;
        let hello = [&[0x16, 3, 1, 2, 0, 1, 0, 1, 0xfc][..], &[7; 60]].concat();
        for (bytes, expected) in [
            (&v1[..], "stratum_v1"),
            (&hello, "tls"),
            (b"GET / HTTP/1.1\r\nhost: pool\r\n\r\n", "http"),
            (b"PROXY TCP4 192.0.2.1 192.0.2.2 1 2\r\n", "proxy_protocol"),
            (b"\r\n\r\n\0\r\nQUIT\n\x21\x11", "proxy_protocol"),
            (b"SSH-2.0-OpenSSH_9.9\r\n", "ssh"),
        ] {
            // 64 bytes of anything look like a handshake, so that it may have come as far as that.
            for stage in [Stage::Connected, Stage::Answered] {
                for end in [End::Closed, ConnectionError::HandshakeTimeout.into(), ConnectionError::SetupTimeout.into()]
                {
                    assert_eq!(code(bytes, stage, &end), expected, "{stage:?} {end}");
                }
            }
        }
    }

    #[test]
    fn first_bytes_that_are_random_are_not_taken_for_another_protocol() {
        for first in [b'{', 0x16, b'G', b'P', b'S'] {
            let mut act_1 = [0xa5; ACT_1_LEN];
            act_1[0] = first;
            assert_eq!(code(&act_1, Stage::Answered, &End::Closed), "another_key");
        }
    }

    #[test]
    fn reason_says_how_far_the_client_came() {
        let reset = End::Socket(io::ErrorKind::ConnectionReset.into());
        let late = ConnectionError::HandshakeTimeout.into();
        assert_eq!(code(b"", Stage::Connected, &End::Closed), "silent");
        assert_eq!(code(b"", Stage::Connected, &late), "silent");
        assert_eq!(code(&[9; 20], Stage::Connected, &reset), "handshake_unfinished");
        assert_eq!(code(&[9; 20], Stage::Connected, &late), "handshake_unfinished");
        assert_eq!(code(&[9; 64], Stage::Answered, &reset), "another_key");
        assert_eq!(code(&[9; 64], Stage::Answered, &ConnectionError::SetupTimeout.into()), "setup_timeout");
        let refused = ConnectionError::SetupRefused { code: "unsupported-protocol" }.into();
        assert_eq!(code(&[9; 64], Stage::Answered, &refused), "setup_refused");
        assert_eq!(code(&[9; 64], Stage::SetUp, &End::Closed), "closed");
        // What the pool itself ended tells nothing of the client.
        assert_eq!(code(b"GET / HTTP/1.1\r\n\r\n", Stage::Connected, &End::Displaced), "displaced");
        assert!(opening(&[9; 64]).explain(Stage::Answered, &End::Closed).words.contains("probably"));
    }
}
