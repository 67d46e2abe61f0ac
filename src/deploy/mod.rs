//! The deployment: what the action and the server's program say to each other, and the action's side of it.

#[cfg(feature = "action")]
pub mod known_hosts;
#[cfg(feature = "action")]
pub mod private_key;
pub mod protocol;
