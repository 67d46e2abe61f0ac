//! From a request to its answer: recorded, admitted, checked, carried out, checked again.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock};

use autotag_model::git::ObjectId;
use bytes::Bytes;
use http::Response;
use serde_json::{Value, json};

use super::answers::{GithubAnswer, Urls};
use super::call::{Call, REPOSITORY_NUMBER};
use super::import::Source;
use super::knobs::{Knobs, Turn};
use super::model::Model;
use super::openapi::{DESCRIPTION, Operation, Parameters};
use super::{deployments, git, graphql, releases};
use crate::clock;
use crate::network::http::{HttpRequest, Reply};

/// What a token may do with one kind of thing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Access {
    /// Nothing.
    None,
    /// Read.
    Read,
    /// Read and write.
    Write,
}

/// A token's permissions, by the names that workflows use.
#[derive(Debug, Clone, Copy)]
pub struct Permissions {
    /// `contents`: refs, tags, commits, releases.
    pub contents: Access,
    /// `deployments`.
    pub deployments: Access,
}

/// A request, as the double saw it.
#[derive(Debug, Clone, serde::Serialize)]
pub struct Recorded {
    /// GET, POST ...
    pub method: String,
    /// Without `/api/v3`; `/repositories/{id}` written as `/repos/{owner}/{repo}`.
    pub path: String,
    /// As it came.
    pub query: String,
    /// Whether there was an Authorization header. Its value is never kept.
    pub authorized: bool,
    /// The body; `null` without one or where it was no JSON.
    pub body: Value,
    /// The status of the answer; `None`: the connection was closed instead, or it has not been answered yet.
    pub status: Option<u16>,
}

/// What the server's thread and the tests share.
pub struct DoubleShared {
    pub(super) model: Mutex<Model>,
    pub(super) knobs: Mutex<Knobs>,
    pub(super) tokens: Mutex<HashMap<String, Permissions>>,
    pub(super) recorded: Mutex<Vec<Recorded>>,
    /// What clients did wrong.
    pub(super) violations: Mutex<Vec<String>>,
    /// What the double itself did wrong.
    pub(super) own_faults: Mutex<Vec<String>>,
    pub(super) source: Mutex<Option<Source>>,
    pub(super) root: OnceLock<String>,
}

/// Locks, whatever happened to other threads: their panics are reported on their own.
pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

/// Answers one request.
pub async fn answer(shared: Arc<DoubleShared>, asked: HttpRequest) -> Reply {
    match asked.path.as_str() {
        "/_state" => return Reply::json(200, &state(&shared)),
        "/_knobs" if asked.method == "POST" => return turn(&shared, &asked.body),
        _ => {}
    }
    let (prefix, path) = normalise(&shared, &asked.path);
    // A query of GraphQL is a POST as a claim is, and is no claim to who holds those back.
    let query = path == "/graphql" && String::from_utf8_lossy(&asked.body).contains("\"query\":\"query");
    let request = format!("{} {path}{}", asked.method, if query { " (query)" } else { "" });
    let place = record(&shared, &asked, &path);
    let gates = lock(&shared.knobs).faults.gates(&request);
    for gate in gates {
        gate.pass().await;
    }
    let fault = lock(&shared.knobs).faults.strike(&request);
    if let Some(fault) = &fault {
        clock::be_late(fault.wait()).await;
    }
    let strikes_first = fault.as_ref().is_some_and(|fault| fault.replaces() && !fault.is_after_effect());
    let own = (!strikes_first).then(|| written_out(&shared, carry_out(&shared, &asked, prefix, &path)));
    let reply = match fault {
        Some(fault) => fault.apply(own),
        None => own.unwrap_or(Reply::HangUp),
    };
    if let Reply::Answer(response) = &reply {
        lock(&shared.recorded)[place].status = Some(response.status().as_u16());
    }
    reply
}

