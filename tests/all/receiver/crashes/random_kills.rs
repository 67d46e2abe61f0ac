//! Deployments and rollbacks in any order, while `serve`, the proxy and the relay are killed at any moment and
//! containers are removed by hand. Afterwards: one container, of the right version.

use std::collections::BTreeSet;
use std::io::Write as _;
use std::net::TcpStream;
use std::process::{Command, Stdio};

use autotag_protocol::{Body, Deploy, End, Request};
use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};
use semver::Version;

use crate::receiver::crashes::held::{one_of_the_right_version, settled};
use testkit::clock;
use testkit::load::{Load, Mix};
use testkit::programs::receiver;
use testkit::server::{Images, Server, Transcript, deploy, docker, rollback};
use testkit::torture::{at_length, rounds, tally};

const QUICK: &str =
    "health: {path: /healthz, deadline: 20s, stable: 100ms}\nstop_grace_period: 2s\nkeep: 50\n";

/// What is done while a change is under way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Blow {
    Nothing,
    Serve,
    ServeTwice,
    Proxy,
    Both,
    Relay,
    OneContainer,
    EveryContainer,
}

impl Blow {
    /// Only `serve` is killed: no request may be lost.
    const HARMLESS: [Self; 4] = [Self::Nothing, Self::Serve, Self::ServeTwice, Self::Relay];
    const ALL: [Self; 8] = [
        Self::Nothing,
        Self::Serve,
        Self::ServeTwice,
        Self::Proxy,
        Self::Both,
        Self::Relay,
        Self::OneContainer,
        Self::EveryContainer,
    ];
}

/// One server in a storm, and what must be true of it.
struct Storm {
    images: Images,
    server: Server,
    random: StdRng,
    /// Every version that was pushed, the lowest first.
    pushed: Vec<Version>,
    /// The highest that was ever committed to.
    highest: Version,
    /// What was done, to be shown where something is wrong.
    story: Vec<String>,
}

impl Storm {
    fn brew(seed: u64) -> Self {
        let random = StdRng::seed_from_u64(seed);
        let (images, server) = (Images::start(), Server::start());
        let more = if seed % 4 >= 2 { "order: stop-first\n" } else { "" };
        server.app_file(images.name(), &format!("{QUICK}{more}"));
        let highest = Version::new(1, 0, 0);
        let mut storm = Self { images, server, random, pushed: Vec::new(), highest, story: Vec::new() };
        let first = storm.higher(&[]);
        storm.server.deploy(first).ended(&End::Deployed {});
        storm
    }

    /// A version above all.
    fn higher(&mut self, environment: &[(&str, &str)]) -> Deploy {
        let version = Version::new(1, 0, self.pushed.len() as u64);
        let digest = self.images.push_with(&version.to_string(), environment);
        self.pushed.push(version.clone());
        deploy(self.images.name(), &version.to_string(), &digest)
    }

    fn change(&mut self) -> Body {
        match self.random.random_range(0..10) {
            0..=4 => Body::Deploy(Box::new(self.higher(&[]))),
            5 => Body::Deploy(Box::new(self.higher(&[("FAIL_HEALTH", "after:0"), ("CRASH_AFTER_MS", "50")]))),
            6 => {
                // A delayed run, of a version that may have served or not.
                let version = self.pushed[self.random.random_range(0..self.pushed.len())].to_string();
                let digest = self.images.push(&version);
                Body::Deploy(Box::new(deploy(self.images.name(), &version, &digest)))
            }
            _ => Body::Rollback(Box::new(rollback())),
        }
    }

    /// Makes a change, strikes at a moment of no kind, and asks again as a caller would.
    fn round(&mut self, blows: &[Blow]) {
        let before = self.server.state();
        let change = self.change();
        let blow = blows[self.random.random_range(0..blows.len())];
        let pause = self.random.random_range(0..1500);
        self.story.push(format!("{} and {blow:?} after {pause} ms", about(&change)));
        let request = Request { app: self.server.app.clone(), body: change.clone() };
        let mut relay = Command::new(receiver())
            .arg("receive")
            .arg("--root")
            .arg(self.server.paths.root())
            .args(["--app", self.server.app.as_str()])
            .env("SSH_ORIGINAL_COMMAND", request.word().as_str())
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("the relay starts");
        let line = request.to_line().expect("a request");
        relay.stdin.take().expect("piped").write_all(line.reveal().as_bytes()).expect("asked");
        clock::any_moment(pause);
        self.strike(blow);
        if matches!(blow, Blow::Relay | Blow::Both) {
            relay.kill().expect("killed");
            tally("kills: relay", 1);
        }
        relay.wait().expect("it ends");
        let reported = self.server.ask(change.clone()).finish();
        self.story.push(format!("  {:?}", reported.outcome.end));
        settled(&self.server);
        if matches!(blow, Blow::Proxy | Blow::Both) {
            // A new proxy listens nowhere until `serve` has seen it and told it the routes.
            let address = ("127.0.0.1", self.server.port);
            self.server.until("the new proxy is told", || TcpStream::connect(address).is_ok());
        }
        let by_hand = matches!(blow, Blow::OneContainer | Blow::EveryContainer);
        self.holds(&change, before.active().map(|active| &active.release.version), &reported, by_hand);
    }

