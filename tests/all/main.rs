//! One test binary: linking the dependency tree once is what two cores can afford.

#[path = "../support/mod.rs"]
mod support;

mod action;
mod context;
mod docker_build;
mod double;
mod receiver;
mod registry;
mod release;
