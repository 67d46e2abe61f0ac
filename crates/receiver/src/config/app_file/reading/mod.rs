//! From text to typed values, each fault with its place.

pub(crate) mod quantity;
pub(crate) mod reader;
