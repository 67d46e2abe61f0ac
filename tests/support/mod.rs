//! What tests need of the outside: GitHub as a stateful double, a real registry, a front for its pages.
//!
//! Every server here runs on a thread of its own, so a test may block (on a child process, say) and
//! needs no runtime for them.

#![allow(
    dead_code,
    unused_imports,
    reason = "each test takes what it needs; the demo's program shares a part"
)]

pub mod act;
pub mod app_image;
pub mod app_process;
pub mod busybox_image;
pub mod chaos;
pub mod clock;
pub mod cutter;
pub mod engine_words;
pub mod faults;
pub mod github;
pub mod http;
pub mod load;
pub mod machine;
pub mod pager;
pub mod parsers;
pub mod programs;
pub mod registry;
pub mod server;
pub mod simulation;
pub mod sshd;
pub mod tiny_image;
pub mod torture;
