//! The deployment: what the action and the server's program say to each other.

pub mod protocol;
