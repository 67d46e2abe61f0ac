//! The GitHub double itself: what other tests rely on.

mod registry;
mod releases;
mod repository;

use autotag_model::git::ObjectId;
use serde_json::{Value, json};

use testkit::github::{Access, Double, Handle, Permissions, REPOSITORY_NODE};
use testkit::network::faults::Fault;

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
        let http = testkit::network::http::client();
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

    /// The id of a deployment that succeeded.
    async fn deployed_to_staging(&self) -> Value {
        let deployment =
            json!({ "ref": "main", "auto_merge": false, "required_contexts": [], "environment": "staging" });
        let id = self.send("POST", "deployments", deployment).await.body["id"].clone();
        let status = json!({ "state": "success", "environment_url": "https://app.example", "log_url": "" });
        assert_eq!(self.send("POST", &format!("deployments/{id}/statuses"), status).await.status, 201);
        id
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
async fn every_answer_fits_the_description() {
    let double = Double::start();
    let client = Client::of(&double);
    let commit = double.commit_on("main", "one");
    double.annotated_tag("v1.0.0", "claim", &commit);
    let tag = double.read_ref("refs/tags/v1.0.0").expect("the tag");
    let release = client
        .send("POST", "releases", json!({ "tag_name": "v1.0.0", "generate_release_notes": true }))
        .await;
    let first = client.deployed_to_staging().await;
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
async fn a_successful_deployment_retires_the_one_before() {
    let double = Double::start();
    let client = Client::of(&double);
    double.commit_on("main", "one");
    let first = client.deployed_to_staging().await;
    client.deployed_to_staging().await;
    assert_eq!(double.deployments()[0].state(), Some("inactive"));
    let long = json!({ "state": "failure", "description": "x".repeat(141) });
    assert_eq!(client.send("POST", &format!("deployments/{first}/statuses"), long).await.status, 422);
}

#[tokio::test]
async fn what_is_absent_is_not_found() {
    let double = Double::start();
    let client = Client::of(&double);
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
    assert!((3590..=3600).contains(&(reset - testkit::clock::now())));
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

/// Its types ask for more than the description does.
#[tokio::test]
async fn octocrab_reads_the_answers() {
    let double = Double::start();
    let commit = double.commit_on("main", "one");
    let second = double.commit_on("main", "two");
    let tag = double.annotated_tag("v1.0.0", "claim", &commit);
    Client::of(&double).send("POST", "releases", json!({ "tag_name": "v1.0.0" })).await;
    let crab = octocrab::Octocrab::builder()
        .base_uri(double.url())
        .and_then(|builder| {
            builder.personal_token(Double::TOKEN).build_with_reqwest(testkit::network::http::client())
        })
        .expect("octocrab");
    let repository = crab.repos("org", "app");
    assert_eq!(repository.get().await.expect("the repository").node_id.as_deref(), Some(REPOSITORY_NODE));
    let refs = repository.git().list_matching_refs("tags/v").await.expect("refs");
    assert_eq!(refs[0].ref_field, "refs/tags/v1.0.0");
    let object = repository.git().get_tag(tag.as_str()).await.expect("the tag object");
    assert_eq!((object.sha.as_str(), object.message.as_str()), (tag.as_str(), "claim"));
    let tags = repository.list_tags().send().await.expect("tags");
    assert_eq!(tags.items[0].commit.sha, commit.as_str());
    let releases = repository.releases().list().send().await.expect("releases");
    assert_eq!(releases.items[0].tag_name, "v1.0.0");
    let read = crab.commits("org", "app").get("main").await.expect("the commit");
    assert_eq!(read.sha, second.as_str());
    let compared = repository.compare_commits(commit.as_str(), "main").send().await.expect("a comparison");
    assert_eq!(compared.ahead_by, 1);
    let refused = crab.repos("org", "app").git().get_tag("v9").await.expect_err("no such tag");
    assert!(matches!(refused, octocrab::Error::GitHub { source, .. } if source.message == "Not Found"));
}
