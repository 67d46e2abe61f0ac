//! The scripts: what is done in which order. The order is the safety; change it with `model` at hand.

use std::collections::VecDeque;

use super::{Beginning, OnStepFailure, PlannedStep, RolloutAction, Verdict};
use crate::config::app_file::Order;
use crate::state::{Blocked, ContainerId, Failure, Instance, Phase, Purpose, Release, State, in_short};
use autotag_protocol::{FailureCode, RolloutStep};

type Script = VecDeque<PlannedStep>;

fn act(step: RolloutAction, on_failure: OnStepFailure) -> PlannedStep {
    PlannedStep { step, on_failure }
}

fn save(state: State, on_failure: OnStepFailure) -> PlannedStep {
    act(RolloutAction::Save(Box::new(state)), on_failure)
}

/// Up to the container's creation; the rest is [`prove`], which needs the container's id.
pub(super) fn try_new(state: &State, active: Option<&Instance>, new: &Release) -> Script {
    let pending = Phase::Pending { active: active.cloned(), new: new.clone() };
    Script::from([
        save(state.in_phase(pending), OnStepFailure::Abort),
        act(RolloutAction::Pull(new.clone()), OnStepFailure::Abort),
        act(RolloutAction::Create(new.clone()), OnStepFailure::Abort),
    ])
}

/// From a created container to the end of a rollout.
pub(super) fn prove(state: &State, new: Instance) -> Script {
    let old = state.active().cloned();
    let mut script = Script::new();
    if let (Order::StopFirst, Some(old)) = (new.release.order, &old) {
        script.extend([
            act(RolloutAction::Hold, OnStepFailure::Abort),
            act(RolloutAction::Drain(old.clone()), OnStepFailure::Continue),
            act(RolloutAction::Stop(old.clone()), OnStepFailure::Abort),
        ]);
    }
    let committed = commit(state, new.clone(), old);
    script.extend([
        act(RolloutAction::Start(new.clone()), OnStepFailure::Abort),
        act(RolloutAction::AwaitHealthy(new.clone()), OnStepFailure::Abort),
        act(RolloutAction::Smoke(new), OnStepFailure::Abort),
        save(committed.clone(), OnStepFailure::Abort),
    ]);
    script.extend(switch_and_verify(&committed));
    script
}

/// THE commit: from here on the new one is what shall serve.
fn commit(state: &State, new: Instance, old: Option<Instance>) -> State {
    let version = &new.release.version;
    let higher = state.highest.as_ref().is_none_or(|highest| version.cmp_precedence(highest).is_gt());
    let highest = if higher { Some(version.clone()) } else { state.highest.clone() };
    State { highest, ..state.in_phase(Phase::Unverified { new, old }) }
}

/// From the commit to the end. The old one is not touched before the verification is durable.
fn switch_and_verify(committed: &State) -> Script {
    let Phase::Unverified { new, old } = &committed.change else { return Script::new() };
    let verified = verified(committed, new, old.as_ref());
    let mut script = Script::from([
        act(RolloutAction::Switch(new.clone()), OnStepFailure::RollTrafficBack),
        act(RolloutAction::Verify(new.clone()), OnStepFailure::RollTrafficBack),
        save(verified.clone(), OnStepFailure::Halt),
    ]);
    if let Phase::Leaving { leaving, .. } = &verified.change {
        script.extend(retire(&verified, leaving));
    }
    script.push_back(act(RolloutAction::Prune, OnStepFailure::Continue));
    script
}

/// The new one has passed: it is in the history, and what a rollback left is bad.
fn verified(committed: &State, new: &Instance, old: Option<&Instance>) -> State {
    let active = Some(new.clone());
    let phase = match old {
        Some(old) => {
            Phase::Leaving { active, leaving: old.clone(), turned_back: false, order: new.release.order }
        }
        None => Phase::Steady { active },
    };
    let mut state = committed.in_phase(phase);
    state.blocked.remove(&new.release.version);
    if let Some(old) = old
        && new.release.purpose == Purpose::Rollback
        && old.release.version != new.release.version
    {
        let why = format!("rolled back to {}", new.release.version);
        state.blocked.insert(old.release.version.clone(), Blocked { since: new.release.at, why });
    }
    state.remember(&new.release, None);
    state
}

/// Another container has taken the place of one that was removed.
pub(super) fn rename(script: &mut Script, gone: &ContainerId, made: &ContainerId) {
    for act in script {
        match &mut act.step {
            RolloutAction::Save(state) => **state = state.renamed(gone, made),
            RolloutAction::Remake(it)
            | RolloutAction::Start(it)
            | RolloutAction::AwaitHealthy(it)
            | RolloutAction::Smoke(it)
            | RolloutAction::Switch(it)
            | RolloutAction::Verify(it)
            | RolloutAction::Drain(it)
            | RolloutAction::Stop(it)
            | RolloutAction::Remove(it) => {
                if it.container == *gone {
                    it.container = made.clone();
                }
            }
            RolloutAction::Pull(_)
            | RolloutAction::Create(_)
            | RolloutAction::Hold
            | RolloutAction::Explain(_)
            | RolloutAction::Discard(_)
            | RolloutAction::Prune
            | RolloutAction::End(_) => {}
        }
    }
}

