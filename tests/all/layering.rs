//! Who may know whom: the dependency rules of ARCHITECTURE.md, held against the sources and Cargo's tree.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Crates that do I/O. What names none of them decides, and can be tested without a world.
const IO_CRATES: [&str; 4] = ["tokio", "bollard", "octocrab", "reqwest"];

/// Modules that only decide.
const PURE: [&str; 18] = [
    "crates/model/src",
    "crates/protocol/src",
    "crates/docker/src/login.rs",
    "crates/build-context/src/ignore",
    "crates/build-context/src/dockerfile",
    "crates/receiver/src/config/app_file",
    "crates/receiver/src/config/config_hash.rs",
    "crates/receiver/src/config/environment.rs",
    "crates/receiver/src/policy/admit",
    "crates/receiver/src/policy/drift.rs",
    "crates/receiver/src/policy/rollout",
    "crates/receiver/src/paths.rs",
    "crates/receiver/src/state/labels.rs",
    "src/deploy/host_sequence",
    "src/inputs",
    "src/ssh_keys",
    "src/release/notes.rs",
    "src/versioning",
];

/// A module of the action, and those that it must not know: a stage knows earlier stages only. What a crate may know
/// stands in its Cargo.toml.
const LAYERS: [(&str, &[&str]); 10] = [
    (
        "src/versioning",
        &[
            "app", "cli", "deploy", "failure", "inputs", "local", "pipeline", "release", "report",
            "adapters", "ports",
        ],
    ),
    (
        "src/ssh_keys",
        &[
            "adapters", "app", "cli", "deploy", "failure", "inputs", "local", "pipeline", "ports", "release",
            "report",
        ],
    ),
    (
        "src/ports.rs",
        &["adapters", "app", "cli", "deploy", "failure", "inputs", "local", "pipeline", "release", "report"],
    ),
    (
        "src/adapters",
        &["app", "cli", "deploy", "failure", "inputs", "local", "pipeline", "release", "report"],
    ),
    (
        "src/failure.rs",
        &["adapters", "app", "cli", "deploy", "inputs", "local", "pipeline", "ports", "release", "report"],
    ),
    (
        "src/inputs",
        &["adapters", "app", "cli", "deploy", "failure", "local", "pipeline", "ports", "release", "report"],
    ),
    ("src/release", &["adapters", "app", "cli", "deploy", "local", "pipeline", "report"]),
    ("src/deploy", &["adapters", "app", "cli", "local", "pipeline", "report"]),
    ("src/pipeline", &["adapters", "app", "cli", "report"]),
    ("src/report", &["adapters", "app", "cli"]),
];

#[test]
fn pure_modules_do_no_io() {
    for part in PURE {
        for source in sources(part) {
            for word in IO_CRATES {
                assert_eq!(source.lines_with(word), [0; 0], "{}: {word} in a pure module", source.name);
            }
        }
    }
}

/// Modules whose mutants say little, by their unit tests: they hold words and names, or start other programs, and
/// tests of whole programs hold those.
const NOT_MUTATED: [&str; 5] = [
    "crates/model/src/help.rs",
    "crates/model/src/secret.rs",
    "crates/model/src/text.rs",
    "crates/protocol/src/remedies.rs",
    "crates/receiver/src/paths.rs",
];

#[test]
fn what_only_decides_is_tried_by_mutants() {
    let script = std::fs::read_to_string(root().join("scripts/mutants")).expect("the script");
    let groups: Vec<&str> = script.lines().filter(|line| line.starts_with("    \"")).collect();
    let patterns: Vec<&str> = groups
        .iter()
        .flat_map(|line| line.trim_matches([' ', '"']).rsplit('|').next().unwrap_or_default().split(' '))
        .collect();
    let fits = |file: &str| {
        patterns.iter().any(|pattern| match pattern.strip_suffix("*.rs") {
            Some(folder) => file.strip_prefix(folder).is_some_and(|rest| !rest.contains('/')),
            None => *pattern == file,
        })
    };
    let is_test =
        |file: &str| file.ends_with("tests.rs") || file.contains("/model.rs") || file.contains("/model/");
    let mut wrong: Vec<String> = Vec::new();
    for file in PURE.iter().flat_map(|part| sources(part)).map(|source| source.name) {
        // A module that only names its parts has nothing to change, except where it is the part.
        let names_parts =
            ["src/versioning/mod.rs", "src/inputs/mod.rs", "src/ssh_keys/mod.rs", "crates/model/src/lib.rs"]
                .contains(&file.as_str());
        let left_out = NOT_MUTATED.contains(&file.as_str()) || names_parts;
        if !is_test(&file) && fits(&file) == left_out {
            wrong.push(file);
        }
    }
    assert!(wrong.is_empty(), "either in a group of scripts/mutants or named here: {wrong:?}");
}

