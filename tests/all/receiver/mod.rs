//! The server's side as a whole: real processes, real Docker, a real registry.

pub mod access;
pub mod crashes;
pub mod deployments;
mod docker_restart;
pub mod engine;
mod files;
mod setup;
