//! `serve` killed at each step of the journal: its successor ends with one container of the right version,
//! and no request is lost.

use std::time::Duration;

use autotag_deploy::deploy::protocol::{Body, Deploy, End, Milestone};
use autotag_deploy::receiver::journal::What;
use autotag_deploy::receiver::state::Phase;

use super::moments::{at_moment, at_step, one_of_the_right_version, settled};
use crate::support::clock;
use crate::support::load::{Load, Mix};
use crate::support::server::{Images, Server, deploy, rollback};

/// Begins a deployment, kills `serve` as soon as the journal says that the n-th step began or ended, and
/// starts it again. `None` where the deployment has fewer steps.
fn kill_at(server: &mut Server, request: &Deploy, nth: usize) -> Option<String> {
    let (conversation, step) = at_step(server, Body::Deploy(Box::new(request.clone())), nth);
    server.kill_serve();
    drop(conversation);
    server.start_serve();
    step
}

/// Kills at every step of a deployment of versions that work, or do not.
fn at_every_step(app_file: &str, every: usize, environment: &[(&str, &str)], mix: &Mix) {
    let images = Images::start();
    let mut server = Server::start();
    server.app_file(images.name(), app_file);
    let one = images.push("1.0.0");
    server.deploy(deploy(images.name(), "1.0.0", &one)).ended(&End::Deployed {});
    let load = Load::start(([127, 0, 0, 1], server.port).into(), mix);
    let (mut kills, mut nth, mut patch) = (0, 0, 0);
    loop {
        patch += 1;
        let version = format!("1.1.{patch}");
        let digest = images.push_with(&version, environment);
        let request = deploy(images.name(), &version, &digest);
        let Some(step) = kill_at(&mut server, &request, nth) else { break };
        settled(&server);
        one_of_the_right_version(&server, &format!("killed at {step}"));
        // What the caller finds when it comes back: the end that was recorded, or a deployment anew.
        let told = server.ask(Body::Deploy(Box::new(request))).told();
        assert!(
            matches!(told.outcome.end, End::Deployed {} | End::Failed { .. }),
            "killed at {step}: {}",
            told.text()
        );
        kills += 1;
        nth += every;
    }
    let report = load.stop();
    eprintln!("{kills} kills\n{report}");
    assert!(kills >= 8, "the steps were found: {kills}");
    report.assert_nothing_lost();
}

const QUICK: &str = "health: {path: /healthz, deadline: 20s, stable: 100ms}\n";

#[test]
fn killed_at_each_step_of_a_good_deployment() {
    at_every_step(QUICK, 2, &[], &Mix::small());
}

#[test]
fn killed_at_each_step_of_a_broken_deployment() {
    let quick = "health: {path: /healthz, deadline: 500ms, stable: 100ms}\n";
    at_every_step(quick, 2, &[("FAIL_HEALTH", "always")], &Mix::small());
}

#[test]
fn killed_at_each_step_where_only_one_may_run() {
    // Requests wait while neither runs; what cannot wait is not asked.
    let mix = Mix::only(crate::support::load::Kind::New, 2);
    at_every_step(&format!("order: stop-first\nstop_grace_period: 1s\n{QUICK}"), 2, &[], &mix);
}

/// Its caller comes back with the same id before the successor has recovered by itself: a rollback without a
/// target must not go back once more.
#[test]
fn a_rollback_that_was_killed_behind_its_commit_goes_back_once() {
    let images = Images::start();
    let mut server = Server::start();
    // A verification that takes long enough to be met in the middle.
    let slow = format!("{QUICK}smoke: [{{path: \"/slow?ms=1500\"}}]\n");
    server.app_file(images.name(), &slow);
    for version in ["1.0.0", "1.0.1", "1.0.2"] {
        let digest = images.push(version);
        server.deploy(deploy(images.name(), version, &digest)).ended(&End::Deployed {});
    }
    let body = Body::Rollback(Box::new(rollback()));
    let behind = |what: &What| matches!(what, What::Began { step: Milestone::Verify });
    let (conversation, step) = at_moment(&server, body.clone(), behind);
    assert!(step.is_some());
    // Held where it is, so that it is killed in this phase whatever the machine is busy with.
    server.freeze_serve();
    assert!(matches!(server.state().change, Phase::Unverified { .. }), "{:?}", server.state().change);
    server.kill_serve();
    drop(conversation);
    server.start_serve();
    server.ask(body).told().ended(&End::RolledBack {});
    let state = one_of_the_right_version(&server, "after the rollback");
    assert_eq!(state.active().expect("it serves").release.version.to_string(), "1.0.1");
    assert_eq!(server.history().len(), 4, "it was done once");
}

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
            if kill % 2 == 0 { slow.layout.state(&slow.app) } else { server.layout.state(&server.app) };
        let aside = hidden.with_extension("aside");
        std::fs::rename(&hidden, &aside).expect("moved");
        std::fs::create_dir(&hidden).expect("an empty folder");
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
    server.app_file(images.name(), "health: {path: /healthz, deadline: 60s, stable: 30s}\n");
    let one = images.push("1.0.0");
    let request = deploy(images.name(), "1.0.0", &one);
    assert!(kill_at(&mut server, &request, 6).is_some());
    server.app_file(images.name(), QUICK);
    let since = clock::start();
    let two = images.push("1.0.1");
    server.deploy(deploy(images.name(), "1.0.1", &two)).ended(&End::Deployed {});
    assert!(since.elapsed() < Duration::from_secs(25), "nobody waited for the dead: {:?}", since.elapsed());
}
