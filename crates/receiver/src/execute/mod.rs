//! How each step of a rollout is done.

pub mod http_probe;
pub mod proxy_client;

pub mod container;
pub mod container_options;
pub mod driver;
pub(crate) mod errors;
pub mod image_volumes;
