//! Inputs: from what was said to what it means, with every fault reported at once.
//!
//! [`raw`] collects the raw texts (environment, flags), [`run`] reads what GitHub says about the run, and
//! [`order`] parses both into types that cannot be wrong. Nothing after this module looks at a raw text.

mod access;
pub mod checkout;
pub mod clone;
pub mod deploy;
mod event;
pub mod fault;
pub mod head;
pub mod list;
pub mod local_logins;
pub mod order;
pub mod raw;
pub mod run;
pub mod spec;

pub use fault::{Fault, Faults};
pub use order::Order;
pub use raw::{Environment, RawInputs};
pub use run::Run;
