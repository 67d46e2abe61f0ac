//! Connections to one container: opened, used again while they are fresh, and all closed at its end.
//!
//! hyper-util has a pool as well; this one knows for sure whether a request has left and whether an answer
//! has begun (what may be sent again depends on both), belongs to one container, and dies with it.

use std::collections::VecDeque;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use http::request::Parts;
use http::{Request, Response};
use hyper::body::Incoming;
use hyper::client::conn::TrySendError;
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::sync::oneshot;
use tokio::task::AbortHandle;

use super::app_stream::{AppStream, Transcript};
use crate::bounds::limits::Limits;
use crate::bounds::shares::{Places, Spare};
use crate::messages::body::{Progress, Sending};
use crate::upstream::{Phase, Upstream};
use autotag_base::clock;
use autotag_base::clock::Stopwatch;

/// Why there is no answer.
#[derive(Debug)]
pub enum Unanswered {
    /// Nothing of it was sent: it can be tried again, here or elsewhere.
    NotSent(Box<Request<Sending>>, io::Error),
    /// It was sent, or some of it: the application may be acting on it. And whether an answer had begun.
    Sent(hyper::Error, bool),
}

/// A connection to the application.
#[derive(Debug)]
struct Connection {
    sender: SendRequest<Sending>,
    heard: Transcript,
    /// Its task, to be ended where it would not end by itself.
    task: AbortHandle,
    /// Ends with its task.
    over: oneshot::Receiver<()>,
}

#[derive(Debug, Default)]
struct Idle {
    /// Oldest first.
    connections: VecDeque<(Connection, Stopwatch, Spare)>,
    closed: bool,
    /// A task looks after those that nobody takes in time.
    swept: bool,
}

/// The idle connections of one upstream.
#[derive(Debug)]
pub struct Pool {
    idle: Mutex<Idle>,
    patience: Duration,
    places: Arc<Places>,
}

impl Pool {
    /// An empty one; connections stay in it for `patience`, as many as there are places for.
    pub fn new(patience: Duration, places: &Arc<Places>) -> Self {
        Self { idle: Mutex::default(), patience, places: Arc::clone(places) }
    }

