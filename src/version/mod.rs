//! Versions: which one comes next, or why none does. Everything here is pure.

pub mod git;
