//! A server of our own on this machine: `serve` and `proxy` as real processes below a directory that stands
//! for `/`, real Docker, a real registry.
//!
//! Everything that it makes in Docker carries the application's label; it is removed at the end.

mod images;
mod talk;

use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use autotag_model::reference::{Digest, ImageName};
use autotag_protocol::{
    AppName, Body, Configuration, Deploy, DeploymentId, Event, HistoryEntry, Request, Rollback, Status,
};
use autotag_receiver::paths::{GROUP, Paths, USER_PREFIX};
use autotag_receiver::state::journal;
use autotag_receiver::state::{State, Store};
use semver::Version;

use crate::clock;
use crate::images::app_image::PORT as APP_PORT;
use crate::processes::PATIENCE;
use crate::processes::sshd::{ClientKey, SystemUser};
use crate::programs::receiver;
use crate::torture::variable;
pub use images::Images;
pub use talk::{Conversation, Transcript};

/// The program of another release, which takes turns with ours as `serve`: where a test kills `serve` and starts
/// it again, the one finishes what the other began.
const OTHER_RECEIVER: &str = "AUTOTAG_DEPLOY_OTHER_RECEIVER";

/// One server with one application.
pub struct Server {
    /// The directory that stands for `/`.
    pub directory: Arc<tempfile::TempDir>,
    /// Where things lie.
    pub paths: Paths,
    /// The application.
    pub app: AppName,
    /// Where the proxy serves it.
    pub port: u16,
    docker: PathBuf,
    /// What both processes find in their environment.
    environment: Vec<(String, String)>,
    serve: Option<Child>,
    proxy: Option<Child>,
    /// How often `serve` was started.
    starts: usize,
}

impl Server {
    /// With both processes running, and no app file yet.
    pub fn start() -> Self {
        Self::on_docker(Path::new(DOCKER))
    }

    /// The same, with Docker behind another socket.
    pub fn on_docker(docker: &Path) -> Self {
        Self::started(Self::still(&new_name(), docker))
    }

    /// The same, with these variables in the environment of both processes.
    pub fn with_environment(environment: &[(&str, &str)]) -> Self {
        let own = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
        let mut server = Self::still(&new_name(), Path::new(DOCKER));
        server.environment = environment.iter().map(own).collect();
        Self::started(server)
    }

    fn started(mut server: Self) -> Self {
        server.start_proxy();
        server.start_serve();
        server
    }

    /// Another application of this server, which has the processes.
    pub fn neighbour(&self) -> Self {
        let mut neighbour = Self::still(&new_name(), &self.docker);
        neighbour.directory = Arc::clone(&self.directory);
        neighbour.paths = self.paths.clone();
        neighbour
    }

    /// Set up by the receiver's own `init`, for a key that logs in as this user of the machine. Gives also
    /// the options of the key's line, as `init` wrote them for sshd.
    pub fn set_up(user: &SystemUser, key: &ClientKey, image: &ImageName) -> (Self, String) {
        let server = Self::of_user(user);
        let (image, port) = (image.to_string(), APP_PORT.to_string());
        let listen = format!("127.0.0.1:{}", server.port);
        let wishes = ["--image", &image, "--port", &port, "--listen", &listen, "--health", "/healthz"];
        server.initialized(user, key, &wishes)
    }

    /// The same where the owner has written the app file already, for the port that it is given.
    pub fn set_up_with(
        user: &SystemUser,
        key: &ClientKey,
        app_file: impl FnOnce(u16) -> String,
    ) -> (Self, String) {
        let server = Self::of_user(user);
        std::fs::write(server.paths.app_file(&server.app), app_file(server.port)).expect("the app file");
        server.initialized(user, key, &[])
    }

    fn of_user(user: &SystemUser) -> Self {
        Self::still(user.name().strip_prefix(USER_PREFIX).expect("an application's user"), Path::new(DOCKER))
    }

