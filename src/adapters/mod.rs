//! The only doors outside: GitHub, the registry, Docker, SSH. They implement [`crate::ports`]; no type of octocrab,
//! reqwest or bollard leaves this module.

pub use tls::install_tls;
pub use wire::asked_wait;

pub mod docker;
pub mod github;
pub mod registry;
pub mod retry;
pub mod ssh;
mod tls;
pub(crate) mod wire;
