//! One exchange: a request on its way to the container, its answer on the way back, and the line that it leaves.

mod answer;
pub(crate) mod forward;
pub(crate) mod record;
mod spool;
mod tunnel;
