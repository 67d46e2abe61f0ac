//! Logs where nothing can be read.

use std::process::Command;

use autotag_protocol::{Body, End, Open, RefusalCode};
use autotag_receiver::config::settings::Snapshots;
use autotag_receiver::execute::container;

use testkit::programs::receiver;
use testkit::server::{Images, Server, deploy, docker};

/// Makes the container that serves anew, with a log driver that keeps nothing.
fn without_a_log(server: &mut Server) {
    server.kill_serve();
    let (state, directory) = (server.state(), server.paths.state(&server.app));
    let active = state.active().expect("it serves");
    let settings = Snapshots::new(&directory).load(&active.release.deployment).expect("read").expect("there");
    let spec = container::spec(&server.app, &active.release, &settings);
    docker(&["rm", "--force", active.container.as_str()]);
    let mut words: Vec<String> =
        ["create", "--log-driver", "none", "--name", &spec.name, "--network", &spec.networks[0]]
            .map(str::to_owned)
            .into();
    words
        .extend(spec.labels.iter().flat_map(|(key, value)| ["--label".to_owned(), format!("{key}={value}")]));
    words.push(spec.image.clone());
    let id = docker(&words.iter().map(String::as_str).collect::<Vec<_>>()).trim().to_owned();
    docker(&["start", &id]);
    let file = directory.join("state.json");
    let text = std::fs::read_to_string(&file).expect("the state");
    std::fs::write(&file, text.replace(active.container.as_str(), &id)).expect("written");
    std::fs::remove_file(directory.join(format!("settings/{}.made", active.release.deployment)))
        .expect("a note");
    server.start_serve();
    server.until("it serves", || server.status().drift.is_empty());
}

fn ask(server: &Server, words: &[&str]) -> (Option<i32>, String) {
    let output = Command::new(receiver())
        .arg("--root")
        .arg(server.directory.path())
        .args(words)
        .output()
        .expect("the owner's command");
    (output.status.code(), String::from_utf8_lossy(&output.stdout).into_owned())
}

// case S19; broken by: `running` left out of a refused question's outcome; by text in place of JSON.
pub fn logs_of_a_driver_without_logs_are_explained() {
    let (images, mut server) = (Images::start(), Server::start());
    server.app_file(images.name(), "");
    let one = images.push("1.0.0");
    server.deploy(deploy(images.name(), "1.0.0", &one)).ended(&End::Deployed {});
    without_a_log(&mut server);
    let outcome = server.ask(Body::Logs { lines: 5 }).finish().outcome;
    let End::Refused { code: Open::Known(RefusalCode::Host), message } = &outcome.end else {
        panic!("{outcome:?}")
    };
    assert!(message.contains("`none`"), "{message}");
    assert_eq!(outcome.running.map(|running| running.version.to_string()).as_deref(), Some("1.0.0"));
    let app = server.app.to_string();
    let (code, text) = ask(&server, &["logs", &app]);
    assert!(text.contains("`none`") && text.contains("1.0.0"), "{text}");
    let (json_code, json) = ask(&server, &["logs", &app, "--json"]);
    assert_eq!((code, json_code), (Some(3), Some(3)));
    for line in json.lines() {
        let value: serde_json::Value =
            serde_json::from_str(line).unwrap_or_else(|error| panic!("{line}: {error}"));
        assert!(value.to_string().contains("`none`"), "{value}");
    }
    assert!(!json.trim().is_empty(), "it says something");
    let (code, status) = ask(&server, &["status", &app, "--json"]);
    assert_eq!(code, Some(0));
    let status: serde_json::Value = serde_json::from_str(&status).expect("JSON");
    assert_eq!(status["status"]["running"]["version"], "1.0.0");
}
