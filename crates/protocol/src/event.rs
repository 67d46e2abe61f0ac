//! What the receiver answers: events as they happen, then the result.

use jiff::Timestamp;
use semver::Version;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::as_text;
use super::codes::{FailureCode, RefusalCode};
use super::names::DeploymentId;
use super::open::{self, Name, Open, Tagged};
use autotag_model::git::ObjectId;
use autotag_model::reference::Digest;

/// The longest answer line, in bytes. A caller that meets a longer one has not reached a receiver.
pub const EVENT_BYTES: usize = 64 * 1024;
/// The longest line of an application's log that is passed on, in bytes; longer ones are cut.
pub const LOG_BYTES: usize = 8 * 1024;

/// One line from the receiver.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", remote = "Self")]
pub enum Event {
    /// A step begins.
    StepStarted {
        /// Which.
        step: Open<RolloutStep>,
    },
    /// A step ended.
    StepEnded {
        /// Which.
        step: Open<RolloutStep>,
        /// How long it took.
        milliseconds: u64,
        /// Why it failed; nothing where it worked.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        failed: Option<String>,
    },
    /// A line that the application, its health check or a smoke test wrote. It is theirs: print it where it
    /// cannot issue commands.
    Log {
        /// Whose.
        from: Open<Source>,
        /// The line.
        line: String,
    },
    /// Something that a person should know and that stops nothing.
    Note {
        /// What.
        text: String,
    },
    /// The receiver lives and is at work; it comes at least every ten seconds.
    Heartbeat {},
    /// Another deployment of this application is at work; this one waits.
    Waiting {
        /// Who is; `None` where the lock's owner has not said yet.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        holder: Option<Holder>,
    },
    /// What runs and what should.
    Status(Box<Status>),
    /// One entry of the history.
    History(Box<HistoryEntry>),
    /// The last line.
    Result(Box<Outcome>),
    /// Something that only a later version says: a sign of life, and nothing else.
    #[serde(skip)]
    Unknown(Name),
}

impl<'de> Tagged<'de> for Event {
    const NAMES: &'static [&'static str] =
        &["step-started", "step-ended", "log", "note", "heartbeat", "waiting", "status", "history", "result"];

    fn known<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        // serde's own, see `remote`.
        Self::deserialize(from)
    }

    fn unknown(name: Name) -> Self {
        Self::Unknown(name)
    }
}

impl<'de> Deserialize<'de> for Event {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        open::tagged(from)
    }
}

impl Serialize for Event {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Unknown(name) => open::write_unknown(name, to),
            known => Self::serialize(known, to),
        }
    }
}

/// Who holds the lock.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Holder {
    /// The process.
    pub pid: u32,
    /// What it does: `deploy 1.2.3`, `rollback`, `recovery`.
    pub purpose: String,
    /// For which deployment, if for one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deployment: Option<DeploymentId>,
    /// Since when.
    pub since: Timestamp,
}

/// The steps of a rollout as people see them.
#[derive(
    Debug,
    Clone,
    Copy,
    PartialEq,
    Eq,
    Hash,
    PartialOrd,
    Ord,
    Serialize,
    Deserialize,
    strum::IntoStaticStr,
    strum::VariantArray,
)]
#[serde(rename_all = "kebab-case")]
#[strum(serialize_all = "kebab-case")]
pub enum RolloutStep {
    /// Write the state down.
    Save,
    /// Pull the image by digest and compare its labels.
    Pull,
    /// Create the container.
    Create,
    /// Start it.
    Start,
    /// Wait until it is healthy, and stays so.
    Health,
    /// Smoke tests on the new container.
    Smoke,
    /// Let requests wait.
    Hold,
    /// Point the proxy at a container.
    Switch,
    /// Smoke tests through the proxy.
    Verify,
    /// Let requests in flight end.
    Drain,
    /// Stop a container.
    Stop,
    /// Remove a container.
    Remove,
    /// Fetch the log of a container that failed.
    Explain,
    /// Remove images that nothing needs.
    Prune,
}

/// Whose line it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, strum::IntoStaticStr)]
#[serde(rename_all = "kebab-case")]
#[strum(serialize_all = "kebab-case")]
pub enum Source {
    /// The application. People read the short form.
    #[strum(serialize = "app")]
    Application,
    /// Docker's health check.
    Health,
    /// A smoke test.
    Smoke,
}

/// A version that runs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Running {
    /// Its version.
    pub version: Version,
    /// Its image.
    #[serde(with = "as_text")]
    pub digest: Digest,
    /// Its commit.
    pub commit: ObjectId,
    /// The deployment that brought it.
    pub deployment: DeploymentId,
}

