//! Killed at any point and run again, a release converges to one version: invariant 2.

use super::Project;
use testkit::network::faults::Fault;
use testkit::network::pager::{Links, Pager};

// invariant resumable
#[test]
fn a_re_run_resumes_and_changes_nothing() {
    let project = Project::new();
    let commit = project.merge("one");
    let first = project.release(&commit).finish().ended("released");
    let state = without_counts(project.github.state());
    let again = project.workflow.push(&commit).without_docker().finish().ended("resumed");
    for name in ["version", "tag", "digest", "image-ref", "release-url", "release-id"] {
        assert_eq!(first.output(name), again.output(name), "{name}");
    }
    assert_eq!(without_counts(project.github.state()), state);
}

fn without_counts(mut state: serde_json::Value) -> serde_json::Value {
    state.as_object_mut().expect("an object").remove("requests");
    state
}

#[test]
fn only_our_block_of_the_notes_is_rewritten() {
    let project = Project::new();
    let commit = project.merge("one");
    project.release(&commit).finish().ended("released");
    let edited = project.github.edit_notes("v0.0.1", |body| {
        body.replace("What's Changed", "What a person wrote").replace("Digest", "Digset")
    });
    assert!(edited.contains("Digset"));
    project.workflow.push(&commit).without_docker().finish().ended("resumed");
    let body = project.github.releases()[0].body.clone().unwrap_or_default();
    assert!(body.contains("What a person wrote") && !body.contains("Digset"), "{body}");
}

// invariant resumable
/// Every request of a release, to GitHub and to the registry, is the last one that a killed run sends; the
/// next run of the same commit must end with exactly one version, whole.
#[tokio::test(flavor = "multi_thread")]
async fn killed_before_any_request_the_next_run_converges() {
    let whole = {
        let project = Project::new();
        let pager = Pager::before(project.registry.host(), 100, Links::Relative);
        through(&project, &pager).finish().ended("released");
        (project.github.requests().len(), pager.seen().len())
    };
    let mut kills = 0;
    for (github, registry) in
        (0..whole.0).map(|n| (Some(n), None)).chain((0..whole.1).map(|n| (None, Some(n))))
    {
        let project = Project::new();
        let pager = Pager::before(project.registry.host(), 100, Links::Relative);
        let gate = if github.is_some() { project.github.hold("*") } else { pager.hold("*") };
        let passed = github.or(registry).unwrap_or_default();
        let running = through(&project, &pager).start();
        gate.release(passed);
        gate.arrived(passed + 1).await;
        running.kill();
        gate.open();
        let commit = project.github.read_ref("refs/heads/main").expect("main");
        let run = tokio::task::spawn_blocking({
            let run = again(&project, &pager, &commit);
            move || run.finish()
        });
        let run = run.await.expect("the run ends");
        assert!(run.code == Some(0), "killed after {passed} requests ({github:?}, {registry:?}): {run}");
        assert_eq!(project.claims().len(), 1, "killed after {passed} requests");
        assert_eq!(run.output("version"), "0.0.1");
        assert!(project.registry.digest("org/app", "0.0.1").is_some());
        assert_eq!(project.github.latest_release().as_deref(), Some("v0.0.1"));
        project.assert_consistent();
        kills += 1;
    }
    assert!(kills > 15, "only {kills} kills: the release has more effects than that");
}

fn through(project: &Project, pager: &Pager) -> crate::action::workflow::Run {
    let commit = project.merge("one");
    again(project, pager, &commit)
}

fn again(
    project: &Project,
    pager: &Pager,
    commit: &autotag_model::git::ObjectId,
) -> crate::action::workflow::Run {
    project.release(commit).with("image", &format!("{}/org/app", pager.host()))
}

// invariant resumable: What may have taken effect is looked up; broken by: `src/release/claim.rs`: a lost
//   answer ends the run
#[test]
fn a_lost_answer_is_looked_up_never_repeated() {
    for pattern in ["POST /graphql", "POST */releases", "POST */git/tags"] {
        let project = Project::new();
        let commit = project.merge("one");
        project.github.inject(Fault::lost_answer(pattern));
        let run = project.release(&commit).finish().ended("released");
        assert_eq!(run.output("version"), "0.0.1", "{pattern}");
        assert_eq!(project.claims().len(), 1, "{pattern}");
        assert_eq!(project.github.releases().len(), 1, "{pattern}");
        project.assert_consistent();
    }
}

// invariant resumable: A superseded run helps; broken by: `src/pipeline/mod.rs`: it is given no claims to help
#[test]
fn a_superseded_run_publishes_what_a_dead_newer_one_claimed() {
    let project = Project::new();
    let old = project.merge("one");
    let new = project.merge("two");
    // The newer run dies between its claim and its first PUT.
    let pager = Pager::before(project.registry.host(), 100, Links::Relative);
    pager.inject(Fault::on("PUT *").answer(400, serde_json::json!({ "errors": [] })));
    again(&project, &pager, &new).finish().failed(6);
    assert_eq!(project.registry.digest("org/app", "0.0.1"), None);
    let run = again(&project, &pager, &old).finish().ended("superseded");
    assert!(run.log.contains("published 0.0.1, which its own run had left"), "{run}");
    assert!(project.registry.digest("org/app", "0.0.1").is_some());
    assert_eq!(project.registry.digest("org/app", "latest"), project.registry.digest("org/app", "0.0.1"));
    again(&project, &pager, &new).finish().ended("resumed");
    project.assert_consistent();
}
