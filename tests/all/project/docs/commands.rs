//! Commands that documents, scripts, workflows and messages show: each of them can be run.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::links::tests;
use super::{files, read, root};
use crate::project::supply::files_below;

/// Cargo's commands that are given names of this project.
const CARGO: [&str; 8] = ["build", "check", "clippy", "install", "run", "test", "tree", "metadata"];

/// Options of those with a value that is no name of this project.
const WITH_VALUE: [&str; 9] = [
    "--depth",
    "--edges",
    "--features",
    "--format",
    "--git",
    "--message-format",
    "--root",
    "--target",
    "--target-dir",
];

/// Everything that shows people or machines what to run, by its name.
fn showing() -> Vec<(String, String)> {
    // Its commands are there to be refused.
    let made_up = ["tests/all/project/supply.rs", "tests/all/project/docs/commands.rs"];
    let shows = |name: &str| {
        let kind = Path::new(name).extension().is_some_and(|ending| ending == "md" || ending == "rs");
        let place =
            ["scripts/", ".github/workflows/", ".ci/"].iter().any(|directory| name.starts_with(directory));
        (kind || place || name == "Dockerfile")
            && !made_up.contains(&name)
            && !name.contains("/node_modules/")
    };
    let name = |path: PathBuf| path.strip_prefix(root()).expect("below").to_string_lossy().into_owned();
    let names = files().into_iter().map(name).filter(|name| shows(name));
    names.map(|name| (name.clone(), read(&name))).collect()
}

fn is_library(path: &Path) -> bool {
    path.extension().is_some_and(|ending| ending == "sh" || ending == "txt")
}

/// A script that is named is there, and can be run; every script has a document.
#[test]
fn scripts_that_are_shown_can_be_run() {
    use std::os::unix::fs::PermissionsExt as _;
    let (mut seen, mut documented) = (BTreeSet::new(), BTreeSet::new());
    for (name, text) in showing() {
        let words = text.split(|next: char| next.is_whitespace() || "`()[],;:'\"|=#{}$".contains(next));
        for word in words.filter(|word| word.starts_with("scripts/") && !word.contains(['*', '<', '\\'])) {
            let path = root().join(word.trim_end_matches(['.', '/']));
            assert!(path.exists(), "{name}: {word} does not exist");
            let mode = std::fs::metadata(&path).expect("a file").permissions().mode();
            let runs = path.is_dir() || is_library(&path) || mode & 0o111 == 0o111;
            assert!(runs, "{name}: {word} is not executable");
            if Path::new(&name).extension().is_some_and(|ending| ending == "md") {
                documented.insert(path.clone());
            }
            seen.insert(path);
        }
    }
    let parts = root().join("scripts/parts");
    for path in files_below(&root().join("scripts")).into_iter().filter(|path| !path.starts_with(&parts)) {
        assert!(is_library(&path) || documented.contains(&path), "no document names {}", path.display());
    }
    assert!(seen.len() >= 22, "only {seen:?}");
}

/// What Cargo can be asked for here.
struct Names {
    packages: BTreeSet<String>,
    targets: BTreeSet<(String, String)>,
    profiles: BTreeSet<String>,
    tests: BTreeSet<String>,
}

impl Names {
    fn of_this_project() -> Self {
        let output = Command::new(env!("CARGO"))
            .current_dir(root())
            .args(["metadata", "--no-deps", "--offline", "--locked", "--format-version", "1"])
            .output()
            .expect("cargo runs");
        let metadata: serde_json::Value = serde_json::from_slice(&output.stdout).expect("cargo metadata");
        let packages = metadata["packages"].as_array().expect("packages");
        let text = |value: &serde_json::Value| value.as_str().expect("a text").to_owned();
        let targets = packages.iter().flat_map(|package| package["targets"].as_array().expect("targets"));
        let manifest = read("Cargo.toml");
        let own = manifest.lines().filter_map(|line| line.strip_prefix("[profile.")?.strip_suffix(']'));
        Self {
            packages: packages.iter().map(|package| text(&package["name"])).collect(),
            targets: targets.map(|target| (text(&target["kind"][0]), text(&target["name"]))).collect(),
            profiles: own.filter(|name| !name.contains('.')).map(str::to_owned).collect(),
            tests: tests(),
        }
    }

