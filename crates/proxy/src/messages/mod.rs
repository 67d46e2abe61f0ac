//! Messages: what of them passes, what is added, and how bodies travel.

pub(crate) mod body;
pub mod headers;
pub(crate) mod interim;
pub(crate) mod spool;
pub(crate) mod target;
pub(crate) mod tunnel;
pub mod validity;
pub mod websocket;
