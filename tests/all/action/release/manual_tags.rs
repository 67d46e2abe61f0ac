//! Tags that people make, move and delete: a version stays with its commit.

use super::Project;
use super::races::ended;
use autotag_model::git::ObjectId;
use testkit::network::faults::Fault;

fn owners(project: &Project, version: &str) -> usize {
    let claims = project.claims();
    let of_version = claims.iter().filter(|claim| claim.version.to_string() == version);
    of_version.map(|claim| &claim.commit).collect::<std::collections::BTreeSet<_>>().len()
}

fn tagged(project: &Project, tag: &str) -> Option<ObjectId> {
    let tag = project.github.read_ref(&format!("refs/tags/{tag}"))?;
    Some(project.github.tag_object(&tag).map_or(tag, |object| object.target))
}

#[test]
fn a_version_stays_its_commits_though_its_tag_was_deleted() {
    let project = Project::new();
    project.release(&project.merge("one")).with("version", "1.0.0").finish().ended("released");
    project.github.delete_ref("refs/tags/v1.0.0");
    let run = project.release(&project.merge("two")).with("version", "1.0.0").finish();
    let run = run.refused(6, "The version is not above what exists");
    assert_eq!(owners(&project, "1.0.0"), 1, "{run}");
}

#[test]
fn a_version_keeps_its_commit_despite_a_pushed_tag() {
    let project = Project::new();
    project.release(&project.merge("one")).with("version", "1.0.0").finish().ended("released");
    let second = project.merge("two");
    project.github.set_ref("refs/tags/v1.0.0", &second);
    let digest = project.pushed("org/app", &second);
    let run = project
        .workflow
        .run(&second, "push", "refs/tags/v1.0.0")
        .with("image-digest", digest.as_str())
        .finish()
        .refused(6, "The version is not above what exists");
    assert_eq!(owners(&project, "1.0.0"), 1, "{run}");
}

#[test]
fn a_deleted_tag_is_made_again_at_its_own_commit() {
    let project = Project::new();
    let first = project.merge("one");
    project.github.inject(Fault::on("POST */releases").answer(401, serde_json::json!({"message": "no"})));
    project.release(&first).finish().failed(3);
    project.github.delete_ref("refs/tags/v0.0.1");
    project.merge("two");
    let run = project.release(&first).finish().ended("resumed");
    assert_eq!(tagged(&project, "v0.0.1"), Some(first), "{run}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_manual_tag_deleted_during_the_build_stays_unused() {
    let project = Project::new();
    let first = project.merge("one");
    project.github.set_ref("refs/tags/v1.0.0", &first);
    project.merge("two");
    let gate = project.github.hold("POST /graphql");
    let run = project.release(&first).start();
    gate.arrived(1).await;
    project.github.delete_ref("refs/tags/v1.0.0");
    gate.open();
    let run = ended(run).await.ended("released");
    assert_eq!(tagged(&project, "v1.0.0"), Some(first), "{run}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_manual_tag_moved_during_the_build_is_unreleased() {
    let project = Project::new();
    let first = project.merge("one");
    project.github.set_ref("refs/tags/v1.0.0", &first);
    let second = project.merge("two");
    let gate = project.github.hold("POST /graphql");
    let run = project.release(&first).start();
    gate.arrived(1).await;
    project.github.set_ref("refs/tags/v1.0.0", &second);
    gate.open();
    ended(run).await.refused(6, "The Git tag belongs to another commit");
    assert_eq!(project.registry.digest("org/app", "1.0.0"), None, "published under another commit's tag");
    assert_eq!(tagged(&project, "v1.0.0"), Some(second), "a person's tag was moved");
}

#[test]
fn a_tag_pushed_on_an_older_commit_is_refused() {
    let project = Project::new();
    let old = project.merge("one");
    let new = project.merge("two");
    project.release(&new).finish().ended("released");
    project.github.set_ref("refs/tags/v2.0.0", &old);
    let digest = project.pushed("org/app", &old);
    let run =
        project.workflow.run(&old, "push", "refs/tags/v2.0.0").with("image-digest", digest.as_str()).finish();
    run.refused(6, "The version is not above what exists");
    assert_eq!(project.registry.digest("org/app", "2.0.0"), None);
}

#[test]
fn a_manual_tag_with_build_metadata_is_no_version() {
    let project = Project::new();
    project.release(&project.merge("one")).finish().ended("released");
    let commit = project.merge("two");
    project.github.set_ref("refs/tags/v1.0.0+hotfix", &commit);
    let run = project.release(&commit).finish().ended("released");
    // Above the tag, whose number is nobody's to give again.
    assert_eq!(run.output("version"), "1.0.1");
}

#[test]
fn the_tag_that_is_put_out_exists() {
    let project = Project::new();
    let commit = project.merge("one");
    project.release(&commit).with("release", "false").finish().ended("released");
    project.github.delete_ref("refs/tags/v0.0.1");
    let run = project.release(&commit).with("release", "false").finish().ended("resumed");
    assert_eq!(run.output("tag"), "v0.0.1");
    assert_eq!(tagged(&project, "v0.0.1"), Some(commit), "a tag is put out that does not exist: {run}");
}
