//! What the app file's keys of a container come to in Docker, and what a container that runs comes to as keys.

use autotag_protocol::End;
use autotag_receiver::config::app_file::AppFile;
use autotag_receiver::host::init::{adopt, app_file};
use serde_json::{Value, json};

use testkit::server::{Images, Server, deploy, docker, free_port};

/// What Docker shows of the container that serves.
#[track_caller]
fn serving(server: &Server) -> Value {
    let [id] = &server.containers()[..] else { panic!("one container: {:?}", server.containers()) };
    inspected(id)
}

#[track_caller]
fn inspected(container: &str) -> Value {
    let shown: Value = serde_json::from_str(&docker(&["inspect", container])).expect("Docker's JSON");
    shown[0].clone()
}

#[track_caller]
fn refused(more: &str) -> String {
    let text = format!("image: ghcr.io/org/app\nport: 80\nlisten: 8080\nhealth: {{path: /}}\n{more}");
    match AppFile::parse(&text) {
        Ok(file) => panic!("{more} was accepted: {file:?}"),
        Err(faults) => faults.to_string(),
    }
}

// case S4; broken by: reading `tmpfs` as a bare path again (a directory `/scratch:size=16m` appears).
pub fn mounts_have_their_options() {
    let images = Images::start();
    let server = Server::start();
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().display().to_string();
    let volume = format!("{}-data", server.app);
    server.app_file(
        images.name(),
        &format!(
            "tmpfs: ['/scratch:size=16m,mode=1777', /plain]\nvolumes:\n  - {path}:/short:ro,private\n  - \
             {volume}:/data:nocopy\n  \
             - {{type: bind, source: {path}, target: /long, read_only: true, bind: {{create_host_path: false}}}}\n  \
             - {{type: tmpfs, target: /memory, tmpfs: {{size: 8m, mode: 0o700}}}}\n",
        ),
    );
    server.deploy(deploy(images.name(), "1.0.0", &images.push("1.0.0"))).ended(&End::Deployed {});
    let it = serving(&server);
    let host = &it["HostConfig"];
    assert_eq!(
        host["Tmpfs"],
        json!({ "/memory": "mode=700,size=8388608", "/plain": "", "/scratch": "mode=1777,size=16m" })
    );
    assert_eq!(host["Binds"], json!([format!("{path}:/short:ro,private"), format!("{volume}:/data:nocopy")]));
    let mounted = |target: &str| {
        let mounts = it["Mounts"].as_array().expect("a list");
        mounts.iter().find(|mount| mount["Destination"] == target).cloned().unwrap_or_default()
    };
    assert_eq!((&mounted("/long")["RW"], &mounted("/long")["Source"]), (&json!(false), &json!(path)));
    assert_eq!(mounted("/short")["Propagation"], "private");
    // What the kernel says, not only Docker.
    let pid = it["State"]["Pid"].to_string();
    let table = std::fs::read_to_string(format!("/proc/{pid}/mounts")).expect("its mounts");
    let line = table.lines().find(|line| line.contains(" /scratch ")).unwrap_or_else(|| panic!("{table}"));
    assert!(line.starts_with("tmpfs ") && line.contains("size=16384k"), "{line}");
    drop(server);
    docker(&["volume", "rm", &volume]);

    let all = [
        "tmpfs: ['/tmp:size=64x']",
        "tmpfs: ['/tmp:sized=64m']",
        "tmpfs: ['/tmp:size=64m,size=1m']",
        "tmpfs: ['/tmp:mode=999']",
        "tmpfs: ['/tmp:']",
        "volumes: ['a:/x:ro,rw']",
        "volumes: ['a:/x:rslave']",
        "volumes: ['/a:/x:nocopy']",
        "volumes: ['/a:/x:cached']",
        "volumes: ['a:/x', 'b:/x/']",
        "volumes: ['a:/x']\ntmpfs: /x",
        "volumes: [{type: npipe, source: a, target: /x}]",
        "volumes: [{type: bind, source: a, target: /x}]",
        "volumes: [{type: volume, source: a, target: /x, bind: {propagation: rslave}}]",
        "volumes: [{type: volume, target: /x}]",
        "volumes: [{type: volume, source: a, target: '/x:ro'}]",
    ]
    .map(|text| format!("{text}\n    {}", refused(&format!("{text}\n"))));
    insta::assert_snapshot!("faults_of_mounts", all.join("\n"));
}

