//! The pool as its operator runs it: the `adit` binary in a folder of its own, started, stopped and killed.

use std::{
    env,
    fs::File,
    io::{BufRead, BufReader, Read},
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Output, Stdio},
    sync::{OnceLock, mpsc},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, bail, ensure};
use bitcoin::{
    Address, CompressedPublicKey, Network, ScriptBuf,
    bip32::{DerivationPath, Xpriv},
    secp256k1::Secp256k1,
};
use bitcoind_regtest::Node;
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use tempfile::TempDir;

use crate::miner::PoolAddress;

/// How long the pool may take to listen.
const START_TIMEOUT: Duration = Duration::from_secs(60);
/// How long the pool may take to end when it is asked to.
const STOP_TIMEOUT: Duration = Duration::from_secs(30);

/// Finds `adit`: beside the running program, or in the folder above for a test. `ADIT_EXE` names another.
///
/// In a debug build it is built first, once a process, so that a test never looks at an old one.
///
/// # Errors
///
/// If there is none, or it does not build.
pub fn executable() -> anyhow::Result<PathBuf> {
    if let Some(path) = env::var_os("ADIT_EXE") {
        return Ok(path.into());
    }
    if cfg!(debug_assertions) {
        static BUILT: OnceLock<Result<(), String>> = OnceLock::new();
        BUILT.get_or_init(|| build().map_err(|error| format!("{error:#}"))).clone().map_err(anyhow::Error::msg)?;
    }
    let own = env::current_exe()?;
    let found = own.ancestors().skip(1).take(2).map(|folder| folder.join("adit")).find(|path| path.is_file());
    found.with_context(|| format!("there is no adit near {}: run cargo build --bin adit", own.display()))
}

fn build() -> anyhow::Result<()> {
    // Of the whole workspace: for one package, cargo would build its dependencies once more, with fewer features.
    // The cargo that runs this program, or that of the path: a toolchain's own cargo, named when this was compiled,
    // would let a dependency's rust-toolchain file choose the compiler.
    let cargo = env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(cargo);
    command.args(["build", "--quiet", "--workspace", "--bin", "adit"]).current_dir(env!("CARGO_MANIFEST_DIR"));
    // Cargo tells a test which package it is of. A build script that looks at such variables, as that of ring does, would
    // run again because of them, and half of the dependencies would be built anew: now, and at the next build outside.
    let of_package = ["CARGO_PKG_", "CARGO_MANIFEST_"];
    for (variable, _) in env::vars_os() {
        if variable.to_str().is_some_and(|name| of_package.iter().any(|prefix| name.starts_with(prefix))) {
            command.env_remove(variable);
        }
    }
    let output = command.output()?;
    ensure!(output.status.success(), "adit does not build: {}", String::from_utf8_lossy(&output.stderr));
    Ok(())
}

/// A pool's folder: config, keys and data.
pub struct Pool {
    folder: TempDir,
    environment: Vec<(String, String)>,
    first_token: String,
    running: Option<Running>,
}

struct Running {
    child: Child,
    address: PoolAddress,
    api_url: String,
}

impl Pool {
    /// Makes a new pool with `adit init` for a private node.
    ///
    /// # Errors
    ///
    /// If `adit init` fails.
    pub fn init(node: &Node) -> anyhow::Result<Self> {
        let folder = tempfile::Builder::new().prefix("adit-test").tempdir()?;
        // Of the many pools of a machine under test, each has an API.
        let environment = vec![("ADIT__API__LISTEN".to_owned(), "127.0.0.1:0".to_owned())];
        let mut pool = Self { folder, environment, first_token: String::new(), running: None };
        let network = node.chain().network().to_string();
        let mut init = pool.command();
        init.args(["init", "--network", &network, "--listen", "127.0.0.1:0", "--bitcoind-url", &node.rpc_url()])
            .arg("--dir")
            .arg(pool.folder())
            .arg("--cookie-file")
            .arg(node.cookie_file());
        let output = init.output()?;
        ensure!(output.status.success(), "adit init failed: {}", String::from_utf8_lossy(&output.stderr));
        let said = String::from_utf8(output.stdout)?;
        let token = said.split_whitespace().find(|word| word.starts_with("adit_"));
        pool.first_token = token.context("adit init shows no token")?.to_owned();
        Ok(pool)
    }

    /// Sets a setting for the runs that follow, by its environment variable.
    pub fn set(&mut self, variable: &str, value: impl ToString) -> &mut Self {
        self.environment.push((variable.to_owned(), value.to_string()));
        self
    }

