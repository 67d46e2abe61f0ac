//! The keys of an app file.

use crate::config::app_file::reading::reader::{Spec, key, secret};

/// All of them, in the order in which `init` writes them.
pub(super) const TOP: &[Spec] = &[
    key("image", "a repository without tag or digest", "ghcr.io/org/app"),
    key("port", "the port where the container listens", "3000"),
    key("listen", "where the proxy serves it", "127.0.0.1:8080"),
    key("host", "a host name, or a list of them", "app.example.com"),
    key("trusted_proxies", "an address or network, or a list of them", "127.0.0.1"),
    key("trusted_headers", "the name of a header, or a list of them", "[X-Forwarded-Prefix]"),
    key("answer_timeout", "a duration", "60s"),
    key("proxy", "`none`", "none"),
    key("order", "`start-first` or `stop-first`", "start-first"),
    secret("environment", "`KEY: value`, or a list of `KEY=value`", "{RUST_LOG: info}"),
    key("env_file", "an absolute path, or a list of them", "/etc/autotag/app.env"),
    key("health", "how it shows that it works", "{path: /healthz, deadline: 60s, stable: 3s}"),
    key("smoke", "a list of tests", "[{path: /, status: 200, contains: Welcome}]"),
    key("drain", "a duration", "30s"),
    key("keep", "how many versions' images are kept", "5"),
    key("allow_environment", "a variable's name, or a list of them", "[FEATURE_X]"),
    key("allow_downgrade", "`true` or `false`", "true"),
    key("allow_unlabelled", "`true` or `false`", "true"),
    key("command", "a command, or a list of its words", "[serve, --port, \"3000\"]"),
    key("entrypoint", "a command, a list of its words, or `[]`", "[/app]"),
    key("user", "a user in the container", "\"1000:1000\""),
    key("working_dir", "an absolute path", "/app"),
    key("read_only", "`true` or `false`", "true"),
    key("init", "`true` or `false`", "true"),
    key(
        "tmpfs",
        "an absolute path, optionally with options, or a list of them",
        "[\"/tmp:size=64m,mode=1777\"]",
    ),
    key("volumes", "a list of `SOURCE:TARGET`, or of maps in Compose's long form", "[data:/var/lib/app]"),
    key("networks", "a list of networks' names, or a map of them", "[backend]"),
    key("healthcheck", "Docker's health check", "{test: [CMD, app, check], interval: 5s}"),
    key("restart", "`no`, `always`, `unless-stopped`, `on-failure` or `on-failure:N`", "unless-stopped"),
    key("cap_drop", "a list of capabilities", "[ALL]"),
    key("cap_add", "a list of capabilities", "[NET_BIND_SERVICE]"),
    key("mem_limit", "a size", "512m"),
    key("cpus", "how many processors", "\"1.5\""),
    key("pids_limit", "a number, or -1 for no limit", "200"),
    key("shm_size", "a size", "64m"),
    key("stop_grace_period", "a duration", "10s"),
    key("stop_signal", "a signal", "SIGTERM"),
    secret("labels", "`name: value`, or a list of `name=value`", "{team: web}"),
    key(
        "logging",
        "a map with `driver` and `options`",
        "{driver: local, options: {max-size: 20m, max-file: \"5\"}}",
    ),
    key("security_opt", "a list of options", "[\"no-new-privileges:false\"]"),
    key("ulimits", "a map of limits", "{nofile: {soft: 20000, hard: 40000}}"),
    key(
        "extra_hosts",
        "`NAME: ADDRESS`, or a list of `NAME:ADDRESS`",
        "[\"host.docker.internal:host-gateway\"]",
    ),
    key("dns", "an IP address, or a list of them", "[1.1.1.1]"),
    key("dns_search", "a domain, or a list of them", "[example.com]"),
    key("dns_opt", "an option, or a list of them", "[\"ndots:1\"]"),
    key("group_add", "a list of groups", "[\"999\"]"),
    key("devices", "a list of `HOST:CONTAINER`, or of maps", "[/dev/ttyUSB0]"),
    key("gpus", "`all`, a number, or a list of maps", "all"),
    key("sysctls", "`name: value`, or a list of `name=value`", "{net.core.somaxconn: 1024}"),
    key("hostname", "a host name", "app"),
    key("tty", "`true` or `false`", "true"),
    key("stdin_open", "`true` or `false`", "true"),
    key("mem_reservation", "a size", "256m"),
    key("memswap_limit", "a size, or -1 for no limit", "\"-1\""),
    key("cpu_shares", "a number", "512"),
    key("cpuset", "numbers of processors", "0-1"),
    key("oom_score_adj", "a number from -1000 to 1000", "100"),
    key("ports", "a list of `HOST:CONTAINER`, or of maps", "[\"5353:53/udp\"]"),
];

