//! What GitHub refuses, and what a run finds there.

use std::io::{BufRead as _, BufReader};
use std::process::{Child, Command, Stdio};

use autotag_model::help::Topic;
use serde_json::json;

use super::annotated;
use crate::action::release::Project;
use testkit::github::{Access, Double, Permissions};
use testkit::images::tiny_image::TinyImage;
use testkit::network::faults::Fault;

fn read_only(project: &Project) {
    project.github.allow(Double::TOKEN, Permissions { contents: Access::Read, deployments: Access::None });
}

fn refused(project: &Project, words: &str) {
    let refusal = json!({ "data": { "updateRefs": null }, "errors": [{ "message": words }] });
    project.github.inject(Fault::on("POST /graphql").answer(200, refusal).always());
}

// invariant failures-are-explained: A missing permission is reported before the build; broken by:
//   `src/pipeline/building.rs`: it is not asked for
/// Without Docker a build would fail otherwise: that it does not come so far is the point.
#[test]
fn a_missing_write_permission_is_reported_before_the_build() {
    let project = Project::new();
    let commit = project.merge("one");
    read_only(&project);
    let run = project.workflow.push(&commit).without_docker().finish();
    annotated(&run, 3, Topic::MayNotWrite, "may_not_write_before_the_build", &[]);
    assert_eq!(project.github.tag_objects(), 0);
    assert_eq!(project.registry.tags("org/app"), [""; 0]);
}

// invariant others-answers: A check of permissions is no guess; broken by: `src/adapters/github/client.rs`: any
//   answer but success is a refusal
/// An outage of that one question is not waited for, and says nothing.
#[test]
fn a_check_of_permissions_that_is_not_answered_stops_nothing() {
    let project = Project::new();
    let commit = project.merge("one");
    for fault in [
        Fault::on("POST */generate-notes").answer(502, json!("bad gateway")),
        Fault::on("POST */generate-notes").hang_up(),
        Fault::secondary_limit("POST */generate-notes", 403, 60),
        Fault::on("POST */generate-notes").answer(422, json!({ "message": "Validation Failed" })),
    ] {
        project.github.inject(fault);
        let run = project.workflow.push(&commit).without_docker().finish();
        assert_eq!(run.code, Some(4), "it comes to Docker, which is not there: {run}");
        assert_eq!(run.annotations("error").len(), 1, "{run}");
    }
}

#[test]
fn versions_of_another_form() {
    let project = Project::new();
    let commit = project.merge("one");
    project.github.seed_tags(["v0.12".to_owned(), "v0.13".to_owned()], &commit);
    let run = project.workflow.push(&commit).without_docker().finish();
    annotated(&run, 6, Topic::OtherForm, "other_form", &[]);
}

#[test]
fn a_missing_write_permission_is_reported_at_the_claim() {
    let project = Project::new();
    let commit = project.merge("one");
    read_only(&project);
    let run = project.release(&commit).finish();
    annotated(&run, 3, Topic::MayNotWrite, "may_not_write", &[]);
    let project = Project::new();
    let commit = project.merge("one");
    refused(&project, "Resource not accessible by integration");
    let run = project.release(&commit).finish();
    annotated(&run, 3, Topic::MayNotWrite, "may_not_write_at_the_claim", &[]);
}

#[test]
fn a_token_that_github_does_not_know() {
    let project = Project::new();
    let commit = project.merge("one");
    let run = project.release(&commit).with("github-token", "expired-long-ago").finish();
    annotated(&run, 3, Topic::TokenRefused, "token_refused", &[]);
    let run = project.release(&commit).with("github-token", "").finish();
    annotated(&run, 3, Topic::TokenRefused, "token_missing", &[]);
    let run = project.release(&commit).env("GITHUB_REPOSITORY", "org/renamed").finish();
    annotated(&run, 3, Topic::TokenRefused, "repository_not_found", &[]);
}

#[test]
fn a_ruleset_that_forbids_the_tag() {
    let project = Project::new();
    let commit = project.merge("one");
    refused(
        &project,
        "Repository rule violations found: Cannot create ref due to creations being restricted.",
    );
    let run = project.release(&commit).finish();
    annotated(&run, 3, Topic::Ruleset, "ruleset", &[]);
}

#[test]
fn a_server_without_atomic_updates() {
    let project = Project::new();
    let commit = project.merge("one");
    refused(&project, "Field 'updateRefs' doesn't exist on type 'Mutation'");
    let run = project.release(&commit).finish();
    annotated(&run, 3, Topic::GitHubTooOld, "github_too_old", &[]);
}

