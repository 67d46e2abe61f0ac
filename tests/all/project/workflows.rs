//! The workflows that users copy and call: do they give the action what it has, and their jobs what they need?
//!
//! A workflow that calls another one has to grant what the called jobs ask for. GitHub compares the two before
//! anything starts and refuses the whole run; its rule is here ([`refusals`]), so that every caller that this
//! project shows is held to it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use autotag_deploy::inputs::spec::{INPUTS, OUTPUTS};
use serde_yaml::Value;

use crate::project::docs::{blocks, documents, files, read};

const ACTION: &str = "org/autotag-deploy@v1";
const CALLED: &str = ".github/workflows/release-and-deploy.yml";

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Level {
    None,
    Read,
    Write,
}

impl Level {
    fn word(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Read => "read",
            Self::Write => "write",
        }
    }
}

/// What may be done, by the name that GitHub has for it. What is not there is `none`.
type Permissions = BTreeMap<String, Level>;

/// Of a job, or of a whole workflow; none where nothing is said.
fn permissions(of: &Value) -> Option<Permissions> {
    let entries = of.get("permissions")?.as_mapping().expect("permissions are said one by one");
    let level = |value: &Value| match value.as_str() {
        Some("write") => Level::Write,
        Some("read") => Level::Read,
        Some("none") => Level::None,
        other => panic!("{other:?} is no permission"),
    };
    let entry = |(name, value): (&Value, &Value)| (name.as_str().expect("a name").to_owned(), level(value));
    Some(entries.iter().map(entry).collect())
}

fn granted(pairs: &[(&str, Level)]) -> Permissions {
    pairs.iter().map(|(name, level)| ((*name).to_owned(), *level)).collect()
}

/// What a job of a workflow gets. Where nobody says anything, what new repositories give (Settings, Actions,
/// "Read repository contents and packages permissions").
fn of_job(workflow: &Value, job: &Value) -> Permissions {
    let default = || granted(&[("contents", Level::Read), ("packages", Level::Read)]);
    permissions(job).or_else(|| permissions(workflow)).unwrap_or_else(default)
}

fn jobs(workflow: &Value) -> Vec<(String, &Value)> {
    let jobs = workflow["jobs"].as_mapping().into_iter().flatten();
    jobs.map(|(name, job)| (name.as_str().expect("a name").to_owned(), job)).collect()
}

/// What GitHub says before anything starts where a call grants this.
fn refusals(called: &Value, allowed: &Permissions) -> Vec<String> {
    let level = |name: &String| allowed.get(name).copied().unwrap_or(Level::None);
    let refusal = |(id, job): (String, &Value)| {
        let asked: Vec<(String, Level)> =
            of_job(called, job).into_iter().filter(|(name, asked)| *asked > level(name)).collect();
        let list = |printed: Vec<String>| printed.join(", ");
        let requested = list(asked.iter().map(|(name, asked)| format!("{name}: {}", asked.word())).collect());
        let only = list(asked.iter().map(|(name, _)| format!("{name}: {}", level(name).word())).collect());
        (!asked.is_empty()).then(|| {
            format!("The nested job '{id}' is requesting '{requested}', but is only allowed '{only}'.")
        })
    };
    jobs(called).into_iter().filter_map(refusal).collect()
}

/// The least that no job of it is refused with.
fn needed(called: &Value) -> Permissions {
    let mut needed = Permissions::new();
    for (_, job) in jobs(called) {
        for (name, level) in of_job(called, job) {
            let most = needed.entry(name).or_insert(level);
            *most = level.max(*most);
        }
    }
    needed
}

fn yaml(name: &str, text: &str) -> Value {
    serde_yaml::from_str(text).unwrap_or_else(|error| panic!("{name}: {error}:\n{text}"))
}

fn called() -> Value {
    yaml(CALLED, &read(CALLED))
}

