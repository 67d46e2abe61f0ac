//! The disk fails, or what is on it is broken: nothing is guessed, nothing is lost, the old one serves.

use std::path::{Path, PathBuf};
use std::process::Command;

use autotag_protocol::{Body, End, RefusalCode, RolloutStep};
use autotag_receiver::state::Phase;
use autotag_receiver::state::journal::What;

use crate::receiver::crashes::held::{at_moment, one_of_the_right_version, refused, settled};
use crate::receiver::crashes::tracer::Tracer;
use testkit::server::{Images, Server, Transcript, deploy, docker};

const QUICK: &str = "health: {path: /healthz, deadline: 20s, stable: 100ms}\n";

/// Something that is mounted, until this is dropped.
pub struct Mounted(PathBuf);

impl Mounted {
    fn new(arguments: &[&str], at: &Path) -> Self {
        let mounted = Command::new("mount").args(arguments).arg(at).status().expect("mount");
        assert!(mounted.success(), "this test mounts, which only root can");
        Self(at.to_owned())
    }

    /// A small file system of its own.
    pub fn small(at: &Path) -> Self {
        std::fs::create_dir_all(at).expect("a directory");
        Self::new(&["-t", "tmpfs", "-o", "size=512k,mode=700", "tmpfs"], at)
    }

    /// A file on itself: it is read as before, and nothing can take its place by `rename`.
    fn pinned(file: &Path) -> Self {
        Self::new(&["--bind", &file.to_string_lossy()], file)
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg(&self.0).status();
    }
}

/// Takes all room but so many pages; gives the file whose removal makes room again.
pub fn fill(directory: &Path, pages_left: u64) -> PathBuf {
    let filler = directory.join("filler");
    // Until nothing fits any more.
    let _ = std::fs::write(&filler, vec![0; 1 << 20]);
    let file = std::fs::OpenOptions::new().write(true).open(&filler).expect("it was begun");
    let size = file.metadata().expect("its size").len();
    file.set_len(size.saturating_sub(pages_left * 4096)).expect("some pages back");
    filler
}

/// 1.0.0 serves, on a state's directory to which this was done first.
fn set_up<T>(first: impl FnOnce(&Path) -> T) -> (Images, Server, T) {
    let images = Images::start();
    let server = Server::start();
    let done = first(&server.paths.state(&server.app));
    server.app_file(images.name(), QUICK);
    let one = images.push("1.0.0");
    server.deploy(deploy(images.name(), "1.0.0", &one)).ended(&End::Deployed {});
    (images, server, done)
}

/// 1.0.0 serves.
fn serving() -> (Images, Server) {
    let (images, server, ()) = set_up(|_| ());
    (images, server)
}

/// The same, with a small file system of its own for the application's state.
fn on_a_small_disk() -> (Images, Server, Mounted) {
    set_up(Mounted::small)
}

#[track_caller]
fn says(reported: &Transcript, words: &str) {
    assert!(reported.text().contains(words), "`{words}` is missing in {}", reported.text());
}

// invariant no-lost-request
#[test]
fn a_full_disk_is_reported_and_the_old_version_serves() {
    let (images, server, _disk) = on_a_small_disk();
    let directory = server.paths.state(&server.app);
    // With more pages left, the deployment comes further before nothing fits any more.
    let (mut patch, mut done) = (0, 0);
    for pages_left in 0.. {
        patch += 1;
        let version = format!("1.0.{patch}");
        let digest = images.push(&version);
        let before = server.state();
        let filler = fill(&directory, pages_left);
        let reported = server.deploy(deploy(images.name(), &version, &digest));
        if reported.outcome.end == (End::Deployed {}) {
            // It had room enough, or was told what is left to do.
            done += 1;
        } else {
            says(&reported, "No space left");
            let version_before = before.active().expect("it serves").release.version.to_string();
            assert!(
                server.get("/").1.starts_with(&version_before),
                "{pages_left} pages left: {}",
                reported.text()
            );
        }
        std::fs::remove_file(filler).expect("room again");
        patch += 1;
        let version = format!("1.0.{patch}");
        let digest = images.push(&version);
        server.deploy(deploy(images.name(), &version, &digest)).ended(&End::Deployed {});
        one_of_the_right_version(&server, &format!("after {pages_left} pages left"));
        if done > 0 {
            assert!(pages_left >= 2, "the first pages did not fill it");
            break;
        }
    }
}

// invariant durable: A full disk is reported; broken by: `crates/receiver/src/state/store.rs`: it is written in
//   place
#[test]
fn a_disk_that_fills_up_leaves_one_version_serving() {
    let (images, server, _disk) = on_a_small_disk();
    let directory = server.paths.state(&server.app);
    let mut patch = 0;
    for step in [
        RolloutStep::Health,
        RolloutStep::Switch,
        RolloutStep::Verify,
        RolloutStep::Drain,
        RolloutStep::Remove,
    ] {
        // On a busy machine the deployment may be over before it is held: then the next one.
        let held = (0..20).any(|_| {
            patch += 2;
            full_at(&server, &images, &directory, step, patch)
        });
        assert!(held, "{step:?} was never met");
    }
}

