//! One connection: who it is, what is asked, and the answers until the result.

use std::io::ErrorKind;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::UnixStream;

use super::change::{self, Change};
use crate::config::masks::Masks;
use crate::config::settings::{Settings, Snapshots, Variables};
use crate::engine::Engine;
use crate::event_log::EventLog;
use crate::policy::admit::Asker;
use crate::serve::connection_limit::Permit;
use crate::serve::peer::{Caller, caller};
use crate::serve::queue::{Admission, CHANGES};
use crate::serve::{CONNECTIONS, Server, queries};
use crate::state::Store;
use autotag_protocol::{
    AppName, Body, DeploymentId, End, Event, Lines, Outcome, REQUEST_BYTES, RefusalCode, Refused, Request,
    Word,
};

/// How long a caller may take to say what it wants.
const SAYING: Duration = Duration::from_secs(30);

/// How long a caller may leave answers unread. Linux lets us write on when most of the socket's buffer (208 KiB)
/// has been read, so whoever takes 4 KiB a second is fast enough.
const READING: Duration = Duration::from_mins(1);

/// How long a caller may take to close its side after the result.
const HEARING_OUT: Duration = Duration::from_secs(2);

/// Between two heartbeats; the protocol promises one within ten seconds.
const HEARTBEAT: Duration = Duration::from_secs(4);

/// Serves a connection to its end. Its errors go to the log alone: the caller has gone.
pub(super) async fn serve<E: Engine>(
    server: Arc<Server<E>>,
    mut stream: UnixStream,
    user: u32,
    permit: Permit,
) {
    let caller = match who(&server, user) {
        Ok(caller) => caller,
        Err(refused) => {
            tracing::warn!(code = %refused.code, "refused: {}", refused.message);
            return refuse(&refused, &mut stream).await;
        }
    };
    match accept(&server, &mut stream, &caller, &permit).await {
        Ok(job) => pass_on(&job, caller.asker(), &mut stream).await,
        Err(refused) => {
            if is_reported(&server, &caller, &refused) {
                tracing::warn!(code = %refused.code, "refused: {}", refused.message);
            }
            refuse(&refused, &mut stream).await;
        }
    }
}

/// Whether a refusal goes to the log by itself. Of a key's the first one of each kind does; a change that comes to
/// its turn later says in the journal how many more there were.
fn is_reported<E: Engine>(server: &Server<E>, caller: &Caller, refused: &Refused) -> bool {
    match caller {
        Caller::Owner => true,
        Caller::App(app) => server.queues.of(app).refused(refused.code, server.queues.now()),
    }
}

/// Tells a user that has too many connections so.
pub(super) async fn turn_away(mut stream: UnixStream, user: u32, _permit: Permit) {
    let text = format!(
        "the user {user} has {CONNECTIONS} requests open on this server, which is the limit. Wait until \
         some of them have ended, and run it again"
    );
    refuse(&Refused::new(RefusalCode::Busy, text), &mut stream).await;
}

async fn refuse(refused: &Refused, stream: &mut UnixStream) {
    let job = EventLog::new(None);
    job.end(refusal(refused));
    pass_on(&job, Asker::Key, stream).await;
}

async fn pass_on(job: &EventLog, asker: Asker, stream: &mut UnixStream) {
    match follow(job, asker, stream).await {
        Ok(()) => hear_out(stream).await,
        Err(error) => {
            tracing::info!(deployment = ?job.deployment, %error, "the caller disconnected; its request \
                                                                  continues");
        }
    }
}

/// Waits until the caller closes, too, and throws away what it still says: a socket that is closed with
/// something unread takes the answer away from a caller that has not read it yet.
async fn hear_out(stream: &mut UnixStream) {
    let mut unread = stream.take(4 * REQUEST_BYTES as u64);
    // One that neither closes nor stops has had its answer.
    let _ = tokio::time::timeout(HEARING_OUT, tokio::io::copy(&mut unread, &mut tokio::io::sink())).await;
}

/// A refusal as a result.
fn refusal(refused: &Refused) -> Outcome {
    let end = End::Refused { code: refused.code.into(), message: Event::within_line(&refused.message) };
    Outcome { end, running: None, deployment: None, milliseconds: 0 }
}

