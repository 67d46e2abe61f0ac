//! The only doors outside: GitHub, the registry, Docker, SSH. They implement [`crate::ports`]; no type of octocrab,
//! reqwest or bollard leaves this module.

pub use http_error::asked_wait;
pub use tls::install_tls;

pub mod docker;
pub mod github;
pub(crate) mod http_error;
pub mod registry;
pub mod retry;
pub mod ssh;
mod tls;
