//! The proxy as a process of its own, on a socket that it is handed as systemd would.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{SocketAddr, TcpListener};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command as Process, ExitStatus, Stdio};
use std::time::Duration;

use autotag_proxy::admin::{AdminAnswer, Command};
use autotag_proxy::listen::Listen;
use autotag_proxy::routes::Route;
use autotag_proxy::upstream::{Drained, Target};

/// Makes standard input the first passed socket and becomes the program, with its number in `LISTEN_PID`:
/// sd_listen_fds(3).
const PASS_SOCKET: &str = "exec 3<&0 </dev/null; ulimit -n \"${DESCRIPTORS:-$(ulimit -n)}\"; LISTEN_FDS=1 LISTEN_PID=$$ exec \"$@\"";

/// A running `autotag-receiver proxy` with one application `web` on one socket.
pub struct ProxyProcess {
    child: Child,
    admin: PathBuf,
    pub address: SocketAddr,
}

impl ProxyProcess {
    /// Starts one on this socket, which the caller may hand to another as well, with its admin socket in
    /// this directory, and gives it its route. It holds requests until it is pointed at a container.
    pub fn start(socket: &TcpListener, directory: &Path) -> Self {
        Self::start_with(socket, directory, &[])
    }

    /// The same with so few descriptors.
    pub fn limited(socket: &TcpListener, directory: &Path, descriptors: usize) -> Self {
        Self::start_with(socket, directory, &[("DESCRIPTORS", &descriptors.to_string())])
    }

    fn start_with(socket: &TcpListener, directory: &Path, environment: &[(&str, &str)]) -> Self {
        let address = socket.local_addr().expect("an address");
        // Each has a directory of its own for its socket, and the next one moves its socket onto the same path.
        let admin = directory.join("admin.sock");
        let passed = OwnedFd::from(socket.try_clone().expect("a second handle"));
        let log = std::fs::File::options().append(true).create(true).open(directory.join("proxy.log"));
        let before = std::fs::symlink_metadata(&admin).ok().map(|file| inode(&file));
        let child = Process::new("sh")
            .args(["-c", PASS_SOCKET, "sh", testkit::programs::receiver(), "proxy", "--admin"])
            .arg(&admin)
            .envs(environment.iter().copied())
            .stdin(Stdio::from(passed))
            .stdout(Stdio::null())
            .stderr(log.expect("a log"))
            .spawn()
            .expect("sh");
        let mut proxy = Self { child, admin, address };
        while std::fs::symlink_metadata(&proxy.admin)
            .ok()
            .map(|file| inode(&file))
            .is_none_or(|now| before == Some(now))
        {
            assert!(
                proxy.child.try_wait().expect("it can be asked").is_none(),
                "it ended: {}",
                Self::log(directory)
            );
            std::thread::yield_now();
        }
        let route = Route {
            app: "web".to_owned(),
            listen: Listen::Tcp(address),
            hosts: Vec::new(),
            trusted_proxies: vec!["127.0.0.1".parse().expect("an address")],
            trusted_headers: Vec::new(),
            answer_timeout_ms: None,
        };
        assert_eq!(proxy.call(&Command::Routes { routes: vec![route] }), AdminAnswer::Done {});
        proxy
    }

    fn log(directory: &Path) -> String {
        std::fs::read_to_string(directory.join("proxy.log")).unwrap_or_default()
    }

    /// One command, and its answer.
    pub fn call(&self, command: &Command) -> AdminAnswer {
        let mut stream = UnixStream::connect(&self.admin).expect("the admin socket");
        stream.set_read_timeout(Some(Duration::from_mins(1))).expect("a timeout");
        let mut line = serde_json::to_vec(command).expect("JSON");
        line.push(b'\n');
        stream.write_all(&line).expect("sent");
        let mut answer = String::new();
        BufReader::new(stream).read_line(&mut answer).expect("an answer");
        serde_json::from_str(&answer).unwrap_or_else(|error| panic!("{error}: {answer}"))
    }

    /// How many descriptors it has open.
    pub fn descriptors(&self) -> usize {
        let open = std::fs::read_dir(format!("/proc/{}/fd", self.child.id()));
        open.expect("it runs").count()
    }

    /// Lets this container serve.
    pub fn swap(&self, id: &str, address: SocketAddr) {
        let to = Some(Target { id: id.to_owned(), address });
        match self.call(&Command::Swap { app: "web".to_owned(), to }) {
            AdminAnswer::Swapped { .. } => {}
            other => panic!("{other:?}"),
        }
    }

    /// Waits for what is under way with a container that serves no more; WebSockets are closed soon.
    pub fn drain(&self, id: &str) -> Drained {
        let (app, id) = ("web".to_owned(), id.to_owned());
        match self.call(&Command::Drain { app, id, deadline_ms: 20_000, tunnels_ms: Some(100) }) {
            AdminAnswer::Drained(report) => report,
            other => panic!("{other:?}"),
        }
    }

    /// SIGTERM, and its end.
    pub fn terminate(mut self) -> ExitStatus {
        let status = Process::new("kill").args(["-s", "TERM", &self.child.id().to_string()]).status();
        assert!(status.expect("kill").success());
        self.child.wait().expect("it ends")
    }
}

fn inode(file: &std::fs::Metadata) -> u64 {
    std::os::unix::fs::MetadataExt::ino(file)
}

impl Drop for ProxyProcess {
    fn drop(&mut self) {
        // An error says that it has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
