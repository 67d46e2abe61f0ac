//! What applications answer, and when: stale connections, early and odd answers, and what is refused.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use autotag_proxy::admin::{AdminAnswer, Command};
use autotag_proxy::upstream::Target;
use bytes::Bytes;
use http::{Request, StatusCode};
use http_body_util::BodyExt as _;
use hyper::client::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

use crate::proxy::app::{App, Chunks};
use crate::proxy::process::ProxyProcess;
use crate::proxy::stage::{Stage, ask, get, post, raw, read_out, read_until, soon, text};

/// An application that does this with each connection.
async fn application<F: Future<Output = ()> + Send + 'static>(
    stage: &Stage,
    treat: impl Fn(TcpStream) -> F + Send + 'static,
) {
    let address = listening(treat).await;
    stage.point_at(Some(Target { id: "odd".to_owned(), address })).await;
}

async fn listening<F: Future<Output = ()> + Send + 'static>(
    treat: impl Fn(TcpStream) -> F + Send + 'static,
) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.expect("accepted");
            tokio::spawn(treat(stream));
        }
    });
    address
}

/// Reads a head; none: the other end has closed.
async fn head(stream: &mut TcpStream) -> Option<String> {
    let mut all = Vec::new();
    while !all.ends_with(b"\r\n\r\n") {
        all.push(stream.read_u8().await.ok()?);
    }
    String::from_utf8(all).ok()
}

/// The application answers, says nothing of closing, and closes.
// case S13; broken by: `pool::copy` copies nothing
pub async fn stale_connections_lose_no_get() {
    let stage = Stage::new().await;
    application(&stage, async |mut stream: TcpStream| {
        if head(&mut stream).await.is_some() {
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nbye\n").await;
            tokio::task::yield_now().await;
        }
    })
    .await;
    let mut clients = tokio::task::JoinSet::new();
    for _ in 0..8 {
        let mut client = stage.connect().await;
        clients.spawn(async move {
            for _ in 0..250 {
                let response = ask(&mut client, get("/x")).await.expect("an answer");
                assert_eq!(response.status(), StatusCode::OK, "{}", text(&response));
            }
        });
    }
    while let Some(done) = soon(clients.join_next()).await {
        done.expect("no panic");
    }
}

/// An application that answers the first request of each connection, and closes at the second.
#[derive(Default)]
struct Closes {
    seen: AtomicUsize,
    closed: AtomicUsize,
    /// It begins an answer before it closes.
    begins: bool,
}

impl Closes {
    async fn listen(begins: bool) -> (Arc<Self>, SocketAddr) {
        let this = Arc::new(Self { begins, ..Self::default() });
        let app = Arc::clone(&this);
        let address = listening(move |stream| Arc::clone(&app).treat(stream)).await;
        (this, address)
    }

    async fn treat(self: Arc<Self>, mut stream: TcpStream) {
        for first in [true, false] {
            if head(&mut stream).await.is_none() {
                return;
            }
            self.seen.fetch_add(1, Ordering::SeqCst);
            let answer: &[u8] = match (first, self.begins) {
                (true, _) => b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
                (false, true) => b"HTTP/1.1 200",
                (false, false) => b"",
            };
            if !first {
                self.closed.fetch_add(1, Ordering::SeqCst);
            }
            let _ = stream.write_all(answer).await;
        }
    }
}

/// Only requests that do no more when they are done twice, and only where no byte of an answer has come.
// case S13; broken by: `pool::copy` does not ask for the method
pub async fn only_what_may_be_repeated_is_sent_again() {
    let stage = Stage::new().await;
    for (method, begins, status, times) in [
        ("GET", false, 200, 2),
        ("HEAD", false, 200, 2),
        ("PUT", false, 200, 2),
        ("DELETE", false, 200, 2),
        ("POST", false, 502, 1),
        ("PATCH", false, 502, 1),
        ("GET", true, 502, 1),
    ] {
        // Until a request goes over the connection that was kept: whether one is, is not for the client to see.
        let mut met = false;
        for round in 0..200 {
            let (app, address) = Closes::listen(begins).await;
            stage.point_at(Some(Target { id: format!("{method}{round}"), address })).await;
            let mut client = stage.connect().await;
            assert_eq!(ask(&mut client, get("/")).await.expect("an answer").status(), StatusCode::OK);
            app.seen.store(0, Ordering::SeqCst);
            let mut request = post("/", "");
            *request.method_mut() = method.parse().expect("a method");
            let response = ask(&mut client, request).await.expect("an answer");
            if app.closed.load(Ordering::SeqCst) == 1 {
                let found = (response.status().as_u16(), app.seen.load(Ordering::SeqCst));
                assert_eq!(found, (status, times), "{method} {begins}: {}", text(&response));
                met = true;
                break;
            }
        }
        assert!(met, "no connection was used again");
    }
}

