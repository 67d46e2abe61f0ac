//! Several servers, one after another: who is next, and what becomes of the others when one fails. Pure.

use std::time::Duration;

use semver::Version;

use super::advice;
use super::protocol::{Because, End, Milestone, Outcome, Running};
use crate::failure::{Failure, Kind};
use crate::inputs::deploy::OnFailure;

/// What became of one server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Stop {
    /// Its turn did not come.
    Untouched,
    /// It has what was asked for.
    Done {
        /// How.
        end: End,
        /// What served there before, where that was asked.
        before: Option<Version>,
    },
    /// It has something newer, or went back from this version before.
    Superseded(String),
    /// It said that it did not get it.
    Failed(Box<Failure>),
    /// It told no result: nobody knows.
    Unheard(Box<Failure>),
    /// It got it, and went back.
    TakenBack,
    /// It got it, and keeps it although it should go back.
    Stuck(String),
}

/// One server, and what is known of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostReport {
    /// As it was given.
    pub host: String,
    /// What became of it.
    pub stop: Stop,
    /// What runs there; `None`: nothing, or not known.
    pub running: Option<Running>,
    /// How long it took.
    pub took: Duration,
    /// Its steps and their times.
    pub steps: Vec<(Milestone, Duration)>,
}

/// What to do now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// Ask this one.
    Go(usize),
    /// Let this one go back.
    TakeBack(usize),
    /// Nothing is left to do.
    Home,
}

/// The way through the servers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tour {
    /// All of them, in their order.
    pub reports: Vec<HostReport>,
    on_failure: OnFailure,
}

impl Tour {
    /// Nobody was asked yet.
    pub fn new(hosts: impl IntoIterator<Item = String>, on_failure: OnFailure) -> Self {
        let report = |host| HostReport {
            host,
            stop: Stop::Untouched,
            running: None,
            took: Duration::ZERO,
            steps: Vec::new(),
        };
        Self { reports: hosts.into_iter().map(report).collect(), on_failure }
    }

    /// Whether a server has to be asked what it runs before it gets something else.
    pub fn needs_before(&self) -> bool {
        self.on_failure == OnFailure::Rollback && self.reports.len() > 1
    }

    /// The first failure stops the rest; those that are done go back, the last one first, where that is wanted.
    /// What is superseded stops the rest as well: something newer is on its way to them.
    pub fn next(&self) -> Step {
        if self.failure().is_some() {
            let changed =
                |report: &HostReport| matches!(report.stop, Stop::Done { end: End::Deployed {}, .. });
            return match self.reports.iter().rposition(changed) {
                Some(place) if self.on_failure == OnFailure::Rollback => Step::TakeBack(place),
                _ => Step::Home,
            };
        }
        if self.reports.iter().any(|report| matches!(report.stop, Stop::Superseded(_))) {
            return Step::Home;
        }
        let untouched = |report: &HostReport| report.stop == Stop::Untouched;
        self.reports.iter().position(untouched).map_or(Step::Home, Step::Go)
    }

    /// The failure that stopped it.
    pub fn failure(&self) -> Option<&Failure> {
        self.reports.iter().find_map(|report| match &report.stop {
            Stop::Failed(failure) | Stop::Unheard(failure) => Some(&**failure),
            _ => None,
        })
    }

    /// Whether a server told no result.
    pub fn is_unknown(&self) -> bool {
        self.reports.iter().any(|report| matches!(report.stop, Stop::Unheard(_)))
    }

    /// Why it stopped although nothing failed.
    pub fn superseded(&self) -> Option<&str> {
        self.reports.iter().find_map(|report| match &report.stop {
            Stop::Superseded(why) => Some(why.as_str()),
            _ => None,
        })
    }

    /// Every server has what was asked for.
    pub fn complete(&self) -> bool {
        self.reports.iter().all(|report| matches!(report.stop, Stop::Done { .. }))
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
pub fn stop_of_rollback(host: &str, outcome: &Outcome) -> Stop {
    match &outcome.end {
        end if end.is_good() => Stop::Done { end: end.clone(), before: None },
        _ => Stop::Failed(Box::new(failure_of(format!("rolling {host} back"), host, outcome))),
    }
}

/// What the answer to a deployment means for its server.
pub fn stop_of(host: &str, outcome: &Outcome, before: Option<Version>) -> Stop {
    match &outcome.end {
        end if end.is_good() => Stop::Done { end: end.clone(), before },
        End::Refused { because: Because::NewerIsLive | Because::RolledBack, message } => {
            Stop::Superseded(message.clone())
        }
        _ => Stop::Failed(Box::new(failure_of(format!("deploying to {host}"), host, outcome))),
    }
}

fn failure_of(what: String, host: &str, outcome: &Outcome) -> Failure {
    let serves = match (&outcome.running, &outcome.deployment) {
        (Some(running), _) => format!("\n{host} serves {}", running.version),
        (None, Some(_)) => format!("\nnothing serves on {host}, as far as it tells"),
        // Refused before anybody looked.
        (None, None) => String::new(),
    };
    let end = &outcome.end;
    let why = format!("{}{serves}", end.words());
    Failure::new(Kind::Deployment, what, why, advice::remedy(end)).about(advice::topic(end))
}

/// What each server has, a line each: in the log, the annotation and the summary.
pub fn describe(report: &HostReport) -> String {
    let runs = |verb: &str| match &report.running {
        Some(running) => format!("{verb} {}", running.version),
        None => "what runs there is not known".to_owned(),
    };
    let words = match &report.stop {
        Stop::Untouched => "not touched".to_owned(),
        Stop::Done { end: End::Unchanged {}, .. } => format!("{} already", runs("runs")),
        Stop::Done { .. } => runs("runs"),
        Stop::Superseded(why) => format!("{} ({why})", runs("still runs")),
        Stop::Failed(_) => format!("failed; {}", runs("still runs")),
        Stop::Unheard(_) => format!("no result; {}", runs("runs")),
        Stop::TakenBack => format!("taken back; {}", runs("runs")),
        Stop::Stuck(why) => format!("was not taken back ({why}); {}", runs("runs")),
    };
    format!("{}: {words}", report.host)
}

#[cfg(test)]
#[path = "tour_tests.rs"]
mod tests;
