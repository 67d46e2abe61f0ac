//! Cases of the action: what it builds, which version it takes, what it does after publishing.

pub mod after_publishing;
pub mod build;
pub mod checkout;
pub mod context;
pub mod supply;
pub mod tools;
pub mod versions;
