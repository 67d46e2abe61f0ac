//! What a registry refuses.

use autotag_model::help::Topic;
use autotag_model::reference::Digest;
use serde_json::{Value, json};

use super::annotated;
use crate::action::release::Project;
use crate::action::workflow::{Finished, Workflow};
use testkit::github::Double;
use testkit::network::faults::Fault;
use testkit::network::pager::{Links, Pager};
use testkit::processes::sshd::ClientKey;
use testkit::registry::{Auth, Registry};

fn error(code: &str, message: &str) -> Value {
    json!({ "errors": [{ "code": code, "message": message }] })
}

fn with(auth: &Auth) -> Project {
    let (github, registry) = (Double::start(), Registry::start(auth));
    let workflow = Workflow::new(&github.url()).with("image", &registry.image("org/app").to_string());
    Project { github, registry, workflow }
}

/// A project, and something before its registry.
fn behind() -> (Project, Pager) {
    let mut project = Project::new();
    let pager = Pager::before(project.registry.host(), 100, Links::Relative);
    project.workflow = project.workflow.with("image", &format!("{}/org/app", pager.host()));
    (project, pager)
}

/// A run that would build, where Docker is missing: whatever is told is told before the build.
fn before_the_build(project: &Project) -> Finished {
    let run = project.workflow.push(&project.merge("one")).without_docker().finish();
    assert!(project.claims().is_empty(), "{run}");
    run
}

// invariant failures-are-explained: A missing permission is reported before the build
#[test]
fn a_wrong_password_is_reported_before_the_build() {
    for auth in [Auth::basic("bot", "right-password"), Auth::token("bot", "right-password")] {
        let mut project = with(&auth);
        let host = project.registry.host().to_owned();
        let kind = if matches!(auth, Auth::Basic { .. }) { "basic" } else { "token" };
        let run = before_the_build(&project);
        annotated(&run, 3, Topic::RegistryLogin, &format!("login_missing_{kind}"), &[(&host, "REGISTRY")]);
        project.workflow =
            project.workflow.with("registry-username", "bot").with("registry-password", "wr0ng-password");
        let run = before_the_build(&project);
        annotated(&run, 3, Topic::RegistryLogin, &format!("login_wrong_{kind}"), &[(&host, "REGISTRY")]);
    }
}

// invariant others-answers: A check of permissions leaves nothing behind; broken by:
//   `src/adapters/registry/upload.rs`: the upload is not canceled
/// Nothing is left of the question, and who may push is not kept from it.
#[test]
fn a_login_that_may_push_comes_to_the_build() {
    let (project, pager) = behind();
    let run = before_the_build(&project);
    assert_eq!(run.code, Some(4), "it comes to Docker, which is not there: {run}");
    let uploads: Vec<String> = pager
        .seen()
        .iter()
        .filter(|seen| seen.target.contains("/blobs/uploads/"))
        .map(|seen| seen.method.clone())
        .collect();
    assert_eq!(uploads, ["POST", "DELETE"]);
    assert_eq!(project.registry.open_uploads("org/app"), 0);
    // GitHub's own registry does not know the second one, and no answer is no refusal.
    pager.inject(Fault::on("DELETE */blobs/uploads/*").answer(405, error("UNSUPPORTED", "no")));
    assert_eq!(before_the_build(&project).code, Some(4));
    for fault in [
        Fault::on("POST */blobs/uploads/").answer(503, json!("busy")),
        Fault::on("POST */blobs/uploads/").hang_up(),
        Fault::on("POST */blobs/uploads/").answer(404, json!("not found")),
    ] {
        pager.inject(fault);
        assert_eq!(before_the_build(&project).code, Some(4));
    }
}

#[test]
fn what_githubs_registry_says_to_a_push_without_permission() {
    let (project, pager) = behind();
    let host = pager.host();
    for (name, topic, words) in [
        ("may_not_push", Topic::MayNotPush, "installation not allowed to Create organization package"),
        ("not_linked", Topic::NotLinked, "permission_denied: write_package"),
    ] {
        pager.inject(Fault::on("POST */blobs/uploads/").answer(403, error("DENIED", words)));
        let run = before_the_build(&project);
        annotated(&run, 3, topic, name, &[(&host, "REGISTRY")]);
    }
}

