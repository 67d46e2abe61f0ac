//! The project itself: its documents, its structure, what it is built from, what it shows.

mod circles;
pub mod docs;
mod examples;
mod layering;
mod pictures;
pub mod supply;
mod workflows;
