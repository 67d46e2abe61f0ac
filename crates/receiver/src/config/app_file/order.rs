//! Which container goes first.

use serde::{Deserialize, Serialize};

/// Whether the new container starts before the old one stops.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, strum::EnumString)]
#[serde(rename_all = "kebab-case")]
#[strum(serialize_all = "kebab-case")]
pub enum Order {
    /// Both run for a while: no request waits.
    StartFirst,
    /// Never both: for what cannot run twice (SQLite, single workers). Requests wait meanwhile.
    StopFirst,
}
