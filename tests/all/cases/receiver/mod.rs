//! Cases of the server: app files, containers, the key, Engines.

pub mod app_file;
pub mod engines;
pub mod env_files;
pub mod logs;
pub mod names;
pub mod options;
pub mod own_probes;
pub mod podman;
pub mod policy;
pub mod removed;
pub mod sshd;
pub mod volumes;
