//! Releases, notes and deployments of the double.

use serde_json::{Value, json};

use super::Client;
use testkit::github::Double;

#[tokio::test]
async fn latest_is_the_marked_release_or_the_newest_commit() {
    let double = Double::start();
    let client = Client::of(&double);
    assert_eq!(client.get("releases/latest").await.status, 404);
    for version in ["1.0.0", "1.0.1", "1.0.2"] {
        let commit = double.commit_on("main", version);
        double.set_ref(&format!("refs/tags/v{version}"), &commit);
    }
    let release = async |tag: &str, extra: Value| {
        let mut body = json!({ "tag_name": tag, "name": tag });
        body.as_object_mut().expect("an object").extend(extra.as_object().cloned().unwrap_or_default());
        let answered = client.send("POST", "releases", body).await;
        assert_eq!(answered.status, 201, "{}", answered.body);
        answered.body["id"].as_u64().expect("an id")
    };
    let second = release("v1.0.1", json!({ "make_latest": "false" })).await;
    assert_eq!(double.latest_release(), None, "it was said not to be");
    release("v1.0.0", json!({ "make_latest": "legacy" })).await;
    assert_eq!(double.latest_release().as_deref(), Some("v1.0.0"));
    client.send("PATCH", &format!("releases/{second}"), json!({ "make_latest": "legacy" })).await;
    assert_eq!(double.latest_release().as_deref(), Some("v1.0.1"), "of a newer commit");
    let third = release("v1.0.2", json!({ "draft": true })).await;
    assert_eq!(double.latest_release().as_deref(), Some("v1.0.1"), "drafts never are");
    assert_eq!(client.get("releases/tags/v1.0.2").await.status, 404, "drafts have no tag yet");
    client.send("PATCH", &format!("releases/{third}"), json!({ "draft": false, "prerelease": true })).await;
    assert_eq!(double.latest_release().as_deref(), Some("v1.0.1"), "prereleases never are");
    client
        .send("PATCH", &format!("releases/{third}"), json!({ "prerelease": false, "make_latest": "true" }))
        .await;
    assert_eq!(client.get("releases/latest").await.body["tag_name"], "v1.0.2");
    client.send("PATCH", &format!("releases/{second}"), json!({ "body": "notes" })).await;
    assert_eq!(double.latest_release().as_deref(), Some("v1.0.1"), "the default of make_latest is true");
    let again = client.send("POST", "releases", json!({ "tag_name": "v1.0.2" })).await;
    assert_eq!((again.status, &again.body["errors"][0]["code"]), (422, &json!("already_exists")));
    client.try_send("DELETE", &format!("releases/{second}"), None).await.expect("an answer");
    assert_eq!(double.latest_release().as_deref(), Some("v1.0.2"), "the newest of those left");
}

#[tokio::test]
async fn notes_tell_what_changed() {
    let double = Double::start();
    let client = Client::of(&double);
    let first = double.commit_on("main", "Start (#1)");
    double.set_ref("refs/tags/v1.0.0", &first);
    double.commit_on("main", "Add a thing (#2)\n\nwith reasons");
    let body = json!({ "tag_name": "v1.0.1", "previous_tag_name": "v1.0.0", "target_commitish": "main" });
    let notes = client.send("POST", "releases/generate-notes", body).await.body;
    assert_eq!(
        notes["body"],
        "## What's Changed\n* Add a thing by @octocat in https://github.com/org/app/pull/2\n\n\
         **Full Changelog**: https://github.com/org/app/compare/v1.0.0...v1.0.1"
    );
}

#[tokio::test]
async fn a_branch_behind_is_merged_instead_of_deployed() {
    let double = Double::start();
    let client = Client::of(&double);
    let root = double.commit_on("main", "root");
    double.set_ref("refs/heads/topic", &root);
    let newest = double.commit_on("main", "newer");
    let answered = client.send("POST", "deployments", json!({ "ref": "topic" })).await;
    assert_eq!((answered.status, double.deployments().len()), (202, 0));
    let merged = double.find_commit(&double.read_ref("refs/heads/topic").expect("topic")).expect("a commit");
    assert_eq!(merged.parents, [root, newest]);
}
