//! What a receiver of an earlier release left on the disk in the middle of a deployment: today's goes on from it.
//!
//! `tests/earlier_states/format-N/PHASE` has the state, the journal and the settings that a real `serve` had
//! written when it was killed in that phase, with names of our own for what each server names otherwise. They stay
//! for as long as a receiver may meet such files. Those of a new format are recorded by
//!
//!     AUTOTAG_DEPLOY_EARLIER_STATES_WRITE=1 cargo test --test all crashes::earlier_states::

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use autotag_model::secret::Secret;
use autotag_protocol::{Body, Deploy, DeploymentId, End, RolloutStep};
use autotag_receiver::config::settings::Snapshots;
use autotag_receiver::engine::{DockerEngine, Engine as _};
use autotag_receiver::execute::container;
use autotag_receiver::state::journal;
use autotag_receiver::state::journal::Entry;
use autotag_receiver::state::{FORMAT, Phase, Release, State, Store, written};

use crate::receiver::crashes::held::{held_at, one_of_the_right_version, settled};
use testkit::server::{Images, Server, deploy, docker};
use testkit::torture::variable;

/// Where each recording was made: while this step of 1.0.1 was under way, over 1.0.0.
const PHASES: [(&str, Option<RolloutStep>); 5] = [
    ("steady", None),
    ("pending", Some(RolloutStep::Health)),
    ("unverified", Some(RolloutStep::Verify)),
    ("leaving", Some(RolloutStep::Drain)),
    ("turned-back", Some(RolloutStep::Drain)),
];

/// Our labels on the containers that the first receivers of format 1 made. None can be added to a container.
const LABELS: [&str; 5] = [
    "autotag-deploy.app",
    "autotag-deploy.deployment",
    "autotag-deploy.version",
    "autotag-deploy.commit",
    "autotag-deploy.config",
];

fn directory(format: u32, phase: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/earlier_states/format-{format}/{phase}"))
}

/// A server that was killed in a phase.
struct Killed {
    images: Images,
    server: Server,
    /// The last deployment.
    request: Deploy,
}

impl Killed {
    fn within(phase: &str, step: Option<RolloutStep>) -> Self {
        let images = Images::start();
        let mut server = Server::start();
        std::fs::write(server.directory.path().join("etc/autotag/app.env"), "OF_A_FILE=1\n").expect("a file");
        let usual = Self::app_file("");
        server.app_file(images.name(), &usual);
        let first = Self::request(&images, "1.0.0", "deployment-1");
        server.deploy(first.clone()).ended(&End::Deployed {});
        let Some(step) = step else {
            server.kill_serve();
            return Self { images, server, request: first };
        };
        if phase == "turned-back" {
            // Asked at the container itself there is a field in the request that a proxy takes out.
            server.app_file(
                images.name(),
                &Self::app_file("smoke: [{path: /head, contains: 'connection: close'}]\n"),
            );
        }
        let request = Self::request(&images, "1.0.1", "deployment-2");
        let held = held_at(&server, Body::Deploy(Box::new(request.clone())), |begun| begun == step);
        server.kill_serve();
        drop(held.expect("it comes to this step"));
        server.app_file(images.name(), &usual);
        Self { images, server, request }
    }

    fn app_file(more: &str) -> String {
        format!(
            "health: {{path: /healthz, deadline: 20s, stable: 100ms}}\ndrain: 5s\nstop_grace_period: 2s\nkeep: 3\n\
             environment: {{OF_THE_OWNER: '2'}}\nenv_file: /etc/autotag/app.env\nallow_environment: [OF_CI]\n\
             labels: {{team: web}}\n{more}"
        )
    }

    fn request(images: &Images, version: &str, id: &str) -> Deploy {
        let given = ("OF_CI".parse().expect("a key"), Secret::verbatim("3".to_owned()));
        Deploy {
            deployment: id.parse().expect("an id"),
            environment: [given].into(),
            ..deploy(images.name(), version, &images.push(version))
        }
    }

    fn directory(&self) -> PathBuf {
        self.server.paths.state(&self.server.app)
    }

    /// What this server names otherwise than a recording, always in this order.
    fn names(&self) -> Vec<String> {
        let listen = format!("127.0.0.1:{}", self.server.port);
        names(&self.server.state(), &self.images.name().to_string(), &listen)
    }

