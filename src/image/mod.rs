//! Images: their names and digests; the build's context and log.

#[cfg(feature = "action")]
pub mod ignore;
pub mod reference;
