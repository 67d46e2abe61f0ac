//! `remove`: takes back what `init` and the deployments of an application made. Volumes are its owner's, and stay.

use std::collections::BTreeSet;
use std::time::Duration;

use anyhow::{Context as _, bail};

use super::init::plan::{self, SetupStep, run};
use super::init::{apply, apps, listens, units};
use crate::engine::BlockingEngine;
use crate::host::init::host_facts::HostFacts;
use crate::lock;
use crate::lock::{Lock, Tried};
use crate::paths::{GROUP, PROXY_USER, Paths, user_of};
use autotag_protocol::AppName;
use autotag_proxy::admin;
use autotag_proxy::admin::{AdminAnswer, Command};

/// How long the proxy may take to answer.
const PATIENCE: Duration = Duration::from_secs(5);

/// What `remove` would do.
#[derive(Debug)]
pub struct Removal {
    /// Containers of the application.
    pub containers: Vec<String>,
    /// Its own network, if there is one.
    pub network: Option<String>,
    /// What comes before the containers: nobody can deploy any more.
    pub before: Vec<SetupStep>,
    /// And after them.
    pub after: Vec<SetupStep>,
    /// What the owner should know.
    pub notes: Vec<String>,
}

/// Looks at the host, and decides.
pub fn prepare(host_paths: &Paths, app: &AppName, keep_data: bool) -> anyhow::Result<Removal> {
    let mut notes = Vec::new();
    let (containers, network) = in_docker(host_paths, app, &mut notes)?;
    let others: Vec<AppName> = apps(host_paths)?.into_iter().filter(|other| other != app).collect();
    let left: BTreeSet<_> = listens(host_paths, &others)?.into_keys().collect();
    let facts = HostFacts::of_host(host_paths, &left)?;
    let there = |path: &std::path::Path| path.symlink_metadata().is_ok();

    let mut before = Vec::new();
    let (keys, file) = (host_paths.authorized_keys(app), host_paths.app_file(app));
    if there(&keys) {
        before.push(SetupStep::Remove(keys));
    }
    if there(&file) {
        if keep_data {
            let text =
                std::fs::read_to_string(&file).with_context(|| format!("reading {}", file.display()))?;
            let path = file.with_extension("yaml.removed");
            before.push(SetupStep::Write { path, shown: String::new(), text, mode: 0o600, replaces: false });
        }
        before.push(SetupStep::Remove(file));
    }
    let mut after = Vec::new();
    if facts.users.contains(&user_of(app)) {
        after.push(run(&["userdel", &user_of(app)]));
    }
    if !keep_data && there(&host_paths.state(app)) {
        after.push(SetupStep::Remove(host_paths.state(app)));
    }
    if others.is_empty() {
        after.extend(everything(host_paths, &facts, keep_data));
    } else if facts.systemd {
        after.extend(plan::services(host_paths, &left, &facts));
    }
    Ok(Removal { containers, network, before, after, notes })
}

fn in_docker(
    host_paths: &Paths,
    app: &AppName,
    notes: &mut Vec<String>,
) -> anyhow::Result<(Vec<String>, Option<String>)> {
    if !host_paths.docker().exists() {
        notes.push("Docker does not run here: containers and networks were not looked for".to_owned());
        return Ok((Vec::new(), None));
    }
    let engine = BlockingEngine::at(host_paths.docker());
    let containers = engine.labelled(&format!("autotag-deploy.app={app}"))?;
    for id in &containers {
        let described = engine.container(id)?.unwrap_or_default();
        notes.extend(volumes(&described).map(|(name, target)| {
            format!("the volume {name}, mounted at {target}, stays; `docker volume rm {name}` removes it with its data")
        }));
    }
    let network = format!("autotag-{app}");
    let there = engine.has_network(&network)?;
    Ok((containers, there.then_some(network)))
}

/// The volumes of a container, by name and place.
fn volumes(described: &str) -> impl Iterator<Item = (String, String)> {
    let described: serde_json::Value = serde_json::from_str(described).unwrap_or_default();
    let mounts = described["Mounts"].as_array().cloned().unwrap_or_default().into_iter();
    mounts.filter(|mount| mount["Type"] == "volume").filter_map(|mount| {
        Some((mount["Name"].as_str()?.to_owned(), mount["Destination"].as_str()?.to_owned()))
    })
}

