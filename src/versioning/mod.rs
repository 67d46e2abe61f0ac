//! Versions: which one comes next, or why none does. Everything here is pure.

pub mod bump;
pub mod claim;
pub mod conventional;
pub mod form;
pub mod passed_over;
pub mod plan;
pub mod tag;
