use proptest::prelude::*;

use super::*;
use autotag_model::secret::Secret;

/// The example of the design, to the letter.
const DESIGN: &str = r#"
image: ghcr.io/org/app          # the only repository that may run here
port: 3000                      # where the container listens
listen: 127.0.0.1:8080          # where the proxy serves it
order: start-first              # or stop-first
environment: {RUST_LOG: info}
env_file: /etc/autotag/app.env
health: {path: /healthz, deadline: 60s, stable: 3s}
smoke: [{path: /, status: 200, contains: "Welcome"}]
drain: 30s
keep: 5
allow_environment: [FEATURE_X]  # what CI may set with a deployment
"#;

const LEAST: &str = "image: ghcr.io/org/app\nport: 3000\nlisten: 8080\n";

fn parse(text: &str) -> AppFile {
    AppFile::parse(text).unwrap_or_else(|faults| panic!("{text}\n{faults}"))
}

fn reported(text: &str) -> String {
    match AppFile::parse(text) {
        Ok(file) => panic!("{text}\nwas accepted: {file:?}"),
        Err(faults) => faults.to_string(),
    }
}

#[test]
fn the_designs_example_means_what_it_says() {
    let file = parse(DESIGN);
    assert_eq!(file.image.to_string(), "ghcr.io/org/app");
    assert_eq!(
        file.traffic,
        Traffic::Proxied {
            port: 3000,
            listen: "127.0.0.1:8080".parse().unwrap(),
            hosts: BTreeSet::new(),
            trusted_proxies: BTreeSet::new(),
            trusted_headers: BTreeSet::new(),
            answer_timeout: None,
            drain: Duration::from_secs(30),
        }
    );
    assert_eq!(
        file.health,
        Health {
            proof: Proof::Http(HttpProbe {
                path: "/healthz".to_owned(),
                status: 200,
                client: Client::default()
            }),
            deadline: Duration::from_mins(1),
            stable: Duration::from_secs(3),
        }
    );
    let smoke = Smoke::Http {
        path: "/".to_owned(),
        status: 200,
        contains: Some("Welcome".to_owned()),
        client: Client::default(),
    };
    assert_eq!(file.smoke, [smoke]);
    assert_eq!(file.environment[&"RUST_LOG".parse().unwrap()].reveal(), "info");
    assert_eq!(file.env_files, [PathBuf::from("/etc/autotag/app.env")]);
    assert_eq!((file.keep, file.order), (5, Order::StartFirst));
    assert_eq!(file.allow_environment, ["FEATURE_X".parse().unwrap()].into());
    assert_eq!(file.container, Container::default());
    assert!(!format!("{file:?}").contains("info"), "values never print");
}

#[test]
fn keys_that_are_absent_have_their_default() {
    let file = parse(LEAST);
    let Traffic::Proxied { drain, listen, .. } = &file.traffic else { panic!("proxied") };
    assert_eq!((drain.as_secs(), listen.to_string().as_str()), (30, "[::]:8080"));
    assert_eq!((file.keep, file.order, file.health.proof), (5, Order::StartFirst, Proof::Docker));
    assert_eq!((file.health.deadline.as_secs(), file.health.stable.as_secs()), (60, 3));
    assert_eq!(file.container.restart, Restart::UnlessStopped);
}

#[test]
fn every_restart_policy_can_be_written() {
    for (text, restart) in [
        ("'no'", Restart::No),
        ("always", Restart::Always),
        ("unless-stopped", Restart::UnlessStopped),
        ("on-failure", Restart::OnFailure(None)),
        ("on-failure:3", Restart::OnFailure(Some(3))),
    ] {
        assert_eq!(parse(&format!("{LEAST}restart: {text}\n")).container.restart, restart, "{text}");
    }
    assert!(reported(&format!("{LEAST}restart: on-failure:0\n")).contains("restart"));
}

