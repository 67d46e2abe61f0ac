//! Which version a run takes, from tags and commits that others made.

use autotag_model::git::ObjectId;
use autotag_model::reference::Digest;

use crate::action::release::Project;
use crate::action::workflow::Run;
use testkit::images::tiny_image::TinyImage;
use testkit::network::faults::Fault;
use testkit::network::pager::{Links, Pager};

// case A3; broken by: `none_is_passed_over` looks at nothing
pub fn versions_of_another_form_are_refused_before_the_build() {
    for (git, registry, words) in [
        (&["v0.12", "v0.13"][..], &[][..], &["v0.12", "v0.13", "initial-version: 0.14.0", "`version`"][..]),
        (&["1.2.3"], &[], &["1.2.3", "tag-prefix: none"]),
        (&["release-1.2.3"], &[], &["release-1.2.3", "tag-prefix: release-"]),
        (&["2024-05-01"], &[], &["2024-05-01"]),
        (&["v1.0.0-rc.1"], &[], &["v1.0.0-rc.1"]),
        (&[], &["v1.4.0", "latest"], &["v1.4.0", "initial-version: 1.4.1"]),
    ] {
        let project = Project::new();
        let commit = project.merge("one");
        project.github.seed_tags(git.iter().map(|name| (*name).to_owned()), &commit);
        for tag in registry {
            project.registry.put("org/app", tag, &TinyImage::labelled(&[("of", tag)]));
        }
        let latest = project.registry.digest("org/app", "latest");
        let head = project.merge("two");
        // A build would fail for want of a Docker: it is refused before.
        let run = project.workflow.push(&head).without_docker();
        for run in [run, project.workflow.push(&head).with("command", "plan")] {
            let run = run.finish().failed(6);
            let annotation = run.annotations("error")[0];
            for word in words {
                assert!(annotation.contains(word), "{word} is missing: {run}");
            }
        }
        assert_eq!(project.registry.digest("org/app", "latest"), latest);
        assert_eq!((project.github.tag_objects(), project.github.releases().len()), (0, 0));

        let run = project.release(&head).with("initial-version", "3000.0.0").finish().ended("released");
        assert_eq!(run.output("version"), "3000.0.0", "who says the version has looked");
        // From then on the claims count, and nothing has to be said.
        let run = project.release(&project.merge("three")).finish().ended("released");
        assert_eq!(run.output("version"), "3000.0.1");
        project.assert_consistent();
    }
}

// case A3; broken by: floating tags count as they read (`covers` is never true); `is_of_project` is always true
pub fn tags_that_stand_for_no_version_are_harmless() {
    let project = Project::new();
    let commit = project.merge("one");
    let git = ["nightly", "latest", "v-next", "api-v1.2.3", "web/4.0", "v0", "v1", "v1.2", "v1.2.3"];
    // Above what counts, and floating beside a prerelease.
    let early = ["v1.3", "v1.3.0-rc.1"];
    project.github.seed_tags(git.into_iter().chain(early).map(str::to_owned), &commit);
    for tag in ["main", "1", "1.2", "1.2.3", "pr-7", "ci-1.9", "nightly"] {
        project.registry.put("org/app", tag, &TinyImage::labelled(&[]));
    }
    let run = project.release(&project.merge("two")).finish().ended("released");
    assert_eq!(run.output("version"), "1.2.4");

    // A new part of a monorepo begins anew, whatever the others have.
    let project = Project::new();
    let commit = project.merge("one");
    project.github.seed_tags(["v7.0.0", "api-v1.2", "api-v2.0.0", "nightly"].map(str::to_owned), &commit);
    let run = project.release(&project.merge("two")).with("tag-prefix", "web-v").finish().ended("released");
    assert_eq!(run.output("tag"), "web-v0.0.1");
}

