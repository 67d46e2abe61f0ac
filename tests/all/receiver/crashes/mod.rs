//! Processes, disks, clocks and Docker that fail at each step of a deployment.

mod clock_jumps;
pub mod disks;
pub mod docker_socket;
mod each_step;
mod earlier_states;
pub mod held;
mod host_failures;
mod random_kills;
mod tracer;
