//! What a review found that could go wrong, kept so that it stays mended.

use super::Project;
use super::races::ended;
use autotag_model::git::ObjectId;
use testkit::images::tiny_image::TinyImage;
use testkit::network::faults::Fault;

/// How many commits claim a version.
fn owners(project: &Project, version: &str) -> usize {
    let claims = project.claims();
    let of_version = claims.iter().filter(|claim| claim.version.to_string() == version);
    of_version.map(|claim| &claim.commit).collect::<std::collections::BTreeSet<_>>().len()
}

/// The commit that a tag names, by a tag object or without one.
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
fn a_version_stays_its_commits_though_its_tag_was_pushed_elsewhere() {
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
async fn a_hand_made_tag_deleted_during_the_build_never_lands_elsewhere() {
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
async fn a_hand_made_tag_moved_during_the_build_is_not_released() {
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
fn an_image_joins_no_version_that_is_taken_in_its_repository() {
    let project = Project::new();
    let commit = project.merge("one");
    project.release(&commit).finish().ended("released");
    project.registry.put("org/worker", "0.0.1", &TinyImage::labelled(&[("by", "hand")]));
    let digest = project.pushed("org/worker", &commit);
    let image = project.registry.image("org/worker").to_string();
    let run =
        project.workflow.push(&commit).with("image", &image).with("image-digest", digest.as_str()).finish();
    let run = run.refused(6, "The image's tag is taken");
    assert_eq!(project.claims().len(), 1, "claimed what can never be published: {run}");
}

#[test]
fn what_can_never_be_published_is_not_claimed() {
    let project = Project::new();
    project.registry.put("org/app", "2.0.0", &TinyImage::labelled(&[("by", "hand")]));
    let commit = project.merge("one");
    let run =
        project.release(&commit).with("version", "2.0.0").finish().refused(6, "The image's tag is taken");
    assert_eq!(project.claims().len(), 0, "claimed what can never be published: {run}");
}

#[test]
fn a_pull_request_without_secrets_is_planned_all_the_same() {
    let project = Project::new();
    let commit = project.merge("one");
    let run = project
        .workflow
        .run(&commit, "pull_request", "refs/pull/1/merge")
        .with("registry-username", "org-bot")
        .with("registry-password", "")
        .with("command", "plan");
    run.finish().ended("planned");
}

#[test]
fn a_refusal_for_a_lock_is_no_missing_permission() {
    let project = Project::new();
    let commit = project.merge("one");
    let refusal = serde_json::json!({
        "data": { "updateRefs": null },
        "errors": [{ "message": "cannot lock ref 'refs/autotag/v/head': Unable to create '...head.lock': File exists." }],
    });
    project.github.inject(Fault::on("POST /graphql").answer(200, refusal));
    project.release(&commit).finish().ended("released");
}

#[test]
fn a_timeout_that_graphql_reports_is_asked_again() {
    let project = Project::new();
    let commit = project.merge("one");
    let refusal = serde_json::json!({
        "data": null,
        "errors": [{ "message": "Something went wrong while executing your query. This may be the result of a timeout, or it could be a GitHub bug." }],
    });
    project.github.inject(Fault::on("POST /graphql").answer(200, refusal));
    project.release(&commit).finish().ended("released");
}

#[test]
fn a_rate_limit_that_graphql_reports_is_waited_out() {
    let project = Project::new();
    let commit = project.merge("one");
    let refusal =
        serde_json::json!({ "errors": [{ "type": "RATE_LIMITED", "message": "API rate limit exceeded" }] });
    project.github.inject(Fault::on("POST /graphql").answer(200, refusal));
    project.release(&commit).finish().ended("released");
}

#[test]
fn a_rewritten_history_goes_on_releasing() {
    let project = Project::new();
    project.release(&project.merge("one")).finish().ended("released");
    let fresh = project.github.commit("rewritten root", &[]);
    project.github.set_ref("refs/heads/main", &fresh);
    let run = project.release(&fresh).finish().ended("released");
    assert_eq!(run.output("version"), "0.0.2");
}

#[test]
fn a_deleted_release_stays_deleted() {
    let project = Project::new();
    let commit = project.merge("one");
    let digest = project.pushed("org/app", &commit);
    project.release(&commit).with("release", "false").finish().ended("released");
    let folder = tempfile::tempdir().expect("a folder");
    let event = folder.path().join("event.json");
    let payload = serde_json::json!({ "action": "deleted", "repository": { "default_branch": "main" } });
    std::fs::write(&event, payload.to_string()).expect("the event");
    let run = project
        .workflow
        .run(&commit, "release", "refs/tags/v0.0.1")
        .with("image-digest", digest.as_str())
        .env("GITHUB_EVENT_PATH", &event.to_string_lossy())
        .finish()
        .ended("planned");
    assert!(project.github.releases().is_empty(), "{run}");
}

#[test]
fn another_digest_for_a_claimed_commit_is_told() {
    let project = Project::new();
    let commit = project.merge("one");
    project.release(&commit).finish().ended("released");
    let other = project.registry.put("org/app", "other", &TinyImage::labelled(&[("x", "y")]));
    let run = project.workflow.push(&commit).with("image-digest", other.as_str()).finish().ended("resumed");
    assert!(run.log.contains(other.as_str()), "not a word of {other}: {run}");
}

#[test]
fn a_tag_pushed_on_an_older_commit_is_refused_not_passed_over() {
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
fn a_hand_made_tag_with_build_metadata_is_no_version_to_take_up() {
    let project = Project::new();
    project.release(&project.merge("one")).finish().ended("released");
    let commit = project.merge("two");
    project.github.set_ref("refs/tags/v1.0.0+hotfix", &commit);
    let run = project.release(&commit).finish().ended("released");
    // Above the tag, whose number is nobody's to give again.
    assert_eq!(run.output("version"), "1.0.1");
}

#[test]
fn a_failed_or_foreign_workflow_run_releases_nothing() {
    let project = Project::new();
    let commit = project.merge("not tested yet");
    let folder = tempfile::tempdir().expect("a folder");
    let event = folder.path().join("event.json");
    let payload = serde_json::json!({
        "action": "completed", "repository": { "default_branch": "main" },
        "workflow_run": { "event": "pull_request", "conclusion": "failure", "head_branch": "patch-1",
                          "head_sha": "b".repeat(40), "head_repository": { "fork": true } },
    });
    std::fs::write(&event, payload.to_string()).expect("the event");
    let digest = project.pushed("org/app", &commit);
    let run = project
        .workflow
        .run(&commit, "workflow_run", "refs/heads/main")
        .with("image-digest", digest.as_str())
        .env("GITHUB_EVENT_PATH", &event.to_string_lossy())
        .finish()
        .ended("planned");
    assert!(project.claims().is_empty() && project.github.releases().is_empty(), "{run}");
    assert_eq!(project.registry.digest("org/app", "0.0.1"), None, "{run}");
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

#[test]
fn superseded_promises_no_release_that_may_be_missing() {
    let project = Project::new();
    let old = project.merge("one");
    let new = project.merge("two");
    project
        .github
        .inject(Fault::on("POST */releases").answer(401, serde_json::json!({"message": "no"})).times(9));
    project.release(&new).finish().failed(3);
    let run = project.release(&old).finish().ended("superseded");
    let summary = &run.summary;
    assert!(summary.contains("v0.0.1"), "it names what stands in the way: {summary}");
    assert!(!summary.contains("has been released") && !summary.contains("/releases/tag/"), "{summary}");
}

#[test]
fn latest_that_may_not_be_moved_warns_or_fails_as_asked() {
    use testkit::network::pager::{Links, Pager};
    for (status, code) in [
        (400, "TAG_INVALID"),
        (403, "DENIED"),
        (405, "UNSUPPORTED"),
        (409, "CONFLICT"),
        (412, "PRECONDITION"),
    ] {
        let project = Project::new();
        let pager = Pager::before(project.registry.host(), 100, Links::Relative);
        let refusal =
            serde_json::json!({ "errors": [{ "code": code, "message": "the tag latest is immutable" }] });
        pager.inject(Fault::on("PUT */manifests/latest").answer(status, refusal).times(99));
        let commit = project.merge("one");
        let run = project.release(&commit).with("image", &format!("{}/org/app", pager.host())).finish();
        assert_eq!(run.output("outcome"), "released", "{status}: {run}");
        assert!(run.log.contains("latest was not moved"), "{status}: {run}");
        let run = project.release(&commit).with("image", &format!("{}/org/app", pager.host()));
        run.with("latest", "true").finish().refused(6, "The registry's tags are immutable");
    }
}

#[test]
fn a_list_withheld_twice_claims_nothing() {
    use testkit::network::pager::{Links, Pager};
    let project = Project::new();
    let pager = Pager::before(project.registry.host(), 100, Links::Relative);
    let refusal = serde_json::json!({ "errors": [{ "code": "DENIED", "message": "no" }] });
    pager.inject(Fault::on("GET */tags/list").answer(403, refusal.clone()).times(2));
    let commit = project.merge("one");
    let with = |project: &Project| {
        project
            .release(&commit)
            .with("image", &format!("{}/org/app", pager.host()))
            .with("registry-username", "me")
            .with("registry-password", "pa55word")
    };
    let run = with(&project).finish().refused(3, "The registry refuses the login");
    assert!(project.claims().is_empty(), "{run}");
    project.registry.put("org/app", "3.0.0", &TinyImage::labelled(&[("by", "hand")]));
    pager.inject(Fault::on("GET */tags/list").answer(403, refusal).times(1));
    let run = with(&project).finish().ended("released");
    assert_eq!(run.output("version"), "3.0.1");
}

#[test]
fn two_prefixes_never_share_a_claim_ref() {
    let project = Project::new();
    let commit = project.merge("one");
    let head = "refs/tags/autotag-head";
    project.release(&commit).with("claim-ref", head).finish().ended("released");
    let digest = project.pushed("org/api", &commit);
    let image = project.registry.image("org/api").to_string();
    let run = project.workflow.push(&commit).with("image", &image).with("image-digest", digest.as_str());
    let run =
        run.with("tag-prefix", "api-v").with("initial-version", "5.0.0").with("claim-ref", head).finish();
    assert!(run.failed(6).annotations("error")[0].contains("claim-ref"));
    assert_eq!(project.claims_at(head).len(), 1);
}

/// A checkout of something else than the run's commit would be released under that commit's version.
#[test]
fn a_workspace_of_another_commit_is_refused() {
    let project = Project::new();
    let (commit, other) = (project.merge("one"), project.merge("two"));
    let git = project.workflow.workspace().join(".git");
    std::fs::create_dir(&git).expect(".git");
    std::fs::write(git.join("HEAD"), format!("{other}\n")).expect("HEAD");
    let run = project.workflow.push(&commit).without_docker().finish().failed(2);
    assert!(run.annotations("error")[0].contains(other.as_str()), "{run}");
    assert!(project.claims().is_empty());
}