/// Who asks, by the kernel's word.
fn who<E>(server: &Server<E>, user: u32) -> Result<Caller, Refused> {
    let unread = |error: std::io::Error| {
        Refused::new(RefusalCode::Host, format!("reading the users of this machine: {error}"))
    };
    caller(user, &server.paths.passwd()).map_err(unread)?.ok_or_else(|| {
        let text = format!("the user {user} belongs to no application of this server");
        Refused::new(RefusalCode::App, text)
    })
}

/// Understands the request and sets it to work, or finds it at work already.
async fn accept<E: Engine>(
    server: &Arc<Server<E>>,
    stream: &mut UnixStream,
    caller: &Caller,
    permit: &Permit,
) -> Result<Arc<EventLog>, Refused> {
    let reading = tokio::time::timeout(SAYING, read(stream));
    let (word, request) =
        reading.await.map_err(|_| malformed(format!("nothing arrived within {} s", SAYING.as_secs())))??;
    if request.word() != word {
        let text = format!("the command is `{word}`, the request is for `{}`", request.word());
        return Err(malformed(text));
    }
    if !caller.may_reach(&request.app) {
        let text = format!("{} may not reach the application `{}`", caller.name(), request.app);
        return Err(Refused::new(RefusalCode::App, text));
    }
    if !server.paths.app_file(&request.app).exists() {
        let text = format!(
            "there is no application `{0}` on this server; its owner makes it by `autotag-receiver init {0}`",
            request.app
        );
        return Err(Refused::new(RefusalCode::App, text));
    }
    set_to_work(server, caller, request, permit)
}

fn malformed(text: String) -> Refused {
    Refused::new(RefusalCode::Malformed, text)
}

/// `receive` passes on what it knows: it was updated, and this process still is the one before.
fn newer_word(expected: &autotag_model::reference::ParseError) -> Refused {
    let text = format!("expected {expected}; `serve` still runs an older version: systemctl restart autotag");
    Refused::new(RefusalCode::NewerRequest, text)
}

/// The word, then the request: two lines, and nothing behind them is read.
async fn read(stream: &mut UnixStream) -> Result<(Word, Request), Refused> {
    let mut lines = Lines::new(REQUEST_BYTES);
    let mut word = None;
    let mut buffer = vec![0; 16 * 1024];
    loop {
        let count = stream.read(&mut buffer).await.map_err(|error| malformed(error.to_string()))?;
        if count == 0 {
            return Err(malformed("it ended before its line did".to_owned()));
        }
        let mut bytes = &buffer[..count];
        while let Some(line) = lines.next(&mut bytes).map_err(|error| malformed(error.to_string()))? {
            match word {
                None => {
                    let text = String::from_utf8_lossy(&line);
                    word = Some(text.parse().map_err(|expected| newer_word(&expected))?);
                }
                Some(word) => return Ok((word, Request::parse(&line)?)),
            }
        }
    }
}

fn set_to_work<E: Engine>(
    server: &Arc<Server<E>>,
    caller: &Caller,
    request: Request,
    permit: &Permit,
) -> Result<Arc<EventLog>, Refused> {
    let app = request.app;
    let change = match request.body {
        Body::Deploy(deploy) => Change::Deploy(deploy),
        Body::Rollback(rollback) => Change::Rollback(rollback),
        question => {
            let job = Arc::new(EventLog::new(None));
            job.mask(&kept_from_ci(server, &app));
            let (server, answering) = (Arc::clone(server), Arc::clone(&job));
            // It may take longer than its caller stays.
            let permit = Arc::clone(permit);
            tokio::spawn(async move {
                queries::answer(&server, &app, question, &answering).await;
                drop(permit);
            });
            return Ok(job);
        }
    };
    let id = change.deployment();
    // What the owner wants is never one too many.
    let most = if *caller == Caller::Owner { usize::MAX } else { CHANGES };
    let queues = server.queues.of(&app);
    // Nor is it one too many to hear again what became of one.
    let free = || *caller == Caller::Owner || is_recorded(server, &app, id);
    let in_quota =
        queues.quota_left(server.queues.now()).or_else(|wait| if free() { Ok(()) } else { Err(wait) });
    match queues.job(id, &change.about(), if in_quota.is_ok() { most } else { 0 }) {
        Admission::InFlight(job) => Ok(job),
        Admission::New(job) => {
            job.mask(&kept_from_ci(server, &app));
            let (own, in_flight, caller) = (Arc::clone(server), Arc::clone(&job), caller.clone());
            let work = async move { change::carry_out(&own, &caller, &app, change, &in_flight).await };
            // A task of its own: it does not end with the connection, and a stop waits for it.
            server.queues.in_flight.spawn(work);
            Ok(job)
        }
        Admission::Another => {
            let text = format!("the deployment {id} is running something else: each needs its own id");
            Err(Refused::new(RefusalCode::IdTaken, text))
        }
        Admission::TooMany => Err(in_quota.map_or_else(|wait| too_often(&app, wait), |()| too_many(&app))),
    }
}

