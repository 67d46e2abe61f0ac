//! Taking one deployment back: only that one, to what served before it, and once.

use super::*;
use crate::policy::rollout::{Rollout, RolloutAction, StepResult};
use crate::state::WITHDRAWN;
use crate::testing;
use autotag_model::reference::Digest;
use autotag_protocol::{Configuration, Open, RolloutStep};

fn file() -> AppFile {
    AppFile::parse("image: ghcr.io/org/app\nport: 1\nlisten: 1\n").expect("an app file")
}

fn config(text: &str) -> ConfigHash {
    Digest::of(text.as_bytes()).to_string().parse().unwrap()
}

fn at() -> Timestamp {
    "2026-02-03T04:05:06Z".parse().unwrap()
}

fn id(text: &str) -> DeploymentId {
    text.parse().unwrap()
}

fn version(text: &str) -> Version {
    text.parse().unwrap()
}

/// The deployment of this version, unless it has another.
fn of(version: &str) -> DeploymentId {
    testing::release(version).deployment
}

/// These versions were deployed, each by a deployment of its own; the last one serves.
fn deployed(versions: &[&str]) -> State {
    versions.iter().fold(State::new("app".parse().unwrap()), |state, version| {
        rolled_out(state, testing::release(version))
    })
}

fn rolled_out(state: State, release: Release) -> State {
    tried(state, release, |_| StepResult::Done)
}

fn failing(state: State, release: Release) -> State {
    let fails = |step: &RolloutAction| match step {
        RolloutAction::AwaitHealthy(_) => {
            StepResult::Failed(crate::state::StepError::new(autotag_protocol::FailureCode::Unhealthy, "503"))
        }
        _ => StepResult::Done,
    };
    tried(state, release, fails)
}

fn tried(state: State, release: Release, becomes: impl Fn(&RolloutAction) -> StepResult) -> State {
    let mut rollout = Rollout::begin(state, release).expect("steady");
    loop {
        let event = match rollout.step() {
            RolloutAction::End(_) => return rollout.state().clone(),
            RolloutAction::Create(_) => StepResult::Created("b".repeat(64).parse().unwrap()),
            step => becomes(&step),
        };
        rollout = rollout.next(event);
    }
}

fn revert(deployment: &DeploymentId) -> Rollback {
    Rollback {
        deployment: id(&format!("{deployment}-back")),
        to: None,
        reverts: Some(deployment.clone()),
        configuration: Configuration::Then,
        credential: None,
        run: String::new(),
    }
}

/// What becomes of it: the state afterwards, and the answer.
fn reverted(state: &State, deployment: &DeploymentId) -> (State, End) {
    let request = revert(deployment);
    let refusal = |refused: Refused| End::Refused { code: refused.code.into(), message: refused.message };
    match known_rollback(&request, state) {
        Ok(Some(known)) => return (state.clone(), known.end()),
        Ok(None) => {}
        Err(refused) => return (state.clone(), refusal(refused)),
    }
    match way_back(&request, Asker::Key, state) {
        Ok(WayBack::To(target)) => {
            let admitted = rollback(&request, target, &file(), state, &target.release.config, at());
            let Ok(Admitted::RollOut(release)) = admitted else { panic!("{admitted:?}") };
            let after = rolled_out(state.clone(), release);
            let end = after.record_of(&request.deployment).expect("it was done").end();
            (after, end)
        }
        Ok(WayBack::Withdraw(deployment, end)) => {
            (state.with_withdrawn(deployment).unwrap_or_else(|| state.clone()), end)
        }
        Err(refused) => (state.clone(), refusal(refused)),
    }
}

fn serves(state: &State) -> String {
    state.active().map_or("nothing".to_owned(), |active| active.release.version.to_string())
}

fn code(end: &End) -> Option<RefusalCode> {
    match end {
        End::Refused { code, .. } => code.known(),
        _ => None,
    }
}

fn request(version: &str, deployment: &DeploymentId) -> Deploy {
    let release = testing::release(version);
    Deploy {
        deployment: deployment.clone(),
        image: release.image,
        digest: release.digest,
        version: release.version,
        commit: release.commit,
        allow_downgrade: true,
        environment: BTreeMap::new(),
        credential: None,
        run: String::new(),
    }
}

// invariant server-order: Only what a run deployed itself is reverted
/// The run of 2.0.0 fails on another server when 3.0.0 serves here already.
#[test]
fn what_came_over_a_deployment_stays_and_is_not_blocked() {
    let state = deployed(&["1.0.0", "2.0.0", "3.0.0"]);
    let (after, end) = reverted(&state, &of("2.0.0"));
    assert_eq!(code(&end), Some(RefusalCode::NewerIsLive), "{end:?}");
    let End::Refused { message, .. } = end else { panic!("refused") };
    assert!(message.contains("2.0.0 (deployment-2-0-0)") && message.contains("3.0.0 (deployment-3-0-0)"));
    assert_eq!((after.active(), &after.history), (state.active(), &state.history));
    assert!(after.blocked.is_empty() && after.highest == Some(version("3.0.0")));
    // A rollback by hand is as good a reason.
    let (back, end) = reverted(&deployed(&["1.0.0", "2.0.0"]), &of("2.0.0"));
    assert_eq!((serves(&back), end), ("1.0.0".to_owned(), End::RolledBack {}));
    let again = Rollback { deployment: id("another-back"), ..revert(&of("2.0.0")) };
    let Ok(WayBack::Withdraw(_, end)) = way_back(&again, Asker::Key, &back) else {
        panic!("it does not serve any more")
    };
    assert_eq!(code(&end), Some(RefusalCode::NewerIsLive));
}