/// The prefix that GitHub Enterprise Server has, and the path in its usual form.
fn normalise(shared: &DoubleShared, path: &str) -> (&'static str, String) {
    let (prefix, path) = match path.strip_prefix("/api/v3") {
        Some(rest) => ("/api/v3", rest),
        None if path == "/api/graphql" => ("/api/v3", "/graphql"),
        None => ("", path),
    };
    match path.strip_prefix(&format!("/repositories/{REPOSITORY_NUMBER}")) {
        Some(rest) => {
            let model = lock(&shared.model);
            (prefix, format!("/repos/{}/{}{rest}", model.owner, model.name))
        }
        None => (prefix, path.to_owned()),
    }
}

fn record(shared: &DoubleShared, asked: &HttpRequest, path: &str) -> usize {
    let mut recorded = lock(&shared.recorded);
    recorded.push(Recorded {
        method: asked.method.to_string(),
        path: path.to_owned(),
        query: asked.query.clone(),
        authorized: asked.headers.contains_key("authorization"),
        body: serde_json::from_slice(&asked.body).unwrap_or_default(),
        status: None,
    });
    recorded.len() - 1
}

fn written_out(shared: &DoubleShared, answer: GithubAnswer) -> Reply {
    let mut response = Response::builder()
        .status(answer.status)
        .header("x-github-media-type", "github.v3; format=json")
        .header("x-github-request-id", format!("D0B1:{:x}", lock(&shared.recorded).len()));
    let limit = lock(&shared.knobs).limit.headers();
    for (name, value) in limit.into_iter().chain(answer.headers) {
        response = response.header(name, value);
    }
    let body = answer.body.map_or_else(Bytes::new, |body| Bytes::from(body.to_string()));
    if !body.is_empty() {
        response = response.header("content-type", "application/json; charset=utf-8");
    }
    Reply::Answer(response.body(body).expect("a response"))
}

fn carry_out(shared: &DoubleShared, asked: &HttpRequest, prefix: &str, path: &str) -> GithubAnswer {
    let permissions = match admit(shared, asked) {
        Ok(permissions) => permissions,
        Err(refusal) => return refusal,
    };
    let mut model = lock(&shared.model);
    let mut source = lock(&shared.source);
    if let Some(source) = source.as_mut() {
        source.pull(&mut model, &named_objects(asked));
    }
    let answer = if let Some(redirect) = redirect(shared, &model, asked, (prefix, path)) {
        redirect
    } else if (asked.method.as_str(), path) == ("POST", "/graphql") {
        let outcome = graphql::answer(&mut model, &asked.body, permissions.contents == Access::Write);
        if let graphql::Outcome::ParseError(message) = &outcome {
            lock(&shared.violations).push(format!("POST /graphql: {message}"));
        }
        GithubAnswer::new(200, outcome.body())
    } else {
        let found = DESCRIPTION.find(asked.method.as_str(), path);
        if let Some((operation, parameters)) = found {
            described(shared, &mut model, asked, (prefix, path), operation, parameters, permissions)
        } else {
            let violation = format!("{} {path}: the description has no such operation", asked.method);
            lock(&shared.violations).push(violation);
            GithubAnswer::not_found()
        }
    };
    let written = std::mem::take(&mut model.written);
    if let Some(source) = source.as_mut() {
        source.push(written);
    }
    answer
}

/// Where a repository was renamed GitHub answers 301 to a GET and 307 to whatever writes, on its own host, with the
/// repository's number in place of its name.
fn redirect(
    shared: &DoubleShared,
    model: &Model,
    asked: &HttpRequest,
    (prefix, path): (&str, &str),
) -> Option<GithubAnswer> {
    let rest = model.former_names.iter().find_map(|name| {
        let rest = path.strip_prefix(&format!("/repos/{}/{name}", model.owner))?;
        (rest.is_empty() || rest.starts_with('/')).then_some(rest)
    })?;
    let root = shared.root.get().map_or("", String::as_str);
    let query = if asked.query.is_empty() { String::new() } else { format!("?{}", asked.query) };
    let target = format!("{root}{prefix}/repositories/{REPOSITORY_NUMBER}{rest}{query}");
    let (status, words) =
        if asked.method == "GET" { (301, "Moved Permanently") } else { (307, "Temporary Redirect") };
    let body = json!({
        "message": words,
        "url": target,
        "documentation_url": "https://docs.github.com/rest/guides/best-practices-for-using-the-rest-api#follow-redirects",
    });
    Some(GithubAnswer::new(status, body).with("location", target))
}

