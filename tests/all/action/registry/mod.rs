//! The registry adapter: against the real `docker-registry`, and against answers that it never gives.

mod real;
mod scripted;

mod adverse;
mod against_distribution;
mod login;

use autotag_deploy::adapters::registry::OciRegistry;
use autotag_deploy::adapters::retry::RetryPolicy;
use autotag_deploy::ports::{Manifest, ManifestName};
use autotag_model::reference::{Digest, ImageTag};
use autotag_model::secret::{Credentials, Secret};

/// The media type of an image's manifest.
const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";

/// The adapter for `org/app` at this address.
fn registry(address: &str, credentials: Option<&Credentials>) -> OciRegistry {
    let name = format!("{address}/org/app").parse().expect("a name");
    OciRegistry::new(name, credentials, RetryPolicy::quick()).expect("an adapter")
}

fn credentials(username: &str, password: &str) -> Credentials {
    Credentials { username: username.to_owned(), password: Secret::new(password).expect("not empty") }
}

fn tag(text: &str) -> ImageTag {
    text.parse().expect(text)
}

fn by_tag(text: &str) -> ManifestName {
    ManifestName::Tag(tag(text))
}

fn manifest(media_type: &str, text: &str) -> Manifest {
    Manifest { bytes: text.into(), media_type: media_type.to_owned(), digest: Digest::of(text.as_bytes()) }
}
