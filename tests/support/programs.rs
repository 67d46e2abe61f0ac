//! Where the programs under test are.

use std::path::Path;
use std::sync::LazyLock;

/// The server's program under test. Cargo tells tests where the programs of their own package are, and puts those of
/// the workspace's other packages beside them; the programs that share this module have no use for it.
pub fn receiver() -> &'static str {
    static PROGRAM: LazyLock<String> = LazyLock::new(|| {
        let Some(action) = option_env!("CARGO_BIN_EXE_autotag-deploy") else {
            return "autotag-receiver".to_owned();
        };
        let program = Path::new(action).with_file_name("autotag-receiver");
        assert!(program.exists(), "{} is missing: `cargo test --test all` builds it", program.display());
        program.to_string_lossy().into_owned()
    });
    &PROGRAM
}
