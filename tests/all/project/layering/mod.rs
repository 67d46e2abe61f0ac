//! Who may know whom: the dependency rules of ARCHITECTURE.md, held against the sources and Cargo's tree.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;

use source::{Source, all, sources, tokens};

mod source;

/// Modules of the standard library that reach the world. Of `std::net` and `std::time` the data are free.
const OUTSIDE: [&str; 6] = ["env", "fs", "io", "os", "process", "thread"];

/// Crates and types that do I/O, methods of paths that ask the disk, clocks, macros that print. What names none of
/// them decides, and can be tested without a world.
const DOING: [&str; 32] = [
    "tokio",
    "bollard",
    "octocrab",
    "reqwest",
    "hyper",
    "ssh2",
    "tracing",
    "Workspace",
    "TcpListener",
    "TcpStream",
    "ToSocketAddrs",
    "UdpSocket",
    "UnixDatagram",
    "UnixListener",
    "UnixStream",
    "Instant",
    "SystemTime",
    "Stopwatch",
    "canonicalize",
    "exists",
    "is_dir",
    "is_file",
    "is_symlink",
    "read_dir",
    "read_link",
    "symlink_metadata",
    "try_exists",
    "dbg",
    "eprintln",
    "println",
    "libc",
    "rand",
];

/// Files of pure modules that do something all the same, each with everything that it names.
const ALLOWED: [(&str, &[&str]); 3] = [
    // What was given is read here, once, and other programs get what is left of it.
    ("src/inputs/raw.rs", &["std::env", "std::process"]),
    // The event's file is part of what was given; where the clone is has to be looked for.
    ("src/inputs/run.rs", &["Workspace", "canonicalize", "exists", "std::fs"]),
    // A test, which tells how much it has gone through.
    ("crates/receiver/src/policy/rollout/model/mod.rs", &["println"]),
];

/// Modules that only decide.
const PURE: [&str; 16] = [
    "crates/model/src",
    "crates/protocol/src",
    "crates/docker/src/login.rs",
    "crates/build-context/src/ignore",
    "crates/build-context/src/dockerfile",
    "crates/receiver/src/config/app_file",
    "crates/receiver/src/config/config_hash.rs",
    "crates/receiver/src/config/environment.rs",
    "crates/receiver/src/policy",
    "crates/receiver/src/paths.rs",
    "crates/receiver/src/state/labels.rs",
    "src/deploy/host_sequence",
    "src/inputs",
    "src/ssh_keys",
    "src/release/notes.rs",
    "src/versioning",
];

/// Who alone may know a module of the action, though others stand below it in ARCHITECTURE.md as well. What a crate
/// may know stands in its Cargo.toml.
const KNOWN_TO: [(&str, &[&str]); 4] = [
    // Doing goes through the traits; the program puts them together.
    ("adapters", &["app"]),
    ("local", &["app", "pipeline"]),
    ("ports", &["adapters", "app", "deploy", "pipeline", "release", "report"]),
    ("failure", &["app", "cli", "deploy", "pipeline", "release", "report"]),
];

/// What a text names of the world, in order.
fn doings(source: &Source) -> BTreeSet<String> {
    let modules = source.std_modules().into_iter().map(|(module, _)| module);
    let modules =
        modules.filter(|module| OUTSIDE.contains(&module.as_str())).map(|module| format!("std::{module}"));
    let words =
        DOING.iter().filter(|word| !source.lines_with(word).is_empty()).map(|word| (*word).to_owned());
    modules.chain(words).collect()
}

// invariant structure: What decides does no I/O; broken by: `src/versioning/bump.rs` calls `std::fs::read`
#[test]
fn pure_modules_do_no_io() {
    let mut allowed_files = BTreeSet::new();
    for source in PURE.iter().flat_map(|part| sources(part)) {
        let allowed = ALLOWED.iter().find(|(file, _)| *file == source.name);
        allowed_files.extend(allowed.map(|(file, _)| *file));
        let allowed: BTreeSet<String> =
            allowed.iter().flat_map(|(_, words)| words.iter().map(|word| (*word).to_owned())).collect();
        assert_eq!(doings(&source), allowed, "{}: a pure module", source.name);
    }
    assert_eq!(
        allowed_files.len(),
        ALLOWED.len(),
        "exceptions of pure modules that are there: {allowed_files:?}"
    );
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
            Some(directory) => file.strip_prefix(directory).is_some_and(|rest| !rest.contains('/')),
            None => *pattern == file,
        })
    };
    let is_test =
        |file: &str| file.ends_with("tests.rs") || file.contains("/model.rs") || file.contains("/model/");
    let mut wrong: Vec<String> = Vec::new();
    for file in PURE.iter().flat_map(|part| sources(part)).map(|source| source.name) {
        // A module that only names its parts has nothing to change, except where it is the part.
        let names_parts = [
            "src/versioning/mod.rs",
            "src/inputs/mod.rs",
            "src/ssh_keys/mod.rs",
            "crates/model/src/lib.rs",
            "crates/receiver/src/policy/mod.rs",
        ]
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

/// The modules of the action as ARCHITECTURE.md lists them.
fn documented_order() -> Vec<String> {
    let text = std::fs::read_to_string(root().join("ARCHITECTURE.md")).expect("ARCHITECTURE.md");
    let (_, part) = text.split_once("\n### The action\n").expect("the action's code map");
    let (part, _) = part.split_once("\n### ").expect("its end");
    let rows = part.lines().filter_map(|line| line.strip_prefix("| `src/"));
    let names = rows.flat_map(|row| row.split(" |").next().unwrap_or_default().split(", `src/"));
    names.map(|name| name.trim_end_matches(['`', '/']).trim_end_matches(".rs").to_owned()).collect()
}

// invariant structure: Modules know earlier ones only; broken by: `src/versioning/bump.rs` uses
//   `crate::action::release`; `src/release/notes.rs` uses `crate::adapters`
#[test]
fn a_module_knows_earlier_ones_only() {
    let order = documented_order();
    let place = |module: &str| order.iter().position(|name| name == module);
    let lib = std::fs::read_to_string(root().join("src/lib.rs")).expect("src/lib.rs");
    let modules = lib.lines().filter_map(|line| line.strip_prefix("pub mod ")?.strip_suffix(';'));
    let modules: BTreeSet<&str> = modules.collect();
    assert_eq!(
        order.iter().map(String::as_str).collect::<BTreeSet<_>>(),
        modules,
        "ARCHITECTURE.md's code map"
    );
    for module in &order {
        for source in sources(&format!("src/{module}")) {
            for (named, line) in source.modules_named() {
                let Some(there) = place(&named) else { continue };
                let name = &source.name;
                assert!(
                    Some(there) <= place(module),
                    "{name}:{line} names {named}, which ARCHITECTURE.md has below"
                );
                let known = KNOWN_TO.iter().find(|(known, _)| *known == named && named != *module);
                let may = known.is_none_or(|(_, knowing)| knowing.contains(&module.as_str()));
                assert!(may, "{name}:{line} names {named}");
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
    let text = "use std::{collections::BTreeMap, fs}; fn f(path: &Path) -> bool { std::process::exit(1); path.exists() }\n\
                use std::net::{IpAddr, TcpStream}; // std::thread\nlet text = \"std::env\"; std::time::Instant::now()";
    let source = Source { name: "src/versioning/plan.rs".to_owned(), tokens: tokens(text) };
    let doings = doings(&source);
    let doings: Vec<&str> = doings.iter().map(String::as_str).collect();
    assert_eq!(doings, ["Instant", "TcpStream", "exists", "std::fs", "std::process"]);
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