/// Whether the deployment was held at this step, or one after it, before it was over.
fn full_at(server: &Server, images: &Images, directory: &Path, step: RolloutStep, patch: u64) -> bool {
    let [first, second] = [patch - 1, patch].map(|patch| format!("1.0.{patch}"));
    let digests = [&first, &second].map(|version| images.push(version));
    let begins = |what: &What| matches!(what, What::Began { step: begun } if *begun == step);
    let change = Body::Deploy(Box::new(deploy(images.name(), &first, &digests[0])));
    let (conversation, _) = at_moment(server, change, begins);
    server.freeze_serve();
    let before = server.state();
    if matches!(before.change, Phase::Steady { .. }) {
        server.thaw_serve();
        conversation.finish().ended(&End::Deployed {});
        return false;
    }
    let filler = fill(directory, 0);
    server.thaw_serve();
    let reported = conversation.finish();
    says(&reported, "No space left");
    let expected = match step {
        RolloutStep::Health => before.active().expect("the old one").release.version.to_string(),
        _ => first,
    };
    assert!(server.get("/").1.starts_with(&expected), "{step:?}: {}", reported.text());
    std::fs::remove_file(filler).expect("room again");
    server.deploy(deploy(images.name(), &second, &digests[1])).ended(&End::Deployed {});
    one_of_the_right_version(server, &format!("full at {step:?}"));
    true
}

// invariant durable: A full disk takes nothing away that served; broken by:
//   `crates/receiver/src/lock.rs`: the lock needs its entry to be written
/// Where nothing can be written, what served before a restart serves after it.
#[test]
fn on_a_full_disk_what_was_deployed_is_brought_back() {
    let (_images, mut server, _disk) = on_a_small_disk();
    let directory = server.paths.state(&server.app);
    server.kill_serve();
    server.kill_proxy();
    docker(&["stop", "--time", "1", &server.containers().concat()]);
    let _filler = fill(&directory, 0);
    server.start_proxy();
    server.start_serve();
    let address = ("127.0.0.1", server.port);
    server.until("it is served again", || std::net::TcpStream::connect(address).is_ok());
    assert!(server.get("/").1.starts_with("1.0.0 "), "{}", server.logs());
}

// invariant durable: The state is replaced as a whole; broken by: `crates/receiver/src/state/store.rs`: it is
//   written in place
#[test]
fn the_next_deployment_works_after_an_unwritable_state() {
    let (images, server) = serving();
    let file = server.paths.state(&server.app).join("state.json");
    let mut patch = 0;
    for step in [RolloutStep::Save, RolloutStep::Health, RolloutStep::Verify] {
        let [first, second] = [patch + 1, patch + 2].map(|patch| format!("1.0.{patch}"));
        patch += 2;
        let digests = [&first, &second].map(|version| images.push(version));
        let change = Body::Deploy(Box::new(deploy(images.name(), &first, &digests[0])));
        let (reported, pinned) = if step == RolloutStep::Save {
            let pinned = Mounted::pinned(&file);
            (server.ask(change).finish(), pinned)
        } else {
            let begins = |what: &What| matches!(what, What::Began { step: begun } if *begun == step);
            let (conversation, _) = at_moment(&server, change, begins);
            server.freeze_serve();
            let pinned = Mounted::pinned(&file);
            server.thaw_serve();
            (conversation.finish(), pinned)
        };
        says(&reported, "the state cannot be written");
        drop(pinned);
        server.deploy(deploy(images.name(), &second, &digests[1])).ended(&End::Deployed {});
        one_of_the_right_version(&server, &format!("not in its place at {step:?}"));
    }
}

// invariant durable: What is reported as durable is durable; broken by: `crates/receiver/src/state/store.rs`:
//   no `fsync`
#[test]
fn a_disk_that_loses_writes_leaves_the_old_version_serving() {
    let (images, server) = serving();
    let directory = server.paths.state(&server.app);
    let mut patch = 0;
    // The file before it takes its place, the directory after it has.
    for path in [directory.join("state.json.new"), directory] {
        let [serving, first, second] = [patch, patch + 1, patch + 2].map(|patch| format!("1.0.{patch}"));
        patch += 2;
        let digests = [&first, &second].map(|version| images.push(version));
        let broken = Tracer::no_sync(&server, &path);
        let reported = server.deploy(deploy(images.name(), &first, &digests[0]));
        says(&reported, "Input/output error");
        assert!(!matches!(reported.outcome.end, End::Deployed {}), "{}", reported.text());
        assert!(server.get("/").1.starts_with(&format!("{serving} ")), "{}", path.display());
        drop(broken);
        server.deploy(deploy(images.name(), &second, &digests[1])).ended(&End::Deployed {});
        one_of_the_right_version(&server, "after the disk is well again");
    }
}

