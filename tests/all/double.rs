//! The GitHub double itself: what other tests rely on.

use std::process::Command;
use std::time::{Duration, Instant};

use autotag_deploy::version::git::ObjectId;
use serde_json::{Value, json};

use crate::support::faults::Fault;
use crate::support::github::{Access, Double, Handle, Options, Permissions, REPOSITORY_NODE};

/// A plain client: what it sends is exactly what a test says.
struct Client {
    http: reqwest::Client,
    root: String,
    token: Option<String>,
}

struct Answered {
    status: u16,
    link: Option<String>,
    headers: http::HeaderMap,
    body: Value,
}

impl Client {
    fn of(double: &Handle) -> Self {
        // An error says that another test has installed it.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let http = reqwest::Client::builder().user_agent("double's test").build().expect("a client");
        Self { http, root: double.url(), token: Some(Double::TOKEN.to_owned()) }
    }

    async fn try_send(&self, method: &str, path: &str, body: Option<Value>) -> reqwest::Result<Answered> {
        let url = if path.starts_with("http") {
            path.to_owned()
        } else if path.starts_with('/') {
            format!("{}{path}", self.root)
        } else {
            format!("{}/repos/org/app/{path}", self.root)
        };
        let mut request = self.http.request(method.parse().expect("a method"), url);
        if let Some(token) = &self.token {
            request = request.header("authorization", format!("Bearer {token}"));
        }
        if let Some(body) = body {
            request = request.json(&body);
        }
        let response = request.send().await?;
        let status = response.status().as_u16();
        let headers = response.headers().clone();
        let link = headers.get("link").map(|link| link.to_str().expect("text").to_owned());
        let text = response.text().await?;
        let body = if text.is_empty() { Value::Null } else { serde_json::from_str(&text).expect("JSON") };
        Ok(Answered { status, link, headers, body })
    }

    async fn send(&self, method: &str, path: &str, body: Value) -> Answered {
        self.try_send(method, path, Some(body))
            .await
            .unwrap_or_else(|error| panic!("{method} {path}: {error}"))
    }

    async fn get(&self, path: &str) -> Answered {
        self.try_send("GET", path, None).await.unwrap_or_else(|error| panic!("GET {path}: {error}"))
    }

    async fn update_refs(&self, updates: Value) -> Value {
        let answered = self.send("POST", "/graphql", mutation(&updates)).await;
        assert_eq!(answered.status, 200);
        answered.body
    }
}

fn mutation(updates: &Value) -> Value {
    json!({
        "query": "mutation($input: UpdateRefsInput!) { updateRefs(input: $input) { clientMutationId } }",
        "variables": { "input": { "repositoryId": REPOSITORY_NODE, "refUpdates": updates } },
    })
}

fn update(name: &str, before: &ObjectId, after: &ObjectId) -> Value {
    json!({ "name": name, "beforeOid": before, "afterOid": after, "force": true })
}

