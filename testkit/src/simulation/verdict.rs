//! What must hold when all is over, whatever the schedule was.

use std::collections::BTreeMap;

use autotag_deploy::pipeline::Ending;
use autotag_deploy::ports::DeploymentState;
use autotag_deploy::versioning::claim::{Claim, ClaimKind, RecordedClaim};
use autotag_model::git::ObjectId;
use autotag_model::help::Topic;
use autotag_model::reference::Digest;
use semver::Version;

use super::Outside;
use super::ending::{Ended, is_whole, words};
use super::github::DeploymentRecord;
use super::scenario::{Actor, IMAGE, RunOf};
use super::schedule::{Simulation, Situation};

/// Checks an execution that is over, then runs every job again, alone, and checks that this converges.
///
/// `undisturbed`: there were no faults, so that nothing may be left to a later run.
pub async fn judge(simulation: &mut Simulation, situation: &mut Situation, undisturbed: bool) -> Vec<String> {
    let mut wrong = situation.all_violations();
    wrong.extend(order_of_claims(&situation.outside));
    if undisturbed {
        wrong.extend(all_ended_well(simulation, situation));
        wrong.extend(all_is_out(simulation, &situation.outside));
    }
    if !wrong.is_empty() {
        return wrong;
    }
    let before = claims(&situation.outside).len();
    situation.outside.settle();
    // Twice: what the first re-run of an old commit could not see yet, the second one does.
    for round in 0..2 {
        for run in 0..simulation.programs.actors().len() {
            if !matches!(simulation.programs.actors()[run], Actor::Run(_)) {
                continue;
            }
            let result = simulation.run_alone(situation, run).await;
            let ended_well = is_whole(&result) || (goes_back(simulation) && is_refused(&result));
            if !ended_well {
                let reported = match &*result {
                    Ok(ending) => format!("{ending:?}"),
                    Err(failure) => failure.to_string(),
                };
                wrong.push(format!("2 (resumable): run {run} again, alone (round {round}): {reported}"));
            }
        }
    }
    wrong.extend(situation.all_violations());
    wrong.extend(order_of_claims(&situation.outside));
    let left = all_is_out(simulation, &situation.outside);
    wrong.extend(left.into_iter().map(|fault| format!("{fault}, after re-runs")));
    let after = claims(&situation.outside).len();
    if undisturbed && before != after {
        wrong.push(format!("2 (resumable): re-runs made {} further claims", after - before));
    }
    wrong
}

/// The claims, the oldest first.
pub fn claims(outside: &Outside) -> Vec<RecordedClaim> {
    let mut claims = Vec::new();
    let mut next = outside.github.reference("refs/autotag/v/head").cloned();
    while let Some(id) = next.take() {
        let object = outside.github.object(&id).expect("a claim's object");
        let claim = Claim::parse(&object.message).expect("a claim");
        next.clone_from(&claim.previous);
        claims.push(RecordedClaim { id, claim });
    }
    claims.reverse();
    claims
}

/// Invariants 1 and 4: one commit has one version, and versions rise along the order of commits.
fn order_of_claims(outside: &Outside) -> Vec<String> {
    let mut wrong = Vec::new();
    let all = claims(outside);
    let versions: Vec<&Claim> =
        all.iter().map(|known| &known.claim).filter(|claim| claim.kind == ClaimKind::Version).collect();
    for (place, later) in versions.iter().enumerate() {
        for earlier in &versions[..place] {
            let (old, new) = (&earlier.version, &later.version);
            if earlier.commit == later.commit {
                wrong.push(format!("1 (unique): one commit has {old} and {new}"));
            }
            if old >= new {
                wrong.push(format!("1 (unique): {new} was claimed after {old}"));
            }
            if outside.github.contains(&earlier.commit, &later.commit) {
                wrong.push(format!("4 (order): {new} is of an older commit than {old}"));
            }
        }
    }
    for known in &all {
        let tag = format!("refs/tags/v{}", known.claim.version);
        match outside.github.reference(&tag) {
            Some(id) if *outside.github.peel(id) == known.claim.commit => {}
            other => {
                wrong.push(format!("1 (unique): {tag} is {other:?}, claimed for {}", known.claim.commit));
            }
        }
    }
    wrong
}

