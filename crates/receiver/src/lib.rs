//! The server's side: decides what may run, rolls it out and remembers it.
//!
//! In the order of a deployment:
//!
//! 1. [`forced_command`]: the key's one door, which carries a request to [`serve`] and the answers back;
//! 2. [`serve`]: who asks, whose turn it is, and the job that goes on when the caller leaves;
//! 3. [`app_file`], [`settings`]: what the server's owner allows, every fault at once, and its snapshot;
//! 4. [`admit`]: whether a request may be done at all: pure;
//! 5. [`lock`]: one change of an application at a time, a crash frees it;
//! 6. [`rollout`]: which step comes next, after success, failure and crash: pure;
//! 7. [`driver`], [`container`], [`image_volumes`], [`http_probe`], [`proxy_client`], [`retention`]: how each step is done;
//! 8. [`state`]: the only authority on what runs, durable; [`missing_state`]: what is said where it is gone;
//! 9. [`journal`], [`event_log`], [`masks`]: the audit trail, and what the caller hears; they decide nothing;
//! 10. [`drift`]: how what runs differs from what should: pure.
//!
//! For the server's owner: [`init`], [`remove`], [`check`], [`highest`], [`client`], [`show`], [`cli`].

pub mod config;
pub mod engine;
pub mod execute;
pub mod host;
pub mod policy;

pub mod cli;
pub mod serve;
pub mod state;
#[cfg(test)]
pub(crate) mod testing;
