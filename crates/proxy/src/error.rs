//! Why a command of the admin socket was not done.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Why a command was not done.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Error {
    /// The kind of reason, for programs.
    pub code: ErrorCode,
    /// The reason, for people.
    pub message: String,
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

/// The kinds of reasons.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ErrorCode {
    /// Another program listens there.
    PortInUse,
    /// Whatever else the message says. So is a kind that this version does not know.
    #[serde(other)]
    Refused,
}

impl From<String> for Error {
    fn from(message: String) -> Self {
        Self { code: ErrorCode::Refused, message }
    }
}
