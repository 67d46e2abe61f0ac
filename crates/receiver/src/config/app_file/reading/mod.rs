//! From text to typed values, each fault with its place.

pub(crate) mod fault;
pub(crate) mod quantity;
pub(crate) mod reader;
pub(crate) mod tree;
