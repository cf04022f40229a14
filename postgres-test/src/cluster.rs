//! A PostgreSQL server of one's own, in a temporary folder.

use std::{
    env, fs,
    fs::File,
    io,
    net::TcpListener,
    os::unix::{fs::chown, process::CommandExt},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread::sleep,
    time::{Duration, Instant},
};

use anyhow::{Context, bail};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use tempfile::TempDir;

use crate::answers;

/// Where distributions keep the binaries, one folder for each version.
const VERSIONS: &str = "/usr/lib/postgresql";
/// The user that the server runs as where this process is root, which the server refuses to be.
const SERVER_USER: &str = "postgres";
/// How long the server may take to start.
const START_TIMEOUT: Duration = Duration::from_secs(60);
/// How long it may take to stop before it is killed.
const STOP_TIMEOUT: Duration = Duration::from_secs(30);
/// Pause between two looks at a server that starts or stops.
const POLL_INTERVAL: Duration = Duration::from_millis(50);

/// A server that belongs to whoever started it. It listens on the loopback only and lets `postgres` in without a
/// password.
#[derive(Debug)]
pub struct Cluster {
    binaries: PathBuf,
    folder: TempDir,
    port: u16,
    user: Option<User>,
    process: Option<Child>,
}

/// An unprivileged user.
#[derive(Clone, Copy, Debug)]
struct User {
    uid: u32,
    gid: u32,
}

impl Cluster {
    /// Makes a cluster in a temporary folder and starts its server.
    ///
    /// # Errors
    ///
    /// When PostgreSQL is not installed, or does not start.
    pub fn start() -> anyhow::Result<Self> {
        let binaries = binaries()?;
        let folder = tempfile::tempdir().context("cannot make a folder for the server")?;
        let user = server_user()?;
        if let Some(user) = user {
            chown(folder.path(), Some(user.uid), Some(user.gid)).context("cannot give the folder away")?;
        }
        let mut cluster = Self { binaries, folder, port: free_port()?, user, process: None };
        let made = cluster
            .command("initdb")
            .args(["--username=postgres", "--auth=trust", "--encoding=UTF8", "--locale=C", "--no-sync", "-D"])
            .arg(cluster.data())
            .output()
            .context("cannot run initdb")?;
        if !made.status.success() {
            bail!("initdb failed: {}", String::from_utf8_lossy(&made.stderr));
        }
        cluster.restart()?;
        Ok(cluster)
    }

    /// Gives a folder to the user that the server runs as, for a tablespace.
    ///
    /// # Errors
    ///
    /// When it cannot be given away.
    pub fn give(&self, folder: &Path) -> io::Result<()> {
        self.user.map_or(Ok(()), |user| chown(folder, Some(user.uid), Some(user.gid)))
    }

    /// The URL of its database `postgres`.
    pub fn url(&self) -> String {
        format!("postgres://postgres@127.0.0.1:{}/postgres", self.port)
    }

    /// Stops the server, which ends all its sessions. What was committed is there after [`restart`](Self::restart).
    ///
    /// # Errors
    ///
    /// When its process cannot be waited for.
    pub fn stop(&mut self) -> anyhow::Result<()> {
        let Some(mut process) = self.process.take() else { return Ok(()) };
        let pid = i32::try_from(process.id()).context("no process id is so large")?;
        // SIGINT is its fast shutdown. A process that has ended by itself cannot take it.
        let _ = kill(Pid::from_raw(pid), Signal::SIGINT);
        let since = Instant::now();
        while process.try_wait()?.is_none() {
            if since.elapsed() > STOP_TIMEOUT {
                process.kill()?;
                process.wait()?;
            }
            sleep(POLL_INTERVAL);
        }
        Ok(())
    }

    /// Starts the server again on the same data and port; stops it first where it still runs.
    ///
    /// # Errors
    ///
    /// When it does not start.
    pub fn restart(&mut self) -> anyhow::Result<()> {
        self.stop()?;
        let log_file = self.folder.path().join("log");
        let log = File::options().create(true).append(true).open(&log_file)?;
        let process = self
            .command("postgres")
            .arg("-D")
            .arg(self.data())
            .args(["-p", &self.port.to_string(), "-c", "listen_addresses=127.0.0.1", "-c"])
            .arg(format!("unix_socket_directories={}", self.folder.path().display()))
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .context("cannot run postgres")?;
        let process = self.process.insert(process);
        let since = Instant::now();
        while let Err(error) = answers(&format!("postgres://postgres@127.0.0.1:{}/postgres", self.port)) {
            if process.try_wait()?.is_some() || since.elapsed() > START_TIMEOUT {
                bail!("postgres does not start: {error}\n{}", fs::read_to_string(&log_file).unwrap_or_default());
            }
            sleep(POLL_INTERVAL);
        }
        Ok(())
    }

    fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    fn command(&self, binary: &str) -> Command {
        let mut command = Command::new(self.binaries.join(binary));
        // The user may not be allowed to enter the present folder.
        command.current_dir(self.folder.path()).stdin(Stdio::null());
        if let Some(user) = self.user {
            command.uid(user.uid).gid(user.gid);
        }
        command
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        // The folder goes with it; there is nobody to tell of an error.
        let _ = self.stop();
    }
}

/// The folder of the newest server that is installed.
fn binaries() -> anyhow::Result<PathBuf> {
    let mut versions: Vec<(u32, PathBuf)> = fs::read_dir(VERSIONS)
        .into_iter()
        .flatten()
        .filter_map(|entry| {
            let entry = entry.ok()?;
            Some((entry.file_name().to_str()?.parse().ok()?, entry.path().join("bin")))
        })
        .filter(|(_, folder)| is_installed(folder))
        .collect();
    versions.sort();
    if let Some((_, folder)) = versions.pop() {
        return Ok(folder);
    }
    let path = env::var_os("PATH").unwrap_or_default();
    let found = env::split_paths(&path).find(|folder| is_installed(folder));
    found.context("there is no PostgreSQL server: install one, such as Debian's package postgresql")
}

fn is_installed(folder: &Path) -> bool {
    folder.join("initdb").is_file() && folder.join("postgres").is_file()
}

/// Whom the server must run as: nobody else, unless this process is root.
fn server_user() -> anyhow::Result<Option<User>> {
    if !nix::unistd::geteuid().is_root() {
        return Ok(None);
    }
    let user = nix::unistd::User::from_name(SERVER_USER)?.with_context(|| format!("there is no user {SERVER_USER}"))?;
    Ok(Some(User { uid: user.uid.as_raw(), gid: user.gid.as_raw() }))
}

fn free_port() -> io::Result<u16> {
    TcpListener::bind("127.0.0.1:0")?.local_addr().map(|address| address.port())
}
