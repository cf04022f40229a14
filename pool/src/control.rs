//! The control socket: how a command reaches the running pool.
//!
//! A Unix socket in the data folder, for the pool's own user alone. A client writes one request in JSON a line and reads
//! one reply in JSON a line. What the requests mean belongs to [`crate::operations`].

mod client;
mod server;

use std::{io, time::Duration};

use serde::{Deserialize, Serialize};
use tokio::io::{AsyncBufRead, AsyncBufReadExt, AsyncReadExt};

pub(crate) use self::server::OTHERS_WRITE;
pub use self::{
    client::{NoPool, ask, ask_running, is_served},
    server::ControlSocket,
};
use crate::operations::{Outcome, Refusal};

/// The socket's name in the data folder.
pub const SOCKET_FILE: &str = "adit.sock";

/// The longest request or reply: the largest is a transaction to be signed, in hexadecimal.
const MAX_LINE_BYTES: u64 = 32 << 20;
/// Connections at a time; further ones wait to be accepted.
const MAX_CONNECTIONS: usize = 8;
/// How long a client may take to send a whole request, or to take a reply.
const TRANSFER_TIMEOUT: Duration = Duration::from_secs(30);
/// How long a client waits for a reply: longer than the pool takes to give up, so that it hears so.
const REPLY_TIMEOUT: Duration = Duration::from_secs(150);
/// How long connections may take to end when the pool shuts down.
const END_TIMEOUT: Duration = Duration::from_secs(5);

/// What comes back for a request.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Reply {
    /// It was done.
    Done(Box<Outcome>),
    /// It was not done.
    Refused(Refusal),
}

impl From<Result<Outcome, Refusal>> for Reply {
    fn from(outcome: Result<Outcome, Refusal>) -> Reply {
        outcome.map_or_else(Reply::Refused, |outcome| Reply::Done(Box::new(outcome)))
    }
}

impl From<Reply> for Result<Outcome, Refusal> {
    fn from(reply: Reply) -> Self {
        match reply {
            Reply::Done(outcome) => Ok(*outcome),
            Reply::Refused(refusal) => Err(refusal),
        }
    }
}

/// Reads a line of bounded length, without its end; `None` if the other side has closed before any byte of it.
async fn read_line(stream: &mut (impl AsyncBufRead + Unpin)) -> io::Result<Option<Vec<u8>>> {
    let mut line = Vec::new();
    stream.take(MAX_LINE_BYTES).read_until(b'\n', &mut line).await?;
    match line.pop() {
        None => Ok(None),
        Some(b'\n') => Ok(Some(line)),
        Some(_) if line.len() as u64 + 1 >= MAX_LINE_BYTES => {
            Err(io::Error::new(io::ErrorKind::InvalidData, format!("a line is longer than {MAX_LINE_BYTES} bytes")))
        }
        Some(_) => Err(io::ErrorKind::UnexpectedEof.into()),
    }
}

/// Returns a message as a line.
fn line_of(message: &impl Serialize) -> io::Result<Vec<u8>> {
    let mut line = serde_json::to_vec(message)?;
    line.push(b'\n');
    Ok(line)
}

#[cfg(test)]
mod tests;
