//! A real sshd (OpenSSH) on a free loopback port, with keys, users and configuration of the test's own.
//!
//! Each connection gets an `sshd -i` of its own on a socket that the test listens on itself: no port is lost
//! to somebody else between looking for a free one and taking it, and nothing has to be waited for.
//!
//! ```ignore
//! let key = ClientKey::ed25519();
//! let user = SystemUser::create("app");
//! let sshd = Sshd::with_host_key("ed25519")
//!     .authorize(user.name(), "restrict,command=\"/path/to/receiver receive --app app\"", &key)
//!     .start();
//! let known_hosts = sshd.known_hosts();
//! ```

use std::fmt::Write as _;
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

/// Where Debian has it; /usr/sbin is not on everybody's path.
const SSHD: &str = "/usr/sbin/sshd";

/// An sshd to be.
pub struct Builder {
    directory: tempfile::TempDir,
    host_keys: Vec<&'static str>,
    directives: Vec<String>,
    /// What stands behind everything else, which a `Match` would take in.
    part: String,
}

/// A running sshd. Dropped, it takes no more connections, and its files are removed; open ones end with their
/// clients.
pub struct Sshd {
    directory: tempfile::TempDir,
    host_keys: Vec<&'static str>,
    port: u16,
    count: Arc<Count>,
    ended: Arc<AtomicBool>,
}

#[derive(Default)]
struct Count {
    begun: AtomicUsize,
    open: AtomicUsize,
}

impl Sshd {
    /// One with a host key of this type (`ed25519`, `rsa`, `ecdsa`).
    pub fn with_host_key(kind: &'static str) -> Builder {
        let directory = tempfile::tempdir().expect("a directory");
        // The users under test look their keys up in it.
        open_to_all(directory.path());
        std::fs::create_dir(directory.path().join("keys")).expect("a directory");
        open_to_all(&directory.path().join("keys"));
        Builder { directory, host_keys: Vec::new(), directives: Vec::new(), part: String::new() }
            .host_key(kind)
    }

    /// On 127.0.0.1.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Lines of known_hosts for all of its keys.
    pub fn known_hosts(&self) -> String {
        self.host_keys.iter().fold(String::new(), |text, kind| text + &self.known_hosts_line(kind) + "\n")
    }

    /// The line of known_hosts for the key of this type.
    pub fn known_hosts_line(&self, kind: &str) -> String {
        format!("[127.0.0.1]:{} {}", self.port, self.public_key(kind))
    }

    /// The host key of this type: `ssh-ed25519 AAAA...`.
    pub fn public_key(&self, kind: &str) -> String {
        let text =
            std::fs::read_to_string(self.directory.path().join(format!("{kind}.pub"))).expect("a host key");
        text.split(' ').take(2).collect::<Vec<_>>().join(" ")
    }

    /// The line that `ssh-keygen -l` prints for the host key of this type.
    pub fn fingerprint_line(&self, kind: &str) -> String {
        ssh_keygen(&["-l", "-f", path(&self.directory.path().join(format!("{kind}.pub")))]).trim().to_owned()
    }

    /// What all of its processes wrote to their log so far.
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.directory.path().join("log")).unwrap_or_default()
    }

    /// How many connections there were so far.
    pub fn connections(&self) -> usize {
        self.count.begun.load(Ordering::SeqCst)
    }

    /// How many of them sshd still has.
    pub fn open_connections(&self) -> usize {
        self.count.open.load(Ordering::SeqCst)
    }
}

impl Builder {
    /// One more host key.
    pub fn host_key(mut self, kind: &'static str) -> Self {
        let file = self.directory.path().join(kind);
        ssh_keygen(&["-q", "-t", kind, "-N", "", "-C", "host", "-f", path(&file)]);
        self.host_keys.push(kind);
        self
    }

    /// One more line of sshd_config; it wins over the line of this module with the same keyword.
    pub fn directive(mut self, line: impl Into<String>) -> Self {
        self.directives.push(line.into());
        self
    }

    /// A part with `Match` blocks.
    pub fn part(mut self, text: impl Into<String>) -> Self {
        self.part = text.into();
        self
    }

    /// Lets a key in as this user. `options` as in authorized_keys(5); empty: a whole shell.
    pub fn authorize(self, user: &str, options: &str, key: &ClientKey) -> Self {
        let file = self.directory.path().join("keys").join(user);
        let mut text = std::fs::read_to_string(&file).unwrap_or_default();
        let space = if options.is_empty() { "" } else { " " };
        writeln!(text, "{options}{space}{}", key.public.trim()).expect("a text");
        std::fs::write(&file, text).expect("authorized_keys");
        std::fs::set_permissions(&file, PermissionsExt::from_mode(0o644)).expect("authorized_keys");
        self
    }

    /// Listens from now on.
    pub fn start(self) -> Sshd {
        // sshd insists on it; at boot, systemd makes it.
        std::fs::create_dir_all("/run/sshd").expect("/run/sshd, as root");
        let configuration = self.directory.path().join("sshd_config");
        std::fs::write(&configuration, self.configuration()).expect("sshd_config");
        let checked = Command::new(SSHD).args(["-t", "-f", path(&configuration)]).output();
        let checked =
            checked.unwrap_or_else(|error| panic!("{SSHD} (Debian package openssh-server): {error}"));
        assert!(checked.status.success(), "sshd_config: {}", String::from_utf8_lossy(&checked.stderr));
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
        let sshd = Sshd {
            port: listener.local_addr().expect("an address").port(),
            directory: self.directory,
            host_keys: self.host_keys,
            count: Arc::default(),
            ended: Arc::default(),
        };
        let log = sshd.directory.path().join("log");
        let (count, ended) = (Arc::clone(&sshd.count), Arc::clone(&sshd.ended));
        std::thread::spawn(move || {
            while let Ok((socket, _)) = listener.accept() {
                if ended.load(Ordering::SeqCst) {
                    return;
                }
                serve(&socket, &configuration, &log, &count);
            }
        });
        sshd
    }