// invariant structure: Library types stop at the adapters; broken by: `src/inputs/mod.rs` uses reqwest
#[test]
fn library_types_stop_at_the_adapters() {
    let owners = ["src/adapters/", "crates/docker/", "crates/receiver/src/engine/"];
    for source in all().iter().filter(|source| !owners.iter().any(|owner| source.name.starts_with(owner))) {
        for word in ["bollard", "octocrab", "reqwest"] {
            assert_eq!(source.lines_with(word), [0; 0], "{}: {word} outside of the adapters", source.name);
        }
    }
}

// invariant secrets: One place starts other programs; broken by: `src/local/local_logins.rs`: `gh` is started
//   without it
/// Whatever the action starts gets no secret with its environment, which `Environment::command` sees to.
#[test]
fn the_action_starts_other_programs_in_one_place() {
    let owner = "src/inputs/raw.rs";
    let all = sources("src");
    let starts = |source: &Source| {
        let tokens: Vec<&str> = source.tokens.iter().map(|token| token.text.as_str()).collect();
        tokens.windows(3).any(|it| it[0] == "process" && it[1] == "::" && it[2] == "Command")
            || (tokens.contains(&"process") && tokens.windows(3).any(|it| it == ["Command", "::", "new"]))
    };
    let starting: Vec<&str> =
        all.iter().filter(|source| starts(source)).map(|source| source.name.as_str()).collect();
    assert_eq!(starting, [owner]);
}

// invariant structure: Modules know earlier ones only; broken by: `src/versioning/bump.rs` uses
//   `crate::release`
#[test]
fn a_module_knows_earlier_ones_only() {
    for (part, forbidden) in LAYERS {
        for source in sources(part) {
            for (module, line) in source.modules_named() {
                assert!(!forbidden.contains(&module.as_str()), "{}:{line} names {module}", source.name);
            }
        }
    }
}

/// The check itself: a rule that reads nothing holds always.
#[test]
fn the_rules_see_what_they_forbid() {
    let text = "use crate::{image::reference::{Digest}, release::survey};\nuse super::super::report;\n\
                // crate::pipeline\nfn f() -> &'static str { \"crate::app\" } fn g() { tokio::spawn(crate::cli::h) }";
    let source = Source { name: "src/versioning/plan.rs".to_owned(), tokens: tokens(text) };
    let names: Vec<(String, usize)> = source.modules_named();
    let names: Vec<(&str, usize)> = names.iter().map(|(name, line)| (name.as_str(), *line)).collect();
    assert_eq!(names, [("image", 1), ("release", 1), ("report", 2), ("cli", 4)]);
    assert_eq!(source.lines_with("tokio"), [4]);
    assert!(all().len() > 200, "the sources are found");
}

#[test]
fn unsafe_code_is_forbidden() {
    let manifest = std::fs::read_to_string(root().join("Cargo.toml")).expect("Cargo.toml");
    assert!(
        manifest.lines().any(|line| line == "unsafe_code = \"forbid\""),
        "Cargo.toml, [workspace.lints.rust]"
    );
    for (name, manifest) in manifests() {
        assert!(manifest.contains("[lints]\nworkspace = true\n"), "{name}: [lints]");
    }
}

#[test]
fn the_action_has_one_tls_stack() {
    let tree = cargo_tree(&["--package", "autotag-deploy"]);
    for wanted in ["octocrab", "bollard", "reqwest", "rustls", "ring"] {
        assert!(tree.contains(wanted), "{wanted} is missing: is this the tree? {tree:?}");
    }
    for banned in ["aws-lc-rs", "aws-lc-sys", "openssl", "native-tls"] {
        assert!(!tree.contains(banned), "{banned} is in the tree of the action");
    }
    // OpenSSL's library is there for SSH's ciphers alone: nobody but libssh2 asks for it.
    let askers = cargo_tree(&["--package", "autotag-deploy", "--invert", "openssl-sys", "--depth", "1"]);
    assert_eq!(askers, ["libssh2-sys", "openssl-sys"].map(str::to_owned).into());
}

