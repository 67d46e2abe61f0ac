//! What sank earlier designs, each as a test of its own. Some stand elsewhere:
//!
//! - a minor racing a patch: `action::release::races::a_minor_racing_a_patch_keeps_commit_order`;
//! - two bumps of one commit: `action::release::races::one_commit_never_gets_two_versions`;
//! - superseded by a claim whose run died:
//!   `action::release::resume::a_superseded_run_publishes_what_a_dead_newer_one_claimed`;
//! - a late PUT of `latest`: `action::release::races::latest_is_not_moved_back_by_an_older_run`, and below;
//! - GitHub's Latest set backwards: `action::release::races::githubs_latest_is_the_highest_whoever_ends_last`;
//! - a delayed version between a rollback and its target:
//!   `receiver::deployments::success::a_delayed_version_above_a_rollbacks_target_stays_out`.

use super::Project;
use super::races::ended;
use crate::action::workflow::Run;
use testkit::images::tiny_image::TinyImage;
use testkit::network::pager::{Links, Pager};

// invariant commit-order: The reads keep their order; broken by: `src/release/survey.rs`: Git's tags are read
//   before the registry's
/// The head, then the registry, then Git: lists that are older than the head that a claim rests on could be
/// short of what that head's own run has made since.
#[tokio::test(flavor = "multi_thread")]
async fn the_registry_is_read_after_the_head_and_before_git() {
    let project = Project::new();
    let pager = Pager::before(project.registry.host(), 100, Links::Relative);
    let (at_registry, at_git) =
        (pager.hold("GET */tags/list"), project.github.hold("GET */git/matching-refs/*"));
    let commit = project.merge("one");
    let run = project.release(&commit).with("image", &format!("{}/org/app", pager.host())).start();
    at_registry.arrived(1).await;
    assert_eq!(project.github.count("GET */git/ref/autotag/v/head"), 1, "the head comes first");
    assert_eq!(project.github.count("GET */git/matching-refs/*"), 0, "Git comes last");
    at_registry.open();
    at_git.arrived(1).await;
    let list = pager.seen().into_iter().find(|seen| seen.target.contains("/tags/list"));
    assert_eq!(list.and_then(|seen| seen.status), Some(200), "the registry's list is read whole");
    at_git.open();
    ended(run).await.ended("released");
}

// invariant commit-order: A whole release between two reads is noticed; broken by: `src/release/survey.rs`: a
//   tip that is ahead counts as nothing
/// Another run goes through from its first read to its end between two reads of this one.
#[tokio::test(flavor = "multi_thread")]
async fn a_whole_release_between_any_two_reads_is_never_missed() {
    for held in ["GET */git/ref/autotag/v/head", "GET */tags/list", "GET */git/matching-refs/*"] {
        for held_is_newer in [true, false] {
            let project = Project::new();
            let pager = Pager::before(project.registry.host(), 100, Links::Relative);
            let image = format!("{}/org/app", pager.host());
            let (old, new) = (project.merge("one"), project.merge("two"));
            let (mine, other) = if held_is_newer { (&new, &old) } else { (&old, &new) };
            let run = |commit| -> Run { project.release(commit).with("image", &image) };
            let gate = if held.contains("tags/list") { pager.hold(held) } else { project.github.hold(held) };
            let waiting = run(mine).start();
            gate.arrived(1).await;
            gate.let_later_ones_pass();
            let first = ended(run(other).with("bump", "minor").start()).await.ended("released");
            gate.open();
            let second = ended(waiting).await;
            let expected = if held_is_newer { "released" } else { "superseded" };
            let second = second.ended(expected);
            if held_is_newer {
                let version = |text: &str| text.parse::<semver::Version>().expect("a version");
                assert!(
                    version(second.output("version")) > version(first.output("version")),
                    "{held}: {second}"
                );
            }
            project.assert_consistent();
        }
    }
}