    /// Returns the folder.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Returns the path of the database.
    pub fn database(&self) -> PathBuf {
        self.folder().join("data/adit.sqlite")
    }

    /// Returns `adit` with the pool's environment, without arguments.
    ///
    /// # Panics
    ///
    /// If there is no `adit`.
    pub fn command(&self) -> Command {
        let mut command = Command::new(executable().unwrap_or_else(|error| panic!("{error:#}")));
        command.envs(self.environment.iter().map(|(variable, value)| (variable, value)));
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    /// Runs a subcommand of `adit` on the pool's config and returns what it printed.
    ///
    /// # Errors
    ///
    /// If it fails.
    pub fn ask(&self, subcommand: &[&str]) -> anyhow::Result<String> {
        let Output { status, stdout, stderr } =
            self.command().args(subcommand).arg("--config").arg(self.config_file()).output()?;
        ensure!(status.success(), "adit {subcommand:?} failed: {}", String::from_utf8_lossy(&stderr));
        Ok(String::from_utf8(stdout)?)
    }

    /// Returns the path of the config file.
    pub fn config_file(&self) -> PathBuf {
        self.folder().join("adit.toml")
    }

    /// Returns the script that the pool's coinbases pay, derived from the wallet's key (BIP 84).
    ///
    /// # Errors
    ///
    /// If the key cannot be read.
    pub fn coinbase_script(&self) -> anyhow::Result<ScriptBuf> {
        let file = std::fs::read_to_string(self.folder().join("wallet.key"))?;
        let file: serde_json::Value = serde_json::from_str(&file)?;
        let master: Xpriv = file["xpriv"].as_str().context("the key file has no xpriv")?.parse()?;
        let path: DerivationPath = "m/84'/1'/0'/0/0".parse()?;
        let secp = Secp256k1::new();
        let key = CompressedPublicKey::from_private_key(&secp, &master.derive_priv(&secp, &path)?.to_priv())?;
        Ok(Address::p2wpkh(&key, Network::Regtest).script_pubkey())
    }

    /// Tells whether found blocks wait to be submitted or booked.
    pub fn keeps_blocks(&self) -> bool {
        let kept = std::fs::read_dir(self.folder().join("data/blocks"));
        kept.is_ok_and(|kept| kept.flatten().any(|entry| entry.file_name().to_string_lossy().ends_with(".json")))
    }

    /// Starts the pool without waiting for it to listen. Its log goes to `log.txt` in the folder.
    ///
    /// # Errors
    ///
    /// If it cannot be started.
    pub fn spawn(&self) -> anyhow::Result<Child> {
        let log = File::options().create(true).append(true).open(self.log_file())?;
        let mut run = self.command();
        run.arg("run").arg("--config").arg(self.config_file()).stderr(log);
        Ok(run.spawn()?)
    }

    /// Starts the pool and waits until miners can connect. Returns where.
    ///
    /// # Errors
    ///
    /// If it does not listen in time; with the end of its log.
    pub fn start(&mut self) -> anyhow::Result<PoolAddress> {
        let mut child = self.spawn()?;
        let stdout = child.stdout.take().context("stdout is piped")?;
        match wait_for_urls(stdout) {
            Ok((address, api_url)) => {
                // The same port after a restart, as an operator would have it.
                self.set("ADIT__STRATUM__LISTEN", format!("127.0.0.1:{}", address.port));
                self.running = Some(Running { child, address: address.clone(), api_url });
                Ok(address)
            }
            Err(error) => {
                child.kill()?;
                child.wait()?;
                Err(error.context(format!("the pool's log ends with:\n{}", self.log_end())))
            }
        }
    }

    /// Returns where the running pool listens.
    ///
    /// # Errors
    ///
    /// If it does not run.
    pub fn address(&self) -> anyhow::Result<PoolAddress> {
        Ok(self.running.as_ref().context("the pool does not run")?.address.clone())
    }

    /// Returns the URL of the running pool's API.
    ///
    /// # Errors
    ///
    /// If it does not run.
    pub fn api_url(&self) -> anyhow::Result<String> {
        Ok(self.running.as_ref().context("the pool does not run")?.api_url.clone())
    }

    /// Returns the first token of the API, of role admin, as `adit init` has shown it.
    pub fn first_token(&self) -> &str {
        &self.first_token
    }

    /// Returns the process id of the running pool.
    ///
    /// # Errors
    ///
    /// If it does not run.
    pub fn pid(&self) -> anyhow::Result<u32> {
        Ok(self.running.as_ref().context("the pool does not run")?.child.id())
    }

    /// Asks the pool to end with SIGTERM and waits until it has.
    ///
    /// # Errors
    ///
    /// If it does not end in time or not well.
    pub fn stop(&mut self) -> anyhow::Result<()> {
        let mut running = self.running.take().context("the pool does not run")?;
        kill(pid(&running.child), Signal::SIGTERM)?;
        let begin = Instant::now();
        while begin.elapsed() < STOP_TIMEOUT {
            if let Some(status) = running.child.try_wait()? {
                ensure!(status.success(), "the pool ended with {status}:\n{}", self.log_end());
                return Ok(());
            }
            thread::sleep(Duration::from_millis(20));
        }
        running.child.kill()?;
        running.child.wait()?;
        bail!("the pool did not end within {STOP_TIMEOUT:?}:\n{}", self.log_end())
    }

    /// Kills the pool with SIGKILL.
    ///
    /// # Errors
    ///
    /// If it does not run.
    pub fn kill(&mut self) -> anyhow::Result<()> {
        let mut running = self.running.take().context("the pool does not run")?;
        running.child.kill()?;
        running.child.wait()?;
        Ok(())
    }

    /// Tells how the pool has ended, if it was started and has ended by itself. It can be started again then.
    ///
    /// # Errors
    ///
    /// If the system does not tell.
    pub fn ended(&mut self) -> anyhow::Result<Option<ExitStatus>> {
        let Some(running) = &mut self.running else { return Ok(None) };
        let status = running.child.try_wait()?;
        if status.is_some() {
            self.running = None;
        }
        Ok(status)
    }

    /// Returns everything that the pool has logged.
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.log_file()).unwrap_or_default()
    }

    fn log_end(&self) -> String {
        let log = self.log();
        let lines: Vec<&str> = log.lines().rev().take(30).collect();
        lines.into_iter().rev().collect::<Vec<_>>().join("\n")
    }

    fn log_file(&self) -> PathBuf {
        self.folder().join("log.txt")
    }
}

