//! May this be done? Decided from the request, the app file and the state alone, under the lock.
//!
//! Versions only rise: a delayed run of CI must not bring an older one back. What was rolled back stays out.
//! Both yield to a person who asks for a version by its name.

use std::collections::BTreeMap;

use jiff::Timestamp;
use semver::Version;

use super::app_file::AppFile;
use super::config_hash::ConfigHash;
use super::state::{Instance, Phase, Purpose, Record, Release, State};
use crate::deploy::protocol::{Because, Deploy, EnvironmentKey, Refused, Rollback};
use crate::image::labels;
use crate::image::reference::ImageName;
use crate::secret::Secret;

/// What comes of a request that may be done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Admitted {
    /// Roll this out.
    RollOut(Release),
    /// It serves already, with the same configuration: touch nothing.
    Unchanged(Instance),
    /// The same deployment was asked for before, and ended like this: the caller lost its connection.
    Known(Record),
}

/// The environment that a container gets: CI's, where the app file allows it; over it the files', later
/// ones first; over them the app file's own. What the owner says wins.
pub fn environment(
    file: &AppFile,
    files: &[BTreeMap<EnvironmentKey, Secret>],
    given: &BTreeMap<EnvironmentKey, Secret>,
) -> Result<BTreeMap<EnvironmentKey, Secret>, Refused> {
    let strange: Vec<&str> = given
        .keys()
        .filter(|key| !file.allow_environment.contains(*key))
        .map(EnvironmentKey::as_str)
        .collect();
    if !strange.is_empty() {
        return Err(Refused::new(
            Because::Environment,
            format!(
                "the app file does not allow these variables: {}. Its owner can add them to `allow_environment`",
                strange.join(", ")
            ),
        ));
    }
    let mut merged = given.clone();
    for variables in files.iter().chain([&file.environment]) {
        merged.extend(variables.clone());
    }
    Ok(merged)
}

/// Whether a version may be deployed. `config` is the hash of what it would get now.
pub fn deploy(
    request: &Deploy,
    file: &AppFile,
    state: &State,
    config: &ConfigHash,
    at: Timestamp,
) -> Result<Admitted, Refused> {
    let release = Release {
        deployment: request.deployment.clone(),
        image: request.image.clone(),
        digest: request.digest.clone(),
        version: request.version.clone(),
        commit: request.commit.clone(),
        config: config.clone(),
        order: file.order,
        purpose: Purpose::Deploy,
        at,
        run: request.run.clone(),
    };
    if let Some(known) = known(&release, state)? {
        return Ok(Admitted::Known(known));
    }
    let active = settled(state)?;
    own_repository(&release.image, file)?;
    let same_image = active.filter(|active| is_same_image(&active.release, &release));
    if let Some(active) = same_image.filter(|active| active.release.config == release.config) {
        return Ok(Admitted::Unchanged(active.clone()));
    }
    // Another configuration of what serves is no step back.
    if same_image.is_none() && !request.by_name {
        not_bad(&release.version, state)?;
        higher(&release.version, active, state)?;
    }
    Ok(Admitted::RollOut(release))
}

/// Where a rollback goes: to the version that is named, or to the last good one below what serves.
pub fn rollback_target<'a>(to: Option<&Version>, state: &'a State) -> Result<&'a Record, Refused> {
    let active = settled(state)?;
    let served = || state.history.iter().rev().filter(|record| record.failure.is_none());
    let target = match (to, active) {
        (Some(version), _) => served().find(|record| record.release.version == *version),
        (None, Some(active)) => served().find(|record| {
            let version = &record.release.version;
            version.cmp_precedence(&active.release.version).is_lt() && !state.bad.contains_key(version)
        }),
        (None, None) => None,
    };
    target.ok_or_else(|| {
        let mut versions: Vec<&Version> = served().map(|record| &record.release.version).collect();
        versions.sort();
        versions.dedup();
        let names: Vec<String> = versions.into_iter().rev().take(10).map(ToString::to_string).collect();
        let wanted = to.map_or("a good version below what serves".to_owned(), ToString::to_string);
        let recorded = if names.is_empty() { "nothing".to_owned() } else { names.join(", ") };
        Refused::new(
            Because::NotRecorded,
            format!("{wanted} is not recorded here; recorded are: {recorded}. Name one of them, or deploy a version by its digest"),
        )
    })
}

