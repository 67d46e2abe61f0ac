//! Compose's keys of a container, one module a subject.

pub(crate) mod gpus;
pub(crate) mod health;
pub(crate) mod logging;
pub(crate) mod mounts;
pub(crate) mod names;
pub(crate) mod network;
pub(crate) mod ports;
pub(crate) mod resources;
pub(crate) mod security;
mod target;
pub(crate) mod tmpfs;
