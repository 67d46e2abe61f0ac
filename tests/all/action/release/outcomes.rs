//! What a run ends with: released, superseded, planned, failed.

use serde_json::json;

use super::Project;
use crate::action::workflow::Workflow;
use testkit::github::{Access, Double, Permissions};
use testkit::images::tiny_image::TinyImage;
use testkit::network::faults::Fault;
use testkit::network::http::client;
use testkit::network::pager::{Links, Pager};
use testkit::registry::{Auth, Registry};

#[test]
fn a_first_and_a_second_merge_are_released() {
    let project = Project::new();
    let first = project.merge("feat: begin");
    let run = project.release(&first).finish().ended("released");
    let digest = project.registry.digest("org/app", "0.0.1").expect("0.0.1 is published");
    for (name, value) in [
        ("version", "0.0.1"),
        ("tag", "v0.0.1"),
        ("previous-version", ""),
        ("image", &project.image().to_string()),
        ("digest", digest.as_str()),
        ("image-ref", &project.image().with_digest(&digest)),
    ] {
        assert_eq!(run.output(name), value, "{name}");
    }
    let release = &project.github.releases()[0];
    assert_eq!(run.output("release-url"), format!("https://github.com/org/app/releases/tag/v0.0.1"));
    assert_eq!(run.output("release-id"), release.id.to_string());
    assert!(
        release
            .body
            .as_deref()
            .is_some_and(|body| body.contains("What's Changed") && body.contains(digest.as_str()))
    );

    let second = project.merge("fix: go on");
    let run = project.release(&second).finish().ended("released");
    assert_eq!((run.output("version"), run.output("previous-version")), ("0.0.2", "0.0.1"));
    assert!(
        run.summary.contains("Released [v0.0.2]") && run.summary.contains("| release |"),
        "{}",
        run.summary
    );
    assert_eq!(project.github.latest_release().as_deref(), Some("v0.0.2"));
    project.assert_consistent();
}

// invariant commit-order: An older commit is superseded; broken by: `src/release/survey.rs`: a tip that is
//   ahead counts as nothing
#[test]
fn an_older_commit_is_superseded_and_says_so() {
    let project = Project::new();
    let old = project.merge("one");
    let new = project.merge("two");
    project.release(&new).finish().ended("released");
    let run = project.release(&old).finish().ended("superseded");
    for name in ["version", "tag", "digest", "image-ref", "release-url"] {
        assert_eq!(run.output(name), "", "a later step must find no {name}");
    }
    assert_eq!(run.annotations("notice").len(), 1, "{run}");
    assert_eq!(project.claims().len(), 1);
    project.assert_consistent();
}

#[test]
fn conventional_commits_decide_under_auto() {
    let project = Project::new();
    project.release(&project.merge("one")).finish().ended("released");
    project.merge("feat(search): find things (#12)");
    let head = project.merge("fix: typo");
    let run = project.release(&head).with("bump", "auto").finish().ended("released");
    assert_eq!(run.output("version"), "0.1.0");
    assert!(run.summary.contains("feat(search): find things"), "{}", run.summary);
}

// invariant no-guess: All pages are read; broken by: `src/adapters/registry/tags.rs`: it ends after the first
//   page; `src/adapters/github/client.rs`: after the second
#[test]
fn ten_thousand_git_tags_and_registry_tags_are_all_seen() {
    const COUNT: usize = 10_000;
    for (registry_count, git_count) in [(COUNT, 3), (3, COUNT)] {
        let project = Project::new();
        let commit = project.merge("one");
        project.registry.seed_tags("org/app", registry_count);
        project.github.seed_tags((1..=git_count).map(|patch| format!("v0.0.{patch}")), &commit);
        // Lists are sorted as texts, so that this one stands on the last page, and 0.0.10000 on the first.
        if registry_count == COUNT {
            project.registry.put("org/app", "0.1.0", &TinyImage::labelled(&[]));
        } else {
            project.github.seed_tags(["v0.1.0".to_owned()], &commit);
        }
        // Pages even where GitHub documents none: whoever reads one page sees 0.0.10000 as the highest.
        project.github.page_matching_refs(Some(100));
        let pager = Pager::before(project.registry.host(), 100, Links::Relative);
        let next = project.merge("two");
        let digest = project.pushed("org/app", &next);
        let run = project
            .workflow
            .push(&next)
            .with("image", &format!("{}/org/app", pager.host()))
            .with("image-digest", digest.as_str())
            .finish()
            .ended("released");
        assert_eq!(run.output("version"), "0.1.1");
    }
}