#[test]
fn a_server_gets_nothing_of_the_action() {
    let tree = cargo_tree(&["--package", "autotag-receiver"]);
    for wanted in ["semver", "hyper", "yaml_serde", "bollard", "autotag-proxy"] {
        assert!(tree.contains(wanted), "{wanted} is missing: is this the tree? {tree:?}");
    }
    for banned in
        ["octocrab", "reqwest", "rustls", "tar", "tonic", "ssh2", "openssl-sys", "autotag-build-context"]
    {
        assert!(!tree.contains(banned), "{banned} is in the tree of the receiver");
    }
}

/// What decides has no runtime to wait with, and the crates that both programs share have nothing of either.
#[test]
fn shared_crates_stay_small() {
    for (package, banned) in [
        ("autotag-model", ["tokio", "hyper", "bollard", "clap"]),
        ("autotag-protocol", ["tokio", "hyper", "bollard", "clap"]),
        ("autotag-build-context", ["hyper", "bollard", "octocrab", "autotag-docker"]),
        ("autotag-proxy", ["bollard", "octocrab", "autotag-docker", "autotag-protocol"]),
    ] {
        let tree = cargo_tree(&["--package", package]);
        assert!(tree.contains(package), "{package} is missing: is this the tree? {tree:?}");
        for banned in banned {
            assert!(!tree.contains(banned), "{banned} is in the tree of {package}");
        }
    }
}

/// The names of the crates that are linked.
fn cargo_tree(arguments: &[&str]) -> BTreeSet<String> {
    crates_of(&[&["--edges", "normal"], arguments].concat())
}

/// The names of the crates in a tree of Cargo's.
pub fn crates_of(arguments: &[&str]) -> BTreeSet<String> {
    let output = Command::new(env!("CARGO"))
        .current_dir(root())
        .args(["tree", "--offline", "--locked", "--prefix", "none", "--format", "{p}"])
        .args(arguments)
        .output()
        .expect("cargo runs");
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "cargo tree: {}", String::from_utf8_lossy(&output.stderr));
    text.lines().filter_map(|line| line.split(' ').next()).map(str::to_owned).collect()
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// One file of the sources, cut into words and signs; comments and literals are gone.
struct Source {
    name: String,
    tokens: Vec<Token>,
}

#[derive(Debug, PartialEq)]
struct Token {
    text: String,
    line: usize,
}

impl Source {
    fn lines_with(&self, word: &str) -> Vec<usize> {
        self.tokens.iter().filter(|token| token.text == word).map(|token| token.line).collect()
    }

    fn text(&self, index: usize) -> &str {
        self.tokens.get(index).map_or("", |token| token.text.as_str())
    }

    /// The crate's top-level modules that are named by `crate::` or by enough `super::`, with the line.
    fn modules_named(&self) -> Vec<(String, usize)> {
        let inner = self.name.split_once("src/").map_or("", |(_, inner)| inner);
        let depth = inner.trim_end_matches(".rs").trim_end_matches("/mod").split('/').count();
        let mut found = Vec::new();
        let mut index = 0;
        while index < self.tokens.len() {
            let mut up = 0;
            while self.text(index) == "super" && self.text(index + 1) == "::" {
                up += 1;
                index += 2;
            }
            // In a test module one more `super` is needed, so that this sees rather too much.
            if up >= depth || (self.text(index) == "crate" && self.text(index + 1) == "::") {
                index += if up >= depth { 0 } else { 2 };
                found.extend(self.heads(index));
            }
            index += 1;
        }
        found
    }

    /// The word at this place; of a group in braces the first word of each path.
    fn heads(&self, start: usize) -> Vec<(String, usize)> {
        let mut heads = Vec::new();
        let (mut depth, mut expected) = (0_usize, true);
        for token in self.tokens.iter().skip(start) {
            match token.text.as_str() {
                "{" => depth += 1,
                "}" => depth = depth.saturating_sub(1),
                "," if depth == 1 => expected = true,
                word if expected => {
                    heads.push((word.to_owned(), token.line));
                    expected = false;
                }
                _ => {}
            }
            if depth == 0 {
                break;
            }
        }
        heads
    }
}