/// What should run, and how what does differs from it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Status {
    /// What should.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub running: Option<Running>,
    /// Each difference, in words.
    pub drift: Vec<String>,
    /// Versions that were rolled back.
    pub blocked: Vec<Version>,
    /// Who is changing it at this moment.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub busy: Option<Holder>,
    /// The highest version that traffic was ever switched to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub highest: Option<Version>,
    /// What became of the deployment that was asked about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub asked: Option<HistoryEntry>,
}

/// One deployment of the past.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct HistoryEntry {
    /// What was deployed.
    pub release: Running,
    /// When it was asked for.
    pub at: Timestamp,
    /// How it ended.
    pub end: End,
}

/// How a request ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", remote = "Self")]
pub enum End {
    /// The version serves.
    Deployed {},
    /// It did already, with the same configuration; nothing was touched.
    Unchanged {},
    /// The earlier version that was asked for serves.
    RolledBack {},
    /// Nothing was begun.
    Refused {
        /// The kind of reason.
        code: Open<RefusalCode>,
        /// The reason.
        message: String,
    },
    /// It was begun and did not end well; what ran before runs on, unless `running` says otherwise.
    Failed {
        /// Where.
        step: Open<RolloutStep>,
        /// The kind of reason.
        code: Open<FailureCode>,
        /// Why, and what to do.
        message: String,
    },
    /// A question was answered.
    Reported {},
    /// An end that only a later version knows. It is never taken for success.
    #[serde(skip)]
    Unknown(Name),
}

impl<'de> Tagged<'de> for End {
    const NAMES: &'static [&'static str] =
        &["deployed", "unchanged", "rolled-back", "refused", "failed", "reported"];

    fn known<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        Self::deserialize(from)
    }

    fn unknown(name: Name) -> Self {
        Self::Unknown(name)
    }
}

impl<'de> Deserialize<'de> for End {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        open::tagged(from)
    }
}

impl Serialize for End {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Unknown(name) => open::write_unknown(name, to),
            known => Self::serialize(known, to),
        }
    }
}

/// The result: the last line, and the only one that tells of success.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Outcome {
    /// How it ended.
    pub end: End,
    /// What runs now; `None` where nothing was ever deployed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub running: Option<Running>,
    /// The deployment, where the request was one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deployment: Option<DeploymentId>,
    /// How long it took, waiting for the lock included.
    pub milliseconds: u64,
}

impl Outcome {
    /// How long it took.
    pub fn took(&self) -> std::time::Duration {
        std::time::Duration::from_millis(self.milliseconds)
    }
}

/// Why a line is no answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not an answer of a receiver that speaks protocol {protocol}: {why}", protocol = super::PROTOCOL)]
pub struct NotAnEvent {
    why: String,
}

impl NotAnEvent {
    fn new(why: &impl ToString) -> Self {
        // serde quotes what it met, which may be all of the line.
        Self { why: Event::within_line(&why.to_string()) }
    }
}

impl Event {
    /// A log line, cut at [`LOG_BYTES`].
    pub fn log(from: Source, line: &str) -> Self {
        Self::Log { from: from.into(), line: Self::within_line(line.trim_end_matches(['\n', '\r'])) }
    }

    /// A text that certainly fits into an answer: cut at [`LOG_BYTES`], between two characters. The worst
    /// that JSON makes of a byte is six (`\u0000`), so it stays below [`EVENT_BYTES`].
    pub fn within_line(text: &str) -> String {
        if text.len() <= LOG_BYTES {
            return text.to_owned();
        }
        let end = (0..=LOG_BYTES).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0);
        format!("{}\u{2026}", &text[..end])
    }

    /// The line, with its line break. An error means that a text was not kept [`Event::within_line`].
    pub fn to_line(&self) -> Result<String, NotAnEvent> {
        let mut line = serde_json::to_string(self).map_err(|error| NotAnEvent::new(&error))?;
        if line.len() > EVENT_BYTES {
            return Err(NotAnEvent::new(&format!("a line of {} bytes", line.len())));
        }
        line.push('\n');
        Ok(line)
    }

    /// Reads a line, given without its line break.
    pub fn parse(line: &[u8]) -> Result<Self, NotAnEvent> {
        if line.len() > EVENT_BYTES {
            return Err(NotAnEvent::new(&format!("a line of {} bytes", line.len())));
        }
        serde_json::from_slice(line).map_err(|error| NotAnEvent::new(&error))
    }
}
