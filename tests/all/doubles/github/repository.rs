//! Refs, tags, commits and comparisons of the double; a real repository behind it.

use std::process::Command;
use std::time::Duration;

use autotag_model::git::ObjectId;
use serde_json::{Value, json};

use super::{Answered, Client, HEAD, mutation, update};
use testkit::clock;
use testkit::github::{Double, DoubleOptions, REPOSITORY_NODE};

#[tokio::test]
async fn all_refs_of_an_update_move_or_none() {
    let double = Double::start();
    let client = Client::of(&double);
    let commit = double.commit_on("main", "one");
    let zero = ObjectId::zero();
    let made = client
        .send(
            "POST",
            "git/tags",
            json!({ "tag": "v1.0.0", "message": "claim", "object": commit, "type": "commit" }),
        )
        .await;
    assert_eq!(made.status, 201);
    let first: ObjectId = made.body["sha"].as_str().expect("a sha").parse().expect("an id");

    let applied = client
        .update_refs(json!([update(HEAD, &zero, &first), update("refs/tags/v1.0.0", &zero, &first)]))
        .await;
    assert_eq!(applied["errors"], Value::Null, "{applied}");
    assert_eq!(double.read_ref(HEAD), Some(first.clone()));
    assert_eq!(double.read_ref("refs/tags/v1.0.0"), Some(first.clone()));

    let second = double.loose_tag_object("v1.0.1", "claim", &commit);
    let stranger = "f".repeat(40);
    for (refused, why) in [
        (json!([update(HEAD, &zero, &second), update("refs/tags/v1.0.1", &zero, &second)]), "head moved on"),
        (json!([update(HEAD, &first, &second), update("refs/tags/v1.0.0", &zero, &second)]), "tag is taken"),
        (
            json!([
                update(HEAD, &first, &second),
                update("refs/tags/v2", &zero, &stranger.parse().expect("an id"))
            ]),
            "no such object",
        ),
        (json!([update(HEAD, &first, &second), update("refs/tags/v1.0.0/x", &zero, &second)]), "a ref above"),
        (json!([update(HEAD, &first, &second), update("refs/heads/new", &zero, &second)]), "tag as branch"),
        (json!([update(HEAD, &first, &second), update(HEAD, &first, &second)]), "twice"),
        (json!([{ "name": HEAD, "beforeOid": first, "afterOid": second }]), "no force"),
    ] {
        let before = double.refs("refs/");
        let answer = client.update_refs(refused).await;
        assert!(answer["errors"][0]["message"].is_string(), "{why}: {answer}");
        assert_eq!(double.refs("refs/"), before, "{why}");
    }

    let moved = client
        .update_refs(json!([update(HEAD, &first, &second), update("refs/tags/v1.0.0", &first, &zero)]))
        .await;
    assert_eq!(moved["errors"], Value::Null, "{moved}");
    assert_eq!(double.refs("refs/tags/"), []);
}

#[tokio::test]
async fn branches_move_forward_unless_forced() {
    let double = Double::start();
    let client = Client::of(&double);
    let first = double.commit_on("main", "one");
    let second = double.commit_on("main", "two");
    let back = json!([{ "name": "refs/heads/main", "afterOid": first }]);
    assert!(client.update_refs(back).await["errors"].is_array());
    let patched = client.send("PATCH", "git/refs/heads/main", json!({ "sha": first })).await;
    assert_eq!(
        (patched.status, patched.body["message"].as_str()),
        (422, Some("Update is not a fast forward"))
    );
    assert_eq!(double.read_ref("refs/heads/main"), Some(second.clone()));
    assert_eq!(
        client.send("PATCH", "git/refs/heads/main", json!({ "sha": first, "force": true })).await.status,
        200
    );
    let forward = json!([{ "name": "refs/heads/main", "beforeOid": first, "afterOid": second }]);
    assert_eq!(client.update_refs(forward).await["errors"], Value::Null);
}

