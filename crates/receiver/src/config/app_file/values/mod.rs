//! Strings that have a grammar of their own: environment files, variables, quotes.

pub(crate) mod dollar;
pub mod env_file;
pub(crate) mod expand;
pub(crate) mod quotes;
pub(crate) mod variable;
