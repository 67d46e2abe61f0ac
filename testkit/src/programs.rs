//! Where the programs under test are.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{LazyLock, Mutex, PoisonError};

/// The repository.
pub fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("testkit lies in it")
}

/// The server's program under test.
pub fn receiver() -> &'static str {
    static PROGRAM: LazyLock<String> = LazyLock::new(|| beside("autotag-receiver"));
    &PROGRAM
}

/// Cargo puts programs beside the directory of its tests (`target/debug/deps`), and this program is one of either.
fn beside(name: &str) -> String {
    let this = std::env::current_exe().expect("a program knows where it is");
    let candidates: Vec<PathBuf> =
        this.ancestors().skip(1).take(2).map(|directory| directory.join(name)).collect();
    let program = candidates.iter().find(|path| path.is_file());
    let program = program.unwrap_or_else(|| panic!("{candidates:?}: `cargo test --test all` builds {name}"));
    program.to_string_lossy().into_owned()
}

/// A program of this crate, built now if need be: `cargo test` builds no programs of libraries that tests use.
pub fn built(name: &'static str) -> &'static str {
    static BUILT: Mutex<BTreeMap<&str, &str>> = Mutex::new(BTreeMap::new());
    // One at a time: two builds would wait for each other anyway.
    let mut all = BUILT.lock().unwrap_or_else(PoisonError::into_inner);
    all.entry(name).or_insert_with(|| {
        build(name);
        beside(name).leak()
    })
}

fn build(name: &str) {
    let mut build = Command::new(env!("CARGO"));
    // What cargo tells tests about this package. Some build scripts (ring's) would take it for a change,
    // and everything would be built again, here and then by the next `cargo test`.
    #[expect(clippy::disallowed_methods, reason = "only names are looked at")]
    for (name, _) in std::env::vars_os() {
        let ours = ["CARGO_PKG_", "CARGO_MANIFEST_", "CARGO_BIN_", "CARGO_CRATE_", "CARGO_PRIMARY_"];
        if ours.iter().any(|start| name.to_string_lossy().starts_with(start)) {
            build.env_remove(name);
        }
    }
    let output = build
        .args(["build", "--quiet", "--locked", "--bin", name])
        .current_dir(root())
        .output()
        .expect("cargo");
    let words = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "cargo build --bin {name}: {words}");
}
