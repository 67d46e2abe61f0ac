//! What comes into the programs from outside: locked, from one place, by one way of building.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use serde_yaml::Value;

use super::layering::crates_of;

/// Cargo's commands that resolve dependencies, and so could change what is built. (cargo-cyclonedx knows no
/// `--locked`; `scripts/release/sbom` compares the lock file afterwards.)
const RESOLVING: [&str; 8] = ["build", "test", "clippy", "run", "install", "tree", "metadata", "deny"];

/// Where this project builds anything, or tells people how.
fn files() -> Vec<PathBuf> {
    let mut files = ["Dockerfile", ".ci/run", "README.md"].map(|name| root().join(name)).to_vec();
    files.extend(["scripts", ".github/workflows"].iter().flat_map(|part| files_below(&root().join(part))));
    files
}

/// Every file in a directory and those below it.
pub fn files_below(directory: &Path) -> Vec<PathBuf> {
    let entries =
        std::fs::read_dir(directory).unwrap_or_else(|error| panic!("{}: {error}", directory.display()));
    let paths = entries.map(|entry| entry.expect("an entry").path());
    paths.flat_map(|path| if path.is_dir() { files_below(&path) } else { vec![path] }).collect()
}

// invariant supply-chain: Every build is locked; broken by: `scripts/release/build-program`: without `--locked`
#[test]
fn every_build_is_locked() {
    let mut seen = 0;
    for file in files() {
        let text =
            std::fs::read_to_string(&file).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
        for command in commands(&text) {
            assert!(command.contains("--locked"), "{}: without --locked: {command}", file.display());
            seen += 1;
        }
    }
    assert!(seen >= 10, "only {seen} commands were found: does this test still see them?");
}

/// The commands of a script that call Cargo for something that resolves, whole.
fn commands(text: &str) -> Vec<String> {
    let whole = text.replace("\\\n", " ");
    let called = |line: &str| RESOLVING.iter().any(|word| line.contains(&format!("cargo {word} ")));
    let words = |line: &str| line.split_whitespace().collect::<Vec<_>>().join(" ");
    whole
        .lines()
        .map(str::trim_start)
        .filter(|line| !line.starts_with('#') && !line.contains("echo ") && !line.contains('`'))
        .filter(|line| called(line))
        .map(words)
        .collect()
}

/// The check itself: a rule that reads nothing holds always.
#[test]
fn the_rule_sees_what_it_forbids() {
    let text = "# cargo build x\nif cargo build --release \\\n   --bin a; then\n  cargo test --locked b\nfi\ncargo fmt\n";
    assert_eq!(commands(text), ["if cargo build --release --bin a; then", "cargo test --locked b"]);
}

#[test]
fn what_ships_is_built_by_one_script() {
    let dockerfile = std::fs::read_to_string(root().join("Dockerfile")).expect("Dockerfile");
    for program in ["action", "receiver"] {
        let built = dockerfile.contains(&format!("scripts/release/build-program {program} "));
        assert!(built, "the script builds the {program}");
    }
    assert!(!dockerfile.contains("cargo build"), "and by nothing else");
}

/// Tests and build scripts too: what a developer's machine runs is part of the chain.
#[test]
fn no_dependency_brings_a_second_tls_stack() {
    for program in ["autotag-deploy", "autotag-receiver"] {
        let tree = crates_of(&["--package", program, "--edges", "all"]);
        for wanted in ["hyper", "proptest"] {
            assert!(tree.contains(wanted), "{wanted} is missing: is this the tree of {program}?");
        }
        for banned in ["aws-lc-rs", "aws-lc-sys", "boring", "native-tls", "openssl"] {
            assert!(!tree.contains(banned), "{banned} is in the tree of {program}");
        }
    }
}

// ---- release.yml ----

fn release_workflow() -> Value {
    let text = std::fs::read_to_string(root().join(".github/workflows/release.yml")).expect("release.yml");
    serde_yaml::from_str(&text).expect("release.yml is YAML")
}

/// What a job does, in order: its shell, and the actions that it uses.
fn doings(job: &Value) -> Vec<&str> {
    let steps = job["steps"].as_sequence().into_iter().flatten();
    steps.map(|step| step["run"].as_str().or(step["uses"].as_str()).expect("run or uses")).collect()
}

/// All jobs that this one waits for.
fn behind<'a>(jobs: &'a Value, name: &str) -> BTreeSet<&'a str> {
    let needs = &jobs[name]["needs"];
    let direct = needs.as_sequence().into_iter().flatten().chain(needs.is_string().then_some(needs));
    let mut found = BTreeSet::new();
    for name in direct.map(|name| name.as_str().expect("a name")) {
        found.insert(name);
        found.extend(behind(jobs, name));
    }
    found
}

