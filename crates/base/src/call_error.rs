//! What can go wrong outside, cut down to the distinctions that somebody branches on.

use std::fmt;
use std::time::Duration;

use autotag_model::help::Topic;

/// Whether a failed request changed something.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Effect {
    /// It did not: the request was answered with a refusal, or never left.
    None,
    /// It may have: it left, and no answer came. Look again; never repeat blindly.
    Unknown,
}

/// The kinds of trouble that are treated differently.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CallErrorKind {
    /// No connection, a reset, a timeout, 5xx: the other side may be back in a moment.
    Unreachable,
    /// 429 or a rate limit: come back after a while.
    Throttled,
    /// 401, 403: credentials are missing, wrong, or may not do this.
    Denied,
    /// The other side says no for a reason of its own (400, 409, 422 ...).
    Rejected,
    /// An answer that makes no sense: wrong content type, cut short, not parseable, another digest.
    InvalidResponse,
    /// The user's own build failed: a step, the Dockerfile, the context.
    Build,
    /// An input names what must not be used, or what is there in its place.
    Input,
}

/// What exactly went wrong, where somebody branches on it. It is read where the other side's words are: later on
/// nobody looks into a text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cause {
    /// No Docker Engine answers, or what answers is none.
    NoEngine,
    /// A disk is full.
    DiskFull,
    /// A port belongs to another program.
    PortInUse,
    /// The registry has no such image.
    NoImage,
    /// An image has nothing for this machine.
    Platform,
}

/// One failed call outside.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub struct CallError {
    /// How it is treated.
    pub kind: CallErrorKind,
    /// Whether it may have changed something.
    pub effect: Effect,
    /// What was tried, in words: `listing the tags of ghcr.io/org/app`.
    pub doing: String,
    /// What came back, in words, status included; never a secret.
    pub why: String,
    /// What the user can do about it, where that is known here.
    pub remedy: Option<String>,
    /// The section of the documentation about it, where there is one.
    pub topic: Option<Topic>,
    /// What it was exactly, where that is known here.
    pub cause: Option<Cause>,
    /// How long the other side asked to be left alone.
    pub retry_after: Option<Duration>,
    /// The login was not known (any more): a further run has one of its own.
    pub login_ran_out: bool,
}

impl CallError {
    /// CallError without effect, remedy, topic or waiting time.
    pub fn new(kind: CallErrorKind, doing: impl Into<String>, why: impl Into<String>) -> Self {
        Self {
            kind,
            effect: Effect::None,
            doing: doing.into(),
            why: why.into(),
            remedy: None,
            topic: None,
            cause: None,
            retry_after: None,
            login_ran_out: false,
        }
    }

    /// The same, with what the user can do.
    #[must_use]
    pub fn with_remedy(mut self, remedy: impl Into<String>) -> Self {
        self.remedy = Some(remedy.into());
        self
    }

    /// The same, with the section of the documentation about it.
    #[must_use]
    pub fn about(mut self, topic: Topic) -> Self {
        self.topic = Some(topic);
        self
    }

    /// The same, with what it was exactly.
    #[must_use]
    pub fn caused_by(mut self, cause: impl Into<Option<Cause>>) -> Self {
        self.cause = cause.into();
        self
    }

    /// The same, marked as perhaps done.
    #[must_use]
    pub fn perhaps_done(mut self) -> Self {
        self.effect = Effect::Unknown;
        self
    }
}

impl fmt::Display for CallError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.doing, self.why)
    }
}
