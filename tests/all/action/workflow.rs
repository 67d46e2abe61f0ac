//! The real program, started as a runner starts it: environment, event, files, masks.
//!
//! The child's environment holds nothing of the test's own. Whatever it prints is read as the runner reads
//! it; every finished run is searched for every secret it was given.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use autotag_model::git::ObjectId;
use serde_json::json;

use testkit::github::Double;

/// Repository, server and workspace of a workflow.
pub struct Workflow {
    directory: tempfile::TempDir,
    environment: BTreeMap<String, String>,
    inputs: BTreeMap<String, String>,
}

impl Workflow {
    /// Runs of `org/app` on main, against this double. The workspace has a Dockerfile from scratch.
    pub fn new(github_url: &str) -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        let workspace = directory.path().join("workspace");
        std::fs::create_dir(&workspace).expect("the workspace");
        std::fs::write(workspace.join("Dockerfile"), "FROM scratch\nARG VERSION\nCOPY app /app\n")
            .expect("Dockerfile");
        std::fs::write(workspace.join("app"), "first\n").expect("app");
        let mut workflow = Self { directory, environment: BTreeMap::new(), inputs: BTreeMap::new() };
        for (name, value) in [
            ("GITHUB_ACTIONS", "true"),
            ("CI", "true"),
            ("GITHUB_REPOSITORY", "org/app"),
            ("GITHUB_ACTOR", "octocat"),
            ("GITHUB_API_URL", github_url),
            ("GITHUB_GRAPHQL_URL", &format!("{github_url}/graphql")),
            ("GITHUB_SERVER_URL", "https://github.com"),
            ("GITHUB_RUN_ID", "7"),
            ("GITHUB_RUN_ATTEMPT", "1"),
            ("GITHUB_WORKSPACE", &workspace.to_string_lossy()),
            ("PATH", "/usr/bin:/bin"),
        ] {
            workflow.environment.insert(name.to_owned(), value.to_owned());
        }
        workflow.with("github-token", Double::TOKEN)
    }

    /// An input for every run.
    pub fn with(mut self, input: &str, value: &str) -> Self {
        self.inputs.insert(input.to_owned(), value.to_owned());
        self
    }

    /// What was given for an input so far.
    pub fn input(&self, name: &str) -> &str {
        self.inputs.get(name).map_or("", String::as_str)
    }

    /// The root of GitHub's API.
    pub fn github_url(&self) -> &str {
        &self.environment["GITHUB_API_URL"]
    }

    /// The directory that is built.
    pub fn workspace(&self) -> PathBuf {
        self.directory.path().join("workspace")
    }

    /// A push of this commit to main.
    pub fn push(&self, commit: &ObjectId) -> Run {
        self.run(commit, "push", "refs/heads/main")
    }

    /// Any event.
    pub fn run(&self, commit: &ObjectId, event: &str, reference: &str) -> Run {
        let files = tempfile::tempdir_in(self.directory.path()).expect("a directory");
        let path = |name: &str| files.path().join(name).to_string_lossy().into_owned();
        std::fs::write(path("event.json"), json!({ "repository": { "default_branch": "main" } }).to_string())
            .expect("the event");
        // The runner makes these files, empty, before the step.
        for file in ["output", "summary"] {
            std::fs::write(path(file), "").expect("a file");
        }
        let mut environment = self.environment.clone();
        for (name, value) in [
            ("GITHUB_SHA", commit.to_string()),
            ("GITHUB_EVENT_NAME", event.to_owned()),
            ("GITHUB_REF", reference.to_owned()),
            ("GITHUB_EVENT_PATH", path("event.json")),
            ("GITHUB_OUTPUT", path("output")),
            ("GITHUB_STEP_SUMMARY", path("summary")),
        ] {
            environment.insert(name.to_owned(), value);
        }
        Run { files, environment, inputs: self.inputs.clone(), arguments: Vec::new() }
    }
}

/// One run that is about to start.
pub struct Run {
    files: tempfile::TempDir,
    environment: BTreeMap<String, String>,
    inputs: BTreeMap<String, String>,
    arguments: Vec<String>,
}

