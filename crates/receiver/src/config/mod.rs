//! What the server's owner allows: the app file, and its snapshot.

pub mod app_file;
pub mod config_hash;
pub mod docker_config;
mod environment;
pub mod masks;
pub mod settings;
