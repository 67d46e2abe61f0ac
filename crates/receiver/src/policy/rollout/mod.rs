//! The rollout: which step comes next, after success, after failure, and after a crash. Pure.
//!
//! A rollout is a script of steps, and each step says what its failure means ([`OnStepFailure`]). A driver carries
//! out [`Rollout::step`] and tells [`Rollout::next`] what became of it, until [`Step::End`]. After a crash
//! [`Rollout::recover`] makes a new script from nothing but the durable state.
//!
//! What the scripts keep, and `model` checks over every sequence of successes, failures and crashes:
//!
//! - traffic is only ever sent to a container that runs, and to a new one only after the commit is durable;
//! - start-first: the old one runs, and has the traffic, until the new one has passed every test;
//! - stop-first: never both run; the old one is kept until the new one is verified, and started again if not;
//! - any number of crashes later, recovery ends with one container: that of the version that serves;
//! - what serves, or served before, is made again where somebody removed its container: from the record;
//! - whatever does not stay up, or cannot be made again, a later deployment of a version that works comes to serve.
//!
//! Every step can be repeated: stopping what is stopped and removing what is gone succeed. A step that is
//! told to have failed may have had its effect.

#[cfg(test)]
mod model;
mod script;
#[cfg(test)]
mod tests;

use std::collections::VecDeque;

use crate::state::{ContainerId, Failure, Instance, Phase, Release, State, StepError};
use autotag_protocol::{FailureCode, RolloutStep};

/// What the driver is to do.
///
/// For a release that the proxy does not serve (`proxy: none`), `Switch`, `Hold`, `Verify` and `Drain` have
/// nothing to do and succeed.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum RolloutAction {
    /// Make this state durable.
    Save(Box<State>),
    /// Pull by digest, and compare the image's labels (`admit::labels`).
    Pull(Release),
    /// Create its container, not started; the answer is [`StepResult::Created`].
    Create(Release),
    /// Make sure that a container that served is there: one that somebody removed is made again, from its
    /// release and the settings of then, not started. The answer is [`StepResult::Created`] where its id is another.
    Remake(Instance),
    /// Start a container; one that runs is left alone.
    Start(Instance),
    /// Wait until it is healthy and has been for its stability window, to its deadline.
    AwaitHealthy(Instance),
    /// Smoke tests on the container itself.
    Smoke(Instance),
    /// Take the application's upstream away: requests wait, up to the proxy's limit.
    Hold,
    /// Point the proxy there. It fails unless the container runs; the address is found at that moment.
    Switch(Instance),
    /// Smoke tests through the proxy.
    Verify(Instance),
    /// Wait for its requests in flight, up to the app file's limit; then close its WebSockets.
    Drain(Instance),
    /// Stop it with its grace period.
    Stop(Instance),
    /// Remove it.
    Remove(Instance),
    /// Report the last log lines and the health log of the release's container.
    Explain(Release),
    /// Stop and remove whatever containers carry this deployment's label.
    Discard(Release),
    /// Remove images that neither run nor are needed for a rollback.
    Prune,
    /// It is over.
    End(Ending),
}

impl RolloutAction {
    /// The step as people see it; `None` for the end.
    pub fn rollout_step(&self) -> Option<RolloutStep> {
        Some(match self {
            Self::Save(_) => RolloutStep::Save,
            Self::Pull(_) => RolloutStep::Pull,
            Self::Create(_) | Self::Remake(_) => RolloutStep::Create,
            Self::Start(_) => RolloutStep::Start,
            Self::AwaitHealthy(_) => RolloutStep::Health,
            Self::Smoke(_) => RolloutStep::Smoke,
            Self::Hold => RolloutStep::Hold,
            Self::Switch(_) => RolloutStep::Switch,
            Self::Verify(_) => RolloutStep::Verify,
            Self::Drain(_) => RolloutStep::Drain,
            Self::Stop(_) => RolloutStep::Stop,
            Self::Remove(_) | Self::Discard(_) => RolloutStep::Remove,
            Self::Explain(_) => RolloutStep::Explain,
            Self::Prune => RolloutStep::Prune,
            Self::End(_) => return None,
        })
    }
}

/// What became of a step.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StepResult {
    /// It is done.
    Done,
    /// [`Step::Create`] or [`Step::Remake`] is done; this is the container.
    Created(ContainerId),
    /// It is not, or it is not known to be; why, for people.
    Failed(StepError),
}

/// How a rollout or a recovery ended.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Ending {
    /// What came of it.
    pub verdict: Verdict,
    /// What failed without changing the verdict.
    pub notes: Vec<Failure>,
    /// Where it had to stop before everything was tidy, or why what should serve does not. The durable state
    /// knows how to go on: recover, at the next request or after a pause, from the state that is read back.
    pub unfinished: Option<Failure>,
}

/// What came of it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Verdict {
    /// The new release serves.
    Serves(Release),
    /// It does not; what served before does again, or still.
    Failed(Release, Failure),
    /// Nothing had been under way.
    Settled,
}

/// What a step's failure means.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum OnStepFailure {
    /// Nobody was sent to the new one yet: remove it, the old one serves.
    Abort,
    /// The new one has, or may have, the traffic: give it back to the old one.
    RollTrafficBack,
    /// The way back could not be made durable: give the traffic back all the same, stop there.
    RollTrafficBackAndHalt,
    /// Go on, and say so.
    Continue,
    /// Go on, and try it again when all is over: what should serve does not stay up, and nothing that comes
    /// after it may wait for that.
    RetryLater,
    /// What should serve does not stay up, and somebody waits: the one with the traffic, which did not pass,
    /// makes way.
    RecoverForNewDeploy,
    /// Stop here; the durable state says how to go on.
    Halt,
}

