//! Debian's strace on a `serve` that runs: its writing fails, or holds it at each entry of its journal.

use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};

use autotag_receiver::state::journal::What;

use testkit::processes::PATIENCE;
use testkit::server::Server;

/// A tracer, until it is dropped or `serve` ends.
pub struct Tracer {
    child: Child,
    held: Receiver<()>,
}

impl Tracer {
    /// Each `fsync` of this path fails.
    pub fn no_sync(server: &Server, path: &Path) -> Self {
        Self::attach(server, "fsync", "error=EIO", path)
    }

    /// Each entry of the journal stops `serve` as SIGSTOP does, once it is on the disk.
    pub fn of_entries(server: &Server) -> Self {
        Self::attach(server, "fdatasync", "signal=SIGSTOP", &server.paths.journal(&server.app))
    }

    fn attach(server: &Server, call: &str, injected: &str, path: &Path) -> Self {
        let mut child = Command::new("strace")
            .args(["-f", "-e", &format!("trace={call}"), "-e", &format!("inject={call}:{injected}"), "-P"])
            .arg(path)
            .arg("-p")
            .arg(server.serve_pid().to_string())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .expect("strace");
        let mut lines = BufReader::new(child.stderr.take().expect("piped")).lines();
        let first = lines.next().expect("it speaks").expect("text");
        assert!(first.contains("attached"), "{first}");
        let (stops, held) = channel();
        // Read to its end, whoever listens: it must not fill the pipe.
        std::thread::spawn(move || {
            for line in lines.map_while(Result::ok) {
                // Once for each signal; each of the threads then says for itself that it is stopped.
                if line.contains("--- SIGSTOP {") {
                    let _ = stops.send(());
                }
            }
        });
        Self { child, held }
    }

    /// Waits for the next entry, at which `serve` is held until it is let go on by SIGCONT.
    #[track_caller]
    pub fn entry(&self, server: &Server) -> What {
        let held = self.held.recv_timeout(PATIENCE);
        held.unwrap_or_else(|error| panic!("there came no entry ({error})\n{}", server.logs()));
        server.journal().pop().expect("it is there").what
    }
}

impl Drop for Tracer {
    fn drop(&mut self) {
        // In order, so that it lets go of the process.
        let _ = Command::new("kill").arg("-INT").arg(self.child.id().to_string()).status();
        let _ = self.child.wait();
    }
}
