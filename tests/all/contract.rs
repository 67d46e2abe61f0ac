//! One contract for the world in memory and for the real adapters: what the simulation takes for true, GitHub's
//! double over HTTP, a real registry and Docker do.
//!
//! The server in memory needs none: its admission and its rollout are the receiver's own code, which
//! `server::deployments` holds to Docker and sshd.

use std::cell::RefCell;
use std::path::Path;
use std::rc::Rc;

use autotag_base::{CallErrorKind, CallResult, Effect};
use autotag_deploy::adapters::github::{GitHub, GithubAccess};
use autotag_deploy::adapters::registry::OciRegistry;
use autotag_deploy::adapters::retry::RetryPolicy;
use autotag_deploy::ports::{
    Ancestry, BuildRequest, Builder, DeploymentState, DeploymentStatus, Forge, Manifest, ManifestName,
    NewDeployment, NewRelease, RefUpdate, RefsAnswer, Registry, ReleaseEdit, TagListing,
};
use autotag_model::git::{ObjectId, RefName};
use autotag_model::labels;
use autotag_model::reference::{Digest, ImageName, ImageTag};
use autotag_model::secret::{Credentials, Secret};

use crate::action::docker_build;
use crate::action::release::Project;
use testkit::github::Double;
use testkit::images::tiny_image::TinyImage;
use testkit::network::faults::Fault;
use testkit::network::pager::{Links, Pager};
use testkit::simulation::Outside;
use testkit::simulation::registry::Absent;
use testkit::simulation::simulated_ports::SimulatedPorts;

/// A repository of three commits: one, its child, and a branch that has neither.
struct Commits {
    old: ObjectId,
    new: ObjectId,
    apart: ObjectId,
}

fn name(text: &str) -> RefName {
    text.parse().expect("a ref's name")
}

fn update(reference: &str, before: Option<&ObjectId>, after: &ObjectId) -> RefUpdate {
    let before = before.cloned().unwrap_or_else(ObjectId::zero);
    RefUpdate { name: name(reference), before, after: after.clone() }
}

async fn target(forge: &impl Forge, reference: &str) -> Option<ObjectId> {
    forge.read_ref(&name(reference)).await.expect("an answer").map(|found| found.target)
}

fn refused(answer: CallResult<RefsAnswer>) -> bool {
    answer.is_ok_and(|answer| matches!(answer, RefsAnswer::Refused(_)))
}

#[track_caller]
fn fails<T: std::fmt::Debug>(as_kind: CallErrorKind, answer: CallResult<T>) {
    match answer {
        Ok(answer) => panic!("it did not fail: {answer:?}"),
        Err(error) => assert_eq!((error.kind, error.effect), (as_kind, Effect::None), "{error}"),
    }
}

const HEAD: &str = "refs/autotag/v/head";

async fn claims(forge: &impl Forge, commits: &Commits) {
    assert_eq!(forge.may_write("v1.0.0", &commits.old).await, Ok(()));
    assert_eq!(target(forge, HEAD).await, None);
    assert_eq!(forge.list_tags("v").await, Ok(Vec::new()));
    let first = forge.create_tag_object("v1.0.0", "first", &commits.old).await.expect("an object");
    assert_eq!(forge.list_tags("v").await, Ok(Vec::new()), "an object alone is no tag");
    let object = forge.tag_object(&first).await.expect("an answer").expect("the object");
    assert_eq!((object.tag.as_str(), object.message.trim_end()), ("v1.0.0", "first"));
    assert!(object.targets_commit && object.target == commits.old);
    assert_eq!(forge.tag_object(&commits.old).await, Ok(None), "a commit is no tag object");

    let both = [update(HEAD, None, &first), update("refs/tags/v1.0.0", None, &first)];
    assert_eq!(forge.update_refs(&both).await, Ok(RefsAnswer::Applied));
    assert!(refused(forge.update_refs(&both).await), "what is there is not made again");
    let second = forge.create_tag_object("v1.0.1", "second", &commits.new).await.expect("an object");
    // Each half alone would be right.
    for half in [
        [update(HEAD, None, &second), update("refs/tags/v1.0.1", None, &second)],
        [update(HEAD, Some(&first), &second), update("refs/tags/v1.0.0", None, &second)],
    ] {
        assert!(refused(forge.update_refs(&half).await), "{half:?}");
        assert_eq!(target(forge, HEAD).await, Some(first.clone()), "none moved");
        assert_eq!(target(forge, "refs/tags/v1.0.1").await, None, "none moved");
    }
    let nowhere: ObjectId = "d".repeat(40).parse().expect("an object's name");
    assert!(refused(forge.update_refs(&[update("refs/tags/v9.0.0", None, &nowhere)]).await));
    let next = [update(HEAD, Some(&first), &second), update("refs/tags/v1.0.1", None, &second)];
    assert_eq!(forge.update_refs(&next).await, Ok(RefsAnswer::Applied));
    assert_eq!(target(forge, HEAD).await, Some(second));

    let mut listed = forge.list_tags("v").await.expect("a list");
    listed.sort_by(|a, b| a.name.cmp(&b.name));
    let names: Vec<(&str, bool)> = listed.iter().map(|tag| (tag.name.as_str(), tag.annotated)).collect();
    assert_eq!(names, [("refs/tags/v1.0.0", true), ("refs/tags/v1.0.1", true)]);
    assert_eq!(forge.list_tags("api-v").await, Ok(Vec::new()));
}

