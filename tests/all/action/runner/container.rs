//! One step of a job, started as GitHub's runner starts a container action
//! (its `ContainerActionHandler` and `DockerCommandManager`).

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use autotag_model::git::ObjectId;
use serde_json::{Value, json};

use super::leftovers::Leftovers;
use crate::action::workflow::{Finished, outputs, without_masks};
use testkit::github::Double;

/// The runner's directories on the host, and where a container sees them; the longer ones first, because the
/// first that fits is taken.
const MOUNTS: [(&str, &str); 5] = [
    ("_temp/_github_home", "/github/home"),
    ("_temp/_github_workflow", "/github/workflow"),
    ("_temp/_runner_file_commands", "/github/file_commands"),
    ("_temp", "/github/runner_temp"),
    ("app/app", "/github/workspace"),
];

/// The action's own image.
///
/// Panics where nobody says which: this crate's tests never pass by leaving something out.
#[expect(clippy::disallowed_methods, reason = "a test's only word from outside")]
pub fn image() -> String {
    std::env::var("AUTOTAG_DEPLOY_TEST_IMAGE").unwrap_or_else(|_| {
        panic!(
            "AUTOTAG_DEPLOY_TEST_IMAGE is not set: this test needs the action's own image. Run `scripts/test`, \
             or, once that has been through: AUTOTAG_DEPLOY_TEST_IMAGE=autotag-deploy:test cargo test. Manually: \
             `scripts/images/base-image && DOCKER_BUILDKIT=1 docker build --tag autotag-deploy:test .`"
        )
    })
}

/// A runner's work directory, with the workspace in it, and one step that is about to start.
pub struct Step {
    directory: tempfile::TempDir,
    inputs: BTreeMap<String, String>,
    environment: BTreeMap<&'static str, String>,
}

impl Step {
    /// A push of this commit to `org/app`'s main, against this double.
    pub fn of_push(github_url: &str, commit: &ObjectId) -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        for (host, _) in MOUNTS {
            fs::create_dir_all(directory.path().join(host)).expect("a directory");
        }
        let path = |below: &str| directory.path().join(below).to_string_lossy().into_owned();
        let file = |below: &str, text: &str| {
            fs::write(path(below), text).expect("a file");
            path(below)
        };
        let event = json!({ "repository": { "default_branch": "main" } }).to_string();
        let commands = "_temp/_runner_file_commands";
        let environment = BTreeMap::from([
            ("HOME", path("_temp/_github_home")),
            ("RUNNER_TEMP", path("_temp")),
            ("RUNNER_WORKSPACE", path("app")),
            ("RUNNER_TOOL_CACHE", "/opt/hostedtoolcache".to_owned()),
            ("RUNNER_OS", "Linux".to_owned()),
            ("GITHUB_WORKSPACE", path("app/app")),
            ("GITHUB_EVENT_PATH", file("_temp/_github_workflow/event.json", &event)),
            // Made by the runner, empty, before each step.
            ("GITHUB_OUTPUT", file(&format!("{commands}/set_output_7"), "")),
            ("GITHUB_STEP_SUMMARY", file(&format!("{commands}/step_summary_7"), "")),
            ("GITHUB_ENV", file(&format!("{commands}/set_env_7"), "")),
            ("GITHUB_PATH", file(&format!("{commands}/add_path_7"), "")),
            ("GITHUB_STATE", file(&format!("{commands}/save_state_7"), "")),
            ("GITHUB_REPOSITORY", "org/app".to_owned()),
            ("GITHUB_SHA", commit.to_string()),
            ("GITHUB_REF", "refs/heads/main".to_owned()),
            ("GITHUB_REF_NAME", "main".to_owned()),
            ("GITHUB_EVENT_NAME", "push".to_owned()),
            ("GITHUB_ACTOR", "octocat".to_owned()),
            ("GITHUB_RUN_ID", "7".to_owned()),
            ("GITHUB_RUN_ATTEMPT", "1".to_owned()),
            ("GITHUB_SERVER_URL", "https://github.com".to_owned()),
            ("GITHUB_API_URL", github_url.to_owned()),
            ("GITHUB_GRAPHQL_URL", format!("{github_url}/graphql")),
        ]);
        Self { directory, inputs: inputs(), environment }
    }

    /// An input.
    pub fn with(mut self, input: &str, value: &str) -> Self {
        let known = self.inputs.insert(input.to_owned(), value.to_owned());
        assert!(known.is_some(), "action.yml has no input {input}");
        self
    }

    /// The checked out repository.
    pub fn workspace(&self) -> PathBuf {
        self.directory.path().join("app/app")
    }

    /// Starts it. The one difference to the runner is the host's network: the double and the registry of a
    /// test listen on the loopback device alone.
    pub fn start(self, leftovers: &Leftovers) -> Running {
        let name = format!("autotag-deploy-{:016x}", rand::random::<u64>());
        let mut command = Command::new("docker");
        command.args(["run", "--name", &name, "--label", leftovers.label()]);
        command.args(["--workdir", "/github/workspace", "--rm", "--network", "host"]);
        // Names as arguments, values by the client's environment: nobody reads them in a list of processes.
        for (name, value) in &self.environment {
            command.args(["-e", name]).env(name, self.inside(value));
        }
        for (name, value) in &self.inputs {
            let name = format!("INPUT_{}", name.to_uppercase().replace(' ', "_"));
            command.args(["-e", &name]).env(&name, self.inside(value));
        }
        command.args(["-e", "GITHUB_ACTIONS=true", "-e", "CI=true"]);
        command.args(["-v", "/var/run/docker.sock:/var/run/docker.sock"]);
        for (host, container) in MOUNTS {
            let host = self.directory.path().join(host);
            command.args(["-v", &format!("{}:{container}", host.display())]);
        }
        let log = File::create(self.directory.path().join("log")).expect("the log");
        command
            .arg(image())
            .stdin(Stdio::null())
            .stdout(log.try_clone().expect("a second handle"))
            .stderr(log);
        let client = command.spawn().expect("Docker's client");
        Running { client, name, step: self }
    }

    /// The runner's `TranslateToContainerPath`: a value that is a mounted directory, or lies below one.
    fn inside(&self, value: &str) -> String {
        let below = |(host, container): (&str, &str)| {
            let host = self.directory.path().join(host);
            let rest = value.strip_prefix(&*host.to_string_lossy())?;
            (rest.is_empty() || rest.starts_with('/')).then(|| format!("{container}{rest}"))
        };
        MOUNTS.into_iter().find_map(below).unwrap_or_else(|| value.to_owned())
    }
}

