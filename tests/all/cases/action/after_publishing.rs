//! What happens once the version is out: the GitHub release, Latest, the servers.

use autotag_deploy::pipeline::Ending;

use crate::action::deploy::play::{Servers, Stage};
use crate::action::release::Project;
use testkit::network::faults::Fault;

// case A12; broken by: `forgiven` forgives nothing
pub fn a_step_that_is_refused_for_good_is_a_warning() {
    let refused = |message: &str| serde_json::json!({ "message": message });
    for (pattern, status, message) in [
        ("POST */releases", 422, "Validation Failed"),
        ("POST */releases", 403, "Resource not accessible by integration"),
        ("POST */releases", 422, "Repository rule violations found"),
        ("POST */releases/generate-notes", 422, "Invalid previous_tag_name"),
        ("GET */releases/tags/*", 422, "Only the first 10000 results are available."),
        ("GET */releases/latest", 403, "no"),
        ("PATCH */releases/*", 422, "Immutable releases cannot be edited"),
    ] {
        let stage = Stage::new(Servers::new());
        let commit = stage.project.merge("feat: begin");
        // `may_write` asks for notes too, before the build; images from elsewhere are not asked for.
        stage.project.github.inject(Fault::on(pattern).answer(status, refused(message)).always());
        let run = stage.release(&commit, &[]);
        let Ending::Released(released) = run.ending() else { panic!("{pattern}: {run:?}") };
        let deployment = released.deployment.as_ref().expect("a deployment");
        assert!(deployment.deployed(), "{pattern}: {deployment:#?}");
        assert_eq!(run.output("version"), "0.0.1");
        assert!(stage.project.registry.digest("org/app", "latest").is_some());
    }
    // The program says it where people look, and the next run does what is missing.
    let project = Project::new();
    let commit = project.merge("one");
    project.github.inject(Fault::on("POST */releases").answer(422, refused("Validation Failed")));
    let run = project.release(&commit).finish().ended("released");
    let warnings = run.annotations("warning");
    assert!(warnings.len() == 1 && warnings[0].contains("Validation Failed"), "{run}");
    assert!(warnings[0].contains("What to do"), "{run}");
    assert_eq!(run.output("release-url"), "");
    project.release(&commit).finish().ended("resumed");
    project.assert_consistent();
}

// case A12; broken by: a login that ran out counts as a refusal for good; every failure is forgiven
pub fn what_a_further_run_can_do_fails_this_one() {
    for (pattern, status, code) in [
        ("POST */releases", 401, 3),
        ("POST */releases/generate-notes", 400, 0),
        ("GET */releases/latest", 401, 3),
    ] {
        let project = Project::new();
        let commit = project.merge("one");
        let body = serde_json::json!({ "message": "Bad credentials" });
        project.github.inject(Fault::on(pattern).answer(status, body));
        let run = project.release(&commit).finish();
        assert_eq!(run.code, Some(code), "{pattern} {status}: {run}");
        project.release(&commit).finish().ended("resumed");
        project.assert_consistent();
    }
}

// case A12; broken by: the text is not cut
pub fn a_text_at_githubs_limit_is_cut() {
    let project = Project::new();
    let commit = project.merge("one");
    // An input is a variable, of which Linux takes 128 KiB.
    let run = project.release(&commit).with("release-notes", &"x".repeat(125_000)).finish().ended("released");
    assert_eq!(run.annotations("warning"), [""; 0], "{run}");
    let digest = project.registry.digest("org/app", "0.0.1").expect("published");
    let body = || project.github.releases()[0].body.clone().unwrap_or_default();
    assert!(
        body().chars().count() <= 125_000 && body().contains(digest.as_str()) && body().contains("(cut: ")
    );
    // A person wrote to the limit, and an image joins.
    project.github.edit_notes("v0.0.1", |_| "y".repeat(125_000));
    let run = project.release(&commit).finish().ended("resumed");
    assert_eq!(run.annotations("warning"), [""; 0], "{run}");
    assert!(
        body().chars().count() <= 125_000 && body().contains(digest.as_str()) && body().starts_with("yyy")
    );
}

// case A6; broken by: the list of releases is read
pub fn many_releases_cost_no_more_requests_than_few() {
    let requests = |releases: usize, order: &[(&str, &str)]| {
        let project = Project::new();
        let commit = project.merge("one");
        let names = || (1..=releases).map(|patch| format!("v0.0.{patch}"));
        project.github.seed_tags(names(), &commit);
        project.github.seed_releases(names());
        let next = project.merge("two");
        project.github.forget_requests();
        let mut run = project.release(&next);
        for (name, value) in order {
            run = run.with(name, value);
        }
        let run = run.finish().ended("released");
        assert_eq!(run.annotations("warning"), [""; 0], "{run}");
        let tag = format!("v0.0.{}", releases + 1);
        if order.is_empty() {
            assert_eq!(project.github.latest_release(), Some(tag.clone()));
        }
        let count = project.github.requests().len();
        assert_eq!(project.github.count("GET */releases"), 0, "the list is not read");
        project.release(&next).finish().ended("resumed");
        assert_eq!(project.github.releases().iter().filter(|release| release.tag == tag).count(), 1);
        count
    };
    for order in [&[][..], &[("release-draft", "true")]] {
        assert_eq!(requests(10_500, order), requests(3, order), "{order:?}");
    }
}

// case A9; broken by: no redirect is followed
pub fn a_renamed_repository_is_released() {
    let project = Project::new();
    project.release(&project.merge("one")).finish().ended("released");
    project.github.rename("renamed");
    let commit = project.merge("two");
    let run = project.release(&commit).finish().ended("released");
    assert_eq!((run.output("version"), run.output("release-url").contains("/org/renamed/")), ("0.0.2", true));
    project.github.set_ref("refs/tags/v1.0.0", &project.merge("three"));
    let last = project.github.read_ref("refs/tags/v1.0.0").expect("the tag");
    let run = project.release(&last).with("release-draft", "true").finish().ended("released");
    assert_eq!(run.output("version"), "1.0.0");
    project.release(&last).finish().ended("resumed");
    assert_eq!(project.github.releases().len(), 3, "the draft is found again");
}
