//! What GitHub says about the run: repository, commit, ref, event.
//!
//! Facts: "Default environment variables" in GitHub's documentation of Actions.

use std::path::{Path, PathBuf};

use super::error::{InputError, InputErrors};
use super::event;
use super::raw::Environment;
use autotag_build_context::workspace::Workspace;
use autotag_model::git::ObjectId;

/// What started the run, as far as releasing depends on it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Cause {
    /// Work on a branch: a push, a schedule, a person.
    Branch(String),
    /// A tag was pushed, or a release made from one.
    Tag(String),
    /// Anything that must never release: pull requests of any kind, merge queues, comments ...
    Other {
        /// The event's name.
        event: String,
    },
}

/// The run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Run {
    /// `owner/name`.
    pub repository: String,
    /// The commit to release.
    pub commit: ObjectId,
    /// What started it.
    pub cause: Cause,
    /// Where merges go, if the event said so.
    pub default_branch: Option<String>,
    /// REST API's root.
    pub api_url: String,
    /// GraphQL's address.
    pub graphql_url: String,
    /// The GitHub server itself, `https://github.com`.
    pub server_url: String,
    /// Who started it: the user name that goes with the workflow's token.
    pub actor: String,
    /// The run's page with its attempt; empty outside Actions.
    pub url: String,
    /// The run's number and its attempt; `None` outside Actions.
    pub number: Option<(u64, u32)>,
    /// What relative paths start from.
    pub workspace: PathBuf,
    /// What no path leads out of: on a runner the workspace, elsewhere the clone around it.
    pub boundary: PathBuf,
}

/// Events whose ref and commit are the branch's or tag's own.
///
/// A list of what may release rather than of what may not: `pull_request_target`, for one, runs with the
/// BASE branch as its ref, and an event that does not exist yet must not release by default.
///
/// `create` is not among them: pushing a tag starts `push` as well.
const RELEASING_EVENTS: [&str; 6] =
    ["push", "workflow_dispatch", "repository_dispatch", "schedule", "workflow_run", "release"];

impl Run {
    /// Reads the run from the environment. `overrides` are the flags `--repository` and `--commit`.
    ///
    /// Every fault goes into `faults`; `None` where something is missing that cannot be left out.
    pub fn read(environment: &Environment, overrides: &Overrides, errors: &mut InputErrors) -> Option<Self> {
        let repository = repository(environment, overrides, errors);
        let commit = commit(environment, overrides, errors);
        let server_url = trimmed_url(environment, "GITHUB_SERVER_URL", "https://github.com");
        let api_url = trimmed_url(environment, "GITHUB_API_URL", &api_of(&server_url));
        // GitHub Enterprise Server has /api/v3 and /api/graphql side by side.
        let graphql_default = match api_url.strip_suffix("/v3") {
            Some(root) => format!("{root}/graphql"),
            None => format!("{api_url}/graphql"),
        };
        let event = event_payload(environment, errors);
        let cause = cause(environment, overrides, &event);
        let (repository, commit) = (repository?, commit?);
        let url = match environment.get("GITHUB_RUN_ID") {
            Some(id) => {
                let attempt = environment.get("GITHUB_RUN_ATTEMPT").unwrap_or("1");
                format!("{server_url}/{repository}/actions/runs/{id}/attempts/{attempt}")
            }
            None => "a local machine".to_owned(),
        };
        let workspace = PathBuf::from(environment.get("GITHUB_WORKSPACE").unwrap_or("."));
        let number = |name: &str| environment.get(name).and_then(|text| text.parse::<u64>().ok());
        let attempt = number("GITHUB_RUN_ATTEMPT").and_then(|attempt| attempt.try_into().ok()).unwrap_or(1);
        Some(Self {
            number: number("GITHUB_RUN_ID").map(|id| (id, attempt)),
            graphql_url: trimmed_url(environment, "GITHUB_GRAPHQL_URL", &graphql_default),
            default_branch: event
                .pointer("/repository/default_branch")
                .and_then(serde_json::Value::as_str)
                .map(ToOwned::to_owned),
            actor: environment.get("GITHUB_ACTOR").unwrap_or("x-access-token").to_owned(),
            boundary: if environment.in_actions() { workspace.clone() } else { clone_around(&workspace) },
            workspace,
            repository,
            commit,
            cause,
            api_url,
            server_url,
            url,
        })
    }

