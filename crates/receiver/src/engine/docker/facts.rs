//! How a container is, from the Engine's description of it.

use std::collections::BTreeMap;
use std::net::IpAddr;

use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use super::answers::{Config, Container, Endpoint, List, State, read, texts};
use crate::engine::{ContainerFacts, Healthy};

/// The facts in what `GET /containers/ID/json` answered.
pub(super) fn facts(answer: &Value) -> ContainerFacts {
    let container: Container = read(answer);
    let state = container.state.clone().unwrap_or_default();
    let running = state.running.unwrap_or(false) && !state.restarting.unwrap_or(false);
    let config = container.config.clone().unwrap_or_default();
    ContainerFacts {
        id: container.id.clone().unwrap_or_default(),
        name: container.name.as_deref().unwrap_or_default().trim_start_matches('/').to_owned(),
        image_id: container.image.clone().unwrap_or_default(),
        running,
        paused: running && state.paused.unwrap_or(false),
        exit_code: state.exit_code.filter(|_| !running && has_run(&container)),
        error: error_of(&state),
        restarts: container.restart_count.and_then(|count| count.try_into().ok()).unwrap_or(0),
        health: health(&state, &config),
        health_log: health_log(&state),
        addresses: addresses(&container),
        volumes: super::volumes::of(&container),
        configuration: hex(&Sha256::digest(configuration(answer, &container).to_string())),
        labels: texts(config.labels),
    }
}

/// Whether it was ever started.
fn has_run(container: &Container) -> bool {
    let started = container.state.as_ref().and_then(|state| state.started_at.as_deref());
    started.is_some_and(|time| !time.is_empty() && time != super::NEVER)
}

fn error_of(state: &State) -> Option<String> {
    let words = state.error.clone().filter(|words| !words.is_empty());
    words.or_else(|| {
        let killed = state.oom_killed.unwrap_or(false) && !state.running.unwrap_or(false);
        killed.then(|| "it was killed because it ran out of memory".to_owned())
    })
}

/// Whether a health check is there and not switched off (`NONE`).
pub(super) fn checks(config: &Config) -> bool {
    let test =
        config.healthcheck.as_ref().and_then(|check| check.test.as_ref()).and_then(|test| test.first());
    test.is_some_and(|kind| kind != "NONE")
}

fn health(state: &State, config: &Config) -> Healthy {
    if !checks(config) {
        return Healthy::Unchecked;
    }
    match state.health.as_ref().and_then(|health| health.status.as_deref()) {
        Some("healthy") => Healthy::Yes,
        Some("unhealthy") => Healthy::No,
        // Before the first start the Engine has no word on it.
        _ => Healthy::Starting,
    }
}

fn health_log(state: &State) -> Vec<(i64, String)> {
    let log = state.health.as_ref().and_then(|health| health.log.as_deref());
    let results = log.into_iter().flatten();
    results
        .map(|result| (result.exit_code.unwrap_or_default(), result.output.clone().unwrap_or_default()))
        .collect()
}

fn addresses(container: &Container) -> BTreeMap<String, IpAddr> {
    let networks = container.network_settings.as_ref().and_then(|settings| settings.networks.as_ref());
    let networks = networks.into_iter().flatten();
    networks
        .filter_map(|(name, endpoint)| {
            let endpoint: Endpoint = read(endpoint);
            let written = [endpoint.ip_address.as_deref(), endpoint.ipv6_address.as_deref()];
            let address = written.into_iter().flatten().find_map(|text| text.parse().ok())?;
            Some((name.clone(), address))
        })
        .collect()
}

/// What an owner could have changed by hand, in a canonical form. It has the environment's secrets, so
/// only its hash leaves this module.
///
/// Left out is what the Engine makes up anew for each container (ids, addresses, the names of anonymous
/// volumes, aliases) and what names the one deployment (labels). What is compared and not understood stays as the
/// Engine wrote it.
fn configuration(answer: &Value, container: &Container) -> Value {
    let (config, host) = (&answer["Config"], &answer["HostConfig"]);
    let networks = container.network_settings.as_ref().and_then(|settings| settings.networks.as_ref());
    let networks: Vec<&String> = networks.into_iter().flatten().map(|(name, _)| name).collect();
    let mut environment =
        container.config.as_ref().and_then(|config| config.env.as_deref()).unwrap_or_default().to_vec();
    environment.sort();
    let mounts = container.mounts.as_ref().map_or(&[][..], |List(mounts)| mounts);
    let mut mounted: Vec<(Option<&String>, Option<bool>)> =
        mounts.iter().map(|mount| (mount.destination.as_ref(), mount.rw)).collect();
    mounted.sort();
    let of = |keys: &[&str]| -> Vec<&Value> { keys.iter().map(|key| &host[*key]).collect() };
    canonical(json!({
        "environment": environment,
        "command": config["Cmd"],
        "entrypoint": config["Entrypoint"],
        "user": config["User"],
        "working_dir": config["WorkingDir"],
        "healthcheck": config["Healthcheck"],
        "stop": [config["StopSignal"], config["StopTimeout"]],
        "networks": networks,
        "network_mode": host["NetworkMode"],
        "mounts": [host["Binds"], host["Mounts"], host["Tmpfs"], json!(mounted)],
        "restart": host["RestartPolicy"],
        "memory": of(&["Memory", "MemorySwap", "MemoryReservation", "ShmSize"]),
        "cpus": of(&["NanoCpus", "CpuQuota", "CpuPeriod", "CpuShares"]),
        "cpuset": of(&["CpusetCpus", "CpusetMems"]),
        "pids": host["PidsLimit"],
        "capabilities": of(&["CapAdd", "CapDrop"]),
        "privileged": host["Privileged"],
        "security": host["SecurityOpt"],
        "read_only": host["ReadonlyRootfs"],
        "init": host["Init"],
        "devices": host["Devices"],
        "ports": host["PortBindings"],
    }))
}

