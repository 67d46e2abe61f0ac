//! The keys of SSH as people give them: the servers' in known-hosts lines, and the private one. Pure.

pub mod known_hosts;
pub mod private_key;
