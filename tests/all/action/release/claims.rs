//! The claim itself: one atomic step, and what GitHub may say to it.

use super::Project;
use testkit::network::faults::Fault;

// invariant unique
#[test]
fn head_and_tag_move_in_one_request() {
    let project = Project::new();
    project.release(&project.merge("one")).finish().ended("released");
    let is_claim = |request: &testkit::github::Recorded| {
        request.path == "/graphql"
            && request.body["query"].as_str().is_some_and(|it| it.starts_with("mutation"))
    };
    let claims: Vec<_> = project.github.requests().into_iter().filter(is_claim).collect();
    assert_eq!(claims.len(), 1);
    let updates = claims[0].body["variables"]["input"]["refUpdates"].as_array().expect("updates").clone();
    let names: Vec<&str> = updates.iter().filter_map(|update| update["name"].as_str()).collect();
    assert_eq!(names, ["refs/autotag/v/head", "refs/tags/v0.0.1"]);
    assert!(updates.iter().all(|update| update["beforeOid"] == "0".repeat(40)));
    assert_eq!(project.github.count("POST */git/refs"), 0, "no tag is ever created by itself");
}

// invariant failures-are-explained
#[test]
fn a_ruleset_that_forbids_the_tag_is_explained() {
    let project = Project::new();
    let refusal = serde_json::json!({
        "data": { "updateRefs": null },
        "errors": [{ "type": "UNPROCESSABLE", "message": "Repository rule violations found: cannot create ref" }],
    });
    project.github.inject(Fault::on("POST /graphql").answer(200, refusal));
    let run = project.release(&project.merge("one")).finish().failed(3);
    let annotation = run.annotations("error")[0];
    for word in ["Repository rule violations", "github-token", "claim-ref", "refs/autotag/v/head"] {
        assert!(annotation.contains(word), "{word} is missing: {run}");
    }
}

#[test]
fn a_prefix_has_claims_and_versions_of_its_own() {
    let project = Project::new();
    let commit = project.merge("one");
    project.release(&commit).finish().ended("released");
    let digest = project.pushed("org/api", &commit);
    let api = project.registry.image("org/api").to_string();
    let run = project.workflow.push(&commit).with("image", &api).with("tag-prefix", "api-v");
    let run = run.with("version", "3.0.0").with("image-digest", digest.as_str()).finish().ended("released");
    assert_eq!(run.output("tag"), "api-v3.0.0");
    assert!(project.github.read_ref("refs/autotag/api-v/head").is_some());
    assert_eq!(project.github.latest_release().as_deref(), Some("v0.0.1"), "the other part's Latest stays");
    assert_eq!(project.release(&project.merge("two")).finish().output("version"), "0.0.2");
}

// invariant no-guess
#[test]
fn broken_claims_are_an_error_not_a_fresh_start() {
    let project = Project::new();
    project.release(&project.merge("one")).finish().ended("released");
    let commit = project.merge("two");
    let nonsense = project.github.loose_tag_object("v0.0.1", "no claim", &commit);
    project.github.set_ref("refs/autotag/v/head", &nonsense);
    let run = project.release(&commit).finish().failed(6);
    assert!(run.annotations("error")[0].contains("claim-ref"), "{run}");
    assert_eq!(project.github.read_ref("refs/tags/v0.0.2"), None);
}

#[test]
fn lists_that_lag_cost_a_round_and_no_version() {
    let project = Project::new();
    project.release(&project.merge("one")).finish().ended("released");
    project.github.lag_lists(3);
    for expected in ["0.0.2", "0.0.3", "0.0.4"] {
        let run = project.release(&project.merge("more")).finish().ended("released");
        assert_eq!(run.output("version"), expected);
    }
    assert_eq!(project.claims().len(), 4);
}

// invariant commit-order
/// Two branches that release, and their merge: what is older than a claim is judged by the branch it is on.
#[test]
fn diverged_branches_supersede_only_what_they_contain() {
    let project = Project::new();
    let root = project.merge("root");
    let old_left = project.github.commit("left, older", &[&root]);
    let left = project.github.commit("left", &[&old_left]);
    let right = project.github.commit("right", &[&root]);
    let merged = project.github.commit("merged", &[&left, &right]);
    let version = |run: crate::action::workflow::Finished| run.output("version").to_owned();
    assert_eq!(version(project.release(&left).finish().ended("released")), "0.0.1");
    assert_eq!(version(project.release(&right).finish().ended("released")), "0.0.2");
    let late = project.release(&old_left).finish().ended("superseded");
    assert!(
        late.annotations("notice")[0]
            .contains(&format!("newer commit {} has the version v0.0.1", left.short())),
        "{late}"
    );
    project.release(&root).finish().ended("superseded");
    assert_eq!(version(project.release(&merged).finish().ended("released")), "0.0.3");
    assert_eq!(project.claims()[0].tips.len(), 1, "the merge contains both");
    project.release(&left).finish().ended("resumed");
    project.assert_consistent();
}

/// An image that joins an old version becomes the newest claim; the next version must still be above all.
#[test]
fn a_late_join_lowers_nothing() {
    let project = Project::new();
    let old = project.merge("one");
    project.release(&old).finish().ended("released");
    project.release(&project.merge("two")).finish().ended("released");
    let digest = project.pushed("org/worker", &old);
    let image = project.registry.image("org/worker").to_string();
    let join = project.workflow.push(&old).with("image", &image).with("image-digest", digest.as_str());
    assert_eq!(join.finish().ended("released").output("version"), "0.0.1");
    let claims = project.claims();
    assert_eq!(
        (claims[0].version.to_string(), claims[0].highest.to_string()),
        ("0.0.1".into(), "0.0.2".into())
    );
    // Lists that show neither tag nor image of 0.0.2 must not make it free again.
    project.registry.remove_tag("org/app", "0.0.2");
    project.github.lag_lists(20);
    let run = project.release(&project.merge("three")).finish().ended("released");
    assert_eq!(run.output("version"), "0.0.3");
    assert_eq!(project.github.latest_release().as_deref(), Some("v0.0.3"));
}
