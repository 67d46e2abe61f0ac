//! What decides and does nothing: admission, the rollout machine, drift, retention. Pure.

pub mod retention;

pub mod admit;
pub mod drift;
pub mod rollout;
