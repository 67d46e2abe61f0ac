//! `receive`: the forced command. It carries a request to `serve` and the answers back, and knows nothing else.

use super::layout::Layout;
use crate::deploy::protocol::AppName;

/// Relays one request. `word` is what the SSH client asked for (`SSH_ORIGINAL_COMMAND`).
#[expect(clippy::unused_async, reason = "what follows awaits")]
pub async fn run(_layout: &Layout, _app: &AppName, _word: Option<&str>) -> anyhow::Result<()> {
    anyhow::bail!("not there yet")
}
