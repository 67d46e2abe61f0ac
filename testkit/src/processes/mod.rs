//! Programs and machines that tests start.

pub mod act;
pub mod app_process;
pub mod machine;
pub mod programs;
pub mod sshd;