const HEAD: &str = "refs/autotag/v/head";

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
    let start = Instant::now();
    let answered = client.get("git/matching-refs/tags/v").await;
    assert_eq!(answered.body.as_array().map(Vec::len), Some(10_000));
    assert!(start.elapsed() < Duration::from_secs(2), "{:?}", start.elapsed());
}

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
async fn every_answer_fits_the_description() {
    let double = Double::start();
    let client = Client::of(&double);
    let commit = double.commit_on("main", "one");
    double.annotated_tag("v1.0.0", "claim", &commit);
    let tag = double.read_ref("refs/tags/v1.0.0").expect("the tag");
    let release = client
        .send("POST", "releases", json!({ "tag_name": "v1.0.0", "generate_release_notes": true }))
        .await;
    let deployment =
        json!({ "ref": "main", "auto_merge": false, "required_contexts": [], "environment": "staging" });
    let first = client.send("POST", "deployments", deployment.clone()).await.body["id"].clone();
    let second = client.send("POST", "deployments", deployment).await.body["id"].clone();
    for id in [&first, &second] {
        let status = json!({ "state": "success", "environment_url": "https://app.example", "log_url": "" });
        assert_eq!(client.send("POST", &format!("deployments/{id}/statuses"), status).await.status, 201);
    }
    assert_eq!(double.deployments()[0].state(), Some("inactive"), "a success retires the one before");
    let long = json!({ "state": "failure", "description": "x".repeat(141) });
    assert_eq!(client.send("POST", &format!("deployments/{first}/statuses"), long).await.status, 422);
    for path in [
        "/repos/org/app".to_owned(),
        "/repos/ORG/App".to_owned(),
        "/api/v3/repos/org/app".to_owned(),
        "/rate_limit".to_owned(),
        "tags".to_owned(),
        "commits".to_owned(),
        "commits/main".to_owned(),
        format!("commits/{commit}"),
        "git/ref/tags/v1.0.0".to_owned(),
        "git/matching-refs/tags/".to_owned(),
        format!("git/tags/{tag}"),
        "releases".to_owned(),
        "releases/latest".to_owned(),
        "releases/tags/v1.0.0".to_owned(),
        format!("releases/{}", release.body["id"]),
        "deployments?environment=staging".to_owned(),
        format!("deployments/{first}"),
        format!("deployments/{first}/statuses"),
    ] {
        let answered = client.get(&path).await;
        assert_eq!(answered.status, 200, "{path}: {}", answered.body);
        assert!(answered.body.as_array().is_none_or(|list| !list.is_empty()), "{path} is empty");
        assert!(answered.headers.contains_key("x-ratelimit-remaining"), "{path}");
    }
    for (path, status) in [
        ("/repos/org/other", 404),
        ("git/ref/tags/v9", 404),
        ("git/tags/v9", 404),
        ("releases/999", 404),
        ("releases/tags/v9", 404),
        ("commits/nowhere", 422),
        ("deployments/999", 404),
    ] {
        let answered = client.get(path).await;
        assert_eq!((answered.status, answered.body["message"].is_string()), (status, true), "{path}");
    }
    for (method, path, status) in [
        ("DELETE", format!("deployments/{first}"), 204),
        ("DELETE", format!("releases/{}", release.body["id"]), 204),
        ("DELETE", "git/refs/tags/v1.0.0".to_owned(), 204),
        ("DELETE", "git/refs/tags/v1.0.0".to_owned(), 422),
    ] {
        let answered = client.try_send(method, &path, None).await.expect("an answer");
        assert_eq!(answered.status, status, "{path}: {}", answered.body);
    }
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

#[tokio::test]
async fn what_the_description_does_not_know_is_a_violation() {
    let double = Double::start();
    let client = Client::of(&double);
    let commit = double.commit_on("main", "one");
    for (path, body) in [
        ("releases", json!({ "tag_name": "v1", "make_latest": true })),
        ("releases", json!({ "tag": "v1" })),
        ("git/refs", json!({ "ref": "refs/tags/v1", "sha": commit, "force": true })),
        ("git/tags", json!({ "tag": "v1", "message": "", "object": commit, "type": "branch" })),
    ] {
        assert_eq!(client.send("POST", path, body.clone()).await.status, 422, "{body}");
        assert_eq!(double.take_violations().len(), 1, "{body}");
    }
    assert_eq!(client.get("actions/runs").await.status, 404);
    assert_eq!(
        double.take_violations(),
        ["GET /repos/org/app/actions/runs: the description has no such operation"]
    );
    client.get("actions/runs").await;
    let ended = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| double.finish()));
    assert!(ended.is_err(), "the end of a double with violations fails the test");
}

#[tokio::test]
async fn tokens_open_what_they_may() {
    let double = Double::start();
    let commit = double.commit_on("main", "one");
    let reader = Permissions { contents: Access::Read, deployments: Access::None };
    double.allow("reader", reader);
    let mut client = Client::of(&double);
    client.send("POST", "releases", json!({ "tag_name": "v1", "draft": true })).await;
    client.token = Some("reader".to_owned());
    assert_eq!(client.get("git/matching-refs/tags/").await.status, 200);
    assert_eq!(client.get("releases").await.body, json!([]), "drafts are for writers");
    let new_ref = json!({ "ref": "refs/tags/v1", "sha": commit });
    let deployment = json!({ "ref": "main", "auto_merge": false });
    for (path, body) in [("git/refs", &new_ref), ("deployments", &deployment)] {
        let refused = client.send("POST", path, body.clone()).await;
        assert_eq!(
            (refused.status, &refused.body["message"]),
            (403, &json!("Resource not accessible by integration"))
        );
        assert_eq!(refused.body["status"], "403");
    }
    let update = json!([update("refs/tags/v1", &ObjectId::zero(), &commit)]);
    assert_eq!(client.update_refs(update).await["errors"][0]["type"], "FORBIDDEN");
    client.token = Some("stranger".to_owned());
    let refused = client.get("tags").await;
    assert_eq!((refused.status, &refused.body["message"]), (401, &json!("Bad credentials")));
    client.token = None;
    assert_eq!(client.get("tags").await.body["message"], "Requires authentication");
    assert_eq!(double.refs("refs/tags/"), []);
    assert!(!double.requests().last().expect("a request").authorized);
}

#[tokio::test]
async fn an_answer_gets_lost_before_or_after_the_effect() {
    let double = Double::start();
    let client = Client::of(&double);
    let commit = double.commit_on("main", "one");
    let new_ref = |name: &str| Some(json!({ "ref": format!("refs/tags/{name}"), "sha": commit }));
    double.inject(Fault::lost_answer("POST */git/refs").nth(2));
    double.inject(Fault::on("POST */git/refs").nth(3).hang_up());
    double.inject(
        Fault::on("POST */git/refs").nth(4).answer(502, json!("bad gateway")).header("x-from", "front"),
    );
    assert_eq!(client.try_send("POST", "git/refs", new_ref("a")).await.expect("an answer").status, 201);
    assert!(client.try_send("POST", "git/refs", new_ref("b")).await.is_err());
    assert!(client.try_send("POST", "git/refs", new_ref("c")).await.is_err());
    let front = client.http.post(format!("{}/repos/org/app/git/refs", double.url())).json(&new_ref("d"));
    let front = front.send().await.expect("an answer");
    assert_eq!((front.status().as_u16(), front.headers()["x-from"].as_bytes()), (502, b"front".as_slice()));
    assert_eq!(client.try_send("POST", "git/refs", new_ref("e")).await.expect("an answer").status, 201);
    let names: Vec<String> = double.refs("refs/tags/").into_iter().map(|(name, _)| name).collect();
    assert_eq!(names, ["refs/tags/a", "refs/tags/b", "refs/tags/e"]);
    let statuses: Vec<_> = double.requests().iter().map(|request| request.status).collect();
    assert_eq!(statuses, [Some(201), None, None, Some(502), Some(201)]);
    assert_eq!(double.count("POST */git/refs"), 5);
}