// case X9; broken by: leaving `security` of the container's options empty, and `pids_limit` to Docker.
pub fn a_container_is_bounded_where_the_owner_says_nothing() {
    let images = Images::start();
    let server = Server::start();
    server.app_file(images.name(), "");
    let (one, two) = (images.push("1.0.0"), images.push("1.0.1"));
    server.deploy(deploy(images.name(), "1.0.0", &one)).ended(&End::Deployed {});
    let it = serving(&server);
    let host = &it["HostConfig"];
    assert_eq!(
        host["LogConfig"],
        json!({ "Type": "json-file", "Config": { "max-size": "10m", "max-file": "3" } })
    );
    assert_eq!((&host["SecurityOpt"], &host["PidsLimit"]), (&json!(["no-new-privileges"]), &json!(4096)));
    let status = format!("/proc/{}/status", it["State"]["Pid"]);
    let status = std::fs::read_to_string(status).expect("its process");
    assert!(status.lines().any(|line| line.replace('\t', " ") == "NoNewPrivs: 1"), "{status}");
    assert_eq!(server.status().drift, [""; 0]);

    server.app_file(
        images.name(),
        "logging: {driver: json-file, options: {max-size: '-1'}}\nsecurity_opt: \
         ['no-new-privileges:false']\npids_limit: -1\n",
    );
    assert_eq!(server.status().drift.len(), 1, "{:?}", server.status().drift);
    server.deploy(deploy(images.name(), "1.0.1", &two)).ended(&End::Deployed {});
    let it = serving(&server);
    let host = &it["HostConfig"];
    assert_eq!(host["LogConfig"], json!({ "Type": "json-file", "Config": {} }));
    assert_eq!(host["SecurityOpt"], json!(["no-new-privileges=false"]));
    assert!(host["PidsLimit"].as_i64().is_none_or(|limit| limit <= 0), "{}", host["PidsLimit"]);
    let status = format!("/proc/{}/status", it["State"]["Pid"]);
    let status = std::fs::read_to_string(status).expect("its process");
    assert!(status.lines().any(|line| line.replace('\t', " ") == "NoNewPrivs: 0"), "{status}");
    assert_eq!(server.status().drift, [""; 0]);

    let all = [
        "security_opt: ['seccomp:unconfined']",
        "security_opt: ['apparmor=unconfined']",
        "security_opt: ['label:disable']",
        "security_opt: ['systempaths=unconfined']",
        "security_opt: ['seccomp=/profile.json']",
        "security_opt: [no-new-privileges, 'no-new-privileges:false']",
        "logging: {driver: json-file, options: {max_size: 10m}}",
        "logging: {driver: local, options: {max-size: ten}}",
        "logging: {driver: local, options: {max-size: '-1'}}",
        "pids_limit: 0",
    ]
    .map(|text| format!("{text}\n    {}", refused(&format!("{text}\n"))));
    insta::assert_snapshot!("faults_of_bounds", all.join("\n"));
}

