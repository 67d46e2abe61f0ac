//! What comes into the programs from outside: locked, from one place, by one way of building.

use std::path::{Path, PathBuf};
use std::process::Command;

/// Cargo's commands that resolve dependencies, and so could change what is built. (cargo-cyclonedx knows no
/// `--locked`; `scripts/sbom` compares the lock file afterwards.)
const RESOLVING: [&str; 8] = ["build", "test", "clippy", "run", "install", "tree", "metadata", "deny"];

/// Where this project builds anything, or tells people how.
fn files() -> Vec<PathBuf> {
    let mut files = ["Dockerfile", ".ci/run", "README.md"].map(|name| root().join(name)).to_vec();
    for folder in ["scripts", ".github/workflows"] {
        let entries = std::fs::read_dir(root().join(folder)).expect(folder);
        files.extend(entries.map(|entry| entry.expect("an entry").path()).filter(|path| path.is_file()));
    }
    files
}

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
    assert!(
        dockerfile.contains("scripts/build-program action"),
        "the image's program is built by the script"
    );
    assert!(!dockerfile.contains("cargo build"), "and by nothing else");
}

/// Tests and build scripts too: what a developer's machine runs is part of the chain.
#[test]
fn no_edge_of_the_tree_leads_to_a_second_tls_stack() {
    for features in ["action", "receiver"] {
        let tree = crates_of(&["--no-default-features", "--features", features, "--edges", "all"]);
        for wanted in ["hyper", "proptest", "cc"] {
            assert!(
                tree.iter().any(|name| name == wanted),
                "{wanted} is missing: is this the tree of {features}?"
            );
        }
        for banned in ["aws-lc-rs", "aws-lc-sys", "boring", "native-tls", "openssl"] {
            assert!(!tree.iter().any(|name| name == banned), "{banned} is in the tree of {features}");
        }
    }
}

fn crates_of(arguments: &[&str]) -> Vec<String> {
    let output = Command::new(env!("CARGO"))
        .current_dir(root())
        .args(["tree", "--offline", "--locked", "--prefix", "none", "--format", "{p}"])
        .args(arguments)
        .output()
        .expect("cargo runs");
    assert!(output.status.success(), "cargo tree: {}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8_lossy(&output.stdout);
    text.lines().filter_map(|line| line.split(' ').next()).map(ToOwned::to_owned).collect()
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}
