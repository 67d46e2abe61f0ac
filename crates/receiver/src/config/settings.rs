//! What a deployment's container is made from besides its image, and its snapshot on the disk.
//!
//! The snapshot lets a recovery go on with what the rollout began with, whatever became of the app file
//! since, and lets a rollback take the configuration of then. It holds secrets: root's, mode 0600.

use std::collections::BTreeMap;
use std::fs::OpenOptions;
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::config_hash::ConfigHash;
use super::environment::environment;
use crate::config::app_file::values::env_file;
use crate::config::app_file::{AppFile, FILE_BYTES, OwnVariables, VariableName};
use crate::config::masks::Masks;
use crate::lock::Lock;
use crate::paths::Paths;
use autotag_model::secret::Secret;
use autotag_protocol::{AppName, DeploymentId, EnvironmentKey, RefusalCode, Refused};

/// Variables that CI gave.
pub type Variables = BTreeMap<EnvironmentKey, Secret>;

/// The longest environment file that is read, in bytes.
const ENV_FILE_BYTES: u64 = 1024 * 1024;

/// The app file, understood, with what its environment files say and what CI gave.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// The app file.
    pub file: AppFile,
    /// Its text, by which it is kept: the text's grammar outlives this program's types.
    text: String,
    /// What its environment files say, in its order.
    files: Vec<OwnVariables>,
    /// What CI gave with the deployment.
    pub given: Variables,
    /// What the container gets, all of it.
    pub environment: OwnVariables,
}

impl Settings {
    /// As the files on the disk say now, with these variables of CI's.
    pub fn today(paths: &Paths, app: &AppName, given: Variables) -> Result<Self, Refused> {
        let path = paths.app_file(app);
        let bytes = read(&path, FILE_BYTES as u64 + 1).map_err(|error| {
            let why = format!("{} cannot be read: {error}", path.display());
            Refused::new(RefusalCode::AppFile, format!("{why}. `autotag-receiver init {app}` makes one"))
        })?;
        let text = env_file::text_of(bytes)
            .map_err(|fault| Refused::new(RefusalCode::AppFile, format!("{}: {fault}", path.display())))?;
        let file = AppFile::parse(&text).map_err(|faults| {
            let shown = path.display();
            Refused::new(
                RefusalCode::AppFile,
                format!(
                    "{shown} has errors, so nothing was \
                                                        started:\n{faults}"
                ),
            )
        })?;
        let mut files: Vec<OwnVariables> = Vec::new();
        for path in &file.env_files {
            let before = files.iter().flatten().map(|(name, value)| (name.clone(), value.clone())).collect();
            files.push(variables(paths, path, &file.environment, &before)?);
        }
        Self::of(file, text, files, given)
    }

    /// The same with variables that CI gave earlier: those that the app file does not allow any more are left out,
    /// and named.
    pub fn today_with(
        paths: &Paths,
        app: &AppName,
        mut given: Variables,
    ) -> Result<(Self, Vec<EnvironmentKey>), Refused> {
        let today = Self::today(paths, app, Variables::new())?;
        let allowed = |key: &EnvironmentKey| today.file.allow_environment.contains(key);
        let left_out = given.keys().filter(|key| !allowed(key)).cloned().collect();
        given.retain(|key, _| allowed(key));
        let Self { file, text, files, .. } = today;
        Ok((Self::of(file, text, files, given)?, left_out))
    }

    fn of(file: AppFile, text: String, files: Vec<OwnVariables>, given: Variables) -> Result<Self, Refused> {
        let environment = environment(&file, &files, &given)?;
        Ok(Self { file, text, files, given, environment })
    }

    /// What of it CI does not get to see: the owner's variables.
    pub fn masks(&self) -> Masks {
        Masks::of(self.files.iter().chain([&self.file.environment]).flat_map(BTreeMap::values))
    }

    /// Their hash: equal ones make equal containers of one image.
    pub fn hash(&self) -> ConfigHash {
        ConfigHash::of(&self.file, &self.environment)
    }
}

fn read(path: &Path, most: u64) -> io::Result<Vec<u8>> {
    use std::io::Read as _;
    let mut bytes = Vec::new();
    std::fs::File::open(path)?.take(most).read_to_end(&mut bytes)?;
    Ok(bytes)
}

fn variables(
    paths: &Paths,
    path: &Path,
    own: &OwnVariables,
    before: &OwnVariables,
) -> Result<OwnVariables, Refused> {
    let refused =
        |why: String| Refused::new(RefusalCode::AppFile, format!("`env_file` {}: {why}", path.display()));
    // Below the layout's root, as everything else; `join` would put an absolute path in its place.
    let real = paths.root().join(path.strip_prefix("/").unwrap_or(path));
    env_file(&real, own, before).map_err(|faults| refused(faults.join("\n")))
}

