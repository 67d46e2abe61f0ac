//! The action: its stages, its adapters, its command line and its image, from real runs.

mod act;
pub mod build;
pub mod cli;
pub mod context;
pub mod deploy;
pub mod docker_build;
mod registry;
pub mod release;
pub mod runner;
mod ssh;
pub mod workflow;
