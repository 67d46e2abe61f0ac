//! A TCP relay that breaks the connection on purpose, after so many bytes of what the server sends.

use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, Shutdown, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::clock::any_moment;

/// How it breaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Break {
    /// Not at all.
    Never,
    /// Both sides see the end of the connection.
    Cut,
    /// Both sides see a reset.
    Reset,
    /// Nothing passes any more in either direction, and no side hears of it: a lost network.
    Freeze,
    /// The client sees the server's end; what it sends goes on to the server.
    HalfClose,
    /// It does not break: what the server sends goes on in small pieces, with a pause before each.
    Slow,
}

/// The relay. It lives for as long as the test's process.
pub struct Cutter {
    port: u16,
    passed: Arc<AtomicU64>,
}

impl Cutter {
    /// Relays to a loopback port, and breaks each connection after so many bytes from there.
    pub fn start(to: u16, kind: Break, after: u64) -> Self {
        let passed = Arc::new(AtomicU64::new(0));
        let counter = Arc::clone(&passed);
        let port = listen(to, move |client, server| {
            pass(client, server, (kind, after), &counter, || ());
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

/// Takes connections on a port of 127.0.0.1, which it gives, and hands each to a thread of its own, with one to
/// the server.
pub fn listen(to: u16, each: impl Fn(TcpStream, TcpStream) + Clone + Send + 'static) -> u16 {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
    let port = listener.local_addr().expect("an address").port();
    std::thread::spawn(move || {
        while let Ok((client, _)) = listener.accept() {
            let server = TcpStream::connect((Ipv4Addr::LOCALHOST, to)).expect("the server");
            let each = each.clone();
            std::thread::spawn(move || each(client, server));
        }
    });
    port
}

/// Passes on what both sides send, until they end or the connection breaks, of which it tells, after so many
/// bytes of the server's.
pub fn pass(
    client: TcpStream,
    server: TcpStream,
    (kind, after): (Break, u64),
    passed: &AtomicU64,
    breaks: impl FnOnce(),
) {
    let copy = |stream: &TcpStream| stream.try_clone().expect("a socket");
    let (mut client_in, mut server_out) = (copy(&client), copy(&server));
    let upward = std::thread::spawn(move || {
        let _ = std::io::copy(&mut client_in, &mut server_out);
        let _ = server_out.shutdown(Shutdown::Write);
    });
    let (mut server, mut client) = (server, client);
    let mut left = if kind == Break::Never { u64::MAX } else { after };
    let mut buffer = [0; 4096];
    let mut slow = Vec::new();
    while left > 0 {
        let count = server.read(&mut buffer).unwrap_or(0);
        let part = count.min(usize::try_from(left).unwrap_or(count));
        if part == 0 || client.write_all(&buffer[..part]).is_err() {
            break;
        }
        left -= part as u64;
        passed.fetch_add(part as u64, Ordering::SeqCst);
        slow.clear();
        slow.extend_from_slice(&buffer[part..count]);
    }
    if left == 0 {
        breaks();
    }
    if kind == Break::Slow && left == 0 {
        pass_slowly(&mut server, &mut client, slow, passed);
    }
    match kind {
        Break::HalfClose if left == 0 => {
            let _ = client.shutdown(Shutdown::Write);
        }
        Break::Reset if left == 0 => {
            for stream in [&client, &server] {
                let _ = socket2::SockRef::from(stream).set_linger(Some(Duration::ZERO));
                let _ = stream.shutdown(Shutdown::Read);
            }
            drop((client, server));
        }
        Break::Freeze if left == 0 => {}
        _ => {
            let _ = (client.shutdown(Shutdown::Both), server.shutdown(Shutdown::Both));
        }
    }
    // Frozen or half closed, it stays open until the client ends it.
    let _ = upward.join();
}

/// Passes on what the server sends, what was read of it already included, in pieces that are smaller than a packet.
fn pass_slowly(server: &mut TcpStream, client: &mut TcpStream, mut read: Vec<u8>, passed: &AtomicU64) {
    let mut buffer = [0; 4096];
    loop {
        for piece in read.chunks(64) {
            any_moment(10);
            if client.write_all(piece).is_err() {
                return;
            }
            passed.fetch_add(piece.len() as u64, Ordering::SeqCst);
        }
        match server.read(&mut buffer) {
            Ok(count @ 1..) => read = buffer[..count].to_vec(),
            _ => return,
        }
    }
}
