//! How much, how long and how slow: the bounds, and who watches over them.

pub(crate) mod crowd;
pub mod limits;
pub(crate) mod pace;
pub mod shares;
