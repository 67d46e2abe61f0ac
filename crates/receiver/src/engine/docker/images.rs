//! Images on the server: fetched, looked at, removed.

use std::pin::pin;

use bollard::errors::Error;
use bollard::query_parameters::CreateImageOptionsBuilder;
use futures_util::StreamExt as _;
use serde_json::json;

use super::answers::{Image, List, read, texts};
use super::raw::{Call, encoded};
use super::{DockerEngine, ORDINARY, PATIENT, containers, facts, platform};
use crate::engine::LocalImage;
use autotag_base::{CallError, CallErrorKind, CallResult, Cause};
use autotag_docker::daemon;
use autotag_docker::daemon::engine_credentials;
use autotag_model::reference::{Digest, ImageName};
use autotag_model::secret::Credentials;

/// Pulls. Done twice it asks the registry again, and changes nothing.
pub(super) async fn pull(
    engine: &DockerEngine,
    name: &ImageName,
    digest: &Digest,
    credentials: Option<&Credentials>,
) -> CallResult<()> {
    let reference = name.with_digest(digest);
    let doing = format!("pulling {reference}");
    let client = engine.client(&doing, PATIENT)?;
    // With neither tag nor digest the Engine would pull every tag of the repository.
    let options = CreateImageOptionsBuilder::default().from_image(&name.to_string()).tag(digest.as_str());
    let login = credentials.map(|credentials| engine_credentials(credentials, daemon::login_server(name)));
    let mut messages = pin!(client.create_image(Some(options.build()), None, login));
    while let Some(message) = messages.next().await {
        match message {
            Ok(_) => {}
            // Whether all of it came is asked below.
            Err(error) if daemon::is_leftover(&error) => break,
            Err(error) if platform::nothing_for_this_machine(&daemon::chain(&error)) => {
                return Err(platform::refusal(engine, &reference, &doing).await);
            }
            Err(error) => return Err(explain(engine, &error, (name, digest), credentials.is_some())),
        }
    }
    // A stream that breaks off in silence looks like one that is complete.
    match look(engine, &reference, &doing).await? {
        Some(_) => Ok(()),
        None => Err(CallError::new(
            CallErrorKind::InvalidResponse,
            doing,
            "the Engine ended the pull, and the image is not there",
        )),
    }
}

fn explain(
    engine: &DockerEngine,
    error: &Error,
    (name, digest): (&ImageName, &Digest),
    has_credentials: bool,
) -> CallError {
    let doing = format!("pulling {}", name.with_digest(digest));
    if !matches!(error, Error::DockerResponseServerError { .. } | Error::DockerStreamError { .. }) {
        return engine.call_error(error, &doing);
    }
    explain_words(daemon::of_client(error, &doing), name, has_credentials)
}

/// What the registry's words, which the Engine hands on, mean for a pull.
fn explain_words(mut error: CallError, name: &ImageName, has_credentials: bool) -> CallError {
    let words = error.why.to_ascii_lowercase();
    // "not found" comes with a pull of what is denied as well, so it is asked after that.
    if error.cause == Some(Cause::DiskFull) {
        error.kind = CallErrorKind::Rejected;
        return error.with_remedy(
            "Free some of the server's disk: `docker system df` says what takes it, `docker image prune` \
             removes images that nothing uses.",
        );
    }
    if error.kind == CallErrorKind::Denied {
        let registry = name.registry();
        let inputs = "`deploy-registry-username` and `deploy-registry-password`";
        return error.with_remedy(if has_credentials {
            format!(
                "Check the inputs {inputs}: the account must exist at {registry} and may read {}.",
                name.repository()
            )
        } else {
            format!(
                "Set the inputs {inputs} to an account that may read {name}, or log the server in once: \
                 `docker login {registry}`, as root."
            )
        });
    }
    if words.contains("manifest unknown") || words.contains("not found") {
        error.kind = CallErrorKind::Rejected;
        return error.caused_by(Cause::NoImage).with_remedy(format!(
            "The repository {name} has no image of this digest: it was removed, or pushed somewhere else."
        ));
    }
    error
}

/// The image of this reference or id, as far as the Engine describes it.
pub(super) async fn look(
    engine: &DockerEngine,
    reference: &str,
    doing: &str,
) -> CallResult<Option<LocalImage>> {
    Ok(inspect(engine, reference, doing).await?.map(local))
}

async fn inspect(engine: &DockerEngine, reference: &str, doing: &str) -> CallResult<Option<Image>> {
    let answer = engine.look(&format!("/images/{}/json", encoded(reference, b":@/")), doing).await?;
    Ok(answer.map(|answer| read(&answer)))
}

/// The same with all that a deployment judges by, which some Engines have to be asked for in another way.
pub(super) async fn known(
    engine: &DockerEngine,
    name: &ImageName,
    digest: &Digest,
    doing: &str,
) -> CallResult<Option<LocalImage>> {
    let reference = name.with_digest(digest);
    let Some(mut image) = inspect(engine, &reference, doing).await? else { return Ok(None) };
    platform::complete(engine, &mut image, &reference, digest, doing).await?;
    let foreign = platform::foreign(engine, &image, doing).await?;
    Ok(Some(LocalImage { foreign, ..local(image) }))
}

