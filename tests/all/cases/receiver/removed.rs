//! Somebody removes the container that should serve: its image and settings are recorded, so it is made again.

use std::process::Command;

use autotag_protocol::{Body, End, Open, RolloutStep};

use crate::receiver::crashes::held::{held_at, one_of_the_right_version, settled};
use testkit::programs::receiver;
use testkit::server::{Images, Server, deploy, docker};

const QUICK: &str =
    "health: {path: /healthz, deadline: 6s, stable: 100ms}\nstop_grace_period: 1s\ndrain: 1s\n";

fn serving(more: &str) -> (Images, Server) {
    let (images, server) = (Images::start(), Server::start());
    server.app_file(images.name(), &format!("{QUICK}{more}"));
    let one = images.push("1.0.0");
    server.deploy(deploy(images.name(), "1.0.0", &one)).ended(&End::Deployed {});
    (images, server)
}

fn container(server: &Server) -> String {
    server.state().active().expect("it is recorded").container.to_string()
}

#[track_caller]
fn serves_again(server: &Server, gone: &str, when: &str) {
    server.until("it is made again", || {
        server.state().active().is_some_and(|active| active.container.as_str() != gone)
    });
    // Killed between its record and its start, it is recorded and does not run until the recovery has begun.
    server.until("it runs", || {
        let active = server.state().active().map(|active| active.container.to_string());
        active.is_some_and(|active| server.containers() == [active])
    });
    settled(server);
    let state = one_of_the_right_version(server, when);
    assert_eq!(state.active().expect("it serves").release.version.to_string(), "1.0.0", "{when}");
    assert_eq!(server.status().drift, [""; 0], "{when}");
}

// case S8; broken by: `Step::Remake` taken out of `restore`, and seen on the version before.
pub fn what_was_pruned_during_a_failed_stop_first_is_made_again() {
    let (images, server) = serving("order: stop-first\n");
    let old = container(&server);
    let two = images.push_with("1.0.1", &[("FAIL_HEALTH", "always")]);
    let request = deploy(images.name(), "1.0.1", &two);
    let held = held_at(&server, Body::Deploy(Box::new(request)), |step| step == RolloutStep::Health);
    let filter = format!("label=autotag-deploy.app={}", server.app);
    docker(&["container", "prune", "--force", "--filter", &filter]);
    assert_eq!(
        docker(&["ps", "--all", "--quiet", "--no-trunc", "--filter", &format!("id={old}")]),
        "",
        "pruned"
    );
    let reported = held.expect("it comes to its health").go_on(&server).finish();
    assert!(
        matches!(reported.outcome.end, End::Failed { step: Open::Known(RolloutStep::Health), .. }),
        "{}",
        reported.text()
    );
    let running = reported.outcome.running.map(|running| running.version.to_string());
    assert_eq!(running.as_deref(), Some("1.0.0"), "it serves again when the failure is told");
    serves_again(&server, &old, "pruned");
}

// case S8; broken by: `removed` taken out of `reconcile.rs`; by the recovery without `Step::Remake`.
pub fn what_serves_is_made_again_when_somebody_removes_it() {
    let (images, mut server) = serving("");
    let old = container(&server);
    docker(&["rm", "--force", &old]);
    serves_again(&server, &old, "while serve runs");

    // With its image, while nobody looks.
    let old = container(&server);
    server.kill_serve();
    let image = server.state().active().expect("it serves").release.digest.to_string();
    docker(&["rm", "--force", &old]);
    docker(&["image", "rm", "--force", &format!("{}@{image}", images.name())]);
    server.start_serve();
    serves_again(&server, &old, "while serve was away");

    // By the next deployment, which is of another version, and fails.
    server.kill_serve();
    let old = container(&server);
    docker(&["rm", "--force", &old]);
    let bad = images.push_with("1.0.1", &[("FAIL_HEALTH", "always")]);
    server.start_serve();
    server.deploy(deploy(images.name(), "1.0.1", &bad));
    serves_again(&server, &old, "after one that failed");
    let good = images.push("1.0.2");
    server.deploy(deploy(images.name(), "1.0.2", &good)).ended(&End::Deployed {});
    one_of_the_right_version(&server, "after one that works");
}

// case S8; broken by: `deploy APP` as it was, which knows only what `status` says is running.
pub fn the_hint_of_status_makes_it_again() {
    let (_images, mut server) = serving("");
    // As an earlier receiver left it: what was removed was taken out of the state.
    server.kill_serve();
    let old = container(&server);
    docker(&["rm", "--force", &old]);
    let file = server.paths.state(&server.app).join("state.json");
    let text = std::fs::read_to_string(&file).expect("the state");
    let mut state: serde_json::Value = serde_json::from_str(&text).expect("JSON");
    forget_active(&mut state);
    std::fs::write(&file, state.to_string()).expect("written");
    server.start_serve();
    let hint = format!("autotag-receiver deploy {}", server.app);
    let drift = server.status().drift.concat();
    assert!(drift.contains(&hint), "{drift}");
    let output = Command::new(receiver())
        .arg("--root")
        .arg(server.directory.path())
        .args(["deploy", server.app.as_str()])
        .output()
        .expect("the owner's command");
    let printed = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
    assert!(output.status.success(), "{printed}");
    serves_again(&server, &old, "by the hint");
}

/// Puts `null` in the place of what serves, wherever the file has it.
fn forget_active(value: &mut serde_json::Value) {
    match value {
        serde_json::Value::Object(map) => {
            for (key, value) in map {
                if key == "active" { *value = serde_json::Value::Null } else { forget_active(value) }
            }
        }
        serde_json::Value::Array(list) => list.iter_mut().for_each(forget_active),
        _ => {}
    }
}

// case S8; broken by: the container that was made looked for by its id alone, so that its name was taken.
pub fn killed_at_each_step_of_making_it_again() {
    let (_images, mut server) = serving("");
    for entries in 1..=9 {
        let old = container(&server);
        server.kill_serve();
        docker(&["rm", "--force", &old]);
        let before = server.journal().len();
        server.start_serve();
        server.until("so many entries", || server.journal().len() >= before + entries);
        server.kill_serve();
        server.start_serve();
        serves_again(&server, &old, &format!("killed after {entries} entries"));
    }
}