/// Who may come in: GitHub's order is the agent's name, the limit, the token.
fn admit(shared: &DoubleShared, asked: &HttpRequest) -> Result<Permissions, GithubAnswer> {
    if asked.header("user-agent").is_none_or(str::is_empty) {
        return Err(GithubAnswer::refusal(
            403,
            "Request forbidden by administrative rules. Please make sure your request has a User-Agent header.",
        ));
    }
    // GET /rate_limit costs nothing.
    if asked.path != "/rate_limit" && !lock(&shared.knobs).limit.spend() {
        return Err(GithubAnswer::refusal(403, "API rate limit exceeded for installation ID 1."));
    }
    let Some(header) = asked.header("authorization") else {
        // A public repository lets everybody read.
        let anybody = lock(&shared.tokens).get("").copied();
        return anybody.ok_or_else(|| GithubAnswer::refusal(401, "Requires authentication"));
    };
    let token = header
        .split_once(' ')
        .filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer") || scheme.eq_ignore_ascii_case("token"));
    token
        .and_then(|(_, token)| lock(&shared.tokens).get(token.trim()).copied())
        .ok_or_else(|| GithubAnswer::refusal(401, "Bad credentials"))
}

/// Whatever in the request looks like an object's full name.
fn named_objects(asked: &HttpRequest) -> Vec<ObjectId> {
    let body = String::from_utf8_lossy(&asked.body);
    let path = percent_encoding::percent_decode_str(&asked.path).decode_utf8_lossy();
    [path.as_ref(), body.as_ref()]
        .iter()
        .flat_map(|text| text.split(|letter: char| !letter.is_ascii_hexdigit()))
        .filter(|word| word.len() == 40 && *word != ObjectId::zero().as_str())
        .filter_map(|word| word.parse().ok())
        .collect()
}

fn described(
    shared: &DoubleShared,
    model: &mut Model,
    asked: &HttpRequest,
    (prefix, path): (&str, &str),
    operation: &Operation,
    parameters: Parameters,
    permissions: Permissions,
) -> GithubAnswer {
    if let Some(fault) = DESCRIPTION.fault_in_request(operation, &asked.body) {
        let answer = GithubAnswer::refusal(422, &format!("Invalid request.\n\n{fault}"));
        lock(&shared.violations).push(fault);
        return answer;
    }
    let root = shared.root.get().map_or("", String::as_str);
    let (largest_page, matching_refs_page, rates) = {
        let knobs = lock(&shared.knobs);
        (knobs.largest_page, knobs.matching_refs_page, knobs.limit.json())
    };
    let call = Call {
        asked,
        path,
        parameters,
        body: serde_json::from_slice(&asked.body).unwrap_or_default(),
        urls: Urls::new(&format!("{root}{prefix}"), model),
        may_write: permissions.contents == Access::Write,
        largest_page,
        matching_refs_page,
    };
    let answer = if operation.id == "rate-limit/get" {
        GithubAnswer::new(200, rates)
    } else {
        dispatch(model, &call, &operation.id, permissions)
    };
    match DESCRIPTION.fault_in_response(operation, answer.status, answer.body.as_ref()) {
        None => answer,
        Some(fault) => {
            lock(&shared.own_faults).push(fault.clone());
            GithubAnswer::refusal(500, &format!("the double is at fault: {fault}"))
        }
    }
}