// invariant server-order: Two runs that fail leave neither's version; broken by:
//   `crates/receiver/src/state/mod.rs`: what served last before counts, withdrawn or not
/// Both runs fail on another server: neither's version may be left here.
#[test]
fn nothing_goes_back_to_what_was_to_be_reverted_itself() {
    let state = deployed(&["1.0.0", "2.0.0", "3.0.0"]);
    let (state, _) = reverted(&state, &of("2.0.0"));
    let (state, end) = reverted(&state, &of("3.0.0"));
    assert_eq!((serves(&state), end), ("1.0.0".to_owned(), End::RolledBack {}));
}

/// Another run was to deploy the very same, touched nothing, and has told its people that it serves.
#[test]
fn what_another_run_found_serving_is_not_reverted_for_one() {
    let state = deployed(&["1.0.0", "2.0.0"]);
    let shared = State { shared: Some(of("2.0.0")), ..state };
    let (after, end) = reverted(&shared, &of("2.0.0"));
    assert_eq!((code(&end), &after), (Some(RefusalCode::NewerIsLive), &shared));
    // That says nothing of what is deployed later.
    let later = rolled_out(shared, testing::release("3.0.0"));
    let (later, end) = reverted(&later, &of("3.0.0"));
    assert_eq!((serves(&later), end), ("2.0.0".to_owned(), End::RolledBack {}));
}

#[test]
fn a_revert_goes_to_what_served_directly_before() {
    // After a rollback, and a version that failed, 1.0.0 was what 3.0.0 replaced.
    let state = deployed(&["1.0.0", "2.0.0"]);
    let (state, _) = reverted(&state, &of("2.0.0"));
    let state = failing(state, testing::release("2.5.0"));
    let state = rolled_out(state, testing::release("3.0.0"));
    let (state, end) = reverted(&state, &of("3.0.0"));
    assert_eq!((serves(&state), end), ("1.0.0".to_owned(), End::RolledBack {}));
    assert!(state.blocked.contains_key(&version("3.0.0")), "it is as any version that was rolled back");
}

#[test]
fn reverting_a_downgrade_goes_up_and_blocks_nothing() {
    let lower = Release { deployment: id("downgrade-1"), ..testing::release("1.0.0") };
    let state = rolled_out(deployed(&["1.0.0", "2.0.0"]), lower);
    let (state, end) = reverted(&state, &id("downgrade-1"));
    assert_eq!((serves(&state), end), ("2.0.0".to_owned(), End::Deployed {}));
    assert!(state.blocked.is_empty(), "{:?}", state.blocked);
}

/// The deployment brought variables, not a version.
#[test]
fn another_configuration_of_one_version_is_reverted_too() {
    let given = Release { deployment: id("variables"), config: config("other"), ..testing::release("1.0.0") };
    let state = rolled_out(deployed(&["1.0.0"]), given);
    let (state, end) = reverted(&state, &id("variables"));
    assert_eq!(end, End::Deployed {});
    let release = &state.active().expect("it serves").release;
    assert_eq!((&release.config, release.version.to_string().as_str()), (&config("config"), "1.0.0"));
    assert!(state.blocked.is_empty(), "{:?}", state.blocked);
    // Where even that is the same, it is done: an answer that nothing was touched means something else.
    let same = Release { deployment: id("the-same"), ..testing::release("1.0.0") };
    let (state, end) = reverted(&rolled_out(state, same), &id("the-same"));
    assert_eq!((end, state.history.len()), (End::Deployed {}, 5));
}

#[test]
fn the_first_deployment_cannot_be_reverted_and_stays() {
    let (state, end) = reverted(&deployed(&["1.0.0"]), &of("1.0.0"));
    assert_eq!((code(&end), serves(&state)), (Some(RefusalCode::NotRecorded), "1.0.0".to_owned()));
    assert!(state.withdrawn.is_empty(), "what serves is not withdrawn");
    // Nor has the second one, where the first was to be reverted.
    let state = deployed(&["1.0.0", "2.0.0"]).with_withdrawn(&of("1.0.0")).expect("new");
    assert_eq!(code(&reverted(&state, &of("2.0.0")).1), Some(RefusalCode::NotRecorded));
}

