//! What the tests of several modules start from.

use std::path::Path;

use super::lock::{Lock, Tried};
use super::state::{Instance, Order, Phase, Purpose, Record, Release, State};
use crate::deploy::protocol::Holder;
use crate::image::reference::Digest;

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

pub(crate) fn lock(folder: &Path) -> Lock {
    let holder = Holder {
        pid: std::process::id(),
        purpose: "test".to_owned(),
        deployment: None,
        since: "2026-01-02T03:04:05Z".parse().unwrap(),
    };
    match Lock::try_take(&folder.join("lock"), &holder) {
        Ok(Tried::Taken(lock)) => lock,
        other => panic!("a new lock is free: {other:?}"),
    }
}
