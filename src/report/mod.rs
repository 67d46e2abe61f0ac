//! What people and later steps get to see: log, groups, progress, annotations, masks, outputs, the step summary.

pub mod build_log;
pub mod commands;
pub mod deploy_log;
pub mod failed;
pub mod log;
pub mod outputs;
pub mod plan;
pub mod progress;
pub mod screen;
pub mod servers;
pub mod summary;
pub mod terminal_log;
