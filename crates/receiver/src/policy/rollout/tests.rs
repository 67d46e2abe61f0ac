//! What the whole graph (`model`) does not tell apart: each ends well, and one of them does too much.

use super::*;
use crate::config::app_file::Order;
use crate::testing;

fn begun(order: Order) -> Rollout {
    let new = Release { order, ..testing::release("1.1.0") };
    Rollout::begin(testing::steady("1.0.0"), new).expect("steady")
}

#[test]
fn a_container_whose_id_nobody_knows_was_not_made() {
    let mut rollout = begun(Order::StartFirst);
    while !matches!(rollout.step(), RolloutAction::Create(_)) {
        rollout = rollout.next(StepResult::Done);
    }
    let mut rollout = rollout.next(StepResult::Done);
    assert!(matches!(rollout.step(), RolloutAction::Discard(_)), "{:?}", rollout.step());
    let ending = loop {
        match rollout.step() {
            RolloutAction::End(ending) => break ending,
            _ => rollout = rollout.next(StepResult::Done),
        }
    };
    let Verdict::Failed(_, failure) = ending.verdict else { panic!("{ending:?}") };
    assert_eq!(
        (failure.step, failure.why.as_str()),
        (RolloutStep::Create, "the container's id is not known")
    );
}

/// A container that was never stopped is not started and not switched to: that would touch what serves.
#[test]
fn aborting_starts_the_old_container_only_if_stopped() {
    use RolloutStep::{Create, Health, Pull, Start};
    let state = testing::steady("1.0.0");
    for (order, with_old, step, restored) in [
        (Order::StopFirst, true, Health, true),
        (Order::StopFirst, true, Start, true),
        (Order::StopFirst, true, Pull, false),
        (Order::StopFirst, true, Create, false),
        (Order::StopFirst, false, Health, false),
        (Order::StartFirst, true, Health, false),
        (Order::StartFirst, true, Pull, false),
        (Order::StartFirst, false, Health, false),
    ] {
        let new = Release { order, ..testing::release("1.1.0") };
        let active = state.active().cloned().filter(|_| with_old);
        let failure = Failure { step, code: FailureCode::Docker, why: "it does".to_owned() };
        let script = script::back_out(&state, active, &new, &failure);
        let found = script.iter().any(|act| {
            matches!(act.step, RolloutAction::Start(_) | RolloutAction::Switch(_) | RolloutAction::Hold)
        });
        assert_eq!(found, restored, "{order:?}, an old one: {with_old}, {step:?} failed: {script:?}");
    }
}

/// The way back could not be made durable: the old one gets the traffic all the same, where it runs.
#[test]
fn traffic_goes_back_even_if_that_cannot_be_written_down() {
    for (order, begun, expected) in [
        (Order::StartFirst, Beginning::Clean, vec!["switch"]),
        (Order::StartFirst, Beginning::AfterCrash, vec!["start", "switch"]),
        (Order::StartFirst, Beginning::AfterCrashWithDeployWaiting, vec!["start", "switch"]),
        (Order::StopFirst, Beginning::Clean, vec![]),
        (Order::StopFirst, Beginning::AfterCrash, vec![]),
    ] {
        let state = testing::steady("1.0.0");
        let old = state.active().cloned();
        let new = testing::instance(Release { order, ..testing::release("1.1.0") });
        let state = state.in_phase(Phase::Unverified { new, old });
        let found: Vec<_> = script::give_back(&state, begun)
            .iter()
            .map(|act| match &act.step {
                RolloutAction::Start(it) if it.release.version.minor == 0 => "start",
                RolloutAction::Switch(it) if it.release.version.minor == 0 => "switch",
                other => panic!("{other:?}"),
            })
            .collect();
        assert_eq!(found, expected, "{order:?}, {begun:?}");
    }
}

/// What holds a recovery up is what failed first; the rest follows from it.
#[test]
fn the_first_postponed_step_is_the_reason() {
    let mut rollout = Rollout::recover(testing::steady("1.0.0"));
    let mut tried = Vec::new();
    let ending = loop {
        match rollout.step() {
            RolloutAction::End(ending) => break ending,
            step => {
                tried.push(step.rollout_step().expect("a step"));
                rollout = rollout.next(StepResult::Failed(StepError::new(
                    FailureCode::Docker,
                    format!("{} of them failed", tried.len()),
                )));
            }
        }
    };
    let unfinished = ending.unfinished.expect("it is to be tried again");
    assert_eq!((unfinished.step, unfinished.why.as_str()), (tried[0], "1 of them failed"));
    let noted: Vec<_> = ending.notes.iter().map(|failure| failure.step).collect();
    assert!(!noted.is_empty() && noted.len() < tried.len(), "{tried:?}: {noted:?}");
    assert_eq!(noted[0], tried[1]);
}