/// Every workflow that this project shows or offers: the examples, the documents' blocks, the reusable one and
/// the call in its first comment.
fn shown() -> Vec<(String, Value)> {
    let mut shown = Vec::new();
    for path in files() {
        let name =
            path.strip_prefix(env!("CARGO_MANIFEST_DIR")).expect("below").to_string_lossy().into_owned();
        if name.starts_with("examples/") && path.extension().is_some_and(|ending| ending == "yml") {
            shown.push((name.clone(), yaml(&name, &read(&name))));
        }
    }
    for (name, text) in documents() {
        shown.extend(blocks(&text, "yaml").into_iter().map(|block| (name.clone(), yaml(&name, &block))));
    }
    let text = read(CALLED);
    let comment = text.lines().map_while(|line| line.strip_prefix('#'));
    let call: Vec<&str> = comment.filter_map(|line| line.strip_prefix("     ")).collect();
    let call = call.into_iter().take_while(|line| !line.starts_with("The nested job")).collect::<Vec<_>>();
    shown.push((format!("{CALLED}, the comment"), yaml(CALLED, &call.join("\n"))));
    shown.push((CALLED.to_owned(), called()));
    shown.retain(|(_, workflow)| workflow.get("jobs").is_some());
    shown
}

// invariant workflows: A caller grants what the called jobs ask for; broken by: a caller without `packages:
//   write`; one with `actions: write`
#[test]
fn every_caller_grants_exactly_what_the_called_jobs_ask_for() {
    let (called, mut callers) = (called(), 0);
    for (name, workflow) in shown() {
        for (id, job) in jobs(&workflow) {
            let Some(uses) = job["uses"].as_str() else { continue };
            let Some(path) = uses.strip_prefix("org/autotag-deploy/") else { continue };
            assert_eq!(path, format!("{CALLED}@v1"), "{name}: {id}");
            let allowed = of_job(&workflow, job);
            assert_eq!(
                refusals(&called, &allowed),
                Vec::<String>::new(),
                "{name}: GitHub would not start {id}"
            );
            assert_eq!(allowed, needed(&called), "{name}: {id} grants more than is asked for");
            callers += 1;
        }
    }
    assert!(callers >= 4, "only {callers} callers are shown");
}

/// The rule itself, with the words by which people look for help.
#[test]
fn a_missing_permission_has_githubs_name() {
    let called = called();
    let needed = needed(&called);
    for name in needed.keys() {
        let mut less = needed.clone();
        less.remove(name);
        let refusals = refusals(&called, &less).join("\n");
        assert!(refusals.contains(&format!("{name}: ")), "without {name}: {refusals:?}");
    }
    let nothing = refusals(&called, &of_job(&Value::Null, &Value::Null));
    assert_eq!(
        nothing,
        ["The nested job 'release' is requesting 'contents: write, packages: write', \
          but is only allowed 'contents: read, packages: read'."]
    );
    // Who meets it finds it where the remedy stands.
    for place in [CALLED, "examples/README.md"] {
        let words = read(place).replace("\n#", " ").split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(words.contains(&nothing[0]), "{place} does not have {:?}", nothing[0]);
    }
}

/// What a job needs for what its step of this action does.
fn of_step(with: &Value) -> Permissions {
    let mut needed = match with["command"].as_str().unwrap_or("release") {
        "release" => granted(&[("contents", Level::Write), ("packages", Level::Write)]),
        "plan" => granted(&[("contents", Level::Read), ("packages", Level::Read)]),
        "deploy" | "rollback" => granted(&[("packages", Level::Read)]),
        "status" => granted(&[]),
        other => panic!("{other} is no command"),
    };
    if with.get("environment").is_some() {
        needed.insert("deployments".to_owned(), Level::Write);
    }
    needed
}

// invariant workflows: A job has the permissions that its step needs; broken by:
//   `.github/workflows/release-and-deploy.yml`: the job that deploys has `contents: read`
#[test]
fn every_job_has_exactly_the_permissions_that_its_step_needs() {
    let mut seen = 0;
    for (name, workflow) in shown() {
        for (id, job) in jobs(&workflow) {
            let steps = job["steps"].as_sequence().into_iter().flatten();
            let ours: Vec<&Value> = steps.filter(|step| step["uses"].as_str() == Some(ACTION)).collect();
            if ours.is_empty() {
                continue;
            }
            let mut needed = Permissions::new();
            for (scope, level) in ours.iter().flat_map(|step| of_step(&step["with"])) {
                let most = needed.entry(scope).or_insert(level);
                *most = level.max(*most);
            }
            assert_eq!(of_job(&workflow, job), needed, "{name}: {id}");
            seen += 1;
        }
    }
    assert!(seen >= 12, "only {seen} jobs are shown");
}

