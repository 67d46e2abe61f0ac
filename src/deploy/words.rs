//! What the protocol's values are called where people read them.

use super::protocol::{End, HistoryEntry, Holder, Milestone, Running, Source, Status};

impl Milestone {
    /// What is done in this step.
    pub fn words(self) -> &'static str {
        match self {
            Self::Save => "write the state down",
            Self::Pull => "pull the image",
            Self::Create => "create the container",
            Self::Start => "start it",
            Self::Health => "wait until it is healthy",
            Self::Smoke => "smoke tests",
            Self::Hold => "let requests wait",
            Self::Switch => "switch the traffic",
            Self::Verify => "smoke tests through the front door",
            Self::Drain => "let requests in flight end",
            Self::Stop => "stop the old container",
            Self::Remove => "remove a container",
            Self::Explain => "fetch the failed container's log",
            Self::Prune => "remove old images",
        }
    }

    /// One word, as in the protocol.
    pub fn word(self) -> &'static str {
        match self {
            Self::Save => "save",
            Self::Pull => "pull",
            Self::Create => "create",
            Self::Start => "start",
            Self::Health => "health",
            Self::Smoke => "smoke",
            Self::Hold => "hold",
            Self::Switch => "switch",
            Self::Verify => "verify",
            Self::Drain => "drain",
            Self::Stop => "stop",
            Self::Remove => "remove",
            Self::Explain => "explain",
            Self::Prune => "prune",
        }
    }
}

impl Source {
    /// Who wrote the line.
    pub fn word(self) -> &'static str {
        match self {
            Self::Application => "app",
            Self::Health => "health",
            Self::Smoke => "smoke",
        }
    }
}

impl End {
    /// Whether what was asked for is so.
    pub fn is_good(&self) -> bool {
        matches!(self, Self::Deployed {} | Self::Unchanged {} | Self::RolledBack {} | Self::Told {})
    }

    /// In a sentence's rest.
    pub fn words(&self) -> String {
        match self {
            Self::Deployed {} => "deployed".to_owned(),
            Self::Unchanged {} => "ran already, nothing was touched".to_owned(),
            Self::RolledBack {} => "went back".to_owned(),
            Self::Refused { message, .. } => format!("refused: {message}"),
            Self::Failed { step, message } => format!("failed at the step {}: {message}", step.word()),
            Self::Told {} => "told".to_owned(),
        }
    }
}

/// What runs: `1.2.3 (commit 0123456, sha256:...)`.
pub fn running(running: Option<&Running>) -> String {
    running.map_or("nothing".to_owned(), |running| {
        format!("{} (commit {}, {})", running.version, running.commit.short(), running.digest.short())
    })
}

/// Who holds the lock.
pub fn holder(holder: Option<&Holder>) -> String {
    holder.map_or("another deployment is at work".to_owned(), |holder| {
        format!("{} is at work since {} (process {})", holder.purpose, holder.since, holder.pid)
    })
}

/// What runs and what differs from what should.
pub fn status(status: &Status) -> String {
    let mut text = format!("runs {}", running(status.running.as_ref()));
    for drift in &status.drift {
        text.push_str("; drift: ");
        text.push_str(drift);
    }
    text
}

/// One line of the history.
pub fn history(entry: &HistoryEntry) -> String {
    format!("{} {}: {}", entry.at, running(Some(&entry.release)), entry.end.words())
}