    /// A run that nothing is done for: it lets the inputs be read for their faults where the real one has
    /// faults of its own.
    pub fn stand_in(environment: &Environment) -> Self {
        let api_url = trimmed_url(environment, "GITHUB_API_URL", "https://api.github.com");
        Self {
            repository: "owner/name".to_owned(),
            commit: ObjectId::zero(),
            cause: Cause::Other { event: "no event".to_owned() },
            default_branch: None,
            graphql_url: format!("{api_url}/graphql"),
            api_url,
            server_url: trimmed_url(environment, "GITHUB_SERVER_URL", "https://github.com"),
            actor: String::new(),
            url: String::new(),
            number: None,
            workspace: PathBuf::from("."),
            boundary: PathBuf::from("."),
        }
    }
}

/// What flags say about the run, for your own machine and other CI.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Overrides {
    /// `--repository OWNER/NAME`.
    pub repository: Option<String>,
    /// `--commit SHA`.
    pub commit: Option<String>,
    /// `--branch NAME`.
    pub branch: Option<String>,
}

fn repository(environment: &Environment, overrides: &Overrides, errors: &mut InputErrors) -> Option<String> {
    let text = overrides.repository.as_deref().or_else(|| environment.get("GITHUB_REPOSITORY")).unwrap_or("");
    let part = |part: &str| {
        !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte))
    };
    match text.split_once('/') {
        Some((owner, name)) if part(owner) && part(name) && !matches!(name, "." | "..") => {
            Some(text.to_owned())
        }
        _ => {
            errors.add(InputError {
                input: "GITHUB_REPOSITORY (or --repository)".to_owned(),
                found: (!text.is_empty()).then(|| text.to_owned()),
                expected: "the repository as OWNER/NAME".to_owned(),
                example: "org/app".to_owned(),
            });
            None
        }
    }
}

fn commit(environment: &Environment, overrides: &Overrides, errors: &mut InputErrors) -> Option<ObjectId> {
    let text = overrides.commit.as_deref().or_else(|| environment.get("GITHUB_SHA")).unwrap_or("");
    text.parse()
        .map_err(|error| {
            errors.add(InputError {
                input: "GITHUB_SHA (or --commit)".to_owned(),
                found: (!text.is_empty()).then(|| text.to_owned()),
                expected: format!("{error}"),
                example: "1f2e3d4c5b6a79881f2e3d4c5b6a79881f2e3d4c".to_owned(),
            });
        })
        .ok()
}

/// What started a run with this environment and this event.
pub fn cause(environment: &Environment, overrides: &Overrides, payload: &serde_json::Value) -> Cause {
    if let Some(branch) = &overrides.branch {
        return Cause::Branch(branch.clone());
    }
    let event = environment.get("GITHUB_EVENT_NAME").unwrap_or("");
    let reference = environment.get("GITHUB_REF").unwrap_or("");
    if let Some(why) = no_release_of(event, payload, environment.get("GITHUB_SHA").unwrap_or("")) {
        return Cause::Other { event: why };
    }
    if RELEASING_EVENTS.contains(&event) {
        if let Some(branch) = reference.strip_prefix("refs/heads/") {
            return Cause::Branch(branch.to_owned());
        }
        if let Some(tag) = reference.strip_prefix("refs/tags/") {
            return Cause::Tag(tag.to_owned());
        }
    }
    Cause::Other { event: if event.is_empty() { "no event".to_owned() } else { event.to_owned() } }
}

/// Two events release only in some of their forms.
///
/// A `release` that is marked as a prerelease is not for everybody, whatever its number says; once somebody takes
/// the mark away the event comes again, as `released`. `release` without `types` also comes for deleted, edited and unpublished releases. `workflow_run` comes
/// for failed runs and for runs of forks too, while its commit is always the default branch's newest.
fn no_release_of(event: &str, payload: &serde_json::Value, commit: &str) -> Option<String> {
    let text = |pointer: &str| payload.pointer(pointer).and_then(serde_json::Value::as_str).unwrap_or("");
    match event {
        "release" if !matches!(text("/action"), "published" | "released") => {
            Some(format!("release: {}", text("/action")))
        }
        "release" if payload.pointer("/release/prerelease") == Some(&serde_json::Value::Bool(true)) => {
            Some("release: a prerelease".to_owned())
        }
        "workflow_run"
            if text("/workflow_run/conclusion") != "success"
                || text("/workflow_run/event") != "push"
                || text("/workflow_run/head_sha") != commit =>
        {
            Some("workflow_run of another commit, or of a run that was not a successful push".to_owned())
        }
        _ => None,
    }
}

