//! `serve` killed between any two steps: its successor goes on from what was durable, ends with one container of
//! the right version, and no request is lost.

use std::collections::BTreeMap;
use std::time::Duration;

use autotag_protocol::{Body, Deploy, End, RolloutStep};
use autotag_receiver::state::journal::What;
use autotag_receiver::state::{Phase, State};

use crate::receiver::crashes::held::{held_at, one_of_the_right_version, settled};
use testkit::clock;
use testkit::load::{ClientKind, Load, Mix};
use testkit::server::{Images, Server, deploy, rollback};
use testkit::torture::{at_length, tally};

/// What becomes of the versions of a series where nobody is killed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Versions {
    Work,
    /// They fail before the commit.
    AreNeverHealthy,
    /// They fail after it, and the traffic goes back.
    FailThroughTheProxy,
}

/// Deployments of which each is killed at another of its steps.
struct Series {
    versions: Versions,
    /// What the app file says besides.
    more: &'static str,
    /// So many of the first steps are those of another series, and are left out of a short one.
    skip: usize,
    /// In which phases the kills have to meet them.
    met: &'static [&'static str],
    mix: Mix,
}

const QUICK: &str = "health: {path: /healthz, deadline: 20s, stable: 100ms}\n";
/// What a request to the container itself has in its head, and one through the proxy has not.
const NOT_AT_THE_FRONT_DOOR: &str = "smoke: [{path: /head, contains: 'connection: close'}]\n";

impl Series {
    fn new(versions: Versions, met: &'static [&'static str]) -> Self {
        Self { versions, more: "", skip: 0, met, mix: Mix::small() }
    }

    fn stop_first(self) -> Self {
        // Requests wait while neither runs; what cannot wait is not asked.
        Self {
            more: "order: stop-first\nstop_grace_period: 1s\n",
            mix: Mix::only(ClientKind::New, 2),
            ..self
        }
    }

    fn app_file(&self) -> String {
        let deadline = if self.versions == Versions::AreNeverHealthy { "500ms" } else { "20s" };
        QUICK.replace("20s", deadline) + self.more
    }

    fn environment(&self) -> &[(&str, &str)] {
        if self.versions == Versions::AreNeverHealthy { &[("FAIL_HEALTH", "always")] } else { &[] }
    }

    /// Kills before each step; at length also within each.
    fn run(&self) {
        let images = Images::start();
        let mut server = Server::start();
        server.app_file(images.name(), &self.app_file());
        let mut serving = "1.0.0".to_owned();
        let one = images.push(&serving);
        server.deploy(deploy(images.name(), &serving, &one)).ended(&End::Deployed {});
        if self.versions == Versions::FailThroughTheProxy {
            server.app_file(images.name(), &(self.app_file() + NOT_AT_THE_FRONT_DOOR));
        }
        let load = Load::start(([127, 0, 0, 1], server.port).into(), &self.mix);
        let mut met = BTreeMap::<&str, u32>::new();
        let places = |step| if at_length() { vec![(step, false), (step, true)] } else { vec![(step, false)] };
        let first = if at_length() { 0 } else { self.skip };
        for (patch, (nth, within)) in (first..).flat_map(places).enumerate() {
            let version = format!("1.1.{patch}");
            let digest = images.push_with(&version, self.environment());
            let request = deploy(images.name(), &version, &digest);
            let Some(step) = killed_at(&mut server, &request, nth, within) else { break };
            let left = server.state();
            *met.entry(phase(&left)).or_default() += 1;
            let when = format!("killed at {step}, {}", phase(&left));
            server.start_serve();
            serving = self.went_on(&server, &request, &left, &serving, &when);
        }
        let report = load.stop();
        eprintln!("{met:?}\n{report}");
        for (phase, count) in &met {
            tally(&format!("kills of the receiver at a step: {phase}"), count);
        }
        for phase in self.met {
            assert!(met.contains_key(phase), "none was killed that was {phase}: {met:?}");
        }
        if self.more.is_empty() {
            report.assert_nothing_lost();
        } else {
            report.assert_nothing_lost_without_a_wait();
        }
    }

    /// What was durable decides alone what serves after the recovery, and what the caller is told that comes
    /// back. Gives the version that serves in the end.
    #[track_caller]
    fn went_on(&self, server: &Server, request: &Deploy, left: &State, serving: &str, when: &str) -> String {
        let version = request.version.to_string();
        let works = self.versions == Versions::Work;
        let committed = left.active().is_some_and(|active| active.release.version == request.version);
        settled(server);
        let recovered = one_of_the_right_version(server, when);
        let recovered = recovered.active().expect("it serves").release.version.to_string();
        assert_eq!(recovered, if works && committed { &*version } else { serving }, "{when}");

        let reported = server.ask(Body::Deploy(Box::new(request.clone()))).finish();
        let end = &reported.outcome.end;
        // Tried and not proven, it counts as failed; where nothing of it was durable, it is tried now.
        let deployed = works && !matches!(left.change, Phase::Pending { .. });
        if deployed {
            assert_eq!(*end, End::Deployed {}, "{when}: {}", reported.text());
        } else {
            assert!(matches!(end, End::Failed { .. }), "{when}: {}", reported.text());
        }
        let state = one_of_the_right_version(server, when);
        let now = state.active().expect("it serves").release.version.to_string();
        assert_eq!(now, if deployed { &*version } else { serving }, "{when}: {}", reported.text());
        now
    }
}