fn dispatch(model: &mut Model, call: &Call, operation: &str, permissions: Permissions) -> GithubAnswer {
    let same = |name: &str, own: &str| call.parameter(name).eq_ignore_ascii_case(own);
    if !same("owner", &model.owner) || !same("repo", &model.name) {
        return GithubAnswer::not_found();
    }
    let writes = call.asked.method != "GET";
    let needed = if writes { Access::Write } else { Access::Read };
    let held = if operation.contains("deployment") { permissions.deployments } else { permissions.contents };
    // Generating notes makes nothing; the repository's facts are everybody's who has a token.
    if held < needed && operation != "repos/get" {
        return GithubAnswer::refusal(403, "Resource not accessible by integration");
    }
    match operation {
        "repos/get" => GithubAnswer::new(200, call.urls.repository(model)),
        "repos/list-tags" => git::list_tags(model, call),
        "repos/list-commits" => git::list_commits(model, call),
        "repos/get-commit" => git::get_commit(model, call),
        "repos/compare-commits-with-basehead" => git::compare(model, call),
        "git/list-matching-refs" => git::matching_refs(model, call),
        "git/get-ref" => git::get_ref(model, call),
        "git/create-ref" => git::create_ref(model, call),
        "git/update-ref" => git::update_ref(model, call),
        "git/delete-ref" => git::delete_ref(model, call),
        "git/create-tag" => git::create_tag(model, call),
        "git/get-tag" => git::get_tag(model, call),
        "repos/list-releases" => releases::list(model, call),
        "repos/create-release" => releases::create(model, call),
        "repos/generate-release-notes" => releases::generate_notes(model, call),
        "repos/get-latest-release" => releases::get_latest(model, call),
        "repos/get-release-by-tag" => releases::by_tag(model, call),
        "repos/get-release" => releases::get(model, call),
        "repos/update-release" => releases::update(model, call),
        "repos/delete-release" => releases::delete(model, call),
        "repos/list-deployments" => deployments::list(model, call),
        "repos/create-deployment" => deployments::create(model, call),
        "repos/get-deployment" => deployments::get(model, call),
        "repos/delete-deployment" => deployments::delete(model, call),
        "repos/list-deployment-statuses" => deployments::list_statuses(model, call),
        "repos/create-deployment-status" => deployments::create_status(model, call),
        // What is left changes the repository's settings or deletes it; no workflow's token may.
        _ => GithubAnswer::refusal(403, "Resource not accessible by integration"),
    }
}

/// GET /_state: everything, for people and scripts.
pub fn state(shared: &DoubleShared) -> Value {
    let model = lock(&shared.model);
    json!({
        "repository": format!("{}/{}", model.owner, model.name),
        "refs": model.refs(),
        "tag_objects": model.tag_objects.values().collect::<Vec<_>>(),
        "releases": model.releases(),
        "latest": releases::latest(&model).map(|release| &release.tag),
        "deployments": model.deployments,
        "commits": model.commits.len(),
        "requests": lock(&shared.recorded).len(),
        "violations": *lock(&shared.violations),
        "own_faults": *lock(&shared.own_faults),
    })
}

/// POST /_knobs.
fn turn(shared: &DoubleShared, body: &[u8]) -> Reply {
    let turn: Turn = match serde_json::from_slice(body) {
        Ok(turn) => turn,
        Err(error) => return Reply::json(400, &json!({ "message": error.to_string() })),
    };
    if let Some(writes) = turn.lag_lists {
        lock(&shared.model).lag_lists(writes);
    }
    let mut knobs = lock(&shared.knobs);
    if let Some(fault) = turn.fault {
        knobs.faults.inject(fault);
    }
    if let Some(size) = turn.largest_page {
        knobs.largest_page = size;
    }
    if let Some(size) = turn.matching_refs_page {
        knobs.matching_refs_page = Some(size).filter(|size| *size > 0);
    }
    if let Some(pattern) = turn.hold {
        knobs.faults.hold(&pattern);
    }
    if let Some(pattern) = turn.open {
        knobs.faults.open(Some(&pattern));
    }
    if let Some(remaining) = turn.remaining {
        knobs.limit.remaining = remaining.min(knobs.limit.hourly);
        knobs.limit.reset = clock::now() + turn.reset_in.unwrap_or(3600);
    }
    Reply::json(200, &json!({}))
}
