//! The running pool's end of the control socket.

use std::{
    fs::{self, Permissions},
    os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt},
    path::{Path, PathBuf},
};

use anyhow::{Context, bail};
use tokio::{
    io::{AsyncWriteExt, BufReader},
    net::{UnixListener, UnixStream},
    sync::watch,
    task::JoinSet,
    time::timeout,
};
use tracing::{debug, warn};

use super::{END_TIMEOUT, MAX_CONNECTIONS, Reply, SOCKET_FILE, TRANSFER_TIMEOUT, line_of, read_line};
use crate::operations::{Actor, Desk, Refusal, RefusalCode, Request};

/// The folder in which the socket is made before it gets its place: nobody else can reach into it.
const NURSERY: &str = "adit.sock.new";
/// The socket's permissions: its owner alone.
const SOCKET_MODE: u32 = 0o600;
/// Permission bits by which others than the owner may change a folder.
pub(crate) const OTHERS_WRITE: u32 = 0o022;
/// The longest path of a socket on Linux, with the zero at its end.
const MAX_PATH_BYTES: usize = 108;

/// The socket in the data folder. The file is removed when this is dropped.
#[derive(Debug)]
pub struct ControlSocket {
    listener: UnixListener,
    path: PathBuf,
    /// The user that the pool runs as.
    uid: u32,
}

impl ControlSocket {
    /// Listens in a data folder, in the place of whatever an earlier run has left there. The caller holds the folder's
    /// lock, so no other pool listens.
    ///
    /// # Errors
    ///
    /// When others may change the folder, its path is too long for a socket, or the socket cannot be made.
    pub fn bind(data_dir: &Path) -> anyhow::Result<ControlSocket> {
        let folder = data_dir.display();
        let mode = fs::metadata(data_dir).with_context(|| format!("cannot look at {folder}"))?.mode() & 0o7777;
        if mode & OTHERS_WRITE != 0 {
            bail!("{folder} has mode {mode:04o}, so that others may change it: run `chmod go-w {folder}`");
        }
        let path = data_dir.join(SOCKET_FILE);
        let nursery = data_dir.join(NURSERY);
        let first = nursery.join(SOCKET_FILE);
        if first.as_os_str().len() >= MAX_PATH_BYTES {
            bail!("data_dir: {folder} is too long for a socket in it: choose one of less than 80 bytes");
        }
        let cannot = || format!("cannot make the socket {}", path.display());
        // In a folder of its own the socket has its mode before anybody can reach it, and takes its place in one step.
        if nursery.exists() {
            fs::remove_dir_all(&nursery).with_context(cannot)?;
        }
        fs::DirBuilder::new().mode(0o700).create(&nursery).with_context(cannot)?;
        let uid = fs::metadata(&nursery).with_context(cannot)?.uid();
        let listener = UnixListener::bind(&first).with_context(cannot)?;
        fs::set_permissions(&first, Permissions::from_mode(SOCKET_MODE)).with_context(cannot)?;
        fs::rename(&first, &path).with_context(cannot)?;
        fs::remove_dir(&nursery).with_context(cannot)?;
        Ok(ControlSocket { listener, path, uid })
    }

    /// Passes requests on and replies back until the pool shuts down.
    pub async fn serve(self, desk: Desk, draining: watch::Receiver<bool>) {
        let mut connections = JoinSet::new();
        let mut ending = draining.clone();
        loop {
            let stream = tokio::select! {
                _ = ending.wait_for(|draining| *draining) => break,
                Some(_) = connections.join_next() => continue,
                accepted = self.listener.accept(), if connections.len() < MAX_CONNECTIONS => accepted,
            };
            match stream {
                Ok((stream, _)) if let Some(uid) = self.own_user(&stream) => {
                    connections.spawn(converse(stream, Actor::User { uid }, desk.clone(), draining.clone()));
                }
                Ok(_) => warn!("control connection of another user was closed"),
                Err(error) => {
                    warn!(%error, "control connection could not be accepted");
                    tokio::time::sleep(std::time::Duration::from_millis(100)).await;
                }
            }
        }
        let ended = timeout(END_TIMEOUT, async { while connections.join_next().await.is_some() {} });
        if ended.await.is_err() {
            warn!("control connections were cut off");
        }
    }

    /// Returns who is on the other side, if it is the pool's own user, or root, who is everybody.
    fn own_user(&self, stream: &UnixStream) -> Option<u32> {
        let uid = stream.peer_cred().ok()?.uid();
        (uid == self.uid || uid == 0).then_some(uid)
    }
}

impl Drop for ControlSocket {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_file(&self.path) {
            warn!(%error, path = %self.path.display(), "control socket could not be removed");
        }
    }
}

/// Answers the requests of one connection, one after the other.
async fn converse(stream: UnixStream, actor: Actor, desk: Desk, mut draining: watch::Receiver<bool>) {
    let (reader, mut writer) = stream.into_split();
    let mut reader = BufReader::new(reader);
    loop {
        let line = tokio::select! {
            line = timeout(TRANSFER_TIMEOUT, read_line(&mut reader)) => line,
            _ = draining.wait_for(|draining| *draining) => return,
        };
        let line = match line {
            Ok(Ok(Some(line))) => line,
            Ok(Ok(None)) => return,
            Ok(Err(error)) => return debug!(%error, "control connection ended"),
            Err(_) => return debug!("control connection was silent for too long"),
        };
        let request: Result<Request, _> = serde_json::from_slice(&line);
        let outcome = match request {
            Ok(request) => desk.ask(&actor, request).await,
            Err(error) => {
                Err(Refusal::new(RefusalCode::Malformed, format!("no request that this pool knows: {error}")))
            }
        };
        let reply = match line_of(&Reply::from(outcome)) {
            Ok(reply) => reply,
            Err(error) => return warn!(%error, "control reply could not be written"),
        };
        match timeout(TRANSFER_TIMEOUT, writer.write_all(&reply)).await {
            Ok(Ok(())) => {}
            _ => return debug!("control reply was not taken"),
        }
    }
}
