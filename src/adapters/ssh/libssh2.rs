//! SSH by libssh2.

use ssh2::DisconnectCode;

use super::connect::{SshSession, connect};
use super::exchange::{self, Talk};
use super::fault::RunningCommand;
use crate::ports::{Deadlines, Finished, RemoteExec, SshHost};
use autotag_base::CallResult;
use autotag_base::clock::Stopwatch;
use autotag_model::secret::Secret;

/// SSH by libssh2, never blocking: all waiting is tokio's, so that a deadline or a dropped future ends it at
/// any moment. A thread with libssh2's own blocking calls could only be left behind.
#[derive(Debug, Clone, Copy, Default)]
pub struct Libssh2;

impl RemoteExec for Libssh2 {
    async fn run(
        &self,
        host: &SshHost,
        command: &str,
        input: &Secret,
        limit: usize,
        deadlines: Deadlines,
        line: &mut dyn FnMut(&[u8]),
    ) -> CallResult<Finished> {
        let whole = Stopwatch::start();
        let connection = connect(host, deadlines.connect.min(deadlines.whole)).await?;
        let running = RunningCommand { host, command };
        let talk = Talk { running, input: input.reveal().as_bytes(), limit, idle: deadlines.idle, line };
        let left = deadlines.whole.saturating_sub(whole.elapsed());
        let ran = tokio::time::timeout(left, run(connection, talk)).await;
        ran.unwrap_or_else(|_| Err(running.too_long(deadlines.whole)))
    }
}

async fn run(connection: SshSession, talk: Talk<'_>) -> CallResult<Finished> {
    let SshSession { socket, session } = &connection;
    let mut channel = exchange::start(talk.running, socket, session, talk.idle).await?;
    let finished = talk.hold(socket, &mut channel).await?;
    // Only for the server's log; it closes the connection either way.
    let _ = session.disconnect(Some(DisconnectCode::ByApplication), "done", None);
    Ok(finished)
}