/// Reads an environment file from the disk; what is wrong with it, a line each.
pub fn env_file(path: &Path, own: &OwnVariables, before: &OwnVariables) -> Result<OwnVariables, Vec<String>> {
    let bytes =
        read(path, ENV_FILE_BYTES + 1).map_err(|error| vec![format!("it cannot be read: {error}")])?;
    if bytes.len() as u64 > ENV_FILE_BYTES {
        return Err(vec![format!("at most {ENV_FILE_BYTES} bytes are read")]);
    }
    let text = env_file::text_of(bytes).map_err(|fault| vec![fault.to_string()])?;
    env_file::parse_after(&text, own, before)
        .map_err(|faults| faults.iter().map(ToString::to_string).collect())
}

/// The snapshots of an application's deployments.
#[derive(Debug, Clone)]
pub struct Snapshots {
    directory: PathBuf,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
struct StoredSettings {
    app_file: String,
    env_files: Vec<BTreeMap<VariableName, String>>,
    given: BTreeMap<EnvironmentKey, String>,
}

fn plain<K: Clone + Ord>(variables: &BTreeMap<K, Secret>) -> BTreeMap<K, String> {
    variables.iter().map(|(key, value)| (key.clone(), value.reveal().to_owned())).collect()
}

fn secret<K: Ord>(variables: BTreeMap<K, String>) -> BTreeMap<K, Secret> {
    variables.into_iter().map(|(key, value)| (key, Secret::verbatim(value))).collect()
}

impl Snapshots {
    /// Those in the directory of an application's state.
    pub fn new(state: &Path) -> Self {
        Self { directory: state.join("settings") }
    }

    fn path(&self, deployment: &DeploymentId) -> PathBuf {
        self.directory.join(format!("{deployment}.json"))
    }

    /// Notes what a deployment's container was made as (`ContainerFacts::configuration`).
    pub fn note_made(&self, _lock: &Lock, deployment: &DeploymentId, made_as: &str) -> io::Result<()> {
        let path = self.directory.join(format!("{deployment}.made"));
        if path.exists() {
            return Ok(());
        }
        std::fs::write(path, made_as)
    }

    /// What it was made as, as far as that was noted.
    pub fn made_as(&self, deployment: &DeploymentId) -> Option<String> {
        std::fs::read_to_string(self.directory.join(format!("{deployment}.made"))).ok()
    }

