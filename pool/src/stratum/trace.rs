//! What a client and the pool say to each other for a minute, decoded, for an operator who wants to know.
//!
//! Messages hold no secret: keys are of the layer below. A connection that nobody traces pays for it with one look at an
//! empty field for each message.

use std::{
    fmt,
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use protocol::{
    connection::ServerConnection,
    framing::Header,
    messages::{Message, MessageSet, mining::ServerMessage},
};

use crate::mining::session::Outbox;

/// How long messages are written down.
pub const LENGTH: Duration = Duration::from_secs(60);
/// Messages that are written down at most. Further ones are counted.
const MAX_MESSAGES: usize = 2_000;
/// Bytes of one message's text; a job for extended channels can be long.
const MAX_TEXT: usize = 1_000;
/// Bytes of all texts.
const MAX_TEXTS: usize = 256 * 1024;

/// A trace of one connection.
#[derive(Debug)]
pub struct Trace {
    begun: Instant,
    begun_at_ms: i64,
    written: Mutex<Written>,
}

/// What was said while a connection was traced.
#[derive(Clone, Debug, Default)]
pub struct Written {
    /// The messages, in their order.
    pub messages: Vec<TracedMessage>,
    /// How many more there were than fit.
    pub left_out: u64,
    size: usize,
}

/// A message of either side.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TracedMessage {
    /// When, in milliseconds since 1970 UTC.
    pub at_ms: i64,
    /// Whether the client has said it.
    pub of_client: bool,
    /// The message, decoded; cut if it is long.
    pub text: String,
}

impl Trace {
    /// Begins `now`, which is `now_ms` by the clock.
    pub fn new(now: Instant, now_ms: i64) -> Trace {
        Trace { begun: now, begun_at_ms: now_ms, written: Mutex::default() }
    }

    /// Returns when it began, in milliseconds since 1970 UTC.
    pub fn begun_at_ms(&self) -> i64 {
        self.begun_at_ms
    }

    /// Tells whether it is over.
    pub fn is_over(&self, now: Instant) -> bool {
        now.saturating_duration_since(self.begun) >= LENGTH
    }

    /// Returns what was said so far.
    pub fn written(&self) -> Written {
        self.locked().clone()
    }

    /// Writes down what was said.
    pub fn write(&self, of_client: bool, message: &impl fmt::Debug, now: Instant) {
        if self.is_over(now) {
            return;
        }
        let mut written = self.locked();
        if written.messages.len() >= MAX_MESSAGES || written.size >= MAX_TEXTS {
            written.left_out += 1;
            return;
        }
        let mut text = format!("{message:?}");
        if text.len() > MAX_TEXT {
            text.truncate(text.floor_char_boundary(MAX_TEXT));
            text.push('\u{2026}');
        }
        let after = now.saturating_duration_since(self.begun).as_millis();
        let at_ms = self.begun_at_ms.saturating_add(after as i64);
        written.size += text.len();
        written.messages.push(TracedMessage { at_ms, of_client, text });
    }

    fn locked(&self) -> MutexGuard<'_, Written> {
        self.written.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What goes out to a client, with somebody who may look on.
pub(super) struct Outgoing<'a> {
    pub(super) protocol: &'a mut ServerConnection,
    pub(super) trace: Option<&'a Trace>,
}

impl Outbox for Outgoing<'_> {
    fn send_encoded<M: Message>(&mut self, encode: impl FnOnce(&mut Vec<u8>)) {
        let Some(trace) = self.trace else { return self.protocol.send_encoded::<M>(encode) };
        let mut payload = Vec::new();
        encode(&mut payload);
        let header = Header::of::<M>(payload.len());
        match header.and_then(|header| ServerMessage::decode(header, &payload, &[]).ok()) {
            Some(message) => trace.write(false, &message, Instant::now()),
            None => trace.write(false, &format_args!("{} of {} bytes", M::NAME, payload.len()), Instant::now()),
        }
        self.protocol.send_encoded::<M>(|out| out.extend_from_slice(&payload));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn trace_is_bounded_in_messages_and_bytes() {
        let now = Instant::now();
        let many = Trace::new(now, 5);
        (0..MAX_MESSAGES + 3).for_each(|number| many.write(true, &number, now));
        assert_eq!((many.written().messages.len(), many.written().left_out), (MAX_MESSAGES, 3));
        let long = Trace::new(now, 5);
        let text = "\u{e4}".repeat(MAX_TEXT);
        (0..1_000).for_each(|_| long.write(false, &text, now));
        let written = long.written();
        let size: usize = written.messages.iter().map(|message| message.text.len()).sum();
        assert!(size <= MAX_TEXTS + MAX_TEXT + 8 && written.left_out > 0, "{size}");
        assert!(written.messages.iter().all(|message| message.text.len() <= MAX_TEXT + 3));
    }

    #[test]
    fn trace_ends_after_a_minute() {
        let now = Instant::now();
        let trace = Trace::new(now, 5);
        assert!(!trace.is_over(now + LENGTH - Duration::from_millis(1)));
        assert!(trace.is_over(now + LENGTH));
        trace.write(true, &"SubmitShares", now + Duration::from_secs(2));
        assert_eq!(trace.written().messages[0].at_ms, 2_005);
    }
}
