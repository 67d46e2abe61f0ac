//! An application behind the proxy: a small hyper server that can be stopped in each way of real ones.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use autotag_base::clock;
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Request, Response, StatusCode, header};
use http_body_util::BodyExt as _;
use hyper::body::{Body, Frame, Incoming};
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, watch};

/// How far its end has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Lifecycle {
    Serving,
    Ending,
    Dead,
}

/// What it does when it is asked to stop.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Manner {
    /// Accepts no more, answers what it has, closes what is idle.
    Graceful,
    /// Is gone at once, with all connections.
    Rude,
    /// Goes on as if nothing was said, until it is killed.
    Deaf,
}

/// A running application.
pub struct App {
    pub id: String,
    pub address: SocketAddr,
    life: watch::Sender<Lifecycle>,
    seen: Arc<Seen>,
}

/// What has reached it.
#[derive(Debug, Default)]
struct Seen {
    requests: AtomicUsize,
    connections: watch::Sender<usize>,
}

impl App {
    pub async fn start(id: &str) -> Self {
        Self::start_at(id, SocketAddr::from(([127, 0, 0, 1], 0))).await
    }

    pub async fn start_at(id: &str, address: SocketAddr) -> Self {
        let listener = TcpListener::bind(address).await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let life = watch::Sender::new(Lifecycle::Serving);
        let seen = Arc::<Seen>::default();
        tokio::spawn(accept(listener, Arc::from(id), life.subscribe(), Arc::clone(&seen)));
        Self { id: id.to_owned(), address, life, seen }
    }

    /// How many requests have reached it.
    pub fn requests(&self) -> usize {
        self.seen.requests.load(Ordering::SeqCst)
    }

    /// Waits until it has so many connections.
    pub async fn connections(&self, wanted: usize) {
        let mut connections = self.seen.connections.subscribe();
        super::stage::soon(connections.wait_for(|now| *now == wanted)).await.expect("it lives");
    }

    /// SIGTERM, then, after the time that Docker leaves, SIGKILL.
    pub async fn stop(self, manner: Manner) {
        match manner {
            Manner::Rude => {}
            Manner::Graceful => {
                self.life.send_replace(Lifecycle::Ending);
                self.connections(0).await;
            }
            Manner::Deaf => clock::sleep(Duration::from_millis(50)).await,
        }
        self.life.send_replace(Lifecycle::Dead);
        self.connections(0).await;
    }
}

async fn accept(listener: TcpListener, id: Arc<str>, mut life: watch::Receiver<Lifecycle>, seen: Arc<Seen>) {
    loop {
        let stream = tokio::select! {
            accepted = listener.accept() => accepted.expect("accepted").0,
            _ = life.wait_for(|life| *life != Lifecycle::Serving) => return,
        };
        seen.connections.send_modify(|count| *count += 1);
        tokio::spawn(serve(stream, Arc::clone(&id), life.clone(), Arc::clone(&seen)));
    }
}

/// Counts a connection out, however it ends.
struct Counted(Arc<Seen>);

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.connections.send_modify(|count| *count -= 1);
    }
}

async fn serve(stream: TcpStream, id: Arc<str>, mut life: watch::Receiver<Lifecycle>, seen: Arc<Seen>) {
    let counted = Arc::new(Counted(Arc::clone(&seen)));
    let service = service_fn({
        let life = life.clone();
        move |request| {
            seen.requests.fetch_add(1, Ordering::SeqCst);
            let (id, life, counted) = (Arc::clone(&id), life.clone(), Arc::clone(&counted));
            async move { answer(request, &id, life, counted).await }
        }
    });
    let connection = hyper::server::conn::http1::Builder::new()
        .max_headers(1000)
        .serve_connection(TokioIo::new(stream), service)
        .with_upgrades();
    tokio::pin!(connection);
    let mut before = Lifecycle::Serving;
    loop {
        tokio::select! {
            _ = connection.as_mut() => return,
            now = life.wait_for(|life| *life > before) => match now.map_or(Lifecycle::Dead, |life| *life) {
                Lifecycle::Dead => return,
                now => {
                    before = now;
                    connection.as_mut().graceful_shutdown();
                }
            },
        }
    }
}

/// A body that comes from another task; it fails when that task ends without saying so.
pub struct Chunks(mpsc::Receiver<Option<Frame<Bytes>>>);

impl Body for Chunks {
    type Data = Bytes;
    type Error = std::io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, std::io::Error>>> {
        self.0.poll_recv(context).map(|item| match item {
            Some(Some(frame)) => Some(Ok(frame)),
            Some(None) => None,
            None => Some(Err(std::io::Error::other("broken off"))),
        })
    }
}

impl Chunks {
    pub fn new() -> (mpsc::Sender<Option<Frame<Bytes>>>, Self) {
        let (sender, receiver) = mpsc::channel(4);
        (sender, Self(receiver))
    }
}

