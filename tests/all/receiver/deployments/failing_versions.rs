//! Versions that do not work, and requests that must not be done: the old version serves on.

use autotag_protocol::{Deploy, End, Event, FailureCode, Open, RefusalCode, RolloutStep, Source};

use testkit::load::{Load, Mix};
use testkit::server::{Images, Server, Transcript, deploy, deployment_id, docker};

/// A server on which 1.0.0 serves.
fn serving(more: &str) -> (Images, Server) {
    let images = Images::start();
    let server = Server::start();
    server.app_file(images.name(), more);
    let one = images.push("1.0.0");
    server.deploy(deploy(images.name(), "1.0.0", &one)).ended(&End::Deployed {});
    (images, server)
}

#[track_caller]
fn still_serves(server: &Server) {
    assert!(server.get("/").1.contains("1.0.0"), "{}", server.logs());
    assert_eq!(server.container_versions(), ["1.0.0"], "nothing is left behind");
    assert_eq!(server.status().drift, [""; 0]);
}

/// It failed at this step, for this kind of reason.
#[track_caller]
fn failed(reported: &Transcript, at: RolloutStep, expected: FailureCode) {
    let End::Failed { step, code, .. } = &reported.outcome.end else { panic!("{}", reported.text()) };
    assert_eq!((step.known(), code.known()), (Some(at), Some(expected)), "{}", reported.text());
}

// invariant no-lost-request
#[test]
fn an_unhealthy_version_is_removed_and_its_log_shown() {
    let (images, server) = serving("health: {path: /healthz, deadline: 2s, stable: 300ms}\n");
    let broken = images.push_with("1.0.1", &[("FAIL_HEALTH", "always")]);
    let reported = server.deploy(deploy(images.name(), "1.0.1", &broken));
    failed(&reported, RolloutStep::Health, FailureCode::Unhealthy);
    assert_eq!(
        reported.outcome.running.as_ref().map(|running| running.version.to_string()),
        Some("1.0.0".into())
    );
    let heard = reported
        .answers
        .iter()
        .any(|answer| matches!(answer, Event::Log { from: Open::Known(Source::Application), .. }));
    assert!(heard, "its log is told: {}", reported.text());
    still_serves(&server);
    assert_eq!(server.status().highest.map(|highest| highest.to_string()), Some("1.0.0".to_owned()));
}

#[test]
fn a_crash_in_the_stability_window_is_noticed() {
    let (images, server) = serving("health: {path: /healthz, deadline: 10s, stable: 3s}\n");
    for (version, after) in [("1.0.1", "1"), ("1.0.2", "1200")] {
        let broken = images.push_with(version, &[("CRASH_AFTER_MS", after)]);
        let reported = server.deploy(deploy(images.name(), version, &broken));
        failed(&reported, RolloutStep::Health, FailureCode::Exited);
        still_serves(&server);
    }
}

/// All that Docker knows of a container but what it measures: since when it runs, how it was made, where it is.
fn as_docker_has_it(container: &str) -> String {
    let format = "{{.State.StartedAt}} {{.RestartCount}} {{json .Config}} {{json .HostConfig}} {{json .NetworkSettings}}";
    docker(&["inspect", "--format", format, container])
}

// invariant no-lost-request: The old one is not touched before the new one is proven; broken by:
//   `crates/receiver/src/policy/rollout/script.rs`: with start-first, too, the old one is stopped first
#[test]
fn whatever_fails_the_old_container_is_not_touched() {
    let quick = "health: {path: /healthz, deadline: 1s, stable: 300ms}\n";
    let (images, server) = serving(quick);
    let container = server.containers().concat();
    let snapshot = server
        .paths
        .state(&server.app)
        .join("settings")
        .join(format!("{}.json", server.state().active().expect("it serves").release.deployment));
    let look = || (as_docker_has_it(&container), std::fs::read(&snapshot).expect("it is kept"));
    let (before, active) = (look(), server.state().active().cloned());
    let load = Load::start(([127, 0, 0, 1], server.port).into(), &Mix::small());
    load.warm_up(1);
    // Asked at the container itself there is a field in the request that a proxy takes out.
    let at_the_door = "smoke: [{path: /head, contains: 'connection: close'}]\n";
    for (patch, (fails, code, more, environment)) in [
        (RolloutStep::Pull, FailureCode::ImageLabels, "", &[][..]),
        (
            RolloutStep::Health,
            FailureCode::Exited,
            "environment: {GREETING: hello}\n",
            &[("CRASH_AFTER_MS", "1")],
        ),
        (RolloutStep::Health, FailureCode::Unhealthy, "", &[("FAIL_HEALTH", "always")]),
        (RolloutStep::Smoke, FailureCode::SmokeTest, "smoke: [{path: /, contains: no such text}]\n", &[]),
        (RolloutStep::Verify, FailureCode::SmokeTest, at_the_door, &[]),
    ]
    .into_iter()
    .enumerate()
    {
        server.app_file(images.name(), &format!("{quick}{more}"));
        let version = format!("1.1.{patch}");
        let digest = images.push_with(&version, environment);
        let mut request = deploy(images.name(), &version, &digest);
        if fails == RolloutStep::Pull {
            // The image says itself that it is of another commit.
            request.commit = "f".repeat(40).parse().expect("a commit");
        }
        let reported = server.deploy(request);
        failed(&reported, fails, code);
        assert_eq!(look(), before, "failed at {fails:?}: {}", reported.text());
        assert_eq!(server.state().active().cloned(), active, "failed at {fails:?}");
        assert_eq!(server.containers(), [container.as_str()], "failed at {fails:?}");
    }
    load.stop().assert_nothing_lost();
    server.app_file(images.name(), quick);
    still_serves(&server);
}

