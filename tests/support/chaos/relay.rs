//! A TCP relay for SSH whose connections break as a plan says, one after another.

use std::collections::VecDeque;
use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, Shutdown, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rand::Rng as _;
use rand::rngs::StdRng;

use crate::support::torture::tally;

/// How a connection breaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Snap {
    /// Both sides see its end.
    Cut,
    /// Both sides see a reset.
    Reset,
    /// The client sees the server's end; what it sends goes on to the server.
    HalfClose,
}

impl Snap {
    fn name(self) -> &'static str {
        match self {
            Self::Cut => "SSH connection cut",
            Self::Reset => "SSH connection reset",
            Self::HalfClose => "SSH connection half closed",
        }
    }
}

/// The relay. It lives for as long as the test's process.
pub struct Relay {
    port: u16,
    plan: Arc<Mutex<VecDeque<(Snap, usize)>>>,
}

impl Relay {
    /// Relays to a loopback port. Nothing breaks until more is said.
    pub fn start(to: u16) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
        let port = listener.local_addr().expect("an address").port();
        let plan: Arc<Mutex<VecDeque<(Snap, usize)>>> = Arc::default();
        let next = Arc::clone(&plan);
        std::thread::spawn(move || {
            while let Ok((client, _)) = listener.accept() {
                let server = TcpStream::connect((Ipv4Addr::LOCALHOST, to)).expect("the server");
                let snap = next.lock().expect("not poisoned").pop_front();
                std::thread::spawn(move || relay(client, server, snap));
            }
        });
        Self { port, plan }
    }

    /// On 127.0.0.1.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The next connection breaks so, after so many bytes of the server's.
    pub fn snap(&self, snap: Snap, after: usize) {
        self.plan.lock().expect("not poisoned").push_back((snap, after));
    }

    /// The next connection breaks, by chance: in the login, in the conversation, or (where it says less)
    /// not at all.
    pub fn snap_at_random(&self, random: &mut StdRng) -> (Snap, usize) {
        let snap = [Snap::Cut, Snap::Reset, Snap::HalfClose][random.random_range(0..3)];
        let after = random.random_range(0..9_000);
        self.snap(snap, after);
        (snap, after)
    }

    /// Breaks that were planned and met nobody are off.
    pub fn calm(&self) {
        self.plan.lock().expect("not poisoned").clear();
    }
}

fn relay(client: TcpStream, server: TcpStream, snap: Option<(Snap, usize)>) {
    let copy = |stream: &TcpStream| stream.try_clone().expect("a socket");
    let (mut client_in, mut server_out) = (copy(&client), copy(&server));
    let upward = std::thread::spawn(move || {
        let _ = std::io::copy(&mut client_in, &mut server_out);
        let _ = server_out.shutdown(Shutdown::Write);
    });
    let (mut server, mut client) = (server, client);
    let mut left = snap.map_or(usize::MAX, |(_, after)| after);
    let mut buffer = [0; 4096];
    while left > 0 {
        let count = server.read(&mut buffer).unwrap_or(0).min(left);
        if count == 0 || client.write_all(&buffer[..count]).is_err() {
            break;
        }
        left -= count;
    }
    let broken = snap.filter(|_| left == 0).map(|(snap, _)| snap);
    if let Some(snap) = broken {
        tally(&format!("faults: {}", snap.name()), 1);
    }
    match broken {
        Some(Snap::HalfClose) => {
            let _ = client.shutdown(Shutdown::Write);
        }
        Some(Snap::Reset) => {
            for stream in [&client, &server] {
                let _ = socket2::SockRef::from(stream).set_linger(Some(Duration::ZERO));
                let _ = stream.shutdown(Shutdown::Read);
            }
        }
        _ => {
            let _ = (client.shutdown(Shutdown::Both), server.shutdown(Shutdown::Both));
        }
    }
    if broken == Some(Snap::Reset) {
        drop((client, server));
    }
    // Half closed, it stays open until the client ends it.
    let _ = upward.join();
}