/// All manifests of the workspace's members, by their path.
fn manifests() -> Vec<(String, String)> {
    let members = std::fs::read_dir(root().join("crates"))
        .expect("crates")
        .map(|entry| entry.expect("an entry").path());
    let mut found: Vec<(String, String)> = members
        .chain([root().to_owned()])
        .map(|member| member.join("Cargo.toml"))
        .map(|path| (path.display().to_string(), std::fs::read_to_string(&path).expect("a manifest")))
        .collect();
    found.sort();
    found
}

/// The sources of all crates.
fn all() -> Vec<Source> {
    let crates = std::fs::read_dir(root().join("crates")).expect("crates");
    let of_crates =
        crates.map(|entry| format!("crates/{}/src", entry.expect("an entry").file_name().display()));
    of_crates.chain(["src".to_owned()]).flat_map(|part| sources(&part)).collect()
}

/// The files at or below a path.
fn sources(part: &str) -> Vec<Source> {
    let mut files = Vec::new();
    let start = root().join(part);
    if start.is_dir() {
        collect(&start, &mut files);
    } else {
        let beside = start.with_extension("rs");
        files.push(if start.is_file() { start } else { beside });
    }
    let read = |file: &PathBuf| {
        let text =
            std::fs::read_to_string(file).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
        let name = file.strip_prefix(root()).expect("below the root").to_string_lossy().into_owned();
        Source { name, tokens: tokens(&text) }
    };
    files.iter().map(read).collect()
}

fn collect(folder: &Path, files: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("an entry").path()) {
        if entry.is_dir() {
            collect(&entry, files);
        } else if entry.extension().is_some_and(|extension| extension == "rs") {
            files.push(entry);
        }
    }
}

/// Words, `::`, braces and commas of Rust's text. Comments, texts and characters are passed over.
fn tokens(text: &str) -> Vec<Token> {
    let mut found = Vec::new();
    let mut rest = text;
    let mut line = 1;
    while let Some(first) = rest.chars().next() {
        let length = if rest.starts_with("//") {
            rest.find('\n').unwrap_or(rest.len())
        } else if rest.starts_with("/*") {
            rest.find("*/").map_or(rest.len(), |end| end + 2)
        } else if first == '"' {
            text_length(rest)
        } else if first == '\'' {
            character_length(rest)
        } else if let Some(length) = raw_text_length(rest) {
            length
        } else if first.is_alphabetic() || first == '_' {
            rest.find(|next: char| !next.is_alphanumeric() && next != '_').unwrap_or(rest.len())
        } else if rest.starts_with("::") {
            2
        } else {
            first.len_utf8()
        };
        let (token, after) = rest.split_at(length);
        if token == "::" || "{},".contains(token) || is_word(token) {
            found.push(Token { text: token.to_owned(), line });
        }
        line += token.matches('\n').count();
        rest = after;
    }
    found
}

fn is_word(token: &str) -> bool {
    token.chars().all(|character| character.is_alphanumeric() || character == '_')
}

/// `"..."` with its escapes.
fn text_length(rest: &str) -> usize {
    let mut escaped = false;
    for (index, character) in rest.char_indices().skip(1) {
        match character {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            '"' => return index + 1,
            _ => {}
        }
    }
    rest.len()
}

/// `'x'`, `'\n'`; of a lifetime the quote alone.
fn character_length(rest: &str) -> usize {
    let mut characters = rest.char_indices().skip(1);
    match (characters.next(), characters.next()) {
        (Some((_, '\\')), Some((next, _))) => {
            rest[next + 1..].find('\'').map_or(rest.len(), |end| next + end + 2)
        }
        (Some(_), Some((end, '\''))) => end + 1,
        _ => 1,
    }
}

/// `r"..."`, `r#"..."#`, with a `b` before it or without.
fn raw_text_length(rest: &str) -> Option<usize> {
    let start = rest.strip_prefix("br").or_else(|| rest.strip_prefix('r'))?;
    let hashes = start.len() - start.trim_start_matches('#').len();
    let body = start[hashes..].strip_prefix('"')?;
    let end = format!("\"{}", "#".repeat(hashes));
    let length = body.find(&end)? + end.len();
    Some(rest.len() - body.len() + length)
}
