//! Where the programs under test are.

use std::path::{Path, PathBuf};
use std::sync::LazyLock;

/// The repository.
pub fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("testkit lies in it")
}

/// The server's program under test.
pub fn receiver() -> &'static str {
    static PROGRAM: LazyLock<String> = LazyLock::new(|| built("autotag-receiver"));
    &PROGRAM
}

/// The action's program under test.
pub fn action() -> &'static str {
    static PROGRAM: LazyLock<String> = LazyLock::new(|| built("autotag-deploy"));
    &PROGRAM
}

/// Cargo puts programs beside the folder of its tests (`target/debug/deps`), and this program is one of either.
fn built(name: &str) -> String {
    let this = std::env::current_exe().expect("a program knows where it is");
    let candidates: Vec<PathBuf> = this.ancestors().skip(1).take(2).map(|folder| folder.join(name)).collect();
    let program = candidates.iter().find(|path| path.is_file());
    let program = program.unwrap_or_else(|| panic!("{candidates:?}: `cargo test --test all` builds {name}"));
    program.to_string_lossy().into_owned()
}
