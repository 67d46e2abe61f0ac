//! Which host keys are accepted: lines as in `known_hosts`, or a SHA256 fingerprint. Pure.

/// The accepted host keys.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KnownHosts;

impl std::str::FromStr for KnownHosts {
    type Err = crate::image::reference::Malformed;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text.contains("ssh-") || text.contains("ecdsa-") || text.contains("SHA256:") {
            return Ok(Self);
        }
        Err(crate::image::reference::Malformed("known-hosts lines, or `SHA256:` fingerprints".to_owned()))
    }
}
