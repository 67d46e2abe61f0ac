//! Containers from their making to their end.

use std::collections::BTreeMap;
use std::time::Duration;

use autotag_base::clock::Stopwatch;
use autotag_base::{CallErrorKind, Effect};
use autotag_model::secret::Secret;
use autotag_receiver::engine::options::{EngineGpu, EngineOptions};
use autotag_receiver::engine::{ContainerSpec, Engine as _, HealthcheckSpec, Healthy, RestartSpec};
use serde_json::json;

use super::{LABEL, Stage, described, docker, labels, shell, unique};

fn with_every_field(least: ContainerSpec, bind: &str, networks: [&String; 2]) -> ContainerSpec {
    ContainerSpec {
        environment: BTreeMap::from([
            ("EMPTY".to_owned(), Secret::verbatim(String::new())),
            ("WORD".to_owned(), Secret::verbatim(" a=b\nc ".to_owned())),
        ]),
        entrypoint: Some(vec!["/bin/sh".to_owned()]),
        command: Some(vec!["-c".to_owned(), "exec sleep 1000".to_owned()]),
        user: Some("1234:5678".to_owned()),
        working_dir: Some("/tmp".into()),
        read_only: true,
        init: true,
        tmpfs: BTreeMap::from([("/scratch".to_owned(), String::new())]),
        binds: vec![bind.to_owned()],
        networks: networks.into_iter().cloned().collect(),
        healthcheck: Some(HealthcheckSpec::Test {
            test: vec!["CMD".to_owned(), "/bin/true".to_owned()],
            interval: Some(Duration::from_millis(1500)),
            timeout: Some(Duration::from_secs(2)),
            retries: Some(4),
            start_period: Some(Duration::from_secs(5)),
            start_interval: None,
        }),
        restart: RestartSpec::OnFailure(Some(3)),
        cap_drop: vec!["ALL".to_owned()],
        cap_add: vec!["NET_BIND_SERVICE".to_owned()],
        memory: Some(64 << 20),
        nano_cpus: Some(500_000_000),
        pids_limit: Some(50),
        shm_size: Some(1 << 20),
        stop_grace_period: Some(Duration::from_millis(7500)),
        stop_signal: Some("KILL".to_owned()),
        ..least
    }
}

#[tokio::test]
async fn every_field_reaches_the_engine() {
    let stage = Stage::sleeping().await;
    let directory = tempfile::tempdir().expect("a directory");
    let (first, second) = (stage.network().await, stage.network().await);
    let bind = format!("{}:/data:ro", directory.path().display());
    let spec = with_every_field(stage.spec().await, &bind, [&first, &second]);
    let id = stage.start(&spec).await;

    let it = described(&id);
    let (config, host) = (&it["Config"], &it["HostConfig"]);
    assert_eq!(it["Name"], format!("/{}", spec.name));
    assert_eq!(config["Image"], spec.image);
    assert_eq!(config["Labels"][LABEL], labels()[LABEL]);
    assert_eq!(config["Env"], json!(["EMPTY=", "WORD= a=b\nc "]));
    assert_eq!(
        (&config["Entrypoint"], &config["Cmd"]),
        (&json!(["/bin/sh"]), &json!(["-c", "exec sleep 1000"]))
    );
    assert_eq!((&config["User"], &config["WorkingDir"]), (&json!("1234:5678"), &json!("/tmp")));
    assert_eq!((&config["StopSignal"], &config["StopTimeout"]), (&json!("KILL"), &json!(8)));
    let check = json!({
        "Test": ["CMD", "/bin/true"], "Interval": 1_500_000_000_i64, "Timeout": 2_000_000_000_i64,
        "Retries": 4, "StartPeriod": 5_000_000_000_i64,
    });
    assert_eq!(config["Healthcheck"], check);
    assert_eq!((&host["ReadonlyRootfs"], &host["Init"]), (&json!(true), &json!(true)));
    assert_eq!((&host["Tmpfs"], &host["Binds"]), (&json!({ "/scratch": "" }), &json!([bind])));
    assert_eq!(host["RestartPolicy"], json!({ "Name": "on-failure", "MaximumRetryCount": 3 }));
    assert_eq!((&host["CapDrop"], &host["CapAdd"]), (&json!(["ALL"]), &json!(["NET_BIND_SERVICE"])));
    assert_eq!((&host["Memory"], &host["NanoCpus"]), (&json!(64 << 20), &json!(500_000_000)));
    assert_eq!((&host["PidsLimit"], &host["ShmSize"]), (&json!(50), &json!(1 << 20)));
    assert_eq!(host["NetworkMode"], first);
    assert!(host["PortBindings"].as_object().is_none_or(serde_json::Map::is_empty), "nothing is published");

    let facts = stage.facts(&id).await;
    let networks: Vec<&String> = facts.addresses.keys().collect();
    let mut joined = [&first, &second];
    joined.sort();
    assert_eq!(networks, joined);
    assert_eq!(facts.addresses[&first].to_string(), it["NetworkSettings"]["Networks"][&first]["IPAddress"]);
    assert_eq!((&facts.id, &facts.name, facts.running), (&id, &spec.name, true));
    assert_eq!(stage.engine.inspect(&spec.name).await.expect("an answer").expect("by name").id, id);
}

