//! `serve`: root's part. It owns Docker, app files, state, lock and journal, and answers on a Unix socket.

use super::layout::Layout;

/// Runs until SIGTERM or SIGINT.
#[expect(clippy::unused_async, reason = "what follows awaits")]
pub async fn run(_layout: Layout) -> anyhow::Result<()> {
    anyhow::bail!("not there yet")
}