/// Where a server's REST API is: github.com and GitHub Enterprise Cloud with data residency (`NAME.ghe.com`)
/// have it on a host beside them, GitHub Enterprise Server below a path ("Getting started with the REST API",
/// in GitHub's documentation of each).
fn api_of(server_url: &str) -> String {
    match server_url.split_once("://") {
        Some((scheme, host)) if host == "github.com" || host.ends_with(".ghe.com") => {
            format!("{scheme}://api.{host}")
        }
        _ => format!("{server_url}/api/v3"),
    }
}

fn trimmed_url(environment: &Environment, name: &str, default: &str) -> String {
    environment.get(name).unwrap_or(default).trim_end_matches('/').to_owned()
}

/// The nearest directory around this one that has a `.git`; itself, where none has.
fn clone_around(directory: &Path) -> PathBuf {
    let resolved = std::fs::canonicalize(directory).unwrap_or_else(|_| directory.to_owned());
    let found = resolved.ancestors().find(|around| around.join(".git").exists()).map(Path::to_owned);
    found.unwrap_or(resolved)
}

/// In bytes; GitHub's webhooks have 25 MB at most.
const LARGEST_EVENT: u64 = 64 * 1024 * 1024;

/// The event's payload; without a file an empty one.
fn event_payload(environment: &Environment, errors: &mut InputErrors) -> serde_json::Value {
    let Some(path) = environment.get("GITHUB_EVENT_PATH") else { return serde_json::Value::Null };
    // It lies outside of the workspace. A pipe or a device in its place would be waited for without end.
    let read = Workspace::at(Path::new("/")).read(Path::new(path), LARGEST_EVENT);
    let read = read.map_err(|input_error| format!("it {input_error}"));
    match read.and_then(|(_, bytes)| event::parse(&bytes)) {
        Ok(payload) => payload,
        Err(error) => {
            errors.add(InputError {
                input: "GITHUB_EVENT_PATH".to_owned(),
                found: Some(path.to_owned()),
                expected: format!("a file with the event's JSON ({error})"),
                example: String::new(),
            });
            serde_json::Value::Null
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(pairs: &[(&str, &str)]) -> (Option<Run>, InputErrors) {
        let sha = "a".repeat(40);
        let mut all = vec![("GITHUB_REPOSITORY", "org/app"), ("GITHUB_SHA", sha.as_str())];
        all.extend(pairs);
        let mut errors = InputErrors::default();
        let run = Run::read(&Environment::of(all), &Overrides::default(), &mut errors);
        (run, errors)
    }

    #[test]
    fn only_branches_and_tags_of_known_events_release() {
        let other = |event: &str| Cause::Other { event: event.to_owned() };
        for (event, reference, cause) in [
            ("push", "refs/heads/main", Cause::Branch("main".to_owned())),
            ("push", "refs/heads/release/1.x", Cause::Branch("release/1.x".to_owned())),
            ("push", "refs/tags/v1.2.3", Cause::Tag("v1.2.3".to_owned())),
            ("workflow_dispatch", "refs/heads/main", Cause::Branch("main".to_owned())),
            ("pull_request", "refs/pull/7/merge", other("pull_request")),
            // Its ref is the base branch: releasing it would release what nobody merged.
            ("pull_request_target", "refs/heads/main", other("pull_request_target")),
            ("merge_group", "refs/heads/gh-readonly-queue/main/pr-1", other("merge_group")),
            ("issue_comment", "refs/heads/main", other("issue_comment")),
            ("", "refs/heads/main", other("no event")),
        ] {
            let (run, _) = read(&[("GITHUB_EVENT_NAME", event), ("GITHUB_REF", reference)]);
            assert_eq!(run.unwrap().cause, cause, "{event} {reference}");
        }
    }

    #[test]
    fn two_events_release_in_some_of_their_forms_alone() {
        let commit = "a".repeat(40);
        let caused = |event: &str, reference: &str, payload: &serde_json::Value| {
            let pairs =
                [("GITHUB_EVENT_NAME", event), ("GITHUB_REF", reference), ("GITHUB_SHA", commit.as_str())];
            cause(&Environment::of(pairs), &Overrides::default(), payload)
        };
        let released = |action: &str| {
            let payload = serde_json::json!({"action": action});
            caused("release", "refs/tags/v1.2.3", &payload) == Cause::Tag("v1.2.3".to_owned())
        };
        assert!(released("published") && released("released"));
        assert!(!released("deleted") && !released("edited") && !released("created") && !released(""));
        assert!(!released("prereleased"));
        // case A4; broken by: the release's own mark is not looked at
        for (action, mark, releases) in
            [("published", true, false), ("published", false, true), ("released", true, false)]
        {
            let payload = serde_json::json!({"action": action, "release": {"prerelease": mark}});
            let found = caused("release", "refs/tags/v1.2.3", &payload);
            assert_eq!(found == Cause::Tag("v1.2.3".to_owned()), releases, "{action} {mark}");
        }

        let completed = |conclusion: &str, event: &str, head_sha: &str| {
            let run = serde_json::json!({"conclusion": conclusion, "event": event, "head_sha": head_sha});
            let payload = serde_json::json!({"workflow_run": run});
            caused("workflow_run", "refs/heads/main", &payload) == Cause::Branch("main".to_owned())
        };
        assert!(completed("success", "push", &commit));
        assert!(!completed("failure", "push", &commit));
        assert!(!completed("success", "pull_request", &commit));
        assert!(!completed("success", "push", &"b".repeat(40)));
        // Neither is asked of another event.
        let payload = serde_json::json!({"action": "deleted"});
        assert_eq!(caused("push", "refs/heads/main", &payload), Cause::Branch("main".to_owned()));
    }

    #[test]
    fn a_repository_is_an_owner_and_a_name() {
        let fits = |text: &str| read(&[("GITHUB_REPOSITORY", text)]).1.is_empty();
        for text in ["org/app", "o/.github", "Org-9/a_b.c"] {
            assert!(fits(text), "{text}");
        }
        for text in ["", "org", "/app", "org/", "org/app/x", "org/.", "org/..", "o rg/app", "org/a%2f"] {
            assert!(!fits(text), "{text:?} was accepted");
        }
    }

    /// What is missing has nothing that was found; what is wrong is shown.
    #[test]
    fn a_fault_of_the_run_shows_what_was_there() {
        for (name, wrong) in [("GITHUB_REPOSITORY", "app"), ("GITHUB_SHA", "main")] {
            assert!(read(&[(name, wrong)]).1.to_string().contains(&format!("found \"{wrong}\"")), "{name}");
            assert!(!read(&[(name, "")]).1.to_string().contains("found"), "{name}");
        }
    }

    #[test]
    fn enterprise_servers_keep_their_addresses() {
        let (run, _) = read(&[("GITHUB_API_URL", "https://git.example/api/v3/")]);
        let run = run.unwrap();
        assert_eq!(run.api_url, "https://git.example/api/v3");
        assert_eq!(run.graphql_url, "https://git.example/api/graphql");
        for (server, api, graphql) in [
            ("https://github.com", "https://api.github.com", "https://api.github.com/graphql"),
            ("https://octo.ghe.com", "https://api.octo.ghe.com", "https://api.octo.ghe.com/graphql"),
            ("https://git.example", "https://git.example/api/v3", "https://git.example/api/graphql"),
            (
                "https://ghe.com.example",
                "https://ghe.com.example/api/v3",
                "https://ghe.com.example/api/graphql",
            ),
        ] {
            let run = read(&[("GITHUB_SERVER_URL", server)]).0.unwrap();
            assert_eq!((&*run.api_url, &*run.graphql_url), (api, graphql), "{server}");
        }
    }

    #[test]
    fn all_faults_are_reported() {
        let (run, errors) =
            read(&[("GITHUB_REPOSITORY", "app"), ("GITHUB_SHA", "main"), ("GITHUB_EVENT_PATH", "/nowhere")]);
        assert_eq!(run, None);
        assert_eq!(errors.as_slice().len(), 3, "{errors}");
    }
}
