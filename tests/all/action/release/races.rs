//! Two runs at once, held at the places where the order matters: invariants 1, 3 and 4.

use super::Project;
use crate::action::workflow::{Finished, Running};
use testkit::network::faults::Gate;

/// Waits in a thread of its own, since the other side of the race needs this one.
pub async fn ended(running: Running) -> Finished {
    tokio::task::spawn_blocking(move || running.finish()).await.expect("the run ends")
}

/// Both runs have planned from the same head and come to the claim.
async fn both_at_the_claim(gate: &Gate) {
    gate.arrived(2).await;
    gate.open();
}

// invariant unique: One commit, one version; broken by: `src/release/survey.rs`: a tip that *is* this commit
//   counts as nothing
#[tokio::test(flavor = "multi_thread")]
async fn one_commit_never_gets_two_versions() {
    let project = Project::new();
    let commit = project.merge("one");
    let gate = project.github.hold("POST /graphql");
    let a = project.release(&commit).with("bump", "minor").start();
    let b = project.release(&commit).with("bump", "patch").start();
    both_at_the_claim(&gate).await;
    let (a, b) = (ended(a).await, ended(b).await);
    let mut outcomes = [a.output("outcome"), b.output("outcome")];
    outcomes.sort_unstable();
    assert_eq!(outcomes, ["released", "resumed"], "{a}\n{b}");
    assert_eq!(a.output("version"), b.output("version"));
    assert_eq!(project.claims().len(), 1);
    project.assert_consistent();
}

// invariant commit-order: Two racing runs keep commit order; broken by: `src/release/claim.rs`: only the tag is
//   created, the head does not move
/// The counterexample that sank "create the version tag, then look": a minor and a patch take different
/// names, so creating tags orders nothing.
#[tokio::test(flavor = "multi_thread")]
async fn a_minor_racing_a_patch_keeps_commit_order() {
    for bumps in [("minor", "patch"), ("patch", "minor"), ("patch", "patch"), ("major", "patch")] {
        let project = Project::new();
        project.release(&project.merge("zero")).with("version", "1.0.0").finish().ended("released");
        let old = project.merge("one");
        let new = project.merge("two");
        let gate = project.github.hold("POST /graphql");
        let a = project.release(&old).with("bump", bumps.0).start();
        let b = project.release(&new).with("bump", bumps.1).start();
        both_at_the_claim(&gate).await;
        let (a, b) = (ended(a).await, ended(b).await);
        assert_eq!(b.output("outcome"), "released", "the newer commit is always released: {bumps:?} {b}");
        match a.output("outcome") {
            "superseded" => assert_eq!(project.claims().len(), 2),
            "released" => {
                let version =
                    |run: &Finished| run.output("version").parse::<semver::Version>().expect("a version");
                assert!(version(&a) < version(&b), "{bumps:?}: {a}\n{b}");
            }
            other => panic!("{bumps:?}: {other} {a}"),
        }
        project.assert_consistent();
    }
}

/// A run that is held at its first matching request to the registry, while another goes through to its end.
async fn overtaken(held_at: &str, old: bool) -> (Project, Finished, Finished) {
    let project = Project::new();
    let one = project.merge("one");
    let other = if old { project.merge("two") } else { one.clone() };
    let links = testkit::network::pager::Links::Relative;
    let pager = testkit::network::pager::Pager::before(project.registry.host(), 100, links);
    let gate = pager.hold(held_at);
    let image = format!("{}/org/app", pager.host());
    let run = |commit| {
        let digest = project.pushed("org/app", commit);
        project.workflow.push(commit).with("image", &image).with("image-digest", digest.as_str()).start()
    };
    let late = run(&other);
    gate.arrived(1).await;
    gate.let_later_ones_pass();
    let first = ended(run(&one)).await.ended("released");
    gate.open();
    let late = ended(late).await;
    drop(pager);
    (project, first, late)
}

// invariant unique: Whatever the schedule: a lost race is no conflict
/// Found by the simulation: the version that a run is after is claimed AND published while it builds. That is a
/// lost race, not a tag that somebody pushed by hand.
#[tokio::test(flavor = "multi_thread")]
async fn a_version_published_during_the_build_is_no_conflict() {
    let (project, first, late) = overtaken("* */manifests/0.0.1", true).await;
    let late = late.ended("released");
    assert_eq!((first.output("version"), late.output("version")), ("0.0.1", "0.0.2"));
    project.assert_consistent();
}

/// Found by the simulation: the same commit is released while this run plans, after it has read the head and
/// before it reads the lists.
#[tokio::test(flavor = "multi_thread")]
async fn a_version_that_was_published_while_planning_is_no_conflict() {
    let (project, first, late) = overtaken("GET */tags/list", false).await;
    let late = late.ended("resumed");
    assert_eq!((first.output("version"), late.output("version")), ("0.0.1", "0.0.1"));
    assert_eq!(project.claims().len(), 1);
    project.assert_consistent();
}