async fn history(forge: &impl Forge, commits: &Commits) {
    let Commits { old, new, apart } = commits;
    for (base, head, expected) in [
        (old, new, Ancestry::Ahead),
        (new, old, Ancestry::Behind),
        (old, old, Ancestry::Identical),
        (new, apart, Ancestry::Diverged),
        (apart, new, Ancestry::Diverged),
    ] {
        assert_eq!(forge.compare(base, head).await, Ok(expected), "{base}...{head}");
    }
    assert_eq!(forge.messages_between(old, new).await, Ok(vec!["new".to_owned()]));
    assert_eq!(forge.messages_between(new, old).await, Ok(Vec::new()));
    assert_eq!(forge.commit(new).await.expect("a commit").message, "new");
}

/// After [`claims`], whose tags it needs.
async fn releases(forge: &impl Forge) {
    let new = |tag: &str| NewRelease {
        tag: tag.to_owned(),
        name: tag.to_owned(),
        body: "text".to_owned(),
        draft: false,
        make_latest: false,
    };
    assert_eq!(forge.release_of("v1.0.1").await, Ok(None));
    let high = forge.create_release(&new("v1.0.1")).await.expect("a release");
    assert_eq!(forge.shown_as_latest().await, Ok(None), "it was not to be the latest");
    fails(CallErrorKind::Rejected, forge.create_release(&new("v1.0.1")).await);
    let low = forge.create_release(&new("v1.0.0")).await.expect("a release");
    let edit = |body: Option<&str>, make_latest| ReleaseEdit { body: body.map(str::to_owned), make_latest };
    forge.edit_release(high.id, &edit(None, Some(true))).await.expect("an edit");
    assert_eq!(forge.shown_as_latest().await, Ok(Some("v1.0.1".to_owned())));
    forge.edit_release(low.id, &edit(Some("other"), Some(false))).await.expect("an edit");
    assert_eq!(forge.shown_as_latest().await, Ok(Some("v1.0.1".to_owned())));
    assert_eq!(forge.release_of("v1.0.0").await.expect("an answer").expect("a release").body, "other");
    assert_eq!(forge.release_of("v1.0.1").await.expect("an answer").expect("a release").body, "text");
    // Without a word an edit makes a release the latest: so the pipeline always says.
    forge.edit_release(low.id, &edit(Some("again"), None)).await.expect("an edit");
    assert_eq!(forge.shown_as_latest().await, Ok(Some("v1.0.0".to_owned())));
    assert_eq!(forge.draft_of("v1.0.1").await, Ok(None), "what is published is no draft");
    fails(CallErrorKind::Denied, forge.edit_release(99_999, &edit(Some("x"), None)).await);
    assert!(forge.generate_notes("v1.0.1", Some("v1.0.0")).await.expect("notes").contains("v1.0.0"));
    fails(CallErrorKind::Rejected, forge.generate_notes("v1.0.1", Some("v0.9.0")).await);
}

