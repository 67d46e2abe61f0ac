//! Docker's daemon is started again, or killed, in the middle of a deployment, on a server of its own.
//!
//! By default the daemon takes its containers along: what is asked meanwhile is lost, with any tool. With
//! `live-restore` they go on without it, and nothing may be lost.

use std::net::SocketAddr;

use testkit::load::{Load, Mix};
use testkit::processes::machine::{IMAGE, Machine, commit, text};
use testkit::server::docker;
use testkit::torture::{at_length, tally};

/// Each is where the daemon ends.
fn steps(usual: &'static [&'static str]) -> &'static [&'static str] {
    if at_length() {
        &["pull", "create", "start", "health", "switch", "verify", "drain", "stop", "remove", "prune"]
    } else {
        usual
    }
}

const RESTART: &str = "systemctl restart docker";
const KILL: &str = "systemctl kill --signal KILL docker; systemctl start docker";

/// Deploys, and lets the daemon end where this step begins. What was told may be a failure.
fn deploy_and_break(server: &Machine, version: &str, digest: &str, step: &str, how: &str) -> String {
    let script = format!(
        "journal=/var/lib/autotag/shop/journal.jsonl; before=$(wc -l <$journal); \
         {} >/tmp/said 2>&1 & \
         until tail -n +$((before + 1)) $journal | grep -Eq '\"began\",\"step\":\"{step}\"|\"answered\"'; do :; done; \
         systemctl reset-failed docker 2>/dev/null; {how}; wait; cat /tmp/said",
        deploy(version, digest)
    );
    text(&server.output(&script))
}

fn deploy(version: &str, digest: &str) -> String {
    format!("autotag-receiver deploy shop {version} --image-digest {digest} --commit {}", commit())
}

/// One container, which is that of the version that `status` names, and answers; and nothing to be mended.
const ONE_SERVES: &str = "status=$(autotag-receiver status shop --json) && \
     version=$(grep -o '\"version\":\"[^\"]*\"' <<<\"$status\" | head -n 1 | cut -d '\"' -f 4) && \
     [[ $(docker ps --all --quiet --filter label=autotag-deploy.app=shop | wc -l) == 1 ]] && \
     docker ps --format '{{.Label \"autotag-deploy.version\"}}' | grep -Fqx \"$version\" && \
     [[ $status == *'\"drift\":[]'* ]] && \
     curl -fsS --max-time 5 http://127.0.0.1:8080/ | grep -F \"$version \"";

fn through_all(steps: &[&str], live_restore: bool) {
    let server = Machine::boot();
    if live_restore {
        server.run("mkdir -p /etc/docker; echo '{\"live-restore\": true}' >/etc/docker/daemon.json; systemctl restart docker");
    }
    let versions: Vec<String> = (0..=2 * steps.len()).map(|patch| format!("1.0.{patch}")).collect();
    let digests = server.ship(&versions);
    server.run(&format!(
        "mkdir -p /etc/autotag; printf '%s\\n' 'image: {IMAGE}' 'port: 3000' 'listen: 0.0.0.0:8080' \
         'health: {{path: /healthz, deadline: 20s, stable: 500ms}}' 'stop_grace_period: 2s' >/etc/autotag/shop.yaml; \
         chmod 600 /etc/autotag/shop.yaml; /opt/autotag-receiver init shop"
    ));
    server.run(&deploy(&versions[0], &digests[0]));
    let format = "{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}";
    let address = docker(&["inspect", "--format", format, &server.name]).trim().parse().expect("an address");
    let load = Load::start(SocketAddr::new(address, 8080), &Mix::small());
    load.warm_up(1);
    for (number, step) in steps.iter().enumerate() {
        let how = if number % 2 == 0 { RESTART } else { KILL };
        let (first, second) = (2 * number + 1, 2 * number + 2);
        let printed = deploy_and_break(&server, &versions[first], &digests[first], step, how);
        tally("faults: Docker's daemon ended", 1);
        println!("{how} at {step}: {printed}");
        server.eventually(ONE_SERVES);
        let printed = server.run(&deploy(&versions[second], &digests[second]));
        assert!(printed.contains(&format!("{} serves", versions[second])), "after {step}: {printed}");
        server.run(ONE_SERVES);
    }
    let report = load.stop();
    println!("live-restore: {live_restore}\n{report}");
    if live_restore {
        report.assert_nothing_lost();
    } else {
        // The daemon's end is what costs: the load saw it.
        assert!(report.exchanges() > report.lost(), "{report}");
    }
}

#[test]
fn one_version_serves_when_docker_took_its_containers_along() {
    through_all(steps(&["stop"]), false);
}

// invariant no-lost-request
#[test]
fn no_request_is_lost_where_containers_outlive_docker() {
    through_all(steps(&["health", "stop"]), true);
}
