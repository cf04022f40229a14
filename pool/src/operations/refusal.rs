//! Why a request was not done.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Why a request was not done. The reason is one line: what is wrong, and the cure.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("{reason}")]
pub struct Refusal {
    /// What kind of thing is wrong.
    pub code: RefusalCode,
    /// What is wrong, and the cure.
    pub reason: String,
}

impl Refusal {
    /// A refusal with its reason, which is made one line.
    pub fn new(code: RefusalCode, reason: impl fmt::Display) -> Refusal {
        Refusal { code, reason: reason.to_string().replace('\n', ", ") }
    }
}

/// What kind of thing is wrong with a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RefusalCode {
    /// It is no request.
    Malformed,
    /// It names what there is not.
    NotFound,
    /// A value in it cannot be.
    Invalid,
    /// It does not fit the state that things are in.
    Conflict,
    /// Store, node or wallet do not answer now.
    Unavailable,
    /// The books or the wallet are not as they must be.
    Failed,
}
