//! What an image is made for, and the rest of its configuration where the Engine does not give it.
//!
//! The receiver has no client for registries, and is to get none: it would need TLS and logins for what the Engine has
//! on its disk already. Docker with containerd's store describes an image of which it has not fetched every layer
//! (another image had the same content) without architecture, labels, volumes and health check; `docker save` leaves
//! them out too, and `GET /distribution` has no labels. Making a container reads them all the same. So one is made,
//! looked at and removed; it never starts.

use serde_json::json;

use super::answers::{About, Container, Distribution, Image, Platform, read};
use super::raw::{Call, encoded, without};
use super::{DockerEngine, ORDINARY, containers};
use crate::engine::Foreign;
use autotag_base::{CallError, CallErrorKind, CallResult, Cause};
use autotag_model::reference::Digest;

/// Completes what the Engine left out of an image's description.
pub(super) async fn complete(
    engine: &DockerEngine,
    image: &mut Image,
    reference: &str,
    digest: &Digest,
    doing: &str,
) -> CallResult<()> {
    if image.architecture.as_ref().is_some_and(|architecture| !architecture.is_empty()) {
        return Ok(());
    }
    // By its name one that was left behind by a kill is found again.
    let name =
        format!("autotag-look-{}", digest.as_str().trim_start_matches("sha256:").get(..24).unwrap_or("x"));
    containers::remove(engine, &name).await?;
    let body = json!({
        "Image": reference, "Cmd": ["never-started"], "NetworkDisabled": true,
        "HostConfig": { "NetworkMode": "none" },
    });
    let made = engine.ask(Call::post(&format!("/containers/create?name={name}"), body), ORDINARY).await;
    made.map_err(|error| engine.change_failed(&error, doing))?;
    let described = engine.look(&format!("/containers/{name}/json"), doing).await;
    containers::remove(engine, &name).await?;
    let described: Container = read(&described?.ok_or_else(|| without("description", doing))?);
    image.config = described.config;
    if let Some(Platform { os, architecture }) = described.descriptor.and_then(|it| it.platform) {
        (image.os, image.architecture) = (os, architecture);
    }
    Ok(())
}

/// Which platform an image is for, where this machine is another one.
pub(super) async fn foreign(
    engine: &DockerEngine,
    image: &Image,
    doing: &str,
) -> CallResult<Option<Foreign>> {
    let version = engine.ask(Call::get("/version"), ORDINARY).await;
    let version: About = read(&version.map_err(|error| engine.call_error(&error, doing))?);
    let machine = version.arch.unwrap_or_default();
    let (os, architecture) = (image.os.as_deref(), image.architecture.as_deref());
    Ok(differs(&machine, os.unwrap_or_default(), architecture.unwrap_or_default()))
}

/// Where an Engine says nothing, nothing differs.
fn differs(machine: &str, os: &str, architecture: &str) -> Option<Foreign> {
    let known = |text: &str| !matches!(text, "" | "unknown");
    let (own, of_image) = (usual(machine), usual(architecture));
    // Both processors run their smaller relatives' programs.
    let runs = own == of_image || matches!((own, of_image), ("amd64", "386") | ("arm64", "arm"));
    let other = known(own) && known(of_image) && !runs || known(os) && os != "linux";
    let os = if known(os) { os } else { "linux" };
    other.then(|| Foreign { image: vec![format!("{os}/{of_image}")], machine: format!("linux/{own}") })
}

/// Go's name for an architecture; some tools write the kernel's.
fn usual(architecture: &str) -> &str {
    match architecture {
        "x86_64" | "x86-64" => "amd64",
        "aarch64" => "arm64",
        "i386" | "i686" => "386",
        "armhf" | "armv6l" | "armv7l" => "arm",
        other => other,
    }
}

/// A pull that found nothing for this machine in an index says so in words that change with the store.
pub(super) fn nothing_for_this_machine(words: &str) -> bool {
    ["no matching manifest for", "no match for platform"].iter().any(|given| words.contains(given))
}

/// What such a pull means, with what the index has, where the registry tells.
pub(super) async fn refusal(engine: &DockerEngine, reference: &str, doing: &str) -> CallError {
    let version = engine.ask(Call::get("/version"), ORDINARY).await.unwrap_or_default();
    let machine = read::<About>(&version).arch.unwrap_or_else(|| "this server's architecture".to_owned());
    let path = format!("/distribution/{}/json", encoded(reference, b":@/"));
    let index = engine.ask(Call::get(&path), ORDINARY).await;
    let index: Distribution = read(&index.unwrap_or_default());
    let platforms = index.platforms.map(|list| list.0).unwrap_or_default();
    let named = platforms.into_iter().filter_map(|it| Some(format!("{}/{}", it.os?, it.architecture?)));
    let image: Vec<String> = named.filter(|name| !name.contains("unknown")).collect();
    let foreign = Foreign { image, machine: format!("linux/{}", usual(&machine)) };
    let error = CallError::new(CallErrorKind::Rejected, doing, foreign.to_string());
    error.with_remedy(foreign.remedy()).caused_by(Cause::Platform)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn platforms_that_this_machine_cannot_run_are_reported() {
        for (machine, os, image, foreign) in [
            ("amd64", "linux", "amd64", None),
            ("amd64", "linux", "x86_64", None),
            ("amd64", "linux", "386", None),
            ("arm64", "linux", "arm", None),
            ("aarch64", "linux", "arm64", None),
            ("arm", "linux", "arm64", Some("linux/arm64")),
            ("amd64", "linux", "arm64", Some("linux/arm64")),
            ("amd64", "linux", "riscv64", Some("linux/riscv64")),
            ("amd64", "windows", "amd64", Some("windows/amd64")),
            ("amd64", "", "arm64", Some("linux/arm64")),
            // Nothing is made up.
            ("", "linux", "arm64", None),
            ("amd64", "", "", None),
            ("amd64", "unknown", "unknown", None),
        ] {
            let found = differs(machine, os, image).map(|foreign| foreign.image.concat());
            assert_eq!(found.as_deref(), foreign, "{machine} {os} {image}");
        }
    }

    #[test]
    fn the_words_of_both_stores_are_known() {
        for words in [
            "no matching manifest for linux/amd64 in the manifest list entries",
            "failed to resolve: no match for platform in manifest: not found",
        ] {
            assert!(nothing_for_this_machine(words), "{words}");
        }
        assert!(!nothing_for_this_machine("manifest unknown"));
    }
}