/// What the keys of [`every_key_reaches_the_container`] are in Docker's `HostConfig`.
fn in_host_config(udp: u16, tcp: u16) -> [(&'static str, Value); 15] {
    [
        (
            "PortBindings",
            json!({
                "5353/udp": [{ "HostIp": "127.0.0.1", "HostPort": udp.to_string() }],
                "9000/tcp": [{ "HostIp": "127.0.0.1", "HostPort": tcp.to_string() }],
            }),
        ),
        (
            "Ulimits",
            json!([{ "Name": "core", "Hard": 0, "Soft": 0 }, { "Name": "nofile", "Hard": 4000, "Soft": 2000 }]),
        ),
        ("LogConfig", json!({ "Type": "local", "Config": { "max-file": "2", "max-size": "1m" } })),
        ("ExtraHosts", json!(["host.docker.internal:host-gateway", "six:fd00::1"])),
        ("Dns", json!(["1.1.1.1"])),
        ("DnsSearch", json!(["example.com"])),
        ("DnsOptions", json!(["ndots:2"])),
        ("GroupAdd", json!(["29", "999"])),
        (
            "Devices",
            json!([{ "PathOnHost": "/dev/null", "PathInContainer": "/dev/xnull", "CgroupPermissions": "r" }]),
        ),
        ("Sysctls", json!({ "net.core.somaxconn": "512" })),
        ("MemoryReservation", json!(32 << 20)),
        ("MemorySwap", json!(64 << 20)),
        ("CpuShares", json!(512)),
        ("CpusetCpus", json!("0")),
        ("OomScoreAdj", json!(100)),
    ]
}

// the keys below the table; broken by: leaving a key out of `container_options::options`.
// case keys; broken by: `sysctls` left out of the container
pub fn every_key_reaches_the_container() {
    let images = Images::start();
    let server = Server::start();
    let (udp, tcp) = (free_port(), free_port());
    let text = format!(
        "order: stop-first\nports: ['127.0.0.1:{udp}:5353/udp', {{target: 9000, published: {tcp}, host_ip: 127.0.0.1}}]\n\
         ulimits: {{nofile: {{soft: 2000, hard: 4000}}, core: 0}}\nlogging: {{driver: local, options: {{max-file: 2, max-size: 1m}}}}\n\
         extra_hosts: ['host.docker.internal:host-gateway', 'six=[fd00::1]']\ndns: [1.1.1.1]\ndns_search: example.com\ndns_opt: ['ndots:2']\n\
         group_add: [999, 29]\ndevices: ['/dev/null:/dev/xnull:r']\nsysctls: {{net.core.somaxconn: 512}}\nhostname: myhost\n\
         tty: true\nstdin_open: true\nmem_limit: 64m\nmem_reservation: 32m\nmemswap_limit: 64m\ncpu_shares: 512\ncpuset: '0'\n\
         oom_score_adj: 100\n"
    );
    server.app_file(images.name(), &text);
    let (one, two) = (images.push("1.0.0"), images.push("1.0.1"));
    server.deploy(deploy(images.name(), "1.0.0", &one)).ended(&End::Deployed {});
    let it = serving(&server);
    let (config, host) = (&it["Config"], &it["HostConfig"]);
    for (field, expected) in in_host_config(udp, tcp) {
        assert_eq!(host[field], expected, "{field}");
    }
    assert_eq!(
        (&config["Hostname"], &config["Tty"], &config["OpenStdin"]),
        (&json!("myhost"), &json!(true), &json!(true))
    );
    assert_eq!(server.status().drift, [""; 0]);
    assert!(server.get("/").1.contains("1.0.0"), "the proxy serves as ever");

    // The next version holds the same ports, and what was changed with Docker's own client is named.
    server.deploy(deploy(images.name(), "1.0.1", &two)).ended(&End::Deployed {});
    docker(&["update", "--cpu-shares", "256", &server.containers()[0]]);
    assert_eq!(server.status().drift.len(), 1, "{:?}", server.status().drift);
    for key in [
        "hostname: other",
        "cpu_shares: 511",
        "oom_score_adj: 99",
        "dns_search: example.org",
        "cpuset: '0,0'",
    ] {
        let name = key.split(':').next().expect("a key");
        let other: String = text
            .lines()
            .map(|line| if line.starts_with(&format!("{name}:")) { key } else { line }.to_owned() + "\n")
            .collect();
        server.app_file(images.name(), &other);
        assert_eq!(server.status().drift.len(), 2, "{key}: {:?}", server.status().drift);
    }
}

// the keys below the table; broken by: dropping the check of `order` in `ports::ports`.
// case keys; broken by: `elsewhere::instead` knows no key
pub fn what_a_key_does_not_take_is_explained() {
    let all = [
        "ports: ['53:53/udp']",
        "order: stop-first\nports: ['8080:80']",
        "order: stop-first\nports: ['80']",
        "order: stop-first\nports: ['1-2:1-3']",
        "order: stop-first\nports: ['53:53/udp', '1.2.3.4:53:54/udp']",
        "ulimits: {nofiles: 1}",
        "ulimits: {nofile: {soft: 2, hard: 1}}",
        "extra_hosts: [a]",
        "extra_hosts: ['a:b']",
        "dns: [one.one.one.one]",
        "devices: ['/dev/x:/dev/y:q']",
        "devices: ['vendor.com/class=gpu']",
        "sysctls: {vm.swappiness: 1}",
        "hostname: a_b",
        "memswap_limit: 1g",
        "mem_limit: 1g\nmemswap_limit: 1m",
        "mem_limit: 1g\nmem_reservation: 2g",
        "cpuset: 2-1",
        "oom_score_adj: 1001",
        "networks: {a: {ipv4_address: 10.0.0.1}}",
        "networks: [a, a]",
        "group_add: ['a b']",
        "gpus: none",
        "gpus: [{count: 1, device_ids: ['0']}]",
    ]
    .map(|text| format!("{text}\n    {}", refused(&format!("{text}\n"))));
    insta::assert_snapshot!("faults_of_other_keys", all.join("\n"));
}

/// The image's entry point is switched off, and only then.
// case keys; broken by: an empty list is taken for no list
pub fn an_empty_entrypoint_is_none() {
    let images = Images::start();
    let server = Server::start();
    let digest = images.push("1.0.0");
    let image = images.name().with_digest(&digest);
    docker(&["pull", "--quiet", &image]);
    let shown: Value = serde_json::from_str(&docker(&["image", "inspect", &image])).expect("Docker's JSON");
    let words = |field: &str| shown[0]["Config"][field].as_array().cloned().unwrap_or_default();
    let all: Vec<Value> = words("Entrypoint").into_iter().chain(words("Cmd")).collect();
    server.app_file(images.name(), &format!("entrypoint: []\ncommand: {}\n", Value::from(all.clone())));
    server.deploy(deploy(images.name(), "1.0.0", &digest)).ended(&End::Deployed {});
    let it = serving(&server);
    assert!(
        it["Config"]["Entrypoint"].as_array().is_none_or(Vec::is_empty),
        "{}",
        it["Config"]["Entrypoint"]
    );
    assert_eq!(it["Config"]["Cmd"], Value::from(all));
}

/// Removes what it names.
struct Made<'a>(Vec<[&'a str; 2]>);

