//! Which images and snapshots are still needed: what runs, and what a rollback could want. Pure.

use std::collections::BTreeSet;

use semver::Version;

use crate::state::{Phase, Release, State};
use autotag_model::reference::Digest;
use autotag_protocol::DeploymentId;

/// What must stay.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Needed {
    /// Images, by digest.
    pub digests: BTreeSet<String>,
    /// Deployments, for their snapshots.
    pub deployments: BTreeSet<DeploymentId>,
}

impl Needed {
    fn add(&mut self, release: &Release) {
        self.digests.insert(release.digest.to_string());
        self.deployments.insert(release.deployment.clone());
    }

    /// Whether an image must stay.
    pub fn has(&self, digest: &Digest) -> bool {
        self.digests.contains(digest.as_str())
    }
}

/// Everything that is under way, and the last `keep` versions that served.
pub fn needed(state: &State, keep: u32) -> Needed {
    let mut needed = Needed::default();
    for release in under_way(state) {
        needed.add(release);
    }
    let mut versions: BTreeSet<&Version> = BTreeSet::new();
    let served = state.history.iter().rev().filter(|record| record.failure.is_none());
    for record in served {
        let version = &record.release.version;
        // An earlier deployment of a version that is kept has a configuration of its own, and its image.
        if versions.contains(version) || versions.len() < keep as usize {
            versions.insert(version);
            needed.add(&record.release);
        }
    }
    // What serves may be reverted at once, whatever `keep` says. The image can be pulled again.
    let before = state.active().and_then(|active| state.to_go_back_to(&active.release.deployment));
    needed.deployments.extend(before.map(|record| record.release.deployment.clone()));
    needed
}

fn under_way(state: &State) -> Vec<&Release> {
    match &state.change {
        Phase::Steady { active } => active.iter().map(|active| &active.release).collect(),
        Phase::Pending { active, new } => active.iter().map(|active| &active.release).chain([new]).collect(),
        Phase::Unverified { new, old } => old.iter().chain([new]).map(|one| &one.release).collect(),
        Phase::Leaving { active, leaving, .. } => {
            active.iter().chain([leaving]).map(|one| &one.release).collect()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::state::{Failure, Record};
    use crate::testing::{instance, release, steady};

    fn served(state: &mut State, version: &str) {
        state.history.push(Record { release: release(version), failure: None });
    }

    #[test]
    fn the_last_versions_that_served_are_needed() {
        let mut state = steady("1.0.3");
        state.history.clear();
        for version in ["1.0.0", "1.0.1", "1.0.2", "1.0.3"] {
            served(&mut state, version);
        }
        let failure = Failure {
            step: autotag_protocol::RolloutStep::Health,
            code: autotag_protocol::FailureCode::Unhealthy,
            why: String::new(),
        };
        state.history.push(Record { release: release("1.0.4"), failure: Some(failure) });
        let found = needed(&state, 2);
        for (version, expected) in
            [("1.0.0", false), ("1.0.1", false), ("1.0.2", true), ("1.0.3", true), ("1.0.4", false)]
        {
            assert_eq!(found.has(&release(version).digest), expected, "{version}");
        }
    }

    #[test]
    fn the_previous_versions_settings_are_always_kept() {
        let mut state = steady("1.0.2");
        let before = ["1.0.0", "1.0.1"].map(|version| Record { release: release(version), failure: None });
        state.history.splice(0..0, before);
        let found = needed(&state, 1);
        let deployments = ["1.0.1", "1.0.2"].map(|version| release(version).deployment);
        assert_eq!(found.deployments, deployments.into());
        assert!(!found.has(&release("1.0.1").digest), "its image can be pulled again");
    }

    #[test]
    fn what_runs_or_is_under_way_is_needed_however_old() {
        let old = instance(release("0.1.0"));
        let new = instance(release("9.0.0"));
        let mut state = steady("5.0.0");
        for version in ["5.0.1", "5.0.2", "5.0.3"] {
            served(&mut state, version);
        }
        for change in [
            Phase::Steady { active: Some(old.clone()) },
            Phase::Pending { active: Some(old.clone()), new: new.release.clone() },
            Phase::Unverified { new: new.clone(), old: Some(old.clone()) },
            Phase::Leaving {
                active: Some(new.clone()),
                leaving: old.clone(),
                turned_back: false,
                order: old.release.order,
            },
        ] {
            let steady = matches!(change, Phase::Steady { .. });
            let found = needed(&State { change, ..state.clone() }, 1);
            assert!(found.has(&old.release.digest) && found.deployments.contains(&old.release.deployment));
            assert_eq!(found.has(&new.release.digest), !steady);
        }
    }
}
