//! What the registry has already, or withholds: nothing is claimed that cannot be published.

use super::Project;
use testkit::images::tiny_image::TinyImage;
use testkit::network::faults::Fault;
use testkit::network::pager::{Links, Pager};

#[test]
fn an_image_joins_no_version_its_repository_has() {
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
fn another_digest_for_a_claimed_commit_is_warned_about() {
    let project = Project::new();
    let commit = project.merge("one");
    project.release(&commit).finish().ended("released");
    let other = project.registry.put("org/app", "other", &TinyImage::labelled(&[("x", "y")]));
    let run = project.workflow.push(&commit).with("image-digest", other.as_str()).finish().ended("resumed");
    assert!(run.log.contains(other.as_str()), "not a word of {other}: {run}");
}

#[test]
fn an_immovable_latest_warns_or_fails_as_configured() {
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
