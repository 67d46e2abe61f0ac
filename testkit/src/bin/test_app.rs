//! The application that tests deploy: a small HTTP server that can be told how to behave, and how to die.
//!
//! `test-app` serves; `test-app check` asks its own `/healthz` and exits 0 or 1, for Docker's HEALTHCHECK.
//!
//! | path | what it does |
//! |---|---|
//! | `/` | `VERSION ID`; the version stands in the field `x-version` of every answer as well |
//! | `/healthz` | 200, or 503 as `FAIL_HEALTH` says |
//! | `/head` | the request's head as it came |
//! | `/slow?ms=500` | like `/`, after a while |
//! | `/stream?chunks=10&ms=20` | so many pieces of [`PIECE`], each after a pause |
//! | `POST /echo` | the body back |
//! | `/ws` | a WebSocket that sends messages back, and answers a Close with a Close |
//!
//! | variable | what it says |
//! |---|---|
//! | `PORT` | where to listen (3000), on all addresses |
//! | `VERSION`, `ID` | who it is; the id is the host's name (a container's short id) unless given |
//! | `MANNER` | on SIGTERM: `graceful` (default) finishes what is under way, `rude` is gone, `deaf` goes on |
//! | `SLOW_START_MS` | it listens only after so long |
//! | `CRASH_AFTER_MS` | it exits with 3 after so long |
//! | `FAIL_HEALTH` | `always`, or `after:N`: N good answers, then bad ones |
//! | `SCHEMA` | `/data/schema` is brought to this number; where it has a higher one, it exits with 4 |
//! | `SAY` | said on standard output at the start |

use std::convert::Infallible;
use std::net::{Ipv4Addr, SocketAddr};
use std::pin::Pin;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use autotag_base::clock;
use bytes::Bytes;
use http::{HeaderValue, Request, Response, StatusCode, header};
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt as _, Full};
use hyper::body::{Body, Frame, Incoming};
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{mpsc, watch};

/// What `/stream` sends.
const PIECE: &str = "piece;";

fn main() -> ExitCode {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let settings = match AppSettings::read() {
        Ok(settings) => settings,
        Err(message) => {
            eprintln!("test-app: {message}");
            return ExitCode::from(2);
        }
    };
    match std::env::args().nth(1).as_deref() {
        None => runtime.block_on(serve(settings)),
        Some("check") => runtime.block_on(check(settings.port)),
        Some(other) => {
            eprintln!("test-app: unknown argument `{other}`; there is only `check`");
            ExitCode::from(2)
        }
    }
}

/// What it does on SIGTERM.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Manner {
    Graceful,
    Rude,
    Deaf,
}

#[derive(Debug)]
struct AppSettings {
    port: u16,
    version: String,
    id: String,
    manner: Manner,
    slow_start: Option<Duration>,
    crash_after: Option<Duration>,
    /// Good answers of `/healthz` before the bad ones.
    healthy: usize,
    schema: Option<u64>,
    say: Option<String>,
}

#[expect(clippy::disallowed_methods, reason = "the program is its environment's to command")]
fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

fn milliseconds(name: &str) -> Result<Option<Duration>, String> {
    let parse = |text: String| text.parse().map_err(|_| format!("{name}={text}: expected milliseconds"));
    Ok(variable(name).map(parse).transpose()?.map(Duration::from_millis))
}

impl AppSettings {
    fn read() -> Result<Self, String> {
        let manner = match variable("MANNER").as_deref() {
            None | Some("graceful") => Manner::Graceful,
            Some("rude") => Manner::Rude,
            Some("deaf") => Manner::Deaf,
            Some(other) => return Err(format!("MANNER={other}: expected graceful, rude or deaf")),
        };
        let healthy = match variable("FAIL_HEALTH").as_deref() {
            None => usize::MAX,
            Some("always") => 0,
            Some(text) => text
                .strip_prefix("after:")
                .and_then(|count| count.parse().ok())
                .ok_or_else(|| format!("FAIL_HEALTH={text}: expected always or after:N"))?,
        };
        let host = std::fs::read_to_string("/etc/hostname").unwrap_or_default().trim().to_owned();
        Ok(Self {
            port: variable("PORT").map_or(Ok(3000), |port| port.parse()).map_err(|e| format!("PORT: {e}"))?,
            version: variable("VERSION").unwrap_or_else(|| "0.0.0".to_owned()),
            id: variable("ID").unwrap_or(host),
            manner,
            slow_start: milliseconds("SLOW_START_MS")?,
            crash_after: milliseconds("CRASH_AFTER_MS")?,
            healthy,
            schema: variable("SCHEMA")
                .map(|text| text.parse())
                .transpose()
                .map_err(|e| format!("SCHEMA: {e}"))?,
            say: variable("SAY"),
        })
    }
}