#[test]
fn smoke_tests_run_before_and_after_the_switch() {
    let (images, server) = serving("");
    server.app_file(images.name(), "smoke: [{path: /, contains: no such text}]\n");
    let two = images.push("1.0.1");
    let reported = server.deploy(deploy(images.name(), "1.0.1", &two));
    failed(&reported, RolloutStep::Smoke, FailureCode::SmokeTest);
    server.app_file(images.name(), "smoke: [{command: [/test-app, no-such-command]}]\n");
    let reported = server.deploy(deploy(images.name(), "1.0.1", &two));
    failed(&reported, RolloutStep::Smoke, FailureCode::SmokeTest);
    server.app_file(images.name(), "");
    still_serves(&server);
}

// invariant one-door: A key brings no other image
#[test]
fn what_must_not_run_is_refused_and_nothing_is_begun() {
    let (images, server) = serving("");
    let two = images.push("1.0.1");
    let good = deploy(images.name(), "1.0.1", &two);
    let strange = autotag_model::secret::Secret::verbatim("hunter2".to_owned());
    for (request, code) in [
        (Deploy { image: "127.0.0.1:1/other".parse().unwrap(), ..good.clone() }, RefusalCode::Repository),
        (
            Deploy { environment: [("STRANGE".parse().unwrap(), strange)].into(), ..good.clone() },
            RefusalCode::Environment,
        ),
    ] {
        let reported = server.deploy(Deploy { deployment: deployment_id(), ..request });
        let End::Refused { code: found, message } = &reported.outcome.end else {
            panic!("{}", reported.text())
        };
        assert_eq!(*found, code, "{message}");
        assert!(!message.contains("hunter2"), "{message}");
        still_serves(&server);
    }
    // The image says itself which version and commit it is.
    for request in [
        Deploy { version: "1.0.9".parse().unwrap(), ..good.clone() },
        Deploy { commit: "f".repeat(40).parse().unwrap(), ..good.clone() },
    ] {
        let reported = server.deploy(Deploy { deployment: deployment_id(), ..request });
        failed(&reported, RolloutStep::Pull, FailureCode::ImageLabels);
        still_serves(&server);
    }
    let missing = autotag_model::reference::Digest::of(b"nobody pushed this");
    let reported = server.deploy(deploy(images.name(), "1.0.3", &missing));
    failed(&reported, RolloutStep::Pull, FailureCode::NoImage);
    still_serves(&server);
}

#[test]
fn a_version_without_a_health_check_needs_health_none() {
    let images = Images::start();
    let server = Server::start();
    let one = images.push("1.0.0");
    let file = |health: &str| {
        let text =
            format!("image: {}\nport: 3000\nlisten: 127.0.0.1:{}\n{health}", images.name(), server.port);
        std::fs::write(server.paths.app_file(&server.app), text).expect("the app file");
    };
    file("");
    let reported = server.deploy(deploy(images.name(), "1.0.0", &one));
    failed(&reported, RolloutStep::Pull, FailureCode::ImageHealthCheck);
    assert!(server.containers().is_empty());
    file("health: none\n");
    server.deploy(deploy(images.name(), "1.0.0", &one)).ended(&End::Deployed {});
}

// invariant known
#[test]
fn drift_is_named() {
    let (images, server) = serving("");
    let container = server.containers().remove(0);
    docker(&["update", "--memory", "512m", "--memory-swap", "512m", &container]);
    let drift = server.status().drift;
    assert!(drift.len() == 1 && drift[0].contains(&container[..12]), "{drift:?}");
    docker(&["stop", "--time", "1", &container]);
    let drift = server.status().drift;
    assert!(drift.iter().any(|text| text.contains("does not run")), "{drift:?}");
    // Asked for again, what was stopped is started.
    let one = images.push("1.0.0");
    server.deploy(deploy(images.name(), "1.0.0", &one)).ended(&End::Unchanged {});
    assert!(server.get("/").1.contains("1.0.0"));
    docker(&["rm", "--force", &container]);
    // And what was removed is made again.
    server.until("it is made again", || {
        server.state().active().is_some_and(|active| active.container.as_str() != container)
            && server.status().drift.is_empty()
    });
    server.deploy(deploy(images.name(), "1.0.0", &one)).ended(&End::Unchanged {});
    still_serves(&server);
}