// invariant durable: The highest version is never forgotten silently; broken by:
//   `crates/receiver/src/state/missing_state.rs`: a missing state is always one of nothing
// invariant server-order
#[test]
fn a_broken_or_missing_state_is_never_taken_for_none() {
    let (images, mut server) = serving();
    let two = images.push("1.0.1");
    server.deploy(deploy(images.name(), "1.0.1", &two)).ended(&End::Deployed {});
    // It went back, so that what serves is not the highest: nobody could guess it.
    server.roll_back(None, autotag_protocol::Configuration::Today).ended(&End::RolledBack {});
    let directory = server.paths.state(&server.app);
    let (file, journal) = (directory.join("state.json"), directory.join("journal.jsonl"));
    let good = std::fs::read_to_string(&file).expect("the state");
    let containers = server.containers();
    let broken: [(&str, Option<String>); 6] = [
        ("torn", Some(good[..good.len() / 2].to_owned())),
        ("empty", Some(String::new())),
        ("garbage", Some("\u{0}\u{1}".repeat(3000))),
        ("newer", Some(good.replacen("\"format\": 1", "\"format\": 2", 1))),
        ("extended", Some(good.replacen("\"format\": 1", "\"format\": 1, \"zone\": 5", 1))),
        ("missing", None),
    ];
    for (what, text) in &broken {
        server.kill_serve();
        match text {
            Some(text) => std::fs::write(&file, text).expect("written"),
            None => std::fs::remove_file(&file).expect("removed"),
        }
        server.start_serve();
        // 1.0.1 was rolled back, and 1.0.0 is below it.
        for reported in [
            server.deploy(deploy(images.name(), "1.0.1", &two)),
            server.roll_back(Some("1.0.1"), autotag_protocol::Configuration::Today),
            server.ask(Body::Status { deployment: None }).finish(),
        ] {
            let message = refused(&reported.outcome.end, RefusalCode::HostState);
            assert!(message.contains("state.json"), "{what}: {message}");
        }
        assert_eq!(server.containers(), containers, "{what}: nothing was touched");
        assert!(server.get("/").1.starts_with("1.0.0 "), "{what}: it serves on");
        let now = std::fs::read_to_string(&file).ok();
        assert_eq!(now, *text, "{what}: the evidence is left as it is");
    }
    // Without its container the journal tells that there was one, too.
    docker(&["rm", "--force", &containers.concat()]);
    let message =
        refused(&server.deploy(deploy(images.name(), "1.0.1", &two)).outcome.end, RefusalCode::HostState);
    assert!(message.contains("journal.jsonl"), "{message}");
    // To begin anew, as the message says.
    std::fs::rename(&journal, directory.join("old-journal")).expect("moved away");
    server.deploy(deploy(images.name(), "1.0.1", &two)).ended(&End::Deployed {});
    one_of_the_right_version(&server, "begun anew");
}

#[test]
fn a_restored_state_goes_on_where_it_was() {
    let (images, mut server) = serving();
    let file = server.paths.state(&server.app).join("state.json");
    let good = std::fs::read(&file).expect("the state");
    server.kill_serve();
    std::fs::remove_file(&file).expect("removed");
    server.start_serve();
    let two = images.push("1.0.1");
    refused(&server.deploy(deploy(images.name(), "1.0.1", &two)).outcome.end, RefusalCode::HostState);
    std::fs::write(&file, good).expect("restored");
    server.deploy(deploy(images.name(), "1.0.1", &two)).ended(&End::Deployed {});
    one_of_the_right_version(&server, "restored");
}

#[test]
fn nothing_rests_on_the_journal() {
    let (images, mut server) = serving();
    let journal = server.paths.journal(&server.app);
    let whole = std::fs::read(&journal).expect("the journal");
    let garbage = b"\xff\xfe{\"at\": 1}\n\n[]\nnull\n".repeat(2000);
    let broken: [(&str, Option<Vec<u8>>); 5] = [
        ("truncated", Some(whole[..whole.len() / 3].to_vec())),
        ("torn", Some([&whole[..], &whole[..17]].concat())),
        ("garbage", Some(garbage)),
        ("empty", Some(Vec::new())),
        ("missing", None),
    ];
    for (patch, (what, text)) in broken.iter().enumerate() {
        server.kill_serve();
        match text {
            Some(text) => std::fs::write(&journal, text).expect("written"),
            None => std::fs::remove_file(&journal).expect("removed"),
        }
        server.start_serve();
        let version = format!("1.0.{}", patch + 1);
        let digest = images.push(&version);
        server.deploy(deploy(images.name(), &version, &digest)).ended(&End::Deployed {});
        one_of_the_right_version(&server, what);
        assert_eq!(server.history().len(), patch + 2, "{what}: the history is the state's");
        let last = server.journal().pop().expect("it is written again").what;
        assert!(matches!(last, What::Answered { end: End::Deployed {} }), "{what}: {last:?}");
    }
    // Where none can be written at all, it is told, and nothing else.
    server.kill_serve();
    std::fs::remove_file(&journal).expect("removed");
    std::fs::create_dir(&journal).expect("a directory in its place");
    server.start_serve();
    settled(&server);
    let digest = images.push("1.1.0");
    let reported = server.deploy(deploy(images.name(), "1.1.0", &digest)).ended(&End::Deployed {});
    says(&reported, "the journal cannot be opened");
}
