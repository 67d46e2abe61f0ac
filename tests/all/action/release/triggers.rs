//! Events that start a run, and which of them release nothing.

use super::Project;

#[test]
fn a_pull_request_without_secrets_is_planned_all_the_same() {
    let project = Project::new();
    let commit = project.merge("one");
    let run = project
        .workflow
        .run(&commit, "pull_request", "refs/pull/1/merge")
        .with("registry-username", "org-bot")
        .with("registry-password", "")
        .with("command", "plan");
    run.finish().ended("planned");
}

#[test]
fn a_deleted_release_stays_deleted() {
    let project = Project::new();
    let commit = project.merge("one");
    let digest = project.pushed("org/app", &commit);
    project.release(&commit).with("release", "false").finish().ended("released");
    let directory = tempfile::tempdir().expect("a directory");
    let event = directory.path().join("event.json");
    let payload = serde_json::json!({ "action": "deleted", "repository": { "default_branch": "main" } });
    std::fs::write(&event, payload.to_string()).expect("the event");
    let run = project
        .workflow
        .run(&commit, "release", "refs/tags/v0.0.1")
        .with("image-digest", digest.as_str())
        .env("GITHUB_EVENT_PATH", &event.to_string_lossy())
        .finish()
        .ended("planned");
    assert!(project.github.releases().is_empty(), "{run}");
}

#[test]
fn a_failed_or_foreign_workflow_run_releases_nothing() {
    let project = Project::new();
    let commit = project.merge("not tested yet");
    let directory = tempfile::tempdir().expect("a directory");
    let event = directory.path().join("event.json");
    let payload = serde_json::json!({
        "action": "completed", "repository": { "default_branch": "main" },
        "workflow_run": { "event": "pull_request", "conclusion": "failure", "head_branch": "patch-1",
                          "head_sha": "b".repeat(40), "head_repository": { "fork": true } },
    });
    std::fs::write(&event, payload.to_string()).expect("the event");
    let digest = project.pushed("org/app", &commit);
    let run = project
        .workflow
        .run(&commit, "workflow_run", "refs/heads/main")
        .with("image-digest", digest.as_str())
        .env("GITHUB_EVENT_PATH", &event.to_string_lossy())
        .finish()
        .ended("planned");
    assert!(project.claims().is_empty() && project.github.releases().is_empty(), "{run}");
    assert_eq!(project.registry.digest("org/app", "0.0.1"), None, "{run}");
}

#[test]
fn a_workspace_of_another_commit_is_refused() {
    let project = Project::new();
    let (commit, other) = (project.merge("one"), project.merge("two"));
    let git = project.workflow.workspace().join(".git");
    std::fs::create_dir(&git).expect(".git");
    std::fs::write(git.join("HEAD"), format!("{other}\n")).expect("HEAD");
    let run = project.workflow.push(&commit).without_docker().finish().failed(2);
    assert!(run.annotations("error")[0].contains(other.as_str()), "{run}");
    assert!(project.claims().is_empty());
}
