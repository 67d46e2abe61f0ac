//! Why a step of a rollout failed: the code that CI acts on, from the place where it is known, and the words.

use std::fmt;
use std::io;

use autotag_protocol::FailureCode;

/// Why a step failed, as whoever took it knows.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{why}")]
pub struct StepError {
    /// The kind of reason, for programs.
    pub code: FailureCode,
    /// What is wrong and what to do, for people.
    pub why: String,
}

impl StepError {
    /// An error of this kind.
    pub fn new(code: FailureCode, why: impl Into<String>) -> Self {
        Self { code, why: why.into() }
    }

    /// What could not be done with a file of the server.
    pub fn of_file(what: impl fmt::Display, error: &io::Error) -> Self {
        let full = matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded);
        let code = if full { FailureCode::DiskFull } else { FailureCode::Storage };
        Self { code, why: format!("{what}: {error}") }
    }

    /// The same kind, with more words.
    #[must_use]
    pub fn map(self, words: impl FnOnce(String) -> String) -> Self {
        Self { code: self.code, why: words(self.why) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_disk_is_distinguished_from_other_errors() {
        for (kind, code) in [
            (io::ErrorKind::StorageFull, FailureCode::DiskFull),
            (io::ErrorKind::QuotaExceeded, FailureCode::DiskFull),
            (io::ErrorKind::PermissionDenied, FailureCode::Storage),
        ] {
            let error = StepError::of_file("writing", &kind.into());
            assert_eq!(error.code, code, "{error}");
            assert!(error.to_string().starts_with("writing: "), "{error}");
        }
    }
}
