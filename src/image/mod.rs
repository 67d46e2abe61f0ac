//! Images: their names, labels and digests; the build's context and log.

#[cfg(feature = "action")]
pub mod context;
#[cfg(feature = "action")]
pub mod dockerfile;
#[cfg(feature = "action")]
pub mod ignore;
pub mod labels;
#[cfg(any(feature = "action", feature = "receiver"))]
pub mod login;
pub mod reference;
#[cfg(feature = "action")]
pub mod workspace;