fn all_ended_well(simulation: &Simulation, situation: &Situation) -> Vec<String> {
    let mut wrong = Vec::new();
    for run in 0..simulation.programs.actors().len() {
        match simulation.result(situation, run) {
            Some(result) if is_whole(&result) => wrong.extend(wrongly_green(run, &result)),
            // Somebody went back below its version meanwhile, so its deployment is refused, and says so.
            Some(result) if goes_back(simulation) && is_refused(&result) => {}
            other => {
                wrong.push(format!("2 (resumable): run {run} was not disturbed and ended so: {other:?}"));
            }
        }
    }
    wrong
}

/// Whether somebody rolls the server back.
fn goes_back(simulation: &Simulation) -> bool {
    simulation.programs.actors().iter().any(|actor| matches!(actor, Actor::RollsBack(_)))
}

/// A green job whose version does not serve, and nothing newer does.
fn wrongly_green(run: usize, result: &Ended) -> Option<String> {
    let deployment = result.as_ref().ok()?.as_ref()?.deployment()?;
    let asked = deployment.release.as_ref()?;
    let serves = deployment.sequence.running().map(|running| &running.version);
    let fits =
        if deployment.deployed() { serves == Some(&asked.version) } else { serves > Some(&asked.version) };
    (!fits).then(|| format!("13 (green): run {run} is green for {}, and {serves:?} serves", asked.version))
}

/// Whether the release stands and its server refused it, since something higher was live once.
fn is_refused(result: &Ended) -> bool {
    let deployment = result.as_ref().ok().and_then(|ending| ending.as_ref()?.deployment());
    let failure = deployment.and_then(|deployment| deployment.failure.as_ref());
    failure.is_some_and(|failure| failure.topic == Some(Topic::NewerIsLive))
}

/// Nothing is left to be done.
fn all_is_out(simulation: &Simulation, outside: &Outside) -> Vec<String> {
    let mut wrong = whole(simulation, outside);
    wrong.extend(newest_is_out(simulation, outside));
    wrong.extend(highest_serves(simulation, outside));
    wrong
}

/// Invariants 2 and 3: what is claimed is published, and released once where it is to be released; `latest` and
/// GitHub's Latest have the highest.
fn whole(simulation: &Simulation, outside: &Outside) -> Vec<String> {
    let mut wrong = Vec::new();
    let mut claimed: BTreeMap<String, BTreeMap<Version, Digest>> = BTreeMap::new();
    for RecordedClaim { claim, .. } in claims(outside) {
        let Some(repository) = outside.repositories.get(&claim.image.to_string()) else {
            wrong.push(format!("2 (whole): {} has no repository", claim.image));
            continue;
        };
        let published = repository.tagged(&claim.version.to_string());
        if published != Some(&claim.digest) {
            wrong.push(format!("2 (whole): {}:{} is {published:?}", claim.image, claim.version));
        }
        let releases =
            outside.github.releases().filter(|release| release.tag == format!("v{}", claim.version));
        let bodies: Vec<&str> = releases.map(|release| release.body.as_str()).collect();
        let wanted = usize::from(simulation.releasing.contains(&claim.commit));
        if bodies.len() != wanted || bodies.iter().any(|body| !body.contains(claim.digest.as_str())) {
            wrong.push(format!("2 (whole): {} has the releases {bodies:?}", claim.version));
        }
        claimed.entry(claim.image.to_string()).or_default().insert(claim.version, claim.digest);
    }
    for (image, versions) in &claimed {
        let Some((version, digest)) = versions.last_key_value() else { continue };
        let latest = outside.repositories.get(image).and_then(|repository| repository.tagged("latest"));
        if latest != Some(digest) {
            wrong.push(format!("3 (latest): {image}:latest is {latest:?}, and {version} is the highest"));
        }
    }
    if !claimed.is_empty() {
        let released: Option<Version> =
            outside.github.releases().filter_map(|release| release.tag.strip_prefix('v')?.parse().ok()).max();
        let shown = outside.github.shown_as_latest();
        if shown != released.as_ref().map(|version| format!("v{version}")) {
            wrong
                .push(format!("3 (latest): GitHub shows {shown:?}, and {released:?} is the highest release"));
        }
    }
    wrong
}