/// No machine of the tests has one, so the container is made and not started.
#[tokio::test]
async fn gpus_are_asked_for() {
    let stage = Stage::sleeping().await;
    let gpu = |count: i64, ids: &[&str]| EngineGpu {
        driver: None,
        count,
        ids: ids.iter().map(|id| (*id).to_owned()).collect(),
        capabilities: vec!["gpu".to_owned()],
    };
    let options =
        EngineOptions { gpus: vec![gpu(-1, &[]), gpu(-1, &["0", "1"])], ..EngineOptions::default() };
    let id = stage.create(&ContainerSpec { options, ..stage.spec().await }).await;
    let requests = &described(&id)["HostConfig"]["DeviceRequests"];
    assert_eq!((&requests[0]["Count"], &requests[0]["Capabilities"]), (&json!(-1), &json!([["gpu"]])));
    assert_eq!((&requests[1]["Count"], &requests[1]["DeviceIDs"]), (&json!(0), &json!(["0", "1"])));
}

#[tokio::test]
async fn steps_can_be_repeated() {
    let stage = Stage::sleeping().await;
    let id = stage.create(&stage.spec().await).await;
    let made = stage.facts(&id).await;
    assert_eq!((made.running, made.exit_code, made.health), (false, None, Healthy::Unchecked));
    for _ in 0..2 {
        stage.engine.start(&id).await.expect("started");
        assert!(stage.facts(&id).await.running);
    }
    for _ in 0..2 {
        stage.engine.stop(&id, Some(Duration::from_secs(5))).await.expect("stopped");
        let stopped = stage.facts(&id).await;
        assert_eq!((stopped.running, stopped.exit_code), (false, Some(137)));
    }
    stage.engine.start(&id).await.expect("started");
    for _ in 0..2 {
        stage.engine.remove(&id).await.expect("removed, running or not");
        assert_eq!(stage.engine.inspect(&id).await, Ok(None));
    }
    stage.engine.stop(&id, None).await.expect("what is gone has stopped");
    let start = stage.engine.start(&id).await.expect_err("nothing to start");
    assert_eq!((start.kind, start.effect), (CallErrorKind::Rejected, Effect::None));
}

#[tokio::test]
async fn a_missing_network_fails_before_the_container_is_created() {
    let stage = Stage::sleeping().await;
    let mut spec = stage.spec().await;
    let own = spec.networks.clone();
    spec.networks.push(unique("nowhere"));
    stage.containers.lock().expect("the list").push(spec.name.clone());
    let error = stage.engine.create(&spec).await.expect_err("no such network");
    assert_eq!((error.kind, error.effect), (CallErrorKind::Rejected, Effect::None));
    assert!(error.why.contains(&spec.networks[1]), "{error}");
    assert_eq!(stage.engine.inspect(&spec.name).await, Ok(None));
    stage.create(&ContainerSpec { networks: own, ..spec }).await;
}

