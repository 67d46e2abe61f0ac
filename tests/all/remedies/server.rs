//! What goes wrong on the server: the real receiver, Docker and proxy, by way of sshd.

use std::os::unix::net::UnixListener;
use std::path::Path;

use autotag_model::git::ObjectId;
use autotag_model::help::Topic;
use autotag_model::reference::Digest;

use super::annotated;
use crate::action::release::Project;
use crate::action::workflow::{Finished, Run, Workflow};
use crate::receiver::crashes::disks::{Mounted, fill};
use crate::receiver::deployments::end_to_end::Way;
use testkit::github::Double;
use testkit::registry::{Auth, Registry};
use testkit::server::docker;

/// A server on which 0.0.1 serves, and a version 0.0.2 that is published.
struct Served {
    way: Way,
    commit: ObjectId,
    first: Digest,
}

impl Served {
    fn new() -> Self {
        let way = Way::open();
        let one = way.project.merge("one");
        let first = way.pushed(&one, "0.0.1", &[]);
        way.release(&one, &first, way.sshd.port()).finish().ended("released");
        let served = Self { commit: one, way, first };
        served.publish("0.0.2", &[]);
        served
    }

    /// Publishes a version, and deploys it nowhere.
    fn publish(&self, version: &str, environment: &[(&str, &str)]) {
        let commit = self.way.project.merge("more");
        let digest = self.way.pushed(&commit, version, environment);
        let run = self.way.project.workflow.push(&commit).without_docker();
        run.with("image-digest", digest.as_str()).with("version", version).finish().ended("released");
    }

    /// A deployment of this version.
    fn deploy(&self, version: &str) -> Run {
        self.way.run(&self.commit, self.way.sshd.port()).with("command", "deploy").with("version", version)
    }

    fn file(&self) -> std::path::PathBuf {
        self.way.server.paths.app_file(&self.way.server.app)
    }

    /// The app file with another line for a field; gives what it was.
    fn with_line(&self, field: &str, line: &str) -> String {
        let before = std::fs::read_to_string(self.file()).expect("the app file");
        let rest = before.lines().filter(|other| !other.starts_with(field));
        let text = rest.chain([line]).fold(String::new(), |text, line| text + line + "\n");
        std::fs::write(self.file(), text).expect("the app file");
        before
    }

    #[track_caller]
    fn reported(&self, run: &Finished, topic: Topic, name: &str) {
        reported(&self.way, run, topic, name);
        assert!(self.way.server.get("/").1.starts_with("0.0.1 "), "0.0.1 serves: {run}");
    }
}

#[track_caller]
fn reported(way: &Way, run: &Finished, topic: Topic, name: &str) {
    let directory = way.server.directory.path().to_string_lossy().into_owned();
    let replaced = [
        (way.project.registry.host(), "REGISTRY"),
        (directory.as_str(), "DIRECTORY"),
        (way.user.name(), "autotag-app"),
        (way.server.app.as_str(), "app"),
    ];
    annotated(run, 7, topic, name, &replaced);
}

// invariant failures-are-explained: What a server does not say is not made up; broken by:
//   `src/deploy/host_sequence/mod.rs`: a refusal without a state tells of nothing that serves
#[test]
fn what_the_app_file_does_not_allow() {
    let served = Served::new();
    let run = served.deploy("0.0.2").with("deploy-app", "shop").finish();
    served.reported(&run, Topic::NoApplication, "no_application");
    let run = served.deploy("0.0.2").with("deploy-environment", "STRANGE=1").finish();
    served.reported(&run, Topic::Variable, "variable");
    let before = served.with_line("image:", "image: ghcr.io/org/other");
    let run = served.deploy("0.0.2").finish();
    served.reported(&run, Topic::OtherImage, "other_image");
    std::fs::write(served.file(), before + "drian: 5s\n").expect("the app file");
    let run = served.deploy("0.0.2").finish();
    served.reported(&run, Topic::AppFile, "app_file");
}