/// What each key means, in the same order: for the file that `init` writes and for docs/app-file.md.
pub(super) const MEANINGS: [&str; 58] = [
    "The only repository that may run here. Deployments name the version.",
    "Where the container listens.",
    "Where the proxy serves it: 127.0.0.1:PORT behind a front proxy that terminates TLS; \"[::]:80\", in \
     quotes, without one; or a Unix socket.",
    "Serve only requests for these hosts, so that several applications can share one address.",
    "Whose X-Forwarded-For, -Proto and -Host headers are trusted: the front proxy's address.",
    "Further headers about the client that the front proxy sets on every request. All other headers about \
     the client are dropped.",
    "How long the application may take to begin a response after it has the whole request. Then the client \
     gets a 504.",
    "`none` for no proxy: for workers, and for front proxies that find containers by label. Then remove \
     `listen`, `host`, `trusted_proxies`, `trusted_headers`, `answer_timeout` and `drain`.",
    "start-first: the old version serves until the new one does. stop-first: never both at once (SQLite, \
     single workers); requests wait in between.",
    "Variables of the application. They take precedence over those of files and of CI. Only root can read \
     this file, so it may hold secrets. No `${NAME}` is replaced; write `!literal` in front of a value that \
     holds one.",
    "Files with more variables: KEY=VALUE lines, as Compose reads them. Later files take precedence.",
    "When the application is healthy: a path that answers 200 within `deadline` and stays so for `stable`; \
     or `none`: as soon as it runs. Unset: the image's HEALTHCHECK; an image without one is not deployed. \
     `host` and `headers` are sent with the request, for example `headers: {X-Forwarded-Proto: https}`.",
    "Tests of a new version, directly before it gets traffic and through `listen` after the switch: \
     requests, with `host` and `headers` if needed, or a command in the container.",
    "How long in-flight requests to the old version may run after the switch.",
    "How many versions' images stay on this machine, for rollbacks.",
    "Variables that a workflow may set with a deployment.",
    "Whether a workflow may deploy a lower version than before, or one that was rolled back, with \
     `deploy-allow-downgrade`. Unset: only root may.",
    "Whether a workflow may deploy images without labels for version and commit (`image-digest`), up to the \
     next major version. Unset: only root may.",
    "The command instead of the image's.",
    "The entry point instead of the image's; `[]` for none.",
    "The user in the container instead of the image's.",
    "The working directory instead of the image's.",
    "Whether the container's own files are read-only.",
    "Whether a small init runs as process 1, which reaps zombies and forwards signals.",
    "Directories in memory; after the path, `:` and options such as `size=64m` or `mode=1777`.",
    "Volumes by name, and paths of this machine; `:ro` for read-only, `:z` and `:Z` for SELinux, a \
     propagation, `:nocopy`. Compose's long form too. Each `VOLUME` of the image needs an entry here or in \
     `tmpfs`.",
    "Existing Docker networks. Unset: a network of the application's own. Other containers there reach the \
     version that serves by the application's name. As a map, each network may have `aliases`.",
    "Docker's health check instead of the image's. Without `test`, the image's own check with these times; \
     `{disable: true}` for none.",
    "When Docker restarts the container by itself.",
    "Capabilities that the container does not get.",
    "Capabilities that the container gets in addition to Docker's default ones.",
    "The maximum of memory.",
    "The maximum of processor time, in processors.",
    "The maximum of processes. Unset: 4096.",
    "The size of /dev/shm.",
    "How long the container may take to stop before it is killed.",
    "The signal that stops the container.",
    "Labels of the container. They must not begin with `autotag-deploy.`.",
    "Docker's log driver and its options. Unset: Docker's own, and 10m in each of 3 files if that is \
     json-file without a `max-size`; `max-size: \"-1\"` for no limit.",
    "Docker's security options. no-new-privileges is on unless you switch it off; setuid programs such as \
     sudo need it off.",
    "Limits of each process, as in setrlimit.",
    "Host names for /etc/hosts; `host-gateway` is this machine.",
    "Name servers instead of this machine's.",
    "Domains in which short names are looked up.",
    "Options of resolv.conf.",
    "Additional groups of the container's user.",
    "Devices of this machine; append `:r` for read-only.",
    "GPUs of this machine, through the vendor's container toolkit.",
    "Kernel settings that are namespaced to the container.",
    "The host name inside the container. Unset: the container's id.",
    "Whether the container gets a terminal.",
    "Whether the container's standard input stays open.",
    "The memory that the container keeps when the machine runs short.",
    "Memory and swap together, at least `mem_limit`.",
    "The container's share of busy processors; the default is 1024.",
    "The processors that the container may run on.",
    "How soon the kernel kills it when the machine runs out of memory; higher is sooner.",
    "Ports that Docker publishes without the proxy: UDP, and TCP that is not HTTP. Only with `order: \
     stop-first`.",
];