/// Whether this target may be rolled back to. `config` is the hash of what it would get: of today's
/// configuration, or of then's, whichever was asked for.
pub fn rollback(
    request: &Rollback,
    target: &Record,
    file: &AppFile,
    state: &State,
    config: &ConfigHash,
    at: Timestamp,
) -> Result<Admitted, Refused> {
    let active = settled(state)?;
    own_repository(&target.release.image, file)?;
    let back =
        active.is_some_and(|active| target.release.version.cmp_precedence(&active.release.version).is_lt());
    let release = Release {
        deployment: request.deployment.clone(),
        config: config.clone(),
        order: file.order,
        // Forward to what was rolled back says nothing against the version that is left.
        purpose: if back { Purpose::Rollback } else { Purpose::Deploy },
        at,
        run: request.run.clone(),
        ..target.release.clone()
    };
    match active {
        Some(active)
            if is_same_image(&active.release, &release) && active.release.config == release.config =>
        {
            Ok(Admitted::Unchanged(active.clone()))
        }
        _ => Ok(Admitted::RollOut(release)),
    }
}

/// A rollback that was asked for before. To be asked first: once it has worked, its target is another.
pub fn known_rollback(request: &Rollback, state: &State) -> Result<Option<Record>, Refused> {
    match state.record_of(&request.deployment) {
        Some(record) if request.to.as_ref().is_none_or(|to| *to == record.release.version) => {
            Ok(Some(record.clone()))
        }
        Some(_) => Err(id_taken(&request.deployment)),
        None => Ok(None),
    }
}

/// Whether the image's labels say the same as the request. Images that this action built have them; others
/// may lack them.
pub fn labels(release: &Release, labels: &BTreeMap<String, String>) -> Result<(), Refused> {
    for (label, expected) in
        [(labels::VERSION, release.version.to_string()), (labels::REVISION, release.commit.to_string())]
    {
        if let Some(found) = labels.get(label)
            && *found != expected
        {
            let found: String = found.chars().filter(|letter| !letter.is_control()).take(80).collect();
            return Err(Refused::new(
                Because::Labels,
                format!(
                    "the image {} says `{label}={found}`, the request {expected}: it is not the image that was released under this version",
                    release.digest
                ),
            ));
        }
    }
    Ok(())
}

/// What serves, where nothing is under way.
fn settled(state: &State) -> Result<Option<&Instance>, Refused> {
    match &state.change {
        Phase::Steady { active } => Ok(active.as_ref()),
        Phase::Pending { new, .. } => Err(unfinished(new)),
        Phase::Unverified { new, .. } => Err(unfinished(&new.release)),
        Phase::Leaving { leaving, .. } => Err(unfinished(&leaving.release)),
    }
}

fn unfinished(release: &Release) -> Refused {
    Refused::new(
        Because::Unfinished,
        format!(
            "an earlier deployment could not be finished yet; it is about {} ({}). See `status` on the server",
            release.version, release.deployment
        ),
    )
}

fn known(release: &Release, state: &State) -> Result<Option<Record>, Refused> {
    match state.record_of(&release.deployment) {
        Some(record) if is_same_image(&record.release, release) => Ok(Some(record.clone())),
        Some(_) => Err(id_taken(&release.deployment)),
        None => Ok(None),
    }
}

fn id_taken(deployment: &crate::deploy::protocol::DeploymentId) -> Refused {
    Refused::new(
        Because::IdTaken,
        format!("the deployment {deployment} was something else: each needs an id of its own"),
    )
}

fn is_same_image(a: &Release, b: &Release) -> bool {
    a.image == b.image && a.digest == b.digest && a.version == b.version && a.commit == b.commit
}

