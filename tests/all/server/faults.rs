//! The host fails: Docker is away, the disk is full, the app file is broken. The old version serves on.

use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use autotag_deploy::deploy::protocol::{Answer, Because, Body, End, Milestone};

use crate::support::server::{Conversation, Images, Server, deploy};

/// Docker's socket under another name, which can be taken away.
struct Away {
    path: PathBuf,
    gone: Arc<AtomicBool>,
    _folder: tempfile::TempDir,
}

impl Away {
    fn new() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("docker.sock");
        let listener = UnixListener::bind(&path).expect("a socket");
        let gone = Arc::new(AtomicBool::new(false));
        let flag = Arc::clone(&gone);
        std::thread::spawn(move || {
            for client in listener.incoming() {
                let (Ok(client), false) = (client, flag.load(Ordering::SeqCst)) else { continue };
                let docker = UnixStream::connect("/var/run/docker.sock").expect("these tests need Docker");
                copy(&client, &docker);
                copy(&docker, &client);
            }
        });
        Self { path, gone, _folder: folder }
    }

    fn set(&self, away: bool) {
        self.gone.store(away, Ordering::SeqCst);
    }
}

fn copy(from: &UnixStream, to: &UnixStream) {
    let (mut from, mut to) = (from.try_clone().expect("a socket"), to.try_clone().expect("a socket"));
    std::thread::spawn(move || {
        // Its end is the other side's end, whatever the reason.
        let _ = std::io::copy(&mut from, &mut to);
        let _ = to.shutdown(std::net::Shutdown::Write);
    });
}

#[track_caller]
fn refused(end: &End, expected: Because) -> String {
    match end {
        End::Refused { because, message } if *because == expected => message.clone(),
        other => panic!("expected a refusal for {expected:?}: {other:?}"),
    }
}

#[test]
fn while_docker_is_away_nothing_is_begun() {
    let images = Images::start();
    let docker = Away::new();
    let server = Server::on_docker(&docker.path);
    server.app_file(images.name(), "");
    let (one, two) = (images.push("1.0.0"), images.push("1.0.1"));
    server.deploy(deploy(images.name(), "1.0.0", &one)).ended(&End::Deployed {});
    docker.set(true);
    let told = server.deploy(deploy(images.name(), "1.0.1", &two));
    let message = refused(&told.outcome.end, Because::Host);
    assert!(message.contains("Docker") && message.contains("what runs goes on"), "{message}");
    assert!(server.get("/").1.contains("1.0.0"));
    assert!(server.status().drift.iter().any(|text| text.contains("Docker")), "{:?}", server.status().drift);
    docker.set(false);
    server.deploy(deploy(images.name(), "1.0.1", &two)).ended(&End::Deployed {});
}

#[test]
fn where_docker_goes_away_in_the_middle_the_old_one_serves_and_the_rest_is_done_later() {
    let images = Images::start();
    let docker = Away::new();
    let server = Server::on_docker(&docker.path);
    server.app_file(images.name(), "health: {path: /healthz, deadline: 2s, stable: 1s}\n");
    let (one, two) = (images.push("1.0.0"), images.push("1.0.1"));
    server.deploy(deploy(images.name(), "1.0.0", &one)).ended(&End::Deployed {});
    let mut conversation = server.ask(Body::Deploy(Box::new(deploy(images.name(), "1.0.1", &two))));
    conversation.until(|answer| *answer == Answer::StepStarted { step: Milestone::Health });
    docker.set(true);
    let told = conversation.told();
    assert!(matches!(told.outcome.end, End::Failed { step: Milestone::Health, .. }), "{}", told.text());
    assert!(server.get("/").1.contains("1.0.0"), "the old one serves");
    docker.set(false);
    server.until("the new one is removed", || server.container_versions() == ["1.0.0"]);
    server.deploy(deploy(images.name(), "1.0.1", &two));
}

#[test]
fn a_broken_app_file_is_told_with_all_its_faults() {
    let images = Images::start();
    let server = Server::start();
    server.app_file(images.name(), "");
    let (one, two) = (images.push("1.0.0"), images.push("1.0.1"));
    server.deploy(deploy(images.name(), "1.0.0", &one)).ended(&End::Deployed {});
    let text = std::fs::read_to_string(server.layout.app_file(&server.app)).expect("the app file");
    std::fs::write(server.layout.app_file(&server.app), format!("{text}prot: 1\nkeep: many\n")).expect("it");
    let told = server.deploy(deploy(images.name(), "1.0.1", &two));
    let message = refused(&told.outcome.end, Because::AppFile);
    assert!(message.contains("`prot`") && message.contains("`keep`"), "{message}");
    assert!(server.get("/").1.contains("1.0.0"));
}

