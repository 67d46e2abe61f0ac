//! Keys that Compose has and an app file has not, each with what to do.

/// The key, and what to do instead.
pub(super) type Elsewhere = (&'static str, &'static str);

/// Compose's keys of a service and of a project (compose-spec, 04 to 09, 11 and 13), and one of our own that people
/// guess. Where an app file has a key of the name, that comes first.
pub(super) const ELSEWHERE: &[Elsewhere] = &[
    ("expose", "set `port`"),
    ("container_name", "leave it out: each deployment has a container of its own"),
    ("build", "leave it out: CI builds the image, and a deployment names its digest"),
    ("services", "put the service's keys at the top: an app file holds one service"),
    ("version", "leave it out: versions come with the deployments"),
    ("name", "leave it out: the file's name is the application's"),
    ("deploy", "set `order`, `mem_limit`, `cpus`, `pids_limit`"),
    ("scale", "leave it out: one container serves"),
    ("depends_on", "start other services yourself, with Compose or Docker"),
    ("links", "put both containers in one network with `networks`"),
    ("external_links", "put both containers in one network with `networks`"),
    ("network_mode", "set `networks`"),
    (
        "privileged",
        "leave it out: it would hand the machine to whoever can push an image; `cap_add` adds capabilities",
    ),
    ("extends", "write the keys themselves"),
    ("include", "write the keys themselves"),
    ("profiles", "leave it out: an app file holds one service"),
    ("configs", "mount files of this machine with `volumes`"),
    ("secrets", "set `environment` or `env_file`, or mount files of this machine with `volumes`"),
    ("volumes_from", "name the volumes in `volumes`"),
    ("pull_policy", "leave it out: a deployment pulls its digest"),
    ("pull_refresh_after", "leave it out: a deployment pulls its digest"),
    ("platform", "leave it out: the image has it"),
    ("label_file", "set `labels`"),
    ("annotations", "set `labels`"),
    ("attach", "leave it out: `autotag-receiver logs` shows the output"),
    ("storage_opt", "set Docker's default in /etc/docker/daemon.json"),
    ("runtime", "set Docker's `default-runtime` in /etc/docker/daemon.json"),
    ("userns_mode", "set Docker's `userns-remap` in /etc/docker/daemon.json"),
    ("cgroup_parent", "set Docker's default in /etc/docker/daemon.json"),
    ("domainname", "set `host` for the names that clients use"),
    ("mac_address", "leave it out: two containers of one address disturb each other in a rollout"),
    ("cpu_count", "set `cpus`"),
    ("cpu_percent", "set `cpus`"),
    ("cpu_period", "set `cpus`"),
    ("cpu_quota", "set `cpus`"),
    ("cpu_rt_period", "set `cpus`"),
    ("cpu_rt_runtime", "set `cpus`"),
    ("mem_swappiness", "set `mem_limit`"),
    ("oom_kill_disable", "set `mem_limit`"),
    ("blkio_config", "leave it out"),
    ("device_cgroup_rules", "run it with Compose: a deployment hands no device of the machine over"),
    ("cgroup", "leave it out: the container keeps its own namespaces"),
    ("ipc", "leave it out: the container keeps its own namespaces; `shm_size` is its shared memory"),
    ("pid", "leave it out: the container keeps its own namespaces"),
    ("uts", "leave it out: the container keeps its own namespaces"),
    ("isolation", "leave it out: it is for Windows"),
    ("credential_spec", "leave it out: it is for Windows"),
    ("use_api_socket", "leave it out: Docker's socket would hand the machine to whoever can push an image"),
    ("develop", "leave it out: it is for development"),
    ("post_start", "run it in the image's entry point"),
    ("pre_start", "run it in the image's entry point"),
    ("pre_stop", "handle `stop_signal` in the application"),
    ("provider", "leave it out: an app file holds a container"),
    ("models", "set the model's address in `environment`"),
    ("driver_opts", "make the network with `docker network create --opt`"),
    ("smoke_test", "set `smoke`"),
];

