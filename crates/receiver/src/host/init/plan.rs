//! From what is there to what should be: a list of steps, empty where all is done. Pure.

use std::collections::BTreeSet;
use std::fmt;
use std::path::{Path, PathBuf};

use super::app_file::NewAppFile;
use super::{sshd, units};
use crate::config::app_file::Listen;
use crate::host::init::host_facts::{Found, HostFacts};
use crate::paths::{GROUP, PROXY_USER, Paths, user_of};
use autotag_protocol::AppName;

/// What should be.
#[derive(Debug, Clone)]
pub struct Setup {
    /// The paths.
    pub paths: Paths,
    /// The application.
    pub app: AppName,
    /// Its app file; none where there is one already.
    pub app_file: Option<NewAppFile>,
    /// Its key file.
    pub keys: KeyFile,
    /// Where the proxy listens, for all applications.
    pub listens: BTreeSet<Listen>,
}

/// What becomes of the key file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum KeyFile {
    /// It stays.
    Leave,
    /// It says this.
    Write(String),
    /// A pair is made; the private key is printed once.
    Generate,
}

/// One change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SetupStep {
    /// A system group.
    AddGroup(String),
    /// A system user that nobody can log in as by a password.
    AddUser {
        /// Its name.
        name: String,
        /// Its group; one of its own name if none.
        group: Option<String>,
        /// Its home.
        home: PathBuf,
        /// Its shell. sshd runs forced commands by it.
        shell: &'static str,
    },
    /// A directory of this owner with this mode.
    Directory {
        /// Where.
        path: PathBuf,
        /// Whose; root's if none.
        owner: Option<&'static str>,
        /// Its mode.
        mode: u32,
    },
    /// This program is copied to its place.
    Install(PathBuf),
    /// A file of root's is written.
    Write {
        /// Where.
        path: PathBuf,
        /// What.
        text: String,
        /// What may be shown of it.
        shown: String,
        /// Its mode.
        mode: u32,
        /// Whether it replaces another.
        replaces: bool,
    },
    /// A file is removed, if it is there.
    Remove(PathBuf),
    /// A command is run.
    Run(Vec<String>),
    /// A command that must succeed for a file to stay as it was written.
    Prove {
        /// The command.
        words: Vec<String>,
        /// The file.
        path: PathBuf,
        /// What it becomes again where the command fails: its text and mode, or nothing.
        before: Option<(String, u32)>,
    },
    /// A pair is made, and its public half written here behind `start`.
    Generate {
        /// The key file.
        path: PathBuf,
        /// How its line begins.
        start: String,
    },
}

/// A command of these words.
pub fn run(words: &[&str]) -> SetupStep {
    SetupStep::Run(words.iter().map(|word| (*word).to_owned()).collect())
}

impl fmt::Display for SetupStep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::AddGroup(name) => write!(f, "add the group {name}"),
            Self::AddUser { name, .. } => write!(f, "add the user {name}"),
            Self::Directory { path, owner, mode } => {
                write!(f, "create the directory {} ({}, {mode:04o})", path.display(), owner.unwrap_or("root"))
            }
            Self::Install(path) => write!(f, "install this program as {}", path.display()),
            Self::Write { path, mode, replaces: false, .. } => {
                write!(f, "write {} ({mode:04o})", path.display())
            }
            Self::Write { path, .. } => write!(f, "change {}", path.display()),
            Self::Remove(path) => write!(f, "remove {}", path.display()),
            Self::Run(words) => write!(f, "run: {}", words.join(" ")),
            Self::Prove { words, path, .. } => {
                write!(f, "run: {}; if it fails, {} becomes what it was", words.join(" "), path.display())
            }
            Self::Generate { path, .. } => {
                write!(f, "make a key pair, and write its public half to {}", path.display())
            }
        }
    }
}

/// The steps, in the order in which they are done.
pub fn plan(setup: &Setup, facts: &HostFacts) -> Vec<SetupStep> {
    let mut steps = users(setup, facts);
    steps.extend(directories(setup, facts));
    if !facts.program_is_in_place {
        steps.push(SetupStep::Install(setup.paths.program()));
    }
    if let Some(file) = &setup.app_file {
        steps.push(SetupStep::Write {
            path: setup.paths.app_file(&setup.app),
            text: file.text.clone(),
            shown: file.shown.clone(),
            mode: 0o600,
            replaces: false,
        });
    }
    if facts.systemd {
        steps.extend(services(&setup.paths, &setup.listens, facts));
    }
    steps.extend(ssh(setup, facts));
    // Last: whoever holds the key finds everything else in place, and the private half is not lost by a
    // step that fails behind it.
    let path = setup.paths.authorized_keys(&setup.app);
    match &setup.keys {
        KeyFile::Leave => {}
        KeyFile::Write(text) => steps.extend(write(facts, &path, text, 0o644)),
        KeyFile::Generate => {
            steps.push(SetupStep::Generate { path, start: sshd::line_start(&setup.paths, &setup.app) });
        }
    }
    steps
}

fn users(setup: &Setup, facts: &HostFacts) -> Vec<SetupStep> {
    let mut steps = Vec::new();
    if !facts.groups.contains(GROUP) {
        steps.push(SetupStep::AddGroup(GROUP.to_owned()));
    }
    let app_user = user_of(&setup.app);
    let proxy = (PROXY_USER.to_owned(), None, PathBuf::from("/nonexistent"), "/usr/sbin/nologin");
    let app = (app_user, Some(GROUP.to_owned()), setup.paths.home(), "/bin/sh");
    for (name, group, home, shell) in [proxy, app] {
        if !facts.users.contains(&name) {
            steps.push(SetupStep::AddUser { name, group, home, shell });
        }
    }
    steps
}

