//! The traffic proxy on real sockets: applications, clients and the admin side are all on loopback.

mod admin;
pub(crate) mod app;
mod conformance;
mod draining;
mod ending;
mod front_proxy;
mod load_table;
pub(crate) mod process;
mod restart;
mod smuggling;
pub(crate) mod stage;
mod swaps;
mod websocket;
