//! What the scripts install.

use std::path::Path;

use crate::project::supply::files_below;

// case X9; broken by: a hash taken away, `--require-hashes` taken away.
pub fn pip_installs_only_files_of_known_hashes() {
    let scripts = Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts");
    let read = |name: &str| std::fs::read_to_string(scripts.join(name)).expect("a file");
    for (name, least) in [("parts/requirements.txt", 4), ("parts/requirements-compose.txt", 1)] {
        let entries = read(name).replace("\\\n", " ");
        let entries: Vec<&str> =
            entries.lines().filter(|line| !line.is_empty() && !line.starts_with('#')).collect();
        assert!(entries.len() >= least, "{name}: {entries:?}");
        for entry in entries {
            let (named, hashes) = entry.split_once(" --hash=sha256:").unwrap_or((entry, ""));
            assert!(named.contains("==") && hashes.len() >= 64, "{name}: {entry}");
        }
    }
    let mut installs = 0;
    for script in files_below(&scripts) {
        let Ok(text) = std::fs::read_to_string(&script) else { continue };
        for command in text.replace("\\\n", " ").lines().filter(|line| {
            !line.trim_start().starts_with('#')
                && ["pip\" install", "pip\" download", "pip install"].iter().any(|word| line.contains(word))
        }) {
            assert!(command.contains("--require-hashes"), "{}: {command}", script.display());
            installs += 1;
        }
    }
    assert!(installs >= 2, "{installs}");
}