/// After [`releases`]. A draft is found as a draft alone; it has no tag, and is nobody's Latest.
async fn drafts(forge: &impl Forge) {
    let new = NewRelease {
        tag: "v3.0.0".to_owned(),
        name: "v3.0.0".to_owned(),
        body: "text".to_owned(),
        draft: true,
        make_latest: false,
    };
    let shown = forge.shown_as_latest().await.expect("an answer");
    let draft = forge.create_release(&new).await.expect("a draft");
    let edit = ReleaseEdit { body: Some("other".to_owned()), make_latest: Some(false) };
    assert!(draft.draft && forge.edit_release(draft.id, &edit).await.expect("an edit").draft);
    assert_eq!(forge.release_of("v3.0.0").await, Ok(None));
    assert_eq!(target(forge, "refs/tags/v3.0.0").await, None);
    assert_eq!(forge.shown_as_latest().await, Ok(shown));
    // GitHub itself keeps nobody from a second one.
    let second = forge.create_release(&new).await.expect("a draft");
    assert_ne!(second.id, draft.id);
    let found = forge.draft_of("v3.0.0").await.expect("an answer").expect("a draft");
    assert_eq!((found.id, found.body.as_str()), (draft.id, "other"), "the first one");
}

/// `shown`: the last state on a deployment's page.
async fn deployments(forge: &impl Forge, commit: &ObjectId, shown: impl Fn(u64) -> Option<String>) {
    let to = |commit: &ObjectId| NewDeployment {
        commit: commit.clone(),
        environment: "production".to_owned(),
        description: "1.0.0 to server.test".to_owned(),
    };
    let status = |state| DeploymentStatus {
        state,
        description: "in words".to_owned(),
        log_url: None,
        environment_url: None,
    };
    let first = forge.create_deployment(&to(commit)).await.expect("a deployment");
    let second = forge.create_deployment(&to(commit)).await.expect("another of the same");
    assert_ne!(first, second);
    assert_eq!(shown(first), None, "nothing is known of it");
    for (state, word) in [(DeploymentState::InProgress, "in_progress"), (DeploymentState::Failure, "failure")]
    {
        assert_eq!(forge.add_deployment_status(first, &status(state)).await, Ok(()));
        assert_eq!((shown(first), shown(second)), (Some(word.to_owned()), None));
    }
    assert_eq!(forge.add_deployment_status(second, &status(DeploymentState::Success)).await, Ok(()));
    assert_eq!(shown(first).as_deref(), Some("failure"));
    let nowhere: ObjectId = "d".repeat(40).parse().expect("an object's name");
    fails(CallErrorKind::Rejected, forge.create_deployment(&to(&nowhere)).await);
    fails(CallErrorKind::Denied, forge.add_deployment_status(99_999, &status(DeploymentState::Error)).await);
}

fn tagged(tag: &str) -> ManifestName {
    ManifestName::Tag(tag.parse().expect("a tag"))
}

async fn digest(registry: &impl Registry, tag: &str) -> Option<Digest> {
    registry.manifest(&tagged(tag)).await.expect("an answer").map(|manifest| manifest.digest)
}

/// `push` brings an image into the registry, under a tag.
async fn images(registry: &impl Registry, mut push: impl FnMut(&str) -> Digest) {
    assert_eq!(registry.may_push().await, Ok(()));
    assert_eq!(
        registry.list_tags().await,
        Ok(TagListing::NoRepository),
        "the question leaves nothing behind"
    );
    assert_eq!(registry.manifest(&tagged("1.0.0")).await, Ok(None));
    let (one, other) = (push("one"), push("other"));
    let by_digest = async |digest: &Digest| -> Manifest {
        let name = ManifestName::Digest(digest.clone());
        registry.manifest(&name).await.expect("an answer").expect("a manifest")
    };
    let (first, second) = (by_digest(&one).await, by_digest(&other).await);
    assert_eq!((&first.digest, Digest::of(&first.bytes)), (&one, one.clone()));
    let version = "1.0.0".parse().expect("a tag");
    for _ in 0..2 {
        registry.put_manifest(&version, &first).await.expect("a PUT, and the same again");
        assert_eq!(digest(registry, "1.0.0").await, Some(one.clone()));
    }
    registry.put_manifest(&"latest".parse().expect("a tag"), &first).await.expect("a PUT");
    // The registry itself keeps nobody from moving a tag: what must not be overwritten is looked at before.
    registry.put_manifest(&"latest".parse().expect("a tag"), &second).await.expect("a PUT");
    assert_eq!(digest(registry, "latest").await, Some(other));
    assert_eq!(digest(registry, "1.0.0").await, Some(one));
    let TagListing::Tags(mut tags) = registry.list_tags().await.expect("a list") else { panic!("no tags") };
    tags.sort();
    assert_eq!(tags, ["1.0.0", "latest", "one", "other"]);
    let nothing = ManifestName::Digest(Digest::of(b"nobody pushed this"));
    assert_eq!(registry.manifest(&nothing).await, Ok(None));
}

