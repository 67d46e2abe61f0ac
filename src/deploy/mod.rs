//! The deployment: what the action and the server's program say to each other, and the action's side of it.

pub mod conversation;
pub mod host_sequence;

pub mod github;
pub mod hosts;
pub mod published;
