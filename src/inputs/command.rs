//! The commands.

/// What to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, strum::EnumString, strum::VariantNames)]
#[strum(serialize_all = "lowercase")]
pub enum Command {
    /// Print what `release` would do.
    Plan,
    /// The whole transaction.
    Release,
    /// Bring a version that is published to the servers.
    Deploy,
    /// Let the servers go back.
    Rollback,
    /// Ask the servers what runs.
    Status,
}

impl Command {
    /// Whether it is about servers and nothing else, so that it needs one.
    pub fn reaches_servers(self) -> bool {
        matches!(self, Self::Deploy | Self::Rollback | Self::Status)
    }
}