/// Asks its own `/healthz`, as Docker does inside of the container.
async fn check(port: u16) -> ExitCode {
    let asked = async {
        let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await?;
        stream.write_all(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").await?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await?;
        std::io::Result::Ok(answer)
    };
    match asked.await {
        Ok(answer) if answer.starts_with("HTTP/1.1 200 ") => ExitCode::SUCCESS,
        Ok(answer) => {
            println!("unhealthy: {}", answer.lines().next().unwrap_or_default());
            ExitCode::FAILURE
        }
        Err(error) => {
            println!("unhealthy: {error}");
            ExitCode::FAILURE
        }
    }
}

/// What all connections share.
#[derive(Debug)]
struct App {
    settings: AppSettings,
    health_asked: AtomicUsize,
    /// Whether SIGTERM has come.
    ending: watch::Sender<bool>,
}

async fn serve(settings: AppSettings) -> ExitCode {
    // First of all: as process 1 of a container it would be deaf without.
    let mut terminate = signal(SignalKind::terminate()).expect("a handler");
    println!("test-app {} ({}) starts, {:?}", settings.version, settings.id, settings.manner);
    if let Some(text) = &settings.say {
        println!("{text}");
    }
    if let Some(own) = settings.schema
        && let Err(message) = migrate(own)
    {
        eprintln!("fatal: {message}");
        return ExitCode::from(4);
    }
    let app =
        Arc::new(App { settings, health_asked: AtomicUsize::new(0), ending: watch::Sender::new(false) });
    let crash = async {
        match app.settings.crash_after {
            Some(after) => clock::sleep(after).await,
            None => std::future::pending().await,
        }
    };
    let serving = async {
        if let Some(pause) = app.settings.slow_start {
            clock::sleep(pause).await;
        }
        accept(&app).await;
    };
    let asked_to_end = async {
        loop {
            terminate.recv().await;
            println!("SIGTERM");
            match app.settings.manner {
                Manner::Graceful => _ = app.ending.send_replace(true),
                Manner::Rude => return,
                Manner::Deaf => {}
            }
        }
    };
    tokio::select! {
        () = crash => {
            eprintln!("fatal: told to crash");
            ExitCode::from(3)
        }
        () = serving => ExitCode::SUCCESS,
        () = asked_to_end => ExitCode::SUCCESS,
    }
}

/// What is there may have been written by a later version, which this one cannot read.
fn migrate(own: u64) -> Result<(), String> {
    let path = "/data/schema";
    let found = std::fs::read_to_string(path).unwrap_or_default().trim().parse().unwrap_or(0);
    if found > own {
        return Err(format!("{path} is of schema {found}, and only {own} is known"));
    }
    std::fs::write(path, own.to_string()).map_err(|error| format!("{path}: {error}"))
}

/// Until SIGTERM; then until nothing is under way.
async fn accept(app: &Arc<App>) {
    let address = SocketAddr::from((Ipv4Addr::UNSPECIFIED, app.settings.port));
    let mut ending = app.ending.subscribe();
    if *ending.borrow() {
        return;
    }
    let listener = TcpListener::bind(address).await.unwrap_or_else(|error| panic!("{address}: {error}"));
    println!("listening on {}", listener.local_addr().expect("an address"));
    // Every connection holds a sender; when all are gone the receiver ends.
    let (under_way, mut all_done) = mpsc::channel::<Infallible>(1);
    loop {
        let stream = tokio::select! {
            accepted = listener.accept() => accepted,
            _ = ending.wait_for(|ending| *ending) => break,
        };
        match stream {
            Ok((stream, _)) => {
                let _ = stream.set_nodelay(true);
                tokio::spawn(connection(Arc::clone(app), stream, under_way.clone()));
            }
            // Out of descriptors: others must end first.
            Err(_) => clock::sleep(Duration::from_millis(20)).await,
        }
    }
    drop((listener, under_way));
    all_done.recv().await;
    println!("done");
}

type UnderWay = mpsc::Sender<Infallible>;

async fn connection(app: Arc<App>, stream: TcpStream, under_way: UnderWay) {
    let service = service_fn(|request| {
        let (app, under_way) = (Arc::clone(&app), under_way.clone());
        async move { answer(&app, request, under_way).await }
    });
    let connection = hyper::server::conn::http1::Builder::new()
        .serve_connection(TokioIo::new(stream), service)
        .with_upgrades();
    tokio::pin!(connection);
    let mut ending = app.ending.subscribe();
    tokio::select! {
        _ = connection.as_mut() => return,
        _ = ending.wait_for(|ending| *ending) => connection.as_mut().graceful_shutdown(),
    }
    let _ = connection.await;
}

type HttpAnswer = BoxBody<Bytes, hyper::Error>;

fn full(text: impl Into<Bytes>) -> HttpAnswer {
    Full::new(text.into()).map_err(|never| match never {}).boxed()
}

/// A number of the query, `name=12`.
fn number(request: &Request<Incoming>, name: &str) -> Option<u64> {
    let query = request.uri().query()?;
    let pairs = query.split('&').filter_map(|pair| pair.split_once('='));
    pairs.filter(|(key, _)| *key == name).find_map(|(_, value)| value.parse().ok())
}

async fn answer(
    app: &App,
    request: Request<Incoming>,
    under_way: UnderWay,
) -> Result<Response<HttpAnswer>, Infallible> {
    let who = || full(format!("{} {}\n", app.settings.version, app.settings.id));
    let milliseconds = Duration::from_millis(number(&request, "ms").unwrap_or_default());
    let mut response = match request.uri().path() {
        "/" => Response::new(who()),
        "/healthz" => health(app),
        "/head" => Response::new(full(describe(&request))),
        "/slow" => {
            clock::sleep(milliseconds).await;
            Response::new(who())
        }
        "/stream" => Response::new(stream(number(&request, "chunks").unwrap_or(10), milliseconds)),
        "/echo" => Response::new(request.into_body().boxed()),
        "/ws" => web_socket(request, under_way),
        _ => with_status(StatusCode::NOT_FOUND, "no such path\n"),
    };
    if let Ok(version) = HeaderValue::from_str(&app.settings.version) {
        response.headers_mut().insert("x-version", version);
    }
    Ok(response)
}

fn with_status(status: StatusCode, text: &'static str) -> Response<HttpAnswer> {
    let mut response = Response::new(full(text));
    *response.status_mut() = status;
    response
}

fn health(app: &App) -> Response<HttpAnswer> {
    if app.health_asked.fetch_add(1, Ordering::Relaxed) < app.settings.healthy {
        with_status(StatusCode::OK, "healthy\n")
    } else {
        with_status(StatusCode::SERVICE_UNAVAILABLE, "told to be unhealthy\n")
    }
}

fn describe(request: &Request<Incoming>) -> String {
    let mut lines = vec![format!("{} {} {:?}", request.method(), request.uri(), request.version())];
    let fields = request.headers().iter();
    lines
        .extend(fields.map(|(name, value)| format!("{name}: {}", String::from_utf8_lossy(value.as_bytes()))));
    lines.join("\n") + "\n"
}

/// A body that another task writes.
struct Pieces(mpsc::Receiver<Bytes>);

impl Body for Pieces {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        self.0.poll_recv(context).map(|piece| piece.map(|piece| Ok(Frame::data(piece))))
    }
}