#[test]
fn every_input_and_output_that_they_name_exists() {
    let mut steps = 0;
    for (name, workflow) in shown() {
        for (_, job) in jobs(&workflow) {
            for step in job["steps"].as_sequence().into_iter().flatten() {
                if step["uses"].as_str() != Some(ACTION) {
                    continue;
                }
                steps += 1;
                for (input, _) in step["with"].as_mapping().into_iter().flatten() {
                    let input = input.as_str().expect("a name");
                    assert!(INPUTS.iter().any(|spec| spec.name == input), "{name}: {input} is no input");
                }
                let Some(id) = step["id"].as_str() else { continue };
                for (_, output) in job["outputs"].as_mapping().into_iter().flatten() {
                    let output = output.as_str().expect("an expression");
                    let of_step = output.strip_prefix(&format!("${{{{ steps.{id}.outputs.")).expect(output);
                    assert!(
                        OUTPUTS.contains(&of_step.trim_end_matches(" }}")),
                        "{name}: {output} is no output"
                    );
                }
            }
        }
    }
    assert!(steps >= 12, "only {steps} steps are shown");
}

/// Whoever knows the action's inputs knows those of the reusable workflow.
#[test]
fn the_reusable_workflow_has_the_actions_inputs() {
    let (called, text, action) = (called(), read(CALLED), yaml("action.yml", &read("action.yml")));
    let inputs = called["on"]["workflow_call"]["inputs"].as_mapping().expect("inputs");
    for (name, input) in inputs {
        let name = name.as_str().expect("a name");
        assert!(text.contains(&format!("inputs.{name} ")), "{name} is passed on to nobody");
        let description = input["description"].as_str().expect("a description");
        if !description.starts_with("As the action's") {
            continue;
        }
        let ours = &action["inputs"][name];
        assert!(ours.is_mapping(), "the action has no input {name}");
        let same = input["default"].as_str() == ours["default"].as_str();
        assert_ne!(same, description.contains("another default"), "{name}: {:?}", ours["default"]);
    }
    for (_, secret) in called["on"]["workflow_call"]["secrets"].as_mapping().expect("secrets") {
        let description = secret["description"].as_str().expect("a description");
        let name = description.split('`').nth(1).expect("an input's name");
        assert!(action["inputs"][name].is_mapping(), "the action has no input {name}");
    }
    for (output, _) in called["on"]["workflow_call"]["outputs"].as_mapping().expect("outputs") {
        assert!(OUTPUTS.contains(&output.as_str().expect("a name")), "{output:?} is no output of the action");
    }
}

// invariant workflows: One action, one pin; a rollback waits for its deployment; broken by: an example with
//   another commit of actions/checkout; the monorepo's `rollback.yml` with another group
/// Dependabot is told each directory by name; where it forgets one, this says so.
#[test]
fn every_action_is_pinned_to_one_commit() {
    let mut pins: BTreeMap<String, String> = BTreeMap::new();
    let is_workflow =
        |path: &&PathBuf| path.parent().is_some_and(|parent| parent.ends_with(".github/workflows"));
    for path in files().iter().filter(is_workflow) {
        let text = std::fs::read_to_string(path).expect("a text");
        let uses =
            text.lines().filter_map(|line| line.trim_start().trim_start_matches("- ").strip_prefix("uses: "));
        for (action, pin) in uses.filter_map(|uses| uses.split_once('@')) {
            let known = pins.entry(action.to_owned()).or_insert_with(|| pin.to_owned());
            assert_eq!(known, pin, "{}: {action}", path.display());
        }
    }
    assert!(pins.len() >= 3, "{pins:?}");
}

/// Each example's README shows the files that are there.
#[test]
fn the_examples_readmes_name_every_file() {
    let examples = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples");
    for example in ["static", "node", "python", "monorepo"] {
        let readme = read(&format!("examples/{example}/README.md"));
        for path in files() {
            let Ok(below) = path.strip_prefix(examples.join(example)) else { continue };
            let name = below.file_name().expect("a name").to_string_lossy();
            assert!(name == "README.md" || readme.contains(&*name), "{example}: {name} is not explained");
        }
    }
}
