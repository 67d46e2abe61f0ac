//! A state file that is gone although there was one: told, and never taken for "nothing was deployed yet".
//!
//! With it the highest version is lost, so that a delayed run could bring an older one back. It cannot be
//! guessed from what is left: after a rollback the highest is not what serves.

use super::journal::{self, What};
use crate::engine::ContainerFacts;
use crate::paths::Paths;
use crate::state::labels::VERSION;
use crate::state::{State, Store};
use autotag_protocol::{AppName, RolloutStep};

/// `Err` says what to do, where this state is that of a missing file, and containers or the journal tell
/// that there was one. A container is only ever made when a state is durable.
pub fn check(
    paths: &Paths,
    app: &AppName,
    state: &State,
    containers: &[ContainerFacts],
) -> Result<(), String> {
    if !state.is_new() {
        return Ok(());
    }
    let journal = paths.journal(app);
    let journalled = was_saved(paths, app);
    if containers.is_empty() && !journalled {
        return Ok(());
    }
    let shown: Vec<String> = containers
        .iter()
        .map(|one| format!("the container {} of {}", one.name, one.labels.get(VERSION).map_or("?", |it| it)))
        .chain(journalled.then(|| format!("the journal {}", journal.display())))
        .collect();
    let names: Vec<&str> = containers.iter().map(|one| one.name.as_str()).collect();
    let removal = if names.is_empty() {
        String::new()
    } else {
        format!("`docker rm --force {}` and ", names.join(" "))
    };
    Err(format!(
        "{} is missing, but {} shows that there was one: which versions served is no longer known, so \
         nothing is deployed or rolled back. Restore the file from a backup. Or start over: {removal}move \
         {}* away; whatever is deployed next is then the highest version",
        Store::new(&paths.state(app), app.clone()).path().display(),
        shown.join(" and "),
        journal.display(),
    ))
}

/// Whether a state was ever durable, as far as the journal goes back.
fn was_saved(paths: &Paths, app: &AppName) -> bool {
    let tells = |entry: &journal::Entry| {
        matches!(entry.what, What::Ended { step: RolloutStep::Save, failed: None, .. })
    };
    journal::files(&paths.journal(app))
        .iter()
        .any(|file| journal::read(file).is_ok_and(|reading| reading.entries.iter().any(tells)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing;

    fn host() -> (tempfile::TempDir, Paths, AppName) {
        let directory = tempfile::tempdir().unwrap();
        let (paths, app) = (Paths::below(directory.path()), "app".parse().unwrap());
        std::fs::create_dir_all(paths.state(&app)).unwrap();
        (directory, paths, app)
    }

    fn journalled(paths: &Paths, app: &AppName, name: &str, step: &str, failed: bool) {
        let failed = if failed { r#","failed":"no space""# } else { "" };
        let line = format!(
            r#"{{"at":"2026-01-02T03:04:05Z","what":"ended","step":"{step}","milliseconds":1{failed}}}"#
        );
        std::fs::write(paths.state(app).join(name), line + "\n").unwrap();
    }

    #[test]
    fn where_nothing_tells_of_one_there_was_none() {
        let (_directory, paths, app) = host();
        let none = State::new(app.clone());
        assert_eq!(check(&paths, &app, &none, &[]), Ok(()));
        // The first deployment was asked for, and refused, or failed to be written.
        journalled(&paths, &app, "journal.jsonl", "pull", false);
        assert_eq!(check(&paths, &app, &none, &[]), Ok(()));
        journalled(&paths, &app, "journal.jsonl", "save", true);
        assert_eq!(check(&paths, &app, &none, &[]), Ok(()));
        // One that was read is not missing, whatever is there.
        assert_eq!(check(&paths, &app, &testing::steady("1.0.0"), &[testing::facts()]), Ok(()));
    }

    #[test]
    fn a_container_or_a_journal_tells() {
        let (_directory, paths, app) = host();
        let none = State::new(app.clone());
        let why = check(&paths, &app, &none, &[testing::facts()]).unwrap_err();
        assert!(
            why.contains("state.json is missing") && why.contains("docker rm --force autotag-app"),
            "{why}"
        );
        for name in ["journal.jsonl", "journal.jsonl.1"] {
            let (_directory, paths, app) = host();
            journalled(&paths, &app, name, "save", false);
            let why = check(&paths, &app, &none, &[]).unwrap_err();
            assert!(why.contains("journal.jsonl* away") && !why.contains("docker rm"), "{why}");
        }
    }
}