// invariant no-guess: A listing that fails is no empty list; broken by: `src/adapters/registry/tags.rs`: any
//   404 means "no repository yet"
#[test]
fn a_failed_listing_is_an_error_and_claims_nothing() {
    let project = Project::new();
    let commit = project.merge("one");
    project.registry.seed_tags("org/app", 250);
    let digest = project.pushed("org/app", &commit);
    for (page, status, code, title) in [
        (1, 500, 4, "Not reachable"),
        (3, 500, 4, "Not reachable"),
        (2, 403, 3, "The registry refuses the login"),
        (1, 404, 4, "Not reachable"),
        (2, 404, 4, "Not reachable"),
        (1, 400, 6, "Conflict"),
    ] {
        let pager = Pager::before(project.registry.host(), 100, Links::Relative);
        pager.inject(Fault::on("GET */tags/list").nth(page).answer(status, serde_json::json!({})).times(100));
        let run = project.workflow.push(&commit).with("image", &format!("{}/org/app", pager.host()));
        run.with("image-digest", digest.as_str()).finish().refused(code, title);
    }
    for pattern in ["GET */git/matching-refs/*", "GET */git/ref/*"] {
        project.github.inject(Fault::on(pattern).answer(400, serde_json::json!({ "message": "no" })));
        project.release(&commit).finish().refused(6, "Conflict");
    }
    assert_eq!(project.github.read_ref("refs/autotag/v/head"), None);
    assert_eq!(project.github.tag_objects(), 0);
}

#[test]
fn a_short_outage_is_sat_out() {
    let project = Project::new();
    let commit = project.merge("one");
    let down = serde_json::json!({ "message": "unavailable" });
    project.github.inject(Fault::on("GET */git/matching-refs/*").answer(503, down.clone()).times(2));
    project.github.inject(Fault::on("POST */releases").answer(429, down).header("retry-after", "1"));
    let run = project.release(&commit).finish().ended("released");
    assert!(run.log.contains("trying again"), "{run}");
    project.assert_consistent();
}

// invariant unique: What nobody merged is not released; broken by: `src/inputs/run.rs`: `pull_request_target`
//   is an event that releases
#[test]
fn a_pull_request_and_another_branch_publish_nothing() {
    let project = Project::new();
    let commit = project.merge("one");
    let digest = project.pushed("org/app", &commit);
    let tags = project.registry.tags("org/app");
    for (event, reference) in [
        ("pull_request", "refs/pull/1/merge"),
        ("pull_request_target", "refs/heads/main"),
        ("push", "refs/heads/dev"),
    ] {
        let run = project.workflow.run(&commit, event, reference).with("image-digest", digest.as_str());
        let run = run.finish().ended("planned");
        assert_eq!(run.output("version"), "0.0.1", "the version it would have");
        assert_eq!(run.output("digest"), "");
    }
    assert_eq!(project.registry.tags("org/app"), tags);
    assert!(project.github.requests().iter().all(|request| request.method == "GET"), "nothing was written");
}

#[test]
fn a_plan_is_a_table_and_json_and_changes_nothing() {
    let project = Project::new();
    project.release(&project.merge("one")).finish().ended("released");
    let commit = project.merge("two");
    project.github.forget_requests();
    let run =
        project.workflow.push(&commit).with("command", "plan").without_docker().finish().ended("planned");
    assert!(run.log.contains("release 0.0.2"), "{run}");
    let json = run.log.lines().find(|line| line.starts_with('{')).expect("a line of JSON");
    let plan: serde_json::Value = serde_json::from_str(json).expect("JSON");
    assert_eq!(plan["version"], "0.0.2");
    assert_eq!(plan["highest"]["registry"], "0.0.1");

    let workstation = project
        .workflow
        .push(&commit)
        .outside_of_ci()
        .arguments(&["plan", "--repository", "org/app", "--commit", commit.as_str(), "--branch", "main"])
        .finish();
    assert!(workstation.code == Some(0) && workstation.log.contains("release 0.0.2"), "{workstation}");
    assert!(project.github.requests().iter().all(|request| request.method == "GET"));
}

