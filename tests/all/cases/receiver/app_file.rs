//! App files with lines as they stand in public Compose files, through the owner's own command.

use std::path::Path;
use std::process::{Command, Output};

use autotag_protocol::End;
use autotag_receiver::config::app_file::fields;
use serde_json::Value;

use super::env_files::compose;
use testkit::images::app_image::AppImage;
use testkit::server::{Images, Server, commit_of, deploy, docker};

/// `autotag-receiver check` of this text.
fn check(text: &str) -> (Option<i32>, String) {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("app.yaml");
    std::fs::write(&path, text).expect("the app file");
    let output = receiver(&["check", &path.to_string_lossy()]);
    let reported = [output.stdout, output.stderr].concat();
    (output.status.code(), String::from_utf8_lossy(&reported).into_owned())
}

fn receiver(arguments: &[&str]) -> Output {
    Command::new(testkit::programs::receiver()).args(arguments).output().expect("the program starts")
}

/// Whether Compose puts something else in the place of a value, or refuses it.
fn is_changed_by_compose(directory: &Path, value: &str) -> bool {
    let project = serde_json::json!({"services": {"app": {"image": "none", "environment": {"A": value}}}});
    std::fs::write(directory.join("compose.yaml"), project.to_string()).expect("the project");
    let output = compose(directory);
    if !output.status.success() {
        return true;
    }
    let project: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    let read = project["services"]["app"]["environment"]["A"].as_str().expect("a text");
    read.replace("$$", "$") != value
}

// case S2; broken by: no judgement of the fields' spelling: exit 0, "is right".
pub fn composes_variables_are_faults() {
    let text = r#"image: ghcr.io/org/app
port: 3000
listen: 127.0.0.1:3000
environment:
  SECRET_KEY_BASE: ${SECRET_KEY_BASE}
  API_KEY: ${API_KEY:?set it}
  DB_USER: ${DB_USER:-app}
  PASSWORD: pa$$word
healthcheck: {test: ["CMD-SHELL", "test -n \"$${SECRET_KEY_BASE}\""], interval: 5s}
user: "${UID}:${GID}"
"#;
    let (code, reported) = check(text);
    assert_eq!(code, Some(2), "{reported}");
    for (line, key) in [
        (5, "environment.SECRET_KEY_BASE"),
        (6, "environment.API_KEY"),
        (7, "environment.DB_USER"),
        (8, "environment.PASSWORD"),
        (9, "healthcheck.test[1]"),
        (10, "user"),
    ] {
        let fault = reported.lines().find(|fault| fault.contains(&format!("`{key}`"))).unwrap_or_default();
        assert!(
            fault.starts_with(&format!("line {line}, ")) && fault.contains("`!literal`"),
            "{key}: {reported}"
        );
    }
    assert!(!reported.contains("pa$"), "{reported}");
    let right = text
        .replace(": ${", ": !literal ${")
        .replace("pa$$word", "pa$word")
        .replace("\"test -n \\\"$${", "!literal \"test -n \\\"${")
        .replace("\"${UID}:${GID}\"", "1000:1000");
    let (code, reported) = check(&right);
    assert_eq!(code, Some(0), "{right}{reported}");
    assert!(reported.contains("`environment.PASSWORD`: the `$` is text here"), "{reported}");
}

// case S2; broken by: `$name` in small letters taken for text without a note.
pub fn what_compose_would_change_never_passes_unnoticed() {
    let directory = tempfile::tempdir().expect("a directory");
    for value in [
        "a",
        "$",
        "a$",
        "$1",
        "^a$|b$",
        "$2y$10$",
        "$(date)",
        "$?",
        "5$ each",
        "$\u{e9}",
        "\\$",
        "$A",
        "$a",
        "$_",
        "a$b",
        "pa$$word",
        "$$",
        "$$$",
        "${A}",
        "${A:-b}",
        "${",
        "${}",
        "${1}",
        "$2y$10$N9qo8uLOickgx2ZMRZoMye",
        "\\$A",
        "$\u{17f}",
    ] {
        let quoted = serde_json::Value::from(value).to_string();
        let file =
            |value: &str| format!("image: ghcr.io/org/app\nport: 1\nlisten: 1\nenvironment:\n  A: {value}\n");
        let (code, reported) = check(&file(&quoted));
        let noticed = code != Some(0) || reported.contains("the `$` is text here");
        assert_eq!(noticed, is_changed_by_compose(directory.path(), value), "{value:?}: {reported}");
        assert_eq!(check(&file(&format!("!literal {quoted}"))).0, Some(0), "{value:?}");
    }
}