fn runs(simulation: &Simulation) -> Vec<&RunOf> {
    let actors = simulation.programs.actors().iter();
    actors.filter_map(|actor| if let Actor::Run(run) = actor { Some(run) } else { None }).collect()
}

/// The newest of the commits that have a run got a version.
fn newest_is_out(simulation: &Simulation, outside: &Outside) -> Vec<String> {
    let runs = runs(simulation);
    let commit = |run: &RunOf| simulation.programs.commits()[run.commit].clone();
    let is_newest = |outside: &Outside, of: &ObjectId| {
        runs.iter().all(|other| {
            let other = commit(other);
            other == *of || !outside.github.contains(&other, of)
        })
    };
    let (mut wrong, all) = (Vec::new(), claims(outside));
    for run in runs.iter().filter(|run| is_newest(outside, &commit(run))) {
        if !all.iter().any(|known| known.claim.commit == commit(run)) {
            wrong.push(format!("4 (order): the newest commit {} has no version", run.commit));
        }
    }
    wrong
}

/// The highest version serves, or the one that somebody rolled it back to, and GitHub shows it as deployed.
fn highest_serves(simulation: &Simulation, outside: &Outside) -> Vec<String> {
    if !runs(simulation).iter().any(|run| run.deploys) {
        return Vec::new();
    }
    let all = claims(outside).into_iter().map(|known| known.claim);
    let all: Vec<Claim> = all.filter(|claim| claim.image.to_string() == IMAGE).collect();
    let highest = all.iter().map(|claim| &claim.version).max().cloned();
    let back = simulation.programs.actors().iter().find_map(|actor| match actor {
        Actor::RollsBack(version) => version.parse().ok(),
        _ => None,
    });
    let left = highest.as_ref().is_some_and(|highest| outside.server.is_blocked(highest));
    let expected: Option<Version> = if left { back } else { highest };
    let claim = all.iter().find(|claim| Some(&claim.version) == expected.as_ref());
    let serving = outside.server.serving();
    let mut wrong = Vec::new();
    if serving.as_ref().map(|running| &running.digest) != claim.map(|claim| &claim.digest) {
        let serving = serving.as_ref().map(|running| running.version.to_string());
        wrong.push(format!("11 (rises): {serving:?} serves, and it should be {expected:?}"));
    }
    let shown = |page: &DeploymentRecord| {
        serving.as_ref().is_some_and(|running| running.commit == page.commit)
            && page.state == Some(DeploymentState::Success)
    };
    if !outside.github.deployments().any(shown) {
        wrong.push(format!("12 (known): GitHub shows no deployment of {expected:?}"));
    }
    wrong
}

/// How all actors ended, for counting what schedules came to.
pub fn outcome(simulation: &Simulation, situation: &Situation) -> String {
    let each = (0..simulation.programs.actors().len()).map(|run| {
        match simulation.result(situation, run).as_deref() {
            Some(Ok(ending)) => ending.as_ref().map_or("done".to_owned(), |ending| match ending {
                Ending::Superseded(_) => "superseded".to_owned(),
                other => words(other),
            }),
            Some(Err(failure)) => format!("failed ({:?})", failure.kind),
            None => "unfinished".to_owned(),
        }
    });
    each.collect::<Vec<_>>().join(" | ")
}
