//! Connections and answers that break, stall or wait, on purpose.

pub mod chaos;
pub mod cutter;
pub mod faults;
pub mod http;
pub mod pager;
