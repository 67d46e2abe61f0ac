//! Cases of the traffic: answers, bounds, and who the client is.

pub mod answers;
pub mod bounds;
pub mod origin;