    fn configuration(&self) -> String {
        let mut lines = self.directives.clone();
        for kind in &self.host_keys {
            lines.push(format!("HostKey {}", self.directory.path().join(kind).display()));
        }
        lines.extend([
            format!("AuthorizedKeysFile {}/keys/%u", self.directory.path().display()),
            // The directory lies in /tmp, which everybody may write to.
            "StrictModes no".to_owned(),
            "UsePAM no".to_owned(),
            "PasswordAuthentication no".to_owned(),
            "KbdInteractiveAuthentication no".to_owned(),
            "PermitRootLogin prohibit-password".to_owned(),
            "LogLevel VERBOSE".to_owned(),
            "PidFile none".to_owned(),
        ]);
        lines.join("\n") + "\n" + &self.part
    }
}

/// Starts an sshd for one connection, and waits for its end elsewhere. No copy of the socket stays here: the
/// peer would wait for its end.
fn serve(socket: &TcpStream, configuration: &Path, log: &Path, count: &Arc<Count>) {
    // The directory may be gone together with the Sshd.
    let Ok(log) = std::fs::File::options().create(true).append(true).open(log) else { return };
    let stream = || Stdio::from(OwnedFd::from(socket.try_clone().expect("a socket")));
    let child = Command::new(SSHD)
        .args(["-i", "-e", "-f", path(configuration)])
        .env_clear()
        .stdin(stream())
        .stdout(stream())
        .stderr(log)
        .spawn();
    let mut child = child.expect("sshd starts");
    count.begun.fetch_add(1, Ordering::SeqCst);
    count.open.fetch_add(1, Ordering::SeqCst);
    let count = Arc::clone(count);
    std::thread::spawn(move || {
        let _ = child.wait();
        count.open.fetch_sub(1, Ordering::SeqCst);
    });
}

impl Drop for Sshd {
    fn drop(&mut self) {
        self.ended.store(true, Ordering::SeqCst);
        // Wakes the thread that accepts.
        let _ = TcpStream::connect((Ipv4Addr::LOCALHOST, self.port));
    }
}

/// A key to log in with.
pub struct ClientKey {
    /// The private key's file, its text.
    pub private: String,
    /// One line: type, key, comment.
    pub public: String,
}

impl ClientKey {
    /// The usual one.
    pub fn ed25519() -> Self {
        Self::generate(&["-t", "ed25519", "-N", ""])
    }

    /// By these arguments of ssh-keygen.
    pub fn generate(arguments: &[&str]) -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        let file = directory.path().join("key");
        ssh_keygen(&[&["-q", "-C", "client", "-f", path(&file)], arguments].concat());
        let read = |file: &Path| std::fs::read_to_string(file).expect("a key");
        Self { private: read(&file), public: read(&file.with_extension("pub")) }
    }
}

/// A system user that can log in by key only. Dropped, it is removed.
pub struct SystemUser {
    name: String,
}

impl SystemUser {
    /// `autotag-` and a name that no other test has, beginning with these letters.
    pub fn create(start: &str) -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let count = COUNT.fetch_add(1, Ordering::SeqCst);
        Self::create_for(&format!("{start}-{}-{count}", std::process::id()))
    }

    /// The user of this application, which no other test has.
    pub fn create_for(app: &str) -> Self {
        let name = format!("autotag-{app}");
        // A field of `!`, which useradd writes by itself, means locked: sshd refuses keys, too.
        let arguments = ["--system", "--no-create-home", "--shell", "/bin/sh", "--password", "*", &name];
        user_tool("useradd", &arguments);
        Self { name }
    }

    /// As the system knows it.
    pub fn name(&self) -> &str {
        &self.name
    }
}

impl Drop for SystemUser {
    fn drop(&mut self) {
        // `--force`: also while a process of its last connection is ending.
        user_tool("userdel", &["--force", &self.name]);
    }
}

/// useradd and userdel refuse where another of them holds their lock: they take turns.
fn user_tool(tool: &str, arguments: &[&str]) {
    static TURN: Mutex<()> = Mutex::new(());
    let _turn = TURN.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    // Another test binary may hold the lock, too; flock waits for it.
    let output = Command::new("flock")
        .args(["/run/lock/autotag-deploy-test-users", &format!("/usr/sbin/{tool}")])
        .args(arguments)
        .output()
        .expect("flock (Debian package util-linux)");
    assert!(output.status.success(), "{tool}, as root: {}", String::from_utf8_lossy(&output.stderr));
}

fn ssh_keygen(arguments: &[&str]) -> String {
    let output = Command::new("ssh-keygen").args(arguments).stdin(Stdio::null()).output();
    let output = output.unwrap_or_else(|error| panic!("ssh-keygen (Debian package openssh-client): {error}"));
    assert!(output.status.success(), "ssh-keygen: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("text")
}

fn open_to_all(directory: &Path) {
    std::fs::set_permissions(directory, PermissionsExt::from_mode(0o755)).expect("a directory");
}

fn path(path: &Path) -> &str {
    path.to_str().expect("a path of letters")
}
