//! Odd answers and odd histories from GitHub.

use super::Project;
use testkit::network::faults::Fault;

#[test]
fn a_refusal_for_a_lock_is_no_missing_permission() {
    let project = Project::new();
    let commit = project.merge("one");
    let refusal = serde_json::json!({
        "data": { "updateRefs": null },
        "errors": [{ "message": "cannot lock ref 'refs/autotag/v/head': Unable to create '...head.lock': File exists." }],
    });
    project.github.inject(Fault::on("POST /graphql").answer(200, refusal));
    project.release(&commit).finish().ended("released");
}

#[test]
fn a_timeout_that_graphql_reports_is_asked_again() {
    let project = Project::new();
    let commit = project.merge("one");
    let refusal = serde_json::json!({
        "data": null,
        "errors": [{ "message": "Something went wrong while executing your query. This may be the result of a timeout, or it could be a GitHub bug." }],
    });
    project.github.inject(Fault::on("POST /graphql").answer(200, refusal));
    project.release(&commit).finish().ended("released");
}

#[test]
fn a_rate_limit_that_graphql_reports_is_waited_out() {
    let project = Project::new();
    let commit = project.merge("one");
    let refusal =
        serde_json::json!({ "errors": [{ "type": "RATE_LIMITED", "message": "API rate limit exceeded" }] });
    project.github.inject(Fault::on("POST /graphql").answer(200, refusal));
    project.release(&commit).finish().ended("released");
}

#[test]
fn a_rewritten_history_goes_on_releasing() {
    let project = Project::new();
    project.release(&project.merge("one")).finish().ended("released");
    let fresh = project.github.commit("rewritten root", &[]);
    project.github.set_ref("refs/heads/main", &fresh);
    let run = project.release(&fresh).finish().ended("released");
    assert_eq!(run.output("version"), "0.0.2");
}

#[test]
fn superseded_promises_no_release_that_may_be_missing() {
    let project = Project::new();
    let old = project.merge("one");
    let new = project.merge("two");
    project
        .github
        .inject(Fault::on("POST */releases").answer(401, serde_json::json!({"message": "no"})).times(9));
    project.release(&new).finish().failed(3);
    let run = project.release(&old).finish().ended("superseded");
    let summary = &run.summary;
    assert!(summary.contains("v0.0.1"), "it names what stands in the way: {summary}");
    assert!(!summary.contains("has been released") && !summary.contains("/releases/tag/"), "{summary}");
}