// case S6; broken by: the library's own words for what is no YAML.
pub fn a_value_that_needs_quotes_is_named_with_its_key() {
    let listen = fields().find(|field| field.name == "listen").expect("a key");
    assert!(listen.meaning.contains("\"[::]:80\""), "{}", listen.meaning);
    for (line, key, remedy) in [
        ("listen: [::]:80", "listen", "`listen: \"[::]:80\"`"),
        ("host: *.example.com", "host", "`host: \"*.example.com\"`"),
        ("user: @app", "user", "`user: \"@app\"`"),
        ("user: &app", "user", "in quotes"),
        ("user: !app", "user", "in quotes"),
        ("user: #app", "user", "in quotes"),
        ("user: %app", "user", "in quotes"),
        ("environment:\n  PASSWORD: @hunter2", "environment.PASSWORD", "in quotes"),
        ("environment:\n  PASSWORD: hunter2: x", "environment.PASSWORD", "in quotes"),
        ("environment: {PASSWORD: `hunter2}", "environment.PASSWORD", "in quotes"),
        ("command: [echo, true]", "command[1]", "in quotes"),
        ("keep:5", "keep", "a space behind `keep:`"),
        ("environment:\n\tA: hunter2", "environment.A", "no tab"),
        ("port: 08", "port", "without a leading zero"),
        ("read_only: yes", "read_only", "`true` or `false`"),
        ("keep: 5\nkeep: 6", "keep", "each key once"),
        ("user: &a b\n<<: *a", "<<", "no merge key"),
    ] {
        let least = "image: ghcr.io/org/app\nport: 3000\nlisten: 127.0.0.1:8080\n";
        let of = |line: &str| line.split(':').next().map(|key| format!("{key}:")).expect("a key");
        let others: Vec<&str> = least.lines().filter(|other| of(other) != of(line)).collect();
        let (code, reported) = check(&format!("{}\n{line}\n", others.join("\n")));
        assert_eq!(code, Some(2), "{line}: {reported}");
        assert!(reported.contains(&format!("`{key}`: ")) && reported.contains(remedy), "{line}: {reported}");
        assert!(!reported.contains("hunter2"), "{line}: {reported}");
    }
}

// case S18; broken by: the list of keys in every fault.
pub fn many_unknown_keys_are_reported_briefly() {
    let least = "image: ghcr.io/org/app\nport: 3000\nlisten: 127.0.0.1:8080\n";
    let unknown = (0..50).fold(String::new(), |text, number| text + "zz" + &number.to_string() + ": x\n");
    let (code, reported) = check(&format!("{least}{unknown}"));
    assert_eq!(code, Some(2), "{reported}");
    assert!(reported.len() < 4_000, "{} bytes: {reported}", reported.len());
    assert_eq!(reported.matches("`stop_grace_period`").count(), 1, "{reported}");
    let (_, reported) = check(&format!("{least}pid: host\nipc: host\ndepends_on: [db]\n"));
    assert_eq!(reported.matches("Compose has it, the app file does not: ").count(), 3, "{reported}");
    assert!(!reported.contains("did you mean"), "{reported}");
}

/// What one container has of these settings, by Docker's own word.
fn deployed(more: &str, env_file: &str) -> Value {
    let images = Images::start();
    let image = AppImage::new("1.0.0").commit(&commit_of("1.0.0")).label("registry", images.registry.host());
    let digest = images.registry.put("org/app", "1.0.0", &image.healthcheck().for_registry());
    let server = Server::start();
    std::fs::write(server.directory.path().join("etc/autotag/app.env"), env_file).expect("the file");
    server.app_file(images.name(), &format!("env_file: /etc/autotag/app.env\n{more}"));
    server.deploy(deploy(images.name(), "1.0.0", &digest)).ended(&End::Deployed {});
    let described: Value =
        serde_json::from_str(&docker(&["inspect", &server.containers().concat()])).expect("JSON");
    described[0]["Config"].clone()
}

// case S5; broken by: a `healthcheck` without `test` not given to Docker.
pub fn a_healthcheck_without_a_test_sets_the_times_of_the_images_own() {
    let config =
        deployed("healthcheck: {disable: false, interval: 2s, retries: 7, start_interval: 1s}\n", "");
    let check = &config["Healthcheck"];
    assert_eq!(check["Test"], serde_json::json!(["CMD", "/test-app", "check"]), "{check}");
    // What is not said is the image's.
    assert_eq!(
        [&check["Interval"], &check["Retries"], &check["Timeout"]],
        [2_000_000_000_i64, 7, 1_000_000_000],
        "{check}"
    );
}

// case S3; broken by: names by the rule for CI's variables; no variables in double quotes.
pub fn what_an_env_file_and_the_app_file_say_reaches_the_container() {
    let config = deployed(
        "environment:\n  OWN: !literal ${A}$$\n  HASH: $2y$10$abc\n  dotted.name: \"1\"\n",
        "\u{feff}export discovery.type=single-node\nCOLOR=#ff0000\nESCAPED=\"a\\$b\"\nNAME=Shop\nMAIL=\"${NAME} x\"\nKEY=\"1\n2\"\n",
    );
    let environment = config["Env"].as_array().expect("a list");
    for expected in [
        "OWN=${A}$$",
        "HASH=$2y$10$abc",
        "dotted.name=1",
        "discovery.type=single-node",
        "COLOR=#ff0000",
        "ESCAPED=a$b",
        "MAIL=Shop x",
        "KEY=1\n2",
    ] {
        assert!(environment.iter().any(|variable| variable == expected), "{expected:?} in {environment:?}");
    }
}