#[test]
fn outside_of_ci_nothing_is_released_by_accident() {
    let project = Project::new();
    let commit = project.merge("one");
    let printed = ["--repository", "org/app", "--commit", commit.as_str(), "--branch", "main"];
    let run = project.release(&commit).outside_of_ci().arguments(&printed).finish();
    assert!(run.code == Some(2) && run.log.contains("`command`"), "{run}");
    assert!(project.github.requests().is_empty());
}

#[test]
fn a_tag_that_was_pushed_is_the_version() {
    let project = Project::new();
    project.release(&project.merge("one")).finish().ended("released");
    let commit = project.merge("two");
    let by_hand = project.github.annotated_tag("v1.0.0", "by hand", &commit);
    let digest = project.pushed("org/app", &commit);
    let run = project.workflow.run(&commit, "push", "refs/tags/v1.0.0").with("image-digest", digest.as_str());
    let run = run.finish().ended("released");
    assert_eq!((run.output("version"), run.output("previous-version")), ("1.0.0", "0.0.1"));
    assert_eq!(project.github.read_ref("refs/tags/v1.0.0"), Some(by_hand), "the person's tag stays");
    // The merge's own run, started by the same push, finds the claim.
    project.release(&commit).finish().ended("resumed");
    project.assert_consistent();
}

#[test]
fn a_pushed_tag_below_what_is_released_is_refused() {
    let project = Project::new();
    project.release(&project.merge("one")).with("version", "2.0.0").finish().ended("released");
    let commit = project.merge("two");
    project.github.set_ref("refs/tags/v1.0.0", &commit);
    let digest = project.pushed("org/app", &commit);
    let run = project.workflow.run(&commit, "push", "refs/tags/v1.0.0").with("image-digest", digest.as_str());
    let run = run.finish().failed(6);
    assert!(run.annotations("error")[0].contains("not higher than 2.0.0"), "{run}");
    assert_eq!(project.claims().len(), 1);
}

#[test]
fn a_second_image_joins_the_commits_version() {
    let project = Project::new();
    let commit = project.merge("one");
    project.release(&commit).finish().ended("released");
    let second = |commit| {
        let digest = project.pushed("org/worker", commit);
        let image = project.registry.image("org/worker").to_string();
        let run = project.workflow.push(commit).with("image", &image).with("image-digest", digest.as_str());
        (digest, run.finish())
    };
    let (digest, run) = second(&commit);
    assert_eq!(run.ended("released").output("version"), "0.0.1");
    assert_eq!(project.registry.digest("org/worker", "0.0.1"), Some(digest.clone()));
    assert_eq!(project.registry.digest("org/worker", "latest"), Some(digest));
    let body = project.github.releases()[0].body.clone().unwrap_or_default();
    assert!(body.contains("org/app:0.0.1") && body.contains("org/worker:0.0.1"), "{body}");
    assert_eq!(second(&commit).1.ended("resumed").output("version"), "0.0.1");
    assert_eq!(project.github.releases().len(), 1);
    assert_eq!(project.release(&project.merge("two")).finish().ended("released").output("version"), "0.0.2");
}

#[test]
fn what_was_asked_of_the_release_is_done() {
    let project = Project::new();
    let run = project.release(&project.merge("one"));
    run.with("release", "false").with("latest", "false").finish().ended("released");
    assert!(project.github.releases().is_empty());
    assert_eq!(project.registry.digest("org/app", "latest"), None);

    let run = project.release(&project.merge("two")).with("release-draft", "true");
    run.with("release-notes", "Own words.")
        .with("release-name", "Release {version} ({tag})")
        .finish()
        .ended("released");
    let release = &project.github.releases()[0];
    assert!(release.draft);
    assert_eq!(release.name.as_deref(), Some("Release 0.0.2 (v0.0.2)"));
    assert!(release.body.as_deref().is_some_and(|body| body.starts_with("Own words.")));
    project.release(&project.github.read_ref("refs/heads/main").expect("main")).finish().ended("resumed");
    assert_eq!(project.github.releases().len(), 1, "the draft is found again");
}