/// A run that a release event started.
fn release_event(
    project: &Project,
    commit: &ObjectId,
    tag: &str,
    action: &str,
    prerelease: bool,
) -> (Digest, Run) {
    let event = serde_json::json!({
        "action": action,
        "release": { "tag_name": tag, "prerelease": prerelease, "draft": false },
        "repository": { "default_branch": "main" },
    });
    let file = project.workflow.workspace().with_extension(format!("{action}-{prerelease}.json"));
    std::fs::write(&file, event.to_string()).expect("the event");
    let digest = project.pushed("org/app", commit);
    let run = project.workflow.run(commit, "release", &format!("refs/tags/{tag}"));
    let run = run.env("GITHUB_EVENT_PATH", &file.to_string_lossy()).with("image-digest", digest.as_str());
    (digest, run)
}

// case A4; broken by: `no_release_of` does not look at the mark; `is_prerelease` does not ask GitHub for it
pub fn a_prerelease_is_not_for_everybody() {
    let project = Project::new();
    project.release(&project.merge("one")).finish().ended("released");
    let before = project.registry.digest("org/app", "latest");
    let commit = project.merge("two");
    project.github.set_ref("refs/tags/v1.3.0", &commit);
    project.github.published_release("v1.3.0", true);
    let nothing_moved = |run: crate::action::workflow::Finished| {
        let run = run.ended("planned");
        assert!(run.log.contains("prerelease"), "{run}");
        assert_eq!(project.registry.digest("org/app", "latest"), before);
        assert_eq!(project.registry.digest("org/app", "1.3.0"), None);
        assert_eq!(project.github.latest_release().as_deref(), Some("v0.0.1"));
        assert_eq!(project.claims().len(), 1);
    };
    nothing_moved(release_event(&project, &commit, "v1.3.0", "published", true).1.finish());
    // The push of the same tag says nothing of the release, which GitHub does.
    let digest = project.pushed("org/app", &commit);
    let run = project.workflow.run(&commit, "push", "refs/tags/v1.3.0").with("image-digest", digest.as_str());
    nothing_moved(run.finish());
    // A version that is a prerelease by its number.
    project.github.set_ref("refs/tags/v1.4.0-rc.1", &commit);
    let run = project.workflow.run(&commit, "push", "refs/tags/v1.4.0-rc.1");
    nothing_moved(run.with("image-digest", digest.as_str()).finish());
    nothing_moved(release_event(&project, &commit, "v1.4.0-rc.1", "released", false).1.finish());
    project.release(&commit).with("version", "1.4.0-rc.1").finish().failed(2);

    // Once the mark is taken away GitHub says so, and it is released.
    project.github.mark_prerelease("v1.3.0", false);
    // The event of then is still none to release by: the one that says so is another.
    nothing_moved(release_event(&project, &commit, "v1.3.0", "published", true).1.finish());
    let (digest, run) = release_event(&project, &commit, "v1.3.0", "released", false);
    let run = run.finish().ended("released");
    assert_eq!(run.output("version"), "1.3.0");
    assert_eq!(project.registry.digest("org/app", "latest"), Some(digest));
    assert_eq!(project.github.latest_release().as_deref(), Some("v1.3.0"));
}

// case A7; broken by: `api/` has the ref of `api`; the tag `api` is not looked for
pub fn a_prefix_may_end_in_a_slash() {
    let project = Project::new();
    let first = project.merge("one");
    project
        .github
        .seed_tags(["dockerfile/1.4.0", "v0.9.0", "dockerfile/1.4.0-labs"].map(str::to_owned), &first);
    let run = |commit: &ObjectId, prefix: &str| {
        let repository = format!("org/{}x", prefix.replace('/', "-"));
        let image = project.registry.image(&repository).to_string();
        let digest = project.pushed(&repository, commit);
        let run = project.workflow.push(commit).with("image", &image).with("image-digest", digest.as_str());
        run.without_docker().with("tag-prefix", prefix).finish()
    };
    let commit = project.merge("two");
    // Each has an order of its own, whatever the others are called.
    for (prefix, tag) in [
        ("dockerfile/", "dockerfile/1.4.1"),
        ("docs/", "docs/0.0.1"),
        ("a/b/", "a/b/0.0.1"),
        ("a/", "a/0.0.1"),
        ("a/head/", "a/head/0.0.1"),
        ("a/head", "a/head0.0.1"),
    ] {
        assert_eq!(run(&commit, prefix).ended("released").output("tag"), tag);
        assert_eq!(run(&commit, prefix).ended("resumed").output("tag"), tag);
    }
    assert!(project.github.read_ref("refs/autotag/dockerfile=2F/head").is_some());
    assert_eq!(run(&project.merge("three"), "a/").ended("released").output("tag"), "a/0.0.2");
    // Beside a tag `api` Git can hold no `api/1.2.3`: said before the build.
    project.github.set_ref("refs/tags/api", &commit);
    let refused = run(&project.merge("four"), "api/").failed(6);
    assert!(refused.annotations("error")[0].contains("the Git tag api exists"), "{refused}");
}

