//! The small world: containers, a proxy, a disk, and what steps and faults do to them.

use std::hash::{Hash, Hasher};
use std::mem::discriminant;

use super::*;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Container {
    Absent,
    Stopped,
    Running,
    /// It has ended by itself, and does so again at once whenever it is started.
    Broken,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct World {
    pub(super) disk: State,
    pub(super) old: Container,
    pub(super) new: Container,
    /// The one of the version that is deployed when all this is over.
    pub(super) next: Container,
    /// Where the proxy points.
    pub(super) proxy: Option<ContainerId>,
    /// Whether the new one was ever committed to.
    pub(super) committed: bool,
    /// The tests that the new one has passed.
    pub(super) passed: Passed,
    /// After a reboot the world, not the machine, decides for a while what runs.
    pub(super) rebooted: bool,
    /// A deployment waits for the end of a recovery: what did not pass may have made way for it.
    pub(super) awaited: bool,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub(super) struct Passed {
    pub(super) health: bool,
    pub(super) smoke: bool,
    pub(super) front_door: bool,
}

/// Only what tells most of them apart: the whole is kilobytes, and equality sees to the rest.
impl Hash for World {
    fn hash<H: Hasher>(&self, into: &mut H) {
        let Self { disk, old, new, next, proxy, committed, passed, rebooted, awaited } = self;
        (old, new, next, proxy, committed, passed, (rebooted, awaited), disk.history.len()).hash(into);
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

pub(super) const NEXT: &str = "1.2.0";

/// The container that is made for a release.
pub(super) fn id_for(release: &Release) -> ContainerId {
    if release.version.to_string() == NEXT { next_id() } else { new_id() }
}

pub(super) fn release(version: &str, order: Order) -> Release {
    Release { order, ..testing::release(version) }
}

pub(super) fn failed() -> Event {
    Event::Failed("as the model wanted".to_owned())
}

impl World {
    fn container(&mut self, id: &ContainerId) -> &mut Container {
        match id {
            id if *id == old_id() => &mut self.old,
            id if *id == next_id() => &mut self.next,
            _ => &mut self.new,
        }
    }

    /// Whether the step can succeed: nothing can be done with a container that is not there.
    pub(super) fn allows(&mut self, step: &Step) -> bool {
        match step {
            Step::Start(it) => *self.container(&it.container) != Container::Absent,
            Step::AwaitHealthy(it) | Step::Smoke(it) | Step::Switch(it) => {
                *self.container(&it.container) == Container::Running
            }
            Step::Verify(it) => self.proxy.as_ref() == Some(&it.container),
            _ => true,
        }
    }

    pub(super) fn apply(&mut self, step: &Step) {
        match step {
            Step::Save(state) => {
                self.committed |= matches!(state.change, Phase::Unverified { .. });
                self.disk = (**state).clone();
            }
            Step::Create(release) => *self.container(&id_for(release)) = Container::Stopped,
            Step::Start(it) => {
                let container = self.container(&it.container);
                if *container == Container::Stopped {
                    *container = Container::Running;
                }
            }
            Step::Hold => self.proxy = None,
            Step::Switch(it) => {
                self.proxy = Some(it.container.clone());
                self.awaited &= !matches!(self.disk.change, Phase::Steady { .. });
            }
            Step::Stop(it) => {
                let container = self.container(&it.container);
                if *container == Container::Running {
                    *container = Container::Stopped;
                }
            }
            Step::Remove(it) => *self.container(&it.container) = Container::Absent,
            Step::Discard(release) => *self.container(&id_for(release)) = Container::Absent,
            Step::Pull(_)
            | Step::AwaitHealthy(_)
            | Step::Smoke(_)
            | Step::Verify(_)
            | Step::Drain(_)
            | Step::Explain(_)
            | Step::Prune
            | Step::End(_) => {}
        }
    }

    /// What a step that was told to have succeeded has shown.
    pub(super) fn pass(&mut self, step: &Step) {
        match step {
            Step::AwaitHealthy(it) if it.container == new_id() => self.passed.health = true,
            Step::Smoke(it) if it.container == new_id() => self.passed.smoke = true,
            Step::Verify(it) if it.container == new_id() => self.passed.front_door = true,
            _ => {}
        }
    }

    /// One of the containers ends, and does not stay up from now on.
    pub(super) fn breaks(&self) -> Vec<(&'static str, Self)> {
        let mut found = Vec::new();
        if self.old == Container::Running {
            found.push(("the old one does not stay up", Self { old: Container::Broken, ..self.clone() }));
        }
        if self.new == Container::Running {
            found.push(("the new one does not stay up", Self { new: Container::Broken, ..self.clone() }));
        }
        found
    }

    /// What decides the future: without what was only noted to be checked.
    pub(super) fn bare(&self) -> Self {
        let (committed, rebooted, awaited) = (false, false, false);
        Self { committed, rebooted, awaited, passed: Passed::default(), ..self.clone() }
    }

    pub(super) fn has_broken(&self) -> bool {
        [self.old, self.new].contains(&Container::Broken)
    }

    pub(super) fn reboot(&self, which: &str) -> Self {
        let mut world = Self { proxy: None, rebooted: true, ..self.clone() };
        for container in [&mut world.old, &mut world.new] {
            *container = match (*container, which) {
                (Container::Absent | Container::Broken, _) => *container,
                (_, "reboot, none runs") => Container::Stopped,
                (_, "reboot, all run") => Container::Running,
                (as_before, _) => as_before,
            };
        }
        world
    }
}

pub(super) const REBOOTS: [&str; 3] = ["reboot, none runs", "reboot, as before", "reboot, all run"];

/// At most one container is left: that of the version that serves. Where nothing is left to be done it runs,
/// unless it does not stay up.
pub(super) fn check_alone(world: &World, done: bool) -> Result<(), String> {
    let serving = world.disk.active().map(|active| &active.container);
    for (name, id, container) in [("old", old_id(), world.old), ("new", new_id(), world.new)] {
        let alone = match container {
            Container::Absent => serving != Some(&id),
            Container::Running | Container::Broken => serving == Some(&id),
            Container::Stopped => serving == Some(&id) && !done,
        };
        if !alone {
            return Err(format!("at rest the {name} one runs, or is gone"));
        }
    }
    Ok(())
}
