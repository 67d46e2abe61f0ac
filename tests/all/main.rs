//! One test binary: linking the dependency tree once is what two cores can afford.

mod context;
mod docker_build;
mod registry;
