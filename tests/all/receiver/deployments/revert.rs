//! Taking one deployment back on the real server: a run that failed on another server goes back here, and only by
//! what it deployed itself.

use autotag_model::secret::Secret;
use autotag_protocol::{Body, Deploy, End, Event, Open, RefusalCode, RolloutStep};

use crate::receiver::crashes::held::refused;
use testkit::server::{Images, Server, Transcript, deploy, docker, revert, rollback};

const FEATURE: &str = "allow_environment: [FEATURE]\n";
/// One version alone is kept, so that nothing is there by chance.
const FILE: &str = "keep: 1\nallow_environment: [FEATURE]\n";

fn with_feature(deploy: Deploy, value: &str) -> Deploy {
    let feature = [("FEATURE".parse().expect("a key"), Secret::verbatim(value.to_owned()))];
    Deploy { environment: feature.into(), ..deploy }
}

/// The version that is answered, and the variable that CI gave.
#[track_caller]
fn serves(server: &Server, version: &str, feature: &str) {
    assert!(server.get("/").1.starts_with(&format!("{version} ")), "{version} serves");
    let containers = server.containers();
    assert_eq!(containers.len(), 1, "{containers:?}");
    let environment = docker(&["inspect", "--format", "{{json .Config.Env}}", &containers[0]]);
    assert!(environment.contains(&format!("\"FEATURE={feature}\"")), "FEATURE={feature}: {environment}");
}

fn back(server: &Server, deploy: &Deploy) -> Transcript {
    server.ask(Body::Rollback(Box::new(revert(&deploy.deployment)))).finish()
}

// invariant server-order: Only what a run deployed itself is reverted; broken by:
//   `crates/receiver/src/policy/admit/mod.rs`: whatever serves is taken back
/// Two runs, both of which fail on another server. The first one's request to go back comes when the second one's
/// version serves.
#[test]
fn a_late_revert_does_not_touch_a_newer_deployment() {
    let images = Images::start();
    let server = Server::start();
    server.app_file(images.name(), FEATURE);
    let [one, two, three] = ["1.0.0", "1.0.1", "1.0.2"]
        .map(|version| with_feature(deploy(images.name(), version, &images.push(version)), version));
    server.deploy(one).ended(&End::Deployed {});
    server.deploy(two.clone()).ended(&End::Deployed {});
    server.deploy(three.clone()).ended(&End::Deployed {});
    let before = server.containers();

    let message = refused(&back(&server, &two).outcome.end, RefusalCode::NewerIsLive);
    assert!(message.contains(three.deployment.as_str()), "{message}");
    assert_eq!((server.containers(), server.status().blocked), (before, Vec::new()), "nothing was touched");
    serves(&server, "1.0.2", "1.0.2");

    // What the first one would not leave here is nothing to go back to.
    let request = Body::Rollback(Box::new(revert(&three.deployment)));
    let reported = server.ask(request.clone()).finish();
    assert_eq!(reported.outcome.end, End::RolledBack {}, "{}", reported.text());
    serves(&server, "1.0.0", "1.0.0");
    // Its answer was lost: it is told again, and nothing more is done.
    let after = (server.containers(), server.history().len());
    server.ask(request).finish().ended(&End::RolledBack {});
    assert_eq!((server.containers(), server.history().len()), after);
}

// invariant server-order: What is reverted gets its settings of that time; broken by:
//   `crates/receiver/src/serve/change/mod.rs`: today's are taken, with the variables of what is left
/// The settings are those of then, whatever the version left had; and a version is not bad for its variables.
#[test]
fn variables_are_reverted_as_a_version_is() {
    let images = Images::start();
    let server = Server::start();
    server.app_file(images.name(), FILE);
    let digest = images.push("1.0.0");
    let first = with_feature(deploy(images.name(), "1.0.0", &digest), "one");
    let second = with_feature(deploy(images.name(), "1.0.0", &digest), "two");
    server.deploy(first.clone()).ended(&End::Deployed {});
    server.deploy(second.clone()).ended(&End::Deployed {});
    serves(&server, "1.0.0", "two");
    back(&server, &second).ended(&End::Deployed {});
    serves(&server, "1.0.0", "one");
    assert!(server.status().blocked.is_empty());

    let next = with_feature(deploy(images.name(), "1.0.1", &images.push("1.0.1")), "three");
    server.deploy(next.clone()).ended(&End::Deployed {});
    back(&server, &next).ended(&End::RolledBack {});
    serves(&server, "1.0.0", "one");
}