/// An answer that comes before the request has been read, and then the end (the input `early-413`).
// case S14; broken by: `AppStream::written` hands a failed write on at once
pub async fn an_early_answer_is_used() {
    let stage = Stage::new().await;
    application(&stage, async |mut stream: TcpStream| {
        if head(&mut stream).await.is_some() {
            let answer = b"HTTP/1.1 413 Too Large\r\nConnection: close\r\nContent-Length: 9\r\n\r\ntoo large";
            let _ = stream.write_all(answer).await;
            // Dropped with what it has not read: a reset.
        }
    })
    .await;
    for _ in 0..30 {
        let stream = soon(TcpStream::connect(stage.address)).await.expect("connected");
        let (mut from, mut to) = stream.into_split();
        let upload = tokio::spawn(async move {
            let head = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 8000000\r\n\r\n";
            let _ = to.write_all(head).await;
            let piece = vec![0; 100_000];
            for _ in 0..80 {
                if to.write_all(&piece).await.is_err() {
                    break;
                }
            }
            to
        });
        let mut seen = Vec::new();
        let end = soon(from.read_to_end(&mut seen)).await;
        let seen = String::from_utf8_lossy(&seen);
        assert!(seen.starts_with("HTTP/1.1 413") && seen.ends_with("too large"), "{end:?}: {seen}");
        soon(upload).await.expect("no panic");
    }
}

/// A GET with a body, however it is framed.
// case S12; broken by: no `Transfer-Encoding` put in for a body without a length
pub async fn a_get_keeps_its_body() {
    let app = App::start("a").await;
    let stage = Stage::serving(&app).await;
    let chunked = b"GET /echo HTTP/1.1\r\nHost: a\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n\
                    5\r\nhello\r\n0\r\n\r\n";
    let seen = stage.raw(chunked).await;
    assert!(seen.contains("hello"), "{seen}");
    let sized = b"GET /echo HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Length: 5\r\n\r\nhello";
    assert!(stage.raw(sized).await.contains("hello"));
    let stream = soon(TcpStream::connect(stage.address)).await.expect("connected");
    let handshake = http2::handshake::<_, _, Chunks>(TokioExecutor::new(), TokioIo::new(stream));
    let (mut client, connection) = handshake.await.expect("HTTP/2");
    tokio::spawn(connection);
    for method in ["GET", "QUERY", "DELETE"] {
        let (sender, body) = Chunks::new();
        let request = Request::builder().method(method).uri("http://a/echo").body(body).expect("a request");
        let (response, ()) = tokio::join!(soon(client.send_request(request)), async {
            for piece in [Some(hyper::body::Frame::data(Bytes::from("hello"))), None] {
                sender.send(piece).await.expect("taken");
            }
        });
        let body = soon(response.expect("an answer").into_body().collect()).await.expect("whole");
        assert_eq!(body.to_bytes(), "hello", "{method}");
    }
    let none = stage.raw(b"GET /head HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").await;
    assert!(!none.contains("transfer-encoding: chunked\n"), "{none}");
}

/// What is said before the answer: 103, right before it and well before it; not 100, which nobody asked for.
// case S16; broken by: `hear_early` hears nothing
pub async fn early_hints_are_passed_on() {
    let stage = Stage::new().await;
    application(&stage, async |mut stream: TcpStream| {
        while let Some(head) = head(&mut stream).await {
            let _ = stream.write_all(b"HTTP/1.1 100 Continue\r\n\r\n").await;
            let hint =
                b"HTTP/1.1 103 Early Hints\r\nLink: </a.css>\r\nConnection: x-gone\r\nX-Gone: 1\r\n\r\n";
            let _ = stream.write_all(hint).await;
            if head.starts_with("GET /later") {
                // Until the client has seen it: then it asks on another connection.
                autotag_base::clock::sleep(Duration::from_millis(100)).await;
            }
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\ndone").await;
        }
    })
    .await;
    let hint = "HTTP/1.1 103 Early Hints\r\nlink: </a.css>\r\n\r\n";
    let mut client = soon(TcpStream::connect(stage.address)).await.expect("connected");
    for path in ["/later", "/", "/later", "/"] {
        let head = format!("GET {path} HTTP/1.1\r\nHost: a\r\n\r\n");
        client.write_all(head.as_bytes()).await.expect("sent");
        let seen = read_until(&mut client, "done").await;
        let rest = seen.strip_prefix(hint).unwrap_or_else(|| panic!("{path}: {seen}"));
        assert!(rest.starts_with("HTTP/1.1 200 OK\r\n") && rest.matches("HTTP/1.1").count() == 1, "{seen}");
    }
    // Two at once in one piece keep their order.
    client.write_all(&b"GET / HTTP/1.1\r\nHost: a\r\n\r\n".repeat(2)).await.expect("sent");
    for _ in 0..2 {
        let seen = read_until(&mut client, "done").await;
        assert!(seen.starts_with(hint), "{seen}");
    }
    // HTTP/1.0 knows none.
    let old = stage.raw(b"GET / HTTP/1.0\r\nHost: a\r\n\r\n").await;
    assert!(!old.contains("103") && old.ends_with("done"), "{old}");
}