/// Keys in order, and every way to say "nothing" the same: the Engine writes `null` for what was never
/// set, and 0 or an empty list for it once something else was updated.
fn canonical(value: Value) -> Value {
    match value {
        Value::Object(map) => {
            let sorted: BTreeMap<String, Value> =
                map.into_iter().map(|(key, value)| (key, canonical(value))).collect();
            let kept = sorted.into_iter().filter(|(_, value)| !value.is_null());
            nothing_as_null(Value::Object(kept.collect()))
        }
        Value::Array(list) => nothing_as_null(Value::Array(list.into_iter().map(canonical).collect())),
        other => nothing_as_null(other),
    }
}

fn nothing_as_null(value: Value) -> Value {
    let nothing = match &value {
        Value::Null => true,
        Value::Bool(flag) => !flag,
        Value::Number(number) => number.as_i64() == Some(0),
        Value::String(text) => text.is_empty(),
        Value::Array(list) => list.is_empty(),
        Value::Object(map) => map.is_empty(),
    };
    if nothing { Value::Null } else { value }
}

fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes.iter().fold(String::new(), |mut text, byte| {
        // Writing to a string does not fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(state: &Value, health_test: &Value) -> ContainerFacts {
        let container = json!({
            "Id": "abc", "Name": "/app", "State": state, "RestartCount": 2,
            "Config": { "Healthcheck": { "Test": health_test }, "Labels": { "a": "b" } },
        });
        facts(&container)
    }

    #[test]
    fn states_are_distinguished() {
        let (ran, never) = ("2026-01-01T00:00:00Z", crate::engine::docker::NEVER);
        for (state, running, exit_code) in [
            (json!({ "Running": true, "ExitCode": 0, "StartedAt": ran }), true, None),
            (json!({ "Running": true, "Restarting": true, "ExitCode": 7, "StartedAt": ran }), false, Some(7)),
            (json!({ "Running": true, "Paused": true, "ExitCode": 0, "StartedAt": ran }), true, None),
            (json!({ "Running": false, "ExitCode": 0, "StartedAt": never }), false, None),
            (json!({ "Running": false, "ExitCode": 137, "StartedAt": ran }), false, Some(137)),
        ] {
            let facts = read(&state, &Value::Null);
            assert_eq!((facts.running, facts.exit_code), (running, exit_code), "{state}");
            assert_eq!((facts.name.as_str(), facts.restarts), ("app", 2));
        }
        let killed = json!({ "Running": false, "OOMKilled": true, "ExitCode": 137, "StartedAt": ran });
        assert!(read(&killed, &Value::Null).error.expect("words").contains("memory"));
    }

    #[test]
    fn health_counts_only_where_something_checks() {
        let check = json!(["CMD", "/check"]);
        for (test, status, expected) in [
            (&check, json!("healthy"), Healthy::Yes),
            (&check, json!("unhealthy"), Healthy::No),
            (&check, json!("starting"), Healthy::Starting),
            (&check, json!("none"), Healthy::Starting),
            (&json!(["NONE"]), json!("healthy"), Healthy::Unchecked),
            (&json!([]), json!("none"), Healthy::Unchecked),
        ] {
            let facts = read(&json!({ "Health": { "Status": status } }), test);
            assert_eq!(facts.health, expected, "{test} {status}");
        }
        assert_eq!(read(&json!({}), &check).health, Healthy::Starting, "not started yet");
    }

    #[test]
    fn the_configuration_forgets_what_differs_by_chance() {
        let container = |host: Value, env: Value, networks: Value| {
            let described = json!({
                "Id": "x", "Config": { "Env": env }, "HostConfig": host,
                "NetworkSettings": { "Networks": networks },
            });
            facts(&described).configuration
        };
        let plain = container(json!({ "Memory": 1 }), json!(["A=1", "B=2"]), json!({ "n": {} }));
        let same = container(
            json!({ "Memory": 1, "NanoCpus": 0, "PidsLimit": null, "Binds": [] }),
            json!(["B=2", "A=1"]),
            json!({ "n": { "IPAddress": "10.0.0.2", "Aliases": ["0123456789ab"] } }),
        );
        assert_eq!(plain, same);
        assert_eq!(plain.len(), 64, "a hash, since the environment has secrets");
        for other in [
            container(json!({ "Memory": 2 }), json!(["A=1", "B=2"]), json!({ "n": {} })),
            container(json!({ "Memory": 1 }), json!(["A=1", "B=3"]), json!({ "n": {} })),
            container(json!({ "Memory": 1 }), json!(["A=1", "B=2"]), json!({ "n": {}, "m": {} })),
            container(json!({ "NanoCpus": 1 }), json!(["A=1", "B=2"]), json!({ "n": {} })),
        ] {
            assert_ne!(plain, other);
        }
    }
}
