//! x
pub mod leftovers;
pub mod log;
