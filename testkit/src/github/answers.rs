//! GitHub's answers: every field that its description asks for, and its words for refusals.

use autotag_model::git::ObjectId;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::{Value, json};

use super::model::Model;
use super::objects::{Commit, TagObject, moment};

const KEPT: &AsciiSet = &NON_ALPHANUMERIC.remove(b'/').remove(b'-').remove(b'_').remove(b'.').remove(b'~');

/// The node id of the repository, which GraphQL wants.
pub const REPOSITORY_NODE: &str = "R_kgDOGautotag";

/// An answer before it is written out.
#[derive(Debug)]
pub struct GithubAnswer {
    /// The HTTP status.
    pub status: u16,
    /// JSON, or nothing.
    pub body: Option<Value>,
    /// Beside those that every answer has.
    pub headers: Vec<(&'static str, String)>,
}

impl GithubAnswer {
    /// With a body.
    pub fn new(status: u16, body: Value) -> Self {
        Self { status, body: Some(body), headers: Vec::new() }
    }

    /// 204.
    pub fn nothing() -> Self {
        Self { status: 204, body: None, headers: Vec::new() }
    }

    /// A refusal in GitHub's form.
    pub fn refusal(status: u16, message: &str) -> Self {
        let body = json!({
            "message": message,
            "documentation_url": "https://docs.github.com/rest",
            "status": status.to_string(),
        });
        Self::new(status, body)
    }

    /// 404, as GitHub words it.
    pub fn not_found() -> Self {
        Self::refusal(404, "Not Found")
    }

    /// 422 with the field at fault.
    pub fn invalid(resource: &str, field: &str, code: &str) -> Self {
        let mut answer = Self::refusal(422, "Validation Failed");
        if let Some(body) = &mut answer.body {
            body["errors"] = json!([{ "resource": resource, "field": field, "code": code }]);
        }
        answer
    }

    /// One more header.
    pub fn with(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.headers.push((name, value.into()));
        self
    }
}

/// The addresses that answers are full of.
#[derive(Debug, Clone)]
pub struct Urls {
    /// The API's root, as the client called it.
    pub root: String,
    /// The repository in the API.
    pub api: String,
    /// The repository's page.
    pub html: String,
}

impl Urls {
    /// For a client that called this root.
    pub fn new(root: &str, model: &Model) -> Self {
        let Model { owner, name, .. } = model;
        Self {
            root: root.to_owned(),
            api: format!("{root}/repos/{owner}/{name}"),
            html: format!("https://github.com/{owner}/{name}"),
        }
    }

    /// Text as a part of an address; slashes stay.
    pub fn part(text: &str) -> String {
        utf8_percent_encode(text, KEPT).to_string()
    }

    /// `git-ref`.
    pub fn git_ref(&self, model: &Model, name: &str, target: &ObjectId) -> Value {
        let kind = model.kind(target).unwrap_or("commit");
        let path = Self::part(name.strip_prefix("refs/").unwrap_or(name));
        json!({
            "ref": name,
            "node_id": format!("REF_{path}"),
            "url": format!("{}/git/refs/{path}", self.api),
            "object": { "sha": target, "type": kind, "url": format!("{}/git/{kind}s/{target}", self.api) },
        })
    }

    /// `git-tag`.
    pub fn git_tag(&self, tag: &TagObject) -> Value {
        json!({
            "node_id": format!("TA_{}", tag.id),
            "sha": tag.id,
            "url": format!("{}/git/tags/{}", self.api, tag.id),
            "tagger": { "name": tag.tagger.name, "email": tag.tagger.email, "date": tag.tagger.date() },
            "object": {
                "sha": tag.target,
                "type": tag.target_type,
                "url": format!("{}/git/{}s/{}", self.api, tag.target_type, tag.target),
            },
            "tag": tag.tag,
            "message": tag.message,
            "verification": unsigned(),
        })
    }

    /// `tag`, of GET /tags.
    pub fn tag(&self, name: &str, commit: &Commit) -> Value {
        let part = Self::part(name);
        json!({
            "name": name,
            "zipball_url": format!("{}/zipball/refs/tags/{part}", self.api),
            "tarball_url": format!("{}/tarball/refs/tags/{part}", self.api),
            "commit": { "sha": commit.id, "url": format!("{}/commits/{}", self.api, commit.id) },
            "node_id": format!("REF_tags/{part}"),
        })
    }

    /// `commit`.
    pub fn commit(&self, commit: &Commit) -> Value {
        let Self { api, html, .. } = self;
        let person = |person: &super::objects::Person| json!({ "name": person.name, "email": person.email, "date": person.date() });
        let parents: Vec<Value> = commit
            .parents
            .iter()
            .map(|id| json!({ "sha": id, "url": format!("{api}/commits/{id}"), "html_url": format!("{html}/commit/{id}") }))
            .collect();
        let id = &commit.id;
        json!({
            "sha": id,
            "node_id": format!("C_{id}"),
            "commit": {
                "author": person(&commit.author),
                "committer": person(&commit.committer),
                "message": commit.message,
                "tree": { "sha": commit.tree, "url": format!("{api}/git/trees/{}", commit.tree) },
                "url": format!("{api}/git/commits/{id}"),
                "comment_count": 0,
                "verification": unsigned(),
            },
            "url": format!("{api}/commits/{id}"),
            "html_url": format!("{html}/commit/{id}"),
            "comments_url": format!("{api}/commits/{id}/comments"),
            "author": self.user(&commit.author.name),
            "committer": self.user(&commit.committer.name),
            "parents": parents,
        })
    }

