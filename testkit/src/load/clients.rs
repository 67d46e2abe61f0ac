//! What each kind of client does, again and again until it is told to stop.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use autotag_base::clock;
use autotag_base::clock::Stopwatch;
use autotag_proxy::bounds::limits::Limits;
use bytes::Bytes;
use http::{Method, Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Full};
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::task::JoinSet;

use super::report::Lost;
use super::web_socket::{SocketEnd, WebSocket};
use super::{ClientKind, Failure, Mix, Tally};

/// No exchange may take longer, nor be silent for so long.
const PATIENCE: Duration = Duration::from_secs(30);
/// After a failure, so that a server that is away is not asked a million times.
const AFTER_FAILURE: Duration = Duration::from_millis(10);
/// Between two pieces of a streamed answer, as the server is told.
const PIECE_MS: u64 = 20;

/// Runs all clients of a mix until `over`.
pub(super) async fn run_all(
    address: SocketAddr,
    mix: &Mix,
    over: &watch::Receiver<bool>,
    tally: &Arc<Tally>,
) {
    let mut clients = JoinSet::new();
    let mix = Arc::new(mix.clone());
    for (kind, count) in &mix.clients {
        tally.write(|report| report.expect(*kind));
        for number in 0..*count {
            let host = mix.host.clone().unwrap_or_else(|| address.to_string());
            let client = Client {
                kind: *kind,
                address,
                host,
                mix: Arc::clone(&mix),
                tally: Arc::clone(tally),
                over: over.clone(),
                kept: None,
                // Each client has its own times, and the same ones in every run.
                dice: 0x9e37_79b9_7f4a_7c15_u64.wrapping_mul(number as u64 + 1) ^ (*kind as u64 + 1),
            };
            clients.spawn(client.run());
        }
    }
    while let Some(ended) = clients.join_next().await {
        ended.expect("a client panicked");
    }
}

struct Client {
    kind: ClientKind,
    address: SocketAddr,
    host: String,
    mix: Arc<Mix>,
    tally: Arc<Tally>,
    over: watch::Receiver<bool>,
    kept: Option<SendRequest<Full<Bytes>>>,
    dice: u64,
}

impl Client {
    async fn run(mut self) {
        while !*self.over.borrow() {
            let done = match self.kind {
                ClientKind::WebSocket => self.converse().await,
                _ => self.exchange().await,
            };
            if let Err((failure, words)) = done {
                self.kept = None;
                self.tally.write(|report| report.failed(self.kind, failure, words));
                self.pause(AFTER_FAILURE).await;
            }
            let pause = match self.kind {
                ClientKind::Idle => self.throw(self.mix.idle / 2..self.mix.idle * 3 / 2),
                _ => self.mix.pause,
            };
            self.pause(Duration::from_millis(pause)).await;
        }
    }

    /// Until the time is over or the load is.
    async fn pause(&mut self, pause: Duration) {
        let over = self.over.wait_for(|over| *over);
        let _ = tokio::time::timeout(pause, over).await;
    }

    /// xorshift: any numbers will do.
    fn throw(&mut self, range: std::ops::Range<u64>) -> u64 {
        self.dice ^= self.dice << 13;
        self.dice ^= self.dice >> 7;
        self.dice ^= self.dice << 17;
        range.start + self.dice % (range.end - range.start).max(1)
    }

    async fn exchange(&mut self) -> Result<(), Lost> {
        let (path, body) = match self.kind {
            ClientKind::Slow => (format!("/slow?ms={}", self.throw(self.mix.slow.clone())), None),
            ClientKind::Stream => (format!("/stream?chunks={}&ms={PIECE_MS}", self.mix.pieces), None),
            ClientKind::Post => {
                let (length, seed) = (self.throw(1..100_000), self.throw(0..251));
                let bytes = (0..length).map(|at| u8::try_from((at + seed) % 251).unwrap_or_default());
                ("/echo".to_owned(), Some(Bytes::from(bytes.collect::<Vec<_>>())))
            }
            _ => ("/".to_owned(), None),
        };
        let stopwatch = Stopwatch::start();
        let asked = self.ask(&path, body.clone());
        let answer = tokio::time::timeout(PATIENCE, asked)
            .await
            .map_err(|_| (Failure::Timeout, format!("{path}: no whole answer in {PATIENCE:?}")))??;
        let took = stopwatch.elapsed();
        if answer.status() == StatusCode::SERVICE_UNAVAILABLE && took >= Limits::default().hold {
            return Err((Failure::WaitedTooLong, format!("{path}: {} after {took:?}", answer.status())));
        }
        self.judge(&path, body.as_ref(), &answer)?;
        let version = answer.headers().get("x-version").and_then(|value| value.to_str().ok());
        self.tally.write(|report| report.succeeded(self.kind, took, version));
        Ok(())
    }

