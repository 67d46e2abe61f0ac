//! The one test binary.

#[path = "../support/mod.rs"]
mod support;

mod double;
