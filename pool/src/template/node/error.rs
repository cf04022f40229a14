//! Why a call to the node gave no usable answer, in words for the operator.

use bitcoin::BlockHash;

use crate::{config::ConfigError, template::answer::TemplateError};

/// Why a call to the node gave no usable answer.
#[derive(Debug, thiserror::Error)]
pub enum NodeError {
    /// There is no answer: whether the call had an effect is not known.
    #[error("bitcoind at {url} does not answer: {reason}")]
    Unreachable {
        /// The node.
        url: String,
        /// What the connection said.
        reason: String,
    },
    /// User and password are wrong.
    #[error("bitcoind at {url} refuses the user and password; check the settings of [bitcoind]")]
    Unauthorized {
        /// The node.
        url: String,
    },
    /// User and password cannot be read; a node that is down has no cookie.
    #[error("{}", without_credentials(.0))]
    Credentials(ConfigError),
    /// The node is loading its data.
    #[error("bitcoind is starting: {0}")]
    WarmingUp(String),
    /// The node follows another network than the pool.
    #[error("bitcoind follows {found}, but the pool is configured for {expected}: change `network` or `bitcoind.url`")]
    WrongNetwork {
        /// What the node calls its chain.
        found: String,
        /// The configured network.
        expected: &'static str,
    },
    /// The node does not know the newest blocks yet.
    #[error("bitcoind is downloading blocks: {blocks} of {headers} so far")]
    Downloading {
        /// Blocks that it has verified.
        blocks: u32,
        /// Blocks that it knows of.
        headers: u32,
    },
    /// The node's chain does not hold what the books have settled, or what the other nodes agree on.
    #[error(
        "bitcoind at {url} is on another chain: at height {height} it has {}, and not {expected}; nothing is mined, \
         credited or paid on it: give it back its data, or the pool another data folder",
        or_nothing(.found)
    )]
    OtherChain {
        /// The node.
        url: String,
        /// The height of the block.
        height: u32,
        /// The block that it should have.
        expected: BlockHash,
        /// The node's block there; nothing where its chain is shorter.
        found: Option<BlockHash>,
    },
    /// The node refused the call.
    #[error("bitcoind refused {method}: {message} (code {code})")]
    Refused {
        /// The call.
        method: String,
        /// The node's error code.
        code: i32,
        /// The node's words.
        message: String,
    },
    /// The answer is not what the call promises.
    #[error("bitcoind's answer to {method} makes no sense: {reason}")]
    Nonsense {
        /// The call.
        method: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The template in the answer cannot be mined on.
    #[error("bitcoind's block template cannot be used: {0}")]
    Template(#[from] TemplateError),
}

impl NodeError {
    /// Whether the same call may succeed later without anybody's doing.
    pub(super) fn may_pass(&self) -> bool {
        matches!(
            self,
            NodeError::Unreachable { .. }
                | NodeError::Unauthorized { .. }
                | NodeError::Credentials(_)
                | NodeError::WarmingUp(_)
                | NodeError::WrongNetwork { .. }
                | NodeError::Downloading { .. }
                | NodeError::OtherChain { .. }
        )
    }
}

/// The words for a block that a chain may be too short for.
fn or_nothing(found: &Option<BlockHash>) -> String {
    found.map_or_else(|| "no block".to_owned(), |hash| hash.to_string())
}

/// The words for credentials that cannot be read, in one line with their cause.
fn without_credentials(error: &ConfigError) -> String {
    match error {
        ConfigError::UnreadableFile { key, source, .. } if key.ends_with(".cookie_file") => {
            format!("{error} (is bitcoind running?): {source}")
        }
        ConfigError::UnreadableFile { source, .. } => format!("{error}: {source}"),
        other => other.to_string(),
    }
}
