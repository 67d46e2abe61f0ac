use super::*;
use crate::policy::rollout::{Rollout, RolloutAction, StepResult};
use crate::state::{Blocked, Failure};
use crate::testing;
use autotag_model::reference::Digest;
use autotag_protocol::{Configuration, RolloutStep};

const FILE: &str =
    "image: ghcr.io/org/app\nport: 1\nlisten: 1\nenvironment: {A: owner}\nallow_environment: [A, B, C, D]\n";

fn file() -> AppFile {
    AppFile::parse(FILE).expect("an app file")
}

fn config(text: &str) -> ConfigHash {
    Digest::of(text.as_bytes()).to_string().parse().unwrap()
}

fn request(version: &str) -> Deploy {
    let release = testing::release(version);
    Deploy {
        deployment: format!("another-{}", version.replace('.', "-")).parse().unwrap(),
        image: release.image,
        digest: release.digest,
        version: release.version,
        commit: release.commit,
        allow_downgrade: false,
        environment: BTreeMap::new(),
        credential: None,
        run: String::new(),
    }
}

fn at() -> Timestamp {
    "2026-02-03T04:05:06Z".parse().unwrap()
}

fn ask(request: &Deploy, state: &State) -> Result<Admitted, Refused> {
    deploy(request, Asker::Owner, &file(), state, &config("config"), at())
}

fn code(result: Result<Admitted, Refused>) -> RefusalCode {
    result.expect_err("refused").code
}

/// 1.0.0, 1.1.0 and 1.3.0 were deployed; 1.3.0 serves.
fn state() -> State {
    let mut state = testing::steady("1.3.0");
    let earlier =
        ["1.0.0", "1.1.0"].map(|version| Record { release: testing::release(version), failure: None });
    state.history.splice(0..0, earlier);
    state
}

fn rolled_out(state: State, release: Release) -> State {
    let mut rollout = Rollout::begin(state, release).expect("steady");
    loop {
        let event = match rollout.step() {
            RolloutAction::End(_) => return rollout.state().clone(),
            RolloutAction::Create(_) => StepResult::Created("b".repeat(64).parse().unwrap()),
            _ => StepResult::Done,
        };
        rollout = rollout.next(event);
    }
}

#[test]
fn only_higher_versions_unless_a_downgrade_is_allowed() {
    let state = state();
    for (version, admitted) in
        [("1.3.1", true), ("2.0.0", true), ("1.2.9", false), ("1.3.0-rc.1", false), ("1.0.0", false)]
    {
        let request = request(version);
        match ask(&request, &state) {
            Ok(Admitted::RollOut(release)) if admitted => {
                assert_eq!(release.version.to_string(), version);
            }
            Err(refused) if !admitted => assert_eq!(refused.code, RefusalCode::NewerIsLive, "{version}"),
            other => panic!("{version}: {other:?}"),
        }
        let anyway = Deploy { allow_downgrade: true, ..request };
        assert!(matches!(ask(&anyway, &state), Ok(Admitted::RollOut(_))), "{version} anyway");
    }
    // The same version with another image is not higher either.
    let other = Deploy { digest: Digest::of(b"other"), ..request("1.3.0") };
    assert_eq!(code(ask(&other, &state)), RefusalCode::NewerIsLive);
    // The highest counts although something lower serves now.
    let lower = State { highest: Some("3.0.0".parse().unwrap()), ..state };
    assert_eq!(code(ask(&request("2.0.0"), &lower)), RefusalCode::NewerIsLive);
    assert!(matches!(ask(&request("0.0.1"), &State::new("app".parse().unwrap())), Ok(Admitted::RollOut(_))));
}

#[test]
fn the_same_image_and_configuration_is_left_alone() {
    let state = state();
    let Ok(Admitted::Unchanged(instance)) = ask(&request("1.3.0"), &state) else { panic!("unchanged") };
    assert_eq!(Some(&instance), state.active());
    let other = deploy(&request("1.3.0"), Asker::Key, &file(), &state, &config("other"), at());
    let Ok(Admitted::RollOut(release)) = other else { panic!("{other:?}") };
    assert_eq!(release.config, config("other"));
}

