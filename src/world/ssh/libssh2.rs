//! SSH by libssh2.

use super::{Deadlines, Finished, Shell, SshHost};
use crate::secret::Secret;
use crate::world::{Outcome, Trouble, TroubleKind};

/// SSH by libssh2.
#[derive(Debug, Clone, Copy)]
pub struct Libssh2;

impl Shell for Libssh2 {
    async fn run(
        &self,
        host: &SshHost,
        _command: &str,
        _input: &Secret,
        _limit: usize,
        _deadlines: Deadlines,
        _line: &mut dyn FnMut(&[u8]),
    ) -> Outcome<Finished> {
        let doing = format!("connecting to {}", host.host);
        Err(Trouble::new(TroubleKind::Rejected, doing, "SSH is still to come"))
    }
}
