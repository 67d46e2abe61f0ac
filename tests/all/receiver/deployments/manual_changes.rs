//! Somebody works at the same containers by hand, between two steps of a deployment.
//!
//! `serve` is held (SIGSTOP) while it happens, so that it happens where it is said to. What was broken by hand
//! may fail; it is named, and the next deployment ends with one container of the right version.

use autotag_protocol::{Body, Deploy, End, Event, FailureCode, RolloutStep};
use autotag_receiver::lock::{Lock, holder};
use autotag_receiver::state::journal::What;

use crate::receiver::crashes::docker_socket::DockerSocket;
use crate::receiver::crashes::held::{at_moment, one_of_the_right_version, settled};
use testkit::server::{Images, Server, Transcript, deploy, docker, lines};

const QUICK: &str =
    "health: {path: /healthz, deadline: 6s, stable: 300ms}\nstop_grace_period: 1s\ndrain: 1s\n";

/// A server on which 1.0.0 serves, and the number of the next version.
struct Site {
    images: Images,
    server: Server,
    patch: u64,
}

impl Site {
    fn serving(app_file: &str) -> Self {
        let mut site = Self { images: Images::start(), server: Server::start(), patch: 0 };
        site.server.app_file(site.images.name(), app_file);
        site.next_one_works("first");
        site
    }

    fn request(&mut self) -> Deploy {
        let version = format!("1.0.{}", self.patch);
        self.patch += 1;
        deploy(self.images.name(), &version, &self.images.push(&version))
    }

    #[track_caller]
    fn next_one_works(&mut self, when: &str) {
        let request = self.request();
        let reported = self.server.deploy(request.clone());
        assert_eq!(reported.outcome.end, End::Deployed {}, "{when}: {}", reported.text());
        let state = one_of_the_right_version(&self.server, when);
        assert_eq!(state.active().expect("it serves").release.version, request.version, "{when}");
        assert_eq!(self.server.status().drift, [""; 0], "{when}");
    }

    /// Deploys, and does this where that step begins: to the old container, and the new one if there is one.
    fn meddle(&mut self, step: RolloutStep, deed: impl FnOnce(&Server, &str, &str)) -> Transcript {
        let request = self.request();
        let old = self.server.containers().concat();
        let begins = |what: &What| matches!(what, What::Began { step: begun } if *begun == step);
        let (conversation, _) = at_moment(&self.server, Body::Deploy(Box::new(request.clone())), begins);
        self.server.freeze_serve();
        let label = format!("label=autotag-deploy.deployment={}", request.deployment);
        let new = docker(&["ps", "--all", "--quiet", "--no-trunc", "--filter", &label]);
        deed(&self.server, &old, new.trim());
        self.server.thaw_serve();
        conversation.finish()
    }

    /// The network of the application's own, from under its containers.
    fn take_network(server: &Server) {
        let network = format!("autotag-{}", server.app);
        for container in server.containers() {
            docker(&["network", "disconnect", "--force", &network, &container]);
        }
        docker(&["network", "rm", &network]);
        let left = docker(&["network", "ls", "--quiet", "--filter", &format!("name={network}")]);
        assert_eq!(lines(&left), [""; 0], "it is gone");
    }
}

#[track_caller]
fn failed(reported: &Transcript, expected: FailureCode) {
    let End::Failed { code, .. } = &reported.outcome.end else { panic!("{}", reported.text()) };
    assert_eq!(*code, expected, "{}", reported.text());
}

#[test]
fn tampering_with_the_new_container_keeps_the_old_one_serving() {
    let mut site = Site::serving(QUICK);
    for (deed, code) in [
        ("rm --force", FailureCode::ContainerGone),
        ("kill", FailureCode::Exited),
        ("pause", FailureCode::Unhealthy),
    ] {
        let serving = site.server.state().active().expect("it serves").release.version.to_string();
        let reported = site.meddle(RolloutStep::Health, |_, _, new| {
            let words: Vec<&str> = deed.split(' ').chain([new]).collect();
            assert_eq!(docker(&words).trim(), new, "{deed}");
        });
        failed(&reported, code);
        let state = one_of_the_right_version(&site.server, deed);
        assert_eq!(state.active().expect("it serves").release.version.to_string(), serving, "{deed}");
        site.next_one_works(deed);
    }
}

#[test]
fn tampering_with_the_old_container_does_not_affect_the_new() {
    let mut site = Site::serving(QUICK);
    for (step, deed) in [
        (RolloutStep::Health, "rm --force"),
        (RolloutStep::Health, "pause"),
        (RolloutStep::Health, "stop --time 1"),
        (RolloutStep::Drain, "rm --force"),
        (RolloutStep::Stop, "pause"),
    ] {
        let when = format!("{deed} at {step:?}");
        let reported = site.meddle(step, |_, old, _| {
            docker(&deed.split(' ').chain([old]).collect::<Vec<_>>());
        });
        assert_eq!(reported.outcome.end, End::Deployed {}, "{when}: {}", reported.text());
        one_of_the_right_version(&site.server, &when);
        assert_eq!(site.server.status().drift, [""; 0], "{when}");
    }
}

