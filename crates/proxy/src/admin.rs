//! The owner's side: a Unix socket that takes one command a line, in JSON, and answers each with a line.
//!
//! Who may connect is decided by the socket's rights: its owner, and root. A connection has its commands
//! done one after another; what one has begun goes on when it is closed. `GET /metrics` on the same
//! socket gives the counters to Prometheus:
//! `curl --unix-socket /run/autotag-proxy/admin.sock http://proxy/metrics`.

use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::Semaphore;

pub use super::error::{Error, ErrorCode};
use super::listen::Listen;
use super::routes::Route;
use super::state::{Lifecycle, State};
use super::upstream::{Drained, Target, Upstream};
use crate::upstream::app::App;

/// The longest line either side sends, in bytes: a thousand routes.
pub const LONGEST_LINE: usize = 256 * 1024;

/// The longest answer that is read, in bytes: it names every container, so it may be longer than a command.
const LONGEST_ANSWER: u64 = 16 * LONGEST_LINE as u64;

/// Connections at a time; more are closed at once.
const CONNECTIONS: usize = 16;

/// How long a connection may be kept without a command.
const IDLE: Duration = Duration::from_mins(5);

/// What the proxy can be told.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "do", rename_all = "snake_case", deny_unknown_fields)]
pub enum Command {
    /// Put these routes in the place of all others. Listeners open and close as they need; applications
    /// that stay keep their containers. If anything is wrong nothing changes.
    Routes {
        /// All of them.
        routes: Vec<Route>,
    },
    /// Put this route in the place of its application's, and leave all others alone.
    Route {
        /// Its application's only one.
        route: Route,
    },
    /// Take an application's routes away.
    Forget {
        /// Which application; one that has none has none.
        app: String,
    },
    /// Let another container serve an application; requests under way stay with the one before.
    Swap {
        /// Which application.
        app: String,
        /// Which container; none: requests wait until there is one.
        to: Option<Target>,
    },
    /// Wait until nothing is under way with a container that serves no more, and end what is left.
    Drain {
        /// Which application.
        app: String,
        /// Which container.
        id: String,
        /// When requests are cut off.
        deadline_ms: u64,
        /// When WebSockets and other tunnels are told to close; with the requests unless said otherwise.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        tunnels_ms: Option<u64>,
    },
    /// What is, and what is under way.
    Status {},
}

/// What it answers; for people, the kind of answer or the error's text.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, strum::Display)]
#[serde(rename_all = "snake_case")]
#[strum(serialize_all = "snake_case")]
pub enum AdminAnswer {
    /// To `routes`, `route` and `forget`.
    Done {},
    /// To `swap`.
    Swapped {
        /// Who served before.
        before: Option<String>,
    },
    /// To `drain`.
    Drained(Drained),
    /// To `status`.
    Status(Status),
    /// The command was not understood or could not be done, and changed nothing.
    #[strum(to_string = "{0}")]
    Error(Error),
}

/// What is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Status {
    /// Whether new connections are taken; if not the proxy is about to end.
    pub serving: bool,
    /// Connections from clients, tunnels included.
    pub connections: usize,
    /// Where is listened.
    pub listeners: Vec<Listen>,
    /// The applications, by name.
    pub apps: Vec<AppStatus>,
}

/// One application.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AppStatus {
    /// Its name.
    pub app: String,
    /// Who serves.
    pub current: Option<UpstreamStatus>,
    /// Who served before and still has something under way.
    pub leaving: Vec<UpstreamStatus>,
    /// Requests that wait for a container.
    pub waiting: usize,
}

/// One container.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct UpstreamStatus {
    /// Its id.
    pub id: String,
    /// Where it was said to listen.
    pub address: SocketAddr,
    /// Requests under way.
    pub requests: usize,
    /// Tunnels under way.
    pub tunnels: usize,
}

/// Sends one command to a proxy and waits for its answer, for a `drain` as long as that takes.
pub async fn call(socket: &Path, command: &Command) -> io::Result<AdminAnswer> {
    let mut stream = UnixStream::connect(socket).await?;
    stream.write_all(&line_of(command)?).await?;
    let mut answer = Vec::new();
    BufReader::new(stream).take(LONGEST_ANSWER).read_until(b'\n', &mut answer).await?;
    understood(&answer)
}

/// The same for a program without a runtime; it waits at most so long for each part of the answer.
pub fn call_at_once(socket: &Path, command: &Command, patience: Duration) -> io::Result<AdminAnswer> {
    use std::io::{BufRead as _, Read as _, Write as _};
    let mut stream = std::os::unix::net::UnixStream::connect(socket)?;
    stream.set_read_timeout(Some(patience))?;
    stream.write_all(&line_of(command)?)?;
    let mut answer = Vec::new();
    io::BufReader::new(stream).take(LONGEST_ANSWER).read_until(b'\n', &mut answer)?;
    understood(&answer)
}

fn line_of(command: &Command) -> io::Result<Vec<u8>> {
    let mut line = serde_json::to_vec(command)?;
    line.push(b'\n');
    Ok(line)
}

fn understood(answer: &[u8]) -> io::Result<AdminAnswer> {
    if answer.last() != Some(&b'\n') {
        return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the proxy gave no answer"));
    }
    Ok(serde_json::from_slice(answer)?)
}