// case small; broken by: a pattern's `?` is not refused; `with_whole_characters` is not called; no colon is looked for
pub fn inputs_and_events_are_read_as_documented() {
    let project = Project::new();
    let commit = project.merge("one");
    let run = project.release(&commit).with("release-branches", "mai?").finish().failed(2);
    assert!(run.annotations("error")[0].contains("`release-branches`"), "{run}");
    for name in ["registry-username", "deploy-registry-username"] {
        let password = name.replace("username", "password");
        let run = project.release(&commit).with(name, "me:pa55word").with(&password, "pa55word-of-mine");
        let run = run.with("deploy-host", "web1").finish().failed(2);
        let annotation = run.annotations("error")[0];
        assert!(annotation.contains(&format!("`{name}`")) && !annotation.contains("pa55word"), "{run}");
    }
    let event = project.workflow.workspace().with_extension("surrogate.json");
    // In a part that nobody reads, and beside what is read.
    let half = r#""half \ud83d of a pair""#;
    let text = format!(
        r#"{{"head_commit": {{"message": {half}}}, "repository": {{"description": {half}, "default_branch": "main"}}}}"#
    );
    std::fs::write(&event, text).expect("the event");
    let run = project.release(&commit).env("GITHUB_EVENT_PATH", &event.to_string_lossy());
    run.finish().ended("released");
    let next = project.merge("two");
    let run = project.release(&next).with("release-branches", "m*n, release/*").finish().ended("released");
    assert_eq!(run.output("version"), "0.0.2");
}

// case small; broken by: 201 and 202 alone count
pub fn a_manifest_that_is_put_with_200_is_put() {
    let project = Project::new();
    let commit = project.merge("one");
    let pager = Pager::before(project.registry.host(), 100, Links::Relative);
    // The fault answers in the registry's place, after it has done what was asked.
    let done = Fault::on("PUT */manifests/*").after_effect().answer(200, serde_json::json!({})).always();
    pager.inject(done);
    let digest = project.pushed("org/app", &commit);
    let run = project.workflow.push(&commit).with("image", &format!("{}/org/app", pager.host()));
    run.with("image-digest", digest.as_str()).finish().ended("released");
    assert_eq!(project.registry.digest("org/app", "0.0.1"), Some(digest));
}

// case A1; broken by: messages that do not parse as a whole are skipped
pub fn a_title_counts_whatever_follows_it() {
    for (before, message, after) in [
        ("1.2.3", "feat!: drop the old API (#12)\n\nIt was old.\n\nFixes #", "2.0.0"),
        ("1.2.3", "feat!: drop the old API\r\nright below\r\n", "2.0.0"),
        ("0.0.2", "feat: find things\nright below the title", "0.1.0"),
    ] {
        let project = Project::new();
        project.release(&project.merge("one")).with("version", before).finish().ended("released");
        project.merge(message);
        let run =
            project.release(&project.merge("fix: typo")).with("bump", "auto").finish().ended("released");
        assert_eq!(run.output("version"), after, "{message:?}");
        let notices = run.annotations("notice");
        assert_eq!(notices.len(), 1, "said once: {run}");
        assert!(notices[0].contains(message.lines().next().expect("a title")), "{run}");
    }
}
