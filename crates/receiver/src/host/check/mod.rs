//! `check`: app files, this host and the way in by SSH, every fault at once.

mod sshd;

use std::os::unix::fs::MetadataExt as _;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, bail};

use super::init::{apps, sshd as parts, units};
use crate::config::app_file::values::env_file;
use crate::config::app_file::{AppFile, Listen, OwnVariables, Source, Traffic};
use crate::config::settings;
use crate::engine::BlockingEngine;
use crate::host::init::host_facts::is_held;
use crate::paths::{GROUP, Paths, user_of};
use autotag_protocol::AppName;
use autotag_proxy::admin;

/// What was found.
#[derive(Debug, Default)]
pub struct Report {
    /// What is right, a line each.
    pub right: Vec<String>,
    /// What is not, and what to do.
    pub faults: Vec<String>,
}

impl Report {
    fn fault(&mut self, text: impl Into<String>) {
        self.faults.push(text.into());
    }
}

/// What is common to all applications.
struct Host {
    docker: Option<BlockingEngine>,
    proxy: Option<admin::Status>,
    users: String,
    groups: String,
}

/// Checks these applications or files; all applications and the host, where none is named.
pub fn run(paths: &Paths, words: &[&String]) -> anyhow::Result<Report> {
    let mut report = Report::default();
    let mut named = Vec::new();
    for word in words {
        if word.contains('/') || Path::new(word).extension().is_some_and(|extension| extension == "yaml") {
            let file = PathBuf::from(word);
            let bytes = std::fs::read(&file).with_context(|| format!("reading {}", file.display()))?;
            parsed(&file, bytes, &mut report);
        } else {
            match word.parse::<AppName>() {
                Ok(app) => named.push(app),
                Err(expected) => bail!("`{word}`: expected {expected}, or the path of an app file"),
            }
        }
    }
    if words.is_empty() {
        named = apps(paths)?;
        if named.is_empty() {
            report.right.push("no application is set up here".to_owned());
            return Ok(report);
        }
    }
    if !named.is_empty() {
        let host = look_at_host(paths, &mut report);
        for app in &named {
            one(paths, app, &host, &mut report);
        }
    }
    Ok(report)
}

fn parsed(file: &Path, bytes: Vec<u8>, report: &mut Report) -> Option<AppFile> {
    let text = match env_file::text_of(bytes) {
        Ok(text) => text,
        Err(fault) => {
            report.fault(format!("{}: {fault}", file.display()));
            return None;
        }
    };
    match AppFile::parse(&text) {
        Ok(parsed) => {
            report.right.push(format!("{} is right", file.display()));
            report.right.extend(parsed.notes.iter().map(|note| format!("{}: {note}", file.display())));
            Some(parsed)
        }
        Err(faults) => {
            report.fault(format!("{} is not usable:\n{faults}", file.display()));
            None
        }
    }
}

fn look_at_host(paths: &Paths, report: &mut Report) -> Host {
    let engine = BlockingEngine::at(paths.docker());
    let docker = match engine.ping() {
        Ok(()) => {
            report.right.push("Docker answers".to_owned());
            Some(engine)
        }
        Err(call_error) => {
            report.fault(format!("{call_error}; {}", call_error.remedy.clone().unwrap_or_default()));
            None
        }
    };
    let socket = paths.socket();
    match UnixStream::connect(&socket) {
        Ok(_) => report.right.push("`serve` answers".to_owned()),
        Err(error) => report.fault(format!(
            "`serve` does not answer at {}: {error}; systemctl start {}",
            socket.display(),
            units::SERVE
        )),
    }
    let proxy = match ask_proxy(&paths.proxy_admin()) {
        Ok(status) => {
            report.right.push("the proxy answers".to_owned());
            Some(status)
        }
        Err(error) => {
            report.fault(format!(
                "the proxy does not answer at {}: {error:#}; systemctl start {}",
                paths.proxy_admin().display(),
                units::PROXY
            ));
            None
        }
    };
    let read = |path: PathBuf| std::fs::read_to_string(path).unwrap_or_default();
    Host { docker, proxy, users: read(paths.passwd()), groups: read(paths.group()) }
}

fn ask_proxy(socket: &Path) -> anyhow::Result<admin::Status> {
    match admin::call_at_once(socket, &admin::Command::Status {}, Duration::from_secs(10))? {
        admin::AdminAnswer::Status(status) => Ok(status),
        other => bail!("unexpected answer: {other}"),
    }
}

fn one(paths: &Paths, app: &AppName, host: &Host, report: &mut Report) {
    let file = paths.app_file(app);
    let bytes = match std::fs::read(&file) {
        Ok(bytes) => bytes,
        Err(error) => {
            return report
                .fault(format!("{}: {error}; `autotag-receiver init {app}` writes it", file.display()));
        }
    };
    is_roots(&file, 0o077, "only root may read it, since it may hold secrets: chmod 600", report);
    user(paths, app, host, report);
    keys(paths, app, report);
    sshd::look(paths, app, report);
    let Some(parsed) = parsed(&file, bytes, report) else { return };
    env_files(app, &parsed, report);
    if let Some(docker) = &host.docker {
        in_docker(app, &parsed, docker, report);
    }
    if let Traffic::Proxied { listen, .. } = &parsed.traffic {
        address(paths, app, listen, host, report);
    }
}

