//! The Engine over bollard.

/// The Engine behind a Unix socket.
#[derive(Debug, Clone)]
pub struct DockerEngine;
