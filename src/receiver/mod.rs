//! The server's side: decides what may run, rolls it out and remembers it.
//!
//! In the order of a deployment:
//!
//! 1. [`app_file`]: what the server's owner allows, every fault at once;
//! 2. [`admit`]: whether a request may be done at all: pure;
//! 3. [`lock`]: one change of an application at a time, a crash frees it;
//! 4. [`rollout`]: which step comes next, after success, failure and crash: pure;
//! 5. [`state`]: the only authority on what runs, durable;
//! 6. [`journal`]: the audit trail, which decides nothing.
//!
//! Nothing here talks to Docker or to the proxy: a driver carries out the steps that [`rollout`] names.

pub mod admit;
pub mod app_file;
pub mod check;
pub mod cli;
pub mod client;
pub mod config_hash;
pub mod container;
pub mod docker_config;
pub mod drift;
pub mod driver;
pub mod front;
pub mod init;
pub mod job;
pub mod journal;
pub mod layout;
pub mod lock;
pub mod probe;
pub mod relay;
pub mod remove;
pub mod rollout;
pub mod serve;
pub mod settings;
pub mod show;
pub mod state;
#[cfg(test)]
pub(crate) mod testing;
pub mod tidy;
