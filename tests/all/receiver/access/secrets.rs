//! Secrets on a server. The registry login that a request brings opens one pull, and is nowhere afterwards; what
//! an application gets in its environment is root's, and nobody is told.

use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use autotag_model::secret::{Credentials, Secret};
use autotag_protocol::{Body, Deploy, End, Rollback};

use testkit::clock;
use testkit::registry::Auth;
use testkit::server::{Images, Server, deploy, docker, rollback};

use crate::receiver::access::key::KeyClient;

const PASSWORD: &str = "pa55-word-that-is-nowhere";

// invariant secrets: A registry login opens one pull and is kept nowhere; broken by:
//   `crates/receiver/src/serve/change/mod.rs`: it stands in the log
#[test]
fn a_login_opens_one_pull_and_is_nowhere_afterwards() {
    let client = KeyClient::to(Images::with(&Auth::basic("reader", PASSWORD)));
    let (images, server) = (&client.images, &client.server);
    let digest = images.push("1.0.0");

    let end = server.deploy(deploy(images.name(), "1.0.0", &digest)).outcome.end;
    assert!(!matches!(end, End::Deployed {}), "the registry is closed: {end:?}");

    let mut with_login = deploy(images.name(), "1.0.0", &digest);
    let password = Secret::new(PASSWORD).expect("not empty");
    with_login.credential = Some(Credentials { username: "reader".to_owned(), password });
    let request = client.request(Body::Deploy(Box::new(with_login)));
    let output = client.ssh(&[], &["deploy"], &request);
    let reported = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(server.get("/").1.contains("1.0.0"), "{reported}");

    let mut texts = vec![("the answers", reported), ("sshd's log", client.sshd.log())];
    for container in server.containers() {
        texts.push(("docker inspect", docker(&["inspect", &container])));
        texts.push(("docker logs", docker(&["logs", &container])));
    }
    assert_eq!(texts.len(), 4, "one container runs");
    for (what, text) in texts {
        assert!(!text.contains(PASSWORD), "{what}: {text}");
    }
    let seen = files(server.directory.path());
    assert!(seen.len() > 4, "only {seen:?}: the journal, the state and the logs are among them");
    for path in seen {
        let bytes = std::fs::read(&path).expect("a file");
        assert!(!String::from_utf8_lossy(&bytes).contains(PASSWORD), "it is in {}", path.display());
    }

    // Nor is it kept in memory for the next one.
    let next = images.push("1.0.1");
    let end = server.deploy(deploy(images.name(), "1.0.1", &next)).outcome.end;
    assert!(!matches!(end, End::Deployed {}), "the registry is closed again: {end:?}");
    assert!(server.get("/").1.contains("1.0.0"));
}

/// CI's, with the deployment; the owner's, in the app file; the owner's, in a file of its own.
const SECRETS: [&str; 3] = ["s3cret-of-ci-given", "s3cret-of-the-app-file", "s3cret-of-the-env-file"];

// invariant secrets: An application's secrets are root's alone; broken by:
//   `crates/receiver/src/config/settings.rs`: a snapshot that all can read;
//   `crates/receiver/src/serve/change/mod.rs`: the journal notes what CI gave
#[test]
fn an_applications_secrets_stay_with_root() {
    let client = KeyClient::to(Images::start());
    let (images, server) = (&client.images, &client.server);
    let env_file = server.directory.path().join("etc/autotag/app.env");
    std::fs::write(&env_file, format!("OF_A_FILE={}\n", SECRETS[2])).expect("a file");
    std::fs::set_permissions(&env_file, std::fs::Permissions::from_mode(0o600)).expect("rights");
    server.app_file(
        images.name(),
        &format!(
            "health: {{path: /healthz, deadline: 1s, stable: 300ms}}\nallow_environment: [OF_CI]\n\
             environment: {{OF_THE_OWNER: {}}}\nenv_file: /etc/autotag/app.env\n",
            SECRETS[1]
        ),
    );
    let given = |mut deploy: Deploy| {
        deploy.environment =
            [("OF_CI".parse().expect("a key"), Secret::verbatim(SECRETS[0].to_owned()))].into();
        Body::Deploy(Box::new(deploy))
    };
    let one = images.push("1.0.0");
    let broken = images.push_with("1.0.1", &[("FAIL_HEALTH", "always")]);
    let mut printed = Vec::new();
    let mut ask = |word: &str, body: Body| {
        let (answer, relays) = ask_and_look(&client, word, body);
        printed.push((word.to_owned(), answer));
        relays
    };
    let relays = ask("deploy", given(deploy(images.name(), "1.0.0", &one)));
    assert!(relays > 0, "the relay was among the processes that were looked at");
    ask("deploy", given(deploy(images.name(), "1.0.1", &broken)));
    ask(
        "rollback",
        Body::Rollback(Box::new(Rollback { to: Some("1.0.0".parse().expect("one")), ..rollback() })),
    );
    // A variable that is not allowed is named without its value.
    let mut strange = deploy(images.name(), "1.0.2", &one);
    strange.environment =
        [("STRANGE".parse().expect("a key"), Secret::verbatim(SECRETS[0].to_owned()))].into();
    ask("deploy", Body::Deploy(Box::new(strange)));
    ask("status", Body::Status { deployment: None });
    ask("history", Body::History { entries: 100 });
    ask("logs", Body::Logs { lines: 100 });

    let all: Vec<u8> = printed.iter().flat_map(|(_, printed)| printed.clone()).collect();
    let all = String::from_utf8_lossy(&all);
    for words in ["\"deployed\"", "/healthz gave 503", "\"unchanged\"", "STRANGE", "\"history\""] {
        assert!(all.contains(words), "`{words}` is missing in {all}");
    }
    for (what, text) in printed {
        has_none(&what, &text);
    }
    has_none("sshd's log", client.sshd.log().as_bytes());
    let keepers = keepers(server, &env_file);
    assert!(keepers >= 3, "the app file, the file for the environment and a snapshot have them: {keepers}");
    // They are where they are meant for.
    let environment = docker(&["inspect", "--format", "{{json .Config.Env}}", &server.containers().concat()]);
    assert_eq!(secrets_in(environment.as_bytes()).count(), SECRETS.len(), "{environment}");
}