/// How a rollout or a recovery began.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Beginning {
    /// From a state that is known to be so.
    Clean,
    /// After a crash, so that nothing is known to run.
    AfterCrash,
    /// The same, and a deployment waits for the end of it.
    AfterCrashWithDeployWaiting,
}

/// A step and what its failure means.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct PlannedStep {
    step: RolloutAction,
    on_failure: OnStepFailure,
}

/// There is something to recover first.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("an earlier deployment is not finished")]
pub struct Unfinished;

/// A rollout or a recovery under way.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Rollout {
    /// As it was last made durable for certain.
    state: State,
    /// The step at hand, and those behind it.
    script: VecDeque<PlannedStep>,
    begun: Beginning,
    verdict: Verdict,
    notes: Vec<Failure>,
    unfinished: Option<Failure>,
}

impl Rollout {
    /// Begins to roll a release out; only from [`Phase::Steady`].
    pub fn begin(state: State, release: Release) -> Result<Self, Unfinished> {
        let Phase::Steady { active } = &state.change else { return Err(Unfinished) };
        let script = script::try_new(&state, active.as_ref(), &release);
        let verdict = Verdict::Serves(release);
        Ok(Self { state, script, begun: Beginning::Clean, verdict, notes: Vec::new(), unfinished: None })
    }

    /// Goes on after a crash, or after an ending that was unfinished; and, where nothing was under way,
    /// makes sure that what should serve does.
    pub fn recover(state: State) -> Self {
        Self::go_on(state, Beginning::AfterCrash)
    }

    /// The same for a deployment that waits, and ends in [`Phase::Steady`] whatever does not stay up.
    ///
    /// The difference is a version that did not pass its verification, start-first, while the one before it
    /// does not stay up any more. By itself a recovery leaves the traffic where it is, and goes on trying
    /// the one before: there is nothing better. Here there may be, so what did not pass is removed.
    pub fn recover_for_new_deploy(state: State) -> Self {
        Self::go_on(state, Beginning::AfterCrashWithDeployWaiting)
    }

    fn go_on(state: State, begun: Beginning) -> Self {
        let (script, verdict) = script::recover(&state, begun);
        Self { state, script, begun, verdict, notes: Vec::new(), unfinished: None }
    }

    /// The step at hand.
    pub fn step(&self) -> RolloutAction {
        self.script.front().map_or_else(
            || {
                RolloutAction::End(Ending {
                    verdict: self.verdict.clone(),
                    notes: self.notes.clone(),
                    unfinished: self.unfinished.clone(),
                })
            },
            |act| act.step.clone(),
        )
    }

    /// The state as it was last made durable for certain.
    pub fn state(&self) -> &State {
        &self.state
    }

    /// Goes on from the step at hand. After the end it stays there.
    #[must_use]
    pub fn next(mut self, event: StepResult) -> Self {
        let Some(act) = self.script.pop_front() else { return self };
        match (act.step, event) {
            (RolloutAction::Create(release), StepResult::Created(container)) => {
                self.script = script::prove(&self.state, Instance { container, release });
            }
            // Durable before it is started: the state names what runs, whatever happens next.
            (RolloutAction::Remake(gone), StepResult::Created(container)) => {
                script::rename(&mut self.script, &gone.container, &container);
                let state = self.state.renamed(&gone.container, &container);
                self.script.push_front(PlannedStep {
                    step: RolloutAction::Save(Box::new(state)),
                    on_failure: act.on_failure,
                });
            }
            (step @ RolloutAction::Create(_), StepResult::Done) => {
                let error = StepError::new(FailureCode::Docker, "the container's id is not known");
                self.failed(&step, act.on_failure, error);
            }
            (step, StepResult::Failed(error)) => self.failed(&step, act.on_failure, error),
            (RolloutAction::Save(state), _) => self.state = *state,
            _ => {}
        }
        self
    }

    fn failed(&mut self, step: &RolloutAction, on_failure: OnStepFailure, error: StepError) {
        let Some(name) = step.rollout_step() else { return };
        let failure = Failure { step: name, code: error.code, why: error.why };
        match on_failure {
            OnStepFailure::Continue => self.notes.push(failure),
            // What comes after the first one follows from it.
            OnStepFailure::RetryLater if self.unfinished.is_some() => self.notes.push(failure),
            OnStepFailure::RetryLater => self.unfinished = Some(failure),
            OnStepFailure::RecoverForNewDeploy => {
                self.script = script::recover_for_new_deploy(&self.state);
                self.unfinished = Some(failure);
            }
            OnStepFailure::Halt => {
                self.script.clear();
                self.unfinished = Some(failure);
            }
            OnStepFailure::Abort => {
                if let Phase::Steady { active } | Phase::Pending { active, .. } = &self.state.change
                    && let Verdict::Serves(release) = &self.verdict
                {
                    let (active, release) = (active.clone(), release.clone());
                    self.script = script::back_out(&self.state, active, &release, &failure);
                    self.verdict = Verdict::Failed(release, failure);
                }
            }
            OnStepFailure::RollTrafficBack => {
                if let Phase::Unverified { new, old } = &self.state.change {
                    let (new, old) = (new.clone(), old.clone());
                    self.script = script::turn_back(&self.state, &new, old.as_ref(), &failure, self.begun);
                    self.verdict = Verdict::Failed(new.release, failure);
                }
            }
            OnStepFailure::RollTrafficBackAndHalt => {
                self.script = script::give_back(&self.state, self.begun);
                self.unfinished = Some(failure);
            }
        }
    }
}
