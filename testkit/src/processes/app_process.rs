//! The test application as a process of this machine, where no container is needed.

use std::io::{BufRead as _, BufReader};
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};

use crate::programs::built;

/// A running `test-app`. Dropped, it is killed.
pub struct AppProcess {
    child: Child,
    /// Where it listens, on loopback.
    pub address: SocketAddr,
}

impl AppProcess {
    /// Starts one with these variables, on a free port, and comes back when it listens.
    pub fn start(variables: &[(&str, &str)]) -> Self {
        let mut child = Command::new(built("test-app"))
            .env_clear()
            .envs(variables.iter().copied())
            .env("PORT", "0")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .expect("test-app");
        let mut lines = BufReader::new(child.stdout.take().expect("a pipe")).lines().map_while(Result::ok);
        // The kernel chooses the port and the program says which: no race for one.
        let port = lines.find_map(|line| line.strip_prefix("listening on 0.0.0.0:")?.parse::<u16>().ok());
        let address = SocketAddr::from(([127, 0, 0, 1], port.expect("it listens")));
        std::thread::spawn(move || lines.for_each(drop));
        Self { child, address }
    }
}

impl Drop for AppProcess {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
