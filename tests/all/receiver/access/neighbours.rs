//! What one application, and whoever has its key, can do to the others on its server: nothing.

use std::io::{BufRead as _, BufReader};
use std::process::{Child, ChildStdout, Command, Stdio};

use autotag_protocol::{Body, Deploy, End, Event, Outcome, RefusalCode, Request};
use autotag_receiver::lock::{Lock, holder};
use autotag_receiver::paths::{GROUP, USER_PREFIX};

use crate::receiver::crashes::docker_socket::DockerSocket;
use crate::receiver::crashes::held::{one_of_the_right_version, refused};
use testkit::programs::receiver;
use testkit::server::{Images, Server, deploy, deployment_id, docker};

/// The number of the group [`GROUP`] below a directory that stands for `/`. Nobody on this machine has it.
const GROUP_NUMBER: u32 = 54_000;

const STATUS: Body = Body::Status { deployment: None };

/// A server with two applications, to each of which belongs a user that can ask as nobody but itself. Docker
/// makes no container as long as it is held.
struct Site {
    images: Images,
    docker: DockerSocket,
    server: Server,
    other: Server,
}

impl Site {
    fn held() -> Self {
        let (images, docker) = (Images::start(), DockerSocket::new());
        let mut server = Server::on_docker(&docker.path);
        let other = server.neighbour();
        for site in [&server, &other] {
            site.app_file(images.name(), "");
        }
        let users = [&server, &other].map(user_of).concat();
        let_in(&mut server, &users);
        docker.hold_creations(true);
        Self { images, docker, server, other }
    }

    /// A request to deploy one and the same version.
    fn deploy(&self) -> Deploy {
        deploy(self.images.name(), "1.0.0", &self.images.push("1.0.0"))
    }
}

/// Asks as the application's user, by the relay.
pub fn by_key(server: &Server, body: Body) -> Relay {
    Relay::start(server, &Request { app: server.app.clone(), body })
}

/// Lets the key of a server's application in.
pub fn let_key_in(server: &mut Server) {
    let users = user_of(server);
    let_in(server, &users);
}

/// The line of passwd(5) of an application's user.
fn user_of(server: &Server) -> String {
    format!("{USER_PREFIX}{}:*:{}:{GROUP_NUMBER}::/:/bin/sh\n", server.app, number_of(server))
}

fn let_in(server: &mut Server, users: &str) {
    let append = |path, text: &str| {
        let before = std::fs::read_to_string(&path).expect("a file");
        std::fs::write(path, before + text).expect("a file");
    };
    append(server.paths.passwd(), users);
    append(server.paths.group(), &format!("{GROUP}:x:{GROUP_NUMBER}:\n"));
    // Where another user can run it.
    let program = server.paths.program();
    std::fs::create_dir_all(program.parent().expect("a directory")).expect("a directory");
    std::fs::copy(receiver(), program).expect("the program");
    // It gives its socket to the group when it starts.
    server.kill_serve();
    server.start_serve();
}

/// The number of an application's user, which differs from its neighbour's.
fn number_of(server: &Server) -> u32 {
    GROUP_NUMBER + u32::from(server.port)
}

/// The relay as a program, as sshd starts it for an application's user who asks for the status.
pub fn as_key(server: &Server) -> Command {
    let user = number_of(server).to_string();
    let mut command = Command::new("setpriv");
    command
        .args(["--reuid", &user, "--regid", &GROUP_NUMBER.to_string(), "--clear-groups"])
        .arg(server.paths.program())
        .arg("receive")
        .arg("--root")
        .arg(server.paths.root())
        .args(["--app", server.app.as_str()])
        .env("SSH_ORIGINAL_COMMAND", "status")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null());
    command
}

/// The relay, at work.
pub struct Relay {
    child: Child,
    lines: std::io::Lines<BufReader<ChildStdout>>,
}

impl Relay {
    fn start(server: &Server, request: &Request) -> Self {
        let mut child = as_key(server)
            .env("SSH_ORIGINAL_COMMAND", request.word().as_str())
            .spawn()
            .expect("setpriv (Debian package util-linux)");
        let line = request.to_line().expect("a request");
        let mut input = child.stdin.take().expect("piped");
        std::io::Write::write_all(&mut input, line.reveal().as_bytes()).expect("a request");
        let lines = BufReader::new(child.stdout.take().expect("piped")).lines();
        Self { child, lines }
    }

    /// The next answer that is no heartbeat.
    #[track_caller]
    pub fn next(&mut self) -> Event {
        loop {
            let line = self.lines.next().expect("it ended without a result").expect("a line");
            match Event::parse(line.as_bytes()).expect("an answer") {
                Event::Heartbeat {} => {}
                answer => return answer,
            }
        }
    }