#[tokio::test]
async fn a_network_is_made_once_and_removed_once() {
    let stage = Stage::sleeping().await;
    let name = stage.network().await;
    stage.engine.ensure_network(&name, &labels()).await.expect("there is one");
    let listed = docker(&["network", "ls", "--quiet", "--filter", &format!("name={name}")]);
    assert_eq!(listed.lines().count(), 1);
    let label =
        docker(&["network", "inspect", "--format", &format!("{{{{index .Labels \"{LABEL}\"}}}}"), &name]);
    assert_eq!(label, labels()[LABEL]);
    for _ in 0..2 {
        stage.engine.remove_network(&name).await.expect("removed");
    }
    assert_eq!(docker(&["network", "ls", "--quiet", "--filter", &format!("name={name}")]), "");
}

#[tokio::test]
async fn the_grace_period_is_kept() {
    let stage = Stage::sleeping().await;
    let script = "trap 'echo asked' TERM; while :; do sleep 0.1; done";
    // The container's own is so long that the two cannot be mistaken for each other.
    let own = Some(Duration::from_mins(2));
    let stage_spec = stage.spec().await;
    let spec = ContainerSpec {
        command: Some(shell(script)),
        stop_signal: None,
        stop_grace_period: own,
        ..stage_spec
    };
    let id = stage.start(&spec).await;
    let watch = Stopwatch::start();
    stage.engine.stop(&id, Some(Duration::from_secs(1))).await.expect("stopped");
    assert!(watch.elapsed() >= Duration::from_secs(1) && watch.elapsed() < Duration::from_mins(1));
    assert_eq!(stage.facts(&id).await.exit_code, Some(137));
}

#[tokio::test]
async fn restarts_are_counted() {
    let stage = Stage::sleeping().await;
    let restart = RestartSpec::OnFailure(Some(2));
    let spec = ContainerSpec { command: Some(shell("exit 3")), restart, ..stage.spec().await };
    let id = stage.start(&spec).await;
    let facts = stage.until(&id, |facts| facts.restarts == 2 && facts.exit_code.is_some()).await;
    assert_eq!((facts.running, facts.exit_code), (false, Some(3)));
}

#[tokio::test]
async fn what_cannot_be_started_says_why() {
    let stage = Stage::sleeping().await;
    let spec = ContainerSpec { command: Some(vec!["/no/program".to_owned()]), ..stage.spec().await };
    let id = stage.create(&spec).await;
    let call_error = stage.engine.start(&id).await.expect_err("there is no such program");
    assert!(
        call_error.kind == CallErrorKind::Rejected && call_error.why.contains("/no/program"),
        "{call_error}"
    );
    let facts = stage.facts(&id).await;
    assert!(facts.error.as_deref().unwrap_or_default().contains("/no/program"), "{facts:?}");
}

#[tokio::test]
async fn health_is_reported_with_the_checks_output() {
    let stage = Stage::sleeping().await;
    let check = HealthcheckSpec::Test {
        test: vec!["CMD-SHELL".to_owned(), "echo looked; test -e /well".to_owned()],
        interval: Some(Duration::from_millis(100)),
        timeout: None,
        retries: Some(2),
        start_period: None,
        start_interval: None,
    };
    let spec = ContainerSpec { healthcheck: Some(check), ..stage.spec().await };
    let id = stage.create(&spec).await;
    assert_eq!(stage.facts(&id).await.health, Healthy::Starting);
    stage.engine.start(&id).await.expect("started");
    let ill = stage.until(&id, |facts| facts.health == Healthy::No).await;
    assert!(ill.health_log.contains(&(1, "looked\n".to_owned())), "{:?}", ill.health_log);
    docker(&["exec", &id, "/bin/touch", "/well"]);
    let well = stage.until(&id, |facts| facts.health == Healthy::Yes).await;
    assert_eq!(well.health_log.last(), Some(&(0, "looked\n".to_owned())));

    let off = ContainerSpec { healthcheck: Some(HealthcheckSpec::Disabled), ..stage.spec().await };
    let id = stage.start(&off).await;
    assert_eq!(stage.facts(&id).await.health, Healthy::Unchecked);
}