/// Takes a container out that has no traffic any more.
fn retire(state: &State, leaving: &Instance) -> Script {
    Script::from([
        act(RolloutAction::Drain(leaving.clone()), OnStepFailure::Continue),
        act(RolloutAction::Stop(leaving.clone()), OnStepFailure::Halt),
        act(RolloutAction::Remove(leaving.clone()), OnStepFailure::Halt),
        save(state.in_phase(Phase::Steady { active: state.active().cloned() }), OnStepFailure::Halt),
    ])
}

/// Makes sure that a container serves of which nothing is known, as after a reboot; it may have been removed.
///
/// It gets the traffic even where it is not healthy: there is nothing better, and requests that wait for
/// ever help nobody. It may not stay up any more, because the data has changed under it for example; so where
/// nobody else can have the traffic, what comes after must not wait for it ([`OnStepFailure::RetryLater`]).
fn restore(active: Option<&Instance>, on_failure: OnStepFailure) -> Script {
    match active {
        None => Script::from([act(RolloutAction::Hold, on_failure)]),
        Some(active) => Script::from([
            act(RolloutAction::Remake(active.clone()), on_failure),
            act(RolloutAction::Start(active.clone()), on_failure),
            act(RolloutAction::AwaitHealthy(active.clone()), OnStepFailure::Continue),
            act(RolloutAction::Switch(active.clone()), on_failure),
        ]),
    }
}

/// Before the commit: the new one goes. The old one is touched only where it was stopped for the new one.
pub(super) fn back_out(state: &State, active: Option<Instance>, new: &Release, failure: &Failure) -> Script {
    let mut script = Script::new();
    if matches!(failure.step, RolloutStep::Start | RolloutStep::Health | RolloutStep::Smoke) {
        script.push_back(act(RolloutAction::Explain(new.clone()), OnStepFailure::Continue));
    }
    let untouched = matches!(failure.step, RolloutStep::Pull | RolloutStep::Create);
    let restored = new.order == Order::StopFirst && active.is_some() && !untouched;
    script.extend(abandon(state, active, new, failure, restored));
    script
}

/// Removes the new one, which comes first: stop-first never lets both run.
fn abandon(
    state: &State,
    active: Option<Instance>,
    new: &Release,
    failure: &Failure,
    restored: bool,
) -> Script {
    let mut script = Script::from([act(RolloutAction::Discard(new.clone()), OnStepFailure::Halt)]);
    if restored {
        script.extend(restore(active.as_ref(), OnStepFailure::RetryLater));
    }
    let mut steady = state.in_phase(Phase::Steady { active });
    steady.remember(new, Some(failure.clone()));
    script.push_back(save(steady, OnStepFailure::Halt));
    script
}

/// After the commit: the decision is made durable first, so that a crash on the way does not try again.
pub(super) fn turn_back(
    state: &State,
    new: &Instance,
    old: Option<&Instance>,
    failure: &Failure,
    begun: Beginning,
) -> Script {
    let mut back = state.in_phase(Phase::Leaving {
        active: old.cloned(),
        leaving: new.clone(),
        turned_back: true,
        order: new.release.order,
    });
    // A new configuration of the version that goes on serving says nothing against the version.
    if old.is_none_or(|old| old.release.version != new.release.version) {
        let why = in_short(&format!("did not pass: {}", failure.why));
        back.blocked.insert(new.release.version.clone(), Blocked { since: new.release.at, why });
    }
    back.remember(&new.release, Some(failure.clone()));
    let mut script = Script::from([
        act(RolloutAction::Explain(new.release.clone()), OnStepFailure::Continue),
        save(back.clone(), OnStepFailure::RollTrafficBackAndHalt),
    ]);
    script.extend(go_back(&back, old, new, begun));
    script
}

/// The durable state still says that the new one is to be verified; a recovery will, and will come back.
/// Until then the old one serves, where it runs: nothing is stopped.
pub(super) fn give_back(state: &State, begun: Beginning) -> Script {
    match &state.change {
        Phase::Unverified { new, old: Some(old) } if new.release.order == Order::StartFirst => {
            let mut script = Script::new();
            if begun != Beginning::Clean {
                script.push_back(act(RolloutAction::Start(old.clone()), OnStepFailure::Continue));
            }
            script.push_back(act(RolloutAction::Switch(old.clone()), OnStepFailure::Continue));
            script
        }
        _ => Script::new(),
    }
}

