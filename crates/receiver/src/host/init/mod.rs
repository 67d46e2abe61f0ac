//! `init`: sets a server up for an application, and can be run again.
//!
//! 1. [`options`]: what the owner said;
//! 2. [`host_facts`]: what is there;
//! 3. [`adopt`], [`app_file`]: the app file that is written, if there is none;
//! 4. [`plan`]: the steps from the one to the other: pure, and what `--dry-run` shows;
//! 5. [`units`], [`sshd`]: what the files say: pure;
//! 6. [`apply`]: the steps are done, the key last: a run that stops before can be repeated;
//! 7. [`next_steps`]: what is to be copied to the repository: pure.

pub mod host_facts;
pub mod next_steps;
pub mod options;

pub mod adopt;
pub mod app_file;
pub mod apply;
pub mod plan;
pub mod sshd;
#[cfg(test)]
mod tests;
pub mod units;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};

use crate::config::app_file::{AppFile, Listen, Traffic};
use crate::engine::BlockingEngine;
use crate::paths::Paths;
use autotag_protocol::AppName;
use host_facts::HostFacts;
use options::InitOptions;
use plan::{KeyFile, Setup, SetupStep};

/// What `init` would do, or has done.
#[derive(Debug)]
pub struct Prepared {
    /// The steps; none: there is nothing to do.
    pub steps: Vec<SetupStep>,
    /// What the owner should know.
    pub notes: Vec<String>,
    /// Whether systemd runs this machine.
    pub systemd: bool,
    /// Whether the application is set up for the first time.
    pub first: bool,
    /// Where the application is served; nothing without the proxy.
    pub listen: Option<Listen>,
}

/// The applications that have an app file, by name.
pub fn apps(paths: &Paths) -> anyhow::Result<Vec<AppName>> {
    let directory = paths.app_files();
    let entries = match std::fs::read_dir(&directory) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error).with_context(|| format!("reading {}", directory.display())),
    };
    let mut apps: Vec<AppName> = entries
        .filter_map(Result::ok)
        .filter_map(|entry| entry.file_name().to_str()?.strip_suffix(".yaml")?.parse().ok())
        .collect();
    apps.sort();
    Ok(apps)
}

/// Where the proxy has to listen for these applications. An app file with faults is an error: its address
/// would be closed.
pub fn listens(paths: &Paths, apps: &[AppName]) -> anyhow::Result<BTreeMap<Listen, BTreeSet<AppName>>> {
    let mut listens: BTreeMap<Listen, BTreeSet<AppName>> = BTreeMap::new();
    for app in apps {
        let file = paths.app_file(app);
        let text = std::fs::read_to_string(&file).with_context(|| format!("reading {}", file.display()))?;
        let parsed = AppFile::parse(&text).with_context(|| format!("{} is not usable", file.display()))?;
        if let Traffic::Proxied { listen, .. } = parsed.traffic {
            listens.entry(listen).or_default().insert(app.clone());
        }
    }
    Ok(listens)
}

/// Looks at the host, and decides what is to be done.
pub fn prepare(paths: &Paths, init: &InitOptions) -> anyhow::Result<Prepared> {
    let mut notes = Vec::new();
    let file = paths.app_file(&init.app);
    let new_file = match existing(&file)? {
        Some(_) => {
            if let Some(options) = init.ignored_where_a_file_exists() {
                notes
                    .push(format!("{} exists and stays as it is; {options} changed nothing", file.display()));
            }
            None
        }
        None => Some(write_app_file(paths, init, &mut notes)?),
    };
    let others: Vec<AppName> = apps(paths)?.into_iter().filter(|app| *app != init.app).collect();
    let mut listens = listens(paths, &others)?;
    let text = match &new_file {
        Some(app_file) => app_file.text.clone(),
        None => existing(&file)?.unwrap_or_default(),
    };
    let parsed = AppFile::parse(&text).with_context(|| format!("{} is not usable", file.display()))?;
    let listen = match parsed.traffic {
        Traffic::Proxied { listen, .. } => Some(listen),
        Traffic::Unproxied { .. } => None,
    };
    if let Some(listen) = &listen {
        listens.entry(listen.clone()).or_default().insert(init.app.clone());
    }
    let first = existing(&paths.authorized_keys(&init.app))?.is_none();
    let keys = keys(paths, init)?;
    let setup = Setup {
        paths: paths.clone(),
        app: init.app.clone(),
        app_file: new_file,
        keys,
        listens: listens.into_keys().collect(),
    };
    let facts = HostFacts::gather(&setup.paths, &setup.app, &setup.listens)?;
    if !facts.systemd {
        notes.push("systemd does not run this machine: no units are written".to_owned());
    }
    for listen in facts.held.intersection(&setup.listens) {
        notes.push(format!(
            "{listen} is held by another program: its socket is not opened. Stop that program, then run \
             `autotag-receiver init {}` again",
            init.app
        ));
    }
    let steps = plan::plan(&setup, &facts);
    Ok(Prepared { steps, notes, systemd: facts.systemd, first, listen })
}

/// The text of a file; `None` where there is none.
fn existing(file: &Path) -> anyhow::Result<Option<String>> {
    match std::fs::read_to_string(file) {
        Ok(text) => Ok(Some(text)),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error).with_context(|| format!("reading {}", file.display())),
    }
}

/// The text, and the text to show, in which no variable has its value.
fn write_app_file(
    paths: &Paths,
    options: &InitOptions,
    notes: &mut Vec<String>,
) -> anyhow::Result<app_file::NewAppFile> {
    let mut content = app_file::Content::default();
    if let Some(name) = &options.adopt {
        let engine = BlockingEngine::at(paths.docker());
        let container = engine.container(name)?.with_context(|| format!("there is no container `{name}`"))?;
        let image = adopt::image_of(&container).and_then(|id| engine.image(&id).transpose());
        let adopted = adopt::adopt(name, &container, image.transpose()?.as_deref())?;
        content = adopted.content;
        notes.extend(adopted.notes);
    }
    content.overlay(options);
    if content.image.is_none() {
        bail!(
            "there is no app file yet: name the repository that may run here with `--image \
               ghcr.io/org/app`"
        );
    }
    let text = app_file::render(&options.app, &content, false);
    // What we write must be what we read; a value that is no app file's comes from the container adopted.
    AppFile::parse(&text).context("the app file that would be written is not usable; write it yourself")?;
    Ok(app_file::NewAppFile { shown: app_file::render(&options.app, &content, true), text })
}

/// What becomes of the key file.
fn keys(paths: &Paths, options: &InitOptions) -> anyhow::Result<KeyFile> {
    let file = paths.authorized_keys(&options.app);
    let there = existing(&file)?;
    let command = sshd::line_start(paths, &options.app);
    Ok(match (&options.key, there) {
        _ if options.new_key => KeyFile::Generate,
        (None, None) => KeyFile::Generate,
        (None, Some(_)) => KeyFile::Leave,
        (Some(key), None) => KeyFile::Write(format!("{command} {key}\n")),
        (Some(key), Some(there)) if there.contains(key.blob()) => KeyFile::Leave,
        (Some(key), Some(there)) => {
            let gap = if there.is_empty() || there.ends_with('\n') { "" } else { "\n" };
            KeyFile::Write(format!("{there}{gap}{command} {key}\n"))
        }
    })
}

/// Where this program lies.
fn program() -> anyhow::Result<PathBuf> {
    std::env::current_exe().context("finding this program's own file")
}