#[test]
fn a_healthcheck_is_a_command_in_composes_forms_or_none() {
    let check = |text: &str| {
        AppFile::parse(&format!("{LEAST}healthcheck: {{{text}}}\n")).map(|file| file.container.healthcheck)
    };
    for (text, words) in [
        ("test: [CMD, a]", vec!["CMD", "a"]),
        ("test: [CMD, a, b]", vec!["CMD", "a", "b"]),
        ("test: [CMD-SHELL, a b]", vec!["CMD-SHELL", "a b"]),
        ("test: a b", vec!["CMD-SHELL", "a b"]),
    ] {
        let Ok(Some(Healthcheck::Test { test, .. })) = check(text) else { panic!("{text} is a test") };
        assert_eq!(test, words, "{text}");
    }
    for text in ["test: [NONE]", "disable: true"] {
        assert_eq!(check(text), Ok(Some(Healthcheck::Disabled)), "{text}");
    }
    for text in ["[CMD]", "[CMD-SHELL]", "[CMD-SHELL, a, b]", "[NONE, a]", "[a]", "[]", "[CMD, [a]]"] {
        let why = check(&format!("test: {text}")).expect_err(text).to_string();
        assert!(why.contains("`healthcheck.test"), "{text}: {why}");
    }
    assert_eq!(check("test: NONE"), Ok(Some(Healthcheck::Disabled)));
    assert_eq!(check("disable: true, test: [CMD, a]"), Ok(Some(Healthcheck::Disabled)));
}

/// Docker takes from the image what is not said.
#[test]
fn a_healthcheck_may_set_the_times_of_the_images_own() {
    let check = |text: &str| parse(&format!("{LEAST}healthcheck: {{{text}}}\n")).container.healthcheck;
    for text in ["", "disable: false"] {
        assert_eq!(check(text), None, "{text}");
    }
    let seconds = |seconds: u64| Some(Duration::from_secs(seconds));
    let times = "interval: 5s, timeout: 2s, retries: 4, start_period: 9s, start_interval: 1s";
    for (text, test) in [
        (times.to_owned(), vec![]),
        (format!("disable: false, {times}"), vec![]),
        (format!("test: [CMD, a], {times}"), vec!["CMD".to_owned(), "a".to_owned()]),
    ] {
        let (interval, timeout, retries) = (seconds(5), seconds(2), Some(4));
        let (start_period, start_interval) = (seconds(9), seconds(1));
        let expected = Healthcheck::Test { test, interval, timeout, retries, start_period, start_interval };
        assert_eq!(check(&text), Some(expected), "{text}");
    }
    let own = check("interval: 5s").expect("times");
    assert!(!own.has_test() && check("test: a").expect("a test").has_test());
    assert!(!serde_json::to_string(&own).unwrap().contains("start_interval"), "the hash of before");
}

#[test]
fn a_file_holds_so_much_and_no_more() {
    let deep = |open: usize| format!("{LEAST}# {}\n", "[".repeat(open));
    assert_eq!(parse(&deep(256)), parse(LEAST));
    insta::assert_snapshot!(reported(&deep(257)), @"line 1, column 1: expected YAML that can be read: too many open brackets");
    // Brackets that are closed count no more.
    assert_eq!(parse(&format!("{LEAST}# {}\n", "[]".repeat(300))), parse(LEAST));
    // The root, its four values, and the items.
    let many = |items: usize| format!("{LEAST}cap_add: [{}]\n", vec!["ALL"; items].join(","));
    assert_eq!(parse(&many(9_995)).container.cap_add.len(), 1);
    insta::assert_snapshot!(reported(&many(9_996)), @"line 4, column 10: expected YAML that can be read: cap_add: too many values");
    // A text that is named often is held as often.
    let text = format!("{LEAST}user: &a {}\ncap_add: [{}]\n", "a".repeat(1000), vec!["*a"; 1100].join(","));
    insta::assert_snapshot!(reported(&text), @"line 4, column 7: expected YAML that can be read: cap_add[1035]: too many values");
}

#[test]
fn the_port_is_the_containers_with_and_without_a_proxy() {
    assert_eq!(parse(LEAST).traffic.port(), Some(3000));
    let unproxied = "image: ghcr.io/org/app\nproxy: none\nhealth: none\n";
    assert_eq!(parse(unproxied).traffic.port(), None);
    assert_eq!(parse(&format!("{unproxied}port: 3000\n")).traffic.port(), Some(3000));
}

/// The help, docs/app-file.md and what `init` writes have these.
#[test]
fn every_key_has_its_meaning() {
    let fields: Vec<Field> = fields().collect();
    assert_eq!(fields.len(), keys::TOP.len());
    assert_eq!(fields[0].name, "image", "it comes first");
    assert!(fields.iter().all(|field| !field.meaning.is_empty()));
}

#[test]
fn a_file_has_64_kib_at_most() {
    let filled = |bytes: usize| format!("{LEAST}#{}", "x".repeat(bytes - LEAST.len() - 1));
    assert_eq!(parse(&filled(65_536)), parse(LEAST));
    insta::assert_snapshot!(reported(&filled(65_537)), @"line 1, column 1: expected at most 65536 bytes");
}