#[tokio::test]
async fn graphql_reads_documents_as_github_does() {
    let double = Double::start();
    let client = Client::of(&double);
    let commit = double.commit_on("main", "one");
    let inline = format!(
        "mutation Claim($id: ID!, $after: GitObjectID!) {{ updateRefs(input: {{repositoryId: $id, \
         refUpdates: [{{name: \"refs/tags/v1\", afterOid: $after, force: false}}]}}) {{ clientMutationId }} }} # {commit}"
    );
    let variables = json!({ "id": REPOSITORY_NODE, "after": commit });
    let answer =
        client.send("POST", "/api/graphql", json!({ "query": inline, "variables": variables })).await.body;
    assert_eq!(answer["errors"], Value::Null, "{answer}");
    assert_eq!(double.read_ref("refs/tags/v1"), Some(commit.clone()));

    let misspelt = mutation(&json!([{ "name": "refs/tags/v2", "after": commit }]));
    let no_input = json!({ "query": "mutation { updateRefs(input: $input) { clientMutationId } }" });
    let other_field =
        json!({ "query": inline.replace("{ clientMutationId }", "{ refs }"), "variables": variables });
    for request in [misspelt, no_input, other_field, json!({ "query": "query { viewer { login } }" })] {
        let answer = client.send("POST", "/graphql", request.clone()).await.body;
        assert!(answer["errors"].is_array(), "{request}");
        assert_eq!(double.take_violations().len(), 1, "{request}");
    }
    let elsewhere = json!({ "query": inline, "variables": { "id": "R_other", "after": commit } });
    assert_eq!(client.send("POST", "/graphql", elsewhere).await.body["errors"][0]["type"], "NOT_FOUND");
}

#[tokio::test]
async fn comparisons_follow_the_graph() {
    let double = Double::start();
    let client = Client::of(&double);
    // root - left - merge
    //     \ right /       and an island
    let root = double.commit_on("main", "root");
    let left = double.commit("left", &[&root]);
    let right = double.commit("right", &[&root]);
    let merge = double.commit("merge", &[&left, &right]);
    let island = double.commit("island", &[]);
    for (base, head, status, ahead, behind, merge_base) in [
        (&root, &root, "identical", 0, 0, &root),
        (&root, &merge, "ahead", 3, 0, &root),
        (&merge, &left, "behind", 0, 2, &left),
        (&left, &right, "diverged", 1, 1, &root),
    ] {
        let body = client.get(&format!("compare/{base}...{head}")).await.body;
        let numbers = (body["ahead_by"].as_u64(), body["behind_by"].as_u64());
        assert_eq!(body["status"], status);
        assert_eq!(numbers, (Some(ahead), Some(behind)), "{status}");
        assert_eq!(body["merge_base_commit"]["sha"], merge_base.as_str(), "{status}");
    }
    let body = client.get(&format!("compare/main...{merge}")).await.body;
    let messages: Vec<&str> = body["commits"]
        .as_array()
        .expect("commits")
        .iter()
        .filter_map(|c| c["commit"]["message"].as_str())
        .collect();
    assert_eq!(messages, ["left", "right", "merge"], "oldest first");
    for unknown in [format!("{root}...{island}"), format!("{root}...{}", "a".repeat(40)), "main".to_owned()] {
        assert_eq!(client.get(&format!("compare/{unknown}")).await.status, 404, "{unknown}");
    }
}

#[tokio::test]
async fn comparisons_come_in_pages() {
    let double = Double::start();
    let client = Client::of(&double);
    let base = double.commit_on("main", "base");
    for number in 0..260 {
        double.commit_on("main", &format!("{number}"));
    }
    let first = client.get(&format!("compare/{base}...main")).await;
    assert_eq!(first.body["commits"].as_array().map(Vec::len), Some(250));
    assert_eq!(first.body["total_commits"], 260);
    let second = client.get(&next(&first).expect("a second page")).await;
    assert_eq!(second.body["commits"][0]["commit"]["message"], "250");
    assert_eq!((second.body["commits"].as_array().map(Vec::len), next(&second)), (Some(10), None));
    let small = client.get(&format!("compare/{base}...main?per_page=7&page=2")).await;
    assert_eq!(small.body["commits"][0]["commit"]["message"], "7");
}

/// The URL of the next page.
fn next(answered: &Answered) -> Option<String> {
    let mut links = answered.link.as_ref()?.split(", ");
    let next = links.find_map(|link| link.strip_suffix("; rel=\"next\""))?;
    Some(next.trim_matches(['<', '>']).to_owned())
}

