//! The owner's commands on the server: what went wrong, what to do, and the section about it.

use std::process::Command;

use autotag_model::help;
use autotag_model::help::Topic;

use super::annotation::calm;
use autotag_protocol::End;
use testkit::programs::receiver;
use testkit::server::{Images, Server, deploy};

/// Standard output and error of the receiver's program, and its exit code.
fn printed(server: &Server, words: &[&str]) -> (i32, String) {
    let output = Command::new(receiver()).arg("--root").arg(server.directory.path()).args(words).output();
    let output = output.expect("the receiver");
    let text = [output.stdout, output.stderr].concat();
    (output.status.code().expect("it ended"), String::from_utf8(text).expect("UTF-8"))
}

#[track_caller]
fn reported(server: &Server, words: &[&str], code: i32, link: &str, name: &str, replaced: &[(&str, &str)]) {
    let (found, text) = printed(server, words);
    assert_eq!(found, code, "{text}");
    assert!(text.trim_end().ends_with(&format!("More: {link}")), "{text}");
    let directory = server.directory.path().to_string_lossy().into_owned();
    // Whether the server sweeps images at this moment, and the command waits for it, is a matter of time.
    let text: String =
        text.split_inclusive('\n').filter(|line| !line.starts_with("waiting for sweep")).collect();
    let own = [(directory.as_str(), "DIRECTORY"), (server.app.as_str(), "app")];
    insta::assert_snapshot!(name, calm(&text, &[&own, replaced].concat()));
}

#[test]
fn each_failure_says_where_to_read_on() {
    let images = Images::start();
    let mut server = Server::start();
    let app = server.app.to_string();
    server.app_file(images.name(), "");
    let one = images.push("1.0.0");
    server.deploy(deploy(images.name(), "1.0.0", &one)).ended(&End::Deployed {});
    let host = [(images.registry.host(), "REGISTRY")];
    reported(
        &server,
        &["rollback", &app, "9.9.9"],
        3,
        &Topic::NotRecorded.link(),
        "owner_not_recorded",
        &host,
    );
    server.app_file(images.name(), "smoke: [{path: /, contains: Welcome}]\n");
    let (code, text) = printed(&server, &["deploy", &app]);
    assert_eq!(code, 1, "{text}");
    assert!(text.trim_end().ends_with(&Topic::SmokeTest.link()), "{text}");
    server.app_file(images.name(), "drian: 5s\n");
    reported(&server, &["check", "app.yaml"], 1, &help::link(), "owner_no_file", &[]);
    let file = server.paths.app_file(&server.app).to_string_lossy().into_owned();
    reported(&server, &["check", &file], 2, &help::link(), "owner_check", &[(&file, "APP_FILE")]);
    server.kill_serve();
    reported(&server, &["deploy", &app, "1.0.0"], 4, &Topic::NoReceiver.link(), "owner_not_running", &[]);
}