fn stream(pieces: u64, pause: Duration) -> HttpAnswer {
    let (sender, receiver) = mpsc::channel(1);
    tokio::spawn(async move {
        for _ in 0..pieces {
            clock::sleep(pause).await;
            if sender.send(Bytes::from_static(PIECE.as_bytes())).await.is_err() {
                return;
            }
        }
    });
    Pieces(receiver).boxed()
}

// ---- the WebSocket ----

fn web_socket(mut request: Request<Incoming>, under_way: UnderWay) -> Response<HttpAnswer> {
    let Some(key) = request.headers().get(header::SEC_WEBSOCKET_KEY) else {
        return with_status(StatusCode::BAD_REQUEST, "not a WebSocket\n");
    };
    // RFC 6455, 4.2.2: the proof that the server has understood.
    let proof = [key.as_bytes(), b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"].concat();
    let digest = ring::digest::digest(&ring::digest::SHA1_FOR_LEGACY_USE_ONLY, &proof);
    let accept = base64::Engine::encode(&base64::engine::general_purpose::STANDARD, digest);
    let upgraded = hyper::upgrade::on(&mut request);
    tokio::spawn(async move {
        if let Ok(upgraded) = upgraded.await {
            // An end without a Close is the other side's affair.
            let _ = talk(TokioIo::new(upgraded)).await;
        }
        drop(under_way);
    });
    let mut response = with_status(StatusCode::SWITCHING_PROTOCOLS, "");
    let fields = response.headers_mut();
    fields.insert(header::CONNECTION, HeaderValue::from_static("Upgrade"));
    fields.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
    fields.insert(header::SEC_WEBSOCKET_ACCEPT, HeaderValue::from_str(&accept).expect("Base64"));
    response
}

/// Sends every message back; a Close is answered with a Close, and that is the end.
async fn talk(mut stream: TokioIo<hyper::upgrade::Upgraded>) -> std::io::Result<()> {
    loop {
        let (first, second) = (stream.read_u8().await?, stream.read_u8().await?);
        let length = match second & 0x7f {
            126 => u64::from(stream.read_u16().await?),
            127 => stream.read_u64().await?,
            short => u64::from(short),
        };
        let mut mask = [0; 4];
        if second & 0x80 != 0 {
            stream.read_exact(&mut mask).await?;
        }
        let length = usize::try_from(length).ok().filter(|length| *length <= 1 << 20);
        let Some(length) = length else { return Err(std::io::Error::other("a frame of more than 1 MiB")) };
        let mut payload = vec![0; length];
        stream.read_exact(&mut payload).await?;
        for (byte, mask) in payload.iter_mut().zip(mask.iter().cycle()) {
            *byte ^= mask;
        }
        // A Ping is answered with a Pong.
        let opcode = if first & 0x0f == 9 { first ^ 0x03 } else { first };
        let mut frame = vec![opcode];
        match payload.len() {
            short @ 0..126 => frame.push(u8::try_from(short).unwrap_or_default()),
            long => {
                frame.push(127);
                frame.extend((long as u64).to_be_bytes());
            }
        }
        frame.append(&mut payload);
        stream.write_all(&frame).await?;
        if opcode & 0x0f == 8 {
            return stream.shutdown().await;
        }
    }
}
