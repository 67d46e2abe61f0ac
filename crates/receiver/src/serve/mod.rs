//! `serve`: root's part. It owns Docker, app files, state, lock and journal, and answers on a Unix socket.
//!
//! | module | what it does |
//! |---|---|
//! | `peer` | whose request it is, as the kernel says |
//! | `connection_limit` | how many connections each user may have |
//! | `session` | one connection: reads the request, passes the answers on |
//! | `queue` | each application's turn, and the job that runs |
//! | `change` | deploy, rollback, recovery: under the lock |
//! | `queries` | status, history, logs |
//! | `reconcile` | Docker's events and the proxy's restarts: keeps the proxy pointed at what serves |
//!
//! A job does not depend on the connection that asked for it: it goes on when SSH drops, and when this
//! process is killed its successor recovers from the state.

pub(crate) mod connection_limit;
pub mod forced_command;
pub(crate) mod peer;
pub(crate) mod queries;
pub(crate) mod queue;
pub mod reconcile;

mod change;
mod quota;
mod session;

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context as _, bail};
use tokio::net::{UnixListener, UnixStream};
use tokio::signal::unix::{SignalKind, signal};

use crate::engine::{DockerEngine, Engine};
use crate::execute::proxy_client::ProxyClient;
use crate::lock;
use crate::lock::{Lock, Tried};
use crate::paths::{GROUP, Paths};
use autotag_base::clock;
use autotag_protocol::AppName;
use autotag_proxy::listen::bind_unix;
use connection_limit::ConnectionLimit;
use queue::AppQueues;

/// Connections that one user may have at a time. Twice the changes that may wait ([`queue::CHANGES`]), each of
/// which may have a caller that follows it: so there is always room for a question.
const CONNECTIONS: usize = 2 * queue::CHANGES;

/// So many more of one user's are told at a time that they are too many. What comes beyond them is closed
/// without a word.
const TURNED_AWAY: usize = CONNECTIONS;

/// How long a deployment at work may go on after SIGTERM. What is not finished then is recovered by the
/// next start. systemd's default before SIGKILL is 90 s.
const GRACE: std::time::Duration = std::time::Duration::from_secs(75);

/// Everything that a request needs.
#[derive(Debug)]
pub(crate) struct Server<E> {
    pub(crate) paths: Paths,
    pub(crate) engine: E,
    pub(crate) proxy: ProxyClient,
    pub(crate) queues: AppQueues,
}

/// Runs until SIGTERM or SIGINT, with Docker behind this socket.
pub async fn run(paths: Paths, docker: &Path) -> anyhow::Result<()> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let engine = DockerEngine::at(docker);
    let alone = alone(&paths)?;
    let listener = open(&paths)?;
    let server =
        Arc::new(Server { proxy: ProxyClient::new(&paths), paths, engine, queues: AppQueues::default() });
    tracing::info!(socket = %server.paths.socket().display(), "serving");
    let watching = tokio::spawn(reconcile::watch(Arc::clone(&server)));
    let accepting = tokio::spawn(accept(Arc::clone(&server), listener));
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    accepting.abort();
    watching.abort();
    // A successor may begin. What is at work here holds its application's lock, for which it waits.
    drop(alone);
    tracing::info!("stopping when running deployments are done");
    if tokio::time::timeout(GRACE, server.queues.idle()).await.is_err() {
        tracing::warn!("a deployment is still running; the next start continues from its state");
    }
    Ok(())
}

/// The right to be the one `serve`, held until the end. A second one would take the socket's path, and the
/// first would go on pointing the proxy at what it last knew.
fn alone(paths: &Paths) -> anyhow::Result<Lock> {
    let path = paths.serve_lock();
    std::fs::create_dir_all(paths.all_state())
        .with_context(|| format!("making {}", paths.all_state().display()))?;
    match Lock::try_take(&path, &lock::holder("serve", None))
        .with_context(|| format!("locking {}", path.display()))?
    {
        Tried::Taken(lock) => Ok(lock),
        Tried::Held(by) => {
            let which = by.map(|holder| format!(" (process {})", holder.pid)).unwrap_or_default();
            bail!(
                "another `autotag-receiver serve` is running{which}, and has {}: stop it first, for example by `systemctl stop autotag`",
                path.display()
            )
        }
    }
}

/// The socket, for root and the group of the applications' users. The directory's rights say the same again.
fn open(paths: &Paths) -> anyhow::Result<UnixListener> {
    let (directory, socket) = (paths.run(), paths.socket());
    std::fs::create_dir_all(&directory).with_context(|| format!("making {}", directory.display()))?;
    let listener =
        bind_unix(&socket, Some(0o600)).with_context(|| format!("opening {}", socket.display()))?;
    match group(&paths.group())? {
        None => {
            tracing::warn!("there is no group {GROUP}: only root can ask. `autotag-receiver init` makes it");
        }
        Some(group) => {
            for (path, mode) in [(&directory, 0o750), (&socket, 0o660)] {
                std::os::unix::fs::chown(path, None, Some(group))
                    .and_then(|()| std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)))
                    .with_context(|| format!("giving {} to the group {GROUP}", path.display()))?;
            }
        }
    }
    Ok(listener)
}

/// The number of the applications' group, group(5).
fn group(file: &Path) -> anyhow::Result<Option<u32>> {
    let text = std::fs::read_to_string(file).with_context(|| format!("reading {}", file.display()))?;
    Ok(text.lines().find_map(|line| {
        let mut fields = line.split(':');
        (fields.next() == Some(GROUP)).then(|| fields.nth(1)?.parse().ok()).flatten()
    }))
}

async fn accept<E: Engine>(server: Arc<Server<E>>, listener: UnixListener) {
    let mut connections = ConnectionLimit::for_each_user(CONNECTIONS);
    let mut overflow = ConnectionLimit::for_each_user(TURNED_AWAY);
    loop {
        match listener.accept().await {
            Ok((stream, _)) => take_in(&server, stream, &mut connections, &mut overflow),
            Err(error) => {
                tracing::warn!(%error, "cannot accept");
                clock::sleep(std::time::Duration::from_millis(100)).await;
            }
        }
    }
}

/// It never waits: whoever has too many connections keeps nobody from being accepted.
fn take_in<E: Engine>(
    server: &Arc<Server<E>>,
    stream: UnixStream,
    connections: &mut ConnectionLimit,
    overflow: &mut ConnectionLimit,
) {
    let user = match stream.peer_cred() {
        Ok(peer) => peer.uid(),
        Err(error) => {
            tracing::warn!(%error, "the kernel does not say who asks");
            return;
        }
    };
    if let Some(place) = connections.take(user) {
        tokio::spawn(session::serve(Arc::clone(server), stream, user, place));
    } else if let Some(place) = overflow.take(user) {
        tokio::spawn(session::turn_away(stream, user, place));
    }
}

/// The applications that have an app file, by name.
pub(crate) fn apps(paths: &Paths) -> std::io::Result<Vec<AppName>> {
    let entries = match std::fs::read_dir(paths.app_files()) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    let mut apps = Vec::new();
    for entry in entries {
        let name = entry?.file_name();
        let app = name.to_str().and_then(|name| name.strip_suffix(".yaml")).map(str::parse::<AppName>);
        match app {
            Some(Ok(app)) => apps.push(app),
            Some(Err(_)) => tracing::warn!(?name, "not the name of an application: left alone"),
            None => {}
        }
    }
    apps.sort();
    Ok(apps)
}