/// What is expected in the place of such a key.
pub(super) fn instead(key: &str, known: &[Elsewhere]) -> Option<String> {
    if key == "<<" {
        return Some("no merge key: write the keys themselves".to_owned());
    }
    if known.is_empty() {
        return None;
    }
    let reported = |what: &str| format!("no such key. Compose has it, the app file does not: {what}");
    if key.starts_with("x-") {
        return Some(reported("leave it out: an app file has no extensions"));
    }
    known.iter().find(|(name, _)| *name == key).map(|(name, what)| {
        if *name == "smoke_test" { format!("another key: {what}") } else { reported(what) }
    })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::super::{AppFile, keys};
    use super::*;

    /// Of the specification's schema, of a service and of a project.
    const COMPOSE: &str = "\
        annotations attach blkio_config build cap_add cap_drop cgroup cgroup_parent command configs \
        container_name cpu_count cpu_percent cpu_period cpu_quota cpu_rt_period cpu_rt_runtime cpu_shares \
        cpus cpuset credential_spec depends_on deploy develop device_cgroup_rules devices dns dns_opt \
        dns_search domainname entrypoint env_file environment expose extends external_links extra_hosts gpus \
        group_add healthcheck hostname image include init ipc isolation label_file labels links logging \
        mac_address mem_limit mem_reservation mem_swappiness memswap_limit models name network_mode networks \
        oom_kill_disable oom_score_adj pid pids_limit platform ports post_start pre_start pre_stop \
        privileged profiles provider pull_policy pull_refresh_after read_only restart runtime scale secrets \
        security_opt services shm_size stdin_open stop_grace_period stop_signal storage_opt sysctls tmpfs \
        tty ulimits use_api_socket user userns_mode uts version volumes volumes_from working_dir \
        ";

    #[test]
    fn for_each_key_of_compose_there_is_a_decision() {
        for key in COMPOSE.split_whitespace() {
            let own = keys::TOP.iter().any(|spec| spec.name == key);
            assert!(own || ELSEWHERE.iter().any(|(name, _)| *name == key), "{key}");
        }
        let names: BTreeSet<&str> = ELSEWHERE.iter().map(|(name, _)| *name).collect();
        assert_eq!(names.len(), ELSEWHERE.len(), "each key once");
    }

    #[test]
    fn a_key_of_compose_is_recognised() {
        let all = ["pid", "network_mode", "x-common"].map(|key| {
            let text = format!("image: a/b\nport: 1\nlisten: 1\n{key}: {{a: b}}\n");
            AppFile::parse(&text).expect_err("no key of an app file").to_string()
        });
        insta::assert_snapshot!(all.join("\n"), @r"
        line 4, column 1: `pid`: expected no such key. Compose has it, the app file does not: leave it out: the container keeps its own namespaces
        line 4, column 1: `network_mode`: expected no such key. Compose has it, the app file does not: set `networks`
        line 4, column 1: `x-common`: expected no such key. Compose has it, the app file does not: leave it out: an app file has no extensions
        ");
    }

    #[test]
    fn of_many_unknown_keys_the_known_ones_are_listed_once() {
        let text = (0..60).fold(String::new(), |text, number| text + "zz" + &number.to_string() + "z: 1\n");
        let reported = AppFile::parse(&text).expect_err("no key of an app file").to_string();
        assert_eq!(reported.matches("`stop_grace_period`").count(), 1, "{reported}");
        assert!(
            reported.len() < 5_000 && reported.contains("zz0z") && reported.contains("... and "),
            "{} bytes: {reported}",
            reported.len()
        );
        // Each map has a list of its own.
        let reported = AppFile::parse("zzz: 1\nhealth: {zzz: 1, yyy: 1}\nhealthcheck: {zzz: 1}\n");
        let reported = reported.expect_err("unknown").to_string();
        assert_eq!(reported.matches("a known key: `").count(), 3, "{reported}");
    }
}
