//! A TCP relay that breaks the connection on purpose, after so many bytes of what the server sends.

use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, Shutdown, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// How it breaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Break {
    /// Not at all.
    Never,
    /// Both sides see the end of the connection.
    Cut,
    /// Nothing passes any more in either direction, and no side hears of it: a lost network.
    Freeze,
    /// The client sees the server's end; what it sends goes on to the server.
    HalfClose,
}

/// The relay. It lives for as long as the test's process.
pub struct Cutter {
    port: u16,
    passed: Arc<AtomicU64>,
}

impl Cutter {
    /// Relays to a loopback port, and breaks each connection after so many bytes from there.
    pub fn start(to: u16, kind: Break, after: u64) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
        let port = listener.local_addr().expect("an address").port();
        let passed = Arc::new(AtomicU64::new(0));
        let counter = Arc::clone(&passed);
        std::thread::spawn(move || {
            while let Ok((client, _)) = listener.accept() {
                let server = TcpStream::connect((Ipv4Addr::LOCALHOST, to)).expect("the server");
                relay(client, server, kind, after, &counter);
            }
        });
        Self { port, passed }
    }

    /// On 127.0.0.1.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// How many bytes of the server have passed, of all connections.
    pub fn passed(&self) -> u64 {
        self.passed.load(Ordering::SeqCst)
    }
}

fn relay(client: TcpStream, server: TcpStream, kind: Break, after: u64, passed: &Arc<AtomicU64>) {
    let (mut client_in, mut server_out) = (copy(&client), copy(&server));
    let counter = Arc::clone(passed);
    let upward = std::thread::spawn(move || {
        let _ = std::io::copy(&mut client_in, &mut server_out);
        let _ = server_out.shutdown(Shutdown::Write);
    });
    let (mut server, mut client) = (server, client);
    std::thread::spawn(move || {
        let limit = if kind == Break::Never { u64::MAX } else { after };
        let (mut left, mut buffer) = (limit, [0; 4096]);
        while left > 0 {
            let count = server.read(&mut buffer).unwrap_or(0);
            let part = count.min(usize::try_from(left).unwrap_or(count));
            if part == 0 || client.write_all(&buffer[..part]).is_err() {
                break;
            }
            left -= part as u64;
            counter.fetch_add(part as u64, Ordering::SeqCst);
        }
        if left > 0 || kind == Break::Cut {
            let _ = (client.shutdown(Shutdown::Both), server.shutdown(Shutdown::Both));
        } else if kind == Break::HalfClose {
            let _ = client.shutdown(Shutdown::Write);
        }
        // Frozen or half closed, it stays open until the client ends it.
        let _ = upward.join();
    });
}

fn copy(stream: &TcpStream) -> TcpStream {
    stream.try_clone().expect("a socket")
}
