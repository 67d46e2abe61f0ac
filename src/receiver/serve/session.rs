//! One connection: who it is, what is asked, and the answers until the result.

use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::UnixStream;

use super::change::{self, Change};
use super::who::{Caller, caller};
use super::{Server, ask};
use crate::deploy::protocol::{
    Answer, Because, Body, End, Lines, Outcome, REQUEST_BYTES, Refused, Request, Word,
};
use crate::receiver::job::Job;
use crate::world::engine::Engine;

/// How long a caller may take to say what it wants.
const SAYING: Duration = Duration::from_secs(30);

/// How long a caller may take to close its side after the result.
const HEARING_OUT: Duration = Duration::from_secs(2);

/// Between two heartbeats; the protocol promises one within ten seconds.
const HEARTBEAT: Duration = Duration::from_secs(4);

/// Serves a connection to its end. Nobody is told of its troubles but the log: the caller has gone.
pub(super) async fn serve<E: Engine>(server: Arc<Server<E>>, mut stream: UnixStream) {
    let job = match accept(&server, &mut stream).await {
        Ok(job) => job,
        Err(refused) => {
            tracing::warn!(because = ?refused.because, "refused: {}", refused.message);
            let job = Arc::new(Job::new(None));
            job.end(refusal(&refused));
            job
        }
    };
    match follow(&job, &mut stream).await {
        Ok(()) => hear_out(&mut stream).await,
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
async fn accept<E: Engine>(server: &Arc<Server<E>>, stream: &mut UnixStream) -> Result<Arc<Job>, Refused> {
    let host = |what: &str, error: std::io::Error| Refused::new(Because::Host, format!("{what}: {error}"));
    let user = stream.peer_cred().map_err(|error| host("asking the kernel who asks", error))?.uid();
    let passwd = server.layout.passwd();
    let caller = caller(user, &passwd).map_err(|error| host("reading the users of this machine", error))?;
    let Some(caller) = caller else {
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
    set_to_work(server, caller, request)
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
) -> Result<Arc<Job>, Refused> {
    let app = request.app;
    let change = match request.body {
        Body::Deploy(deploy) => Change::Deploy(deploy),
        Body::Rollback(rollback) => Change::Rollback(rollback),
        question => {
            let job = Arc::new(Job::new(None));
            let (server, answering) = (Arc::clone(server), Arc::clone(&job));
            tokio::spawn(async move { ask::answer(&server, &app, question, &answering).await });
            return Ok(job);
        }
    };
    let place = server.desk.place(&app);
    let id = change.deployment();
    let Some((job, new)) = place.job(id, &change.about()) else {
        let text = format!("the deployment {id} is at work on something else: each needs an id of its own");
        return Err(Refused::new(Because::IdTaken, text));
    };
    if new {
        let (server, at_work) = (Arc::clone(server), Arc::clone(&job));
        // A task of its own: it does not end with the connection.
        tokio::spawn(async move { change::carry_out(&server, &caller, &app, change, &at_work).await });
    }
    Ok(job)
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
        stream.write_all(line.as_bytes()).await?;
    }
}