    fn initialized(mut self, user: &SystemUser, key: &ClientKey, wishes: &[&str]) -> (Self, String) {
        let root = self.directory.path().to_owned();
        for file in ["shadow", "gshadow"] {
            std::fs::write(root.join("etc").join(file), "").expect(file);
        }
        std::fs::copy("/etc/login.defs", root.join("etc/login.defs")).expect("login.defs");
        let output = Command::new(receiver())
            .arg("--root")
            .arg(&root)
            .args(["init", self.app.as_str(), "--key", key.public.trim()])
            .args(wishes)
            .output()
            .expect("init");
        let message = [output.stdout, output.stderr].concat();
        assert!(output.status.success(), "init: {}", String::from_utf8_lossy(&message));
        // sshd knows the machine's users, and the kernel tells their numbers.
        let number = |option: &str| output_of("id", &[option, user.name()]).trim().to_owned();
        let (uid, gid) = (number("-u"), number("-g"));
        let lines = |path: &Path, name: &str, id: &str| {
            let text = std::fs::read_to_string(path).expect("a file");
            let changed = text.lines().map(|line| {
                let mut fields: Vec<&str> = line.split(':').collect();
                if fields[0] == name {
                    fields[2] = id;
                }
                fields.join(":") + "\n"
            });
            std::fs::write(path, changed.collect::<String>()).expect("a file");
        };
        lines(&self.paths.passwd(), user.name(), &uid);
        lines(&self.paths.group(), GROUP, &gid);
        let line = std::fs::read_to_string(self.paths.authorized_keys(&self.app)).expect("the key's line");
        let options = line.split(" ssh-").next().expect("options").to_owned();
        self.start_proxy();
        self.start_serve();
        (self, options)
    }