#[tokio::test]
async fn lists_come_in_pages() {
    let double = Double::start();
    let client = Client::of(&double);
    let commit = double.commit_on("main", "one");
    double.seed_tags((0..5).map(|number| format!("v1.0.{number}")), &commit);
    let all = client.get("git/matching-refs/tags/v1.").await;
    assert_eq!((all.body.as_array().map(Vec::len), all.link), (Some(5), None), "all at once, as documented");
    double.page_matching_refs(Some(2));
    for path in ["git/matching-refs/tags/v", "tags?per_page=2"] {
        let mut answered = client.get(path).await;
        assert!(
            answered.link.as_ref().is_some_and(|link| link.contains("page=3>; rel=\"last\"")),
            "{:?}",
            answered.link
        );
        let mut sizes = vec![answered.body.as_array().map_or(0, Vec::len)];
        while let Some(url) = next(&answered) {
            answered = client.get(&url).await;
            sizes.push(answered.body.as_array().map_or(0, Vec::len));
        }
        assert_eq!(sizes, [2, 2, 1], "{path}");
    }
    double.largest_page(3);
    assert_eq!(client.get("tags").await.body.as_array().map(Vec::len), Some(3));
    assert_eq!(client.get("git/matching-refs/tags/w").await.body, json!([]));
}

#[tokio::test]
async fn ten_thousand_refs_are_no_wait() {
    let double = Double::start();
    let client = Client::of(&double);
    let commit = double.commit_on("main", "one");
    double.seed_tags((0..10_000).map(|number| format!("v0.0.{number}")), &commit);
    client.get("git/matching-refs/tags/none").await;
    let start = clock::start();
    let answered = client.get("git/matching-refs/tags/v").await;
    assert_eq!(answered.body.as_array().map(Vec::len), Some(10_000));
    assert!(start.elapsed() < Duration::from_secs(20), "{:?}", start.elapsed());
}

fn git(directory: &std::path::Path, arguments: &[&str]) -> String {
    let mut command = Command::new("git");
    command.arg("-C").arg(directory).args(["-c", "user.name=Ann", "-c", "user.email=ann@example.org"]);
    let output = command.args(arguments).output().expect("git");
    assert!(output.status.success(), "git {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("text").trim().to_owned()
}

#[tokio::test]
async fn a_real_repository_stands_behind_it() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path();
    git(path, &["init", "-q", "-b", "main"]);
    git(path, &["commit", "-q", "--allow-empty", "-m", "Start\n\nwith a body"]);
    git(path, &["tag", "-a", "v0.1.0", "-m", "by hand"]);
    let options = DoubleOptions { git: Some(path.to_owned()), push_back: true, ..DoubleOptions::default() };
    let double = Double::with(options);
    let client = Client::of(&double);
    let tag = client.get("git/ref/tags/v0.1.0").await.body["object"].clone();
    assert_eq!(tag["sha"], git(path, &["rev-parse", "v0.1.0"]));
    let object = client.get(&format!("git/tags/{}", tag["sha"].as_str().expect("a sha"))).await.body;
    assert_eq!((&object["tag"], object["message"].as_str()), (&json!("v0.1.0"), Some("by hand\n")));

    git(path, &["commit", "-q", "--allow-empty", "-m", "More"]);
    let head = git(path, &["rev-parse", "HEAD"]);
    let commit = client.get(&format!("commits/{head}")).await;
    assert_eq!((commit.status, &commit.body["commit"]["message"]), (200, &json!("More")));
    let loose = git(path, &["commit-tree", "HEAD^{tree}", "-p", "HEAD", "-m", "on no branch"]);
    assert_eq!(client.get(&format!("compare/main...{loose}")).await.body["status"], "ahead");

    let body =
        json!({ "tag": "v0.1.1", "message": "claim\n\nversion: 0.1.1\n", "object": head, "type": "commit" });
    let made: ObjectId = client.send("POST", "git/tags", body).await.body["sha"]
        .as_str()
        .expect("a sha")
        .parse()
        .expect("an id");
    let zero = ObjectId::zero();
    let answer = client
        .update_refs(json!([update(HEAD, &zero, &made), update("refs/tags/v0.1.1", &zero, &made)]))
        .await;
    assert_eq!(answer["errors"], Value::Null, "{answer}");
    assert_eq!(git(path, &["tag", "-n", "-l", "v0.1.1"]), "v0.1.1          claim");
    assert_eq!(git(path, &["rev-parse", HEAD]), made.as_str());
    assert_eq!(git(path, &["rev-parse", "v0.1.1^{commit}"]), head);
    git(path, &["fsck", "--strict"]);
    git(path, &["tag", "-d", "v0.1.1"]);
    assert_eq!(client.get("git/ref/tags/v0.1.1").await.status, 404, "deleted by hand");
}
