//! The state's file: replaced as a whole or not at all, and never taken for empty because it is broken.

use std::fs::{File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::State;
use crate::lock::Lock;
use autotag_protocol::AppName;

/// The format's number. A receiver that meets a higher one refuses: it cannot know what it would lose.
pub const FORMAT: u32 = 1;

/// The largest file that is read, in bytes. A thousand deployments need less than one MiB.
const LARGEST: u64 = 16 * 1024 * 1024;

/// Why the state could not be read. Nothing is deployed on top of such a file.
#[derive(Debug, thiserror::Error)]
pub enum Unreadable {
    /// The file system's words.
    #[error("{0} cannot be read: {1}")]
    Io(PathBuf, io::Error),
    /// It was written by a newer receiver.
    #[error(
        "{0} has format {1}, this autotag-receiver knows {FORMAT}: install the receiver that wrote it, or a newer one"
    )]
    Newer(PathBuf, u64),
    /// It has the number of this format, and something in it that a later receiver added.
    #[error(
        "{0} was written by a newer autotag-receiver ({1}), so nothing is deployed or rolled back; what runs keeps running. Install the receiver that wrote it, or a newer one: this one would lose what it does not know"
    )]
    Extended(PathBuf, String),
    /// It is no state.
    #[error(
        "{0} is damaged ({1}), so nothing is deployed or rolled back; what runs keeps running. Restore it from a backup, or move it away: the next request says how to start again"
    )]
    Damaged(PathBuf, String),
    /// It is another application's.
    #[error("{0} belongs to the application `{1}`: it was copied or moved here by mistake")]
    OtherApp(PathBuf, AppName),
}

#[derive(Serialize)]
struct StoredState<'a> {
    format: u32,
    #[serde(flatten)]
    state: &'a State,
}

/// Read first, and leniently: a newer format may have any shape.
#[derive(Deserialize)]
struct AnyFormat {
    format: u64,
}

/// The directory of one application's state.
#[derive(Debug, Clone)]
pub struct Store {
    directory: PathBuf,
    app: AppName,
}

impl Store {
    /// The state of an application in this directory, which exists and is root's.
    pub fn new(directory: &Path, app: AppName) -> Self {
        Self { directory: directory.to_owned(), app }
    }

    /// The file.
    pub fn path(&self) -> PathBuf {
        self.directory.join("state.json")
    }

    /// Reads it. Only a file that does not exist means an application that was never deployed.
    pub fn load(&self) -> Result<State, Unreadable> {
        let path = self.path();
        let mut bytes = Vec::new();
        match File::open(&path).and_then(|file| file.take(LARGEST + 1).read_to_end(&mut bytes)) {
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(State::new(self.app.clone())),
            Err(error) => return Err(Unreadable::Io(path, error)),
        }
        if bytes.len() as u64 > LARGEST {
            return Err(Unreadable::Damaged(path, format!("more than {LARGEST} bytes")));
        }
        let state = read(&path, &bytes)?;
        if state.app != self.app {
            return Err(Unreadable::OtherApp(path, state.app));
        }
        Ok(state)
    }

    /// Makes a state durable: temporary file, fsync, rename, fsync of the directory. Mode 0600.
    ///
    /// After an error the file is the old one or, where only the last step failed, the new one; never a
    /// part. The lock is demanded as proof that nobody else writes.
    pub fn save(&self, _lock: &Lock, state: &State) -> io::Result<()> {
        let text = written(state)?;
        let temporary = self.directory.join("state.json.new");
        // One that a crash left may have any mode, or be a link that somebody put there.
        match std::fs::remove_file(&temporary) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&temporary)?;
        file.write_all(&text)?;
        file.sync_all()?;
        drop(file);
        std::fs::rename(&temporary, self.path())?;
        File::open(&self.directory)?.sync_all()
    }
}