fn local(image: Image) -> LocalImage {
    let config = image.config.unwrap_or_default();
    let digests = image.repo_digests.unwrap_or_default();
    LocalImage {
        id: image.id.unwrap_or_default(),
        has_healthcheck: facts::checks(&config),
        labels: texts(config.labels),
        volumes: config.volumes.unwrap_or_default().into_keys().collect(),
        digests: digests.iter().filter_map(|text| pulled_as(text)).collect(),
        foreign: None,
    }
}

/// `name@digest`, where the Engine leaves Docker Hub's name out; `None` for what was never in a registry.
fn pulled_as(text: &str) -> Option<(ImageName, Digest)> {
    let (name, digest) = text.split_once('@')?;
    Some((name.parse().ok()?, digest.parse().ok()?))
}

/// All that were pulled from a repository.
pub(super) async fn of_repository(engine: &DockerEngine, name: &ImageName) -> CallResult<Vec<LocalImage>> {
    let doing = format!("listing the images of {name}");
    // The Engine's own filter matches names as they are shown, without Docker Hub's.
    let listed = engine.ask(Call::get("/images/json?digests=true"), ORDINARY).await;
    let listed: List<Image> = read(&listed.map_err(|error| engine.call_error(&error, &doing))?);
    let mut images = Vec::new();
    for image in listed.0 {
        let digests = image.repo_digests.unwrap_or_default();
        let mut digests = digests.iter().filter_map(|text| pulled_as(text));
        if let (Some(id), true) = (image.id, digests.any(|(pulled, _)| pulled == *name)) {
            images.extend(look(engine, &id, &doing).await?);
        }
    }
    Ok(images)
}

/// Removes `name@digest`; `false` where it is gone already or a container uses it.
pub(super) async fn remove(engine: &DockerEngine, name: &ImageName, digest: &Digest) -> CallResult<bool> {
    let reference = name.with_digest(digest);
    let doing = format!("removing the image {reference}");
    let Some(image) = look(engine, &reference, &doing).await? else {
        return Ok(false);
    };
    // Where the image has a second name, the Engine would take this one away under a container.
    let users = containers::ids(engine, &json!({ "ancestor": [image.id] }), &doing).await?;
    if !users.is_empty() {
        return Ok(false);
    }
    let path = format!("/images/{}", encoded(&reference, b":@/"));
    match engine.ask(Call::delete(&path), ORDINARY).await {
        Ok(_) => Ok(true),
        Err(Error::DockerResponseServerError { status_code: 404 | 409, .. }) => Ok(false),
        Err(error) => Err(engine.change_failed(&error, &doing)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_words_of_a_failed_pull_say_what_to_do() {
        let name: ImageName = "ghcr.io/org/app".parse().expect("a name");
        let mut remedies = Vec::new();
        for (words, has_credentials, kind) in [
            (
                "pull access denied for x, repository does not exist or may require 'docker login': not found",
                false,
                CallErrorKind::Denied,
            ),
            ("unauthorized: authentication required", true, CallErrorKind::Denied),
            ("manifest for x not found: manifest unknown", false, CallErrorKind::Rejected),
            ("write /var/lib/docker/x: no space left on device", true, CallErrorKind::Rejected),
        ] {
            let error = Error::DockerStreamError { error: words.to_owned() };
            let call_error = explain_words(daemon::of_client(&error, "pulling"), &name, has_credentials);
            assert_eq!(call_error.kind, kind, "{words}");
            remedies.push(call_error.remedy.unwrap_or_default());
        }
        insta::assert_snapshot!(remedies.join("\n"), @r"
        Set the inputs `deploy-registry-username` and `deploy-registry-password` to an account that may read ghcr.io/org/app, or log the server in once: `docker login ghcr.io`, as root.
        Check the inputs `deploy-registry-username` and `deploy-registry-password`: the account must exist at ghcr.io and may read org/app.
        The repository ghcr.io/org/app has no image of this digest: it was removed, or pushed somewhere else.
        Free some of the server's disk: `docker system df` says what takes it, `docker image prune` removes images that nothing uses.
        ");
    }

    #[test]
    fn digests_are_read_as_the_engine_shows_them() {
        let digest = Digest::of(b"x");
        let name = |text: &str| pulled_as(&format!("{text}@{digest}")).map(|(name, _)| name.to_string());
        assert_eq!(name("busybox").as_deref(), Some("docker.io/library/busybox"));
        assert_eq!(name("127.0.0.1:5000/app").as_deref(), Some("127.0.0.1:5000/app"));
        assert_eq!(name("<none>"), None);
        assert_eq!(pulled_as("<none>@<none>"), None);
    }
}
