//! Which host keys are accepted: lines as in `known_hosts`, or SHA256 fingerprints. Pure.
//!
//! A fingerprint is bound to its host by the name before it: `web1.example.com SHA256:...`, with or without
//! what `ssh-keygen -l` prints around it. One without a name counts for any host, which is good for one server.
//!
//! The format is that of sshd(8), "SSH_KNOWN_HOSTS FILE FORMAT", and it is matched here: libssh2 knows
//! neither wildcards nor negation nor markers, and takes a text of several lines for one without hosts.

mod line;
#[cfg(test)]
mod tests;

use std::fmt;
use std::str::FromStr;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use sha2::{Digest as _, Sha256};

use self::line::{Entry, Names};
use autotag_model::reference::ParseError;

/// The host key algorithms that are asked for, in OpenSSH's order of preference. An `ssh-rsa` key signs by
/// SHA-2 only: SHA-1 signatures are not accepted.
const ALGORITHMS: [&str; 6] = [
    "ssh-ed25519",
    "ecdsa-sha2-nistp256",
    "ecdsa-sha2-nistp384",
    "ecdsa-sha2-nistp521",
    "rsa-sha2-512",
    "rsa-sha2-256",
];

/// The accepted host keys; at least one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KnownHosts(Vec<Entry>);

/// What is known of a key that a server presented.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HostKeyCheck {
    /// It is this host's.
    Known,
    /// Nothing is known of this host.
    Unknown,
    /// Other keys are known of this host: it was reinstalled, or somebody else answers in its place.
    Changed {
        /// Fingerprints of the known ones, with their types where these are known.
        known: Vec<String>,
    },
}

impl KnownHosts {
    /// What is known of the key that `host` presented on this port: its type (`ssh-ed25519`) and its blob,
    /// as RFC 4253 (6.6) writes it.
    pub fn accepts(&self, host: &str, port: u16, key_type: &str, key_blob: &[u8]) -> HostKeyCheck {
        let digest: [u8; 32] = Sha256::digest(key_blob).into();
        let host = Host::new(host, port);
        let same = |entry: &Entry| match entry {
            Entry::Fingerprint { names, sha256, .. } => *sha256 == digest && host.is_meant_by(names.as_ref()),
            Entry::Key { names, key_type: known, blob } => {
                known == key_type && blob == key_blob && (host.is_in(names) || host.is_in_without_port(names))
            }
        };
        if self.0.iter().any(same) {
            return HostKeyCheck::Known;
        }
        let known: Vec<String> = self.of(&host).map(Entry::to_string).collect();
        if known.is_empty() { HostKeyCheck::Unknown } else { HostKeyCheck::Changed { known } }
    }

    /// All host key algorithms, those first of which a key of this host is known: a server shows one key
    /// only, and should show that one.
    pub fn key_types_for(&self, host: &str, port: u16) -> Vec<&'static str> {
        let host = Host::new(host, port);
        let near = |entry: &&Entry| match entry {
            Entry::Fingerprint { names, .. } => host.is_meant_by(names.as_ref()),
            Entry::Key { names, .. } => host.is_in(names) || host.is_in_without_port(names),
        };
        let key_types: Vec<&str> = self.0.iter().filter(near).filter_map(Entry::key_type).collect();
        let is_known = |algorithm: &&str| key_types.iter().any(|known| signs_by(known, algorithm));
        let (mut first, rest): (Vec<_>, Vec<_>) = ALGORITHMS.into_iter().partition(|name| is_known(name));
        first.extend(rest);
        first
    }

    /// Whether there is a fingerprint that does not tell of which type its key is: the server may have that
    /// key, and show another as long as it may choose.
    pub fn has_fingerprints_of_no_type(&self) -> bool {
        self.0.iter().any(|entry| matches!(entry, Entry::Fingerprint { key_type: None, .. }))
    }

    /// Whether there is a fingerprint that is not bound to a host: whoever has that key is believed to be any.
    pub fn has_fingerprints_of_no_host(&self) -> bool {
        self.0.iter().any(|entry| matches!(entry, Entry::Fingerprint { names: None, .. }))
    }

    /// The entries for this host.
    fn of<'a>(&'a self, host: &Host) -> impl Iterator<Item = &'a Entry> {
        self.0.iter().filter(move |entry| match entry {
            Entry::Fingerprint { names: None, .. } => true,
            Entry::Fingerprint { names: Some(names), .. } | Entry::Key { names, .. } => host.is_in(names),
        })
    }
}

/// Whether keys of this type sign by this algorithm.
pub fn signs_by(key_type: &str, algorithm: &str) -> bool {
    key_type == algorithm || (key_type == "ssh-rsa" && algorithm.starts_with("rsa-sha2-"))
}

/// A key's fingerprint, as `ssh-keygen -l` shows it.
pub fn fingerprint(key_blob: &[u8]) -> String {
    as_fingerprint(&Sha256::digest(key_blob).into())
}

fn as_fingerprint(sha256: &[u8; 32]) -> String {
    format!("SHA256:{}", STANDARD_NO_PAD.encode(sha256))
}

impl FromStr for KnownHosts {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        let mut entries = Vec::new();
        let mut faults = Vec::new();
        for (index, line) in text.lines().enumerate() {
            match line::parse(line.trim()) {
                Ok(entry) => entries.extend(entry),
                Err(fault) => faults.push(format!("line {} is {fault}", index + 1)),
            }
        }
        if entries.is_empty() && faults.is_empty() {
            faults.push("there is none".to_owned());
        }
        if faults.is_empty() {
            return Ok(Self(entries));
        }
        Err(ParseError(format!(
            "the server's host keys: lines as `ssh-keyscan HOST` prints them, or fingerprints `SHA256:...` \
             as \
             `ssh-keygen -lf` prints them; {}",
            faults.join("; ")
        )))
    }
}

impl fmt::Display for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Fingerprint { sha256, key_type: None, .. } => f.write_str(&as_fingerprint(sha256)),
            Self::Fingerprint { sha256, key_type: Some(key_type), .. } => {
                write!(f, "{} ({key_type})", as_fingerprint(sha256))
            }
            Self::Key { key_type, blob, .. } => write!(f, "{} ({key_type})", fingerprint(blob)),
        }
    }
}

/// A host as it stands in lines: lower case, `[host]:port` where the port is not 22.
struct Host {
    bare: String,
    with_port: String,
}

impl Host {
    fn new(host: &str, port: u16) -> Self {
        let bare = host.trim_start_matches('[').trim_end_matches(']').to_ascii_lowercase();
        let with_port = if port == 22 { bare.clone() } else { format!("[{bare}]:{port}") };
        Self { bare, with_port }
    }

    fn is_in(&self, names: &Names) -> bool {
        names.contain(&self.with_port)
    }

    /// Whether a fingerprint's line is about this host; one without names is about any.
    fn is_meant_by(&self, names: Option<&Names>) -> bool {
        names.is_none_or(|names| self.is_in(names) || self.is_in_without_port(names))
    }

    /// OpenSSH's own leniency: the very key of a host on port 22 is accepted on its other ports.
    fn is_in_without_port(&self, names: &Names) -> bool {
        names.contain(&self.bare)
    }
}
