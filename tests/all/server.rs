//! The server's side as a whole: real processes, real Docker, a real registry.

pub mod action;
mod addresses;
mod broken;
mod by_hand;
mod clock_jumps;
mod crashes;
mod deployments;
pub mod disks;
mod docker_socket;
mod faults;
mod key;
mod left_behind;
pub mod moments;
pub mod neighbours;
mod never_up;
mod pairs;
mod revert;
mod secrets;
mod storms;
mod tracer;