// invariant server-order: What another run found serving is not reverted for one; broken by:
//   `crates/receiver/src/serve/change/mod.rs`: a deployment that changes nothing is not written down
/// Another run deploys the very same while the first one still waits for another server. It has told its people that
/// this version serves here.
#[test]
fn what_another_run_found_serving_stays_for_that_one() {
    let images = Images::start();
    let mut server = Server::start();
    server.app_file(images.name(), FILE);
    let [one, two] = ["1.0.0", "1.0.1"]
        .map(|version| with_feature(deploy(images.name(), version, &images.push(version)), version));
    server.deploy(one).ended(&End::Deployed {});
    server.deploy(two.clone()).ended(&End::Deployed {});
    // Its own request, again, is nobody else's.
    server.deploy(two.clone()).ended(&End::Deployed {});
    assert_eq!(server.state().shared, None);
    let same = Deploy { deployment: rollback().deployment, ..two.clone() };
    server.deploy(same).ended(&End::Unchanged {});
    server.kill_serve();
    server.start_serve();
    refused(&back(&server, &two).outcome.end, RefusalCode::NewerIsLive);
    serves(&server, "1.0.1", "1.0.1");
}

#[test]
fn the_first_deployment_of_a_server_stays() {
    let images = Images::start();
    let server = Server::start();
    server.app_file(images.name(), FILE);
    let first = with_feature(deploy(images.name(), "1.0.0", &images.push("1.0.0")), "one");
    server.deploy(first.clone()).ended(&End::Deployed {});
    refused(&back(&server, &first).outcome.end, RefusalCode::NotRecorded);
    serves(&server, "1.0.0", "one");
}

/// Its caller's time was up while it waited for its turn: the caller lets it go, and asks for it back.
#[test]
fn a_queued_deployment_is_reverted_after_its_turn() {
    let images = Images::start();
    let server = Server::start();
    server.app_file(images.name(), &format!("{FILE}health: {{path: /healthz, deadline: 20s, stable: 1s}}\n"));
    let [one, two] = ["1.0.0", "1.0.1"]
        .map(|version| with_feature(deploy(images.name(), version, &images.push(version)), version));
    let mut first = server.ask(Body::Deploy(Box::new(one)));
    first.until(|answer| matches!(answer, Event::StepStarted { step: Open::Known(RolloutStep::Health) }));
    let mut waits = server.ask(Body::Deploy(Box::new(two.clone())));
    waits.until(|answer| matches!(answer, Event::Waiting { .. }));
    drop(waits);
    let mut take = server.ask(Body::Rollback(Box::new(revert(&two.deployment))));
    take.until(|answer| matches!(answer, Event::Waiting { .. }));
    first.finish().ended(&End::Deployed {});
    take.finish().ended(&End::RolledBack {});
    serves(&server, "1.0.0", "1.0.0");
    let ends: Vec<End> = server.history().into_iter().map(|entry| entry.end).collect();
    assert_eq!(ends, [End::RolledBack {}, End::Deployed {}, End::Deployed {}], "its turn came before");
}

// invariant server-order: What was reverted does not come late; broken by:
//   `crates/receiver/src/policy/admit/mod.rs`: a deployment that was withdrawn is not looked for
/// The network delivered it after the request to take it back, and after a restart.
#[test]
fn what_comes_only_after_it_was_reverted_is_refused() {
    let images = Images::start();
    let mut server = Server::start();
    server.app_file(images.name(), FILE);
    let [one, two] = ["1.0.0", "1.0.1"]
        .map(|version| with_feature(deploy(images.name(), version, &images.push(version)), version));
    server.deploy(one).ended(&End::Deployed {});
    back(&server, &two).ended(&End::Unchanged {});
    server.kill_serve();
    server.start_serve();
    let reported = server.deploy(Deploy { allow_downgrade: true, ..two.clone() });
    refused(&reported.outcome.end, RefusalCode::IdTaken);
    serves(&server, "1.0.0", "1.0.0");
    // Another deployment of the same version is none of its business.
    let again = Deploy { deployment: rollback().deployment, ..two };
    server.deploy(again).ended(&End::Deployed {});
    serves(&server, "1.0.1", "1.0.1");
}
