//! What the owner asks `init` for.

use std::fmt;
use std::str::FromStr;

use crate::config::app_file::{HostName, Listen};
use autotag_model::reference::{ImageName, ParseError};
use autotag_protocol::AppName;

/// The arguments, checked.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(missing_docs, reason = "the command's help says what they mean")]
pub struct InitOptions {
    pub app: AppName,
    pub image: Option<ImageName>,
    pub port: Option<u16>,
    pub listen: Option<Listen>,
    pub hosts: Vec<HostName>,
    pub health: Option<String>,
    pub key: Option<PublicKey>,
    pub new_key: bool,
    pub adopt: Option<String>,
    pub ssh_port: u16,
    pub public_name: Option<String>,
}

impl InitOptions {
    /// Nothing but the name.
    pub fn of(app: AppName) -> Self {
        Self {
            app,
            image: None,
            port: None,
            listen: None,
            hosts: Vec::new(),
            health: None,
            key: None,
            new_key: false,
            adopt: None,
            ssh_port: 22,
            public_name: None,
        }
    }

    /// The options that only make a new app file, where any was given.
    pub(super) fn ignored_where_a_file_exists(&self) -> Option<String> {
        let given = [
            ("--image", self.image.is_some()),
            ("--port", self.port.is_some()),
            ("--listen", self.listen.is_some()),
            ("--host", !self.hosts.is_empty()),
            ("--health", self.health.is_some()),
            ("--adopt", self.adopt.is_some()),
        ];
        let names: Vec<&str> = given.iter().filter(|(_, given)| *given).map(|(name, _)| *name).collect();
        (!names.is_empty()).then(|| names.join(", "))
    }
}

/// A public key as `ssh-keygen` writes it: `ssh-ed25519 AAAA… comment`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PublicKey {
    line: String,
    blob: String,
}

impl PublicKey {
    /// The key itself, without kind and comment.
    pub fn blob(&self) -> &str {
        &self.blob
    }
}

impl FromStr for PublicKey {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        let expected = || {
            ParseError(
                "one public key without options, the line of a file that ends in .pub, such as `ssh-ed25519 AAAA... me@workstation`"
                    .to_owned(),
            )
        };
        let line = text.trim();
        let mut words = line.split_ascii_whitespace();
        let (kind, blob) = words.next().zip(words.next()).ok_or_else(expected)?;
        let kinds =
            ["ssh-ed25519", "ssh-rsa", "sk-ssh-ed25519@openssh.com", "sk-ecdsa-sha2-nistp256@openssh.com"];
        let known = kinds.contains(&kind) || kind.starts_with("ecdsa-sha2-nistp");
        // Every blob begins with the length of the kind's name, four bytes of which three are zero.
        let base64 = blob.starts_with("AAAA")
            && blob.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"+/=".contains(&byte));
        if known && base64 && !line.chars().any(char::is_control) {
            Ok(Self { line: line.to_owned(), blob: blob.to_owned() })
        } else {
            Err(expected())
        }
    }
}

impl fmt::Display for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.line)
    }
}
