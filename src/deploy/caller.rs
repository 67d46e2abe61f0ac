//! One conversation with one server: a request goes in, answers come out, and a lost connection is taken up
//! again until the result is known.
//!
//! Success is only what the last line says, and only where the connection ended in order. Everything else is
//! asked for again with the same request and the same deployment's id: the receiver answers with the result it
//! recorded, or lets us follow the deployment that still runs. It never deploys twice for one id.

use std::time::Duration;

use super::protocol::{ANSWER_BYTES, Answer, NotAnAnswer, Outcome, Request, Word};
use crate::failure::{Failure, Kind};
use crate::secret::Secret;
use crate::world::clock::{self, Stopwatch};
use crate::world::ssh::{Deadlines, Finished, Shell, SshHost};
use crate::world::{self, Trouble, TroubleKind};

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
    Answer(&'a Answer),
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
pub struct Persistence {
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

impl Persistence {
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
struct Heard {
    /// Any answer at all.
    something: bool,
    /// The last answer, if it is a result.
    result: Option<Outcome>,
    /// The first line that is none; what comes after it is not looked at.
    garbage: Option<NotAnAnswer>,
}

impl Heard {
    /// Takes a line, and gives the answer in it.
    fn take(&mut self, line: &[u8]) -> Option<Answer> {
        if self.garbage.is_some() {
            return None;
        }
        match Answer::parse(line) {
            Ok(answer) => {
                self.something = true;
                self.result = match &answer {
                    Answer::Result(outcome) => Some((**outcome).clone()),
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
enum Verdict {
    /// The result is known.
    Told(Box<Outcome>),
    /// Ask again.
    Again(String),
    /// Asking again gives the same.
    Final(Box<Trouble>),
}

/// Pure: what to make of what was heard, and of how the connection ended.
fn judge(heard: Heard, ended: world::Outcome<Finished>) -> Verdict {
    let finished = match ended {
        Ok(finished) => finished,
        // Somebody who refuses us, or cannot be trusted, does so the next time too.
        Err(trouble) if matches!(trouble.kind, TroubleKind::Denied | TroubleKind::Rejected) => {
            return Verdict::Final(Box::new(trouble));
        }
        Err(trouble) => return Verdict::Again(trouble.why),
    };
    if let Some(garbage) = heard.garbage {
        return Verdict::Again(garbage.to_string());
    }
    match heard.result {
        Some(outcome) if finished.status == 0 || !outcome.end.is_good() => Verdict::Told(Box::new(outcome)),
        Some(_) => {
            Verdict::Again(format!("it told of success, and ended with the status {}", finished.status))
        }
        None => Verdict::Again(without_result(&finished)),
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
    shell: &impl Shell,
    host: &SshHost,
    (name, request): (&str, &Request),
    persistence: Persistence,
    log: &mut dyn DeployLog,
) -> Result<Outcome, Failure> {
    let unsendable = |refused: super::protocol::Refused| {
        Failure::new(Kind::Input, format!("asking {name}"), refused.message, "correct the inputs")
    };
    let line = request.to_line().map_err(unsendable)?;
    let stopwatch = Stopwatch::start();
    let (mut pause, mut ever_heard) = (persistence.first_pause, false);
    for attempt in 1..=persistence.attempts {
        let left = persistence.whole.saturating_sub(stopwatch.elapsed());
        let deadlines = Deadlines { connect: CONNECT.min(left), idle: IDLE, whole: left };
        let mut heard = Heard::default();
        let ended = ask(shell, (host, name), (request.word(), &line), deadlines, (&mut heard, log)).await;
        ever_heard |= heard.something;
        let why = match judge(heard, ended) {
            Verdict::Told(outcome) => return Ok(*outcome),
            Verdict::Final(trouble) => return Err(refused_at(name, &trouble)),
            Verdict::Again(why) => why,
        };
        let spent = stopwatch.elapsed().saturating_add(pause) >= persistence.whole;
        let tries = if ever_heard { persistence.attempts } else { persistence.unheard };
        if spent || attempt >= tries {
            return Err(unknown(name, request, &why, ever_heard));
        }
        log.event(name, DeployEvent::Lost { why: &why, pause });
        clock::sleep(pause).await;
        pause = pause.saturating_mul(2).min(persistence.longest_pause);
    }
    // Only where no attempt at all is allowed.
    Err(unknown(name, request, "it was not asked", ever_heard))
}

async fn ask(
    shell: &impl Shell,
    (host, name): (&SshHost, &str),
    (word, line): (Word, &Secret),
    deadlines: Deadlines,
    (heard, log): (&mut Heard, &mut dyn DeployLog),
) -> world::Outcome<Finished> {
    let mut take = |line: &[u8]| {
        if let Some(answer) = heard.take(line) {
            log.event(name, DeployEvent::Answer(&answer));
        }
    };
    shell.run(host, word.as_str(), line, ANSWER_BYTES, deadlines, &mut take).await
}

fn refused_at(name: &str, trouble: &Trouble) -> Failure {
    let failure = Failure::from(trouble.clone());
    Failure { what: format!("{name}: {}", failure.what), ..failure }
}

/// Nobody knows what became of it; what can be done depends on whether there is a receiver at all.
fn unknown(name: &str, request: &Request, why: &str, ever_heard: bool) -> Failure {
    let word = request.word();
    if !ever_heard {
        return Failure::new(
            Kind::Unavailable,
            format!("{word} on {name}"),
            format!("no receiver answered: {why}"),
            "check `deploy-host`, `deploy-port` and `deploy-user`, and on the server that the service autotag-receiver runs and speaks this action's protocol; then run the job again",
        );
    }
    Failure::new(
        Kind::Unavailable,
        format!("{word} on {name}"),
        format!("the result is not known: {why}"),
        "the server goes on by itself: see what runs by `command: status`, and run the job again; it touches nothing that is done",
    )
}

#[cfg(test)]
#[path = "caller_tests.rs"]
mod tests;