/// Each bad answer is a 502 that says what was wrong.
// case S16; broken by: `unanswered` has one sentence for all
pub async fn odd_answers_are_distinguished() {
    let stage = Stage::new().await;
    for (answer, status, expected) in [
        ("HTTP/1.1 200 OK\r\nX-Bad : v\r\nContent-Length: 2\r\n\r\nok", "200", "x-bad: v"),
        ("HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n", "502", "transfer coding"),
        ("HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\nab", "502", "transfer coding"),
        ("HTTP/1.1 200 OK\r\nX: 1\r\n folded\r\n\r\n", "502", "a line that cannot be read"),
        ("HTTP/1.1 200 OK\r\nno field\r\n\r\n", "502", "a line that cannot be read"),
        ("HTTP/1.1 2x0 OK\r\n\r\n", "502", "an invalid status"),
        ("HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab", "502", "cannot be read"),
        ("HTTP/1.1 200 OK\r\nX: ", "502", "in the middle of its answer's head"),
        ("", "502", "without an answer"),
    ] {
        application(&stage, move |mut stream: TcpStream| async move {
            if head(&mut stream).await.is_some() {
                let _ = stream.write_all(answer.as_bytes()).await;
                let _ = stream.shutdown().await;
                read_out(&mut stream).await;
            }
        })
        .await;
        let seen = stage.raw(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").await;
        assert!(seen.starts_with(&format!("HTTP/1.1 {status}")), "{answer:?}: {seen}");
        assert!(seen.contains(expected), "{answer:?}: {seen}");
        // Another id, so that no connection is kept.
        stage.point_at(None).await;
    }
}

/// The route says how long an answer may take.
// case S15; broken by: one time for all routes in `in_time`
pub async fn a_route_has_its_own_patience() {
    let app = App::start("a").await;
    let stage = Stage::with(|options| options.limits.answer_timeout = Duration::from_millis(200)).await;
    let mut route = stage.route("web");
    route.answer_timeout_ms = Some(60_000);
    assert_eq!(stage.call(&Command::Route { route: route.clone() }).await, AdminAnswer::Done {});
    stage.swap(&app).await;
    assert_eq!(stage.get("/slow?1000").await.status(), StatusCode::OK);
    route.answer_timeout_ms = Some(200);
    assert_eq!(stage.call(&Command::Route { route }).await, AdminAnswer::Done {});
    assert_eq!(stage.get("/slow?30000").await.status(), StatusCode::GATEWAY_TIMEOUT);
}

/// What no application gets to see leaves a text and a line; and what browsers send gets there.
// case S17; broken by: `refuse` records nothing
pub async fn refusals_leave_a_trace() {
    let socket = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let directory = tempfile::tempdir().expect("a directory");
    let proxy = ProxyProcess::start(&socket, directory.path());
    let app = App::start("a").await;
    proxy.swap(&app.id, app.address);
    let fine = raw(
        proxy.address,
        b"GET /head?filter={\"a\":1}&b=<c> HTTP/1.1\r\nHost: a\r\nConnection: close\r\nX-Kept: \"q\"\r\n\r\n",
    )
    .await;
    assert!(fine.contains("GET /head?filter={%22a%22:1}&b=%3Cc%3E "), "{fine}");
    assert!(fine.contains("x-kept: \"q\""), "{fine}");
    // An application's own are its own.
    for status in [400, 414, 431] {
        let head = format!("GET /status?{status} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
        let seen = raw(proxy.address, head.as_bytes()).await;
        assert!(seen.starts_with(&format!("HTTP/1.1 {status}")) && seen.ends_with("\r\n\r\n"), "{seen}");
    }
    let long = "x".repeat(70_000);
    let deep = format!("/{}", "y".repeat(60_000));
    for (request, status, words) in [
        (format!("GET / HTTP/1.1\r\nHost: a\r\nX: {long}\r\n\r\n"), 431, "too long"),
        (format!("GET / HTTP/1.1\r\nHost: a\r\n{}\r\n", "X: 1\r\n".repeat(120)), 431, "too long"),
        ("GET / HTTP/1.1\r\nHost: a\r\nno field\r\n\r\n".to_owned(), 400, "cannot be read"),
        ("GET\u{1} / HTTP/1.1\r\n\r\n".to_owned(), 400, "cannot be read"),
        ("GET / HTTP/1.1\r\nHost: a b\r\n\r\n".to_owned(), 400, "Host is not a host"),
        (format!("GET {deep} HTTP/1.1\r\nHost: a b\r\n\r\n"), 400, "Host is not a host"),
    ] {
        let seen = raw(proxy.address, request.as_bytes()).await;
        let short = &request[..request.len().min(40)];
        assert!(seen.starts_with(&format!("HTTP/1.1 {status} ")), "{short:?}: {seen}");
        let (_, body) = seen.split_once("\r\n\r\n").expect("a head");
        assert!(body.contains(words), "{short:?}: {seen}");
    }
    proxy.terminate();
    let lines = std::fs::read_to_string(directory.path().join("proxy.log")).expect("a log");
    for words in ["the head of the request is too long", "the head of the request cannot be read"] {
        assert!(lines.contains(words), "{words} is missing in the log");
    }
    assert!(lines.contains("(cut, 60001 bytes)") && !lines.contains(&deep), "a long path is not cut");
}