impl Run {
    /// An input for this run.
    pub fn with(mut self, input: &str, value: &str) -> Self {
        self.inputs.insert(input.to_owned(), value.to_owned());
        self
    }

    /// A variable for this run.
    pub fn env(mut self, name: &str, value: &str) -> Self {
        self.environment.insert(name.to_owned(), value.to_owned());
        self
    }

    /// Without Docker: whatever would build fails.
    pub fn without_docker(self) -> Self {
        self.env("DOCKER_HOST", "tcp://127.0.0.1:1")
    }

    /// Flags, as on a workstation.
    pub fn arguments(mut self, arguments: &[&str]) -> Self {
        self.arguments = arguments.iter().map(|text| (*text).to_owned()).collect();
        self
    }

    /// Outside of any CI.
    pub fn outside_of_ci(mut self) -> Self {
        self.environment
            .retain(|name, _| !name.starts_with("GITHUB_") && name != "CI" || name == "GITHUB_API_URL");
        self
    }

    /// Starts it.
    pub fn start(self) -> Running {
        let mut command = Command::new(env!("CARGO_BIN_EXE_autotag-deploy"));
        command.env_clear().envs(&self.environment).args(&self.arguments).current_dir(self.files.path());
        for (name, value) in &self.inputs {
            command.env(format!("INPUT_{}", name.to_uppercase()), value);
        }
        // Into one file: the runner sees both streams in one order too.
        let log = std::fs::File::create(self.files.path().join("log")).expect("the log");
        command.stdin(Stdio::null()).stdout(log.try_clone().expect("a second handle")).stderr(log);
        let child = command.spawn().expect("the program starts");
        Running { child, run: self }
    }

    /// Runs it to its end.
    pub fn finish(self) -> Finished {
        self.start().finish()
    }

    fn secrets(&self) -> BTreeSet<&str> {
        let secret = |name: &str| {
            ["github-token", "workflow-token", "registry-password", "deploy-key", "deploy-registry-password"]
                .contains(&name)
        };
        self.inputs.iter().filter(|(name, _)| secret(name)).map(|(_, value)| value.trim()).collect()
    }
}

/// A run that has started. Dropped, it is killed.
pub struct Running {
    child: Child,
    run: Run,
}

impl Running {
    /// SIGKILL.
    pub fn kill(mut self) -> Finished {
        self.child.kill().expect("it can be killed");
        self.finish()
    }

    /// A signal by its name, `INT` or `TERM`.
    pub fn signal(&self, name: &str) {
        let status = Command::new("kill").args(["-s", name, &self.child.id().to_string()]).status();
        assert!(status.expect("kill starts").success(), "SIG{name} was sent");
    }

    /// Whether it has ended.
    pub fn has_ended(&mut self) -> bool {
        self.child.try_wait().expect("it can be waited for").is_some()
    }

    /// What it has printed so far, raw.
    pub fn log_so_far(&self) -> String {
        std::fs::read_to_string(self.run.files.path().join("log")).expect("the log")
    }

