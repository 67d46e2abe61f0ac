//! The words between the action and the receiver: one request line, answer lines, a last line with the result.
//!
//! The SSH command is one word ([`Word`]); the request is one JSON line on stdin ([`Request`]); the answers
//! are JSON lines ([`Event`]), the last of which is [`Event::Result`]. A connection that ends without it
//! has told nothing about the deployment: ask again by `status` with the deployment's id.
//!
//! Nothing here grows without bound: [`Lines`] refuses a line that is too long before it is whole, and the
//! parsers see whole lines only.

mod event;
pub mod labels;

pub mod remedies;

mod codes;
mod lines;
mod names;
mod open;
mod request;
#[cfg(test)]
mod tests;

pub use codes::{FailureCode, RefusalCode};
pub use event::{
    EVENT_BYTES, End, Event, HistoryEntry, Holder, LOG_BYTES, NotAnEvent, Outcome, RolloutStep, Running,
    Source, Status,
};
pub use lines::{Lines, TooLong};
pub use names::{AppName, DeploymentId, EnvironmentKey, HOME};
pub use open::{Name, Open};
pub use request::{
    Body, Configuration, Deploy, ENVIRONMENT_ENTRIES, ENVIRONMENT_VALUE_BYTES, HISTORY_ENTRIES, LOG_LINES,
    REQUEST_BYTES, RUN_BYTES, Refused, Request, Rollback, TEXT_BYTES, VERSION_BYTES,
};

use autotag_model::reference::ParseError;
use strum::VariantNames as _;

/// The one version of the protocol so far. A side that is asked in another says which one has to be updated.
pub const PROTOCOL: u32 = 1;

/// What the SSH command may be: exactly one of these words, without arguments.
#[derive(
    Debug,
    Clone,
    Copy,
    PartialEq,
    Eq,
    Hash,
    serde::Serialize,
    serde::Deserialize,
    strum::Display,
    strum::EnumString,
    strum::IntoStaticStr,
    strum::VariantNames,
)]
#[strum(serialize_all = "kebab-case", parse_err_ty = ParseError, parse_err_fn = expected_words)]
#[serde(rename_all = "kebab-case")]
pub enum Word {
    /// Roll a version out.
    Deploy,
    /// Go back to a recorded version.
    Rollback,
    /// What runs, and what became of a deployment.
    Status,
    /// The application's last lines.
    Logs,
    /// What was deployed when.
    History,
}

impl Word {
    /// As it is written in the SSH command.
    pub fn as_str(self) -> &'static str {
        self.into()
    }
}

fn expected_words(_: &str) -> ParseError {
    ParseError(format!("one of the words `{}`", Word::VARIANTS.join("`, `")))
}

/// Types that are written as their own text: digests and image names, which know nothing of serde.
pub mod as_text {
    use std::fmt::Display;
    use std::str::FromStr;

    use serde::de::Error as _;
    use serde::{Deserialize as _, Deserializer, Serializer};

    /// Writes the value as its text.
    pub fn serialize<T: Display, S: Serializer>(value: &T, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(value)
    }

    /// Reads it back; an error says what was expected.
    pub fn deserialize<'de, T, D>(from: D) -> Result<T, D::Error>
    where
        T: FromStr,
        T::Err: Display,
        D: Deserializer<'de>,
    {
        String::deserialize(from)?
            .parse()
            .map_err(|expected| D::Error::custom(format!("expected {expected}")))
    }
}