/// Root's, and nobody else has these rights.
fn is_roots(path: &Path, forbidden: u32, why: &str, report: &mut Report) {
    match path.metadata() {
        Ok(metadata) if metadata.uid() != 0 => {
            report.fault(format!("{} is not root's: chown root:root", path.display()));
        }
        Ok(metadata) if metadata.mode() & forbidden != 0 => {
            report.fault(format!("{} has the mode {:04o}; {why}", path.display(), metadata.mode() & 0o7777));
        }
        Ok(_) => {}
        Err(error) => report.fault(format!("{}: {error}", path.display())),
    }
}

fn user(paths: &Paths, app: &AppName, host: &Host, report: &mut Report) {
    let name = user_of(app);
    let field = |text: &str, name: &str, at: usize| {
        let mut lines = text.lines().map(|line| line.split(':').collect::<Vec<_>>());
        lines
            .find(|fields| fields.first() == Some(&name))
            .and_then(|fields| fields.get(at).map(|field| (*field).to_owned()))
    };
    let Some(group) = field(&host.users, &name, 3) else {
        return report.fault(format!(
            "{}: there is no user {name}; `autotag-receiver init {app}` adds it",
            paths.passwd().display()
        ));
    };
    if field(&host.groups, GROUP, 2) != Some(group) {
        report.fault(format!("the user {name} is not in the group {GROUP}: usermod --gid {GROUP} {name}"));
    }
    let docker = host.groups.lines().find(|line| line.starts_with("docker:")).unwrap_or_default();
    if docker.split([':', ',']).any(|member| member == name) {
        report.fault(format!(
            "the user {name} is in the group docker, and with that root: gpasswd --delete {name} docker"
        ));
    }
}

fn keys(paths: &Paths, app: &AppName, report: &mut Report) {
    let file = paths.authorized_keys(app);
    let text = match std::fs::read_to_string(&file) {
        Ok(text) => text,
        Err(error) => {
            return report
                .fault(format!("{}: {error}; `autotag-receiver init {app}` writes it", file.display()));
        }
    };
    is_roots(&file, 0o022, "only root may write it: chmod 644", report);
    let start = format!("{} ", parts::line_start(paths, app));
    for (index, line) in text.lines().enumerate() {
        let line = line.trim();
        if !line.is_empty() && !line.starts_with('#') && !line.starts_with(&start) {
            report.fault(format!(
                "{}, line {}: expected it to begin with `{start}`: this key allows more than one command",
                file.display(),
                index + 1
            ));
        }
    }
}

fn env_files(app: &AppName, parsed: &AppFile, report: &mut Report) {
    let mut before = OwnVariables::new();
    for file in &parsed.env_files {
        match settings::env_file(file, &parsed.environment, &before) {
            Err(faults) => {
                for fault in faults {
                    report.fault(format!("{app}: env_file {}: {fault}", file.display()));
                }
            }
            Ok(variables) => before.extend(variables),
        }
        if file.exists() {
            is_roots(file, 0o077, "only root may read it: chmod 600", report);
        }
    }
}

fn in_docker(app: &AppName, parsed: &AppFile, docker: &BlockingEngine, report: &mut Report) {
    for network in &parsed.container.networks {
        match docker.has_network(network) {
            Ok(true) => {}
            Ok(false) => report
                .fault(format!("{app}: there is no network `{network}`: docker network create {network}")),
            Err(error) => report.fault(error.to_string()),
        }
    }
    for mount in &parsed.container.volumes {
        match &mount.source {
            Source::Path(path) if !path.exists() => {
                report.fault(format!("{app}: volumes: {} does not exist on this machine", path.display()));
            }
            Source::Path(_) => {}
            Source::Volume(name) => match docker.has_volume(name) {
                Ok(true) => {}
                Ok(false) => {
                    report.right.push(format!("{app}: the volume `{name}` is made by the first deployment"));
                }
                Err(error) => report.fault(error.to_string()),
            },
        }
    }
}

/// Free, systemd's for the proxy, or the proxy's own.
fn address(paths: &Paths, app: &AppName, listen: &Listen, host: &Host, report: &mut Report) {
    let proxys: String = match listen {
        Listen::Tcp(address) => address.to_string(),
        Listen::Unix(path) => format!("unix:{}", path.display()),
    };
    let open = host.proxy.iter().flat_map(|status| &status.listeners).any(|open| open.to_string() == proxys);
    let unit = units::socket_name(listen);
    let ours = paths.units().join(&unit).exists();
    match (is_held(listen), open || ours) {
        (true, true) => report.right.push(format!("{app}: {listen} is open")),
        (true, false) => report.fault(format!("{app}: {listen} is held by another program")),
        (false, true) => report.fault(format!("{app}: nobody listens at {listen}: systemctl start {unit}")),
        (false, false) => {
            report
                .fault(format!("{app}: nobody listens at {listen}: `autotag-receiver init {app}` opens it"));
        }
    }
}