#[tokio::test]
async fn containers_are_found_by_all_their_labels() {
    let stage = Stage::sleeping().await;
    let app = unique("labelled");
    let mut ids = Vec::new();
    for deployment in ["1", "2"] {
        let mut spec = stage.spec().await;
        spec.labels.insert("x.app".to_owned(), app.clone());
        spec.labels.insert("x.deployment".to_owned(), deployment.to_owned());
        ids.push(stage.create(&spec).await);
    }
    let found = async |labels: &[(&str, &str)]| {
        let found = stage.engine.labelled(labels).await.expect("a list");
        let mut found: Vec<String> = found.into_iter().map(|facts| facts.id).collect();
        found.sort();
        found
    };
    assert_eq!(found(&[("x.app", &app), ("x.deployment", "2")]).await, [ids[1].clone()]);
    let mut both = ids.clone();
    both.sort();
    assert_eq!(found(&[("x.app", &app)]).await, both, "stopped ones too");
    assert!(found(&[("x.app", &app), ("x.deployment", "3")]).await.is_empty());
}

#[tokio::test]
async fn the_configuration_shows_manual_changes() {
    let stage = Stage::sleeping().await;
    let spec = ContainerSpec { memory: Some(64 << 20), ..stage.spec().await };
    let id = stage.start(&spec).await;
    let before = stage.facts(&id).await.configuration;
    stage.engine.stop(&id, Some(Duration::ZERO)).await.expect("stopped");
    assert_eq!(stage.facts(&id).await.configuration, before, "stopped");
    stage.engine.start(&id).await.expect("started");
    assert_eq!(stage.facts(&id).await.configuration, before, "started again");
    let twin = stage.start(&ContainerSpec { name: unique("twin"), ..spec.clone() }).await;
    assert_eq!(stage.facts(&twin).await.configuration, before, "made of the same");

    docker(&["update", "--memory", "96m", "--memory-swap", "192m", &id]);
    let updated = stage.facts(&id).await.configuration;
    assert_ne!(updated, before, "docker update");
    docker(&["network", "connect", &stage.network().await, &twin]);
    assert_ne!(stage.facts(&twin).await.configuration, before, "docker network connect");
}

#[tokio::test]
async fn the_last_lines_of_both_streams_are_read() {
    let stage = Stage::sleeping().await;
    let script = "echo first; sleep 0.1; echo second >&2; sleep 0.1; printf 'b\\377d\\n'; \
                  i=0; while [ $i -lt 4000 ]; do printf 0123456789; i=$((i+1)); done; echo; printf end";
    let id = stage.shell(script).await;
    stage.until(&id, |facts| facts.exit_code.is_some()).await;
    let lines = stage.engine.logs(&id, 100).await.expect("the logs");
    assert_eq!(lines.len(), 5);
    assert_eq!(lines[..3], ["first", "second", "b\u{fffd}d"]);
    assert!(lines[3].len() < 9000 && lines[3].ends_with("(cut)"), "{} bytes", lines[3].len());
    let last = stage.engine.logs(&id, 1).await.expect("the logs");
    assert_eq!(last, ["end"]);
    assert!(stage.engine.logs(&unique("none"), 5).await.is_err());
}

#[tokio::test]
async fn a_command_runs_to_its_end_or_to_the_deadline() {
    let stage = Stage::sleeping().await;
    let id = stage.start(&stage.spec().await).await;
    let run =
        async |script: &str, deadline: Duration| stage.engine.execute(&id, &shell(script), deadline).await;
    let long = Duration::from_mins(1);
    let done = run("echo out; sleep 0.1; echo err >&2; exit 7", long).await.expect("it ran");
    assert_eq!((done.exit_code, done.output.as_str()), (7, "out\nerr\n"));
    let quiet = run("exit 0", long).await.expect("it ran");
    assert_eq!((quiet.exit_code, quiet.output.as_str()), (0, ""));
    let much = run("i=0; while [ $i -lt 3000 ]; do echo $i-0123456789; i=$((i+1)); done", long)
        .await
        .expect("it ran");
    assert!(much.output.len() <= 8192 && much.output.ends_with("2999-0123456789\n"));
    let late = run("echo begun; exec sleep 60", Duration::from_secs(2)).await.expect_err("too late");
    assert!(late.why.contains("within 2 s") && late.why.contains("begun"), "{late}");
    assert_eq!(late.effect, Effect::Unknown);
    let nothing =
        stage.engine.execute(&id, &["/no/program".to_owned()], long).await.expect("the Engine's words");
    assert!(nothing.exit_code != 0 && nothing.output.contains("/no/program"), "{nothing:?}");
    stage.engine.stop(&id, None).await.expect("stopped");
    run("exit 0", long).await.expect_err("it does not run");
}