    /// Writes the files anew as a recording.
    fn record(&self, to: &Path) {
        let ours = self.names();
        let mut theirs = recorded_names(&ours);
        std::fs::create_dir_all(to.join("settings")).expect("a directory");
        for file in settings(&self.directory()) {
            rewrite(&self.directory().join(&file), &to.join(&file), &ours, &theirs);
        }
        // A hash is of what the recording says, not of what stood there.
        let state = self.server.state();
        for release in releases(&state).values() {
            let recorded = Snapshots::new(to).load(&release.deployment).expect("readable").expect("recorded");
            let place =
                ours.iter().position(|name| *name == release.config.to_string()).expect("it is named");
            theirs[place] = recorded.hash().to_string();
        }
        for file in ["state.json", "journal.jsonl"] {
            rewrite(&self.directory().join(file), &to.join(file), &ours, &theirs);
        }
    }

    /// Puts a recording in the place of what was left.
    fn play(&self, from: &Path) {
        let (ours, theirs) = (self.names(), names(&recorded_state(from), IMAGE, LISTEN));
        let ours_first = settings(&self.directory());
        assert_eq!(settings(from), ours_first, "of the same deployments");
        for file in ours_first.iter().map(String::as_str).chain(["state.json", "journal.jsonl"]) {
            rewrite(&from.join(file), &self.directory().join(file), &theirs, &ours);
        }
    }

    /// Makes the container that serves anew, as the first receivers of this format made it.
    fn age_container(&self) {
        let (state, app) = (self.server.state(), &self.server.app);
        let active = state.active().expect("it serves");
        let settings = Snapshots::new(&self.directory()).load(&active.release.deployment);
        let settings = settings.expect("readable").expect("it is there");
        let mut spec = container::spec(app, &active.release, &settings);
        let known = |label: &str| LABELS.contains(&label) || !label.starts_with("autotag-deploy.");
        spec.labels.retain(|label, _| known(label));
        assert_eq!(spec.labels.len(), LABELS.len() + 1, "{:?}", spec.labels);
        docker(&["rm", "--force", active.container.as_str()]);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        let engine = DockerEngine::at(DockerEngine::SOCKET);
        let id = runtime.block_on(engine.create(&spec)).expect("made");
        runtime.block_on(engine.start(&id)).expect("started");
        let file = self.directory().join("state.json");
        let text = std::fs::read_to_string(&file).expect("the state");
        std::fs::write(&file, text.replace(active.container.as_str(), &id)).expect("written");
    }
}

const IMAGE: &str = "registry.example/org/shop";
const LISTEN: &str = "127.0.0.1:8080";

/// The name that a recording has for each of a server's own.
fn recorded_names(ours: &[String]) -> Vec<String> {
    let fixed = [IMAGE, LISTEN, "shop"].map(str::to_owned).into_iter();
    let hex = |letter: usize| format!("{letter:x}").repeat(64);
    let mut number = 0;
    let others = ours.iter().skip(3).map(|name| {
        number += 1;
        if name.starts_with("sha256:") { format!("sha256:{}", hex(number)) } else { hex(number) }
    });
    fixed.chain(others).collect()
}

fn names(state: &State, image: &str, listen: &str) -> Vec<String> {
    let mut names = vec![image.to_owned(), listen.to_owned(), state.app.to_string()];
    names.extend(state.containers().into_iter().map(ToString::to_string));
    for release in releases(state).values() {
        names.extend([release.digest.to_string(), release.config.to_string()]);
    }
    names
}

/// The releases that a state knows, by their deployment.
fn releases(state: &State) -> BTreeMap<DeploymentId, Release> {
    let new = match &state.change {
        Phase::Pending { new, .. } => Some(new.clone()),
        Phase::Unverified { new, .. } => Some(new.release.clone()),
        _ => None,
    };
    let all = state.history.iter().map(|record| record.release.clone()).chain(new);
    all.map(|release| (release.deployment.clone(), release)).collect()
}

/// The names of the settings' files, in their order.
fn settings(directory: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(directory.join("settings")).expect("settings");
    let paths = entries.map(|entry| entry.expect("one").path());
    // Docker's own view of a container lies beside them, as a hash.
    let paths = paths.filter(|path| path.extension().is_some_and(|ending| ending == "json"));
    let mut names: Vec<String> =
        paths.map(|path| format!("settings/{}", path.file_name().expect("a name").display())).collect();
    names.sort();
    names
}

/// Copies a file with each name of the one side in the other's words.
fn rewrite(from: &Path, to: &Path, old: &[String], new: &[String]) {
    assert_eq!(old.len(), new.len(), "{old:?} {new:?}");
    let mut text =
        std::fs::read_to_string(from).unwrap_or_else(|error| panic!("{}: {error}", from.display()));
    for (old, new) in old.iter().zip(new) {
        text = text.replace(old.as_str(), new);
    }
    std::fs::write(to, text).unwrap_or_else(|error| panic!("{}: {error}", to.display()));
}

