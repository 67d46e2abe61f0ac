//! SSH against OpenSSH's own server: what succeeds, and that nothing else does.

mod host_keys;
mod login;
mod loss;

use std::time::Duration;

use autotag_base::{CallError, Effect};
use autotag_deploy::adapters::ssh::Libssh2;
use autotag_deploy::ports::{Deadlines, Finished, RemoteExec as _, SshHost};
use autotag_deploy::ssh_keys::private_key::PrivateKey;
use autotag_model::secret::Secret;

use testkit::processes::sshd::{ClientKey, Sshd};

/// Longer than anything here takes.
const PATIENT: Deadlines = Deadlines {
    connect: Duration::from_secs(30),
    idle: Duration::from_secs(30),
    whole: Duration::from_mins(2),
};

/// As in the protocol.
const LINE_BYTES: usize = 64 * 1024;

/// An sshd that lets root in by a key, and runs what it is told.
struct Server {
    sshd: Sshd,
    key: ClientKey,
}

impl Server {
    fn start() -> Self {
        let key = ClientKey::ed25519();
        Self { sshd: Sshd::with_host_key("ed25519").authorize("root", "", &key).start(), key }
    }

    fn host(&self) -> SshHost {
        host(self.sshd.port(), &self.key, &self.sshd.known_hosts())
    }

    /// By way of a relay, whose port is not the one in the known lines.
    fn host_at(&self, port: u16) -> SshHost {
        host(port, &self.key, &format!("[127.0.0.1]:{port} {}", self.sshd.public_key("ed25519")))
    }
}

fn private_key(text: &str) -> PrivateKey {
    PrivateKey::parse(&Secret::verbatim(text.to_owned())).expect("a key")
}

fn host(port: u16, key: &ClientKey, known_hosts: &str) -> SshHost {
    SshHost {
        host: "127.0.0.1".to_owned(),
        port,
        user: "root".to_owned(),
        key: private_key(&key.private),
        known_hosts: known_hosts.parse().expect("host keys"),
    }
}

/// What a run gave, and the lines that came.
struct Ran {
    outcome: Result<Finished, CallError>,
    lines: Vec<String>,
}

impl Ran {
    fn error(self) -> CallError {
        self.outcome.expect_err("an error")
    }

    /// Fails unless it is this error, with a text that has all these words.
    #[track_caller]
    fn must_be_an_error(self, effect: Effect, words: &[&str]) {
        let call_error = self.error();
        let text = format!("{call_error}. {}", call_error.remedy.clone().unwrap_or_default());
        assert_eq!(call_error.effect, effect, "{text}");
        for word in words {
            assert!(text.contains(word), "{word:?} is missing in: {text}");
        }
    }
}

async fn run_within(host: &SshHost, command: &str, input: &str, deadlines: Deadlines) -> Ran {
    let mut lines = Vec::new();
    let mut take = |line: &[u8]| lines.push(String::from_utf8_lossy(line).into_owned());
    let input = Secret::verbatim(input.to_owned());
    let outcome = Libssh2.run(host, command, &input, LINE_BYTES, deadlines, &mut take).await;
    Ran { outcome, lines }
}

async fn run(host: &SshHost, command: &str, input: &str) -> Ran {
    run_within(host, command, input, PATIENT).await
}

#[tokio::test]
async fn a_commands_input_and_output_lines_arrive_unchanged() {
    let server = Server::start();
    let command = "cat; echo; printf 'two\\n\\nlast without a break'; echo gone wrong >&2; exit 3";
    let ran = run(&server.host(), command, "one\nline").await;
    assert_eq!(ran.lines, ["one", "line", "two", "", "last without a break"]);
    assert_eq!(ran.outcome, Ok(Finished { status: 3, stderr: "gone wrong\n".to_owned() }));
}

#[tokio::test]
async fn a_line_is_there_before_the_command_ends() {
    let server = Server::start();
    let (sender, mut receiver) = tokio::sync::mpsc::unbounded_channel();
    let host = server.host();
    let mut take = |line: &[u8]| sender.send(line.to_vec()).expect("a listener");
    // The command ends only after its first line has been heard here: by the file that this makes.
    let directory = tempfile::tempdir().expect("a directory");
    let go_on = directory.path().join("go-on");
    let command = format!("echo first; until [ -e {} ]; do sleep 0.02; done; echo second", go_on.display());
    let input = Secret::verbatim(String::new());
    let heard = async {
        assert_eq!(receiver.recv().await.as_deref(), Some(b"first".as_slice()));
        std::fs::write(&go_on, "").expect("a file");
        assert_eq!(receiver.recv().await.as_deref(), Some(b"second".as_slice()));
    };
    let ran = Libssh2.run(&host, &command, &input, LINE_BYTES, PATIENT, &mut take);
    let (finished, ()) = tokio::join!(ran, heard);
    assert_eq!(finished.expect("an end").status, 0);
}

#[tokio::test]
async fn much_goes_both_ways_at_once() {
    let server = Server::start();
    // 8 MB out, while 3 MB go in, of which nothing is read before the first half is out: more than both windows.
    let line = "x".repeat(1023);
    let command = "i=0; while [ $i -lt 64 ]; do head -c 65536 /dev/zero | tr '\\0' y | fold -w 1023; i=$((i+1)); done; \
                   wc -c; head -c 4194304 /dev/zero | tr '\\0' z | fold -w 1023; echo end";
    let ran = run(&server.host(), command, &format!("{line}\n").repeat(3 * 1024)).await;
    assert_eq!(ran.outcome, Ok(Finished { status: 0, stderr: String::new() }));
    let bytes: usize = ran.lines.iter().map(String::len).sum();
    assert!(bytes > 8 * 1024 * 1024, "{bytes}");
    assert!(ran.lines.iter().any(|line| line.ends_with(&(3 * 1024 * 1024).to_string())), "all input arrived");
    assert!(ran.lines.last().is_some_and(|line| line.ends_with("end")), "the last line is there");
}

#[tokio::test]
async fn input_that_nobody_reads_is_no_error() {
    let server = Server::start();
    let ran = run(&server.host(), "exec 0<&-; echo busy; exit 4", &"x".repeat(4 * 1024 * 1024)).await;
    assert_eq!(ran.outcome.map(|finished| finished.status), Ok(4));
    assert_eq!(ran.lines, ["busy"]);
}

#[tokio::test]
async fn standard_error_is_bounded_and_does_not_block() {
    let server = Server::start();
    let command = "head -c 4194304 /dev/zero | tr '\\0' e >&2; echo the end >&2; echo done";
    let ran = run(&server.host(), command, "").await;
    assert_eq!(ran.lines, ["done"]);
    let stderr = ran.outcome.expect("an end").stderr;
    assert!(stderr.len() == 8192 && stderr.ends_with("eethe end\n"), "{} bytes", stderr.len());
}

#[tokio::test]
async fn a_line_without_end_is_garbled() {
    let server = Server::start();
    let ran = run(&server.host(), "echo first; head -c 1000000 /dev/zero | tr '\\0' x", "").await;
    assert_eq!(ran.lines, ["first"]);
    ran.must_be_an_error(Effect::Unknown, &["more than 65536 bytes", "autotag-receiver receive"]);
}