/// A registry that does not tell what is not there from what is not ours.
async fn hidden(registry: &impl Registry, push: impl FnOnce()) {
    let listing = registry.list_tags().await;
    assert!(matches!(listing, Ok(TagListing::Withheld(_))), "{listing:?}");
    push();
    assert_eq!(registry.list_tags().await, Ok(TagListing::Tags(vec!["one".to_owned()])));
}

/// `request` builds from nothing but what it holds itself. Gives what was built.
async fn builds(
    builder: &impl Builder,
    registry: &impl Registry,
    (image, request): (&ImageName, &BuildRequest),
) -> [Digest; 2] {
    let mut log = docker_build::Log::default();
    let request = |version: &str| {
        let mut request = request.clone();
        request.labels.extend([
            (labels::REVISION.to_owned(), "c".repeat(40)),
            (labels::VERSION.to_owned(), version.to_owned()),
        ]);
        request
    };
    let tag = |text: &str| -> ImageTag { text.parse().expect("a tag") };
    let (first, second) = (tag("sha-first"), tag("sha-second"));
    let one = builder.build(&request("1.0.0"), &mut log).await.expect("an image");
    assert_eq!(registry.list_tags().await, Ok(TagListing::NoRepository), "a build alone publishes nothing");
    let pushed = builder.push(&one, image, &first, None, &mut log).await.expect("a digest");
    let manifest = registry.manifest(&ManifestName::Digest(pushed.clone())).await;
    let manifest = manifest.expect("an answer").expect("it is there by the digest that the push gave");
    assert_eq!((&manifest.digest, Digest::of(&manifest.bytes)), (&pushed, pushed.clone()));
    assert_eq!(digest(registry, "sha-first").await, Some(pushed.clone()));
    let labels = registry.labels(&manifest).await.expect("labels");
    assert_eq!(
        labels.get(labels::REVISION),
        Some(&"c".repeat(40)),
        "what it was built from is written on it"
    );
    assert_eq!(builder.push(&one, image, &first, None, &mut log).await, Ok(pushed.clone()), "again the same");

    let other = builder.build(&request("1.0.1"), &mut log).await.expect("an image");
    let replaced = builder.push(&other, image, &second, None, &mut log).await.expect("a digest");
    assert_ne!(replaced, pushed);
    let version = tag("1.0.0");
    registry.put_manifest(&version, &manifest).await.expect("what was pushed can be named");
    assert_eq!(digest(registry, "1.0.0").await, Some(pushed.clone()));
    assert_eq!(digest(registry, "sha-first").await, Some(pushed), "its own tag holds it");
    assert_eq!(digest(registry, "sha-second").await, Some(replaced));
    [one, other]
}