/// Takes connections for ever.
pub(super) async fn accept(state: Arc<State>, listener: UnixListener) {
    let places = Arc::new(Semaphore::new(CONNECTIONS));
    loop {
        match listener.accept().await {
            Ok((stream, _)) => {
                let Ok(place) = Arc::clone(&places).try_acquire_owned() else {
                    tracing::warn!("too many connections to the admin socket");
                    continue;
                };
                let state = Arc::clone(&state);
                tokio::spawn(async move {
                    if let Err(error) = converse(&state, stream).await {
                        tracing::debug!(%error, "admin connection ended");
                    }
                    drop(place);
                });
            }
            Err(error) => {
                tracing::warn!(%error, "cannot accept at the admin socket");
                autotag_base::clock::sleep(Duration::from_millis(100)).await;
            }
        }
    }
}

async fn converse(state: &Arc<State>, stream: UnixStream) -> io::Result<()> {
    let mut stream = BufReader::new(stream);
    loop {
        let mut line = Vec::new();
        let mut bounded = (&mut stream).take(LONGEST_LINE as u64);
        tokio::time::timeout(IDLE, bounded.read_until(b'\n', &mut line)).await??;
        if line.is_empty() {
            return Ok(());
        }
        if let Some(target) = line.strip_prefix(b"GET ") {
            let metrics = target.starts_with(b"/metrics ");
            return show_metrics(state, stream, metrics).await;
        }
        let whole = line.last() == Some(&b'\n');
        let answer = match serde_json::from_slice(&line) {
            _ if !whole => {
                AdminAnswer::Error(format!("a line has at most {LONGEST_LINE} bytes and a line break").into())
            }
            Err(error) => AdminAnswer::Error(format!("not a command: {error}").into()),
            Ok(command) => {
                // A task of its own: the one who asked may leave, what it asked for goes on.
                let state = Arc::clone(state);
                let doing = tokio::spawn(async move { carry_out(&state, command).await });
                doing.await.map_err(io::Error::other)?
            }
        };
        let mut line = serde_json::to_vec(&answer)?;
        line.push(b'\n');
        stream.write_all(&line).await?;
        stream.flush().await?;
        if !whole {
            return Ok(());
        }
    }
}

/// Answers as HTTP/1.1 and closes. The request's fields say nothing that matters here.
async fn show_metrics(state: &State, mut stream: BufReader<UnixStream>, found: bool) -> io::Result<()> {
    let mut fields = (&mut stream).take(LONGEST_LINE as u64);
    let mut line = Vec::new();
    // Read to the empty line, or closing would be a reset that takes the answer away.
    while line != b"\r\n" {
        line.clear();
        if tokio::time::timeout(IDLE, fields.read_until(b'\n', &mut line)).await?? == 0 {
            return Ok(());
        }
    }
    let (status, text) =
        if found { ("200 OK", state.prometheus()) } else { ("404 Not Found", "only /metrics\n".to_owned()) };
    let head = format!(
        "HTTP/1.1 {status}\r\ncontent-type: text/plain; version=0.0.4\r\ncontent-length: {}\r\nconnection: close\r\n\r\n",
        text.len()
    );
    stream.write_all(head.as_bytes()).await?;
    stream.write_all(text.as_bytes()).await?;
    stream.shutdown().await
}

async fn carry_out(state: &Arc<State>, command: Command) -> AdminAnswer {
    let app = |name: &str| {
        state.app(name).ok_or_else(|| Error::from(format!("no route has an application `{name}`")))
    };
    let answer = match command {
        Command::Routes { routes } => {
            let count = routes.len();
            state.set_routes(routes).map(|()| {
                tracing::info!(routes = count, "routes set");
                AdminAnswer::Done {}
            })
        }
        Command::Route { route } => {
            let name = route.app.clone();
            state.set_route(route).map(|()| {
                tracing::info!(app = name, "route set");
                AdminAnswer::Done {}
            })
        }
        Command::Forget { app: name } => state.forget(&name).map(|()| {
            tracing::info!(app = name, "forgotten");
            AdminAnswer::Done {}
        }),
        Command::Swap { app: name, to } => app(&name).map(|app| {
            let id = to.as_ref().map(|target| target.id.clone());
            let before = app.swap(to);
            tracing::info!(app = name, before, now = id, "swapped");
            AdminAnswer::Swapped { before }
        }),
        Command::Drain { app: name, id, deadline_ms, tunnels_ms } => match app(&name) {
            Ok(app) => {
                let requests = Duration::from_millis(deadline_ms);
                let tunnels = tunnels_ms.map_or(requests, Duration::from_millis);
                let drained = app.drain(&id, requests, tunnels).await.map_err(Error::from);
                drained.map(|report| {
                    tracing::info!(app = name, id, ?report, "drained");
                    AdminAnswer::Drained(report)
                })
            }
            Err(error) => Err(error),
        },
        Command::Status {} => Ok(AdminAnswer::Status(status(state))),
    };
    answer.unwrap_or_else(|error| {
        tracing::warn!(error = error.message, "command refused");
        AdminAnswer::Error(error)
    })
}

fn status(state: &State) -> Status {
    Status {
        serving: state.life() == Lifecycle::Serving,
        connections: state.connections(),
        listeners: state.open_listeners(),
        apps: state.apps().iter().map(|app| app_status(app)).collect(),
    }
}

fn app_status(app: &App) -> AppStatus {
    let show = |upstream: &Arc<Upstream>| {
        let (requests, tunnels) = upstream.in_use();
        let Target { id, address } = upstream.target.clone();
        UpstreamStatus { id, address, requests, tunnels }
    };
    let (current, leaving) = app.upstreams();
    AppStatus {
        app: app.name.clone(),
        current: current.as_ref().map(show),
        leaving: leaving.iter().map(show).collect(),
        waiting: app.waiting(),
    }
}