/// A state as its file has it.
pub fn written(state: &State) -> io::Result<Vec<u8>> {
    let mut text = serde_json::to_vec_pretty(&StoredState { format: FORMAT, state })?;
    text.push(b'\n');
    Ok(text)
}

/// Reads what a file holds; the path is for the error.
pub fn read(path: &Path, bytes: &[u8]) -> Result<State, Unreadable> {
    let damaged = |why: String| Unreadable::Damaged(path.to_owned(), why);
    let mut value: serde_json::Value =
        serde_json::from_slice(bytes).map_err(|error| damaged(error.to_string()))?;
    let any = AnyFormat::deserialize(&value).map_err(|error| damaged(error.to_string()))?;
    if any.format > u64::from(FORMAT) {
        return Err(Unreadable::Newer(path.to_owned(), any.format));
    }
    if any.format != u64::from(FORMAT) {
        return Err(damaged(format!("format {}", any.format)));
    }
    if let Some(fields) = value.as_object_mut() {
        fields.remove("format");
    }
    serde_json::from_value(value).map_err(|error| {
        let why = error.to_string();
        // serde has no type for it. What is only misspelt is not read either.
        let unknown = ["unknown field ", "unknown variant "].iter().any(|words| why.starts_with(words));
        if unknown { Unreadable::Extended(path.to_owned(), why) } else { damaged(why) }
    })
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;
    use crate::policy::rollout::{Rollout, RolloutAction, StepResult};
    use crate::testing;

    struct Here {
        directory: tempfile::TempDir,
        store: Store,
        lock: Lock,
    }

    fn here() -> Here {
        let directory = tempfile::tempdir().expect("a directory");
        let store = Store::new(directory.path(), "app".parse().unwrap());
        let lock = testing::lock(directory.path());
        Here { directory, store, lock }
    }

    /// Every state that a rollout over an old one, and one that is turned back, writes.
    fn states() -> Vec<State> {
        let mut states = Vec::new();
        for fails in [false, true] {
            let begun = Rollout::begin(testing::steady("1.0.0"), testing::release("1.1.0"));
            let mut rollout = begun.expect("steady");
            loop {
                let event = match rollout.step() {
                    RolloutAction::End(_) => break,
                    RolloutAction::Save(state) => {
                        states.push(*state);
                        StepResult::Done
                    }
                    RolloutAction::Create(_) => StepResult::Created("b".repeat(64).parse().unwrap()),
                    RolloutAction::Verify(_) if fails => StepResult::Failed(crate::state::StepError::new(
                        autotag_protocol::FailureCode::SmokeTest,
                        "404",
                    )),
                    _ => StepResult::Done,
                };
                rollout = rollout.next(event);
            }
        }
        assert_eq!(states.len(), 8, "pending, unverified, leaving, steady; twice");
        states
    }

    #[test]
    fn every_state_goes_round_and_is_roots_alone() {
        let Here { directory, store, lock } = here();
        assert_eq!(store.load().expect("no file"), State::new("app".parse().unwrap()));
        // Left by a crash, readable by all.
        std::fs::write(directory.path().join("state.json.new"), "half").unwrap();
        for state in states() {
            store.save(&lock, &state).expect("written");
            assert_eq!(store.load().expect("read"), state);
        }
        let mode = std::fs::metadata(store.path()).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        assert!(!directory.path().join("state.json.new").exists());
    }

    #[test]
    fn a_broken_state_file_is_never_an_empty_state() {
        let Here { directory: _directory, store, lock } = here();
        let state = states().swap_remove(1);
        store.save(&lock, &state).unwrap();
        let good = std::fs::read_to_string(store.path()).unwrap();
        let damaged = [
            String::new(),
            "{}".to_owned(),
            "null".to_owned(),
            "\0".repeat(good.len()),
            good.replace("sha256:", "sha256;"),
            good.replace("\"highest\": \"1.1.0\",", ""),
            good.replace("\"format\": 1", "\"format\": 0"),
        ];
        let newer = [
            good.replace("\"format\": 1", "\"format\": 2"),
            r#"{"format": 7, "entirely": "new"}"#.to_owned(),
        ];
        let load = |text: &String| {
            assert_ne!(*text, good);
            std::fs::write(store.path(), text).unwrap();
            store.load().expect_err(text)
        };
        for text in &damaged {
            let error = load(text);
            assert!(matches!(error, Unreadable::Damaged(..)), "{text}: {error}");
        }
        for text in &newer {
            let error = load(text);
            assert!(matches!(error, Unreadable::Newer(..)), "{text}: {error}");
        }
        let error = load(&good.replace("\"change\"", "\"changed\""));
        assert!(matches!(&error, Unreadable::Extended(_, what) if what.contains("`changed`")), "{error}");
        let error = load(&good.replace("\"app\": \"app\"", "\"app\": \"shop\""));
        assert!(matches!(&error, Unreadable::OtherApp(_, app) if app.as_str() == "shop"), "{error}");
        // Cut at any byte.
        for length in 0..good.trim_end().len() {
            std::fs::write(store.path(), &good[..length]).unwrap();
            assert!(matches!(store.load(), Err(Unreadable::Damaged(..))), "{length} bytes");
        }
    }

    /// Wherever a later receiver may have put something: what is not known here would be lost with the next write.
    #[test]
    fn fields_of_a_newer_receiver_are_refused_and_left() {
        let Here { directory: _directory, store, lock } = here();
        let state = states().swap_remove(2);
        store.save(&lock, &state).unwrap();
        let good = std::fs::read_to_string(store.path()).unwrap();
        for (from, to, name) in [
            ("\"app\": \"app\"", "\"app\": \"app\", \"zone\": {\"b\": 1}", "`zone`"),
            ("\"container\":", "\"cgroup\": 5, \"container\":", "`cgroup`"),
            ("\"deployment\":", "\"team\": \"x\", \"deployment\":", "`team`"),
            ("\"phase\": \"leaving\"", "\"phase\": \"leaving\", \"slowly\": true", "`slowly`"),
            ("\"phase\": \"leaving\"", "\"phase\": \"warming\"", "`warming`"),
            ("\"purpose\": \"deploy\"", "\"purpose\": \"canary\"", "`canary`"),
            ("\"order\": \"start-first\"", "\"order\": \"one-by-one\"", "`one-by-one`"),
        ] {
            let newer = good.replacen(from, to, 1);
            assert_ne!(newer, good, "{from}");
            std::fs::write(store.path(), &newer).unwrap();
            match store.load() {
                Err(error @ Unreadable::Extended(..)) => {
                    assert!(error.to_string().contains(name), "{name}: {error}");
                }
                other => panic!("{name}: {other:?}"),
            }
            assert_eq!(std::fs::read_to_string(store.path()).unwrap(), newer, "it is left as it is");
        }
        // A code that this receiver does not know, in the record of an earlier failure.
        let failed = states().swap_remove(7);
        store.save(&lock, &failed).unwrap();
        let text = std::fs::read_to_string(store.path()).unwrap();
        let newer = text.replacen("\"code\": \"smoke-test\"", "\"code\": \"too-cold\"", 1);
        assert_ne!(newer, text);
        std::fs::write(store.path(), newer).unwrap();
        assert!(matches!(store.load(), Err(Unreadable::Extended(_, why)) if why.contains("`too-cold`")));
    }

    #[test]
    fn a_failed_write_leaves_the_old_state() {
        let Here { directory, store, lock } = here();
        let state = states().swap_remove(0);
        store.save(&lock, &state).unwrap();
        // A directory in the temporary file's place: neither removed nor written, for root either.
        std::fs::create_dir(directory.path().join("state.json.new")).unwrap();
        let other = testing::steady("9.9.9");
        store.save(&lock, &other).expect_err("it cannot be written");
        assert_eq!(store.load().expect("the old one"), state);
    }
}