    fn strike(&mut self, blow: Blow) {
        let server = &mut self.server;
        match blow {
            Blow::Nothing | Blow::Relay => {}
            Blow::Serve | Blow::ServeTwice => {
                for _ in 0..if blow == Blow::ServeTwice { 2 } else { 1 } {
                    server.kill_serve();
                    server.start_serve();
                    tally("kills: receiver", 1);
                    clock::any_moment(self.random.random_range(0..300));
                }
            }
            Blow::Proxy | Blow::Both => {
                if blow == Blow::Both {
                    server.kill_serve();
                    tally("kills: receiver", 1);
                }
                server.kill_proxy();
                tally("kills: proxy", 1);
                server.start_proxy();
                if blow == Blow::Both {
                    server.start_serve();
                }
            }
            Blow::OneContainer | Blow::EveryContainer => {
                let all = server.containers();
                let many = if blow == Blow::OneContainer { 1 } else { all.len() };
                for container in all.iter().take(many) {
                    docker(&["rm", "--force", container]);
                    tally("kills: container", 1);
                }
            }
        }
    }

    #[track_caller]
    fn holds(&mut self, change: &Body, before: Option<&Version>, reported: &Transcript, by_hand: bool) {
        let story = self.story.join("\n");
        let state = self.server.state();
        // Every deployment was done once.
        let ids: Vec<_> = state.history.iter().map(|record| record.release.deployment.as_str()).collect();
        assert_eq!(ids.len(), ids.iter().collect::<BTreeSet<_>>().len(), "one was done twice\n{story}");
        let highest = state.highest.clone().expect("one was deployed");
        assert!(highest >= self.highest, "{highest} after {}\n{story}", self.highest);
        self.highest = highest;
        let active = state.active().map(|active| active.release.version.clone());
        if by_hand {
            // What somebody removed serves no more; that it is said, and mended by the next one, is enough.
            let fixed = self.higher(&[]);
            let reported = self.server.deploy(fixed);
            self.story.push(format!("  and then {:?}", reported.outcome.end));
            assert_eq!(reported.outcome.end, End::Deployed {}, "{story}\n{}", reported.text());
        } else {
            let (before, active) = (before.expect("it served"), active.expect("it serves"));
            match (&reported.outcome.end, change) {
                (End::Deployed {}, Body::Deploy(deploy)) => {
                    assert_eq!(active, deploy.version, "{story}");
                    assert!(active > *before, "{active} after {before}\n{story}");
                }
                (End::RolledBack {}, _) => assert!(active < *before, "{active} after {before}\n{story}"),
                (End::Deployed {}, _) => panic!("a rollback that goes on\n{story}"),
                // What was not done changed nothing. A proxy that dies at the wrong moment costs a version.
                _ => assert_eq!(active, *before, "{story}\n{}", reported.text()),
            }
        }
        // Docker may still have been making one for a `serve` that is dead.
        self.server.until("what came too late is gone", || self.server.containers().len() == 1);
        one_of_the_right_version(&self.server, &story);
    }
}

fn about(change: &Body) -> String {
    match change {
        Body::Deploy(deploy) => format!("deploy {}", deploy.version),
        _ => "rollback".to_owned(),
    }
}

/// Changes in each round of a storm.
fn changes() -> u32 {
    if at_length() { 25 } else { 6 }
}

// invariant no-lost-request
#[test]
fn whatever_is_killed_one_container_of_the_right_version_serves() {
    for seed in rounds("kills of everything", 1) {
        let mut storm = Storm::brew(seed);
        for _ in 0..changes() {
            storm.round(&Blow::ALL);
            tally("runs: deployments in a storm", 1);
        }
        eprintln!("seed {seed}\n{}", storm.story.join("\n"));
    }
}

// invariant no-lost-request
#[test]
fn however_often_serve_is_killed_no_request_is_lost() {
    for seed in rounds("kills of serve", 1) {
        // Start-first: where neither runs, what cannot wait for ten seconds is told so.
        let mut storm = Storm::brew(seed & !2);
        let load = Load::start(([127, 0, 0, 1], storm.server.port).into(), &Mix::small());
        load.warm_up(1);
        for _ in 0..changes() {
            storm.round(&Blow::HARMLESS);
            tally("runs: deployments in a storm", 1);
        }
        let report = load.stop();
        eprintln!("seed {seed}\n{}\n{report}", storm.story.join("\n"));
        tally("requests under kills", report.exchanges());
        report.assert_nothing_lost();
    }
}
