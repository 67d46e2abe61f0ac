//! The server's side: decides what may run, rolls it out and remembers it.
//!
//! In the order of a deployment:
//!
//! 1. [`serve`]: the key's one door ([`serve::forced_command`]), who asks, whose turn it is, and the job that goes on
//!    when the caller leaves; [`event_log`] and [`config::masks`] are what the caller hears;
//! 2. [`config`]: what the server's owner allows, every fault at once, and its snapshot;
//! 3. [`policy`]: whether a request may be done ([`policy::admit`]), which step comes next after success, failure and
//!    crash ([`policy::rollout`]), how what runs differs from what should ([`policy::drift`]), what may go: pure;
//! 4. [`execute`]: how each step is done, by the Docker [`engine`] and the proxy;
//! 5. [`state`]: the only authority on what runs, durable; one change at a time ([`lock`]), the audit trail
//!    ([`state::journal`]), which decides nothing.
//!
//! For the server's owner: [`host`] (`init`, `check`, `remove`) and [`cli`].

pub mod cli;
pub mod config;
pub mod engine;
pub mod event_log;
pub mod execute;
pub mod host;
pub mod lock;
pub mod paths;
pub mod policy;
pub mod serve;
pub mod state;
#[cfg(test)]
pub(crate) mod testing;