#[tokio::test]
async fn requests_wait_at_a_gate() {
    let double = Double::start();
    let client = Client::of(&double);
    let commit = double.commit_on("main", "one");
    let gate = double.hold("POST /graphql");
    let claim = mutation(&json!([update(HEAD, &ObjectId::zero(), &commit)]));
    let waiting = tokio::spawn(async move { client.send("POST", "/graphql", claim).await.body });
    gate.arrived(1).await;
    assert_eq!(double.read_ref(HEAD), None, "it waits before its effect");
    double.set_ref(HEAD, &commit);
    gate.release(1);
    let answer = waiting.await.expect("an answer");
    assert!(answer["errors"].is_array(), "somebody was quicker: {answer}");
    gate.open();
    let client = Client::of(&double);
    assert_eq!(
        client.update_refs(json!([update(HEAD, &commit, &ObjectId::zero())])).await["errors"],
        Value::Null
    );
}

#[tokio::test]
async fn lists_lag_while_names_are_fresh() {
    let double = Double::start();
    let client = Client::of(&double);
    let commit = double.commit_on("main", "one");
    let tags = async || client.get("git/matching-refs/tags/").await.body.as_array().map_or(0, Vec::len);
    double.set_ref("refs/tags/v1", &commit);
    double.set_ref("refs/tags/v2", &commit);
    double.lag_lists(1);
    assert_eq!((tags().await, client.get("git/ref/tags/v2").await.status), (1, 200));
    double.set_ref("refs/tags/v3", &commit);
    assert_eq!(tags().await, 2);
    double.lag_lists(2);
    assert_eq!(tags().await, 1);
    double.lag_lists(0);
    assert_eq!(tags().await, 3);
}

#[tokio::test]
async fn limits_are_kept() {
    let double = Double::start();
    let client = Client::of(&double);
    double.inject(Fault::secondary_limit("GET */tags", 429, 7));
    let secondary = client.get("tags").await;
    assert_eq!((secondary.status, secondary.headers["retry-after"].as_bytes()), (429, b"7".as_slice()));
    assert_eq!(client.get("tags").await.status, 200, "once");
    double.limit(1, 3600);
    assert_eq!(client.get("tags").await.status, 200);
    let primary = client.get("tags").await;
    assert_eq!((primary.status, primary.headers["x-ratelimit-remaining"].as_bytes()), (403, b"0".as_slice()));
    let reset: i64 = primary.headers["x-ratelimit-reset"].to_str().expect("text").parse().expect("seconds");
    assert!((3590..=3600).contains(&(reset - jiff::Timestamp::now().as_second())));
    assert_eq!(client.get("/rate_limit").await.body["rate"]["remaining"], 0, "asking is free");
    double.limit(0, 0);
    assert_eq!(client.get("tags").await.status, 200, "the hour is over");
}

#[tokio::test]
async fn the_knobs_turn_over_http_too() {
    let double = Double::start();
    let client = Client::of(&double);
    double.commit_on("main", "one");
    let fault = json!({ "on": "GET */tags", "status": 503, "headers": { "retry-after": "1" } });
    assert_eq!(client.send("POST", "/_knobs", json!({ "fault": fault, "remaining": 5 })).await.status, 200);
    assert_eq!(client.get("tags").await.status, 503);
    let answered = client.get("tags").await;
    assert_eq!(
        (answered.status, answered.headers["x-ratelimit-remaining"].as_bytes()),
        (200, b"4".as_slice())
    );
    assert_eq!(client.send("POST", "/_knobs", json!({ "fautl": {} })).await.status, 400);
    let state = client.get("/_state").await.body;
    assert_eq!((&state["requests"], &state["commits"]), (&json!(2), &json!(1)));
    assert!(!state.to_string().contains(Double::TOKEN));
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
    let directory = tempfile::tempdir().expect("a folder");
    let path = directory.path();
    git(path, &["init", "-q", "-b", "main"]);
    git(path, &["commit", "-q", "--allow-empty", "-m", "Start\n\nwith a body"]);
    git(path, &["tag", "-a", "v0.1.0", "-m", "by hand"]);
    let options = Options { git: Some(path.to_owned()), push_back: true, ..Options::default() };
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
