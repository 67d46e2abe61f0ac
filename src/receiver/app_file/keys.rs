//! The keys of an app file.

use super::reader::{Spec, key, secret};

/// All of them, in the order in which `init` writes them.
pub(super) const TOP: &[Spec] = &[
    key("image", "a repository without tag or digest", "ghcr.io/org/app"),
    key("port", "the port where the container listens", "3000"),
    key("listen", "where the proxy serves it", "127.0.0.1:8080"),
    key("host", "a host name, or a list of them", "app.example.com"),
    key("trusted_proxies", "an address or network, or a list of them", "127.0.0.1"),
    key("proxy", "`none`", "none"),
    key("order", "`start-first` or `stop-first`", "start-first"),
    secret("environment", "`KEY: value`, or a list of `KEY=value`", "{RUST_LOG: info}"),
    key("env_file", "an absolute path, or a list of them", "/etc/autotag/app.env"),
    key("health", "how it shows that it works", "{path: /healthz, deadline: 60s, stable: 3s}"),
    key("smoke", "a list of tests", "[{path: /, status: 200, contains: Welcome}]"),
    key("drain", "a duration", "30s"),
    key("keep", "how many versions' images are kept", "5"),
    key("allow_environment", "a variable's name, or a list of them", "[FEATURE_X]"),
    key("command", "a command, or a list of its words", "[serve, --port, \"3000\"]"),
    key("entrypoint", "a command, or a list of its words", "[/app]"),
    key("user", "a user in the container", "\"1000:1000\""),
    key("working_dir", "an absolute path", "/app"),
    key("read_only", "`true` or `false`", "true"),
    key("init", "`true` or `false`", "true"),
    key("tmpfs", "an absolute path, or a list of them", "/tmp"),
    key("volumes", "a list of `SOURCE:TARGET`", "[data:/var/lib/app]"),
    key("networks", "a list of networks' names", "[backend]"),
    key("healthcheck", "Docker's health check", "{test: [CMD, app, check], interval: 5s}"),
    key("restart", "`no`, `always`, `unless-stopped`, `on-failure` or `on-failure:N`", "unless-stopped"),
    key("cap_drop", "a list of capabilities", "[ALL]"),
    key("cap_add", "a list of capabilities", "[NET_BIND_SERVICE]"),
    key("mem_limit", "a size", "512m"),
    key("cpus", "how many processors", "\"1.5\""),
    key("pids_limit", "a number", "200"),
    key("shm_size", "a size", "64m"),
    key("stop_grace_period", "a duration", "10s"),
    key("stop_signal", "a signal", "SIGTERM"),
    secret("labels", "`name: value`, or a list of `name=value`", "{team: web}"),
];

/// Keys of Compose's that mean nothing here, and what to write instead.
pub(super) const ELSEWHERE: &[(&str, &str)] = &[
    ("ports", "clients come in by the proxy; say `port` and `listen`"),
    ("expose", "say `port`"),
    ("container_name", "each deployment has a container of its own"),
    ("build", "images are built by CI, and come by their digest"),
    ("services", "an app file holds one service; put its keys at the top"),
    ("version", "versions come with the deployments"),
    ("deploy", "say `order`, `mem_limit`, `cpus`"),
    ("depends_on", "other services are not started from here"),
    ("network_mode", "say `networks`"),
    ("privileged", "it would hand the machine to whoever can push an image"),
    ("smoke_test", "say `smoke`"),
];
