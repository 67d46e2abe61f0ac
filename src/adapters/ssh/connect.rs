//! From a host's name to a session that is logged in at the right server.

use std::cell::{Cell, RefCell};
use std::net::SocketAddr;
use std::time::Duration;

use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use ssh2::{HostKeyType, MethodType, Session};
use tokio::net::TcpStream;

use super::fault::{self, ConnectStep};
use super::socket::Socket;
use crate::ports::SshHost;
use crate::ssh_keys::known_hosts::{HostKeyCheck, fingerprint, signs_by};
use crate::ssh_keys::private_key::PrivateKey;
use autotag_base::{CallResult, clock};

/// How much later each further address is tried, while the earlier ones go on (RFC 8305, 5: 250 ms).
const HEAD_START: Duration = Duration::from_millis(250);

/// A session with its socket. The order counts: the socket is dropped first.
pub(super) struct SshSession {
    pub(super) socket: Socket,
    pub(super) session: Session,
}

/// What is told if the time is over.
struct ConnectProgress {
    step: Cell<ConnectStep>,
    heard: RefCell<Option<String>>,
}

/// Connects, checks the host key, logs in.
pub(super) async fn connect(host: &SshHost, limit: Duration) -> CallResult<SshSession> {
    let progress = ConnectProgress { step: Cell::new(ConnectStep::Name), heard: RefCell::default() };
    let connecting = async {
        let addresses = resolve(host).await?;
        let connection = at_the_right_server(host, &addresses, &progress).await?;
        progress.step.set(ConnectStep::Login);
        log_in(host, &connection, &host.key).await?;
        Ok(connection)
    };
    tokio::time::timeout(limit, connecting).await.unwrap_or_else(|_| {
        Err(fault::too_slow(host, progress.step.get(), progress.heard.borrow().as_deref(), limit))
    })
}

async fn resolve(host: &SshHost) -> CallResult<Vec<SocketAddr>> {
    // An IPv6 address may come in brackets, as in URLs.
    let name = host.host.trim_start_matches('[').trim_end_matches(']');
    let found = tokio::net::lookup_host((name, host.port)).await;
    let addresses: Vec<SocketAddr> =
        found.map_err(|error| fault::no_such_name(host, &error.to_string()))?.collect();
    if addresses.is_empty() { Err(fault::no_such_name(host, "none is known")) } else { Ok(addresses) }
}

/// The first address that answers wins; one that swallows packets must not use up all the time.
async fn dial(host: &SshHost, addresses: &[SocketAddr]) -> CallResult<Socket> {
    let mut pause = Duration::ZERO;
    let mut attempts = FuturesUnordered::new();
    for address in addresses {
        attempts.push(async move {
            clock::sleep(pause).await;
            TcpStream::connect(address).await.map_err(|error| format!("{address}: {error}"))
        });
        pause += HEAD_START;
    }
    let mut refusals = Vec::new();
    while let Some(attempt) = attempts.next().await {
        match attempt {
            Ok(stream) => return Socket::new(stream).map_err(|error| fault::local(host, error)),
            Err(refusal) => refusals.push(refusal),
        }
    }
    Err(fault::no_connection(host, &refusals))
}

/// A session whose host key is known.
///
/// A server shows one key only. Where a fingerprint does not tell its key's type, the server is asked for
/// one type after the other.
async fn at_the_right_server(
    host: &SshHost,
    addresses: &[SocketAddr],
    progress: &ConnectProgress,
) -> CallResult<SshSession> {
    let mut algorithms = host.known_hosts.key_types_for(&host.host, host.port);
    let mut presented = Vec::new();
    let mut refusal = None;
    loop {
        progress.step.set(ConnectStep::Connection);
        let socket = dial(host, addresses).await?;
        progress.step.set(ConnectStep::KeyExchange);
        let connection = match shake_hands(socket, &algorithms, progress).await {
            Ok(connection) => connection,
            // The server has no key of the types that are left.
            Err(error) if fault::is_disagreement(&error) && refusal.is_some() => break,
            Err(error) => return Err(fault::handshake(host, &error, progress.heard.borrow().as_deref())),
        };
        let Some((blob, key_type)) = connection.session.host_key() else {
            return Err(fault::local(host, "the server showed no host key"));
        };
        let key_type = type_name(key_type);
        let verdict = host.known_hosts.accepts(&host.host, host.port, key_type, blob);
        if verdict == HostKeyCheck::Known {
            return Ok(connection);
        }
        presented.push(format!("{} ({key_type})", fingerprint(blob)));
        refusal = Some(verdict);
        let before = algorithms.len();
        algorithms.retain(|algorithm| !signs_by(key_type, algorithm));
        let others = !algorithms.is_empty() && algorithms.len() < before;
        if !others || !host.known_hosts.has_fingerprints_of_no_type() {
            break;
        }
    }
    Err(fault::host_key(host, &presented, &refusal.unwrap_or(HostKeyCheck::Unknown)))
}

async fn shake_hands(
    socket: Socket,
    algorithms: &[&str],
    progress: &ConnectProgress,
) -> Result<SshSession, ssh2::Error> {
    let mut session = Session::new()?;
    session.set_blocking(false);
    session.method_pref(MethodType::HostKey, &algorithms.join(","))?;
    session.set_tcp_stream(socket.stream());
    let mut connection = SshSession { socket, session };
    let SshSession { socket, session } = &mut connection;
    let shaken = socket
        .until(|| {
            let outcome = session.handshake();
            // Noted at each step, because the time may be over at any.
            if let Some(banner) = session.banner_bytes().filter(|banner| !banner.is_empty()) {
                *progress.heard.borrow_mut() = Some(String::from_utf8_lossy(banner).into_owned());
            }
            outcome
        })
        .await;
    shaken.map(|()| connection)
}

fn type_name(key_type: HostKeyType) -> &'static str {
    match key_type {
        HostKeyType::Rsa => "ssh-rsa",
        HostKeyType::Dss => "ssh-dss",
        HostKeyType::Ecdsa256 => "ecdsa-sha2-nistp256",
        HostKeyType::Ecdsa384 => "ecdsa-sha2-nistp384",
        HostKeyType::Ecdsa521 => "ecdsa-sha2-nistp521",
        HostKeyType::Ed25519 => "ssh-ed25519",
        HostKeyType::Unknown => "unknown",
    }
}

/// By this key and by nothing else: no agent, no password, no file of this machine.
async fn log_in(host: &SshHost, connection: &SshSession, key: &PrivateKey) -> CallResult<()> {
    let session = &connection.session;
    let attempt = || session.userauth_pubkey_memory(&host.user, None, key.reveal(), None);
    connection.socket.until(attempt).await.map_err(|error| fault::login(host, &error))
}