// invariant latest: `latest` does not go back; broken by: `src/release/latest.rs`: it ends after its PUT,
//   without another look
#[tokio::test(flavor = "multi_thread")]
async fn latest_is_not_moved_back_by_an_older_run() {
    let project = Project::new();
    let old = project.merge("one");
    let new = project.merge("two");
    // The older run has claimed and published, and is about to look after `latest`.
    let pager = testkit::network::pager::Pager::before(
        project.registry.host(),
        100,
        testkit::network::pager::Links::Relative,
    );
    let gate = pager.hold("PUT */manifests/latest");
    let image = format!("{}/org/app", pager.host());
    let a = project.release(&old).with("image", &image).start();
    gate.arrived(1).await;
    // The newer one goes through to its end, and then the older one's PUT lands, late.
    gate.let_later_ones_pass();
    let digest = project.pushed("org/app", &new);
    let b = project.workflow.push(&new).with("image", &image).with("image-digest", digest.as_str()).start();
    let b = ended(b).await.ended("released");
    gate.open();
    let a = ended(a).await.ended("released");
    assert_eq!((a.output("version"), b.output("version")), ("0.0.1", "0.0.2"));
    assert_eq!(project.registry.digest("org/app", "latest"), Some(digest));
    project.assert_consistent();
}

// invariant latest: GitHub's Latest does not go back; broken by: `src/release/github.rs`: it ends after its
//   PATCH, without another look
#[tokio::test(flavor = "multi_thread")]
async fn githubs_latest_is_the_highest_whoever_ends_last() {
    let project = Project::new();
    let old = project.merge("one");
    let new = project.merge("two");
    let gate = project.github.hold("PATCH */releases/*");
    let a = project.release(&old).start();
    gate.arrived(1).await;
    // The newer one goes through to its end, and then the older one's PATCH lands, late.
    gate.let_later_ones_pass();
    ended(project.release(&new).start()).await.ended("released");
    gate.open();
    ended(a).await.ended("released");
    assert_eq!(project.github.latest_release().as_deref(), Some("v0.0.2"));
    project.assert_consistent();
}

// invariant unique
#[tokio::test(flavor = "multi_thread")]
async fn a_tag_pushed_during_a_run_is_not_overwritten() {
    let project = Project::new();
    let commit = project.merge("one");
    let other = project.github.commit("elsewhere", &[]);
    let gate = project.github.hold("POST /graphql");
    let run = project.release(&commit).start();
    gate.arrived(1).await;
    project.github.set_ref("refs/tags/v0.0.1", &other);
    gate.open();
    let run = ended(run).await.ended("released");
    assert_eq!(run.output("version"), "0.0.2");
    assert_eq!(project.github.read_ref("refs/tags/v0.0.1"), Some(other));
}

// invariant unique: A version's tag is never overwritten; broken by: `src/release/publish.rs`: another digest
//   under the tag is passed over
#[tokio::test(flavor = "multi_thread")]
async fn an_image_pushed_during_a_run_is_not_overwritten() {
    let project = Project::new();
    let commit = project.merge("one");
    let gate = project.github.hold("POST /graphql");
    let run = project.release(&commit).start();
    gate.arrived(1).await;
    let foreign = testkit::images::tiny_image::TinyImage::labelled(&[("by", "hand")]);
    let foreign = project.registry.put("org/app", "0.0.1", &foreign);
    gate.open();
    let run = ended(run).await.failed(6);
    assert!(run.annotations("error")[0].contains("left as it is"), "{run}");
    assert_eq!(project.registry.digest("org/app", "0.0.1"), Some(foreign));
}

/// No gates, no order: twenty merges whose runs all start at once.
#[test]
fn twenty_concurrent_runs_release_in_commit_order() {
    let project = Project::new();
    let commits: Vec<_> = (0..20).map(|number| project.merge(&format!("merge {number}"))).collect();
    let bumps = ["patch", "minor", "patch", "major"];
    let running: Vec<Running> = commits
        .iter()
        .zip(bumps.iter().cycle())
        .map(|(commit, bump)| project.release(commit).with("bump", bump).start())
        .collect();
    let ended: Vec<Finished> = running.into_iter().map(Running::finish).collect();
    for run in &ended {
        assert!(run.code == Some(0), "{run}");
        assert!(["released", "superseded"].contains(&run.output("outcome")), "{run}");
    }
    let newest = ended.last().expect("twenty runs");
    assert_eq!(newest.output("outcome"), "released", "the newest commit is always released: {newest}");
    // Newest claim first, so commits fall where versions do.
    let order = |commit| commits.iter().position(|other| other == commit).expect("one of the twenty");
    let claimed: Vec<usize> = project.claims().iter().map(|claim| order(&claim.commit)).collect();
    assert!(claimed.is_sorted_by(|a, b| a > b), "versions rise along commit order: {claimed:?}");
    project.assert_consistent();
}

/// Both images' runs have read the release's text before either writes; the first to write is the last to land.
#[tokio::test(flavor = "multi_thread")]
async fn images_that_join_at_once_keep_each_others_blocks() {
    let project = Project::new();
    let commit = project.merge("one");
    project.release(&commit).finish().ended("released");
    let joined = |repository: &str| {
        let digest = project.pushed(repository, &commit);
        let image = project.registry.image(repository).to_string();
        project.workflow.push(&commit).with("image", &image).with("image-digest", digest.as_str())
    };
    let gate = project.github.hold("PATCH */releases/*");
    let a = joined("org/worker").start();
    gate.arrived(1).await;
    gate.let_later_ones_pass();
    ended(joined("org/cron").start()).await.ended("released");
    gate.open();
    ended(a).await.ended("released");
    let body = project.github.releases()[0].body.clone().unwrap_or_default();
    for image in ["org/app:", "org/worker:", "org/cron:"] {
        assert_eq!(body.matches(image).count(), 1, "{image} in {body}");
    }
}