/// Each key, in each of its forms.
const EVERYTHING: &str = r#"
image: localhost:5000/app
port: 80
listen: /run/app.sock
host: [App.example.com, www.example.com]
trusted_proxies: [127.0.0.1, "fd00::/8"]
trusted_headers: X-Forwarded-Prefix
answer_timeout: 5m
order: stop-first
environment:
  - A=b=c
  - EMPTY=
env_file: [/a.env, /b.env]
health: none
smoke:
  - command: app 'self test'
  - command: [sh, -c, "exit 0"]
  - {path: /x, status: 204}
drain: 1m30s
keep: 1
allow_environment: X
command: serve --port 80
entrypoint: [/app]
user: 1000
working_dir: /srv
read_only: true
init: true
tmpfs: /tmp
volumes: ["data:/var/lib/app", "/etc/app:/etc/app:ro"]
networks: [backend, other]
healthcheck: {disable: true}
restart: on-failure:3
cap_drop: [all]
cap_add: CAP_NET_BIND_SERVICE
mem_limit: 512m
cpus: 1.50
pids_limit: 100
shm_size: 64mb
stop_grace_period: 20s
stop_signal: SIGINT
labels: {team: web}
logging: {driver: json-file, options: {max-size: 5m}}
security_opt: ["no-new-privileges:false", apparmor=shop]
ulimits: {nofile: 1024, core: {soft: 0, hard: -1}}
extra_hosts: {a: [10.0.0.1, "::1"], b: host-gateway}
dns: [1.1.1.1]
dns_search: [a.example, .]
dns_opt: ["ndots:1"]
group_add: [999]
devices: [/dev/null, {source: /dev/zero, target: /dev/x, permissions: r}]
sysctls: [net.core.somaxconn=1024]
hostname: shop
tty: true
stdin_open: true
mem_reservation: 6m
memswap_limit: 1g
cpu_shares: 2
cpuset: 0-1,3
oom_score_adj: -5
ports: ["53:53/udp", "127.0.0.1:7000-7001:8000-8001", {target: 1, published: 2, host_ip: "::1", protocol: sctp, mode: host}]
"#;

#[test]
fn every_key_is_read() {
    insta::assert_debug_snapshot!(parse(EVERYTHING));
}

/// Plain YAML numbers keep their spelling: `1.10` is not `1.1`.
#[test]
fn numbers_in_the_environment_stay_as_they_are_written() {
    let file = parse(&format!(
        "{LEAST}environment:\n  A: 1.10\n  B: 0x1F\n  C: 1e3\n  D: 007\n  E: '1.0'\n  F: yes\n  G: .inf\n  H: 99999999999999999999999999999999999999999999\n"
    ));
    let values: Vec<&str> = file.environment.values().map(Secret::reveal).collect();
    assert_eq!(
        values,
        ["1.10", "0x1F", "1e3", "007", "1.0", "yes", ".inf", "99999999999999999999999999999999999999999999"]
    );
}

#[test]
fn all_faults_are_reported_at_once_with_their_place() {
    insta::assert_snapshot!(reported(
        r#"
image: ghcr.io/org/app:1.2.3
prot: 3000
port: 99999
listen: localhost:8080
order: whatever
image: ghcr.io/org/other
ports: ["80:80"]
environment:
  RUST_LOG: hunter2
  rust-log: hunter2
  RUST_LOG: hunter2
  DEBUG: true
  NOTHING:
  NESTED: {a: hunter2}
env_file: app.env
health: {pth: /healthz, status: 200, deadline: 2s, stable: 3s}
smoke:
  - {path: healthz, status: 99}
  - {command: "a | b"}
  - {contains: x}
  - {path: /, command: a}
  - just a text
drain: 30
keep: 0
allow_environment: [FEATURE_X, "FEATURE Y"]
volumes: [/data, ./a:/b, "a:/b:x"]
networks: [host]
healthcheck: {test: [app], interval: 1}
restart: sometimes
cap_drop: {}
mem_limit: 1t
cpus: none
read_only: "true"
labels: {autotag-deploy.version: 9}
user: [a]
stop_grace_period: 2h
trusted_proxies: [10.0.0.1/8]
something: else
"#
    ));
}