/// Begins a deployment and kills `serve` before its n-th step, or within it; where it is killed has a name.
/// `None` where there are fewer steps.
fn killed_at(server: &mut Server, request: &Deploy, nth: usize, within: bool) -> Option<String> {
    let mut before = nth;
    let held = held_at(server, Body::Deploy(Box::new(request.clone())), |_| {
        let comes = before == 0;
        before = before.saturating_sub(1);
        comes
    })?;
    let step = held.step;
    if !within {
        server.kill_serve();
        return Some(format!("{step:?} (step {nth})"));
    }
    // At any moment of the time that it takes here, as far as that is known.
    let usual = server.journal().into_iter().rev().find_map(|entry| match entry.what {
        What::Ended { step: ended, milliseconds, .. } if ended == step => Some(milliseconds),
        _ => None,
    });
    let moment = rand::random_range(0..=usual.unwrap_or(20));
    let conversation = held.go_on(server);
    clock::any_moment(moment);
    server.kill_serve();
    drop(conversation);
    Some(format!("{step:?} (step {nth}) after {moment} ms"))
}

fn phase(state: &State) -> &'static str {
    match &state.change {
        Phase::Steady { .. } => "steady",
        Phase::Pending { .. } => "pending",
        Phase::Unverified { .. } => "unverified",
        Phase::Leaving { turned_back: false, .. } => "leaving",
        Phase::Leaving { turned_back: true, .. } => "turned back",
    }
}

// invariant recovery: Recovery from a kill ends with one container; broken by:
//   `crates/receiver/src/policy/rollout/script.rs`: the recovery of `Leaving` forgets the old container
// invariant recovery: What was committed serves after a kill; broken by:
//   `crates/receiver/src/policy/rollout/script.rs`: the recovery of `Unverified` turns back
// invariant no-lost-request
#[test]
fn killed_at_each_step_of_a_good_deployment() {
    Series::new(Versions::Work, &["steady", "pending", "unverified", "leaving"]).run();
}

// invariant no-lost-request
#[test]
fn killed_at_each_step_of_a_broken_deployment() {
    // Up to its health it is a good one.
    Series { skip: 4, ..Series::new(Versions::AreNeverHealthy, &["pending"]) }.run();
}

// invariant recovery: A kill makes no version pass; broken by: `crates/receiver/src/policy/rollout/script.rs`:
//   the recovery of `Unverified` does not verify
// invariant no-lost-request
#[test]
fn killed_at_each_step_of_a_deployment_that_fails() {
    // Up to its commit it is a good one.
    Series {
        skip: 6,
        ..Series::new(Versions::FailThroughTheProxy, &["pending", "unverified", "turned back"])
    }
    .run();
}