    /// One try, and the answer to its end.
    async fn ask(&mut self, path: &str, body: Option<Bytes>) -> Result<Response<Bytes>, Lost> {
        let mut sender = self.connection().await?;
        let method = if body.is_some() { Method::POST } else { Method::GET };
        let mut request = Request::builder().method(method).uri(path).header("host", &self.host);
        if self.kind == ClientKind::New {
            request = request.header("connection", "close");
        }
        let request = request.body(Full::new(body.unwrap_or_default()));
        let request = request.map_err(|error| (Failure::WrongAnswer, error.to_string()))?;
        let lost = |failure, error: &hyper::Error| (failure, format!("{path}: {}", chain(error)));
        let answer = sender.send_request(request).await.map_err(|error| lost(Failure::NoAnswer, &error))?;
        let (parts, body) = answer.into_parts();
        let body = body.collect().await.map_err(|error| lost(Failure::CutShort, &error))?.to_bytes();
        if self.kind != ClientKind::New {
            self.kept = Some(sender);
        }
        Ok(Response::from_parts(parts, body))
    }

    /// The connection that is kept, or a new one. That a kept one has been closed is no failure as long as
    /// it shows before anything is sent.
    async fn connection(&mut self) -> Result<SendRequest<Full<Bytes>>, Lost> {
        if let Some(mut kept) = self.kept.take()
            && kept.ready().await.is_ok()
        {
            return Ok(kept);
        }
        let connect = |error: &dyn std::error::Error| (Failure::Connect, chain(error));
        let stream = TcpStream::connect(self.address).await.map_err(|error| connect(&error))?;
        let _ = stream.set_nodelay(true);
        let (sender, connection) =
            http1::handshake(TokioIo::new(stream)).await.map_err(|error| connect(&error))?;
        // Its errors reach whoever waits for the answer.
        tokio::spawn(connection);
        Ok(sender)
    }

    fn judge(&self, path: &str, sent: Option<&Bytes>, answer: &Response<Bytes>) -> Result<(), Lost> {
        let body = answer.body();
        if answer.status() != StatusCode::OK {
            let start = String::from_utf8_lossy(&body[..body.len().min(80)]).trim().to_owned();
            return Err((Failure::Status, format!("{path}: {}: {start}", answer.status())));
        }
        let right = match (self.kind, sent) {
            (_, Some(sent)) => body == sent,
            (ClientKind::Stream, _) => u64::try_from(body.len()).ok() == Some(self.mix.pieces * 6),
            _ => !body.is_empty(),
        };
        if right { Ok(()) } else { Err((Failure::WrongAnswer, format!("{path}: {} bytes", body.len()))) }
    }

    /// Messages until the server closes by the rules, or the load is over.
    async fn converse(&mut self) -> Result<(), Lost> {
        let opened = tokio::time::timeout(PATIENCE, WebSocket::open(self.address, &self.host)).await;
        let mut socket = opened.map_err(|_| (Failure::Timeout, "no WebSocket".to_owned()))??;
        for number in 0_u64.. {
            if *self.over.borrow() {
                break;
            }
            let stopwatch = Stopwatch::start();
            let echoed = tokio::time::timeout(PATIENCE, socket.echo(&number.to_string())).await;
            match echoed.map_err(|_| (Failure::Timeout, "no message came back".to_owned()))?? {
                SocketEnd::NotYet => {}
                SocketEnd::Closed => {
                    self.tally.write(|report| report.closed(self.kind));
                    return Ok(());
                }
            }
            let took = stopwatch.elapsed();
            self.tally.write(|report| report.succeeded(self.kind, took, None));
            clock::sleep(Duration::from_millis(PIECE_MS.max(self.mix.pause))).await;
        }
        // The client's own goodbye has to be answered as well.
        let closed = tokio::time::timeout(PATIENCE, socket.close()).await;
        closed.map_err(|_| (Failure::Timeout, "no answer to a Close".to_owned()))?
    }
}

/// An error with its causes: hyper's own words alone say little.
pub(super) fn chain(error: &dyn std::error::Error) -> String {
    let mut words = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        words = format!("{words}: {error}");
        cause = error.source();
    }
    words
}
