//! Images: their names and digests; the build's context and log.

pub mod reference;
