//! `Config`: what runs in the container. What the image says itself is not repeated.

use std::fmt::Write as _;

use serde_json::Value;

use super::super::app_file::quoted;
use super::keys::{AdoptedKeys, listed};
use super::walk::{UntakenFields, text};
use crate::config::app_file::LABEL_PREFIX;

/// Compose's own, by which it would take the container for one of its project.
const COMPOSE: &str = "com.docker.compose.";

/// What is taken over, and what is noted; gives the host name. Image, variables and exposed ports are read
/// elsewhere.
pub(super) fn config(
    name: &str,
    id: &str,
    config: &mut UntakenFields,
    image: &Value,
    keys: &mut AdoptedKeys,
) -> String {
    command(config, image, keys);
    for (key, field) in [("user", "User"), ("working_dir", "WorkingDir"), ("stop_signal", "StopSignal")] {
        let found = config.text(field);
        keys.set(key, (!found.is_empty() && found != text(image[field].clone())).then(|| quoted(&found)));
    }
    let grace = config.number("StopTimeout");
    keys.set("stop_grace_period", (grace > 0).then(|| format!("{grace}s")));
    // Docker's default is the beginning of the id.
    let hostname = config.text("Hostname");
    let own = !hostname.is_empty() && !id.starts_with(&hostname);
    keys.set("hostname", own.then(|| quoted(&hostname)));
    keys.set("tty", config.flag("Tty").then(|| "true".to_owned()));
    keys.set("stdin_open", config.flag("OpenStdin").then(|| "true".to_owned()));
    labels(name, config, image, keys);
    healthcheck(config, image, keys);
    hostname
}

fn command(config: &mut UntakenFields, image: &Value, keys: &mut AdoptedKeys) {
    let of_image = |field: &str| match &image[field] {
        Value::Array(words) => words.iter().cloned().map(text).collect(),
        _ => Vec::new(),
    };
    let entrypoint = config.texts("Entrypoint").unwrap_or_default();
    let own = entrypoint != of_image("Entrypoint");
    keys.set("entrypoint", own.then(|| listed(&entrypoint)));
    let command = config.texts("Cmd").unwrap_or_default();
    // Beside another entry point the image's command does not count.
    let given = !command.is_empty() && (own || command != of_image("Cmd"));
    keys.set("command", given.then(|| listed(&command)));
}

fn labels(name: &str, config: &mut UntakenFields, image: &Value, keys: &mut AdoptedKeys) {
    let mut of_compose = 0;
    let mut labels = Vec::new();
    for (label, value) in config.map("Labels") {
        if label.starts_with(COMPOSE) {
            of_compose += 1;
        } else if image["Labels"][&label] != value && !label.starts_with(LABEL_PREFIX) {
            labels.push((label, text(value)));
        }
    }
    keys.map("labels", labels);
    if of_compose > 0 {
        keys.note(format!(
            "the labels `{COMPOSE}*` of {name} were left out: Compose would take deployments for its own"
        ));
    }
}

fn healthcheck(config: &mut UntakenFields, image: &Value, keys: &mut AdoptedKeys) {
    let found = config.take("Healthcheck");
    if found.is_null() || found == image["Healthcheck"] {
        return;
    }
    let mut check = UntakenFields::of("Config.Healthcheck", found);
    let words = check.texts("Test").unwrap_or_default();
    if words.first().is_some_and(|word| word == "NONE") {
        return keys.set("healthcheck", Some("{disable: true}".to_owned()));
    }
    let words = if words.is_empty() {
        image["Healthcheck"]["Test"].as_array().into_iter().flatten().cloned().map(text).collect()
    } else {
        words
    };
    let mut reported = format!("{{test: {}", listed(&words));
    for (key, field) in [
        ("interval", "Interval"),
        ("timeout", "Timeout"),
        ("start_period", "StartPeriod"),
        ("start_interval", "StartInterval"),
    ] {
        let nano = check.number(field);
        if nano > 0 {
            let _ = write!(reported, ", {key}: {}ms", nano / 1_000_000);
        }
    }
    let retries = check.number("Retries");
    if retries > 0 {
        let _ = write!(reported, ", retries: {retries}");
    }
    keys.set("healthcheck", (!words.is_empty()).then(|| reported + "}"));
    for field in check.rest(&[]) {
        keys.note(format!("{field} was left out: the app file has no key for it"));
    }
}

/// What nobody took over.
pub(super) fn rest(mut config: UntakenFields) -> Vec<String> {
    // Whether somebody is attached is the command line's; volumes are among the mounts; the others build images.
    config.ignore(&[
        "AttachStdin",
        "AttachStdout",
        "AttachStderr",
        "StdinOnce",
        "Volumes",
        "OnBuild",
        "Shell",
    ]);
    config.ignore(&["ArgsEscaped"]);
    config.rest(&[])
}