#[test]
fn a_rate_limit_that_is_used_up() {
    let project = Project::new();
    let commit = project.merge("one");
    project.github.limit(0, 3000);
    let run = project.release(&commit).finish();
    let waits: Vec<String> = (2990..=3000).map(|seconds| format!("{seconds} s")).collect();
    let waits: Vec<(&str, &str)> = waits.iter().map(|wait| (wait.as_str(), "SECONDS s")).collect();
    annotated(&run, 4, Topic::GitHubLimit, "github_limit", &waits);
}

#[test]
fn versions_that_cannot_be_taken() {
    let project = Project::new();
    let first = project.merge("one");
    project.github.set_ref("refs/tags/v1.0.0", &first);
    let commit = project.merge("two");
    let run = project.release(&commit).with("version", "1.0.0").finish();
    annotated(&run, 6, Topic::TagTaken, "tag_taken", &[]);
    let run = project.release(&commit).with("version", "0.9.0").finish();
    annotated(&run, 6, Topic::VersionTooLow, "version_too_low", &[]);
    let host = [(project.registry.host(), "REGISTRY")];
    project.registry.put("org/app", "2.0.0", &TinyImage::labelled(&[("by", "hand")]));
    let run = project.workflow.push(&commit).without_docker().with("version", "2.0.0").finish();
    annotated(&run, 6, Topic::ImageTagTaken, "image_tag_taken", &host);
    // The same with an image of one's own, whose tag is only seen to be another's at the claim.
    let run = project.release(&commit).with("version", "2.0.0").finish();
    annotated(&run, 6, Topic::ImageTagTaken, "image_tag_taken_by_another", &host);
}

#[test]
fn a_tag_that_somebody_moved() {
    let project = Project::new();
    let first = project.merge("one");
    project.release(&first).finish().ended("released");
    let second = project.merge("two");
    project.github.set_ref("refs/tags/v0.0.1", &second);
    let run = project.release(&first).finish();
    annotated(&run, 6, Topic::TagTaken, "tag_moved", &[]);
}

#[test]
fn a_workspace_of_another_commit() {
    let project = Project::new();
    let (commit, other) = (project.merge("one"), project.merge("two"));
    let git = project.workflow.workspace().join(".git");
    std::fs::create_dir(&git).expect(".git");
    std::fs::write(git.join("HEAD"), format!("{other}\n")).expect("HEAD");
    let run = project.workflow.push(&commit).without_docker().finish();
    annotated(&run, 2, Topic::OtherCommit, "other_commit", &[]);
}

#[test]
fn inputs_that_make_no_sense() {
    let project = Project::new();
    let commit = project.merge("one");
    let run = project.release(&commit).with("bump", "sideways").with("latest", "perhaps").finish();
    annotated(&run, 2, Topic::Inputs, "inputs", &[]);
}

/// openssl's test server, with a certificate that nobody has signed.
struct Untrusted {
    server: Child,
    port: String,
    _directory: tempfile::TempDir,
}

impl Untrusted {
    fn start() -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        let made = Command::new("openssl")
            .args(["req", "-x509", "-newkey", "rsa:2048", "-nodes"])
            .args([
                "-subj",
                "/CN=signed by nobody",
                "-addext",
                "subjectAltName=IP:127.0.0.1",
                "-addext",
                "basicConstraints=critical,CA:FALSE",
                "-days",
                "2",
            ])
            .args(["-keyout", "key.pem", "-out", "cert.pem"])
            .current_dir(directory.path())
            .output()
            .expect("openssl");
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        let mut server = Command::new("openssl")
            .args(["s_server", "-accept", "127.0.0.1:0", "-key", "key.pem", "-cert", "cert.pem", "-www"])
            .current_dir(directory.path())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .expect("openssl");
        let output = BufReader::new(server.stdout.take().expect("its output"));
        let mut lines = output.lines().map_while(Result::ok);
        let port = lines.find_map(|line| Some(line.strip_prefix("ACCEPT ")?.rsplit_once(':')?.1.to_owned()));
        Self { server, port: port.expect("it says where it listens"), _directory: directory }
    }
}

impl Drop for Untrusted {
    fn drop(&mut self) {
        let _ = self.server.kill();
        let _ = self.server.wait();
    }
}

#[test]
fn a_certificate_that_nobody_has_signed() {
    let project = Project::new();
    let commit = project.merge("one");
    let untrusted = Untrusted::start();
    let url = format!("https://127.0.0.1:{}/api/v3", untrusted.port);
    let run = project.release(&commit).env("GITHUB_API_URL", &url).finish();
    annotated(&run, 4, Topic::Certificate, "certificate", &[]);
}
