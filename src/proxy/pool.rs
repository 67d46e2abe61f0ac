//! Connections to one container: opened, used again while they are fresh, and all closed at its end.
//!
//! hyper-util has a pool as well; this one knows for sure whether a request has left (only what has not
//! may be sent again), belongs to one container, and dies with it.

use std::collections::VecDeque;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use http::{Request, Response};
use hyper::body::Incoming;
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

use super::body::Sending;
use super::limits::Limits;
use super::upstream::{Phase, Upstream};
use crate::world::clock::{self, Stopwatch};

/// Why there is no answer.
#[derive(Debug)]
pub enum Unanswered {
    /// Nothing of it was sent: it can be tried again, here or elsewhere.
    NotSent(Box<Request<Sending>>, io::Error),
    /// It was sent, or some of it: the application may be acting on it.
    Sent(hyper::Error),
}

#[derive(Debug, Default)]
struct Idle {
    /// Oldest first.
    connections: VecDeque<(SendRequest<Sending>, Stopwatch)>,
    closed: bool,
    /// A task looks after those that nobody takes in time.
    swept: bool,
}

/// The idle connections of one upstream.
#[derive(Debug)]
pub struct Pool {
    idle: Mutex<Idle>,
    patience: Duration,
}

impl Pool {
    /// An empty one; connections stay in it for `patience`.
    pub fn new(patience: Duration) -> Self {
        Self { idle: Mutex::default(), patience }
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
    fn take(&self) -> Option<SendRequest<Sending>> {
        let mut idle = self.lock();
        while let Some((connection, since)) = idle.connections.pop_back() {
            if since.elapsed() >= self.patience {
                idle.connections.clear();
            } else if connection.is_ready() {
                return Some(connection);
            }
        }
        None
    }

    /// Gives one back. Says whether a sweeper has to be started.
    fn put(&self, connection: SendRequest<Sending>) -> bool {
        let mut idle = self.lock();
        if idle.closed {
            return false;
        }
        idle.connections.push_back((connection, Stopwatch::start()));
        !std::mem::replace(&mut idle.swept, true)
    }

    /// Closes those that have waited too long; `false` when none is left.
    fn sweep(&self) -> bool {
        let mut idle = self.lock();
        while idle.connections.front().is_some_and(|(_, since)| since.elapsed() >= self.patience) {
            idle.connections.pop_front();
        }
        idle.swept = !idle.connections.is_empty();
        idle.swept
    }
}

/// Sends a request over a connection that is open, or a new one.
pub async fn send(
    upstream: &Arc<Upstream>,
    mut request: Request<Sending>,
    limits: &Limits,
) -> Result<Response<Incoming>, Unanswered> {
    while let Some(mut connection) = upstream.pool.take() {
        match connection.try_send_request(request).await {
            Ok(response) => return Ok(keep(upstream, connection, response)),
            // The application closed it between two requests, before this one left.
            Err(mut failed) => match failed.take_message() {
                Some(unsent) => request = unsent,
                None => return Err(Unanswered::Sent(failed.into_error())),
            },
        }
    }
    let mut connection = match connect(upstream, limits).await {
        Ok(connection) => connection,
        Err(error) => return Err(Unanswered::NotSent(Box::new(request), error)),
    };
    match connection.try_send_request(request).await {
        Ok(response) => Ok(keep(upstream, connection, response)),
        Err(mut failed) => Err(match failed.take_message() {
            Some(unsent) => Unanswered::NotSent(Box::new(unsent), io::Error::other(failed.into_error())),
            None => Unanswered::Sent(failed.into_error()),
        }),
    }
}

/// Puts the connection back as soon as its answer has been read to the end.
fn keep(
    upstream: &Arc<Upstream>,
    mut connection: SendRequest<Sending>,
    response: Response<Incoming>,
) -> Response<Incoming> {
    if response.status() == http::StatusCode::SWITCHING_PROTOCOLS {
        return response;
    }
    if connection.is_ready() {
        put(upstream, connection);
    } else {
        let upstream = Arc::clone(upstream);
        tokio::spawn(async move {
            if connection.ready().await.is_ok() {
                put(&upstream, connection);
            }
        });
    }
    response
}

fn put(upstream: &Arc<Upstream>, connection: SendRequest<Sending>) {
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

async fn connect(upstream: &Upstream, limits: &Limits) -> io::Result<SendRequest<Sending>> {
    let stream = tokio::time::timeout(limits.connect_timeout, open(upstream.target.address))
        .await
        .map_err(|_| io::Error::new(io::ErrorKind::TimedOut, "no connection in time"))??;
    let (sender, connection) = http1::Builder::new()
        .max_headers(256)
        .handshake(TokioIo::new(stream))
        .await
        .map_err(io::Error::other)?;
    let mut phase = upstream.phase();
    tokio::spawn(async move {
        tokio::select! {
            // Its errors reach whoever waits for the answer or reads the body.
            _ = connection.with_upgrades() => {}
            _ = phase.wait_for(|phase| *phase == Phase::Cut) => {}
        }
    });
    Ok(sender)
}

async fn open(address: SocketAddr) -> io::Result<TcpStream> {
    let stream = TcpStream::connect(address).await?;
    stream.set_nodelay(true)?;
    Ok(stream)
}