fn directories(setup: &Setup, facts: &HostFacts) -> Vec<SetupStep> {
    let paths = &setup.paths;
    let mut wanted = vec![
        (paths.app_files(), None, 0o755),
        (paths.keys(), None, 0o755),
        (paths.all_state(), None, 0o755),
        (paths.home(), None, 0o755),
        (paths.state(&setup.app), None, 0o700),
    ];
    if !facts.systemd {
        wanted.push((paths.proxy_run(), Some(PROXY_USER), 0o700));
    }
    let missing = wanted.into_iter().filter(|(path, _, mode)| match facts.files.get(path) {
        Some(Found { directory: true, mode: is, .. }) => is != mode,
        _ => true,
    });
    missing.map(|(path, owner, mode)| SetupStep::Directory { path, owner, mode }).collect()
}

/// Writes a file unless it says so already.
fn write(facts: &HostFacts, path: &Path, text: &str, mode: u32) -> Option<SetupStep> {
    let found = facts.files.get(path);
    let same = found.is_some_and(|found| found.text.as_deref() == Some(text) && found.mode == mode);
    (!same).then(|| SetupStep::Write {
        path: path.to_owned(),
        text: text.to_owned(),
        shown: text.to_owned(),
        mode,
        replaces: found.is_some(),
    })
}

/// The units, and what systemd has to do. `remove` uses it with the addresses that are left.
pub fn services(paths: &Paths, listens: &BTreeSet<Listen>, facts: &HostFacts) -> Vec<SetupStep> {
    let unit = |name: &str| paths.units().join(name);
    let mut steps = Vec::new();
    let serve = write(facts, &unit(units::SERVE), &units::serve(paths), 0o644);
    let proxy = write(facts, &unit(units::PROXY), &units::proxy(paths, listens), 0o644);
    let (serve_changed, proxy_changed) = (serve.is_some(), proxy.is_some());
    steps.extend(serve);
    steps.extend(proxy);
    for listen in listens {
        steps.extend(write(facts, &unit(&units::socket_name(listen)), &units::socket(listen), 0o644));
    }
    if !steps.is_empty() {
        steps.push(run(&["systemctl", "daemon-reload"]));
    }
    let sockets: Vec<String> = listens.iter().map(units::socket_name).collect();
    let startable = listens.iter().filter(|listen| !facts.held.contains(*listen)).map(units::socket_name);
    let startable: Vec<String> = startable.collect();
    let names = |names: &[String], without: &BTreeSet<String>| -> Vec<String> {
        let services = [units::PROXY.to_owned(), units::SERVE.to_owned()];
        names.iter().cloned().chain(services).filter(|name| !without.contains(name)).collect()
    };
    let command = |words: &[&str], names: Vec<String>| {
        let words = words.iter().map(|word| (*word).to_owned()).chain(names);
        SetupStep::Run(words.collect())
    };
    // Before the proxy starts again: it would be handed them once more, and keep them open.
    let stale: Vec<&String> = facts.sockets.iter().filter(|name| !sockets.contains(name)).collect();
    for name in &stale {
        steps.push(run(&["systemctl", "disable", "--quiet", "--now", name.as_str()]));
        steps.push(SetupStep::Remove(unit(name)));
    }
    if !stale.is_empty() {
        steps.push(run(&["systemctl", "daemon-reload"]));
    }
    let disabled = names(&sockets, &facts.enabled);
    if !disabled.is_empty() {
        steps.push(command(&["systemctl", "enable", "--quiet"], disabled));
    }
    let installs = !facts.program_is_in_place;
    // New sockets open in the same transaction, while the proxy is down for a moment: see `units`.
    if facts.active.contains(units::PROXY) && (proxy_changed || installs) {
        steps.push(run(&["systemctl", "restart", units::PROXY]));
    }
    if facts.active.contains(units::SERVE) && (serve_changed || installs) {
        steps.push(run(&["systemctl", "restart", units::SERVE]));
    }
    let opened_by_restart = facts.active.contains(units::PROXY) && proxy_changed;
    let mut inactive = names(&startable, &facts.active);
    if opened_by_restart {
        inactive.retain(|name| !sockets.contains(name));
    }
    if !inactive.is_empty() {
        steps.push(command(&["systemctl", "start"], inactive));
    }
    steps
}

/// A part that sshd refuses does not stay: sshd would not start again, and nobody could log in to mend it.
fn ssh(setup: &Setup, facts: &HostFacts) -> Vec<SetupStep> {
    let path = setup.paths.sshd_part();
    let mut steps: Vec<SetupStep> =
        write(facts, &path, &sshd::part(&setup.paths), 0o644).into_iter().collect();
    if !steps.is_empty() && facts.sshd {
        let before = facts.files.get(&path).and_then(|found| Some((found.text.clone()?, found.mode)));
        let words = [sshd::SSHD, "-t"].map(str::to_owned).to_vec();
        steps.push(SetupStep::Prove { words, path, before });
        if let (true, Some(unit)) = (facts.systemd, &facts.ssh_unit) {
            steps.push(run(&["systemctl", "reload", unit]));
        }
    }
    steps
}
