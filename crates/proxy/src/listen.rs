//! Where clients come in: TCP and Unix sockets, opened here or inherited from systemd.
//!
//! A listener opens, or an inherited one is first accepted from, when a route names it, and not before:
//! a successor that has no routes yet leaves the clients to its predecessor. Two processes may share an
//! inherited socket (two services name the same `.socket` unit in `Sockets=`); the kernel gives each
//! connection to one of them, and what waits in the queue survives the end of either.

use std::collections::HashMap;
use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use tokio::net::{TcpListener, TcpSocket, TcpStream, UnixListener, UnixStream};

use super::trust::Peer;

/// An address to listen at: `127.0.0.1:8080`, `[::]:80` (both IPv6 and IPv4), `unix:/run/app.sock`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Listen {
    /// TCP.
    Tcp(SocketAddr),
    /// A Unix socket with this absolute path. Whoever comes in there is believed, so it is open to the process's user
    /// and group alone ([`UNIX_MODE`]), unless systemd opened it.
    Unix(PathBuf),
}

impl FromStr for Listen {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if let Some(path) = text.strip_prefix("unix:") {
            return if path.starts_with('/') {
                Ok(Self::Unix(PathBuf::from(path)))
            } else {
                Err(format!("`{text}`: expected an absolute path after `unix:`"))
            };
        }
        text.parse().map(Self::Tcp).map_err(|_| {
            format!(
                "`{text}`: expected an address with port such as 127.0.0.1:8080 or [::]:80, or unix:/path"
            )
        })
    }
}

impl fmt::Display for Listen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => address.fmt(f),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

impl TryFrom<String> for Listen {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl From<Listen> for String {
    fn from(listen: Listen) -> Self {
        listen.to_string()
    }
}

/// Length of the kernel's queue of connections that wait to be accepted; it caps this by `somaxconn`.
const BACKLOG: u32 = 4096;

/// The rights of a Unix socket for clients.
const UNIX_MODE: u32 = 0o660;

/// A socket that accepts.
#[derive(Debug)]
pub enum Listener {
    /// TCP.
    Tcp(TcpListener),
    /// Unix.
    Unix(UnixListener),
}

/// A client's connection, before a byte is read.
#[derive(Debug)]
pub enum Accepted {
    /// TCP.
    Tcp(TcpStream),
    /// Unix.
    Unix(UnixStream),
}

impl Listener {
    /// Opens a socket. Needs a runtime.
    pub fn bind(listen: &Listen) -> io::Result<Self> {
        match listen {
            Listen::Tcp(address) => {
                let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
                // Connections of a predecessor that linger in TIME_WAIT are no reason to fail.
                socket.set_reuseaddr(true)?;
                socket.bind(*address)?;
                socket.listen(BACKLOG).map(Self::Tcp)
            }
            Listen::Unix(path) => bind_unix(path, Some(UNIX_MODE)).map(Self::Unix),
        }
    }

    /// The next connection. Safe to cancel.
    pub async fn accept(&self) -> io::Result<(Accepted, Peer)> {
        match self {
            Self::Tcp(listener) => {
                let (stream, peer) = listener.accept().await?;
                Ok((Accepted::Tcp(stream), Peer::Ip(peer.ip().to_canonical())))
            }
            Self::Unix(listener) => Ok((Accepted::Unix(listener.accept().await?.0), Peer::Unix)),
        }
    }
}

/// Binds beside the path and moves the socket onto it: a successor takes a path over from a predecessor
/// that still runs, and a leftover of one that was killed is no obstacle. The path never has other
/// rights than `mode`, where one is given. Nobody ever removes the path,
/// since it may be another's by then.
pub fn bind_unix(path: &Path, mode: Option<u32>) -> io::Result<UnixListener> {
    let mut beside = path.as_os_str().to_owned();
    beside.push(format!(".{}", std::process::id()));
    let beside = PathBuf::from(beside);
    let _ = std::fs::remove_file(&beside);
    let listener = UnixListener::bind(&beside)?;
    if let Some(mode) = mode {
        std::fs::set_permissions(&beside, std::fs::Permissions::from_mode(mode))?;
    }
    std::fs::rename(&beside, path)?;
    Ok(listener)
}

/// A socket that another opened for this process, by the address it is bound to.
#[derive(Debug)]
pub enum Inherited {
    /// TCP.
    Tcp(std::net::TcpListener),
    /// Unix.
    Unix(std::os::unix::net::UnixListener),
}

impl Inherited {
    /// Its listening end for this process; the socket itself stays, and can be used again later.
    pub fn listener(&self) -> io::Result<Listener> {
        match self {
            Self::Tcp(socket) => {
                let socket = socket.try_clone()?;
                socket.set_nonblocking(true)?;
                TcpListener::from_std(socket).map(Listener::Tcp)
            }
            Self::Unix(socket) => {
                let socket = socket.try_clone()?;
                socket.set_nonblocking(true)?;
                UnixListener::from_std(socket).map(Listener::Unix)
            }
        }
    }

    fn address(&self) -> io::Result<Listen> {
        match self {
            Self::Tcp(socket) => socket.local_addr().map(Listen::Tcp),
            Self::Unix(socket) => match socket.local_addr()?.as_pathname() {
                Some(path) => Ok(Listen::Unix(path.to_owned())),
                None => Err(io::Error::other("a Unix socket without a path")),
            },
        }
    }
}

/// The sockets that systemd passed (`LISTEN_FDS`, `LISTEN_PID`; sd_listen_fds(3)). Call it once, before
/// other threads run.
pub fn inherited() -> io::Result<Vec<Inherited>> {
    let mut passed = listenfd::ListenFd::from_env();
    let mut sockets = Vec::new();
    for index in 0..passed.len() {
        // One that is of another kind stays where it is, for the next question.
        let socket = match passed.take_tcp_listener(index) {
            Ok(socket) => socket.map(Inherited::Tcp),
            Err(_) => passed.take_unix_listener(index)?.map(Inherited::Unix),
        };
        sockets.extend(socket);
    }
    Ok(sockets)
}

/// Inherited sockets by their addresses, to be found by the routes' words.
pub fn by_address(sockets: Vec<Inherited>) -> io::Result<HashMap<Listen, Inherited>> {
    sockets.into_iter().map(|socket| Ok((socket.address()?, socket))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read_and_written_alike() {
        for text in ["127.0.0.1:8080", "[::]:80", "unix:/run/app.sock"] {
            assert_eq!(text.parse::<Listen>().map(|listen| listen.to_string()), Ok(text.to_owned()));
        }
        for text in ["", "8080", "localhost:80", "unix:app.sock", "127.0.0.1", "127.0.0.1:65536"] {
            assert!(text.parse::<Listen>().is_err(), "{text}");
        }
    }

    // case X9; broken by: no mode, or 0o666
    #[tokio::test]
    async fn a_unix_listener_is_open_only_to_its_group() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("app.sock");
        let _listener = Listener::bind(&Listen::Unix(path.clone())).expect("free");
        let mode = std::fs::metadata(&path).expect("it is there").permissions().mode();
        assert_eq!(mode & 0o777, 0o660);
    }

    #[tokio::test]
    async fn a_socket_is_taken_over_from_running_and_killed_processes() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("x.sock");
        let first = bind_unix(&path, None).expect("free");
        let second = bind_unix(&path, Some(0o600)).expect("taken over");
        let (client, accepted) = tokio::join!(UnixStream::connect(&path), second.accept());
        client.expect("connected");
        accepted.expect("the second one answers");
        drop((first, second));
        bind_unix(&path, None).expect("a leftover is no obstacle");
    }
}
