//! BuildKit by its own interface: a build is one `Control.Solve`, watched by `Control.Status`, and what it needs of
//! this machine it asks for in a `Control.Session`.
//!
//! All three go over one connection, whose end ends the build: no container is left that works for nobody. The
//! Engine hands the connection to the BuildKit that it has inside (`POST /grpc`).

mod archive;
mod channel;
mod failed;
mod file_sync;
mod frontend;
mod session;
mod solve;

pub(super) use failed::Failed;
pub(super) use session::BuildSource;
pub(super) use solve::Build;
