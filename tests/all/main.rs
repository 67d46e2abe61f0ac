//! All integration tests, in one program.

mod context;
mod docker_build;
