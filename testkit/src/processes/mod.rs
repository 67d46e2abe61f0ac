//! Programs and machines that tests start.

use std::time::Duration;

pub mod act;
pub mod app_process;
pub mod machine;
pub mod sshd;

/// How long something may take before a test gives up: machines are slow at times.
pub const PATIENCE: Duration = Duration::from_secs(90);
