//! One connection: who it is, what is asked, and the answers until the result.

use std::io::ErrorKind;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::UnixStream;

use super::change::{self, Change};
use super::desk::{Asked, CHANGES};
use super::places::Place;
use super::who::{Caller, caller};
use super::{CONNECTIONS, Server, ask};
use crate::deploy::protocol::{
    Answer, Because, Body, End, Lines, Outcome, REQUEST_BYTES, Refused, Request, Word,
};
use crate::receiver::job::Job;
use crate::world::engine::Engine;

/// How long a caller may take to say what it wants.
const SAYING: Duration = Duration::from_secs(30);

/// How long a caller may leave answers unread. Linux lets us write on when most of the socket's buffer (208 KiB)
/// has been read, so whoever takes 4 KiB a second is fast enough.
const READING: Duration = Duration::from_mins(1);

/// How long a caller may take to close its side after the result.
const HEARING_OUT: Duration = Duration::from_secs(2);

/// Between two heartbeats; the protocol promises one within ten seconds.
const HEARTBEAT: Duration = Duration::from_secs(4);

/// Serves a connection to its end. Nobody is told of its troubles but the log: the caller has gone.
pub(super) async fn serve<E: Engine>(
    server: Arc<Server<E>>,
    mut stream: UnixStream,
    user: u32,
    place: Place,
) {
    match accept(&server, &mut stream, user, &place).await {
        Ok(job) => pass_on(&job, &mut stream).await,
        Err(refused) => refuse(&refused, &mut stream).await,
    }
}

/// Tells a user that has too many connections so.
pub(super) async fn turn_away(mut stream: UnixStream, user: u32, _place: Place) {
    let text = format!(
        "the user {user} has {CONNECTIONS} requests open on this server, as many as one may have at a time. Wait until some of them have ended, and run it again"
    );
    refuse(&Refused::new(Because::Busy, text), &mut stream).await;
}

async fn refuse(refused: &Refused, stream: &mut UnixStream) {
    tracing::warn!(because = ?refused.because, "refused: {}", refused.message);
    let job = Job::new(None);
    job.end(refusal(refused));
    pass_on(&job, stream).await;
}

async fn pass_on(job: &Job, stream: &mut UnixStream) {
    match follow(job, stream).await {
        Ok(()) => hear_out(stream).await,
        Err(error) => {
            tracing::info!(deployment = ?job.deployment, %error, "the caller went away; its request goes on");
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
    let end = End::Refused { because: refused.because, message: Answer::within_line(&refused.message) };
    Outcome { end, running: None, deployment: None, milliseconds: 0 }
}

/// Understands the request and sets it to work, or finds it at work already.
async fn accept<E: Engine>(
    server: &Arc<Server<E>>,
    stream: &mut UnixStream,
    user: u32,
    place: &Place,
) -> Result<Arc<Job>, Refused> {
    let unread = |error: std::io::Error| {
        Refused::new(Because::Host, format!("reading the users of this machine: {error}"))
    };
    let Some(caller) = caller(user, &server.layout.passwd()).map_err(unread)? else {
        let text = format!("the user {user} belongs to no application of this server");
        return Err(Refused::new(Because::App, text));
    };
    let reading = tokio::time::timeout(SAYING, read(stream));
    let (word, request) =
        reading.await.map_err(|_| malformed(format!("nothing came within {} s", SAYING.as_secs())))??;
    if request.word() != word {
        let text = format!("the command is `{word}`, the request is for `{}`", request.word());
        return Err(malformed(text));
    }
    if !caller.may_reach(&request.app) {
        let text = format!("{} may not reach the application `{}`", caller.name(), request.app);
        return Err(Refused::new(Because::App, text));
    }
    if !server.layout.app_file(&request.app).exists() {
        let text = format!(
            "there is no application `{0}` on this server; its owner makes it by `autotag-receiver init {0}`",
            request.app
        );
        return Err(Refused::new(Because::App, text));
    }
    set_to_work(server, caller, request, place)
}

fn malformed(text: String) -> Refused {
    Refused::new(Because::Malformed, text)
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
                    word = Some(text.parse().map_err(|expected| malformed(format!("expected {expected}")))?);
                }
                Some(word) => return Ok((word, Request::parse(&line)?)),
            }
        }
    }
}

fn set_to_work<E: Engine>(
    server: &Arc<Server<E>>,
    caller: Caller,
    request: Request,
    place: &Place,
) -> Result<Arc<Job>, Refused> {
    let app = request.app;
    let change = match request.body {
        Body::Deploy(deploy) => Change::Deploy(deploy),
        Body::Rollback(rollback) => Change::Rollback(rollback),
        question => {
            let job = Arc::new(Job::new(None));
            let (server, answering) = (Arc::clone(server), Arc::clone(&job));
            // It may take longer than its caller stays.
            let place = Arc::clone(place);
            tokio::spawn(async move {
                ask::answer(&server, &app, question, &answering).await;
                drop(place);
            });
            return Ok(job);
        }
    };
    let id = change.deployment();
    // What the owner wants is never one too many.
    let most = if caller == Caller::Owner { usize::MAX } else { CHANGES };
    match server.desk.place(&app).job(id, &change.about(), most) {
        Asked::AtWork(job) => Ok(job),
        Asked::New(job) => {
            let (server, at_work) = (Arc::clone(server), Arc::clone(&job));
            // A task of its own: it does not end with the connection.
            tokio::spawn(async move { change::carry_out(&server, &caller, &app, change, &at_work).await });
            Ok(job)
        }
        Asked::Another => {
            let text =
                format!("the deployment {id} is at work on something else: each needs an id of its own");
            Err(Refused::new(Because::IdTaken, text))
        }
        Asked::TooMany => {
            let text = format!(
                "{CHANGES} changes of `{app}` are at work or wait for their turn, as many as may. Wait until some of them are over, and run it again; `autotag-receiver status {app}` on the server says what is at work"
            );
            Err(Refused::new(Because::Busy, text))
        }
    }
}

/// Passes on what the job tells, from its first line on, with heartbeats in its silences.
async fn follow(job: &Job, stream: &mut UnixStream) -> std::io::Result<()> {
    let mut number = 0;
    loop {
        let answer = match tokio::time::timeout(HEARTBEAT, job.answer(number)).await {
            Err(_) => Answer::Heartbeat {},
            Ok(None) => return stream.shutdown().await,
            Ok(Some(answer)) => {
                number += 1;
                answer
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
    use crate::deploy::protocol::Source;
    use crate::world::clock;

    /// A second or a minute passes here as soon as there is nothing else to do.
    #[tokio::test(start_paused = true)]
    async fn who_never_reads_is_left_and_who_reads_slowly_is_not() {
        let long = "x".repeat(8 * 1024);
        let lines = 200;
        let job = Job::new(None);
        (0..lines).for_each(|_| job.say(Answer::log(Source::Application, &long)));
        job.end(Outcome { end: End::Told {}, running: None, deployment: None, milliseconds: 1 });

        let (mut ours, theirs) = UnixStream::pair().unwrap();
        let left = tokio::time::timeout(10 * READING, follow(&job, &mut ours)).await;
        assert_eq!(left.expect("it does not wait for ever").unwrap_err().kind(), ErrorKind::TimedOut);
        drop(theirs);

        let (mut ours, mut theirs) = UnixStream::pair().unwrap();
        let telling = async move { follow(&job, &mut ours).await };
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
        let (told, heard) = tokio::join!(telling, reading_slowly);
        told.expect("it reads");
        assert!(heard > lines * long.len(), "{heard}");
    }
}
