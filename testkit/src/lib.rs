//! What tests need of the outside: GitHub as a stateful double, a real registry, sshd, the server's program with its
//! Docker, clients that load it. One library for the tests, the scripts' programs (`src/bin`) and the fuzzer.
//!
//! Every server here runs on a thread of its own, so a test may block (on a child process, say) and
//! needs no runtime for them.

#![allow(
    missing_docs,
    clippy::missing_panics_doc,
    clippy::return_self_not_must_use,
    reason = "what a test cannot have, it panics about; its readers are here"
)]

pub mod clock;
pub mod engine_words;
pub mod github;
pub mod images;
pub mod load;
pub mod network;
pub mod parsers;
pub mod processes;
pub mod programs;
pub mod registry;
pub mod server;
pub mod simulation;
pub mod torture;
