//! How each step of a rollout is done.

pub mod container;
pub mod container_options;
pub mod driver;
pub(crate) mod errors;
pub mod front;
pub mod image_volumes;
pub mod probe;
