//! Several servers, one after another: who is next, and what becomes of the others when one fails. Pure.

use std::time::Duration;

use semver::Version;

use crate::failure::{Failure, FailureKind};
use crate::inputs::deploy::OnFailure;
use autotag_protocol::remedies;
use autotag_protocol::{End, Open, Outcome, RefusalCode, RolloutStep, Running};

/// What became of one server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HostResult {
    /// Its turn did not come.
    Untouched,
    /// It has what was asked for, and this is how.
    Done(End),
    /// It serves something newer.
    Superseded(String),
    /// It said that it did not get it.
    Failed(Box<Failure>),
    /// It told no result, or none that is final: nobody knows.
    Unheard(Box<Failure>),
    /// It got it, and went back to what it had.
    Reverted,
    /// It got it, and something else has taken its place before it could go back, or another run relies on it.
    Overtaken(String),
    /// It got it, and keeps it although it should go back.
    Stuck(String),
}

/// One server, and what is known of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostReport {
    /// As it was given.
    pub host: String,
    /// What became of it.
    pub stop: HostResult,
    /// What runs there; `None`: nothing, or not known.
    pub running: Option<Running>,
    /// Whether it was asked to go back.
    pub asked_back: bool,
    /// How long it took.
    pub took: Duration,
    /// Its steps and their times.
    pub steps: Vec<(Open<RolloutStep>, Duration)>,
    /// The last lines of the container that failed, and of its health check.
    pub last_words: Vec<String>,
}

/// What to do now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SequenceStep {
    /// Ask this one.
    Go(usize),
    /// Let this one go back.
    Revert(usize),
    /// Nothing is left to do.
    Home,
}

/// The way through the servers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostSequence {
    /// All of them, in their order.
    pub reports: Vec<HostReport>,
    on_failure: OnFailure,
}

impl HostSequence {
    /// Nobody was asked yet.
    pub fn new(hosts: impl IntoIterator<Item = String>, on_failure: OnFailure) -> Self {
        let report = |host| HostReport {
            host,
            stop: HostResult::Untouched,
            running: None,
            asked_back: false,
            took: Duration::ZERO,
            steps: Vec::new(),
            last_words: Vec::new(),
        };
        Self { reports: hosts.into_iter().map(report).collect(), on_failure }
    }

    /// The first failure stops the rest. Where that is wanted, those that have it go back, the last one first; and
    /// before them the one that told no result, or it could get it when the others have gone back.
    /// What is superseded stops the rest as well: something newer is on its way to them.
    pub fn next(&self) -> SequenceStep {
        if self.failure().is_some() {
            let may_have_it = |report: &HostReport| {
                !report.asked_back
                    && matches!(report.stop, HostResult::Done(End::Deployed {}) | HostResult::Unheard(_))
            };
            return match self.reports.iter().rposition(may_have_it) {
                Some(place) if self.reverts() => SequenceStep::Revert(place),
                _ => SequenceStep::Home,
            };
        }
        if self.reports.iter().any(|report| matches!(report.stop, HostResult::Superseded(_))) {
            return SequenceStep::Home;
        }
        let untouched = |report: &HostReport| report.stop == HostResult::Untouched;
        self.reports.iter().position(untouched).map_or(SequenceStep::Home, SequenceStep::Go)
    }

    /// A single server has nobody to be of one version with.
    fn reverts(&self) -> bool {
        self.on_failure == OnFailure::Rollback && self.reports.len() > 1
    }

    /// The failure that stopped it.
    pub fn failure(&self) -> Option<&Failure> {
        self.reports.iter().find_map(|report| match &report.stop {
            HostResult::Failed(failure) | HostResult::Unheard(failure) => Some(&**failure),
            _ => None,
        })
    }

    /// Whether a server told no result.
    pub fn is_unknown(&self) -> bool {
        self.reports.iter().any(|report| matches!(report.stop, HostResult::Unheard(_)))
    }

    /// Why it stopped although nothing failed.
    pub fn superseded(&self) -> Option<&str> {
        self.reports.iter().find_map(|report| match &report.stop {
            HostResult::Superseded(why) => Some(why.as_str()),
            _ => None,
        })
    }

    /// Every server has what was asked for.
    pub fn complete(&self) -> bool {
        self.reports.iter().all(|report| matches!(report.stop, HostResult::Done(_)))
    }

    /// What all servers serve, if that is one and the same.
    pub fn running(&self) -> Option<&Running> {
        let first = self.reports.first()?.running.as_ref()?;
        let same = |report: &HostReport| {
            report
                .running
                .as_ref()
                .is_some_and(|running| running.version == first.version && running.digest == first.digest)
        };
        self.reports.iter().all(same).then_some(first)
    }
}

/// What the answer to a rollback means for its server: there is nothing newer that it could yield to.
pub fn result_of_rollback(host: &str, outcome: &Outcome) -> HostResult {
    match &outcome.end {
        end if end.is_good() => HostResult::Done(end.clone()),
        _ => HostResult::Failed(Box::new(failure_of(format!("rolling {host} back"), host, outcome))),
    }
}

