//! Inputs: from what was said to what it means, with every fault reported at once.
//!
//! [`raw`] collects the raw texts (environment, flags), [`run`] reads what GitHub says about the run, and
//! [`request`] parses both into types that cannot be wrong. Nothing after this module looks at a raw text.

mod access;
mod choice;
mod command;
pub mod deploy;
pub mod error;
mod event;
pub mod list;
pub mod raw;
mod reader;
pub mod request;
pub mod run;
pub mod spec;

pub use command::Command;
pub use error::{InputError, InputErrors};
pub use raw::{Environment, RawInputs};
pub use request::Request;
pub use run::Run;