// invariant failures-are-explained
#[test]
fn all_input_errors_are_reported_before_any_request() {
    let project = Project::new();
    let run = project
        .workflow
        .push(&project.merge("one"))
        .with("image", "ghcr.io/org/app:1")
        .with("bump", "huge")
        .with("registry-password", "pa55word-of-nobody")
        .finish()
        .failed(2);
    let annotations = run.annotations("error");
    assert_eq!(annotations.len(), 1);
    for word in ["`image`", "`bump`", "`registry-username`"] {
        assert!(annotations[0].contains(word), "{word} is missing: {run}");
    }
    assert!(project.github.requests().is_empty());
}

#[test]
fn a_read_only_token_is_refused_with_a_remedy() {
    let project = Project::new();
    let commit = project.merge("one");
    project.github.allow("ghs_reader", Permissions { contents: Access::Read, deployments: Access::Read });
    let run = project.release(&commit).with("github-token", "ghs_reader").finish().failed(3);
    let annotation = run.annotations("error")[0];
    assert!(annotation.contains("contents") && annotation.contains("write"), "{run}");
    let run = project.release(&commit).with("github-token", "ghs_unknown").finish().failed(3);
    assert!(run.annotations("error")[0].contains("github-token"), "{run}");
}

// invariant secrets: The job's token goes to GitHub's registry only; broken by: `src/inputs/request/parse.rs`: the
//   registry's host is not asked about
#[test]
fn the_workflow_token_never_reaches_another_registry() {
    let github = Double::start();
    // One that asks for a login: to another nobody would send any.
    let registry = Registry::start(&Auth::basic("me", "pa55word"));
    let pager = Pager::before(registry.host(), 100, Links::Relative);
    let commit = github.commit_on("main", "one");
    let digest = registry.put("org/app", "ci", &TinyImage::labelled(&[]));
    let workflow = Workflow::new(&github.url()).with("image", &format!("{}/org/app", pager.host()));
    let run = workflow.push(&commit).with("workflow-token", "ghs_workflow");
    let run = run.with("image-digest", digest.as_str()).finish().failed(3);
    assert!(run.annotations("error")[0].contains("registry-password"), "{run}");
    assert!(!pager.seen().is_empty() && pager.seen().iter().all(|seen| seen.authorization.is_none()));
}

#[test]
fn a_token_that_expires_mid_run_is_renewed() {
    let github = Double::start();
    let registry = Registry::start(&Auth::token("me", "pa55word"));
    let workflow = Workflow::new(&github.url())
        .with("image", &registry.image("org/app").to_string())
        .with("registry-username", "me")
        .with("registry-password", "pa55word");
    let commit = github.commit_on("main", "one");
    let image = TinyImage::labelled(&[]);
    let digest = registry.put("org/app", "ci", &image);
    registry.tokens().next_run_out(2);
    workflow.push(&commit).with("image-digest", digest.as_str()).finish().ended("released");
    assert_eq!(registry.digest("org/app", "0.0.1"), Some(digest));
    assert!(registry.tokens().issued() > 2);
}

#[test]
fn an_unwritable_runner_file_is_a_failure() {
    let project = Project::new();
    let commit = project.merge("one");
    let run = project.release(&commit).env("GITHUB_OUTPUT", "/nowhere/output").finish();
    assert_eq!(run.code, Some(1), "later steps would run on nothing: {run}");
    assert!(run.log.contains("GITHUB_OUTPUT") && run.log.contains("/nowhere/output"), "{run}");
    assert!(run.summary.contains("Released"), "the other file is written all the same: {}", run.summary);
}

// invariant unique: An index is published as it is; broken by: `src/adapters/registry/manifest.rs`: an index is
//   not among what is accepted
#[test]
fn an_index_is_released_unchanged_with_both_platforms() {
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

// invariant latest: Our own draft, once published, becomes Latest; broken by: `src/pipeline/publishing.rs`: a
//   resumed run does not look at which release is shown
#[tokio::test(flavor = "multi_thread")]
async fn a_published_draft_becomes_latest_in_the_next_run() {
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
