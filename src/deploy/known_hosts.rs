//! Which host keys are accepted: lines as in `known_hosts`, or a SHA256 fingerprint. Pure.

/// The accepted host keys.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KnownHosts;
