//! What the builder and the receiver share of Docker: how its Engine is spoken to, and whose logins it has.

pub mod daemon;
pub mod login;