    /// A directory with what is needed in it, and no process.
    fn still(app: &str, docker: &Path) -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        let paths = Paths::below(directory.path());
        let app: AppName = app.parse().expect("a name");
        // Other users of the machine reach the socket of `serve` by their key.
        std::fs::set_permissions(directory.path(), std::fs::Permissions::from_mode(0o755)).expect("rights");
        for path in [paths.app_files(), paths.proxy_run(), paths.run()] {
            std::fs::create_dir_all(path).expect("a directory");
        }
        std::fs::write(paths.passwd(), "root:x:0:0:root:/root:/bin/bash\n").expect("passwd");
        std::fs::write(paths.group(), "root:x:0:\n").expect("group");
        let (directory, docker, environment) = (Arc::new(directory), docker.to_owned(), Vec::new());
        let port = free_port();
        Self { port, directory, paths, app, docker, environment, serve: None, proxy: None, starts: 0 }
    }

    /// Writes the app file: this image, what is usual, and what else is said.
    pub fn app_file(&self, image: &ImageName, more: &str) {
        let port = self.port;
        let mut text = format!("image: {image}\nport: {APP_PORT}\nlisten: 127.0.0.1:{port}\n");
        for (key, usual) in [
            ("health:", "health: {path: /healthz, deadline: 20s, stable: 300ms}\n"),
            ("drain:", "drain: 10s\n"),
        ] {
            if !more.lines().any(|line| line.starts_with(key)) {
                text.push_str(usual);
            }
        }
        text.push_str(more);
        std::fs::write(self.paths.app_file(&self.app), text).expect("the app file");
    }

    /// Starts `serve`, and comes back when it answers.
    pub fn start_serve(&mut self) {
        let log = std::fs::OpenOptions::new()
            .append(true)
            .create(true)
            .open(self.directory.path().join("serve.log"))
            .expect("a log");
        // Each goes on from what the other left.
        let other = variable(OTHER_RECEIVER).filter(|_| self.starts.is_multiple_of(2));
        self.starts += 1;
        let child = Command::new(other.as_deref().unwrap_or(receiver()))
            .arg("serve")
            .arg("--root")
            .arg(self.directory.path())
            .arg("--docker")
            .arg(&self.docker)
            .envs(self.environment.iter().cloned())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .expect("serve starts");
        self.serve = Some(child);
        let socket = self.paths.socket();
        self.until("serve answers", || UnixStream::connect(&socket).is_ok());
    }

    /// Starts `serve` anew, with Docker behind another socket.
    pub fn look_for_docker_at(&mut self, docker: &Path) {
        self.kill_serve();
        docker.clone_into(&mut self.docker);
        self.start_serve();
    }

    /// Starts the proxy, and comes back when its admin socket answers.
    pub fn start_proxy(&mut self) {
        let log = std::fs::OpenOptions::new()
            .append(true)
            .create(true)
            .open(self.directory.path().join("proxy.log"))
            .expect("a log");
        let child = Command::new(receiver())
            .arg("proxy")
            .arg("--admin")
            .arg(self.paths.proxy_admin())
            .envs(self.environment.iter().cloned())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .expect("the proxy starts");
        self.proxy = Some(child);
        let socket = self.paths.proxy_admin();
        self.until("the proxy answers", || UnixStream::connect(&socket).is_ok());
    }

    /// SIGKILL to `serve`.
    pub fn kill_serve(&mut self) {
        kill(&mut self.serve);
    }

    /// SIGSTOP to `serve`: it stays where it is until it is killed, or goes on.
    pub fn freeze_serve(&self) {
        self.signal_serve("STOP");
    }

    /// SIGCONT to `serve`.
    pub fn thaw_serve(&self) {
        self.signal_serve("CONT");
    }

    fn signal_serve(&self, signal: &str) {
        let sent = Command::new("kill").arg(format!("-{signal}")).arg(self.serve_pid().to_string()).status();
        assert!(sent.expect("kill").success(), "SIG{signal}");
    }

    /// SIGKILL to the proxy.
    pub fn kill_proxy(&mut self) {
        kill(&mut self.proxy);
    }

    /// The process of `serve`.
    pub fn serve_pid(&self) -> u32 {
        self.serve.as_ref().expect("serve runs").id()
    }

    /// Waits until something is so.
    pub fn until(&self, what: &str, mut so: impl FnMut() -> bool) {
        let since = clock::start();
        while !so() {
            assert!(since.elapsed() < PATIENCE, "{what}: not within {PATIENCE:?}\n{}", self.logs());
            clock::look_again();
        }
    }

    /// What both processes wrote.
    pub fn logs(&self) -> String {
        ["serve.log", "proxy.log"]
            .map(|name| {
                let text = std::fs::read_to_string(self.directory.path().join(name)).unwrap_or_default();
                let lines: Vec<&str> = text.lines().rev().take(40).collect();
                format!("--- {name}\n{}\n", lines.into_iter().rev().collect::<Vec<_>>().join("\n"))
            })
            .concat()
    }

    /// Asks as root, and gives the conversation.
    pub fn ask(&self, body: Body) -> Conversation {
        let request = Request { app: self.app.clone(), body };
        let line = request.to_line().expect("a request");
        Conversation::begin(&self.paths.socket(), request.word().as_str(), line.reveal())
    }

    /// Deploys, to the end.
    pub fn deploy(&self, deploy: Deploy) -> Transcript {
        self.ask(Body::Deploy(Box::new(deploy))).finish()
    }

    /// Rolls back, to the end.
    pub fn roll_back(&self, to: Option<&str>, configuration: Configuration) -> Transcript {
        let to = to.map(|version| version.parse().expect("a version"));
        let rollback = Rollback { to, configuration, ..rollback() };
        self.ask(Body::Rollback(Box::new(rollback))).finish()
    }

    /// What runs.
    pub fn status(&self) -> Status {
        let reported = self.ask(Body::Status { deployment: None }).finish();
        let status = reported.answers.into_iter().find_map(|answer| match answer {
            Event::Status(status) => Some(*status),
            _ => None,
        });
        status.expect("a status")
    }

    /// What was deployed, the newest first.
    pub fn history(&self) -> Vec<HistoryEntry> {
        let reported = self.ask(Body::History { entries: 100 }).finish();
        let entries = reported.answers.into_iter().filter_map(|answer| match answer {
            Event::History(entry) => Some(*entry),
            _ => None,
        });
        entries.collect()
    }

    /// The state, which is whole at any moment.
    #[track_caller]
    pub fn state(&self) -> State {
        let store = Store::new(&self.paths.state(&self.app), self.app.clone());
        store.load().unwrap_or_else(|error| panic!("the state is whole at any moment: {error}"))
    }

    /// The ids of the application's containers that run.
    pub fn containers(&self) -> Vec<String> {
        let filter = format!("label=autotag-deploy.app={}", self.app);
        lines(&docker(&["ps", "--quiet", "--no-trunc", "--filter", &filter]))
    }

    /// The versions of the application's containers, stopped ones included.
    pub fn container_versions(&self) -> Vec<String> {
        let filter = format!("label=autotag-deploy.app={}", self.app);
        let format = "{{.Label \"autotag-deploy.version\"}}";
        lines(&docker(&["ps", "--all", "--filter", &filter, "--format", format]))
    }

    /// Whthrough the proxy answers at a path: status and body.
    pub fn get(&self, path: &str) -> (u16, String) {
        let mut stream = std::net::TcpStream::connect(("127.0.0.1", self.port)).expect("the proxy");
        stream.set_read_timeout(Some(Duration::from_secs(30))).expect("a timeout");
        let request = format!("GET {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).expect("a request");
        let mut answer = Vec::new();
        std::io::Read::read_to_end(&mut stream, &mut answer).expect("an answer");
        let text = String::from_utf8_lossy(&answer).into_owned();
        let status = text.split(' ').nth(1).and_then(|status| status.parse().ok()).expect("a status");
        let body = text.split_once("\r\n\r\n").map(|(_, body)| body.to_owned()).unwrap_or_default();
        (status, body)
    }

    /// The journal's entries.
    pub fn journal(&self) -> Vec<journal::Entry> {
        journal::read(&self.paths.journal(&self.app)).expect("the journal").entries
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        kill(&mut self.serve);
        kill(&mut self.proxy);
        let filter = format!("label=autotag-deploy.app={}", self.app);
        for container in lines(&docker(&["ps", "--all", "--quiet", "--filter", &filter])) {
            docker(&["rm", "--force", "--volumes", &container]);
        }
        for network in lines(&docker(&["network", "ls", "--quiet", "--filter", &filter])) {
            docker(&["network", "rm", &network]);
        }
    }
}