#[allow(clippy::print_stderr)] // For whoever reads why a test has failed.
impl Drop for Pool {
    fn drop(&mut self) {
        if let Some(running) = &mut self.running {
            // Nobody is left to hear of a failure.
            let _ = running.child.kill();
            let _ = running.child.wait();
        }
        if thread::panicking() {
            eprintln!("the pool's log ends with:\n{}", self.log_end());
        }
    }
}

fn pid(child: &Child) -> Pid {
    Pid::from_raw(i32::try_from(child.id()).expect("a process id is an i32"))
}

/// Reads the pool's output until it names its URL, and that of its API before; the rest is read away so that the pool never
/// waits for a reader.
fn wait_for_urls(stdout: impl Read + Send + 'static) -> anyhow::Result<(PoolAddress, String)> {
    let (sender, urls) = mpsc::channel();
    thread::spawn(move || {
        let mut api_url = String::new();
        for line in BufReader::new(stdout).lines().map_while(Result::ok) {
            if let Some(found) = api_url_in(&line) {
                api_url = found;
            }
            if line.trim().starts_with("stratum2+tcp://") {
                // The receiver has given up when the pool was too slow.
                let _ = sender.send((line.trim().to_owned(), api_url.clone()));
            }
        }
    });
    let (url, api_url) = urls.recv_timeout(START_TIMEOUT).context("the pool does not listen")?;
    ensure!(!api_url.is_empty(), "the pool does not say where its API is");
    Ok((url.parse().with_context(|| format!("{url} is no pool's URL"))?, api_url))
}

/// Waits until a pool that was spawned says where its API is, which is before miners can connect. What it says afterwards is
/// read away.
///
/// # Errors
///
/// If it does not say so.
pub fn api_url_of(child: &mut Child) -> anyhow::Result<String> {
    let stdout = child.stdout.take().context("stdout is piped, and was not taken")?;
    let (sender, urls) = mpsc::channel();
    thread::spawn(move || {
        for line in BufReader::new(stdout).lines().map_while(Result::ok) {
            if let Some(url) = api_url_in(&line) {
                // The receiver has given up when the pool was too slow.
                let _ = sender.send(url);
            }
        }
    });
    urls.recv_timeout(START_TIMEOUT).context("the pool does not say where its API is")
}

/// Returns the URL of the API if a line of the pool's output names it.
fn api_url_in(line: &str) -> Option<String> {
    let (dashboard, _) = line.trim().strip_prefix("The dashboard is at ")?.split_once(',')?;
    dashboard.strip_suffix('/').map(str::to_owned)
}