    /// What is wrong with a command's words, from the subcommand on.
    fn fault(&self, words: &[&str]) -> Option<String> {
        let (command, mut rest) = words.split_first()?;
        if !CARGO.contains(command) {
            return None;
        }
        let variable = |word: &str| {
            word.contains(['$', '{', '<']) || word.starts_with(|first: char| first.is_uppercase())
        };
        let target = |kind: &str, name: &str| self.targets.contains(&(kind.to_owned(), name.to_owned()));
        while let Some((word, after)) = rest.split_first() {
            rest = after;
            let value = after.first().copied().unwrap_or_default();
            let there = match *word {
                "--" => return None,
                "--bin" => target("bin", value),
                "--example" => target("example", value),
                "--test" => target("test", value),
                "--package" | "-p" => self.packages.contains(value),
                "--profile" => self.profiles.contains(value),
                "--manifest-path" => root().join(value).is_file(),
                option if WITH_VALUE.contains(&option) => true,
                option if option.starts_with('-') => continue,
                part if *command == "test" && !variable(part) => {
                    if self.tests.iter().any(|test| test.contains(part)) {
                        continue;
                    }
                    return Some(format!("no test has `{part}` in its name"));
                }
                _ => continue,
            };
            if !there && !variable(value) {
                return Some(format!("there is no `{word} {value}`"));
            }
            rest = rest.get(1..).unwrap_or_default();
        }
        None
    }
}

/// The words of each command of Cargo's that stands in a text, from the subcommand on.
fn commands(text: &str) -> Vec<Vec<String>> {
    let whole = text.replace("\\\n", " ");
    let mut found = Vec::new();
    for (start, name) in whole.match_indices("cargo ") {
        let before = whole[..start].chars().next_back().unwrap_or('\n');
        if before.is_alphanumeric() || "/-_".contains(before) {
            continue;
        }
        let ends = |next: char| "\n`;|&#()".contains(next) || (next == before && "\"'".contains(before));
        let command = whole[start + name.len()..].split(ends).next().unwrap_or_default();
        // A redirection is the shell's, and what is in quotes may be a variable.
        let words = command.split_whitespace().take_while(|word| !word.contains('>'));
        found.push(words.map(|word| word.trim_matches(['"', '\'', ',', '.']).to_owned()).collect());
    }
    found
}

/// Programs, examples, tests, packages and profiles that a command names, and the tests that a filter picks.
#[test]
fn what_cargo_is_asked_for_is_there() {
    let names = Names::of_this_project();
    let (mut seen, mut faults) = (0, Vec::new());
    for (name, text) in showing() {
        for words in commands(&text) {
            let words: Vec<&str> = words.iter().map(String::as_str).collect();
            seen += usize::from(words.first().is_some_and(|first| CARGO.contains(first)));
            if let Some(fault) = names.fault(&words) {
                faults.push(format!("{name}: cargo {}: {fault}", words.join(" ")));
            }
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
    assert!(seen >= 30, "only {seen} commands are found");
}

/// The check itself.
#[test]
fn the_check_of_commands_sees_what_is_wrong() {
    let names = Names::of_this_project();
    let fault = |text: &str| {
        let found = commands(text);
        names.fault(&found[0].iter().map(String::as_str).collect::<Vec<_>>())
    };
    for (wrong, expected) in [
        ("`cargo run --locked --example parsers x`", "there is no `--example parsers`"),
        ("cargo build --locked \\\n    --bin autotag-deploi | cat", "there is no `--bin autotag-deploi`"),
        ("(cargo test -p autotag-modell)", "there is no `-p autotag-modell`"),
        ("cargo build --profile dmeo # as ever", "there is no `--profile dmeo`"),
        ("cargo check --manifest-path fuz/Cargo.toml;", "there is no `--manifest-path fuz/Cargo.toml`"),
        ("cargo test --locked --test all relase:: -- --nocapture", "no test has `relase::` in its name"),
    ] {
        assert_eq!(fault(wrong).as_deref(), Some(expected), "{wrong}");
    }
    for right in [
        "cargo test --locked --test all release::races   # the real program",
        "cargo build --locked --bin \"$program\" --target-dir nowhere",
        "cargo test NAME",
        "cargo fmt --check",
    ] {
        assert_eq!(fault(right), None, "{right}");
    }
}
