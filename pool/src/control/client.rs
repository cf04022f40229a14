//! The command's end of the control socket.

use std::{
    io,
    path::{Path, PathBuf},
};

use anyhow::{Context, bail};
use tokio::{
    io::{AsyncWriteExt, BufReader},
    net::UnixStream,
    time::timeout,
};

use super::{REPLY_TIMEOUT, Reply, SOCKET_FILE, TRANSFER_TIMEOUT, line_of, read_line};
use crate::operations::{Outcome, Refusal, Request};

/// No pool runs with a data folder.
#[derive(Debug, thiserror::Error)]
#[error("no pool runs in {}: only a running one can do this", data_dir.display())]
pub struct NoPool {
    /// The folder.
    pub data_dir: PathBuf,
}

/// Whether a pool listens in a data folder.
pub async fn is_served(data_dir: &Path) -> bool {
    UnixStream::connect(data_dir.join(SOCKET_FILE)).await.is_ok()
}

/// Asks the pool that runs with a data folder for what only a running one can do.
///
/// # Errors
///
/// [`NoPool`] when none runs; when the socket may not be used, the pool does not answer, or it refuses.
pub async fn ask_running(data_dir: &Path, request: &Request) -> anyhow::Result<Outcome> {
    match ask(data_dir, request).await? {
        Some(reply) => Ok(reply?),
        None => Err(NoPool { data_dir: data_dir.to_owned() }.into()),
    }
}

/// Asks the pool that runs with a data folder; `None` if none listens there.
///
/// # Errors
///
/// When the socket may not be used, or the pool does not answer.
pub async fn ask(data_dir: &Path, request: &Request) -> anyhow::Result<Option<Result<Outcome, Refusal>>> {
    let path = data_dir.join(SOCKET_FILE);
    let stream = match UnixStream::connect(&path).await {
        Ok(stream) => stream,
        // Nobody ever listened there, or whoever did was killed and left the file.
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused) => {
            return Ok(None);
        }
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
            bail!("{} is for the user that runs the pool: run the command as that user", path.display())
        }
        Err(error) => return Err(error).with_context(|| format!("cannot connect to {}", path.display())),
    };
    let (reader, mut writer) = stream.into_split();
    let line = line_of(request).context("cannot write the request")?;
    let sent = timeout(TRANSFER_TIMEOUT, writer.write_all(&line)).await;
    sent.context("the running pool takes no request: look at its log")?.context("cannot send to the running pool")?;
    let reply = timeout(REPLY_TIMEOUT, read_line(&mut BufReader::new(reader))).await;
    let unanswered = "the running pool has not answered; ask again, for what it has done is not done twice";
    let Some(line) = reply.context(unanswered)?.context(unanswered)? else { bail!(unanswered) };
    let reply: Reply = serde_json::from_slice(&line)
        .context("the running pool is of another version: use the `adit` that it was started with")?;
    Ok(Some(reply.into()))
}