/// From the new one, which is on its way out, back to the old one. Start-first the new one has the traffic, and
/// keeps it until the old one has; stop-first nobody has.
fn go_back(back: &State, old: Option<&Instance>, new: &Instance, begun: Beginning) -> Script {
    let mut script = Script::new();
    let Some(old) = old else {
        script.push_back(act(RolloutAction::Hold, OnStepFailure::Halt));
        script.extend(retire(back, new));
        return script;
    };
    match new.release.order {
        Order::StartFirst => {
            match begun {
                Beginning::Clean => {
                    script.push_back(act(RolloutAction::Switch(old.clone()), OnStepFailure::Halt));
                }
                Beginning::AfterCrash => script.extend(restore(Some(old), OnStepFailure::Halt)),
                // A start that fails is no proof: it may run all the same. That it cannot be switched to is.
                Beginning::AfterCrashWithDeployWaiting => script.extend([
                    act(RolloutAction::Remake(old.clone()), OnStepFailure::Continue),
                    act(RolloutAction::Start(old.clone()), OnStepFailure::Continue),
                    act(RolloutAction::AwaitHealthy(old.clone()), OnStepFailure::Continue),
                    act(RolloutAction::Switch(old.clone()), OnStepFailure::RecoverForNewDeploy),
                ]),
            }
            script.extend(retire(back, new));
        }
        Order::StopFirst => {
            script.extend([
                act(RolloutAction::Hold, OnStepFailure::Halt),
                act(RolloutAction::Drain(new.clone()), OnStepFailure::Continue),
                act(RolloutAction::Stop(new.clone()), OnStepFailure::Halt),
            ]);
            script.extend(restore(Some(old), OnStepFailure::RetryLater));
            script.extend(retire(back, new));
        }
    }
    script
}

/// The old one does not stay up, and another one is to be deployed: the new one, which did not pass, leaves all
/// the same.
pub(super) fn recover_for_new_deploy(state: &State) -> Script {
    let Phase::Leaving { leaving, .. } = &state.change else { return Script::new() };
    let mut script = Script::from([act(RolloutAction::Hold, OnStepFailure::Halt)]);
    script.extend(retire(state, leaving));
    script
}

/// From any durable state to a steady one.
pub(super) fn recover(state: &State, begun: Beginning) -> (Script, Verdict) {
    match &state.change {
        Phase::Steady { active } => (restore(active.as_ref(), OnStepFailure::RetryLater), Verdict::Settled),
        Phase::Pending { active, new } => {
            let failure = Failure {
                step: RolloutStep::Save,
                code: FailureCode::Interrupted,
                why: "the receiver was interrupted before the new version was proven".to_owned(),
            };
            let script = abandon(state, active.clone(), new, &failure, true);
            (script, Verdict::Failed(new.clone(), failure))
        }
        Phase::Unverified { new, old } => {
            (verify_again(state, new, old.as_ref()), Verdict::Serves(new.release.clone()))
        }
        Phase::Leaving { active, leaving, turned_back: true, .. } => {
            let failure = state
                .record_of(&leaving.release.deployment)
                .and_then(|record| record.failure.clone())
                .unwrap_or(Failure {
                    step: RolloutStep::Verify,
                    code: FailureCode::SmokeTest,
                    why: "it did not pass".to_owned(),
                });
            let script = go_back(state, active.as_ref(), leaving, begun);
            (script, Verdict::Failed(leaving.release.clone(), failure))
        }
        Phase::Leaving { active, leaving, turned_back: false, order } => {
            let mut script = Script::new();
            // A daemon that starts may start the old one too (`restart: always`).
            if *order == Order::StopFirst {
                script.push_back(act(RolloutAction::Stop(leaving.clone()), OnStepFailure::Halt));
            }
            // The one that leaves has had no traffic since the verification of the other.
            script.extend(restore(active.as_ref(), OnStepFailure::RetryLater));
            script.extend(retire(state, leaving));
            script.push_back(act(RolloutAction::Prune, OnStepFailure::Continue));
            let verdict =
                active.as_ref().map_or(Verdict::Settled, |active| Verdict::Serves(active.release.clone()));
            (script, verdict)
        }
    }
}

/// Traffic may be at either; what is committed gets one more chance to show that it works.
fn verify_again(state: &State, new: &Instance, old: Option<&Instance>) -> Script {
    let mut script = Script::new();
    if let (Order::StopFirst, Some(old)) = (new.release.order, old) {
        // The old one is stopped already, unless the commit was taken back in memory before the crash.
        script.extend([
            act(RolloutAction::Hold, OnStepFailure::RollTrafficBack),
            act(RolloutAction::Stop(old.clone()), OnStepFailure::RollTrafficBack),
        ]);
    }
    script.extend([
        act(RolloutAction::Start(new.clone()), OnStepFailure::RollTrafficBack),
        act(RolloutAction::AwaitHealthy(new.clone()), OnStepFailure::RollTrafficBack),
    ]);
    script.extend(switch_and_verify(state));
    script
}
