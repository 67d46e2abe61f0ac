//! What failed, why, what is already done, what to do now: the one form in which a run fails.

use crate::versioning::plan::PlanRefusal;
use autotag_base::{CallError, CallErrorKind};
use autotag_model::help;
use autotag_model::help::Topic;

/// The kind of a failure, and with it the program's exit code. docs/reference.md lists them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FailureKind {
    /// A defect of this program.
    Internal,
    /// Inputs, environment or event are not usable.
    Input,
    /// Somebody refused our credentials, or a rule forbids the act.
    Denied,
    /// Somebody could not be reached or did not answer sensibly; running again may help.
    Unavailable,
    /// The user's build failed.
    Build,
    /// What exists contradicts what is asked for: a taken version, a moved tag.
    Conflict,
    /// A server did not get, or does not serve, what it should.
    Deployment,
    /// SIGINT or SIGTERM.
    Interrupted,
}

impl FailureKind {
    /// All kinds, for the documentation's test.
    pub const ALL: [Self; 8] = [
        Self::Internal,
        Self::Input,
        Self::Denied,
        Self::Unavailable,
        Self::Build,
        Self::Conflict,
        Self::Deployment,
        Self::Interrupted,
    ];

    /// The exit code.
    pub fn exit_code(self) -> u8 {
        match self {
            Self::Internal => 1,
            Self::Input => 2,
            Self::Denied => 3,
            Self::Unavailable => 4,
            Self::Build => 5,
            Self::Conflict => 6,
            Self::Deployment => 7,
            Self::Interrupted => 130,
        }
    }

    /// The heading of an annotation about nothing more special.
    pub fn heading(self) -> &'static str {
        match self {
            Self::Internal => "Internal error",
            Self::Input => "Invalid inputs",
            Self::Denied => "Refused",
            Self::Unavailable => "Not reachable",
            Self::Build => "Build failed",
            Self::Conflict => "Conflict",
            Self::Deployment => "Deployment failed",
            Self::Interrupted => "Interrupted",
        }
    }
}

/// A failed run.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{what}: {why}")]
pub struct Failure {
    /// What kind, for the exit code.
    pub kind: FailureKind,
    /// What failed: `claiming v1.2.3`.
    pub what: String,
    /// Why, in the words of whoever refused; several lines where there are several faults.
    pub why: String,
    /// What to do now.
    pub remedy: String,
    /// The section of the documentation about it, where there is one.
    pub topic: Option<Topic>,
    /// A login that a further run has anew was not known (any more).
    pub login_ran_out: bool,
}

impl Failure {
    /// A failure without a topic; what is done already is added by whoever reports it.
    pub fn new(
        kind: FailureKind,
        what: impl Into<String>,
        why: impl Into<String>,
        remedy: impl Into<String>,
    ) -> Self {
        Self {
            kind,
            what: what.into(),
            why: why.into(),
            remedy: remedy.into(),
            topic: None,
            login_ran_out: false,
        }
    }

    /// Whether a further run would meet it again: a refusal, for a reason that running again does not change.
    ///
    /// A login that ran out is new in the next run; a registry that is full may have room by then.
    pub fn is_for_good(&self) -> bool {
        matches!(self.kind, FailureKind::Denied | FailureKind::Conflict)
            && !self.login_ran_out
            && self.topic != Some(Topic::RegistryFull)
    }

    /// The same, with the section of the documentation about it.
    #[must_use]
    pub fn about(self, topic: impl Into<Option<Topic>>) -> Self {
        Self { topic: topic.into(), ..self }
    }

    /// The title of the annotation.
    pub fn heading(&self) -> &'static str {
        self.topic.map_or(self.kind.heading(), Topic::heading)
    }

    /// Where the documentation says more.
    pub fn link(&self) -> String {
        self.topic.map_or_else(help::link, Topic::link)
    }
}

impl From<CallError> for Failure {
    fn from(error: CallError) -> Self {
        let kind = match error.kind {
            CallErrorKind::Unreachable | CallErrorKind::Throttled | CallErrorKind::InvalidResponse => {
                FailureKind::Unavailable
            }
            CallErrorKind::Denied => FailureKind::Denied,
            CallErrorKind::Rejected => FailureKind::Conflict,
            CallErrorKind::Build => FailureKind::Build,
            CallErrorKind::Input => FailureKind::Input,
        };
        let remedy = error.remedy.unwrap_or_else(|| usual_remedy(error.kind).to_owned());
        let failure = Self::new(kind, error.doing, error.why, remedy).about(error.topic);
        Self { login_ran_out: error.login_ran_out, ..failure }
    }
}

fn usual_remedy(kind: CallErrorKind) -> &'static str {
    match kind {
        CallErrorKind::Unreachable => "run the job again: it continues where this one stopped",
        CallErrorKind::Throttled => {
            "wait until the limit is over and run the job again: it continues where this one stopped"
        }
        CallErrorKind::InvalidResponse => {
            "something between here and there changes answers (a proxy, a captive portal); if this \
             continues, report a bug"
        }
        CallErrorKind::Denied => "check the credentials and the job's `permissions:`",
        CallErrorKind::Rejected => "check what exists there already; nothing was overwritten",
        CallErrorKind::Build => "correct the build; nothing was published",
        CallErrorKind::Input => "correct the input that is named; nothing was published",
    }
}

impl From<PlanRefusal> for Failure {
    fn from(refusal: PlanRefusal) -> Self {
        Self::new(FailureKind::Conflict, "choosing the version", refusal.why, refusal.remedy)
            .about(refusal.topic)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // case A12; broken by: every failure counts as one that passes; every refusal as one that stays
    #[test]
    fn what_a_further_run_would_meet_again_is_for_good() {
        let of = |kind| Failure::from(CallError::new(kind, "asking", "no"));
        for (kind, for_good) in [
            (CallErrorKind::Rejected, true),
            (CallErrorKind::Denied, true),
            (CallErrorKind::Unreachable, false),
            (CallErrorKind::Throttled, false),
            (CallErrorKind::InvalidResponse, false),
            (CallErrorKind::Build, false),
        ] {
            assert_eq!(of(kind).is_for_good(), for_good, "{kind:?}");
        }
        let mut ran_out = CallError::new(CallErrorKind::Denied, "asking", "401");
        ran_out.login_ran_out = true;
        assert!(!Failure::from(ran_out).is_for_good());
        assert!(!of(CallErrorKind::Rejected).about(Topic::RegistryFull).is_for_good());
    }

    #[test]
    fn exit_codes_are_distinct_and_never_success() {
        let mut codes: Vec<u8> = FailureKind::ALL.iter().map(|kind| kind.exit_code()).collect();
        codes.sort_unstable();
        codes.dedup();
        assert_eq!(codes.len(), FailureKind::ALL.len());
        assert!(!codes.contains(&0));
    }
}