    /// `simple-user`.
    pub fn user(&self, name: &str) -> Value {
        let (login, kind, id) = match name {
            "github-actions[bot]" => (name.to_owned(), "Bot", 41_898_282),
            _ => (login(name), "User", 583_231),
        };
        let part = Self::part(&login);
        let url = format!("{}/users/{part}", self.root);
        json!({
            "login": login,
            "id": id,
            "node_id": format!("U_{part}"),
            "avatar_url": format!("https://avatars.githubusercontent.com/u/{id}?v=4"),
            "gravatar_id": "",
            "url": url,
            "html_url": format!("https://github.com/{part}"),
            "followers_url": format!("{url}/followers"),
            "following_url": format!("{url}/following{{/other_user}}"),
            "gists_url": format!("{url}/gists{{/gist_id}}"),
            "starred_url": format!("{url}/starred{{/owner}}{{/repo}}"),
            "subscriptions_url": format!("{url}/subscriptions"),
            "organizations_url": format!("{url}/orgs"),
            "repos_url": format!("{url}/repos"),
            "events_url": format!("{url}/events{{/privacy}}"),
            "received_events_url": format!("{url}/received_events"),
            "type": kind,
            "user_view_type": "public",
            "site_admin": false,
        })
    }

    /// `full-repository`.
    pub fn repository(&self, model: &Model) -> Value {
        let Self { api, html, .. } = self;
        let Model { owner, name, default_branch, .. } = model;
        let pushed =
            model.commits.values().map(|commit| commit.committer.seconds).max().unwrap_or(1_767_225_600);
        let mut repository = json!({
            "id": 1_296_269,
            "node_id": REPOSITORY_NODE,
            "name": name,
            "full_name": format!("{owner}/{name}"),
            "owner": self.user(owner),
            "private": false,
            "visibility": "public",
            "html_url": html,
            "url": api,
            "description": "A repository of the test double",
            "fork": false,
            "homepage": null,
            "language": null,
            "license": null,
            "mirror_url": null,
            "default_branch": default_branch,
            "created_at": moment(1_767_225_600),
            "updated_at": moment(pushed),
            "pushed_at": moment(pushed),
            "topics": [],
            "permissions": { "admin": false, "maintain": false, "push": true, "triage": true, "pull": true },
            "git_url": format!("git://github.com/{owner}/{name}.git"),
            "ssh_url": format!("git@github.com:{owner}/{name}.git"),
            "clone_url": format!("{html}.git"),
            "svn_url": html,
        });
        for key in REPOSITORY_URLS {
            let (field, path) = key.split_once(' ').expect("a field and a path");
            repository[field] = json!(format!("{api}/{path}"));
        }
        for field in REPOSITORY_COUNTS {
            repository[*field] = json!(0);
        }
        for field in ["has_issues", "has_projects", "has_wiki", "has_discussions", "has_downloads"] {
            repository[field] = json!(true);
        }
        for field in ["has_pages", "archived", "disabled", "is_template"] {
            repository[field] = json!(false);
        }
        repository
    }
}

fn unsigned() -> Value {
    json!({ "verified": false, "reason": "unsigned", "signature": null, "payload": null, "verified_at": null })
}

/// A name as GitHub would allow it for an account.
pub fn login(name: &str) -> String {
    let text: String = name
        .chars()
        .map(|letter| if letter.is_ascii_alphanumeric() { letter.to_ascii_lowercase() } else { '-' })
        .collect();
    if text.is_empty() { "ghost".to_owned() } else { text }
}

const REPOSITORY_COUNTS: &[&str] = &[
    "forks",
    "forks_count",
    "network_count",
    "open_issues",
    "open_issues_count",
    "size",
    "stargazers_count",
    "subscribers_count",
    "watchers",
    "watchers_count",
];

const REPOSITORY_URLS: &[&str] = &[
    "archive_url {archive_format}{/ref}",
    "assignees_url assignees{/user}",
    "blobs_url git/blobs{/sha}",
    "branches_url branches{/branch}",
    "collaborators_url collaborators{/collaborator}",
    "comments_url comments{/number}",
    "commits_url commits{/sha}",
    "compare_url compare/{base}...{head}",
    "contents_url contents/{+path}",
    "contributors_url contributors",
    "deployments_url deployments",
    "downloads_url downloads",
    "events_url events",
    "forks_url forks",
    "git_commits_url git/commits{/sha}",
    "git_refs_url git/refs{/sha}",
    "git_tags_url git/tags{/sha}",
    "hooks_url hooks",
    "issue_comment_url issues/comments{/number}",
    "issue_events_url issues/events{/number}",
    "issues_url issues{/number}",
    "keys_url keys{/key_id}",
    "labels_url labels{/name}",
    "languages_url languages",
    "merges_url merges",
    "milestones_url milestones{/number}",
    "notifications_url notifications{?since,all,participating}",
    "pulls_url pulls{/number}",
    "releases_url releases{/id}",
    "stargazers_url stargazers",
    "statuses_url statuses/{sha}",
    "subscribers_url subscribers",
    "subscription_url subscription",
    "tags_url tags",
    "teams_url teams",
    "trees_url git/trees{/sha}",
];
