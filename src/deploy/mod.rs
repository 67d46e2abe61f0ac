//! The deployment: what the action and the server's program say to each other, and the action's side of it.

pub mod advice;
#[cfg(feature = "action")]
pub mod caller;
#[cfg(feature = "action")]
pub mod github;
#[cfg(feature = "action")]
pub mod hosts;
#[cfg(feature = "action")]
pub mod known_hosts;
#[cfg(feature = "action")]
pub mod private_key;
pub mod protocol;
#[cfg(feature = "action")]
pub mod published;
#[cfg(feature = "action")]
pub mod tour;
#[cfg(feature = "action")]
pub mod words;
