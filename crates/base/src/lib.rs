//! What both programs stand on: time, terminal, manual pages, and how a failed call is described.

/// What both programs call their version: that of the release they were built for, else the package's.
pub const VERSION: &str = match option_env!("VERSION") {
    Some(version) => version,
    None => env!("CARGO_PKG_VERSION"),
};

/// What any call outside gives.
pub type CallResult<T> = Result<T, CallError>;

pub use call_error::{CallError, CallErrorKind, Cause, Effect};

mod call_error;
pub mod clock;
pub mod manual;
pub mod terminal;
