//! One client of one application does its worst: its neighbour and the admin socket still answer.

use std::time::Duration;

use autotag_base::clock;
use autotag_proxy::admin::{AdminAnswer, Command};
use autotag_proxy::bounds::limits::Limits;
use autotag_proxy::listen::Listen;
use autotag_proxy::routes::Route;
use autotag_proxy::upstream::Target;
use bytes::Bytes;
use http::{Request, StatusCode};
use http_body_util::BodyExt as _;
use hyper::client::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::proxy::app::{App, Chunks};
use crate::proxy::process::ProxyProcess;
use crate::proxy::stage::{Stage, limits, raw, read_out, soon};

/// Two applications at one address, and little of everything.
struct Two {
    stage: Stage,
    web: App,
    _next: App,
}

fn little() -> Limits {
    Limits { connections: 64, requests: 48, requests_each_client: 16, spare: 8, ..limits() }
}

/// With times that a test can wait for.
fn quick() -> Limits {
    let short = Duration::from_millis(400);
    Limits { stall_timeout: short, idle_timeout: short, ..little() }
}

impl Two {
    async fn with(bounds: Limits) -> Self {
        let (web, next) = (App::start("web").await, App::start("next").await);
        let stage = Stage::with(|options| options.limits = bounds).await;
        let mut neighbour = stage.route("next");
        neighbour.hosts = vec!["next.example".to_owned()];
        assert_eq!(stage.call(&Command::Route { route: neighbour }).await, AdminAnswer::Done {});
        stage.swap(&web).await;
        let to = Some(Target { id: next.id.clone(), address: next.address });
        stage.call(&Command::Swap { app: "next".to_owned(), to }).await;
        Self { stage, web, _next: next }
    }

    /// The neighbour's clients and the owner are served as ever.
    async fn others_are_served(&self) {
        for _ in 0..5 {
            let seen =
                self.stage.raw(b"GET / HTTP/1.1\r\nHost: next.example\r\nConnection: close\r\n\r\n").await;
            assert!(seen.starts_with("HTTP/1.1 200") && seen.ends_with("next"), "{seen}");
            assert!(self.stage.status().await.serving);
        }
    }

    /// Requests under way with the application that is attacked.
    async fn under_way(&self) -> usize {
        let status = self.stage.status().await;
        let web = status.apps.iter().find(|app| app.app == "web").expect("web");
        web.current.as_ref().map_or(0, |current| current.requests)
    }

    async fn until_under_way(&self, wanted: usize) {
        soon(async {
            while self.under_way().await != wanted {
                tokio::task::yield_now().await;
            }
        })
        .await;
    }

    async fn until_connections(&self, wanted: usize) {
        soon(async {
            while self.stage.status().await.connections > wanted {
                tokio::task::yield_now().await;
            }
        })
        .await;
    }

    async fn connect(&self) -> TcpStream {
        soon(TcpStream::connect(self.stage.address)).await.expect("connected")
    }

    async fn http2(&self, window: u32) -> http2::SendRequest<Chunks> {
        let (sender, connection) = http2::Builder::new(TokioExecutor::new())
            .timer(TokioTimer::new())
            .initial_stream_window_size(window)
            .keep_alive_interval(Duration::from_millis(50))
            .keep_alive_while_idle(true)
            .handshake(TokioIo::new(self.connect().await))
            .await
            .expect("HTTP/2");
        tokio::spawn(connection);
        sender
    }
}

fn open_post(path: &str) -> (tokio::sync::mpsc::Sender<Option<hyper::body::Frame<Bytes>>>, Request<Chunks>) {
    let (sender, body) = Chunks::new();
    let request = Request::post(format!("http://a.example{path}")).body(body).expect("a request");
    (sender, request)
}