    /// The result.
    #[track_caller]
    pub fn finish(&mut self) -> Outcome {
        loop {
            if let Event::Result(outcome) = self.next() {
                return *outcome;
            }
        }
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        // One that has ended is no fault.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The end that an answer tells of, if it is the last one.
fn end_of(answer: &Event) -> Option<&End> {
    match answer {
        Event::Result(outcome) => Some(&outcome.end),
        _ => None,
    }
}

// invariant one-door: One key's crowd shuts out nobody else; broken by: `crates/receiver/src/serve/connection_limit.rs`:
//   all users share the paths
#[test]
fn one_keys_sessions_shut_out_nobody_else() {
    let site = Site::held();
    let request = Body::Deploy(Box::new(site.deploy()));
    // They read one line each, and then no more.
    let mut crowd: Vec<(Relay, Event)> = Vec::new();
    for _ in 0..70 {
        let mut relay = by_key(&site.server, request.clone());
        let first = relay.next();
        crowd.push((relay, first));
    }
    assert_eq!(site.server.status().busy.map(|holder| holder.purpose).as_deref(), Some("deploy 1.0.0"));
    assert_eq!(by_key(&site.other, STATUS).finish().end, End::Reported {});

    let (follow, too_many): (Vec<_>, Vec<_>) =
        crowd.into_iter().partition(|(_, first)| end_of(first).is_none());
    assert_eq!((follow.len(), too_many.len()), (32, 38));
    for (_, first) in &too_many {
        refused(end_of(first).expect("a result"), RefusalCode::Busy);
    }
    refused(end_of(&by_key(&site.server, STATUS).next()).expect("a result"), RefusalCode::Busy);

    site.docker.hold_creations(false);
    for (mut relay, _) in follow {
        assert_eq!(relay.finish().end, End::Deployed {});
    }
    site.server
        .until("its paths are free again", || by_key(&site.server, STATUS).finish().end == End::Reported {});
}

// invariant one-door: Changes that wait are bounded, and the owner is not refused for them; broken by:
//   `crates/receiver/src/serve/session.rs`: an application's key has no bound either
#[test]
fn queued_changes_are_limited_but_not_for_root() {
    let site = Site::held();
    let request = site.deploy();
    let anew = || Deploy { deployment: deployment_id(), ..request.clone() };
    let mut first = by_key(&site.server, Body::Deploy(Box::new(request.clone())));
    first.next();
    // Their callers go away, and they wait on.
    for _ in 1..16 {
        let reported = by_key(&site.server, Body::Deploy(Box::new(anew()))).next();
        assert!(matches!(reported, Event::Waiting { .. }), "{reported:?}");
    }
    let one_more = by_key(&site.server, Body::Deploy(Box::new(anew()))).next();
    refused(end_of(&one_more).expect("it is not taken"), RefusalCode::Busy);
    // What is at work is found again, another application has its own, and the owner is never too many.
    let mut again = by_key(&site.server, Body::Deploy(Box::new(request.clone())));
    assert_eq!(end_of(&again.next()), None);
    let mut others = by_key(&site.other, Body::Deploy(Box::new(anew())));
    assert_eq!(end_of(&others.next()), None);
    let mut roots = site.server.ask(Body::Deploy(Box::new(anew())));
    roots.until(|answer| matches!(answer, Event::Waiting { .. }));

    site.docker.hold_creations(false);
    assert_eq!(first.finish().end, End::Deployed {});
    assert_eq!(again.finish().end, End::Deployed {});
    assert_eq!(others.finish().end, End::Deployed {});
    roots.finish().ended(&End::Unchanged {});
    assert_eq!(site.server.history().len(), 1, "those that waited had nothing to do");
}

// invariant one-door: A retry that hangs keeps no other application waiting; broken by:
//   `crates/receiver/src/serve/reconcile.rs`: one after another
/// Both were left unfinished, and one's try does not come to its end.
#[test]
fn retrying_one_application_delays_no_other() {
    let images = Images::start();
    let mut server = Server::start();
    let other = server.neighbour();
    for site in [&server, &other] {
        site.app_file(images.name(), "");
        site.deploy(deploy(images.name(), "1.0.0", &images.push("1.0.0"))).ended(&End::Deployed {});
    }
    server.kill_serve();
    let state = |site: &Server| site.paths.state(&site.app).join("state.json");
    let kept = [&server, &other].map(|site| std::fs::read(state(site)).expect("a state"));
    for site in [&server, &other] {
        docker(&["stop", "--time", "0", &site.containers().concat()]);
        std::fs::write(state(site), "{").expect("a state that is broken");
    }
    server.start_serve();
    let repair = |site: &Server, kept: &[u8]| {
        // As the receiver does it: a try finds either.
        let beside = state(site).with_extension("mended");
        std::fs::write(&beside, kept).expect("a file");
        std::fs::rename(beside, state(site)).expect("a state");
    };
    let failed = |site: &Server| {
        let log = std::fs::read_to_string(server.directory.path().join("serve.log")).expect("a log");
        let lines = log.lines().filter(|line| line.contains("is not certain that the right version serves"));
        lines.filter(|line| line.contains(&format!("\"{}\"", site.app))).count()
    };
    server.until("both wait to be tried again", || failed(&server) > 0 && failed(&other) > 0);

    // They are tried in the order of their names; the first one's try waits from now on.
    let ((stuck, its), (free, others)) = if server.app < other.app {
        ((&server, &kept[0]), (&other, &kept[1]))
    } else {
        ((&other, &kept[1]), (&server, &kept[0]))
    };
    let lock = Lock::take(&stuck.paths.lock(&stuck.app), &holder("test", None), |_| ()).expect("its lock");
    repair(free, others);
    server.until("the other one is brought back", || free.containers().len() == 1);
    repair(stuck, its);
    assert_eq!(stuck.containers(), [""; 0], "its try waits");
    drop(lock);
    server.until("and the first one", || stuck.containers().len() == 1);
    for site in [&server, &other] {
        server.until("both serve", || site.get("/").0 == 200);
        one_of_the_right_version(site, "after the tries");
    }
}