fn too_many(app: &AppName) -> Refused {
    let text = format!(
        "{CHANGES} changes of `{app}` are running or waiting for their turn, which is the limit. Wait until \
         some of them are done, and run it again; `autotag-receiver status {app}` on the server says what \
         is running"
    );
    Refused::new(RefusalCode::Busy, text)
}

fn is_recorded<E>(server: &Server<E>, app: &AppName, deployment: &DeploymentId) -> bool {
    let state = Store::new(&server.paths.state(app), app.clone()).load();
    state.is_ok_and(|state| state.record_of(deployment).is_some())
}

fn too_often(app: &AppName, wait: Duration) -> Refused {
    let text = format!(
        "too many changes of `{app}` failed, were refused or came within a short time. The next one is \
         accepted in {} minutes; until then, find out why they fail. On the server, `autotag-receiver \
         deploy` and `rollback` are always accepted",
        wait.as_secs().div_ceil(60)
    );
    Refused::new(RefusalCode::Busy, text)
}

/// What the owner of an application has in its app file and environment files, now and in what may still run.
fn kept_from_ci<E>(server: &Server<E>, app: &AppName) -> Masks {
    let today = Settings::today(&server.paths, app, Variables::new());
    let today = today.map(|settings| settings.masks()).unwrap_or_default();
    today.and(&Snapshots::new(&server.paths.state(app)).masks())
}

/// Passes on what the job tells, from its first line on, with heartbeats in its silences. CI does not see the values
/// of the owner's variables in it.
async fn follow(job: &EventLog, asker: Asker, stream: &mut UnixStream) -> std::io::Result<()> {
    let mut number = 0;
    loop {
        let answer = match tokio::time::timeout(HEARTBEAT, job.answer(number)).await {
            Err(_) => Event::Heartbeat {},
            Ok(None) => return stream.shutdown().await,
            Ok(Some(answer)) => {
                number += 1;
                if asker == Asker::Key { job.masked(answer) } else { answer }
            }
        };
        let line = answer.to_line().unwrap_or_else(|error| {
            // A text that was not bounded where it was made; the rest of the conversation goes on.
            tracing::error!(%error, "an answer could not be written");
            String::new()
        });
        let late = || {
            std::io::Error::new(ErrorKind::TimedOut, format!("it did not read for {} s", READING.as_secs()))
        };
        tokio::time::timeout(READING, stream.write_all(line.as_bytes())).await.map_err(|_| late())??;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use autotag_base::clock;
    use autotag_protocol::Source;

    // invariant one-door: A client that never reads is disconnected; broken by:
    //   `crates/receiver/src/serve/session.rs`: a write has no deadline
    /// A second or a minute passes here as soon as there is nothing else to do.
    #[tokio::test(start_paused = true)]
    async fn only_a_client_that_never_reads_is_dropped() {
        let long = "x".repeat(8 * 1024);
        let lines = 200;
        let job = EventLog::new(None);
        (0..lines).for_each(|_| job.say(Event::log(Source::Application, &long)));
        job.end(Outcome { end: End::Reported {}, running: None, deployment: None, milliseconds: 1 });

        let (mut ours, theirs) = UnixStream::pair().unwrap();
        let left = tokio::time::timeout(10 * READING, follow(&job, Asker::Key, &mut ours)).await;
        assert_eq!(left.expect("it does not wait for ever").unwrap_err().kind(), ErrorKind::TimedOut);
        drop(theirs);

        let (mut ours, mut theirs) = UnixStream::pair().unwrap();
        let telling = async move { follow(&job, Asker::Key, &mut ours).await };
        let reading_slowly = async {
            let (mut heard, mut buffer) = (0, vec![0; 64 * 1024]);
            loop {
                clock::sleep(READING / 4).await;
                match theirs.read(&mut buffer).await.unwrap() {
                    0 => return heard,
                    count => heard += count,
                }
            }
        };
        let (reported, heard) = tokio::join!(telling, reading_slowly);
        reported.expect("it reads");
        assert!(heard > lines * long.len(), "{heard}");
    }
}
