//! What a deployment and a rollback do when nothing breaks.

use std::collections::BTreeMap;

use autotag_protocol::{Configuration, End, Event, Open, RefusalCode, RolloutStep};

use testkit::server::{Images, Server, deploy, deployment_id, docker};

/// The steps that a conversation told, in order.
fn steps_ended(answers: &[Event]) -> Vec<RolloutStep> {
    let steps = answers.iter().filter_map(|answer| match answer {
        Event::StepEnded { step, .. } => step.known(),
        _ => None,
    });
    steps.collect()
}

// invariant no-lost-request: Before the first deployment requests are answered, and do not wait forever; broken
//   by: `crates/receiver/src/serve/reconcile.rs`: no address is opened for an application that was never deployed
#[test]
fn before_the_first_deployment_requests_get_503() {
    let mut server = Server::start();
    server.app_file(&"ghcr.io/org/app".parse().expect("a name"), "");
    // As by `init`, which starts the proxy when the app file is there.
    server.kill_proxy();
    server.start_proxy();
    let front = ("127.0.0.1", server.port);
    server.until("the proxy listens", || std::net::TcpStream::connect(front).is_ok());
    assert_eq!(server.get("/").0, 503);
}

// invariant server-order
#[test]
fn from_the_first_deployment_to_the_second() {
    let images = Images::start();
    let server = Server::start();
    server.app_file(images.name(), "smoke: [{path: /, contains: 1.0.}]\n");
    let (one, two) = (images.push("1.0.0"), images.push("1.0.1"));

    let first = deploy(images.name(), "1.0.0", &one);
    let reported = server.deploy(first.clone()).ended(&End::Deployed {});
    assert_eq!(
        steps_ended(&reported.answers),
        [
            RolloutStep::Pull,
            RolloutStep::Create,
            RolloutStep::Start,
            RolloutStep::Health,
            RolloutStep::Smoke,
            RolloutStep::Switch,
            RolloutStep::Verify,
            RolloutStep::Prune
        ]
    );
    assert!(server.get("/").1.contains("1.0.0"));

    // The same again touches nothing; the same deployment's result can be asked for.
    let before = server.containers();
    let again = deploy(images.name(), "1.0.0", &one);
    server.deploy(again).ended(&End::Unchanged {});
    server.deploy(first).ended(&End::Deployed {});
    assert_eq!(server.containers(), before);

    let reported = server.deploy(deploy(images.name(), "1.0.1", &two)).ended(&End::Deployed {});
    let steps = steps_ended(&reported.answers);
    for step in [RolloutStep::Drain, RolloutStep::Stop, RolloutStep::Remove] {
        assert!(steps.contains(&step), "{step:?} is missing in {steps:?}");
    }
    assert!(server.get("/").1.contains("1.0.1"));
    assert_eq!(server.container_versions(), ["1.0.1"], "the old one is gone");

    let status = server.status();
    assert_eq!(status.drift, [""; 0]);
    assert_eq!(status.running.expect("it runs").version.to_string(), "1.0.1");

    // A delayed run does not bring an older one back.
    let reported = server.deploy(deploy(images.name(), "1.0.0", &one));
    assert!(
        matches!(reported.outcome.end, End::Refused { code: Open::Known(RefusalCode::NewerIsLive), .. }),
        "{}",
        reported.text()
    );
    assert!(server.get("/").1.contains("1.0.1"));
}

// invariant server-order
#[test]
fn a_rolled_back_version_stays_out_unless_allowed() {
    let images = Images::start();
    let server = Server::start();
    server.app_file(images.name(), "");
    let (one, two) = (images.push("1.0.0"), images.push("1.0.1"));
    for (version, digest) in [("1.0.0", &one), ("1.0.1", &two)] {
        server.deploy(deploy(images.name(), version, digest)).ended(&End::Deployed {});
    }

    server.roll_back(None, Configuration::Today).ended(&End::RolledBack {});
    assert!(server.get("/").1.contains("1.0.0"));
    let status = server.status();
    assert_eq!(status.blocked.iter().map(ToString::to_string).collect::<Vec<_>>(), ["1.0.1"]);
    assert_eq!(status.highest.expect("it was live").to_string(), "1.0.1");

    let reported = server.deploy(deploy(images.name(), "1.0.1", &two));
    assert!(
        matches!(reported.outcome.end, End::Refused { code: Open::Known(RefusalCode::RolledBack), .. }),
        "{}",
        reported.text()
    );
    let mut allow_downgrade = deploy(images.name(), "1.0.1", &two);
    allow_downgrade.allow_downgrade = true;
    server.deploy(allow_downgrade).ended(&End::Deployed {});
    assert!(server.get("/").1.contains("1.0.1"));

    let ends: Vec<(String, End)> =
        server.history().into_iter().map(|entry| (entry.release.version.to_string(), entry.end)).collect();
    let expected = [
        ("1.0.1", End::Deployed {}),
        ("1.0.0", End::RolledBack {}),
        ("1.0.1", End::Deployed {}),
        ("1.0.0", End::Deployed {}),
    ];
    assert_eq!(ends, expected.map(|(version, end)| (version.to_owned(), end)));
}

