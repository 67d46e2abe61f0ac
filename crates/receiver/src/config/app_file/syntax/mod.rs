//! YAML as values with their places, and what is wrong at a place.

pub(crate) mod fault;
pub(crate) mod tree;