    /// Makes one durable. The lock is demanded as proof that nobody else writes.
    pub fn save(&self, _lock: &Lock, deployment: &DeploymentId, settings: &Settings) -> io::Result<()> {
        let written = StoredSettings {
            app_file: settings.text.clone(),
            env_files: settings.files.iter().map(plain).collect(),
            given: plain(&settings.given),
        };
        match std::fs::create_dir(&self.directory) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
            _ => {}
        }
        let path = self.path(deployment);
        let temporary = self.directory.join("new");
        match std::fs::remove_file(&temporary) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&temporary)?;
        file.write_all(&serde_json::to_vec(&written)?)?;
        file.sync_all()?;
        std::fs::rename(&temporary, path)?;
        std::fs::File::open(&self.directory)?.sync_all()
    }

    /// Reads one; `None` where there is none (any more).
    pub fn load(&self, deployment: &DeploymentId) -> Result<Option<Settings>, String> {
        let path = self.path(deployment);
        let damaged = |why: String| format!("{}: {why}", path.display());
        let text = match std::fs::read(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(damaged(error.to_string())),
        };
        // The words of serde could quote a value. Without what it does not know the container would be another.
        let unread = |error: serde_json::Error| {
            let newer = error.to_string().starts_with("unknown field ");
            damaged(if newer {
                "written by a newer autotag-receiver: install that, or a newer one".to_owned()
            } else {
                format!("damaged in line {}", error.line())
            })
        };
        let written: StoredSettings = serde_json::from_slice(&text).map_err(unread)?;
        let file =
            AppFile::parse_recorded(&written.app_file).map_err(|faults| damaged(faults.to_string()))?;
        let files = written.env_files.into_iter().map(secret).collect();
        Settings::of(file, written.app_file, files, secret(written.given))
            .map(Some)
            .map_err(|refused| damaged(refused.message))
    }

    /// What no answer to CI shows, of all that are kept. One that cannot be read has no container to come.
    pub fn masks(&self) -> Masks {
        let names = std::fs::read_dir(&self.directory).into_iter().flatten().flatten();
        let ids = names.filter_map(|entry| entry.file_name().to_str()?.strip_suffix(".json")?.parse().ok());
        ids.filter_map(|id| self.load(&id).ok().flatten())
            .fold(Masks::default(), |masks, settings| masks.and(&settings.masks()))
    }

    /// Removes one.
    pub fn remove(&self, _lock: &Lock, deployment: &DeploymentId) -> io::Result<()> {
        for path in [self.path(deployment), self.directory.join(format!("{deployment}.made"))] {
            match std::fs::remove_file(path) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
        }
        Ok(())
    }

    /// Removes all but these. What cannot be removed stays for the next time.
    pub fn keep(&self, _lock: &Lock, wanted: &dyn Fn(&str) -> bool) -> io::Result<()> {
        let entries = match std::fs::read_dir(&self.directory) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            Err(error) => return Err(error),
        };
        for entry in entries {
            let name = entry?.file_name();
            let stem =
                name.to_str().and_then(|name| name.strip_suffix(".json").or(name.strip_suffix(".made")));
            if stem.is_some_and(|stem| !wanted(stem)) {
                std::fs::remove_file(self.directory.join(name))?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing;

    fn host(app_file: &str, files: &[(&str, &str)]) -> (tempfile::TempDir, Paths, AppName) {
        let directory = tempfile::tempdir().unwrap();
        let paths = Paths::below(directory.path());
        let app: AppName = "app".parse().unwrap();
        std::fs::create_dir_all(paths.app_files()).unwrap();
        std::fs::create_dir_all(paths.state(&app)).unwrap();
        std::fs::write(paths.app_file(&app), app_file).unwrap();
        for (path, text) in files {
            std::fs::write(directory.path().join(path), text).unwrap();
        }
        (directory, paths, app)
    }

    const FILE: &str = "image: ghcr.io/org/app\nport: 80\nlisten: 8080\nenvironment: {A: owner}\nenv_file: \
                        /etc/autotag/app.env\nallow_environment: [A, B, C]\n";

    fn given(pairs: &[(&str, &str)]) -> Variables {
        pairs
            .iter()
            .map(|(key, value)| (key.parse().unwrap(), Secret::verbatim((*value).to_owned())))
            .collect()
    }

    #[test]
    fn a_snapshot_gives_back_what_was_saved() {
        let (_directory, paths, app) = host(FILE, &[("etc/autotag/app.env", "B=file\nSECRET=hunter2\n")]);
        let settings =
            Settings::today(&paths, &app, given(&[("A", "ci"), ("B", "ci"), ("C", "ci")])).unwrap();
        let value = |key: &str| settings.environment[&key.parse().unwrap()].reveal().to_owned();
        assert_eq!([value("A"), value("B"), value("C")], ["owner", "file", "ci"], "the owner wins");
        let lock = testing::lock(&paths.state(&app));
        let snapshots = Snapshots::new(&paths.state(&app));
        let [one, two] = ["deployment-1", "deployment-2"].map(|id| id.parse().unwrap());
        assert_eq!(snapshots.load(&one), Ok(None));
        snapshots.save(&lock, &one, &settings).unwrap();
        snapshots.save(&lock, &two, &settings).unwrap();
        assert_eq!(snapshots.load(&one), Ok(Some(settings.clone())));
        let path = snapshots.path(&one);
        let text = std::fs::read_to_string(&path).unwrap();
        std::fs::write(&path, text.replacen('{', "{\"hunter2\":{\"x\":1},", 1)).unwrap();
        let newer = snapshots.load(&one).expect_err("what a newer receiver added would be lost");
        assert!(newer.contains("newer autotag-receiver") && !newer.contains("hunter2"), "{newer}");
        snapshots.keep(&lock, &|id| id == "deployment-2").unwrap();
        assert_eq!((snapshots.load(&one), snapshots.load(&two)), (Ok(None), Ok(Some(settings))));
    }

    #[test]
    fn faults_of_files_are_refusals_without_their_values() {
        let cases = [
            ("image: x\nfoo: hunter2\n", "B=1", "foo"),
            (FILE, "B=1\nhunter2", "app.env"),
            (&FILE.replace("app.env", "none.env"), "B=1", "none.env"),
        ];
        for (file, env, named) in cases {
            let (_directory, paths, app) = host(file, &[("etc/autotag/app.env", env)]);
            let refused = Settings::today(&paths, &app, Variables::new()).unwrap_err();
            assert_eq!(refused.code, RefusalCode::AppFile, "{file}");
            assert!(refused.message.contains(named), "{}", refused.message);
            let secret = env.contains("hunter2") && refused.message.contains("hunter2");
            assert!(!secret, "{}", refused.message);
        }
    }

    #[test]
    fn variables_that_are_no_longer_allowed_are_left_out() {
        let (_directory, paths, app) = host(FILE, &[("etc/autotag/app.env", "B=file\n")]);
        let earlier = given(&[("C", "ci"), ("D", "ci"), ("E", "ci")]);
        let (settings, left_out) = Settings::today_with(&paths, &app, earlier).unwrap();
        assert_eq!(left_out, ["D", "E"].map(|key| key.parse().unwrap()));
        assert_eq!(settings, Settings::today(&paths, &app, given(&[("C", "ci")])).unwrap());
    }

    #[test]
    fn what_the_app_file_does_not_allow_is_refused() {
        let (_directory, paths, app) = host(FILE, &[("etc/autotag/app.env", "")]);
        let refused = Settings::today(&paths, &app, given(&[("D", "x")])).unwrap_err();
        assert_eq!(refused.code, RefusalCode::Environment);
    }
}
