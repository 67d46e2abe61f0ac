//! The socket under a session: waiting without spinning, and an end at once.

use std::io;
use std::net::Shutdown;
use std::os::fd::AsFd as _;
use std::sync::Arc;

use ssh2::{Error, ErrorCode};
use tokio::io::Interest;
use tokio::net::TcpStream;

/// `LIBSSH2_ERROR_EAGAIN`: nothing is wrong, ask again when the socket has changed.
const EAGAIN: ErrorCode = ErrorCode::Session(-37);
/// `LIBSSH2_ERROR_BAD_SOCKET`.
const BAD_SOCKET: ErrorCode = ErrorCode::Session(-45);

/// The TCP connection, which libssh2 reads and writes by its descriptor.
///
/// Dropped, it is shut down, so that libssh2's farewells fail at once in place of waiting for a peer. It has
/// to be dropped before the session.
pub(super) struct Socket {
    stream: Arc<TcpStream>,
    /// The same socket, for its end: tokio's own shutdown is asynchronous, and not to be had in `drop`.
    end: std::net::TcpStream,
}

impl Socket {
    pub(super) fn new(stream: TcpStream) -> io::Result<Self> {
        // Small packets go both ways; none should wait for another.
        stream.set_nodelay(true)?;
        let end = stream.as_fd().try_clone_to_owned()?.into();
        Ok(Self { stream: Arc::new(stream), end })
    }

    /// For libssh2.
    pub(super) fn stream(&self) -> Arc<TcpStream> {
        Arc::clone(&self.stream)
    }

    /// Waits until something has come or can be sent, counted from the last time.
    ///
    /// Both directions are awaited whatever libssh2 says that it waits for (`block_directions`): after a packet
    /// that was sent in part it says nothing. This cannot spin, because readiness is forgotten before libssh2
    /// is asked again, and comes back only with a change.
    pub(super) async fn changed(&self) -> Result<(), Error> {
        let both = Interest::READABLE | Interest::WRITABLE;
        self.stream.ready(both).await.map_err(|_| Error::new(BAD_SOCKET, "the program is ending"))?;
        // This is how tokio is told to forget. Each by itself: of both at once, `try_io` forgets neither.
        for interest in [Interest::READABLE, Interest::WRITABLE] {
            let _ = self.stream.try_io(interest, || Err::<(), _>(io::ErrorKind::WouldBlock.into()));
        }
        Ok(())
    }

    /// Repeats a call of libssh2 until it says something else than "not yet".
    pub(super) async fn until<T>(&self, mut attempt: impl FnMut() -> Result<T, Error>) -> Result<T, Error> {
        loop {
            match attempt() {
                Err(error) if error.code() == EAGAIN => self.changed().await?,
                outcome => return outcome,
            }
        }
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        // It fails where the peer has ended the connection already.
        let _ = self.end.shutdown(Shutdown::Both);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[tokio::test]
    async fn waiting_does_not_spin() {
        let silent = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
        let stream =
            TcpStream::connect(silent.local_addr().expect("an address")).await.expect("a connection");
        let socket = Socket::new(stream).expect("a socket");
        let mut asked = 0;
        let waiting = socket.until(|| {
            asked += 1;
            Err::<(), _>(Error::new(EAGAIN, "not yet"))
        });
        let ended = tokio::time::timeout(Duration::from_millis(200), waiting).await;
        assert!(ended.is_err(), "nothing came");
        assert!(asked < 5, "asked {asked} times");
    }
}