// invariant supply-chain: A release is published whole, and the floating tag moves last; broken by:
//   `.github/workflows/release.yml`: `release` does not wait for the checksums; the release is no draft
/// A release that lacks its files is seen by nobody, and no floating tag comes to it.
#[test]
fn the_floating_tag_moves_after_the_whole_release() {
    let workflow = release_workflow();
    let jobs = &workflow["jobs"];
    let before = behind(jobs, "publish");
    for needed in ["look", "files", "materials", "checksums", "release"] {
        assert!(before.contains(needed), "publish does not wait for {needed}: {before:?}");
    }
    assert!(behind(jobs, "release").contains("checksums"), "a version is claimed before its files are there");
    let draft =
        jobs["release"]["steps"].as_sequence().expect("steps").iter().find(|step| step["uses"] == "./");
    assert_eq!(draft.expect("the action")["with"]["release-draft"], "true");

    let order =
        ["pin-image --check", "actions/download-artifact@", "release-files publish", "./", "move-major-tag"];
    let steps = doings(&jobs["publish"]);
    let places = order.map(|word| {
        let is_it = |step: &&str| if word == "./" { *step == word } else { step.contains(word) };
        steps.iter().position(is_it).unwrap_or_else(|| panic!("{word} is missing: {steps:#?}"))
    });
    assert!(places.is_sorted() && places[4] + 1 == steps.len(), "{places:?} of {steps:#?}");
    for (name, job) in jobs.as_mapping().expect("jobs") {
        let moves = doings(job)
            .iter()
            .any(|step| step.contains("move-major-tag") || step.contains("release-files publish"));
        assert!(!moves || name == "publish", "{name:?} publishes or moves the floating tag");
    }
}

// invariant supply-chain: What compiles cannot write to the repository; broken by:
//   `.github/workflows/release.yml`: `image` gets `contents: write`
/// A crate's build script could do what its job may do.
#[test]
fn what_compiles_cannot_write_to_the_repository_or_sign() {
    let workflow = release_workflow();
    let words = [
        "scripts/release/reproduce",
        "release-image push",
        "release-files make",
        "scripts/release/sbom",
        "cargo ",
    ];
    let (mut compiling, mut writing) = (0, 0);
    for (name, job) in workflow["jobs"].as_mapping().expect("jobs") {
        let may = |what: &str| job["permissions"][what] == "write";
        let compiled = doings(job).iter().any(|step| words.iter().any(|it| step.contains(it)));
        let trusted = may("contents") || may("actions") || may("id-token");
        assert!(!(compiled && trusted), "{name:?} compiles, and may write or sign");
        compiling += usize::from(compiled);
        writing += usize::from(trusted);
    }
    assert!(
        compiling >= 4 && writing >= 5,
        "{compiling} jobs compile and {writing} write: does this test still see them?"
    );
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// What a test says that touches Docker, by itself or by a harness that does.
const TOUCHES_DOCKER: [&str; 10] = [
    "DockerEngine",
    "adapters::docker",
    "Command::new(\"docker\")",
    "testkit::processes::act",
    "testkit::processes::machine",
    "testkit::server",
    "crate::action::build",
    "crate::action::docker_build",
    "crate::action::runner",
    "crate::server",
];

/// No module is forgotten where the tests run on other Engines. broken by: a line less in `scripts/engine-tests`.
#[test]
fn every_module_that_uses_docker_is_an_engine_test() {
    let script = std::fs::read_to_string(root().join("scripts/engine-tests")).expect("the script");
    let listed = |list: &str| -> Vec<String> {
        let words =
            script.split_once(&format!("\n{list}=(")).expect(list).1.split_once(')').expect("its end").0;
        words.split_whitespace().map(str::to_owned).collect()
    };
    let listed = [listed("on_every_engine"), listed("elsewhere")].concat();
    let tests = root().join("tests/all");
    let (mut files, mut seen) = (vec![tests.clone()], 0);
    while let Some(file) = files.pop() {
        if file.is_dir() {
            files.extend(
                std::fs::read_dir(&file).expect("a directory").map(|entry| entry.expect("an entry").path()),
            );
            continue;
        }
        let text = std::fs::read_to_string(&file).unwrap_or_default();
        let is_rust = file.extension().is_some_and(|extension| extension == "rs");
        // This one has the words without the deed.
        if !is_rust || file.ends_with("supply.rs") || !TOUCHES_DOCKER.iter().any(|word| text.contains(word)) {
            continue;
        }
        seen += 1;
        let path = file.strip_prefix(&tests).expect("below it").with_extension("");
        let module = format!("{}::", path.to_string_lossy().replace('/', "::"));
        assert!(
            listed.iter().any(|entry| module.starts_with(entry.as_str())),
            "{module} touches Docker: add it to a list in scripts/engine-tests"
        );
    }
    assert!(seen > 30, "only {seen} modules were found: does this test still see them?");
}
