//! `serve` killed at each step of the journal: its successor ends with one container of the right version,
//! and no request is lost.

use std::time::Duration;

use autotag_deploy::deploy::protocol::{Body, Deploy, End};
use autotag_deploy::receiver::journal::What;
use autotag_deploy::receiver::state::{Phase, State, Store};

use crate::support::clock;
use crate::support::load::{Load, Mix};
use crate::support::server::{Images, PATIENCE, Server, deploy};

fn state(server: &Server) -> State {
    let store = Store::new(&server.layout.state(&server.app), server.app.clone());
    store.load().unwrap_or_else(|error| panic!("the state is whole at any moment: {error}"))
}

/// Begins a deployment, kills `serve` as soon as the journal says that the n-th step began or ended, and
/// starts it again. `false` where the deployment has fewer steps.
fn kill_at(server: &mut Server, request: &Deploy, nth: usize) -> Option<String> {
    let before = server.journal().len();
    let conversation = server.ask(Body::Deploy(Box::new(request.clone())));
    let since = clock::start();
    let step = loop {
        let entries = server.journal();
        let steps: Vec<&What> = entries
            .iter()
            .skip(before)
            .map(|entry| &entry.what)
            .filter(|what| matches!(what, What::Began { .. } | What::Ended { .. }))
            .collect();
        if let Some(step) = steps.get(nth) {
            break Some(format!("{step:?}"));
        }
        if entries.iter().skip(before).any(|entry| matches!(entry.what, What::Answered { .. })) {
            break None;
        }
        assert!(since.elapsed() < PATIENCE, "step {nth} never came\n{}", server.logs());
    };
    server.kill_serve();
    drop(conversation);
    server.start_serve();
    step
}

/// Waits until the successor has brought everything to its end.
fn settled(server: &Server) -> State {
    server.until("the recovery ends", || {
        matches!(state(server).change, Phase::Steady { .. }) && server.status().busy.is_none()
    });
    state(server)
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
        let state = settled(&server);
        let active = state.active().expect("something serves");
        let containers = server.containers();
        assert_eq!(containers, [active.container.as_str()], "killed at {step}: {}", server.logs());
        assert_eq!(server.container_versions(), [active.release.version.to_string()], "killed at {step}");
        let answered = server.get("/").1;
        assert!(
            answered.starts_with(&active.release.version.to_string()),
            "killed at {step}: {answered} serves, {} should",
            active.release.version
        );
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