// invariant failures-are-explained: Each failure on a server has its section; broken by:
//   `crates/protocol/src/remedies.rs`: a port in use has no section
#[test]
fn versions_that_do_not_work() {
    let served = Served::new();
    served.publish("0.0.3", &[("FAIL_HEALTH", "always")]);
    let run = served.deploy("0.0.3").finish();
    served.reported(&run, Topic::Unhealthy, "unhealthy");
    served.publish("0.0.4", &[("CRASH_AFTER_MS", "1")]);
    // Otherwise it is chance whether Docker has started it again when it is looked at.
    let before = served.with_line("restart:", "restart: \"no\"");
    let run = served.deploy("0.0.4").finish();
    served.reported(&run, Topic::Unhealthy, "ended_at_once");
    std::fs::write(served.file(), before).expect("the app file");
    let before = served.with_line("smoke:", "smoke: [{path: /, contains: Welcome}]");
    let run = served.deploy("0.0.2").finish();
    served.reported(&run, Topic::SmokeTest, "smoke_test");
    std::fs::write(served.file(), before).expect("the app file");

    let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let before = served.with_line("listen:", &format!("listen: {}", taken.local_addr().expect("an address")));
    let run = served.deploy("0.0.2").finish();
    served.reported(&run, Topic::PortInUse, "port_in_use");
    std::fs::write(served.file(), before).expect("the app file");

    let run = served.deploy("0.0.2").with("command", "rollback").with("version", "7.0.0").finish();
    served.reported(&run, Topic::NotRecorded, "not_recorded");
}

/// That something newer is live is told, and is no failure.
#[test]
fn a_version_that_comes_too_late() {
    let served = Served::new();
    served.deploy("0.0.2").finish().ended("deployed");
    let run = served.deploy("0.0.1").finish().ended("superseded");
    let notices = run.annotations("notice");
    assert!(notices.len() == 1 && run.annotations("error").is_empty(), "{run}");
    let (_, text) = super::text_of(notices[0]);
    assert!(text.ends_with(&Topic::NewerIsLive.link()), "{text}");
    insta::assert_snapshot!("newer_is_live", text);
    // Back to what is gone on the server and in the registry.
    let name = served.way.project.image().with_digest(&served.first);
    served.way.project.registry.remove_manifest("org/app", &served.first);
    let go_back = || {
        docker(&["image", "rm", &name]);
        served.deploy("0.0.1").with("command", "rollback").finish()
    };
    let mut run = go_back();
    // Docker keeps the manifests that it pulled in a cache for a moment, and then needs no registry.
    for _ in 0..5 {
        if run.code == Some(0) {
            served.deploy("0.0.2").with("deploy-allow-downgrade", "true").finish().ended("deployed");
            run = go_back();
        }
    }
    reported(&served.way, &run, Topic::NoImage, "image_gone");
}

#[test]
fn a_server_with_a_full_disk_or_a_stopped_docker() {
    let mut served = Served::new();
    let directory = served.way.server.paths.state(&served.way.server.app);
    let full = small_disk(&directory);
    let filler = fill(&directory, 0);
    let run = served.deploy("0.0.2").finish();
    served.reported(&run, Topic::DiskFull, "disk_full");
    std::fs::remove_file(filler).expect("room again");
    drop(full);
    std::fs::remove_dir(&directory).expect("the place of the small one");
    std::fs::rename(directory.with_extension("aside"), &directory).expect("back");
    // A socket whose daemon was killed.
    let socket = served.way.server.directory.path().join("docker.sock");
    drop(UnixListener::bind(&socket).expect("a socket"));
    served.way.server.look_for_docker_at(&socket);
    let run = served.deploy("0.0.2").finish();
    served.reported(&run, Topic::ServerDocker, "server_docker");
    served.way.server.kill_serve();
    let run = served.deploy("0.0.2").finish();
    served.reported(&run, Topic::NoReceiver, "receiver_stopped");
}

/// The directory as it is, on a file system of its own that is small.
fn small_disk(directory: &Path) -> Mounted {
    let aside = directory.with_extension("aside");
    std::fs::rename(directory, &aside).expect("aside");
    let mounted = Mounted::small(directory);
    let copied = std::process::Command::new("cp").arg("-a").arg(aside.join(".")).arg(directory).status();
    assert!(copied.expect("cp").success(), "the state moves");
    mounted
}

#[test]
fn an_image_that_the_server_may_not_pull() {
    let (github, registry) = (Double::start(), Registry::start(&Auth::basic("bot", "right-password")));
    let workflow = Workflow::new(&github.url())
        .with("image", &registry.image("org/app").to_string())
        .with("registry-username", "bot")
        .with("registry-password", "right-password");
    let way = Way::of(Project { github, registry, workflow });
    let commit = way.project.merge("one");
    let digest = way.pushed(&commit, "0.0.1", &[]);
    let run = way.release(&commit, &digest, way.sshd.port()).finish();
    reported(&way, &run, Topic::PullRefused, "pull_refused");
    let run = way.release(&commit, &digest, way.sshd.port());
    let run = run
        .with("deploy-registry-username", "bot")
        .with("deploy-registry-password", "wr0ng-password")
        .finish();
    reported(&way, &run, Topic::PullRefused, "pull_login_wrong");
}
