//! What the tests of several modules start from.

use std::path::Path;

use super::config::app_file::Order;
use super::state::{Instance, Phase, Purpose, Record, Release, State};
use crate::config::settings::{Settings, Variables};
use crate::engine::{ContainerFacts, Healthy};
use crate::lock::{Lock, Tried};
use crate::paths::Paths;
use autotag_model::reference::Digest;
use autotag_protocol::Holder;

pub(crate) fn release(version: &str) -> Release {
    Release {
        deployment: format!("deployment-{}", version.replace('.', "-")).parse().unwrap(),
        image: "ghcr.io/org/app".parse().unwrap(),
        digest: Digest::of(version.as_bytes()),
        version: version.parse().unwrap(),
        commit: "c".repeat(40).parse().unwrap(),
        config: Digest::of(b"config").to_string().parse().unwrap(),
        order: Order::StartFirst,
        purpose: Purpose::Deploy,
        at: "2026-01-02T03:04:05Z".parse().unwrap(),
        run: String::new(),
    }
}

pub(crate) fn instance(release: Release) -> Instance {
    Instance { container: "a".repeat(64).parse().unwrap(), release }
}

/// An application of which this version was deployed, and nothing else.
pub(crate) fn steady(version: &str) -> State {
    let active = instance(release(version));
    State {
        highest: Some(active.release.version.clone()),
        history: vec![Record { release: active.release.clone(), failure: None }],
        change: Phase::Steady { active: Some(active) },
        ..State::new("app".parse().unwrap())
    }
}

pub(crate) fn lock(directory: &Path) -> Lock {
    let holder = Holder {
        pid: std::process::id(),
        purpose: "test".to_owned(),
        deployment: None,
        since: "2026-01-02T03:04:05Z".parse().unwrap(),
    };
    match Lock::try_take(&directory.join("lock"), &holder) {
        Ok(Tried::Taken(lock)) => lock,
        other => panic!("a new lock is free: {other:?}"),
    }
}

/// The settings of an app file whose environment files are empty.
pub(crate) fn settings(app_file: &str) -> Settings {
    let directory = tempfile::tempdir().unwrap();
    let (paths, app) = (Paths::below(directory.path()), "app".parse().unwrap());
    std::fs::create_dir_all(paths.app_files()).unwrap();
    std::fs::write(paths.app_file(&app), app_file).unwrap();
    Settings::today(&paths, &app, Variables::new()).unwrap_or_else(|refused| panic!("{app_file}: {refused}"))
}

/// A container that runs and is healthy.
pub(crate) fn facts() -> ContainerFacts {
    ContainerFacts {
        id: "a".repeat(64),
        name: "autotag-app--deployment-1".to_owned(),
        labels: [].into(),
        image_id: "sha256:1".to_owned(),
        running: true,
        paused: false,
        exit_code: None,
        error: None,
        restarts: 0,
        health: Healthy::Yes,
        health_log: Vec::new(),
        addresses: [].into(),
        volumes: Vec::new(),
        configuration: "as made".to_owned(),
    }
}