    /// Waits for its end and reads what it left.
    pub fn finish(mut self) -> Finished {
        let status = self.child.wait().expect("it can be waited for");
        let raw = self.log_so_far();
        let directory = self.run.files.path();
        let summary = std::fs::read_to_string(directory.join("summary")).expect("the summary");
        let outputs = outputs(&directory.join("output"));
        let finished = Finished { code: status.code(), log: without_masks(&raw), raw, outputs, summary };
        finished.assert_no_secrets(&self.run.secrets());
        finished
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What a run left.
#[derive(Debug)]
pub struct Finished {
    /// The exit code; `None` where a signal ended it.
    pub code: Option<i32>,
    /// What it printed, but for the masks.
    pub log: String,
    /// What it printed, whole.
    pub raw: String,
    /// Its outputs.
    pub outputs: BTreeMap<String, String>,
    /// The step summary.
    pub summary: String,
}

impl Finished {
    /// It ended well, with this outcome.
    #[track_caller]
    pub fn ended(self, outcome: &str) -> Self {
        assert!(self.code == Some(0) && self.output("outcome") == outcome, "expected {outcome}, got {self}");
        self
    }

    /// It failed with this exit code.
    #[track_caller]
    pub fn failed(self, code: i32) -> Self {
        assert!(
            self.code == Some(code) && self.output("outcome") == "failed",
            "expected exit code {code}, got {self}"
        );
        self
    }

    /// It failed with this exit code, and for this reason: the title of its one error.
    #[track_caller]
    pub fn refused(self, code: i32, title: &str) -> Self {
        let run = self.failed(code);
        let errors = run.annotations("error");
        let start = format!("::error title={title}::");
        assert!(matches!(errors[..], [one] if one.starts_with(&start)), "expected `{title}`, got {run}");
        run
    }

    /// One output; empty where it was not set.
    pub fn output(&self, name: &str) -> &str {
        self.outputs.get(name).map_or("", String::as_str)
    }

    /// The texts of annotations of a level.
    pub fn annotations(&self, level: &str) -> Vec<&str> {
        let start = format!("::{level} ");
        self.log.lines().filter(|line| line.starts_with(&start)).collect()
    }

    /// None of these stands where somebody reads.
    pub fn assert_no_secrets(&self, secrets: &BTreeSet<&str>) {
        let outputs = format!("{:?}", self.outputs);
        for form in secrets.iter().filter(|secret| !secret.is_empty()).flat_map(|secret| forms_of(secret)) {
            for (place, text) in [("log", &self.log), ("outputs", &outputs), ("summary", &self.summary)] {
                assert!(!text.contains(&form), "a secret stands in the {place}");
            }
        }
    }
}

/// A secret itself, and what stays of it in base64 wherever it stands in the encoded text (`user:password`,
/// JSON): an encoding depends on the place modulo 3, and differs only at its ends.
pub fn forms_of(secret: &str) -> Vec<String> {
    use base64::Engine as _;
    let mut forms = vec![secret.to_owned()];
    for shift in 0..3 {
        let placed = [vec![0; shift], secret.as_bytes().to_vec()].concat();
        let encoded = base64::engine::general_purpose::STANDARD_NO_PAD.encode(placed);
        let inner = &encoded[2 * shift.min(2)..encoded.len() - 1];
        // Of a short secret too little is left to tell it from chance.
        if inner.len() >= 8 {
            forms.push(inner.to_owned());
        }
    }
    forms
}

#[test]
fn a_secret_is_found_in_base64_wherever_it_stands() {
    use base64::Engine as _;
    for user in ["a", "ab", "abc", "abcd"] {
        let header =
            base64::engine::general_purpose::STANDARD.encode(format!("{user}:correct horse battery"));
        assert!(forms_of("correct horse battery").iter().any(|form| header.contains(form)), "{user}");
    }
}

impl std::fmt::Display for Finished {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "exit code {:?}, outputs {:?}, log:\n{}", self.code, self.outputs, self.log)
    }
}

/// The log as people see it: the runner takes the lines with masks away.
pub fn without_masks(raw: &str) -> String {
    let lines = raw.split_inclusive('\n');
    lines.filter(|line| !line.starts_with("::add-mask::")).collect()
}

/// The runner's file format: `NAME=VALUE`, or `NAME<<DELIMITER`, lines, `DELIMITER`.
pub fn outputs(path: &Path) -> BTreeMap<String, String> {
    let text = std::fs::read_to_string(path).expect("the outputs");
    assert!(text.is_empty() || text.ends_with('\n'), "the runner refuses a file without a last line break");
    let mut outputs = BTreeMap::new();
    let mut lines = text.lines();
    while let Some(line) = lines.next() {
        let equals = line.find('=').unwrap_or(usize::MAX);
        let Some(at) = line.find("<<").filter(|heredoc| *heredoc < equals) else {
            let (name, value) = line.split_once('=').expect("a name and a value");
            outputs.insert(name.to_owned(), value.to_owned());
            continue;
        };
        let delimiter = &line[at + 2..];
        let mut value = Vec::new();
        loop {
            match lines.next() {
                Some(line) if line == delimiter => break,
                Some(line) => value.push(line),
                None => panic!("the delimiter {delimiter} is missing"),
            }
        }
        outputs.insert(line[..at].to_owned(), value.join("\n"));
    }
    outputs
}