#[test]
fn only_the_app_files_repository_downgrade_or_not() {
    for allow_downgrade in [false, true] {
        let request =
            Deploy { image: "ghcr.io/org/other".parse().unwrap(), allow_downgrade, ..request("9.0.0") };
        assert_eq!(code(ask(&request, &state())), RefusalCode::Repository);
    }
    let mut state = state();
    state.history[1].release.image = "ghcr.io/org/before".parse().unwrap();
    let target = rollback_target(None, Asker::Key, &state).expect("1.1.0").clone();
    let back = rollback(&going_back(None), &target, &file(), &state, &config("config"), at());
    assert_eq!(code(back), RefusalCode::Repository);
}

#[test]
fn a_deployments_id_means_one_thing() {
    let state = state();
    let again = Deploy { deployment: testing::release("1.1.0").deployment, ..request("1.1.0") };
    let Ok(Admitted::Known(record)) = ask(&again, &state) else { panic!("known") };
    assert_eq!(record.release, testing::release("1.1.0"));
    let other = Deploy { deployment: again.deployment, ..request("4.0.0") };
    assert_eq!(code(ask(&other, &state)), RefusalCode::IdTaken);
}

/// A change of a request, by the name of what it changes.
type RequestChange = (&'static str, fn(&mut Deploy));

/// Whoever changes one thing of a request means another image.
const CHANGES: [RequestChange; 3] = [
    ("digest", |request| request.digest = Digest::of(b"other")),
    ("version", |request| request.version = "1.2.9".parse().unwrap()),
    ("commit", |request| request.commit = "e".repeat(40).parse().unwrap()),
];

#[test]
fn each_part_of_an_image_counts() {
    let state = state();
    for (what, change) in CHANGES {
        let mut serving = request("1.3.0");
        change(&mut serving);
        assert_eq!(code(ask(&serving, &state)), RefusalCode::NewerIsLive, "another {what} than what serves");
        let mut known = Deploy { deployment: testing::release("1.3.0").deployment, ..request("1.3.0") };
        change(&mut known);
        assert_eq!(code(ask(&known, &state)), RefusalCode::IdTaken, "another {what} under a known id");
    }
    let elsewhere: ImageName = "ghcr.io/org/other".parse().unwrap();
    let deployment = testing::release("1.3.0").deployment;
    let known = Deploy { deployment, image: elsewhere.clone(), ..request("1.3.0") };
    assert_eq!(code(ask(&known, &state)), RefusalCode::IdTaken);
    // The owner has changed the app file's image since.
    let mut moved = testing::steady("1.3.0");
    let Phase::Steady { active: Some(active) } = &mut moved.change else { panic!("something serves") };
    active.release.image = elsewhere;
    assert_eq!(code(ask(&request("1.3.0"), &moved)), RefusalCode::NewerIsLive);
}

#[test]
fn a_rollback_is_a_new_deployment_of_that_image() {
    let state = state();
    let target = rollback_target(None, Asker::Key, &state).expect("1.1.0");
    let stop_first = AppFile::parse(&format!("{FILE}order: stop-first\n")).expect("an app file");
    let request = Rollback { run: "https://ci.example/run/7".to_owned(), ..going_back(None) };
    let expected = Release {
        deployment: request.deployment.clone(),
        config: config("today"),
        order: stop_first.order,
        purpose: Purpose::Rollback,
        at: at(),
        run: request.run.clone(),
        ..target.release.clone()
    };
    let found = rollback(&request, target, &stop_first, &state, &config("today"), at());
    assert_eq!(found, Ok(Admitted::RollOut(expected)));
}

#[test]
fn a_rollback_to_what_serves_changes_only_the_configuration() {
    let state = state();
    let request = going_back(Some("1.3.0"));
    let target = rollback_target(request.to.as_ref(), Asker::Key, &state).expect("1.3.0");
    let to = |hash: &str| rollback(&request, target, &file(), &state, &config(hash), at()).expect("admitted");
    let active = state.active().cloned().expect("it serves");
    assert_eq!(to("config"), Admitted::Unchanged(active));
    assert!(matches!(to("other"), Admitted::RollOut(release) if release.config == config("other")));
    let known = Rollback { deployment: testing::release("1.3.0").deployment, ..request.clone() };
    assert!(known_rollback(&known, &state).expect("the same").is_some());
    assert_eq!(known_rollback(&request, &state), Ok(None));
}

#[test]
fn nothing_is_begun_on_top_of_what_is_not_finished() {
    let active = state().active().cloned();
    let new = testing::release("1.4.0");
    let state = State { change: Phase::Pending { active, new }, ..state() };
    assert_eq!(code(ask(&request("2.0.0"), &state)), RefusalCode::Unfinished);
    assert_eq!(rollback_target(None, Asker::Key, &state).expect_err("refused").code, RefusalCode::Unfinished);
}

/// A row for each pair of who asks and what the app file says.
// case X2; broken by: `downgrade` does not look at who asks
#[test]
fn the_key_downgrades_only_if_allowed_and_root_always() {
    let rolled_back = Blocked { since: at(), why: "rolled back to 1.3.0".to_owned() };
    let state = State { blocked: BTreeMap::from([("1.4.0".parse().unwrap(), rolled_back)]), ..state() };
    let allowing = AppFile::parse(&format!("{FILE}allow_downgrade: true\n")).expect("an app file");
    let refusing = AppFile::parse(&format!("{FILE}allow_downgrade: false\n")).expect("an app file");
    for (asker, file, wanted, expected) in [
        (Asker::Owner, &file(), true, None),
        (Asker::Owner, &allowing, true, None),
        (Asker::Key, &allowing, true, None),
        (Asker::Key, &refusing, true, Some(RefusalCode::Downgrade)),
        (Asker::Key, &file(), true, Some(RefusalCode::Downgrade)),
    ] {
        let ask = |version: &str| {
            let request = Deploy { allow_downgrade: wanted, ..request(version) };
            let found = deploy(&request, asker, file, &state, &config("config"), at());
            found.map(|admitted| matches!(admitted, Admitted::RollOut(_))).map_err(|refused| refused.code)
        };
        for version in ["1.2.9", "1.0.0", "1.4.0"] {
            assert_eq!(ask(version).err(), expected, "{version}: {asker:?}, {file:?}");
        }
        // What rises needs no permission.
        assert_eq!(ask("1.5.0"), Ok(true), "{asker:?}");
    }
    // Whoever does not ask for it does not get it, whoever may.
    for asker in [Asker::Owner, Asker::Key] {
        let found = deploy(&request("1.0.0"), asker, &allowing, &state, &config("config"), at());
        assert_eq!(code(found), RefusalCode::NewerIsLive);
        let found = deploy(&request("1.4.0"), asker, &allowing, &state, &config("config"), at());
        assert_eq!(code(found), RefusalCode::RolledBack);
    }
}

/// The owner has lowered the highest version, since it was none of ours.
#[test]
fn the_key_cannot_roll_back_above_the_highest() {
    let bogus = Record { release: testing::release("999.0.0"), failure: None };
    let mut state = state();
    state.history.insert(2, bogus);
    let named = "999.0.0".parse().unwrap();
    let target = |asker| rollback_target(Some(&named), asker, &state).map(|record| &record.release.version);
    assert_eq!(target(Asker::Owner), Ok(&named));
    let refused = target(Asker::Key).expect_err("above the highest");
    assert!(refused.code == RefusalCode::NotRecorded && !refused.message.contains("are: 999"), "{refused}");
    let highest = State { highest: Some(named.clone()), ..state.clone() };
    assert!(rollback_target(Some(&named), Asker::Key, &highest).is_ok(), "it was live by a real deployment");
    assert_eq!(rollback_target(None, Asker::Key, &state).unwrap().release.version.to_string(), "1.1.0");
}

#[test]
fn labels_must_not_contradict() {
    let release = testing::release("1.2.3");
    let with = |pairs: &[(&str, &str)], rule: &LabelRule| {
        let map = pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
        labels(&release, &map, rule).map_err(|refused| refused.code)
    };
    let commit = release.commit.to_string();
    let bounded = LabelRule::Bounded { highest: None };
    let (version, revision) = ((labels::VERSION, "1.2.3"), (labels::REVISION, commit.as_str()));
    for rule in [LabelRule::Optional, LabelRule::Required, bounded.clone()] {
        assert_eq!(with(&[version, revision, ("x", "y")], &rule), Ok(()), "{rule:?}");
        for pair in [(labels::VERSION, "1.2.4"), (labels::VERSION, ""), (labels::REVISION, "\u{1b}[0m")] {
            assert_eq!(with(&[pair], &rule), Err(RefusalCode::Labels), "{pair:?}, {rule:?}");
        }
        // A label that is missing is no agreement.
        let lacking = if rule == LabelRule::Required { Err(RefusalCode::Labels) } else { Ok(()) };
        for pairs in [&[][..], &[version], &[revision], &[("x", "y")]] {
            assert_eq!(with(pairs, &rule), lacking, "{pairs:?}, {rule:?}");
        }
    }
    let evil = BTreeMap::from([(labels::VERSION.to_owned(), "\u{1b}[31m9\n".to_owned())]);
    let words = labels(&release, &evil, &bounded).expect_err("another version").message;
    assert!(words.contains("=[31m9`,") && !words.contains(char::is_control), "{words:?}");
}

/// An image that says nothing of itself lets nobody claim a version that keeps all real ones out.
// case X3; broken by: `Bounded` takes every version
#[test]
fn an_unlabelled_version_is_at_most_the_next_major() {
    for (highest, version, admitted) in [
        (None, "1.0.0", true),
        (Some("1.4.2"), "1.4.3", true),
        (Some("1.4.2"), "2.0.0", true),
        (Some("1.4.2"), "2.99.99", true),
        (Some("1.4.2"), "3.0.0-rc.1", false),
        (Some("1.4.2"), "3.0.0", false),
        (Some("1.4.2"), "18446744073709551615.0.0", false),
        (Some("18446744073709551615.0.0"), "18446744073709551615.1.0", true),
        (Some("0.0.1"), "1.0.0", true),
        (Some("0.0.1"), "2.0.0", false),
    ] {
        let rule = LabelRule::Bounded { highest: highest.map(|highest| highest.parse().unwrap()) };
        let found = labels(&testing::release(version), &BTreeMap::new(), &rule);
        assert_eq!(found.is_ok(), admitted, "{version} after {highest:?}: {found:?}");
    }
}

#[test]
fn whose_labels_count_is_the_app_files_word() {
    let allowing = AppFile::parse(&format!("{FILE}allow_unlabelled: true\n")).expect("an app file");
    let state = state();
    let (usual, of) = (file(), |asker, file| LabelRule::of(asker, file, &state));
    assert_eq!(of(Asker::Owner, &usual), LabelRule::Optional);
    assert_eq!(of(Asker::Key, &usual), LabelRule::Required);
    assert_eq!(of(Asker::Key, &allowing), LabelRule::Bounded { highest: state.highest.clone() });
}

fn going_back(to: Option<&str>) -> Rollback {
    Rollback {
        deployment: "rollback-1".parse().unwrap(),
        to: to.map(|to| to.parse().unwrap()),
        reverts: None,
        configuration: Configuration::Today,
        credential: None,
        run: String::new(),
    }
}

fn target(to: Option<&str>, state: &State) -> Result<String, RefusalCode> {
    let to = to.map(|to| to.parse().unwrap());
    rollback_target(to.as_ref(), Asker::Key, state)
        .map(|record| record.release.version.to_string())
        .map_err(|refused| refused.code)
}

#[test]
fn a_rollback_finds_the_previous_good_one() {
    let mut state = state();
    assert_eq!(target(None, &state), Ok("1.1.0".to_owned()));
    assert_eq!(target(Some("1.0.0"), &state), Ok("1.0.0".to_owned()));
    assert_eq!(target(Some("1.2.0"), &state), Err(RefusalCode::NotRecorded));
    // What failed is nowhere to go, nor is what was rolled back; where it is named, the latter is.
    state.blocked.insert("1.1.0".parse().unwrap(), Blocked { since: at(), why: "slow".to_owned() });
    let failure = Failure {
        step: RolloutStep::Health,
        code: autotag_protocol::FailureCode::Unhealthy,
        why: "unhealthy".to_owned(),
    };
    state.history.push(Record { release: testing::release("1.2.0"), failure: Some(failure) });
    assert_eq!(target(None, &state), Ok("1.0.0".to_owned()));
    assert_eq!(target(Some("1.2.0"), &state), Err(RefusalCode::NotRecorded));
    assert_eq!(target(Some("1.1.0"), &state), Ok("1.1.0".to_owned()));
    assert_eq!(target(None, &testing::steady("1.0.0")), Err(RefusalCode::NotRecorded));
    assert_eq!(target(None, &State::new("app".parse().unwrap())), Err(RefusalCode::NotRecorded));
}

/// The whole story: back, a delayed one, forward again, back to back.
#[test]
fn a_rolled_back_version_is_blocked_unless_downgrade_is_allowed() {
    let back = |state: &State, id: &str, to: Option<&str>| {
        let request = Rollback { deployment: id.parse().unwrap(), ..going_back(to) };
        let target = rollback_target(request.to.as_ref(), Asker::Key, state).expect("somewhere to go");
        match rollback(&request, target, &file(), state, &config("config"), at()) {
            Ok(Admitted::RollOut(release)) => rolled_out(state.clone(), release),
            other => panic!("{other:?}"),
        }
    };
    let serves = |state: &State| state.active().unwrap().release.version.to_string();
    let blocked = |state: &State| state.blocked.keys().map(ToString::to_string).collect::<Vec<_>>();

    let state = back(&state(), "rollback-1", None);
    assert_eq!((serves(&state), blocked(&state)), ("1.1.0".to_owned(), vec!["1.3.0".to_owned()]));
    assert_eq!(state.highest, Some("1.3.0".parse().unwrap()), "it never falls");
    assert!(known_rollback(&going_back(None), &state).unwrap().is_some(), "its result can be asked for");
    assert_eq!(
        known_rollback(&going_back(Some("1.0.0")), &state).expect_err("another").code,
        RefusalCode::IdTaken
    );
    assert_eq!(code(ask(&request("1.3.0"), &state)), RefusalCode::RolledBack);
    assert_eq!(code(ask(&request("1.2.0"), &state)), RefusalCode::NewerIsLive, "a delayed one in between");

    let further = back(&state, "rollback-2", None);
    assert_eq!(serves(&further), "1.0.0");
    assert_eq!(blocked(&further), ["1.1.0", "1.3.0"]);

    // Forward by the rollback's word: the version that is left is as good as before.
    let forward = back(&state, "rollback-3", Some("1.3.0"));
    assert_eq!((serves(&forward), blocked(&forward).len()), ("1.3.0".to_owned(), 0));

    let anyway = Deploy { allow_downgrade: true, ..request("1.3.0") };
    let Ok(Admitted::RollOut(release)) = ask(&anyway, &state) else { panic!("anyway") };
    let again = rolled_out(state, release);
    assert_eq!((serves(&again), blocked(&again).len()), ("1.3.0".to_owned(), 0));
    let Ok(Admitted::RollOut(release)) = ask(&request("1.4.0"), &again) else { panic!("higher than any") };
    assert_eq!(serves(&rolled_out(again, release)), "1.4.0");
}

#[test]
fn what_served_last_may_come_again_where_nothing_serves() {
    let lost = state().in_phase(Phase::Steady { active: None });
    assert!(matches!(ask(&request("1.3.0"), &lost), Ok(Admitted::RollOut(_))));
    assert_eq!(code(ask(&request("1.1.0"), &lost)), RefusalCode::NewerIsLive, "an earlier one may not");
    let other = Deploy { digest: Digest::of(b"other"), ..request("1.3.0") };
    assert_eq!(code(ask(&other, &lost)), RefusalCode::NewerIsLive, "nor another image");
}