/// Sixteen connections with eight times as many open uploads: more than there are descriptors.
// case X1; broken by: `Share::count_in` lets everybody in
pub async fn open_uploads() {
    let two = Two::with(little()).await;
    let (mut bodies, mut refused) = (Vec::new(), 0);
    let mut connections = Vec::new();
    let mut waiting = tokio::task::JoinSet::new();
    for _ in 0..16 {
        let mut sender = two.http2(65_535).await;
        for _ in 0..16 {
            let (body, request) = open_post("/never");
            bodies.push(body);
            soon(sender.ready()).await.expect("room");
            waiting.spawn(sender.send_request(request));
        }
        connections.push(sender);
    }
    // All but as many as one client may have are answered at once.
    while refused < 16 * 16 - 16 {
        let response = soon(waiting.join_next()).await.expect("more").expect("no panic").expect("an answer");
        assert_eq!(response.status(), StatusCode::TOO_MANY_REQUESTS);
        refused += 1;
    }
    two.until_under_way(16).await;
    two.others_are_served().await;
    drop((waiting, bodies, connections));
    two.until_under_way(0).await;
}

/// The program with few descriptors, against more uploads and idle connections than it has of them.
// case X1; broken by: `Limits::within` leaves the bounds as they are
pub async fn descriptors() {
    let socket = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let directory = tempfile::tempdir().expect("a directory");
    let proxy = ProxyProcess::limited(&socket, directory.path(), 256);
    let (web, next) = (App::start("web").await, App::start("next").await);
    proxy.swap(&web.id, web.address);
    let neighbour = Route {
        app: "next".to_owned(),
        listen: Listen::Tcp(proxy.address),
        hosts: vec!["next.example".to_owned()],
        trusted_proxies: Vec::new(),
        trusted_headers: Vec::new(),
        answer_timeout_ms: None,
    };
    assert_eq!(proxy.call(&Command::Route { route: neighbour }), AdminAnswer::Done {});
    let to = Some(Target { id: next.id.clone(), address: next.address });
    proxy.call(&Command::Swap { app: "next".to_owned(), to });
    let mut clients = Vec::new();
    for upload in (0..600).map(|number| number % 2 == 0) {
        let mut client = soon(TcpStream::connect(proxy.address)).await.expect("connected");
        if upload {
            let part = b"POST /never HTTP/1.1\r\nHost: a\r\nContent-Length: 1000\r\n\r\nx";
            // Where it has been closed already, that is well.
            let _ = client.write_all(part).await;
        }
        clients.push(client);
    }
    for _ in 0..5 {
        let request = b"GET / HTTP/1.1\r\nHost: next.example\r\nConnection: close\r\n\r\n";
        let seen = raw(proxy.address, request).await;
        assert!(seen.starts_with("HTTP/1.1 200") && seen.ends_with("next"), "{seen}");
        assert!(matches!(proxy.call(&Command::Status {}), AdminAnswer::Status(_)));
    }
    assert!(proxy.descriptors() < 256 - 64, "{} descriptors", proxy.descriptors());
    drop(clients);
}

/// Bodies that drip: as many as the client may have.
// case X1; broken by: `Pace::poll_too_slow` never is
pub async fn slow_bodies() {
    let two = Two::with(quick()).await;
    let mut clients = Vec::new();
    for _ in 0..16 {
        let mut client = two.connect().await;
        let part = b"POST /never HTTP/1.1\r\nHost: a\r\nContent-Length: 1000\r\n\r\nx";
        client.write_all(part).await.expect("sent");
        clients.push(client);
    }
    two.others_are_served().await;
    for client in &mut clients {
        let seen = read_out(client).await;
        assert!(seen.starts_with("HTTP/1.1 408") && seen.ends_with("came too slowly\n"), "{seen}");
    }
    two.until_under_way(0).await;
    // Slow and not too slow: as long as it moves, it may take longer than a pause.
    let mut client = two.connect().await;
    let head = b"POST /echo HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Length: 40000\r\n\r\n";
    client.write_all(head).await.expect("sent");
    for _ in 0..40 {
        client.write_all(&[b'x'; 1000]).await.expect("sent");
        clock::sleep(Duration::from_millis(20)).await;
    }
    let seen = read_out(&mut client).await;
    assert!(seen.starts_with("HTTP/1.1 200") && seen.matches('x').count() >= 40_000, "cut");
}

/// Heads that never end, many more than there are places.
// case X1; broken by: `Crowd::make_room` makes none
pub async fn slow_heads() {
    let two = Two::with(little()).await;
    let mut clients = Vec::new();
    for _ in 0..640 {
        let mut client = two.connect().await;
        client.write_all(b"GET / HTTP/1.1\r\nHost: a\r\nX-Slow: ").await.expect("sent");
        clients.push(client);
    }
    two.others_are_served().await;
    assert!(two.stage.status().await.connections <= 64);
}