#[test]
fn without_its_proxy_nothing_is_begun_and_a_new_proxy_is_told_everything() {
    let images = Images::start();
    let mut server = Server::start();
    server.app_file(images.name(), "");
    let (one, two) = (images.push("1.0.0"), images.push("1.0.1"));
    server.deploy(deploy(images.name(), "1.0.0", &one)).ended(&End::Deployed {});
    server.kill_proxy();
    let told = server.deploy(deploy(images.name(), "1.0.1", &two));
    let message = refused(&told.outcome.end, Because::Host);
    assert!(message.contains("proxy") && message.contains("autotag-proxy"), "{message}");
    assert_eq!(server.container_versions(), ["1.0.0"]);
    server.start_proxy();
    let address = ("127.0.0.1", server.port);
    server.until("the proxy listens again", || std::net::TcpStream::connect(address).is_ok());
    assert!(server.get("/").1.contains("1.0.0"));
    server.deploy(deploy(images.name(), "1.0.1", &two)).ended(&End::Deployed {});
}

/// A small file system of its own, on the folder of the state.
struct SmallDisk(PathBuf);

impl SmallDisk {
    fn mount(path: &Path) -> Self {
        std::fs::create_dir_all(path).expect("a folder");
        let mounted = Command::new("mount")
            .args(["-t", "tmpfs", "-o", "size=64k,mode=700", "tmpfs"])
            .arg(path)
            .status()
            .expect("mount");
        assert!(mounted.success(), "this test mounts a tmpfs, which only root can");
        Self(path.to_owned())
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg(&self.0).status();
    }
}

#[test]
fn a_full_disk_is_told_and_the_old_one_serves() {
    let images = Images::start();
    let server = Server::start();
    let folder = server.layout.state(&server.app);
    let _disk = SmallDisk::mount(&folder);
    server.app_file(images.name(), "");
    let (one, two) = (images.push("1.0.0"), images.push("1.0.1"));
    server.deploy(deploy(images.name(), "1.0.0", &one)).ended(&End::Deployed {});
    let state = std::fs::read(folder.join("state.json")).expect("the state");
    let filler = folder.join("filler");
    // Until nothing fits any more.
    let _ = std::fs::write(&filler, vec![0; 1 << 20]);
    let told = server.deploy(deploy(images.name(), "1.0.1", &two));
    let (End::Refused { message, .. } | End::Failed { message, .. }) = &told.outcome.end else {
        panic!("{}", told.text())
    };
    assert!(message.contains("No space left"), "{message}");
    assert!(server.get("/").1.contains("1.0.0"));
    assert_eq!(std::fs::read(folder.join("state.json")).expect("the state"), state, "it is whole");
    std::fs::remove_file(filler).expect("room again");
    server.deploy(deploy(images.name(), "1.0.1", &two)).ended(&End::Deployed {});
}

#[test]
fn requests_that_are_none_are_refused_without_an_echo() {
    let server = Server::start();
    std::fs::write(server.layout.app_file(&server.app), "image: x.io/app\n").expect("an app file");
    let socket = server.layout.socket();
    let long = "x".repeat(300_000);
    for (word, request, because) in [
        ("deploy", "{\"secret\": \"hunter2\"}\n", Because::Malformed),
        ("sh", "{}\n", Because::Malformed),
        ("deploy", "\n", Because::Malformed),
        ("status", &format!("{long}\n"), Because::Malformed),
        ("deploy", "{\"protocol\": 99, \"app\": \"x\"}\n", Because::Protocol),
        (
            "deploy",
            "{\"protocol\": 1, \"app\": \"nobody\", \"request\": {\"status\": {}}}\n",
            Because::Malformed,
        ),
        ("status", "{\"protocol\": 1, \"app\": \"nobody\", \"request\": {\"status\": {}}}\n", Because::App),
    ] {
        let told = Conversation::begin(&socket, word, request).told();
        let message = refused(&told.outcome.end, because);
        assert!(!message.contains("hunter2") && message.len() < 1000, "{message}");
    }
    // And it answers on.
    assert!(server.status().running.is_none());
}