// invariant unique: A claim stays its commit's; broken by: `src/release/survey.rs`: superseded is judged before
//   claimed
/// A claim that could be withdrawn would be withdrawn under somebody who had already built on it. So it
/// stays, whatever becomes of its run, and its version is nobody else's.
#[tokio::test(flavor = "multi_thread")]
async fn a_dead_runs_version_is_never_reused() {
    let project = Project::new();
    let pager = Pager::before(project.registry.host(), 100, Links::Relative);
    let image = format!("{}/org/app", pager.host());
    let release = |commit| project.release(commit).with("image", &image);
    let dead = project.merge("one");
    let gate = pager.hold("PUT */manifests/0.0.1");
    let run = release(&dead).start();
    gate.arrived(1).await;
    assert_eq!(run.kill().code, None);
    gate.open();
    let claim = project.github.read_ref("refs/tags/v0.0.1").expect("it was claimed");
    // Neither by counting on, nor by naming it.
    let next = project.merge("two");
    let run = release(&next).with("version", "0.0.1").start();
    ended(run).await.refused(6, "The Git tag belongs to another commit");
    let run = ended(release(&next).start()).await.ended("released");
    assert_eq!(run.output("version"), "0.0.2");
    assert_eq!(project.github.read_ref("refs/tags/v0.0.1"), Some(claim));
    // Its own commit may still come, and moves nothing back.
    let run = ended(release(&dead).start()).await.ended("resumed");
    assert_eq!(run.output("version"), "0.0.1");
    assert_eq!(project.registry.digest("org/app", "latest"), project.registry.digest("org/app", "0.0.2"));
    project.assert_consistent();
}

// invariant latest: A late `latest` is put right; broken by: `src/release/latest.rs`: any `latest` is taken for
//   the right one
/// The one thing that no order of steps can keep from happening: a PUT on its way outlives its sender. The next
/// run, of whatever commit, puts it right.
#[test]
fn a_late_put_of_latest_is_corrected_by_a_rerun() {
    let project = Project::new();
    let (old, new) = (project.merge("one"), project.merge("two"));
    project.release(&old).finish().ended("released");
    project.release(&new).finish().ended("released");
    for commit in [&old, &new] {
        let late = TinyImage::labelled(&[("org.opencontainers.image.revision", old.as_str())]);
        let digest = project.registry.put("org/app", "latest", &late);
        assert_eq!(project.registry.digest("org/app", "0.0.1"), Some(digest), "it is the older one's");
        project.release(commit).finish().ended("resumed");
        project.assert_consistent();
    }
}

// invariant latest: Another tool's higher `latest` stays; broken by: `src/release/latest.rs`: the plan's list
//   is not read again
/// Another tool pushes a higher version, and moves `latest` to it, after this run read its lists.
#[tokio::test(flavor = "multi_thread")]
async fn latest_moved_higher_by_others_is_left_alone() {
    let project = Project::new();
    let (first, second, third) = (project.merge("one"), project.merge("two"), project.merge("three"));
    project.release(&first).finish().ended("released");
    let gate = project.github.hold("POST */git/tags");
    let run = project.release(&second).start();
    gate.arrived(1).await;
    let theirs = TinyImage::labelled(&[("made-by", "hand")]);
    let digest = project.registry.put("org/app", "2.0.0", &theirs);
    project.registry.put("org/app", "latest", &theirs);
    gate.open();
    let run = ended(run).await.ended("released");
    assert_eq!(run.output("version"), "0.0.2");
    assert_eq!(project.registry.digest("org/app", "latest"), Some(digest), "2.0.0 is higher than 0.0.2");
    assert!(run.log.contains("latest is 2.0.0, which this action did not make: left alone"), "{run}");
    // The next version is above it, and takes `latest` on.
    let run = project.release(&third).finish().ended("released");
    assert_eq!(run.output("version"), "2.0.1");
    project.assert_consistent();
}
