//! Failures that users meet: each ends in one annotation, which says what to do and links the README's section.
//!
//! The real program fails against the real parts. What people read is approved as a whole, in
//! `tests/all/remedies/snapshots/`; ports, digests and directories are replaced by words there.

mod annotation;
mod build;
mod connection;
mod github;
mod owner;
mod registry;
mod server;

pub use annotation::{annotated, text_of};
