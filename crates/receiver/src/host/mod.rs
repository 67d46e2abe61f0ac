//! What prepares, checks and clears a server.

pub mod check;
pub mod init;
pub mod remove;
