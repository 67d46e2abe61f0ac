//! autotag-deploy takes a merge to a released, verifiable image in one step, and to the server that runs it.
//!
//! The modules stand in the order of the story:
//!
//! 1. [`inputs`]: what was given (environment, flags, event) becomes what it means, every fault at once;
//! 2. [`versioning`]: which version comes next, or why none does: pure;
//! 3. [`ports`]: what a release needs of the outside, as traits; [`adapters`] implement them (GitHub, registry,
//!    Docker, SSH);
//! 4. [`release`]: survey, claim, publish, `latest` and the GitHub release;
//! 5. [`deploy`]: the conversation with each server;
//! 6. [`pipeline`]: the whole transaction in one readable function;
//! 7. [`report`]: what people and later steps get to see;
//! 8. [`failure`]: what failed, why, what is already done, what to do now.
//!
//! What the server's program shares with it are crates of their own: `autotag-model`, `autotag-protocol`,
//! `autotag-base`, `autotag-docker`. The build's context is `autotag-build-context`.

pub mod adapters;
pub mod app;
pub mod cli;
pub mod deploy;
pub mod failure;
pub mod inputs;
pub mod local;
pub mod pipeline;
pub mod ports;
pub mod release;
pub mod report;
pub mod ssh_keys;
pub mod versioning;