/// Connections that ask nothing, many more than there are places.
// case X1; broken by: ten thousand seats more
pub async fn crowds() {
    let two = Two::with(little()).await;
    let mut clients = Vec::new();
    for _ in 0..1_000 {
        clients.push(two.connect().await);
    }
    two.others_are_served().await;
    assert!(two.stage.status().await.connections <= 64);
}

/// An answer that nobody reads, over HTTP/1.1: the connection is full.
// case X1; broken by: `Pace::poll_too_slow` never is
pub async fn slow_reading() {
    let two = Two::with(quick()).await;
    let mut clients = Vec::new();
    for _ in 0..8 {
        let mut client = two.connect().await;
        client.write_all(b"GET /flood HTTP/1.1\r\nHost: a\r\n\r\n").await.expect("sent");
        clients.push(client);
    }
    two.others_are_served().await;
    two.until_under_way(0).await;
    assert!(two.web.requests() >= 8);
}

/// The same over HTTP/2: each stream is full, the connection is not.
// case X1; broken by: `Pace::poll_too_slow` never is
pub async fn slow_streams() {
    let two = Two::with(quick()).await;
    let mut sender = two.http2(100).await;
    let mut responses = Vec::new();
    for _ in 0..8 {
        let (body, request) = open_post("/flood");
        body.send(None).await.expect("taken");
        let response = soon(sender.send_request(request)).await.expect("an answer");
        assert_eq!(response.status(), StatusCode::OK);
        responses.push(response);
    }
    two.others_are_served().await;
    two.until_under_way(0).await;
    // What had been sent is there, and then its end is said to be none.
    let mut body = responses.remove(0).into_body();
    let mut read = 0;
    let broken = loop {
        match soon(body.frame()).await {
            Some(Ok(frame)) => read += frame.data_ref().map_or(0, Bytes::len),
            Some(Err(_)) => break true,
            None => break false,
        }
    };
    assert!(read >= 100 && broken, "{read} bytes, broken: {broken}");
}

/// An HTTP/2 connection that asks nothing, while both sides ping.
// case X1; broken by: every frame begins the idle time anew
pub async fn idle_http2() {
    let two = Two::with(quick()).await;
    let mut sender = two.http2(65_535).await;
    let (body, request) = open_post("/");
    body.send(None).await.expect("taken");
    let response = soon(sender.send_request(request)).await.expect("an answer");
    soon(response.into_body().collect()).await.expect("whole");
    two.until_connections(0).await;
    two.others_are_served().await;
}

/// All that an application may have, from many clients behind one front proxy; and each is counted alone.
// case X1; broken by: `Share::count_in` lets everybody in
pub async fn each_client_behind_a_front_proxy() {
    let bounds = Limits { requests_each_client: 2, ..little() };
    let two = Two::with(bounds).await;
    let mut route = two.stage.route("web");
    route.trusted_proxies = vec!["127.0.0.1".parse().expect("an address")];
    assert_eq!(two.stage.call(&Command::Route { route }).await, AdminAnswer::Done {});
    let mut clients = Vec::new();
    let ask = async |visitor: &str, path: &str| {
        let mut client = two.connect().await;
        let head = format!("GET {path} HTTP/1.1\r\nHost: a\r\nX-Forwarded-For: 6.6.6.6, {visitor}\r\n\r\n");
        client.write_all(head.as_bytes()).await.expect("sent");
        client
    };
    for _ in 0..2 {
        clients.push(ask("198.51.100.7", "/never").await);
    }
    two.until_under_way(2).await;
    let mut first = [0; 12];
    let mut third = ask("198.51.100.7", "/").await;
    soon(third.read_exact(&mut first)).await.expect("an answer");
    assert_eq!(&first, b"HTTP/1.1 429");
    let mut other = ask("198.51.100.8", "/").await;
    soon(other.read_exact(&mut first)).await.expect("an answer");
    assert_eq!(&first, b"HTTP/1.1 200");
    two.others_are_served().await;
}
