//! Docker's socket under another name, which can be taken away, and whose requests can be held back.

use std::io::{Read as _, Write as _};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex};

/// The socket.
pub struct DockerSocket {
    pub path: PathBuf,
    gone: Arc<AtomicBool>,
    gate: Arc<Gate>,
    /// The connections that were made.
    clients: Arc<Mutex<Vec<UnixStream>>>,
    _directory: tempfile::TempDir,
}

/// Requests to make a container wait here while it is closed, also when the one who asked is gone.
#[derive(Default)]
struct Gate {
    closed: Mutex<bool>,
    opened: Condvar,
    waiting: AtomicUsize,
}

impl Gate {
    /// Whether it had to wait.
    fn pass(&self) -> bool {
        self.waiting.fetch_add(1, Ordering::SeqCst);
        let closed = self.closed.lock().expect("nobody has panicked");
        let waits = *closed;
        drop(self.opened.wait_while(closed, |closed| *closed).expect("nobody has panicked"));
        self.waiting.fetch_sub(1, Ordering::SeqCst);
        waits
    }

    fn close(&self, closed: bool) {
        *self.closed.lock().expect("nobody has panicked") = closed;
        self.opened.notify_all();
    }
}

impl DockerSocket {
    pub fn new() -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("docker.sock");
        let listener = UnixListener::bind(&path).expect("a socket");
        let (gone, gate) = (Arc::new(AtomicBool::new(false)), Arc::<Gate>::default());
        let (flag, way) = (Arc::clone(&gone), Arc::clone(&gate));
        let clients = Arc::<Mutex<Vec<UnixStream>>>::default();
        let known = Arc::clone(&clients);
        std::thread::spawn(move || {
            for client in listener.incoming() {
                let (Ok(client), false) = (client, flag.load(Ordering::SeqCst)) else { continue };
                let docker = UnixStream::connect("/var/run/docker.sock").expect("these tests need Docker");
                known.lock().expect("nobody has panicked").push(client.try_clone().expect("a socket"));
                copy(&client, &docker, Some(Arc::clone(&way)));
                copy(&docker, &client, None);
            }
        });
        Self { path, gone, gate, clients, _directory: directory }
    }

    /// New connections are closed at once, or served again.
    pub fn take_away(&self, away: bool) {
        self.gone.store(away, Ordering::SeqCst);
    }

    /// The same as when the daemon ends: also what is open is closed, the events among it.
    pub fn cut(&self) {
        self.take_away(true);
        for client in self.clients.lock().expect("nobody has panicked").drain(..) {
            // One that has ended already is no fault.
            let _ = client.shutdown(std::net::Shutdown::Both);
        }
    }

    /// Requests to make a container are held back, or let go.
    pub fn hold_creations(&self, held: bool) {
        self.gate.close(held);
    }

    /// Whether one is held back.
    pub fn holds_one(&self) -> bool {
        self.gate.waiting.load(Ordering::SeqCst) > 0
    }
}

impl Drop for DockerSocket {
    fn drop(&mut self) {
        self.gate.close(false);
    }
}

fn copy(from: &UnixStream, to: &UnixStream, gate: Option<Arc<Gate>>) {
    let (mut from, mut to) = (from.try_clone().expect("a socket"), to.try_clone().expect("a socket"));
    std::thread::spawn(move || {
        let mut buffer = [0; 16 * 1024];
        let mut held = false;
        // Its end is the other side's end, whatever the reason.
        while let Ok(count @ 1..) = from.read(&mut buffer) {
            let creates = buffer[..count].starts_with(b"POST /containers/create");
            if let (Some(gate), true) = (&gate, creates) {
                held = gate.pass();
            }
            if to.write_all(&buffer[..count]).is_err() {
                break;
            }
        }
        // Engines from 23 on give up what they do for a client that has gone, and would make no container: this is
        // about one that was made before they noticed. The Engine's side of the connection ends it.
        if !held {
            let _ = to.shutdown(std::net::Shutdown::Write);
        }
    });
}
