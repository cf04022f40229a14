//! One bitcoind process: its start, its end, and the ways to break it. What it mines is in `blocks`.

use std::fs::{self, File};
use std::net::{Ipv4Addr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use bitcoin::secp256k1::rand::{Rng, thread_rng};
use bitcoincore_rpc::jsonrpc::simple_http::SimpleHttpTransport;
use bitcoincore_rpc::{Auth, Client, RpcApi, jsonrpc};
use serde_json::Value;
use tempfile::TempDir;

use crate::error::{Error, Result};
use crate::executable::find_or_build;
use crate::options::{Chain, NodeOptions};

/// How long a node may take until it answers: generous, since tests share few cores.
const START_TIMEOUT: Duration = Duration::from_secs(60);
/// How long a node may take to write its state and end, before it is killed.
const STOP_TIMEOUT: Duration = Duration::from_secs(30);
/// How long one call may take: a block of the signet is seconds of work.
const CALL_TIMEOUT: Duration = Duration::from_secs(120);
/// How long a call may take that a healthy node answers at once.
const PROBE_TIMEOUT: Duration = Duration::from_secs(5);
/// Pause between two looks at a node that is starting or stopping.
const POLL_INTERVAL: Duration = Duration::from_millis(20);
/// How often another port is tried when somebody else was faster.
const PORT_ATTEMPTS: u32 = 10;
/// Below the range from which the system takes ports for outgoing connections, so that none of them can
/// sit on the node's port while it restarts.
const PORTS: std::ops::Range<u16> = 15_000..32_000;
/// What the node's log says when its RPC port is taken.
const PORT_TAKEN: &str = "Unable to bind";
/// How much of a log goes into an error.
const LOG_TAIL_LINES: usize = 30;

/// A private node. It ends with this value.
#[derive(Debug)]
pub struct Node {
    executable: PathBuf,
    options: NodeOptions,
    datadir: PathBuf,
    port: u16,
    process: Option<Child>,
    client: Client,
    // Dropped after the process has ended, and with it the folder.
    _temporary: Option<TempDir>,
}

impl Node {
    /// Starts a regtest node in a temporary folder and waits until it answers.
    ///
    /// # Errors
    /// As [`NodeOptions::start`].
    pub fn start() -> Result<Self> {
        NodeOptions::new().start()
    }

    pub(crate) fn start_with(options: NodeOptions) -> Result<Self> {
        let executable = match &options.executable {
            Some(path) => path.clone(),
            None => find_or_build()?,
        };
        let (datadir, temporary) = match &options.datadir {
            Some(folder) => (folder.clone(), None),
            None => {
                let folder = tempfile::Builder::new()
                    .prefix("bitcoind-")
                    .tempdir()
                    .map_err(Error::io("create a temporary folder"))?;
                (folder.path().to_path_buf(), Some(folder))
            }
        };
        fs::create_dir_all(&datadir).map_err(Error::io(format!("create {}", datadir.display())))?;
        let datadir = datadir.canonicalize().map_err(Error::io(format!("open {}", datadir.display())))?;

        let mut attempt = 1;
        let (port, process, client) = loop {
            let port = free_port()?;
            match launch(&executable, &options, &datadir, port) {
                Ok((process, client)) => break (port, process, client),
                // Between our look at the port and the node's, another process took it.
                Err(Error::Ended { log, .. }) if log.contains(PORT_TAKEN) && attempt < PORT_ATTEMPTS => {
                    attempt += 1;
                }
                Err(error) => return Err(error),
            }
        };
        Ok(Self { executable, options, datadir, port, process: Some(process), client, _temporary: temporary })
    }

    /// A client for the node's RPC.
    ///
    /// Its typed calls were made for older versions of Bitcoin Core: where an answer has changed since, as that
    /// of `getmempoolentry` has, use `call::<serde_json::Value>`.
    pub fn rpc(&self) -> &Client {
        &self.client
    }

    /// Another client with its own connection, for another thread: calls of one client wait for each other.
    ///
    /// # Errors
    /// When the cookie cannot be read, because the node has ended.
    pub fn new_client(&self) -> Result<Client> {
        connect(&self.datadir, self.port, CALL_TIMEOUT)
    }

    /// The URL of the RPC server, without a secret.
    pub fn rpc_url(&self) -> String {
        url(self.port)
    }

    /// The port of the RPC server on 127.0.0.1. It stays the same through restarts.
    pub fn rpc_port(&self) -> u16 {
        self.port
    }

    /// How to log in to the RPC server: by the cookie.
    pub fn auth(&self) -> Auth {
        Auth::CookieFile(self.cookie_file())
    }

    /// The file with the RPC cookie. A restart writes a new one.
    pub fn cookie_file(&self) -> PathBuf {
        cookie_file(&self.datadir)
    }

    /// The folder with the node's data; its log is `debug.log` in there.
    pub fn datadir(&self) -> &Path {
        &self.datadir
    }

    /// The chain that the node keeps.
    pub fn chain(&self) -> Chain {
        self.options.chain
    }

    /// The process id, or nothing when the node was stopped or killed.
    pub fn pid(&self) -> Option<u32> {
        self.process.as_ref().map(Child::id)
    }

    /// Stops the node as an operator would and waits for its end. A node that has already ended is no error.
    ///
    /// # Errors
    /// When the process cannot be waited for. A node that does not end in time is killed.
    pub fn stop(&mut self) -> Result<()> {
        let Some(mut process) = self.process.take() else { return Ok(()) };
        // The outcome shows in whether the process ends: a node that was paused or has crashed cannot answer.
        let _ = connect(&self.datadir, self.port, PROBE_TIMEOUT)
            .and_then(|client| client.call::<Value>("stop", &[]).map_err(Error::rpc("stop")));
        if wait_for_end(&mut process, STOP_TIMEOUT)?.is_none() {
            process.kill().map_err(Error::io("kill bitcoind"))?;
            process.wait().map_err(Error::io("wait for bitcoind"))?;
        }
        Ok(())
    }

    /// Kills the node with SIGKILL: nothing is flushed, as in a power failure.
    ///
    /// # Errors
    /// When the process cannot be killed or waited for.
    pub fn kill(&mut self) -> Result<()> {
        let Some(mut process) = self.process.take() else { return Ok(()) };
        process.kill().map_err(Error::io("kill bitcoind"))?;
        process.wait().map_err(Error::io("wait for bitcoind"))?;
        Ok(())
    }

    /// Starts the node again on the same data and port; stops it first where it still runs.
    ///
    /// # Errors
    /// As [`NodeOptions::start`]; and when another process has taken the port.
    pub fn restart(&mut self) -> Result<()> {
        self.stop()?;
        let (process, client) = launch(&self.executable, &self.options, &self.datadir, self.port)?;
        self.process = Some(process);
        self.client = client;
        Ok(())
    }

    /// Freezes the process: connections stay open and nothing answers. Ended by [`resume`](Self::resume),
    /// [`kill`](Self::kill) or drop.
    ///
    /// # Errors
    /// When the signal cannot be sent.
    pub fn pause(&self) -> Result<()> {
        self.signal("STOP")
    }

    /// Lets a paused process go on.
    ///
    /// # Errors
    /// When the signal cannot be sent.
    pub fn resume(&self) -> Result<()> {
        self.signal("CONT")
    }

    fn signal(&self, name: &str) -> Result<()> {
        let Some(pid) = self.pid() else { return Ok(()) };
        // The standard library sends SIGKILL only, and bash, which the build needs anyway, has `kill` inside.
        let status = Command::new("bash")
            .args(["-c", &format!("kill -{name} {pid}")])
            .status()
            .map_err(Error::io("run bash"))?;
        if status.success() {
            return Ok(());
        }
        Err(Error::io(format!("send SIG{name} to bitcoind"))(std::io::Error::other(status.to_string())))
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        if self.options.datadir.is_some() {
            // The folder stays, so the chain in it should be whole.
            let _ = self.resume();
            let _ = self.stop();
        } else {
            // Nobody will read the data again: there is no need to wait until it is written.
            let _ = self.kill();
        }
    }
}

fn url(port: u16) -> String {
    format!("http://127.0.0.1:{port}")
}

fn cookie_file(datadir: &Path) -> PathBuf {
    datadir.join(".cookie")
}

fn free_port() -> Result<u16> {
    let mut last = None;
    for _ in 0..PORT_ATTEMPTS {
        let port = thread_rng().gen_range(PORTS);
        match TcpListener::bind((Ipv4Addr::LOCALHOST, port)) {
            Ok(_) => return Ok(port),
            Err(error) => last = Some(error),
        }
    }
    let last = last.unwrap_or_else(|| std::io::Error::other("none tried"));
    Err(Error::io("find a free port")(last))
}

/// Starts bitcoind and waits for its first answer; leaves no process behind when it fails.
fn launch(executable: &Path, options: &NodeOptions, datadir: &Path, port: u16) -> Result<(Child, Client)> {
    // Old logs and cookies must not be taken for this process's.
    for stale in ["debug.log", ".cookie"] {
        match fs::remove_file(datadir.join(stale)) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                return Err(Error::io(format!("remove an old {stale}"))(error));
            }
            _ => {}
        }
    }
    let stderr = File::create(datadir.join("stderr.log")).map_err(Error::io("create stderr.log"))?;
    let mut process = Command::new(executable)
        .args(options.command_line(datadir, port))
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(stderr)
        .spawn()
        .map_err(Error::io(format!("start {}", executable.display())))?;
    match wait_for_answer(&mut process, datadir, port) {
        Ok(client) => Ok((process, client)),
        Err(error) => {
            // Both fail only where the process has already ended.
            let _ = process.kill();
            let _ = process.wait();
            Err(error)
        }
    }
}

