//! The small world: containers, a proxy, a disk, and what steps and faults do to them.

use std::hash::{Hash, Hasher};
use std::mem::discriminant;

use super::*;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum ModelContainer {
    Absent,
    Stopped,
    Running,
    /// It has ended by itself, and does so again at once whenever it is started.
    Broken,
    /// Somebody removed it, and it cannot be made again: its image is gone, for example.
    Lost,
}

impl ModelContainer {
    pub(super) fn is_there(self) -> bool {
        !matches!(self, Self::Absent | Self::Lost)
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "each is noted for a rule of its own")]
pub(super) struct ModelHost {
    pub(super) disk: State,
    pub(super) old: ModelContainer,
    pub(super) new: ModelContainer,
    /// The one of the version that is deployed when all this is over.
    pub(super) next: ModelContainer,
    /// Which container the old one is, and the new one: another after it was made again.
    pub(super) ids: [ContainerId; 2],
    /// Where the proxy points.
    pub(super) proxy: Option<ContainerId>,
    /// Whether the new one was ever committed to.
    pub(super) committed: bool,
    /// The tests that the new one has passed.
    pub(super) passed: Passed,
    /// After a reboot the world, not the machine, decides for a while what runs.
    pub(super) rebooted: bool,
    /// Somebody removed a container: what the machine keeps may be gone.
    pub(super) removed: bool,
    /// A deployment waits for the end of a recovery: what did not pass may have made way for it.
    pub(super) awaited: bool,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub(super) struct Passed {
    pub(super) health: bool,
    pub(super) smoke: bool,
    pub(super) through_proxy: bool,
}

/// Only what tells most of them apart: the whole is kilobytes, and equality sees to the rest.
impl Hash for ModelHost {
    fn hash<H: Hasher>(&self, into: &mut H) {
        let Self { disk, old, new, next, ids, proxy, committed, passed, rebooted, removed, awaited } = self;
        (old, new, next, proxy, committed, passed, (rebooted, awaited), disk.history.len()).hash(into);
        (ids, removed).hash(into);
        let failed = |record: &Record| record.failure.as_ref().map(|failure| failure.step);
        (discriminant(&disk.change), disk.history.last().and_then(failed)).hash(into);
    }
}

pub(super) fn id(letter: char) -> ContainerId {
    letter.to_string().repeat(64).parse().expect("64 digits")
}

pub(super) fn old_id() -> ContainerId {
    id('a')
}

pub(super) fn new_id() -> ContainerId {
    id('b')
}

pub(super) fn next_id() -> ContainerId {
    id('c')
}

/// Whether it is the old one, as it was made first or again.
pub(super) fn is_old(container: &ContainerId) -> bool {
    [old_id(), id('d')].contains(container)
}

/// Whether it is the new one, as it was made first or again.
pub(super) fn is_new(container: &ContainerId) -> bool {
    [new_id(), id('e')].contains(container)
}

/// What is made in the place of this one.
fn again(gone: &ContainerId) -> ContainerId {
    let pairs = [(old_id(), id('d')), (new_id(), id('e'))];
    let other = pairs.into_iter().find_map(|(one, other)| match gone {
        gone if *gone == one => Some(other),
        gone if *gone == other => Some(one),
        _ => None,
    });
    other.expect("only what served is made again")
}

pub(super) const NEXT: &str = "1.2.0";

/// The container that is made for a release.
pub(super) fn id_for(release: &Release) -> ContainerId {
    if release.version.to_string() == NEXT { next_id() } else { new_id() }
}

pub(super) fn release(version: &str, order: Order) -> Release {
    Release { order, ..testing::release(version) }
}

pub(super) fn failed() -> StepResult {
    StepResult::Failed(StepError::new(FailureCode::Docker, "as the model wanted"))
}

impl ModelHost {
    fn container(&mut self, id: &ContainerId) -> &mut ModelContainer {
        match id {
            id if is_old(id) => &mut self.old,
            id if *id == next_id() => &mut self.next,
            _ => &mut self.new,
        }
    }

    /// Whether this very one is there.
    fn has(&mut self, container: &ContainerId) -> bool {
        let current = *container == next_id() || self.ids.contains(container);
        current && self.container(container).is_there()
    }

    /// The one that is there of the same release.
    pub(super) fn current(&self, container: &ContainerId) -> ContainerId {
        self.ids[usize::from(is_new(container))].clone()
    }

    /// Whether what should serve is gone: somebody removed it.
    pub(super) fn serves_nothing(&self) -> bool {
        match self.disk.active().map(|active| &active.container) {
            Some(container) if is_old(container) => !self.old.is_there(),
            Some(container) if is_new(container) => !self.new.is_there(),
            _ => false,
        }
    }

    /// Whether the step can succeed: nothing can be done with a container that is not there.
    pub(super) fn allows(&mut self, step: &RolloutAction) -> bool {
        match step {
            RolloutAction::Start(it) => self.has(&it.container),
            RolloutAction::Remake(it) => *self.container(&it.container) != ModelContainer::Lost,
            RolloutAction::AwaitHealthy(it) | RolloutAction::Smoke(it) | RolloutAction::Switch(it) => {
                self.has(&it.container) && *self.container(&it.container) == ModelContainer::Running
            }
            RolloutAction::Verify(it) => self.proxy.as_ref() == Some(&it.container),
            _ => true,
        }
    }

