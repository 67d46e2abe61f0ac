//! The server's program as its owner meets it.

use std::io::{Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Command, Output, Stdio};

fn receiver(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_autotag-receiver")).args(arguments).output().expect("the program starts")
}

fn written(directory: &Path, text: &str) -> String {
    let path = directory.join("app.yaml");
    std::fs::write(&path, text).expect("the app file");
    path.to_string_lossy().into_owned()
}

#[test]
fn a_right_app_file_is_right() {
    let directory = tempfile::tempdir().expect("a directory");
    let file = written(
        directory.path(),
        "image: ghcr.io/org/app\nport: 3000\nlisten: 127.0.0.1:8080\nhealth: {path: /healthz}\n",
    );
    let output = receiver(&["check", &file]);
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
    assert!(String::from_utf8_lossy(&output.stdout).contains("is right"));
}

#[test]
fn a_wrong_app_file_shows_all_its_faults_with_places() {
    let directory = tempfile::tempdir().expect("a directory");
    let file = written(directory.path(), "image: ghcr.io/org/app:1\nprot: 3000\nkeep: many\n");
    let output = receiver(&["check", &file]);
    let text = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{text}");
    for word in ["line 1, ", "`image`", "line 2, ", "`port`", "line 3, ", "`keep`"] {
        assert!(text.contains(word), "{word} is missing in {text}");
    }
    let missing = receiver(&["check", "/nowhere/app.yaml"]);
    assert_eq!(missing.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&missing.stderr).contains("/nowhere/app.yaml"));
}

/// The other codes need a `serve`, or are those of faults above.
#[test]
fn a_serve_that_does_not_answer_has_its_exit_code() {
    let directory = tempfile::tempdir().expect("a directory");
    let root = directory.path().to_string_lossy().into_owned();
    for command in [&["status", "app"][..], &["history", "app"], &["logs", "app"], &["rollback", "app"]] {
        let output = receiver(&[&["--root", &root][..], command].concat());
        let text = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.code() == Some(4) && text.contains("does not run"), "{command:?}: {output:?}");
    }
    for wrong in [&["frobnicate"][..], &["status", "Bad_Name"], &[]] {
        assert_eq!(receiver(wrong).status.code(), Some(2), "{wrong:?}");
    }
}

#[test]
fn the_proxy_opens_its_admin_socket_and_ends_on_sigterm() {
    let directory = tempfile::tempdir().expect("a directory");
    let (admin, notify) = (directory.path().join("admin"), directory.path().join("notify"));
    let reported = std::os::unix::net::UnixDatagram::bind(&notify).expect("a socket for READY and STOPPING");
    let mut child = Command::new(env!("CARGO_BIN_EXE_autotag-receiver"))
        .args(["proxy", "--admin", &admin.to_string_lossy()])
        .env("NOTIFY_SOCKET", &notify)
        .stdin(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the program starts");
    // It is ready once it has routes; no routes at all are routes too.
    let mut socket = loop {
        assert!(child.try_wait().expect("it can be asked").is_none(), "it ended");
        match UnixStream::connect(&admin) {
            Ok(socket) => break socket,
            Err(_) => std::thread::yield_now(),
        }
    };
    socket.write_all(b"{\"command\":\"status\"}\n").expect("a command");
    let mut answer = [0; 1];
    socket.read_exact(&mut answer).expect("an answer");
    assert_eq!(&answer, b"{", "JSON");
    let status = Command::new("kill").args(["-s", "TERM", &child.id().to_string()]).status().expect("kill");
    assert!(status.success());
    assert!(child.wait().expect("it ends").success());
    let mut word = [0; 32];
    let length = reported.recv(&mut word).expect("a word to systemd");
    assert_eq!(&word[..length], b"STOPPING=1");
}
