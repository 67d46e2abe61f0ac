//! One hash over all that shapes a container besides its image.

use std::fmt;
use std::str::FromStr;

use crate::image::reference::{Digest, Malformed};

/// The hash of a configuration. Two app files that mean the same have the same, whatever their comments,
/// the order of their keys or the files that their environment comes from.
///
/// It covers secret values, so it is for the root-owned state and for labels, which only those see who may
/// talk to Docker; the protocol does not carry it, lest a weak secret be guessed from it.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, serde::Serialize, serde::Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ConfigHash(Digest);

impl ConfigHash {
    /// `sha256:…`.
    pub fn as_str(&self) -> &str {
        self.0.as_str()
    }
}

impl FromStr for ConfigHash {
    type Err = Malformed;

    fn from_str(text: &str) -> Result<Self, Malformed> {
        text.parse().map(Self)
    }
}

impl TryFrom<String> for ConfigHash {
    type Error = Malformed;

    fn try_from(text: String) -> Result<Self, Malformed> {
        text.parse()
    }
}

impl From<ConfigHash> for String {
    fn from(hash: ConfigHash) -> Self {
        hash.0.to_string()
    }
}

impl fmt::Display for ConfigHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}