impl Drop for Made<'_> {
    fn drop(&mut self) {
        for [kind, name] in &self.0 {
            match *kind {
                "container" => docker(&["rm", "--force", "--volumes", name]),
                kind => docker(&[kind, "rm", name]),
            };
        }
    }
}

/// What a container may have been started with.
const EVERYTHING: &str = "--ulimit nofile=1024 --add-host host.docker.internal:host-gateway --dns 1.1.1.1 \
                          --sysctl \
    net.core.somaxconn=1024 --log-opt max-size=10m --log-opt max-file=3 --security-opt \
    no-new-privileges --group-add 999 --hostname myhost --tmpfs /scratch:size=16m,mode=700 \
    --memory-reservation 64m --memory 256m --cpu-shares 512 -t -i --device \
    /dev/null:/dev/xnull --oom-score-adj 100 --stop-timeout 20 --stop-signal SIGINT --shm-size \
    32m --label team=web --network-alias foo --mount \
    type=tmpfs,dst=/memory,tmpfs-size=1048576,tmpfs-mode=700 --blkio-weight 300 \
    --security-opt seccomp=unconfined";

/// What an app file has for [`EVERYTHING`].
const TAKEN_OVER: &[(&str, &str)] = &[
    ("tmpfs", "[\"/memory:size=1048576,mode=700\", \"/scratch:size=16m,mode=700\"]"),
    ("shm_size", "33554432b"),
    ("stop_grace_period", "20s"),
    ("stop_signal", "SIGINT"),
    ("labels", "{team: web}"),
    ("ulimits", "{nofile: {soft: 1024, hard: 1024}}"),
    ("extra_hosts", "[\"host.docker.internal:host-gateway\"]"),
    ("dns", "[\"1.1.1.1\"]"),
    ("sysctls", "{net.core.somaxconn: \"1024\"}"),
    ("logging", "{driver: json-file, options: {max-file: \"3\", max-size: 10m}}"),
    ("group_add", "[\"999\"]"),
    ("hostname", "myhost"),
    ("devices", "[\"/dev/null:/dev/xnull:rwm\"]"),
    ("mem_limit", "268435456b"),
    ("mem_reservation", "67108864b"),
    ("cpu_shares", "512"),
    ("oom_score_adj", "100"),
    ("tty", "true"),
    ("stdin_open", "true"),
];