// invariant server-order: What lies between a rollback and its target stays out; broken by:
//   `crates/receiver/src/policy/admit/mod.rs`: a version is compared with what serves, not with the highest
/// Above what serves since the rollback, and below what was left: its run was only slow.
#[test]
fn a_delayed_version_above_a_rollbacks_target_stays_out() {
    let images = Images::start();
    let server = Server::start();
    server.app_file(images.name(), "");
    let [one, delayed, left, next] =
        ["1.0.0", "1.0.1", "1.0.2", "1.0.3"].map(|version| (version, images.push(version)));
    for (version, digest) in [&one, &left] {
        server.deploy(deploy(images.name(), version, digest)).ended(&End::Deployed {});
    }
    server.roll_back(None, Configuration::Today).ended(&End::RolledBack {});
    let reported = server.deploy(deploy(images.name(), delayed.0, &delayed.1));
    assert!(
        matches!(reported.outcome.end, End::Refused { code: Open::Known(RefusalCode::NewerIsLive), .. }),
        "{}",
        reported.text()
    );
    assert!(server.get("/").1.starts_with("1.0.0 "));
    // What is above all that was ever live comes as usual.
    server.deploy(deploy(images.name(), next.0, &next.1)).ended(&End::Deployed {});
    assert!(server.get("/").1.starts_with("1.0.3 "));
}

#[test]
fn another_configuration_of_the_same_version_is_rolled_out() {
    let images = Images::start();
    let server = Server::start();
    let one = images.push("1.0.0");
    server.app_file(images.name(), "environment: {GREETING: hello}\nallow_environment: [FEATURE]\n");
    let mut with_feature = deploy(images.name(), "1.0.0", &one);
    let feature = autotag_model::secret::Secret::verbatim("on".to_owned());
    with_feature.environment.insert("FEATURE".parse().unwrap(), feature);
    server.deploy(with_feature.clone()).ended(&End::Deployed {});
    let before = server.containers();

    server.app_file(images.name(), "environment: {GREETING: goodbye}\nallow_environment: [FEATURE]\n");
    let drift = server.status().drift;
    assert_eq!(drift.len(), 1, "{drift:?}");
    // As the owner's command does it: CI's variables stay as they were given last.
    server.deploy(deploy(images.name(), "1.0.0", &one)).ended(&End::Deployed {});
    let after = server.containers();
    assert_ne!(before, after);
    let environment = docker(&["inspect", "--format", "{{json .Config.Env}}", &after[0]]);
    for pair in ["GREETING=goodbye", "FEATURE=on"] {
        assert!(environment.contains(pair), "{pair} is missing in {environment}");
    }
    assert_eq!(server.status().drift, [""; 0]);

    // Back to the configuration of then.
    server.roll_back(Some("1.0.0"), Configuration::Today).ended(&End::Unchanged {});
    with_feature.deployment = deployment_id();
    with_feature.environment.clear();
    let reported = server.deploy(with_feature);
    assert_eq!(reported.outcome.end, End::Unchanged {}, "{}", reported.text());
}

// invariant known: What runs is known by its container
#[test]
fn the_running_version_shows_in_container_and_image() {
    let images = Images::start();
    let server = Server::start();
    server.app_file(images.name(), "labels: {team: web}\n");
    let of = |container: &str| -> BTreeMap<String, String> {
        let labels = docker(&["inspect", "--format", "{{json .Config.Labels}}", container]);
        serde_json::from_str(&labels).unwrap_or_else(|error| panic!("{labels}: {error}"))
    };
    for version in ["1.0.0", "1.0.1"] {
        let request = deploy(images.name(), version, &images.push(version));
        server.deploy(request.clone()).ended(&End::Deployed {});
        let (container, state) = (server.containers().concat(), server.state());
        let release = &state.active().expect("it serves").release;
        let labels = of(&container);
        for (label, value) in [
            ("app", server.app.as_str()),
            ("deployment", request.deployment.as_str()),
            ("version", version),
            ("digest", request.digest.as_str()),
            ("commit", request.commit.as_str()),
            ("config", release.config.as_str()),
        ] {
            assert_eq!(labels[&format!("autotag-deploy.{label}")], value, "{label} of {labels:?}");
        }
        assert_eq!(labels["team"], "web");
        let image = docker(&["inspect", "--format", "{{.Image}}", &container]);
        let pulled = docker(&["image", "inspect", "--format", "{{json .RepoDigests}}", image.trim()]);
        assert!(pulled.contains(&request.image.with_digest(&request.digest)), "{pulled}");
        assert_eq!(server.status().drift, [""; 0]);
    }
}

