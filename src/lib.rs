//! autotag-deploy takes a merge to a released, verifiable image in one step.
//!
//! The modules stand in the order of the story:
//!
//! 1. [`inputs`]: what was said (environment, flags, event) becomes what it means, every fault at once;
//! 2. [`version`]: which version comes next, or why none does: pure;
//! 3. [`image`]: names, labels, digests, the build's context and log;
//! 4. [`release`]: survey, claim, publish, `latest` and the GitHub release;
//! 5. [`pipeline`]: the whole transaction in one readable function;
//! 6. [`report`]: what people and later steps get to see;
//! 7. [`world`]: the only doors outside (GitHub, registry, Docker, SSH, clock);
//! 8. [`failure`]: what failed, why, what is already done, what to do now; [`help`]: where the README says more.
//!
//! From the release to a server that runs it:
//!
//! 9. [`deploy`]: the language that the action and the server speak, and the action's side of it;
//! 10. [`receiver`]: the server's side: what may run, the rollout, its state, and the owner's commands;
//! 11. [`proxy`]: the traffic proxy.
//!
//! The feature `action` builds the action's side, `receiver` the server's; they share types only.

/// What both programs call their version: that of the release they were built for, else the package's.
pub const VERSION: &str = match option_env!("VERSION") {
    Some(version) => version,
    None => env!("CARGO_PKG_VERSION"),
};

pub mod help;
pub mod image;
pub mod secret;
pub mod text;
pub mod version;

#[cfg(feature = "action")]
pub mod app;
#[cfg(feature = "action")]
pub mod cli;
#[cfg(any(feature = "action", feature = "receiver"))]
pub mod deploy;
#[cfg(feature = "action")]
pub mod failure;
#[cfg(feature = "action")]
pub mod inputs;
#[cfg(any(feature = "action", feature = "receiver"))]
pub mod manual;
#[cfg(feature = "action")]
pub mod pipeline;
#[cfg(feature = "receiver")]
pub mod proxy;
#[cfg(feature = "receiver")]
pub mod receiver;
#[cfg(feature = "action")]
pub mod release;
#[cfg(feature = "action")]
pub mod report;
#[cfg(any(feature = "action", feature = "receiver"))]
pub mod terminal;
pub mod world;
