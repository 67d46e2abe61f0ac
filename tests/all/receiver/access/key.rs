//! What CI's key can do on a server that `init` set up: ask for five things about one application. The
//! clients are OpenSSH's own.

use std::io::Write as _;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use autotag_protocol::{Body, End, Event, Outcome, RefusalCode, Request};

use testkit::processes::sshd::{ClientKey, Sshd, SystemUser};
use testkit::server::{Images, Server, deploy};

/// A server with a key's user, and the user's side of it.
pub struct KeyClient {
    pub server: Server,
    pub images: Images,
    pub sshd: Sshd,
    user: SystemUser,
    directory: tempfile::TempDir,
}

impl KeyClient {
    fn open() -> Self {
        Self::to(Images::start())
    }

    /// To a server that runs these images.
    pub fn to(images: Images) -> Self {
        let (user, key) = (SystemUser::create("k"), ClientKey::ed25519());
        let (server, options) = Server::set_up(&user, &key, images.name());
        // As Debian's sshd_config has it.
        let sshd = Sshd::with_host_key("ed25519").directive("AcceptEnv LANG LC_*");
        let sshd =
            sshd.directive("Subsystem sftp internal-sftp").authorize(user.name(), &options, &key).start();
        let directory = tempfile::tempdir().expect("a directory");
        let key_client = Self { server, images, sshd, user, directory };
        key_client.write("key", &key.private);
        key_client.write("known_hosts", &key_client.sshd.known_hosts());
        key_client
    }

    fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.directory.path().join(name);
        std::fs::write(&path, text).expect("a file");
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).expect("rights");
        path
    }

    /// One of OpenSSH's clients, with what all of them need.
    fn client(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        let known = format!("UserKnownHostsFile={}", self.directory.path().join("known_hosts").display());
        command.args(["-F", "none", "-o", &known, "-o", "BatchMode=yes", "-o", "IdentitiesOnly=yes"]);
        command.arg("-i").arg(self.directory.path().join("key"));
        command.arg("-o").arg(format!("Port={}", self.sshd.port()));
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    fn target(&self) -> String {
        format!("{}@127.0.0.1", self.user.name())
    }

    /// `ssh`, with more options, for a command, with this on its standard input.
    pub fn ssh(&self, options: &[&str], command: &[&str], input: &str) -> Output {
        let mut child = self
            .client("ssh")
            .args(options)
            .arg("--")
            .arg(self.target())
            .args(command)
            .stdin(Stdio::piped())
            .spawn()
            .expect("ssh (Debian package openssh-client)");
        // One that is refused may have closed it already.
        let _ = child.stdin.take().expect("a pipe").write_all(input.as_bytes());
        child.wait_with_output().expect("ssh ends")
    }

    pub fn request(&self, body: Body) -> String {
        let request = Request { app: self.server.app.clone(), body };
        request.to_line().expect("a request").reveal().to_owned()
    }

    fn status(&self) -> String {
        self.request(Body::Status { deployment: None })
    }
}

/// The result that was told, which has to be the last line.
#[track_caller]
fn result(output: &Output) -> Outcome {
    let text = String::from_utf8_lossy(&output.stdout);
    let last = text.lines().last().unwrap_or_else(|| {
        panic!("nothing was told: {}", String::from_utf8_lossy(&output.stderr));
    });
    match Event::parse(last.as_bytes()) {
        Ok(Event::Result(outcome)) => *outcome,
        other => panic!("the last line is no result: {other:?} in {text}"),
    }
}

#[track_caller]
fn is_refused(output: &Output, expected: RefusalCode) {
    let outcome = result(output);
    let End::Refused { code, message } = outcome.end else { panic!("it was done: {:?}", outcome.end) };
    assert_eq!(code, expected, "{message}");
    assert!(!message.contains("uid="), "{message}");
}

// invariant one-door: A key reaches its own application alone; broken by: `crates/receiver/src/serve/peer.rs`:
//   every application may be reached
// invariant one-door: A key brings no other image; broken by: `crates/receiver/src/policy/admit/mod.rs`: any
//   repository is the application's own
#[test]
fn it_opens_one_door_and_no_other() {
    let key_client = KeyClient::open();
    let status = key_client.status();

    // The five words work.
    assert_eq!(result(&key_client.ssh(&[], &["status"], &status)).end, End::Reported {});
    let one = key_client.images.push("1.0.0");
    let request = key_client.request(Body::Deploy(Box::new(deploy(key_client.images.name(), "1.0.0", &one))));
    assert_eq!(result(&key_client.ssh(&[], &["deploy"], &request)).end, End::Deployed {});
    assert!(key_client.server.get("/").1.contains("1.0.0"));

    // No shell, no other command, no word with anything behind it.
    is_refused(&key_client.ssh(&[], &[], &status), RefusalCode::Malformed);
    for command in [
        &["sh"][..],
        &["sh", "-c", "id"],
        &["id"],
        &["status;id"],
        &["status", "id"],
        &["status\nid"],
        &["$(id)"],
        &["receive", "--app", "other"],
        &["DEPLOY"],
        &["--help"],
    ] {
        is_refused(&key_client.ssh(&[], command, &status), RefusalCode::NewerRequest);
    }

    // Not another application, nor a word for another request, nor what is none.
    let other = Request { app: "another".parse().unwrap(), body: Body::Status { deployment: None } };
    let paths = &key_client.server.paths;
    std::fs::copy(paths.app_file(&key_client.server.app), paths.app_file(&other.app))
        .expect("it is there, too");
    is_refused(&key_client.ssh(&[], &["status"], other.to_line().unwrap().reveal()), RefusalCode::App);
    is_refused(&key_client.ssh(&[], &["logs"], &status), RefusalCode::Malformed);
    is_refused(&key_client.ssh(&[], &["deploy"], &"x".repeat(300_000)), RefusalCode::Malformed);
    is_refused(&key_client.ssh(&[], &["deploy"], "{\"protocol\":1}\n"), RefusalCode::Malformed);
    is_refused(&key_client.ssh(&[], &["status"], ""), RefusalCode::Malformed);
    let mut elsewhere = deploy(key_client.images.name(), "1.0.1", &one);
    elsewhere.image = "127.0.0.1:1/other/app".parse().unwrap();
    let request = key_client.request(Body::Deploy(Box::new(elsewhere)));
    is_refused(&key_client.ssh(&[], &["deploy"], &request), RefusalCode::Repository);

    // The environment does not come along.
    let environment = ["-o", "SetEnv=SSH_ORIGINAL_COMMAND=status LC_ALL=status LANG=status"];
    is_refused(&key_client.ssh(&environment, &["id"], &status), RefusalCode::NewerRequest);
}