    /// Closes all that are idle, and all that come back.
    pub fn close(&self) {
        let mut idle = self.lock();
        idle.closed = true;
        idle.connections.clear();
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Idle> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The freshest one, so that surplus ones age and go.
    fn take(&self) -> Option<Connection> {
        let mut idle = self.lock();
        while let Some((connection, since, _)) = idle.connections.pop_back() {
            if since.elapsed() >= self.patience {
                idle.connections.clear();
            } else if connection.sender.is_ready() {
                return Some(connection);
            }
        }
        None
    }

    /// Gives one back. Says whether a sweeper has to be started.
    fn put(&self, connection: Connection) -> bool {
        let Some(spare) = self.places.spare() else { return false };
        let mut idle = self.lock();
        if idle.closed {
            return false;
        }
        idle.connections.push_back((connection, Stopwatch::start(), spare));
        !std::mem::replace(&mut idle.swept, true)
    }

    /// Closes those that have waited too long; `false` when none is left.
    fn sweep(&self) -> bool {
        let mut idle = self.lock();
        while idle.connections.front().is_some_and(|(_, since, _)| since.elapsed() >= self.patience) {
            idle.connections.pop_front();
        }
        idle.swept = !idle.connections.is_empty();
        idle.swept
    }
}

/// A request that may be sent a second time, if the connection that was used again ends without a byte of an
/// answer: the application closed it while the request was on its way (RFC 9110, 9.2.2; RFC 9112, 9.3.1).
/// Only one whose method promises that twice does no more than once, and that has no body.
fn copy(request: &Request<Sending>) -> Option<Parts> {
    if !request.method().is_idempotent() || !request.body().is_empty() {
        return None;
    }
    let mut copy = Request::new(()).into_parts().0;
    copy.method = request.method().clone();
    copy.uri = request.uri().clone();
    copy.headers = request.headers().clone();
    copy.extensions = request.extensions().clone();
    Some(copy)
}

/// Sends a request over a connection that is open, or a new one.
pub async fn send(
    upstream: &Arc<Upstream>,
    mut request: Request<Sending>,
    limits: &Limits,
) -> Result<Response<Incoming>, Unanswered> {
    let progress = request.body().progress();
    while let Some(connection) = upstream.pool.take() {
        let copy = copy(&request);
        let before = connection.heard.bytes();
        match exchange(connection, request).await {
            Ok((response, connection)) => return Ok(keep(upstream, connection, response, progress, limits)),
            // The application closed it between two requests, before this one left.
            Err((mut failed, heard)) => match (failed.take_message(), copy) {
                (Some(unsent), _) => request = unsent,
                (None, Some(parts)) if heard.bytes() == before && !upstream.is_cut() => {
                    request = Request::from_parts(parts, Sending::empty());
                    // A new connection tells for sure: no third time.
                    break;
                }
                (None, _) => {
                    let began = heard.bytes() != before;
                    return Err(Unanswered::Sent(failed.into_error(), began));
                }
            },
        }
    }
    let connection = match connect(upstream, limits).await {
        Ok(connection) => connection,
        Err(error) => return Err(Unanswered::NotSent(Box::new(request), error)),
    };
    match exchange(connection, request).await {
        Ok((response, connection)) => Ok(keep(upstream, connection, response, progress, limits)),
        Err((mut failed, heard)) => Err(match failed.take_message() {
            Some(unsent) => Unanswered::NotSent(Box::new(unsent), io::Error::other(failed.into_error())),
            None => Unanswered::Sent(failed.into_error(), heard.bytes() > 0),
        }),
    }
}

/// A request over this connection. The connection comes back with the answer, if it is still there.
///
/// A request that is handed over at the very moment in which the connection's task ends may stay in the
/// channel between the two, which is emptied for good only when its sender goes as well: so the sender goes
/// when the task has ended, and the request comes back as one that was not sent.
async fn exchange(
    mut connection: Connection,
    request: Request<Sending>,
) -> Result<(Response<Incoming>, Option<Connection>), (TrySendError<Request<Sending>>, Transcript)> {
    let heard = connection.heard.clone();
    let sending = connection.sender.try_send_request(request);
    tokio::pin!(sending);
    let answered = tokio::select! {
        biased;
        answered = sending.as_mut() => Some(answered),
        _ = &mut connection.over => None,
    };
    if let Some(answered) = answered {
        return answered.map(|response| (response, Some(connection))).map_err(|error| (error, heard));
    }
    drop(connection);
    sending.await.map(|response| (response, None)).map_err(|error| (error, heard))
}

/// Puts the connection back as soon as its answer has been read to the end, and its request was sent.
fn keep(
    upstream: &Arc<Upstream>,
    connection: Option<Connection>,
    response: Response<Incoming>,
    progress: Option<Arc<Progress>>,
    limits: &Limits,
) -> Response<Incoming> {
    let Some(mut connection) = connection else { return response };
    if response.status() == http::StatusCode::SWITCHING_PROTOCOLS {
        return response;
    }
    if connection.sender.is_ready() {
        put(upstream, connection);
        return response;
    }
    let upstream = Arc::clone(upstream);
    let patience = limits.stall_timeout;
    tokio::spawn(async move {
        let ready = match &progress {
            None => connection.sender.ready().await.is_ok(),
            Some(progress) => sent(&mut connection, progress, patience).await,
        };
        if ready {
            put(&upstream, connection);
        }
    });
    response
}

/// Waits until a request's body has been sent after its answer has begun. Where the answer has ended and the
/// application takes no more of the body, the connection is ended.
async fn sent(connection: &mut Connection, progress: &Progress, patience: Duration) -> bool {
    let mut before = None;
    loop {
        match tokio::time::timeout(patience, connection.sender.ready()).await {
            Ok(ready) => return ready.is_ok(),
            Err(_) if !progress.is_answered() => {}
            Err(_) if before == Some(progress.so_far()) => {
                connection.task.abort();
                return false;
            }
            Err(_) => before = Some(progress.so_far()),
        }
    }
}

fn put(upstream: &Arc<Upstream>, connection: Connection) {
    if upstream.pool.put(connection) {
        let upstream = Arc::clone(upstream);
        tokio::spawn(async move {
            loop {
                clock::sleep(upstream.pool.patience).await;
                if !upstream.pool.sweep() {
                    break;
                }
            }
        });
    }
}

async fn connect(upstream: &Upstream, limits: &Limits) -> io::Result<Connection> {
    let stream = tokio::time::timeout(limits.connect_timeout, open(upstream.target.address))
        .await
        .map_err(|_| io::Error::new(io::ErrorKind::TimedOut, "no connection in time"))??;
    let heard = Transcript::default();
    let stream = AppStream::new(stream, heard.clone());
    let (sender, connection) = http1::Builder::new()
        .max_headers(256)
        // RFC 9112, 5.1: a proxy takes them out of an answer.
        .allow_spaces_after_header_name_in_responses(true)
        .handshake(TokioIo::new(stream))
        .await
        .map_err(io::Error::other)?;
    let mut phase = upstream.phase();
    let (end, over) = oneshot::channel::<()>();
    let task = tokio::spawn(async move {
        let _end = end;
        tokio::select! {
            // Its errors reach whoever waits for the answer or reads the body.
            _ = connection.with_upgrades() => {}
            _ = phase.wait_for(|phase| *phase == Phase::Cut) => {}
        }
    });
    Ok(Connection { sender, heard, task: task.abort_handle(), over })
}

async fn open(address: SocketAddr) -> io::Result<TcpStream> {
    let stream = TcpStream::connect(address).await?;
    stream.set_nodelay(true)?;
    Ok(stream)
}