#[test]
fn a_removed_network_or_image_is_reported_and_restored() {
    let mut site = Site::serving(QUICK);
    let reported = site.meddle(RolloutStep::Health, |server, _, _| Site::take_network(server));
    failed(&reported, FailureCode::Unhealthy);
    site.next_one_works("without its network");

    // Either it is gone before Docker is asked for the container, or it was not needed any more.
    let reported = site.meddle(RolloutStep::Create, |server, _, _| {
        let name = server.state();
        let autotag_receiver::state::Phase::Pending { new, .. } = &name.change else { return };
        docker(&["image", "rm", "--force", &new.image.with_digest(&new.digest)]);
    });
    if reported.outcome.end != (End::Deployed {}) {
        failed(&reported, FailureCode::Docker);
    }
    one_of_the_right_version(&site.server, "without its image");
    site.next_one_works("without its image");
}

// invariant recovery: What somebody did manually does not stop a recovery; broken by:
//   `crates/receiver/src/engine/docker/mod.rs`: a paused container is not let go on
/// A recovery has to give the traffic back to a container that somebody has paused, or taken off its network.
#[test]
fn a_recovery_restores_paused_and_disconnected_containers() {
    let mut site = Site::serving(QUICK);
    for deed in ["pause", "network"] {
        let request = site.request();
        let begins = |what: &What| matches!(what, What::Began { step: RolloutStep::Health });
        let (conversation, _) = at_moment(&site.server, Body::Deploy(Box::new(request)), begins);
        let serving = site.server.state().active().expect("it serves").clone();
        site.server.kill_serve();
        drop(conversation);
        match deed {
            "pause" => drop(docker(&["pause", serving.container.as_str()])),
            _ => Site::take_network(&site.server),
        }
        site.server.start_serve();
        let state = settled(&site.server);
        assert_eq!(state.active(), Some(&serving), "{deed}");
        one_of_the_right_version(&site.server, deed);
        site.next_one_works(deed);
    }
}

#[test]
fn a_paused_container_is_reported_and_resumed_by_redeploying() {
    let mut site = Site::serving(QUICK);
    let serving = site.server.state().active().expect("it serves").clone();
    docker(&["pause", serving.container.as_str()]);
    let drift = site.server.status().drift;
    assert!(drift.len() == 1 && drift[0].contains("docker unpause"), "{drift:?}");
    let release = &serving.release;
    let again = deploy(&release.image, &release.version.to_string(), &release.digest);
    site.server.deploy(again).ended(&End::Unchanged {});
    one_of_the_right_version(&site.server, "it goes on");
    site.next_one_works("after it");
}

/// Docker makes a container although the one who asked for it is dead, and nobody else knows of it.
struct Interrupted {
    socket: DockerSocket,
    server: Server,
    /// What `serve` was killed at, when it had asked for the container.
    change: Body,
    _images: Images,
}

impl Interrupted {
    /// The deployment is over, and its container is not there yet.
    fn before_docker_makes_it() -> Self {
        let images = Images::start();
        let socket = DockerSocket::new();
        let mut server = Server::on_docker(&socket.path);
        server.app_file(images.name(), QUICK);
        let (one, two) = (images.push("1.0.0"), images.push("1.0.1"));
        server.deploy(deploy(images.name(), "1.0.0", &one)).ended(&End::Deployed {});
        socket.hold_creations(true);
        let change = Body::Deploy(Box::new(deploy(images.name(), "1.0.1", &two)));
        let conversation = server.ask(change.clone());
        server.until("Docker is asked for the container", || socket.holds_one());
        server.kill_serve();
        drop(conversation);
        server.start_serve();
        settled(&server);
        Self { socket, server, change, _images: images }
    }

    fn it_is_swept(&self) {
        let swept = || {
            let texts = self.server.journal().into_iter().filter_map(|entry| match entry.what {
                What::Noted { text } => Some(text),
                _ => None,
            });
            texts.into_iter().any(|text| text.contains("after its deployment was over"))
        };
        self.server.until("it is noticed", swept);
        self.server.until("it is removed", || self.server.container_versions() == ["1.0.0"]);
        one_of_the_right_version(&self.server, "after the late one");
    }
}

// invariant recovery: No container is left behind; broken by: `crates/receiver/src/serve/reconcile.rs`: containers
//   that come late are not looked at
#[test]
fn a_container_created_after_its_deployment_is_removed() {
    let late = Interrupted::before_docker_makes_it();
    late.socket.hold_creations(false);
    late.it_is_swept();
}

// invariant recovery: No container is left behind, whoever asks again; broken by:
//   `crates/receiver/src/serve/reconcile.rs`: a container whose deployment has its id running is taken for one that
//   is being made
/// Whoever asks again how the deployment ended has its id, and makes nothing.
#[test]
fn a_container_created_late_is_removed_during_a_repeated_request() {
    let late = Interrupted::before_docker_makes_it();
    let server = &late.server;
    let lock = Lock::take(&server.paths.lock(&server.app), &holder("test", None), |_| ()).expect("its lock");
    let mut again = server.ask(late.change.clone());
    again.until(|answer| matches!(answer, Event::Waiting { .. }));
    late.socket.hold_creations(false);
    server.until("it is made", || server.container_versions().contains(&"1.0.1".to_owned()));
    // Docker's events come in their order: when `serve` has seen these, it has seen that one.
    let proxy_log = server.directory.path().join("proxy.log");
    let reported = || std::fs::read_to_string(&proxy_log).expect("its log").matches("\"swapped\"").count();
    let before = reported();
    let serving = server.state().active().expect("it serves").container.clone();
    docker(&["pause", serving.as_str()]);
    docker(&["unpause", serving.as_str()]);
    server.until("`serve` sees it go on", || reported() > before);
    drop(lock);
    again.finish();
    late.it_is_swept();
}