#[test]
fn missing_keys_are_reported_with_an_example() {
    insta::assert_snapshot!(reported(""), @r"
    `image`: expected a repository without tag or digest: it is missing (example: `image: ghcr.io/org/app`)
    `port`: expected the port where the container listens: it is missing (example: `port: 3000`)
    `listen`: expected where the proxy serves it: it is missing (example: `listen: 127.0.0.1:8080`)
    ");
    insta::assert_snapshot!(reported("image: a/b\nproxy: none\nlisten: 80\ndrain: 1s\nsmoke: [{path: /}]\n"), @r"
    line 3, column 9: `listen`: expected no such key beside `proxy: none`
    line 4, column 8: `drain`: expected no such key beside `proxy: none`
    `port`: expected the port where the container listens: it is missing (example: `port: 3000`)
    ");
}

#[test]
fn contradictions_are_reported() {
    let all = [
        "health: none\nhealthcheck: {test: [CMD, a]}",
        "health: {status: 200}",
        "health: {stable: 60s}",
        "health: yes",
        "healthcheck: {test: []}",
        "proxy: true",
        "command: []",
        "smoke: [{command: [a], status: 200}]",
        "smoke: [{command: []}]",
        "smoke: [{}]",
        "environment: {A: hunter2, A: hunter2}",
        "environment: [A=hunter2, A=hunter2]",
        "labels: {a: x, a: y}",
        "health: {path: /, path: /}",
        "environment: [hunter2]",
        "environment: [[hunter2]]",
        "environment: hunter2",
        "privileged: true",
        "<<: {a: b}",
        "enviroment: {}",
    ]
    .map(|more| {
        let reported = reported(&format!("{LEAST}{more}\n"));
        assert_eq!(reported.lines().count(), 1, "{reported}");
        format!("{more}\n    {reported}")
    });
    insta::assert_snapshot!(all.join("\n"));
}

#[test]
fn invalid_yaml_is_reported_with_its_place() {
    let all = [
        "image: [",
        "image: a\n\tport: 1",
        "- a\n- b",
        "just text",
        "a: 1\n---\nb: 2",
        "{? [a] : b}",
        "a: *nowhere",
    ]
    .map(|text| format!("{text:?}\n    {}", reported(text)));
    insta::assert_snapshot!(all.join("\n"));
    // Billion laughs, a very deep list, and a file that is simply long.
    let laughs = (0..30).fold("a0: &a0 [x]\n".to_owned(), |text, n| {
        format!("{text}a{0}: &a{0} [{1}]\n", n + 1, vec![format!("*a{n}"); 10].join(","))
    });
    for text in [laughs, "[".repeat(10_000), "a".repeat(FILE_BYTES + 1), format!("[{}]", "1,".repeat(20_000))]
    {
        assert_eq!(reported(&text).lines().count(), 1);
    }
}

/// A known key with a value of some kind, to be put together at random.
fn entry() -> impl Strategy<Value = String> {
    let names: Vec<&'static str> = keys::TOP.iter().map(|spec| spec.name).collect();
    let value = prop_oneof![
        "[ -~]{0,20}",
        Just("{path: /, path: 1}".to_owned()),
        Just("[1, {a: b}, ~, [x]]".to_owned()),
        Just("&a [*a]".to_owned()),
        Just("{A: 1, A: 2}".to_owned()),
        Just("\n  - A=1\n  - B".to_owned()),
    ];
    (proptest::sample::select(names), value).prop_map(|(name, value)| format!("{name}: {value}\n"))
}

proptest! {
    #[test]
    fn no_text_panics(text in any::<String>()) {
        if let Err(faults) = AppFile::parse(&text) {
            prop_assert!(!faults.as_slice().is_empty());
        }
    }

    #[test]
    fn no_combination_of_keys_panics(entries in proptest::collection::vec(entry(), 0..12)) {
        let text = entries.concat();
        if let Err(faults) = AppFile::parse(&text) {
            for fault in faults.as_slice() {
                prop_assert!(fault.place.line <= text.lines().count() + 1, "{}", fault);
            }
        }
    }

    /// Each example of the table is accepted by itself, so that messages never mislead.
    #[test]
    fn examples_are_right(spec in proptest::sample::select(keys::TOP)) {
        let own = format!("{}:", spec.name);
        let others: Vec<&str> = if spec.name == "proxy" {
            vec!["image: a/b"]
        } else {
            LEAST.lines().filter(|line| !line.starts_with(&own)).collect()
        };
        let start = others.join("\n");
        // What goes with another key alone.
        let beside = match spec.name {
            "ports" => "order: stop-first\n",
            "memswap_limit" => "mem_limit: 64m\n",
            _ => "",
        };
        let text = format!("{start}\n{beside}{}: {}\n", spec.name, spec.example);
        prop_assert!(AppFile::parse(&text).is_ok(), "{}", reported(&text));
    }
}