/// What the answer to the deployment of this version means for its server.
pub fn result_of(host: &str, asked: &Version, outcome: &Outcome) -> HostResult {
    let failure = || Box::new(failure_of(format!("deploying to {host}"), host, outcome));
    let running = outcome.running.as_ref().map(|running| &running.deployment);
    match &outcome.end {
        end if end.is_good() => HostResult::Done(end.clone()),
        // That something newer was live once is no reason for a green job: it may have been rolled back since, and
        // perhaps it never was a real one.
        End::Refused { code: Open::Known(RefusalCode::NewerIsLive | RefusalCode::RolledBack), message }
            if serves_above(asked, outcome) =>
        {
            HostResult::Superseded(message.clone())
        }
        // What this version does not know may be anything.
        End::Unknown(_) => HostResult::Unheard(failure()),
        // It was begun, could not be brought to its end, and the server will try again.
        _ if running.is_some() && running == outcome.deployment.as_ref() => HostResult::Unheard(failure()),
        _ => HostResult::Failed(failure()),
    }
}

fn serves_above(asked: &Version, outcome: &Outcome) -> bool {
    outcome.running.as_ref().is_some_and(|running| running.version.cmp_precedence(asked).is_gt())
}

/// What the answer to a request to take the deployment back means for a server, or that there was none.
pub fn result_of_revert(stop: HostResult, reported: Result<&Outcome, &Failure>) -> HostResult {
    let HostResult::Unheard(failure) = stop else { return back_from_it(reported) };
    let (is_without, words) = match reported {
        Ok(outcome) => match &outcome.end {
            End::Deployed {} | End::RolledBack {} => (true, "it had it, and went back".to_owned()),
            End::Unchanged {} => (true, "it does not have it, and will not get it".to_owned()),
            End::Refused { code: Open::Known(RefusalCode::NewerIsLive), message } => (true, message.clone()),
            end => (false, end.words()),
        },
        Err(failure) => (false, failure.why.clone()),
    };
    let why = format!("{}\nAsked to take it back: {words}", failure.why);
    if !is_without {
        return HostResult::Unheard(Box::new(Failure { why, ..*failure }));
    }
    let remedy = "make sure that the server answers within `deploy-timeout`, and release a new version; if \
                  you mean exactly this one, run the job again with `deploy-allow-downgrade: true`";
    HostResult::Failed(Box::new(Failure { why, remedy: remedy.to_owned(), ..*failure }))
}

/// Likewise for a server that has it.
fn back_from_it(reported: Result<&Outcome, &Failure>) -> HostResult {
    match reported.map(|outcome| &outcome.end) {
        Ok(End::Deployed {} | End::RolledBack {}) => HostResult::Reverted,
        Ok(End::Refused { code: Open::Known(RefusalCode::NewerIsLive), message }) => {
            HostResult::Overtaken(message.clone())
        }
        // It was told of success, and knows nothing of it.
        Ok(End::Unchanged {}) => HostResult::Stuck("the server does not know of this deployment".to_owned()),
        Ok(end) => HostResult::Stuck(end.words()),
        Err(failure) => HostResult::Stuck(failure.to_string()),
    }
}

fn failure_of(what: String, host: &str, outcome: &Outcome) -> Failure {
    let serves = match (&outcome.running, &outcome.deployment) {
        (Some(running), _) => format!("\n{host} serves {}", running.version),
        (None, Some(_)) => format!("\nnothing serves on {host}, as far as it reports"),
        // Refused before anybody looked.
        (None, None) => String::new(),
    };
    let end = &outcome.end;
    let why = format!("{}{serves}", end.words());
    Failure::new(FailureKind::Deployment, what, why, remedies::remedy(end)).about(remedies::topic(end))
}

/// What each server has, a line each: in the log, the annotation and the summary.
pub fn describe(report: &HostReport) -> String {
    let runs = |verb: &str| match &report.running {
        Some(running) => format!("{verb} {}", running.version),
        None => "what runs there is not known".to_owned(),
    };
    let words = match &report.stop {
        HostResult::Untouched => "not touched".to_owned(),
        HostResult::Done(End::Unchanged {}) => format!("{} already", runs("runs")),
        HostResult::Done(_) => runs("runs"),
        HostResult::Superseded(why) => format!("{} ({why})", runs("still runs")),
        HostResult::Failed(_) => format!("failed; {}", runs("still runs")),
        HostResult::Unheard(_) => format!("no result; {}", runs("runs")),
        HostResult::Reverted => format!("reverted; {}", runs("runs")),
        HostResult::Overtaken(why) => format!("not reverted ({why}); {}", runs("runs")),
        HostResult::Stuck(why) => format!("was not reverted ({why}); {}", runs("runs")),
    };
    format!("{}: {words}", report.host)
}

#[cfg(test)]
mod tests;
