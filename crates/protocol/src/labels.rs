//! What the protocol's values are called where people read them.

use crate::{End, HistoryEntry, Holder, Open, RolloutStep, Running, Source, Status};

impl RolloutStep {
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
            Self::Verify => "smoke tests through the proxy",
            Self::Drain => "wait for in-flight requests",
            Self::Stop => "stop the old container",
            Self::Remove => "remove a container",
            Self::Explain => "fetch the failed container's log",
            Self::Prune => "remove old images",
        }
    }

    /// One word, as in the protocol.
    pub fn word(self) -> &'static str {
        self.into()
    }
}

impl Open<RolloutStep> {
    /// What is done in this step; one of a later version has its name alone.
    pub fn words(&self) -> &str {
        match self {
            Self::Known(step) => step.words(),
            Self::Unknown(name) => name.as_str(),
        }
    }

    /// One word, as in the protocol.
    pub fn word(&self) -> &str {
        match self {
            Self::Known(step) => step.word(),
            Self::Unknown(name) => name.as_str(),
        }
    }
}

impl Open<Source> {
    /// Who wrote the line.
    pub fn word(&self) -> &str {
        match self {
            Self::Known(source) => source.word(),
            Self::Unknown(name) => name.as_str(),
        }
    }
}

impl Source {
    /// Who wrote the line.
    pub fn word(self) -> &'static str {
        self.into()
    }
}

impl End {
    /// Whether what was asked for is so.
    pub fn is_good(&self) -> bool {
        matches!(self, Self::Deployed {} | Self::Unchanged {} | Self::RolledBack {} | Self::Reported {})
    }

    /// In a sentence's rest.
    pub fn words(&self) -> String {
        match self {
            Self::Deployed {} => "deployed".to_owned(),
            Self::Unchanged {} => "already running, nothing changed".to_owned(),
            Self::RolledBack {} => "went back".to_owned(),
            Self::Refused { message, .. } => format!("refused: {message}"),
            Self::Failed { step, message, .. } => format!("failed at the step {}: {message}", step.word()),
            Self::Unknown(name) => {
                format!(
                    "ended as `{name}`, which this version does not know; so it does not count as success"
                )
            }
            Self::Reported {} => "reported".to_owned(),
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
    holder.map_or("another deployment is running".to_owned(), |holder| {
        format!("{} has been running since {} (process {})", holder.purpose, holder.since, holder.pid)
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

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use strum::VariantArray as _;

    use super::*;
    use crate::{FailureCode, RefusalCode};
    use autotag_model::reference::Digest;

    #[test]
    fn each_step_has_a_protocol_word_and_a_description() {
        for step in RolloutStep::VARIANTS {
            assert_eq!(serde_json::to_value(step).unwrap(), step.word());
            assert!(step.words().contains(' '), "a few words: {}", step.words());
        }
        let different: BTreeSet<_> = RolloutStep::VARIANTS.iter().map(|step| step.words()).collect();
        assert_eq!(different.len(), RolloutStep::VARIANTS.len());
        let sources = [Source::Application, Source::Health, Source::Smoke];
        assert_eq!(sources.map(Source::word), ["app", "health", "smoke"]);
    }

    #[test]
    fn what_runs_what_was_and_how_it_ended_are_sentences() {
        let release = Running {
            version: "1.2.3".parse().unwrap(),
            digest: Digest::of(b""),
            commit: "0123456789abcdef0123456789abcdef01234567".parse().unwrap(),
            deployment: "run-12345-1".parse().unwrap(),
        };
        let what = format!("1.2.3 (commit {}, e3b0c44298fc)", release.commit.short());
        assert_eq!((running(None).as_str(), running(Some(&release))), ("nothing", what.clone()));
        let at = "2026-01-02T03:04:05Z".parse().unwrap();
        let who = Holder { pid: 7, purpose: "deploy 1.2.2".to_owned(), deployment: None, since: at };
        assert_eq!(
            holder(Some(&who)),
            "deploy 1.2.2 has been running since 2026-01-02T03:04:05Z (process 7)"
        );
        assert_eq!(holder(None), "another deployment is running");
        let now = Status {
            running: Some(release.clone()),
            drift: vec!["it was stopped".to_owned(), "it was edited".to_owned()],
            blocked: Vec::new(),
            busy: None,
            highest: None,
            asked: None,
        };
        assert_eq!(status(&now), format!("runs {what}; drift: it was stopped; drift: it was edited"));
        let entry = |end| HistoryEntry { release: release.clone(), at, end };
        for (end, words) in [
            (End::Deployed {}, "deployed"),
            (End::Unchanged {}, "already running, nothing changed"),
            (End::RolledBack {}, "went back"),
            (
                End::Refused {
                    code: Open::Known(RefusalCode::NewerIsLive),
                    message: "1.3.0 is live".to_owned(),
                },
                "refused: 1.3.0 is live",
            ),
            (
                End::Failed {
                    step: Open::Known(RolloutStep::Health),
                    code: Open::Known(FailureCode::Unhealthy),
                    message: "503".to_owned(),
                },
                "failed at the step health: 503",
            ),
            (End::Reported {}, "reported"),
        ] {
            assert_eq!(history(&entry(end)), format!("2026-01-02T03:04:05Z {what}: {words}"));
        }
    }
}
