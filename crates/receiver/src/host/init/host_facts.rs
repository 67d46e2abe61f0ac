//! What is on the host: read once, before anything is decided.

use std::collections::{BTreeMap, BTreeSet};
use std::io::ErrorKind;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::Context as _;

use super::sshd::SSHD;
use super::{program, units};
use crate::config::app_file::Listen;
use crate::paths::Paths;
use autotag_protocol::AppName;

/// A path that is there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// A directory, or else a file.
    pub directory: bool,
    /// Its mode's twelve bits.
    pub mode: u32,
    /// Its text, if it is a file and is text.
    pub text: Option<String>,
}

/// All of it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct HostFacts {
    /// The users' names.
    pub users: BTreeSet<String>,
    /// The groups' names.
    pub groups: BTreeSet<String>,
    /// What is there of what may be written.
    pub files: BTreeMap<PathBuf, Found>,
    /// The installed program is this one.
    pub program_is_in_place: bool,
    /// systemd runs this machine.
    pub systemd: bool,
    /// Our units that run.
    pub active: BTreeSet<String>,
    /// Our units that start at boot.
    pub enabled: BTreeSet<String>,
    /// The sockets' units that have a file.
    pub sockets: BTreeSet<String>,
    /// Addresses that another program holds.
    pub held: BTreeSet<Listen>,
    /// sshd is installed.
    pub sshd: bool,
    /// Its unit, where it runs.
    pub ssh_unit: Option<String>,
}

impl HostFacts {
    /// Looks.
    pub fn gather(host_paths: &Paths, app: &AppName, listens: &BTreeSet<Listen>) -> anyhow::Result<Self> {
        let mut facts = Self::of_host(host_paths, listens)?;
        let paths = [
            host_paths.app_files(),
            host_paths.keys(),
            host_paths.all_state(),
            host_paths.home(),
            host_paths.state(app),
            host_paths.proxy_run(),
            host_paths.sshd_part(),
            host_paths.authorized_keys(app),
        ];
        facts.look_at(paths)?;
        Ok(facts)
    }

    /// What does not depend on an application.
    pub fn of_host(host_paths: &Paths, listens: &BTreeSet<Listen>) -> anyhow::Result<Self> {
        let mut facts = Self {
            users: names(&host_paths.passwd())?,
            groups: names(&host_paths.group())?,
            program_is_in_place: is_in_place(host_paths)?,
            // Below another root nothing runs (sd_booted(3) asks the same of `/`).
            systemd: host_paths.root() == Path::new("/") && Path::new("/run/systemd/system").is_dir(),
            sockets: socket_units(&host_paths.units()),
            sshd: host_paths.root() == Path::new("/") && answers(SSHD, &["-V"]).is_some(),
            ..Self::default()
        };
        let sockets: BTreeSet<String> = listens.iter().map(units::socket_name).collect();
        let all = sockets.union(&facts.sockets).map(String::as_str).chain([units::SERVE, units::PROXY]);
        let all: Vec<String> = all.map(str::to_owned).collect();
        facts.look_at(all.iter().map(|name| host_paths.units().join(name)))?;
        if facts.systemd {
            let says = |question, name: &str, word| {
                answers("systemctl", &[question, name]).is_some_and(|output| output.trim() == word)
            };
            facts.active = all.iter().filter(|name| says("is-active", name, "active")).cloned().collect();
            facts.enabled = all.iter().filter(|name| says("is-enabled", name, "enabled")).cloned().collect();
            let ssh = ["ssh.service", "sshd.service"];
            facts.ssh_unit =
                ssh.iter().find(|name| says("is-active", name, "active")).map(|name| (*name).to_owned());
        }
        let ours = |listen: &Listen| facts.active.contains(&units::socket_name(listen));
        if host_paths.root() == Path::new("/") {
            facts.held = listens.iter().filter(|listen| !ours(listen) && is_held(listen)).cloned().collect();
        }
        Ok(facts)
    }

    fn look_at(&mut self, paths: impl IntoIterator<Item = PathBuf>) -> anyhow::Result<()> {
        for path in paths {
            match std::fs::metadata(&path) {
                Ok(metadata) => {
                    let text = (!metadata.is_dir()).then(|| std::fs::read_to_string(&path).ok()).flatten();
                    let mode = metadata.permissions().mode() & 0o7777;
                    self.files.insert(path, Found { directory: metadata.is_dir(), mode, text });
                }
                Err(error) if error.kind() == ErrorKind::NotFound => {}
                Err(error) => return Err(error).with_context(|| format!("looking at {}", path.display())),
            }
        }
        Ok(())
    }
}

/// The first fields of passwd(5) or group(5).
fn names(file: &Path) -> anyhow::Result<BTreeSet<String>> {
    let text = match std::fs::read_to_string(file) {
        Ok(text) => text,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(BTreeSet::new()),
        Err(error) => return Err(error).with_context(|| format!("reading {}", file.display())),
    };
    Ok(text.lines().filter_map(|line| line.split(':').next()).map(str::to_owned).collect())
}

fn is_in_place(host_paths: &Paths) -> anyhow::Result<bool> {
    let (this, place) = (program()?, host_paths.program());
    if this.canonicalize().ok() == place.canonicalize().ok() {
        return Ok(true);
    }
    let size = |path: &Path| std::fs::metadata(path).map(|metadata| metadata.len()).ok();
    if size(&this) != size(&place) {
        return Ok(false);
    }
    let read = |path: &Path| std::fs::read(path).with_context(|| format!("reading {}", path.display()));
    Ok(read(&this)? == read(&place)?)
}

fn socket_units(directory: &Path) -> BTreeSet<String> {
    let entries = std::fs::read_dir(directory).into_iter().flatten().filter_map(Result::ok);
    entries
        .filter_map(|entry| entry.file_name().into_string().ok())
        .filter(|name| {
            name.starts_with(units::SOCKET_PREFIX)
                && Path::new(name).extension().is_some_and(|ending| ending == "socket")
        })
        .collect()
}

/// Whether an address cannot be bound because somebody has it.
pub fn is_held(listen: &Listen) -> bool {
    match listen {
        Listen::Tcp(address) => {
            TcpListener::bind(address).is_err_and(|error| error.kind() == ErrorKind::AddrInUse)
        }
        Listen::Unix(path) => std::os::unix::net::UnixStream::connect(path).is_ok(),
    }
}

/// What a command says; `None` where it is not there. Its exit code is not asked about: `is-active` has
/// one for every state.
fn answers(program: &str, words: &[&str]) -> Option<String> {
    let output =
        Command::new(program).args(words).stdin(Stdio::null()).stderr(Stdio::null()).output().ok()?;
    Some(String::from_utf8_lossy(&output.stdout).into_owned())
}