// invariant recovery: Where only one may run, requests wait, whoever is killed; broken by:
//   `crates/proxy/src/upstream/app.rs`: nobody waits
// invariant no-lost-request
#[test]
fn killed_at_each_step_where_only_one_may_run() {
    Series::new(Versions::Work, &["steady", "pending", "unverified", "leaving"]).stop_first().run();
    if at_length() {
        let met = &["pending", "unverified", "turned back"];
        Series::new(Versions::FailThroughTheProxy, met).stop_first().run();
    }
}

// invariant recovery: A repeated rollback goes back once; broken by: `crates/receiver/src/serve/change/mod.rs`:
//   the record is not looked at again after a recovery
/// Its caller comes back with the same id before the successor has recovered by itself: a rollback without a
/// target must not go back once more.
#[test]
fn a_rollback_killed_after_its_commit_happens_once() {
    let images = Images::start();
    let mut server = Server::start();
    server.app_file(images.name(), QUICK);
    for version in ["1.0.0", "1.0.1", "1.0.2"] {
        let digest = images.push(version);
        server.deploy(deploy(images.name(), version, &digest)).ended(&End::Deployed {});
    }
    let body = Body::Rollback(Box::new(rollback()));
    let held = held_at(&server, body.clone(), |step| step == RolloutStep::Verify).expect("it comes to it");
    assert_eq!(phase(&server.state()), "unverified");
    server.kill_serve();
    drop(held);
    server.start_serve();
    server.ask(body).finish().ended(&End::RolledBack {});
    let state = one_of_the_right_version(&server, "after the rollback");
    assert_eq!(state.active().expect("it serves").release.version.to_string(), "1.0.1");
    assert_eq!(server.history().len(), 4, "it was done once");
}

// invariant no-lost-request: A restart of `serve` costs no application a request; broken by:
//   `crates/receiver/src/execute/proxy_client.rs`: each route is reported as the whole table
/// Requests of the one must not be lost while the other, which is first, recovers.
#[test]
fn a_killed_receiver_costs_no_application_a_request() {
    let images = Images::start();
    let mut server = Server::start();
    let slow = server.neighbour();
    for one in [&server, &slow] {
        one.app_file(images.name(), QUICK);
        let digest = images.push("1.0.0");
        one.deploy(deploy(images.name(), "1.0.0", &digest)).ended(&End::Deployed {});
    }
    let loads = [&server, &slow].map(|one| Load::start(([127, 0, 0, 1], one.port).into(), &Mix::small()));
    for kill in 0..3 {
        server.kill_serve();
        // What one application's recovery tells the proxy must say nothing about the other.
        let hidden =
            if kill % 2 == 0 { slow.paths.state(&slow.app) } else { server.paths.state(&server.app) };
        let aside = hidden.with_extension("aside");
        std::fs::rename(&hidden, &aside).expect("moved");
        std::fs::create_dir(&hidden).expect("an empty directory");
        server.start_serve();
        for load in &loads {
            load.warm_up(2);
        }
        let (hidden_app, other) = if kill % 2 == 0 { (&slow, &server) } else { (&server, &slow) };
        let digest = images.push(&format!("1.0.{}", kill + 1));
        other.deploy(deploy(images.name(), &format!("1.0.{}", kill + 1), &digest)).ended(&End::Deployed {});
        assert!(hidden_app.get("/").1.starts_with("1.0."), "{}", server.logs());
        std::fs::remove_dir_all(&hidden).expect("the empty one");
        std::fs::rename(&aside, &hidden).expect("moved back");
    }
    for load in loads {
        load.stop().assert_nothing_lost();
    }
}

#[test]
fn the_lock_of_a_killed_receiver_is_free_at_once() {
    let images = Images::start();
    let mut server = Server::start();
    server.app_file(images.name(), "health: {path: /healthz, deadline: 10m, stable: 5m}\n");
    let one = images.push("1.0.0");
    let request = deploy(images.name(), "1.0.0", &one);
    assert!(killed_at(&mut server, &request, 4, false).is_some_and(|step| step.contains("Health")));
    server.start_serve();
    server.app_file(images.name(), QUICK);
    let since = clock::start();
    let two = images.push("1.0.1");
    server.deploy(deploy(images.name(), "1.0.1", &two)).ended(&End::Deployed {});
    assert!(since.elapsed() < Duration::from_mins(4), "nobody waited for the dead: {:?}", since.elapsed());
}
