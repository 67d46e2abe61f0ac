//! Names that both sides write: applications, deployments, environment variables.

use std::fmt;
use std::str::FromStr;

use autotag_model::reference::ParseError;

macro_rules! text_type {
    ($name:ident) => {
        impl $name {
            /// The text itself.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl TryFrom<String> for $name {
            type Error = ParseError;

            fn try_from(text: String) -> Result<Self, ParseError> {
                text.parse()
            }
        }

        impl From<$name> for String {
            fn from(name: $name) -> Self {
                name.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

/// An application's name: it is also its file's, its containers' and its system user's, so it is what all of
/// them allow: a lower-case letter, then at most 23 lower-case letters, digits or single `-`.
///
/// 24 and the prefix of the system user, `autotag-`, are the 32 that a user's name may have (useradd(8)).
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, serde::Serialize, serde::Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct AppName(String);

text_type!(AppName);

/// The one such name that no application may have. On a server each has a directory of its name, and beside
/// them is the one of this name, which belongs to all of them.
pub const HOME: &str = "home";

impl FromStr for AppName {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        if text == HOME {
            return Err(ParseError(format!(
                "another name than `{HOME}`: on a server the directory of this name belongs to all applications"
            )));
        }
        let fits = text.len() <= 24
            && text.starts_with(|first: char| first.is_ascii_lowercase())
            && !text.ends_with('-')
            && !text.contains("--")
            && text.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-');
        if fits {
            Ok(Self(text.to_owned()))
        } else {
            Err(ParseError(
                "a name of at most 24 lower-case letters, digits and single `-`, a letter first, such as `shop-api`"
                    .to_owned(),
            ))
        }
    }
}

/// Names one deployment for ever: in CI's log, in labels, in the journal.
///
/// The caller makes it up, so that it can ask for the result although the connection was lost before the
/// first answer; the receiver refuses an id that it knows from another request.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, serde::Serialize, serde::Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct DeploymentId(String);

text_type!(DeploymentId);

impl FromStr for DeploymentId {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        let fits = (8..=64).contains(&text.len())
            && !text.starts_with('-')
            && text.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-');
        if fits {
            Ok(Self(text.to_owned()))
        } else {
            Err(ParseError("a deployment's id: 8 to 64 lower-case letters, digits and `-`".to_owned()))
        }
    }
}

/// The name of an environment variable, by POSIX (Base Definitions 8.1), lower case allowed; at most 128.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, serde::Serialize, serde::Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct EnvironmentKey(String);

text_type!(EnvironmentKey);

impl FromStr for EnvironmentKey {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        let fits = (1..=128).contains(&text.len())
            && !text.starts_with(|first: char| first.is_ascii_digit())
            && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
        if fits {
            Ok(Self(text.to_owned()))
        } else {
            Err(ParseError("a variable's name: letters, digits and `_`, no digit first".to_owned()))
        }
    }
}