fn wait_for_answer(process: &mut Child, datadir: &Path, port: u16) -> Result<Client> {
    let deadline = Instant::now() + START_TIMEOUT;
    loop {
        if let Some(status) = process.try_wait().map_err(Error::io("wait for bitcoind"))? {
            return Err(Error::Ended { status, log: log_tail(datadir) });
        }
        // The cookie is this process's own, so an answer cannot come from somebody else on the same port.
        // `getblockcount` is refused until the chain is loaded; each probe must be short, to notice an end.
        let answer = connect(datadir, port, PROBE_TIMEOUT)
            .and_then(|client| client.call::<u64>("getblockcount", &[]).map_err(Error::rpc("getblockcount")));
        if answer.is_ok() {
            return connect(datadir, port, CALL_TIMEOUT);
        }
        if Instant::now() >= deadline {
            return Err(Error::Silent { waited_s: START_TIMEOUT.as_secs(), log: log_tail(datadir) });
        }
        thread::sleep(POLL_INTERVAL);
    }
}

fn wait_for_end(process: &mut Child, timeout: Duration) -> Result<Option<ExitStatus>> {
    let deadline = Instant::now() + timeout;
    loop {
        let status = process.try_wait().map_err(Error::io("wait for bitcoind"))?;
        if status.is_some() || Instant::now() >= deadline {
            return Ok(status);
        }
        thread::sleep(POLL_INTERVAL);
    }
}

