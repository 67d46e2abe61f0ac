//! What people and later steps get to see: log, groups, progress, annotations, masks, outputs, the step summary.

pub mod commands;
pub mod console;
pub mod failed;
pub mod log;
mod markdown;
pub mod outputs;
pub mod plan;
pub mod screen;
pub mod servers;
pub mod stages;
pub mod summary;