    pub(super) fn apply(&mut self, step: &RolloutAction) {
        match step {
            RolloutAction::Save(state) => {
                self.committed |= matches!(state.change, Phase::Unverified { .. });
                self.disk = (**state).clone();
            }
            RolloutAction::Create(release) => *self.container(&id_for(release)) = ModelContainer::Stopped,
            RolloutAction::Remake(it) => {
                if *self.container(&it.container) == ModelContainer::Absent {
                    *self.container(&it.container) = ModelContainer::Stopped;
                    self.ids[usize::from(is_new(&it.container))] = again(&it.container);
                }
            }
            RolloutAction::Start(it) => {
                let container = self.container(&it.container);
                if *container == ModelContainer::Stopped {
                    *container = ModelContainer::Running;
                }
            }
            RolloutAction::Hold => self.proxy = None,
            RolloutAction::Switch(it) => {
                self.proxy = Some(it.container.clone());
                self.awaited &= !matches!(self.disk.change, Phase::Steady { .. });
            }
            RolloutAction::Stop(it) => {
                let container = self.container(&it.container);
                if *container == ModelContainer::Running {
                    *container = ModelContainer::Stopped;
                }
            }
            RolloutAction::Remove(it) => *self.container(&it.container) = ModelContainer::Absent,
            RolloutAction::Discard(release) => *self.container(&id_for(release)) = ModelContainer::Absent,
            RolloutAction::Pull(_)
            | RolloutAction::AwaitHealthy(_)
            | RolloutAction::Smoke(_)
            | RolloutAction::Verify(_)
            | RolloutAction::Drain(_)
            | RolloutAction::Explain(_)
            | RolloutAction::Prune
            | RolloutAction::End(_) => {}
        }
    }

    /// What a step that was told to have succeeded has shown.
    pub(super) fn pass(&mut self, step: &RolloutAction) {
        match step {
            RolloutAction::AwaitHealthy(it) if is_new(&it.container) => self.passed.health = true,
            RolloutAction::Smoke(it) if is_new(&it.container) => self.passed.smoke = true,
            RolloutAction::Verify(it) if is_new(&it.container) => self.passed.through_proxy = true,
            _ => {}
        }
    }

    /// One of the containers ends, and does not stay up from now on; or somebody removes one. One removal is
    /// enough: what comes of it is a world like those before it, with another id.
    pub(super) fn breaks(&self) -> Vec<(&'static str, Self)> {
        let mut found = Vec::new();
        if self.old == ModelContainer::Running {
            found
                .push(("the old one does not stay up", Self { old: ModelContainer::Broken, ..self.clone() }));
        }
        if self.new == ModelContainer::Running {
            found
                .push(("the new one does not stay up", Self { new: ModelContainer::Broken, ..self.clone() }));
        }
        if self.removed {
            return found;
        }
        for (what, is_of, gone) in [
            ("somebody removes the old one", is_old as fn(&ContainerId) -> bool, ModelContainer::Absent),
            ("somebody removes the old one for good", is_old, ModelContainer::Lost),
            ("somebody removes the new one", is_new, ModelContainer::Absent),
            ("somebody removes the new one for good", is_new, ModelContainer::Lost),
        ] {
            let mut host = Self { removed: true, ..self.clone() };
            let container = if is_of(&old_id()) { &mut host.old } else { &mut host.new };
            if container.is_there() {
                *container = gone;
                // The proxy has no address of a container that ended; see `proxy_client`.
                host.proxy = host.proxy.filter(|proxy| !is_of(proxy));
                found.push((what, host));
            }
        }
        found
    }

    /// What decides the future: without what was only noted to be checked.
    pub(super) fn bare(&self) -> Self {
        let (committed, rebooted, removed, awaited) = (false, false, false, false);
        Self { committed, rebooted, removed, awaited, passed: Passed::default(), ..self.clone() }
    }

    pub(super) fn has_broken(&self) -> bool {
        [self.old, self.new].iter().any(|it| matches!(it, ModelContainer::Broken | ModelContainer::Lost))
    }

    pub(super) fn reboot(&self, which: &str) -> Self {
        let mut host = Self { proxy: None, rebooted: true, ..self.clone() };
        for container in [&mut host.old, &mut host.new] {
            *container = match (*container, which) {
                (ModelContainer::Absent | ModelContainer::Lost | ModelContainer::Broken, _) => *container,
                (_, "reboot, none runs") => ModelContainer::Stopped,
                (_, "reboot, all run") => ModelContainer::Running,
                (as_before, _) => as_before,
            };
        }
        host
    }
}

pub(super) const REBOOTS: [&str; 3] = ["reboot, none runs", "reboot, as before", "reboot, all run"];

/// At most one container is left: that of the version that serves. Where nothing is left to be done it runs,
/// unless it does not stay up.
pub(super) fn check_alone(host: &ModelHost, done: bool) -> Result<(), String> {
    let serving = host.disk.active().map(|active| &active.container);
    for (name, is_of, container) in
        [("old", is_old as fn(&ContainerId) -> bool, host.old), ("new", is_new, host.new)]
    {
        let serves = serving.is_some_and(is_of);
        let alone = match container {
            ModelContainer::Absent | ModelContainer::Lost => !serves || !done,
            ModelContainer::Running | ModelContainer::Broken => serves,
            ModelContainer::Stopped => serves && !done,
        };
        if !alone {
            return Err(format!("at rest the {name} one runs, or is gone"));
        }
    }
    Ok(())
}
