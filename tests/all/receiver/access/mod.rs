//! Who may do what on a server: CI's key, the applications beside, and where secrets are.

mod key;
pub mod neighbours;
mod secrets;