fn recorded_state(directory: &Path) -> State {
    let store = Store::new(directory, "shop".parse().expect("a name"));
    store.load().unwrap_or_else(|error| panic!("{error}"))
}

#[track_caller]
fn entries(path: &Path) -> Vec<Entry> {
    let reading = journal::read(path).expect("readable");
    assert_eq!((reading.foreign, reading.torn), (0, false), "{}", path.display());
    reading.entries
}

// invariant recovery: What an earlier receiver left is read and continued; broken by:
//   `crates/receiver/src/state/store.rs`: one more field is written;
//   `crates/receiver/src/config/config_hash.rs`: another number is hashed;
//   `crates/receiver/src/policy/rollout/script.rs`: the recovery of `Unverified` turns back
/// The texts themselves: no Docker, and nothing of today's put in.
#[test]
fn an_earlier_state_is_read_and_written_in_todays_form() {
    for (format, (phase, _)) in (1..=FORMAT).flat_map(|format| PHASES.map(|phase| (format, phase))) {
        let directory = directory(format, phase);
        let state = recorded_state(&directory);
        let text = std::fs::read_to_string(directory.join("state.json")).expect("the state");
        let today = String::from_utf8(written(&state).expect("written")).expect("text");
        if format == FORMAT {
            assert_eq!(today, text, "{phase}: an earlier receiver of this format could not read it");
        }
        let snapshots = Snapshots::new(&directory);
        let releases = releases(&state);
        assert_eq!(releases.len(), if phase == "steady" { 1 } else { 2 }, "{phase}");
        for release in releases.values() {
            let settings = snapshots.load(&release.deployment).expect("readable").expect("recorded");
            // Another hash would be drift on every server, and make every deployment a new one.
            assert_eq!(settings.hash(), release.config, "{phase}: {}", release.deployment);
            assert_eq!(settings.environment.len(), 3, "{phase}: what owner, file and CI said");
        }
        assert!(entries(&directory.join("journal.jsonl")).len() > 20, "{phase}");
    }
}

// invariant known: A container of another release is named, one of an earlier receiver is not
// invariant recovery: What an earlier receiver left is read and continued
// invariant no-lost-request
#[test]
fn todays_receiver_goes_on_from_it() {
    for (format, (phase, step)) in (1..=FORMAT).flat_map(|format| PHASES.map(|phase| (format, phase))) {
        let directory = directory(format, phase);
        let killed = Killed::within(phase, step);
        if format == FORMAT && variable("AUTOTAG_DEPLOY_EARLIER_STATES_WRITE").is_some() {
            killed.record(&directory);
        }
        if phase == "steady" {
            killed.age_container();
        }
        killed.play(&directory);
        let Killed { images, mut server, request } = killed;
        let before = entries(&directory.join("journal.jsonl")).len();
        let containers = server.containers();
        server.start_serve();
        settled(&server);
        let misled = |drift: Vec<String>| drift.iter().any(|text| text.contains("proxy"));
        server.until("the proxy is told", || !misled(server.status().drift));
        let state = one_of_the_right_version(&server, phase);
        let new = matches!(phase, "unverified" | "leaving");
        let serves = state.active().expect("it serves").release.version.to_string();
        assert_eq!(serves, if new { "1.0.1" } else { "1.0.0" }, "{phase}");
        assert_eq!(server.status().drift, [""; 0], "{phase}");
        if phase != "steady" {
            assert!(
                entries(&server.paths.journal(&server.app)).len() > before,
                "{phase}: it goes on behind it"
            );
        }
        // Whoever asked for it comes back, and hears how it ended.
        let reported = server.deploy(request);
        let worked = new || phase == "steady";
        assert_eq!(matches!(reported.outcome.end, End::Deployed {}), worked, "{phase}: {}", reported.text());
        if phase == "steady" {
            // The same once more is a deployment of its own, and nothing for which a container is touched.
            let again = Killed::request(&images, "1.0.0", "deployment-3");
            server.deploy(again).ended(&End::Unchanged {});
            assert_eq!(server.containers(), containers, "{phase}");
        }
        server.deploy(Killed::request(&images, "1.0.2", "deployment-4")).ended(&End::Deployed {});
        one_of_the_right_version(&server, phase);
        assert_eq!(server.status().drift, [""; 0], "{phase}");
    }
}