#[test]
fn a_registry_without_room() {
    let (project, pager) = behind();
    let host = pager.host();
    pager.inject(Fault::on("POST */blobs/uploads/").answer(507, json!("")));
    let run = before_the_build(&project);
    annotated(&run, 3, Topic::RegistryFull, "registry_full", &[(&host, "REGISTRY")]);
    let words = "adding 1.1 MiB of storage resource, which when updated to current usage of 9.9 GiB will exceed the \
                 configured upper limit of 10.0 GiB.";
    pager.inject(Fault::on("POST */blobs/uploads/").answer(403, error("DENIED", words)));
    let run = before_the_build(&project);
    annotated(&run, 3, Topic::RegistryFull, "registry_quota", &[(&host, "REGISTRY")]);
}

// invariant others-answers: A registry without room has not answered; broken by:
//   `src/adapters/registry/refusal.rs`: a read that fails for want of room is a refusal;
//   `src/release/latest.rs`: `latest` may stay where it is then
/// A list that is not given is no empty one, and `latest` that could not be moved is not left where it is.
#[test]
fn a_full_registry_is_no_refusal() {
    let (project, pager) = behind();
    pager.inject(Fault::on("GET */tags/list").answer(507, json!("")).always());
    let run = before_the_build(&project);
    assert_eq!((run.code, run.output("outcome")), (Some(4), "failed"), "{run}");
    // Docker is missing as well: that the run ended here, and did not go on without the list, only the words tell.
    assert!(
        run.annotations("error").iter().all(|text| text.contains("listing the tags") && text.contains("507")),
        "{run}"
    );
    let (project, pager) = behind();
    let commit = project.merge("one");
    pager.inject(Fault::on("PUT */manifests/latest").answer(507, json!("")));
    let run = project.release(&commit).with("image", &format!("{}/org/app", pager.host())).finish();
    assert_eq!(run.output("outcome"), "failed", "{run}");
    let again = project.release(&commit).finish();
    assert_eq!((again.code, again.output("outcome")), (Some(0), "resumed"), "{again}");
}

#[test]
fn a_registry_that_is_asked_too_often() {
    let (project, pager) = behind();
    let host = pager.host();
    let limit = error("TOOMANYREQUESTS", "You have reached your pull rate limit.");
    let limit = Fault::on("GET */tags/list").answer(429, limit).header("retry-after", "3600").always();
    pager.inject(limit);
    let run = before_the_build(&project);
    annotated(&run, 4, Topic::RegistryLimit, "registry_limit", &[(&host, "REGISTRY")]);
}

#[test]
fn a_latest_that_the_registry_does_not_let_move() {
    let (project, pager) = behind();
    let host = pager.host();
    let commit = project.merge("one");
    let words = "The image tag 'latest' already exists in the 'org/app' repository and cannot be overwritten \
                 because the repository is immutable.";
    pager.inject(Fault::on("PUT */manifests/latest").answer(400, error("TAG_INVALID", words)).always());
    let run =
        project.release(&commit).with("image", &format!("{host}/org/app")).with("latest", "true").finish();
    annotated(&run, 6, Topic::ImmutableTags, "immutable_tags", &[(&host, "REGISTRY")]);
}

#[test]
fn images_that_are_not_there() {
    let project = Project::new();
    let host = project.registry.host();
    let commit = project.merge("one");
    let digest = Digest::of(b"nobody pushed this");
    let run = project.workflow.push(&commit).with("image-digest", digest.as_str()).without_docker().finish();
    annotated(&run, 6, Topic::NoImage, "no_image_of_the_digest", &[(host, "REGISTRY")]);
    let key = ClientKey::ed25519().private;
    let deploy = project.workflow.push(&commit).without_docker().with("command", "deploy");
    let deploy = deploy.with("version", "7.0.0").with("deploy-host", "127.0.0.1").with("deploy-key", &key);
    let run =
        deploy.with("deploy-known-hosts", "SHA256:uNiVztksCsDhcc0u9e8BrrUcLB3N6FWBEm9vyjNOgIs").finish();
    annotated(&run, 6, Topic::NoImage, "no_image_of_the_version", &[(host, "REGISTRY")]);
}
