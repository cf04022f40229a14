//! Sessions of browsers: what a cookie stands for after a log-in.
//!
//! A cookie holds 256 random bits. Memory holds only their hash, with the token by which the session was opened: whether
//! that token is still in force is asked of the store at each request. Sessions end with the pool.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use bitcoin::secp256k1::rand::{RngCore, rngs::OsRng};
use payouts::access::{Digest, TokenId};

/// Whoever asks for nothing for so long is logged out. An open page that keeps up by itself asks.
pub(super) const IDLE: Duration = Duration::from_secs(3_600);
/// After so long, everybody is logged out.
pub(super) const LONGEST: Duration = Duration::from_secs(12 * 3_600);
/// Sessions at a time; a further one takes the place of the one that was used longest ago.
const MAX_SESSIONS: usize = 256;
/// The random bytes of a cookie.
const RANDOM_BYTES: usize = 32;

/// What a browser keeps: nobody can guess it.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Cookie(String);

impl Cookie {
    /// Makes a new one.
    pub(super) fn random() -> Cookie {
        let mut bytes = [0; RANDOM_BYTES];
        OsRng.fill_bytes(&mut bytes);
        Cookie(hex::encode(bytes))
    }

    /// Reads what a browser sends; none if it cannot be one of ours.
    pub(super) fn read(text: &str) -> Option<Cookie> {
        let fits = text.len() == 2 * RANDOM_BYTES && text.bytes().all(|byte| byte.is_ascii_hexdigit());
        fits.then(|| Cookie(text.to_owned()))
    }

    /// Returns it as the browser is told.
    pub(super) fn expose(&self) -> &str {
        &self.0
    }

    /// Returns what forms hold beside the cookie: who knows it has read a page, which no other site can.
    pub(super) fn form_key(&self) -> String {
        Digest::of(format!("form {}", self.0).as_bytes()).to_string()
    }

    fn digest(&self) -> Digest {
        Digest::of(self.0.as_bytes())
    }
}

/// What is told once, on the next page.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Notice {
    /// Whether something was done; else it was not.
    pub(super) is_done: bool,
    /// What.
    pub(super) text: String,
    /// A secret that is shown this once, such as a new token.
    pub(super) secret: Option<String>,
}

#[derive(Debug)]
struct Session {
    token: TokenId,
    began: Instant,
    used: Instant,
    notice: Option<Notice>,
}

/// The sessions.
#[derive(Debug)]
pub(super) struct Sessions {
    idle: Duration,
    longest: Duration,
    open: Mutex<HashMap<Digest, Session>>,
}

impl Sessions {
    /// Begins without any.
    pub(super) fn new(idle: Duration, longest: Duration) -> Sessions {
        Sessions { idle, longest, open: Mutex::default() }
    }

    /// Opens a session for a token, and returns its cookie.
    pub(super) fn open(&self, token: TokenId, now: Instant) -> Cookie {
        let cookie = Cookie::random();
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        open.retain(|_, session| self.is_alive(session, now));
        if open.len() >= MAX_SESSIONS
            && let Some(oldest) = open.iter().min_by_key(|(_, session)| session.used).map(|(digest, _)| *digest)
        {
            open.remove(&oldest);
        }
        open.insert(cookie.digest(), Session { token, began: now, used: now, notice: None });
        cookie
    }

    /// Returns the token of a cookie's session, which counts as used now.
    pub(super) fn token(&self, cookie: &Cookie, now: Instant) -> Option<TokenId> {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        let session = open.get_mut(&cookie.digest()).filter(|session| self.is_alive(session, now))?;
        session.used = now;
        Some(session.token)
    }

    /// Ends a session.
    pub(super) fn close(&self, cookie: &Cookie) {
        self.open.lock().unwrap_or_else(PoisonError::into_inner).remove(&cookie.digest());
    }

    /// Leaves something to be told on the next page, in the place of what was left before.
    pub(super) fn leave(&self, cookie: &Cookie, notice: Notice) {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(session) = open.get_mut(&cookie.digest()) {
            session.notice = Some(notice);
        }
    }

    /// Takes what was left.
    pub(super) fn take_notice(&self, cookie: &Cookie) -> Option<Notice> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner).get_mut(&cookie.digest())?.notice.take()
    }

    fn is_alive(&self, session: &Session, now: Instant) -> bool {
        now.saturating_duration_since(session.used) < self.idle
            && now.saturating_duration_since(session.began) < self.longest
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    const MINUTE: Duration = Duration::from_secs(60);
    const TOKEN: TokenId = TokenId::new(7);

    fn sessions() -> Sessions {
        Sessions::new(5 * MINUTE, 20 * MINUTE)
    }

    #[test]
    fn cookie_stands_for_the_token_until_it_is_closed() {
        let (sessions, now) = (sessions(), Instant::now());
        let cookie = sessions.open(TOKEN, now);
        assert_eq!(sessions.token(&cookie, now), Some(TOKEN));
        assert_eq!(sessions.token(&Cookie::random(), now), None);
        assert!(!format!("{sessions:?}").contains(cookie.expose()), "the cookie itself is in memory");
        sessions.close(&cookie);
        assert_eq!(sessions.token(&cookie, now), None);
    }

    #[test]
    fn session_ends_when_it_is_not_used_and_after_its_longest_time() {
        let (sessions, now) = (sessions(), Instant::now());
        let cookie = sessions.open(TOKEN, now);
        assert_eq!(sessions.token(&cookie, now + 5 * MINUTE), None);
        let cookie = sessions.open(TOKEN, now);
        for minute in (0..20).step_by(4) {
            assert_eq!(sessions.token(&cookie, now + minute * MINUTE), Some(TOKEN), "{minute}");
        }
        assert_eq!(sessions.token(&cookie, now + 20 * MINUTE), None);
    }

    #[test]
    fn number_of_sessions_is_bounded_and_the_least_used_gives_way() {
        let (sessions, now) = (sessions(), Instant::now());
        let second = Duration::from_millis(1);
        let cookies: Vec<_> = (0..MAX_SESSIONS as u32).map(|at| sessions.open(TOKEN, now + at * second)).collect();
        let later = now + MINUTE;
        assert!(sessions.token(&cookies[0], later).is_some());
        sessions.open(TOKEN, later);
        assert_eq!(sessions.open.lock().unwrap().len(), MAX_SESSIONS);
        assert!(sessions.token(&cookies[0], later).is_some(), "it was used just now");
        assert_eq!(sessions.token(&cookies[1], later), None);
    }

    #[test]
    fn notice_is_told_once() {
        let (sessions, now) = (sessions(), Instant::now());
        let cookie = sessions.open(TOKEN, now);
        let notice = Notice { is_done: true, text: "done".to_owned(), secret: None };
        sessions.leave(&cookie, notice.clone());
        assert_eq!(sessions.take_notice(&cookie), Some(notice));
        assert_eq!(sessions.take_notice(&cookie), None);
    }

    #[test]
    fn form_key_tells_nothing_of_the_cookie_and_differs_for_each() {
        let (one, other) = (Cookie::random(), Cookie::random());
        assert_ne!(one.form_key(), other.form_key());
        assert_ne!(one.form_key(), one.expose());
        assert!(Cookie::read(one.expose()) == Some(one));
        for wrong in ["", "00", &"g".repeat(64), &"0".repeat(65)] {
            assert!(Cookie::read(wrong).is_none(), "{wrong}");
        }
    }
}