// invariant simulation: The simulation's world does what the real one does; broken by:
//   `testkit/src/simulation/`: a push gives the image's id; a withheld list is an empty one; a draft is found
//   by its tag; a status goes to every deployment
#[tokio::test]
async fn the_simulation_keeps_it() {
    const IMAGE: &str = "registry.test/org/app";
    const HIDDEN: &str = "registry.test/org/hidden";
    let outside = Rc::new(RefCell::new(Outside::new(IMAGE)));
    let commits = {
        let mut outside = outside.borrow_mut();
        let github = Rc::make_mut(&mut outside.github);
        let old = github.merge("old");
        let apart = github.commit_with("apart", &[]);
        Commits { new: github.merge("new"), old, apart }
    };
    let simulated = SimulatedPorts::straight(&outside);
    claims(&simulated, &commits).await;
    history(&simulated, &commits).await;
    releases(&simulated).await;
    drafts(&simulated).await;
    deployments(&simulated, &commits.old, |id| {
        outside.borrow().github.deployment(id).expect("a deployment").state.map(|state| match state {
            DeploymentState::InProgress => "in_progress".to_owned(),
            other => format!("{other:?}").to_lowercase(),
        })
    })
    .await;
    let image: ImageName = IMAGE.parse().expect("an image's name");
    images(&simulated.to(&image), |tag| push(&outside, IMAGE, tag)).await;

    outside.borrow_mut().absent = Absent::Withheld;
    let name: ImageName = HIDDEN.parse().expect("an image's name");
    hidden(&simulated.to(&name), || drop(push(&outside, HIDDEN, "one"))).await;
    outside.borrow_mut().absent = Absent::NotFound;
    let built: ImageName = "registry.test/org/built".parse().expect("an image's name");
    let request = docker_build::request(Path::new("."));
    builds(&simulated, &simulated.to(&built), (&built, &request)).await;
}

fn push(outside: &RefCell<Outside>, image: &str, tag: &str) -> Digest {
    let bytes = tag.as_bytes().to_vec();
    let media_type = "application/vnd.oci.image.manifest.v1+json".to_owned();
    let manifest = Manifest { digest: Digest::of(&bytes), bytes, media_type };
    outside.borrow_mut().repository(image).put_manifest(&tag.parse().expect("a tag"), &manifest);
    manifest.digest
}

#[tokio::test(flavor = "multi_thread")]
async fn github_over_http_and_a_registry_keep_it() {
    let project = Project::new();
    let old = project.merge("old");
    let apart = project.github.commit("apart", &[]);
    let commits = Commits { new: project.merge("new"), old, apart };
    let url = project.github.url();
    let token = autotag_model::secret::Secret::new(Double::TOKEN);
    let access = GithubAccess {
        api_url: &url,
        graphql_url: &format!("{url}/graphql"),
        repository: "org/app",
        token: token.as_ref(),
    };
    let forge = GitHub::connect(access, RetryPolicy::quick()).expect("a client");
    claims(&forge, &commits).await;
    history(&forge, &commits).await;
    releases(&forge).await;
    drafts(&forge).await;
    deployments(&forge, &commits.old, |id| {
        let all = project.github.deployments();
        let deployment = all.iter().find(|deployment| deployment.id == id).expect("a deployment");
        deployment.state().map(str::to_owned)
    })
    .await;
    let registry = OciRegistry::new(project.image(), None, RetryPolicy::quick()).expect("a client");
    images(&registry, |tag| project.registry.put("org/app", tag, &TinyImage::labelled(&[("name", tag)])))
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_registry_that_hides_what_is_not_there_keeps_it() {
    let project = Project::new();
    let front = Pager::before(project.registry.host(), 100, Links::Relative);
    let refusal = serde_json::json!({ "errors": [{ "code": "DENIED", "message": "no" }] });
    front.inject(Fault::on("GET */tags/list").answer(403, refusal).times(1));
    let image: ImageName = format!("{}/org/app", front.host()).parse().expect("an image's name");
    let login = Credentials { username: "me".to_owned(), password: Secret::verbatim("pa55word".to_owned()) };
    let registry = OciRegistry::new(image, Some(&login), RetryPolicy::quick()).expect("a client");
    hidden(&registry, || drop(project.registry.put("org/app", "one", &TinyImage::labelled(&[])))).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn docker_keeps_it() {
    let project = Project::new();
    let context = crate::action::context::directory(&[("Dockerfile", "FROM scratch\nCOPY Dockerfile /\n")]);
    let registry = OciRegistry::new(project.image(), None, RetryPolicy::quick()).expect("a client");
    let engine = docker_build::engine().await;
    let request = docker_build::request(context.path());
    let built = builds(&engine, &registry, (&project.image(), &request)).await;
    drop(docker_build::Images(built.to_vec()));
}
