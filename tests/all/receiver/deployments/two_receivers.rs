//! Two receivers at a time: two `serve`s on one state, and sides of different releases.

use std::io::{BufRead as _, BufReader, Write as _};
use std::os::unix::net::{UnixListener, UnixStream};
use std::process::{Child, Command, Output, Stdio};

use autotag_protocol::{End, Event, RefusalCode};
use autotag_receiver::paths::Paths;

use crate::receiver::crashes::held::{one_of_the_right_version, refused};
use testkit::programs::receiver;
use testkit::server::{Conversation, Images, Server, deploy};

/// The relay as sshd starts it.
fn relay(paths: &Paths, app: &str, word: &str, request: &str) -> Output {
    let mut child = Command::new(receiver())
        .arg("receive")
        .arg("--root")
        .arg(paths.root())
        .args(["--app", app])
        .env("SSH_ORIGINAL_COMMAND", word)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the relay starts");
    let mut input = child.stdin.take().expect("piped");
    // One that refuses the word reads nothing.
    let _ = writeln!(input, "{request}");
    drop(input);
    child.wait_with_output().expect("it ends")
}

/// One more `serve` on a server's state, until it is dropped.
struct Serve(Option<Child>);

impl Serve {
    fn start(server: &Server) -> Self {
        let mut command = Command::new(receiver());
        command.arg("serve").arg("--root").arg(server.directory.path());
        Self(Some(command.stderr(Stdio::piped()).spawn().expect("it starts")))
    }

    fn ended(&mut self) -> bool {
        self.0.as_mut().is_none_or(|child| child.try_wait().expect("a child").is_some())
    }

    fn output(mut self) -> Output {
        self.0.take().expect("once").wait_with_output().expect("it has ended")
    }
}

impl Drop for Serve {
    fn drop(&mut self) {
        if let Some(mut child) = self.0.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

#[test]
fn a_second_serve_process_is_refused() {
    let images = Images::start();
    let mut server = Server::start();
    server.app_file(images.name(), "");
    let (one, two) = (images.push("1.0.0"), images.push("1.0.1"));
    server.deploy(deploy(images.name(), "1.0.0", &one)).ended(&End::Deployed {});
    let mut second = Serve::start(&server);
    server.until("the second one ends", || second.ended());
    let output = second.output();
    let printed = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "{printed}");
    assert!(printed.contains(&format!("(process {})", server.serve_pid())), "{printed}");
    server.deploy(deploy(images.name(), "1.0.1", &two)).ended(&End::Deployed {});
    one_of_the_right_version(&server, "beside a second one");
    // The kernel gives the lock of a dead one back at once.
    server.kill_serve();
    server.start_serve();
    assert!(server.status().running.is_some());
}

// invariant durable: One `serve` at a time; broken by: `crates/receiver/src/serve/mod.rs`: who finds the lock
//   held takes another
#[test]
fn of_many_that_start_at_once_one_serves() {
    let mut server = Server::start();
    std::fs::write(server.paths.app_file(&server.app), "image: x.io/app\n").expect("an app file");
    server.kill_serve();
    let mut started: Vec<Serve> = (0..5).map(|_| Serve::start(&server)).collect();
    server.until("all but one have ended", || {
        started.retain_mut(|one| !one.ended());
        started.len() <= 1
    });
    server.until("the one answers", || UnixStream::connect(server.paths.socket()).is_ok());
    assert!(server.status().running.is_none());
    assert!(started.iter_mut().all(|one| !one.ended()) && started.len() == 1, "it is the one that serves");
}

/// What an older relay does with a newer `serve`, and an older action with both: it passes on what it does
/// not know, byte by byte.
#[test]
fn the_relay_passes_on_what_it_does_not_know() {
    let directory = tempfile::tempdir().expect("a directory");
    let paths = Paths::below(directory.path());
    std::fs::create_dir_all(paths.run()).expect("a directory");
    let listener = UnixListener::bind(paths.socket()).expect("a socket");
    let answers = "{\"of-a-later-release\":{\"x\":[1,2]}}\n{\"result\":{\"and\":\"more\"}}\n";
    let serving = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().expect("a relay");
        let mut asked = BufReader::new(stream.try_clone().expect("a socket")).lines();
        let asked: Vec<String> = (0..2).map(|_| asked.next().expect("a line").expect("text")).collect();
        stream.write_all(answers.as_bytes()).expect("answered");
        asked
    });
    let request = "{\"protocol\": 7, \"whatever\": \"it means\"}";
    let output = relay(&paths, "shop", "deploy", request);
    assert!(output.status.success());
    assert_eq!(String::from_utf8_lossy(&output.stdout), answers);
    assert_eq!(serving.join().expect("answered"), ["deploy", request]);
}

#[test]
fn another_protocol_is_refused_with_the_side_to_update() {
    let server = Server::start();
    std::fs::write(server.paths.app_file(&server.app), "image: x.io/app\n").expect("an app file");
    let app = server.app.as_str();
    for protocol in [0, 2] {
        let request = format!("{{\"protocol\": {protocol}, \"app\": \"{app}\", \"new\": true}}");
        let direct = Conversation::begin(&server.paths.socket(), "status", &format!("{request}\n")).finish();
        let relayed = relay(&server.paths, app, "status", &request).stdout;
        let last = relayed.split(|byte| *byte == b'\n').rfind(|line| !line.is_empty()).expect("a line");
        let Ok(Event::Result(relayed)) = Event::parse(last) else { panic!("{last:?}") };
        for end in [&direct.outcome.end, &relayed.end] {
            refused(end, RefusalCode::Protocol);
        }
    }
    // A word that only a newer action knows.
    let printed = relay(&server.paths, app, "promote", "{}").stdout;
    let Ok(Event::Result(printed)) = Event::parse(printed.trim_ascii_end()) else { panic!("{printed:?}") };
    let message = refused(&printed.end, RefusalCode::NewerRequest);
    assert!(!message.contains("promote"), "{message}");
}