fn kill(child: &mut Option<Child>) {
    if let Some(mut child) = child.take() {
        // One that has ended already is no fault.
        let _ = child.kill();
        let _ = child.wait();
    }
}

/// A request to deploy this image.
pub fn deploy(image: &ImageName, version: &str, digest: &Digest) -> Deploy {
    Deploy {
        deployment: deployment_id(),
        image: image.clone(),
        digest: digest.clone(),
        version: version.parse::<Version>().expect("a version"),
        commit: commit_of(version).parse().expect("a commit"),
        allow_downgrade: false,
        environment: [].into(),
        credential: None,
        run: "https://github.example/run/1".to_owned(),
    }
}

/// A request to go back to the version before.
pub fn rollback() -> Rollback {
    Rollback {
        deployment: deployment_id(),
        to: None,
        reverts: None,
        configuration: Configuration::Today,
        credential: None,
        run: String::new(),
    }
}

/// A request to take this deployment back.
pub fn revert(deployment: &DeploymentId) -> Rollback {
    Rollback { reverts: Some(deployment.clone()), configuration: Configuration::Then, ..rollback() }
}

/// The commit that a version's image says it was made from.
pub fn commit_of(version: &str) -> String {
    Digest::of(version.as_bytes()).as_str()["sha256:".len()..][..40].to_owned()
}

/// The machine's own Docker.
const DOCKER: &str = "/var/run/docker.sock";

/// The name of an application that nobody has.
fn new_name() -> String {
    static NUMBER: AtomicU32 = AtomicU32::new(0);
    format!("test-{}-{}", std::process::id(), NUMBER.fetch_add(1, Ordering::Relaxed))
}

/// An id that nobody has had.
pub fn deployment_id() -> DeploymentId {
    static NUMBER: AtomicU32 = AtomicU32::new(0);
    let number = NUMBER.fetch_add(1, Ordering::Relaxed);
    format!("test-{}-{number}", std::process::id()).parse().expect("an id")
}

/// Docker's own client.
#[track_caller]
pub fn docker(arguments: &[&str]) -> String {
    let output = Command::new("docker").args(arguments).output().expect("these tests need Docker's client");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn output_of(program: &str, arguments: &[&str]) -> String {
    let output = Command::new(program).args(arguments).output().expect(program);
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// The lines that say something.
pub fn lines(text: &str) -> Vec<String> {
    text.lines().map(str::trim).filter(|line| !line.is_empty()).map(str::to_owned).collect()
}

/// A port that nobody uses now, for a program that cannot be handed a socket.
///
/// Below the range from which Linux takes ports by itself (32768, `ip_local_port_range`): a port from there
/// would often be some client's by the time that it is listened at.
pub fn free_port() -> u16 {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    loop {
        let number = std::process::id().wrapping_mul(97).wrapping_add(NEXT.fetch_add(1, Ordering::Relaxed));
        let port = 10_000 + u16::try_from(number % 20_000).expect("below 20,000");
        if std::net::TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
}
