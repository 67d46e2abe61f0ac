//! Plans, files and texts of `init`.

use std::collections::BTreeSet;
use std::os::unix::fs::PermissionsExt as _;

use super::app_file::{Content, render};
use super::plan::{KeyFile, Setup, SetupStep, plan};
use super::*;
use crate::config::app_file::{Proof, fields};
use crate::host::init::host_facts::{Found, HostFacts};
use crate::host::init::next_steps::{NextSteps, known_hosts};
use crate::host::init::options::{InitOptions, PublicKey};
use crate::paths::user_of;
use autotag_model::secret::Secret;

const KEY: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIE9yZGluYXJ5 me@workstation";

fn app() -> AppName {
    "shop".parse().unwrap()
}

fn content() -> Content {
    let mut content = Content::default();
    let options = InitOptions { image: Some("ghcr.io/org/app".parse().unwrap()), ..InitOptions::of(app()) };
    content.overlay(&options);
    content
}

fn setup(listens: &[&str]) -> Setup {
    let text = render(&app(), &content(), false);
    Setup {
        paths: Paths::default(),
        app: app(),
        app_file: Some(app_file::NewAppFile { shown: text.clone(), text }),
        keys: KeyFile::Generate,
        listens: listens.iter().map(|text| text.parse().unwrap()).collect(),
    }
}

fn bare(systemd: bool) -> HostFacts {
    HostFacts { systemd, sshd: true, ssh_unit: Some("ssh.service".to_owned()), ..HostFacts::default() }
}

/// The host after these steps, as far as a plan asks.
fn after(facts: &HostFacts, steps: &[SetupStep]) -> HostFacts {
    let mut facts = facts.clone();
    for step in steps {
        match step {
            SetupStep::AddGroup(name) => drop(facts.groups.insert(name.clone())),
            SetupStep::AddUser { name, .. } => drop(facts.users.insert(name.clone())),
            SetupStep::Directory { path, mode, .. } => {
                facts.files.insert(path.clone(), Found { directory: true, mode: *mode, text: None });
            }
            SetupStep::Install(_) => facts.program_is_in_place = true,
            SetupStep::Write { path, text, mode, .. } => {
                if let Some(name) = path.file_name().and_then(|name| name.to_str())
                    && name.ends_with(".socket")
                {
                    facts.sockets.insert(name.to_owned());
                }
                let found = Found { directory: false, mode: *mode, text: Some(text.clone()) };
                facts.files.insert(path.clone(), found);
            }
            SetupStep::Remove(path) => {
                facts.sockets.remove(&path.file_name().unwrap().to_string_lossy().into_owned());
                facts.files.remove(path);
            }
            SetupStep::Run(words) if words.iter().any(|word| word == "enable") => {
                facts.enabled.extend(words.clone());
            }
            SetupStep::Run(words) if words.iter().any(|word| word == "start") => {
                facts.active.extend(words.clone());
            }
            // Its sockets come along.
            SetupStep::Run(words) if words.iter().any(|word| word == "restart") => {
                facts.active.extend(facts.sockets.clone());
            }
            SetupStep::Run(_) | SetupStep::Prove { .. } | SetupStep::Generate { .. } => {}
        }
    }
    facts
}

fn reported(steps: &[SetupStep]) -> String {
    steps.iter().fold(String::new(), |text, step| text + &step.to_string() + "\n")
}

#[test]
fn a_bare_host_gets_everything_and_the_key_last() {
    insta::assert_snapshot!(reported(&plan(&setup(&["127.0.0.1:8080"]), &bare(true))));
}

#[test]
fn without_systemd_no_units_are_written() {
    let steps = reported(&plan(&setup(&["127.0.0.1:8080"]), &bare(false)));
    assert!(!steps.contains("systemctl") && !steps.contains("/etc/systemd"), "{steps}");
    assert!(steps.contains("/run/autotag-proxy (autotag_proxy, 0700)"), "{steps}");
}

/// What `init` finds when it is run again: the app file and the keys stay.
fn again(listens: &[&str]) -> Setup {
    Setup { app_file: None, keys: KeyFile::Leave, ..setup(listens) }
}