fn own_repository(image: &ImageName, file: &AppFile) -> Result<(), Refused> {
    if *image == file.image {
        return Ok(());
    }
    Err(Refused::new(
        Because::Repository,
        format!(
            "only {} may run here, not {image}. The app file's owner decides that by `image`",
            file.image
        ),
    ))
}

fn not_bad(version: &Version, state: &State) -> Result<(), Refused> {
    let Some(bad) = state.bad.get(version) else { return Ok(()) };
    Err(Refused::new(
        Because::RolledBack,
        format!(
            "{version} is out since {} ({}). To deploy it all the same, ask for it by name",
            bad.since, bad.why
        ),
    ))
}

fn higher(version: &Version, active: Option<&Instance>, state: &State) -> Result<(), Refused> {
    let Some(highest) = &state.highest else { return Ok(()) };
    if version.cmp_precedence(highest).is_gt() {
        return Ok(());
    }
    let serves = active.map_or("nothing".to_owned(), |active| active.release.version.to_string());
    Err(Refused::new(
        Because::NewerIsLive,
        format!(
            "{version} is not above {highest}, the highest that was live here; {serves} serves. To deploy it all the same, ask for it by name"
        ),
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::deploy::protocol::{Configuration, Milestone};
    use crate::image::reference::Digest;
    use crate::receiver::rollout::{Event, Rollout, Step};
    use crate::receiver::state::{Bad, Failure};
    use crate::receiver::testing;

    const FILE: &str = "image: ghcr.io/org/app\nport: 1\nlisten: 1\nenvironment: {A: owner}\nallow_environment: [A, B, C, D]\n";

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
            by_name: false,
            environment: BTreeMap::new(),
            credential: None,
            run: String::new(),
        }
    }

    fn at() -> Timestamp {
        "2026-02-03T04:05:06Z".parse().unwrap()
    }

    fn ask(request: &Deploy, state: &State) -> Result<Admitted, Refused> {
        deploy(request, &file(), state, &config("config"), at())
    }

    fn because(result: Result<Admitted, Refused>) -> Because {
        result.expect_err("refused").because
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
                Step::End(_) => return rollout.state().clone(),
                Step::Create(_) => Event::Created("b".repeat(64).parse().unwrap()),
                _ => Event::Done,
            };
            rollout = rollout.next(event);
        }
    }

    #[test]
    fn only_higher_versions_unless_asked_for_by_name() {
        let state = state();
        for (version, admitted) in
            [("1.3.1", true), ("2.0.0", true), ("1.2.9", false), ("1.3.0-rc.1", false), ("1.0.0", false)]
        {
            let request = request(version);
            match ask(&request, &state) {
                Ok(Admitted::RollOut(release)) if admitted => {
                    assert_eq!(release.version.to_string(), version)
                }
                Err(refused) if !admitted => assert_eq!(refused.because, Because::NewerIsLive, "{version}"),
                other => panic!("{version}: {other:?}"),
            }
            let by_name = Deploy { by_name: true, ..request };
            assert!(matches!(ask(&by_name, &state), Ok(Admitted::RollOut(_))), "{version} by name");
        }
        // The same version with another image is not higher either.
        let other = Deploy { digest: Digest::of(b"other"), ..request("1.3.0") };
        assert_eq!(because(ask(&other, &state)), Because::NewerIsLive);
        // The highest counts although something lower serves now.
        let lower = State { highest: Some("3.0.0".parse().unwrap()), ..state };
        assert_eq!(because(ask(&request("2.0.0"), &lower)), Because::NewerIsLive);
        assert!(matches!(
            ask(&request("0.0.1"), &State::new("app".parse().unwrap())),
            Ok(Admitted::RollOut(_))
        ));
    }

    #[test]
    fn the_same_image_and_configuration_is_left_alone() {
        let state = state();
        let Ok(Admitted::Unchanged(instance)) = ask(&request("1.3.0"), &state) else { panic!("unchanged") };
        assert_eq!(Some(&instance), state.active());
        let other = deploy(&request("1.3.0"), &file(), &state, &config("other"), at());
        let Ok(Admitted::RollOut(release)) = other else { panic!("{other:?}") };
        assert_eq!(release.config, config("other"));
    }

    #[test]
    fn only_the_app_files_repository_by_name_or_not() {
        for by_name in [false, true] {
            let request = Deploy { image: "ghcr.io/org/other".parse().unwrap(), by_name, ..request("9.0.0") };
            assert_eq!(because(ask(&request, &state())), Because::Repository);
        }
        let mut state = state();
        state.history[1].release.image = "ghcr.io/org/before".parse().unwrap();
        let target = rollback_target(None, &state).expect("1.1.0").clone();
        let back = rollback(&going_back(None), &target, &file(), &state, &config("config"), at());
        assert_eq!(because(back), Because::Repository);
    }

    #[test]
    fn a_deployments_id_means_one_thing() {
        let state = state();
        let again = Deploy { deployment: testing::release("1.1.0").deployment, ..request("1.1.0") };
        let Ok(Admitted::Known(record)) = ask(&again, &state) else { panic!("known") };
        assert_eq!(record.release, testing::release("1.1.0"));
        let other = Deploy { deployment: again.deployment, ..request("4.0.0") };
        assert_eq!(because(ask(&other, &state)), Because::IdTaken);
    }

    #[test]
    fn nothing_is_begun_on_top_of_what_is_not_finished() {
        let active = state().active().cloned();
        let new = testing::release("1.4.0");
        let state = State { change: Phase::Pending { active, new }, ..state() };
        assert_eq!(because(ask(&request("2.0.0"), &state)), Because::Unfinished);
        assert_eq!(rollback_target(None, &state).expect_err("refused").because, Because::Unfinished);
    }

    #[test]
    fn the_owners_environment_wins() {
        let variables = |pairs: &[(&str, &str)]| -> BTreeMap<EnvironmentKey, Secret> {
            pairs
                .iter()
                .map(|(key, value)| (key.parse().unwrap(), Secret::verbatim((*value).to_owned())))
                .collect()
        };
        let files =
            [variables(&[("A", "file"), ("B", "file"), ("C", "first")]), variables(&[("C", "second")])];
        let given = variables(&[("A", "ci"), ("B", "ci"), ("C", "ci"), ("D", "ci")]);
        let merged = environment(&file(), &files, &given).expect("allowed");
        assert_eq!(merged, variables(&[("A", "owner"), ("B", "file"), ("C", "second"), ("D", "ci")]));
        let refused =
            environment(&file(), &[], &variables(&[("D", "x"), ("E", "hunter2"), ("PATH", "hunter2")]))
                .expect_err("not allowed");
        assert_eq!(refused.because, Because::Environment);
        assert!(refused.message.contains("E, PATH") && !refused.message.contains("hunter2"), "{refused}");
    }

    #[test]
    fn labels_must_not_contradict() {
        let release = testing::release("1.2.3");
        let with = |pairs: &[(&str, &str)]| {
            let map = pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
            labels(&release, &map).map_err(|refused| refused.because)
        };
        let commit = release.commit.to_string();
        assert_eq!(with(&[]), Ok(()));
        assert_eq!(with(&[(labels::VERSION, "1.2.3"), (labels::REVISION, &commit), ("x", "y")]), Ok(()));
        for pair in [(labels::VERSION, "1.2.4"), (labels::VERSION, ""), (labels::REVISION, "\u{1b}[0m")] {
            assert_eq!(with(&[pair]), Err(Because::Labels), "{pair:?}");
        }
    }

    fn going_back(to: Option<&str>) -> Rollback {
        Rollback {
            deployment: "rollback-1".parse().unwrap(),
            to: to.map(|to| to.parse().unwrap()),
            configuration: Configuration::Today,
            credential: None,
            run: String::new(),
        }
    }

    fn target(to: Option<&str>, state: &State) -> Result<String, Because> {
        let to = to.map(|to| to.parse().unwrap());
        rollback_target(to.as_ref(), state)
            .map(|record| record.release.version.to_string())
            .map_err(|refused| refused.because)
    }

    #[test]
    fn a_rollback_finds_the_previous_good_one() {
        let mut state = state();
        assert_eq!(target(None, &state), Ok("1.1.0".to_owned()));
        assert_eq!(target(Some("1.0.0"), &state), Ok("1.0.0".to_owned()));
        assert_eq!(target(Some("1.2.0"), &state), Err(Because::NotRecorded));
        // What failed is nowhere to go, nor is what was rolled back; by name the latter is.
        state.bad.insert("1.1.0".parse().unwrap(), Bad { since: at(), why: "slow".to_owned() });
        let failure = Failure { step: Milestone::Health, why: "unhealthy".to_owned() };
        state.history.push(Record { release: testing::release("1.2.0"), failure: Some(failure) });
        assert_eq!(target(None, &state), Ok("1.0.0".to_owned()));
        assert_eq!(target(Some("1.2.0"), &state), Err(Because::NotRecorded));
        assert_eq!(target(Some("1.1.0"), &state), Ok("1.1.0".to_owned()));
        assert_eq!(target(None, &testing::steady("1.0.0")), Err(Because::NotRecorded));
        assert_eq!(target(None, &State::new("app".parse().unwrap())), Err(Because::NotRecorded));
    }

    /// The whole story: back, a delayed one, forward again, back to back.
    #[test]
    fn what_was_rolled_back_stays_out_until_asked_for_by_name() {
        let back = |state: &State, id: &str, to: Option<&str>| {
            let request = Rollback { deployment: id.parse().unwrap(), ..going_back(to) };
            let target = rollback_target(request.to.as_ref(), state).expect("somewhere to go");
            match rollback(&request, target, &file(), state, &config("config"), at()) {
                Ok(Admitted::RollOut(release)) => rolled_out(state.clone(), release),
                other => panic!("{other:?}"),
            }
        };
        let serves = |state: &State| state.active().unwrap().release.version.to_string();
        let bad = |state: &State| state.bad.keys().map(ToString::to_string).collect::<Vec<_>>();

        let state = back(&state(), "rollback-1", None);
        assert_eq!((serves(&state), bad(&state)), ("1.1.0".to_owned(), vec!["1.3.0".to_owned()]));
        assert_eq!(state.highest, Some("1.3.0".parse().unwrap()), "it never falls");
        assert!(known_rollback(&going_back(None), &state).unwrap().is_some(), "its result can be asked for");
        assert_eq!(
            known_rollback(&going_back(Some("1.0.0")), &state).expect_err("another").because,
            Because::IdTaken
        );
        assert_eq!(because(ask(&request("1.3.0"), &state)), Because::RolledBack);
        assert_eq!(because(ask(&request("1.2.0"), &state)), Because::NewerIsLive, "a delayed one in between");

        let further = back(&state, "rollback-2", None);
        assert_eq!(serves(&further), "1.0.0");
        assert_eq!(bad(&further), ["1.1.0", "1.3.0"]);

        // Forward by the rollback's word: the version that is left is as good as before.
        let forward = back(&state, "rollback-3", Some("1.3.0"));
        assert_eq!((serves(&forward), bad(&forward).len()), ("1.3.0".to_owned(), 0));

        let by_name = Deploy { by_name: true, ..request("1.3.0") };
        let Ok(Admitted::RollOut(release)) = ask(&by_name, &state) else { panic!("by name") };
        let again = rolled_out(state, release);
        assert_eq!((serves(&again), bad(&again).len()), ("1.3.0".to_owned(), 0));
        let Ok(Admitted::RollOut(release)) = ask(&request("1.4.0"), &again) else {
            panic!("higher than any")
        };
        assert_eq!(serves(&rolled_out(again, release)), "1.4.0");
    }
}