type Full = http_body_util::combinators::BoxBody<Bytes, std::io::Error>;

fn full(text: impl Into<Bytes>) -> Full {
    http_body_util::Full::new(text.into()).map_err(|never| match never {}).boxed()
}

fn number(request: &Request<Incoming>) -> u64 {
    request.uri().query().and_then(|query| query.parse().ok()).expect("?NUMBER")
}

async fn answer(
    request: Request<Incoming>,
    id: &str,
    life: watch::Receiver<Lifecycle>,
    counted: Arc<Counted>,
) -> Result<Response<Full>, Infallible> {
    let mut response = Response::new(full(""));
    match request.uri().path() {
        "/" => *response.body_mut() = full(id.to_owned()),
        "/head" => *response.body_mut() = full(describe(&request)),
        "/slow" => {
            clock::sleep(Duration::from_millis(number(&request))).await;
            *response.body_mut() = full(id.to_owned());
        }
        "/never" => std::future::pending().await,
        "/echo" => *response.body_mut() = request.into_body().map_err(std::io::Error::other).boxed(),
        "/flood" => *response.body_mut() = flood(),
        "/stream" => *response.body_mut() = stream(number(&request)),
        "/status" => {
            *response.status_mut() =
                StatusCode::from_u16(u16::try_from(number(&request)).expect("small")).expect("one");
            if response.status() == StatusCode::NOT_MODIFIED {
                response.headers_mut().insert(header::ETAG, HeaderValue::from_static("\"x\""));
            }
        }
        "/hop" => {
            let fields =
                [("connection", "x-gone"), ("x-gone", "1"), ("keep-alive", "timeout=5"), ("x-kept", "1")];
            for (name, value) in fields {
                response.headers_mut().insert(name, HeaderValue::from_static(value));
            }
        }
        "/trailers" => {
            response.headers_mut().insert(header::TRAILER, HeaderValue::from_static("x-sum"));
            *response.body_mut() = with_trailers();
        }
        "/upgrade" => return Ok(upgrade(request, life, counted)),
        other => panic!("no such path: {other}"),
    }
    Ok(response)
}

/// More than any buffer on the way holds, and no end.
fn flood() -> Full {
    let (sender, body) = Chunks::new();
    tokio::spawn(async move {
        let piece = Bytes::from(vec![b'x'; 100_000]);
        while sender.send(Some(Frame::data(piece.clone()))).await.is_ok() {}
    });
    body.boxed()
}

/// The request's head as the application sees it.
fn describe(request: &Request<Incoming>) -> String {
    let mut lines = vec![format!("{} {} {:?}", request.method(), request.uri(), request.version())];
    let fields = request.headers().iter();
    lines
        .extend(fields.map(|(name, value)| format!("{name}: {}", String::from_utf8_lossy(value.as_bytes()))));
    lines.join("\n")
}

/// So many pieces, 10 ms apart.
fn stream(pieces: u64) -> Full {
    let (sender, body) = Chunks::new();
    tokio::spawn(async move {
        for _ in 0..pieces {
            clock::sleep(Duration::from_millis(10)).await;
            if sender.send(Some(Frame::data(Bytes::from_static(b"piece;")))).await.is_err() {
                return;
            }
        }
        let _ = sender.send(None).await;
    });
    body.boxed()
}

fn with_trailers() -> Full {
    let (sender, body) = Chunks::new();
    tokio::spawn(async move {
        let mut trailers = HeaderMap::new();
        trailers.insert("x-sum", HeaderValue::from_static("42"));
        for frame in [Some(Frame::data(Bytes::from_static(b"body"))), Some(Frame::trailers(trailers)), None] {
            let _ = sender.send(frame).await;
        }
    });
    body.boxed()
}

/// Changes to whatever is asked for and sends all bytes back; what it is told stays in the tunnel.
fn upgrade(
    mut request: Request<Incoming>,
    mut life: watch::Receiver<Lifecycle>,
    counted: Arc<Counted>,
) -> Response<Full> {
    let protocol = request.headers().get(header::UPGRADE).cloned().expect("an upgrade is asked for");
    let upgraded = hyper::upgrade::on(&mut request);
    tokio::spawn(async move {
        let mut stream = TokioIo::new(upgraded.await.expect("upgraded"));
        let mut buffer = vec![0; 1024];
        loop {
            let read = tokio::select! {
                read = stream.read(&mut buffer) => read.unwrap_or(0),
                _ = life.wait_for(|life| *life == Lifecycle::Dead) => 0,
            };
            if read == 0 || stream.write_all(&buffer[..read]).await.is_err() {
                break;
            }
        }
        drop(counted);
    });
    let mut response = Response::new(full(""));
    *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
    response.headers_mut().insert(header::UPGRADE, protocol);
    response
}
