//! Messages: what of them passes, what is added, and how bodies travel.

pub(crate) mod activity;
pub(crate) mod body;
pub mod headers;
pub(crate) mod interim;
pub(crate) mod target;
pub mod validity;
pub mod websocket;
