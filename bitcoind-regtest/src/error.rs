//! What can go wrong with a private node. Owns the error type and nothing else.

use std::io;
use std::path::PathBuf;
use std::process::ExitStatus;

/// A result whose error is [`Error`].
pub type Result<T> = std::result::Result<T, Error>;

/// Why a private node could not be found, built, started or used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// `BITCOIND_EXE` names something that cannot be run.
    #[error("BITCOIND_EXE is {0}, which is not an executable file")]
    NotExecutable(PathBuf),

    /// There is nowhere to build bitcoind.
    #[error("no cache folder: neither XDG_CACHE_HOME nor HOME is set")]
    NoCacheFolder,

    /// The build script ended with an error; what it said is on standard error.
    #[error("building bitcoind failed with {0}")]
    Build(ExitStatus),

    /// A file or a process could not be worked with.
    #[error("cannot {attempt}: {source}")]
    Io {
        /// What was attempted, such as "start /usr/bin/bitcoind".
        attempt: String,
        /// What the operating system said.
        source: io::Error,
    },

    /// bitcoind ended before it answered a call.
    #[error("bitcoind ended with {status} before it answered:\n{log}")]
    Ended {
        /// How it ended.
        status: ExitStatus,
        /// The end of its log and of its standard error.
        log: String,
    },

    /// bitcoind runs, but did not answer in time.
    #[error("bitcoind did not answer within {waited_s} s:\n{log}")]
    Silent {
        /// How long it was waited for.
        waited_s: u64,
        /// The end of its log and of its standard error.
        log: String,
    },

    /// The node refused a call, or the call did not reach it.
    #[error("{method} failed: {source}")]
    Rpc {
        /// The RPC method.
        method: &'static str,
        /// The node's answer.
        source: bitcoincore_rpc::Error,
    },

    /// The node mined fewer blocks than it was asked for.
    #[error("asked for {asked} blocks, mined {mined}")]
    TooFewBlocks {
        /// How many were asked for.
        asked: u32,
        /// How many the node made.
        mined: u32,
    },

    /// A branch that is not longer than the one it is to replace would not replace it.
    #[error("a branch of {new_length} blocks cannot replace {depth}")]
    BranchTooShort {
        /// How many blocks were to be orphaned.
        depth: u32,
        /// How many were to take their place.
        new_length: u32,
    },

    /// The chain has fewer blocks than were to be orphaned.
    #[error("cannot orphan {depth} blocks of a chain of {height}")]
    ChainTooShort {
        /// How many blocks were to be orphaned.
        depth: u32,
        /// The height of the tip.
        height: u32,
    },

    /// No confirmed coin, or none that is large enough.
    #[error("no coin of {needed}; {available} in {count} coins")]
    TooFewCoins {
        /// The value that one coin had to have.
        needed: bitcoin::Amount,
        /// The value of all coins that can be spent.
        available: bitcoin::Amount,
        /// Their number.
        count: usize,
    },
}

impl Error {
    /// Names what was attempted when the operating system refused.
    pub(crate) fn io(attempt: impl Into<String>) -> impl FnOnce(io::Error) -> Self {
        let attempt = attempt.into();
        move |source| Self::Io { attempt, source }
    }

    /// Names the method of a call that failed.
    pub(crate) fn rpc(method: &'static str) -> impl FnOnce(bitcoincore_rpc::Error) -> Self {
        move |source| Self::Rpc { method, source }
    }
}
