//! A small HTTP/1.1 server for doubles: it can break off where a real one would answer.

use std::future::Future;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::{HeaderMap, Method, Request, Response, StatusCode};
use http_body_util::BodyExt as _;
use hyper::body::{Body, Frame, Incoming, SizeHint};
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;
use tokio::task::JoinSet;

/// A request, read to its end.
#[derive(Debug, Clone)]
pub struct HttpRequest {
    /// GET, POST ...
    pub method: Method,
    /// As it came, not decoded.
    pub path: String,
    /// Without the question mark; empty where there is none.
    pub query: String,
    /// All headers.
    pub headers: HeaderMap,
    /// The whole body.
    pub body: Bytes,
}

impl HttpRequest {
    /// A header's text.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).and_then(|value| value.to_str().ok())
    }

    /// The query's value of this name, decoded.
    pub fn parameter(&self, name: &str) -> Option<String> {
        url::form_urlencoded::parse(self.query.as_bytes())
            .find(|(key, _)| key == name)
            .map(|(_, value)| value.into_owned())
    }

    /// Path and query, as in the request's first line.
    pub fn target(&self) -> String {
        if self.query.is_empty() { self.path.clone() } else { format!("{}?{}", self.path, self.query) }
    }
}

/// What a handler gives back.
#[derive(Debug)]
pub enum Reply {
    /// An answer.
    Answer(Response<Bytes>),
    /// The head and the first bytes of an answer whose `content-length` promises more; then the end.
    Cut(Response<Bytes>),
    /// The connection is closed without a byte.
    HangUp,
}

impl Reply {
    /// An answer with a JSON body.
    pub fn json(status: u16, body: &serde_json::Value) -> Self {
        let status = StatusCode::from_u16(status).expect("an HTTP status");
        let response = Response::builder()
            .status(status)
            .header("content-type", "application/json; charset=utf-8")
            .body(Bytes::from(body.to_string()));
        Self::Answer(response.expect("a response"))
    }
}

/// Bytes, then either the end or a break.
struct Content {
    bytes: Option<Bytes>,
    missing: bool,
    flushed: bool,
}

impl Content {
    fn new(bytes: Bytes, missing: bool) -> Self {
        Self { bytes: Some(bytes), missing, flushed: false }
    }
}

impl Body for Content {
    type Data = Bytes;
    type Error = std::io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, std::io::Error>>> {
        if let Some(bytes) = self.bytes.take() {
            return Poll::Ready(Some(Ok(Frame::data(bytes))));
        }
        if !self.missing {
            return Poll::Ready(None);
        }
        if self.flushed {
            return Poll::Ready(Some(Err(std::io::Error::other("cut on purpose"))));
        }
        // One pause, in which hyper sends what it has; an error at once would discard it.
        self.flushed = true;
        context.waker().wake_by_ref();
        Poll::Pending
    }

    fn size_hint(&self) -> SizeHint {
        match &self.bytes {
            Some(bytes) => SizeHint::with_exact(bytes.len() as u64 + u64::from(self.missing)),
            None => SizeHint::with_exact(0),
        }
    }
}

/// A server on a thread of its own. Dropped, it closes its port and all connections.
#[derive(Debug)]
pub struct HttpServer {
    address: SocketAddr,
    stop: Option<tokio::sync::oneshot::Sender<()>>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl HttpServer {
    /// Listens on a free port of 127.0.0.1.
    pub fn start<H, F>(handler: H) -> Self
    where
        H: Fn(HttpRequest) -> F + Send + Sync + 'static,
        F: Future<Output = Reply> + Send + 'static,
    {
        Self::listen("127.0.0.1:0", handler)
    }

    /// Listens on this address; panics where it is taken.
    pub fn listen<H, F>(address: &str, handler: H) -> Self
    where
        H: Fn(HttpRequest) -> F + Send + Sync + 'static,
        F: Future<Output = Reply> + Send + 'static,
    {
        let listener = std::net::TcpListener::bind(address)
            .unwrap_or_else(|error| panic!("listen on {address}: {error}"));
        listener.set_nonblocking(true).expect("a listener that does not block");
        let address = listener.local_addr().expect("the listener's address");
        let (stop, stopped) = tokio::sync::oneshot::channel();
        let thread = std::thread::spawn(move || {
            let runtime =
                tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
            runtime.block_on(async move {
                tokio::select! {
                    () = accept(listener, Arc::new(handler)) => {}
                    _ = stopped => {}
                }
            });
        });
        Self { address, stop: Some(stop), thread: Some(thread) }
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// `http://` and the address, without a slash at the end.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }
}

impl Drop for HttpServer {
    fn drop(&mut self) {
        if let Some(stop) = self.stop.take() {
            // An error says that the thread has ended already.
            let _ = stop.send(());
        }
        if let Some(thread) = self.thread.take() {
            let ended = thread.join();
            assert!(ended.is_ok() || std::thread::panicking(), "the thread of a test server panicked");
        }
    }
}

async fn accept<H, F>(listener: std::net::TcpListener, handler: Arc<H>)
where
    H: Fn(HttpRequest) -> F + Send + Sync + 'static,
    F: Future<Output = Reply> + Send + 'static,
{
    let listener = TcpListener::from_std(listener).expect("a listener");
    let mut connections = JoinSet::new();
    loop {
        let (stream, _) = listener.accept().await.expect("a connection");
        let handler = Arc::clone(&handler);
        connections.spawn(async move {
            let service = hyper::service::service_fn(move |request| serve(request, Arc::clone(&handler)));
            // Errors here are the broken connections that the tests asked for, or clients that left.
            let _ = hyper::server::conn::http1::Builder::new()
                .serve_connection(TokioIo::new(stream), service)
                .await;
        });
        while connections.try_join_next().is_some() {}
    }
}

async fn serve<H, F>(request: Request<Incoming>, handler: Arc<H>) -> Result<Response<Content>, std::io::Error>
where
    H: Fn(HttpRequest) -> F + Send + Sync + 'static,
    F: Future<Output = Reply> + Send + 'static,
{
    let (head, body) = request.into_parts();
    let body = body.collect().await.map_err(std::io::Error::other)?.to_bytes();
    let asked = HttpRequest {
        method: head.method,
        path: head.uri.path().to_owned(),
        query: head.uri.query().unwrap_or_default().to_owned(),
        headers: head.headers,
        body,
    };
    match handler(asked).await {
        Reply::Answer(response) => Ok(response.map(|bytes| Content::new(bytes, false))),
        Reply::Cut(response) => Ok(response.map(|bytes| Content::new(bytes, true))),
        Reply::HangUp => Err(std::io::Error::other("hung up on purpose")),
    }
}

/// A plain HTTP client that follows no redirect and knows no proxy.
pub fn client() -> reqwest::Client {
    // An error says that somebody else has installed it.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let builder = reqwest::Client::builder().user_agent("autotag-deploy's tests").no_proxy();
    builder.redirect(reqwest::redirect::Policy::none()).build().expect("a client")
}