#[test]
fn run_again_there_is_nothing_to_do() {
    for systemd in [true, false] {
        let facts = after(&bare(systemd), &plan(&setup(&["127.0.0.1:8080"]), &bare(systemd)));
        assert_eq!(plan(&again(&["127.0.0.1:8080"]), &facts), []);
    }
}

#[test]
fn an_address_more_restarts_the_proxy_and_closes_no_socket() {
    let facts = after(&bare(true), &plan(&setup(&["127.0.0.1:8080"]), &bare(true)));
    let steps = plan(&again(&["127.0.0.1:8080", "[::]:80"]), &facts);
    insta::assert_snapshot!(reported(&steps));
    let facts = after(&facts, &steps);
    assert_eq!(plan(&again(&["127.0.0.1:8080", "[::]:80"]), &facts), []);
    insta::assert_snapshot!("an_address_less", reported(&plan(&again(&["[::]:80"]), &facts)));
}

#[test]
fn a_new_program_restarts_what_runs() {
    let mut facts = after(&bare(true), &plan(&setup(&["127.0.0.1:8080"]), &bare(true)));
    facts.program_is_in_place = false;
    let steps = reported(&plan(&again(&["127.0.0.1:8080"]), &facts));
    assert_eq!(
        steps,
        "install this program as /usr/local/bin/autotag-receiver\n\
         run: systemctl restart autotag-proxy.service\nrun: systemctl restart autotag.service\n"
    );
}

#[test]
fn an_address_that_is_held_is_not_opened() {
    let mut facts = bare(true);
    facts.held = BTreeSet::from(["127.0.0.1:8080".parse().unwrap()]);
    let steps = reported(&plan(&setup(&["127.0.0.1:8080"]), &facts));
    assert!(steps.contains("enable --quiet autotag-proxy-127.0.0.1-8080.socket"), "{steps}");
    assert!(steps.contains("start autotag-proxy.service autotag.service"), "{steps}");
}

#[test]
fn units_and_sshds_part() {
    let paths = Paths::default();
    let listens: Vec<Listen> =
        ["127.0.0.1:8080", "80", "/run/shop.sock"].iter().map(|text| text.parse().unwrap()).collect();
    let mut texts = vec![units::serve(&paths), units::proxy(&paths, &listens.iter().cloned().collect())];
    texts.extend(listens.iter().map(units::socket));
    texts.push(sshd::part(&paths));
    texts.push(sshd::line_start(&paths, &app()));
    insta::assert_snapshot!(texts.join("\n----\n"));
    assert!(sshd::reads_parts("Include /etc/ssh/sshd_config.d/*.conf\n"));
    assert!(!sshd::reads_parts("#Include /etc/ssh/sshd_config.d/*.conf\nPort 22\n"));
}

#[test]
fn the_app_file_parses_and_names_every_key() {
    let text = render(&app(), &content(), false);
    insta::assert_snapshot!(text);
    let parsed = AppFile::parse(&text).unwrap();
    assert_eq!(parsed.image.to_string(), "ghcr.io/org/app");
    let mut seen = 0;
    for field in fields() {
        assert!(
            text.contains(&format!("\n{}:", field.name)) || text.contains(&format!("\n#{}: ", field.name)),
            "{}",
            field.name
        );
        assert!(field.meaning.ends_with('.'), "{}", field.name);
        // Each comment does what it says when the `#` is taken away, except what goes with another key.
        if !["proxy", "ports", "memswap_limit"].contains(&field.name)
            && text.contains(&format!("\n#{}: ", field.name))
        {
            let with = text.replace(&format!("\n#{}: ", field.name), &format!("\n{}: ", field.name));
            AppFile::parse(&with).unwrap_or_else(|faults| panic!("{}: {faults}", field.name));
            seen += 1;
        }
    }
    assert!(seen > 20, "only {seen} comments were tried");
}