// invariant one-door: A key forwards nothing; broken by: `crates/receiver/src/host/init/sshd.rs`: the line
//   begins without `restrict`
#[test]
fn it_forwards_nothing_and_copies_nothing() {
    let key_client = KeyClient::open();
    let status = key_client.status();
    let printed = |output: &Output| String::from_utf8_lossy(&output.stderr).into_owned();

    let output = key_client.ssh(&["-tt"], &["status"], &status);
    assert!(printed(&output).contains("PTY allocation request failed"), "{}", printed(&output));

    // Nobody can be reached through the server ...
    let inside = TcpListener::bind("127.0.0.1:0").expect("a port");
    inside.set_nonblocking(true).expect("a listener");
    let address = inside.local_addr().expect("an address").to_string();
    let output = key_client.ssh(&["-W", &address], &[], "hello");
    assert!(!output.status.success() && printed(&output).contains("prohibited"), "{}", printed(&output));
    assert!(inside.accept().is_err(), "somebody came through");
    // ... nor from the server.
    let back = format!("0:{address}");
    let output = key_client.ssh(&["-N", "-o", "ExitOnForwardFailure=yes", "-R", &back], &[], "");
    assert!(
        !output.status.success() && printed(&output).contains("forwarding failed"),
        "{}",
        printed(&output)
    );

    // sshd itself says what the key's line leaves: the command, and neither agent, X11, tty nor user's rc.
    let output = key_client.ssh(&["-v", "-A"], &["status"], &status);
    let options = printed(&output);
    let options = options.lines().find(|line| line.contains("key options:")).expect("sshd tells them");
    assert!(options.trim_end().ends_with("key options: command"), "{options}");

    // Files neither way.
    let (here, there) = (key_client.write("file", "text"), key_client.directory.path().join("there"));
    let remote = |path: &Path| format!("{}:{}", key_client.target(), path.display());
    for old in [&["-O"][..], &[]] {
        let output =
            key_client.client("scp").args(old).arg(&here).arg(remote(&there)).stdin(Stdio::null()).output();
        assert!(!output.expect("scp").status.success() && !there.exists(), "scp {old:?}");
        let from = remote(Path::new("/etc/passwd"));
        let output = key_client.client("scp").args(old).arg(from).arg(&there).stdin(Stdio::null()).output();
        assert!(!output.expect("scp").status.success() && !there.exists(), "scp {old:?} back");
    }
    let batch = key_client.write("batch", "get /etc/passwd passwd\n");
    let output =
        key_client.client("sftp").arg("-b").arg(batch).arg(key_client.target()).stdin(Stdio::null()).output();
    assert!(!output.expect("sftp").status.success());
}

// invariant one-door
#[test]
fn its_user_cannot_touch_what_is_roots() {
    let key_client = KeyClient::open();
    let one = key_client.images.push("1.0.0");
    let request = key_client.request(Body::Deploy(Box::new(deploy(key_client.images.name(), "1.0.0", &one))));
    assert_eq!(result(&key_client.ssh(&[], &["deploy"], &request)).end, End::Deployed {});
    let (paths, app) = (&key_client.server.paths, &key_client.server.app);
    // As the user itself, which no key ever gets to be.
    let may = |test: &str, path: &Path| {
        Command::new("setpriv")
            .args(["--reuid", key_client.user.name(), "--regid", key_client.user.name(), "--init-groups"])
            .args(["test", test])
            .arg(path)
            .status()
            .expect("setpriv (Debian package util-linux)")
            .success()
    };
    let state = paths.state(app);
    for path in [
        PathBuf::from("/var/run/docker.sock"),
        paths.app_file(app),
        state.join("state.json"),
        paths.journal(app),
        paths.lock(app),
        state.join("settings"),
        paths.proxy_admin(),
    ] {
        assert!(path.exists(), "{} is there", path.display());
        assert!(!may("-r", &path) && !may("-w", &path), "{} is open to the key's user", path.display());
    }
    for path in [paths.authorized_keys(app), paths.app_files(), paths.program(), paths.home(), paths.run()] {
        assert!(path.exists(), "{} is there", path.display());
        assert!(!may("-w", &path), "{} can be changed by the key's user", path.display());
    }
    // The door itself is open: the check can fail.
    assert!(may("-w", &paths.socket()));
}
