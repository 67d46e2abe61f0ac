//! Images: their names, labels and digests; the build's context and log.

pub mod labels;
pub mod reference;