fn connect(datadir: &Path, port: u16, timeout: Duration) -> Result<Client> {
    let cookie = fs::read_to_string(cookie_file(datadir)).map_err(Error::io("read the RPC cookie"))?;
    let transport = SimpleHttpTransport::builder()
        .url(&url(port))
        .map_err(|error| Error::Rpc { method: "connect", source: jsonrpc::Error::from(error).into() })?
        .timeout(timeout)
        .cookie_auth(cookie.trim())
        .build();
    Ok(Client::from_jsonrpc(jsonrpc::Client::with_transport(transport)))
}

fn log_tail(datadir: &Path) -> String {
    let tail = |name: &str| {
        let text = fs::read(datadir.join(name)).unwrap_or_default();
        let text = String::from_utf8_lossy(&text).into_owned();
        let lines: Vec<&str> = text.lines().collect();
        lines[lines.len().saturating_sub(LOG_TAIL_LINES)..].join("\n")
    };
    format!("{}\n{}", tail("debug.log"), tail("stderr.log")).trim().to_owned()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn taken_port_is_told_from_other_failures() {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        let folder = tempfile::tempdir().unwrap();
        let failure = launch(&find_or_build().unwrap(), &NodeOptions::new(), folder.path(), port).unwrap_err();
        assert!(matches!(&failure, Error::Ended { log, .. } if log.contains(PORT_TAKEN)), "{failure}");
    }
}
