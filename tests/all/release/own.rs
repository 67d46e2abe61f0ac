//! What this project's own release asks of the action (`.github/workflows/release.yml`): an index over two
//! platforms that other jobs pushed, and a release that is published once its files are attached.

use serde_json::json;

use super::Project;
use testkit::github::Double;
use testkit::images::tiny_image::TinyImage;
use testkit::network::http::client;

// invariant unique: An index is published as it is; broken by: `src/adapters/registry/manifest.rs`: an index is
//   not among what is accepted
#[test]
fn an_index_is_released_byte_for_byte_with_both_its_platforms() {
    let project = Project::new();
    let commit = project.merge("one");
    let labels = [("org.opencontainers.image.revision", commit.as_str())];
    let index = TinyImage::index(vec![
        ("amd64", TinyImage::of_architecture("amd64", &labels)),
        ("arm64", TinyImage::of_architecture("arm64", &labels)),
    ]);
    let digest = project.registry.put("org/app", "build-1", &index);
    let run = || project.workflow.push(&commit).with("image-digest", digest.as_str()).without_docker();
    let released = run().finish().ended("released");
    assert_eq!(released.output("digest"), digest.as_str());
    for tag in ["0.0.1", "latest"] {
        assert_eq!(project.registry.digest("org/app", tag).as_ref(), Some(&digest), "{tag}");
    }
    assert_eq!(project.registry.manifest(&digest), Some(index.manifest));
    assert_eq!(project.claims()[0].digest, digest);
    run().finish().ended("resumed");
    project.assert_consistent();
}

// invariant latest: Our own draft, once published, becomes Latest; broken by: `src/pipeline/mod.rs`: a resumed
//   run does not look at which release is shown
#[tokio::test(flavor = "multi_thread")]
async fn a_draft_that_was_published_without_being_latest_is_made_so_by_the_next_run() {
    let project = Project::new();
    project.release(&project.merge("one")).finish().ended("released");
    let commit = project.merge("two");
    project.release(&commit).with("release-draft", "true").finish().ended("released");
    assert_eq!(project.github.latest_release().as_deref(), Some("v0.0.1"), "a draft is never shown");
    let draft = project.github.releases().into_iter().find(|release| release.draft).expect("a draft");
    let published = client()
        .patch(format!("{}/repos/org/app/releases/{}", project.github.url(), draft.id))
        .bearer_auth(Double::TOKEN)
        .body(json!({ "draft": false, "make_latest": "false" }).to_string())
        .send();
    assert_eq!(published.await.expect("an answer").status(), 200);
    assert_eq!(
        project.github.latest_release().as_deref(),
        Some("v0.0.1"),
        "and nor is one that is not to be"
    );
    project.release(&commit).finish().ended("resumed");
    assert_eq!(project.github.latest_release().as_deref(), Some("v0.0.2"));
    assert_eq!(project.github.releases().len(), 2);
    project.assert_consistent();
}