#[test]
fn given_options_are_in_the_app_file() {
    let mut content = content();
    content.overlay(&InitOptions {
        port: Some(3000),
        listen: Some("80".parse().unwrap()),
        hosts: vec!["a.example.com".parse().unwrap()],
        health: Some("/healthz".to_owned()),
        ..InitOptions::of(app())
    });
    content.environment.insert("TOKEN".to_owned(), Secret::verbatim("a: \"b\"\n#hunter2".to_owned()));
    content.environment.insert("DOLLARS".to_owned(), Secret::verbatim("${A}$$b$C".to_owned()));
    let parsed = AppFile::parse(&render(&app(), &content, false)).unwrap();
    assert_eq!(parsed.traffic.port(), Some(3000));
    assert!(matches!(parsed.health.proof, Proof::Http(_)));
    assert_eq!(parsed.environment[&"TOKEN".parse().unwrap()].reveal(), "a: \"b\"\n#hunter2");
    assert_eq!(parsed.environment[&"DOLLARS".parse().unwrap()].reveal(), "${A}$$b$C");
    let shown = render(&app(), &content, true);
    assert!(!shown.contains("hunter2"), "a value is shown: {shown}");
    assert!(AppFile::parse(&shown).is_ok());
}

#[test]
fn a_container_is_adopted() {
    let container = r#"{"Image":"sha256:1","Config":{"Image":"ghcr.io/org/app:1.2.3","User":"1000",
        "Env":["PATH=/bin","TOKEN=x y","odd-name=1"],"Cmd":["serve"],"Entrypoint":["/app"],
        "Healthcheck":{"Test":["CMD","/app","ok"],"Interval":5000000000,"Retries":3}},
        "HostConfig":{"PortBindings":{"3000/tcp":[{"HostIp":"127.0.0.1","HostPort":"8081"}]},
        "RestartPolicy":{"Name":"on-failure","MaximumRetryCount":3},"Memory":268435456,"NanoCpus":1500000000,
        "CapDrop":["ALL"],"NetworkMode":"backend"},
        "Mounts":[{"Type":"volume","Name":"data","Destination":"/data","RW":true},
        {"Type":"bind","Source":"/etc/app","Destination":"/etc/app","RW":false},
        {"Type":"tmpfs","Destination":"/tmp"}],
        "NetworkSettings":{"Networks":{"backend":{}}}}"#;
    let image = r#"{"Config":{"Env":["PATH=/bin"],"Entrypoint":["/app"],"User":""}}"#;
    assert_eq!(adopt::image_of(container).as_deref(), Some("sha256:1"));
    let adopted = adopt::adopt("old", container, Some(image)).unwrap();
    let text = render(&app(), &adopted.content, true);
    let given: Vec<&str> = text.lines().filter(|line| !line.starts_with('#') && !line.is_empty()).collect();
    insta::assert_snapshot!(format!("{}\n----\n{}", given.join("\n"), adopted.notes.join("\n")));
    AppFile::parse(&text).unwrap();
    let privileged = r#"{"HostConfig":{"Privileged":true}}"#;
    assert!(adopt::adopt("old", privileged, None).unwrap_err().to_string().contains("privileged"));
}

#[test]
fn keys_are_public_and_without_options() {
    let key: PublicKey = format!(" {KEY}\n").parse().unwrap();
    assert_eq!((key.to_string().as_str(), key.blob()), (KEY, KEY.split(' ').nth(1).unwrap()));
    for text in [
        "",
        "ssh-ed25519",
        "AAAAC3NzaC1lZDI1NTE5AAAA",
        "restrict,command=\"sh\" ssh-ed25519 AAAAC3Nz",
        "ssh-ed25519 AAAAC3Nz x\nssh-rsa AAAA",
        "-----BEGIN OPENSSH PRIVATE KEY-----",
    ] {
        assert!(text.parse::<PublicKey>().is_err(), "{text:?} was accepted");
    }
}

#[test]
fn the_last_words_are_to_be_copied() {
    let host_keys = ["ssh-ed25519 AAAAhost root@shop\n".to_owned()];
    let key = Secret::verbatim("PRIVATE\nKEY\n".to_owned());
    let app = app();
    let mut steps = NextSteps {
        app: &app,
        host: Some("deploy.example.com"),
        port: 2222,
        host_keys: &host_keys,
        private_key: Some(&key),
    };
    insta::assert_snapshot!(next_steps::text(&steps));
    steps.private_key = None;
    assert!(!next_steps::text(&steps).contains("gh secret set"));
    // Where the name is not known, none is made up.
    steps.host = None;
    let text = next_steps::text(&steps);
    assert!(
        text.contains("--public-name") && !text.contains("AAAAhost") && !text.contains("gh variable"),
        "{text}"
    );
    assert_eq!(known_hosts("h", 22, &host_keys), "h ssh-ed25519 AAAAhost\n");
    assert_eq!(user_of(&app), "autotag-shop");
}

