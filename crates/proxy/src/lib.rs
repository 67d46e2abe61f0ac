//! The data plane: a small HTTP reverse proxy that changes containers without losing a request.
//!
//! | module | what it holds |
//! |---|---|
//! | [`bounds::limits`] | every bound and its default |
//! | [`listen`] | where clients come in; sockets of systemd |
//! | [`trust`], [`messages::headers`], [`messages::validity`], [`messages::websocket`] | what messages must be and become: pure |
//! | [`routes`], [`upstream`], [`upstream::app`] | who serves: routes, the swap, waiting, draining |
//! | `front` | the clients' connections and their timeouts |
//! | [`bounds::shares`], `crowd`, `pace` | how much of everything one application and one client get |
//! | `exchange` | a request's way to the container and back, and its line in the access log |
//! | `state`, [`counters`] | what the proxy knows, the numbers |
//! | [`admin`] | the one who says where to: a Unix socket |
//!
//! In front it speaks HTTP/1.1 and HTTP/2 without TLS (prior knowledge), behind it HTTP/1.1. It knows no
//! address that it was not told: after a start it has no routes, listens nowhere, and waits for
//! [`admin::Command::Route`] and [`admin::Command::Swap`]. It stores nothing.
//!
//! Absent on purpose: TLS, HTTP/2 to the container, WebSockets over HTTP/2 (RFC 8441), CONNECT, caching,
//! compression, rewriting, balancing over several containers, informational answers such as 103 over HTTP/2
//! (hyper has no way to send them; over HTTP/1.1 they are passed on, see `messages::interim`).
//!
//! # Its own restart
//! The listening sockets are systemd's (`.socket`), and a second service may share them: name the same
//! `.socket` unit in `Sockets=` of both. Start the second, give it its routes (it reports itself ready
//! with that, and accepts nothing before), then stop the first: on SIGTERM it accepts no more, says
//! `Connection: close` with every answer for [`limits::Limits::lame_duck`], closes idle connections and
//! WebSockets (1012), and waits for requests under way up to [`limits::Limits::shutdown`]; give the unit
//! a longer `TimeoutStopSec`. With one service alone, clients that come in between wait in the socket's
//! queue: late, but not lost. The second takes the admin socket's path over, so commands reach it.

pub mod bounds;
pub mod messages;

pub mod admin;
pub mod counters;
pub(crate) mod error;
pub(crate) mod exchange;
pub(crate) mod front;
pub mod listen;
pub mod routes;
pub(crate) mod state;
pub mod trust;
pub mod upstream;

use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use tokio::signal::unix::{SignalKind, signal};

use bounds::limits::{self, Limits};
use listen::Inherited;
use state::{Lifecycle, State};

/// What the proxy is started with; everything else it is told.
#[derive(Debug, Clone)]
pub struct Options {
    /// The admin socket's path. Its directory exists; the socket gets the mode 0600.
    pub admin: PathBuf,
    /// All bounds.
    pub limits: Limits,
    /// The name to add to `Via`; none: no such field.
    pub via: Option<String>,
    /// systemd's `NOTIFY_SOCKET` (sd_notify(3)), to be told when the first routes are there.
    pub notify: Option<String>,
}

impl Options {
    /// The defaults, with this admin socket.
    pub fn new(admin: impl Into<PathBuf>) -> Self {
        Self { admin: admin.into(), limits: Limits::default(), via: None, notify: None }
    }
}

/// A proxy that runs. It goes on when this is dropped.
#[derive(Debug)]
pub struct Running {
    state: Arc<State>,
    admin: tokio::task::AbortHandle,
    notify: Option<String>,
}

/// Runs until SIGTERM or SIGINT, and then for as long as it takes to lose nothing. It wants a runtime of
/// several threads. It takes the sockets that systemd passed to this process.
///
/// Fails if the admin socket cannot be opened or a passed socket is of no use.
pub async fn run(mut options: Options) -> io::Result<()> {
    if let Some(descriptors) = limits::descriptors() {
        options.limits = options.limits.within(descriptors);
        let Limits { connections, requests, .. } = options.limits;
        tracing::info!(descriptors, connections, requests, "bounds");
    }
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let running = start(options, listen::inherited()?)?;
    let ready = running.report_ready();
    tokio::select! {
        never = ready => match never {},
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    running.stop().await;
    Ok(())
}

/// Starts a proxy with these inherited sockets. The admin socket is open when this returns.
pub fn start(options: Options, inherited: Vec<Inherited>) -> io::Result<Running> {
    let state = State::new(options.limits, options.via, listen::by_address(inherited)?, front::open);
    let listener = listen::bind_unix(&options.admin, Some(0o600))?;
    let admin = tokio::spawn(admin::accept(Arc::clone(&state), listener)).abort_handle();
    Ok(Running { state, admin, notify: options.notify })
}

impl Running {
    /// Tells systemd when the first routes are there; then waits for ever.
    async fn report_ready(&self) -> std::convert::Infallible {
        self.state.routed().await;
        self.tell_systemd("READY=1");
        std::future::pending().await
    }

    fn tell_systemd(&self, word: &str) {
        let Some(socket) = &self.notify else { return };
        if let Err(error) = notify(socket, word) {
            tracing::warn!(%error, "cannot notify systemd");
        }
    }

    /// Ends without losing a request: see the module's head.
    pub async fn stop(self) {
        self.tell_systemd("STOPPING=1");
        let (state, limits) = (&self.state, &self.state.limits);
        tracing::info!(connections = state.connections(), "stopping");
        state.set_life(Lifecycle::LameDuck);
        let _ = tokio::time::timeout(limits.lame_duck, state.deserted()).await;
        state.set_life(Lifecycle::Closing);
        // Nobody hangs up a WebSocket by waiting; requests do end.
        state.close_tunnels();
        if tokio::time::timeout(limits.shutdown, state.deserted()).await.is_err() {
            tracing::warn!(connections = state.connections(), "cut off");
        }
        // First the containers' side: clients whose answer has not begun get to hear of it.
        state.cut();
        let _ = tokio::time::timeout(limits.close_grace, state.deserted()).await;
        state.set_life(Lifecycle::Over);
        self.admin.abort();
    }
}

/// One datagram to systemd, by sd_notify(3): a path, or an abstract name after `@`.
fn notify(socket: &str, word: &str) -> io::Result<()> {
    use std::os::linux::net::SocketAddrExt as _;
    use std::os::unix::net::{SocketAddr, UnixDatagram};
    let address = match socket.strip_prefix('@') {
        Some(name) => SocketAddr::from_abstract_name(name)?,
        None => SocketAddr::from_pathname(socket)?,
    };
    UnixDatagram::unbound()?.send_to_addr(word.as_bytes(), &address).map(drop)
}
