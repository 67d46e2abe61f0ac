//! One conversation with one server: a request goes in, answers come out, and a lost connection is taken up
//! again until the result is known.
//!
//! Success is only what the last line says, and only where the connection ended in order. Everything else is
//! asked for again with the same request and the same deployment's id: the receiver answers with the result it
//! recorded, or lets us follow the deployment that still runs. It never deploys twice for one id.

use std::time::Duration;

use crate::failure::{Failure, FailureKind};
use crate::ports::{Deadlines, Finished, RemoteExec, SshHost};
use autotag_base::CallResult;
use autotag_base::clock;
use autotag_base::clock::Stopwatch;
use autotag_base::{CallError, CallErrorKind};
use autotag_model::help::Topic;
use autotag_model::secret::Secret;
use autotag_protocol::labels;
use autotag_protocol::{EVENT_BYTES, Event, NotAnEvent, Outcome, Request, Word};

/// Takes what the servers tell, as they tell it.
pub trait DeployLog {
    /// Something happened on this host.
    fn event(&mut self, host: &str, event: DeployEvent<'_>);
}

/// What happens while a server is spoken to.
#[derive(Debug, Clone, Copy)]
pub enum DeployEvent<'a> {
    /// It begins; for people.
    Started(&'a str),
    /// The server says something.
    Received(&'a Event),
    /// The connection was lost or made no sense.
    Lost {
        /// Why.
        why: &'a str,
        /// When it is tried again.
        pause: Duration,
    },
    /// It ended; for people.
    Ended(&'a str),
}

/// How long to go on asking.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ReconnectPolicy {
    /// At most so many connections.
    pub attempts: u32,
    /// At most so many without a word from the receiver: a wrong address is no lost connection.
    pub unheard: u32,
    /// The pause before the second one; it doubles.
    pub first_pause: Duration,
    /// The longest pause.
    pub longest_pause: Duration,
    /// For all of it.
    pub whole: Duration,
}

impl ReconnectPolicy {
    /// For a deployment that may take this long.
    pub fn within(whole: Duration) -> Self {
        Self {
            attempts: 12,
            unheard: 4,
            first_pause: Duration::from_secs(1),
            longest_pause: Duration::from_secs(15),
            whole,
        }
    }
}

/// For the connection, the key exchange and the login.
const CONNECT: Duration = Duration::from_secs(20);
/// Three of the receiver's heartbeats, and a little.
const IDLE: Duration = Duration::from_secs(35);

/// What one connection brought.
#[derive(Debug, Default)]
struct Transcript {
    /// Any answer at all.
    something: bool,
    /// Whom it waits for, where that was the last word of it.
    waits_for: Option<String>,
    /// The last answer, if it is a result.
    result: Option<Outcome>,
    /// The first line that is none; what comes after it is not looked at.
    garbage: Option<NotAnEvent>,
}

impl Transcript {
    /// Takes a line, and gives the answer in it.
    fn take(&mut self, line: &[u8]) -> Option<Event> {
        if self.garbage.is_some() {
            return None;
        }
        match Event::parse(line) {
            Ok(answer) => {
                self.something = true;
                match &answer {
                    Event::Waiting { holder } => self.waits_for = Some(labels::holder(holder.as_ref())),
                    Event::Heartbeat {} => {}
                    // A sign of life, and nothing else.
                    Event::Unknown(_) => return Some(answer),
                    _ => self.waits_for = None,
                }
                self.result = match &answer {
                    Event::Result(outcome) => Some((**outcome).clone()),
                    _ => None,
                };
                Some(answer)
            }
            Err(error) => {
                self.result = None;
                self.garbage = Some(error);
                None
            }
        }
    }
}

/// What follows from one connection.
#[derive(Debug, PartialEq, Eq)]
enum Next {
    /// The result is known.
    Reported(Box<Outcome>),
    /// Ask again.
    Again(Missed),
    /// Asking again gives the same.
    Final(Box<CallError>),
}

/// Why a connection brought no result.
#[derive(Debug, PartialEq, Eq)]
struct Missed {
    /// In words.
    why: String,
    /// Where there was no orderly connection: what it was.
    error: Option<Box<CallError>>,
}

impl From<String> for Missed {
    fn from(why: String) -> Self {
        Self { why, error: None }
    }
}

/// Pure: what to make of what was heard, and of how the connection ended.
fn judge(heard: Transcript, ended: CallResult<Finished>) -> Next {
    let finished = match ended {
        Ok(finished) => finished,
        // Somebody who refuses us, or cannot be trusted, does so the next time too.
        Err(call_error) if matches!(call_error.kind, CallErrorKind::Denied | CallErrorKind::Rejected) => {
            return Next::Final(Box::new(call_error));
        }
        Err(call_error) => {
            let why = call_error.why.clone();
            return Next::Again(Missed { why, error: Some(Box::new(call_error)) });
        }
    };
    if let Some(garbage) = heard.garbage {
        return Next::Again(garbage.to_string().into());
    }
    match heard.result {
        Some(outcome) if finished.status == 0 || !outcome.end.is_good() => Next::Reported(Box::new(outcome)),
        Some(_) => {
            Next::Again(format!("it reported success, and ended with the status {}", finished.status).into())
        }
        None => Next::Again(without_result(&finished).into()),
    }
}

fn without_result(finished: &Finished) -> String {
    let words = finished.stderr.trim();
    let words = if words.is_empty() { String::new() } else { format!(": {words}") };
    format!("it ended with the status {} and no result{words}", finished.status)
}

/// Asks until the result is known. Answers go to the log as they come.
///
/// The failure means that it is not known: the deployment may have happened, or may still go on.
pub async fn converse(
    shell: &impl RemoteExec,
    host: &SshHost,
    (name, request): (&str, &Request),
    persistence: ReconnectPolicy,
    log: &mut dyn DeployLog,
) -> Result<Outcome, Failure> {
    let unsendable = |refused: autotag_protocol::Refused| {
        Failure::new(FailureKind::Input, format!("asking {name}"), refused.message, "correct the inputs")
    };
    let line = request.to_line().map_err(unsendable)?;
    let stopwatch = Stopwatch::start();
    let (mut pause, mut ever_heard, mut waits_for) = (persistence.first_pause, false, None);
    for attempt in 1..=persistence.attempts {
        let left = persistence.whole.saturating_sub(stopwatch.elapsed());
        let deadlines = Deadlines { connect: CONNECT.min(left), idle: IDLE, whole: left };
        let mut heard = Transcript::default();
        let ended = ask(shell, (host, name), (request.word(), &line), deadlines, (&mut heard, log)).await;
        ever_heard |= heard.something;
        if heard.something {
            waits_for = heard.waits_for.take();
        }
        let missed = match judge(heard, ended) {
            Next::Reported(outcome) => return Ok(*outcome),
            Next::Final(error) => return Err(refused_at(name, &error)),
            Next::Again(missed) => missed,
        };
        let spent = stopwatch.elapsed().saturating_add(pause) >= persistence.whole;
        let tries = if ever_heard { persistence.attempts } else { persistence.unheard };
        if spent || attempt >= tries {
            return Err(match waits_for {
                Some(holder) if spent => deployment_running(name, request, &holder),
                _ if ever_heard => unknown(name, request, &missed.why),
                _ => unheard(name, request, missed),
            });
        }
        log.event(name, DeployEvent::Lost { why: &missed.why, pause });
        clock::sleep(pause).await;
        pause = pause.saturating_mul(2).min(persistence.longest_pause);
    }
    // Only where no attempt at all is allowed.
    Err(unknown(name, request, "it was not asked"))
}

async fn ask(
    shell: &impl RemoteExec,
    (host, name): (&SshHost, &str),
    (word, line): (Word, &Secret),
    deadlines: Deadlines,
    (heard, log): (&mut Transcript, &mut dyn DeployLog),
) -> CallResult<Finished> {
    let mut take = |line: &[u8]| {
        if let Some(answer) = heard.take(line) {
            log.event(name, DeployEvent::Received(&answer));
        }
    };
    shell.run(host, word.as_str(), line, EVENT_BYTES, deadlines, &mut take).await
}

fn refused_at(name: &str, error: &CallError) -> Failure {
    let failure = Failure::from(error.clone());
    Failure { what: format!("{name}: {}", failure.what), ..failure }
}

/// There is no receiver, or no way to it.
fn unheard(name: &str, request: &Request, missed: Missed) -> Failure {
    if let Some(call_error) = missed.error.filter(|call_error| call_error.topic.is_some()) {
        return refused_at(name, &call_error);
    }
    Failure::new(
        FailureKind::Unavailable,
        format!("{} on {name}", request.word()),
        format!("no receiver answered: {}", missed.why),
        format!(
            "on the server, install the receiver, run `autotag-receiver init {0}`, and see what \
             `autotag-receiver check {0}` finds; if it finds nothing, update the receiver and the action \
             (`uses:`), which must speak the same protocol",
            request.app
        ),
    )
    .about(Topic::NoReceiver)
}

/// Nobody knows what became of it.
fn unknown(name: &str, request: &Request, why: &str) -> Failure {
    Failure::new(
        FailureKind::Unavailable,
        format!("{} on {name}", request.word()),
        format!("the result is not known: {why}"),
        "the server continues by itself: check what runs with `command: status`, and run the job again; it \
         repeats nothing that is done",
    )
    .about(Topic::ResultUnknown)
}

/// Its turn did not come in time.
fn deployment_running(name: &str, request: &Request, holder: &str) -> Failure {
    Failure::new(
        FailureKind::Unavailable,
        format!("{} on {name}", request.word()),
        format!("its turn did not come within `deploy-timeout`: {holder}"),
        "wait until that one is over, and run the job again; the server still carries this one out in its \
         turn, and `command: status` says what runs then",
    )
    .about(Topic::DeploymentRunning)
}

#[cfg(test)]
mod tests;