#[test]
fn stop_first_never_runs_two() {
    let images = Images::start();
    let server = Server::start();
    server.app_file(images.name(), "order: stop-first\n");
    let (one, two) = (images.push("1.0.0"), images.push("1.0.1"));
    server.deploy(deploy(images.name(), "1.0.0", &one)).ended(&End::Deployed {});
    let reported = server.deploy(deploy(images.name(), "1.0.1", &two)).ended(&End::Deployed {});
    let steps = steps_ended(&reported.answers);
    let place = |wanted| steps.iter().position(|step| *step == wanted).expect("it was done");
    assert!(place(RolloutStep::Stop) < place(RolloutStep::Start), "{steps:?}");
    assert!(server.get("/").1.contains("1.0.1"));
    assert_eq!(server.container_versions(), ["1.0.1"]);
    // A broken one: the old one serves again.
    let broken = images.push_with("1.0.2", &[("FAIL_HEALTH", "always")]);
    server.app_file(
        images.name(),
        "order: stop-first\nhealth: {path: /healthz, deadline: 2s, stable: 300ms}\n",
    );
    let reported = server.deploy(deploy(images.name(), "1.0.2", &broken));
    assert!(
        matches!(reported.outcome.end, End::Failed { step: Open::Known(RolloutStep::Health), .. }),
        "{}",
        reported.text()
    );
    assert!(server.get("/").1.contains("1.0.1"));
    assert_eq!(server.container_versions(), ["1.0.1"]);
}

#[test]
fn old_images_are_pruned_and_what_a_rollback_needs_stays() {
    let images = Images::start();
    let server = Server::start();
    server.app_file(images.name(), "keep: 2\n");
    let digests: Vec<_> = ["1.0.0", "1.0.1", "1.0.2"].map(|version| (version, images.push(version))).into();
    for (version, digest) in &digests {
        server.deploy(deploy(images.name(), version, digest)).ended(&End::Deployed {});
    }
    let there: Vec<bool> = digests
        .iter()
        .map(|(_, digest)| {
            let name = images.name().with_digest(digest);
            !docker(&["image", "inspect", &name]).trim().starts_with("[]")
        })
        .collect();
    assert_eq!(there, [false, true, true], "two versions are kept");
    // One that was pruned is pulled again.
    server.roll_back(Some("1.0.0"), Configuration::Today).ended(&End::RolledBack {});
    assert!(server.get("/").1.contains("1.0.0"));
}

// invariant server-order
#[test]
fn two_at_once_queue_and_the_older_one_is_refused() {
    let images = Images::start();
    let server = Server::start();
    server.app_file(images.name(), "health: {path: /healthz, deadline: 20s, stable: 1s}\n");
    let digests = ["1.0.0", "1.0.1", "1.0.2"].map(|version| images.push(version));
    let body = |version: &str, digest| {
        autotag_protocol::Body::Deploy(Box::new(deploy(images.name(), version, digest)))
    };
    let mut first = server.ask(body("1.0.0", &digests[0]));
    first.until(|answer| matches!(answer, Event::StepStarted { step: Open::Known(RolloutStep::Health) }));
    let mut second = server.ask(body("1.0.2", &digests[2]));
    let Event::Waiting { holder: Some(holder) } =
        second.until(|answer| matches!(answer, Event::Waiting { .. }))
    else {
        panic!("it says for whom it waits")
    };
    assert_eq!(holder.purpose, "deploy 1.0.0");
    assert_eq!(server.status().busy.map(|holder| holder.purpose), Some("deploy 1.0.0".to_owned()));
    let mut third = server.ask(body("1.0.1", &digests[1]));
    third.until(|answer| matches!(answer, Event::Waiting { .. }));
    first.finish().ended(&End::Deployed {});
    second.finish().ended(&End::Deployed {});
    let reported = third.finish();
    assert!(
        matches!(reported.outcome.end, End::Refused { code: Open::Known(RefusalCode::NewerIsLive), .. }),
        "{}",
        reported.text()
    );
    assert!(server.get("/").1.contains("1.0.2"));
}

// invariant server-order
#[test]
fn a_cut_connection_changes_nothing() {
    let images = Images::start();
    let server = Server::start();
    server.app_file(images.name(), "");
    let one = images.push("1.0.0");
    let request = deploy(images.name(), "1.0.0", &one);
    let body = || autotag_protocol::Body::Deploy(Box::new(request.clone()));
    for step in [RolloutStep::Pull, RolloutStep::Start, RolloutStep::Health] {
        let mut cut = server.ask(body());
        cut.until(|answer| *answer == Event::StepStarted { step: step.into() });
        drop(cut);
    }
    // It is at work still: who comes back hears it from its first word on.
    let reported = server.ask(body()).finish().ended(&End::Deployed {});
    assert_eq!(reported.answers.first(), Some(&Event::StepStarted { step: Open::Known(RolloutStep::Pull) }));
    // And when it is over, it is told from the record.
    let reported = server.ask(body()).finish().ended(&End::Deployed {});
    // `serve` may be tidying up after it at this moment, and says that it waits for that.
    let report_of_it = reported.answers.iter().filter(|answer| !matches!(answer, Event::Waiting { .. }));
    assert_eq!(report_of_it.count(), 1, "{}", reported.text());
    assert_eq!(server.history().len(), 1, "it was deployed once");
    // The id is taken for ever.
    let mut other = request;
    other.version = "2.0.0".parse().unwrap();
    let reported = server.deploy(other);
    assert!(
        matches!(reported.outcome.end, End::Refused { code: Open::Known(RefusalCode::IdTaken), .. }),
        "{}",
        reported.text()
    );
}