/// Makes a request by the key, and looks at all processes until it is answered. Gives the answer, and how many
/// relays were seen.
fn ask_and_look(client: &KeyClient, word: &str, body: Body) -> (Vec<u8>, usize) {
    let request = client.request(body);
    let mut relays = 0;
    let output = std::thread::scope(|scope| {
        let asking = scope.spawn(|| client.ssh(&[], &[word], &request));
        while !asking.is_finished() {
            relays += in_no_process();
            clock::look_again();
        }
        asking.join().expect("ssh ends")
    });
    ([output.stdout, output.stderr].concat(), relays)
}

/// How many files have secrets: only those that are meant to, and they are root's.
fn keepers(server: &Server, env_file: &Path) -> usize {
    let mut keepers = 0;
    for path in files(server.directory.path()) {
        let text = std::fs::read(&path).expect("a file");
        let keeps = path.ends_with(format!("etc/autotag/{}.yaml", server.app))
            || path == env_file
            || path.parent().is_some_and(|directory| directory.ends_with("settings"));
        if keeps && secrets_in(&text).next().is_some() {
            let is = path.metadata().expect("a file");
            assert_eq!((is.mode() & 0o7777, is.uid()), (0o600, 0), "{}", path.display());
            keepers += 1;
        } else {
            has_none(&path.display().to_string(), &text);
        }
    }
    keepers
}

fn secrets_in(text: &[u8]) -> impl Iterator<Item = &'static str> {
    SECRETS.into_iter().filter(|secret| text.windows(secret.len()).any(|part| part == secret.as_bytes()))
}

#[track_caller]
fn has_none(what: &str, text: &[u8]) {
    assert_eq!(secrets_in(text).next(), None, "{what}: {}", String::from_utf8_lossy(text));
}

/// Looks at the arguments of all processes, and at the environments of the receiver's and sshd's; tells how many
/// relays were among them.
fn in_no_process() -> usize {
    let mut relays = 0;
    for entry in std::fs::read_dir("/proc").expect("Linux").filter_map(Result::ok) {
        // One that has ended has none.
        let Ok(arguments) = std::fs::read(entry.path().join("cmdline")) else { continue };
        has_none("arguments", &arguments);
        let name = String::from_utf8_lossy(&arguments).into_owned();
        if name.contains("autotag-receiver") || name.contains("sshd") {
            let environment = std::fs::read(entry.path().join("environ")).unwrap_or_default();
            has_none(&name, &environment);
            relays += usize::from(name.contains("\0receive\0"));
        }
    }
    relays
}

/// All files below a directory.
fn files(directory: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(directory).expect("a directory") {
        let (path, kind) = entry.and_then(|entry| Ok((entry.path(), entry.file_type()?))).expect("an entry");
        // The program itself is large, and was there before.
        if path.ends_with("usr") {
            continue;
        }
        if kind.is_dir() {
            found.extend(files(&path));
        } else if kind.is_file() {
            found.push(path);
        }
    }
    found
}