#[test]
fn reverting_a_failed_or_missing_deployment_changes_nothing() {
    let state = failing(deployed(&["1.0.0"]), testing::release("2.0.0"));
    let (state, end) = reverted(&state, &of("2.0.0"));
    assert_eq!((end, serves(&state)), (End::Unchanged {}, "1.0.0".to_owned()));
    // Its request is still on its way.
    let late = id("late-deployment");
    let (state, end) = reverted(&state, &late);
    assert_eq!((end, serves(&state)), (End::Unchanged {}, "1.0.0".to_owned()));
    let refused = deploy(&request("3.0.0", &late), Asker::Owner, &file(), &state, &config("config"), at())
        .expect_err("late");
    assert_eq!(refused.code, RefusalCode::IdTaken);
    let other =
        deploy(&request("3.0.0", &id("in-time-1")), Asker::Owner, &file(), &state, &config("config"), at());
    assert!(matches!(other, Ok(Admitted::RollOut(_))), "{other:?}");
    // The same on a server that has nothing yet.
    let (state, end) = reverted(&State::new("app".parse().unwrap()), &late);
    assert_eq!((end, serves(&state)), (End::Unchanged {}, "nothing".to_owned()));
    assert!(known_deploy(&request("3.0.0", &late), &state).is_err());
}

/// Its answer was lost, or its request came twice.
#[test]
fn a_repeated_request_to_revert_does_nothing_more() {
    let before = deployed(&["1.0.0", "2.0.0"]);
    let (state, first) = reverted(&before, &of("2.0.0"));
    let (again, second) = reverted(&state, &of("2.0.0"));
    assert_eq!((&again, second), (&state, first));
    // Also where something came over it meanwhile.
    let later = rolled_out(state, testing::release("3.0.0"));
    assert_eq!(reverted(&later, &of("2.0.0")), (later.clone(), End::RolledBack {}));
    // An id that was something else tells nothing of this.
    for (deployment, reverts) in
        [("deployment-3-0-0", "deployment-2-0-0"), ("deployment-2-0-0-back", "other-one")]
    {
        let request = Rollback { deployment: id(deployment), ..revert(&id(reverts)) };
        let refused = known_rollback(&request, &later).expect_err("another");
        assert_eq!(refused.code, RefusalCode::IdTaken, "{deployment} for {reverts}");
    }
    // What did not serve is not withdrawn twice, and a later one changes nothing of the answer.
    let (state, _) = reverted(&before, &id("late-deployment"));
    let later = rolled_out(state, testing::release("3.0.0"));
    assert_eq!(reverted(&later, &id("late-deployment")), (later.clone(), End::Unchanged {}));
}

/// It serves again after a revert that failed, and that one may be tried again under another id.
#[test]
fn a_failed_revert_is_reported_as_failed() {
    let state = deployed(&["1.0.0", "2.0.0"]);
    let request = revert(&of("2.0.0"));
    let Ok(WayBack::To(target)) = way_back(&request, Asker::Key, &state) else { panic!("it serves") };
    let admitted = rollback(&request, target, &file(), &state, &target.release.config, at());
    let Ok(Admitted::RollOut(release)) = admitted else { panic!("{admitted:?}") };
    let state = failing(state, release);
    assert_eq!(serves(&state), "2.0.0");
    let (state, end) = reverted(&state, &of("2.0.0"));
    assert!(matches!(end, End::Failed { step: Open::Known(RolloutStep::Health), .. }), "{end:?}");
    let another = Rollback { deployment: id("another-back"), ..request };
    let Ok(WayBack::To(target)) = way_back(&another, Asker::Key, &state) else { panic!("it serves still") };
    assert_eq!(target.release.version, version("1.0.0"));
}

#[test]
fn a_revert_works_where_the_container_was_removed_manually() {
    let lost = deployed(&["1.0.0", "2.0.0"]).in_phase(Phase::Steady { active: None });
    let (state, end) = reverted(&lost, &of("2.0.0"));
    assert_eq!((serves(&state), end), ("1.0.0".to_owned(), End::Deployed {}));
}

#[test]
fn nothing_is_reverted_on_top_of_what_is_not_finished() {
    let state = deployed(&["1.0.0", "2.0.0"]);
    let active = state.active().cloned();
    let pending = State { change: Phase::Pending { active, new: testing::release("3.0.0") }, ..state };
    for deployment in ["2.0.0", "3.0.0", "9.9.9"].map(of) {
        let refused = way_back(&revert(&deployment), Asker::Key, &pending).expect_err("not finished");
        assert_eq!(refused.code, RefusalCode::Unfinished, "{deployment}");
    }
}

#[test]
fn what_is_withdrawn_is_kept_within_bounds() {
    let mut state = deployed(&["1.0.0"]);
    for number in 0..=WITHDRAWN {
        state = state.with_withdrawn(&id(&format!("withdrawn-{number}"))).expect("a new one");
    }
    assert_eq!(state.withdrawn.len(), WITHDRAWN);
    assert!(!state.withdrawn.contains(&id("withdrawn-0")) && state.withdrawn.contains(&id("withdrawn-1")));
    assert_eq!(state.with_withdrawn(&id("withdrawn-1")), None);
}
