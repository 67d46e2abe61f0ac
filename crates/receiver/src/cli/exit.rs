//! How a command ended, as a number. Help, man page and docs/reference.md have the same rows.

use std::process::ExitCode;

use crate::cli::client::NoResult;

/// How a command ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// It did what was asked for, or there was nothing to do.
    Done,
    /// It was begun and failed, or could not be begun.
    Failed,
    /// Wrong arguments, an app file or a host with faults.
    Unusable,
    /// The request was refused, and nothing was touched.
    Refused,
    /// `serve` does not answer.
    Unreachable,
}

impl Exit {
    /// All of them, in the order of their numbers.
    pub const ALL: [Self; 5] = [Self::Done, Self::Failed, Self::Unusable, Self::Refused, Self::Unreachable];

    /// The number. Where the action has the same kind of ending, it is the action's.
    pub fn code(self) -> u8 {
        match self {
            Self::Done => 0,
            Self::Failed => 1,
            Self::Unusable => 2,
            Self::Refused => 3,
            Self::Unreachable => 4,
        }
    }

    /// What it means.
    pub fn meaning(self) -> &'static str {
        match self {
            Self::Done => "Done, or nothing to do",
            Self::Failed => "Failed, or could not be started",
            Self::Unusable => "Wrong arguments, or problems in an app file or on the host",
            Self::Refused => "Refused: nothing was changed",
            Self::Unreachable => "`serve` does not answer; what was started may continue",
        }
    }

    /// What an error comes to.
    pub fn of(error: &anyhow::Error) -> Self {
        if let Some(NotAnswered { refused: true, .. }) = error.downcast_ref() {
            return Self::Refused;
        }
        match error.downcast_ref() {
            Some(NoResult::NotAllowed { .. }) => Self::Refused,
            Some(NoResult::NotRunning { .. } | NoResult::Lost { .. }) => Self::Unreachable,
            Some(NoResult::Request(_)) | None => Self::Failed,
        }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit.code())
    }
}

/// A question that `serve` did not answer.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub(super) struct NotAnswered {
    /// In `serve`'s words.
    pub(super) message: String,
    /// It would not, rather than could not.
    pub(super) refused: bool,
}

#[cfg(test)]
mod tests {
    use anyhow::Context as _;

    use super::*;

    // invariant documents: The receiver's exit codes are what reference and help say
    #[test]
    fn an_error_comes_to_what_it_is_below_its_context() {
        let socket = std::path::PathBuf::from("socket");
        for (error, exit) in [
            (anyhow::anyhow!("the disk is full"), Exit::Failed),
            (NoResult::NotRunning { socket: socket.clone() }.into(), Exit::Unreachable),
            (NoResult::Lost { why: "silent".to_owned() }.into(), Exit::Unreachable),
            (NoResult::NotAllowed { socket }.into(), Exit::Refused),
            (NotAnswered { message: "no such application".to_owned(), refused: true }.into(), Exit::Refused),
            (NotAnswered { message: "broken".to_owned(), refused: false }.into(), Exit::Failed),
        ] {
            let wrapped = Err::<(), _>(error).context("looking").expect_err("an error");
            assert_eq!(Exit::of(&wrapped), exit, "{wrapped:#}");
        }
    }
}