/// Every input of action.yml: the runner passes all of them, those that were not given as their default or
/// an empty text.
fn inputs() -> BTreeMap<String, String> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("action.yml");
    let action: Value = serde_yaml::from_str(&fs::read_to_string(path).expect("action.yml")).expect("YAML");
    let inputs = action["inputs"].as_object().expect("inputs");
    let default = |input: &Value| match input["default"].as_str().unwrap_or_default() {
        "${{ github.token }}" => Double::TOKEN.to_owned(),
        text => text.to_owned(),
    };
    inputs.iter().map(|(name, input)| (name.clone(), default(input))).collect()
}

/// A step that runs.
pub struct Running {
    client: Child,
    name: String,
    step: Step,
}

impl Running {
    /// What it has printed so far.
    pub fn log_so_far(&self) -> String {
        fs::read_to_string(self.step.directory.path().join("log")).expect("the log")
    }

    /// What the runner does first when a job is cancelled: SIGINT to Docker's client, which hands it on.
    pub fn cancel(&self) {
        let status = Command::new("kill").args(["-s", "INT", &self.client.id().to_string()]).status();
        assert!(status.expect("kill starts").success(), "SIGINT was sent");
    }

    /// Whether it has ended.
    pub fn has_ended(&mut self) -> bool {
        self.client.try_wait().expect("it can be waited for").is_some()
    }

    /// The container's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Waits for its end and reads what it left.
    pub fn finish(mut self) -> Finished {
        let status = self.client.wait().expect("it can be waited for");
        let raw = self.log_so_far();
        let commands = self.step.directory.path().join("_temp/_runner_file_commands");
        let finished = Finished {
            code: status.code(),
            log: without_masks(&raw),
            outputs: outputs(&commands.join("set_output_7")),
            summary: fs::read_to_string(commands.join("step_summary_7")).expect("the summary"),
            raw,
        };
        let secrets = ["github-token", "workflow-token", "registry-password"];
        finished.assert_no_secrets(&secrets.iter().map(|name| self.step.inputs[*name].as_str()).collect());
        finished
    }
}

impl Drop for Running {
    /// The client alone: its container has the test's label and is taken away by that.
    fn drop(&mut self) {
        let _ = self.client.kill();
        let _ = self.client.wait();
    }
}