/// The last application takes the rest along.
fn everything(host_paths: &Paths, facts: &HostFacts, keep_data: bool) -> Vec<SetupStep> {
    let mut steps = Vec::new();
    if facts.systemd {
        let ours = facts.sockets.iter().map(String::as_str).chain([units::PROXY, units::SERVE]);
        let ours: Vec<&str> = ours.filter(|name| host_paths.units().join(name).exists()).collect();
        if !ours.is_empty() {
            steps.push(run(&[&["systemctl", "disable", "--quiet", "--now"], ours.as_slice()].concat()));
            steps.extend(ours.iter().map(|name| SetupStep::Remove(host_paths.units().join(name))));
            steps.push(run(&["systemctl", "daemon-reload"]));
        }
    }
    if host_paths.sshd_part().exists() {
        steps.push(SetupStep::Remove(host_paths.sshd_part()));
        if let Some(unit) = &facts.ssh_unit {
            steps.push(run(&["systemctl", "reload", unit]));
        }
    }
    if facts.users.contains(PROXY_USER) {
        steps.push(run(&["userdel", PROXY_USER]));
    }
    if facts.groups.contains(GROUP) {
        steps.push(run(&["groupdel", GROUP]));
    }
    let mut paths = vec![host_paths.keys(), host_paths.run(), host_paths.proxy_run()];
    if !keep_data {
        paths.extend([host_paths.all_state(), host_paths.app_files()]);
    }
    let paths = paths.into_iter().filter(|path| path.exists());
    steps.extend(paths.map(SetupStep::Remove));
    steps
}

/// Does it. `tell` hears of each step before it is done.
pub fn apply(
    host_paths: &Paths,
    app: &AppName,
    removal: &Removal,
    mut tell: impl FnMut(&str),
) -> anyhow::Result<()> {
    let _lock = take_lock(host_paths, app)?;
    for step in &removal.before {
        tell(&step.to_string());
        apply::apply(host_paths, step)?;
    }
    let engine = BlockingEngine::at(host_paths.docker());
    for id in &removal.containers {
        tell(&format!("stop and remove the container {}", id.get(..12).unwrap_or(id)));
        engine.remove_container(id)?;
    }
    if let Err(error) = forget(host_paths, app) {
        tell(&format!(
            "the proxy did not get the change, and must be restarted before another application gets the address: {error}"
        ));
    }
    if let Some(network) = &removal.network {
        tell(&format!("remove the network {network}"));
        engine.remove_network(network)?;
    }
    for step in &removal.after {
        tell(&step.to_string());
        apply::apply(host_paths, step)?;
    }
    Ok(())
}

/// The proxy keeps what it was told; another application may want the address.
fn forget(host_paths: &Paths, app: &AppName) -> std::io::Result<()> {
    if !host_paths.proxy_admin().exists() {
        return Ok(());
    }
    match admin::call_at_once(&host_paths.proxy_admin(), &Command::Forget { app: app.to_string() }, PATIENCE)?
    {
        AdminAnswer::Done {} => Ok(()),
        other => Err(std::io::Error::other(other.to_string())),
    }
}

/// No deployment is under way, and none begins. Where there is no state, none ever was.
fn take_lock(host_paths: &Paths, app: &AppName) -> anyhow::Result<Option<Lock>> {
    if !host_paths.state(app).exists() {
        return Ok(None);
    }
    match Lock::try_take(&host_paths.lock(app), &lock::holder("remove", None)).context("taking the lock")? {
        Tried::Taken(lock) => Ok(Some(lock)),
        Tried::Held(by) => {
            let purpose = by.map_or_else(|| "a deployment".to_owned(), |holder| holder.purpose);
            bail!(
                "{app} is in the middle of a change ({purpose}): nothing was touched. Wait for its end, see `autotag-receiver status {app}`"
            )
        }
    }
}
