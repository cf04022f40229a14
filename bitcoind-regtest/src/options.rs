//! How a private node is to be started. Owns the choices and the command line that follows from them.

use std::path::{Path, PathBuf};

use bitcoin::hashes::{Hash, HashEngine, Hmac, HmacEngine, sha256};

use crate::error::Result;
use crate::node::Node;

/// The chain that a private node keeps.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Chain {
    /// Every second hash is a block. For tests of what happens to blocks.
    #[default]
    Regtest,
    /// A signet of its own whose blocks need no signature, at difficulty 0.0011: a CPU needs seconds for a
    /// block, so there are shares that are not blocks. For tests under load.
    Signet,
}

impl Chain {
    /// The network whose addresses the chain uses.
    pub fn network(self) -> bitcoin::Network {
        match self {
            Self::Regtest => bitcoin::Network::Regtest,
            Self::Signet => bitcoin::Network::Signet,
        }
    }

    fn arguments(self) -> &'static [&'static str] {
        match self {
            Self::Regtest => &["-chain=regtest"],
            // The challenge is OP_TRUE. The genesis block is of 2020: without a high maxtipage the node would
            // believe that it is still syncing.
            Self::Signet => &["-chain=signet", "-signetchallenge=51", "-maxtipage=3153600000"],
        }
    }
}

/// A user and a password that the node takes beside its cookie.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RpcCredentials {
    /// The user; without a colon.
    pub user: String,
    /// The password.
    pub password: String,
}

impl RpcCredentials {
    /// The value of `-rpcauth`: user, salt, and HMAC-SHA256 of the password under the salt. Unlike
    /// `-rpcpassword` it leaves the cookie in place.
    fn rpcauth(&self) -> String {
        const SALT: &str = "0f1e2d3c4b5a69788796a5b4c3d2e1f0";
        let mut hmac = HmacEngine::<sha256::Hash>::new(SALT.as_bytes());
        hmac.input(self.password.as_bytes());
        format!("{}:{SALT}${:x}", self.user, Hmac::<sha256::Hash>::from_engine(hmac))
    }
}

/// Choices for a private node. The default is a regtest node in a temporary folder.
///
/// ```no_run
/// use bitcoind_regtest::{Chain, NodeOptions};
/// let node = NodeOptions::new().chain(Chain::Signet).argument("-blockmaxweight=400000").start()?;
/// # Ok::<(), bitcoind_regtest::Error>(())
/// ```
#[derive(Clone, Debug, Default)]
pub struct NodeOptions {
    pub(crate) chain: Chain,
    pub(crate) arguments: Vec<String>,
    pub(crate) credentials: Option<RpcCredentials>,
    pub(crate) datadir: Option<PathBuf>,
    pub(crate) executable: Option<PathBuf>,
}

impl NodeOptions {
    /// The default choices.
    pub fn new() -> Self {
        Self::default()
    }

    /// Chooses the chain.
    #[must_use]
    pub fn chain(mut self, chain: Chain) -> Self {
        self.chain = chain;
        self
    }

    /// Adds an argument to the command line, after the ones that are always there, such as `-txindex=1`.
    #[must_use]
    pub fn argument(mut self, argument: impl Into<String>) -> Self {
        self.arguments.push(argument.into());
        self
    }

    /// Lets a user with a password in, beside the cookie.
    #[must_use]
    pub fn credentials(mut self, user: impl Into<String>, password: impl Into<String>) -> Self {
        self.credentials = Some(RpcCredentials { user: user.into(), password: password.into() });
        self
    }

    /// Keeps the node's data in this folder, which is made where it is missing and stays when the node is
    /// gone. Without this, a temporary folder goes with the [`Node`].
    #[must_use]
    pub fn datadir(mut self, folder: impl Into<PathBuf>) -> Self {
        self.datadir = Some(folder.into());
        self
    }

    /// Runs this `bitcoind` instead of the one that [`find_or_build`](crate::find_or_build) finds.
    #[must_use]
    pub fn executable(mut self, path: impl Into<PathBuf>) -> Self {
        self.executable = Some(path.into());
        self
    }

    /// Starts the node and waits until it answers.
    ///
    /// # Errors
    /// When no `bitcoind` can be found or built, or when it ends or stays silent instead of answering.
    pub fn start(self) -> Result<Node> {
        Node::start_with(self)
    }

    /// The whole command line of a node in `datadir` that serves RPC on `port`.
    pub(crate) fn command_line(&self, datadir: &Path, port: u16) -> Vec<String> {
        let datadir = datadir.display();
        let mut line: Vec<String> = self.chain.arguments().iter().map(ToString::to_string).collect();
        line.extend([
            format!("-datadir={datadir}"),
            // Absolute, because each chain would put them in a folder of another name.
            format!("-rpccookiefile={datadir}/.cookie"),
            format!("-debuglogfile={datadir}/debug.log"),
            "-printtoconsole=0".into(),
            "-server=1".into(),
            "-rpcbind=127.0.0.1".into(),
            "-rpcallowip=127.0.0.1".into(),
            format!("-rpcport={port}"),
            "-connect=0".into(),
            "-listen=0".into(),
            "-dbcache=16".into(),
            "-par=1".into(),
        ]);
        line.extend(self.credentials.iter().map(|credentials| format!("-rpcauth={}", credentials.rpcauth())));
        line.extend(self.arguments.iter().cloned());
        line
    }
}