/// A text of a YAML value that does not depend on a list's order.
fn sorted(value: &serde_yaml::Value) -> String {
    match value {
        serde_yaml::Value::Sequence(items) => {
            let mut items: Vec<String> = items.iter().map(|item| format!("{item:?}")).collect();
            items.sort();
            items.join(",")
        }
        other => format!("{other:?}"),
    }
}

// case S7; broken by: `UntakenFields::rest` gives nothing
pub fn what_a_running_container_has_is_taken_over_or_noted() {
    let images = Images::start();
    let digest = images.push("1.0.0");
    let image = images.name().with_digest(&digest);
    let server = Server::start();
    let (network, container) = (format!("{}-net", server.app), format!("{}-adopt", server.app));
    let _made = Made(vec![["container", &container], ["network", &network]]);
    let third = std::process::id() % 250;
    docker(&["network", "create", "--subnet", &format!("10.213.{third}.0/24"), &network]);
    let address = format!("10.213.{third}.77");
    let (tcp, udp) = (free_port(), free_port());
    let (tcp, udp) = (format!("127.0.0.1:{tcp}:3000"), format!("127.0.0.1:{udp}:5000/udp"));
    let mut words = vec!["run", "-d", "--name", &container, "-p", &tcp, "-p", &udp, "--network", &network];
    // These, a weight of block I/O and an unconfined profile have no key in the app file.
    words.extend(["--ip", &address, "--device-cgroup-rule", "c 1:3 r"]);
    words.extend(EVERYTHING.split_whitespace());
    words.push(&image);
    docker(&words);
    let shown = docker(&["inspect", &container]);
    let shown = shown.trim().trim_start_matches('[').trim_end_matches(']');
    let described = docker(&["image", "inspect", &image]);
    let described = described.trim().trim_start_matches('[').trim_end_matches(']');
    let adopted = adopt::adopt(&container, shown, Some(described)).expect("it is read");
    let text = app_file::render(&server.app, &adopted.content, false);
    AppFile::parse(&text).unwrap_or_else(|faults| panic!("{text}\n{faults}"));
    let output: Vec<&str> = text.lines().filter(|line| !line.starts_with('#') && !line.is_empty()).collect();
    let output = output.join("\n");
    let file: serde_yaml::Value = serde_yaml::from_str(&text).expect("YAML");
    for (key, expected) in TAKEN_OVER {
        let expected: serde_yaml::Value = serde_yaml::from_str(expected).expect("YAML");
        assert_eq!(sorted(&file[*key]), sorted(&expected), "{key}:\n{output}");
    }
    let aliases = file["networks"][network.as_str()]["aliases"].as_sequence().expect("aliases");
    assert_eq!(aliases, &[serde_yaml::Value::from("foo")], "{output}");
    let notes = adopted.notes.join("\n");
    for named in [
        "5000/udp",
        "DeviceCgroupRules",
        "IPAMConfig",
        "a wall between the image and this machine",
        "4096 processes",
    ] {
        assert!(notes.contains(named), "{named}:\n{notes}");
    }
    assert!(!notes.contains("no-new-privileges, with"), "it has them:\n{notes}");
}