// invariant one-door: `init` leaves sshd able to start
/// What is written by steps, and what a command says about it that is there in sshd's place.
#[test]
fn a_part_that_is_refused_becomes_what_it_was() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("autotag.conf");
    let mode = || std::fs::metadata(&path).unwrap().permissions().mode() & 0o777;
    let write = |text: &str| SetupStep::Write {
        path: path.clone(),
        text: text.to_owned(),
        shown: String::new(),
        mode: 0o644,
        replaces: false,
    };
    let prove = |says: &str, before: Option<&str>| SetupStep::Prove {
        words: ["sh", "-c", says].map(str::to_owned).to_vec(),
        path: path.clone(),
        before: before.map(|text| (text.to_owned(), 0o600)),
    };
    let paths = Paths::below(directory.path());
    let apply = |step: &SetupStep| apply::apply(&paths, step).map(drop);
    let refuses = "echo 'Bad configuration option: Nonsense' >&2; exit 255";

    apply(&write("new")).unwrap();
    let error = format!("{:#}", apply(&prove(refuses, None)).unwrap_err());
    assert!(!path.exists(), "there was none before");
    assert!(error.contains("is what it was before") && error.contains("Nonsense"), "{error}");

    apply(&write("new")).unwrap();
    apply(&prove(refuses, Some("old"))).unwrap_err();
    assert_eq!((std::fs::read_to_string(&path).unwrap().as_str(), mode()), ("old", 0o600));

    apply(&write("new")).unwrap();
    apply(&prove("true", Some("old"))).unwrap();
    assert_eq!((std::fs::read_to_string(&path).unwrap().as_str(), mode()), ("new", 0o644));
}

/// The part of an earlier release is what a new one goes back to.
#[test]
fn a_plan_knows_what_the_part_was() {
    let path = Paths::default().sshd_part();
    let before = |facts: &HostFacts| {
        let steps = plan(&setup(&[]), facts);
        let found = steps.into_iter().find_map(|step| match step {
            SetupStep::Prove { path: of, before, .. } if of == path => Some(before),
            _ => None,
        });
        found.expect("sshd is asked")
    };
    let mut facts = bare(true);
    assert_eq!(before(&facts), None);
    let found = Found { directory: false, mode: 0o600, text: Some("of an earlier release".to_owned()) };
    facts.files.insert(path.clone(), found);
    assert_eq!(before(&facts), Some(("of an earlier release".to_owned(), 0o600)));
}

/// On a directory in the place of `/`, without changing the machine: what is written, and again.
#[test]
fn a_key_more_leaves_those_before() {
    let directory = tempfile::tempdir().unwrap();
    let paths = Paths::below(directory.path());
    std::fs::create_dir_all(paths.keys()).unwrap();
    let other = KEY.replace("me@workstation", "ci").replace("E9yZ", "F0xY");
    std::fs::write(paths.authorized_keys(&app()), format!("{} {other}", sshd::line_start(&paths, &app())))
        .unwrap();
    let options = InitOptions { key: Some(KEY.parse().unwrap()), ..InitOptions::of(app()) };
    let KeyFile::Write(text) = keys(&paths, &options).unwrap() else { panic!("a line is added") };
    assert_eq!(text.lines().count(), 2, "{text}");
    assert!(text.lines().all(|line| line.starts_with("restrict,command=\"")), "{text}");
    std::fs::write(paths.authorized_keys(&app()), text).unwrap();
    assert_eq!(keys(&paths, &options).unwrap(), KeyFile::Leave);
    assert_eq!(keys(&paths, &InitOptions { new_key: true, ..options }).unwrap(), KeyFile::Generate);
}
